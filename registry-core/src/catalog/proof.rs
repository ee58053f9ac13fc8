//! Proofs that a publisher has contradicted itself, for anybody, also without its log.
//!
//! The DAG-CBOR list `[inception, first, second]` of byte strings: the encoded inception, and two things its keys have
//! signed, each the encoded envelope of a statement or a head record, that cannot both be:
//!
//! * two statements at one position, or two that release one version,
//! * two statements at neighbouring positions of which the later one does not link to the earlier,
//! * a statement, and a head that says that another one was the last when the log was so long.
//!
//! A head whose root does not fit is a contradiction too, but only who holds the log can see it.

use alloc::boxed::Box;

use bytes::Bytes;

use crate::catalog::announcement::MAX_ANNOUNCEMENT;
use crate::catalog::cbor;
use crate::catalog::envelope::{Domain, StatementError};
use crate::catalog::head::Head;
use crate::catalog::inception::{self, Inception};
use crate::catalog::log::{Checks, Conflict, Entry};
use crate::catalog::record::HeadRecord;
use crate::catalog::release::NewRelease;
use crate::catalog::statement::{Says, Statement};
use crate::id::PublisherId;

/// Bytes of a proof: it is gossiped as announcements are.
pub(crate) const MAX_PROOF: usize = MAX_ANNOUNCEMENT;

/// Proofs kept: of publishers that somebody bothered to forge; most are about one KiB. Those of the own publisher and of
/// followed ones come on top, so that no flood of forged publishers hides that they contradict themselves.
pub(crate) const MAX_PROOFS: usize = 1024;

type Encoded<'a> = (&'a serde_bytes::Bytes, &'a serde_bytes::Bytes, &'a serde_bytes::Bytes);

/// A well-formed proof; true when its signatures hold.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Proof {
    pub(crate) bytes: Bytes,
    pub(crate) publisher: PublisherId,
    pub(crate) conflict: Conflict,
}

enum Signed {
    Statement(Box<Entry>),
    Head(Head),
}

impl Proof {
    /// The proof a contradiction gives, when it can be seen without the log.
    pub(crate) fn of(network: &str, inception: &Bytes, Conflict(first, second): &Conflict) -> Option<Self> {
        let encoded: Encoded<'_> =
            (serde_bytes::Bytes::new(inception), serde_bytes::Bytes::new(first), serde_bytes::Bytes::new(second));
        Self::open(network, &cbor::encode(&encoded)).ok().map(|(proof, _)| proof)
    }

    /// Parses a proof and names the signatures it stands or falls with.
    pub(crate) fn open(network: &str, bytes: &Bytes) -> Result<(Self, Checks), StatementError> {
        if bytes.len() > MAX_PROOF {
            return Err(StatementError::TooLong);
        }
        let (inception, first, second): Encoded<'_> = cbor::decode(bytes)?;
        let conflict = Conflict(bytes.slice_ref(first), bytes.slice_ref(second));
        let (publisher, inception, mut checks) = inception::open(&bytes.slice_ref(inception))?;
        let mut open = |bytes| signed(network, publisher, &inception, bytes, &mut checks);
        let (first, second) = (open(&conflict.0)?, open(&conflict.1)?);
        if !contradict(&first, &second) {
            return Err(StatementError::Link);
        }
        Ok((Self { bytes: bytes.clone(), publisher, conflict }, checks))
    }
}

fn signed(
    network: &str,
    publisher: PublisherId,
    inception: &Inception,
    bytes: &Bytes,
    checks: &mut Checks,
) -> Result<Signed, StatementError> {
    let (signed, of, its_network) = match HeadRecord::open(bytes) {
        Ok((HeadRecord { head, .. }, more)) => {
            checks.extend(more);
            let (of, its_network) = (head.publisher, head.network == network);
            (Signed::Head(head), of, its_network)
        }
        Err(_) => {
            let (entry, envelope) = Entry::open(bytes, network)?;
            checks.extend(envelope.checks(Domain::Statement, inception)?);
            let of = entry.statement.publisher;
            (Signed::Statement(Box::new(entry)), of, true)
        }
    };
    match (of == publisher, its_network) {
        (true, true) => Ok(signed),
        (false, _) => Err(StatementError::Publisher),
        (true, false) => Err(StatementError::Network),
    }
}

fn contradict(first: &Signed, second: &Signed) -> bool {
    match (first, second) {
        (Signed::Statement(a), Signed::Statement(b)) => {
            let same_place = a.statement.position == b.statement.position;
            let same_version =
                version(&a.statement).is_some_and(|version| Some(version) == self::version(&b.statement));
            a.digest != b.digest && (same_place || same_version || breaks(a, b) || breaks(b, a))
        }
        (Signed::Statement(entry), Signed::Head(head)) | (Signed::Head(head), Signed::Statement(entry)) => {
            entry.position().checked_add(1) == Some(head.length) && entry.digest != head.tip
        }
        (Signed::Head(_), Signed::Head(_)) => false,
    }
}

/// Does the one stand right after the other without linking to it?
fn breaks(earlier: &Entry, later: &Entry) -> bool {
    let next = earlier.position().checked_add(1);
    next == Some(later.position()) && later.statement.previous != earlier.digest
}

fn version(statement: &Statement) -> Option<(&str, &str)> {
    let Says::Release(NewRelease { name, version, .. }) = &statement.says else { return None };
    Some((name.as_str(), &version.text))
}
