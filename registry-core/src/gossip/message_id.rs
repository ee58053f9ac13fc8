//! Names of messages.
//!
//! On topics under `/wharf/`, and on all when so configured, the id is sha2-256 over the topic's length (8 bytes, big
//! endian), the topic and the data: nobody can bind another's id to other bytes. Elsewhere it is the specification's:
//! the author's peer id followed by the sequence number (8 bytes, big endian).

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use crate::id::{Digest, PeerId};
use crate::wire::gossip::PubMessage;

/// Topics whose message ids are bound to the content.
pub(super) const REGISTRY_PREFIX: &str = "/wharf/";

#[derive(Clone, Copy, Debug)]
pub(super) enum MessageId {
    Content(Digest),
    Author(PeerId, u64),
}

impl MessageId {
    pub(super) fn of(content_ids: bool, msg: &PubMessage, author: PeerId, seqno: u64) -> Self {
        if !content_ids && !msg.topic.starts_with(REGISTRY_PREFIX) {
            return Self::Author(author, seqno);
        }
        let mut hash = Sha256::new();
        hash.update((msg.topic.len() as u64).to_be_bytes());
        hash.update(msg.topic.as_bytes());
        hash.update(&msg.data);
        Self::Content(Digest(hash.finalize().into()))
    }

    /// The form tables use.
    pub(super) fn key(&self) -> Digest {
        match self {
            Self::Content(digest) => *digest,
            Self::Author(..) => key_of(&self.to_bytes()),
        }
    }

    /// The form that travels.
    pub(super) fn to_bytes(self) -> Bytes {
        match self {
            Self::Content(digest) => Bytes::copy_from_slice(&digest.0),
            Self::Author(author, seqno) => {
                let mut bytes = [0; PeerId::MAX_LEN + 8];
                let len = author.as_bytes().len();
                bytes[..len].copy_from_slice(author.as_bytes());
                bytes[len..len + 8].copy_from_slice(&seqno.to_be_bytes());
                Bytes::copy_from_slice(&bytes[..len + 8])
            }
        }
    }

    /// Does the same id mean the same data?
    pub(super) fn is_content(&self) -> bool {
        matches!(self, Self::Content(_))
    }
}

/// The table form of an id off the wire. An id of 32 bytes stands for itself: no author's id with a real key has that
/// length.
pub(super) fn key_of(id: &[u8]) -> Digest {
    <[u8; 32]>::try_from(id).map_or_else(|_| Digest::of(id), Digest)
}
