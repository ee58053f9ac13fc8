//! Lookups against the truth: what the network finds, and what is there.

use registry_core::{Digest, PeerId};

use super::Check;
use crate::engine::{NodeIx, World};

/// Peers a lookup returns, and of how many the truth consists.
const K: usize = 20;
/// All but so many of the true closest must be found ...
const MAX_MISSED: usize = 1;
/// ... in this share of the lookups.
const MIN_PERCENT: u64 = 99;

/// All nodes by their place in the key space.
#[derive(Debug)]
pub struct Oracle {
    places: Vec<[u8; 32]>,
}

impl Oracle {
    /// The places of all nodes.
    pub fn new(world: &World) -> Self {
        Self { places: (0..world.len()).map(|ix| Digest::of(world.host(ix).peer_id().as_bytes()).0).collect() }
    }

    /// The closest running DHT servers to a key, but for `asker`, closest first.
    pub fn closest(&self, world: &World, asker: NodeIx, key: &[u8]) -> Vec<NodeIx> {
        let target = Digest::of(key).0;
        let distance = |ix: &NodeIx| {
            let mut distance = self.places[*ix as usize];
            distance.iter_mut().zip(target).for_each(|(byte, target)| *byte ^= target);
            distance
        };
        let mut nodes: Vec<NodeIx> =
            (0..world.len()).filter(|ix| *ix != asker && world.host(*ix).is_server()).collect();
        nodes.sort_by_cached_key(distance);
        nodes.truncate(K);
        nodes
    }
}

/// What lookups found.
#[derive(Debug, Default)]
pub struct Lookups {
    complete: u64,
    all: u64,
    worst: Option<(usize, usize)>,
    /// Hops of each lookup.
    pub hops: Vec<u64>,
    /// Microseconds each lookup took.
    pub times: Vec<u64>,
}

impl Lookups {
    /// One lookup is over.
    pub fn record(&mut self, world: &World, truth: &[NodeIx], found: impl Iterator<Item = PeerId>) {
        let found: Vec<NodeIx> = found.filter_map(|peer| world.find(&peer)).collect();
        let hits = truth.iter().filter(|ix| found.contains(ix)).count();
        let wanted = truth.len().saturating_sub(MAX_MISSED);
        self.all += 1;
        self.complete += u64::from(hits >= wanted);
        if hits < wanted && self.worst.is_none_or(|(worst, _)| hits < worst) {
            self.worst = Some((hits, truth.len()));
        }
    }

    /// The share of lookups that found enough.
    pub fn completeness(&self) -> Check {
        let mut check = Check::new("lookup-finds-closest");
        let worst = self.worst.map_or(String::new(), |(hits, of)| format!(" (worst: {hits} of {of})"));
        check.judge_share(
            self.complete,
            self.all,
            MIN_PERCENT,
            &format!("all but {MAX_MISSED} of the true {K} closest{worst}"),
        );
        check
    }

    /// The median of hops is at most log2(n) / 2 + 2.
    pub fn hops(&self, nodes: NodeIx) -> Check {
        let mut check = Check::new("lookup-hops");
        let Some(median) = crate::report::quantile(&self.hops, 50) else { return check };
        let bound = (f64::from(nodes)).log2() / 2.0 + 2.0;
        check.judge(median as f64 <= bound, || format!("median of {median} hops, bound {bound:.1}"));
        check.evaluated = self.hops.len() as u64;
        check
    }
}
