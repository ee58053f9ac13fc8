//! Randomness is an input: one seed, one ChaCha8 stream per machine.

use alloc::vec::Vec;
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng as _, SeedableRng};
use sha2::{Digest as _, Sha256};

use crate::time::{Duration, micros};

/// The 32 bytes that decide every random choice of a node. There is no default.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Seed(pub [u8; 32]);

/// One labelled stream of random numbers.
///
/// Sampling is our own, so that a library's changed method cannot change a replay.
#[derive(Clone, Debug)]
pub struct Rng(ChaCha8Rng);

impl Rng {
    /// The stream `label` of `seed`; streams of different labels are independent.
    pub fn new(seed: Seed, label: &str) -> Self {
        let mut hash = Sha256::new();
        hash.update(seed.0);
        hash.update(label.as_bytes());
        Self(ChaCha8Rng::from_seed(hash.finalize().into()))
    }

    /// 64 uniform bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// Fills `bytes` with uniform bits.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        self.0.fill_bytes(bytes);
    }

    /// A uniform number in `0..bound`; 0 when `bound` is 0 (a draw is made all the same).
    pub fn below(&mut self, bound: u64) -> u64 {
        // Widening multiplication: the bias is under bound / 2^64.
        let wide = u128::from(self.next_u64()) * u128::from(bound);
        (wide >> 64) as u64
    }

    /// A uniform index into a list of `len` entries.
    pub fn index(&mut self, len: usize) -> usize {
        self.below(len as u64) as usize
    }

    /// True with probability `numerator / denominator`.
    pub fn chance(&mut self, numerator: u64, denominator: u64) -> bool {
        self.below(denominator) < numerator
    }

    /// A uniform duration in `[duration / 2, duration * 3 / 2)`.
    pub fn jitter(&mut self, duration: Duration) -> Duration {
        let whole = micros(duration);
        Duration::from_micros((whole / 2).saturating_add(self.below(whole)))
    }

    /// Fisher-Yates.
    pub fn shuffle<T>(&mut self, list: &mut [T]) {
        for i in (1..list.len()).rev() {
            list.swap(i, self.index(i + 1));
        }
    }

    /// Up to `count` entries of `list` in random order, without repetition.
    pub fn sample<T>(&mut self, mut list: Vec<T>, count: usize) -> Vec<T> {
        let count = count.min(list.len());
        for i in 0..count {
            let j = i + self.index(list.len() - i);
            list.swap(i, j);
        }
        list.truncate(count);
        list
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    #[test]
    fn streams_are_stable_and_independent() {
        let seed = Seed([7; 32]);
        assert_eq!(Rng::new(seed, "a").next_u64(), Rng::new(seed, "a").next_u64());
        assert_ne!(Rng::new(seed, "a").next_u64(), Rng::new(seed, "b").next_u64());
    }

    #[test]
    fn sampling_stays_in_range() {
        let mut rng = Rng::new(Seed([1; 32]), "t");
        assert_eq!(rng.below(0), 0);
        assert!((0..1000).all(|_| rng.below(3) < 3));
        let mut sample = rng.sample(vec![1, 2, 3, 4], 9);
        sample.sort();
        assert_eq!(sample, [1, 2, 3, 4]);
    }
}
