//! The interner and what is known of each peer.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec::Vec;

use multiaddr::Multiaddr;

use super::Observed;
use super::addr::Addrs;
use super::score::Score;
use crate::collections::HandleTable;
use crate::id::{DialId, PeerId, PeerIx};
use crate::input::{ProtocolSet, Side};
use crate::time::Instant;

/// When the book is full, this share of it is forgotten at once: one scan per so many newcomers.
const SHED_DIVISOR: usize = 16;

/// A live connection.
#[derive(Debug)]
pub(super) struct Conn {
    pub(super) addr: Multiaddr,
    pub(super) side: Side,
    pub(super) since: Instant,
    pub(super) identified: bool,
    pub(super) agent: String,
    pub(super) protocols: ProtocolSet,
}

/// Where a dial to a peer is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum DialState {
    Idle,
    Queued,
    InFlight(DialId),
}

/// First-hand experience, good and bad; kept as long as the peer is known.
#[derive(Debug, Default)]
pub(super) struct History {
    pub(super) observed: Observed,
    pub(super) score: Score,
}

/// What is known of one peer.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) id: PeerId,
    pub(super) addrs: Addrs,
    /// Dials in a row that led to no lasting connection.
    pub(super) failures: u8,
    pub(super) retry_at: Option<Instant>,
    pub(super) dial: DialState,
    /// Asked to close; the shell has not confirmed it yet.
    pub(super) closing: bool,
    /// Called on, to see whether it leads to others than this node knows.
    pub(super) visited: bool,
    pub(super) conn: Option<Box<Conn>>,
    pub(super) history: Option<Box<History>>,
    pins: u32,
    /// Sequence number of the last sign of interest.
    touched: u64,
}

impl Entry {
    fn new(id: PeerId, touched: u64) -> Self {
        Self {
            id,
            addrs: Addrs::default(),
            failures: 0,
            retry_at: None,
            dial: DialState::Idle,
            closing: false,
            visited: false,
            conn: None,
            history: None,
            pins: 0,
            touched,
        }
    }

    pub(super) fn is_pinned(&self) -> bool {
        self.pins > 0
    }

    pub(super) fn history(&mut self) -> &mut History {
        self.history.get_or_insert_default()
    }

    fn may_be_forgotten(&self) -> bool {
        !self.is_pinned() && self.conn.is_none() && !self.closing && self.dial == DialState::Idle
    }

    /// Lower is forgotten earlier: first who cannot be dialled, then hearsay, then who was reached once; within one
    /// rank the one nobody mentioned for longest.
    fn usefulness(&self) -> (u8, u64) {
        let rank = match (self.addrs.confirmed().is_empty(), self.addrs.all().is_empty()) {
            (_, true) => 0,
            (true, false) => 1,
            (false, false) => 2,
        };
        (2 * rank + u8::from(self.failures == 0), self.touched)
    }
}

#[derive(Debug)]
struct Slot {
    generation: u16,
    entry: Option<Entry>,
}

fn id_in<'a>(slots: &'a [Slot]) -> impl Fn(PeerIx) -> Option<&'a PeerId> {
    |peer| slots.get(peer.slot())?.entry.as_ref().map(|entry| &entry.id)
}

/// Peers by handle and by id. Holds at most `max_known` peers, and those connected beyond that.
#[derive(Debug)]
pub(super) struct Book {
    slots: Vec<Slot>,
    free: VecDeque<usize>,
    by_id: HandleTable<PeerIx>,
    max_known: usize,
    sequence: u64,
}

impl Book {
    pub(super) fn new(secret: u64, max_known: usize) -> Self {
        Self { slots: Vec::new(), free: VecDeque::new(), by_id: HandleTable::new(secret), max_known, sequence: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(super) fn find(&self, id: &PeerId) -> Option<PeerIx> {
        self.by_id.find(id, id_in(&self.slots))
    }

    pub(super) fn get(&self, peer: PeerIx) -> Option<&Entry> {
        let slot = self.slots.get(peer.slot())?;
        slot.entry.as_ref().filter(|_| slot.generation == peer.generation())
    }

    pub(super) fn get_mut(&mut self, peer: PeerIx) -> Option<&mut Entry> {
        let slot = self.slots.get_mut(peer.slot())?;
        slot.entry.as_mut().filter(|_| slot.generation == peer.generation())
    }

    /// In ascending order of slot.
    pub(super) fn iter(&self) -> impl Iterator<Item = (PeerIx, &Entry)> {
        self.slots
            .iter()
            .enumerate()
            .filter_map(|(index, slot)| slot.entry.as_ref().map(|entry| (PeerIx::new(index, slot.generation), entry)))
    }

    /// The handle of a peer. When the book is full of peers that must stay, a newcomer gets a handle that resolves to
    /// nothing.
    pub(super) fn intern(&mut self, id: PeerId) -> PeerIx {
        if let Some(known) = self.touch(&id) {
            return known;
        }
        if self.len() >= self.max_known {
            self.shed();
        }
        if self.len() >= self.max_known { PeerIx::NOBODY } else { self.insert(id) }
    }

    /// As `intern`, for a peer that has just connected: connections have a bound of their own.
    pub(super) fn intern_connected(&mut self, id: PeerId) -> PeerIx {
        if let Some(known) = self.touch(&id) {
            return known;
        }
        if self.len() >= self.max_known {
            self.shed();
        }
        self.insert(id)
    }

    pub(super) fn pin(&mut self, peer: PeerIx) {
        if let Some(entry) = self.get_mut(peer) {
            entry.pins = entry.pins.saturating_add(1);
        }
    }

    pub(super) fn release(&mut self, peer: PeerIx) {
        if let Some(entry) = self.get_mut(peer) {
            entry.pins = entry.pins.saturating_sub(1);
        }
    }

    #[cfg(test)]
    pub(super) fn pins(&self) -> u32 {
        self.iter().map(|(_, entry)| entry.pins).sum()
    }

    fn touch(&mut self, id: &PeerId) -> Option<PeerIx> {
        let known = self.find(id)?;
        self.sequence += 1;
        let sequence = self.sequence;
        self.get_mut(known)?.touched = sequence;
        Some(known)
    }

    fn insert(&mut self, id: PeerId) -> PeerIx {
        let index = match self.free.pop_front() {
            Some(index) => index,
            None if self.slots.len() < PeerIx::MAX_SLOTS => {
                self.slots.push(Slot { generation: 1, entry: None });
                self.slots.len() - 1
            }
            None => return PeerIx::NOBODY,
        };
        let Some(slot) = self.slots.get_mut(index) else { return PeerIx::NOBODY };
        self.sequence += 1;
        slot.entry = Some(Entry::new(id, self.sequence));
        let peer = PeerIx::new(index, slot.generation);
        self.by_id.insert(&id, peer, id_in(&self.slots));
        peer
    }

    fn shed(&mut self) {
        let mut candidates: Vec<_> = self
            .iter()
            .filter(|(_, entry)| entry.may_be_forgotten())
            .map(|(peer, entry)| (entry.usefulness(), peer))
            .collect();
        candidates.sort_unstable();
        let surplus = self.len().saturating_sub(self.max_known);
        for (_, peer) in candidates.into_iter().take(surplus + (self.max_known / SHED_DIVISOR).max(1)) {
            self.forget(peer);
        }
    }

    fn forget(&mut self, peer: PeerIx) {
        let Some(id) = self.get(peer).map(|entry| entry.id) else { return };
        self.by_id.remove(&id, id_in(&self.slots));
        if let Some(slot) = self.slots.get_mut(peer.slot()) {
            slot.entry = None;
            if slot.generation < PeerIx::MAX_GENERATION {
                slot.generation += 1;
                self.free.push_back(peer.slot());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Digest;
    use alloc::collections::BTreeMap;
    use proptest::prelude::*;

    fn id(n: u16) -> PeerId {
        PeerId::from_ed25519(&Digest::of(&n.to_be_bytes()).0)
    }

    #[test]
    fn a_slot_retires_before_its_generations_repeat() {
        let mut book = Book::new(1, 1);
        let mut seen = alloc::collections::BTreeSet::new();
        for n in 0..40_000u32 {
            assert!(seen.insert(book.intern(id((n % 3) as u16))), "handle used twice");
        }
        assert!(!seen.contains(&PeerIx::NOBODY));
        assert!(book.slots.len() <= 3);
    }

    #[test]
    fn a_full_book_of_pinned_peers_takes_only_connected_ones() {
        let mut book = Book::new(1, 2);
        for n in 0..2 {
            let peer = book.intern(id(n));
            book.pin(peer);
        }
        assert_eq!(book.intern(id(2)), PeerIx::NOBODY);
        assert!(book.get(PeerIx::NOBODY).is_none());
        assert_ne!(book.intern_connected(id(3)), PeerIx::NOBODY);
        let pinned = book.find(&id(0)).unwrap();
        book.release(pinned);
        book.intern(id(4));
        assert_eq!(book.find(&id(0)), None);
        assert!(book.find(&id(1)).is_some());
    }

    #[test]
    fn the_least_useful_peer_is_forgotten_first() {
        let mut book = Book::new(1, 4);
        let [reached, heard, failed, unknown] = [0, 1, 2, 3].map(|n| book.intern(id(n)));
        let addr: Multiaddr = "/ip4/8.8.8.8/tcp/1".parse().unwrap();
        book.get_mut(reached).unwrap().addrs.confirm(addr.clone());
        book.get_mut(heard).unwrap().addrs.hear([addr.clone()].into_iter(), false);
        book.get_mut(failed).unwrap().addrs.hear([addr].into_iter(), false);
        book.get_mut(failed).unwrap().failures = 1;
        let mut order = alloc::vec![];
        for n in 10..13 {
            let newcomer = book.intern(id(n));
            book.pin(newcomer);
            order.push([reached, heard, failed, unknown].map(|peer| book.get(peer).is_some()));
        }
        assert_eq!(order, [[true, true, true, false], [true, true, false, false], [true, false, false, false]]);
    }

    proptest! {
        #[test]
        fn handles_never_alias_and_the_cap_holds(steps in proptest::collection::vec((0u16..40, 0u8..4), 0..300)) {
            let mut book = Book::new(7, 12);
            let mut handles: BTreeMap<PeerIx, PeerId> = BTreeMap::new();
            for (n, what) in steps {
                let peer = book.intern(id(n));
                match what {
                    0 => book.pin(peer),
                    1 => book.release(peer),
                    _ => {}
                }
                if peer != PeerIx::NOBODY {
                    let owner = handles.entry(peer).or_insert(id(n));
                    prop_assert_eq!(*owner, id(n));
                }
                for (peer, owner) in &handles {
                    prop_assert!(book.get(*peer).is_none_or(|entry| entry.id == *owner));
                }
                prop_assert!(book.len() <= 12);
                prop_assert_eq!(book.iter().count(), book.len());
                for (peer, entry) in book.iter() {
                    prop_assert_eq!(book.find(&entry.id), Some(peer));
                }
            }
        }
    }
}
