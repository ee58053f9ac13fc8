//! The frozen frame of everything signed: body bytes beside signatures.

use alloc::vec::Vec;

use bytes::Bytes;

use crate::id::{Digest, PublisherId};

/// Body bytes and signatures over them. Identity, links and uniqueness are over the body, never over signatures.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Envelope {
    /// DAG-CBOR.
    pub body: Bytes,
    /// (index into the publisher's keys, ed25519 signature).
    pub signatures: Vec<(u16, Bytes)>,
}

/// The statement a publisher is named by.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Inception {
    /// ed25519 public keys.
    pub keys: Vec<[u8; 32]>,
    /// How many of them must sign.
    pub threshold: u16,
    /// Digests of the keys that may come next.
    pub next: Vec<Digest>,
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
