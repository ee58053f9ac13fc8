use alloc::format;
use alloc::string::ToString;
use alloc::vec;

use proptest::prelude::*;

use super::*;
use crate::catalog::{Content, Dependency, Name, NewRelease, Release, Scheme, Version};
use crate::fuzzing::search::Catalogue;
use crate::fuzzing::{self, Choices};
use crate::id::Digest;

#[derive(Clone, Copy)]
struct Package<'a> {
    name: &'a str,
    version: &'a str,
    summary: &'a str,
    description: &'a str,
    keywords: &'a [&'a str],
    needs: &'a [&'a str],
}

const BARE: Package<'_> =
    Package { name: "bare", version: "1.0.0", summary: "", description: "", keywords: &[], needs: &[] };

fn release(package: &Package<'_>) -> Arc<ReleaseInfo> {
    let need =
        |name: &&str| vec![Dependency { publisher: None, name: Name::new(name).unwrap(), requirement: String::new() }];
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
        dependencies: package.needs.iter().map(need).collect(),
    };
    let publisher = PublisherId(Digest::of(b"publisher"));
    let statement = Digest::of(format!("{} {}", package.name, package.version).as_bytes());
    let position = u64::from_be_bytes(statement.0[..8].try_into().unwrap());
    let release = Release { publisher, position, previous: Digest::of(b"previous"), meta };
    Arc::new(ReleaseInfo { statement, release, status: Default::default() })
}

fn catalogue(packages: &[Package<'_>]) -> Catalogue {
    let mut catalogue = Catalogue::default();
    packages.iter().for_each(|package| catalogue.insert(&[release(package)]));
    catalogue
}

fn query(text: &str) -> Query {
    Query { text: text.into(), limit: 100, ..Query::default() }
}

fn names(catalogue: &Catalogue, text: &str) -> Vec<String> {
    let page = catalogue.search(&query(text));
    catalogue.check(&query(text), &page);
    page.hits.iter().map(|hit| hit.release.release.meta.name.to_string()).collect()
}

#[test]
fn where_a_word_stands_decides() {
    let catalogue = catalogue(&[
        Package { name: "in-description", description: "reads json fast", ..BARE },
        Package { name: "in-summary", summary: "reads json fast", ..BARE },
        Package { name: "in-keywords", keywords: &["json"], ..BARE },
        Package { name: "json-reader", ..BARE },
        Package { name: "json", ..BARE },
        Package { name: "other", description: "no such word", ..BARE },
    ]);
    assert_eq!(names(&catalogue, "JSON"), ["json", "json-reader", "in-keywords", "in-summary", "in-description"]);
    let parts = &catalogue.search(&query("JSON")).hits[0].parts;
    assert_eq!(parts.iter().map(|part| part.field).collect::<Vec<_>>(), ["name", "whole name", "all words"]);
    assert_eq!(names(&catalogue, "no such thing"), ["other"]);
    assert_eq!(names(&catalogue, "qqq").len(), 0);
}

#[test]
fn a_whole_name_comes_before_its_words() {
    let catalogue = catalogue(&[
        Package { name: "serde", summary: "serde json serde json", keywords: &["json", "serde"], ..BARE },
        Package { name: "json", summary: "json for serde", description: "serde json", ..BARE },
        Package { name: "serde_json", ..BARE },
    ]);
    for text in [" Serde_JSON ", "serde json", "serdejson"] {
        assert_eq!(names(&catalogue, text)[0], "serde_json", "{text}");
    }
}

#[test]
fn the_beginning_of_a_name_or_of_a_last_word_finds() {
    let catalogue = catalogue(&[
        Package { name: "tokio", summary: "asynchronous runtime", ..BARE },
        Package { name: "rand", summary: "random numbers", ..BARE },
    ]);
    assert_eq!(names(&catalogue, "asy"), ["tokio"]);
    assert_eq!(names(&catalogue, "t"), ["tokio"]);
    assert_eq!(names(&catalogue, "numbers runt"), ["rand", "tokio"]);
    assert_eq!(names(&catalogue, "asy numbers"), ["rand"]);
}

#[test]
fn typing_errors_are_forgiven() {
    let catalogue = catalogue(&[
        Package { name: "firefox", summary: "web browser", ..BARE },
        Package { name: "thunderbird", summary: "mail reader", ..BARE },
        Package { name: "mail", ..BARE },
    ]);
    assert_eq!(names(&catalogue, "fierfox"), ["firefox"]);
    assert_eq!(names(&catalogue, "thudnerbrid"), ["thunderbird"]);
    assert_eq!(names(&catalogue, "bowser"), ["firefox"]);
    // A word that is indexed means itself; a short one is never another.
    assert_eq!(names(&catalogue, "mail"), ["mail", "thunderbird"]);
    assert_eq!(names(&catalogue, "wab").len(), 0);
}

#[test]
fn inflections_are_one_word() {
    let catalogue = catalogue(&[Package { name: "tool", summary: "compresses images", ..BARE }]);
    assert_eq!(names(&catalogue, "compressing image"), ["tool"]);
}

#[test]
fn what_others_depend_on_comes_first() {
    let mut catalogue = catalogue(&[
        Package { name: "json-a", ..BARE },
        Package { name: "json-b", ..BARE },
        Package { name: "user-1", needs: &["json-b"], ..BARE },
        Package { name: "user-2", needs: &["json-b", "user-2"], ..BARE },
    ]);
    assert_eq!(names(&catalogue, "json"), ["json-b", "json-a"]);
    // Without words, all: the most depended upon first.
    assert_eq!(names(&catalogue, ""), ["json-b", "json-a", "user-1", "user-2"]);
    // A dependency that was given up no longer counts.
    for user in ["user-1", "user-2"] {
        catalogue.insert(&[release(&Package { name: user, version: "2.0.0", needs: &["json-a"], ..BARE })]);
    }
    assert_eq!(names(&catalogue, "json"), ["json-a", "json-b"]);
}

#[test]
fn conditions_take_away() {
    let catalogue = catalogue(&[
        Package { name: "png-tool", summary: "shows an image file", ..BARE },
        Package { name: "jpeg-tool", summary: "image of a file", ..BARE },
        Package { name: "viewer", summary: "file image", ..BARE },
    ]);
    assert_eq!(names(&catalogue, "image").len(), 3);
    assert_eq!(names(&catalogue, "\"image file\""), ["png-tool"]);
    assert_eq!(names(&catalogue, "image -\"image file\" -name:tool"), ["viewer"]);
    assert_eq!(names(&catalogue, "image name:tools -jpeg"), ["png-tool"]);
    assert_eq!(names(&catalogue, "-tool"), ["viewer"]);
    assert_eq!(names(&catalogue, "category:graphics image").len(), 0);
}

#[test]
fn only_the_highest_version_is_found() {
    let mut catalogue = catalogue(&[
        Package { version: "1.2.0", summary: "middle", ..BARE },
        Package { version: "1.1.0", summary: "oldest", ..BARE },
        Package { version: "1.10.0", summary: "newest", ..BARE },
    ]);
    assert_eq!(names(&catalogue, "newest"), ["bare"]);
    assert_eq!(names(&catalogue, "oldest").len(), 0);
    assert_eq!(names(&catalogue, "middle").len(), 0);
    catalogue.index.remove(&Name::new("bare").unwrap(), PublisherId(Digest::of(b"publisher")));
    assert_eq!(catalogue.index.len(), 0);
    let page = catalogue.index.page(&query("newest"), |_, _| None).unwrap();
    assert_eq!(page.hits, []);
}

#[test]
fn a_package_costs_less_than_a_kibibyte() {
    let mut catalogue = Catalogue::default();
    for n in 0..600u32 {
        let words: Vec<_> = (0..60u32).map(|i| format!("word{}", (n * 7 + i * i) % 3000)).collect();
        let (name, summary, description) = (format!("package-{n}"), words[..10].join(" "), words[10..].join(" "));
        let package = Package { name: &name, summary: &summary, description: &description, ..BARE };
        catalogue.insert(&[release(&package)]);
    }
    let bytes = catalogue.index.bytes() / 600;
    assert!(bytes < 1024, "{bytes} bytes");
}

/// Some packages with different words.
fn releases(seeds: &[[u8; 48]]) -> Vec<Arc<ReleaseInfo>> {
    (0..).zip(seeds).map(|(n, seed)| fuzzing::search::release(&mut Choices::new(seed), n)).collect()
}

proptest! {
    #[test]
    fn the_order_of_arrival_and_the_segments_do_not_matter(
        seeds in proptest::collection::vec(any::<[u8; 48]>(), 1..40),
        order in any::<[u8; 40]>(),
        group in 1usize..9,
        word in "http|json|par|x|fast parser|parsre|",
    ) {
        let releases = releases(&seeds);
        let mut shuffled: Vec<_> = releases.iter().cloned().zip(order).collect();
        shuffled.sort_by_key(|(_, key)| *key);
        let shuffled: Vec<_> = shuffled.into_iter().map(|(release, _)| release).collect();
        let (mut first, mut second) = (Catalogue::default(), Catalogue::default());
        releases.chunks(group).for_each(|group| first.insert(group));
        shuffled.iter().for_each(|release| second.insert(core::slice::from_ref(release)));
        let query = Query { text: word, limit: 7, ..Query::default() };
        prop_assert_eq!(first.search(&query), second.search(&query));
    }

    #[test]
    fn a_narrower_query_finds_a_part_of_a_wider_one(
        seeds in proptest::collection::vec(any::<[u8; 48]>(), 1..20),
        word in "http|json|par|x|fast parser|",
        category in "|net|data",
        more in "tag:cli|tag:lib|-fast|-tag:cli|name:json|category:net",
    ) {
        let mut catalogue = Catalogue::default();
        catalogue.insert(&releases(&seeds));
        let wide = Query { text: word.clone(), limit: 100, category: Some(category), ..Query::default() };
        let narrow = Query { text: format!("{word} {more}"), ..wide.clone() };
        let wide = catalogue.search(&wide).hits;
        let narrow = catalogue.search(&narrow).hits;
        prop_assert!(narrow.iter().all(|hit| wide.contains(hit)));
    }

    /// A package that a query does not find changes, by the statistics it is part of, how much each word weighs. So the
    /// order of what is found may change for several words. For one word in one field alone it may not, nor may what is
    /// found ever.
    #[test]
    fn an_unrelated_package_changes_nothing_that_is_found(
        seeds in proptest::collection::vec(any::<[u8; 48]>(), 1..20),
        word in "http|json|x|fast parser|",
    ) {
        let mut catalogue = Catalogue::default();
        catalogue.insert(&releases(&seeds));
        let query = Query { text: word, limit: 100, ..Query::default() };
        let before = catalogue.search(&query).hits;
        catalogue.insert(&[release(&Package { name: "zzz", summary: "zzz zzz", ..BARE })]);
        let after = catalogue.search(&query).hits;
        let found = |hits: &[Hit]| {
            let mut found: Vec<_> = hits.iter().map(|hit| hit.release.release.position).collect();
            found.sort_unstable();
            found
        };
        if !query.text.is_empty() {
            prop_assert_eq!(found(&before), found(&after));
        }
    }
}
