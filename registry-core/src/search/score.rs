//! BM25F in integers (Robertson and Zaragoza, "The Probabilistic Relevance Framework", 2009).
//!
//! For a term that stands in `df` of `N` documents, and a document in whose field `f`, of `len_f` terms, it stands
//! `tf_f` times:
//!
//! ```text
//! norm_f = 1 - b_f + b_f * min(len_f / average len_f, 8)
//! tf     = sum over f of  w_f * tf_f / norm_f
//! idf    = max(log2((2 N + 2) / (2 df + 1)), 1/64)
//! score  = 1,000,000 * idf * tf / (k1 + tf)
//! ```
//!
//! Numbers have 16 fractional bits unless said otherwise; every division rounds down. `idf` is in bits: another base
//! only scales all scores. Its lower bound lets a word that every document has still find them.

pub(super) const FIELDS: usize = 4;

/// Fixed-point one.
const ONE: u64 = 1 << 16;
/// How fast repetition stops to count: 1.2, the usual value.
const K1: u64 = ONE * 12 / 10;
const MIN_IDF: u64 = ONE / 64;
/// Beyond this many average lengths a field counts as no longer.
const MAX_RELATIVE_LENGTH: u64 = 8 * ONE;

struct Field {
    label: &'static str,
    /// `w_f`
    weight: u64,
    /// `b_f`, under one.
    length_share: u64,
}

/// A name says most; keywords are chosen by the publisher, so they weigh less than what people see first. Short fields
/// differ little in what their length means, descriptions much.
const RULES: [Field; FIELDS] = [
    Field { label: "name", weight: 6 * ONE, length_share: ONE / 2 },
    Field { label: "keywords", weight: 3 * ONE, length_share: ONE / 2 },
    Field { label: "summary", weight: 2 * ONE, length_share: ONE / 2 },
    Field { label: "description", weight: ONE, length_share: ONE * 3 / 4 },
];

/// What the formula needs to know of all documents together.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Corpus {
    pub(super) documents: u64,
    /// Terms in each field of all documents.
    pub(super) lengths: [u64; FIELDS],
}

/// The formula with the corpus put in.
pub(super) struct Scorer {
    documents: u64,
    /// 1 / average length, with 32 fractional bits; 0 when no document has the field.
    inverse_average: [u64; FIELDS],
}

impl Scorer {
    pub(super) fn new(corpus: &Corpus) -> Self {
        let inverse = |total: u64| (corpus.documents << 32).checked_div(total).unwrap_or(0);
        Self { documents: corpus.documents, inverse_average: corpus.lengths.map(inverse) }
    }

    pub(super) fn idf(&self, document_frequency: usize) -> u64 {
        let df = document_frequency as u64;
        log2(2 * self.documents + 2).saturating_sub(log2(2 * df + 1)).max(MIN_IDF)
    }

    /// What the term gives in each field, in millionths. The sum is the term's score, divided in the ratio of the
    /// fields' shares of `tf`.
    pub(super) fn parts(&self, idf: u64, frequencies: [u8; FIELDS], lengths: [u16; FIELDS]) -> [u64; FIELDS] {
        let shares: [u64; FIELDS] = core::array::from_fn(|f| match frequencies[f] {
            0 => 0,
            frequency => RULES[f].weight * u64::from(frequency) * ONE / self.norm(f, lengths[f]),
        });
        let tf: u64 = shares.iter().sum();
        let score = micros(idf * (tf * ONE / (K1 + tf)) / ONE);
        let mut before = 0;
        shares.map(|share| {
            let after = before + share;
            let part = (score * after).checked_div(tf).unwrap_or(0) - (score * before).checked_div(tf).unwrap_or(0);
            before = after;
            part
        })
    }

    /// What a package gives whose whole name was asked for: as much as any other single term could, so that it comes
    /// first when its name is one word, and nearly always when not.
    pub(super) fn exact_name(&self) -> u64 {
        micros(self.idf(1))
    }

    fn norm(&self, field: usize, length: u16) -> u64 {
        let relative = u64::from(length).saturating_mul(self.inverse_average[field]) >> 16;
        let share = RULES[field].length_share;
        ONE - share + share * relative.min(MAX_RELATIVE_LENGTH) / ONE
    }
}

pub(super) fn label(field: usize) -> &'static str {
    RULES[field].label
}

fn micros(fixed: u64) -> u64 {
    fixed * 1_000_000 / ONE
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
        let corpus = Corpus { documents: 3, lengths: [3, 0, 9, 0] };
        let scorer = Scorer::new(&corpus);
        // log2(8 / 3), 16 fractional bits.
        assert_eq!(scorer.idf(1), 92_736);
        // In the name of average length tf is 6; 6 / 7.2 of 1.415 bits.
        let parts = scorer.parts(scorer.idf(1), [1, 0, 0, 0], [1, 0, 3, 0]);
        assert_eq!(parts, [1_179_183, 0, 0, 0]);
        // With one more in the summary: 8 / 9.2, in the ratio 6 to 2.
        let parts = scorer.parts(scorer.idf(1), [1, 0, 1, 0], [1, 0, 3, 0]);
        assert_eq!(parts, [922_824, 0, 307_614, 0]);
        assert_eq!(scorer.exact_name(), 1_415_039);
    }

    proptest! {
        #[test]
        fn logarithms_grow(value in 1u64..u64::MAX) {
            prop_assert!(log2(value) <= log2(value + 1));
        }

        #[test]
        fn every_occurrence_counts_and_none_more_than_the_idf(
            documents in 1u64..1 << 31,
            df in 1u64..1 << 31,
            frequencies in any::<[u8; 4]>(),
            lengths in any::<[u16; 4]>(),
            totals in any::<[u32; 4]>(),
        ) {
            prop_assume!(frequencies != [0; 4]);
            let scorer = Scorer::new(&Corpus { documents, lengths: totals.map(u64::from) });
            let idf = scorer.idf(df.min(documents) as usize);
            let score: u64 = scorer.parts(idf, frequencies, lengths).iter().sum();
            prop_assert!(score > 0 && score <= micros(idf));
        }
    }
}
