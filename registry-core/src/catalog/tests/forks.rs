//! Publishers that contradict themselves, and what others learn of it.

use alloc::vec::Vec;

use bytes::Bytes;

use super::host::{Host, author};
use crate::catalog::announcement::Announcement;
use crate::catalog::proof::Proof;
use crate::catalog::{CatalogEvent, PackageSpec, Unresolved, Verdict, cbor};
use crate::event::{OpError, Refusal};
use crate::fuzzing::author::{Author, release};

/// Two logs of one publisher that differ from their second statement on.
fn branches() -> (Author, Author) {
    let (mut one, mut other) = (author(2), author(2));
    one.append("a", "1.0.0").append("a", "1.1.0");
    other.append("a", "1.0.0").append("a", "6.6.6");
    (one, other)
}

fn proofs(events: &[CatalogEvent]) -> Vec<Option<Bytes>> {
    let proof = |event: &CatalogEvent| {
        let CatalogEvent::Forked { proof, .. } = event else { return None };
        Some(proof.clone())
    };
    events.iter().filter_map(proof).collect()
}

/// The proof of whoever sees both branches.
fn proof() -> Bytes {
    let (one, other) = branches();
    let mut witness = Host::new(1);
    witness.fetch(&one, 0, 2);
    let events = witness.hear(other.announcement(1)).1;
    let [Some(proof)] = &proofs(&events)[..] else { panic!("{events:?}") };
    proof.clone()
}

fn resolve(host: &Host, author: &Author, text: &str) -> Result<(), Unresolved> {
    let spec = PackageSpec { publisher: Some(author.id()), ..PackageSpec::parse(text).unwrap() };
    host.catalog.resolve(&spec).map(|_| ())
}

#[test]
fn a_proof_convinces_whoever_has_seen_one_branch_only() {
    let (mut one, _) = branches();
    let mut host = Host::new(3);
    host.fetch(&one, 0, 2);
    let (verdict, events) = host.hear(proof());
    assert_eq!((verdict, proofs(&events)), (Verdict::Accept, [None].into()), "passed on, not told twice");
    assert_eq!(host.hear(proof()).0, Verdict::Ignore, "known");
    one.append("a", "1.2.0");
    for host in [&mut host.restarted(host.disk.clone()), &mut host] {
        assert_eq!(host.hear(one.announcement(1)).0, Verdict::Ignore, "nothing new");
        assert_eq!(resolve(host, &one, "a@1.1.0"), Ok(()), "what is pinned goes on");
        for refused in ["a", "a@^1", "a@1.2.0"] {
            assert_eq!(resolve(host, &one, refused), Err(Unresolved::Forked));
        }
        assert_eq!(host.catalog.proven(), 1);
    }
    assert_eq!(host.offences(), 0, "whoever tells is not to blame");
}

#[test]
fn a_proof_comes_before_the_log() {
    let (one, _) = branches();
    let mut host = Host::new(3);
    assert_eq!(host.hear(proof()).0, Verdict::Accept);
    assert_eq!((host.fetch(&one, 0, 2).0, host.catalog.len()), (Verdict::Ignore, 0));
    let mut again = host.restarted(host.disk.clone());
    assert_eq!(again.fetch(&one, 0, 2).0, Verdict::Ignore);
}

#[test]
fn the_own_node_signs_no_more() {
    let mut host = Host::new(2);
    assert_eq!(host.hear(proof()).0, Verdict::Accept);
    host.publish(1, release("b", "1.0.0"));
    let failed = |event: &CatalogEvent| {
        matches!(event, CatalogEvent::PublishFailed { error: OpError::Refused(Refusal::Forked), .. })
    };
    assert!(host.settle().iter().any(failed));
}

#[test]
fn what_proves_nothing_is_refused_and_charged() {
    let (one, other) = branches();
    let encode = |first: &Bytes, second: &Bytes| {
        let part = |bytes| serde_bytes::Bytes::new(bytes);
        cbor::encode(&(part(&one.publisher.inception), part(first), part(second)))
    };
    let stranger = author(4).append("a", "6.6.6").statements[0].clone();
    let mut unsigned = Author::unsigned(2);
    unsigned.append("x", "1.0.0");
    let (same, next) = (&one.statements[0], &one.statements[1]);
    for (what, harmless) in [
        ("one statement twice", encode(same, same)),
        ("two that follow each other", encode(same, next)),
        ("another publisher's", encode(same, &stranger)),
        ("a head that fits", encode(next, &one.record())),
        ("two heads", encode(&one.record(), &other.record())),
        ("garbage", encode(same, &Bytes::from_static(b"garbage"))),
    ] {
        assert!(Proof::open("test", &harmless).is_err(), "{what}");
        let mut host = Host::new(1);
        assert_eq!((host.hear(harmless).0, host.offences()), (Verdict::Reject, 50), "{what}");
    }
    for (what, convincing) in [
        ("two at one place", encode(next, &other.statements[1])),
        ("a head over another", encode(next, &other.record())),
    ] {
        assert!(Proof::open("test", &convincing).is_ok(), "{what}");
        assert!(Proof::open("other", &convincing).is_err(), "{what}");
        let mut forged = convincing.to_vec();
        *forged.last_mut().unwrap() ^= 1;
        let mut host = Host::new(1);
        assert_eq!((host.hear(forged.into()).0, host.catalog.proven()), (Verdict::Reject, 0), "{what}");
        assert_eq!(host.hear(convincing).0, Verdict::Accept, "{what}");
    }
    assert!(Announcement::decode(&proof()).is_err(), "neither is taken for the other");
}
