//! Messages this node has heard of and lacks: who was asked, until when, and who else has them.
//!
//! Two advertisers are asked at once; each further one is asked when one of them has let its deadline pass or has sent a
//! copy that was refused.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;

use bytes::Bytes;

use crate::collections::DeadlineIndex;
use crate::gossip::limits::{IWANT_TIMEOUT_SECS, MAX_ADVERTISERS, MAX_WANTS, PARALLEL_ASKS};
use crate::id::{Digest, PeerIx};
use crate::time::{Duration, Instant};

const TIMEOUT: Duration = Duration::from_secs(IWANT_TIMEOUT_SECS);

#[derive(Debug, Default)]
pub(super) struct Wants {
    by_key: BTreeMap<Digest, Want>,
    deadlines: DeadlineIndex<Digest>,
}

#[derive(Debug)]
struct Want {
    id: Bytes,
    asked: Vec<(Instant, PeerIx)>,
    others: VecDeque<PeerIx>,
}

/// What a change of the wants leads to.
#[derive(Debug, Default)]
pub(super) struct Moves {
    /// Ask these peers for these ids.
    pub(super) ask: Vec<(PeerIx, Bytes)>,
    /// These are no longer expected to answer: the message has come some other way.
    pub(super) released: Vec<PeerIx>,
    /// These have not answered in time.
    pub(super) broken: Vec<PeerIx>,
}

impl Wants {
    /// A peer has a message that this node lacks. True when it is to be asked now.
    pub(super) fn advertised(&mut self, now: Instant, key: Digest, id: &[u8], peer: PeerIx, may_ask: bool) -> bool {
        let Some(want) = self.by_key.get_mut(&key) else {
            if !may_ask || self.by_key.len() >= MAX_WANTS {
                return false;
            }
            let id = Bytes::copy_from_slice(id);
            let want = Want { id, asked: alloc::vec![(now + TIMEOUT, peer)], others: VecDeque::new() };
            self.by_key.insert(key, want);
            self.deadlines.set(key, now + TIMEOUT);
            return true;
        };
        if want.asked.iter().any(|(_, asked)| *asked == peer) || want.others.contains(&peer) {
            return false;
        }
        if may_ask && want.asked.len() < PARALLEL_ASKS {
            want.asked.push((now + TIMEOUT, peer));
            return true;
        }
        if want.others.len() < MAX_ADVERTISERS {
            want.others.push_back(peer);
        }
        false
    }

    /// The peer has sent a copy. True when it had been asked.
    pub(super) fn answered(&mut self, key: &Digest, peer: PeerIx) -> bool {
        let Some(want) = self.by_key.get_mut(key) else { return false };
        let before = want.asked.len();
        want.asked.retain(|(_, asked)| *asked != peer);
        want.asked.len() < before
    }

    /// The message is settled; returns who was still expected to send it.
    pub(super) fn settled(&mut self, key: &Digest) -> Vec<PeerIx> {
        self.deadlines.clear(*key);
        let asked = self.by_key.remove(key).map(|want| want.asked).unwrap_or_default();
        asked.into_iter().map(|(_, peer)| peer).collect()
    }

    /// Who was asked and has not answered.
    pub(super) fn asked(&self, key: &Digest) -> Vec<PeerIx> {
        self.by_key.get(key).map(|want| want.asked.iter().map(|(_, peer)| *peer).collect()).unwrap_or_default()
    }

    /// Every copy that came was refused: ask another advertiser.
    pub(super) fn refused(&mut self, now: Instant, key: Digest) -> Moves {
        let mut moves = Moves::default();
        self.advance(now, key, false, &mut moves);
        moves
    }

    /// Lets deadlines pass. `pending` names messages that wait for a check: they are not asked for again yet.
    pub(super) fn expire(&mut self, now: Instant, pending: impl Fn(&Digest) -> bool) -> Moves {
        let mut moves = Moves::default();
        while let Some(key) = self.deadlines.pop_due(now) {
            self.advance(now, key, pending(&key), &mut moves);
        }
        moves
    }

    /// A peer is gone: whatever it was asked for is asked of another.
    pub(super) fn peer_down(&mut self, now: Instant, peer: PeerIx, pending: impl Fn(&Digest) -> bool) -> Moves {
        let mut moves = Moves::default();
        let mut touched = Vec::new();
        for (key, want) in &mut self.by_key {
            want.others.retain(|other| *other != peer);
            let before = want.asked.len();
            want.asked.retain(|(_, asked)| *asked != peer);
            if want.asked.len() < before {
                touched.push(*key);
            }
        }
        for key in touched {
            self.advance(now, key, pending(&key), &mut moves);
        }
        moves
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.next()
    }

    fn advance(&mut self, now: Instant, key: Digest, pending: bool, moves: &mut Moves) {
        let Some(want) = self.by_key.get_mut(&key) else { return };
        let late = if pending { &mut moves.released } else { &mut moves.broken };
        want.asked.retain(|(until, peer)| {
            let open = now < *until;
            if !open {
                late.push(*peer);
            }
            open
        });
        while !pending
            && want.asked.len() < PARALLEL_ASKS
            && let Some(peer) = want.others.pop_front()
        {
            want.asked.push((now + TIMEOUT, peer));
            moves.ask.push((peer, want.id.clone()));
        }
        match want.asked.iter().map(|(until, _)| *until).min() {
            Some(next) => self.deadlines.set(key, next),
            None if pending => self.deadlines.set(key, now + TIMEOUT),
            None => {
                self.by_key.remove(&key);
                self.deadlines.clear(key);
            }
        }
    }

    pub(super) fn len(&self) -> usize {
        assert_eq!(self.by_key.len(), self.deadlines.len());
        self.by_key.len()
    }

    pub(super) fn total_asked(&self) -> usize {
        self.by_key.values().map(|want| want.asked.len()).sum()
    }
}
