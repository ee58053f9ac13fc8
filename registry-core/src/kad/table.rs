//! The routing table: one bucket of up to k servers for each length of prefix shared with this node (K3).
//!
//! A live entry never gives way to a newcomer (seniority, K9), so a flood of fresh identities cannot push out peers
//! that were there before. Only an entry whose last request failed, or that cannot be reached, is replaceable.

use alloc::vec::Vec;

use crate::collections::PeerMap;
use crate::id::PeerIx;
use crate::kad::position::{Distance, Position};
use crate::time::Instant;

/// Failed requests in a row after which a peer is taken for dead.
const MAX_FAILURES: u8 = 2;

/// A server this node was connected to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(crate) position: Position,
    pub(crate) peer: PeerIx,
    /// When it last gave a sign of life, in whole seconds.
    seen: u32,
    /// Requests that failed since.
    failures: u8,
    /// For checkers: who gave way to it without a failed request.
    pub(crate) displaced: Option<PeerIx>,
}

impl Entry {
    pub(crate) fn is_failing(&self) -> bool {
        self.failures > 0
    }
}

/// What became of an offered peer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Admission {
    Added,
    Replaced(PeerIx),
    Known,
    /// Its bucket is full of live seniors, or it is this node itself.
    Refused,
}

/// Buckets are allocated when first used; the index finds a peer's bucket without hashing its id again.
#[derive(Debug)]
pub(crate) struct Table {
    local: Position,
    k: usize,
    buckets: Vec<Vec<Entry>>,
    bucket_of: PeerMap<u8>,
    /// Counts changes of members and of what is known of their failures.
    version: u64,
}

impl Table {
    pub(crate) fn new(local: Position, k: usize) -> Self {
        Self { local, k: k.max(1), buckets: Vec::new(), bucket_of: PeerMap::default(), version: 0 }
    }

    pub(crate) fn local(&self) -> Position {
        self.local
    }

    pub(crate) fn len(&self) -> usize {
        self.bucket_of.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bucket_of.is_empty()
    }

    pub(crate) fn contains(&self, peer: PeerIx) -> bool {
        self.bucket_of.contains(peer)
    }

    /// Buckets up to the deepest one that has an entry.
    pub(crate) fn depth(&self) -> usize {
        self.buckets.iter().rposition(|bucket| !bucket.is_empty()).map_or(0, |deepest| deepest + 1)
    }

    /// For checkers: the entries of each bucket, from the one that shares no bit with this node on.
    pub(crate) fn buckets(&self) -> impl Iterator<Item = &[Entry]> {
        self.buckets.iter().map(Vec::as_slice)
    }

    /// For checkers: another number whenever a member or its failures have changed.
    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    /// Every entry, bucket by bucket, seniors first.
    pub(crate) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.buckets.iter().flatten()
    }

    /// Offers a peer. In a full bucket it replaces the longest silent entry for which `gone` holds or whose last
    /// request failed.
    pub(crate) fn admit(
        &mut self,
        now: Instant,
        peer: PeerIx,
        position: Position,
        gone: impl Fn(PeerIx) -> bool,
    ) -> Admission {
        let index = self.local.distance(position).common_prefix();
        let Ok(number) = u8::try_from(index) else { return Admission::Refused };
        if self.contains(peer) {
            return Admission::Known;
        }
        if self.buckets.len() <= index {
            self.buckets.resize_with(index + 1, Vec::new);
        }
        let Some(bucket) = self.buckets.get_mut(index) else { return Admission::Refused };
        let replaced = if bucket.len() < self.k {
            None
        } else {
            let replaceable = bucket.iter().enumerate().filter(|(_, entry)| entry.is_failing() || gone(entry.peer));
            match replaceable.min_by_key(|(_, entry)| (entry.seen, entry.peer)) {
                Some((at, _)) => Some(bucket.remove(at)),
                None => return Admission::Refused,
            }
        };
        self.version += 1;
        let displaced = replaced.filter(|old| !old.is_failing()).map(|old| old.peer);
        bucket.push(Entry { position, peer, seen: seconds(now), failures: 0, displaced });
        self.bucket_of.insert(peer, number);
        match replaced {
            Some(Entry { peer: old, .. }) => {
                self.bucket_of.remove(old);
                Admission::Replaced(old)
            }
            None => Admission::Added,
        }
    }

    /// The peer gave a sign of life; false when it is not in the table.
    pub(crate) fn touch(&mut self, now: Instant, peer: PeerIx) -> bool {
        let Some(entry) = self.entry_mut(peer) else { return false };
        entry.seen = seconds(now);
        let failures = core::mem::take(&mut entry.failures);
        self.version += u64::from(failures > 0);
        true
    }

    /// A request to the peer failed; true when it is taken for dead now (the caller removes it).
    pub(crate) fn fail(&mut self, peer: PeerIx) -> bool {
        self.version += 1;
        self.entry_mut(peer).is_some_and(|entry| {
            entry.failures = entry.failures.saturating_add(1);
            entry.failures >= MAX_FAILURES
        })
    }

    /// The removed peer's bucket.
    pub(crate) fn remove(&mut self, peer: PeerIx) -> Option<usize> {
        let index = usize::from(self.bucket_of.remove(peer)?);
        self.version += 1;
        self.buckets.get_mut(index)?.retain(|entry| entry.peer != peer);
        Some(index)
    }

    /// Is the bucket full of peers that gave a sign of life since `since`?
    pub(crate) fn is_settled(&self, bucket: usize, since: Instant) -> bool {
        self.buckets.get(bucket).is_some_and(|bucket| {
            bucket.len() >= self.k && bucket.iter().all(|entry| !entry.is_failing() && entry.seen >= seconds(since))
        })
    }

    /// Peers without a sign of life since `since`, deepest bucket first.
    pub(crate) fn silent_since(&self, since: Instant) -> impl Iterator<Item = PeerIx> {
        let since = seconds(since);
        self.buckets.iter().rev().flatten().filter(move |entry| entry.seen < since).map(|entry| entry.peer)
    }

    /// The `count` entries closest to `target` among those to be kept, closest first.
    pub(crate) fn closest(
        &self,
        target: Position,
        count: usize,
        mut keep: impl FnMut(&Entry) -> bool,
    ) -> Vec<(Distance, PeerIx)> {
        let home = self.local.distance(target).common_prefix();
        let mut found = Vec::with_capacity(2 * self.k);
        let mut collect = |bucket: &Vec<Entry>| {
            let kept = bucket.iter().filter(|entry| keep(entry));
            found.extend(kept.map(|entry| (entry.position.distance(target), entry.peer)));
            found.len() >= count
        };
        // Entries of the target's own bucket agree with it in one bit more than deeper ones do; of the shallower
        // buckets each is farther than the one after it.
        let full = self.buckets.get(home).is_some_and(&mut collect);
        if !full {
            let (shallower, rest) = self.buckets.split_at(home.min(self.buckets.len()));
            rest.iter().skip(1).for_each(|bucket| {
                collect(bucket);
            });
            shallower.iter().rev().any(collect);
        }
        found.sort_unstable();
        found.truncate(count);
        found
    }

    /// See `Kad::assert_bounds`.
    pub(crate) fn assert_consistent(&self) {
        let mut peers: Vec<_> = self.entries().map(|entry| entry.peer).collect();
        peers.sort_unstable();
        let mut indexed: Vec<_> = self.bucket_of.iter().map(|(peer, _)| peer).collect();
        indexed.sort_unstable();
        assert_eq!(peers, indexed, "the index names each entry once");
        for (index, bucket) in self.buckets.iter().enumerate() {
            assert!(bucket.len() <= self.k, "a bucket of more than k");
            let prefix = |entry: &Entry| self.local.distance(entry.position).common_prefix();
            assert!(bucket.iter().all(|entry| prefix(entry) == index), "an entry in a foreign bucket");
        }
    }

    fn entry_mut(&mut self, peer: PeerIx) -> Option<&mut Entry> {
        let index = usize::from(*self.bucket_of.get(peer)?);
        self.buckets.get_mut(index)?.iter_mut().find(|entry| entry.peer == peer)
    }
}

fn seconds(at: Instant) -> u32 {
    u32::try_from(at.as_micros() / 1_000_000).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Duration;
    use alloc::collections::BTreeSet;
    use proptest::prelude::*;

    fn at(secs: u64) -> Instant {
        Instant::ORIGIN + Duration::from_secs(secs)
    }

    fn position(number: u32) -> Position {
        Position::of(&number.to_be_bytes())
    }

    fn peer(number: u32) -> PeerIx {
        PeerIx::new(number as usize, 0)
    }

    fn local() -> Position {
        Position::of(b"local")
    }

    #[test]
    fn refuses_itself() {
        let mut table = Table::new(local(), 20);
        assert_eq!(table.admit(at(0), peer(0), local(), |_| true), Admission::Refused);
    }

    #[test]
    fn attack_31_a_flood_of_newcomers_leaves_live_seniors() {
        let mut table = Table::new(local(), 4);
        for number in 0..100 {
            let _ = table.admit(at(0), peer(number), position(number), |_| false);
        }
        let seniors: BTreeSet<_> = table.entries().map(|entry| entry.peer).collect();
        for number in 100..2_000 {
            let _ = table.admit(at(1), peer(number), position(number), |_| false);
        }
        let present: BTreeSet<_> = table.entries().map(|entry| entry.peer).collect();
        assert!(present.is_superset(&seniors));
        assert!(table.len() <= 4 * 16);
    }

    #[test]
    fn a_failing_or_unreachable_entry_gives_way_the_longest_silent_first() {
        let mut table = Table::new(local(), 2);
        let far: Vec<u32> = (0..100).filter(|n| local().distance(position(*n)).common_prefix() == 0).collect();
        assert_eq!(table.admit(at(0), peer(far[0]), position(far[0]), |_| false), Admission::Added);
        assert_eq!(table.admit(at(1), peer(far[1]), position(far[1]), |_| false), Admission::Added);
        assert_eq!(table.admit(at(1), peer(far[1]), position(far[1]), |_| false), Admission::Known);
        assert_eq!(table.admit(at(2), peer(far[2]), position(far[2]), |_| false), Admission::Refused);
        assert_eq!(
            table.admit(at(2), peer(far[2]), position(far[2]), |_| true),
            Admission::Replaced(peer(far[0])),
            "both are gone, the first is silent for longer"
        );
        assert!(!table.fail(peer(far[1])));
        assert_eq!(table.admit(at(3), peer(far[3]), position(far[3]), |_| false), Admission::Replaced(peer(far[1])));
        assert!(!table.fail(peer(far[3])));
        assert!(table.touch(at(4), peer(far[3])));
        assert!(!table.fail(peer(far[3])), "an answer in between clears the record");
        assert!(table.fail(peer(far[3])));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn invariants_hold(steps in proptest::collection::vec((0u32..100, 0u8..5), 0..150), k in 1usize..6) {
            let mut table = Table::new(local(), k);
            for (step, (number, what)) in steps.into_iter().enumerate() {
                let now = at(step as u64);
                match what {
                    0..2 => {
                        let healthy: Vec<_> =
                            table.entries().filter(|e| !e.is_failing()).map(|e| e.peer).collect();
                        let _ = table.admit(now, peer(number), position(number), |_| false);
                        prop_assert!(healthy.iter().all(|peer| table.contains(*peer)), "a live senior stays");
                    }
                    2 => prop_assert_eq!(table.touch(now, peer(number)), table.contains(peer(number))),
                    3 => {
                        table.fail(peer(number));
                    }
                    _ => {
                        table.remove(peer(number));
                        prop_assert!(!table.contains(peer(number)));
                    }
                }
                table.assert_consistent();
            }
            for target in 1000..1010 {
                let target = position(target);
                let mut all: Vec<_> = table.entries().map(|e| (e.position.distance(target), e.peer)).collect();
                all.sort();
                all.truncate(7);
                prop_assert_eq!(table.closest(target, 7, |_| true), all, "the same as by brute force");
            }
        }
    }
}
