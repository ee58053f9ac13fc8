//! What peers hand in.

use alloc::format;
use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;

use bytes::Bytes;
use proptest::prelude::*;

use super::host::{Host, admitted, author, behind};
use super::signer::{Signer, mutations};
use crate::catalog::admit::MAX_RUN;
use crate::catalog::announcement::Announcement;
use crate::catalog::envelope::Envelope;
use crate::catalog::statement::MAX_STATEMENT;
use crate::catalog::{CatalogEvent, Domain, PackageSpec, Unresolved, UpdateKind, Verdict};
use crate::fuzzing::author::{Author, release};
use crate::id::Digest;

/// A log of `n` versions of the package `a`.
fn log(seed: u8, n: usize) -> Author {
    let mut author = author(seed);
    extend(&mut author, n);
    author
}

fn unsigned_log(seed: u8, n: usize) -> Author {
    let mut author = Author::unsigned(seed);
    extend(&mut author, n);
    author
}

fn extend(author: &mut Author, n: usize) {
    for i in 0..n {
        author.append("a", &format!("1.{i}.0"));
    }
}

fn trusting() -> Host {
    Host { trusting: true, ..Host::new(1) }
}

#[test]
fn an_announcement_is_admitted_once() {
    let mut log = log(2, 1);
    let mut host = Host::new(1);
    let (verdict, events) = host.hear(log.announcement(1));
    assert_eq!(verdict, Verdict::Accept);
    assert!(matches!(&events[..], [CatalogEvent::Admitted { update: Some((UpdateKind::NewPackage, _)), .. }]));
    log.append("a", "2.0.0");
    let (_, events) = host.hear(log.announcement(1));
    assert!(matches!(&events[..], [CatalogEvent::Admitted { update: Some((UpdateKind::NewVersion, _)), .. }]));
    assert_eq!(host.offences(), 0);
}

#[test]
fn what_is_known_costs_no_signature_check() {
    let mut log = log(2, 2);
    let mut host = Host::new(1);
    host.fetch(&log, 0, 2);
    let checks = host.checks;
    assert_eq!(host.hear(log.announcement(1)).0, Verdict::Ignore);
    assert_eq!(host.hear(log.announcement(2)).0, Verdict::Ignore);
    log.retract();
    assert_eq!(host.hear(log.announcement(1)).0, Verdict::Ignore, "an older head");
    assert_eq!((host.checks, host.offences()), (checks, 0));
}

#[test]
fn a_copy_of_what_is_held_with_other_signatures_is_checked() {
    let mut log = log(2, 1);
    let mut host = Host::new(1);
    host.hear(log.announcement(1));
    let held = Envelope::decode(&log.statements[0], MAX_STATEMENT).unwrap();
    let forged = Envelope { signatures: vec![(0, Bytes::from_static(&[7; 64]))], ..held }.encode();
    log.append("a", "2.0.0");
    let statements = vec![forged, log.statements[1].clone()];
    let (verdict, events) = host.hear(Announcement { record: log.record(), statements }.encode());
    assert_eq!(verdict, Verdict::Reject, "whoever lacks the first one would blame this node for passing it on");
    assert!(admitted(&events).is_empty());
}

#[test]
fn a_gap_is_told_and_filled() {
    let mut log = log(2, 1);
    let mut host = Host::new(1);
    let first = log.announcement(1);
    let second = log.append("a", "2.0.0").announcement(1);
    let third = log.append("a", "3.0.0").announcement(1);
    for later in [third, second] {
        let (verdict, events) = host.hear(later);
        assert_eq!((verdict, behind(&events), admitted(&events).len()), (Verdict::Accept, 1, 0));
    }
    let (_, events) = host.hear(first);
    assert_eq!(admitted(&events), ["a@1.0.0", "a@2.0.0", "a@3.0.0"]);
    assert!(host.log_of(log.id()).unwrap().is_complete());
}

#[test]
fn a_long_log_comes_in_parts() {
    let log = log(2, 4);
    let mut host = Host::new(1);
    assert_eq!(host.fetch(&log, 0, 2).0, Verdict::Accept);
    assert_eq!(host.fetch(&log, 3, 4).0, Verdict::Ignore, "a part is missing");
    assert_eq!(host.catalog.state(log.id()).unwrap().length, 2);
    assert!(host.catalog.is_behind(log.id(), &log.record()) && !host.catalog.is_behind(host.id(), &log.record()));
    let again = host.restarted(host.disk.clone());
    assert_eq!(again.catalog.state(log.id()), host.catalog.state(log.id()));
    let (verdict, events) = host.fetch(&log, 1, 4);
    assert_eq!((verdict, admitted(&events).len()), (Verdict::Accept, 2));
    assert!(!host.catalog.is_behind(log.id(), &log.record()));
}

#[test]
fn who_has_no_more_of_a_log_tells_the_longest_head_known() {
    let mut host = trusting();
    let log = unsigned_log(2, 1);
    host.fetch(&log, 0, 1);
    host.hear(unsigned_log(2, 4).announcement(1));
    host.hear(unsigned_log(2, 3).announcement(1));
    let told = |from| host.catalog.log(log.id(), from, usize::MAX).unwrap();
    assert_eq!(told(0), (log.record(), log.statements.clone()));
    assert_eq!(told(1), (unsigned_log(2, 4).record(), vec![]));
}

#[test]
fn more_than_a_run_is_cut() {
    let log = unsigned_log(2, 200);
    let mut host = trusting();
    assert_eq!(host.fetch(&log, 0, 200).0, Verdict::Accept);
    assert_eq!(host.catalog.len(), MAX_RUN);
    assert_eq!(host.fetch(&log, MAX_RUN, 200).0, Verdict::Accept);
    let (record, statements) = host.catalog.log(log.id(), 0, usize::MAX).unwrap();
    assert_eq!((record, statements.len()), (log.record(), MAX_RUN));
    let (_, statements) = host.catalog.log(log.id(), 198, usize::MAX).unwrap();
    assert_eq!(statements, log.statements[198..]);
    let (record, statements) = host.catalog.log(log.id(), 0, 2000).unwrap();
    assert!(!statements.is_empty() && record.len() + statements.iter().map(Bytes::len).sum::<usize>() <= 2000);
    assert_eq!(host.catalog.log(log.id(), u64::MAX, 10_000).unwrap().1, Vec::<Bytes>::new());
}

#[test]
fn attack_20_an_older_head_replaces_nothing() {
    let log = log(2, 2);
    let mut host = Host::new(1);
    host.fetch(&log, 0, 2);
    let held = host.catalog.record(log.id());
    let at = |secs| log.record_of(&log.head(secs));
    host.fetch_with(at(1_600_000_000), 0, vec![]);
    host.catalog.handle_head_record(&mut host.world.cx(), at(1_600_000_000));
    host.settle();
    assert_eq!(host.catalog.record(log.id()), held);
    host.catalog.handle_head_record(&mut host.world.cx(), at(1_800_000_000));
    host.settle();
    assert_eq!(host.catalog.record(log.id()), Some(at(1_800_000_000)));
}

#[test]
fn two_statements_at_one_position_are_a_fork() {
    let mut log = log(2, 2);
    let honest = log.announcement(1);
    log.retract();
    let other = log.append("b", "1.0.0").announcement(1);
    let later = log.append("b", "2.0.0").announcement(1);
    let mut host = Host::new(1);
    host.fetch(&log, 0, 1);
    assert_eq!(host.hear(honest.clone()).0, Verdict::Accept);
    let (verdict, events) = host.hear(other.clone());
    assert_eq!(
        (verdict, admitted(&events).len(), host.offences()),
        (Verdict::Ignore, 0, 0),
        "whoever forwards it is not to blame"
    );
    let conflict = host.log_of(log.id()).unwrap().conflict.clone().unwrap();
    let statement = |announcement| Announcement::decode(announcement).unwrap().statements[0].clone();
    assert_eq!((conflict.0, conflict.1), (statement(&honest), statement(&other)));

    let mut after = host.restarted(host.disk.clone());
    for host in [&mut host, &mut after] {
        let checks = host.checks;
        assert_eq!(host.hear(later.clone()).0, Verdict::Ignore, "nothing new is admitted");
        assert_eq!(host.checks, checks);
        assert_eq!(host.releases(), ["a@1.0.0", "a@1.1.0"], "what was admitted stays");
    }
}

#[test]
fn a_branch_that_leaves_earlier_is_a_fork() {
    let mut log = log(2, 2);
    let mut host = Host::new(1);
    host.fetch(&log, 0, 2);
    log.retract();
    let longer = log.append("b", "1.0.0").append("b", "2.0.0").announcement(1);
    assert_eq!(host.hear(longer).0, Verdict::Ignore);
    assert!(host.log_of(log.id()).unwrap().conflict.is_some());
}

#[test]
fn one_version_twice_is_a_contradiction() {
    let mut log = log(2, 1);
    let mut host = Host::new(1);
    host.hear(log.announcement(1));
    let (verdict, events) = host.hear(log.append("a", "1.0.0").announcement(1));
    assert_eq!((verdict, admitted(&events).len()), (Verdict::Ignore, 0));
    assert!(host.log_of(log.id()).unwrap().conflict.is_some());
    // In a first run too.
    let mut fresh = Host::new(1);
    assert_eq!(fresh.fetch(&log, 0, 2).0, Verdict::Ignore);
    assert_eq!(fresh.catalog.len(), 0);
}

#[test]
fn a_root_over_other_entries_is_a_contradiction() {
    let log = log(2, 2);
    let mut head = log.head(1_700_000_000);
    head.root = Digest::of(b"other");
    let mut host = Host::new(1);
    host.fetch(&log, 0, 1);
    assert_eq!(host.fetch_with(log.record_of(&head), 1, log.statements[1..].to_vec()).0, Verdict::Ignore);
    assert_eq!(host.releases(), ["a@1.0.0"]);
}

#[test]
fn forgeries_are_rejected_and_charged() {
    let log_of = log;
    let (log, thief) = (log(2, 2), Signer::new(3));
    let announce =
        |record: Bytes, statements: &[Bytes]| Announcement { record, statements: statements.to_vec() }.encode();
    let body = Envelope::decode(&log.statements[1], MAX_STATEMENT).unwrap().body;
    let last = log.next(release("x", "1.0.0"));
    let foreign = |network: &str| {
        let mut log = log_of(2, 1);
        log.append_body(log.next(release("x", "1.0.0")).to_body(network));
        log.announcement(1)
    };
    let mut head = log.head(1);
    head.network = "other".into();
    let cases = [
        ("signed by another key", announce(log.record(), &[thief.envelope(Domain::Statement, body.clone())])),
        ("signed as a head", announce(log.record(), &[log.envelope(Domain::Head, body)])),
        ("another statement than the head's", announce(log.record(), &log.statements[..1])),
        ("another order", announce(log.record(), &[log.statements[1].clone(), log.statements[0].clone()])),
        ("not in the log", announce(log.record(), &[log.envelope(Domain::Statement, last.to_body("test"))])),
        ("a head of another network", announce(log.record_of(&head), &log.statements[1..])),
        ("a statement of another network", foreign("other")),
        ("another publisher's record", announce(log_of(4, 2).record(), &log.statements[1..])),
        ("more statements than the head covers", announce(log_of(2, 1).record(), &log.statements)),
        ("none", announce(log.record(), &[])),
        ("garbage", Bytes::from_static(b"garbage")),
        ("too long", Bytes::from(vec![0; 49 * 1024])),
    ];
    for (what, announcement) in cases {
        let mut host = Host::new(1);
        host.fetch(&log, 0, 1);
        let (verdict, events) = host.hear(announcement);
        assert_eq!((verdict, admitted(&events).len()), (Verdict::Reject, 0), "{what}");
        assert_eq!(host.offences(), 50, "{what}");
    }
}

#[test]
fn what_a_later_version_may_say_blames_nobody() {
    for (of, as_) in [(&b"\x66format\x01"[..], &b"\x66format\x02"[..]), (b"grelease", b"gretract")] {
        let mut log = log(2, 0);
        let body = log.next(release("a", "1.0.0")).to_body("test").to_vec();
        let at = body.windows(of.len()).position(|window| window == of).unwrap();
        log.append_body([&body[..at], as_, &body[at + of.len()..]].concat().into());
        let mut host = Host::new(1);
        assert_eq!(host.hear(log.announcement(1)).0, Verdict::Ignore);
        assert_eq!((host.offences(), host.catalog.len()), (0, 0));
    }
}

#[test]
fn altered_bytes_of_an_announcement_are_refused() {
    let log = log(2, 1);
    let mut host = Host::new(1);
    for altered in mutations(&log.announcement(1)).step_by(7) {
        let source = host.peer();
        host.catalog.handle_announcement(&mut host.world.cx(), 7, source, altered);
        host.settle();
        assert_eq!(host.catalog.len(), 0);
    }
}

/// The identity of a statement is its body: neither other signatures nor other frames make a second one of it, and no
/// other body has its digest.
#[test]
fn attack_53_a_statement_is_bound_to_its_content() {
    let mut host = trusting();
    let log = unsigned_log(2, 1);
    host.hear(log.announcement(1));
    let mut envelope = Envelope::decode(&log.statements[0], MAX_STATEMENT).unwrap();
    envelope.signatures = vec![(0, Bytes::from_static(&[9; 64]))];
    let checks = host.checks;
    assert_eq!(host.fetch_with(log.record(), 0, vec![envelope.encode()]).0, Verdict::Ignore);
    assert_eq!((host.checks, host.catalog.len()), (checks, 1));
    let statement = host.catalog.releases().next().unwrap().statement;
    assert_eq!(statement, Digest::of(&envelope.body));
    let other = unsigned_log(3, 1);
    host.hear(other.announcement(1));
    assert_ne!(host.catalog.releases().map(|release| release.statement).collect::<Vec<_>>()[0..2], [statement; 2]);
}

#[test]
fn quotas_refuse_without_blame() {
    let mut host = trusting();
    host.catalog.quotas.limits.max_publishers = 1;
    host.catalog.quotas.limits.max_statements_per_publisher = 2;
    let (log, other) = (unsigned_log(2, 3), unsigned_log(3, 1));
    assert_eq!(host.fetch(&log, 0, 2).0, Verdict::Accept);
    assert_eq!(host.fetch(&log, 2, 3).0, Verdict::Ignore);
    assert_eq!(host.hear(other.announcement(1)).0, Verdict::Ignore);
    host.publish(1, release("own", "1.0.0"));
    host.settle();
    assert_eq!(host.catalog.len(), 3, "the own log is exempt");
    host.catalog.quotas.limits.max_publishers = 3;
    host.catalog.quotas.limits.max_bytes = 100;
    assert_eq!(host.hear(other.announcement(1)).0, Verdict::Ignore);
    host.catalog.handle_head_record(&mut host.world.cx(), other.record());
    assert_eq!((behind(&host.settle()), host.offences()), (0, 0), "what could not be kept is not asked for");
}

#[test]
fn one_source_cannot_fill_the_queue() {
    let mut host = Host::new(1);
    let (flooder, other) = (host.world.connect(8), host.world.connect(9));
    for seed in 0..100 {
        let announcement = unsigned_log(seed, 1).announcement(1);
        host.catalog.handle_announcement(&mut host.world.cx(), u64::from(seed), flooder, announcement);
    }
    assert_eq!(host.catalog.verifying.len(), 64);
    host.catalog.handle_announcement(&mut host.world.cx(), 100, other, unsigned_log(100, 1).announcement(1));
    assert_eq!(host.catalog.verifying.len(), 65);
    assert_eq!(host.settle().len(), 101, "everything is judged");
}

#[test]
fn a_full_disk_admits_nothing() {
    let log = log(2, 1);
    let mut host = Host::new(1);
    host.disk_full = true;
    let (verdict, events) = host.fetch(&log, 0, 1);
    assert_eq!((verdict, events.len(), host.catalog.len()), (Verdict::Ignore, 0, 0));
    host.disk_full = false;
    assert_eq!(host.fetch(&log, 0, 1).0, Verdict::Accept);
}

#[test]
fn late_and_unknown_answers_are_ignored() {
    let mut host = Host::new(1);
    host.catalog.handle_verified(&mut host.world.cx(), crate::id::JobId(1), true);
    host.catalog.handle_signed(&mut host.world.cx(), crate::id::JobId(1), None);
    host.catalog.handle_stored(&mut host.world.cx(), crate::id::StoreId(1), crate::input::StoreResult::Done);
    assert!(host.settle().is_empty());
}

#[test]
fn a_bare_name_resolves_only_when_one_publisher_has_it() {
    let mut host = trusting();
    let (log, other) = (unsigned_log(2, 3), unsigned_log(3, 2));
    host.fetch(&log, 0, 3);
    let resolve = |host: &Host, text: &str| {
        let found = host.catalog.resolve(&PackageSpec::parse(text).unwrap());
        found.map(|release| (release.release.publisher, release.release.meta.version.text.to_string()))
    };
    assert_eq!(resolve(&host, "a"), Ok((log.id(), "1.2.0".into())));
    assert_eq!(resolve(&host, "a@<1.2"), Ok((log.id(), "1.1.0".into())));
    host.fetch(&other, 0, 2);
    assert_eq!(resolve(&host, "a"), Err(Unresolved::Ambiguous));
    assert_eq!(resolve(&host, &format!("{}/a", other.id())), Ok((other.id(), "1.1.0".into())));
    assert_eq!(resolve(&host, "b"), Err(Unresolved::Unknown));
    let versions = host.catalog.versions(log.id(), &crate::catalog::Name::new("a").unwrap());
    assert_eq!(versions.iter().map(|release| release.release.position).collect::<Vec<_>>(), [2, 1, 0]);
    let ids: Vec<_> = host.catalog.states(None).map(|state| state.publisher).collect();
    assert!(ids.is_sorted() && ids.len() == 2);
    assert_eq!(host.catalog.states(Some(ids[0])).map(|state| state.publisher).collect::<Vec<_>>(), ids[1..]);
}

/// What reaches a node of one log.
#[derive(Clone, Debug)]
enum Arrival {
    Announcement { length: usize, statements: usize },
    Run { from: usize, to: usize, length: usize },
    Head { length: usize },
}

const LENGTH: usize = 5;

fn arrival() -> impl Strategy<Value = Arrival> {
    prop_oneof![
        4 => (1..=LENGTH, 1..3usize).prop_map(|(length, statements)| Arrival::Announcement { length, statements }),
        2 => (0..LENGTH, 0..=LENGTH, 1..=LENGTH).prop_map(|(from, to, length)| Arrival::Run { from, to, length }),
        1 => (1..=LENGTH).prop_map(|length| Arrival::Head { length }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// In whatever order, how often and in what parts a log arrives: a node that in the end has been given all of it has
    /// exactly it, each statement told once, and its disk gives the same after a restart.
    #[test]
    fn the_order_of_arrival_does_not_matter(arrivals in proptest::collection::vec(arrival(), 0..16)) {
        let mut logs: Vec<_> = (1..=LENGTH).map(|n| unsigned_log(2, n)).collect();
        let whole = logs.pop().unwrap();
        let of = |length: usize| logs.get(length - 1).unwrap_or(&whole);
        let mut host = trusting();
        let mut told = Vec::new();
        for arrival in arrivals {
            let events = match arrival {
                Arrival::Announcement { length, statements } => {
                    host.hear(of(length).announcement(statements.min(length))).1
                }
                Arrival::Run { from, to, length } => {
                    let to = to.max(from);
                    let length = length.max(to);
                    host.fetch_with(of(length).record(), from as u64, whole.statements[from..to].to_vec()).1
                }
                Arrival::Head { length } => {
                    host.catalog.handle_head_record(&mut host.world.cx(), of(length).record());
                    host.settle()
                }
            };
            told.extend(admitted(&events));
        }
        told.extend(admitted(&host.fetch(&whole, 0, LENGTH).1));
        let expected: Vec<_> = (0..LENGTH).map(|i| format!("a@1.{i}.0")).collect();
        prop_assert_eq!(&told, &expected);
        prop_assert_eq!(host.releases(), expected);
        prop_assert_eq!(host.catalog.record(whole.id()), Some(whole.record()));
        prop_assert_eq!(host.offences(), 0);
        let again = host.restarted(host.disk.clone());
        prop_assert_eq!(again.releases(), host.releases());
        prop_assert_eq!(again.catalog.record(whole.id()), host.catalog.record(whole.id()));
    }
}

#[test]
fn what_was_admitted_is_read_again_from_its_envelope() {
    let mut host = trusting();
    let log = unsigned_log(2, 1);
    let announcement = log.announcement(1);
    let (_, events) = host.hear(announcement.clone());
    let [CatalogEvent::Admitted { update: Some((_, release)), .. }] = &events[..] else { panic!() };
    assert_eq!(host.catalog.release(log.id(), 0).as_ref(), Some(release));
    assert_eq!(host.catalog.resolve(&PackageSpec::parse("a").unwrap()).as_ref(), Ok(release));
    assert_eq!(host.catalog.release(log.id(), 1), None);
    let (_, held) = host.catalog.log(log.id(), 0, usize::MAX).unwrap();
    assert!(announcement.as_ptr_range().contains(&held[0].as_ptr()), "virtual nodes share what they heard together");
}
