//! What the core asks of the world.

use alloc::vec::Vec;

use bytes::Bytes;
use multiaddr::Multiaddr;

use crate::event::Event;
use crate::id::{DialId, Digest, JobId, PeerId, RequestId, StoreId, Token};
use crate::search::Part;
use crate::wire::Message;

/// One thing the shell must do. Actions form one FIFO; its order is part of the contract.
#[derive(Clone, Debug)]
#[must_use]
pub enum Action {
    /// Open a connection. Answered by [`Input::Connected`](crate::Input::Connected) (naming the peer) or `DialFailed`.
    Dial {
        /// Comes back in `DialFailed`.
        dial: DialId,
        /// The expected peer; `None` when only an address is known.
        peer: Option<PeerId>,
        /// Addresses to try, best first. One where somebody else answers does not end the dial while there are others:
        /// anybody can name wrong ones.
        addrs: Vec<Multiaddr>,
    },
    /// Close all connections to a peer.
    Disconnect {
        /// Whom to leave.
        peer: PeerId,
        /// For the log.
        why: DisconnectReason,
    },
    /// Send a one-way message on the peer's long-lived stream of the message's protocol; for the DHT, on a stream of
    /// its own that is closed after the write.
    Send {
        /// A connected peer.
        peer: PeerId,
        /// What to send.
        msg: Message,
        /// What to drop first when the peer reads slowly.
        class: SendClass,
    },
    /// Send a request. Answered by `Response` or `RequestFailed`.
    Request {
        /// Comes back in the answer.
        id: RequestId,
        /// A connected peer.
        peer: PeerId,
        /// What to ask.
        msg: Message,
    },
    /// Answer a peer's request; `None` closes the stream without an answer.
    Respond {
        /// The token of [`Input::Request`](crate::Input::Request).
        token: Token,
        /// The answer.
        msg: Option<Message>,
    },
    /// Read or write durable state. Answered by `Stored`, in the order of the requests.
    Store {
        /// Comes back in the answer.
        op: StoreId,
        /// What to do.
        request: StoreRequest,
    },
    /// Check signatures. Answered by `Verified`.
    Verify {
        /// Comes back in the answer.
        job: JobId,
        /// All must hold.
        checks: Vec<SignatureCheck>,
    },
    /// Sign bytes with a key only the shell holds. Answered by `Signed`.
    Sign {
        /// Comes back in the answer.
        job: JobId,
        /// Which key.
        key: SigningKey,
        /// The exact bytes to sign (domain separation included).
        bytes: Bytes,
    },
    /// Compute the sha2-256 of a block. Answered by `Hashed`.
    Hash {
        /// Comes back in the answer.
        job: JobId,
        /// The block.
        data: Bytes,
    },
    /// Merge parts of the search index. Answered by `Merged`.
    Merge {
        /// Comes back in the answer.
        job: JobId,
        /// The argument of [`Segment::merge`](crate::search::Segment::merge). It depends on nothing else, so virtual
        /// nodes may share the result.
        parts: Vec<Part>,
    },
    /// Advertise the DHT protocol in identify (server) or stop advertising it (client).
    SetServerMode(bool),
    /// Tell the application.
    Emit(Event),
}

/// Why the core closes a connection.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum DisconnectReason {
    /// The peer is banned or blocked.
    Banned,
    /// More connections than the role allows.
    Trimmed,
    /// The application asked.
    Requested,
}

/// Order of sacrifice when a peer's queue is full: the last variants are dropped first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum SendClass {
    /// Mesh and wantlist control.
    Control,
    /// The node's own messages.
    Own,
    /// Other people's messages.
    Forward,
    /// Announcements of what could be asked for (IHAVE).
    Gossip,
    /// Blocks. Each is answered by `Sent` or `SendDropped`, unless the peer is disconnected.
    Block,
}

/// One signature over one message.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct SignatureCheck {
    /// The libp2p public key, protobuf-encoded.
    pub key: Bytes,
    /// The exact signed bytes.
    pub message: Bytes,
    /// The signature.
    pub signature: Bytes,
}

/// A key held by the shell.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SigningKey {
    /// The node's libp2p identity.
    Node,
    /// The local publisher's present key.
    Publisher,
}

/// A request to the store.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum StoreRequest {
    /// Apply all writes durably and atomically. Answered by `Done`.
    Commit(Vec<Write>),
    /// Keep a block durably. Its digest is already verified. Answered by `Done`.
    PutBlock {
        /// The name.
        digest: Digest,
        /// The bytes.
        data: Bytes,
    },
    /// Read a block. Answered by `Block`.
    GetBlock(Digest),
    /// Which of these blocks are there? Answered by `Has`.
    HasBlocks(Vec<Digest>),
}

/// One write of a commit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Write {
    /// Which table.
    pub table: Table,
    /// The key; rows are recovered in key order.
    pub key: Bytes,
    /// The value; `None` deletes.
    pub value: Option<Bytes>,
}

/// The tables of the store. The number is part of the on-disk format.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub enum Table {
    /// Counters that must never go back (the gossip sequence number's reservation).
    Meta = 1,
    /// Publisher id -> inception, head.
    Publisher = 2,
    /// Publisher id, position (big endian) -> statement.
    Log = 3,
    /// Root -> a complete, provided content.
    Content = 4,
    /// Root -> an unfinished fetch.
    Fetch = 5,
    /// Peer id -> known addresses.
    PeerAddrs = 6,
    /// Peer id -> ban and its expiry.
    Ban = 7,
    /// Checksum -> a segment of the search index. It holds nothing that the logs do not.
    Segment = 8,
}

impl Table {
    /// All tables, in the order of recovery.
    pub const ALL: [Self; 8] =
        [Self::Meta, Self::Segment, Self::Publisher, Self::Log, Self::Content, Self::Fetch, Self::PeerAddrs, Self::Ban];
}

#[cfg(target_pointer_width = "64")]
const _: () = assert!(core::mem::size_of::<Action>() <= 120);
