//! The peer book: identities, addresses, connections, dialling, misbehaviour. A shared store, lent to every machine.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use multiaddr::Multiaddr;

use crate::config::Config;
use crate::cx::Outbox;
use crate::id::{DialId, PeerId, PeerIx, RequestId};
use crate::input::{DialError, Identity, ProtocolSet, RequestError, Row, Side};
use crate::rng::Seed;
use crate::time::{Duration, Instant, UnixTime};
use crate::wire::{Message, Protocol};

/// A broken rule, by weight.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Offence {
    /// Bytes that are no message of the protocol.
    Malformed(Protocol),
    /// A message no honest peer sends (an answer of the wrong kind, a flood over a cap).
    Protocol(Protocol),
    /// A signature that does not hold.
    BadSignature,
    /// A block whose hash is not the one asked for.
    BadBlock,
    /// A statement that breaks the rules of the log.
    BadStatement,
}

/// What the peer book raises for the machines.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum PeerEvent {
    /// The first connection is up.
    Up { peer: PeerIx, side: Side },
    /// The last connection is gone.
    Down { peer: PeerIx },
    /// Its protocols are known, or have changed.
    Protocols { peer: PeerIx, was: ProtocolSet, now: ProtocolSet },
    /// Banned just now (a `Down` follows when it was connected).
    Banned { peer: PeerIx },
    /// A request that waited for a dial has failed.
    RequestFailed { id: RequestId, why: RequestError },
    /// A dial by address (`dial_addr`) is over.
    Dialled { dial: DialId, peer: Option<PeerIx> },
    /// Fewer connections than wanted: a lookup would help.
    Lonely,
}

/// First-hand observations of a peer as provider of blocks; the inputs of ranking.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Observed {
    /// Verified bytes received.
    pub(crate) verified_bytes: u64,
    /// EWMA (1/8) of the time from asking for a block to having it, in microseconds; 0 before the first.
    pub(crate) latency_us: u64,
    /// EWMA (1/8) of verified bytes per second while asked.
    pub(crate) bytes_per_sec: u64,
    /// EWMA (1/8) of failures (timeout, missing, wrong), in 1/65536.
    pub(crate) failure_rate: u32,
}

/// See the module's documentation.
#[derive(Debug)]
pub struct Peers {
    events: VecDeque<PeerEvent>,
}

impl Peers {
    pub(crate) fn new(_seed: Seed, _now: Instant, _config: &Config, _local: PeerId) -> Self {
        Self { events: VecDeque::new() }
    }

    /// The handle of a peer, new or known. The book forgets the least useful unconnected peer when full.
    pub(crate) fn intern(&mut self, _id: PeerId) -> PeerIx {
        PeerIx::new(0, 0)
    }

    /// The handle of a known peer.
    pub(crate) fn find(&self, _id: &PeerId) -> Option<PeerIx> {
        None
    }

    /// The peer behind a handle; `None` once the book has forgotten it.
    pub(crate) fn id(&self, _peer: PeerIx) -> Option<PeerId> {
        None
    }

    pub(crate) fn is_connected(&self, _peer: PeerIx) -> bool {
        false
    }

    /// Connected peers in ascending order of handle.
    pub(crate) fn connected(&self) -> impl Iterator<Item = PeerIx> + '_ {
        core::iter::empty()
    }

    /// Who opened the connection.
    pub(crate) fn side(&self, _peer: PeerIx) -> Option<Side> {
        None
    }

    pub(crate) fn protocols(&self, _peer: PeerIx) -> ProtocolSet {
        ProtocolSet::default()
    }

    /// Known addresses, best first.
    pub(crate) fn addrs(&self, _peer: PeerIx) -> &[Multiaddr] {
        &[]
    }

    /// Hearsay: adds addresses that pass the address policy and the caps. Never removes or displaces confirmed ones.
    pub(crate) fn add_addrs(&mut self, _config: &Config, _peer: PeerIx, _addrs: &[Multiaddr]) {}

    /// This node's own addresses.
    pub(crate) fn local_addrs(&self) -> &[Multiaddr] {
        &[]
    }

    pub(crate) fn is_banned(&self, _now: Instant, _peer: PeerIx) -> bool {
        false
    }

    /// Could a request reach this peer now: connected, or with an address and not in back-off, banned or blocked?
    pub(crate) fn is_reachable(&self, _now: Instant, _peer: PeerIx) -> bool {
        false
    }

    pub(crate) fn observed(&self, _peer: PeerIx) -> Observed {
        Observed::default()
    }

    pub(crate) fn observe(&mut self, _peer: PeerIx, _change: impl FnOnce(&mut Observed)) {}

    /// Keeps the peer's handle and addresses in the book (routing table, provider lists), until released as often.
    pub(crate) fn pin(&mut self, _peer: PeerIx) {}

    pub(crate) fn release(&mut self, _peer: PeerIx) {}

    /// See [`Cx::request`](crate::cx::Cx::request).
    pub(crate) fn request(
        &mut self,
        _now: Instant,
        _config: &Config,
        _out: &mut Outbox,
        _peer: PeerIx,
        _id: RequestId,
        _msg: Message,
    ) {
    }

    /// See [`Cx::notify`](crate::cx::Cx::notify).
    pub(crate) fn notify(&mut self, _now: Instant, _config: &Config, _out: &mut Outbox, _peer: PeerIx, _msg: Message) {}

    /// Dials a peer by its known addresses, unless connected, dialling or in back-off.
    pub(crate) fn dial(&mut self, _now: Instant, _config: &Config, _out: &mut Outbox, _peer: PeerIx) {}

    /// Dials an address whose peer may be unknown; ends in `Dialled`.
    pub(crate) fn dial_addr(&mut self, _now: Instant, _config: &Config, _out: &mut Outbox, _addr: Multiaddr) -> DialId {
        DialId(0)
    }

    /// Remembers an address to dial again (with back-off) whenever this node has too few connections.
    pub(crate) fn add_bootstrap(&mut self, _addr: Multiaddr) {}

    pub(crate) fn disconnect(&mut self, _out: &mut Outbox, _peer: PeerIx) {}

    pub(crate) fn charge(
        &mut self,
        _now: Instant,
        _config: &Config,
        _out: &mut Outbox,
        _peer: PeerIx,
        _offence: Offence,
    ) {
    }

    pub(crate) fn handle_recovered(&mut self, _now: Instant, _unix: UnixTime, _config: &Config, _row: Row) {}

    pub(crate) fn handle_connected(
        &mut self,
        _now: Instant,
        _config: &Config,
        _out: &mut Outbox,
        _peer: PeerId,
        _addr: Multiaddr,
        _side: Side,
    ) {
    }

    pub(crate) fn handle_disconnected(&mut self, _now: Instant, _config: &Config, _peer: PeerId) {}

    pub(crate) fn handle_dial_failed(&mut self, _now: Instant, _config: &Config, _dial: DialId, _why: DialError) {}

    pub(crate) fn handle_identified(&mut self, _now: Instant, _config: &Config, _peer: PeerId, _info: Identity) {}

    pub(crate) fn handle_local_addr(&mut self, _addr: Multiaddr, _up: bool) {}

    /// `keep` names connections that must not be trimmed (in a mesh, in use).
    pub(crate) fn handle_timeout(
        &mut self,
        _now: Instant,
        _unix: UnixTime,
        _config: &Config,
        _out: &mut Outbox,
        _keep: impl Fn(PeerIx) -> bool,
    ) {
    }

    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        None
    }

    pub(crate) fn poll_event(&mut self) -> Option<PeerEvent> {
        self.events.pop_front()
    }

    /// Everything the application may want to see of connected peers.
    pub(crate) fn views(&self, _now: Instant) -> Vec<PeerView> {
        Vec::new()
    }
}

/// A connected peer as the application sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PeerView {
    /// Who.
    pub peer: PeerId,
    /// Its address on the present connection.
    pub addr: Multiaddr,
    /// Who dialled.
    pub side: Side,
    /// For how long.
    pub connected_for: Duration,
    /// What it says it runs.
    pub agent: alloc::string::String,
    /// What it serves.
    pub protocols: ProtocolSet,
    /// Verified bytes received from it.
    pub verified_bytes: u64,
    /// Misbehaviour points.
    pub offences: u32,
}
