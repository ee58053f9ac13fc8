//! Kademlia (libp2p kad-dht r2 and the IPFS kad-dht specification).

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use bytes::Bytes;

use crate::cx::Cx;
use crate::id::{JobId, PeerIx, RequestId, Token};
use crate::input::RequestError;
use crate::time::Instant;
use crate::wire::kad::KadMessage;

/// A running lookup or record operation.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct QueryId(pub(crate) u64);

/// What Kademlia raises for its siblings.
#[derive(Clone, Debug)]
pub(crate) enum KadEvent {
    /// Further providers; `last` when the query is over. `asked` and `answered` count peers.
    Providers { query: QueryId, providers: Vec<PeerIx>, last: bool, asked: u32, answered: u32 },
    /// The best valid value found, if any.
    Value { query: QueryId, value: Option<Bytes>, asked: u32, answered: u32 },
    /// A put is over.
    Put { query: QueryId, acks: u32, asked: u32 },
    /// A provide's first announcement is over.
    Provided { query: QueryId, sent: u32 },
    /// A lookup is over: the closest servers that answered, closest first.
    Closest { query: QueryId, peers: Vec<PeerIx>, asked: u32, answered: u32, hops: u32 },
    /// A valid record was stored or seen here (a hint for whoever follows that key).
    RecordSeen { key: Bytes, value: Bytes },
}

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Kad {
    events: VecDeque<KadEvent>,
    next_query: u64,
}

impl Kad {
    pub(crate) fn new(_cx: &mut Cx<'_>) -> Self {
        Self { events: VecDeque::new(), next_query: 0 }
    }

    /// Looks up the closest servers to `key` (any bytes).
    pub(crate) fn find_closest(&mut self, _cx: &mut Cx<'_>, _key: Bytes) -> QueryId {
        self.new_query()
    }

    /// Looks up a value; ends in `Value`. A key of an unknown namespace ends at once with none.
    pub(crate) fn get_value(&mut self, _cx: &mut Cx<'_>, _key: Bytes) -> QueryId {
        self.new_query()
    }

    /// Stores a value here and at the closest servers, again at each republish; ends in `Put`.
    pub(crate) fn put_value(&mut self, _cx: &mut Cx<'_>, _key: Bytes, _value: Bytes) -> QueryId {
        self.new_query()
    }

    /// Checks a put's arguments: known namespace, structurally valid value, sizes.
    pub(crate) fn check_put(&self, _cx: &Cx<'_>, _key: &[u8], _value: &[u8]) -> Result<(), &'static str> {
        Ok(())
    }

    /// Announces this node as provider of a multihash, again at each republish; ends in `Provided`.
    pub(crate) fn provide(&mut self, _cx: &mut Cx<'_>, _key: Bytes) -> QueryId {
        self.new_query()
    }

    pub(crate) fn stop_providing(&mut self, _cx: &mut Cx<'_>, _key: &[u8]) {}

    /// Looks up providers; ends in a last `Providers`, early when `count` are known.
    pub(crate) fn find_providers(&mut self, _cx: &mut Cx<'_>, _key: Bytes, _count: usize) -> QueryId {
        self.new_query()
    }

    /// Ends a query without an event.
    pub(crate) fn cancel(&mut self, _cx: &mut Cx<'_>, _query: QueryId) {}

    /// A connected peer serves the DHT, or no longer.
    pub(crate) fn handle_server(&mut self, _cx: &mut Cx<'_>, _peer: PeerIx, _serves: bool) {}

    pub(crate) fn handle_peer_down(&mut self, _cx: &mut Cx<'_>, _peer: PeerIx) {}

    /// The peer is banned: forget it everywhere.
    pub(crate) fn handle_peer_banned(&mut self, _cx: &mut Cx<'_>, _peer: PeerIx) {}

    /// A peer's message on a DHT stream. Answered when the protocol wants an answer; closed without one otherwise.
    pub(crate) fn handle_request(&mut self, cx: &mut Cx<'_>, _peer: PeerIx, token: Token, _msg: &KadMessage) {
        cx.respond(token, None);
    }

    pub(crate) fn handle_response(&mut self, _cx: &mut Cx<'_>, _id: RequestId, _msg: &KadMessage) {}

    pub(crate) fn handle_request_failed(&mut self, _cx: &mut Cx<'_>, _id: RequestId, _why: RequestError) {}

    pub(crate) fn handle_verified(&mut self, _cx: &mut Cx<'_>, _job: JobId, _ok: bool) {}

    pub(crate) fn handle_timeout(&mut self, _cx: &mut Cx<'_>) {}

    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        None
    }

    pub(crate) fn poll_event(&mut self) -> Option<KadEvent> {
        self.events.pop_front()
    }

    fn new_query(&mut self) -> QueryId {
        self.next_query += 1;
        QueryId(self.next_query)
    }
}
