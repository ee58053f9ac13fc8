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
fn of_a_long_phrase_every_word_counts() {
    let text = "one two three four five six seven eight nine ten";
    let reversed = "one two three four five six seven eight ten nine";
    let catalogue = catalogue(&[
        Package { name: "right", description: text, ..BARE },
        Package { name: "wrong", description: reversed, ..BARE },
    ]);
    assert_eq!(names(&catalogue, &format!("\"{text}\"")), ["right"]);
    assert_eq!(names(&catalogue, &format!("one -\"{text}\"")), ["wrong"]);
}

#[test]
fn words_count_beside_any_number_of_conditions() {
    let catalogue = catalogue(&[
        Package { name: "png-tool", summary: "image", ..BARE },
        Package { name: "viewer", summary: "image", ..BARE },
    ]);
    let different: Vec<_> = (0..40).map(|n| format!("-name:other{n}")).collect();
    assert_eq!(names(&catalogue, &format!("{} viewer", different.join(" "))), ["viewer"]);
    // What is said twice is one condition.
    assert_eq!(names(&catalogue, &format!("{}-name:viewer image", "-name:other ".repeat(40))), ["png-tool"]);
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

    /// But for a name that all words together are, which no name is here, and the last word, which may be a beginning.
    #[test]
    fn the_order_of_words_changes_nothing_that_is_found(
        seeds in proptest::collection::vec(any::<[u8; 48]>(), 1..20),
        first in "http|json|x|fast|tag:cli|-category:net",
        second in "parser|par|-tag:lib|name:json",
    ) {
        let mut catalogue = Catalogue::default();
        catalogue.insert(&releases(&seeds));
        let found = |text: String| {
            let text = format!("zzzzzzzzzzzz {text} lib");
            let hits = catalogue.search(&Query { text, limit: 100, ..Query::default() }).hits;
            hits.into_iter().map(|hit| (hit.release.release.position, hit.score)).collect::<Vec<_>>()
        };
        prop_assert_eq!(found(format!("{first} {second}")), found(format!("{second} {first}")));
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

fn only_segment(index: &Index) -> Segment {
    let [live] = &index.live[..] else { panic!("{} segments", index.live.len()) };
    live.segment.clone()
}

/// Many small packages; every tenth needs its neighbour.
fn many(count: u32, version: &str) -> Vec<Arc<ReleaseInfo>> {
    let package = |n: u32| {
        let (name, need) = (format!("p{n}"), format!("p{}", n + 1));
        let summary = format!("w{} w{} common", n % 7, n % 31);
        let needs: &[&str] = if n.is_multiple_of(10) { &[&need] } else { &[] };
        release(&Package { name: &name, version, summary: &summary, needs, ..BARE })
    };
    (0..count).map(package).collect()
}

const QUERIES: [&str; 5] = ["w3", "w3 w21 common", "p41", "commno", "common -w2 name:p5"];

fn pages(catalogue: &Catalogue) -> Vec<SearchPage> {
    QUERIES.iter().map(|text| catalogue.search(&query(text))).collect()
}

#[test]
fn a_worker_merges_while_the_index_changes() {
    let mut merged = Catalogue::default();
    many(4200, "1.0.0").chunks(64).for_each(|releases| merged.insert(releases));
    let parts = merged.index.next_merge().expect("eight large segments");
    assert!(merged.index.next_merge().is_none(), "one at a time");
    // What dies meanwhile stays dead, what comes back is found again.
    let newer: Vec<_> = many(50, "2.0.0").split_off(25);
    merged.insert(&newer);
    let gone = Name::new("p9").unwrap();
    merged.index.remove(&gone, PublisherId(Digest::of(b"publisher")));
    merged.index.insert(&[&many(10, "1.0.0")[9].release]);
    merged.index.handle_merged(Segment::merge(&parts));
    assert_eq!(merged.index.len(), 4200);

    let mut plain = Catalogue::default();
    plain.insert(&newer);
    many(4200, "1.0.0").chunks(100).for_each(|releases| plain.insert(releases));
    assert_eq!(pages(&merged), pages(&plain));
    merged.check(&query("w3 common"), &merged.search(&query("w3 common")));
}

#[test]
fn a_restart_reads_segments_back_and_trusts_none() {
    let mut before = Catalogue::default();
    many(2000, "1.0.0").chunks(64).for_each(|releases| before.insert(releases));
    let mut rows = alloc::collections::BTreeMap::new();
    for write in before.index.take_writes() {
        match write.value {
            Some(value) => rows.insert(write.key, value),
            None => rows.remove(&write.key),
        };
    }
    let stored: u32 = rows.values().map(|value| Segment::open(value.clone()).unwrap().documents()).sum();
    assert!(stored >= 1500, "{stored}");

    // Meanwhile one package is replaced in the log; one stored segment is of another log, one is damaged.
    let mut after = Catalogue::default();
    let mut foreign = Index::default();
    foreign.insert(&[&release(&Package { name: "stranger", summary: "common", ..BARE }).release]);
    let foreign = only_segment(&foreign);
    let damaged: bytes::Bytes = rows.values().next().unwrap().iter().map(|byte| byte ^ 1).collect::<Vec<_>>().into();
    rows.insert(foreign.id().to_vec().into(), foreign.bytes().clone());
    rows.insert(vec![7; 8].into(), damaged);
    let table = crate::action::Table::Segment;
    for (key, value) in &rows {
        after.index.handle_recovered(&crate::input::Row { table, key: key.clone(), value: value.clone() });
    }
    let thrown: Vec<_> = after.index.take_writes();
    assert_eq!(thrown, [crate::action::Write { table, key: vec![7; 8].into(), value: None }]);
    let replaced = many(6, "3.0.0").split_off(5);
    for release in many(2000, "1.0.0").iter().chain(&replaced) {
        after.current.insert((release.release.meta.name.clone(), release.release.publisher), release.clone());
    }
    let current: Vec<_> = after.current.values().map(|info| &info.release).collect();
    current.iter().for_each(|release| after.index.insert(&[release]));
    let strangers: Vec<_> = after.index.drop_unconfirmed().into_iter().map(|(name, _)| name.to_string()).collect();
    assert_eq!(strangers, ["stranger"]);

    before.insert(&replaced);
    assert_eq!(pages(&after), pages(&before));
}

proptest! {
    /// Whoever can forge the checksum can make it lie, but not panic.
    #[test]
    fn a_forged_segment_is_read_without_panic(
        seeds in proptest::collection::vec(any::<[u8; 48]>(), 1..12),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let mut catalogue = Catalogue::default();
        catalogue.insert(&releases(&seeds));
        let mut bytes = only_segment(&catalogue.index).bytes().to_vec();
        for (at, byte) in changes {
            let at = 16 + at.index(bytes.len() - 16);
            bytes[at] = byte;
        }
        segment::seal(&mut bytes);
        let Some(segment) = Segment::open(bytes.into()) else { return Ok(()) };
        let mut index = Index::default();
        let row = crate::input::Row {
            table: crate::action::Table::Segment,
            key: segment.id().to_vec().into(),
            value: segment.bytes().clone(),
        };
        index.handle_recovered(&row);
        for text in ["http", "parsre \"fast http\" -x", "tag:cli", ""] {
            prop_assert_eq!(index.page(&query(text), |_, _| None).unwrap().hits.len(), 0);
        }
        index.drop_unconfirmed();
        prop_assert_eq!(index.len(), 0);
    }
}
