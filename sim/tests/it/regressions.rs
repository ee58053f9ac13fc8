//! Failures of the past, replayed: each must pass but for what nobody could recover, must still apply and put to the
//! test what did not hold, and must be the same run however it is carried out.

use std::path::PathBuf;

use sim::schedule::Bug;
use sim::{Options, Report, Simulation, Verdict};

fn replay(bug: &Bug, options: &Options) -> Report {
    Simulation::new(&bug.scenario, bug.seed, bug.schedule(), options).finish()
}

#[test]
fn no_failure_of_the_past_is_back() {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/regressions");
    let entries = std::fs::read_dir(directory).expect("the directory is committed");
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("it can be read").path()).collect();
    files.sort_unstable();
    assert!(!files.is_empty(), "nothing is replayed");
    for file in files {
        let bug = Bug::read(&file).unwrap_or_else(|why| panic!("{why:?}"));
        let mut report = replay(&bug, &Options::default());
        report.compare(&replay(&bug, &Options::unusual(1)));
        let (verdict, is_back) = bug.judge(&report);
        let is_clean = matches!(verdict, Verdict::Pass | Verdict::Unrecoverable);
        assert!(is_clean && !is_back, "{}: {report}", file.display());
    }
}
