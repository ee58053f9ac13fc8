//! English inflections off, so that `parsers` finds `parsing`.
//!
//! Light on purpose: plural, `-ing`, `-ed` and a final `e`, in the manner of Harman ("How effective is suffixing?",
//! 1991) and Porter's first step (1980). Words in other scripts, short words and words with digits stay as they are.

use alloc::string::String;

/// Shorter words are left alone: mostly names and abbreviations.
const MIN_WORD: usize = 4;
/// What must remain of a word after `-ing` or `-ed`.
const MIN_STEM: usize = 3;

/// Cuts a lower-case word down to its stem.
pub(super) fn stem(word: &mut String) {
    if word.len() < MIN_WORD || !word.bytes().all(|b| b.is_ascii_lowercase()) {
        return;
    }
    strip_plural(word);
    strip_participle(word);
    if word.len() > MIN_WORD && word.ends_with('e') {
        word.pop();
    }
    if word.len() > MIN_STEM && word.ends_with('y') && !word.as_bytes()[..word.len() - 1].ends_with(b"a") {
        word.pop();
        word.push('i');
    }
}

fn strip_plural(word: &mut String) {
    let w = word.as_bytes();
    let cut = match w {
        [.., b'i', b'e', b's'] if w.len() > 4 => {
            word.truncate(word.len() - 3);
            word.push('y');
            return;
        }
        [.., b's', b's', b'e', b's'] | [.., b'x', b'e', b's'] | [.., b'c' | b's', b'h', b'e', b's'] => 2,
        [.., b's' | b'u' | b'i', b's'] => 0,
        [.., b's'] => 1,
        _ => 0,
    };
    word.truncate(word.len() - cut);
}

fn strip_participle(word: &mut String) {
    let cut = if word.ends_with("ing") {
        3
    } else if word.ends_with("ed") && !word.ends_with("eed") {
        2
    } else {
        return;
    };
    let rest = &word.as_bytes()[..word.len() - cut];
    if rest.len() < MIN_STEM || !rest.iter().any(|b| b"aeiouy".contains(b)) {
        return;
    }
    word.truncate(word.len() - cut);
    // The doubled consonant of "running".
    if let [.., a, b] = *word.as_bytes()
        && a == b
        && !b"lsz".contains(&a)
        && !b"aeiou".contains(&a)
    {
        word.pop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inflections_of_a_word_meet() {
        let stemmed = |word: &str| {
            let mut word = String::from(word);
            stem(&mut word);
            word
        };
        for group in [
            &["parse", "parses", "parsed", "parsing"][..],
            &["library", "libraries"],
            &["run", "runs", "running"],
            &["compress", "compresses", "compressed", "compressing"],
            &["box", "boxes"],
            &["image", "images", "imaging"],
            &["edit", "edits", "editing", "edited"],
        ] {
            assert!(group.iter().all(|word| stemmed(word) == stemmed(group[0])), "{group:?}");
        }
        for word in ["status", "bus", "ring", "bed", "feed", "gtk3", "été", "dbus", "x"] {
            assert_eq!(stemmed(word), word);
        }
    }
}
