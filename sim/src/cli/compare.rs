//! `sim compare`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use serde_json::Value;

use super::{Done, say};

/// Figures of a report of which more is worse, as paths into it.
const FIGURES: [&str; 12] = [
    "/events",
    "/cpu_seconds",
    "/peak_rss_bytes",
    "/median_hops",
    "/copies_per_node",
    "/work/publishes_failed",
    "/work/gets_failed",
    "/traffic/kad/bytes",
    "/traffic/gossip/bytes",
    "/traffic/bitswap/bytes",
    "/traffic/registry/bytes",
    "/traffic/payloads",
];

#[derive(Args)]
pub(super) struct Compare {
    /// What `run --json` has written before.
    base: PathBuf,
    /// What it writes now.
    now: PathBuf,
    /// A figure may be worse by so many percent.
    #[arg(long, default_value_t = 10.0)]
    tolerance: f64,
}

impl Compare {
    /// Exits with 1 when a figure is worse than tolerated, or gone, or the verdict is another one than before, and not PASS.
    pub(super) fn run(&self) -> Done {
        let (base, now) = (read(&self.base)?, read(&self.now)?);
        let verdict = |report: &Value| report["verdict"].as_str().unwrap_or_default().to_owned();
        let (before, after) = (verdict(&base), verdict(&now));
        let (base, now) = (figures(&base), figures(&now));
        say(format_args!("{:<34}{:>16}{:>16}{:>10}", "figure", "base", "now", "change"));
        // The figures of a run that was cut short by what it has found are all better.
        let mut is_worse = after != before && after != "PASS";
        let change = if is_worse { "  worse" } else { "" };
        say(format_args!("{:<34}{before:>16}{after:>16}{:>10}{change}", "verdict", ""));
        for (name, base) in &base {
            let Some((_, now)) = now.iter().find(|(other, _)| other == name) else {
                say(format_args!("{name:<34}{base:>16.1}{:>16}{:>10}  gone", "-", "-"));
                is_worse = true;
                continue;
            };
            let percent = if base == now { 0.0 } else { (now - base) / base * 100.0 };
            let worse = percent > self.tolerance;
            is_worse |= worse;
            say(format_args!("{name:<34}{base:>16.1}{now:>16.1}{percent:>9.1}%{}", if worse { "  worse" } else { "" }));
        }
        Ok(ExitCode::from(u8::from(is_worse)))
    }
}

fn read(file: &Path) -> Result<Value, String> {
    let text = std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    let last = text.lines().last().unwrap_or_default();
    serde_json::from_str(last).map_err(|error| format!("{}: {error}", file.display()))
}

/// Names and numbers, of those figures that the report has.
fn figures(report: &Value) -> Vec<(String, f64)> {
    let plain = FIGURES.iter().filter_map(|path| {
        let name = path.trim_start_matches('/').replace('/', " ");
        Some((name, report.pointer(path)?.as_f64()?))
    });
    let times = report["slos"].as_array().into_iter().flatten().flat_map(|slo| {
        let name = slo["name"].as_str().unwrap_or_default();
        ["p50_us", "p95_us"].into_iter().filter_map(move |part| Some((format!("{name} {part}"), slo[part].as_f64()?)))
    });
    plain.chain(times).collect()
}
