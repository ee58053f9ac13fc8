//! Every planted bug is found within its budget of seeds, and without one the same runs pass.

use std::sync::Arc;

use registry_core::{Canary, Config, Duration};
use sim::adversary::Hostile;
use sim::engine::{Down, Planted};
use sim::fault::Paths;
use sim::net::Transport;
use sim::scenario::{Between, Late, Often, Phase, Random, SECOND, Who};
use sim::{Fault, Options, Report, Scenario, Simulation, Verdict, plan};

/// Seeds of each scenario in which a bug must show.
const SEEDS: u64 = 4;

/// Checks that only a bug in the core makes fire, and the bug.
const ONLY_BY_CANARY: [(Canary, &str); 4] = [
    (Canary::KadEvictsLive, "K3"),
    (Canary::KadKeepsProviders, "R6"),
    (Canary::CatalogGoesBack, "R2-log"),
    (Canary::PeersNeverForgive, "N1-ban"),
];

/// Small tables and meshes that overflow, nodes that come and go, some that come when all is said, and in the end a quarter
/// that is gone for good.
fn crowded() -> Scenario {
    let mut config = Config::default();
    (config.kad.k, config.kad.alpha) = (5, 3);
    config.kad.provider_ttl = Duration::from_secs(120);
    config.kad.provider_republish = Duration::from_secs(50);
    (config.gossip.d, config.gossip.d_lo, config.gossip.d_hi, config.gossip.d_out) = (3, 2, 4, 1);
    let mut scenario = Scenario { config: Arc::new(config), ..small(30) };
    let lasts = between(5, 60);
    scenario.random = vec![
        random(6, Fault::Crash { down: Down::Refusing, disk_lost: false }, Who::Count(1), lasts),
        random(3, Fault::Crash { down: Down::Silent, disk_lost: true }, Who::Count(1), lasts),
        random(3, Fault::Stop, Who::Count(1), lasts),
        random(300, Fault::Reset, Who::Count(2), None),
    ];
    scenario.net.late = Some(Late { share: 0.2, at: 330 * SECOND, within: 20 * SECOND });
    scenario.work.gets = 300;
    scenario.judge.core = 0.75;
    scenario
}

/// Partitions, failing disks and restarts; what was announced in a part of the network is announced again after it.
fn torn() -> Scenario {
    let mut config = Config::default();
    (config.kad.record_republish, config.kad.provider_republish) = (Duration::from_secs(60), Duration::from_secs(60));
    let mut scenario = Scenario { config: Arc::new(config), ..small(14) };
    scenario.random = vec![
        random(2, Fault::Partition { paths: Paths::Both }, Who::Share(0.3), between(130, 200)),
        random(3, Fault::DiskError { ppm: 500_000 }, Who::Share(0.5), between(30, 60)),
        random(4, Fault::Crash { down: Down::Refusing, disk_lost: false }, Who::Count(1), between(5, 20)),
    ];
    scenario
}

/// Nodes that forge, and are banned for a while; half of those who ask are light.
fn forged() -> Scenario {
    let mut config = Config::default();
    config.peers.ban_time = Duration::from_secs(30);
    let mut scenario = Scenario { config: Arc::new(config), ..small(14) };
    scenario.net.light = 7;
    scenario.work.searches = 300;
    scenario.random = vec![
        random(1, Fault::Hostile(Hostile::ForgedStatements), Who::Nodes(vec![1, 3, 4]), between(200, 240)),
        random(1, Fault::Hostile(Hostile::StaleAnswers), Who::Nodes(vec![2]), between(200, 240)),
    ];
    scenario
}

/// Datagrams that are lost, overtaken and repeated long after.
fn strewn() -> Scenario {
    let mut scenario = small(12);
    scenario.work.publishes = 60;
    scenario.net.transport = Transport::Datagrams;
    let always = |fault| Phase { at: 10 * SECOND, fault, who: Who::All, lasts: None };
    scenario.phases = vec![
        always(Fault::loss(20_000)),
        always(Fault::Duplicate { ppm: 300_000, within: 30 * SECOND }),
        always(Fault::Reorder { ppm: 300_000, within: 5 * SECOND }),
    ];
    scenario
}

/// Nodes that answer searches as if there was nothing, to the end; half of those who ask are light, and some of what they
/// ask is lost.
fn withheld() -> Scenario {
    let mut scenario = small(14);
    scenario.net.light = 7;
    scenario.net.transport = Transport::Datagrams;
    scenario.phases = vec![
        Phase { at: 0, fault: Fault::Hostile(Hostile::EmptyFinds), who: Who::Nodes(vec![1, 2]), lasts: None },
        Phase { at: 10 * SECOND, fault: Fault::loss(20_000), who: Who::All, lasts: None },
    ];
    scenario
}

fn small(nodes: u32) -> Scenario {
    let mut scenario = Scenario::small(nodes).quiet();
    scenario.work.lasts = 600 * SECOND;
    (scenario.work.publishes, scenario.work.searches, scenario.work.gets, scenario.work.messages) = (20, 100, 100, 20);
    scenario.judge.calm = 300 * SECOND;
    scenario.judge.probes = 3;
    scenario
}

fn between(least: u64, most: u64) -> Option<Between> {
    Some(Between { least: least * SECOND, most: most * SECOND })
}

fn random(times: u64, fault: Fault, who: Who, lasts: Option<Between>) -> Random {
    Random { often: Often::Times(times), fault, who, lasts }
}

fn run(scenario: &Scenario, seed: u64, canary: Option<Canary>) -> Report {
    let planted = Planted { canary, ..Planted::default() };
    Simulation::new(scenario, seed, plan(scenario, seed), &Options::default()).plant(planted).finish()
}

fn scenarios() -> [(&'static str, Scenario); 5] {
    [("crowded", crowded()), ("torn", torn()), ("forged", forged()), ("strewn", strewn()), ("withheld", withheld())]
}

#[test]
fn without_a_canary_the_runs_pass() {
    let mut failed = Vec::new();
    for (name, scenario) in scenarios() {
        for seed in 1..=SEEDS {
            let report = run(&scenario, seed, None);
            if !matches!(report.verdict, Verdict::Pass | Verdict::Unrecoverable) {
                println!("{name}, seed {seed}: {report}");
                failed.push((name, seed));
            }
        }
    }
    assert!(failed.is_empty(), "without a bug: {failed:?}");
}

#[test]
fn every_canary_is_found() {
    let mut missed = Vec::new();
    for canary in Canary::ALL {
        let name = format!("{canary:?}");
        let found = (1..=SEEDS).find_map(|seed| {
            scenarios().into_iter().find_map(|(scenario, it)| {
                let report = run(&it, seed, Some(*canary));
                let ids: Vec<_> = report.checks.iter().filter(|it| it.violations > 0).map(|it| it.id).collect();
                let wanted = ONLY_BY_CANARY.iter().find(|(by, _)| by == canary).map(|(_, id)| id);
                let fires = wanted.is_none_or(|id| ids.contains(id));
                (fires && matches!(report.verdict, Verdict::Violation | Verdict::Liveness))
                    .then(|| format!("{scenario}, seed {seed}: {}", ids.join(" ")))
            })
        });
        match found {
            Some(found) => println!("{name:<24} {found}"),
            None => missed.push(name),
        }
    }
    assert!(missed.is_empty(), "not found in {SEEDS} seeds of each scenario: {missed:?}");
}
