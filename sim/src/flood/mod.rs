//! Honest publishers in a flood of fresh ones that imitate them, far beyond what a node keeps: are their packages found?
//!
//! Attackers hold the logs of the fresh publishers, so that others meet them by reconciliation, and announce each of them
//! by gossip.

mod attack;
mod gossip;

use std::cell::Cell;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use registry_core::action::Write;
use registry_core::catalog::NewRelease;
use registry_core::command::Command;
use registry_core::event::Event;
use registry_core::search::Query;
use registry_core::{Config, PublisherId};
use serde::Serialize;

use crate::checks::Check;
use crate::corpus::{Described, invent};
use crate::engine::{NodeIx, Options, Planted, ReplaceAction, Step, World};
use crate::mix::stream;
use crate::report::{Verdict, cpu_seconds, peak_rss_bytes};
use crate::scenario::{SECOND, Scenario};

/// One node of so many is an attacker's; one honest publisher of so many is fresh when the flood comes.
const ATTACKERS: u32 = 5;
const FRESH: usize = 4;
/// Results of a search that count: its first page.
const PAGE: usize = 10;
/// Nodes that search.
const SEARCHERS: usize = 10;
/// Seconds over which the honest nodes join, and when they first publish.
const JOIN: u64 = 20;
const PUBLISH: u64 = 30;
/// The seconds over which attackers join, and when the searches are made: some rounds of reconciliation later.
const FLOOD: (u64, u64) = (150, 330);
const JUDGE: u64 = 600;
/// Seconds between two looks at what nodes hold.
const LOOK: u64 = 10;
/// Seconds in which a search must end.
const END: u64 = 30;

/// One run, replayable from these values alone.
#[derive(Clone, Copy, Debug)]
pub struct FloodScenario {
    /// Virtual nodes, a fifth of them attackers.
    pub nodes: u32,
    /// Honest packages, one statement each, dealt to the honest nodes in turn.
    pub honest: usize,
    /// Statements of the flood for each honest one.
    pub flood: usize,
    /// What a node keeps, in times of the honest statements; and publishers, in half as many times of the honest ones.
    pub budget: usize,
    /// Decides every random choice.
    pub seed: u64,
}

/// Searches that showed the package they looked for, and all of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Found {
    /// By its name.
    pub by_name: (u64, u64),
    /// By the words of its summary.
    pub by_words: (u64, u64),
}

/// What a run brought.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct FloodReport {
    /// What repeats it.
    pub command: String,
    /// Of the checks.
    pub verdict: Verdict,
    /// Of everything every node did.
    pub digest: String,
    /// Honest statements.
    pub honest: usize,
    /// Statements of the flood.
    pub flood: usize,
    /// Publishers of the flood.
    pub newcomers: usize,
    /// Of these, so many were announced by gossip.
    pub announced: usize,
    /// Bytes of statements and heads that a node may keep, besides the own and followed ones.
    pub budget_bytes: usize,
    /// The most that an honest node held at any look.
    pub most_bytes: u64,
    /// Bytes of the flood.
    pub flood_bytes: usize,
    /// Releases that an honest node holds at the end, on average.
    pub releases: u64,
    /// Runs refused by honest nodes.
    pub refused: u64,
    /// Publishers put out by honest nodes.
    pub put_out: u64,
    /// Packages of settled publishers from before the flood.
    pub before: Found,
    /// Packages that settled publishers have released in the flood.
    pub during: Found,
    /// Packages of fresh honest publishers, at nodes that follow them.
    pub followed: Found,
    /// The same at other nodes: drawn by lot.
    pub drawn: Found,
    /// Properties that must hold.
    pub checks: Vec<Check>,
    /// Of this process, with the signing of all packages.
    pub cpu_seconds: Option<f64>,
    /// Of this process.
    pub peak_rss_bytes: Option<u64>,
}

/// Runs a scenario to its end. `command` is what repeats it.
pub fn run(scenario: &FloodScenario, command: String) -> FloodReport {
    run_planted(scenario, command, Box::new(|_, action| vec![action]))
}

/// The same, with a fault planted on purpose.
pub fn run_planted(scenario: &FloodScenario, command: String, fault: Box<ReplaceAction>) -> FloodReport {
    let honest = invent(scenario.seed, scenario.honest);
    let flood = attack::newcomers(scenario.seed, &honest, scenario.honest * scenario.flood);
    let mut driver = Driver::new(scenario, honest, &flood, fault);
    driver.run();
    driver.report(scenario, &flood, command)
}

enum Task {
    Publish(NodeIx, Vec<NewRelease>),
    Follow(NodeIx, PublisherId),
    Look,
}

struct Driver {
    world: World,
    packages: Vec<Described>,
    honest: NodeIx,
    searchers: Vec<NodeIx>,
    tasks: Vec<Option<Task>>,
    announced: Rc<Cell<usize>>,
    budget: usize,
    most_bytes: u64,
    within: Check,
    found: [Found; 4],
    checks: [Check; 3],
}

/// How it stands with an honest package at a node: the place of its figures.
const BEFORE: usize = 0;
const DURING: usize = 1;
const FOLLOWED: usize = 2;
const DRAWN: usize = 3;

impl Driver {
    fn new(
        scenario: &FloodScenario,
        packages: Vec<Described>,
        flood: &[Vec<Write>],
        mut fault: Box<ReplaceAction>,
    ) -> Self {
        let honest = scenario.nodes - scenario.nodes / ATTACKERS;
        // Statements of the flood are as long as honest ones.
        let budget = bytes_of(flood) / scenario.flood * scenario.budget;
        let mut config = Config::default();
        config.catalog.max_bytes = budget;
        config.catalog.max_publishers = honest as usize * scenario.budget / 2;
        let of_world = Scenario { config: Arc::new(config), ..Scenario::standard(scenario.nodes) };
        let mut world = World::new(&of_world, scenario.seed, &Options::default(), &(0..honest).collect::<Vec<_>>());
        let mut rng = stream(scenario.seed, "flood", 0, 0);
        for node in 0..honest {
            world.schedule_boot(u64::from(node) * JOIN * SECOND / u64::from(honest), node);
        }
        let attackers = scenario.nodes - honest;
        let mut announcements: BTreeMap<NodeIx, VecDeque<_>> = BTreeMap::new();
        for (ix, (node, newcomer)) in (0..).zip((honest..scenario.nodes).cycle().zip(flood)) {
            world.preload(node, newcomer);
            announcements.entry(node).or_default().push_back(gossip::announce(scenario.seed, ix, newcomer));
        }
        let announced = Rc::default();
        let mut attack = gossip::plant(announcements, &announced);
        let action = Box::new(move |node, action| {
            let actions: Vec<_> = attack(node, action);
            actions.into_iter().flat_map(|action| fault(node, action)).collect()
        });
        world.plant(Planted { action: Some(action), ..Planted::default() });
        for node in honest..scenario.nodes {
            let later = (FLOOD.1 - FLOOD.0) * u64::from(node - honest) / u64::from(attackers);
            world.schedule_boot((FLOOD.0 + later) * SECOND, node);
        }
        let searchers = rng.sample((0..honest).collect(), SEARCHERS);
        let found = Default::default();
        let checks = [
            ("found-from-before", "releases from before the flood are found"),
            ("found-from-settled", "new releases of settled publishers are found"),
            ("found-when-followed", "releases of followed newcomers are found"),
        ]
        .map(|(id, means)| Check::new(id, means));
        let within = Check::new("within-budget", "no node keeps more than its budget");
        let tasks = Vec::new();
        let mut driver =
            Self { world, packages, honest, searchers, tasks, announced, budget, most_bytes: 0, within, found, checks };
        driver.plan_honest();
        (PUBLISH..JUDGE).step_by(LOOK as usize).for_each(|at| driver.plan(at * SECOND, Task::Look));
        driver
    }

    /// Settled publishers release half of their packages before the flood, all others come in its middle.
    fn plan_honest(&mut self) {
        let middle = u64::midpoint(FLOOD.0, FLOOD.1);
        for node in 0..self.honest {
            let mut halves = [Vec::new(), Vec::new()];
            for (ix, package) in self.packages.iter().enumerate().filter(|(ix, _)| self.author(*ix) == node) {
                let release = package.release(&package.version, &BTreeMap::new());
                halves[usize::from(!self.is_from_before(ix))].push(release);
            }
            for (at, releases) in [PUBLISH, middle].into_iter().zip(halves) {
                if !releases.is_empty() {
                    self.plan((at + u64::from(node) % LOOK) * SECOND, Task::Publish(node, releases));
                }
            }
            for author in 0..self.honest {
                if self.follows(node, author) {
                    self.plan(PUBLISH * SECOND, Task::Follow(node, self.publisher(author)));
                }
            }
        }
    }

    fn plan(&mut self, at: u64, task: Task) {
        self.world.schedule_timer(at, self.tasks.len() as u64);
        self.tasks.push(Some(task));
    }

    fn author(&self, package: usize) -> NodeIx {
        (package % self.honest as usize) as NodeIx
    }

    fn is_fresh(author: NodeIx) -> bool {
        author as usize % FRESH == FRESH - 1
    }

    fn is_from_before(&self, package: usize) -> bool {
        !Self::is_fresh(self.author(package)) && (package / self.honest as usize).is_multiple_of(2)
    }

    /// Every second node follows a fresh publisher.
    fn follows(&self, node: NodeIx, author: NodeIx) -> bool {
        Self::is_fresh(author) && node != author && (node + author / FRESH as u32).is_multiple_of(2)
    }

    fn publisher(&self, node: NodeIx) -> PublisherId {
        self.world.host(node).local().publisher.as_ref().expect("honest nodes can publish").id
    }

    fn run(&mut self) {
        while let Some(step) = self.world.step(JUDGE * SECOND) {
            if let Step::Timer(task) = step {
                let task = self.tasks[task as usize].take().expect("a timer fires once");
                self.perform(task);
            }
            while self.world.take_emitted().is_some() {}
        }
        for node in self.searchers.clone() {
            for package in 0..self.packages.len() {
                self.look_for(node, package);
            }
        }
    }

    fn perform(&mut self, task: Task) {
        let accepted = match task {
            Task::Publish(node, releases) => self.world.command(node, Command::PublishBatch(releases)),
            Task::Follow(node, publisher) => self.world.command(node, Command::Follow { publisher, on: true }),
            Task::Look => return self.look(),
        };
        assert!(accepted.is_ok(), "{accepted:?}");
    }

    /// The own log and the followed ones, together less than all honest statements, are kept on top of the budget.
    fn look(&mut self) {
        let allowed = self.budget + self.budget / 4;
        for node in 0..self.honest {
            let bytes = self.world.node(node).expect("it runs").stats().catalogue_bytes;
            self.most_bytes = self.most_bytes.max(bytes);
            self.within.judge(bytes <= allowed as u64, || format!("{bytes} at node {node}, allowed {allowed}"));
        }
    }

    fn look_for(&mut self, node: NodeIx, package: usize) {
        let author = self.author(package);
        if author == node {
            return;
        }
        let stands = match () {
            () if self.is_from_before(package) => BEFORE,
            () if !Self::is_fresh(author) => DURING,
            () if self.follows(node, author) => FOLLOWED,
            () => DRAWN,
        };
        let Described { name, summary, .. } = self.packages[package].clone();
        let by_name = self.finds(node, package, name.as_str());
        let by_words = self.finds(node, package, &summary);
        let found = &mut self.found[stands];
        for (count, finds) in [(&mut found.by_name, by_name), (&mut found.by_words, by_words)] {
            *count = (count.0 + u64::from(finds), count.1 + 1);
        }
        if let Some(check) = self.checks.get_mut(stands) {
            for (finds, how) in [(by_name, "name"), (by_words, "words")] {
                check.judge(finds, || format!("{} by its {how} at node {node}", name.as_str()));
            }
        }
    }

    /// Is the package on the first page?
    fn finds(&mut self, node: NodeIx, package: usize, text: &str) -> bool {
        let query = Query { text: text.into(), limit: PAGE, ..Query::default() };
        let asked = self.world.command(node, Command::Search(query)).expect("a query of some words");
        let (publisher, name) = (self.publisher(self.author(package)), &self.packages[package].name);
        let until = self.world.now() + END * SECOND;
        loop {
            while let Some((at, event)) = self.world.take_emitted() {
                if let Event::SearchDone { op, page } = event
                    && (at, op) == (node, asked)
                {
                    let releases = page.hits.iter().map(|hit| &hit.release.release);
                    return releases.into_iter().any(|it| it.publisher == publisher && it.meta.name == *name);
                }
            }
            if self.world.step(until).is_none() {
                return false;
            }
        }
    }

    fn report(self, scenario: &FloodScenario, flood: &[Vec<Write>], command: String) -> FloodReport {
        let stats = || (0..self.honest).map(|node| self.world.node(node).expect("it runs").stats());
        let mut arrives = Check::new("flood-arrives", "the flood is many times what a node keeps");
        for (node, stats) in stats().enumerate() {
            arrives.judge(stats.refused > 0 || stats.put_out > 0, || format!("node {node} has had room for all"));
        }
        let (releases, refused, put_out) = stats().fold((0, 0, 0), |(releases, refused, put_out), stats| {
            (releases + stats.releases, refused + stats.refused, put_out + stats.put_out)
        });
        let [before, during, followed, drawn] = self.found;
        let checks: Vec<_> = self.checks.into_iter().chain([self.within, arrives]).chain(self.world.checks()).collect();
        FloodReport {
            command,
            verdict: Verdict::of(&checks),
            digest: format!("{:016x}", self.world.digest()),
            honest: scenario.honest,
            flood: scenario.honest * scenario.flood,
            newcomers: flood.len(),
            announced: self.announced.get(),
            budget_bytes: self.budget,
            most_bytes: self.most_bytes,
            flood_bytes: bytes_of(flood),
            releases: releases / u64::from(self.honest),
            refused,
            put_out,
            before,
            during,
            followed,
            drawn,
            checks,
            cpu_seconds: cpu_seconds(),
            peak_rss_bytes: peak_rss_bytes(),
        }
    }
}

fn bytes_of(flood: &[Vec<Write>]) -> usize {
    let rows = flood.iter().flatten();
    rows.filter_map(|row| row.value.as_ref()).map(Bytes::len).sum()
}

impl fmt::Display for FloodReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { honest, flood, newcomers, announced, budget_bytes, most_bytes, flood_bytes, .. } = self;
        writeln!(f, "{:?}  digest {}", self.verdict, self.digest)?;
        writeln!(f, "{honest} honest statements; {flood} of {newcomers} fresh publishers, {flood_bytes} bytes")?;
        writeln!(f, "{announced} of these publishers were announced by gossip")?;
        writeln!(f, "a node keeps {budget_bytes} bytes and what it follows; at most {most_bytes} were held")?;
        let Self { releases, refused, put_out, .. } = self;
        writeln!(f, "{releases} releases at an honest node; {refused} runs refused, {put_out} publishers put out")?;
        let kinds = [
            ("from before", self.before),
            ("of settled publishers", self.during),
            ("of followed publishers", self.followed),
            ("drawn by lot", self.drawn),
        ];
        for (kind, Found { by_name, by_words }) in kinds {
            let share = |(found, all): (u64, u64)| found as f64 * 100.0 / all.max(1) as f64;
            let (name, words) = (share(by_name), share(by_words));
            writeln!(f, "{kind:<24} found by name {name:>6.2} %, by words {words:>6.2} % of {}", by_name.1)?;
        }
        self.checks.iter().try_for_each(|check| write!(f, "{check}"))?;
        let rss = self.peak_rss_bytes.unwrap_or(0) >> 20;
        writeln!(f, "{:.1} CPU seconds, {rss} MiB", self.cpu_seconds.unwrap_or(0.0))
    }
}
