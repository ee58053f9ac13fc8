#![expect(clippy::wildcard_enum_match_arm, reason = "a test looks for one kind among many")]

mod attacks;
mod net;
mod script;
mod transfer;

use alloc::collections::BTreeMap;
use alloc::string::ToString;
use alloc::vec;

use bytes::Bytes;

use super::unixfs::{CHUNK, DirectoryBuilder, FileBuilder, Tree};
use crate::id::BlockId;
use crate::rng::{Rng, Seed};

type Blocks = BTreeMap<BlockId, Bytes>;

/// A file whose chunks all differ.
fn file(len: usize, seed: u8) -> (Tree, Blocks) {
    let mut data = vec![0; len];
    for (n, chunk) in data.chunks_mut(CHUNK).enumerate() {
        let start = chunk.len().min(64);
        Rng::new(Seed([seed; 32]), &n.to_string()).fill(&mut chunk[..start]);
    }
    let mut builder = FileBuilder::new();
    let mut blocks = builder.push(data.into());
    let built = builder.finish();
    blocks.extend(built.blocks);
    (built.tree, blocks.into_iter().map(|block| (block.id, block.data)).collect())
}

/// A directory of small random files.
fn folder(files: usize, len: usize, seed: u8) -> (Tree, Blocks) {
    let mut blocks = Blocks::new();
    let mut directory = DirectoryBuilder::new();
    for i in 0..files {
        let (tree, more) = file(len + i, seed.wrapping_add(i as u8));
        directory.add(i.to_string(), tree).unwrap();
        blocks.extend(more);
    }
    let built = directory.finish().unwrap();
    blocks.extend(built.blocks.into_iter().map(|block| (block.id, block.data)));
    (built.tree, blocks)
}

fn total_len(blocks: &Blocks) -> u64 {
    blocks.values().map(|data| data.len() as u64).sum()
}

fn sum(sources: &[(crate::id::PeerId, u64)]) -> u64 {
    sources.iter().map(|(_, bytes)| bytes).sum::<u64>()
}

#[test]
fn fuzz_body_runs() {
    crate::fuzzing::run(120, crate::fuzzing::exchange::exchange);
}

proptest::proptest! {
    /// Longer than the fuzz body's cases: any interleaving ends in complete content or in a failure.
    #[test]
    fn every_operation_ends(steps in proptest::collection::vec(proptest::num::u8::ANY, 200..1500)) {
        crate::fuzzing::exchange::exchange(&steps);
    }
}
