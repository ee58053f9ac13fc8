//! Block exchange: Bitswap 1.2, several providers at once, nothing kept unverified.

pub mod unixfs;

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use crate::cx::Cx;
use crate::event::OpError;
use crate::id::{BlockId, Digest, JobId, OpId, PeerId, PeerIx, StoreId};
use crate::input::{Row, StoreResult};
use crate::time::Instant;
use crate::wire::bitswap::BitswapMessage;

/// What the exchange raises for its siblings.
#[derive(Clone, Debug)]
pub(crate) enum ExchangeEvent {
    /// Not enough providers for this content: look for some (answer with `add_providers`).
    NeedProviders { root: BlockId },
    /// Verified, durable bytes of this content.
    Progress { op: OpId, bytes: u64, total: u64, providers: u32 },
    /// Everything under the root is durable, and so is the row that says so.
    Fetched { op: OpId, root: BlockId, sources: Vec<(PeerId, u64)> },
    /// A content is complete in the store: provide it.
    Complete { root: BlockId },
    /// Given up.
    Failed { op: OpId, error: OpError },
}

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Exchange {
    events: VecDeque<ExchangeEvent>,
}

impl Exchange {
    pub(crate) fn new(_cx: &mut Cx<'_>) -> Self {
        Self { events: VecDeque::new() }
    }

    /// A row of `Table::Content` or `Table::Fetch`.
    pub(crate) fn handle_recovered(&mut self, _cx: &mut Cx<'_>, _row: Row) {}

    /// Content that the local publisher's shell has put into the store block by block: record it as complete.
    pub(crate) fn add_local(&mut self, _cx: &mut Cx<'_>, _root: BlockId) {}

    /// Starts (or resumes) fetching all blocks under a root. Ends in `Fetched` or `Failed`.
    pub(crate) fn fetch(&mut self, _cx: &mut Cx<'_>, _op: OpId, _root: BlockId) {}

    /// Ends a fetch; what it has stays in the store.
    pub(crate) fn cancel(&mut self, _cx: &mut Cx<'_>, _op: OpId) {}

    /// Providers found for a root; `last` when no more will come from this search.
    pub(crate) fn add_providers(&mut self, _cx: &mut Cx<'_>, _root: BlockId, _providers: &[PeerIx], _last: bool) {}

    /// A connected peer speaks Bitswap.
    pub(crate) fn handle_peer_up(&mut self, _cx: &mut Cx<'_>, _peer: PeerIx) {}

    pub(crate) fn handle_peer_down(&mut self, _cx: &mut Cx<'_>, _peer: PeerIx) {}

    pub(crate) fn handle_message(&mut self, _cx: &mut Cx<'_>, _peer: PeerIx, _msg: &BitswapMessage) {}

    pub(crate) fn handle_hashed(&mut self, _cx: &mut Cx<'_>, _job: JobId, _digest: Digest) {}

    pub(crate) fn handle_stored(&mut self, _cx: &mut Cx<'_>, _op: StoreId, _result: StoreResult) {}

    pub(crate) fn handle_send_dropped(&mut self, _cx: &mut Cx<'_>, _peer: PeerIx) {}

    pub(crate) fn handle_timeout(&mut self, _cx: &mut Cx<'_>) {}

    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        None
    }

    /// Is something being fetched from, or served to, the peer? (Such connections are not trimmed.)
    pub(crate) fn in_use(&self, _peer: PeerIx) -> bool {
        false
    }

    /// Complete contents, in ascending order of root.
    pub(crate) fn contents(&self) -> impl Iterator<Item = BlockId> + '_ {
        core::iter::empty()
    }

    pub(crate) fn poll_event(&mut self) -> Option<ExchangeEvent> {
        self.events.pop_front()
    }
}
