//! What gossip knows of one connected peer.

use alloc::collections::{BTreeMap, BTreeSet};

use crate::gossip::limits::{
    Budget, DONT_WANT_TTL, DROP_MEMORY, FIRST_ASKED, MAX_ASKED_PER_PEER, MAX_DROPS, MIN_ASKED, MISSED_IWANT_COST,
    READ_PER_ASKED,
};
use crate::id::{Digest, TopicName};
use crate::input::GossipVersion;

#[derive(Debug)]
pub(super) struct PeerState {
    pub(super) version: GossipVersion,
    /// This node opened the connection.
    pub(super) outbound: bool,
    /// Identify has confirmed that it speaks pubsub. Its messages may come before; none are sent to it until then.
    pub(super) ready: bool,
    pub(super) topics: BTreeSet<TopicName>,
    /// IWANTs it has not answered yet.
    asked: u32,
    /// So many may be open at once: one more for each that is answered in time, half as many for each that is not.
    credit: u32,
    /// Ids it does not want, with the last heartbeat at which that holds.
    dont_want: BTreeMap<Digest, u64>,
    spent: [u32; Budget::COUNT],
    spent_at: u64,
    muted_until: u64,
    drops: u32,
    dropped_at: u64,
}

impl PeerState {
    /// The budgets of the heartbeats in which an IDONTWANT still holds.
    pub(super) const MAX_DONT_WANT: usize = Budget::DontWantIds.limit() as usize * (DONT_WANT_TTL as usize + 1);

    pub(super) fn new(outbound: bool) -> Self {
        Self {
            version: GossipVersion::V1_0,
            outbound,
            ready: false,
            topics: BTreeSet::new(),
            asked: 0,
            credit: FIRST_ASKED,
            dont_want: BTreeMap::new(),
            spent: [0; Budget::COUNT],
            spent_at: 0,
            muted_until: 0,
            drops: 0,
            dropped_at: 0,
        }
    }

    /// Takes one unit of a budget; `Err(first)` when it is used up, with `first` true once per heartbeat.
    pub(super) fn spend(&mut self, tick: u64, budget: Budget) -> Result<(), bool> {
        if self.spent_at != tick {
            self.spent = [0; Budget::COUNT];
            self.spent_at = tick;
        }
        let spent = &mut self.spent[budget as usize];
        *spent = spent.saturating_add(1);
        if *spent <= budget.limit() { Ok(()) } else { Err(*spent == budget.limit() + 1) }
    }

    /// Takes one advertised id of the budget, which is smaller for whoever breaks its promises; false when it is used up.
    pub(super) fn spend_ihave_id(&mut self, tick: u64) -> bool {
        let readable = self.credit.saturating_mul(READ_PER_ASKED);
        self.spend(tick, Budget::IhaveIds).is_ok() && self.spent[Budget::IhaveIds as usize] <= readable
    }

    /// An IWANT asked for what is not here: that costs more of the budget than what is served.
    pub(super) fn note_missed_iwant(&mut self) {
        let spent = &mut self.spent[Budget::IwantIds as usize];
        *spent = spent.saturating_add(MISSED_IWANT_COST - 1);
    }

    pub(super) fn may_be_asked(&self) -> bool {
        self.asked < self.credit
    }

    pub(super) fn asked(&self) -> u32 {
        self.asked
    }

    pub(super) fn note_asked(&mut self) {
        self.asked += 1;
    }

    /// Somebody else has sent what this peer was asked for.
    pub(super) fn release_ask(&mut self) {
        self.asked = self.asked.saturating_sub(1);
    }

    pub(super) fn keep_promise(&mut self) {
        self.release_ask();
        self.credit = (self.credit + 1).min(MAX_ASKED_PER_PEER);
    }

    /// G12: its IHAVE was not true, or not in time.
    pub(super) fn break_promise(&mut self) {
        self.release_ask();
        self.credit = (self.credit / 2).max(MIN_ASKED);
    }

    pub(super) fn set_dont_want(&mut self, tick: u64, key: Digest, until: u64) {
        if self.dont_want.len() >= Self::MAX_DONT_WANT {
            self.forget_dont_wants(tick);
        }
        self.dont_want.insert(key, until);
    }

    pub(super) fn wants(&self, tick: u64, key: &Digest) -> bool {
        self.dont_want.get(key).is_none_or(|until| *until < tick)
    }

    pub(super) fn forget_dont_wants(&mut self, tick: u64) {
        self.dont_want.retain(|_, until| *until >= tick);
    }

    /// A send was dropped: no IHAVE at the next heartbeat. True when the peer is too slow for a mesh.
    pub(super) fn note_drop(&mut self, tick: u64) -> bool {
        self.muted_until = tick.saturating_add(1);
        if tick.saturating_sub(self.dropped_at) > DROP_MEMORY {
            self.drops = 0;
        }
        self.dropped_at = tick;
        self.drops += 1;
        if self.drops < MAX_DROPS {
            return false;
        }
        self.drops = 0;
        true
    }

    pub(super) fn is_muted(&self, tick: u64) -> bool {
        tick <= self.muted_until
    }

    pub(super) fn dont_want_len(&self) -> usize {
        self.dont_want.len()
    }
}
