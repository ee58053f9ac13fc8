//! Files and directories to blocks.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use bytes::Bytes;

use super::pb::{field, kind, put_bytes_field, put_varint_field};
use super::{Block, CHUNK, MAX_DIRECTORY_BYTES, MAX_LINKS, Tree, UnixfsError, WIDTH, check_name};
use crate::id::{BlockId, Codec, Digest};

/// What is left when a file or directory is finished.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Built {
    /// The whole.
    pub tree: Tree,
    /// The blocks that were not handed out before; the root is the last one.
    pub blocks: Vec<Block>,
}

/// Builds one file from a stream of bytes, holding no more than one chunk and the links of unfinished inner nodes.
#[derive(Debug, Default)]
pub struct FileBuilder {
    partial: Vec<u8>,
    /// Finished subtrees by height; `levels[0]` are leaves. A full level becomes one subtree of the next.
    levels: Vec<Vec<Tree>>,
}

impl FileBuilder {
    /// An empty file.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends bytes; hands out the blocks that are finished thereby. Pieces of [`CHUNK`] bytes are not copied.
    pub fn push(&mut self, mut data: Bytes) -> Vec<Block> {
        let mut blocks = Vec::new();
        while self.partial.len() + data.len() >= CHUNK {
            let piece = data.split_to(CHUNK - self.partial.len());
            let chunk = if self.partial.is_empty() {
                piece
            } else {
                self.partial.extend_from_slice(&piece);
                Bytes::from(core::mem::take(&mut self.partial))
            };
            self.add_leaf(chunk, &mut blocks);
        }
        self.partial.extend_from_slice(&data);
        blocks
    }

    /// Ends the file. A file of one chunk or less is its leaf.
    pub fn finish(mut self) -> Built {
        let mut blocks = Vec::new();
        if !self.partial.is_empty() || self.levels.is_empty() {
            let last = Bytes::from(core::mem::take(&mut self.partial));
            self.add_leaf(last, &mut blocks);
        }
        let mut level = 0;
        loop {
            let children = self.levels.get_mut(level).map(core::mem::take).unwrap_or_default();
            let top = level + 1 >= self.levels.len();
            match children.as_slice() {
                [tree] if top => return Built { tree: *tree, blocks },
                [] => {}
                _ => self.add_inner(level + 1, &children, &mut blocks),
            }
            level += 1;
        }
    }

    fn add_leaf(&mut self, data: Bytes, blocks: &mut Vec<Block>) {
        let size = data.len() as u64;
        let id = BlockId { digest: Digest::of(&data), codec: Codec::Raw };
        blocks.push(Block { id, data });
        self.add(0, Tree { id, size, dag_size: size }, blocks);
    }

    fn add_inner(&mut self, level: usize, children: &[Tree], blocks: &mut Vec<Block>) {
        let (tree, block) = file_node(children);
        blocks.push(block);
        self.add(level, tree, blocks);
    }

    pub(super) fn add(&mut self, level: usize, tree: Tree, blocks: &mut Vec<Block>) {
        if self.levels.len() == level {
            self.levels.push(Vec::new());
        }
        self.levels[level].push(tree);
        if self.levels[level].len() == WIDTH {
            let children = core::mem::take(&mut self.levels[level]);
            self.add_inner(level + 1, &children, blocks);
        }
    }
}

/// An inner node of a file.
pub(crate) fn file_node(children: &[Tree]) -> (Tree, Block) {
    let size = children.iter().fold(0, |sum: u64, child| sum.saturating_add(child.size));
    let mut data = Vec::with_capacity(8 + 5 * children.len());
    put_varint_field(&mut data, field::FS_TYPE, kind::FILE);
    put_varint_field(&mut data, field::FS_FILESIZE, size);
    for child in children {
        put_varint_field(&mut data, field::FS_BLOCKSIZES, child.size);
    }
    node(children.iter().map(|child| ("", child)), &data)
}

/// Builds one directory of finished files and directories.
#[derive(Debug, Default)]
pub struct DirectoryBuilder {
    /// DAG-PB asks for links in ascending order of the name's bytes.
    entries: BTreeMap<String, Tree>,
}

impl DirectoryBuilder {
    /// An empty directory.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an entry.
    ///
    /// # Errors
    /// When the name is not acceptable or taken, or the directory has [`MAX_LINKS`] entries.
    pub fn add(&mut self, name: impl Into<String>, tree: Tree) -> Result<(), UnixfsError> {
        let name = name.into();
        check_name(&name)?;
        if self.entries.contains_key(&name) {
            return Err(UnixfsError::Duplicate);
        }
        if self.entries.len() == MAX_LINKS {
            return Err(UnixfsError::TooMany);
        }
        self.entries.insert(name, tree);
        Ok(())
    }

    /// Ends the directory.
    ///
    /// # Errors
    /// When its node would be longer than [`MAX_DIRECTORY_BYTES`].
    pub fn finish(self) -> Result<Built, UnixfsError> {
        let mut data = Vec::new();
        put_varint_field(&mut data, field::FS_TYPE, kind::DIRECTORY);
        let (tree, block) = node(self.entries.iter().map(|(name, tree)| (name.as_str(), tree)), &data);
        if block.data.len() > MAX_DIRECTORY_BYTES {
            return Err(UnixfsError::TooLong);
        }
        Ok(Built { tree, blocks: alloc::vec![block] })
    }
}

/// A DAG-PB node: links in the given order, then data (DAG-PB specification, "Serial Format").
fn node<'a>(links: impl Iterator<Item = (&'a str, &'a Tree)>, data: &[u8]) -> (Tree, Block) {
    let (mut out, mut link) = (Vec::new(), Vec::new());
    let (mut size, mut dag_size) = (0u64, 0u64);
    for (name, tree) in links {
        link.clear();
        put_bytes_field(&mut link, field::LINK_HASH, &tree.id.to_cid().to_bytes());
        put_bytes_field(&mut link, field::LINK_NAME, name.as_bytes());
        put_varint_field(&mut link, field::LINK_TSIZE, tree.dag_size);
        put_bytes_field(&mut out, field::NODE_LINK, &link);
        size = size.saturating_add(tree.size);
        dag_size = dag_size.saturating_add(tree.dag_size);
    }
    put_bytes_field(&mut out, field::NODE_DATA, data);
    let data = Bytes::from(out);
    let id = BlockId { digest: Digest::of(&data), codec: Codec::DagPb };
    let tree = Tree { id, size, dag_size: dag_size.saturating_add(data.len() as u64) };
    (tree, Block { id, data })
}
