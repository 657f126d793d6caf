//! What integers and strings are worth.

use std::ops::Range;

/// A fault inside a literal, at a range of its own bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// Which bytes of the literal.
    pub(super) range: Range<usize>,
    /// What is wrong with them.
    pub(super) message: String,
}

impl Fault {
    fn new(range: Range<usize>, message: impl Into<String>) -> Self {
        Fault {
            range,
            message: message.into(),
        }
    }
}

/// Suffixes of integers and what they multiply by; C's are without effect.
const SUFFIXES: &[(&str, u64)] = &[
    ("", 1),
    ("u", 1),
    ("l", 1),
    ("ul", 1),
    ("ll", 1),
    ("ull", 1),
    ("lu", 1),
    ("llu", 1),
    ("ns", 1),
    ("us", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
    ("d", 86_400_000_000_000),
];

/// Reads an integer: decimal, `0x`, octal, `1e6`, `1_000`, with C's suffixes or a duration's.
pub(super) fn integer(text: &str) -> Result<u64, Fault> {
    let bytes = text.as_bytes();
    let hexadecimal = text.starts_with("0x") || text.starts_with("0X");
    let digit = |byte: &u8| {
        *byte == b'_'
            || if hexadecimal {
                byte.is_ascii_hexdigit()
            } else {
                byte.is_ascii_digit()
            }
    };
    let begin = if hexadecimal { 2 } else { 0 };
    let count = bytes[begin..].iter().take_while(|byte| digit(byte)).count();
    let mut end = begin + count;
    let digits = underscored(text, begin..end)?;
    let radix = match (hexadecimal, digits.as_bytes()) {
        (true, _) => 16,
        (false, [b'0', _, ..]) => 8,
        (false, _) => 10,
    };
    if digits.is_empty() {
        return Err(Fault::new(0..text.len(), "no digits after `0x`"));
    }
    if radix == 8 {
        if let Some(wrong) = bytes[..end]
            .iter()
            .position(|byte| matches!(byte, b'8' | b'9'))
        {
            let message = "`8` and `9` are no octal digits (a leading zero means octal)";
            return Err(Fault::new(wrong..wrong + 1, message));
        }
    }
    let too_large = || {
        let message =
            "integer literal does not fit in 64 bits (the largest is 18446744073709551615)";
        Fault::new(0..text.len(), message)
    };
    let mut value = u64::from_str_radix(&digits, radix).map_err(|_| too_large())?;

    let has_exponent = matches!(bytes.get(end), Some(b'e' | b'E'))
        && bytes.get(end + 1).is_some_and(u8::is_ascii_digit);
    if !hexadecimal && has_exponent {
        let begin = end + 1;
        let count = bytes[begin..].iter().take_while(|byte| digit(byte)).count();
        end = begin + count;
        let exponent = underscored(text, begin..end)?;
        let exponent: u32 = exponent.parse().map_err(|_| too_large())?;
        if value != 0 {
            let factor = 10u64.checked_pow(exponent).ok_or_else(too_large)?;
            value = value.checked_mul(factor).ok_or_else(too_large)?;
        }
    }

    let suffix = &text[end..];
    let scale = SUFFIXES
        .iter()
        .find(|(name, _)| *name == suffix || (suffix.eq_ignore_ascii_case(name) && is_c(name)));
    let Some((_, scale)) = scale else {
        let message = format!("invalid integer suffix `{suffix}`");
        return Err(Fault::new(end..text.len(), message));
    };
    value.checked_mul(*scale).ok_or_else(too_large)
}

/// Says whether a suffix is C's, whose case does not matter.
fn is_c(suffix: &str) -> bool {
    suffix.bytes().all(|byte| matches!(byte, b'u' | b'l'))
}

/// Gives the digits of a range without the underscores between them.
fn underscored(text: &str, range: Range<usize>) -> Result<String, Fault> {
    let part = &text[range.clone()];
    if part.ends_with('_') {
        let message = "trailing underscore in an integer literal";
        return Err(Fault::new(range.end - 1..range.end, message));
    }
    Ok(part.chars().filter(|c| *c != '_').collect())
}

/// Resolves the escapes of a string's inner bytes. What is wrong is left out of the result.
pub(super) fn string(inner: &[u8]) -> (Vec<u8>, Vec<Fault>) {
    let mut bytes = Vec::with_capacity(inner.len());
    let mut faults = Vec::new();
    let mut at = 0;
    while let Some(byte) = inner.get(at).copied() {
        if byte != b'\\' {
            bytes.push(byte);
            at += 1;
            continue;
        }
        let start = at;
        let Some(escape) = inner.get(at + 1).copied() else {
            faults.push(Fault::new(
                start..inner.len(),
                "a lone `\\` at the end of a string",
            ));
            break;
        };
        at += 2;
        match escape {
            b'n' => bytes.push(b'\n'),
            b't' => bytes.push(b'\t'),
            b'r' => bytes.push(b'\r'),
            b'"' => bytes.push(b'"'),
            b'\\' => bytes.push(b'\\'),
            b'0'..=b'7' => {
                let end = end_of_digits(inner, start + 1, 3, |byte| matches!(byte, b'0'..=b'7'));
                match number(&inner[start + 1..end], 8) {
                    Some(value) => bytes.push(value),
                    None => faults.push(Fault::new(
                        start..end,
                        "octal escape is out of range (the largest is `\\377`)",
                    )),
                }
                at = end;
            }
            b'x' | b'X' => {
                let end = end_of_digits(inner, at, 2, |byte| byte.is_ascii_hexdigit());
                match number(&inner[at..end], 16) {
                    Some(value) => bytes.push(value),
                    None => {
                        let message = "no hexadecimal digits after `\\x`";
                        faults.push(Fault::new(start..end, message));
                    }
                }
                at = end;
            }
            _ => {
                // A character of several bytes is one escape.
                let end = inner[at..]
                    .iter()
                    .take_while(|byte| (**byte & 0xc0) == 0x80)
                    .count();
                let range = start..at + end;
                let what = String::from_utf8_lossy(&inner[range.clone()])
                    .escape_debug()
                    .to_string();
                let what = what.strip_prefix('\\').unwrap_or(&what);
                faults.push(Fault::new(
                    range.clone(),
                    format!("unknown escape `{what}`"),
                ));
                at = range.end;
            }
        }
    }
    (bytes, faults)
}

/// Gives the end of at most `most` digits.
fn end_of_digits(bytes: &[u8], start: usize, most: usize, digit: impl Fn(u8) -> bool) -> usize {
    let count = bytes[start..]
        .iter()
        .take(most)
        .take_while(|byte| digit(**byte))
        .count();
    start + count
}

/// Reads digits as a byte.
fn number(digits: &[u8], radix: u32) -> Option<u8> {
    let digits = std::str::from_utf8(digits).ok()?;
    u8::from_str_radix(digits, radix).ok()
}

/// Reads an integer where the text is one.
pub(super) fn integer_or_none(text: &str) -> Option<u64> {
    let digits = text
        .bytes()
        .next()
        .is_some_and(|byte| byte.is_ascii_digit());
    let word = text
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if digits && word {
        integer(text).ok()
    } else {
        None
    }
}
