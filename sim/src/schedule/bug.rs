//! A run that failed, as a file: another build can replay it, and say whether it still fails.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use serde::{Deserialize, Serialize};

use super::{Entry, Schedule};
use crate::report::{Report, Verdict};
use crate::scenario::{Scenario, from_toml};

/// See the module's documentation.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bug {
    /// Decides what the schedule does not.
    pub seed: u64,
    /// The commit that was checked out when the run failed.
    pub commit: String,
    /// The property that did not hold, or was never put to the test.
    pub violates: String,
    /// Without what the schedule has taken the place of.
    pub scenario: Scenario,
    /// The entries that had an effect.
    #[serde(rename = "entry")]
    pub entries: Vec<Entry>,
}

/// Why a file is not one that can be replayed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Unreadable {
    /// It is no such file.
    Broken(String),
    /// It was one once: something in it is not known any more.
    Stale(String),
}

impl Bug {
    /// Of a run's report and the entries that had an effect.
    pub fn new(scenario: &Scenario, report: &Report, applied: Schedule) -> Self {
        let scenario = Scenario { churn: None, ..scenario.clone().quiet() };
        let violates = report.signature().unwrap_or_default().into();
        Self { seed: report.seed, commit: commit(), violates, scenario, entries: applied.entries }
    }

    /// What is to happen.
    pub fn schedule(&self) -> Schedule {
        Schedule::new(self.entries.clone())
    }

    /// Reads a file.
    ///
    /// # Errors
    /// See [`Unreadable`].
    pub fn read(path: &Path) -> Result<Self, Unreadable> {
        let told = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
        let text = std::fs::read_to_string(path).map_err(|error| Unreadable::Broken(told(&error)))?;
        from_toml::<toml::Table>(&text).map_err(|error| Unreadable::Broken(told(&error)))?;
        from_toml(&text).map_err(|error| Unreadable::Stale(told(&error)))
    }

    /// Writes it to a file, an entry's parts on a line each.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), String> {
        std::fs::write(path, self.text()).map_err(|error| format!("{}: {error}", path.display()))
    }

    /// As a file holds it.
    pub fn text(&self) -> String {
        let Self { seed, commit, violates, scenario, entries } = self;
        let mut text = format!("seed = {seed}\ncommit = {commit:?}\nviolates = {violates:?}\n\n");
        let scenario = toml::Table::from_iter([("scenario".into(), value_of(scenario))]);
        text += &toml::to_string(&scenario).expect("a scenario is plain data");
        for entry in entries {
            text += "\n[[entry]]\n";
            let toml::Value::Table(parts) = value_of(entry) else { unreachable!("an entry is a table") };
            for (name, value) in parts {
                writeln!(text, "{name} = {value}").expect("a string takes all");
            }
        }
        text
    }

    /// What has become of it, after a run of its schedule: the verdict, and whether it is the same violation. A run that
    /// does not put to the test what did not hold shows nothing.
    pub fn judge(&self, report: &Report) -> (Verdict, bool) {
        let is_same = report.signature() == Some(&self.violates);
        let is_clean = matches!(report.verdict, Verdict::Pass | Verdict::Unrecoverable);
        let is_tested = report.checks.iter().any(|check| check.id == self.violates && check.evaluated > 0);
        let verdict = match report.verdict {
            _ if is_clean && report.applied < report.scheduled => Verdict::Stale,
            _ if is_clean && !is_tested && !self.violates.is_empty() => Verdict::Inconclusive,
            verdict => verdict,
        };
        (verdict, is_same)
    }

    /// Does it say that two runs were not equal, so that it takes two to see that again?
    pub fn is_difference(&self) -> bool {
        self.violates == "D1"
    }
}

fn value_of(part: &impl Serialize) -> toml::Value {
    toml::Value::try_from(part).expect("plain data")
}

fn commit() -> String {
    let sources = env!("CARGO_MANIFEST_DIR");
    let output = Command::new("git").args(["-C", sources, "rev-parse", "HEAD"]).output();
    let commit = output.ok().filter(|output| output.status.success());
    commit.map_or("unknown".into(), |output| String::from_utf8_lossy(&output.stdout).trim().into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::plan;

    #[test]
    fn what_is_written_is_what_is_read() {
        let scenario = Scenario::small(6);
        let entries = plan(&scenario, 1).entries;
        let bug = Bug { seed: 1, commit: "abc".into(), violates: "K1".into(), scenario: scenario.quiet(), entries };
        assert_eq!(from_toml::<Bug>(&bug.text()), Ok(bug));
    }
}
