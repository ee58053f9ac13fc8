//! Who may have a content: providers from the DHT, and connected peers that are asked.

use alloc::vec::Vec;

use super::assign::soonest;
use super::{Client, Due};
use crate::cx::Cx;
use crate::event::OpError;
use crate::exchange::ExchangeEvent;
use crate::exchange::fetch::{Fetch, Standing};
use crate::exchange::window::Link;
use crate::id::{BlockId, PeerIx};
use crate::time::Duration;
use crate::wire::bitswap::WantKind;

/// With fewer usable providers, more are looked for.
const ENOUGH_PROVIDERS: usize = 3;
/// Connected peers asked at a time whether they have a root.
const PROBES: usize = 8;
/// Wait after the first search; doubles up to `MAX_SEARCH_BACKOFF` while searches are needed.
const MIN_SEARCH_BACKOFF: Duration = Duration::from_secs(2);
const MAX_SEARCH_BACKOFF: Duration = Duration::from_secs(60);
/// Blocks remembered as asked of peers that have gone.
const MAX_UNANSWERED: usize = 1_024;
/// Wait after a search that a lost provider calls for.
const SOON: Duration = Duration::from_secs(1);

impl Client {
    pub(in crate::exchange) fn add_providers(&mut self, cx: &mut Cx<'_>, root: BlockId, providers: &[PeerIx]) {
        let Some(fetch) = self.fetches.get_mut(&root) else { return };
        for peer in providers {
            if cx.peers.id(*peer).is_none_or(|id| id == cx.local.id) || cx.peers.is_banned(cx.now, *peer) {
                continue;
            }
            match fetch.providers.get(peer).copied() {
                Some(Standing::Asked) => drop(fetch.providers.insert(*peer, Standing::Has)),
                None if fetch.has_room() || forget_lacking(cx, fetch) => {
                    cx.peers.pin(*peer);
                    fetch.providers.insert(*peer, Standing::Has);
                }
                Some(Standing::Has | Standing::Lacks | Standing::Barred) | None => {}
            }
            if fetch.missing && !self.up.contains(peer) {
                cx.peers.dial(cx.now, cx.config, cx.out, *peer);
            }
        }
        self.pump(cx);
    }

    pub(in crate::exchange) fn handle_peer_up(&mut self, cx: &mut Cx<'_>, peer: PeerIx) {
        self.up.insert(peer);
        if let Some(link) = self.links.get_mut(&peer) {
            link.up = true;
        }
        let short = |client: &Self, root| client.count_usable(root) < ENOUGH_PROVIDERS;
        let roots: Vec<_> = self.fetches.keys().copied().filter(|root| short(self, *root)).collect();
        for root in roots {
            self.probe(cx, root, peer);
        }
        self.pump(cx);
    }

    pub(in crate::exchange) fn handle_peer_down(&mut self, cx: &mut Cx<'_>, peer: PeerIx) {
        self.up.remove(&peer);
        self.strays.remove(&peer);
        self.outgoing.remove(&peer);
        self.unanswered.extend(self.links.get(&peer).into_iter().flat_map(Link::possible).map(|id| (peer, id)));
        let excess = self.unanswered.len().saturating_sub(MAX_UNANSWERED);
        self.unanswered.drain(..excess);
        self.drop_link(cx, peer);
        let roots: Vec<_> = self.fetches.iter().filter(|(_, fetch)| fetch.providers.contains_key(&peer)).collect();
        let roots: Vec<_> = roots.into_iter().map(|(root, _)| *root).collect();
        for root in roots {
            let alone = self.count_usable(root) == 0;
            let Some(fetch) = self.fetches.get_mut(&root) else { continue };
            if fetch.providers.get(&peer) == Some(&Standing::Asked) {
                fetch.providers.remove(&peer);
                cx.peers.release(peer);
            }
            if alone && fetch.missing && !fetch.finishing {
                self.search_soon(cx, root);
            }
        }
        self.pump(cx);
    }

    /// Looks for providers again soon, if nothing has come since the last search: the network may have changed.
    pub(super) fn search_anew(&mut self, cx: &Cx<'_>, root: BlockId) {
        let in_vain = |fetch: &&mut Fetch| fetch.missing && !fetch.finishing && fetch.fresh == 0;
        if let Some(fetch) = self.fetches.get_mut(&root).filter(in_vain) {
            fetch.backoff = Duration::ZERO;
            self.search_soon(cx, root);
        }
    }

    fn search_soon(&mut self, cx: &Cx<'_>, root: BlockId) {
        let searched = self.fetches.get(&root).and_then(|fetch| fetch.searched);
        let soon = searched.map_or(cx.now, |at| at + SOON).max(soonest(cx));
        let planned = self.deadlines.get(Due::Search(root));
        self.deadlines.set(Due::Search(root), planned.map_or(soon, |at| at.min(soon)));
    }

    /// Looks for providers when there are too few of them, or when they bring nothing.
    pub(super) fn search(&mut self, cx: &mut Cx<'_>, root: BlockId) {
        let enough = self.count_usable(root) >= ENOUGH_PROVIDERS;
        let Some(fetch) = self.fetches.get_mut(&root) else { return };
        let flows = core::mem::take(&mut fetch.fresh) > 0;
        fetch.searched = Some(cx.now);
        fetch.backoff = match (enough && flows, fetch.backoff) {
            (true, _) | (false, Duration::ZERO) => MIN_SEARCH_BACKOFF,
            (false, backoff) => backoff.saturating_mul(2).min(MAX_SEARCH_BACKOFF),
        };
        // At least a second, so that it is later than now.
        let next = cx.now + cx.rng.jitter(fetch.backoff).max(SOON);
        self.deadlines.set(Due::Search(root), next);
        if enough && flows {
            return;
        }
        self.events.push_back(ExchangeEvent::NeedProviders { root });
        let known: Vec<_> = fetch.providers.iter().map(|(peer, standing)| (*peer, *standing)).collect();
        let queued: Vec<_> = fetch.queue.iter().map(|(_, id)| *id).collect();
        for (peer, standing) in known {
            match standing {
                Standing::Has if !self.up.contains(&peer) => cx.peers.dial(cx.now, cx.config, cx.out, peer),
                Standing::Lacks | Standing::Asked => self.probe(cx, root, peer),
                Standing::Has | Standing::Barred => {}
            }
        }
        for id in queued {
            if let Some(wanted) = self.wanted.get_mut(&id) {
                wanted.lacking.clear();
            }
        }
        self.probe_strangers(cx, root);
    }

    /// Asks some connected peers that have not been asked yet.
    fn probe_strangers(&mut self, cx: &mut Cx<'_>, root: BlockId) {
        let Some(fetch) = self.fetches.get(&root) else { return };
        let strangers: Vec<_> = self.up.iter().copied().filter(|peer| !fetch.providers.contains_key(peer)).collect();
        for peer in cx.rng.sample(strangers, PROBES) {
            self.probe(cx, root, peer);
        }
    }

    /// Asks a connected peer whether it has the root.
    fn probe(&mut self, cx: &mut Cx<'_>, root: BlockId, peer: PeerIx) {
        let Some(fetch) = self.fetches.get_mut(&root) else { return };
        if !fetch.missing || fetch.finishing || !self.up.contains(&peer) {
            return;
        }
        match fetch.providers.get(&peer).copied() {
            Some(Standing::Lacks | Standing::Asked) => {}
            None if fetch.has_room_for_stranger() || forget_lacking(cx, fetch) => cx.peers.pin(peer),
            Some(Standing::Has | Standing::Barred) | None => return,
        }
        fetch.providers.insert(peer, Standing::Asked);
        // Some implementations answer with the block itself when it is short.
        self.link(cx, peer).forgive(root);
        self.push_want(peer, root, WantKind::Have, 1);
    }

    /// Something new is durable: the fetch may go on for another while.
    pub(super) fn progressed(&mut self, cx: &Cx<'_>, root: BlockId) {
        if let Some(fetch) = self.fetches.get_mut(&root) {
            fetch.ops.iter_mut().for_each(|(_, since)| *since = cx.now);
            self.deadlines.set(Due::Stall(root), cx.now + cx.config.exchange.stall_timeout);
        }
    }

    /// Ends the operations that have waited for too long; the fetch goes on while there are others.
    pub(super) fn stalled(&mut self, cx: &mut Cx<'_>, root: BlockId) {
        let error = self.shortage(root);
        let Some(fetch) = self.fetches.get_mut(&root) else { return };
        let (ended, next) = fetch.take_impatient(cx.now, cx.config.exchange.stall_timeout);
        self.events.extend(ended.into_iter().map(|op| ExchangeEvent::Failed { op, error: error.clone() }));
        match next {
            Some(next) => self.deadlines.set(Due::Stall(root), next),
            None => self.fail(cx, root, error),
        }
    }

    /// Why nothing comes.
    fn shortage(&self, root: BlockId) -> OpError {
        let Some(fetch) = self.fetches.get(&root) else { return OpError::NoProviders };
        let count = |wanted: &dyn Fn(&Standing) -> bool| {
            u32::try_from(fetch.providers.values().filter(|standing| wanted(standing)).count()).unwrap_or(u32::MAX)
        };
        match count(&|standing| *standing == Standing::Has) {
            0 if self.up.is_empty() => OpError::NoPeers,
            0 => OpError::NoProviders,
            _ => {
                let answered = fetch.sources.len() + count(&|standing| *standing == Standing::Lacks) as usize;
                let asked = count(&|_| true);
                OpError::Timeout { asked, answered: u32::try_from(answered).unwrap_or(u32::MAX).min(asked) }
            }
        }
    }

    fn count_usable(&self, root: BlockId) -> usize {
        self.fetches.get(&root).map_or(0, |fetch| {
            let has = fetch.providers.iter().filter(|(_, standing)| **standing == Standing::Has);
            has.filter(|(peer, _)| self.up.contains(peer)).count()
        })
    }
}

/// Makes room for one more, if somebody lacks the content.
fn forget_lacking(cx: &mut Cx<'_>, fetch: &mut Fetch) -> bool {
    let lacking = fetch.take_lacking();
    lacking.into_iter().for_each(|peer| cx.peers.release(peer));
    lacking.is_some()
}
