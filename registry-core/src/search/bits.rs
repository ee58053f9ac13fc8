//! A set of documents of one segment.

use alloc::vec::Vec;

use crate::search::segment::DocumentIx;

/// One bit per document.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Bits {
    words: Vec<u64>,
    documents: u32,
}

impl Bits {
    /// None of so many documents; takes no memory until one is inserted.
    pub(super) fn new(documents: u32) -> Self {
        Self { words: Vec::new(), documents }
    }

    pub(super) fn insert(&mut self, ix: DocumentIx) {
        if self.words.is_empty() {
            self.words.resize(self.documents.div_ceil(64) as usize, 0);
        }
        if let Some(word) = self.words.get_mut(ix as usize / 64) {
            *word |= 1 << (ix % 64);
        }
    }

    pub(super) fn contains(&self, ix: DocumentIx) -> bool {
        self.words.get(ix as usize / 64).is_some_and(|word| word >> (ix % 64) & 1 == 1)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    pub(super) fn retain(&mut self, keep: impl Fn(DocumentIx) -> bool) {
        for (at, word) in (0u32..).zip(&mut self.words) {
            for bit in 0..64 {
                if *word >> bit & 1 == 1 && !keep(at * 64 + bit) {
                    *word &= !(1 << bit);
                }
            }
        }
    }

    /// In ascending order.
    pub(super) fn iter(&self) -> impl Iterator<Item = DocumentIx> + '_ {
        (0..self.documents).filter(|&ix| self.contains(ix))
    }
}
