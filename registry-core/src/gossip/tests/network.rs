//! Many machines on a lossy network.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::ToString;
use alloc::vec::Vec;

use super::bench::*;
use crate::config::Config;
use crate::fuzzing::TestWorld;
use crate::gossip::Gossip;
use crate::id::{PeerId, PeerIx};
use crate::input::Side;
use crate::peers::Peers;
use crate::rng::{Rng, Seed};
use crate::time::{Duration, Instant};
use crate::wire::gossip::Rpc;

struct Network {
    nodes: Vec<Bench>,
    numbers: BTreeMap<PeerId, usize>,
    queue: BTreeMap<(Instant, u64), (usize, usize, alloc::sync::Arc<Rpc>)>,
    sequence: u64,
    now: Instant,
    rng: Rng,
    /// RPCs lost, in percent.
    loss: u64,
    copies: u64,
}

impl Network {
    fn new(count: usize, degree: usize, seed: u8) -> Self {
        let mut rng = Rng::new(Seed([seed; 32]), "network");
        let mut nodes: Vec<Bench> = (0..count).map(|n| node(n, seed)).collect();
        let mut links = BTreeSet::new();
        for a in 0..count {
            for _ in 0..degree {
                let b = rng.index(count);
                if a != b && !links.contains(&(b, a)) {
                    links.insert((a, b));
                }
            }
        }
        for (a, b) in links {
            nodes[a].peer(b as u64, Side::Dialer);
            nodes[b].peer(a as u64, Side::Listener);
        }
        let numbers = (0..count).map(|n| (TestWorld::peer_id(n as u64), n)).collect();
        let now = nodes[0].world.now;
        let mut network = Self { nodes, numbers, queue: BTreeMap::new(), sequence: 0, now, rng, loss: 0, copies: 0 };
        network.collect();
        network
    }

    fn collect(&mut self) {
        for from in 0..self.nodes.len() {
            self.collect_from(from);
        }
    }

    fn collect_from(&mut self, from: usize) {
        for sent in self.nodes[from].taken() {
            let lost = self.rng.chance(self.loss, 100);
            let delay = Duration::from_micros(10_000 + self.rng.below(50_000));
            if !lost {
                self.sequence += 1;
                self.queue.insert((self.now + delay, self.sequence), (from, self.numbers[&sent.to], sent.rpc));
            }
        }
    }

    fn run(&mut self, by: Duration) {
        let end = self.now + by;
        loop {
            let arrival = self.queue.first_key_value().map(|((at, _), _)| *at);
            let wake = (0..self.nodes.len()).filter_map(|n| Some((self.nodes[n].gossip.next_deadline()?, n))).min();
            let next = arrival.into_iter().chain(wake.map(|(at, _)| at)).min();
            let Some(next) = next.filter(|next| *next <= end) else { break };
            self.now = self.now.max(next);
            let touched = if arrival == Some(next)
                && let Some((_, (from, to, rpc))) = self.queue.pop_first()
            {
                self.copies += rpc.publish.len() as u64;
                let node = self.at_now(to);
                let from: PeerIx = node.world.peers.find(&TestWorld::peer_id(from as u64)).unwrap();
                node.receive(from, (*rpc).clone());
                to
            } else {
                let (_, n) = wake.expect("something is next");
                self.at_now(n).run(Duration::ZERO);
                n
            };
            self.collect_from(touched);
        }
        self.now = end;
    }

    /// Mesh edges that only one side knows.
    fn lone_edges(&self, name: &str) -> usize {
        let members =
            |n: usize| self.nodes[n].mesh(name).into_iter().map(move |peer| self.numbers[&self.nodes[n].id(peer)]);
        let edges: BTreeSet<_> = (0..self.nodes.len()).flat_map(|n| members(n).map(move |peer| (n, peer))).collect();
        edges.iter().filter(|(a, b)| !edges.contains(&(*b, *a))).count()
    }

    fn at_now(&mut self, n: usize) -> &mut Bench {
        let now = self.now;
        let node = &mut self.nodes[n];
        node.world.advance(now.since(node.world.now));
        node
    }
}

fn node(n: usize, seed: u8) -> Bench {
    let mut bench = Bench::with(Config::default());
    bench.world.local.id = TestWorld::peer_id(n as u64);
    bench.world.peers = Peers::new(Seed([seed; 32]), bench.world.now, &bench.world.config, bench.world.local.id);
    bench.world.rng = Rng::new(Seed([seed; 32]), &n.to_string());
    bench.gossip = Gossip::new(&mut bench.world.cx());
    bench
}

#[test]
fn every_subscriber_gets_each_message_once_over_a_lossy_network() {
    (1..=3).for_each(lossy);
}

fn lossy(seed: u8) {
    let (count, messages) = (50, 40);
    let mut network = Network::new(count, 10, seed);
    for node in &mut network.nodes[..count - 5] {
        node.subscribe("/wharf/test");
    }
    network.collect();
    network.run(Duration::from_secs(5));
    network.loss = 5;
    network.copies = 0;
    for n in 0..messages {
        let publisher = network.rng.index(count);
        let data = alloc::vec![n as u8; 100 + 100 * (n % 20)];
        network.at_now(publisher).publish("/wharf/test", &data);
        network.collect_from(publisher);
        network.run(Duration::from_millis(700));
    }
    network.run(Duration::from_secs(20));
    let mut missed = 0;
    for (n, node) in network.nodes.iter().enumerate() {
        let got: Vec<_> = node.delivered.iter().map(|(_, data)| data.clone()).collect();
        let distinct: BTreeSet<_> = got.iter().cloned().collect();
        assert_eq!(got.len(), distinct.len(), "node {n} got a message twice");
        let own = node.published.len();
        assert_eq!(got.len() + own, if n < count - 5 { messages } else { own }, "node {n}");
        missed += messages - got.len() - own;
        assert!(node.offences.is_empty());
        let degree = node.mesh("/wharf/test").len();
        assert!(n >= count - 5 || (5..=12).contains(&degree), "degree {degree}");
    }
    assert_eq!(missed, 5 * messages - network.nodes[count - 5..].iter().map(|n| n.published.len()).sum::<usize>());
    let useful = (messages * (count - 5)) as u64;
    assert!(network.copies < 8 * useful, "{} copies for {useful} deliveries", network.copies);
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let run = |seed| {
        let mut network = Network::new(12, 6, seed);
        network.nodes.iter_mut().for_each(|node| node.subscribe("t"));
        network.collect();
        network.loss = 20;
        for n in 0..10 {
            network.at_now(n).publish("t", &[n as u8]);
            network.collect_from(n);
            network.run(Duration::from_millis(300));
        }
        network.run(Duration::from_secs(10));
        (network.sequence, network.copies, network.nodes.iter().map(|node| node.delivered.len()).collect::<Vec<_>>())
    };
    assert_eq!(run(3), run(3));
    assert_ne!(run(3).0, run(4).0);
}

#[test]
fn both_sides_know_each_edge_a_minute_after_the_loss() {
    let (count, name) = (24, "t");
    let mut network = Network::new(count, 10, 1);
    network.nodes.iter_mut().for_each(|node| node.subscribe(name));
    network.collect();
    network.run(Duration::from_secs(5));
    network.loss = 30;
    for n in 0..200 {
        network.at_now(n % count).unsubscribe(name);
        network.collect_from(n % count);
        network.run(Duration::from_secs(11));
        network.at_now(n % count).subscribe(name);
        network.collect_from(n % count);
        network.run(SECOND);
    }
    assert!(network.lone_edges(name) > 0, "the loss has done nothing");
    network.loss = 0;
    network.run(Duration::from_secs(62));
    assert_eq!(network.lone_edges(name), 0);
}
