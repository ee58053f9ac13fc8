//! The frozen encodings: `registry-core/tests/golden/*.hex` hold what these keys and statements have always given.
//! A change here is a change of format. `BLESS=1 cargo test -p registry-core golden` writes the files anew.

use alloc::format;
use alloc::string::String;
use alloc::vec;
use std::path::Path;
use std::{env, fs};

use bytes::Bytes;

use super::host::{Host, author};
use super::signer::verify;
use crate::catalog::record::{self, HeadRecord};
use crate::catalog::statement::MAX_STATEMENT;
use crate::catalog::{
    Change, Content, Dependency, Deprecation, Envelope, Name, NewRelease, Says, Scheme, Statement, Verdict, Version,
};
use crate::fuzzing::author::{Author, amendment, release};
use crate::id::{Digest, PublisherId};

fn full() -> NewRelease {
    let dependency =
        |name: &str, publisher| Dependency { publisher, name: Name::new(name).unwrap(), requirement: "^1.2".into() };
    let other = PublisherId(Digest::of(b"another publisher"));
    NewRelease {
        summary: "Everything a statement can say".into(),
        description: "Two lines,\nthe second with é.".into(),
        keywords: vec!["golden".into(), "vector".into()],
        category: "testing".into(),
        tags: vec!["cli".into()],
        licence: "MIT OR Apache-2.0".into(),
        dependencies: vec![vec![dependency("b", None), dependency("c", Some(other))], vec![dependency("d", None)]],
        ..release("full", "1.2.3-rc.1+build")
    }
}

fn external() -> NewRelease {
    NewRelease {
        version: Version::new("1:2.0-1~bpo1", Scheme::Debian).unwrap(),
        content: Content::External { sha256: Digest::of(b"elsewhere"), size: 9 },
        ..release("external", "0.0.0")
    }
}

fn unknown() -> NewRelease {
    NewRelease { content: Content::Unknown, ..release("unknown", "1.0.0") }
}

fn amendments() -> [(&'static str, Says); 4] {
    let replacement = Dependency { publisher: None, name: Name::new("better").unwrap(), requirement: String::new() };
    let deprecation = Deprecation { message: "Use better.".into(), replacement: Some(replacement) };
    let full = Some("1.2.3-rc.1+build");
    [
        ("yank", amendment("full", full, Change::Yank { reason: "Broken on Mondays.".into() })),
        ("unyank", amendment("full", full, Change::Unyank)),
        ("deprecate", amendment("full", None, Change::Deprecate(deprecation))),
        ("undeprecate", amendment("full", None, Change::Undeprecate)),
    ]
}

fn log() -> Author {
    log_of(&[full(), external()])
}

fn log_of(releases: &[NewRelease]) -> Author {
    let mut author = author(7);
    for meta in releases.iter().cloned() {
        author.append_body(author.next(meta).to_body("test"));
    }
    author
}

fn check(name: &str, bytes: &Bytes) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(format!("{name}.hex"));
    let hex: String =
        bytes.chunks(48).map(|line| line.iter().map(|b| format!("{b:02x}")).collect::<String>() + "\n").collect();
    if env::var_os("BLESS").is_some() {
        fs::write(&path, &hex).unwrap();
    }
    assert_eq!(fs::read_to_string(&path).unwrap_or_default(), hex, "{}", path.display());
}

#[test]
fn golden_vectors_hold() {
    let log = log();
    let record = log.record();
    check("inception", &log.publisher.inception);
    check("release-full", &log.statements[0]);
    check("release-external", &log.statements[1]);
    check("head", &HeadRecord::open(&record).unwrap().0.head.to_body());
    check("record", &record);
    check("announcement", &log.announcement(2));
    check("record-key", &log.id().record_key());
    check("release-unknown", &log_of(&[unknown()]).statements[0]);
    let mut amended = log;
    for (_, says) in amendments() {
        amended.say(says);
    }
    for ((name, _), statement) in amendments().iter().zip(&amended.statements[2..]) {
        check(name, statement);
    }
}

#[test]
fn golden_amendments_are_read_as_what_was_written() {
    let mut log = log();
    for (_, says) in amendments() {
        log.say(says);
    }
    for (statement, (name, says)) in log.statements[2..].iter().zip(amendments()) {
        let body = Envelope::decode(statement, MAX_STATEMENT).unwrap().body;
        assert_eq!(Statement::from_body(&body, "test").unwrap().says, says, "{name}");
    }
}

#[test]
fn golden_vectors_are_read_as_what_was_written() {
    let log = log_of(&[full(), external(), unknown()]);
    let check = record::check(&log.id().record_key(), &log.record()).unwrap();
    assert!(verify(&check.checks));
    let mut host = Host::new(1);
    assert_eq!(host.hear(log.announcement(3)).0, Verdict::Accept);
    let read: vec::Vec<_> = host.catalog.releases().map(|release| release.release.meta.clone()).collect();
    assert_eq!(read, [full(), external(), unknown()]);
}
