//! One content that is being fetched: which parts of its tree are still to be looked at, and who may have them.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use super::row::Sources;
use super::unixfs::{MAX_BLOCK, MAX_DEPTH, NodeKind, UnixfsError};
use crate::id::{BlockId, Codec, Digest, OpId, PeerId, PeerIx};
use crate::time::{Duration, Instant};

/// Places looked at in parallel: enough to keep every provider's window full. Inner nodes weigh more, because any of
/// them may be as long as a block can be.
const LOOKAHEAD: usize = 64;
const INNER_WEIGHT: usize = 4;
/// Places known and not yet looked at; depth first, so a thousand per level. The rest of the bound is for directories;
/// 56 bytes each.
const MAX_TODO: usize = 1 << 18;
/// Inner nodes of one content: 64 TiB of files, or as many directories.
const MAX_NODES: usize = 1 << 16;
/// Providers known for one content. Far more than are used at once; the rest replaces those that fail.
const MAX_CANDIDATES: usize = 64;
/// With so many known, no further ones are asked by chance: room is left for those that are found.
const MAX_STRANGERS: usize = 32;
/// A declared size never counts for more, so that sums of lies stay sums.
const MAX_CLAIM: u64 = 1 << 50;
/// Expected length of an inner node of unknown length: one of 1024 children.
const INNER_LEN: u64 = 64 * 1024;
/// Expected length of a leaf of unknown length.
const LEAF_LEN: u64 = 1024 * 1024;
/// Sources are written after so many new bytes: a crash forgets at most so much of who sent what.
const SAVE_EVERY: u64 = 4 * 1024 * 1024;

/// One position in the tree.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Place {
    pub(super) id: BlockId,
    depth: u8,
    /// What a file's inner node declares; to be held against the block.
    size: Option<u64>,
    /// What this place stands for in the total so far.
    counted: u64,
}

impl Place {
    fn weight(&self) -> usize {
        match self.id.codec {
            Codec::DagPb => INNER_WEIGHT,
            Codec::Raw | Codec::DagCbor => 1,
        }
    }

    /// How long the block may be, for planning only.
    pub(super) fn expected_len(&self) -> u64 {
        match self.id.codec {
            Codec::DagPb => INNER_LEN,
            Codec::Raw | Codec::DagCbor => match self.counted {
                0 => LEAF_LEN,
                counted => counted.min(MAX_BLOCK as u64),
            },
        }
    }
}

/// What this node thinks of a provider of the content.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Standing {
    /// Asked whether it has the root.
    Asked,
    /// Said so, or was found as a provider.
    Has,
    /// Said it has not.
    Lacks,
    /// Sent a wrong block.
    Barred,
}

#[derive(Debug)]
pub(super) struct Fetch {
    pub(super) run: u64,
    /// Who waits for it, and since when in vain; the most patient first.
    pub(super) ops: Vec<(OpId, Instant)>,
    /// The next place last.
    todo: Vec<Place>,
    /// Weight of the places being looked at.
    open: usize,
    /// The store is asked which of some blocks it has.
    pub(super) checking: bool,
    /// Inner nodes entered.
    nodes: BTreeSet<Digest>,
    done: u64,
    total: u64,
    pub(super) sources: Sources,
    unsaved: u64,
    pub(super) saving: bool,
    /// A row says that this fetch is unfinished.
    pub(super) recorded: bool,
    /// Some block was not in the store.
    pub(super) missing: bool,
    /// Blocks to ask for, oldest first; those asked of late peers too.
    pub(super) queue: BTreeSet<(u64, BlockId)>,
    pub(super) providers: BTreeMap<PeerIx, Standing>,
    pub(super) backoff: Duration,
    pub(super) searched: Option<Instant>,
    /// Blocks fetched since the last search for providers.
    pub(super) fresh: u32,
    /// Everything is there; the row that says so is being written.
    pub(super) finishing: bool,
}

impl Fetch {
    pub(super) fn new(root: BlockId, run: u64, op: (OpId, Instant), sources: Sources, recorded: bool) -> Self {
        Self {
            run,
            ops: alloc::vec![op],
            todo: alloc::vec![Place { id: root, depth: 0, size: None, counted: 0 }],
            open: 0,
            checking: false,
            nodes: BTreeSet::new(),
            done: 0,
            total: 0,
            sources,
            unsaved: 0,
            saving: false,
            recorded,
            missing: false,
            queue: BTreeSet::new(),
            providers: BTreeMap::new(),
            backoff: Duration::ZERO,
            searched: None,
            fresh: 0,
            finishing: false,
        }
    }

    /// The next place to look at. Nodes that were entered before are passed by.
    pub(super) fn next_place(&mut self) -> Option<Place> {
        while self.open < LOOKAHEAD {
            let place = self.todo.pop()?;
            if place.id.codec != Codec::DagPb || !self.nodes.contains(&place.id.digest) {
                self.open += place.weight();
                return Some(place);
            }
            self.done = self.done.saturating_add(place.counted);
        }
        None
    }

    /// May a block be at this place? To be asked before it is kept.
    pub(super) fn check(&self, place: &Place, node: &NodeKind) -> Result<(), UnixfsError> {
        let (children, size) = match node {
            NodeKind::Leaf(data) => (0, Some(data.len() as u64)),
            NodeKind::File { size, children } => (children.len(), Some(*size)),
            NodeKind::Directory { entries } => (entries.len(), None),
        };
        if place.size.is_some() && size != place.size {
            return Err(UnixfsError::Size);
        }
        if children > 0 && usize::from(place.depth) >= MAX_DEPTH {
            return Err(UnixfsError::TooDeep);
        }
        if self.todo.len() + children > MAX_TODO || self.nodes.len() >= MAX_NODES {
            return Err(UnixfsError::TooMany);
        }
        Ok(())
    }

    /// The block at this place is in the store: its children are to be looked at.
    pub(super) fn enter(&mut self, place: &Place, node: &NodeKind) -> Result<(), UnixfsError> {
        self.check(place, node)?;
        self.open = self.open.saturating_sub(place.weight());
        match node {
            NodeKind::Leaf(data) => {
                let len = data.len() as u64;
                self.recount(place, len);
                self.done = self.done.saturating_add(len);
            }
            NodeKind::File { size, children } => {
                self.recount(place, *size);
                if self.is_new(place) {
                    let parts = children.iter().map(|child| (child.id, child.size, Some(child.size)));
                    self.push_children(place, parts);
                } else {
                    self.done = self.done.saturating_add(*size);
                }
            }
            NodeKind::Directory { entries } => {
                let sum = entries.iter().fold(0u64, |sum, entry| sum.saturating_add(entry.dag_size.min(MAX_CLAIM)));
                self.recount(place, sum);
                if self.is_new(place) {
                    let parts = entries.iter().map(|entry| (entry.id, entry.dag_size.min(MAX_CLAIM), None));
                    self.push_children(place, parts);
                } else {
                    self.done = self.done.saturating_add(sum);
                }
            }
        }
        Ok(())
    }

    /// The leaf at this place is in the store. Its length is not looked at: whoever reads it in this place
    /// ([`Walk`](super::unixfs::Walk)) does that.
    pub(super) fn pass(&mut self, place: &Place) {
        self.open = self.open.saturating_sub(place.weight());
        self.done = self.done.saturating_add(place.counted);
    }

    /// Nothing is left to look at.
    pub(super) fn is_complete(&self) -> bool {
        self.open == 0 && self.todo.is_empty() && !self.checking
    }

    /// All blocks are known and asked for: what remains is to wait for the last ones.
    pub(super) fn is_ending(&self) -> bool {
        self.queue.is_empty() && self.todo.is_empty() && !self.checking
    }

    /// (durable bytes, bytes in all as far as known); the second is never less.
    pub(super) fn progress(&self) -> (u64, u64) {
        (self.done, self.total.max(self.done))
    }

    pub(super) fn credit(&mut self, peer: Option<PeerId>, bytes: u64) {
        if let Some(peer) = peer {
            let sum = self.sources.entry(peer).or_default();
            *sum = sum.saturating_add(bytes);
        }
        self.unsaved = self.unsaved.saturating_add(bytes);
        self.fresh = self.fresh.saturating_add(1);
    }

    /// Is it time to write the sources? Then they count as written.
    pub(super) fn take_unsaved(&mut self, at_least: Option<u64>) -> bool {
        let due = self.unsaved >= at_least.unwrap_or(SAVE_EVERY);
        if due {
            self.unsaved = 0;
        }
        due
    }

    /// Takes out those who have waited in vain for so long, and tells when the next one will have.
    pub(super) fn take_impatient(&mut self, now: Instant, patience: Duration) -> (Vec<OpId>, Option<Instant>) {
        let impatient = self.ops.iter().take_while(|(_, since)| *since + patience <= now).count();
        let ended = self.ops.drain(..impatient).map(|(op, _)| op).collect();
        (ended, self.ops.first().map(|(_, since)| *since + patience))
    }

    /// Is there room for a peer that is said to have the content?
    pub(super) fn has_room(&self) -> bool {
        self.providers.len() < MAX_CANDIDATES
    }

    /// Is there room for a peer that is asked by chance?
    pub(super) fn has_room_for_stranger(&self) -> bool {
        self.providers.len() < MAX_STRANGERS
    }

    /// Takes out one that lacks the content, if there is any.
    pub(super) fn take_lacking(&mut self) -> Option<PeerIx> {
        let (peer, _) = self.providers.iter().find(|(_, standing)| **standing == Standing::Lacks)?;
        let peer = *peer;
        self.providers.remove(&peer);
        Some(peer)
    }

    fn is_new(&mut self, place: &Place) -> bool {
        self.nodes.insert(place.id.digest)
    }

    fn recount(&mut self, place: &Place, size: u64) {
        self.total = self.total.saturating_sub(place.counted).saturating_add(size);
    }

    /// Depth first and in order, so that a file's first bytes come first.
    fn push_children(&mut self, parent: &Place, parts: impl DoubleEndedIterator<Item = (BlockId, u64, Option<u64>)>) {
        let depth = parent.depth.saturating_add(1);
        self.todo.extend(parts.rev().map(|(id, counted, size)| Place { id, depth, size, counted }));
    }
}
