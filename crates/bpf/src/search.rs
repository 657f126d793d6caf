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

/// Tells whether a name matches a pattern of `*` (anything) and `?` (one byte).
#[cfg(any(feature = "multi", feature = "uprobe"))]
pub(crate) fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    // Where to go on when the last star has to take one byte more.
    let mut again = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                again = Some((p + 1, n + 1));
                p += 1;
            }
            Some(&byte) if byte == b'?' || Some(&byte) == name.get(n) => {
                p += 1;
                n += 1;
            }
            _ => match again {
                Some((after, from)) => {
                    (p, n) = (after, from);
                    again = Some((after, from + 1));
                }
                None => return false,
            },
        }
    }
    pattern
        .get(p..)
        .unwrap_or_default()
        .iter()
        .all(|&byte| byte == b'*')
}
