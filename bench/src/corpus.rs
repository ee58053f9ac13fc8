//! Package metadata and judged queries, one JSON object per line.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use registry_core::catalog::{Content, Dependency, Name, NewRelease, Release, Scheme, Version};
use registry_core::{Digest, PublisherId};
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// A package; what is missing is empty.
#[derive(Deserialize, Clone, Debug)]
#[serde(default)]
#[derive(Default)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) summary: String,
    pub(crate) description: String,
    pub(crate) section: String,
    pub(crate) tags: Vec<String>,
    /// `a` or `a|b`.
    pub(crate) depends: Vec<String>,
}

/// A query and the packages that were judged to answer it.
#[derive(Deserialize, Clone, Debug)]
pub(crate) struct Judged {
    pub(crate) id: String,
    pub(crate) kind: String,
    pub(crate) query: String,
    /// Package to grade, 1 to 3; others have 0.
    pub(crate) relevant: BTreeMap<String, u8>,
    /// Fields of a row that this query was made from, and that must not help to answer it.
    pub(crate) exclude: BTreeSet<String>,
}

/// Which fields an engine may use beside name, summary and description.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub(crate) struct Fields {
    pub(crate) depends: bool,
    pub(crate) tags: bool,
    pub(crate) section: bool,
}

impl Fields {
    pub(crate) fn without(&self, excluded: &BTreeSet<String>) -> Self {
        let keeps = |field: &str| !excluded.contains(field);
        Self {
            depends: self.depends && keeps("depends"),
            tags: self.tags && keeps("tags"),
            section: self.section && keeps("section"),
        }
    }
}

pub(crate) fn read<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>, Box<dyn Error>> {
    let lines = BufReader::new(File::open(path)?).lines();
    lines.map(|line| Ok(serde_json::from_str(&line?)?)).collect()
}

impl Row {
    /// As one publisher's release at a position of its log; `None` when its name is none.
    pub(crate) fn release(&self, position: u64, fields: &Fields) -> Option<Release> {
        let name = |text: &str| Name::new(text).ok();
        let alternative =
            |text: &str| Some(Dependency { publisher: None, name: name(text)?, requirement: String::new() });
        let dependency = |entry: &String| entry.split('|').filter_map(alternative).take(16).collect::<Vec<_>>();
        let meta = NewRelease {
            name: name(&self.name)?,
            version: Version { text: self.version.as_str().into(), scheme: Scheme::Debian },
            content: Content::External { sha256: Digest::of(self.name.as_bytes()), size: 0 },
            summary: cut(&self.summary, registry_core::catalog::release::MAX_SUMMARY),
            description: cut(&self.description, registry_core::catalog::release::MAX_DESCRIPTION),
            keywords: Vec::new(),
            category: if fields.section { self.section.clone() } else { String::new() },
            tags: if fields.tags { self.tags.iter().take(32).cloned().collect() } else { Vec::new() },
            licence: String::new(),
            dependencies: if fields.depends { self.depends.iter().map(dependency).collect() } else { Vec::new() },
        };
        let publisher = PublisherId(Digest::of(b"the only publisher"));
        Some(Release { publisher, position, previous: Digest::of(b"previous"), meta })
    }
}

fn cut(text: &str, max: usize) -> String {
    text[..text.floor_char_boundary(max)].to_owned()
}
