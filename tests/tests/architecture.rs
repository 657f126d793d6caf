//! docs/ARCHITECTURE.md and the folders of the tree say the same.

use std::collections::BTreeSet;
use std::path::Path;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// The most lines the document may have: it is read in one sitting, or not at all.
const LINES: usize = 300;

/// Folders of crates: those below crates/, and the three beside it.
fn crates() -> BTreeSet<String> {
    let entries = std::fs::read_dir(Path::new(ROOT).join("crates")).expect("crates/");
    let below = entries.map(|entry| {
        format!(
            "crates/{}",
            entry.expect("an entry").file_name().to_string_lossy()
        )
    });
    let all = below.chain(["tests", "testkit", "xtask"].map(str::to_string));
    all.filter(|folder| Path::new(ROOT).join(folder).join("Cargo.toml").exists())
        .collect()
}

/// Folders that paragraphs are about: those that begin "**`FOLDER`**".
fn paragraphs(text: &str) -> BTreeSet<String> {
    let names = text
        .lines()
        .filter_map(|line| line.strip_prefix("**`")?.split_once("`**"));
    names.map(|(name, _)| name.to_string()).collect()
}

fn document() -> String {
    std::fs::read_to_string(Path::new(ROOT).join("docs/ARCHITECTURE.md"))
        .expect("docs/ARCHITECTURE.md")
}

#[test]
fn every_crate_has_a_paragraph_and_every_paragraph_a_crate() {
    let crates = crates();
    assert!(crates.len() >= 10, "{crates:?}");
    assert_eq!(paragraphs(&document()), crates);
}

#[test]
fn it_is_short() {
    let lines = document().lines().count();
    assert!(lines < LINES, "{lines} lines, {LINES} are too many");
}

#[test]
fn every_crate_of_the_house_states_an_invariant() {
    let text = document();
    for paragraph in text
        .split("\n\n")
        .filter(|paragraph| paragraph.starts_with("**`crates/"))
    {
        assert!(
            paragraph
                .lines()
                .any(|line| line.starts_with("Invariant: ")),
            "{paragraph}"
        );
    }
}

#[test]
fn paragraphs_are_found() {
    let text = "# A\n\n**`crates/a`** one.\nMore of `crates/b`.\n\n**`tests`**, two.\n";
    assert_eq!(
        paragraphs(text),
        BTreeSet::from(["crates/a".to_string(), "tests".to_string()])
    );
}
