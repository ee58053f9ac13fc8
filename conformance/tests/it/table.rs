//! Which test runs where, and the table that says what came of it.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::pin::Pin;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Trial};

use crate::runtimes::Mix;

type Body = Pin<Box<dyn Future<Output = ()>>>;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Column {
    Tokio,
    Smol,
    Mixed,
    Virtual,
}

impl Column {
    const ALL: [Self; 4] = [Self::Tokio, Self::Smol, Self::Mixed, Self::Virtual];

    fn name(self) -> &'static str {
        match self {
            Self::Tokio => "tokio",
            Self::Smol => "smol",
            Self::Mixed => "mixed",
            Self::Virtual => "virtual",
        }
    }
}

thread_local! {
    static SKIPPED: Cell<bool> = const { Cell::new(false) };
}

/// Says why the calling test ends without having tested anything.
pub(crate) fn skip(reason: &str) {
    println!("skipped: {reason}");
    SKIPPED.set(true);
}

#[derive(Clone, Copy)]
enum Outcome {
    /// As long as a test has not ended otherwise.
    Failed,
    Skipped,
    Passed(Duration),
}

/// Rows in the order in which they were added.
type Results = BTreeMap<(usize, Column), Outcome>;

/// All tests.
#[derive(Default)]
pub(crate) struct Suite {
    rows: Vec<String>,
    trials: Vec<Trial>,
    results: Arc<Mutex<Results>>,
}

impl Suite {
    /// Passed by nodes on either runtime.
    pub(crate) fn either(&mut self, name: &str, test: fn(Mix) -> Body) {
        self.rows.push(name.replace('_', " "));
        self.add(name, Column::Tokio, move || test(Mix::tokio()));
        self.add(name, Column::Smol, move || test(Mix::smol()));
    }

    /// Passed by real networks of every kind, and by the simulator's when it can be.
    pub(crate) fn network(&mut self, name: &str, real: fn(Mix) -> Body, simulated: Option<fn() -> Body>) {
        self.either(name, real);
        self.add(name, Column::Mixed, move || real(Mix::mixed()));
        if let Some(simulated) = simulated {
            self.add(name, Column::Virtual, simulated);
        }
    }

    fn add(&mut self, name: &str, column: Column, test: impl FnOnce() -> Body + Send + 'static) {
        let place = (self.rows.len() - 1, column);
        let results = Arc::clone(&self.results);
        let note = move |outcome| {
            results.lock().unwrap_or_else(PoisonError::into_inner).insert(place, outcome);
        };
        self.trials.push(Trial::test(format!("{name}::{}", column.name()), move || {
            let begun = Instant::now();
            note(Outcome::Failed);
            SKIPPED.set(false);
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
            runtime.block_on(async { test().await });
            note(if SKIPPED.get() { Outcome::Skipped } else { Outcome::Passed(begun.elapsed()) });
            Ok(())
        }));
    }

    /// Runs what the command line asks for.
    pub(crate) fn run(self) -> ExitCode {
        let args = Arguments::from_args();
        let conclusion = libtest_mimic::run(&args, self.trials);
        let results = self.results.lock().unwrap_or_else(PoisonError::into_inner);
        if !results.is_empty() && !args.list {
            print(&self.rows, &results);
        }
        conclusion.exit_code()
    }
}

fn print(rows: &[String], results: &Results) {
    let width = rows.iter().map(String::len).max().unwrap_or(0);
    let line = |row: &str, cells: [String; 4]| {
        let cells: Vec<_> = cells.iter().map(|cell| format!("{cell:>8}")).collect();
        println!("{row:<width$}  {}", cells.join("  "));
    };
    println!("\nSeconds by kind of network; a dot where a scenario does not apply or was not asked for.\n");
    line("scenario", Column::ALL.map(|column| column.name().into()));
    for (row, name) in rows.iter().enumerate() {
        let cells = Column::ALL.map(|column| match results.get(&(row, column)) {
            None => ".".into(),
            Some(Outcome::Failed) => "FAILED".into(),
            Some(Outcome::Skipped) => "skipped".into(),
            Some(Outcome::Passed(time)) => format!("{:.1}", time.as_secs_f64()),
        });
        if cells.iter().any(|cell| cell != ".") {
            line(name, cells);
        }
    }
}
