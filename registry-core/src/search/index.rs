//! The segments of one node, which of their documents still count, and how many packages depend on each package.

use alloc::vec::Vec;

use crate::catalog::{Name, Release};
use crate::collections::LookupMap;
use crate::id::PublisherId;
use crate::search::bits::Bits;
use crate::search::score::{FIELDS, Popularity, Ranking};
use crate::search::segment::{DocumentIx, Fingerprint, Key, Segment};
use crate::search::upkeep::Upkeep;

/// An inverted index; one document per package.
///
/// A document is the release that the catalogue calls the package's current one. Every release starts as a segment of
/// its own; segments of about the same size are merged, so that their number grows with the logarithm of the catalogue.
/// Whatever the segments, the results are the same.
#[derive(Debug)]
pub struct Index {
    pub(super) ranking: Ranking,
    pub(super) live: Vec<Live>,
    packages: LookupMap<Fingerprint, Package>,
    pub(super) documents: u64,
    /// Terms in each field of all documents.
    pub(super) lengths: [u64; FIELDS],
    pub(super) upkeep: Upkeep,
}

/// A segment, and which of its documents still count.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) segment: Segment,
    pub(super) dead: Bits,
    /// Documents that are not dead.
    pub(super) alive: u32,
    /// Read from the store, and not yet met in the catalogue.
    pub(super) unconfirmed: Bits,
    /// Names it within this index.
    pub(super) serial: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Package {
    /// Documents that depend on it.
    dependents: u32,
    /// It has a document.
    indexed: bool,
}

impl Default for Index {
    fn default() -> Self {
        Self::new(Ranking::DEFAULT)
    }
}

impl Index {
    /// An empty index.
    pub fn new(ranking: Ranking) -> Self {
        Self {
            ranking,
            live: Vec::new(),
            packages: LookupMap::new(0),
            documents: 0,
            lengths: [0; FIELDS],
            upkeep: Upkeep::default(),
        }
    }

    /// Makes the releases, each of another package, the documents of their packages.
    pub fn insert(&mut self, releases: &[&Release]) {
        let mut news = Vec::new();
        for release in releases {
            let key = Key::of(release);
            match self.find(key) {
                Some((at, ix)) if self.live[at].segment.document(ix).position == release.position => {
                    self.live[at].unconfirmed.remove(ix);
                }
                Some((at, ix)) => {
                    self.kill(at, ix);
                    news.push(*release);
                }
                None => news.push(release),
            }
        }
        if !news.is_empty() {
            self.attach(Segment::build(&news, self.ranking.stemming));
            self.merge_small();
        }
    }

    /// Takes a package's document away.
    pub fn remove(&mut self, name: &Name, publisher: PublisherId) {
        if let Some((at, ix)) = self.find(Key { name: name.as_str(), publisher }) {
            self.kill(at, ix);
        }
    }

    /// Packages.
    pub fn len(&self) -> u64 {
        self.documents
    }

    /// Has it no package?
    pub fn is_empty(&self) -> bool {
        self.documents == 0
    }

    /// Bytes of all segments.
    pub fn bytes(&self) -> usize {
        self.live.iter().map(|live| live.segment.bytes().len()).sum()
    }

    /// The position in its publisher's log of the release that stands for a package.
    pub(crate) fn position(&self, name: &Name, publisher: PublisherId) -> Option<u64> {
        let (at, ix) = self.find(Key { name: name.as_str(), publisher })?;
        Some(self.live[at].segment.document(ix).position)
    }

    pub(super) fn popularity(&self, package: Fingerprint) -> Popularity {
        Popularity::new(self.dependents(package))
    }

    pub(super) fn dependents(&self, package: Fingerprint) -> u32 {
        self.packages.get(&package).map_or(0, |package| package.dependents)
    }

    pub(super) fn find(&self, key: Key<'_>) -> Option<(usize, DocumentIx)> {
        if !self.packages.get(&key.fingerprint()).is_some_and(|package| package.indexed) {
            return None;
        }
        let alive = |(at, live): (usize, &Live)| {
            live.segment.find(key).filter(|&ix| !live.dead.contains(ix)).map(|ix| (at, ix))
        };
        self.live.iter().enumerate().find_map(alive)
    }

    /// Adds a segment of documents of which none is there.
    fn attach(&mut self, segment: Segment) {
        for ix in 0..segment.documents() {
            self.count(&segment, ix, true);
        }
        self.push(segment, Bits::default());
    }

    pub(super) fn kill(&mut self, at: usize, ix: DocumentIx) {
        let live = &mut self.live[at];
        live.bury(ix);
        let segment = live.segment.clone();
        self.count(&segment, ix, false);
    }

    /// Adds what a document contributes to the whole, or takes it away.
    pub(super) fn count(&mut self, segment: &Segment, ix: DocumentIx, alive: bool) {
        let change = |count: u64, by: u64| if alive { count + by } else { count - by };
        self.documents = change(self.documents, 1);
        for (total, length) in self.lengths.iter_mut().zip(segment.lengths(ix)) {
            *total = change(*total, length.terms());
        }
        self.change(segment.fingerprint(ix), |package| package.indexed = alive);
        for target in segment.dependencies(ix) {
            self.change(target, |package| package.dependents = change(package.dependents.into(), 1) as u32);
        }
    }

    fn change(&mut self, package: Fingerprint, change: impl FnOnce(&mut Package)) {
        let mut entry = self.packages.get(&package).copied().unwrap_or_default();
        change(&mut entry);
        if entry.indexed || entry.dependents > 0 {
            self.packages.insert(package, entry);
        } else {
            self.packages.remove(&package);
        }
    }
}

impl Live {
    /// A document no longer counts here.
    pub(super) fn bury(&mut self, ix: DocumentIx) {
        self.dead.insert(ix);
        self.unconfirmed.remove(ix);
        self.alive = self.alive.saturating_sub(1);
    }
}
