//! The checker: golden files (`types/*.txt` hold a script, what it became and the findings, each
//! after a line of dashes; `BLESS=1` writes what the checker gives now) and one-line cases.
#![allow(
    clippy::disallowed_methods,
    reason = "a test reads its golden files and BLESS"
)]

#[path = "types/cases.rs"]
mod cases;
#[path = "types/fixture.rs"]
mod fixture;
#[path = "types/whole.rs"]
mod whole;

use std::path::{Path, PathBuf};

use fixture::{Setup, checked, findings};
use kscope_script::types::dump;

/// The line between script, program and findings.
const SEPARATOR: &str = "\n----\n";

fn golden_files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/types");
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
    assert!(files.len() >= 8, "golden files are missing");
    for path in files {
        let text = std::fs::read_to_string(&path).expect("a golden file can be read");
        let source = text.split(SEPARATOR).next().unwrap_or_default().trim_end();
        let (program, found) = checked(source, &Setup::default());
        let program = dump::program(&program);
        let found = findings(source, &found);
        let now = format!("{source}{SEPARATOR}{program}----\n{found}");
        if now != text {
            if bless {
                std::fs::write(&path, &now).expect("a golden file can be written");
            } else {
                failed.push(format!("{}:\n{now}", path.display()));
            }
        }
    }
    assert!(failed.is_empty(), "these differ:\n{}", failed.join("\n"));
}
