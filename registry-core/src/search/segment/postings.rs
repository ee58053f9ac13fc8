//! Posting lists.

use alloc::vec::Vec;

use crate::search::score::FIELDS;
use crate::search::segment::DocumentIx;

/// In a mask: every frequency is 1 and not written.
const ALL_ONE: u8 = 1 << FIELDS;

/// A term's occurrences in one document.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::search) struct Posting {
    pub(in crate::search) document: DocumentIx,
    pub(in crate::search) frequencies: [u8; FIELDS],
}

/// The postings of one term, in ascending order of document.
#[derive(Clone, Debug)]
pub(in crate::search) struct Postings<'a> {
    rest: &'a [u8],
    /// The document after the last one.
    next: DocumentIx,
}

impl<'a> Postings<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, next: 0 }
    }
}

impl Iterator for Postings<'_> {
    type Item = Posting;

    fn next(&mut self) -> Option<Posting> {
        let document = self.next.checked_add(take_varint(&mut self.rest)?)?;
        let (&mask, rest) = self.rest.split_first()?;
        self.rest = rest;
        self.next = document.checked_add(1)?;
        if mask & ALL_ONE != 0 {
            return Some(Posting { document, frequencies: core::array::from_fn(|field| mask >> field & 1) });
        }
        let mut frequencies = [0; FIELDS];
        for (field, frequency) in frequencies.iter_mut().enumerate() {
            if mask & (1 << field) != 0 {
                let (&written, rest) = self.rest.split_first()?;
                (*frequency, self.rest) = (written, rest);
            }
        }
        Some(Posting { document, frequencies })
    }
}

/// Writes postings; `next` is the document after the one written before.
pub(super) fn put(out: &mut Vec<u8>, next: DocumentIx, posting: &Posting) {
    put_varint(out, posting.document - next);
    let present = (0..FIELDS).filter(|&field| posting.frequencies[field] > 0);
    let mask = present.clone().fold(0, |mask, field| mask | 1 << field);
    if present.clone().all(|field| posting.frequencies[field] == 1) {
        out.push(mask | ALL_ONE);
    } else {
        out.push(mask);
        out.extend(present.map(|field| posting.frequencies[field]));
    }
}

/// Seven bits a byte, the lowest first.
pub(super) fn put_varint(out: &mut Vec<u8>, mut value: u32) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub(super) fn take_varint(rest: &mut &[u8]) -> Option<u32> {
    let mut value = 0u32;
    for shift in (0..32).step_by(7) {
        let (&byte, after) = rest.split_first()?;
        *rest = after;
        value |= u32::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}
