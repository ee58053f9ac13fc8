//! Own releases, one at a time: statement and head are signed together, stored in one commit, and only then announced.
//! Until the commit is answered nothing signed has left the node, so a crash leaves either nothing or a whole entry.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use bytes::Bytes;

use crate::action::SigningKey;
use crate::catalog::admit::{Commit, Origin};
use crate::catalog::announcement::Announcement;
use crate::catalog::envelope::{Domain, Envelope, SIGNATURE_LEN, signing_input};
use crate::catalog::head::{Head, MAX_HEAD_TTL};
use crate::catalog::inception;
use crate::catalog::log::{Entry, Log};
use crate::catalog::record::{HeadRecord, LogHead};
use crate::catalog::release::{NewRelease, Release, ReleaseInfo};
use crate::catalog::statement::MAX_STATEMENT;
use crate::catalog::{Catalog, CatalogEvent, LocalPublisher};
use crate::command::CommandError;
use crate::cx::Cx;
use crate::event::{OpError, Refusal};
use crate::id::{Digest, JobId, OpId, Owner, PublisherId};
use crate::time::{Duration, Instant, UnixTime};

/// Own releases waiting for their turn: a large import, in small memory.
const MAX_QUEUED: usize = 4096;

/// How often it is checked against the wall clock, which may be corrected, whether the head must be renewed.
const RENEWAL_CHECK: Duration = Duration::from_secs(24 * 3600);

/// Pause after a renewal that was not possible.
const RENEWAL_RETRY: Duration = Duration::from_secs(3600);

/// The publisher this node signs for.
#[derive(Debug)]
pub(super) struct Own {
    local: LocalPublisher,
    /// The first one is being made when there is a draft or a commit of it.
    queue: VecDeque<(OpId, NewRelease)>,
    draft: Option<Draft>,
    /// The log is known to have been so long: signing on a shorter one would fork it.
    floor: u64,
    renew_at: Option<Instant>,
}

/// What is being signed.
#[derive(Debug)]
struct Draft {
    release: Option<Statement>,
    head: Head,
    head_body: Signing,
}

#[derive(Debug)]
struct Statement {
    op: OpId,
    body: Signing,
    info: Arc<ReleaseInfo>,
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

    fn envelope(&self, key: u16) -> Option<Bytes> {
        let signatures = vec![(key, self.signature.clone()?)];
        Some(Envelope { body: self.body.clone(), signatures }.encode())
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
            renew_at: None,
        })
    }

    /// The encoded size of a release at the end of the longest log.
    fn size(&self, network: &str, new: &NewRelease) -> usize {
        let end =
            Release { publisher: self.local.id, position: u64::MAX, previous: self.local.id.0, meta: new.clone() };
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
    /// Would `publish` take it? Checks every field, and that the version is new (queued publishes included).
    pub(crate) fn check_publish(&self, new: &NewRelease) -> Result<(), CommandError> {
        let own = self.own.as_ref().ok_or(CommandError::NoPublisher)?;
        if own.queue.len() >= MAX_QUEUED {
            return Err(CommandError::Busy);
        }
        new.validate()?;
        if own.size(&self.network, new) > MAX_STATEMENT {
            let reason = alloc::format!("together longer than {MAX_STATEMENT} bytes");
            return Err(CommandError::Invalid { field: "release", reason });
        }
        let same = |(_, other): &(OpId, NewRelease)| other.name == new.name && other.version.text == new.version.text;
        let taken = own.queue.iter().any(same) || self.packages.holds(own.local.id, new);
        if taken { Err(CommandError::AlreadyPublished) } else { Ok(()) }
    }

    /// Starts an own release: sign the statement and the head, commit both, then `Announce`.
    pub(crate) fn publish(&mut self, cx: &mut Cx<'_>, op: OpId, new: NewRelease) {
        match &mut self.own {
            Some(own) => own.queue.push_back((op, new)),
            None => self.events.push_back(CatalogEvent::PublishFailed { op, error: OpError::Signing }),
        }
        self.publish_next(cx);
    }

    /// Begins the first release in the queue, when nothing else of the own log is under way.
    pub(super) fn publish_next(&mut self, cx: &mut Cx<'_>) {
        loop {
            let Some(own) = &mut self.own else { return };
            if self.busy.contains_key(&own.local.id) {
                return;
            }
            let Some((op, new)) = own.queue.front().cloned() else { return };
            let log = self.logs.get(&own.local.id);
            let error = if log.is_some_and(|log| log.conflict.is_some()) {
                OpError::Refused(Refusal::Forked)
            } else if log.map_or(0, Log::len) < own.floor {
                OpError::Refused(Refusal::LogUnsynced)
            } else if self.packages.holds(own.local.id, &new) {
                OpError::AlreadyPublished
            } else {
                return self.draft(cx, Some((op, new)));
            };
            own.queue.pop_front();
            self.events.push_back(CatalogEvent::PublishFailed { op, error });
        }
    }

    /// Sends a release and the head after it to be signed; without a release, a fresh head of the same log.
    fn draft(&mut self, cx: &mut Cx<'_>, new: Option<(OpId, NewRelease)>) {
        let Some(own) = &mut self.own else { return };
        let log = self.logs.get(&own.local.id);
        let (previous, length, tip) = match log {
            Some(log) => (Some(&log.head), log.len(), log.tip()),
            None => (None, 0, own.local.id.0),
        };
        let release = new.map(|(op, meta)| {
            let release = Release { publisher: own.local.id, position: length, previous: tip, meta };
            let body = Signing::start(cx, Domain::Statement, release.to_body(&self.network));
            let info = Arc::new(ReleaseInfo { statement: Digest::of(&body.body), release });
            Statement { op, body, info }
        });
        let added: Vec<_> = release.iter().map(|release| release.info.statement).collect();
        let mut tree = log.map(Log::tree).cloned().unwrap_or_default();
        added.iter().for_each(|digest| tree.push(&digest.0));
        let length = length.saturating_add(added.len() as u64);
        let head = own.head(cx, previous, length, added.last().copied().unwrap_or(tip), tree.root());
        let head_body = Signing::start(cx, Domain::Head, head.to_body());
        self.busy.entry(own.local.id).or_default();
        own.draft = Some(Draft { release, head, head_body });
    }

    pub(crate) fn handle_signed(&mut self, cx: &mut Cx<'_>, job: JobId, signature: Option<Bytes>) {
        let Some(own) = &mut self.own else { return };
        let Some(draft) = &mut own.draft else { return };
        let statement = draft.release.as_mut().map(|release| &mut release.body);
        let Some(part) = statement.into_iter().chain([&mut draft.head_body]).find(|part| part.job == job) else {
            return;
        };
        part.signature = signature.filter(|signature| signature.len() == SIGNATURE_LEN);
        if part.signature.is_none() {
            return self.signing_failed(cx);
        }
        let key = own.local.key_index;
        let Some(head) = draft.head_body.envelope(key) else { return };
        let statement = draft.release.as_ref().map(|release| release.body.envelope(key));
        if let Some(None) = statement {
            return;
        }
        let bytes = HeadRecord::encode(&own.local.inception, &head);
        let Some(Draft { release, head, .. }) = own.draft.take() else { return };
        let publisher = own.local.id;
        let head = LogHead { record: bytes, length: head.length, time: head.time, expiry: head.expiry };
        let announce = |statement: &Bytes| {
            Announcement { record: head.record.clone(), statements: vec![statement.clone()] }.encode()
        };
        let commit = match release.zip(statement.flatten()) {
            Some((Statement { op, info: release, .. }, envelope)) => {
                self.events.push_back(CatalogEvent::Signed { op });
                let origin = Origin::Publish { op, announcement: announce(&envelope) };
                Commit { publisher, head, entries: vec![Entry { envelope, release }], origin }
            }
            None => {
                let last = self.logs.get(&own.local.id).and_then(|log| log.entries().last());
                let announcement = last.map_or_else(Bytes::new, |entry| announce(&entry.envelope));
                Commit { publisher, head, entries: Vec::new(), origin: Origin::Renewal { announcement } }
            }
        };
        self.commit(cx, commit);
    }

    fn signing_failed(&mut self, cx: &mut Cx<'_>) {
        let Some(own) = &mut self.own else { return };
        let publisher = own.local.id;
        match own.draft.take().and_then(|draft| draft.release) {
            Some(release) => {
                own.queue.pop_front();
                let failed = CatalogEvent::PublishFailed { op: release.op, error: OpError::Signing };
                self.events.push_back(failed);
            }
            None => self.retry_renewal(cx),
        }
        self.resume(cx, publisher);
    }

    /// The own log has grown elsewhere while a release was being signed: drop the draft, which nobody has seen. The
    /// release stays in the queue. False when nothing is being signed.
    pub(super) fn abandon_draft(&mut self, cx: &Cx<'_>, publisher: PublisherId) -> bool {
        let own = self.own.as_mut().filter(|own| own.local.id == publisher);
        let Some(draft) = own.and_then(|own| own.draft.take()) else { return false };
        if draft.release.is_none() {
            self.retry_renewal(cx);
        }
        true
    }

    pub(super) fn finish_publish(&mut self, op: OpId, stored: Option<(Arc<ReleaseInfo>, Bytes)>) {
        if let Some(own) = &mut self.own {
            own.queue.pop_front();
        }
        self.events.push_back(match stored {
            Some((release, announcement)) => CatalogEvent::Announce { op, release, announcement },
            None => CatalogEvent::PublishFailed { op, error: OpError::Storage },
        });
    }

    pub(super) fn is_own(&self, publisher: PublisherId) -> bool {
        self.own.as_ref().is_some_and(|own| own.local.id == publisher)
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

    /// Renews the own head before it expires.
    pub(crate) fn handle_timeout(&mut self, cx: &mut Cx<'_>) {
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
            self.draft(cx, None);
        } else {
            self.retry_renewal(cx);
        }
    }

    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.own.as_ref().and_then(|own| own.renew_at)
    }
}

/// A head is renewed when a third of its life is left.
fn until_renewal(head: &LogHead, now: UnixTime) -> Duration {
    let life = head.expiry.as_micros().saturating_sub(head.time.as_micros());
    let due = head.expiry.as_micros().saturating_sub(life / 3);
    Duration::from_micros(due.saturating_sub(now.as_micros()))
}
