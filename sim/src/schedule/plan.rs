//! Makes a schedule of a scenario and a seed. Each part draws from a stream of its own, so that more of one leaves the
//! others as they are.

use registry_core::Rng;

use super::{Entry, Operation, Schedule, What};
use crate::engine::{Down, NodeIx};
use crate::fault::Fault;
use crate::mix::stream;
use crate::net::Net;
use crate::scenario::{Late, Often, SECOND, Scenario, Who};

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
        let (nodes, early) = (self.scenario.net.nodes, self.early());
        let among = |place: u32, all: u32, time: u64| u64::from(place) * time / u64::from(all);
        for node in 0..nodes {
            let at = match self.scenario.net.late {
                Some(Late { at, within, .. }) if node >= early => {
                    self.scenario.work_at() + at + among(node - early, nodes - early, within)
                }
                _ => among(node, early, self.scenario.net.join),
            };
            self.away[node as usize].push((0, at + FRESH));
            self.operation(at, Operation::Join { node });
        }
    }

    /// Who comes and goes does so from the beginning of the work to the calm.
    fn churn(&mut self) {
        let Some(churn) = self.scenario.churn else { return };
        let nodes = self.scenario.net.nodes;
        let count = self.share(churn.share) as usize;
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
        let nodes = match who {
            Who::All => Vec::new(),
            Who::Share(share) | Who::InTurn(share) => rng.sample(able, self.share(*share) as usize),
            Who::Region(share) => self.nearest(rng, able, self.share(*share) as usize),
            Who::Count(count) => rng.sample(able, *count as usize),
            Who::Nodes(nodes) => nodes.clone(),
            Who::Range(from, to) => able.into_iter().filter(|node| (*from..*to).contains(node)).collect(),
        };
        match who {
            Who::InTurn(_) if until < u64::MAX => self.strike_in_turn(rng, (at, until), fault, &nodes),
            _ if nodes.is_empty() && *who != Who::All => {}
            _ => self.strike_all((at, until), fault, nodes),
        }
    }

    fn strike_in_turn(&mut self, rng: &mut Rng, (at, until): (u64, u64), fault: &Fault, nodes: &[NodeIx]) {
        let half = (until - at) / 2;
        let turn = |place: usize| place as u64 * half / nodes.len() as u64;
        let released = rng.sample((0..nodes.len()).collect(), nodes.len());
        for (place, (node, last)) in nodes.iter().zip(released).enumerate() {
            self.strike_all((at + turn(place), at + half + turn(last)), fault, vec![*node]);
        }
    }

    fn strike_all(&mut self, (at, until): (u64, u64), fault: &Fault, mut nodes: Vec<NodeIx>) {
        nodes.sort_unstable();
        if fault.takes_down() {
            let struck = if nodes.is_empty() { (0..self.scenario.net.nodes).collect() } else { nodes.clone() };
            struck.into_iter().for_each(|node| self.away[node as usize].push((at, until + FRESH)));
        }
        if fault.is_hostile() {
            nodes.iter().for_each(|node| self.away[*node as usize].push((at, u64::MAX)));
        }
        let lasts = (!fault.is_instant() && until < u64::MAX).then_some(until - at);
        self.entries.push(Entry { at, what: What::Strike { fault: fault.clone(), nodes, lasts } });
    }

    /// Those of these nodes that are nearest to one of them.
    fn nearest(&self, rng: &mut Rng, mut nodes: Vec<NodeIx>, count: usize) -> Vec<NodeIx> {
        if nodes.is_empty() {
            return nodes;
        }
        let (net, centre) = (Net::new(self.seed, self.scenario.net.rtt), nodes[rng.index(nodes.len())]);
        nodes.sort_by_key(|node| net.one_way(centre, *node));
        nodes.truncate(count);
        nodes
    }

    /// Once all faults have ended, whoever does not belong to the core goes for good. The entrance stays: whoever has lost
    /// its disk knows nobody else.
    fn core(&mut self) {
        let nodes = self.scenario.net.nodes;
        let gone = nodes - self.share(self.scenario.judge.core.clamp(0.0, 1.0));
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
        let count = (self.scenario.net.nodes / 25).clamp(2, 40);
        self.stream("publishers").sample((0..self.early()).collect(), count as usize)
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
        self.crowds(published);
        let mut rng = self.stream("messages");
        for (number, at) in (0..).zip(spread(&mut rng, wanted.messages.into(), work, judge)) {
            if let Some(node) = self.any_node(&mut rng, at) {
                self.operation(at, Operation::Message { node, number });
            }
        }
    }

    fn crowds(&mut self, published: &[Published]) {
        let mut rng = self.stream("crowds");
        for crowd in &self.scenario.crowds {
            let from = self.scenario.work_at() + crowd.at;
            let there = published.partition_point(|published| published.at + SPREAD <= from);
            let Some(wanted) = published[..there].last().copied() else { continue };
            let nodes = rng.sample((0..self.scenario.net.nodes).collect(), self.share(crowd.share) as usize);
            for (node, at) in nodes.iter().zip(spread(&mut rng, nodes.len() as u64, from, from + crowd.within)) {
                if self.is_up_between(*node, at, at) {
                    self.operation(at, Operation::Get { node: *node, package: wanted.package });
                }
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

    /// So many nodes, the first ones, do not join late.
    fn early(&self) -> u32 {
        let late = self.scenario.net.late.map_or(0, |late| self.share(late.share));
        (self.scenario.net.nodes - late).max(1)
    }

    /// A share of all nodes, rounded up.
    fn share(&self, share: f64) -> u32 {
        (f64::from(self.scenario.net.nodes) * share).ceil() as u32
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

#[cfg(test)]
mod tests {
    use super::*;

    fn strikes(schedule: &Schedule) -> Vec<(u64, u64, Vec<NodeIx>)> {
        let strike = |entry: &Entry| match &entry.what {
            What::Strike { nodes, lasts, .. } => Some((entry.at, entry.at + lasts.unwrap_or(0), nodes.clone())),
            What::Do(_) => None,
        };
        schedule.entries.iter().filter_map(strike).collect()
    }

    fn schedule(text: &str) -> (Scenario, Schedule) {
        let scenario = Scenario::parse(text).expect("a scenario");
        let planned = plan(&scenario, 1);
        (scenario, planned)
    }

    #[test]
    fn in_turn_each_is_struck_in_the_first_half_and_let_go_in_the_second_in_another_order() {
        let phase = "[[phase]]\nat = \"2m\"\nfault = \"stop\"\nwho = { in-turn = 0.5 }\nfor = \"1m\"";
        let (scenario, planned) = schedule(&format!("net.nodes = 40\n{phase}"));
        let strikes = strikes(&planned);
        let (from, half) = (scenario.work_at() + 120 * SECOND, 30 * SECOND);
        assert_eq!(strikes.len(), 20);
        assert!(strikes.iter().all(|(at, until, nodes)| {
            nodes.len() == 1 && (from..from + half).contains(at) && (from + half..from + 2 * half).contains(until)
        }));
        assert!(!strikes.is_sorted_by_key(|(_, until, _)| *until));
    }

    #[test]
    fn a_region_is_those_nearest_to_one_of_them() {
        let phase = "[[phase]]\nat = \"2m\"\nfault = \"stop\"\nwho = { region = 0.1 }";
        let (_, planned) = schedule(&format!("net.nodes = 100\n{phase}"));
        let (_, _, region) = strikes(&planned).remove(0);
        let net = Net::new(1, None);
        let is_nearest = |centre: &NodeIx| {
            let reach = region.iter().map(|node| net.one_way(*centre, *node)).max();
            (0..100).filter(|node| Some(net.one_way(*centre, *node)) <= reach).count() == region.len()
        };
        assert_eq!(region.len(), 10);
        assert!(region.iter().any(is_nearest));
    }

    #[test]
    fn a_crowd_wants_the_package_published_last_and_who_joins_late_does_nothing_before() {
        let text = "[net]\nnodes = 100\nlate = { share = 0.5, at = \"1m\", within = \"1m\" }\n[work]\ngets = 0\n\
                    [[crowd]]\nat = \"5m\"\nshare = 0.4\nwithin = \"10s\"";
        let (scenario, planned) = schedule(text);
        let (late, crowd) = (scenario.work_at() + 60 * SECOND, scenario.work_at() + 300 * SECOND);
        let gets: Vec<_> = planned.operations().filter(|(_, it)| matches!(it, Operation::Get { .. })).collect();
        let wanted = gets.first().map(|(_, operation)| match operation {
            Operation::Get { package, .. } => *package,
            _ => unreachable!(),
        });
        assert_eq!(gets.len(), 40);
        assert!(gets.iter().all(|(at, operation)| {
            let Operation::Get { package, .. } = operation else { return false };
            Some(*package) == wanted && (crowd..crowd + 10 * SECOND).contains(at)
        }));
        let last = |(at, operation): &(u64, Operation)| match operation {
            Operation::Publish { package, .. } if *at + SPREAD <= crowd => Some((*at, *package)),
            _ => None,
        };
        assert_eq!(planned.operations().filter_map(|it| last(&it)).max().map(|(_, package)| package), wanted);
        assert!(planned.operations().all(|(at, operation)| operation.node() < 50 || at >= late));
    }
}
