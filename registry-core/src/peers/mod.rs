//! The peer book: identities, addresses, connections, dialling, misbehaviour. A shared store, lent to every machine.
//!
//! | file | what it holds |
//! |---|---|
//! | `book` | interner and entries; forgets the least useful peer when full |
//! | `addr` | address classes and policy, one peer's bounded list |
//! | `dial` | dials in flight and queued, messages that wait for them, bootstrap addresses, back-off |
//! | `score` | points per offence, bans |
//! | `outbound` | dialling, and sending to whom is not connected yet |
//! | `policy` | how many connections: dialling when there are too few, trimming when there are too many |
//! | `persist` | rows of addresses and bans |

mod addr;
mod book;
mod dial;
mod outbound;
mod persist;
mod policy;
mod score;
#[cfg(test)]
mod tests;

use alloc::boxed::Box;
use alloc::collections::{BTreeSet, VecDeque};
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use multiaddr::Multiaddr;

use self::addr::{AddrClass, acceptable, strip_peer};
use self::book::{Book, Conn, DialState};
use self::dial::{Bootstraps, Dialer, WaitingRoom};
use self::outbound::note_failure;
use self::persist::{Persist, Worth};
use self::policy::Policy;
use self::score::Bans;
use crate::action::{Action, DisconnectReason};
use crate::config::Config;
use crate::cx::Outbox;
use crate::event::Event;
use crate::exchange::rank;
use crate::id::{DialId, PeerId, PeerIx, RequestId};
use crate::input::{DialError, Identity, ProtocolSet, RequestError, Side};
use crate::rng::{Rng, Seed};
use crate::time::{Duration, Instant, UnixTime};
use crate::wire::Protocol;

/// A connection this node opened that ended sooner counts as a failed dial: who hangs up at once is not redialled at once.
const LASTING_CONNECTION: Duration = Duration::from_secs(1);

/// The same for an entrance: everybody calls there, and when it is pressed it lets newcomers go after less.
const LASTING_CALL: Duration = Duration::from_secs(5);

/// Addresses this node may have; a host with more interfaces tells of the first ones.
const MAX_LOCAL_ADDRS: usize = 32;

/// Bytes of a peer's agent text kept.
const MAX_AGENT: usize = 64;

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
    /// An entrance or an old acquaintance that this node called on serves the DHT: it may know others than this node.
    Visited { peer: PeerIx },
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
    local: PeerId,
    local_addrs: Vec<Multiaddr>,
    allow: Vec<PeerId>,
    block: Vec<PeerId>,
    rng: Rng,
    /// The latest instant seen, for calls that are not told the time.
    now: Instant,
    book: Book,
    connected: BTreeSet<PeerIx>,
    dialer: Dialer,
    waiting: WaitingRoom,
    bootstraps: Bootstraps,
    bans: Bans,
    policy: Policy,
    persist: Persist,
    events: VecDeque<PeerEvent>,
}

impl Peers {
    pub(crate) fn new(seed: Seed, now: Instant, config: &Config, local: PeerId) -> Self {
        let mut rng = Rng::new(seed, "peers");
        let secret = rng.next_u64();
        Self {
            local,
            local_addrs: Vec::new(),
            allow: config.peers.allow.clone(),
            block: config.peers.block.clone(),
            rng,
            now,
            book: Book::new(secret, config.peers.max_known),
            connected: BTreeSet::new(),
            dialer: Dialer::default(),
            waiting: WaitingRoom::default(),
            bootstraps: Bootstraps::default(),
            bans: Bans::default(),
            policy: Policy::default(),
            persist: Persist::default(),
            events: VecDeque::new(),
        }
    }

    /// The handle of a peer, new or known. The book forgets the least useful unconnected peer when full; when none may
    /// be forgotten, the handle resolves to nothing.
    pub(crate) fn intern(&mut self, id: PeerId) -> PeerIx {
        self.book.intern(id)
    }

    /// The handle of a known peer.
    pub(crate) fn find(&self, id: &PeerId) -> Option<PeerIx> {
        self.book.find(id)
    }

    /// The peer behind a handle; `None` once the book has forgotten it.
    pub(crate) fn id(&self, peer: PeerIx) -> Option<PeerId> {
        self.book.get(peer).map(|entry| entry.id)
    }

    /// The handle of a connected peer: what comes from anybody else, banned or closing, is of no interest.
    pub(crate) fn find_connected(&self, id: &PeerId) -> Option<PeerIx> {
        self.find(id).filter(|peer| self.is_connected(*peer))
    }

    pub(crate) fn is_connected(&self, peer: PeerIx) -> bool {
        self.conn(peer).is_some()
    }

    /// Connected peers in ascending order of handle.
    pub(crate) fn connected(&self) -> impl Iterator<Item = PeerIx> + '_ {
        self.connected.iter().copied()
    }

    /// Is there a way into the network: a connection, or an address to join through?
    pub(crate) fn has_entrance(&self) -> bool {
        !self.connected.is_empty() || !self.bootstraps.is_empty()
    }

    /// Who opened the connection.
    pub(crate) fn side(&self, peer: PeerIx) -> Option<Side> {
        self.conn(peer).map(|conn| conn.side)
    }

    pub(crate) fn protocols(&self, peer: PeerIx) -> ProtocolSet {
        self.conn(peer).map(|conn| conn.protocols).unwrap_or_default()
    }

    /// Known addresses, best first.
    pub(crate) fn addrs(&self, peer: PeerIx) -> &[Multiaddr] {
        self.book.get(peer).map(|entry| &entry.addrs.all()[..]).unwrap_or_default()
    }

    /// The same, shared.
    pub(crate) fn shared_addrs(&self, peer: PeerIx) -> Arc<[Multiaddr]> {
        self.book.get(peer).map(|entry| entry.addrs.all().clone()).unwrap_or_default()
    }

    /// Hearsay: adds addresses that pass the address policy and the caps. Never removes or displaces confirmed ones.
    pub(crate) fn add_addrs(&mut self, config: &Config, peer: PeerIx, addrs: &Arc<[Multiaddr]>) {
        let Some(entry) = self.book.get_mut(peer) else { return };
        let known = entry.addrs.all();
        if Arc::ptr_eq(known, addrs) || entry.id == self.local || addrs.iter().all(|addr| known.contains(addr)) {
            return;
        }
        let displace = entry.failures > 0;
        let heard = acceptable(entry.id, addrs, config.peers.allow_private_addrs);
        if entry.addrs.hear(heard.filter(|addr| !self.local_addrs.contains(addr)), displace) {
            entry.addrs.share(addrs);
            if entry.conn.is_none() {
                self.candidate_found(config);
            }
        }
    }

    /// May others be told of an address? In a public network not of private ones, even where this node uses them.
    pub(crate) fn may_tell(config: &Config, addr: &Multiaddr) -> bool {
        config.peers.allow_private_addrs || AddrClass::of(addr).is_some_and(|class| class.is_allowed(false))
    }

    /// This node's own addresses.
    pub(crate) fn local_addrs(&self) -> &[Multiaddr] {
        &self.local_addrs
    }

    pub(crate) fn is_banned(&self, now: Instant, peer: PeerIx) -> bool {
        self.book.get(peer).is_some_and(|entry| self.bans.contains(now, &entry.id))
    }

    /// Could a request reach this peer now: connected, or with an address and not in back-off, banned or blocked?
    pub(crate) fn is_reachable(&self, now: Instant, peer: PeerIx) -> bool {
        self.book.get(peer).is_some_and(|entry| entry.conn.is_some() || self.may_dial(now, entry))
    }

    pub(crate) fn observed(&self, peer: PeerIx) -> Observed {
        self.book.get(peer).and_then(|entry| entry.history.as_ref()).map(|history| history.observed).unwrap_or_default()
    }

    pub(crate) fn observe(&mut self, peer: PeerIx, change: impl FnOnce(&mut Observed)) {
        if let Some(entry) = self.book.get_mut(peer) {
            change(&mut entry.history().observed);
        }
    }

    /// Keeps the peer's handle and addresses in the book (routing table, provider lists), until released as often.
    pub(crate) fn pin(&mut self, peer: PeerIx) {
        self.book.pin(peer);
    }

    pub(crate) fn release(&mut self, peer: PeerIx) {
        self.book.release(peer);
    }

    /// Pins of all peers that were not released yet.
    #[cfg(test)]
    pub(crate) fn pins(&self) -> u32 {
        self.book.pins()
    }

    pub(crate) fn disconnect(&mut self, config: &Config, out: &mut Outbox, peer: PeerIx) {
        self.close(config, out, peer, DisconnectReason::Requested);
    }

    pub(crate) fn charge(&mut self, now: Instant, config: &Config, out: &mut Outbox, peer: PeerIx, offence: Offence) {
        self.tick(now);
        let Some(entry) = self.book.get_mut(peer) else { return };
        let id = entry.id;
        if id == self.local || self.bans.contains(now, &id) {
            return;
        }
        let points = entry.history().score.add(now, config.peers.offence_half_life, offence.weight());
        let banned = points >= config.peers.ban_threshold;
        out.push(Action::Emit(Event::PeerMisbehaved { peer: id, offence, banned }));
        if banned {
            self.ban(config, out, peer, id);
        }
    }

    pub(crate) fn handle_connected(
        &mut self,
        now: Instant,
        config: &Config,
        out: &mut Outbox,
        id: PeerId,
        addr: Multiaddr,
        side: Side,
    ) {
        self.tick(now);
        if let Some(why) = self.refusal(config, &id, side) {
            if let Some(entry) = self.book.find(&id).and_then(|peer| self.book.get_mut(peer)) {
                entry.closing = true;
            }
            out.push(Action::Disconnect { peer: id, why });
            self.resolve_dials(config, &id, &addr, side, None);
            return;
        }
        let addr = strip_peer(&addr, &id).unwrap_or(addr);
        let peer = self.book.intern_connected(id);
        let Some(entry) = self.book.get_mut(peer) else { return };
        let dialled = side == Side::Dialer;
        if dialled && AddrClass::of(&addr).is_some() && entry.addrs.confirm(addr.clone()) && entry.conn.is_some() {
            self.persist.note_addrs(now, id, Worth::Reached);
        }
        if entry.conn.is_none() {
            entry.closing = false;
            entry.retry_at = None;
            let identified = false;
            let (agent, protocols) = (String::new(), ProtocolSet::default());
            entry.conn = Some(Box::new(Conn { addr: addr.clone(), side, since: now, identified, agent, protocols }));
            let dial = core::mem::replace(&mut entry.dial, DialState::Idle);
            self.connected.insert(peer);
            self.end_dial(peer, dial);
            self.events.push_back(PeerEvent::Up { peer, side });
            self.flush_waiting(out, peer, id);
            self.connections_changed(now, config);
        }
        self.resolve_dials(config, &id, &addr, side, Some(peer));
        self.start_queued(now, config, out);
    }

    pub(crate) fn handle_disconnected(&mut self, now: Instant, config: &Config, out: &mut Outbox, id: PeerId) {
        self.tick(now);
        let Some(peer) = self.book.find(&id) else { return };
        if let Some(entry) = self.book.get_mut(peer) {
            entry.closing = false;
        }
        self.take_down(config, peer);
        self.start_queued(now, config, out);
    }

    pub(crate) fn handle_dial_failed(
        &mut self,
        now: Instant,
        config: &Config,
        out: &mut Outbox,
        dial: DialId,
        why: DialError,
    ) {
        self.tick(now);
        self.dial_failed(now, config, dial, why);
        self.start_queued(now, config, out);
    }

    /// The peer's own word on its addresses replaces what others said of them.
    pub(crate) fn handle_identified(&mut self, now: Instant, config: &Config, id: PeerId, info: Identity) {
        self.tick(now);
        let Some(peer) = self.book.find(&id) else { return };
        let Some(entry) = self.book.get_mut(peer) else { return };
        let Some(conn) = entry.conn.as_mut() else { return };
        let was = core::mem::replace(&mut conn.protocols, info.protocols);
        let first = !core::mem::replace(&mut conn.identified, true);
        conn.agent = shortened(info.agent);
        let visited = core::mem::take(&mut entry.visited);
        let before = entry.addrs.all().clone();
        let told = acceptable(id, &info.listen_addrs, config.peers.allow_private_addrs);
        entry.addrs.tell(told.filter(|addr| !self.local_addrs.contains(addr)));
        entry.addrs.share(&before);
        if first && !entry.addrs.all().is_empty() {
            self.persist.note_addrs(now, id, entry.addrs.worth());
        }
        if first || was != info.protocols {
            self.events.push_back(PeerEvent::Protocols { peer, was, now: info.protocols });
        }
        if visited && info.protocols.kad {
            self.events.push_back(PeerEvent::Visited { peer });
        }
    }

    pub(crate) fn handle_local_addr(&mut self, addr: Multiaddr, up: bool) {
        let addr = strip_peer(&addr, &self.local).unwrap_or(addr);
        self.local_addrs.retain(|known| *known != addr);
        if up && self.local_addrs.len() < MAX_LOCAL_ADDRS {
            self.local_addrs.push(addr);
        }
    }

    /// `keep` names connections that must not be trimmed (in a mesh, in use).
    pub(crate) fn handle_timeout(
        &mut self,
        now: Instant,
        unix: UnixTime,
        config: &Config,
        out: &mut Outbox,
        keep: impl Fn(PeerIx) -> bool,
    ) {
        self.tick(now);
        while let Some(id) = self.bans.pop_expired(now) {
            self.persist.note_ban(now, id);
        }
        while let Some(dial) = self.dialer.pop_overdue(now) {
            self.dial_failed(now, config, dial, DialError::Timeout);
        }
        while let Some(peer) = self.waiting.pop_overdue(now) {
            self.fail_waiting(peer, RequestError::Timeout);
        }
        self.trim(now, config, out, keep);
        self.maintain(now, config, out);
        self.visit(now, config, out);
        self.start_queued(now, config, out);
        self.write_rows(now, unix, out);
    }

    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        [self.bans.next(), self.dialer.next(), self.waiting.next(), self.policy.next(), self.persist.next()]
            .into_iter()
            .flatten()
            .min()
    }

    pub(crate) fn poll_event(&mut self) -> Option<PeerEvent> {
        self.events.pop_front()
    }

    /// Everything the application may want to see of connected peers.
    pub(crate) fn views(&self, now: Instant, config: &Config) -> Vec<PeerView> {
        let view = |peer: &PeerIx| {
            let entry = self.book.get(*peer)?;
            let conn = entry.conn.as_ref()?;
            let history = entry.history.as_deref();
            Some(PeerView {
                peer: entry.id,
                addr: conn.addr.clone(),
                side: conn.side,
                connected_for: now.since(conn.since),
                agent: conn.agent.clone(),
                protocols: conn.protocols,
                verified_bytes: history.map_or(0, |history| history.observed.verified_bytes),
                score: rank::score(&self.observed(*peer)),
                offences: history.map_or(0, |history| history.score.points(now, config.peers.offence_half_life)),
            })
        };
        self.connected.iter().filter_map(view).collect()
    }

    /// For checkers.
    pub(crate) fn has_banned(&self, now: Instant, id: &PeerId) -> bool {
        self.bans.contains(now, id)
    }

    /// For checkers: when the last ban ends.
    pub(crate) fn last_ban_until(&self) -> Option<Instant> {
        self.bans.last()
    }

    /// Peers in the book, dials in flight, messages that wait.
    pub(crate) fn load(&self) -> (usize, usize, usize) {
        (self.book.len(), self.dialer.in_flight(), self.waiting.len())
    }

    fn tick(&mut self, now: Instant) {
        self.now = self.now.max(now);
    }

    fn conn(&self, peer: PeerIx) -> Option<&Conn> {
        self.book.get(peer)?.conn.as_deref()
    }

    /// Blocked, or not among those allowed.
    fn is_shut_out(&self, id: &PeerId) -> bool {
        self.block.contains(id) || !(self.allow.is_empty() || self.allow.contains(id))
    }

    /// Why a new connection may not stay.
    fn refusal(&self, config: &Config, id: &PeerId, side: Side) -> Option<DisconnectReason> {
        let crowded = self.connected.len() >= config.peers.max_connections.saturating_mul(2);
        let known = self.find_connected(id).is_some();
        if self.is_shut_out(id) || *id == self.local || self.bans.contains(self.now, id) {
            Some(DisconnectReason::Banned)
        } else if crowded && !known && side == Side::Listener {
            Some(DisconnectReason::Trimmed)
        } else {
            None
        }
    }

    fn ban(&mut self, config: &Config, out: &mut Outbox, peer: PeerIx, id: PeerId) {
        self.persist.note_ban(self.now, id);
        let factor = if planted!(config, PeersNeverForgive) { 1_000 } else { 1 };
        if let Some(lifted) = self.bans.insert(id, self.now + config.peers.ban_time * factor) {
            self.persist.note_ban(self.now, lifted);
        }
        self.events.push_back(PeerEvent::Banned { peer });
        if let Some(entry) = self.book.get_mut(peer) {
            let dial = core::mem::replace(&mut entry.dial, DialState::Idle);
            self.end_dial(peer, dial);
            self.fail_waiting(peer, RequestError::Unreachable);
        }
        self.close(config, out, peer, DisconnectReason::Banned);
    }

    /// Closes a connection from this side; the peer is down at once, and not dialled before the shell has confirmed it.
    fn close(&mut self, config: &Config, out: &mut Outbox, peer: PeerIx, why: DisconnectReason) {
        if !self.is_connected(peer) {
            return;
        }
        if let Some(entry) = self.book.get_mut(peer) {
            entry.closing = true;
            // A trimmed peer has done nothing wrong: the next lookup may need it.
            if why != DisconnectReason::Trimmed {
                note_failure(&mut self.rng, self.now, &config.peers, entry);
            }
            out.push(Action::Disconnect { peer: entry.id, why });
        }
        self.take_down(config, peer);
    }

    fn take_down(&mut self, config: &Config, peer: PeerIx) {
        let Some(entry) = self.book.get_mut(peer) else { return };
        let Some(conn) = entry.conn.take() else { return };
        let lasting =
            if self.bootstraps.of_peer(&entry.id).next().is_some() { LASTING_CALL } else { LASTING_CONNECTION };
        let short = self.now.since(conn.since) < lasting;
        match (conn.side, short, entry.closing) {
            (_, _, true) => {}
            (Side::Dialer, true, false) => note_failure(&mut self.rng, self.now, &config.peers, entry),
            (Side::Listener, true, false) | (_, false, false) => entry.failures /= 2,
        }
        let hung_up = conn.side == Side::Dialer && short && !entry.closing;
        self.connected.remove(&peer);
        self.events.push_back(PeerEvent::Down { peer });
        if let Some(id) = self.id(peer) {
            self.bootstrap_lost(self.now, config, id, hung_up);
        }
        self.connections_changed(self.now, config);
    }
}

fn shortened(mut agent: String) -> String {
    while agent.len() > MAX_AGENT {
        agent.pop();
    }
    agent
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
    pub agent: String,
    /// What it serves.
    pub protocols: ProtocolSet,
    /// Verified bytes received from it.
    pub verified_bytes: u64,
    /// How it ranks as a provider, and why.
    pub score: rank::Score,
    /// Misbehaviour points.
    pub offences: u32,
}
