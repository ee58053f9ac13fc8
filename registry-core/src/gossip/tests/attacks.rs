//! The attack cases of PROTOCOLS.md, and published advisories of other implementations.

use alloc::vec;
use alloc::vec::Vec;

use bytes::Bytes;

use super::bench::*;
use crate::catalog::Verdict;
use crate::gossip::limits::{
    Budget, FIRST_ASKED, MAX_PENDING_PER_PEER, MAX_TOPICS_PER_PEER, MAX_WANTS, MIN_ASKED, MISSED_IWANT_COST,
};
use crate::id::{PeerId, PeerIx};
use crate::input::Side;
use crate::peers::Offence;
use crate::time::Duration;
use crate::wire::Protocol;
use crate::wire::gossip::{Control, PubMessage};

const FLOOD: Offence = Offence::Protocol(Protocol::Gossip);

fn ids(from: u64, count: u64) -> Vec<Bytes> {
    (from..from + count).map(|n| Bytes::copy_from_slice(&[n.to_be_bytes(), [7; 8]].concat())).collect()
}

#[test]
fn attack_36_prune_with_an_endless_backoff() {
    for backoff in [u64::MAX, u64::MAX - 1, u64::MAX / 1_000_000, 3601] {
        let (mut bench, peers) = Bench::joined("a", 1);
        bench.run(SECOND);
        bench.receive(peers[0], prune("a", Some(backoff)));
        bench.taken();
        bench.run(Duration::from_secs(3600));
        assert!(bench.taken().is_empty());
        bench.run(SECOND * 3);
        assert_eq!(bench.taken_by(grafts).len(), 1, "clamped to an hour");
    }
}

#[test]
fn attack_37_control_for_topics_never_joined_leaves_no_trace() {
    let (mut bench, peers) = Bench::joined("a", 1);
    bench.taken();
    for n in 0..1000_u64 {
        let name = alloc::format!("t{n}");
        bench.receive(peers[0], graft(&name));
        bench.receive(peers[0], prune(&name, Some(60)));
        bench.receive(peers[0], ihave(&name, ids(0, 5)));
    }
    assert!(bench.taken().is_empty(), "no answer to amplify");
    assert_eq!(bench.gossip.topics.len(), 1);
    assert_eq!(bench.gossip.subscribers.len(), 1);
    assert_eq!(bench.gossip.wants.len(), 0);
    assert!(bench.gossip.topics["a"].backoffs.is_empty());
}

#[test]
fn attack_38_peers_offered_in_a_prune_are_not_dialled() {
    // prune{topicID "a", peers[..], backoff 60}: the decoder skips the peers, so that the machine cannot see them.
    let offered = [&[0x12, 4, 0x0a, 2, 1, 2][..]; 200].concat();
    let body = [&[0x0a, 1, b'a'][..], &offered, &[0x18, 60]].concat();
    let length = |len: usize| [(len & 0x7f) as u8 | 0x80, (len >> 7) as u8];
    let prune = [&[0x22][..], &length(body.len()), &body].concat();
    let frame = [&[0x1a][..], &length(prune.len()), &prune].concat();
    let rpc = crate::wire::gossip::Rpc::decode(frame.into()).unwrap();
    assert_eq!(rpc.control.prune.len(), 1);

    let (mut bench, peers) = Bench::joined("a", 1);
    bench.run(SECOND);
    bench.receive(peers[0], rpc);
    // The bench takes no dial for an answer.
    bench.run(SECOND * 10);
    assert!(bench.mesh("a").is_empty());
}

#[test]
fn attack_40_graft_during_the_backoff_is_refused_and_prolongs_it() {
    let (mut bench, _) = Bench::joined("a", 0);
    let peer = bench.subscriber(1, Side::Listener, "a");
    bench.run(SECOND);
    bench.receive(peer, prune("a", Some(60)));
    bench.taken();
    for _ in 0..5 {
        bench.run(SECOND * 30);
        bench.receive(peer, control(Control { graft: vec![topic("a"); 50], ..Control::default() }));
        let sent = bench.taken();
        assert_eq!(sent.len(), 1, "one answer to many");
        assert_eq!(sent[0].rpc.control.prune.len(), 1);
        assert_eq!(sent[0].rpc.control.prune[0].backoff, Some(60));
        assert!(bench.mesh("a").is_empty());
    }
    bench.run(Duration::from_millis(59_900));
    assert!(bench.taken().is_empty(), "this node keeps the prolonged back-off too");
    bench.run(SECOND * 4);
    assert_eq!(bench.mesh("a"), [peer]);
}

#[test]
fn attack_41_love_bombing_does_not_fill_the_mesh() {
    let (mut bench, _) = Bench::joined("a", 2);
    bench.run(SECOND);
    let bombers: Vec<PeerIx> = (100..150).map(|n| bench.subscriber(n, Side::Listener, "a")).collect();
    bench.taken();
    for bomber in &bombers {
        bench.receive(*bomber, graft("a"));
        assert!(bench.mesh("a").len() <= 12);
    }
    assert_eq!(bench.taken_by(prunes).len(), 50 - (12 - bench_outbound(&bench)));
    assert_eq!(bench_outbound(&bench), 2);
    let dialled = bench.subscriber(200, Side::Dialer, "a");
    bench.receive(dialled, graft("a"));
    assert!(bench.mesh("a").len() <= 12);
    assert!(bench_outbound(&bench) >= 2, "D_out is kept");
}

fn bench_outbound(bench: &Bench) -> usize {
    bench.mesh("a").iter().filter(|peer| bench.gossip.peers.get(**peer).unwrap().outbound).count()
}

#[test]
fn attack_42_ihave_floods_are_cut_off() {
    let (mut bench, peers) = Bench::joined("a", 1);
    bench.run(SECOND);
    bench.taken();
    bench.receive(peers[0], ihave("a", ids(0, 20_000)));
    assert_eq!(bench.gossip.wants.len(), FIRST_ASKED as usize);
    bench.run(SECOND);
    for n in 0..50 {
        bench.receive(peers[0], ihave("a", ids(100_000 + n * 10, 10)));
    }
    assert_eq!(bench.gossip.wants.len(), FIRST_ASKED as usize, "no more than it may be asked for at once");
    bench.run(SECOND * 4);
    assert_eq!(bench.gossip.wants.len(), 0, "forgotten when the promise is broken");
    let stranger = bench.subscriber(999, Side::Listener, "a");
    for n in 0..50 {
        bench.receive(stranger, ihave("a", ids(n * 10, 10)));
    }
    assert_eq!(bench.gossip.wants.len(), 100, "ten messages per heartbeat");
    for n in 0..200 {
        let sybil = bench.subscriber(1000 + n, Side::Listener, "a");
        bench.receive(sybil, ihave("a", ids(n * 1_000_000, 5000)));
    }
    assert_eq!(bench.gossip.wants.len(), MAX_WANTS);
}

#[test]
fn attack_43_who_breaks_promises_is_asked_for_little_until_it_keeps_some() {
    let (mut bench, peers) = Bench::joined("a", 1);
    bench.run(SECOND);
    bench.receive(peers[0], ihave("a", ids(0, 5000)));
    bench.run(SECOND * 4);
    bench.receive(peers[0], ihave("a", ids(10_000, 5000)));
    assert_eq!(bench.gossip.wants.len(), MIN_ASKED as usize);
    bench.run(SECOND * 4);
    let messages: Vec<_> = (0..100).map(|n| message(99, n, "a", b"x")).collect();
    for some in messages.chunks(MIN_ASKED as usize) {
        bench.receive(peers[0], ihave("a", some.iter().map(|msg| id_of(msg)).collect()));
        bench.receive(peers[0], publish(some));
        bench.run(SECOND);
    }
    bench.receive(peers[0], ihave("a", ids(20_000, 5000)));
    assert_eq!(bench.gossip.wants.len(), MIN_ASKED as usize + messages.len());
}

#[test]
fn attack_44_iwants_of_what_is_not_here_use_up_the_budget_sooner() {
    let (mut bench, peers) = Bench::joined("a", 2);
    let msg = message(99, 1, "a", b"x");
    bench.receive(peers[0], one(&msg));
    bench.taken();
    bench.receive(peers[1], iwant(ids(0, u64::from(Budget::IwantIds.limit() / MISSED_IWANT_COST + 1))));
    bench.receive(peers[1], iwant(vec![id_of(&msg)]));
    assert!(bench.taken().is_empty());
    bench.run(SECOND);
    bench.receive(peers[1], iwant(vec![id_of(&msg)]));
    assert_eq!(bench.taken_by(publishes).len(), 1, "at the next heartbeat it is served");
}

#[test]
fn attack_43_a_withholding_advertiser_does_not_delay_another() {
    let (mut bench, peers) = Bench::joined("a", 5);
    bench.run(SECOND);
    bench.taken();
    let msg = message(99, 1, "a", b"x");
    for liar in &peers[..4] {
        bench.receive(*liar, ihave("a", vec![id_of(&msg)]));
    }
    assert_eq!(bench.taken_by(|rpc| !rpc.control.iwant.is_empty()).len(), 2, "two at once");
    bench.receive(peers[4], ihave("a", vec![id_of(&msg)]));
    bench.run(Duration::from_millis(3100));
    assert_eq!(bench.taken_by(|rpc| !rpc.control.iwant.is_empty()).len(), 2, "the next two at the deadline");
    bench.peer_gone(peers[2]);
    assert_eq!(bench.taken_by(|rpc| !rpc.control.iwant.is_empty()), [bench.id(peers[4])], "at once when one leaves");
    bench.receive(peers[4], publish(&[msg]));
    assert_eq!(bench.delivered.len(), 1);
    assert_eq!(bench.gossip.wants.len(), 0);
}

#[test]
fn attack_43_a_forged_copy_leads_to_the_next_advertiser() {
    let (mut bench, peers) = Bench::joined("a", 3);
    bench.run(SECOND);
    bench.taken();
    let (good, forged) = (message(99, 1, "a", b"x"), signed(99, 1, "a", b"forged", b"bad"));
    for peer in &peers {
        bench.receive(*peer, ihave("a", vec![id_of(&good)]));
    }
    bench.taken();
    bench.receive(peers[0], publish(&[forged]));
    assert_eq!(bench.taken_by(|rpc| !rpc.control.iwant.is_empty()), [bench.id(peers[2])]);
    assert_eq!(bench.offences, [(bench.id(peers[0]), Offence::BadSignature)]);
    bench.receive(peers[2], publish(&[good]));
    assert_eq!(bench.delivered.len(), 1);
}

#[test]
fn attack_44_a_message_is_served_three_times_to_a_peer() {
    let (mut bench, peers) = Bench::joined("a", 2);
    let msg = message(99, 1, "a", b"x");
    bench.receive(peers[0], one(&msg));
    bench.taken();
    for _ in 0..10 {
        bench.receive(peers[0], iwant(vec![id_of(&msg); 2]));
    }
    let served: usize = bench.taken().iter().map(|sent| sent.rpc.publish.len()).sum();
    assert_eq!(served, 3);
    bench.receive(peers[0], iwant(ids(0, 20_000)));
    assert!(bench.taken().is_empty());
    bench.receive(peers[1], iwant(vec![id_of(&msg)]));
    assert_eq!(bench.taken_by(publishes).len(), 1, "others are still served");
}

#[test]
fn attack_45_idontwant_floods_are_bounded_and_touch_the_flooder_alone() {
    let (mut bench, peers) = Bench::joined("/wharf/a", 3);
    bench.run(SECOND);
    for round in 0..10 {
        bench.receive(peers[0], idontwant(ids(round * 100_000, 5000)));
        bench.receive(peers[0], idontwant(vec![Bytes::from(vec![0; 50_000])]));
        bench.run(SECOND);
    }
    assert!(bench.gossip.peers.get(peers[0]).unwrap().dont_want_len() <= 4000);
    let guessed = id_of(&message(99, 1, "/wharf/a", b"own"));
    bench.receive(peers[1], idontwant(vec![guessed]));
    bench.taken();
    bench.publish("/wharf/a", b"own");
    let mut told = bench.taken_by(publishes);
    told.sort();
    let mut others = vec![bench.id(peers[0]), bench.id(peers[2])];
    others.sort();
    assert_eq!(told, others);
}

#[test]
fn attack_48_subscription_floods_are_bounded() {
    let (mut bench, peers) = Bench::joined("a", 1);
    let names = |from: u32| (from..from + 200).map(|n| topic(&alloc::format!("t{n}")));
    bench.receive(peers[0], subscriptions(true, names(0)));
    assert_eq!(bench.gossip.peers.get(peers[0]).unwrap().topics.len(), MAX_TOPICS_PER_PEER);
    bench.run(SECOND);
    bench.receive(peers[0], subscriptions(true, [topic(&"x".repeat(100_000))]));
    assert!(bench.gossip.subscribers.keys().all(|name| name.len() <= 256));
    assert!(bench.offences.is_empty());
    for round in 0..1000 {
        bench.receive(peers[0], subscriptions(round % 2 == 0, names(0)));
    }
    assert_eq!(bench.offences, [(bench.id(peers[0]), FLOOD)], "charged once per heartbeat");
    assert!(bench.gossip.subscribers.len() <= MAX_TOPICS_PER_PEER + 1);
    bench.peer_gone(peers[0]);
    assert!(bench.gossip.subscribers.is_empty());
}

#[test]
fn attack_49_the_queue_of_unchecked_messages_is_bounded() {
    let (mut bench, peers) = Bench::joined("a", 10);
    bench.verify_at_once = false;
    for (n, peer) in peers.iter().enumerate() {
        for batch in 0..4_u64 {
            let first = n as u64 * 10_000 + batch * 500;
            let tiny: Vec<_> = (first..first + 500).map(|seqno| message(99, seqno, "a", b"")).collect();
            bench.receive(*peer, publish(&tiny));
        }
        assert!(bench.unverified.len() <= MAX_PENDING_PER_PEER as usize * (n + 1));
    }
    assert_eq!(bench.unverified.len(), 1024);
    assert!(bench.offences.is_empty(), "this node is the bottleneck");
    bench.verify();
    assert_eq!(bench.delivered.len(), 1024);
    bench.receive(peers[0], publish(&[message(99, 95_001, "a", b"")]));
    bench.verify();
    assert_eq!(bench.delivered.len(), 1025, "what was ignored is not held against it");
}

#[test]
fn attack_50_messages_that_break_strict_sign_are_refused() {
    let (mut bench, peers) = Bench::joined("a", 1);
    let good = message(99, 1, "a", b"x");
    let with = |change: &dyn Fn(&mut PubMessage)| {
        let mut msg = (*good).clone();
        change(&mut msg);
        alloc::sync::Arc::new(msg)
    };
    let unsigned = [
        with(&|msg| msg.from = None),
        with(&|msg| msg.seqno = None),
        with(&|msg| msg.signature = None),
        with(&|msg| msg.key = Some(Bytes::from_static(b"another key"))),
    ];
    for msg in unsigned {
        bench.receive(peers[0], publish(&[msg]));
        assert_eq!(bench.offences.pop(), Some((bench.id(peers[0]), FLOOD)));
    }
    let forged = signed(99, 1, "a", b"x", b"bad");
    bench.receive(peers[0], one(&forged));
    assert_eq!(bench.offences.pop(), Some((bench.id(peers[0]), Offence::BadSignature)));
    bench.receive(peers[0], publish(&[forged]));
    assert_eq!(bench.offences.pop(), Some((bench.id(peers[0]), FLOOD)), "not checked twice");
    assert!(bench.delivered.is_empty());
    bench.receive(peers[0], publish(&[good]));
    assert_eq!(bench.delivered.len(), 1, "none of them stands in the good one's way");
}

#[test]
fn attack_50_whoever_passes_on_a_message_under_another_kind_of_key_is_spared() {
    let (mut bench, peers) = Bench::joined("a", 1);
    let secp256k1 = [&[0x00, 37, 0x08, 0x02, 0x12, 33][..], &[2; 33]].concat();
    let mut msg = (*message(99, 1, "a", b"x")).clone();
    msg.from = Some(PeerId::from_bytes(&secp256k1).unwrap());
    let msg = alloc::sync::Arc::new(msg);
    for _ in 0..3 {
        bench.receive(peers[0], one(&msg));
    }
    assert!(bench.unverified.is_empty() && bench.offences.is_empty() && bench.delivered.is_empty());
}

#[test]
fn attack_50_a_forged_copy_does_not_suppress_a_good_one_that_came_later() {
    let (mut bench, peers) = Bench::joined("a", 6);
    bench.verify_at_once = false;
    let forged = [b"1", b"2", b"3", b"4"].map(|data: &[u8; 1]| signed(99, 1, "a", data, b"bad"));
    bench.receive(peers[0], publish(&forged[..2]));
    bench.receive(peers[1], publish(&forged[1..3]));
    bench.receive(peers[2], publish(&[message(99, 1, "a", b"x")]));
    while !bench.unverified.is_empty() {
        bench.verify();
    }
    assert_eq!(bench.delivered.len(), 1);
    assert_eq!(bench.delivered[0].1, b"x"[..]);
    assert_eq!(bench.offences.len(), 2);
}

#[test]
fn attack_51_messages_in_this_nodes_name() {
    let (mut bench, peers) = Bench::joined("a", 2);
    bench.taken();
    bench.publish("a", b"own");
    let own = bench.taken()[0].rpc.publish[0].clone();
    bench.receive(peers[0], one(&own));
    assert!(bench.offences.is_empty(), "an echo");
    let forged = signed(u64::MAX, 5, "a", b"not mine", b"bad");
    bench.receive(peers[1], publish(&[forged]));
    assert_eq!(bench.offences, [(bench.id(peers[1]), Offence::BadSignature)]);

    let (mut forgetful, peers) = Bench::joined("a", 1);
    forgetful.receive(peers[0], publish(&[own]));
    assert!(forgetful.offences.is_empty(), "really published, before a restart");
    assert!(bench.delivered.is_empty() && forgetful.delivered.is_empty());
}

#[test]
fn attack_52_replay_after_the_seen_cache_has_forgotten() {
    let (mut bench, peers) = Bench::joined("a", 2);
    let old = message(99, 10, "a", b"old");
    bench.receive(peers[0], one(&old));
    for minute in 0..10_u64 {
        bench.run(Duration::from_secs(61));
        bench.receive(peers[0], publish(&[message(98, minute + 1, "a", b"filler")]));
    }
    let id = crate::gossip::message_id::key_of(&id_of(&old));
    assert!(!bench.gossip.seen.contains(&id));
    let before = bench.delivered.len();
    bench.receive(peers[1], publish(&[old]));
    assert_eq!(bench.delivered.len(), before);
    bench.receive(peers[1], publish(&[message(99, 12, "a", b"new"), message(99, 11, "a", b"overtaken")]));
    assert_eq!(bench.delivered.len(), before + 2, "messages may overtake each other");
}

#[test]
fn attack_53_an_id_of_a_registry_topic_cannot_be_bound_to_other_bytes() {
    let (mut bench, peers) = Bench::joined("/wharf/a", 3);
    let good = message(99, 1, "/wharf/a", b"statement");
    bench.receive(peers[0], publish(&[message(99, 1, "/wharf/a", b"other bytes, same author and number")]));
    bench.receive(peers[1], publish(&[good]));
    assert_eq!(bench.delivered.len(), 2);
    bench.verdict = Some(Verdict::Reject);
    bench.receive(peers[2], publish(&[message(50, 7, "/wharf/a", b"statement")]));
    assert_eq!(bench.delivered.len(), 2, "the same statement by another is the same message");
    assert!(bench.offences.is_empty());
}

#[test]
fn attack_58_a_slow_reader_is_spared_then_pruned() {
    let (mut bench, peers) = Bench::joined("a", 30);
    bench.run(SECOND);
    let (inside, outside) = bench.in_and_out("a", &peers);
    bench.receive(inside, publish(&[message(99, 1, "a", b"x")]));
    bench.taken();
    for peer in peers.iter().filter(|peer| **peer != outside && **peer != inside) {
        bench.gossip.handle_send_dropped(&mut bench.world.cx(), *peer);
    }
    bench.run(SECOND);
    assert_eq!(bench.taken_by(|rpc| !rpc.control.ihave.is_empty()), [bench.id(outside)], "no IHAVE to slow ones");
    for _ in 0..9 {
        bench.gossip.handle_send_dropped(&mut bench.world.cx(), inside);
    }
    bench.settle();
    assert!(bench.gossip.in_mesh(inside));
    bench.gossip.handle_send_dropped(&mut bench.world.cx(), inside);
    bench.settle();
    assert!(!bench.gossip.in_mesh(inside));
    assert_eq!(bench.taken_by(prunes), [bench.id(inside)]);
    bench.receive(inside, graft("a"));
    assert!(!bench.gossip.in_mesh(inside), "in back-off");
}
