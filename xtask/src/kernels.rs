//! `cargo xtask kernels`: docs/KERNELS.md, made of what the last runs in guests said.
//!
//! Every run of tests in a guest leaves its verdicts in the target folder, one file for each kernel; a run of some tests
//! replaces the verdicts of those alone.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::PathBuf;

use crate::arguments::Arguments;
use crate::cargo;
use crate::outcome::{Outcome, Verdict};
use crate::vm::{self, USUAL};

/// The verdicts of one kernel.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Results {
    /// `uname -r`.
    release: String,
    /// By `suite::test`.
    verdicts: BTreeMap<String, Verdict>,
}

const HEAD: &str = "\
# Kernels

Which suites of tests pass on which kernel. This file is made of the verdicts of the last runs in guests by
`cargo xtask kernels`; nobody writes in it. A suite is a file of tests/tests; a test is skipped where the kernel, as Debian
builds it, lacks what it is about, and says what that is. The table of docs/LIBRARY.md names the tests of each feature.

";

/// Keeps what a guest said; `whole` for a run of all tests, which replaces what was kept before.
pub(crate) fn keep(kernel: &str, release: &str, outcomes: &[Outcome], whole: bool) {
    // A kernel given by path is nobody's usual one.
    if !USUAL.contains(&kernel) {
        return;
    }
    let mut results = match whole {
        true => Results::default(),
        false => read(kernel).unwrap_or_default(),
    };
    let release = release.split(',').next().unwrap_or(release);
    results.release = release.to_string();
    // What became of the boot is told in the sums; the document is about tests.
    for outcome in outcomes
        .iter()
        .filter(|outcome| outcome.name != vm::SECOND_BOOT)
    {
        let verdict = outcome.verdict.clone();
        results.verdicts.insert(outcome.name.clone(), verdict);
    }
    let written = file(kernel).and_then(|file| {
        std::fs::write(&file, results.to_text())
            .map_err(|error| format!("{}: {error}", file.display()))
    });
    if let Err(why) = written {
        println!("the verdicts of {kernel} are not kept: {why}");
    }
}

/// Runs the command: writes the document, or compares with `--check`.
pub(crate) fn run(mut arguments: Arguments) -> Result<bool, String> {
    let check = arguments.flag("--check");
    arguments.finish()?;
    let (text, good) = document()?;
    let document = cargo::root().join("docs/KERNELS.md");
    if check {
        let same = std::fs::read_to_string(&document).is_ok_and(|found| found == text);
        if !same {
            println!(
                "docs/KERNELS.md is not what the last runs said; cargo xtask kernels writes it"
            );
        }
        return Ok(same && good);
    }
    std::fs::write(&document, &text).map_err(|error| format!("docs/KERNELS.md: {error}"))?;
    print!("{text}");
    Ok(good)
}

/// Says whether the document is what the last runs said: tests that came or went since it was written change its sums.
pub(crate) fn tell() {
    let file = cargo::root().join("docs/KERNELS.md");
    let said = match (document(), std::fs::read_to_string(file)) {
        (Ok((text, _)), Ok(found)) if text == found => "is what these runs said".to_string(),
        (Ok(_), _) => "is older; cargo xtask kernels writes it of these runs".to_string(),
        (Err(why), _) => format!("is not made of these runs: {why}"),
    };
    println!("docs/KERNELS.md {said}");
}

/// Makes the document of what is kept of the usual kernels; also tells whether all that ran was as it should be.
fn document() -> Result<(String, bool), String> {
    let (mut all, mut missing) = (Vec::new(), Vec::new());
    for kernel in USUAL {
        match read(kernel) {
            Some(results) => all.push((kernel, results)),
            None => missing.push(kernel),
        }
    }
    if all.is_empty() {
        let kernels = USUAL.join(" ");
        return Err(format!(
            "nothing is kept of any kernel: cargo xtask vm {kernels} runs the tests"
        ));
    }
    let mut good = missing.is_empty();
    let mut text = render(&all);
    if !missing.is_empty() {
        let _ = write!(text, "\nNot run: {}.\n", missing.join(", "));
    }
    for (_, results) in &all {
        let mut verdicts = results.verdicts.values();
        good &= !verdicts.any(|verdict| matches!(verdict, Verdict::Failed(_)));
    }
    Ok((text, good))
}

/// Writes the tables: sums of each suite, and the tests that some kernel skips, with the reasons.
fn render(all: &[(&str, Results)]) -> String {
    let mut text = HEAD.to_string();
    let columns: Vec<&str> = all.iter().map(|(kernel, _)| *kernel).collect();
    let rule = "---|".repeat(columns.len() + 1);
    let _ = writeln!(text, "| suite | {} |\n|{rule}", columns.join(" | "));
    let releases: Vec<&str> = all
        .iter()
        .map(|(_, results)| results.release.as_str())
        .collect();
    let _ = writeln!(text, "| `uname -r` | {} |", releases.join(" | "));
    let tests: BTreeSet<&str> = all
        .iter()
        .flat_map(|(_, results)| results.verdicts.keys())
        .map(String::as_str)
        .collect();
    let suites: BTreeSet<&str> = tests.iter().map(|test| suite(test)).collect();
    for name in suites {
        let cells: Vec<String> = all.iter().map(|(_, results)| results.sum(name)).collect();
        let _ = writeln!(text, "| {name} | {} |", cells.join(" | "));
    }
    let mut reasons: Vec<&str> = Vec::new();
    let mut rows = String::new();
    for test in tests {
        let verdicts: Vec<Option<&Verdict>> = all
            .iter()
            .map(|(_, results)| results.verdicts.get(test))
            .collect();
        if !verdicts
            .iter()
            .any(|verdict| matches!(verdict, Some(Verdict::Skipped(_) | Verdict::Failed(_))))
        {
            continue;
        }
        let cells: Vec<String> = verdicts
            .into_iter()
            .map(|verdict| match verdict {
                Some(Verdict::Passed) => "passed".to_string(),
                Some(Verdict::Skipped(reason)) => {
                    let known = reasons.iter().position(|known| known == reason);
                    let number = known.unwrap_or_else(|| {
                        reasons.push(reason);
                        reasons.len() - 1
                    });
                    format!("skipped ({})", number + 1)
                }
                Some(Verdict::Failed(_)) => "failed".to_string(),
                None => "-".to_string(),
            })
            .collect();
        let _ = writeln!(rows, "| {test} | {} |", cells.join(" | "));
    }
    if !rows.is_empty() {
        let _ = writeln!(text, "\n## What does not pass, and why\n");
        let _ = writeln!(text, "| test | {} |\n|{rule}\n{rows}", columns.join(" | "));
        for (index, reason) in reasons.iter().enumerate() {
            let _ = writeln!(text, "{}. {reason}", index + 1);
        }
    }
    text
}

fn suite(test: &str) -> &str {
    test.split("::").next().unwrap_or(test)
}

impl Results {
    /// Says how many tests of a suite passed, and how many were skipped.
    fn sum(&self, name: &str) -> String {
        let (mut passed, mut skipped, mut failed) = (0, 0, 0);
        for (_, verdict) in self.verdicts.iter().filter(|(test, _)| suite(test) == name) {
            match verdict {
                Verdict::Passed => passed += 1,
                Verdict::Skipped(_) => skipped += 1,
                Verdict::Failed(_) => failed += 1,
            }
        }
        let words = [(passed, "passed"), (skipped, "skipped"), (failed, "failed")];
        let words: Vec<String> = words
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, word)| format!("{count} {word}"))
            .collect();
        match words.is_empty() {
            true => "-".to_string(),
            false => words.join(", "),
        }
    }

    fn to_text(&self) -> String {
        let mut text = format!("release\t{}\n", self.release);
        for (test, verdict) in &self.verdicts {
            let _ = match verdict {
                Verdict::Passed => writeln!(text, "passed\t{test}"),
                Verdict::Skipped(why) => writeln!(text, "skipped\t{test}\t{why}"),
                Verdict::Failed(how) => writeln!(text, "failed\t{test}\t{how}"),
            };
        }
        text
    }

    fn parse(text: &str) -> Option<Self> {
        let mut results = Results::default();
        for line in text.lines() {
            let mut columns = line.splitn(3, '\t');
            let (kind, name) = (columns.next()?, columns.next()?.to_string());
            let more = columns.next().unwrap_or_default().to_string();
            let verdict = match kind {
                "release" => {
                    results.release = name;
                    continue;
                }
                "passed" => Verdict::Passed,
                "skipped" => Verdict::Skipped(more),
                "failed" => Verdict::Failed(more),
                _ => return None,
            };
            results.verdicts.insert(name, verdict);
        }
        Some(results)
    }
}

fn file(kernel: &str) -> Result<PathBuf, String> {
    let folder = cargo::scratch_dir()?.join("kernels");
    std::fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    Ok(folder.join(kernel))
}

fn read(kernel: &str) -> Option<Results> {
    Results::parse(&std::fs::read_to_string(file(kernel).ok()?).ok()?)
}

#[cfg(test)]
mod tests {
    use super::{HEAD, Results, render};
    use crate::outcome::Verdict;

    fn results(release: &str, verdicts: &[(&str, Verdict)]) -> Results {
        Results {
            release: release.to_string(),
            verdicts: verdicts
                .iter()
                .map(|(test, verdict)| (test.to_string(), verdict.clone()))
                .collect(),
        }
    }

    #[test]
    fn what_is_kept_comes_back() {
        let kept = results(
            "6.1.0-9",
            &[
                ("a::one", Verdict::Passed),
                ("a::two", Verdict::Skipped("no\tfprobe".to_string())),
                ("b::one", Verdict::Failed("exit code 101".to_string())),
            ],
        );
        assert_eq!(Results::parse(&kept.to_text()), Some(kept));
        assert_eq!(Results::parse("nonsense\tx"), None);
    }

    #[test]
    fn suites_and_reasons_are_shown() {
        let lacks = Verdict::Skipped("no fprobe".to_string());
        let old = results(
            "5.10",
            &[
                ("a::one", Verdict::Passed),
                ("a::two", lacks.clone()),
                ("b::x", lacks),
            ],
        );
        let new = results(
            "7.0",
            &[("a::one", Verdict::Passed), ("a::two", Verdict::Passed)],
        );
        let expected = "\
| suite | old | new |
|---|---|---|
| `uname -r` | 5.10 | 7.0 |
| a | 1 passed, 1 skipped | 2 passed |
| b | 1 skipped | - |

## What does not pass, and why

| test | old | new |
|---|---|---|
| a::two | skipped (1) | passed |
| b::x | skipped (1) | - |

1. no fprobe
";
        let text = render(&[("old", old), ("new", new)]);
        assert_eq!(text.strip_prefix(HEAD), Some(expected));
    }
}
