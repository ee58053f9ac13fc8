//! What holds between any two calls; checked by tests and fuzz bodies.

use crate::config::GossipConfig;
use crate::gossip::Gossip;
use crate::gossip::limits::{
    MAX_AUTHORS, MAX_BACKOFFS, MAX_CACHE_BYTES, MAX_PENDING, MAX_REFUSED, MAX_TOPICS_PER_PEER, MAX_WANTS,
};
use crate::gossip::peer::PeerState;
use crate::wire::gossip::MAX_FRAME;

impl Gossip {
    /// Panics when a table is over its bound or two tables disagree.
    pub(crate) fn assert_bounds(&self, config: &GossipConfig) {
        for (name, topic) in &self.topics {
            assert!(topic.mesh.len() <= config.d_hi, "mesh of {}", topic.mesh.len());
            assert!(topic.joined || topic.mesh.is_empty(), "a mesh without a subscription");
            assert!(topic.fanout.as_ref().is_none_or(|fanout| !topic.joined && fanout.peers.len() <= config.d));
            assert!(topic.backoffs.len() <= MAX_BACKOFFS);
            for peer in topic.partners() {
                let subscribed = self.subscribers.get(name).is_some_and(|peers| peers.contains(peer));
                assert!(subscribed, "a mesh peer that does not subscribe");
            }
        }
        for (peer, state) in self.peers.iter() {
            assert!(state.topics.len() <= MAX_TOPICS_PER_PEER);
            assert!(state.topics.iter().all(|topic| self.subscribers[topic].contains(&peer)));
            assert!(state.dont_want_len() <= PeerState::MAX_DONT_WANT);
        }
        let subscriptions: usize = self.subscribers.values().map(|peers| peers.len()).sum();
        assert_eq!(subscriptions, self.peers.iter().map(|(_, state)| state.topics.len()).sum());
        assert_eq!(self.wants.total_asked(), self.peers.iter().map(|(_, state)| state.asked() as usize).sum());
        assert!(self.wants.len() <= MAX_WANTS);
        assert!(self.pending.len() <= MAX_PENDING);
        assert!(self.cache.bytes() <= MAX_CACHE_BYTES);
        assert!(self.gathered.bytes() < MAX_FRAME, "a full frame left behind");
        assert!(self.seen.len() <= config.seen_capacity + 1);
        assert!(self.refused.len() <= MAX_REFUSED + 1);
        assert!(self.authors.len() <= MAX_AUTHORS);
        assert!(self.outgoing.is_empty(), "control left behind");
    }
}
