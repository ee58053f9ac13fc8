//! A bounded set of recently seen digests: two generations, rotated by age or size.

use crate::collections::LookupMap;
use crate::id::Digest;
use crate::time::{Duration, Instant};

/// Remembers an inserted digest for at least `ttl`, unless more than `capacity` digests arrive meanwhile.
#[derive(Clone, Debug)]
pub(crate) struct SeenCache {
    secret: u64,
    young: LookupMap<Digest, ()>,
    old: LookupMap<Digest, ()>,
    rotated: Instant,
    rotations: u64,
    ttl: Duration,
    capacity: usize,
}

impl SeenCache {
    pub(crate) fn new(secret: u64, now: Instant, ttl: Duration, capacity: usize) -> Self {
        Self {
            secret,
            young: LookupMap::new(secret),
            old: LookupMap::new(secret),
            rotated: now,
            rotations: 0,
            ttl,
            capacity,
        }
    }

    pub(crate) fn contains(&self, digest: &Digest) -> bool {
        self.young.get(digest).is_some() || self.old.get(digest).is_some()
    }

    /// True when the digest was not there.
    pub(crate) fn insert(&mut self, now: Instant, digest: Digest) -> bool {
        if now.since(self.rotated) >= self.ttl || self.young.len() >= self.capacity / 2 {
            self.old = core::mem::replace(&mut self.young, LookupMap::new(self.secret));
            self.rotated = now;
            self.rotations += 1;
        }
        let fresh = !self.contains(&digest);
        self.young.insert(digest, ());
        fresh
    }

    /// How often the older generation was forgotten: a digest inserted at `n` is known until `n + 2`.
    pub(crate) fn rotations(&self) -> u64 {
        self.rotations
    }

    pub(crate) fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remembers_for_the_ttl_and_stays_bounded() {
        let at = |secs: u64| Instant::from_micros(secs * 1_000_000);
        let mut seen = SeenCache::new(1, at(0), Duration::from_secs(120), 100);
        assert!(seen.insert(at(0), Digest::of(b"a")));
        assert!(!seen.insert(at(119), Digest::of(b"a")));
        for i in 0..1000u32 {
            seen.insert(at(119), Digest::of(&i.to_be_bytes()));
        }
        assert!(seen.len() <= 100);
        assert!(!seen.contains(&Digest::of(b"a")));
    }
}
