use alloc::vec::Vec;

use super::net::{Conduct, Net};
use super::{file, folder, sum, total_len};
use crate::action::Table;
use crate::event::OpError;
use crate::exchange::ExchangeEvent;
use crate::exchange::unixfs::CHUNK;
use crate::fuzzing::TestWorld;
use crate::id::OpId;
use crate::time::{Duration, Instant};

const MB: u64 = 1_000_000;

/// Bytes per second since `start`.
fn rate(net: &Net, start: Instant, bytes: u64) -> u64 {
    bytes * 1_000_000 / u64::try_from(net.now.since(start).as_micros()).unwrap()
}

fn slow_providers(count: usize, megabytes: usize) -> (Net, crate::exchange::unixfs::Tree, super::Blocks) {
    let (tree, blocks) = file(megabytes * CHUNK, 1);
    let mut net = Net::with_providers(count, tree.id, &blocks);
    net.nodes.iter_mut().for_each(|node| node.rate = MB);
    (net, tree, blocks)
}

#[test]
fn three_providers_of_1_mb_a_second_give_2_5() {
    let (mut net, tree, blocks) = slow_providers(3, 24);
    let start = net.now;
    net.fetch(0, 1, tree.id);
    let sources = net.finish(0, 1).expect("fetched");
    assert!(net.holds(0, &blocks));
    let rate = rate(&net, start, tree.size);
    assert!(rate >= 2_500_000, "{rate} bytes/s");
    assert_eq!((sources.len(), sum(&sources)), (3, total_len(&blocks)));
    assert!(net.nodes[0].received <= total_len(&blocks) + 2 * CHUNK as u64 + 100, "few blocks come twice");
    assert!(net.nodes[0].exchange.contents().eq([tree.id]));
    assert!(net.nodes[0].rows.keys().all(|(table, _)| *table == Table::Content));
}

#[test]
fn a_provider_that_dies_half_way_does_not_restart_the_transfer() {
    let (mut net, tree, blocks) = slow_providers(3, 24);
    net.fetch(0, 1, tree.id);
    net.run_until(|net| net.nodes[0].puts >= 12);
    net.kill(1);
    let start = net.now;
    let left = total_len(&blocks) * 12 / 24;
    let sources = net.finish(0, 1).expect("fetched");
    assert_eq!((sources.len(), sum(&sources)), (3, total_len(&blocks)));
    assert_eq!(net.nodes[0].puts, blocks.len() as u64, "every block is stored once");
    assert!(rate(&net, start, left) >= 1_600_000, "two providers go on at their rate");
}

#[test]
fn a_silent_provider_does_not_stall_the_others() {
    for conduct in [Conduct::Silent, Conduct::Withholding] {
        let (mut net, tree, blocks) = slow_providers(3, 24);
        net.nodes[1].conduct = conduct;
        let start = net.now;
        net.fetch(0, 1, tree.id);
        let sources = net.finish(0, 1).expect("fetched");
        assert_eq!((sources.len(), sum(&sources)), (2, total_len(&blocks)));
        let rate = rate(&net, start, tree.size);
        assert!(rate >= 1_600_000, "{rate} bytes/s with {conduct:?}");
    }
}

#[test]
fn a_slow_provider_does_not_hold_up_the_end() {
    let (mut net, tree, blocks) = slow_providers(3, 24);
    net.nodes[1].rate = 50_000;
    let start = net.now;
    net.fetch(0, 1, tree.id);
    net.finish(0, 1).expect("fetched");
    assert!(net.holds(0, &blocks));
    let rate = rate(&net, start, tree.size);
    assert!(rate >= 1_600_000, "{rate} bytes/s");
}

#[test]
fn the_only_provider_may_be_as_slow_as_it_is() {
    let (tree, blocks) = file(3 * CHUNK, 1);
    let mut net = Net::with_providers(1, tree.id, &blocks);
    net.nodes[1].rate = 30_000;
    net.fetch(0, 1, tree.id);
    let sources = net.finish(0, 1).expect("fetched");
    assert_eq!(sum(&sources), total_len(&blocks));
}

#[test]
fn a_restart_resumes_and_remembers_who_sent_what() {
    let (mut net, tree, blocks) = slow_providers(3, 24);
    net.fetch(0, 1, tree.id);
    net.run_until(|net| net.nodes[0].puts >= 15);
    net.restart(0);
    let (before, received) = (net.nodes[0].puts, net.nodes[0].received);
    assert_eq!(net.nodes[0].exchange.contents().count(), 0);
    net.kill(1);
    net.connect(0, 2);
    net.connect(0, 3);
    net.run_for(Duration::from_secs(100));
    assert_eq!(net.nodes[0].puts, before, "nothing is fetched before it is asked for");

    net.fetch(0, 2, tree.id);
    let sources = net.finish(0, 2).expect("fetched");
    assert!(net.holds(0, &blocks));
    assert_eq!(net.nodes[0].puts, blocks.len() as u64, "only what is missing");
    let again = net.nodes[0].received - received;
    assert!(again <= total_len(&blocks) / 2, "{again} bytes after the restart");
    assert!(sources.iter().any(|(peer, bytes)| *peer == TestWorld::peer_id(1) && *bytes > 0));
    let forgotten = total_len(&blocks) - sum(&sources);
    assert!(forgotten <= 5 * CHUNK as u64, "{forgotten} bytes forgotten");
}

#[test]
fn lost_messages_are_asked_again() {
    let (tree, blocks) = folder(50, 3000, 7);
    let mut net = Net::with_providers(2, tree.id, &blocks);
    net.loss = 100;
    net.fetch(0, 1, tree.id);
    assert!(net.finish(0, 1).is_some());
    assert!(net.holds(0, &blocks));
}

#[test]
fn small_files_from_far_away_come_in_few_round_trips() {
    let (tree, blocks) = folder(200, 2000, 3);
    let mut net = Net::with_providers(2, tree.id, &blocks);
    let start = net.now;
    net.fetch(0, 1, tree.id);
    net.finish(0, 1).expect("fetched");
    let trips = net.now.since(start).as_millis() / 50;
    assert!(trips <= 15, "{trips} round trips for 201 blocks");
}

#[test]
fn connected_peers_are_asked_when_the_dht_knows_nobody() {
    let (tree, blocks) = folder(5, 100, 1);
    let mut net = Net::with_providers(3, tree.id, &blocks);
    net.providers.clear();
    net.nodes[2].store.clear();
    net.fetch(0, 1, tree.id);
    let sources = net.finish(0, 1).expect("fetched");
    assert!(sources.iter().all(|(peer, _)| *peer != TestWorld::peer_id(2)));
    assert!(net.now.since(Instant::from_micros(1_000_000)) < Duration::from_secs(1));
}

#[test]
fn pieces_are_shared_while_downloading() {
    let (tree, blocks) = file(16 * CHUNK, 4);
    let mut net = Net::new(3);
    net.nodes.iter_mut().for_each(|node| node.rate = MB);
    net.give(2, &blocks);
    for (a, b) in [(0, 1), (0, 2), (1, 2)] {
        net.connect(a, b);
    }
    net.providers.insert(tree.id, alloc::vec![2]);
    net.fetch(0, 1, tree.id);
    net.run_for(Duration::from_secs(3));
    net.fetch(1, 1, tree.id);
    let sources = net.finish(1, 1).expect("fetched");
    assert!(
        sources.iter().any(|(peer, bytes)| *peer == TestWorld::peer_id(0) && *bytes >= CHUNK as u64),
        "{sources:?}"
    );
}

#[test]
fn nobody_has_it() {
    let (tree, _) = file(10, 1);
    let mut net = Net::new(2);
    net.connect(0, 1);
    let start = net.now;
    net.fetch(0, 1, tree.id);
    assert_eq!(net.finish(0, 1), None);
    let failed = ExchangeEvent::Failed { op: OpId(1), error: OpError::NoProviders };
    assert_eq!(net.nodes[0].events.last().map(|(_, event)| event), Some(&failed));
    assert_eq!(net.now.since(start), Duration::from_secs(60));
    let asked = net.nodes[0].events.iter().filter(|(_, e)| matches!(e, ExchangeEvent::NeedProviders { .. })).count();
    assert!((3..=8).contains(&asked), "{asked} searches");
}

#[test]
fn one_transfer_serves_all_who_ask() {
    let (tree, blocks) = file(4 * CHUNK, 4);
    let mut net = Net::with_providers(1, tree.id, &blocks);
    net.fetch(0, 1, tree.id);
    net.fetch(0, 2, tree.id);
    net.finish(0, 1).expect("fetched");
    net.finish(0, 2).expect("fetched");
    assert_eq!(net.nodes[0].received, total_len(&blocks));
    net.fetch(0, 3, tree.id);
    assert_eq!(net.finish(0, 3), Some(Vec::new()), "all is there");
    assert_eq!(net.nodes[0].events.iter().filter(|(_, e)| matches!(e, ExchangeEvent::Complete { .. })).count(), 1);
}

#[test]
fn many_fetches_share_one_provider_fairly() {
    let contents: Vec<_> = (0..6).map(|i| file(2 * CHUNK, 10 + i)).collect();
    let mut net = Net::new(2);
    net.nodes[1].rate = MB;
    for (_, blocks) in &contents {
        net.give(1, blocks);
    }
    net.connect(0, 1);
    for (op, (tree, _)) in contents.iter().enumerate() {
        net.providers.insert(tree.id, alloc::vec![1]);
        net.fetch(0, op as u64, tree.id);
    }
    for op in 0..contents.len() {
        net.finish(0, op as u64).expect("fetched");
    }
    assert_eq!(net.nodes[0].received, contents.iter().map(|(_, blocks)| total_len(blocks)).sum::<u64>());
}

#[test]
fn one_server_serves_many_fairly() {
    let (tree, blocks) = file(12 * CHUNK, 4);
    let mut net = Net::new(5);
    net.give(0, &blocks);
    net.nodes[0].rate = 4 * MB;
    net.providers.insert(tree.id, alloc::vec![0]);
    for n in 1..5 {
        net.connect(0, n);
        net.fetch(n, 1, tree.id);
    }
    net.run_for(Duration::from_secs(8));
    let received: Vec<_> = (1..5).map(|n| net.nodes[n].received / 1000).collect();
    let (sum, squares) = (received.iter().sum::<u64>(), received.iter().map(|x| x * x).sum::<u64>());
    assert!(10 * sum * sum >= 9 * 4 * squares, "Jain's index of {received:?} is under 0.9");
    for n in 1..5 {
        net.finish(n, 1).expect("fetched");
    }
}

#[test]
fn a_large_content_takes_bounded_memory() {
    // One zero chunk, named 10,240 times: 10 GiB to the fetch, 1 MiB to the test.
    let chunk = bytes::Bytes::from(alloc::vec![0; CHUNK]);
    let leaf = crate::exchange::unixfs::FileBuilder::new().push(chunk)[0].clone();
    let part = crate::exchange::unixfs::Tree { id: leaf.id, size: CHUNK as u64, dag_size: CHUNK as u64 };
    let (inner, inner_block) = crate::exchange::unixfs::file_node(&[part; 1024]);
    let (top, top_block) = crate::exchange::unixfs::file_node(&[inner; 10]);
    let blocks = [leaf, inner_block, top_block].into_iter().map(|block| (block.id, block.data)).collect();
    let mut net = Net::with_providers(1, top.id, &blocks);
    net.fetch(0, 1, top.id);
    net.finish(0, 1).expect("fetched");
    assert_eq!(net.nodes[0].received, total_len(&blocks));
    let last = net.nodes[0].events.iter().rev().find_map(|(_, event)| match event {
        ExchangeEvent::Progress { total, .. } => Some(*total),
        _ => None,
    });
    assert_eq!(last, Some(10 << 30));
}
