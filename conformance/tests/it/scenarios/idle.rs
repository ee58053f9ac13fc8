//! What stopped nodes leave behind, and what idle ones cost.

use std::time::{Duration, Instant};

use super::{connected, within};
use crate::alone::{alone, say};
use crate::runtimes::Mix;
use crate::table::skip;
use crate::world::{Peer, Real, World};

/// Set to measure for long, alone on a machine: 200 starts, and ten idle minutes.
const SOAK: &str = "WHARF_SOAK";
/// Clock ticks per second in /proc, as Linux tells every program.
const TICKS: f64 = 100.0;

fn soak() -> bool {
    std::env::var_os(SOAK).is_some()
}

/// Threads, descriptors, and how many of these are sockets.
fn held() -> (usize, usize, usize) {
    let threads = std::fs::read_dir("/proc/self/task").unwrap().count();
    let links =
        || std::fs::read_dir("/proc/self/fd").unwrap().flatten().filter_map(|fd| std::fs::read_link(fd.path()).ok());
    (threads, links().count(), links().filter(|link| link.to_string_lossy().starts_with("socket:")).count())
}

async fn start_and_stop(world: &Real) {
    let a = world.start(0, None).await;
    let b = world.start(1, Some(&a)).await;
    connected(&b, &a).await;
    a.stop().await;
    b.stop().await;
}

pub(crate) async fn many_starts_and_stops_leave_nothing_behind(mix: Mix) {
    let body = async {
        let times = if soak() { 200 } else { 50 };
        let world = Real::new(mix.clone());
        // Reactors and the like start with the first node and stay.
        start_and_stop(&world).await;
        let before = held();
        for _ in 0..times {
            start_and_stop(&world).await;
        }
        // Threads of a pool end a little after their last work; one may have been counted before, too.
        let is_more =
            |(threads, descriptors, sockets)| threads > before.0 || descriptors > before.1 || sockets > before.2;
        let gone = async {
            while is_more(held()) {
                world.moment().await;
            }
        };
        within(gone).await;
        let (threads, descriptors, sockets) = held();
        say(&format!(
            "{times} starts and stops of two nodes leave {threads} threads, {descriptors} descriptors, {sockets} of them sockets, no more than one pair"
        ));
    };
    alone("many_starts_and_stops_leave_nothing_behind", &mix, body).await;
}

/// Seconds of a core this process has used.
fn used() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<_> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    // utime and stime, the 14th and 15th of all.
    fields[11..13].iter().map(|ticks| ticks.parse::<f64>().unwrap()).sum::<f64>() / TICKS
}

pub(crate) async fn idle_nodes_use_next_to_nothing(mix: Mix) {
    const NODES: usize = 4;
    if !soak() {
        skip("ten minutes of measurement are for .ci/soak");
        return;
    }
    let body = async {
        let world = Real::new(mix.clone());
        let first = world.start(0, None).await;
        let mut nodes = vec![first.clone()];
        for number in 1..NODES {
            nodes.push(world.start(number, Some(&first)).await);
            connected(&nodes[number], &first).await;
        }
        tokio::time::sleep(Duration::from_secs(30)).await;
        let (begun, before) = (Instant::now(), used());
        tokio::time::sleep(Duration::from_secs(600)).await;
        let percent = 100.0 * (used() - before) / begun.elapsed().as_secs_f64() / NODES as f64;
        say(&format!("an idle node of {NODES} uses {percent:.2} % of a core"));
        assert!(percent < 1.0, "{percent}");
        for node in &nodes {
            assert!(node.stats().await.connections > 0, "they are connected still");
        }
    };
    alone("idle_nodes_use_next_to_nothing", &mix, body).await;
}
