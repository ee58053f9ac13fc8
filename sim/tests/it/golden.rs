//! Digests of small runs, committed: a change of behaviour shows, also between debug and release builds.
//!
//! `BLESS=1 cargo test -p sim golden` writes the file anew; its difference belongs into the commit that causes it.

use std::fmt::Write as _;
use std::path::Path;

use sim::{Scenario, run};

const FILE: &str = "tests/it/golden.txt";

fn scenarios() -> [(&'static str, Scenario, u64); 4] {
    let mut lossy = Scenario::small(12);
    lossy.set_loss(50_000);
    let mut fixed = Scenario::small(12);
    fixed.net.rtt = Some(50_000);
    [
        ("quiet", Scenario::small(10).quiet(), 1),
        ("small", Scenario::small(16), 1),
        ("lossy", lossy, 7),
        ("fixed-rtt", fixed, 3),
    ]
}

#[test]
fn golden_digests_are_what_they_were() {
    let mut now = String::new();
    for (name, scenario, seed) in scenarios() {
        let report = run(&scenario, seed);
        writeln!(now, "{name} {} {}", report.digest, report.events).expect("a string takes all");
    }
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(FILE);
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&file, &now).expect("the golden file can be written");
    }
    let golden = std::fs::read_to_string(&file).expect("the golden file is committed");
    assert_eq!(now, golden, "behaviour has changed; if that is meant: BLESS=1 cargo test -p sim golden");
}
