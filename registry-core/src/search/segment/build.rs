//! From releases to a segment.

use alloc::string::String;
use alloc::vec::Vec;

use super::postings::Posting;
use super::write::Writer;
use super::{Document, Fingerprint, Key, Segment};
use crate::catalog::{Dependency, Release};
use crate::search::terms::Terms;

impl Segment {
    /// Indexes releases, no two of one package.
    pub(in crate::search) fn build(releases: &[&Release], stemming: bool) -> Self {
        let mut releases: Vec<_> = releases.iter().map(|release| (Key::of(release), *release)).collect();
        releases.sort_unstable_by_key(|(key, _)| *key);
        let dependencies: Vec<_> = releases.iter().map(|(_, release)| dependencies(release)).collect();
        let publishers = releases.iter().map(|(key, _)| key.publisher);
        let mut writer = Writer::new(publishers.collect(), dependencies.concat());
        let mut terms: Vec<(String, Posting)> = Vec::new();
        for (document, (&(key, release), dependencies)) in (0..).zip(releases.iter().zip(dependencies)) {
            let found = Terms::of(&release.meta, stemming);
            let (fingerprint, lengths) = (key.fingerprint(), found.lengths);
            let record = Document { key, position: release.position, fingerprint, lengths };
            writer.document(&record, dependencies.into_iter());
            terms.extend(found.list.into_iter().map(|(term, frequencies)| (term, Posting { document, frequencies })));
        }
        // Stable: the postings of a term stay in the order of the documents.
        terms.sort_by(|(a, _), (b, _)| a.cmp(b));
        let mut postings = Vec::new();
        for run in terms.chunk_by(|(a, _), (b, _)| a == b) {
            postings.clear();
            postings.extend(run.iter().map(|&(_, posting)| posting));
            writer.term(run[0].0.as_bytes(), &postings);
        }
        writer.finish()
    }
}

impl<'a> Key<'a> {
    pub(in crate::search) fn of(release: &'a Release) -> Self {
        Self { name: release.meta.name.as_str(), publisher: release.publisher }
    }
}

/// The other packages a release may need, each once, in ascending order.
fn dependencies(release: &Release) -> Vec<Fingerprint> {
    let target = |dependency: &Dependency| {
        let publisher = dependency.publisher.unwrap_or(release.publisher);
        Key { name: dependency.name.as_str(), publisher }.fingerprint()
    };
    let mut targets: Vec<_> = release.meta.dependencies.iter().flatten().map(target).collect();
    targets.sort_unstable();
    targets.dedup();
    let own = Key::of(release).fingerprint();
    targets.retain(|target| *target != own);
    targets
}
