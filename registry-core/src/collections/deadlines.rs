//! One keyed index of deadlines: O(log n) minimum, no tombstones.

use alloc::collections::{BTreeMap, BTreeSet};

use crate::time::Instant;

/// At most one deadline per key; ties are ordered by key.
#[derive(Clone, Debug)]
pub(crate) struct DeadlineIndex<K> {
    /// The earliest, at hand: it is read after every call of the node.
    first: Option<Instant>,
    by_time: BTreeSet<(Instant, K)>,
    by_key: BTreeMap<K, Instant>,
}

impl<K> Default for DeadlineIndex<K> {
    fn default() -> Self {
        Self { first: None, by_time: BTreeSet::new(), by_key: BTreeMap::new() }
    }
}

impl<K: Copy + Ord> DeadlineIndex<K> {
    /// Sets or moves the deadline of `key`.
    pub(crate) fn set(&mut self, key: K, at: Instant) {
        if let Some(old) = self.by_key.insert(key, at) {
            self.by_time.remove(&(old, key));
        }
        self.by_time.insert((at, key));
        self.note_first();
    }

    /// Forgets the deadline of `key`.
    pub(crate) fn clear(&mut self, key: K) {
        if let Some(old) = self.by_key.remove(&key) {
            self.by_time.remove(&(old, key));
            self.note_first();
        }
    }

    /// The deadline of `key`.
    pub(crate) fn get(&self, key: K) -> Option<Instant> {
        self.by_key.get(&key).copied()
    }

    /// The earliest deadline.
    pub(crate) fn next(&self) -> Option<Instant> {
        debug_assert_eq!(self.first, self.by_key.values().min().copied(), "index and map disagree");
        self.first
    }

    /// The latest deadline.
    pub(crate) fn last(&self) -> Option<Instant> {
        self.by_time.last().map(|(at, _)| *at)
    }

    /// Takes one key whose deadline is not later than `now`.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<K> {
        let (at, key) = *self.by_time.first()?;
        if at > now {
            return None;
        }
        self.by_time.pop_first();
        self.by_key.remove(&key);
        self.note_first();
        Some(key)
    }

    fn note_first(&mut self) {
        self.first = self.by_time.first().map(|(at, _)| *at);
    }

    pub(crate) fn len(&self) -> usize {
        self.by_key.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn agrees_with_brute_force(steps in proptest::collection::vec((0u8..8, 0u64..50, 0u8..3), 0..200)) {
            let mut index = DeadlineIndex::default();
            let mut model = BTreeMap::new();
            for (key, at, what) in steps {
                let at = Instant::from_micros(at);
                match what {
                    0 => {
                        index.set(key, at);
                        model.insert(key, at);
                    }
                    1 => {
                        index.clear(key);
                        model.remove(&key);
                    }
                    _ => {
                        let due = model.iter().filter(|(_, due)| **due <= at).map(|(k, due)| (*due, *k)).min();
                        prop_assert_eq!(index.pop_due(at), due.map(|(_, k)| k));
                        due.map(|(_, k)| model.remove(&k));
                    }
                }
                prop_assert_eq!(index.next(), model.values().min().copied());
                prop_assert_eq!(index.len(), model.len());
                prop_assert_eq!(index.get(key), model.get(&key).copied());
            }
        }
    }
}
