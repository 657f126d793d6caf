//! The small part of regular expressions that names of probes are chosen with.

use crate::error::Failure;

/// What one character of a name may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum One {
    Any,
    This(char),
}

/// Characters, `.`, `*` behind either, `^` at the begin and `$` at the end.
#[derive(Debug)]
pub(crate) struct Pattern {
    parts: Vec<(One, bool)>,
    from_begin: bool,
    to_end: bool,
}

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    ///
    /// For what regular expressions have and this has not.
    pub(crate) fn new(text: &str) -> Result<Pattern, Failure> {
        let from_begin = text.starts_with('^');
        let rest = text.strip_prefix('^').unwrap_or(text);
        let to_end = rest.ends_with('$') && !rest.ends_with("\\$");
        let rest = if to_end {
            &rest[..rest.len() - 1]
        } else {
            rest
        };
        let refuse = |what: char| {
            let message =
                format!("'{what}' in {text}: a pattern has characters, `.`, `*`, `^` and `$`");
            Err(Failure::usage(message))
        };
        let mut parts: Vec<(One, bool)> = Vec::new();
        let mut letters = rest.chars();
        while let Some(letter) = letters.next() {
            match letter {
                '*' => match parts.last_mut() {
                    Some((_, many)) => *many = true,
                    None => return refuse('*'),
                },
                '.' => parts.push((One::Any, false)),
                '\\' => match letters.next() {
                    Some(next) => parts.push((One::This(next), false)),
                    None => return refuse('\\'),
                },
                '[' | ']' | '(' | ')' | '{' | '}' | '|' | '+' | '?' | '^' | '$' => {
                    return refuse(letter);
                }
                letter => parts.push((One::This(letter), false)),
            }
        }
        Ok(Pattern {
            parts,
            from_begin,
            to_end,
        })
    }

    /// Says whether it fits some part of a name.
    pub(crate) fn fits(&self, name: &str) -> bool {
        let letters: Vec<char> = name.chars().collect();
        // The places that some way through the pattern has come to.
        let mut places: Vec<bool> = vec![!self.from_begin; letters.len() + 1];
        places[0] = true;
        for (one, many) in &self.parts {
            let mut next = vec![false; places.len()];
            for at in 0..places.len() {
                let here = places[at] || (*many && next[at]);
                next[at] |= *many && here;
                let letter = letters.get(at);
                let fits = match one {
                    One::Any => letter.is_some(),
                    One::This(wanted) => letter == Some(wanted),
                };
                if here && fits {
                    next[at + 1] = true;
                }
            }
            places = next;
        }
        match self.to_end {
            true => places.last() == Some(&true),
            false => places.contains(&true),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Pattern;

    #[test]
    fn patterns_fit_as_regular_expressions_do() {
        let check = |pattern: &str, name: &str, expected: bool| {
            let pattern = Pattern::new(pattern).expect("a pattern");
            assert_eq!(pattern.fits(name), expected, "{pattern:?} {name}");
        };
        check("ok", "test:okay", true);
        check("ok.*", "test:okay", true);
        check("^ok", "test:okay", false);
        check("^test:ok", "test:okay", true);
        check("ok$", "test:okay", false);
        check("a*y$", "test:okaaay", true);
        check("o.*y$", "test:okay", true);
        check("t.t", "test:okay", false);
        check("k\\.", "test:okay", false);
        check("", "test:okay", true);
        assert!(Pattern::new("a|b").is_err());
        assert!(Pattern::new("*a").is_err());
    }
}
