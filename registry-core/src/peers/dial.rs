//! Dials in flight, the queue behind them, and what waits for their end.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;

use multiaddr::Multiaddr;

use crate::collections::DeadlineIndex;
use crate::config::PeersConfig;
use crate::id::{DialId, PeerId, PeerIx, RequestId};
use crate::rng::Rng;
use crate::time::{Duration, Instant, micros};
use crate::wire::Message;

/// Dials the shell works on at once: enough for a few lookups side by side.
pub(super) const MAX_IN_FLIGHT: usize = 64;

/// Peers waiting for their turn (attack 38 of PROTOCOLS.md).
pub(super) const MAX_QUEUED: usize = 128;

/// A dial the shell has not answered by then is given up: longer than any transport tries.
pub(super) const DIAL_DEADLINE: Duration = Duration::from_secs(60);

/// A message waits no longer for a connection. Requests fail then, whatever the dial does.
pub(super) const WAIT_DEADLINE: Duration = Duration::from_secs(20);

/// Messages waiting for one peer, and for all.
pub(super) const MAX_WAITING_PER_PEER: usize = 16;
pub(super) const MAX_WAITING: usize = 1024;

/// Bootstrap addresses remembered.
const MAX_BOOTSTRAPS: usize = 64;

/// What a dial is for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Target {
    /// A peer by its known addresses.
    Peer(PeerIx),
    /// An address the application named; its end is raised as `Dialled`.
    Addr { addr: Multiaddr, expected: Option<PeerId> },
    /// The bootstrap address at this index.
    Bootstrap(usize),
}

/// Dials in flight and the queue of peers behind them.
#[derive(Debug, Default)]
pub(super) struct Dialer {
    in_flight: BTreeMap<DialId, Target>,
    deadlines: DeadlineIndex<DialId>,
    queue: VecDeque<PeerIx>,
}

impl Dialer {
    pub(super) fn has_room(&self) -> bool {
        self.in_flight.len() < MAX_IN_FLIGHT
    }

    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    pub(super) fn start(&mut self, now: Instant, dial: DialId, target: Target) {
        self.in_flight.insert(dial, target);
        self.deadlines.set(dial, now + DIAL_DEADLINE);
    }

    /// The dial is over; `None` when that was known.
    pub(super) fn finish(&mut self, dial: DialId) -> Option<Target> {
        self.deadlines.clear(dial);
        self.in_flight.remove(&dial)
    }

    /// False when the queue is full.
    pub(super) fn enqueue(&mut self, peer: PeerIx) -> bool {
        let room = self.queue.len() < MAX_QUEUED;
        if room {
            self.queue.push_back(peer);
        }
        room
    }

    /// The next queued peer, when there is room for its dial.
    pub(super) fn dequeue(&mut self) -> Option<PeerIx> {
        if self.has_room() { self.queue.pop_front() } else { None }
    }

    pub(super) fn unqueue(&mut self, peer: PeerIx) {
        self.queue.retain(|queued| *queued != peer);
    }

    /// Dials that are not for a known peer, in order.
    pub(super) fn by_address(&self) -> impl Iterator<Item = (DialId, &Target)> {
        self.in_flight
            .iter()
            .filter(|(_, target)| !matches!(target, Target::Peer(_)))
            .map(|(dial, target)| (*dial, target))
    }

    pub(super) fn pop_overdue(&mut self, now: Instant) -> Option<DialId> {
        self.deadlines.pop_due(now)
    }

    pub(super) fn next(&self) -> Option<Instant> {
        self.deadlines.next()
    }
}

/// A message that waits for a connection.
#[derive(Debug)]
pub(super) enum Waiting {
    Request(RequestId, Message),
    Notice(Message),
}

/// Messages that wait for connections, per peer.
#[derive(Debug, Default)]
pub(super) struct WaitingRoom {
    by_peer: BTreeMap<PeerIx, Vec<Waiting>>,
    deadlines: DeadlineIndex<PeerIx>,
    total: usize,
}

impl WaitingRoom {
    /// Gives the message back when there is no room.
    pub(super) fn push(&mut self, now: Instant, peer: PeerIx, message: Waiting) -> Result<(), Waiting> {
        let held = self.by_peer.get(&peer).map_or(0, Vec::len);
        if held >= MAX_WAITING_PER_PEER || self.total >= MAX_WAITING {
            return Err(message);
        }
        if held == 0 {
            self.deadlines.set(peer, now + WAIT_DEADLINE);
        }
        self.by_peer.entry(peer).or_default().push(message);
        self.total += 1;
        Ok(())
    }

    /// Everything that waits for a peer, in order.
    pub(super) fn take(&mut self, peer: PeerIx) -> Vec<Waiting> {
        self.deadlines.clear(peer);
        let taken = self.by_peer.remove(&peer).unwrap_or_default();
        self.total -= taken.len();
        taken
    }

    pub(super) fn pop_overdue(&mut self, now: Instant) -> Option<PeerIx> {
        self.deadlines.pop_due(now)
    }

    pub(super) fn next(&self) -> Option<Instant> {
        self.deadlines.next()
    }

    pub(super) fn len(&self) -> usize {
        self.total
    }
}

/// An address that is dialled again and again while there are too few connections.
#[derive(Debug)]
pub(super) struct Bootstrap {
    pub(super) addr: Multiaddr,
    /// Who answers there: named by the address, or learnt from the last connection.
    pub(super) peer: Option<PeerId>,
    /// The address itself names the peer.
    pub(super) named: bool,
    pub(super) failures: u8,
    pub(super) retry_at: Option<Instant>,
    pub(super) dialling: bool,
}

/// The configured entrances to the network.
#[derive(Debug, Default)]
pub(super) struct Bootstraps(Vec<Bootstrap>);

impl Bootstraps {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Its index; `None` when the address is known or there are too many.
    pub(super) fn add(&mut self, addr: Multiaddr, peer: Option<PeerId>) -> Option<usize> {
        let is_known = |known: &Bootstrap| known.addr == addr && known.peer.filter(|_| known.named) == peer;
        if self.0.len() >= MAX_BOOTSTRAPS || self.0.iter().any(is_known) {
            return None;
        }
        let named = peer.is_some();
        self.0.push(Bootstrap { addr, peer, named, failures: 0, retry_at: None, dialling: false });
        Some(self.0.len() - 1)
    }

    pub(super) fn get(&self, index: usize) -> Option<&Bootstrap> {
        self.0.get(index)
    }

    pub(super) fn get_mut(&mut self, index: usize) -> Option<&mut Bootstrap> {
        self.0.get_mut(index)
    }

    /// Indices of the entrances, one for each address, that lead to a peer.
    pub(super) fn of_peer(&self, id: &PeerId) -> impl Iterator<Item = usize> {
        self.0.iter().enumerate().filter(|(_, entrance)| entrance.peer.as_ref() == Some(id)).map(|(index, _)| index)
    }

    /// Indices of the entrances that may be tried now.
    pub(super) fn due(&self, now: Instant) -> Vec<usize> {
        let is_due = |entrance: &Bootstrap| !entrance.dialling && entrance.retry_at.is_none_or(|at| at <= now);
        self.0.iter().enumerate().filter(|(_, entrance)| is_due(entrance)).map(|(index, _)| index).collect()
    }

    /// The next end of a back-off after `now`.
    pub(super) fn next_retry(&self, now: Instant) -> Option<Instant> {
        self.0.iter().filter(|entrance| !entrance.dialling).filter_map(|e| e.retry_at).filter(|at| *at > now).min()
    }
}

/// The wait after `failures` failed attempts in a row: doubles from `min_backoff`, jittered by half either way, at most
/// `max_backoff`.
pub(super) fn backoff(rng: &mut Rng, config: &PeersConfig, failures: u8) -> Duration {
    let doublings = u32::from(failures.saturating_sub(1)).min(32);
    let base = u128::from(micros(config.min_backoff)) << doublings;
    let capped = u64::try_from(base).unwrap_or(u64::MAX).min(micros(config.max_backoff));
    rng.jitter(Duration::from_micros(capped)).min(config.max_backoff)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Seed;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn backoff_doubles_within_its_bounds(seed in any::<u8>(), failures in 1u8..) {
            let config = PeersConfig::default();
            let mut rng = crate::rng::Rng::new(Seed([seed; 32]), "t");
            let wait = backoff(&mut rng, &config, failures);
            let base = (micros(config.min_backoff) << (u32::from(failures) - 1).min(20)).min(micros(config.max_backoff));
            prop_assert!(micros(wait) >= base / 2);
            prop_assert!(micros(wait) < base / 2 + base);
            prop_assert!(wait <= config.max_backoff);
        }
    }

    #[test]
    fn queue_and_waiting_room_are_bounded() {
        let mut dialer = Dialer::default();
        assert_eq!((0..1000).filter(|n| dialer.enqueue(PeerIx::new(*n, 1))).count(), MAX_QUEUED);
        let mut room = WaitingRoom::default();
        let message = || Waiting::Notice(crate::wire::registry::RegistryMessage::Compare { ranges: Vec::new() }.into());
        let accepted =
            (0..2000).filter(|n| room.push(Instant::ORIGIN, PeerIx::new(n % 100, 1), message()).is_ok()).count();
        assert_eq!(accepted, MAX_WAITING);
        let first = (0..100).filter(|_| room.push(Instant::ORIGIN, PeerIx::new(500, 1), message()).is_ok()).count();
        assert_eq!(first, 0);
        assert!(room.take(PeerIx::new(0, 1)).len() <= MAX_WAITING_PER_PEER);
    }
}
