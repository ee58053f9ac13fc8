//! Small worlds under all faults: every check holds, whatever the seed.

use sim::fault::Effect;
use sim::{Scenario, Verdict, run};

#[test]
fn small_worlds_pass_under_faults() {
    for seed in 1..=4 {
        let report = run(&Scenario::small(16 + 4 * seed as u32), seed);
        assert_eq!(report.verdict, Verdict::Pass, "seed {seed}: {report}");
    }
}

#[test]
fn a_world_with_heavy_loss_passes_in_the_calm() {
    let mut scenario = Scenario::small(20);
    scenario.set_loss(50_000);
    let report = run(&scenario, 11);
    assert_eq!(report.verdict, Verdict::Pass, "{report}");
    assert!(report.faults.of(Effect::LostMessage) > 0 && report.faults.of(Effect::Crash) > 0, "{report}");
}
