mod net;
mod transfer;

use alloc::collections::BTreeMap;
use alloc::string::ToString;
use alloc::vec;

use bytes::Bytes;

use super::unixfs::{DirectoryBuilder, FileBuilder, Tree};
use crate::id::BlockId;
use crate::rng::{Rng, Seed};

type Blocks = BTreeMap<BlockId, Bytes>;

/// A file of random bytes.
fn file(len: usize, seed: u8) -> (Tree, Blocks) {
    let mut data = vec![0; len];
    Rng::new(Seed([seed; 32]), "file").fill(&mut data);
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
