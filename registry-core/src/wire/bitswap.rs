//! Bitswap 1.2 messages (IPFS bitswap-protocol specification).

use alloc::vec::Vec;

use bytes::Bytes;

use crate::id::BlockId;
use crate::wire::WireError;

/// MUST of the specification.
pub(crate) const MAX_FRAME: usize = 4 * 1024 * 1024;
/// MUST of the specification.
pub(crate) const MAX_BLOCK: usize = 2 * 1024 * 1024;

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct BitswapMessage {
    pub(crate) wants: Vec<Want>,
    /// The wantlist replaces the earlier one.
    pub(crate) full: bool,
    pub(crate) blocks: Vec<Block>,
    pub(crate) presences: Vec<(Cid, Presence)>,
    pub(crate) pending_bytes: u32,
}

/// A block's name as it stood on the wire: foreign peers may ask for kinds this network does not store.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Cid {
    Known(BlockId),
    Foreign(Bytes),
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Want {
    pub(crate) cid: Cid,
    pub(crate) priority: i32,
    pub(crate) kind: WantKind,
    pub(crate) send_dont_have: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum WantKind {
    Have,
    Block,
    Cancel,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Presence {
    Have,
    DontHave,
}

/// A block's bytes. Its name follows from hashing them; the wire carries only the CID prefix.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Block {
    pub(crate) prefix: Bytes,
    pub(crate) data: Bytes,
}

impl BitswapMessage {
    pub(crate) fn encode_into(&self, _out: &mut Vec<u8>) {}

    pub(crate) fn decode(_frame: Bytes) -> Result<Self, WireError> {
        Err(WireError::Encoding)
    }
}
