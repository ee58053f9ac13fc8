//! From a root to what must be written, in order.

use alloc::string::String;
use alloc::vec::{IntoIter, Vec};

use bytes::Bytes;

use super::read::{Child, Entry, NodeKind, parse};
use super::{MAX_DEPTH, UnixfsError};
use crate::id::BlockId;

/// What a walk may bring forth at most: a few small blocks can name endless files.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WalkLimits {
    /// Bytes of content in all files together.
    pub bytes: u64,
    /// Files and directories.
    pub entries: u64,
}

/// What to do next. Paths are relative to the target; the root's own path is empty.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step {
    /// Read this block and hand it to [`Walk::supply`].
    Need(BlockId),
    /// Make a directory; what it holds follows.
    Directory {
        /// Where.
        path: Vec<String>,
    },
    /// Make a file; its bytes follow.
    File {
        /// Where.
        path: Vec<String>,
        /// So many bytes follow.
        size: u64,
    },
    /// Append to the file.
    Data(Bytes),
    /// The file is complete.
    FileEnd,
    /// Everything is written.
    Done,
}

/// Walks a tree depth first, without I/O of its own.
///
/// ```
/// use registry_core::exchange::unixfs::{FileBuilder, Step, Walk, WalkLimits};
///
/// let built = FileBuilder::new().finish();
/// let mut walk = Walk::new(built.tree.id, WalkLimits { bytes: 1 << 20, entries: 10 });
/// let mut steps = vec![];
/// loop {
///     match walk.next()? {
///         Step::Need(id) => walk.supply(built.blocks.iter().find(|block| block.id == id).unwrap().data.clone())?,
///         Step::Done => break,
///         step => steps.push(step),
///     }
/// }
/// assert_eq!(steps, [Step::File { path: vec![], size: 0 }, Step::FileEnd]);
/// # Ok::<(), registry_core::exchange::unixfs::UnixfsError>(())
/// ```
#[derive(Debug)]
pub struct Walk {
    limits: WalkLimits,
    frames: Vec<Frame>,
    path: Vec<String>,
    /// Asked for by the last `Need`.
    wanted: Option<Wanted>,
    /// Steps that a supplied block has brought, last first.
    ready: Vec<Step>,
}

#[derive(Debug)]
enum Frame {
    Directory(IntoIter<Entry>),
    /// Children of a file's inner node.
    File(IntoIter<Child>),
    /// The end of a file whose inner nodes are on the stack above.
    FileEnd,
    /// Back to the parent directory.
    Leave,
}

#[derive(Clone, Copy, Debug)]
struct Wanted {
    id: BlockId,
    /// Part of a file that is open, and of this size.
    part: Option<u64>,
}

impl Walk {
    /// A walk of the tree under `root`.
    pub fn new(root: BlockId, limits: WalkLimits) -> Self {
        let wanted = Some(Wanted { id: root, part: None });
        Self { limits, frames: Vec::new(), path: Vec::new(), wanted, ready: Vec::new() }
    }

    /// The next step. `Need` is repeated until the block is supplied.
    ///
    /// # Errors
    /// When the tree is deeper than [`MAX_DEPTH`]. The walk is over then.
    #[expect(clippy::should_implement_trait, reason = "a walk that waits for a block is not at its end")]
    pub fn next(&mut self) -> Result<Step, UnixfsError> {
        loop {
            if let Some(step) = self.ready.pop() {
                return Ok(step);
            }
            if let Some(wanted) = self.wanted {
                return Ok(Step::Need(wanted.id));
            }
            let Some(frame) = self.frames.last_mut() else { return Ok(Step::Done) };
            match frame {
                Frame::Directory(entries) => match entries.next() {
                    Some(entry) => {
                        self.wanted = Some(Wanted { id: entry.id, part: None });
                        self.path.push(entry.name);
                        self.push(Frame::Leave)?;
                    }
                    None => drop(self.frames.pop()),
                },
                Frame::File(children) => match children.next() {
                    Some(child) => self.wanted = Some(Wanted { id: child.id, part: Some(child.size) }),
                    None => drop(self.frames.pop()),
                },
                Frame::FileEnd => {
                    self.frames.pop();
                    return Ok(Step::FileEnd);
                }
                Frame::Leave => {
                    self.frames.pop();
                    self.path.pop();
                }
            }
        }
    }

    /// Hands over the block the last [`Step::Need`] asked for; ignored when none did.
    ///
    /// # Errors
    /// When the block is no acceptable node in this place, or a limit is passed. The walk is over then.
    pub fn supply(&mut self, block: Bytes) -> Result<(), UnixfsError> {
        let Some(wanted) = self.wanted.take() else { return Ok(()) };
        match (parse(wanted.id.codec, &block)?, wanted.part) {
            (NodeKind::Leaf(data), Some(size)) => {
                if data.len() as u64 != size {
                    return Err(UnixfsError::Size);
                }
                self.data(data);
            }
            (NodeKind::File { size, children }, Some(expected)) => {
                if size != expected {
                    return Err(UnixfsError::Size);
                }
                self.push(Frame::File(children.into_iter()))?;
            }
            (NodeKind::Directory { .. }, Some(_)) => return Err(UnixfsError::Unsupported),
            (NodeKind::Leaf(data), None) => {
                self.ready.push(Step::FileEnd);
                let size = data.len() as u64;
                self.data(data);
                self.open_file(size)?;
            }
            (NodeKind::File { size, children }, None) => {
                self.push(Frame::FileEnd)?;
                self.push(Frame::File(children.into_iter()))?;
                self.open_file(size)?;
            }
            (NodeKind::Directory { entries }, None) => {
                self.count_entry()?;
                self.ready.push(Step::Directory { path: self.path.clone() });
                self.push(Frame::Directory(entries.into_iter()))?;
            }
        }
        Ok(())
    }

    fn data(&mut self, data: Bytes) {
        if !data.is_empty() {
            self.ready.push(Step::Data(data));
        }
    }

    fn open_file(&mut self, size: u64) -> Result<(), UnixfsError> {
        self.count_entry()?;
        self.limits.bytes = self.limits.bytes.checked_sub(size).ok_or(UnixfsError::TooMany)?;
        self.ready.push(Step::File { path: self.path.clone(), size });
        Ok(())
    }

    fn count_entry(&mut self) -> Result<(), UnixfsError> {
        self.limits.entries = self.limits.entries.checked_sub(1).ok_or(UnixfsError::TooMany)?;
        Ok(())
    }

    fn push(&mut self, frame: Frame) -> Result<(), UnixfsError> {
        // A directory takes two frames, itself and the way back.
        if self.frames.len() >= 2 * MAX_DEPTH {
            return Err(UnixfsError::TooDeep);
        }
        self.frames.push(frame);
        Ok(())
    }
}
