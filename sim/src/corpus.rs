//! Packages that everybody holds from the start: signed by real publishers, as rows of a disk.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use registry_core::action::{Action, StoreRequest, Table, Write};
use registry_core::catalog::statement::{Says, Statement};
use registry_core::catalog::{
    Content, Dependency, Envelope, LocalPublisher, MAX_BATCH, Name, NewRelease, Release, ReleaseInfo, Scheme, Version,
};
use registry_core::command::Command;
use registry_core::input::{Input, Row, StoreResult};
use registry_core::search::{Index, Query, SearchPage};
use registry_core::{Config, Digest, Instant, LocalPeer, Node, PublisherId, Rng};

use crate::crypto::KeyPair;
use crate::engine::{EPOCH, publisher};
use crate::mix::{node_seed, stream};

/// No statement is longer.
const MAX_ENVELOPE: usize = 20 * 1024;

/// What is known of a package before anybody has signed it.
#[derive(Clone, Debug)]
pub(crate) struct Described {
    pub(crate) name: Name,
    pub(crate) version: String,
    pub(crate) summary: String,
    description: String,
    tags: Vec<String>,
    depends: Vec<String>,
}

/// What a catalogue is made of.
#[derive(Clone, Debug)]
pub(crate) struct Plan<'a> {
    pub(crate) seed: u64,
    /// One JSON object per line, of which `name`, `version`, `summary`, `description`, `tags` and `depends` are read;
    /// otherwise packages are made up.
    pub(crate) file: Option<&'a Path>,
    pub(crate) packages: usize,
    /// Packages go to publishers in turn.
    pub(crate) publishers: usize,
    /// So many publishers release second versions, of so many packages each.
    pub(crate) updates: (usize, usize),
}

/// A catalogue, and what is true of it.
#[derive(Debug)]
pub(crate) struct Corpus {
    /// Every row of a node that holds all of it.
    pub(crate) rows: Vec<Write>,
    /// Every row of a node that has missed the second versions.
    pub(crate) stale: Vec<Write>,
    /// The current release of each package.
    current: BTreeMap<(PublisherId, Name), Arc<ReleaseInfo>>,
    by_place: BTreeMap<(PublisherId, u64), Arc<ReleaseInfo>>,
    index: Index,
}

impl Corpus {
    /// Signs everything.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(crate) fn new(plan: &Plan<'_>) -> std::io::Result<Self> {
        let Plan { seed, file, packages, publishers, updates } = *plan;
        let described = match file {
            Some(file) => read(&std::fs::read_to_string(file)?, packages),
            None => invent(seed, packages),
        };
        let mut authors: Vec<_> = (0..publishers).map(|ix| Author::new(seed, ix as u32)).collect();
        let of: BTreeMap<_, _> = (0..)
            .zip(&described)
            .map(|(ix, one): (usize, _)| (one.name.as_str().to_string(), authors[ix % publishers].id()))
            .collect();
        for (ix, author) in authors.iter_mut().enumerate() {
            let own = described.iter().skip(ix).step_by(publishers);
            author.publish(own.map(|one| one.release(&one.version, &of)).collect());
        }
        let stale = authors.iter().flat_map(Author::rows).collect();
        for (ix, author) in authors.iter_mut().enumerate().take(updates.0) {
            let own = described.iter().skip(ix).step_by(publishers).take(updates.1);
            author.publish(own.map(|one| one.release(&format!("{}.1", one.version), &of)).collect());
        }
        let rows: Vec<_> = authors.iter().flat_map(Author::rows).collect();
        Ok(Self::of(rows, stale))
    }

    fn of(rows: Vec<Write>, stale: Vec<Write>) -> Self {
        let mut corpus = Self {
            current: BTreeMap::new(),
            by_place: BTreeMap::new(),
            index: Index::default(),
            stale,
            rows: Vec::new(),
        };
        for row in rows.iter().filter(|row| row.table == Table::Log) {
            let envelope =
                Envelope::decode(row.value.as_ref().expect("a log only grows"), MAX_ENVELOPE).expect("signed");
            let statement = Statement::from_body(&envelope.body, &Config::default().network).expect("a statement");
            let Statement { publisher, position, previous, says: Says::Release(meta) } = statement else {
                unreachable!("only releases are published")
            };
            let release = Release { publisher, position, previous, meta };
            let info = ReleaseInfo { statement: envelope.digest(), release, status: Default::default() };
            let (info, name) = (Arc::new(info.clone()), info.release.meta.name);
            corpus.current.insert((publisher, name), info.clone());
            corpus.by_place.insert((publisher, position), info);
        }
        corpus.current.values().for_each(|info| corpus.index.insert(&[&info.release]));
        corpus.rows = rows;
        corpus
    }

    /// Packages.
    pub(crate) fn len(&self) -> usize {
        self.current.len()
    }

    /// Statements.
    pub(crate) fn statements(&self) -> usize {
        self.by_place.len()
    }

    /// What somebody finds who knows everything.
    pub(crate) fn page(&self, query: &Query) -> SearchPage {
        let read = |publisher, position| self.by_place.get(&(publisher, position)).cloned();
        self.index.page(query, read).expect("made of words")
    }

    /// Is this the current release of a package, to the last byte?
    pub(crate) fn holds(&self, info: &ReleaseInfo) -> bool {
        let key = (info.release.publisher, info.release.meta.name.clone());
        self.current.get(&key).is_some_and(|true_info| **true_info == *info)
    }

    /// A search that somebody may make: the name of a package, or two words of its summary.
    pub(crate) fn query(&self, rng: &mut Rng, limit: usize) -> Query {
        let chosen = self.current.values().nth(rng.index(self.current.len())).expect("there are packages");
        let meta = &chosen.release.meta;
        let words: Vec<_> = meta.summary.split(|c: char| !c.is_alphanumeric()).filter(|word| word.len() > 3).collect();
        let text = match words.len() {
            0 => meta.name.as_str().to_string(),
            _ if rng.chance(1, 3) => meta.name.as_str().to_string(),
            count => format!("{} {}", words[rng.index(count)], words[rng.index(count)]),
        };
        Query { text, limit, ..Query::default() }
    }
}

impl Described {
    /// `publishers` are those of the packages it may depend on.
    pub(crate) fn release(&self, version: &str, publishers: &BTreeMap<String, PublisherId>) -> NewRelease {
        let dependency = |name: &String| {
            let publisher = publishers.get(name).copied();
            let name = Name::new(name).ok().filter(|_| publisher.is_some())?;
            Some(vec![Dependency { publisher, name, requirement: String::new() }])
        };
        NewRelease {
            name: self.name.clone(),
            version: Version { text: Arc::from(version), scheme: Scheme::Debian },
            content: Content::External { sha256: Digest::of(version.as_bytes()), size: 1 },
            summary: self.summary.clone(),
            description: self.description.clone(),
            keywords: Vec::new(),
            category: String::new(),
            tags: self.tags.clone(),
            licence: String::new(),
            dependencies: self.depends.iter().filter_map(dependency).take(64).collect(),
        }
    }
}

/// A publisher's node that nobody else sees.
pub(crate) struct Author {
    node: Node,
    key: KeyPair,
    publisher: PublisherId,
    rows: BTreeMap<(Table, Bytes), Bytes>,
}

impl Author {
    pub(crate) fn new(seed: u64, ix: u32) -> Self {
        let (node_key, key) = (KeyPair::derive(seed, "author-node", ix), KeyPair::derive(seed, "author", ix));
        let local: LocalPublisher = publisher(&key, seed, ix);
        let (publisher, origin) = (local.id, local.origin());
        let origin = Row { table: origin.table, key: origin.key, value: origin.value.unwrap_or_default() };
        let local =
            LocalPeer { id: node_key.peer_id(), public_key: node_key.public_protobuf(), publisher: Some(local) };
        let start = registry_core::Start { now: Instant::ORIGIN, unix: EPOCH };
        let mut node = Node::new(Arc::new(Config::default()), local, node_seed(seed, ix, 0), start);
        node.handle_input(Instant::ORIGIN, Input::Recovered(vec![origin]));
        node.handle_input(Instant::ORIGIN, Input::RecoveryDone);
        let mut author = Self { node, key, publisher, rows: BTreeMap::new() };
        author.settle();
        author
    }

    fn id(&self) -> PublisherId {
        self.publisher
    }

    pub(crate) fn rows(&self) -> impl Iterator<Item = Write> + '_ {
        let write = |((table, key), value): (&(Table, Bytes), &Bytes)| {
            let (table, key, value) = (*table, key.clone(), Some(value.clone()));
            Write { table, key, value }
        };
        self.rows.iter().map(write)
    }

    pub(crate) fn publish(&mut self, releases: Vec<NewRelease>) {
        for batch in releases.chunks(MAX_BATCH) {
            let accepted = self.node.command(Instant::ORIGIN, Command::PublishBatch(batch.to_vec()));
            assert!(accepted.is_ok(), "{accepted:?}");
            self.settle();
        }
    }

    /// Signs and stores whatever the node asks for.
    fn settle(&mut self) {
        let mut answers = VecDeque::new();
        loop {
            while let Some(action) = self.node.poll_action() {
                match action {
                    Action::Sign { job, bytes, .. } => {
                        answers.push_back(Input::Signed { job, signature: Some(self.key.sign(&bytes)) });
                    }
                    Action::Store { op, request } => {
                        if let StoreRequest::Commit(writes) = request {
                            self.keep(writes);
                        }
                        answers.push_back(Input::Stored { op, result: StoreResult::Done });
                    }
                    _ => {}
                }
            }
            let Some(answer) = answers.pop_front() else { return };
            self.node.handle_input(Instant::ORIGIN, answer);
        }
    }

    fn keep(&mut self, writes: Vec<Write>) {
        for Write { table, key, value } in writes {
            if let (Table::Publisher | Table::Log, Some(value)) = (table, value) {
                self.rows.insert((table, key), value);
            }
        }
    }
}

fn read(text: &str, count: usize) -> Vec<Described> {
    let row = |line: &str| {
        let row: serde_json::Value = serde_json::from_str(line).ok()?;
        let text = |field: &str, max: usize| {
            let text: String = row[field].as_str().unwrap_or("").chars().filter(|c| !c.is_control()).collect();
            text[..text.floor_char_boundary(max)].to_string()
        };
        let list = |field: &str| -> Vec<String> {
            let list = row[field].as_array().into_iter().flatten().filter_map(|one| one.as_str());
            list.map(String::from).collect()
        };
        let mut tags = list("tags");
        tags.retain(|tag| (1..=64).contains(&tag.len()));
        tags.sort();
        tags.dedup();
        tags.truncate(32);
        let version = text("version", 60);
        Version::new(&version, Scheme::Debian).ok()?;
        Some(Described {
            name: Name::new(row["name"].as_str()?).ok()?,
            version,
            summary: text("summary", 256),
            description: text("description", 4 * 1024),
            tags,
            depends: list("depends"),
        })
    };
    text.lines().filter_map(row).take(count).collect()
}

/// Plausible packages: a subject and a kind in the name, a sentence of both and some of a vocabulary in which few words
/// are common and many rare.
pub(crate) fn invent(seed: u64, count: usize) -> Vec<Described> {
    const KINDS: [&str; 12] = [
        "parser", "client", "server", "viewer", "editor", "library", "tools", "driver", "codec", "daemon", "shell",
        "game",
    ];
    const SYLLABLES: [&str; 24] = [
        "ba", "ce", "di", "fo", "gu", "ka", "le", "mi", "no", "pu", "ra", "se", "ti", "vo", "zu", "bra", "cle", "dri",
        "fro", "gla", "pre", "sta", "tri", "xen",
    ];
    let mut rng = stream(seed, "corpus", 0, 0);
    let word = |rng: &mut Rng| -> String {
        // The first of two draws is mostly small: words of low numbers are common.
        let most = 1 + rng.index(4_000);
        let mut word = String::new();
        let mut rest = 24 + rng.index(most);
        while rest > 0 {
            word.push_str(SYLLABLES[rest % 24]);
            rest /= 24;
        }
        word
    };
    (0..count)
        .map(|ix| {
            let (subject, kind) = (word(&mut rng), KINDS[rng.index(KINDS.len())]);
            let mut text = |len: usize| (0..len).map(|_| word(&mut rng)).collect::<Vec<_>>().join(" ");
            let summary = format!("{kind} for {subject} and {}", text(4));
            let description = format!("A {kind}. {}.", text(40));
            Described {
                name: Name::new(&format!("{subject}-{kind}{ix}")).expect("letters, digits and a hyphen"),
                version: format!("1.{}", ix % 7),
                summary,
                description,
                tags: vec![format!("kind::{kind}")],
                depends: Vec::new(),
            }
        })
        .collect()
}
