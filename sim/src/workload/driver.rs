//! Carries out the schedule and listens to what the nodes tell.

use std::collections::BTreeSet;

use bytes::Bytes;
use registry_core::PeerId;
use registry_core::catalog::{Content, ReleaseInfo};
use registry_core::command::{Command, DhtCommand, PubsubCommand};
use registry_core::event::{DhtResult, Event};
use registry_core::id::OpId;
use registry_core::search::SearchPage;

use super::{Op, SUBSCRIBED, Said, Simulation, Why};
use crate::checks::panics::guard;
use crate::checks::rest::Rest;
use crate::engine::{NodeIx, Step};
use crate::judge::is_recoverable;
use crate::mix::{lookup_key, stream};
use crate::scenario::SECOND;
use crate::schedule::{Entry, JUDGE_TIME, Operation, What};

/// The topic every node follows.
const TOPIC: &str = "sim";

/// Tables and meshes are what they were so long after a fault, in microseconds.
const RECOVERY: u64 = 60 * SECOND;

impl Simulation<'_> {
    /// Tells the world when the entries of the schedule are due: timers are places in the schedule, doubled, odd ones for
    /// the end of a fault.
    pub(super) fn lay_down(&mut self) {
        for (timer, Entry { at, what }) in (0..).step_by(2).zip(&self.schedule.entries) {
            self.world.schedule_timer(*at, timer);
            if let What::Strike { lasts: Some(lasts), .. } = what {
                self.world.schedule_timer(at + lasts, timer + 1);
            }
        }
    }

    /// Lets virtual time go on by so many microseconds; false when the run is over: its end has come, or everything was
    /// asked and answered, and has come to rest.
    pub fn advance(&mut self, micros: u64) -> bool {
        let asked = self.scenario.judge_at() + JUDGE_TIME;
        let until = (self.until + micros).min(self.end_at());
        if let Err(said) = guard(|| self.run_by_seconds(until)) {
            self.panicked(Some(said));
            return false;
        }
        self.until = until;
        if until >= asked && self.ops.is_empty() && self.rest.is_none() {
            self.rest = Some(Rest::new(until));
        }
        let is_over = self.rest.as_mut().is_some_and(|rest| rest.goes_on(&self.world, until));
        until < self.end_at() && !is_over
    }

    /// What happens at a full second belongs to the second that begins with it.
    fn run_by_seconds(&mut self, until: u64) {
        for second in self.until / SECOND..until / SECOND {
            self.seconds.begin(&mut self.world);
            self.run_until((second + 1) * SECOND - 1);
            self.seconds.end(&mut self.world);
        }
        if !until.is_multiple_of(SECOND) {
            self.run_until(until);
        }
    }

    fn run_until(&mut self, until: u64) {
        while let Some(step) = self.world.step(until) {
            if let Step::Timer(timer) = step {
                self.perform(timer);
            }
            while let Some(node) = self.world.take_crashed() {
                self.crashed(node);
            }
            while let Some((node, event)) = self.world.take_emitted() {
                self.checkers.heard(&self.world, node, &event);
                self.hear(node, event);
            }
            self.checkers.after(&self.world, step);
        }
    }

    fn perform(&mut self, timer: u64) {
        let place = (timer / 2) as usize;
        let was_quiet = self.world.is_quiet();
        if timer % 2 == 1 {
            self.world.lift(place as u32);
            self.disturbed(was_quiet);
            return;
        }
        self.applied[place] = match self.schedule.entries[place].what.clone() {
            What::Do(operation) => self.operate(operation),
            What::Strike { fault, nodes, .. } => {
                let has_struck = self.world.impose(place as u32, &fault, &nodes);
                self.disturbed(was_quiet);
                has_struck
            }
        };
    }

    /// No fault is in force, and what there was is overcome.
    fn is_settled(&self) -> bool {
        let overcome = self.hindered_at.is_none_or(|at| at + RECOVERY <= self.world.now());
        self.world.is_quiet() && overcome
    }

    fn disturbed(&mut self, was_quiet: bool) {
        if !was_quiet || !self.world.is_quiet() {
            self.hindered_at = Some(self.world.now());
        }
        self.checkers.disturbed(&self.world);
        self.announced.disturbed(self.world.now());
        self.messages.disturbed(self.world.now());
    }

    /// Asks a node for something; false when it cannot be asked. A publish counts in any case: who publishes what is part
    /// of the world, and of what others ask for.
    fn operate(&mut self, operation: Operation) -> bool {
        match operation {
            Operation::Join { node } => {
                let is_new = node < self.world.len() && !self.world.host(node).is_up();
                if is_new {
                    self.world.schedule_boot(self.world.now(), node);
                }
                is_new
            }
            Operation::Publish { node, package } => {
                if self.is_ready(node) {
                    self.publish(node, package);
                }
                true
            }
            _ if !self.is_ready(operation.node()) => false,
            Operation::Search { node, package } => self.search(node, package, Why::Work),
            Operation::Get { node, package } => self.resolve(node, package, Why::Work),
            Operation::Message { node, number } => self.send(node, number),
            Operation::Lookup { node, key } => self.look_up(node, key),
            Operation::Probe { node, package } => {
                let is_acknowledged = self.packages.get(&package).is_some_and(|package| package.acknowledged.is_some());
                is_acknowledged && self.search(node, package, Why::Probe) && self.resolve(node, package, Why::Probe)
            }
        }
    }

    fn publish(&mut self, node: NodeIx, number: u32) {
        let package = &self.packages[&number];
        package.store(&mut self.world);
        let command = Command::Publish(package.release());
        self.announced.sent(number, node, self.world.now(), self.is_settled());
        if !self.start(node, command, Op::Publish(number)) {
            self.not_published(node, number, "refused");
        }
    }

    /// Who has its log, and is not hindered, can publish.
    fn not_published(&mut self, node: NodeIx, number: u32, error: &str) {
        let host = self.world.host(node);
        if self.announced.is_quiet(number) && self.world.is_honest(node) && !host.is_another() {
            self.accepted.judge(false, || format!("node {node} does not publish number {number}: {error}"));
        }
        self.announced.unsent(number);
        self.work.publishes_failed += 1;
    }

    fn search(&mut self, node: NodeIx, number: u32, why: Why) -> bool {
        let Some(package) = self.packages.get(&number) else { return false };
        let command = Command::Search(package.query());
        self.start(node, command, Op::Search { package: number, why })
    }

    fn resolve(&mut self, node: NodeIx, number: u32, why: Why) -> bool {
        let Some(package) = self.packages.get(&number) else { return false };
        let command = Command::Resolve(package.spec());
        self.start(node, command, Op::Resolve { package: number, why })
    }

    fn send(&mut self, node: NodeIx, number: u32) -> bool {
        let mut rng = stream(self.seed, "message", number, 0);
        let mut data = vec![0; 64 + rng.index(2_000)];
        rng.fill(&mut data);
        data[..4].copy_from_slice(&number.to_be_bytes());
        let data = Bytes::from(data);
        let said = Said { by: self.world.host(node).peer_id(), data: data.clone(), audience: self.audience(node) };
        let command = Command::Pubsub(PubsubCommand::Publish { topic: TOPIC.into(), data });
        self.said.insert(number, said);
        self.messages.sent(number, node, self.world.now(), self.is_settled());
        let is_started = self.start(node, command, Op::Message(number));
        if !is_started {
            self.messages.unsent(number);
        }
        is_started
    }

    /// Who has followed the topic for long enough, and is connected to a node by way of others who have.
    fn audience(&self, node: NodeIx) -> BTreeSet<NodeIx> {
        let (mut audience, mut open) = (BTreeSet::new(), vec![node]);
        while let Some(next) = open.pop() {
            let follows = self.subscribed[next as usize].is_some_and(|since| since + SUBSCRIBED <= self.world.now());
            if follows && self.world.is_honest(next) && audience.insert(next) {
                let peers = self.world.host(next).peers();
                open.extend(peers.into_iter().filter(|peer| self.world.are_connected(next, *peer)));
            }
        }
        audience
    }

    fn look_up(&mut self, node: NodeIx, number: u32) -> bool {
        let key = Bytes::copy_from_slice(&lookup_key(self.seed, number));
        let mut truth = self.oracle.closest(&self.world, node, &key, self.world.configuration(node).kad.k);
        // Who has misbehaved, or whose messages were garbled, may be banned, rightly.
        truth.retain(|other| self.world.is_honest(*other) && !self.world.is_banned_between(node, *other));
        let at = self.world.now();
        self.start(node, Command::Dht(DhtCommand::Closest(key.clone())), Op::Lookup { key, truth, at })
    }

    /// Starts an operation; false when the node refuses it.
    fn start(&mut self, node: NodeIx, command: Command, op: Op) -> bool {
        match self.world.command(node, command) {
            Ok(id) => {
                self.ops.insert((node, id), op);
                true
            }
            Err(_) => false,
        }
    }

    fn crashed(&mut self, node: NodeIx) {
        self.subscribed[node as usize] = None;
        self.messages.forget(node);
        if self.world.host(node).disk().is_empty() {
            self.announced.forget(node);
        }
        let interrupted: Vec<_> =
            self.ops.range((node, OpId(0))..=(node, OpId(u64::MAX))).map(|(key, _)| *key).collect();
        for key in interrupted {
            self.work.interrupted += 1;
            match self.ops.remove(&key) {
                Some(Op::Publish(package)) if self.packages[&package].acknowledged.is_none() => {
                    self.announced.unsent(package)
                }
                Some(Op::Message(message)) => self.messages.unsent(message),
                _ => {}
            }
        }
    }

    fn hear(&mut self, node: NodeIx, event: Event) {
        let now = self.world.now();
        match event {
            Event::Ready => {
                let subscribe = Command::Pubsub(PubsubCommand::Subscribe(TOPIC.into()));
                if self.world.command(node, subscribe).is_ok() {
                    self.subscribed[node as usize] = Some(now);
                }
            }
            Event::Update { kind: _, release } => {
                if let Some(package) = self.package_of(&release) {
                    self.announced.told(package, node, now);
                }
            }
            Event::PubsubMessage { topic, author, data } if &*topic == TOPIC => {
                let number = data.first_chunk().map(|number| u32::from_be_bytes(*number));
                let said = number.and_then(|number| self.said.get(&number));
                self.genuine.judge(said.is_some_and(|said| said.by == author && said.data == data), || {
                    format!("node {node} is told of number {number:?} of {author}, of {} bytes", data.len())
                });
                if let Some(number) = number {
                    self.messages.told(number, node, now);
                }
            }
            Event::Published { op, release, .. } => {
                if let Some(Op::Publish(package)) = self.end(node, op) {
                    self.work.publishes += 1;
                    if self.announced.is_quiet(package) {
                        self.accepted.judge(true, String::new);
                    }
                    let by = Some(self.world.host(node).peer_id());
                    self.packages.get_mut(&package).expect("it was published").acknowledged = by;
                    self.judge_statement(node, package, &release);
                }
            }
            Event::SearchDone { op, page } => {
                if let Some(Op::Search { package, why }) = self.end(node, op) {
                    self.searched(node, package, why, &page);
                }
            }
            Event::Resolved { op, release } => {
                if let Some(Op::Resolve { package, why }) = self.end(node, op) {
                    self.resolved(node, package, why, &release);
                }
            }
            Event::Fetched { op, root, .. } => {
                if let Some(Op::Fetch { package, why, .. }) = self.end(node, op) {
                    let fetched = &self.packages[&package];
                    let whole = fetched.root == root && fetched.is_held_by(&self.world, node);
                    self.bytes.judge(whole, || format!("node {node} fetched number {package} with other bytes"));
                    match why {
                        Why::Work => self.work.gets += 1,
                        Why::Probe => self.answer(package, true, String::new),
                    }
                }
            }
            Event::Dht { op, result: DhtResult::Closest { peers, hops } } => {
                if let Some(Op::Lookup { key, truth, at }) = self.end(node, op) {
                    let found: Vec<PeerId> = peers.into_iter().map(|(peer, _)| peer).collect();
                    self.lookups.found(&self.world, &key, &truth, &found, now - at, hops.into());
                }
            }
            Event::PubsubPublished { op, .. } => {
                if self.end(node, op).is_some() {
                    self.work.messages += 1;
                }
            }
            Event::Failed { op, error } => {
                let op = self.end(node, op);
                self.failed(node, op, &format!("{error:?}"));
            }
            Event::PeerUp(_)
            | Event::PeerDown(_)
            | Event::PeerMisbehaved { .. }
            | Event::Progress { .. }
            | Event::BatchPublished { .. }
            | Event::Connected { .. }
            | Event::Dht { .. }
            | Event::PubsubMessage { .. }
            | Event::Forked(_)
            | Event::StoreFailed(_) => {}
        }
    }

    fn searched(&mut self, node: NodeIx, package: u32, why: Why, page: &SearchPage) {
        let (publisher, name) = (self.packages[&package].publisher, self.packages[&package].name.as_str());
        let hit = page
            .hits
            .iter()
            .any(|hit| hit.release.release.publisher == publisher && hit.release.release.meta.name.as_str() == name);
        match why {
            Why::Work => {
                self.work.searches += 1;
                self.work.searches_found += u64::from(hit);
            }
            Why::Probe => self.answer(package, hit, || format!("node {node} does not find number {package} by search")),
        }
    }

    fn resolved(&mut self, node: NodeIx, package: u32, why: Why, release: &ReleaseInfo) {
        self.judge_statement(node, package, release);
        let fetched = &self.packages[&package];
        let is_there = is_recoverable(&self.world, fetched);
        let command = Command::Fetch(fetched.root);
        if !self.start(node, command, Op::Fetch { package, why, is_there }) {
            self.failed(node, Some(Op::Fetch { package, why, is_there }), "refused");
        }
    }

    /// Its publisher and whoever resolves it know a package by one statement.
    fn judge_statement(&mut self, node: NodeIx, package: u32, release: &ReleaseInfo) {
        let expected = &mut self.packages.get_mut(&package).expect("it was published").statement;
        let is_same = *expected.get_or_insert(release.statement) == release.statement;
        self.bytes.judge(is_same, || format!("node {node} knows number {package} by another statement"));
    }

    fn failed(&mut self, node: NodeIx, op: Option<Op>, error: &str) {
        match op {
            Some(Op::Publish(package)) => self.not_published(node, package, error),
            Some(Op::Fetch { package, why: Why::Work, is_there }) => {
                self.work.gets_failed += 1;
                // That others reset connections, crash and come back is no reason to give up, but for the only holder.
                if self.hindered_at.is_none() && is_there {
                    self.answer(package, false, || format!("node {node} does not get number {package}: {error}"));
                }
            }
            Some(Op::Resolve { why: Why::Work, .. }) => self.work.gets_failed += 1,
            Some(Op::Search { why: Why::Work, .. }) => self.work.searches_failed += 1,
            Some(Op::Message(message)) => self.messages.unsent(message),
            Some(op @ (Op::Resolve { package, .. } | Op::Fetch { package, .. } | Op::Search { package, .. })) => {
                self.answer(package, false, || format!("node {node}: {op:?} ends in {error}"));
            }
            Some(Op::Lookup { truth, .. }) => self.lookups.failed(&self.world, &truth),
            None => {}
        }
    }

    /// A final question has found an answer, or not though there was one.
    fn answer(&mut self, package: u32, found: bool, describe: impl FnOnce() -> String) {
        if found || is_recoverable(&self.world, &self.packages[&package]) {
            self.found.judge(found, describe);
        } else {
            self.work.unanswerable += 1;
        }
    }

    fn end(&mut self, node: NodeIx, op: OpId) -> Option<Op> {
        let op = self.ops.remove(&(node, op))?;
        self.ended.judge(true, String::new);
        Some(op)
    }

    fn package_of(&self, release: &ReleaseInfo) -> Option<u32> {
        match &release.release.meta.content {
            Content::Root { root, .. } => self.by_root.get(root).copied(),
            Content::External { .. } | Content::Unknown => None,
        }
    }

    fn is_ready(&self, node: NodeIx) -> bool {
        self.subscribed.get(node as usize).is_some_and(Option::is_some)
    }
}
