//! Several peers' answers made one page.
//!
//! Each number of the statistics is the lower median of what the answers say, a term or name that an answer does not have
//! counting as 0: as long as fewer than half of the peers lie, the median lies between what honest ones say. A term or
//! name that fewer than half know is left out.
//!
//! What was said of a release later is signed, so it counts whoever shows it: of all answers' words on a matter the one
//! with the highest position. Whoever hides that a version is yanked is put right by one that does not.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::WANTED;
use super::answer::{Answer, fits};
use crate::catalog::proven::Word;
use crate::catalog::{Amendment, Change, Name, PackageSpec, Release, ReleaseInfo, Status, Unresolved, version};
use crate::id::PublisherId;
use crate::search::{Hit, Meaning, ParsedQuery, Query, SearchPage, Statistics, score_release};

type Package = (Name, PublisherId);

/// The best releases of all answers, one of each package. Complete when enough peers answered and none of them left out
/// what another has.
pub(super) fn page(query: &Query, parsed: &ParsedQuery, answers: &[Answer]) -> SearchPage {
    let statistics = statistics(answers);
    let mut found = current_of_each(answers);
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

/// What the specification, which has a publisher, means among all that was shown.
pub(super) fn resolve(spec: &PackageSpec, answers: &[Answer]) -> Result<Arc<ReleaseInfo>, Unresolved> {
    let mut fitting: Vec<_> = amended(answers).filter(|release| fits(spec, release)).collect();
    pick(&mut fitting, spec.version.as_deref())
}

fn pick(versions: &mut [Arc<ReleaseInfo>], wanted: Option<&str>) -> Result<Arc<ReleaseInfo>, Unresolved> {
    versions.sort_by(|a, b| a.cmp_version(b));
    let is_yanked = |release: &Arc<ReleaseInfo>| release.status.yanked.is_some();
    version::pick(versions, wanted, |release| &release.release.meta.version, is_yanked).cloned()
}

/// All releases that were shown, with what was said of them later.
fn amended(answers: &[Answer]) -> impl Iterator<Item = Arc<ReleaseInfo>> {
    let words = Words::of(answers);
    let releases = answers.iter().flat_map(|answer| &answer.releases);
    releases.map(move |(release, _)| match words.status(&release.release) {
        status if status == release.status => release.clone(),
        status => Arc::new(ReleaseInfo { status, ..ReleaseInfo::clone(release) }),
    })
}

/// The latest word on each matter, and its position.
struct Words<'a>(BTreeMap<Matter<'a>, (u64, &'a Change)>);

/// A package or one of its versions, and whether it is about its being yanked.
type Matter<'a> = (PublisherId, &'a Name, Option<&'a str>, bool);

impl<'a> Words<'a> {
    fn of(answers: &'a [Answer]) -> Self {
        let mut latest = BTreeMap::new();
        for Word { publisher, position, amendment } in answers.iter().flat_map(|answer| &answer.words) {
            let Amendment { name, version, change } = amendment;
            let yanks = matches!(change, Change::Yank { .. } | Change::Unyank);
            let held = latest.entry((*publisher, name, version.as_deref(), yanks)).or_insert((*position, change));
            if *position > held.0 {
                *held = (*position, change);
            }
        }
        Self(latest)
    }

    /// What stands before a release is not about it.
    fn status(&self, Release { publisher, position, meta, .. }: &Release) -> Status {
        let version = Some(&*meta.version.text);
        let word = |version, yanks| self.0.get(&(*publisher, &meta.name, version, yanks));
        let later = |yanks| word(version, yanks).filter(|(at, _)| at > position).map(|(_, change)| *change);
        let whole = word(None, false).map(|(_, change)| *change);
        let yank = |change: &Change| if let Change::Yank { reason } = change { Some(reason.clone()) } else { None };
        let deprecation = |change: &Change| if let Change::Deprecate(of) = change { Some(of.clone()) } else { None };
        Status {
            yanked: later(true).and_then(yank),
            deprecated: later(false).and_then(deprecation).or_else(|| whole.and_then(deprecation)),
        }
    }
}

fn package(release: &ReleaseInfo) -> Package {
    (release.release.meta.name.clone(), release.release.publisher)
}

/// What each package is shown by; one whose versions are all yanked is not.
fn current_of_each(answers: &[Answer]) -> BTreeMap<Package, Arc<ReleaseInfo>> {
    let mut found: BTreeMap<Package, Vec<Arc<ReleaseInfo>>> = BTreeMap::new();
    amended(answers).for_each(|release| found.entry(package(&release)).or_default().push(release));
    let current = |(package, mut versions): (Package, Vec<_>)| Some((package, pick(&mut versions, None).ok()?));
    found.into_iter().filter_map(current).collect()
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
