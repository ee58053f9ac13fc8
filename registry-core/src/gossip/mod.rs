//! Gossipsub v1.0 to v1.2 (libp2p pubsub specifications).

use alloc::collections::VecDeque;

use bytes::Bytes;

use crate::catalog::Verdict;
use crate::command::CommandError;
use crate::cx::Cx;
use crate::event::OpError;
use crate::id::{JobId, OpId, PeerId, PeerIx, StoreId, TopicName};
use crate::input::{GossipVersion, Row, StoreResult};
use crate::time::Instant;
use crate::wire::gossip::Rpc;

/// What gossip raises for its siblings.
#[derive(Clone, Debug)]
pub(crate) enum GossipEvent {
    /// A message with a good signature, seen for the first time. Answer with `handle_verdict` and the same ticket.
    Deliver { ticket: u64, topic: TopicName, author: PeerId, source: PeerIx, data: Bytes },
    /// An own message is on its way to so many peers, or why it is not: `Signing` or `Storage`.
    Published { op: Option<OpId>, sent: Result<u32, OpError> },
}

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Gossip {
    events: VecDeque<GossipEvent>,
}

impl Gossip {
    pub(crate) fn new(_cx: &mut Cx<'_>) -> Self {
        Self { events: VecDeque::new() }
    }

    /// A row of `Table::Meta`: the reserved sequence number.
    pub(crate) fn handle_recovered(&mut self, _cx: &mut Cx<'_>, _row: Row) {}

    pub(crate) fn subscribe(&mut self, _cx: &mut Cx<'_>, _topic: TopicName) {}

    pub(crate) fn unsubscribe(&mut self, _cx: &mut Cx<'_>, _topic: &TopicName) {}

    /// Signs and sends; ends in `Published`. `op` comes back in it.
    ///
    /// # Errors
    /// `Invalid` when the message does not fit a frame, `Busy` when too many wait for the store or for signatures.
    pub(crate) fn publish(
        &mut self,
        _cx: &mut Cx<'_>,
        _op: Option<OpId>,
        _topic: TopicName,
        _data: Bytes,
    ) -> Result<(), CommandError> {
        Ok(())
    }

    /// A connected peer speaks pubsub.
    pub(crate) fn handle_peer_up(&mut self, _cx: &mut Cx<'_>, _peer: PeerIx, _version: GossipVersion, _outbound: bool) {
    }

    pub(crate) fn handle_peer_down(&mut self, _cx: &mut Cx<'_>, _peer: PeerIx) {}

    pub(crate) fn handle_rpc(&mut self, _cx: &mut Cx<'_>, _peer: PeerIx, _rpc: &Rpc) {}

    /// A peer reads too slowly: something to it was dropped.
    pub(crate) fn handle_send_dropped(&mut self, _cx: &mut Cx<'_>, _peer: PeerIx) {}

    /// The application's judgement of a delivered message.
    pub(crate) fn handle_verdict(&mut self, _cx: &mut Cx<'_>, _ticket: u64, _verdict: Verdict) {}

    pub(crate) fn handle_verified(&mut self, _cx: &mut Cx<'_>, _job: JobId, _ok: bool) {}

    pub(crate) fn handle_signed(&mut self, _cx: &mut Cx<'_>, _job: JobId, _signature: Option<Bytes>) {}

    pub(crate) fn handle_stored(&mut self, _cx: &mut Cx<'_>, _op: StoreId, _result: StoreResult) {}

    pub(crate) fn handle_timeout(&mut self, _cx: &mut Cx<'_>) {}

    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        None
    }

    /// Is the peer in some mesh of ours? (Such connections are the last to be trimmed.)
    pub(crate) fn in_mesh(&self, _peer: PeerIx) -> bool {
        false
    }

    pub(crate) fn poll_event(&mut self) -> Option<GossipEvent> {
        self.events.pop_front()
    }
}
