//! A run that fails is written, and what is written fails again, passes or is stale.

use registry_core::action::Action;
use registry_core::event::Event;
use sim::engine::Planted;
use sim::schedule::{Bug, Unreadable};
use sim::{Options, Report, Scenario, Simulation, Verdict, plan};

fn planted() -> Planted {
    let repeating = |_, action| match action {
        Action::Emit(Event::PubsubMessage { .. }) => vec![Action::clone(&action), action],
        action => vec![action],
    };
    Planted { action: Some(Box::new(repeating)), ..Planted::default() }
}

fn again(bug: &Bug) -> Report {
    Simulation::new(&bug.scenario, bug.seed, bug.schedule(), &Options::default()).finish()
}

/// A run with a fault in every node, as a file holds it.
fn failed() -> (Report, Bug) {
    let scenario = Scenario::small(10);
    let mut simulation = Simulation::new(&scenario, 4, plan(&scenario, 4), &Options::default()).plant(planted());
    while simulation.advance(sim::scenario::SECOND) {}
    let applied = simulation.applied();
    let report = simulation.report();
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    Bug::new(&scenario, &report, applied).write(file.path()).expect("it can be written");
    (report, Bug::read(file.path()).expect("it can be read"))
}

#[test]
fn a_failure_fails_again_from_its_file_and_passes_when_mended() {
    let (report, bug) = failed();
    assert_eq!(bug.violates, "G1");
    let simulation = Simulation::new(&bug.scenario, bug.seed, bug.schedule(), &Options::default());
    let repeated = simulation.plant(planted()).finish();
    assert_eq!(bug.judge(&repeated), (Verdict::Violation, true));
    assert_eq!(repeated.checks, report.checks);
    assert_eq!(bug.judge(&again(&bug)), (Verdict::Pass, false));
}

#[test]
fn a_schedule_that_no_longer_applies_is_stale() {
    let (_, mut bug) = failed();
    bug.scenario.net.nodes -= 1;
    assert_eq!(bug.judge(&again(&bug)), (Verdict::Stale, false));
}

#[test]
fn a_run_without_what_did_not_hold_is_no_pass() {
    let (_, mut bug) = failed();
    bug.violates = "K5".into();
    assert_eq!(bug.judge(&again(&bug)), (Verdict::Inconclusive, false));
}

#[test]
fn a_difference_between_two_runs_is_seen_again_only_by_two() {
    let (_, mut bug) = failed();
    bug.violates = "D1".into();
    let mut report = again(&bug);
    assert_eq!(bug.judge(&report), (Verdict::Inconclusive, false));
    report.compare(&again(&bug));
    assert_eq!(bug.judge(&report), (Verdict::Pass, false));
    bug.seed += 1;
    let other = again(&bug);
    bug.seed -= 1;
    report = again(&bug);
    report.compare(&other);
    assert_eq!(bug.judge(&report), (Verdict::Nondeterministic, true));
}

#[test]
fn an_unknown_fault_is_stale_and_another_file_is_broken() {
    let (_, bug) = failed();
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    bug.write(file.path()).expect("it can be written");
    let text = std::fs::read_to_string(file.path()).expect("it can be read");
    std::fs::write(file.path(), text.replace("fault = ", "fault = { meteor = {} } # ")).expect("it can be written");
    assert!(matches!(Bug::read(file.path()), Err(Unreadable::Stale(why)) if why.contains("meteor")));
    std::fs::write(file.path(), "not [ toml").expect("it can be written");
    assert!(matches!(Bug::read(file.path()), Err(Unreadable::Broken(_))));
}
