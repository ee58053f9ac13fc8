//! One script of twenty nodes on sockets and in the simulator: what it costs is much the same.

use bytes::Bytes;
use registry_core::Event;
use registry_core::command::DhtCommand;
use registry_core::event::DhtResult;

use super::{connected, until, within};
use crate::runtimes::Mix;
use crate::world::{Peer, Real, Simulated, World, bytes};

const NODES: usize = 20;
const PACKAGES: usize = 20;
const MESSAGES: usize = 40;
const LOOKUPS: usize = 40;
const TOPIC: &str = "flattery";
/// The least members of a mesh.
const D_LOW: usize = 5;
/// Neither is more than so many times the other, in percent: who meets whom first is chance, and with it the shape of
/// meshes and tables; over some dozens of questions and messages that is less than this.
const BAND: u64 = 150;

/// What the script has cost, each in hundredths.
#[derive(Debug)]
struct Costs([(&'static str, u64); 5]);

pub(crate) async fn the_simulator_does_not_flatter(mix: Mix) {
    let name = mix.name();
    let Costs(real) = script(Real::new(mix)).await;
    let Costs(simulated) = script(Simulated::new()).await;
    println!("{:<28}{name:>10}{:>12}", "", "simulator");
    for ((what, on_sockets), (_, virtually)) in real.iter().zip(&simulated) {
        println!("{what:<28}{:>10.2}{:>12.2}", *on_sockets as f64 / 100.0, *virtually as f64 / 100.0);
    }
    for ((what, on_sockets), (_, virtually)) in real.into_iter().zip(simulated) {
        let (least, most) = (on_sockets.min(virtually), on_sockets.max(virtually));
        assert!(least > 0 && most * 100 <= least * BAND, "{what}: {on_sockets} and {virtually} hundredths");
    }
}

async fn script(world: impl World) -> Costs {
    let mut nodes = vec![world.start(0, None).await];
    for number in 1..NODES - 1 {
        let node = world.start(number, Some(&nodes[0])).await;
        connected(&node, &nodes[0]).await;
        nodes.push(node);
    }
    for node in &nodes {
        node.pubsub_subscribe(TOPIC).await;
    }
    for node in &nodes {
        becomes(&world, async || degree(node).await >= D_LOW).await;
        becomes(&world, async || knows_all(node).await).await;
    }
    for number in 0..PACKAGES {
        within(nodes[number % 4].publish(&format!("package-{number}"), "1.0.0", bytes(1_000, 1))).await.unwrap();
    }
    for node in &nodes {
        becomes(&world, async || node.stats().await.releases == PACKAGES as u64).await;
        becomes(&world, async || node.stats().await.announcements == 0).await;
    }

    let before = copies(&nodes).await;
    messages(&nodes).await;
    // Further copies come while these go on.
    let (hops, requests) = lookups(&nodes).await;
    let copies = copies(&nodes).await - before;
    let mut degrees = 0;
    for node in &nodes {
        degrees += degree(node).await;
    }
    let late = world.start(NODES - 1, Some(&nodes[0])).await;
    becomes(&world, async || late.stats().await.releases == PACKAGES as u64).await;
    let stats = late.stats().await;
    let synced = stats.sync_sent + stats.sync_received;
    for node in nodes.iter().chain([&late]) {
        node.stop().await;
    }
    Costs([
        ("hops per lookup", per(hops, LOOKUPS)),
        ("DHT requests per lookup", per(requests, LOOKUPS)),
        ("members of a mesh", per(degrees as u64, NODES - 1)),
        ("copies of a message per node", per(copies, MESSAGES * (NODES - 2))),
        ("sync bytes of a late node", per(synced, 1)),
    ])
}

/// Hops and requests of all.
async fn lookups(nodes: &[impl Peer]) -> (u64, u64) {
    let (before, mut all) = (requests(nodes).await, 0);
    for number in 0..LOOKUPS {
        let key = Bytes::from(format!("key {number}"));
        let asked = nodes[number % nodes.len()].dht(DhtCommand::Closest(key));
        let DhtResult::Closest { hops, .. } = within(asked).await.unwrap() else { panic!("another answer") };
        all += u64::from(hops);
    }
    (all, requests(nodes).await - before)
}

/// Everybody else is told of one before the next is sent.
async fn messages(nodes: &[impl Peer]) {
    let mut heard = Vec::new();
    for node in nodes {
        heard.push(node.events().await);
    }
    for number in 0..MESSAGES {
        let sender = number % nodes.len();
        let data = Bytes::from(bytes(1_000, number as u64));
        within(nodes[sender].pubsub_publish(TOPIC, data)).await.unwrap();
        for (_, events) in heard.iter_mut().enumerate().filter(|(node, _)| *node != sender) {
            until(events, |event| matches!(event, Event::PubsubMessage { .. })).await;
        }
    }
}

async fn requests(nodes: &[impl Peer]) -> u64 {
    let mut all = 0;
    for node in nodes {
        all += node.stats().await.dht_requests;
    }
    all
}

async fn copies(nodes: &[impl Peer]) -> u64 {
    let mut all = 0;
    for node in nodes {
        all += node.stats().await.pubsub_copies;
    }
    all
}

/// Whom a node has missed while all of them joined it meets by a lookup, as it would by its next refresh.
async fn knows_all(node: &impl Peer) -> bool {
    let knows_all = node.stats().await.routing_table == NODES as u64 - 2;
    if !knows_all {
        let own = Bytes::copy_from_slice(node.peer_id().as_bytes());
        within(node.dht(DhtCommand::Closest(own))).await.expect("somebody answers");
    }
    knows_all
}

/// Members of this node's mesh.
async fn degree(node: &impl Peer) -> usize {
    let topics = node.topics().await;
    let own = topics.iter().filter(|topic| &*topic.topic == TOPIC);
    own.flat_map(|topic| &topic.subscribers).filter(|(_, in_mesh)| *in_mesh).count()
}

async fn becomes(world: &impl World, holds: impl AsyncFn() -> bool) {
    let waited = async {
        while !holds().await {
            world.moment().await;
        }
    };
    within(waited).await;
}

fn per(all: u64, count: usize) -> u64 {
    all * 100 / count as u64
}
