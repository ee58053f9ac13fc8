//! One exchange, packet by packet.

use alloc::collections::VecDeque;
use alloc::vec;
use alloc::vec::Vec;

use bytes::Bytes;

use super::{file, folder};
use crate::action::{Action, SendClass, StoreRequest, Table};
use crate::event::{Event, OpError};
use crate::exchange::unixfs::CHUNK;
use crate::exchange::{Exchange, ExchangeEvent, prefix_of};
use crate::fuzzing::TestWorld;
use crate::id::{BlockId, Codec, Digest, JobId, OpId, PeerIx, StoreId};
use crate::input::{Row, StoreError, StoreResult};
use crate::time::{Duration, Instant};
use crate::wire::Kind;
use crate::wire::bitswap::{BitswapMessage, Block, Cid, Presence, Want, WantKind};

pub(super) struct Script {
    pub(super) world: TestWorld,
    pub(super) exchange: Exchange,
    peers: Vec<PeerIx>,
    jobs: VecDeque<(JobId, Bytes)>,
    requests: VecDeque<(StoreId, StoreRequest)>,
    events: Vec<ExchangeEvent>,
}

impl Script {
    /// With so many connected peers.
    pub(super) fn new(peers: usize) -> Self {
        let mut world = TestWorld::default();
        let exchange = Exchange::new(&mut world.cx());
        let (jobs, requests) = (VecDeque::new(), VecDeque::new());
        let mut script = Self { world, exchange, peers: Vec::new(), jobs, requests, events: Vec::new() };
        (0..peers).for_each(|n| script.up(n));
        script
    }

    fn up(&mut self, n: usize) {
        let peer = self.world.connect(n as u64);
        self.peers.push(peer);
        self.exchange.handle_peer_up(&mut self.world.cx(), peer);
    }

    pub(super) fn down(&mut self, n: usize) {
        let peer = self.peers[n];
        self.world.disconnect(peer);
        self.exchange.handle_peer_down(&mut self.world.cx(), peer);
    }

    /// Takes the machine's actions, keeping what is to be answered.
    fn take(&mut self) -> Vec<Action> {
        self.events.extend(core::iter::from_fn(|| self.exchange.poll_event()));
        let actions = self.world.actions();
        for action in &actions {
            match action {
                Action::Hash { job, data } => self.jobs.push_back((*job, data.clone())),
                Action::Store { op, request } => self.requests.push_back((*op, request.clone())),
                _ => {}
            }
        }
        actions
    }

    pub(super) fn fetch(&mut self, op: u64, root: BlockId) -> Vec<Action> {
        self.exchange.fetch(&mut self.world.cx(), OpId(op), root);
        self.take()
    }

    pub(super) fn pending_store(&self) -> bool {
        !self.requests.is_empty()
    }

    pub(super) fn store(&mut self, result: StoreResult) -> Vec<Action> {
        let (op, _) = self.requests.pop_front().expect("a store request");
        self.exchange.handle_stored(&mut self.world.cx(), op, result);
        self.take()
    }

    /// Answers a `HasBlocks` the same for all blocks.
    pub(super) fn has(&mut self, there: bool) -> Vec<Action> {
        let Some((_, StoreRequest::HasBlocks(list))) = self.requests.front() else { panic!("{:?}", self.requests) };
        let answer = vec![there; list.len()];
        self.store(StoreResult::Has(answer))
    }

    /// Answers all requests up to a `HasBlocks`, and that with no.
    fn lacks(&mut self) -> Vec<Action> {
        while !matches!(self.requests.front(), Some((_, StoreRequest::HasBlocks(_)))) {
            self.store(StoreResult::Done);
        }
        self.has(false)
    }

    pub(super) fn hash(&mut self) -> Vec<Action> {
        let (job, data) = self.jobs.pop_front().expect("a hash job");
        self.exchange.handle_hashed(&mut self.world.cx(), job, Digest::of(&data));
        self.take()
    }

    /// Names providers; returns what they are asked.
    pub(super) fn provide(&mut self, root: BlockId, peers: &[usize]) -> Vec<(usize, WantKind, BlockId)> {
        let peers: Vec<_> = peers.iter().map(|n| self.peers[*n]).collect();
        self.exchange.add_providers(&mut self.world.cx(), root, &peers);
        let actions = self.take();
        self.wants(&actions)
    }

    pub(super) fn message(&mut self, from: usize, msg: &BitswapMessage) -> Vec<Action> {
        self.exchange.handle_message(&mut self.world.cx(), self.peers[from], msg);
        self.take()
    }

    pub(super) fn receive(&mut self, from: usize, block: Block) -> Vec<Action> {
        self.message(from, &BitswapMessage { blocks: vec![block], ..BitswapMessage::default() })
    }

    /// The shell has sent a block.
    pub(super) fn leave(&mut self, to: usize) {
        self.exchange.handle_sent(&mut self.world.cx(), self.peers[to]);
        self.take();
    }

    fn want(&mut self, from: usize, id: BlockId, kind: WantKind) -> Vec<Action> {
        let want = Want { cid: Cid::Known(id), priority: 1, kind, send_dont_have: true };
        self.message(from, &BitswapMessage { wants: vec![want], ..BitswapMessage::default() })
    }

    /// Lets time pass until the machine wants to be called.
    pub(super) fn wake(&mut self) -> Vec<Action> {
        let at = self.exchange.next_deadline().expect("a deadline");
        let wait = at.since(self.world.now);
        self.world.advance(wait);
        self.exchange.handle_timeout(&mut self.world.cx());
        assert!(self.exchange.next_deadline().is_none_or(|next| next > at));
        self.take()
    }

    /// Lets time pass up to a moment.
    fn wake_until(&mut self, end: Instant) {
        while self.exchange.next_deadline().is_some_and(|at| at < end) {
            self.wake();
        }
        self.world.advance(end.since(self.world.now));
    }

    fn sent(&self, actions: &[Action]) -> Vec<(usize, BitswapMessage)> {
        let sent = |action: &Action| match action {
            Action::Send { peer, msg, .. } => match &msg.0 {
                Kind::Bitswap(msg) => {
                    let n = (0..self.peers.len()).find(|n| TestWorld::peer_id(*n as u64) == *peer)?;
                    Some((n, BitswapMessage::clone(msg)))
                }
                _ => None,
            },
            _ => None,
        };
        actions.iter().filter_map(sent).collect()
    }

    pub(super) fn wants(&self, actions: &[Action]) -> Vec<(usize, WantKind, BlockId)> {
        let mut wants = Vec::new();
        for (peer, msg) in self.sent(actions) {
            for want in msg.wants {
                if let Cid::Known(id) = want.cid {
                    wants.push((peer, want.kind, id));
                }
            }
        }
        wants
    }

    pub(super) fn presences(&self, actions: &[Action]) -> Vec<(usize, Presence)> {
        let sent = self.sent(actions).into_iter();
        sent.flat_map(|(peer, msg)| msg.presences.into_iter().map(move |(_, presence)| (peer, presence))).collect()
    }

    fn blocks(&self, actions: &[Action]) -> Vec<(usize, Bytes)> {
        let sent = self.sent(actions).into_iter();
        sent.flat_map(|(peer, msg)| msg.blocks.into_iter().map(move |block| (peer, block.data))).collect()
    }

    pub(super) fn failed(&self) -> Vec<(OpId, OpError)> {
        let failed = |event: &ExchangeEvent| match event {
            ExchangeEvent::Failed { op, error } => Some((*op, error.clone())),
            _ => None,
        };
        self.events.iter().filter_map(failed).collect()
    }

    /// Starts fetching something of one leaf that the peers provide; returns whom it was asked of.
    fn start(&mut self, providers: &[usize]) -> (BlockId, Block, usize) {
        let (tree, blocks) = file(100, 1);
        self.fetch(1, tree.id);
        self.has(false);
        let wants = self.provide(tree.id, providers);
        let block = Block { prefix: prefix_of(tree.id.codec), data: blocks[&tree.id].clone() };
        (tree.id, block, wants[0].0)
    }

    /// Starts fetching two leaves of the only peer.
    pub(super) fn start_two(&mut self) -> [(BlockId, Block); 2] {
        let leaves = [raw(b"first"), raw(b"second")];
        for (op, (root, _)) in (1..).zip(&leaves) {
            self.fetch(op, *root);
            self.has(false);
            self.provide(*root, &[0]);
            self.store(StoreResult::Done);
        }
        leaves
    }
}

fn raw(data: &'static [u8]) -> (BlockId, Block) {
    let id = BlockId { digest: Digest::of(data), codec: Codec::Raw };
    (id, Block { prefix: prefix_of(Codec::Raw), data: Bytes::from_static(data) })
}

#[test]
fn a_block_is_hashed_then_stored_then_counted() {
    let mut script = Script::new(1);
    let (root, block, from) = script.start(&[0]);
    assert!(matches!(script.requests.pop_front(), Some((_, StoreRequest::Commit(_)))), "the fetch is noted");
    script.receive(from, block.clone());
    script.hash();
    let put = StoreRequest::PutBlock { digest: root.digest, data: block.data };
    assert_eq!(script.requests.front().map(|(_, request)| request), Some(&put));
    let progress = |script: &Script| script.events.iter().any(|e| matches!(e, ExchangeEvent::Progress { .. }));
    assert!(!progress(&script));
    script.store(StoreResult::Done);
    assert!(progress(&script));
    assert_eq!(script.exchange.contents().count(), 0, "not before the row is durable");
    script.store(StoreResult::Done);
    assert!(script.exchange.contents().eq([root]));
    let source = vec![(TestWorld::peer_id(0), 100)];
    assert_eq!(script.events.last(), Some(&ExchangeEvent::Fetched { op: OpId(1), root, sources: source }));
    assert_eq!(script.exchange.next_deadline(), None);
}

#[test]
fn whoever_does_not_have_it_is_replaced_at_once() {
    let mut script = Script::new(2);
    let (root, _, from) = script.start(&[0, 1]);
    let presences = vec![(Cid::Known(root), Presence::DontHave)];
    let actions = script.message(from, &BitswapMessage { presences, ..BitswapMessage::default() });
    assert_eq!(script.wants(&actions), [(1 - from, WantKind::Block, root)]);
}

#[test]
fn whoever_disconnects_is_replaced_at_once() {
    let mut script = Script::new(2);
    let (root, _, from) = script.start(&[0, 1]);
    script.down(from);
    let actions = script.take();
    assert_eq!(script.wants(&actions), [(1 - from, WantKind::Block, root)]);
}

#[test]
fn whoever_is_back_before_its_last_block_was_judged_is_waited_for() {
    let mut script = Script::new(1);
    let [(_, first), (second, block)] = script.start_two();
    script.receive(0, first);
    script.down(0);
    let peer = script.peers[0];
    assert_eq!(script.world.connect(0), peer);
    script.exchange.handle_peer_up(&mut script.world.cx(), peer);
    let actions = script.take();
    assert!(script.wants(&actions).contains(&(0, WantKind::Block, second)));
    script.hash();
    script.receive(0, block);
    assert_eq!(script.jobs.len(), 1, "the second is judged");
}

#[test]
fn a_block_asked_for_over_the_connection_before_is_no_lie() {
    let mut script = Script::new(1);
    let [(_, block), _] = script.start_two();
    script.down(0);
    script.exchange.cancel(&mut script.world.cx(), OpId(1));
    assert_eq!(script.world.connect(0), script.peers[0]);
    script.exchange.handle_peer_up(&mut script.world.cx(), script.peers[0]);
    script.take();
    script.receive(0, block);
    assert!(!script.jobs.is_empty(), "it may be what was asked for on this connection");
    let offences = script.hash().into_iter().filter(|action| matches!(action, Action::Emit(_))).count();
    assert_eq!(offences, 0);
}

#[test]
fn a_block_that_comes_after_its_refusal_is_no_lie() {
    let mut script = Script::new(2);
    let (whole, blocks) = file(2 * CHUNK, 1);
    let block = |id: &BlockId| Block { prefix: prefix_of(id.codec), data: blocks[id].clone() };
    script.fetch(1, whole.id);
    script.lacks();
    script.provide(whole.id, &[0]);
    script.receive(0, block(&whole.id));
    script.hash();
    let actions = script.lacks();
    let wants = script.wants(&actions);
    let [(0, WantKind::Block, refused), (0, WantKind::Block, _)] = wants[..] else { panic!("{wants:?}") };
    let presences = vec![(Cid::Known(refused), Presence::DontHave)];
    script.message(0, &BitswapMessage { presences, ..BitswapMessage::default() });
    assert!(script.provide(whole.id, &[1]).contains(&(1, WantKind::Block, refused)));
    for from in [1, 0] {
        script.receive(from, block(&refused));
        let actions = script.hash();
        assert!(!actions.iter().any(|action| matches!(action, Action::Disconnect { .. })), "{actions:?}");
        while script.pending_store() {
            script.store(StoreResult::Done);
        }
    }
}

#[test]
fn a_block_asked_for_before_many_others_is_no_lie() {
    let mut script = Script::new(1);
    let leaf = |n: u32| {
        let data = Bytes::copy_from_slice(&n.to_be_bytes());
        let id = BlockId { digest: Digest::of(&data), codec: Codec::Raw };
        (id, Block { prefix: prefix_of(Codec::Raw), data })
    };
    let roots = 100;
    for n in 0..roots {
        script.fetch(u64::from(n) + 1, leaf(n).0);
        let actions = script.has(false);
        assert_eq!(script.wants(&actions), [(0, WantKind::Have, leaf(n).0)], "some answer with a short block itself");
        script.store(StoreResult::Done);
    }
    for n in 0..roots {
        script.exchange.cancel(&mut script.world.cx(), OpId(u64::from(n) + 1));
    }
    script.take();
    for n in 0..roots {
        script.receive(0, leaf(n).1);
        let actions = script.hash();
        assert!(actions.is_empty(), "{n}: {actions:?}");
    }
}

#[test]
fn a_search_after_the_last_provider_is_lost_is_not_due_in_the_same_call() {
    let mut script = Script::new(1);
    let (_, _, from) = script.start(&[0]);
    let planned = script.exchange.next_deadline().expect("a search or an answer is due");
    script.world.advance(Duration::from_secs(1));
    let now = script.world.now;
    assert!(planned > now);
    // As when the node trims the connection in the very call that makes time pass.
    script.down(from);
    assert!(script.exchange.next_deadline().is_some_and(|at| at > now && at < planned));
}

#[test]
fn who_asks_for_what_others_wait_for_in_vain_has_its_own_patience() {
    let mut script = Script::new(1);
    let (root, _) = raw(b"a");
    script.fetch(1, root);
    script.has(false);
    let joined = script.world.now + Duration::from_secs(50);
    script.wake_until(joined);
    script.events.clear();
    script.fetch(2, root);
    script.wake();
    let searches = |event: &ExchangeEvent| matches!(event, ExchangeEvent::NeedProviders { .. });
    assert!(script.events.iter().any(searches) && script.world.now < joined + Duration::from_secs(1));
    let mut ended = Vec::new();
    while ended.len() < 2 {
        script.wake();
        let failed = script.failed();
        ended.extend(failed.iter().skip(ended.len()).map(|(op, _)| (op.0, script.world.now.since(joined).as_secs())));
    }
    assert_eq!(ended, [(1, 10), (2, 60)]);
}

#[test]
fn who_comes_from_the_waiting_room_has_its_own_patience_too() {
    let mut script = Script::new(1);
    script.world.config.exchange.max_fetches = 2;
    let [(first, _), (second, _), (wanted, _)] = [&b"a"[..], b"b", b"c"].map(raw);
    for (op, root) in [(1, first), (2, second)] {
        script.fetch(op, root);
        script.lacks();
    }
    script.fetch(3, wanted);
    script.fetch(4, wanted);
    script.exchange.cancel(&mut script.world.cx(), OpId(1));
    script.take();
    script.lacks();
    let joined = script.world.now + Duration::from_secs(50);
    script.wake_until(joined);
    script.exchange.cancel(&mut script.world.cx(), OpId(2));
    script.take();
    let before = script.failed().len();
    let mut ended = Vec::new();
    while ended.len() < 2 {
        script.wake();
        let failed = script.failed().into_iter().skip(before + ended.len());
        ended.extend(failed.map(|(op, _)| (op.0, script.world.now.since(joined).as_secs())).collect::<Vec<_>>());
    }
    assert_eq!(ended, [(3, 10), (4, 60)]);
}

#[test]
fn peers_asked_by_chance_leave_room_for_providers() {
    for answers in [false, true] {
        let mut script = Script::new(0);
        let (root, _) = raw(b"wanted");
        script.fetch(1, root);
        script.has(false);
        let mut asked = Vec::new();
        for n in 0..100 {
            script.up(n);
            let actions = script.take();
            let wants = script.wants(&actions);
            asked.extend(wants.iter().map(|(peer, ..)| *peer));
            for (peer, ..) in wants.into_iter().filter(|_| answers) {
                let lacks = vec![(Cid::Known(root), Presence::DontHave)];
                script.message(peer, &BitswapMessage { presences: lacks, ..BitswapMessage::default() });
            }
        }
        assert_eq!(asked.len(), if answers { 100 } else { 32 }, "who lacks it makes room, who is silent does not");
        let named = script.world.know(100);
        script.exchange.add_providers(&mut script.world.cx(), root, &[named]);
        assert!(script.take().iter().any(|action| matches!(action, Action::Dial { .. })));
    }
}

#[test]
fn whoever_is_late_is_backed_up_and_then_cancelled() {
    let mut script = Script::new(2);
    let (root, block, from) = script.start(&[0, 1]);
    let started = script.world.now;
    let mut wants = Vec::new();
    while wants.is_empty() {
        let actions = script.wake();
        wants = script.wants(&actions);
    }
    assert_eq!(wants, [(1 - from, WantKind::Block, root)]);
    assert!(script.world.now.since(started) <= script.world.config.exchange.block_timeout);
    script.receive(1 - from, block.clone());
    let actions = script.hash();
    assert_eq!(script.wants(&actions), [(from, WantKind::Cancel, root)]);
    // The late block is no offence.
    script.receive(from, block);
    let actions = script.hash();
    assert!(actions.is_empty(), "{actions:?}");
}

#[test]
fn the_end_of_an_operation_withdraws_its_wants() {
    let mut script = Script::new(1);
    let (root, _, from) = script.start(&[0]);
    script.exchange.cancel(&mut script.world.cx(), OpId(1));
    let actions = script.take();
    assert_eq!(script.wants(&actions), [(from, WantKind::Cancel, root)]);
    assert_eq!(script.failed(), [(OpId(1), OpError::Cancelled)]);
    assert_eq!(script.exchange.next_deadline(), None);
}

#[test]
fn a_block_that_an_ended_fetch_has_stored_is_not_asked_for_any_more() {
    let mut script = Script::new(1);
    let (whole, blocks) = file(2 * CHUNK, 1);
    let block = |id: &BlockId| Block { prefix: prefix_of(id.codec), data: blocks[id].clone() };
    let part = *blocks.keys().find(|id| id.codec == Codec::Raw).unwrap();
    script.fetch(1, whole.id);
    script.lacks();
    script.provide(whole.id, &[0]);
    script.receive(0, block(&whole.id));
    script.hash();
    script.fetch(2, part);
    script.store(StoreResult::Done);
    script.store(StoreResult::Done);
    script.has(false);
    script.provide(part, &[0]);
    script.receive(0, block(&part));
    script.hash();
    script.exchange.cancel(&mut script.world.cx(), OpId(2));
    let actions = script.has(false);
    assert!(script.wants(&actions).contains(&(0, WantKind::Block, part)), "the first fetch wants it, too");
    script.store(StoreResult::Done);
    let actions = script.store(StoreResult::Done);
    assert_eq!(script.wants(&actions), [(0, WantKind::Cancel, part)]);
    let rest = blocks.keys().find(|id| id.codec == Codec::Raw && **id != part).unwrap();
    script.receive(0, block(rest));
    script.hash();
    while script.pending_store() {
        script.store(StoreResult::Done);
    }
    assert!(matches!(script.events.last(), Some(ExchangeEvent::Fetched { op: OpId(1), .. })), "{:?}", script.events);
    assert!(!script.exchange.in_use(script.peers[0]));
    assert_eq!(script.exchange.next_deadline(), None);
}

#[test]
fn a_full_disk_ends_the_fetch() {
    let mut script = Script::new(1);
    let (_, block, from) = script.start(&[0]);
    script.store(StoreResult::Done);
    script.receive(from, block);
    script.hash();
    script.store(StoreResult::Failed(StoreError::Full));
    assert_eq!(script.failed(), [(OpId(1), OpError::Storage)]);
}

#[test]
fn local_content_is_complete_once_its_row_is_durable() {
    let mut script = Script::new(0);
    let (root, _) = raw(b"local");
    script.exchange.add_local(&mut script.world.cx(), root);
    script.take();
    let Some((_, StoreRequest::Commit(writes))) = script.requests.front().cloned() else { panic!("a commit") };
    assert_eq!(script.exchange.contents().count(), 0);
    script.store(StoreResult::Done);
    assert!(script.exchange.contents().eq([root]));
    assert_eq!(script.events, [ExchangeEvent::Complete { root, own: true }]);

    let mut again = Script::new(0);
    for write in writes.into_iter().filter(|write| write.table == Table::Content) {
        let row = Row { table: write.table, key: write.key, value: write.value.expect("a value") };
        again.exchange.handle_recovered(&mut again.world.cx(), row);
    }
    assert!(again.exchange.contents().eq([root]));

    let (other, _) = raw(b"other");
    script.exchange.add_local(&mut script.world.cx(), other);
    script.take();
    let actions = script.store(StoreResult::Failed(StoreError::Io));
    assert!(matches!(actions[..], [Action::Emit(Event::StoreFailed(_))]));
    assert!(script.exchange.contents().eq([root]));
}

#[test]
fn what_is_in_the_store_is_not_fetched_again() {
    let mut script = Script::new(1);
    let (tree, blocks) = folder(3, 50, 1);
    script.fetch(1, tree.id);
    script.has(true);
    script.store(StoreResult::Block(Some(blocks[&tree.id].clone())));
    script.has(true);
    script.store(StoreResult::Done);
    assert!(matches!(script.events.last(), Some(ExchangeEvent::Fetched { sources, .. }) if sources.is_empty()));
    assert!(!script.events.iter().any(|event| matches!(event, ExchangeEvent::NeedProviders { .. })));
}

#[test]
fn memory_in_flight_is_bounded_whatever_the_providers_could_take() {
    let mut script = Script::new(8);
    let (tree, blocks) = file(40 * CHUNK, 1);
    script.fetch(1, tree.id);
    script.has(false);
    script.store(StoreResult::Done);
    let wants = script.provide(tree.id, &[0, 1, 2, 3, 4, 5, 6, 7]);
    script.receive(wants[0].0, Block { prefix: prefix_of(Codec::DagPb), data: blocks[&tree.id].clone() });
    script.hash();
    script.store(StoreResult::Done);
    let actions = script.has(false);
    let asked = script.wants(&actions);
    assert_eq!(asked.len(), 32, "32 MiB of 1 MiB blocks");
    let per_peer = |n| asked.iter().filter(|(peer, _, _)| *peer == n).count();
    assert!((0..8).all(|n| per_peer(n) == 4));
}

#[test]
fn presences_and_blocks_are_answered_from_the_store() {
    let mut script = Script::new(1);
    let (id, block) = raw(b"served");
    script.want(0, id, WantKind::Have);
    let actions = script.has(true);
    assert_eq!(script.presences(&actions), [(0, Presence::Have)]);
    script.want(0, id, WantKind::Have);
    let actions = script.has(false);
    assert_eq!(script.presences(&actions), [(0, Presence::DontHave)]);
    script.want(0, id, WantKind::Block);
    let actions = script.store(StoreResult::Block(None));
    assert_eq!(script.presences(&actions), [(0, Presence::DontHave)]);
    script.want(0, id, WantKind::Block);
    assert!(script.exchange.in_use(script.peers[0]));
    let actions = script.store(StoreResult::Block(Some(block.data.clone())));
    assert_eq!(script.blocks(&actions), [(0, block.data)]);
    assert!(matches!(actions[..], [Action::Send { class: SendClass::Block, .. }]));
    assert!(!script.exchange.in_use(script.peers[0]));
}

#[test]
fn foreign_names_are_answered_only_when_asked_to() {
    let mut script = Script::new(1);
    for (send_dont_have, answers) in [(true, 1), (false, 0)] {
        let cid = Cid::Foreign(Bytes::from_static(b"Qm"));
        let want = Want { cid, priority: 1, kind: WantKind::Block, send_dont_have };
        let actions = script.message(0, &BitswapMessage { wants: vec![want], ..BitswapMessage::default() });
        assert_eq!(script.presences(&actions).len(), answers);
        assert!(!script.pending_store());
    }
}

#[test]
fn cancel_stops_a_block_and_priorities_reorder() {
    let mut script = Script::new(1);
    let ids: Vec<_> = [b"a", b"b", b"c", b"d"].iter().map(|data| raw(&data[..]).0).collect();
    let want =
        |n: usize, priority| Want { cid: Cid::Known(ids[n]), priority, kind: WantKind::Block, send_dont_have: true };
    let wants = vec![want(0, 1), want(1, 2), want(2, 3), want(3, 4)];
    script.message(0, &BitswapMessage { wants, ..BitswapMessage::default() });
    script.want(0, ids[3], WantKind::Cancel);
    script.want(0, ids[1], WantKind::Cancel);
    let read = |script: &Script| match script.requests.front() {
        Some((_, StoreRequest::GetBlock(digest))) => *digest,
        other => panic!("{other:?}"),
    };
    assert_eq!(read(&script), ids[3].digest, "the most urgent was read first");
    let actions = script.store(StoreResult::Block(Some(Bytes::from_static(b"d"))));
    assert!(script.blocks(&actions).is_empty(), "but is not sent");
    for n in [2, 0] {
        assert_eq!(read(&script), ids[n].digest);
        let actions = script.store(StoreResult::Block(Some(Bytes::from_static(b"x"))));
        assert_eq!(script.blocks(&actions).len(), 1);
    }
    assert!(!script.pending_store());
}

#[test]
fn a_peer_that_waits_is_served_when_the_block_arrives() {
    let mut script = Script::new(2);
    let (root, block, from) = script.start(&[0]);
    script.store(StoreResult::Done);
    let want = Want { cid: Cid::Known(root), priority: 1, kind: WantKind::Block, send_dont_have: false };
    script.message(1, &BitswapMessage { wants: vec![want], ..BitswapMessage::default() });
    let actions = script.store(StoreResult::Block(None));
    assert!(script.presences(&actions).is_empty());
    script.receive(from, block.clone());
    script.hash();
    script.store(StoreResult::Done);
    let mut blocks = Vec::new();
    while let Some((_, request)) = script.requests.front().cloned() {
        let answer = match request {
            StoreRequest::GetBlock(_) => StoreResult::Block(Some(block.data.clone())),
            _ => StoreResult::Done,
        };
        let actions = script.store(answer);
        blocks.extend(script.blocks(&actions));
    }
    assert_eq!(blocks, [(1, block.data)]);
}

#[test]
fn a_want_for_what_is_not_here_keeps_no_connection() {
    for kind in [WantKind::Have, WantKind::Block] {
        let mut script = Script::new(1);
        let want = Want { cid: Cid::Known(raw(b"nowhere").0), priority: 1, kind, send_dont_have: false };
        script.message(0, &BitswapMessage { wants: vec![want], ..BitswapMessage::default() });
        assert!(script.exchange.in_use(script.peers[0]), "looked for");
        script.store(if kind == WantKind::Have { StoreResult::Has(vec![false]) } else { StoreResult::Block(None) });
        assert!(!script.exchange.in_use(script.peers[0]), "{kind:?}");
    }
}

#[test]
fn a_dropped_block_is_sent_again_later() {
    let mut script = Script::new(1);
    let (id, block) = raw(b"dropped");
    script.want(0, id, WantKind::Block);
    script.store(StoreResult::Block(Some(block.data.clone())));
    script.exchange.handle_send_dropped(&mut script.world.cx(), script.peers[0]);
    script.take();
    assert!(!script.pending_store(), "not at once: the peer is slow");
    let before = script.world.now;
    script.wake();
    let actions = script.store(StoreResult::Block(Some(block.data.clone())));
    assert_eq!(script.blocks(&actions), [(0, block.data)]);
    assert!(script.world.now.since(before) < Duration::from_secs(1));
}
