//! Every check fires: a fault is planted in the core's configuration or in what it does, and the check must see it.

use std::sync::Arc;

use registry_core::action::{Action, StoreRequest};
use registry_core::event::{DhtResult, Event};
use registry_core::{Config, Protocol};
use sim::engine::{NodeIx, Planted};
use sim::scenario::SECOND;
use sim::{Options, Report, Scenario, Simulation, Verdict, plan};

const SEED: u64 = 5;

fn quiet() -> Scenario {
    Scenario::small(14).quiet()
}

fn idle(nodes: u32) -> Scenario {
    let mut scenario = Scenario::small(nodes).quiet();
    (scenario.work.publishes, scenario.work.searches, scenario.work.gets) = (2, 2, 2);
    scenario
}

fn run(scenario: &Scenario, planted: Planted) -> Report {
    Simulation::new(scenario, SEED, plan(scenario, SEED), &Options::default()).plant(planted).finish()
}

fn tamper(change: impl FnMut(NodeIx, Action) -> Vec<Action> + 'static) -> Planted {
    Planted { action: Some(Box::new(change)), ..Planted::default() }
}

fn configured(change: impl FnOnce(&mut Config)) -> Arc<Config> {
    let mut config = Config::default();
    change(&mut config);
    Arc::new(config)
}

#[track_caller]
fn assert_fires(report: &Report, name: &str) {
    let check = report.checks.iter().find(|check| check.name == name).expect("the check exists");
    assert!(check.violations > 0, "{name} does not fire: {report}");
    assert_eq!(report.verdict, Verdict::Violation);
}

#[test]
fn without_planted_faults_all_checks_hold() {
    let report = run(&quiet(), Planted::default());
    assert_eq!(report.verdict, Verdict::Pass, "{report}");
}

#[test]
fn a_publisher_that_sends_no_blocks_is_found_out() {
    let silent = tamper(|_, action| match action {
        Action::Send { msg, .. } if msg.protocol() == Protocol::Bitswap => vec![],
        action => vec![action],
    });
    assert_fires(&run(&quiet(), silent), "publish-is-found");
}

#[test]
fn a_search_that_finds_nothing_is_found_out() {
    let blind = tamper(|_, mut action| {
        if let Action::Emit(Event::SearchDone { page, .. }) = &mut action {
            page.hits.clear();
        }
        vec![action]
    });
    assert_fires(&run(&quiet(), blind), "publish-is-found");
}

#[test]
fn altered_bytes_are_found_out() {
    let corrupting = tamper(|_, mut action| {
        if let Action::Store { request: StoreRequest::PutBlock { data, .. }, .. } = &mut action {
            *data = vec![0; data.len()].into();
        }
        vec![action]
    });
    assert_fires(&run(&quiet(), corrupting), "bytes-verify");
}

#[test]
fn lookups_that_miss_close_nodes_are_found_out() {
    let config = configured(|config| config.kad.k = 3);
    assert_fires(&run(&Scenario { config, ..quiet() }, Planted::default()), "lookup-finds-closest");
}

#[test]
fn lookups_with_too_many_hops_are_found_out() {
    let detours = tamper(|_, mut action| {
        if let Action::Emit(Event::Dht { result: DhtResult::Closest { hops, .. }, .. }) = &mut action {
            *hops += 10;
        }
        vec![action]
    });
    assert_fires(&run(&quiet(), detours), "lookup-hops");
}

#[test]
fn an_update_told_twice_is_found_out() {
    let repeating = tamper(|_, action| match action {
        Action::Emit(Event::Update { .. }) => vec![action.clone(), action],
        action => vec![action],
    });
    assert_fires(&run(&quiet(), repeating), "updates-exactly-once");
}

#[test]
fn an_update_never_told_is_found_out() {
    let forgetful = tamper(|node, action| match action {
        Action::Emit(Event::Update { .. }) if node == 3 => vec![],
        action => vec![action],
    });
    assert_fires(&run(&quiet(), forgetful), "updates-exactly-once");
}

#[test]
fn a_message_delivered_twice_is_found_out() {
    let repeating = tamper(|_, action| match action {
        Action::Emit(Event::PubsubMessage { .. }) => vec![action.clone(), action],
        action => vec![action],
    });
    assert_fires(&run(&quiet(), repeating), "gossip-exactly-once");
}

#[test]
fn an_operation_that_never_ends_is_found_out() {
    let hanging = tamper(|_, action| match action {
        Action::Emit(Event::Fetched { .. }) => vec![],
        action => vec![action],
    });
    assert_fires(&run(&quiet(), hanging), "operations-end");
}

#[test]
fn a_timer_that_does_not_move_is_found_out() {
    let mut scenario = quiet();
    (scenario.work.lasts, scenario.work.publishes, scenario.judge.calm) = (60 * SECOND, 1, 10 * SECOND);
    assert_fires(&run(&scenario, Planted { deaf: Some(1), ..Planted::default() }), "no-spinning");
}

#[test]
fn a_frame_over_the_limit_is_found_out() {
    assert_fires(&run(&quiet(), Planted { bloated: Some(2), ..Planted::default() }), "frames-within-limits");
}

#[test]
fn an_overfull_bucket_is_found_out() {
    let config = configured(|config| config.kad.k = 60);
    let scenario = Scenario { config, ..idle(60) };
    assert_fires(&run(&scenario, Planted::default()), "table-bounds");
}

#[test]
fn an_overfull_mesh_is_found_out() {
    let config = configured(|config| (config.gossip.d, config.gossip.d_lo, config.gossip.d_hi) = (20, 18, 30));
    let scenario = Scenario { config, ..idle(30) };
    assert_fires(&run(&scenario, Planted::default()), "mesh-bounds");
}
