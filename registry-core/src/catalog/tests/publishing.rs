//! Own releases.

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use bytes::Bytes;

use super::host::{Host, admitted, author, behind};
use crate::action::Action;
use crate::catalog::record;
use crate::catalog::{CatalogEvent, MAX_BATCH, NewRelease, PackageSpec, Scheme, UpdateKind, Verdict, Version};
use crate::command::CommandError;
use crate::event::{BatchOutcome, OpError, Refusal};
use crate::fuzzing::author::release;
use crate::id::OpId;
use crate::time::Duration;

/// What became of each publish.
fn outcomes(events: &[CatalogEvent]) -> Vec<(u64, Result<u64, OpError>)> {
    let outcome = |event: &CatalogEvent| {
        if let CatalogEvent::Announce { op, release, .. } = event {
            return Some((op.0, Ok(release.release.position)));
        }
        let CatalogEvent::PublishFailed { op, error } = event else { return None };
        Some((op.0, Err(error.clone())))
    };
    events.iter().filter_map(outcome).collect()
}

#[test]
fn a_release_is_signed_then_stored_then_announced() {
    let mut host = Host::new(1);
    host.publish(1, release("a", "1.0.0"));
    let signing = host.world.actions();
    assert!(matches!(signing[..], [Action::Sign { .. }, Action::Sign { .. }]));
    assert!(host.events().is_empty());
    for action in signing {
        host.perform(action);
    }
    assert!(matches!(host.events()[..], [CatalogEvent::Signed { op: OpId(1) }]));
    assert_eq!(host.catalog.len(), 0, "nothing counts before the store has answered");
    let events = host.settle();
    assert!(matches!(
        &events[..],
        [CatalogEvent::Admitted { update: Some((UpdateKind::NewPackage, _)), .. }, CatalogEvent::Announce { .. }]
    ));
    assert_eq!(host.disk.len(), 3, "beside where the log began");

    let [.., CatalogEvent::Announce { announcement, .. }] = &events[..] else { panic!() };
    let record = host.catalog.record(host.id()).unwrap();
    assert!(record::check(&host.id().record_key(), &record).is_ok());
    let mut other = Host::new(2);
    let (verdict, events) = other.hear(announcement.clone());
    assert_eq!((verdict, admitted(&events)), (Verdict::Accept, vec!["a@1.0.0".into()]));
    assert_eq!(other.catalog.state(host.id()), host.catalog.state(host.id()));
}

#[test]
fn queued_releases_follow_each_other() {
    let mut host = Host::new(1);
    for i in 0..5 {
        host.publish(i, release("a", &alloc::format!("1.{i}.0")));
    }
    let events = host.settle();
    assert_eq!(outcomes(&events), (0..5).map(|i| (i, Ok(i))).collect::<Vec<_>>());
    assert!(host.log_of(host.id()).unwrap().is_complete());
    let highest = host.catalog.resolve(&PackageSpec::parse("a").unwrap()).unwrap();
    assert_eq!(&*highest.release.meta.version.text, "1.4.0");
}

#[test]
fn a_version_is_published_once() {
    let mut host = Host::new(1);
    let twice = release("a", "1.0.0");
    assert_eq!(host.catalog.check_publish(&twice.clone().into()), Ok(()));
    host.publish(1, twice.clone());
    assert_eq!(host.catalog.check_publish(&twice.clone().into()), Err(CommandError::AlreadyPublished));
    host.publish(2, twice.clone());
    let events = host.settle();
    assert_eq!(outcomes(&events), [(1, Ok(0)), (2, Err(OpError::AlreadyPublished))]);
    assert_eq!(host.catalog.check_publish(&twice.clone().into()), Err(CommandError::AlreadyPublished));
    assert_eq!(host.catalog.check_publish(&release("a", "1.0.1").into()), Ok(()));
}

#[test]
fn a_bad_field_is_named() {
    let host = Host::new(1);
    let field = |change: &dyn Fn(&mut NewRelease)| {
        let mut new = release("a", "1.0.0");
        change(&mut new);
        let Err(CommandError::Invalid { field, .. }) = host.catalog.check_publish(&new.clone().into()) else {
            panic!("accepted")
        };
        field
    };
    assert_eq!(field(&|new| new.summary = "x".repeat(257)), "summary");
    assert_eq!(field(&|new| new.summary = "two\nlines".into()), "summary");
    assert_eq!(field(&|new| new.description = "\u{1b}[2J".into()), "description");
    assert_eq!(field(&|new| new.keywords = vec!["x".into(); 2]), "keywords");
    assert_eq!(field(&|new| new.tags = vec!["".into()]), "tags");
    assert_eq!(field(&|new| new.category = "\u{202e}".into()), "category");
    assert_eq!(field(&|new| new.licence = "x".repeat(129)), "licence");
    assert_eq!(field(&|new| new.dependencies = vec![vec![]]), "dependencies");
    assert_eq!(field(&|new| new.version = Version { text: "x".into(), scheme: Scheme::Semver }), "version");
    let dependency = |i: usize| {
        let name = crate::catalog::Name::new(&alloc::format!("{}{i}", "n".repeat(100))).unwrap();
        vec![crate::catalog::Dependency { publisher: None, name, requirement: "x".repeat(100) }]
    };
    assert_eq!(field(&|new| new.dependencies = (0..200).map(dependency).collect()), "release");
}

#[test]
fn a_failed_commit_leaves_nothing() {
    let mut host = Host::new(1);
    host.disk_full = true;
    host.publish(1, release("a", "1.0.0"));
    let events = host.settle();
    assert_eq!(outcomes(&events), [(1, Err(OpError::Storage))]);
    assert!(admitted(&events).is_empty() && host.catalog.len() == 0);
    host.disk_full = false;
    host.publish(2, release("b", "1.0.0"));
    assert_eq!(outcomes(&host.settle()), [(2, Ok(0))]);
}

#[test]
fn without_a_signature_nothing_happens() {
    let mut host = Host::new(1);
    host.publish(1, release("a", "1.0.0"));
    host.publish(2, release("b", "1.0.0"));
    let [Action::Sign { job, .. }, Action::Sign { job: late, .. }] = host.world.actions()[..] else { panic!() };
    host.catalog.handle_signed(&mut host.world.cx(), job, None);
    host.catalog.handle_signed(&mut host.world.cx(), late, Some(Bytes::from_static(&[0; 64])));
    assert_eq!(outcomes(&host.settle()), [(1, Err(OpError::Signing)), (2, Ok(0))]);
}

#[test]
fn without_a_publisher_nothing_is_published() {
    let mut host = Host::new(1);
    host.world.local.publisher = None;
    host.catalog = crate::catalog::Catalog::new(&mut host.world.cx());
    assert_eq!(host.catalog.check_publish(&release("a", "1.0.0").into()), Err(CommandError::NoPublisher));
}

/// What became of each release of each batch: its position, or a word.
fn batches(events: &[CatalogEvent]) -> Vec<(u64, Vec<String>)> {
    let outcome = |outcome: &BatchOutcome| match outcome {
        BatchOutcome::Published { position } => position.to_string(),
        BatchOutcome::Unchanged => "unchanged".into(),
        BatchOutcome::Refused(error) => error.to_string(),
    };
    let batch = |event: &CatalogEvent| {
        let CatalogEvent::BatchDone { op, outcomes } = event else { return None };
        Some((op.0, outcomes.iter().map(outcome).collect()))
    };
    events.iter().filter_map(batch).collect()
}

#[test]
fn a_batch_has_one_head_one_commit_and_one_announcement() {
    let mut host = Host::new(1);
    let releases: Vec<_> = (0..5).map(|i| release("a", &alloc::format!("1.{i}.0"))).collect();
    host.publish_batch(1, releases[..3].to_vec());
    let signing = host.world.actions();
    assert_eq!(signing.len(), 4, "three statements and one head");
    for action in signing.into_iter().rev() {
        host.perform(action);
    }
    assert!(matches!(host.events()[..], [CatalogEvent::Signed { op: OpId(1) }]));
    let stored = host.world.actions();
    assert!(matches!(&stored[..], [Action::Store { .. }]) && host.catalog.len() == 0);
    stored.into_iter().for_each(|action| host.perform(action));
    let events = host.settle();
    assert_eq!(admitted(&events), ["a@1.0.0", "a@1.1.0", "a@1.2.0"]);
    assert_eq!(batches(&events), [(1, vec!["0".into(), "1".into(), "2".into()])]);

    host.publish_batch(2, releases[3..].to_vec());
    let events = host.settle();
    assert!(!events.iter().any(|event| matches!(event, CatalogEvent::HeadMoved { .. })));
    let events = host.advance(Duration::from_secs(5));
    let [CatalogEvent::HeadMoved { announcement }] = &events[..] else { panic!("{events:?}") };
    let mut other = Host::new(2);
    let (verdict, events) = other.hear(announcement.clone());
    assert_eq!((verdict, behind(&events)), (Verdict::Accept, 1));
    let record = host.catalog.record(host.id()).unwrap();
    let (_, statements) = host.catalog.log(host.id(), 0, usize::MAX).unwrap();
    assert_eq!(other.fetch_with(record, 0, statements).0, Verdict::Accept);
    assert_eq!(other.catalog.state(host.id()), host.catalog.state(host.id()));
    assert!(host.advance(Duration::from_secs(60)).is_empty(), "announced once");
}

#[test]
fn each_release_of_a_batch_has_its_own_outcome() {
    let mut host = Host::new(1);
    host.publish(1, release("a", "1.0.0"));
    host.settle();
    let changed = |name: &str| NewRelease { summary: "another".into(), ..release(name, "1.0.0") };
    let unfit = NewRelease { licence: "x".repeat(129), ..release("c", "1.0.0") };
    let batch = vec![
        release("a", "1.0.0"),
        release("b", "1.0.0"),
        changed("a"),
        unfit,
        release("b", "1.0.0"),
        changed("b"),
        release("d", "1.0.0"),
    ];
    host.publish_batch(2, batch.clone());
    let taken = CommandError::AlreadyPublished.to_string();
    let (unchanged, unfit) = ("unchanged".to_string(), "licence: too long".to_string());
    let first = vec!["1".into(), taken.clone(), unfit.clone(), unchanged.clone(), taken.clone(), "2".into()];
    let expected = [vec![unchanged.clone()], first].concat();
    assert_eq!(batches(&host.settle()), [(2, expected)]);
    host.publish_batch(3, batch);
    let again = vec![unchanged.clone(), unchanged.clone(), taken.clone(), unfit, unchanged.clone(), taken, unchanged];
    assert_eq!(batches(&host.settle()), [(3, again)]);
    assert_eq!(host.catalog.len(), 3);
}

#[test]
fn a_batch_that_cannot_be_kept_leaves_nothing() {
    let mut host = Host::new(1);
    let batch = || vec![release("a", "1.0.0"), release("b", "1.0.0")];
    host.disk_full = true;
    host.publish_batch(1, batch());
    let events = host.settle();
    assert_eq!(outcomes(&events), [(1, Err(OpError::Storage))]);
    assert!(admitted(&events).is_empty() && host.disk.len() == 1);
    host.disk_full = false;
    host.publish_batch(2, batch());
    let Some(Action::Sign { job, .. }) = host.world.out.pop() else { panic!() };
    host.catalog.handle_signed(&mut host.world.cx(), job, None);
    assert_eq!(outcomes(&host.settle()), [(2, Err(OpError::Signing))]);
    host.publish_batch(3, batch());
    assert_eq!(batches(&host.settle()), [(3, vec!["0".into(), "1".into()])]);
}

#[test]
fn a_batch_is_bounded() {
    let mut host = Host::new(1);
    for (count, fits) in [(0, false), (1, true), (MAX_BATCH, true), (MAX_BATCH + 1, false)] {
        assert_eq!(host.catalog.check_batch(count).is_ok(), fits, "{count}");
    }
    let release = |i: usize| release("a", &alloc::format!("1.{i}.0"));
    for op in 0..4096 / MAX_BATCH {
        assert_eq!(host.catalog.check_batch(MAX_BATCH), Ok(()));
        host.publish_batch(op as u64, (0..MAX_BATCH).map(|i| release(op * MAX_BATCH + i)).collect());
    }
    assert_eq!(host.catalog.check_batch(1), Err(CommandError::Busy));
    assert_eq!(host.catalog.check_publish(&release(9999).into()), Err(CommandError::Busy));
}

#[test]
fn a_crash_leaves_a_batch_whole_or_nothing_of_it() {
    for steps in 0..12 {
        let mut host = Host::new(1);
        let batch: Vec<_> = (0..4).map(|i| release("a", &alloc::format!("1.{i}.0"))).collect();
        host.publish_batch(1, batch.clone());
        for _ in 0..steps {
            let Some(action) = host.world.out.pop() else { break };
            host.perform(action);
        }
        let told = batches(&host.events()).len();
        let mut after = host.restarted(host.disk.clone());
        after.catalog.assert_sound();
        assert_eq!(after.catalog.len(), if steps >= 6 { 4 } else { 0 });
        assert_eq!(told * 4, after.catalog.len(), "whatever is told is durable");
        after.publish_batch(2, batch);
        after.settle();
        assert_eq!(after.catalog.len(), 4);
    }
}

/// However far a publish had come, what is on disk is either nothing of it or all of it, and the log goes on from there.
#[test]
fn a_crash_at_any_step_leaves_a_whole_log() {
    for steps in 0..12 {
        let mut host = Host::new(1);
        host.publish(1, release("a", "1.0.0"));
        host.publish(2, release("a", "1.1.0"));
        host.publish(3, release("a", "1.2.0"));
        for _ in 0..steps {
            let Some(action) = host.world.out.pop() else { break };
            host.perform(action);
        }
        let announced = outcomes(&host.events()).len();
        let mut after = host.restarted(host.disk.clone());
        after.catalog.assert_sound();
        let kept = after.catalog.len();
        assert_eq!(kept, steps / 3);
        assert_eq!(announced, kept, "whatever is announced is durable");
        after.publish(4, release("a", "2.0.0"));
        assert_eq!(outcomes(&after.settle()), [(4, Ok(kept as u64))]);
    }
}

#[test]
fn a_log_with_a_lost_row_takes_no_release_until_it_is_whole_again() {
    let mut host = Host::new(1);
    for i in 0..3 {
        host.publish(i, release("a", &alloc::format!("1.{i}.0")));
    }
    host.settle();
    let record = host.catalog.record(host.id()).unwrap();
    let (_, statements) = host.catalog.log(host.id(), 0, usize::MAX).unwrap();
    let whole = host.disk.clone();
    let origin = host.signer.publisher.origin().key;
    for lost in whole.keys().filter(|(_, key)| *key != origin) {
        let mut disk = whole.clone();
        disk.remove(lost);
        let mut after = host.restarted(disk);
        after.catalog.assert_sound();
        after.publish(4, release("a", "2.0.0"));
        assert_eq!(outcomes(&after.settle()), [(4, Err(OpError::Refused(Refusal::LogUnsynced)))]);
        let from = after.catalog.state(host.id()).map_or(0, |state| state.length);
        let (verdict, _) = after.fetch_with(record.clone(), from, statements[from as usize..].to_vec());
        assert_eq!(verdict, Verdict::Accept);
        after.publish(5, release("a", "2.0.0"));
        assert_eq!(outcomes(&after.settle()), [(5, Ok(3))]);
    }
}

#[test]
fn an_altered_row_breaks_nothing() {
    let mut host = Host::new(1);
    host.publish(1, release("a", "1.0.0"));
    host.publish(2, release("a", "1.1.0"));
    host.settle();
    let whole: BTreeMap<_, _> = host.disk.clone();
    for (row, value) in &whole {
        for i in 0..value.len() {
            let mut altered = value.to_vec();
            altered[i] ^= 0x10;
            let mut disk = whole.clone();
            disk.insert(row.clone(), Bytes::from(altered));
            host.restarted(disk).catalog.assert_sound();
        }
    }
}

#[test]
fn a_longer_own_log_elsewhere_stops_signing() {
    let mut elsewhere = author(1);
    elsewhere.append("a", "1.0.0").append("a", "1.1.0");
    let mut host = Host::new(1);
    assert!(host.catalog.is_behind(host.id(), &elsewhere.record()));
    host.catalog.handle_head_record(&mut host.world.cx(), elsewhere.record());
    assert_eq!(behind(&host.settle()), 1);
    host.publish(1, release("b", "1.0.0"));
    assert_eq!(outcomes(&host.settle()), [(1, Err(OpError::Refused(Refusal::LogUnsynced)))]);
    assert_eq!(host.fetch(&elsewhere, 0, 2).0, Verdict::Accept);
    assert!(!host.catalog.is_behind(host.id(), &elsewhere.record()));
    host.publish(2, release("b", "1.0.0"));
    assert_eq!(outcomes(&host.settle()), [(2, Ok(2))]);
}

#[test]
fn a_store_is_whole_in_which_the_log_began_or_was_signed_on() {
    let mut elsewhere = author(1);
    elsewhere.append("a", "1.0.0");
    let begun = Host::new(1);
    assert!(begun.catalog.has_whole_own_log());
    let mut host = begun.restarted(BTreeMap::new());
    host.fetch(&elsewhere, 0, 1);
    assert!(!host.catalog.has_whole_own_log(), "others may have more");
    host.disk_full = true;
    host.publish(1, release("b", "1.0.0"));
    host.settle();
    assert!(!host.catalog.has_whole_own_log(), "nothing is durable");
    host.disk_full = false;
    host.publish(2, release("b", "1.0.0"));
    host.settle();
    assert!(host.catalog.has_whole_own_log());
    assert!(host.restarted(host.disk.clone()).catalog.has_whole_own_log());
}

#[test]
fn what_is_being_signed_gives_way_to_what_was_published_elsewhere() {
    let mut elsewhere = author(1);
    elsewhere.append("a", "1.0.0");
    let mut host = Host::new(1);
    host.publish(1, release("b", "1.0.0"));
    let signing = host.world.actions();
    let source = host.peer();
    host.catalog.handle_announcement(&mut host.world.cx(), 7, source, elsewhere.announcement(1));
    let events = host.settle();
    assert_eq!(outcomes(&events), [(1, Ok(1))]);
    for late in signing {
        host.perform(late);
    }
    assert!(host.settle().is_empty());
    assert_eq!(host.releases(), ["a@1.0.0", "b@1.0.0"]);
}

#[test]
fn a_forked_own_log_takes_no_release() {
    let mut elsewhere = author(1);
    elsewhere.append("a", "1.0.0");
    let mut host = Host::new(1);
    host.publish(1, release("b", "1.0.0"));
    host.settle();
    host.catalog.handle_head_record(&mut host.world.cx(), elsewhere.record());
    host.settle();
    let forked = [(2, Err(OpError::Refused(Refusal::Forked)))];
    host.publish(2, release("c", "1.0.0"));
    assert_eq!(outcomes(&host.settle()), forked);
    let mut after = host.restarted(host.disk.clone());
    after.publish(2, release("c", "1.0.0"));
    assert_eq!(outcomes(&after.settle()), forked);
}

#[test]
fn the_head_is_renewed_before_it_expires() {
    let mut host = Host::new(1);
    host.publish(1, release("a", "1.0.0"));
    let before = host.settle().into_iter().find_map(|event| {
        let CatalogEvent::Announce { announcement, .. } = event else { return None };
        Some(announcement)
    });
    let before = before.unwrap();
    let key = host.id().record_key();
    let rank = |host: &Host| record::check(&key, &host.catalog.record(host.id()).unwrap()).unwrap().rank();
    let first = rank(&host);
    let day = Duration::from_secs(24 * 3600);
    for _ in 0..19 {
        assert!(host.advance(day).is_empty());
    }
    assert_eq!(rank(&host), first);
    let events = [host.advance(day), host.advance(day)].concat();
    let [CatalogEvent::HeadMoved { announcement }] = &events[..] else { panic!() };
    assert!(rank(&host) > first);
    let mut other = Host::new(2);
    other.hear(before);
    assert_eq!(other.hear(announcement.clone()).0, Verdict::Accept);
    assert_eq!(other.catalog.record(host.id()), host.catalog.record(host.id()));
    assert_eq!(other.hear(announcement.clone()).0, Verdict::Ignore);
    assert_eq!(host.catalog.len(), 1);

    let mut late = host.restarted(host.disk.clone());
    late.world.advance(40 * day);
    assert!(matches!(&late.advance(day)[..], [CatalogEvent::HeadMoved { .. }]));
}
