//! What the ranking needs to know of a catalogue, so that whoever has a release but no catalogue can score it.

use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::search::score;
use crate::search::spell;

/// A catalogue, as far as one query goes.
///
/// A node with an index answers with `Index::statistics`. A node without one asks several peers, and makes up its mind
/// what to believe; nothing in here can break [`score_release`](crate::search::score_release), only rank badly.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Statistics {
    /// Packages.
    pub documents: u64,
    /// Terms in each field of all of them: name, keywords, summary, description, labels.
    pub lengths: [u64; score::FIELDS],
    /// Terms to look for, at most [`MAX_MEANINGS`] for a word of the query.
    pub meanings: Vec<Meaning>,
    /// Packages whose name has just the letters and digits of the query.
    pub named: u64,
    /// Packages whose name begins with the letters and digits of the query.
    pub begun: u64,
    /// Names, by letters and digits alone, that a query of one word may be a misspelling of; at most [`MAX_NAMES`].
    pub names: Vec<String>,
}

/// An indexed term that a word of a query may stand for.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Meaning {
    /// Which word, counted from 0.
    pub word: u32,
    /// The term.
    pub term: String,
    /// Packages that have it.
    pub documents: u64,
}

/// Terms that one word may stand for.
pub const MAX_MEANINGS: usize = 12;
/// Names that one query may stand for, other than its own.
pub const MAX_NAMES: usize = 4;

/// How a term answers to a word.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Relation {
    /// It is the word.
    Same,
    /// It begins with the query's last word.
    Completion,
    /// So many typing errors lie between them.
    Repair(usize),
}

/// How a term answers to a word; `None` when it does not, whoever says so.
///
/// `beginning`: what the term may begin with too, when the word is the query's last one.
pub(super) fn relation(word: &str, beginning: Option<&String>, term: &str) -> Option<Relation> {
    if word == term {
        Some(Relation::Same)
    } else if beginning.is_some_and(|beginning| term.starts_with(beginning.as_str())) {
        Some(Relation::Completion)
    } else {
        spell::errors(word, term.as_bytes()).map(Relation::Repair)
    }
}
