//! Bytes to tokens, one at a time and on demand: what a byte means depends on where the parser
//! stands (an attach point is raw text).

use std::ops::Range;

/// What a token is; its text is read from the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TokenKind {
    /// The end of the source.
    End,
    /// A word.
    Ident,
    /// Digits and the letters that follow them without a gap.
    Int,
    /// A string with its quotes.
    Str,
    /// A string without its final quote.
    OpenStr,
    /// `$name`.
    Var,
    /// `@name` or `@`.
    Map,
    /// `$1`.
    Positional,
    /// `$#`.
    PositionalCount,
    /// A comment that does not end.
    OpenComment,
    /// Characters that mean nothing.
    Unknown,
    /// `#` at the start of a line that the preprocessor left alone, or elsewhere.
    Hash,
    /// An operator or other punctuation.
    Punct(Punct),
}

/// Declares [`Punct`] with its texts, the longest first.
macro_rules! puncts {
    ($($name:ident $text:literal),* $(,)?) => {
        /// Operators and punctuation.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Punct {
            $(#[doc = $text] $name,)*
        }

        impl Punct {
            /// All of them, the longest text first.
            const ALL: &'static [Punct] = &[$(Punct::$name),*];

            /// Gives the text.
            pub(super) const fn text(self) -> &'static str {
                match self {
                    $(Punct::$name => $text,)*
                }
            }
        }
    };
}

puncts! {
    ShlAssign "<<=",
    ShrAssign ">>=",
    AddAssign "+=",
    SubAssign "-=",
    MulAssign "*=",
    DivAssign "/=",
    ModAssign "%=",
    AndAssign "&=",
    OrAssign "|=",
    XorAssign "^=",
    Shl "<<",
    Shr ">>",
    AndAnd "&&",
    OrOr "||",
    EqEq "==",
    NotEq "!=",
    LessEq "<=",
    GreaterEq ">=",
    Increment "++",
    Decrement "--",
    Arrow "->",
    DotDot "..",
    Add "+",
    Sub "-",
    Mul "*",
    Div "/",
    Mod "%",
    And "&",
    Or "|",
    Xor "^",
    BitNot "~",
    Not "!",
    Less "<",
    Greater ">",
    Assign "=",
    Question "?",
    Colon ":",
    Semicolon ";",
    Comma ",",
    Dot ".",
    LeftParen "(",
    RightParen ")",
    LeftBrace "{",
    RightBrace "}",
    LeftBracket "[",
    RightBracket "]",
}

/// Says whether a word may begin with this byte.
pub(super) const fn starts_word(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_'
}

/// Says whether a word may go on with this byte.
pub(super) const fn continues_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// Says whether a byte is white space.
pub(super) const fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c)
}

/// Gives the offset after a run of bytes that `holds`.
pub(super) fn run(text: &[u8], mut at: usize, holds: impl Fn(u8) -> bool) -> usize {
    while text.get(at).is_some_and(|byte| holds(*byte)) {
        at += 1;
    }
    at
}

/// Gives the offset after white space and comments; a comment without an end is not skipped.
pub(super) fn skip_layout(text: &[u8], mut at: usize) -> usize {
    loop {
        at = run(text, at, is_space);
        let rest = text.get(at..).unwrap_or_default();
        if rest.starts_with(b"//") {
            at = run(text, at, |byte| byte != b'\n');
        } else if rest.starts_with(b"/*") {
            match end_of_comment(text, at) {
                Some(end) => at = end,
                None => return at,
            }
        } else if rest.starts_with(b"\\\n") {
            at += 2;
        } else if rest.starts_with(b"\\\r\n") {
            at += 3;
        } else {
            return at;
        }
    }
}

/// Gives the offset after the comment that begins with `/*` at `at`.
pub(super) fn end_of_comment(text: &[u8], at: usize) -> Option<usize> {
    let body = text.get(at + 2..)?;
    let length = body.windows(2).position(|pair| pair == b"*/")?;
    Some(at + 2 + length + 2)
}

/// Gives the offset after the string that begins at `at`, and whether it has its final quote.
/// Strings end at the end of their line at the latest.
pub(super) fn end_of_string(text: &[u8], at: usize) -> (usize, bool) {
    let mut here = at + 1;
    while let Some(byte) = text.get(here) {
        match byte {
            b'"' => return (here + 1, true),
            b'\n' => return (here, false),
            b'\\' if text.get(here + 1).is_some_and(|next| *next != b'\n') => here += 2,
            _ => here += 1,
        }
    }
    (here.min(text.len()), false)
}

/// Reads the token at or after `at`; its range is empty at the end of the text alone.
pub(super) fn token(text: &[u8], at: usize) -> (TokenKind, Range<usize>) {
    let start = skip_layout(text, at);
    let Some(first) = text.get(start).copied() else {
        return (TokenKind::End, text.len()..text.len());
    };
    let second = text.get(start + 1).copied().unwrap_or(0);
    let (kind, end) = match first {
        byte if starts_word(byte) => (TokenKind::Ident, run(text, start, continues_word)),
        b'0'..=b'9' => (TokenKind::Int, run(text, start, continues_word)),
        b'"' => match end_of_string(text, start) {
            (end, true) => (TokenKind::Str, end),
            (end, false) => (TokenKind::OpenStr, end),
        },
        b'@' if starts_word(second) => (TokenKind::Map, run(text, start + 1, continues_word)),
        b'@' => (TokenKind::Map, start + 1),
        b'$' if starts_word(second) => (TokenKind::Var, run(text, start + 1, continues_word)),
        b'$' if second.is_ascii_digit() => {
            let end = run(text, start + 1, |byte| byte.is_ascii_digit());
            (TokenKind::Positional, end)
        }
        b'$' if second == b'#' => (TokenKind::PositionalCount, start + 2),
        b'/' if second == b'*' => (TokenKind::OpenComment, text.len()),
        b'#' => (TokenKind::Hash, start + 1),
        _ => match punct(&text[start..]) {
            Some(punct) => (TokenKind::Punct(punct), start + punct.text().len()),
            None => (TokenKind::Unknown, end_of_unknown(text, start)),
        },
    };
    (kind, start..end)
}

/// Finds the longest punctuation that `rest` begins with.
fn punct(rest: &[u8]) -> Option<Punct> {
    Punct::ALL
        .iter()
        .copied()
        .find(|punct| rest.starts_with(punct.text().as_bytes()))
}

/// Gives the end of a character that means nothing, with the like that follow: a foreign word
/// is one finding.
fn end_of_unknown(text: &[u8], start: usize) -> usize {
    let foreign = |byte: u8| !byte.is_ascii();
    if text.get(start).copied().is_some_and(foreign) {
        run(text, start, foreign)
    } else {
        start + 1
    }
}
