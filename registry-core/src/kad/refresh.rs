//! Refresh (K11): looks up the own neighbourhood and each part of the key space that has peers, and checks peers that
//! have been silent for long. For a client, the first of these also keeps it connected to its closest servers (K27).

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use bytes::Bytes;

use crate::cx::Cx;
use crate::id::PeerIx;
use crate::kad::position::Position;
use crate::kad::query::{Region, Work};
use crate::kad::request::Purpose;
use crate::kad::{Kad, Timer, around, message};
use crate::time::{Duration, Instant};
use crate::wire::kad::KadKind;

/// From the first server known to the first refresh: a few more may arrive meanwhile.
const JOIN_DELAY: Duration = Duration::from_millis(100);

/// Between the lookups of a first refresh, and of later ones.
const JOIN_STEP: Duration = Duration::from_millis(200);
const STEP: Duration = Duration::from_secs(2);

/// With an empty table the servers that this node is connected to are tried again so often.
pub(super) const EMPTY_STEP: Duration = Duration::from_secs(30);

/// Between batches of liveness checks.
const CHECK_STEP: Duration = Duration::from_secs(1);

/// Some of the connected servers that were taken for dead are asked again so often.
const DOUBTED_STEP: Duration = Duration::from_secs(30);

/// A key that falls into bucket i takes 2^(i + 1) hashes to find. Deeper buckets are covered by the own lookup.
const MAX_BUCKET: usize = 11;

#[derive(Debug, Default)]
pub(super) struct Refresh {
    /// A first refresh was started and the table has not been empty since.
    pub(super) joined: bool,
    /// Keys still to be looked up in this round.
    plan: Vec<Bytes>,
    /// Peers still to be checked in this round.
    silent: Vec<PeerIx>,
    /// Connected servers that were taken for dead. An answer brings them back: a machine that has slept for a moment would
    /// be in nobody's table until the next refresh.
    doubted: BTreeSet<PeerIx>,
}

impl Refresh {
    /// The peer has given a sign of life, or is no connected server any more.
    pub(super) fn believe(&mut self, peer: PeerIx) {
        self.doubted.remove(&peer);
    }

    pub(super) fn is_doubted(&self, peer: PeerIx) -> bool {
        self.doubted.contains(&peer)
    }
}

impl Kad {
    /// The table has a new entry: the first one starts a refresh.
    pub(super) fn join(&mut self, cx: &mut Cx<'_>) {
        if !core::mem::replace(&mut self.refresh.joined, true) {
            self.timers.set(Timer::Refresh, cx.now + cx.rng.jitter(JOIN_DELAY));
        }
    }

    /// A peer may belong to a part of the network that this node has lost sight of: those closest to this node there
    /// are met. They tell others, as refresh does. A node that knows nobody else does a first refresh anyway.
    pub(crate) fn explore(&mut self, cx: &mut Cx<'_>, through: PeerIx) {
        if self.table.entries().any(|entry| entry.peer != through) {
            let query = self.queries.new_id();
            let own = Bytes::copy_from_slice(cx.local.id.as_bytes());
            self.begin(cx, query, own, Work::Refresh(Region::OwnThrough(through)));
        }
    }

    /// Connected servers that were taken for dead may have come to themselves.
    pub(super) fn start_refresh(&mut self, cx: &mut Cx<'_>) {
        let connected: Vec<_> = cx.peers.connected().collect();
        for peer in &connected {
            if !self.table.contains(*peer) {
                self.offer(cx, *peer);
            }
        }
        if self.table.is_empty() {
            self.refresh = Refresh::default();
            if !connected.is_empty() {
                self.timers.set(Timer::Refresh, cx.now + cx.rng.jitter(EMPTY_STEP));
            }
            return;
        }
        let next = around(cx, cx.config.kad.refresh_interval);
        self.timers.set(Timer::Refresh, cx.now + next);
        let since = before(cx.now, cx.config.kad.refresh_interval / 2);
        self.refresh.silent = self.table.silent_since(since).filter(|peer| !cx.peers.is_connected(*peer)).collect();
        if !self.refresh.silent.is_empty() {
            self.timers.set(Timer::Liveness, cx.now + cx.rng.jitter(CHECK_STEP));
        }
        let query = self.queries.new_id();
        let own = Bytes::copy_from_slice(cx.local.id.as_bytes());
        self.begin(cx, query, own, Work::Refresh(Region::Own));
    }

    /// The own neighbourhood is known now: one lookup for each bucket up to the last that has entries, unless the
    /// bucket is full of live peers.
    pub(super) fn plan_refresh(&mut self, cx: &mut Cx<'_>) {
        let since = before(cx.now, cx.config.kad.refresh_interval);
        let buckets = self.table.depth().min(MAX_BUCKET + 1);
        let mut missing: Vec<_> = (0..buckets).filter(|bucket| !self.table.is_settled(*bucket, since)).collect();
        self.refresh.plan.clear();
        let mut key = [0; 32];
        cx.rng.fill(&mut key);
        let deepest = missing.last().copied().unwrap_or(0);
        for number in 0..(1u64 << (deepest + 3)) {
            if missing.is_empty() {
                break;
            }
            for (byte, count) in key.iter_mut().zip(number.to_be_bytes()) {
                *byte = count;
            }
            let bucket = self.table.local().distance(Position::of(&key)).common_prefix();
            if let Some(at) = missing.iter().position(|wanted| *wanted == bucket) {
                missing.remove(at);
                self.refresh.plan.push(Bytes::copy_from_slice(&key));
            }
        }
        if !self.refresh.plan.is_empty() {
            self.timers.set(Timer::RefreshStep, cx.now + cx.rng.jitter(JOIN_STEP));
        }
    }

    pub(super) fn step_refresh(&mut self, cx: &mut Cx<'_>) {
        let Some(key) = self.refresh.plan.pop() else { return };
        let query = self.queries.new_id();
        self.begin(cx, query, key, Work::Refresh(Region::Bucket));
        if !self.refresh.plan.is_empty() {
            let sparse = self.table.len() < 2 * cx.config.kad.k;
            let step = if sparse { JOIN_STEP } else { STEP };
            self.timers.set(Timer::RefreshStep, cx.now + cx.rng.jitter(step));
        }
    }

    /// Asks a few of the peers that were silent for long; those that do not answer leave the table.
    pub(super) fn check_liveness(&mut self, cx: &mut Cx<'_>) {
        let own = Bytes::copy_from_slice(cx.local.id.as_bytes());
        let rest = self.refresh.silent.len().saturating_sub(cx.config.kad.alpha.max(1));
        for peer in self.refresh.silent.split_off(rest) {
            if self.table.contains(peer) {
                self.ask(cx, peer, message(KadKind::FindNode, own.clone()), Purpose::Touch);
            }
        }
        if !self.refresh.silent.is_empty() {
            self.timers.set(Timer::Liveness, cx.now + cx.rng.jitter(CHECK_STEP));
        }
    }

    pub(super) fn note_doubted(&mut self, cx: &mut Cx<'_>, peer: PeerIx) {
        if cx.peers.is_connected(peer) && self.refresh.doubted.insert(peer) && self.refresh.doubted.len() == 1 {
            self.timers.set(Timer::Doubted, cx.now + around(cx, DOUBTED_STEP));
        }
    }

    /// Asks some of those again that were taken for dead.
    pub(super) fn check_doubted(&mut self, cx: &mut Cx<'_>) {
        let own = Bytes::copy_from_slice(cx.local.id.as_bytes());
        let doubted = cx.rng.sample(self.refresh.doubted.iter().copied().collect(), cx.config.kad.alpha.max(1));
        for peer in &doubted {
            self.ask(cx, *peer, message(KadKind::FindNode, own.clone()), Purpose::Touch);
        }
        if !doubted.is_empty() {
            self.timers.set(Timer::Doubted, cx.now + around(cx, DOUBTED_STEP));
        }
    }
}

fn before(now: Instant, duration: Duration) -> Instant {
    Instant::ORIGIN + now.since(Instant::ORIGIN).saturating_sub(duration)
}
