//! The engines under test.

use std::error::Error;

use registry_core::catalog::Release;
use registry_core::search::{Index, ParsedQuery, Query, Ranking, Segment};

use crate::corpus::{Fields, Row};

/// Results asked for.
pub(crate) const RESULTS: usize = 20;

/// Something that finds packages.
pub(crate) trait Engine {
    /// The names of the best packages, the best first.
    fn search(&self, text: &str) -> Result<Vec<String>, Box<dyn Error>>;

    /// Bytes of the index.
    fn size(&self) -> Result<u64, Box<dyn Error>>;
}

/// The core's index.
pub(crate) struct Wharf {
    index: Index,
    names: Vec<String>,
}

impl Wharf {
    /// Indexes as a node does that gets releases one by one, and merges on the same thread.
    pub(crate) fn new(rows: &[Row], fields: &Fields, ranking: Ranking) -> Self {
        let mut index = Index::new(ranking);
        let releases: Vec<Release> = (0..).zip(rows).filter_map(|(at, row)| row.release(at, fields)).collect();
        for release in &releases {
            index.insert(&[release]);
            while let Some(parts) = index.next_merge() {
                index.handle_merged(Segment::merge(&parts));
            }
        }
        Self { index, names: rows.iter().map(|row| row.name.clone()).collect() }
    }
}

impl Engine for Wharf {
    fn search(&self, text: &str) -> Result<Vec<String>, Box<dyn Error>> {
        let query = Query { text: text.into(), limit: RESULTS, ..Query::default() };
        let parsed = ParsedQuery::new(&query)?;
        let found = self.index.search(&parsed, &self.index.statistics(&parsed), RESULTS);
        Ok(found.into_iter().map(|found| self.names[found.position as usize].clone()).collect())
    }

    fn size(&self) -> Result<u64, Box<dyn Error>> {
        Ok(self.index.bytes() as u64)
    }
}
