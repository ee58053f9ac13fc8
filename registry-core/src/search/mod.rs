//! Finding packages by words: the local index, its ranking, and what a node without an index needs to rank alike.
//!
//! | file | what it holds |
//! |---|---|
//! | `query` | the syntax of queries |
//! | `terms`, `stem` | from text to terms |
//! | `score` | the formula |
//! | `plan`, `statistics` | a query and a catalogue's statistics put together: what scores one document |
//! | `segment` | an immutable part of the index |
//! | `index`, `upkeep` | the segments of a node; merging and storing them |
//! | `lookup`, `spell` | which terms a word of a query stands for |
//! | `rank`, `bits` | the best documents |

mod bits;
mod index;
mod lookup;
mod plan;
mod query;
mod rank;
mod score;
mod segment;
mod spell;
mod statistics;
mod stem;
mod terms;
mod upkeep;

#[cfg(test)]
mod tests;

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cmp::Ordering;

use crate::catalog::ReleaseInfo;
use crate::id::PublisherId;

pub use index::Index;
pub use plan::{Scored, score_release};
pub use query::{Clause, ParsedQuery, Query, QueryError, Word};
pub use rank::Match;
pub use score::Ranking;
pub use segment::{Part, Segment};
pub use statistics::{MAX_MEANINGS, MAX_NAMES, Meaning, Statistics};

/// Documents whose text is read for one query with a phrase: reading takes some forty microseconds each.
const MAX_READ: usize = 128;

/// What a search found, best first; of equal score by the letters and digits of the name, then by name, then by
/// publisher: a total order, independent of the order of arrival.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SearchPage {
    /// The hits.
    pub hits: Vec<Hit>,
    /// Nothing that should have been asked or read was left out.
    pub complete: bool,
}

/// One result: the current release of a package.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hit {
    /// What.
    pub release: Arc<ReleaseInfo>,
    /// Millionths of a bit.
    pub score: u64,
    /// What it is made of, in the same unit; they add up to the score.
    pub parts: Vec<ScorePart>,
}

impl Hit {
    /// The order of a [`SearchPage`].
    pub(crate) fn cmp_rank(&self, other: &Self) -> Ordering {
        other.score.cmp(&self.score).then_with(|| self.key().cmp(&other.key()))
    }

    fn key(&self) -> segment::Key<'_> {
        let release = &self.release.release;
        segment::Key { name: release.meta.name.as_str(), publisher: release.publisher }
    }
}

/// One part of a score.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ScorePart {
    /// The term as indexed; empty when the part is of the whole query.
    pub term: String,
    /// Where it stood: `name`, `keywords`, `summary`, `description` or `labels`; of the whole query `whole name`,
    /// `all words` or `popularity`.
    pub field: &'static str,
    /// What it gave.
    pub score: u64,
}

impl Index {
    /// The best results of a query, with their releases as `read` finds them by publisher and position.
    ///
    /// # Errors
    /// When the query makes no sense.
    pub fn page(
        &self,
        query: &Query,
        read: impl Fn(PublisherId, u64) -> Option<Arc<ReleaseInfo>>,
    ) -> Result<SearchPage, QueryError> {
        let parsed = ParsedQuery::new(query)?;
        let statistics = self.statistics(&parsed);
        let count = if parsed.has_phrase() { MAX_READ } else { query.limit };
        let matches = self.search(&parsed, &statistics, count);
        let found = matches.len();
        let plan = plan::Plan::new(&self.ranking, &parsed, &statistics);
        let hit = |found: Match| {
            let release = read(found.publisher, found.position)?;
            let Scored { score, parts } = plan.score(&release.release, found.dependents)?;
            Some(Hit { release, score, parts })
        };
        let hits: Vec<_> = matches.into_iter().filter_map(hit).take(query.limit).collect();
        let complete = !parsed.has_phrase() || hits.len() == query.limit || found < MAX_READ;
        Ok(SearchPage { hits, complete })
    }
}
