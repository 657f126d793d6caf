//! Attach points: raw text up to `{`, `,`, white space or a predicate.

use super::cursor::{Parser, to_span};
use super::lexer::{self, Punct, TokenKind};
use super::tree::AttachPoint;
use crate::diagnostic::{Diagnostic, Span};

/// Types whose attach points may hold a path, so that a `/` after the first colon is part of it.
const WITH_PATH: &[&str] = &[
    "uprobe",
    "uretprobe",
    "usdt",
    "u",
    "ur",
    "U",
    "iter",
    "it",
    "watchpoint",
    "asyncwatchpoint",
    "w",
    "aw",
];

impl Parser<'_> {
    /// Parses attach points separated by commas; the last may have one behind it.
    pub(super) fn attach_points(&mut self) -> Option<Vec<AttachPoint>> {
        let mut points = vec![self.attach_point()?];
        while self.is(Punct::Comma) {
            self.bump();
            if self.is(Punct::LeftBrace) || self.is(Punct::Div) {
                break;
            }
            match self.attach_point() {
                Some(point) => points.push(point),
                None => break,
            }
        }
        Some(points)
    }

    fn attach_point(&mut self) -> Option<AttachPoint> {
        let start = self.offset();
        let end = end_of_attach_point(self.bytes(), start);
        let begins = match self.kind() {
            TokenKind::Punct(punct) => matches!(punct, Punct::Mul | Punct::Dot | Punct::Colon),
            TokenKind::End | TokenKind::OpenComment => false,
            _ => end > start,
        };
        if !begins {
            self.missing("an attach point, for example `kprobe:vfs_read`");
            return None;
        }
        let raw = self.bytes().get(start..end).unwrap_or_default();
        let raw = String::from_utf8_lossy(raw).into_owned();
        let split = Split::new(&raw, start, self);
        let span = to_span(&(start..end));
        self.jump(end);
        for fault in split.faults {
            if fault.id == "unterminated-string" {
                self.fail(fault);
            } else {
                self.report(fault);
            }
        }
        Some(AttachPoint {
            text: split.text,
            parts: split.parts,
            span,
        })
    }
}

/// Finds where the attach point that begins at `start` ends.
fn end_of_attach_point(text: &[u8], start: usize) -> usize {
    let mut at = start;
    let mut path = None;
    while let Some(byte) = text.get(at).copied() {
        match byte {
            b'{' | b',' => break,
            b'"' => {
                at = lexer::end_of_string(text, at).0;
                continue;
            }
            b':' if path.is_none() => {
                let kind = std::str::from_utf8(&text[start..at]).unwrap_or_default();
                path = Some(WITH_PATH.contains(&kind) || !super::is_probe_type(kind));
            }
            b'/' if path != Some(true) => break,
            byte if lexer::is_space(byte) => break,
            _ => {}
        }
        at += 1;
    }
    at
}

/// An attach point taken apart.
struct Split {
    text: String,
    parts: Vec<String>,
    faults: Vec<Diagnostic>,
}

impl Split {
    /// Splits at the colons outside quotes and puts positional parameters in.
    fn new(raw: &str, start: usize, parser: &Parser<'_>) -> Split {
        let mut split = Split {
            text: String::new(),
            parts: vec![String::new()],
            faults: Vec::new(),
        };
        let span = |from: usize, to: usize| to_span(&(start + from..start + to));
        let mut quoted = false;
        let mut chars = raw.char_indices().peekable();
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => {
                    quoted = !quoted;
                    split.text.push(c);
                }
                '\\' if quoted => {
                    split.text.push(c);
                    if let Some((_, escaped)) = chars.next() {
                        split.text.push(escaped);
                        split.add(escaped);
                    }
                }
                '$' if !quoted => {
                    let mut digits = String::new();
                    while let Some((_, digit)) = chars.next_if(|(_, c)| c.is_ascii_digit()) {
                        digits.push(digit);
                    }
                    split.positional(&digits, span(at, at + 1 + digits.len()), parser);
                }
                _ => split.plain(c, quoted),
            }
        }
        if quoted {
            let message = "unterminated string in an attach point";
            let found = Diagnostic::error("unterminated-string", span(0, raw.len()), message);
            split.faults.push(found);
        }
        split
    }

    fn add(&mut self, c: char) {
        if let Some(part) = self.parts.last_mut() {
            part.push(c);
        }
    }

    fn plain(&mut self, c: char, quoted: bool) {
        self.text.push(c);
        if c == ':' && !quoted {
            self.parts.push(String::new());
        } else {
            self.add(c);
        }
    }

    fn positional(&mut self, digits: &str, span: Span, parser: &Parser<'_>) {
        let number = digits.parse().ok().filter(|number| *number > 0);
        let Some(number) = number else {
            let message = "`$` begins a positional parameter here, such as `$1`";
            let found = Diagnostic::error("bad-positional", span, message)
                .hint("quote the part if the `$` belongs to the name");
            self.faults.push(found);
            return;
        };
        let Some(value) = parser.inputs().get(number) else {
            let message = format!("positional parameter ${number} was not given");
            let found = Diagnostic::warning("missing-positional", span, message)
                .hint("parameters follow the script on the command line");
            self.faults.push(found);
            return;
        };
        for c in value.chars() {
            self.plain(c, false);
        }
    }
}
