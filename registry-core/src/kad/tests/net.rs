//! Many machines wired to each other: virtual time, latency, connections, dead nodes.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use super::*;
use crate::id::DialId;
use crate::input::{DialError, Identity, ProtocolSet, Side};
use crate::peers::{PeerEvent, Peers};
use crate::rng::{Rng, Seed};

pub(super) struct Net {
    pub(super) nodes: Vec<Node>,
    pub(super) now: Instant,
    queue: BTreeMap<(Instant, u64), Delivery>,
    wakes: BTreeSet<(Instant, usize)>,
    links: BTreeSet<(usize, usize)>,
    requests: BTreeMap<Token, (usize, RequestId)>,
    by_id: BTreeMap<PeerId, usize>,
    sequence: u64,
    rng: Rng,
}

pub(super) struct Node {
    pub(super) world: TestWorld,
    pub(super) kad: Kad,
    pub(super) events: Vec<KadEvent>,
    pub(super) alive: bool,
    server: bool,
    wake: Option<Instant>,
}

enum Delivery {
    Connect { from: usize, to: usize, dial: DialId },
    Request { from: usize, to: usize, token: Token, msg: KadMessage },
    Response { to: usize, id: RequestId, msg: Option<KadMessage> },
}

impl Net {
    pub(super) fn new(count: usize, change: impl Fn(usize, &mut crate::config::KadConfig)) -> Self {
        let now = Instant::from_micros(1_000_000);
        let node = |n: usize| {
            let mut config = crate::Config::default();
            config.kad.open_namespaces = ["test".into()].into();
            change(n, &mut config.kad);
            let mut world = TestWorld::new(config);
            let mut seed = [0; 32];
            seed[..8].copy_from_slice(&(n as u64).to_be_bytes());
            world.local.id = TestWorld::peer_id(n as u64);
            world.peers = Peers::new(Seed(seed), now, &world.config, world.local.id);
            world.peers.handle_local_addr(TestWorld::addr(n as u64), true);
            world.rng = Rng::new(Seed(seed), "kad");
            world.now = now;
            let server = world.config.kad.server;
            let kad = Kad::new(&mut world.cx());
            Node { world, kad, events: Vec::new(), alive: true, server, wake: None }
        };
        Self {
            nodes: (0..count).map(node).collect(),
            now,
            queue: BTreeMap::new(),
            wakes: BTreeSet::new(),
            links: BTreeSet::new(),
            requests: BTreeMap::new(),
            by_id: (0..count).map(|n| (TestWorld::peer_id(n as u64), n)).collect(),
            sequence: 0,
            rng: Rng::new(Seed([9; 32]), "net"),
        }
    }

    /// Lets a node do something, then carries out what it asks for.
    pub(super) fn with<R>(&mut self, n: usize, act: impl FnOnce(&mut Kad, &mut Cx<'_>) -> R) -> R {
        let now = self.now;
        let node = &mut self.nodes[n];
        node.world.advance(now.since(node.world.now));
        let result = act(&mut node.kad, &mut node.world.cx());
        self.settle(n);
        result
    }

    /// Tells a node of another's address.
    pub(super) fn introduce(&mut self, n: usize, to: usize) {
        self.with(n, |_, cx| {
            let peer = cx.peers.intern(TestWorld::peer_id(to as u64));
            cx.peers.add_addrs(cx.config, peer, &[TestWorld::addr(to as u64)].into());
            cx.peers.dial(cx.now, cx.config, cx.out, peer);
        });
    }

    /// As `introduce`, to learn whom the other knows.
    pub(super) fn visit(&mut self, n: usize, to: usize) {
        self.introduce(n, to);
        self.run(Duration::from_secs(1));
        self.with(n, |kad, cx| {
            let peer = cx.peers.find(&TestWorld::peer_id(to as u64)).unwrap();
            kad.explore(cx, peer);
        });
    }

    pub(super) fn kill(&mut self, n: usize) {
        self.nodes[n].alive = false;
        let links: Vec<_> = self.links.iter().copied().filter(|(a, b)| *a == n || *b == n).collect();
        for (a, b) in links {
            self.links.remove(&(a, b));
            let other = if a == n { b } else { a };
            self.disconnected(other, n);
        }
    }

    pub(super) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let wake = self.wakes.first().map(|(at, _)| *at);
            let next = [self.queue.keys().next().map(|(at, _)| *at), wake].into_iter().flatten().min();
            let Some(at) = next.filter(|at| *at <= end) else { break };
            self.now = self.now.max(at);
            if wake == Some(at) {
                let (_, n) = self.wakes.pop_first().unwrap();
                self.nodes[n].wake = None;
                if self.nodes[n].alive {
                    self.wake(n);
                }
            } else {
                let (_, delivery) = self.queue.pop_first().unwrap();
                self.deliver(delivery);
            }
        }
        self.now = end;
    }

    fn wake(&mut self, n: usize) {
        let now = self.now;
        let node = &mut self.nodes[n];
        node.world.advance(now.since(node.world.now));
        let TestWorld { peers, out, config, unix, .. } = &mut node.world;
        peers.handle_timeout(now, *unix, config, out, |_| false);
        node.kad.handle_timeout(&mut node.world.cx());
        assert!(node.kad.next_deadline().is_none_or(|at| at > now), "spinning");
        self.settle(n);
    }

    fn send(&mut self, delivery: Delivery) {
        let latency = Duration::from_micros(10_000 + self.rng.below(20_000));
        self.sequence += 1;
        self.queue.insert((self.now + latency, self.sequence), delivery);
    }

    fn settle(&mut self, n: usize) {
        loop {
            let events = self.nodes[n].world.peer_events();
            let actions = self.nodes[n].world.actions();
            if events.is_empty() && actions.is_empty() {
                break;
            }
            for event in events {
                let Node { kad, world, .. } = &mut self.nodes[n];
                match event {
                    PeerEvent::Protocols { peer, was, now } if was.kad != now.kad => {
                        kad.handle_server(&mut world.cx(), peer, now.kad);
                    }
                    PeerEvent::Down { peer } => kad.handle_peer_down(&mut world.cx(), peer),
                    PeerEvent::Banned { peer } => kad.handle_peer_banned(&mut world.cx(), peer),
                    PeerEvent::RequestFailed { id, why } => kad.handle_request_failed(&mut world.cx(), id, why),
                    PeerEvent::Visited { peer } => kad.explore(&mut world.cx(), peer),
                    PeerEvent::Up { .. }
                    | PeerEvent::Protocols { .. }
                    | PeerEvent::Dialled { .. }
                    | PeerEvent::Lonely => {}
                }
            }
            for action in actions {
                self.act(n, action);
            }
        }
        let node = &mut self.nodes[n];
        node.events.extend(core::iter::from_fn(|| node.kad.poll_event()));
        let wake = [node.kad.next_deadline(), node.world.peers.next_deadline()].into_iter().flatten().min();
        if wake != node.wake {
            if let Some(old) = core::mem::replace(&mut node.wake, wake) {
                self.wakes.remove(&(old, n));
            }
            if let Some(at) = wake {
                self.wakes.insert((at, n));
            }
        }
    }

    fn act(&mut self, n: usize, action: Action) {
        match action {
            Action::Dial { dial, peer, .. } => {
                let to = peer.and_then(|peer| self.by_id.get(&peer).copied()).expect("peers dial by id here");
                self.send(Delivery::Connect { from: n, to, dial });
            }
            Action::Disconnect { peer, .. } => {
                let to = self.by_id[&peer];
                if self.links.remove(&(n.min(to), n.max(to))) {
                    self.disconnected(to, n);
                    self.disconnected(n, to);
                }
            }
            Action::Request { id, peer, msg } => {
                let to = self.by_id[&peer];
                self.sequence += 1;
                let token = Token(self.sequence);
                self.requests.insert(token, (n, id));
                self.send(Delivery::Request { from: n, to, token, msg: typed(&msg) });
            }
            Action::Send { peer, msg, .. } => {
                let to = self.by_id[&peer];
                self.sequence += 1;
                self.send(Delivery::Request { from: n, to, token: Token(self.sequence), msg: typed(&msg) });
            }
            Action::Respond { token, msg } => {
                if let Some((to, id)) = self.requests.remove(&token) {
                    self.send(Delivery::Response { to, id, msg: msg.as_ref().map(typed) });
                }
            }
            Action::Verify { .. }
            | Action::Sign { .. }
            | Action::Hash { .. }
            | Action::Merge { .. }
            | Action::Store { .. } => {}
            Action::SetServerMode(_) | Action::Emit(_) => {}
        }
    }

    fn deliver(&mut self, delivery: Delivery) {
        match delivery {
            Delivery::Connect { from, to, dial } if !self.nodes[to].alive => self.peers(from, |peers, cx| {
                peers.handle_dial_failed(cx.0, cx.1, cx.2, dial, DialError::Unreachable);
            }),
            Delivery::Connect { from, to, .. } => {
                self.links.insert((from.min(to), from.max(to)));
                self.connected(from, to, Side::Dialer);
                self.connected(to, from, Side::Listener);
            }
            Delivery::Request { from, to, token, msg } => {
                let linked = self.links.contains(&(from.min(to), from.max(to)));
                if linked && self.nodes[to].alive && self.nodes[to].server {
                    self.with(to, |kad, cx| {
                        let peer = cx.peers.find(&TestWorld::peer_id(from as u64)).unwrap();
                        kad.handle_request(cx, peer, token, &msg);
                    });
                } else if let Some((to, id)) = self.requests.remove(&token) {
                    self.send(Delivery::Response { to, id, msg: None });
                }
            }
            Delivery::Response { to, id, msg } => self.with(to, |kad, cx| match msg {
                Some(msg) => kad.handle_response(cx, id, &msg),
                None => kad.handle_request_failed(cx, id, RequestError::Reset),
            }),
        }
    }

    fn peers(&mut self, n: usize, act: impl FnOnce(&mut Peers, (Instant, &crate::Config, &mut crate::cx::Outbox))) {
        let now = self.now;
        let TestWorld { peers, config, out, .. } = &mut self.nodes[n].world;
        act(peers, (now, config, out));
        self.settle(n);
    }

    fn connected(&mut self, n: usize, to: usize, side: Side) {
        let (id, addr) = (TestWorld::peer_id(to as u64), TestWorld::addr(to as u64));
        let protocols = ProtocolSet { kad: self.nodes[to].server, ..ProtocolSet::default() };
        let info = Identity { protocols, agent: "net".into(), listen_addrs: [addr.clone()].into() };
        self.peers(n, |peers, cx| {
            peers.handle_connected(cx.0, cx.1, cx.2, id, addr, side);
            peers.handle_identified(cx.0, cx.1, id, info);
        });
    }

    fn disconnected(&mut self, n: usize, from: usize) {
        let id = TestWorld::peer_id(from as u64);
        self.peers(n, |peers, cx| peers.handle_disconnected(cx.0, cx.1, cx.2, id));
    }
}
