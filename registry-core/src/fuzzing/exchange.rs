//! The block exchange among peers that say anything, over a store that may fail.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec;
use alloc::vec::Vec;

use bytes::Bytes;

use super::{Choices, TestWorld};
use crate::action::{Action, StoreRequest};
use crate::exchange::unixfs::{Block, DirectoryBuilder, FileBuilder, Tree, file_node};
use crate::exchange::{Exchange, ExchangeEvent};
use crate::id::{BlockId, Codec, Digest, JobId, OpId, PeerIx, StoreId};
use crate::input::{StoreError, StoreResult};
use crate::peers::PeerEvent;
use crate::time::Duration;
use crate::wire::bitswap::{self, BitswapMessage, Cid, Presence, Want, WantKind};

const PEERS: u64 = 3;
/// More than any sequence of so many bytes can leave to be done.
const MAX_STEPS: usize = 2000;

struct Machine {
    world: TestWorld,
    exchange: Exchange,
    up: BTreeSet<u64>,
    store: BTreeMap<Digest, Bytes>,
    requests: VecDeque<(StoreId, StoreRequest)>,
    jobs: Vec<(JobId, Bytes)>,
    running: BTreeSet<OpId>,
    next_op: u64,
    blocks: Vec<Block>,
    /// Two that share blocks, and one whose node lies about its child.
    roots: [BlockId; 3],
}

/// Any interleaving of answers, faults and lies: nothing unverified is stored, an operation ends exactly once, `Fetched`
/// means that every block is in the store, and in the end every operation has ended.
pub fn exchange(data: &[u8]) {
    let mut choices = Choices::new(data);
    let mut machine = Machine::new();
    while !choices.is_empty() {
        machine.step(&mut choices);
        machine.settle();
    }
    machine.end();
}

impl Machine {
    fn new() -> Self {
        let mut world = TestWorld::default();
        let exchange = Exchange::new(&mut world.cx());
        let (blocks, roots) = contents();
        let mut machine = Self {
            world,
            exchange,
            up: BTreeSet::new(),
            store: BTreeMap::new(),
            requests: VecDeque::new(),
            jobs: Vec::new(),
            running: BTreeSet::new(),
            next_op: 0,
            blocks,
            roots,
        };
        (0..PEERS).for_each(|n| machine.toggle(n));
        machine
    }

    fn step(&mut self, choices: &mut Choices<'_>) {
        match choices.below(12) {
            0 => {
                let root = self.root(choices);
                self.next_op += 1;
                let op = OpId(self.next_op);
                self.running.insert(op);
                self.exchange.fetch(&mut self.world.cx(), op, root);
            }
            1 => {
                let op = OpId(choices.below(self.next_op + 2));
                self.exchange.cancel(&mut self.world.cx(), op);
            }
            2 => self.toggle(choices.below(PEERS)),
            3 | 4 => {
                let peer = self.peer(choices.below(PEERS));
                let msg = self.message(choices);
                self.exchange.handle_message(&mut self.world.cx(), peer, &msg);
            }
            5 | 6 => self.answer_hash(choices.byte()),
            7 | 8 => self.answer_store(choices.byte()),
            9 => {
                self.world.advance(Duration::from_millis(choices.below(256) * 40));
                self.wake();
            }
            10 => {
                let root = self.root(choices);
                let peers: Vec<_> = (0..choices.below(PEERS + 1)).map(|n| self.peer(n)).collect();
                self.exchange.add_providers(&mut self.world.cx(), root, &peers);
            }
            _ => self.oddity(choices),
        }
    }

    fn oddity(&mut self, choices: &mut Choices<'_>) {
        let peer = self.peer(choices.below(PEERS));
        let root = self.root(choices);
        let cx = &mut self.world.cx();
        match choices.below(5) {
            0 => self.exchange.handle_send_dropped(cx, peer),
            4 => self.exchange.handle_sent(cx, peer),
            1 => self.exchange.handle_hashed(cx, JobId(choices.u64()), Digest([1; 32])),
            2 => self.exchange.handle_stored(cx, StoreId(choices.u64()), StoreResult::Done),
            _ => self.exchange.add_local(cx, root),
        }
    }

    fn root(&self, choices: &mut Choices<'_>) -> BlockId {
        self.roots[choices.below(3) as usize]
    }

    fn peer(&mut self, n: u64) -> PeerIx {
        self.world.peers.intern(TestWorld::peer_id(n))
    }

    fn toggle(&mut self, n: u64) {
        if self.up.remove(&n) {
            let peer = self.peer(n);
            self.world.disconnect(peer);
            self.exchange.handle_peer_down(&mut self.world.cx(), peer);
        } else {
            let peer = self.world.connect(n);
            if self.world.peers.is_connected(peer) {
                self.up.insert(n);
                self.exchange.handle_peer_up(&mut self.world.cx(), peer);
            }
        }
    }

    fn message(&self, choices: &mut Choices<'_>) -> BitswapMessage {
        let mut msg = BitswapMessage { full: choices.below(8) == 0, ..BitswapMessage::default() };
        for _ in 0..=choices.below(3) {
            let block = &self.blocks[choices.below(self.blocks.len() as u64) as usize];
            match choices.below(6) {
                0 | 1 => msg.blocks.push(wire_block(block.id.codec, block.data.clone())),
                2 => {
                    let mut wrong = block.data.to_vec();
                    wrong.push(choices.byte());
                    msg.blocks.push(wire_block(block.id.codec, wrong.into()));
                }
                3 => {
                    let presence = if choices.below(2) == 0 { Presence::Have } else { Presence::DontHave };
                    msg.presences.push((Cid::Known(block.id), presence));
                }
                4 => msg.wants.push(Want {
                    cid: Cid::Foreign(Bytes::from_static(b"Qm")),
                    priority: 1,
                    kind: WantKind::Have,
                    send_dont_have: true,
                }),
                _ => msg.wants.push(Want {
                    cid: Cid::Known(block.id),
                    priority: i32::from(choices.byte()),
                    kind: [WantKind::Have, WantKind::Block, WantKind::Cancel][choices.below(3) as usize],
                    send_dont_have: choices.below(2) == 0,
                }),
            }
        }
        msg
    }

    fn answer_hash(&mut self, which: u8) {
        if self.jobs.is_empty() {
            return;
        }
        let (job, data) = self.jobs.swap_remove(usize::from(which) % self.jobs.len());
        self.exchange.handle_hashed(&mut self.world.cx(), job, Digest::of(&data));
    }

    /// In the order of the requests; one in sixteen fails.
    fn answer_store(&mut self, how: u8) {
        let Some((op, request)) = self.requests.pop_front() else { return };
        let result = match request {
            _ if how.is_multiple_of(16) && how > 0 => StoreResult::Failed(StoreError::Io),
            StoreRequest::Commit(_) => StoreResult::Done,
            StoreRequest::PutBlock { digest, data } => {
                self.store.insert(digest, data);
                StoreResult::Done
            }
            StoreRequest::GetBlock(digest) => StoreResult::Block(self.store.get(&digest).cloned()),
            StoreRequest::HasBlocks(list) => {
                StoreResult::Has(list.iter().map(|digest| self.store.contains_key(digest)).collect())
            }
        };
        self.exchange.handle_stored(&mut self.world.cx(), op, result);
    }

    fn wake(&mut self) {
        self.exchange.handle_timeout(&mut self.world.cx());
        let now = self.world.now;
        assert!(self.exchange.next_deadline().is_none_or(|next| next > now), "spins");
    }

    /// Takes what the machine has to say, and checks it.
    fn settle(&mut self) {
        for event in self.world.peer_events() {
            if let PeerEvent::Down { peer } = event {
                self.up.retain(|n| self.world.peers.find(&TestWorld::peer_id(*n)) != Some(peer));
                self.exchange.handle_peer_down(&mut self.world.cx(), peer);
            }
        }
        for action in self.world.actions() {
            match action {
                Action::Store { op, request } => {
                    if let StoreRequest::PutBlock { digest, data } = &request {
                        assert_eq!(Digest::of(data), *digest, "stored unverified");
                    }
                    self.requests.push_back((op, request));
                }
                Action::Hash { job, data } => self.jobs.push((job, data)),
                Action::Send { .. } | Action::Dial { .. } | Action::Disconnect { .. } | Action::Emit(_) => {}
                Action::Request { .. }
                | Action::Respond { .. }
                | Action::Verify { .. }
                | Action::Sign { .. }
                | Action::Merge { .. }
                | Action::SetServerMode(_) => panic!("not of the exchange: {action:?}"),
            }
        }
        while let Some(event) = self.exchange.poll_event() {
            match event {
                ExchangeEvent::Fetched { op, root, .. } => {
                    assert!(self.running.remove(&op), "ended twice");
                    assert!(self.is_complete(root), "something is missing");
                }
                ExchangeEvent::Failed { op, .. } => assert!(self.running.remove(&op), "ended twice"),
                ExchangeEvent::Progress { bytes, total, .. } => assert!(bytes <= total),
                ExchangeEvent::NeedProviders { .. } | ExchangeEvent::Complete { .. } => {}
            }
        }
    }

    fn is_complete(&self, root: BlockId) -> bool {
        let has = |id: &BlockId| self.store.contains_key(&id.digest);
        match self.roots.iter().position(|known| *known == root) {
            // The second root is the directory; all blocks but the lying node are below it.
            Some(0) => has(&root) && self.blocks[..3].iter().all(|block| has(&block.id)),
            Some(1) => self.blocks[..self.blocks.len() - 1].iter().all(|block| has(&block.id)),
            // The lie shows only when the leaf comes from a peer: what is in the store is not read.
            Some(_) => has(&root) && has(&self.blocks[0].id),
            None => false,
        }
    }

    /// No new lies: answers what is open and lets time pass until nothing is left to happen.
    fn end(&mut self) {
        for _ in 0..MAX_STEPS {
            self.settle();
            if !self.jobs.is_empty() {
                self.answer_hash(0);
            } else if !self.requests.is_empty() {
                self.answer_store(0);
            } else if let Some(at) = self.exchange.next_deadline() {
                let wait = at.since(self.world.now);
                self.world.advance(wait);
                self.wake();
            } else {
                break;
            }
        }
        assert!(self.running.is_empty(), "an operation never ends: {:?}", self.running);
        assert_eq!(self.exchange.next_deadline(), None, "something never comes to rest");
    }
}

fn wire_block(codec: Codec, data: Bytes) -> bitswap::Block {
    bitswap::Block { prefix: vec![1, codec.code() as u8, 0x12, 32].into(), data }
}

/// Three leaves, a file of them, a directory of the file and one leaf, and a node that lies about a leaf's size.
fn contents() -> (Vec<Block>, [BlockId; 3]) {
    let leaf = |text: &'static [u8]| {
        let mut file = FileBuilder::new();
        file.push(Bytes::from_static(text));
        let built = file.finish();
        (built.tree, built.blocks)
    };
    let (a, mut blocks) = leaf(b"one leaf");
    for (_, more) in [leaf(b"another leaf"), leaf(b"the last")] {
        blocks.extend(more);
    }
    let trees: Vec<_> = blocks
        .iter()
        .map(|block| Tree { id: block.id, size: block.data.len() as u64, dag_size: block.data.len() as u64 })
        .collect();
    let (file, file_block) = file_node(&trees);
    let mut directory = DirectoryBuilder::new();
    for (name, tree) in [("file", file), ("leaf", a)] {
        directory.add(name, tree).expect("an acceptable name");
    }
    let built = directory.finish().expect("a short node");
    let (lie, lie_block) = file_node(&[Tree { size: 1, ..a }, a]);
    blocks.push(file_block);
    blocks.extend(built.blocks);
    blocks.push(lie_block);
    (blocks, [file.id, built.tree.id, lie.id])
}
