//! A publisher with real keys.

use alloc::vec;

use bytes::Bytes;
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};

use crate::action::SignatureCheck;
use crate::catalog::envelope::{Domain, Envelope, signing_input};
use crate::catalog::record::HeadRecord;
use crate::catalog::{Head, LocalPublisher};
use crate::id::Digest;
use crate::time::{Duration, UnixTime};

/// A publisher with one key.
#[derive(Clone)]
pub(in crate::catalog) struct Signer {
    key: SigningKey,
    pub(in crate::catalog) publisher: LocalPublisher,
}

impl Signer {
    pub(in crate::catalog) fn new(seed: u8) -> Self {
        let key = SigningKey::from_bytes(&[seed; 32]);
        let public = key.verifying_key().to_bytes();
        let next = Digest::of(&SigningKey::from_bytes(&[seed ^ 0xff; 32]).verifying_key().to_bytes());
        let signature = key.sign(&LocalPublisher::signing_input(public, next)).to_bytes();
        Self { publisher: LocalPublisher::new(public, next, signature), key }
    }

    pub(in crate::catalog) fn sign(&self, bytes: &[u8]) -> Bytes {
        Bytes::copy_from_slice(&self.key.sign(bytes).to_bytes())
    }

    pub(in crate::catalog) fn envelope(&self, domain: Domain, body: Bytes) -> Bytes {
        let signature = self.sign(&signing_input(domain, &body));
        Envelope { body, signatures: vec![(0, signature)] }.encode()
    }

    /// A head whose time is `secs` after 1970, valid for an hour.
    pub(in crate::catalog) fn head(&self, length: u64, tip: Digest, root: Digest, secs: u64) -> Head {
        let time = UnixTime::from_secs(secs);
        let expiry = time + Duration::from_secs(3600);
        Head { network: "test".into(), publisher: self.publisher.id, length, tip, root, time, expiry }
    }

    pub(in crate::catalog) fn record(&self, head: &Head) -> Bytes {
        HeadRecord::encode(&self.publisher.inception, &self.envelope(Domain::Head, head.to_body()))
    }
}

/// Do all of them hold?
pub(in crate::catalog) fn verify(checks: &[SignatureCheck]) -> bool {
    let holds = |check: &SignatureCheck| {
        let key: Option<[u8; 32]> = check.key.strip_prefix(&[8, 1, 18, 32]).and_then(|key| key.try_into().ok());
        let key = key.and_then(|key| VerifyingKey::from_bytes(&key).ok());
        let signature = Signature::from_slice(&check.signature).ok();
        key.zip(signature).is_some_and(|(key, signature)| key.verify_strict(&check.message, &signature).is_ok())
    };
    checks.iter().all(holds)
}

/// Each byte altered in turn, by a bit pattern that changes from byte to byte.
pub(in crate::catalog) fn mutations(bytes: &[u8]) -> impl Iterator<Item = Bytes> + '_ {
    (0..bytes.len()).map(|i| {
        let mut altered = bytes.to_vec();
        altered[i] ^= [0x01, 0x80, 0xff, 0x20][i % 4];
        Bytes::from(altered)
    })
}
