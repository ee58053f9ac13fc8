//! What happens to whom and when, laid down before a run begins: it can be cut, stored and replayed.

mod bug;
mod plan;

use serde::{Deserialize, Serialize};

use crate::engine::NodeIx;
use crate::fault::Fault;
use crate::scenario::human;

pub use bug::{Bug, Unreadable};
pub use plan::{JUDGE_TIME, plan};

/// Entries in the order of their times.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Schedule {
    /// See the type's documentation.
    pub entries: Vec<Entry>,
}

/// One thing at its time.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct Entry {
    /// Microseconds since the start of the run.
    pub at: u64,
    /// What happens.
    pub what: What,
}

/// What an entry says.
#[derive(Clone, PartialEq, Debug)]
pub enum What {
    /// A node is asked for something.
    Do(Operation),
    /// A fault strikes.
    Strike {
        /// What happens.
        fault: Fault,
        /// To whom; to all when it is empty.
        nodes: Vec<NodeIx>,
        /// How long, in microseconds; without it to the end of the run.
        lasts: Option<u64>,
    },
}

/// Something a node is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Operation {
    /// It starts for the first time.
    Join {
        /// Who.
        node: NodeIx,
    },
    /// It publishes a package.
    Publish {
        /// Who.
        node: NodeIx,
        /// Which one.
        package: u32,
    },
    /// It searches for a package.
    Search {
        /// Who.
        node: NodeIx,
        /// Which one.
        package: u32,
    },
    /// It resolves and fetches a package, and its bytes are compared.
    Get {
        /// Who.
        node: NodeIx,
        /// Which one.
        package: u32,
    },
    /// It sends a pubsub message.
    Message {
        /// Who.
        node: NodeIx,
        /// Which one.
        number: u32,
    },
    /// It looks for the closest nodes to a key.
    Lookup {
        /// Who.
        node: NodeIx,
        /// Which one.
        key: u32,
    },
    /// It must find and fetch an acknowledged package.
    Probe {
        /// Who.
        node: NodeIx,
        /// Which one.
        package: u32,
    },
}

impl Operation {
    /// Who is asked.
    pub fn node(&self) -> NodeIx {
        match *self {
            Self::Join { node }
            | Self::Publish { node, .. }
            | Self::Search { node, .. }
            | Self::Get { node, .. }
            | Self::Message { node, .. }
            | Self::Lookup { node, .. }
            | Self::Probe { node, .. } => node,
        }
    }
}

impl Schedule {
    /// From entries in any order; those of one time keep theirs.
    pub fn new(mut entries: Vec<Entry>) -> Self {
        entries.sort_by_key(|entry| entry.at);
        Self { entries }
    }

    /// What nodes are asked for, and when.
    pub fn operations(&self) -> impl Iterator<Item = (u64, Operation)> + '_ {
        self.entries.iter().filter_map(|entry| match entry.what {
            What::Do(operation) => Some((entry.at, operation)),
            What::Strike { .. } => None,
        })
    }
}

/// An entry as a file has it.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(with = "human")]
    at: u64,
    #[serde(rename = "do", default, skip_serializing_if = "Option::is_none")]
    operation: Option<Operation>,
    #[serde(rename = "for", with = "human::option", default, skip_serializing_if = "Option::is_none")]
    lasts: Option<u64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    nodes: Vec<NodeIx>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    fault: Option<Fault>,
}

impl TryFrom<Written> for Entry {
    type Error = &'static str;

    fn try_from(written: Written) -> Result<Self, Self::Error> {
        let Written { at, operation, fault, lasts, nodes } = written;
        let what = match (operation, fault) {
            (Some(operation), None) if nodes.is_empty() && lasts.is_none() => What::Do(operation),
            (None, Some(fault)) => What::Strike { fault, nodes, lasts },
            _ => return Err("an entry has either `do`, or `fault` and perhaps `nodes` and `for`"),
        };
        Ok(Self { at, what })
    }
}

impl From<Entry> for Written {
    fn from(Entry { at, what }: Entry) -> Self {
        match what {
            What::Do(operation) => Self { at, operation: Some(operation), fault: None, lasts: None, nodes: Vec::new() },
            What::Strike { fault, nodes, lasts } => Self { at, operation: None, fault: Some(fault), lasts, nodes },
        }
    }
}
