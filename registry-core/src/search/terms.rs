//! Text to terms.
//!
//! A term is a run of letters and digits (Unicode) in lower case, cut after 64 bytes. The lower-case name of a package
//! is a term as a whole too, as is a whole word of a query, so that `serde_json` finds itself before `serde` and `json`.

use alloc::collections::BTreeMap;
use alloc::string::String;

use crate::catalog::NewRelease;
use crate::search::score::FIELDS;

/// Longer runs are identifiers or encoded data, which nobody types to the end.
const MAX_TERM: usize = 64;

/// What a document consists of, as the index sees it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Terms {
    /// How often each stands in each field; 255 is that or more.
    pub(super) frequencies: BTreeMap<String, [u8; FIELDS]>,
    pub(super) lengths: [u16; FIELDS],
}

impl Terms {
    pub(super) fn of(meta: &NewRelease) -> Self {
        let mut terms = Self::default();
        let name = meta.name.as_str();
        terms.add(0, name);
        meta.keywords.iter().for_each(|keyword| terms.add(1, keyword));
        terms.add(2, &meta.summary);
        terms.add(3, &meta.description);
        terms.frequencies.entry(name.to_lowercase()).or_insert([1, 0, 0, 0]);
        terms
    }

    fn add(&mut self, field: usize, text: &str) {
        for term in split(text) {
            let frequency = &mut self.frequencies.entry(term).or_default()[field];
            *frequency = frequency.saturating_add(1);
            self.lengths[field] = self.lengths[field].saturating_add(1);
        }
    }
}

/// The terms of a text, in their order.
pub(super) fn split(text: &str) -> impl Iterator<Item = String> + '_ {
    let runs = text.split(|c: char| !c.is_alphanumeric()).filter(|run| !run.is_empty());
    runs.map(|run| {
        let mut term = run.to_lowercase();
        term.truncate(term.floor_char_boundary(MAX_TERM));
        term
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    #[test]
    fn text_is_split_at_everything_but_letters_and_digits() {
        let terms = |text| split(text).collect::<Vec<_>>();
        assert_eq!(terms("Fast, zero-copy (de)serialization!"), ["fast", "zero", "copy", "de", "serialization"]);
        assert_eq!(terms("Grüße ÉTÉ 日本 x86_64"), ["grüße", "été", "日本", "x86", "64"]);
        assert_eq!(terms(" -- "), [""; 0]);
        assert_eq!(terms(&"é".repeat(50)), ["é".repeat(32)]);
    }
}
