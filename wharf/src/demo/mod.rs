//! The main job on real input: every node a process of its own, real packages, real sockets, one of them killed.

mod crates;
mod node;
mod steps;

use std::time::{Duration, Instant};

use serde_json::json;

use crate::args::Demo;
use crate::error::{CliError, Code};
use crate::render;

/// What one step promised and what came.
struct Row {
    step: &'static str,
    expected: String,
    happened: String,
    time: Duration,
    held: bool,
}

/// Collects the rows and tells each as it is done.
struct Report {
    rows: Vec<Row>,
    json: bool,
}

impl Report {
    /// Runs one step. `expected` is said beforehand; the step answers what happened, or why it did not.
    fn step<T>(
        &mut self,
        step: &'static str,
        expected: impl Into<String>,
        run: impl FnOnce() -> Result<(String, T), String>,
    ) -> Result<T, CliError> {
        let start = Instant::now();
        let outcome = run();
        let (happened, held) = match &outcome {
            Ok((happened, _)) => (happened.clone(), true),
            Err(why) => (why.clone(), false),
        };
        let row = Row { step, expected: expected.into(), happened, time: start.elapsed(), held };
        if self.json {
            render::print(&row.json().to_string());
        } else {
            eprintln!("{} {step}: {} ({:.1} s)", if held { "ok  " } else { "FAIL" }, row.happened, row.seconds());
        }
        self.rows.push(row);
        let failed = |why| CliError::new(Code::Other, format!("{step}: {why}"), "run again with --json for each step");
        outcome.map(|(_, value)| value).map_err(failed)
    }
}

impl Row {
    fn seconds(&self) -> f64 {
        self.time.as_secs_f64()
    }

    fn json(&self) -> serde_json::Value {
        json!({
            "event": "step",
            "step": self.step,
            "expected": self.expected,
            "happened": self.happened,
            "seconds": self.seconds(),
            "held": self.held,
        })
    }
}

/// `wharf demo`
pub(crate) fn run(args: &Demo, json: bool) -> Result<(), CliError> {
    let start = Instant::now();
    let mut report = Report { rows: Vec::new(), json };
    let outcome = steps::run(args.packages.into(), &mut report);
    let seconds = start.elapsed().as_secs_f64();
    if json {
        let held = outcome.is_ok();
        render::print(
            &json!({"event": "done", "held": held, "steps": report.rows.len(), "seconds": seconds}).to_string(),
        );
    } else {
        table(&report.rows, seconds);
    }
    outcome
}

fn table(rows: &[Row], seconds: f64) {
    let width = |of: fn(&Row) -> &str| rows.iter().map(|row| of(row).chars().count()).max().unwrap_or(0);
    let (step, expected) = (width(|row| row.step).max(4), width(|row| &row.expected).max(8));
    let happened = width(|row| &row.happened).max(8);
    let line = |a: &str, b: &str, c: &str, d: &str| {
        render::print(&format!("{a:<step$}  {b:<expected$}  {c:<happened$}  {d:>7}"));
    };
    render::print("");
    line("step", "expected", "happened", "time");
    for row in rows {
        line(row.step, &row.expected, &row.happened, &format!("{:.1} s", row.seconds()));
    }
    let held = rows.iter().filter(|row| row.held).count();
    render::print(&format!("\n{held} of {} steps held, in {seconds:.1} s", rows.len()));
}
