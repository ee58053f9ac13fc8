//! Fresh publishers, all of one attacker: their signatures hold, their packages look like those of others.

use std::collections::BTreeMap;

use registry_core::action::Write;
use registry_core::catalog::{Name, NewRelease};

use crate::corpus::{Author, Described};

/// Statements of the publishers, in turn: more than are drawn by lot, as many, fewer, one.
const LENGTHS: [usize; 4] = [64, 32, 8, 1];
/// One imitation in so many has the very name and words of an honest package; the others begin with its name and have
/// a word more.
const COPIES: usize = 3;

/// So many statements of fresh publishers, as the rows of each. Each honest package is imitated equally often.
pub(super) fn newcomers(seed: u64, honest: &[Described], statements: usize) -> Vec<Vec<Write>> {
    let mut imitations = (0..statements).map(|ix| imitate(&honest[ix % honest.len()], ix / honest.len()));
    let mut newcomers = Vec::new();
    for (ix, length) in (0..).zip(LENGTHS.into_iter().cycle()) {
        let releases: Vec<_> = imitations.by_ref().take(length).collect();
        if releases.is_empty() {
            break;
        }
        let mut author = Author::new(seed, ix);
        author.publish(releases);
        newcomers.push(author.rows().collect());
    }
    newcomers
}

fn imitate(honest: &Described, round: usize) -> NewRelease {
    let mut release = honest.release(&format!("{round}.0"), &BTreeMap::new());
    if !round.is_multiple_of(COPIES) {
        release.name = Name::new(&format!("{}-{round}", honest.name.as_str())).expect("letters, digits and hyphens");
        release.summary += " original";
    }
    release
}
