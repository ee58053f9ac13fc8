//! An immutable part of the index: documents, the terms they have and the packages they depend on.
//!
//! A segment **is** its encoded form: it is read in place, kept as one row of the store, and shared by whoever shares its
//! bytes. It is a pure function of the set of its documents, so equal sets give equal bytes. All numbers are little
//! endian; nothing in it can make a reader panic, and damaged bytes are refused by a checksum.
//!
//! ```text
//! header      magic, checksum of all that follows; number of publishers, documents, targets, terms; length of each blob
//! publishers  of the documents, 32 bytes each, in ascending order
//! documents   publisher, position in its log, fingerprint, length of each field, end of name, end of edges; in the order
//!             of `Key`
//! targets     fingerprints of the packages that documents depend on, in ascending order
//! blocks      of 16 terms each: where its terms and its postings begin
//! letters     of the name of each document, and of each term (`spell::Letters`)
//! blobs       names, edges (targets of each document), terms, postings
//! ```
//!
//! Terms are front-coded within a block (Witten, Moffat and Bell, "Managing Gigabytes", 4.1), postings are differences
//! of document numbers as variable-length integers, each with its field mask and frequencies.

mod build;
mod dictionary;
mod merge;
mod postings;
mod write;

pub(super) use dictionary::Terms;
pub use merge::Part;
pub(super) use postings::Posting;

use alloc::vec::Vec;
use core::cmp::Ordering;
use core::ops::Range;

use bytes::Bytes;

use crate::id::{Digest, PublisherId};
use crate::search::score::FIELDS;
use crate::search::spell::Letters;
use crate::search::terms::{Length, folded};

/// Changes with the format, and with everything that decides what a document's terms are.
const MAGIC: &[u8; 8] = b"wharfix2";
const FIXED: usize = 6;
const BLOBS: usize = 4;
const HEADER: usize = 8 + 8 + 4 * 4 + 4 * BLOBS;
const PUBLISHER: usize = 32;
const DOCUMENT: usize = 4 + 8 + 8 + FIELDS + 4 + 4;
const TARGET: usize = 8;
const BLOCK: usize = 4 + 4;
const LETTERS: usize = 4;
/// Terms of a block: more make the dictionary smaller and looking up slower.
const BLOCK_TERMS: usize = 16;

/// Position in a segment.
pub(super) type DocumentIx = u32;

/// See the module's documentation.
#[derive(Clone)]
pub struct Segment {
    bytes: Bytes,
    documents: u32,
    terms: u32,
    /// Where the fixed parts and the blobs lie.
    parts: [Range<usize>; FIXED + BLOBS],
}

/// A package, in the order in which results of equal score stand: by the letters and digits of its name, then by its
/// name, then by its publisher.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Key<'a> {
    pub(super) name: &'a str,
    pub(super) publisher: PublisherId,
}

impl Ord for Key<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        let names = || folded(self.name).cmp(folded(other.name)).then_with(|| self.name.cmp(other.name));
        names().then_with(|| self.publisher.cmp(&other.publisher))
    }
}

impl PartialOrd for Key<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Stands for a package where only equality matters: the first 8 bytes of the sha2-256 of its publisher and name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) struct Fingerprint(pub(super) u64);

impl Key<'_> {
    pub(super) fn fingerprint(&self) -> Fingerprint {
        let digest = Digest::of(&[&self.publisher.0.0, self.name.as_bytes()].concat());
        Fingerprint(u64_at(&digest.0, 0))
    }
}

/// One document as the segment holds it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Document<'a> {
    pub(super) key: Key<'a>,
    pub(super) position: u64,
    pub(super) fingerprint: Fingerprint,
    pub(super) lengths: [Length; FIELDS],
}

#[derive(Clone, Copy)]
enum Region {
    Publishers,
    Documents,
    Targets,
    Blocks,
    NameLetters,
    TermLetters,
    Names,
    Edges,
    Terms,
    Postings,
}

impl Segment {
    /// Reads an encoded segment; `None` when it is damaged, or of another version.
    pub fn open(bytes: Bytes) -> Option<Self> {
        let header = bytes.get(..HEADER)?;
        let (magic, rest) = header.split_first_chunk::<8>()?;
        let (checksum, counts) = rest.split_first_chunk::<8>()?;
        if magic != MAGIC || u64::from_le_bytes(*checksum) != checksum_of(&bytes[16..]) {
            return None;
        }
        let mut counts = counts.chunks_exact(4).map(|four| u32_at(four, 0));
        let mut next = || counts.next().unwrap_or(0);
        let (publishers, documents, targets, terms) = (next(), next(), next(), next());
        let blocks = (terms as usize).div_ceil(BLOCK_TERMS);
        let fixed: [_; FIXED] = [
            (publishers, PUBLISHER),
            (documents, DOCUMENT),
            (targets, TARGET),
            (blocks as u32, BLOCK),
            (documents, LETTERS),
            (terms, LETTERS),
        ];
        let lengths =
            fixed.map(|(count, size)| count as usize * size).into_iter().chain((0..BLOBS).map(|_| next() as usize));
        let mut end = HEADER;
        let mut parts: [Range<usize>; FIXED + BLOBS] = core::array::from_fn(|_| 0..0);
        for (part, length) in parts.iter_mut().zip(lengths) {
            *part = end..end.checked_add(length)?;
            end = part.end;
        }
        (end == bytes.len()).then_some(Self { bytes, documents, terms, parts })
    }

    /// The encoded form.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// What tells it from other segments: the checksum.
    pub fn id(&self) -> [u8; 8] {
        self.bytes.get(8..16).and_then(|id| id.try_into().ok()).unwrap_or_default()
    }

    /// Their number.
    pub fn documents(&self) -> u32 {
        self.documents
    }

    pub(super) fn document(&self, ix: DocumentIx) -> Document<'_> {
        let row = self.row(Region::Documents, ix, DOCUMENT);
        Document {
            key: self.key(ix),
            position: u64_at(row, 4),
            fingerprint: self.fingerprint(ix),
            lengths: self.lengths(ix),
        }
    }

    pub(super) fn key(&self, ix: DocumentIx) -> Key<'_> {
        let publisher = u32_at(self.row(Region::Documents, ix, DOCUMENT), 0);
        Key { name: self.name(ix), publisher: self.publisher(publisher) }
    }

    pub(super) fn fingerprint(&self, ix: DocumentIx) -> Fingerprint {
        Fingerprint(u64_at(self.row(Region::Documents, ix, DOCUMENT), 12))
    }

    pub(super) fn lengths(&self, ix: DocumentIx) -> [Length; FIELDS] {
        let row = self.row(Region::Documents, ix, DOCUMENT);
        row.get(20..).and_then(<[u8]>::first_chunk).map_or([Length::default(); FIELDS], |codes| codes.map(Length))
    }

    pub(super) fn name(&self, ix: DocumentIx) -> &str {
        core::str::from_utf8(self.cut(Region::Names, ix, 20 + FIELDS)).unwrap_or("")
    }

    pub(super) fn find(&self, key: Key<'_>) -> Option<DocumentIx> {
        let at = partition_point(self.documents, |ix| self.key(ix) < key);
        (at < self.documents && self.key(at) == key).then_some(at)
    }

    /// The same release.
    pub(super) fn find_document(&self, document: &Document<'_>) -> Option<DocumentIx> {
        self.find(document.key).filter(|&ix| self.document(ix).position == document.position)
    }

    /// The documents whose names begin with these letters and digits, and among them those that have no others.
    pub(super) fn begun(&self, folded_query: &str) -> (Range<DocumentIx>, Range<DocumentIx>) {
        let query = || folded_query.bytes();
        let begin = partition_point(self.documents, |ix| folded(self.name(ix)).lt(query()));
        let named = partition_point(self.documents, |ix| folded(self.name(ix)).le(query()));
        let end = partition_point(self.documents, |ix| folded(self.name(ix)).take(folded_query.len()).le(query()));
        (begin..end, begin..named)
    }

    /// The documents whose names, letters and digits alone, so few typing errors may lie between and a word of these
    /// letters.
    pub(super) fn names_near(&self, letters: Letters, tolerance: usize) -> impl Iterator<Item = DocumentIx> + '_ {
        self.near(Region::NameLetters, letters, tolerance)
    }

    /// The documents of a publisher.
    pub(super) fn published_by(&self, publisher: PublisherId) -> impl Iterator<Item = DocumentIx> + '_ {
        let count = (self.region(Region::Publishers).len() / PUBLISHER) as u32;
        let at = partition_point(count, |ix| self.publisher(ix) < publisher);
        let theirs = (at < count && self.publisher(at) == publisher).then_some(0..self.documents);
        let is_theirs = move |ix: &DocumentIx| u32_at(self.row(Region::Documents, *ix, DOCUMENT), 0) == at;
        theirs.into_iter().flatten().filter(is_theirs)
    }

    /// The packages a document depends on.
    pub(super) fn dependencies(&self, ix: DocumentIx) -> impl Iterator<Item = Fingerprint> + '_ {
        let mut rest = self.cut(Region::Edges, ix, 24 + FIELDS);
        let mut last = 0u32;
        core::iter::from_fn(move || {
            last = last.checked_add(postings::take_varint(&mut rest)?)?;
            Some(Fingerprint(u64_at(self.row(Region::Targets, last.saturating_sub(1), TARGET), 0)))
        })
    }

    fn publisher(&self, ix: u32) -> PublisherId {
        PublisherId(Digest(self.row(Region::Publishers, ix, PUBLISHER).try_into().unwrap_or([0; 32])))
    }

    fn region(&self, region: Region) -> &[u8] {
        self.bytes.get(self.parts[region as usize].clone()).unwrap_or(&[])
    }

    fn near(&self, column: Region, letters: Letters, tolerance: usize) -> impl Iterator<Item = u32> + '_ {
        let (rows, _) = self.region(column).as_chunks();
        let near = move |row: &[u8; LETTERS]| Letters(u32::from_le_bytes(*row)).near(letters, tolerance);
        (0..).zip(rows).filter(move |(_, row)| near(row)).map(|(ix, _)| ix)
    }

    fn row(&self, region: Region, ix: u32, size: usize) -> &[u8] {
        let start = ix as usize * size;
        self.region(region).get(start..start + size).unwrap_or(&[])
    }

    /// A document's piece of a blob: it ends where the row says at `at`, and begins where the row before says.
    fn cut(&self, blob: Region, ix: DocumentIx, at: usize) -> &[u8] {
        let end = |ix| u32_at(self.row(Region::Documents, ix, DOCUMENT), at) as usize;
        let start = ix.checked_sub(1).map_or(0, end);
        self.region(blob).get(start..end(ix)).unwrap_or(&[])
    }
}

impl PartialEq for Segment {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl Eq for Segment {}

impl core::fmt::Debug for Segment {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Segment({} documents, {} bytes)", self.documents, self.bytes.len())
    }
}

fn u32_at(row: &[u8], at: usize) -> u32 {
    row.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |four| u32::from_le_bytes(*four))
}

fn u64_at(row: &[u8], at: usize) -> u64 {
    row.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |eight| u64::from_le_bytes(*eight))
}

/// The first number below `end` for which `before` does not hold.
fn partition_point(end: u32, before: impl Fn(u32) -> bool) -> u32 {
    let (mut low, mut high) = (0, end);
    while low < high {
        let middle = low + (high - low) / 2;
        if before(middle) { low = middle + 1 } else { high = middle }
    }
    low
}

/// Writes the checksum of all that follows it into its place.
pub(super) fn seal(bytes: &mut [u8]) {
    let checksum = checksum_of(&bytes[16..]);
    bytes[8..16].copy_from_slice(&checksum.to_le_bytes());
}

/// FNV-1a over words of 8 bytes, with a last mixing step: finds damage, not forgery.
fn checksum_of(bytes: &[u8]) -> u64 {
    let mut words = bytes.chunks_exact(8);
    let step = |sum: u64, word: u64| (sum ^ word).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(29);
    let sum = words.by_ref().fold(bytes.len() as u64, |sum, word| step(sum, u64_at(word, 0)));
    let rest: Vec<u8> = words.remainder().iter().copied().chain([0; 8]).take(8).collect();
    let sum = step(sum, u64_at(&rest, 0));
    (sum ^ (sum >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}
