//! One gossip machine with scripted peers.

use alloc::string::ToString;
use alloc::sync::Arc;
use alloc::vec::Vec;
use alloc::{format, vec};

use bytes::Bytes;

use crate::action::{Action, SendClass, SigningKey, StoreRequest};
use crate::catalog::Verdict;
use crate::config::Config;
use crate::event::Event;
use crate::fuzzing::TestWorld;
use crate::fuzzing::world::ALL_PROTOCOLS;
use crate::gossip::message_id::MessageId;
use crate::gossip::{Gossip, GossipEvent};
use crate::id::{JobId, OpId, PeerId, PeerIx, StoreId, TopicName};
use crate::input::{GossipVersion, Side, StoreResult};
use crate::peers::Offence;
use crate::time::{Duration, Instant};
use crate::wire::Kind;
use crate::wire::gossip::{Control, MAX_FRAME, Prune, PubMessage, Rpc, Subscription};

pub(super) const SECOND: Duration = Duration::from_secs(1);

pub(super) fn topic(name: &str) -> TopicName {
    TopicName::from(name)
}

/// A message of test peer `author` whose signature holds.
pub(super) fn message(author: u64, seqno: u64, name: &str, data: &[u8]) -> Arc<PubMessage> {
    signed(author, seqno, name, data, b"good")
}

pub(super) fn signed(author: u64, seqno: u64, name: &str, data: &[u8], signature: &'static [u8]) -> Arc<PubMessage> {
    let (author, data) = (TestWorld::peer_id(author), Bytes::copy_from_slice(data));
    Arc::new(PubMessage::new(author, seqno, topic(name), data, Bytes::from_static(signature), None))
}

pub(super) fn id_of(msg: &PubMessage) -> Bytes {
    MessageId::of(false, msg, msg.from.unwrap(), msg.seqno.unwrap()).to_bytes()
}

pub(super) fn publish(msgs: &[Arc<PubMessage>]) -> Rpc {
    Rpc { publish: msgs.to_vec(), ..Rpc::default() }
}

pub(super) fn one(msg: &Arc<PubMessage>) -> Rpc {
    publish(core::slice::from_ref(msg))
}

pub(super) fn control(control: Control) -> Rpc {
    Rpc { control, ..Rpc::default() }
}

pub(super) fn graft(name: &str) -> Rpc {
    control(Control { graft: vec![topic(name)], ..Control::default() })
}

pub(super) fn prune(name: &str, backoff: Option<u64>) -> Rpc {
    control(Control { prune: vec![Prune { topic: topic(name), backoff }], ..Control::default() })
}

pub(super) fn ihave(name: &str, ids: Vec<Bytes>) -> Rpc {
    control(Control { ihave: vec![(topic(name), ids)], ..Control::default() })
}

pub(super) fn iwant(ids: Vec<Bytes>) -> Rpc {
    control(Control { iwant: ids, ..Control::default() })
}

pub(super) fn idontwant(ids: Vec<Bytes>) -> Rpc {
    control(Control { idontwant: ids, ..Control::default() })
}

pub(super) fn subscriptions(subscribe: bool, names: impl IntoIterator<Item = TopicName>) -> Rpc {
    let subscriptions = names.into_iter().map(|topic| Subscription { subscribe, topic }).collect();
    Rpc { subscriptions, ..Rpc::default() }
}

/// What was sent to a peer.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    pub(super) to: PeerId,
    pub(super) rpc: Arc<Rpc>,
    pub(super) class: SendClass,
}

pub(super) struct Bench {
    pub(super) world: TestWorld,
    pub(super) gossip: Gossip,
    pub(super) sent: Vec<Sent>,
    pub(super) offences: Vec<(PeerId, Offence)>,
    pub(super) stores: Vec<(StoreId, StoreRequest)>,
    pub(super) delivered: Vec<(u64, Bytes)>,
    pub(super) published: Vec<(Option<OpId>, Result<u32, crate::event::OpError>)>,
    /// What is answered at once to a delivered message; `None` leaves it to the script.
    pub(super) verdict: Option<Verdict>,
    pub(super) store_answers: Option<StoreResult>,
    pub(super) key_present: bool,
    pub(super) verify_at_once: bool,
    pub(super) unverified: Vec<(JobId, bool)>,
}

impl Bench {
    pub(super) fn new() -> Self {
        Self::with(Config::default())
    }

    pub(super) fn with(mut config: Config) -> Self {
        config.peers.min_connections = 0;
        config.peers.ban_threshold = u32::MAX;
        config.peers.max_connections = 2000;
        let mut world = TestWorld::new(config);
        let gossip = Gossip::new(&mut world.cx());
        Self {
            world,
            gossip,
            sent: vec![],
            offences: vec![],
            stores: vec![],
            delivered: vec![],
            published: vec![],
            verdict: Some(Verdict::Accept),
            store_answers: Some(StoreResult::Done),
            key_present: true,
            verify_at_once: true,
            unverified: vec![],
        }
    }

    /// A bench that has joined `name` and is connected to `count` subscribers it has dialled.
    pub(super) fn joined(name: &str, count: u64) -> (Self, Vec<PeerIx>) {
        let mut bench = Self::new();
        bench.subscribe(name);
        let peers = (0..count).map(|n| bench.subscriber(n, Side::Dialer, name)).collect();
        (bench, peers)
    }

    pub(super) fn peer(&mut self, n: u64, side: Side) -> PeerIx {
        self.peer_of(n, side, GossipVersion::V1_2)
    }

    pub(super) fn peer_of(&mut self, n: u64, side: Side, version: GossipVersion) -> PeerIx {
        let peer = self.world.connect_as(n, side, ALL_PROTOCOLS);
        self.gossip.handle_peer_up(&mut self.world.cx(), peer, version, side == Side::Dialer);
        self.settle();
        peer
    }

    pub(super) fn subscriber(&mut self, n: u64, side: Side, name: &str) -> PeerIx {
        let peer = self.peer(n, side);
        self.receive(peer, subscriptions(true, [topic(name)]));
        peer
    }

    pub(super) fn peer_gone(&mut self, peer: PeerIx) {
        self.world.disconnect(peer);
        self.gossip.handle_peer_down(&mut self.world.cx(), peer);
        self.settle();
    }

    pub(super) fn subscribe(&mut self, name: &str) {
        self.gossip.subscribe(&mut self.world.cx(), topic(name));
        self.settle();
    }

    pub(super) fn unsubscribe(&mut self, name: &str) {
        self.gossip.unsubscribe(&mut self.world.cx(), &topic(name));
        self.settle();
    }

    pub(super) fn publish(&mut self, name: &str, data: &[u8]) {
        let data = Bytes::copy_from_slice(data);
        self.gossip.publish(&mut self.world.cx(), Some(OpId(7)), topic(name), data).unwrap();
        self.settle();
    }

    pub(super) fn receive(&mut self, peer: PeerIx, rpc: Rpc) {
        self.gossip.handle_rpc(&mut self.world.cx(), peer, &rpc);
        self.settle();
    }

    pub(super) fn judge(&mut self, ticket: u64, verdict: Verdict) {
        self.gossip.handle_verdict(&mut self.world.cx(), ticket, verdict);
        self.settle();
    }

    pub(super) fn verify(&mut self) {
        for (job, ok) in core::mem::take(&mut self.unverified) {
            self.gossip.handle_verified(&mut self.world.cx(), job, ok);
            self.settle();
        }
    }

    /// Calls the machine at each of its deadlines until `by` has passed.
    pub(super) fn run(&mut self, by: Duration) {
        let end = self.world.now + by;
        while let Some(next) = self.gossip.next_deadline().filter(|next| *next <= end) {
            self.run_to(next);
        }
        self.world.advance(end.since(self.world.now));
    }

    /// Also calls the machine at every heartbeat, and has it run its rules there.
    pub(super) fn run_every_tick(&mut self, by: Duration) {
        let end = self.world.now + by;
        loop {
            let tick = self.gossip.grid.tick(self.world.now) + 1;
            let forced = self.gossip.grid.at(tick);
            let next = self.gossip.next_deadline().map_or(forced, |next| next.min(forced));
            if next > end {
                break;
            }
            if next == forced && self.gossip.due_tick().is_none_or(|due| due > tick) {
                self.world.advance(next.since(self.world.now));
                self.gossip.heartbeat(&mut self.world.cx(), tick);
                self.gossip.finish(&mut self.world.cx());
                self.settle();
            } else {
                self.run_to(next);
            }
        }
        self.world.advance(end.since(self.world.now));
    }

    fn run_to(&mut self, next: Instant) {
        self.world.advance(next.since(self.world.now));
        self.gossip.handle_timeout(&mut self.world.cx());
        self.settle();
        assert!(self.gossip.next_deadline().is_none_or(|next| next > self.world.now), "spinning");
    }

    /// Lets the shell and the application answer until nothing is left to answer.
    pub(super) fn settle(&mut self) {
        loop {
            let actions = self.world.actions();
            let events: Vec<GossipEvent> = core::iter::from_fn(|| self.gossip.poll_event()).collect();
            if actions.is_empty() && events.is_empty() {
                self.gossip.assert_bounds(&self.world.config.gossip);
                return;
            }
            for action in actions {
                self.act(action);
            }
            for event in events {
                match event {
                    GossipEvent::Deliver { ticket, data, .. } => {
                        self.delivered.push((ticket, data));
                        match self.verdict {
                            Some(verdict) => self.gossip.handle_verdict(&mut self.world.cx(), ticket, verdict),
                            None => self.gossip.handle_judging(&mut self.world.cx(), ticket),
                        }
                    }
                    GossipEvent::Published { op, sent } => self.published.push((op, sent)),
                }
            }
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Send { peer, msg, class } => {
                let Kind::Gossip(rpc) = msg.0 else { unreachable!("pubsub only") };
                assert!(rpc.encoded_len() <= MAX_FRAME, "a frame of {} bytes", rpc.encoded_len());
                self.sent.push(Sent { to: peer, rpc, class });
            }
            Action::Verify { job, checks } => {
                let [check] = &checks[..] else { unreachable!("one signature per message") };
                assert!(check.message.starts_with(b"libp2p-pubsub:"));
                let ok = check.signature == b"good"[..];
                if self.verify_at_once {
                    self.gossip.handle_verified(&mut self.world.cx(), job, ok);
                } else {
                    self.unverified.push((job, ok));
                }
            }
            Action::Sign { job, key, bytes } => {
                assert_eq!(key, SigningKey::Node);
                assert!(bytes.starts_with(b"libp2p-pubsub:"));
                let signature = self.key_present.then(|| Bytes::from_static(b"good"));
                self.gossip.handle_signed(&mut self.world.cx(), job, signature);
            }
            Action::Store { op, request } => {
                self.stores.push((op, request));
                if let Some(result) = self.store_answers.clone() {
                    self.gossip.handle_stored(&mut self.world.cx(), op, result);
                }
            }
            Action::Emit(Event::PeerMisbehaved { peer, offence, .. }) => self.offences.push((peer, offence)),
            Action::Emit(_) => {}
            Action::Dial { .. }
            | Action::Disconnect { .. }
            | Action::Request { .. }
            | Action::Respond { .. }
            | Action::Hash { .. }
            | Action::Merge { .. }
            | Action::SetServerMode(_) => unreachable!("not gossip's: {action:?}"),
        }
    }

    /// Takes what was sent since the last call.
    pub(super) fn taken(&mut self) -> Vec<Sent> {
        core::mem::take(&mut self.sent)
    }

    /// Takes what was sent, as the peers' numbers that match.
    pub(super) fn taken_by(&mut self, which: impl Fn(&Rpc) -> bool) -> Vec<PeerId> {
        self.taken().into_iter().filter(|sent| which(&sent.rpc)).map(|sent| sent.to).collect()
    }

    pub(super) fn mesh(&self, name: &str) -> Vec<PeerIx> {
        self.gossip.topics.get(name).map(|topic| topic.mesh.iter().copied().collect()).unwrap_or_default()
    }

    /// A mesh peer and one that is not.
    pub(super) fn in_and_out(&self, name: &str, peers: &[PeerIx]) -> (PeerIx, PeerIx) {
        let mesh = self.mesh(name);
        let outside = peers.iter().find(|peer| !mesh.contains(peer)).expect("a peer outside the mesh");
        (mesh[0], *outside)
    }

    pub(super) fn id(&self, peer: PeerIx) -> PeerId {
        self.world.peers.id(peer).unwrap()
    }

    /// Everything observable so far, for comparing runs.
    pub(super) fn trace(&self) -> alloc::string::String {
        format!("{:?} {:?} {:?}", self.sent, self.delivered.len(), self.world.now.as_micros().to_string())
    }
}

pub(super) fn grafts(rpc: &Rpc) -> bool {
    !rpc.control.graft.is_empty()
}

pub(super) fn prunes(rpc: &Rpc) -> bool {
    !rpc.control.prune.is_empty()
}

pub(super) fn publishes(rpc: &Rpc) -> bool {
    !rpc.publish.is_empty()
}
