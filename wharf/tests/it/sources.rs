//! One download from several providers, each behind a slow line.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use serde_json::Value;

use crate::node::{Node, random_file};
use crate::proxy::Proxy;

const LINE: u64 = 1_000_000;
const SIZE: usize = 30_000_000;

/// Three nodes that hold one package, and its bytes.
fn providers(folder: &Path) -> ([Node; 3], Vec<u8>) {
    let file = folder.join("big.bin");
    let bytes = random_file(&file, SIZE, 7);
    let first = Node::start(&[]);
    first.publish(&file, "big", "1.0.0");
    let rest = ["b", "c"].map(|name| {
        let node = Node::start(&[&first.addr()]);
        node.wait_for("big");
        node.get("big", &folder.join(name)).ok();
        node
    });
    let [second, third] = rest;
    ([first, second, third], bytes)
}

/// Bytes by provider.
fn shares(fetched: &Value) -> BTreeMap<String, u64> {
    let share = |one: &Value| (one["peer_id"].as_str().unwrap().to_string(), one["bytes"].as_u64().unwrap());
    fetched["providers"].as_array().unwrap().iter().map(share).collect()
}

/// A node whose connections to the providers are slow lines. It may have heard of their real addresses and been quicker
/// to dial those; then another one is tried.
fn client(nodes: &[Node; 3]) -> (Node, Vec<Proxy>) {
    for _ in 0..20 {
        let lines: Vec<_> = nodes.iter().map(|node| Proxy::start(node.port(), LINE)).collect();
        let addrs: Vec<_> = nodes.iter().zip(&lines).map(|(node, line)| line.addr(node.peer_id())).collect();
        let client = Node::start(&addrs.iter().map(String::as_str).collect::<Vec<_>>());
        client.wait_for("big");
        for addr in &addrs {
            client.run(&["connect", addr]).ok();
        }
        let peers = client.run(&["peers"]).ok();
        let over_line = |peer: &Value| addrs.iter().any(|addr| addr.starts_with(peer["addr"].as_str().unwrap()));
        if peers["peers"].as_array().unwrap().iter().filter(|peer| over_line(peer)).count() == nodes.len() {
            return (client, lines);
        }
    }
    panic!("the slow lines are never the first");
}

#[test]
fn three_slow_providers_share_a_download() {
    let folder = tempfile::tempdir().unwrap();
    let (nodes, bytes) = providers(folder.path());
    let (client, _lines) = client(&nodes);
    let (out, start) = (folder.path().join("out"), Instant::now());
    let fetched = client.get("big", &out).ok();
    let rate = SIZE as f64 / 1e6 / start.elapsed().as_secs_f64();
    println!("{rate:.2} MB/s over three lines of 1 MB/s");
    assert_eq!(std::fs::read(out.join("big.bin")).unwrap(), bytes);
    let shares = shares(&fetched);
    for node in &nodes {
        let share = shares.get(node.peer_id()).copied().unwrap_or(0);
        assert!(share >= SIZE as u64 / 5, "{} gave {share} of {SIZE}: {shares:?}", node.peer_id());
    }
}

#[test]
fn a_provider_dies_half_way_and_the_download_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let (mut nodes, bytes) = providers(folder.path());
    let (client, lines) = client(&nodes);
    let out = folder.path().join("out");
    let fetched = std::thread::scope(|scope| {
        let download = scope.spawn(|| {
            let (mut lines, mut last) = (0, Value::Null);
            let mut child = client
                .command()
                .args(["get", "big", "--out", out.to_str().unwrap()])
                .stdout(std::process::Stdio::piped())
                .spawn()
                .unwrap();
            let stdout = std::io::BufReader::new(child.stdout.take().unwrap());
            for line in std::io::BufRead::lines(stdout) {
                last = serde_json::from_str(&line.unwrap()).unwrap();
                lines += 1;
            }
            assert_eq!(child.wait().unwrap().code(), Some(0), "{last} after {lines} lines");
            last
        });
        while lines[0].relayed() < SIZE as u64 / 6 && !download.is_finished() {
            std::thread::yield_now();
        }
        lines[0].cut();
        nodes[0].kill();
        download.join().unwrap()
    });
    assert_eq!(std::fs::read(out.join("big.bin")).unwrap(), bytes);
    let shares = shares(&fetched);
    let died = shares.get(nodes[0].peer_id()).copied().unwrap_or(0);
    assert!(died > 0 && died < SIZE as u64 / 2, "the dead one's blocks are kept: {shares:?}");
    let total: u64 = shares.values().sum();
    assert!(total < SIZE as u64 + 2_000_000, "nothing is fetched again: {shares:?}");
}
