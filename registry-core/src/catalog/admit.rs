//! Admission of what peers hand in: structure first, then all signatures in one job, then place, then the store.

use alloc::boxed::Box;
use alloc::collections::{BTreeSet, VecDeque, btree_map};
use alloc::vec;
use alloc::vec::Vec;

use bytes::Bytes;

use crate::action::{StoreRequest, Table, Write};
use crate::catalog::announcement::Announcement;
use crate::catalog::envelope::StatementError;
use crate::catalog::log::{Checks, Conflict, Entry, Log, Run, Unfit};
use crate::catalog::proof::{MAX_PROOFS, Proof};
use crate::catalog::quotas::{Standing, drawn_key};
use crate::catalog::record::{HeadRecord, LogHead};
use crate::catalog::statement::Says;
use crate::catalog::{Catalog, CatalogEvent, Verdict};
use crate::cx::Cx;
use crate::event::BatchOutcome;
use crate::id::{JobId, OpId, Owner, PeerIx, PublisherId, StoreId};
use crate::input::StoreResult;
use crate::peers::Offence;

/// Statements taken from one run: to admit and index them takes some five milliseconds. A longer run is admitted up to
/// there.
pub(crate) const MAX_RUN: usize = 128;

/// Runs being verified, waiting for an earlier one of their publisher or on their way to the store: some seconds of work
/// for the workers.
pub(crate) const MAX_PENDING: usize = 512;

/// Bytes of those.
const MAX_PENDING_BYTES: usize = 16 * 1024 * 1024;

/// Runs waiting for one publisher's log; no publisher is so fast for long.
pub(crate) const MAX_WAITING: usize = 64;

/// One source may hold so much of `MAX_PENDING` and `MAX_PENDING_BYTES`, so that a flood leaves room for others.
const PENDING_SHARE: usize = 8;

/// Proofs being verified: few, since few publishers fork and each proof counts once.
pub(super) const MAX_PROVING: usize = 64;

/// Verified announcements that wait for the entries before them.
pub(crate) const MAX_PARKED: usize = 64;

/// A run and whom to answer.
#[derive(Debug)]
pub(super) struct Submission {
    pub(super) run: Run,
    pub(super) source: Option<PeerIx>,
    pub(super) reply: Reply,
}

/// What the giver of a run wants to know.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Reply {
    /// May it be forwarded? Told as soon as that is clear.
    Announcement(u64),
    /// Is it part of the catalogue now? Told once it is durable.
    Entries(u64),
    /// Nothing.
    None,
}

/// Writes on their way to the store.
#[derive(Debug)]
pub(super) struct Commit {
    pub(super) publisher: PublisherId,
    pub(super) standing: Standing,
    pub(super) head: LogHead,
    pub(super) entries: Vec<Entry>,
    pub(super) origin: Origin,
}

impl Commit {
    pub(super) fn size(&self) -> usize {
        self.head.record.len() + self.entries.iter().map(|entry| entry.envelope.len()).sum::<usize>()
    }
}

/// Whose entries these are.
#[derive(Debug)]
pub(super) enum Origin {
    Network(Reply),
    Publish { op: OpId },
    Batch { op: OpId, outcomes: Vec<Option<BatchOutcome>> },
    Renewal,
}

impl Catalog {
    /// A gossiped announcement. Ends in `Judged` with the same ticket.
    pub(crate) fn handle_announcement(&mut self, cx: &mut Cx<'_>, ticket: u64, source: PeerIx, data: Bytes) {
        let open = |announcement: Announcement| {
            let record = HeadRecord::open(&announcement.record)?;
            let before = record.0.head.length.checked_sub(announcement.statements.len() as u64);
            self.open_run(record, before.ok_or(StatementError::Link)?, &announcement.statements)
        };
        let reply = Reply::Announcement(ticket);
        match Proof::open(&self.network, &data) {
            Ok((proof, checks)) => self.submit_proof(cx, source, reply, proof, checks),
            Err(_) => {
                let run = Announcement::decode(&data).and_then(open);
                self.submit(cx, source, reply, run);
            }
        }
    }

    /// A proof from sync. Ends in `Judged` with the same ticket.
    pub(crate) fn handle_proof(&mut self, cx: &mut Cx<'_>, ticket: u64, source: PeerIx, data: &Bytes) {
        let reply = Reply::Entries(ticket);
        match Proof::open(&self.network, data) {
            Ok((proof, checks)) => self.submit_proof(cx, source, reply, proof, checks),
            Err(error) => self.refuse(cx, source, reply, error),
        }
    }

    fn submit_proof(&mut self, cx: &mut Cx<'_>, source: PeerIx, reply: Reply, proof: Proof, checks: Checks) {
        if !self.wants_proof(proof.publisher) || self.proving.len() >= MAX_PROVING {
            return self.judge(reply, Verdict::Ignore);
        }
        let job = cx.verify(Owner::Catalog, checks);
        self.proving.insert(job, (proof, source, reply));
    }

    /// Whoever forwards a valid proof is never to blame for it.
    fn handle_proof_verified(&mut self, cx: &mut Cx<'_>, proof: Proof, source: PeerIx, reply: Reply, ok: bool) {
        if !ok {
            return self.reject(cx, Some(source), reply, Offence::BadSignature);
        }
        if !self.wants_proof(proof.publisher) {
            return self.judge(reply, Verdict::Ignore);
        }
        let publisher = proof.publisher;
        self.keep_proof(cx, &proof);
        if let Some(log) = self.logs.get_mut(&publisher) {
            log.conflict = Some(Box::new(proof.conflict));
        }
        self.events.push_back(CatalogEvent::Forked { publisher, proof: None });
        self.judge(reply, Verdict::Accept);
    }

    /// Is a proof about this publisher not here, and would it be kept?
    pub(super) fn wants_proof(&self, publisher: PublisherId) -> bool {
        let kept = self.is_own(publisher) || self.quotas.followed.contains(&publisher);
        !self.proofs.contains_key(&publisher) && (kept || self.proofs.len() < MAX_PROOFS)
    }

    fn keep_proof(&mut self, cx: &mut Cx<'_>, proof: &Proof) {
        if self.wants_proof(proof.publisher) {
            let (key, value) = (proof_key(proof.publisher), Some(proof.bytes.clone()));
            cx.store(Owner::Catalog, StoreRequest::Commit(vec![Write { table: Table::Publisher, key, value }]));
            self.proofs.insert(proof.publisher, proof.bytes.clone());
        }
    }

    /// What shows anybody that a publisher has contradicted itself.
    pub(crate) fn proof(&self, publisher: PublisherId) -> Option<&Bytes> {
        self.proofs.get(&publisher)
    }

    /// Publishers that are proven to have contradicted themselves.
    pub(crate) fn proven(&self) -> usize {
        self.proofs.len()
    }

    /// A run of a publisher's log from sync, with the head record that covers it. Ends in `Judged`. What is beyond
    /// [`MAX_RUN`] statements is left out.
    pub(crate) fn handle_entries(
        &mut self,
        cx: &mut Cx<'_>,
        ticket: u64,
        source: PeerIx,
        record: Bytes,
        from: u64,
        entries: Vec<Bytes>,
    ) {
        let entries = entries.get(..MAX_RUN).unwrap_or(&entries);
        let run = HeadRecord::open(&record).and_then(|record| self.open_run(record, from, entries));
        self.submit(cx, source, Reply::Entries(ticket), run);
    }

    /// A head record found in the DHT (its validator has accepted it): may raise `Behind`.
    pub(crate) fn handle_head_record(&mut self, cx: &mut Cx<'_>, record: Bytes) {
        if let Some(run) = self.open_record(&record) {
            self.place(cx, Submission { run, source: None, reply: Reply::None });
        }
    }

    /// A record alone, of this network; its signatures hold.
    pub(super) fn open_record(&self, record: &Bytes) -> Option<Run> {
        let (record, _) = HeadRecord::open(record).ok().filter(|(record, _)| record.head.network == self.network)?;
        Some(Run { record, entries: Vec::new() })
    }

    fn open_run(
        &self,
        record: (HeadRecord, Checks),
        from: u64,
        statements: &[Bytes],
    ) -> Result<(Run, Checks), StatementError> {
        let log = self.logs.get(&record.0.head.publisher);
        Run::open(&self.network, record, log, from, statements)
    }

    fn submit(&mut self, cx: &mut Cx<'_>, source: PeerIx, reply: Reply, run: Result<(Run, Checks), StatementError>) {
        let (run, checks) = match run {
            Ok(opened) => opened,
            Err(error) => return self.refuse(cx, source, reply, error),
        };
        if !self.is_news(&run) || !self.has_room(source, run.size()) {
            return self.judge(reply, Verdict::Ignore);
        }
        let submission = Submission { run, source: Some(source), reply };
        if checks.is_empty() {
            return self.place(cx, submission);
        }
        let job = cx.verify(Owner::Catalog, checks);
        self.verifying.insert(job, submission);
    }

    /// Could the run change anything here?
    pub(super) fn is_news(&self, run: &Run) -> bool {
        if self.is_forked(run.publisher()) {
            return false;
        }
        self.logs.get(&run.publisher()).is_none_or(|log| {
            let longer = run.record.head.length > log.len();
            let newer = run.record.rank() > log.head.rank();
            let contradicts = log.contradicts(&run.record).is_some();
            !run.entries.is_empty() || longer || newer || contradicts
        })
    }

    fn has_room(&self, source: PeerIx, size: usize) -> bool {
        let storing = self.committing.values().map(Commit::size);
        let mut all = storing.fold((0, 0), |(count, bytes), size| (count + 1, bytes + size));
        let mut own = (0, 0);
        for submission in self.verifying.values().chain(self.busy.values().flatten()) {
            let size = submission.run.size();
            all = (all.0 + 1, all.1 + size);
            if submission.source == Some(source) {
                own = (own.0 + 1, own.1 + size);
            }
        }
        let fits = |(count, bytes), share| count < MAX_PENDING / share && bytes + size <= MAX_PENDING_BYTES / share;
        fits(all, 1) && fits(own, PENDING_SHARE)
    }

    pub(crate) fn handle_verified(&mut self, cx: &mut Cx<'_>, job: JobId, ok: bool) {
        if let Some((proof, source, reply)) = self.proving.remove(&job) {
            return self.handle_proof_verified(cx, proof, source, reply, ok);
        }
        let Some(submission) = self.verifying.remove(&job) else { return };
        if ok {
            self.place(cx, submission);
        } else {
            self.reject(cx, submission.source, submission.reply, Offence::BadSignature);
        }
    }

    /// What does not parse is the giver's fault, unless a later version may have made it.
    fn refuse(&mut self, cx: &mut Cx<'_>, source: PeerIx, reply: Reply, error: StatementError) {
        if error.may_be_newer() {
            self.judge(reply, Verdict::Ignore);
        } else {
            self.reject(cx, Some(source), reply, Offence::BadStatement);
        }
    }

    fn reject(&mut self, cx: &mut Cx<'_>, source: Option<PeerIx>, reply: Reply, offence: Offence) {
        if let Some(source) = source {
            cx.charge(source, offence);
        }
        self.judge(reply, Verdict::Reject);
    }

    /// A valid run: apply it now, or after what its publisher's log is waiting for.
    fn place(&mut self, cx: &mut Cx<'_>, mut submission: Submission) {
        let publisher = submission.run.publisher();
        self.raise_floor(publisher, submission.run.record.head.length);
        if let Some(log) = self.logs.get(&publisher) {
            submission.run.trim(log);
        }
        if !self.is_news(&submission.run) && !planted!(cx.config, CatalogGoesBack) {
            return self.judge(submission.reply, Verdict::Ignore);
        }
        match self.busy.get_mut(&publisher) {
            None => self.apply(cx, submission),
            Some(waiting) if waiting.len() == MAX_WAITING => self.judge(submission.reply, Verdict::Ignore),
            Some(waiting) => {
                waiting.push_back(submission);
                // The own log has grown elsewhere: what is being signed at the same position must not be.
                if self.abandon_draft(cx, publisher) {
                    self.resume(cx, publisher);
                }
            }
        }
    }

    fn apply(&mut self, cx: &mut Cx<'_>, mut submission: Submission) {
        let publisher = submission.run.publisher();
        let log = self.logs.get(&publisher);
        if let Some(log) = log {
            submission.run.trim(log);
        }
        let Submission { run, source, reply } = submission;
        if !self.is_news(&run) && !planted!(cx.config, CatalogGoesBack) {
            return self.judge(reply, Verdict::Ignore);
        }
        let unknown;
        let log = match log {
            Some(log) => log,
            None => {
                unknown = Log::new(publisher, run.record.clone().into(), Standing::Settled);
                &unknown
            }
        };
        let have = log.len();
        let Some((standing, put_out)) = self.room_for(&run) else {
            self.quotas.refused += 1;
            self.events.push_back(CatalogEvent::Refused { publisher });
            return self.judge(reply, Verdict::Ignore);
        };
        match log.check(&run).and_then(|()| self.check_versions(&run)) {
            Err(Unfit::Conflict(conflict)) => {
                self.keep_conflict(cx, publisher, conflict);
                self.judge(reply, Verdict::Ignore);
            }
            Err(Unfit::Gap) => {
                self.tell_behind(&run, source, reply);
                self.park(cx, run, source);
                let forwardable = matches!(reply, Reply::Announcement(_));
                self.judge(reply, if forwardable { Verdict::Accept } else { Verdict::Ignore });
            }
            Ok(()) if run.entries.is_empty() && run.record.head.length > have => {
                self.tell_behind(&run, source, reply);
                self.judge(reply, Verdict::Ignore);
            }
            Ok(()) => {
                let newer = run.record.rank() > log.head.rank() || planted!(cx.config, CatalogGoesBack);
                let head = if newer { run.record.into() } else { log.head.clone() };
                if let Reply::Announcement(_) = reply {
                    self.judge(reply, Verdict::Accept);
                }
                put_out.into_iter().for_each(|publisher| self.forget(cx, publisher));
                let origin = Origin::Network(reply);
                self.commit(cx, Commit { publisher, standing, head, entries: run.entries, origin });
            }
        }
    }

    /// No version twice, neither in the log nor in the run.
    fn check_versions(&self, run: &Run) -> Result<(), Unfit> {
        let mut seen = BTreeSet::new();
        for entry in &run.entries {
            let Says::Release(meta) = &entry.statement.says else { continue };
            let held = self.packages.find(run.publisher(), &meta.name, &meta.version.text);
            let held = held.and_then(|held| self.logs.get(&run.publisher())?.get(held.position));
            if let Some(held) = held {
                return Err(Unfit::Conflict(Conflict(held.envelope.clone(), entry.envelope.clone())));
            }
            if !seen.insert((&meta.name, &meta.version.text)) {
                return Err(Unfit::Conflict(Conflict(run.record.bytes.clone(), entry.envelope.clone())));
            }
        }
        Ok(())
    }

    /// Remembers that a publisher contradicts itself, also after a restart: nothing new of it is admitted.
    fn keep_conflict(&mut self, cx: &mut Cx<'_>, publisher: PublisherId, conflict: Conflict) {
        if let Some(log) = self.logs.get_mut(&publisher) {
            let write = Write { table: Table::Publisher, key: conflict_key(publisher), value: Some(conflict.encode()) };
            cx.store(Owner::Catalog, StoreRequest::Commit(vec![write]));
            let inception = HeadRecord::inception(&log.head.record);
            let proof = inception.and_then(|inception| Proof::of(&self.network, &inception, &conflict));
            log.conflict = Some(Box::new(conflict));
            if let Some(proof) = &proof {
                self.keep_proof(cx, proof);
            }
            let proof = proof.map(|proof| proof.bytes);
            self.events.push_back(CatalogEvent::Forked { publisher, proof });
        }
    }

    /// Keeps a verified run for when the entries before it are here; a random other one gives way when there is no room.
    fn park(&mut self, cx: &mut Cx<'_>, run: Run, source: Option<PeerIx>) {
        let Some(first) = run.entries.first().map(Entry::position) else { return };
        if self.parked.len() >= MAX_PARKED {
            let victim = cx.rng.index(self.parked.len());
            if let Some(key) = self.parked.keys().nth(victim).copied() {
                self.parked.remove(&key);
            }
        }
        self.parked.insert((run.publisher(), first), Submission { run, source, reply: Reply::None });
    }

    pub(super) fn commit(&mut self, cx: &mut Cx<'_>, commit: Commit) {
        let publisher = commit.publisher;
        let held = self.logs.get(&publisher).map(|log| &log.head.record);
        let head = (held != Some(&commit.head.record)).then(|| Write {
            table: Table::Publisher,
            key: Bytes::copy_from_slice(&publisher.0.0),
            value: Some(commit.head.record.clone()),
        });
        let statement = |entry: &Entry| Write {
            table: Table::Log,
            key: log_key(publisher, entry.position()),
            value: Some(entry.envelope.clone()),
        };
        let unknown = !self.logs.contains_key(&publisher);
        let drawn = (unknown && commit.standing == Standing::Drawn).then(|| Write {
            table: Table::Publisher,
            key: drawn_key(publisher),
            value: Some(Bytes::new()),
        });
        let origin = self.origin_row(&commit.origin);
        let writes = commit.entries.iter().map(statement).chain(head).chain(drawn).chain(origin).collect();
        let op = cx.store(Owner::Catalog, StoreRequest::Commit(writes));
        self.busy.entry(publisher).or_default();
        self.committing.insert(op, commit);
    }

    pub(crate) fn handle_stored(&mut self, cx: &mut Cx<'_>, op: StoreId, result: StoreResult) {
        let Some(Commit { publisher, standing, head, entries, origin }) = self.committing.remove(&op) else { return };
        let done = result == StoreResult::Done || planted!(cx.config, CatalogIgnoresStore);
        let first = entries.first().map(Entry::position).filter(|_| done);
        if done {
            if let Origin::Publish { .. } | Origin::Batch { .. } = origin {
                self.own_is_whole(publisher);
            }
            self.append(publisher, standing, head, entries);
            self.schedule_renewal(cx, publisher);
        }
        match origin {
            Origin::Network(reply) => {
                if let Reply::Entries(_) = reply {
                    self.judge(reply, if done { Verdict::Accept } else { Verdict::Ignore });
                }
            }
            Origin::Publish { op } => {
                let concerned = first.and_then(|position| self.about(publisher, position));
                self.finish_publish(op, concerned);
            }
            Origin::Batch { op, outcomes } => {
                self.finish_batch(cx, op, outcomes, first);
            }
            Origin::Renewal if done => self.tell_head(),
            Origin::Renewal => self.retry_renewal(cx),
        }
        self.resume(cx, publisher);
    }

    /// Makes durable entries part of the catalogue.
    fn append(&mut self, publisher: PublisherId, standing: Standing, head: LogHead, entries: Vec<Entry>) {
        if let btree_map::Entry::Vacant(place) = self.logs.entry(publisher) {
            // Whom the user has come to follow meanwhile is kept.
            let kept = self.quotas.followed.contains(&publisher);
            let standing = if kept { Standing::Kept } else { standing };
            let log = place.insert(Log::new(publisher, head.clone(), standing));
            self.quotas.enter(log);
        }
        self.change_log(publisher, |log| log.head = head);
        for entry in entries {
            let update = self.take_in(entry);
            self.events.push_back(CatalogEvent::Admitted { publisher, update });
        }
    }

    /// A publisher's log is no longer waiting for the store or for a signature: what waited for that comes next.
    pub(super) fn resume(&mut self, cx: &mut Cx<'_>, publisher: PublisherId) {
        let mut waiting: VecDeque<Submission> = self.busy.remove(&publisher).unwrap_or_default();
        while let Some(submission) = waiting.pop_front().or_else(|| self.unpark(publisher)) {
            self.apply(cx, submission);
            if let Some(later) = self.busy.get_mut(&publisher) {
                return later.append(&mut waiting);
            }
        }
        self.publish_next(cx);
    }

    fn unpark(&mut self, publisher: PublisherId) -> Option<Submission> {
        let have = self.logs.get(&publisher).map_or(0, Log::len);
        let key = *self.parked.range((publisher, 0)..=(publisher, have)).next()?.0;
        self.parked.remove(&key)
    }

    /// Sync, which gives entries, knows by itself.
    fn tell_behind(&mut self, run: &Run, source: Option<PeerIx>, reply: Reply) {
        if !matches!(reply, Reply::Entries(_)) {
            let (publisher, want) = (run.publisher(), run.record.head.length);
            self.events.push_back(CatalogEvent::Behind { publisher, want, source });
        }
    }

    fn judge(&mut self, reply: Reply, verdict: Verdict) {
        match reply {
            Reply::Announcement(ticket) | Reply::Entries(ticket) => {
                self.events.push_back(CatalogEvent::Judged { ticket, verdict });
            }
            Reply::None => {}
        }
    }
}

pub(super) fn log_key(publisher: PublisherId, position: u64) -> Bytes {
    Bytes::from([&publisher.0.0[..], &position.to_be_bytes()].concat())
}

/// Follows the publisher's own row: proof that it contradicts itself.
fn proof_key(publisher: PublisherId) -> Bytes {
    Bytes::from([&publisher.0.0[..], b"*"].concat())
}

/// Follows the publisher's own row.
pub(super) fn conflict_key(publisher: PublisherId) -> Bytes {
    Bytes::from([&publisher.0.0[..], b"!"].concat())
}
