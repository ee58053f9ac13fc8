//! BM25F in integers (Robertson and Zaragoza, "The Probabilistic Relevance Framework", 2009), and what is added to it.
//!
//! A word that stands in `df` of `N` documents, and `tf_f` times in the field `f`, of `len_f` terms, of one of them, gives
//!
//! ```text
//! norm_f = 1 - b_f + b_f * min(len_f / average len_f, 8)
//! tf     = sum over f of  w_f * tf_f / norm_f
//! idf    = max(log2((2 N + 2) / (2 df + 1)), 1/64)
//! word   = likeness * idf * tf / (k1 + tf)
//! ```
//!
//! `likeness` is 1 for the word itself, less for a word that it begins or that it may be a misspelling of; of several
//! such words in one document the best one counts. With `text` the sum over the query's words, `found` the sum of
//! `idf` over those that the document has, `all` that over all of them, and `name` what the query gives as a name (the
//! `idf` of the number of packages so named, or whose name begins so, times a likeness), the score is
//!
//! ```text
//! text + name + W_together * text * (found / all)^2 + W_popular * (text + name) * min(log2(1 + dependents), 16) / 16
//! ```
//!
//! Numbers have 16 fractional bits unless said otherwise, scores are in millionths; every division rounds down. `idf`
//! is in bits: another base only scales all scores. Its lower bound lets a word that every document has still find them.

use crate::search::terms::Length;

pub(super) const FIELDS: usize = 5;

/// Fixed-point one.
pub(super) const ONE: u64 = 1 << 16;
/// A score of one bit.
pub(super) const MILLION: u64 = 1_000_000;
const MIN_IDF: u64 = ONE / 64;
/// More documents than this weigh no more; it keeps every product in 64 bits, whatever statistics a peer sends.
const MAX_DOCUMENTS: u64 = 1 << 40;
/// The largest `w_f / norm_f`, for the same reason.
const MAX_SHARE: u64 = 256 * ONE;
/// Beyond this many average lengths a field counts as no longer.
const MAX_RELATIVE_LENGTH: u64 = 8 * ONE;
/// log2 of the dependents beyond which a package is no more popular.
const MAX_POPULARITY: u64 = 16;
const LABELS: [&str; FIELDS] = ["name", "keywords", "summary", "description", "labels"];

/// The free constants of the formula, in percent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ranking {
    /// Words are indexed and looked for without their inflections. Phrases, `name:` and excluded words suppose so.
    pub stemming: bool,
    /// `w_f` of name, keywords, summary, description, labels (category and tags).
    pub weights: [u64; FIELDS],
    /// `b_f` of the same, 0 to 100.
    pub length_shares: [u64; FIELDS],
    /// How fast repetition stops to count.
    pub k1: u64,
    /// `W_together`
    pub together: u64,
    /// `W_popular`
    pub popular: u64,
    /// Likeness of a query to the name that it is, letter by letter and digit by digit.
    pub named: u64,
    /// Likeness of a query to a name that begins with it.
    pub begins: u64,
    /// Likeness of a last word to a word that begins with it.
    pub completion: u64,
    /// Likeness of a word, or a name, to one that is one, or two, typing errors away.
    pub repair: [u64; 2],
}

impl Ranking {
    /// What nodes use.
    ///
    /// A name says most; keywords are chosen by the publisher, so they weigh less than what people see first. Short
    /// fields differ little in what their length means, descriptions much.
    pub const DEFAULT: Self = Self {
        stemming: true,
        weights: [600, 300, 300, 100, 100],
        length_shares: [50, 50, 50, 40, 50],
        k1: 120,
        together: 50,
        popular: 50,
        named: 100,
        begins: 80,
        completion: 50,
        repair: [80, 60],
    };
}

/// The formula with all that is equal for all documents put in.
#[derive(Debug)]
pub(super) struct Scorer<'a> {
    pub(super) ranking: &'a Ranking,
    documents: u64,
    k1: u64,
    /// `w_f / norm_f` by the code of the field's length.
    shares: [[u32; 256]; FIELDS],
}

impl<'a> Scorer<'a> {
    /// `lengths`: terms in each field of all documents.
    pub(super) fn new(ranking: &'a Ranking, documents: u64, lengths: &[u64; FIELDS]) -> Self {
        let share = |field: usize, code: usize| {
            let length = u128::from(Length(code as u8).terms() * ONE) * u128::from(documents);
            // Where no document has a field, its length does not matter.
            let relative = length.checked_div(lengths[field].into()).unwrap_or(0).min(MAX_RELATIVE_LENGTH.into());
            let b = of(ranking.length_shares[field], ONE);
            let norm = ONE - b + b * relative as u64 / ONE;
            (of(ranking.weights[field], ONE) * ONE).checked_div(norm).map_or(MAX_SHARE, |share| share.min(MAX_SHARE))
                as u32
        };
        let shares = core::array::from_fn(|field| core::array::from_fn(|code| share(field, code)));
        Self { ranking, documents, k1: of(ranking.k1, ONE), shares }
    }

    /// In millionths of a bit.
    pub(super) fn idf(&self, document_frequency: u64) -> u64 {
        let n = self.documents.min(MAX_DOCUMENTS);
        let df = document_frequency.min(n);
        (log2(2 * n + 2) - log2(2 * df + 1)).max(MIN_IDF) * MILLION / ONE
    }

    /// What a word gives whose `idf` times likeness is `weight`.
    pub(super) fn word(&self, weight: u64, frequencies: [u8; FIELDS], lengths: [Length; FIELDS]) -> u64 {
        let tf = (0..FIELDS).map(|field| self.share(field, frequencies, lengths)).sum::<u64>();
        weight * tf / (self.k1 + tf)
    }

    /// [`Self::word`] divided in the ratio of the fields' shares of `tf`.
    pub(super) fn parts(&self, weight: u64, frequencies: [u8; FIELDS], lengths: [Length; FIELDS]) -> [u64; FIELDS] {
        let shares: [u64; FIELDS] = core::array::from_fn(|field| self.share(field, frequencies, lengths));
        let tf: u64 = shares.iter().sum();
        let score = self.word(weight, frequencies, lengths);
        let mut before = 0;
        shares.map(|share| {
            let after = before + share;
            let part = (score * after).checked_div(tf).unwrap_or(0) - (score * before).checked_div(tf).unwrap_or(0);
            before = after;
            part
        })
    }

    fn share(&self, field: usize, frequencies: [u8; FIELDS], lengths: [Length; FIELDS]) -> u64 {
        match frequencies[field] {
            0 => 0,
            frequency => u64::from(frequency) * u64::from(self.shares[field][usize::from(lengths[field].0)]),
        }
    }

    pub(super) fn together(&self, text: u64, found: u64, all: u64) -> u64 {
        let share = (found * ONE).checked_div(all).unwrap_or(0).min(ONE);
        of(self.ranking.together, text * share / ONE * share / ONE)
    }

    pub(super) fn popular(&self, base: u64, popularity: Popularity) -> u64 {
        of(self.ranking.popular, base * u64::from(popularity.0) / MAX_POPULARITY / ONE)
    }
}

/// log2(1 + dependents), at most 16, with 16 fractional bits; linear between powers of two.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Popularity(u32);

impl Popularity {
    pub(super) fn new(dependents: u32) -> Self {
        let count = u64::from(dependents) + 1;
        let whole = u64::from(count.ilog2());
        Self((whole * ONE + ((count * ONE) >> whole) - ONE).min(MAX_POPULARITY * ONE) as u32)
    }
}

/// So many percent of a score.
pub(super) fn of(percent: u64, score: u64) -> u64 {
    score * percent / 100
}

pub(super) fn label(field: usize) -> &'static str {
    LABELS[field]
}

/// The binary logarithm of a number over 0, rounded down to 16 fractional bits: the mantissa is squared once for each.
fn log2(value: u64) -> u64 {
    let whole = u64::from(value.ilog2());
    // In [1, 2), with 31 fractional bits.
    let mut mantissa = if whole <= 31 { value << (31 - whole) } else { value >> (whole - 31) };
    (0..16).fold(whole, |log, _| {
        mantissa = (mantissa * mantissa) >> 31;
        let bit = mantissa >> 32;
        mantissa >>= bit;
        log << 1 | bit
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const RANKING: Ranking =
        Ranking { weights: [600, 300, 200, 100, 100], length_shares: [50; FIELDS], k1: 120, ..Ranking::DEFAULT };

    #[test]
    fn logarithms_are_those_of_the_tables() {
        assert_eq!(log2(1), 0);
        assert_eq!(log2(1 << 40), 40 * ONE);
        assert_eq!(log2(3), 103_872);
        assert_eq!(log2(10), 217_705);
        assert_eq!(log2(u64::MAX), 64 * ONE - 1);
    }

    #[test]
    fn a_worked_example() {
        let scorer = Scorer::new(&RANKING, 3, &[3, 0, 9, 0, 0]);
        // log2(8 / 3)
        assert_eq!(scorer.idf(1), 1_415_039);
        // In the name of average length tf is 6; 6 / 7.2 of it.
        let lengths = [1, 0, 3, 0, 0].map(Length);
        assert_eq!(scorer.parts(scorer.idf(1), [1, 0, 0, 0, 0], lengths), [1_179_199, 0, 0, 0, 0]);
        // With one more in the summary: 8 / 9.2, in the ratio 6 to 2.
        assert_eq!(scorer.parts(scorer.idf(1), [1, 0, 1, 0, 0], lengths), [922_851, 0, 307_618, 0, 0]);
        // One of two equal words found: a quarter of the bonus.
        assert_eq!(scorer.together(1_000_000, 500, 1000), 2_500 * RANKING.together);
        assert_eq!(scorer.popular(1_000_000, Popularity::new(255)), 5_000 * RANKING.popular);
    }

    proptest! {
        #[test]
        fn logarithms_grow(value in 1u64..u64::MAX) {
            prop_assert!(log2(value) <= log2(value + 1));
        }

        #[test]
        fn popularity_grows(dependents in 0..u32::MAX) {
            prop_assert!(Popularity::new(dependents).0 <= Popularity::new(dependents + 1).0);
        }

        #[test]
        fn every_occurrence_counts_and_none_more_than_the_idf(
            documents in any::<u64>(),
            df in any::<u64>(),
            frequencies in any::<[u8; FIELDS]>(),
            lengths in any::<[u8; FIELDS]>(),
            totals in any::<[u64; FIELDS]>(),
        ) {
            prop_assume!(frequencies != [0; FIELDS]);
            let scorer = Scorer::new(&RANKING, documents, &totals);
            let idf = scorer.idf(df);
            let score: u64 = scorer.parts(idf, frequencies, lengths.map(Length)).iter().sum();
            prop_assert!(score > 0 && score <= idf);
        }
    }
}
