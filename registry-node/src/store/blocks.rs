//! Blocks as files: `blocks/ab/ab12...`, named by their sha2-256.
//!
//! A file is written under a temporary name, made durable, renamed, and its folder made durable, before the index
//! names it. Whatever a crash leaves behind is either a complete block or a temporary file, which the next start removes.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use registry_core::Digest;
use registry_core::action::Write;
use registry_core::input::StoreError;

use super::index::Index;

/// What is wrong with the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreFault {
    /// No space left.
    #[error("no space left for the store")]
    Full,
    /// Somebody else has it open.
    #[error("the store is open already")]
    InUse,
    /// A fault of the disk, or a damaged file.
    #[error("store: {0}")]
    Io(String),
}

impl StoreFault {
    pub(super) fn kind(&self) -> StoreError {
        match self {
            Self::Full => StoreError::Full,
            Self::InUse | Self::Io(_) => StoreError::Io,
        }
    }
}

impl From<io::Error> for StoreFault {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => Self::Full,
            _ => Self::Io(error.to_string()),
        }
    }
}

impl From<redb::Error> for StoreFault {
    fn from(error: redb::Error) -> Self {
        match error {
            redb::Error::DatabaseAlreadyOpen => Self::InUse,
            redb::Error::Io(error) => error.into(),
            error => Self::Io(error.to_string()),
        }
    }
}

/// The blocks of a store. Cheap to clone, usable from any thread.
#[derive(Clone, Debug)]
pub struct Blocks(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    blocks: PathBuf,
    temporary: PathBuf,
    damaged: PathBuf,
    index: Arc<Index>,
    next_temporary: AtomicU64,
}

/// A block whose file is in place and durable, while the index does not name it yet.
#[derive(Debug)]
pub(super) struct NewFile {
    digest: Digest,
    length: u64,
    path: PathBuf,
}

impl Blocks {
    pub(super) fn open(dir: &Path, index: Arc<Index>) -> Result<Self, StoreFault> {
        let inner = Inner {
            blocks: dir.join("blocks"),
            temporary: dir.join("tmp"),
            damaged: dir.join("damaged"),
            index,
            next_temporary: AtomicU64::new(0),
        };
        if inner.temporary.exists() {
            fs::remove_dir_all(&inner.temporary)?;
        }
        fs::create_dir_all(&inner.blocks)?;
        fs::create_dir_all(&inner.temporary)?;
        sync_dir(dir)?;
        Ok(Self(Arc::new(inner)))
    }

    /// Is the block there?
    ///
    /// # Errors
    /// A fault of the disk.
    pub fn has(&self, digest: Digest) -> Result<bool, StoreFault> {
        Ok(self.0.index.block(digest)?.is_some())
    }

    /// Reads a block. One whose length or digest is wrong is moved aside and counts as missing.
    ///
    /// # Errors
    /// A fault of the disk.
    pub fn get(&self, digest: Digest) -> Result<Option<Bytes>, StoreFault> {
        let Some(length) = self.0.index.block(digest)? else { return Ok(None) };
        let path = self.path(digest);
        match fs::read(&path) {
            Ok(data) if data.len() as u64 == length && Digest::of(&data) == digest => Ok(Some(data.into())),
            Ok(_) => {
                fs::create_dir_all(&self.0.damaged)?;
                fs::rename(&path, self.0.damaged.join(name(digest)))?;
                self.0.index.commit(&[], &[], &[digest])?;
                Ok(None)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.0.index.commit(&[], &[], &[digest])?;
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Keeps blocks durably; all of them or none. The caller has computed the digests.
    ///
    /// # Errors
    /// [`StoreFault::Full`], or another fault of the disk.
    pub fn put(&self, blocks: &[(Digest, Bytes)]) -> Result<(), StoreFault> {
        let mut files = Vec::with_capacity(blocks.len());
        for (digest, data) in blocks {
            match self.write_file(*digest, data) {
                Ok(file) => files.extend(file),
                Err(fault) => {
                    discard(&files);
                    return Err(fault);
                }
            }
        }
        self.commit(files, &[])
    }

    /// Writes a block's file, unless the block is there.
    pub(super) fn write_file(&self, digest: Digest, data: &[u8]) -> Result<Option<NewFile>, StoreFault> {
        if self.has(digest)? {
            return Ok(None);
        }
        let path = self.path(digest);
        let number = self.0.next_temporary.fetch_add(1, Ordering::Relaxed);
        let temporary = self.0.temporary.join(number.to_string());
        let written = write_durably(&temporary, data).and_then(|()| place(&temporary, &path));
        if let Err(error) = written {
            let _ = fs::remove_file(&temporary);
            return Err(error.into());
        }
        Ok(Some(NewFile { digest, length: data.len() as u64, path }))
    }

    /// Names new files in the index, together with other rows, in one transaction.
    pub(super) fn commit(&self, files: Vec<NewFile>, rows: &[&Write]) -> Result<(), StoreFault> {
        if files.is_empty() && rows.is_empty() {
            return Ok(());
        }
        let added: Vec<_> = files.iter().map(|file| (file.digest, file.length)).collect();
        let result =
            sync_folders(&files).map_err(StoreFault::from).and_then(|()| self.0.index.commit(rows, &added, &[]));
        if result.is_err() {
            discard(&files);
        }
        result
    }

    fn path(&self, digest: Digest) -> PathBuf {
        let name = name(digest);
        self.0.blocks.join(&name[..2]).join(name)
    }
}

fn name(digest: Digest) -> String {
    format!("{digest:?}")
}

fn write_durably(path: &Path, data: &[u8]) -> io::Result<()> {
    let mut file = File::create_new(path)?;
    file.write_all(data)?;
    file.sync_all()
}

fn place(temporary: &Path, path: &Path) -> io::Result<()> {
    match fs::rename(temporary, path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let folder = path.parent().ok_or(error)?;
            fs::create_dir_all(folder)?;
            folder.parent().map_or(Ok(()), sync_dir)?;
            fs::rename(temporary, path)
        }
        result => result,
    }
}

fn sync_folders(files: &[NewFile]) -> io::Result<()> {
    let folders: BTreeSet<_> = files.iter().filter_map(|file| file.path.parent()).collect();
    folders.into_iter().try_for_each(sync_dir)
}

/// Makes a folder's entries durable; elsewhere than on Unix renames are as durable as the system makes them.
pub(crate) fn sync_dir(dir: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(dir)?.sync_all() } else { Ok(()) }
}

/// Takes back files that no index names.
fn discard(files: &[NewFile]) {
    for file in files {
        let _ = fs::remove_file(&file.path);
    }
}
