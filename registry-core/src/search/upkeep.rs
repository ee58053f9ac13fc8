//! Keeping the segments few, and in the store.

use alloc::vec::Vec;

use bytes::Bytes;

use crate::action::{Table, Write};
use crate::catalog::Name;
use crate::id::PublisherId;
use crate::input::Row;
use crate::search::bits::Bits;
use crate::search::index::{Index, Live};
use crate::search::segment::{Document, DocumentIx, Part, Segment};

/// As many segments of one size class become one of the next.
const FAN_OUT: usize = 8;
/// Documents of a segment at most: some 4 MB, which is read back from the store in a few milliseconds.
const MAX_DOCUMENTS: u32 = 1 << 14;
/// Merges of so many documents are done at once, in about two milliseconds; larger ones by a worker.
const MAX_INLINE: u32 = 1024;
/// Segments of so many documents are stored. What is in smaller ones is indexed again after a restart.
const MIN_STORED: u32 = 512;

/// What is under way.
#[derive(Debug, Default)]
pub(super) struct Upkeep {
    next_serial: u64,
    /// The segments a worker merges, by serial.
    merging: Vec<u64>,
    writes: Vec<Write>,
}

impl Index {
    /// A merge for a worker, when one is due and none is under way.
    pub fn next_merge(&mut self) -> Option<Vec<Part>> {
        if !self.upkeep.merging.is_empty() {
            return None;
        }
        let run = self.mergeable(MAX_DOCUMENTS)?;
        self.upkeep.merging = run.iter().map(|&at| self.live[at].serial).collect();
        Some(run.iter().map(|&at| self.part(at)).collect())
    }

    /// The result of the merge that is under way.
    pub fn handle_merged(&mut self, segment: Segment) {
        let merging = core::mem::take(&mut self.upkeep.merging);
        let of_merge = |live: &Live| merging.contains(&live.serial);
        let run: Vec<_> = (0..self.live.len()).filter(|&at| of_merge(&self.live[at])).collect();
        // Documents that died meanwhile, and did not come back in another of the parts.
        let mut dead = Bits::default();
        for live in run.iter().map(|&at| &self.live[at]) {
            for document in live.dead.iter(live.segment.documents()).map(|ix| live.segment.document(ix)) {
                let back = run.iter().any(|&at| self.live[at].holds(&document));
                segment.find_document(&document).filter(|_| !back).into_iter().for_each(|ix| dead.insert(ix));
            }
        }
        self.replace(&run, segment, dead);
    }

    /// Rows to be written, all at once.
    pub(crate) fn take_writes(&mut self) -> Vec<Write> {
        core::mem::take(&mut self.upkeep.writes)
    }

    /// A row of `Table::Segment`. Its documents count until [`Index::drop_unconfirmed`]; by then `insert` should have been
    /// called with each that is to stay.
    pub(crate) fn handle_recovered(&mut self, row: &Row) {
        let segment = Segment::open(row.value.clone()).filter(|segment| row.key == segment.id()[..]);
        let Some(segment) = segment else {
            return self.upkeep.writes.push(Write { table: Table::Segment, key: row.key.clone(), value: None });
        };
        let mut dead = Bits::default();
        let mut unconfirmed = Bits::default();
        for ix in 0..segment.documents() {
            let document = segment.document(ix);
            match self.find(document.key) {
                Some((at, other)) if self.live[at].segment.document(other).position < document.position => {
                    self.kill(at, other);
                }
                Some(_) => {
                    dead.insert(ix);
                    continue;
                }
                None => {}
            }
            unconfirmed.insert(ix);
            self.count(&segment, ix, true);
        }
        self.upkeep.next_serial += 1;
        let alive = segment.documents() - dead.len();
        self.live.push(Live { segment, dead, alive, unconfirmed, serial: self.upkeep.next_serial });
    }

    /// Takes away what was in stored segments and nobody knows of; returns what it was.
    pub(crate) fn drop_unconfirmed(&mut self) -> Vec<(Name, PublisherId)> {
        let mut packages = Vec::new();
        for at in 0..self.live.len() {
            let strange: Vec<_> = self.live[at].unconfirmed.iter(self.live[at].segment.documents()).collect();
            for ix in strange {
                let key = self.live[at].segment.key(ix);
                packages.extend(Name::new(key.name).ok().map(|name| (name, key.publisher)));
                self.kill(at, ix);
            }
        }
        packages
    }

    /// Merges what is small enough to be merged at once.
    pub(super) fn merge_small(&mut self) {
        while let Some(run) = self.mergeable(MAX_INLINE) {
            let parts: Vec<_> = run.iter().map(|&at| self.part(at)).collect();
            self.replace(&run, Segment::merge(&parts), Bits::default());
        }
    }

    pub(super) fn push(&mut self, segment: Segment, dead: Bits) {
        if segment.documents() >= MIN_STORED {
            let value = Some(segment.bytes().clone());
            self.upkeep.writes.push(Write { table: Table::Segment, key: key_of(&segment), value });
        }
        self.upkeep.next_serial += 1;
        let alive = segment.documents() - dead.len();
        let unconfirmed = Bits::default();
        self.live.push(Live { segment, dead, alive, unconfirmed, serial: self.upkeep.next_serial });
    }

    /// Puts a merged segment in the place of those it was made of. `run` is in ascending order.
    fn replace(&mut self, run: &[usize], segment: Segment, dead: Bits) {
        for &at in run.iter().rev() {
            let old = self.live.swap_remove(at).segment;
            if old.documents() >= MIN_STORED {
                self.upkeep.writes.push(Write { table: Table::Segment, key: key_of(&old), value: None });
            }
        }
        if segment.documents() > 0 {
            self.push(segment, dead);
        }
    }

    /// Segments of one size class that can become one of at most `max` documents, by position, in ascending order.
    fn mergeable(&self, max: u32) -> Option<Vec<usize>> {
        let class = |alive: u32| alive.max(1).ilog(FAN_OUT as u32);
        (0..=class(MAX_DOCUMENTS)).find_map(|wanted| {
            let mut room = max;
            let mut fits = |at: &usize| {
                let live = &self.live[*at];
                let left = room.checked_sub(live.alive).filter(|_| class(live.alive) == wanted);
                let free = live.unconfirmed.is_empty() && !self.upkeep.merging.contains(&live.serial);
                let left = left.filter(|_| free);
                room = left.unwrap_or(room);
                left.is_some()
            };
            let run: Vec<_> = (0..self.live.len()).filter(|at| fits(at)).take(FAN_OUT).collect();
            // Fewer fit into one of the largest.
            let full = max == MAX_DOCUMENTS && wanted == class(MAX_DOCUMENTS) && run.len() > 1;
            (run.len() == FAN_OUT || full).then_some(run)
        })
    }

    fn part(&self, at: usize) -> Part {
        let Live { segment, dead, .. } = &self.live[at];
        Part { segment: segment.clone(), dead: dead.iter(segment.documents()).collect::<Vec<DocumentIx>>() }
    }
}

impl Live {
    fn holds(&self, document: &Document<'_>) -> bool {
        self.segment.find_document(document).is_some_and(|ix| !self.dead.contains(ix))
    }
}

fn key_of(segment: &Segment) -> Bytes {
    Bytes::copy_from_slice(&segment.id())
}
