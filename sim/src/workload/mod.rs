//! A run: carries out a schedule, watches what nodes do, and ends with a report.

mod driver;
mod packages;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use registry_core::id::OpId;
use registry_core::{BlockId, PeerId};

use crate::checks::closest::{Lookups, Oracle};
use crate::checks::delivery::Ledger;
use crate::checks::mesh::mean_degree;
use crate::checks::panics::guard;
use crate::checks::records::Truth;
use crate::checks::rest::Rest;
use crate::checks::{Check, Checkers, IDS};
use crate::engine::{NodeIx, Options, Planted, World};
use crate::judge;
use crate::report::{Report, Slo, Work, cpu_seconds, peak_rss_bytes, quantile};
use crate::scenario::{SECOND, Scenario};
use crate::schedule::{JUDGE_TIME, Operation, Schedule, plan};
use crate::trace::Seconds;
pub(crate) use packages::{Package, imitation, place};

/// Every operation has ended so long after the last question, in microseconds.
const END_TIME: u64 = 130 * SECOND;
/// Every node has compared its catalogue with some other so long after the last fault, in microseconds.
const CATCH_UP: u64 = 240 * SECOND;
/// A subscription is known to the neighbours after this, in microseconds.
const SUBSCRIBED: u64 = 10 * SECOND;

/// An operation that has not ended.
#[derive(Clone, Debug)]
enum Op {
    Publish(u32),
    Search {
        package: u32,
        why: Why,
    },
    Resolve {
        package: u32,
        why: Why,
    },
    /// Of something that an honest running node had when it was asked for, or not.
    Fetch {
        package: u32,
        why: Why,
        is_there: bool,
    },
    Lookup {
        key: Bytes,
        truth: Vec<NodeIx>,
        at: u64,
    },
    Message(u32),
}

/// A pubsub message.
#[derive(Debug)]
struct Said {
    by: PeerId,
    data: Bytes,
    /// Who followed the topic, and was connected to the sender by way of others, when it was sent.
    audience: BTreeSet<NodeIx>,
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
    /// By number: the pubsub messages.
    said: BTreeMap<u32, Said>,
    oracle: Oracle,
    lookups: Lookups,
    checkers: Checkers,
    announced: Ledger,
    messages: Ledger,
    found: Check,
    bytes: Check,
    genuine: Check,
    accepted: Check,
    ended: Check,
    panics: Check,
    /// When a fault was last in force at a running node, in microseconds.
    hindered_at: Option<u64>,
    /// Begins when everything was asked and answered.
    rest: Option<Rest>,
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
        let config = scenario.configuration();
        let mut simulation = Self {
            scenario,
            seed,
            applied: vec![false; schedule.entries.len()],
            until: 0,
            by_root: packages.iter().map(|(number, package)| (package.root, *number)).collect(),
            ops: BTreeMap::new(),
            subscribed: vec![None; world.len() as usize],
            said: BTreeMap::new(),
            oracle: Oracle::new(&world),
            lookups: Lookups::new(&config),
            checkers: Checkers::new(&world, &config, truth(&world, &packages)),
            announced: Ledger::new(world.len()),
            messages: Ledger::new(world.len()),
            found: Check::new("R4", "what was acknowledged is found and fetched by nodes that do not hold it"),
            bytes: Check::new("R3", "fetched bytes and resolved statements are those that were published"),
            genuine: Check::new("G1-data", "an application is told of a pubsub message as its author has sent it"),
            accepted: Check::new("R4-ack", "who is asked to publish in the quiet does so, unless it has lost its disk"),
            ended: Check::new("N2-end", "every operation ends"),
            panics: Check::new("N3", "nothing panics"),
            hindered_at: None,
            rest: None,
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
        self.scenario.judge_at() + JUDGE_TIME + END_TIME + Rest::TIME
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
        let own = [&self.found, &self.bytes, &self.genuine, &self.accepted, &self.ended, &self.panics]
            .map(|check| check.violations);
        let checks = self.checkers.checks().into_iter().chain(self.world.checks());
        own.iter().sum::<u64>() + checks.map(|check| check.violations).sum::<u64>()
    }

    /// The digest at the end of each virtual second so far.
    pub fn seconds(&self) -> &Seconds {
        &self.seconds
    }

    /// Keeps every event of this virtual second, counted from 0.
    pub fn record(&mut self, second: u64) {
        self.seconds.recorded = Some(second);
    }

    /// Runs to the end.
    pub fn finish(mut self) -> Report {
        while self.advance(SECOND) {}
        self.report()
    }

    /// Somebody has panicked, which ends the run, or nobody has.
    fn panicked(&mut self, said: Option<String>) {
        let (now, last) = (self.world.now(), *self.world.last());
        self.panics.judge(said.is_none(), || format!("at {now} us, after {last:?}: {said:?}"));
    }

    /// How often a node gets a pubsub message whole, on average.
    fn copies_per_node(&self) -> Option<f64> {
        let receivers = u64::from(self.world.len() - 1);
        let wanted = (self.work.publishes + self.work.messages) * receivers;
        (wanted > 0).then(|| self.world.traffic().payloads as f64 / wanted as f64)
    }

    /// What the run has shown.
    pub fn report(mut self) -> Report {
        let said = guard(|| self.checkers.ended(&self.world)).err();
        self.panicked(said);
        self.panics.evaluated = self.world.events();
        for ((node, _), op) in std::mem::take(&mut self.ops) {
            self.ended.judge(false, || format!("{op:?} at node {node}"));
        }
        let subscribed = |message: u32, node: NodeIx| {
            let Some(at) = self.messages.sent_at(message) else { return false };
            let has_stayed = self.subscribed[node as usize].is_some_and(|since| since < at);
            let is_reached = self.said.get(&message).is_some_and(|said| said.audience.contains(&node));
            has_stayed && is_reached && self.world.is_honest(node)
        };
        let steady = |_, node: NodeIx| {
            let host = self.world.host(node);
            self.world.is_honest(node) && host.is_up() && host.life() == 0 && host.role().duties().catalogue
        };
        let [spin, frames] = self.world.checks();
        let (announced, messages, world) = (&self.announced, &self.messages, &self.world);
        let late = self.checkers.quiet(world) >= CATCH_UP;
        // Who was told, or shows it, must be able to tell others. What its publisher lost before is gone.
        let is_told = |number: u32| {
            let publisher = announced.sent_by(number);
            (0..world.len())
                .any(|node| publisher != Some(node) && announced.was_told(number, node) && steady(number, node))
        };
        let can_be_made_up_for =
            |number: u32| late && (is_told(number) || judge::is_known(world, &self.packages[&number]));
        let mut checks = self.checkers.checks();
        checks.extend(self.lookups.checks(world.len()));
        checks.extend(self.rest.filter(|_| world.is_quiet()).map(|rest| rest.check(world, self.until)));
        checks.extend([
            self.bytes.clone(),
            self.found.clone(),
            self.genuine.clone(),
            self.accepted.clone(),
            announced.once("U1", "an application is told once of a release"),
            announced.all(
                "U4",
                "every node that did not crash is told of each release",
                world,
                can_be_made_up_for,
                steady,
            ),
            messages.once("G1", "an application is told once of a pubsub message"),
            messages.all("G4", "every subscriber is told of each pubsub message", world, |_| false, subscribed),
            self.ended.clone(),
            spin,
            frames,
            self.panics.clone(),
        ]);
        let asks = self.scenario.judge.probes > 0;
        let fetches = asks || self.scenario.work.gets > 0;
        // What this run could not put to the test.
        checks.retain(|check| match check.id {
            "R3" => check.evaluated > 0 || fetches,
            "R4" => check.evaluated > 0 || asks,
            "G4" | "R4-ack" | "U4" => check.evaluated > 0 || self.hindered_at.is_none(),
            "N4" => check.evaluated > 0,
            _ => true,
        });
        checks.sort_by_key(|check| check.id);
        debug_assert!(checks.iter().all(|check| IDS.contains(&check.id)), "a property that is not listed");
        let slos = vec![
            Slo::new("publish to findable", &self.announced.delays, 1_000_000),
            Slo::new("lookup", &self.lookups.times, 500_000),
            Slo::new("gossip", &self.messages.delays, 200_000),
        ];
        Report {
            command: String::new(),
            verdict: judge::verdict(&checks, self.work.unanswerable),
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
            mean_mesh_degree: mean_degree(&self.world),
            copies_per_node: self.copies_per_node(),
            traffic: *self.world.traffic(),
        }
    }
}

fn truth(world: &World, packages: &BTreeMap<u32, Package>) -> Truth {
    let mut truth = Truth::default();
    packages
        .values()
        .for_each(|it| truth.add((it.by, world.host(it.by).peer_id()), it.publisher, &it.name, &it.version, it.root));
    truth
}
