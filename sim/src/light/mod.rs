//! Light nodes in a network of others, some of which lie: what do their searches find of what is true?

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use registry_core::command::Command;
use registry_core::event::Event;
use registry_core::id::OpId;
use registry_core::search::{Query, SearchPage};
use serde::Serialize;

use crate::adversary::Hostile;
use crate::checks::Check;
use crate::corpus::{Corpus, Plan};
use crate::engine::{NodeIx, Options, Step, Traffic, World};
use crate::fault::{Effect, Fault};
use crate::mix::stream;
use crate::report::{Verdict, cpu_seconds, peak_rss_bytes, quantile};
use crate::scenario::{SECOND, Scenario};

/// Packages of each publisher, about; a fifth of them have a second version.
const PER_PUBLISHER: usize = 50;
/// Results of a search that count.
const TOP: usize = 10;
/// Seconds over which the nodes join, and until they know each other.
const JOIN: u64 = 60;
const SETTLE: u64 = 60;
/// Seconds over which the searches are made.
const WORK: u64 = 240;
/// Seconds in which a search must end.
const END: u64 = 30;

/// How liars lie: they take turns.
const LIES: [Hostile; 4] = [Hostile::ForgedStatements, Hostile::IrrelevantFinds, Hostile::EmptyFinds, Hostile::OldNews];

/// How often which lie was told.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Told {
    /// Answers with a wrong signature.
    pub forged: u64,
    /// Answers to other searches.
    pub irrelevant: u64,
    /// Empty answers.
    pub empty: u64,
    /// Answers without the latest versions.
    pub stale: u64,
}

/// One run, replayable from these values alone.
#[derive(Clone, Debug)]
pub struct LightScenario {
    /// Virtual nodes.
    pub nodes: u32,
    /// Of these, so many percent are light.
    pub light_percent: u32,
    /// Of the others, so many percent lie.
    pub liars_percent: u32,
    /// Packages that everybody but the light nodes holds.
    pub packages: usize,
    /// A file with one JSON object per package, instead of made-up ones.
    pub file: Option<PathBuf>,
    /// Searches of each light node.
    pub searches: u32,
    /// Decides every random choice.
    pub seed: u64,
}

impl LightScenario {
    /// Of the true best results, light searches must show so many percent.
    pub fn wanted_percent(&self) -> u64 {
        if self.liars_percent == 0 { 99 } else { 90 }
    }
}

/// What a run brought.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct LightReport {
    /// What repeats it.
    pub command: String,
    /// Of the checks.
    pub verdict: Verdict,
    /// Of everything every node did.
    pub digest: String,
    /// Packages, and light and lying nodes.
    pub packages: usize,
    /// Light nodes.
    pub light: u32,
    /// Lying nodes.
    pub liars: u32,
    /// Searches that ended with a page.
    pub searches: u64,
    /// Of these, pages that were said to be complete.
    pub complete: u64,
    /// Searches that ended without a page.
    pub failed: u64,
    /// True best results that were shown, and all of them.
    pub recall: (u64, u64),
    /// Lies told.
    pub told: Told,
    /// Milliseconds until the median and the slowest of 100 searches ended.
    pub search_ms: (u64, u64),
    /// Bytes of registry messages for each search.
    pub bytes_per_search: u64,
    /// Properties that must hold.
    pub checks: Vec<Check>,
    /// Of this process.
    pub cpu_seconds: Option<f64>,
    /// Of this process.
    pub peak_rss_bytes: Option<u64>,
}

/// Runs a scenario to its end. `command` is what repeats it.
///
/// # Errors
/// When the file with packages cannot be read.
pub fn run(scenario: &LightScenario, command: String) -> std::io::Result<LightReport> {
    let publishers = scenario.packages.div_ceil(PER_PUBLISHER).max(2);
    let corpus = Corpus::new(&Plan {
        seed: scenario.seed,
        file: scenario.file.as_deref(),
        packages: scenario.packages,
        publishers,
        updates: (publishers, PER_PUBLISHER / 5),
    })?;
    let mut driver = Driver::new(scenario, &corpus);
    driver.run();
    Ok(driver.report(command))
}

struct Driver<'a> {
    corpus: &'a Corpus,
    world: World,
    light: u32,
    liars: u32,
    tasks: Vec<(NodeIx, Query)>,
    running: BTreeMap<(NodeIx, OpId), (Query, u64)>,
    times: Vec<u64>,
    complete: u64,
    failed: u64,
    recall: (u64, u64),
    wanted_percent: u64,
    truth: Check,
    ended: Check,
    before: Traffic,
}

impl<'a> Driver<'a> {
    fn new(scenario: &LightScenario, corpus: &'a Corpus) -> Self {
        let light = (scenario.nodes * scenario.light_percent / 100).max(1);
        let mut of_world = Scenario::standard(scenario.nodes);
        of_world.net.light = light;
        let mut world = World::new(&of_world, scenario.seed, &Options::default(), &[]);
        let mut rng = stream(scenario.seed, "light", 0, 0);
        let full = scenario.nodes - light;
        // Node 0 is where all others enter.
        let liars = rng.sample((1..full).collect(), (full * scenario.liars_percent / 100) as usize);
        for (lie, hostile) in (0..).zip(LIES) {
            let these: Vec<_> = liars.iter().copied().skip(lie).step_by(LIES.len()).collect();
            // With few liars some lies are told by nobody.
            if !these.is_empty() {
                world.impose(lie as u32, &Fault::Hostile(hostile), &these);
            }
        }
        for node in 0..full {
            let is_stale =
                liars.iter().position(|liar| *liar == node).is_some_and(|at| LIES[at % LIES.len()] == Hostile::OldNews);
            world.preload(node, if is_stale { &corpus.stale } else { &corpus.rows });
        }
        for node in 0..scenario.nodes {
            world.schedule_boot(u64::from(node) * JOIN * SECOND / u64::from(scenario.nodes), node);
        }
        let mut tasks = Vec::new();
        for node in full..scenario.nodes {
            for _ in 0..scenario.searches {
                let at = (JOIN + SETTLE) * SECOND + rng.below(WORK * SECOND);
                world.schedule_timer(at, tasks.len() as u64);
                tasks.push((node, corpus.query(&mut rng, TOP)));
            }
        }
        Self {
            corpus,
            world,
            light,
            liars: liars.len() as u32,
            tasks,
            running: BTreeMap::new(),
            times: Vec::new(),
            complete: 0,
            failed: 0,
            recall: (0, 0),
            wanted_percent: scenario.wanted_percent(),
            truth: Check::new("no-lie-shown", "only current, verified releases are shown"),
            ended: Check::new("searches-end", "every search ends"),
            before: Traffic::default(),
        }
    }

    fn run(&mut self) {
        self.run_until((JOIN + SETTLE) * SECOND);
        self.before = *self.world.traffic();
        self.run_until((JOIN + SETTLE + WORK + END) * SECOND);
    }

    fn run_until(&mut self, until: u64) {
        while let Some(step) = self.world.step(until) {
            if let Step::Timer(task) = step {
                let (node, query) = self.tasks[task as usize].clone();
                let op = self.world.command(node, Command::Search(query.clone()));
                self.running.insert((node, op.expect("a query of some words")), (query, self.world.now()));
            }
            while let Some((node, event)) = self.world.take_emitted() {
                self.hear(node, event);
            }
        }
    }

    fn hear(&mut self, node: NodeIx, event: Event) {
        match event {
            Event::SearchDone { op, page } => {
                if let Some((query, since)) = self.running.remove(&(node, op)) {
                    self.ended.judge(true, String::new);
                    self.times.push(self.world.now() - since);
                    self.judge(node, &query, &page);
                }
            }
            Event::Failed { op, .. } => {
                if let Some((query, _)) = self.running.remove(&(node, op)) {
                    self.ended.judge(true, String::new);
                    self.failed += 1;
                    self.recall.1 += self.corpus.page(&query).hits.len() as u64;
                }
            }
            _ => {}
        }
    }

    fn judge(&mut self, node: NodeIx, query: &Query, page: &SearchPage) {
        self.complete += u64::from(page.complete);
        for hit in &page.hits {
            let name = &hit.release.release.meta.name;
            self.truth.judge(self.corpus.holds(&hit.release), || format!("node {node} shows {name} for {query:?}"));
        }
        let best = self.corpus.page(query).hits;
        let shown = |best: &registry_core::search::Hit| page.hits.iter().any(|hit| hit.release == best.release);
        self.recall.0 += best.iter().filter(|best| shown(best)).count() as u64;
        self.recall.1 += best.len() as u64;
    }

    fn report(mut self, command: String) -> LightReport {
        for ((node, _), (query, _)) in std::mem::take(&mut self.running) {
            self.ended.judge(false, || format!("{query:?} at node {node}"));
        }
        let mut recall = Check::new("light-recall", "a light search finds what perfect knowledge finds");
        recall.judge_share(self.recall.0, self.recall.1, self.wanted_percent, "a true best result was shown");
        let [spin, frames] = self.world.checks();
        let checks = vec![recall, self.truth, self.ended, spin, frames];
        let searches = self.times.len() as u64;
        let fired = self.world.fired();
        let milliseconds = |percent| quantile(&self.times, percent).unwrap_or(0) / 1_000;
        let bytes = self.world.traffic().registry.bytes - self.before.registry.bytes;
        LightReport {
            command,
            verdict: Verdict::of(&checks),
            digest: format!("{:016x}", self.world.digest()),
            packages: self.corpus.len(),
            light: self.light,
            liars: self.liars,
            searches,
            complete: self.complete,
            failed: self.failed,
            recall: self.recall,
            told: Told {
                forged: fired.of(Effect::ForgedStatement),
                irrelevant: fired.of(Effect::IrrelevantFind),
                empty: fired.of(Effect::EmptyFind),
                stale: fired.of(Effect::OldNews),
            },
            search_ms: (milliseconds(50), milliseconds(99)),
            bytes_per_search: bytes / searches.max(1),
            checks,
            cpu_seconds: cpu_seconds(),
            peak_rss_bytes: peak_rss_bytes(),
        }
    }
}

impl fmt::Display for LightReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { packages, light, liars, searches, complete, failed, told, search_ms, .. } = self;
        let (shown, all) = self.recall;
        writeln!(f, "{:?}  digest {}", self.verdict, self.digest)?;
        writeln!(f, "{packages} packages, {light} light nodes, {liars} liars")?;
        writeln!(f, "{searches} searches, {complete} complete, {failed} failed")?;
        writeln!(f, "recall {:.3} % ({shown} of {all})", shown as f64 * 100.0 / all.max(1) as f64)?;
        let Told { forged, irrelevant, empty, stale } = told;
        writeln!(f, "lies told: {forged} forged, {irrelevant} irrelevant, {empty} empty, {stale} stale answers")?;
        writeln!(f, "a search: {} ms median, {} ms p99, {} bytes", search_ms.0, search_ms.1, self.bytes_per_search)?;
        self.checks.iter().try_for_each(|check| write!(f, "{check}"))?;
        let rss = self.peak_rss_bytes.unwrap_or(0) >> 20;
        writeln!(f, "{:.1} CPU seconds, {rss} MiB", self.cpu_seconds.unwrap_or(0.0))
    }
}
