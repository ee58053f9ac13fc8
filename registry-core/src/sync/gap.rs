//! One publisher's missing statements, fetched from one source after the other.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use bytes::Bytes;

use super::ahead::{Ahead, MAX_AHEAD, Turn};
use super::{Asker, FAULT, Sync, SyncEvent, Timer};
use crate::catalog::{Catalog, MAX_RUN, Verdict};
use crate::cx::Cx;
use crate::id::{PeerIx, PublisherId, RequestId};
use crate::peers::Offence;
use crate::time::{Duration, Instant};
use crate::wire::registry::{PublisherState, RegistryMessage};

/// Gaps worked on at once.
const MAX_ACTIVE: usize = 16;

/// Of these, so many are left to rounds, however many heads were heard.
const ROUNDS_SHARE: usize = 4;

/// On top of these, of those that the application waits for: others may last for minutes, whoever has opened them.
const URGENT_SHARE: usize = 4;

/// Gaps known at once; further ones are left to the next round. Urgent ones come on top: at most one per operation.
const MAX_GAPS: usize = 1024;

/// Connected peers tried before holders are looked for, and holders tried after that.
const MAX_SOURCES: usize = 6;

/// The catalogue's verdict takes signature checks and a commit; this long is a fault of this node.
const VERDICT_DEADLINE: Duration = Duration::from_secs(60);

/// A lookup for holders takes at most a minute.
const HOLDERS_DEADLINE: Duration = Duration::from_secs(90);

/// However willing the sources, a gap ends after this and the time that what they bring may take.
const GAP_DEADLINE: Duration = Duration::from_secs(600);

/// What durable statements may take, in bytes a second: a gap, and a round, goes on for as long as it brings more.
const LEAST_RATE: u64 = 64 * 1024;

/// To be wanted of a log when nobody has said how long it is: the gap ends well when none of its sources has more.
pub(crate) const EVERYTHING: u64 = PublisherState::FORKED - 1;

/// A log this node has less of than somebody says there is, or a proof it lacks.
#[derive(Debug)]
pub(super) struct Gap {
    /// Filled when the log here is so long; `PublisherState::FORKED` when what is missing is the proof.
    pub(super) want: u64,
    /// Asked for by `catch_up`, which is owed a `CaughtUp`.
    owed: bool,
    /// The application waits for it.
    urgent: bool,
    /// The peer whose round claimed it, and the length it claimed, which may be less than what is wanted since.
    round: Option<(PeerIx, u64)>,
    give_up_at: Instant,
    /// Asked as long as it delivers.
    current: Option<PeerIx>,
    /// To be tried next, in order.
    sources: VecDeque<PeerIx>,
    tried: Vec<PeerIx>,
    sought_holders: bool,
    /// Some of it is durable.
    fruitful: bool,
    /// The last run was whole, and came so soon that several may be asked for at once.
    pub(super) quick: bool,
    pub(super) ahead: Ahead,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// Waits for its turn.
    Queued,
    /// The next step may be taken, as soon as the pace allows.
    Ready,
    /// A source was asked for something.
    Asked { source: PeerIx, request: RequestId, missing: Missing },
    /// The catalogue, which held so much when the source was asked, judges what came: a whole run, or less.
    Judging { source: PeerIx, ticket: u64, held: u64, bytes: u64, whole: bool },
    /// Holders are looked for.
    Seeking,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Missing {
    /// The statements from this position on.
    From(u64),
    /// The proof that the publisher has contradicted itself.
    Proof,
}

impl Gap {
    pub(super) fn is_judging(&self, ticket: u64) -> bool {
        matches!(self.state, State::Judging { ticket: judged, .. } if judged == ticket)
    }

    #[cfg(test)]
    pub(super) fn wanted(&self) -> u64 {
        self.want
    }

    fn add_sources(&mut self, local: Option<PeerIx>, sources: impl IntoIterator<Item = PeerIx>) {
        for source in sources.into_iter().filter(|source| Some(*source) != local) {
            if !self.tried.contains(&source) && !self.sources.contains(&source) && self.sources.len() < MAX_SOURCES {
                self.sources.push_back(source);
            }
        }
    }
}

impl Sync {
    /// The catalogue is behind a known head: fetch the publisher's log up to the length `want`, from `source` first.
    /// Ends in `CaughtUp`. What the application waits for is `urgent`: it goes before all that was only heard of.
    pub(crate) fn catch_up(
        &mut self,
        cx: &mut Cx<'_>,
        catalog: &Catalog,
        publisher: PublisherId,
        want: u64,
        source: Option<PeerIx>,
        urgent: bool,
    ) {
        // What a round is fetching has no other source than the peer of the round.
        let is_of_round = self.gaps.get(&publisher).is_some_and(|gap| !gap.owed);
        let partners = if is_of_round { self.willing_partners(cx) } else { Vec::new() };
        if let Some(gap) = self.gaps.get_mut(&publisher) {
            // A length that was only claimed gives way to one that was signed.
            gap.want = if gap.owed { gap.want.max(want) } else { want };
            gap.owed = true;
            gap.urgent |= urgent;
            gap.add_sources(None, source.into_iter().chain(partners));
            if urgent && gap.state == State::Queued {
                self.queue.retain(|queued| *queued != publisher);
                self.queue.push_front(publisher);
            }
        } else if held(catalog, publisher) >= want {
            self.events.push_back(SyncEvent::CaughtUp { publisher, ok: true });
        } else if self.gaps.len() >= MAX_GAPS && !urgent {
            self.events.push_back(SyncEvent::CaughtUp { publisher, ok: false });
        } else {
            self.open_gap(cx, publisher, want, source, urgent);
            if urgent {
                self.queue.push_front(publisher);
            } else {
                self.queue.push_back(publisher);
            }
        }
        self.drive(cx, catalog);
    }

    /// Providers of the publisher's log, found on request of `NeedHolders`.
    pub(crate) fn handle_holders(
        &mut self,
        cx: &mut Cx<'_>,
        catalog: &Catalog,
        publisher: PublisherId,
        holders: &[PeerIx],
    ) {
        let Some(gap) = self.gaps.get_mut(&publisher).filter(|gap| gap.state == State::Seeking) else { return };
        gap.add_sources(cx.peers.find(&cx.local.id), holders.iter().copied());
        gap.state = State::Ready;
        self.proceed(cx, catalog, publisher);
        self.drive(cx, catalog);
    }

    /// Fetches what the peer of a round claims, unless that is settled or under way.
    pub(super) fn fetch_claim(&mut self, cx: &mut Cx<'_>, catalog: &Catalog, peer: PeerIx, claim: PublisherState) {
        let publisher = claim.publisher;
        if held(catalog, publisher) >= claim.length
            || !catalog.would_take(&claim)
            || self.ignored.is_active(cx.now, (peer, publisher))
        {
            return;
        }
        if let Some(gap) = self.gaps.get_mut(&publisher) {
            if gap.state == State::Queued {
                gap.sources.push_front(peer);
                self.queue.retain(|queued| *queued != publisher);
                self.start_queued_gap(cx, catalog, publisher);
            }
            return;
        }
        self.open_gap(cx, publisher, claim.length, Some(peer), false);
        if let (Some(gap), Some(round)) = (self.gaps.get_mut(&publisher), self.rounds.get_mut(&peer)) {
            gap.round = Some((peer, claim.length));
            gap.owed = false;
            gap.state = State::Ready;
            round.open += 1;
        }
        self.proceed(cx, catalog, publisher);
    }

    fn open_gap(&mut self, cx: &mut Cx<'_>, publisher: PublisherId, want: u64, source: Option<PeerIx>, urgent: bool) {
        let gap = Gap {
            want,
            owed: true,
            urgent,
            round: None,
            give_up_at: cx.now + GAP_DEADLINE,
            current: None,
            sources: source.into_iter().collect(),
            tried: Vec::new(),
            sought_holders: false,
            fruitful: false,
            quick: false,
            ahead: Ahead::default(),
            state: State::Queued,
        };
        self.gaps.insert(publisher, gap);
    }

    pub(super) fn start_queued_gaps(&mut self, cx: &mut Cx<'_>, catalog: &Catalog) {
        while let Some(publisher) = self.queue.front().copied() {
            let urgent = self.gaps.get(&publisher).is_some_and(|gap| gap.urgent);
            let most = if urgent { MAX_ACTIVE + URGENT_SHARE } else { MAX_ACTIVE - ROUNDS_SHARE };
            if self.active_gaps() >= most {
                return;
            }
            self.queue.pop_front();
            self.start_queued_gap(cx, catalog, publisher);
        }
    }

    fn start_queued_gap(&mut self, cx: &mut Cx<'_>, catalog: &Catalog, publisher: PublisherId) {
        let partners = self.willing_partners(cx);
        if let Some(gap) = self.gaps.get_mut(&publisher) {
            gap.add_sources(None, partners);
            gap.state = State::Ready;
        }
        self.proceed(cx, catalog, publisher);
    }

    /// Some connected peers that keep their word, in random order.
    pub(super) fn willing_partners(&self, cx: &mut Cx<'_>) -> Vec<PeerIx> {
        let willing: Vec<_> =
            self.partners.keys().copied().filter(|peer| !self.shunned.is_active(cx.now, *peer)).collect();
        cx.rng.sample(willing, MAX_SOURCES)
    }

    /// Takes the next step of a gap whose last one is over.
    fn proceed(&mut self, cx: &mut Cx<'_>, catalog: &Catalog, publisher: PublisherId) {
        let Some(gap) = self.gaps.get_mut(&publisher) else { return };
        if gap.state != State::Ready {
            return;
        }
        let (from, everything) = (held(catalog, publisher), gap.want == EVERYTHING);
        let abandoned = !gap.owed && gap.round.is_none_or(|(peer, _)| !self.rounds.contains_key(&peer));
        if from >= gap.want {
            return self.end_gap(publisher, true);
        }
        if abandoned || gap.give_up_at <= cx.now {
            return self.end_gap(publisher, false);
        }
        if self.take_piece(cx, publisher, from) {
            return self.look_ahead(cx, publisher, from);
        }
        let Some(gap) = self.gaps.get_mut(&publisher) else { return };
        match gap.current.or_else(|| gap.sources.pop_front()) {
            Some(source) => {
                gap.current = Some(source);
                if !gap.tried.contains(&source) {
                    gap.tried.push(source);
                }
                self.ask_source(cx, publisher, source, from);
                self.look_ahead(cx, publisher, from);
            }
            None if gap.owed && !gap.sought_holders => {
                gap.sought_holders = true;
                gap.state = State::Seeking;
                self.timers.set(Timer::Gap(publisher), cx.now + HOLDERS_DEADLINE);
                self.events.push_back(SyncEvent::NeedHolders { publisher });
            }
            None => self.end_gap(publisher, everything),
        }
    }

    /// The run that follows what is held is judged, or waited for, when it was asked for before its turn.
    fn take_piece(&mut self, cx: &mut Cx<'_>, publisher: PublisherId, held: u64) -> bool {
        let Some(gap) = self.gaps.get_mut(&publisher) else { return false };
        let (turn, given_up) = gap.ahead.take(held);
        match turn {
            Some(Turn::Asked { source, request, from, until }) => {
                gap.state = State::Asked { source, request, missing: Missing::From(from) };
                self.timers.set(Timer::Gap(publisher), until.max(cx.now + Duration::from_millis(1)));
            }
            Some(Turn::Here { source, record, from, entries }) => {
                let bytes = size_of(&entries);
                let event = SyncEvent::Entries { ticket: self.next_ticket, source, record, from, entries };
                self.judge(cx, publisher, source, held, bytes, event);
            }
            None => {}
        }
        self.cancel(given_up);
        !matches!(self.gaps.get(&publisher), Some(Gap { state: State::Ready, .. }))
    }

    /// Lets the catalogue judge what a source sent, under the next ticket.
    fn judge(
        &mut self,
        cx: &mut Cx<'_>,
        publisher: PublisherId,
        source: PeerIx,
        held: u64,
        bytes: u64,
        event: SyncEvent,
    ) {
        let Some(gap) = self.gaps.get_mut(&publisher) else { return };
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        let whole = matches!(&event, SyncEvent::Entries { entries, .. } if entries.len() >= MAX_RUN);
        gap.state = State::Judging { source, ticket, held, bytes, whole };
        self.timers.set(Timer::Gap(publisher), cx.now + VERDICT_DEADLINE);
        self.events.push_back(event);
    }

    fn ask_source(&mut self, cx: &mut Cx<'_>, publisher: PublisherId, source: PeerIx, from: u64) {
        let missing = match self.gaps.get(&publisher).map(|gap| gap.want) {
            Some(PublisherState::FORKED) => Missing::Proof,
            _ => Missing::From(from),
        };
        let question = match missing {
            Missing::From(from) => RegistryMessage::GetLog { publisher, from },
            Missing::Proof => RegistryMessage::GetProof { publisher },
        };
        let asked = self.ask(cx, Asker::Gap(publisher), source, question);
        let Some(gap) = self.gaps.get_mut(&publisher) else { return };
        let (state, at) = match asked {
            Ok(request) => {
                let timeout = cx.config.sync.request_timeout.max(Duration::from_millis(1));
                (State::Asked { source, request, missing }, cx.now + timeout)
            }
            Err(at) => (State::Ready, at),
        };
        gap.state = state;
        self.timers.set(Timer::Gap(publisher), at);
    }

    pub(super) fn handle_gap_answer(
        &mut self,
        cx: &mut Cx<'_>,
        catalog: &Catalog,
        publisher: PublisherId,
        id: RequestId,
        msg: &RegistryMessage,
    ) {
        let Some(gap) = self.gaps.get(&publisher) else { return };
        let State::Asked { source, request, missing } = gap.state else {
            return self.handle_piece(cx, publisher, id, Some(msg));
        };
        if request != id {
            return self.handle_piece(cx, publisher, id, Some(msg));
        }
        let claim = gap.round.filter(|(peer, _)| *peer == source && self.rounds.contains_key(peer));
        self.note_pace(cx, publisher, msg);
        self.timers.clear(Timer::Gap(publisher));
        let ticket = self.next_ticket;
        let (bytes, event) = match (missing, msg) {
            (Missing::From(asked), RegistryMessage::Log { record, from, entries })
                if *from == asked && (!record.is_empty() || entries.is_empty()) =>
            {
                // A head of the own log is news even alone: what it counts must not be signed again.
                let is_own = cx.local.publisher.as_ref().is_some_and(|own| own.id == publisher);
                let is_news = !entries.is_empty() || is_own && !record.is_empty();
                let from = if entries.is_empty() { 0 } else { asked };
                let (record, entries) = (record.clone(), entries.clone());
                let bytes = size_of(&entries);
                (bytes, is_news.then_some(SyncEvent::Entries { ticket, source, record, from, entries }))
            }
            (Missing::Proof, RegistryMessage::Proof { proof }) => {
                let event = SyncEvent::Proof { ticket, source, proof: proof.clone() };
                (proof.len() as u64, (!proof.is_empty()).then_some(event))
            }
            _ => return self.fail_source(cx, catalog, publisher, Some(FAULT)),
        };
        let held = held(catalog, publisher);
        if claim.is_some_and(|(_, claimed)| bytes == 0 && held < claimed) {
            self.fail_source(cx, catalog, publisher, Some(FAULT));
        } else if let Some(event) = event {
            self.judge(cx, publisher, source, held, bytes, event);
        } else {
            self.give_up_on(publisher, source);
            self.proceed(cx, catalog, publisher);
        }
    }

    /// Where one run takes more than a quarter of the time there is, several at once may all come too late. A run that
    /// was cut short by its bytes does not tell where the next ones begin: what is asked for ahead would come twice.
    fn note_pace(&mut self, cx: &Cx<'_>, publisher: PublisherId, answer: &RegistryMessage) {
        let whole = matches!(answer, RegistryMessage::Log { entries, .. } if entries.len() >= MAX_RUN);
        let left = self.timers.get(Timer::Gap(publisher)).map_or(Duration::ZERO, |at| at.since(cx.now));
        if let Some(gap) = self.gaps.get_mut(&publisher) {
            let in_time = left.saturating_mul(1 + MAX_AHEAD as u32)
                >= cx.config.sync.request_timeout.saturating_mul(MAX_AHEAD as u32);
            gap.quick = whole && in_time;
        }
    }

    /// A request for a gap brought nothing.
    pub(super) fn handle_gap_failed(
        &mut self,
        cx: &mut Cx<'_>,
        catalog: &Catalog,
        publisher: PublisherId,
        id: RequestId,
    ) {
        match self.gaps.get(&publisher).map(|gap| gap.state) {
            Some(State::Asked { request, .. }) if request == id => self.fail_source(cx, catalog, publisher, None),
            _ => self.handle_piece(cx, publisher, id, None),
        }
    }

    pub(super) fn handle_gap_judged(
        &mut self,
        cx: &mut Cx<'_>,
        catalog: &Catalog,
        publisher: PublisherId,
        verdict: Verdict,
    ) {
        self.timers.clear(Timer::Gap(publisher));
        let Some(gap) = self.gaps.get_mut(&publisher) else { return };
        let State::Judging { source, held: before, bytes, whole, .. } = gap.state else { return };
        let want = gap.want;
        match verdict {
            Verdict::Accept if held(catalog, publisher) > before => {
                gap.state = State::Ready;
                // Others may have more than who sends little at a time.
                if !whole && gap.current.take_if(|current| *current == source).is_some() {
                    gap.sources.push_back(source);
                }
                let earned = Duration::from_micros(bytes.saturating_mul(1_000_000) / LEAST_RATE);
                gap.give_up_at = gap.give_up_at + earned;
                let long = gap.want.saturating_sub(before) > 2 * MAX_RUN as u64;
                let needs_help = long && !core::mem::replace(&mut gap.fruitful, true);
                if let Some((peer, _)) = gap.round {
                    self.prolong_round(peer, earned);
                }
                self.ignored.forgive((source, publisher));
                if needs_help {
                    self.find_helpers(cx, publisher, source);
                }
                self.proceed(cx, catalog, publisher);
            }
            Verdict::Accept | Verdict::Ignore => {
                self.give_up_on(publisher, source);
                if bytes > 0 && held(catalog, publisher) < want {
                    self.ignored.note(cx.now, (source, publisher));
                }
                self.proceed(cx, catalog, publisher);
            }
            Verdict::Reject => {
                self.shunned.note(cx.now, source);
                self.fail_source(cx, catalog, publisher, None);
            }
        }
    }

    pub(super) fn handle_gap_due(&mut self, cx: &mut Cx<'_>, catalog: &Catalog, publisher: PublisherId) {
        let Some(gap) = self.gaps.get_mut(&publisher) else { return };
        match gap.state {
            State::Asked { request, .. } => {
                self.requests.remove(&request);
                self.fail_source(cx, catalog, publisher, None);
            }
            State::Seeking | State::Judging { .. } => self.end_gap(publisher, false),
            State::Ready => self.proceed(cx, catalog, publisher),
            State::Queued => {}
        }
    }

    /// The source did not deliver: the next one is tried. A claim of its round that it breaks ends that round.
    pub(super) fn fail_source(
        &mut self,
        cx: &mut Cx<'_>,
        catalog: &Catalog,
        publisher: PublisherId,
        offence: Option<Offence>,
    ) {
        let Some(gap) = self.gaps.get_mut(&publisher) else { return };
        let (State::Asked { source, .. } | State::Judging { source, .. }) = gap.state else { return };
        let of_round = gap.round.is_some_and(|(peer, _)| peer == source);
        self.give_up_on(publisher, source);
        if of_round {
            self.fail_round(cx, source, offence);
        } else if let Some(offence) = offence {
            self.shunned.note(cx.now, source);
            cx.charge(source, offence);
        }
        self.timers.clear(Timer::Gap(publisher));
        self.proceed(cx, catalog, publisher);
    }

    /// The next step is taken without this source.
    fn give_up_on(&mut self, publisher: PublisherId, source: PeerIx) {
        if let Some(gap) = self.gaps.get_mut(&publisher) {
            gap.state = State::Ready;
            gap.current = gap.current.filter(|current| *current != source);
        }
        self.drop_helper(publisher, source);
    }

    fn end_gap(&mut self, publisher: PublisherId, ok: bool) {
        self.timers.clear(Timer::Gap(publisher));
        let Some(gap) = self.gaps.remove(&publisher) else { return };
        if let State::Asked { request, .. } = gap.state {
            self.requests.remove(&request);
        }
        self.cancel(gap.ahead.requests());
        if let Some(round) = gap.round.and_then(|(peer, _)| self.rounds.get_mut(&peer)) {
            round.open = round.open.saturating_sub(1);
        }
        if gap.owed {
            self.events.push_back(SyncEvent::CaughtUp { publisher, ok });
        }
    }

    pub(super) fn has_gap_room(&self) -> bool {
        self.active_gaps() < MAX_ACTIVE
    }

    fn active_gaps(&self) -> usize {
        self.gaps.len() - self.queue.len()
    }
}

/// Of a publisher that is proven to have contradicted itself nothing is missing any more.
pub(super) fn held(catalog: &Catalog, publisher: PublisherId) -> u64 {
    catalog.claim(publisher).map_or(0, |state| state.length)
}

fn size_of(entries: &[Bytes]) -> u64 {
    entries.iter().map(|entry| entry.len() as u64).sum()
}
