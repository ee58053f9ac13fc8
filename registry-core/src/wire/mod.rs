//! What travels between peers: typed messages and their pure codecs.
//!
//! Limits apply before allocation, and `decode(encode(m)) == m`.

pub(crate) mod bitswap;
mod frame;
pub(crate) mod gossip;
pub(crate) mod kad;
mod put;
pub(crate) mod registry;
mod varint;
mod walk;

#[cfg(test)]
mod tests;

use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::Bytes;

pub use frame::{FrameDecoder, encode_frame};

/// Kademlia in a network of its own; a node may be told to use another id.
pub const KAD_PROTOCOL: &str = "/wharf/kad/1.0.0";
/// Gossipsub, newest first.
pub const GOSSIP_PROTOCOLS: [&str; 3] = ["/meshsub/1.2.0", "/meshsub/1.1.0", "/meshsub/1.0.0"];
/// Bitswap.
pub const BITSWAP_PROTOCOL: &str = "/ipfs/bitswap/1.2.0";
/// wharf's own protocol.
pub const REGISTRY_PROTOCOL: &str = "/wharf/registry/1";

/// A message of any protocol: typed, and opaque outside this crate.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Message(pub(crate) Kind);

/// Shared, so that a broadcast is stored once.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Kad(Arc<kad::KadMessage>),
    Gossip(Arc<gossip::Rpc>),
    Bitswap(Arc<bitswap::BitswapMessage>),
    Registry(Arc<registry::RegistryMessage>),
}

/// A protocol of this network.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Protocol {
    /// Kademlia: request and response.
    Kad,
    /// Gossipsub: one-way.
    Gossip,
    /// Bitswap: one-way.
    Bitswap,
    /// wharf's own: request and response.
    Registry,
}

impl Protocol {
    /// The largest frame that is read, in bytes, without its length prefix.
    pub const fn max_frame(self) -> usize {
        match self {
            Self::Kad => kad::MAX_FRAME,
            Self::Gossip => gossip::MAX_INBOUND_FRAME,
            Self::Bitswap => bitswap::MAX_FRAME,
            Self::Registry => registry::MAX_FRAME,
        }
    }

    /// The largest frame that is sent, in bytes, without its length prefix: some peers read less than this node does.
    pub const fn max_sent_frame(self) -> usize {
        match self {
            Self::Gossip => gossip::MAX_FRAME,
            Self::Kad | Self::Bitswap | Self::Registry => self.max_frame(),
        }
    }
}

impl Message {
    /// The protocol it belongs to.
    pub fn protocol(&self) -> Protocol {
        match &self.0 {
            Kind::Kad(_) => Protocol::Kad,
            Kind::Gossip(_) => Protocol::Gossip,
            Kind::Bitswap(_) => Protocol::Bitswap,
            Kind::Registry(_) => Protocol::Registry,
        }
    }

    /// The length of the encoded body in bytes, without a length prefix.
    pub fn wire_len(&self) -> usize {
        match &self.0 {
            Kind::Kad(msg) => msg.encoded_len(),
            Kind::Gossip(rpc) => rpc.encoded_len(),
            Kind::Bitswap(msg) => msg.encoded_len(),
            Kind::Registry(msg) => msg.encoded_len(),
        }
    }

    /// Are these one message in memory?
    #[doc(hidden)]
    pub fn is_same(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Kind::Kad(one), Kind::Kad(other)) => Arc::ptr_eq(one, other),
            (Kind::Gossip(one), Kind::Gossip(other)) => Arc::ptr_eq(one, other),
            (Kind::Bitswap(one), Kind::Bitswap(other)) => Arc::ptr_eq(one, other),
            (Kind::Registry(one), Kind::Registry(other)) => Arc::ptr_eq(one, other),
            (Kind::Kad(_) | Kind::Gossip(_) | Kind::Bitswap(_) | Kind::Registry(_), _) => false,
        }
    }

    /// Published messages inside, for measurements of redundancy.
    #[doc(hidden)]
    pub fn payloads(&self) -> usize {
        match &self.0 {
            Kind::Gossip(rpc) => rpc.publish.len(),
            Kind::Kad(_) | Kind::Bitswap(_) | Kind::Registry(_) => 0,
        }
    }

    /// Appends the encoded body, without a length prefix.
    pub fn encode_into(&self, out: &mut Vec<u8>) {
        match &self.0 {
            Kind::Kad(msg) => msg.encode_into(out),
            Kind::Gossip(rpc) => rpc.encode_into(out),
            Kind::Bitswap(msg) => msg.encode_into(out),
            Kind::Registry(msg) => msg.encode_into(out),
        }
    }

    /// Decodes one frame's body.
    ///
    /// # Errors
    /// When the bytes are no message of `protocol`, or break one of its limits.
    pub fn decode(protocol: Protocol, frame: Bytes) -> Result<Self, WireError> {
        frame::check_len(protocol, frame.len(), protocol.max_frame())?;
        Ok(Self(match protocol {
            Protocol::Kad => Kind::Kad(Arc::new(kad::KadMessage::decode(frame)?)),
            Protocol::Gossip => Kind::Gossip(Arc::new(gossip::Rpc::decode(frame)?)),
            Protocol::Bitswap => Kind::Bitswap(Arc::new(bitswap::BitswapMessage::decode(frame)?)),
            Protocol::Registry => Kind::Registry(Arc::new(registry::RegistryMessage::decode(frame)?)),
        }))
    }
}

impl From<kad::KadMessage> for Message {
    /// Lists of peers are cut to what fits a frame.
    fn from(mut msg: kad::KadMessage) -> Self {
        msg.fit_frame();
        Self(Kind::Kad(Arc::new(msg)))
    }
}

impl From<gossip::Rpc> for Message {
    fn from(rpc: gossip::Rpc) -> Self {
        Self(Kind::Gossip(Arc::new(rpc)))
    }
}

impl From<bitswap::BitswapMessage> for Message {
    fn from(msg: bitswap::BitswapMessage) -> Self {
        Self(Kind::Bitswap(Arc::new(msg)))
    }
}

impl From<registry::RegistryMessage> for Message {
    fn from(msg: registry::RegistryMessage) -> Self {
        Self(Kind::Registry(Arc::new(msg)))
    }
}

/// What is wrong with a frame.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum WireError {
    /// Longer than the protocol allows.
    TooLong,
    /// A length prefix that is not a minimal varint.
    Varint,
    /// Ends in the middle.
    Truncated,
    /// Not the protocol's encoding.
    Encoding,
    /// More entries than the protocol allows.
    TooMany,
    /// A field that must be there is not, or is empty.
    Missing,
}

impl From<prost::DecodeError> for WireError {
    fn from(_: prost::DecodeError) -> Self {
        Self::Encoding
    }
}

impl core::fmt::Display for WireError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::TooLong => "frame too long",
            Self::Varint => "malformed length prefix",
            Self::Truncated => "truncated frame",
            Self::Encoding => "malformed body",
            Self::TooMany => "too many entries",
            Self::Missing => "a required field is missing",
        })
    }
}

impl core::error::Error for WireError {}

/// A part that is kept by itself: copied when it is small, since a slice would keep its whole frame in memory.
fn compact(part: Bytes, frame_len: usize) -> Bytes {
    if part.len() < frame_len / 2 { Bytes::copy_from_slice(&part) } else { part }
}
