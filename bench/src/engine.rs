//! The engines under test.

use std::error::Error;

use registry_core::catalog::Release;
use registry_core::search::{Index, ParsedQuery, Query, Ranking};

use crate::corpus::{Fields, Row};

/// Results asked for.
pub(crate) const RESULTS: usize = 20;

/// Something that finds packages.
pub(crate) trait Engine {
    /// The names of the best packages, the best first.
    fn search(&self, text: &str) -> Result<Vec<String>, Box<dyn Error>>;

    /// Bytes of the index.
    fn size(&self) -> u64;
}

/// The core's index.
pub(crate) struct Wharf {
    index: Index,
    names: Vec<String>,
}

impl Wharf {
    /// Packages indexed at once, as a node takes them from a batch of statements.
    const BATCH: usize = 64;

    pub(crate) fn new(rows: &[Row], fields: &Fields, ranking: Ranking) -> Self {
        let releases: Vec<Release> = (0..).zip(rows).filter_map(|(at, row)| row.release(at, fields)).collect();
        let names = rows.iter().map(|row| row.name.clone()).collect();
        Self { index: Self::fill(&releases, ranking), names }
    }

    pub(crate) fn fill(releases: &[Release], ranking: Ranking) -> Index {
        let mut index = Index::new(ranking);
        for batch in releases.chunks(Self::BATCH) {
            index.insert(&batch.iter().collect::<Vec<_>>());
        }
        index
    }
}

impl Engine for Wharf {
    fn search(&self, text: &str) -> Result<Vec<String>, Box<dyn Error>> {
        let query = Query { text: text.into(), limit: RESULTS, ..Query::default() };
        let parsed = ParsedQuery::new(&query)?;
        let found = self.index.search(&parsed, &self.index.statistics(&parsed), RESULTS);
        Ok(found.into_iter().map(|found| self.names[found.position as usize].clone()).collect())
    }

    fn size(&self) -> u64 {
        self.index.bytes() as u64
    }
}
