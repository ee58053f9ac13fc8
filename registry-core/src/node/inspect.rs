//! What checkers of a simulation see of the machines; applications have no use for it.

use alloc::vec::Vec;

use crate::config::Config;
use crate::id::{PeerId, PublisherId, TopicName};
use crate::node::Node;
use crate::node::operations::MAX_OPERATIONS;
use crate::time::{Duration, UnixTime};

/// An entry of the routing table.
#[doc(hidden)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EntryView {
    /// Bits its place shares with this node's, by the bucket it lies in.
    pub bucket: usize,
    /// Who.
    pub peer: PeerId,
    /// Its last request failed.
    pub failing: bool,
    /// Who gave way to it without a failed request.
    pub displaced: Option<PeerId>,
}

/// One mesh of this node.
#[doc(hidden)]
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MeshView {
    /// Its topic.
    pub topic: TopicName,
    /// Its members.
    pub degree: usize,
    /// Subscribers that could be grafted now.
    pub candidates: usize,
}

/// The head a node holds of one log.
#[doc(hidden)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct HeadView {
    /// Whose log.
    pub publisher: PublisherId,
    /// The order in which heads win: the length they sign, then the time of signing.
    pub rank: (u64, UnixTime),
    /// Statements held.
    pub len: u64,
}

/// What is open or held here, counted without a walk over it.
#[doc(hidden)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Load {
    /// Connected peers.
    pub connections: usize,
    /// Peers in the book.
    pub known: usize,
    /// Running commands.
    pub operations: usize,
}

#[doc(hidden)]
impl Node {
    /// The routing table, bucket by bucket, seniors first.
    pub fn table(&self) -> impl Iterator<Item = EntryView> {
        self.kad.table().buckets().enumerate().flat_map(move |(bucket, entries)| {
            let view = move |entry: &crate::kad::Entry| {
                let peer = self.peers.id(entry.peer)?;
                let displaced = entry.displaced.and_then(|old| self.peers.id(old));
                Some(EntryView { bucket, peer, failing: entry.is_failing(), displaced })
            };
            entries.iter().filter_map(view)
        })
    }

    /// Another number whenever the routing table's members or their failures have changed.
    pub fn table_version(&self) -> u64 {
        self.kad.table().version()
    }

    /// Is this node connected to the peer, as far as it knows?
    pub fn is_connected(&self, peer: &PeerId) -> bool {
        self.peers.find_connected(peer).is_some()
    }

    /// Has this node banned the peer?
    pub fn has_banned(&self, peer: &PeerId) -> bool {
        self.peers.has_banned(self.now, peer)
    }

    /// The largest mesh of all topics this node has joined.
    pub fn max_degree(&self) -> usize {
        self.gossip.degrees().max().unwrap_or(0)
    }

    /// The meshes of the topics this node has joined.
    pub fn meshes(&self) -> Vec<MeshView> {
        let view =
            |(topic, degree, candidates): (&TopicName, _, _)| MeshView { topic: topic.clone(), degree, candidates };
        self.gossip.meshes(self.now).map(view).collect()
    }

    /// Mesh members this node must keep away from, after a PRUNE.
    pub fn meshed_in_backoff(&self) -> Vec<(TopicName, PeerId)> {
        let members = self.gossip.meshed_in_backoff(self.now);
        members.filter_map(|(topic, peer)| Some((topic.clone(), self.peers.id(peer)?))).collect()
    }

    /// Peers this node names as providers of something when asked.
    pub fn providers_named(&self) -> Vec<PeerId> {
        self.kad.providers_named(self.now).filter_map(|peer| self.peers.id(peer)).collect()
    }

    /// The heads held, in ascending order of publisher.
    pub fn heads(&self) -> impl Iterator<Item = HeadView> {
        self.catalog.heads().map(|(publisher, head, len)| HeadView { publisher, rank: (head.length, head.time), len })
    }

    /// For how long the ban that ends last still holds.
    pub fn longest_ban(&self) -> Option<Duration> {
        self.peers.last_ban_until().map(|until| until.since(self.now))
    }

    /// Counts of what is open.
    pub fn load(&self) -> Load {
        let (known, _, _) = self.peers.load();
        Load { connections: self.peers.connected().count(), known, operations: self.operations.len() }
    }

    /// Panics when something of the DHT is over its bound in this configuration or contradicts itself.
    pub fn assert_kad_bounds(&self, config: &Config) {
        self.kad.assert_bounds(&config.kad);
    }

    /// Panics when something of pubsub is over its bound in this configuration or contradicts itself.
    pub fn assert_gossip_bounds(&self, config: &Config) {
        self.gossip.assert_bounds(&config.gossip);
    }

    /// Panics when something else is over its bound.
    pub fn assert_bounds(&self) {
        assert!(self.operations.len() <= MAX_OPERATIONS, "{} operations", self.operations.len());
        self.catalog.assert_bounds();
    }
}
