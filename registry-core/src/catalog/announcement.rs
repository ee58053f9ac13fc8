//! What gossip carries when a log has grown: the new head record and the newest statements.
//!
//! The DAG-CBOR list `[record, [statement, ...]]`, all as byte strings. The statements are the last ones of the log, in
//! order, so that the head alone says where they belong.

use alloc::vec::Vec;

use bytes::Bytes;

use crate::catalog::cbor::{self, List};
use crate::catalog::envelope::StatementError;

/// Bytes of an announcement: with the frame around it, within a pubsub frame.
pub(crate) const MAX_ANNOUNCEMENT: usize = 48 * 1024;

/// Statements of an announcement; whoever lacks more fetches them.
pub(crate) const MAX_ANNOUNCED: usize = 8;

type Encoded<'a> = (&'a serde_bytes::Bytes, List<&'a serde_bytes::Bytes, MAX_ANNOUNCED>);

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Announcement {
    pub(crate) record: Bytes,
    pub(crate) statements: Vec<Bytes>,
}

impl Announcement {
    pub(crate) fn encode(&self) -> Bytes {
        let statements = self.statements.iter().map(|statement| serde_bytes::Bytes::new(statement)).collect();
        let encoded: Encoded<'_> = (serde_bytes::Bytes::new(&self.record), List(statements));
        cbor::encode(&encoded)
    }

    /// Record and statements share the memory of `bytes`.
    pub(crate) fn decode(bytes: &Bytes) -> Result<Self, StatementError> {
        if bytes.len() > MAX_ANNOUNCEMENT {
            return Err(StatementError::TooLong);
        }
        let (record, List(statements)): Encoded<'_> = cbor::decode(bytes)?;
        if statements.is_empty() {
            return Err(StatementError::Link);
        }
        let statements = statements.into_iter().map(|statement| bytes.slice_ref(statement)).collect();
        Ok(Self { record: bytes.slice_ref(record), statements })
    }
}
