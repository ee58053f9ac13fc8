//! The command line: one file for each command.

mod catch_up;
mod compare;
mod diff;
mod flood;
mod light;
mod list;
mod live;
mod replay;
mod run;
mod swarm;

use std::fmt::Display;
use std::io::{Write as _, stdout};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use serde::Serialize;
use sim::Verdict;

/// Exit code of a command line, or of a file, that cannot be understood.
const USAGE: u8 = 64;
/// What comes before the command's own words in what repeats it.
const PROGRAM: &str = "cargo run --release -p sim --";

/// Thousands of registry nodes in one process, replayable from a seed.
///
/// Exits with 0 when all properties hold, 1 when one is violated, 2 when one was never evaluated, 3 when the network did
/// not recover in time, 4 when two runs that must be equal are not, 5 when a stored run no longer applies, and 64 when the
/// command line or a file cannot be understood.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run one scenario of the library or of a file, and judge it.
    Run(run::Run),
    /// Run random scenarios, one of each seed, and keep what fails.
    Swarm(swarm::Swarm),
    /// Run a failure again from its file, or look at a node in the middle of it.
    Replay(replay::Replay),
    /// Show where two runs that should be equal begin to differ.
    Diff(diff::Diff),
    /// Compare the figures of two reports.
    Compare(compare::Compare),
    /// List the scenarios of the library.
    List,
    /// Let light nodes search among others, some of which lie, and compare with what is true.
    Light(light::Light),
    /// Let a node that was away catch up with one that holds everything, and count what moves.
    CatchUp(catch_up::CatchUp),
    /// Flood honest nodes with statements of fresh publishers that imitate the honest ones, and look for the honest
    /// packages.
    Flood(flood::Flood),
}

/// Understands the command line and does what it says.
pub(crate) fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(USAGE) } else { ExitCode::SUCCESS };
        }
    };
    let done = match cli.command {
        Command::Run(run) => run.run(),
        Command::Swarm(swarm) => swarm.run(),
        Command::Replay(replay) => replay.run(),
        Command::Diff(diff) => diff.run(),
        Command::Compare(compare) => compare.run(),
        Command::List => list::run(),
        Command::Light(light) => light.run(),
        Command::CatchUp(catch_up) => catch_up.run(),
        Command::Flood(flood) => flood.run(),
    };
    done.unwrap_or_else(|error| {
        eprintln!("{error}");
        ExitCode::from(USAGE)
    })
}

/// What a command comes to: an exit code, or why it was not understood.
type Done = Result<ExitCode, String>;

/// Shows what repeats the run before it begins: who ends it early still has that.
fn announce(words: &str, json: bool) -> String {
    let command = format!("{PROGRAM} {words}");
    if json {
        eprintln!("{command}");
    } else {
        say(&command);
        let _ = stdout().flush();
    }
    command
}

/// Writes a line to whoever reads it, who may have read enough.
fn say(line: impl Display) {
    let _ = writeln!(stdout(), "{line}");
}

fn tell(report: &(impl Serialize + Display), verdict: Verdict, json: bool) -> Done {
    if json {
        say(serde_json::to_string(report).expect("a report is plain data"));
    } else {
        say(report.to_string().trim_end());
    }
    Ok(ExitCode::from(verdict.exit_code()))
}

/// Options in the words of the command line; those that were not given are left out.
#[derive(Default)]
struct Words(String);

impl Words {
    fn new(command: &str) -> Self {
        Self(command.into())
    }

    fn option(mut self, name: &str, value: Option<impl Display>) -> Self {
        if let Some(value) = value {
            self.0 += &format!(" --{name} {value}");
        }
        self
    }

    fn flag(mut self, name: &str, on: bool) -> Self {
        if on {
            self.0 += &format!(" --{name}");
        }
        self
    }
}
