//! The asking side: contents, the blocks they lack, and the store.
//!
//! A block goes through these stations, each entered only from the one before: *open* (is it in the store?), *queued*
//! (to be asked for), *asked* (of one peer, or of more once that one is late), *judged* (its hash is computed, its
//! node checked), *storing*, *durable*. Only durable blocks count.

mod assign;
mod receive;
mod search;

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;

use bytes::Bytes;

use super::ExchangeEvent;
use super::fetch::{Fetch, Place};
use super::row::{self, Sources};
use super::unixfs::{NodeKind, parse};
use super::window::Link;
use crate::action::{SendClass, StoreRequest, Table};
use crate::collections::DeadlineIndex;
use crate::cx::Cx;
use crate::event::{Event, OpError};
use crate::id::{BlockId, Codec, JobId, OpId, Owner, PeerId, PeerIx, StoreId};
use crate::input::{Row, StoreResult};
use crate::time::Instant;
use crate::wire::bitswap::{BitswapMessage, Cid, Want, WantKind};

use receive::Received;

/// A block that some fetch lacks.
#[derive(Debug)]
struct Wanted {
    /// Order of asking.
    seq: u64,
    /// Expected length.
    len: u64,
    /// Which places of which contents it belongs to.
    places: Vec<(BlockId, Place)>,
    asked: Vec<PeerIx>,
    /// Who said it does not have it.
    lacking: BTreeSet<PeerIx>,
    storing: bool,
}

impl Wanted {
    /// Counts against [`MAX_IN_FLIGHT`](assign::MAX_IN_FLIGHT).
    fn is_busy(&self) -> bool {
        self.storing || !self.asked.is_empty()
    }
}

/// One run of a fetch: a root may be fetched again while the store still answers for the run before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Run {
    root: BlockId,
    number: u64,
}

/// What an answer of the store is for.
#[derive(Debug)]
enum Pending {
    /// Are these blocks there?
    Check { run: Run, places: Vec<Place> },
    /// An inner node that is there.
    Read { run: Run, place: Place },
    /// A verified block, and where it came from.
    Put { id: BlockId, node: NodeKind, len: u64, source: Option<PeerId> },
    /// The sources of an unfinished fetch.
    Save { root: BlockId },
    /// The row of a complete content.
    Complete { run: Run },
    /// The same for content of the local publisher.
    Local { root: BlockId, request: StoreRequest },
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Due {
    /// A peer should have answered by now.
    Answer(PeerIx),
    /// A peer may be asked again.
    Rested(PeerIx),
    /// Look for providers.
    Search(BlockId),
    /// Give up.
    Stall(BlockId),
}

#[derive(Debug, Default)]
pub(super) struct Client {
    fetches: BTreeMap<BlockId, Fetch>,
    /// Beyond the number of fetches that may run.
    waiting: VecDeque<(OpId, BlockId)>,
    wanted: BTreeMap<BlockId, Wanted>,
    /// Peers that were asked for blocks.
    links: BTreeMap<PeerIx, Link>,
    /// Connected peers that speak Bitswap.
    up: BTreeSet<PeerIx>,
    judging: BTreeMap<JobId, Received>,
    pending: BTreeMap<StoreId, Pending>,
    contents: BTreeSet<BlockId>,
    /// Fetches that have not ended well, and what they got from whom.
    unfinished: BTreeMap<BlockId, Sources>,
    deadlines: DeadlineIndex<Due>,
    /// Blocks dropped because the peer was not asked for them, or has sent them before.
    strays: BTreeMap<PeerIx, u32>,
    /// Asked of peers whose connection ended before the block came. A want may have gone out over their next one, of which
    /// this node had not been told yet.
    unanswered: VecDeque<(PeerIx, BlockId)>,
    outgoing: BTreeMap<PeerIx, Vec<Want>>,
    /// Expected bytes of all blocks asked for or being stored.
    in_flight: u64,
    next_seq: u64,
    next_run: u64,
    /// Whose turn it is to ask first.
    turn: usize,
    events: VecDeque<ExchangeEvent>,
}

impl Client {
    pub(super) fn handle_recovered(&mut self, row: &Row) {
        let Some(root) = row::root(&row.key) else { return };
        match row.table {
            Table::Content => {
                self.contents.insert(root);
            }
            Table::Fetch => {
                self.unfinished.insert(root, row::sources(&row.value));
            }
            Table::Meta | Table::Publisher | Table::Log | Table::PeerAddrs | Table::Ban | Table::Segment => {}
        }
    }

    pub(super) fn add_local(&mut self, cx: &mut Cx<'_>, root: BlockId) {
        if self.contents.contains(&root) {
            return self.events.push_back(ExchangeEvent::Complete { root, own: true });
        }
        let request = StoreRequest::Commit(row::complete(root).into());
        let op = cx.store(Owner::Exchange, request.clone());
        self.pending.insert(op, Pending::Local { root, request });
    }

    pub(super) fn fetch(&mut self, cx: &mut Cx<'_>, op: OpId, root: BlockId) {
        if self.fetches.contains_key(&root) {
            self.join(cx, op, root);
        } else if self.fetches.len() >= cx.config.exchange.max_fetches {
            self.waiting.push_back((op, root));
        } else {
            self.start(cx, op, root);
            self.pump(cx);
        }
    }

    pub(super) fn cancel(&mut self, cx: &mut Cx<'_>, op: OpId) {
        let error = OpError::Cancelled;
        if let Some(index) = self.waiting.iter().position(|(waiting, _)| *waiting == op) {
            self.waiting.remove(index);
            return self.events.push_back(ExchangeEvent::Failed { op, error });
        }
        let Some((root, fetch)) = self.fetches.iter_mut().find(|(_, fetch)| fetch.ops.iter().any(|(it, _)| *it == op))
        else {
            return;
        };
        let root = *root;
        if fetch.ops.len() == 1 {
            self.fail(cx, root, error);
        } else {
            fetch.ops.retain(|(running, _)| *running != op);
            self.events.push_back(ExchangeEvent::Failed { op, error });
        }
        self.pump(cx);
    }

    pub(super) fn awaits(&self, op: StoreId) -> bool {
        self.pending.contains_key(&op)
    }

    /// Returns the block that is durable now, if that is what the answer says.
    pub(super) fn handle_stored(&mut self, cx: &mut Cx<'_>, op: StoreId, result: StoreResult) -> Option<BlockId> {
        let pending = self.pending.remove(&op)?;
        let mut durable = None;
        match (pending, result) {
            (Pending::Check { run, places }, StoreResult::Has(has)) => self.checked(cx, run, &places, &has),
            (Pending::Read { run, place }, StoreResult::Block(data)) => self.read(cx, run, place, data),
            (Pending::Put { id, node, len, source }, StoreResult::Done) => {
                self.put(cx, id, &node, len, source);
                durable = Some(id);
            }
            (Pending::Put { id, .. }, _) => {
                let places = self.forget(cx, id).map_or_else(Vec::new, |wanted| wanted.places);
                let roots: BTreeSet<_> = places.into_iter().map(|(root, _)| root).collect();
                roots.into_iter().for_each(|root| self.fail(cx, root, OpError::Storage));
            }
            (Pending::Save { root }, _) => {
                if let Some(fetch) = self.fetches.get_mut(&root) {
                    fetch.saving = false;
                }
            }
            (Pending::Complete { run }, StoreResult::Done) => self.finished(cx, run),
            (Pending::Local { root, .. }, StoreResult::Done) => self.completed(root, true),
            (Pending::Local { request, .. }, _) => cx.emit(Event::StoreFailed(request)),
            (Pending::Check { run, .. } | Pending::Read { run, .. } | Pending::Complete { run }, _) => {
                if self.current(run).is_some() {
                    self.fail(cx, run.root, OpError::Storage);
                }
            }
        }
        self.pump(cx);
        durable
    }

    pub(super) fn handle_timeout(&mut self, cx: &mut Cx<'_>) {
        while let Some(due) = self.deadlines.pop_due(cx.now) {
            match due {
                Due::Answer(peer) => self.strike(cx, peer),
                Due::Rested(_) => {}
                Due::Search(root) => self.search(cx, root),
                Due::Stall(root) => self.stalled(cx, root),
            }
        }
        self.pump(cx);
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.next()
    }

    pub(super) fn in_use(&self, peer: PeerIx) -> bool {
        self.links.get(&peer).is_some_and(|link| link.load() > 0)
    }

    pub(super) fn contents(&self) -> impl Iterator<Item = BlockId> + '_ {
        self.contents.iter().copied()
    }

    pub(super) fn poll_event(&mut self) -> Option<ExchangeEvent> {
        self.events.pop_front()
    }

    fn start(&mut self, cx: &Cx<'_>, op: OpId, root: BlockId) {
        let before = self.unfinished.remove(&root);
        let recorded = before.is_some();
        self.next_run += 1;
        self.fetches.insert(root, Fetch::new(root, self.next_run, (op, cx.now), before.unwrap_or_default(), recorded));
    }

    /// Somebody else asks for what is being fetched: as patient as who asks first, and with as good a chance.
    fn join(&mut self, cx: &Cx<'_>, op: OpId, root: BlockId) {
        if let Some(fetch) = self.fetches.get_mut(&root) {
            fetch.ops.push((op, cx.now));
            self.search_anew(cx, root);
        }
    }

    /// The fetch of a run, unless it has ended.
    fn current(&mut self, run: Run) -> Option<&mut Fetch> {
        self.fetches.get_mut(&run.root).filter(|fetch| fetch.run == run.number)
    }

    /// Does all that can be done now, the fetches taking turns at being first.
    fn pump(&mut self, cx: &mut Cx<'_>) {
        while self.fetches.len() < cx.config.exchange.max_fetches
            && let Some((op, root)) = self.waiting.pop_front()
        {
            if self.fetches.contains_key(&root) {
                self.join(cx, op, root);
            } else {
                self.start(cx, op, root);
            }
        }
        let mut roots: Vec<_> = self.fetches.keys().copied().collect();
        self.turn = self.turn.wrapping_add(1);
        if let Some(first) = self.turn.checked_rem(roots.len()) {
            roots.rotate_left(first);
        }
        for root in &roots {
            self.explore(cx, *root);
        }
        for root in &roots {
            self.assign(cx, *root);
        }
        debug_assert!(self.in_flight == 0 || !self.wanted.is_empty(), "bytes in flight of no block");
        for (peer, wants) in core::mem::take(&mut self.outgoing) {
            cx.send(peer, BitswapMessage { wants, ..BitswapMessage::default() }, SendClass::Control);
        }
    }

    /// Looks at further places of the tree, and ends the fetch when there are none.
    fn explore(&mut self, cx: &mut Cx<'_>, root: BlockId) {
        let Some(fetch) = self.fetches.get_mut(&root) else { return };
        if fetch.finishing || fetch.checking {
            return;
        }
        let places: Vec<_> = core::iter::from_fn(|| fetch.next_place()).collect();
        // What some fetch lacks already needs no look into the store.
        let (lacked, places): (Vec<_>, Vec<_>) =
            places.into_iter().partition(|place| self.wanted.contains_key(&place.id));
        for place in lacked {
            self.want(cx, root, place);
        }
        let Some(fetch) = self.fetches.get_mut(&root) else { return };
        if !places.is_empty() {
            fetch.checking = true;
            let ids = places.iter().map(|place| place.id.digest).collect();
            let op = cx.store(Owner::Exchange, StoreRequest::HasBlocks(ids));
            let run = Run { root, number: fetch.run };
            self.pending.insert(op, Pending::Check { run, places });
        } else if fetch.is_complete() {
            self.finish(cx, root);
        }
    }

    fn checked(&mut self, cx: &mut Cx<'_>, run: Run, places: &[Place], has: &[bool]) {
        let Some(fetch) = self.current(run) else { return };
        let root = run.root;
        fetch.checking = false;
        if fetch.missing && has.contains(&true) {
            self.progressed(cx, root);
        }
        for (index, place) in places.iter().enumerate() {
            let there = has.get(index) == Some(&true);
            match (there, place.id.codec) {
                (true, Codec::DagPb) => {
                    let op = cx.store(Owner::Exchange, StoreRequest::GetBlock(place.id.digest));
                    self.pending.insert(op, Pending::Read { run, place: *place });
                }
                (true, Codec::Raw | Codec::DagCbor) => {
                    if let Some(fetch) = self.fetches.get_mut(&root) {
                        fetch.pass(place);
                    }
                }
                (false, _) => self.want(cx, root, *place),
            }
        }
    }

    fn read(&mut self, cx: &mut Cx<'_>, run: Run, place: Place, data: Option<Bytes>) {
        let Some(fetch) = self.current(run) else { return };
        let Some(data) = data else { return self.want(cx, run.root, place) };
        let entered = parse(place.id.codec, &data).and_then(|node| fetch.enter(&place, &node));
        if entered.is_err() {
            self.fail(cx, run.root, OpError::Verification);
        }
    }

    /// A block is not in the store.
    fn want(&mut self, cx: &mut Cx<'_>, root: BlockId, place: Place) {
        let Some(fetch) = self.fetches.get_mut(&root) else { return };
        let next_seq = &mut self.next_seq;
        let wanted = self.wanted.entry(place.id).or_insert_with(|| {
            *next_seq += 1;
            Wanted {
                seq: *next_seq,
                len: place.expected_len(),
                places: Vec::new(),
                asked: Vec::new(),
                lacking: BTreeSet::new(),
                storing: false,
            }
        });
        wanted.places.push((root, place));
        if !wanted.is_busy() {
            fetch.queue.insert((wanted.seq, place.id));
        }
        if !core::mem::replace(&mut fetch.missing, true) {
            if !core::mem::replace(&mut fetch.recorded, true) {
                self.save(cx, root);
            }
            self.progressed(cx, root);
            self.search(cx, root);
        }
    }

    /// A fetched block is durable.
    fn put(&mut self, cx: &mut Cx<'_>, id: BlockId, node: &NodeKind, len: u64, source: Option<PeerId>) {
        let Some(wanted) = self.forget(cx, id) else { return };
        let mut credited = BTreeSet::new();
        for (root, place) in wanted.places {
            let Some(fetch) = self.fetches.get_mut(&root) else { continue };
            if fetch.enter(&place, node).is_err() {
                self.fail(cx, root, OpError::Verification);
                continue;
            }
            if credited.insert(root) {
                fetch.credit(source, len);
            }
        }
        for root in credited {
            self.progressed(cx, root);
            let Some(fetch) = self.fetches.get_mut(&root) else { continue };
            let (bytes, total) = fetch.progress();
            let (links, peers) = (&self.links, fetch.providers.keys());
            let busy = peers.filter(|peer| links.get(peer).is_some_and(|link| link.load() > 0)).count();
            let providers = u32::try_from(busy).unwrap_or(u32::MAX);
            let progress = fetch.ops.iter().map(|(op, _)| ExchangeEvent::Progress { op: *op, bytes, total, providers });
            self.events.extend(progress);
            if !fetch.saving && fetch.take_unsaved(None) {
                self.save(cx, root);
            }
        }
    }

    /// Writes who sent how much.
    fn save(&mut self, cx: &mut Cx<'_>, root: BlockId) {
        let Some(fetch) = self.fetches.get_mut(&root) else { return };
        fetch.saving = true;
        let request = StoreRequest::Commit(alloc::vec![row::unfinished(root, &fetch.sources)]);
        let op = cx.store(Owner::Exchange, request);
        self.pending.insert(op, Pending::Save { root });
    }

    /// Every block is in the store.
    fn finish(&mut self, cx: &mut Cx<'_>, root: BlockId) {
        let Some(fetch) = self.fetches.get_mut(&root) else { return };
        fetch.finishing = true;
        let run = Run { root, number: fetch.run };
        self.deadlines.clear(Due::Search(root));
        self.deadlines.clear(Due::Stall(root));
        if fetch.recorded || !self.contents.contains(&root) {
            let op = cx.store(Owner::Exchange, StoreRequest::Commit(row::complete(root).into()));
            self.pending.insert(op, Pending::Complete { run });
        } else {
            self.finished(cx, run);
        }
    }

    fn finished(&mut self, cx: &mut Cx<'_>, run: Run) {
        let root = run.root;
        self.completed(root, false);
        if self.current(run).is_none() {
            return;
        }
        let Some(fetch) = self.drop_fetch(cx, root) else { return };
        let sources: Vec<_> = fetch.sources.into_iter().collect();
        let fetched = |(op, _)| ExchangeEvent::Fetched { op, root, sources: sources.clone() };
        self.events.extend(fetch.ops.into_iter().map(fetched));
    }

    fn completed(&mut self, root: BlockId, own: bool) {
        self.unfinished.remove(&root);
        if self.contents.insert(root) || own {
            self.events.push_back(ExchangeEvent::Complete { root, own });
        }
    }

    /// Ends a fetch without success. What it has stays in the store.
    fn fail(&mut self, cx: &mut Cx<'_>, root: BlockId, error: OpError) {
        let unsaved = |fetch: &mut Fetch| fetch.recorded && !fetch.finishing && fetch.take_unsaved(Some(1));
        if self.fetches.get_mut(&root).is_some_and(unsaved) {
            self.save(cx, root);
        }
        let Some(fetch) = self.drop_fetch(cx, root) else { return };
        if fetch.recorded && !fetch.finishing {
            self.unfinished.insert(root, fetch.sources);
        }
        let failed = |(op, _)| ExchangeEvent::Failed { op, error: error.clone() };
        self.events.extend(fetch.ops.into_iter().map(failed));
    }

    /// Takes a fetch away, and withdraws what only it wanted.
    fn drop_fetch(&mut self, cx: &mut Cx<'_>, root: BlockId) -> Option<Fetch> {
        let fetch = self.fetches.remove(&root)?;
        self.deadlines.clear(Due::Search(root));
        self.deadlines.clear(Due::Stall(root));
        for peer in fetch.providers.keys() {
            cx.peers.release(*peer);
        }
        let mut orphans = Vec::new();
        for (id, wanted) in &mut self.wanted {
            wanted.places.retain(|(of, _)| *of != root);
            if wanted.places.is_empty() {
                orphans.push(*id);
            }
        }
        for id in orphans {
            self.forget(cx, id);
        }
        Some(fetch)
    }

    /// A block is not wanted any more. It may be asked for although it was being stored: what an earlier fetch had of it
    /// is durable now, and a later one wanted it meanwhile.
    fn forget(&mut self, cx: &Cx<'_>, id: BlockId) -> Option<Wanted> {
        self.withdraw_all(cx, id);
        let wanted = self.wanted.remove(&id)?;
        if wanted.storing {
            self.in_flight = self.in_flight.saturating_sub(wanted.len);
        }
        for (root, _) in &wanted.places {
            if let Some(fetch) = self.fetches.get_mut(root) {
                fetch.queue.remove(&(wanted.seq, id));
            }
        }
        Some(wanted)
    }

    fn push_want(&mut self, peer: PeerIx, id: BlockId, kind: WantKind, priority: i32) {
        let send_dont_have = kind != WantKind::Cancel;
        self.outgoing.entry(peer).or_default().push(Want { cid: Cid::Known(id), priority, kind, send_dont_have });
    }
}
