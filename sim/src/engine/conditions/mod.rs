//! What the faults in force do to network, machines, disks and clocks.
//!
//! The engine asks at few places: what becomes of a message and of a dial ([`network`]), when a node handles what is due
//! ([`machine`]), how a disk answers ([`disk`]), what a node's clocks show ([`clock`]). Every answer is a function of the
//! faults, the seed and what is asked about; where faults of one kind overlap, the worst counts.

mod clock;
mod disk;
mod machine;
mod network;

use std::collections::BTreeMap;

use super::{NodeIx, Payload};
use crate::fault::Fault;
use crate::mix::{Domain, LookupTable, draw, scale};
use crate::net::Transport;

pub(super) use clock::Clock;
pub(super) use machine::{Backlog, Due, Pace};
pub(super) use network::{Fate, Parcel};

/// A fault that has not been lifted.
#[derive(Debug)]
pub(super) struct Imposed {
    pub(super) id: u32,
    pub(super) fault: Fault,
    /// Whom it has struck, in ascending order.
    pub(super) nodes: Vec<NodeIx>,
    /// The same, a bit for each.
    struck: Vec<u64>,
    since: u64,
    /// Of what comes and goes: how often it has come or gone. It is there at even turns.
    turn: u32,
    /// Of loss: the directions that are in their bad state.
    bad: LookupTable<u64, ()>,
}

impl Imposed {
    pub(super) fn new(id: u32, fault: Fault, nodes: Vec<NodeIx>, since: u64) -> Self {
        let mut struck = vec![0; nodes.iter().max().map_or(0, |most| *most as usize / 64 + 1)];
        nodes.iter().for_each(|ix| struck[*ix as usize / 64] |= 1 << (ix % 64));
        Self { id, fault, nodes, struck, since, turn: 0, bad: LookupTable::default() }
    }

    fn strikes(&self, ix: NodeIx) -> bool {
        self.struck.get(ix as usize / 64).is_some_and(|bits| bits >> (ix % 64) & 1 == 1)
    }

    fn is_there(&self) -> bool {
        self.turn.is_multiple_of(2)
    }

    /// The turn at which it came, if it has not gone again.
    pub(super) fn is_there_since(&self) -> Option<u32> {
        self.is_there().then_some(self.turn)
    }
}

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Conditions {
    seed: u64,
    transport: Transport,
    /// In the order in which they were imposed.
    imposed: Vec<Imposed>,
    /// What each node can do now; empty when all can do what they want.
    paces: Vec<Pace>,
    pub(super) backlogs: BTreeMap<NodeIx, Backlog>,
    /// What waits until the way is open, in the order of sending.
    held: BTreeMap<(NodeIx, NodeIx), Vec<Payload>>,
    /// When what nodes have sent, and what they get, has gone through their lines.
    lines: LookupTable<NodeIx, [u64; 2]>,
}

impl Conditions {
    pub(super) fn new(seed: u64, transport: Transport) -> Self {
        Self {
            seed,
            transport,
            imposed: Vec::new(),
            paces: Vec::new(),
            backlogs: BTreeMap::new(),
            held: BTreeMap::new(),
            lines: LookupTable::default(),
        }
    }

    /// No fault is in force.
    pub(super) fn is_calm(&self) -> bool {
        self.imposed.is_empty()
    }

    /// No fault is in force but at nodes that do not run, or are an attacker's: what others are owed does not rest on those.
    pub(super) fn is_quiet(&self) -> bool {
        self.imposed.iter().all(|imposed| imposed.fault.takes_down() || imposed.fault.is_hostile())
    }

    pub(super) fn begin(&mut self, imposed: Imposed, nodes: NodeIx) {
        self.imposed.push(imposed);
        self.refresh_paces(nodes);
    }

    pub(super) fn end(&mut self, id: u32, nodes: NodeIx) -> Option<Imposed> {
        let at = self.imposed.iter().position(|imposed| imposed.id == id)?;
        let imposed = self.imposed.remove(at);
        self.refresh_paces(nodes);
        Some(imposed)
    }

    pub(super) fn of(&self, id: u32) -> Option<&Imposed> {
        self.imposed.iter().find(|imposed| imposed.id == id)
    }

    /// What flaps comes or goes, unless it has been lifted: when it will turn again, in microseconds from now.
    pub(super) fn turn(&mut self, id: u32) -> Option<u64> {
        let imposed = self.imposed.iter_mut().find(|imposed| imposed.id == id)?;
        let Fault::Flap { down, up, .. } = imposed.fault else { return None };
        imposed.turn += 1;
        Some(if imposed.is_there() { down } else { up }.max(1))
    }

    /// Has it been there all the time since this turn?
    pub(super) fn lasts(&self, id: u32, turn: u32) -> bool {
        self.of(id).is_some_and(|imposed| imposed.turn == turn)
    }

    fn at(&self, ix: NodeIx) -> impl Iterator<Item = &Fault> + '_ {
        self.imposed.iter().filter(move |imposed| imposed.strikes(ix)).map(|imposed| &imposed.fault)
    }

    fn hit(&self, domain: Domain, node: u64, counter: u64, ppm: u64) -> bool {
        hit(self.seed, domain, node, counter, ppm)
    }
}

/// So many times in a million.
fn hit(seed: u64, domain: Domain, node: u64, counter: u64, ppm: u64) -> bool {
    ppm > 0 && scale(draw(seed, domain, node, counter), 1_000_000) < ppm
}
