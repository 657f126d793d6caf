//! Files of one-line scripts with what they print; see tests/scripts/language.

use std::path::Path;
use std::process::{Command, Stdio};

/// What a run left.
pub struct Ran {
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
    /// Exit code.
    pub code: Option<i32>,
}

/// Runs a program to its end.
///
/// # Panics
/// Where it cannot be started.
pub fn run<S: AsRef<std::ffi::OsStr>>(program: &Path, arguments: &[S]) -> Ran {
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("kscope starts");
    Ran {
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
        code: output.status.code(),
    }
}

/// A line of a file, and the lines that it expects.
pub struct Case<'a> {
    /// The line.
    pub line: &'a str,
    /// What it prints.
    pub expected: Vec<&'a str>,
}

/// Reads a file of cases.
#[must_use]
pub fn cases(text: &str) -> Vec<Case<'_>> {
    let mut cases: Vec<Case<'_>> = Vec::new();
    let lines = text.lines().filter(|line| !line.starts_with("# "));
    for line in lines.filter(|line| !line.is_empty()) {
        match (line.strip_prefix('>'), cases.last_mut()) {
            (Some(expected), Some(case)) => {
                let expected = expected.strip_prefix(' ').unwrap_or(expected);
                case.expected.push(expected);
            }
            _ => cases.push(Case {
                line,
                expected: Vec::new(),
            }),
        }
    }
    cases
}

/// Makes one script of many cases; a line with a mark comes before what each prints.
fn script(cases: &[Case<'_>]) -> String {
    let mut script = "config = { print_maps_on_exit = false }\n".to_owned();
    for (number, case) in cases.iter().enumerate() {
        let end = if case.line.ends_with(['}', ';']) {
            ""
        } else {
            ";"
        };
        script += &format!(
            "begin {{ printf(\"case {number}\\n\"); {{ {}{end} }} }}\n",
            case.line
        );
    }
    script
}

/// Cuts the output at the marks.
fn parts(out: &str) -> Vec<Vec<&str>> {
    let mut parts: Vec<Vec<&str>> = Vec::new();
    for line in out.lines() {
        let mark = format!("case {}", parts.len());
        match parts.last_mut() {
            _ if line == mark => parts.push(Vec::new()),
            Some(part) => part.push(line),
            None => {}
        }
    }
    // The run ends with two empty lines.
    if let Some(last) = parts.last_mut() {
        last.truncate(last.len().saturating_sub(2));
    }
    parts
}

/// Runs a file of cases; gives what it left on standard error.
///
/// # Panics
/// Where a case prints something else.
pub fn check(program: &Path, text: &str) -> String {
    let cases = cases(text);
    let ran = run(program, &["run", "-e", &script(&cases)]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let parts = parts(&ran.out);
    assert_eq!(parts.len(), cases.len(), "{}", ran.out);
    let mut wrong = String::new();
    for (case, part) in cases.iter().zip(&parts) {
        if case.expected != *part {
            wrong += &format!(
                "{}\n  expected {:?}\n  printed  {part:?}\n",
                case.line, case.expected
            );
        }
    }
    assert!(wrong.is_empty(), "{wrong}{}", ran.err);
    ran.err
}
