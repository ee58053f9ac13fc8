use alloc::format;
use alloc::string::ToString;
use alloc::vec;

use proptest::prelude::*;

use super::*;
use crate::catalog::{Content, NewRelease, Release, Scheme, Version};
use crate::fuzzing::{self, Choices};
use crate::id::Digest;

struct Package<'a> {
    name: &'a str,
    version: &'a str,
    summary: &'a str,
    description: &'a str,
    keywords: &'a [&'a str],
}

const BARE: Package<'_> = Package { name: "bare", version: "1.0.0", summary: "", description: "", keywords: &[] };

fn release(package: &Package<'_>) -> Arc<ReleaseInfo> {
    let meta = NewRelease {
        name: Name::new(package.name).unwrap(),
        version: Version { text: package.version.into(), scheme: Scheme::Semver },
        content: Content::External { sha256: Digest::of(b"content"), size: 1 },
        summary: package.summary.into(),
        description: package.description.into(),
        keywords: package.keywords.iter().map(|keyword| keyword.to_string()).collect(),
        category: String::new(),
        tags: vec![],
        licence: String::new(),
        dependencies: vec![],
    };
    let publisher = PublisherId(Digest::of(b"publisher"));
    let release = Release { publisher, position: 0, previous: Digest::of(b"previous"), meta };
    Arc::new(ReleaseInfo { statement: Digest::of(package.version.as_bytes()), release })
}

fn index(packages: &[Package<'_>]) -> Index {
    let mut index = Index::default();
    packages.iter().for_each(|package| index.insert(&release(package)));
    index
}

fn search(index: &Index, text: &str) -> Vec<Hit> {
    index.search(&Query { text: text.into(), limit: 100, ..Query::default() }).hits
}

fn names(hits: &[Hit]) -> Vec<&str> {
    hits.iter().map(|hit| hit.release.release.meta.name.as_str()).collect()
}

#[test]
fn where_a_word_stands_decides() {
    let index = index(&[
        Package { name: "in-description", description: "reads json fast", ..BARE },
        Package { name: "in-summary", summary: "reads json fast", ..BARE },
        Package { name: "in-keywords", keywords: &["json"], ..BARE },
        Package { name: "json-reader", ..BARE },
        Package { name: "json", ..BARE },
        Package { name: "other", description: "no such word", ..BARE },
    ]);
    let hits = search(&index, "JSON");
    assert_eq!(names(&hits), ["json", "json-reader", "in-keywords", "in-summary", "in-description"]);
    assert_eq!(hits[0].parts.iter().map(|part| part.field).collect::<Vec<_>>(), ["name", EXACT_NAME]);
    assert_eq!(names(&search(&index, "no such thing")), ["other"]);
    assert_eq!(search(&index, "!?"), []);
}

#[test]
fn a_whole_name_comes_before_its_words() {
    let index = index(&[
        Package { name: "serde", summary: "serde json serde json", keywords: &["json", "serde"], ..BARE },
        Package { name: "json", summary: "json for serde", description: "serde json", ..BARE },
        Package { name: "serde_json", ..BARE },
        Package { name: "c++", ..BARE },
        Package { name: "c", ..BARE },
    ]);
    assert_eq!(names(&search(&index, " Serde_JSON "))[0], "serde_json");
    assert_eq!(names(&search(&index, "c++")), ["c++", "c"]);
}

#[test]
fn the_beginning_of_a_last_word_finds() {
    let index = index(&[
        Package { name: "tokio", summary: "asynchronous runtime", ..BARE },
        Package { name: "rand", summary: "random numbers", ..BARE },
    ]);
    assert_eq!(names(&search(&index, "asy")), ["tokio"]);
    assert_eq!(names(&search(&index, "numbers runt")), ["rand", "tokio"]);
    assert_eq!(names(&search(&index, "asy numbers")), ["rand"]);
    // A word that is indexed stands for itself only.
    assert_eq!(names(&search(&index, "rand")), ["rand"]);
}

#[test]
fn only_the_highest_version_is_found() {
    let mut index = index(&[
        Package { version: "1.2.0", summary: "middle", ..BARE },
        Package { version: "1.1.0", summary: "oldest", ..BARE },
        Package { version: "1.3.0", summary: "newest", ..BARE },
    ]);
    assert_eq!(index.len(), 1);
    assert_eq!(names(&search(&index, "newest")), ["bare"]);
    assert_eq!(search(&index, "oldest middle"), []);
    index.insert(&release(&Package { version: "1.3.0", summary: "newest", ..BARE }));
    assert_eq!(index.corpus, Corpus { documents: 1, lengths: [1, 0, 1, 0] });
}

#[test]
fn versions_are_compared_by_the_rules_of_their_scheme() {
    let index = index(&[
        Package { version: "1.9.0", summary: "nine", ..BARE },
        Package { version: "1.10.0", summary: "ten", ..BARE },
        Package { version: "1.10.0-rc.1", summary: "candidate", ..BARE },
    ]);
    assert_eq!(names(&search(&index, "ten")), ["bare"]);
    assert_eq!(search(&index, "nine candidate"), []);
}

#[test]
fn a_package_costs_less_than_two_kibibytes() {
    let mut index = Index::default();
    for n in 0..500u32 {
        let words: Vec<_> = (0..60u32).map(|i| format!("word{}", (n * 7 + i * i) % 3000)).collect();
        let package = Package {
            name: &format!("package-{n}"),
            summary: &words[..10].join(" "),
            description: &words[10..].join(" "),
            ..BARE
        };
        index.insert(&release(&package));
    }
    let postings = index.postings.iter().map(|(term, list)| {
        term.capacity() + size_of::<(String, Vec<Posting>)>() + list.capacity() * size_of::<Posting>()
    });
    let package = size_of::<Document>() + size_of::<(Name, PublisherId, DocumentId)>();
    let bytes = postings.sum::<usize>() + index.documents.capacity() * package;
    assert!(bytes / index.len() < 2048, "{} bytes", bytes / index.len());
}

proptest! {
    #[test]
    fn the_order_of_arrival_does_not_matter(
        seeds in proptest::collection::vec(any::<[u8; 48]>(), 1..20),
        order in any::<[u8; 20]>(),
        word in "http|json|par|x|fast parser|",
    ) {
        let numbered = (0..).zip(&seeds);
        let releases: Vec<_> = numbered.map(|(n, seed)| fuzzing::search::release(&mut Choices::new(seed), n)).collect();
        let mut shuffled: Vec<_> = releases.iter().zip(order).collect();
        shuffled.sort_by_key(|(_, key)| *key);
        let (mut first, mut second) = (Index::default(), Index::default());
        releases.iter().for_each(|release| first.insert(release));
        shuffled.iter().for_each(|(release, _)| second.insert(release));
        prop_assert_eq!(first.corpus, second.corpus);
        let query = Query { text: word, limit: 7, ..Query::default() };
        prop_assert_eq!(first.search(&query), second.search(&query));
    }

    #[test]
    fn a_narrower_query_finds_a_part_of_a_wider_one(
        seeds in proptest::collection::vec(any::<[u8; 48]>(), 1..20),
        word in "http|json|par|x|fast parser|",
        category in "|net|data",
        tag in "cli|lib",
    ) {
        let mut index = Index::default();
        let numbered = (0..).zip(&seeds);
        numbered.for_each(|(n, seed)| index.insert(&fuzzing::search::release(&mut Choices::new(seed), n)));
        let wide = Query { text: word, limit: 100, category: Some(category), ..Query::default() };
        let narrow = Query { tags: vec![tag.clone()], ..wide.clone() };
        let wide = index.search(&wide).hits;
        let narrow = index.search(&narrow).hits;
        prop_assert!(narrow.iter().all(|hit| wide.contains(hit)));
        let tagged = wide.into_iter().filter(|hit| hit.release.release.meta.tags.contains(&tag));
        prop_assert_eq!(tagged.collect::<Vec<_>>(), narrow);
    }
}
