//! The messages of a peer that says what it likes: the fields an attacker changes, and the others as they came.

use bytes::Bytes;
use registry_core::{Message, Protocol};

/// Requests of the DHT.
pub(super) const PUT_VALUE: i32 = 0;
pub(super) const GET_VALUE: i32 = 1;
pub(super) const ADD_PROVIDER: i32 = 2;
pub(super) const GET_PROVIDERS: i32 = 3;

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Kad {
    #[prost(int32, tag = "1")]
    pub(super) kind: i32,
    #[prost(bytes = "bytes", tag = "2")]
    pub(super) key: Bytes,
    #[prost(bytes = "bytes", optional, tag = "3")]
    pub(super) record: Option<Bytes>,
    #[prost(message, repeated, tag = "8")]
    pub(super) closer: Vec<Peer>,
    #[prost(message, repeated, tag = "9")]
    pub(super) providers: Vec<Peer>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Peer {
    #[prost(bytes = "bytes", tag = "1")]
    pub(super) id: Bytes,
    #[prost(bytes = "bytes", repeated, tag = "2")]
    pub(super) addrs: Vec<Bytes>,
    #[prost(int32, tag = "3")]
    pub(super) connection: i32,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Gossip {
    #[prost(bytes = "bytes", repeated, tag = "1")]
    pub(super) subscriptions: Vec<Bytes>,
    #[prost(message, repeated, tag = "2")]
    pub(super) publish: Vec<Published>,
    #[prost(message, optional, tag = "3")]
    pub(super) control: Option<Control>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Published {
    #[prost(bytes = "bytes", optional, tag = "1")]
    pub(super) from: Option<Bytes>,
    #[prost(bytes = "bytes", optional, tag = "2")]
    pub(super) data: Option<Bytes>,
    #[prost(bytes = "bytes", optional, tag = "3")]
    pub(super) seqno: Option<Bytes>,
    #[prost(string, optional, tag = "4")]
    pub(super) topic: Option<String>,
    #[prost(bytes = "bytes", optional, tag = "5")]
    pub(super) signature: Option<Bytes>,
    #[prost(bytes = "bytes", optional, tag = "6")]
    pub(super) key: Option<Bytes>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Control {
    #[prost(message, repeated, tag = "1")]
    pub(super) ihave: Vec<Ihave>,
    #[prost(message, repeated, tag = "2")]
    pub(super) iwant: Vec<Ids>,
    #[prost(message, repeated, tag = "3")]
    pub(super) graft: Vec<Topic>,
    #[prost(bytes = "bytes", repeated, tag = "4")]
    pub(super) prune: Vec<Bytes>,
    #[prost(message, repeated, tag = "5")]
    pub(super) idontwant: Vec<Ids>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Ihave {
    #[prost(string, tag = "1")]
    pub(super) topic: String,
    #[prost(bytes = "bytes", repeated, tag = "2")]
    pub(super) ids: Vec<Bytes>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Ids {
    #[prost(bytes = "bytes", repeated, tag = "1")]
    pub(super) ids: Vec<Bytes>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Topic {
    #[prost(string, tag = "1")]
    pub(super) topic: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Bitswap {
    #[prost(bytes = "bytes", optional, tag = "1")]
    pub(super) wantlist: Option<Bytes>,
    #[prost(message, repeated, tag = "3")]
    pub(super) payload: Vec<Block>,
    #[prost(bytes = "bytes", repeated, tag = "4")]
    pub(super) presences: Vec<Bytes>,
    #[prost(int32, tag = "5")]
    pub(super) pending_bytes: i32,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Block {
    #[prost(bytes = "bytes", tag = "1")]
    pub(super) prefix: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    pub(super) data: Bytes,
}

/// A protocol's messages, to look into and to change.
pub(super) trait Wire: prost::Message + Default {
    const PROTOCOL: Protocol;

    /// `None` for messages of other protocols.
    fn read(msg: &Message) -> Option<Self> {
        (msg.protocol() == Self::PROTOCOL).then(|| Self::decode(encoded(msg)).ok()).flatten()
    }

    fn message(&self) -> Option<Message> {
        Message::decode(Self::PROTOCOL, self.encode_to_vec().into()).ok()
    }
}

impl Wire for Kad {
    const PROTOCOL: Protocol = Protocol::Kad;
}

impl Wire for Gossip {
    const PROTOCOL: Protocol = Protocol::Gossip;
}

impl Wire for Bitswap {
    const PROTOCOL: Protocol = Protocol::Bitswap;
}

pub(super) fn encoded(msg: &Message) -> Bytes {
    let mut bytes = Vec::new();
    msg.encode_into(&mut bytes);
    bytes.into()
}
