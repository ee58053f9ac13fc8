//! Running queries: one lookup each, and what it is for. Requests in flight.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;

use bytes::Bytes;

use crate::config::KadConfig;
use crate::cx::Cx;
use crate::id::{Owner, PeerIx, RequestId};
use crate::kad::announce::Kind;
use crate::kad::lookup::{Breadth, Lookup, Referrer};
use crate::kad::pace::Pace;
use crate::kad::position::{Distance, Position};
use crate::kad::values::{Get, Store};
use crate::kad::{Kad, KadEvent, MAX_FOUND, QueryId, Timer, message};
use crate::time::{Duration, Instant};
use crate::wire::Message;
use crate::wire::kad::{KadKind, KadMessage, KadPeer};

/// Queries running at once; the rest waits its turn. So many times α dials fit into the peer book's queue.
const MAX_RUNNING: usize = 16;

/// Of these, refresh and republish may have so many.
const MAX_BACKGROUND: usize = 4;

/// Queries waiting. One more ends at once without result.
const MAX_WAITING: usize = 1024;

/// So long after a connection is lost, it is known to be, and what was asked over it is asked again.
pub(super) const SECOND_ATTEMPT: Duration = Duration::from_millis(10);

/// Requests in flight whose query is over, kept only to learn whether the peer is alive.
const MAX_ORPHANS: usize = 1024;

/// Entries of the table a lookup may fall back on, if there are as many: of fewer, all may be gone.
const MIN_SEEDS: usize = 20;

/// A connected peer that has not answered when answers usually have come, or at the latest after this part of the
/// request's time, is slow. Who must be dialled, for which a handshake's round trips come first, has twice as long.
const SLOW_DIVISOR: u32 = 3;

#[derive(Debug, Default)]
pub(super) struct Queries {
    next_id: u64,
    running: BTreeMap<QueryId, Query>,
    waiting: VecDeque<Waiting>,
    background: VecDeque<Waiting>,
    requests: BTreeMap<RequestId, Sent>,
    /// Requests sent since the start.
    pub(super) sent: u64,
    /// Of peers that were connected when asked.
    pace: Pace,
    /// Of peers that had to be dialled.
    dial_pace: Pace,
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

/// A request in flight.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    pub(super) peer: PeerIx,
    /// The answer must be of the same kind.
    pub(super) kind: KadKind,
    purpose: Purpose,
    at: Instant,
    /// The peer had to be dialled first.
    dialled: bool,
    slow: bool,
    attempt: Attempt,
}

/// A peer may close a connection that it has too many of while it is asked over it: the question is asked once more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Attempt {
    First,
    /// The connection was lost, the second attempt is due soon.
    Lost,
    Second,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Purpose {
    Lookup(QueryId),
    Store(QueryId),
    /// Entry correction, liveness: the answer itself does not matter.
    Touch,
}

impl Sent {
    fn new(cx: &Cx<'_>, peer: PeerIx, kind: KadKind, purpose: Purpose) -> Self {
        let dialled = !cx.peers.is_connected(peer);
        Self { peer, kind, purpose, at: cx.now, dialled, slow: false, attempt: Attempt::First }
    }
}

impl Queries {
    pub(super) fn new_id(&mut self) -> QueryId {
        self.next_id += 1;
        QueryId(self.next_id)
    }

    /// Does a request wait for this peer's answer?
    pub(super) fn await_answer_of(&self, peer: PeerIx) -> bool {
        self.requests.values().any(|sent| sent.peer == peer)
    }

    pub(super) fn take_request(&mut self, id: RequestId) -> Option<Sent> {
        self.requests.remove(&id)
    }

    /// The connection a lookup's question went over is gone. True when the question will be asked again.
    pub(super) fn has_lost(&mut self, id: RequestId) -> bool {
        let Some(sent) = self.requests.get_mut(&id) else { return false };
        let again = sent.attempt == Attempt::First && matches!(sent.purpose, Purpose::Lookup(_));
        if again {
            sent.attempt = Attempt::Lost;
        }
        again
    }

    pub(super) fn get_mut(&mut self, id: QueryId) -> Option<(&Bytes, &mut Get)> {
        let query = self.running.get_mut(&id)?;
        match &mut query.work {
            Work::Get(get) => Some((&query.key, get)),
            Work::Closest | Work::Refresh(_) | Work::Put(_) | Work::Provide { .. } | Work::Providers { .. } => None,
        }
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

    #[cfg(test)]
    pub(super) fn open_requests(&self) -> usize {
        self.requests.len()
    }

    /// See `Kad::assert_bounds`.
    pub(super) fn assert_bounds(&self, config: &KadConfig) {
        assert!(self.running.len() <= MAX_RUNNING);
        assert!(self.waiting.len() <= MAX_WAITING && self.background.len() <= MAX_WAITING);
        for (id, query) in &self.running {
            let of_lookup = self.requests.values().filter(|sent| sent.purpose == Purpose::Lookup(*id));
            let (all, slow) = of_lookup.fold((0, 0), |(all, slow), sent| (all + 1, slow + usize::from(sent.slow)));
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

    /// Sends a request of its own, beside any lookup.
    pub(super) fn ask(&mut self, cx: &mut Cx<'_>, peer: PeerIx, msg: KadMessage, purpose: Purpose) {
        let kind = msg.kind;
        self.send(cx, msg.into(), Sent::new(cx, peer, kind, purpose));
    }

    fn send(&mut self, cx: &mut Cx<'_>, msg: Message, sent: Sent) {
        let Sent { peer, dialled, .. } = sent;
        let request = cx.request(Owner::Kad, peer, msg);
        self.queries.requests.insert(request, sent);
        self.queries.sent += 1;
        let part = cx.config.kad.request_timeout / SLOW_DIVISOR;
        let (pace, limit) = if dialled { (self.queries.dial_pace, 2 * part) } else { (self.queries.pace, part) };
        let patience = pace.patience(limit).unwrap_or(part);
        self.timers.set(Timer::Request(request), cx.now + patience.max(Duration::from_millis(1)));
    }

    /// Asks again what was asked over a connection that is gone, unless the lookup has ended or the peer is out of reach.
    fn ask_again(&mut self, cx: &mut Cx<'_>, lost: Sent) {
        let Purpose::Lookup(id) = lost.purpose else { return };
        let question = self.queries.running.get(&id).map(|query| query.question.clone());
        match question.filter(|_| cx.peers.is_reachable(cx.now, lost.peer)) {
            Some(question) => {
                let sent = Sent::new(cx, lost.peer, lost.kind, lost.purpose);
                self.send(cx, question, Sent { slow: lost.slow, attempt: Attempt::Second, ..sent });
            }
            None => {
                self.doubt(cx, lost.peer);
                self.unanswered(cx, &lost);
            }
        }
    }

    /// A request has waited: first it counts as slow, then as failed.
    pub(super) fn handle_overdue(&mut self, cx: &mut Cx<'_>, id: RequestId) {
        let Some(sent) = self.queries.requests.get_mut(&id) else { return };
        if sent.attempt == Attempt::Lost {
            let lost = *sent;
            self.queries.requests.remove(&id);
            return self.ask_again(cx, lost);
        }
        if sent.slow {
            let sent = *sent;
            self.queries.requests.remove(&id);
            self.doubt(cx, sent.peer);
            self.unanswered(cx, &sent);
            return;
        }
        sent.slow = true;
        let Sent { peer, purpose, at, .. } = *sent;
        let deadline = at + cx.config.kad.request_timeout;
        self.timers.set(Timer::Request(id), deadline.max(cx.now + Duration::from_millis(1)));
        if let Purpose::Lookup(query) = purpose
            && let Some(running) = self.queries.running.get_mut(&query)
        {
            running.lookup.slow(peer);
            self.advance(cx, query);
        }
    }

    pub(super) fn unanswered(&mut self, cx: &mut Cx<'_>, sent: &Sent) {
        match sent.purpose {
            Purpose::Lookup(id) => {
                if let Some(query) = self.queries.running.get_mut(&id) {
                    query.lookup.fail(sent.peer);
                    self.advance(cx, id);
                }
            }
            Purpose::Store(id) => self.acknowledged(cx, id, false),
            Purpose::Touch => {}
        }
    }

    pub(super) fn answered(&mut self, cx: &mut Cx<'_>, sent: &Sent, msg: &KadMessage) {
        let pace = if sent.dialled { &mut self.queries.dial_pace } else { &mut self.queries.pace };
        pace.sample(cx.now.since(sent.at));
        match sent.purpose {
            Purpose::Lookup(id) => self.lookup_answered(cx, id, sent.peer, msg),
            Purpose::Store(id) => {
                let ok = self.queries.running.get(&id).is_some_and(|query| match &query.work {
                    Work::Put(store) => store.is_echo(&query.key, msg),
                    Work::Closest | Work::Refresh(_) | Work::Get(_) | Work::Provide { .. } | Work::Providers { .. } => {
                        false
                    }
                });
                self.acknowledged(cx, id, ok);
            }
            Purpose::Touch => {}
        }
    }

    fn lookup_answered(&mut self, cx: &mut Cx<'_>, id: QueryId, peer: PeerIx, msg: &KadMessage) {
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

    fn shed_orphans(&mut self) {
        let queries = &mut self.queries;
        if queries.requests.len() <= MAX_ORPHANS {
            return;
        }
        let timers = &mut self.timers;
        queries.requests.retain(|id, sent| {
            let keep = match sent.purpose {
                Purpose::Lookup(query) | Purpose::Store(query) => queries.running.contains_key(&query),
                Purpose::Touch => true,
            };
            if !keep {
                timers.clear(Timer::Request(*id));
            }
            keep
        });
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
