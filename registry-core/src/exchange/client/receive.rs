//! What peers send: presences, and blocks that must prove what they are.

use alloc::collections::BTreeSet;

use bytes::Bytes;

use super::{Client, Pending};
use crate::action::StoreRequest;
use crate::cx::Cx;
use crate::event::OpError;
use crate::exchange::fetch::Standing;
use crate::exchange::unixfs::{MAX_BLOCK, parse};
use crate::exchange::window::{Claim, Link};
use crate::exchange::{codec_of_prefix, rank};
use crate::id::{BlockId, Codec, Digest, JobId, Owner, PeerIx};
use crate::peers::Offence;
use crate::time::Instant;
use crate::wire::Protocol;
use crate::wire::bitswap::{BitswapMessage, Block, Cid, Presence};

/// Blocks nobody asked for, beyond one for each that was, that are dropped without a charge.
const UNASKED_ALLOWANCE: u32 = 16;

/// A block whose hash is being computed.
#[derive(Debug)]
pub(super) struct Received {
    peer: PeerIx,
    codec: Codec,
    data: Bytes,
    at: Instant,
}

impl Client {
    pub(in crate::exchange) fn handle_message(&mut self, cx: &mut Cx<'_>, peer: PeerIx, msg: &BitswapMessage) {
        if msg.presences.is_empty() && msg.blocks.is_empty() {
            return;
        }
        for (cid, presence) in &msg.presences {
            if let Cid::Known(id) = cid {
                self.presence(cx, peer, *id, *presence);
            }
        }
        for block in &msg.blocks {
            self.receive(cx, peer, block);
        }
        self.arm(cx, peer);
        self.pump(cx);
    }

    fn presence(&mut self, cx: &mut Cx<'_>, peer: PeerIx, id: BlockId, presence: Presence) {
        if let Some(fetch) = self.fetches.get_mut(&id)
            && let Some(standing) = fetch.providers.get_mut(&peer)
            && *standing != Standing::Barred
        {
            *standing = match presence {
                Presence::Have => Standing::Has,
                Presence::DontHave => Standing::Lacks,
            };
        }
        let Some(wanted) = self.wanted.get_mut(&id) else { return };
        match presence {
            Presence::Have => {
                wanted.lacking.remove(&peer);
            }
            Presence::DontHave if wanted.asked.contains(&peer) => {
                wanted.lacking.insert(peer);
                if self.links.get_mut(&peer).is_some_and(|link| link.refused(cx.now, id)) {
                    cx.peers.observe(peer, rank::failed);
                }
                self.release(peer, id);
            }
            Presence::DontHave => {}
        }
    }

    fn receive(&mut self, cx: &mut Cx<'_>, peer: PeerIx, block: &Block) {
        if block.data.len() > MAX_BLOCK {
            return cx.charge(peer, Offence::Protocol(Protocol::Bitswap));
        }
        let link = self.links.get_mut(&peer).filter(|link| link.judging < link.expected());
        match (link, codec_of_prefix(&block.prefix)) {
            (Some(link), Some(codec)) => {
                link.received(cx.now, block.data.len() as u64);
                let job = cx.hash(Owner::Exchange, block.data.clone());
                self.judging.insert(job, Received { peer, codec, data: block.data.clone(), at: cx.now });
            }
            (_, _) => self.unasked(cx, peer),
        }
    }

    fn unasked(&mut self, cx: &mut Cx<'_>, peer: PeerIx) {
        let count = self.strays.entry(peer).or_default();
        *count += 1;
        if *count > UNASKED_ALLOWANCE {
            *count = 0;
            cx.charge(peer, Offence::Protocol(Protocol::Bitswap));
        }
    }

    pub(in crate::exchange) fn handle_hashed(&mut self, cx: &mut Cx<'_>, job: JobId, digest: Digest) {
        let Some(received) = self.judging.remove(&job) else { return };
        let mut id = BlockId { digest, codec: received.codec };
        let peer = received.peer;
        if planted!(cx.config, ExchangeTrustsBlocks) {
            id = self.links.get(&peer).and_then(Link::last).filter(|last| last.codec == id.codec).unwrap_or(id);
        }
        let claim = match self.links.get_mut(&peer) {
            Some(link) => {
                link.judging = link.judging.saturating_sub(1);
                link.claim(received.at, id)
            }
            None => Claim::Unasked,
        };
        match (claim, self.wanted.contains_key(&id)) {
            (Claim::Unasked, false) if !self.unanswered.contains(&(peer, id)) => self.wrong_block(cx, peer),
            // What is counted is forgotten when the peer goes.
            (Claim::Copy | Claim::Unasked, false) if cx.peers.is_connected(peer) => self.unasked(cx, peer),
            (_, false) => {}
            (claim, true) => {
                if let Claim::Asked(latency) = claim {
                    if let Some(strays) = self.strays.get_mut(&peer) {
                        *strays = strays.saturating_sub(1);
                    }
                    let len = received.data.len() as u64;
                    cx.peers.observe(peer, |observed| rank::delivered(observed, len, latency));
                    let rate = self.links.get_mut(&peer).and_then(|link| link.meter(received.at, len));
                    if let Some(rate) = rate {
                        cx.peers.observe(peer, |observed| rank::metered(observed, rate));
                    }
                }
                self.keep(cx, peer, id, received.data);
            }
        }
        if self.links.get(&peer).is_some_and(|link| !link.up && link.judging == 0) {
            self.links.remove(&peer);
        }
        self.arm(cx, peer);
        self.pump(cx);
    }

    /// A verified block that is wanted: checks what it says, then stores it.
    fn keep(&mut self, cx: &mut Cx<'_>, peer: PeerIx, id: BlockId, data: Bytes) {
        if self.wanted.get(&id).is_none_or(|wanted| wanted.storing) {
            return;
        }
        self.withdraw_all(cx, id);
        let node = parse(id.codec, &data);
        let Some(wanted) = self.wanted.get(&id) else { return };
        let fits = |root, place| match (&node, self.fetches.get(root)) {
            (Ok(node), Some(fetch)) => fetch.check(place, node).is_ok(),
            (_, _) => false,
        };
        let misfits: BTreeSet<_> =
            wanted.places.iter().filter(|(root, place)| !fits(root, place)).map(|(root, _)| *root).collect();
        for root in misfits {
            self.fail(cx, root, OpError::Verification);
        }
        let (Ok(node), Some(wanted)) = (node, self.wanted.get_mut(&id)) else { return };
        wanted.storing = true;
        self.in_flight = self.in_flight.saturating_add(wanted.len);
        let (seq, len, source) = (wanted.seq, data.len() as u64, cx.peers.id(peer));
        for (root, _) in &wanted.places {
            if let Some(fetch) = self.fetches.get_mut(root) {
                fetch.queue.remove(&(seq, id));
                if let Some(standing @ Standing::Asked) = fetch.providers.get_mut(&peer) {
                    *standing = Standing::Has;
                }
            }
        }
        let op = cx.store(Owner::Exchange, StoreRequest::PutBlock { digest: id.digest, data });
        self.pending.insert(op, Pending::Put { id, node, len, source });
    }

    /// A block that nobody asked of the peer, and that nobody wants: it is not what was asked for.
    fn wrong_block(&mut self, cx: &mut Cx<'_>, peer: PeerIx) {
        cx.charge(peer, Offence::BadBlock);
        cx.peers.observe(peer, rank::lied);
        for fetch in self.fetches.values_mut() {
            if let Some(standing) = fetch.providers.get_mut(&peer) {
                *standing = Standing::Barred;
            }
        }
        self.drop_link(cx, peer);
    }
}
