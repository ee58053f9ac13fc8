//! How many connections: dial when there are too few, trim when there are too many.

use alloc::vec::Vec;
use core::cmp::Reverse;

use multiaddr::Multiaddr;

use super::addr::{AddrClass, split_peer};
use super::book::{DialState, Entry};
use super::dial::{Target, backoff};
use super::{PeerEvent, Peers};
use crate::action::{Action, DisconnectReason};
use crate::config::Config;
use crate::cx::Outbox;
use crate::id::{DialId, PeerId, PeerIx};
use crate::time::{Duration, Instant, micros};

/// While there are too few connections, a newly learnt address is tried this soon (jittered): a lookup's answers arrive
/// together and are chosen from together.
const CANDIDATE_DELAY: Duration = Duration::from_millis(200);

/// `Lonely` is raised at most this often.
const LONELY_INTERVAL: Duration = Duration::from_secs(30);

/// All nodes together call on an entrance about this often, however many they are, as far as each knows them; but no
/// node by itself more often than `max_backoff`.
const VISITS_APART: Duration = Duration::from_secs(10);

/// Above one and a half times the maximum, the grace is shorter by this factor: newcomers, who need an answer or two to
/// find others, come and go quickly, before the node is so full that it must close its door to them. Who called on an
/// entrance for so short a time calls on others first (`LASTING_CALL`).
const PRESSURE: u32 = 10;

/// When to look at the number of connections next.
#[derive(Debug, Default)]
pub(super) struct Policy {
    /// Set while there are fewer connections than wanted.
    maintain_at: Option<Instant>,
    /// Attempts since a connection was last won or lost; paces the next one.
    attempts: u8,
    lonely_at: Option<Instant>,
    /// When to call on somebody this node has lost sight of, enough connections or not.
    visit_at: Option<Instant>,
    /// Set while there are more connections than wanted.
    trim_at: Option<Instant>,
}

impl Policy {
    pub(super) fn next(&self) -> Option<Instant> {
        [self.maintain_at, self.visit_at, self.trim_at].into_iter().flatten().min()
    }

    fn maintain_by(&mut self, at: Instant) {
        self.maintain_at = Some(self.maintain_at.map_or(at, |planned| planned.min(at)));
    }
}

impl Peers {
    /// Dials an address now, again (with back-off) whenever this node has too few connections, and now and then.
    pub(crate) fn add_bootstrap(&mut self, now: Instant, config: &Config, out: &mut Outbox, addr: Multiaddr) {
        self.tick(now);
        let Some((addr, peer)) = split_peer(&addr) else { return };
        if AddrClass::of(&addr).is_none() || peer == Some(self.local) {
            return;
        }
        if let Some(index) = self.bootstraps.add(addr, peer) {
            self.dial_bootstrap(now, config, out, index);
            self.policy.maintain_by(now + config.peers.min_backoff);
            self.plan_visit(now, config);
        }
    }

    /// An address of an unconnected peer became known.
    pub(super) fn candidate_found(&mut self, config: &Config) {
        if self.wants_more(config) {
            let soon = self.now + self.rng.jitter(CANDIDATE_DELAY);
            self.policy.maintain_by(soon);
        }
    }

    /// A connection came or went.
    pub(super) fn connections_changed(&mut self, now: Instant, config: &Config) {
        self.policy.attempts = 0;
        self.plan_visit(now, config);
        if self.wants_more(config) {
            let soon = now + self.rng.jitter(config.peers.min_backoff);
            self.policy.maintain_by(soon);
        } else {
            self.policy.maintain_at = None;
        }
        if self.connected.len() <= config.peers.max_connections {
            self.policy.trim_at = None;
        } else {
            let at = now + self.trim_grace(config);
            self.policy.trim_at = Some(self.policy.trim_at.map_or(at, |planned| planned.min(at)));
        }
    }

    fn trim_grace(&self, config: &Config) -> Duration {
        let pressed = self.connected.len() > config.peers.max_connections.saturating_mul(3) / 2;
        config.peers.trim_grace / if pressed { PRESSURE } else { 1 }
    }

    fn wants_more(&self, config: &Config) -> bool {
        self.connected.len() < config.peers.min_connections
    }

    /// Dials bootstrap addresses and known peers up to the wanted number, and asks for a lookup.
    pub(super) fn maintain(&mut self, now: Instant, config: &Config, out: &mut Outbox) {
        if self.policy.maintain_at.is_none_or(|at| at > now) {
            return;
        }
        self.policy.maintain_at = None;
        if !self.wants_more(config) {
            return;
        }
        for index in self.bootstraps.due(now) {
            self.dial_bootstrap(now, config, out, index);
        }
        self.dial_candidates(now, config, out);
        if !self.connected.is_empty() && self.policy.lonely_at.is_none_or(|at| at <= now) {
            self.policy.lonely_at = Some(now + LONELY_INTERVAL);
            self.events.push_back(PeerEvent::Lonely);
        }
        self.policy.attempts = self.policy.attempts.saturating_add(1);
        let again = now + backoff(&mut self.rng, &config.peers, self.policy.attempts).max(Duration::from_micros(1));
        self.policy.maintain_by(again);
        if let Some(retry) = self.bootstraps.next_retry(now) {
            self.policy.maintain_by(retry);
        }
    }

    /// Calls on an entrance and on a peer reached before. Nothing else brings islands together that are large enough
    /// for themselves, or leads to an entrance that came back as somebody else.
    pub(super) fn visit(&mut self, now: Instant, config: &Config, out: &mut Outbox) {
        if self.policy.visit_at.take_if(|at| *at <= now).is_none() {
            return;
        }
        self.plan_visit(now, config);
        let mut entrances = self.bootstraps.due(now);
        entrances.retain(|index| !self.is_connected_to_entrance(*index));
        for index in self.rng.sample(entrances, 1) {
            self.dial_bootstrap(now, config, out, index);
        }
        let reached = self.candidates(now).filter(|(_, entry)| !entry.addrs.confirmed().is_empty());
        let reached: Vec<_> = reached.map(|(peer, _)| peer).collect();
        for peer in self.rng.sample(reached, 1) {
            if let Some(entry) = self.book.get_mut(peer) {
                entry.visited = true;
            }
            self.try_dial(now, config, out, peer);
        }
    }

    /// Drawn so that nodes which have started together do not go on together.
    fn plan_visit(&mut self, now: Instant, config: &Config) {
        let alone = self.connected.is_empty() && self.bootstraps.is_empty();
        if self.policy.visit_at.is_some() || config.peers.min_connections == 0 || alone {
            return;
        }
        let known = u32::try_from(self.book.len()).unwrap_or(u32::MAX);
        let apart = VISITS_APART.saturating_mul(known).max(config.peers.max_backoff);
        let wait = Duration::from_micros(1 + self.rng.below(micros(apart).saturating_mul(2)));
        self.policy.visit_at = Some(now + wait);
    }

    fn is_connected_to_entrance(&self, index: usize) -> bool {
        let peer = self.bootstraps.get(index).and_then(|entrance| entrance.peer);
        peer.and_then(|id| self.find_connected(&id)).is_some()
    }

    /// Unconnected peers that may be dialled.
    fn candidates(&self, now: Instant) -> impl Iterator<Item = (PeerIx, &Entry)> {
        let is_idle = |entry: &Entry| entry.conn.is_none() && entry.dial == DialState::Idle;
        self.book.iter().filter(move |(_, entry)| is_idle(entry) && self.may_dial(now, entry))
    }

    fn dial_bootstrap(&mut self, now: Instant, config: &Config, out: &mut Outbox, index: usize) {
        let Some(entrance) = self.bootstraps.get(index) else { return };
        let expected = entrance.peer.filter(|_| entrance.named);
        let addr = entrance.addr.clone();
        if self.is_connected_to_entrance(index) || !self.may_dial_addr(config, &addr, expected) {
            return;
        }
        let dial = DialId(out.next_id());
        out.push(Action::Dial { dial, peer: expected, addrs: [addr].into() });
        self.dialer.start(now, dial, Target::Bootstrap(index));
        if let Some(entrance) = self.bootstraps.get_mut(index) {
            entrance.dialling = true;
        }
    }

    /// Those reached before come first; within each kind, chance decides.
    fn dial_candidates(&mut self, now: Instant, config: &Config, out: &mut Outbox) {
        let pending = self.connected.len() + self.dialer.in_flight();
        let wanted = config.peers.min_connections.saturating_sub(pending);
        let (reached, heard): (Vec<_>, Vec<_>) = self
            .candidates(now)
            .map(|(peer, entry)| (peer, entry.addrs.confirmed().is_empty()))
            .partition(|(_, only_heard)| !only_heard);
        let mut chosen = self.rng.sample(reached, wanted);
        chosen.extend(self.rng.sample(heard, wanted - chosen.len()));
        for (peer, _) in chosen {
            self.try_dial(now, config, out, peer);
        }
    }

    pub(super) fn bootstrap_failed(&mut self, now: Instant, config: &Config, index: usize) {
        let Some(entrance) = self.bootstraps.get_mut(index) else { return };
        entrance.dialling = false;
        entrance.failures = entrance.failures.saturating_add(1);
        let wait = backoff(&mut self.rng, &config.peers, entrance.failures);
        // Who is alone has no other way in.
        let longest = if self.connected.is_empty() { self.rng.jitter(LONELY_INTERVAL) } else { wait };
        let retry = now + wait.min(longest);
        entrance.retry_at = Some(retry);
        if self.wants_more(config) {
            self.policy.maintain_by(retry);
        }
    }

    /// The connection to a bootstrap peer is gone. One that hung up at once is like one that did not answer.
    pub(super) fn bootstrap_lost(&mut self, now: Instant, config: &Config, id: PeerId, hung_up: bool) {
        let entrances: Vec<_> = self.bootstraps.of_peer(&id).collect();
        for index in entrances {
            if hung_up {
                self.bootstrap_failed(now, config, index);
            } else if let Some(entrance) = self.bootstraps.get_mut(index) {
                entrance.failures /= 2;
            }
        }
    }

    pub(super) fn bootstrap_answered(&mut self, index: usize, id: PeerId) {
        if let Some(entrance) = self.bootstraps.get_mut(index) {
            entrance.dialling = false;
            entrance.retry_at = None;
            entrance.peer = Some(id);
        }
        if let Some(entry) = self.find(&id).and_then(|peer| self.book.get_mut(peer)) {
            entry.visited = true;
        }
    }

    /// Closes the least valuable connections that are older than the grace and not kept. Value, from the least: not
    /// pinned by a machine, without the registry protocol, younger.
    pub(super) fn trim(&mut self, now: Instant, config: &Config, out: &mut Outbox, keep: impl Fn(PeerIx) -> bool) {
        if self.policy.trim_at.is_none_or(|at| at > now) {
            return;
        }
        let grace = self.trim_grace(config);
        self.policy.trim_at = Some(now + grace.max(Duration::from_micros(1)));
        let mut candidates: Vec<_> = self
            .connected()
            .filter(|peer| !keep(*peer))
            .filter_map(|peer| {
                let entry = self.book.get(peer)?;
                let conn = entry.conn.as_ref()?;
                let ripe = conn.since + grace <= now;
                ripe.then_some((entry.is_pinned(), conn.protocols.registry, Reverse(conn.since), peer))
            })
            .collect();
        candidates.sort_unstable();
        let surplus = self.connected.len().saturating_sub(config.peers.low_connections);
        for (_, _, _, peer) in candidates.into_iter().take(surplus) {
            self.close(config, out, peer, DisconnectReason::Trimmed);
        }
    }
}
