//! Many seeds on many threads, each with a scenario of its own.

mod menu;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::checks::IDS;
use crate::engine::Options;
use crate::fault::Fired;
use crate::report::{Report, Verdict, cpu_seconds};
use crate::scenario::{SECOND, Scenario};
use crate::schedule::{Bug, plan};
use crate::workload::Simulation;

pub(crate) use menu::MENU;
pub use menu::vary;

/// Of so many seeds one is run twice, the second time from what a file of it would hold, and carried out in another way:
/// nothing may differ.
const TWICE_ONE_IN: u64 = 16;

/// What a swarm is to do.
#[derive(Clone, Debug)]
pub struct Swarm {
    /// What is varied.
    pub base: Scenario,
    /// The first seed.
    pub start: u64,
    /// No further ones.
    pub seeds: u64,
    /// No seed is begun after this.
    pub time: Option<Duration>,
    /// Runs at a time.
    pub jobs: usize,
    /// Where failures are written.
    pub out: PathBuf,
}

/// What a swarm has shown.
#[derive(Debug, Default, Serialize)]
pub struct Tally {
    /// The command that repeats it.
    pub command: String,
    /// Seeds run.
    pub seeds: u64,
    /// How often each verdict was given.
    pub verdicts: BTreeMap<Verdict, u64>,
    /// Faults that fired, those of second runs included.
    pub faults: Fired,
    /// Runs in which each fault fired.
    pub runs_with: BTreeMap<&'static str, u64>,
    /// By check: evaluations, violations, and runs that evaluated it.
    pub checks: BTreeMap<&'static str, (u64, u64, u64)>,
    /// Entries scheduled, and those that had an effect.
    pub entries: (usize, usize),
    /// Questions that nobody could answer, beside those that R4 judges.
    pub unanswerable: u64,
    /// Events that happened, those of second runs included.
    pub events: u64,
    /// CPU time of the process.
    pub cpu_seconds: Option<f64>,
    /// Time that passed.
    pub wall_seconds: f64,
    /// Files of failures.
    pub failures: Vec<PathBuf>,
}

/// Runs a swarm to its end; `progress` is told of each seed that is done.
///
/// # Errors
/// When a failure cannot be written.
pub fn swarm(swarm: &Swarm, progress: impl Fn(&Tally) + Sync) -> Result<Tally, String> {
    let (began, next) = (Instant::now(), AtomicU64::new(0));
    let done = Mutex::new((Tally::default(), Ok(())));
    let work = || {
        loop {
            let place = next.fetch_add(1, Ordering::Relaxed);
            let is_over = place >= swarm.seeds || swarm.time.is_some_and(|time| began.elapsed() >= time);
            // A failure that is written nowhere was found in vain.
            if is_over || done.lock().expect("a panic of a run is caught").1.is_err() {
                return;
            }
            let (run, written) = swarm.run(swarm.start.wrapping_add(place));
            let mut done = done.lock().expect("a panic of a run is caught");
            let (tally, result) = &mut *done;
            tally.add(&run);
            tally.failures.extend(written.clone().ok().flatten());
            tally.wall_seconds = began.elapsed().as_secs_f64();
            *result = std::mem::replace(result, Ok(())).and(written.map(|_| ()));
            progress(tally);
        }
    };
    std::thread::scope(|scope| (0..swarm.jobs.max(1)).for_each(|_| drop(scope.spawn(work))));
    let (mut tally, result) = done.into_inner().expect("a panic of a run is caught");
    tally.cpu_seconds = cpu_seconds();
    result.map(|()| tally)
}

impl Swarm {
    /// Runs one seed, and writes it down when it fails.
    fn run(&self, seed: u64) -> (Report, Result<Option<PathBuf>, String>) {
        let scenario = vary(&self.base, seed);
        let mut simulation = Simulation::new(&scenario, seed, plan(&scenario, seed), &Options::default());
        while simulation.advance(SECOND) {}
        let applied = simulation.applied();
        let mut report = simulation.report();
        if seed.is_multiple_of(TWICE_ONE_IN) {
            let bug = Bug::new(&scenario, &report, applied.clone());
            let options = Options::unusual(seed | 1);
            let again = Simulation::new(&bug.scenario, seed, bug.schedule(), &options).finish();
            report.events += again.events;
            report.faults.merge(&again.faults);
            report.compare(&again);
        }
        let written = match report.verdict {
            Verdict::Pass | Verdict::Unrecoverable => Ok(None),
            _ => self.write(&scenario, &report, applied).map(Some),
        };
        (report, written)
    }

    fn write(&self, scenario: &Scenario, report: &Report, applied: crate::Schedule) -> Result<PathBuf, String> {
        std::fs::create_dir_all(&self.out).map_err(|error| format!("{}: {error}", self.out.display()))?;
        let path = self.out.join(format!("seed-{}.sim", report.seed));
        Bug::new(scenario, report, applied).write(&path)?;
        Ok(path)
    }
}

impl Tally {
    fn add(&mut self, report: &Report) {
        self.seeds += 1;
        *self.verdicts.entry(report.verdict).or_default() += 1;
        self.faults.merge(&report.faults);
        for (effect, times) in report.faults.iter() {
            *self.runs_with.entry(effect.name()).or_default() += u64::from(times > 0);
        }
        for id in IDS.into_iter().chain(["D1"]) {
            self.checks.entry(id).or_default();
        }
        for check in &report.checks {
            let (evaluated, violations, runs) = self.checks.entry(check.id).or_default();
            *evaluated += check.evaluated;
            *violations += check.violations;
            *runs += u64::from(check.evaluated > 0);
        }
        self.entries.0 += report.scheduled;
        self.entries.1 += report.applied;
        self.unanswerable += report.work.unanswerable;
        self.events += report.events;
    }

    /// The worst of all: nothing is passed that one seed did not, and nothing by no seed.
    pub fn verdict(&self) -> Verdict {
        if self.seeds == 0 {
            return Verdict::Inconclusive;
        }
        let worst = [Verdict::Violation, Verdict::Nondeterministic, Verdict::Liveness, Verdict::Inconclusive];
        worst.into_iter().find(|verdict| self.verdicts.contains_key(verdict)).unwrap_or(Verdict::Pass)
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}  {} seeds:", self.verdict(), self.seeds)?;
        self.verdicts.iter().try_for_each(|(verdict, times)| write!(f, " {times} {verdict}"))?;
        let per_hour = self.seeds as f64 / self.wall_seconds.max(1e-3) * 3_600.0;
        write!(f, "\n{per_hour:.0} seeds per hour")?;
        if let Some(cpu) = self.cpu_seconds {
            let (per_seed, rate) = (cpu / self.seeds.max(1) as f64, self.events as f64 / cpu.max(1e-3));
            write!(f, ", {per_seed:.2} s of CPU per seed, {rate:.0} events per second of CPU")?;
        }
        writeln!(f, "\n{} of {} scheduled entries had an effect", self.entries.1, self.entries.0)?;
        writeln!(f, "{} questions that nobody could answer", self.unanswerable)?;
        writeln!(f, "faults{:>32}        in runs", "fired")?;
        for (effect, times) in self.faults.iter() {
            let runs = self.runs_with.get(effect.name()).copied().unwrap_or(0);
            let never = if times == 0 { "  never fired" } else { "" };
            writeln!(f, "  {:<26}{times:>10} {runs:>14}{never}", effect.name())?;
        }
        writeln!(f, "checks{:>32}        in runs     violations", "evaluated")?;
        for (id, (evaluated, violations, runs)) in &self.checks {
            let never = if *evaluated == 0 { "  never evaluated" } else { "" };
            writeln!(f, "  {id:<26}{evaluated:>10} {runs:>14} {violations:>14}{never}")?;
        }
        for file in &self.failures {
            writeln!(f, "failed: {}", file.display())?;
        }
        Ok(())
    }
}
