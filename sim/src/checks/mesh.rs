//! Meshes: their sizes, who is in them, and whether both sides agree.

use std::collections::{BTreeMap, BTreeSet};

use registry_core::Config;
use xxhash_rust::xxh3::xxh3_64;

use super::{Check, Checker};
use crate::engine::{NodeIx, World};
use crate::scenario::SECOND;

/// A mesh that is too small is filled by the next heartbeats, unless those who are asked are full themselves: it may stay
/// too small for so long, in microseconds.
const PATIENCE: u64 = 10 * SECOND;
/// Both sides agree on this share of mesh edges when nothing disturbs them.
const SYMMETRIC_PERCENT: u64 = 99;
/// So many heartbeats after the last fault: then members have got GRAFT again, and an edge that one side had lost is mended.
const REFRESH: u64 = 60;
/// What is sent has arrived after this, in microseconds.
const TRAVEL: u64 = 10 * SECOND;

/// Who has whom in a mesh, and the hash of its topic.
type Edge = (NodeIx, NodeIx, u64);

/// G2 and G5.
pub struct Meshes {
    d_lo: usize,
    d_hi: usize,
    degree: Check,
    symmetric: Check,
    /// Microseconds from the last fault until both sides agree.
    agreed_after: u64,
    /// Edges that one side alone knew at the last sweep.
    lone: BTreeSet<Edge>,
    /// Nodes with a mesh that is too small, and since when.
    suspects: BTreeMap<NodeIx, u64>,
}

impl Meshes {
    /// For nodes with this configuration.
    pub fn new(config: &Config) -> Self {
        Self {
            d_lo: config.gossip.d_lo,
            d_hi: config.gossip.d_hi,
            degree: Check::new("G2", "a mesh has D_lo to D_hi members, none of them in back-off"),
            symmetric: Check::new("G5", "once quiet, 99 % of mesh edges of honest nodes are known to both sides"),
            agreed_after: REFRESH * config.gossip.heartbeat.as_micros() as u64 + TRAVEL,
            lone: BTreeSet::new(),
            suspects: BTreeMap::new(),
        }
    }

    /// A mesh has at least `d_lo` members, as long as somebody could be grafted, by a node that can do anything.
    fn judge_small(&mut self, world: &World, ix: NodeIx) {
        let small = world
            .node(ix)
            .filter(|_| !world.is_paused(ix))
            .and_then(|node| node.meshes().into_iter().find(|mesh| mesh.degree < self.d_lo && mesh.candidates > 0));
        let Some(small) = small else {
            self.suspects.remove(&ix);
            return;
        };
        let since = *self.suspects.entry(ix).or_insert(world.now());
        let patient = world.now() <= since + PATIENCE;
        self.degree.judge(patient, || format!("node {ix} at {} s: {small:?} since {since} us", world.now() / SECOND));
        if !patient {
            self.suspects.remove(&ix);
        }
    }

    fn judge_backoff(&mut self, world: &World, ix: NodeIx) {
        let Some(node) = world.node(ix) else { return };
        let shunned = node.meshed_in_backoff();
        self.degree.judge(shunned.is_empty(), || format!("node {ix} has in its mesh, in back-off: {shunned:?}"));
    }

    fn judge_symmetry(&mut self, world: &World) {
        // Who has grafted itself without end may not know of it.
        let honest = |(a, b, _): &Edge| world.is_honest(*a) && world.is_honest(*b);
        let edges: BTreeSet<_> = (0..world.len()).flat_map(|ix| edges(world, ix)).filter(honest).collect();
        let is_lone = |(a, b, topic): &&Edge| !edges.contains(&(*b, *a, *topic));
        let lone: BTreeSet<Edge> = edges.iter().filter(is_lone).copied().collect();
        // A GRAFT may be on its way.
        let stays = lone.intersection(&self.lone).map(|(a, b, _)| (*a, *b)).collect::<Vec<_>>();
        let (all, what) = (edges.len() as u64, format!("at {} s known to both sides", world.now() / SECOND));
        let agreed = all - stays.len() as u64;
        self.symmetric.judge_share(agreed, all, SYMMETRIC_PERCENT, &format!("{what}, without {stays:?},"));
        self.lone = lone;
    }
}

/// A node's mesh edges, with the hash of their topics.
fn edges(world: &World, ix: NodeIx) -> Vec<Edge> {
    let topics = world.node(ix).map(|node| node.topics()).unwrap_or_default();
    let of_topic = |topic: &registry_core::TopicView| {
        let name = xxh3_64(topic.topic.as_bytes());
        let members = topic.subscribers.iter().filter(|(_, in_mesh)| *in_mesh);
        members.filter_map(|(peer, _)| Some((ix, world.find(peer)?, name))).collect::<Vec<_>>()
    };
    topics.iter().filter(|topic| topic.joined).flat_map(of_topic).collect()
}

/// How many members a mesh has on average; `None` without meshes.
pub fn mean_degree(world: &World) -> Option<f64> {
    let meshes = (0..world.len()).filter_map(|ix| world.node(ix)).flat_map(|node| node.meshes());
    let (sum, count) = meshes.fold((0, 0), |(sum, count), mesh| (sum + mesh.degree, count + 1));
    (count > 0).then(|| sum as f64 / f64::from(count))
}

impl Checker for Meshes {
    fn touched(&mut self, world: &World, ix: NodeIx) {
        let Some(node) = world.node(ix) else { return };
        let degree = node.max_degree();
        self.degree.judge(degree <= self.d_hi, || format!("node {ix} has a mesh of {degree}"));
        if self.suspects.contains_key(&ix) {
            self.judge_small(world, ix);
        }
    }

    fn sampled(&mut self, world: &World, ix: NodeIx) {
        self.judge_small(world, ix);
        self.judge_backoff(world, ix);
    }

    fn swept(&mut self, world: &World, quiet: u64) {
        for ix in 0..world.len() {
            self.judge_small(world, ix);
            self.judge_backoff(world, ix);
        }
        if quiet >= self.agreed_after {
            self.judge_symmetry(world);
        }
    }

    fn checks(&self) -> Vec<Check> {
        let symmetric = (self.symmetric.evaluated > 0).then(|| self.symmetric.clone());
        [self.degree.clone()].into_iter().chain(symmetric).collect()
    }
}
