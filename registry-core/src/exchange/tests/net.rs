//! Exchanges wired together in virtual time: latency, uplinks of limited rate, nodes that die, lie or keep silent.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use bytes::Bytes;

use super::Blocks;
use crate::action::{Action, SendClass, StoreRequest, Table};
use crate::exchange::{Exchange, ExchangeEvent};
use crate::fuzzing::TestWorld;
use crate::id::{BlockId, Digest, OpId, PeerId};
use crate::input::{Row, StoreResult};
use crate::peers::PeerEvent;
use crate::rng::{Rng, Seed};
use crate::time::{Duration, Instant};
use crate::wire::bitswap::{BitswapMessage, Block};
use crate::wire::{Kind, Message};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Conduct {
    Honest,
    /// Changes a byte of every block.
    Corrupt,
    /// Says it has everything and sends nothing.
    Withholding,
    /// Answers nothing at all.
    Silent,
}

pub(super) struct NetNode {
    pub(super) world: TestWorld,
    pub(super) exchange: Exchange,
    pub(super) store: BTreeMap<Digest, Bytes>,
    pub(super) rows: BTreeMap<(Table, Bytes), Bytes>,
    pub(super) events: Vec<(Instant, ExchangeEvent)>,
    pub(super) conduct: Conduct,
    /// Bytes per second.
    pub(super) rate: u64,
    pub(super) alive: bool,
    uplink_free: Instant,
    /// Bytes of blocks received, wanted or not.
    pub(super) received: u64,
    /// Blocks written to the store.
    pub(super) puts: u64,
}

pub(super) struct Net {
    pub(super) now: Instant,
    pub(super) nodes: Vec<NetNode>,
    pub(super) latency: Duration,
    /// Who the DHT says provides what.
    pub(super) providers: BTreeMap<BlockId, Vec<usize>>,
    /// Messages lost, in a thousand.
    pub(super) loss: u64,
    /// Digests of blocks that live as long as the net, by where they are: hashing is slow in tests.
    known: BTreeMap<(usize, usize), Digest>,
    kept: Vec<Bytes>,
    queue: BTreeMap<(Instant, u64), (usize, usize, Message)>,
    next_seq: u64,
    rng: Rng,
}

impl Net {
    pub(super) fn new(count: usize) -> Self {
        let world = |n: usize| {
            let mut world = TestWorld::default();
            world.local.id = TestWorld::peer_id(n as u64);
            world
        };
        let now = world(0).now;
        let node = |n| {
            let mut world = world(n);
            let exchange = Exchange::new(&mut world.cx());
            NetNode {
                world,
                exchange,
                store: BTreeMap::new(),
                rows: BTreeMap::new(),
                events: Vec::new(),
                conduct: Conduct::Honest,
                rate: 100 << 20,
                alive: true,
                uplink_free: now,
                received: 0,
                puts: 0,
            }
        };
        Self {
            now,
            nodes: (0..count).map(node).collect(),
            latency: Duration::from_millis(25),
            providers: BTreeMap::new(),
            loss: 0,
            known: BTreeMap::new(),
            kept: Vec::new(),
            queue: BTreeMap::new(),
            next_seq: 0,
            rng: Rng::new(Seed([9; 32]), "net"),
        }
    }

    /// A net whose nodes 1.. provide a content, and are connected to node 0.
    pub(super) fn with_providers(count: usize, root: BlockId, blocks: &Blocks) -> Self {
        let mut net = Self::new(count + 1);
        for n in 1..=count {
            net.give(n, blocks);
            net.connect(0, n);
        }
        net.providers.insert(root, (1..=count).collect());
        net
    }

    /// Puts blocks into a node's store.
    pub(super) fn give(&mut self, n: usize, blocks: &Blocks) {
        for (id, data) in blocks {
            self.nodes[n].store.insert(id.digest, data.clone());
            self.known.insert((data.as_ptr() as usize, data.len()), id.digest);
            self.kept.push(data.clone());
        }
    }

    fn digest(&self, data: &Bytes) -> Digest {
        let known = self.known.get(&(data.as_ptr() as usize, data.len()));
        known.copied().unwrap_or_else(|| Digest::of(data))
    }

    pub(super) fn connect(&mut self, a: usize, b: usize) {
        for (from, to) in [(a, b), (b, a)] {
            let node = &mut self.nodes[from];
            let peer = node.world.connect(to as u64);
            node.exchange.handle_peer_up(&mut node.world.cx(), peer);
            self.settle(from);
        }
    }

    pub(super) fn kill(&mut self, dead: usize) {
        self.nodes[dead].alive = false;
        self.queue.retain(|_, (from, to, _)| *from != dead && *to != dead);
        for n in 0..self.nodes.len() {
            let node = &mut self.nodes[n];
            let Some(peer) = node.world.peers.find(&TestWorld::peer_id(dead as u64)) else { continue };
            if node.world.peers.is_connected(peer) {
                node.world.disconnect(peer);
                node.exchange.handle_peer_down(&mut node.world.cx(), peer);
                self.settle(n);
            }
        }
    }

    /// A new machine with the old one's store, connected to nobody.
    pub(super) fn restart(&mut self, n: usize) {
        self.kill(n);
        let mut world = TestWorld::default();
        world.local.id = TestWorld::peer_id(n as u64);
        world.now = self.now;
        let node = &mut self.nodes[n];
        node.exchange = Exchange::new(&mut world.cx());
        node.world = world;
        node.alive = true;
        for ((table, key), value) in &node.rows {
            let row = Row { table: *table, key: key.clone(), value: value.clone() };
            node.exchange.handle_recovered(&mut node.world.cx(), row);
        }
    }

    pub(super) fn fetch(&mut self, n: usize, op: u64, root: BlockId) {
        let node = &mut self.nodes[n];
        node.exchange.fetch(&mut node.world.cx(), OpId(op), root);
        self.settle(n);
    }

    /// Runs until a condition holds; false when nothing is left to happen, or after an hour.
    pub(super) fn run_until(&mut self, done: impl Fn(&Self) -> bool) -> bool {
        let end = self.now + Duration::from_secs(3600);
        while !done(self) {
            let wake = self.nodes.iter().enumerate().filter(|(_, node)| node.alive);
            let wake = wake.filter_map(|(n, node)| Some((node.exchange.next_deadline()?, n))).min();
            let delivery = self.queue.keys().next().map(|(at, _)| *at);
            match (delivery, wake) {
                (Some(at), _) if at <= end && wake.is_none_or(|(wake, _)| at <= wake) => self.deliver(),
                (_, Some((at, n))) if at <= end => {
                    self.advance(at);
                    let node = &mut self.nodes[n];
                    node.exchange.handle_timeout(&mut node.world.cx());
                    let next = node.exchange.next_deadline();
                    assert!(next.is_none_or(|next| next > at), "spins at {at:?}");
                    self.settle(n);
                }
                (_, _) => return false,
            }
        }
        true
    }

    pub(super) fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        self.run_until(|net| net.now >= end);
    }

    pub(super) fn fetched(&self, n: usize, op: u64) -> Option<Vec<(PeerId, u64)>> {
        self.nodes[n].events.iter().find_map(|(_, event)| match event {
            ExchangeEvent::Fetched { op: done, sources, .. } if done.0 == op => Some(sources.clone()),
            _ => None,
        })
    }

    /// Runs until the operation has ended; returns its sources when it ended well.
    pub(super) fn finish(&mut self, n: usize, op: u64) -> Option<Vec<(PeerId, u64)>> {
        let ended = |net: &Self| {
            net.nodes[n].events.iter().any(|(_, event)| match event {
                ExchangeEvent::Fetched { op: done, .. } | ExchangeEvent::Failed { op: done, .. } => done.0 == op,
                ExchangeEvent::NeedProviders { .. }
                | ExchangeEvent::Progress { .. }
                | ExchangeEvent::Complete { .. } => false,
            })
        };
        assert!(self.run_until(ended), "the operation never ended");
        self.fetched(n, op)
    }

    pub(super) fn holds(&self, n: usize, blocks: &Blocks) -> bool {
        blocks.iter().all(|(id, data)| self.nodes[n].store.get(&id.digest) == Some(data))
    }

    fn advance(&mut self, to: Instant) {
        self.now = self.now.max(to);
        for node in &mut self.nodes {
            let by = self.now.since(node.world.now);
            node.world.advance(by);
        }
    }

    fn deliver(&mut self) {
        let Some(((at, _), (from, to, msg))) = self.queue.pop_first() else { return };
        self.advance(at);
        let node = &mut self.nodes[to];
        let Some(peer) = node.world.peers.find(&TestWorld::peer_id(from as u64)) else { return };
        let Kind::Bitswap(msg) = &msg.0 else { return };
        node.received += msg.blocks.iter().map(|block| block.data.len() as u64).sum::<u64>();
        node.exchange.handle_message(&mut node.world.cx(), peer, msg);
        self.settle(to);
    }

    /// Does what a node asks, until it asks for nothing more. Its store and its hashing take no time.
    fn settle(&mut self, n: usize) {
        loop {
            let node = &mut self.nodes[n];
            while let Some(event) = node.exchange.poll_event() {
                if let ExchangeEvent::NeedProviders { root } = &event {
                    let providers = self.providers.get(root).cloned().unwrap_or_default();
                    let peers: Vec<_> =
                        providers.iter().map(|p| node.world.peers.intern(TestWorld::peer_id(*p as u64))).collect();
                    node.exchange.add_providers(&mut node.world.cx(), *root, &peers);
                }
                node.events.push((node.world.now, event));
            }
            for event in node.world.peer_events() {
                if let PeerEvent::Down { peer } = event {
                    node.exchange.handle_peer_down(&mut node.world.cx(), peer);
                }
            }
            let actions = node.world.actions();
            if actions.is_empty() {
                return;
            }
            for action in actions {
                self.act(n, action);
            }
        }
    }

    fn act(&mut self, n: usize, action: Action) {
        let digest = match &action {
            Action::Hash { data, .. } | Action::Store { request: StoreRequest::PutBlock { data, .. }, .. } => {
                Some(self.digest(data))
            }
            _ => None,
        };
        let node = &mut self.nodes[n];
        match action {
            Action::Send { peer, msg, class } => {
                if class == SendClass::Block {
                    let to = node.world.peers.find(&peer).expect("a known peer");
                    node.exchange.handle_sent(&mut node.world.cx(), to);
                }
                self.send(n, peer, msg);
            }
            Action::Hash { job, .. } => {
                node.exchange.handle_hashed(&mut node.world.cx(), job, digest.unwrap());
            }
            Action::Store { op, request } => {
                let result = match request {
                    StoreRequest::Commit(writes) => {
                        for write in writes {
                            match write.value {
                                Some(value) => node.rows.insert((write.table, write.key), value),
                                None => node.rows.remove(&(write.table, write.key)),
                            };
                        }
                        StoreResult::Done
                    }
                    StoreRequest::PutBlock { digest: name, data } => {
                        assert_eq!(digest, Some(name), "stored unverified");
                        node.puts += 1;
                        node.store.insert(name, data);
                        StoreResult::Done
                    }
                    StoreRequest::GetBlock(digest) => StoreResult::Block(node.store.get(&digest).cloned()),
                    StoreRequest::HasBlocks(list) => {
                        StoreResult::Has(list.iter().map(|digest| node.store.contains_key(digest)).collect())
                    }
                };
                node.exchange.handle_stored(&mut node.world.cx(), op, result);
            }
            Action::Dial { .. } | Action::Disconnect { .. } | Action::Emit(_) => {}
            Action::Request { .. }
            | Action::Respond { .. }
            | Action::Verify { .. }
            | Action::Sign { .. }
            | Action::Merge { .. }
            | Action::SetServerMode(_) => panic!("not of the exchange: {action:?}"),
        }
    }

    fn send(&mut self, from: usize, to: PeerId, msg: Message) {
        let to = (0..self.nodes.len()).find(|n| TestWorld::peer_id(*n as u64) == to);
        let Some(to) = to.filter(|to| self.nodes[*to].alive) else { return };
        let node = &mut self.nodes[from];
        let Kind::Bitswap(bitswap) = &msg.0 else { return };
        let has_blocks = !bitswap.blocks.is_empty();
        let msg = match node.conduct {
            Conduct::Honest => msg,
            Conduct::Silent => return,
            Conduct::Withholding if has_blocks => return,
            Conduct::Withholding => msg,
            Conduct::Corrupt => corrupted(bitswap).into(),
        };
        let mut frame = Vec::new();
        msg.encode_into(&mut frame);
        let start = node.uplink_free.max(self.now);
        let micros = frame.len() as u64 * 1_000_000 / node.rate;
        node.uplink_free = start + Duration::from_micros(micros);
        if self.rng.chance(self.loss, 1000) {
            return;
        }
        self.next_seq += 1;
        self.queue.insert((node.uplink_free + self.latency, self.next_seq), (from, to, msg));
    }
}

fn corrupted(msg: &BitswapMessage) -> BitswapMessage {
    let corrupt = |block: &Block| {
        let mut data = block.data.to_vec();
        data.push(0);
        Block { prefix: block.prefix.clone(), data: data.into() }
    };
    BitswapMessage { blocks: msg.blocks.iter().map(corrupt).collect(), ..msg.clone() }
}
