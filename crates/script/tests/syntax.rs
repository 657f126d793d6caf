//! Golden files of the parser: `syntax/*.txt` hold a script, its tree and its findings, each
//! after a line of dashes. `BLESS=1` writes what the parser gives now.
#![allow(
    clippy::disallowed_methods,
    reason = "a test reads its golden files and BLESS"
)]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use kscope_script::diagnostic::{Diagnostic, Span};
use kscope_script::syntax::{Positional, dump, parse};

/// The line between script, tree and findings.
const SEPARATOR: &str = "\n----\n";

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

fn golden_files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/syntax");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .expect("the folder of golden files is there")
        .map(|entry| entry.expect("its entries can be read").path())
        .filter(|path| path.extension().is_some_and(|ext| ext == "txt"))
        .collect();
    files.sort();
    files
}

#[test]
fn golden_files_hold() {
    let bless = std::env::var_os("BLESS").is_some();
    let mut failed = Vec::new();
    let files = golden_files();
    assert!(files.len() >= 10, "golden files are missing");
    for path in files {
        let text = std::fs::read_to_string(&path).expect("a golden file can be read");
        let source = text.split(SEPARATOR).next().unwrap_or_default();
        let inputs = Positional::new(vec!["/bin/bash".to_owned(), "vfs_read".to_owned()]);
        let (script, found) = parse(source, &inputs);
        let tree = dump::script(&script);
        let found = findings(source, &found);
        let now = format!("{source}{SEPARATOR}{tree}----\n{found}");
        if now != text {
            if bless {
                std::fs::write(&path, &now).expect("a golden file can be written");
            } else {
                failed.push(format!("{}:\n{now}", path.display()));
            }
        }
    }
    assert!(failed.is_empty(), "differ:\n{}", failed.join("\n"));
}
