//! The encoded form of an entry of a publisher's log.
//!
//! Body: a map of `format: 1`, `kind`, `network`, `publisher`, `position`, `previous` and the fields of the kind: `release`,
//! `yank`, `unyank`, `deprecate` or `undeprecate` (see [`Amendment`]); `rotate` will be another. A body has exactly the
//! fields of its kind, empty ones left out: whoever wants more of them makes a new kind or format, which an older node
//! refuses as one it does not know, without blaming the peer that sent it.
//!
//! The fields of the last four: `name`, `version` (for `deprecate` and `undeprecate` optional), `message` (the reason of a
//! `yank`, optional; the message of a `deprecate`), `replacement` (of a `deprecate`, optional; like a dependency).

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::Bytes;
use cid::Cid;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteArray;

use crate::catalog::amendment::{Amendment, Change, Deprecation};
use crate::catalog::cbor::{self, List};
use crate::catalog::envelope::{FORMAT, FieldError, Header, StatementError};
use crate::catalog::release::{
    Content, Dependency, MAX_ALTERNATIVES, MAX_DEPENDENCIES, MAX_KEYWORDS, MAX_TAGS, Name, NewRelease,
};
use crate::catalog::version::{Scheme, Version};
use crate::id::{BlockId, Digest, PublisherId};

/// Bytes of an encoded envelope with a statement.
pub const MAX_STATEMENT: usize = 16 * 1024;

const RELEASE: &str = "release";
const YANK: &str = "yank";
const UNYANK: &str = "unyank";
const DEPRECATE: &str = "deprecate";
const UNDEPRECATE: &str = "undeprecate";

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Body<'a> {
    #[serde(borrow, default, skip_serializing_if = "str::is_empty")]
    category: &'a str,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    content: Option<ContentBody>,
    #[serde(borrow, default = "none", skip_serializing_if = "List::is_empty")]
    dependencies: List<Alternatives<'a>, MAX_DEPENDENCIES>,
    #[serde(default, skip_serializing_if = "str::is_empty")]
    description: &'a str,
    format: u64,
    #[serde(borrow, default = "none", skip_serializing_if = "List::is_empty")]
    keywords: List<&'a str, MAX_KEYWORDS>,
    kind: &'a str,
    #[serde(default, skip_serializing_if = "str::is_empty")]
    licence: &'a str,
    name: &'a str,
    network: &'a str,
    position: u64,
    previous: ByteArray<32>,
    publisher: ByteArray<32>,
    scheme: &'a str,
    #[serde(default, skip_serializing_if = "str::is_empty")]
    summary: &'a str,
    #[serde(borrow, default = "none", skip_serializing_if = "List::is_empty")]
    tags: List<&'a str, MAX_TAGS>,
    version: &'a str,
}

type Alternatives<'a> = List<DependencyBody<'a>, MAX_ALTERNATIVES>;

fn none<T, const MAX: usize>() -> List<T, MAX> {
    List(Vec::new())
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct DependencyBody<'a> {
    name: &'a str,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    publisher: Option<ByteArray<32>>,
    #[serde(default, skip_serializing_if = "str::is_empty")]
    requirement: &'a str,
}

/// Either `root` (a CID link) or `sha256`. Absent when nothing is known of the bytes.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ContentBody {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    root: Option<Cid>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sha256: Option<ByteArray<32>>,
    size: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct AmendmentBody<'a> {
    format: u64,
    kind: &'a str,
    #[serde(default, skip_serializing_if = "str::is_empty")]
    message: &'a str,
    name: &'a str,
    network: &'a str,
    position: u64,
    previous: ByteArray<32>,
    publisher: ByteArray<32>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    replacement: Option<DependencyBody<'a>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    version: Option<&'a str>,
}

/// An entry of a publisher's log at its place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Statement {
    /// Whose.
    pub publisher: PublisherId,
    /// Position in the publisher's log, from 0.
    pub position: u64,
    /// Digest of the body at the previous position; of the inception's body at position 0.
    pub previous: Digest,
    /// What it says.
    pub says: Says,
}

/// What a [`Statement`] says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Says {
    /// Here is a new version.
    Release(NewRelease),
    /// Something about an earlier one.
    Amendment(Amendment),
}

impl From<NewRelease> for Says {
    fn from(meta: NewRelease) -> Self {
        Self::Release(meta)
    }
}

impl Says {
    /// Checks every field against its rule.
    ///
    /// # Errors
    /// The first field that breaks its rule.
    pub fn validate(&self) -> Result<(), FieldError> {
        match self {
            Self::Release(meta) => meta.validate(),
            Self::Amendment(amendment) => amendment.validate(),
        }
    }
}

impl Statement {
    /// The body to sign (with [`Domain::Statement`](crate::catalog::Domain::Statement)).
    pub fn to_body(&self, network: &str) -> Bytes {
        match &self.says {
            Says::Release(meta) => self.release_body(network, meta),
            Says::Amendment(amendment) => self.amendment_body(network, amendment),
        }
    }

    fn release_body(&self, network: &str, meta: &NewRelease) -> Bytes {
        cbor::encode(&Body {
            category: &meta.category,
            content: ContentBody::of(&meta.content),
            dependencies: List(meta.dependencies.iter().map(|list| alternatives(list)).collect()),
            description: &meta.description,
            format: FORMAT,
            keywords: List(meta.keywords.iter().map(String::as_str).collect()),
            kind: RELEASE,
            licence: &meta.licence,
            name: meta.name.as_str(),
            network,
            position: self.position,
            previous: ByteArray::new(self.previous.0),
            publisher: ByteArray::new(self.publisher.0.0),
            scheme: meta.version.scheme.as_str(),
            summary: &meta.summary,
            tags: List(meta.tags.iter().map(String::as_str).collect()),
            version: &meta.version.text,
        })
    }

    fn amendment_body(&self, network: &str, amendment: &Amendment) -> Bytes {
        let (kind, message, replacement) = match &amendment.change {
            Change::Yank { reason } => (YANK, reason.as_str(), None),
            Change::Unyank => (UNYANK, "", None),
            Change::Deprecate(Deprecation { message, replacement }) => {
                (DEPRECATE, message.as_str(), replacement.as_ref().map(DependencyBody::of))
            }
            Change::Undeprecate => (UNDEPRECATE, "", None),
        };
        cbor::encode(&AmendmentBody {
            format: FORMAT,
            kind,
            message,
            name: amendment.name.as_str(),
            network,
            position: self.position,
            previous: ByteArray::new(self.previous.0),
            publisher: ByteArray::new(self.publisher.0.0),
            replacement,
            version: amendment.version.as_deref(),
        })
    }

    /// Parses a body and checks every field.
    ///
    /// # Errors
    /// When it is not the canonical encoding of a valid statement of this network.
    pub fn from_body(body: &[u8], network: &str) -> Result<Self, StatementError> {
        let statement = match Header::read(body)? {
            Some(RELEASE) => cbor::decode::<Body<'_>>(body)?.read(network),
            Some(YANK | UNYANK | DEPRECATE | UNDEPRECATE) => cbor::decode::<AmendmentBody<'_>>(body)?.read(network),
            Some(_) | None => Err(StatementError::Kind),
        }?;
        statement.says.validate()?;
        Ok(statement)
    }
}

impl Body<'_> {
    fn read(self, network: &str) -> Result<Statement, StatementError> {
        if self.network != network {
            return Err(StatementError::Network);
        }
        let field = |field| move |reason| FieldError { field, reason };
        let scheme = Scheme::parse(self.scheme).ok_or("not a known scheme").map_err(field("scheme"))?;
        let dependencies = self.dependencies.0.into_iter();
        let meta = NewRelease {
            name: Name::new(self.name).map_err(field("name"))?,
            version: Version::new(self.version, scheme).map_err(field("version"))?,
            content: ContentBody::read(self.content).ok_or("neither a root nor a digest").map_err(field("content"))?,
            summary: self.summary.into(),
            description: self.description.into(),
            keywords: self.keywords.0.into_iter().map(String::from).collect(),
            category: self.category.into(),
            tags: self.tags.0.into_iter().map(String::from).collect(),
            licence: self.licence.into(),
            dependencies: dependencies
                .map(|List(list)| list.into_iter().map(DependencyBody::read).collect())
                .collect::<Result<_, _>>()
                .map_err(field("dependencies"))?,
        };
        let publisher = PublisherId(Digest(self.publisher.into_array()));
        let previous = Digest(self.previous.into_array());
        Ok(Statement { publisher, position: self.position, previous, says: Says::Release(meta) })
    }
}

impl AmendmentBody<'_> {
    fn read(self, network: &str) -> Result<Statement, StatementError> {
        if self.network != network {
            return Err(StatementError::Network);
        }
        let field = |field| move |reason| FieldError { field, reason };
        let replacement = self.replacement.map(DependencyBody::read).transpose().map_err(field("replacement"))?;
        let change = match (self.kind, replacement, self.message) {
            (DEPRECATE, replacement, message) => {
                Change::Deprecate(Deprecation { message: message.into(), replacement })
            }
            (YANK, None, reason) => Change::Yank { reason: reason.into() },
            (UNYANK, None, "") => Change::Unyank,
            (UNDEPRECATE, None, "") => Change::Undeprecate,
            _ => return Err(StatementError::Encoding),
        };
        let name = Name::new(self.name).map_err(field("name"))?;
        let amendment = Amendment { name, version: self.version.map(Arc::from), change };
        let publisher = PublisherId(Digest(self.publisher.into_array()));
        let previous = Digest(self.previous.into_array());
        Ok(Statement { publisher, position: self.position, previous, says: Says::Amendment(amendment) })
    }
}

fn alternatives(list: &[Dependency]) -> Alternatives<'_> {
    List(list.iter().map(DependencyBody::of).collect())
}

impl<'a> DependencyBody<'a> {
    fn of(dependency: &'a Dependency) -> Self {
        let publisher = dependency.publisher.map(|id| ByteArray::new(id.0.0));
        Self { name: dependency.name.as_str(), publisher, requirement: &dependency.requirement }
    }

    fn read(self) -> Result<Dependency, &'static str> {
        let publisher = self.publisher.map(|id| PublisherId(Digest(id.into_array())));
        Ok(Dependency { publisher, name: Name::new(self.name)?, requirement: self.requirement.into() })
    }
}

impl ContentBody {
    fn of(content: &Content) -> Option<Self> {
        match *content {
            Content::Root { root, size } => Some(Self { root: Some(root.to_cid()), sha256: None, size }),
            Content::External { sha256, size } => {
                Some(Self { root: None, sha256: Some(ByteArray::new(sha256.0)), size })
            }
            Content::Unknown => None,
        }
    }

    fn read(body: Option<Self>) -> Option<Content> {
        let Some(Self { root, sha256, size }) = body else { return Some(Content::Unknown) };
        match (root, sha256) {
            (Some(root), None) => Some(Content::Root { root: BlockId::from_cid(&root)?, size }),
            (None, Some(digest)) => Some(Content::External { sha256: Digest(digest.into_array()), size }),
            (Some(_), Some(_)) | (None, None) => None,
        }
    }
}
