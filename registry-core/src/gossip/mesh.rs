//! Meshes and fanouts: whom this node exchanges whole messages with, per topic.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use crate::cx::Cx;
use crate::gossip::backoff::Backoffs;
use crate::gossip::{Gossip, Topic};
use crate::id::{PeerIx, TopicName};
use crate::time::{Duration, Instant};
use crate::wire::gossip::Prune;

/// Peers that get this node's messages on a topic it has not joined.
#[derive(Debug)]
pub(super) struct Fanout {
    pub(super) peers: BTreeSet<PeerIx>,
    pub(super) expires: Instant,
}

impl Gossip {
    /// May the topic's mesh take the peer at `at`, as far as this node knows?
    fn graft_time(&self, topic: &Topic, peer: PeerIx, outbound_only: bool, slack: Duration) -> Option<Instant> {
        let state = self.peers.get(peer)?;
        let fits = state.ready && (state.outbound || !outbound_only) && !topic.mesh.contains(&peer);
        fits.then(|| topic.backoffs.graft_after(peer, slack).unwrap_or(Instant::ORIGIN))
    }

    /// Subscribers that may be grafted now.
    fn candidates(&self, cx: &Cx<'_>, name: &str, outbound_only: bool) -> Vec<PeerIx> {
        let (Some(topic), Some(subscribers)) = (self.topics.get(name), self.subscribers.get(name)) else {
            return Vec::new();
        };
        let slack = cx.config.gossip.heartbeat;
        let ignores = planted!(cx.config, GossipIgnoresBackoff);
        let may = |peer: &PeerIx| {
            self.graft_time(topic, *peer, outbound_only, slack).is_some_and(|from| from <= cx.now || ignores)
        };
        subscribers.iter().copied().filter(may).collect()
    }

    /// The earliest time at which `candidates` is not empty.
    fn candidate_time(&self, name: &str, topic: &Topic, outbound_only: bool, slack: Duration) -> Option<Instant> {
        let subscribers = self.subscribers.get(name)?;
        subscribers.iter().filter_map(|peer| self.graft_time(topic, *peer, outbound_only, slack)).min()
    }

    fn outbound_in_mesh(&self, topic: &Topic) -> usize {
        topic.mesh.iter().filter(|peer| self.peers.get(**peer).is_some_and(|state| state.outbound)).count()
    }

    /// For checkers: topic, degree and peers that could be grafted now, of each mesh.
    pub(crate) fn meshes(&self, now: Instant) -> impl Iterator<Item = (&TopicName, usize, usize)> {
        self.topics.iter().filter(|(_, topic)| topic.joined).map(move |(name, topic)| {
            let candidates =
                self.subscribers.get(name).into_iter().flatten().filter(|peer| {
                    self.graft_time(topic, **peer, false, Duration::ZERO).is_some_and(|from| from <= now)
                });
            (name, topic.mesh.len(), candidates.count())
        })
    }

    /// For checkers: the size of each mesh.
    pub(crate) fn degrees(&self) -> impl Iterator<Item = usize> {
        self.topics.values().map(|topic| topic.mesh.len())
    }

    /// For checkers: members of a mesh that must not be grafted.
    pub(crate) fn meshed_in_backoff(&self, now: Instant) -> impl Iterator<Item = (&TopicName, PeerIx)> {
        self.topics.iter().flat_map(move |(name, topic)| {
            let shunned = topic.mesh.iter().filter(move |peer| topic.backoffs.holds(now, **peer));
            shunned.map(move |peer| (name, *peer))
        })
    }

    /// Topics this node has joined, or knows subscribers of: each with whether it has joined, and its subscribers with
    /// whether they are in the mesh.
    pub(crate) fn topics(&self) -> impl Iterator<Item = (&TopicName, bool, impl Iterator<Item = (PeerIx, bool)>)> {
        let joined = self.topics.iter().filter(|(_, topic)| topic.joined).map(|(name, _)| name);
        let names: BTreeSet<_> = joined.chain(self.subscribers.keys()).collect();
        names.into_iter().map(|name| {
            let topic = self.topics.get(name);
            let in_mesh = move |peer: &PeerIx| topic.is_some_and(|topic| topic.mesh.contains(peer));
            let subscribers = self.subscribers.get(name).into_iter().flatten();
            (name, self.has_joined(name), subscribers.map(move |peer| (*peer, in_mesh(peer))))
        })
    }

    /// When mesh or fanout upkeep can next change something; `None` when only an input can bring that about.
    pub(super) fn upkeep_time(&self, cx: &Cx<'_>, name: &str, topic: &Topic) -> Option<Instant> {
        let config = &cx.config.gossip;
        let mesh = if !topic.joined {
            None
        } else if topic.mesh.len() < config.d_lo {
            self.candidate_time(name, topic, false, config.heartbeat)
        } else if self.outbound_in_mesh(topic) < config.d_out {
            self.candidate_time(name, topic, true, config.heartbeat)
        } else {
            None
        };
        let fanout = topic.fanout.as_ref().map(|fanout| {
            let refill = fanout.peers.len() < config.d && !self.fanout_candidates(name, fanout).is_empty();
            if refill { cx.now } else { fanout.expires }
        });
        [mesh, fanout].into_iter().flatten().min()
    }

    /// G4: grafts up to D when below D_lo, then outbound connections up to D_out.
    pub(super) fn keep_mesh(&mut self, cx: &mut Cx<'_>, name: &TopicName) {
        let config = &cx.config.gossip;
        let Some(topic) = self.topics.get(name).filter(|topic| topic.joined) else { return };
        let degree = topic.mesh.len();
        if degree < config.d_lo && !planted!(cx.config, GossipLeavesMesh) {
            self.graft_some(cx, name, false, config.d.saturating_sub(degree));
        }
        let Some(topic) = self.topics.get(name).filter(|topic| topic.mesh.len() >= config.d_lo) else { return };
        let missing = config.d_out.saturating_sub(self.outbound_in_mesh(topic));
        if missing > 0 {
            self.graft_some(cx, name, true, missing);
            self.trim(cx, name);
        }
    }

    fn graft_some(&mut self, cx: &mut Cx<'_>, name: &TopicName, outbound_only: bool, count: usize) {
        let candidates = self.candidates(cx, name, outbound_only);
        for peer in cx.rng.sample(candidates, count) {
            self.graft(peer, name);
        }
    }

    fn graft(&mut self, peer: PeerIx, name: &TopicName) {
        if let Some(topic) = self.topics.get_mut(name) {
            topic.mesh.insert(peer);
            self.queue_graft(peer, name);
            self.stale = true;
        }
    }

    /// Tells the members of a mesh again that they are.
    pub(super) fn refresh_mesh(&mut self, name: &TopicName) {
        for peer in self.topics.get(name).map(|topic| topic.mesh.clone()).unwrap_or_default() {
            if self.peers.get(peer).is_some_and(|state| state.ready) {
                self.queue_graft(peer, name);
            }
        }
    }

    /// Takes a peer out of a mesh, tells it, and keeps away from it for `backoff`.
    fn prune(&mut self, cx: &Cx<'_>, peer: PeerIx, name: &TopicName, backoff: Duration) {
        if let Some(topic) = self.topics.get_mut(name) {
            topic.mesh.remove(&peer);
            topic.backoffs.extend(cx.now, peer, backoff);
            self.queue_prune(peer, name, backoff);
            self.stale = true;
        }
    }

    /// G4: above D_hi, prunes to D at random, with at least D_out outbound connections if there are as many.
    fn trim(&mut self, cx: &mut Cx<'_>, name: &TopicName) {
        let config = &cx.config.gossip;
        let Some(topic) = self.topics.get(name).filter(|topic| topic.mesh.len() > config.d_hi) else { return };
        let mut members: Vec<PeerIx> = topic.mesh.iter().copied().collect();
        cx.rng.shuffle(&mut members);
        let is_outbound = |peer: &PeerIx| self.peers.get(*peer).is_some_and(|state| state.outbound);
        let (outbound, inbound): (Vec<_>, Vec<_>) = members.iter().partition(|peer| is_outbound(peer));
        let (quota, spare) = outbound.split_at(config.d_out.min(outbound.len()));
        let mut rest: Vec<PeerIx> = spare.iter().copied().chain(inbound).collect();
        cx.rng.shuffle(&mut rest);
        for peer in rest.into_iter().skip(config.d.saturating_sub(quota.len())) {
            self.prune(cx, peer, name, config.prune_backoff);
        }
    }

    pub(super) fn join(&mut self, cx: &mut Cx<'_>, name: &TopicName) {
        let topic = self.topics.entry(name.clone()).or_default();
        topic.joined = true;
        self.stale = true;
        let fanout = topic.fanout.take().map(|fanout| fanout.peers).unwrap_or_default();
        let (mut first, mut others): (Vec<_>, Vec<_>) =
            self.candidates(cx, name, false).into_iter().partition(|peer| fanout.contains(peer));
        cx.rng.shuffle(&mut first);
        cx.rng.shuffle(&mut others);
        for peer in first.into_iter().chain(others).take(cx.config.gossip.d) {
            self.graft(peer, name);
        }
    }

    /// Prunes everybody with the short back-off of those who leave; this node keeps it too.
    pub(super) fn leave(&mut self, cx: &Cx<'_>, name: &TopicName) {
        let Some(topic) = self.topics.get_mut(name) else { return };
        topic.joined = false;
        for peer in topic.mesh.clone() {
            self.prune(cx, peer, name, cx.config.gossip.unsubscribe_backoff);
        }
        self.stale = true;
    }

    /// G5, G6: a peer has put this node into its mesh, so it subscribes. Unknown topics get no answer and leave no trace.
    pub(super) fn handle_graft(&mut self, cx: &mut Cx<'_>, peer: PeerIx, name: &TopicName) {
        let config = &cx.config.gossip;
        if !self.has_joined(name) {
            return;
        }
        let subscribes = self.add_subscription(peer, name);
        let Some(topic) = self.topics.get(name).filter(|topic| !topic.mesh.contains(&peer)) else { return };
        let outbound = self.peers.get(peer).is_some_and(|state| state.outbound);
        let full = topic.mesh.len() >= config.d_hi && !outbound;
        let shunned = topic.backoffs.holds(cx.now, peer) && !planted!(cx.config, GossipIgnoresBackoff);
        if full || shunned || !subscribes {
            self.prune(cx, peer, name, config.prune_backoff);
            return;
        }
        if let Some(topic) = self.topics.get_mut(name) {
            topic.mesh.insert(peer);
            self.stale = true;
        }
        self.trim(cx, name);
    }

    /// G6: the peer has left; both sides keep the back-off. Kept only for joined topics.
    pub(super) fn handle_prune(&mut self, cx: &Cx<'_>, peer: PeerIx, prune: &Prune) {
        if let Some(topic) = self.topics.get_mut(&prune.topic).filter(|topic| topic.joined) {
            topic.mesh.remove(&peer);
            topic.backoffs.extend(cx.now, peer, Backoffs::clamp(prune.backoff, cx.config.gossip.prune_backoff));
            self.stale = true;
        }
    }

    /// The peer is too slow to get whole messages.
    pub(super) fn prune_from_all(&mut self, cx: &Cx<'_>, peer: PeerIx) {
        let names: Vec<TopicName> =
            self.topics.iter().filter(|(_, topic)| topic.mesh.contains(&peer)).map(|(name, _)| name.clone()).collect();
        for name in names {
            self.prune(cx, peer, &name, cx.config.gossip.prune_backoff);
        }
    }

    fn fanout_candidates(&self, name: &str, fanout: &Fanout) -> Vec<PeerIx> {
        self.ready_subscribers(name).into_iter().filter(|peer| !fanout.peers.contains(peer)).collect()
    }

    /// Publishing on a topic that is not joined: starts or prolongs its fanout.
    pub(super) fn touch_fanout(&mut self, cx: &mut Cx<'_>, name: &TopicName) {
        let expires = cx.now + cx.config.gossip.fanout_ttl;
        let topic = self.topics.entry(name.clone()).or_default();
        let fanout = topic.fanout.get_or_insert_with(|| Fanout { peers: BTreeSet::new(), expires });
        fanout.expires = expires;
        self.stale = true;
        self.keep_fanout(cx, name);
    }

    /// Ends a fanout that was not used for long, or fills it up to D.
    pub(super) fn keep_fanout(&mut self, cx: &mut Cx<'_>, name: &TopicName) {
        let Some(mut fanout) = self.topics.get_mut(name).and_then(|topic| topic.fanout.take()) else { return };
        if fanout.expires <= cx.now {
            return;
        }
        let missing = cx.config.gossip.d.saturating_sub(fanout.peers.len());
        if missing > 0 {
            let candidates = self.fanout_candidates(name, &fanout);
            fanout.peers.extend(cx.rng.sample(candidates, missing));
        }
        if let Some(topic) = self.topics.get_mut(name) {
            topic.fanout = Some(fanout);
        }
    }
}
