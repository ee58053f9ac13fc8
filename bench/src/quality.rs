//! How good ranked answers are: MRR@10 and nDCG@10 over graded judgements.

use std::collections::BTreeMap;

use crate::corpus::Judged;

/// Results that count.
const DEPTH: usize = 10;
/// From this grade on a result answers the query.
const ANSWERS: u8 = 2;

/// Of one query, or the mean over several.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Quality {
    /// 1 / rank of the first answer.
    pub(crate) mrr: f64,
    /// Gain 2^grade - 1, discount log2(rank + 1), as a share of the best possible.
    pub(crate) ndcg: f64,
}

impl Quality {
    pub(crate) fn of(judged: &Judged, results: &[String]) -> Self {
        let grade = |name: &String| judged.relevant.get(name).copied().unwrap_or(0);
        let mut best: Vec<u8> = judged.relevant.values().copied().collect();
        best.sort_unstable_by(|a, b| b.cmp(a));
        let grades: Vec<u8> = results.iter().take(DEPTH).map(grade).collect();
        let first = grades.iter().position(|grade| *grade >= ANSWERS);
        let ideal = gain(&best);
        Self {
            mrr: first.map_or(0.0, |at| 1.0 / (at + 1) as f64),
            ndcg: if ideal > 0.0 { gain(&grades) / ideal } else { 0.0 },
        }
    }

    pub(crate) fn mean(all: impl IntoIterator<Item = Self>) -> Self {
        let (mut sum, mut count) = (Self::default(), 0.0);
        for one in all {
            sum = Self { mrr: sum.mrr + one.mrr, ndcg: sum.ndcg + one.ndcg };
            count += 1.0;
        }
        if count == 0.0 { sum } else { Self { mrr: sum.mrr / count, ndcg: sum.ndcg / count } }
    }
}

fn gain(grades: &[u8]) -> f64 {
    let gains = grades.iter().take(DEPTH).map(|grade| f64::from(2u32.pow(u32::from(*grade)) - 1));
    gains.zip(2u32..).map(|(gain, rank)| gain / f64::from(rank).log2()).sum()
}

/// Means over all queries, over the kinds, and of each kind.
#[derive(Clone, Debug)]
pub(crate) struct Summary {
    pub(crate) all: Quality,
    pub(crate) macro_mean: Quality,
    pub(crate) kinds: BTreeMap<String, Quality>,
}

impl Summary {
    pub(crate) fn new(queries: &[Judged], results: &[Vec<String>]) -> Self {
        let mut kinds: BTreeMap<String, Vec<Quality>> = BTreeMap::new();
        for (judged, results) in queries.iter().zip(results) {
            kinds.entry(judged.kind.clone()).or_default().push(Quality::of(judged, results));
        }
        let all = Quality::mean(kinds.values().flatten().copied());
        let kinds: BTreeMap<_, _> = kinds.into_iter().map(|(kind, all)| (kind, Quality::mean(all))).collect();
        Self { all, macro_mean: Quality::mean(kinds.values().copied()), kinds }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worked_example() {
        let grades = [("a", 3), ("b", 2), ("c", 1)];
        let judged = Judged {
            id: String::new(),
            kind: "hand".into(),
            query: String::new(),
            relevant: grades.iter().map(|(name, grade)| (name.to_string(), *grade)).collect(),
            exclude: Default::default(),
        };
        let quality =
            |names: &[&str]| Quality::of(&judged, &names.iter().map(|name| name.to_string()).collect::<Vec<_>>());
        let perfect = quality(&["a", "b", "c"]);
        assert!((perfect.mrr - 1.0).abs() < 1e-9 && (perfect.ndcg - 1.0).abs() < 1e-9);
        // (1 + 3 / log2(3)) / (7 + 3 / log2(3) + 1 / 2)
        let poor = quality(&["c", "b"]);
        assert!((poor.mrr - 0.5).abs() < 1e-9 && (poor.ndcg - 0.307_92).abs() < 1e-4, "{poor:?}");
    }
}
