//! Values kept: the best valid one per key.

use alloc::collections::BTreeMap;

use bytes::Bytes;

use crate::config::KadConfig;
use crate::id::PeerIx;
use crate::kad::position::{Distance, Position};
use crate::kad::validator::Rank;
use crate::time::Instant;

/// Bytes of keys and values kept. A garbage flood must stay well under 100 MiB.
const MAX_BYTES: usize = 32 * 1024 * 1024;

/// One peer may have brought at most this share of the values.
const SHARE_OF_ONE_SOURCE: usize = 8;

/// Keyed by the distance of the key from this node: in a full store the farthest, for which this node is least
/// responsible, gives way.
#[derive(Debug)]
pub(crate) struct Records {
    local: Position,
    by_distance: BTreeMap<Distance, Stored>,
    /// Values per peer that brought them first.
    sources: BTreeMap<PeerIx, usize>,
    bytes: usize,
}

/// A valid value, its signatures verified.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub(crate) key: Bytes,
    pub(crate) value: Bytes,
    pub(crate) rank: Rank,
    pub(crate) expires: Instant,
    /// The peer that brought it; `None` for one of this node itself, which is never evicted.
    pub(crate) source: Option<PeerIx>,
}

/// Why a value was not kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Refused {
    /// A better one is there.
    Older,
    /// No room.
    Full,
}

impl Records {
    pub(crate) fn new(local: Position) -> Self {
        Self { local, by_distance: BTreeMap::new(), sources: BTreeMap::new(), bytes: 0 }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.by_distance.is_empty()
    }

    pub(crate) fn get(&self, now: Instant, key: &[u8]) -> Option<&Stored> {
        self.by_distance.get(&self.distance(key)).filter(|stored| stored.expires > now)
    }

    /// Keeps a value unless a better one is there; an equal one lives on. True when it is new or better.
    pub(crate) fn insert(&mut self, now: Instant, max_records: usize, mut new: Stored) -> Result<bool, Refused> {
        let distance = self.distance(&new.key);
        let Some(old) = self.by_distance.get_mut(&distance).filter(|old| old.expires > now) else {
            self.remove(distance);
            self.make_room(distance, max_records, &new)?;
            self.put(distance, new);
            return Ok(true);
        };
        match new.best().cmp(&old.best()) {
            core::cmp::Ordering::Less => Err(Refused::Older),
            core::cmp::Ordering::Equal => {
                old.expires = old.expires.max(new.expires);
                if new.source.is_none() {
                    self.adopt(distance);
                }
                Ok(false)
            }
            core::cmp::Ordering::Greater => {
                // The place belongs to whoever brought the first value.
                new.source = new.source.map(|source| old.source.unwrap_or(source));
                self.remove(distance);
                self.put(distance, new);
                Ok(true)
            }
        }
    }

    /// The value of a key, if it is one of this node itself.
    pub(crate) fn own(&self, key: &[u8]) -> Option<&Bytes> {
        let stored = self.by_distance.get(&self.distance(key))?;
        stored.source.is_none().then_some(&stored.value)
    }

    /// Lets the value of a key live until `expires`.
    pub(crate) fn renew(&mut self, key: &[u8], expires: Instant) {
        if let Some(stored) = self.by_distance.get_mut(&self.local.distance(Position::of(key))) {
            stored.expires = expires;
        }
    }

    pub(crate) fn expire(&mut self, now: Instant) {
        let expired = |(distance, stored): (&Distance, &Stored)| (stored.expires <= now).then_some(*distance);
        let expired: alloc::vec::Vec<_> = self.by_distance.iter().filter_map(expired).collect();
        for distance in expired {
            self.remove(distance);
        }
    }

    /// See `Kad::assert_bounds`.
    pub(crate) fn assert_consistent(&self, config: &KadConfig) {
        assert!(self.by_distance.len() <= config.max_records.max(1) && self.bytes <= MAX_BYTES);
        assert_eq!(self.bytes, self.by_distance.values().map(Stored::size).sum::<usize>());
        let brought = self.by_distance.values().filter(|stored| stored.source.is_some()).count();
        assert_eq!(self.sources.values().sum::<usize>(), brought);
        assert!(self.sources.values().all(|count| *count > 0));
    }

    fn distance(&self, key: &[u8]) -> Distance {
        self.local.distance(Position::of(key))
    }

    fn make_room(&mut self, distance: Distance, max_records: usize, new: &Stored) -> Result<(), Refused> {
        if let Some(source) = new.source {
            let quota = (max_records / SHARE_OF_ONE_SOURCE).max(1);
            if self.sources.get(&source).is_some_and(|count| *count >= quota) {
                return Err(Refused::Full);
            }
        }
        while self.by_distance.len() >= max_records.max(1) || self.bytes + new.size() > MAX_BYTES {
            match self.farthest_evictable().filter(|farthest| new.source.is_none() || *farthest > distance) {
                Some(farthest) => self.remove(farthest),
                None => return Err(Refused::Full),
            }
        }
        Ok(())
    }

    fn farthest_evictable(&self) -> Option<Distance> {
        let mut evictable = self.by_distance.iter().rev().filter(|(_, stored)| stored.source.is_some());
        evictable.next().map(|(farthest, _)| *farthest)
    }

    fn adopt(&mut self, distance: Distance) {
        if let Some(stored) = self.by_distance.get_mut(&distance)
            && let Some(source) = stored.source.take()
        {
            self.leave(source);
        }
    }

    fn put(&mut self, distance: Distance, new: Stored) {
        self.bytes += new.size();
        while self.bytes > MAX_BYTES
            && let Some(farthest) = self.farthest_evictable()
        {
            self.remove(farthest);
        }
        if let Some(source) = new.source {
            *self.sources.entry(source).or_default() += 1;
        }
        self.by_distance.insert(distance, new);
    }

    fn remove(&mut self, distance: Distance) {
        if let Some(old) = self.by_distance.remove(&distance) {
            self.bytes -= old.size();
            if let Some(source) = old.source {
                self.leave(source);
            }
        }
    }

    fn leave(&mut self, source: PeerIx) {
        if let Some(count) = self.sources.get_mut(&source) {
            *count -= 1;
            if *count == 0 {
                self.sources.remove(&source);
            }
        }
    }
}

impl Stored {
    /// What the selector compares: the rank, then the bytes, so that every node chooses the same value.
    pub(crate) fn best(&self) -> (Rank, &[u8]) {
        (self.rank, &self.value)
    }

    fn size(&self) -> usize {
        self.key.len() + self.value.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Duration;
    use proptest::prelude::*;

    fn at(secs: u64) -> Instant {
        Instant::ORIGIN + Duration::from_secs(secs)
    }

    fn stored(key: &str, value: &str, sequence: u64, source: Option<usize>) -> Stored {
        Stored {
            key: Bytes::copy_from_slice(key.as_bytes()),
            value: Bytes::copy_from_slice(value.as_bytes()),
            rank: Rank::new(sequence, 0),
            expires: at(100),
            source: source.map(|slot| PeerIx::new(slot, 0)),
        }
    }

    fn value(records: &Records, now: u64, key: &str) -> Option<Bytes> {
        records.get(at(now), key.as_bytes()).map(|stored| stored.value.clone())
    }

    #[test]
    fn attack_20_older_never_replaces_newer_and_ties_are_decided_alike_everywhere() {
        let (a, b) = (stored("k", "a", 7, Some(1)), stored("k", "b", 7, Some(2)));
        for order in [[&a, &b], [&b, &a]] {
            let mut records = Records::new(Position::of(b"local"));
            for new in order {
                let _ = records.insert(at(0), 10, new.clone());
            }
            assert_eq!(value(&records, 0, "k").as_deref(), Some(&b"b"[..]));
            assert_eq!(records.insert(at(0), 10, stored("k", "z", 6, Some(3))), Err(Refused::Older));
        }
    }

    #[test]
    fn attack_23_a_withdrawn_value_loses_for_the_tombstones_lifetime() {
        let mut records = Records::new(Position::of(b"local"));
        assert_eq!(records.insert(at(0), 10, stored("k", "tombstone", 2, Some(1))), Ok(true));
        assert_eq!(records.insert(at(99), 10, stored("k", "withdrawn", 1, Some(2))), Err(Refused::Older));
        assert_eq!(value(&records, 99, "k").as_deref(), Some(&b"tombstone"[..]));
        assert_eq!(value(&records, 100, "k"), None, "expired: neither served nor found");
    }

    #[test]
    fn a_full_store_keeps_what_is_near_and_what_is_its_own() {
        let mut records = Records::new(Position::of(b"local"));
        assert_eq!(records.insert(at(0), 16, stored("own", "x", 0, None)), Ok(true));
        for number in 0..400 {
            let _ = records.insert(at(0), 16, stored(&alloc::format!("{number}"), "x", 0, Some(number % 20)));
        }
        assert_eq!(records.by_distance.len(), 16);
        assert!(records.own(b"own").is_some());
        let mut all: alloc::vec::Vec<_> =
            (0..400).map(|n| records.distance(alloc::format!("{n}").as_bytes())).collect();
        all.sort();
        let kept = records.by_distance.iter().filter(|(_, stored)| stored.source.is_some()).count();
        let nearest = all[..kept + 5].iter().filter(|d| records.by_distance.contains_key(d)).count();
        assert!(nearest >= 10, "{nearest} of the nearest are kept");
    }

    proptest! {
        #[test]
        fn quotas_and_counts_hold(steps in proptest::collection::vec((0u8..40, 0u8..4, 1usize..6, 0u64..300), 0..100)) {
            let mut records = Records::new(Position::of(b"local"));
            for (key, sequence, source, now) in steps {
                let mut new = stored(&alloc::format!("{key}"), "v", u64::from(sequence), Some(source));
                new.expires = at(now) + Duration::from_secs(50);
                let _ = records.insert(at(now), 16, new);
                if sequence == 3 {
                    records.expire(at(now));
                }
                records.assert_consistent(&KadConfig { max_records: 16, ..KadConfig::default() });
                prop_assert!(records.sources.values().all(|count| *count <= 2), "an eighth each");
            }
        }
    }
}
