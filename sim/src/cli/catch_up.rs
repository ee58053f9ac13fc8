//! `sim catch-up`.

use clap::Args;
use sim::catch_up::CatchUpScenario;

use super::{Done, announce, tell};

#[derive(Args)]
pub(super) struct CatchUp {
    /// Packages.
    #[arg(long, default_value_t = 60_000, value_parser = clap::value_parser!(u32).range(10..=1_000_000))]
    packages: u32,
    /// Publishers, to whom packages go in turn.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(2..=100_000))]
    publishers: u32,
    /// Publishers that have released second versions meanwhile.
    #[arg(long, default_value_t = 10)]
    changed: u32,
    /// Second versions of each of them.
    #[arg(long, default_value_t = 100)]
    each: u32,
    /// The node was never there.
    #[arg(long)]
    empty: bool,
    /// Decides every random choice.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Write one JSON object.
    #[arg(long)]
    json: bool,
}

impl CatchUp {
    pub(super) fn run(&self) -> Done {
        let command = announce(&self.replay(), self.json);
        let report = sim::catch_up::run(&self.scenario(), command);
        tell(&report, report.verdict, self.json)
    }

    fn scenario(&self) -> CatchUpScenario {
        CatchUpScenario {
            packages: self.packages as usize,
            publishers: self.publishers as usize,
            updates: (self.changed as usize, self.each as usize),
            empty: self.empty,
            seed: self.seed,
        }
    }

    /// The whole command, with every value that decides the run.
    fn replay(&self) -> String {
        let Self { packages, publishers, changed, each, empty, seed, json: _ } = self;
        let empty = if *empty { " --empty" } else { "" };
        format!(
            "catch-up --packages {packages} --publishers {publishers} --changed {changed} \
             --each {each}{empty} --seed {seed}"
        )
    }
}
