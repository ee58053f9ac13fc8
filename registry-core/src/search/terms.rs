//! Text to terms.
//!
//! A term is a run of letters and digits (Unicode) in lower case, cut after 64 bytes, without its inflection (`stem`).
//! A run in a name that mixes letters and digits, or begins with `lib`, also stands there without them: `python3` is
//! found by `python`, `libpng16` by `png`. A category and a tag as a whole are terms with a marker in front, which no
//! text can hold.

use alloc::string::String;
use alloc::vec::Vec;
use core::iter;

use crate::catalog::NewRelease;
use crate::search::score::FIELDS;
use crate::search::stem;

pub(super) const FIELD_NAME: usize = 0;
const FIELD_KEYWORDS: usize = 1;
const FIELD_SUMMARY: usize = 2;
const FIELD_DESCRIPTION: usize = 3;
const FIELD_LABELS: usize = 4;

/// Longer runs are identifiers or encoded data, which nobody types to the end.
const MAX_TERM: usize = 64;

/// In front of a category.
pub(super) const CATEGORY: char = '\u{1}';
/// In front of a tag.
pub(super) const TAG: char = '\u{2}';

/// What a document consists of, as the index sees it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Terms {
    /// In ascending order of term: how often each stands in each field; 255 is that or more.
    pub(super) list: Vec<(String, [u8; FIELDS])>,
    /// Terms of each field, as a [`Length`].
    pub(super) lengths: [Length; FIELDS],
}

/// A number of terms in one byte: exact up to 32, then by steps of at most a sixteenth, rounded down.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Length(pub(super) u8);

impl Length {
    fn new(terms: u32) -> Self {
        let terms = terms.min(u32::from(u16::MAX));
        if terms < 32 {
            return Self(terms as u8);
        }
        let shift = terms.ilog2() - 4;
        Self((16 + 16 * shift + (terms >> shift) - 16) as u8)
    }

    pub(super) fn terms(self) -> u64 {
        let code = u64::from(self.0);
        if code < 32 { code } else { (16 + code % 16) << (code / 16 - 1) }
    }
}

impl Terms {
    pub(super) fn of(meta: &NewRelease, stemming: bool) -> Self {
        let indexed = |word: String| if stemming { stemmed(word) } else { word };
        let mut found: Vec<(String, usize)> = Vec::new();
        let mut lengths = [0u32; FIELDS];
        for (field, text) in texts(meta) {
            for word in split(text) {
                lengths[field] += 1;
                if field == FIELD_NAME {
                    found.extend(inner_words(&word).map(|inner| (indexed(inner.into()), FIELD_NAME)));
                }
                found.push((indexed(word), field));
            }
        }
        found.push((marked(CATEGORY, &meta.category), FIELDS));
        found.extend(meta.tags.iter().map(|tag| (marked(TAG, tag), FIELDS)));
        found.sort_unstable();
        let mut list: Vec<(String, [u8; FIELDS])> = Vec::with_capacity(found.len());
        for (term, field) in found {
            if list.last().is_none_or(|(last, _)| *last != term) {
                list.push((term, [0; FIELDS]));
            }
            if let Some(count) = list.last_mut().and_then(|(_, frequencies)| frequencies.get_mut(field)) {
                *count = count.saturating_add(1);
            }
        }
        Self { list, lengths: lengths.map(Length::new) }
    }

    /// How often a term stands in each field.
    pub(super) fn frequencies(&self, term: &str) -> [u8; FIELDS] {
        let found = self.list.binary_search_by(|(other, _)| other.as_str().cmp(term));
        found.map_or([0; FIELDS], |at| self.list[at].1)
    }
}

/// Every text that is indexed, with its field.
pub(super) fn texts(meta: &NewRelease) -> impl Iterator<Item = (usize, &str)> {
    let of = |field| move |text| (field, text);
    iter::once((FIELD_NAME, meta.name.as_str()))
        .chain(meta.keywords.iter().map(String::as_str).map(of(FIELD_KEYWORDS)))
        .chain([(FIELD_SUMMARY, meta.summary.as_str()), (FIELD_DESCRIPTION, meta.description.as_str())])
        .chain(iter::once(&meta.category).chain(&meta.tags).map(String::as_str).map(of(FIELD_LABELS)))
}

/// The runs of letters and digits of a text in lower case, in their order.
pub(super) fn split(text: &str) -> impl Iterator<Item = String> + '_ {
    let runs = text.split(|c: char| !c.is_alphanumeric()).filter(|run| !run.is_empty());
    runs.map(|run| {
        let mut word = lower(run);
        word.truncate(word.floor_char_boundary(MAX_TERM));
        word
    })
}

/// What a word is indexed as.
pub(super) fn term(word: &str) -> String {
    stemmed(String::from(word))
}

/// Letters and digits alone, in lower case: what two spellings of one name share.
pub(super) fn fold(text: &str) -> String {
    let mut folded = lower(text);
    folded.retain(char::is_alphanumeric);
    folded
}

/// [`fold`] of a package's name, which is ASCII.
pub(super) fn folded(name: &str) -> impl Iterator<Item = u8> + Clone + '_ {
    name.bytes().filter(u8::is_ascii_alphanumeric).map(|byte| byte.to_ascii_lowercase())
}

pub(super) fn marked(marker: char, text: &str) -> String {
    let mut marked = String::from(marker);
    marked.push_str(text);
    marked
}

fn stemmed(mut word: String) -> String {
    stem::stem(&mut word);
    word
}

fn lower(text: &str) -> String {
    if text.is_ascii() { text.to_ascii_lowercase() } else { text.to_lowercase() }
}

/// The words inside a word of a name.
fn inner_words(word: &str) -> impl Iterator<Item = &str> {
    let is_digit = |c: char| c.is_ascii_digit();
    let library = word.strip_prefix("lib").filter(|rest| rest.len() >= 2 && !rest.starts_with(is_digit));
    let letters = word.trim_end_matches(is_digit);
    let letters = Some(letters).filter(|letters| letters.len() >= 2 && letters.len() < word.len());
    let both = library.map(|rest| rest.trim_end_matches(is_digit)).filter(|rest| rest.len() >= 2);
    let both = both.filter(|both| library.is_some_and(|library| both.len() < library.len()));
    [library, letters, both].into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_split_at_everything_but_letters_and_digits() {
        let terms = |text| split(text).collect::<Vec<_>>();
        assert_eq!(terms("Fast, zero-copy (de)serialization!"), ["fast", "zero", "copy", "de", "serialization"]);
        assert_eq!(terms("Grüße ÉTÉ 日本 x86_64"), ["grüße", "été", "日本", "x86", "64"]);
        assert_eq!(terms(" -- "), [""; 0]);
        assert_eq!(terms(&"é".repeat(50)), ["é".repeat(32)]);
    }

    #[test]
    fn a_name_holds_words_inside_its_words() {
        let inner = |word| inner_words(word).collect::<Vec<_>>();
        assert_eq!(inner("libpng16"), ["png16", "libpng", "png"]);
        assert_eq!(inner("python3"), ["python"]);
        assert_eq!(inner("x11"), [""; 0]);
        assert_eq!(inner("lib32"), ["lib"]);
        assert_eq!(inner("firefox"), [""; 0]);
    }

    #[test]
    fn a_length_keeps_its_first_five_bits() {
        assert!((0..64).all(|terms| Length::new(terms).terms() == u64::from(terms) & if terms < 32 { !0 } else { !1 }));
        let lengths = (0..70_000).map(Length::new);
        assert!(lengths.clone().is_sorted_by_key(|length| length.0));
        assert!((0u64..).zip(lengths).all(|(terms, length)| {
            let terms = terms.min(65_535);
            length.terms() <= terms && terms - length.terms() <= terms / 16
        }));
    }
}
