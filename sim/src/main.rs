//! `sim`: runs a virtual network from the command line.

use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use sim::Scenario;

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

impl Run {
    fn scenario(&self) -> Scenario {
        Scenario {
            minutes: self.minutes,
            loss_ppm: (self.loss * 10_000.0).round() as u64,
            rtt_ms: self.rtt,
            publishes: self.publishes,
            searches: self.searches,
            gets: self.gets,
            messages: self.messages,
            restarts_percent: self.restarts,
            wire: self.wire,
            ..Scenario::standard(self.nodes, self.seed)
        }
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
    let Command::Run(run) = cli.command;
    let command = run.replay();
    if run.json {
        eprintln!("{command}")
    } else {
        println!("{command}")
    }
    let report = sim::run(&run.scenario(), command);
    if run.json {
        println!("{}", serde_json::to_string(&report).expect("a report is plain data"));
    } else {
        print!("{report}");
    }
    ExitCode::from(report.verdict.exit_code())
}
