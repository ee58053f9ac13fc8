//! The peer book by packet script.

use alloc::format;
use alloc::vec;

use proptest::prelude::*;

use super::*;

use crate::action::{StoreRequest, Table, Write};
use crate::fuzzing::TestWorld;
use crate::fuzzing::world::ALL_PROTOCOLS;
use crate::id::Owner;
use crate::input::Row;
use crate::wire::Message;
use crate::wire::registry::RegistryMessage;

fn question() -> Message {
    RegistryMessage::Compare { ranges: Vec::new() }.into()
}

impl TestWorld {
    fn ask(&mut self, peer: PeerIx) -> RequestId {
        let id = RequestId::new(Owner::Sync, self.out.next_id());
        self.peers.request(self.now, &self.config, &mut self.out, peer, id, question());
        id
    }

    fn tell_time(&mut self, by: Duration) -> Vec<Action> {
        self.advance(by);
        self.peers.handle_timeout(self.now, self.unix, &self.config, &mut self.out, |_| false);
        assert!(self.peers.next_deadline().is_none_or(|next| next > self.now), "spinning");
        self.actions()
    }

    fn up(&mut self, n: u64, side: Side) {
        let (id, addr) = (Self::peer_id(n), Self::addr(n));
        self.peers.handle_connected(self.now, &self.config, &mut self.out, id, addr, side);
    }

    fn down(&mut self, n: u64) {
        self.peers.handle_disconnected(self.now, &self.config, &mut self.out, Self::peer_id(n));
    }

    fn dial_failed(&mut self, dial: DialId) {
        let why = DialError::Unreachable;
        self.peers.handle_dial_failed(self.now, &self.config, &mut self.out, dial, why);
    }

    fn identify(&mut self, n: u64, listen_addrs: Vec<Multiaddr>) {
        let info = Identity { protocols: ALL_PROTOCOLS, agent: "x".repeat(500), listen_addrs };
        self.peers.handle_identified(self.now, &self.config, Self::peer_id(n), info);
    }

    fn offend(&mut self, peer: PeerIx, offence: Offence) {
        self.peers.charge(self.now, &self.config, &mut self.out, peer, offence);
    }
}

fn dials(actions: &[Action]) -> Vec<(DialId, Option<PeerId>, Vec<Multiaddr>)> {
    let dial = |action: &Action| {
        let Action::Dial { dial, peer, addrs } = action else { return None };
        Some((*dial, *peer, addrs.clone()))
    };
    actions.iter().filter_map(dial).collect()
}

fn writes(actions: Vec<Action>) -> Vec<Write> {
    let commit = |action| {
        let Action::Store { request: StoreRequest::Commit(writes), .. } = action else { return None };
        Some(writes)
    };
    actions.into_iter().filter_map(commit).flatten().collect()
}

fn disconnects(actions: &[Action]) -> usize {
    actions.iter().filter(|action| matches!(action, Action::Disconnect { .. })).count()
}

fn quiet() -> Config {
    let mut config = Config::default();
    config.peers.min_connections = 0;
    config
}

fn addr(text: &str) -> Multiaddr {
    text.parse().unwrap()
}

#[test]
fn a_request_waits_for_the_dial_and_leaves_in_order() {
    let mut world = TestWorld::new(quiet());
    let peer = world.know(1);
    let first = world.ask(peer);
    world.peers.notify(world.now, &world.config, &mut world.out, peer, question());
    let second = world.ask(peer);
    assert_eq!(dials(&world.actions()).len(), 1);
    world.up(1, Side::Dialer);
    let actions = world.actions();
    let [Action::Request { id: a, .. }, Action::Send { .. }, Action::Request { id: b, .. }] = &actions[..] else {
        panic!("unexpected {actions:?}");
    };
    assert_eq!((*a, *b), (first, second));
    let third = world.ask(peer);
    assert!(matches!(&world.actions()[..], [Action::Request { id, .. }] if *id == third));
    assert_eq!(world.peer_events(), [PeerEvent::Up { peer, side: Side::Dialer }]);
}

#[test]
fn a_request_to_an_unreachable_peer_fails_by_event() {
    let mut world = TestWorld::new(quiet());
    let failed = |id| PeerEvent::RequestFailed { id, why: RequestError::Unreachable };
    let nowhere = world.peers.intern(TestWorld::peer_id(1));
    let id = world.ask(nowhere);
    assert_eq!(world.peer_events(), [failed(id)]);
    let forgotten = world.ask(PeerIx::NOBODY);
    assert_eq!(world.peer_events(), [failed(forgotten)]);

    let peer = world.know(2);
    let id = world.ask(peer);
    let dial = dials(&world.actions())[0].0;
    assert_eq!(world.peer_events(), []);
    world.dial_failed(dial);
    assert_eq!(world.peer_events(), [failed(id)]);
    assert!(!world.peers.is_reachable(world.now, peer));
    let id = world.ask(peer);
    assert_eq!(world.peer_events(), [failed(id)]);
    assert!(world.actions().is_empty(), "in back-off nothing is dialled");
    world.advance(world.config.peers.max_backoff);
    assert!(world.peers.is_reachable(world.now, peer));
    world.dial_failed(dial);
    assert_eq!(world.peer_events(), []);
}

#[test]
fn a_waiting_request_ends_by_its_deadline_though_the_dial_does_not() {
    let mut world = TestWorld::new(quiet());
    let peer = world.know(1);
    let id = world.ask(peer);
    world.tell_time(dial::WAIT_DEADLINE);
    assert_eq!(world.peer_events(), [PeerEvent::RequestFailed { id, why: RequestError::Timeout }]);
    world.tell_time(dial::DIAL_DEADLINE);
    assert_eq!(world.peers.load(), (1, 0, 0));
    assert_eq!(world.peers.next_deadline(), None);
}

#[test]
fn dials_in_flight_and_queued_are_bounded_and_all_requests_end() {
    let mut world = TestWorld::new(quiet());
    let asked: Vec<_> = (0..400)
        .map(|n| {
            let peer = world.know(n);
            world.ask(peer)
        })
        .collect();
    let started = dials(&world.actions());
    assert_eq!(started.len(), dial::MAX_IN_FLIGHT);
    let mut ended: Vec<_> = world.peer_events();
    assert_eq!(ended.len(), 400 - dial::MAX_IN_FLIGHT - dial::MAX_QUEUED);
    let overloaded =
        |event: &PeerEvent| matches!(event, PeerEvent::RequestFailed { why: RequestError::Overloaded, .. });
    assert!(ended.iter().all(overloaded), "that this node is busy says nothing of the peers");
    let mut open = started;
    while let Some((dial, ..)) = open.pop() {
        world.dial_failed(dial);
        open.extend(dials(&world.actions()));
        assert!(open.len() <= dial::MAX_IN_FLIGHT);
    }
    ended.extend(world.peer_events());
    assert_eq!(ended.len(), asked.len());
}

#[test]
fn an_address_with_an_id_knows_its_peer() {
    let mut world = TestWorld::new(quiet());
    let id = TestWorld::peer_id(1);
    let bare = TestWorld::addr(1);
    let whole = addr(&format!("{bare}/p2p/{id}"));
    let dial = world.peers.dial_addr(world.now, &world.config, &mut world.out, whole.clone());
    assert_eq!(dials(&world.actions()), [(dial, Some(id), vec![bare])]);
    world.up(1, Side::Dialer);
    let peer = world.peers.find(&id).unwrap();
    let up = PeerEvent::Up { peer, side: Side::Dialer };
    assert_eq!(world.peer_events(), [up, PeerEvent::Dialled { dial, peer: Some(peer) }]);
    let again = world.peers.dial_addr(world.now, &world.config, &mut world.out, whole);
    assert_eq!(world.peer_events(), [PeerEvent::Dialled { dial: again, peer: Some(peer) }]);
}

#[test]
fn a_dial_by_address_ends_when_the_peer_turns_out_to_be_connected() {
    let mut world = TestWorld::new(quiet());
    world.up(1, Side::Listener);
    world.peer_events();
    let dial = world.peers.dial_addr(world.now, &world.config, &mut world.out, TestWorld::addr(1));
    assert_eq!(world.peer_events(), []);
    world.up(1, Side::Dialer);
    let peer = world.peers.find(&TestWorld::peer_id(1));
    assert_eq!(world.peer_events(), [PeerEvent::Dialled { dial, peer }]);
}

#[test]
fn hopeless_dials_by_address_end_at_once() {
    let mut world = TestWorld::new(quiet());
    let own = world.local.id;
    for text in ["/ip4/10.0.0.1/tcp/0", "/ip4/0.0.0.0/tcp/1", &format!("/ip4/10.0.0.1/tcp/1/p2p/{own}")] {
        let dial = world.peers.dial_addr(world.now, &world.config, &mut world.out, addr(text));
        assert_eq!(world.peer_events(), [PeerEvent::Dialled { dial, peer: None }]);
    }
    assert!(world.actions().is_empty());
}

#[test]
fn one_wrong_block_bans_until_the_ban_expires_and_across_a_restart() {
    let mut world = TestWorld::new(quiet());
    let peer = world.connect(1);
    let id = TestWorld::peer_id(1);
    world.offend(peer, Offence::BadBlock);
    assert_eq!(world.peer_events(), [PeerEvent::Banned { peer }, PeerEvent::Down { peer }]);
    let actions = world.actions();
    let event = Event::PeerMisbehaved { peer: id, offence: Offence::BadBlock, banned: true };
    let [Action::Emit(told), Action::Disconnect { why: DisconnectReason::Banned, .. }] = &actions[..] else {
        panic!("unexpected {actions:?}");
    };
    assert_eq!(*told, event);
    let rows = writes(world.tell_time(Duration::ZERO));
    let [row] = &rows[..] else { panic!("unexpected {rows:?}") };
    assert_eq!(row.table, Table::Ban);

    let mut restarted = TestWorld::new(quiet());
    restarted.advance(Duration::from_secs(60));
    let recovered = Row { table: row.table, key: row.key.clone(), value: row.value.clone().unwrap() };
    restarted.peers.handle_recovered(restarted.now, restarted.unix, &restarted.config, recovered);
    restarted.up(1, Side::Listener);
    assert!(matches!(&restarted.actions()[..], [Action::Disconnect { why: DisconnectReason::Banned, .. }]));
    assert_eq!(restarted.peer_events(), []);
    restarted.down(1);

    let rest = restarted.config.peers.ban_time - Duration::from_secs(60);
    let rows = writes(restarted.tell_time(rest));
    assert_eq!(rows, [Write { table: Table::Ban, key: row.key.clone(), value: None }]);
    restarted.up(1, Side::Listener);
    assert!(matches!(restarted.peer_events()[..], [PeerEvent::Up { .. }]));
}

#[test]
fn smaller_offences_add_up_and_fade() {
    let mut world = TestWorld::new(quiet());
    let peer = world.connect(1);
    for _ in 0..9 {
        world.offend(peer, Offence::Malformed(Protocol::Kad));
    }
    assert!(world.peers.is_connected(peer));
    assert_eq!(world.peers.views(world.now, &world.config)[0].offences, 90);
    world.advance(world.config.peers.offence_half_life);
    world.offend(peer, Offence::BadSignature);
    assert!(world.peers.is_connected(peer));
    world.offend(peer, Offence::Malformed(Protocol::Kad));
    assert!(world.peers.is_banned(world.now, peer));
}

#[test]
fn blocked_and_not_allowed_peers_are_turned_away() {
    let mut config = quiet();
    config.peers.allow = vec![TestWorld::peer_id(1), TestWorld::peer_id(2)];
    config.peers.block = vec![TestWorld::peer_id(2)];
    let mut world = TestWorld::new(config);
    for (n, welcome) in [(1, true), (2, false), (3, false)] {
        world.up(n, Side::Listener);
        assert_eq!(world.peer_events().len(), usize::from(welcome));
        assert_eq!(world.actions().len(), usize::from(!welcome));
        let peer = world.know(n + 10);
        world.ask(peer);
        assert!(dials(&world.actions()).is_empty());
        assert_eq!(world.peer_events().len(), 1);
    }
}

#[test]
fn too_few_connections_lead_to_dials_and_a_lookup_and_never_to_spinning() {
    let mut config = Config::default();
    config.peers.min_connections = 4;
    let mut world = TestWorld::new(config);
    world.peers.add_bootstrap(world.now, &world.config, &mut world.out, TestWorld::addr(1));
    let first = dials(&world.actions());
    assert_eq!(first.len(), 1);
    let mut tries = vec![];
    let (mut dial, start) = (first[0].0, world.now);
    let mut wakes = 0;
    while world.now.since(start) < Duration::from_secs(3600) {
        world.dial_failed(dial);
        loop {
            let next = world.peers.next_deadline().expect("tries again");
            let by = next.since(world.now);
            wakes += 1;
            if let Some((again, ..)) = dials(&world.tell_time(by)).first() {
                dial = *again;
                break;
            }
        }
        tries.push(world.now);
    }
    assert!((80..250).contains(&tries.len()), "about twice a minute while alone: {}", tries.len());
    assert!(wakes < 4 * tries.len(), "{wakes}");
    world.up(1, Side::Dialer);
    for n in 10..20 {
        world.know(n);
    }
    world.actions();
    world.peer_events();
    let actions = world.tell_time(Duration::from_secs(2));
    assert_eq!(dials(&actions).len(), 3, "as many as are missing");
    assert_eq!(world.peer_events(), [PeerEvent::Lonely]);
}

#[test]
fn an_entrance_and_an_old_acquaintance_are_called_on_though_there_are_enough_connections() {
    let mut world = TestWorld::new(Config::default());
    world.peers.add_bootstrap(world.now, &world.config, &mut world.out, TestWorld::addr(1));
    world.up(1, Side::Dialer);
    for n in 1..40 {
        world.connect(n);
    }
    world.down(1);
    world.down(2);
    world.actions();
    world.peer_events();
    let (start, mut called) = (world.now, vec![]);
    let is_of_peer = |(_, peer, _): &(_, Option<PeerId>, _)| *peer == Some(TestWorld::peer_id(2));
    while !called.iter().any(is_of_peer) {
        let next = world.peers.next_deadline().expect("calls some time");
        let dials = dials(&world.tell_time(next.since(world.now)));
        dials.iter().filter(|(_, peer, _)| peer.is_some()).for_each(|(dial, ..)| world.dial_failed(*dial));
        called.extend(dials);
        assert!(world.now.since(start) <= world.config.peers.max_backoff * 10);
    }
    let entrance = called.first().expect("an entrance is tried each time");
    assert_eq!((entrance.1, &entrance.2[..]), (None, &[TestWorld::addr(1)][..]), "whoever is there now");

    let (stranger, addr) = (TestWorld::peer_id(50), TestWorld::addr(1));
    world.peers.handle_connected(world.now, &world.config, &mut world.out, stranger, addr, Side::Dialer);
    world.identify(50, vec![]);
    let peer = world.peers.find(&stranger).unwrap();
    let events = world.peer_events();
    assert!(events.contains(&PeerEvent::Visited { peer }), "{events:?}");
}

#[test]
fn the_more_peers_a_node_knows_the_less_often_it_calls() {
    let calls = |known: u64| {
        let mut world = TestWorld::new(Config::default());
        (0..known).for_each(|n| {
            world.know(n);
        });
        for n in 0..20 {
            world.connect(n);
        }
        world.down(0);
        let (start, mut calls) = (world.now, 0);
        while let Some(next) = world.peers.next_deadline().filter(|at| at.since(start) < Duration::from_secs(100_000)) {
            for (dial, ..) in dials(&world.tell_time(next.since(world.now))) {
                calls += 1;
                world.dial_failed(dial);
            }
        }
        calls
    };
    let (few, many) = (calls(20), calls(1_000));
    assert!((200..500).contains(&few), "{few}");
    assert!((4..25).contains(&many), "{many}");
}

#[test]
fn too_many_connections_are_trimmed_after_the_grace_by_value() {
    let mut config = quiet();
    (config.peers.low_connections, config.peers.max_connections) = (3, 5);
    let mut world = TestWorld::new(config);
    let plain = ProtocolSet { registry: false, ..ALL_PROTOCOLS };
    let peers: Vec<_> = (0..7)
        .map(|n| {
            world.advance(Duration::from_millis(1));
            world.connect_as(n, Side::Listener, if n == 3 { plain } else { ALL_PROTOCOLS })
        })
        .collect();
    world.peers.pin(peers[6]);
    let grace = world.config.peers.trim_grace;
    assert_eq!(disconnects(&world.tell_time(grace / 2)), 0);
    world.advance(grace);
    let keep = peers[5];
    world.peers.handle_timeout(world.now, world.unix, &world.config, &mut world.out, |peer| peer == keep);
    let left: Vec<_> = world.peers.connected().collect();
    assert_eq!(left, [peers[0], peers[5], peers[6]]);
    assert_eq!(world.peers.next_deadline(), None);
}

#[test]
fn beyond_twice_the_maximum_inbound_connections_are_closed_at_once() {
    let mut config = quiet();
    config.peers.max_connections = 2;
    let mut world = TestWorld::new(config);
    for n in 0..4 {
        world.connect_as(n, Side::Listener, ALL_PROTOCOLS);
    }
    world.up(4, Side::Listener);
    assert!(matches!(&world.actions()[..], [Action::Disconnect { why: DisconnectReason::Trimmed, .. }]));
    assert_eq!(world.peers.connected().count(), 4);
}

#[test]
fn who_waits_for_room_is_dialled_as_soon_as_a_connection_ends() {
    let mut config = quiet();
    config.peers.max_connections = 2;
    let mut world = TestWorld::new(config);
    for n in 0..4 {
        world.connect(n);
    }
    let wanted = world.know(4);
    world.ask(wanted);
    assert!(dials(&world.actions()).is_empty());
    world.down(0);
    let dialled: Vec<_> = dials(&world.actions()).into_iter().map(|(_, peer, _)| peer).collect();
    assert_eq!(dialled, [Some(TestWorld::peer_id(4))]);
}

#[test]
fn a_trimmed_peer_can_be_dialled_again_at_once() {
    let mut config = quiet();
    (config.peers.low_connections, config.peers.max_connections) = (0, 1);
    let mut world = TestWorld::new(config);
    let peers = [world.connect(1), world.connect(2)];
    world.tell_time(world.config.peers.trim_grace);
    assert!(peers.iter().all(|peer| !world.peers.is_connected(*peer)));
    for n in [1, 2] {
        world.down(n);
    }
    world.actions();
    assert!(peers.iter().all(|peer| world.peers.is_reachable(world.now, *peer)));
}

#[test]
fn a_node_under_pressure_shortens_the_grace_before_it_must_refuse_newcomers() {
    let mut config = quiet();
    (config.peers.low_connections, config.peers.max_connections) = (3, 6);
    let mut world = TestWorld::new(config);
    for n in 0..10 {
        world.connect_as(n, Side::Listener, ALL_PROTOCOLS);
    }
    world.actions();
    let grace = world.config.peers.trim_grace;
    assert_eq!(disconnects(&world.tell_time(grace / 10)), 7);
    world.up(10, Side::Listener);
    assert!(world.actions().is_empty(), "there is room for a newcomer");
}

/// How often peer 1, who hangs up each time, is dialled within ten minutes.
fn tries_at_who_hangs_up(world: &mut TestWorld) -> usize {
    let (start, mut tries) = (world.now, 0);
    while world.now.since(start) < Duration::from_secs(600) {
        let by = world.peers.next_deadline().expect("tries again").since(world.now);
        if !dials(&world.tell_time(by)).is_empty() {
            tries += 1;
            world.up(1, Side::Dialer);
            world.down(1);
        }
    }
    tries
}

#[test]
fn a_bootstrap_peer_that_hangs_up_at_once_is_tried_again_later() {
    let mut config = Config::default();
    config.peers.min_connections = 1;
    let mut world = TestWorld::new(config);
    world.peers.add_bootstrap(world.now, &world.config, &mut world.out, TestWorld::addr(1));
    assert_eq!(dials(&world.actions()).len(), 1);
    world.up(1, Side::Dialer);
    world.down(1);
    let tries = 1 + tries_at_who_hangs_up(&mut world);
    assert!((15..50).contains(&tries), "less and less often, down to twice a minute: {tries}");
}

#[test]
fn a_bootstrap_peer_of_two_addresses_is_left_alone_at_both() {
    let mut config = Config::default();
    config.peers.min_connections = 1;
    let mut world = TestWorld::new(config);
    let named = addr(&format!("{}/p2p/{}", TestWorld::addr(101), TestWorld::peer_id(1)));
    for entrance in [TestWorld::addr(1), named] {
        world.peers.add_bootstrap(world.now, &world.config, &mut world.out, entrance);
    }
    world.up(1, Side::Dialer);
    world.down(1);
    world.actions();
    world.peers.add_bootstrap(world.now, &world.config, &mut world.out, TestWorld::addr(1));
    assert!(dials(&world.actions()).is_empty(), "known");
    let tries = tries_at_who_hangs_up(&mut world);
    assert!((15..100).contains(&tries), "less and less often at each: {tries}");
}

#[test]
fn an_entrance_that_lets_go_is_left_alone_longer_than_others_that_do() {
    let mut world = TestWorld::new(quiet());
    world.peers.add_bootstrap(world.now, &world.config, &mut world.out, TestWorld::addr(1));
    let [entrance, other] = [1, 2].map(|n| {
        let peer = world.connect(n);
        world.disconnect(peer);
        peer
    });
    for (lasted, entrance_is_reachable) in [(Duration::from_secs(2), false), (Duration::from_secs(5), true)] {
        world.advance(Duration::from_secs(600));
        for n in [1, 2] {
            world.connect(n);
        }
        world.advance(lasted);
        for peer in [entrance, other] {
            world.disconnect(peer);
        }
        assert_eq!(world.peers.is_reachable(world.now, entrance), entrance_is_reachable);
        assert!(world.peers.is_reachable(world.now, other));
    }
}

#[test]
fn confirmed_addresses_are_stored_together_and_lead_back_after_a_restart() {
    let mut world = TestWorld::default();
    for n in 0..3 {
        world.connect(n);
    }
    let rows = writes(world.tell_time(Duration::from_secs(5)));
    assert_eq!(rows.len(), 3);
    world.connect(8);
    assert!(writes(world.tell_time(Duration::from_secs(30))).is_empty(), "at most once a minute");
    assert_eq!(writes(world.tell_time(Duration::from_secs(30))).len(), 1);

    let again = dials(&restarted(Config::default(), rows).tell_time(Duration::from_secs(1)));
    let mut found: Vec<_> = again.into_iter().map(|(_, peer, addrs)| (peer.unwrap(), addrs)).collect();
    found.sort();
    let mut expected: Vec<_> = (0..3).map(|n| (TestWorld::peer_id(n), vec![TestWorld::addr(n)])).collect();
    expected.sort();
    assert_eq!(found, expected);
}

/// A node that has forgotten everything but these rows.
fn restarted(config: Config, rows: impl IntoIterator<Item = Write>) -> TestWorld {
    let mut world = TestWorld::new(config);
    for row in rows {
        let row = Row { table: row.table, key: row.key, value: row.value.unwrap() };
        world.peers.handle_recovered(world.now, world.unix, &world.config, row);
    }
    world
}

#[test]
fn who_only_called_is_stored_by_its_own_word_and_found_again_after_those_that_were_dialled() {
    let mut config = Config::default();
    config.peers.min_connections = 2;
    let mut world = TestWorld::new(config.clone());
    world.connect(1);
    for n in 2..5 {
        world.up(n, Side::Listener);
        world.identify(n, vec![addr(&format!("/ip4/8.8.8.{n}/tcp/1"))]);
    }
    let hearsay = [addr("/ip4/9.9.9.9/tcp/1")].into();
    let peer = world.peers.find(&TestWorld::peer_id(2)).unwrap();
    world.peers.add_addrs(&world.config, peer, &hearsay);
    world.up(5, Side::Listener);
    world.identify(5, vec![]);
    let rows = writes(world.tell_time(Duration::from_secs(5)));
    assert_eq!(rows.len(), 4, "nothing of who has told nothing");

    let mut again = restarted(config, rows);
    let found = dials(&again.tell_time(Duration::from_secs(1)));
    let found: Vec<_> = found.into_iter().map(|(_, peer, addrs)| (peer.unwrap(), addrs)).collect();
    assert_eq!(found[0], (TestWorld::peer_id(1), vec![TestWorld::addr(1)]));
    let told = |n| (TestWorld::peer_id(n), vec![addr(&format!("/ip4/8.8.8.{n}/tcp/1"))]);
    assert!((2..5).any(|n| found[1] == told(n)), "{found:?}");
}

#[test]
fn stored_addresses_of_who_only_called_give_way_to_those_that_were_dialled() {
    let mut world = TestWorld::new(quiet());
    let mut stored = BTreeSet::new();
    let mut meet = |world: &mut TestWorld, peers: core::ops::Range<u64>, side| {
        for n in peers {
            world.connect_as(n, side, ALL_PROTOCOLS);
        }
        for write in writes(world.tell_time(Duration::from_secs(60))) {
            if write.value.is_some() {
                stored.insert(write.key)
            } else {
                stored.remove(&write.key)
            };
        }
        stored.len()
    };
    assert_eq!(meet(&mut world, 0..200, Side::Dialer), 200);
    assert_eq!(meet(&mut world, 200..300, Side::Listener), 256);
    assert_eq!(meet(&mut world, 300..350, Side::Dialer), 256);
    let is_stored = |n| stored.iter().any(|key| key[..] == *TestWorld::peer_id(n).as_bytes());
    assert!((0..200).chain(300..350).all(is_stored));
}

#[test]
fn a_peer_that_hangs_up_at_once_is_not_redialled_at_once() {
    let mut world = TestWorld::new(quiet());
    let peer = world.know(1);
    let mut waits = vec![];
    for _ in 0..6 {
        world.peers.dial(world.now, &world.config, &mut world.out, peer);
        assert_eq!(dials(&world.actions()).len(), 1);
        world.up(1, Side::Dialer);
        world.down(1);
        let start = world.now;
        while !world.peers.is_reachable(world.now, peer) {
            world.advance(Duration::from_millis(100));
        }
        waits.push(world.now.since(start));
    }
    assert!(waits[5] >= Duration::from_secs(16), "{waits:?}");
}

#[test]
fn attack_13_bad_addresses_are_dropped_and_the_peer_kept() {
    let mut world = TestWorld::new(quiet());
    let (id, other) = (TestWorld::peer_id(1), TestWorld::peer_id(2));
    let peer = world.peers.intern(id);
    let good = addr("/ip4/8.8.8.8/tcp/1");
    let long = addr(&format!("/dns4/{}/tcp/1", "x".repeat(300)));
    let bad = [
        Multiaddr::empty(),
        addr("/ip4/8.8.8.8"),
        addr("/p2p-circuit"),
        addr(&format!("/p2p/{id}")),
        addr(&format!("{good}/p2p/{other}")),
        long,
    ];
    world.peers.add_addrs(&world.config, peer, &bad.into());
    assert!(world.peers.addrs(peer).is_empty());
    world.peers.add_addrs(&world.config, peer, &[addr(&format!("{good}/p2p/{id}")), good.clone()].into());
    assert_eq!(world.peers.addrs(peer), [good]);
    let many: Vec<_> = (1..=10_000).map(|n| addr(&format!("/ip4/9.9.{}.{}/tcp/1", n >> 8, n & 255))).collect();
    world.peers.add_addrs(&world.config, peer, &many.into());
    assert_eq!(world.peers.addrs(peer).len(), addr::MAX_ADDRS);
    assert_eq!(world.peers.id(peer), Some(id));
}

#[test]
fn attack_14_private_and_relayed_addresses_are_filtered_in_a_public_network() {
    let mut config = quiet();
    config.peers.allow_private_addrs = false;
    let mut world = TestWorld::new(config);
    let id = TestWorld::peer_id(1);
    let peer = world.peers.intern(id);
    let public = [addr("/ip4/8.8.8.8/tcp/1"), addr("/dns4/node.example/tcp/1")];
    let hidden = [
        addr("/ip4/10.0.0.1/tcp/1"),
        addr("/ip4/127.0.0.1/tcp/1"),
        addr("/ip6/fe80::1/tcp/1"),
        addr(&format!("/ip4/8.8.8.8/tcp/2/p2p/{}/p2p-circuit", TestWorld::peer_id(3))),
    ];
    world.peers.add_addrs(&world.config, peer, &hidden.clone().into());
    world.peers.add_addrs(&world.config, peer, &public.clone().into());
    assert_eq!(world.peers.addrs(peer), public);
    world.up(1, Side::Listener);
    world.identify(1, hidden.to_vec());
    assert!(world.peers.addrs(peer).is_empty());
}

#[test]
fn attack_30_unreachable_peers_are_forgotten_before_reachable_ones() {
    let mut config = quiet();
    config.peers.max_known = 16;
    let mut world = TestWorld::new(config);
    let reached = world.connect(0);
    world.advance(LASTING_CONNECTION);
    world.disconnect(reached);
    let invented: Vec<_> = (1..=15).map(|n| world.know(n)).collect();
    for peer in &invented {
        world.ask(*peer);
    }
    for (dial, ..) in dials(&world.actions()) {
        world.dial_failed(dial);
    }
    assert!(invented.iter().all(|peer| !world.peers.is_reachable(world.now, *peer)));
    for n in 100..115 {
        world.know(n);
    }
    assert!(invented.iter().all(|peer| world.peers.id(*peer).is_none()));
    assert!(world.peers.is_reachable(world.now, reached));
    assert_eq!(world.peers.load().0, 16);
}

#[test]
fn attack_30_a_peer_that_stops_serving_is_reported() {
    let mut world = TestWorld::new(quiet());
    let peer = world.connect(1);
    let now = ProtocolSet { kad: false, ..ALL_PROTOCOLS };
    for _ in 0..2 {
        let info = Identity { protocols: now, ..Identity::default() };
        world.peers.handle_identified(world.now, &world.config, TestWorld::peer_id(1), info);
    }
    assert_eq!(world.peer_events(), [PeerEvent::Protocols { peer, was: ALL_PROTOCOLS, now }]);
    assert_eq!(world.peers.protocols(peer), now);
}

#[test]
fn attack_60_simultaneous_dials_and_duplicate_closes_count_once() {
    let mut world = TestWorld::new(quiet());
    let peer = world.know(1);
    let id = world.ask(peer);
    let dial = dials(&world.actions())[0].0;
    world.up(1, Side::Listener);
    world.up(1, Side::Dialer);
    world.dial_failed(dial);
    assert_eq!(world.peer_events(), [PeerEvent::Up { peer, side: Side::Listener }]);
    assert!(matches!(&world.actions()[..], [Action::Request { id: sent, .. }] if *sent == id));
    world.down(1);
    world.down(1);
    assert_eq!(world.peer_events(), [PeerEvent::Down { peer }]);

    world.up(1, Side::Listener);
    world.peer_events();
    world.peers.disconnect(&world.config, &mut world.out, peer);
    world.peers.disconnect(&world.config, &mut world.out, peer);
    assert_eq!(world.peer_events(), [PeerEvent::Down { peer }]);
    assert_eq!(world.actions().len(), 1);
    world.down(1);
    assert_eq!(world.peer_events(), []);
}

#[test]
fn attack_61_identify_is_capped() {
    let mut world = TestWorld::new(quiet());
    world.up(1, Side::Listener);
    let peer = world.peers.find(&TestWorld::peer_id(1)).unwrap();
    let listen_addrs = (1..=10_000).map(|n| addr(&format!("/ip4/9.9.{}.{}/tcp/1", n >> 8, n & 255))).collect();
    world.identify(1, listen_addrs);
    assert_eq!(world.peers.addrs(peer).len(), addr::MAX_ADDRS);
    assert_eq!(world.peers.views(world.now, &world.config)[0].agent.len(), MAX_AGENT);
    world.identify(2, vec![]);
    assert_eq!(world.peers.find(&TestWorld::peer_id(2)), None);
}

proptest! {
    #[test]
    fn a_connection_is_up_and_down_exactly_once(steps in proptest::collection::vec((0u64..4, 0u8..5), 0..120)) {
        let mut world = TestWorld::new(quiet());
        let mut up = BTreeSet::new();
        for (n, what) in steps {
            match what {
                0 => world.up(n, Side::Dialer),
                1 => world.up(n, Side::Listener),
                2 => world.down(n),
                3 => {
                    let peer = world.know(n);
                    world.ask(peer);
                }
                _ => {
                    let peer = world.know(n);
                    world.peers.disconnect(&world.config, &mut world.out, peer);
                }
            }
            for event in world.peer_events() {
                match event {
                    PeerEvent::Up { peer, .. } => prop_assert!(up.insert(peer)),
                    PeerEvent::Down { peer } => prop_assert!(up.remove(&peer)),
                    PeerEvent::Protocols { .. }
                    | PeerEvent::Banned { .. }
                    | PeerEvent::RequestFailed { .. }
                    | PeerEvent::Dialled { .. }
                    | PeerEvent::Lonely
                    | PeerEvent::Visited { .. } => {}
                }
            }
            prop_assert!(world.peers.connected().eq(up.iter().copied()));
        }
    }
}
