//! Rules of the tree that no compiler checks.

use std::path::{Path, PathBuf};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// The most lines of a file.
const LINES: usize = 1000;

/// Files that may be longer, each with its reason: tables and generated files.
const LONG: [(&str, &str); 2] = [
    (
        "tests/skeletons/bindgen.rs",
        "a golden file, written by kscope bindgen",
    ),
    (
        "crates/script/src/constants/x86_64.txt",
        "a table, written by cargo xtask constants",
    ),
];

/// Names that say nothing about what is inside ("helper" alone is a word of eBPF).
const EMPTY_NAMES: [&str; 5] = ["utils", "util", "common", "helpers", "misc"];

/// The one crate with unsafe code.
const UNSAFE: &str = "crates/sys/";

/// Crates that take bytes or text and return values; each has a clippy.toml with the same text.
const PURE: [&str; 6] = ["btf", "spec", "memory", "rows", "script", "view"];

/// Kinds of files that people write.
const WRITTEN: [&str; 9] = ["rs", "toml", "md", "sh", "bt", "txt", "c", "yml", "py"];

/// A written file: its path from the root and its text.
struct Source {
    path: String,
    text: String,
}

impl Source {
    fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }
}

/// Every file that people write, outside build folders.
fn sources() -> Vec<Source> {
    let mut sources = Vec::new();
    let mut folders = vec![PathBuf::from(ROOT)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            let name = path
                .file_name()
                .expect("a name")
                .to_string_lossy()
                .into_owned();
            if path.is_symlink() {
                continue;
            }
            if path.is_dir() {
                let hidden = name.starts_with('.') && name != ".ci" && name != ".cargo";
                if !hidden && name != "target" {
                    folders.push(path);
                }
                continue;
            }
            let extension = path
                .extension()
                .map_or("", |extension| extension.to_str().unwrap_or("?"));
            let written = WRITTEN.contains(&extension) || name == "Makefile" || name == "run";
            let Ok(text) = std::fs::read_to_string(&path) else {
                continue;
            };
            if written {
                let path = path
                    .strip_prefix(ROOT)
                    .expect("below the root")
                    .display()
                    .to_string();
                sources.push(Source { path, text });
            }
        }
    }
    assert!(
        sources.len() > 50,
        "only {} files: not the tree",
        sources.len()
    );
    sources
}

/// Applies a rule to every file; a rule gives what it found.
fn hold(rule: impl Fn(&Source) -> Vec<String>) {
    let found: Vec<String> = sources()
        .iter()
        .flat_map(|source| {
            rule(source)
                .into_iter()
                .map(|what| format!("{}: {what}", source.path))
        })
        .collect();
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

/// Applies a rule to one made-up file.
fn check(rule: impl Fn(&Source) -> Vec<String>, path: &str, text: &str, expected: usize) {
    let source = Source {
        path: path.to_string(),
        text: text.to_string(),
    };
    let found = rule(&source);
    assert_eq!(found.len(), expected, "{path}: {text}: {found:?}");
}

/// Gives "line N: text" for the lines a test holds for.
fn lines_with(text: &str, test: impl Fn(&str) -> bool) -> Vec<String> {
    let numbered = text.lines().enumerate().filter(|(_, line)| test(line));
    numbered
        .map(|(number, line)| format!("line {}: {}", number + 1, line.trim()))
        .collect()
}

fn too_long(source: &Source) -> Vec<String> {
    let count = source.text.lines().count();
    let listed = LONG.iter().any(|(path, _)| *path == source.path);
    match (count > LINES, listed) {
        (true, false) => vec![format!("{count} lines, more than {LINES}")],
        (false, true) => vec!["is listed as long, and is not".to_string()],
        _ => Vec::new(),
    }
}

#[test]
fn no_file_is_too_long() {
    hold(too_long);
    let files: Vec<String> = sources().into_iter().map(|source| source.path).collect();
    assert!(
        LONG.iter()
            .all(|(path, reason)| files.iter().any(|file| file == path) && !reason.is_empty())
    );
    check(too_long, "a.rs", &"\n".repeat(1000), 0);
    check(too_long, "a.rs", &"\n".repeat(1001), 1);
}

fn empty_names(source: &Source) -> Vec<String> {
    if !source.is_rust() {
        return Vec::new();
    }
    let parts = source.path.trim_end_matches(".rs").split('/');
    let mut found: Vec<String> = parts
        .filter(|part| EMPTY_NAMES.contains(part))
        .map(|part| format!("is in {part}"))
        .collect();
    found.extend(lines_with(&source.text, |line| {
        let line = line
            .trim()
            .trim_start_matches("pub ")
            .trim_start_matches("pub(crate) ");
        let name = line
            .strip_prefix("mod ")
            .and_then(|rest| rest.split([' ', ';', '{']).next());
        name.is_some_and(|name| EMPTY_NAMES.contains(&name))
    }));
    found
}

#[test]
fn modules_are_named_for_what_they_hold() {
    hold(empty_names);
    check(empty_names, "crates/a/src/utils.rs", "", 1);
    check(empty_names, "crates/a/src/common/b.rs", "", 1);
    check(
        empty_names,
        "crates/a/src/b.rs",
        "pub(crate) mod helpers {\nmod misc;\nmod miscible;",
        2,
    );
}

/// The word whose rules this file checks, spelt so that the file does not break them.
const WORD: &str = concat!("un", "safe");

fn code_without_guard(source: &Source) -> Vec<String> {
    if !source.is_rust() || source.path.starts_with(UNSAFE) {
        return Vec::new();
    }
    lines_with(&source.text, |line| {
        let code = line.split("//").next().unwrap_or_default();
        let after = code
            .match_indices(WORD)
            .map(|(at, word)| &code[at + word.len()..]);
        let starts = [
            " {", " fn", " impl", " extern", " trait", "(", "_code)", "_code,",
        ];
        after
            .into_iter()
            .any(|rest| starts.iter().any(|start| rest.starts_with(start)))
    })
}

#[test]
fn one_crate_has_code_without_guard() {
    hold(code_without_guard);
    let with = |rest: &str| format!("let a = {WORD}{rest}");
    check(
        code_without_guard,
        "crates/bpf/src/a.rs",
        &with(" { b() };"),
        1,
    );
    check(
        code_without_guard,
        "crates/bpf/src/a.rs",
        &with(" fn c() {}"),
        1,
    );
    check(
        code_without_guard,
        "crates/bpf/src/a.rs",
        &format!("{}{WORD}_code)]", concat!("#![", "allow(")),
        1,
    );
    check(
        code_without_guard,
        "crates/bpf/src/a.rs",
        &format!("// {WORD} {{"),
        0,
    );
    check(
        code_without_guard,
        "crates/bpf/src/a.rs",
        &format!("option {WORD}_mode = \"--{WORD}\""),
        0,
    );
    check(
        code_without_guard,
        "crates/sys/src/a.rs",
        &with(" { b() };"),
        0,
    );
}

fn bare_allows(source: &Source) -> Vec<String> {
    if !source.is_rust() {
        return Vec::new();
    }
    // Attributes may be spread over lines, so the text is searched as a whole.
    let starts = [
        concat!("#[", "allow("),
        concat!("#![", "allow("),
        concat!("#[", "expect("),
        concat!("#![", "expect("),
    ];
    let mut found = Vec::new();
    for start in starts {
        for (at, _) in source.text.match_indices(start) {
            let line = source.text[..at].lines().count().max(1);
            let attribute = source.text[at..].split(")]").next().unwrap_or_default();
            if !attribute.contains("reason = \"") {
                found.push(format!("line {line}: an attribute without a reason"));
            }
        }
    }
    found
}

#[test]
fn lint_exceptions_carry_a_reason() {
    hold(bare_allows);
    let attribute = |inner: &str| {
        format!(
            "fn a() {{}}\n{}{inner})]\nfn b() {{}}",
            concat!("#[", "allow(")
        )
    };
    check(bare_allows, "a.rs", &attribute("dead_code"), 1);
    check(
        bare_allows,
        "a.rs",
        &attribute("\n    dead_code,\n    reason = \"the kernel's name\"\n"),
        0,
    );
}

/// Folders of one machine, spelt so that this file does not name them; a guest's own /tmp is none.
const PLACES: [&str; 4] = [
    concat!("/wo", "rk"),
    concat!("/tmp/", "t-"),
    concat!("/tmp/", "brief"),
    concat!("/ro", "ot/."),
];

fn machine_paths(source: &Source) -> Vec<String> {
    lines_with(&source.text, |line| {
        PLACES.iter().any(|place| {
            line.match_indices(place).any(|(at, _)| {
                let part_of_name = |byte: Option<&u8>| {
                    byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
                };
                let before = at.checked_sub(1).and_then(|at| line.as_bytes().get(at));
                let relative = before == Some(&b'.') || part_of_name(before);
                let longer = !place.ends_with(['-', '.'])
                    && part_of_name(line.as_bytes().get(at + place.len()));
                !relative && !longer
            })
        })
    })
}

#[test]
fn no_path_of_one_machine_is_named() {
    hold(machine_paths);
    check(machine_paths, "a.md", concat!("see /wo", "rk/main"), 1);
    check(machine_paths, "a.md", concat!("\"/wo", "rk\""), 1);
    check(machine_paths, "a.md", concat!("/tmp/", "t-me/debug"), 1);
    check(
        machine_paths,
        "a.md",
        concat!("/wo", "rkspace and net/wo", "rk and /sys/wo", "rkqueue"),
        0,
    );
}

/// Hosts of package archives, spelt so that this file does not name them. Mirrors come from the machine.
const HOSTS: [&str; 7] = [
    concat!("deb", ".debian."),
    concat!("snapshot", ".debian."),
    concat!("archive", ".debian."),
    concat!("security", ".debian."),
    concat!("archive", ".ubuntu."),
    concat!("static", ".crates."),
    concat!("index", ".crates."),
];

fn package_hosts(source: &Source) -> Vec<String> {
    lines_with(&source.text, |line| {
        HOSTS.iter().any(|host| line.contains(host))
    })
}

#[test]
fn no_package_host_is_named() {
    hold(package_hosts);
    check(
        package_hosts,
        "a.rs",
        concat!("http://deb", ".debian.org/debian"),
        1,
    );
    check(package_hosts, "a.rs", "https://www.debian.org", 0);
}

#[test]
fn manifests_take_the_workspace_lints() {
    let rule = |source: &Source| -> Vec<String> {
        let is_crate = source.path.ends_with("/Cargo.toml") && source.text.contains("[package]");
        let strict = source.text.contains("[lints]\nworkspace = true");
        // A fuzz workspace of its own is built by its tool; the crate behind the door repeats the lints but one.
        let apart = source.text.contains("[workspace]")
            || (source.path.starts_with(UNSAFE)
                && source
                    .text
                    .contains("undocumented_unsafe_blocks = \"deny\""));
        if is_crate && !strict && !apart {
            vec!["no `[lints] workspace = true`".to_string()]
        } else {
            Vec::new()
        }
    };
    hold(rule);
    check(rule, "crates/a/Cargo.toml", "[package]\nname = \"a\"\n", 1);
}

#[test]
fn pure_crates_forbid_the_same_things() {
    let read = |name: &str| {
        let path = Path::new(ROOT)
            .join("crates")
            .join(name)
            .join("clippy.toml");
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    };
    let first = read(PURE[0]);
    for what in [
        "std::env::var",
        "std::fs::File::open",
        "std::time::Instant::now",
        "std::println",
    ] {
        assert!(
            first.contains(&format!("\"{what}\"")),
            "{what} is not forbidden"
        );
    }
    for name in PURE {
        assert_eq!(read(name), first, "crates/{name}/clippy.toml");
    }
}
