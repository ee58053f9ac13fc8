//! The frozen frame of everything signed: body bytes beside signatures.
//!
//! Encoded as the DAG-CBOR list `[body, [[key index, signature], ...]]` with body and signatures as byte strings. What is
//! signed is [`signing_input`]: a prefix that names the kind of body, then the body, so that a signature of one kind is
//! never one of another. Bodies are kept and hashed as the bytes that were signed, never encoded again.

use alloc::vec::Vec;
use core::fmt;

use bytes::Bytes;
use serde::Deserialize;

use crate::action::SignatureCheck;
use crate::catalog::Inception;
use crate::catalog::cbor::{self, List};
use crate::catalog::inception::MAX_KEYS;
use crate::command::CommandError;
use crate::id::Digest;

/// Bytes of an ed25519 signature.
pub const SIGNATURE_LEN: usize = 64;

/// What a body is, as part of the signed bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Domain {
    /// `wharf:inception:`
    Inception,
    /// `wharf:statement:`, an entry of a publisher's log.
    Statement,
    /// `wharf:head:`
    Head,
}

impl Domain {
    /// The bytes before the body in what is signed. None is a prefix of another.
    pub const fn prefix(self) -> &'static [u8] {
        match self {
            Self::Inception => b"wharf:inception:",
            Self::Statement => b"wharf:statement:",
            Self::Head => b"wharf:head:",
        }
    }
}

/// The exact bytes a key signs for a body.
pub fn signing_input(domain: Domain, body: &[u8]) -> Bytes {
    Bytes::from([domain.prefix(), body].concat())
}

/// Body bytes and signatures over them. Identity, links and uniqueness are over the body, never over signatures.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Envelope {
    /// DAG-CBOR.
    pub body: Bytes,
    /// (index into the publisher's keys, ed25519 signature), in ascending order of index.
    pub signatures: Vec<(u16, Bytes)>,
}

type Encoded<'a> = (&'a serde_bytes::Bytes, List<(u16, &'a serde_bytes::Bytes), MAX_KEYS>);

impl Envelope {
    /// The encoded form.
    pub fn encode(&self) -> Bytes {
        let signatures = self.signatures.iter().map(|(key, signature)| (*key, serde_bytes::Bytes::new(signature)));
        let encoded: Encoded<'_> = (serde_bytes::Bytes::new(&self.body), List(signatures.collect()));
        cbor::encode(&encoded)
    }

    /// Parses the encoded form; body and signatures share its memory.
    ///
    /// # Errors
    /// When the bytes are longer than `max_len`, are not the canonical encoding, or the signatures are not 1 to
    /// [`MAX_KEYS`] of the right size in ascending order of key.
    pub fn decode(bytes: &Bytes, max_len: usize) -> Result<Self, StatementError> {
        if bytes.len() > max_len {
            return Err(StatementError::TooLong);
        }
        let (body, List(signatures)): Encoded<'_> = cbor::decode(bytes)?;
        let ascending = signatures.is_sorted_by(|(a, _), (b, _)| a < b);
        let whole = signatures.iter().all(|(_, signature)| signature.len() == SIGNATURE_LEN);
        if signatures.is_empty() || !ascending || !whole {
            return Err(StatementError::Signatures);
        }
        let signatures = signatures.into_iter().map(|(key, signature)| (key, bytes.slice_ref(signature))).collect();
        Ok(Self { body: bytes.slice_ref(body), signatures })
    }

    /// The body's digest: the identity of what it says.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.body)
    }

    /// The signatures to check, when enough of the publisher's keys have signed. All must hold, also those over the
    /// threshold.
    ///
    /// # Errors
    /// When there are too few signatures, or one of a key the publisher does not have.
    pub fn checks(&self, domain: Domain, signers: &Inception) -> Result<Vec<SignatureCheck>, StatementError> {
        if self.signatures.len() < usize::from(signers.threshold) {
            return Err(StatementError::Signatures);
        }
        let message = signing_input(domain, &self.body);
        let check = |(key, signature): &(u16, Bytes)| {
            let key = signers.keys.get(usize::from(*key)).ok_or(StatementError::Signatures)?;
            Ok(SignatureCheck { key: public_key(key), message: message.clone(), signature: signature.clone() })
        };
        self.signatures.iter().map(check).collect()
    }
}

/// The libp2p protobuf form of an ed25519 public key, which [`SignatureCheck`] carries.
pub fn public_key(key: &[u8; 32]) -> Bytes {
    Bytes::from([&[0x08, 0x01, 0x12, 0x20], &key[..]].concat())
}

/// Why bytes are no acceptable statement, head or record.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum StatementError {
    /// Over the size limit of its kind.
    TooLong,
    /// Not DAG-CBOR, not canonical, or not exactly the fields of its kind.
    Encoding,
    /// Of a format this version does not know. No peer's fault: a later version may have made it.
    Format,
    /// Of a kind this version does not know. No peer's fault: a later version may have made it.
    Kind,
    /// Too few signatures, or such that cannot be the publisher's.
    Signatures,
    /// Of another network.
    Network,
    /// The parts belong to different publishers, or the key names another.
    Publisher,
    /// A field breaks its rule.
    Field(FieldError),
    /// Entries, positions, links and head do not fit each other.
    Link,
}

impl StatementError {
    /// Can an honest peer of a later version have sent this?
    pub(crate) const fn may_be_newer(self) -> bool {
        matches!(self, Self::Format | Self::Kind)
    }
}

impl fmt::Display for StatementError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong => f.write_str("longer than allowed"),
            Self::Encoding => f.write_str("not the canonical encoding of its kind"),
            Self::Format => f.write_str("of a format this version does not know"),
            Self::Kind => f.write_str("of a kind this version does not know"),
            Self::Signatures => f.write_str("not signed by enough of the publisher's keys"),
            Self::Network => f.write_str("of another network"),
            Self::Publisher => f.write_str("of another publisher"),
            Self::Field(error) => error.fmt(f),
            Self::Link => f.write_str("entries and head do not fit together"),
        }
    }
}

impl core::error::Error for StatementError {}

impl From<FieldError> for StatementError {
    fn from(error: FieldError) -> Self {
        Self::Field(error)
    }
}

/// A field that breaks its rule.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct FieldError {
    /// Which.
    pub field: &'static str,
    /// How.
    pub reason: &'static str,
}

impl FieldError {
    /// Names the rule of a field that must hold.
    pub(crate) const fn unless(holds: bool, field: &'static str, reason: &'static str) -> Result<(), Self> {
        if holds { Ok(()) } else { Err(Self { field, reason }) }
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.reason)
    }
}

impl core::error::Error for FieldError {}

impl From<FieldError> for CommandError {
    fn from(FieldError { field, reason }: FieldError) -> Self {
        Self::Invalid { field, reason: reason.into() }
    }
}

/// The only format of inceptions, statements and heads so far.
pub(crate) const FORMAT: u64 = 1;

/// Reads the format and, for statements, the kind; ignores everything else.
#[derive(Deserialize)]
pub(crate) struct Header<'a> {
    format: u64,
    #[serde(borrow)]
    kind: Option<&'a str>,
}

impl<'a> Header<'a> {
    /// Refuses formats this version does not know, so that the error says so, and returns the kind.
    pub(crate) fn read(body: &'a [u8]) -> Result<Option<&'a str>, StatementError> {
        let header: Self = serde_ipld_dagcbor::from_slice(body).map_err(|_| StatementError::Encoding)?;
        if header.format == FORMAT { Ok(header.kind) } else { Err(StatementError::Format) }
    }
}
