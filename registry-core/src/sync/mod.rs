//! Reconciliation: whoever was away or joins late ends with the same catalogue.
//!
//! A round compares digests of ranges of publishers with one peer, smaller and smaller ones where they differ, and
//! fetches the log of each publisher of which the peer claims more. It only pulls: what this node has more of is found by
//! the peer's own rounds. Nothing of a round needs to be remembered: whatever ends it, the next one begins with what is
//! durable by then. Ranges that differ only in what this node does not want of that peer are left out for a while.
//!
//! Gaps learnt otherwise (a head heard by gossip or read from the DHT) are fetched from whoever told, from other connected
//! peers, then from providers of the log. A log is fetched in batches, the next one when the last is durable. Sync only
//! fetches; the catalogue judges. Two logs of one length and different tips are a fork: no peer can mend it, so it is left
//! alone until somebody has a proof.
//!
//! A publisher that is proven to have contradicted itself counts as that and not as its log, on every node the same,
//! whichever branch it holds: so whoever was away when the proof was gossiped finds the difference and fetches the proof.
//!
//! | file | what it does |
//! |---|---|
//! | `tree` | the digests of all ranges |
//! | `serve` | answers peers; how often a peer may ask |
//! | `round` | what does this peer have that is missing here? |
//! | `setbacks` | who is left alone for how long |
//! | `gap` | fetches one publisher's missing statements, from one source after the other |
//! | `ahead` | fetches a long log of several peers at once |

mod ahead;
mod gap;
mod round;
mod serve;
mod setbacks;
#[cfg(test)]
mod tests;
mod tree;

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;

use bytes::Bytes;

pub(crate) use self::gap::EVERYTHING;
use self::gap::Gap;
use self::round::Round;
use self::setbacks::Setbacks;
use self::tree::Tree;
use crate::catalog::{Catalog, Verdict};
use crate::collections::{DeadlineIndex, Pace};
use crate::cx::Cx;
use crate::id::{Digest, Owner, PeerIx, PublisherId, RequestId};
use crate::input::RequestError;
use crate::peers::Offence;
use crate::time::{Duration, Instant};
use crate::wire::Protocol;
use crate::wire::registry::{Range, RegistryMessage};

/// A new peer is asked this soon (jittered), so that its identify and the first lookups go first.
const FIRST_ROUND_DELAY: Duration = Duration::from_secs(1);

/// First rounds between two regular ones. In a large network lookups open and close connections all the time; whoever
/// has just compared with several peers learns next to nothing from the next.
const MAX_FIRST_ROUNDS: u32 = 8;

/// Peers remembered for not keeping their word.
const MAX_SHUNNED: usize = 1024;

/// Logs and ranges remembered as not wanted of some peer: those of a thousand refused publishers at eight peers.
const MAX_LEFT_OUT: usize = 8192;

/// What an honest peer never sends here.
const FAULT: Offence = Offence::Protocol(Protocol::Registry);

/// What sync raises for its siblings.
#[derive(Clone, Debug)]
pub(crate) enum SyncEvent {
    /// Give these to the catalogue; its verdict comes back by `handle_judged`.
    Entries { ticket: u64, source: PeerIx, record: Bytes, from: u64, entries: Vec<Bytes> },
    /// The same for a proof that a publisher has contradicted itself.
    Proof { ticket: u64, source: PeerIx, proof: Bytes },
    /// No connected peer could fill this gap: look for providers of the publisher's log.
    NeedHolders { publisher: PublisherId },
    /// A gap asked for by `catch_up` is filled (of `EVERYTHING`: all sources were asked), or given up.
    CaughtUp { publisher: PublisherId, ok: bool },
    /// A round was carried to its end for the first time since the start.
    Compared,
}

/// What a deadline is about.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Timer {
    /// The next round with some peer.
    Next,
    /// The first round with this peer.
    Due(PeerIx),
    /// An answer in this peer's round, or leave to ask again.
    Step(PeerIx),
    /// This peer's round as a whole.
    Round(PeerIx),
    /// An answer, a verdict or holders for this publisher's gap, or leave to ask again.
    Gap(PublisherId),
}

/// What a request in flight belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Asker {
    Round(PeerIx),
    Gap(PublisherId),
}

/// Bytes of messages, without length prefixes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Traffic {
    pub(crate) sent: u64,
    pub(crate) received: u64,
}

/// A connected peer that serves the registry protocol.
#[derive(Debug, Default)]
struct Partner {
    asked: Pace,
}

/// Rounds with a few peers at a time, and gap fetches on demand. The catalogue is lent for each call: sync reads it and
/// never writes.
#[derive(Debug)]
pub(crate) struct Sync {
    partners: BTreeMap<PeerIx, Partner>,
    /// A round has been carried to its end.
    compared: bool,
    /// Since the last regular round.
    first_rounds: u32,
    /// How much each connected peer has asked here.
    served: BTreeMap<PeerIx, Pace>,
    /// Peers that did not keep their word, connected or not.
    shunned: Setbacks<PeerIx>,
    /// Logs the catalogue did not want, by quota or because they are forked; rounds with the peer that sent them leave
    /// them out. Per peer, so that no peer can keep a log from being fetched of others.
    ignored: Setbacks<(PeerIx, PublisherId)>,
    /// A peer and the digests here and there of a range in which it has nothing that is wanted of it.
    settled: Setbacks<(PeerIx, Digest, Digest)>,
    /// Peers whose round waits for its turn, in order.
    due: VecDeque<PeerIx>,
    rounds: BTreeMap<PeerIx, Round>,
    gaps: BTreeMap<PublisherId, Gap>,
    /// Gaps that wait for their turn, in order; all others are being worked on.
    queue: VecDeque<PublisherId>,
    requests: BTreeMap<RequestId, Asker>,
    timers: DeadlineIndex<Timer>,
    tree: Tree,
    next_ticket: u64,
    traffic: Traffic,
    events: VecDeque<SyncEvent>,
}

impl Sync {
    pub(crate) fn new() -> Self {
        Self {
            partners: BTreeMap::new(),
            compared: false,
            first_rounds: 0,
            served: BTreeMap::new(),
            shunned: Setbacks::new(MAX_SHUNNED),
            ignored: Setbacks::new(MAX_LEFT_OUT),
            settled: Setbacks::new(MAX_LEFT_OUT),
            due: VecDeque::new(),
            rounds: BTreeMap::new(),
            gaps: BTreeMap::new(),
            queue: VecDeque::new(),
            requests: BTreeMap::new(),
            timers: DeadlineIndex::default(),
            tree: Tree::default(),
            next_ticket: 0,
            traffic: Traffic::default(),
            events: VecDeque::new(),
        }
    }

    /// A peer that serves the registry protocol is up: due for a round.
    pub(crate) fn handle_peer_up(&mut self, cx: &mut Cx<'_>, peer: PeerIx) {
        self.partners.insert(peer, Partner::default());
        if !cx.config.role.duties().catalogue {
            return;
        }
        if self.timers.get(Timer::Next).is_none() {
            self.plan_next(cx);
        }
        let delay = cx.rng.jitter(FIRST_ROUND_DELAY);
        if self.first_rounds < MAX_FIRST_ROUNDS {
            self.first_rounds += 1;
            self.timers.set(Timer::Due(peer), cx.now + delay);
        }
    }

    pub(crate) fn handle_peer_down(&mut self, _cx: &mut Cx<'_>, peer: PeerIx) {
        self.partners.remove(&peer);
        self.served.remove(&peer);
        self.end_round(peer);
        self.timers.clear(Timer::Due(peer));
        self.due.retain(|due| *due != peer);
        if self.partners.is_empty() {
            self.timers.clear(Timer::Next);
        }
    }

    /// Has this node compared catalogues with some peer since its start?
    pub(crate) fn has_compared(&self) -> bool {
        self.compared
    }

    /// The catalogue holds more or less of this publisher than before, or knows that it is forked.
    pub(crate) fn handle_changed(&mut self, catalog: &Catalog, publisher: PublisherId) {
        let state = catalog.claim(publisher);
        // Told once for each statement of a commit.
        if self.tree.get(publisher) != state.as_ref() {
            self.tree.set(publisher, state);
        }
    }

    /// The same for two nodes when they hold the same logs, and the same proofs.
    pub(crate) fn digest(&self) -> Digest {
        self.tree.digest(Range::ALL)
    }

    /// Bytes of questions and answers so far.
    pub(crate) fn traffic(&self) -> Traffic {
        self.traffic
    }

    pub(crate) fn handle_response(&mut self, cx: &mut Cx<'_>, catalog: &Catalog, id: RequestId, msg: &RegistryMessage) {
        self.traffic.received += msg.encoded_len() as u64;
        match self.requests.remove(&id) {
            Some(Asker::Round(peer)) => self.handle_round_answer(cx, catalog, peer, msg),
            Some(Asker::Gap(publisher)) => self.handle_gap_answer(cx, catalog, publisher, id, msg),
            None => return,
        }
        self.drive(cx, catalog);
    }

    pub(crate) fn handle_request_failed(
        &mut self,
        cx: &mut Cx<'_>,
        catalog: &Catalog,
        id: RequestId,
        _why: RequestError,
    ) {
        match self.requests.remove(&id) {
            Some(Asker::Round(peer)) => self.fail_round(cx, peer, None),
            Some(Asker::Gap(publisher)) => self.handle_gap_failed(cx, catalog, publisher, id),
            None => return,
        }
        self.drive(cx, catalog);
    }

    /// The catalogue has judged what `Entries` gave it.
    pub(crate) fn handle_judged(&mut self, cx: &mut Cx<'_>, catalog: &Catalog, ticket: u64, verdict: Verdict) {
        let judged = self.gaps.iter().find(|(_, gap)| gap.is_judging(ticket)).map(|(publisher, _)| *publisher);
        if let Some(publisher) = judged {
            self.handle_gap_judged(cx, catalog, publisher, verdict);
            self.drive(cx, catalog);
        }
    }

    pub(crate) fn handle_timeout(&mut self, cx: &mut Cx<'_>, catalog: &Catalog) {
        while let Some(timer) = self.timers.pop_due(cx.now) {
            match timer {
                Timer::Next => {
                    self.plan_next(cx);
                    self.start_random_round(cx);
                }
                Timer::Due(peer) if self.due.contains(&peer) => {}
                Timer::Due(peer) => self.due.push_back(peer),
                Timer::Step(peer) => self.handle_step_due(cx, peer),
                Timer::Round(peer) => self.handle_round_due(cx, peer),
                Timer::Gap(publisher) => self.handle_gap_due(cx, catalog, publisher),
            }
        }
        self.drive(cx, catalog);
    }

    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.timers.next()
    }

    pub(crate) fn poll_event(&mut self) -> Option<SyncEvent> {
        self.events.pop_front()
    }

    /// Rounds and gaps under way, and requests in flight.
    pub(crate) fn load(&self) -> (usize, usize, usize) {
        (self.rounds.len(), self.gaps.len(), self.requests.len())
    }

    /// Starts whatever there is room for.
    fn drive(&mut self, cx: &mut Cx<'_>, catalog: &Catalog) {
        self.start_queued_gaps(cx, catalog);
        loop {
            self.start_due_rounds(cx);
            let rounds: Vec<_> = self.rounds.keys().copied().collect();
            for peer in rounds {
                self.advance_round(cx, catalog, peer);
            }
            if self.due.is_empty() || !self.has_round_room() {
                return;
            }
        }
    }

    fn plan_next(&mut self, cx: &mut Cx<'_>) {
        self.first_rounds = 0;
        let wait = cx.rng.jitter(cx.config.sync.interval).max(Duration::from_millis(1));
        if self.partners.is_empty() {
            self.timers.clear(Timer::Next);
        } else {
            self.timers.set(Timer::Next, cx.now + wait);
        }
    }

    /// Sends a request on behalf of `asker`, unless this node has asked that peer too often; then says when it may.
    fn ask(&mut self, cx: &mut Cx<'_>, asker: Asker, peer: PeerIx, msg: RegistryMessage) -> Result<RequestId, Instant> {
        if let Some(partner) = self.partners.get_mut(&peer) {
            partner.asked.take(cx.now, &serve::ASKED)?;
        }
        self.traffic.sent += msg.encoded_len() as u64;
        let id = cx.request(Owner::Sync, peer, msg);
        self.requests.insert(id, asker);
        Ok(id)
    }
}
