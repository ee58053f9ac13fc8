//! The redb side of the store: the core's rows and which blocks are there.

use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};

use bytes::Bytes;
use redb::{Database, Durability, ReadableDatabase, TableDefinition, TableError, WriteTransaction};
use registry_core::Digest;
use registry_core::action::{Table, Write};
use registry_core::input::Row;

use super::blocks::StoreFault;

/// redb's own default is 1 GiB.
const CACHE_BYTES: usize = 16 * 1024 * 1024;

/// Digest -> length of each block that is durable.
const BLOCKS: TableDefinition<'_, &[u8; 32], u64> = TableDefinition::new("blocks");

const fn definition(table: Table) -> TableDefinition<'static, &'static [u8], &'static [u8]> {
    TableDefinition::new(match table {
        Table::Meta => "1",
        Table::Publisher => "2",
        Table::Log => "3",
        Table::Content => "4",
        Table::Fetch => "5",
        Table::PeerAddrs => "6",
        Table::Ban => "7",
        Table::Segment => "8",
    })
}

/// One database file. After a fault of the disk it is opened anew, since redb refuses everything until then.
#[derive(Debug)]
pub(super) struct Index {
    path: PathBuf,
    database: RwLock<Option<Database>>,
}

impl Index {
    pub(super) fn open(path: &Path) -> Result<Self, StoreFault> {
        Ok(Self { path: path.to_owned(), database: RwLock::new(Some(open(path)?)) })
    }

    /// Applies writes to rows and blocks durably and atomically.
    pub(super) fn commit(
        &self,
        rows: &[&Write],
        added: &[(Digest, u64)],
        removed: &[Digest],
    ) -> Result<(), StoreFault> {
        self.with(|database| {
            let mut transaction = database.begin_write()?;
            transaction.set_durability(Durability::Immediate)?;
            write_rows(&transaction, rows)?;
            if !(added.is_empty() && removed.is_empty()) {
                let mut blocks = transaction.open_table(BLOCKS)?;
                for (digest, length) in added {
                    blocks.insert(&digest.0, length)?;
                }
                for digest in removed {
                    blocks.remove(&digest.0)?;
                }
            }
            Ok(transaction.commit()?)
        })
    }

    /// The length of a block that is there.
    pub(super) fn block(&self, digest: Digest) -> Result<Option<u64>, StoreFault> {
        self.with(|database| match database.begin_read()?.open_table(BLOCKS) {
            Ok(blocks) => Ok(blocks.get(&digest.0)?.map(|length| length.value())),
            Err(TableError::TableDoesNotExist(_)) => Ok(None),
            Err(error) => Err(error.into()),
        })
    }

    /// Rows of a table after a key, in key order, up to either limit.
    pub(super) fn rows(
        &self,
        table: Table,
        after: Option<&Bytes>,
        max_rows: usize,
        max_bytes: usize,
    ) -> Result<Vec<Row>, StoreFault> {
        self.with(|database| {
            let opened = match database.begin_read()?.open_table(definition(table)) {
                Ok(opened) => opened,
                Err(TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
                Err(error) => return Err(error.into()),
            };
            let from = match after {
                Some(key) => std::ops::Bound::Excluded(key.as_ref()),
                None => std::ops::Bound::Unbounded,
            };
            let mut rows = Vec::new();
            let mut bytes = 0;
            for entry in opened.range::<&[u8]>((from, std::ops::Bound::Unbounded))? {
                let (key, value) = entry?;
                let row = Row {
                    table,
                    key: Bytes::copy_from_slice(key.value()),
                    value: Bytes::copy_from_slice(value.value()),
                };
                bytes += row.key.len() + row.value.len();
                rows.push(row);
                if rows.len() >= max_rows || bytes >= max_bytes {
                    break;
                }
            }
            Ok(rows)
        })
    }

    fn with<T>(&self, work: impl FnOnce(&Database) -> Result<T, redb::Error>) -> Result<T, StoreFault> {
        let result = {
            let slot = self.database.read().unwrap_or_else(PoisonError::into_inner);
            match &*slot {
                Some(database) => work(database),
                None => Err(redb::Error::DatabaseClosed),
            }
        };
        result.map_err(|error| {
            if matches!(error, redb::Error::Io(_) | redb::Error::PreviousIo | redb::Error::DatabaseClosed) {
                self.reopen();
            }
            StoreFault::from(error)
        })
    }

    fn reopen(&self) {
        let mut slot = self.database.write().unwrap_or_else(PoisonError::into_inner);
        // The lock on the file must go before it can be taken again.
        *slot = None;
        *slot = open(&self.path).ok();
    }
}

fn open(path: &Path) -> Result<Database, StoreFault> {
    let database = Database::builder().set_cache_size(CACHE_BYTES).create(path).map_err(redb::Error::from)?;
    Ok(database)
}

fn write_rows(transaction: &WriteTransaction, rows: &[&Write]) -> Result<(), redb::Error> {
    for run in rows.chunk_by(|a, b| a.table == b.table) {
        let mut table = transaction.open_table(definition(run[0].table))?;
        for write in run {
            match &write.value {
                Some(value) => table.insert(write.key.as_ref(), value.as_ref())?,
                None => table.remove(write.key.as_ref())?,
            };
        }
    }
    Ok(())
}
