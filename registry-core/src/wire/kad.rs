//! Kademlia messages (libp2p kad-dht specification, "RPC messages").

use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::Bytes;
use multiaddr::{Multiaddr, Protocol};
use prost::Message as _;

use crate::id::PeerId;
use crate::wire::{WireError, put};

/// rust-libp2p closes the stream above this.
pub(crate) const MAX_FRAME: usize = 16 * 1024;
/// Key and value of a record that is kept or sent: there is room in the frame for the key once more and some 20 peers of
/// a GET_VALUE answer. Larger ones are read, for rust-libp2p sends what fits a frame, and then refused.
pub(crate) const MAX_RECORD: usize = 10 * 1024;
/// Peers read from one list of a message: twice the default k of 20, and room for the doubles that js-libp2p sends.
pub(crate) const MAX_PEERS: usize = 64;
/// Addresses read of one peer: several transports on several interfaces; more is an attempt to make us dial others.
pub(crate) const MAX_ADDRS: usize = 16;
/// Bytes of addresses read of one peer, the limit that go-libp2p sets to a peer record.
pub(crate) const MAX_ADDR_BYTES: usize = 8 * 1024;

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
    /// Without a trailing `/p2p`. Shared with the peer book.
    pub(crate) addrs: Arc<[Multiaddr]>,
    pub(crate) connected: bool,
}

impl KadMessage {
    pub(crate) fn encode_into(&self, out: &mut Vec<u8>) {
        if self.kind != KadKind::PutValue {
            put::number(out, 1, self.kind.code() as u64);
        }
        if !self.key.is_empty() {
            put::bytes(out, 2, &self.key);
        }
        if let Some(record) = &self.record {
            put::head(out, 3, record.len());
            record.encode_into(out);
        }
        for (field, peers) in [(8, &self.closer), (9, &self.providers)] {
            for peer in peers {
                put::head(out, field, peer.len());
                peer.encode_into(out);
            }
        }
    }

    pub(crate) fn encoded_len(&self) -> usize {
        let kind = if self.kind == KadKind::PutValue { 0 } else { put::number_len(self.kind.code() as u64) };
        let key = if self.key.is_empty() { 0 } else { put::bytes_len(self.key.len()) };
        let record = self.record.as_ref().map_or(0, |record| put::bytes_len(record.len()));
        let peers = self.closer.iter().chain(&self.providers).map(|peer| put::bytes_len(peer.len()));
        kind + key + record + peers.sum::<usize>()
    }

    /// Leaves out peers from the ends of the lists, providers last, until the message fits a frame.
    pub(crate) fn fit_frame(&mut self) {
        while self.encoded_len() > MAX_FRAME && self.closer.pop().or_else(|| self.providers.pop()).is_some() {}
    }

    /// Reads a request or an answer. Peers without a valid id and addresses that are none are skipped, as are unknown
    /// fields; what a request must contain is for the machine to check, since answers leave most of it out.
    pub(crate) fn decode(frame: Bytes) -> Result<Self, WireError> {
        let proto = MessageProto::decode(frame)?;
        let kind = KadKind::from_code(proto.kind).ok_or(WireError::Encoding)?;
        let record = proto.record.map(RecordProto::read);
        if kind == KadKind::PutValue && proto.key.is_empty() && record.is_none() {
            return Err(WireError::Missing);
        }
        Ok(Self {
            kind,
            key: Bytes::copy_from_slice(&proto.key),
            record,
            closer: read_peers(&proto.closer_peers)?,
            providers: read_peers(&proto.provider_peers)?,
        })
    }
}

impl KadKind {
    const fn code(self) -> i32 {
        match self {
            Self::PutValue => 0,
            Self::GetValue => 1,
            Self::AddProvider => 2,
            Self::GetProviders => 3,
            Self::FindNode => 4,
            Self::Ping => 5,
        }
    }

    const fn from_code(code: i32) -> Option<Self> {
        Some(match code {
            0 => Self::PutValue,
            1 => Self::GetValue,
            2 => Self::AddProvider,
            3 => Self::GetProviders,
            4 => Self::FindNode,
            5 => Self::Ping,
            _ => return None,
        })
    }
}

impl Record {
    fn encode_into(&self, out: &mut Vec<u8>) {
        for (field, part) in self.parts() {
            put::bytes(out, field, part);
        }
    }

    fn len(&self) -> usize {
        self.parts().map(|(_, part)| put::bytes_len(part.len())).sum()
    }

    /// Empty ones are left out.
    fn parts(&self) -> impl Iterator<Item = (u8, &Bytes)> {
        [(1, &self.key), (2, &self.value)].into_iter().filter(|(_, part)| !part.is_empty())
    }
}

impl KadPeer {
    fn encode_into(&self, out: &mut Vec<u8>) {
        put::bytes(out, 1, self.id.as_bytes());
        self.addrs.iter().for_each(|addr| put::bytes(out, 2, addr.as_ref()));
        if self.connected {
            put::number(out, 3, 1);
        }
    }

    fn len(&self) -> usize {
        let addrs: usize = self.addrs.iter().map(|addr| put::bytes_len(addr.len())).sum();
        put::bytes_len(self.id.as_bytes().len()) + addrs + if self.connected { put::number_len(1) } else { 0 }
    }
}

fn read_peers(list: &[Bytes]) -> Result<Vec<KadPeer>, WireError> {
    let protos = list.iter().take(MAX_PEERS).map(|bytes| PeerProto::decode(bytes.clone()));
    protos.filter_map(|proto| proto.map(PeerProto::read).map_err(WireError::from).transpose()).collect()
}

/// `None` when it is no address, or one of another peer.
fn read_addr(peer: &PeerId, bytes: &[u8]) -> Option<Multiaddr> {
    let mut addr = Multiaddr::try_from(bytes.to_vec()).ok()?;
    if let Some(Protocol::P2p(id)) = addr.iter().last() {
        if id.to_bytes() != peer.as_bytes() {
            return None;
        }
        addr.pop();
    }
    (!addr.is_empty()).then_some(addr)
}

/// The peers stay undecoded bytes: only so many of them are read as may be used.
#[derive(Clone, PartialEq, prost::Message)]
struct MessageProto {
    /// An enumeration; 0 (PUT_VALUE) is left out.
    #[prost(int32, tag = "1")]
    kind: i32,
    #[prost(bytes = "bytes", tag = "2")]
    key: Bytes,
    #[prost(message, optional, tag = "3")]
    record: Option<RecordProto>,
    #[prost(bytes = "bytes", repeated, tag = "8")]
    closer_peers: Vec<Bytes>,
    #[prost(bytes = "bytes", repeated, tag = "9")]
    provider_peers: Vec<Bytes>,
}

/// `timeReceived` (5) is the receiver's business, so it is neither sent nor read.
#[derive(Clone, PartialEq, prost::Message)]
struct RecordProto {
    #[prost(bytes = "bytes", tag = "1")]
    key: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    value: Bytes,
}

impl RecordProto {
    /// Copied: a stored record must not keep its whole frame in memory.
    fn read(self) -> Record {
        Record { key: Bytes::copy_from_slice(&self.key), value: Bytes::copy_from_slice(&self.value) }
    }
}

#[derive(Clone, PartialEq, prost::Message)]
struct PeerProto {
    #[prost(bytes = "bytes", tag = "1")]
    id: Bytes,
    #[prost(bytes = "bytes", repeated, tag = "2")]
    addrs: Vec<Bytes>,
    #[prost(int32, tag = "3")]
    connection: i32,
}

impl PeerProto {
    fn read(self) -> Option<KadPeer> {
        let id = PeerId::from_bytes(&self.id).ok()?;
        let mut budget = MAX_ADDR_BYTES;
        let fitting = self.addrs.iter().map_while(|addr| {
            budget = budget.checked_sub(addr.len())?;
            Some(addr)
        });
        let addrs = fitting.filter_map(|addr| read_addr(&id, addr)).take(MAX_ADDRS).collect();
        Some(KadPeer { id, addrs, connected: self.connection == 1 })
    }
}
