//! Names, versions and release statements.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use crate::id::{BlockId, Digest, PublisherId};

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

/// What fixes the order of versions.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Scheme {
    /// Semantic Versioning 2.0.0.
    Semver,
    /// Debian policy, 5.6.12.
    Debian,
    /// Position in the log.
    Opaque,
}

/// A version: 1 to 64 printable ASCII characters without spaces or `/`, and the scheme that orders it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Version {
    /// The text, valid in its scheme.
    pub text: alloc::sync::Arc<str>,
    /// The scheme.
    pub scheme: Scheme,
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
    /// At most 16 of at most 64 bytes.
    pub keywords: Vec<String>,
    /// At most 64 bytes; empty for none.
    pub category: String,
    /// At most 32 of at most 64 bytes.
    pub tags: Vec<String>,
    /// An SPDX expression, or free text; at most 128 bytes.
    pub licence: String,
    /// At most 256 lists of alternatives.
    pub dependencies: Vec<Vec<Dependency>>,
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
}

/// What kind of statement was admitted.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum UpdateKind {
    /// The first release of a name by this publisher.
    NewPackage,
    /// A further version.
    NewVersion,
}

/// `[PUBLISHER/]NAME[@VERSION or range]`
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PackageSpec {
    /// Whose; `None` only resolves when a single publisher has the name.
    pub publisher: Option<PublisherId>,
    /// Which.
    pub name: Name,
    /// An exact version, or a semver range; `None` is the highest that is no pre-release.
    pub version: Option<String>,
}
