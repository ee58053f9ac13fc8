//! Names of things: peers, digests, blocks, publishers, operations.

use alloc::string::String;
use core::fmt;

use bytes::Bytes;
use cid::Cid;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

/// Any libp2p peer id (identity or sha2-256 multihash of a public key), compact and `Copy`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PeerId {
    len: u8,
    bytes: [u8; PeerId::MAX_LEN],
}

impl PeerId {
    /// An identity multihash of a 42-byte key, minus what libp2p allows: keys over 42 bytes are hashed.
    pub const MAX_LEN: usize = 44;

    /// Parses the binary multihash form.
    ///
    /// # Errors
    /// When the bytes are neither an identity multihash of at most 42 bytes nor a sha2-256 multihash.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, InvalidPeerId> {
        let valid = match bytes {
            [0x00, len, rest @ ..] => usize::from(*len) == rest.len() && rest.len() <= 42 && !rest.is_empty(),
            [0x12, 32, rest @ ..] => rest.len() == 32,
            _ => false,
        };
        if !valid {
            return Err(InvalidPeerId);
        }
        let mut id = Self { len: bytes.len() as u8, bytes: [0; Self::MAX_LEN] };
        id.bytes[..bytes.len()].copy_from_slice(bytes);
        Ok(id)
    }

    /// The id of an ed25519 public key.
    pub fn from_ed25519(key: &[u8; 32]) -> Self {
        let mut bytes = [0; Self::MAX_LEN];
        bytes[..6].copy_from_slice(&[0x00, 0x24, 0x08, 0x01, 0x12, 0x20]);
        bytes[6..38].copy_from_slice(key);
        Self { len: 38, bytes }
    }

    /// The binary multihash form.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// The protobuf-encoded public key, when it is inlined in the id (identity multihash).
    pub fn inlined_key(&self) -> Option<&[u8]> {
        (self.bytes[0] == 0).then(|| &self.as_bytes()[2..])
    }

    /// True when `key` (protobuf-encoded) is the key this id was made of.
    pub fn matches_key(&self, key: &[u8]) -> bool {
        match self.inlined_key() {
            Some(inlined) => inlined == key,
            None => Digest::of(key).0 == self.as_bytes()[2..],
        }
    }
}

/// Of the bytes in use alone: every message's sender is looked up by it.
impl core::hash::Hash for PeerId {
    fn hash<H: core::hash::Hasher>(&self, state: &mut H) {
        state.write(self.as_bytes());
    }
}

/// Is this protobuf-encoded public key of the one kind whose signatures this network checks? Of others nothing can be
/// said, good or bad.
pub(crate) fn is_ed25519_key(key: &[u8]) -> bool {
    key.len() == 36 && key.starts_with(&[0x08, 0x01, 0x12, 0x20])
}

impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&cid::multibase::Base::Base58Btc.encode(self.as_bytes()))
    }
}

impl fmt::Debug for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl core::str::FromStr for PeerId {
    type Err = InvalidPeerId;

    /// Accepts the base58 form (`12D3Koo...`, `Qm...`).
    fn from_str(text: &str) -> Result<Self, InvalidPeerId> {
        let bytes = cid::multibase::Base::Base58Btc.decode(text).map_err(|_| InvalidPeerId)?;
        Self::from_bytes(&bytes)
    }
}

/// The bytes or the text are not a libp2p peer id.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct InvalidPeerId;

impl fmt::Display for InvalidPeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a libp2p peer id")
    }
}

impl core::error::Error for InvalidPeerId {}

/// A node-local handle of a peer: 4 bytes instead of 45. The generation in the upper bits makes a stale handle
/// resolve to nothing, never to another peer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct PeerIx(u32);

impl PeerIx {
    const SLOT_BITS: u32 = 18;

    pub(crate) const MAX_SLOTS: usize = 1 << Self::SLOT_BITS;

    /// Resolves to no peer: generations of used slots start at 1.
    pub(crate) const NOBODY: Self = Self(0);

    /// A slot that has reached this generation is not used again.
    pub(crate) const MAX_GENERATION: u16 = (1 << (u32::BITS - Self::SLOT_BITS)) - 1;

    pub(crate) fn new(slot: usize, generation: u16) -> Self {
        Self((u32::from(generation) << Self::SLOT_BITS) | (slot as u32 & ((1 << Self::SLOT_BITS) - 1)))
    }

    pub(crate) fn slot(self) -> usize {
        (self.0 & ((1 << Self::SLOT_BITS) - 1)) as usize
    }

    pub(crate) fn generation(self) -> u16 {
        (self.0 >> Self::SLOT_BITS) as u16
    }
}

/// A sha2-256 digest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// The digest of `data`. For small inputs only: blocks are hashed by the shell.
    pub fn of(data: &[u8]) -> Self {
        Self(Sha256::digest(data).into())
    }

    /// The binary multihash (`12 20 ..`), the form DHT provider keys take.
    pub fn to_multihash(self) -> Bytes {
        let mut bytes = [0; 34];
        bytes[0] = 0x12;
        bytes[1] = 0x20;
        bytes[2..].copy_from_slice(&self.0);
        Bytes::copy_from_slice(&bytes)
    }
}

/// A byte string of 32 bytes.
impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let bytes = <&[u8]>::deserialize(from)?;
        bytes.try_into().map(Self).map_err(|_| D::Error::invalid_length(bytes.len(), &"32 bytes"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// What the bytes of a block mean.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Codec {
    /// Raw bytes (0x55): a leaf of a file.
    Raw,
    /// DAG-PB (0x70): an inner node of a file, or a directory.
    DagPb,
    /// DAG-CBOR (0x71): a signed statement's body, or a long description.
    DagCbor,
}

impl Codec {
    /// The multicodec code.
    pub const fn code(self) -> u64 {
        match self {
            Self::Raw => 0x55,
            Self::DagPb => 0x70,
            Self::DagCbor => 0x71,
        }
    }

    /// The codec of a multicodec code, when this node knows it.
    pub const fn from_code(code: u64) -> Option<Self> {
        match code {
            0x55 => Some(Self::Raw),
            0x70 => Some(Self::DagPb),
            0x71 => Some(Self::DagCbor),
            _ => None,
        }
    }
}

/// The name of a block: a CIDv1 over sha2-256, the only kind this network stores.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockId {
    /// The digest of the block's bytes.
    pub digest: Digest,
    /// What the bytes mean.
    pub codec: Codec,
}

impl BlockId {
    /// Its general CID.
    pub fn to_cid(self) -> Cid {
        let hash = cid::multihash::Multihash::wrap(0x12, &self.digest.0).expect("32 bytes fit a 64-byte multihash");
        Cid::new_v1(self.codec.code(), hash)
    }

    /// From a general CID, when it is CIDv1 over sha2-256 of a known codec.
    pub fn from_cid(cid: &Cid) -> Option<Self> {
        let codec = Codec::from_code(cid.codec())?;
        let v1_sha256 = cid.version() == cid::Version::V1 && cid.hash().code() == 0x12;
        let digest = cid.hash().digest().try_into().ok().filter(|_| v1_sha256)?;
        Some(Self { digest: Digest(digest), codec })
    }

    /// Parses the binary CID form.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        Cid::try_from(bytes).ok().as_ref().and_then(Self::from_cid)
    }

    /// Parses the text CID form (base32 `b...`).
    pub fn parse(text: &str) -> Option<Self> {
        Cid::try_from(text).ok().as_ref().and_then(Self::from_cid)
    }
}

impl fmt::Display for BlockId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.to_cid(), f)
    }
}

impl fmt::Debug for BlockId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A publisher: the sha2-256 of its inception statement's body, shown as CIDv1 (DAG-CBOR) in base32.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PublisherId(pub Digest);

impl PublisherId {
    /// The DHT key of this publisher's head record: `/wharf/<id>`.
    pub fn record_key(self) -> Bytes {
        Bytes::from(alloc::format!("/wharf/{self}"))
    }

    /// Parses the text form.
    pub fn parse(text: &str) -> Option<Self> {
        BlockId::parse(text).filter(|id| id.codec == Codec::DagCbor).map(|id| Self(id.digest))
    }
}

impl fmt::Display for PublisherId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&BlockId { digest: self.0, codec: Codec::DagCbor }, f)
    }
}

impl fmt::Debug for PublisherId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// An application's running command.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct OpId(pub u64);

/// A machine inside the node; part of every id that leaves it, so that the answer finds its way back.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub(crate) enum Owner {
    Peers = 1,
    Kad = 2,
    Gossip = 3,
    Exchange = 4,
    Catalog = 5,
    Sync = 6,
    Light = 7,
    Search = 8,
}

impl Owner {
    fn from_tag(tag: u64) -> Option<Self> {
        match tag {
            1 => Some(Self::Peers),
            2 => Some(Self::Kad),
            3 => Some(Self::Gossip),
            4 => Some(Self::Exchange),
            5 => Some(Self::Catalog),
            6 => Some(Self::Sync),
            7 => Some(Self::Light),
            8 => Some(Self::Search),
            _ => None,
        }
    }
}

macro_rules! owned_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub struct $name(pub u64);

        impl $name {
            pub(crate) fn new(owner: Owner, sequence: u64) -> Self {
                Self(((owner as u64) << 56) | (sequence & ((1 << 56) - 1)))
            }

            pub(crate) fn owner(self) -> Option<Owner> {
                Owner::from_tag(self.0 >> 56)
            }
        }
    };
}

owned_id! {
    /// A request this node sent; its answer or failure carries the same id.
    RequestId
}
/// A dial this node asked for; only the peer book dials.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct DialId(pub u64);

owned_id! {
    /// A signature check, a signing, a hashing or a merging given to the shell's workers.
    JobId
}
owned_id! {
    /// A store request.
    StoreId
}

/// A peer's request that waits for this node's answer; made by the shell, opaque to the core.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Token(pub u64);

/// A pubsub topic's name.
pub type TopicName = alloc::sync::Arc<str>;

/// Text that cannot be read as what it should be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InvalidText(pub String);

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn peer_id_text_and_bytes_round_trip() {
        let text = "12D3KooWLU2znyJMtDiHArqAGbZn8CgUGp92kxDBtefftEEaHSZS";
        let id: PeerId = text.parse().unwrap();
        assert_eq!(id.to_string(), text);
        assert_eq!(PeerId::from_bytes(id.as_bytes()), Ok(id));
        assert!(id.inlined_key().is_some_and(|key| id.matches_key(key)));
    }

    #[test]
    fn malformed_peer_ids_are_refused() {
        for bytes in [&[][..], &[0], &[0, 0], &[0, 3, 1], &[0x12, 32, 1], &[0x13, 32], &[0; 60]] {
            assert_eq!(PeerId::from_bytes(bytes), Err(InvalidPeerId));
        }
    }

    #[test]
    fn block_and_publisher_ids_round_trip_as_text() {
        let id = BlockId { digest: Digest::of(b"x"), codec: Codec::Raw };
        assert_eq!(BlockId::parse(&id.to_string()), Some(id));
        assert_eq!(BlockId::from_bytes(&id.to_cid().to_bytes()), Some(id));
        let publisher = PublisherId(Digest::of(b"x"));
        assert_eq!(PublisherId::parse(&publisher.to_string()), Some(publisher));
        assert_eq!(PublisherId::parse(&id.to_string()), None);
    }

    #[test]
    fn owned_ids_name_their_machine() {
        assert_eq!(JobId::new(Owner::Gossip, 7).owner(), Some(Owner::Gossip));
        assert_eq!(JobId(0).owner(), None);
    }
}
