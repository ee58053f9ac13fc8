//! Who or what is left alone for a while, longer each time.

use alloc::collections::{BTreeMap, BTreeSet};

use crate::time::{Duration, Instant};

/// The first setback; each further one lasts twice as long, up to an hour.
const FIRST: Duration = Duration::from_secs(60);
const LONGEST: Duration = Duration::from_secs(3600);

/// Some keys, each with the end of its setback and how many it has had. Beyond `capacity` the one that ends first is
/// forgotten.
#[derive(Debug)]
pub(super) struct Setbacks<K> {
    kept: BTreeMap<K, (Instant, u32)>,
    by_end: BTreeSet<(Instant, K)>,
    capacity: usize,
}

impl<K: Copy + Ord> Setbacks<K> {
    pub(super) fn new(capacity: usize) -> Self {
        Self { kept: BTreeMap::new(), by_end: BTreeSet::new(), capacity }
    }

    pub(super) fn is_active(&self, now: Instant, key: K) -> bool {
        self.kept.get(&key).is_some_and(|(until, _)| *until > now)
    }

    /// Begins a setback; one that lasts already stays as it is.
    pub(super) fn note(&mut self, now: Instant, key: K) {
        if self.is_active(now, key) {
            return;
        }
        let (until, times) = self.kept.entry(key).or_insert((now, 0));
        self.by_end.remove(&(*until, key));
        *until = now + FIRST.saturating_mul(1 << (*times).min(6)).min(LONGEST);
        *times = times.saturating_add(1);
        self.by_end.insert((*until, key));
        if self.kept.len() > self.capacity
            && let Some((_, first)) = self.by_end.pop_first()
        {
            self.kept.remove(&first);
        }
    }

    pub(super) fn forgive(&mut self, key: K) {
        if let Some((until, _)) = self.kept.remove(&key) {
            self.by_end.remove(&(until, key));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn setbacks_double_up_to_an_hour_and_stay_bounded() {
        let mut setbacks = Setbacks::new(1024);
        let mut now = Instant::ORIGIN;
        let mut lengths = alloc::vec![];
        for _ in 0..9 {
            let start = now;
            setbacks.note(now, 7);
            while setbacks.is_active(now, 7) {
                now = now + Duration::from_secs(60);
            }
            lengths.push(now.since(start).as_secs() / 60);
        }
        assert_eq!(lengths, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        setbacks.forgive(7);
        setbacks.note(now, 7);
        assert!(!setbacks.is_active(now + FIRST, 7));
        setbacks.forgive(7);
        (0..2000).for_each(|key| setbacks.note(now + Duration::from_secs(key), key));
        assert_eq!((setbacks.kept.len(), setbacks.by_end.len()), (1024, 1024));
        assert!(!setbacks.kept.contains_key(&0) && setbacks.kept.contains_key(&1999));
    }
}
