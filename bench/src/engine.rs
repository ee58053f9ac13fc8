//! The engines under test.

use std::error::Error;
use std::sync::Arc;

use registry_core::Digest;
use registry_core::catalog::ReleaseInfo;
use registry_core::search::{Index, Query, Ranking, Segment};

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

/// The core's index, asked as a node asks it.
pub(crate) struct Wharf {
    index: Index,
    /// By position; a row whose name is none has no release.
    releases: Vec<Option<Arc<ReleaseInfo>>>,
}

impl Wharf {
    /// Indexes as a node does that gets releases one by one, and merges on the same thread.
    pub(crate) fn new(rows: &[Row], fields: &Fields, ranking: Ranking) -> Self {
        let mut index = Index::new(ranking);
        let release = |(at, row): (u64, &Row)| {
            let release = row.release(at, fields)?;
            Some(Arc::new(ReleaseInfo {
                statement: Digest::of(row.name.as_bytes()),
                release,
                status: Default::default(),
            }))
        };
        let releases: Vec<_> = (0..).zip(rows).map(release).collect();
        for info in releases.iter().flatten() {
            index.insert(&[&info.release]);
            while let Some(parts) = index.next_merge() {
                index.handle_merged(Segment::merge(&parts));
            }
        }
        Self { index, releases }
    }
}

impl Engine for Wharf {
    fn search(&self, text: &str) -> Result<Vec<String>, Box<dyn Error>> {
        let query = Query { text: text.into(), limit: RESULTS, ..Query::default() };
        let page = self.index.page(&query, |_, position| self.releases.get(position as usize)?.clone())?;
        Ok(page.hits.into_iter().map(|hit| hit.release.release.meta.name.to_string()).collect())
    }

    fn size(&self) -> Result<u64, Box<dyn Error>> {
        Ok(self.index.bytes() as u64)
    }
}
