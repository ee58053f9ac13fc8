//! Fuzz bodies: each takes arbitrary bytes, drives one codec or machine with them and asserts its invariants.
//!
//! One file per machine. A body is `pub fn name(data: &[u8])`; it is reached in three ways: by a test beside it that calls
//! `run` on pseudo-random inputs, by `tests/corpus.rs` on the committed corpus `fuzz/corpus/<name>/`, and by the stub
//! `fuzz/fuzz_targets/<name>.rs` under cargo-fuzz. A new body is added to [`TARGETS`], and its stub to
//! `fuzz/Cargo.toml`.

pub(crate) mod author;
pub mod catalog;
pub mod exchange;
pub mod gossip;
pub mod kad;
pub mod light;
pub mod peers;
pub mod search;
pub mod sync;
pub mod unixfs;
pub mod wire;
pub(crate) mod world;

pub(crate) use world::TestWorld;

/// What runs on one input; it panics when an invariant does not hold.
pub type Body = fn(&[u8]);

/// Every body, by the name of its target and corpus folder.
pub const TARGETS: &[(&str, Body)] = &[
    ("catalog", catalog::catalog),
    ("catalog_parsers", catalog::catalog_parsers),
    ("exchange", exchange::exchange),
    ("gossip", gossip::gossip),
    ("kad", kad::kad),
    ("light", light::light),
    ("peers", peers::peers),
    ("query", search::query),
    ("search", search::search),
    ("sync", sync::sync),
    ("unixfs", unixfs::unixfs),
    ("wire_bitswap", wire::wire_bitswap),
    ("wire_frames", wire::wire_frames),
    ("wire_gossip", wire::wire_gossip),
    ("wire_kad", wire::wire_kad),
    ("wire_registry", wire::wire_registry),
];

/// Cases of [`run`] in an ordinary test.
#[cfg(test)]
pub(crate) const CASES: u64 = 10_000;

/// Runs `body` on `CASES` reproducible inputs of up to `max_len` bytes, short ones more often.
#[cfg(test)]
pub(crate) fn run(max_len: usize, body: Body) {
    let mut rng = crate::rng::Rng::new(crate::rng::Seed([0; 32]), "fuzzing");
    let mut data = alloc::vec![0; max_len];
    for _ in 0..CASES {
        let bound = rng.index(max_len + 1);
        let input = &mut data[..rng.index(bound + 1)];
        rng.fill(input);
        body(input);
    }
}

/// Reads decisions from fuzz input; once it is used up, everything is 0.
#[derive(Clone, Copy, Debug)]
pub struct Choices<'a>(&'a [u8]);

impl<'a> Choices<'a> {
    /// Starts at the first byte.
    pub fn new(data: &'a [u8]) -> Self {
        Self(data)
    }

    /// True when every byte is used: the place to end a sequence of operations.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next byte.
    pub fn byte(&mut self) -> u8 {
        self.bytes(1).first().copied().unwrap_or(0)
    }

    /// The next 8 bytes.
    pub fn u64(&mut self) -> u64 {
        self.bytes(8).iter().fold(0, |value, &byte| (value << 8) | u64::from(byte))
    }

    /// A number in `0..bound` (0 when `bound` is 0), made of one byte when that is enough.
    pub fn below(&mut self, bound: u64) -> u64 {
        let value = if bound <= 256 { u64::from(self.byte()) } else { self.u64() };
        value.checked_rem(bound).unwrap_or(0)
    }

    /// The next `len` bytes, or what is left.
    pub fn bytes(&mut self, len: usize) -> &'a [u8] {
        let (head, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        head
    }

    /// Everything that is left.
    pub fn rest(&mut self) -> &'a [u8] {
        core::mem::take(&mut self.0)
    }
}
