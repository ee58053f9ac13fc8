//! The work of a run: joining, publishing, searching, fetching, faults, a calm, and the final questions.

mod driver;
mod packages;

use std::collections::BTreeMap;

use registry_core::id::OpId;
use registry_core::{BlockId, Rng};

use crate::checks::Check;
use crate::checks::bounds::Inspector;
use crate::checks::closest::{Lookups, Oracle};
use crate::checks::delivery::Ledger;
use crate::engine::{NodeIx, Planted, World};
use crate::mix::stream;
use crate::report::{Report, Slo, Verdict, Work, cpu_seconds, peak_rss_bytes, quantile};
use crate::scenario::{SECOND, Scenario};
use packages::Package;

/// The final questions are asked over so many seconds.
const JUDGE_SECONDS: u64 = 60;
/// Every operation has ended so many seconds after the last question.
const END_SECONDS: u64 = 130;
/// Releases published within one second.
const GROUP: u64 = 5;
/// A subscription is known to the neighbours after this, in microseconds.
const SUBSCRIBED: u64 = 10 * SECOND;

/// One thing to do at its time.
#[derive(Clone, Copy, Debug)]
enum Task {
    FaultsOn,
    FaultsOff,
    Publish(usize),
    Search,
    Get,
    Message(usize),
    Crash(NodeIx),
    Reset,
    Inspect,
    Lookup,
    Probe(usize),
}

/// An operation that has not ended.
#[derive(Clone, Debug)]
enum Op {
    Publish(usize),
    Search { package: usize, why: Why },
    Resolve { package: usize, why: Why },
    Fetch { package: usize, why: Why },
    Lookup { truth: Vec<NodeIx>, at: u64 },
    Message(usize),
}

/// For whom an operation runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Why {
    /// Part of the work: an error under faults is counted.
    Work,
    /// A final question: an error is a violation.
    Probe,
}

/// Runs a scenario to its end. `command` is what repeats it.
pub fn run(scenario: &Scenario, command: String) -> Report {
    run_planted(scenario, command, Planted::default())
}

/// The same with faults planted on purpose.
pub fn run_planted(scenario: &Scenario, command: String, planted: Planted) -> Report {
    let mut driver = Driver::new(scenario, planted);
    driver.run();
    driver.report(command)
}

struct Driver<'a> {
    scenario: &'a Scenario,
    world: World,
    tasks: Vec<Task>,
    packages: Vec<Package>,
    by_root: BTreeMap<BlockId, usize>,
    ops: BTreeMap<(NodeIx, OpId), Op>,
    /// Since when each running node has followed the run's topic.
    subscribed: Vec<Option<u64>>,
    oracle: Oracle,
    lookups: Lookups,
    inspector: Inspector,
    announced: Ledger,
    messages: Ledger,
    found: Check,
    bytes: Check,
    ended: Check,
    work: Work,
}

impl<'a> Driver<'a> {
    fn new(scenario: &'a Scenario, planted: Planted) -> Self {
        let mut rng = stream(scenario.seed, "plan", 0, 0);
        let publishers = publishers(scenario, &mut rng);
        let mut world = World::new(scenario, &publishers);
        world.plant(planted);
        let packages: Vec<Package> =
            (0..scenario.publishes as usize).map(|ix| Package::new(scenario.seed, ix, &publishers, &world)).collect();
        let mut driver = Self {
            scenario,
            tasks: Vec::new(),
            by_root: (0..).zip(&packages).map(|(ix, package)| (package.root, ix)).collect(),
            ops: BTreeMap::new(),
            subscribed: vec![None; scenario.nodes as usize],
            oracle: Oracle::new(&world),
            lookups: Lookups::default(),
            inspector: Inspector::default(),
            announced: Ledger::new(packages.len(), scenario.nodes),
            messages: Ledger::new(scenario.messages as usize, scenario.nodes),
            found: Check::new("publish-is-found"),
            bytes: Check::new("bytes-verify"),
            ended: Check::new("operations-end"),
            work: Work::default(),
            packages,
            world,
        };
        driver.plan(&mut rng);
        driver
    }

    /// Lays down what happens when. What it happens to is chosen when the time has come.
    fn plan(&mut self, rng: &mut Rng) {
        let scenario = self.scenario;
        let (work, judge) = (scenario.work_at(), scenario.judge_at());
        let (faults, calm) = scenario.faults_at();
        let join = scenario.join_seconds * SECOND;
        for node in 0..scenario.nodes {
            let at = u64::from(node) * join / u64::from(scenario.nodes);
            self.world.schedule_boot(at, node);
        }
        self.at(faults, Task::FaultsOn);
        self.at(calm, Task::FaultsOff);
        let spread =
            |driver: &mut Self, rng: &mut Rng, count: u64, from: u64, to: u64, task: &dyn Fn(usize) -> Task| {
                for ix in 0..count {
                    let slot = (to - from) / count;
                    driver.at(from + ix * slot + rng.below(slot), task(ix as usize));
                }
            };
        let last_publish = calm.max(work + (judge - work) / 2);
        // Releases come in groups, as those of a workspace do.
        let groups = u64::from(scenario.publishes).div_ceil(GROUP);
        let every = (last_publish - work) / groups.max(1);
        for ix in 0..u64::from(scenario.publishes) {
            self.at(work + ix / GROUP * every + rng.below(SECOND), Task::Publish(ix as usize));
        }
        // Something must be there to be looked for.
        let first_use = work + (judge - work) / 10;
        spread(self, rng, scenario.searches.into(), first_use, judge, &|_| Task::Search);
        spread(self, rng, scenario.gets.into(), first_use, judge, &|_| Task::Get);
        spread(self, rng, scenario.messages.into(), work, judge, &Task::Message);
        let nodes = u64::from(scenario.nodes);
        let minutes = (calm - faults) / (60 * SECOND);
        spread(self, rng, nodes * scenario.resets_per_mille * minutes / 1_000, faults, calm, &|_| Task::Reset);
        let end = judge + JUDGE_SECONDS * SECOND;
        spread(self, rng, (judge - work) / SECOND, work, judge, &|_| Task::Inspect);
        spread(self, rng, scenario.lookups.into(), judge, end, &|_| Task::Lookup);
        spread(self, rng, scenario.publishes.into(), judge, end, &Task::Probe);
        let crashes = (nodes * scenario.restarts_percent).div_ceil(100);
        let victims = rng.sample((0..scenario.nodes).collect(), crashes as usize);
        for victim in victims {
            let at = faults + rng.below((calm - faults).saturating_sub(30 * SECOND).max(1));
            self.at(at, Task::Crash(victim));
        }
    }

    /// How often a node gets a pubsub message whole, on average.
    fn copies_per_node(&self) -> Option<f64> {
        let receivers = u64::from(self.scenario.nodes - 1);
        let wanted = (self.work.publishes + self.work.messages) * receivers;
        (wanted > 0).then(|| self.world.traffic().payloads as f64 / wanted as f64)
    }

    fn at(&mut self, at: u64, task: Task) {
        self.world.schedule_timer(at, self.tasks.len() as u64);
        self.tasks.push(task);
    }

    fn report(mut self, command: String) -> Report {
        for ((node, _), op) in std::mem::take(&mut self.ops) {
            self.ended.judge(false, || format!("{op:?} at node {node}"));
        }
        let subscribed = |node: NodeIx, at| {
            self.subscribed[node as usize].is_some_and(|since| since.saturating_add(SUBSCRIBED) <= at)
        };
        let steady = |node: NodeIx, _| self.world.host(node).is_up() && self.world.host(node).life() == 0;
        let [spin, frames] = self.world.checks();
        let [table, mesh] = self.inspector.checks();
        let checks = vec![
            self.found.clone(),
            self.bytes.clone(),
            self.lookups.completeness(),
            self.lookups.hops(self.scenario.nodes),
            self.announced.check("updates-exactly-once", &self.world, steady),
            self.messages.check("gossip-exactly-once", &self.world, subscribed),
            self.ended.clone(),
            table,
            mesh,
            spin,
            frames,
        ];
        let slos = vec![
            Slo::new("publish to findable", &self.announced.delays, 1_000_000),
            Slo::new("lookup", &self.lookups.times, 500_000),
            Slo::new("gossip", &self.messages.delays, 200_000),
        ];
        Report {
            command,
            verdict: Verdict::of(&checks),
            digest: format!("{:016x}", self.world.digest()),
            nodes: self.scenario.nodes,
            seed: self.scenario.seed,
            events: self.world.events(),
            virtual_seconds: self.world.now() as f64 / SECOND as f64,
            cpu_seconds: cpu_seconds(),
            peak_rss_bytes: peak_rss_bytes(),
            faults: self.world.fired(),
            work: self.work,
            checks,
            slos,
            median_hops: quantile(&self.lookups.hops, 50),
            mean_mesh_degree: self.inspector.mean_degree(),
            copies_per_node: self.copies_per_node(),
            traffic: *self.world.traffic(),
        }
    }
}

/// One node in twenty-five publishes, at least two and at most forty.
fn publishers(scenario: &Scenario, rng: &mut Rng) -> Vec<NodeIx> {
    let count = (scenario.nodes / 25).clamp(2, 40).min(scenario.nodes);
    rng.sample((0..scenario.nodes).collect(), count as usize)
}
