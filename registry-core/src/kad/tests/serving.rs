//! Answers to peers.

use super::*;
use crate::wire::kad::MAX_FRAME;
use alloc::collections::BTreeSet;
use alloc::vec;

#[test]
fn a_client_serves_nothing() {
    let mut script = Script::new(|config| config.server = false);
    let peer = script.join(1);
    assert_eq!(script.ask(peer, &question(KadKind::FindNode, b"key")), None);
    let mut world = TestWorld::default();
    world.config.kad.server = false;
    Kad::new(&mut world.cx());
    assert!(matches!(world.actions()[..], [Action::SetServerMode(false)]));
}

#[test]
fn ping_is_answered() {
    let mut script = Script::new(|_| {});
    let peer = script.join(1);
    assert_eq!(script.ask(peer, &question(KadKind::Ping, b"")).unwrap().kind, KadKind::Ping);
}

#[test]
fn find_node_names_the_closest_but_neither_this_node_nor_the_asker() {
    let mut script = Script::new(|_| {});
    let peers: Vec<_> = (1..=60).map(|n| script.join(n)).collect();
    let answer = script.ask(peers[0], &question(KadKind::FindNode, b"key")).unwrap();
    assert_eq!(answer.closer.len(), 20);
    let target = Position::of(b"key");
    let distances: Vec<_> = answer.closer.iter().map(|p| Position::of(p.id.as_bytes()).distance(target)).collect();
    assert!(distances.is_sorted());
    assert!(answer.closer.iter().all(|p| p.id != TestWorld::peer_id(1) && p.id != script.world.local.id));
    assert!(answer.closer.iter().all(|p| p.connected && !p.addrs.is_empty()));
    assert_eq!(script.ask(peers[0], &question(KadKind::FindNode, b"")), None);
}

#[test]
fn find_node_includes_the_target_whoever_it_is() {
    let mut script = Script::new(|_| {});
    let asker = script.join(1);
    script.world.peers.handle_local_addr(TestWorld::addr(99), true);
    let client = script.world.connect_as(2, crate::input::Side::Listener, crate::input::ProtocolSet::default());
    for id in [script.world.peers.id(client).unwrap(), TestWorld::peer_id(1), script.world.local.id] {
        let answer = script.ask(asker, &question(KadKind::FindNode, id.as_bytes())).unwrap();
        assert_eq!(answer.closer.iter().map(|p| p.id).collect::<Vec<_>>(), [id]);
    }
}

#[test]
fn nobody_is_told_of_private_addresses_in_a_public_network() {
    let mut script = Script::new(|_| {});
    script.world.config.peers.allow_private_addrs = false;
    let private = script.world.connect(1);
    script.kad.handle_server(&mut script.world.cx(), private, true);
    assert_eq!(script.kad.table.len(), 0, "it was dialled at a private address, which is of no use to others");
    script.world.peers.handle_local_addr(TestWorld::addr(99), true);
    let public: multiaddr::Multiaddr = "/ip4/8.8.8.8/tcp/1".parse().unwrap();
    let own = script.world.local.id;
    assert_eq!(script.ask(private, &question(KadKind::FindNode, own.as_bytes())).unwrap().closer, []);
    script.world.peers.handle_local_addr(public.clone(), true);
    let answer = script.ask(private, &question(KadKind::FindNode, own.as_bytes())).unwrap();
    assert_eq!(answer.closer, [KadPeer { id: own, addrs: [public].into(), connected: true }]);
}

#[test]
fn attack_18_the_record_must_be_under_the_messages_key() {
    let mut script = Script::new(|_| {});
    let peer = script.join(1);
    let put = KadMessage { record: record(b"/test/b", b"v"), ..question(KadKind::PutValue, b"/test/a") };
    assert_eq!(script.ask(peer, &put), None);
    assert_eq!(script.ask(peer, &question(KadKind::PutValue, b"/test/a")), None);
    for key in [b"/test/a", b"/test/b"] {
        assert_eq!(script.ask(peer, &question(KadKind::GetValue, key)).unwrap().record, None);
    }
}

#[test]
fn put_is_answered_with_key_and_record_and_then_served() {
    let mut script = Script::new(|_| {});
    let peer = script.join(1);
    let put = put_question(b"/test/a", b"v");
    assert_eq!(script.ask(peer, &put), Some(put.clone()));
    assert_eq!(script.ask(peer, &put), Some(put), "a republish is acknowledged");
    let got = script.ask(peer, &question(KadKind::GetValue, b"/test/a")).unwrap();
    assert_eq!((got.record, &got.key[..]), (record(b"/test/a", b"v"), &b"/test/a"[..]));
}

#[test]
fn attack_20_an_older_value_is_refused() {
    let mut script = Script::new(|_| {});
    let peer = script.join(1);
    script.ask(peer, &put_question(b"/test/a", b"b"));
    assert_eq!(script.ask(peer, &put_question(b"/test/a", b"a")), None, "last in byte order wins");
    let got = script.ask(peer, &question(KadKind::GetValue, b"/test/a")).unwrap();
    assert_eq!(got.record, record(b"/test/a", b"b"));
}

#[test]
fn attack_21_values_expire_by_the_own_maximum() {
    let mut script = Script::new(|config| config.record_ttl = Duration::MAX);
    let peer = script.join(1);
    script.ask(peer, &put_question(b"/test/a", b"v"));
    script.ask(peer, &provider_question(b"key", 1));
    script.pass(Duration::from_secs(48 * 3600 - 1));
    script.done();
    assert!(script.ask(peer, &question(KadKind::GetValue, b"/test/a")).unwrap().record.is_some());
    assert_eq!(script.ask(peer, &question(KadKind::GetProviders, b"key")).unwrap().providers.len(), 1);
    script.pass(Duration::from_secs(1));
    script.done();
    assert!(script.ask(peer, &question(KadKind::GetValue, b"/test/a")).unwrap().record.is_none());
    assert!(script.ask(peer, &question(KadKind::GetProviders, b"key")).unwrap().providers.is_empty());
    script.pass(Duration::from_secs(3 * 3600));
    assert!(script.kad.records.is_empty() && script.kad.providers.is_empty(), "swept");
}

#[test]
fn attack_22_a_forged_time_received_changes_nothing() {
    let mut script = Script::new(|_| {});
    let peer = script.join(1);
    // PUT_VALUE of /test/a = v, whose record says it was received in 2001 (field 5).
    let received = b"2001-01-01T00:00:00Z";
    let record = [&b"\x0a\x07/test/a\x12\x01v\x2a\x14"[..], received].concat();
    let frame = [&b"\x12\x07/test/a\x1a"[..], &[record.len() as u8], &record].concat();
    let put = KadMessage::decode(frame.into()).unwrap();
    assert_eq!(put, put_question(b"/test/a", b"v"));
    assert!(script.ask(peer, &put).is_some());
    script.pass(Duration::from_secs(47 * 3600));
    script.done();
    let served = script.ask(peer, &question(KadKind::GetValue, b"/test/a")).unwrap();
    let mut answer = Vec::new();
    served.encode_into(&mut answer);
    assert!(served.record.is_some() && !answer.windows(received.len()).any(|bytes| bytes == received));
    script.pass(Duration::from_secs(3600));
    script.done();
    assert!(script.ask(peer, &question(KadKind::GetValue, b"/test/a")).unwrap().record.is_none());
}

#[test]
fn attack_24_a_stored_value_always_fits_an_answer() {
    let mut script = Script::new(|_| {});
    let peers: Vec<_> = (1..=60).map(|n| script.join(n)).collect();
    for (n, peer) in peers.iter().enumerate() {
        let addrs: Vec<_> = (0..50).map(|a| TestWorld::addr(1_000 + 100 * n as u64 + a)).collect();
        script.world.peers.add_addrs(&script.world.config, *peer, &addrs.into());
        script.ask(*peer, &provider_question(b"key", n as u64 + 1));
    }
    let key = alloc::format!("/test/{}", "x".repeat(400));
    let value = vec![1; crate::wire::kad::MAX_RECORD - key.len()];
    let longer = [&value[..], &[1]].concat();
    script.put(peers[0], &put_question(key.as_bytes(), &longer));
    let done = script.done();
    assert!(matches!(done.answers[..], [(_, None)]) && done.offences.is_empty(), "refused, for others keep more");
    assert!(script.ask(peers[0], &put_question(key.as_bytes(), &value)).is_some());
    let got = script.ask(peers[0], &question(KadKind::GetValue, key.as_bytes())).unwrap();
    assert_eq!(got.record.as_ref().map(|record| record.value.len()), Some(value.len()));
    assert!(got.encoded_len() <= MAX_FRAME && got.closer.len() >= 10);
    let got = script.ask(peers[0], &question(KadKind::GetProviders, b"key")).unwrap();
    assert!(got.encoded_len() <= MAX_FRAME && got.providers.len() >= 30);
}

#[test]
fn attack_25_a_record_is_judged_by_its_signatures_alone() {
    // The wire's publisher field (666) is not read; a value that names this node in its text is like any other.
    let mut script = Script::new(|_| {});
    let peer = script.join(1);
    let value = alloc::format!("publisher: {}", script.world.local.id);
    assert!(script.ask(peer, &put_question(b"/test/a", value.as_bytes())).is_some());
    assert_eq!(script.kad.records.own(b"/test/a"), None);
    script.pass(Duration::from_secs(30 * 3600));
    let puts = script.done().asked.into_iter().filter(|asked| asked.msg.kind == KadKind::PutValue).count();
    assert_eq!(puts, 0, "never republished from here");
}

pub(super) fn provider_question(key: &[u8], n: u64) -> KadMessage {
    KadMessage { providers: [kad_peer(n)].into(), ..question(KadKind::AddProvider, key) }
}

#[test]
fn attack_26_nobody_is_announced_by_another() {
    let mut script = Script::new(|_| {});
    let peer = script.join(1);
    assert_eq!(script.ask(peer, &provider_question(b"key", 2)), None);
    assert_eq!(script.ask(peer, &question(KadKind::AddProvider, b"key")), None);
    assert!(script.ask(peer, &question(KadKind::GetProviders, b"key")).unwrap().providers.is_empty());
    let mixed = KadMessage {
        providers: [kad_peer(2), kad_peer(1), kad_peer(3)].into(),
        ..question(KadKind::AddProvider, b"key")
    };
    assert!(script.ask(peer, &mixed).is_some());
    let got = script.ask(peer, &question(KadKind::GetProviders, b"key")).unwrap();
    assert_eq!(got.providers.iter().map(|p| p.id).collect::<Vec<_>>(), [TestWorld::peer_id(1)]);
}

#[test]
fn attack_27_keys_and_numbers_of_provider_records_are_bounded() {
    let mut script = Script::new(|config| {
        config.max_provider_records = 40;
        config.max_providers_per_key = 5;
    });
    let peers: Vec<_> = (1..=60).map(|n| script.join(n)).collect();
    assert_eq!(script.ask(peers[0], &provider_question(&[1; 81], 1)), None);
    assert_eq!(script.ask(peers[0], &provider_question(b"", 1)), None);
    assert!(script.ask(peers[0], &provider_question(&[1; 80], 1)).is_some());
    // One source, many keys: a quarter of the store.
    let kept = (0..200u8).filter(|n| script.ask(peers[1], &provider_question(&[2, *n], 2)).is_some()).count();
    assert_eq!(kept, 10);
    assert!(script.ask(peers[2], &provider_question(b"honest", 3)).is_some());
    // Many sources, one key.
    for n in 4..=60 {
        script.ask(peers[n as usize - 1], &provider_question(b"honest", n));
    }
    let got = script.ask(peers[0], &question(KadKind::GetProviders, b"honest")).unwrap();
    assert_eq!(got.providers.len(), 5);
}

#[test]
fn attack_27_neither_first_come_nor_last_come_takes_a_key() {
    let kept = |seed: u8, order: &[u64]| {
        let mut script = Script::new(|config| config.max_providers_per_key = 8);
        script.kad.providers = Providers::new([seed; 32]);
        for n in order {
            let peer = script.join(*n);
            script.ask(peer, &provider_question(b"key", *n));
        }
        let kept = script.kad.providers.get(script.world.now, Position::of(b"key"));
        kept.into_iter().filter_map(|peer| script.world.peers.id(peer)).collect::<BTreeSet<_>>()
    };
    let forward: Vec<u64> = (1..=16).collect();
    let backward: Vec<u64> = (1..=16).rev().collect();
    let mut early = 0;
    for seed in 0..20 {
        let of_forward = kept(seed, &forward);
        assert_eq!(of_forward.len(), 8);
        assert_eq!(of_forward, kept(seed, &backward), "the order of arrival does not matter");
        early += (1..=8).filter(|n| of_forward.contains(&TestWorld::peer_id(*n))).count();
    }
    assert!((60..=100).contains(&early), "{early} of 160 are of the first half");
}

#[test]
fn attack_28_a_useless_provider_is_listed_like_any_other() {
    // Whether it serves is for the exchange to find out; the DHT spreads no judgement.
    let mut script = Script::new(|_| {});
    let peers = [1, 2].map(|n| script.join(n));
    for (n, peer) in peers.into_iter().enumerate() {
        script.ask(peer, &provider_question(b"key", n as u64 + 1));
    }
    let got = script.ask(peers[0], &question(KadKind::GetProviders, b"key")).unwrap();
    assert_eq!(got.providers.len(), 2);
}

#[test]
fn attack_29_the_sample_of_providers_differs_by_draw_and_not_by_run() {
    let sample = || {
        let mut script = Script::new(|config| config.max_providers_per_key = 1_000);
        let asker = script.join(1);
        for n in 1..=400 {
            let peer = script.join(n);
            script.ask(peer, &provider_question(b"key", n));
        }
        let mut draw = || {
            let got = script.ask(asker, &question(KadKind::GetProviders, b"key")).unwrap();
            assert!(got.encoded_len() <= MAX_FRAME && got.providers.len() < 400);
            got.providers.into_iter().map(|p| p.id).collect::<Vec<_>>()
        };
        [draw(), draw()]
    };
    let [first, second] = sample();
    assert_ne!(first, second);
    assert_eq!([first, second], sample());
}

#[test]
fn banned_peers_are_forgotten_as_providers() {
    let mut script = Script::new(|_| {});
    let peers = [1, 2].map(|n| script.join(n));
    script.ask(peers[1], &provider_question(b"key", 2));
    script.kad.handle_peer_banned(&mut script.world.cx(), peers[1]);
    assert!(script.kad.providers.is_empty() && !script.kad.table.contains(peers[1]));
    assert!(script.ask(peers[0], &question(KadKind::GetProviders, b"key")).unwrap().providers.is_empty());
}

#[test]
fn requests_beyond_a_peers_budget_are_closed_and_others_are_served() {
    let mut script = Script::new(|_| {});
    let (greedy, other) = (script.join(1), script.join(2));
    let ping = question(KadKind::Ping, b"");
    let served = (0..5_000).filter(|_| script.ask(greedy, &ping).is_some()).count();
    assert_eq!(served, 2_000);
    assert!(script.ask(other, &ping).is_some());
    script.pass(Duration::from_secs(1));
    script.done();
    assert!(script.ask(greedy, &ping).is_some());
}
