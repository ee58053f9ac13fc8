//! Names, releases and their rules.

use alloc::string::String;
use alloc::vec::Vec;
use core::cmp::Ordering;
use core::fmt;

use crate::catalog::amendment::Status;
use crate::catalog::envelope::FieldError;
use crate::catalog::version::{self, Version};
use crate::id::{BlockId, Codec, Digest, PublisherId};

/// Bytes of a summary.
pub const MAX_SUMMARY: usize = 256;
/// Bytes of a description.
pub const MAX_DESCRIPTION: usize = 4 * 1024;
/// Keywords of a release.
pub const MAX_KEYWORDS: usize = 16;
/// Tags of a release.
pub const MAX_TAGS: usize = 32;
/// Bytes of a keyword, a tag or a category.
pub const MAX_WORD: usize = 64;
/// Bytes of a licence or of a dependency's requirement.
pub const MAX_LINE: usize = 128;
/// Dependencies of a release.
pub const MAX_DEPENDENCIES: usize = 256;
/// Alternatives of one dependency.
pub const MAX_ALTERNATIVES: usize = 16;

/// A package's name: 1 to 128 of `[A-Za-z0-9._+-]`, first alphanumeric; case kept, equality exact.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Name(alloc::sync::Arc<str>);

impl Name {
    /// Checks and wraps a name.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn new(text: &str) -> Result<Self, &'static str> {
        let first_ok = text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
        let rest_ok = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._+-".contains(&b));
        match (first_ok, rest_ok, text.len() <= 128) {
            (true, true, true) => Ok(Self(text.into())),
            (_, _, false) => Err("longer than 128 characters"),
            (false, ..) => Err("must start with a letter or digit"),
            (_, false, _) => Err("only letters, digits and . _ + - are allowed"),
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a release consists of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Content {
    /// A UnixFS DAG in this network.
    Root {
        /// Its root.
        root: BlockId,
        /// Bytes of content.
        size: u64,
    },
    /// Bytes elsewhere (a metadata-only release).
    External {
        /// sha2-256 of the bytes.
        sha256: Digest,
        /// Their number.
        size: u64,
    },
    /// Nothing is said of the bytes (a metadata-only release without a checksum).
    Unknown,
}

/// A package this one needs; alternatives are a list, any of which will do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Dependency {
    /// Whose; `None` is the publisher of this release.
    pub publisher: Option<PublisherId>,
    /// Which.
    pub name: Name,
    /// Which versions, in the words of the scheme; empty is any.
    pub requirement: String,
}

impl Dependency {
    pub(super) fn validate(&self) -> Result<(), FieldError> {
        text("dependencies", &self.requirement, MAX_LINE, false)
    }
}

/// What a publisher says of a release, before it has a place in the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewRelease {
    /// Its name.
    pub name: Name,
    /// Its version.
    pub version: Version,
    /// Its bytes.
    pub content: Content,
    /// One line, at most 256 bytes.
    pub summary: String,
    /// Text that is searched, at most 4 KiB; longer text lives in a block.
    pub description: String,
    /// At most 16 of at most 64 bytes, all different.
    pub keywords: Vec<String>,
    /// At most 64 bytes; empty for none.
    pub category: String,
    /// At most 32 of at most 64 bytes, all different.
    pub tags: Vec<String>,
    /// An SPDX expression, or free text; at most 128 bytes.
    pub licence: String,
    /// At most 256 lists of 1 to 16 alternatives.
    pub dependencies: Vec<Vec<Dependency>>,
}

impl NewRelease {
    /// A release that says nothing of itself.
    pub fn new(name: Name, version: Version, content: Content) -> Self {
        Self {
            name,
            version,
            content,
            summary: String::new(),
            description: String::new(),
            keywords: Vec::new(),
            category: String::new(),
            tags: Vec::new(),
            licence: String::new(),
            dependencies: Vec::new(),
        }
    }

    /// Checks every field against its rule. Text may not hold control characters or such that reorder what is shown;
    /// only a description may have more than one line.
    ///
    /// # Errors
    /// The first field that breaks its rule.
    pub fn validate(&self) -> Result<(), FieldError> {
        self.version.validate().map_err(|reason| FieldError { field: "version", reason })?;
        if let Content::Root { root, .. } = self.content {
            FieldError::unless(root.codec != Codec::DagCbor, "content", "must be a UnixFS root")?;
        }
        text("summary", &self.summary, MAX_SUMMARY, false)?;
        text("description", &self.description, MAX_DESCRIPTION, true)?;
        words("keywords", &self.keywords, MAX_KEYWORDS)?;
        text("category", &self.category, MAX_WORD, false)?;
        words("tags", &self.tags, MAX_TAGS)?;
        text("licence", &self.licence, MAX_LINE, false)?;
        let alternatives = 1..=MAX_ALTERNATIVES;
        let alternatives = self.dependencies.iter().all(|list| alternatives.contains(&list.len()));
        FieldError::unless(self.dependencies.len() <= MAX_DEPENDENCIES, "dependencies", "more than 256")?;
        FieldError::unless(alternatives, "dependencies", "each must have 1 to 16 alternatives")?;
        self.dependencies.iter().flatten().try_for_each(Dependency::validate)
    }
}

fn words(field: &'static str, words: &[String], max: usize) -> Result<(), FieldError> {
    FieldError::unless(words.len() <= max, field, "too many")?;
    for (i, word) in words.iter().enumerate() {
        FieldError::unless(!word.is_empty(), field, "an entry is empty")?;
        FieldError::unless(!words[..i].contains(word), field, "an entry is there twice")?;
        text(field, word, MAX_WORD, false)?;
    }
    Ok(())
}

pub(super) fn text(field: &'static str, text: &str, max: usize, lines: bool) -> Result<(), FieldError> {
    let reorders = |c| matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let shown = |c: char| lines && matches!(c, '\n' | '\t') || !c.is_control() && !reorders(c);
    FieldError::unless(text.len() <= max, field, "too long")?;
    FieldError::unless(text.chars().all(shown), field, "has control characters")
}

/// An immutable release statement at its place in the publisher's log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Release {
    /// Whose.
    pub publisher: PublisherId,
    /// Position in the publisher's log, from 0.
    pub position: u64,
    /// Digest of the body at the previous position; of the inception's body at position 0.
    pub previous: Digest,
    /// What it says.
    pub meta: NewRelease,
}

/// A release as the catalogue holds it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReleaseInfo {
    /// The digest of its statement's body.
    pub statement: Digest,
    /// The statement.
    pub release: Release,
    /// What was said of it later, as far as known when this was read.
    pub status: Status,
}

impl ReleaseInfo {
    /// The order of a package's versions: that of their scheme; for `opaque`, the position in the log. Never equal for
    /// two releases of one package.
    pub fn cmp_version(&self, other: &Self) -> Ordering {
        let (a, b) = (&self.release, &other.release);
        version::cmp_released((&a.meta.version, a.position), (&b.meta.version, b.position))
    }
}

/// What an admitted statement has changed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum UpdateKind {
    /// The first release of a name by this publisher.
    NewPackage,
    /// A further version.
    NewVersion,
    /// A version is not to be picked any more.
    Yanked,
    /// It is again.
    Unyanked,
    /// A version or the whole package is marked.
    Deprecated,
    /// No longer.
    Undeprecated,
}
