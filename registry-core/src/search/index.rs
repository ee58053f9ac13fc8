//! The segments of one node, which of their documents still count, and how many packages depend on each package.

use alloc::vec::Vec;

use crate::catalog::{Name, Release};
use crate::collections::LookupMap;
use crate::id::PublisherId;
use crate::search::bits::Bits;
use crate::search::score::{FIELDS, Popularity, Ranking};
use crate::search::segment::{DocumentIx, Fingerprint, Key, Part, Segment};

/// As many segments of one size class become one of the next.
const FAN_OUT: usize = 8;
/// Documents of a segment at most; merging two million postings is as much as one job should take.
const MAX_DOCUMENTS: u32 = 1 << 15;
/// Merges of so many documents are done at once (about a millisecond), larger ones by a worker.
const MAX_INLINE: u32 = 512;

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
}

/// A segment, and which of its documents still count.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) segment: Segment,
    pub(super) dead: Bits,
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
        Self { ranking, live: Vec::new(), packages: LookupMap::new(0), documents: 0, lengths: [0; FIELDS] }
    }

    /// Makes the releases, each of another package, the documents of their packages.
    pub fn insert(&mut self, releases: &[&Release]) {
        let news = |release: &&&Release| self.position(Key::of(release)) != Some(release.position);
        let news: Vec<_> = releases.iter().filter(news).copied().collect();
        if news.is_empty() {
            return;
        }
        news.iter().for_each(|release| self.remove(&release.meta.name, release.publisher));
        self.attach(Segment::build(&news));
        while let Some(run) = self.mergeable(MAX_INLINE) {
            self.merge(run);
        }
    }

    /// Takes a package's document away.
    pub fn remove(&mut self, name: &Name, publisher: PublisherId) {
        let key = Key { name: name.as_str(), publisher };
        if let Some((at, ix)) = self.find(key) {
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
    pub(super) fn position(&self, key: Key<'_>) -> Option<u64> {
        self.find(key).map(|(at, ix)| self.live[at].segment.document(ix).position)
    }

    pub(super) fn popularity(&self, package: Fingerprint) -> Popularity {
        Popularity::new(self.dependents(package))
    }

    pub(super) fn dependents(&self, package: Fingerprint) -> u32 {
        self.packages.get(&package).map_or(0, |package| package.dependents)
    }

    fn find(&self, key: Key<'_>) -> Option<(usize, DocumentIx)> {
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
        for ix in 0..segment.len() {
            self.count(&segment, ix, true);
        }
        let dead = Bits::new(segment.len());
        self.live.push(Live { segment, dead });
    }

    fn kill(&mut self, at: usize, ix: DocumentIx) {
        let segment = self.live[at].segment.clone();
        self.live[at].dead.insert(ix);
        self.count(&segment, ix, false);
    }

    /// Adds what a document contributes to the whole, or takes it away.
    fn count(&mut self, segment: &Segment, ix: DocumentIx, alive: bool) {
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

    /// Segments of one size class that can become one of at most `max` documents, by position, in ascending order.
    fn mergeable(&self, max: u32) -> Option<Vec<usize>> {
        let class = |live: &Live| live.segment.len().max(1).ilog(FAN_OUT as u32);
        (0..=MAX_DOCUMENTS.ilog(FAN_OUT as u32)).find_map(|wanted| {
            let mut room = max;
            let fits = |&at: &usize| match room.checked_sub(self.live[at].segment.len()) {
                Some(left) if class(&self.live[at]) == wanted => {
                    room = left;
                    true
                }
                Some(_) | None => false,
            };
            let run: Vec<_> = (0..self.live.len()).filter(fits).take(FAN_OUT).collect();
            (run.len() == FAN_OUT).then_some(run)
        })
    }

    fn merge(&mut self, run: Vec<usize>) {
        let parts: Vec<_> = run.iter().map(|&at| self.part(at)).collect();
        run.iter().rev().for_each(|&at| drop(self.live.swap_remove(at)));
        let segment = Segment::merge(&parts);
        let dead = Bits::new(segment.len());
        self.live.push(Live { segment, dead });
    }

    fn part(&self, at: usize) -> Part {
        Part { segment: self.live[at].segment.clone(), dead: self.live[at].dead.iter().collect() }
    }
}
