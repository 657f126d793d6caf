//! A line of the prompt taken apart: words, quotation marks, a pipe, a file that output goes to.

/// A line taken apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Words {
    pub(super) words: Vec<String>,
    /// What stands behind the first `|`, for the shell; behind a `>`, what writes the file.
    pub(super) pipe: Option<String>,
}

/// Takes a line apart as a shell does: words between spaces, `'…'` as it is, `"…"` and the rest with
/// `\` before a character that is meant as it is.
///
/// # Errors
///
/// Where a quotation mark has no other.
pub(super) fn split(line: &str) -> Result<Words, String> {
    let mut found = Words::default();
    let mut word: Option<String> = None;
    let mut rest = line.char_indices();
    while let Some((at, c)) = rest.next() {
        match c {
            ' ' | '\t' => found.words.extend(word.take()),
            '|' => {
                found.pipe = Some(line[at + 1..].trim().to_owned());
                break;
            }
            // A file is what a shell writes it to.
            '>' if word.is_none() => {
                found.pipe = Some(format!("cat {}", &line[at..]));
                break;
            }
            '#' if word.is_none() => break,
            '\\' => {
                let (_, next) = rest.next().ok_or("a `\\` at the end of the line")?;
                word.get_or_insert_default().push(next);
            }
            '\'' | '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match rest.next() {
                        None => return Err(format!("a {c} without its other")),
                        Some((_, end)) if end == c => break,
                        Some((_, '\\')) if c == '"' => {
                            let next = rest.next().map(|(_, next)| next);
                            // Before others it is a letter like all, as in shells.
                            if !matches!(next, Some('"' | '\\')) {
                                word.push('\\');
                            }
                            word.extend(next);
                        }
                        Some((_, c)) => word.push(c),
                    }
                }
            }
            c => word.get_or_insert_default().push(c),
        }
    }
    found.words.extend(word);
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn lines_are_taken_apart() {
        let check = |line: &str, words: &[&str], pipe: Option<&str>| {
            let found = split(line).unwrap_or_else(|why| panic!("{line}: {why}"));
            assert_eq!(
                (&*found.words, found.pipe.as_deref()),
                (
                    &*words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>(),
                    pipe
                )
            );
        };
        check("", &[], None);
        check("  bt   --all ", &["bt", "--all"], None);
        check("bt 'a b' \"c d\"", &["bt", "a b", "c d"], None);
        check("bt a\\ b", &["bt", "a b"], None);
        check(
            "run -e 'begin { print(1 | 2); }'",
            &["run", "-e", "begin { print(1 | 2); }"],
            None,
        );
        check(
            r#"run -e "a \"b\" \n""#,
            &["run", "-e", "a \"b\" \\n"],
            None,
        );
        check("log | grep -c 'x|y'", &["log"], Some("grep -c 'x|y'"));
        check("log|wc", &["log"], Some("wc"));
        check("log > /tmp/a b", &["log"], Some("cat > /tmp/a b"));
        check("log >>a", &["log"], Some("cat >>a"));
        check("struct a->b 'x > y'", &["struct", "a->b", "x > y"], None);
        check("bt ''", &["bt", ""], None);
        check("# bt", &[], None);
        check("sym a#b # c", &["sym", "a#b"], None);
        assert!(split("bt 'a").is_err());
        assert!(split("bt \"a").is_err());
        assert!(split("bt \\").is_err());
    }
}
