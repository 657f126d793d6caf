//! docs/DEPENDENCIES.md has a line for each third-party crate, and for nothing else.

use std::collections::BTreeSet;

use serde_json::Value;

const DOCUMENT: &str = include_str!("../../docs/DEPENDENCIES.md");

/// Gives the names in the first column, which must say something in the last.
fn listed(text: &str) -> BTreeSet<String> {
    let rows = text.lines().filter(|line| line.starts_with("| "));
    let cells = rows.map(|row| row.trim_matches('|').split(" | ").map(str::trim).collect());
    cells
        .filter(|cells: &Vec<&str>| cells.len() == 3 && cells[0] != "crate" && cells[2].len() > 30)
        .map(|cells| cells[0].to_owned())
        .collect()
}

/// Gives the names of dependencies that come from a registry.
fn used(metadata: &Value) -> BTreeSet<String> {
    let packages = metadata["packages"].as_array().expect("packages");
    let all = packages
        .iter()
        .flat_map(|package| package["dependencies"].as_array().expect("dependencies"));
    all.filter(|dependency| dependency["path"].is_null())
        .map(|dependency| dependency["name"].as_str().expect("a name").to_owned())
        .collect()
}

#[test]
fn every_third_party_crate_has_its_line() {
    let metadata = kscope_tests::workspace::metadata();
    let used = used(&metadata);
    assert!(used.contains("clap"), "not the workspace: {used:?}");
    assert_eq!(listed(DOCUMENT), used);
}

#[test]
fn lines_are_found() {
    let text = "| crate | where | why it is there, and what was weighed |\n|---|---|---|\n\
        | a | b | because it is the smallest one that does it |\n| c | d | because |\n";
    assert_eq!(listed(text), BTreeSet::from(["a".to_owned()]));
}
