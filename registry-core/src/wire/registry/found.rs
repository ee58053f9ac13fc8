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

/// Later words on these in one answer: most packages have none.
pub(crate) const MAX_WORDS: usize = 96;

/// Releases that match, and what ranks them. On the wire the array of statistics, records, releases and words.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Found {
    /// What the asked node's index knows of the query; empty when a name was asked for.
    pub(crate) statistics: Statistics,
    /// Head records (inception and signed head) of the publishers, each once.
    pub(crate) records: Vec<Bytes>,
    /// Best first.
    pub(crate) releases: Vec<FoundRelease>,
    /// Of the packages of these releases: what marks them as yanked or deprecated, or no longer, and what has yanked
    /// versions above them.
    pub(crate) words: Vec<FoundWord>,
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

/// An array of the two.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct FoundWord {
    /// Which of the records is its publisher's.
    pub(crate) record: u64,
    /// The encoded envelope of the statement.
    pub(crate) envelope: Bytes,
}

type EncodedWord<'a> = (u64, &'a serde_bytes::Bytes);
type EncodedRelease<'a> = (u64, &'a serde_bytes::Bytes, u32);

impl Serialize for Found {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let records: Vec<_> = self.records.iter().map(|record| serde_bytes::Bytes::new(record)).collect();
        let releases = self.releases.iter().map(|FoundRelease { record, envelope, dependents }| {
            (*record, serde_bytes::Bytes::new(envelope), *dependents)
        });
        let releases: Vec<EncodedRelease<'_>> = releases.collect();
        let words =
            self.words.iter().map(|FoundWord { record, envelope }| (*record, serde_bytes::Bytes::new(envelope)));
        let words: Vec<EncodedWord<'_>> = words.collect();
        (&self.statistics, records, releases, words).serialize(to)
    }
}

impl<'de> Deserialize<'de> for Found {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let (statistics, records, releases, words): (
            Statistics,
            List<&serde_bytes::Bytes, MAX_FOUND>,
            List<EncodedRelease<'_>, MAX_FOUND>,
            List<EncodedWord<'_>, MAX_WORDS>,
        ) = Deserialize::deserialize(from)?;
        let of_record = |record: u64, envelope: &serde_bytes::Bytes| {
            let known = usize::try_from(record).is_ok_and(|record| record < records.0.len());
            let envelope = own(envelope, MAX_STATEMENT)?;
            if known { Ok((record, envelope)) } else { Err(D::Error::custom("no such record")) }
        };
        let release = |(record, envelope, dependents)| {
            let (record, envelope) = of_record(record, envelope)?;
            Ok(FoundRelease { record, envelope, dependents })
        };
        let word = |(record, envelope)| {
            let (record, envelope) = of_record(record, envelope)?;
            Ok(FoundWord { record, envelope })
        };
        let releases = releases.0.into_iter().map(release).collect::<Result<_, _>>()?;
        let words = words.0.into_iter().map(word).collect::<Result<_, _>>()?;
        let records = records.0.into_iter().map(|record| own(record, MAX_HEAD_RECORD)).collect::<Result<_, _>>()?;
        Ok(Self { statistics, records, releases, words })
    }
}
