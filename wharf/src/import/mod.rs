//! `wharf import`: rows of other registries as releases of this node's publisher.
//!
//! One thread reads and maps rows, this one hands batches to the daemon, which answers when they are durable. Rows that
//! are published already are skipped, so that an interrupted import is resumed by starting it again.

pub(crate) mod crates;
mod mapping;
mod report;
mod rows;
pub(crate) mod text;

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use indicatif::ProgressBar;
use registry_core::catalog::MAX_BATCH;

use crate::args::{Format, Import};
use crate::client::Client;
use crate::control::{Item, Outcome, Request};
use crate::error::{CliError, Code};
use crate::home::Home;
use mapping::{Changes, Mapping};
use report::Report;
use rows::Rows;

/// Bytes of text in one batch, beyond which it is sent: with JSON around them, well within the daemon's longest request.
const BATCH_BYTES: usize = 256 * 1024;

/// An item with more text than this cannot become a statement, whatever its encoding.
const MAX_ITEM: usize = 32 * 1024;

/// Batches read ahead.
const AHEAD: usize = 4;

/// Something to import.
struct Row {
    /// Where in its file, when that has rows in lines.
    line: Option<u64>,
    name: String,
    version: String,
    /// And whether something was left out; or why it cannot be taken.
    item: Result<(Item, bool), String>,
}

pub(crate) fn run(home: &Home, args: Import, json: bool) -> Result<(), CliError> {
    // Nothing is read while nobody listens.
    drop(Client::connect(home)?);
    let mut report = Report::new(json);
    let (sender, batches) = sync_channel(AHEAD);
    let reader = Reader::new(args, report.bar())?;
    let reader = std::thread::spawn(move || reader.run(&sender));
    let sent = send(home, &batches, &mut report);
    drop(batches);
    let read = reader.join().map_err(|_| CliError::new(Code::Other, "the reader died", "report this"))?;
    report.end();
    sent.and(read).and_then(|()| report.verdict())
}

/// Hands batch after batch to the daemon, each when the one before is durable.
fn send(home: &Home, batches: &Receiver<Vec<Row>>, report: &mut Report) -> Result<(), CliError> {
    for mut batch in batches {
        let items: Vec<_> =
            batch.iter().filter_map(|row| row.item.as_ref().ok()).map(|(item, _)| item.clone()).collect();
        let outcomes = if items.is_empty() { Vec::new() } else { ask(home, items)? };
        let mut outcomes = outcomes.into_iter();
        for row in &mut batch {
            let outcome = match &mut row.item {
                Ok(_) => outcomes.next().ok_or_else(garbled)?,
                Err(reason) => Outcome::Refused(std::mem::take(reason)),
            };
            report.count(row, outcome);
        }
        report.progress();
    }
    Ok(())
}

fn ask(home: &Home, items: Vec<Item>) -> Result<Vec<Outcome>, CliError> {
    let mut outcomes = None;
    Client::connect(home)?.call(&Request::Import { items }, |mut line| {
        outcomes = serde_json::from_value(line["outcomes"].take()).ok();
    })?;
    outcomes.ok_or_else(garbled)
}

fn garbled() -> CliError {
    CliError::new(Code::Other, "the daemon's answer makes no sense", "restart it so that it is of the same version")
}

/// Where rows come from.
enum Reader {
    Metadata { path: PathBuf, rows: Rows, format: Option<Format>, changes: Changes },
    Crates(Box<dyn Iterator<Item = Row> + Send>),
}

impl Reader {
    fn new(args: Import, bar: &ProgressBar) -> Result<Self, CliError> {
        let path = args.file.unwrap_or_else(|| "Cargo.lock".into());
        if args.cargo_cache {
            return Ok(Self::Crates(Box::new(crates::rows(&path)?)));
        }
        let changes = Changes::new(&args.map, args.scheme)?;
        Ok(Self::Metadata { rows: Rows::open(&path, bar)?, path, format: args.format, changes })
    }

    /// Reads everything, until nobody takes it any more.
    fn run(self, batches: &SyncSender<Vec<Row>>) -> Result<(), CliError> {
        let mut batch = Batch { batches, rows: Vec::new(), bytes: 0 };
        match self {
            Self::Crates(mut rows) => {
                let _ = rows.all(|row| batch.push(row));
            }
            Self::Metadata { path, mut rows, format, changes } => {
                let mut mapping = format.map(|format| Mapping::new(format, &changes));
                while let Some((line, row)) = rows.next().map_err(|error| CliError::io("cannot read", &path, &error))? {
                    let row = match row {
                        Ok(row) => {
                            let mapping = mapping.get_or_insert_with(|| Mapping::new(mapping::detect(&row), &changes));
                            let (name, version) = mapping.label(&row);
                            Row { line: Some(line), name, version, item: mapping.item(&row) }
                        }
                        Err(reason) => {
                            Row { line: Some(line), name: String::new(), version: String::new(), item: Err(reason) }
                        }
                    };
                    if !batch.push(row) {
                        break;
                    }
                }
            }
        }
        batch.flush();
        Ok(())
    }
}

/// Rows that are sent together.
struct Batch<'a> {
    batches: &'a SyncSender<Vec<Row>>,
    rows: Vec<Row>,
    bytes: usize,
}

impl Batch<'_> {
    /// False when nobody takes rows any more.
    fn push(&mut self, mut row: Row) -> bool {
        let size = row.item.as_ref().map_or(0, |(item, _)| item.about.size());
        if size > MAX_ITEM {
            row.item = Err("longer than a statement can be".into());
        } else {
            self.bytes += size;
        }
        self.rows.push(row);
        let full = self.rows.len() == MAX_BATCH || self.bytes > BATCH_BYTES;
        !full || self.flush()
    }

    fn flush(&mut self) -> bool {
        self.bytes = 0;
        let rows = std::mem::take(&mut self.rows);
        rows.is_empty() || self.batches.send(rows).is_ok()
    }
}
