//! The catalogue: publishers, their logs, and what they released.
//!
//! Statements are admitted only when their signatures, positions and links hold. The machine knows nothing of how they
//! travel: gossip and sync hand them in, events tell what was admitted.
//!
//! Whoever hands in what no honest peer can have taken for valid is to blame: `Reject`. What only this node can know to
//! be of no use blames nobody: `Ignore` for what is known, refused by quota, of a later format, or in contradiction to
//! what is held. A publisher that contradicts itself (two statements at one position or of one version, a head that does
//! not fit its statements) keeps what was admitted and gets nothing new in, also after a restart.
//!
//! | file | what it holds |
//! |---|---|
//! | `envelope`, `cbor` | the frame of everything signed, and its strict encoding |
//! | `inception`, `statement`, `head` | the three kinds of signed body |
//! | `amendment` | what is said of a release later |
//! | `record`, `announcement` | what the DHT and gossip carry of them |
//! | `release`, `version`, `spec` | what a release says, the order of versions, how people name one |
//! | `log`, `merkle`, `packages` | one publisher's log, its tree, all releases by name |
//! | `proof` | what shows anybody that a publisher has contradicted itself |
//! | `admit`, `publish` | the way into a log, for others and for this node |
//! | `quotas` | whom a node keeps when there is more than it wants to hold |

mod admit;
pub mod amendment;
pub(crate) mod announcement;
pub(crate) mod cbor;
pub mod envelope;
pub mod head;
pub mod inception;
pub(crate) mod log;
pub(crate) mod merkle;
pub mod packages;
pub(crate) mod proof;
pub(crate) mod proven;
mod publish;
mod quotas;
pub mod record;
pub mod release;
mod sound;
pub mod spec;
pub mod statement;
#[cfg(test)]
mod tests;
pub mod version;

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Bound;

use bytes::Bytes;

use crate::action::Table;
use crate::catalog::admit::{Commit, Reply, Submission};
use crate::catalog::log::{Conflict, Entry, Kept, Log, Run};
use crate::catalog::packages::{Listing, Packages};
use crate::catalog::proof::Proof;
use crate::catalog::publish::Own;
use crate::catalog::quotas::{Quotas, Standing};
use crate::catalog::record::{HeadRecord, LogHead};
use crate::cx::Cx;
use crate::event::{BatchOutcome, OpError};
use crate::id::{Digest, JobId, OpId, PeerIx, PublisherId, StoreId};
use crate::input::Row;
use crate::wire::registry::PublisherState;

pub(crate) use admit::MAX_RUN;
pub use amendment::{Amendment, Change, Deprecation, Status};
pub use envelope::{Domain, Envelope, FieldError, StatementError};
pub use head::Head;
pub use inception::{Inception, LocalPublisher};
pub use publish::MAX_BATCH;
pub(crate) use publish::{Order, Wish};
pub use release::{Content, Dependency, Name, NewRelease, Release, ReleaseInfo, UpdateKind};
pub use spec::{PackageSpec, Unresolved};
pub use statement::{Says, Statement};
pub use version::{Scheme, Version};

/// What the catalogue raises for its siblings, in order.
#[derive(Clone, Debug)]
pub(crate) enum CatalogEvent {
    /// A statement is durable and part of the catalogue. Raised once per statement, with what it has changed, if anything.
    Admitted { publisher: PublisherId, update: Option<Update> },
    /// An own release is signed (`Stage::Signed`).
    Signed { op: OpId },
    /// An own release is durable: put the head record under the publisher's key, provide, gossip `announcement`.
    Announce { op: OpId, release: Arc<ReleaseInfo>, announcement: Bytes },
    /// Of an own batch: what became of each release, all that is published being durable.
    BatchDone { op: OpId, outcomes: Vec<BatchOutcome> },
    /// The own head was renewed before it expired, or moved by batches: put its record under the publisher's key, gossip
    /// `announcement`.
    HeadMoved { announcement: Bytes },
    /// An own amendment says what is so already of this release; nothing was signed.
    NothingToChange { op: OpId, release: Arc<ReleaseInfo> },
    /// An own release could not be made.
    PublishFailed { op: OpId, error: OpError },
    /// A head says that this publisher has more statements than this node: fetch them (first from `source`).
    Behind { publisher: PublisherId, want: u64, source: Option<PeerIx> },
    /// A publisher has contradicted itself, which was not known here, or not proven. With a proof for others, unless they
    /// have it.
    Forked { publisher: PublisherId, proof: Option<Bytes> },
    /// Quotas leave no room for what was handed in of this publisher.
    Refused { publisher: PublisherId },
    /// A publisher gave way to others; these were its packages.
    PutOut { publisher: PublisherId, names: Vec<Name> },
    /// What `handle_announcement`, `handle_entries` or `handle_proof` was given is judged; on `Reject` its source is
    /// already charged. Of an announcement: it may be forwarded or not. Of entries: `Accept` once they are durable.
    Judged { ticket: u64, verdict: Verdict },
}

/// What a statement has changed, and the release concerned; of a whole package, its highest.
pub(crate) type Update = (UpdateKind, Arc<ReleaseInfo>);

/// What to tell the network about something a peer handed in (gossipsub v1.1, extended validators).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    Accept,
    Reject,
    Ignore,
}

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Catalog {
    events: VecDeque<CatalogEvent>,
    network: String,
    logs: BTreeMap<PublisherId, Log>,
    packages: Packages,
    quotas: Quotas,
    own: Option<Own>,
    verifying: BTreeMap<JobId, Submission>,
    proving: BTreeMap<JobId, (Proof, PeerIx, Reply)>,
    /// Of publishers that contradict themselves, whether their logs are here or not.
    proofs: BTreeMap<PublisherId, Bytes>,
    /// Publishers with something in `committing` or, of the own one, being signed, and what waits for its end: a log
    /// changes by one commit at a time, and never before the store has answered.
    busy: BTreeMap<PublisherId, VecDeque<Submission>>,
    committing: BTreeMap<StoreId, Commit>,
    /// By publisher and the position they begin at.
    parked: BTreeMap<(PublisherId, u64), Submission>,
}

impl Catalog {
    pub(crate) fn new(cx: &mut Cx<'_>) -> Self {
        Self {
            events: VecDeque::new(),
            network: cx.config.network.clone(),
            logs: BTreeMap::new(),
            packages: Packages::default(),
            quotas: Quotas::new(cx),
            own: Own::new(cx),
            verifying: BTreeMap::new(),
            proving: BTreeMap::new(),
            proofs: BTreeMap::new(),
            busy: BTreeMap::new(),
            committing: BTreeMap::new(),
            parked: BTreeMap::new(),
        }
    }

    /// A row of `Table::Publisher` or `Table::Log`. Signatures were checked before it was stored. A row that does not
    /// fit ends its log there; the rest comes back by sync, and until then an own log takes no new release. Gives what
    /// the row's statement has changed.
    pub(crate) fn handle_recovered(&mut self, cx: &mut Cx<'_>, row: Row) -> Option<Update> {
        let (id, rest) = row.key.split_first_chunk::<32>()?;
        let publisher = PublisherId(Digest(*id));
        match (row.table, rest) {
            (Table::Publisher, []) => self.recover_record(cx, publisher, &row.value),
            (Table::Publisher, b"*") => {
                self.proofs.insert(publisher, row.value);
            }
            (Table::Publisher, b"0") => self.own_is_whole(publisher),
            (Table::Publisher, b"+") => self.set_followed(publisher, true),
            (Table::Publisher, b"~") => self.change_log(publisher, |log| log.standing = Standing::Drawn),
            (Table::Publisher, _) => {
                if let (Some(log), Ok(conflict)) = (self.logs.get_mut(&publisher), Conflict::decode(&row.value)) {
                    log.conflict = Some(Box::new(conflict));
                }
            }
            (Table::Log, _) => return self.recover_entry(publisher, rest, &row.value),
            (Table::Meta | Table::Content | Table::Fetch | Table::PeerAddrs | Table::Ban | Table::Segment, _) => {}
        }
        None
    }

    fn recover_record(&mut self, cx: &Cx<'_>, publisher: PublisherId, value: &Bytes) {
        let record = HeadRecord::open(value).ok().map(|(record, _)| record);
        let fits = |record: &HeadRecord| record.head.publisher == publisher && record.head.network == self.network;
        if let Some(record) = record.filter(fits) {
            self.raise_floor(publisher, record.head.length);
            let standing = if self.is_own(publisher) { Standing::Kept } else { Standing::Settled };
            let log = Log::new(publisher, record.into(), standing);
            self.quotas.enter(&log);
            self.logs.insert(publisher, log);
            self.schedule_renewal(cx, publisher);
        }
    }

    fn recover_entry(&mut self, publisher: PublisherId, position: &[u8], value: &Bytes) -> Option<Update> {
        let position = position.try_into().map_or(0, u64::from_be_bytes);
        self.raise_floor(publisher, position.saturating_add(1));
        let log = self.logs.get_mut(&publisher)?;
        let (entry, _) = Entry::open(value, &self.network).ok()?;
        if entry.position() != position || !log.continues(&entry) {
            return None;
        }
        self.take_in(entry)
    }

    /// Makes a durable entry, which follows in its log, part of the catalogue.
    fn take_in(&mut self, Entry { envelope, digest, statement }: Entry) -> Option<Update> {
        let publisher = statement.publisher;
        let (kind, position) = self.packages.admit(&statement).unzip();
        self.change_log(publisher, |log| log.push(Kept { envelope, digest }));
        let new = position == Some(statement.position);
        let release = if new { self.info(digest, statement) } else { self.release(publisher, position?) };
        kind.zip(release)
    }

    pub(crate) fn poll_event(&mut self) -> Option<CatalogEvent> {
        self.events.pop_front()
    }

    /// The release a specification names. Of a publisher that contradicts itself, only what is named exactly.
    pub(crate) fn resolve(&self, spec: &PackageSpec) -> Result<Arc<ReleaseInfo>, Unresolved> {
        let forked = spec.publisher.is_some_and(|publisher| self.is_forked(publisher));
        match self.packages.resolve(spec) {
            Ok((publisher, listed)) => {
                let pinned = spec.version.as_deref() == Some(&*listed.version.text);
                let refused = self.is_forked(publisher) && !pinned;
                let release = self.release(publisher, listed.position).ok_or(Unresolved::Unknown)?;
                if refused { Err(Unresolved::Forked) } else { Ok(release) }
            }
            Err(Unresolved::Unknown) if forked => Err(Unresolved::Forked),
            Err(why) => Err(why),
        }
    }

    /// As `resolve`, but of versions that are all yanked the highest.
    pub(crate) fn resolve_yanked(&self, spec: &PackageSpec) -> Result<Arc<ReleaseInfo>, Unresolved> {
        let highest = |publisher| self.release(publisher, self.packages.highest(publisher, spec)?.position);
        match self.resolve(spec) {
            Err(Unresolved::Yanked) => spec.publisher.and_then(highest).ok_or(Unresolved::Yanked),
            resolved => resolved,
        }
    }

    /// Positions of the statements that show others as what a release is picked, and why it is: see [`Packages::words`].
    pub(crate) fn words(&self, release: &Release) -> impl Iterator<Item = u64> {
        self.packages.words(release.publisher, &release.meta.name, release.position)
    }

    /// The position of the release a package is shown by: the one that is picked when no version is named.
    pub(crate) fn current(&self, publisher: PublisherId, name: &Name) -> Option<u64> {
        self.packages.current(publisher, name).ok().map(|listed| listed.position)
    }

    /// What a specification is about, forked or yanked as it may be: the version it names, or all, highest first.
    pub(crate) fn describe(&self, spec: &PackageSpec) -> Vec<Arc<ReleaseInfo>> {
        let publisher = spec.publisher.or_else(|| self.packages.only_publisher(&spec.name).ok());
        match (publisher, &spec.version) {
            (Some(publisher), None) => self.versions(publisher, &spec.name),
            (Some(_), Some(_)) => {
                let named = self.packages.resolve(spec).ok();
                named.and_then(|(publisher, listed)| self.release(publisher, listed.position)).into_iter().collect()
            }
            (None, _) => Vec::new(),
        }
    }

    /// Some of a publisher's packages, in the order of their names, from the one after `after` on.
    pub(crate) fn list(&self, publisher: PublisherId, after: Option<&Name>) -> Listing {
        self.packages.list(publisher, after)
    }

    /// Has the publisher contradicted itself?
    pub(crate) fn is_forked(&self, publisher: PublisherId) -> bool {
        self.proofs.contains_key(&publisher) || self.logs.get(&publisher).is_some_and(|log| log.conflict.is_some())
    }

    /// The release at a place in a log. Parsed at each call: for what is shown, not for loops over everything.
    pub(crate) fn release(&self, publisher: PublisherId, position: u64) -> Option<Arc<ReleaseInfo>> {
        let kept = self.logs.get(&publisher)?.get(position)?;
        self.info(kept.digest, kept.statement(&self.network)?)
    }

    /// The release that the statement at a place in a log makes or amends.
    fn about(&self, publisher: PublisherId, position: u64) -> Option<Arc<ReleaseInfo>> {
        let kept = self.logs.get(&publisher)?.get(position)?;
        let statement = kept.statement(&self.network)?;
        match &statement.says {
            Says::Release(_) => self.info(kept.digest, statement),
            Says::Amendment(amendment) => self.concerned(publisher, amendment),
        }
    }

    /// The release an amendment is about; of a whole package, its highest.
    fn concerned(&self, publisher: PublisherId, amendment: &Amendment) -> Option<Arc<ReleaseInfo>> {
        self.release(publisher, self.packages.concerned(publisher, amendment)?)
    }

    /// A release and what is said of it; `None` for other statements.
    fn info(&self, digest: Digest, statement: Statement) -> Option<Arc<ReleaseInfo>> {
        let Statement { publisher, position, previous, says } = statement;
        let Says::Release(meta) = says else { return None };
        let status = self.status(publisher, &meta.name, position);
        let release = Release { publisher, position, previous, meta };
        Some(Arc::new(ReleaseInfo { statement: digest, release, status }))
    }

    fn status(&self, publisher: PublisherId, name: &Name, position: u64) -> Status {
        let change = |position: Option<u64>| {
            let statement = self.logs.get(&publisher)?.get(position?)?.statement(&self.network)?;
            if let Says::Amendment(amendment) = statement.says { Some(amendment.change) } else { None }
        };
        let marks = self.packages.marks(publisher, name, position);
        let mut status = Status::default();
        for change in [change(marks.yanked), change(marks.deprecated)].into_iter().flatten() {
            match change {
                Change::Yank { reason } => status.yanked = Some(reason),
                Change::Deprecate(deprecation) => status.deprecated = Some(deprecation),
                Change::Unyank | Change::Undeprecate => {}
            }
        }
        status
    }

    /// All releases of one package, highest version first.
    pub(crate) fn versions(&self, publisher: PublisherId, name: &Name) -> Vec<Arc<ReleaseInfo>> {
        let versions = self.packages.versions(publisher, name).iter().rev();
        versions.filter_map(|listed| self.release(publisher, listed.position)).collect()
    }

    /// Every publisher's state in ascending order of id, from `after` on.
    pub(crate) fn states(&self, after: Option<PublisherId>) -> impl Iterator<Item = PublisherState> + '_ {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.logs.range((from, Bound::Unbounded)).filter_map(|(_, log)| state_of(log))
    }

    /// For checkers: the head of each log, and how many of its statements are held.
    pub(crate) fn heads(&self) -> impl Iterator<Item = (PublisherId, &LogHead, u64)> {
        self.logs.iter().map(|(publisher, log)| (*publisher, &log.head, log.len()))
    }

    /// Panics when more waits for admission than may, or more is held than the quotas allow.
    pub(crate) fn assert_bounds(&self) {
        let waiting: usize = self.busy.values().map(VecDeque::len).sum();
        let pending = self.verifying.len() + waiting + self.committing.len();
        assert!(pending <= 2 * admit::MAX_PENDING, "{pending} runs on their way into the catalogue");
        assert!(self.parked.len() <= admit::MAX_PARKED, "{} runs parked", self.parked.len());
        assert!(self.busy.values().all(|waiting| waiting.len() <= admit::MAX_WAITING));
    }

    /// (length, tip) of one publisher's log; `None` when nothing of it is held.
    pub(crate) fn state(&self, publisher: PublisherId) -> Option<PublisherState> {
        self.logs.get(&publisher).and_then(state_of)
    }

    /// What peers are told of a publisher: that it is forked, when that can be proven, or else the state of its log.
    pub(crate) fn claim(&self, publisher: PublisherId) -> Option<PublisherState> {
        let forked = self.proofs.contains_key(&publisher);
        if forked { Some(PublisherState::forked(publisher)) } else { self.state(publisher) }
    }

    /// Publishers of whom something is held.
    pub(crate) fn publishers(&self) -> usize {
        self.logs.len()
    }

    /// The head record and the encoded statements from position `from` on, at most `max_bytes` together. Without
    /// statements, the longest head known: it may count some that are not here.
    pub(crate) fn log(&self, publisher: PublisherId, from: u64, max_bytes: usize) -> Option<(Bytes, Vec<Bytes>)> {
        let log = self.logs.get(&publisher)?;
        let from = usize::try_from(from).unwrap_or(usize::MAX).min(log.entries().len());
        let mut room = max_bytes.checked_sub(log.head.record.len())?;
        let fits = |entry: &&Kept| match room.checked_sub(entry.envelope.len()) {
            Some(left) => {
                room = left;
                true
            }
            None => false,
        };
        let entries = log.entries()[from..].iter().take(MAX_RUN).take_while(fits);
        let entries: Vec<_> = entries.map(|entry| entry.envelope.clone()).collect();
        let parked = self.parked.range((publisher, 0)..=(publisher, u64::MAX)).map(|(_, parked)| &parked.run.record);
        let longer = parked.filter(|record| entries.is_empty() && record.head.length > log.head.length);
        let longest = longer.max_by_key(|record| record.head.length);
        Some((longest.map_or(&log.head.record, |record| &record.bytes).clone(), entries))
    }

    /// The encoded statement at a place in a log.
    pub(crate) fn statement(&self, publisher: PublisherId, position: u64) -> Option<Bytes> {
        Some(self.logs.get(&publisher)?.get(position)?.envelope.clone())
    }

    /// The current head record (inception and signed head) of a publisher.
    pub(crate) fn record(&self, publisher: PublisherId) -> Option<Bytes> {
        self.logs.get(&publisher).map(|log| log.head.record.clone())
    }

    /// Does a valid head record promise statements that this node lacks? Then `handle_head_record` raises `Behind`, or
    /// `Refused` when there is no room for them.
    pub(crate) fn is_behind(&self, publisher: PublisherId, record: &Bytes) -> bool {
        let run = self.open_record(record).filter(|run| run.publisher() == publisher);
        let longer = |run: &Run| run.record.head.length > self.logs.get(&publisher).map_or(0, Log::len);
        run.is_some_and(|run| longer(&run) && self.is_news(&run))
    }

    /// All releases, in ascending order of publisher and position.
    #[cfg(test)]
    pub(crate) fn releases(&self) -> impl Iterator<Item = Arc<ReleaseInfo>> {
        let all = self.logs.values().flat_map(Log::entries);
        all.filter_map(|kept| self.info(kept.digest, kept.statement(&self.network)?))
    }

    /// Releases known.
    pub(crate) fn len(&self) -> usize {
        self.packages.count()
    }
}

fn state_of(log: &Log) -> Option<PublisherState> {
    let state = PublisherState { publisher: log.publisher(), length: log.len(), tip: log.tip() };
    (state.length > 0).then_some(state)
}
