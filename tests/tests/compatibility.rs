//! docs/COMPATIBILITY.md says of each row of tests/compatibility/rows.txt what the compiler says of it.

#[path = "../../fuzz/src/kernel.rs"]
mod kernel;

use std::fmt::Write as _;
use std::path::Path;

use kscope_script::catalogue::{Absent, Catalogue, EventName, Format, Lookup, TextCatalogue};
use kscope_script::compile::{self, Options};
use kscope_script::diagnostic::Severity;
use kscope_script::plan::Attach;
use kscope_script::types::Inputs;
use kscope_tests::compatibility::{Row, rows};

const DOCUMENT: &str = include_str!("../../docs/COMPATIBILITY.md");
const BEGIN: &str = "<!-- rows -->\n";
const END: &str = "<!-- end of rows -->";

/// The kernel's probes, and a program that has every symbol somebody asks for.
struct Everything(TextCatalogue);

impl Catalogue for Everything {
    fn tracepoints(&self, category: &str, event: &str) -> Lookup<Vec<EventName>> {
        self.0.tracepoints(category, event)
    }

    fn format(&self, category: &str, event: &str) -> Lookup<Format> {
        self.0.format(category, event)
    }

    fn raw_tracepoints(&self, event: &str) -> Lookup<Vec<String>> {
        self.0.raw_tracepoints(event)
    }

    fn functions(&self, pattern: &str) -> Lookup<Vec<String>> {
        self.0.functions(pattern)
    }

    fn user_distance(&self, _from: &Attach, _symbol: &str) -> Result<(i64, u64), Absent> {
        Ok((16, 8))
    }
}

/// Compiles a row's script; gives the first error where there is one.
fn refusal(row: &Row) -> Option<String> {
    let catalogue = Everything(kernel::catalogue());
    let types = kernel::types();
    let mut inputs = Inputs::new(&catalogue);
    inputs.btf = Some(&types);
    inputs.changes_allowed = true;
    let done = compile::compile("rows.txt", &row.script, &inputs, Options::default());
    if done.compiled.is_some() {
        return None;
    }
    let mut errors = done.diagnostics.into_iter();
    let error = errors.find(|found| found.severity == Severity::Error);
    Some(error.map_or("it does not compile".to_owned(), |error| error.message))
}

fn table() -> String {
    let mut text = String::new();
    let mut section = "";
    let (mut all, mut there) = (0, 0);
    for row in rows() {
        if row.section != section {
            section = row.section;
            let _ = write!(
                text,
                "\n### {section}\n\n| | there | compared |\n|---|---|---|\n"
            );
        }
        all += 1;
        let verdict = match refusal(&row) {
            None => {
                there += 1;
                "yes".to_owned()
            }
            Some(why) => format!("no: {}", why.replace('|', "\\|")),
        };
        let compared = match row.printed.is_empty() {
            true => "",
            false => "prints the same",
        };
        let _ = writeln!(text, "| {} | {verdict} | {compared} |", row.name);
    }
    format!("{there} of {all} rows are there.\n{text}\n")
}

#[test]
fn the_table_is_what_the_compiler_says() {
    let (before, rest) = DOCUMENT.split_once(BEGIN).expect("its beginning");
    let (found, after) = rest.split_once(END).expect("its end");
    let table = table();
    if std::env::var_os("BLESS").is_some() {
        let text = format!("{before}{BEGIN}{table}{END}{after}");
        let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/COMPATIBILITY.md");
        std::fs::write(place, text).expect("writable");
        return;
    }
    assert!(
        found == table,
        "BLESS=1 writes docs/COMPATIBILITY.md anew\n{table}"
    );
}
