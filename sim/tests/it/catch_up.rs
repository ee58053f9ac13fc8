//! A node that was away, or is new, ends with the same catalogue, at a cost that grows with what it has missed.

use sim::Verdict;
use sim::catch_up::{CatchUpScenario, run};

const AWAY: CatchUpScenario =
    CatchUpScenario { packages: 1_000, publishers: 100, updates: (5, 10), empty: false, seed: 1 };

#[test]
fn a_node_that_was_away_moves_little_more_than_what_it_has_missed() {
    let report = run(&AWAY, String::new());
    assert_eq!(report.verdict, Verdict::Pass, "{report}");
    // 50 statements and 5 heads.
    assert_eq!(report.missing, 50, "{report}");
}

#[test]
fn an_empty_node_ends_with_everything() {
    let report = run(&CatchUpScenario { empty: true, ..AWAY }, String::new());
    assert_eq!(report.verdict, Verdict::Pass, "{report}");
    assert_eq!(report.missing, 1_050 + 100, "{report}");
}
