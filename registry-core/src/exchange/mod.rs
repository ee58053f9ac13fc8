//! Block exchange: Bitswap 1.2, several providers at once, nothing kept unverified.
//!
//! `client` fetches contents: it walks the tree under a root, asks providers for the blocks the store lacks, and keeps
//! a block only once its hash and its form are right and the store has answered. `ledger` serves what is in the store.
//! [`rank`] decides whom to ask first, `window` how much and how patiently, [`unixfs`] knows what the blocks mean.

mod client;
mod fetch;
mod ledger;
pub mod rank;
mod row;
#[cfg(test)]
mod tests;
pub mod unixfs;
mod window;

use alloc::vec::Vec;

use bytes::Bytes;

use crate::cx::Cx;
use crate::event::OpError;
use crate::id::{BlockId, Codec, Digest, JobId, OpId, PeerId, PeerIx, StoreId};
use crate::input::{Row, StoreResult};
use crate::time::Instant;
use crate::wire::bitswap::BitswapMessage;

use client::Client;
use ledger::Server;

/// What the exchange raises for its siblings.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum ExchangeEvent {
    /// Not enough providers for this content: look for some (answer with `add_providers`).
    NeedProviders { root: BlockId },
    /// Verified, durable bytes of this content.
    Progress { op: OpId, bytes: u64, total: u64, providers: u32 },
    /// Everything under the root is durable, and so is the row that says so.
    Fetched { op: OpId, root: BlockId, sources: Vec<(PeerId, u64)> },
    /// A content is complete in the store; `own` when it is about to be published here.
    Complete { root: BlockId, own: bool },
    /// Given up.
    Failed { op: OpId, error: OpError },
}

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Exchange {
    client: Client,
    server: Server,
}

impl Exchange {
    pub(crate) fn new(_cx: &mut Cx<'_>) -> Self {
        Self { client: Client::default(), server: Server::default() }
    }

    /// A row of `Table::Content` or `Table::Fetch`. An unfinished fetch goes on when the application asks for it again.
    pub(crate) fn handle_recovered(&mut self, _cx: &mut Cx<'_>, row: Row) {
        self.client.handle_recovered(&row);
    }

    /// Content that the local publisher's shell has put into the store block by block: record it as complete.
    pub(crate) fn add_local(&mut self, cx: &mut Cx<'_>, root: BlockId) {
        self.client.add_local(cx, root);
    }

    /// Starts (or resumes) fetching all blocks under a root. Ends in `Fetched` or `Failed`.
    pub(crate) fn fetch(&mut self, cx: &mut Cx<'_>, op: OpId, root: BlockId) {
        self.client.fetch(cx, op, root);
    }

    /// Ends a fetch; what it has stays in the store.
    pub(crate) fn cancel(&mut self, cx: &mut Cx<'_>, op: OpId) {
        self.client.cancel(cx, op);
    }

    /// Providers found for a root. When to look again is the fetch's own plan.
    pub(crate) fn add_providers(&mut self, cx: &mut Cx<'_>, root: BlockId, providers: &[PeerIx]) {
        self.client.add_providers(cx, root, providers);
    }

    /// A connected peer speaks Bitswap.
    pub(crate) fn handle_peer_up(&mut self, cx: &mut Cx<'_>, peer: PeerIx) {
        self.client.handle_peer_up(cx, peer);
    }

    pub(crate) fn handle_peer_down(&mut self, cx: &mut Cx<'_>, peer: PeerIx) {
        self.server.handle_peer_down(cx, peer);
        self.client.handle_peer_down(cx, peer);
    }

    pub(crate) fn handle_message(&mut self, cx: &mut Cx<'_>, peer: PeerIx, msg: &BitswapMessage) {
        if cx.peers.is_connected(peer) {
            self.client.handle_message(cx, peer, msg);
            self.server.handle_message(cx, peer, msg);
        }
    }

    pub(crate) fn handle_hashed(&mut self, cx: &mut Cx<'_>, job: JobId, digest: Digest) {
        self.client.handle_hashed(cx, job, digest);
    }

    pub(crate) fn handle_stored(&mut self, cx: &mut Cx<'_>, op: StoreId, result: StoreResult) {
        if self.client.awaits(op) {
            if let Some(id) = self.client.handle_stored(cx, op, result) {
                self.server.block_arrived(cx, id);
            }
        } else {
            self.server.handle_stored(cx, op, result);
        }
    }

    /// The shell has sent a block to the peer.
    pub(crate) fn handle_sent(&mut self, cx: &mut Cx<'_>, peer: PeerIx) {
        self.server.handle_sent(cx, peer);
    }

    /// The shell has dropped a block on its way to the peer.
    pub(crate) fn handle_send_dropped(&mut self, cx: &mut Cx<'_>, peer: PeerIx) {
        self.server.handle_send_dropped(cx, peer);
    }

    pub(crate) fn handle_timeout(&mut self, cx: &mut Cx<'_>) {
        self.client.handle_timeout(cx);
        self.server.handle_timeout(cx);
    }

    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        [self.client.next_deadline(), self.server.next_deadline()].into_iter().flatten().min()
    }

    /// Is something being fetched from, or served to, the peer? (Such connections are not trimmed.)
    pub(crate) fn in_use(&self, peer: PeerIx) -> bool {
        self.client.in_use(peer) || self.server.in_use(peer)
    }

    /// Complete contents, in ascending order of root.
    pub(crate) fn contents(&self) -> impl Iterator<Item = BlockId> + '_ {
        self.client.contents()
    }

    pub(crate) fn poll_event(&mut self) -> Option<ExchangeEvent> {
        self.client.poll_event()
    }
}

/// The CID prefix of blocks of a codec: CIDv1, codec, sha2-256, 32 bytes.
fn prefix_of(codec: Codec) -> Bytes {
    Bytes::from_static(match codec {
        Codec::Raw => &[1, 0x55, 0x12, 32],
        Codec::DagPb => &[1, 0x70, 0x12, 32],
        Codec::DagCbor => &[1, 0x71, 0x12, 32],
    })
}

/// The codec of a CID prefix, when this network stores such blocks.
fn codec_of_prefix(prefix: &[u8]) -> Option<Codec> {
    match prefix {
        [1, codec, 0x12, 32] => Codec::from_code(u64::from(*codec)),
        _ => None,
    }
}
