//! Gossipsub v1.0 to v1.2 (libp2p pubsub specifications): rules P1 to P7 and G1 to G6, G11, G12 and G14; no peer scores.
//!
//! * Messages are signed (StrictSign). Each is delivered once; see [`validate`] for what happens before that.
//! * Heartbeats lie on a grid with a random phase, and the machine wakes only at the next one where a rule can act.
//!   Counts "per heartbeat" belong to the interval between two points of the grid.
//! * What was sent on a stream that is reset is lost, while the connection stays. So that no mesh edge remains known to one
//!   side only, members of a mesh get GRAFT again every minute: it changes nothing, or they accept, or answer with PRUNE.
//! * Control that arises in one call travels in one RPC per peer; RPCs are split below what every implementation takes.
//! * A message sent by this node goes to all subscribers (flood publish), others' messages to the mesh; see [`forward`].
//! * A peer whose queue overflows gets no IHAVE at the next heartbeat, and is pruned from all meshes after ten drops.

mod backoff;
mod bounds;
mod cache;
mod control;
mod forward;
mod heartbeat;
mod limits;
mod mesh;
mod message_id;
mod peer;
mod publish;
mod send;
#[cfg(test)]
mod tests;
mod validate;
mod wants;

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;

use bytes::Bytes;

use crate::action::SendClass;
use crate::catalog::Verdict;
use crate::collections::{PeerMap, SeenCache};
use crate::cx::Cx;
use crate::event::OpError;
use crate::id::{JobId, OpId, PeerId, PeerIx, StoreId, TopicName};
use crate::input::{GossipVersion, Row, Side, StoreResult};
use crate::time::{Duration, Instant, micros};
use crate::wire::gossip::{Control, MAX_PUBLISH, Rpc, Subscription};

use backoff::Backoffs;
use cache::{Authors, MessageCache};
use forward::Gathered;
use heartbeat::Grid;
use limits::{MAX_CONTROL, MAX_REFUSED};
use mesh::Fanout;
use peer::PeerState;
use publish::OwnMessages;
use validate::Pending;
use wants::Wants;

/// What gossip raises for its siblings.
#[derive(Clone, Debug)]
pub(crate) enum GossipEvent {
    /// A message with a good signature, seen for the first time. Answer with `handle_verdict` and the same ticket, and
    /// before that with `handle_judging` when the verdict takes more than this call.
    Deliver { ticket: u64, topic: TopicName, author: PeerId, source: PeerIx, data: Bytes },
    /// An own message is on its way to so many peers, or why it is not: `Signing` or `Storage`.
    Published { op: Option<OpId>, sent: Result<u32, OpError> },
}

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Gossip {
    events: VecDeque<GossipEvent>,
    grid: Grid,
    /// The last heartbeat that was run.
    ran: u64,
    /// The next heartbeat for meshes and fanouts; recomputed when `stale`.
    upkeep: Option<u64>,
    /// The next heartbeat at which the members of meshes get GRAFT again; `None` while there are none.
    refresh: Option<u64>,
    stale: bool,
    peers: PeerMap<PeerState>,
    /// The last heartbeat at which some peer's IDONTWANT holds; none does when all were forgotten.
    dont_wants: Option<u64>,
    /// Connected peers by the topics they subscribe to, whether this node has joined them or not.
    subscribers: BTreeMap<TopicName, BTreeSet<PeerIx>>,
    /// Topics this node has joined, publishes on or has left; peers cannot add to them.
    topics: BTreeMap<TopicName, Topic>,
    cache: MessageCache,
    gathered: Gathered,
    seen: SeenCache,
    refused: SeenCache,
    authors: Authors,
    pending: Pending,
    /// Messages received since the start, further copies included.
    copies: u64,
    wants: Wants,
    own: OwnMessages,
    outgoing: BTreeMap<PeerIx, Control>,
}

/// A topic of this node's own.
#[derive(Debug, Default)]
struct Topic {
    joined: bool,
    /// Empty unless joined.
    mesh: BTreeSet<PeerIx>,
    fanout: Option<Fanout>,
    backoffs: Backoffs,
}

impl Topic {
    /// Those who get messages whole.
    fn partners(&self) -> &BTreeSet<PeerIx> {
        self.fanout.as_ref().map_or(&self.mesh, |fanout| &fanout.peers)
    }
}

impl Gossip {
    pub(crate) fn new(cx: &mut Cx<'_>) -> Self {
        let config = &cx.config.gossip;
        let phase = Duration::from_micros(cx.rng.below(micros(config.heartbeat)));
        let secret = cx.rng.next_u64();
        Self {
            events: VecDeque::new(),
            grid: Grid::new(cx.now + phase, config.heartbeat),
            ran: 0,
            upkeep: None,
            refresh: None,
            stale: false,
            peers: PeerMap::default(),
            dont_wants: None,
            subscribers: BTreeMap::new(),
            topics: BTreeMap::new(),
            cache: MessageCache::new(secret, config.history_length, config.history_gossip),
            gathered: Gathered::default(),
            seen: SeenCache::new(secret, cx.now, config.seen_ttl, config.seen_capacity),
            refused: SeenCache::new(secret, cx.now, config.seen_ttl, MAX_REFUSED),
            authors: Authors::default(),
            pending: Pending::default(),
            copies: 0,
            wants: Wants::default(),
            own: OwnMessages::default(),
            outgoing: BTreeMap::new(),
        }
    }

    /// Messages received since the start, further copies included.
    pub(crate) fn copies_received(&self) -> u64 {
        self.copies
    }

    /// A row of `Table::Meta`: the reserved sequence number.
    pub(crate) fn handle_recovered(&mut self, _cx: &mut Cx<'_>, row: Row) {
        self.own.handle_recovered(&row);
    }

    /// Joins a topic; nothing happens when it is joined already.
    pub(crate) fn subscribe(&mut self, cx: &mut Cx<'_>, topic: TopicName) {
        if !self.has_joined(&topic) {
            self.announce(cx, true, &topic);
            self.join(cx, &topic);
            self.finish(cx);
        }
    }

    /// Leaves a topic; nothing happens when it is not joined.
    pub(crate) fn unsubscribe(&mut self, cx: &mut Cx<'_>, topic: &TopicName) {
        if self.has_joined(topic) {
            self.announce(cx, false, topic);
            self.leave(cx, topic);
            self.finish(cx);
        }
    }

    /// A connected peer speaks pubsub, or now another version of it.
    pub(crate) fn handle_peer_up(&mut self, cx: &mut Cx<'_>, peer: PeerIx, version: GossipVersion, outbound: bool) {
        if !self.peers.contains(peer) {
            self.peers.insert(peer, PeerState::new(outbound));
        }
        let Some(state) = self.peers.get_mut(peer) else { return };
        (state.version, state.outbound) = (version, outbound);
        if !core::mem::replace(&mut state.ready, true) {
            let joined = self.topics.iter().filter(|(_, topic)| topic.joined);
            let subscriptions =
                joined.map(|(topic, _)| Subscription { subscribe: true, topic: topic.clone() }).collect();
            for subscriptions in send::chunks(subscriptions, MAX_CONTROL, |subscription| subscription.topic.len()) {
                cx.send(peer, Rpc { subscriptions, ..Rpc::default() }, SendClass::Control);
            }
        }
        self.stale = true;
        self.finish(cx);
    }

    pub(crate) fn handle_peer_down(&mut self, cx: &mut Cx<'_>, peer: PeerIx) {
        let Some(state) = self.peers.get(peer) else { return };
        for topic in state.topics.clone() {
            self.remove_subscription(peer, &topic);
        }
        self.peers.remove(peer);
        self.outgoing.remove(&peer);
        let moves = self.wants.peer_down(cx.now, peer, |key| self.pending.contains(key));
        self.pursue(moves);
        self.finish(cx);
    }

    pub(crate) fn handle_rpc(&mut self, cx: &mut Cx<'_>, peer: PeerIx, rpc: &Rpc) {
        if !self.peers.contains(peer) {
            let Some(side) = cx.peers.side(peer) else { return };
            self.peers.insert(peer, PeerState::new(side == Side::Dialer));
        }
        self.handle_subscriptions(cx, peer, &rpc.subscriptions);
        for msg in rpc.publish.iter().take(MAX_PUBLISH) {
            self.handle_message(cx, peer, msg);
        }
        let control = &rpc.control;
        self.handle_idontwant(cx, peer, &control.idontwant);
        self.handle_ihave(cx, peer, &control.ihave);
        self.handle_iwant(cx, peer, &control.iwant);
        for topic in &control.graft {
            self.handle_graft(cx, peer, topic);
        }
        for prune in &control.prune {
            self.handle_prune(cx, peer, prune);
        }
        self.finish(cx);
    }

    /// A peer reads too slowly: something to it was dropped.
    pub(crate) fn handle_send_dropped(&mut self, cx: &mut Cx<'_>, peer: PeerIx) {
        let tick = self.grid.tick(cx.now);
        if self.peers.get_mut(peer).is_some_and(|state| state.note_drop(tick)) {
            self.prune_from_all(cx, peer);
            self.finish(cx);
        }
    }

    /// The verdict on a delivered message will take its time: nobody needs to send it meanwhile.
    pub(crate) fn handle_judging(&mut self, cx: &mut Cx<'_>, ticket: u64) {
        self.tell_dont_want(cx, ticket);
    }

    /// The application's judgement of a delivered message (G11): `Accept` passes it on, `Ignore` does not. On `Reject` the
    /// application has charged the source; whoever else sent the same bytes is charged here.
    pub(crate) fn handle_verdict(&mut self, cx: &mut Cx<'_>, ticket: u64, verdict: Verdict) {
        self.judged(cx, ticket, verdict);
        self.finish(cx);
    }

    pub(crate) fn handle_verified(&mut self, cx: &mut Cx<'_>, job: JobId, ok: bool) {
        self.checked(cx, job, ok);
        self.finish(cx);
    }

    pub(crate) fn handle_signed(&mut self, cx: &mut Cx<'_>, job: JobId, signature: Option<Bytes>) {
        self.signed(cx, job, signature);
        self.finish(cx);
    }

    pub(crate) fn handle_stored(&mut self, cx: &mut Cx<'_>, op: StoreId, result: StoreResult) {
        self.reserved(cx, op, &result);
    }

    pub(crate) fn handle_timeout(&mut self, cx: &mut Cx<'_>) {
        let moves = self.wants.expire(cx.now, |key| self.pending.contains(key));
        self.pursue(moves);
        let tick = self.grid.tick(cx.now);
        if self.due_tick().is_some_and(|due| due <= tick) {
            self.heartbeat(cx, tick);
        }
        self.finish(cx);
    }

    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let heartbeat = self.due_tick().map(|tick| self.grid.at(tick));
        [heartbeat, self.wants.next_deadline(), self.gathered.due()].into_iter().flatten().min()
    }

    /// Is the peer in some mesh of ours? (Such connections are the last to be trimmed.)
    pub(crate) fn in_mesh(&self, peer: PeerIx) -> bool {
        self.topics.values().any(|topic| topic.mesh.contains(&peer))
    }

    pub(crate) fn poll_event(&mut self) -> Option<GossipEvent> {
        self.events.pop_front()
    }

    fn finish(&mut self, cx: &mut Cx<'_>) {
        if self.gathered.due().is_some_and(|due| due <= cx.now) {
            self.pass_on(cx);
        }
        self.flush(cx);
        self.replan(cx);
    }

    fn has_joined(&self, topic: &str) -> bool {
        self.topics.get(topic).is_some_and(|topic| topic.joined)
    }

    fn announce(&self, cx: &mut Cx<'_>, subscribe: bool, topic: &TopicName) {
        let mut ready: Vec<PeerIx> = self.peers.iter().filter(|(_, state)| state.ready).map(|(peer, _)| peer).collect();
        ready.sort_unstable();
        let subscriptions = alloc::vec![Subscription { subscribe, topic: topic.clone() }];
        send::broadcast(cx, &ready, Rpc { subscriptions, ..Rpc::default() }, SendClass::Control);
    }

    /// Subscribers of a topic to whom something can be sent, in ascending order.
    fn ready_subscribers(&self, topic: &str) -> Vec<PeerIx> {
        let ready = |peer: &&PeerIx| self.peers.get(**peer).is_some_and(|state| state.ready);
        self.subscribers.get(topic).into_iter().flatten().filter(ready).copied().collect()
    }
}
