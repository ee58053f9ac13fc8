//! Light nodes find what is true, also among liars; and the checks of it fire.

use sim::light::{LightReport, LightScenario, run};
use sim::{Scenario, Verdict};

fn scenario(liars_percent: u32) -> LightScenario {
    LightScenario { nodes: 30, light_percent: 20, liars_percent, packages: 100, file: None, searches: 8, seed: 3 }
}

fn report(scenario: &LightScenario) -> LightReport {
    run(scenario, String::new()).expect("no file is read")
}

#[test]
fn light_searches_find_what_is_true() {
    let quiet = report(&scenario(0));
    assert_eq!(quiet.verdict, Verdict::Pass, "{quiet}");
    assert!(quiet.complete * 10 >= quiet.searches * 9, "{quiet}");
    let again = report(&scenario(0));
    assert_eq!(again.digest, quiet.digest);
}

#[test]
fn light_searches_find_what_is_true_among_liars() {
    let among = report(&scenario(20));
    assert_eq!(among.verdict, Verdict::Pass, "{among}");
    let told = among.told;
    assert!(told.forged > 0 && told.irrelevant > 0 && told.empty > 0 && told.stale > 0, "{among}");
}

#[test]
fn nothing_but_liars_is_found_out() {
    let lost = report(&scenario(100));
    let fires = |name| lost.checks.iter().any(|check| check.id == name && check.violations > 0);
    assert!(fires("light-recall") && fires("no-lie-shown"), "{lost}");
}

#[test]
fn what_light_nodes_publish_is_fetched_by_others() {
    let mut scenario = Scenario::small(8).quiet();
    scenario.net.light = 6;
    let report = sim::run(&scenario, 1);
    assert_eq!(report.verdict, Verdict::Pass, "{report}");
    assert!(report.work.gets > 0 && report.work.gets_failed == 0, "{report}");
}
