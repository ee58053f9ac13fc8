//! Rows of `Table::Content` and `Table::Fetch`. Both are keyed by the root's CID.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use bytes::Bytes;

use crate::action::{Table, Write};
use crate::id::{BlockId, PeerId};

/// Verified bytes by provider.
pub(super) type Sources = BTreeMap<PeerId, u64>;

/// First byte of every value.
const FORMAT: u8 = 1;

/// A content is complete, and no longer being fetched.
pub(super) fn complete(root: BlockId) -> [Write; 2] {
    [write(Table::Fetch, root, None), write(Table::Content, root, Some(Bytes::from_static(&[FORMAT])))]
}

/// A content is being fetched; so much came from whom.
pub(super) fn unfinished(root: BlockId, sources: &Sources) -> Write {
    let mut value = Vec::with_capacity(1 + 48 * sources.len());
    value.push(FORMAT);
    for (peer, bytes) in sources {
        let id = peer.as_bytes();
        value.push(u8::try_from(id.len()).unwrap_or(0));
        value.extend_from_slice(id);
        value.extend_from_slice(&bytes.to_be_bytes());
    }
    write(Table::Fetch, root, Some(value.into()))
}

/// The root of a row, when the key is one.
pub(super) fn root(key: &[u8]) -> Option<BlockId> {
    BlockId::from_bytes(key)
}

/// Reads what [`unfinished`] wrote; what cannot be read is left out, since it is only a tally.
pub(super) fn sources(value: &[u8]) -> Sources {
    let mut sources = Sources::new();
    let mut rest = value.strip_prefix(&[FORMAT]).unwrap_or_default();
    while let Some((id, bytes, tail)) = split_source(rest) {
        sources.insert(id, bytes);
        rest = tail;
    }
    sources
}

fn split_source(row: &[u8]) -> Option<(PeerId, u64, &[u8])> {
    let (len, row) = row.split_first()?;
    let (id, row) = row.split_at_checked(usize::from(*len))?;
    let (bytes, row) = row.split_first_chunk::<8>()?;
    Some((PeerId::from_bytes(id).ok()?, u64::from_be_bytes(*bytes), row))
}

fn write(table: Table, root: BlockId, value: Option<Bytes>) -> Write {
    Write { table, key: root.to_cid().to_bytes().into(), value }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzzing::TestWorld;
    use crate::id::{Codec, Digest};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn tallies_round_trip(list in proptest::collection::btree_map(0u64..50, any::<u64>(), 0..10)) {
            let id = BlockId { digest: Digest([7; 32]), codec: Codec::DagPb };
            let tally: Sources = list.into_iter().map(|(n, bytes)| (TestWorld::peer_id(n), bytes)).collect();
            let write = unfinished(id, &tally);
            prop_assert_eq!(root(&write.key), Some(id));
            prop_assert_eq!(sources(&write.value.unwrap()), tally);
        }

        #[test]
        fn damaged_tallies_are_read_as_far_as_possible(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            prop_assert!(sources(&bytes).len() <= bytes.len() / 9);
        }
    }
}
