//! One round with one peer: compare ranges, smaller ones where they differ, and fetch what is missing here.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use super::gap::held;
use super::tree::{NOTHING, digest_of_parts};
use super::{Asker, FAULT, Sync, SyncEvent, Timer};
use crate::catalog::Catalog;
use crate::cx::Cx;
use crate::id::{Digest, PeerIx, RequestId};
use crate::peers::Offence;
use crate::time::Duration;
use crate::wire::registry::{Difference, MAX_RANGES, PARTS, PublisherState, Range, RangeDigest, RegistryMessage};

/// Rounds at once: a second one goes on while the first waits for a slow peer.
const MAX_ROUNDS: usize = 2;

/// A round ends after this and the time that what it brings may take, done or not; a later one goes on where it stopped.
const ROUND_DEADLINE: Duration = Duration::from_secs(120);

/// Questions in one round: a catalogue of 100,000 publishers in which a tenth differs takes some 250.
const MAX_QUESTIONS: u32 = 512;

/// More publishers whose ids begin with the same 64 bits than are listed: nobody has found them.
const MAX_DEPTH: u8 = 16;

/// Logs fetched at once in one round.
const MAX_OPEN: u32 = 4;

/// A round under way.
#[derive(Debug)]
pub(super) struct Round {
    request: Option<RequestId>,
    questions: u32,
    /// Ranges to be compared, the next one last. Depth first, so that few wait: at most 15 of each depth and range asked.
    ranges: Vec<Compared>,
    /// Those of the question under way.
    asked: Vec<Asked>,
    /// What the peer claims to have more of, of the last answer; at most `MAX_STATES`.
    wanted: VecDeque<PublisherState>,
    /// Gaps being fetched for this round.
    pub(super) open: u32,
    /// Something that it brought is durable.
    pub(super) fruitful: bool,
}

/// A range that may differ, and the peer's digest of it, where that is known.
#[derive(Clone, Copy, Debug)]
struct Compared {
    range: Range,
    theirs: Option<Digest>,
}

#[derive(Clone, Copy, Debug)]
struct Asked {
    compared: Compared,
    /// The digest here when the peer was asked.
    ours: Digest,
}

#[cfg(test)]
impl Round {
    /// Ranges to be compared.
    pub(super) fn waiting(&self) -> usize {
        self.ranges.len() + self.asked.len()
    }
}

impl Sync {
    /// With some connected peer that keeps its word; before all first rounds, which whoever comes and goes has many of.
    pub(super) fn start_random_round(&mut self, cx: &mut Cx<'_>) {
        let candidates: Vec<_> = self
            .partners
            .keys()
            .copied()
            .filter(|peer| !self.rounds.contains_key(peer) && !self.shunned.is_active(cx.now, *peer))
            .collect();
        let chosen = cx.rng.index(candidates.len());
        if let Some(peer) = candidates.get(chosen) {
            self.due.retain(|due| due != peer);
            self.due.push_front(*peer);
            self.start_due_rounds(cx);
        }
    }

    /// Those whose turn it is, as many as there is room for.
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
        let round = Round {
            request: None,
            questions: 0,
            ranges: alloc::vec![Compared { range: Range::ALL, theirs: None }],
            asked: Vec::new(),
            wanted: VecDeque::new(),
            open: 0,
            fruitful: false,
        };
        self.timers.clear(Timer::Due(peer));
        self.timers.set(Timer::Round(peer), cx.now + ROUND_DEADLINE);
        self.rounds.insert(peer, round);
    }

    /// What the round brought is durable.
    pub(super) fn prolong_round(&mut self, peer: PeerIx, by: Duration) {
        if let (Some(round), Some(at)) = (self.rounds.get_mut(&peer), self.timers.get(Timer::Round(peer))) {
            round.fruitful = true;
            self.timers.set(Timer::Round(peer), at + by);
        }
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

    /// The time of a round is over. Whoever has used it up without bringing anything is left alone for a while: few
    /// rounds go on at once.
    pub(super) fn handle_round_due(&mut self, cx: &mut Cx<'_>, peer: PeerIx) {
        if self.rounds.get(&peer).is_some_and(|round| round.fruitful) {
            self.end_round(peer);
        } else {
            self.fail_round(cx, peer, None);
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
        let sound = if let RegistryMessage::Differences { ranges } = msg {
            self.handle_differences(cx, catalog, peer, ranges)
        } else {
            false
        };
        if !sound {
            self.fail_round(cx, peer, Some(FAULT));
        }
    }

    /// Notes what the peer claims to have more of, and which parts differ. False when it is no answer to the question.
    fn handle_differences(&mut self, cx: &Cx<'_>, catalog: &Catalog, peer: PeerIx, answers: &[Difference]) -> bool {
        let Some(round) = self.rounds.get_mut(&peer) else { return false };
        let mut asked = core::mem::take(&mut round.asked);
        if answers.is_empty() || answers.len() > asked.len() {
            return false;
        }
        let unanswered = asked.split_off(answers.len());
        round.ranges.extend(unanswered.iter().map(|asked| asked.compared));
        let looked_at = answers.len() - usize::from(planted!(cx.config, SyncSkipsLast));
        let pairs = asked.iter().zip(answers).take(looked_at);
        pairs.rev().all(|(asked, answer)| self.handle_difference(cx, catalog, peer, asked, answer))
    }

    fn handle_difference(
        &mut self,
        cx: &Cx<'_>,
        catalog: &Catalog,
        peer: PeerIx,
        asked: &Asked,
        answer: &Difference,
    ) -> bool {
        let Asked { compared: Compared { range, theirs }, ours } = *asked;
        let (theirs, nothing_to_do) = match answer {
            Difference::None => return true,
            Difference::States(states) => {
                let in_range = states.iter().all(|state| range.contains(state.publisher));
                if !in_range || !states.is_sorted_by(|a, b| a.publisher < b.publisher) {
                    return false;
                }
                let wanted = states.iter().filter(|state| self.is_wanted(cx, catalog, peer, state));
                let wanted: Vec<_> = wanted.copied().collect();
                let done = wanted.is_empty();
                if let Some(round) = self.rounds.get_mut(&peer) {
                    round.wanted.extend(wanted);
                }
                (theirs, done)
            }
            Difference::Parts(_) if range.depth() >= MAX_DEPTH => return false,
            Difference::Parts(parts) => {
                let theirs = digest_of_parts(parts);
                if self.settled.is_active(cx.now, (peer, ours, theirs)) {
                    return true;
                }
                let differing = (0..PARTS).zip(parts.iter()).filter_map(|(part, theirs)| {
                    let range = range.part(part)?;
                    let ours = self.tree.digest(range);
                    let settled = self.settled.is_active(cx.now, (peer, ours, *theirs));
                    let differs = ours != *theirs && *theirs != NOTHING && !settled;
                    differs.then_some(Compared { range, theirs: Some(*theirs) })
                });
                let differing: Vec<_> = differing.collect();
                let done = differing.is_empty();
                if let Some(round) = self.rounds.get_mut(&peer) {
                    round.ranges.extend(differing.into_iter().rev());
                }
                (Some(theirs), done)
            }
        };
        if let Some(theirs) = theirs.filter(|_| nothing_to_do) {
            self.settled.note(cx.now, (peer, ours, theirs));
        }
        true
    }

    fn is_wanted(&self, cx: &Cx<'_>, catalog: &Catalog, peer: PeerIx, state: &PublisherState) -> bool {
        state.length > held(catalog, state.publisher) && !self.ignored.is_active(cx.now, (peer, state.publisher))
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
        match self.next_question(cx, peer) {
            Some(question) => self.ask_step(cx, peer, question),
            None => self.finish_round(cx, peer),
        }
    }

    /// Compares the next ranges that still differ; `None` when all are compared, or enough for one round.
    fn next_question(&mut self, cx: &Cx<'_>, peer: PeerIx) -> Option<RegistryMessage> {
        let round = self.rounds.get_mut(&peer).filter(|round| round.questions < MAX_QUESTIONS)?;
        while round.asked.len() < MAX_RANGES {
            let Some(compared) = round.ranges.pop() else { break };
            let ours = self.tree.digest(compared.range);
            let settled = |theirs| theirs == ours || self.settled.is_active(cx.now, (peer, ours, theirs));
            if !compared.theirs.is_some_and(settled) {
                round.asked.push(Asked { compared, ours });
            }
        }
        let ranges = round.asked.iter().map(|asked| RangeDigest { range: asked.compared.range, digest: asked.ours });
        (!round.asked.is_empty()).then(|| RegistryMessage::Compare { ranges: ranges.collect() })
    }

    fn finish_round(&mut self, cx: &mut Cx<'_>, peer: PeerIx) {
        let Some(round) = self.rounds.get(&peer).filter(|round| round.open == 0) else { return };
        if !round.ranges.is_empty() && !round.fruitful {
            return self.fail_round(cx, peer, None);
        }
        self.end_round(peer);
        self.shunned.forgive(peer);
        if !core::mem::replace(&mut self.compared, true) {
            self.events.push_back(SyncEvent::Compared);
        }
    }

    fn ask_step(&mut self, cx: &mut Cx<'_>, peer: PeerIx, question: RegistryMessage) {
        let asked = self.ask(cx, Asker::Round(peer), peer, question);
        let Some(round) = self.rounds.get_mut(&peer) else { return };
        match asked {
            Ok(request) => {
                round.request = Some(request);
                round.questions += 1;
                self.timers
                    .set(Timer::Step(peer), cx.now + cx.config.sync.request_timeout.max(Duration::from_millis(1)));
            }
            Err(at) => {
                round.ranges.extend(round.asked.drain(..).map(|asked| asked.compared).rev());
                self.timers.set(Timer::Step(peer), at);
            }
        }
    }
}
