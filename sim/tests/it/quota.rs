//! What quotas have refused is named as that, and kept by whoever follows its publisher.

use std::sync::Arc;

use registry_core::catalog::{Content, Name, NewRelease, PackageSpec, Scheme, Version};
use registry_core::command::Command;
use registry_core::event::{Event, OpError, Refusal};
use registry_core::{Config, PublisherId};
use sim::engine::NodeIx;
use sim::scenario::SECOND;
use sim::{Options, Scenario, World};

const PUBLISHERS: NodeIx = 6;
/// Publishes nothing, and has room for fewer publishers than there are.
const READER: NodeIx = PUBLISHERS;
const ROOM: usize = 4;

fn name() -> Name {
    Name::new("thing").expect("letters")
}

/// Runs until the time, or until the reader was told how a resolve ended.
fn run_until(world: &mut World, until: u64) -> Option<Result<PublisherId, OpError>> {
    while world.step(until).is_some() {
        while let Some((node, event)) = world.take_emitted() {
            match event {
                Event::Resolved { release, .. } if node == READER => return Some(Ok(release.release.publisher)),
                Event::Failed { error, .. } if node == READER => return Some(Err(error)),
                _ => {}
            }
        }
    }
    None
}

fn resolve(world: &mut World, publisher: PublisherId) -> Option<Result<PublisherId, OpError>> {
    let spec = PackageSpec { publisher: Some(publisher), name: name(), version: None };
    world.command(READER, Command::Resolve(spec)).expect("a publisher's name");
    run_until(world, world.now() + 60 * SECOND)
}

#[test]
fn what_was_refused_says_so_and_is_kept_by_whoever_follows() {
    let mut config = Config::default();
    config.catalog.max_publishers = ROOM;
    let scenario = Scenario { config: Arc::new(config), ..Scenario::standard(PUBLISHERS + 1) };
    let mut world = World::new(&scenario, 1, &Options::default(), &Vec::from_iter(0..PUBLISHERS));
    (0..=READER).for_each(|node| world.schedule_boot(u64::from(node) * SECOND, node));
    run_until(&mut world, 30 * SECOND);
    for node in 0..PUBLISHERS {
        let version = Version::new("1.0.0", Scheme::Semver).expect("a version");
        let release = NewRelease { summary: "a thing".into(), ..NewRelease::new(name(), version, Content::Unknown) };
        world.command(node, Command::Publish(release)).expect("a release");
    }
    run_until(&mut world, 120 * SECOND);

    let publisher = |node: NodeIx| world.host(node).local().publisher.as_ref().expect("it publishes").id;
    let reader = world.node(READER).expect("it runs");
    let (held, refused): (Vec<_>, Vec<_>) =
        (0..PUBLISHERS).map(publisher).partition(|publisher| !reader.list(*publisher, None).packages.is_empty());
    assert_eq!((held.len(), refused.len()), (ROOM, PUBLISHERS as usize - ROOM));
    assert_eq!(resolve(&mut world, refused[0]), Some(Err(OpError::Refused(Refusal::NoRoom))));

    world.command(READER, Command::Follow { publisher: refused[0], on: true }).expect("few are followed");
    assert_eq!(resolve(&mut world, refused[0]), Some(Ok(refused[0])));
}
