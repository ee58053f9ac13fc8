//! Carries out the plan and listens to what the nodes tell.

use bytes::Bytes;
use registry_core::PeerId;
use registry_core::catalog::{Content, ReleaseInfo};
use registry_core::command::{Command, DhtCommand, PubsubCommand};
use registry_core::event::{DhtResult, Event};
use registry_core::id::OpId;
use registry_core::search::SearchPage;

use super::{Driver, END_SECONDS, JUDGE_SECONDS, Op, Task, Why};
use crate::engine::{Down, NodeIx, Step};
use crate::mix::stream;
use crate::scenario::SECOND;

/// The topic every node follows.
const TOPIC: &str = "sim";

impl Driver<'_> {
    pub(super) fn run(&mut self) {
        let asked = self.scenario.judge_at() + JUDGE_SECONDS * SECOND;
        self.run_until(asked);
        for second in 1..=END_SECONDS {
            if self.ops.is_empty() {
                break;
            }
            self.run_until(asked + second * SECOND);
        }
    }

    fn run_until(&mut self, until: u64) {
        while let Some(step) = self.world.step(until) {
            if let Step::Timer(timer) = step {
                self.perform(timer);
            }
            while let Some((node, event)) = self.world.take_emitted() {
                self.hear(node, event);
            }
        }
    }

    fn perform(&mut self, timer: u64) {
        let mut rng = stream(self.scenario.seed, "task", timer as u32, 0);
        match self.tasks[timer as usize] {
            Task::FaultsOn => self.world.set_loss(self.scenario.loss_ppm),
            Task::FaultsOff => self.world.set_loss(0),
            Task::Publish(package) => self.publish(package),
            Task::Search => {
                if let (Some(package), Some(node)) = (self.any_package(rng.next_u64()), self.any_node(rng.next_u64())) {
                    self.search(node, package, Why::Work);
                }
            }
            Task::Get => {
                if let (Some(package), Some(node)) = (self.any_package(rng.next_u64()), self.any_node(rng.next_u64())) {
                    self.resolve(node, package, Why::Work);
                }
            }
            Task::Message(message) => {
                if let Some(node) = self.any_node(rng.next_u64()) {
                    let mut data = vec![0; 64 + rng.index(2_000)];
                    rng.fill(&mut data);
                    data[..4].copy_from_slice(&(message as u32).to_be_bytes());
                    self.send(node, message, Bytes::from(data));
                }
            }
            Task::Crash(node) => {
                let down = if rng.chance(1, 2) { Down::Refusing } else { Down::Silent };
                let back = self.world.now() + (2 + rng.below(20)) * SECOND;
                self.crash(node, down, back);
            }
            Task::Reset => {
                if let Some(node) = self.any_node(rng.next_u64()) {
                    let peers = self.world.host(node).peers();
                    if let Some(peer) = peers.get(rng.index(peers.len())) {
                        self.world.reset(node, *peer);
                    }
                }
            }
            Task::Inspect => self.inspector.inspect(&self.world, &mut rng),
            Task::Lookup => {
                if let Some(node) = self.any_node(rng.next_u64()) {
                    let mut key = vec![0; 32];
                    rng.fill(&mut key);
                    self.look_up(node, Bytes::from(key));
                }
            }
            Task::Probe(package) => {
                if self.packages[package].acknowledged {
                    let holders = &self.packages[package].holders;
                    let others = self.ready().filter(|node| !holders.contains(node)).collect();
                    for node in rng.sample(others, self.scenario.probes) {
                        self.search(node, package, Why::Probe);
                        self.resolve(node, package, Why::Probe);
                    }
                }
            }
        }
    }

    fn publish(&mut self, package: usize) {
        let node = self.packages[package].by;
        if !self.world.host(node).is_up() {
            self.work.publishes_failed += 1;
            return;
        }
        self.packages[package].store(&mut self.world);
        self.announced.sent(package, node, self.world.now());
        let command = Command::Publish(self.packages[package].release());
        if !self.start(node, command, Op::Publish(package)) {
            self.announced.unsent(package);
            self.work.publishes_failed += 1;
        }
    }

    fn search(&mut self, node: NodeIx, package: usize, why: Why) {
        let command = Command::Search(self.packages[package].query());
        self.start(node, command, Op::Search { package, why });
    }

    fn resolve(&mut self, node: NodeIx, package: usize, why: Why) {
        let command = Command::Resolve(self.packages[package].spec());
        self.start(node, command, Op::Resolve { package, why });
    }

    fn send(&mut self, node: NodeIx, message: usize, data: Bytes) {
        let command = Command::Pubsub(PubsubCommand::Publish { topic: TOPIC.into(), data });
        self.messages.sent(message, node, self.world.now());
        if !self.start(node, command, Op::Message(message)) {
            self.messages.unsent(message);
        }
    }

    fn look_up(&mut self, node: NodeIx, key: Bytes) {
        let truth = self.oracle.closest(&self.world, node, &key);
        let at = self.world.now();
        self.start(node, Command::Dht(DhtCommand::Closest(key)), Op::Lookup { truth, at });
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

    fn crash(&mut self, node: NodeIx, down: Down, back: u64) {
        self.world.crash(node, down);
        self.subscribed[node as usize] = None;
        self.messages.forget(node);
        let interrupted: Vec<_> =
            self.ops.range((node, OpId(0))..=(node, OpId(u64::MAX))).map(|(key, _)| *key).collect();
        for key in interrupted {
            self.work.interrupted += 1;
            match self.ops.remove(&key) {
                Some(Op::Publish(package)) if !self.packages[package].acknowledged => self.announced.unsent(package),
                Some(Op::Message(message)) => self.messages.unsent(message),
                _ => {}
            }
        }
        self.world.schedule_boot(back, node);
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
            Event::PubsubMessage { topic, author: _, data } if &*topic == TOPIC => {
                if let Some(number) = data.first_chunk() {
                    self.messages.told(u32::from_be_bytes(*number) as usize, node, now);
                }
            }
            Event::Published { op, release, .. } => {
                if let Some(Op::Publish(package)) = self.end(node, op) {
                    self.work.publishes += 1;
                    self.packages[package].acknowledged = true;
                    self.packages[package].statement = Some(release.statement);
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
                if let Some(Op::Fetch { package, why }) = self.end(node, op) {
                    let whole =
                        self.packages[package].root == root && self.packages[package].is_held_by(&self.world, node);
                    self.bytes.judge(whole, || format!("node {node} fetched number {package} with other bytes"));
                    self.packages[package].holders.insert(node);
                    match why {
                        Why::Work => self.work.gets += 1,
                        Why::Probe => self.found.judge(true, String::new),
                    }
                }
            }
            Event::Dht { op, result: DhtResult::Closest { peers, hops } } => {
                if let Some(Op::Lookup { truth, at }) = self.end(node, op) {
                    let found: Vec<PeerId> = peers.into_iter().map(|(peer, _)| peer).collect();
                    self.lookups.record(&self.world, &truth, found.into_iter());
                    self.lookups.hops.push(hops.into());
                    self.lookups.times.push(now - at);
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

    fn searched(&mut self, node: NodeIx, package: usize, why: Why, page: &SearchPage) {
        let (publisher, name) = (self.packages[package].publisher, self.packages[package].name.as_str());
        let hit = page
            .hits
            .iter()
            .any(|hit| hit.release.release.publisher == publisher && hit.release.release.meta.name.as_str() == name);
        match why {
            Why::Work => {
                self.work.searches += 1;
                self.work.searches_found += u64::from(hit);
            }
            Why::Probe => self.found.judge(hit, || format!("node {node} does not find number {package} by search")),
        }
    }

    fn resolved(&mut self, node: NodeIx, package: usize, why: Why, release: &ReleaseInfo) {
        let right = self.packages[package].statement == Some(release.statement);
        self.bytes.judge(right, || format!("node {node} resolved number {package} to another statement"));
        let command = Command::Fetch(self.packages[package].root);
        if !self.start(node, command, Op::Fetch { package, why }) {
            self.failed(node, Some(Op::Fetch { package, why }), "refused");
        }
    }

    fn failed(&mut self, node: NodeIx, op: Option<Op>, error: &str) {
        match op {
            Some(Op::Publish(package)) => {
                self.work.publishes_failed += 1;
                self.announced.unsent(package);
            }
            Some(Op::Resolve { why: Why::Work, .. } | Op::Fetch { why: Why::Work, .. }) => self.work.gets_failed += 1,
            Some(Op::Message(message)) => self.messages.unsent(message),
            Some(op @ (Op::Resolve { .. } | Op::Fetch { .. } | Op::Search { .. })) => {
                self.found.judge(false, || format!("node {node}: {op:?} ends in {error}"));
            }
            Some(Op::Lookup { truth, .. }) => self.lookups.record(&self.world, &truth, std::iter::empty()),
            None => {}
        }
    }

    fn end(&mut self, node: NodeIx, op: OpId) -> Option<Op> {
        let op = self.ops.remove(&(node, op))?;
        self.ended.judge(true, String::new);
        Some(op)
    }

    fn package_of(&self, release: &ReleaseInfo) -> Option<usize> {
        match &release.release.meta.content {
            Content::Root { root, .. } => self.by_root.get(root).copied(),
            Content::External { .. } | Content::Unknown => None,
        }
    }

    fn ready(&self) -> impl Iterator<Item = NodeIx> + '_ {
        (0..self.world.len()).filter(|node| self.subscribed[*node as usize].is_some())
    }

    fn any_node(&self, bits: u64) -> Option<NodeIx> {
        let ready: Vec<NodeIx> = self.ready().collect();
        ready.get(crate::mix::scale(bits, ready.len() as u64) as usize).copied()
    }

    fn any_package(&self, bits: u64) -> Option<usize> {
        let acknowledged: Vec<usize> = (0..self.packages.len()).filter(|ix| self.packages[*ix].acknowledged).collect();
        acknowledged.get(crate::mix::scale(bits, acknowledged.len() as u64) as usize).copied()
    }
}
