//! What a search brings to a node without a catalogue: everything it needs to judge the results itself.

use alloc::vec::Vec;

use bytes::Bytes;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{MAX_HEAD_RECORD, MAX_STATEMENT, own};
use crate::catalog::cbor::List;
use crate::search::Statistics;

/// Releases in one answer: two pages of results, and some milliseconds of work for who judges them.
pub(crate) const MAX_FOUND: usize = 48;

/// Releases that match, and what ranks them. On the wire the array of statistics, records and releases.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Found {
    /// What the asked node's index knows of the query; empty when a name was asked for.
    pub(crate) statistics: Statistics,
    /// Head records (inception and signed head) of the publishers, each once.
    pub(crate) records: Vec<Bytes>,
    /// Best first.
    pub(crate) releases: Vec<FoundRelease>,
}

/// An array of the three.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct FoundRelease {
    /// Which of the records is its publisher's.
    pub(crate) record: u64,
    /// The encoded envelope of the statement.
    pub(crate) envelope: Bytes,
    /// Packages that depend on it, as far as the asked node has seen.
    pub(crate) dependents: u32,
}

type EncodedRelease<'a> = (u64, &'a serde_bytes::Bytes, u32);

impl Serialize for Found {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let records: Vec<_> = self.records.iter().map(|record| serde_bytes::Bytes::new(record)).collect();
        let releases = self.releases.iter().map(|FoundRelease { record, envelope, dependents }| {
            (*record, serde_bytes::Bytes::new(envelope), *dependents)
        });
        let releases: Vec<EncodedRelease<'_>> = releases.collect();
        (&self.statistics, records, releases).serialize(to)
    }
}

impl<'de> Deserialize<'de> for Found {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let (statistics, records, releases): (
            Statistics,
            List<&serde_bytes::Bytes, MAX_FOUND>,
            List<EncodedRelease<'_>, MAX_FOUND>,
        ) = Deserialize::deserialize(from)?;
        let releases = releases.0.into_iter().map(|(record, envelope, dependents)| {
            let known = usize::try_from(record).is_ok_and(|record| record < records.0.len());
            let envelope = own(envelope, MAX_STATEMENT)?;
            if known {
                Ok(FoundRelease { record, envelope, dependents })
            } else {
                Err(D::Error::custom("no such record"))
            }
        });
        let releases = releases.collect::<Result<_, _>>()?;
        let records = records.0.into_iter().map(|record| own(record, MAX_HEAD_RECORD)).collect::<Result<_, _>>()?;
        Ok(Self { statistics, records, releases })
    }
}
