//! An import in the virtual network: batches that survive a crash and reach everybody.

use registry_core::catalog::{Content, Name, NewRelease, Scheme, Version};
use registry_core::event::BatchOutcome;
use registry_core::{Command, Event};
use sim::engine::Down;
use sim::scenario::SECOND;
use sim::{Fault, NodeIx, Options, Scenario, World};

const NODES: u32 = 8;
const PUBLISHER: NodeIx = 3;
const BATCHES: u64 = 6;
const BATCH: u64 = 64;

fn batch(number: u64) -> Vec<NewRelease> {
    let release = |row: u64| {
        let name = Name::new(&format!("row-{row}")).expect("letters, digits and a hyphen");
        let version = Version::new("1.0.0", Scheme::Semver).expect("a version");
        let summary = format!("Row {row} of an import");
        NewRelease { summary, ..NewRelease::new(name, version, Content::Unknown) }
    };
    (number * BATCH..(number + 1) * BATCH).map(release).collect()
}

/// Runs until the time, or until the publisher was told of so many batches, and gives what it was told.
fn run_until(world: &mut World, until: u64, batches: u64) -> Vec<Vec<BatchOutcome>> {
    let mut told = Vec::new();
    while (told.len() as u64) < batches && world.step(until).is_some() {
        while let Some((node, event)) = world.take_emitted() {
            if let (PUBLISHER, Event::BatchPublished { outcomes, .. }) = (node, event) {
                told.push(outcomes);
            }
        }
    }
    told
}

fn publish(world: &mut World, numbers: impl Iterator<Item = u64>) {
    for number in numbers {
        world.command(PUBLISHER, Command::PublishBatch(batch(number))).expect("it takes a batch");
    }
}

#[test]
fn an_import_survives_a_crash_and_reaches_everybody() {
    for seed in 1..=2 {
        let mut world = World::new(&Scenario::small(NODES), seed, &Options::default(), &[PUBLISHER]);
        (0..NODES).for_each(|ix| world.schedule_boot(u64::from(ix) * SECOND, ix));
        run_until(&mut world, 40 * SECOND, u64::MAX);
        assert!(world.impose(0, &Fault::loss(10_000), &[]));

        publish(&mut world, 0..BATCHES);
        let acknowledged = run_until(&mut world, 60 * SECOND, seed).len() as u64;
        assert_eq!(acknowledged, seed, "the crash comes in time");
        assert!(world.crash(PUBLISHER, Down::Refusing));
        world.schedule_boot(world.now() + 5 * SECOND, PUBLISHER);
        run_until(&mut world, 80 * SECOND, u64::MAX);

        publish(&mut world, 0..BATCHES);
        let told = run_until(&mut world, 180 * SECOND, BATCHES).concat();
        assert_eq!(told.len() as u64, BATCHES * BATCH, "seed {seed}: each row has an outcome");
        let (kept, rest) = told.split_at((acknowledged * BATCH) as usize);
        assert!(
            kept.iter().all(|outcome| *outcome == BatchOutcome::Unchanged),
            "seed {seed}: an acknowledged row is lost"
        );
        assert!(rest.iter().all(|outcome| !matches!(outcome, BatchOutcome::Refused(_))));

        run_until(&mut world, 360 * SECOND, u64::MAX);
        let stats = |ix: NodeIx| world.node(ix).expect("it runs").stats();
        for ix in 0..NODES {
            assert_eq!(stats(ix).releases, BATCHES * BATCH, "seed {seed}: node {ix}");
            assert_eq!(stats(ix).catalogue, stats(PUBLISHER).catalogue, "seed {seed}: node {ix}");
        }
    }
}
