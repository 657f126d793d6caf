//! The parser's place in the token stream, and what every part of the grammar needs: looking,
//! taking, expecting, reporting, going back.

use std::ops::Range;

use crate::diagnostic::{Diagnostic, Span};

use super::lexer::{self, Punct, TokenKind};
use super::preprocess::{self, Preprocessed};
use super::tree::Name;
use super::{MAX_DEPTH, MAX_FINDINGS, Positional};

/// How deep macros may expand into macros.
const MAX_EXPANSION: usize = 32;

/// Most tokens that macros may bring into one script.
const MAX_EXPANDED: u32 = 200_000;

/// One token: what it is, where its text stands, and where it is to be blamed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Token {
    /// What it is.
    pub(super) kind: TokenKind,
    /// The bytes of the original text it consists of.
    pub(super) text: Range<usize>,
    /// Its place; for a token out of a macro the place of the macro's use.
    pub(super) span: Span,
}

/// A macro that is being read.
#[derive(Clone, Debug)]
struct Expansion {
    name: String,
    at: usize,
    end: usize,
    span: Span,
}

/// Where the parser stands; a copy of it is all that going back needs.
#[derive(Clone, Debug)]
pub(super) struct State {
    token: Token,
    /// Where the next token of the source itself begins.
    at: usize,
    /// Where the last token that was taken ends.
    previous: u32,
    expansions: Vec<Expansion>,
    findings: usize,
    /// Set between an error and the place where parsing is sure again; nothing more is reported
    /// to be missing in between.
    lost: bool,
}

/// The parser.
pub(super) struct Parser<'a> {
    source: &'a str,
    pre: Preprocessed<'a>,
    inputs: &'a Positional,
    state: State,
    found: Vec<Diagnostic>,
    /// Whether names are looked up among the macros; off between probes.
    expand: bool,
    /// How many tokens macros have brought in.
    expanded: u32,
    /// How deep the recursion is.
    depth: u32,
    /// Height of the expression that was finished last.
    pub(super) height: u32,
    /// Whether a `/` before `{` ends the predicate that is being read.
    pub(super) in_predicate: bool,
    /// Where each `return` stands.
    pub(super) returns: Vec<Span>,
    /// Where memory is walked.
    pub(super) walks: Vec<Span>,
    /// Set once nothing more is read.
    stopped: bool,
}

impl<'a> Parser<'a> {
    pub(super) fn new(source: &'a str, inputs: &'a Positional, imported_from: usize) -> Self {
        let mut pre = preprocess::preprocess(source, imported_from);
        let found = std::mem::take(&mut pre.diagnostics);
        let token = Token {
            kind: TokenKind::End,
            text: 0..0,
            span: Span::default(),
        };
        let state = State {
            token,
            at: 0,
            previous: 0,
            expansions: Vec::new(),
            findings: found.len(),
            lost: false,
        };
        let mut parser = Parser {
            source,
            pre,
            inputs,
            state,
            found,
            expand: false,
            expanded: 0,
            depth: 0,
            height: 0,
            in_predicate: false,
            returns: Vec::new(),
            walks: Vec::new(),
            stopped: false,
        };
        parser.fetch(true);
        parser
    }

    /// Gives all findings in the order of the source.
    pub(super) fn finish(mut self) -> Vec<Diagnostic> {
        self.found.sort_by_key(|found| found.span);
        self.found
    }

    /// Gives the positional parameters.
    pub(super) fn inputs(&self) -> &'a Positional {
        self.inputs
    }

    /// Gives the source without directives.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.pre.text
    }

    // Looking.

    /// Gives the kind of the current token.
    pub(super) fn kind(&self) -> TokenKind {
        self.state.token.kind
    }

    /// Gives the span of the current token.
    pub(super) fn span(&self) -> Span {
        self.state.token.span
    }

    /// Gives the text of the current token.
    pub(super) fn text(&self) -> &'a str {
        self.text_of(&self.state.token)
    }

    /// Gives the text of a token.
    pub(super) fn text_of(&self, token: &Token) -> &'a str {
        self.source.get(token.text.clone()).unwrap_or_default()
    }

    /// Says whether the current token is this punctuation.
    pub(super) fn is(&self, punct: Punct) -> bool {
        self.kind() == TokenKind::Punct(punct)
    }

    /// Says whether the current token is this word.
    pub(super) fn is_word(&self, word: &str) -> bool {
        self.kind() == TokenKind::Ident && self.text() == word
    }

    /// Says whether nothing is left.
    pub(super) fn at_end(&self) -> bool {
        self.kind() == TokenKind::End
    }

    /// Gives kind and text of the token after the current one, macros not expanded.
    pub(super) fn peek(&self) -> (TokenKind, &'a str) {
        let (kind, range) = match self.state.expansions.last() {
            Some(top) => lexer::token(&self.pre.original[..top.end], top.at),
            None => lexer::token(&self.pre.text, self.state.at),
        };
        (kind, self.source.get(range).unwrap_or_default())
    }

    /// Says whether the token after the current one is this punctuation.
    pub(super) fn peek_is(&self, punct: Punct) -> bool {
        self.peek().0 == TokenKind::Punct(punct)
    }

    // Taking.

    /// Takes the current token.
    pub(super) fn bump(&mut self) -> Token {
        self.take(true)
    }

    /// Takes the current token; the one after it is not looked up among the macros.
    pub(super) fn bump_before_name(&mut self) -> Token {
        self.take(false)
    }

    fn take(&mut self, expand: bool) -> Token {
        let token = self.state.token.clone();
        if token.kind != TokenKind::End {
            self.state.previous = self.state.previous.max(token.span.end);
        }
        self.fetch(expand);
        token
    }

    /// Takes the current token if it is this punctuation.
    pub(super) fn eat(&mut self, punct: Punct) -> bool {
        let found = self.is(punct);
        if found {
            self.bump();
        }
        found
    }

    /// Takes the current token if it is this word.
    pub(super) fn eat_word(&mut self, word: &str) -> bool {
        let found = self.is_word(word);
        if found {
            self.bump();
        }
        found
    }

    /// Takes this punctuation, or reports that it is missing.
    pub(super) fn expect(&mut self, punct: Punct) -> bool {
        let found = self.eat(punct);
        if !found {
            self.missing(&format!("`{}`", punct.text()));
        }
        found
    }

    /// Takes a word, or reports that `what` is missing.
    pub(super) fn expect_name(&mut self, what: &str) -> Option<Name> {
        if self.kind() != TokenKind::Ident {
            self.missing(what);
            return None;
        }
        let token = self.bump();
        let text = self.text_of(&token).to_owned();
        Some(Name {
            text,
            span: token.span,
        })
    }

    /// Gives the span of the last character of the last token that was taken.
    pub(super) fn previous_character(&self) -> Span {
        let end = self.state.previous;
        let before = self.source.get(..end as usize).unwrap_or_default();
        let last = before.chars().next_back().map_or(0, char::len_utf8);
        to_span(&(before.len() - last..before.len()))
    }

    /// Says whether the current token is on another line than the one before it.
    pub(super) fn on_new_line(&self) -> bool {
        let between = self.state.previous as usize..self.offset();
        let between = self.bytes().get(between).unwrap_or_default();
        between.contains(&b'\n')
    }

    /// Gives the span from a start to the end of the last token that was taken.
    pub(super) fn since(&self, start: Span) -> Span {
        Span::new(start.start, self.state.previous.max(start.start))
    }

    /// Reads the next token, through macros.
    fn fetch(&mut self, expand: bool) {
        while !self.stopped {
            let token = match self.state.expansions.last_mut() {
                Some(top) => {
                    let (kind, text) = lexer::token(&self.pre.original[..top.end], top.at);
                    if kind == TokenKind::End {
                        self.state.expansions.pop();
                        continue;
                    }
                    top.at = text.end;
                    self.expanded += 1;
                    let span = top.span;
                    Token { kind, text, span }
                }
                None => {
                    let (kind, text) = lexer::token(&self.pre.text, self.state.at);
                    self.state.at = text.end;
                    let span = to_span(&text);
                    Token { kind, text, span }
                }
            };
            self.state.token = token;
            if self.expanded > MAX_EXPANDED {
                let span = self.span();
                self.stop("too-deep", span, "macros expand to too much text");
            } else if !(expand && self.expand_name()) {
                return;
            }
        }
        self.state.token.kind = TokenKind::End;
    }

    /// Enters the macro that the current token names, if it does.
    fn expand_name(&mut self) -> bool {
        if !self.expand || self.state.token.kind != TokenKind::Ident || self.pre.macros.is_empty() {
            return false;
        }
        let name = self.text();
        let span = self.state.token.span;
        let Some(range) = self.pre.replacement(name, span.range().start) else {
            return false;
        };
        let open = &self.state.expansions;
        if open.len() >= MAX_EXPANSION || open.iter().any(|expansion| expansion.name == name) {
            return false;
        }
        self.state.expansions.push(Expansion {
            name: name.to_owned(),
            at: range.start,
            end: range.end,
            span,
        });
        true
    }

    // Going back, and raw text.

    /// Remembers where the parser stands.
    pub(super) fn save(&self) -> State {
        let mut state = self.state.clone();
        state.findings = self.found.len();
        state
    }

    /// Goes back, forgetting what was reported since.
    pub(super) fn restore(&mut self, state: State) {
        if self.stopped {
            return;
        }
        self.found.truncate(state.findings);
        self.state = state;
    }

    /// Gives the offset of the current token in the source.
    pub(super) fn offset(&self) -> usize {
        self.state.token.span.range().start
    }

    /// Goes on reading at an offset of the source.
    pub(super) fn jump(&mut self, offset: usize) {
        self.state.expansions.clear();
        self.state.at = offset;
        self.state.previous = self.state.previous.max(to_span(&(0..offset)).end);
        self.fetch(true);
    }

    /// Switches the lookup of macros, from the current token on.
    pub(super) fn set_expand(&mut self, expand: bool) {
        if self.expand != expand {
            self.expand = expand;
            if !self.at_end() {
                self.state.at = self.offset();
                self.state.expansions.clear();
                self.fetch(true);
            }
        }
    }

    // Reporting.

    /// Reports a finding; a second error at the same place is left out.
    pub(super) fn report(&mut self, found: Diagnostic) {
        let again = self
            .found
            .last()
            .is_some_and(|last| last.span.start == found.span.start);
        if self.stopped || again {
            return;
        }
        self.found.push(found);
        if self.found.len() >= MAX_FINDINGS {
            let span = self.span();
            self.stop(
                "too-many-errors",
                span,
                "too many errors, the rest is not read",
            );
        }
    }

    /// Reports an error.
    pub(super) fn error(&mut self, id: &'static str, span: Span, message: impl Into<String>) {
        self.report(Diagnostic::error(id, span, message));
    }

    /// Reports that something else was expected at the current token.
    pub(super) fn missing(&mut self, what: &str) {
        let found = self.missing_here(what);
        self.fail(found);
    }

    /// Reports an error after which the parser does not know where it is.
    pub(super) fn fail(&mut self, found: Diagnostic) {
        if !self.state.lost {
            self.report(found);
            self.state.lost = true;
        }
    }

    /// Gives the identifier of the last finding.
    pub(super) fn last_id(&self) -> Option<&'static str> {
        self.found.last().map(|found| found.id)
    }

    /// Says whether an error was met after which the parser does not know where it is.
    pub(super) fn is_lost(&self) -> bool {
        self.state.lost
    }

    /// Notes that the parser knows again where it is.
    pub(super) fn found_way(&mut self) {
        self.state.lost = false;
    }

    /// Makes the finding that something else was expected at the current token.
    pub(super) fn missing_here(&self, what: &str) -> Diagnostic {
        let span = self.span();
        match self.kind() {
            TokenKind::OpenStr => {
                Diagnostic::error("unterminated-string", span, "unterminated string")
            }
            TokenKind::OpenComment => {
                let span = Span::new(span.start, span.start.saturating_add(2).min(span.end));
                Diagnostic::error("unterminated-comment", span, "unterminated comment")
            }
            TokenKind::Unknown => {
                let text: String = self.text().chars().take(40).collect();
                let text = if text.chars().any(char::is_control) {
                    text.escape_default().to_string()
                } else {
                    text
                };
                let message = format!("unexpected character `{text}`");
                let mut found = Diagnostic::error("unexpected-character", span, message);
                if text == "'" {
                    found.hint = Some("strings are written with double quotes".to_owned());
                }
                found
            }
            TokenKind::End => {
                let message = format!("expected {what}, found the end of the script");
                Diagnostic::error("expected", span, message)
            }
            _ => {
                let text: String = self.text().chars().take(40).collect();
                let message = format!("expected {what}, found `{text}`");
                Diagnostic::error("expected", span, message)
            }
        }
    }

    /// Reports an error after which nothing more is read.
    pub(super) fn stop(&mut self, id: &'static str, span: Span, message: &str) {
        if !self.stopped {
            self.found.push(Diagnostic::error(id, span, message));
            self.stopped = true;
        }
        self.state.token.kind = TokenKind::End;
        self.state.expansions.clear();
    }

    // Bounds.

    /// Runs a part of the grammar one level deeper; `None` where that would be too deep.
    pub(super) fn deeper<T>(&mut self, part: impl FnOnce(&mut Self) -> T) -> Option<T> {
        if self.depth >= MAX_DEPTH {
            let span = self.span();
            let message = format!(
                "the script nests more than {MAX_DEPTH} levels deep here: parts of it can be kept in \
                 variables, macros and functions"
            );
            self.stop("too-deep", span, &message);
            return None;
        }
        self.depth += 1;
        let result = part(self);
        self.depth -= 1;
        Some(result)
    }

    /// Notes that a node was built over others whose greatest height is `inner`.
    pub(super) fn rise(&mut self, inner: u32) {
        self.height = inner + 1;
        if self.height > MAX_DEPTH {
            let span = self.span();
            let message = format!(
                "the expression has more than {MAX_DEPTH} operators in a row here: parts of it can be kept \
                 in variables"
            );
            self.stop("too-deep", span, &message);
        }
    }
}

/// Makes a span of offsets; the length of a source is bounded.
pub(super) fn to_span(range: &Range<usize>) -> Span {
    let offset = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
    Span::new(offset(range.start), offset(range.end))
}
