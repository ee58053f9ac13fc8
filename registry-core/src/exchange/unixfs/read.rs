//! Blocks to nodes.

use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::vec::Vec;

use bytes::Bytes;

use super::pb::{Fields, field, kind};
use super::{MAX_BLOCK, MAX_LINKS, UnixfsError, check_name};
use crate::id::{BlockId, Codec};

/// What a block is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NodeKind {
    /// Bytes of a file, and no children.
    Leaf(Bytes),
    /// A file, or a part of one, in order.
    File {
        /// Bytes of content below; the sum of the children's sizes.
        size: u64,
        /// At least one.
        children: Vec<Child>,
    },
    /// A directory; names differ.
    Directory {
        /// In the order of the node.
        entries: Vec<Entry>,
    },
}

/// A part of a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Child {
    /// Its root.
    pub id: BlockId,
    /// Bytes of content it must hold.
    pub size: u64,
}

/// One name of a directory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Acceptable to [`check_name`].
    pub name: String,
    /// Its root.
    pub id: BlockId,
    /// What the directory claims all its blocks to be together, in bytes. Nobody has checked it.
    pub dag_size: u64,
}

/// Reads a block whose digest is already verified.
///
/// # Errors
/// When the bytes are not an acceptable node; see [`UnixfsError`].
pub fn parse(codec: Codec, block: &Bytes) -> Result<NodeKind, UnixfsError> {
    if block.len() > MAX_BLOCK {
        return Err(UnixfsError::TooLong);
    }
    match codec {
        Codec::Raw | Codec::DagCbor => Ok(NodeKind::Leaf(block.clone())),
        Codec::DagPb => parse_node(block),
    }
}

#[derive(Default)]
struct Node<'a> {
    links: Vec<Link<'a>>,
    data: Option<&'a [u8]>,
}

struct Link<'a> {
    id: BlockId,
    name: &'a [u8],
    tsize: u64,
}

fn parse_node(block: &Bytes) -> Result<NodeKind, UnixfsError> {
    let mut node = Node::default();
    let mut fields = Fields(block);
    while let Some((number, value)) = fields.next()? {
        match u8::try_from(number) {
            Ok(field::NODE_LINK) if node.links.len() == MAX_LINKS => return Err(UnixfsError::TooMany),
            Ok(field::NODE_LINK) => node.links.push(parse_link(value.bytes()?)?),
            Ok(field::NODE_DATA) if node.data.is_none() => node.data = Some(value.bytes()?),
            _ => return Err(UnixfsError::Encoding),
        }
    }
    let inside = parse_unixfs(node.data.ok_or(UnixfsError::Encoding)?)?;
    match inside.kind {
        kind::DIRECTORY => directory(node.links, &inside),
        kind::FILE | kind::RAW => file(block, node.links, &inside),
        _ => Err(UnixfsError::Unsupported),
    }
}

fn parse_link(bytes: &[u8]) -> Result<Link<'_>, UnixfsError> {
    let (mut id, mut name, mut tsize) = (None, None, None);
    let mut fields = Fields(bytes);
    while let Some((number, value)) = fields.next()? {
        match u8::try_from(number) {
            Ok(field::LINK_HASH) if id.is_none() => id = Some(child_id(value.bytes()?)?),
            Ok(field::LINK_NAME) if name.is_none() => name = Some(value.bytes()?),
            Ok(field::LINK_TSIZE) if tsize.is_none() => tsize = Some(value.varint()?),
            _ => return Err(UnixfsError::Encoding),
        }
    }
    Ok(Link { id: id.ok_or(UnixfsError::Encoding)?, name: name.unwrap_or_default(), tsize: tsize.unwrap_or_default() })
}

fn child_id(cid: &[u8]) -> Result<BlockId, UnixfsError> {
    let id = BlockId::from_bytes(cid).filter(|id| id.to_cid().to_bytes() == cid);
    match id {
        Some(id) if id.codec != Codec::DagCbor => Ok(id),
        Some(_) | None => Err(UnixfsError::ForeignChild),
    }
}

struct Inside<'a> {
    kind: u64,
    data: &'a [u8],
    size: Option<u64>,
    block_sizes: Vec<u64>,
}

fn parse_unixfs(bytes: &[u8]) -> Result<Inside<'_>, UnixfsError> {
    let (mut kind, mut data, mut size, mut block_sizes) = (None, None, None, Vec::new());
    let mut fields = Fields(bytes);
    while let Some((number, value)) = fields.next()? {
        match u8::try_from(number) {
            Ok(field::FS_TYPE) if kind.is_none() => kind = Some(value.varint()?),
            Ok(field::FS_DATA) if data.is_none() => data = Some(value.bytes()?),
            Ok(field::FS_FILESIZE) if size.is_none() => size = Some(value.varint()?),
            Ok(field::FS_TYPE | field::FS_DATA | field::FS_FILESIZE) => return Err(UnixfsError::Encoding),
            Ok(field::FS_BLOCKSIZES) if block_sizes.len() == MAX_LINKS => return Err(UnixfsError::TooMany),
            Ok(field::FS_BLOCKSIZES) => block_sizes.push(value.varint()?),
            // Sharding parameters, mode and modification time: not used by the kinds that are read here.
            _ => {}
        }
    }
    let kind = kind.ok_or(UnixfsError::Encoding)?;
    Ok(Inside { kind, data: data.unwrap_or_default(), size, block_sizes })
}

fn directory(links: Vec<Link<'_>>, inside: &Inside<'_>) -> Result<NodeKind, UnixfsError> {
    if !inside.data.is_empty() || !inside.block_sizes.is_empty() {
        return Err(UnixfsError::Unsupported);
    }
    let mut names = BTreeSet::new();
    let mut entries = Vec::with_capacity(links.len());
    for link in links {
        let name = core::str::from_utf8(link.name).map_err(|_| UnixfsError::Name)?;
        check_name(name)?;
        if !names.insert(link.name) {
            return Err(UnixfsError::Duplicate);
        }
        entries.push(Entry { name: name.into(), id: link.id, dag_size: link.tsize });
    }
    Ok(NodeKind::Directory { entries })
}

fn file(block: &Bytes, links: Vec<Link<'_>>, inside: &Inside<'_>) -> Result<NodeKind, UnixfsError> {
    if links.is_empty() {
        let agrees = inside.block_sizes.is_empty() && inside.size.is_none_or(|size| size == inside.data.len() as u64);
        return if agrees { Ok(NodeKind::Leaf(block.slice_ref(inside.data))) } else { Err(UnixfsError::Size) };
    }
    if !inside.data.is_empty() {
        return Err(UnixfsError::Unsupported);
    }
    // A part without bytes would cost work and bring nothing: endless trees of them fit in a few blocks.
    if inside.block_sizes.contains(&0) {
        return Err(UnixfsError::Size);
    }
    let sum = inside.block_sizes.iter().try_fold(0u64, |sum, size| sum.checked_add(*size)).ok_or(UnixfsError::Size)?;
    if inside.block_sizes.len() != links.len() || inside.size != Some(sum) {
        return Err(UnixfsError::Size);
    }
    let children = links.iter().zip(&inside.block_sizes).map(|(link, size)| Child { id: link.id, size: *size });
    Ok(NodeKind::File { size: sum, children: children.collect() })
}
