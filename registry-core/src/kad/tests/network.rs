//! Many machines together.

use super::net::Net;
use super::*;
use crate::id::Digest;

/// Everybody joins through node 0, a tenth of a second apart.
fn grown(count: usize) -> Net {
    let mut net = Net::new(count, |_, _| {});
    for n in 1..count {
        net.introduce(n, 0);
        net.run(Duration::from_millis(100));
    }
    net.run(Duration::from_secs(60));
    net.nodes.iter_mut().for_each(|node| node.events.clear());
    net
}

/// The 20 live nodes closest to a key, without the one that looks.
fn true_closest(net: &Net, key: &[u8], without: usize) -> Vec<u64> {
    let target = Position::of(key);
    let mut all: Vec<u64> =
        (0..net.nodes.len()).filter(|n| net.nodes[*n].alive && *n != without).map(|n| n as u64).collect();
    all.sort_by_cached_key(|n| Position::of(TestWorld::peer_id(*n).as_bytes()).distance(target));
    all.truncate(20);
    all
}

/// Lookups from everywhere: (of 20 true closest found on average in hundredths, worst, most hops).
fn quality(net: &mut Net, lookups: usize) -> (usize, usize, u32) {
    let (mut sum, mut worst, mut most_hops) = (0, 20, 0);
    for number in 0..lookups {
        let from = (number * 7) % net.nodes.len();
        if !net.nodes[from].alive {
            continue;
        }
        let key = Bytes::copy_from_slice(&Digest::of(&number.to_be_bytes()).0);
        net.nodes[from].events.clear();
        net.with(from, |kad, cx| kad.find_closest(cx, key.clone()));
        net.run(Duration::from_secs(15));
        let events = core::mem::take(&mut net.nodes[from].events);
        let [KadEvent::Closest { peers, hops, asked, .. }] = &events[..] else { panic!("{events:?}") };
        assert!(*asked <= 128);
        let found: Vec<_> = peers.iter().map(|peer| net.nodes[from].world.peers.id(*peer).unwrap()).collect();
        let truth = true_closest(net, &key, from);
        let hits = truth.iter().filter(|n| found.contains(&TestWorld::peer_id(**n))).count();
        let missed = truth.len() - hits;
        sum += 20 - missed;
        worst = worst.min(20 - missed);
        most_hops = most_hops.max(*hops);
    }
    (sum * 100 / lookups, worst, most_hops)
}

#[test]
fn lookups_find_the_true_closest() {
    let mut net = grown(100);
    let (mean, worst, hops) = quality(&mut net, 40);
    assert!(mean >= 1_990 && worst >= 19, "of 20: mean {mean}/100, worst {worst}");
    assert!(hops <= 7, "{hops} hops");
    for node in &net.nodes {
        let table = &node.kad.table;
        assert!(table.len() >= 19 && table.entries().all(|entry| entry.peer != PeerIx::NOBODY));
    }
}

#[test]
fn attack_35_half_the_network_gone_at_once() {
    let mut net = grown(60);
    (0..60).step_by(2).for_each(|n| net.kill(n));
    net.run(Duration::from_secs(1_200));
    let (mean, worst, _) = quality(&mut net, 30);
    let mean = mean * 2;
    assert!(mean >= 1_900, "of 20: mean {mean}/100, worst {worst}");
    for node in net.nodes.iter().filter(|node| node.alive) {
        let dead = node.kad.table.entries().filter(|entry| {
            let id = node.world.peers.id(entry.peer).unwrap();
            (0..60).step_by(2).any(|n| TestWorld::peer_id(n) == id)
        });
        assert_eq!(dead.count(), 0, "two refreshes have found out who is dead");
    }
}

#[test]
fn islands_become_one_network_when_everybody_has_called_on_the_other() {
    let mut net = Net::new(120, |_, _| {});
    for n in 2..120 {
        net.introduce(n, n % 2);
        net.run(Duration::from_millis(100));
    }
    net.run(Duration::from_secs(60));
    let (mean, ..) = quality(&mut net, 10);
    assert!(mean < 1_300, "two islands: of 20 {mean}/100");
    for n in 2..120 {
        net.visit(n, 1 - n % 2);
    }
    let (mean, worst, _) = quality(&mut net, 20);
    assert!(mean >= 1_980 && worst >= 18, "of 20: mean {mean}/100, worst {worst}");
}

#[test]
fn values_and_providers_are_found_from_everywhere() {
    let mut net = grown(40);
    let key = Bytes::from_static(b"/test/a");
    net.with(5, |kad, cx| kad.put_value(cx, key.clone(), Bytes::from_static(b"value")));
    for n in [6, 7, 8] {
        net.with(n, |kad, cx| kad.provide(cx, multihash(0)));
    }
    net.run(Duration::from_secs(2));
    let events = core::mem::take(&mut net.nodes[5].events);
    assert!(matches!(events[..], [KadEvent::Put { acks: 20, .. }]), "{events:?}");
    let events = core::mem::take(&mut net.nodes[6].events);
    assert!(matches!(events[..], [KadEvent::Provided { sent: 20, .. }]), "{events:?}");
    net.kill(5);
    for n in 10..20 {
        net.with(n, |kad, cx| {
            kad.get_value(cx, key.clone());
            kad.find_providers(cx, multihash(0), 10);
        });
        net.run(Duration::from_secs(10));
        let (mut values, mut providers) = (0, 0);
        for event in core::mem::take(&mut net.nodes[n].events) {
            match event {
                KadEvent::Value { value, .. } => values += usize::from(value.as_deref() == Some(b"value")),
                KadEvent::Providers { providers: found, last: true, .. } => providers = found.len(),
                KadEvent::Providers { last: false, .. } => {}
                KadEvent::Closest { .. }
                | KadEvent::Put { .. }
                | KadEvent::Provided { .. }
                | KadEvent::RecordSeen { .. } => panic!("{event:?}"),
            }
        }
        assert_eq!((values, providers), (1, 3));
    }
}

#[test]
fn clients_are_in_no_table_and_find_what_others_provide() {
    let mut net = Net::new(20, |n, config| config.server = n % 2 == 0);
    for n in 1..20 {
        net.introduce(n, 0);
    }
    net.run(Duration::from_secs(60));
    for node in &net.nodes {
        for entry in node.kad.table.entries() {
            let id = node.world.peers.id(entry.peer).unwrap();
            assert!((0..20).step_by(2).any(|n| TestWorld::peer_id(n) == id), "a client in a table");
        }
    }
    net.with(2, |kad, cx| kad.provide(cx, multihash(0)));
    net.run(Duration::from_secs(5));
    net.with(3, |kad, cx| kad.find_providers(cx, multihash(0), 1));
    net.run(Duration::from_secs(5));
    assert!(
        net.nodes[3].events.iter().any(|event| {
            matches!(event, KadEvent::Providers { providers, last: true, .. } if providers.len() == 1)
        })
    );
}

#[test]
fn the_same_seed_gives_the_same_network() {
    let tables = || {
        let net = grown(15);
        net.nodes.iter().map(|node| node.kad.table.entries().map(|e| e.peer).collect::<Vec<_>>()).collect::<Vec<_>>()
    };
    assert_eq!(tables(), tables());
}
