//! `/wharf/registry/1`: request and response, DAG-CBOR bodies.

use alloc::vec::Vec;

use bytes::Bytes;

use crate::id::{Digest, PublisherId};
use crate::wire::WireError;

/// Leaves room for a useful batch of 16 KiB statements.
pub(crate) const MAX_FRAME: usize = 1024 * 1024;

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum RegistryMessage {
    /// What does your catalogue hold? Answered by `Summary`.
    GetSummary,
    /// One fingerprint per range of publisher ids (by the first four bits), over (publisher, length, tip).
    Summary { fingerprints: Vec<Digest> },
    /// The publishers of one range, after a given one. Answered by `Publishers`.
    GetPublishers { range: u8, after: Option<PublisherId> },
    /// In ascending order of id.
    Publishers { entries: Vec<PublisherState>, more: bool },
    /// Statements `from..` of a publisher's log, as many as fit. Answered by `Log`.
    GetLog { publisher: PublisherId, from: u64 },
    /// The publisher's head record (inception and signed head) and a run of encoded envelopes. Empty: not known.
    Log { record: Bytes, from: u64, entries: Vec<Bytes> },
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct PublisherState {
    pub(crate) publisher: PublisherId,
    pub(crate) length: u64,
    pub(crate) tip: Digest,
}

impl RegistryMessage {
    pub(crate) fn encode_into(&self, _out: &mut Vec<u8>) {}

    pub(crate) fn decode(_frame: Bytes) -> Result<Self, WireError> {
        Err(WireError::Encoding)
    }
}
