//! Own releases, one order at a time: its statements and the head after them are signed together, stored in one commit,
//! and only then announced. Until the commit is answered nothing signed has left the node, so a crash leaves either
//! nothing or the whole order.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use bytes::Bytes;

use crate::action::{SigningKey, Write};
use crate::catalog::admit::{Commit, Origin};
use crate::catalog::announcement::Announcement;
use crate::catalog::envelope::{Domain, Envelope, SIGNATURE_LEN, signing_input};
use crate::catalog::head::{Head, MAX_HEAD_TTL};
use crate::catalog::inception;
use crate::catalog::log::{Entry, Log};
use crate::catalog::quotas::Standing;
use crate::catalog::record::{HeadRecord, LogHead};
use crate::catalog::release::{NewRelease, ReleaseInfo};
use crate::catalog::statement::{MAX_STATEMENT, Says, Statement};
use crate::catalog::{Catalog, CatalogEvent, LocalPublisher};
use crate::command::CommandError;
use crate::cx::Cx;
use crate::event::{BatchOutcome, OpError, Refusal};
use crate::id::{Digest, JobId, OpId, Owner, PublisherId};
use crate::time::{Duration, Instant, UnixTime};

/// Own releases waiting for their turn, in small memory.
const MAX_QUEUED: usize = 4096;

/// Releases of one batch: they are encoded in one call and admitted in another, neither longer than a few milliseconds.
pub const MAX_BATCH: usize = 64;

/// A head that moved by batches is announced so long after the first of them, and once for all that came meanwhile.
const BATCH_ANNOUNCE: Duration = Duration::from_secs(5);

/// How often it is checked against the wall clock, which may be corrected, whether the head must be renewed.
const RENEWAL_CHECK: Duration = Duration::from_secs(24 * 3600);

/// Pause after a renewal that was not possible.
const RENEWAL_RETRY: Duration = Duration::from_secs(3600);

/// The publisher this node signs for.
#[derive(Debug)]
pub(super) struct Own {
    local: LocalPublisher,
    /// The first one is being made when there is a draft or a commit of it.
    queue: VecDeque<Order>,
    draft: Option<Draft>,
    /// The log is known to have been so long: signing on a shorter one would fork it.
    floor: u64,
    /// The store is the one in which the log began, or it was signed on in it: nothing is missing that this key has signed,
    /// unless there is a copy of the key.
    is_whole: bool,
    renew_at: Option<Instant>,
    announce_at: Option<Instant>,
}

/// What one command wants published.
#[derive(Debug)]
pub(crate) struct Order {
    pub(crate) op: OpId,
    pub(crate) wish: Wish,
}

#[derive(Debug)]
pub(crate) enum Wish {
    One(Box<Says>),
    /// Each release has an outcome of its own, and the head is announced later.
    Batch(Vec<NewRelease>),
}

impl Wish {
    fn len(&self) -> usize {
        match self {
            Self::One(_) => 1,
            Self::Batch(releases) => releases.len(),
        }
    }

    pub(crate) fn releases(&self) -> &[NewRelease] {
        match self {
            Self::One(says) => match &**says {
                Says::Release(new) => core::slice::from_ref(new),
                Says::Amendment(_) => &[],
            },
            Self::Batch(releases) => releases,
        }
    }
}

/// What is being signed.
#[derive(Debug)]
struct Draft {
    /// `None` renews the head alone.
    order: Option<Plan>,
    statements: Vec<Unsigned>,
    head: Head,
    head_body: Signing,
}

/// Whom a draft's statements are for.
#[derive(Debug)]
struct Plan {
    op: OpId,
    /// Of a batch: what is clear already, in the order of its releases; the others are being signed.
    outcomes: Option<Vec<Option<BatchOutcome>>>,
}

#[derive(Debug)]
struct Unsigned {
    body: Signing,
    digest: Digest,
    statement: Statement,
}

#[derive(Debug)]
struct Signing {
    body: Bytes,
    job: JobId,
    signature: Option<Bytes>,
}

impl Signing {
    fn start(cx: &mut Cx<'_>, domain: Domain, body: Bytes) -> Self {
        let job = cx.sign(Owner::Catalog, SigningKey::Publisher, signing_input(domain, &body));
        Self { body, job, signature: None }
    }

    fn envelope(self, key: u16) -> Bytes {
        let signatures = self.signature.into_iter().map(|signature| (key, signature)).collect();
        Envelope { body: self.body, signatures }.encode()
    }
}

impl Draft {
    fn is_signed(&self) -> bool {
        let mut parts = self.statements.iter().map(|statement| &statement.body).chain([&self.head_body]);
        parts.all(|part| part.signature.is_some())
    }
}

impl Own {
    /// `None` when the local publisher cannot sign alone or its inception is broken.
    pub(super) fn new(cx: &Cx<'_>) -> Option<Self> {
        let local = cx.local.publisher.clone()?;
        let (id, inception, _) = inception::open(&local.inception).ok()?;
        let has_key = inception.keys.len() > usize::from(local.key_index);
        (id == local.id && inception.threshold == 1 && has_key).then(|| Self {
            local,
            queue: VecDeque::new(),
            draft: None,
            floor: 0,
            is_whole: false,
            renew_at: None,
            announce_at: None,
        })
    }

    fn check_room(&self, more: usize) -> Result<(), CommandError> {
        let queued: usize = self.queue.iter().map(|order| order.wish.len()).sum();
        if queued.saturating_add(more) <= MAX_QUEUED { Ok(()) } else { Err(CommandError::Busy) }
    }

    fn check_fields(&self, network: &str, says: &Says) -> Result<(), CommandError> {
        says.validate()?;
        if self.size(network, says) > MAX_STATEMENT {
            let reason = alloc::format!("together longer than {MAX_STATEMENT} bytes");
            return Err(CommandError::Invalid { field: "release", reason });
        }
        Ok(())
    }

    /// The encoded size of a statement at the end of the longest log.
    fn size(&self, network: &str, says: &Says) -> usize {
        let (publisher, position, previous) = (self.local.id, u64::MAX, self.local.id.0);
        let end = Statement { publisher, position, previous, says: says.clone() };
        let signatures = vec![(self.local.key_index, Bytes::from_static(&[0; SIGNATURE_LEN]))];
        Envelope { body: end.to_body(network), signatures }.encode().len()
    }

    fn head(&self, cx: &Cx<'_>, previous: Option<&LogHead>, length: u64, tip: Digest, root: Digest) -> Head {
        let ttl = cx.config.catalog.head_ttl.clamp(Duration::from_secs(1), MAX_HEAD_TTL).as_secs();
        let later = previous.map_or(0, |head| head.time.as_secs().saturating_add(1));
        let time = UnixTime::from_secs(cx.unix.as_secs().max(later));
        let expiry = time + Duration::from_secs(ttl);
        Head { network: cx.config.network.clone(), publisher: self.local.id, length, tip, root, time, expiry }
    }
}

impl Catalog {
    /// Would `publish` take it? Checks every field, and that a version is new (queued publishes included). Whether there is
    /// something to amend shows when its turn has come.
    pub(crate) fn check_publish(&self, says: &Says) -> Result<(), CommandError> {
        let own = self.own.as_ref().ok_or(CommandError::NoPublisher)?;
        own.check_room(1)?;
        own.check_fields(&self.network, says)?;
        let Says::Release(new) = says else { return Ok(()) };
        let same = |other: &NewRelease| other.name == new.name && other.version.text == new.version.text;
        let queued = own.queue.iter().flat_map(|order| order.wish.releases()).any(same);
        if queued || self.packages.holds(own.local.id, new) { Err(CommandError::AlreadyPublished) } else { Ok(()) }
    }

    /// Would `publish` take a batch of so many? What each release is worth shows when its turn has come.
    pub(crate) fn check_batch(&self, releases: usize) -> Result<(), CommandError> {
        if !(1..=MAX_BATCH).contains(&releases) {
            let reason = alloc::format!("must be 1 to {MAX_BATCH}");
            return Err(CommandError::Invalid { field: "releases", reason });
        }
        self.own.as_ref().ok_or(CommandError::NoPublisher)?.check_room(releases)
    }

    /// Starts an order: sign its statements and the head, commit all, then `Announce` or `BatchDone`.
    pub(crate) fn publish(&mut self, cx: &mut Cx<'_>, order: Order) {
        match &mut self.own {
            Some(own) => own.queue.push_back(order),
            None => self.events.push_back(CatalogEvent::PublishFailed { op: order.op, error: OpError::Signing }),
        }
        self.publish_next(cx);
    }

    /// Begins the first order in the queue, when nothing else of the own log is under way.
    pub(super) fn publish_next(&mut self, cx: &mut Cx<'_>) {
        loop {
            let Some(own) = &self.own else { return };
            if self.busy.contains_key(&own.local.id) {
                return;
            }
            let Some(order) = own.queue.front() else { return };
            match self.prepare(own, order) {
                Ok((plan, says)) => return self.draft(cx, Some(plan), says),
                Err(over) => self.events.push_back(over),
            }
            self.finish_order();
        }
    }

    /// What is to be signed for an order; or how it ends without.
    fn prepare(&self, own: &Own, order: &Order) -> Result<(Plan, Vec<Says>), CatalogEvent> {
        let (op, id) = (order.op, own.local.id);
        let failed = |error| Err(CatalogEvent::PublishFailed { op, error });
        if self.is_forked(id) {
            return failed(OpError::Refused(Refusal::Forked));
        }
        if self.logs.get(&id).map_or(0, Log::len) < own.floor {
            return failed(OpError::Refused(Refusal::LogUnsynced));
        }
        match &order.wish {
            Wish::One(says) => {
                match &**says {
                    Says::Release(new) if self.packages.holds(id, new) => return failed(OpError::AlreadyPublished),
                    Says::Release(_) => {}
                    Says::Amendment(amendment) => {
                        let Some(release) = self.concerned(id, amendment) else { return failed(OpError::NotFound) };
                        if !self.packages.would_change(id, amendment, release.release.position) {
                            return Err(CatalogEvent::NothingToChange { op, release });
                        }
                    }
                }
                Ok((Plan { op, outcomes: None }, vec![Says::clone(says)]))
            }
            Wish::Batch(releases) => {
                let outcomes = self.sort_out(own, releases);
                let pending = releases.iter().zip(&outcomes).filter(|(_, outcome)| outcome.is_none());
                let says: Vec<_> = pending.map(|(new, _)| Says::Release(new.clone())).collect();
                if says.is_empty() {
                    let outcomes = outcomes.into_iter().flatten().collect();
                    return Err(CatalogEvent::BatchDone { op, outcomes });
                }
                Ok((Plan { op, outcomes: Some(outcomes) }, says))
            }
        }
    }

    /// What is clear of each release of a batch before anything is signed: `None` when it can be published.
    fn sort_out(&self, own: &Own, releases: &[NewRelease]) -> Vec<Option<BatchOutcome>> {
        let mut accepted: BTreeMap<_, &NewRelease> = BTreeMap::new();
        let mut outcomes = Vec::with_capacity(releases.len());
        for new in releases {
            let id = (&new.name, &new.version.text);
            let listed = self.packages.find(own.local.id, &new.name, &new.version.text);
            let held = listed.map(|listed| self.release(own.local.id, listed.position));
            let held = held.map(|held| held.is_some_and(|held| held.release.meta == *new));
            outcomes.push(match held.or_else(|| accepted.get(&id).map(|earlier| *earlier == new)) {
                Some(true) => Some(BatchOutcome::Unchanged),
                Some(false) => Some(BatchOutcome::Refused(CommandError::AlreadyPublished)),
                None => {
                    let says = Says::Release(new.clone());
                    own.check_fields(&self.network, &says).err().map(BatchOutcome::Refused)
                }
            });
            if let Some(None) = outcomes.last() {
                accepted.insert(id, new);
            }
        }
        outcomes
    }

    /// Sends statements and the head after them to be signed; without a plan, a fresh head of the same log.
    fn draft(&mut self, cx: &mut Cx<'_>, order: Option<Plan>, says: Vec<Says>) {
        let Some(own) = &mut self.own else { return };
        let log = self.logs.get(&own.local.id);
        let previous = log.map(|log| &log.head);
        let mut length = log.map_or(0, Log::len);
        let mut tip = log.map_or(own.local.id.0, Log::tip);
        let mut tree = log.map(Log::tree).cloned().unwrap_or_default();
        let statement = |says| {
            let statement = Statement { publisher: own.local.id, position: length, previous: tip, says };
            let body = Signing::start(cx, Domain::Statement, statement.to_body(&self.network));
            tip = Digest::of(&body.body);
            tree.push(&tip.0);
            length = length.saturating_add(1);
            Unsigned { body, digest: tip, statement }
        };
        let statements = says.into_iter().map(statement).collect();
        let head = own.head(cx, previous, length, tip, tree.root());
        let head_body = Signing::start(cx, Domain::Head, head.to_body());
        self.busy.entry(own.local.id).or_default();
        own.draft = Some(Draft { order, statements, head, head_body });
    }

    pub(crate) fn handle_signed(&mut self, cx: &mut Cx<'_>, job: JobId, signature: Option<Bytes>) {
        let Some(own) = &mut self.own else { return };
        let Some(draft) = &mut own.draft else { return };
        let parts = draft.statements.iter_mut().map(|statement| &mut statement.body);
        let Some(part) = parts.chain([&mut draft.head_body]).find(|part| part.job == job) else { return };
        part.signature = signature.filter(|signature| signature.len() == SIGNATURE_LEN);
        if part.signature.is_none() {
            return self.signing_failed(cx);
        }
        if draft.is_signed()
            && let Some(draft) = own.draft.take()
        {
            self.commit_draft(cx, draft);
        }
    }

    fn commit_draft(&mut self, cx: &mut Cx<'_>, draft: Draft) {
        let Some(own) = &self.own else { return };
        let key = own.local.key_index;
        let entry = |Unsigned { body, digest, statement }| Entry { envelope: body.envelope(key), digest, statement };
        let entries: Vec<_> = draft.statements.into_iter().map(entry).collect();
        let record = HeadRecord::encode(&own.local.inception, &draft.head_body.envelope(key));
        let Head { length, time, expiry, .. } = draft.head;
        let head = LogHead { record, length, time, expiry };
        let publisher = own.local.id;
        let origin = match draft.order {
            Some(Plan { op, outcomes }) => {
                self.events.push_back(CatalogEvent::Signed { op });
                match outcomes {
                    Some(outcomes) => Origin::Batch { op, outcomes },
                    None => Origin::Publish { op },
                }
            }
            None => Origin::Renewal,
        };
        self.commit(cx, Commit { publisher, standing: Standing::Kept, head, entries, origin });
    }

    fn signing_failed(&mut self, cx: &mut Cx<'_>) {
        let Some(own) = &mut self.own else { return };
        let publisher = own.local.id;
        match own.draft.take().and_then(|draft| draft.order) {
            Some(Plan { op, .. }) => {
                self.events.push_back(CatalogEvent::PublishFailed { op, error: OpError::Signing });
                self.finish_order();
            }
            None => self.retry_renewal(cx),
        }
        self.resume(cx, publisher);
    }

    /// The own log has grown elsewhere while an order was being signed: drop the draft, which nobody has seen. The order
    /// stays in the queue. False when nothing is being signed.
    pub(super) fn abandon_draft(&mut self, cx: &Cx<'_>, publisher: PublisherId) -> bool {
        let own = self.own.as_mut().filter(|own| own.local.id == publisher);
        let Some(draft) = own.and_then(|own| own.draft.take()) else { return false };
        if draft.order.is_none() {
            self.retry_renewal(cx);
        }
        true
    }

    /// The commit of a single statement is answered; what it is about, when it is durable.
    pub(super) fn finish_publish(&mut self, op: OpId, concerned: Option<Arc<ReleaseInfo>>) {
        let announced = concerned.zip(self.announcement());
        self.events.push_back(match announced {
            Some((release, announcement)) => CatalogEvent::Announce { op, release, announcement },
            None => CatalogEvent::PublishFailed { op, error: OpError::Storage },
        });
        if let Some(own) = &mut self.own {
            own.announce_at = None;
        }
        self.finish_order();
    }

    /// The commit of a batch is answered; its new entries begin at position `from`.
    pub(super) fn finish_batch(
        &mut self,
        cx: &Cx<'_>,
        op: OpId,
        outcomes: Vec<Option<BatchOutcome>>,
        from: Option<u64>,
    ) {
        self.events.push_back(match from {
            Some(from) => {
                let mut positions = from..;
                let known = |outcome: Option<BatchOutcome>| {
                    outcome.or_else(|| positions.next().map(|position| BatchOutcome::Published { position }))
                };
                CatalogEvent::BatchDone { op, outcomes: outcomes.into_iter().filter_map(known).collect() }
            }
            None => CatalogEvent::PublishFailed { op, error: OpError::Storage },
        });
        if let Some(own) = self.own.as_mut().filter(|_| from.is_some()) {
            own.announce_at.get_or_insert(cx.now + BATCH_ANNOUNCE);
        }
        self.finish_order();
    }

    fn finish_order(&mut self) {
        if let Some(own) = &mut self.own {
            own.queue.pop_front();
        }
    }

    /// What gossip is told of the own log: its head and its last statement. `None` when it is empty.
    pub(super) fn announcement(&self) -> Option<Bytes> {
        let log = self.logs.get(&self.own.as_ref()?.local.id)?;
        let statements = vec![log.entries().last()?.envelope.clone()];
        Some(Announcement { record: log.head.record.clone(), statements }.encode())
    }

    pub(super) fn is_own(&self, publisher: PublisherId) -> bool {
        self.own.as_ref().is_some_and(|own| own.local.id == publisher)
    }

    /// Can nothing be missing of the own log but what a copy of the key has signed? Not known in a store that was made after
    /// the key.
    pub(crate) fn has_whole_own_log(&self) -> bool {
        self.own.as_ref().is_some_and(|own| own.is_whole)
    }

    /// Is so much of the own log here as it is known to have? Of a store that may have lost all of it, nothing is known.
    pub(crate) fn has_own_log(&self) -> bool {
        self.own.as_ref().is_some_and(|own| {
            let log = self.logs.get(&own.local.id);
            (own.is_whole || log.is_some()) && log.map_or(0, Log::len) >= own.floor
        })
    }

    pub(super) fn own_is_whole(&mut self, publisher: PublisherId) {
        if let Some(own) = self.own.as_mut().filter(|own| own.local.id == publisher) {
            own.is_whole = true;
        }
    }

    /// What a commit of this origin says of the store.
    pub(super) fn origin_row(&self, origin: &Origin) -> Option<Write> {
        let signed = matches!(origin, Origin::Publish { .. } | Origin::Batch { .. });
        self.own.as_ref().filter(|own| signed && !own.is_whole).map(|own| own.local.origin())
    }

    /// The own log is known to have at least so many entries.
    pub(super) fn raise_floor(&mut self, publisher: PublisherId, length: u64) {
        if let Some(own) = self.own.as_mut().filter(|own| own.local.id == publisher) {
            own.floor = own.floor.max(length);
        }
    }

    /// Sets the own head's renewal, after it has changed.
    pub(super) fn schedule_renewal(&mut self, cx: &Cx<'_>, publisher: PublisherId) {
        let Some(own) = self.own.as_mut().filter(|own| own.local.id == publisher) else { return };
        let Some(log) = self.logs.get(&publisher) else { return };
        let wait = until_renewal(&log.head, cx.unix).clamp(Duration::from_secs(1), RENEWAL_CHECK);
        own.renew_at = Some(cx.now + wait);
    }

    pub(super) fn retry_renewal(&mut self, cx: &Cx<'_>) {
        if let Some(own) = &mut self.own {
            own.renew_at = Some(cx.now + RENEWAL_RETRY);
        }
    }

    /// Announces the head that batches have moved, and renews it before it expires.
    pub(crate) fn handle_timeout(&mut self, cx: &mut Cx<'_>) {
        if let Some(own) = self.own.as_mut().filter(|own| own.announce_at.is_some_and(|at| at <= cx.now)) {
            own.announce_at = None;
            self.tell_head();
        }
        self.renew(cx);
    }

    /// The own head is another than the one last announced.
    pub(super) fn tell_head(&mut self) {
        if let Some(announcement) = self.announcement() {
            self.events.push_back(CatalogEvent::HeadMoved { announcement });
        }
    }

    fn renew(&mut self, cx: &mut Cx<'_>) {
        let Some(own) = &mut self.own else { return };
        if own.renew_at.is_none_or(|at| at > cx.now) {
            return;
        }
        own.renew_at = None;
        let publisher = own.local.id;
        let Some(log) = self.logs.get(&publisher) else { return };
        let possible = log.is_complete() && log.conflict.is_none() && log.len() >= own.floor;
        if !until_renewal(&log.head, cx.unix).is_zero() {
            self.schedule_renewal(cx, publisher);
        } else if possible && !self.busy.contains_key(&publisher) {
            self.draft(cx, None, Vec::new());
        } else {
            self.retry_renewal(cx);
        }
    }

    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let own = self.own.as_ref()?;
        own.renew_at.into_iter().chain(own.announce_at).min()
    }
}

/// A head is renewed when a third of its life is left.
fn until_renewal(head: &LogHead, now: UnixTime) -> Duration {
    let life = head.expiry.as_micros().saturating_sub(head.time.as_micros());
    let due = head.expiry.as_micros().saturating_sub(life / 3);
    Duration::from_micros(due.saturating_sub(now.as_micros()))
}
