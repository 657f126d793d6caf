//! Source text to a tree. The parser never fails: it always gives a tree and a list of findings.
//!
//! The grammar is bpftrace's of 0.27, with what 0.17 wrote otherwise accepted beside it. Where
//! the two differ, or where bpftrace is stricter than its documentation, the wider reading wins.

mod attach;
mod cursor;
mod definition;
pub mod dump;
mod expression;
mod function;
mod lexer;
pub(crate) mod list_loop;
mod literal;
mod preprocess;
mod primary;
mod program;
#[cfg(test)]
mod robust_tests;
mod statement;
#[cfg(test)]
mod tests;
pub mod tree;
mod type_name;

use crate::diagnostic::{Diagnostic, Span};

/// Longest source that is parsed, in bytes.
pub const MAX_SOURCE: usize = 1 << 20;

/// How deep expressions, blocks and types may nest in the source, and how long a chain of
/// operators may be. A tree is at most twice as high, so that recursion over it is safe.
pub const MAX_DEPTH: u32 = 256;

/// Most findings one run reports; after them the parser stops.
pub const MAX_FINDINGS: usize = 100;

/// Types of probes with their short names, as attach points begin with them.
pub const PROBE_TYPES: &[(&str, &str)] = &[
    ("begin", "BEGIN"),
    ("end", "END"),
    ("kprobe", "k"),
    ("kretprobe", "kr"),
    ("fentry", "f"),
    ("fexit", "fr"),
    ("kfunc", "kfunc"),
    ("kretfunc", "kretfunc"),
    ("tracepoint", "t"),
    ("rawtracepoint", "rt"),
    ("interval", "i"),
    ("profile", "p"),
    ("software", "s"),
    ("hardware", "h"),
    ("uprobe", "u"),
    ("uretprobe", "ur"),
    ("usdt", "U"),
    ("iter", "it"),
    ("watchpoint", "w"),
    ("asyncwatchpoint", "aw"),
    ("self", "self"),
    ("test", "test"),
    ("bench", "bench"),
];

/// The values of `$1`, `$2` and so on, as attach points need them while parsing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Positional {
    /// The values in order, `$1` first.
    pub values: Vec<String>,
}

impl Positional {
    /// Makes positional parameters of their values.
    #[must_use]
    pub fn new(values: Vec<String>) -> Self {
        Positional { values }
    }

    /// Gives the value of `$number`, which counts from 1.
    #[must_use]
    pub fn get(&self, number: u32) -> Option<&str> {
        let index = usize::try_from(number).ok()?.checked_sub(1)?;
        self.values.get(index).map(String::as_str)
    }
}

/// Gives the largest `N` of the parameters `$N` that a text speaks of, attach points included; 0 where
/// there is none.
#[must_use]
pub fn parameters(source: &str) -> u32 {
    let (mut at, mut most) = (0, 0);
    loop {
        let (kind, range) = lexer::token(source.as_bytes(), at);
        match kind {
            lexer::TokenKind::End => return most,
            lexer::TokenKind::Positional => {
                let digits = source.get(range.start + 1..range.end);
                let number = digits.and_then(|digits| digits.parse().ok());
                most = most.max(number.unwrap_or(0));
            }
            _ => {}
        }
        // No token but the last is empty.
        at = range.end.max(at + 1);
    }
}

/// Parses a script. Never fails: what cannot be understood is reported and left out of the tree.
///
/// Spans are offsets in `source`; what a `#define` brought in has the span of its use.
#[must_use]
pub fn parse(source: &str, inputs: &Positional) -> (tree::Script, Vec<Diagnostic>) {
    parse_with_imports(source, inputs, None)
}

/// Parses a script as [`parse`] does, behind which the text of imported files stands from an offset on.
/// What they define counts in the script as well.
#[must_use]
pub fn parse_with_imports(
    source: &str,
    inputs: &Positional,
    imported_from: Option<u32>,
) -> (tree::Script, Vec<Diagnostic>) {
    if source.len() > MAX_SOURCE {
        let message = format!("the script is longer than {MAX_SOURCE} bytes");
        let found = Diagnostic::error("too-large", Span::new(0, 0), message);
        return (tree::Script::default(), vec![found]);
    }
    let imported_from = imported_from.map_or(source.len(), |from| from as usize);
    let mut parser = cursor::Parser::new(source, inputs, imported_from);
    let script = parser.script();
    (script, parser.finish())
}

/// Says whether a word is a type of probe, long or short.
fn is_probe_type(word: &str) -> bool {
    PROBE_TYPES
        .iter()
        .any(|(long, short)| *long == word || *short == word)
}
