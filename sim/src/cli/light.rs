//! `sim light`.

use std::path::PathBuf;

use clap::Args;
use sim::light::LightScenario;

use super::{Done, announce, tell};

#[derive(Args)]
pub(super) struct Light {
    /// Virtual nodes.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(10..=1_000_000))]
    nodes: u32,
    /// Of these, so many percent are light.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=90))]
    light: u32,
    /// Of the others, so many percent lie.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u32).range(..=100))]
    liars: u32,
    /// A file with one JSON object per package: name, version, summary, description, tags, depends. Otherwise they are
    /// made up.
    #[arg(long, value_name = "FILE")]
    packages: Option<PathBuf>,
    /// Packages.
    #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(10..=100_000))]
    count: u32,
    /// Searches of each light node.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    searches: u32,
    /// Decides every random choice.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Write one JSON object.
    #[arg(long)]
    json: bool,
}

impl Light {
    pub(super) fn run(&self) -> Done {
        let command = announce(&self.replay(), self.json);
        let report = sim::light::run(&self.scenario(), command)
            .map_err(|error| format!("the packages cannot be read: {error}"))?;
        tell(&report, report.verdict, self.json)
    }

    fn scenario(&self) -> LightScenario {
        LightScenario {
            nodes: self.nodes,
            light_percent: self.light,
            liars_percent: self.liars,
            packages: self.count as usize,
            file: self.packages.clone(),
            searches: self.searches,
            seed: self.seed,
        }
    }

    /// The whole command, with every value that decides the run.
    fn replay(&self) -> String {
        let Self { nodes, light, liars, packages, count, searches, seed, json: _ } = self;
        let file = packages.as_ref().map_or(String::new(), |file| format!(" --packages {}", file.display()));
        format!(
            "light --nodes {nodes} --light {light} --liars {liars}{file} --count {count} \
             --searches {searches} --seed {seed}"
        )
    }
}
