//! Reconciliation: whoever was away or joins late ends with the same catalogue.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use bytes::Bytes;

use crate::catalog::{Catalog, Verdict};
use crate::cx::Cx;
use crate::id::{PeerIx, PublisherId, RequestId, Token};
use crate::input::RequestError;
use crate::time::Instant;
use crate::wire::registry::RegistryMessage;

/// What sync raises for its siblings.
#[derive(Clone, Debug)]
pub(crate) enum SyncEvent {
    /// Give these to the catalogue; its verdict comes back by `handle_judged`.
    Entries { ticket: u64, source: PeerIx, record: Bytes, from: u64, entries: Vec<Bytes> },
    /// No connected peer could fill this gap: look for providers of the publisher's log.
    NeedHolders { publisher: PublisherId },
    /// A gap asked for by `catch_up` is filled, or given up.
    CaughtUp { publisher: PublisherId, ok: bool },
}

/// Rounds with one peer at a time, and gap fetches on demand. The catalogue is lent for each call: sync reads it and
/// never writes.
#[derive(Debug)]
pub(crate) struct Sync {
    events: VecDeque<SyncEvent>,
}

impl Sync {
    pub(crate) fn new() -> Self {
        Self { events: VecDeque::new() }
    }

    /// A peer that serves the registry protocol is up: due for a round.
    pub(crate) fn handle_peer_up(&mut self, _cx: &mut Cx<'_>, _peer: PeerIx) {}

    pub(crate) fn handle_peer_down(&mut self, _cx: &mut Cx<'_>, _peer: PeerIx) {}

    /// The catalogue is behind a known head: fetch the publisher's log, from `source` first.
    pub(crate) fn catch_up(
        &mut self,
        _cx: &mut Cx<'_>,
        _catalog: &Catalog,
        _publisher: PublisherId,
        _source: Option<PeerIx>,
    ) {
    }

    /// Providers of the publisher's log, found on request of `NeedHolders`.
    pub(crate) fn handle_holders(
        &mut self,
        _cx: &mut Cx<'_>,
        _catalog: &Catalog,
        _publisher: PublisherId,
        _holders: &[PeerIx],
    ) {
    }

    /// A peer's question; always answered.
    pub(crate) fn handle_request(
        &mut self,
        cx: &mut Cx<'_>,
        _catalog: &Catalog,
        _peer: PeerIx,
        token: Token,
        _msg: &RegistryMessage,
    ) {
        cx.respond(token, None);
    }

    pub(crate) fn handle_response(
        &mut self,
        _cx: &mut Cx<'_>,
        _catalog: &Catalog,
        _id: RequestId,
        _msg: &RegistryMessage,
    ) {
    }

    pub(crate) fn handle_request_failed(&mut self, _cx: &mut Cx<'_>, _id: RequestId, _why: RequestError) {}

    /// The catalogue has judged what `Entries` gave it.
    pub(crate) fn handle_judged(&mut self, _cx: &mut Cx<'_>, _catalog: &Catalog, _ticket: u64, _verdict: Verdict) {}

    pub(crate) fn handle_timeout(&mut self, _cx: &mut Cx<'_>, _catalog: &Catalog) {}

    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        None
    }

    pub(crate) fn poll_event(&mut self) -> Option<SyncEvent> {
        self.events.pop_front()
    }
}
