//! What the application asks of the node.

use alloc::string::String;
use alloc::vec::Vec;

use bytes::Bytes;
use multiaddr::Multiaddr;

use crate::catalog::{Amendment, NewRelease, PackageSpec};
use crate::id::{BlockId, OpId, PeerId, PublisherId, TopicName};
use crate::search::Query;

/// One request of the application. Bad arguments are refused at once; everything later arrives as events that carry the
/// returned [`OpId`].
#[derive(Clone, Debug)]
pub enum Command {
    /// Sign and announce a release whose blocks are already in the store. Ends in `Published` or `Failed`.
    Publish(NewRelease),
    /// Sign and store up to [`MAX_BATCH`](crate::catalog::MAX_BATCH) releases in one commit. A release that is published
    /// already or breaks a rule does not stop the others. Ends in `BatchPublished` or `Failed`.
    PublishBatch(Vec<NewRelease>),
    /// Sign and announce a later word on an own package or version: yank, deprecate or take that back. Ends in `Published`
    /// with the release concerned (of a whole package, its highest), or in `Failed`. What is so already is not said again,
    /// and `Published` follows without anything being sent.
    Amend(Amendment),
    /// Search the catalogue. Ends in `SearchDone`.
    Search(Query),
    /// Find the release a specification names, learning the publisher's log from the network if needed.
    /// Ends in `Resolved` or `Failed`.
    Resolve(PackageSpec),
    /// Fetch all blocks under a root into the store. Ends in `Fetched` or `Failed`.
    Fetch(BlockId),
    /// Keep a publisher's statements whatever the budget of the catalogue says, also after a restart; or no longer. Done
    /// when accepted.
    Follow {
        /// Whom.
        publisher: PublisherId,
        /// From now on, or no longer.
        on: bool,
    },
    /// Dial an address. Ends in `Connected` or `Failed`.
    Connect(Multiaddr),
    /// Remember addresses to dial, now and whenever this node has too few connections. Done when accepted.
    Bootstrap(Vec<Multiaddr>),
    /// Close the connections to a peer. Done when accepted.
    Disconnect(PeerId),
    /// A DHT operation by hand.
    Dht(DhtCommand),
    /// A pubsub operation by hand.
    Pubsub(PubsubCommand),
    /// End a running operation; it ends in `Failed(Cancelled)`.
    Cancel(OpId),
}

impl Command {
    /// Its kind, for counts and logs.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Publish(_) => "publish",
            Self::Amend(_) => "amend",
            Self::PublishBatch(_) => "publish batch",
            Self::Search(_) => "search",
            Self::Resolve(_) => "resolve",
            Self::Fetch(_) => "fetch",
            Self::Follow { .. } => "follow",
            Self::Connect(_) => "connect",
            Self::Bootstrap(_) => "bootstrap",
            Self::Disconnect(_) => "disconnect",
            Self::Dht(_) => "dht",
            Self::Pubsub(_) => "pubsub",
            Self::Cancel(_) => "cancel",
        }
    }
}

/// A DHT operation. Ends in `Dht` or `Failed`.
#[derive(Clone, Debug)]
pub enum DhtCommand {
    /// Store a value under a key of a known namespace.
    Put {
        /// `/namespace/rest`
        key: Bytes,
        /// The value.
        value: Bytes,
    },
    /// Find the best value of a key.
    Get(Bytes),
    /// Announce this node as a provider of a multihash, again and again until `StopProviding`.
    Provide(Bytes),
    /// No longer.
    StopProviding(Bytes),
    /// Find providers of a multihash.
    FindProviders {
        /// The multihash.
        key: Bytes,
        /// End as soon as so many are known.
        count: usize,
    },
    /// Find a peer's addresses.
    FindPeer(PeerId),
    /// The closest servers to a key.
    Closest(Bytes),
}

/// A pubsub operation. `Publish` ends in `PubsubPublished` or `Failed`; the others are done when accepted.
#[derive(Clone, Debug)]
pub enum PubsubCommand {
    /// Receive a topic's messages as `PubsubMessage` events.
    Subscribe(TopicName),
    /// No longer.
    Unsubscribe(TopicName),
    /// Sign and send.
    Publish {
        /// Where.
        topic: TopicName,
        /// What.
        data: Bytes,
    },
}

/// The caller's mistake, told at once.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CommandError {
    /// A field of the argument is not acceptable.
    Invalid {
        /// Which field.
        field: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// This node has no publisher identity.
    NoPublisher,
    /// That name and version is already published by this publisher.
    AlreadyPublished,
    /// Recovery from the store is not finished.
    NotReady,
    /// Too many operations are running.
    Busy,
    /// No such operation, peer or subscription.
    Unknown,
}

impl core::fmt::Display for CommandError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Invalid { field, reason } => write!(f, "{field}: {reason}"),
            Self::NoPublisher => f.write_str("this node has no publisher identity"),
            Self::AlreadyPublished => f.write_str("that version is already published"),
            Self::NotReady => f.write_str("the node is still reading its store"),
            Self::Busy => f.write_str("too many operations are running"),
            Self::Unknown => f.write_str("nothing of that name is running here"),
        }
    }
}

impl core::error::Error for CommandError {}

/// Addresses and peers a DHT operation found.
pub type FoundPeers = Vec<(PeerId, Vec<Multiaddr>)>;
