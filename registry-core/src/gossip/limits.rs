//! What one peer, or all together, may cost this node. A hostile peer reaches these bounds, an honest one does not.

use crate::wire::gossip::MAX_FRAME;

/// Topics one peer may subscribe to; a flood of names must not fill memory (rust-libp2p takes 100).
pub(super) const MAX_TOPICS_PER_PEER: usize = 128;
/// A larger message of others is delivered, but not passed on: it would cost some receivers their stream.
pub(super) const MAX_RELAYED: usize = MAX_FRAME - ENTRY_OVERHEAD;
/// Topic and data of an own message; what is left of a frame holds the author, and the key and signature of any kind.
pub(super) const MAX_MESSAGE: usize = MAX_FRAME - 2048;
/// Sending: bytes of control per RPC; rust-libp2p refuses more than 16 KiB.
pub(super) const MAX_CONTROL: usize = 15 * 1024;
/// Sending: upper bound of what one entry adds to its own bytes in a frame.
pub(super) const ENTRY_OVERHEAD: usize = 16;

/// Times one message is served to one peer by IWANT.
pub(super) const MAX_SERVED: u8 = 3;
/// Heartbeats between two GRAFTs to the members of a mesh.
pub(super) const REFRESH: u64 = 60;
/// Heartbeats an IDONTWANT is remembered.
pub(super) const DONT_WANT_TTL: u64 = 3;
/// A PRUNE cannot keep this node away for longer, in seconds.
pub(super) const MAX_BACKOFF_SECS: u64 = 3600;
/// Peers in back-off remembered per topic; above, the one that ends first is forgotten.
pub(super) const MAX_BACKOFFS: usize = 1024;

/// Seconds an advertiser has to send what an IWANT asked for.
pub(super) const IWANT_TIMEOUT_SECS: u64 = 3;
/// Advertisers asked for one message at once: one that withholds must not delay the other.
pub(super) const PARALLEL_ASKS: usize = 2;
/// Further advertisers remembered per message.
pub(super) const MAX_ADVERTISERS: usize = 8;
/// Messages asked for at once, of all peers together.
pub(super) const MAX_WANTS: usize = 20_000;
/// Messages asked of one peer at once: of a stranger, ...
pub(super) const FIRST_ASKED: u32 = 128;
/// ... of who has kept its promises, ...
pub(super) const MAX_ASKED_PER_PEER: u32 = 5_000;
/// ... and of who has broken them.
pub(super) const MIN_ASKED: u32 = 4;
/// Advertised ids read between two heartbeats, for each message that may be asked of the peer.
pub(super) const READ_PER_ASKED: u32 = 16;
/// An IWANT for what is not here, which an honest peer was not told of, in IWANTs that are served.
pub(super) const MISSED_IWANT_COST: u32 = 16;

/// Copies that wait for a signature check or a verdict. When all are taken, further messages are ignored, not refused.
pub(super) const MAX_PENDING: usize = 1024;
/// Of those, first brought by one peer.
pub(super) const MAX_PENDING_PER_PEER: u32 = 256;
/// Bytes of the waiting copies.
pub(super) const MAX_PENDING_BYTES: usize = 8 << 20;
/// Different copies under one id that are kept, so that a bad one does not suppress a good one.
pub(super) const MAX_COPIES: usize = 4;
/// Refused copies remembered, so that the same bytes are not checked again.
pub(super) const MAX_REFUSED: usize = 2048;
/// Bytes of messages kept for IWANT.
pub(super) const MAX_CACHE_BYTES: usize = 4 << 20;
/// Authors whose sequence numbers are remembered; above, the one silent for longest is forgotten.
pub(super) const MAX_AUTHORS: usize = 4096;
/// Own messages that wait for the store or for signatures.
pub(super) const MAX_DRAFTS: usize = 1024;

/// So many dropped sends, none more than `DROP_MEMORY` heartbeats after the one before, prune a peer from all meshes.
pub(super) const MAX_DROPS: u32 = 10;
/// See `MAX_DROPS`.
pub(super) const DROP_MEMORY: u64 = 10;

/// What a peer may spend between two heartbeats; the excess is dropped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Budget {
    /// RPCs with IHAVE.
    IhaveMessages,
    /// Ids in IHAVE.
    IhaveIds,
    /// Ids in IWANT.
    IwantIds,
    /// Ids in IDONTWANT.
    DontWantIds,
    /// Changes of subscriptions.
    Subscriptions,
}

impl Budget {
    pub(super) const COUNT: usize = 5;

    pub(super) const fn limit(self) -> u32 {
        match self {
            Self::IhaveMessages => 10,
            Self::IhaveIds | Self::IwantIds => 5_000,
            Self::DontWantIds => 1_000,
            Self::Subscriptions => 2 * MAX_TOPICS_PER_PEER as u32,
        }
    }
}
