//! Answers to peers.

use alloc::vec::Vec;

use bytes::Bytes;
use multiaddr::Multiaddr;

use crate::collections::PeerMap;
use crate::cx::Cx;
use crate::id::{PeerId, PeerIx, Token};
use crate::kad::announce::Kind;
use crate::kad::position::Position;
use crate::kad::providers::MAX_KEY;
use crate::kad::validator::{Namespace, Rank, validate};
use crate::kad::values::{Job, put_message};
use crate::kad::{BROKEN_RULE, Kad, KadEvent, message};
use crate::peers::{Offence, Peers};
use crate::time::{Duration, Instant, micros};
use crate::wire::kad::{KadKind, KadMessage, KadPeer, MAX_FRAME, MAX_RECORD, Record};

/// Requests one peer may send at once, and per second. A publisher on the same machine that announces a hundred
/// packages at once stays below; beyond it requests are closed without an answer.
const BURST: u32 = 2_000;
const PER_SECOND: u32 = 500;

/// PUT_VALUEs whose signatures are being checked: of all peers, and of one.
const MAX_PENDING: usize = 256;
const MAX_PENDING_PER_PEER: usize = 16;

/// Bytes of an answer for the closer peers; what is left of the frame is for providers or the record.
const CLOSER_BYTES: usize = 5 * 1024;
const PROVIDER_BYTES: usize = MAX_FRAME - CLOSER_BYTES - 1024;
const _: () = assert!(CLOSER_BYTES + MAX_RECORD + 1024 <= MAX_FRAME);

/// Keys that are looked up are at most this long, so that repeating one leaves room for the answer.
const MAX_LOOKUP_KEY: usize = 512;

/// Addresses of one peer in an answer, and of this node wherever it names itself.
const MAX_ADDRS: usize = 8;
const MAX_OWN_ADDRS: usize = 16;

#[derive(Debug, Default)]
pub(super) struct Server {
    budgets: PeerMap<Budget>,
}

/// A token bucket.
#[derive(Clone, Copy, Debug)]
struct Budget {
    left: u32,
    at: Instant,
}

/// A peer's PUT_VALUE whose signatures are being checked.
#[derive(Debug)]
pub(super) struct InboundPut {
    peer: PeerIx,
    pub(super) token: Token,
    record: Record,
    rank: Rank,
    lifetime: Duration,
}

impl Server {
    pub(super) fn forget(&mut self, peer: PeerIx) {
        self.budgets.remove(peer);
    }

    fn admits(&mut self, now: Instant, peer: PeerIx) -> bool {
        if !self.budgets.contains(peer) {
            self.budgets.insert(peer, Budget { left: BURST, at: now });
        }
        let Some(budget) = self.budgets.get_mut(peer) else { return false };
        let earned = micros(now.since(budget.at)).saturating_mul(u64::from(PER_SECOND)) / 1_000_000;
        if earned > 0 {
            budget.left = u32::try_from(earned).unwrap_or(BURST).saturating_add(budget.left).min(BURST);
            budget.at = now;
        }
        let admitted = budget.left > 0;
        budget.left = budget.left.saturating_sub(1);
        admitted
    }
}

impl Kad {
    /// A peer's message on a DHT stream. Answered when the protocol wants an answer; closed without one otherwise.
    pub(crate) fn handle_request(&mut self, cx: &mut Cx<'_>, peer: PeerIx, token: Token, msg: &KadMessage) {
        if !cx.config.kad.server || !self.server.admits(cx.now, peer) {
            return cx.respond(token, None);
        }
        self.alive(cx, peer);
        let answer = match msg.kind {
            KadKind::Ping => Some(message(KadKind::Ping, Bytes::new())),
            KadKind::FindNode => self.find_node(cx, peer, msg),
            KadKind::GetValue => self.get_record(cx, peer, msg),
            KadKind::GetProviders => self.get_providers(cx, peer, msg),
            KadKind::AddProvider => self.add_provider(cx, peer, msg),
            KadKind::PutValue => return self.put_record(cx, peer, token, msg),
        };
        cx.respond(token, answer.map(Into::into));
    }

    /// The k closest, and the target's own record if it is known, whoever it is (K12).
    fn find_node(&mut self, cx: &mut Cx<'_>, peer: PeerIx, msg: &KadMessage) -> Option<KadMessage> {
        if !is_lookup_key(&msg.key) {
            return None;
        }
        let mut answer = message(KadKind::FindNode, Bytes::new());
        answer.closer = self.closer(cx, peer, &msg.key);
        if let Ok(target) = PeerId::from_bytes(&msg.key)
            && answer.closer.iter().all(|closer| closer.id != target)
            && let Some(target) = record_of(cx, &target)
        {
            answer.closer.insert(0, target);
            answer.closer.truncate(cx.config.kad.k.max(1));
        }
        Some(answer)
    }

    fn get_record(&mut self, cx: &mut Cx<'_>, peer: PeerIx, msg: &KadMessage) -> Option<KadMessage> {
        if !is_lookup_key(&msg.key) {
            return None;
        }
        let mut answer = message(KadKind::GetValue, msg.key.clone());
        answer.closer = self.closer(cx, peer, &msg.key);
        let stored = self.records.get(cx.now, &msg.key);
        answer.record = stored.map(|stored| Record { key: stored.key.clone(), value: stored.value.clone() });
        Some(answer)
    }

    /// A random sample of the providers, as many as fit a frame, and the closer peers (K26).
    fn get_providers(&mut self, cx: &mut Cx<'_>, peer: PeerIx, msg: &KadMessage) -> Option<KadMessage> {
        if !(1..=MAX_KEY).contains(&msg.key.len()) {
            return None;
        }
        let mut answer = message(KadKind::GetProviders, msg.key.clone());
        answer.closer = self.closer(cx, peer, &msg.key);
        let own = self.announcements.contains(Kind::Provider, &msg.key).then(|| own_record(cx));
        let known = self.providers.get(cx.now, Position::of(&msg.key));
        let count = known.len();
        let sample = cx.rng.sample(known, count);
        let others = sample.into_iter().filter_map(|provider| peer_record(cx, provider));
        answer.providers = within(PROVIDER_BYTES, own.into_iter().chain(others));
        Some(answer)
    }

    /// Only the sender may be the provider; others in the list are ignored (K24).
    fn add_provider(&mut self, cx: &mut Cx<'_>, peer: PeerIx, msg: &KadMessage) -> Option<KadMessage> {
        let sender = cx.peers.id(peer)?;
        if !(1..=MAX_KEY).contains(&msg.key.len()) {
            return None;
        }
        let Some(provider) = msg.providers.iter().find(|provider| provider.id == sender) else {
            cx.charge(peer, BROKEN_RULE);
            return None;
        };
        cx.peers.add_addrs(cx.config, peer, &provider.addrs);
        let late = if planted!(cx.config, KadKeepsProviders) { Duration::from_secs(1 << 30) } else { Duration::ZERO };
        let kept = self.providers.add(cx.peers, &cx.config.kad, cx.now + late, Position::of(&msg.key), peer);
        if !kept {
            return None;
        }
        self.arm_sweep(cx);
        Some(KadMessage { providers: [provider.clone()].into(), ..message(KadKind::AddProvider, msg.key.clone()) })
    }

    /// Nothing is kept before it is verified: a value with signatures is answered when they are.
    fn put_record(&mut self, cx: &mut Cx<'_>, peer: PeerIx, token: Token, msg: &KadMessage) {
        let Some(record) = msg.record.as_ref().filter(|record| record.key == msg.key) else {
            cx.charge(peer, BROKEN_RULE);
            return cx.respond(token, None);
        };
        let Ok(valid) = validate(&cx.config.kad, cx.unix, &record.key, &record.value) else {
            return cx.respond(token, None);
        };
        let stored = self.records.get(cx.now, &record.key);
        let known = stored.is_some_and(|stored| stored.value == record.value);
        let older = stored.is_some_and(|stored| stored.best() > (valid.rank, &record.value[..]));
        let (rank, lifetime) = (valid.rank, valid.lifetime);
        let put = InboundPut { peer, token, record: record.clone(), rank, lifetime };
        if older {
            cx.respond(token, None);
        } else if known || valid.checks.is_empty() {
            self.finish_inbound(cx, put, true);
        } else if self.may_check(peer) {
            self.verify(cx, valid.checks, Job::Inbound(put));
        } else {
            cx.respond(token, None);
        }
    }

    pub(super) fn finish_inbound(&mut self, cx: &mut Cx<'_>, put: InboundPut, ok: bool) {
        let InboundPut { peer, token, record: Record { key, value }, rank, lifetime } = put;
        if !ok {
            cx.charge(peer, Offence::BadSignature);
            return cx.respond(token, None);
        }
        let fresh = self.records.get(cx.now, &key).is_none_or(|stored| stored.value != value);
        if !self.keep(cx, &key, &value, rank, lifetime, Some(peer)) {
            return cx.respond(token, None);
        }
        cx.respond(token, Some(put_message(&key, &value).into()));
        if fresh && matches!(Namespace::of(&cx.config.kad, &key), Some((Namespace::Wharf, _))) {
            self.raise(KadEvent::RecordSeen { value });
        }
    }

    fn may_check(&self, peer: PeerIx) -> bool {
        let inbound = |job: &&Job| match job {
            Job::Inbound(_) => true,
            Job::Put { .. } | Job::Found { .. } => false,
        };
        let of_peer = |job: &&Job| match job {
            Job::Inbound(put) => put.peer == peer,
            Job::Put { .. } | Job::Found { .. } => false,
        };
        self.jobs.values().filter(inbound).count() < MAX_PENDING
            && self.jobs.values().filter(of_peer).count() < MAX_PENDING_PER_PEER
    }

    /// The k closest live entries, without the one that asks.
    fn closer(&self, cx: &Cx<'_>, asker: PeerIx, key: &[u8]) -> Vec<KadPeer> {
        let useful = |peer: PeerIx| peer != asker && !cx.peers.addrs(peer).is_empty();
        let target = if planted!(cx.config, KadWrongOrder) {
            Position::of(&key.iter().rev().copied().collect::<Vec<_>>())
        } else {
            Position::of(key)
        };
        let closest =
            self.table.closest(target, cx.config.kad.k.max(1), |entry| !entry.is_failing() && useful(entry.peer));
        within(CLOSER_BYTES, closest.into_iter().filter_map(|(_, peer)| peer_record(cx, peer)))
    }
}

fn is_lookup_key(key: &[u8]) -> bool {
    (1..=MAX_LOOKUP_KEY).contains(&key.len())
}

/// Is there an address of the peer that others may be told of?
pub(super) fn is_tellable(cx: &Cx<'_>, peer: PeerIx) -> bool {
    cx.peers.addrs(peer).iter().any(|addr| Peers::may_tell(cx.config, addr))
}

pub(super) fn own_record(cx: &Cx<'_>) -> KadPeer {
    let addrs = cx.peers.local_addrs().iter().filter(|addr| Peers::may_tell(cx.config, addr));
    KadPeer { id: cx.local.id, addrs: addrs.take(MAX_OWN_ADDRS).cloned().collect(), connected: true }
}

fn peer_record(cx: &Cx<'_>, peer: PeerIx) -> Option<KadPeer> {
    let known = cx.peers.shared_addrs(peer);
    let tellable = |addr: &&Multiaddr| Peers::may_tell(cx.config, addr);
    let addrs = if known.len() <= MAX_ADDRS && known.iter().all(|addr| tellable(&addr)) {
        known
    } else {
        known.iter().filter(tellable).take(MAX_ADDRS).cloned().collect()
    };
    Some(KadPeer { id: cx.peers.id(peer)?, addrs, connected: cx.peers.is_connected(peer) })
}

/// The record of a peer by its id, this node's own included; `None` when no address is known.
fn record_of(cx: &Cx<'_>, id: &PeerId) -> Option<KadPeer> {
    let record = if *id == cx.local.id { own_record(cx) } else { peer_record(cx, cx.peers.find(id)?)? };
    (!record.addrs.is_empty()).then_some(record)
}

/// The first peers that together take at most so many bytes on the wire.
fn within(bytes: usize, peers: impl Iterator<Item = KadPeer>) -> Vec<KadPeer> {
    let mut left = bytes;
    let fits = |peer: &KadPeer| {
        // Tags and lengths: at most 4 bytes per address, and 12 for the entry, its id and its connection.
        let addrs: usize = peer.addrs.iter().map(|addr| addr.len() + 4).sum();
        let size = 12 + peer.id.as_bytes().len() + addrs;
        let fits = size <= left;
        left = left.saturating_sub(size);
        fits
    };
    peers.take_while(fits).collect()
}
