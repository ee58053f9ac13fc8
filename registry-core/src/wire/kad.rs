//! Kademlia messages (libp2p kad-dht specification, "RPC messages").

use alloc::vec::Vec;

use bytes::Bytes;
use multiaddr::Multiaddr;

use crate::id::PeerId;
use crate::wire::WireError;

/// rust-libp2p closes the stream above this.
pub(crate) const MAX_FRAME: usize = 16 * 1024;

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct KadMessage {
    pub(crate) kind: KadKind,
    pub(crate) key: Bytes,
    pub(crate) record: Option<Record>,
    pub(crate) closer: Vec<KadPeer>,
    pub(crate) providers: Vec<KadPeer>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum KadKind {
    PutValue,
    GetValue,
    AddProvider,
    GetProviders,
    FindNode,
    Ping,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Record {
    pub(crate) key: Bytes,
    pub(crate) value: Bytes,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct KadPeer {
    pub(crate) id: PeerId,
    pub(crate) addrs: Vec<Multiaddr>,
    pub(crate) connected: bool,
}

impl KadMessage {
    pub(crate) fn encode_into(&self, _out: &mut Vec<u8>) {}

    pub(crate) fn decode(_frame: Bytes) -> Result<Self, WireError> {
        Err(WireError::Encoding)
    }
}
