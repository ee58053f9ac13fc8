//! A query and a catalogue's statistics put together: what scores a document, wherever it comes from.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::catalog::Release;
use crate::search::ScorePart;
use crate::search::query::ParsedQuery;
use crate::search::score::{self, FIELDS, Popularity, Ranking, Scorer};
use crate::search::spell;
use crate::search::statistics::{MAX_MEANINGS, MAX_NAMES, Relation, Statistics, relation};
use crate::search::terms::{Length, Terms, folded};

/// What ranks the documents of one query.
#[derive(Debug)]
pub(super) struct Plan<'a> {
    scorer: Scorer<'a>,
    query: &'a ParsedQuery,
    pub(super) words: Vec<PlannedWord<'a>>,
    /// The sum of the words' `idf`.
    all: u64,
    /// What a name gives that is the query.
    named: u64,
    /// What a name gives that begins with the query.
    begun: u64,
    /// Names that may be meant, and what each gives.
    pub(super) names: Vec<(&'a str, u64)>,
}

/// A word of the query that something is indexed under.
#[derive(Debug)]
pub(super) struct PlannedWord<'a> {
    pub(super) meanings: Vec<PlannedTerm<'a>>,
    /// What a document that has it has of the query.
    pub(super) idf: u64,
}

#[derive(Debug)]
pub(super) struct PlannedTerm<'a> {
    pub(super) term: &'a str,
    /// `likeness * idf`
    pub(super) weight: u64,
}

/// What the words of a query give together in one document.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Found {
    pub(super) text: u64,
    /// The sum of the `idf` of those it has.
    pub(super) idf: u64,
}

impl<'a> Plan<'a> {
    pub(super) fn new(ranking: &'a Ranking, query: &'a ParsedQuery, statistics: &'a Statistics) -> Self {
        let scorer = Scorer::new(ranking, statistics.documents, &statistics.lengths);
        let mut words: Vec<PlannedWord<'a>> = Vec::new();
        for (at, word) in (0u32..).zip(&query.words) {
            let last = at as usize + 1 == query.words.len();
            let of_word = statistics.meanings.iter().filter(|meaning| meaning.word == at).take(MAX_MEANINGS);
            let meanings: Vec<_> = of_word
                .filter_map(|meaning| {
                    let likeness = likeness(
                        ranking,
                        relation(word.looked_for(ranking.stemming), last.then_some(&word.text), &meaning.term)?,
                    );
                    let weight = score::of(likeness, scorer.idf(meaning.documents));
                    Some(PlannedTerm { term: &meaning.term, weight })
                })
                .collect();
            if let Some(idf) = meanings.iter().map(|meaning| meaning.weight).max() {
                words.push(PlannedWord { meanings, idf });
            }
        }
        let meant = |name: &'a String| {
            let likeness = likeness(ranking, Relation::Repair(spell::errors(&query.folded, name.as_bytes())?));
            Some((name.as_str(), score::of(likeness, score::of(ranking.named, scorer.idf(1)))))
        };
        Self {
            all: words.iter().map(|word| word.idf).sum(),
            named: score::of(ranking.named, scorer.idf(statistics.named)),
            begun: score::of(ranking.begins, scorer.idf(statistics.begun)),
            names: statistics.names.iter().take(MAX_NAMES).filter_map(meant).collect(),
            words,
            query,
            scorer,
        }
    }

    /// What one term gives.
    pub(super) fn term(&self, term: &PlannedTerm<'_>, frequencies: [u8; FIELDS], lengths: [Length; FIELDS]) -> u64 {
        self.scorer.word(term.weight, frequencies, lengths)
    }

    /// What the query gives as a name.
    pub(super) fn name(&self, name: &str) -> u64 {
        let query = self.query.folded.as_bytes();
        let name = folded(name);
        if query.is_empty() {
            0
        } else if name.clone().eq(query.iter().copied()) {
            self.named
        } else {
            let begun = if starts_with(name.clone(), query) { self.begun } else { 0 };
            let meant = self.names.iter().filter(|(other, _)| name.clone().eq(other.bytes())).map(|&(_, gives)| gives);
            meant.max().unwrap_or(0).max(begun)
        }
    }

    /// The score.
    pub(super) fn total(&self, found: Found, name: u64, popularity: Popularity) -> u64 {
        found.text + self.extras(found, name, popularity).iter().map(|(_, score)| score).sum::<u64>()
    }

    /// More than this, whatever its popularity, a document cannot score.
    pub(super) fn most(&self, found: Found, name: u64) -> u64 {
        if self.query.words.is_empty() {
            return u64::MAX;
        }
        let Ranking { together, popular, .. } = self.scorer.ranking;
        score::of(100 + together + popular, found.text + name)
    }

    /// What a package gets beside the sum of its words.
    fn extras(&self, found: Found, name: u64, popularity: Popularity) -> [(&'static str, u64); 3] {
        let base = if self.query.words.is_empty() { score::MILLION } else { found.text + name };
        [
            ("whole name", name),
            ("all words", self.scorer.together(found.text, found.idf, self.all)),
            ("popularity", self.scorer.popular(base, popularity)),
        ]
    }

    /// The score of one release and its parts; `None` when the query does not find it.
    pub(super) fn score(&self, release: &Release, dependents: u32) -> Option<Scored> {
        if !self.query.admits(release) {
            return None;
        }
        let terms = Terms::of(&release.meta, self.scorer.ranking.stemming);
        let mut parts = Vec::new();
        let mut found = Found::default();
        for word in &self.words {
            let gives = |meaning: &&PlannedTerm<'_>| self.term(meaning, terms.frequencies(meaning.term), terms.lengths);
            let Some(best) = word.meanings.iter().max_by_key(gives) else { continue };
            let gives = self.scorer.parts(best.weight, terms.frequencies(best.term), terms.lengths);
            let text: u64 = gives.iter().sum();
            if text > 0 {
                found.text += text;
                found.idf += word.idf;
            }
            let part = |(field, score)| ScorePart { term: best.term.to_string(), field: score::label(field), score };
            parts.extend(gives.into_iter().enumerate().filter(|(_, score)| *score > 0).map(part));
        }
        let name = self.name(release.meta.name.as_str());
        if !self.query.words.is_empty() && found.text + name == 0 {
            return None;
        }
        let extras = self.extras(found, name, Popularity::new(dependents));
        let part = |(field, score)| ScorePart { term: String::new(), field, score };
        parts.extend(extras.into_iter().filter(|(_, score)| *score > 0).map(part));
        Some(Scored { score: parts.iter().map(|part| part.score).sum(), parts })
    }
}

fn likeness(ranking: &Ranking, relation: Relation) -> u64 {
    match relation {
        Relation::Same => 100,
        Relation::Completion => ranking.completion,
        Relation::Repair(errors) => ranking.repair.get(errors.saturating_sub(1)).copied().unwrap_or(0),
    }
}

fn starts_with(name: impl Iterator<Item = u8>, beginning: &[u8]) -> bool {
    name.take(beginning.len()).eq(beginning.iter().copied())
}

/// A score and what it is made of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Scored {
    /// The sum of the parts, in millionths.
    pub score: u64,
    /// Of the words in the order of the query, then of the rest.
    pub parts: Vec<ScorePart>,
}

/// Scores one release as [`Index`](super::Index) does, for a node that has received it with the statistics of peers.
///
/// The release must come from a verified statement. `dependents` is the number of packages that depend on its package;
/// it cannot be verified by who has no catalogue: take the median of what several peers say, or 0. `None` when the
/// query does not find the release: whoever sent it as a result is wrong.
///
/// Never fails, whatever the statistics say; equal arguments give equal scores on every node. Results are then ordered
/// as a [`SearchPage`](super::SearchPage) is.
pub fn score_release(
    query: &ParsedQuery,
    statistics: &Statistics,
    release: &Release,
    dependents: u32,
) -> Option<Scored> {
    Plan::new(&Ranking::DEFAULT, query, statistics).score(release, dependents)
}
