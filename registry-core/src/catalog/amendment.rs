//! What a publisher says later of what it has released. Nothing is taken back: a log only grows.
//!
//! | kind | effect |
//! |---|---|
//! | `yank` | the version is not picked any more; whoever names it exactly still gets it, with a warning |
//! | `deprecate` | the version, or the package with all its versions, also later ones, is marked with a message |
//! | `unyank`, `undeprecate` | that is over |
//!
//! The latest word on a version, and the latest on its package, count; that on the version goes first. What names no earlier release of the log, or what is so already, changes nothing; it is no
//! contradiction, so that the worth of a log never hangs on rules that a later version may refine.

use alloc::string::String;
use alloc::sync::Arc;

use crate::catalog::envelope::FieldError;
use crate::catalog::release::{Dependency, Name, text};
use crate::catalog::version::Version;

/// Bytes of the message of a deprecation, or of the reason of a yank.
pub const MAX_MESSAGE: usize = 256;

/// A later word on a package or on one of its versions.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Amendment {
    /// Which package of the same publisher.
    pub name: Name,
    /// Which version; `None` is the whole package, which can only be deprecated.
    pub version: Option<Arc<str>>,
    /// What of it.
    pub change: Change,
}

/// What an [`Amendment`] says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    /// Do not pick this version any more.
    Yank {
        /// One line, at most 256 bytes; empty for none.
        reason: String,
    },
    /// Pick it again.
    Unyank,
    /// Better use something else.
    Deprecate(Deprecation),
    /// No longer.
    Undeprecate,
}

/// Why something should no longer be used.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Deprecation {
    /// One line of 1 to 256 bytes.
    pub message: String,
    /// What to use instead; without a publisher, a package of the same one.
    pub replacement: Option<Dependency>,
}

/// What its publisher has said of a release since.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Status {
    /// Yanked, with the reason (or nothing).
    pub yanked: Option<String>,
    /// This version, or else its package.
    pub deprecated: Option<Deprecation>,
}

impl Amendment {
    /// Checks every field against its rule.
    ///
    /// # Errors
    /// The first field that breaks its rule.
    pub fn validate(&self) -> Result<(), FieldError> {
        let whole_package = matches!(self.change, Change::Deprecate(_) | Change::Undeprecate);
        FieldError::unless(self.version.is_some() || whole_package, "version", "is needed")?;
        if let Some(version) = &self.version {
            Version::check_text(version).map_err(|reason| FieldError { field: "version", reason })?;
        }
        match &self.change {
            Change::Yank { reason } => text("message", reason, MAX_MESSAGE, false),
            Change::Deprecate(deprecation) => deprecation.validate(),
            Change::Unyank | Change::Undeprecate => Ok(()),
        }
    }
}

impl Deprecation {
    fn validate(&self) -> Result<(), FieldError> {
        FieldError::unless(!self.message.is_empty(), "message", "is needed")?;
        text("message", &self.message, MAX_MESSAGE, false)?;
        self.replacement.as_ref().map_or(Ok(()), Dependency::validate)
    }
}
