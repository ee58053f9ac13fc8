//! Lookups against the truth: what the network finds, and what is there.

use registry_core::{Config, Digest, PeerId};

use super::Check;
use crate::engine::{NodeIx, World};

/// All but so many of the true closest must be found ...
const MAX_MISSED: usize = 1;
/// ... in all but one of so many lookups, begun or whole: a lookup does not wait for peers that are slower than usual.
const ONE_LACKING_OF: u64 = 100;

/// Where nodes are in the key space. A node whose disk was lost comes back elsewhere.
#[derive(Debug)]
pub struct Places(Vec<(PeerId, [u8; 32])>);

impl Places {
    /// Of all nodes.
    pub fn new(world: &World) -> Self {
        Self((0..world.len()).map(|ix| place(world.host(ix).peer_id())).collect())
    }

    /// Where a node is now.
    pub fn of(&mut self, world: &World, node: NodeIx) -> [u8; 32] {
        let known = &mut self.0[node as usize];
        let peer = world.host(node).peer_id();
        if known.0 != peer {
            *known = place(peer);
        }
        known.1
    }
}

fn place(peer: PeerId) -> (PeerId, [u8; 32]) {
    (peer, Digest::of(peer.as_bytes()).0)
}

/// The live key space: running DHT servers in the order of their places.
#[derive(Debug)]
pub struct Oracle {
    places: Places,
    /// Where each node lies in `sorted`.
    live: Vec<Option<[u8; 32]>>,
    sorted: Vec<([u8; 32], NodeIx)>,
}

impl Oracle {
    /// The places of all nodes.
    pub fn new(world: &World) -> Self {
        Self { places: Places::new(world), live: vec![None; world.len() as usize], sorted: Vec::new() }
    }

    /// The `count` running DHT servers closest to a key, but for `asker`, closest first.
    pub fn closest(&mut self, world: &World, asker: NodeIx, key: &[u8], count: usize) -> Vec<NodeIx> {
        self.follow(world);
        let mut found = Vec::with_capacity(count);
        descend(&self.sorted, 0, &Digest::of(key).0, &mut |node| {
            if node != asker {
                found.push(node);
            }
            found.len() < count
        });
        found
    }

    /// Takes in who has come, and out who has gone.
    fn follow(&mut self, world: &World) {
        for node in 0..world.len() {
            let now = world.host(node).is_server().then(|| self.places.of(world, node));
            let before = std::mem::replace(&mut self.live[node as usize], now);
            if before == now {
                continue;
            }
            if let Some(place) = before
                && let Ok(at) = self.sorted.binary_search(&(place, node))
            {
                self.sorted.remove(at);
            }
            if let Some(place) = now
                && let Err(at) = self.sorted.binary_search(&(place, node))
            {
                self.sorted.insert(at, (place, node));
            }
        }
    }
}

/// Visits nodes that share `bit` bits, closest to the target first, as long as `visit` wants more.
fn descend(
    nodes: &[([u8; 32], NodeIx)],
    bit: usize,
    target: &[u8; 32],
    visit: &mut impl FnMut(NodeIx) -> bool,
) -> bool {
    match nodes {
        [] => true,
        [(_, node)] => visit(*node),
        _ if bit == 256 => nodes.iter().all(|(_, node)| visit(*node)),
        _ => {
            let is_set = |place: &[u8; 32]| place[bit / 8] & (0x80 >> (bit % 8)) != 0;
            let (zeros, ones) = nodes.split_at(nodes.partition_point(|(place, _)| !is_set(place)));
            let (near, far) = if is_set(target) { (ones, zeros) } else { (zeros, ones) };
            descend(near, bit + 1, target, visit) && descend(far, bit + 1, target, visit)
        }
    }
}

/// Leading bits two places in the key space share.
pub fn shared_prefix(a: &[u8; 32], b: &[u8; 32]) -> usize {
    let differing = a.iter().zip(b).position(|(a, b)| a != b);
    differing.map_or(256, |byte| 8 * byte + (a[byte] ^ b[byte]).leading_zeros() as usize)
}

/// What lookups found.
#[derive(Debug)]
pub struct Lookups {
    k: usize,
    /// A lookup ends within so many microseconds.
    limit: u64,
    ordered: Check,
    complete: u64,
    all: u64,
    worst: Option<(usize, usize)>,
    /// Hops of each lookup.
    pub hops: Vec<u64>,
    /// Microseconds each lookup took.
    pub times: Vec<u64>,
}

impl Lookups {
    /// For nodes with this configuration.
    pub fn new(config: &Config) -> Self {
        Self {
            k: config.kad.k,
            limit: config.kad.query_timeout.as_micros() as u64,
            ordered: Check::new("K2", "a lookup ends in time, with at most k nodes, each once, closest first"),
            complete: 0,
            all: 0,
            worst: None,
            hops: Vec::new(),
            times: Vec::new(),
        }
    }

    /// A lookup of `key` is over after so many microseconds.
    pub fn found(&mut self, world: &World, key: &[u8], truth: &[NodeIx], found: &[PeerId], took: u64, hops: u64) {
        let distance = |peer: &PeerId| {
            let (mut place, target) = (Digest::of(peer.as_bytes()).0, Digest::of(key).0);
            place.iter_mut().zip(target).for_each(|(byte, target)| *byte ^= target);
            place
        };
        let sorted = found.is_sorted_by(|a, b| distance(a) < distance(b));
        self.ordered.judge(sorted && found.len() <= self.k && took <= self.limit, || {
            let nodes: Vec<_> = found.iter().map(|peer| world.find(peer)).collect();
            format!("after {took} us: {nodes:?}, in order {sorted}")
        });
        self.hops.push(hops);
        self.times.push(took);
        self.record(world, truth, found);
    }

    /// A lookup has failed.
    pub fn failed(&mut self, world: &World, truth: &[NodeIx]) {
        self.record(world, truth, &[]);
    }

    fn record(&mut self, world: &World, truth: &[NodeIx], found: &[PeerId]) {
        let found: Vec<NodeIx> = found.iter().filter_map(|peer| world.find(peer)).collect();
        let hits = truth.iter().filter(|ix| found.contains(ix)).count();
        let wanted = truth.len().saturating_sub(MAX_MISSED);
        self.all += 1;
        self.complete += u64::from(hits >= wanted);
        if hits < wanted && self.worst.is_none_or(|(worst, _)| hits < worst) {
            self.worst = Some((hits, truth.len()));
        }
    }

    /// What is true of the lookups among so many nodes.
    pub fn checks(&self, nodes: NodeIx) -> [Check; 3] {
        [self.ordered.clone(), self.completeness(), self.hops(nodes)]
    }

    fn completeness(&self) -> Check {
        let mut check = Check::new("K4", "a lookup finds all but one of the k closest");
        let lacking = self.all - self.complete;
        check.judge(lacking <= self.all.div_ceil(ONE_LACKING_OF), || {
            let worst = self.worst.map_or(String::new(), |(hits, of)| format!(", at worst {hits} of {of} found"));
            format!("{lacking} of {} lookups miss more than {MAX_MISSED} of the {} closest{worst}", self.all, self.k)
        });
        check.evaluated = self.all;
        check
    }

    fn hops(&self, nodes: NodeIx) -> Check {
        let mut check = Check::new("K4-hops", "the median lookup takes at most log2(n) / 2 + 2 hops");
        let Some(median) = crate::report::quantile(&self.hops, 50) else { return check };
        let bound = (f64::from(nodes)).log2() / 2.0 + 2.0;
        check.judge(median as f64 <= bound, || format!("median of {median} hops, bound {bound:.1}"));
        check.evaluated = self.hops.len() as u64;
        check
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descending_the_sorted_places_gives_the_order_of_distance() {
        let mut nodes: Vec<_> = (0..200_u32).map(|node| (Digest::of(&node.to_be_bytes()).0, node)).collect();
        nodes.sort_unstable();
        for key in 0..20_u64 {
            let target = Digest::of(&key.to_be_bytes()).0;
            let mut truth = nodes.clone();
            truth.sort_by_key(|(place, _)| std::array::from_fn::<u8, 32, _>(|at| place[at] ^ target[at]));
            let mut found = Vec::new();
            descend(&nodes, 0, &target, &mut |node| {
                found.push(node);
                found.len() < 20
            });
            assert_eq!(found, truth[..20].iter().map(|(_, node)| *node).collect::<Vec<_>>());
        }
    }
}
