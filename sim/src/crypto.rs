//! Keys from the seed, real signatures, and real verification remembered as the pure function it is.

use bytes::Bytes;
use ed25519_dalek::{Signature, Signer, SigningKey as Key, VerifyingKey};
use registry_core::PeerId;
use registry_core::action::SignatureCheck;
use xxhash_rust::xxh3::Xxh3;

use crate::mix::{Keyed, LookupTable, stream};

/// The protobuf frame of an ed25519 public key.
const KEY_PREFIX: [u8; 4] = [0x08, 0x01, 0x12, 0x20];

/// An ed25519 key pair.
#[derive(Clone, Debug)]
pub struct KeyPair(Key);

impl KeyPair {
    /// The key `domain/node` of a run's seed.
    pub fn derive(seed: u64, domain: &str, node: u32) -> Self {
        let mut secret = [0; 32];
        stream(seed, domain, node, 0).fill(&mut secret);
        Self(Key::from_bytes(&secret))
    }

    /// The raw public key.
    pub fn public(&self) -> [u8; 32] {
        self.0.verifying_key().to_bytes()
    }

    /// The libp2p form of the public key.
    pub fn public_protobuf(&self) -> Bytes {
        [&KEY_PREFIX[..], &self.public()].concat().into()
    }

    /// The peer id of this key.
    pub fn peer_id(&self) -> PeerId {
        PeerId::from_ed25519(&self.public())
    }

    /// Signs exactly these bytes.
    pub fn sign(&self, message: &[u8]) -> Bytes {
        Bytes::copy_from_slice(&self.0.sign(message).to_bytes())
    }
}

/// Verifies signatures, each distinct one once: a broadcast is verified by every node, with one answer.
#[derive(Debug, Default)]
pub struct Verifier {
    known: LookupTable<u128, bool>,
}

impl Verifier {
    /// One that has verified nothing yet.
    pub fn new(hasher_key: u64) -> Self {
        Self { known: LookupTable::with_hasher(Keyed(hasher_key)) }
    }

    /// Do all signatures hold?
    pub fn all_hold(&mut self, checks: &[SignatureCheck]) -> bool {
        checks.iter().all(|check| self.holds(check))
    }

    /// Distinct signatures verified.
    pub fn distinct(&self) -> usize {
        self.known.len()
    }

    fn holds(&mut self, check: &SignatureCheck) -> bool {
        *self.known.entry(fingerprint(check)).or_insert_with(|| verify(check))
    }
}

fn fingerprint(check: &SignatureCheck) -> u128 {
    let mut hash = Xxh3::new();
    for part in [&check.key, &check.message, &check.signature] {
        hash.update(&(part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hash.digest128()
}

fn verify(check: &SignatureCheck) -> bool {
    let key = check.key.strip_prefix(&KEY_PREFIX).and_then(|raw| <[u8; 32]>::try_from(raw).ok());
    let key = key.and_then(|raw| VerifyingKey::from_bytes(&raw).ok());
    let signature = Signature::from_slice(&check.signature).ok();
    match (key, signature) {
        (Some(key), Some(signature)) => key.verify_strict(&check.message, &signature).is_ok(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_true_signatures_hold() {
        let pair = KeyPair::derive(1, "node-key", 7);
        let check = SignatureCheck {
            key: pair.public_protobuf(),
            message: Bytes::from_static(b"m"),
            signature: pair.sign(b"m"),
        };
        let other = SignatureCheck { message: Bytes::from_static(b"n"), ..check.clone() };
        let short = SignatureCheck { signature: Bytes::from_static(b"x"), ..check.clone() };
        let mut verifier = Verifier::default();
        for _ in 0..2 {
            assert!(verifier.all_hold(std::slice::from_ref(&check)));
            assert!(!verifier.all_hold(&[check.clone(), other.clone()]));
            assert!(!verifier.all_hold(std::slice::from_ref(&short)));
        }
        assert_eq!(verifier.distinct(), 3);
        assert_ne!(pair.peer_id(), KeyPair::derive(1, "node-key", 8).peer_id());
    }
}
