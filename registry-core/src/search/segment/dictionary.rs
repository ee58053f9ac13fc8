//! The terms of a segment, in ascending order.

use alloc::vec::Vec;

use super::postings::{Postings, take_varint};
use super::{BLOCK, BLOCK_TERMS, Region, Segment, partition_point, u32_at};
use crate::search::spell::Letters;

/// Walks over terms and where their postings are.
#[derive(Clone, Debug)]
pub(in crate::search) struct Terms<'a> {
    rest: &'a [u8],
    postings: &'a [u8],
    term: Vec<u8>,
    documents: u32,
    current: &'a [u8],
}

impl<'a> Terms<'a> {
    /// Goes on to the next term; false at the end.
    pub(in crate::search) fn advance(&mut self) -> bool {
        self.step().is_some()
    }

    pub(in crate::search) fn term(&self) -> &[u8] {
        &self.term
    }

    /// Documents that have it.
    pub(in crate::search) fn documents(&self) -> u32 {
        self.documents
    }

    pub(in crate::search) fn postings(&self) -> Postings<'a> {
        Postings::new(self.current)
    }

    fn step(&mut self) -> Option<()> {
        let (&[shared, new], rest) = self.rest.split_first_chunk()?;
        let (suffix, mut rest) = rest.split_at_checked(new.into())?;
        self.term.truncate(shared.into());
        self.term.extend_from_slice(suffix);
        self.documents = take_varint(&mut rest)?;
        let length = take_varint(&mut rest)? as usize;
        (self.current, self.postings) = self.postings.split_at_checked(length)?;
        self.rest = rest;
        Some(())
    }
}

impl Segment {
    /// All terms; stands before the first.
    pub(in crate::search) fn terms(&self) -> Terms<'_> {
        self.block(0)
    }

    /// Stands at the first term that is not before `from`.
    pub(in crate::search) fn terms_from(&self, from: &[u8]) -> Option<Terms<'_>> {
        let after = partition_point(self.blocks(), |block| self.first_term(block) <= from);
        let mut terms = self.block(after.saturating_sub(1));
        while terms.advance() {
            if terms.term() >= from {
                return Some(terms);
            }
        }
        None
    }

    /// Stands at the term, when some document has it.
    pub(in crate::search) fn find_term(&self, term: &str) -> Option<Terms<'_>> {
        self.terms_from(term.as_bytes()).filter(|terms| terms.term() == term.as_bytes())
    }

    /// Stands at each term that so few typing errors may lie between and a word of these letters.
    pub(in crate::search) fn terms_near(&self, letters: Letters, tolerance: usize) -> impl Iterator<Item = Terms<'_>> {
        self.near(Region::TermLetters, letters, tolerance).map(|ix| {
            let mut terms = self.block(ix / BLOCK_TERMS as u32);
            for _ in 0..=ix % BLOCK_TERMS as u32 {
                terms.advance();
            }
            terms
        })
    }

    fn blocks(&self) -> u32 {
        self.terms.div_ceil(BLOCK_TERMS as u32)
    }

    fn first_term(&self, block: u32) -> &[u8] {
        let start = u32_at(self.row(Region::Blocks, block, BLOCK), 0) as usize;
        let entry = self.region(Region::Terms).get(start..).unwrap_or(&[]);
        entry.get(1).and_then(|&length| entry.get(2..2 + usize::from(length))).unwrap_or(&[])
    }

    fn block(&self, block: u32) -> Terms<'_> {
        let row = self.row(Region::Blocks, block, BLOCK);
        let from = |region, at| self.region(region).get(u32_at(row, at) as usize..).unwrap_or(&[]);
        Terms {
            rest: from(Region::Terms, 0),
            postings: from(Region::Postings, 4),
            term: Vec::new(),
            documents: 0,
            current: &[],
        }
    }
}
