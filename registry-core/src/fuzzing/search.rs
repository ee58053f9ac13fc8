//! The search index against brute force over what it was given.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cmp::Reverse;

use super::Choices;
use crate::catalog::{Content, Dependency, Name, NewRelease, Release, ReleaseInfo, Scheme, Version};
use crate::id::{Digest, PublisherId};
use crate::search::{Hit, Index, ParsedQuery, Query, Scored, SearchPage, score_release};

const WORDS: [&str; 15] = [
    "http",
    "Json",
    "json-parser",
    "parse",
    "parser",
    "fast",
    "serde_json",
    "é",
    "x",
    "C++",
    "http2",
    "the",
    "parsre",
    "cli",
    "net",
];

/// Releases in two orders and groups, then queries: neither must matter, and every rule of a page holds.
pub fn search(data: &[u8]) {
    let mut choices = Choices::new(data);
    let count = 1 + choices.below(12);
    let releases: Vec<_> = (0..count).map(|version| release(&mut choices, version)).collect();
    let group = 1 + choices.below(4) as usize;
    let (mut index, mut reversed) = (Catalogue::default(), Catalogue::default());
    releases.iter().for_each(|release| index.insert(core::slice::from_ref(release)));
    releases.rchunks(group).for_each(|releases| reversed.insert(releases));
    assert_eq!(index.current, reversed.current);
    for _ in 0..2 {
        let query = some_query(&mut choices);
        let page = index.search(&query);
        assert_eq!(page, reversed.search(&query));
        index.check(&query, &page);
    }
}

/// Any text as a query: it is understood or refused, within bounds, and finds nothing that is not there.
pub fn query(data: &[u8]) {
    let text = String::from_utf8_lossy(data).into_owned();
    let query = Query { text, limit: 10, ..Query::default() };
    let Ok(parsed) = ParsedQuery::new(&query) else { return };
    assert!(parsed.words.len().max(parsed.required.len()).max(parsed.excluded.len()) <= 32);
    assert!(parsed.words.iter().all(|word| !word.text.is_empty() && !word.term.is_empty()));
    let mut choices = Choices::new(data);
    let mut catalogue = Catalogue::default();
    catalogue.insert(&[release(&mut choices, 0), release(&mut choices, 1)]);
    let page = catalogue.search(&query);
    catalogue.check(&query, &page);
}

/// An index and the releases it should hold.
#[derive(Default)]
pub(crate) struct Catalogue {
    pub(crate) index: Index,
    pub(crate) current: BTreeMap<(Name, PublisherId), Arc<ReleaseInfo>>,
}

impl Catalogue {
    /// Takes in what is its package's highest version so far.
    pub(crate) fn insert(&mut self, releases: &[Arc<ReleaseInfo>]) {
        for release in releases {
            let current = self.current.entry(key(release)).or_insert_with(|| release.clone());
            if release.cmp_version(current).is_gt() {
                *current = release.clone();
            }
        }
        let is_current = |release: &&Arc<ReleaseInfo>| self.current.get(&key(release)) == Some(release);
        let news: Vec<_> = releases.iter().filter(is_current).map(|release| &release.release).collect();
        self.index.insert(&news);
        assert_eq!(self.index.len(), self.current.len() as u64);
    }

    pub(crate) fn search(&self, query: &Query) -> SearchPage {
        let read = |publisher, position| {
            let mut releases = self.current.values();
            releases.find(|info| (info.release.publisher, info.release.position) == (publisher, position)).cloned()
        };
        self.index.page(query, read).expect("no publisher is named in the text")
    }

    /// Every rule of a page that a glance at all releases can judge.
    pub(crate) fn check(&self, query: &Query, page: &SearchPage) {
        assert!(page.hits.len() <= query.limit);
        for hit in &page.hits {
            assert_eq!(self.current.get(&key(&hit.release)), Some(&hit.release));
            assert_eq!(hit.parts.iter().map(|part| part.score).sum::<u64>(), hit.score);
        }
        let order = |hit: &Hit| (Reverse(hit.score), folded(&hit.release), key(&hit.release));
        assert!(page.hits.is_sorted_by_key(order));

        // What is found is what scores alone, by the statistics of the whole: no more and no less.
        let parsed = ParsedQuery::new(query).expect("no publisher is named in the text");
        let statistics = self.index.statistics(&parsed);
        let dependents = |info: &ReleaseInfo| self.dependents(info);
        let scored = |info: &Arc<ReleaseInfo>| {
            let Scored { score, parts } = score_release(&parsed, &statistics, &info.release, dependents(info))?;
            Some(Hit { release: info.clone(), score, parts })
        };
        let mut all: Vec<_> = self.current.values().filter_map(scored).collect();
        all.sort_by_key(order);
        all.truncate(query.limit);
        assert_eq!(all, page.hits);
    }

    fn dependents(&self, info: &ReleaseInfo) -> u32 {
        let needs = |other: &&Arc<ReleaseInfo>| {
            let release = &other.release;
            let mut targets = release.meta.dependencies.iter().flatten();
            targets.any(|target| {
                (&target.name, target.publisher.unwrap_or(release.publisher))
                    == (&info.release.meta.name, info.release.publisher)
            })
        };
        let others = self.current.values().filter(|other| key(other) != key(info));
        others.filter(needs).count() as u32
    }
}

fn folded(info: &ReleaseInfo) -> String {
    info.release
        .meta
        .name
        .as_str()
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .map(|c| c.to_ascii_lowercase())
        .collect()
}

fn key(info: &ReleaseInfo) -> (Name, PublisherId) {
    (info.release.meta.name.clone(), info.release.publisher)
}

fn some_query(choices: &mut Choices<'_>) -> Query {
    let mut text = words(choices, 3);
    // The beginning of a word.
    if choices.below(4) == 0 {
        text.pop();
    }
    // A condition, or what looks like one.
    if choices.below(2) == 0 {
        let sign = ["", "-"][choices.below(2) as usize];
        let field = ["", "name:", "tag:", "category:", "nothing:"][choices.below(5) as usize];
        let quote = ["", "\""][choices.below(2) as usize];
        text = alloc::format!("{text} {sign}{field}{quote}{}{quote}", words(choices, 2));
    }
    Query {
        text,
        limit: 1 + choices.below(15) as usize,
        category: (choices.below(4) == 0).then(|| category(choices)),
        tags: if choices.below(4) == 0 { tags(choices) } else { Vec::new() },
        publisher: (choices.below(4) == 0).then(|| publisher(choices)),
    }
}

/// A release of one of few packages; its version is higher with a higher number.
pub(crate) fn release(choices: &mut Choices<'_>, number: u64) -> Arc<ReleaseInfo> {
    let name = name(choices);
    let meta = NewRelease {
        name,
        version: Version { text: alloc::format!("{number:03}").into(), scheme: Scheme::Opaque },
        content: Content::External { sha256: Digest::of(b"content"), size: 1 },
        summary: words(choices, 6),
        description: words(choices, 12),
        keywords: (0..choices.below(4)).map(|_| word(choices).into()).collect(),
        category: category(choices),
        tags: tags(choices),
        licence: String::new(),
        dependencies: (0..choices.below(3)).map(|_| alloc::vec![dependency(choices)]).collect(),
    };
    let release = Release { publisher: publisher(choices), position: number, previous: Digest::of(b"previous"), meta };
    Arc::new(ReleaseInfo { statement: Digest::of(&number.to_be_bytes()), release, status: Default::default() })
}

fn dependency(choices: &mut Choices<'_>) -> Dependency {
    let publisher = (choices.below(2) == 0).then(|| publisher(choices));
    Dependency { publisher, name: name(choices), requirement: String::new() }
}

fn name(choices: &mut Choices<'_>) -> Name {
    let names = ["http", "json", "serde_json", "JSON", "c++", "x"];
    Name::new(names[choices.below(6) as usize]).expect("a valid name")
}

fn words(choices: &mut Choices<'_>, max: u64) -> String {
    let words: Vec<_> = (0..choices.below(max + 1)).map(|_| word(choices)).collect();
    words.join(" ")
}

fn word(choices: &mut Choices<'_>) -> &'static str {
    WORDS[choices.below(WORDS.len() as u64) as usize]
}

fn category(choices: &mut Choices<'_>) -> String {
    ["", "net", "data"][choices.below(3) as usize].into()
}

fn tags(choices: &mut Choices<'_>) -> Vec<String> {
    (0..choices.below(3)).map(|_| ["cli", "lib"][choices.below(2) as usize].into()).collect()
}

fn publisher(choices: &mut Choices<'_>) -> PublisherId {
    PublisherId(Digest::of(&[choices.below(3) as u8]))
}

#[cfg(test)]
mod tests {
    #[test]
    fn search() {
        super::super::run(200, super::search);
    }

    #[test]
    fn query() {
        super::super::run(60, super::query);
    }
}
