//! Hostile nodes: true nodes, some of whose actions are others than they wanted, and which do not hear of everything.
//!
//! What a node is up to is a fault like any other, so that it begins, ends, is drawn, stored and replayed like one. Each
//! behaviour sees the node's actions before the world does, and may hold back, change, delay or add some.

mod dht;
mod gossip;
mod lies;
mod logs;
mod wire;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use registry_core::action::Action;
use registry_core::id::Token;
use registry_core::{Digest, Input, Message, PeerId, Protocol};
use serde::{Deserialize, Serialize};

use crate::engine::NodeIx;
use crate::fault::{Effect, Fired};
use crate::scenario::SECOND;
pub(crate) use logs::{contradictory, imitating};
use wire::{Bitswap, Wire, encoded};

/// Answers a stale node remembers.
const MAX_REMEMBERED: usize = 4_096;
/// A drip comes so long after it was due, in microseconds: requests of the DHT and wants of blocks are given up after five
/// seconds, those of the registry after ten.
const DRIP: u64 = 4_500_000;
const REGISTRY_DRIP: u64 = 9_500_000;

/// What a hostile node is up to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Hostile {
    /// It sits in meshes and forwards nothing.
    NonForwarder,
    /// It forwards everything but what comes from the node of this publisher, counted from 0.
    Mute(u32),
    /// Each second it offers every neighbour a thousand message ids that nobody has.
    IhaveFlood,
    /// Each second it asks every neighbour for a thousand message ids.
    IwantFlood,
    /// Each second it grafts itself to every neighbour, whatever was agreed.
    GraftFlood,
    /// Every question gets the answer that it got for the first time.
    StaleAnswers,
    /// Every answer comes just before nobody waits for it any more.
    SlowDrip,
    /// It names close peers that do not exist.
    InventedPeers,
    /// It names its fellows, and nobody else, as close peers.
    Eclipse,
    /// What is kept under a key is neither taken nor given by it.
    Censor(Place),
    /// The blocks it sends are others than those asked for.
    BadBytes,
    /// Statements and signatures in its answers are altered.
    ForgedStatements,
    /// It answers a search with what it answered to another.
    IrrelevantFinds,
    /// It answers searches as if it knew no package.
    EmptyFinds,
    /// It hears of no news by reconciliation, and answers with what it knows.
    OldNews,
}

/// Something with a place in the key space.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    /// Of a node.
    Node(NodeIx),
    /// Of the node of a publisher, counted from 0.
    Publisher(u32),
    /// Of the log of a node's publisher: who provides it is kept there.
    Log(NodeIx),
    /// Of a package's content: who provides it is kept there.
    Package(u32),
    /// Of what one of the final lookups looks for.
    Lookup(u32),
}

/// What the world does for a hostile node.
#[derive(Debug)]
pub(crate) enum Deed {
    Now(Action),
    /// After so many microseconds.
    Later(u64, Action),
}

/// What a hostile node knows beyond its own protocol.
#[derive(Debug)]
pub(crate) struct Plot<'a> {
    pub(crate) now: u64,
    /// Another one each time.
    pub(crate) bits: u64,
    pub(crate) own: PeerId,
    pub(crate) fired: &'a mut Fired,
}

/// One behaviour of one node, and what it remembers.
#[derive(Debug)]
pub(crate) struct Mind {
    hostile: Hostile,
    /// All with the same aim, itself included: peers and their addresses in binary form.
    fellows: Arc<[(PeerId, Bytes)]>,
    /// Of what is censored.
    place: Option<Digest>,
    /// Who is muted; without it, all are.
    muted: Option<PeerId>,
    /// What was asked and not yet answered.
    asked: BTreeMap<Token, Message>,
    /// By question: the first answer. For irrelevant ones: the last.
    answers: BTreeMap<Bytes, Message>,
    moved_at: Option<u64>,
}

impl Mind {
    pub(crate) fn new(
        hostile: Hostile,
        fellows: Arc<[(PeerId, Bytes)]>,
        place: Option<Digest>,
        muted: Option<PeerId>,
    ) -> Self {
        Self { hostile, fellows, place, muted, asked: BTreeMap::new(), answers: BTreeMap::new(), moved_at: None }
    }

    /// Does the node hear of this?
    pub(crate) fn hears(&mut self, plot: &mut Plot, input: &Input) -> bool {
        let Input::Request { token, msg, .. } = input else { return true };
        match self.hostile {
            Hostile::Censor(_) if dht::is_offer(msg, self.place) => {
                plot.fired.add(Effect::Censored, 1);
                false
            }
            Hostile::Censor(_) | Hostile::StaleAnswers => {
                self.asked.insert(*token, msg.clone());
                true
            }
            _ => true,
        }
    }

    /// What is done instead of an action.
    pub(crate) fn acts(&mut self, plot: &mut Plot, action: Action) -> Vec<Deed> {
        match action {
            Action::Respond { token, msg: Some(msg) } => self.responds(plot, token, msg),
            Action::Send { peer, msg, class } => match self.sends(plot, &msg) {
                Said::AsMeant => vec![self.in_time(plot, &msg.clone(), Action::Send { peer, msg, class })],
                Said::Instead(msg) => vec![Deed::Now(Action::Send { peer, msg, class })],
                Said::Nothing => vec![],
            },
            Action::Request { ref msg, .. }
                if self.hostile == Hostile::OldNews && msg.protocol() == Protocol::Registry =>
            {
                vec![]
            }
            action => vec![Deed::Now(action)],
        }
    }

    /// What the node does of its own, about once a second.
    pub(crate) fn moves(&mut self, plot: &mut Plot, topics: &[String], peers: &[PeerId]) -> Vec<Action> {
        let is_time = self.moved_at.is_none_or(|moved| plot.now >= moved + SECOND);
        let Some(flood) = gossip::Flood::of(self.hostile).filter(|_| is_time) else { return Vec::new() };
        self.moved_at = Some(plot.now);
        flood.send(plot, topics, peers)
    }

    fn responds(&mut self, plot: &mut Plot, token: Token, msg: Message) -> Vec<Deed> {
        let question = self.asked.remove(&token);
        let answer = match self.hostile {
            Hostile::StaleAnswers => question.and_then(|question| self.first_answer(plot, &question, &msg)),
            Hostile::InventedPeers => dht::invent(plot, &msg),
            Hostile::Eclipse => dht::eclipse(plot, &self.fellows, &msg),
            Hostile::Censor(_) => question.and_then(|question| dht::censor(plot, self.place, &question, &msg)),
            Hostile::ForgedStatements => lies::forge(plot, &msg),
            Hostile::IrrelevantFinds => self.last_find(plot, &msg),
            Hostile::EmptyFinds => lies::empty(plot, &msg),
            Hostile::OldNews if lies::is_found(&msg) => {
                plot.fired.add(Effect::OldNews, 1);
                None
            }
            _ => None,
        };
        let msg = answer.unwrap_or(msg);
        vec![self.in_time(plot, &msg.clone(), Action::Respond { token, msg: Some(msg) })]
    }

    fn sends(&self, plot: &mut Plot, msg: &Message) -> Said {
        match self.hostile {
            Hostile::NonForwarder | Hostile::Mute(_) => gossip::keep_back(plot, self.muted, msg),
            Hostile::BadBytes => spoil(plot, msg).map_or(Said::AsMeant, Said::Instead),
            _ => Said::AsMeant,
        }
    }

    /// Blocks and answers drip.
    fn in_time(&self, plot: &mut Plot, msg: &Message, action: Action) -> Deed {
        let wait = match (&action, msg.protocol()) {
            (Action::Respond { .. }, Protocol::Registry) => REGISTRY_DRIP,
            (Action::Respond { .. }, _) | (Action::Send { .. }, Protocol::Bitswap) => DRIP,
            _ => 0,
        };
        if self.hostile != Hostile::SlowDrip || wait == 0 {
            return Deed::Now(action);
        }
        plot.fired.add(Effect::SlowDrip, 1);
        Deed::Later(wait, action)
    }

    fn first_answer(&mut self, plot: &mut Plot, question: &Message, msg: &Message) -> Option<Message> {
        let question = encoded(question);
        match self.answers.get(&question) {
            Some(first) if first != msg => {
                plot.fired.add(Effect::StaleAnswer, 1);
                Some(first.clone())
            }
            Some(_) => None,
            None => {
                if self.answers.len() < MAX_REMEMBERED {
                    self.answers.insert(question, msg.clone());
                }
                None
            }
        }
    }

    fn last_find(&mut self, plot: &mut Plot, msg: &Message) -> Option<Message> {
        let last = self.answers.insert(Bytes::new(), lies::is_found(msg).then(|| msg.clone())?)?;
        (last != *msg).then(|| {
            plot.fired.add(Effect::IrrelevantFind, 1);
            last
        })
    }
}

/// What a node says instead of a message.
enum Said {
    AsMeant,
    Instead(Message),
    Nothing,
}

fn spoil(plot: &mut Plot, msg: &Message) -> Option<Message> {
    let mut sent = Bitswap::read(msg).filter(|sent| !sent.payload.is_empty())?;
    for block in &mut sent.payload {
        let mut data = block.data.to_vec();
        data.last_mut().into_iter().for_each(|byte| *byte ^= 1);
        block.data = data.into();
    }
    plot.fired.add(Effect::BadBytes, sent.payload.len() as u64);
    sent.message()
}
