//! `sim flood`.

use clap::Args;
use sim::flood::FloodScenario;

use super::{Done, announce, tell};

#[derive(Args)]
pub(super) struct Flood {
    /// Virtual nodes, a fifth of them attackers.
    #[arg(long, default_value_t = 40, value_parser = clap::value_parser!(u32).range(10..=10_000))]
    nodes: u32,
    /// Honest packages, one statement each.
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u32).range(10..=100_000))]
    honest: u32,
    /// Statements of the flood for each honest one.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    flood: u32,
    /// What a node keeps, in times of the honest statements.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(2..=100_000))]
    budget: u32,
    /// Decides every random choice.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Write one JSON object.
    #[arg(long)]
    json: bool,
}

impl Flood {
    pub(super) fn run(&self) -> Done {
        let command = announce(&self.replay(), self.json);
        let report = sim::flood::run(&self.scenario(), command);
        tell(&report, report.verdict, self.json)
    }

    fn scenario(&self) -> FloodScenario {
        FloodScenario {
            nodes: self.nodes,
            honest: self.honest as usize,
            flood: self.flood as usize,
            budget: self.budget as usize,
            seed: self.seed,
        }
    }

    /// The whole command, with every value that decides the run.
    fn replay(&self) -> String {
        let Self { nodes, honest, flood, budget, seed, json: _ } = self;
        format!(
            "flood --nodes {nodes} --honest {honest} --flood {flood} --budget {budget} \
             --seed {seed}"
        )
    }
}
