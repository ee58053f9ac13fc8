//! Text of other registries, made to fit the limits of a statement.

use std::collections::HashSet;

use registry_core::catalog::release::{MAX_DESCRIPTION, MAX_SUMMARY, MAX_WORD};

/// What stands for the rest of a text that was cut.
const ELLIPSIS: char = '…';

/// Makes text fit and remembers whether something was left out.
#[derive(Default)]
pub(crate) struct Fitter {
    pub(crate) shortened: bool,
}

impl Fitter {
    /// A summary and a description: what does not fit into the summary begins the description.
    pub(crate) fn summary(&mut self, whole: &str, more: &str) -> (String, String) {
        let mut first = Self::default();
        let summary = first.line(whole, MAX_SUMMARY);
        let description = if first.shortened { format!("{whole}\n\n{more}") } else { more.to_string() };
        (summary, self.text(&description, MAX_DESCRIPTION))
    }

    /// One line of at most `max` bytes: runs of white space and control characters become one space.
    pub(crate) fn line(&mut self, text: &str, max: usize) -> String {
        let words: Vec<_> =
            text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty()).collect();
        self.cut(words.join(" ").chars().filter(|c| !reorders(*c)).collect(), max)
    }

    /// Text of at most `max` bytes, with its lines.
    pub(crate) fn text(&mut self, text: &str, max: usize) -> String {
        let shown = text.trim().chars().filter(|c| !reorders(*c) && *c != '\r');
        self.cut(shown.map(|c| if c.is_control() && c != '\n' && c != '\t' { ' ' } else { c }).collect(), max)
    }

    /// The first `max` different words that are not too long.
    pub(crate) fn words<'a>(&mut self, words: impl IntoIterator<Item = &'a str>, max: usize) -> Vec<String> {
        let mut seen = HashSet::new();
        let mut kept = Vec::new();
        for word in words {
            let fitted = Self::default().line(word, usize::MAX);
            if fitted.is_empty() || !seen.insert(fitted.clone()) {
                continue;
            }
            if fitted.len() <= MAX_WORD && kept.len() < max {
                kept.push(fitted);
            } else {
                self.shortened = true;
            }
        }
        kept
    }

    /// The first `max` entries.
    pub(crate) fn first<T>(&mut self, mut list: Vec<T>, max: usize) -> Vec<T> {
        self.shortened |= list.len() > max;
        list.truncate(max);
        list
    }

    /// Cuts after the last whole word that leaves room for an ellipsis.
    fn cut(&mut self, mut text: String, max: usize) -> String {
        if text.len() <= max {
            return text;
        }
        self.shortened = true;
        let room = text.floor_char_boundary(max - ELLIPSIS.len_utf8());
        let end = match text[room..].chars().next() {
            Some(next) if next.is_whitespace() => room,
            _ => text[..room].rfind(char::is_whitespace).unwrap_or(room),
        };
        text.truncate(text[..end].trim_end().len());
        text.push(ELLIPSIS);
        text
    }
}

/// Characters that change the order in which others are shown.
fn reorders(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn text_is_cut_at_a_word() {
        let mut fit = Fitter::default();
        assert_eq!(fit.line("  one\n\ttwo\u{7}three ", 100), "one two three");
        assert!(!fit.shortened);
        assert_eq!(fit.line("one two three", 12), "one two…");
        assert_eq!(fit.line("one two three", 10), "one two…");
        assert_eq!(fit.line("one two three", 9), "one…");
        assert_eq!(fit.line("onetwothree", 8), "onetw…");
        assert_eq!(fit.text("a\r\nb\u{202e}c \u{1b}[2J", 100), "a\nbc  [2J");
        assert!(fit.shortened);
    }

    #[test]
    fn words_are_different_and_few() {
        let mut fit = Fitter::default();
        assert_eq!(fit.words(["a", "b c", "a", " ", "b  c"], 2), ["a", "b c"]);
        assert!(!fit.shortened);
        let long = "x".repeat(65);
        assert_eq!(fit.words([&*long, "a"], 2), ["a"]);
        assert!(fit.shortened);
    }

    proptest! {
        #[test]
        fn whatever_comes_fits(text in any::<String>(), filler in "[a-z é\u{202e}\n]{0,400}", max in 3usize..300) {
            let text = [text, filler].concat();
            for fitted in [Fitter::default().line(&text, max), Fitter::default().text(&text, max)] {
                prop_assert!(fitted.len() <= max);
                let shown = |c: char| !reorders(c) && (!c.is_control() || c == '\n' || c == '\t');
                prop_assert!(fitted.chars().all(shown));
            }
            prop_assert!(!Fitter::default().line(&text, MAX_SUMMARY).contains(char::is_control));
        }
    }
}
