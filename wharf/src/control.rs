//! The control protocol: one request line, then reply lines until the end, as JSON over a Unix socket.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::args::{self, Search, Watch};
use crate::error::CliError;

/// What a verb asks of the daemon.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "snake_case")]
pub(crate) enum Request {
    Publish(Box<Publish>),
    Search(Search),
    Info { spec: String },
    Get { spec: String, out: PathBuf },
    Watch(Watch),
    Peers,
    Connect { addr: String },
    Status,
}

/// A publish with an absolute path: the daemon's working folder is not the user's.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Publish {
    pub(crate) path: PathBuf,
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) scheme: args::Scheme,
    pub(crate) summary: String,
    pub(crate) description: String,
    pub(crate) keywords: Vec<String>,
    pub(crate) category: String,
    pub(crate) tags: Vec<String>,
    pub(crate) licence: String,
}

/// One line of the daemon's answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Reply {
    /// An object for the user, printed as it is under `--json`.
    Line(Value),
    /// All went well; nothing follows.
    End,
    /// Nothing follows.
    Error(CliError),
}

impl Request {
    pub(crate) fn publish(args: args::Publish) -> Result<Self, CliError> {
        Ok(Self::Publish(Box::new(Publish {
            path: absolute(&args.path)?,
            name: args.name,
            version: args.release,
            scheme: args.scheme,
            summary: args.summary,
            description: args.description,
            keywords: args.keywords,
            category: args.category,
            tags: args.tags,
            licence: args.licence,
        })))
    }

    pub(crate) fn get(args: args::Get) -> Result<Self, CliError> {
        Ok(Self::Get { spec: args.spec, out: absolute(&args.out)? })
    }
}

fn absolute(path: &Path) -> Result<PathBuf, CliError> {
    std::path::absolute(path).map_err(|error| CliError::io("path", path, &error))
}
