//! Who or what is left alone for a while, longer each time.

use alloc::collections::BTreeMap;

use crate::time::{Duration, Instant};

/// The first setback; each further one lasts twice as long, up to an hour.
const FIRST: Duration = Duration::from_secs(60);
const LONGEST: Duration = Duration::from_secs(3600);

/// Kept per list; beyond that the one that ends first is forgotten.
const MAX_KEPT: usize = 1024;

/// At most `MAX_KEPT` keys, each with the end of its setback and how many it has had.
#[derive(Debug)]
pub(super) struct Setbacks<K>(BTreeMap<K, (Instant, u32)>);

impl<K> Default for Setbacks<K> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<K: Copy + Ord> Setbacks<K> {
    pub(super) fn is_active(&self, now: Instant, key: K) -> bool {
        self.0.get(&key).is_some_and(|(until, _)| *until > now)
    }

    /// Begins a setback; one that lasts already stays as it is.
    pub(super) fn note(&mut self, now: Instant, key: K) {
        if self.is_active(now, key) {
            return;
        }
        let (until, times) = self.0.entry(key).or_insert((now, 0));
        *until = now + FIRST.saturating_mul(1 << (*times).min(6)).min(LONGEST);
        *times = times.saturating_add(1);
        if self.0.len() > MAX_KEPT
            && let Some(first) = self.0.iter().map(|(key, (until, _))| (*until, *key)).min()
        {
            self.0.remove(&first.1);
        }
    }

    pub(super) fn forgive(&mut self, key: K) {
        self.0.remove(&key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn setbacks_double_up_to_an_hour_and_stay_bounded() {
        let mut setbacks = Setbacks::default();
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
        assert_eq!(setbacks.0.len(), MAX_KEPT);
        assert!(!setbacks.0.contains_key(&0) && setbacks.0.contains_key(&1999));
    }
}
