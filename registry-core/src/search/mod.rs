//! The local index: BM25F over name, keywords, summary and description, in integers.
//!
//! The `score` module has the formula, `terms` says what a term is. A query finds every package that has any of its
//! terms; when nothing is indexed under the last one, it stands for the terms it is the beginning of.

mod score;
mod terms;

#[cfg(test)]
mod tests;

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cmp::Reverse;

use crate::catalog::{Name, ReleaseInfo};
use crate::id::PublisherId;
use crate::search::score::{Corpus, FIELDS, Scorer, label};
use crate::search::terms::Terms;

/// Terms of a query that count; nobody types more.
const MAX_QUERY_TERMS: usize = 32;
/// Terms that the beginning of a word stands for: the first in order, enough to show that there is something.
const MAX_EXPANSIONS: usize = 16;
/// The field of a [`ScorePart`] that the whole name gave.
const EXACT_NAME: &str = "exact name";

/// A search.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Query {
    /// Words. Without any, all packages that pass the filters are found, in the order of their names.
    pub text: String,
    /// At most so many results, 1 to 1,000.
    pub limit: usize,
    /// Only this category; like tags, equal to the letter.
    pub category: Option<String>,
    /// Only packages with all of these tags.
    pub tags: Vec<String>,
    /// Only this publisher's.
    pub publisher: Option<PublisherId>,
}

/// What a search found, best first, then by name, then by publisher: a total order, independent of the order of arrival.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SearchPage {
    /// The hits.
    pub hits: Vec<Hit>,
    /// Nothing that should have been asked was left out.
    pub complete: bool,
}

/// One result: the highest version of a package.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hit {
    /// What.
    pub release: Arc<ReleaseInfo>,
    /// Millionths of a BM25F point.
    pub score: u64,
    /// What each (field, term) gave, in the same unit; they add up to the score.
    pub parts: Vec<ScorePart>,
}

/// One part of a score.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ScorePart {
    /// The query's term as indexed.
    pub term: String,
    /// Where it stood: a field, or `exact name` for what a query gives that is the package's name.
    pub field: &'static str,
    /// What it gave.
    pub score: u64,
}

/// Incremental inverted index; one document per package (its highest version).
#[derive(Debug, Default)]
pub(crate) struct Index {
    documents: Vec<Document>,
    packages: BTreeMap<(Name, PublisherId), DocumentId>,
    postings: BTreeMap<String, Vec<Posting>>,
    corpus: Corpus,
}

/// Position in `Index::documents`.
type DocumentId = u32;

#[derive(Debug)]
struct Document {
    release: Arc<ReleaseInfo>,
    lengths: [u16; FIELDS],
}

/// A term's occurrences in one document; a list of them is in ascending order of document.
#[derive(Clone, Copy, Debug)]
struct Posting {
    document: DocumentId,
    frequencies: [u8; FIELDS],
}

/// A term of a query: its posting list and weight.
struct QueryTerm<'a> {
    text: &'a str,
    postings: &'a [Posting],
    idf: u64,
}

impl Index {
    /// Adds the release, or replaces its package's earlier version by it.
    pub(crate) fn insert(&mut self, release: &Arc<ReleaseInfo>) {
        let package = (release.release.meta.name.clone(), release.release.publisher);
        match self.packages.get(&package) {
            Some(&id) if release.cmp_version(&self.document(id).release).is_gt() => self.replace(id, release),
            Some(_) => {}
            None => self.add(package, release),
        }
    }

    /// Packages indexed.
    pub(crate) fn len(&self) -> usize {
        self.documents.len()
    }

    pub(crate) fn search(&self, query: &Query) -> SearchPage {
        let text = query.text.trim();
        let hits = if text.is_empty() { self.list(query) } else { self.rank(text, query) };
        SearchPage { hits, complete: true }
    }

    fn add(&mut self, package: (Name, PublisherId), release: &Arc<ReleaseInfo>) {
        let terms = Terms::of(&release.release.meta);
        let id = self.documents.len() as DocumentId;
        self.packages.insert(package, id);
        self.documents.push(Document { release: release.clone(), lengths: terms.lengths });
        self.corpus.documents += 1;
        self.count(&terms.lengths, u64::saturating_add);
        terms.frequencies.into_iter().for_each(|(term, frequencies)| self.post(term, id, frequencies));
    }

    fn replace(&mut self, id: DocumentId, release: &Arc<ReleaseInfo>) {
        let terms = Terms::of(&release.release.meta);
        let old = Terms::of(&self.document(id).release.release.meta);
        self.documents[id as usize] = Document { release: release.clone(), lengths: terms.lengths };
        self.count(&old.lengths, u64::saturating_sub);
        self.count(&terms.lengths, u64::saturating_add);
        let gone = old.frequencies.keys().filter(|term| !terms.frequencies.contains_key(*term));
        gone.for_each(|term| self.unpost(term, id));
        terms.frequencies.into_iter().for_each(|(term, frequencies)| self.post(term, id, frequencies));
    }

    fn count(&mut self, lengths: &[u16; FIELDS], change: fn(u64, u64) -> u64) {
        for (total, &length) in self.corpus.lengths.iter_mut().zip(lengths) {
            *total = change(*total, u64::from(length));
        }
    }

    fn post(&mut self, term: String, document: DocumentId, frequencies: [u8; FIELDS]) {
        let list = self.postings.entry(term).or_default();
        let posting = Posting { document, frequencies };
        match list.binary_search_by_key(&document, |posting| posting.document) {
            Ok(at) => list[at] = posting,
            Err(at) => list.insert(at, posting),
        }
    }

    fn unpost(&mut self, term: &str, document: DocumentId) {
        if let Some(list) = self.postings.get_mut(term) {
            list.retain(|posting| posting.document != document);
            if list.is_empty() {
                self.postings.remove(term);
            }
        }
    }

    fn document(&self, id: DocumentId) -> &Document {
        &self.documents[id as usize]
    }

    fn list(&self, query: &Query) -> Vec<Hit> {
        let releases = self.packages.values().map(|&id| &self.document(id).release);
        let found = releases.filter(|release| passes(query, release)).take(query.limit);
        found.map(|release| Hit { release: release.clone(), score: 0, parts: Vec::new() }).collect()
    }

    fn rank(&self, text: &str, query: &Query) -> Vec<Hit> {
        let scorer = Scorer::new(&self.corpus);
        let terms = self.query_terms(&scorer, text);
        let whole_name = text.to_lowercase();
        let mut scores = alloc::vec![0u64; self.documents.len()];
        for term in &terms {
            for posting in term.postings {
                let document = self.document(posting.document);
                let parts = scorer.parts(term.idf, posting.frequencies, document.lengths);
                scores[posting.document as usize] += parts.iter().sum::<u64>();
            }
        }
        for posting in self.postings.get(&whole_name).into_iter().flatten() {
            if self.document(posting.document).is_named(&whole_name) {
                scores[posting.document as usize] += scorer.exact_name();
            }
        }
        let candidates =
            (0..).zip(scores).filter(|&(id, score)| score > 0 && passes(query, &self.document(id).release));
        let best = self.best(candidates.collect(), query.limit);
        best.into_iter().map(|(id, score)| self.explain(&scorer, &terms, &whole_name, id, score)).collect()
    }

    /// The first `limit` in the order of results.
    fn best(&self, mut found: Vec<(DocumentId, u64)>, limit: usize) -> Vec<(DocumentId, u64)> {
        let rank = |&(id, score): &(DocumentId, u64)| {
            let release = &self.document(id).release.release;
            (Reverse(score), &release.meta.name, release.publisher)
        };
        if limit < found.len() {
            found.select_nth_unstable_by(limit, |a, b| rank(a).cmp(&rank(b)));
            found.truncate(limit);
        }
        found.sort_unstable_by(|a, b| rank(a).cmp(&rank(b)));
        found
    }

    fn explain(&self, scorer: &Scorer, terms: &[QueryTerm<'_>], whole_name: &str, id: DocumentId, score: u64) -> Hit {
        let document = self.document(id);
        let mut parts = Vec::new();
        for term in terms {
            let Ok(at) = term.postings.binary_search_by_key(&id, |posting| posting.document) else { continue };
            let gave = scorer.parts(term.idf, term.postings[at].frequencies, document.lengths);
            let named = gave.into_iter().enumerate().filter(|&(_, score)| score > 0);
            parts.extend(named.map(|(field, score)| ScorePart { term: term.text.into(), field: label(field), score }));
        }
        if document.is_named(whole_name) {
            parts.push(ScorePart { term: whole_name.into(), field: EXACT_NAME, score: scorer.exact_name() });
        }
        Hit { release: document.release.clone(), score, parts }
    }

    /// The terms of a query that are indexed, in their order, each once.
    fn query_terms(&self, scorer: &Scorer, text: &str) -> Vec<QueryTerm<'_>> {
        let whole_words = text.split_whitespace().map(str::to_lowercase).take(MAX_QUERY_TERMS);
        let words = terms::split(text).take(MAX_QUERY_TERMS).chain(whole_words);
        let mut found: BTreeMap<_, _> = words.filter_map(|word| self.postings.get_key_value(&word)).collect();
        if let Some(last) = terms::split(text).last()
            && !self.postings.contains_key(&last)
        {
            let begun = self.postings.range(last.clone()..).take_while(|(term, _)| term.starts_with(&last));
            found.extend(begun.take(MAX_EXPANSIONS));
        }
        let found = found.into_iter();
        found.map(|(text, postings)| QueryTerm { text, postings, idf: scorer.idf(postings.len()) }).collect()
    }
}

impl Document {
    fn is_named(&self, name: &str) -> bool {
        self.release.release.meta.name.as_str().eq_ignore_ascii_case(name)
    }
}

fn passes(query: &Query, release: &ReleaseInfo) -> bool {
    let meta = &release.release.meta;
    query.category.as_ref().is_none_or(|category| *category == meta.category)
        && query.tags.iter().all(|tag| meta.tags.contains(tag))
        && query.publisher.is_none_or(|publisher| publisher == release.release.publisher)
}
