//! Kademlia (libp2p kad-dht r2 and the IPFS kad-dht specification).
//!
//! | file | what it holds |
//! |---|---|
//! | `position` | the key space and its metric |
//! | `table` | k-buckets with seniority |
//! | `lookup` | the iterative lookup, pure |
//! | `query` | running lookups and what each is for |
//! | `request`, `pace` | requests in flight, when one is slow, and when it is made again |
//! | `values` | reading and writing values: quorum, selection, entry correction |
//! | `server` | answers to peers |
//! | `validator`, `ipns` | which values are valid, which is better |
//! | `records`, `providers` | what is kept for others, within quotas |
//! | `announce` | what this node itself announces again and again |
//! | `refresh` | keeping the table full and alive |
//!
//! Every deadline lies in one index. `Action::SetServerMode` is emitted once, at birth.

mod announce;
mod ipns;
mod lookup;
mod pace;
mod position;
mod providers;
mod query;
mod records;
mod refresh;
mod request;
mod server;
mod table;
#[cfg(test)]
mod tests;
mod validator;
mod values;

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;

use bytes::Bytes;

use crate::action::Action;
use crate::collections::DeadlineIndex;
use crate::config::KadConfig;
use crate::cx::Cx;
use crate::id::{JobId, PeerIx, RequestId};
use crate::input::RequestError;
use crate::peers::Offence;
use crate::time::{Duration, Instant, UnixTime};
use crate::wire::Protocol;
use crate::wire::kad::{KadKind, KadMessage};

use announce::{Announcements, Kind};
use position::Position;
use providers::Providers;
use query::{Queries, Work};
use records::Records;
use refresh::{EMPTY_STEP, Refresh};
use request::Requests;
use server::{Server, is_tellable};
pub(crate) use table::Entry;
use table::{Admission, Table};
use validator::{Namespace, Valid};
use values::{Get, Job, Put};

/// What a peer is charged for a DHT message that no honest peer sends.
const BROKEN_RULE: Offence = Offence::Protocol(Protocol::Kad);

/// Expired records are dropped this often; until then they are neither served nor counted as known.
const SWEEP_INTERVAL: Duration = Duration::from_secs(3600);

/// Providers one lookup may bring.
const MAX_FOUND: usize = 256;

/// A running lookup or record operation.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct QueryId(pub(crate) u64);

/// What Kademlia raises for its siblings.
#[derive(Clone, Debug)]
pub(crate) enum KadEvent {
    /// Further providers; with `last`, all that the query found, and it is over. `asked` and `answered` count peers.
    Providers { query: QueryId, providers: Vec<PeerIx>, last: bool, asked: u32, answered: u32 },
    /// The best valid value found, if any.
    Value { query: QueryId, value: Option<Bytes>, asked: u32, answered: u32 },
    /// A put is over: so many servers acknowledged the value.
    Put { query: QueryId, acks: u32 },
    /// A provide's first announcement is over.
    Provided { query: QueryId, sent: u32 },
    /// A lookup is over: the closest servers that answered, closest first.
    Closest { query: QueryId, peers: Vec<PeerIx>, asked: u32, answered: u32, hops: u32 },
    /// A valid head record was stored here by a peer (a hint for whoever follows that publisher).
    RecordSeen { value: Bytes },
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Timer {
    Request(RequestId),
    Query(QueryId),
    Job(JobId),
    Announce(u64),
    Refresh,
    RefreshStep,
    Liveness,
    Doubted,
    Sweep,
}

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Kad {
    table: Table,
    queries: Queries,
    requests: Requests,
    jobs: BTreeMap<JobId, Job>,
    records: Records,
    providers: Providers,
    announcements: Announcements,
    refresh: Refresh,
    server: Server,
    timers: DeadlineIndex<Timer>,
    events: VecDeque<KadEvent>,
}

impl Kad {
    /// Tells the shell whether to advertise the DHT.
    pub(crate) fn new(cx: &mut Cx<'_>) -> Self {
        cx.out.push(Action::SetServerMode(cx.config.kad.server));
        let local = Position::of(cx.local.id.as_bytes());
        let mut secret = [0; 32];
        cx.rng.fill(&mut secret);
        Self {
            table: Table::new(local, cx.config.kad.k),
            queries: Queries::default(),
            requests: Requests::default(),
            jobs: BTreeMap::new(),
            records: Records::new(local),
            providers: Providers::new(secret),
            announcements: Announcements::default(),
            refresh: Refresh::default(),
            server: Server::default(),
            timers: DeadlineIndex::default(),
            events: VecDeque::new(),
        }
    }

    /// Looks up the closest servers to `key` (any bytes).
    pub(crate) fn find_closest(&mut self, cx: &mut Cx<'_>, key: Bytes) -> QueryId {
        let query = self.queries.new_id();
        self.begin(cx, query, key, Work::Closest);
        query
    }

    /// Looks up a value; ends in `Value`. A key of an unknown namespace ends at once with none.
    pub(crate) fn get_value(&mut self, cx: &mut Cx<'_>, key: Bytes) -> QueryId {
        let query = self.queries.new_id();
        match Namespace::of(&cx.config.kad, &key) {
            Some((namespace, _)) => {
                let local = self.records.get(cx.now, &key).map(|stored| (stored.value.clone(), stored.rank));
                let get = Get::new(namespace.quorum(), local);
                if get.has_quorum() {
                    self.raise(KadEvent::Value { query, value: get.best(), asked: 0, answered: 0 });
                } else {
                    self.begin(cx, query, key, Work::Get(get));
                }
            }
            None => self.raise(KadEvent::Value { query, value: None, asked: 0, answered: 0 }),
        }
        query
    }

    /// Stores a value here and at the closest servers, again at each republish; ends in `Put`. A value that is not
    /// valid, or older than the one here, ends at once without being stored.
    pub(crate) fn put_value(&mut self, cx: &mut Cx<'_>, key: Bytes, value: Bytes) -> QueryId {
        let query = self.queries.new_id();
        match validator::validate(&cx.config.kad, cx.unix, &key, &value) {
            Ok(Valid { rank, checks, lifetime }) => {
                let put = Put { key, value, rank, lifetime };
                if checks.is_empty() {
                    self.store_own(cx, query, put);
                } else {
                    self.verify(cx, checks, Job::Put { query, put });
                }
            }
            Err(_) => self.raise(KadEvent::Put { query, acks: 0 }),
        }
        query
    }

    /// Checks a put's arguments: known namespace, structurally valid value, sizes.
    pub(crate) fn check_put(config: &KadConfig, unix: UnixTime, key: &[u8], value: &Bytes) -> Result<(), &'static str> {
        validator::validate(config, unix, key, value).map(|_| ())
    }

    /// Announces this node as provider of a multihash, again at each republish; ends in `Provided`.
    pub(crate) fn provide(&mut self, cx: &mut Cx<'_>, key: Bytes) -> QueryId {
        let query = self.queries.new_id();
        if (1..=providers::MAX_KEY).contains(&key.len()) {
            self.announcements.add(Kind::Provider, key.clone());
            self.begin(cx, query, key, Work::Provide { tell: true });
        } else {
            self.raise(KadEvent::Provided { query, sent: 0 });
        }
        query
    }

    /// From now on this node neither says that it provides the key nor announces it. Records at other servers live on
    /// until they expire: the protocol has no way to withdraw them.
    pub(crate) fn stop_providing(&mut self, cx: &mut Cx<'_>, key: &[u8]) {
        if let Some(number) = self.announcements.remove(Kind::Provider, key) {
            self.timers.clear(Timer::Announce(number));
        }
        for query in self.queries.providing(key) {
            self.end(cx, query);
        }
        self.start_waiting(cx);
    }

    /// Looks up providers; ends in a last `Providers`, early when `count` (at most 256) are known. This node itself is
    /// not among them.
    pub(crate) fn find_providers(&mut self, cx: &mut Cx<'_>, key: Bytes, count: usize) -> QueryId {
        let query = self.queries.new_id();
        let wanted = count.clamp(1, MAX_FOUND);
        let mut providers = self.providers.get(cx.now, Position::of(&key));
        providers.truncate(wanted);
        if providers.len() >= wanted {
            self.raise(KadEvent::Providers { query, providers, last: true, asked: 0, answered: 0 });
            return query;
        }
        if !providers.is_empty() {
            let providers = providers.clone();
            self.raise(KadEvent::Providers { query, providers, last: false, asked: 0, answered: 0 });
        }
        self.begin(cx, query, key, Work::Providers { found: providers, wanted });
        query
    }

    /// Ends a query without an event. What it was to announce is not announced again later.
    pub(crate) fn cancel(&mut self, cx: &mut Cx<'_>, query: QueryId) {
        let timers = &mut self.timers;
        self.jobs.retain(|id, job| {
            let keep = job.query() != Some(query);
            if !keep {
                timers.clear(Timer::Job(*id));
            }
            keep
        });
        if let Some((key, work)) = self.drop_query(cx, query) {
            let announced = match work {
                Work::Put(_) => self.announcements.remove(Kind::Value, &key),
                Work::Provide { tell: true } => self.announcements.remove(Kind::Provider, &key),
                Work::Closest
                | Work::Refresh(_)
                | Work::Get(_)
                | Work::Provide { tell: false }
                | Work::Providers { .. } => None,
            };
            if let Some(number) = announced {
                self.timers.clear(Timer::Announce(number));
            }
        }
        self.start_waiting(cx);
    }

    /// A connected peer serves the DHT, or no longer.
    pub(crate) fn handle_server(&mut self, cx: &mut Cx<'_>, peer: PeerIx, serves: bool) {
        if serves {
            self.offer(cx, peer);
        } else {
            self.drop_entry(cx, peer);
        }
    }

    /// The peer stays in the table: it can be dialled.
    pub(crate) fn handle_peer_down(&mut self, _cx: &mut Cx<'_>, peer: PeerIx) {
        self.server.forget(peer);
        self.refresh.believe(peer);
    }

    /// The peer is banned: forget it everywhere.
    pub(crate) fn handle_peer_banned(&mut self, cx: &mut Cx<'_>, peer: PeerIx) {
        self.server.forget(peer);
        self.providers.remove_source(cx.peers, peer);
        self.drop_entry(cx, peer);
    }

    pub(crate) fn handle_response(&mut self, cx: &mut Cx<'_>, id: RequestId, msg: &KadMessage) {
        let Some(sent) = self.requests.take(id) else { return };
        self.timers.clear(Timer::Request(id));
        if msg.kind == sent.kind {
            self.alive(cx, sent.peer);
            self.answered(cx, &sent, msg);
        } else {
            cx.charge(sent.peer, BROKEN_RULE);
            self.doubt(cx, sent.peer);
            self.unanswered(cx, &sent);
        }
        self.start_waiting(cx);
    }

    pub(crate) fn handle_request_failed(&mut self, cx: &mut Cx<'_>, id: RequestId, why: RequestError) {
        if why == RequestError::Disconnected && self.retry_lost(cx, id) {
            return;
        }
        let Some(sent) = self.requests.take(id) else { return };
        self.timers.clear(Timer::Request(id));
        match why {
            RequestError::Unsupported => self.drop_entry(cx, sent.peer),
            // This node's own queue was full: nothing is known of the peer.
            RequestError::Overloaded => {}
            RequestError::Disconnected
            | RequestError::Reset
            | RequestError::Timeout
            | RequestError::Malformed
            | RequestError::Unreachable => self.doubt(cx, sent.peer),
        }
        self.unanswered(cx, &sent);
        self.start_waiting(cx);
    }

    pub(crate) fn handle_verified(&mut self, cx: &mut Cx<'_>, job: JobId, ok: bool) {
        self.timers.clear(Timer::Job(job));
        self.judged(cx, job, Some(ok));
        self.start_waiting(cx);
    }

    pub(crate) fn handle_timeout(&mut self, cx: &mut Cx<'_>) {
        while let Some(timer) = self.timers.pop_due(cx.now) {
            match timer {
                Timer::Request(id) => self.handle_overdue(cx, id),
                Timer::Query(query) => self.end(cx, query),
                Timer::Job(job) => self.judged(cx, job, None),
                Timer::Announce(number) => self.announce_again(cx, number),
                Timer::Refresh => self.start_refresh(cx),
                Timer::RefreshStep => self.step_refresh(cx),
                Timer::Liveness => self.check_liveness(cx),
                Timer::Doubted => self.check_doubted(cx),
                Timer::Sweep => self.sweep(cx),
            }
        }
        self.start_waiting(cx);
    }

    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.timers.next()
    }

    pub(crate) fn poll_event(&mut self) -> Option<KadEvent> {
        self.events.pop_front()
    }

    /// Does something here wait for the peer's answer? (Such connections are not trimmed.)
    pub(crate) fn in_use(&self, peer: PeerIx) -> bool {
        self.requests.await_answer_of(peer)
    }

    /// Requests sent since the start.
    pub(crate) fn requests_sent(&self) -> u64 {
        self.requests.sent
    }

    /// For checkers.
    pub(crate) fn table(&self) -> &Table {
        &self.table
    }

    /// For checkers: the peers this node names as providers of something.
    pub(crate) fn providers_named(&self, now: Instant) -> impl Iterator<Item = PeerIx> + '_ {
        self.providers.sources(now)
    }

    /// Servers in the routing table.
    pub(crate) fn table_len(&self) -> usize {
        self.table.len()
    }

    /// Panics when a table is over its bound or contradicts itself.
    pub(crate) fn assert_bounds(&self, config: &KadConfig) {
        self.table.assert_consistent();
        self.providers.assert_consistent(config);
        self.records.assert_consistent(config);
        self.queries.assert_bounds(&self.requests, config);
    }

    fn raise(&mut self, event: KadEvent) {
        self.events.push_back(event);
    }

    /// Takes a connected server into the table, if there is room for it. A peer without an address that others could
    /// dial is no use there (K8).
    fn offer(&mut self, cx: &mut Cx<'_>, peer: PeerIx) {
        let Some(id) = cx.peers.id(peer) else { return };
        if !cx.peers.protocols(peer).kad || !is_tellable(cx, peer) || cx.peers.is_banned(cx.now, peer) {
            return;
        }
        let (now, peers) = (cx.now, &cx.peers);
        let evicts = planted!(cx.config, KadEvictsLive);
        let gone = |other| evicts || !peers.is_reachable(now, other);
        match self.table.admit(now, peer, Position::of(id.as_bytes()), gone) {
            Admission::Added => cx.peers.pin(peer),
            Admission::Replaced(old) => {
                cx.peers.release(old);
                cx.peers.pin(peer);
            }
            Admission::Known => {
                self.table.touch(now, peer);
                return;
            }
            Admission::Refused => return,
        }
        self.join(cx);
    }

    /// The peer gave a sign of life. One that fell out of the table may come back.
    fn alive(&mut self, cx: &mut Cx<'_>, peer: PeerIx) {
        self.refresh.believe(peer);
        if !self.table.touch(cx.now, peer) {
            self.offer(cx, peer);
        }
    }

    /// A request to the peer failed. A node without any connection learns nothing of others.
    fn doubt(&mut self, cx: &mut Cx<'_>, peer: PeerIx) {
        let online = cx.peers.connected().next().is_some();
        if online && self.table.fail(peer) {
            self.drop_entry(cx, peer);
            self.note_doubted(cx, peer);
        }
    }

    /// Removes a peer from the table; a connected server may take the free place.
    fn drop_entry(&mut self, cx: &mut Cx<'_>, peer: PeerIx) {
        self.refresh.believe(peer);
        let Some(bucket) = self.table.remove(peer) else { return };
        cx.peers.release(peer);
        if self.table.is_empty() {
            self.refresh.joined = false;
            self.timers.set(Timer::Refresh, cx.now + cx.rng.jitter(EMPTY_STEP));
        }
        let spare = cx.peers.connected().filter(|other| *other != peer && !self.table.contains(*other));
        let fits = |other: &PeerIx| {
            let position = cx.peers.id(*other).map(|id| Position::of(id.as_bytes()));
            position.is_some_and(|position| self.table.local().distance(position).common_prefix() == bucket)
        };
        let is_trusted = |other: &PeerIx| cx.peers.protocols(*other).kad && !self.refresh.is_doubted(*other);
        let successor = spare.filter(is_trusted).find(fits);
        if let Some(successor) = successor {
            self.offer(cx, successor);
        }
    }

    fn sweep(&mut self, cx: &mut Cx<'_>) {
        self.records.expire(cx.now);
        self.providers.expire(cx.peers, cx.now);
        if !(self.records.is_empty() && self.providers.is_empty()) {
            self.timers.set(Timer::Sweep, cx.now + cx.rng.jitter(SWEEP_INTERVAL));
        }
    }

    fn arm_sweep(&mut self, cx: &mut Cx<'_>) {
        if self.timers.get(Timer::Sweep).is_none() {
            self.timers.set(Timer::Sweep, cx.now + cx.rng.jitter(SWEEP_INTERVAL));
        }
    }
}

fn message(kind: KadKind, key: Bytes) -> KadMessage {
    KadMessage { kind, key, record: None, closer: Vec::new(), providers: Vec::new() }
}

/// A little earlier or later than `interval`, by at most a sixteenth, so that nodes do not act in step.
fn around(cx: &mut Cx<'_>, interval: Duration) -> Duration {
    (interval / 8 * 7 + cx.rng.jitter(interval / 8)).max(Duration::from_millis(1))
}
