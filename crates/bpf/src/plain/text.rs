//! Texts in arrays of characters.

use std::borrow::Cow;
use std::fmt;

use super::{Plain, field, put};

/// A text in `char[N]`: what stands before the first NUL, or all of it. Its encoding is whatever
/// the program copied; it is shown as UTF-8, with a replacement for what is none.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(transparent)]
pub struct Text<const N: usize>(pub [u8; N]);

impl<const N: usize> Text<N> {
    /// Makes it of a text, cut to `N` bytes and filled with zeros. A text of `N` bytes or more has
    /// no NUL then.
    #[must_use]
    pub fn new(text: impl AsRef<[u8]>) -> Text<N> {
        let mut bytes = [0; N];
        let ended = text.as_ref().split(|&byte| byte == 0).next();
        for (to, from) in bytes.iter_mut().zip(ended.unwrap_or_default()) {
            *to = *from;
        }
        Text(bytes)
    }

    /// Gives what stands before the first NUL.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        let ended = self.0.split(|&byte| byte == 0).next();
        ended.unwrap_or_default()
    }

    /// Gives the text, with a replacement for what is no UTF-8.
    #[must_use]
    pub fn lossy(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(self.as_bytes())
    }
}

impl<const N: usize> Plain for Text<N> {
    const SIZE: usize = N;

    fn decode(bytes: &[u8]) -> Text<N> {
        Text(field(bytes, 0))
    }

    fn encode(&self, bytes: &mut [u8]) {
        put(bytes, 0, &self.0);
    }
}

impl<const N: usize> Default for Text<N> {
    fn default() -> Text<N> {
        Text([0; N])
    }
}

impl<const N: usize> PartialEq<str> for Text<N> {
    fn eq(&self, other: &str) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl<const N: usize> PartialEq<&str> for Text<N> {
    fn eq(&self, other: &&str) -> bool {
        *self == **other
    }
}

impl<const N: usize> fmt::Display for Text<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.lossy())
    }
}

impl<const N: usize> fmt::Debug for Text<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.lossy(), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_ends_at_its_nul() {
        let check = |bytes: &[u8; 4], expected: &str| {
            let text = Text::<4>::decode(bytes);
            assert_eq!(text.to_string(), expected);
            assert_eq!(text.to_bytes(), bytes);
        };
        check(b"ab\0c", "ab");
        check(b"abcd", "abcd");
        check(b"\0\0\0\0", "");
        check(b"a\xff\0\0", "a\u{fffd}");
    }

    #[test]
    fn a_text_is_cut_to_fit() {
        let check = |text: &str, expected: [u8; 4]| assert_eq!(Text::<4>::new(text).0, expected);
        check("ab", *b"ab\0\0");
        check("abcdef", *b"abcd");
        check("a\0b", *b"a\0\0\0");
        assert_eq!(Text::<4>::new("ab"), "ab");
        assert_eq!(
            format!("{:>4}|{:?}", Text::<4>::new("ab"), Text::<2>::new("c")),
            "  ab|\"c\""
        );
    }
}
