//! Head records: what the DHT's validator relies on.

use alloc::vec;

use bytes::Bytes;

use super::signer::{Signer, mutations, verify};
use crate::catalog::record::{self, HeadRecord, MAX_RECORD, RecordError};
use crate::catalog::{Domain, Inception, LocalPublisher, StatementError};
use crate::id::Digest;
use crate::time::UnixTime;

fn record(signer: &Signer, length: u64, secs: u64) -> Bytes {
    signer.record(&signer.head(length, Digest::of(b"tip"), Digest::of(b"root"), secs))
}

#[test]
fn a_record_checks_alone() {
    let signer = Signer::new(1);
    let value = record(&signer, 3, 1000);
    let check = record::check(&signer.publisher.id.record_key(), &value).unwrap();
    assert_eq!((check.publisher, check.length, check.time), (signer.publisher.id, 3, UnixTime::from_secs(1000)));
    assert_eq!(check.checks.len(), 2);
    assert!(verify(&check.checks));
}

#[test]
fn altered_bytes_are_refused() {
    let signer = Signer::new(1);
    let value = record(&signer, 3, 1000);
    let key = signer.publisher.id.record_key();
    for altered in mutations(&value).step_by(3) {
        assert!(!record::check(&key, &altered).is_ok_and(|check| verify(&check.checks)));
    }
}

#[test]
fn attack_19_no_value_skips_the_checks() {
    let (signer, other) = (Signer::new(1), Signer::new(2));
    let key = signer.publisher.id.record_key();
    // Another publisher's record, under this one's key.
    assert_eq!(record::check(&key, &record(&other, 9, 1)), Err(RecordError(StatementError::Publisher)));
    // This publisher's inception, a head another key signed.
    let head = signer.head(9, Digest::of(b""), Digest::of(b""), 1);
    let forged = HeadRecord::encode(&signer.publisher.inception, &other.envelope(Domain::Head, head.to_body()));
    assert!(record::check(&key, &forged).is_ok_and(|check| !verify(&check.checks)));
    // A head signed as a statement.
    let crossed = HeadRecord::encode(&signer.publisher.inception, &signer.envelope(Domain::Statement, head.to_body()));
    assert!(record::check(&key, &crossed).is_ok_and(|check| !verify(&check.checks)));
    // Another publisher's head behind this one's inception.
    let stranger = other.head(9, Digest::of(b""), Digest::of(b""), 1);
    let mixed = HeadRecord::encode(&signer.publisher.inception, &signer.envelope(Domain::Head, stranger.to_body()));
    assert_eq!(record::check(&key, &mixed), Err(RecordError(StatementError::Publisher)));
    // Keys of other shapes.
    let value = record(&signer, 9, 1);
    for key in [&b""[..], b"/wharf/", b"/pk/x", &key[1..], &signer.publisher.id.0.0] {
        assert!(record::check(key, &value).is_err());
    }
    assert!(record::check(&key, &[0; MAX_RECORD + 1]).is_err());
}

#[test]
fn attack_20_every_node_selects_the_same_record() {
    let signer = Signer::new(1);
    let key = signer.publisher.id.record_key();
    let rank = |value: &Bytes| record::check(&key, value).unwrap().rank();
    let older = record(&signer, 3, 2000);
    let longer = record(&signer, 4, 1000);
    assert!(rank(&longer) > rank(&older));
    assert!(rank(&record(&signer, 4, 1001)) > rank(&longer));
    // The same length and time, other bytes: an order all the same, and never a tie.
    let other = signer.record(&signer.head(4, Digest::of(b"x"), Digest::of(b"y"), 1000));
    assert_ne!(rank(&other), rank(&longer));
    assert_eq!(rank(&other).cmp(&rank(&longer)), rank(&longer).cmp(&rank(&other)).reverse());
}

#[test]
fn attack_21_nonsensical_times_are_refused() {
    let signer = Signer::new(1);
    let key = signer.publisher.id.record_key();
    let with = |time: u64, expiry: u64| {
        let mut head = signer.head(1, Digest::of(b""), Digest::of(b""), 0);
        (head.time, head.expiry) = (UnixTime::from_secs(time), UnixTime::from_secs(expiry));
        record::check(&key, &signer.record(&head))
    };
    assert!(with(1000, 1001).is_ok());
    assert!(with(0, 366 * 24 * 3600).is_ok());
    for (time, expiry) in [(1000, 1000), (1000, 999), (0, 366 * 24 * 3600 + 1), (0, u64::MAX), (u64::MAX, u64::MAX)] {
        assert!(with(time, expiry).is_err());
    }
    assert!(with(253_402_300_799, 253_402_300_800).is_err());
}

/// A withdrawal is an entry like any other, so the record from before it is the shorter one.
#[test]
fn attack_23_a_replayed_record_loses_to_the_longer_log() {
    let signer = Signer::new(1);
    let key = signer.publisher.id.record_key();
    let rank = |value: Bytes| record::check(&key, &value).unwrap().rank();
    assert!(rank(record(&signer, 5, 1000)) > rank(record(&signer, 4, 9000)));
}

#[test]
fn an_inception_must_be_one_its_keys_can_meet() {
    let next = vec![Digest::of(b"next")];
    let good = Inception { keys: vec![[1; 32], [2; 32]], threshold: 2, next };
    assert_eq!(Inception::from_body(&good.to_body().unwrap()), Ok(good.clone()));
    for (keys, threshold) in
        [(vec![], 0), (vec![[1; 32]], 0), (vec![[1; 32]], 2), (vec![[1; 32]; 2], 1), (vec![[1; 32]; 17], 1)]
    {
        assert!(Inception { keys, threshold, ..good.clone() }.to_body().is_err());
    }
}

#[test]
fn a_local_publisher_needs_its_key() {
    let signer = Signer::new(1);
    let publisher = &signer.publisher;
    assert!(verify(&publisher.checks().unwrap()));
    let key = publisher.checks().unwrap()[0].key[4..].try_into().unwrap();
    assert_eq!(LocalPublisher::from_inception(publisher.inception.clone(), &key).as_ref(), Ok(publisher));
    assert!(LocalPublisher::from_inception(publisher.inception.clone(), &[9; 32]).is_err());
}
