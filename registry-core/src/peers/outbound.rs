//! Dialling, and messages that wait for it.

use alloc::vec::Vec;

use multiaddr::Multiaddr;

use super::addr::{AddrClass, split_peer};
use super::book::{DialState, Entry};
use super::dial::{Target, Waiting, backoff};
use super::{PeerEvent, Peers};
use crate::action::{Action, SendClass};
use crate::config::{Config, PeersConfig};
use crate::cx::Outbox;
use crate::id::{DialId, PeerId, PeerIx, RequestId};
use crate::input::{DialError, RequestError, Side};
use crate::rng::Rng;
use crate::time::Instant;
use crate::wire::Message;

impl Peers {
    /// See [`Cx::request`](crate::cx::Cx::request).
    pub(crate) fn request(
        &mut self,
        now: Instant,
        config: &Config,
        out: &mut Outbox,
        peer: PeerIx,
        id: RequestId,
        msg: Message,
    ) {
        self.deliver(now, config, out, peer, Waiting::Request(id, msg));
    }

    /// See [`Cx::notify`](crate::cx::Cx::notify).
    pub(crate) fn notify(&mut self, now: Instant, config: &Config, out: &mut Outbox, peer: PeerIx, msg: Message) {
        self.deliver(now, config, out, peer, Waiting::Notice(msg));
    }

    /// Dials a peer by its known addresses, unless connected, dialling or in back-off.
    pub(crate) fn dial(&mut self, now: Instant, config: &Config, out: &mut Outbox, peer: PeerIx) {
        self.tick(now);
        self.try_dial(now, config, out, peer);
    }

    /// Dials an address whose peer may be unknown, whatever the back-off; ends in `Dialled`.
    pub(crate) fn dial_addr(&mut self, now: Instant, config: &Config, out: &mut Outbox, addr: Multiaddr) -> DialId {
        self.tick(now);
        let dial = DialId(out.next_id());
        match split_peer(&addr) {
            Some((addr, expected)) if self.may_dial_addr(config, &addr, expected) => {
                match self.connected_at(&addr, expected) {
                    Some(peer) => self.events.push_back(PeerEvent::Dialled { dial, peer: Some(peer) }),
                    None => {
                        out.push(Action::Dial { dial, peer: expected, addrs: [addr.clone()].into() });
                        self.dialer.start(now, dial, Target::Addr { addr, expected });
                    }
                }
            }
            Some(_) | None => self.events.push_back(PeerEvent::Dialled { dial, peer: None }),
        }
        dial
    }

    pub(super) fn may_dial(&self, now: Instant, entry: &Entry) -> bool {
        !entry.closing
            && !entry.addrs.all().is_empty()
            && entry.retry_at.is_none_or(|at| at <= now)
            && entry.id != self.local
            && !self.is_shut_out(&entry.id)
            && !self.bans.contains(now, &entry.id)
    }

    pub(super) fn may_dial_addr(&self, config: &Config, addr: &Multiaddr, expected: Option<PeerId>) -> bool {
        let welcome = |id: PeerId| id != self.local && !self.is_shut_out(&id) && !self.bans.contains(self.now, &id);
        AddrClass::of(addr).is_some() && expected.is_none_or(welcome) && self.has_dial_room(config)
    }

    /// A dial may start: outbound connections have the same hard bound as inbound ones.
    fn has_dial_room(&self, config: &Config) -> bool {
        let pending = self.connected.len() + self.dialer.in_flight();
        self.dialer.has_room() && pending < config.peers.max_connections.saturating_mul(2)
    }

    /// The connected peer that is looked for, or that was reached by dialling this very address.
    fn connected_at(&self, addr: &Multiaddr, expected: Option<PeerId>) -> Option<PeerIx> {
        match expected {
            Some(id) => self.find_connected(&id),
            None => self
                .connected()
                .find(|peer| self.conn(*peer).is_some_and(|conn| conn.side == Side::Dialer && conn.addr == *addr)),
        }
    }

    fn deliver(&mut self, now: Instant, config: &Config, out: &mut Outbox, peer: PeerIx, message: Waiting) {
        self.tick(now);
        if let Some(id) = self.id(peer)
            && self.is_connected(peer)
        {
            return send(out, id, message);
        }
        if !self.try_dial(now, config, out, peer) {
            let congested = self.is_reachable(now, peer);
            return self.fail(message, if congested { RequestError::Overloaded } else { RequestError::Unreachable });
        }
        if let Err(message) = self.waiting.push(now, peer, message) {
            self.fail(message, RequestError::Overloaded);
        }
    }

    /// True when the peer is being dialled, or will be as soon as there is room.
    pub(super) fn try_dial(&mut self, now: Instant, config: &Config, out: &mut Outbox, peer: PeerIx) -> bool {
        let Some(entry) = self.book.get(peer) else { return false };
        if entry.conn.is_some() || entry.dial != DialState::Idle {
            return entry.conn.is_none();
        }
        if !self.may_dial(now, entry) {
            return false;
        }
        if self.has_dial_room(config) {
            self.start_dial(now, out, peer);
            return true;
        }
        let queued = self.dialer.enqueue(peer);
        if queued && let Some(entry) = self.book.get_mut(peer) {
            entry.dial = DialState::Queued;
        }
        queued
    }

    fn start_dial(&mut self, now: Instant, out: &mut Outbox, peer: PeerIx) {
        let Some(entry) = self.book.get_mut(peer) else { return };
        let dial = DialId(out.next_id());
        entry.dial = DialState::InFlight(dial);
        out.push(Action::Dial { dial, peer: Some(entry.id), addrs: entry.addrs.all().to_vec() });
        self.dialer.start(now, dial, Target::Peer(peer));
    }

    pub(super) fn start_queued(&mut self, now: Instant, config: &Config, out: &mut Outbox) {
        while self.has_dial_room(config) {
            let Some(peer) = self.dialer.dequeue() else { return };
            let Some(entry) = self.book.get_mut(peer) else { continue };
            entry.dial = DialState::Idle;
            if !self.try_dial(now, config, out, peer) {
                self.fail_waiting(peer, RequestError::Unreachable);
            }
        }
    }

    pub(super) fn end_dial(&mut self, peer: PeerIx, dial: DialState) {
        match dial {
            DialState::Idle => {}
            DialState::Queued => self.dialer.unqueue(peer),
            DialState::InFlight(dial) => {
                self.dialer.finish(dial);
            }
        }
    }

    pub(super) fn dial_failed(&mut self, now: Instant, config: &Config, dial: DialId, why: DialError) {
        match self.dialer.finish(dial) {
            Some(Target::Peer(peer)) => {
                if let Some(entry) = self.book.get_mut(peer) {
                    entry.dial = DialState::Idle;
                    if why == DialError::WrongPeer {
                        entry.addrs.forget_unconfirmed();
                    }
                    note_failure(&mut self.rng, now, &config.peers, entry);
                    if planted!(config, PeersGiveUp) {
                        entry.retry_at = Some(now + crate::Duration::from_secs(1 << 30));
                    }
                }
                self.fail_waiting(peer, RequestError::Unreachable);
            }
            Some(Target::Addr { .. }) => self.events.push_back(PeerEvent::Dialled { dial, peer: None }),
            Some(Target::Bootstrap(index)) => self.bootstrap_failed(now, config, index),
            None => {}
        }
    }

    /// Ends the dials by address that a connection answers.
    pub(super) fn resolve_dials(
        &mut self,
        config: &Config,
        id: &PeerId,
        at: &Multiaddr,
        side: Side,
        peer: Option<PeerIx>,
    ) {
        let answers = |addr: &Multiaddr, expected: Option<PeerId>| match expected {
            Some(expected) => expected == *id,
            None => side == Side::Dialer && addr == at,
        };
        let ended: Vec<_> = self
            .dialer
            .by_address()
            .filter(|(_, target)| match target {
                Target::Peer(_) => false,
                Target::Addr { addr, expected } => answers(addr, *expected),
                Target::Bootstrap(index) => self
                    .bootstraps
                    .get(*index)
                    .is_some_and(|entrance| answers(&entrance.addr, entrance.peer.filter(|_| entrance.named))),
            })
            .map(|(dial, _)| dial)
            .collect();
        for dial in ended {
            match self.dialer.finish(dial) {
                Some(Target::Addr { .. }) => self.events.push_back(PeerEvent::Dialled { dial, peer }),
                Some(Target::Bootstrap(index)) if peer.is_some() => self.bootstrap_answered(index, *id),
                Some(Target::Bootstrap(index)) => self.bootstrap_failed(self.now, config, index),
                Some(Target::Peer(_)) | None => {}
            }
        }
    }

    pub(super) fn flush_waiting(&mut self, out: &mut Outbox, peer: PeerIx, id: PeerId) {
        for message in self.waiting.take(peer) {
            send(out, id, message);
        }
    }

    pub(super) fn fail_waiting(&mut self, peer: PeerIx, why: RequestError) {
        for message in self.waiting.take(peer) {
            self.fail(message, why);
        }
    }

    fn fail(&mut self, message: Waiting, why: RequestError) {
        match message {
            Waiting::Request(id, _) => self.events.push_back(PeerEvent::RequestFailed { id, why }),
            Waiting::Notice(_) => {}
        }
    }
}

pub(super) fn note_failure(rng: &mut Rng, now: Instant, config: &PeersConfig, entry: &mut Entry) {
    entry.failures = entry.failures.saturating_add(1);
    entry.retry_at = Some(now + backoff(rng, config, entry.failures));
}

fn send(out: &mut Outbox, peer: PeerId, message: Waiting) {
    out.push(match message {
        Waiting::Request(id, msg) => Action::Request { id, peer, msg },
        Waiting::Notice(msg) => Action::Send { peer, msg, class: SendClass::Own },
    });
}
