//! Random scenarios: what they draw, and a short swarm of them.

use std::collections::BTreeSet;
use std::mem::discriminant;

use sim::scenario::{Count, Knobs};
use sim::swarm::{Swarm, swarm, vary};
use sim::{Fault, Scenario, Verdict};

#[test]
fn each_seed_leaves_some_kinds_out_and_together_they_leave_out_none() {
    let base = Scenario::small(10).quiet();
    let scenarios: Vec<Scenario> = (0..60).map(|seed| vary(&base, seed)).collect();
    let names = |scenario: &Scenario| -> BTreeSet<String> {
        scenario.random.iter().map(|random| format!("{:?}", discriminant(&random.fault))).collect()
    };
    let all: BTreeSet<String> = scenarios.iter().flat_map(names).collect();
    assert!(all.len() > 20, "{}", all.len());
    assert!(scenarios.iter().all(|scenario| names(scenario).len() < all.len()));
    assert!(scenarios.iter().all(|scenario| scenario.validate().is_ok()));
    assert_eq!(vary(&base, 7), vary(&base, 7));
    assert!(scenarios.iter().any(|scenario| scenario.knobs != base.knobs));
    assert!(scenarios.iter().any(|scenario| scenario.net.transport != base.net.transport));
}

#[test]
fn the_settings_of_a_scenario_stay_and_others_are_drawn_beside_them() {
    let mut base = Scenario::small(10).quiet();
    base.knobs.kad.alpha = Some(Count(7));
    let drawn: Vec<Knobs> = (0..60).map(|seed| vary(&base, seed).knobs).collect();
    assert!(drawn.iter().all(|knobs| knobs.kad.alpha == Some(Count(7))));
    assert!(drawn.iter().any(|knobs| knobs.kad.k.is_some()));
    assert!(drawn.iter().any(|knobs| knobs.peers.max_connections == Some(Count(15))), "fewer than a swarm has nodes");
}

#[test]
fn half_of_the_seeds_have_an_attacker_and_together_they_have_all() {
    let base = Scenario::small(24).quiet();
    let kind = |fault: Fault| match fault {
        Fault::Hostile(hostile) => format!("{:?}", discriminant(&hostile)),
        other => format!("{:?} of faults", discriminant(&other)),
    };
    let attacks = |scenario: Scenario| -> Vec<String> {
        let faults = scenario.random.into_iter().map(|random| random.fault);
        faults.filter(Fault::is_hostile).map(kind).collect()
    };
    let drawn: Vec<_> = (0..400).map(|seed| attacks(vary(&base, seed))).collect();
    let attacked = drawn.iter().filter(|attacks| !attacks.is_empty()).count();
    assert!((150..250).contains(&attacked), "{attacked}");
    let kinds: BTreeSet<_> = drawn.into_iter().flatten().collect();
    assert_eq!(kinds.len(), 19, "{kinds:?}");
}

#[test]
fn a_swarm_runs_every_seed_and_writes_down_what_fails() {
    let out = tempfile::tempdir().expect("a temporary directory");
    let mut base = Scenario::small(8);
    base.judge.probes = 0;
    let plan = Swarm { base, start: 15, seeds: 2, time: None, jobs: 2, out: out.path().join("failures") };
    let tally = swarm(&plan, |_| {}).expect("failures can be written");
    assert_eq!(tally.seeds, 2);
    assert!(!tally.verdicts.contains_key(&Verdict::Nondeterministic), "{tally}");
    let failed = tally.seeds - tally.verdicts.get(&Verdict::Pass).copied().unwrap_or(0);
    assert_eq!(tally.failures.len() as u64, failed);
    assert!(tally.failures.iter().all(|file| sim::schedule::Bug::read(file).is_ok()));
}
