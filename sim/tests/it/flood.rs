//! Honest packages stay findable in a flood; and the check of its arrival fires.

use sim::Verdict;
use sim::flood::{FloodScenario, run};

const FLOOD: FloodScenario = FloodScenario { nodes: 10, honest: 16, flood: 20, budget: 4, seed: 1 };

#[test]
fn honest_packages_stay_findable_in_a_flood() {
    let report = run(&FLOOD, String::new());
    assert_eq!(report.verdict, Verdict::Pass, "{report}");
    assert!(report.flood_bytes > 4 * report.budget_bytes, "{report}");
}

#[test]
fn a_budget_with_room_for_the_flood_is_found_out() {
    let report = run(&FloodScenario { budget: 400, ..FLOOD }, String::new());
    assert!(report.checks.iter().any(|check| check.name == "flood-arrives" && check.violations > 0), "{report}");
}
