//! Running queries: one lookup each, and what it is for.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;

use bytes::Bytes;

use crate::config::KadConfig;
use crate::cx::Cx;
use crate::id::PeerIx;
use crate::kad::announce::Kind;
use crate::kad::lookup::{Breadth, Lookup, Referrer};
use crate::kad::position::{Distance, Position};
use crate::kad::request::{Purpose, Requests, Sent};
use crate::kad::values::{Get, Store};
use crate::kad::{Kad, KadEvent, MAX_FOUND, QueryId, Timer, message};
use crate::time::Duration;
use crate::wire::Message;
use crate::wire::kad::{KadKind, KadMessage, KadPeer};

/// Queries running at once; the rest waits its turn. So many times α dials fit into the peer book's queue.
const MAX_RUNNING: usize = 16;

/// Of these, refresh and republish may have so many.
const MAX_BACKGROUND: usize = 4;

/// Queries waiting. One more ends at once without result.
const MAX_WAITING: usize = 1024;

/// Entries of the table a lookup may fall back on, if there are as many: of fewer, all may be gone.
const MIN_SEEDS: usize = 20;

#[derive(Debug, Default)]
pub(super) struct Queries {
    next_id: u64,
    running: BTreeMap<QueryId, Query>,
    waiting: VecDeque<Waiting>,
    background: VecDeque<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    id: QueryId,
    key: Bytes,
    work: Work,
}

#[derive(Debug)]
struct Query {
    key: Bytes,
    /// What each candidate is asked.
    question: Message,
    kind: KadKind,
    lookup: Lookup,
    work: Work,
}

/// What a lookup is for.
#[derive(Debug)]
pub(super) enum Work {
    Closest,
    Refresh(Region),
    Get(Get),
    Put(Store),
    /// `tell` for the first announcement, which somebody waits for.
    Provide {
        tell: bool,
    },
    Providers {
        found: Vec<PeerIx>,
        wanted: usize,
    },
}

/// Whose peers a refresh is to meet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Region {
    /// One part of the key space.
    Bucket,
    /// This node's own neighbourhood.
    Own,
    /// The same, as this peer and those it names know it.
    OwnThrough(PeerIx),
}

impl Queries {
    pub(super) fn new_id(&mut self) -> QueryId {
        self.next_id += 1;
        QueryId(self.next_id)
    }

    pub(super) fn get_mut(&mut self, id: QueryId) -> Option<(&Bytes, &mut Get)> {
        let query = self.running.get_mut(&id)?;
        match &mut query.work {
            Work::Get(get) => Some((&query.key, get)),
            Work::Closest | Work::Refresh(_) | Work::Put(_) | Work::Provide { .. } | Work::Providers { .. } => None,
        }
    }

    pub(super) fn is_running(&self, id: QueryId) -> bool {
        self.running.contains_key(&id)
    }

    pub(super) fn lookup_mut(&mut self, id: QueryId) -> Option<&mut Lookup> {
        self.running.get_mut(&id).map(|query| &mut query.lookup)
    }

    /// What each candidate of a running query is asked.
    pub(super) fn question(&self, id: QueryId) -> Option<Message> {
        self.running.get(&id).map(|query| query.question.clone())
    }

    /// Is this the answer of a peer that has stored what the query puts?
    pub(super) fn is_echo(&self, id: QueryId, msg: &KadMessage) -> bool {
        self.running.get(&id).is_some_and(|query| match &query.work {
            Work::Put(store) => store.is_echo(&query.key, msg),
            Work::Closest | Work::Refresh(_) | Work::Get(_) | Work::Provide { .. } | Work::Providers { .. } => false,
        })
    }

    pub(super) fn store_mut(&mut self, id: QueryId) -> Option<&mut Store> {
        match &mut self.running.get_mut(&id)?.work {
            Work::Put(store) => Some(store),
            Work::Closest | Work::Refresh(_) | Work::Get(_) | Work::Provide { .. } | Work::Providers { .. } => None,
        }
    }

    /// Queries that announce this node as provider of `key`.
    pub(super) fn providing(&self, key: &[u8]) -> Vec<QueryId> {
        let running = self.running.iter().map(|(id, query)| (*id, &query.key, &query.work));
        let waiting = self.waiting.iter().chain(&self.background).map(|query| (query.id, &query.key, &query.work));
        let of_key = running.chain(waiting).filter(|(_, of, work)| *of == key && matches!(work, Work::Provide { .. }));
        of_key.map(|(id, ..)| id).collect()
    }

    /// See `Kad::assert_bounds`.
    pub(super) fn assert_bounds(&self, requests: &Requests, config: &KadConfig) {
        assert!(self.running.len() <= MAX_RUNNING);
        assert!(self.waiting.len() <= MAX_WAITING && self.background.len() <= MAX_WAITING);
        for (id, query) in &self.running {
            let (all, slow) = requests.of_lookup(*id);
            assert!(query.lookup.is_within(all - slow, slow), "more than the lookup allows itself in flight");
            let alpha = config.alpha.max(1);
            assert!(all - slow <= alpha && all <= 2 * alpha, "more than alpha in flight");
        }
    }

    fn take(&mut self, id: QueryId) -> Option<Query> {
        if let Some(query) = self.running.remove(&id) {
            return Some(query);
        }
        for waiting in [&mut self.waiting, &mut self.background] {
            if let Some(at) = waiting.iter().position(|query| query.id == id) {
                return waiting.remove(at).map(Query::unstarted);
            }
        }
        None
    }

    fn next_waiting(&mut self) -> Option<Waiting> {
        if self.running.len() >= MAX_RUNNING {
            return None;
        }
        let background = self.running.values().filter(|query| query.work.is_background()).count();
        self.waiting.pop_front().or_else(|| {
            let room = background < MAX_BACKGROUND;
            if room { self.background.pop_front() } else { None }
        })
    }
}

impl Query {
    fn new(waiting: Waiting, lookup: Lookup) -> (QueryId, Self) {
        let Waiting { id, key, work } = waiting;
        let kind = match work {
            Work::Closest | Work::Refresh(_) | Work::Put(_) | Work::Provide { .. } => KadKind::FindNode,
            Work::Get(_) => KadKind::GetValue,
            Work::Providers { .. } => KadKind::GetProviders,
        };
        (id, Self { question: message(kind, key.clone()).into(), kind, key, lookup, work })
    }

    fn unstarted(waiting: Waiting) -> Self {
        let breadth = Breadth { k: 1, alpha: 1, beta: 1 };
        let lookup = Lookup::new(Position::of(&waiting.key), breadth, Vec::new());
        Self::new(waiting, lookup).1
    }
}

impl Work {
    /// Is there something that only more of the same could be added to?
    fn has_found(&self) -> bool {
        match self {
            Self::Get(get) => get.best().is_some(),
            Self::Providers { found, .. } => !found.is_empty(),
            Self::Closest | Self::Refresh(_) | Self::Put(_) | Self::Provide { .. } => false,
        }
    }

    fn is_background(&self) -> bool {
        match self {
            Self::Refresh(_) | Self::Provide { tell: false } => true,
            Self::Put(store) => !store.tell,
            Self::Closest | Self::Get(_) | Self::Provide { tell: true } | Self::Providers { .. } => false,
        }
    }
}

impl Kad {
    /// Starts a query, or lets it wait for its turn.
    pub(super) fn begin(&mut self, cx: &mut Cx<'_>, id: QueryId, key: Bytes, work: Work) {
        let background = work.is_background();
        let line = if background { &mut self.queries.background } else { &mut self.queries.waiting };
        line.push_back(Waiting { id, key, work });
        if line.len() > MAX_WAITING {
            self.end(cx, id);
        }
        self.start_waiting(cx);
    }

    pub(super) fn start_waiting(&mut self, cx: &mut Cx<'_>) {
        while let Some(waiting) = self.queries.next_waiting() {
            let lookup = self.lookup(cx, &waiting);
            lookup.candidates().for_each(|peer| cx.peers.pin(peer));
            let (id, query) = Query::new(waiting, lookup);
            self.queries.running.insert(id, query);
            self.timers.set(Timer::Query(id), cx.now + cx.config.kad.query_timeout.max(Duration::from_millis(1)));
            self.advance(cx, id);
        }
    }

    fn lookup(&self, cx: &Cx<'_>, waiting: &Waiting) -> Lookup {
        let config = &cx.config.kad;
        // A refresh wants to meet peers of a region, not to know the closest ones of a point.
        let k = match waiting.work {
            Work::Refresh(Region::Bucket) => config.beta,
            Work::Refresh(Region::Own | Region::OwnThrough(_))
            | Work::Closest
            | Work::Get(_)
            | Work::Put(_)
            | Work::Provide { .. }
            | Work::Providers { .. } => config.k,
        };
        let target = Position::of(&waiting.key);
        let seeds = match waiting.work {
            Work::Refresh(Region::OwnThrough(peer)) => {
                let id = cx.peers.id(peer);
                id.map(|id| (Position::of(id.as_bytes()).distance(target), peer)).into_iter().collect()
            }
            Work::Refresh(Region::Bucket | Region::Own)
            | Work::Closest
            | Work::Get(_)
            | Work::Put(_)
            | Work::Provide { .. }
            | Work::Providers { .. } => self.seeds(target, config.k),
        };
        Lookup::new(target, Breadth { k, alpha: config.alpha, beta: config.beta }, seeds)
    }

    /// The closest entries of the table; failing ones only where there are fewer than k others.
    fn seeds(&self, target: Position, k: usize) -> Vec<(Distance, PeerIx)> {
        let count = k.max(MIN_SEEDS);
        let seeds = self.table.closest(target, count, |entry| !entry.is_failing());
        if seeds.len() < k { self.table.closest(target, count, |_| true) } else { seeds }
    }

    /// Asks whom the lookup wants asked, and ends it when it is done.
    pub(super) fn advance(&mut self, cx: &mut Cx<'_>, id: QueryId) {
        while let Some((peer, question, kind)) = self.next_candidate(cx, id) {
            self.send(cx, question, Sent::new(cx, peer, kind, Purpose::Lookup(id)));
        }
        let Some(query) = self.queries.running.get_mut(&id) else { return };
        query.lookup.take_dropped().into_iter().for_each(|peer| cx.peers.release(peer));
        let ends_early = planted!(cx.config, KadEndsEarly) && query.lookup.answered() as usize >= cx.config.kad.alpha;
        let has_found = query.work.has_found();
        // Who is connected is most likely alive, only farther away than others; who must be dialled may be long gone.
        let awaits = || !has_found && query.lookup.unreplaced().any(|peer| cx.peers.is_connected(peer));
        if (query.lookup.is_finished(has_found) && !awaits()) || ends_early {
            self.found(cx, id);
        } else if !query.work.is_background() {
            // Most of a cold lookup's time is handshakes: those of the next ones need not wait for a free slot.
            query.lookup.upcoming().for_each(|peer| cx.peers.dial(cx.now, cx.config, cx.out, peer));
        }
    }

    /// The next candidate that can be reached, marked as asked, and the question.
    fn next_candidate(&mut self, cx: &Cx<'_>, id: QueryId) -> Option<(PeerIx, Message, KadKind)> {
        let query = self.queries.running.get_mut(&id)?;
        loop {
            let peer = query.lookup.next()?;
            if cx.peers.is_reachable(cx.now, peer) {
                query.lookup.ask(peer);
                return Some((peer, query.question.clone(), query.kind));
            }
            query.lookup.fail(peer);
        }
    }

    pub(super) fn lookup_answered(&mut self, cx: &mut Cx<'_>, id: QueryId, peer: PeerIx, msg: &KadMessage) {
        let Some(query) = self.queries.running.get_mut(&id) else { return };
        let Some(by) = query.lookup.answer(peer) else { return };
        learn(cx, &mut query.lookup, by, &msg.closer);
        match &mut query.work {
            Work::Get(_) => self.value_answered(cx, id, peer, msg.record.as_ref()),
            Work::Providers { found, wanted } => {
                let fresh = new_providers(cx, found, *wanted, &msg.providers);
                let enough = found.len() >= *wanted;
                let (asked, answered) = (query.lookup.asked(), query.lookup.answered());
                if enough {
                    self.end(cx, id);
                } else if !fresh.is_empty() {
                    let event = KadEvent::Providers { query: id, providers: fresh, last: false, asked, answered };
                    self.raise(event);
                }
            }
            Work::Closest | Work::Refresh(_) | Work::Put(_) | Work::Provide { .. } => {}
        }
        self.advance(cx, id);
    }

    /// The lookup has found the closest; some queries have more to do then.
    fn found(&mut self, cx: &mut Cx<'_>, id: QueryId) {
        let Some(query) = self.queries.running.get_mut(&id) else { return };
        match &mut query.work {
            Work::Get(get) if get.is_pending() => {}
            Work::Put(store) => {
                let closest: Vec<_> = query.lookup.closest().collect();
                match store.start(&query.key, closest.len()) {
                    Some(put) if !closest.is_empty() => {
                        for peer in closest {
                            self.ask(cx, peer, put.clone(), Purpose::Store(id));
                        }
                    }
                    Some(_) => self.end(cx, id),
                    None => {}
                }
            }
            Work::Closest | Work::Refresh(_) | Work::Get(_) | Work::Provide { .. } | Work::Providers { .. } => {
                self.end(cx, id);
            }
        }
    }

    /// Takes a running or waiting query out; whom it has heard of may be forgotten then.
    fn take_query(&mut self, cx: &mut Cx<'_>, id: QueryId) -> Option<Query> {
        let mut query = self.queries.take(id)?;
        self.timers.clear(Timer::Query(id));
        let dropped = query.lookup.take_dropped();
        query.lookup.candidates().chain(dropped).for_each(|peer| cx.peers.release(peer));
        Some(query)
    }

    /// Forgets a query; returns what it was for.
    pub(super) fn drop_query(&mut self, cx: &mut Cx<'_>, id: QueryId) -> Option<(Bytes, Work)> {
        self.take_query(cx, id).map(|query| (query.key, query.work))
    }

    /// Ends a query with what it has.
    pub(super) fn end(&mut self, cx: &mut Cx<'_>, id: QueryId) {
        let Some(query) = self.take_query(cx, id) else { return };
        self.shed_orphans();
        let Query { key, lookup, work, .. } = query;
        let (asked, answered) = (lookup.asked(), lookup.answered());
        match work {
            Work::Closest => {
                let (peers, hops) = (lookup.closest().collect(), lookup.hops());
                self.raise(KadEvent::Closest { query: id, peers, asked, answered, hops });
            }
            Work::Refresh(Region::Own) => self.plan_refresh(cx),
            Work::Refresh(Region::Bucket | Region::OwnThrough(_)) => {}
            Work::Get(get) => {
                let value = get.best();
                if let Some(best) = get.into_best() {
                    self.correct(cx, &key, best, &lookup);
                }
                self.raise(KadEvent::Value { query: id, value, asked, answered });
            }
            Work::Put(store) => {
                self.announced(cx, Kind::Value, &key, lookup.closest().count(), store.acks);
                if store.tell {
                    self.raise(KadEvent::Put { query: id, acks: store.acks });
                }
            }
            Work::Provide { tell } => {
                let sent = self.tell_provider(cx, &key, &lookup);
                if tell {
                    self.raise(KadEvent::Provided { query: id, sent });
                }
            }
            Work::Providers { found, .. } => {
                self.raise(KadEvent::Providers { query: id, providers: found, last: true, asked, answered });
            }
        }
    }
}

/// Merges an answer's closer peers: each once, without this node and the one that answered, only the 2k nearest.
fn learn(cx: &mut Cx<'_>, lookup: &mut Lookup, by: Referrer, closer: &[KadPeer]) {
    let own = cx.local.id;
    let answerer = cx.peers.id(by.peer());
    let mut ids: Vec<_> = closer.iter().filter(|peer| peer.id != own && Some(peer.id) != answerer).collect();
    ids.sort_by(|a, b| a.id.cmp(&b.id).then(b.addrs.len().cmp(&a.addrs.len())));
    ids.dedup_by(|a, b| a.id == b.id);
    let limit = 2 * cx.config.kad.k;
    if ids.len() > limit {
        ids.sort_by_cached_key(|peer| Position::of(peer.id.as_bytes()).distance(lookup.target()));
        ids.truncate(limit);
    }
    for KadPeer { id, addrs, .. } in ids {
        let known = cx.peers.find(id);
        if let Some(known) = known.filter(|known| lookup.knows(*known)) {
            // A later answer may know better where the peer is; the peer itself, once connected, knows best.
            if !cx.peers.is_connected(known) {
                cx.peers.add_addrs(cx.config, known, addrs);
            }
            continue;
        }
        let distance = Position::of(id.as_bytes()).distance(lookup.target());
        if !lookup.wants(distance) {
            continue;
        }
        let peer = known.unwrap_or_else(|| cx.peers.intern(*id));
        if cx.peers.id(peer).is_some() {
            cx.peers.add_addrs(cx.config, peer, addrs);
            if lookup.insert(peer, distance, by) {
                cx.peers.pin(peer);
            }
        }
    }
}

/// Takes over an answer's providers, without this node, as far as more are wanted; returns the new ones.
fn new_providers(cx: &mut Cx<'_>, found: &mut Vec<PeerIx>, wanted: usize, providers: &[KadPeer]) -> Vec<PeerIx> {
    let before = found.len();
    for KadPeer { id, addrs, .. } in providers.iter().take(MAX_FOUND) {
        if *id == cx.local.id || found.len() >= wanted {
            continue;
        }
        let peer = cx.peers.intern(*id);
        if cx.peers.id(peer).is_some() {
            cx.peers.add_addrs(cx.config, peer, addrs);
            if !found.contains(&peer) {
                found.push(peer);
            }
        }
    }
    found.get(before..).unwrap_or_default().to_vec()
}
