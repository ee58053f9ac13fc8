//! Whom a node keeps in a flood.

use alloc::vec::Vec;

use proptest::prelude::*;

use super::host::Host;
use crate::catalog::quotas::Standing;
use crate::catalog::{CatalogEvent, Verdict};
use crate::fuzzing::author::{Author, release};
use crate::id::PublisherId;
use crate::wire::registry::PublisherState;

/// Room for 12 settled publishers and 4 drawn ones.
fn host() -> Host {
    let mut host = Host { trusting: true, ..Host::new(1) };
    host.catalog.quotas.limits.max_publishers = 16;
    host
}

/// A publisher with so many releases.
fn publisher(seed: u8, releases: usize) -> Author {
    let mut author = Author::unsigned(seed);
    for i in 0..releases {
        author.append("a", &alloc::format!("1.{i}.0"));
    }
    author
}

fn tell(host: &mut Host, author: &Author) -> (Verdict, Vec<CatalogEvent>) {
    host.fetch(author, 0, author.statements.len())
}

fn standing(host: &Host, publisher: PublisherId) -> Option<Standing> {
    host.log_of(publisher).map(|log| log.standing)
}

fn held(host: &Host) -> Vec<PublisherId> {
    host.catalog.states(None).map(|state| state.publisher).collect()
}

#[test]
fn a_flood_puts_out_nobody_who_was_there_before() {
    let mut host = host();
    let honest: Vec<_> = (0..12).map(|seed| publisher(seed, 2)).collect();
    honest.iter().for_each(|author| assert_eq!(tell(&mut host, author).0, Verdict::Accept));
    let mut put_out = 0;
    for seed in 100..220 {
        let (_, events) = tell(&mut host, &publisher(seed, 3));
        put_out += events.iter().filter(|event| matches!(event, CatalogEvent::PutOut { .. })).count();
    }
    assert!(honest.iter().all(|author| standing(&host, author.id()) == Some(Standing::Settled)));
    assert_eq!(host.catalog.quotas.usage(Standing::Drawn).publishers, 4);
    let counted = host.catalog.quota_use();
    assert_eq!((counted.put_out, counted.refused), (put_out as u64, 120 - 4 - put_out as u64));
    assert_eq!(host.offences(), 0, "nobody is blamed");
    let mut older = honest.into_iter().next().unwrap();
    assert_eq!(host.hear(older.append("b", "1.0.0").announcement(1)).0, Verdict::Accept, "they go on");
    let again = host.restarted(host.disk.clone());
    assert_eq!((held(&again), again.releases()), (held(&host), host.releases()));
    assert_eq!(again.catalog.quotas.usage(Standing::Drawn), host.catalog.quotas.usage(Standing::Drawn));
}

#[test]
fn who_is_followed_is_kept() {
    let mut host = host();
    (0..40).for_each(|seed| drop(tell(&mut host, &publisher(seed, 1))));
    let author = publisher(99, 40);
    assert_eq!(tell(&mut host, &author).0, Verdict::Ignore, "too much for a newcomer");
    let claim = |length| PublisherState { publisher: author.id(), length, tip: author.id().0 };
    assert!(!host.catalog.would_take(&claim(40)));
    assert_eq!(host.catalog.follow(&mut host.world.cx(), author.id(), true), Ok(()));
    host.settle();
    assert!(host.catalog.would_take(&claim(40)));
    assert_eq!(tell(&mut host, &author).0, Verdict::Accept);
    let mut again = host.restarted(host.disk.clone());
    assert_eq!(standing(&again, author.id()), Some(Standing::Kept));
    assert_eq!(again.catalog.follow(&mut again.world.cx(), author.id(), false), Ok(()));
    again.settle();
    assert_eq!(standing(&again, author.id()), Some(Standing::Settled));
    let later = again.restarted(again.disk.clone());
    assert_eq!(standing(&later, author.id()), Some(Standing::Settled));
}

#[test]
fn one_publisher_has_a_quota_of_bytes() {
    let mut host = host();
    let author = publisher(2, 8);
    let bytes: usize = author.statements[..4].iter().map(|statement| statement.len()).sum();
    host.catalog.quotas.limits.max_bytes_per_publisher = bytes + author.record().len() + 1000;
    assert_eq!(host.fetch(&author, 0, 4).0, Verdict::Accept);
    assert_eq!(host.fetch(&author, 4, 8).0, Verdict::Ignore);
    host.publish(1, release("own", "1.0.0"));
    assert_eq!(host.settle().len(), 3, "the own log is exempt");
}

#[test]
fn what_is_on_its_way_to_the_store_takes_room() {
    let mut host = host();
    tell(&mut host, &publisher(0, 2));
    let size = host.catalog.quota_use().bytes;
    host.catalog.quotas.limits.max_bytes = 4 * size;
    let source = host.peer();
    for seed in 1..10 {
        let author = publisher(seed, 2);
        let (record, entries) = (author.record(), author.statements.clone());
        host.catalog.handle_entries(&mut host.world.cx(), seed.into(), source, record, 0, entries);
    }
    host.settle();
    assert_eq!(host.catalog.quotas.usage(Standing::Settled).publishers, 3);
    assert_eq!(host.catalog.quotas.usage(Standing::Drawn).publishers, 1);
    assert_eq!(host.catalog.quota_use().bytes, 4 * size);
}

#[test]
fn who_settled_grows_to_an_equal_share_when_all_is_full() {
    let mut host = host();
    let mut authors: Vec<_> = (0..4).map(|seed| publisher(seed, 2)).collect();
    let size = tell(&mut host, &authors[0]).1.len().min(1) * host.catalog.quota_use().bytes;
    // Three quarters are just full with three of them.
    host.catalog.quotas.limits.max_bytes = 4 * size;
    (1..4).for_each(|n| drop(tell(&mut host, &authors[n])));
    assert_eq!(standing(&host, authors[3].id()), Some(Standing::Drawn));
    let announcement = authors[0].append("b", "1.0.0").announcement(1);
    assert_eq!(host.hear(announcement).0, Verdict::Ignore, "over its share");
    host.catalog.quotas.limits.max_bytes = 4 * size + size / 2;
    let grown = authors[0].announcement(1);
    assert_eq!(host.hear(grown).0, Verdict::Ignore, "an equal share of four is less than that");
    host.catalog.quotas.limits.max_bytes = 8 * size;
    let grown = authors[0].announcement(1);
    assert_eq!(host.hear(grown).0, Verdict::Accept);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Of newcomers those with the highest lots stay, in whatever order they come; whoever settled stays.
    #[test]
    fn lots_decide_not_the_order_of_arrival(order in Just((20..60u8).collect::<Vec<_>>()).prop_shuffle()) {
        let (mut first, mut second) = (host(), host());
        (0..12).for_each(|seed| drop(tell(&mut first, &publisher(seed, 1))));
        (0..12).for_each(|seed| drop(tell(&mut second, &publisher(seed, 1))));
        (20..60).for_each(|seed| drop(tell(&mut first, &publisher(seed, 1))));
        order.into_iter().for_each(|seed| drop(tell(&mut second, &publisher(seed, 1))));
        prop_assert_eq!(held(&first), held(&second));
    }

    /// Whatever comes in whatever sizes: the budget holds, and what is on disk is what is held.
    #[test]
    fn the_budget_holds(
        arrivals in proptest::collection::vec((0..30u8, 1..8usize), 1..40),
        max_bytes in 4_000..40_000usize,
    ) {
        let mut host = host();
        host.catalog.quotas.limits.max_bytes = max_bytes;
        for (seed, releases) in arrivals {
            let author = publisher(seed, releases);
            let have = host.catalog.state(author.id()).map_or(0, |state| state.length as usize);
            host.fetch(&author, have.min(releases), releases);
            let usage = |standing| host.catalog.quotas.usage(standing);
            let (settled, drawn) = (usage(Standing::Settled), usage(Standing::Drawn));
            prop_assert!(settled.bytes + drawn.bytes <= max_bytes);
            prop_assert!(settled.publishers + drawn.publishers <= 16);
            prop_assert!(drawn.bytes <= max_bytes / 4);
        }
        prop_assert_eq!(host.restarted(host.disk.clone()).releases(), host.releases());
    }
}
