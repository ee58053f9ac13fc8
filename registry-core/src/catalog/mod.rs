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
//! | `record`, `announcement` | what the DHT and gossip carry of them |
//! | `release`, `version`, `spec` | what a release says, the order of versions, how people name one |
//! | `log`, `merkle`, `packages` | one publisher's log, its tree, all releases by name |
//! | `admit`, `publish` | the way into a log, for others and for this node |

mod admit;
pub(crate) mod announcement;
pub(crate) mod cbor;
pub mod envelope;
pub mod head;
pub mod inception;
mod log;
pub(crate) mod merkle;
mod packages;
pub(crate) mod proven;
mod publish;
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
use crate::catalog::admit::{Commit, MAX_RUN, Submission};
use crate::catalog::log::{Conflict, Entry, Kept, Log, Run};
use crate::catalog::packages::Packages;
use crate::catalog::publish::Own;
use crate::catalog::record::HeadRecord;
use crate::config::CatalogConfig;
use crate::cx::Cx;
use crate::event::{BatchOutcome, OpError};
use crate::id::{Digest, JobId, OpId, PeerIx, PublisherId, StoreId};
use crate::input::Row;
use crate::wire::registry::PublisherState;

pub use envelope::{Domain, Envelope, FieldError, StatementError};
pub use head::Head;
pub use inception::{Inception, LocalPublisher};
pub use publish::MAX_BATCH;
pub(crate) use publish::Order;
pub use release::{Content, Dependency, Name, NewRelease, Release, ReleaseInfo, UpdateKind};
pub use spec::PackageSpec;
pub use version::{Scheme, Version};

/// What the catalogue raises for its siblings, in order.
#[derive(Clone, Debug)]
pub(crate) enum CatalogEvent {
    /// A statement is durable and part of the catalogue. Raised once per statement.
    Admitted { kind: UpdateKind, release: Arc<ReleaseInfo> },
    /// An own release is signed (`Stage::Signed`).
    Signed { op: OpId },
    /// An own release is durable: put the head record under the publisher's key, provide, gossip `announcement`.
    Announce { op: OpId, release: Arc<ReleaseInfo>, announcement: Bytes },
    /// Of an own batch: what became of each release, all that is published being durable.
    BatchDone { op: OpId, outcomes: Vec<BatchOutcome> },
    /// The own head was renewed before it expired, or moved by batches: put its record under the publisher's key, gossip
    /// `announcement`.
    HeadMoved { announcement: Bytes },
    /// An own release could not be made.
    PublishFailed { op: OpId, error: OpError },
    /// A head says that this publisher has more statements than this node: fetch them (first from `source`).
    Behind { publisher: PublisherId, want: u64, source: Option<PeerIx> },
    /// What `handle_announcement` or `handle_entries` was given is judged. Of an announcement: it may be forwarded or
    /// not; on `Reject` its source is already charged. Of entries: `Accept` once they are durable; on `Reject`, sync
    /// charges whom it asked.
    Judged { ticket: u64, verdict: Verdict },
}

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
    limits: CatalogConfig,
    logs: BTreeMap<PublisherId, Log>,
    packages: Packages,
    /// Bytes of records and statements in `logs`.
    bytes: usize,
    own: Option<Own>,
    verifying: BTreeMap<JobId, Submission>,
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
            limits: cx.config.catalog.clone(),
            logs: BTreeMap::new(),
            packages: Packages::default(),
            bytes: 0,
            own: Own::new(cx),
            verifying: BTreeMap::new(),
            busy: BTreeMap::new(),
            committing: BTreeMap::new(),
            parked: BTreeMap::new(),
        }
    }

    /// A row of `Table::Publisher` or `Table::Log`. Signatures were checked before it was stored. A row that does not
    /// fit ends its log there; the rest comes back by sync, and until then an own log takes no new release. Gives the
    /// release that came back with the row.
    pub(crate) fn handle_recovered(&mut self, cx: &mut Cx<'_>, row: Row) -> Option<Arc<ReleaseInfo>> {
        let (id, rest) = row.key.split_first_chunk::<32>()?;
        let publisher = PublisherId(Digest(*id));
        match (row.table, rest) {
            (Table::Publisher, []) => self.recover_record(cx, publisher, &row.value),
            (Table::Publisher, _) => {
                if let (Some(log), Ok(conflict)) = (self.logs.get_mut(&publisher), Conflict::decode(&row.value)) {
                    log.conflict = Some(Box::new(conflict));
                }
            }
            (Table::Log, _) => return self.recover_entry(publisher, rest, &row.value),
            (Table::Meta | Table::Content | Table::Fetch | Table::PeerAddrs | Table::Ban, _) => {}
        }
        None
    }

    fn recover_record(&mut self, cx: &Cx<'_>, publisher: PublisherId, value: &Bytes) {
        let record = HeadRecord::open(value).ok().map(|(record, _)| record);
        let fits = |record: &HeadRecord| record.head.publisher == publisher && record.head.network == self.network;
        if let Some(record) = record.filter(fits) {
            self.raise_floor(publisher, record.head.length);
            self.bytes = self.bytes.saturating_add(record.bytes.len());
            self.logs.insert(publisher, Log::new(publisher, record.into()));
            self.schedule_renewal(cx, publisher);
        }
    }

    fn recover_entry(&mut self, publisher: PublisherId, position: &[u8], value: &Bytes) -> Option<Arc<ReleaseInfo>> {
        let position = position.try_into().map_or(0, u64::from_be_bytes);
        self.raise_floor(publisher, position.saturating_add(1));
        let log = self.logs.get_mut(&publisher)?;
        let (entry, _) = Entry::open(value, &self.network).ok()?;
        if entry.position() != position || !log.continues(&entry) {
            return None;
        }
        let release = entry.release.clone();
        self.bytes = self.bytes.saturating_add(entry.envelope.len());
        self.packages.insert(&release.release);
        log.push(entry);
        Some(release)
    }

    pub(crate) fn poll_event(&mut self) -> Option<CatalogEvent> {
        self.events.pop_front()
    }

    /// The release a specification names. Without a publisher, only when one publisher alone has that name.
    pub(crate) fn resolve(&self, spec: &PackageSpec) -> Option<Arc<ReleaseInfo>> {
        self.packages.resolve(spec).and_then(|(publisher, position)| self.release(publisher, position))
    }

    /// The release at a place in a log. Parsed at each call: for what is shown, not for loops over everything.
    pub(crate) fn release(&self, publisher: PublisherId, position: u64) -> Option<Arc<ReleaseInfo>> {
        self.logs.get(&publisher)?.get(position)?.release(&self.network)
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

    /// (length, tip) of one publisher's log; `None` when nothing of it is held.
    pub(crate) fn state(&self, publisher: PublisherId) -> Option<PublisherState> {
        self.logs.get(&publisher).and_then(state_of)
    }

    /// The head record and the encoded statements from position `from` on, at most `max_bytes` together.
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
        let entries = entries.map(|entry| entry.envelope.clone()).collect();
        Some((log.head.record.clone(), entries))
    }

    /// The encoded statement at a place in a log.
    pub(crate) fn statement(&self, publisher: PublisherId, position: u64) -> Option<Bytes> {
        Some(self.logs.get(&publisher)?.get(position)?.envelope.clone())
    }

    /// The current head record (inception and signed head) of a publisher.
    pub(crate) fn record(&self, publisher: PublisherId) -> Option<Bytes> {
        self.logs.get(&publisher).map(|log| log.head.record.clone())
    }

    /// Does a valid head record promise statements that this node lacks and would take? Then `handle_head_record` raises
    /// `Behind`.
    pub(crate) fn is_behind(&self, publisher: PublisherId, record: &Bytes) -> bool {
        let run = self.open_record(record).filter(|run| run.publisher() == publisher);
        let longer = |run: &Run| run.record.head.length > self.logs.get(&publisher).map_or(0, Log::len);
        run.is_some_and(|run| longer(&run) && self.is_news(&run) && self.within_quotas(&run))
    }

    /// All releases, in ascending order of publisher and position.
    pub(crate) fn releases(&self) -> impl Iterator<Item = Arc<ReleaseInfo>> {
        self.logs.values().flat_map(Log::entries).filter_map(|entry| entry.release(&self.network))
    }

    /// The position of the release that stands for its package: the highest version.
    pub(crate) fn current(&self, publisher: PublisherId, name: &Name) -> Option<u64> {
        self.packages.versions(publisher, name).last().map(|listed| listed.position)
    }

    /// Releases known.
    pub(crate) fn len(&self) -> usize {
        self.logs.values().map(|log| log.entries().len()).sum()
    }
}

fn state_of(log: &Log) -> Option<PublisherState> {
    let state = PublisherState { publisher: log.publisher(), length: log.len(), tip: log.tip() };
    (state.length > 0).then_some(state)
}
