//! Each fault has its effect while it is in force, and none when it is lifted.

use registry_core::command::PubsubCommand;
use registry_core::event::{OpError, Refusal};
use registry_core::{Command, Event};
use sim::engine::Down;
use sim::fault::{Access, Effect, Paths};
use sim::net::Transport::{Datagrams, Streams};
use sim::scenario::SECOND;
use sim::{Fault, NodeIx};

use crate::small_net::{ALL, ID, NODES, Net, SOME, fires};

#[test]
fn loss_comes_in_bursts_and_drops_datagrams_or_delays_streams() {
    let loss = Fault::Loss { good_ppm: 1_000, bad_ppm: 600_000, burst: 5, gap: 20 };
    fires(Datagrams, &loss, ALL, &[Effect::Burst, Effect::LostMessage, Effect::LostRequest]);
    let net = fires(Streams, &loss, ALL, &[Effect::Burst, Effect::Retransmission]);
    assert_eq!(net.fired(Effect::LostMessage) + net.fired(Effect::LostRequest), 0);
}

#[test]
fn latency_has_tails() {
    fires(Datagrams, &Fault::Tail { spread: 3, rare_ppm: 10_000 }, ALL, &[Effect::Tail]);
}

#[test]
fn access_to_the_internet_is_slow_lossy_and_narrow() {
    fires(Datagrams, &Fault::Access(Access::Bad), SOME, &[Effect::Access, Effect::LostMessage, Effect::Queued]);
    fires(Streams, &Fault::Access(Access::Laggy), SOME, &[Effect::Access, Effect::Retransmission]);
}

#[test]
fn bandwidth_makes_messages_wait_or_fall() {
    fires(Datagrams, &Fault::Bandwidth { kbit: 8 }, SOME, &[Effect::Queued, Effect::QueueOverflow]);
}

#[test]
fn datagrams_come_twice_and_out_of_order_and_streams_do_not() {
    let (ppm, within) = (100_000, SECOND);
    fires(Datagrams, &Fault::Duplicate { ppm, within }, ALL, &[Effect::Duplicate]);
    fires(Datagrams, &Fault::Reorder { ppm, within }, ALL, &[Effect::Reordered]);
    let mut net = Net::new(Streams);
    assert!(net.world.impose(ID, &Fault::Duplicate { ppm, within }, ALL));
    assert!(net.world.impose(ID + 2, &Fault::Reorder { ppm, within }, ALL));
    net.work(10);
    assert_eq!(net.fired(Effect::Duplicate) + net.fired(Effect::Reordered), 0);
}

#[test]
fn a_flipped_bit_breaks_the_connection() {
    let mut net = Net::new(Streams);
    assert!(net.world.impose(ID, &Fault::Corrupt { ppm: 1_000_000 }, &[2]));
    net.heard.clear();
    net.say(2);
    net.wait(1);
    let broken = net.heard.iter().filter(|(node, event)| *node == 2 && matches!(event, Event::PeerDown(_)));
    assert!(broken.count() > 0);
    fires(Datagrams, &Fault::Corrupt { ppm: 20_000 }, ALL, &[Effect::Corrupted]);
}

#[test]
fn a_peer_that_garbles_is_charged() {
    let mut net = fires(Datagrams, &Fault::Garble { ppm: 100_000 }, &[3], &[Effect::Garbled, Effect::Altered]);
    let garbler = net.world.host(3).peer_id();
    let charges = net
        .heard
        .drain(..)
        .filter(|(_, event)| matches!(event, Event::PeerMisbehaved { peer, .. } if *peer == garbler));
    assert!(charges.count() > 0);
}

#[test]
fn a_partition_keeps_its_sides_apart_until_it_is_lifted() {
    for transport in [Datagrams, Streams] {
        let mut net = Net::new(transport);
        assert!(!net.world.impose(ID, &Fault::Partition { paths: Paths::Both }, ALL), "there is one side only");
        assert!(net.world.impose(ID, &Fault::Partition { paths: Paths::Both }, SOME));
        net.told();
        net.say(0);
        net.wait(9);
        assert_eq!(net.told(), [0, 1, 0, 1, 0, 1]);
        net.work(60);
        assert!(net.fired(Effect::Partition) > 0 && net.fired(Effect::GivenUp) > 0);
        let across =
            |net: &Net| SOME.iter().any(|node| net.world.host(*node).peers().iter().any(|peer| !SOME.contains(peer)));
        assert!(!across(&net));
        assert!(net.world.lift(ID));
        net.work(60);
        net.told();
        net.say(0);
        net.wait(5);
        assert!(across(&net));
        assert_eq!(net.told(), [0, 1, 1, 1, 1, 1]);
    }
}

#[test]
fn one_way_partitions_and_partitions_of_pairs_stop_what_they_name() {
    fires(Datagrams, &Fault::Partition { paths: Paths::Out }, SOME, &[Effect::OneWay]);
    fires(Streams, &Fault::Partition { paths: Paths::In }, SOME, &[Effect::OneWay]);
    let mut net = Net::new(Streams);
    assert!(net.world.impose(ID, &Fault::Partition { paths: Paths::Pairs(1_000_000) }, SOME));
    net.work(50);
    let peers = |net: &Net, node: NodeIx| net.world.host(node).peers();
    assert!(!peers(&net, 2).contains(&4), "A and C are apart");
    assert!(peers(&net, 2).contains(&3) && peers(&net, 3).contains(&4), "A and B, and B and C, are not");
    assert!(net.fired(Effect::NonTransitive) > 0);
}

#[test]
fn a_flapping_partition_comes_and_goes() {
    let (down, up) = (2 * SECOND, 2 * SECOND);
    let fault = Fault::Flap { paths: Paths::Both, down, up };
    let net = fires(Streams, &fault, SOME, &[Effect::Flap]);
    assert_eq!(net.fired(Effect::GivenUp), 0, "no connection is given up in two seconds");
}

#[test]
fn a_clog_holds_up_and_loses_nothing() {
    let mut net = Net::new(Datagrams);
    assert!(net.world.impose(ID, &Fault::Clog { paths: Paths::In }, &[2]));
    net.told();
    net.say(0);
    net.wait(60);
    assert_eq!(net.told()[2], 0);
    assert_eq!(net.fired(Effect::GivenUp), 0);
    assert!(net.fired(Effect::Clogged) > 0 && net.world.lift(ID));
    net.wait(1);
    assert_eq!(net.told()[2], 1);
}

#[test]
fn undialable_nodes_and_full_ones_are_not_reached() {
    fires(Datagrams, &Fault::Undialable, SOME, &[Effect::Undialable]);
    let net = fires(Datagrams, &Fault::ConnectionCap { most: 2 }, &[3], &[Effect::ConnectionCap]);
    assert!(net.world.host(3).peers().len() > 2, "the cap is lifted");
}

#[test]
fn a_machine_that_is_lost_comes_back_as_another_one_of_the_same_publisher() {
    let mut net = Net::new(Datagrams);
    net.work(5);
    let (peer, publisher) = (net.world.host(2).peer_id(), net.world.host(2).local().publisher.clone());
    let rows = |net: &Net| net.world.host(2).disk().recovery().concat().len();
    assert!(rows(&net) > 0);
    assert!(net.world.impose(ID, &Fault::Crash { down: Down::Silent, disk_lost: true }, &[2]));
    assert!(!net.world.impose(ID, &Fault::Crash { down: Down::Silent, disk_lost: true }, &[2]), "it is down");
    assert_eq!((rows(&net), net.fired(Effect::LostDisk)), (0, 1));
    net.wait(20);
    assert!(net.world.lift(ID));
    net.work(20);
    let host = net.world.host(2);
    assert!(host.is_up() && !host.peers().is_empty());
    assert_ne!(host.peer_id(), peer);
    assert!(host.local().publisher == publisher);
    assert_eq!((net.world.find(&peer), net.world.find(&host.peer_id())), (None, Some(2)));
}

#[test]
fn whoever_was_connected_to_a_lost_machine_hears_of_its_end() {
    for down in [Down::Refusing, Down::Silent] {
        let mut net = Net::new(Datagrams);
        let peer = net.world.host(2).peer_id();
        let knows =
            |net: &Net, ix| net.world.node(ix).is_some_and(|node| node.peers().iter().any(|it| it.peer == peer));
        assert!((0..NODES).any(|ix| knows(&net, ix)));
        assert!(net.world.impose(ID, &Fault::Crash { down, disk_lost: true }, &[2]));
        net.wait(1);
        assert_eq!((0..NODES).any(|ix| knows(&net, ix)), down == Down::Silent);
        assert!(net.world.lift(ID));
        net.wait(40);
        assert!(!(0..NODES).any(|ix| knows(&net, ix)), "{down:?}");
    }
}

/// Pairs of which one knows of a connection and the other does not.
fn halves(net: &Net) -> usize {
    let knows = |a: NodeIx, b| net.world.host(a).peers().contains(&b);
    let pairs = (0..NODES).flat_map(|a| (0..a).map(move |b| (a, b)));
    pairs.filter(|(a, b)| knows(*a, *b) != knows(*b, *a)).count()
}

#[test]
fn the_end_of_a_connection_waits_for_its_way_and_is_not_lost() {
    let mut net = Net::new(Datagrams);
    assert!(net.world.impose(ID, &Fault::Partition { paths: Paths::Both }, &[2]));
    net.wait(22);
    assert!(halves(&net) > 0, "some have given up, and others have not");
    assert!(net.world.impose(ID + 2, &Fault::loss(1_000_000), &[]));
    assert!(net.world.lift(ID));
    net.wait(2);
    assert_eq!(halves(&net), 0);
}

#[test]
fn the_end_of_a_connection_outlives_a_second_crash() {
    let mut net = Net::new(Datagrams);
    let crash = Fault::Crash { down: Down::Refusing, disk_lost: false };
    assert!(net.world.impose(ID, &Fault::Clog { paths: Paths::Both }, &[2]));
    assert!(net.world.impose(ID + 6, &Fault::Undialable, &[2]));
    assert!(net.world.impose(ID + 2, &crash, &[0]));
    net.wait(1);
    assert!(net.world.lift(ID + 2));
    net.wait(1);
    assert!(net.world.impose(ID + 4, &crash, &[0]));
    assert!(net.world.host(2).peers().contains(&0));
    assert!(net.world.lift(ID));
    net.wait(2);
    assert!(!net.world.host(2).peers().contains(&0));
}

#[test]
fn a_publisher_that_has_lost_its_store_signs_nothing_before_it_has_found_its_log() {
    let lost = Fault::Crash { down: Down::Refusing, disk_lost: true };
    // Alone, or among others who have lost theirs, there is nobody who has it.
    for island in [&[2][..], &[0, 2]] {
        let mut net = Net::new(Datagrams);
        net.publish(2);
        net.wait(5);
        assert!(net.world.impose(ID, &Fault::Partition { paths: Paths::Both }, island));
        assert!(net.world.impose(ID + 2, &lost, island));
        net.wait(5);
        assert!(net.world.lift(ID + 2));
        net.wait(30);
        net.heard.clear();
        net.publish(2);
        net.wait(5);
        let failed = |(node, event): &(NodeIx, Event)| match event {
            Event::Failed { error, .. } if *node == 2 => Some(error.clone()),
            _ => None,
        };
        let why = net.heard.iter().filter_map(failed).collect::<Vec<_>>();
        assert_eq!(why, [OpError::Refused(Refusal::LogUnsynced)]);
        assert!(net.world.lift(ID));
        net.wait(90);
        net.publish(2);
        net.wait(90);
        let published = |(node, event): &(NodeIx, Event)| *node == 2 && matches!(event, Event::Published { .. });
        assert!(net.heard.iter().any(published));
        assert!(!net.heard.iter().any(|(_, event)| matches!(event, Event::Forked(_))));
    }
}

#[test]
fn a_stop_loses_no_write() {
    let mut net = Net::new(Datagrams);
    net.publish(2);
    assert!(net.world.impose(ID, &Fault::Stop, &[2]));
    assert_eq!((net.fired(Effect::Stop), net.fired(Effect::Crash), net.fired(Effect::LostWrite)), (1, 0, 0));
    net.wait(2);
    assert!(net.world.lift(ID));
    net.wait(2);
    assert_eq!(net.fired(Effect::Restart), 1);
}

#[test]
fn a_paused_node_does_nothing_and_then_all_at_once() {
    for asleep in [false, true] {
        let mut net = Net::new(Streams);
        assert!(net.world.impose(ID, &Fault::Pause { asleep }, &[2]));
        net.told();
        net.say(0);
        net.wait(10);
        assert_eq!(net.told()[2], 0);
        assert!(net.world.command(2, Command::Pubsub(PubsubCommand::Subscribe("other".into()))).is_err());
        assert!(net.world.lift(ID));
        net.wait(1);
        assert_eq!(net.told()[2], 1);
        assert!(net.fired(if asleep { Effect::Asleep } else { Effect::Paused }) > 0);
        let lost = net.world.now() - net.world.clock(2).as_micros();
        assert_eq!(lost > 9 * SECOND, asleep, "{lost}");

        assert!(net.world.impose(ID, &Fault::Pause { asleep }, &[2]));
        net.wait(60);
        assert!(net.fired(Effect::GivenUp) > 0, "its peers give it up");
        assert!((0..NODES).all(|other| !net.world.host(other).is_connected(2)), "who dials it waits in vain");
        assert!(net.world.lift(ID));
        net.wait(60);
        assert!(!net.world.host(2).peers().is_empty(), "it comes back");
    }
}

#[test]
fn a_slow_node_does_one_thing_after_the_other() {
    fires(Datagrams, &Fault::Slow { factor: 50 }, SOME, &[Effect::Slow]);
}

#[test]
fn disks_fail_fill_stall_and_rot() {
    fires(Datagrams, &Fault::DiskError { ppm: 200_000 }, ALL, &[Effect::DiskError]);
    fires(Datagrams, &Fault::DiskFull, SOME, &[Effect::DiskFull]);
    fires(Datagrams, &Fault::DiskSlow { factor: 10 }, ALL, &[Effect::DiskSlow]);
    fires(Datagrams, &Fault::DiskStall { ppm: 100_000 }, ALL, &[Effect::DiskStall]);
    fires(Datagrams, &Fault::BitRot { ppm: 300_000 }, ALL, &[Effect::BitRot]);
}

#[test]
fn a_wall_clock_jumps_and_jumps_back() {
    let mut net = Net::new(Datagrams);
    assert!(net.world.impose(ID, &Fault::ClockJump { by: -86_400 }, SOME));
    net.work(61);
    assert_eq!(net.fired(Effect::ClockJump), 2);
    assert!(net.world.lift(ID));
    net.work(61);
    assert_eq!(net.fired(Effect::ClockJump), 4);
}

#[test]
fn a_clock_drifts() {
    let net = fires(Datagrams, &Fault::ClockDrift { ppm: 50_000 }, &[2], &[Effect::ClockDrift]);
    let ahead = net.world.clock(2).as_micros() - net.world.now();
    assert!((SECOND..3 * SECOND).contains(&ahead), "{ahead}");
}
