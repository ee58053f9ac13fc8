//! The search index against brute force over what it was given.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::Choices;
use crate::catalog::{Content, Name, NewRelease, Release, ReleaseInfo, Scheme, Version};
use crate::id::{Digest, PublisherId};
use crate::search::{Index, Query, SearchPage};

const WORDS: [&str; 12] =
    ["http", "Json", "json-parser", "parse", "parser", "fast", "serde_json", "é", "x", "C++", "http2", "the"];

/// Releases in two orders, then queries: the order must not matter, and every rule of a page holds.
pub fn search(data: &[u8]) {
    let mut choices = Choices::new(data);
    let count = 1 + choices.below(12);
    let releases: Vec<_> = (0..count).map(|version| release(&mut choices, version)).collect();
    let (mut index, mut reversed) = (Index::default(), Index::default());
    releases.iter().for_each(|release| index.insert(release));
    releases.iter().rev().for_each(|release| reversed.insert(release));
    let current: BTreeMap<_, _> = releases.iter().map(|info| (key(info), info.clone())).collect();
    assert_eq!(index.len(), current.len());
    for _ in 0..2 {
        let query = query(&mut choices);
        let page = index.search(&query);
        assert_eq!(page, reversed.search(&query));
        check(&index, &current, &query, &page);
    }
}

fn check(index: &Index, current: &BTreeMap<(Name, PublisherId), Arc<ReleaseInfo>>, query: &Query, page: &SearchPage) {
    let listing = query.text.trim().is_empty();
    assert!(page.hits.len() <= query.limit);
    for hit in &page.hits {
        assert_eq!(current.get(&key(&hit.release)), Some(&hit.release));
        assert_eq!(hit.parts.iter().map(|part| part.score).sum::<u64>(), hit.score);
        assert_eq!(hit.score == 0, listing);
    }
    assert!(page.hits.is_sorted_by_key(|hit| (core::cmp::Reverse(hit.score), key(&hit.release))));

    // Filters only take away, and take away just what does not pass.
    let open = Query { text: query.text.clone(), limit: current.len(), ..Query::default() };
    let unfiltered = index.search(&open).hits;
    let passing = unfiltered.into_iter().filter(|hit| {
        let meta = &hit.release.release.meta;
        query.category.as_ref().is_none_or(|category| meta.category == *category)
            && query.tags.iter().all(|tag| meta.tags.contains(tag))
            && query.publisher.is_none_or(|publisher| hit.release.release.publisher == publisher)
    });
    assert_eq!(passing.take(query.limit).collect::<Vec<_>>(), page.hits);
}

fn key(info: &ReleaseInfo) -> (Name, PublisherId) {
    (info.release.meta.name.clone(), info.release.publisher)
}

fn query(choices: &mut Choices<'_>) -> Query {
    let mut text = words(choices, 3);
    // The beginning of a word.
    if choices.below(4) == 0 {
        text.pop();
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
    let names = ["http", "json", "serde_json", "JSON", "c++", "x"];
    let name = Name::new(names[choices.below(6) as usize]).expect("a valid name");
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
        dependencies: Vec::new(),
    };
    let release = Release { publisher: publisher(choices), position: number, previous: Digest::of(b"previous"), meta };
    Arc::new(ReleaseInfo { statement: Digest::of(&number.to_be_bytes()), release })
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
}
