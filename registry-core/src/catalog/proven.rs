//! One release for whoever holds no log: its statement beside the head record of its publisher.
//!
//! The record's inception names the keys, they have signed the statement, and its place lies below the signed head. What
//! is not shown is that nothing came after it: only more peers, or the log, can tell.

use alloc::sync::Arc;

use bytes::Bytes;

use crate::catalog::amendment::Status;
use crate::catalog::envelope::{Domain, StatementError};
use crate::catalog::log::{Checks, Entry};
use crate::catalog::record::HeadRecord;
use crate::catalog::release::{Release, ReleaseInfo};
use crate::catalog::statement::{Says, Statement};

/// Parses a release of a record's publisher, of which nobody has said anything later, and names the signatures it stands or falls with, those of the record left
/// out.
pub(crate) fn open(
    network: &str,
    record: &HeadRecord,
    envelope: &Bytes,
) -> Result<(Arc<ReleaseInfo>, Checks), StatementError> {
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
    let Statement { publisher, position, previous, says } = entry.statement;
    let Says::Release(meta) = says else { return Err(StatementError::Link) };
    let release = Release { publisher, position, previous, meta };
    Ok((Arc::new(ReleaseInfo { statement: entry.digest, release, status: Status::default() }), checks))
}
