//! The small preprocessor: conditionals and macros without parameters.
//!
//! Offsets never move: directives and what conditionals exclude become spaces of the same length,
//! and a macro's replacement stays where its `#define` stands, as a range to read tokens from.
//! `#include` has no effect, because types come from BTF.

use std::collections::HashMap;
use std::ops::Range;

use crate::diagnostic::{Diagnostic, Span};
use crate::near::near;

use super::lexer::{self, TokenKind};
use super::literal;

/// Most findings of the preprocessor.
const MAX_FINDINGS: usize = 50;

/// Symbols that are defined before the first line, with the value 1.
const PREDEFINED: &[&str] = &["BPFTRACE_HAVE_BTF"];

/// Directives the preprocessor knows.
const DIRECTIVES: &[&str] = &[
    "define", "undef", "include", "if", "ifdef", "ifndef", "elif", "else", "endif", "error",
    "warning", "pragma", "line",
];

/// What the preprocessor makes of a source.
pub(super) struct Preprocessed<'a> {
    /// The source with directives and excluded parts as spaces; newlines stay.
    pub(super) text: Vec<u8>,
    /// The source as it came: replacements of macros are read from it.
    pub(super) original: &'a [u8],
    /// Where imported files begin, which stand behind what imports them.
    imported_from: usize,
    /// Macros by name; a name may be defined again further down.
    pub(super) macros: HashMap<String, Vec<Definition>>,
    /// Findings.
    pub(super) diagnostics: Vec<Diagnostic>,
}

/// One `#define` or `#undef`, valid from an offset on.
#[derive(Clone, Debug)]
pub(super) struct Definition {
    /// Where the directive ends.
    from: usize,
    /// The replacement, in [`Preprocessed::original`]; `None` after `#undef`.
    replacement: Option<Range<usize>>,
}

impl Preprocessed<'_> {
    /// Gives the replacement of a name that is used at an offset.
    pub(super) fn replacement(&self, name: &str, at: usize) -> Option<Range<usize>> {
        let definitions = self.macros.get(name)?;
        let before = definitions.partition_point(|definition| definition.from <= at);
        let is_imported = |last: &&Definition| last.from >= self.imported_from;
        let imported = || definitions.last().filter(is_imported);
        let found = definitions[..before].last().or_else(imported)?;
        found.replacement.clone()
    }
}

/// One `#if` that is open.
struct Conditional {
    /// Where it was opened.
    span: Span,
    /// Whether this branch is read.
    active: bool,
    /// Whether a branch has been read before, so that no other is.
    taken: bool,
    /// Whether `#else` was seen.
    last: bool,
}

/// Runs the preprocessor over a source.
pub(super) fn preprocess(source: &str, imported_from: usize) -> Preprocessed<'_> {
    let mut run = Run {
        out: Preprocessed {
            text: source.as_bytes().to_vec(),
            original: source.as_bytes(),
            imported_from,
            macros: HashMap::new(),
            diagnostics: Vec::new(),
        },
        open: Vec::new(),
        comments_end: true,
    };
    for name in PREDEFINED {
        let defined = Definition {
            from: 0,
            replacement: None,
        };
        run.out.macros.insert((*name).to_owned(), vec![defined]);
    }
    run.all();
    run.out
}

/// The state of one run.
struct Run<'a> {
    out: Preprocessed<'a>,
    open: Vec<Conditional>,
    /// Cleared once a comment without an end was met, so that none is searched for again.
    comments_end: bool,
}

impl Run<'_> {
    fn all(&mut self) {
        let length = self.out.original.len();
        let mut at = 0;
        if self.out.original.starts_with("\u{feff}".as_bytes()) {
            self.blank(0..3);
            at = 3;
        }
        if self.out.original[at..].starts_with(b"#!") {
            let end = self.end_of_line(at);
            self.blank(at..end);
            at = end;
        }
        while at < length {
            let first = lexer::run(self.out.original, at, |byte| {
                lexer::is_space(byte) && byte != b'\n'
            });
            if self.out.original.get(first) == Some(&b'#') {
                let end = self.end_of_directive(first);
                self.directive(first, end);
                self.blank(at..end);
                at = end + 1;
            } else {
                let end = self.end_of_text(at);
                if !self.active() {
                    self.blank(at..end.min(length));
                }
                at = end;
            }
        }
        if let Some(open) = self.open.pop() {
            self.report(open.span, "this `#if` has no `#endif`");
        }
    }

    /// Gives the offset of the first line that begins outside comments and strings after `at`.
    fn end_of_text(&mut self, mut at: usize) -> usize {
        let text = self.out.original;
        while let Some(byte) = text.get(at) {
            let before = at
                .checked_sub(1)
                .and_then(|i| text.get(i))
                .copied()
                .unwrap_or(b' ');
            match byte {
                b'\n' => return at + 1,
                b'"' => at = lexer::end_of_string(text, at).0,
                b'/' if text.get(at + 1) == Some(&b'/') => {
                    at = lexer::run(text, at, |byte| byte != b'\n');
                }
                // A `/*` inside a path (`uprobe:/usr/*/x`) is no comment.
                b'/' if text.get(at + 1) == Some(&b'*')
                    && !lexer::continues_word(before)
                    && before != b':'
                    && before != b'/' =>
                {
                    let end = self
                        .comments_end
                        .then(|| lexer::end_of_comment(text, at))
                        .flatten();
                    self.comments_end = end.is_some();
                    at = end.unwrap_or(at + 2);
                }
                _ => at += 1,
            }
        }
        text.len()
    }

    /// Gives the end of a line, before its newline.
    fn end_of_line(&self, at: usize) -> usize {
        lexer::run(self.out.original, at, |byte| byte != b'\n')
    }

    /// Gives the end of a directive: its line and those that a `\` or a comment joins to it.
    fn end_of_directive(&self, start: usize) -> usize {
        let text = self.out.original;
        let mut at = start;
        while let Some(byte) = text.get(at) {
            match byte {
                b'\n' => return at,
                b'\\' if text.get(at + 1) == Some(&b'\n') => at += 2,
                b'\\' if text[at + 1..].starts_with(b"\r\n") => at += 3,
                b'"' => at = lexer::end_of_string(text, at).0,
                b'/' if text.get(at + 1) == Some(&b'/') => return self.end_of_line(at),
                b'/' if text.get(at + 1) == Some(&b'*') => {
                    at = lexer::end_of_comment(text, at).unwrap_or(text.len());
                }
                _ => at += 1,
            }
        }
        text.len()
    }

    fn active(&self) -> bool {
        self.open
            .last()
            .is_none_or(|conditional| conditional.active)
    }

    /// Overwrites all but newlines with spaces.
    fn blank(&mut self, range: Range<usize>) {
        let range = range.start..range.end.min(self.out.text.len());
        for byte in &mut self.out.text[range] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
    }

    fn push(&mut self, found: Diagnostic) {
        if self.out.diagnostics.len() < MAX_FINDINGS {
            self.out.diagnostics.push(found);
        }
    }

    fn report(&mut self, span: Span, message: impl Into<String>) {
        let found = Diagnostic::error("preprocessor", span, message);
        self.push(found);
    }

    /// Obeys the directive between `start`, where its `#` stands, and `end`.
    fn directive(&mut self, start: usize, end: usize) {
        let original = self.out.original;
        let line = &original[..end];
        let span = span(start..end);
        let (kind, word) = lexer::token(line, start + 1);
        if kind != TokenKind::Ident {
            if kind != TokenKind::End && self.active() {
                self.report(span, "expected a preprocessor directive after `#`");
            }
            return;
        }
        let name = String::from_utf8_lossy(&line[word.clone()]).into_owned();
        let rest = word.end;
        match name.as_str() {
            "if" | "ifdef" | "ifndef" => self.begin(&name, line, rest, span),
            "elif" | "else" | "endif" => self.go_on(&name, line, rest, span),
            _ if !self.active() => {}
            "define" => self.define(line, rest, span),
            "undef" => {
                if let Some(symbol) = self.symbol(line, rest, span) {
                    let definition = Definition {
                        from: end,
                        replacement: None,
                    };
                    self.out.macros.entry(symbol).or_default().push(definition);
                }
            }
            "include" | "pragma" | "line" => {}
            "error" | "warning" => {
                let text = String::from_utf8_lossy(&line[rest..]).trim().to_owned();
                let text = format!("#{name} {text}");
                if name == "error" {
                    self.report(span, text);
                } else {
                    let found = Diagnostic::warning("preprocessor", span, text);
                    self.push(found);
                }
            }
            _ => {
                let message = format!("unknown preprocessor directive `#{name}`");
                let mut found = Diagnostic::error("preprocessor", span, message);
                found.hint = near(&name, DIRECTIVES).map(|n| format!("did you mean `#{n}`?"));
                self.push(found);
            }
        }
    }

    fn begin(&mut self, name: &str, line: &[u8], rest: usize, span: Span) {
        let outer = self.active();
        let holds = outer
            && match name {
                "if" => self.condition(line, rest, span),
                _ => self
                    .symbol(line, rest, span)
                    .is_some_and(|symbol| self.defined(&symbol) == (name == "ifdef")),
            };
        self.open.push(Conditional {
            span,
            active: holds,
            taken: holds || !outer,
            last: false,
        });
    }

    fn go_on(&mut self, name: &str, line: &[u8], rest: usize, span: Span) {
        let Some(open) = self.open.last() else {
            self.report(span, format!("`#{name}` without `#if`"));
            return;
        };
        if name == "endif" {
            self.open.pop();
            return;
        }
        if open.last {
            self.report(span, format!("`#{name}` after `#else`"));
            return;
        }
        let taken = open.taken;
        let holds = !taken && (name == "else" || self.condition(line, rest, span));
        if let Some(open) = self.open.last_mut() {
            open.active = holds;
            open.taken |= holds;
            open.last = name == "else";
        }
    }

    fn define(&mut self, line: &[u8], rest: usize, span: Span) {
        let Some(symbol) = self.symbol(line, rest, span) else {
            return;
        };
        let (_, word) = lexer::token(line, rest);
        if line.get(word.end) == Some(&b'(') {
            let message = format!("macro `{symbol}` with parameters is not supported");
            let hint = format!("write `macro {symbol}(…) {{ … }}`");
            let found = Diagnostic::error("preprocessor", span, message).hint(hint);
            self.push(found);
            return;
        }
        let definition = Definition {
            from: line.len(),
            replacement: Some(word.end..line.len()),
        };
        self.out.macros.entry(symbol).or_default().push(definition);
    }

    /// Reads the name a directive is about.
    fn symbol(&mut self, line: &[u8], rest: usize, span: Span) -> Option<String> {
        let (kind, word) = lexer::token(line, rest);
        if kind != TokenKind::Ident {
            self.report(span, "expected a name");
            return None;
        }
        Some(String::from_utf8_lossy(&line[word]).into_owned())
    }

    fn defined(&self, symbol: &str) -> bool {
        let definitions = self.out.macros.get(symbol);
        self.is_predefined(symbol)
            || definitions
                .and_then(|all| all.last())
                .is_some_and(|last| last.replacement.is_some())
    }

    /// Says whether a symbol is defined before the script begins, and the script has not changed it.
    fn is_predefined(&self, symbol: &str) -> bool {
        let definitions = self.out.macros.get(symbol);
        PREDEFINED.contains(&symbol) && definitions.is_some_and(|all| all.len() == 1)
    }

    /// Evaluates the little that scripts ask of `#if`: `[!]… && …`, `||`, `defined(X)`, `X`, `1`.
    fn condition(&mut self, line: &[u8], rest: usize, span: Span) -> bool {
        let words = tokens(line, rest);
        match self.any(&words) {
            Some(holds) => holds,
            None => {
                let message =
                    "only names, integers, `defined`, `!`, `&&` and `||` are understood in `#if`";
                self.report(span, message);
                false
            }
        }
    }

    fn any(&self, words: &[String]) -> Option<bool> {
        let mut holds = false;
        for part in words.split(|word| word == "||") {
            let mut all = true;
            for term in part.split(|word| word == "&&") {
                all &= self.term(term)?;
            }
            holds |= all;
        }
        Some(holds)
    }

    fn term(&self, words: &[String]) -> Option<bool> {
        let negations = words.iter().take_while(|word| *word == "!").count();
        let words: Vec<&str> = words[negations..].iter().map(String::as_str).collect();
        let holds = match words.as_slice() {
            ["defined", name] | ["defined", "(", name, ")"] => self.defined(name),
            [word] | ["(", word, ")"] => match literal::integer_or_none(word) {
                Some(value) => value != 0,
                None if word.bytes().next().is_some_and(lexer::starts_word) => self.value(word),
                None => return None,
            },
            _ => return None,
        };
        Some(holds ^ (negations % 2 == 1))
    }

    /// Says whether a symbol is defined as an integer other than 0.
    fn value(&self, symbol: &str) -> bool {
        let definition = self.out.macros.get(symbol).and_then(|all| all.last());
        match definition.and_then(|last| last.replacement.clone()) {
            Some(range) => {
                let text = String::from_utf8_lossy(&self.out.original[range]).into_owned();
                literal::integer_or_none(text.trim()).is_some_and(|value| value != 0)
            }
            None => self.is_predefined(symbol),
        }
    }
}

/// Gives the texts of the tokens of a line from an offset on.
fn tokens(line: &[u8], mut at: usize) -> Vec<String> {
    let mut words = Vec::new();
    loop {
        let (kind, range) = lexer::token(line, at);
        if kind == TokenKind::End {
            return words;
        }
        at = range.end;
        words.push(String::from_utf8_lossy(&line[range]).into_owned());
    }
}

/// Makes a span of offsets; sources are far smaller than 4 GiB.
fn span(range: Range<usize>) -> Span {
    let offset = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
    Span::new(offset(range.start), offset(range.end))
}
