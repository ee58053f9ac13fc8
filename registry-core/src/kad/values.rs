//! Reading and writing values: quorum, selection, entry correction (K18 to K21).

use alloc::vec::Vec;

use bytes::Bytes;

use crate::action::SignatureCheck;
use crate::cx::Cx;
use crate::id::{JobId, Owner, PeerIx};
use crate::kad::announce::Kind;
use crate::kad::lookup::Lookup;
use crate::kad::query::Work;
use crate::kad::records::Stored;
use crate::kad::request::Purpose;
use crate::kad::server::InboundPut;
use crate::kad::validator::{Rank, Valid, validate};
use crate::kad::{BROKEN_RULE, Kad, KadEvent, QueryId, Timer, message};
use crate::peers::Offence;
use crate::time::{Duration, Instant};
use crate::wire::kad::{KadKind, KadMessage, Record};

/// Different values of one lookup whose signatures may be checked at once. More can only come from liars.
const MAX_PENDING: usize = 8;

/// A check the shell has not answered by then is given up.
const JOB_DEADLINE: Duration = Duration::from_secs(30);

/// The longest life of a value (K25).
const MAX_TTL: Duration = Duration::from_secs(48 * 3600);

/// What a signature check decides.
#[derive(Debug)]
pub(super) enum Job {
    /// A peer's PUT_VALUE.
    Inbound(InboundPut),
    /// A value of this node itself.
    Put { query: QueryId, put: Put },
    /// A value found by a lookup.
    Found { query: QueryId },
}

impl Job {
    pub(super) fn query(&self) -> Option<QueryId> {
        match self {
            Self::Inbound(_) => None,
            Self::Put { query, .. } | Self::Found { query } => Some(*query),
        }
    }
}

/// A value to be stored by this node itself.
#[derive(Debug)]
pub(super) struct Put {
    pub(super) key: Bytes,
    pub(super) value: Bytes,
    pub(super) rank: Rank,
    pub(super) lifetime: Duration,
}

/// The values a lookup has found.
#[derive(Debug)]
pub(super) struct Get {
    quorum: usize,
    found: Vec<Found>,
}

#[derive(Debug)]
pub(super) struct Found {
    value: Bytes,
    rank: Rank,
    verdict: Verdict,
    /// The peers that gave it.
    givers: Vec<PeerIx>,
    /// This node has it too.
    here: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Verdict {
    Pending(JobId),
    Valid,
    Invalid,
}

impl Get {
    /// `local` is what this node has: it counts as one copy.
    pub(super) fn new(quorum: usize, local: Option<(Bytes, Rank)>) -> Self {
        let here = |(value, rank)| Found { value, rank, verdict: Verdict::Valid, givers: Vec::new(), here: true };
        Self { quorum, found: local.map(here).into_iter().collect() }
    }

    /// Enough valid copies, and nothing that may be better waits for its signatures.
    pub(super) fn has_quorum(&self) -> bool {
        let copies: usize = self.valid().map(|found| found.givers.len() + usize::from(found.here)).sum();
        copies >= self.quorum && !self.is_pending()
    }

    pub(super) fn is_pending(&self) -> bool {
        self.pending() > 0
    }

    pub(super) fn best(&self) -> Option<Bytes> {
        self.valid().max_by_key(|found| found.best()).map(|found| found.value.clone())
    }

    pub(super) fn into_best(self) -> Option<Found> {
        let valid = self.found.into_iter().filter(|found| found.verdict == Verdict::Valid);
        valid.max_by(|a, b| a.best().cmp(&b.best()))
    }

    fn pending(&self) -> usize {
        self.found.iter().filter(|found| matches!(found.verdict, Verdict::Pending(_))).count()
    }

    fn valid(&self) -> impl Iterator<Item = &Found> {
        self.found.iter().filter(|found| found.verdict == Verdict::Valid)
    }
}

impl Found {
    fn best(&self) -> (Rank, &[u8]) {
        (self.rank, &self.value)
    }
}

/// A put on its way to the closest servers.
#[derive(Debug)]
pub(super) struct Store {
    value: Bytes,
    /// The first announcement, which somebody waits for.
    pub(super) tell: bool,
    started: bool,
    open: u32,
    pub(super) acks: u32,
}

impl Store {
    pub(super) fn new(value: Bytes, tell: bool) -> Self {
        Self { value, tell, started: false, open: 0, acks: 0 }
    }

    /// What to send to that many servers; `None` when it was sent already.
    pub(super) fn start(&mut self, key: &Bytes, servers: usize) -> Option<KadMessage> {
        if core::mem::replace(&mut self.started, true) {
            return None;
        }
        self.open = u32::try_from(servers).unwrap_or(u32::MAX);
        Some(put_message(key, &self.value))
    }

    /// An acknowledgement repeats the record, or at least the key (js-, py- and rust-libp2p differ).
    pub(super) fn is_echo(&self, key: &Bytes, msg: &KadMessage) -> bool {
        match &msg.record {
            Some(record) => record.key == *key && record.value == self.value,
            None => msg.key == *key,
        }
    }
}

impl Kad {
    /// Keeps a valid value of this node itself and brings it to the closest servers.
    pub(super) fn store_own(&mut self, cx: &mut Cx<'_>, query: QueryId, put: Put) {
        let Put { key, value, rank, lifetime } = put;
        let kept = self.keep(cx, &key, &value, rank, lifetime, None);
        if kept {
            self.announcements.add(Kind::Value, key.clone());
            self.begin(cx, query, key, Work::Put(Store::new(value, true)));
        } else {
            self.raise(KadEvent::Put { query, acks: 0 });
        }
    }

    /// Keeps a valid value unless a better one is here or there is no room.
    pub(super) fn keep(
        &mut self,
        cx: &mut Cx<'_>,
        key: &Bytes,
        value: &Bytes,
        rank: Rank,
        lifetime: Duration,
        source: Option<PeerIx>,
    ) -> bool {
        let expires = expiry(cx, lifetime);
        let new = Stored { key: key.clone(), value: value.clone(), rank, expires, source };
        let kept = self.records.insert(cx.now, cx.config.kad.max_records, new).is_ok();
        if kept {
            self.arm_sweep(cx);
        }
        kept
    }

    pub(super) fn acknowledged(&mut self, cx: &mut Cx<'_>, id: QueryId, ok: bool) {
        let Some(store) = self.queries.store_mut(id) else { return };
        store.open = store.open.saturating_sub(1);
        store.acks += u32::from(ok);
        if store.open == 0 {
            self.end(cx, id);
        }
    }

    /// A server's answer to GET_VALUE.
    pub(super) fn value_answered(&mut self, cx: &mut Cx<'_>, id: QueryId, peer: PeerIx, record: Option<&Record>) {
        let Some(record) = record else { return };
        let Some((key, get)) = self.queries.get_mut(id) else { return };
        match get.found.iter_mut().find(|found| found.value == record.value) {
            _ if record.key != *key => cx.charge(peer, BROKEN_RULE),
            Some(known) if known.verdict == Verdict::Invalid => cx.charge(peer, BROKEN_RULE),
            Some(known) => known.givers.push(peer),
            None => self.value_found(cx, id, peer, &record.value),
        }
        self.end_on_quorum(cx, id);
    }

    /// A value the lookup has not met yet. Only what could win is verified: anything else is a copy to be corrected.
    fn value_found(&mut self, cx: &mut Cx<'_>, id: QueryId, peer: PeerIx, value: &Bytes) {
        let Some((key, get)) = self.queries.get_mut(id) else { return };
        // Expired meanwhile, or of a newer format: of no use, and no offence.
        let Ok(Valid { rank, checks, .. }) = validate(&cx.config.kad, cx.unix, key, value) else { return };
        let beaten = get.valid().any(|found| found.best() > (rank, &value[..]));
        if beaten || get.pending() >= MAX_PENDING {
            return;
        }
        let verdict = if checks.is_empty() {
            Verdict::Valid
        } else {
            Verdict::Pending(self.verify(cx, checks, Job::Found { query: id }))
        };
        let found = Found { value: value.clone(), rank, verdict, givers: [peer].into(), here: false };
        if let Some((_, get)) = self.queries.get_mut(id) {
            get.found.push(found);
        }
    }

    pub(super) fn verify(&mut self, cx: &mut Cx<'_>, checks: Vec<SignatureCheck>, job: Job) -> JobId {
        let id = cx.verify(Owner::Kad, checks);
        self.timers.set(Timer::Job(id), cx.now + JOB_DEADLINE);
        self.jobs.insert(id, job);
        id
    }

    /// The signatures hold or not; `None` when nobody said so in time.
    pub(super) fn judged(&mut self, cx: &mut Cx<'_>, id: JobId, verdict: Option<bool>) {
        match (self.jobs.remove(&id), verdict) {
            (Some(Job::Inbound(put)), Some(ok)) => self.finish_inbound(cx, put, ok),
            (Some(Job::Inbound(put)), None) => cx.respond(put.token, None),
            (Some(Job::Put { query, put }), Some(true)) => self.store_own(cx, query, put),
            (Some(Job::Put { query, .. }), Some(false) | None) => self.raise(KadEvent::Put { query, acks: 0 }),
            (Some(Job::Found { query }), verdict) => self.judge_found(cx, query, id, verdict),
            (None, _) => {}
        }
    }

    /// A value found by a lookup is verified, or is not what it says; or nobody has said so in time, and it must be
    /// checked again when another peer gives it.
    fn judge_found(&mut self, cx: &mut Cx<'_>, id: QueryId, job: JobId, verdict: Option<bool>) {
        let Some((_, get)) = self.queries.get_mut(id) else { return };
        let mut judged = get.found.iter_mut().filter(|found| found.verdict == Verdict::Pending(job));
        match (judged.next(), verdict) {
            (Some(found), Some(true)) => found.verdict = Verdict::Valid,
            (Some(found), Some(false)) => {
                found.verdict = Verdict::Invalid;
                for giver in core::mem::take(&mut found.givers) {
                    cx.charge(giver, Offence::BadSignature);
                }
            }
            (Some(_), None) => get.found.retain(|found| found.verdict != Verdict::Pending(job)),
            (None, _) => return,
        }
        self.end_on_quorum(cx, id);
        self.advance(cx, id);
    }

    fn end_on_quorum(&mut self, cx: &mut Cx<'_>, id: QueryId) {
        if self.queries.get_mut(id).is_some_and(|(_, get)| get.has_quorum()) {
            self.end(cx, id);
        }
    }

    /// Brings the best value to those of the closest that gave none or another one, and to this node if it has an
    /// older one (K21).
    pub(super) fn correct(&mut self, cx: &mut Cx<'_>, key: &Bytes, best: Found, lookup: &Lookup) {
        if self.records.get(cx.now, key).is_some_and(|stored| stored.best() < best.best()) {
            let lifetime = validate(&cx.config.kad, cx.unix, key, &best.value).map_or(Duration::ZERO, |v| v.lifetime);
            let source = best.givers.first().copied();
            self.keep(cx, key, &best.value, best.rank, lifetime, source);
        }
        let outdated: Vec<_> = lookup.closest().filter(|peer| !best.givers.contains(peer)).collect();
        for peer in outdated {
            self.ask(cx, peer, put_message(key, &best.value), Purpose::Touch);
        }
    }
}

pub(super) fn put_message(key: &Bytes, value: &Bytes) -> KadMessage {
    let record = Record { key: key.clone(), value: value.clone() };
    KadMessage { record: Some(record), ..message(KadKind::PutValue, key.clone()) }
}

/// No value lives longer than the own maximum, whatever it says.
pub(super) fn expiry(cx: &Cx<'_>, lifetime: Duration) -> Instant {
    cx.now + cx.config.kad.record_ttl.min(MAX_TTL).min(lifetime)
}
