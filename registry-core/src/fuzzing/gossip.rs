//! Gossip under peers, a shell and an application that do anything in any order.

use alloc::collections::BTreeSet;
use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::Bytes;

use super::{Choices, TestWorld};
use crate::action::Action;
use crate::catalog::Verdict;
use crate::config::Config;
use crate::fuzzing::world::ALL_PROTOCOLS;
use crate::gossip::{Gossip, GossipEvent};
use crate::id::{JobId, PeerIx, StoreId, TopicName};
use crate::input::{GossipVersion, Row, Side, StoreError, StoreResult};
use crate::time::Duration;
use crate::wire::Kind;
use crate::wire::gossip::{Control, MAX_FRAME, Prune, PubMessage, Rpc, Subscription};

/// Peers in play: more than a mesh takes.
const PEERS: u64 = 20;
const TOPICS: [&str; 4] = ["a", "b", "/wharf/c", "d"];

struct Model {
    world: TestWorld,
    gossip: Gossip,
    connected: BTreeSet<PeerIx>,
    jobs: Vec<JobId>,
    signings: Vec<JobId>,
    stores: Vec<StoreId>,
    tickets: Vec<u64>,
    delivered: BTreeSet<(TopicName, Bytes)>,
}

impl Model {
    fn new() -> Self {
        let mut config = Config::default();
        config.peers.min_connections = 0;
        config.peers.ban_threshold = u32::MAX;
        let mut world = TestWorld::new(config);
        let gossip = Gossip::new(&mut world.cx());
        Self {
            world,
            gossip,
            connected: BTreeSet::new(),
            jobs: Vec::new(),
            signings: Vec::new(),
            stores: Vec::new(),
            tickets: Vec::new(),
            delivered: BTreeSet::new(),
        }
    }

    fn observe(&mut self) {
        for action in self.world.actions() {
            match action {
                Action::Send { peer, msg, class: _ } => {
                    let Kind::Gossip(rpc) = &msg.0 else { unreachable!("not gossip's") };
                    assert!(rpc.encoded_len() <= MAX_FRAME);
                    assert!(**rpc != Rpc::default(), "nothing to say");
                    assert!(self.connected.iter().any(|known| self.world.peers.id(*known) == Some(peer)));
                }
                Action::Verify { job, checks: _ } => self.jobs.push(job),
                Action::Sign { job, .. } => self.signings.push(job),
                Action::Store { op, request: _ } => self.stores.push(op),
                Action::Emit(_) => {}
                Action::Dial { .. }
                | Action::Disconnect { .. }
                | Action::Request { .. }
                | Action::Respond { .. }
                | Action::Hash { .. }
                | Action::Merge { .. }
                | Action::SetServerMode(_) => unreachable!("not gossip's"),
            }
        }
        while let Some(event) = self.gossip.poll_event() {
            match event {
                GossipEvent::Deliver { ticket, topic, data, .. } => {
                    assert!(self.delivered.insert((topic, data)), "delivered twice");
                    self.gossip.handle_judging(&mut self.world.cx(), ticket);
                    self.tickets.push(ticket);
                }
                GossipEvent::Published { .. } => {}
            }
        }
        self.gossip.assert_bounds(&self.world.config.gossip);
    }

    fn step(&mut self, choices: &mut Choices<'_>) {
        let op = choices.below(16);
        let n = choices.below(PEERS);
        let peer = self.world.peers.intern(TestWorld::peer_id(n));
        let mut cx = self.world.cx();
        match op {
            0 => {
                let side = if n.is_multiple_of(2) { Side::Dialer } else { Side::Listener };
                let version = [GossipVersion::V1_0, GossipVersion::V1_1, GossipVersion::V1_2][(n % 3) as usize];
                self.world.connect_as(n, side, ALL_PROTOCOLS);
                self.connected.insert(peer);
                if choices.byte() < 200 {
                    self.gossip.handle_peer_up(&mut self.world.cx(), peer, version, side == Side::Dialer);
                }
            }
            1 => {
                self.world.disconnect(peer);
                self.gossip.handle_peer_down(&mut self.world.cx(), peer);
                self.connected.remove(&peer);
            }
            2 => self.gossip.subscribe(&mut cx, topic(n)),
            3 => self.gossip.unsubscribe(&mut cx, &topic(n)),
            4 => _ = self.gossip.publish(&mut cx, None, topic(n), Bytes::copy_from_slice(choices.bytes(3))),
            5 => self.gossip.handle_send_dropped(&mut cx, peer),
            6 => self.advance(Duration::from_millis(50 * choices.below(200))),
            7 => {
                if let Some(ticket) = take(&mut self.tickets, n) {
                    let verdict = [Verdict::Accept, Verdict::Ignore, Verdict::Accept][(n % 3) as usize];
                    self.gossip.handle_verdict(&mut cx, ticket, verdict);
                }
            }
            8 => {
                if let Some(job) = take(&mut self.signings, n) {
                    self.gossip.handle_signed(&mut cx, job, (n > 0).then(|| Bytes::from_static(b"sig")));
                }
            }
            9 => {
                if let Some(store) = take(&mut self.stores, n) {
                    let result = if n > 2 { StoreResult::Done } else { StoreResult::Failed(StoreError::Full) };
                    self.gossip.handle_stored(&mut cx, store, result);
                }
            }
            10 => {
                if let Some(job) = take(&mut self.jobs, n) {
                    self.gossip.handle_verified(&mut cx, job, n > 5);
                }
            }
            11 => {
                let [key, value] = [choices.bytes(12), choices.bytes(8)].map(Bytes::copy_from_slice);
                self.gossip.handle_recovered(&mut cx, Row { table: crate::action::Table::Meta, key, value });
            }
            _ => {
                let rpc = rpc(choices);
                self.gossip.handle_rpc(&mut cx, peer, &rpc);
            }
        }
        self.observe();
    }

    /// Runs the machine at its own deadlines.
    fn advance(&mut self, by: Duration) {
        let end = self.world.now + by;
        while let Some(next) = self.gossip.next_deadline().filter(|next| *next <= end) {
            self.world.advance(next.since(self.world.now));
            self.gossip.handle_timeout(&mut self.world.cx());
            assert!(self.gossip.next_deadline().is_none_or(|next| next > self.world.now), "spinning");
            self.observe();
        }
        self.world.advance(end.since(self.world.now));
    }
}

fn take<T>(list: &mut Vec<T>, n: u64) -> Option<T> {
    (!list.is_empty()).then(|| list.remove(n as usize % list.len()))
}

fn topic(n: u64) -> TopicName {
    TopicName::from(TOPICS[n as usize % TOPICS.len()])
}

/// Few authors, numbers and contents, so that they meet; the content follows from topic, author and number.
fn message(choices: &mut Choices<'_>) -> Arc<PubMessage> {
    let (name, author, seqno) = (topic(choices.below(4)), choices.below(4), choices.below(6));
    let data = alloc::vec![(16 * author + seqno) as u8; if seqno == 5 { 1500 } else { 8 }];
    let signature = Bytes::copy_from_slice(choices.bytes(1));
    let msg = PubMessage::new(TestWorld::peer_id(100 + author), seqno, name, data.into(), signature, None);
    Arc::new(msg)
}

fn id(choices: &mut Choices<'_>) -> Bytes {
    let (author, seqno) = (choices.below(5), choices.below(6));
    let author = TestWorld::peer_id(100 + author);
    [author.as_bytes(), &seqno.to_be_bytes()].concat().into()
}

fn rpc(choices: &mut Choices<'_>) -> Rpc {
    let mut rpc = Rpc::default();
    for _ in 0..choices.below(4) {
        let name = topic(choices.below(4));
        let control: &mut Control = &mut rpc.control;
        match choices.below(7) {
            0 => rpc.subscriptions.push(Subscription { subscribe: choices.byte() < 200, topic: name }),
            1 => rpc.publish.push(message(choices)),
            2 => control.ihave.push((name, alloc::vec![id(choices), id(choices)])),
            3 => control.iwant.push(id(choices)),
            4 => control.graft.push(name),
            5 => {
                control.prune.push(Prune { topic: name, backoff: Some(choices.u64()).filter(|b| !b.is_multiple_of(3)) })
            }
            _ => control.idontwant.push(id(choices)),
        }
    }
    rpc
}

/// Peers that say anything; the tables stay in their bounds, nothing is delivered twice, and no call spins.
pub fn gossip(data: &[u8]) {
    let mut choices = Choices::new(data);
    let mut model = Model::new();
    while !choices.is_empty() {
        model.step(&mut choices);
    }
    model.advance(Duration::from_secs(120));
}

#[test]
fn any_operations() {
    super::run(200, gossip);
}
