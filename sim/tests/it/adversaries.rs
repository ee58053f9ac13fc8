//! Each hostile behaviour is seen while it lasts, and the others bear it.

use registry_core::command::{DhtCommand, PubsubCommand};
use registry_core::event::{DhtResult, Event};
use registry_core::{Command, Digest};
use sim::Fault;
use sim::adversary::{Hostile, Place};
use sim::fault::Effect;
use sim::net::Transport::Datagrams;

use crate::small_net::{ID, NODES, Net, SOME, fires};

fn acts(hostile: Hostile, effect: Effect) -> Net {
    fires(Datagrams, &Fault::Hostile(hostile), SOME, &[effect])
}

#[test]
fn floods_of_gossip_and_nodes_that_forward_nothing_hinder_nobody() {
    for (hostile, effect) in [
        (Hostile::IhaveFlood, Effect::IhaveFlood),
        (Hostile::IwantFlood, Effect::IwantFlood),
        (Hostile::GraftFlood, Effect::GraftFlood),
        (Hostile::NonForwarder, Effect::NotForwarded),
    ] {
        let mut net = Net::new(Datagrams);
        assert!(net.world.impose(ID, &Fault::Hostile(hostile), SOME));
        net.work(6);
        assert!(net.fired(effect) > 0);
        net.told();
        net.say(0);
        net.wait(10);
        assert!(net.told().iter().skip(1).all(|told| *told == 1), "{hostile:?}");
    }
}

#[test]
fn lies_of_dht_servers_are_told() {
    for (hostile, effect) in [
        (Hostile::InventedPeers, Effect::InventedPeers),
        (Hostile::Eclipse, Effect::Eclipse),
        (Hostile::StaleAnswers, Effect::StaleAnswer),
        (Hostile::SlowDrip, Effect::SlowDrip),
    ] {
        acts(hostile, effect);
    }
}

#[test]
fn a_censored_log_is_neither_taken_nor_given() {
    let mut net = acts(Hostile::Censor(Place::Log(0)), Effect::Censored);
    let publisher = net.world.host(0).local().publisher.as_ref().expect("all publish").id;
    let find = DhtCommand::FindProviders { key: publisher.0.to_multihash(), count: 1 };
    net.heard.clear();
    net.world.command(3, Command::Dht(find)).expect("it runs");
    net.wait(10);
    let found = net.heard.iter().any(|(node, event)| {
        *node == 3 && matches!(event, Event::Dht { result: DhtResult::Peers(found), .. } if !found.is_empty())
    });
    assert!(found, "others keep it");
}

#[test]
fn bad_bytes_are_charged() {
    let mut net = acts(Hostile::BadBytes, Effect::BadBytes);
    let hostile = SOME.iter().map(|ix| net.world.host(*ix).peer_id()).collect::<Vec<_>>();
    let charges = net
        .heard
        .drain(..)
        .filter(|(_, event)| matches!(event, Event::PeerMisbehaved { peer, .. } if hostile.contains(peer)));
    assert!(charges.count() > 0);
}

#[test]
fn a_sybil_is_where_it_wants_to_be() {
    let mut net = Net::new(Datagrams);
    let near = Place::Node(1);
    assert!(!net.world.impose(ID, &Fault::Sybil { near: Place::Node(NODES), bits: 8 }, SOME), "there is no such node");
    assert!(net.world.impose(ID, &Fault::Sybil { near, bits: 8 }, SOME));
    assert_eq!(net.fired(Effect::Sybil), 2);
    net.work(20);
    let place = |ix: u32| Digest::of(net.world.host(ix).peer_id().as_bytes()).0[0];
    for ix in SOME {
        assert_eq!(place(*ix), place(1));
        assert!(!net.world.host(*ix).peers().is_empty(), "it has joined");
    }
}

#[test]
fn who_is_muted_is_heard_through_others() {
    let mut net = Net::new(Datagrams);
    assert!(net.world.impose(ID, &Fault::Hostile(Hostile::Mute(0)), SOME));
    net.work(12);
    assert!(net.fired(Effect::NotForwarded) > 0);
    net.told();
    net.say(0);
    net.wait(5);
    assert_eq!(net.told(), [0, 1, 1, 1, 1, 1]);
}

#[test]
fn contradictions_are_found_out_and_imitations_arrive() {
    let mut net = Net::new(Datagrams);
    let releases = |net: &Net, ix| net.world.node(ix).expect("it runs").stats().releases;
    assert!(net.world.impose(ID, &Fault::Equivocate, SOME));
    assert!(net.world.impose(ID + 2, &Fault::SearchSpam { statements: 6, imitated: 2 }, &[5]));
    assert_eq!((net.fired(Effect::Equivocation), net.fired(Effect::SearchSpam)), (2, 6));
    net.wait(180);
    let told = |ix| net.heard.iter().any(|(node, event)| *node == ix && matches!(event, Event::Forked(_)));
    for honest in [0, 1, 3] {
        assert!(net.world.is_honest(honest) && !net.world.is_honest(2));
        assert!(told(honest), "node {honest} does not know of the fork");
        assert!(releases(&net, honest) >= 6);
    }
}

#[test]
fn who_has_moved_together_dials_from_one_address() {
    let mut net = Net::new(Datagrams);
    assert!(net.world.impose(ID, &Fault::CoLocated, SOME));
    assert_eq!(net.fired(Effect::CoLocated), 2);
    let [one, other] = [2, 4].map(|ix| net.world.host(ix).dials_from().to_string());
    assert_ne!(one, other);
    assert_eq!(one.rsplit_once('/').map(|it| it.0), other.rsplit_once('/').map(|it| it.0));
}

#[test]
fn who_is_honest_again_acts_so() {
    let mut net = Net::new(Datagrams);
    assert!(net.world.impose(ID, &Fault::Hostile(Hostile::NonForwarder), SOME));
    assert!(net.world.is_hostile(2) && !net.world.is_hostile(3));
    assert!(net.world.lift(ID));
    assert!(!net.world.is_hostile(2));
    net.world.command(2, Command::Pubsub(PubsubCommand::Subscribe("again".into()))).expect("it runs");
}
