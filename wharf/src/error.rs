//! What can go wrong, by exit code, always with a hint.

use serde::{Deserialize, Serialize};

/// The kind of an error; its exit code and its name in JSON are part of the interface.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Code {
    Other,
    Usage,
    NotFound,
    NoPeer,
    Timeout,
    Verification,
    Refused,
    Conflict,
    NotRunning,
    Storage,
}

impl Code {
    /// The process's exit code.
    pub(crate) fn exit(self) -> u8 {
        match self {
            Self::Other => 1,
            Self::Usage => 2,
            Self::NotFound => 3,
            Self::NoPeer => 4,
            Self::Timeout => 5,
            Self::Verification => 6,
            Self::Refused => 7,
            Self::Conflict => 8,
            Self::NotRunning => 9,
            Self::Storage => 10,
        }
    }
}

/// An error as the user sees it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub(crate) struct CliError {
    pub(crate) code: Code,
    pub(crate) message: String,
    pub(crate) hint: String,
}

impl CliError {
    pub(crate) fn new(code: Code, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { code, message: message.into(), hint: hint.into() }
    }

    /// A file or folder that could not be used.
    pub(crate) fn io(what: &str, path: &std::path::Path, error: &std::io::Error) -> Self {
        let code = match error.kind() {
            std::io::ErrorKind::NotFound => Code::NotFound,
            std::io::ErrorKind::StorageFull => Code::Storage,
            _ => Code::Other,
        };
        Self::new(code, format!("{what} {}: {error}", path.display()), "check the path and its permissions")
    }
}
