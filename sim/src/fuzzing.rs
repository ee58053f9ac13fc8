//! The engine, driven by bytes: every string of bytes is a small run that must hold.
//!
//! Bytes choose among what can be, so that no string is refused: who publishes is honest and keeps its disk, what nodes are
//! asked in the end is asked when all faults are over.

use std::collections::BTreeSet;

use registry_core::fuzzing::Choices;

use crate::adversary::{Hostile, Place};
use crate::engine::{NodeIx, Options};
use crate::fault::Fault;
use crate::mix::stream;
use crate::net::Transport;
use crate::queue::QueueKind;
use crate::report::{Report, Verdict};
use crate::scenario::{Judge, Network, SECOND, Scenario, Work};
use crate::schedule::{Bug, Entry, Operation, Schedule, What, plan};
use crate::swarm::MENU;
use crate::workload::Simulation;

/// What bytes are read beyond so many entries is not.
const MAX_ENTRIES: usize = 24;
/// The nodes from 0 on that publish.
const PUBLISHERS: u32 = 2;
/// Faults strike for so long after the work's beginning, in microseconds.
const TROUBLE: u64 = 60 * SECOND;
/// Between the faults and the questions, in microseconds.
const CALM: u64 = 60 * SECOND;
/// The unit of the times between entries, in microseconds.
const TICK: u64 = SECOND / 4;

/// What bytes have decided.
#[derive(Debug)]
pub struct Decided {
    /// The network.
    pub scenario: Scenario,
    /// Of the run.
    pub seed: u64,
    /// How it is carried out.
    pub options: Options,
    /// What happens.
    pub schedule: Schedule,
}

/// Runs what these bytes decide; panics when a check does not hold.
pub fn world(data: &[u8]) -> Report {
    let Decided { scenario, seed, options, schedule } = decide(data);
    let report = Simulation::new(&scenario, seed, schedule.clone(), &options).finish();
    let fails = matches!(report.verdict, Verdict::Violation | Verdict::Liveness);
    assert!(!fails, "{report}\n{options:?}\n{}", Bug::new(&scenario, &report, schedule).text());
    report
}

/// Reads bytes.
pub fn decide(data: &[u8]) -> Decided {
    let mut bytes = Choices::new(data);
    let nodes = 3 + bytes.below(4) as u32;
    let seed = bytes.byte().into();
    let way = bytes.byte();
    let transport = if way & 1 == 0 { Transport::Datagrams } else { Transport::Streams };
    let options = Options {
        wire: way & 2 != 0,
        spurious: way & 4 != 0,
        queue: if way & 8 == 0 { QueueKind::default() } else { QueueKind::Heap },
        ..Options::default()
    };
    let scenario = Scenario {
        net: Network { nodes, transport, join: 5 * SECOND, settle: 10 * SECOND, ..Network::default() },
        work: Work { lasts: TROUBLE + CALM, publishes: 0, searches: 0, gets: 0, messages: 0 },
        judge: Judge { calm: CALM, lookups: 0, probes: 0, ..Judge::default() },
        ..Scenario::default()
    };
    let joins = plan(&scenario, seed).entries;
    let calm_at = scenario.faults_at().1;
    let mut writer =
        Writer { nodes, calm_at, bytes, entries: joins, published: 0, troubled: false, hostile: BTreeSet::new() };
    writer.write(scenario.work_at(), scenario.judge_at());
    Decided { scenario, seed, options, schedule: Schedule::new(writer.entries) }
}

struct Writer<'a> {
    nodes: u32,
    calm_at: u64,
    bytes: Choices<'a>,
    entries: Vec<Entry>,
    published: u32,
    /// Something has struck.
    troubled: bool,
    hostile: BTreeSet<NodeIx>,
}

impl Writer<'_> {
    fn write(&mut self, work_at: u64, judge_at: u64) {
        let mut at = work_at;
        for question in 0..MAX_ENTRIES as u64 {
            if self.bytes.is_empty() {
                break;
            }
            let kind = self.bytes.below(4);
            at = self.calm_at.min(at + self.bytes.below(64) * TICK);
            match kind {
                0 | 1 => self.operation(at, judge_at + question * SECOND),
                2 => self.fault(at),
                _ => self.attack(at),
            }
        }
        self.ask(judge_at, Operation::Message { node: 0, number: u32::MAX });
        self.ask(judge_at, Operation::Lookup { node: 1, key: u32::MAX });
        let hostile = std::mem::take(&mut self.hostile);
        self.entries.retain(|entry| !matches!(entry.what, What::Do(asked) if is_work_of(asked, &hostile)));
        for node in (PUBLISHERS..self.nodes).filter(|node| !hostile.contains(node)) {
            for package in 0..self.published {
                self.ask(judge_at + u64::from(package) * SECOND, Operation::Probe { node, package });
            }
        }
    }

    fn ask(&mut self, at: u64, operation: Operation) {
        self.entries.push(Entry { at, what: What::Do(operation) });
    }

    /// What can only be judged in a network that is whole is asked in the end.
    fn operation(&mut self, at: u64, in_the_end: u64) {
        let (kind, who) = (self.bytes.below(5), self.bytes.byte());
        let node = NodeIx::from(who) % self.nodes;
        let number = self.entries.len() as u32;
        let (at, operation) = match kind {
            0 => {
                let package = self.published;
                self.published += 1;
                // Every fourth is a further version of the one before it.
                let node = (package - package % 4 / 3) % PUBLISHERS;
                (at, Operation::Publish { node, package })
            }
            1 => (at, Operation::Search { node, package: self.package() }),
            2 => (at, Operation::Get { node, package: self.package() }),
            3 => (if self.troubled { in_the_end } else { at }, Operation::Message { node, number }),
            _ => (in_the_end, Operation::Lookup { node, key: number }),
        };
        self.ask(at, operation);
    }

    fn fault(&mut self, at: u64) {
        let (_, draw) = MENU[self.bytes.below(MENU.len() as u64) as usize];
        let mut fault = draw(&mut stream(self.bytes.byte().into(), "fuzzing/fault", 0, 0));
        if let Fault::ConnectionCap { most } = &mut fault {
            *most %= self.nodes as usize;
        }
        // Nobody could recover what its publisher alone had.
        let loses = matches!(fault, Fault::Crash { disk_lost: true, .. } | Fault::BitRot { .. });
        let nodes = self.some(if loses { PUBLISHERS } else { 0 });
        self.strike(at, fault, nodes);
    }

    fn attack(&mut self, at: u64) {
        let package = self.package();
        let fault = match self.bytes.below(19) {
            0 => Fault::Hostile(Hostile::NonForwarder),
            1 => Fault::Hostile(Hostile::Mute(self.bytes.below(PUBLISHERS.into()) as u32)),
            2 => Fault::Hostile(Hostile::IhaveFlood),
            3 => Fault::Hostile(Hostile::IwantFlood),
            4 => Fault::Hostile(Hostile::GraftFlood),
            5 => Fault::Hostile(Hostile::StaleAnswers),
            6 => Fault::Hostile(Hostile::SlowDrip),
            7 => Fault::Hostile(Hostile::InventedPeers),
            8 => Fault::Hostile(Hostile::Eclipse),
            9 => Fault::Hostile(Hostile::Censor(self.place())),
            10 => Fault::Hostile(Hostile::BadBytes),
            11 => Fault::Hostile(Hostile::ForgedStatements),
            12 => Fault::Hostile(Hostile::IrrelevantFinds),
            13 => Fault::Hostile(Hostile::EmptyFinds),
            14 => Fault::Hostile(Hostile::OldNews),
            15 => Fault::Sybil { near: self.place(), bits: self.bytes.below(8) as u32 },
            16 => Fault::CoLocated,
            17 => Fault::Equivocate,
            _ => Fault::SearchSpam { statements: 1 + self.bytes.below(16) as u32, imitated: 1 + package },
        };
        let nodes = self.some(PUBLISHERS);
        self.hostile.extend(&nodes);
        self.strike(at, fault, nodes);
    }

    fn strike(&mut self, at: u64, fault: Fault, nodes: Vec<NodeIx>) {
        self.troubled = true;
        let lasts = ((1 + self.bytes.below(64)) * SECOND).min(self.calm_at - at);
        let lasts = (!fault.is_instant()).then_some(lasts);
        if lasts != Some(0) {
            self.entries.push(Entry { at, what: What::Strike { fault, nodes, lasts } });
        }
    }

    /// At least one of the nodes from `first` on.
    fn some(&mut self, first: NodeIx) -> Vec<NodeIx> {
        let chosen = 1 + self.bytes.below((1 << (self.nodes - first)) - 1);
        (first..self.nodes).filter(|node| chosen >> (node - first) & 1 == 1).collect()
    }

    fn package(&mut self) -> u32 {
        self.bytes.below(self.published.into()) as u32
    }

    fn place(&mut self) -> Place {
        let node = self.bytes.below(self.nodes.into()) as NodeIx;
        match self.bytes.below(5) {
            0 => Place::Node(node),
            1 => Place::Publisher(node % PUBLISHERS),
            2 => Place::Log(node % PUBLISHERS),
            3 => Place::Package(self.package()),
            _ => Place::Lookup(self.entries.len() as u32),
        }
    }
}

/// Something that a hostile node is not asked for.
fn is_work_of(asked: Operation, hostile: &BTreeSet<NodeIx>) -> bool {
    !matches!(asked, Operation::Join { .. }) && hostile.contains(&asked.node())
}
