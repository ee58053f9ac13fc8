//! What an import tells: refused rows as they come, how far it is, and what became of all rows.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use crate::control::Outcome;
use crate::error::{CliError, Code};
use crate::import::Row;
use crate::render::print;

pub(super) struct Report {
    json: bool,
    bar: ProgressBar,
    started: Instant,
    rows: u64,
    published: u64,
    unchanged: u64,
    refused: u64,
    shortened: u64,
}

impl Report {
    pub(super) fn new(json: bool) -> Self {
        let bar = if !json && std::io::stderr().is_terminal() {
            let style = ProgressStyle::with_template("{bar:30} {percent:>3} % {msg}").expect("a fixed template");
            let bar = ProgressBar::no_length().with_style(style);
            bar.enable_steady_tick(Duration::from_millis(100));
            bar
        } else {
            ProgressBar::hidden()
        };
        Self { json, bar, started: Instant::now(), rows: 0, published: 0, unchanged: 0, refused: 0, shortened: 0 }
    }

    /// Follows how much of the file is read.
    pub(super) fn bar(&self) -> &ProgressBar {
        &self.bar
    }

    pub(super) fn count(&mut self, row: &Row, outcome: Outcome) {
        self.rows += 1;
        match outcome {
            Outcome::Published => {
                self.published += 1;
                self.shortened += u64::from(matches!(row.item, Ok((_, true))));
            }
            Outcome::Unchanged => self.unchanged += 1,
            Outcome::Refused(reason) => {
                self.refused += 1;
                self.refuse(row, &reason);
            }
        }
    }

    fn refuse(&self, Row { line, name, version, .. }: &Row, reason: &str) {
        if self.json {
            let refused = json!({"event": "refused", "line": line, "name": name, "version": version, "reason": reason});
            return print(&refused.to_string());
        }
        let place = line.map_or_else(String::new, |line| format!("line {line}: "));
        let label = if name.is_empty() { String::new() } else { format!("{name}@{version}: ") };
        self.bar.suspend(|| eprintln!("{place}{label}{reason}"));
    }

    /// All rows counted so far are durable, or refused.
    pub(super) fn progress(&self) {
        if self.json {
            print(&self.counts("progress").to_string());
        } else {
            self.bar.set_message(format!(
                "{} published, {} unchanged, {} refused",
                self.published, self.unchanged, self.refused
            ));
        }
    }

    pub(super) fn end(&self) {
        self.bar.finish_and_clear();
        let seconds = self.started.elapsed().as_secs_f64();
        if self.json {
            let mut line = self.counts("imported");
            line["shortened"] = json!(self.shortened);
            line["seconds"] = json!(seconds);
            return print(&line.to_string());
        }
        print(&format!("{} rows in {seconds:.1} s", self.rows));
        print(&format!("  published   {} ({} shortened)", self.published, self.shortened));
        print(&format!("  unchanged   {}\n  refused     {}", self.unchanged, self.refused));
    }

    fn counts(&self, event: &str) -> Value {
        json!({
            "event": event,
            "rows": self.rows,
            "published": self.published,
            "unchanged": self.unchanged,
            "refused": self.refused,
        })
    }

    /// Refused rows are a failure of the whole, though everything else is published.
    pub(super) fn verdict(&self) -> Result<(), CliError> {
        if self.refused == 0 {
            return Ok(());
        }
        let message = format!("{} of {} rows were refused", self.refused, self.rows);
        Err(CliError::new(Code::Refused, message, "mend those rows and import the file again; the others are skipped"))
    }
}
