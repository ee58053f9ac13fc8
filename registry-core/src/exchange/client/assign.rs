//! Which block is asked of whom, and what happens when it does not come.

use alloc::vec::Vec;

use super::{Client, Due};
use crate::cx::Cx;
use crate::exchange::fetch::Standing;
use crate::exchange::rank;
use crate::exchange::window::Link;
use crate::id::{BlockId, PeerId, PeerIx};
use crate::time::{Duration, Instant};
use crate::wire::bitswap::WantKind;

/// Bytes of blocks asked for, being judged or being stored, over all fetches. So much is on its way on a link of
/// 1 Gbit/s and 250 ms; and it bounds what fetching any amount of content takes in memory.
pub(super) const MAX_IN_FLIGHT: u64 = 32 * 1024 * 1024;

/// Peers one block is asked of at once.
const MAX_ASKED: usize = 3;
/// Peers the last blocks are asked of at once.
const MAX_ASKED_AT_END: usize = 2;

/// A provider that may be asked now.
struct Provider {
    peer: PeerIx,
    id: PeerId,
    score: u32,
}

impl Client {
    /// Asks for queued blocks, then puts idle providers to the last ones.
    pub(super) fn assign(&mut self, cx: &mut Cx<'_>, root: BlockId) {
        let Some(fetch) = self.fetches.get(&root) else { return };
        if !fetch.missing || fetch.finishing {
            return;
        }
        if fetch.queue.is_empty() && !fetch.is_ending() {
            return;
        }
        let queue: Vec<_> = fetch.queue.iter().map(|(_, id)| *id).collect();
        let providers = self.usable(cx, root);
        for id in queue {
            if !self.has_budget(id) || !self.any_room(&providers) {
                break;
            }
            let worst = self.worst_asked(id);
            if let Some(peer) = self.pick(&providers, id, worst) {
                if let Some((_, worst)) = worst {
                    self.withdraw(cx, worst, id);
                }
                self.ask(cx, peer, id);
            }
        }
        if self.fetches.get(&root).is_some_and(|fetch| fetch.is_ending()) {
            for provider in providers {
                self.help_out(cx, root, provider.peer);
            }
        }
    }

    /// Providers that are connected and not resting, best first; resting ones when there is nobody else.
    fn usable(&self, cx: &Cx<'_>, root: BlockId) -> Vec<Provider> {
        let Some(fetch) = self.fetches.get(&root) else { return Vec::new() };
        let has = fetch.providers.iter().filter(|(peer, standing)| {
            **standing == Standing::Has && self.up.contains(peer) && cx.peers.is_connected(**peer)
        });
        let all: Vec<_> = has
            .filter_map(|(peer, _)| {
                let score = rank::score(&cx.peers.observed(*peer));
                Some((Provider { peer: *peer, id: cx.peers.id(*peer)?, score: score.total }, score))
            })
            .collect();
        let resting = |peer| self.links.get(&peer).is_some_and(|link: &Link| link.is_resting(cx.now));
        let (tired, mut fit): (Vec<_>, Vec<_>) = all.into_iter().partition(|(provider, _)| resting(provider.peer));
        if fit.is_empty() {
            fit = tired;
        }
        fit.sort_by_key(|(provider, score)| rank::order(*score, provider.id));
        fit.truncate(cx.config.exchange.max_providers);
        fit.into_iter().map(|(provider, _)| provider).collect()
    }

    fn has_budget(&self, id: BlockId) -> bool {
        let len = self.wanted.get(&id).map_or(0, |wanted| if wanted.is_busy() { 0 } else { wanted.len });
        self.in_flight == 0 || self.in_flight.saturating_add(len) <= MAX_IN_FLIGHT
    }

    fn any_room(&self, providers: &[Provider]) -> bool {
        providers.iter().any(|provider| self.has_room(provider.peer))
    }

    fn has_room(&self, peer: PeerIx) -> bool {
        self.links.get(&peer).is_none_or(Link::has_room)
    }

    fn strikes(&self, peer: PeerIx) -> u32 {
        self.links.get(&peer).map_or(0, Link::strikes)
    }

    /// When as many are asked for a block as may be: who of them was late most often, and how often.
    fn worst_asked(&self, id: BlockId) -> Option<(u32, PeerIx)> {
        let asked = &self.wanted.get(&id)?.asked;
        let full = asked.len() >= MAX_ASKED;
        asked.iter().filter(|_| full).map(|peer| (self.strikes(*peer), *peer)).max()
    }

    /// The provider with room whose load, divided by its score, is the smallest; one that was late less often than the
    /// worst of those asked, if it is to take its place.
    fn pick(&self, providers: &[Provider], id: BlockId, worst: Option<(u32, PeerIx)>) -> Option<PeerIx> {
        let wanted = self.wanted.get(&id)?;
        let free = providers.iter().filter(|provider| {
            let peer = provider.peer;
            let better = worst.is_none_or(|(strikes, _)| self.strikes(peer) < strikes);
            better && self.has_room(peer) && !wanted.asked.contains(&peer) && !wanted.lacking.contains(&peer)
        });
        let cost = |provider: &&Provider| {
            let load = self.links.get(&provider.peer).map_or(0, Link::load) as u64;
            ((load + 1) * u64::from(rank::ONE) * 1024 / u64::from(provider.score.max(1)), provider.id)
        };
        free.min_by_key(cost).map(|provider| provider.peer)
    }

    /// An idle provider takes over the block that would otherwise come last.
    fn help_out(&mut self, cx: &mut Cx<'_>, root: BlockId, peer: PeerIx) {
        if self.links.get(&peer).is_some_and(|link| link.load() > 0) {
            return;
        }
        let fresh = Link::new(cx.now, &cx.config.exchange);
        let own = self.links.get(&peer).unwrap_or(&fresh).usual_wait(&cx.config.exchange);
        let candidates = self.links.values().filter_map(|link| {
            let id = link.last()?;
            let wanted = self.wanted.get(&id)?;
            let wait = link.wait_for_last(&cx.config.exchange);
            let ours = wanted.places.iter().any(|(of, _)| *of == root);
            let may = !wanted.storing && wanted.asked.len() < MAX_ASKED_AT_END && !wanted.lacking.contains(&peer);
            (ours && may && wait > own).then_some((wait, id))
        });
        if let Some((_, id)) = candidates.max() {
            self.ask(cx, peer, id);
        }
    }

    fn ask(&mut self, cx: &mut Cx<'_>, peer: PeerIx, id: BlockId) {
        let Some(wanted) = self.wanted.get_mut(&id) else { return };
        if !wanted.is_busy() {
            self.in_flight = self.in_flight.saturating_add(wanted.len);
        }
        wanted.asked.push(peer);
        let (seq, len) = (wanted.seq, wanted.len);
        for (root, _) in &wanted.places {
            if let Some(fetch) = self.fetches.get_mut(root) {
                fetch.queue.remove(&(seq, id));
            }
        }
        self.link(cx, peer).ask(cx.now, id, len);
        self.push_want(peer, id, WantKind::Block, priority(seq));
        self.arm(cx, peer);
    }

    pub(super) fn link(&mut self, cx: &Cx<'_>, peer: PeerIx) -> &mut Link {
        self.links.entry(peer).or_insert_with(|| Link::new(cx.now, &cx.config.exchange))
    }

    /// Sets the clock for a peer's next answer, and for the end of its rest.
    pub(super) fn arm(&mut self, cx: &Cx<'_>, peer: PeerIx) {
        let link = self.links.get(&peer);
        // Patience shrinks with what is asked for, and may have run out by that.
        let answer = link.and_then(|link| link.deadline(&cx.config.exchange)).map(|at| at.max(soonest(cx)));
        let rested = link.and_then(Link::rest_ends).filter(|at| *at > cx.now);
        for (due, at) in [(Due::Answer(peer), answer), (Due::Rested(peer), rested)] {
            match at {
                Some(at) => self.deadlines.set(due, at),
                None => self.deadlines.clear(due),
            }
        }
    }

    /// A peer's answer is late: it gets less to do, and others are asked for what it keeps.
    pub(super) fn strike(&mut self, cx: &mut Cx<'_>, peer: PeerIx) {
        let Some(link) = self.links.get_mut(&peer) else { return };
        let (excess, again) = link.strike(cx.now);
        let kept: Vec<_> = link.asked().filter(|id| !excess.contains(id)).collect();
        if again {
            kept.iter().for_each(|id| link.forgive(*id));
        }
        cx.peers.observe(peer, rank::failed);
        for id in excess {
            self.withdraw(cx, peer, id);
        }
        for id in kept {
            if again && let Some(wanted) = self.wanted.get(&id) {
                let priority = priority(wanted.seq);
                self.push_want(peer, id, WantKind::Block, priority);
            }
            self.requeue(id);
        }
        self.arm(cx, peer);
    }

    /// A peer is told that a block is not wanted of it any more.
    fn withdraw(&mut self, cx: &Cx<'_>, peer: PeerIx, id: BlockId) {
        if self.links.get_mut(&peer).is_some_and(|link| link.withdraw(cx.now, id)) {
            self.push_want(peer, id, WantKind::Cancel, 0);
        }
        self.release(peer, id);
        self.arm(cx, peer);
    }

    /// A peer is not asked for a block any more.
    pub(super) fn release(&mut self, peer: PeerIx, id: BlockId) {
        let Some(wanted) = self.wanted.get_mut(&id) else { return };
        let was_busy = wanted.is_busy();
        wanted.asked.retain(|asked| *asked != peer);
        if was_busy && !wanted.is_busy() {
            self.in_flight = self.in_flight.saturating_sub(wanted.len);
        }
        self.requeue(id);
    }

    /// A block is to be asked of somebody else, too.
    fn requeue(&mut self, id: BlockId) {
        let Some(wanted) = self.wanted.get(&id) else { return };
        if wanted.storing {
            return;
        }
        for (root, _) in &wanted.places {
            if let Some(fetch) = self.fetches.get_mut(root) {
                fetch.queue.insert((wanted.seq, id));
            }
        }
    }

    /// Nobody is asked for a block any more.
    pub(super) fn withdraw_all(&mut self, cx: &Cx<'_>, id: BlockId) {
        let Some(wanted) = self.wanted.get_mut(&id) else { return };
        if !wanted.storing && !wanted.asked.is_empty() {
            self.in_flight = self.in_flight.saturating_sub(wanted.len);
        }
        for peer in core::mem::take(&mut wanted.asked) {
            if self.links.get_mut(&peer).is_some_and(|link| link.withdraw(cx.now, id)) {
                self.push_want(peer, id, WantKind::Cancel, 0);
            }
            self.arm(cx, peer);
        }
    }

    /// The blocks a peer was asked for are to be asked of others at once.
    pub(super) fn drop_link(&mut self, cx: &Cx<'_>, peer: PeerIx) {
        let Some(link) = self.links.get_mut(&peer) else { return };
        for id in link.take_down() {
            if !planted!(cx.config, ExchangeForgetsWants) {
                self.release(peer, id);
            }
        }
        if self.links.get(&peer).is_some_and(|link| link.judging == 0) {
            self.links.remove(&peer);
        }
        self.arm(cx, peer);
    }
}

/// Not now: what a timeout of the node leads to must not be due at the same instant again.
pub(super) fn soonest(cx: &Cx<'_>) -> Instant {
    cx.now + Duration::from_micros(1)
}

/// Earlier blocks first: content is usable from its beginning.
fn priority(seq: u64) -> i32 {
    i32::MAX - i32::try_from(seq % (1 << 30)).unwrap_or(0)
}
