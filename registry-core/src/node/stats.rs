//! What the node can tell about itself without asking anybody.

use alloc::vec::Vec;

use crate::id::{Digest, PeerId, TopicName};
use crate::node::Node;

/// Counts of what the node holds and does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stats {
    /// Connected peers.
    pub connections: u64,
    /// DHT servers in the routing table.
    pub routing_table: u64,
    /// Releases in the catalogue.
    pub releases: u64,
    /// Publishers in the catalogue.
    pub publishers: u64,
    /// Over the publishers in the catalogue, the lengths of their logs and their last statements; of those that are proven
    /// to have contradicted themselves, over that alone. Nodes that hold the same have the same digest.
    pub catalogue: Digest,
    /// Bytes of reconciliation sent since the start: questions, answers and logs.
    pub sync_sent: u64,
    /// Bytes of reconciliation received since the start.
    pub sync_received: u64,
    /// Requests of the DHT sent since the start.
    pub dht_requests: u64,
    /// Pubsub messages received whole since the start, further copies included.
    pub pubsub_copies: u64,
    /// Bytes of head records and statements in the catalogue.
    pub catalogue_bytes: u64,
    /// Publishers whose statements are kept whatever the budget says, besides the own one.
    pub followed: u64,
    /// Statements, or runs of them, that quotas have refused since the start.
    pub refused: u64,
    /// Publishers that have given way to others since the start.
    pub put_out: u64,
    /// Publishers that are proven to have contradicted themselves.
    pub forked: u64,
    /// Complete contents in the store.
    pub contents: u64,
    /// Running commands.
    pub operations: u64,
    /// DHT announcements that nobody has taken yet.
    pub announcements: u64,
}

/// A pubsub topic.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TopicView {
    /// Its name.
    pub topic: TopicName,
    /// This node subscribes to it.
    pub joined: bool,
    /// Connected peers that subscribe to it, and whether each is in this node's mesh.
    pub subscribers: Vec<(PeerId, bool)>,
}

impl Node {
    /// The pubsub topics that this node or a connected peer subscribes to, by name.
    pub fn topics(&self) -> Vec<TopicView> {
        let known = |(peer, in_mesh)| self.peers.id(peer).map(|id| (id, in_mesh));
        let views = self.gossip.topics().map(|(topic, joined, subscribers)| TopicView {
            topic: topic.clone(),
            joined,
            subscribers: subscribers.filter_map(known).collect(),
        });
        views.collect()
    }

    /// Counts of what the node holds and does.
    pub fn stats(&self) -> Stats {
        let catalogue = self.catalog.quota_use();
        Stats {
            connections: self.peers.connected().count() as u64,
            routing_table: self.kad.table_len() as u64,
            releases: self.catalog.len() as u64,
            publishers: self.catalog.publishers() as u64,
            catalogue: self.sync.digest(),
            catalogue_bytes: catalogue.bytes as u64,
            followed: catalogue.followed as u64,
            refused: catalogue.refused,
            put_out: catalogue.put_out,
            forked: self.catalog.proven() as u64,
            sync_sent: self.sync.traffic().sent,
            sync_received: self.sync.traffic().received,
            dht_requests: self.kad.requests_sent(),
            pubsub_copies: self.gossip.copies_received(),
            contents: self.exchange.contents().count() as u64,
            operations: self.operations.len() as u64,
            announcements: self.announcer.backlog() as u64,
        }
    }
}
