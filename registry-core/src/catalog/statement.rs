//! The encoded form of an entry of a publisher's log.
//!
//! Body: a map of `format: 1`, `kind`, `network`, `publisher`, `position`, `previous` and the fields of the kind. The only
//! kind so far is `release`; further ones (yank, deprecate, rotate) will be further values of `kind`. A body has exactly
//! the fields of its kind, empty ones left out: whoever wants more of them makes a new kind or format, which an older node
//! refuses as one it does not know, without blaming the peer that sent it.

use alloc::string::String;
use alloc::vec::Vec;

use bytes::Bytes;
use cid::Cid;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteArray;

use crate::catalog::cbor::{self, List};
use crate::catalog::envelope::{FORMAT, FieldError, Header, StatementError};
use crate::catalog::release::{
    Content, Dependency, MAX_ALTERNATIVES, MAX_DEPENDENCIES, MAX_KEYWORDS, MAX_TAGS, Name, NewRelease, Release,
};
use crate::catalog::version::{Scheme, Version};
use crate::id::{BlockId, Digest, PublisherId};

/// Bytes of an encoded envelope with a statement.
pub const MAX_STATEMENT: usize = 16 * 1024;

const RELEASE: &str = "release";

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

impl Release {
    /// The body to sign (with [`Domain::Statement`](crate::catalog::Domain::Statement)).
    pub fn to_body(&self, network: &str) -> Bytes {
        let meta = &self.meta;
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

    /// Parses a body and checks every field.
    ///
    /// # Errors
    /// When it is not the canonical encoding of a valid release of this network.
    pub fn from_body(body: &[u8], network: &str) -> Result<Self, StatementError> {
        if Header::read(body)? != Some(RELEASE) {
            return Err(StatementError::Kind);
        }
        let body: Body<'_> = cbor::decode(body)?;
        if body.network != network {
            return Err(StatementError::Network);
        }
        let field = |field| move |reason| FieldError { field, reason };
        let scheme = Scheme::parse(body.scheme).ok_or("not a known scheme").map_err(field("scheme"))?;
        let dependencies = body.dependencies.0.into_iter();
        let meta = NewRelease {
            name: Name::new(body.name).map_err(field("name"))?,
            version: Version::new(body.version, scheme).map_err(field("version"))?,
            content: ContentBody::read(body.content).ok_or("neither a root nor a digest").map_err(field("content"))?,
            summary: body.summary.into(),
            description: body.description.into(),
            keywords: body.keywords.0.into_iter().map(String::from).collect(),
            category: body.category.into(),
            tags: body.tags.0.into_iter().map(String::from).collect(),
            licence: body.licence.into(),
            dependencies: dependencies
                .map(|List(list)| list.into_iter().map(DependencyBody::read).collect())
                .collect::<Result<_, _>>()
                .map_err(field("dependencies"))?,
        };
        meta.validate()?;
        let publisher = PublisherId(Digest(body.publisher.into_array()));
        Ok(Self { publisher, position: body.position, previous: Digest(body.previous.into_array()), meta })
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
