//! From verified blocks to files: everything or nothing.
//!
//! A tree is written beside its destination under a temporary name, each block verified once more as it is read, made
//! durable, and then moved to its final name in one step. Names come from strangers: those that could leave the folder,
//! or that some file system takes for one another, are refused, and so is more than the signed size.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use registry_core::BlockId;
use registry_core::exchange::unixfs::{Step, UnixfsError, Walk, WalkLimits};

use super::{folded, is_safe};
use crate::jobs::Stop;
use crate::store::{Blocks, StoreFault, sync_dir};

/// Looking at a destination and moving there is one step for all exports of this process.
static PLACING: Mutex<()> = Mutex::new(());

/// Files and folders of one package.
const MAX_ENTRIES: u64 = 1_000_000;

/// What to do when the destination exists.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Existing {
    /// Leave it, and fail unless it holds exactly what would be written.
    #[default]
    Refuse,
    /// Replace it.
    Replace,
    /// When both are folders, put each new entry beside those that are there; fail before anything is moved when one
    /// of the same name differs.
    Join,
}

/// Why a tree was not written. Nothing is left behind.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The destination holds something else.
    #[error("{} exists and differs", .0.display())]
    Exists(PathBuf),
    /// A block is not in the store, or was damaged there.
    #[error("block {0} is missing")]
    Missing(BlockId),
    /// The tree is malformed, or larger than its statement says.
    #[error("the content is not acceptable: {0}")]
    Tree(#[from] UnixfsError),
    /// The tree holds fewer bytes than its statement says.
    #[error("the content has {actual} bytes instead of {declared}")]
    Size {
        /// As signed.
        declared: u64,
        /// In the tree.
        actual: u64,
    },
    /// A name that is not safe on every file system, or two that some file systems take for one.
    #[error("the name {0:?} is not safe to write")]
    Name(String),
    /// No space left at the destination.
    #[error("no space left for {}", .0.display())]
    Full(PathBuf),
    /// Any other fault of the destination.
    #[error("{}: {error}", .path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreFault),
    /// The caller is gone, or the node is being stopped.
    #[error("stopped")]
    Stopped,
}

/// Writes the tree under `root`, of exactly `size` bytes, to `out`.
///
/// # Errors
/// See [`ExportError`].
pub(crate) fn export(
    blocks: &Blocks,
    root: BlockId,
    size: u64,
    out: &Path,
    existing: Existing,
    stop: &Stop,
) -> Result<(), ExportError> {
    let out = std::path::absolute(out).map_err(|error| fault(out, error))?;
    let parent = out.parent().ok_or_else(|| ExportError::Exists(out.clone()))?;
    fs::create_dir_all(parent).map_err(|error| fault(parent, error))?;
    let temporary = Temporary::new(parent)?;
    let new = temporary.0.join("new");
    Writer { blocks, new: &new, stop, written: 0, names: BTreeSet::new() }.write(root, size)?;
    let _turn = PLACING.lock().unwrap_or_else(PoisonError::into_inner);
    match fs::symlink_metadata(&out) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(fault(&out, error)),
        Ok(kind) if existing == Existing::Join && kind.is_dir() && new.is_dir() => return join(&new, &out),
        Ok(_) if existing == Existing::Replace => {
            fs::rename(&out, temporary.0.join("old")).map_err(|error| fault(&out, error))?;
        }
        Ok(_) => {
            let same = identical(&new, &out).map_err(|error| fault(&out, error))?;
            return if same { Ok(()) } else { Err(ExportError::Exists(out)) };
        }
    }
    if let Err(error) = fs::rename(&new, &out) {
        // Puts back what was replaced, if anything was.
        let _ = fs::rename(temporary.0.join("old"), &out);
        return Err(fault(&out, error));
    }
    sync_dir(parent).map_err(|error| fault(parent, error))
}

/// Moves what is new; what is there already with the same bytes stays.
fn join(new: &Path, out: &Path) -> Result<(), ExportError> {
    let mut missing = Vec::new();
    for name in names(new).map_err(|error| fault(new, error))? {
        let (from, to) = (new.join(&name), out.join(&name));
        match fs::symlink_metadata(&to) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => missing.push((from, to)),
            Err(error) => return Err(fault(&to, error)),
            Ok(_) if identical(&from, &to).map_err(|error| fault(&to, error))? => {}
            Ok(_) => return Err(ExportError::Exists(to)),
        }
    }
    for (moved, (from, to)) in missing.iter().enumerate() {
        if let Err(error) = fs::rename(from, to) {
            for (from, to) in &missing[..moved] {
                let _ = fs::rename(to, from);
            }
            return Err(fault(to, error));
        }
    }
    sync_dir(out).map_err(|error| fault(out, error))
}

fn fault(path: &Path, error: io::Error) -> ExportError {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            ExportError::Full(path.to_owned())
        }
        _ => ExportError::Io { path: path.to_owned(), error },
    }
}

/// A folder of our own, removed with all it holds.
struct Temporary(PathBuf);

impl Temporary {
    fn new(parent: &Path) -> Result<Self, ExportError> {
        let mut random = [0; 8];
        getrandom::fill(&mut random).map_err(|error| fault(parent, error.into()))?;
        let path = parent.join(format!(".wharf-{:016x}", u64::from_ne_bytes(random)));
        fs::create_dir(&path).map_err(|error| fault(&path, error))?;
        Ok(Self(path))
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

struct Writer<'a> {
    blocks: &'a Blocks,
    new: &'a Path,
    stop: &'a Stop,
    written: u64,
    /// Paths so far, as a file system that ignores case sees them.
    names: BTreeSet<Vec<String>>,
}

impl Writer<'_> {
    fn write(mut self, root: BlockId, size: u64) -> Result<(), ExportError> {
        let mut walk = Walk::new(root, WalkLimits { bytes: size, entries: MAX_ENTRIES });
        let mut file: Option<(PathBuf, File)> = None;
        let mut folders = Vec::new();
        loop {
            if self.stop.is_set() {
                return Err(ExportError::Stopped);
            }
            match walk.next()? {
                Step::Need(id) => {
                    let block = self.blocks.get(id.digest)?.ok_or(ExportError::Missing(id))?;
                    walk.supply(block)?;
                }
                Step::Directory { path } => {
                    let path = self.place(&path)?;
                    fs::create_dir(&path).map_err(|error| fault(&path, error))?;
                    folders.push(path);
                }
                Step::File { path, size: _ } => {
                    let path = self.place(&path)?;
                    let created = File::create_new(&path).map_err(|error| fault(&path, error))?;
                    file = Some((path, created));
                }
                Step::Data(data) => {
                    if let Some((path, file)) = &mut file {
                        file.write_all(&data).map_err(|error| fault(path, error))?;
                        self.written += data.len() as u64;
                    }
                }
                Step::FileEnd => {
                    if let Some((path, file)) = file.take() {
                        file.sync_all().map_err(|error| fault(&path, error))?;
                    }
                }
                Step::Done => break,
            }
        }
        if self.written != size {
            return Err(ExportError::Size { declared: size, actual: self.written });
        }
        folders.iter().try_for_each(|path| sync_dir(path).map_err(|error| fault(path, error)))
    }

    fn place(&mut self, path: &[String]) -> Result<PathBuf, ExportError> {
        if let Some(name) = path.last().filter(|name| !is_safe(name)) {
            return Err(ExportError::Name(name.clone()));
        }
        if !self.names.insert(path.iter().map(|name| folded(name)).collect()) {
            return Err(ExportError::Name(path.last().cloned().unwrap_or_default()));
        }
        Ok(path.iter().fold(self.new.to_owned(), |place, name| place.join(name)))
    }
}

/// Do two trees hold the same files with the same bytes, and nothing else?
fn identical(a: &Path, b: &Path) -> io::Result<bool> {
    let (kind_a, kind_b) = (fs::symlink_metadata(a)?, fs::symlink_metadata(b)?);
    if kind_a.is_dir() && kind_b.is_dir() {
        let (names_a, names_b) = (names(a)?, names(b)?);
        if names_a != names_b {
            return Ok(false);
        }
        for name in names_a {
            if !identical(&a.join(&name), &b.join(&name))? {
                return Ok(false);
            }
        }
        return Ok(true);
    }
    let files = kind_a.is_file() && kind_b.is_file() && kind_a.len() == kind_b.len();
    Ok(files && same_bytes(File::open(a)?, File::open(b)?)?)
}

fn names(folder: &Path) -> io::Result<BTreeSet<std::ffi::OsString>> {
    fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.file_name())).collect()
}

fn same_bytes(a: File, b: File) -> io::Result<bool> {
    use io::Read;
    const PIECE: u64 = 256 * 1024;
    let (mut a, mut b) = (io::BufReader::new(a), io::BufReader::new(b));
    loop {
        let (mut piece_a, mut piece_b) = (Vec::new(), Vec::new());
        a.by_ref().take(PIECE).read_to_end(&mut piece_a)?;
        b.by_ref().take(PIECE).read_to_end(&mut piece_b)?;
        if piece_a != piece_b {
            return Ok(false);
        }
        if piece_a.is_empty() {
            return Ok(true);
        }
    }
}
