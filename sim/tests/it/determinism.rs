//! The same run twice is the same run; what matters changes it, and what must not matter does not.

use std::sync::Arc;

use registry_core::{Config, Duration};
use sim::queue::QueueKind;
use sim::scenario::SECOND;
use sim::{Options, Report, Scenario, Simulation, plan, run};

fn digest(scenario: &Scenario, seed: u64) -> String {
    run(scenario, seed).digest
}

fn digest_with(options: Options) -> String {
    let scenario = Scenario::small(12);
    Simulation::new(&scenario, 1, plan(&scenario, 1), &options).finish().digest
}

#[test]
fn one_seed_gives_one_report() {
    let report = || Report { cpu_seconds: None, peak_rss_bytes: None, ..run(&Scenario::small(12), 1) };
    assert_eq!(report(), report());
}

#[test]
fn another_seed_gives_another_digest() {
    assert_ne!(digest(&Scenario::small(12), 1), digest(&Scenario::small(12), 2));
}

#[test]
fn another_back_off_gives_another_digest() {
    let mut config = Config::default();
    config.peers.min_backoff += Duration::from_millis(1);
    let other = Scenario { config: Arc::new(config), ..Scenario::small(12) };
    assert_ne!(digest(&Scenario::small(12), 1), digest(&other, 1));
}

#[test]
fn encoding_every_message_changes_nothing() {
    assert_eq!(digest_with(Options::default()), digest_with(Options { wire: true, ..Options::default() }));
}

#[test]
fn timeouts_at_odd_moments_change_nothing() {
    assert_eq!(digest_with(Options::default()), digest_with(Options { spurious: true, ..Options::default() }));
}

#[test]
fn another_queue_changes_nothing() {
    assert_eq!(digest_with(Options::default()), digest_with(Options { queue: QueueKind::Heap, ..Options::default() }));
}

#[test]
fn another_hasher_key_changes_nothing() {
    assert_eq!(digest_with(Options::default()), digest_with(Options { hasher_key: 99, ..Options::default() }));
}

#[test]
fn the_digest_of_each_second_is_kept_and_the_last_is_that_of_the_report() {
    let scenario = Scenario::small(8);
    let mut simulation = Simulation::new(&scenario, 1, plan(&scenario, 1), &Options::default());
    simulation.record(3);
    while simulation.advance(SECOND) {}
    let seconds = simulation.seconds().clone();
    assert_eq!(seconds.digests.last(), Some(&simulation.world().digest()));
    let (first, last) = (3 * SECOND, 4 * SECOND);
    assert!(!seconds.events.is_empty() && seconds.events.iter().all(|event| (first..last).contains(&event.key.at)));
    assert_eq!(seconds.events[0].before, seconds.digests[2]);
}
