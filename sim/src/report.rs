//! What a run has shown, for people and for programs.

use std::fmt;

use serde::Serialize;

use crate::checks::Check;
use crate::engine::Traffic;
use crate::fault::Fired;

/// In one word.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Verdict {
    /// Every check was evaluated and held.
    Pass,
    /// A check did not hold.
    Violation,
    /// Nothing was violated, but some check was never evaluated.
    Inconclusive,
    /// The network had what it needed, and did not recover in time.
    Liveness,
    /// The last copy of something was gone: nobody could recover.
    Unrecoverable,
    /// Two runs that must be equal were not: D1.
    Nondeterministic,
    /// A stored run no longer applies.
    Stale,
}

impl Verdict {
    /// Of these checks.
    pub fn of(checks: &[Check]) -> Self {
        if checks.iter().any(|check| check.violations > 0) {
            Self::Violation
        } else if checks.iter().any(|check| check.evaluated == 0) {
            Self::Inconclusive
        } else {
            Self::Pass
        }
    }

    /// The exit code of a run.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Pass | Self::Unrecoverable => 0,
            Self::Violation => 1,
            Self::Inconclusive => 2,
            Self::Liveness => 3,
            Self::Nondeterministic => 4,
            Self::Stale => 5,
        }
    }
}

/// What the workload did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Work {
    /// Publishes acknowledged.
    pub publishes: u64,
    /// Publishes refused or failed.
    pub publishes_failed: u64,
    /// Searches answered.
    pub searches: u64,
    /// Searches that ended in an error.
    pub searches_failed: u64,
    /// Of those answered, those that found the package they looked for.
    pub searches_found: u64,
    /// Packages resolved, fetched and compared.
    pub gets: u64,
    /// Gets that ended in an error.
    pub gets_failed: u64,
    /// Pubsub messages sent.
    pub messages: u64,
    /// Operations that ended because their node crashed.
    pub interrupted: u64,
    /// Questions that nobody could answer, beside those that R4 judges.
    pub unanswerable: u64,
}

/// A measured time beside its target.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Slo {
    /// What was measured.
    pub name: &'static str,
    /// How often.
    pub samples: u64,
    /// Median, in microseconds.
    pub p50_us: Option<u64>,
    /// 95th percentile, in microseconds.
    pub p95_us: Option<u64>,
    /// What the 95th percentile should be at most, at a round trip of 50 ms, in microseconds.
    pub target_us: u64,
}

impl Slo {
    /// From unsorted samples.
    pub fn new(name: &'static str, samples: &[u64], target_us: u64) -> Self {
        let (p50_us, p95_us) = (quantile(samples, 50), quantile(samples, 95));
        Self { name, samples: samples.len() as u64, p50_us, p95_us, target_us }
    }
}

/// Everything a run has shown.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Report {
    /// The command that repeats the run.
    pub command: String,
    /// In one word.
    pub verdict: Verdict,
    /// 64 bits over every event key and every action's encoded bytes, in hexadecimal.
    pub digest: String,
    /// Nodes.
    pub nodes: u32,
    /// The seed.
    pub seed: u64,
    /// Events that happened.
    pub events: u64,
    /// Virtual time that passed.
    pub virtual_seconds: f64,
    /// CPU time of this process; `None` where the system does not tell.
    pub cpu_seconds: Option<f64>,
    /// The most memory this process has used; `None` where the system does not tell.
    pub peak_rss_bytes: Option<u64>,
    /// Entries of the schedule.
    pub scheduled: usize,
    /// Of these, those that had an effect.
    pub applied: usize,
    /// What was injected.
    pub faults: Fired,
    /// What was done.
    pub work: Work,
    /// What was checked.
    pub checks: Vec<Check>,
    /// What was measured.
    pub slos: Vec<Slo>,
    /// Hops of the median lookup.
    pub median_hops: Option<u64>,
    /// Mesh degrees seen, on average.
    pub mean_mesh_degree: Option<f64>,
    /// How often a node is sent a pubsub message whole, on average; 1 is the least.
    pub copies_per_node: Option<f64>,
    /// What was sent.
    pub traffic: Traffic,
}

impl Report {
    /// What the same run has shown when it was carried out in another way: D1.
    pub fn compare(&mut self, again: &Self) {
        let mut check = Check::new("D1", "a run is the same however it is carried out");
        check.judge(again.digest == self.digest, || {
            let panics = again.checks.iter().filter(|check| check.id == "N3").flat_map(|check| &check.examples);
            format!("another digest, {}{}", again.digest, panics.map(|said| format!("; {said}")).collect::<String>())
        });
        if check.violations > 0 {
            self.verdict = Verdict::Nondeterministic;
        }
        self.checks.push(check);
        self.checks.sort_by_key(|check| check.id);
    }

    /// The first property that did not hold, or else the first that was never put to the test.
    pub fn signature(&self) -> Option<&str> {
        if self.verdict == Verdict::Nondeterministic {
            return Some("D1");
        }
        let violated = self.checks.iter().find(|check| check.violations > 0);
        violated.or_else(|| self.checks.iter().find(|check| check.evaluated == 0)).map(|check| check.id)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&format!("{self:?}").to_uppercase())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}  digest {}", self.verdict, self.digest)?;
        write!(f, "{} nodes, {:.0} virtual seconds, {} events", self.nodes, self.virtual_seconds, self.events)?;
        if let (Some(cpu), Some(rss)) = (self.cpu_seconds, self.peak_rss_bytes) {
            write!(f, ", {cpu:.1} s of CPU, {} MiB at most", rss >> 20)?;
        }
        let Work {
            publishes,
            publishes_failed,
            searches,
            searches_found,
            searches_failed,
            gets,
            gets_failed,
            messages,
            interrupted,
            unanswerable,
        } = self.work;
        writeln!(f, "\n\nwork")?;
        writeln!(f, "  {publishes} publishes acknowledged, {publishes_failed} failed")?;
        writeln!(f, "  {searches} searches, {searches_found} found what they looked for; {searches_failed} failed")?;
        writeln!(f, "  {gets} gets, {gets_failed} failed; {messages} pubsub messages; {interrupted} interrupted")?;
        writeln!(f, "  {unanswerable} questions that nobody could answer")?;
        writeln!(f, "faults{:>32}  ({} of {} scheduled entries had an effect)", "fired", self.applied, self.scheduled)?;
        for (effect, times) in self.faults.iter() {
            writeln!(f, "  {:<26}{times:>10}", effect.name())?;
        }
        writeln!(f, "checks: evaluated, violations")?;
        self.checks.iter().try_for_each(|check| write!(f, "{check}"))?;
        writeln!(f, "times{:>33}      median         p95      target at 50 ms", "samples")?;
        for slo in &self.slos {
            let ms = |us: Option<u64>| us.map_or("-".into(), |us| format!("{:.1} ms", us as f64 / 1e3));
            let (p50, p95, target) = (ms(slo.p50_us), ms(slo.p95_us), ms(Some(slo.target_us)));
            writeln!(f, "  {:<26}{:>10}  {p50:>10}  {p95:>10}  {target:>19}", slo.name, slo.samples)?;
        }
        if let Some(hops) = self.median_hops {
            writeln!(f, "  the median lookup takes {hops} hops")?;
        }
        if let (Some(degree), Some(copies)) = (self.mean_mesh_degree, self.copies_per_node) {
            writeln!(f, "  a mesh has {degree:.1} members, a node is sent each pubsub message {copies:.2} times")?;
        }
        let Traffic { kad, gossip, bitswap, registry, payloads: _ } = self.traffic;
        writeln!(f, "messages{:>30}       bytes", "sent")?;
        for (name, count) in [("dht", kad), ("pubsub", gossip), ("blocks", bitswap), ("registry", registry)] {
            writeln!(f, "  {name:<26}{:>10}  {:>10}", count.messages, count.bytes)?;
        }
        Ok(())
    }
}

/// The smallest sample that `percent` of all samples do not exceed.
pub fn quantile(samples: &[u64], percent: usize) -> Option<u64> {
    let mut sorted = samples.to_vec();
    sorted.sort_unstable();
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied()
}

/// CPU time of this process in seconds, from `/proc`.
pub fn cpu_seconds() -> Option<f64> {
    const TICKS_PER_SECOND: f64 = 100.0;
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<f64>().ok();
    Some((ticks()? + ticks()?) / TICKS_PER_SECOND)
}

/// The most memory this process has used, in bytes, from `/proc`.
pub fn peak_rss_bytes() -> Option<u64> {
    status_bytes("VmHWM:")
}

/// The memory this process uses now, in bytes, from `/proc`.
pub fn rss_bytes() -> Option<u64> {
    status_bytes("VmRSS:")
}

fn status_bytes(field: &str) -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_that_was_never_evaluated_makes_a_run_inconclusive() {
        let mut held = Check::new("held", "");
        held.judge(true, String::new);
        let mut broken = Check::new("broken", "");
        broken.judge(false, || "why".into());
        let never = Check::new("never", "");
        assert_eq!(Verdict::of(&[held.clone()]), Verdict::Pass);
        assert_eq!(Verdict::of(&[held.clone(), never.clone()]), Verdict::Inconclusive);
        assert_eq!(Verdict::of(&[held, never, broken]), Verdict::Violation);
    }

    #[test]
    fn quantiles_are_samples() {
        assert_eq!(quantile(&[], 50), None);
        assert_eq!(quantile(&[7], 95), Some(7));
        assert_eq!(quantile(&[4, 1, 3, 2], 50), Some(2));
        assert_eq!(quantile(&(1..=100).collect::<Vec<_>>(), 95), Some(95));
    }

    #[test]
    fn the_process_has_used_something() {
        assert!(cpu_seconds().is_none_or(|seconds| seconds >= 0.0));
        assert!(peak_rss_bytes().is_none_or(|bytes| bytes > 1 << 20));
    }
}
