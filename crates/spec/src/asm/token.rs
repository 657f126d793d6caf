//! A line of assembler text as tokens.

use super::AsmErrorKind;

/// One token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// A word: register, keyword, name.
    Word(&'a str),
    /// A number without sign.
    Number(i128),
    /// A bracket, comma, colon or hash, or a run of operator characters.
    Mark(&'a str),
    /// The text between the parentheses of `map(…)` and its like.
    Name(&'a str),
}

/// The tokens of a line, read from the front.
#[derive(Debug)]
pub(super) struct Tokens<'a> {
    all: Vec<(Token<'a>, &'a str)>,
    at: usize,
}

const OPERATORS: &str = "+-*/%&|^<>=!";

/// Words whose parentheses hold a name of any characters.
const NAMED: [&str; 5] = ["map", "map_value", "late", "func", "extern"];

/// Splits a line; a comment is left out.
pub(super) fn split(line: &str) -> Result<Tokens<'_>, AsmErrorKind> {
    let mut all = Vec::new();
    let mut rest = line.trim_start();
    while let Some(first) = rest.chars().next() {
        if first == ';' || rest.starts_with("//") {
            break;
        }
        if first.is_ascii_alphabetic() || first == '_' || first == '.' {
            let (word, after) =
                split_while(rest, |c| c.is_ascii_alphanumeric() || "_.".contains(c));
            all.push((Token::Word(word), word));
            rest = after;
            let inside = after.strip_prefix('(');
            if let Some(inside) = inside.filter(|_| NAMED.contains(&word)) {
                let Some((name, after)) = inside.split_once(')') else {
                    return Err(expected("`)`", ""));
                };
                all.push((Token::Name(name), name));
                rest = after;
            }
        } else if first.is_ascii_digit() {
            let (digits, after) = split_while(rest, |c| c.is_ascii_alphanumeric());
            let number = match digits.strip_prefix("0x") {
                Some(hex) => i128::from_str_radix(hex, 16),
                None => digits.parse(),
            };
            let number = number.map_err(|_| expected("a number", digits))?;
            all.push((Token::Number(number), digits));
            rest = after;
        } else if OPERATORS.contains(first) {
            let (mark, after) = split_while(rest, |c| OPERATORS.contains(c));
            all.push((Token::Mark(mark), mark));
            rest = after;
        } else {
            let (mark, after) = rest.split_at(first.len_utf8());
            all.push((Token::Mark(mark), mark));
            rest = after;
        }
        rest = rest.trim_start();
    }
    Ok(Tokens { all, at: 0 })
}

fn split_while(text: &str, keep: impl Fn(char) -> bool) -> (&str, &str) {
    let end = text.find(|c| !keep(c)).unwrap_or(text.len());
    text.split_at(end)
}

pub(super) fn expected(what: &'static str, found: &str) -> AsmErrorKind {
    AsmErrorKind::Expected {
        what,
        found: found.to_owned(),
    }
}

impl<'a> Tokens<'a> {
    pub(super) fn at_end(&self) -> bool {
        self.at >= self.all.len()
    }

    pub(super) fn peek(&self) -> Option<Token<'a>> {
        self.all.get(self.at).map(|(token, _)| *token)
    }

    pub(super) fn next(&mut self) -> Option<Token<'a>> {
        let token = self.peek();
        self.at = self.at.saturating_add(1);
        token
    }

    /// The error that something else should stand here.
    pub(super) fn expected(&self, what: &'static str) -> AsmErrorKind {
        expected(what, self.all.get(self.at).map_or("", |(_, text)| text))
    }

    /// Takes a mark if it stands here.
    pub(super) fn mark(&mut self, mark: &str) -> bool {
        let found = self.peek() == Some(Token::Mark(mark));
        if found {
            self.at = self.at.saturating_add(1);
        }
        found
    }

    /// Takes a mark, or fails.
    pub(super) fn need(&mut self, mark: &'static str) -> Result<(), AsmErrorKind> {
        if self.mark(mark) {
            Ok(())
        } else {
            Err(self.expected(mark))
        }
    }

    /// Takes a word if it stands here.
    pub(super) fn word(&mut self, word: &str) -> bool {
        let found = self.peek() == Some(Token::Word(word));
        if found {
            self.at = self.at.saturating_add(1);
        }
        found
    }

    /// Takes any word.
    pub(super) fn any_word(&mut self, what: &'static str) -> Result<&'a str, AsmErrorKind> {
        match self.peek() {
            Some(Token::Word(word)) => {
                self.at = self.at.saturating_add(1);
                Ok(word)
            }
            _ => Err(self.expected(what)),
        }
    }

    /// Takes the name in parentheses of `map(…)` and its like.
    pub(super) fn name(&mut self) -> Result<&'a str, AsmErrorKind> {
        match self.peek() {
            Some(Token::Name(name)) => {
                self.at = self.at.saturating_add(1);
                Ok(name)
            }
            _ => Err(self.expected("a name in parentheses")),
        }
    }

    /// Takes a number with an optional sign.
    pub(super) fn number(&mut self) -> Result<i128, AsmErrorKind> {
        let start = self.at;
        let negative = self.mark("-");
        if !negative {
            let _ = self.mark("+");
        }
        match self.next() {
            Some(Token::Number(number)) if negative => Ok(-number),
            Some(Token::Number(number)) => Ok(number),
            _ => {
                self.at = start;
                Err(self.expected("a number"))
            }
        }
    }

    /// Takes an operator; `s` before it makes it a signed one.
    pub(super) fn operator(&mut self) -> Result<(bool, &'a str), AsmErrorKind> {
        let signed = self.word("s");
        match self.peek() {
            Some(Token::Mark(mark)) => {
                self.at = self.at.saturating_add(1);
                Ok((signed, mark))
            }
            _ => Err(self.expected("an operator")),
        }
    }

    /// Takes `name:`.
    pub(super) fn label(&mut self) -> Option<&'a str> {
        let Some(Token::Word(word)) = self.peek() else {
            return None;
        };
        self.colon_next().then(|| {
            self.at = self.at.saturating_add(2);
            word
        })
    }

    /// Takes `12:`.
    pub(super) fn slot_number(&mut self) -> Option<i128> {
        let Some(Token::Number(number)) = self.peek() else {
            return None;
        };
        self.colon_next().then(|| {
            self.at = self.at.saturating_add(2);
            number
        })
    }

    fn colon_next(&self) -> bool {
        let next = self.all.get(self.at.saturating_add(1));
        matches!(next, Some((Token::Mark(":"), _)))
    }
}
