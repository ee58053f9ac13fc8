//! Ranges of publisher ids, and what two nodes tell each other about them.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{MAX_LISTED, next};
use crate::id::{Digest, PublisherId};

/// Parts a range is split into: one for each value of the next four bits.
pub(crate) const PARTS: usize = 16;

/// The publishers whose ids begin with the same half-bytes. On the wire a byte string, one byte for each of them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Range {
    /// The lowest id in it: the half-bytes, then zeros.
    lowest: [u8; 32],
    depth: u8,
}

impl Range {
    /// Every publisher.
    pub(crate) const ALL: Self = Self { lowest: [0; 32], depth: 0 };

    /// Half-bytes that all ids in it begin with.
    pub(crate) const fn depth(&self) -> u8 {
        self.depth
    }

    /// The half-byte of an id at a depth under 64.
    pub(crate) fn part_at(publisher: PublisherId, depth: u8) -> usize {
        let byte = publisher.0.0[usize::from(depth / 2)];
        usize::from(if depth.is_multiple_of(2) { byte >> 4 } else { byte & 0x0F })
    }

    /// Part `part` (under [`PARTS`]); `None` of a range of one id.
    pub(crate) fn part(&self, part: usize) -> Option<Self> {
        let byte = usize::from(self.depth / 2);
        let shift = if self.depth.is_multiple_of(2) { 4 } else { 0 };
        let mut within = *self;
        *within.lowest.get_mut(byte)? |= ((part & 0x0F) as u8) << shift;
        within.depth += 1;
        Some(within)
    }

    pub(crate) fn contains(&self, publisher: PublisherId) -> bool {
        let lowest = PublisherId(Digest(self.lowest));
        (0..self.depth).all(|depth| Self::part_at(publisher, depth) == Self::part_at(lowest, depth))
    }

    /// The parts that lead to it from [`Range::ALL`].
    pub(crate) fn path(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.depth).map(|depth| Self::part_at(PublisherId(Digest(self.lowest)), depth))
    }
}

impl Serialize for Range {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let parts: Vec<u8> = self.path().map(|part| part as u8).collect();
        to.serialize_bytes(&parts)
    }
}

impl<'de> Deserialize<'de> for Range {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let parts = <&[u8]>::deserialize(from)?;
        let step = |range: Self, part: &u8| range.part(usize::from(*part)).filter(|_| usize::from(*part) < PARTS);
        parts.iter().try_fold(Self::ALL, step).ok_or_else(|| D::Error::custom("no range of publishers"))
    }
}

/// What a node has of one publisher: the state of its log, or that it is proven to have contradicted itself.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(from = "(PublisherId, u64, Digest)", into = "(PublisherId, u64, Digest)")]
pub(crate) struct PublisherState {
    pub(crate) publisher: PublisherId,
    pub(crate) length: u64,
    pub(crate) tip: Digest,
}

impl PublisherState {
    /// The length told of a publisher that is proven to have contradicted itself: no log is so long.
    pub(crate) const FORKED: u64 = u64::MAX;

    /// The same for all who know, whatever they hold of its log.
    pub(crate) const fn forked(publisher: PublisherId) -> Self {
        Self { publisher, length: Self::FORKED, tip: Digest([0; 32]) }
    }

    pub(crate) const fn is_forked(&self) -> bool {
        self.length == Self::FORKED
    }
}

impl From<(PublisherId, u64, Digest)> for PublisherState {
    fn from((publisher, length, tip): (PublisherId, u64, Digest)) -> Self {
        Self { publisher, length, tip }
    }
}

impl From<PublisherState> for (PublisherId, u64, Digest) {
    fn from(state: PublisherState) -> Self {
        (state.publisher, state.length, state.tip)
    }
}

/// A range as the asker has it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct RangeDigest {
    pub(crate) range: Range,
    pub(crate) digest: Digest,
}

/// An array of the two.
impl Serialize for RangeDigest {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        (self.range, self.digest).serialize(to)
    }
}

impl<'de> Deserialize<'de> for RangeDigest {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let (range, digest) = Deserialize::deserialize(from)?;
        Ok(Self { range, digest })
    }
}

/// What the asked node has in a range. On the wire null, a list of states, or a byte string of [`PARTS`] digests.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Difference {
    /// The same.
    None,
    /// All it has there, in ascending order of publisher.
    States(Vec<PublisherState>),
    /// Too much to list: the digest of each part.
    Parts(Box<[Digest; PARTS]>),
}

impl Serialize for Difference {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::None => to.serialize_none(),
            Self::States(states) => states.serialize(to),
            Self::Parts(parts) => to.serialize_bytes(&parts.map(|digest| digest.0).concat()),
        }
    }
}

impl<'de> Deserialize<'de> for Difference {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(DifferenceVisitor)
    }
}

struct DifferenceVisitor;

impl<'de> Visitor<'de> for DifferenceVisitor {
    type Value = Difference;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("null, states or digests")
    }

    fn visit_none<E: Error>(self) -> Result<Difference, E> {
        Ok(Difference::None)
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Difference, E> {
        let (digests, rest) = bytes.as_chunks::<32>();
        let parts: Option<[[u8; 32]; PARTS]> = digests.try_into().ok().filter(|_| rest.is_empty());
        parts
            .map(|parts| Difference::Parts(Box::new(parts.map(Digest))))
            .ok_or_else(|| E::custom("not a digest for each part"))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut states: A) -> Result<Difference, A::Error> {
        let len = states.size_hint().ok_or_else(|| A::Error::custom("a list of unknown length"))?;
        if len > MAX_LISTED {
            return Err(A::Error::custom("too many states"));
        }
        (0..len).map(|_| next(&mut states)).collect::<Result<_, _>>().map(Difference::States)
    }
}
