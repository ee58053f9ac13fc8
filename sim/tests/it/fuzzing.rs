//! Worlds that bytes decide: random ones, and those of `fuzz/corpus/world/`, among which everything occurs.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use registry_core::{Rng, Seed};
use sim::Fault;
use sim::fault::{Effect, Fired};
use sim::fuzzing::{decide, world};
use sim::schedule::What;

/// Worlds of random bytes.
const WORLDS: usize = 40;
/// Random strings that together decide for everything there is.
const STRINGS: usize = 2_000;
/// The longest of them.
const MAX_LEN: usize = 80;
/// Hardly seen in so little work; answers to `find` go to light nodes, of which these worlds have none.
const RARE: &[Effect] = &[
    Effect::QueueOverflow,
    Effect::BitRot,
    Effect::BadBytes,
    Effect::IrrelevantFind,
    Effect::EmptyFind,
    Effect::OldNews,
];

/// Random bytes, the same each time.
fn strings(count: usize) -> impl Iterator<Item = Vec<u8>> {
    let mut rng = Rng::new(Seed([1; 32]), "fuzzing");
    (0..count).map(move |_| {
        let mut data = vec![0; rng.index(MAX_LEN)];
        rng.fill(&mut data);
        data
    })
}

/// What these bytes let happen: the names of operations, faults and hostile deeds.
fn kinds(data: &[u8]) -> BTreeSet<String> {
    let name = |what: &What| match what {
        What::Do(operation) => format!("{operation:?}"),
        What::Strike { fault: Fault::Hostile(hostile), .. } => format!("{hostile:?}"),
        What::Strike { fault, .. } => format!("{fault:?}"),
    };
    let word = |name: String| name.split(|letter: char| !letter.is_alphabetic()).next().map(str::to_owned);
    decide(data).schedule.entries.iter().filter_map(|entry| word(name(&entry.what))).collect()
}

#[test]
fn worlds_of_random_bytes_hold() {
    strings(WORLDS).for_each(|data| assert!(world(&data).events > 0));
}

#[test]
fn worlds_of_the_corpus_hold_and_everything_occurs_in_them() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/world");
    let (mut occurring, mut fired) = (BTreeSet::new(), Fired::default());
    for file in fs::read_dir(&corpus).expect("the corpus") {
        let path = file.expect("a folder entry").path();
        println!("{}", path.display());
        let data = fs::read(path).expect("a readable corpus file");
        occurring.extend(kinds(&data));
        fired.merge(&world(&data).faults);
    }
    let possible: BTreeSet<_> = strings(STRINGS).flat_map(|data| kinds(&data)).collect();
    assert_eq!(occurring, possible);
    let unseen = fired.iter().filter(|(_, times)| *times == 0).map(|(effect, _)| effect);
    let missed: Vec<_> = unseen.filter(|effect| !RARE.contains(effect)).collect();
    assert_eq!(missed, []);
}
