//! What the specification asks for, rule by rule.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec;
use alloc::vec::Vec;

use bytes::Bytes;

use super::bench::*;
use crate::action::{SendClass, StoreRequest, Table, Write};
use crate::catalog::Verdict;
use crate::command::CommandError;
use crate::config::Config;
use crate::event::OpError;
use crate::gossip::limits::MAX_RELAYED;
use crate::gossip::publish::RESERVE;
use crate::id::OpId;
use crate::input::{GossipVersion, Row, Side, StoreError, StoreResult};
use crate::peers::Offence;
use crate::time::Duration;
use crate::wire::Protocol;
use crate::wire::gossip::{Control, MAX_FRAME};

#[test]
fn subscriptions_are_told_to_new_and_to_old_peers() {
    let mut bench = Bench::new();
    bench.subscribe("a");
    bench.peer(1, Side::Dialer);
    let [hello] = &bench.taken()[..] else { panic!("one RPC") };
    assert_eq!(*hello.rpc, subscriptions(true, [topic("a")]));
    bench.subscribe("b");
    bench.subscribe("b");
    bench.unsubscribe("a");
    let sent: Vec<_> = bench.taken().into_iter().map(|sent| (*sent.rpc).clone()).collect();
    assert_eq!(sent, [subscriptions(true, [topic("b")]), subscriptions(false, [topic("a")])]);
}

#[test]
fn a_mesh_forms_at_the_next_heartbeat_and_is_repaired() {
    let (mut bench, peers) = Bench::joined("a", 20);
    assert!(bench.mesh("a").is_empty());
    bench.run(SECOND);
    let mesh = bench.mesh("a");
    assert_eq!(mesh.len(), 6);
    assert_eq!(bench.taken_by(grafts).len(), 6);
    assert!(peers.iter().all(|peer| bench.gossip.in_mesh(*peer) == mesh.contains(peer)));
    let refresh = Some(bench.gossip.grid.at(60));
    assert_eq!(bench.gossip.next_deadline(), refresh, "nothing else to do, no wake");
    bench.peer_gone(mesh[0]);
    assert_eq!(bench.gossip.next_deadline(), refresh, "five are enough");
    bench.receive(mesh[1], subscriptions(false, [topic("a")]));
    bench.run(SECOND);
    assert_eq!(bench.mesh("a").len(), 6);
}

#[test]
fn members_of_a_mesh_are_grafted_again_every_minute() {
    let (mut bench, _) = Bench::joined("a", 20);
    bench.subscribe("b");
    bench.run(SECOND * 58);
    let mut meshed: Vec<_> = bench.mesh("a").into_iter().map(|peer| bench.id(peer)).collect();
    meshed.sort();
    for _ in 0..3 {
        bench.taken();
        bench.run(SECOND * 60);
        let mut sent = bench.taken();
        sent.sort_by_key(|sent| sent.to);
        assert_eq!(sent.iter().map(|sent| sent.to).collect::<Vec<_>>(), meshed);
        assert!(sent.iter().all(|sent| *sent.rpc == graft("a") && sent.class == SendClass::Control));
    }
    let member = bench.mesh("a")[0];
    bench.receive(member, graft("a"));
    assert!(bench.taken().is_empty(), "a GRAFT from who is in the mesh changes nothing");
}

#[test]
fn who_grafts_subscribes_even_when_refused() {
    let mut bench = Bench::new();
    bench.subscribe("a");
    for n in 0..12 {
        let peer = bench.subscriber(n, Side::Listener, "a");
        bench.receive(peer, graft("a"));
    }
    let late = bench.peer(20, Side::Listener);
    bench.taken();
    bench.receive(late, graft("a"));
    assert_eq!(bench.taken_by(prunes), [bench.id(late)], "the mesh is full");
    bench.publish("a", b"x");
    assert!(bench.taken_by(publishes).contains(&bench.id(late)), "its subscription was lost");
}

#[test]
fn topics_are_listed_with_their_subscribers_and_who_of_them_is_in_the_mesh() {
    let (mut bench, peers) = Bench::joined("b", 7);
    bench.subscribe("c");
    bench.receive(peers[0], subscriptions(true, [topic("a")]));
    bench.run(SECOND);
    let mesh = bench.mesh("b");
    let listed = bench.gossip.topics().map(|(name, joined, peers)| (name.clone(), joined, peers.collect()));
    let listed: Vec<(_, _, Vec<_>)> = listed.collect();
    let in_mesh = peers.iter().map(|peer| (*peer, mesh.contains(peer))).collect();
    let all = [(topic("a"), false, vec![(peers[0], false)]), (topic("b"), true, in_mesh), (topic("c"), true, vec![])];
    assert_eq!(listed, all);
    bench.unsubscribe("c");
    bench.receive(peers[0], subscriptions(false, [topic("a")]));
    assert_eq!(bench.gossip.topics().map(|(name, ..)| name.clone()).collect::<Vec<_>>(), [topic("b")]);
}

#[test]
fn a_heartbeat_that_is_due_stays_due_while_inputs_come_first() {
    let (mut bench, _) = Bench::joined("a", 1);
    let due = bench.gossip.next_deadline().unwrap();
    for n in 1..10 {
        bench.world.advance(SECOND);
        bench.subscriber(n, Side::Dialer, "a");
        assert_eq!(bench.gossip.next_deadline(), Some(due));
    }
    bench.run(Duration::ZERO);
    assert_eq!(bench.mesh("a").len(), 6);
}

#[test]
fn the_mesh_keeps_outbound_connections() {
    let mut bench = Bench::new();
    bench.subscribe("a");
    for n in 0..6 {
        bench.subscriber(n, Side::Listener, "a");
    }
    bench.run(SECOND);
    assert_eq!(bench.mesh("a").len(), 6);
    let outbound: Vec<_> = (10..13).map(|n| bench.subscriber(n, Side::Dialer, "a")).collect();
    bench.run(SECOND);
    let mesh = bench.mesh("a");
    assert_eq!(mesh.len(), 8);
    assert_eq!(outbound.iter().filter(|peer| mesh.contains(peer)).count(), 2);
}

#[test]
fn joining_starts_with_the_fanout() {
    let mut bench = Bench::new();
    for n in 0..20 {
        bench.subscriber(n, Side::Dialer, "a");
    }
    bench.publish("a", b"x");
    let fanout = bench.gossip.topics["a"].fanout.as_ref().unwrap().peers.clone();
    assert_eq!(fanout.len(), 6);
    bench.subscribe("a");
    assert_eq!(bench.mesh("a"), fanout.into_iter().collect::<Vec<_>>());
}

#[test]
fn a_fanout_is_refilled_and_ends_after_a_minute() {
    let mut config = Config::default();
    config.gossip.flood_publish = false;
    let mut bench = Bench::with(config);
    for n in 0..4 {
        bench.subscriber(n, Side::Dialer, "a");
    }
    bench.publish("a", b"x");
    assert_eq!(bench.taken_by(publishes).len(), 4);
    for n in 4..20 {
        bench.subscriber(n, Side::Dialer, "a");
    }
    bench.run(SECOND);
    let fanout = &bench.gossip.topics["a"].fanout.as_ref().unwrap().peers;
    assert_eq!(fanout.len(), 6);
    bench.publish("a", b"y");
    assert_eq!(bench.taken_by(publishes).len(), 6);
    bench.run(Duration::from_secs(59));
    assert!(bench.gossip.topics.contains_key("a"));
    bench.run(Duration::from_secs(3));
    assert!(bench.gossip.topics.is_empty());
    assert_eq!(bench.gossip.next_deadline(), None);
}

#[test]
fn own_messages_flood_and_others_go_to_the_mesh() {
    let (mut bench, peers) = Bench::joined("a", 20);
    bench.run(SECOND);
    bench.taken();
    bench.publish("a", b"own");
    let sent = bench.taken();
    assert_eq!(sent.len(), 20);
    assert!(sent.iter().all(|sent| sent.class == SendClass::Own && sent.rpc.publish[0].data == b"own"[..]));
    assert_eq!(bench.published, [(Some(OpId(7)), Ok(20))]);

    let (inside, _) = bench.in_and_out("a", &peers);
    bench.receive(inside, publish(&[message(99, 1, "a", b"other")]));
    let sent = bench.taken();
    let mut expected: Vec<_> = bench.mesh("a").into_iter().filter(|peer| *peer != inside).collect();
    expected.sort();
    assert_eq!(
        sent.iter().map(|sent| sent.to).collect::<Vec<_>>(),
        expected.iter().map(|p| bench.id(*p)).collect::<Vec<_>>()
    );
    assert!(sent.iter().all(|sent| sent.class == SendClass::Forward));
}

#[test]
fn a_message_goes_neither_to_its_author_nor_to_those_who_sent_it() {
    let (mut bench, peers) = Bench::joined("a", 6);
    bench.run(SECOND);
    bench.verify_at_once = false;
    bench.taken();
    let msg = message(2, 1, "a", b"x");
    bench.receive(peers[0], one(&msg));
    bench.receive(peers[1], publish(&[msg]));
    bench.verify();
    let mut told = bench.taken_by(publishes);
    told.sort();
    let mut expected: Vec<_> = [3, 4, 5].map(|n: usize| bench.id(peers[n])).into();
    expected.sort();
    assert_eq!(told, expected);
    assert_eq!(bench.delivered.len(), 1);
}

#[test]
fn many_messages_are_gathered_and_leave_without_what_a_peer_has_meanwhile() {
    let (mut bench, _) = Bench::joined("a", 3);
    bench.run(SECOND);
    bench.taken();
    let [first, second, third] = bench.mesh("a")[..] else { panic!("three") };
    let msgs: Vec<_> = (1..=8).map(|seqno| message(99, seqno, "a", b"x")).collect();
    msgs[..4].iter().for_each(|msg| bench.receive(first, one(msg)));
    assert_eq!(bench.taken().len(), 4 * 2, "a few leave at once");
    msgs[4..7].iter().for_each(|msg| bench.receive(first, one(msg)));
    bench.receive(second, one(&msgs[4]));
    bench.receive(third, idontwant(vec![id_of(&msgs[5])]));
    assert!(bench.taken().is_empty());
    bench.run(Duration::from_millis(50));
    let sent: BTreeMap<_, _> = bench.taken().into_iter().map(|sent| (sent.to, sent.rpc.publish.clone())).collect();
    let lacked = [(second, [5, 6]), (third, [4, 6])];
    assert_eq!(
        sent,
        lacked.map(|(peer, lacks)| (bench.id(peer), lacks.map(|n: usize| msgs[n].clone()).to_vec())).into()
    );
    bench.run(SECOND);
    bench.receive(first, one(&msgs[7]));
    assert_eq!(bench.taken().len(), 2, "after a silence");
}

#[test]
fn what_fills_a_frame_or_meets_an_own_message_is_not_gathered_longer() {
    let (mut bench, _) = Bench::joined("a", 2);
    bench.run(SECOND);
    let first = bench.mesh("a")[0];
    (1..=5).for_each(|seqno| bench.receive(first, one(&message(99, seqno, "a", b"x"))));
    bench.taken();
    bench.publish("a", b"own");
    assert_eq!(bench.taken().iter().map(|sent| sent.rpc.publish.len()).sum::<usize>(), 2 + 1);
    for seqno in 6..=8 {
        assert!(bench.taken().is_empty());
        bench.receive(first, one(&message(99, seqno, "a", &[0; MAX_FRAME / 3])));
    }
    assert_eq!(bench.taken().iter().map(|sent| sent.rpc.publish.len()).sum::<usize>(), 3);
}

#[test]
fn lazy_gossip_reaches_those_outside_the_mesh_for_three_heartbeats() {
    let (mut bench, _) = Bench::joined("a", 50);
    bench.run(SECOND);
    bench.taken();
    let msg = message(99, 1, "a", b"x");
    let inside = bench.mesh("a")[0];
    bench.receive(inside, one(&msg));
    bench.taken();
    let (mut rounds, mut told) = (vec![], BTreeSet::new());
    for _ in 0..6 {
        bench.run(SECOND);
        let sent = bench.taken();
        assert!(sent.iter().all(|sent| sent.rpc.control.ihave == [(topic("a"), vec![id_of(&msg)])]));
        assert!(sent.iter().all(|sent| sent.class == SendClass::Gossip));
        let mesh: Vec<_> = bench.mesh("a").into_iter().map(|peer| bench.id(peer)).collect();
        assert!(sent.iter().all(|sent| !mesh.contains(&sent.to)));
        assert!(sent.iter().all(|sent| told.insert(sent.to)), "nobody is told twice");
        rounds.push(sent.len());
    }
    assert_eq!(rounds[0], 11, "a quarter of 44");
    assert!(rounds[1..3].iter().all(|round| (1..11).contains(round)) && rounds[3..] == [0, 0, 0], "{rounds:?}");
    assert_eq!(bench.gossip.next_deadline(), Some(bench.gossip.grid.at(60)));
}

#[test]
fn who_has_a_message_is_not_told_of_it() {
    let (mut bench, peers) = Bench::joined("a", 50);
    bench.run(SECOND);
    let msg = message(99, 1, "a", b"x");
    let (inside, _) = bench.in_and_out("a", &peers);
    bench.receive(inside, one(&msg));
    let mesh = bench.mesh("a");
    let outside: Vec<_> = peers.iter().copied().filter(|peer| !mesh.contains(peer)).collect();
    let ways = [one(&msg), ihave("a", vec![id_of(&msg)]), idontwant(vec![id_of(&msg)]), iwant(vec![id_of(&msg)])];
    for (peer, way) in outside[..40].iter().zip(ways.into_iter().cycle()) {
        bench.receive(*peer, way);
    }
    bench.taken();
    bench.run(SECOND * 6);
    let lack: Vec<_> = outside[40..].iter().map(|peer| bench.id(*peer)).collect();
    let told: Vec<_> = bench.taken().into_iter().map(|sent| sent.to).collect();
    assert!(!told.is_empty() && told.iter().all(|peer| lack.contains(peer)), "{told:?} of {lack:?}");
}

#[test]
fn a_missing_message_is_asked_for_and_served() {
    let (mut bench, peers) = Bench::joined("a", 1);
    let msg = message(99, 1, "a", b"x");
    bench.taken();
    bench.receive(peers[0], ihave("a", vec![id_of(&msg)]));
    let [ask] = &bench.taken()[..] else { panic!("one IWANT") };
    assert_eq!(ask.rpc.control.iwant, [id_of(&msg)]);
    bench.receive(peers[0], one(&msg));
    assert_eq!(bench.delivered.len(), 1);
    bench.receive(peers[0], ihave("a", vec![id_of(&msg)]));
    assert!(bench.taken().is_empty(), "known");
    bench.receive(peers[0], iwant(vec![id_of(&msg), Bytes::from_static(b"unknown")]));
    let [answer] = &bench.taken()[..] else { panic!("one answer") };
    assert_eq!(answer.rpc.publish, [msg]);
}

#[test]
fn messages_can_be_asked_for_during_five_heartbeats() {
    let (mut bench, peers) = Bench::joined("a", 1);
    let msg = message(99, 1, "a", b"x");
    bench.run(SECOND);
    bench.receive(peers[0], one(&msg));
    bench.run(Duration::from_millis(3900));
    bench.taken();
    bench.receive(peers[0], iwant(vec![id_of(&msg)]));
    assert_eq!(bench.taken_by(publishes).len(), 1);
    bench.run(Duration::from_millis(1200));
    bench.receive(peers[0], iwant(vec![id_of(&msg)]));
    assert!(bench.taken().is_empty());
    assert_eq!(bench.gossip.cache.bytes(), 0);
}

#[test]
fn a_pruned_peer_is_grafted_again_only_after_the_backoff_and_its_slack() {
    let (mut bench, peers) = Bench::joined("a", 1);
    bench.run(SECOND);
    bench.receive(peers[0], prune("a", Some(10)));
    assert!(bench.mesh("a").is_empty());
    bench.taken();
    bench.run(Duration::from_millis(10_900));
    assert!(bench.taken().is_empty());
    bench.run(Duration::from_millis(1200));
    assert_eq!(bench.taken_by(grafts).len(), 1);
}

#[test]
fn leaving_prunes_with_a_short_backoff_that_holds_for_rejoining() {
    let (mut bench, peers) = Bench::joined("a", 3);
    bench.run(SECOND);
    bench.taken();
    bench.unsubscribe("a");
    let pruned: Vec<_> = bench.taken().into_iter().filter(|sent| prunes(&sent.rpc)).collect();
    assert_eq!(pruned.len(), 3);
    assert!(pruned.iter().all(|sent| sent.rpc.control.prune[0].backoff == Some(10)));
    bench.subscribe("a");
    assert!(bench.mesh("a").is_empty());
    bench.receive(peers[0], graft("a"));
    assert_eq!(bench.taken_by(prunes).len(), 1, "too early");
    bench.run(Duration::from_secs(13));
    let mesh = bench.mesh("a");
    assert_eq!(mesh.len(), 2);
    assert!(!mesh.contains(&peers[0]), "its early GRAFT has prolonged its back-off");
}

#[test]
fn large_messages_are_announced_with_idontwant_once_verified() {
    let (mut bench, _) = Bench::joined("a", 5);
    let old = bench.peer_of(50, Side::Dialer, GossipVersion::V1_1);
    bench.receive(old, subscriptions(true, [topic("a")]));
    bench.run(SECOND);
    bench.verify_at_once = false;
    bench.verdict = None;
    bench.taken();
    let mesh = bench.mesh("a");
    assert_eq!(mesh.len(), 6);
    let (large, small) = (message(99, 1, "a", &[0; 2000]), message(99, 2, "a", &[0; 10]));
    let sender = *mesh.iter().find(|peer| **peer != old).unwrap();
    bench.receive(sender, publish(&[large.clone(), small]));
    assert!(bench.taken().is_empty(), "not before the signature holds");
    bench.verify();
    let sent = bench.taken();
    assert_eq!(sent.len(), 4, "neither the sender nor the old version");
    assert!(sent.iter().all(|sent| sent.rpc.control.idontwant == [id_of(&large)]));
    assert!(sent.iter().all(|sent| sent.to != bench.id(old) && sent.to != bench.id(sender)));
}

#[test]
fn idontwant_is_honoured_for_three_heartbeats_and_cancels_an_iwant() {
    let (mut bench, _) = Bench::joined("a", 3);
    bench.run(SECOND);
    let [first, second, third] = bench.mesh("a")[..] else { panic!("three") };
    let [msg, last, late] = [1, 2, 3].map(|seqno| message(99, seqno, "a", b"x"));
    bench.receive(second, idontwant(vec![id_of(&msg), id_of(&last), id_of(&late)]));
    bench.taken();
    bench.receive(first, one(&msg));
    assert_eq!(bench.taken_by(publishes), [bench.id(third)]);
    bench.receive(second, iwant(vec![id_of(&msg)]));
    assert!(bench.taken().is_empty());
    let both = Control { iwant: vec![id_of(&msg)], idontwant: vec![id_of(&msg)], ..Control::default() };
    bench.receive(third, control(both));
    assert!(bench.taken().is_empty());
    bench.run(SECOND * 3);
    bench.taken();
    bench.receive(first, one(&last));
    assert_eq!(bench.taken_by(publishes), [bench.id(third)]);
    bench.run(SECOND);
    bench.taken();
    bench.receive(first, one(&late));
    assert_eq!(bench.taken_by(publishes).len(), 2);
}

#[test]
fn verdicts_decide_what_happens_to_a_message() {
    let (mut bench, _) = Bench::joined("a", 3);
    bench.run(SECOND);
    bench.taken();
    let [first, second, _] = bench.mesh("a")[..] else { panic!("three") };
    for (seqno, verdict, copies) in [(1, Verdict::Accept, 2), (2, Verdict::Ignore, 0), (3, Verdict::Reject, 0)] {
        bench.verdict = Some(verdict);
        let msg = message(99, seqno, "a", b"x");
        bench.receive(first, one(&msg));
        assert_eq!(bench.taken_by(publishes).len(), copies);
        assert!(bench.offences.is_empty(), "the application charges the source");
        bench.receive(second, publish(&[msg]));
        assert_eq!(bench.delivered.len() as u64, seqno, "delivered once");
    }
    let repeated = Offence::Protocol(Protocol::Gossip);
    assert_eq!(bench.offences, [(bench.id(second), repeated)], "who repeats refused bytes pays");
}

#[test]
fn all_who_sent_a_rejected_message_pay() {
    let (mut bench, peers) = Bench::joined("/wharf/a", 4);
    bench.verdict = None;
    let msg = message(99, 1, "/wharf/a", b"x");
    peers[..3].iter().for_each(|peer| bench.receive(*peer, one(&msg)));
    // Another copy of the same content has no better chance.
    bench.receive(peers[3], one(&message(98, 1, "/wharf/a", b"x")));
    bench.judge(bench.delivered[0].0, Verdict::Reject);
    let charged: Vec<_> = peers[1..3].iter().map(|peer| (bench.id(*peer), Offence::BadStatement)).collect();
    assert_eq!(bench.offences, charged);
    assert_eq!(bench.delivered.len(), 1);
}

#[test]
fn unknown_tickets_and_jobs_are_ignored() {
    let (mut bench, peers) = Bench::joined("a", 3);
    bench.verdict = None;
    bench.receive(peers[0], publish(&[message(99, 1, "a", b"x")]));
    let ticket = bench.delivered[0].0;
    bench.judge(ticket + 1, Verdict::Accept);
    bench.judge(ticket, Verdict::Accept);
    bench.judge(ticket, Verdict::Reject);
    bench.gossip.handle_verified(&mut bench.world.cx(), crate::id::JobId(5), true);
    bench.gossip.handle_signed(&mut bench.world.cx(), crate::id::JobId(5), None);
    bench.gossip.handle_stored(&mut bench.world.cx(), crate::id::StoreId(5), StoreResult::Done);
    bench.settle();
    assert!(bench.offences.is_empty() && bench.published.is_empty());
}

#[test]
fn messages_of_topics_not_joined_are_dropped() {
    let (mut bench, peers) = Bench::joined("a", 2);
    bench.receive(peers[0], publish(&[message(99, 1, "b", b"x")]));
    bench.verify_at_once = false;
    bench.receive(peers[0], publish(&[message(99, 2, "a", b"x")]));
    bench.unsubscribe("a");
    bench.verify();
    assert!(bench.delivered.is_empty() && bench.offences.is_empty());
}

#[test]
fn sequence_numbers_are_reserved_before_they_are_used_and_grow_across_restarts() {
    let (mut bench, _) = Bench::joined("a", 1);
    bench.store_answers = None;
    let now = bench.world.unix.as_micros();
    bench.taken();
    bench.publish("a", b"1");
    bench.publish("a", b"2");
    assert!(bench.taken().is_empty(), "not before the reservation is durable");
    let [(op, StoreRequest::Commit(writes))] = &bench.stores[..] else { panic!("one commit") };
    let [Write { table: Table::Meta, key, value: Some(value) }] = &writes[..] else { panic!("one write") };
    let row = Row { table: Table::Meta, key: key.clone(), value: value.clone() };
    let op = *op;
    bench.gossip.handle_stored(&mut bench.world.cx(), op, StoreResult::Done);
    bench.settle();
    let seqnos: Vec<_> = bench.taken().iter().map(|sent| sent.rpc.publish[0].seqno.unwrap()).collect();
    assert_eq!(seqnos, [now, now + 1]);

    let (mut restarted, _) = Bench::joined("a", 1);
    restarted.gossip.handle_recovered(&mut restarted.world.cx(), row);
    restarted.taken();
    restarted.publish("a", b"3");
    let seqno = restarted.taken()[0].rpc.publish[0].seqno.unwrap();
    assert_eq!(seqno, now + RESERVE, "above all that may have been used");
    assert_eq!(restarted.stores.len(), 1);
    restarted.publish("a", b"4");
    assert_eq!(restarted.stores.len(), 1);
}

#[test]
fn a_store_or_signer_that_fails_fails_the_publish() {
    let (mut bench, _) = Bench::joined("a", 1);
    bench.store_answers = Some(StoreResult::Failed(StoreError::Full));
    bench.taken();
    bench.publish("a", b"1");
    bench.store_answers = Some(StoreResult::Done);
    bench.key_present = false;
    bench.publish("a", b"2");
    bench.key_present = true;
    bench.publish("a", b"3");
    let results: Vec<_> = bench.published.iter().map(|(_, sent)| sent.clone()).collect();
    assert_eq!(results, [Err(OpError::Storage), Err(OpError::Signing), Ok(1)]);
    assert_eq!(bench.taken().len(), 1);
}

#[test]
fn the_caller_is_told_of_what_cannot_be_sent() {
    let (mut bench, _) = Bench::joined("a", 1);
    bench.store_answers = None;
    let big = Bytes::from(vec![0; 56 * 1024]);
    let refused = bench.gossip.publish(&mut bench.world.cx(), None, topic("a"), big);
    assert!(matches!(refused, Err(CommandError::Invalid { field: "data", .. })));
    let long = topic(&"t".repeat(257));
    let refused = bench.gossip.publish(&mut bench.world.cx(), None, long, Bytes::new());
    assert!(matches!(refused, Err(CommandError::Invalid { field: "topic", .. })));
    let busy =
        (0..5000).find_map(|_| bench.gossip.publish(&mut bench.world.cx(), None, topic("a"), Bytes::new()).err());
    assert_eq!(busy, Some(CommandError::Busy));
}

#[test]
fn the_largest_own_message_fits_a_frame() {
    let (mut bench, _) = Bench::joined("a", 1);
    bench.taken();
    bench.publish("a", &vec![1; 56 * 1024 - 2048 - 256]);
    assert_eq!(bench.taken_by(publishes).len(), 1);
}

#[test]
fn what_others_could_not_read_is_delivered_but_not_passed_on() {
    let (mut bench, peers) = Bench::joined("a", 3);
    bench.run(SECOND);
    bench.taken();
    for (seqno, len) in [(1, MAX_RELAYED - 200), (2, MAX_RELAYED + 1), (3, 1_000_000)] {
        let msg = message(0, seqno, "a", &vec![7; len]);
        bench.receive(peers[0], one(&msg));
        assert_eq!(bench.delivered.len() as u64, seqno);
        let passed_on = bench.taken_by(|rpc| rpc.publish.contains(&msg));
        assert_eq!(passed_on.len(), if seqno == 1 { 2 } else { 0 });
        bench.receive(peers[1], iwant(vec![id_of(&msg)]));
        assert_eq!(bench.taken().is_empty(), seqno != 1);
    }
    assert_eq!(bench.offences, []);
}

#[test]
fn much_control_is_split_into_frames_that_rust_takes() {
    let (mut bench, peers) = Bench::joined("a", 1);
    bench.taken();
    let ids: Vec<_> = (0..128_u64).map(|n| Bytes::from([n.to_be_bytes().as_slice(), &[0; 120]].concat())).collect();
    bench.receive(peers[0], ihave("a", ids.clone()));
    let sent = bench.taken();
    assert!(sent.len() > 1);
    assert!(sent.iter().all(|sent| sent.rpc.encoded_len() <= 16 * 1024));
    let asked: Vec<_> = sent.iter().flat_map(|sent| sent.rpc.control.iwant.clone()).collect();
    assert_eq!(asked, ids);
}

#[test]
fn ids_of_registry_topics_name_topic_and_data_alone() {
    let id = |author, seqno, name, data: &[u8]| id_of(&message(author, seqno, name, data));
    assert_eq!(id(1, 1, "/wharf/main", b"x"), id(2, 2, "/wharf/main", b"x"));
    assert_ne!(id(1, 1, "/wharf/main", b"x"), id(1, 1, "/wharf/main", b"y"));
    assert_ne!(id(1, 1, "/wharf/a", b"bx"), id(1, 1, "/wharf/ab", b"x"));
    assert_eq!(id(1, 1, "a", b"x"), id(1, 1, "a", b"y"));
    assert_ne!(id(1, 1, "a", b"x"), id(1, 2, "a", b"x"));
    assert_ne!(id(1, 1, "a", b"x"), id(2, 1, "a", b"x"));
    assert_eq!(id(1, 258, "a", b"x")[38..], [0, 0, 0, 0, 0, 0, 1, 2], "from, then the number");
}

#[test]
fn talk_before_identify_is_heard_but_not_answered() {
    let mut bench = Bench::new();
    bench.subscribe("a");
    let peer = bench.world.connect(1);
    bench.receive(peer, subscriptions(true, [topic("a")]));
    bench.receive(peer, ihave("a", vec![Bytes::from_static(b"id")]));
    bench.run(SECOND * 2);
    assert!(bench.taken().is_empty());
    bench.gossip.handle_peer_up(&mut bench.world.cx(), peer, GossipVersion::V1_2, true);
    bench.run(SECOND * 2);
    assert_eq!(bench.mesh("a"), [peer]);
}

/// A busy quarter of an hour, by a fixed script.
fn busy(step: impl Fn(&mut Bench, Duration)) -> alloc::string::String {
    let (mut bench, mut peers) = Bench::joined("a", 9);
    for round in 0..40_u64 {
        let peer = peers[round as usize % peers.len()];
        match round % 8 {
            0 => bench.publish("b", &round.to_be_bytes()),
            1 => bench.receive(peer, prune("a", Some(round))),
            2 => bench.receive(peer, publish(&[message(99, round, "a", b"x")])),
            3 => bench.receive(peer, ihave("a", vec![Bytes::from(vec![round as u8; 40])])),
            4 => bench.receive(peer, subscriptions(round % 16 < 8, [topic("a"), topic("b")])),
            5 => bench.receive(peer, graft("a")),
            6 => {
                bench.peer_gone(peers.remove(0));
                peers.push(bench.subscriber(100 + round, Side::Listener, "a"));
            }
            _ => {
                bench.unsubscribe("a");
                bench.subscribe("a");
            }
        }
        step(&mut bench, Duration::from_millis(700 * (1 + round % 40)));
    }
    bench.trace()
}

#[test]
fn forcing_every_tick_gives_the_same_trace() {
    assert_eq!(busy(|bench, by| bench.run(by)), busy(|bench, by| bench.run_every_tick(by)));
}
