//! docs/LIBRARY.md: its table is made of tests/features.txt, and every test that is named there exists.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

const GUIDE: &str = include_str!("../../docs/LIBRARY.md");
const FEATURES: &str = include_str!("../features.txt");
const BEGIN: &str = "<!-- features -->\n";
const END: &str = "<!-- end of features -->";
/// How many features may be missing.
const MISSING: usize = 3;

/// A line of the file.
#[derive(Debug, PartialEq)]
enum Line<'a> {
    Section(&'a str),
    Feature {
        name: &'a str,
        tests: Vec<&'a str>,
        missing: Option<&'a str>,
    },
}

impl<'a> Line<'a> {
    /// Reads a line; none where it is empty or a remark.
    fn parse(line: &'a str) -> Option<Line<'a>> {
        if let Some(title) = line.strip_prefix("## ") {
            return Some(Line::Section(title));
        }
        if line.is_empty() || line.starts_with('#') {
            return None;
        }
        let mut columns = line.split('|').map(str::trim);
        Some(Line::Feature {
            name: columns.next()?,
            tests: columns
                .next()
                .unwrap_or_default()
                .split(' ')
                .filter(|test| !test.is_empty())
                .collect(),
            missing: columns.next().filter(|reason| !reason.is_empty()),
        })
    }
}

fn features() -> Vec<Line<'static>> {
    FEATURES.lines().filter_map(Line::parse).collect()
}

/// Makes the table.
fn table(lines: &[Line<'_>]) -> String {
    let mut text = String::new();
    for line in lines {
        match line {
            Line::Section(title) => {
                let _ = write!(
                    text,
                    "\n### {title}\n\n| feature | | tests |\n|---|---|---|\n"
                );
            }
            Line::Feature {
                name,
                tests,
                missing,
            } => {
                let (answer, more) = match (tests.is_empty(), missing) {
                    (false, None) => ("yes", String::new()),
                    (false, Some(reason)) => ("in part", format!("; {reason}")),
                    (true, reason) => ("no", reason.unwrap_or_default().to_owned()),
                };
                let tests: Vec<String> = tests.iter().map(|test| format!("`{test}`")).collect();
                let _ = writeln!(text, "| {name} | {answer} | {}{more} |", tests.join(" "));
            }
        }
    }
    text
}

/// Gives the names of the tests in a source file.
fn tests_in(source: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut marked = false;
    for line in source.lines().map(str::trim) {
        if line == "#[test]" {
            marked = true;
        } else if let Some(rest) = line.strip_prefix("fn ").filter(|_| marked) {
            names.extend(rest.split('(').next().map(str::to_owned));
            marked = false;
        }
    }
    names
}

fn sources(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push(path);
        }
    }
}

/// Gives `SUITE::NAME` and `CRATE::NAME` of all tests.
fn all_tests() -> BTreeSet<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut names = BTreeSet::new();
    let mut add = |prefix: &str, files: &[PathBuf]| {
        for file in files {
            let source = std::fs::read_to_string(file).expect("a source file");
            names.extend(
                tests_in(&source)
                    .iter()
                    .map(|name| format!("{prefix}::{name}")),
            );
        }
    };
    for entry in std::fs::read_dir(root.join("tests/tests"))
        .expect("a folder")
        .flatten()
    {
        let path = entry.path();
        if path.is_file() {
            let suite = path
                .file_stem()
                .expect("a name")
                .to_string_lossy()
                .into_owned();
            let folder = path.with_extension("");
            add(&suite, &[path]);
            // The modules of a suite lie in a folder of its name.
            let mut modules = Vec::new();
            if folder.is_dir() {
                sources(&folder, &mut modules);
            }
            for module in modules {
                let stem = module.file_stem().expect("a name").to_string_lossy();
                add(&format!("{suite}::{stem}"), std::slice::from_ref(&module));
            }
        }
    }
    for entry in std::fs::read_dir(root.join("crates"))
        .expect("a folder")
        .flatten()
    {
        let mut files = Vec::new();
        sources(&entry.path(), &mut files);
        add(&entry.file_name().to_string_lossy(), &files);
    }
    let mut chores = Vec::new();
    sources(&root.join("xtask/src"), &mut chores);
    add("xtask", &chores);
    names
}

#[test]
fn every_test_that_is_named_exists() {
    let all = all_tests();
    assert!(all.len() > 500, "{}", all.len());
    let lines = features();
    let named = lines.iter().flat_map(|line| match line {
        Line::Feature { tests, .. } => tests.clone(),
        Line::Section(_) => Vec::new(),
    });
    let unknown: Vec<&str> = named.filter(|test| !all.contains(*test)).collect();
    assert!(unknown.is_empty(), "no such test: {unknown:#?}");
}

#[test]
fn few_features_are_missing_and_each_says_why() {
    let lines = features();
    let missing = lines.iter().filter_map(|line| match line {
        Line::Feature {
            name,
            tests,
            missing,
        } if tests.is_empty() => Some((*name, *missing)),
        _ => None,
    });
    let missing: Vec<_> = missing.collect();
    assert!(missing.len() <= MISSING, "{missing:#?}");
    assert!(
        missing.iter().all(|(_, reason)| reason.is_some()),
        "{missing:#?}"
    );
    assert!(lines.len() > 60, "{}", lines.len());
}

#[test]
fn the_table_is_that_of_the_file() {
    let (before, rest) = GUIDE.split_once(BEGIN).expect("a mark");
    let (found, after) = rest.split_once(END).expect("a mark");
    let expected = format!("{}\n", table(&features()));
    if std::env::var_os("BLESS").is_some() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/LIBRARY.md");
        std::fs::write(file, format!("{before}{BEGIN}{expected}{END}{after}")).expect("written");
    } else {
        assert!(
            found == expected,
            "run BLESS=1 cargo test -p kscope-tests --test library"
        );
    }
}

#[test]
fn the_guide_is_compiled() {
    let library = include_str!("../src/lib.rs");
    assert!(library.contains("include_str!(\"../../docs/LIBRARY.md\")"));
    let blocks: Vec<&str> = GUIDE
        .lines()
        .filter(|line| line.starts_with("```"))
        .collect();
    // Each block of Rust is opened as one that is compiled.
    let opened = blocks
        .iter()
        .filter(|line| **line == "```rust,no_run")
        .count();
    assert!(opened >= 4 && blocks.len() == 2 * opened, "{blocks:?}");
}

#[test]
fn lines_are_read() {
    let check = |line, expected| assert_eq!(Line::parse(line), expected, "{line}");
    let feature = |name, tests, missing| {
        Some(Line::Feature {
            name,
            tests,
            missing,
        })
    };
    check("# a remark", None);
    check("", None);
    check("## Maps", Some(Line::Section("Maps")));
    check("a | b::c d::e", feature("a", vec!["b::c", "d::e"], None));
    check(
        "a | b::c | but d",
        feature("a", vec!["b::c"], Some("but d")),
    );
    check("a | | because", feature("a", vec![], Some("because")));
    let lines = [
        Line::Section("S"),
        Line::parse("a | b::c | but d").expect("a line"),
    ];
    let expected =
        "\n### S\n\n| feature | | tests |\n|---|---|---|\n| a | in part | `b::c`; but d |\n";
    assert_eq!(table(&lines), expected);
    assert_eq!(
        tests_in("#[test]\n#[ignore]\nfn a() {}\nfn b() {}").len(),
        1
    );
}
