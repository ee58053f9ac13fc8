//! Pubsub messages (libp2p pubsub specification, gossipsub v1.0 to v1.2).

use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::Bytes;

use crate::id::{PeerId, TopicName};
use crate::wire::WireError;

/// rust-libp2p loses its stream at 64 KiB less what shares a read.
pub(crate) const MAX_FRAME: usize = 56 * 1024;

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Rpc {
    pub(crate) subscriptions: Vec<Subscription>,
    pub(crate) publish: Vec<Arc<PubMessage>>,
    pub(crate) control: Control,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Subscription {
    pub(crate) subscribe: bool,
    pub(crate) topic: TopicName,
}

/// A published message beside its exact bytes: the signature covers fields this node may not know.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct PubMessage {
    pub(crate) raw: Bytes,
    pub(crate) from: Option<PeerId>,
    pub(crate) data: Bytes,
    /// Exactly 8 bytes, big endian, on the wire.
    pub(crate) seqno: Option<u64>,
    pub(crate) topic: TopicName,
    pub(crate) signature: Option<Bytes>,
    /// Protobuf-encoded public key, when the sender gave it.
    pub(crate) key: Option<Bytes>,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Control {
    pub(crate) ihave: Vec<(TopicName, Vec<Bytes>)>,
    pub(crate) iwant: Vec<Bytes>,
    pub(crate) graft: Vec<TopicName>,
    pub(crate) prune: Vec<Prune>,
    pub(crate) idontwant: Vec<Bytes>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Prune {
    pub(crate) topic: TopicName,
    /// Seconds.
    pub(crate) backoff: Option<u64>,
}

impl PubMessage {
    /// The bytes a StrictSign signature covers: `libp2p-pubsub:` and the message without fields 5 and 6.
    pub(crate) fn signed_bytes(&self) -> Bytes {
        Bytes::new()
    }

    /// The bytes to sign for a new message.
    pub(crate) fn bytes_to_sign(_from: &PeerId, _seqno: u64, _topic: &TopicName, _data: &Bytes) -> Bytes {
        Bytes::new()
    }

    /// A complete message of this node. `key` only when it is not inlined in `from`.
    pub(crate) fn new(
        from: PeerId,
        seqno: u64,
        topic: TopicName,
        data: Bytes,
        signature: Bytes,
        key: Option<Bytes>,
    ) -> Self {
        Self { raw: Bytes::new(), from: Some(from), data, seqno: Some(seqno), topic, signature: Some(signature), key }
    }
}

impl Rpc {
    pub(crate) fn encode_into(&self, _out: &mut Vec<u8>) {}

    pub(crate) fn decode(_frame: Bytes) -> Result<Self, WireError> {
        Err(WireError::Encoding)
    }

    /// The encoded length, for splitting before `MAX_FRAME`.
    pub(crate) fn encoded_len(&self) -> usize {
        0
    }
}
