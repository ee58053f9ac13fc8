//! Every check fires: a fault is planted in the core's configuration or in what it does, and the check must see it.

use std::sync::Arc;

use registry_core::action::{Action, StoreRequest, Table};
use registry_core::catalog::{Name, ReleaseInfo};
use registry_core::event::{DhtResult, Event, OpError, Refusal};
use registry_core::peers::Offence;
use registry_core::{Config, Digest, Duration, Protocol};
use sim::checks::IDS;
use sim::engine::{NodeIx, Planted};
use sim::fault::Fault;
use sim::scenario::{Phase, SECOND, Who};
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

/// All nodes run with a configuration that the checkers do not know of.
fn astray(change: impl FnOnce(&mut Config)) -> Planted {
    Planted { config: Some(configured(change)), ..Planted::default() }
}

/// All nodes run with the usual configuration, whatever the scenario says.
fn usual() -> Planted {
    Planted { config: Some(Arc::default()), ..Planted::default() }
}

#[track_caller]
fn assert_fires(report: &Report, id: &str) {
    let check = report.checks.iter().find(|check| check.id == id).expect("the check exists");
    assert!(check.violations > 0, "{id} does not fire: {report}");
    assert!(matches!(report.verdict, Verdict::Violation | Verdict::Liveness), "{report}");
}

#[test]
fn each_check_has_a_test_that_sees_it_fire() {
    let here = include_str!("planted.rs");
    let by_canary = include_str!("../canaries.rs");
    let fires = |id: &&str| here.contains(&format!(", \"{id}\");")) || by_canary.contains(&format!(", \"{id}\"),"));
    let never: Vec<_> = IDS.into_iter().filter(|id| !fires(id)).collect();
    assert!(never.is_empty(), "nothing makes {never:?} fire");
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
    assert_fires(&run(&quiet(), silent), "R4");
}

#[test]
fn a_publisher_that_refuses_in_the_quiet_is_found_out() {
    let refusing = tamper(|_, action| match action {
        Action::Emit(Event::Published { op, .. }) => {
            vec![Action::Emit(Event::Failed { op, error: OpError::Refused(Refusal::LogUnsynced) })]
        }
        action => vec![action],
    });
    assert_fires(&run(&quiet(), refusing), "R4-ack");
}

#[test]
fn a_search_that_finds_nothing_is_found_out() {
    let blind = tamper(|_, mut action| {
        if let Action::Emit(Event::SearchDone { page, .. }) = &mut action {
            page.hits.clear();
        }
        vec![action]
    });
    assert_fires(&run(&quiet(), blind), "R4");
}

#[test]
fn altered_bytes_are_found_out() {
    let corrupting = tamper(|_, mut action| {
        if let Action::Store { request: StoreRequest::PutBlock { data, .. }, .. } = &mut action {
            *data = vec![0; data.len()].into();
        }
        vec![action]
    });
    assert_fires(&run(&quiet(), corrupting), "R3");
}

#[test]
fn lookups_that_miss_close_nodes_are_found_out() {
    assert_fires(&run(&quiet(), astray(|config| config.kad.k = 3)), "K4");
}

#[test]
fn lookups_out_of_order_are_found_out() {
    let backwards = tamper(|_, mut action| {
        if let Action::Emit(Event::Dht { result: DhtResult::Closest { peers, .. }, .. }) = &mut action {
            peers.reverse();
        }
        vec![action]
    });
    assert_fires(&run(&idle(14), backwards), "K2");
}

#[test]
fn lookups_with_too_many_hops_are_found_out() {
    let detours = tamper(|_, mut action| {
        if let Action::Emit(Event::Dht { result: DhtResult::Closest { hops, .. }, .. }) = &mut action {
            *hops += 10;
        }
        vec![action]
    });
    assert_fires(&run(&quiet(), detours), "K4-hops");
}

#[test]
fn an_update_told_twice_is_found_out() {
    let repeating = tamper(|_, action| match action {
        Action::Emit(Event::Update { .. }) => vec![action.clone(), action],
        action => vec![action],
    });
    assert_fires(&run(&quiet(), repeating), "U1");
}

#[test]
fn an_update_never_told_is_found_out() {
    let forgetful = tamper(|node, action| match action {
        Action::Emit(Event::Update { .. }) if node == 3 => vec![],
        action => vec![action],
    });
    assert_fires(&run(&quiet(), forgetful), "U4");
}

#[test]
fn a_message_delivered_twice_is_found_out() {
    let repeating = tamper(|_, action| match action {
        Action::Emit(Event::PubsubMessage { .. }) => vec![action.clone(), action],
        action => vec![action],
    });
    assert_fires(&run(&quiet(), repeating), "G1");
}

#[test]
fn a_message_that_nobody_sent_so_is_found_out() {
    let altering = tamper(|_, mut action| {
        if let Action::Emit(Event::PubsubMessage { data, .. }) = &mut action {
            *data = data[..data.len() - 1].to_vec().into();
        }
        vec![action]
    });
    assert_fires(&run(&quiet(), altering), "G1-data");
}

#[test]
fn a_message_never_delivered_is_found_out() {
    let forgetful = tamper(|node, action| match action {
        Action::Emit(Event::PubsubMessage { .. }) if node == 3 => vec![],
        action => vec![action],
    });
    assert_fires(&run(&quiet(), forgetful), "G4");
}

#[test]
fn an_operation_that_never_ends_is_found_out() {
    let hanging = tamper(|_, action| match action {
        Action::Emit(Event::Fetched { .. }) => vec![],
        action => vec![action],
    });
    assert_fires(&run(&quiet(), hanging), "N2-end");
}

#[test]
fn a_timer_that_does_not_move_is_found_out() {
    let mut scenario = quiet();
    (scenario.work.lasts, scenario.work.publishes, scenario.judge.calm) = (60 * SECOND, 1, 10 * SECOND);
    assert_fires(&run(&scenario, Planted { deaf: Some(1), ..Planted::default() }), "N2-spin");
}

#[test]
fn a_frame_over_the_limit_is_found_out() {
    assert_fires(&run(&quiet(), Planted { bloated: Some(2), ..Planted::default() }), "N1-frame");
}

#[test]
fn an_overfull_bucket_is_found_out() {
    assert_fires(&run(&idle(60), astray(|config| config.kad.k = 60)), "K1");
}

#[test]
fn an_overfull_mesh_is_found_out() {
    let wide = |config: &mut Config| (config.gossip.d, config.gossip.d_lo, config.gossip.d_hi) = (20, 18, 30);
    assert_fires(&run(&idle(30), astray(wide)), "G2");
}

#[test]
fn tables_that_do_not_recover_are_found_out() {
    let mut scenario = idle(14);
    scenario.work.lasts = 32 * 60 * SECOND;
    assert_fires(&run(&scenario, astray(|config| config.kad.k = 3)), "K5");
}

#[test]
fn a_node_that_nobody_reaches_is_found_out() {
    let alone = tamper(|node, action| match action {
        Action::Dial { .. } if node == 3 => vec![],
        action => vec![action],
    });
    assert_fires(&run(&idle(8), alone), "K7");
}

#[test]
fn a_mesh_that_only_one_side_knows_is_found_out() {
    let mute = tamper(|node, action| match action {
        Action::Send { msg, .. } if node == 3 && msg.protocol() == Protocol::Gossip => vec![],
        action => vec![action],
    });
    assert_fires(&run(&idle(14), mute), "G5");
}

#[test]
fn a_charge_against_an_honest_node_is_found_out() {
    let slander = tamper(|_, action| match action {
        Action::Emit(Event::PeerUp(peer)) => {
            let offence = Offence::BadBlock;
            vec![
                Action::Emit(Event::PeerUp(peer)),
                Action::Emit(Event::PeerMisbehaved { peer, offence, banned: false }),
            ]
        }
        action => vec![action],
    });
    assert_fires(&run(&idle(8), slander), "H1");
}

#[test]
fn a_book_over_its_cap_is_found_out() {
    let config = configured(|config| (config.peers.max_known, config.peers.max_connections) = (1, 1));
    assert_fires(&run(&Scenario { config, ..idle(80) }, usual()), "N1");
}

#[test]
fn caches_over_their_caps_are_found_out() {
    let config = configured(|config| config.gossip.seen_capacity = 1);
    assert_fires(&run(&Scenario { config, ..quiet() }, usual()), "G3");
}

#[test]
fn provider_records_over_their_quota_are_found_out() {
    let config = configured(|config| config.kad.max_provider_records = 1);
    assert_fires(&run(&Scenario { config, ..idle(14) }, usual()), "K2-load");
}

#[test]
fn a_storm_of_events_is_found_out() {
    let mut is_due = true;
    let storm = tamper(move |node, action| {
        let is_first = node == 3 && is_due && matches!(action, Action::Send { .. });
        is_due &= !is_first;
        vec![action; if is_first { 60_000 } else { 1 }]
    });
    assert_fires(&run(&idle(8), storm), "N2");
}

#[test]
fn a_network_that_does_not_come_to_rest_is_found_out() {
    let hasty = |config: &mut Config| config.sync.interval = Duration::from_millis(20);
    assert_fires(&run(&idle(8), astray(hasty)), "N4");
}

#[test]
fn a_panic_is_found_out() {
    let mut actions = 0;
    let failing = tamper(move |_, action| {
        actions += 1;
        assert!(actions < 1_000, "planted");
        vec![action]
    });
    let report = run(&idle(8), failing);
    assert_fires(&report, "N3");
    let said = &report.checks.iter().find(|check| check.id == "N3").expect("the check exists").examples[0];
    assert!(said.contains("planted"), "{said}");
}

#[test]
fn a_release_that_nobody_published_is_found_out() {
    let invented = altering(|release| release.release.meta.name = Name::new("invented").expect("a name"));
    assert_fires(&run(&idle(8), invented), "R1");
}

#[test]
fn two_statements_of_one_version_are_found_out() {
    let forged = altering(|release| release.statement = Digest::of(b"another"));
    assert_fires(&run(&idle(8), forged), "R2");
}

#[test]
fn a_search_for_what_is_not_current_is_found_out() {
    let stale = tamper(|_, mut action| {
        if let Action::Emit(Event::SearchDone { page, .. }) = &mut action {
            page.hits.iter_mut().for_each(|hit| Arc::make_mut(&mut hit.release).statement = Digest::of(b"older"));
        }
        vec![action]
    });
    assert_fires(&run(&idle(8), stale), "X1");
}

#[test]
fn a_log_that_is_not_stored_is_found_out() {
    let forgetful = || {
        tamper(|_, mut action| {
            if let Action::Store { request: StoreRequest::Commit(writes), .. } = &mut action {
                writes.retain(|write| write.table != Table::Log);
            }
            vec![action]
        })
    };
    assert_fires(&run(&idle(8), forgetful()), "R5-out");
    let mut scenario = quiet();
    scenario.set_crashes(50);
    // Who garbles what it sends owes its own disk what everybody does.
    let (fault, who, lasts) = (Fault::Garble { ppm: 20_000 }, Who::All, Some(10 * SECOND));
    scenario.phases.push(Phase { at: 0, fault, who, lasts });
    assert_fires(&run(&scenario, forgetful()), "R5");
}

/// Node 3 tells its application of other releases than there are.
fn altering(change: impl Fn(&mut ReleaseInfo) + 'static) -> Planted {
    tamper(move |node, mut action| {
        if let Action::Emit(Event::Update { release, .. }) = &mut action
            && node == 3
        {
            change(Arc::make_mut(release));
        }
        vec![action]
    })
}

#[test]
fn a_core_that_does_not_find_what_it_holds_is_told_from_one_that_has_lost_it() {
    let mut scenario = quiet();
    scenario.judge.core = 0.5;
    let mute = tamper(|_, action| match action {
        Action::Emit(Event::Fetched { op, .. }) => vec![Action::Emit(Event::Failed { op, error: OpError::Cancelled })],
        action => vec![action],
    });
    let stuck = run(&scenario, mute);
    assert_eq!(stuck.verdict, Verdict::Liveness, "{stuck}");
    scenario.judge.core = 0.1;
    scenario.work.gets = 0;
    let lost = run(&scenario, Planted::default());
    assert_eq!(lost.verdict, Verdict::Unrecoverable, "{lost}");
}
