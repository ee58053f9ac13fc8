//! Small worlds under all faults: every check holds, whatever the seed.

use sim::{Scenario, Verdict, run};

#[test]
fn small_worlds_pass_under_faults() {
    for seed in 1..=4 {
        let report = run(&Scenario::small(16 + 4 * seed as u32, seed), format!("seed {seed}"));
        assert_eq!(report.verdict, Verdict::Pass, "seed {seed}: {report}");
    }
}

#[test]
fn a_world_with_heavy_loss_passes_in_the_calm() {
    let report = run(&Scenario { loss_ppm: 50_000, ..Scenario::small(20, 11) }, String::new());
    assert_eq!(report.verdict, Verdict::Pass, "{report}");
    assert!(report.faults.lost_messages > 0 && report.faults.crashes > 0);
}
