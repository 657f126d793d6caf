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

/// Gives the third-party crates of what `cargo tree` printed.
fn third_party(tree: &str) -> BTreeSet<&str> {
    let lines = tree.lines().filter(|line| !line.contains(" (/"));
    lines
        .filter_map(|line| line.split(" v").next())
        .filter(|name| !name.is_empty())
        .collect()
}

#[test]
fn the_library_stands_on_few_crates() {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = std::process::Command::new(cargo)
        .args([
            "tree",
            "--offline",
            "-p",
            "kscope-bpf",
            "-e",
            "normal,build",
        ])
        .args(["--prefix", "none"])
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .output()
        .expect("cargo");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let tree = String::from_utf8_lossy(&output.stdout);
    let found = third_party(&tree);
    assert!(found.contains("libc"), "not the library's: {tree}");
    assert!(found.len() <= 6, "{found:?}");
}

#[test]
fn crates_of_a_tree_are_found() {
    let tree = "a v0.1.0 (/x/a)\nlibc v0.2.1\nb v1.0.0\nlibc v0.2.1\n\nb v1.0.0 (*)\n";
    assert_eq!(third_party(tree), BTreeSet::from(["b", "libc"]));
}

#[test]
fn lines_are_found() {
    let text = "| crate | where | why it is there, and what was weighed |\n|---|---|---|\n\
        | a | b | because it is the smallest one that does it |\n| c | d | because |\n";
    assert_eq!(listed(text), BTreeSet::from(["a".to_owned()]));
}
