//! The embedded store: a redb index beside block files, crash-safe.
//!
//! One thread owns all writes of the core. It answers in the order of the requests and commits what has queued up
//! meanwhile in one transaction. A block is a file that is durable before the index names it, so the index never
//! promises what a crash could take away.

pub(crate) use blocks::sync_dir;
mod blocks;
mod index;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc as queue;
use std::thread::JoinHandle;

use futures::channel::{mpsc, oneshot};
use futures::{SinkExt, executor};
use registry_core::Input;
use registry_core::action::{StoreRequest, Table, Write};
use registry_core::id::StoreId;
use registry_core::input::{Row, StoreError, StoreResult};

pub use blocks::{Blocks, StoreFault};
use index::Index;

/// Requests committed together at most.
const MAX_GROUP: usize = 256;
/// Bytes of blocks in one group, beyond which no further request joins it.
const MAX_GROUP_BYTES: usize = 16 * 1024 * 1024;
/// Rows of one recovery batch: the core parses and indexes them in a few milliseconds.
const RECOVERY_ROWS: usize = 64;
/// Bytes of one recovery batch: few rows when they are long.
const RECOVERY_BYTES: usize = 128 * 1024;

/// An open store. [`Store::start`] gives it to its thread.
#[derive(Debug)]
pub struct Store {
    index: Arc<Index>,
    blocks: Blocks,
}

impl Store {
    /// Opens or creates the store in `dir`.
    ///
    /// # Errors
    /// [`StoreFault::InUse`] when it is open already, here or in another process; otherwise the fault of the disk.
    pub fn open(dir: &Path) -> Result<Self, StoreFault> {
        std::fs::create_dir_all(dir)?;
        let index = Arc::new(Index::open(&dir.join("index.redb"))?);
        let blocks = Blocks::open(dir, Arc::clone(&index))?;
        Ok(Self { index, blocks })
    }

    /// The blocks, for whoever packs or exports content beside the core.
    pub fn blocks(&self) -> Blocks {
        self.blocks.clone()
    }

    /// Puts a row there without the core.
    ///
    /// # Errors
    /// The fault of the disk.
    pub fn put(&self, row: &Write) -> Result<(), StoreFault> {
        self.blocks.commit(Vec::new(), &[row])
    }

    /// Starts the store's thread: first all rows go to `replies`, then the answers to requests, in their order. The
    /// other receiver gets the fault that kept it from reading its rows; nothing is answered then.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start(self, replies: mpsc::Sender<Input>) -> std::io::Result<(StoreThread, oneshot::Receiver<StoreFault>)> {
        let (requests, queue) = queue::channel();
        let (fault, faults) = oneshot::channel();
        let worker = Worker { store: self, replies };
        let thread = std::thread::Builder::new().name("wharf-store".into()).spawn(move || worker.run(&queue, fault))?;
        Ok((StoreThread { requests: Some(requests), thread: Some(thread) }, faults))
    }

    /// Gives all rows to `take`, table by table in key order, in bounded batches.
    fn recover(&self, mut take: impl FnMut(Vec<Row>) -> bool) -> Result<(), StoreFault> {
        for table in Table::ALL {
            let mut after = None;
            loop {
                let rows = self.index.rows(table, after.as_ref(), RECOVERY_ROWS, RECOVERY_BYTES)?;
                let Some(last) = rows.last() else { break };
                after = Some(last.key.clone());
                if !take(rows) {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Does all writes of a group, or none of those that need the index.
    fn write(&self, group: &[(StoreId, StoreRequest)]) -> Vec<StoreResult> {
        let mut results = Vec::with_capacity(group.len());
        let mut files = Vec::new();
        let mut rows: Vec<&Write> = Vec::new();
        for (_, request) in group {
            results.push(match request {
                StoreRequest::PutBlock { digest, data } => match self.blocks.write_file(*digest, data) {
                    Ok(file) => {
                        files.extend(file);
                        StoreResult::Done
                    }
                    Err(fault) => StoreResult::Failed(fault.kind()),
                },
                StoreRequest::Commit(writes) => {
                    rows.extend(writes);
                    StoreResult::Done
                }
                StoreRequest::GetBlock(_) | StoreRequest::HasBlocks(_) => StoreResult::Failed(StoreError::Io),
            });
        }
        if let Err(fault) = self.blocks.commit(files, &rows) {
            for result in &mut results {
                if *result == StoreResult::Done {
                    *result = StoreResult::Failed(fault.kind());
                }
            }
        }
        results
    }

    fn read(&self, request: &StoreRequest) -> StoreResult {
        let result = match request {
            StoreRequest::GetBlock(digest) => self.blocks.get(*digest).map(StoreResult::Block),
            StoreRequest::HasBlocks(digests) => {
                digests.iter().map(|digest| self.blocks.has(*digest)).collect::<Result<_, _>>().map(StoreResult::Has)
            }
            StoreRequest::Commit(_) | StoreRequest::PutBlock { .. } => return StoreResult::Failed(StoreError::Io),
        };
        result.unwrap_or_else(|fault| StoreResult::Failed(fault.kind()))
    }
}

/// The handle of a running store.
#[derive(Debug)]
pub struct StoreThread {
    requests: Option<queue::Sender<(StoreId, StoreRequest)>>,
    thread: Option<JoinHandle<()>>,
}

impl StoreThread {
    /// Queues a request; its answer arrives as [`Input::Stored`].
    pub fn submit(&self, op: StoreId, request: StoreRequest) {
        if let Some(requests) = &self.requests {
            // The thread outlives this handle and stops reading only when nobody takes its answers any more.
            let _ = requests.send((op, request));
        }
    }

    /// Takes no further requests, finishes those that are queued and waits for the thread. The receiver of the replies
    /// must be drained or dropped meanwhile.
    pub fn close(&mut self) {
        self.requests = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for StoreThread {
    fn drop(&mut self) {
        self.requests = None;
    }
}

struct Worker {
    store: Store,
    replies: mpsc::Sender<Input>,
}

impl Worker {
    fn run(mut self, requests: &queue::Receiver<(StoreId, StoreRequest)>, fault: oneshot::Sender<StoreFault>) {
        let mut replies = self.replies.clone();
        if let Err(error) = self.store.recover(|rows| executor::block_on(replies.send(Input::Recovered(rows))).is_ok())
        {
            // A node that cannot read its own rows must not act as if it had none.
            let _ = fault.send(error);
            return;
        }
        drop(fault);
        self.reply(Input::RecoveryDone);
        while let Ok(first) = requests.recv() {
            self.serve(next_group(first, requests));
        }
    }

    fn serve(&mut self, group: Vec<(StoreId, StoreRequest)>) {
        for run in group.chunk_by(|(_, a), (_, b)| is_write(a) && is_write(b)) {
            let results = match run {
                [(_, request)] if !is_write(request) => vec![self.store.read(request)],
                writes => self.store.write(writes),
            };
            for ((op, _), result) in run.iter().zip(results) {
                self.reply(Input::Stored { op: *op, result });
            }
        }
    }

    fn reply(&mut self, input: Input) {
        // The node is gone when this fails; what was written stays written.
        let _ = executor::block_on(self.replies.send(input));
    }
}

fn next_group(
    first: (StoreId, StoreRequest),
    requests: &queue::Receiver<(StoreId, StoreRequest)>,
) -> Vec<(StoreId, StoreRequest)> {
    let mut bytes = size_of_request(&first.1);
    let mut group = vec![first];
    while group.len() < MAX_GROUP && bytes < MAX_GROUP_BYTES {
        let Ok(next) = requests.try_recv() else { break };
        bytes += size_of_request(&next.1);
        group.push(next);
    }
    group
}

fn size_of_request(request: &StoreRequest) -> usize {
    match request {
        StoreRequest::PutBlock { data, .. } => data.len(),
        StoreRequest::Commit(writes) => {
            writes.iter().map(|write| write.key.len() + write.value.as_ref().map_or(0, |value| value.len())).sum()
        }
        StoreRequest::GetBlock(_) | StoreRequest::HasBlocks(_) => 0,
    }
}

fn is_write(request: &StoreRequest) -> bool {
    matches!(request, StoreRequest::Commit(_) | StoreRequest::PutBlock { .. })
}
