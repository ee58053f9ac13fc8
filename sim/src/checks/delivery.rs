//! Exactly once: who was told of what, how often.

use std::collections::BTreeMap;

use super::Check;
use crate::engine::{NodeIx, World};
use crate::scenario::SECOND;

/// What was sent so long before a fault has arrived, in microseconds.
const TRAVEL: u64 = 10 * SECOND;

/// Deliveries of a numbered list of things to all nodes.
#[derive(Debug)]
pub struct Ledger {
    nodes: usize,
    /// How often each node was told, by thing and node.
    told: BTreeMap<u32, Vec<u8>>,
    sent: BTreeMap<u32, Sent>,
    /// Microseconds from sending to each first delivery.
    pub delays: Vec<u64>,
}

#[derive(Clone, Copy, Debug)]
struct Sent {
    at: u64,
    by: NodeIx,
    /// No fault was in force, nor began soon after.
    is_quiet: bool,
}

impl Ledger {
    /// For so many nodes.
    pub fn new(nodes: NodeIx) -> Self {
        Self { nodes: nodes as usize, told: BTreeMap::new(), sent: BTreeMap::new(), delays: Vec::new() }
    }

    /// A node sends a thing, while nothing hinders it.
    pub fn sent(&mut self, thing: u32, by: NodeIx, at: u64, is_quiet: bool) {
        self.sent.insert(thing, Sent { at, by, is_quiet });
    }

    /// When a thing was sent.
    pub fn sent_at(&self, thing: u32) -> Option<u64> {
        self.sent.get(&thing).map(|sent| sent.at)
    }

    /// Who has sent a thing.
    pub fn sent_by(&self, thing: u32) -> Option<NodeIx> {
        self.sent.get(&thing).map(|sent| sent.by)
    }

    /// Was a thing sent in the quiet, as far as is known by now?
    pub fn is_quiet(&self, thing: u32) -> bool {
        self.sent.get(&thing).is_some_and(|sent| sent.is_quiet)
    }

    /// A fault has begun.
    pub fn disturbed(&mut self, now: u64) {
        self.sent.values_mut().filter(|sent| now < sent.at + TRAVEL).for_each(|sent| sent.is_quiet = false);
    }

    /// Was a node told of a thing, and has not lost its memory since?
    pub fn was_told(&self, thing: u32, node: NodeIx) -> bool {
        self.told.get(&thing).is_some_and(|told| told[node as usize] > 0)
    }

    /// A thing was not sent after all: nobody needs to be told.
    pub fn unsent(&mut self, thing: u32) {
        self.sent.remove(&thing);
    }

    /// A node is told of a thing.
    pub fn told(&mut self, thing: u32, node: NodeIx, at: u64) {
        let told = self.told.entry(thing).or_insert_with(|| vec![0; self.nodes]);
        let times = &mut told[node as usize];
        *times = times.saturating_add(1);
        if let Some(sent) = self.sent.get(&thing)
            && *times == 1
            && sent.by != node
        {
            self.delays.push(at.saturating_sub(sent.at));
        }
    }

    /// A node has lost its memory: what it was told before does not count.
    pub fn forget(&mut self, node: NodeIx) {
        for told in self.told.values_mut() {
            if let Some(times) = told.get_mut(node as usize) {
                *times = 0;
            }
        }
    }

    /// Each node at most once.
    pub fn once(&self, id: &'static str, means: &'static str) -> Check {
        let mut check = Check::new(id, means);
        for (thing, told) in self.told.iter().filter(|(thing, _)| self.sent.contains_key(thing)) {
            for (node, times) in told.iter().enumerate() {
                check.judge(*times <= 1, || format!("node {node} was told {times} times of number {thing}"));
            }
        }
        check
    }

    /// At least once all those, but the sender, that `entitled` names for a thing sent in the quiet, or for one that can be
    /// made up for.
    pub fn all(
        &self,
        id: &'static str,
        means: &'static str,
        world: &World,
        can_be_made_up_for: impl Fn(u32) -> bool,
        entitled: impl Fn(u32, NodeIx) -> bool,
    ) -> Check {
        let mut check = Check::new(id, means);
        let owed = |(thing, sent): &(&u32, &Sent)| sent.is_quiet || can_be_made_up_for(**thing);
        for (thing, Sent { at, by, .. }) in self.sent.iter().filter(owed) {
            for node in (0..world.len()).filter(|node| node != by && entitled(*thing, *node)) {
                check.judge(self.was_told(*thing, node), || {
                    format!("node {node} was not told of number {thing}, sent by {by} at {at}")
                });
            }
        }
        check
    }
}
