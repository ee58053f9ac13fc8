//! Validators and selectors: which values may be kept under which keys, and which of two is better (K19, K22).
//!
//! A key is `/namespace/rest`. Whatever has no validator is refused, whatever its shape: there is no way around it.

use alloc::vec::Vec;

use bytes::Bytes;

use crate::action::SignatureCheck;
use crate::catalog::record;
use crate::config::KadConfig;
use crate::id::{Digest, PeerId};
use crate::kad::ipns;
use crate::time::{Duration, UnixTime};
use crate::wire::kad::MAX_RECORD;

/// The order in which valid values of one key win. Equal ranks are decided by the values' bytes, the greater one wins,
/// so that every node selects the same value.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Rank {
    sequence: u64,
    time: u64,
    tie: Digest,
}

impl Rank {
    pub(crate) fn new(sequence: u64, time: u64) -> Self {
        Self { sequence, time, tie: Digest([0; 32]) }
    }
}

/// A structurally valid value: it is valid when all signatures hold.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Valid {
    pub(crate) rank: Rank,
    pub(crate) checks: Vec<SignatureCheck>,
    /// How long it stays valid by its own word.
    pub(crate) lifetime: Duration,
}

impl Valid {
    fn unsigned(rank: Rank) -> Self {
        Self { rank, checks: Vec::new(), lifetime: Duration::MAX }
    }
}

/// A namespace that values are kept of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Namespace {
    /// `/wharf/<publisher id>`: head records.
    Wharf,
    /// `/pk/<multihash>`: public keys.
    PublicKey,
    /// `/ipns/<multihash>`: IPNS records.
    Ipns,
    /// One of the configuration's, in which any value is valid.
    Open,
}

impl Namespace {
    /// The namespace of a key and what follows it.
    pub(crate) fn of<'a>(config: &KadConfig, key: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let path = key.strip_prefix(b"/")?;
        let end = path.iter().position(|byte| *byte == b'/')?;
        let (name, rest) = (path.get(..end)?, path.get(end + 1..)?);
        if name.is_empty() || rest.is_empty() {
            return None;
        }
        let text = core::str::from_utf8(key).is_ok();
        match name {
            b"wharf" => text.then_some((Self::Wharf, rest)),
            b"pk" => Some((Self::PublicKey, rest)),
            b"ipns" => Some((Self::Ipns, rest)),
            name if config.open_namespaces.iter().any(|open| open.as_bytes() == name) => {
                text.then_some((Self::Open, rest))
            }
            _ => None,
        }
    }

    /// Copies of a value that make a lookup end early (K20): a key never changes, anything else may have a newer one.
    pub(crate) fn quorum(self) -> usize {
        match self {
            Self::PublicKey => 1,
            Self::Wharf | Self::Ipns | Self::Open => 16,
        }
    }
}

/// Checks everything about a value but its signatures.
pub(crate) fn validate(config: &KadConfig, unix: UnixTime, key: &[u8], value: &Bytes) -> Result<Valid, &'static str> {
    let (namespace, rest) = Namespace::of(config, key).ok_or("no namespace that values are kept of")?;
    if value.is_empty() {
        return Err("the value is empty");
    }
    if key.len().saturating_add(value.len()) > MAX_RECORD {
        return Err("key and value are longer than 10 KiB");
    }
    match namespace {
        Namespace::Wharf => {
            let check = record::check(key, value).map_err(|_| "not the head record that the key names")?;
            let (sequence, time, tie) = check.rank();
            let rank = Rank { sequence, time: time.as_micros(), tie };
            Ok(Valid { rank, checks: check.checks, lifetime: Duration::MAX })
        }
        Namespace::PublicKey => {
            let peer = PeerId::from_bytes(rest).map_err(|_| "the key names no multihash of a public key")?;
            let valid = peer.matches_key(value).then(|| Valid::unsigned(Rank::new(0, 0)));
            valid.ok_or("not the public key that the key names")
        }
        Namespace::Ipns => ipns::validate(unix, rest, value),
        Namespace::Open => Ok(Valid::unsigned(Rank::new(0, 0))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn config() -> KadConfig {
        KadConfig { open_namespaces: vec!["test".into()], ..KadConfig::default() }
    }

    fn validate_test(key: &[u8], value: &'static [u8]) -> Result<Valid, &'static str> {
        validate(&config(), UnixTime::from_secs(0), key, &Bytes::from_static(value))
    }

    #[test]
    fn attack_19_whatever_has_no_validator_is_refused() {
        for key in [
            &b""[..],
            b"/",
            b"//",
            b"test",
            b"/test",
            b"/test/",
            b"test/x",
            b"//x",
            b"/other/x",
            b"/Test/x",
            b"/test\0/x",
            b"/test/\xff",
            b"/wharf/\xff",
            b"/wharf/nobody",
            b"/pk/x",
        ] {
            assert!(validate_test(key, b"value").is_err(), "{key:?}");
        }
        assert!(validate_test(b"/test/x", b"value").is_ok());
        assert!(validate_test(b"/test/x/y", b"value").is_ok());
        assert!(validate_test(b"/test/x", b"").is_err());
    }

    #[test]
    fn attack_24_what_cannot_be_sent_is_not_kept() {
        let config = config();
        let fits = Bytes::from(vec![7; MAX_RECORD - 7]);
        let long = Bytes::from(vec![7; MAX_RECORD - 6]);
        assert!(validate(&config, UnixTime::from_secs(0), b"/test/x", &fits).is_ok());
        assert!(validate(&config, UnixTime::from_secs(0), b"/test/x", &long).is_err());
    }

    #[test]
    fn public_keys_must_hash_to_their_name() {
        let mut key = b"/pk/".to_vec();
        let value = b"a public key of more than forty-two bytes, hashed".as_slice();
        key.extend_from_slice(&Digest::of(value).to_multihash());
        assert!(validate_test(&key, value).is_ok());
        assert!(validate_test(&key, b"another key").is_err());
    }
}
