//! Makes a schedule of a scenario and a seed. Each part draws from a stream of its own, so that more of one leaves the
//! others as they are.

use registry_core::Rng;

use super::{Entry, Operation, Schedule, What};
use crate::engine::{Down, NodeIx};
use crate::fault::Fault;
use crate::mix::stream;
use crate::scenario::{Often, SECOND, Scenario, Who};

/// The final questions are asked over so many microseconds.
pub const JUDGE_TIME: u64 = 60 * SECOND;
/// Releases published within one second.
const GROUP: u64 = 5;
/// A node that has just started is not asked for anything for so long, in microseconds.
const FRESH: u64 = 10 * SECOND;
/// A package is used so long after it was published, in microseconds.
const SPREAD: u64 = 5 * SECOND;
/// A node is drawn so often until one is up.
const TRIES: usize = 32;
/// A fault without an own duration, struck at random, begins at least so long before the calm, in microseconds.
const LATEST: u64 = 10 * SECOND;

/// Everything that happens in a run.
pub fn plan(scenario: &Scenario, seed: u64) -> Schedule {
    let mut planner =
        Planner { scenario, seed, entries: Vec::new(), away: vec![Vec::new(); scenario.net.nodes as usize] };
    planner.joins();
    planner.churn();
    planner.phases();
    planner.random();
    planner.core();
    let published = planner.publishes();
    planner.uses(&published);
    planner.questions(&published);
    Schedule::new(planner.entries)
}

struct Planner<'a> {
    scenario: &'a Scenario,
    seed: u64,
    entries: Vec<Entry>,
    /// From when to when each node does not run.
    away: Vec<Vec<(u64, u64)>>,
}

/// A package and when it is published.
#[derive(Clone, Copy)]
struct Published {
    package: u32,
    at: u64,
}

impl Planner<'_> {
    fn stream(&self, part: &str) -> Rng {
        stream(self.seed, &format!("plan/{part}"), 0, 0)
    }

    fn operation(&mut self, at: u64, operation: Operation) {
        self.entries.push(Entry { at, what: What::Do(operation) });
    }

    fn joins(&mut self) {
        let nodes = self.scenario.net.nodes;
        for node in 0..nodes {
            let at = u64::from(node) * self.scenario.net.join / u64::from(nodes);
            self.away[node as usize].push((0, at + FRESH));
            self.operation(at, Operation::Join { node });
        }
    }

    /// Who comes and goes does so from the beginning of the work to the calm.
    fn churn(&mut self) {
        let Some(churn) = self.scenario.churn else { return };
        let nodes = self.scenario.net.nodes;
        let count = (f64::from(nodes) * churn.share).ceil() as usize;
        let (_, calm) = self.scenario.faults_at();
        for node in self.stream("churn").sample((0..nodes).collect(), count) {
            let mut rng = stream(self.seed, "plan/sessions", node, 0);
            let mut at = self.scenario.work_at();
            loop {
                at = at.saturating_add(churn.session.draw(&mut rng));
                let until = calm.min(at.saturating_add(churn.away.draw(&mut rng)));
                if at >= until {
                    break;
                }
                self.strike(
                    &mut rng,
                    at,
                    until,
                    &Fault::Crash { down: Down::Refusing, disk_lost: false },
                    &Who::Nodes(vec![node]),
                );
                at = until;
            }
        }
    }

    fn phases(&mut self) {
        let mut rng = self.stream("phases");
        let (_, calm) = self.scenario.faults_at();
        for phase in &self.scenario.phases {
            // Attackers who are there from the beginning are so before anybody joins.
            let from_start = phase.fault.is_hostile() && phase.at == 0;
            let at = if from_start { 0 } else { self.scenario.work_at() + phase.at };
            let until = match phase.lasts {
                Some(lasts) => calm.min(at + lasts),
                // An attack does not end for the final questions.
                None if phase.fault.is_hostile() => u64::MAX,
                None => calm,
            };
            self.strike(&mut rng, at, until, &phase.fault, &phase.who);
        }
    }

    fn random(&mut self) {
        let (from, calm) = self.scenario.faults_at();
        for (ix, random) in self.scenario.random.iter().enumerate() {
            let mut rng = self.stream(&format!("random/{ix}"));
            let times = match random.often {
                Often::Times(times) => times,
                Often::Rate(rate) => {
                    (u64::from(self.scenario.net.nodes) * (calm - from) / (60 * SECOND) * rate).div_ceil(1_000)
                }
            };
            for at in spread(&mut rng, times, from, calm.saturating_sub(LATEST)) {
                let lasts = random.lasts.map(|lasts| lasts.least + rng.below((lasts.most - lasts.least).max(1)));
                let until = lasts.map_or(calm, |lasts| calm.min(at + lasts));
                self.strike(&mut rng, at, until, &random.fault, &random.who);
            }
        }
    }

    fn strike(&mut self, rng: &mut Rng, at: u64, until: u64, fault: &Fault, who: &Who) {
        if at >= until {
            return;
        }
        let is_crash = fault.takes_down();
        let publishers = if fault.is_hostile() { self.publishers() } else { Vec::new() };
        let is_able = |node: &NodeIx| match () {
            () if is_crash => self.is_up_between(*node, at, until),
            // Whom all join through, and who publishes, is honest.
            () if fault.is_hostile() => *node != 0 && !publishers.contains(node),
            () => true,
        };
        let able: Vec<NodeIx> = (0..self.scenario.net.nodes).filter(is_able).collect();
        let mut nodes = match who {
            Who::All => Vec::new(),
            Who::Share(share) => {
                let count = (f64::from(self.scenario.net.nodes) * share).ceil() as usize;
                rng.sample(able, count)
            }
            Who::Count(count) => rng.sample(able, *count as usize),
            Who::Nodes(nodes) => nodes.clone(),
            Who::Range(from, to) => able.into_iter().filter(|node| (*from..*to).contains(node)).collect(),
        };
        if nodes.is_empty() && *who != Who::All {
            return;
        }
        nodes.sort_unstable();
        if is_crash {
            let struck = if nodes.is_empty() { (0..self.scenario.net.nodes).collect() } else { nodes.clone() };
            struck.into_iter().for_each(|node| self.away[node as usize].push((at, until + FRESH)));
        }
        if fault.is_hostile() {
            nodes.iter().for_each(|node| self.away[*node as usize].push((0, u64::MAX)));
        }
        let lasts = (!fault.is_instant() && until < u64::MAX).then_some(until - at);
        self.entries.push(Entry { at, what: What::Strike { fault: fault.clone(), nodes, lasts } });
    }

    /// Once all faults have ended, whoever does not belong to the core goes for good. The entrance stays: whoever has lost
    /// its disk knows nobody else.
    fn core(&mut self) {
        let nodes = self.scenario.net.nodes;
        let gone = nodes - (f64::from(nodes) * self.scenario.judge.core.clamp(0.0, 1.0)).ceil() as u32;
        if gone == 0 {
            return;
        }
        let at = self.scenario.faults_at().1 + SECOND;
        let mut nodes = self.stream("core").sample((1..nodes).collect(), gone as usize);
        nodes.sort_unstable();
        nodes.iter().for_each(|node| self.away[*node as usize].push((at, u64::MAX)));
        let fault = Fault::Crash { down: Down::Silent, disk_lost: false };
        self.entries.push(Entry { at, what: What::Strike { fault, nodes, lasts: None } });
    }

    /// Releases come in groups, as those of a workspace do. Every fourth is a further version of the one before it.
    fn publishes(&mut self) -> Vec<Published> {
        let mut rng = self.stream("publishes");
        let publishers = self.publishers();
        let (work, judge) = (self.scenario.work_at(), self.scenario.judge_at());
        let last = self.scenario.faults_at().1.max(work + (judge - work) / 2);
        let count = self.scenario.work.publishes;
        let every = (last - work) / u64::from(count).div_ceil(GROUP).max(1);
        let mut published = Vec::new();
        for package in 0..count {
            let by = publishers[(package - package % 4 / 3) as usize % publishers.len()];
            let at = work + u64::from(package) / GROUP * every + rng.below(SECOND);
            self.operation(at, Operation::Publish { node: by, package });
            published.push(Published { package, at });
        }
        published.sort_unstable_by_key(|published| published.at);
        published
    }

    /// One node in twenty-five publishes, at least two and at most forty.
    fn publishers(&self) -> Vec<NodeIx> {
        let nodes = self.scenario.net.nodes;
        let count = (nodes / 25).clamp(2, 40).min(nodes);
        self.stream("publishers").sample((0..nodes).collect(), count as usize)
    }

    fn uses(&mut self, published: &[Published]) {
        let (work, judge) = (self.scenario.work_at(), self.scenario.judge_at());
        // Something must be there to be looked for.
        let first_use = work + (judge - work) / 10;
        let wanted = &self.scenario.work;
        let mut rng = self.stream("searches");
        for at in spread(&mut rng, wanted.searches.into(), first_use, judge) {
            if let (Some(package), Some(node)) = (any_package(&mut rng, published, at), self.any_node(&mut rng, at)) {
                self.operation(at, Operation::Search { node, package });
            }
        }
        let mut rng = self.stream("gets");
        for at in spread(&mut rng, wanted.gets.into(), first_use, judge) {
            if let (Some(package), Some(node)) = (any_package(&mut rng, published, at), self.any_node(&mut rng, at)) {
                self.operation(at, Operation::Get { node, package });
            }
        }
        let mut rng = self.stream("messages");
        for (number, at) in (0..).zip(spread(&mut rng, wanted.messages.into(), work, judge)) {
            if let Some(node) = self.any_node(&mut rng, at) {
                self.operation(at, Operation::Message { node, number });
            }
        }
    }

    /// The final questions: lookups, and whether each package is found by nodes that neither publish nor fetch it.
    fn questions(&mut self, published: &[Published]) {
        let (judge, end) = (self.scenario.judge_at(), self.scenario.judge_at() + JUDGE_TIME);
        let mut rng = self.stream("lookups");
        for (key, at) in (0..).zip(spread(&mut rng, self.scenario.judge.lookups.into(), judge, end)) {
            if let Some(node) = self.any_node(&mut rng, at) {
                self.operation(at, Operation::Lookup { node, key });
            }
        }
        let mut rng = self.stream("probes");
        let mut holders = vec![Vec::new(); published.len()];
        for entry in &self.entries {
            if let What::Do(Operation::Get { node, package } | Operation::Publish { node, package }) = entry.what {
                holders[package as usize].push(node);
            }
        }
        for (published, at) in published.iter().zip(spread(&mut rng, published.len() as u64, judge, end)) {
            let holders = &holders[published.package as usize];
            let others = (0..self.scenario.net.nodes)
                .filter(|node| !holders.contains(node) && self.is_up_between(*node, at, at))
                .collect();
            for node in rng.sample(others, self.scenario.judge.probes as usize) {
                self.operation(at, Operation::Probe { node, package: published.package });
            }
        }
    }

    fn any_node(&self, rng: &mut Rng, at: u64) -> Option<NodeIx> {
        let mut drawn = (0..TRIES).map(|_| rng.below(self.scenario.net.nodes.into()) as NodeIx);
        drawn.find(|node| self.is_up_between(*node, at, at))
    }

    fn is_up_between(&self, node: NodeIx, from: u64, to: u64) -> bool {
        self.away[node as usize].iter().all(|(gone, back)| to < *gone || *back <= from)
    }
}

/// One time in each of `count` equal slots.
fn spread(rng: &mut Rng, count: u64, from: u64, to: u64) -> Vec<u64> {
    let slot = to.saturating_sub(from) / count.max(1);
    if slot == 0 {
        return Vec::new();
    }
    (0..count).map(|ix| from + ix * slot + rng.below(slot)).collect()
}

fn any_package(rng: &mut Rng, published: &[Published], at: u64) -> Option<u32> {
    let there = published.partition_point(|published| published.at + SPREAD <= at);
    (there > 0).then(|| published[rng.index(there)].package)
}
