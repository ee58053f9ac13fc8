//! Whoever was away when a publisher contradicted itself learns of it by sync.

use registry_core::event::Event;
use sim::engine::{Down, NodeIx};
use sim::fork::branches;
use sim::scenario::SECOND;
use sim::{Options, Scenario, World};

/// Holds the other branch than all others, and is gone before the last ones come.
const WITNESS: NodeIx = 4;
/// Was away with the first branch, was never there.
const AWAY: NodeIx = 5;
const NEW: NodeIx = 6;
const NODES: NodeIx = 7;

/// Runs until the time, and gives the nodes that were told of a fork meanwhile.
fn run_until(world: &mut World, until: u64) -> Vec<NodeIx> {
    let mut told = Vec::new();
    while world.step(until).is_some() {
        while let Some((node, event)) = world.take_emitted() {
            told.extend(matches!(event, Event::Forked(_)).then_some(node));
        }
    }
    told.sort_unstable();
    told
}

#[test]
fn who_was_away_during_a_fork_learns_of_it_by_sync() {
    let mut world = World::new(&Scenario::standard(NODES), 1, &Options::default(), &[]);
    let [first, second] = branches(1);
    for node in (0..WITNESS).chain([AWAY]) {
        world.preload(node, &first);
    }
    world.preload(WITNESS, &second);
    (0..AWAY).for_each(|node| world.schedule_boot(u64::from(node) * SECOND, node));
    assert_eq!(run_until(&mut world, 120 * SECOND), (0..=WITNESS).collect::<Vec<_>>(), "by gossip or by sync");

    world.crash(WITNESS, Down::Refusing);
    run_until(&mut world, 300 * SECOND);
    [AWAY, NEW].into_iter().for_each(|node| world.schedule_boot(world.now(), node));
    assert_eq!(run_until(&mut world, 480 * SECOND), [AWAY, NEW], "each once, and nobody again");

    world.schedule_boot(world.now(), WITNESS);
    assert!(run_until(&mut world, 600 * SECOND).is_empty(), "it has kept the proof");
    let stats = |node: NodeIx| world.node(node).expect("it runs").stats();
    for node in 0..NODES {
        assert_eq!((stats(node).forked, stats(node).catalogue), (1, stats(0).catalogue), "node {node}");
    }
    assert_eq!([0, WITNESS, AWAY, NEW].map(|node| stats(node).releases), [2, 3, 2, 0], "what was admitted stays");
}
