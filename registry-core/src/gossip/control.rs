//! Subscriptions and control messages of peers.

use alloc::vec::Vec;

use bytes::Bytes;

use crate::action::SendClass;
use crate::cx::Cx;
use crate::gossip::Gossip;
use crate::gossip::limits::{Budget, DONT_WANT_TTL, MAX_TOPICS_PER_PEER};
use crate::gossip::message_id::key_of;
use crate::gossip::send::chunks;
use crate::gossip::wants::Moves;
use crate::id::{PeerIx, TopicName};
use crate::peers::Offence;
use crate::wire::Protocol;
use crate::wire::gossip::{MAX_FRAME, MAX_ID, MAX_TOPIC, Rpc, Subscription};

impl Gossip {
    pub(super) fn handle_subscriptions(&mut self, cx: &mut Cx<'_>, peer: PeerIx, changes: &[Subscription]) {
        let tick = self.grid.tick(cx.now);
        for change in changes {
            let Some(state) = self.peers.get_mut(peer) else { return };
            match state.spend(tick, Budget::Subscriptions) {
                Ok(()) if change.subscribe => _ = self.add_subscription(peer, &change.topic),
                Ok(()) => self.remove_subscription(peer, &change.topic),
                Err(first) => {
                    if first {
                        cx.charge(peer, Offence::Protocol(Protocol::Gossip));
                    }
                    return;
                }
            }
        }
    }

    /// False when the peer has too many subscriptions.
    pub(super) fn add_subscription(&mut self, peer: PeerIx, name: &TopicName) -> bool {
        let Some(state) = self.peers.get_mut(peer) else { return false };
        if state.topics.contains(name) {
            return true;
        }
        if state.topics.len() >= MAX_TOPICS_PER_PEER || name.len() > MAX_TOPIC {
            return false;
        }
        state.topics.insert(name.clone());
        self.subscribers.entry(name.clone()).or_default().insert(peer);
        self.stale |= self.topics.contains_key(name);
        true
    }

    pub(super) fn remove_subscription(&mut self, peer: PeerIx, name: &TopicName) {
        if !self.peers.get_mut(peer).is_some_and(|state| state.topics.remove(name)) {
            return;
        }
        if let Some(subscribers) = self.subscribers.get_mut(name) {
            subscribers.remove(&peer);
            if subscribers.is_empty() {
                self.subscribers.remove(name);
            }
        }
        if let Some(topic) = self.topics.get_mut(name) {
            topic.mesh.remove(&peer);
            if let Some(fanout) = &mut topic.fanout {
                fanout.peers.remove(&peer);
            }
            self.stale = true;
        }
    }

    /// Asks for messages this node lacks, of topics it has joined.
    pub(super) fn handle_ihave(&mut self, cx: &Cx<'_>, peer: PeerIx, ihave: &[(TopicName, Vec<Bytes>)]) {
        if ihave.is_empty() {
            return;
        }
        let tick = self.grid.tick(cx.now);
        let Some(state) = self.peers.get_mut(peer) else { return };
        if !state.ready || state.spend(tick, Budget::IhaveMessages).is_err() {
            return;
        }
        let joined = |topic: &TopicName| self.topics.get(topic).is_some_and(|topic| topic.joined);
        for id in ihave.iter().filter(|(topic, _)| joined(topic)).flat_map(|(_, ids)| ids) {
            if !state.spend_ihave_id(tick) {
                return;
            }
            if id.len() > MAX_ID {
                continue;
            }
            let key = key_of(id);
            if self.cache.note_aware(&key, peer) || self.seen.contains(&key) {
                continue;
            }
            let may_ask = state.may_be_asked() && !self.pending.contains(&key);
            if self.wants.advertised(cx.now, key, id, peer, may_ask) {
                state.note_asked();
                self.outgoing.entry(peer).or_default().iwant.push(Bytes::copy_from_slice(id));
            }
        }
    }

    /// Carries out what the wants came to.
    pub(super) fn pursue(&mut self, moves: Moves) {
        for peer in moves.broken {
            if let Some(state) = self.peers.get_mut(peer) {
                state.break_promise();
            }
        }
        for peer in moves.released {
            self.release_ask(peer);
        }
        for (peer, id) in moves.ask {
            if let Some(state) = self.peers.get_mut(peer) {
                state.note_asked();
                self.queue_iwant(peer, id);
            }
        }
    }

    pub(super) fn release_ask(&mut self, peer: PeerIx) {
        if let Some(state) = self.peers.get_mut(peer) {
            state.release_ask();
        }
    }

    /// Sends what the peer asks for and this node still keeps.
    pub(super) fn handle_iwant(&mut self, cx: &mut Cx<'_>, peer: PeerIx, ids: &[Bytes]) {
        if ids.is_empty() {
            return;
        }
        let tick = self.grid.tick(cx.now);
        let Some(state) = self.peers.get_mut(peer) else { return };
        let mut found = Vec::new();
        for id in ids {
            if state.spend(tick, Budget::IwantIds).is_err() {
                break;
            }
            let key = key_of(id);
            let is_wanted = id.len() <= MAX_ID && state.wants(tick, &key);
            match is_wanted.then(|| self.cache.serve(tick, &key, peer)).flatten() {
                Some(msg) => found.push(msg),
                None => state.note_missed_iwant(),
            }
        }
        // A signed message is over 112 bytes, so that a frame holds fewer than receivers take.
        for publish in chunks(found, MAX_FRAME, |msg| msg.raw.len()) {
            cx.send(peer, Rpc { publish, ..Rpc::default() }, SendClass::Forward);
        }
    }

    /// The peer has these already: they are not forwarded or served to it. Excess is forgotten.
    pub(super) fn handle_idontwant(&mut self, cx: &Cx<'_>, peer: PeerIx, ids: &[Bytes]) {
        if ids.is_empty() {
            return;
        }
        let tick = self.grid.tick(cx.now);
        let Some(state) = self.peers.get_mut(peer) else { return };
        for id in ids {
            if state.spend(tick, Budget::DontWantIds).is_err() {
                return;
            }
            if id.len() <= MAX_ID {
                let key = key_of(id);
                self.cache.note_aware(&key, peer);
                let until = tick.saturating_add(DONT_WANT_TTL);
                state.set_dont_want(tick, key, until);
                self.dont_wants = Some(until);
            }
        }
    }
}
