//! Whom a node keeps when there is more than it wants to hold.
//!
//! | standing | who | what it may hold, within the quotas of one publisher |
//! |---|---|---|
//! | kept | the own publisher and the followed ones | everything, on top of the budget |
//! | settled | whoever came while there was room | together three quarters of the budget; when these are full, each may still grow up to an equal share of it |
//! | drawn | whoever came later | together the last quarter, each at most [`MAX_DRAWN`] statements; who has drawn a higher lot puts out those with the lowest |
//!
//! A flood cannot put out who was there before it. A lot is a keyed digest of the publisher's id, under a key that each
//! node draws for itself at its start: nobody can make ids that win, and a newcomer in a flood stays with the share of nodes
//! where it was lucky instead of nowhere. What is refused or put out is this node's own affair: nobody is blamed, and the
//! counts are in [`Stats`](crate::Stats).

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use bytes::Bytes;

use crate::action::{StoreRequest, Table, Write};
use crate::catalog::admit::{conflict_key, log_key};
use crate::catalog::log::{Log, Run};
use crate::catalog::statement::Says;
use crate::catalog::{Catalog, CatalogEvent};
use crate::command::CommandError;
use crate::config::CatalogConfig;
use crate::cx::Cx;
use crate::id::{Digest, Owner, PublisherId};
use crate::wire::registry::PublisherState;

/// Statements of a drawn publisher: small enough to put out many at once.
const MAX_DRAWN: u64 = 32;

/// Publishers put out for one run: bounds the work of one call.
const MAX_PUT_OUT: usize = 16;

/// Publishers one user follows; no reader has time for more.
pub(super) const MAX_FOLLOWED: usize = 4096;

/// How a publisher has come into the catalogue.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Standing {
    Kept,
    Settled,
    Drawn,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Usage {
    pub(crate) publishers: usize,
    pub(crate) bytes: usize,
}

impl Usage {
    fn and(self, other: Self) -> Self {
        Self {
            publishers: self.publishers.saturating_add(other.publishers),
            bytes: self.bytes.saturating_add(other.bytes),
        }
    }
}

/// What quotas have to tell.
#[derive(Clone, Copy, Debug)]
pub(crate) struct QuotaUse {
    pub(crate) bytes: usize,
    pub(crate) followed: usize,
    pub(crate) refused: u64,
    pub(crate) put_out: u64,
}

#[derive(Debug)]
pub(super) struct Quotas {
    pub(super) limits: CatalogConfig,
    /// Of the lots.
    key: [u8; 32],
    pub(super) followed: BTreeSet<PublisherId>,
    kept: Usage,
    settled: Usage,
    drawn: Usage,
    /// Of the drawn, lowest first.
    lots: BTreeSet<(u64, PublisherId)>,
    /// Runs since the start.
    pub(super) refused: u64,
    /// Publishers since the start.
    pub(super) put_out: u64,
}

impl Quotas {
    pub(super) fn new(cx: &mut Cx<'_>) -> Self {
        let mut key = [0; 32];
        cx.rng.fill(&mut key);
        Self {
            limits: cx.config.catalog.clone(),
            key,
            followed: BTreeSet::new(),
            kept: Usage::default(),
            settled: Usage::default(),
            drawn: Usage::default(),
            lots: BTreeSet::new(),
            refused: 0,
            put_out: 0,
        }
    }

    pub(super) fn usage(&self, standing: Standing) -> Usage {
        match standing {
            Standing::Kept => self.kept,
            Standing::Settled => self.settled,
            Standing::Drawn => self.drawn,
        }
    }

    fn usage_mut(&mut self, standing: Standing) -> &mut Usage {
        match standing {
            Standing::Kept => &mut self.kept,
            Standing::Settled => &mut self.settled,
            Standing::Drawn => &mut self.drawn,
        }
    }

    /// Bytes of all records and statements.
    pub(super) fn bytes(&self) -> usize {
        self.kept.bytes.saturating_add(self.settled.bytes).saturating_add(self.drawn.bytes)
    }

    pub(super) fn enter(&mut self, log: &Log) {
        let usage = self.usage_mut(log.standing);
        usage.publishers += 1;
        usage.bytes = usage.bytes.saturating_add(log.bytes());
        if log.standing == Standing::Drawn {
            let lot = self.lot(log.publisher());
            self.lots.insert(lot);
        }
    }

    pub(super) fn leave(&mut self, log: &Log) {
        let usage = self.usage_mut(log.standing);
        usage.publishers = usage.publishers.saturating_sub(1);
        usage.bytes = usage.bytes.saturating_sub(log.bytes());
        let lot = self.lot(log.publisher());
        self.lots.remove(&lot);
    }

    fn lot(&self, publisher: PublisherId) -> (u64, PublisherId) {
        let digest = Digest::of(&[&self.key[..], &publisher.0.0].concat());
        (digest.0[..8].iter().fold(0, |lot, byte| (lot << 8) | u64::from(*byte)), publisher)
    }

    /// The last quarter of the budget.
    fn lottery(&self) -> Usage {
        Usage { publishers: self.limits.max_publishers / 4, bytes: self.limits.max_bytes / 4 }
    }

    /// Is what the settled would hold within their part of the budget?
    fn settles(&self, settled: Usage) -> bool {
        let (limits, lottery) = (&self.limits, self.lottery());
        settled.publishers <= limits.max_publishers - lottery.publishers
            && settled.bytes <= limits.max_bytes - lottery.bytes
    }
}

impl Catalog {
    /// Changes a log under the eyes of the quotas.
    pub(super) fn change_log(&mut self, publisher: PublisherId, change: impl FnOnce(&mut Log)) {
        if let Some(log) = self.logs.get_mut(&publisher) {
            self.quotas.leave(log);
            change(log);
            self.quotas.enter(log);
        }
    }

    /// Where a valid run's publisher would stand with it, and whom that would put out; `None` refuses it.
    pub(super) fn room_for(&self, run: &Run) -> Option<(Standing, Vec<PublisherId>)> {
        let (publisher, quotas) = (run.publisher(), &self.quotas);
        if self.is_own(publisher) {
            return Some((Standing::Kept, Vec::new()));
        }
        let log = self.logs.get(&publisher);
        let have = log.map_or(0, Log::len);
        let at_least = u64::from(run.record.head.length > have);
        let length = have.saturating_add((run.entries.len() as u64).max(at_least));
        let bytes = log.map_or(0, Log::bytes).saturating_add(run.size());
        if length > quotas.limits.max_statements_per_publisher || bytes > quotas.limits.max_bytes_per_publisher {
            return None;
        }
        let coming = Usage { publishers: usize::from(log.is_none()), bytes: run.size() };
        let settled = self.taken(Standing::Settled).and(coming);
        match log.map(|log| log.standing) {
            _ if quotas.followed.contains(&publisher) => Some((Standing::Kept, Vec::new())),
            Some(Standing::Kept) => Some((Standing::Kept, Vec::new())),
            None | Some(Standing::Settled) if quotas.settles(settled) => Some((Standing::Settled, Vec::new())),
            Some(Standing::Settled) => {
                let share = quotas.limits.max_bytes / (settled.publishers + quotas.drawn.publishers).max(1);
                let room = Usage { publishers: usize::MAX, bytes: quotas.limits.max_bytes.checked_sub(settled.bytes)? };
                let put_out = (bytes <= share).then(|| self.put_out(room, Usage::default(), None))??;
                Some((Standing::Settled, put_out))
            }
            None | Some(Standing::Drawn) => {
                let lot = quotas.lot(publisher);
                let put_out = (length <= MAX_DRAWN).then(|| self.put_out(self.lottery(), coming, Some(lot)))??;
                Some((Standing::Drawn, put_out))
            }
        }
    }

    /// What the drawn may hold: their part of the budget, less what the settled have grown into it.
    fn lottery(&self) -> Usage {
        let Usage { publishers, bytes } = self.quotas.lottery();
        let left = self.quotas.limits.max_bytes.saturating_sub(self.taken(Standing::Settled).bytes);
        Usage { publishers, bytes: bytes.min(left) }
    }

    /// What publishers of a standing hold, with what is on its way to the store.
    fn taken(&self, standing: Standing) -> Usage {
        let commits = self.committing.values().filter(|commit| commit.standing == standing);
        let coming = commits.map(|commit| Usage {
            publishers: usize::from(!self.logs.contains_key(&commit.publisher)),
            bytes: commit.size(),
        });
        coming.fold(self.quotas.usage(standing), Usage::and)
    }

    /// The drawn publishers with the lowest lots, below the given one, that must go so that the others and what is coming
    /// have room.
    fn put_out(&self, room: Usage, coming: Usage, below: Option<(u64, PublisherId)>) -> Option<Vec<PublisherId>> {
        let Usage { mut publishers, mut bytes } = self.taken(Standing::Drawn).and(coming);
        let lots = self.quotas.lots.iter().take_while(|lot| below.is_none_or(|below| **lot < below));
        let mut idle = lots.filter(|(_, publisher)| !self.busy.contains_key(publisher)).take(MAX_PUT_OUT);
        let mut gone = Vec::new();
        while publishers > room.publishers || bytes > room.bytes {
            let (_, publisher) = *idle.next()?;
            publishers -= 1;
            bytes = bytes.saturating_sub(self.logs.get(&publisher).map_or(0, Log::bytes));
            gone.push(publisher);
        }
        Some(gone)
    }

    /// Is it worth fetching what a peer says it holds of a publisher?
    pub(crate) fn would_take(&self, claim: &PublisherState) -> bool {
        let (publisher, quotas) = (claim.publisher, &self.quotas);
        if claim.is_forked() {
            return self.wants_proof(publisher);
        }
        if self.logs.contains_key(&publisher) || self.is_own(publisher) || quotas.followed.contains(&publisher) {
            return true;
        }
        let newcomer = Usage { publishers: 1, bytes: 0 };
        let drawn = || {
            claim.length <= MAX_DRAWN && self.put_out(self.lottery(), newcomer, Some(quotas.lot(publisher))).is_some()
        };
        quotas.settles(self.taken(Standing::Settled).and(newcomer)) || drawn()
    }

    /// Forgets a publisher, here and in the store. It has at most `MAX_DRAWN` statements.
    pub(super) fn forget(&mut self, cx: &mut Cx<'_>, publisher: PublisherId) {
        let Some(log) = self.logs.remove(&publisher) else { return };
        self.quotas.leave(&log);
        self.quotas.put_out += 1;
        let statements = log.entries().iter().filter_map(|kept| kept.statement(&self.network));
        let name = |says| if let Says::Release(meta) = says { Some(meta.name) } else { None };
        let names: BTreeSet<_> = statements.filter_map(|statement| name(statement.says)).collect();
        names.iter().for_each(|name| self.packages.forget(publisher, name));
        let rows = [Bytes::copy_from_slice(&publisher.0.0), conflict_key(publisher), drawn_key(publisher)];
        let rows = rows.into_iter().map(|key| Write { table: Table::Publisher, key, value: None });
        let entry = |position| Write { table: Table::Log, key: log_key(publisher, position), value: None };
        let writes = rows.chain((0..log.len()).map(entry)).collect();
        cx.store(Owner::Catalog, StoreRequest::Commit(writes));
        self.events.push_back(CatalogEvent::PutOut { publisher, names: names.into_iter().collect() });
    }

    /// Keeps a publisher whatever the budget says, also after a restart; or no longer.
    pub(crate) fn follow(&mut self, cx: &mut Cx<'_>, publisher: PublisherId, on: bool) -> Result<(), CommandError> {
        if on && self.quotas.followed.len() >= MAX_FOLLOWED {
            return Err(CommandError::Busy);
        }
        let followed = Write { table: Table::Publisher, key: followed_key(publisher), value: on.then(Bytes::new) };
        let drawn = Write { table: Table::Publisher, key: drawn_key(publisher), value: None };
        cx.store(Owner::Catalog, StoreRequest::Commit([followed, drawn].into()));
        self.set_followed(publisher, on);
        Ok(())
    }

    /// For status.
    pub(crate) fn quota_use(&self) -> QuotaUse {
        let Quotas { followed, refused, put_out, .. } = &self.quotas;
        QuotaUse { bytes: self.quotas.bytes(), followed: followed.len(), refused: *refused, put_out: *put_out }
    }

    /// Who is no longer followed has settled.
    pub(super) fn set_followed(&mut self, publisher: PublisherId, on: bool) {
        if on {
            self.quotas.followed.insert(publisher);
        } else {
            self.quotas.followed.remove(&publisher);
        }
        let kept = on || self.is_own(publisher);
        self.change_log(publisher, |log| log.standing = if kept { Standing::Kept } else { Standing::Settled });
    }
}

/// Follows the publisher's own row: it is followed.
pub(super) fn followed_key(publisher: PublisherId) -> Bytes {
    Bytes::from([&publisher.0.0[..], b"+"].concat())
}

/// Follows the publisher's own row: it came by lot.
pub(super) fn drawn_key(publisher: PublisherId) -> Bytes {
    Bytes::from([&publisher.0.0[..], b"~"].concat())
}
