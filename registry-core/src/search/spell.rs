//! Which words may be meant by a misspelt one.

use alloc::vec::Vec;

/// A word of so many bytes may hold so many typing errors: a short one is soon another word.
pub(super) fn tolerance(word: &str) -> usize {
    match word.len() {
        0..=3 => 0,
        4..=7 => 1,
        8.. => 2,
    }
}

/// Finds the distance of many words to one: inserted, left out, replaced and exchanged neighbouring letters, each one
/// error ("optimal string alignment"). Words in ascending order share the work on what they have in common.
#[derive(Debug)]
pub(super) struct Matcher {
    word: Vec<u8>,
    tolerance: usize,
    /// The last word that was compared, as far as it is worth going, and a row for each prefix of it.
    seen: Vec<u8>,
    rows: Vec<u8>,
    /// The least number of each row.
    least: Vec<u8>,
    /// No word that begins with so much of `seen` is near enough.
    hopeless: Option<usize>,
}

impl Matcher {
    pub(super) fn new(word: &str) -> Self {
        let word = word.as_bytes()[..word.len().min(usize::from(u8::MAX))].to_vec();
        let rows = (0..=word.len()).map(|n| n as u8).collect();
        Self {
            tolerance: tolerance(core::str::from_utf8(&word).unwrap_or("")),
            word,
            seen: Vec::new(),
            least: alloc::vec![0],
            rows,
            hopeless: None,
        }
    }

    /// The number of errors between the word and `other`, when it is not over the tolerance.
    pub(super) fn distance(&mut self, other: &[u8]) -> Option<usize> {
        if other.len().abs_diff(self.word.len()) > self.tolerance {
            return None;
        }
        let common = self.seen.iter().zip(other).take_while(|(a, b)| a == b).count();
        if self.hopeless.is_some_and(|length| common >= length) {
            return None;
        }
        self.hopeless = None;
        self.seen.truncate(common);
        self.rows.truncate((common + 1) * self.width());
        for &byte in &other[common..] {
            if self.push(byte) > self.tolerance {
                self.hopeless = Some(self.seen.len());
                return None;
            }
        }
        let distance = self.rows.last().map(|&last| usize::from(last))?;
        (distance <= self.tolerance).then_some(distance)
    }

    /// A beginning of the last word, if any, with which no word is near enough.
    pub(super) fn hopeless(&self) -> Option<&[u8]> {
        self.seen.get(..self.hopeless?)
    }

    fn width(&self) -> usize {
        self.word.len() + 1
    }

    /// Goes on by one letter; returns the least distance that any word with this beginning can have. Only the cells
    /// near the diagonal are worked out: those further away are over the tolerance.
    fn push(&mut self, byte: u8) -> usize {
        let (width, depth) = (self.width(), self.seen.len());
        let above = depth * width;
        self.rows.resize(above + 2 * width, u8::MAX);
        let mut least = u8::MAX;
        for column in (depth + 1).saturating_sub(self.tolerance)..width.min(depth + 2 + self.tolerance) {
            let mut cost = self.rows[above + column].saturating_add(1);
            if let Some(left) = column.checked_sub(1) {
                let differs = u8::from(self.word[left] != byte);
                cost = cost.min(self.rows[above + width + left].saturating_add(1));
                cost = cost.min(self.rows[above + left].saturating_add(differs));
                if left > 0 && depth > 0 && self.word[left - 1] == byte && self.word[left] == self.seen[depth - 1] {
                    cost = cost.min(self.rows[above - width + left - 1].saturating_add(1));
                }
            }
            least = least.min(cost);
            self.rows[above + width + column] = cost;
        }
        self.seen.push(byte);
        self.least.truncate(depth + 1);
        self.least.push(least);
        // An exchange of letters reaches back one row.
        usize::from(least.min(self.least[depth].saturating_add(1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The textbook's table.
    fn slow(a: &[u8], b: &[u8]) -> usize {
        let mut table = alloc::vec![alloc::vec![0usize; b.len() + 1]; a.len() + 1];
        for i in 0..=a.len() {
            for j in 0..=b.len() {
                table[i][j] = match (i, j) {
                    (0, n) | (n, 0) => n,
                    _ => {
                        let differs = usize::from(a[i - 1] != b[j - 1]);
                        let best = (table[i - 1][j] + 1).min(table[i][j - 1] + 1).min(table[i - 1][j - 1] + differs);
                        let crossed = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
                        if crossed { best.min(table[i - 2][j - 2] + 1) } else { best }
                    }
                };
            }
        }
        table[a.len()][b.len()]
    }

    #[test]
    fn one_exchange_is_one_error() {
        assert_eq!(Matcher::new("firefox").distance(b"fierfox"), Some(1));
        assert_eq!(Matcher::new("firefox").distance(b"firefix"), Some(1));
        assert_eq!(Matcher::new("firefox").distance(b"frefx"), None);
        assert_eq!(Matcher::new("thunderbird").distance(b"thudnerbrid"), Some(2));
        assert_eq!(Matcher::new("vim").distance(b"vin"), None);
    }

    proptest! {
        #[test]
        fn all_words_of_a_list_are_found(
            word in "[ab]{3,10}",
            mut others in proptest::collection::vec("[ab]{1,11}", 1..40),
        ) {
            others.sort();
            let mut matcher = Matcher::new(&word);
            for other in &others {
                let distance = slow(word.as_bytes(), other.as_bytes());
                let near = (distance <= tolerance(&word)).then_some(distance);
                prop_assert_eq!(matcher.distance(other.as_bytes()), near, "{} {}", word, other);
            }
        }
    }
}
