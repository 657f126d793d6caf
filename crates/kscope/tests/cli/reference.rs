//! The command reference has a file for each page; `BLESS=1` writes what the program prints now.

use std::collections::BTreeSet;
use std::path::Path;

use super::{bpftrace, kscope};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/reference");

/// Everything that `kscope` can be asked for by name, itself included, from its own help.
fn names() -> Vec<String> {
    let help = kscope(&["--help"]).code(0).out;
    let listed = |from: &str| {
        let (_, rest) = help.split_once(from).expect("a list");
        let lines = rest
            .lines()
            .skip(1)
            .take_while(|line| line.starts_with("  "));
        let names = lines.filter(|line| !line.starts_with("   "));
        let word = |line: &str| line.split_whitespace().next().map(str::to_owned);
        names.filter_map(word).collect::<Vec<_>>()
    };
    let mut names = listed("Commands:");
    names.extend(listed("Tools (kscope TOOL --help):"));
    names.retain(|name| name != "help");
    assert!(names.len() >= 7, "{names:?}");
    names
}

#[test]
fn the_reference_is_what_is_printed() {
    let folder = Path::new(FOLDER);
    let bless = std::env::var_os("BLESS").is_some();
    let mut pages = BTreeSet::new();
    let mut check = |title: &str, help: &str| {
        let file = format!("{}.txt", title.replace(' ', "-"));
        let mut text = format!("$ {title} --help\n");
        for line in help.trim_end().lines() {
            text.push_str(line.trim_end());
            text.push('\n');
        }
        if bless {
            std::fs::write(folder.join(&file), &text).expect("written");
        }
        let expected = std::fs::read_to_string(folder.join(&file)).unwrap_or_default();
        for (at, (now, then)) in text.lines().zip(expected.lines()).enumerate() {
            assert_eq!(now, then, "{file}:{} (BLESS=1 accepts it)", at + 1);
        }
        assert_eq!(text.len(), expected.len(), "{file}: BLESS=1 accepts it");
        pages.insert(file);
    };
    check("kscope", &kscope(&["--help"]).code(0).out);
    for name in names() {
        let help = kscope(&[&name, "--help"]).code(0).out;
        check(&format!("kscope {name}"), &help);
    }
    check("bpftrace", &bpftrace(&["--help"]).code(0).out);
    let files = std::fs::read_dir(folder).expect("the folder");
    let files = files.map(|file| file.expect("a file").file_name().into_string());
    let files: BTreeSet<String> = files.map(|name| name.expect("a name")).collect();
    assert_eq!(files, pages, "pages of commands that are no more");
}

#[test]
fn every_flag_says_what_it_does() {
    // A flag without help stands alone on its line in the short help.
    for name in names() {
        let help = kscope(&[&name, "-h"]).code(0).out;
        let lines: Vec<&str> = help.lines().collect();
        for (at, line) in lines.iter().enumerate() {
            let flag = line.trim_start();
            if flag.starts_with('-') && flag.split("  ").count() == 1 {
                let next = lines.get(at + 1).map_or("", |next| next.trim());
                assert!(!next.is_empty() && !next.starts_with('-'), "{name}: {line}");
            }
        }
    }
}

#[test]
fn the_version_is_the_crates() {
    let expected = format!("kscope {}\n", env!("CARGO_PKG_VERSION"));
    for flag in ["-V", "--version"] {
        assert_eq!(kscope(&[flag]).code(0).out, expected);
    }
    let version = bpftrace(&["-V"]).code(0).out;
    assert!(version.starts_with("bpftrace v0.27"), "{version}");
}

#[test]
fn a_completion_knows_commands_tools_and_flags() {
    for shell in ["bash", "zsh", "fish"] {
        let script = kscope(&["completions", shell]).code(0).out;
        for word in ["doctor", "opensnoop", "no-warnings", "failed"] {
            assert!(script.contains(word), "{shell} lacks {word}");
        }
        let hidden = "Write the manual pages";
        assert!(!script.contains(hidden) && !script.contains("kscope__man"));
    }
    kscope(&["completions", "csh"])
        .code(2)
        .says(&["csh", "bash"]);
}

#[test]
fn there_is_a_manual_page_for_everything() {
    let folder = super::scratch("man");
    let at = folder.to_str().expect("a path of text");
    kscope(&["man", at]).code(0);
    let mut pages = vec!["kscope".to_owned()];
    pages.extend(names().iter().map(|name| format!("kscope-{name}")));
    for page in pages {
        let path = Path::new(at).join(format!("{page}.1"));
        let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{page}: {e}"));
        assert!(text.contains(&format!(".TH {page} 1")), "{page}");
        assert!(text.contains(".SH SYNOPSIS"), "{page}");
        assert!(text.contains(".SH \"EXIT STATUS\""), "{page}");
        // Pages that others send the reader to are there.
        let named = text.split("\\fB").filter_map(|part| {
            let (name, _) = part.split_once("\\fR(1)")?;
            Some(name.replace("\\-", "-"))
        });
        for name in named {
            let other = Path::new(at).join(format!("{name}.1"));
            assert!(other.exists(), "{page} names {name}(1)");
        }
    }
    kscope(&["man", "/no/such/folder"])
        .code(1)
        .says(&["cannot write /no/such/folder/kscope.1"]);
}
