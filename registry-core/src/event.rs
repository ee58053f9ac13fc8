//! What the node tells the application.

use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::Bytes;

use crate::action::StoreRequest;
use crate::catalog::{ReleaseInfo, Scheme, Unresolved, UpdateKind};
use crate::command::{CommandError, FoundPeers};
use crate::id::{BlockId, OpId, PeerId, PublisherId, TopicName};
use crate::peers::Offence;
use crate::search::SearchPage;

/// Something the application may want to know.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// Recovery from the store is done; commands are accepted.
    Ready,
    /// A peer connected.
    PeerUp(PeerId),
    /// A peer is gone.
    PeerDown(PeerId),
    /// A peer broke a rule.
    PeerMisbehaved {
        /// Who.
        peer: PeerId,
        /// What it did.
        offence: Offence,
        /// It is banned now.
        banned: bool,
    },
    /// A command moved on.
    Progress {
        /// Of which operation.
        op: OpId,
        /// Where it is now.
        stage: Stage,
    },
    /// A release is signed, durable and announced.
    Published {
        /// Of which operation.
        op: OpId,
        /// What.
        release: Arc<ReleaseInfo>,
        /// DHT servers that acknowledged the head record.
        acks: u32,
        /// Pubsub peers it was sent to.
        sent: u32,
    },
    /// A batch is done: what was published of it is signed and durable, and will be announced within seconds.
    BatchPublished {
        /// Of which operation.
        op: OpId,
        /// One per release of the batch, in its order.
        outcomes: Vec<BatchOutcome>,
    },
    /// A search is done.
    SearchDone {
        /// Of which operation.
        op: OpId,
        /// What it found.
        page: SearchPage,
    },
    /// A specification is resolved.
    Resolved {
        /// Of which operation.
        op: OpId,
        /// To this release.
        release: Arc<ReleaseInfo>,
    },
    /// All blocks are verified and durable.
    Fetched {
        /// Of which operation.
        op: OpId,
        /// Under this root.
        root: BlockId,
        /// Verified bytes per provider of this fetch, including those before a restart.
        sources: Vec<(PeerId, u64)>,
    },
    /// A connection asked for by the application is up.
    Connected {
        /// Of which operation.
        op: OpId,
        /// With whom.
        peer: PeerId,
    },
    /// A DHT operation is done.
    Dht {
        /// Of which operation.
        op: OpId,
        /// What it brought.
        result: DhtResult,
    },
    /// A pubsub message was sent.
    PubsubPublished {
        /// Of which operation.
        op: OpId,
        /// To so many peers.
        sent: u32,
    },
    /// A message of a subscribed topic, delivered once.
    PubsubMessage {
        /// Where.
        topic: TopicName,
        /// Whose, as signed.
        author: PeerId,
        /// What.
        data: Bytes,
    },
    /// The catalogue admitted a statement; told once for each.
    Update {
        /// What kind.
        kind: UpdateKind,
        /// Of which release.
        release: Arc<ReleaseInfo>,
    },
    /// A publisher has contradicted itself: nothing new of it is admitted.
    Forked(PublisherId),
    /// An operation ended without success.
    Failed {
        /// Which.
        op: OpId,
        /// Why.
        error: OpError,
    },
    /// The store could not write; what depends on it has not happened.
    StoreFailed(StoreRequest),
}

impl Event {
    /// The operation that ends with this event.
    pub fn ends(&self) -> Option<OpId> {
        match self {
            Self::Published { op, .. }
            | Self::BatchPublished { op, .. }
            | Self::SearchDone { op, .. }
            | Self::Resolved { op, .. }
            | Self::Fetched { op, .. }
            | Self::Connected { op, .. }
            | Self::Dht { op, .. }
            | Self::PubsubPublished { op, .. }
            | Self::Failed { op, .. } => Some(*op),
            Self::Ready
            | Self::PeerUp(_)
            | Self::PeerDown(_)
            | Self::PeerMisbehaved { .. }
            | Self::Progress { .. }
            | Self::PubsubMessage { .. }
            | Self::Update { .. }
            | Self::Forked(_)
            | Self::StoreFailed(_) => None,
        }
    }
}

/// What became of one release of a batch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum BatchOutcome {
    /// Signed and durable.
    Published {
        /// Its place in the publisher's log.
        position: u64,
    },
    /// The log holds this version already, and it says the same.
    Unchanged,
    /// It cannot be published; the others of the batch can.
    Refused(CommandError),
}

/// Where an operation is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stage {
    /// Publish: the own log is being compared with the network's copy.
    CheckingLog,
    /// Publish: statement and head are signed.
    Signed,
    /// Publish: durable here.
    Stored,
    /// Publish: holders are being told.
    Announcing,
    /// Fetch: bytes arrive.
    Fetching {
        /// Verified and durable.
        bytes: u64,
        /// As far as known by now.
        total: u64,
        /// Providers in use.
        providers: u32,
    },
}

/// What a DHT operation brought.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum DhtResult {
    /// So many servers acknowledged the value.
    Stored {
        /// Acknowledged.
        acks: u32,
    },
    /// The best valid value.
    Value(Bytes),
    /// So many servers were told.
    Provided {
        /// Told.
        sent: u32,
    },
    /// No longer providing.
    Stopped,
    /// Providers, or the peer looked for.
    Peers(FoundPeers),
    /// The closest servers that answered, closest first.
    Closest {
        /// Which.
        peers: FoundPeers,
        /// Steps from this node's own table to the last of them.
        hops: u32,
    },
}

/// Why an operation ended without success. Numbers and addresses say what was tried.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum OpError {
    /// The name, the version or the record is not known to anybody asked.
    NotFound,
    /// Several publishers have that name.
    Ambiguous,
    /// A range was asked for of versions whose scheme has none.
    NoRanges(Scheme),
    /// The thing is known, but no peer to get it from.
    NoProviders,
    /// No peer is connected or can be dialled.
    NoPeers,
    /// It took too long.
    Timeout {
        /// Peers asked.
        asked: u32,
        /// Peers that answered.
        answered: u32,
    },
    /// What came does not verify.
    Verification,
    /// Local policy or the state of the publisher's log forbids it.
    Refused(Refusal),
    /// The store could not write.
    Storage,
    /// The shell could not sign.
    Signing,
    /// The own log came to hold that name and version while this release waited.
    AlreadyPublished,
    /// No address led to the peer.
    Unreachable,
    /// The application cancelled it.
    Cancelled,
}

/// Why local policy refuses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// The network knows a longer copy of the own log than this node, or none, while the store is not the one in which the
    /// log began; signing now could fork it.
    LogUnsynced,
    /// The publisher has contradicted itself: only what was admitted before, and is named exactly, is still picked.
    Forked,
    /// All versions that fit are yanked; one of them can be named exactly.
    Yanked,
    /// The quotas leave no room for what its publisher has released; of a publisher that is followed all is kept.
    NoRoom,
}

impl From<Unresolved> for OpError {
    fn from(why: Unresolved) -> Self {
        match why {
            Unresolved::Unknown => Self::NotFound,
            Unresolved::Ambiguous => Self::Ambiguous,
            Unresolved::NoRanges(scheme) => Self::NoRanges(scheme),
            Unresolved::Yanked => Self::Refused(Refusal::Yanked),
            Unresolved::Forked => Self::Refused(Refusal::Forked),
        }
    }
}

impl core::fmt::Display for OpError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::NotFound => f.write_str("not found"),
            Self::NoProviders => f.write_str("nobody who has it could be found"),
            Self::NoPeers => f.write_str("no peer is connected"),
            Self::Timeout { asked, answered } => write!(f, "timed out: {answered} of {asked} peers answered"),
            Self::Verification => f.write_str("verification failed"),
            Self::Refused(Refusal::LogUnsynced) => {
                f.write_str("this node may lack what its publisher has signed, and would contradict it")
            }
            Self::Refused(Refusal::Forked) => f.write_str(
                "the publisher has contradicted itself; only versions admitted before that can be had, by name",
            ),
            Self::Refused(Refusal::Yanked) => f.write_str("all versions that fit are yanked"),
            Self::Refused(Refusal::NoRoom) => f.write_str("the catalogue has no room for this publisher"),
            Self::Ambiguous => f.write_str("several publishers have that name; say whose"),
            Self::NoRanges(scheme) => write!(f, "versions of the scheme {} have no ranges", scheme.as_str()),
            Self::Storage => f.write_str("the store could not write"),
            Self::AlreadyPublished => f.write_str("that version is already published"),
            Self::Signing => f.write_str("the signing key is not available"),
            Self::Unreachable => f.write_str("no connection came about"),
            Self::Cancelled => f.write_str("cancelled"),
        }
    }
}

impl core::error::Error for OpError {}
