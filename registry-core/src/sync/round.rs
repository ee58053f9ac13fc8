//! One round with one peer: compare fingerprints, page through what differs, fetch what is missing here.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use super::serve::range_of;
use super::{Asker, FAULT, Sync, SyncEvent, Timer};
use crate::catalog::Catalog;
use crate::cx::Cx;
use crate::id::{Digest, PeerIx, PublisherId, RequestId};
use crate::peers::Offence;
use crate::time::Duration;
use crate::wire::registry::{MAX_PUBLISHERS, PublisherState, RANGES, RegistryMessage};

/// Rounds at once: a second one goes on while the first waits for a slow peer.
const MAX_ROUNDS: usize = 2;

/// A round ends after this, done or not; a later one goes on where it stopped.
const ROUND_DEADLINE: Duration = Duration::from_secs(120);

/// Pages of publishers asked for in one round: half a million publishers.
const MAX_PAGES: u32 = 128;

/// Logs fetched at once in one round.
const MAX_OPEN: u32 = 4;

/// A round under way.
#[derive(Debug)]
pub(super) struct Round {
    request: Option<RequestId>,
    stage: Stage,
    pages: u32,
    /// What the peer claims to have more of, of the last page; at most `MAX_PUBLISHERS`.
    wanted: VecDeque<PublisherState>,
    /// Gaps being fetched for this round.
    pub(super) open: u32,
}

#[derive(Debug)]
enum Stage {
    /// The summary is asked for, or not yet.
    Summary,
    /// Ranges that differ, and where to go on in the first of them.
    Pages { ranges: VecDeque<u8>, after: Option<PublisherId> },
}

impl Sync {
    /// With some connected peer that keeps its word.
    pub(super) fn start_random_round(&mut self, cx: &mut Cx<'_>) {
        let candidates: Vec<_> = self
            .partners
            .keys()
            .copied()
            .filter(|peer| !self.rounds.contains_key(peer) && !self.shunned.is_active(cx.now, *peer))
            .collect();
        let chosen = cx.rng.index(candidates.len());
        if let Some(peer) = candidates.get(chosen)
            && self.has_round_room()
        {
            self.start_round(cx, *peer);
        }
    }

    /// First rounds, as many as there is room for.
    pub(super) fn start_due_rounds(&mut self, cx: &mut Cx<'_>) {
        while self.has_round_room() {
            let Some(peer) = self.due.pop_front() else { return };
            let willing = self.partners.contains_key(&peer) && !self.shunned.is_active(cx.now, peer);
            if willing && !self.rounds.contains_key(&peer) {
                self.start_round(cx, peer);
            }
        }
    }

    pub(super) fn has_round_room(&self) -> bool {
        self.rounds.len() < MAX_ROUNDS
    }

    fn start_round(&mut self, cx: &mut Cx<'_>, peer: PeerIx) {
        let round = Round { request: None, stage: Stage::Summary, pages: 0, wanted: VecDeque::new(), open: 0 };
        self.timers.clear(Timer::Due(peer));
        self.timers.set(Timer::Round(peer), cx.now + ROUND_DEADLINE);
        self.rounds.insert(peer, round);
    }

    pub(super) fn end_round(&mut self, peer: PeerIx) {
        self.timers.clear(Timer::Step(peer));
        self.timers.clear(Timer::Round(peer));
        if let Some(request) = self.rounds.remove(&peer).and_then(|round| round.request) {
            self.requests.remove(&request);
        }
    }

    /// The peer did not keep its word, or did not answer: no rounds with it for a while.
    pub(super) fn fail_round(&mut self, cx: &mut Cx<'_>, peer: PeerIx, offence: Option<Offence>) {
        if self.rounds.contains_key(&peer) {
            self.end_round(peer);
            self.shunned.note(cx.now, peer);
        }
        if let Some(offence) = offence {
            cx.charge(peer, offence);
        }
    }

    pub(super) fn handle_step_due(&mut self, cx: &mut Cx<'_>, peer: PeerIx) {
        if self.rounds.get(&peer).is_some_and(|round| round.request.is_some()) {
            self.fail_round(cx, peer, None);
        }
    }

    pub(super) fn handle_round_answer(
        &mut self,
        cx: &mut Cx<'_>,
        catalog: &Catalog,
        peer: PeerIx,
        msg: &RegistryMessage,
    ) {
        self.timers.clear(Timer::Step(peer));
        let Some(round) = self.rounds.get_mut(&peer) else { return };
        round.request = None;
        let sound = match (&round.stage, msg) {
            (Stage::Summary, RegistryMessage::Summary { fingerprints }) => {
                self.handle_summary(catalog, peer, fingerprints)
            }
            (Stage::Pages { .. }, RegistryMessage::Publishers { entries, more }) => {
                self.handle_page(catalog, peer, entries, *more)
            }
            (
                Stage::Summary | Stage::Pages { .. },
                RegistryMessage::Summary { .. }
                | RegistryMessage::Publishers { .. }
                | RegistryMessage::GetSummary
                | RegistryMessage::GetPublishers { .. }
                | RegistryMessage::GetLog { .. }
                | RegistryMessage::Log { .. },
            ) => false,
        };
        if !sound {
            self.fail_round(cx, peer, Some(FAULT));
        }
    }

    fn handle_summary(&mut self, catalog: &Catalog, peer: PeerIx, theirs: &[Digest]) -> bool {
        let ours = self.fingerprints.all(catalog);
        let ranges = (0..RANGES).zip(ours.iter().zip(theirs)).filter(|(_, (a, b))| a != b).map(|(range, _)| range);
        if let Some(round) = self.rounds.get_mut(&peer) {
            round.stage = Stage::Pages { ranges: ranges.collect(), after: None };
        }
        theirs.len() == ours.len()
    }

    /// Notes what the peer claims to have more of. False when the page is not in order, not of the range, or endless.
    fn handle_page(&mut self, catalog: &Catalog, peer: PeerIx, entries: &[PublisherState], more: bool) -> bool {
        let Some(Round { stage: Stage::Pages { ranges, after }, wanted, .. }) = self.rounds.get_mut(&peer) else {
            return false;
        };
        let Some(range) = ranges.front().copied() else { return false };
        let mut last = *after;
        for state in entries {
            if range_of(state.publisher) != range || last.is_some_and(|last| last >= state.publisher) {
                return false;
            }
            last = Some(state.publisher);
        }
        if entries.len() > MAX_PUBLISHERS || (more && entries.is_empty()) {
            return false;
        }
        let held = |publisher| catalog.state(publisher).map_or(0, |state| state.length);
        wanted.extend(entries.iter().filter(|state| state.length > held(state.publisher)));
        *after = last;
        if !more {
            ranges.pop_front();
            *after = None;
        }
        true
    }

    /// Starts fetching what is wanted; asks for the next page when nothing is; ends the round when all is done.
    pub(super) fn advance_round(&mut self, cx: &mut Cx<'_>, catalog: &Catalog, peer: PeerIx) {
        loop {
            let room = self.has_gap_room();
            let Some(round) = self.rounds.get_mut(&peer) else { return };
            if round.open >= MAX_OPEN || !room {
                return;
            }
            let Some(claim) = round.wanted.pop_front() else { break };
            self.fetch_claim(cx, catalog, peer, claim);
        }
        let Some(round) = self.rounds.get_mut(&peer) else { return };
        if round.request.is_some() || self.timers.get(Timer::Step(peer)).is_some() {
            return;
        }
        let question = match &round.stage {
            Stage::Summary => Some(RegistryMessage::GetSummary),
            Stage::Pages { ranges, after } if round.pages < MAX_PAGES => {
                ranges.front().map(|range| RegistryMessage::GetPublishers { range: *range, after: *after })
            }
            Stage::Pages { .. } => None,
        };
        match question {
            Some(question) => self.ask_step(cx, peer, question),
            None if round.open == 0 => {
                self.end_round(peer);
                self.shunned.forgive(peer);
                if !core::mem::replace(&mut self.compared, true) {
                    self.events.push_back(SyncEvent::Compared);
                }
            }
            None => {}
        }
    }

    fn ask_step(&mut self, cx: &mut Cx<'_>, peer: PeerIx, question: RegistryMessage) {
        let asked = self.ask(cx, Asker::Round(peer), peer, question);
        let Some(round) = self.rounds.get_mut(&peer) else { return };
        match asked {
            Ok(request) => {
                round.request = Some(request);
                round.pages += 1;
                self.timers
                    .set(Timer::Step(peer), cx.now + cx.config.sync.request_timeout.max(Duration::from_millis(1)));
            }
            Err(at) => self.timers.set(Timer::Step(peer), at),
        }
    }
}
