//! Reads what a guest reports (tests/vm/init.sh writes it).

use std::time::Duration;

use crate::outcome::Outcome;

/// What a guest said before it ended.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// `uname -r`, and the seconds from the kernel's start to the first test.
    pub(crate) release: Option<(String, String)>,
    pub(crate) outcomes: Vec<Outcome>,
    /// The test that was running when the report ended.
    pub(crate) unfinished: Option<(String, String)>,
    /// Modules that did not load.
    pub(crate) unloaded: Vec<String>,
    /// What the guest says of itself, packed.
    pub(crate) said: String,
    pub(crate) done: bool,
}

/// Reads a report; a line cut short at the end is left out.
pub(crate) fn read(text: &str, limit: Duration) -> Report {
    let mut report = Report::default();
    let mut output = String::new();
    for line in text.lines() {
        if let Some(printed) = line.strip_prefix("| ") {
            output.push_str(printed);
            output.push('\n');
            continue;
        }
        if let Some(packed) = line.strip_prefix("> ") {
            report.said.push_str(packed);
            report.said.push('\n');
            continue;
        }
        let Some(line) = line.strip_prefix("@@ ") else {
            continue;
        };
        match line.split(' ').collect::<Vec<_>>().as_slice() {
            ["release", release, uptime] => {
                report.release = Some(((*release).to_string(), (*uptime).to_string()));
            }
            ["module", module] => report.unloaded.push((*module).to_string()),
            ["begin", suite, test] => {
                output.clear();
                report.unfinished = Some((format!("{suite}::{test}"), String::new()));
            }
            ["end", suite, test, code, milliseconds] => {
                let time = Duration::from_millis(milliseconds.parse().unwrap_or(0));
                let ending = match *code {
                    "0" => Ok(()),
                    "137" if time >= limit => Err(format!("killed after {} s", limit.as_secs())),
                    code => Err(format!("exit code {code}")),
                };
                let name = format!("{suite}::{test}");
                report.outcomes.push(Outcome::judge(
                    name,
                    ending,
                    time,
                    std::mem::take(&mut output),
                ));
                report.unfinished = None;
            }
            ["done"] => report.done = true,
            _ => {}
        }
    }
    if let Some((_, printed)) = &mut report.unfinished {
        *printed = output;
    }
    report
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::read;
    use crate::outcome::Verdict;

    #[test]
    fn a_whole_report() {
        let text = "@@ release 6.1.0-1 9.50\n@@ module x.ko\n@@ begin s a\n| running 1 test\n| fine\n\n@@ end s a 0 20\n\
                    @@ begin s b\n@@ ready\n> aa\n> bb\n| SKIP: b: no BTF\n@@ end s b 0 10\n@@ begin s c\n@@ end s c 101 10\n\
                    @@ begin s d\n@@ end s d 137 5000\n@@ done\n";
        let report = read(text, Duration::from_secs(5));
        assert!(report.done && report.unfinished.is_none());
        assert_eq!(report.release, Some(("6.1.0-1".into(), "9.50".into())));
        assert_eq!(report.unloaded, ["x.ko"]);
        assert_eq!(report.said, "aa\nbb\n");
        assert_eq!(report.outcomes[0].output, "running 1 test\nfine\n");
        assert_eq!(report.outcomes[0].time, Duration::from_millis(20));
        let verdicts: Vec<_> = report
            .outcomes
            .into_iter()
            .map(|outcome| outcome.verdict)
            .collect();
        let failed = |how: &str| Verdict::Failed(how.to_string());
        let skipped = Verdict::Skipped("no BTF".to_string());
        assert_eq!(
            verdicts,
            [
                Verdict::Passed,
                skipped,
                failed("exit code 101"),
                failed("killed after 5 s")
            ]
        );
    }

    #[test]
    fn a_report_cut_short_names_the_test_that_ran() {
        let report = read(
            "@@ release 5.10 8.1\n@@ begin s a\n| half",
            Duration::from_secs(5),
        );
        assert!(!report.done && report.outcomes.is_empty());
        assert_eq!(report.unfinished, Some(("s::a".into(), "half\n".into())));
    }
}
