//! Golden files: `BLESS=1` writes what is made now, else what differs fails.
#![allow(dead_code, reason = "each test uses the kind of file it has")]

use std::path::{Path, PathBuf};

use kscope_script::ir::Function;
use kscope_script::ir::text;

/// The line between the parts of a file that begins with a script.
pub(crate) const SEPARATOR: &str = "\n----\n";

/// Checks all files of a folder, which must be at least `least`: `make` gets the script that a
/// file begins with and gives the whole file.
pub(crate) fn scripts(folder: &str, least: usize, make: impl Fn(&str) -> String) {
    files(folder, least, |old| {
        make(old.split(SEPARATOR).next().unwrap_or_default())
    });
}

/// Checks all files of a folder: `make` gets the directive and the function of each case.
///
/// A file is a list of cases: a line `# directive`, a function, a line `---`, the expected text,
/// and an empty line.
pub(crate) fn check(folder: &str, make: impl Fn(&str, Function) -> String) {
    files(folder, 1, |old| rewrite(old, &make));
}

/// Gives the files of a folder in order.
pub(crate) fn list(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests")
        .join(folder);
    let mut files: Vec<_> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "txt"))
        .collect();
    files.sort();
    files
}

fn files(folder: &str, least: usize, make: impl Fn(&str) -> String) {
    let bless = std::env::var_os("BLESS").is_some();
    let files = list(folder);
    assert!(files.len() >= least, "files are missing in tests/{folder}");
    let mut wrong = Vec::new();
    for file in files {
        let old = std::fs::read_to_string(&file).unwrap();
        let new = make(&old);
        if new == old {
            continue;
        }
        if bless {
            std::fs::write(&file, new).unwrap();
        } else {
            wrong.push(format!("{}:\n{}", file.display(), difference(&old, &new)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn rewrite(old: &str, make: &impl Fn(&str, Function) -> String) -> String {
    let mut new = String::new();
    let mut directive = "";
    let mut input: Option<String> = None;
    let mut expected = false;
    for line in old.lines() {
        match &mut input {
            Some(function) => {
                function.push_str(line);
                function.push('\n');
                new.push_str(line);
                new.push('\n');
                if line == "}" {
                    let parsed = text::read(function).unwrap_or_else(|e| panic!("{e}\n{function}"));
                    assert_eq!(text::read(&text::print(&parsed)).as_ref(), Ok(&parsed));
                    new.push_str("---\n");
                    new.push_str(&make(directive, parsed));
                    new.push('\n');
                    input = None;
                    expected = true;
                }
            }
            None if line.starts_with('#') => {
                expected = false;
                new.push_str(line);
                new.push('\n');
                let words = line.trim_start_matches('#').trim();
                if !words.is_empty() && !line.starts_with("##") {
                    directive = words;
                }
            }
            None if line.starts_with("fn ") && !expected => {
                input = Some(format!("{line}\n"));
                new.push_str(line);
                new.push('\n');
            }
            None => {}
        }
    }
    new
}

fn difference(old: &str, new: &str) -> String {
    let (old, new): (Vec<&str>, Vec<&str>) = (old.lines().collect(), new.lines().collect());
    let at = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
    let part = |lines: &[&str]| {
        lines
            .iter()
            .skip(at)
            .take(12)
            .copied()
            .collect::<Vec<_>>()
            .join("\n")
    };
    format!(
        "line {}: expected\n{}\nfound\n{}",
        at + 1,
        part(&old),
        part(&new)
    )
}
