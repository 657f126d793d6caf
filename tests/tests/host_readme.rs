//! README.md shows commands that work, and quotes the examples that cargo builds.

use std::path::Path;
use std::process::Command;

use kscope_tests::assembly::privileged;
use kscope_tests::program::kscope;
use kscope_tests::skip;

const README: &str = include_str!("../../README.md");
const EXAMPLES: [&str; 2] = [
    include_str!("../examples/load_program.rs"),
    include_str!("../examples/run_script.rs"),
];

/// A command with what is printed below it.
#[derive(Debug, PartialEq)]
struct Shown {
    words: Vec<String>,
    output: String,
}

/// Splits a command as a shell does; none where a quote is still open.
fn split(command: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for c in command.chars() {
        match quote {
            Some(open) if c == open => quote = None,
            None if c == '\'' || c == '"' => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            None if c.is_whitespace() => words.extend(word.take()),
            _ => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    quote.is_none().then_some(words)
}

/// Gives the commands behind `# ` or `$ ` in the blocks of a terminal.
fn shown(text: &str) -> Vec<Shown> {
    let mut all: Vec<Shown> = Vec::new();
    for block in text.split("```console\n").skip(1) {
        let (block, _) = block.split_once("```").expect("a block ends");
        let mut open = String::new();
        for line in block.lines() {
            let prompt = line.strip_prefix("# ").or_else(|| line.strip_prefix("$ "));
            match (open.is_empty(), prompt) {
                (true, Some(command)) => open = command.to_owned(),
                (true, None) => {
                    let last = all.last_mut().expect("a command before its output");
                    last.output.push_str(line);
                    last.output.push('\n');
                    continue;
                }
                (false, _) => {
                    open.push('\n');
                    open.push_str(line);
                }
            }
            if let Some(words) = split(&open) {
                open.clear();
                all.push(Shown {
                    words,
                    output: String::new(),
                });
            }
        }
        assert_eq!(open, "", "a quote stays open");
    }
    all
}

/// Checks a command without tracing anything; false where there is nothing to check.
fn check(program: &Path, shown: &Shown) -> bool {
    let words: Vec<&str> = shown.words.iter().map(String::as_str).collect();
    let run = |words: &[&str]| {
        let output = Command::new(program)
            .args(words)
            .output()
            .expect("kscope starts");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (
            output.status.success(),
            text(&output.stdout) + &text(&output.stderr),
        )
    };
    let script = words
        .iter()
        .position(|word| *word == "-e")
        .and_then(|at| words.get(at + 1));
    match (&words[1..], script) {
        (["check", ..], _) => {
            let (_, said) = run(&words[1..]);
            // Without privilege it is also told what could not be looked up.
            let same = match privileged() {
                Ok(_) => said == shown.output,
                Err(_) => said.contains(&shown.output),
            };
            assert!(same, "{words:?}: {said}");
        }
        (_, Some(script)) => {
            let (good, said) = run(&["check", "-e", script]);
            assert!(good, "{words:?}: {said}");
        }
        (["list", ..], _) => {
            let (good, said) = run(&words[1..]);
            // Without tracefs there is nothing to list; that is not the README's fault.
            assert!(!good || said == shown.output, "{words:?}: {said}");
        }
        ([tool, rest @ ..], None) => {
            let (good, said) = run(&[&[*tool], rest, &["--json-schema"]].concat());
            // Without privilege the fields of some tracepoints are nobody's to look up.
            if !good && said.contains("cannot be looked up") && privileged().is_err() {
                return true;
            }
            assert!(good, "{words:?}: {said}");
            for column in shown
                .output
                .lines()
                .next()
                .unwrap_or_default()
                .split_whitespace()
            {
                let column = format!("\"{}\"", column.to_lowercase());
                let is_name = column
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte == b'"');
                assert!(
                    !is_name || said.contains(&column),
                    "no column {column}: {said}"
                );
            }
        }
        ([], None) => return false,
    }
    true
}

#[test]
fn commands_of_the_readme_work() {
    let program = kscope();
    let shown = shown(README);
    let ours = shown.iter().filter(|shown| shown.words[0] == "kscope");
    let checked = ours.filter(|shown| check(&program, shown)).count();
    assert_eq!(checked, 10, "ten examples");
}

#[test]
fn examples_of_the_readme_are_those_that_are_built() {
    let blocks = README.split("```rust\n").skip(1);
    let quoted: Vec<&str> = blocks
        .map(|block| block.split("```").next().expect("some"))
        .collect();
    assert_eq!(quoted, EXAMPLES);
}

#[test]
fn examples_of_the_readme_run() {
    let test = std::env::current_exe().expect("this test's path");
    let folder = test
        .parent()
        .and_then(Path::parent)
        .expect("a folder of builds");
    let _kernel = kscope_tests::kernel_or_skip!();
    for (name, expected) in [
        ("load_program", " system calls in a second\n"),
        ("run_script", " entries\n0 events lost\n"),
    ] {
        let program = folder.join("examples").join(name);
        if !program.is_file() {
            skip!("examples", "the examples are not built");
        }
        let output = Command::new(program).output().expect("starts");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success(),
            "{name}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        assert!(
            text.ends_with(expected) && text.len() > expected.len(),
            "{name}: {text}"
        );
    }
}

#[test]
fn commands_are_found() {
    let text =
        "a\n```console\n# kscope run -c 'a b' -e '\n  c \"d\"'\ne\n```\n```console\n$ f\n```\n";
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    let first = Shown {
        words: words(&["kscope", "run", "-c", "a b", "-e", "\n  c \"d\""]),
        output: "e\n".to_owned(),
    };
    let second = Shown {
        words: words(&["f"]),
        output: String::new(),
    };
    assert_eq!(shown(text), [first, second]);
}
