//! The command line's grammar.

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use registry_core::wire::KAD_PROTOCOL;
use serde::{Deserialize, Serialize};

use crate::octets::{Data, Key};

/// A package registry without a server: publish signed packages, search, fetch and follow them.
#[derive(Parser, Debug)]
#[command(version, max_term_width = 100)]
pub(crate) struct Args {
    /// Where this node keeps all its state.
    #[arg(long, global = true, env = "WHARF_HOME", value_name = "DIR")]
    pub(crate) home: Option<PathBuf>,

    /// Print JSON: one object, or one per line for what takes time.
    #[arg(long, global = true)]
    pub(crate) json: bool,

    #[command(subcommand)]
    pub(crate) verb: Verb,
}

#[derive(Subcommand, Debug)]
pub(crate) enum Verb {
    /// Make this node's keys and its publisher identity (`up` does it too, when there are none).
    Init,
    /// Run the node in the foreground.
    Up(Up),
    /// Pack a folder or take a file, sign it and tell the network.
    Publish(Publish),
    /// Publish the metadata of other registries, a release for each row.
    Import(Import),
    /// Let a version no longer be picked; whoever names it exactly still gets it.
    Yank(Yank),
    /// Mark a package or a version as one that should no longer be used.
    Deprecate(Deprecate),
    /// A publisher's packages (without one, your own), or a package's versions.
    Ls {
        /// A publisher's id, or `[PUBLISHER/]NAME`
        what: Option<String>,
    },
    /// Keep a publisher's packages here however full the catalogue is.
    Follow {
        /// Its id.
        publisher: String,
    },
    /// No longer keep a publisher's packages before those of others.
    Unfollow {
        /// Its id.
        publisher: String,
    },
    /// Find packages by words.
    Search(Search),
    /// What is known of a package: all its versions, or one.
    Info {
        /// `[PUBLISHER/]NAME[@VERSION or range]`
        spec: String,
    },
    /// Fetch a package from whoever has it.
    Get(Get),
    /// Print every release as this node learns of it, until interrupted.
    Watch(Watch),
    /// Connected peers.
    Peers,
    /// Connect to an address.
    Connect {
        /// A multiaddr, such as /ip4/192.0.2.1/tcp/4001, with or without /p2p/PEER at its end.
        addr: String,
    },
    /// How this node is.
    Status,
    /// One operation of the DHT, by hand.
    #[command(subcommand)]
    Dht(Dht),
    /// Pubsub messages and topics, by hand.
    #[command(subcommand)]
    Pubsub(Pubsub),
    /// Measure round trips to a connected peer.
    Ping(Ping),
    /// Show what a connected peer told of itself.
    Identify {
        /// Its id.
        peer: String,
    },
    /// Show the whole job with real nodes and real packages on this machine.
    Demo(Demo),
}

#[derive(clap::Args, Debug)]
pub(crate) struct Up {
    /// Listen here; may be given several times. Port 0 takes any free one.
    #[arg(long, value_name = "ADDR", default_value = "/ip4/0.0.0.0/tcp/4001")]
    pub(crate) listen: Vec<String>,

    /// Join the network through this node; may be given several times.
    #[arg(long, value_name = "ADDR")]
    pub(crate) bootstrap: Vec<String>,

    /// The network's name; nodes of different networks do not take each other's packages.
    #[arg(long, value_name = "NAME", default_value = "main")]
    pub(crate) network: String,

    /// What this node does for others: a light one holds no catalogue and asks peers, a seed has room for many.
    #[arg(long, value_enum, default_value = "peer")]
    pub(crate) role: Role,

    /// What the node's tasks, timers and sockets run on; peers see no difference.
    #[arg(long, value_enum, env = "WHARF_RUNTIME", default_value = "tokio")]
    pub(crate) runtime: Runtime,

    /// The DHT's protocol id; other implementations mostly use /ipfs/kad/1.0.0.
    #[arg(long, value_name = "ID", env = "WHARF_DHT_PROTOCOL", default_value = KAD_PROTOCOL, value_parser = protocol)]
    pub(crate) dht_protocol: String,

    /// Accept any value under /NAME/ in the DHT; may be given several times, or with commas.
    #[arg(long, value_name = "NAME", env = "WHARF_DHT_NAMESPACE", value_delimiter = ',', value_parser = namespace)]
    pub(crate) dht_namespace: Vec<String>,

    /// What names a pubsub message of topics other than wharf's own; all peers must agree.
    #[arg(long, value_enum, env = "WHARF_MESSAGE_ID", default_value = "spec")]
    pub(crate) message_id: MessageId,
}

/// A kind of message ids on the command line.
#[derive(clap::ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum MessageId {
    /// Author and sequence number, as the specification has it.
    Spec,
    /// SHA-256 of topic and data.
    Content,
}

fn protocol(text: &str) -> Result<String, &'static str> {
    if text.starts_with('/') && text.len() > 1 { Ok(text.into()) } else { Err("must start with a slash") }
}

fn namespace(text: &str) -> Result<String, &'static str> {
    match text {
        "wharf" | "pk" | "ipns" => Err("this namespace has rules of its own"),
        "" => Err("is empty"),
        text if text.contains('/') => Err("is a name without slashes"),
        text => Ok(text.into()),
    }
}

/// A runtime on the command line.
#[derive(clap::ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Runtime {
    /// Tokio.
    Tokio,
    /// smol, with wharf's own TCP transport.
    Smol,
}

impl Runtime {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Tokio => "tokio",
            Self::Smol => "smol",
        }
    }
}

#[derive(clap::Args, Debug)]
pub(crate) struct Publish {
    /// A folder or a file.
    pub(crate) path: PathBuf,

    /// The package's name: letters, digits and . _ + -
    #[arg(long)]
    pub(crate) name: String,

    /// The version, unique for this name.
    #[arg(long = "version", value_name = "VERSION")]
    pub(crate) release: String,

    /// What orders the versions.
    #[arg(long, value_enum, default_value = "semver")]
    pub(crate) scheme: Scheme,

    /// One line.
    #[arg(long, default_value = "")]
    pub(crate) summary: String,

    /// Text that is searched, at most 4 KiB.
    #[arg(long, default_value = "")]
    pub(crate) description: String,

    /// May be given several times.
    #[arg(long = "keyword", value_name = "WORD")]
    pub(crate) keywords: Vec<String>,

    /// One category.
    #[arg(long, default_value = "")]
    pub(crate) category: String,

    /// May be given several times.
    #[arg(long = "tag", value_name = "TAG")]
    pub(crate) tags: Vec<String>,

    /// An SPDX expression.
    #[arg(long, default_value = "")]
    pub(crate) licence: String,
}

/// A role on the command line.
#[derive(clap::ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Role {
    /// Holds no catalogue, serves nobody.
    Light,
    /// Holds the catalogue and serves it.
    Peer,
    /// A peer that newcomers enter through.
    Seed,
}

#[derive(clap::Args, Debug)]
pub(crate) struct Import {
    /// One JSON object per line, plain or compressed with gzip or zstd; - is standard input. With --cargo-cache, a lock
    /// file (Cargo.lock).
    #[arg(required_unless_present = "cargo_cache")]
    pub(crate) file: Option<PathBuf>,

    /// Publish the .crate files of a lock file, with their bytes, as far as cargo has them in its cache.
    #[arg(long, conflicts_with_all = ["format", "map", "scheme"])]
    pub(crate) cargo_cache: bool,

    /// What the rows are like; detected from the first one when not given.
    #[arg(long, value_enum)]
    pub(crate) format: Option<Format>,

    /// Take a field of the release from this field of the row, or with nothing after the = from none; may be given
    /// several times.
    #[arg(long = "map", value_name = "FIELD=SOURCE")]
    pub(crate) map: Vec<String>,

    /// What orders the versions; debian for Debian's rows, semver for others.
    #[arg(long, value_enum)]
    pub(crate) scheme: Option<Scheme>,
}

/// Whose rows an import reads.
#[derive(clap::ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Format {
    /// Fields with the names a release has them under.
    Plain,
    /// Debian's package index.
    Debian,
    /// Rust crates.
    Crates,
    /// npm packages.
    Npm,
}

/// A scheme of versions on the command line.
#[derive(clap::ValueEnum, Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Scheme {
    /// Semantic Versioning; ranges work.
    Semver,
    /// As Debian orders its packages.
    Debian,
    /// In the order of publication.
    Opaque,
}

#[derive(clap::Args, Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Search {
    /// Words, "phrases", category:, tag:, publisher:, name:, and -word for what must not be there.
    #[arg(default_value = "", allow_hyphen_values = true)]
    pub(crate) query: String,

    /// At most so many results.
    #[arg(long, default_value_t = 20)]
    pub(crate) limit: usize,

    /// Only this category.
    #[arg(long)]
    pub(crate) category: Option<String>,

    /// Only packages with this tag; may be given several times, all must match.
    #[arg(long = "tag", value_name = "TAG")]
    pub(crate) tags: Vec<String>,

    /// Only this publisher's.
    #[arg(long)]
    pub(crate) publisher: Option<String>,

    /// Show what each word in each field gave to the score.
    #[arg(long)]
    pub(crate) explain: bool,
}

#[derive(clap::Args, Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Yank {
    /// `NAME@VERSION`
    pub(crate) spec: String,

    /// Why, in one line.
    #[arg(long, default_value = "")]
    pub(crate) reason: String,

    /// Let it be picked again.
    #[arg(long, conflicts_with = "reason")]
    pub(crate) undo: bool,
}

#[derive(clap::Args, Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Deprecate {
    /// `NAME[@VERSION]`; without a version the package, also its later versions.
    pub(crate) spec: String,

    /// What users should know, in one line.
    #[arg(long, required_unless_present = "undo")]
    pub(crate) message: Option<String>,

    /// What to use instead: `[PUBLISHER/]NAME`
    #[arg(long, value_name = "SPEC")]
    pub(crate) replacement: Option<String>,

    /// Take it back.
    #[arg(long, conflicts_with_all = ["message", "replacement"])]
    pub(crate) undo: bool,
}

#[derive(clap::Args, Debug)]
pub(crate) struct Get {
    /// `[PUBLISHER/]NAME[@VERSION or range]`
    pub(crate) spec: String,

    /// The folder to put it in; made when it is not there.
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
}

#[derive(clap::Args, Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Watch {
    /// Only this publisher's.
    #[arg(long)]
    pub(crate) publisher: Option<String>,

    /// Only packages of this name.
    #[arg(long)]
    pub(crate) name: Option<String>,
}

/// Keys are 0x and hex digits; or a CID or a peer id, which stand for their multihash; or text.
#[derive(Subcommand, Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Dht {
    /// Store a value under a key of a known namespace, here and at the closest servers.
    Put {
        /// Such as /NAME/rest.
        key: Key,
        /// Text, 0x and hex digits, or - for stdin.
        value: Data,
    },
    /// Find the best valid value of a key.
    Get {
        /// Such as /NAME/rest.
        key: Key,
    },
    /// Announce this node as a provider of a key, again and again.
    Provide {
        /// A CID, most of the time.
        key: Key,
        /// No longer.
        #[arg(long)]
        stop: bool,
    },
    /// Find providers of a key.
    Findprovs {
        /// A CID, most of the time.
        key: Key,
        /// End as soon as so many are known.
        #[arg(long, default_value_t = 20)]
        count: usize,
    },
    /// Find a peer's addresses.
    Findpeer {
        /// Its id.
        peer: String,
    },
    /// Find the closest servers to a key, closest first.
    Closest {
        /// Any key.
        key: Key,
    },
}

#[derive(Subcommand, Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Pubsub {
    /// Sign a message and send it.
    Pub {
        /// Where.
        topic: String,
        /// Text, 0x and hex digits, or - for stdin.
        data: Data,
    },
    /// Print a topic's messages as they come, until interrupted.
    Sub {
        /// Which.
        topic: String,
    },
    /// List the topics this node has joined.
    Ls,
    /// List connected peers by the topics they subscribe to.
    Peers {
        /// Only of this topic.
        topic: Option<String>,
    },
}

#[derive(clap::Args, Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Ping {
    /// The peer's id.
    pub(crate) peer: String,

    /// So many round trips, a second apart.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) count: u32,
}

#[derive(clap::Args, Debug)]
pub(crate) struct Demo {
    /// How many packages to publish.
    #[arg(long, default_value_t = 120, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) packages: u16,
}
