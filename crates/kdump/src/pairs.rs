//! Text of lines `key = value`, with comments.

/// One line: its number from 1, its key and its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pair<'t> {
    pub(crate) line: usize,
    pub(crate) key: &'t str,
    pub(crate) value: &'t str,
}

/// Reads the lines; empty ones and those that begin with `#` are left out. Of a line without `=`
/// gives its number and its text.
pub(crate) fn pairs(text: &str) -> impl Iterator<Item = Result<Pair<'_>, (usize, &str)>> {
    let lines = text.lines().enumerate();
    lines.filter_map(|(at, line)| {
        let trimmed = line.trim();
        if trimmed.is_empty() || trimmed.starts_with('#') {
            return None;
        }
        Some(match trimmed.split_once('=') {
            Some((key, value)) => Ok(Pair {
                line: at + 1,
                key: key.trim(),
                value: value.trim(),
            }),
            None => Err((at + 1, trimmed)),
        })
    })
}

/// Gives the value of a key, of the last line that has it.
pub(crate) fn value<'t>(text: &'t str, key: &str) -> Option<&'t str> {
    let found = pairs(text).flatten().filter(|pair| pair.key == key);
    found.last().map(|pair| pair.value)
}

#[cfg(test)]
mod tests {
    use super::{pairs, value};

    #[test]
    fn lines() {
        let text = "# a = 1\n\n b=2=3 \nwrong\nb = 4\n";
        let read: Vec<_> = pairs(text).collect();
        assert_eq!(read.len(), 3);
        assert_eq!(
            read[0].map(|p| (p.line, p.key, p.value)),
            Ok((3, "b", "2=3"))
        );
        assert_eq!(read[1].map(|p| p.line), Err((4, "wrong")));
        assert_eq!(value(text, "b"), Some("4"));
        assert_eq!(value(text, "a"), None);
    }
}
