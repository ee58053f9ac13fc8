//! Properties that must hold, and how often they were put to the test.
//!
//! | file | properties |
//! |---|---|
//! | `table` | K1, K3, K5, K7: routing tables |
//! | `closest` | K2, K4: lookups, against the live key space |
//! | `mesh` | G2, G5: meshes |
//! | `delivery` | G1, G4, U1, U4: who was told of what, how often |
//! | `records` | R1, R2, R5, X1: what nodes show of packages, and what they hold of logs |
//! | `node` | N1, N2, G3, R6, H1: what one node holds, does and says of others |
//! | `rest` | N4: what goes on when nobody asks for anything |
//! | `panics` | N3 |

pub mod closest;
pub mod delivery;
pub mod mesh;
pub mod node;
pub mod panics;
pub mod records;
pub mod rest;
pub mod table;

use std::fmt;

use registry_core::Config;
use registry_core::event::Event;
use serde::Serialize;

use crate::engine::{NodeIx, Step, World};
use crate::mix::mix;
use crate::scenario::SECOND;
use records::Truth;

/// All properties of a run; a test sees that each has one that makes it fire.
pub const IDS: [&str; 35] = [
    "G1", "G1-data", "G2", "G3", "G4", "G5", "H1", "K1", "K2", "K2-load", "K3", "K4", "K4-hops", "K5", "K7", "N1",
    "N1-ban", "N1-frame", "N2", "N2-end", "N2-spin", "N3", "N4", "R1", "R2", "R2-log", "R3", "R4", "R4-ack", "R5",
    "R5-out", "R6", "U1", "U4", "X1",
];

/// Violations described in full; the rest is only counted.
const MAX_EXAMPLES: usize = 5;
/// One event in so many gets the deep check of its node.
const SAMPLE: u64 = 1_024;
/// Everything is looked at this often, in microseconds.
const SWEEP: u64 = 60 * SECOND;

/// One property: a check that was never evaluated proves nothing, and makes a run inconclusive.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Check {
    /// What it is called, stable across versions.
    pub id: &'static str,
    /// What must hold.
    pub means: &'static str,
    /// How often it was evaluated.
    pub evaluated: u64,
    /// How often it did not hold.
    pub violations: u64,
    /// The first violations.
    pub examples: Vec<String>,
}

impl Check {
    /// A property that was not evaluated yet.
    pub fn new(id: &'static str, means: &'static str) -> Self {
        Self { id, means, evaluated: 0, violations: 0, examples: Vec::new() }
    }

    /// One evaluation.
    pub fn judge(&mut self, holds: bool, describe: impl FnOnce() -> String) {
        self.evaluated += 1;
        if !holds {
            self.violations += 1;
            if self.examples.len() < MAX_EXAMPLES {
                self.examples.push(describe());
            }
        }
    }

    /// A share of many evaluations must hold: the check is judged once, as a whole.
    pub fn judge_share(&mut self, held: u64, of: u64, percent: u64, what: &str) {
        self.evaluated += of;
        if held * 100 < of * percent {
            self.violations += 1;
            self.examples.push(format!("{what} in {held} of {of}, wanted in {percent} %"));
        }
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, means, evaluated, violations, examples } = self;
        writeln!(f, "  {id:<10} {evaluated:>12} {violations:>6}  {means}")?;
        examples.iter().try_for_each(|example| writeln!(f, "      {example}"))
    }
}

/// Watches a run. Each method is called at its own rate; a checker does nothing in those it does not need.
pub trait Checker {
    /// After each event, with the node at which it happened. Must be cheap.
    fn touched(&mut self, _world: &World, _node: NodeIx) {}

    /// After one event in 1,024: a deep look at its node.
    fn sampled(&mut self, _world: &World, _node: NodeIx) {}

    /// Once in a virtual minute: a look at everything. For so many microseconds no fault has been active.
    fn swept(&mut self, _world: &World, _quiet: u64) {}

    /// A node has told its application something.
    fn heard(&mut self, _world: &World, _node: NodeIx, _event: &Event) {}

    /// The run is over. For so many microseconds no fault has been active.
    fn ended(&mut self, _world: &World, _quiet: u64) {}

    /// The properties; without those that this run could not put to the test.
    fn checks(&self) -> Vec<Check>;
}

/// All checkers of a run, and when it is whose turn.
pub struct Checkers {
    all: Vec<Box<dyn Checker>>,
    next_sweep: u64,
    /// When a fault has begun or ended last.
    disturbed_at: u64,
}

impl Checkers {
    /// The standard ones, for nodes that should run with this configuration.
    pub fn new(world: &World, config: &Config, truth: Truth) -> Self {
        let all: Vec<Box<dyn Checker>> = vec![
            Box::new(table::Tables::new(world, config)),
            Box::new(table::Health::new(world, config)),
            Box::new(mesh::Meshes::new(config)),
            Box::new(node::Bounds::new(world)),
            Box::new(node::Conduct::default()),
            Box::new(node::Expiry::new(world, config)),
            Box::new(records::Shown::new(truth)),
            Box::new(records::Heads::new(world)),
        ];
        Self { all, next_sweep: SWEEP, disturbed_at: 0 }
    }

    /// A fault has begun or ended.
    pub fn disturbed(&mut self, world: &World) {
        self.disturbed_at = world.now();
    }

    /// After each step of the world.
    pub fn after(&mut self, world: &World, step: Step) {
        if let Step::Node(node) = step {
            self.all.iter_mut().for_each(|checker| checker.touched(world, node));
            if is_sampled(world) {
                self.all.iter_mut().for_each(|checker| checker.sampled(world, node));
            }
        }
        if world.now() >= self.next_sweep {
            self.next_sweep = world.now() + SWEEP;
            let quiet = self.quiet(world);
            self.all.iter_mut().for_each(|checker| checker.swept(world, quiet));
        }
    }

    /// A node has told its application something.
    pub fn heard(&mut self, world: &World, node: NodeIx, event: &Event) {
        self.all.iter_mut().for_each(|checker| checker.heard(world, node, event));
    }

    /// The run is over.
    pub fn ended(&mut self, world: &World) {
        let quiet = self.quiet(world);
        self.all.iter_mut().for_each(|checker| checker.swept(world, quiet));
        self.all.iter_mut().for_each(|checker| checker.ended(world, quiet));
    }

    /// What they have found.
    pub fn checks(&self) -> Vec<Check> {
        self.all.iter().flat_map(|checker| checker.checks()).collect()
    }

    /// For how long no fault has been in force, in microseconds.
    pub fn quiet(&self, world: &World) -> u64 {
        if world.is_quiet() { world.now() - self.disturbed_at } else { 0 }
    }
}

/// Chosen by the key of the last event: the same ones in every replay.
fn is_sampled(world: &World) -> bool {
    let key = world.last();
    let bits = key.at ^ key.seq.rotate_left(32) ^ u64::from(key.to).rotate_left(16) ^ u64::from(key.from);
    mix(bits).is_multiple_of(SAMPLE)
}
