//! Runs libtest executables: each test in a process of its own, with a time limit, as guests run them too.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::cargo::{self, TestExecutable};
use crate::deadline;
use crate::outcome::{Outcome, Verdict};

/// One test of one executable.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    /// The executable's name; tests of one suite run in the order in which it lists them.
    pub(crate) suite: String,
    pub(crate) test: String,
    pub(crate) path: PathBuf,
    folder: PathBuf,
    /// Whether it is marked `#[ignore]`.
    pub(crate) ignored: bool,
}

/// How tests are run.
pub(crate) struct Rules {
    /// Tests at a time.
    pub(crate) jobs: usize,
    /// Time limit of one test.
    pub(crate) limit: Duration,
    /// When no further test is started.
    pub(crate) until: Instant,
    pub(crate) environment: Vec<(String, String)>,
}

/// Lists the tests of an executable.
pub(crate) fn list(executable: &TestExecutable, suite: &str) -> Result<Vec<Case>, String> {
    let names = |more: &[&str]| -> Result<Vec<String>, String> {
        let output = Command::new(&executable.path)
            .args(["--list", "--format", "terse"])
            .args(more)
            .current_dir(&executable.folder)
            .output()
            .map_err(|error| format!("{}: {error}", executable.path.display()))?;
        deadline::ending(output.status)
            .map_err(|how| format!("{} --list: {how}", executable.path.display()))?;
        let text = String::from_utf8_lossy(&output.stdout);
        Ok(text
            .lines()
            .filter_map(|line| line.strip_suffix(": test"))
            .map(str::to_string)
            .collect())
    };
    let ignored: BTreeSet<String> = names(&["--ignored"])?.into_iter().collect();
    let cases = names(&[])?.into_iter().map(|test| Case {
        suite: suite.to_string(),
        ignored: ignored.contains(&test),
        test,
        path: executable.path.clone(),
        folder: executable.folder.clone(),
    });
    Ok(cases.collect())
}

impl Case {
    /// The name printed and matched against: `suite::test`.
    pub(crate) fn name(&self) -> String {
        format!("{}::{}", self.suite, self.test)
    }

    /// Runs the test; what it prints goes to a file on the way.
    pub(crate) fn run(&self, rules: &Rules, output: &std::path::Path) -> Outcome {
        let started = Instant::now();
        let Some(left) = rules.until.checked_duration_since(started) else {
            return Outcome::new(
                self.name(),
                Verdict::Failed("not started: the suite's time was up".into()),
            );
        };
        let mut command = Command::new(&self.path);
        command
            .args(["--exact", &self.test, "--include-ignored", "--nocapture"])
            .current_dir(&self.folder)
            .env("CARGO_MANIFEST_DIR", &self.folder)
            .envs(rules.environment.iter().map(|(name, value)| (name, value)));
        let ending = deadline::run_to_file(&mut command, output, rules.limit.min(left));
        let text = std::fs::read(output).unwrap_or_default();
        let _ = std::fs::remove_file(output);
        Outcome::judge(
            self.name(),
            ending,
            started.elapsed(),
            String::from_utf8_lossy(&text).into_owned(),
        )
    }
}

/// Runs the cases, prints what failed or was skipped, and gives the outcomes in the order of the cases.
pub(crate) fn run(cases: &[Case], rules: &Rules) -> Result<Vec<Outcome>, String> {
    let scratch = cargo::scratch_dir()?;
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::with_capacity(cases.len()));
    std::thread::scope(|scope| {
        for worker in 0..rules.jobs.max(1) {
            let output = scratch.join(format!("test-{}-{worker}", std::process::id()));
            let (next, done) = (&next, &done);
            scope.spawn(move || {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(case) = cases.get(index) else { break };
                    let outcome = case.run(rules, &output);
                    if outcome.verdict != Verdict::Passed {
                        outcome.print(false);
                    }
                    if let Ok(mut done) = done.lock() {
                        done.push((index, outcome));
                    }
                }
            });
        }
    });
    let mut outcomes = done
        .into_inner()
        .map_err(|_| "a test worker panicked".to_string())?;
    outcomes.sort_by_key(|(index, _)| *index);
    Ok(outcomes.into_iter().map(|(_, outcome)| outcome).collect())
}
