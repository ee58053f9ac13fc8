//! Which words may be meant by a misspelt one: what few letters more or less leave possible is compared letter by letter.

/// A word of so many bytes may hold so many typing errors: a short one is soon another word.
pub(super) fn tolerance(word: &str) -> usize {
    match word.len() {
        0..=3 => 0,
        4..=7 => 1,
        8.. => MAX_TOLERANCE,
    }
}

const MAX_TOLERANCE: usize = 2;

/// The letters of a word in 32 bits: one for each frequent letter, one for several rare ones, one for all that is no
/// letter, and a second one for the most frequent where they stand more than once. A typing error adds one bit at most
/// and takes one away at most; an exchange of neighbours changes none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Letters(pub(super) u32);

const SHARED: [&[u8]; 21] = [
    b"e", b"a", b"o", b"i", b"t", b"n", b"s", b"r", b"l", b"c", b"d", b"p", b"u", b"m", b"g", b"b", b"f", b"h", b"yk",
    b"vw", b"xjqz",
];
const OTHER: u32 = SHARED.len() as u32;
/// The first letters of [`SHARED`] have a second bit after all others.
const TWICE: u32 = u32::BITS - OTHER - 1;
/// By byte: the bit of a word that has it.
const BITS: [u8; 256] = {
    let mut bits = [OTHER as u8; 256];
    let mut bit = 0;
    while bit < SHARED.len() {
        let mut at = 0;
        while at < SHARED[bit].len() {
            bits[SHARED[bit][at] as usize] = bit as u8;
            at += 1;
        }
        bit += 1;
    }
    bits
};

impl Letters {
    pub(super) fn of(word: impl Iterator<Item = u8>) -> Self {
        Self(word.fold(0, |letters, byte| {
            let bit = u32::from(BITS[usize::from(byte)]);
            let again = bit < TWICE && letters >> bit & 1 == 1;
            letters | 1 << if again { bit + OTHER + 1 } else { bit }
        }))
    }

    /// Can so few errors lie between two words?
    pub(super) fn near(self, other: Self, tolerance: usize) -> bool {
        let (mut gone, mut new) = (self.0 & !other.0, other.0 & !self.0);
        for _ in 0..tolerance {
            // Without the lowest bit that is set.
            gone &= gone.wrapping_sub(1);
            new &= new.wrapping_sub(1);
        }
        gone | new == 0
    }
}

/// Cells of a row that can be within the tolerance, and one at either end that never is.
const WIDTH: usize = 2 * MAX_TOLERANCE + 3;
/// Over any tolerance.
const FAR: usize = usize::MAX / 2;

/// The number of errors between a word and another, when it is not over the word's tolerance: inserted, left out,
/// replaced and exchanged neighbouring letters are one each ("optimal string alignment").
///
/// Works out those cells of the table that are near its diagonal: in row `depth`, which is about so many bytes of
/// `other`, cell `at` is about `depth + at - 1 - tolerance` bytes of the word.
pub(super) fn errors(word: &str, other: &[u8]) -> Option<usize> {
    let (word, tolerance) = (word.as_bytes(), tolerance(word));
    if other.len().abs_diff(word.len()) > tolerance {
        return None;
    }
    let (mut before, mut above) = ([FAR; WIDTH], [FAR; WIDTH]);
    (0..=tolerance).for_each(|column| above[column + 1 + tolerance] = column);
    for (depth, &byte) in (1..).zip(other) {
        let mut row = [FAR; WIDTH];
        for at in 1..=2 * tolerance + 1 {
            let Some(column) = (depth + at).checked_sub(1 + tolerance).filter(|column| *column <= word.len()) else {
                continue;
            };
            row[at] = 1 + above[at + 1].min(row[at - 1]);
            if column > 0 {
                row[at] = row[at].min(above[at] + usize::from(word[column - 1] != byte));
            }
            if column > 1 && depth > 1 && word[column - 2] == byte && word[column - 1] == other[depth - 2] {
                row[at] = row[at].min(1 + before[at]);
            }
        }
        // An exchange of letters reaches back one row.
        if above.iter().chain(&row).all(|cell| *cell > tolerance) {
            return None;
        }
        (before, above) = (above, row);
    }
    let distance = above[word.len() + 1 + tolerance - other.len()];
    (distance <= tolerance).then_some(distance)
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
        assert_eq!(errors("firefox", b"fierfox"), Some(1));
        assert_eq!(errors("firefox", b"firefix"), Some(1));
        assert_eq!(errors("firefox", b"frefx"), None);
        assert_eq!(errors("thunderbird", b"thudnerbrid"), Some(2));
        assert_eq!(errors("vim", b"vin"), None);
    }

    proptest! {
        #[test]
        fn errors_are_those_of_the_table(word in "[ab]{3,10}", other in "[ab]{0,12}") {
            let distance = slow(word.as_bytes(), other.as_bytes());
            prop_assert_eq!(errors(&word, other.as_bytes()), (distance <= tolerance(&word)).then_some(distance));
        }

        #[test]
        fn letters_leave_out_nothing_that_is_near(word in "[a-eyk1é]{4,10}", other in "[a-eyk1é]{3,12}") {
            let letters = |word: &str| Letters::of(word.bytes());
            let distance = slow(word.as_bytes(), other.as_bytes());
            for tolerance in distance..=MAX_TOLERANCE {
                prop_assert!(letters(&word).near(letters(&other), tolerance));
            }
        }

        #[test]
        fn letters_allow_for_errors_anywhere(
            word in "[a-z0-9]{4,16}",
            changes in proptest::collection::vec((any::<prop::sample::Index>(), 0..4, any::<u8>()), 0..=MAX_TOLERANCE),
        ) {
            let mut other = word.clone().into_bytes();
            for &(at, kind, byte) in &changes {
                let at = at.index(other.len());
                match kind {
                    0 => other.insert(at, byte),
                    1 => drop(other.remove(at)),
                    2 => other[at] = byte,
                    _ => other.swap(at, at.saturating_sub(1)),
                }
            }
            prop_assert!(Letters::of(word.bytes()).near(Letters::of(other.into_iter()), changes.len()));
        }
    }
}
