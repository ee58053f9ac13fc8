//! Bitswap 1.2 messages (IPFS bitswap-protocol specification).

use alloc::vec::Vec;

use bytes::Bytes;
use prost::Message as _;

use crate::id::BlockId;
use crate::wire::walk::{fields, spend};
use crate::wire::{WireError, compact};

/// MUST of the specification.
pub(crate) const MAX_FRAME: usize = 4 * 1024 * 1024;
/// MUST of the specification.
pub(crate) const MAX_BLOCK: usize = 2 * 1024 * 1024;
/// Wants, blocks or presences in one message. Other implementations keep about 1024 wants of a peer and answer as many.
pub(crate) const MAX_ENTRIES: usize = 4096;
/// Bytes of a CID, and more than any CID prefix; the limit of the implementation in Go.
pub(crate) const MAX_CID: usize = 168;

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct BitswapMessage {
    pub(crate) wants: Vec<Want>,
    /// The wantlist replaces the earlier one.
    pub(crate) full: bool,
    pub(crate) blocks: Vec<Block>,
    pub(crate) presences: Vec<(Cid, Presence)>,
    /// Bytes of blocks the sender has queued for the receiver; above `i32::MAX` that is said instead.
    pub(crate) pending_bytes: u32,
}

/// A block's name as it stood on the wire: foreign peers may ask for kinds this network does not store.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Cid {
    Known(BlockId),
    /// Any other bytes that stand where a CID should.
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
    pub(crate) fn encode_into(&self, out: &mut Vec<u8>) {
        self.to_proto().encode_raw(out);
    }

    pub(crate) fn encoded_len(&self) -> usize {
        self.to_proto().encoded_len()
    }

    /// Reads a message whose caps hold; entries of unknown kinds are skipped. Blocks are slices of the frame.
    pub(crate) fn decode(frame: Bytes) -> Result<Self, WireError> {
        screen(&frame)?;
        let frame_len = frame.len();
        let proto = MessageProto::decode(frame)?;
        let wantlist = proto.wantlist.unwrap_or_default();
        let wants = wantlist.entries.into_iter().filter_map(|entry| entry.read(frame_len).transpose());
        let presences = proto.presences.into_iter().filter_map(|entry| entry.read(frame_len).transpose());
        Ok(Self {
            wants: wants.collect::<Result<_, _>>()?,
            full: wantlist.full,
            blocks: proto.payload.into_iter().map(BlockProto::read).collect::<Result<_, _>>()?,
            presences: presences.collect::<Result<_, _>>()?,
            pending_bytes: u32::try_from(proto.pending_bytes).unwrap_or(0),
        })
    }

    fn to_proto(&self) -> MessageProto {
        let wantlist = WantlistProto { entries: self.wants.iter().map(Want::to_proto).collect(), full: self.full };
        let blocks = self.blocks.iter();
        let presences = self.presences.iter();
        MessageProto {
            wantlist: (wantlist != WantlistProto::default()).then_some(wantlist),
            payload: blocks.map(|b| BlockProto { prefix: b.prefix.clone(), data: b.data.clone() }).collect(),
            presences: presences
                .map(|(cid, presence)| PresenceProto { cid: cid.to_bytes(), kind: presence.code() })
                .collect(),
            pending_bytes: i32::try_from(self.pending_bytes).unwrap_or(i32::MAX),
        }
    }
}

impl Cid {
    fn to_bytes(&self) -> Bytes {
        match self {
            Self::Known(id) => id.to_cid().to_bytes().into(),
            Self::Foreign(bytes) => bytes.clone(),
        }
    }

    fn read(bytes: Bytes, frame_len: usize) -> Result<Self, WireError> {
        match bytes.len() {
            0 => return Err(WireError::Missing),
            1..=MAX_CID => {}
            _ => return Err(WireError::TooLong),
        }
        // The parser lets bytes follow a CID; with them it is another name.
        let known = BlockId::from_bytes(&bytes).filter(|id| id.to_cid().to_bytes() == bytes);
        Ok(known.map_or_else(|| Self::Foreign(compact(bytes, frame_len)), Self::Known))
    }
}

impl Want {
    fn to_proto(&self) -> EntryProto {
        EntryProto {
            cid: self.cid.to_bytes(),
            priority: self.priority,
            cancel: self.kind == WantKind::Cancel,
            want_type: i32::from(self.kind == WantKind::Have),
            send_dont_have: self.send_dont_have,
        }
    }
}

impl Presence {
    const fn code(self) -> i32 {
        match self {
            Self::Have => 0,
            Self::DontHave => 1,
        }
    }
}

/// Counts everything a decoder would allocate for.
fn screen(frame: &[u8]) -> Result<(), WireError> {
    let (mut wants, mut blocks, mut presences) = (MAX_ENTRIES, MAX_ENTRIES, MAX_ENTRIES);
    for field in fields(frame) {
        let field = field?;
        match field.number {
            1 => {
                for entry in fields(field.body()?) {
                    if entry?.number == 1 {
                        spend(&mut wants)?;
                    }
                }
            }
            3 => spend(&mut blocks)?,
            4 => spend(&mut presences)?,
            _ => {}
        }
    }
    Ok(())
}

#[derive(Clone, PartialEq, prost::Message)]
struct MessageProto {
    #[prost(message, optional, tag = "1")]
    wantlist: Option<WantlistProto>,
    #[prost(message, repeated, tag = "3")]
    payload: Vec<BlockProto>,
    #[prost(message, repeated, tag = "4")]
    presences: Vec<PresenceProto>,
    #[prost(int32, tag = "5")]
    pending_bytes: i32,
}

#[derive(Clone, PartialEq, prost::Message)]
struct WantlistProto {
    #[prost(message, repeated, tag = "1")]
    entries: Vec<EntryProto>,
    #[prost(bool, tag = "2")]
    full: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
struct EntryProto {
    /// Called `block` in the specification.
    #[prost(bytes = "bytes", tag = "1")]
    cid: Bytes,
    #[prost(int32, tag = "2")]
    priority: i32,
    #[prost(bool, tag = "3")]
    cancel: bool,
    #[prost(int32, tag = "4")]
    want_type: i32,
    #[prost(bool, tag = "5")]
    send_dont_have: bool,
}

impl EntryProto {
    /// `None` for a kind of want this node does not know.
    fn read(self, frame_len: usize) -> Result<Option<Want>, WireError> {
        let kind = match (self.cancel, self.want_type) {
            (true, _) => WantKind::Cancel,
            (false, 0) => WantKind::Block,
            (false, 1) => WantKind::Have,
            (false, _) => return Ok(None),
        };
        let cid = Cid::read(self.cid, frame_len)?;
        Ok(Some(Want { cid, priority: self.priority, kind, send_dont_have: self.send_dont_have }))
    }
}

#[derive(Clone, PartialEq, prost::Message)]
struct BlockProto {
    #[prost(bytes = "bytes", tag = "1")]
    prefix: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    data: Bytes,
}

impl BlockProto {
    fn read(self) -> Result<Block, WireError> {
        match self.prefix.len() {
            0 => Err(WireError::Missing),
            1..=MAX_CID if self.data.len() <= MAX_BLOCK => Ok(Block { prefix: self.prefix, data: self.data }),
            _ => Err(WireError::TooLong),
        }
    }
}

#[derive(Clone, PartialEq, prost::Message)]
struct PresenceProto {
    #[prost(bytes = "bytes", tag = "1")]
    cid: Bytes,
    #[prost(int32, tag = "2")]
    kind: i32,
}

impl PresenceProto {
    /// `None` for a kind of presence this node does not know.
    fn read(self, frame_len: usize) -> Result<Option<(Cid, Presence)>, WireError> {
        let presence = match self.kind {
            0 => Presence::Have,
            1 => Presence::DontHave,
            _ => return Ok(None),
        };
        Ok(Some((Cid::read(self.cid, frame_len)?, presence)))
    }
}
