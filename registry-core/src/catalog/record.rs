//! The head record: what the DHT holds under `/wharf/<publisher id>`.
//!
//! The DAG-CBOR list `[inception, rotations, head]`: two encoded envelopes as byte strings, and between them the list of
//! rotations of keys. This version knows no rotations and takes a record with some for one of a later version. A record
//! can be checked alone; of two valid ones the [higher ranked](RecordCheck::rank) wins on every node.

use alloc::vec::Vec;
use core::fmt;

use bytes::Bytes;

use crate::action::SignatureCheck;
use crate::catalog::cbor::{self, List};
use crate::catalog::envelope::{Domain, Envelope, StatementError};
use crate::catalog::head::{Head, MAX_HEAD};
use crate::catalog::inception::{self, Inception};
use crate::id::{Digest, PublisherId};
use crate::time::UnixTime;

/// Bytes of an encoded record: 10 KiB with its DHT key.
pub const MAX_RECORD: usize = 10 * 1024 - 128;

/// Rotations a later version may list.
const MAX_ROTATIONS: usize = 16;

type Encoded<'a> = (&'a serde_bytes::Bytes, List<&'a serde_bytes::Bytes, MAX_ROTATIONS>, &'a serde_bytes::Bytes);

/// A parsed record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct HeadRecord {
    /// The encoded form.
    pub(crate) bytes: Bytes,
    pub(crate) inception: Inception,
    pub(crate) head: Head,
}

impl HeadRecord {
    /// The encoded record of an encoded inception and head.
    pub(crate) fn encode(inception: &[u8], head: &[u8]) -> Bytes {
        let encoded: Encoded<'_> =
            (serde_bytes::Bytes::new(inception), List(Vec::new()), serde_bytes::Bytes::new(head));
        cbor::encode(&encoded)
    }

    /// The encoded inception in an encoded record.
    pub(crate) fn inception(bytes: &Bytes) -> Option<Bytes> {
        let (inception, _, _): Encoded<'_> = cbor::decode(bytes).ok()?;
        Some(bytes.slice_ref(inception))
    }

    /// Parses a record and names the signatures it stands or falls with.
    pub(crate) fn open(bytes: &Bytes) -> Result<(Self, Vec<SignatureCheck>), StatementError> {
        if bytes.len() > MAX_RECORD {
            return Err(StatementError::TooLong);
        }
        let (inception, rotations, head): Encoded<'_> = cbor::decode(bytes)?;
        if !rotations.is_empty() {
            return Err(StatementError::Kind);
        }
        let (publisher, inception, mut checks) = inception::open(&bytes.slice_ref(inception))?;
        let envelope = Envelope::decode(&bytes.slice_ref(head), MAX_HEAD)?;
        let head = Head::from_body(&envelope.body)?;
        if head.publisher != publisher {
            return Err(StatementError::Publisher);
        }
        checks.extend(envelope.checks(Domain::Head, &inception)?);
        Ok((Self { bytes: bytes.clone(), inception, head }, checks))
    }

    /// See [`RecordCheck::rank`].
    pub(crate) fn rank(&self) -> (u64, UnixTime, Digest) {
        (self.head.length, self.head.time, Digest::of(&self.bytes))
    }
}

/// What a log keeps of its record; the rest is read from the bytes when it is needed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct LogHead {
    /// The encoded record.
    pub(crate) record: Bytes,
    pub(crate) length: u64,
    pub(crate) time: UnixTime,
    pub(crate) expiry: UnixTime,
}

impl LogHead {
    /// See [`RecordCheck::rank`].
    pub(crate) fn rank(&self) -> (u64, UnixTime, Digest) {
        (self.length, self.time, Digest::of(&self.record))
    }
}

impl From<HeadRecord> for LogHead {
    fn from(HeadRecord { bytes, head, inception: _ }: HeadRecord) -> Self {
        Self { record: bytes, length: head.length, time: head.time, expiry: head.expiry }
    }
}

/// A structurally valid record: it is valid when all signatures hold.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RecordCheck {
    /// The signatures.
    pub checks: Vec<SignatureCheck>,
    /// Whose log.
    pub publisher: PublisherId,
    /// Its length.
    pub length: u64,
    /// When the head was signed.
    pub time: UnixTime,
    /// The digest of the whole record.
    pub digest: Digest,
}

impl RecordCheck {
    /// The order in which records of one publisher win: the longer log, then the later head, then the digest of the
    /// record's bytes, so that every node chooses the same one.
    pub fn rank(&self) -> (u64, UnixTime, Digest) {
        (self.length, self.time, self.digest)
    }
}

/// Checks everything about a record found under `key` but its signatures.
///
/// # Errors
/// When it is no record, or not that of the publisher the key names.
pub fn check(key: &[u8], value: &[u8]) -> Result<RecordCheck, RecordError> {
    if value.len() > MAX_RECORD {
        return Err(RecordError(StatementError::TooLong));
    }
    let (record, checks) = HeadRecord::open(&Bytes::copy_from_slice(value)).map_err(RecordError)?;
    let publisher = record.head.publisher;
    if publisher.record_key() != key {
        return Err(RecordError(StatementError::Publisher));
    }
    let (length, time, digest) = record.rank();
    Ok(RecordCheck { checks, publisher, length, time, digest })
}

/// Why a value is no head record of its key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RecordError(pub StatementError);

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "head record: {}", self.0)
    }
}

impl core::error::Error for RecordError {}
