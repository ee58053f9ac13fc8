//! Faults begin and end.

use super::conditions::Imposed;
use super::links::KEEP_ALIVE;
use super::{ENGINE, NodeIx, Payload, World};
use crate::adversary::{contradictory, imitating};
use crate::fault::{Effect, Fault, Paths};
use crate::mix::{Domain, draw, scale};
use crate::queue::Class;
use crate::scenario::SECOND;

/// The shell compares the wall clock this often with what the core counts on, in microseconds.
const WALL_CHECK: u64 = 60 * SECOND;
/// It tells the core when they differ by more, in microseconds.
const WALL_SLACK: u64 = SECOND;

impl World {
    /// A fault strikes these nodes, or all when none is named, and lasts until it is lifted. False when it strikes nobody:
    /// no such node, a crash of what does not run, a reset without a connection, a partition without two sides.
    pub fn impose(&mut self, id: u32, fault: &Fault, nodes: &[NodeIx]) -> bool {
        let named = if nodes.is_empty() { (0..self.len()).collect() } else { nodes.to_vec() };
        let there = named.into_iter().filter(|ix| *ix < self.len()).enumerate().collect::<Vec<_>>();
        let struck = there.into_iter().filter(|(nth, ix)| self.strike(fault, *nth, *ix)).map(|(_, ix)| ix);
        let struck: Vec<NodeIx> = struck.collect();
        if struck.is_empty() || !self.has_sides(fault, struck.len()) {
            return false;
        }
        if fault.is_instant() {
            return true;
        }
        self.conditions.begin(Imposed::new(id, fault.clone(), struck.clone(), self.now), self.len());
        match fault {
            Fault::Partition { .. } | Fault::Pause { asleep: false } => self.give_up_later(id, 0),
            Fault::Pause { asleep: true } => {
                self.set_clocks(&struck);
                self.give_up_later(id, 0);
            }
            Fault::Flap { down, .. } => {
                self.give_up_later(id, 0);
                self.schedule(self.now + down, Class::Scenario, 0, ENGINE, Payload::Turn { id });
            }
            Fault::ClockJump { by } => self.jump(&struck, *by),
            Fault::Hostile(hostile) => self.corrupt(id, *hostile, &struck),
            Fault::CoLocated => {
                self.move_together(&struck);
                let shared = if struck.len() > 1 { struck.len() } else { 0 };
                self.fired.add(Effect::CoLocated, shared as u64);
            }
            Fault::ClockDrift { .. } => self.set_clocks(&struck),
            _ => {}
        }
        true
    }

    /// A fault ends. False when it was not in force, or has nothing to undo: all that it took down run again.
    pub fn lift(&mut self, id: u32) -> bool {
        let Some(Imposed { fault, nodes, .. }) = self.conditions.end(id, self.len()) else { return false };
        match fault {
            Fault::Crash { .. } | Fault::Stop => {
                let down: Vec<NodeIx> = nodes.into_iter().filter(|ix| !self.host(*ix).is_up()).collect();
                down.iter().for_each(|ix| self.schedule_boot(self.now, *ix));
                return !down.is_empty();
            }
            Fault::ClockJump { by } => self.jump(&nodes, by.saturating_neg()),
            Fault::Hostile(_) => self.reform(id, &nodes),
            Fault::ClockDrift { .. } | Fault::Pause { asleep: true } => self.set_clocks(&nodes),
            _ => {}
        }
        self.resume();
        self.let_go();
        self.settle();
        true
    }

    /// What flaps comes or goes.
    pub(super) fn turn(&mut self, id: u32) {
        let Some(wait) = self.conditions.turn(id) else { return };
        self.schedule(self.now + wait, Class::Scenario, 0, ENGINE, Payload::Turn { id });
        if let Some(turn) = self.conditions.of(id).and_then(Imposed::is_there_since) {
            self.give_up_later(id, turn);
        } else {
            self.let_go();
        }
    }

    /// No fault is in force but at nodes that do not run.
    pub fn is_quiet(&self) -> bool {
        self.conditions.is_quiet()
    }

    /// Nothing has arrived on a connection since this fault, or this turn of it, began.
    pub(super) fn give_up(&mut self, ix: NodeIx, peer: NodeIx, conn: u64, id: u32, turn: u32) {
        if self.conditions.lasts(id, turn) && self.is_linked(ix, peer, conn) {
            self.fired.add(Effect::GivenUp, 1);
            self.disconnect(ix, peer);
        }
    }

    /// The shell compares the wall clock with what the core counts on.
    pub(super) fn check_wall(&mut self, ix: NodeIx) {
        let clock = &mut self.hosts[ix as usize].clock;
        if clock.tell(WALL_SLACK) {
            let unix = clock.unix(self.now);
            self.fired.add(Effect::ClockJump, 1);
            self.input(ix, registry_core::Input::WallClock(unix));
        }
    }

    /// `nth` counts whom a fault strikes.
    fn strike(&mut self, fault: &Fault, nth: usize, ix: NodeIx) -> bool {
        self.hosts[ix as usize].honest &= !fault.is_hostile();
        match fault {
            Fault::Crash { down, disk_lost } => {
                let crashes = self.crash(ix, *down);
                if crashes && *disk_lost {
                    self.lose_disk(ix);
                }
                crashes
            }
            Fault::Stop => self.stop(ix),
            Fault::Sybil { near, bits } => self.move_near(ix, *near, *bits),
            Fault::Equivocate => {
                self.start_with(ix, &contradictory(self.seed, nth));
                self.fired.add(Effect::Equivocation, 1);
                true
            }
            Fault::SearchSpam { statements, imitated } => {
                self.start_with(ix, &imitating(self.seed, nth, *statements, *imitated));
                self.fired.add(Effect::SearchSpam, u64::from(*statements));
                true
            }
            Fault::Reset => {
                let peers = self.host(ix).peers();
                let bits = draw(self.seed, Domain::Reset, u64::from(ix), self.now);
                let peer = peers.get(scale(bits, peers.len() as u64) as usize);
                peer.is_some_and(|peer| self.reset(ix, *peer))
            }
            _ => true,
        }
    }

    fn has_sides(&self, fault: &Fault, struck: usize) -> bool {
        match fault {
            Fault::Partition { paths } | Fault::Flap { paths, .. } | Fault::Clog { paths } => match paths {
                Paths::Both | Paths::Out | Paths::In => struck < self.hosts.len(),
                Paths::Pairs(_) => struck > 1,
            },
            _ => true,
        }
    }

    /// Connections over which nothing gets any more die, each end when it notices.
    fn give_up_later(&mut self, id: u32, turn: u32) {
        for ix in 0..self.len() {
            for (peer, link) in self.hosts[ix as usize].links() {
                if self.conditions.is_cut_by(id, ix, peer) {
                    let patience = scale(draw(self.seed, Domain::Crash, u64::from(ix), link.conn), KEEP_ALIVE);
                    let payload = Payload::GiveUp { conn: link.conn, id, turn };
                    self.schedule(self.now + KEEP_ALIVE + patience, Class::Network, ix, peer, payload);
                }
            }
        }
    }

    /// What was held up goes on its way.
    fn let_go(&mut self) {
        for ((from, to), held) in self.conditions.release() {
            for payload in held {
                if payload.message().is_some() {
                    self.transmit(from, to, payload);
                } else {
                    self.carry(self.now + self.one_way(from, to), to, from, payload);
                }
            }
        }
    }

    fn jump(&mut self, nodes: &[NodeIx], seconds: i64) {
        for ix in nodes {
            self.hosts[*ix as usize].clock.jump(seconds.saturating_mul(SECOND as i64));
            self.check_wall_later(*ix);
        }
    }

    fn set_clocks(&mut self, nodes: &[NodeIx]) {
        for ix in nodes {
            let drift = self.conditions.drift(*ix);
            self.hosts[*ix as usize].clock.run_at(self.now, drift);
            self.rearm(*ix);
            self.check_wall_later(*ix);
        }
    }

    fn check_wall_later(&mut self, ix: NodeIx) {
        let wait = scale(draw(self.seed, Domain::WallCheck, u64::from(ix), self.now), WALL_CHECK);
        self.schedule(self.now + 1 + wait, Class::Local, ix, ix, Payload::CheckWall);
    }
}
