//! Digests of small runs, committed: a change of behaviour shows, also between debug and release builds.
//!
//! `BLESS=1 cargo test -p sim golden` writes the file anew; its difference belongs into the commit that causes it.

use std::fmt::Write as _;
use std::path::Path;

use sim::{Scenario, run};

const FILE: &str = "tests/it/golden.txt";

fn scenarios() -> [(&'static str, Scenario); 4] {
    let quiet = Scenario { loss_ppm: 0, resets_per_mille: 0, restarts_percent: 0, ..Scenario::small(10, 1) };
    [
        ("quiet", quiet),
        ("small", Scenario::small(16, 1)),
        ("lossy", Scenario { loss_ppm: 50_000, ..Scenario::small(12, 7) }),
        ("fixed-rtt", Scenario { rtt_ms: Some(50), ..Scenario::small(12, 3) }),
    ]
}

#[test]
fn golden_digests_are_what_they_were() {
    let mut now = String::new();
    for (name, scenario) in scenarios() {
        let report = run(&scenario, String::new());
        writeln!(now, "{name} {} {}", report.digest, report.events).expect("a string takes all");
    }
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(FILE);
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&file, &now).expect("the golden file can be written");
    }
    let golden = std::fs::read_to_string(&file).expect("the golden file is committed");
    assert_eq!(now, golden, "behaviour has changed; if that is meant: BLESS=1 cargo test -p sim golden");
}
