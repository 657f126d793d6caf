//! Golden files of the parser: `syntax/*.txt` hold a script, its tree and its findings, each
//! after a line of dashes. `BLESS=1` writes what the parser gives now.
#![allow(
    clippy::disallowed_methods,
    reason = "a test reads its golden files and BLESS"
)]

mod golden;

use std::fmt::Write as _;

use golden::SEPARATOR;
use kscope_script::diagnostic::{Diagnostic, Span};
use kscope_script::syntax::{Positional, dump, parse};

/// Gives `line:column` of an offset, both from 1, the column in characters.
fn position(source: &str, offset: u32) -> String {
    let before = &source[..offset as usize];
    let line = before.matches('\n').count() + 1;
    let column = before
        .rsplit('\n')
        .next()
        .unwrap_or_default()
        .chars()
        .count()
        + 1;
    format!("{line}:{column}")
}

fn place(source: &str, span: Span) -> String {
    let start = position(source, span.start);
    let end = position(source, span.end);
    format!("{start}-{end}")
}

fn findings(source: &str, found: &[Diagnostic]) -> String {
    let mut out = String::new();
    for one in found {
        let span = place(source, one.span);
        let _ = writeln!(out, "{span} {} [{}] {}", one.severity, one.id, one.message);
        for (span, note) in &one.notes {
            let _ = writeln!(out, "  note {} {note}", place(source, *span));
        }
        if let Some(hint) = &one.hint {
            let _ = writeln!(out, "  hint {hint}");
        }
    }
    out
}

#[test]
fn golden_files_hold() {
    let inputs = Positional::new(vec!["/bin/bash".to_owned(), "vfs_read".to_owned()]);
    golden::scripts("syntax", 10, |source| {
        let (script, found) = parse(source, &inputs);
        let tree = dump::script(&script);
        let found = findings(source, &found);
        format!("{source}{SEPARATOR}{tree}----\n{found}")
    });
}
