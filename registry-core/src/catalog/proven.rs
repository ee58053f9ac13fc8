//! One statement for whoever holds no log: its envelope beside the head record of its publisher.
//!
//! The record's inception names the keys, they have signed the statement, and its place lies below the signed head. What
//! is not shown is that nothing came after it: only more peers, or the log, can tell.

use alloc::sync::Arc;

use bytes::Bytes;

use crate::catalog::amendment::{Amendment, Status};
use crate::catalog::envelope::{Domain, StatementError};
use crate::catalog::log::{Checks, Entry};
use crate::catalog::record::HeadRecord;
use crate::catalog::release::{Release, ReleaseInfo};
use crate::catalog::statement::{Says, Statement};
use crate::id::PublisherId;

/// What was said later of a package.
#[derive(Clone, Debug)]
pub(crate) struct Word {
    pub(crate) publisher: PublisherId,
    /// In the publisher's log.
    pub(crate) position: u64,
    pub(crate) amendment: Amendment,
}

/// Parses a release of a record's publisher, as if nothing was said of it later, and names the signatures it stands or
/// falls with, those of the record left out.
pub(crate) fn release(
    network: &str,
    record: &HeadRecord,
    envelope: &Bytes,
) -> Result<(Arc<ReleaseInfo>, Checks), StatementError> {
    let (Entry { digest, statement, .. }, checks) = open(network, record, envelope)?;
    let Statement { publisher, position, previous, says } = statement;
    let Says::Release(meta) = says else { return Err(StatementError::Link) };
    let release = Release { publisher, position, previous, meta };
    Ok((Arc::new(ReleaseInfo { statement: digest, release, status: Status::default() }), checks))
}

/// The same of an amendment.
pub(crate) fn word(network: &str, record: &HeadRecord, envelope: &Bytes) -> Result<(Word, Checks), StatementError> {
    let (Entry { statement, .. }, checks) = open(network, record, envelope)?;
    let Statement { publisher, position, says, .. } = statement;
    let Says::Amendment(amendment) = says else { return Err(StatementError::Link) };
    Ok((Word { publisher, position, amendment }, checks))
}

fn open(network: &str, record: &HeadRecord, envelope: &Bytes) -> Result<(Entry, Checks), StatementError> {
    let (entry, parsed) = Entry::open(envelope, network)?;
    let head = &record.head;
    if head.network != network {
        return Err(StatementError::Network);
    }
    if entry.statement.publisher != head.publisher {
        return Err(StatementError::Publisher);
    }
    let next = entry.position().saturating_add(1);
    let below_tip = next < head.length;
    let at_tip = next == head.length && entry.digest == head.tip;
    if !below_tip && !at_tip {
        return Err(StatementError::Link);
    }
    let checks = parsed.checks(Domain::Statement, &record.inception)?;
    Ok((entry, checks))
}
