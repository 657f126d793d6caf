//! What is wrong with the capture of a machine, and the way out of each: pure over [`Facts`].

mod image;
mod kernel;
mod target;

use std::fmt;

use crate::config::{Action, Config};
use crate::estimate::Estimate;
use crate::facts::Facts;
pub(crate) use target::{OTHER_INTERFACE, OTHER_TARGET};

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// It is as it should be.
    Ok,
    /// A dump comes about, but something is to be known.
    Warning,
    /// No dump comes about.
    Fault,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Level::Ok => "ok",
            Level::Warning => "warning",
            Level::Fault => "fault",
        })
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What was looked at: a name that stays the same.
    pub point: &'static str,
    /// How bad it is.
    pub level: Level,
    /// What was found.
    pub what: String,
    /// What to do; nothing where all is well.
    pub way_out: Option<String>,
}

/// Gives how many findings are of a level.
#[must_use]
pub fn count(findings: &[Finding], level: Level) -> usize {
    let of_it = findings.iter().filter(|finding| finding.level == level);
    of_it.count()
}

/// Findings as they are made.
#[derive(Debug, Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn ok(&mut self, point: &'static str, what: impl Into<String>) {
        self.add(point, Level::Ok, what.into(), None);
    }

    fn warn(&mut self, point: &'static str, what: impl Into<String>, way_out: impl Into<String>) {
        self.add(point, Level::Warning, what.into(), Some(way_out.into()));
    }

    fn fault(&mut self, point: &'static str, what: impl Into<String>, way_out: impl Into<String>) {
        self.add(point, Level::Fault, what.into(), Some(way_out.into()));
    }

    fn add(&mut self, point: &'static str, level: Level, what: String, way_out: Option<String>) {
        self.0.push(Finding {
            point,
            level,
            what,
            way_out,
        });
    }
}

/// Looks at everything that a capture depends on.
#[must_use]
pub fn check(facts: &Facts, config: &Config, estimate: &Estimate, now: u64) -> Vec<Finding> {
    let mut findings = Findings::default();
    kernel::reservation(&mut findings, &facts.kernel, estimate);
    kernel::options(&mut findings, &facts.kernel);
    kernel::permission(&mut findings, &facts.kernel, &facts.image);
    image::files(&mut findings, facts);
    image::loaded(&mut findings, facts);
    kernel::hotplug(&mut findings, &facts.kernel);
    kernel::triggers(&mut findings, &facts.kernel);
    kernel::surroundings(&mut findings, &facts.kernel);
    target::target(&mut findings, facts, config);
    target::crashes(&mut findings, facts);
    tested(&mut findings, facts, now);
    shell(&mut findings, facts, config);
    findings.0
}

/// Days after which a test is old.
const OLD: u64 = 180;

fn tested(findings: &mut Findings, facts: &Facts, now: u64) {
    const WAY_OUT: &str =
        "when nobody needs the machine: `kscope kdump test --crash-now-and-reboot`";
    let Some(test) = &facts.last_test else {
        findings.warn("test", "the capture was never tested", WAY_OUT);
        return;
    };
    let days = now.saturating_sub(test.time) / 86_400;
    if test.found.is_none() {
        findings.warn(
            "test",
            format!("the dump of the test {days} days ago was not looked for"),
            "`kscope kdump test --verify`",
        );
    } else if test.release != facts.kernel.release {
        let what = format!("the last test was with the kernel {}", test.release);
        findings.warn("test", what, WAY_OUT);
    } else if days > OLD {
        findings.warn(
            "test",
            format!("the last test was {days} days ago"),
            WAY_OUT,
        );
    } else {
        findings.ok("test", format!("tested {days} days ago with this kernel"));
    }
}

fn shell(findings: &mut Findings, facts: &Facts, config: &Config) {
    let wants = [config.action, config.failure_action].contains(&Action::Shell);
    if wants && !facts.has_shell {
        findings.fault(
            "shell",
            format!(
                "a shell is wanted, and {} is not there",
                config.shell.display()
            ),
            "install a static one (Debian: busybox-static), or write its place as `shell`",
        );
    }
}

#[cfg(test)]
mod tests;
