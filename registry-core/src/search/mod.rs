//! The local index: BM25F over name, keywords, summary and description, in integers.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::catalog::ReleaseInfo;
use crate::id::PublisherId;

/// A search.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Query {
    /// Words.
    pub text: String,
    /// At most so many results, 1 to 1,000.
    pub limit: usize,
    /// Only this category.
    pub category: Option<String>,
    /// Only packages with all of these tags.
    pub tags: Vec<String>,
    /// Only this publisher's.
    pub publisher: Option<PublisherId>,
}

/// What a search found, best first; a total order, independent of the order of arrival.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SearchPage {
    /// The hits.
    pub hits: Vec<Hit>,
    /// Nothing that should have been asked was left out.
    pub complete: bool,
}

/// One result: the highest version of a package.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hit {
    /// What.
    pub release: Arc<ReleaseInfo>,
    /// Millionths of a BM25F point.
    pub score: u64,
    /// What each (field, term) gave, in the same unit; they add up to the score.
    pub parts: Vec<ScorePart>,
}

/// One part of a score.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ScorePart {
    /// The query's term as indexed.
    pub term: String,
    /// Where it stood.
    pub field: &'static str,
    /// What it gave.
    pub score: u64,
}

/// Incremental inverted index; one document per package (its highest version).
#[derive(Debug, Default)]
pub(crate) struct Index {}

impl Index {
    /// Adds the release, or replaces its package's earlier version by it.
    pub(crate) fn insert(&mut self, _release: &Arc<ReleaseInfo>) {}

    pub(crate) fn search(&self, _query: &Query) -> SearchPage {
        SearchPage { hits: Vec::new(), complete: true }
    }
}
