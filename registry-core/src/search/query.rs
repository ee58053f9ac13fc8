//! What people type into a search box.
//!
//! ```text
//! query   = { [ "-" ] clause }
//! clause  = word | '"' words '"' | field ":" value
//! field   = "category" | "tag" | "publisher" | "name"
//! value   = text without blanks | '"' text '"'
//! ```
//!
//! Words rank, and a package needs one of them; everything else is a condition. `-` turns a clause into a condition that
//! must not hold. Whatever fits nothing here is text: an unknown `field:`, a field without a value, a lone `-`. A quote
//! that is not closed ends with the query.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::cell::OnceCell;
use core::fmt;

use crate::catalog::Release;
use crate::id::PublisherId;
use crate::search::terms::{self, FIELD_NAME};

/// Words and conditions of a query that count; nobody types more.
const MAX_CLAUSES: usize = 32;

/// A search, as it is asked and sent.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Query {
    /// Words and conditions in the syntax of the module `search::query`. Without words, all packages that meet the
    /// conditions are found, the most depended upon first.
    pub text: String,
    /// At most so many results.
    pub limit: usize,
    /// Only this category; like tags, equal to the letter.
    pub category: Option<String>,
    /// Only packages with all of these tags.
    pub tags: Vec<String>,
    /// Only this publisher's.
    pub publisher: Option<PublisherId>,
}

/// A query taken apart.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ParsedQuery {
    /// What ranks, in order, each term once.
    pub words: Vec<Word>,
    /// What must hold.
    pub required: Vec<Clause>,
    /// What must not.
    pub excluded: Vec<Clause>,
    /// Letters and digits of all words together, to be compared with those of a name.
    pub(super) folded: String,
}

/// A word of a query.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Word {
    /// As typed, in lower case.
    pub text: String,
    /// As indexed.
    pub term: String,
}

impl Word {
    pub(super) fn looked_for(&self, stemming: bool) -> &str {
        if stemming { &self.term } else { &self.text }
    }
}

/// A condition on a package.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Clause {
    /// One of its texts has these terms one after the other; more than one term only from quotes.
    Phrase(Vec<String>),
    /// Its category is this, to the letter.
    Category(String),
    /// It has this tag, to the letter.
    Tag(String),
    /// It is this publisher's.
    Publisher(PublisherId),
    /// Its name has all of these terms.
    Name(Vec<String>),
}

/// Why a query makes no sense.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum QueryError {
    /// `publisher:` with something that is no publisher's id.
    Publisher(String),
}

impl fmt::Display for QueryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Publisher(text) => write!(f, "{text:?} is no publisher's id"),
        }
    }
}

impl core::error::Error for QueryError {}

impl ParsedQuery {
    /// Takes a query apart.
    ///
    /// # Errors
    /// Only where nothing sensible can be done.
    pub fn new(query: &Query) -> Result<Self, QueryError> {
        let mut parsed = Self::default();
        let mut rest = query.text.as_str();
        while let Some(piece) = Piece::cut(&mut rest) {
            parsed.add(&piece)?;
        }
        parsed.required.extend(query.category.clone().map(Clause::Category));
        parsed.required.extend(query.tags.iter().cloned().map(Clause::Tag));
        parsed.required.extend(query.publisher.map(Clause::Publisher));
        Ok(parsed)
    }

    fn add(&mut self, piece: &Piece<'_>) -> Result<(), QueryError> {
        let clause = piece.clause()?;
        let conditions = if piece.negated { &mut self.excluded } else { &mut self.required };
        match clause {
            Some(clause) if conditions.len() == MAX_CLAUSES || conditions.contains(&clause) => {}
            Some(clause) => {
                if let (Clause::Phrase(_), false) = (&clause, piece.negated) {
                    self.add_words(piece.value);
                    self.required.push(clause);
                } else {
                    conditions.push(clause);
                }
            }
            None => self.add_words(piece.text),
        }
        Ok(())
    }

    fn add_words(&mut self, text: &str) {
        self.folded.push_str(&terms::fold(text));
        for text in terms::split(text) {
            let term = terms::term(&text);
            if self.words.len() < MAX_CLAUSES && self.words.iter().all(|word| word.term != term) {
                self.words.push(Word { text, term });
            }
        }
    }

    /// Must a text be read to know whether a package is found?
    pub(crate) fn has_phrase(&self) -> bool {
        self.required.iter().chain(&self.excluded).any(|clause| clause.phrase().is_some())
    }

    /// Do all conditions hold of a release?
    pub(super) fn admits(&self, release: &Release) -> bool {
        let read = Read::new(release);
        self.required.iter().all(|clause| clause.holds(&read))
            && !self.excluded.iter().any(|clause| clause.holds(&read))
    }
}

impl Clause {
    /// The terms that must stand one after the other, when they are several: only the text shows whether they do.
    pub(super) fn phrase(&self) -> Option<&[String]> {
        match self {
            Self::Phrase(terms) if terms.len() > 1 => Some(terms),
            Self::Phrase(_) | Self::Category(_) | Self::Tag(_) | Self::Publisher(_) | Self::Name(_) => None,
        }
    }

    /// Does it hold of a release?
    fn holds(&self, read: &Read<'_>) -> bool {
        let meta = &read.release.meta;
        match self {
            Self::Phrase(phrase) => {
                read.texts().iter().any(|text| text.windows(phrase.len().max(1)).any(|run| run == phrase))
            }
            Self::Category(category) => meta.category == *category,
            Self::Tag(tag) => meta.tags.contains(tag),
            Self::Publisher(publisher) => read.release.publisher == *publisher,
            Self::Name(terms) => terms.iter().all(|term| read.terms().frequencies(term)[FIELD_NAME] > 0),
        }
    }
}

/// A release that conditions are held against, taken apart once for all of them.
struct Read<'a> {
    release: &'a Release,
    texts: OnceCell<Vec<Vec<String>>>,
    terms: OnceCell<terms::Terms>,
}

impl<'a> Read<'a> {
    fn new(release: &'a Release) -> Self {
        Self { release, texts: OnceCell::new(), terms: OnceCell::new() }
    }

    /// The terms of each text in their order.
    fn texts(&self) -> &[Vec<String>] {
        let terms = |(_, text)| terms::split(text).map(|word| terms::term(&word)).collect();
        self.texts.get_or_init(|| terms::texts(&self.release.meta).map(terms).collect())
    }

    fn terms(&self) -> &terms::Terms {
        self.terms.get_or_init(|| terms::Terms::of(&self.release.meta, true))
    }
}

/// A clause as it stands in the text.
struct Piece<'a> {
    negated: bool,
    /// All of it, without the `-`.
    text: &'a str,
    field: Option<&'a str>,
    value: &'a str,
    quoted: bool,
}

impl<'a> Piece<'a> {
    /// Cuts the first one off.
    fn cut(rest: &mut &'a str) -> Option<Self> {
        let all = rest.trim_start();
        let (negated, text) = match all.strip_prefix('-') {
            Some(text) if text.starts_with(|c: char| !c.is_whitespace()) => (true, text),
            Some(_) | None => (false, all),
        };
        let start = text.find(|c: char| c.is_whitespace() || c == '"' || c == ':').unwrap_or(text.len());
        let (field, after) = match text[start..].strip_prefix(':') {
            Some(after) => (Some(&text[..start]), after),
            None => (None, &text[if text[start..].starts_with('"') { start } else { 0 }..]),
        };
        let (value, quoted, left) = match after.strip_prefix('"') {
            Some(inner) => {
                let (value, left) = inner.split_once('"').unwrap_or((inner, ""));
                (value, true, left)
            }
            None => {
                let end = after.find(|c: char| c.is_whitespace() || field.is_none() && c == '"').unwrap_or(after.len());
                (&after[..end], false, &after[end..])
            }
        };
        if all.is_empty() {
            return None;
        }
        // A word right before a quote is a clause of its own.
        if field.is_none() && quoted && start > 0 {
            *rest = &text[start..];
            return Some(Self { negated, text: &text[..start], field: None, value: &text[..start], quoted: false });
        }
        *rest = left;
        let text = &text[..text.len() - left.len()];
        Some(Self { negated, text, field, value, quoted })
    }

    /// What it demands; `None` when it is text that ranks.
    fn clause(&self) -> Result<Option<Clause>, QueryError> {
        let value = self.value.to_string();
        Ok(match (self.field, self.value.trim()) {
            (Some("category"), text) if !text.is_empty() => Some(Clause::Category(value)),
            (Some("tag"), text) if !text.is_empty() => Some(Clause::Tag(value)),
            (Some("publisher"), text) if !text.is_empty() => {
                Some(Clause::Publisher(PublisherId::parse(text).ok_or(QueryError::Publisher(value))?))
            }
            (Some("name"), text) if !text.is_empty() => some_terms(text).map(Clause::Name),
            (None, text) if self.quoted => some_terms(text).map(Clause::Phrase),
            (_, _) if self.negated => some_terms(self.text).map(Clause::Phrase),
            (_, _) => None,
        })
    }
}

fn some_terms(text: &str) -> Option<Vec<String>> {
    let terms: Vec<_> = terms::split(text).map(|word| terms::term(&word)).collect();
    (!terms.is_empty()).then_some(terms)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Digest;
    use alloc::format;

    fn parse(text: &str) -> ParsedQuery {
        ParsedQuery::new(&Query { text: text.into(), ..Query::default() }).unwrap()
    }

    fn words(text: &str) -> Vec<String> {
        parse(text).words.into_iter().map(|word| word.text).collect()
    }

    fn terms(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| word.to_string()).collect()
    }

    #[test]
    fn words_rank() {
        assert_eq!(words(" Image  viewers, viewer "), ["image", "viewers"]);
        assert_eq!(parse("Foo::Bar").folded, "foobar");
        assert_eq!(parse("").words, []);
    }

    #[test]
    fn fields_are_conditions() {
        let publisher = PublisherId(Digest::of(b"publisher"));
        let parsed =
            parse(&format!("x category:net tag:\"a b\" tag:works-with::image publisher:{publisher} name:foo-bar"));
        assert_eq!(parsed.words.len(), 1);
        assert_eq!(
            parsed.required,
            [
                Clause::Category("net".into()),
                Clause::Tag("a b".into()),
                Clause::Tag("works-with::image".into()),
                Clause::Publisher(publisher),
                Clause::Name(terms(&["foo", "bar"])),
            ]
        );
        let of_request = Query { text: "x".into(), tags: terms(&["a"]), ..Query::default() };
        assert_eq!(ParsedQuery::new(&of_request).unwrap().required, [Clause::Tag("a".into())]);
    }

    #[test]
    fn quotes_make_phrases_and_a_dash_takes_away() {
        let parsed = parse("viewer \"png images\" -\"big file\" -slow -tag:x");
        assert_eq!(parsed.words.len(), 3);
        assert_eq!(parsed.required, [Clause::Phrase(terms(&["png", "imag"]))]);
        let excluded = [&["big", "file"][..], &["slow"]].map(|words| Clause::Phrase(terms(words)));
        assert_eq!(parsed.excluded, [&excluded[..], &[Clause::Tag("x".into())]].concat());
    }

    #[test]
    fn what_fits_nothing_is_text() {
        assert_eq!(words("std::vector a:b - tag: \"\""), ["std", "vector", "a", "b", "tag"]);
        assert_eq!(words("nothing:\"x y\""), ["nothing", "x", "y"]);
        assert_eq!(words("-- c++"), ["c"]);
        assert_eq!(parse("say \"never closed").required, [Clause::Phrase(terms(&["never", "clos"]))]);
        assert_eq!(parse("a\"b c\"d").words.len(), 4);
        let wrong = Query { text: "publisher:nobody".into(), ..Query::default() };
        assert_eq!(ParsedQuery::new(&wrong), Err(QueryError::Publisher("nobody".into())));
    }
}
