//! Bounds of routing tables and meshes, sampled each virtual second.

use std::collections::BTreeMap;

use registry_core::{Config, Digest, Rng};

use super::Check;
use crate::engine::{NodeIx, World};

/// Nodes looked at each second, at least; of large networks one in fifty.
const MIN_SAMPLE: usize = 10;
/// A degree out of bounds is put right by the next heartbeats, unless those who are asked are full themselves: it may be
/// seen in so many seconds in a row, not in more.
const PATIENCE: u32 = 10;

/// See the module's documentation.
#[derive(Debug)]
pub struct Inspector {
    /// What the bounds should be, whatever the nodes are configured to.
    expected: Config,
    table: Check,
    mesh: Check,
    /// Nodes with a degree out of bounds, and for how many seconds.
    suspects: BTreeMap<NodeIx, u32>,
    /// Mesh degrees seen, as (sum, count).
    degrees: (u64, u64),
}

impl Inspector {
    /// With what the bounds should be.
    pub fn new(expected: Config) -> Self {
        Self {
            expected,
            table: Check::new("table-bounds"),
            mesh: Check::new("mesh-bounds"),
            suspects: BTreeMap::new(),
            degrees: (0, 0),
        }
    }

    /// Looks at a sample of the running nodes, and at those that were out of bounds before.
    pub fn inspect(&mut self, world: &World, rng: &mut Rng) {
        let nodes: Vec<NodeIx> = (0..world.len()).collect();
        let count = MIN_SAMPLE.max(nodes.len() / 50);
        let mut sample = rng.sample(nodes, count);
        sample.extend(self.suspects.keys());
        sample.sort_unstable();
        sample.dedup();
        for ix in sample {
            self.inspect_table(world, ix);
            self.inspect_meshes(world, ix);
        }
    }

    /// The checks so far.
    pub fn checks(&self) -> [Check; 2] {
        [self.table.clone(), self.mesh.clone()]
    }

    /// The mean mesh degree seen.
    pub fn mean_degree(&self) -> Option<f64> {
        let (sum, count) = self.degrees;
        (count > 0).then(|| sum as f64 / count as f64)
    }

    /// Each bucket holds at most k different peers that share exactly its prefix with the node, and never the node.
    fn inspect_table(&mut self, world: &World, ix: NodeIx) {
        let Some(node) = world.node(ix) else { return };
        let own = Digest::of(world.host(ix).peer_id().as_bytes());
        for (prefix, peers) in node.buckets().into_iter().enumerate() {
            let mut distinct = peers.clone();
            distinct.sort_unstable();
            distinct.dedup();
            let in_place = |peer: &registry_core::PeerId| shared_prefix(&own, &Digest::of(peer.as_bytes())) == prefix;
            let holds =
                peers.len() <= self.expected.kad.k && distinct.len() == peers.len() && peers.iter().all(in_place);
            self.table.judge(holds, || format!("bucket {prefix} of node {ix}: {peers:?}"));
        }
    }

    /// A mesh has at most `d_hi` members, and at least `d_lo` as long as somebody could be grafted.
    fn inspect_meshes(&mut self, world: &World, ix: NodeIx) {
        let Some(node) = world.node(ix) else {
            self.suspects.remove(&ix);
            return;
        };
        let config = &self.expected.gossip;
        let meshes = node.meshes();
        let out =
            meshes.iter().find(|mesh| mesh.degree > config.d_hi || (mesh.degree < config.d_lo && mesh.candidates > 0));
        self.degrees.0 += meshes.iter().map(|mesh| mesh.degree as u64).sum::<u64>();
        self.degrees.1 += meshes.len() as u64;
        let seconds = match out {
            Some(_) => self.suspects.get(&ix).map_or(1, |seconds| seconds + 1),
            None => 0,
        };
        self.mesh.judge(seconds <= PATIENCE, || {
            let (now, wake) = (world.now(), node.poll_timeout());
            format!("node {ix} for {seconds} s at {now}: {out:?}, wakes {wake:?}")
        });
        if (1..=PATIENCE).contains(&seconds) {
            self.suspects.insert(ix, seconds);
        } else {
            self.suspects.remove(&ix);
        }
    }
}

/// Leading bits two places in the key space share.
fn shared_prefix(a: &Digest, b: &Digest) -> usize {
    let differing = a.0.iter().zip(&b.0).position(|(a, b)| a != b);
    differing.map_or(256, |byte| 8 * byte + (a.0[byte] ^ b.0[byte]).leading_zeros() as usize)
}
