//! `/wharf/registry/1`: request and response, DAG-CBOR bodies.

mod found;
mod range;

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use bytes::Bytes;
use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::catalog::cbor::List;
use crate::catalog::release::{MAX_TAGS, MAX_WORD};
use crate::catalog::spec::MAX_VERSION;
use crate::catalog::{Name, PackageSpec, proof, record};
use crate::id::PublisherId;
use crate::search::Query;
use crate::wire::WireError;

pub(crate) use found::{Found, FoundRelease, FoundWord, MAX_FOUND, MAX_WORDS};
pub(crate) use range::{Difference, PARTS, PublisherState, Range, RangeDigest};

/// Leaves room for a useful batch of 16 KiB statements.
pub(crate) const MAX_FRAME: usize = 1024 * 1024;
/// Ranges compared in one question: a few KiB, answered by at most 33 KiB of digests or [`MAX_STATES`] states.
pub(crate) const MAX_RANGES: usize = 64;
/// States listed for one range: more are split first.
pub(crate) const MAX_LISTED: usize = 1024;
/// States in one answer: 80 bytes each, two thirds of a frame.
pub(crate) const MAX_STATES: usize = 8192;
/// Statements in one answer: small ones of 256 bytes fill a frame.
pub(crate) const MAX_STATEMENTS: usize = 4096;
/// An encoded envelope: a body of 16 KiB, and its signatures.
pub(crate) const MAX_STATEMENT: usize = 20 * 1024;
/// A search as people type it.
pub(crate) const MAX_QUERY_TEXT: usize = 1024;
pub(crate) const MAX_HEAD_RECORD: usize = record::MAX_RECORD;
pub(crate) const MAX_PROOF: usize = proof::MAX_PROOF;

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum RegistryMessage {
    /// Is this what your catalogue holds in these ranges? Answered by `Differences`.
    Compare {
        ranges: Vec<RangeDigest>,
    },
    /// One for each range, in the order of the question; of the last ones of a long question, none.
    Differences {
        ranges: Vec<Difference>,
    },
    /// Statements `from..` of a publisher's log, as many as fit. Answered by `Log`.
    GetLog {
        publisher: PublisherId,
        from: u64,
    },
    /// The publisher's head record (inception and signed head) and a run of encoded envelopes. Empty: not known.
    Log {
        record: Bytes,
        from: u64,
        entries: Vec<Bytes>,
    },
    /// What does your index find? Answered by `Found`.
    Search(Query),
    /// Which release does this name? Answered by `Found`, with one release or none.
    Find(PackageSpec),
    Found(Found),
    /// How is it proven that this publisher has contradicted itself? Answered by `Proof`.
    GetProof {
        publisher: PublisherId,
    },
    /// Empty: not known.
    Proof {
        proof: Bytes,
    },
}

/// First element of every message: an array of this number and the message's fields.
mod tag {
    pub(super) const COMPARE: u8 = 0;
    pub(super) const DIFFERENCES: u8 = 1;
    pub(super) const GET_LOG: u8 = 2;
    pub(super) const LOG: u8 = 3;
    pub(super) const SEARCH: u8 = 4;
    pub(super) const FIND: u8 = 5;
    pub(super) const FOUND: u8 = 6;
    pub(super) const GET_PROOF: u8 = 7;
    pub(super) const PROOF: u8 = 8;
}

impl RegistryMessage {
    pub(crate) fn encode_into(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_vec());
    }

    pub(crate) fn encoded_len(&self) -> usize {
        self.to_vec().len()
    }

    /// Reads a message whose caps hold and behind which nothing follows.
    pub(crate) fn decode(frame: Bytes) -> Result<Self, WireError> {
        serde_ipld_dagcbor::from_slice(&frame).map_err(|_| WireError::Encoding)
    }

    fn to_vec(&self) -> Vec<u8> {
        serde_ipld_dagcbor::to_vec(self).expect("writing to memory")
    }
}

impl Serialize for RegistryMessage {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Compare { ranges } => (tag::COMPARE, ranges).serialize(to),
            Self::Differences { ranges } => (tag::DIFFERENCES, ranges).serialize(to),
            Self::GetLog { publisher, from } => (tag::GET_LOG, publisher, from).serialize(to),
            Self::Log { record, from, entries } => {
                let entries: Vec<_> = entries.iter().map(|entry| serde_bytes::Bytes::new(entry)).collect();
                (tag::LOG, serde_bytes::Bytes::new(record), from, entries).serialize(to)
            }
            Self::Search(Query { text, limit, category, tags, publisher }) => {
                (tag::SEARCH, text, *limit as u64, category, tags, publisher).serialize(to)
            }
            Self::Find(PackageSpec { publisher, name, version }) => {
                (tag::FIND, publisher, name.as_str(), version).serialize(to)
            }
            Self::Found(found) => (tag::FOUND, found).serialize(to),
            Self::GetProof { publisher } => (tag::GET_PROOF, publisher).serialize(to),
            Self::Proof { proof } => (tag::PROOF, serde_bytes::Bytes::new(proof)).serialize(to),
        }
    }
}

impl<'de> Deserialize<'de> for RegistryMessage {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_seq(MessageVisitor)
    }
}

struct MessageVisitor;

impl<'de> Visitor<'de> for MessageVisitor {
    type Value = RegistryMessage;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of a message's number and fields")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<RegistryMessage, A::Error> {
        Ok(match next(&mut seq)? {
            tag::COMPARE => RegistryMessage::Compare { ranges: next::<_, List<_, MAX_RANGES>>(&mut seq)?.0 },
            tag::DIFFERENCES => {
                let ranges: Vec<Difference> = next::<_, List<_, MAX_RANGES>>(&mut seq)?.0;
                let states = |range: &Difference| if let Difference::States(states) = range { states.len() } else { 0 };
                if ranges.iter().map(states).sum::<usize>() > MAX_STATES {
                    return Err(A::Error::custom("too many states"));
                }
                RegistryMessage::Differences { ranges }
            }
            tag::GET_LOG => RegistryMessage::GetLog { publisher: next(&mut seq)?, from: next(&mut seq)? },
            tag::LOG => {
                let (record, from) = (next(&mut seq)?, next(&mut seq)?);
                let entries = next::<_, List<_, MAX_STATEMENTS>>(&mut seq)?.0.into_iter();
                RegistryMessage::Log {
                    record: own(record, MAX_HEAD_RECORD)?,
                    from,
                    entries: entries.map(|entry| own(entry, MAX_STATEMENT)).collect::<Result<_, _>>()?,
                }
            }
            tag::SEARCH => RegistryMessage::Search(Query {
                text: text(next(&mut seq)?, MAX_QUERY_TEXT)?,
                limit: next::<_, u64>(&mut seq)?.try_into().unwrap_or(usize::MAX),
                category: next::<_, Option<&str>>(&mut seq)?.map(|category| text(category, MAX_WORD)).transpose()?,
                tags: next::<_, List<&str, MAX_TAGS>>(&mut seq)?
                    .0
                    .into_iter()
                    .map(|tag| text(tag, MAX_WORD))
                    .collect::<Result<_, _>>()?,
                publisher: next(&mut seq)?,
            }),
            tag::FIND => RegistryMessage::Find(PackageSpec {
                publisher: next(&mut seq)?,
                name: Name::new(next(&mut seq)?).map_err(A::Error::custom)?,
                version: next::<_, Option<&str>>(&mut seq)?.map(|version| text(version, MAX_VERSION)).transpose()?,
            }),
            tag::FOUND => RegistryMessage::Found(next(&mut seq)?),
            tag::GET_PROOF => RegistryMessage::GetProof { publisher: next(&mut seq)? },
            tag::PROOF => RegistryMessage::Proof { proof: own(next(&mut seq)?, MAX_PROOF)? },
            _ => return Err(A::Error::custom("no such message")),
        })
    }
}

/// The next field. That none follows the last one is checked by the deserializer.
fn next<'de, A: SeqAccess<'de>, T: Deserialize<'de>>(seq: &mut A) -> Result<T, A::Error> {
    seq.next_element()?.ok_or_else(|| A::Error::custom("too few fields"))
}

fn text<E: Error>(text: &str, max: usize) -> Result<String, E> {
    if text.len() > max { Err(E::custom("text too long")) } else { Ok(text.into()) }
}

fn own<E: Error>(bytes: &serde_bytes::Bytes, max: usize) -> Result<Bytes, E> {
    if bytes.len() > max {
        return Err(E::custom("byte string too long"));
    }
    Ok(Bytes::copy_from_slice(bytes))
}
