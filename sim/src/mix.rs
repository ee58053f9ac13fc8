//! Stateless randomness: every draw is a function of what it is for, so that no draw shifts another.

use core::hash::{BuildHasher, Hasher};

use registry_core::{Rng, Seed};
use xxhash_rust::xxh3::xxh3_64;

/// What a draw is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u64)]
pub enum Domain {
    /// Where a node is.
    Coordinates = 1,
    /// How much later than usual a message arrives.
    Jitter,
    /// Whether a message is lost.
    Loss,
    /// How a lost request ends.
    LossKind,
    /// How a crash looks from outside.
    Crash,
    /// How many unanswered writes survive a crash.
    Torn,
    /// How long the disk takes.
    Disk,
    /// Which node gets a spurious timeout.
    Spurious,
    /// Which connection of a node breaks.
    Reset,
    /// Whether a direction between two nodes goes bad, or good.
    Burst,
    /// Whether a message is lost again.
    Retransmit,
    /// How a delay is stretched.
    Tail,
    /// Which delays are stretched most.
    RareTail,
    /// Whether a message arrives twice.
    Duplicate,
    /// Whether a message is overtaken.
    Reorder,
    /// Whether a bit is flipped on the way.
    Corrupt,
    /// Whether a node damages what it sends.
    Garble,
    /// Which pairs of nodes cannot reach each other.
    Pairs,
    /// Which disk requests fail.
    DiskError,
    /// Which disk requests stall.
    DiskStall,
    /// For how long.
    DiskStallTime,
    /// Which blocks rot.
    BitRot,
    /// When a shell looks at the wall clock.
    WallCheck,
    /// What hostile nodes make up.
    Hostile,
}

/// A bijection of 64 bits in which every input bit moves every output bit (the finaliser of SplitMix64).
pub const fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// 64 uniform bits for (seed, domain, node, counter).
pub const fn draw(seed: u64, domain: Domain, node: u64, counter: u64) -> u64 {
    const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
    let domain = mix(seed.wrapping_add((domain as u64).wrapping_mul(STEP)));
    mix(mix(domain ^ mix(node.wrapping_add(STEP))).wrapping_add(counter.wrapping_mul(STEP)))
}

/// Scales 64 uniform bits to `0..bound`.
pub const fn scale(bits: u64, bound: u64) -> u64 {
    ((bits as u128 * bound as u128) >> 64) as u64
}

/// The stream of random numbers `domain/node/counter` of a run's seed.
pub fn stream(seed: u64, domain: &str, node: u32, counter: u32) -> Rng {
    Rng::new(root(seed), &format!("{domain}/{node}/{counter}"))
}

/// A node's seed: another one for each of its lives.
pub fn node_seed(seed: u64, node: u32, life: u32) -> Seed {
    let mut bytes = [0; 32];
    stream(seed, "node", node, life).fill(&mut bytes);
    Seed(bytes)
}

/// What the lookup of this number in a run looks for.
pub fn lookup_key(seed: u64, number: u32) -> [u8; 32] {
    let mut key = [0; 32];
    stream(seed, "key", number, 0).fill(&mut key);
    key
}

fn root(seed: u64) -> Seed {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    Seed(bytes)
}

/// The hasher of the engine's look-up tables.
#[derive(Clone, Copy)]
pub struct FastHasher(u64);

impl Hasher for FastHasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0 = mix(self.0 ^ xxh3_64(bytes));
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = mix(self.0 ^ value);
    }

    fn write_u32(&mut self, value: u32) {
        self.write_u64(u64::from(value));
    }

    fn write_u128(&mut self, value: u128) {
        self.write_u64(value as u64 ^ (value >> 64) as u64);
    }

    fn write_usize(&mut self, value: usize) {
        self.0 ^= value as u64;
    }

    fn write_u8(&mut self, value: u8) {
        self.0 ^= u64::from(value);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// Makes hashers with this key.
#[derive(Clone, Copy, Debug, Default)]
pub struct Keyed(pub u64);

impl BuildHasher for Keyed {
    type Hasher = FastHasher;

    fn build_hasher(&self) -> FastHasher {
        FastHasher(self.0)
    }
}

/// A look-up table whose hasher is keyed by the run. Whoever iterates it sorts what comes.
pub type LookupTable<K, V> = std::collections::HashMap<K, V, Keyed>;
