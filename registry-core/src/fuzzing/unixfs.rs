//! Hostile UnixFS nodes.

use alloc::vec::Vec;

use bytes::Bytes;

use super::Choices;
use crate::exchange::unixfs::{DirectoryBuilder, NodeKind, Step, Tree, Walk, WalkLimits, check_name, file_node, parse};
use crate::id::{BlockId, Codec, Digest};

const LIMITS: WalkLimits = WalkLimits { bytes: 1000, entries: 20 };

/// Walks a tree whose every block is chosen by the input: arbitrary bytes, or an honest node with bytes changed.
pub fn unixfs(data: &[u8]) {
    let mut choices = Choices::new(data);
    let root = BlockId { digest: Digest([0; 32]), codec: Codec::DagPb };
    let mut walk = Walk::new(root, LIMITS);
    let (mut bytes, mut entries, mut declared) = (0, 0, 0);
    while let Ok(step) = walk.next() {
        match step {
            Step::Need(_) if choices.is_empty() => break,
            Step::Need(id) => {
                let block = block(&mut choices);
                check(id.codec, &block);
                if walk.supply(block).is_err() {
                    break;
                }
            }
            Step::Directory { path } => {
                entries += 1;
                assert!(path.iter().all(|name| check_name(name).is_ok()));
            }
            Step::File { path, size } => {
                entries += 1;
                declared = size;
                assert!(path.iter().all(|name| check_name(name).is_ok()));
            }
            Step::Data(data) => {
                bytes += data.len() as u64;
                declared = declared.checked_sub(data.len() as u64).expect("no more bytes than declared");
            }
            Step::FileEnd => assert_eq!(declared, 0, "all declared bytes came"),
            Step::Done => break,
        }
        assert!(bytes <= LIMITS.bytes && entries <= LIMITS.entries);
    }
}

fn block(choices: &mut Choices<'_>) -> Bytes {
    let kind = choices.below(4);
    let mut block = match kind {
        0 => {
            let len = usize::from(choices.byte());
            return Bytes::copy_from_slice(choices.bytes(len));
        }
        1 => honest_directory(choices),
        _ => honest_file(choices),
    };
    if kind == 3 && !block.is_empty() {
        let at = choices.u64() as usize % block.len();
        block[at] = choices.byte();
    }
    block.into()
}

fn child(choices: &mut Choices<'_>) -> Tree {
    let codec = if choices.below(3) == 0 { Codec::DagPb } else { Codec::Raw };
    let size = choices.below(64);
    Tree { id: BlockId { digest: Digest([choices.byte(); 32]), codec }, size, dag_size: size }
}

fn honest_directory(choices: &mut Choices<'_>) -> Vec<u8> {
    let mut directory = DirectoryBuilder::new();
    for name in ["a", "b", "c"].iter().take(choices.below(4) as usize) {
        directory.add(*name, child(choices)).expect("an acceptable name");
    }
    directory.finish().expect("a short node").blocks[0].data.to_vec()
}

fn honest_file(choices: &mut Choices<'_>) -> Vec<u8> {
    let children: Vec<_> = (0..=choices.below(3)).map(|_| child(choices)).collect();
    file_node(&children).1.data.to_vec()
}

fn check(codec: Codec, block: &Bytes) {
    match parse(codec, block) {
        Ok(NodeKind::File { size, children }) => {
            assert_eq!(Some(size), children.iter().try_fold(0u64, |sum, child| sum.checked_add(child.size)));
        }
        Ok(NodeKind::Directory { entries }) => assert!(entries.iter().all(|entry| check_name(&entry.name).is_ok())),
        Ok(NodeKind::Leaf(data)) => assert!(data.len() <= block.len()),
        Err(_) => {}
    }
}
