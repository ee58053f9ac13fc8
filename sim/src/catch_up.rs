//! A node that was away, or is new, beside one that holds everything: what does it cost to end with the same catalogue?

use std::fmt;

use serde::Serialize;

use crate::checks::Check;
use crate::corpus::{Corpus, Plan};
use crate::engine::{Options, World};
use crate::report::{Verdict, cpu_seconds, peak_rss_bytes};
use crate::scenario::{SECOND, Scenario};

/// The node that holds everything, and the other.
const HOLDER: u32 = 0;
const LATE: u32 = 1;
/// Both run for so long before they meet: whoever comes later has recovered its store.
const APART: u64 = SECOND;
/// Seconds until the catalogues must be the same.
const PATIENCE: u64 = 1_200;
/// Bytes of reconciliation may be so many times those of the missing statements.
const ALLOWED: u64 = 3;

/// One run, replayable from these values alone.
#[derive(Clone, Debug)]
pub struct CatchUpScenario {
    /// Packages.
    pub packages: usize,
    /// Publishers, to whom packages go in turn.
    pub publishers: usize,
    /// So many publishers have released second versions, of so many packages each, while the node was away.
    pub updates: (usize, usize),
    /// The node was never there: it misses everything.
    pub empty: bool,
    /// Decides every random choice.
    pub seed: u64,
}

/// What a run brought.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct CatchUpReport {
    /// What repeats it.
    pub command: String,
    /// Of the checks.
    pub verdict: Verdict,
    /// Of everything both nodes did.
    pub digest: String,
    /// Statements that were missing.
    pub missing: u64,
    /// Bytes of those.
    pub missing_bytes: u64,
    /// Bytes of reconciliation, sent and received by the node that was late.
    pub moved_bytes: u64,
    /// Virtual seconds until the catalogues were the same.
    pub seconds: f64,
    /// Properties that must hold.
    pub checks: Vec<Check>,
    /// Of this process, with the signing of all packages.
    pub cpu_seconds: Option<f64>,
    /// Of this process.
    pub peak_rss_bytes: Option<u64>,
}

/// Runs a scenario to its end. `command` is what repeats it.
pub fn run(scenario: &CatchUpScenario, command: String) -> CatchUpReport {
    let CatchUpScenario { packages, publishers, updates, empty, seed } = *scenario;
    let plan = Plan { seed, file: None, packages, publishers, updates };
    let corpus = Corpus::new(&plan).expect("no file is read");
    let held = if empty { &[][..] } else { &corpus.stale[..] };
    let known: std::collections::BTreeSet<_> = held.iter().map(|row| (row.table, &row.key)).collect();
    let missing = corpus.rows.iter().filter(|row| !known.contains(&(row.table, &row.key)));
    let lengths: Vec<_> = missing.filter_map(|row| row.value.as_ref()).map(|value| value.len() as u64).collect();

    let mut world = World::new(&Scenario::standard(2), seed, &Options::default(), &[]);
    world.preload(HOLDER, &corpus.rows);
    world.preload(LATE, held);
    world.schedule_boot(0, HOLDER);
    world.schedule_boot(APART, LATE);
    let digest = |world: &World, ix| world.node(ix).map(|node| node.stats().catalogue);
    let mut same_at = None;
    while same_at.is_none() && world.step(PATIENCE * SECOND).is_some() {
        same_at = (world.now() > APART && digest(&world, HOLDER) == digest(&world, LATE)).then(|| world.now());
    }
    let stats = world.node(LATE).expect("it runs").stats();
    let (missing, missing_bytes) = (lengths.len() as u64, lengths.iter().sum::<u64>());
    let moved_bytes = stats.sync_sent + stats.sync_received;
    let mut same = Check::new("same-catalogue", "both nodes end with the same catalogue");
    same.judge(same_at.is_some(), || format!("{} of {} releases are there", stats.releases, corpus.statements()));
    let mut bytes = Check::new("bytes-moved", "reconciliation moves at most three times what was missing");
    bytes.judge(moved_bytes <= ALLOWED * missing_bytes, || format!("{moved_bytes} for {missing_bytes}"));
    let [spin, frames] = world.checks();
    let checks = vec![same, bytes, spin, frames];
    CatchUpReport {
        command,
        verdict: Verdict::of(&checks),
        digest: format!("{:016x}", world.digest()),
        missing,
        missing_bytes,
        moved_bytes,
        seconds: (same_at.unwrap_or(world.now()) - APART) as f64 / SECOND as f64,
        checks,
        cpu_seconds: cpu_seconds(),
        peak_rss_bytes: peak_rss_bytes(),
    }
}

impl fmt::Display for CatchUpReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { missing, missing_bytes, moved_bytes, seconds, .. } = self;
        writeln!(f, "{:?}  digest {}", self.verdict, self.digest)?;
        writeln!(
            f,
            "{missing} rows of {missing_bytes} bytes were missing; {moved_bytes} bytes moved in {seconds:.1} s"
        )?;
        self.checks.iter().try_for_each(|check| write!(f, "{check}"))?;
        let rss = self.peak_rss_bytes.unwrap_or(0) >> 20;
        writeln!(f, "{:.1} CPU seconds, {rss} MiB", self.cpu_seconds.unwrap_or(0.0))
    }
}
