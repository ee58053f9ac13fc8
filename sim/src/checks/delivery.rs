//! Exactly once: who was told of what, how often.

use super::Check;
use crate::engine::{NodeIx, World};

/// Deliveries of a numbered list of things to all nodes.
#[derive(Debug)]
pub struct Ledger {
    nodes: usize,
    /// How often each node was told, by thing and node.
    told: Vec<Vec<u8>>,
    sent: Vec<Option<Sent>>,
    /// Microseconds from sending to each first delivery.
    pub delays: Vec<u64>,
}

#[derive(Clone, Copy, Debug)]
struct Sent {
    at: u64,
    by: NodeIx,
}

impl Ledger {
    /// For so many things and nodes.
    pub fn new(things: usize, nodes: NodeIx) -> Self {
        let nodes = nodes as usize;
        Self { nodes, told: vec![Vec::new(); things], sent: vec![None; things], delays: Vec::new() }
    }

    /// A node sends a thing.
    pub fn sent(&mut self, thing: usize, by: NodeIx, at: u64) {
        self.sent[thing] = Some(Sent { at, by });
    }

    /// A thing was not sent after all: nobody needs to be told.
    pub fn unsent(&mut self, thing: usize) {
        self.sent[thing] = None;
    }

    /// A node is told of a thing.
    pub fn told(&mut self, thing: usize, node: NodeIx, at: u64) {
        let told = &mut self.told[thing];
        if told.is_empty() {
            told.resize(self.nodes, 0);
        }
        let times = &mut told[node as usize];
        *times = times.saturating_add(1);
        if let Some(sent) = self.sent[thing]
            && *times == 1
            && sent.by != node
        {
            self.delays.push(at.saturating_sub(sent.at));
        }
    }

    /// A node has lost its memory: what it was told before does not count.
    pub fn forget(&mut self, node: NodeIx) {
        for told in &mut self.told {
            if let Some(times) = told.get_mut(node as usize) {
                *times = 0;
            }
        }
    }

    /// Each node at most once; exactly once those that `entitled` names for a thing sent then.
    pub fn check(&self, name: &'static str, world: &World, entitled: impl Fn(NodeIx, u64) -> bool) -> Check {
        let mut check = Check::new(name);
        for (thing, sent) in self.sent.iter().enumerate() {
            let Some(Sent { at, by }) = *sent else { continue };
            for node in 0..world.len() {
                let times = self.told[thing].get(node as usize).copied().unwrap_or(0);
                let least = u8::from(node != by && entitled(node, at));
                check.judge((least..=1).contains(&times), || {
                    format!("node {node} was told {times} times of number {thing}, sent by {by} at {at}")
                });
            }
        }
        check
    }
}
