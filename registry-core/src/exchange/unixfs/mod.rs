//! UnixFS v1 files and directories as DAG-PB: building, and walking what was fetched.
//!
//! Built trees follow the 2025 UnixFS profile (`unixfs-v1-2025`): CIDv1, sha2-256, raw leaves of 1 MiB, balanced trees
//! of width 1024, no mode and no modification time. Departures from it:
//!
//! * Directories are always plain nodes. One whose node would be longer than [`MAX_DIRECTORY_BYTES`] is refused, where
//!   the profile shards it (HAMT).
//! * Symbolic links are neither built nor followed; [`parse`] refuses them, and sharded directories too.
//! * Which hidden files and empty directories are packed is decided by who calls [`DirectoryBuilder`].
//!
//! Reading is stricter than the specification asks, because whatever a stranger published ends up as paths and lengths
//! on somebody's disk: every limit is a constant of this module, and declared sizes must agree with each other.

mod build;
mod pb;
mod read;
#[cfg(test)]
mod tests;
mod walk;

use core::fmt;

use bytes::Bytes;

use crate::id::BlockId;

pub(crate) use build::file_node;
pub use build::{Built, DirectoryBuilder, FileBuilder};
pub use read::{Child, Entry, NodeKind, parse};
pub use walk::{Step, Walk, WalkLimits};

/// Bytes of content in one leaf.
pub const CHUNK: usize = 1024 * 1024;
/// Children of one inner node of a file that is built here.
pub const WIDTH: usize = 1024;
/// The longest block (Bitswap specification, "Block Sizes": MUST).
pub const MAX_BLOCK: usize = 2 * 1024 * 1024;
/// The longest node of a directory that is built here; some 15,000 entries with names of 20 bytes.
pub const MAX_DIRECTORY_BYTES: usize = 1024 * 1024;
/// Children of one node that are read. A node of [`MAX_DIRECTORY_BYTES`] with one-byte names has fewer.
pub const MAX_LINKS: usize = 24 * 1024;
/// Nodes on the way from the root to a leaf. Five levels hold any file; the rest is for directories.
pub const MAX_DEPTH: usize = 64;
/// Bytes of one directory entry's name, as in common file systems.
pub const MAX_NAME: usize = 255;

/// One block and its name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Block {
    /// The name.
    pub id: BlockId,
    /// The bytes.
    pub data: Bytes,
}

/// A finished file or directory: what a directory entry needs to know of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tree {
    /// Its root.
    pub id: BlockId,
    /// Bytes of content; of a directory, of all files below.
    pub size: u64,
    /// Bytes of all blocks, counting repeated ones each time (DAG-PB `Tsize`).
    pub dag_size: u64,
}

/// Why a node or a name is not acceptable.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum UnixfsError {
    /// Longer than [`MAX_BLOCK`], or a directory longer than [`MAX_DIRECTORY_BYTES`].
    TooLong,
    /// More than [`MAX_LINKS`] children, or more than the caller's limit of entries or bytes.
    TooMany,
    /// Deeper than [`MAX_DEPTH`].
    TooDeep,
    /// Not DAG-PB, or not UnixFS inside.
    Encoding,
    /// A kind of node this network does not use (symbolic link, sharded directory, metadata, data beside links).
    Unsupported,
    /// A child whose name is not a CIDv1 over sha2-256, or of a codec that has no place in UnixFS.
    ForeignChild,
    /// An entry's name is empty, `.`, `..`, not UTF-8, too long, or holds `/` or NUL.
    Name,
    /// Two entries of one name.
    Duplicate,
    /// Declared sizes that do not agree with each other or with the bytes.
    Size,
}

impl fmt::Display for UnixfsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLong => "node too long",
            Self::TooMany => "too many entries or bytes",
            Self::TooDeep => "nested too deeply",
            Self::Encoding => "not a UnixFS node",
            Self::Unsupported => "a kind of UnixFS node that is not supported",
            Self::ForeignChild => "a child that this network cannot name",
            Self::Name => "an entry's name is not acceptable",
            Self::Duplicate => "two entries of one name",
            Self::Size => "declared sizes do not agree",
        })
    }
}

impl core::error::Error for UnixfsError {}

/// Checks the name of a directory entry.
///
/// # Errors
/// [`UnixfsError::Name`] when the name could leave its directory or no file system would take it.
pub fn check_name(name: &str) -> Result<(), UnixfsError> {
    let fits = !name.is_empty() && name.len() <= MAX_NAME;
    let stays = name != "." && name != ".." && !name.contains(['/', '\0']);
    if fits && stays { Ok(()) } else { Err(UnixfsError::Name) }
}
