//! Search and names across the network: asked by nodes without a catalogue, answered by all others.
//!
//! A light node asks several peers at once. Each answers with signed statements, the head records of their publishers,
//! and what its index knows of the query's terms. The light node verifies every signature, checks that each release
//! answers the query, merges what the peers know of the terms, and scores and orders the results itself. So a peer can
//! withhold, but not invent: whatever does not verify or does not answer the query is never shown, and costs the peer
//! that sent it. What nobody can check alone, the age of a version, is left to the others asked: the highest wins that
//! nobody shows to be yanked. A page says whether enough peers answered, and the same.
//!
//! | file | what it does |
//! |---|---|
//! | `answer` | one peer's answer: parsed, verified, judged |
//! | `merge` | statistics and releases of several peers made one page |
//! | `serve` | answers peers |

mod answer;
mod merge;
mod serve;
#[cfg(test)]
mod tests;

use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;

use self::answer::{Answer, Opened};
use crate::catalog::{PackageSpec, ReleaseInfo};
use crate::collections::{DeadlineIndex, Limit, Pace};
use crate::cx::Cx;
use crate::event::OpError;
use crate::id::{JobId, OpId, Owner, PeerIx, PublisherId, RequestId};
use crate::peers::Offence;
use crate::search::{ParsedQuery, Query, SearchPage};
use crate::time::{Duration, Instant};
use crate::wire::Protocol;
use crate::wire::registry::{MAX_FOUND, RegistryMessage};

pub(crate) use serve::Server;

/// Peers whose answers make a page complete. Where one peer in five lies, most of five do in one search of 17, and all
/// of them in one of 3,000.
pub(crate) const WANTED: usize = 5;

/// Peers asked in all, in place of those that fail, lie or are slow.
const MAX_ASKED: usize = 12;

/// Results asked for beyond those wanted: peers that know a little more or less order the last ones differently.
const MARGIN: usize = 12;

/// After this, others are asked beside those that have not answered.
const SLOW: Duration = Duration::from_secs(2);

/// After this, a page is made of what is there.
const PATIENCE: Duration = Duration::from_secs(6);

/// Releases of earlier results that a bare name may mean.
const MAX_KNOWN: usize = 256;

/// What this node asks of a peer: half of what it would serve itself.
const ASKED: Limit = Limit { interval: Duration::from_millis(200), burst: 40 };

/// What an honest peer never sends here.
const FAULT: Offence = Offence::Protocol(Protocol::Registry);

/// What the machine raises for the node.
#[derive(Clone, Debug)]
pub(crate) enum LightEvent {
    /// A search is over.
    Searched { op: OpId, page: SearchPage },
    /// A name is resolved.
    Resolved { op: OpId, release: Arc<ReleaseInfo> },
    /// No connected peer knows the name: look for holders of the publisher's log.
    NeedHolders { publisher: PublisherId },
    /// Neither.
    Failed { op: OpId, error: OpError },
}

/// What is asked for.
#[derive(Debug)]
enum Question {
    Search { query: Query, parsed: ParsedQuery },
    Find { spec: PackageSpec, publisher: PublisherId },
}

/// An operation that waits for peers.
#[derive(Debug)]
struct Gathering {
    question: Question,
    asked: Vec<PeerIx>,
    /// Asked and not yet failed, answered and judged.
    open: usize,
    answers: Vec<Answer>,
    hedged: bool,
    sought_holders: bool,
    end_at: Instant,
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub(crate) struct Light {
    /// Connected peers that serve the registry protocol.
    partners: BTreeMap<PeerIx, Pace>,
    gatherings: BTreeMap<OpId, Gathering>,
    requests: BTreeMap<RequestId, (OpId, PeerIx)>,
    verifying: BTreeMap<JobId, (OpId, Answer)>,
    timers: DeadlineIndex<OpId>,
    /// Of earlier results, latest last.
    known: VecDeque<Arc<ReleaseInfo>>,
    events: VecDeque<LightEvent>,
}

impl Light {
    pub(crate) fn handle_peer_up(&mut self, cx: &mut Cx<'_>, peer: PeerIx) {
        self.partners.insert(peer, Pace::default());
        let waiting: Vec<_> = self.gatherings.keys().copied().collect();
        waiting.into_iter().for_each(|op| self.ask_more(cx, op));
    }

    pub(crate) fn handle_peer_down(&mut self, peer: PeerIx) {
        self.partners.remove(&peer);
    }

    /// Ends in `Searched` or `Failed`.
    pub(crate) fn search(&mut self, cx: &mut Cx<'_>, op: OpId, query: Query, parsed: ParsedQuery) {
        self.start(cx, op, Question::Search { query, parsed });
    }

    /// Ends in `Resolved` or `Failed`. Without a publisher, only what earlier results showed of one alone.
    pub(crate) fn find(&mut self, cx: &mut Cx<'_>, op: OpId, spec: PackageSpec) {
        match spec.publisher.or_else(|| self.only_publisher(&spec)) {
            Some(publisher) => {
                let spec = PackageSpec { publisher: Some(publisher), ..spec };
                self.start(cx, op, Question::Find { spec, publisher });
            }
            None => self.events.push_back(LightEvent::Failed { op, error: OpError::NotFound }),
        }
    }

    pub(crate) fn cancel(&mut self, op: OpId) {
        self.gatherings.remove(&op);
        self.timers.clear(op);
    }

    pub(crate) fn handle_response(&mut self, cx: &mut Cx<'_>, id: RequestId, msg: &RegistryMessage) {
        let Some((op, peer)) = self.requests.remove(&id) else { return };
        let Some(gathering) = self.gatherings.get(&op) else { return };
        let opened = if let RegistryMessage::Found(found) = msg {
            Answer::open(&cx.config.network, peer, found)
        } else {
            Err(Some(FAULT))
        };
        match opened {
            Ok(Opened { answer, .. }) if !answer.answers(&gathering.question) => self.lose(cx, op, peer, Some(FAULT)),
            Ok(Opened { answer, checks }) if checks.is_empty() => self.keep(cx, op, answer),
            Ok(Opened { answer, checks }) => {
                let job = cx.verify(Owner::Light, checks);
                self.verifying.insert(job, (op, answer));
            }
            Err(offence) => self.lose(cx, op, peer, offence),
        }
    }

    pub(crate) fn handle_request_failed(&mut self, cx: &mut Cx<'_>, id: RequestId) {
        if let Some((op, peer)) = self.requests.remove(&id) {
            self.lose(cx, op, peer, planted!(cx.config, LightBlamesSilent).then_some(FAULT));
        }
    }

    pub(crate) fn handle_verified(&mut self, cx: &mut Cx<'_>, job: JobId, ok: bool) {
        match self.verifying.remove(&job) {
            Some((op, answer)) if ok => self.keep(cx, op, answer),
            Some((op, answer)) => self.lose(cx, op, answer.peer, Some(Offence::BadSignature)),
            None => {}
        }
    }

    /// Providers of a publisher's log, found on request of `NeedHolders`.
    pub(crate) fn handle_holders(&mut self, cx: &mut Cx<'_>, publisher: PublisherId, holders: &[PeerIx]) {
        let own = cx.peers.find(&cx.local.id);
        let waits = |gathering: &Gathering| {
            let of_publisher = matches!(gathering.question, Question::Find { publisher: of, .. } if of == publisher);
            of_publisher && gathering.sought_holders && gathering.open == 0
        };
        let waiting: Vec<_> =
            self.gatherings.iter().filter(|(_, gathering)| waits(gathering)).map(|(op, _)| *op).collect();
        for op in waiting {
            for holder in holders.iter().copied().filter(|holder| Some(*holder) != own) {
                self.ask(cx, op, holder);
            }
            self.finish_if_done(cx, op);
        }
    }

    pub(crate) fn handle_timeout(&mut self, cx: &mut Cx<'_>) {
        while let Some(op) = self.timers.pop_due(cx.now) {
            let Some(gathering) = self.gatherings.get_mut(&op) else { continue };
            if gathering.end_at <= cx.now {
                self.finish(op);
            } else {
                gathering.hedged = true;
                self.timers.set(op, gathering.end_at);
                self.ask_more(cx, op);
            }
        }
    }

    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.timers.next()
    }

    pub(crate) fn poll_event(&mut self) -> Option<LightEvent> {
        self.events.pop_front()
    }

    fn start(&mut self, cx: &mut Cx<'_>, op: OpId, question: Question) {
        let gathering = Gathering {
            question,
            asked: Vec::new(),
            open: 0,
            answers: Vec::new(),
            hedged: false,
            sought_holders: false,
            end_at: cx.now + PATIENCE,
        };
        self.gatherings.insert(op, gathering);
        self.timers.set(op, cx.now + SLOW);
        self.ask_more(cx, op);
    }

    /// Asks random peers that were not asked, until enough have answered or may still answer in time.
    fn ask_more(&mut self, cx: &mut Cx<'_>, op: OpId) {
        let Some(gathering) = self.gatherings.get(&op) else { return };
        let hoped_for = gathering.answers.len() + if gathering.hedged { 0 } else { gathering.open };
        let wanted = WANTED.saturating_sub(hoped_for).min(MAX_ASKED.saturating_sub(gathering.asked.len()));
        let fresh: Vec<_> = self.partners.keys().copied().filter(|peer| !gathering.asked.contains(peer)).collect();
        for peer in cx.rng.sample(fresh, wanted) {
            self.ask(cx, op, peer);
        }
        self.finish_if_done(cx, op);
    }

    fn ask(&mut self, cx: &mut Cx<'_>, op: OpId, peer: PeerIx) {
        let Some(gathering) = self.gatherings.get_mut(&op) else { return };
        if gathering.asked.len() >= MAX_ASKED || gathering.asked.contains(&peer) {
            return;
        }
        gathering.asked.push(peer);
        // A partner asked too often lately is left out; asking would only get it to complain.
        if self.partners.get_mut(&peer).is_some_and(|pace| pace.take(cx.now, &ASKED).is_err()) {
            return;
        }
        let msg = match &gathering.question {
            Question::Search { query, .. } => {
                let limit = query.limit.saturating_add(MARGIN).min(MAX_FOUND);
                RegistryMessage::Search(Query { limit, ..query.clone() })
            }
            Question::Find { spec, .. } => RegistryMessage::Find(spec.clone()),
        };
        gathering.open += 1;
        let id = cx.request(Owner::Light, peer, msg);
        self.requests.insert(id, (op, peer));
    }

    /// A verified answer.
    fn keep(&mut self, cx: &mut Cx<'_>, op: OpId, answer: Answer) {
        let Some(gathering) = self.gatherings.get_mut(&op) else { return };
        gathering.open = gathering.open.saturating_sub(1);
        gathering.answers.push(answer);
        self.finish_if_done(cx, op);
    }

    /// No answer, or one that is worth nothing: another peer takes its place.
    fn lose(&mut self, cx: &mut Cx<'_>, op: OpId, peer: PeerIx, offence: Option<Offence>) {
        if let Some(offence) = offence {
            cx.charge(peer, offence);
        }
        if let Some(gathering) = self.gatherings.get_mut(&op) {
            gathering.open = gathering.open.saturating_sub(1);
            self.ask_more(cx, op);
        }
    }

    /// A gathering that nobody was there to be asked for waits until its deadline.
    fn finish_if_done(&mut self, cx: &mut Cx<'_>, op: OpId) {
        let Some(gathering) = self.gatherings.get_mut(&op) else { return };
        let wanted = if planted!(cx.config, LightBelievesFirst) { 1 } else { WANTED };
        let enough = gathering.answers.len() >= wanted;
        if gathering.asked.is_empty() && cx.peers.has_entrance() || gathering.open > 0 && !enough {
            return;
        }
        let nothing = gathering.answers.iter().all(|answer| answer.releases.is_empty());
        match gathering.question {
            Question::Find { publisher, .. } if nothing && !gathering.sought_holders => {
                gathering.sought_holders = true;
                self.events.push_back(LightEvent::NeedHolders { publisher });
            }
            Question::Find { .. } | Question::Search { .. } => self.finish(op),
        }
    }

    fn finish(&mut self, op: OpId) {
        self.timers.clear(op);
        let Some(Gathering { question, asked, answers, .. }) = self.gatherings.remove(&op) else { return };
        if answers.is_empty() {
            let (asked, answered) = (asked.len() as u32, 0);
            let error = if asked == 0 { OpError::NoPeers } else { OpError::Timeout { asked, answered } };
            return self.events.push_back(LightEvent::Failed { op, error });
        }
        match question {
            Question::Search { query, parsed } => {
                let page = merge::page(&query, &parsed, &answers);
                page.hits.iter().for_each(|hit| self.remember(&hit.release));
                self.events.push_back(LightEvent::Searched { op, page });
            }
            Question::Find { spec, .. } => match merge::resolve(&spec, &answers) {
                Ok(release) => {
                    self.remember(&release);
                    self.events.push_back(LightEvent::Resolved { op, release });
                }
                Err(why) => self.events.push_back(LightEvent::Failed { op, error: why.into() }),
            },
        }
    }

    fn remember(&mut self, release: &Arc<ReleaseInfo>) {
        self.known.retain(|known| known.statement != release.statement);
        self.known.push_back(release.clone());
        if self.known.len() > MAX_KNOWN {
            self.known.pop_front();
        }
    }

    /// Whose package of that name earlier results showed, when it was one publisher's alone.
    fn only_publisher(&self, spec: &PackageSpec) -> Option<PublisherId> {
        let named = self.known.iter().filter(|known| known.release.meta.name == spec.name);
        let mut publishers = named.map(|known| known.release.publisher);
        let first = publishers.next()?;
        publishers.all(|publisher| publisher == first).then_some(first)
    }
}
