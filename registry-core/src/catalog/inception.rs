//! The statement a publisher is named by, and the local publisher made of it.
//!
//! Body: `{format: 1, keys: [32 bytes], next: [32 bytes], threshold}`. It names no network: an identity is the same in
//! all of them, its log and head are not.

use alloc::vec;
use alloc::vec::Vec;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteArray;

use crate::action::{SignatureCheck, Table, Write};
use crate::catalog::cbor;
use crate::catalog::envelope::{self, Domain, Envelope, FORMAT, FieldError, Header, SIGNATURE_LEN, StatementError};
use crate::id::{Digest, PublisherId};

/// Keys a publisher may have, and digests of next keys. A team, not a crowd: every statement may carry so many
/// signatures.
pub const MAX_KEYS: usize = 16;

/// Bytes of an encoded inception: room for the largest one.
pub const MAX_INCEPTION: usize = 4 * 1024;

/// The statement a publisher is named by.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Inception {
    /// ed25519 public keys, 1 to [`MAX_KEYS`], all different.
    pub keys: Vec<[u8; 32]>,
    /// How many of them must sign, at least 1.
    pub threshold: u16,
    /// Digests (sha2-256) of the keys that may come next, at most [`MAX_KEYS`].
    pub next: Vec<Digest>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    format: u64,
    #[serde(deserialize_with = "cbor::list::<_, _, MAX_KEYS>")]
    keys: Vec<ByteArray<32>>,
    #[serde(deserialize_with = "cbor::list::<_, _, MAX_KEYS>")]
    next: Vec<ByteArray<32>>,
    threshold: u16,
}

impl Inception {
    /// The body to sign (with [`Domain::Inception`]).
    ///
    /// # Errors
    /// When the keys are none, too many or not all different, the threshold cannot be met, or there are too many next
    /// keys.
    pub fn to_body(&self) -> Result<Bytes, FieldError> {
        self.validate()?;
        Ok(cbor::encode(&Body {
            format: FORMAT,
            keys: self.keys.iter().map(|key| ByteArray::new(*key)).collect(),
            next: self.next.iter().map(|digest| ByteArray::new(digest.0)).collect(),
            threshold: self.threshold,
        }))
    }

    /// Parses a body.
    ///
    /// # Errors
    /// When it is not the canonical encoding of a valid inception.
    pub fn from_body(body: &[u8]) -> Result<Self, StatementError> {
        Header::read(body)?;
        let body: Body = cbor::decode(body)?;
        let inception = Self {
            keys: body.keys.into_iter().map(ByteArray::into_array).collect(),
            threshold: body.threshold,
            next: body.next.into_iter().map(|digest| Digest(digest.into_array())).collect(),
        };
        inception.validate()?;
        Ok(inception)
    }

    fn validate(&self) -> Result<(), FieldError> {
        let mut distinct = self.keys.clone();
        distinct.sort_unstable();
        distinct.dedup();
        let threshold = 1..=self.keys.len();
        FieldError::unless((1..=MAX_KEYS).contains(&self.keys.len()), "keys", "must be 1 to 16")?;
        FieldError::unless(distinct.len() == self.keys.len(), "keys", "must all be different")?;
        FieldError::unless(threshold.contains(&self.threshold.into()), "threshold", "must be 1 to all keys")?;
        FieldError::unless(self.next.len() <= MAX_KEYS, "next", "must be at most 16")
    }
}

/// The publisher whose key the shell holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LocalPublisher {
    /// Its id.
    pub id: PublisherId,
    /// The encoded, signed inception statement.
    pub inception: Bytes,
    /// Which key the shell signs with.
    pub key_index: u16,
}

impl LocalPublisher {
    /// The bytes the key of a new publisher with one key must sign for [`LocalPublisher::new`].
    pub fn signing_input(key: [u8; 32], next: Digest) -> Bytes {
        envelope::signing_input(Domain::Inception, &single(key, next))
    }

    /// A new publisher with one key: `signature` is the key's, over [`LocalPublisher::signing_input`].
    pub fn new(key: [u8; 32], next: Digest, signature: [u8; SIGNATURE_LEN]) -> Self {
        let body = single(key, next);
        let id = PublisherId(Digest::of(&body));
        let signatures = vec![(0, Bytes::copy_from_slice(&signature))];
        Self { id, inception: Envelope { body, signatures }.encode(), key_index: 0 }
    }

    /// The publisher of a stored inception, when `key` is one of its keys and can sign alone.
    ///
    /// # Errors
    /// When the bytes are no inception, or the key is not enough to sign for it. Signatures are not checked: see
    /// [`LocalPublisher::checks`].
    pub fn from_inception(inception: Bytes, key: &[u8; 32]) -> Result<Self, StatementError> {
        let (id, statement, _) = open(&inception)?;
        let index = statement.keys.iter().position(|known| known == key);
        let index = index.and_then(|index| u16::try_from(index).ok()).filter(|_| statement.threshold == 1);
        Ok(Self { id, inception, key_index: index.ok_or(StatementError::Signatures)? })
    }

    /// The row of a store in which this publisher's log begins. Without it a node signs nothing before it has found that log
    /// in the network: the store may be one after a loss. To be put there when the store is made for a key that has signed
    /// nothing yet, and never later.
    pub fn origin(&self) -> Write {
        Write { table: Table::Publisher, key: origin_key(self.id), value: Some(Bytes::new()) }
    }

    /// The inception's signatures, for the shell to check when it reads the identity from disk.
    ///
    /// # Errors
    /// When the inception is none.
    pub fn checks(&self) -> Result<Vec<SignatureCheck>, StatementError> {
        open(&self.inception).map(|(_, _, checks)| checks)
    }
}

/// Follows the publisher's own row.
fn origin_key(publisher: PublisherId) -> Bytes {
    Bytes::from([&publisher.0.0[..], b"0"].concat())
}

fn single(key: [u8; 32], next: Digest) -> Bytes {
    let inception = Inception { keys: vec![key], threshold: 1, next: vec![next] };
    inception.to_body().expect("one key, threshold one")
}

/// Parses an encoded inception: who it names, what it says, and the signatures to check.
pub(crate) fn open(bytes: &Bytes) -> Result<(PublisherId, Inception, Vec<SignatureCheck>), StatementError> {
    let envelope = Envelope::decode(bytes, MAX_INCEPTION)?;
    let inception = Inception::from_body(&envelope.body)?;
    let checks = envelope.checks(Domain::Inception, &inception)?;
    Ok((PublisherId(envelope.digest()), inception, checks))
}
