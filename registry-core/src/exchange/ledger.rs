//! The serving side: what peers want of this node.
//!
//! A peer paces itself by asking for no more than it can take; against one that asks for everything at once, each peer
//! has a *backlog*: blocks handed to the shell that it has not reported as sent. What exceeds the backlog's bound waits
//! here, as an entry of 100 bytes instead of a block.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;
use core::cmp::Reverse;

use bytes::Bytes;

use super::prefix_of;
use crate::action::{SendClass, StoreRequest};
use crate::collections::DeadlineIndex;
use crate::config::ExchangeConfig;
use crate::cx::Cx;
use crate::id::{BlockId, Owner, PeerIx, StoreId};
use crate::input::StoreResult;
use crate::peers::Offence;
use crate::time::{Duration, Instant};
use crate::wire::Protocol;
use crate::wire::bitswap::{BitswapMessage, Block, Cid, Presence, Want, WantKind};

/// Blocks being read for one peer: the next while one is sent.
const MAX_READS_PER_PEER: usize = 2;
/// Blocks being read for all peers: 32 MiB at most.
const MAX_READS: usize = 16;
/// Presences looked up at a time for one peer.
const MAX_CHECK: usize = 256;
/// Wants of all peers together; 100 bytes each.
const MAX_ENTRIES: usize = 65_536;
/// Wants that any peer may have beyond that: no others can keep it from asking for twice a window.
const LEAST_SHARE: usize = 64;
/// A short block counts for so much in a backlog, which bounds their number too.
const MIN_COST: u64 = 4 * 1024;
/// Nothing is handed over for so long after the shell has dropped a block.
const REST: Duration = Duration::from_millis(500);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// To be looked up.
    Ready,
    /// Being looked up.
    Busy,
    /// Not there, and the peer did not ask to be told.
    Absent,
}

#[derive(Debug)]
struct Entry {
    /// `Have` or `Block`.
    kind: WantKind,
    priority: i32,
    /// Order of arrival.
    seq: u64,
    send_dont_have: bool,
    state: State,
}

/// Blocks handed to the shell for one peer and not yet reported, oldest first, and what they count for.
#[derive(Debug, Default)]
struct Backlog {
    blocks: VecDeque<(BlockId, u64)>,
    bytes: u64,
    resting_until: Option<Instant>,
}

impl Backlog {
    fn add(&mut self, id: BlockId, len: usize) {
        let cost = (len as u64).max(MIN_COST);
        self.bytes += cost;
        self.blocks.push_back((id, cost));
    }

    fn sent(&mut self) {
        if let Some((_, cost)) = self.blocks.pop_front() {
            self.bytes -= cost;
        }
    }

    /// The shell has dropped a block: most likely the last one it was given.
    fn dropped(&mut self, now: Instant) -> Option<BlockId> {
        self.resting_until = Some(now + REST);
        let (id, cost) = self.blocks.pop_back()?;
        self.bytes -= cost;
        Some(id)
    }

    fn rest(&self, now: Instant) -> Option<Instant> {
        self.resting_until.filter(|until| *until > now)
    }
}

#[derive(Debug, Default)]
struct Ledger {
    wants: BTreeMap<BlockId, Entry>,
    /// Blocks to be read, the most urgent first.
    ready: BTreeSet<(Reverse<i32>, u64, BlockId)>,
    /// Presences to be looked up.
    unchecked: BTreeSet<BlockId>,
    reads: usize,
    checking: bool,
    backlog: Backlog,
}

impl Ledger {
    fn is_idle(&self) -> bool {
        self.wants.is_empty() && self.reads == 0 && !self.checking && self.backlog.blocks.is_empty()
    }

    /// Is something being looked up for the peer? That it waits for what is not here keeps no connection.
    fn is_served(&self) -> bool {
        self.reads > 0 || self.checking || !self.ready.is_empty() || !self.unchecked.is_empty()
    }

    fn set(&mut self, id: BlockId, entry: Entry) {
        self.remove(&id);
        if entry.state == State::Ready {
            match entry.kind {
                WantKind::Have => drop(self.unchecked.insert(id)),
                WantKind::Block | WantKind::Cancel => drop(self.ready.insert((Reverse(entry.priority), entry.seq, id))),
            }
        }
        self.wants.insert(id, entry);
    }

    fn remove(&mut self, id: &BlockId) -> Option<Entry> {
        let entry = self.wants.remove(id)?;
        self.unchecked.remove(id);
        self.ready.remove(&(Reverse(entry.priority), entry.seq, *id));
        Some(entry)
    }

    fn set_state(&mut self, id: &BlockId, state: State) {
        if let Some(entry) = self.remove(id) {
            self.set(*id, Entry { state, ..entry });
        }
    }

    /// The answer to a want for a block that is not there.
    fn absent(&mut self, id: BlockId) -> Option<(Cid, Presence)> {
        match self.wants.get(&id) {
            Some(entry) if entry.send_dont_have => {
                self.remove(&id);
                Some((Cid::Known(id), Presence::DontHave))
            }
            Some(_) => {
                self.set_state(&id, State::Absent);
                None
            }
            None => None,
        }
    }
}

#[derive(Debug)]
enum Lookup {
    Presences(PeerIx, Vec<BlockId>),
    Block(PeerIx, BlockId),
}

#[derive(Debug, Default)]
pub(super) struct Server {
    ledgers: BTreeMap<PeerIx, Ledger>,
    lookups: BTreeMap<StoreId, Lookup>,
    /// Peers whose backlog rests.
    deadlines: DeadlineIndex<PeerIx>,
    /// Wants of all peers.
    entries: usize,
    reads: usize,
    next_seq: u64,
    /// Who was served last.
    last: Option<PeerIx>,
}

impl Server {
    pub(super) fn handle_message(&mut self, cx: &mut Cx<'_>, peer: PeerIx, msg: &BitswapMessage) {
        if msg.wants.is_empty() && !msg.full {
            return;
        }
        if msg.full {
            self.clear(peer);
        }
        let max = cx.config.exchange.max_ledger;
        if msg.wants.len() > max.saturating_mul(4) {
            cx.charge(peer, Offence::Protocol(Protocol::Bitswap));
        }
        let refused: Vec<_> = msg.wants.iter().filter_map(|want| self.accept(peer, want, max)).collect();
        answer(cx, peer, refused);
        self.serve(cx);
    }

    pub(super) fn handle_peer_down(&mut self, cx: &mut Cx<'_>, peer: PeerIx) {
        self.deadlines.clear(peer);
        if let Some(ledger) = self.ledgers.remove(&peer) {
            self.entries -= ledger.wants.len();
            self.reads -= ledger.reads;
        }
        self.lookups.retain(|_, lookup| match lookup {
            Lookup::Presences(of, _) | Lookup::Block(of, _) => *of != peer,
        });
        self.serve(cx);
    }

    pub(super) fn handle_stored(&mut self, cx: &mut Cx<'_>, op: StoreId, result: StoreResult) {
        match (self.lookups.remove(&op), result) {
            (Some(Lookup::Presences(peer, ids)), StoreResult::Has(has)) => self.presences(cx, peer, &ids, &has),
            (Some(Lookup::Presences(peer, ids)), _) => self.presences(cx, peer, &ids, &[]),
            (Some(Lookup::Block(peer, id)), StoreResult::Block(data)) => self.block(cx, peer, id, data),
            (Some(Lookup::Block(peer, id)), _) => self.block(cx, peer, id, None),
            (None, _) => return,
        }
        self.serve(cx);
    }

    /// A block is in the store now: peers that wait for it are served.
    pub(super) fn block_arrived(&mut self, cx: &mut Cx<'_>, id: BlockId) {
        let mut waited = false;
        for ledger in self.ledgers.values_mut() {
            if ledger.wants.get(&id).is_some_and(|entry| entry.state == State::Absent) {
                ledger.set_state(&id, State::Ready);
                waited = true;
            }
        }
        if waited {
            self.serve(cx);
        }
    }

    /// The shell has sent a block.
    pub(super) fn handle_sent(&mut self, cx: &mut Cx<'_>, peer: PeerIx) {
        if let Some(ledger) = self.ledgers.get_mut(&peer) {
            ledger.backlog.sent();
            self.serve(cx);
        }
    }

    /// The shell has dropped a block.
    pub(super) fn handle_send_dropped(&mut self, cx: &mut Cx<'_>, peer: PeerIx) {
        let Some(ledger) = self.ledgers.get_mut(&peer) else { return };
        if let Some(id) = ledger.backlog.dropped(cx.now) {
            let want = Want { cid: Cid::Known(id), priority: i32::MAX, kind: WantKind::Block, send_dont_have: true };
            self.accept(peer, &want, cx.config.exchange.max_ledger);
        }
        self.serve(cx);
    }

    pub(super) fn handle_timeout(&mut self, cx: &mut Cx<'_>) {
        let mut due = false;
        while self.deadlines.pop_due(cx.now).is_some() {
            due = true;
        }
        if due {
            self.serve(cx);
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.next()
    }

    pub(super) fn in_use(&self, peer: PeerIx) -> bool {
        self.ledgers.get(&peer).is_some_and(Ledger::is_served)
    }

    fn clear(&mut self, peer: PeerIx) {
        if let Some(ledger) = self.ledgers.get_mut(&peer) {
            self.entries -= ledger.wants.len();
            ledger.wants.clear();
            ledger.ready.clear();
            ledger.unchecked.clear();
        }
    }

    /// Takes a want into the ledger; returns the answer when it is refused.
    fn accept(&mut self, peer: PeerIx, want: &Want, max: usize) -> Option<(Cid, Presence)> {
        let refusal =
            (want.send_dont_have && want.kind != WantKind::Cancel).then(|| (want.cid.clone(), Presence::DontHave));
        let Cid::Known(id) = want.cid else { return refusal };
        let ledger = self.ledgers.entry(peer).or_default();
        let old = ledger.wants.get(&id).map(|entry| entry.state);
        match (want.kind, old) {
            (WantKind::Cancel, _) => {
                self.entries -= usize::from(ledger.remove(&id).is_some());
                return None;
            }
            (WantKind::Have | WantKind::Block, None) => {
                let share = if self.entries < MAX_ENTRIES { max } else { max.min(LEAST_SHARE) };
                if ledger.wants.len() >= share {
                    return refusal;
                }
                self.entries += 1;
            }
            (WantKind::Have | WantKind::Block, Some(_)) => {}
        }
        self.next_seq += 1;
        let state = if old == Some(State::Busy) { State::Busy } else { State::Ready };
        let (kind, priority, send_dont_have) = (want.kind, want.priority, want.send_dont_have);
        ledger.set(id, Entry { kind, priority, seq: self.next_seq, send_dont_have, state });
        None
    }

    /// Looks up presences, then reads blocks, one per peer and round.
    fn serve(&mut self, cx: &mut Cx<'_>) {
        for (peer, ledger) in &mut self.ledgers {
            if !ledger.checking && !ledger.unchecked.is_empty() {
                let ids: Vec<_> = ledger.unchecked.iter().take(MAX_CHECK).copied().collect();
                ids.iter().for_each(|id| ledger.set_state(id, State::Busy));
                ledger.checking = true;
                let digests = ids.iter().map(|id| id.digest).collect();
                let op = cx.store(Owner::Exchange, StoreRequest::HasBlocks(digests));
                self.lookups.insert(op, Lookup::Presences(*peer, ids));
            }
        }
        while self.reads < MAX_READS
            && let Some((peer, id)) = self.next_read(cx)
        {
            let op = cx.store(Owner::Exchange, StoreRequest::GetBlock(id.digest));
            self.lookups.insert(op, Lookup::Block(peer, id));
            self.reads += 1;
            self.last = Some(peer);
        }
        debug_assert_eq!(self.entries, self.ledgers.values().map(|ledger| ledger.wants.len()).sum::<usize>());
        self.ledgers.retain(|peer, ledger| {
            if ledger.is_idle() {
                self.deadlines.clear(*peer);
            }
            !ledger.is_idle()
        });
    }

    /// The next peer in turn with something to read and room for it.
    fn next_read(&mut self, cx: &Cx<'_>) -> Option<(PeerIx, BlockId)> {
        let peers: Vec<_> = self.ledgers.keys().copied().collect();
        let start = self.last.map_or(0, |last| peers.partition_point(|peer| *peer <= last));
        let turns = peers.iter().skip(start).chain(peers.iter().take(start));
        turns.copied().find_map(|peer| self.take_read(&cx.config.exchange, cx.now, peer).map(|id| (peer, id)))
    }

    fn take_read(&mut self, config: &ExchangeConfig, now: Instant, peer: PeerIx) -> Option<BlockId> {
        let limit = config.max_queued_bytes as u64;
        let ledger = self.ledgers.get_mut(&peer)?;
        let (_, _, id) = *ledger.ready.first()?;
        if ledger.reads >= MAX_READS_PER_PEER {
            return None;
        }
        if let Some(until) = ledger.backlog.rest(now) {
            self.deadlines.set(peer, until);
            return None;
        }
        if ledger.backlog.bytes >= limit {
            return None;
        }
        ledger.set_state(&id, State::Busy);
        ledger.reads += 1;
        Some(id)
    }

    fn presences(&mut self, cx: &mut Cx<'_>, peer: PeerIx, ids: &[BlockId], has: &[bool]) {
        let Some(ledger) = self.ledgers.get_mut(&peer) else { return };
        ledger.checking = false;
        let before = ledger.wants.len();
        let mut answers = Vec::new();
        for (index, id) in ids.iter().enumerate() {
            match ledger.wants.get(id).map(|entry| entry.kind) {
                Some(WantKind::Have) if has.get(index) == Some(&true) => {
                    ledger.remove(id);
                    answers.push((Cid::Known(*id), Presence::Have));
                }
                Some(WantKind::Have) => answers.extend(ledger.absent(*id)),
                // The peer wants the block itself by now.
                Some(WantKind::Block | WantKind::Cancel) => ledger.set_state(id, State::Ready),
                None => {}
            }
        }
        self.entries -= before - ledger.wants.len();
        answer(cx, peer, answers);
    }

    fn block(&mut self, cx: &mut Cx<'_>, peer: PeerIx, id: BlockId, data: Option<Bytes>) {
        self.reads -= 1;
        let Some(ledger) = self.ledgers.get_mut(&peer) else { return };
        ledger.reads -= 1;
        let before = ledger.wants.len();
        match data {
            Some(data) if ledger.remove(&id).is_some() => {
                ledger.backlog.add(id, data.len());
                let blocks = alloc::vec![Block { prefix: prefix_of(id.codec), data }];
                cx.send(peer, BitswapMessage { blocks, ..BitswapMessage::default() }, SendClass::Block);
            }
            // Cancelled meanwhile.
            Some(_) => {}
            None => {
                let refusal = ledger.absent(id);
                answer(cx, peer, refusal.into_iter().collect());
            }
        }
        let after = self.ledgers.get(&peer).map_or(0, |ledger| ledger.wants.len());
        self.entries -= before - after;
    }
}

fn answer(cx: &mut Cx<'_>, peer: PeerIx, presences: Vec<(Cid, Presence)>) {
    if !presences.is_empty() {
        cx.send(peer, BitswapMessage { presences, ..BitswapMessage::default() }, SendClass::Control);
    }
}
