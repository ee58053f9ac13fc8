//! The control protocol: one request line, then reply lines until the end, as JSON over a Unix socket.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::args::{self, Deprecate, Dht, Ping, Pubsub, Search, Watch, Yank};
use crate::error::CliError;

/// What a verb asks of the daemon.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "snake_case")]
pub(crate) enum Request {
    Publish(Box<Publish>),
    /// Answered by one line with the [`Outcome`] of each item.
    Import {
        items: Vec<Item>,
    },
    Yank(Yank),
    Deprecate(Deprecate),
    Ls {
        what: Option<String>,
    },
    Follow {
        publisher: String,
        on: bool,
    },
    Search(Search),
    Info {
        spec: String,
    },
    Get {
        spec: String,
        out: PathBuf,
    },
    Watch(Watch),
    Peers,
    Connect {
        addr: String,
    },
    Status,
    Dht {
        ask: Dht,
    },
    Pubsub {
        ask: Pubsub,
    },
    Ping(Ping),
    Identify {
        peer: String,
    },
}

/// A publish with an absolute path: the daemon's working folder is not the user's.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Publish {
    pub(crate) path: PathBuf,
    pub(crate) about: About,
}

/// What is said of a release.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct About {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) scheme: args::Scheme,
    pub(crate) summary: String,
    pub(crate) description: String,
    pub(crate) keywords: Vec<String>,
    pub(crate) category: String,
    pub(crate) tags: Vec<String>,
    pub(crate) licence: String,
    /// Lists of alternatives.
    pub(crate) dependencies: Vec<Vec<Dependency>>,
}

impl About {
    /// Bytes of its texts.
    pub(crate) fn size(&self) -> usize {
        let texts = [&self.name, &self.version, &self.summary, &self.description, &self.category, &self.licence];
        let needs = self.dependencies.iter().flatten().flat_map(|one| [&one.name, &one.requirement]);
        texts.into_iter().chain(&self.keywords).chain(&self.tags).chain(needs).map(String::len).sum()
    }
}

/// A package of the same publisher, and which versions of it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    pub(crate) requirement: String,
}

/// One release of an import.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Item {
    pub(crate) about: About,
    pub(crate) content: ItemContent,
}

/// What is known of the bytes of an imported release.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ItemContent {
    Unknown,
    External {
        /// In hex.
        sha256: String,
        size: u64,
    },
    /// They are in this file and come along.
    File(PathBuf),
}

/// What became of an item.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Outcome {
    Published,
    Unchanged,
    Refused(String),
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
            about: About {
                name: args.name,
                version: args.release,
                scheme: args.scheme,
                summary: args.summary,
                description: args.description,
                keywords: args.keywords,
                category: args.category,
                tags: args.tags,
                licence: args.licence,
                dependencies: Vec::new(),
            },
        })))
    }

    pub(crate) fn get(args: args::Get) -> Result<Self, CliError> {
        Ok(Self::Get { spec: args.spec, out: absolute(&args.out)? })
    }
}

fn absolute(path: &Path) -> Result<PathBuf, CliError> {
    std::path::absolute(path).map_err(|error| CliError::io("path", path, &error))
}
