//! Encoding.

use alloc::vec::Vec;

use bytes::Bytes;

use super::postings::{Posting, put, put_varint};
use super::{BLOCK_TERMS, Document, Fingerprint, HEADER, MAGIC, Segment, seal};
use crate::id::PublisherId;
use crate::search::spell::Letters;
use crate::search::terms::folded;

/// Takes a segment's contents in their order: all of the documents, then all of the terms.
#[derive(Debug, Default)]
pub(super) struct Writer {
    publishers: Vec<PublisherId>,
    targets: Vec<Fingerprint>,
    documents: Vec<u8>,
    blocks: Vec<u8>,
    name_letters: Vec<u8>,
    term_letters: Vec<u8>,
    names: Vec<u8>,
    edges: Vec<u8>,
    terms: Vec<u8>,
    postings: Vec<u8>,
    document_count: u32,
    term_count: u32,
    last_term: Vec<u8>,
}

impl Writer {
    /// The publishers of all documents and the targets of all their dependencies, in any order.
    pub(super) fn new(mut publishers: Vec<PublisherId>, mut targets: Vec<Fingerprint>) -> Self {
        publishers.sort_unstable();
        publishers.dedup();
        targets.sort_unstable();
        targets.dedup();
        Self { publishers, targets, ..Self::default() }
    }

    /// `dependencies`: in ascending order, each once.
    pub(super) fn document(&mut self, document: &Document<'_>, dependencies: impl Iterator<Item = Fingerprint>) {
        self.names.extend_from_slice(document.key.name.as_bytes());
        self.name_letters.extend_from_slice(&Letters::of(folded(document.key.name)).0.to_le_bytes());
        let mut before = 0;
        for target in dependencies {
            let place = self.targets.partition_point(|other| *other <= target) as u32;
            put_varint(&mut self.edges, place.saturating_sub(before));
            before = place;
        }
        let publisher = self.publisher(document.key.publisher);
        self.documents.extend_from_slice(&publisher.to_le_bytes());
        self.documents.extend_from_slice(&document.position.to_le_bytes());
        self.documents.extend_from_slice(&document.fingerprint.0.to_le_bytes());
        self.documents.extend(document.lengths.map(|length| length.0));
        self.documents.extend_from_slice(&(self.names.len() as u32).to_le_bytes());
        self.documents.extend_from_slice(&(self.edges.len() as u32).to_le_bytes());
        self.document_count += 1;
    }

    pub(super) fn term(&mut self, term: &[u8], postings: &[Posting]) {
        if self.term_count.is_multiple_of(BLOCK_TERMS as u32) {
            self.blocks.extend_from_slice(&(self.terms.len() as u32).to_le_bytes());
            self.blocks.extend_from_slice(&(self.postings.len() as u32).to_le_bytes());
            self.last_term.clear();
        }
        let start = self.postings.len();
        let mut next = 0;
        for posting in postings {
            put(&mut self.postings, next, posting);
            next = posting.document + 1;
        }
        self.term_letters.extend_from_slice(&Letters::of(term.iter().copied()).0.to_le_bytes());
        let shared = self.last_term.iter().zip(term).take_while(|(a, b)| a == b).count().min(usize::from(u8::MAX));
        let suffix = &term[shared..];
        self.terms.extend_from_slice(&[shared as u8, suffix.len() as u8]);
        self.terms.extend_from_slice(suffix);
        put_varint(&mut self.terms, postings.len() as u32);
        put_varint(&mut self.terms, (self.postings.len() - start) as u32);
        self.last_term.clear();
        self.last_term.extend_from_slice(term);
        self.term_count += 1;
    }

    pub(super) fn finish(self) -> Segment {
        let blobs = [&self.names, &self.edges, &self.terms, &self.postings];
        let columns = [&self.blocks, &self.name_letters, &self.term_letters];
        let rows = 32 * self.publishers.len() + self.documents.len() + 8 * self.targets.len();
        let rest: usize = columns.iter().chain(&blobs).map(|part| part.len()).sum();
        let mut bytes = Vec::with_capacity(HEADER + rows + rest);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&[0; 8]);
        let (publishers, targets) = (self.publishers.len() as u32, self.targets.len() as u32);
        let counts = [publishers, self.document_count, targets, self.term_count];
        let numbers = counts.into_iter().chain(blobs.iter().map(|blob| blob.len() as u32));
        numbers.for_each(|number| bytes.extend_from_slice(&number.to_le_bytes()));
        self.publishers.iter().for_each(|publisher| bytes.extend_from_slice(&publisher.0.0));
        bytes.extend_from_slice(&self.documents);
        self.targets.iter().for_each(|target| bytes.extend_from_slice(&target.0.to_le_bytes()));
        columns.into_iter().chain(blobs).for_each(|part| bytes.extend_from_slice(part));
        seal(&mut bytes);
        Segment::open(Bytes::from(bytes)).expect("what was written can be read")
    }

    fn publisher(&self, publisher: PublisherId) -> u32 {
        self.publishers.binary_search(&publisher).unwrap_or(0) as u32
    }
}
