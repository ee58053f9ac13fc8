//! Properties that must hold, and how often they were put to the test.

pub mod bounds;
pub mod closest;
pub mod delivery;

use serde::Serialize;

/// Violations described in full; the rest is only counted.
const MAX_EXAMPLES: usize = 5;

/// One property: a check that was never evaluated proves nothing, and makes a run inconclusive.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Check {
    /// Its name, stable across versions.
    pub name: &'static str,
    /// How often it was evaluated.
    pub evaluated: u64,
    /// How often it did not hold.
    pub violations: u64,
    /// The first violations.
    pub examples: Vec<String>,
}

impl Check {
    /// A property that was not evaluated yet.
    pub fn new(name: &'static str) -> Self {
        Self { name, evaluated: 0, violations: 0, examples: Vec::new() }
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
