//! A run: carries out a schedule, watches what nodes do, and ends with a report.

mod driver;
mod packages;

use std::collections::{BTreeMap, BTreeSet};

use registry_core::id::OpId;
use registry_core::{BlockId, Config};

use crate::checks::Check;
use crate::checks::bounds::Inspector;
use crate::checks::closest::{Lookups, Oracle};
use crate::checks::delivery::Ledger;
use crate::engine::{NodeIx, Options, Planted, World};
use crate::report::{Report, Slo, Verdict, Work, cpu_seconds, peak_rss_bytes, quantile};
use crate::scenario::{SECOND, Scenario};
use crate::schedule::{JUDGE_TIME, Operation, Schedule, plan};
use crate::trace::Seconds;
use packages::Package;

/// Every operation has ended so long after the last question, in microseconds.
const END_TIME: u64 = 130 * SECOND;
/// A subscription is known to the neighbours after this, in microseconds.
const SUBSCRIBED: u64 = 10 * SECOND;

/// An operation that has not ended.
#[derive(Clone, Debug)]
enum Op {
    Publish(u32),
    Search { package: u32, why: Why },
    Resolve { package: u32, why: Why },
    Fetch { package: u32, why: Why },
    Lookup { truth: Vec<NodeIx>, at: u64 },
    Message(u32),
}

/// For whom an operation runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Why {
    /// Part of the work: an error under faults is counted.
    Work,
    /// A final question: an error is a violation.
    Probe,
}

/// Runs what a scenario and a seed make.
pub fn run(scenario: &Scenario, seed: u64) -> Report {
    Simulation::new(scenario, seed, plan(scenario, seed), &Options::default()).finish()
}

/// A run under way.
pub struct Simulation<'a> {
    scenario: &'a Scenario,
    seed: u64,
    schedule: Schedule,
    /// Entries that had an effect, by their place in the schedule.
    applied: Vec<bool>,
    /// Virtual time has come to here, in microseconds.
    until: u64,
    world: World,
    packages: BTreeMap<u32, Package>,
    by_root: BTreeMap<BlockId, u32>,
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
    unbroken: Check,
    work: Work,
    seconds: Seconds,
}

impl<'a> Simulation<'a> {
    /// A run that has not begun.
    pub fn new(scenario: &'a Scenario, seed: u64, schedule: Schedule, options: &Options) -> Self {
        let published: BTreeMap<u32, NodeIx> = schedule
            .operations()
            .filter_map(|(_, operation)| match operation {
                Operation::Publish { node, package } => Some((package, node)),
                _ => None,
            })
            .collect();
        let publishers: BTreeSet<NodeIx> = published.values().copied().collect();
        let world = World::new(scenario, seed, options, &Vec::from_iter(publishers));
        let packages: BTreeMap<u32, Package> =
            published.into_iter().map(|(number, by)| (number, Package::new(seed, number, by, &world))).collect();
        let mut expected = Config::default();
        scenario.knobs.apply(&mut expected);
        let mut simulation = Self {
            scenario,
            seed,
            applied: vec![false; schedule.entries.len()],
            until: 0,
            by_root: packages.iter().map(|(number, package)| (package.root, *number)).collect(),
            ops: BTreeMap::new(),
            subscribed: vec![None; world.len() as usize],
            oracle: Oracle::new(&world),
            lookups: Lookups::default(),
            inspector: Inspector::new(expected),
            announced: Ledger::new(world.len()),
            messages: Ledger::new(world.len()),
            found: Check::new("publish-is-found"),
            bytes: Check::new("bytes-verify"),
            ended: Check::new("operations-end"),
            unbroken: Check::new("no-panic"),
            work: Work::default(),
            seconds: Seconds::default(),
            packages,
            schedule,
            world,
        };
        simulation.lay_down();
        simulation
    }

    /// Plants faults that checks must find.
    #[must_use]
    pub fn plant(mut self, planted: Planted) -> Self {
        self.world.plant(planted);
        self
    }

    /// The network as it is now.
    pub fn world(&self) -> &World {
        &self.world
    }

    /// When the run ends at the latest, in microseconds.
    pub fn end_at(&self) -> u64 {
        self.scenario.judge_at() + JUDGE_TIME + END_TIME
    }

    /// What decides everything.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The entries so far that had an effect.
    pub fn applied(&self) -> Schedule {
        self.entries(true)
    }

    /// The entries that had no effect, or none so far.
    pub fn missed(&self) -> Schedule {
        self.entries(false)
    }

    fn entries(&self, applied: bool) -> Schedule {
        let entries = self.schedule.entries.iter().zip(&self.applied).filter(|(_, had_effect)| **had_effect == applied);
        Schedule { entries: entries.map(|(entry, _)| entry.clone()).collect() }
    }

    /// Violations seen so far by the checks that look all the time.
    pub fn violations(&self) -> u64 {
        let [table, mesh] = self.inspector.checks();
        let [spin, frames] = self.world.checks();
        let seen = [&self.found, &self.bytes, &self.ended, &self.unbroken, &table, &mesh, &spin, &frames];
        seen.iter().map(|check| check.violations).sum()
    }

    /// The digest at the end of each virtual second so far.
    pub fn seconds(&self) -> &Seconds {
        &self.seconds
    }

    /// Keeps every event of this virtual second.
    pub fn record(&mut self, second: u64) {
        self.seconds.record(second);
    }

    /// Runs to the end.
    pub fn finish(mut self) -> Report {
        while self.advance(SECOND) {}
        self.report()
    }

    /// How often a node gets a pubsub message whole, on average.
    fn copies_per_node(&self) -> Option<f64> {
        let receivers = u64::from(self.world.len() - 1);
        let wanted = (self.work.publishes + self.work.messages) * receivers;
        (wanted > 0).then(|| self.world.traffic().payloads as f64 / wanted as f64)
    }

    /// What the run has shown.
    pub fn report(mut self) -> Report {
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
            self.lookups.hops(self.world.len()),
            self.announced.check("updates-exactly-once", &self.world, steady),
            self.messages.check("gossip-exactly-once", &self.world, subscribed),
            self.ended.clone(),
            self.unbroken.clone(),
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
            command: String::new(),
            verdict: Verdict::of(&checks),
            digest: format!("{:016x}", self.world.digest()),
            nodes: self.world.len(),
            seed: self.seed,
            events: self.world.events(),
            virtual_seconds: self.world.now() as f64 / SECOND as f64,
            cpu_seconds: cpu_seconds(),
            peak_rss_bytes: peak_rss_bytes(),
            scheduled: self.schedule.entries.len(),
            applied: self.applied.iter().filter(|applied| **applied).count(),
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
