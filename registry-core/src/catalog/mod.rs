//! The catalogue: publishers, their logs, and what they released.
//!
//! Statements are admitted only when their signatures, positions and links hold. The machine knows nothing of how they
//! travel: gossip and sync hand them in, events tell what was admitted.

pub(crate) mod cbor;
pub mod envelope;
pub mod head;
pub mod inception;
mod merkle;
pub mod record;
pub mod release;
#[cfg(test)]
mod tests;

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::Bytes;

use crate::command::CommandError;
use crate::cx::Cx;
use crate::event::OpError;
use crate::id::{JobId, OpId, PeerIx, PublisherId, StoreId};
use crate::input::{Row, StoreResult};
use crate::time::Instant;
use crate::wire::registry::PublisherState;

pub use envelope::{Domain, Envelope, StatementError};
pub use head::Head;
pub use inception::{Inception, LocalPublisher};
pub use release::{
    Content, Dependency, Name, NewRelease, PackageSpec, Release, ReleaseInfo, Scheme, UpdateKind, Version,
};

/// What the catalogue raises for its siblings, in order.
#[derive(Clone, Debug)]
pub(crate) enum CatalogEvent {
    /// A statement is durable and part of the catalogue. Raised once per statement.
    Admitted { kind: UpdateKind, release: Arc<ReleaseInfo> },
    /// An own release is signed (`Stage::Signed`).
    Signed { op: OpId },
    /// An own release is durable: put `record` under the publisher's key, provide, gossip `announcement`.
    Announce { op: OpId, release: Arc<ReleaseInfo>, record: Bytes, announcement: Bytes },
    /// An own release could not be made.
    PublishFailed { op: OpId, error: OpError },
    /// A head says that this publisher has more statements than this node: fetch them (first from `source`).
    Behind { publisher: PublisherId, have: u64, want: u64, source: Option<PeerIx> },
    /// What `handle_announcement` or `handle_entries` was given is judged.
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
}

impl Catalog {
    pub(crate) fn new() -> Self {
        Self { events: VecDeque::new() }
    }

    /// A row of `Table::Publisher` or `Table::Log`; own signatures were checked before they were stored.
    pub(crate) fn handle_recovered(&mut self, _cx: &mut Cx<'_>, _row: Row) {}

    /// Starts an own release: sign the statement, then the head, commit both, then `Announce`.
    pub(crate) fn publish(&mut self, _cx: &mut Cx<'_>, _op: OpId, _new: NewRelease) {}

    /// A gossiped announcement. Ends in `Judged` with the same ticket.
    pub(crate) fn handle_announcement(&mut self, _cx: &mut Cx<'_>, _ticket: u64, _source: PeerIx, _data: Bytes) {}

    /// A run of a publisher's log from sync, with the head record that covers it. Ends in `Judged`.
    pub(crate) fn handle_entries(
        &mut self,
        _cx: &mut Cx<'_>,
        _ticket: u64,
        _source: PeerIx,
        _record: Bytes,
        _from: u64,
        _entries: Vec<Bytes>,
    ) {
    }

    /// A head record found in the DHT (its validator has accepted it): may raise `Behind`.
    pub(crate) fn handle_head_record(&mut self, _cx: &mut Cx<'_>, _record: Bytes) {}

    pub(crate) fn handle_verified(&mut self, _cx: &mut Cx<'_>, _job: JobId, _ok: bool) {}

    pub(crate) fn handle_signed(&mut self, _cx: &mut Cx<'_>, _job: JobId, _signature: Option<Bytes>) {}

    pub(crate) fn handle_stored(&mut self, _cx: &mut Cx<'_>, _op: StoreId, _result: StoreResult) {}

    /// Renews the own head before it expires.
    pub(crate) fn handle_timeout(&mut self, _cx: &mut Cx<'_>) {}

    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        None
    }

    pub(crate) fn poll_event(&mut self) -> Option<CatalogEvent> {
        self.events.pop_front()
    }

    /// The release a specification names: the exact version, or the highest in the range. Without a publisher, only
    /// when one publisher alone has that name.
    pub(crate) fn resolve(&self, _spec: &PackageSpec) -> Option<Arc<ReleaseInfo>> {
        None
    }

    /// All releases of one package, highest version first.
    pub(crate) fn versions(&self, _publisher: PublisherId, _name: &Name) -> Vec<Arc<ReleaseInfo>> {
        Vec::new()
    }

    /// Every publisher's state in ascending order of id, from `after` on.
    pub(crate) fn states(&self, _after: Option<PublisherId>) -> impl Iterator<Item = PublisherState> + '_ {
        core::iter::empty()
    }

    /// (length, tip) of one publisher's log.
    pub(crate) fn state(&self, _publisher: PublisherId) -> Option<PublisherState> {
        None
    }

    /// The head record and the encoded statements from position `from` on, at most `max_bytes` together.
    pub(crate) fn log(&self, _publisher: PublisherId, _from: u64, _max_bytes: usize) -> Option<(Bytes, Vec<Bytes>)> {
        None
    }

    /// The current head record (inception and signed head) of a publisher.
    pub(crate) fn record(&self, _publisher: PublisherId) -> Option<Bytes> {
        None
    }

    /// Would `publish` take it? Checks every field, and that the version is new (queued publishes included).
    pub(crate) fn check_publish(&self, _new: &NewRelease) -> Result<(), CommandError> {
        Ok(())
    }

    /// Does a valid head record say that the publisher's log is longer than what is held here?
    pub(crate) fn is_behind(&self, _publisher: PublisherId, _record: &Bytes) -> bool {
        false
    }

    /// All releases, in ascending order of publisher and position.
    pub(crate) fn releases(&self) -> impl Iterator<Item = &Arc<ReleaseInfo>> {
        core::iter::empty()
    }

    /// Releases known.
    pub(crate) fn len(&self) -> usize {
        0
    }
}
