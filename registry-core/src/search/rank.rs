//! Finding the best documents of a query.
//!
//! Each segment is worked off term by term into one number per document; then the best are picked by a total order. No
//! document is left out by a guess: what is skipped could not have come first.

use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::vec::Vec;
use core::cmp::{Ordering, Reverse};

use crate::id::PublisherId;
use crate::search::bits::Bits;
use crate::search::index::{Index, Live};
use crate::search::plan::{Found, Plan, PlannedWord};
use crate::search::query::{Clause, ParsedQuery};
use crate::search::segment::{DocumentIx, Key, Posting};
use crate::search::statistics::Statistics;
use crate::search::terms::{self, FIELD_NAME};

/// Terms of phrases that are looked up; whether the others are there too, the text shows.
const MAX_PHRASE_TERMS: usize = 8;

/// A document that was found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Match {
    /// Whose release it is.
    pub publisher: PublisherId,
    /// Where in the publisher's log it stands.
    pub position: u64,
    /// Its score.
    pub score: u64,
    /// Packages that depend on it.
    pub dependents: u32,
}

#[derive(Clone, Copy)]
struct Candidate<'a> {
    score: u64,
    live: &'a Live,
    document: DocumentIx,
}

impl<'a> Candidate<'a> {
    fn order(&self) -> (Reverse<u64>, Key<'a>) {
        (Reverse(self.score), self.live.segment.key(self.document))
    }

    fn cmp(&self, other: &Self) -> Ordering {
        other.score.cmp(&self.score).then_with(|| self.order().1.cmp(&other.order().1))
    }
}

impl Index {
    /// The best `limit` documents, the best first; of equal ones in the order of name, then publisher. Of a phrase, only
    /// that all of its words are there is certain: whoever has the text must look.
    pub fn search(&self, query: &ParsedQuery, statistics: &Statistics, limit: usize) -> Vec<Match> {
        let plan = Plan::new(&self.ranking, query, statistics);
        let mut best: Vec<Candidate<'_>> = Vec::new();
        for live in &self.live {
            self.collect(live, query, &plan, limit, &mut best);
        }
        prune(&mut best, limit);
        best.sort_unstable_by(Candidate::cmp);
        best.iter().map(|candidate| self.matched(candidate)).collect()
    }

    fn matched(&self, candidate: &Candidate<'_>) -> Match {
        let document = candidate.live.segment.document(candidate.document);
        let dependents = self.dependents(document.fingerprint);
        let publisher = document.key.publisher;
        Match { publisher, position: document.position, score: candidate.score, dependents }
    }

    fn collect<'a>(
        &self,
        live: &'a Live,
        query: &ParsedQuery,
        plan: &Plan<'_>,
        limit: usize,
        best: &mut Vec<Candidate<'a>>,
    ) {
        let Some(admitted) = live.admitted(query) else { return };
        let mut found = alloc::vec![Found::default(); live.segment.documents() as usize];
        plan.words.iter().for_each(|word| live.add_word(plan, word, &mut found));
        let names = live.names(plan, query);
        let all = query.words.is_empty();
        // Candidates below the worst of the best so far need not be kept.
        let mut floor = 0;
        let mut names = names.into_iter().peekable();
        for (document, found) in (0..).zip(found) {
            let name = names.next_if(|(ix, _)| *ix == document).map_or(0, |(_, gives)| gives);
            if !all && found.text + name == 0 || live.dead.contains(document) || !admitted.contains(document) {
                continue;
            }
            if plan.most(found, name) < floor {
                continue;
            }
            let popularity = self.popularity(live.segment.fingerprint(document));
            let score = plan.total(found, name, popularity);
            if score >= floor {
                best.push(Candidate { score, live, document });
            }
            if best.len() >= 4 * limit.max(64) {
                floor = prune(best, limit);
            }
        }
    }
}

/// Keeps the best; returns what is needed to belong to them.
fn prune(best: &mut Vec<Candidate<'_>>, limit: usize) -> u64 {
    if limit == 0 || best.len() <= limit {
        best.truncate(limit);
        return 0;
    }
    best.select_nth_unstable_by(limit - 1, Candidate::cmp);
    best.truncate(limit);
    best[limit - 1].score
}

/// The documents that meet a query's conditions.
enum Admitted {
    All,
    These(Bits),
}

impl Admitted {
    fn contains(&self, ix: DocumentIx) -> bool {
        match self {
            Self::All => true,
            Self::These(bits) => bits.contains(ix),
        }
    }
}

impl Live {
    /// Adds what a word gives to each document that has it; of several terms the one that gives most.
    fn add_word(&self, plan: &Plan<'_>, word: &PlannedWord<'_>, found: &mut [Found]) {
        let mut gives: Vec<(DocumentIx, u64)> = Vec::new();
        for meaning in &word.meanings {
            let Some(terms) = self.segment.find_term(meaning.term) else { continue };
            let score = |posting: Posting| {
                let lengths = self.segment.lengths(posting.document);
                (posting.document, plan.term(meaning, posting.frequencies, lengths))
            };
            if let [_] = word.meanings[..] {
                terms.postings().map(score).for_each(|given| add(found, given, word.idf));
            } else {
                gives.extend(terms.postings().map(score));
            }
        }
        gives.sort_unstable_by_key(|&(document, score)| (document, Reverse(score)));
        gives.dedup_by_key(|(document, _)| *document);
        gives.into_iter().for_each(|given| add(found, given, word.idf));
    }

    /// The documents that the query names or begins to name, in ascending order, and what that gives.
    fn names(&self, plan: &Plan<'_>, query: &ParsedQuery) -> Vec<(DocumentIx, u64)> {
        if query.folded.is_empty() {
            return Vec::new();
        }
        let mut found: Vec<DocumentIx> = self.segment.begun(&query.folded).0.collect();
        found.extend(plan.names.iter().flat_map(|(name, _)| self.segment.begun(name).1));
        found.sort_unstable();
        found.dedup();
        found.into_iter().map(|ix| (ix, plan.name(self.segment.name(ix)))).collect()
    }

    /// `None` when no document can meet the conditions.
    fn admitted<'q>(&self, query: &'q ParsedQuery) -> Option<Admitted> {
        let of_phrases = query.required.iter().filter_map(Clause::phrase).flatten().take(MAX_PHRASE_TERMS);
        let certain = |clauses: &'q [Clause]| clauses.iter().filter(|clause| clause.phrase().is_none());
        let required = of_phrases
            .map(|term| self.with_term(term, |_| true))
            .chain(certain(&query.required).map(|clause| self.documents_of(clause)));
        let mut admitted: Option<Bits> = None;
        for mut these in required {
            if let Some(before) = &admitted {
                these.intersect(before);
            }
            if these.is_empty() {
                return None;
            }
            admitted = Some(these);
        }
        for clause in certain(&query.excluded) {
            admitted.get_or_insert_with(|| self.all()).subtract(&self.documents_of(clause));
        }
        match admitted {
            Some(bits) if bits.is_empty() => None,
            Some(bits) => Some(Admitted::These(bits)),
            None => Some(Admitted::All),
        }
    }

    fn all(&self) -> Bits {
        (0..self.segment.documents()).collect()
    }

    /// The documents a condition holds of; of a phrase, those that have all of its terms.
    fn documents_of(&self, clause: &Clause) -> Bits {
        match clause {
            Clause::Phrase(terms) => self.with_terms(terms, |_| true),
            Clause::Name(terms) => self.with_terms(terms, |posting| posting.frequencies[FIELD_NAME] > 0),
            Clause::Category(category) => self.with_term(&terms::marked(terms::CATEGORY, category), |_| true),
            Clause::Tag(tag) => self.with_term(&terms::marked(terms::TAG, tag), |_| true),
            Clause::Publisher(publisher) => self.segment.published_by(*publisher).collect(),
        }
    }

    fn with_terms(&self, terms: &[String], fits: impl Fn(&Posting) -> bool) -> Bits {
        let terms: BTreeSet<&String> = terms.iter().collect();
        let mut terms = terms.into_iter().map(|term| self.with_term(term, &fits));
        let mut all = terms.next().unwrap_or_default();
        while !all.is_empty()
            && let Some(these) = terms.next()
        {
            all.intersect(&these);
        }
        all
    }

    fn with_term(&self, term: &str, fits: impl Fn(&Posting) -> bool) -> Bits {
        let postings = self.segment.find_term(term).into_iter().flat_map(|terms| terms.postings());
        postings.filter(fits).map(|posting| posting.document).collect()
    }
}

fn add(found: &mut [Found], (document, score): (DocumentIx, u64), idf: u64) {
    if let Some(found) = found.get_mut(document as usize) {
        found.text += score;
        found.idf += idf;
    }
}
