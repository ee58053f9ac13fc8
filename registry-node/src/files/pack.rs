//! From a file or folder to blocks in the store.
//!
//! The tree follows the UnixFS profile of [`registry_core::exchange::unixfs`]. A single file is packed as a folder that
//! holds it, so that it keeps its name. Departures from the file system, all told in [`Packed`] or refused:
//!
//! * hidden entries (names that begin with a dot) are left out unless asked for;
//! * symbolic links and special files are refused, since what they mean depends on where they lie;
//! * empty folders are kept; modes, owners and times are not.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use registry_core::exchange::unixfs::{self, CHUNK, DirectoryBuilder, FileBuilder, Tree, UnixfsError};
use registry_core::{BlockId, Digest};

use super::{folded, is_safe};
use crate::jobs::Stop;
use crate::store::{Blocks, StoreFault};

/// Bytes written to the store at once.
const BATCH_BYTES: usize = 8 * 1024 * 1024;
/// Blocks written to the store at once.
const BATCH_BLOCKS: usize = 256;

/// A packed file or folder: all its blocks are in the store.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Packed {
    /// Its root.
    pub root: BlockId,
    /// Bytes of all files.
    pub size: u64,
    /// Files in it.
    pub files: u64,
    /// Hidden entries that were left out.
    pub hidden: u64,
}

/// Why something cannot be packed.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// It cannot be read.
    #[error("{}: {error}", .path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A symbolic link.
    #[error("{} is a symbolic link", .0.display())]
    Link(PathBuf),
    /// Neither a file nor a folder.
    #[error("{} is neither a file nor a folder", .0.display())]
    Special(PathBuf),
    /// A name that is not safe on every file system, or differs from a neighbour's only in case: nobody could write it out.
    #[error("{} has a name that is not safe everywhere", .0.display())]
    Name(PathBuf),
    /// The name, or the number of entries, has no place in UnixFS.
    #[error("{}: {error}", .path.display())]
    Unixfs {
        /// Which.
        path: PathBuf,
        /// Why.
        error: UnixfsError,
    },
    /// The store cannot keep it.
    #[error(transparent)]
    Store(#[from] StoreFault),
    /// The caller is gone, or the node is being stopped.
    #[error("stopped")]
    Stopped,
}

/// Packs `path` into the store.
///
/// # Errors
/// See [`PackError`]. Blocks that were written already stay; nothing names them.
pub(crate) fn pack(blocks: &Blocks, path: &Path, hidden: bool, stop: &Stop) -> Result<Packed, PackError> {
    let mut packer = Packer { blocks, stop, include_hidden: hidden, batch: Vec::new(), bytes: 0, files: 0, hidden: 0 };
    let metadata = fs::metadata(path).map_err(|error| PackError::Io { path: path.to_owned(), error })?;
    let tree = if metadata.is_dir() {
        packer.folder(path, 0)?
    } else {
        let file = packer.entry(path, 1)?;
        let mut folder = DirectoryBuilder::new();
        add(&mut folder, path, file)?;
        packer.finish_folder(folder, path)?
    };
    packer.write()?;
    Ok(Packed { root: tree.id, size: tree.size, files: packer.files, hidden: packer.hidden })
}

struct Packer<'a> {
    blocks: &'a Blocks,
    stop: &'a Stop,
    include_hidden: bool,
    batch: Vec<(Digest, Bytes)>,
    bytes: usize,
    files: u64,
    hidden: u64,
}

impl Packer<'_> {
    fn folder(&mut self, path: &Path, depth: usize) -> Result<Tree, PackError> {
        let io = |error| PackError::Io { path: path.to_owned(), error };
        if depth >= unixfs::MAX_DEPTH {
            return Err(PackError::Unixfs { path: path.to_owned(), error: UnixfsError::TooDeep });
        }
        let entries: Result<Vec<PathBuf>, _> =
            fs::read_dir(path).map_err(io)?.map(|entry| entry.map(|entry| entry.path())).collect();
        let mut entries = entries.map_err(io)?;
        entries.sort();
        let mut folder = DirectoryBuilder::new();
        let mut names = BTreeSet::new();
        for entry in entries {
            let is_hidden = entry.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
            if is_hidden && !self.include_hidden {
                self.hidden += 1;
                continue;
            }
            let tree = self.entry(&entry, depth + 1)?;
            add(&mut folder, &entry, tree)?;
            if !names.insert(entry.file_name().and_then(|name| name.to_str()).map(folded)) {
                return Err(PackError::Name(entry));
            }
        }
        self.finish_folder(folder, path)
    }

    fn finish_folder(&mut self, folder: DirectoryBuilder, path: &Path) -> Result<Tree, PackError> {
        let built = folder.finish().map_err(|error| PackError::Unixfs { path: path.to_owned(), error })?;
        self.keep(built.blocks)?;
        Ok(built.tree)
    }

    fn entry(&mut self, path: &Path, depth: usize) -> Result<Tree, PackError> {
        let io = |error| PackError::Io { path: path.to_owned(), error };
        let kind = fs::symlink_metadata(path).map_err(io)?.file_type();
        if kind.is_dir() {
            self.folder(path, depth)
        } else if kind.is_file() {
            self.file(path)
        } else if kind.is_symlink() {
            Err(PackError::Link(path.to_owned()))
        } else {
            Err(PackError::Special(path.to_owned()))
        }
    }

    fn file(&mut self, path: &Path) -> Result<Tree, PackError> {
        let io = |error| PackError::Io { path: path.to_owned(), error };
        let mut file = File::open(path).map_err(io)?;
        let mut builder = FileBuilder::new();
        loop {
            if self.stop.is_set() {
                return Err(PackError::Stopped);
            }
            let mut chunk = Vec::new();
            Read::by_ref(&mut file).take(CHUNK as u64).read_to_end(&mut chunk).map_err(io)?;
            let last = chunk.len() < CHUNK;
            self.keep(builder.push(chunk.into()))?;
            if last {
                break;
            }
        }
        let built = builder.finish();
        self.keep(built.blocks)?;
        self.files += 1;
        Ok(built.tree)
    }

    fn keep(&mut self, blocks: Vec<unixfs::Block>) -> Result<(), PackError> {
        for block in blocks {
            self.bytes += block.data.len();
            self.batch.push((block.id.digest, block.data));
        }
        if self.bytes >= BATCH_BYTES || self.batch.len() >= BATCH_BLOCKS { self.write() } else { Ok(()) }
    }

    fn write(&mut self) -> Result<(), PackError> {
        self.bytes = 0;
        Ok(self.blocks.put(&std::mem::take(&mut self.batch))?)
    }
}

fn add(folder: &mut DirectoryBuilder, path: &Path, tree: Tree) -> Result<(), PackError> {
    let unixfs = |error| PackError::Unixfs { path: path.to_owned(), error };
    let name = path.file_name().and_then(|name| name.to_str()).ok_or_else(|| unixfs(UnixfsError::Name))?;
    if !is_safe(name) {
        return Err(PackError::Name(path.to_owned()));
    }
    folder.add(name, tree).map_err(unixfs)
}
