//! Words looked for in texts, by code that is compiled once: it is long, and would stand at every use.

/// Gives what stands before and behind the first place of a word in a text.
#[inline(never)]
pub(crate) fn around<'t>(text: &'t str, word: &str) -> Option<(&'t str, &'t str)> {
    text.split_once(word)
}

/// Tells whether a word is in a text.
pub(crate) fn has(text: &str, word: &str) -> bool {
    around(text, word).is_some()
}
