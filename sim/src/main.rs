//! `sim`: runs a virtual network from the command line.

use std::fmt::Display;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use serde::Serialize;
use sim::catch_up::CatchUpScenario;
use sim::flood::FloodScenario;
use sim::light::LightScenario;
use sim::scenario::{SECOND, Work};
use sim::{Options, Scenario, Simulation, Verdict, plan};

/// A thousand nodes are millions of small allocations that live long and die in no order.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Exit code of a command line that cannot be understood.
const USAGE: u8 = 64;

/// Thousands of registry nodes in one process, replayable from a seed.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the standard workload under faults and judge it.
    ///
    /// Exits with 0 when all checks hold, 1 when one is violated, 2 when one was never evaluated.
    Run(Run),
    /// Let light nodes search among others, some of which lie, and compare with what is true.
    ///
    /// Exits as `run` does.
    Light(Light),
    /// Let a node that was away catch up with one that holds everything, and count what moves.
    ///
    /// Exits as `run` does.
    CatchUp(CatchUp),
    /// Flood honest nodes with statements of fresh publishers that imitate the honest ones, and look for the honest
    /// packages.
    ///
    /// Exits as `run` does.
    Flood(Flood),
}

#[derive(Args)]
struct Run {
    /// Virtual nodes.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(2..=1_000_000))]
    nodes: u32,
    /// Decides every random choice.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Virtual minutes of work after joining.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(2..=10_000))]
    minutes: u64,
    /// Messages and requests lost while faults are on, in percent.
    #[arg(long, default_value_t = 1.0, value_parser = percent)]
    loss: f64,
    /// The same round trip between all nodes, in milliseconds, instead of places on a map.
    #[arg(long)]
    rtt: Option<u64>,
    /// Packages to publish.
    #[arg(long, default_value_t = 200)]
    publishes: u32,
    /// Searches to make.
    #[arg(long, default_value_t = 1_000)]
    searches: u32,
    /// Packages to fetch.
    #[arg(long, default_value_t = 1_000)]
    gets: u32,
    /// Pubsub messages on a topic all nodes follow.
    #[arg(long, default_value_t = 20)]
    messages: u32,
    /// Nodes to crash and restart, in percent.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(..=100))]
    restarts: u64,
    /// Round-trip every message through its codec.
    #[arg(long)]
    wire: bool,
    /// Write one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct Light {
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

#[derive(Args)]
struct CatchUp {
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

#[derive(Args)]
struct Flood {
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
            "cargo run --release -p sim -- flood --nodes {nodes} --honest {honest} --flood {flood} --budget {budget} \
             --seed {seed}"
        )
    }
}

impl CatchUp {
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
            "cargo run --release -p sim -- catch-up --packages {packages} --publishers {publishers} --changed {changed} \
             --each {each}{empty} --seed {seed}"
        )
    }
}

impl Light {
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
            "cargo run --release -p sim -- light --nodes {nodes} --light {light} --liars {liars}{file} --count {count} \
             --searches {searches} --seed {seed}"
        )
    }
}

impl Run {
    fn scenario(&self) -> Scenario {
        let mut scenario = Scenario::standard(self.nodes);
        scenario.net.rtt = self.rtt.map(|ms| ms * 1_000);
        let minutes = self.minutes * 60 * SECOND;
        scenario.work = Work {
            lasts: minutes,
            publishes: self.publishes,
            searches: self.searches,
            gets: self.gets,
            messages: self.messages,
        };
        scenario.set_loss((self.loss * 10_000.0).round() as u64);
        scenario.set_crashes(self.restarts);
        scenario
    }

    /// The whole command, with every value that decides the run.
    fn replay(&self) -> String {
        let Self { nodes, seed, minutes, loss, rtt, publishes, searches, gets, messages, restarts, wire, json: _ } =
            self;
        let rtt = rtt.map_or(String::new(), |rtt| format!(" --rtt {rtt}"));
        let wire = if *wire { " --wire" } else { "" };
        format!(
            "cargo run --release -p sim -- run --nodes {nodes} --seed {seed} --minutes {minutes} --loss {loss}{rtt} \
             --publishes {publishes} --searches {searches} --gets {gets} --messages {messages} --restarts {restarts}{wire}"
        )
    }
}

fn percent(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(value) if (0.0..=100.0).contains(&value) => Ok(value),
        _ => Err("must be a number from 0 to 100".into()),
    }
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(USAGE) } else { ExitCode::SUCCESS };
        }
    };
    match cli.command {
        Command::Run(run) => {
            let command = announce(run.replay(), run.json);
            let (scenario, options) = (run.scenario(), Options { wire: run.wire, ..Options::default() });
            let schedule = plan(&scenario, run.seed);
            let mut report = Simulation::new(&scenario, run.seed, schedule, &options).finish();
            report.command = command;
            tell(&report, report.verdict, run.json)
        }
        Command::CatchUp(catch_up) => {
            let command = announce(catch_up.replay(), catch_up.json);
            let report = sim::catch_up::run(&catch_up.scenario(), command);
            tell(&report, report.verdict, catch_up.json)
        }
        Command::Flood(flood) => {
            let command = announce(flood.replay(), flood.json);
            let report = sim::flood::run(&flood.scenario(), command);
            tell(&report, report.verdict, flood.json)
        }
        Command::Light(light) => {
            let command = announce(light.replay(), light.json);
            match sim::light::run(&light.scenario(), command) {
                Ok(report) => tell(&report, report.verdict, light.json),
                Err(error) => {
                    eprintln!("the packages cannot be read: {error}");
                    ExitCode::from(USAGE)
                }
            }
        }
    }
}

/// Shows what repeats the run before it begins.
fn announce(command: String, json: bool) -> String {
    if json {
        eprintln!("{command}")
    } else {
        println!("{command}")
    }
    command
}

fn tell(report: &(impl Serialize + Display), verdict: Verdict, json: bool) -> ExitCode {
    if json {
        println!("{}", serde_json::to_string(report).expect("a report is plain data"));
    } else {
        print!("{report}");
    }
    ExitCode::from(verdict.exit_code())
}
