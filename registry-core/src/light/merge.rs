//! Several peers' answers made one page.
//!
//! Each number of the statistics is the lower median of what the answers say, a term or name that an answer does not have
//! counting as 0: as long as fewer than half of the peers lie, the median lies between what honest ones say. A term or
//! name that fewer than half know is left out.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::WANTED;
use super::answer::{Answer, fits};
use crate::catalog::{Name, PackageSpec, ReleaseInfo};
use crate::id::PublisherId;
use crate::search::{Hit, Meaning, ParsedQuery, Query, SearchPage, Statistics, score_release};

type Package = (Name, PublisherId);

/// The best releases of all answers, one of each package. Complete when enough peers answered and none of them left out
/// what another has.
pub(super) fn page(query: &Query, parsed: &ParsedQuery, answers: &[Answer]) -> SearchPage {
    let statistics = statistics(answers);
    let mut found = highest_of_each(answers);
    let mut hits: Vec<Hit> = found
        .iter()
        .filter_map(|(package, release)| {
            let dependents = dependents(package, answers);
            let scored = score_release(parsed, &statistics, &release.release, dependents)?;
            Some(Hit { release: release.clone(), score: scored.score, parts: scored.parts })
        })
        .collect();
    hits.sort_by(Hit::cmp_rank);
    hits.truncate(query.limit);
    let shown: BTreeSet<_> = hits.iter().map(|hit| package(&hit.release)).collect();
    found.retain(|package, _| shown.contains(package));
    let agreed = answers.iter().all(|answer| {
        let has =
            |release: &Arc<ReleaseInfo>| answer.releases.iter().any(|(own, _)| own.statement == release.statement);
        found.values().all(has)
    });
    SearchPage { hits, complete: agreed && answers.len() >= WANTED }
}

/// The highest version that the specification may mean.
pub(super) fn highest(spec: &PackageSpec, answers: &[Answer]) -> Option<Arc<ReleaseInfo>> {
    let releases = answers.iter().flat_map(|answer| &answer.releases).map(|(release, _)| release);
    releases.filter(|release| fits(spec, release)).max_by(|a, b| a.cmp_version(b)).cloned()
}

fn package(release: &ReleaseInfo) -> Package {
    (release.release.meta.name.clone(), release.release.publisher)
}

fn highest_of_each(answers: &[Answer]) -> BTreeMap<Package, Arc<ReleaseInfo>> {
    let mut found: BTreeMap<Package, Arc<ReleaseInfo>> = BTreeMap::new();
    for (release, _) in answers.iter().flat_map(|answer| &answer.releases) {
        let held = found.entry(package(release)).or_insert_with(|| release.clone());
        if release.cmp_version(held).is_gt() {
            *held = release.clone();
        }
    }
    found
}

fn dependents((name, publisher): &Package, answers: &[Answer]) -> u32 {
    let said = answers.iter().map(|answer| {
        let own = answer
            .releases
            .iter()
            .find(|(release, _)| release.release.publisher == *publisher && release.release.meta.name == *name);
        own.map_or(0, |(_, dependents)| u64::from(*dependents))
    });
    median(said.collect()) as u32
}

fn statistics(answers: &[Answer]) -> Statistics {
    let each = || answers.iter().map(|answer| &answer.statistics);
    let number = |of: &dyn Fn(&Statistics) -> u64| median(each().map(of).collect());
    let known: BTreeSet<_> =
        each().flat_map(|one| &one.meanings).map(|meaning| (meaning.word, &meaning.term)).collect();
    let meaning = |(word, term): (u32, &String)| {
        let documents = number(&|one| {
            let own = one.meanings.iter().find(|meaning| meaning.word == word && meaning.term == *term);
            own.map_or(0, |meaning| meaning.documents)
        });
        (documents > 0).then(|| Meaning { word, term: term.clone(), documents })
    };
    let names: BTreeSet<_> = each().flat_map(|one| &one.names).collect();
    let usual = |name: &&String| number(&|one| u64::from(one.names.contains(*name))) > 0;
    Statistics {
        documents: number(&|one| one.documents),
        lengths: core::array::from_fn(|field| number(&|one| one.lengths[field])),
        meanings: known.into_iter().filter_map(meaning).collect(),
        named: number(&|one| one.named),
        begun: number(&|one| one.begun),
        names: names.into_iter().filter(usual).cloned().collect(),
    }
}

/// The lower of the two in the middle.
fn median(mut values: Vec<u64>) -> u64 {
    values.sort_unstable();
    values.get(values.len().saturating_sub(1) / 2).copied().unwrap_or(0)
}
