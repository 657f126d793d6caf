//! What became of a test, and the sums printed at the end.

use std::time::Duration;

/// The verdict on one test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Passed,
    /// Failed, with how it ended ("exit code 101", "killed after 120 s").
    Failed(String),
    /// Skipped, with what the machine lacks.
    Skipped(String),
}

/// One test's verdict, time and output.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    /// Suite and test: `guest_smoke::kernel_release`.
    pub(crate) name: String,
    pub(crate) verdict: Verdict,
    pub(crate) time: Duration,
    pub(crate) output: String,
}

impl Outcome {
    pub(crate) fn new(name: impl Into<String>, verdict: Verdict) -> Self {
        Self {
            name: name.into(),
            verdict,
            time: Duration::ZERO,
            output: String::new(),
        }
    }

    /// Judges a finished test process: a `SKIP: <test>: <reason>` line turns success into a skip.
    pub(crate) fn judge(
        name: String,
        ending: Result<(), String>,
        time: Duration,
        output: String,
    ) -> Self {
        let verdict = match ending {
            Err(how) => Verdict::Failed(how),
            Ok(()) => match skip_reason(&output) {
                Some(reason) => Verdict::Skipped(reason),
                None => Verdict::Passed,
            },
        };
        Self {
            name,
            verdict,
            time,
            output,
        }
    }

    /// Prints one line, and the output where it tells something.
    pub(crate) fn print(&self, with_output: bool) {
        let seconds = self.time.as_secs_f64();
        match &self.verdict {
            Verdict::Passed => println!("    ok      {seconds:7.2} s  {}", self.name),
            Verdict::Failed(how) => println!("    FAILED  {seconds:7.2} s  {}: {how}", self.name),
            Verdict::Skipped(reason) => {
                println!("    skipped {seconds:7.2} s  {}: {reason}", self.name);
            }
        }
        if with_output || matches!(self.verdict, Verdict::Failed(_)) {
            for line in self.output.lines().filter(|line| !line.is_empty()) {
                println!("        | {line}");
            }
        }
    }
}

/// The reason of the first line `SKIP: <test>: <reason>`.
///
/// libtest prints "test NAME ... " without a newline before the test starts, so the mark may stand inside a line.
fn skip_reason(output: &str) -> Option<String> {
    let line = output
        .lines()
        .find_map(|line| line.find("SKIP: ").map(|at| &line[at + "SKIP: ".len()..]))?;
    let reason = line.split_once(": ").map_or(line, |(_, reason)| reason);
    Some(reason.trim().to_string())
}

/// Passed, failed and skipped tests of a suite or of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sum {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    pub(crate) skipped: usize,
}

impl Sum {
    pub(crate) fn of(outcomes: &[Outcome]) -> Self {
        let mut sum = Self::default();
        for outcome in outcomes {
            match outcome.verdict {
                Verdict::Passed => sum.passed += 1,
                Verdict::Failed(_) => sum.failed += 1,
                Verdict::Skipped(_) => sum.skipped += 1,
            }
        }
        sum
    }
}

impl std::ops::AddAssign for Sum {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

impl std::fmt::Display for Sum {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} passed, {} failed, {} skipped",
            self.passed, self.failed, self.skipped
        )
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Outcome, Sum, Verdict};

    fn check(ending: Result<(), &str>, output: &str, expected: &Verdict) {
        let outcome = Outcome::judge(
            "t".into(),
            ending.map_err(str::to_string),
            Duration::ZERO,
            output.to_string(),
        );
        assert_eq!(outcome.verdict, *expected, "{output}");
    }

    #[test]
    fn verdicts() {
        check(Ok(()), "running 1 test\ntest a ... ok\n", &Verdict::Passed);
        check(
            Ok(()),
            "SKIP: a: no kprobe PMU\n",
            &Verdict::Skipped("no kprobe PMU".into()),
        );
        check(
            Ok(()),
            "test a ... SKIP: a: not root: uid 7\nok\n",
            &Verdict::Skipped("not root: uid 7".into()),
        );
        check(
            Err("exit code 101"),
            "SKIP: a: b\n",
            &Verdict::Failed("exit code 101".into()),
        );
    }

    #[test]
    fn sums_print_as_the_last_line_is_read() {
        let outcomes = [
            Outcome::new("a", Verdict::Passed),
            Outcome::new("b", Verdict::Skipped("x".into())),
            Outcome::new("c", Verdict::Passed),
        ];
        let mut sum = Sum::of(&outcomes);
        assert_eq!(sum.to_string(), "2 passed, 0 failed, 1 skipped");
        sum += Sum {
            passed: 0,
            failed: 1,
            skipped: 0,
        };
        assert_eq!(
            sum,
            Sum {
                passed: 2,
                failed: 1,
                skipped: 1
            }
        );
    }
}
