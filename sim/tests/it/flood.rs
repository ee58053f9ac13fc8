//! Honest packages stay findable in a flood, by whichever way it comes; and the checks of it fire.

use registry_core::Protocol;
use registry_core::action::Action;
use sim::Verdict;
use sim::engine::{NodeIx, ReplaceAction};
use sim::flood::{FloodReport, FloodScenario, run, run_planted};

const FLOOD: FloodScenario = FloodScenario { nodes: 10, honest: 16, flood: 20, budget: 4, seed: 1 };
/// The first attacker, a settled publisher, and one that is fresh when the flood comes.
const ATTACKER: NodeIx = 8;
const SETTLED: NodeIx = 1;
const FRESH: NodeIx = 3;

fn fires(report: &FloodReport, name: &str) -> bool {
    report.checks.iter().find(|check| check.id == name).expect("the check exists").violations > 0
}

/// These nodes serve neither logs nor searches; without a voice, they do not gossip either.
fn unserved(silent: impl Fn(NodeIx) -> bool + 'static, voice: bool) -> Box<ReplaceAction> {
    Box::new(move |node, action| match action {
        Action::Send { ref msg, .. } if silent(node) && !voice && msg.protocol() == Protocol::Gossip => vec![],
        Action::Respond { token, msg: Some(msg) } if silent(node) && msg.protocol() == Protocol::Registry => {
            vec![Action::Respond { token, msg: None }]
        }
        action => vec![action],
    })
}

#[test]
fn honest_packages_stay_findable_in_a_flood() {
    let report = run(&FLOOD, String::new());
    assert_eq!(report.verdict, Verdict::Pass, "{report}");
    assert!(report.flood_bytes > 4 * report.budget_bytes, "{report}");
    assert_eq!(report.announced, report.newcomers, "{report}");
}

#[test]
fn announcements_alone_bring_fresh_publishers_to_honest_nodes() {
    let report = run_planted(&FLOOD, String::new(), unserved(|node| node >= ATTACKER, true));
    assert_eq!(report.announced, report.newcomers, "{report}");
    assert!(report.releases > report.honest as u64, "{report}");
    assert!(
        ["found-from-before", "found-from-settled", "found-when-followed"].iter().all(|name| !fires(&report, name))
    );
}

#[test]
fn a_budget_with_room_for_the_flood_is_found_out() {
    let report = run(&FloodScenario { budget: 400, ..FLOOD }, String::new());
    assert!(fires(&report, "flood-arrives"), "{report}");
}

#[test]
fn packages_from_before_that_are_lost_are_found_out() {
    let report = run_planted(&FLOOD, String::new(), unserved(|node| node == SETTLED, false));
    assert!(fires(&report, "found-from-before") && fires(&report, "found-from-settled"), "{report}");
    assert!(!fires(&report, "found-when-followed"), "{report}");
}

#[test]
fn packages_of_followed_publishers_that_are_lost_are_found_out() {
    let report = run_planted(&FLOOD, String::new(), unserved(|node| node == FRESH, false));
    assert!(fires(&report, "found-when-followed"), "{report}");
    assert!(!fires(&report, "found-from-before") && !fires(&report, "found-from-settled"), "{report}");
}
