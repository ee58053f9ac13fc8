//! What the words of a query mean in an index.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::cmp::Reverse;

use crate::search::index::{Index, Live};
use crate::search::query::{ParsedQuery, Word};
use crate::search::segment::Terms;
use crate::search::spell::{Letters, errors, tolerance};
use crate::search::statistics::{MAX_NAMES, Meaning, Statistics};
use crate::search::terms::folded;

/// Terms with a marker are before it, words from it on.
const FIRST_WORD: &[u8] = b"0";
/// Terms that begin with a last word: enough to show what there is.
const MAX_COMPLETIONS: usize = 8;
/// A shorter beginning says nothing.
const MIN_COMPLETED: usize = 3;
/// Terms a misspelt word may stand for.
const MAX_REPAIRS: usize = 3;
/// Packages that the words of a query are found in, each word counting anew: adding them up takes some 20 ns each.
const MAX_POSTINGS: u64 = 1 << 17;
/// Words of one query that are repaired: each takes a pass over the letters of all terms.
const MAX_REPAIRED: usize = 4;

impl Index {
    /// What is needed to score a release for this query.
    pub fn statistics(&self, query: &ParsedQuery) -> Statistics {
        let mut statistics = Statistics { documents: self.documents, lengths: self.lengths, ..Statistics::default() };
        let mut repaired = 0;
        for (at, word) in (0u32..).zip(&query.words) {
            let last = at as usize + 1 == query.words.len();
            let term = word.looked_for(self.ranking.stemming);
            let mut found: Vec<_> = self.document_frequency(term).map(|df| (term.into(), df)).into_iter().collect();
            if last && found.is_empty() {
                found.extend(self.completions(word));
            }
            if found.is_empty() && repaired < MAX_REPAIRED {
                repaired += 1;
                found.extend(self.repairs(term));
            }
            let meanings = found.into_iter().map(|(term, documents)| Meaning { word: at, term, documents });
            statistics.meanings.extend(meanings);
        }
        keep_rarest(&mut statistics.meanings);
        for live in &self.live {
            let (begun, named) = live.segment.begun(&query.folded);
            let alive = |range: core::ops::Range<u32>| range.filter(|&ix| !live.dead.contains(ix)).count() as u64;
            statistics.begun += alive(begun);
            statistics.named += alive(named);
        }
        if statistics.begun == 0 && repaired > 0 && query.words.len() == 1 {
            statistics.names = self.names_like(&query.folded);
        }
        statistics
    }

    fn document_frequency(&self, term: &str) -> Option<u64> {
        let df = self.live.iter().filter_map(|live| Some(live.frequency(&live.segment.find_term(term)?))).sum();
        (df > 0).then_some(df)
    }

    /// The most frequent terms that begin with a word.
    fn completions(&self, word: &Word) -> Vec<(String, u64)> {
        let mut found = Frequencies::default();
        if word.text.len() >= MIN_COMPLETED {
            for live in &self.live {
                let mut next = live.segment.terms_from(word.text.as_bytes());
                while let Some(terms) = next.as_mut().filter(|terms| terms.term().starts_with(word.text.as_bytes())) {
                    found.add(terms.term(), live.frequency(terms));
                    if !terms.advance() {
                        break;
                    }
                }
            }
        }
        found.first(MAX_COMPLETIONS)
    }

    /// The terms a word may be a misspelling of.
    fn repairs(&self, word: &str) -> Vec<(String, u64)> {
        let mut found = Frequencies::default();
        if tolerance(word) > 0 {
            let letters = Letters::of(word.bytes());
            for live in &self.live {
                for terms in live.segment.terms_near(letters, tolerance(word)) {
                    if terms.term() >= FIRST_WORD && errors(word, terms.term()).is_some() {
                        found.add(terms.term(), live.frequency(&terms));
                    }
                }
            }
        }
        found.first(MAX_REPAIRS)
    }

    /// The names a query of one word may be a misspelling of: the fewest errors first, then the most depended upon.
    fn names_like(&self, folded_query: &str) -> Vec<String> {
        let mut found = BTreeMap::new();
        if tolerance(folded_query) == 0 {
            return Vec::new();
        }
        let letters = Letters::of(folded_query.bytes());
        for live in &self.live {
            for ix in live.segment.names_near(letters, tolerance(folded_query)).filter(|&ix| !live.dead.contains(ix)) {
                let name: Vec<u8> = folded(live.segment.name(ix)).collect();
                if let Some(errors) = errors(folded_query, &name) {
                    let dependents = found.entry((errors, name)).or_insert(0u64);
                    *dependents += u64::from(self.dependents(live.segment.fingerprint(ix)));
                }
            }
        }
        let mut found: Vec<_> = found.into_iter().collect();
        found.sort_by_key(|((errors, _), dependents)| (*errors, Reverse(*dependents)));
        let names = found.into_iter().take(MAX_NAMES).filter_map(|((_, name), _)| String::from_utf8(name).ok());
        names.collect()
    }
}

/// Leaves out the most frequent words of a query, as far as all of them would take too long; the rarest always stays.
fn keep_rarest(meanings: &mut Vec<Meaning>) {
    let of_words = meanings.chunk_by(|a, b| a.word == b.word);
    let mut words: Vec<(u64, u32)> =
        of_words.map(|of| (of.iter().map(|meaning| meaning.documents).sum(), of[0].word)).collect();
    words.sort_unstable();
    let mut postings = 0;
    let fits = |&(documents, word): &(u64, u32)| {
        postings += documents;
        (postings <= MAX_POSTINGS || postings == documents).then_some(word)
    };
    let kept: Vec<u32> = words.iter().map_while(fits).collect();
    meanings.retain(|meaning| kept.contains(&meaning.word));
}

impl Live {
    /// Documents alive that have the term.
    fn frequency(&self, terms: &Terms<'_>) -> u64 {
        if self.dead.is_empty() {
            return terms.documents().into();
        }
        terms.postings().filter(|posting| !self.dead.contains(posting.document)).count() as u64
    }
}

/// Document frequencies of terms, summed over segments.
#[derive(Debug, Default)]
struct Frequencies(Vec<(Vec<u8>, u64)>);

impl Frequencies {
    fn add(&mut self, term: &[u8], documents: u64) {
        self.0.push((term.to_vec(), documents));
    }

    /// The most frequent first, then in ascending order of term.
    fn first(mut self, count: usize) -> Vec<(String, u64)> {
        self.0.sort_unstable();
        let runs = self.0.chunk_by(|(a, _), (b, _)| a == b);
        let mut sums: Vec<_> = runs.map(|run| (&run[0].0, run.iter().map(|(_, df)| df).sum::<u64>())).collect();
        sums.retain(|(_, df)| *df > 0);
        sums.sort_by_key(|&(_, df)| Reverse(df));
        let texts = sums.into_iter().take(count);
        texts.filter_map(|(term, df)| Some((String::from_utf8(term.clone()).ok()?, df))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_frequent_words_are_left_out_of_a_query_that_takes_too_long() {
        let kept = |documents: &[u64]| {
            let meaning = |(word, &documents)| Meaning { word, term: String::new(), documents };
            let mut meanings: Vec<_> = (0..).zip(documents).map(meaning).collect();
            keep_rarest(&mut meanings);
            meanings.into_iter().map(|meaning| meaning.word).collect::<Vec<_>>()
        };
        assert_eq!(kept(&[MAX_POSTINGS / 2, 7, MAX_POSTINGS / 2 - 7]), [0, 1, 2]);
        assert_eq!(kept(&[MAX_POSTINGS / 2 + 1, 7, MAX_POSTINGS / 2 - 7]), [1, 2]);
        assert_eq!(kept(&[MAX_POSTINGS + 2, MAX_POSTINGS + 1]), [1]);
        assert_eq!(kept(&[]), []);
    }
}
