//! What the world tells the core.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use bytes::Bytes;
use multiaddr::Multiaddr;

use crate::action::{SendClass, Table};
use crate::id::{DialId, Digest, JobId, PeerId, RequestId, StoreId, Token};
use crate::search::Segment;
use crate::time::UnixTime;
use crate::wire::{Message, Protocol, WireError};

/// One thing that happened. No input can make the core panic or fail.
#[derive(Clone, Debug)]
pub enum Input {
    /// The first connection to a peer is up.
    Connected {
        /// The authenticated peer.
        peer: PeerId,
        /// Its address as seen on this connection.
        addr: Multiaddr,
        /// Who opened the connection.
        side: Side,
    },
    /// The last connection to a peer is gone.
    Disconnected {
        /// The peer.
        peer: PeerId,
    },
    /// A dial came to nothing.
    DialFailed {
        /// Of the action.
        dial: DialId,
        /// What went wrong.
        why: DialError,
    },
    /// A connected peer told what it is and speaks; repeated when that changes.
    Identified {
        /// The peer.
        peer: PeerId,
        /// What it says.
        info: Identity,
    },
    /// A one-way message.
    Received {
        /// The sender.
        peer: PeerId,
        /// The message.
        msg: Message,
    },
    /// A peer asks and waits for [`Action::Respond`](crate::Action::Respond).
    Request {
        /// Who asks.
        peer: PeerId,
        /// To be named in the answer.
        token: Token,
        /// The question.
        msg: Message,
    },
    /// The answer to a request.
    Response {
        /// Of the action.
        id: RequestId,
        /// The answer.
        msg: Message,
    },
    /// A request that will have no answer.
    RequestFailed {
        /// Of the action.
        id: RequestId,
        /// What went wrong.
        why: RequestError,
    },
    /// A peer sent bytes that are no message; the shell has closed that stream.
    Malformed {
        /// The peer.
        peer: PeerId,
        /// On which protocol.
        protocol: Protocol,
        /// What is wrong with them.
        error: WireError,
    },
    /// A block ([`SendClass::Block`]) has left for the peer: the connection has taken all of it. Reported in the order of
    /// the actions; further blocks are not handed over before.
    Sent {
        /// The peer.
        peer: PeerId,
    },
    /// A message was dropped because the peer reads too slowly.
    SendDropped {
        /// The peer.
        peer: PeerId,
        /// What was dropped.
        class: SendClass,
    },
    /// The store's answer.
    Stored {
        /// Of the action.
        op: StoreId,
        /// The answer.
        result: StoreResult,
    },
    /// Rows of the store, given once after the start, table by table in key order. A batch costs what its rows cost to
    /// parse and index: the shell keeps it small.
    Recovered(Vec<Row>),
    /// All rows were given.
    RecoveryDone,
    /// The answer to `Verify`: did all signatures hold?
    Verified {
        /// Of the action.
        job: JobId,
        /// All hold.
        ok: bool,
    },
    /// The answer to `Sign`; `None` when the key is not there.
    Signed {
        /// Of the action.
        job: JobId,
        /// The signature.
        signature: Option<Bytes>,
    },
    /// The answer to `Hash`.
    Hashed {
        /// Of the action.
        job: JobId,
        /// The sha2-256.
        digest: Digest,
    },
    /// The answer to `Merge`.
    Merged {
        /// Of the action.
        job: JobId,
        /// The result.
        segment: Box<Segment>,
    },
    /// This node can be reached at an address (a listener's, or a confirmed external one), or no longer.
    LocalAddr {
        /// The address.
        addr: Multiaddr,
        /// Still valid.
        up: bool,
    },
    /// The wall clock, when it is known better than by elapsed time.
    WallClock(UnixTime),
}

impl Input {
    /// Its kind, for counts and logs.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Connected { .. } => "connected",
            Self::Disconnected { .. } => "disconnected",
            Self::DialFailed { .. } => "dial failed",
            Self::Identified { .. } => "identified",
            Self::Received { .. } => "received",
            Self::Request { .. } => "request",
            Self::Response { .. } => "response",
            Self::RequestFailed { .. } => "request failed",
            Self::Malformed { .. } => "malformed",
            Self::Sent { .. } => "sent",
            Self::SendDropped { .. } => "send dropped",
            Self::Stored { .. } => "stored",
            Self::Recovered(_) => "recovered",
            Self::RecoveryDone => "recovery done",
            Self::Verified { .. } => "verified",
            Self::Signed { .. } => "signed",
            Self::Hashed { .. } => "hashed",
            Self::Merged { .. } => "merged",
            Self::LocalAddr { .. } => "local address",
            Self::WallClock(_) => "wall clock",
        }
    }
}

/// Who opened a connection.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Side {
    /// This node.
    Dialer,
    /// The peer.
    Listener,
}

/// What a peer says of itself in identify.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Identity {
    /// Which of this network's protocols it serves.
    pub protocols: ProtocolSet,
    /// Its program, for people.
    pub agent: String,
    /// Where it can be dialled, as it claims.
    pub listen_addrs: Vec<Multiaddr>,
}

/// The protocols a peer serves.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct ProtocolSet {
    /// The configured DHT protocol: the peer is a DHT server.
    pub kad: bool,
    /// The highest common pubsub version.
    pub gossip: Option<GossipVersion>,
    /// `/ipfs/bitswap/1.2.0`.
    pub bitswap: bool,
    /// `/wharf/registry/1`.
    pub registry: bool,
}

/// A version of gossipsub.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum GossipVersion {
    /// `/meshsub/1.0.0`
    V1_0,
    /// `/meshsub/1.1.0`: back-off in PRUNE.
    V1_1,
    /// `/meshsub/1.2.0`: IDONTWANT.
    V1_2,
}

/// Why a dial failed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum DialError {
    /// No address answered.
    Unreachable,
    /// Another peer answered, and no other address was left.
    WrongPeer,
    /// It took too long.
    Timeout,
    /// The shell has no room or no transport for it.
    Refused,
}

/// Why a request failed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum RequestError {
    /// The connection is gone.
    Disconnected,
    /// The peer does not serve the protocol.
    Unsupported,
    /// The stream was reset, or closed without an answer.
    Reset,
    /// No answer in time.
    Timeout,
    /// The answer was not a message.
    Malformed,
    /// Too many requests wait for this peer.
    Overloaded,
    /// The peer could not be dialled.
    Unreachable,
}

/// The store's answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum StoreResult {
    /// Written and durable.
    Done,
    /// The block, if it is there and intact.
    Block(Option<Bytes>),
    /// One answer per asked block.
    Has(Vec<bool>),
    /// Nothing was changed.
    Failed(StoreError),
}

/// Why the store failed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum StoreError {
    /// No space.
    Full,
    /// Any other fault of the disk.
    Io,
}

/// A row of the store.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Row {
    /// Which table.
    pub table: Table,
    /// The key.
    pub key: Bytes,
    /// The value.
    pub value: Bytes,
}
