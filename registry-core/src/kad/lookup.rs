//! The iterative lookup: which candidate to ask next, and when the closest are found.
//!
//! A lookup converges in two phases over one sorted list. Until the β closest candidates have answered it asks the
//! nearest unasked ones, at most α at a time (K4, K5). The follow-up then asks the rest of the k closest; what they
//! say is merged too, so the result is the k closest that answered (K6). A candidate that fails drops out of the
//! count and the next one moves up. A slow candidate gives its slot and its place to the next. It is waited for only
//! while what is looked for has not been found, and it is one of the β closest, or is connected and nobody has taken its
//! place.

use alloc::vec::Vec;

use crate::id::PeerIx;
use crate::kad::position::{Distance, Position};

/// Peers asked by one lookup, whatever they answer. A lookup among 20,000 peers, a quarter of them dead, asks about 60.
const MAX_ASKED: u32 = 128;

/// Referrals from the own table to a candidate. Each step of an honest network gains at least one bit; 1,000,000 peers
/// have 20.
const MAX_HOPS: u8 = 20;

/// Candidates kept, as a multiple of k: the nearest ones win.
const CANDIDATES_PER_K: usize = 12;

/// When so many peers named by one answer failed and none of them answered, the rest of that answer is not tried.
const MAX_FAILED_REFERRALS: usize = 8;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Heard,
    Waiting,
    /// Asked, and silent for longer than usual.
    Slow,
    Answered,
    Failed,
}

#[derive(Clone, Copy, Debug)]
struct Candidate {
    distance: Distance,
    peer: PeerIx,
    /// Who named it; `None` for one of the own table.
    source: Option<PeerIx>,
    hops: u8,
    state: State,
}

/// How wide and how far a lookup goes; see the module's documentation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Breadth {
    pub(crate) k: usize,
    pub(crate) alpha: usize,
    pub(crate) beta: usize,
}

/// Where an answer came from: who gave it, how many hops from the own table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Referrer {
    peer: PeerIx,
    hops: u8,
}

impl Referrer {
    pub(crate) fn peer(self) -> PeerIx {
        self.peer
    }
}

/// See the module's documentation. Sends nothing itself.
#[derive(Debug)]
pub(crate) struct Lookup {
    target: Position,
    breadth: Breadth,
    /// By ascending distance; distances are distinct because positions are.
    candidates: Vec<Candidate>,
    /// No longer candidates, see `take_dropped`.
    dropped: Vec<PeerIx>,
    asked: u32,
    answered: u32,
}

impl Lookup {
    pub(crate) fn new(target: Position, breadth: Breadth, seeds: Vec<(Distance, PeerIx)>) -> Self {
        let k = breadth.k.max(1);
        let breadth = Breadth { k, alpha: breadth.alpha.max(1), beta: breadth.beta.clamp(1, k) };
        let seed = |(distance, peer)| Candidate { distance, peer, source: None, hops: 1, state: State::Heard };
        let mut candidates: Vec<_> = seeds.into_iter().map(seed).collect();
        candidates.sort_unstable_by_key(|candidate| candidate.distance);
        candidates.dedup_by_key(|candidate| candidate.distance);
        Self { target, breadth, candidates, dropped: Vec::new(), asked: 0, answered: 0 }
    }

    pub(crate) fn target(&self) -> Position {
        self.target
    }

    pub(crate) fn asked(&self) -> u32 {
        self.asked
    }

    pub(crate) fn answered(&self) -> u32 {
        self.answered
    }

    pub(crate) fn knows(&self, peer: PeerIx) -> bool {
        self.candidates.iter().any(|candidate| candidate.peer == peer)
    }

    /// Would a candidate at this distance find room?
    pub(crate) fn wants(&self, distance: Distance) -> bool {
        self.candidates.len() < self.capacity()
            || self.candidates.iter().rev().any(|farther| farther.distance > distance && farther.is_spare())
    }

    /// Adds a candidate named by an answer; the farthest spare one makes room. True when it was added.
    pub(crate) fn insert(&mut self, peer: PeerIx, distance: Distance, by: Referrer) -> bool {
        let hops = by.hops.saturating_add(1);
        if hops > MAX_HOPS || !self.wants(distance) {
            return false;
        }
        let Err(at) = self.candidates.binary_search_by_key(&distance, |candidate| candidate.distance) else {
            return false;
        };
        let candidate = Candidate { distance, peer, source: Some(by.peer), hops, state: State::Heard };
        self.candidates.insert(at, candidate);
        if self.candidates.len() > self.capacity()
            && let Some(farthest) = self.candidates.iter().rposition(Candidate::is_spare)
        {
            self.dropped.push(self.candidates.remove(farthest).peer);
        }
        true
    }

    /// Every candidate, asked or not.
    pub(crate) fn candidates(&self) -> impl Iterator<Item = PeerIx> {
        self.candidates.iter().map(|candidate| candidate.peer)
    }

    /// Those who were candidates and are none any more, since the last call.
    pub(crate) fn take_dropped(&mut self) -> Vec<PeerIx> {
        core::mem::take(&mut self.dropped)
    }

    /// The candidate to ask now, if any: follow with `ask` or `fail`.
    pub(crate) fn next(&self) -> Option<PeerIx> {
        let (mut waiting, mut slow) = (0, 0);
        for candidate in &self.candidates {
            match candidate.state {
                State::Waiting => waiting += 1,
                State::Slow => slow += 1,
                State::Heard | State::Answered | State::Failed => {}
            }
        }
        if !self.is_within(waiting + 1, slow) || self.asked >= MAX_ASKED {
            return None;
        }
        self.nearest_live().find(|candidate| candidate.state == State::Heard).map(|candidate| candidate.peer)
    }

    /// Candidates it has heard of and will ask as soon as there is a free slot, unless closer ones turn up.
    pub(crate) fn upcoming(&self) -> impl Iterator<Item = PeerIx> {
        let heard = |candidate: &&Candidate| candidate.state == State::Heard && candidate.source.is_some();
        self.nearest_live().filter(heard).map(|candidate| candidate.peer)
    }

    /// May so many prompt and so many slow requests be in flight?
    pub(crate) fn is_within(&self, prompt: usize, slow: usize) -> bool {
        prompt <= self.breadth.alpha && prompt + slow <= 2 * self.breadth.alpha
    }

    pub(crate) fn ask(&mut self, peer: PeerIx) {
        self.set(peer, &[State::Heard], State::Waiting);
        self.asked += 1;
    }

    /// The peer takes its time.
    pub(crate) fn slow(&mut self, peer: PeerIx) {
        self.set(peer, &[State::Waiting], State::Slow);
    }

    /// The peer answered; `None` when no answer of it is waited for.
    pub(crate) fn answer(&mut self, peer: PeerIx) -> Option<Referrer> {
        let hops = self.set(peer, &[State::Waiting, State::Slow], State::Answered)?.hops;
        self.answered += 1;
        Some(Referrer { peer, hops })
    }

    /// The peer cannot be asked, or did not answer.
    pub(crate) fn fail(&mut self, peer: PeerIx) {
        let waits = [State::Heard, State::Waiting, State::Slow];
        if let Some(Candidate { source: Some(source), .. }) = self.set(peer, &waits, State::Failed) {
            self.doubt(source);
        }
    }

    /// True when nothing that could improve the result is left; `found` says that what is looked for was among the
    /// answers. It becomes true when every request ends in `answer` or `fail`: at most `MAX_ASKED` candidates are
    /// asked.
    pub(crate) fn is_finished(&self, found: bool) -> bool {
        let answered = |candidate: &Candidate| candidate.state == State::Answered;
        let nearest = self.candidates.iter().filter(|candidate| candidate.state != State::Failed);
        let converged = self.nearest_live().all(answered) && (found || nearest.take(self.breadth.beta).all(answered));
        let open = |candidate: &Candidate| matches!(candidate.state, State::Waiting | State::Slow);
        converged || (self.asked >= MAX_ASKED && !self.candidates.iter().any(open))
    }

    /// Slow candidates, if fewer than k have answered.
    pub(crate) fn unreplaced(&self) -> impl Iterator<Item = PeerIx> {
        let lacks = self.result().count() < self.breadth.k;
        let slow = self.candidates.iter().filter(move |candidate| lacks && candidate.state == State::Slow);
        slow.map(|candidate| candidate.peer)
    }

    /// The closest peers that answered, closest first, at most k.
    pub(crate) fn closest(&self) -> impl Iterator<Item = PeerIx> {
        self.result().map(|candidate| candidate.peer)
    }

    /// The longest way of a peer of the result: 1 when all were in the own table, 0 without result.
    pub(crate) fn hops(&self) -> u32 {
        self.result().map(|candidate| u32::from(candidate.hops)).max().unwrap_or(0)
    }

    fn result(&self) -> impl Iterator<Item = &Candidate> {
        self.candidates.iter().filter(|candidate| candidate.state == State::Answered).take(self.breadth.k)
    }

    /// The k closest that are neither failed nor slow.
    fn nearest_live(&self) -> impl Iterator<Item = &Candidate> {
        let live = |candidate: &&Candidate| !matches!(candidate.state, State::Failed | State::Slow);
        self.candidates.iter().filter(live).take(self.breadth.k)
    }

    fn capacity(&self) -> usize {
        (self.breadth.k * CANDIDATES_PER_K).max(MAX_ASKED as usize + 1)
    }

    fn set(&mut self, peer: PeerIx, from: &[State], to: State) -> Option<Candidate> {
        let candidate = self.candidates.iter_mut().find(|candidate| candidate.peer == peer)?;
        from.contains(&candidate.state).then(|| {
            candidate.state = to;
            *candidate
        })
    }

    /// Stops trying what `source` named when it has led nowhere.
    fn doubt(&mut self, source: PeerIx) {
        let (mut failed, mut answered) = (0, 0);
        for candidate in self.candidates.iter().filter(|candidate| candidate.source == Some(source)) {
            match candidate.state {
                State::Failed => failed += 1,
                State::Answered => answered += 1,
                State::Heard | State::Waiting | State::Slow => {}
            }
        }
        if failed >= MAX_FAILED_REFERRALS && answered == 0 {
            let hopeless =
                |candidate: &mut Candidate| candidate.source == Some(source) && candidate.state == State::Heard;
            let hopeless = self.candidates.extract_if(.., hopeless).map(|candidate| candidate.peer);
            self.dropped.extend(hopeless);
        }
    }
}

impl Candidate {
    fn is_spare(&self) -> bool {
        matches!(self.state, State::Heard | State::Failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BREADTH: Breadth = Breadth { k: 20, alpha: 10, beta: 3 };

    fn target() -> Position {
        Position::of(b"target")
    }

    fn peer(number: u32) -> PeerIx {
        PeerIx::new(number as usize, 0)
    }

    fn distance(number: u32) -> Distance {
        Position::of(&number.to_be_bytes()).distance(target())
    }

    fn seeds(numbers: impl IntoIterator<Item = u32>) -> Vec<(Distance, PeerIx)> {
        numbers.into_iter().map(|number| (distance(number), peer(number))).collect()
    }

    #[test]
    fn without_candidates_it_is_over_at_once() {
        let lookup = Lookup::new(target(), BREADTH, Vec::new());
        assert!(lookup.is_finished(false));
        assert_eq!((lookup.next(), lookup.hops(), lookup.closest().count()), (None, 0, 0));
    }

    #[test]
    fn a_slow_peer_gives_its_slot_away_and_is_not_waited_for_when_the_closest_answered() {
        let mut lookup = Lookup::new(target(), BREADTH, seeds(0..30));
        let asked: Vec<_> = core::iter::from_fn(|| {
            let next = lookup.next()?;
            lookup.ask(next);
            Some(next)
        })
        .collect();
        assert_eq!(asked.len(), 10);
        lookup.slow(asked[9]);
        let replacement = lookup.next().expect("a free slot");
        lookup.ask(replacement);
        assert_eq!(lookup.next(), None);
        while let Some(open) = lookup
            .candidates
            .iter()
            .find(|c| c.state == State::Waiting)
            .map(|c| c.peer)
            .or_else(|| lookup.next().inspect(|peer| lookup.ask(*peer)))
        {
            lookup.answer(open);
        }
        assert!(lookup.is_finished(false));
        assert_eq!(lookup.closest().count(), 20);
        assert!(!lookup.closest().any(|peer| peer == asked[9]));
    }

    #[test]
    fn the_very_closest_is_waited_for_until_it_fails_unless_something_is_found() {
        let mut lookup = Lookup::new(target(), BREADTH, seeds(0..2));
        let nearest = lookup.next().unwrap();
        lookup.ask(nearest);
        let other = lookup.next().unwrap();
        lookup.ask(other);
        lookup.answer(other);
        lookup.slow(nearest);
        assert!(!lookup.is_finished(false) && lookup.is_finished(true));
        lookup.fail(nearest);
        assert!(lookup.is_finished(false));
        assert_eq!(lookup.closest().collect::<Vec<_>>(), [other]);
        assert!(lookup.answer(nearest).is_none(), "a late answer counts for nothing");
    }

    #[test]
    fn attack_15_a_chain_of_ever_closer_peers_ends() {
        // Every peer answers, and names one that is closer: the hop limit ends it.
        let mut chain: Vec<u32> = (0..200).collect();
        chain.sort_by_cached_key(|number| core::cmp::Reverse(distance(*number)));
        let mut lookup = Lookup::new(target(), BREADTH, seeds(chain[..1].iter().copied()));
        let mut at = 0;
        while let Some(next) = lookup.next() {
            lookup.ask(next);
            let by = lookup.answer(next).unwrap();
            at += 1;
            lookup.insert(peer(chain[at]), distance(chain[at]), by);
        }
        assert!(lookup.is_finished(false));
        assert_eq!(lookup.asked(), u32::from(MAX_HOPS));
    }

    #[test]
    fn attack_15_invented_ids_never_count_and_stop_being_tried() {
        let mut lookup = Lookup::new(target(), BREADTH, seeds(0..5));
        let liar = lookup.next().unwrap();
        lookup.ask(liar);
        let by = lookup.answer(liar).unwrap();
        let mut invented: Vec<u32> = (1000..3_000).collect();
        invented.sort_by_cached_key(|number| distance(*number));
        for number in &invented[..40] {
            lookup.insert(peer(*number), distance(*number), by);
        }
        let (mut tried, mut steps) = (0, 0);
        while let Some(next) = lookup.next() {
            lookup.ask(next);
            steps += 1;
            if next.slot() >= 1000 {
                tried += 1;
                lookup.fail(next);
            } else {
                lookup.answer(next);
            }
        }
        assert!(lookup.is_finished(false) && steps < 20);
        assert_eq!(tried, MAX_FAILED_REFERRALS);
        assert_eq!(lookup.closest().filter(|peer| peer.slot() < 5).count(), lookup.closest().count());
        assert_eq!(lookup.closest().count(), 5);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        /// Any order of answers, failures and slowness: it ends, within its bounds, with a sorted and distinct result.
        #[test]
        fn always_ends_sorted_and_bounded(
            known in 1u32..60,
            steps in proptest::collection::vec((0u8..8, 0usize..64, 0u32..2000), 0..600),
            k in 1usize..25, alpha in 1usize..12, beta in 1usize..6,
        ) {
            let mut lookup = Lookup::new(target(), Breadth { k, alpha, beta }, seeds(0..known));
            let mut open: Vec<(PeerIx, bool)> = Vec::new();
            let mut steps = steps.into_iter();
            let mut count = 0u32;
            while !lookup.is_finished(false) {
                count += 1;
                prop_assert!(count < 10_000, "does not end");
                while let Some(next) = lookup.next() {
                    lookup.ask(next);
                    open.push((next, false));
                    prop_assert!(open.iter().filter(|(_, slow)| !slow).count() <= alpha);
                    prop_assert!(open.len() <= 2 * alpha);
                }
                if lookup.is_finished(false) {
                    break;
                }
                prop_assert!(!open.is_empty(), "neither finished nor waiting");
                let (what, which, heard) = steps.next().unwrap_or((0, 0, 0));
                let which = which % open.len();
                match what {
                    0..2 => lookup.fail(open.swap_remove(which).0),
                    2 => {
                        lookup.slow(open[which].0);
                        open[which].1 = true;
                    }
                    _ => {
                        let by = lookup.answer(open.swap_remove(which).0).unwrap();
                        for number in heard..heard + 8 {
                            lookup.insert(peer(number), distance(number), by);
                        }
                    }
                }
                prop_assert!(lookup.candidates.len() <= lookup.capacity());
                prop_assert!(lookup.asked() <= MAX_ASKED);
            }
            let result: Vec<_> = lookup.closest().map(|peer| distance(peer.slot() as u32)).collect();
            prop_assert!(result.is_sorted_by(|a, b| a < b) && result.len() <= k);
        }
    }
}
