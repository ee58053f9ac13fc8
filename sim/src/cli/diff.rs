//! `sim diff`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use sim::Verdict;

use super::{Done, say};

#[derive(Args)]
pub(super) struct Diff {
    /// What `run --trace` has written.
    a: PathBuf,
    /// The same of the other run.
    b: PathBuf,
}

struct Lines {
    seconds: Vec<String>,
    events: Vec<String>,
}

impl Diff {
    pub(super) fn run(&self) -> Done {
        let (a, b) = (read(&self.a)?, read(&self.b)?);
        let Some(second) = first_difference(&a.seconds, &b.seconds) else {
            say(format_args!("equal in all {} virtual seconds", a.seconds.len()));
            return Ok(ExitCode::SUCCESS);
        };
        say(format_args!("equal up to virtual second {second}, where they differ:"));
        show(&a.seconds, &b.seconds, second);
        match first_difference(&a.events, &b.events) {
            Some(event) => {
                say(format_args!("of the recorded events the first {event} are equal, then:"));
                show(&a.events, &b.events, event);
            }
            None => say(format_args!("for its events: run both again with --record {second}")),
        }
        Ok(ExitCode::from(Verdict::Nondeterministic.exit_code()))
    }
}

fn read(file: &Path) -> Result<Lines, String> {
    let text = std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    let of = |kind: &str| text.lines().filter(|line| line.starts_with(kind)).map(str::to_owned).collect();
    let lines = Lines { seconds: of("second "), events: of("event ") };
    if lines.seconds.is_empty() {
        return Err(format!("{} is not a trace", file.display()));
    }
    Ok(lines)
}

/// The first place at which two lists differ, the end of one of them included.
fn first_difference(a: &[String], b: &[String]) -> Option<usize> {
    let differing = a.iter().zip(b).position(|(a, b)| a != b);
    differing.or_else(|| (a.len() != b.len()).then(|| a.len().min(b.len())))
}

fn show(a: &[String], b: &[String], place: usize) {
    let line = |lines: &[String]| lines.get(place).map_or("nothing more".into(), String::clone);
    say(format_args!("  a: {}\n  b: {}", line(a), line(b)));
}
