//! The same run twice is the same run; what matters changes it, and what must not matter does not.

use std::sync::Arc;

use registry_core::{Config, Duration};
use sim::{Report, Scenario, run};

fn digest(scenario: &Scenario) -> String {
    run(scenario, String::new()).digest
}

fn small(seed: u64) -> Scenario {
    Scenario::small(12, seed)
}

#[test]
fn one_seed_gives_one_report() {
    let report = || {
        let report = run(&small(1), String::new());
        Report { cpu_seconds: None, peak_rss_bytes: None, ..report }
    };
    assert_eq!(report(), report());
}

#[test]
fn another_seed_gives_another_digest() {
    assert_ne!(digest(&small(1)), digest(&small(2)));
}

#[test]
fn another_back_off_gives_another_digest() {
    let mut config = Config::default();
    config.peers.min_backoff += Duration::from_millis(1);
    assert_ne!(digest(&small(1)), digest(&Scenario { config: Arc::new(config), ..small(1) }));
}

#[test]
fn encoding_every_message_changes_nothing() {
    assert_eq!(digest(&small(1)), digest(&Scenario { wire: true, ..small(1) }));
}

#[test]
fn timeouts_at_odd_moments_change_nothing() {
    assert_eq!(digest(&small(1)), digest(&Scenario { spurious: true, ..small(1) }));
}
