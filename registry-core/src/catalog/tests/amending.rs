//! Yanked and deprecated packages.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use proptest::prelude::*;

use super::host::{Host, author, updates};
use crate::catalog::amendment::MAX_MESSAGE;
use crate::catalog::envelope::Envelope;
use crate::catalog::statement::MAX_STATEMENT;
use crate::catalog::{
    Amendment, CatalogEvent, Change, Dependency, Deprecation, Domain, Name, PackageSpec, Says, Statement, Status,
    Unresolved, UpdateKind, Verdict,
};
use crate::event::OpError;
use crate::fuzzing::author::{Author, amendment, release};
use crate::id::{Digest, OpId};

fn yank(version: &str) -> Says {
    amendment("a", Some(version), Change::Yank { reason: "broken".into() })
}

fn unyank(version: &str) -> Says {
    amendment("a", Some(version), Change::Unyank)
}

fn deprecate(version: Option<&str>, message: &str) -> Says {
    let deprecation = Deprecation { message: message.into(), replacement: None };
    amendment("a", version, Change::Deprecate(deprecation))
}

fn undeprecate(version: Option<&str>) -> Says {
    amendment("a", version, Change::Undeprecate)
}

/// Versions 1.0.0 and 1.1.0 of the package `a`.
fn log(seed: u8) -> Author {
    let mut log = author(seed);
    log.append("a", "1.0.0").append("a", "1.1.0");
    log
}

fn resolve(host: &Host, text: &str) -> Result<String, Unresolved> {
    let found = host.catalog.resolve(&PackageSpec::parse(text).unwrap());
    found.map(|release| release.release.meta.version.text.to_string())
}

fn status(host: &Host, version: &str) -> Status {
    let spec = PackageSpec::parse(&format!("a@{version}")).unwrap();
    host.catalog.resolve(&spec).unwrap().status.clone()
}

#[test]
fn a_yanked_version_is_had_by_name_only() {
    let mut log = log(2);
    let mut host = Host::new(1);
    host.fetch(&log, 0, 2);
    let (verdict, events) = host.hear(log.say(yank("1.1.0")).announcement(1));
    assert_eq!((verdict, updates(&events)), (Verdict::Accept, [(UpdateKind::Yanked, "a@1.1.0".into())].into()));
    assert_eq!(resolve(&host, "a"), Ok("1.0.0".into()));
    assert_eq!(resolve(&host, "a@^1"), Ok("1.0.0".into()));
    assert_eq!(resolve(&host, "a@1.1.0"), Ok("1.1.0".into()));
    assert_eq!(status(&host, "1.1.0").yanked, Some("broken".into()));
    assert_eq!(status(&host, "1.0.0"), Status::default());
    host.hear(log.say(yank("1.0.0")).announcement(1));
    assert_eq!(resolve(&host, "a"), Err(Unresolved::Yanked));
    assert_eq!(host.catalog.describe(&PackageSpec::parse("a").unwrap()).len(), 2, "nothing is forgotten");
    let (_, events) = host.hear(log.say(unyank("1.1.0")).announcement(1));
    assert_eq!(updates(&events), [(UpdateKind::Unyanked, "a@1.1.0".into())]);
    assert_eq!(resolve(&host, "a"), Ok("1.1.0".into()));
    let again = host.restarted(host.disk.clone());
    assert_eq!((resolve(&again, "a"), status(&again, "1.0.0")), (Ok("1.1.0".into()), status(&host, "1.0.0")));
}

#[test]
fn a_version_s_deprecation_goes_before_its_package_s() {
    let mut log = log(2);
    let mut host = Host::new(1);
    host.fetch(&log, 0, 2);
    log.say(deprecate(None, "use b")).say(deprecate(Some("1.0.0"), "leaks")).append("a", "1.2.0");
    assert_eq!(updates(&host.fetch(&log, 2, 5).1).len(), 3);
    let message = |host: &Host, version| status(host, version).deprecated.map(|deprecation| deprecation.message);
    assert_eq!(message(&host, "1.0.0"), Some("leaks".into()));
    assert_eq!(message(&host, "1.2.0"), Some("use b".into()), "later versions too");
    assert_eq!(resolve(&host, "a"), Ok("1.2.0".into()), "it can still be had");
    log.say(undeprecate(Some("1.0.0"))).say(deprecate(None, "use c"));
    host.fetch(&log, 5, 7);
    assert_eq!(message(&host, "1.0.0"), Some("use c".into()), "the latest word counts");
    host.hear(log.say(undeprecate(None)).announcement(1));
    assert_eq!(status(&host, "1.0.0"), Status::default());
}

#[test]
fn what_changes_nothing_is_admitted_in_silence() {
    let mut log = log(2);
    log.say(yank("9.0.0")).say(unyank("1.0.0")).say(undeprecate(None)).say(yank("1.0.0")).say(yank("1.0.0"));
    log.say(amendment("unknown", None, Change::Undeprecate));
    let mut host = Host::new(1);
    let (verdict, events) = host.fetch(&log, 0, 8);
    let admitted = events.iter().filter(|event| matches!(event, CatalogEvent::Admitted { .. })).count();
    assert_eq!((verdict, admitted, updates(&events).len()), (Verdict::Accept, 8, 3));
    assert_eq!((host.catalog.len(), host.offences()), (2, 0));
    assert!(host.log_of(log.id()).unwrap().conflict.is_none());
}

#[test]
fn own_amendments_are_signed_once() {
    let mut host = Host::new(1);
    host.publish(1, release("a", "1.0.0"));
    host.say(2, yank("1.0.0"));
    host.say(3, yank("1.0.0"));
    host.say(4, unyank("1.0.0"));
    host.say(5, unyank("1.0.0"));
    host.say(6, yank("2.0.0"));
    host.say(7, deprecate(None, "use b"));
    host.say(8, deprecate(None, "use c"));
    let events = host.settle();
    let outcome = |event: &CatalogEvent| match event {
        CatalogEvent::Announce { op, release, .. } => Some((*op, Ok(Some(release.status.clone())))),
        CatalogEvent::NothingToChange { op, .. } => Some((*op, Ok(None))),
        CatalogEvent::PublishFailed { op, error } => Some((*op, Err(error.clone()))),
        CatalogEvent::Admitted { .. } | CatalogEvent::Signed { .. } => None,
        CatalogEvent::BatchDone { .. }
        | CatalogEvent::HeadMoved { .. }
        | CatalogEvent::Behind { .. }
        | CatalogEvent::PutOut { .. }
        | CatalogEvent::Refused { .. }
        | CatalogEvent::Forked { .. }
        | CatalogEvent::Judged { .. } => panic!("{event:?}"),
    };
    let outcomes: Vec<_> = events.iter().filter_map(outcome).collect();
    assert_eq!(outcomes.iter().map(|(op, _)| *op).collect::<Vec<_>>(), (1..=8).map(OpId).collect::<Vec<_>>());
    let yanked = Status { yanked: Some("broken".into()), ..Status::default() };
    assert_eq!(outcomes[1].1, Ok(Some(yanked)));
    assert_eq!((&outcomes[2].1, &outcomes[4].1), (&Ok(None), &Ok(None)), "it is so already");
    assert_eq!(outcomes[5].1, Err(OpError::NotFound));
    assert_eq!(host.catalog.state(host.id()).unwrap().length, 5);
    let told = host.catalog.log(host.id(), 0, usize::MAX).unwrap();
    let mut other = Host::new(2);
    other.fetch_with(told.0, 0, told.1);
    assert_eq!(status(&other, "1.0.0"), status(&host, "1.0.0"));
}

#[test]
fn fields_of_the_wrong_kind_are_refused() {
    let log = log(2);
    let statement = |says: Says| log.next(says).to_body("test");
    let name = Name::new("a").unwrap();
    let long = "x".repeat(MAX_MESSAGE + 1);
    let of_package = Amendment { name, version: None, change: Change::Unyank };
    for refused in [deprecate(None, ""), deprecate(None, &long), yank("with space"), Says::Amendment(of_package)] {
        assert!(refused.validate().is_err(), "{refused:?}");
        assert!(Statement::from_body(&statement(refused), "test").is_err());
    }
    let replacement = Dependency { publisher: None, name: Name::new("b").unwrap(), requirement: String::new() };
    let deprecation = Deprecation { message: "m".into(), replacement: Some(replacement) };
    let full = statement(amendment("a", Some("1.0.0"), Change::Deprecate(deprecation))).to_vec();
    assert!(Statement::from_body(&full, "test").is_ok());
    // The kinds that take something back have no message and no replacement.
    let at = full.windows(10).position(|window| window == b"\x69deprecate").unwrap();
    for kind in [&b"\x6bundeprecate"[..], b"\x64yank", b"\x66unyank"] {
        let other = [&full[..at], kind, &full[at + 10..]].concat();
        assert!(Statement::from_body(&other, "test").is_err());
    }
}

#[test]
fn nobody_amends_another_s_package() {
    let (log, mut thief) = (log(2), author(3));
    let mut host = Host::new(1);
    host.fetch(&log, 0, 2);
    host.fetch(thief.say(yank("1.1.0")), 0, 1);
    let spec = PackageSpec { publisher: Some(log.id()), ..PackageSpec::parse("a").unwrap() };
    assert_eq!(host.catalog.resolve(&spec).unwrap().status, Status::default());
    // Nor in its name: the statement stands in the thief's log, or is not signed by the owner.
    let body = log.next(yank("1.1.0")).to_body("test");
    let forged = thief.envelope(Domain::Statement, body.clone());
    assert_eq!(Envelope::decode(&forged, MAX_STATEMENT).unwrap().digest(), Digest::of(&body));
    assert_eq!(host.fetch_with(log.record(), 2, [forged].into()).0, Verdict::Reject);
}

#[test]
fn a_list_goes_through_all_packages_of_one_publisher() {
    let mut log = Author::unsigned(2);
    for i in 0..10 {
        log.append(&format!("p{i}"), "1.0.0");
    }
    log.append("p3", "2.0.0").append("p3", "3.0.0-rc.1");
    log.say(amendment("p3", Some("2.0.0"), Change::Yank { reason: String::new() }));
    log.say(amendment("p4", Some("1.0.0"), Change::Yank { reason: String::new() }));
    let mut other = Author::unsigned(3);
    other.append("p3", "7.0.0").append("q", "1.0.0");
    let mut host = Host { trusting: true, ..Host::new(1) };
    host.fetch(&log, 0, log.statements.len());
    host.fetch(&other, 0, 2);
    let all = host.catalog.list(log.id(), None);
    assert_eq!((all.packages.len(), all.next), (10, None));
    let of = |n: usize| {
        let listed = &all.packages[n];
        (listed.name.as_str(), &*listed.version.text, listed.versions, listed.yanked)
    };
    assert_eq!((of(3), of(4)), (("p3", "1.0.0", 3, false), ("p4", "1.0.0", 1, true)));
    let rest = host.catalog.list(log.id(), Some(&Name::new("p3").unwrap()));
    assert_eq!(rest.packages, all.packages[4..]);
}

/// A word on one of two versions, or on both.
fn word() -> impl Strategy<Value = Says> {
    let version = prop_oneof![Just("1.0.0"), Just("1.1.0")];
    (version, 0..7u8).prop_map(|(version, kind)| match kind {
        0 | 1 => yank(version),
        2 => unyank(version),
        3 => deprecate(Some(version), "so"),
        4 => deprecate(None, "all"),
        5 => undeprecate(Some(version)),
        _ => undeprecate(None),
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// What a version is marked with is the last word on it, whatever was said before and in whatever runs it came.
    #[test]
    fn the_last_word_counts(words in proptest::collection::vec(word(), 0..12), cut in 0..12usize) {
        let mut log = Author::unsigned(2);
        log.append("a", "1.0.0").append("a", "1.1.0");
        for word in &words {
            log.say(word.clone());
        }
        let mut host = Host { trusting: true, ..Host::new(1) };
        let (all, cut) = (log.statements.len(), 2 + cut.min(words.len()));
        host.fetch(&log, 0, cut);
        host.fetch(&log, cut, all);
        for version in ["1.0.0", "1.1.0"] {
            let of = |amendment: &Amendment| amendment.version.as_deref().is_none_or(|named| named == version);
            let changes = words.iter().filter_map(|says| {
                let Says::Amendment(amendment) = says else { return None };
                of(amendment).then_some((&amendment.change, amendment.version.is_some()))
            });
            let (mut yanked, mut own, mut package) = (false, false, false);
            for (change, named) in changes {
                match change {
                    Change::Yank { .. } => yanked = true,
                    Change::Unyank => yanked = false,
                    Change::Deprecate(_) if named => own = true,
                    Change::Deprecate(_) => package = true,
                    Change::Undeprecate if named => own = false,
                    Change::Undeprecate => package = false,
                }
            }
            let status = status(&host, version);
            prop_assert_eq!(status.yanked.is_some(), yanked);
            let message = if own { Some("so") } else if package { Some("all") } else { None };
            prop_assert_eq!(status.deprecated.as_ref().map(|d| d.message.as_str()), message);
        }
    }
}
