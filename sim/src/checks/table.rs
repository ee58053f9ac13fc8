//! Routing tables: what is in them, who came in and who went, and how they fit together.

use registry_core::Config;
use registry_core::event::Event;

use super::closest::{Oracle, Places, shared_prefix};
use super::{Check, Checker};
use crate::engine::{NodeIx, World};
use crate::scenario::SECOND;

/// After so long without churn, tables are what they were before it (K5), in microseconds.
const RECOVERY: u64 = 30 * 60 * SECOND;
/// A node has found its place in the network this long after its start, in microseconds.
const JOINED: u64 = 60 * SECOND;
/// Some other node has called on the entrance within this time, in microseconds.
const CALLED_ON: u64 = 180 * SECOND;

/// K1 and K3, at every change of a table.
pub struct Tables {
    k: usize,
    places: Places,
    shadows: Vec<Shadow>,
    inside: Check,
    admission: Check,
}

/// A table as it was after the last change.
#[derive(Default)]
struct Shadow {
    life: u32,
    version: u64,
    entries: Vec<Entry>,
    /// Whose connection has come or gone since the node was looked at: when things had to wait, many happen at once.
    turned: Vec<NodeIx>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Entry {
    peer: NodeIx,
    bucket: u8,
    displaced: Option<NodeIx>,
}

impl Tables {
    /// For nodes with this configuration.
    pub fn new(world: &World, config: &Config) -> Self {
        Self {
            k: config.kad.k,
            places: Places::new(world),
            shadows: (0..world.len()).map(|_| Shadow::default()).collect(),
            inside: Check::new("K1", "a bucket holds at most k other nodes, each once, that share exactly its prefix"),
            admission: Check::new(
                "K3",
                "only who is connected enters a table, and who is connected gives way only after a failed request",
            ),
        }
    }

    /// Without those who have come back as somebody else; `None` when the table names somebody who never was.
    fn entries(&self, world: &World, node: NodeIx) -> Option<Vec<Entry>> {
        let mut entries = Vec::new();
        for entry in world.node(node)?.table() {
            match world.find(&entry.peer) {
                Some(peer) => {
                    let displaced = entry.displaced.and_then(|old| world.find(&old));
                    entries.push(Entry { peer, bucket: entry.bucket as u8, displaced });
                }
                None if world.has_been(&entry.peer) => {}
                None => return None,
            }
        }
        Some(entries)
    }

    fn judge_inside(&mut self, world: &World, node: NodeIx, entries: &[Entry]) {
        let own = self.places.of(world, node);
        let places = &mut self.places;
        let in_place = |entry: &Entry| shared_prefix(&own, &places.of(world, entry.peer)) == usize::from(entry.bucket);
        let in_place = entries.iter().all(in_place);
        let fits = entries.chunk_by(|a, b| a.bucket == b.bucket).all(|bucket| bucket.len() <= self.k);
        let mut peers: Vec<NodeIx> = entries.iter().map(|entry| entry.peer).collect();
        peers.sort_unstable();
        let once = peers.windows(2).all(|pair| pair[0] != pair[1]) && peers.binary_search(&node).is_err();
        self.inside.judge(fits && once && in_place, || {
            let bucket = |bucket: &[Entry]| (bucket[0].bucket, bucket.iter().map(|entry| entry.peer).collect());
            let buckets: Vec<(u8, Vec<NodeIx>)> = entries.chunk_by(|a, b| a.bucket == b.bucket).map(bucket).collect();
            format!("the table of node {node}: {buckets:?}")
        });
    }

    fn judge_changes(&mut self, world: &World, node: NodeIx, before: &[Entry], now: &[Entry]) {
        let Some(table) = world.node(node) else { return };
        let turned = &self.shadows[node as usize].turned;
        let is_connected = |peer: NodeIx| table.is_connected(&world.host(peer).peer_id());
        for entry in now.iter().filter(|entry| before.iter().all(|other| other.peer != entry.peer)) {
            let met = world.host(node).is_connected(entry.peer) || is_connected(entry.peer);
            self.admission.judge(met || turned.contains(&entry.peer), || {
                format!("node {node} takes node {} into its table, which is not connected to it", entry.peer)
            });
            if let Some(gone) = entry.displaced {
                let alive = is_connected(gone) && !turned.contains(&gone);
                self.admission.judge(!alive, || {
                    format!("node {node} has given the place of live node {gone} to node {}", entry.peer)
                });
            }
        }
    }
}

impl Checker for Tables {
    fn touched(&mut self, world: &World, node: NodeIx) {
        let Some(table) = world.node(node) else { return };
        let (version, life) = (table.table_version(), world.host(node).life());
        let shadow = &mut self.shadows[node as usize];
        if shadow.version == version && shadow.life == life {
            return shadow.turned.clear();
        }
        let mut before = std::mem::take(&mut shadow.entries);
        if shadow.life != life {
            before.clear();
        }
        let Some(entries) = self.entries(world, node) else {
            return self.admission.judge(false, || format!("node {node} has somebody in its table who does not exist"));
        };
        self.judge_inside(world, node, &entries);
        self.judge_changes(world, node, &before, &entries);
        self.shadows[node as usize] = Shadow { life, version, entries, turned: Vec::new() };
    }

    fn heard(&mut self, world: &World, node: NodeIx, event: &Event) {
        if let Event::PeerUp(peer) | Event::PeerDown(peer) = event {
            self.shadows[node as usize].turned.extend(world.find(peer));
        }
    }

    fn checks(&self) -> Vec<Check> {
        vec![self.inside.clone(), self.admission.clone()]
    }
}

/// K5 and K7, each minute.
pub struct Health {
    k: usize,
    places: Places,
    oracle: Oracle,
    /// How long ago each node started, at the last sweep: its life, and since when.
    since: Vec<(u32, u64)>,
    recovered: Check,
    connected: Check,
}

impl Health {
    /// For nodes with this configuration.
    pub fn new(world: &World, config: &Config) -> Self {
        Self {
            k: config.kad.k,
            places: Places::new(world),
            oracle: Oracle::new(world),
            since: vec![(u32::MAX, 0); world.len() as usize],
            recovered: Check::new("K5", "30 min after churn 95 % of the nodes know all but a tenth of their closest"),
            connected: Check::new("K7", "tables lead from every joined honest server to every other"),
        }
    }

    fn joined(&mut self, world: &World) -> Vec<NodeIx> {
        let now = world.now();
        for node in 0..world.len() {
            let (life, since) = &mut self.since[node as usize];
            let host = world.host(node);
            // Who has lost everybody can only come in through the entrance.
            let is_shut_out = host.connections() == 0 && !world.host(0).is_up();
            if !host.is_server() || is_shut_out || *life != host.life() {
                (*life, *since) = (if host.is_server() { host.life() } else { u32::MAX }, now);
            }
        }
        let (_, entrance) = self.since[0];
        let joined = |node: &NodeIx| {
            let (life, since) = self.since[*node as usize];
            // An entrance that has come back as somebody else knows nobody before it is called on.
            let is_ahead = world.host(0).is_another() && since >= entrance;
            let patience = if is_ahead { CALLED_ON } else { JOINED };
            // Who has misbehaved may be banned, rightly.
            world.is_honest(*node) && life != u32::MAX && since + patience <= now
        };
        (0..world.len()).filter(joined).collect()
    }

    fn judge_connected(&mut self, world: &World, joined: &[NodeIx]) {
        let mut back: Vec<Vec<NodeIx>> = vec![Vec::new(); world.len() as usize];
        let mut forth = back.clone();
        // The way may lead through servers that have just started.
        for node in (0..world.len()).filter(|node| world.is_honest(*node) && world.host(*node).is_server()) {
            let table = world.node(node).into_iter().flat_map(|node| node.table());
            for peer in table.filter_map(|entry| world.find(&entry.peer)) {
                forth[node as usize].push(peer);
                back[peer as usize].push(node);
            }
        }
        let Some(first) = joined.first() else { return };
        let (there, here) = (reached(&forth, *first), reached(&back, *first));
        for &node in joined {
            let (there, here) = (there[node as usize], here[node as usize]);
            self.connected.judge(there && here, || {
                format!("at {} s: from node {first} to node {node} {there}, back {here}", world.now() / SECOND)
            });
        }
    }

    fn judge_recovered(&mut self, world: &World, joined: &[NodeIx]) {
        let (mut healthy, mut all) = (0, 0);
        for &node in joined {
            let Some(table) = world.node(node) else { continue };
            let known: Vec<NodeIx> = table.table().filter_map(|entry| world.find(&entry.peer)).collect();
            let mut truth = self.oracle.closest(world, node, world.host(node).peer_id().as_bytes(), self.k);
            truth.retain(|other| world.is_honest(*other) && !world.is_banned_between(node, *other));
            // Where few are close, the closest lie in buckets that may be full of others.
            let own = self.places.of(world, node);
            truth.retain(|other| {
                let bucket = shared_prefix(&own, &self.places.of(world, *other));
                known.contains(other) || table.table().filter(|entry| entry.bucket == bucket).count() < self.k
            });
            let hits = truth.iter().filter(|node| known.contains(node)).count();
            all += 1;
            healthy += u64::from(hits * 10 >= truth.len() * 9);
        }
        self.recovered.judge_share(healthy, all, 95, "nine of ten of the closest known");
    }
}

impl Checker for Health {
    fn swept(&mut self, world: &World, quiet: u64) {
        let joined = self.joined(world);
        if quiet >= JOINED {
            self.judge_connected(world, &joined);
        }
        if quiet >= RECOVERY {
            self.judge_recovered(world, &joined);
        }
    }

    fn checks(&self) -> Vec<Check> {
        [&self.recovered, &self.connected].into_iter().filter(|check| check.evaluated > 0).cloned().collect()
    }
}

fn reached(edges: &[Vec<NodeIx>], from: NodeIx) -> Vec<bool> {
    let mut reached = vec![false; edges.len()];
    let mut open = vec![from];
    reached[from as usize] = true;
    while let Some(node) = open.pop() {
        for &next in &edges[node as usize] {
            if !std::mem::replace(&mut reached[next as usize], true) {
                open.push(next);
            }
        }
    }
    reached
}
