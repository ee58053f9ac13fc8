//! When a node handles what is due.

use std::collections::VecDeque;

use registry_core::input::Input;

use super::Conditions;
use crate::engine::{NodeIx, Payload, World};
use crate::fault::{Effect, Fault};
use crate::queue::Class;

/// What an input takes a slow node, for each time it is slower, in microseconds.
const HANDLING: u64 = 100;

/// What a node can do now.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(in crate::engine) enum Pace {
    /// Everything at once.
    Usual,
    /// One thing after the other, each so many times slower than usual.
    Slow(u64),
    /// Nothing.
    Paused,
    /// Nothing, and its monotonic clock stands still.
    Asleep,
}

/// One thing a node has to do.
#[derive(Debug)]
pub(in crate::engine) enum Due {
    /// Something happened.
    Input(Input),
    /// Its time has come.
    Timeout,
}

/// What a slow or paused node has to do.
#[derive(Debug, Default)]
pub(in crate::engine) struct Backlog {
    due: VecDeque<Due>,
    /// An event that will do the first of it is in the queue.
    is_worked_on: bool,
}

impl Conditions {
    pub(in crate::engine) fn pace(&self, ix: NodeIx) -> Pace {
        self.paces.get(ix as usize).copied().unwrap_or(Pace::Usual)
    }

    /// How many times longer than usual a node's workers take.
    pub(in crate::engine) fn slowness(&self, ix: NodeIx) -> u64 {
        match self.pace(ix) {
            Pace::Slow(factor) => factor,
            Pace::Usual | Pace::Paused | Pace::Asleep => 1,
        }
    }

    pub(super) fn refresh_paces(&mut self, nodes: NodeIx) {
        self.paces.clear();
        for imposed in &self.imposed {
            let pace = match imposed.fault {
                Fault::Slow { factor } if factor > 1 => Pace::Slow(factor),
                Fault::Pause { asleep: false } => Pace::Paused,
                Fault::Pause { asleep: true } => Pace::Asleep,
                _ => continue,
            };
            self.paces.resize(nodes as usize, Pace::Usual);
            for ix in &imposed.nodes {
                let slot = &mut self.paces[*ix as usize];
                *slot = pace.max(*slot);
            }
        }
    }
}

impl World {
    /// A node that is not at its usual pace has something to do.
    pub(in crate::engine) fn put_off(&mut self, ix: NodeIx, due: Due) {
        if !self.hosts[ix as usize].is_up() {
            return;
        }
        let backlog = self.conditions.backlogs.entry(ix).or_default();
        if matches!(due, Due::Timeout) && backlog.due.iter().any(|due| matches!(due, Due::Timeout)) {
            return;
        }
        backlog.due.push_back(due);
        self.fired.add(
            match self.conditions.pace(ix) {
                Pace::Asleep => Effect::Asleep,
                Pace::Paused => Effect::Paused,
                Pace::Slow(_) | Pace::Usual => Effect::Slow,
            },
            1,
        );
        self.work_on(ix);
    }

    /// The first thing in a backlog is done.
    pub(in crate::engine) fn work(&mut self, ix: NodeIx, life: u32) {
        if self.hosts[ix as usize].life != life {
            return;
        }
        let Some(backlog) = self.conditions.backlogs.get_mut(&ix) else { return };
        backlog.is_worked_on = false;
        if !self.is_paused(ix) {
            self.do_first(ix);
            self.work_on(ix);
        }
    }

    /// After a change of conditions: who is at the usual pace again does all at once that was put off.
    pub(in crate::engine) fn resume(&mut self) {
        let waiting: Vec<NodeIx> = self.conditions.backlogs.keys().copied().collect();
        for ix in waiting {
            if self.conditions.pace(ix) == Pace::Usual {
                while self.do_first(ix) {}
            } else {
                self.work_on(ix);
            }
        }
    }

    fn work_on(&mut self, ix: NodeIx) {
        let Pace::Slow(factor) = self.conditions.pace(ix) else { return };
        let Some(backlog) = self.conditions.backlogs.get_mut(&ix) else { return };
        if !backlog.due.is_empty() && !std::mem::replace(&mut backlog.is_worked_on, true) {
            let life = self.hosts[ix as usize].life;
            self.schedule(self.now + HANDLING * factor, Class::Local, ix, ix, Payload::Work { life });
        }
    }

    /// False when there was nothing to do.
    fn do_first(&mut self, ix: NodeIx) -> bool {
        let Some(backlog) = self.conditions.backlogs.get_mut(&ix) else { return false };
        match backlog.due.pop_front() {
            Some(Due::Input(input)) => self.handle(ix, input),
            Some(Due::Timeout) => self.time_out(ix),
            None => {
                self.conditions.backlogs.remove(&ix);
                return false;
            }
        }
        true
    }
}
