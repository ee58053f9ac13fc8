//! What peers answer to this node's lookups.

use super::*;
use crate::fuzzing::world::ALL_PROTOCOLS;
use crate::input::{ProtocolSet, Side};
use alloc::collections::BTreeSet;

fn closest(script: &mut Script) -> Option<(Vec<PeerIx>, u32, u32)> {
    script.events().into_iter().find_map(|event| match event {
        KadEvent::Closest { peers, asked, answered, .. } => Some((peers, asked, answered)),
        KadEvent::Providers { .. }
        | KadEvent::Value { .. }
        | KadEvent::Put { .. }
        | KadEvent::Provided { .. }
        | KadEvent::RecordSeen { .. } => None,
    })
}

fn find(script: &mut Script, key: &'static [u8]) -> Vec<Asked> {
    script.done();
    script.kad.find_closest(&mut script.world.cx(), Bytes::from_static(key));
    script.done().asked
}

#[test]
fn a_node_that_knows_nobody_ends_at_once() {
    let mut script = Script::new(|_| {});
    assert!(find(&mut script, b"key").is_empty());
    assert_eq!(closest(&mut script), Some((Vec::new(), 0, 0)));
}

#[test]
fn attack_10_wrong_kind_second_and_late_answers_count_for_nothing() {
    let mut script = Script::new(|_| {});
    let peers = [1, 2, 3].map(|n| script.join(n));
    let asked = find(&mut script, b"key");
    assert_eq!(asked.len(), 3);
    let wrong = question(KadKind::GetValue, b"key");
    script.kad.handle_response(&mut script.world.cx(), asked[0].id, &wrong);
    assert_eq!(script.done().offences, [BROKEN_RULE]);
    script.answer(&asked[0], |msg| msg.closer = [kad_peer(9)].into());
    script.answer(&asked[1], |_| {});
    script.answer(&asked[1], |msg| msg.closer = [kad_peer(9)].into());
    assert!(closest(&mut script).is_none(), "one is still waited for");
    script.pass(Duration::from_secs(6));
    let (found, asked_count, answered) = closest(&mut script).expect("the lookup ends");
    let answerer = script.world.peers.find(&asked[1].peer).unwrap();
    assert_eq!((found, asked_count, answered), ([answerer].into(), 3, 1));
    let failing = |script: &Script| script.kad.table.entries().filter(|entry| entry.is_failing()).count();
    assert_eq!(failing(&script), 2);
    script.answer(&asked[2], |_| {});
    script.kad.handle_request_failed(&mut script.world.cx(), asked[2].id, RequestError::Timeout);
    assert_eq!(failing(&script), 2, "charged once, and a late answer excuses nothing");
    assert!(peers.iter().all(|peer| script.kad.table.contains(*peer)));
    assert!(script.done().asked.is_empty());
}

#[test]
fn attack_11_doubles_this_node_and_the_answerer_are_left_out() {
    let mut script = Script::new(|_| {});
    script.join(1);
    let asked = find(&mut script, b"key");
    let own = KadPeer { id: script.world.local.id, ..kad_peer(7) };
    let other_addr = KadPeer { addrs: [TestWorld::addr(77)].into(), ..kad_peer(2) };
    let bare = KadPeer { addrs: [].into(), ..kad_peer(2) };
    script.answer(&asked[0], |msg| {
        msg.closer = [kad_peer(1), own, bare, kad_peer(2), other_addr, kad_peer(2), kad_peer(3)].into();
    });
    let interned: Vec<_> = [2, 3].map(|n| script.world.peers.find(&TestWorld::peer_id(n)).unwrap()).into();
    assert!(interned.iter().all(|peer| !script.world.peers.addrs(*peer).is_empty()));
    assert!(!script.kad.table.contains(interned[0]), "who was only heard of never enters the table");
    assert_eq!(script.kad.table.len(), 1);
}

#[test]
fn attack_12_only_the_2k_nearest_of_an_answer_are_considered() {
    let mut script = Script::new(|config| config.k = 4);
    script.join(1);
    let asked = find(&mut script, b"key");
    script.answer(&asked[0], |msg| msg.closer = (100..2_100).map(kad_peer).collect());
    let interned: BTreeSet<u64> =
        (100..2_100).filter(|n| script.world.peers.find(&TestWorld::peer_id(*n)).is_some()).collect();
    let mut nearest: Vec<u64> = (100..2_100).collect();
    let target = Position::of(b"key");
    nearest.sort_by_cached_key(|n| Position::of(TestWorld::peer_id(*n).as_bytes()).distance(target));
    assert_eq!(interned, nearest[..8].iter().copied().collect());
}

#[test]
fn attack_13_bad_addresses_are_dropped_and_the_peer_is_kept() {
    let mut script = Script::new(|_| {});
    script.join(1);
    let asked = find(&mut script, b"key");
    let foreign = alloc::format!("{}/p2p/{}", TestWorld::addr(5), TestWorld::peer_id(6)).parse().unwrap();
    let many = (0..5_000).map(TestWorld::addr);
    let addrs = core::iter::once(foreign).chain(many).collect();
    script.answer(&asked[0], |msg| msg.closer = [KadPeer { addrs, ..kad_peer(2) }].into());
    let peer = script.world.peers.find(&TestWorld::peer_id(2)).unwrap();
    assert!((1..=64).contains(&script.world.peers.addrs(peer).len()), "capped");
}

#[test]
fn attack_17_silence_ends_in_a_partial_result() {
    let mut script = Script::new(|_| {});
    (1..=25).for_each(|n| {
        script.join(n);
    });
    let asked = find(&mut script, b"key");
    assert_eq!(asked.len(), 10, "alpha at a time");
    script.answer(&asked[0], |_| {});
    script.pass(Duration::from_secs(61));
    let (found, asked, answered) = closest(&mut script).expect("the lookup ends");
    assert_eq!((found.len(), answered), (1, 1));
    assert!((10..=25).contains(&asked));
}

#[test]
fn a_silent_peer_does_not_hold_up_providers_that_others_named() {
    for named in [true, false] {
        let mut script = Script::new(|_| {});
        (1..=6).for_each(|n| {
            script.join(n);
        });
        script.warm_up();
        script.kad.find_providers(&mut script.world.cx(), multihash(0), 20);
        let asked = script.done().asked;
        // The nearest is asked first, and says nothing.
        for asked in &asked[1..] {
            script.answer(asked, |msg| msg.providers = named.then(|| kad_peer(9)).into_iter().collect());
        }
        script.pass(Duration::from_millis(100));
        let is_over = |event: &KadEvent| matches!(event, KadEvent::Providers { last: true, answered: 5, .. });
        assert_eq!(script.events().iter().any(is_over), named);
        script.pass(Duration::from_secs(5));
        assert_eq!(script.events().iter().any(is_over), !named, "the nearest may be the only one who knows");
    }
}

#[test]
fn a_slow_peer_that_is_connected_is_waited_for_unless_another_takes_its_place() {
    for (k, is_connected, is_awaited) in [(20, true, true), (4, true, false), (20, false, false)] {
        let mut script = Script::new(|config| config.k = k);
        (1..=6).for_each(|n| {
            script.join(n);
        });
        script.warm_up();
        let mut peers: Vec<_> = (1..=6).map(TestWorld::peer_id).collect();
        let target = Position::of(b"key");
        peers.sort_by_cached_key(|peer| Position::of(peer.as_bytes()).distance(target));
        let slow = peers[3];
        if !is_connected {
            let world = &mut script.world;
            world.peers.handle_disconnected(world.now, &world.config, &mut world.out, slow);
        }
        let (late, asked): (Vec<_>, Vec<_>) =
            find(&mut script, b"key").into_iter().partition(|asked| asked.peer == slow);
        assert_eq!(late.len(), usize::from(is_connected));
        let name_all = |msg: &mut KadMessage| msg.closer = (1..=6).map(kad_peer).collect();
        asked.iter().for_each(|asked| script.answer(asked, name_all));
        script.pass(Duration::from_millis(150));
        script.done().asked.iter().for_each(|asked| script.answer(asked, |_| {}));
        let early = closest(&mut script);
        assert_eq!(early.is_none(), is_awaited, "k {k}, connected {is_connected}");
        if is_awaited {
            script.answer(&late[0], |_| {});
            let (found, ..) = closest(&mut script).expect("the lookup ends");
            assert_eq!(found.len(), 6);
        }
    }
}

#[test]
fn what_is_asked_over_a_connection_that_is_lost_is_asked_once_more() {
    let mut script = Script::new(|_| {});
    let (answers, closes) = (script.join(1), script.join(2));
    script.pass(Duration::from_secs(60));
    let (first, lost): (Vec<_>, Vec<_>) =
        find(&mut script, b"key").into_iter().partition(|asked| asked.peer == TestWorld::peer_id(1));
    script.answer(&first[0], |_| {});
    let lose = |script: &mut Script, id| {
        script.kad.handle_request_failed(&mut script.world.cx(), id, RequestError::Disconnected);
        script.world.disconnect(closes);
        script.pass(Duration::from_millis(50));
        script.world.meet(2, Side::Dialer, ALL_PROTOCOLS);
        script.done().asked
    };
    let again = lose(&mut script, lost[0].id);
    assert_eq!((again.len(), again[0].peer), (1, TestWorld::peer_id(2)));
    assert!(closest(&mut script).is_none());
    script.pass(Duration::from_millis(1_500));
    assert!(lose(&mut script, again[0].id).is_empty());
    assert_eq!(closest(&mut script), Some((Vec::from([answers]), 2, 1)));
}

#[test]
fn a_late_question_whose_connection_is_lost_is_not_asked_again() {
    let mut script = Script::new(|_| {});
    let late = script.join(1);
    script.pass(Duration::from_secs(60));
    let asked = find(&mut script, b"key");
    script.pass(Duration::from_secs(2));
    assert!(closest(&mut script).is_none());
    script.kad.handle_request_failed(&mut script.world.cx(), asked[0].id, RequestError::Disconnected);
    script.world.disconnect(late);
    assert_eq!(closest(&mut script), Some((Vec::new(), 1, 0)));
}

#[test]
fn a_lookup_does_not_end_with_the_closest_of_the_table_when_all_of_them_are_gone() {
    let mut script = Script::new(|config| config.k = 2);
    (1..=6).for_each(|n| {
        script.join(n);
    });
    let mut numbers: Vec<_> = (1..=6).collect();
    let target = Position::of(b"key");
    numbers.sort_by_cached_key(|n| Position::of(TestWorld::peer_id(*n).as_bytes()).distance(target));
    let (gone, there) = numbers.split_at(2);
    for n in gone {
        let peer = script.world.know(*n);
        script.world.disconnect(peer);
    }
    let asked: Vec<_> = find(&mut script, b"key").into_iter().map(|asked| asked.peer).collect();
    assert_eq!(asked, [there[0], there[1]].map(TestWorld::peer_id));
}

#[test]
fn a_peer_that_must_be_dialled_is_not_late_while_handshakes_take_as_long() {
    let mut script = Script::new(|config| {
        config.k = 4;
        config.request_timeout = Duration::from_secs(2);
    });
    (1..=6).for_each(|n| {
        script.join(n);
    });
    script.warm_up();
    let mut numbers: Vec<_> = (1..=6).collect();
    let target = Position::of(b"key");
    numbers.sort_by_cached_key(|n| Position::of(TestWorld::peer_id(*n).as_bytes()).distance(target));
    let dialled = script.world.know(numbers[3]);
    for is_found in [false, true] {
        script.play(Duration::from_secs(60));
        script.world.disconnect(dialled);
        let asked = find(&mut script, b"key");
        assert_eq!(asked.len(), 3);
        let name_all = |msg: &mut KadMessage| msg.closer = (1..=6).map(kad_peer).collect();
        asked.iter().for_each(|asked| script.answer(asked, name_all));
        script.pass(Duration::from_millis(900));
        script.world.meet(numbers[3], Side::Dialer, ALL_PROTOCOLS);
        script.done().asked.iter().for_each(|asked| script.answer(asked, |_| {}));
        let (found, ..) = closest(&mut script).expect("the lookup ends");
        assert_eq!(found.contains(&dialled), is_found, "how long a handshake takes is known after the first one");
    }
}

#[test]
fn a_lookup_ends_at_its_time_limit() {
    let mut script = Script::new(|config| config.request_timeout = Duration::from_secs(1_000));
    script.join(1);
    find(&mut script, b"key");
    script.pass(Duration::from_secs(59));
    assert!(closest(&mut script).is_none());
    script.pass(Duration::from_secs(1));
    assert_eq!(closest(&mut script), Some((Vec::new(), 1, 0)));
}

#[test]
fn attack_29_provider_answers_are_merged_without_doubles_and_this_node() {
    let mut script = Script::new(|_| {});
    script.join(1);
    script.join(2);
    script.done();
    script.kad.find_providers(&mut script.world.cx(), multihash(0), 3);
    let asked = script.done().asked;
    let own = KadPeer { id: script.world.local.id, ..kad_peer(7) };
    script.answer(&asked[0], |msg| msg.providers = [own, kad_peer(5), kad_peer(5), kad_peer(6)].into());
    let events = script.events();
    let [KadEvent::Providers { providers, last: false, .. }] = &events[..] else { panic!("{events:?}") };
    assert_eq!(providers.len(), 2);
    script.answer(&asked[1], |msg| msg.providers = (5..500).map(kad_peer).collect());
    let events = script.events();
    let [KadEvent::Providers { providers, last: true, answered: 2, .. }] = &events[..] else { panic!("{events:?}") };
    assert_eq!(providers.len(), 3, "ends when enough are known");
}

#[test]
fn attack_30_only_reachable_servers_enter_the_table_and_they_leave_when_they_stop_serving() {
    let mut script = Script::new(|_| {});
    let client = script.world.connect_as(1, Side::Listener, ProtocolSet::default());
    script.kad.handle_server(&mut script.world.cx(), client, true);
    assert_eq!(script.kad.table.len(), 0, "says that it serves, but not over identify");
    let unknown = script.world.know(2);
    script.kad.handle_server(&mut script.world.cx(), unknown, true);
    assert_eq!(script.kad.table.len(), 0, "never connected");
    let server = script.join(3);
    assert!(script.kad.table.contains(server));
    script.kad.handle_server(&mut script.world.cx(), server, false);
    assert_eq!(script.kad.table.len(), 0);
    let server = script.join(4);
    find(&mut script, b"key");
    let asked = find(&mut script, b"other");
    script.kad.handle_request_failed(&mut script.world.cx(), asked[0].id, RequestError::Unsupported);
    assert!(!script.kad.table.contains(server), "does not speak the protocol after all");
}

#[test]
fn a_dead_peer_leaves_and_a_connected_one_takes_its_place() {
    let mut script = Script::new(|config| config.k = 1);
    let local = script.kad.table.local();
    let far = |n: &u64| local.distance(Position::of(TestWorld::peer_id(*n).as_bytes())).common_prefix() == 0;
    let mut far = (1..100).filter(far);
    let [first, second] = [far.next().unwrap(), far.next().unwrap()].map(|n| script.join(n));
    assert!(script.kad.table.contains(first) && !script.kad.table.contains(second));
    for _ in 0..2 {
        for asked in find(&mut script, b"key") {
            script.kad.handle_request_failed(&mut script.world.cx(), asked.id, RequestError::Timeout);
        }
    }
    assert!(!script.kad.table.contains(first) && script.kad.table.contains(second));
}

#[test]
fn the_only_server_comes_back_to_an_empty_table() {
    let mut script = Script::new(|_| {});
    let only = script.join(1);
    for key in [&b"one"[..], b"two"] {
        for asked in find(&mut script, key) {
            script.kad.handle_request_failed(&mut script.world.cx(), asked.id, RequestError::Timeout);
        }
    }
    assert!(!script.kad.table.contains(only));
    let mut seconds = 0..60;
    while !script.kad.table.contains(only) {
        assert!(seconds.next().is_some(), "it is connected, and nobody else is known");
        script.pass(Duration::from_secs(1));
    }
    script.pass(Duration::from_secs(1));
    assert!(!script.done().asked.is_empty(), "a first refresh");
}

#[test]
fn a_connected_server_that_comes_to_itself_is_back_before_the_next_refresh() {
    let mut script = Script::new(|_| {});
    let [sleeper, other] = [1, 2].map(|n| script.join(n));
    script.play(Duration::from_secs(60));
    let fail = |script: &mut Script, asked: &[Asked]| {
        for asked in asked {
            if asked.peer == TestWorld::peer_id(1) {
                script.kad.handle_request_failed(&mut script.world.cx(), asked.id, RequestError::Timeout);
            } else {
                script.answer(asked, |_| {});
            }
        }
    };
    for key in [&b"one"[..], b"two"] {
        let asked = find(&mut script, key);
        fail(&mut script, &asked);
    }
    let is_known = |script: &Script| [sleeper, other].map(|peer| script.kad.table.contains(peer));
    assert_eq!(is_known(&script), [false, true]);
    script.pass(Duration::from_secs(35));
    let asked = script.done().asked;
    assert_eq!(asked.iter().map(|asked| asked.peer).collect::<Vec<_>>(), [TestWorld::peer_id(1)]);
    fail(&mut script, &asked);
    assert_eq!(is_known(&script), [false, true], "it has not answered");
    script.play(Duration::from_secs(35));
    assert_eq!(is_known(&script), [true, true]);
    script.pass(Duration::from_secs(60));
    assert!(script.done().asked.is_empty(), "nobody is doubted any more");
}

#[test]
fn silent_peers_are_checked_and_dropped_but_not_while_this_node_is_offline() {
    let mut script = Script::new(|_| {});
    let (gone, stays) = (script.join(1), script.join(2));
    script.pass(Duration::from_secs(1));
    script.done();
    script.world.disconnect(gone);
    script.kad.handle_peer_down(&mut script.world.cx(), gone);
    script.pass(Duration::from_secs(1_000));
    script.refresh();
    script.play(Duration::from_secs(2_000));
    assert_eq!([gone, stays].map(|peer| script.kad.table.contains(peer)), [false, true]);
    script.world.disconnect(stays);
    script.play(Duration::from_secs(3_600));
    assert!(script.kad.table.contains(stays), "offline: nothing is known of others");
}

#[test]
fn queries_beyond_the_limit_wait_and_all_end() {
    let mut script = Script::new(|_| {});
    script.join(1);
    script.done();
    for n in 0..3_000u32 {
        script.kad.find_closest(&mut script.world.cx(), Bytes::copy_from_slice(&n.to_be_bytes()));
    }
    let mut ended = script.events().len();
    assert!(ended >= 3_000 - 1_024 - 16, "what does not fit ends at once: {ended}");
    while ended < 3_000 {
        let asked = script.done().asked;
        assert!(!asked.is_empty() && asked.len() <= 17, "{}", asked.len());
        asked.iter().for_each(|asked| script.answer(asked, |_| {}));
        ended += script.events().len();
    }
}

#[test]
fn a_cancelled_query_raises_nothing() {
    let mut script = Script::new(|_| {});
    script.join(1);
    script.done();
    let query = script.kad.find_closest(&mut script.world.cx(), Bytes::from_static(b"key"));
    let asked = script.done().asked;
    script.kad.cancel(&mut script.world.cx(), query);
    script.answer(&asked[0], |_| {});
    script.pass(Duration::from_secs(100));
    assert!(script.events().is_empty());
}

#[test]
fn connections_to_the_next_candidates_are_opened_ahead_but_requests_are_not() {
    let mut script = Script::new(|config| config.alpha = 3);
    script.join(1);
    let asked = find(&mut script, b"key");
    script.answer(&asked[0], |msg| msg.closer = (2..=12).map(kad_peer).collect());
    let dials = script.world.actions().into_iter().filter(|action| matches!(action, Action::Dial { .. })).count();
    assert_eq!(dials, 11);
    let open = script.kad.requests.len();
    assert_eq!(open, 3);
}

#[test]
fn a_full_book_keeps_whom_a_lookup_has_heard_of_until_it_ends() {
    for cancelled in [false, true] {
        // More than the k nearest, whom dials under way would keep in the book as well.
        let heard = 2..=40;
        let mut script = Script::new(|config| (config.alpha, config.k) = (3, 20));
        script.join(1);
        script.done();
        let before = script.world.peers.pins();
        let query = script.kad.find_closest(&mut script.world.cx(), Bytes::from_static(b"key"));
        let asked = script.done().asked;
        script.answer(&asked[0], |msg| msg.closer = heard.clone().map(kad_peer).collect());
        (10_000..14_000).for_each(|n| _ = script.world.know(n));
        let forgotten = heard.filter(|n| script.world.peers.find(&TestWorld::peer_id(*n)).is_none()).count();
        assert_eq!(forgotten, 0);
        assert_eq!(script.world.peers.pins(), before + 40);
        if cancelled {
            script.kad.cancel(&mut script.world.cx(), query);
        } else {
            script.pass(Duration::from_secs(61));
            assert!(closest(&mut script).is_some());
        }
        assert_eq!(script.world.peers.pins(), before);
    }
}
