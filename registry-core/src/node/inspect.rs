//! What checkers of a simulation see of the machines; applications have no use for it.

use alloc::vec::Vec;

use crate::id::{PeerId, TopicName};
use crate::node::Node;

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

#[doc(hidden)]
impl Node {
    /// The routing table: bucket i holds peers that share exactly i bits with this node.
    pub fn buckets(&self) -> Vec<Vec<PeerId>> {
        self.kad.buckets().map(|bucket| bucket.filter_map(|peer| self.peers.id(peer)).collect()).collect()
    }

    /// The meshes of the topics this node has joined.
    pub fn meshes(&self) -> Vec<MeshView> {
        let view =
            |(topic, degree, candidates): (&TopicName, _, _)| MeshView { topic: topic.clone(), degree, candidates };
        self.gossip.meshes(self.now).map(view).collect()
    }
}
