//! Lies of a DHT server.

use bytes::Bytes;
use multiaddr::{Multiaddr, Protocol};
use registry_core::{Digest, Message, PeerId};

use super::Plot;
use super::wire::{ADD_PROVIDER, GET_PROVIDERS, GET_VALUE, Kad, PUT_VALUE, Peer, Wire};
use crate::fault::Effect;
use crate::mix::mix;

/// Peers that are named.
const NAMED: usize = 20;

/// Would something be kept under the key?
pub(super) fn is_offer(msg: &Message, place: Option<Digest>) -> bool {
    concerns(msg, place, [PUT_VALUE, ADD_PROVIDER])
}

/// Peers and records of a key are left out of the answer.
pub(super) fn censor(plot: &mut Plot, place: Option<Digest>, question: &Message, answer: &Message) -> Option<Message> {
    let mut kad = Kad::read(answer).filter(|_| concerns(question, place, [GET_VALUE, GET_PROVIDERS]))?;
    (kad.record, kad.providers) = (None, Vec::new());
    plot.fired.add(Effect::Censored, 1);
    kad.message()
}

/// The closest are peers that do not exist.
pub(super) fn invent(plot: &mut Plot, answer: &Message) -> Option<Message> {
    let named = (0..NAMED as u64).map(|number| {
        let mut key = [0; 32];
        for (at, chunk) in key.chunks_exact_mut(8).enumerate() {
            chunk.copy_from_slice(&mix(plot.bits ^ (number << 8 | at as u64)).to_le_bytes());
        }
        // Of the last machines of 10.0.0.0/8, where no node is.
        let [a, b, ..] = key;
        let addr = Multiaddr::empty().with(Protocol::Ip4([10, 255, a, b].into())).with(Protocol::Tcp(4001));
        (PeerId::from_ed25519(&key), Bytes::copy_from_slice(addr.as_ref()))
    });
    let named = named.collect::<Vec<_>>();
    name(plot, answer, &named, Effect::InventedPeers)
}

/// The closest are fellows.
pub(super) fn eclipse(plot: &mut Plot, fellows: &[(PeerId, Bytes)], answer: &Message) -> Option<Message> {
    name(plot, answer, fellows, Effect::Eclipse)
}

fn name(plot: &mut Plot, answer: &Message, named: &[(PeerId, Bytes)], effect: Effect) -> Option<Message> {
    let mut kad = Kad::read(answer).filter(|kad| !kad.closer.is_empty())?;
    let others = named.iter().filter(|(peer, _)| *peer != plot.own).take(NAMED);
    let peer = |(id, addr): &(PeerId, Bytes)| Peer {
        id: Bytes::copy_from_slice(id.as_bytes()),
        addrs: vec![addr.clone()],
        connection: 1,
    };
    (kad.closer, kad.providers, kad.record) = (others.map(peer).collect(), Vec::new(), None);
    plot.fired.add(effect, 1);
    kad.message()
}

fn concerns(msg: &Message, place: Option<Digest>, kinds: [i32; 2]) -> bool {
    Kad::read(msg).is_some_and(|kad| kinds.contains(&kad.kind) && place == Some(Digest::of(&kad.key)))
}
