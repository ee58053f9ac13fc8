//! Misuse of gossipsub.

use bytes::Bytes;
use registry_core::action::{Action, SendClass};
use registry_core::{Message, PeerId};

use super::wire::{Control, Gossip, Ids, Ihave, Topic, Wire};
use super::{Hostile, Plot, Said};
use crate::fault::Effect;
use crate::mix::mix;

/// Ids in one message, and their bytes.
const IDS: u64 = 1_000;
const ID: usize = 20;
/// A graft is said so often in one message.
const GRAFTS: usize = 50;

/// What is flooded with.
#[derive(Clone, Copy, Debug)]
pub(super) enum Flood {
    Ihave,
    Iwant,
    Graft,
}

impl Flood {
    pub(super) fn of(hostile: Hostile) -> Option<Self> {
        match hostile {
            Hostile::IhaveFlood => Some(Self::Ihave),
            Hostile::IwantFlood => Some(Self::Iwant),
            Hostile::GraftFlood => Some(Self::Graft),
            _ => None,
        }
    }

    pub(super) fn send(self, plot: &mut Plot, topics: &[String], peers: &[PeerId]) -> Vec<Action> {
        let share = IDS / topics.len().max(1) as u64;
        let bits = plot.bits;
        let ids = |count| (0..count).map(|number| id(bits ^ number)).collect::<Vec<_>>();
        let mut control = Control::default();
        match self {
            Self::Ihave => {
                control.ihave = topics.iter().map(|topic| Ihave { topic: topic.clone(), ids: ids(share) }).collect()
            }
            Self::Iwant => control.iwant = vec![Ids { ids: ids(IDS) }],
            Self::Graft => {
                let graft = |topic: &String| vec![Topic { topic: topic.clone() }; GRAFTS];
                control.graft = topics.iter().flat_map(graft).collect();
            }
        }
        let Some(msg) = (Gossip { control: Some(control), ..Gossip::default() }).message() else { return Vec::new() };
        plot.fired.add(
            match self {
                Self::Ihave => Effect::IhaveFlood,
                Self::Iwant => Effect::IwantFlood,
                Self::Graft => Effect::GraftFlood,
            },
            peers.len() as u64,
        );
        let send = |peer: &PeerId| Action::Send { peer: *peer, msg: msg.clone(), class: SendClass::Control };
        peers.iter().map(send).collect()
    }
}

/// Other people's messages are left out, or those of one of them.
pub(super) fn keep_back(plot: &mut Plot, muted: Option<PeerId>, msg: &Message) -> Said {
    let Some(mut sent) = Gossip::read(msg) else { return Said::AsMeant };
    let before = sent.publish.len();
    let own = Some(plot.own.as_bytes());
    sent.publish.retain(|published| match (published.from.as_deref(), muted) {
        (from, None) => from == own,
        (from, Some(muted)) => from == own || from != Some(muted.as_bytes()),
    });
    if sent.publish.len() == before {
        return Said::AsMeant;
    }
    plot.fired.add(Effect::NotForwarded, (before - sent.publish.len()) as u64);
    if sent == Gossip::default() {
        return Said::Nothing;
    }
    sent.message().map_or(Said::Nothing, Said::Instead)
}

fn id(number: u64) -> Bytes {
    let mut bytes = [mix(number).to_le_bytes(), mix(!number).to_le_bytes(), mix(number << 1).to_le_bytes()].concat();
    bytes.truncate(ID);
    bytes.into()
}
