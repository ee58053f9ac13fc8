//! A set of documents of one segment.

use alloc::vec::Vec;

use crate::search::segment::DocumentIx;

/// One bit per document, as far as the last one in it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Bits(Vec<u64>);

impl FromIterator<DocumentIx> for Bits {
    fn from_iter<T: IntoIterator<Item = DocumentIx>>(documents: T) -> Self {
        let mut bits = Self::default();
        documents.into_iter().for_each(|ix| bits.insert(ix));
        bits
    }
}

impl Bits {
    pub(super) fn insert(&mut self, ix: DocumentIx) {
        let word = ix as usize / 64;
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        self.0[word] |= 1 << (ix % 64);
    }

    pub(super) fn remove(&mut self, ix: DocumentIx) {
        if let Some(word) = self.0.get_mut(ix as usize / 64) {
            *word &= !(1 << (ix % 64));
        }
    }

    pub(super) fn contains(&self, ix: DocumentIx) -> bool {
        self.0.get(ix as usize / 64).is_some_and(|word| (word >> (ix % 64)) & 1 == 1)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    pub(super) fn len(&self) -> u32 {
        self.0.iter().map(|word| word.count_ones()).sum()
    }

    /// Keeps what is in `other` too.
    pub(super) fn intersect(&mut self, other: &Self) {
        self.0.truncate(other.0.len());
        self.0.iter_mut().zip(&other.0).for_each(|(word, other)| *word &= other);
    }

    /// Keeps what is not in `other`.
    pub(super) fn subtract(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(word, other)| *word &= !other);
    }

    /// Those below `end`, in ascending order.
    pub(super) fn iter(&self, end: DocumentIx) -> impl Iterator<Item = DocumentIx> + '_ {
        let words = (0u32..).zip(&self.0).filter(|(_, word)| **word != 0);
        let bits = words
            .flat_map(|(at, word)| (0..64).filter(move |bit| (word >> bit) & 1 == 1).map(move |bit| 64 * at + bit));
        bits.take_while(move |ix| *ix < end)
    }
}
