//! One node's virtual disk: rows and blocks that survive a crash, and the writes that may not.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use registry_core::action::{StoreRequest, Table, Write};
use registry_core::id::{Digest, StoreId};
use registry_core::input::{Row, StoreError, StoreResult};

/// Rows told to a restarted node at once.
const RECOVERY_BATCH: usize = 256;

/// How a request ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// It is done.
    Works,
    /// Nothing is changed.
    Fails(StoreError),
    /// A bit of the block to be read has flipped.
    Rots,
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub struct Disk {
    rows: BTreeMap<(Table, Bytes), Bytes>,
    blocks: BTreeMap<Digest, Bytes>,
    /// Asked for and not yet answered, in order.
    queue: VecDeque<(StoreId, StoreRequest, Outcome)>,
    /// When the last queued request will be answered, in microseconds.
    busy_until: u64,
}

impl Disk {
    /// Queues a request that takes `latency` microseconds and ends in `outcome`; returns when it will be answered.
    /// Answers keep the order of the requests.
    pub fn submit(&mut self, now: u64, latency: u64, op: StoreId, request: StoreRequest, outcome: Outcome) -> u64 {
        self.busy_until = (now + latency).max(self.busy_until + 1);
        self.queue.push_back((op, request, outcome));
        self.busy_until
    }

    /// How long a request takes, in microseconds, of which a part is chosen by `bits`.
    pub fn latency(request: &StoreRequest, bits: u64) -> u64 {
        let spread = |base: u64| base + crate::mix::scale(bits, base);
        match request {
            StoreRequest::Commit(_) => spread(1_000),
            StoreRequest::PutBlock { data, .. } => spread(500) + data.len() as u64 / 200,
            StoreRequest::GetBlock(_) => spread(100),
            StoreRequest::HasBlocks(_) => spread(20),
        }
    }

    /// Carries out the oldest queued request.
    pub fn answer(&mut self) -> Option<(StoreId, StoreResult)> {
        let (op, request, outcome) = self.queue.pop_front()?;
        Some((op, self.end(request, outcome)))
    }

    /// The power fails: of the unanswered requests the oldest `survivors` have reached the disk all the same.
    pub fn crash(&mut self, survivors: usize) {
        for (_, request, outcome) in std::mem::take(&mut self.queue).into_iter().take(survivors) {
            self.end(request, outcome);
        }
        self.busy_until = 0;
    }

    /// Requests without an answer yet.
    pub fn unanswered(&self) -> usize {
        self.queue.len()
    }

    /// All rows, table by table in key order, in batches.
    pub fn recovery(&self) -> Vec<Vec<Row>> {
        let of =
            |table: Table| self.rows.range((table, Bytes::new())..).take_while(move |((other, _), _)| *other == table);
        let row = |((table, key), value): (&(Table, Bytes), &Bytes)| Row {
            table: *table,
            key: key.clone(),
            value: value.clone(),
        };
        let rows: Vec<Row> = Table::ALL.into_iter().flat_map(of).map(row).collect();
        rows.chunks(RECOVERY_BATCH).map(<[Row]>::to_vec).collect()
    }

    /// Puts rows there without the node, as an earlier life of it has left them.
    pub fn write(&mut self, rows: &[Write]) {
        self.apply(StoreRequest::Commit(rows.to_vec()));
    }

    /// Puts a block there without the node, as a shell does before it asks for a publish.
    pub fn put(&mut self, digest: Digest, data: Bytes) {
        self.blocks.insert(digest, data);
    }

    /// It holds no row.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// A row's value.
    pub fn row(&self, table: Table, key: &Bytes) -> Option<&Bytes> {
        self.rows.get(&(table, key.clone()))
    }

    /// A block's bytes.
    pub fn block(&self, digest: &Digest) -> Option<&Bytes> {
        self.blocks.get(digest)
    }

    fn end(&mut self, request: StoreRequest, outcome: Outcome) -> StoreResult {
        match (outcome, request) {
            (Outcome::Fails(error), _) => StoreResult::Failed(error),
            (Outcome::Rots, StoreRequest::GetBlock(digest)) => {
                self.rot(digest);
                StoreResult::Block(self.blocks.get(&digest).cloned())
            }
            (Outcome::Works | Outcome::Rots, request) => self.apply(request),
        }
    }

    /// A block with another digest is no block: the store puts it away.
    fn rot(&mut self, digest: Digest) {
        let Some(block) = self.blocks.get_mut(&digest) else { return };
        let mut bytes = block.to_vec();
        bytes.first_mut().into_iter().for_each(|byte| *byte ^= 1);
        if Digest::of(&bytes) != digest {
            self.blocks.remove(&digest);
        }
    }

    fn apply(&mut self, request: StoreRequest) -> StoreResult {
        match request {
            StoreRequest::Commit(writes) => {
                for Write { table, key, value } in writes {
                    match value {
                        Some(value) => self.rows.insert((table, key), value),
                        None => self.rows.remove(&(table, key)),
                    };
                }
                StoreResult::Done
            }
            StoreRequest::PutBlock { digest, data } => {
                self.blocks.insert(digest, data);
                StoreResult::Done
            }
            StoreRequest::GetBlock(digest) => StoreResult::Block(self.blocks.get(&digest).cloned()),
            StoreRequest::HasBlocks(digests) => {
                StoreResult::Has(digests.iter().map(|digest| self.blocks.contains_key(digest)).collect())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commit(key: &'static [u8], value: Option<&'static [u8]>) -> StoreRequest {
        StoreRequest::Commit(vec![Write {
            table: Table::Meta,
            key: Bytes::from_static(key),
            value: value.map(Bytes::from_static),
        }])
    }

    #[test]
    fn a_crash_loses_unanswered_writes_and_keeps_answered_ones() {
        let mut disk = Disk::default();
        disk.submit(0, 10, StoreId(1), commit(b"a", Some(b"1")), Outcome::Works);
        assert_eq!(disk.answer(), Some((StoreId(1), StoreResult::Done)));
        disk.submit(0, 10, StoreId(2), commit(b"b", Some(b"2")), Outcome::Works);
        disk.submit(0, 10, StoreId(3), commit(b"a", None), Outcome::Works);
        disk.crash(1);
        assert_eq!(disk.answer(), None);
        let keys: Vec<Bytes> = disk.recovery().concat().into_iter().map(|row| row.key).collect();
        assert_eq!(keys, [&b"a"[..], b"b"]);
    }

    #[test]
    fn a_rotten_block_is_missing_from_then_on_and_a_failed_write_changes_nothing() {
        let (mut disk, data) = (Disk::default(), Bytes::from_static(b"block"));
        let digest = Digest::of(&data);
        disk.put(digest, data.clone());
        let get = || StoreRequest::GetBlock(digest);
        disk.submit(0, 1, StoreId(1), get(), Outcome::Works);
        disk.submit(0, 1, StoreId(2), get(), Outcome::Rots);
        disk.submit(0, 1, StoreId(3), get(), Outcome::Works);
        disk.submit(0, 1, StoreId(4), commit(b"a", Some(b"1")), Outcome::Fails(StoreError::Full));
        let answers: Vec<_> = std::iter::from_fn(|| disk.answer()).map(|(_, result)| result).collect();
        let (there, gone) = (StoreResult::Block(Some(data)), StoreResult::Block(None));
        assert_eq!(answers, [there, gone.clone(), gone, StoreResult::Failed(StoreError::Full)]);
        assert!(disk.block(&digest).is_none() && disk.recovery().is_empty());
    }

    #[test]
    fn answers_keep_the_order_of_requests() {
        let mut disk = Disk::default();
        let slow = disk.submit(0, 1_000, StoreId(1), commit(b"a", Some(b"1")), Outcome::Works);
        let quick = disk.submit(0, 1, StoreId(2), StoreRequest::GetBlock(Digest([0; 32])), Outcome::Works);
        assert!(slow < quick);
    }
}
