//! Reading and writing values with signatures; the script plays the shell's verdicts.

use super::*;
use crate::catalog::envelope::Envelope;
use crate::catalog::record::HeadRecord;
use crate::catalog::{Head, LocalPublisher};
use crate::id::Digest;
use crate::time::UnixTime;

/// The key and the head record of a log of `length`; its signatures are for the script to judge.
fn head_record(length: u64) -> (Bytes, Bytes) {
    let publisher = LocalPublisher::new([7; 32], Digest::of(b"next"), [1; 64]);
    let (tip, root) = (Digest::of(b"tip"), Digest::of(b"root"));
    let time = UnixTime::from_secs(1_700_000_000);
    let expiry = time + Duration::from_secs(3600);
    let head = Head { network: "test".into(), publisher: publisher.id, length, tip, root, time, expiry };
    let signatures = [(0, Bytes::from_static(&[2; 64]))].into();
    let head = Envelope { body: head.to_body(), signatures }.encode();
    (publisher.id.record_key(), HeadRecord::encode(&publisher.inception, &head))
}

fn value_found(script: &mut Script) -> Option<Option<Bytes>> {
    script.events().into_iter().find_map(|event| match event {
        KadEvent::Value { value, .. } => Some(value),
        KadEvent::Providers { .. }
        | KadEvent::Closest { .. }
        | KadEvent::Put { .. }
        | KadEvent::Provided { .. }
        | KadEvent::RecordSeen { .. } => None,
    })
}

fn get(script: &mut Script, key: &Bytes) -> Vec<Asked> {
    script.done();
    script.kad.get_value(&mut script.world.cx(), key.clone());
    script.done().asked
}

fn give(script: &mut Script, asked: &Asked, value: &Bytes) {
    script.answer(asked, |msg| msg.record = record(&asked.msg.key, value));
}

#[test]
fn attack_19_a_value_is_neither_kept_nor_served_before_its_signatures_hold() {
    let mut script = Script::new(|_| {});
    let peer = script.join(1);
    let (key, value) = head_record(3);
    let served = |script: &mut Script| script.ask(peer, &question(KadKind::GetValue, &key)).unwrap().record;
    script.done();
    script.put(peer, &put_question(&key, &value));
    let jobs = script.done().jobs;
    assert_eq!((jobs.len(), served(&mut script)), (1, None));
    script.verified(jobs[0], false);
    let done = script.done();
    assert_eq!((done.offences, done.answers[0].1.clone()), ([Offence::BadSignature].into(), None));
    assert_eq!(served(&mut script), None);
    script.put(peer, &put_question(&key, &value));
    let jobs = script.done().jobs;
    script.verified(jobs[0], true);
    assert_eq!(script.done().answers[0].1, Some(put_question(&key, &value)));
    assert_eq!(served(&mut script), record(&key, &value));
    assert!(matches!(&script.events()[..], [KadEvent::RecordSeen { value: seen }] if *seen == value));
    script.verified(jobs[0], true);
    assert!(script.done().answers.is_empty(), "a repeated verdict means nothing");
}

#[test]
fn attack_20_a_shorter_log_never_replaces_a_longer_one() {
    let mut script = Script::new(|_| {});
    let peer = script.join(1);
    let (key, long) = head_record(3);
    let (_, short) = head_record(2);
    script.done();
    // Both are being checked at once: the outcome must not depend on who is done first.
    script.put(peer, &put_question(&key, &short));
    script.put(peer, &put_question(&key, &long));
    let jobs = script.done().jobs;
    script.verified(jobs[1], true);
    script.verified(jobs[0], true);
    assert_eq!(script.ask_value(peer, &key), record(&key, &long));
    assert_eq!(script.ask(peer, &put_question(&key, &short)), None, "refused without checking signatures");
}

impl Script {
    fn ask_value(&mut self, peer: PeerIx, key: &Bytes) -> Option<Record> {
        self.done();
        self.ask(peer, &question(KadKind::GetValue, key)).unwrap().record
    }
}

#[test]
fn pending_checks_of_one_peer_are_bounded() {
    let mut script = Script::new(|_| {});
    let peer = script.join(1);
    script.done();
    for length in 1..100 {
        let (key, value) = head_record(length);
        script.put(peer, &put_question(&key, &value));
    }
    let done = script.done();
    assert_eq!((done.jobs.len(), done.answers.len()), (16, 83));
    script.pass(Duration::from_secs(31));
    assert_eq!(script.done().answers.len(), 16, "given up when no verdict comes");
}

#[test]
fn the_best_valid_value_wins_and_the_others_are_corrected() {
    let mut script = Script::new(|_| {});
    (1..=4).for_each(|n| {
        script.join(n);
    });
    let (key, old) = head_record(2);
    let (_, new) = head_record(3);
    let (_, forged) = head_record(9);
    let asked = get(&mut script, &key);
    assert_eq!(asked.len(), 4);
    give(&mut script, &asked[0], &old);
    give(&mut script, &asked[1], &new);
    give(&mut script, &asked[2], &forged);
    script.answer(&asked[3], |_| {});
    assert!(value_found(&mut script).is_none(), "the lookup waits for the verdicts");
    let jobs = script.done().jobs;
    assert_eq!(jobs.len(), 3);
    script.verified(jobs[2], false);
    script.verified(jobs[0], true);
    assert!(value_found(&mut script).is_none());
    script.verified(jobs[1], true);
    assert_eq!(value_found(&mut script), Some(Some(new.clone())));
    let done = script.done();
    assert_eq!(done.offences, [Offence::BadSignature]);
    let mut corrected: Vec<_> = done.asked.iter().map(|asked| (asked.peer, asked.msg.clone())).collect();
    let mut expected: Vec<_> =
        [0, 2, 3].map(|i: usize| (asked[i].peer, put_question(&key, &new))).into_iter().collect();
    corrected.sort_by_key(|(peer, _)| *peer);
    expected.sort_by_key(|(peer, _)| *peer);
    assert_eq!(corrected, expected);
}

#[test]
fn attack_18_an_answer_with_another_key_is_no_copy() {
    let mut script = Script::new(|_| {});
    script.join(1);
    let asked = get(&mut script, &Bytes::from_static(b"/test/a"));
    script.answer(&asked[0], |msg| msg.record = record(b"/test/b", b"v"));
    assert_eq!(value_found(&mut script), Some(None));
    assert_eq!(script.done().offences, [BROKEN_RULE]);
}

#[test]
fn attack_19_unknown_namespaces_are_not_even_asked_for() {
    let mut script = Script::new(|_| {});
    script.join(1);
    assert!(get(&mut script, &Bytes::from_static(b"/other/a")).is_empty());
    assert_eq!(value_found(&mut script), Some(None));
    script.kad.put_value(&mut script.world.cx(), Bytes::from_static(b"/other/a"), Bytes::from_static(b"v"));
    assert!(matches!(script.events()[..], [KadEvent::Put { acks: 0, .. }]));
    let check =
        |key: &[u8]| Kad::check_put(&script.world.config.kad, script.world.unix, key, &Bytes::from_static(b"v"));
    assert!(check(b"/other/a").is_err() && check(b"/test/a").is_ok());
}

#[test]
fn a_silent_peer_does_not_hold_up_a_value_that_others_gave() {
    for given in [true, false] {
        let mut script = Script::new(|_| {});
        (1..=6).for_each(|n| {
            script.join(n);
        });
        script.warm_up();
        let asked = get(&mut script, &Bytes::from_static(b"/test/a"));
        let value = Bytes::from_static(b"v");
        // The nearest is asked first, and says nothing.
        for asked in &asked[1..] {
            script.answer(asked, |msg| msg.record = record(b"/test/a", &value).filter(|_| given));
        }
        script.pass(Duration::from_millis(100));
        assert_eq!(value_found(&mut script), given.then(|| Some(value)));
        script.pass(Duration::from_secs(5));
        assert_eq!(value_found(&mut script), (!given).then_some(None), "the nearest may be the only one who has it");
    }
}

#[test]
fn a_quorum_ends_the_lookup_and_the_own_copy_counts() {
    let mut script = Script::new(|_| {});
    let peers: Vec<_> = (1..=40).map(|n| script.join(n)).collect();
    let key = Bytes::from_static(b"/test/a");
    let value = Bytes::from_static(b"v");
    script.ask_value(peers[0], &key);
    script.ask(peers[0], &put_question(&key, &value));
    let mut open = get(&mut script, &key);
    let mut given = 0;
    while value_found(&mut script).is_none() {
        let next = open.remove(0);
        give(&mut script, &next, &value);
        open.extend(script.done().asked.into_iter().filter(|asked| asked.msg.kind == KadKind::GetValue));
        given += 1;
    }
    assert_eq!(given, 15);
}

#[test]
fn attack_24_pending_values_of_one_lookup_are_bounded() {
    let mut script = Script::new(|_| {});
    (1..=20).for_each(|n| {
        script.join(n);
    });
    let (key, _) = head_record(1);
    let mut open = get(&mut script, &key);
    let mut jobs = Vec::new();
    for length in 1.. {
        let Some(next) = open.pop() else { break };
        give(&mut script, &next, &head_record(length).1);
        let done = script.done();
        open.extend(done.asked);
        jobs.extend(done.jobs);
    }
    assert_eq!(jobs.len(), 8);
    for job in jobs {
        script.verified(job, false);
    }
    assert_eq!(value_found(&mut script), Some(None), "nothing unverified is returned");
    assert_eq!(script.done().offences.len(), 8);
}

#[test]
fn a_put_is_kept_here_brought_to_the_closest_and_counted_by_echo() {
    let mut script = Script::new(|_| {});
    (1..=3).for_each(|n| {
        script.join(n);
    });
    script.done();
    let (key, value) = head_record(4);
    script.kad.put_value(&mut script.world.cx(), key.clone(), value.clone());
    let done = script.done();
    assert!(done.asked.is_empty(), "first the own signatures");
    script.verified(done.jobs[0], true);
    let lookups = script.done().asked;
    assert!(lookups.iter().all(|asked| asked.msg.kind == KadKind::FindNode && asked.msg.key == key));
    lookups.iter().for_each(|asked| script.answer(asked, |_| {}));
    let puts = script.done().asked;
    assert_eq!(puts.iter().filter(|put| put.msg == put_question(&key, &value)).count(), 3);
    script.answer(&puts[0], |msg| msg.record = record(&key, &value));
    script.answer(&puts[1], |msg| msg.record = record(&key, b"something else"));
    script.kad.handle_request_failed(&mut script.world.cx(), puts[2].id, RequestError::Reset);
    assert!(matches!(script.events()[..], [KadEvent::Put { acks: 1, .. }]));
    let older = head_record(3).1;
    script.kad.put_value(&mut script.world.cx(), key.clone(), older);
    let job = script.done().jobs[0];
    script.verified(job, true);
    assert!(matches!(script.events()[..], [KadEvent::Put { acks: 0, .. }]), "older than the one here");
    assert_eq!(script.kad.records.own(&key), Some(&value));
}

#[test]
fn a_put_whose_signatures_do_not_hold_goes_nowhere() {
    let mut script = Script::new(|_| {});
    script.join(1);
    script.done();
    let (key, value) = head_record(4);
    script.kad.put_value(&mut script.world.cx(), key, value);
    let job = script.done().jobs[0];
    script.verified(job, false);
    assert!(matches!(script.events()[..], [KadEvent::Put { acks: 0, .. }]));
    assert!(script.kad.records.is_empty() && script.done().asked.is_empty());
}

#[test]
fn a_verdict_that_never_comes_does_not_hang_a_lookup_or_a_put() {
    let mut script = Script::new(|_| {});
    script.join(1);
    let (key, value) = head_record(4);
    let asked = get(&mut script, &key);
    give(&mut script, &asked[0], &value);
    script.pass(Duration::from_secs(31));
    assert_eq!(value_found(&mut script), Some(None));
    script.kad.put_value(&mut script.world.cx(), key, value);
    script.pass(Duration::from_secs(31));
    assert!(matches!(script.events()[..], [KadEvent::Put { acks: 0, .. }]));
    assert!(script.kad.jobs.is_empty() && script.done().offences.is_empty());
}

#[test]
fn a_value_whose_check_never_ended_is_checked_again_and_costs_its_next_giver_nothing() {
    let mut script = Script::new(|config| config.request_timeout = Duration::from_secs(60));
    (1..=2).for_each(|n| _ = script.join(n));
    let (key, value) = head_record(4);
    let asked = get(&mut script, &key);
    give(&mut script, &asked[0], &value);
    assert_eq!(script.done().jobs.len(), 1);
    script.pass(Duration::from_secs(31));
    give(&mut script, &asked[1], &value);
    let done = script.done();
    assert_eq!((done.jobs.len(), done.offences), (1, Vec::new()));
    script.verified(done.jobs[0], true);
    assert_eq!(value_found(&mut script), Some(Some(value)));
}
