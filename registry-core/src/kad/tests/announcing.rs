//! What this node announces again and again.

use super::*;

const HOUR: Duration = Duration::from_secs(3600);

#[test]
fn provider_records_are_announced_again_until_stopped() {
    let mut script = Script::new(|config| config.k = 1);
    let peer = script.join(1);
    script.world.peers.handle_local_addr(TestWorld::addr(99), true);
    script.play(HOUR);
    script.kad.provide(&mut script.world.cx(), multihash(0));
    let (told, _) = script.play(HOUR);
    let expected = KadMessage {
        providers: [KadPeer { id: script.world.local.id, addrs: [TestWorld::addr(99)].into(), connected: true }].into(),
        ..question(KadKind::AddProvider, &multihash(0))
    };
    assert_eq!(told, [expected]);
    assert!(matches!(script.events()[..], [KadEvent::Provided { sent: 1, .. }]));
    let served = |script: &mut Script| {
        script.ask(peer, &question(KadKind::GetProviders, &multihash(0))).unwrap().providers.len()
    };
    assert_eq!(served(&mut script), 1, "this node says so itself");
    assert_eq!(script.play(HOUR * 19).0.len(), 0);
    assert_eq!(script.play(HOUR * 5).0.len(), 1, "again after 22 hours");
    assert!(script.events().is_empty(), "the operation is long over");
    script.kad.stop_providing(&mut script.world.cx(), &multihash(0));
    assert_eq!((served(&mut script), script.play(HOUR * 48).0.len()), (0, 0));
}

#[test]
fn stopping_ends_a_running_announcement() {
    let mut script = Script::new(|_| {});
    script.join(1);
    script.done();
    script.kad.provide(&mut script.world.cx(), multihash(0));
    let asked = script.done().asked;
    script.kad.stop_providing(&mut script.world.cx(), &multihash(0));
    assert!(matches!(script.events()[..], [KadEvent::Provided { sent: 0, .. }]));
    script.answer(&asked[0], |_| {});
    assert!(script.done().sent.is_empty());
}

#[test]
fn an_announcement_nobody_heard_is_tried_again_soon() {
    let mut script = Script::new(|_| {});
    script.kad.provide(&mut script.world.cx(), multihash(0));
    assert!(matches!(script.events()[..], [KadEvent::Provided { sent: 0, .. }]));
    script.join(1);
    assert_eq!(script.play(Duration::from_secs(91)).0.len(), 1);
}

#[test]
fn an_announcement_that_found_few_servers_is_repeated_ever_more_rarely() {
    let mut script = Script::new(|config| config.k = 2);
    script.join(1);
    script.kad.provide(&mut script.world.cx(), multihash(0));
    let times: usize = script.play(HOUR).0.len();
    assert!((6..=7).contains(&times), "at once, and after 1, 3, 7, 15, 31 minutes or so: {times}");
    assert_eq!(script.play(HOUR * 24 * 10).0.len() / 11, 1, "then each 22 hours or so");
}

#[test]
fn what_was_announced_in_a_part_of_the_network_reaches_the_rest_soon() {
    let mut script = Script::new(|config| config.k = 2);
    script.join(1);
    script.kad.provide(&mut script.world.cx(), multihash(0));
    script.kad.put_value(&mut script.world.cx(), Bytes::from_static(b"/test/a"), Bytes::from_static(b"a"));
    let (told, puts) = script.play(Duration::from_secs(30));
    assert_eq!((told.len(), puts), (1, 1));
    script.join(2);
    let (told, puts) = script.play(Duration::from_secs(60));
    assert_eq!((told.len(), puts), (2, 2), "both servers hear of both");
    let (told, puts) = script.play(HOUR);
    assert_eq!((told.len(), puts), (0, 0), "as many as should know it do");
}

#[test]
fn a_key_that_is_no_multihash_is_not_announced() {
    let mut script = Script::new(|_| {});
    script.join(1);
    for key in [Bytes::new(), Bytes::from(alloc::vec![1; 81])] {
        script.kad.provide(&mut script.world.cx(), key);
        assert!(matches!(script.events()[..], [KadEvent::Provided { sent: 0, .. }]));
    }
}

#[test]
fn own_values_are_stored_again_and_the_latest_one_counts() {
    let mut script = Script::new(|config| config.k = 1);
    let peer = script.join(1);
    let key = Bytes::from_static(b"/test/a");
    for value in [&b"a"[..], b"b"] {
        script.kad.put_value(&mut script.world.cx(), key.clone(), Bytes::from_static(value));
        assert_eq!(script.play(HOUR).1, 1);
    }
    assert!((10..=11).contains(&script.play(HOUR * 24 * 10).1), "each 22 hours or so, long after the first 48");
    script.done();
    assert_eq!(script.ask(peer, &put_question(&key, b"c")), Some(put_question(&key, b"c")));
    assert_eq!(script.play(HOUR * 24 * 10).1, 0, "somebody's better value has replaced it");
}
