//! The dump of a guest's memory, and the tests that compare it with what the guest said of itself before.
//!
//! The suite `guest_dump` says "@@ ready" in the guest; the emulator then writes the guest's memory. What the guest said
//! comes packed with its report. Suites that begin with `dump_` run on this machine, after the guest has ended, with the
//! folder of both in `KSCOPE_DUMP`.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::qmp::Monitor;
use super::{Options, Payload};
use crate::cargo;
use crate::outcome::{Outcome, Verdict};
use crate::runner::{Case, Rules};

/// The suite under which a guest is dumped.
pub(super) const IN_GUEST: &str = "guest_dump";

/// Start of the names of the suites that compare.
pub(super) const ON_HOST: &str = "dump_";

/// The suite that makes other forms of a dump, and the kernel for which it is run; the others have their turn with the
/// long tests.
const FORMS: &str = "dump_forms";
const KERNEL_OF_FORMS: &str = "6.1";

/// What a line of the table of comparisons begins with; the command follows.
const ROW: &str = "compared: ";

/// How long the emulator may take to write the memory.
const LIMIT: Duration = Duration::from_secs(180);

/// The guest's port over which it reports.
pub(super) const PORT: &str = "report";

/// Where the dump of a guest goes.
pub(super) struct Dump {
    folder: PathBuf,
    /// Whether there is to be an ELF file too.
    elf: bool,
}

impl Dump {
    /// Makes a folder for the dump of a kernel; none where its guest is not asked for one.
    pub(super) fn wanted(
        name: &str,
        payload: &Payload,
        options: &Options,
    ) -> Result<Option<Dump>, String> {
        if !payload.cases.iter().any(|case| case.suite == IN_GUEST) {
            return Ok(None);
        }
        let folder = format!("dump-{}-{}", std::process::id(), name.replace('/', "_"));
        let folder = cargo::scratch_dir()?.join(folder);
        std::fs::create_dir_all(folder.join("said"))
            .map_err(|error| format!("{}: {error}", folder.display()))?;
        Ok(Some(Dump {
            folder,
            elf: options.ignored,
        }))
    }

    /// Writes the memory of a guest that is ready, and lets it go on; says how long that took.
    pub(super) fn take(&self, monitor: &mut Monitor) -> Result<String, String> {
        let taken = monitor.stop().and_then(|()| self.write(monitor));
        // The guest waits, whatever became of the dump.
        let gone_on = monitor.go_on().and_then(|()| monitor.send_break(PORT));
        gone_on.and(taken)
    }

    fn write(&self, monitor: &mut Monitor) -> Result<String, String> {
        let mut formats = vec![("vmcore", "kdump-zlib")];
        if self.elf {
            formats.push(("vmcore.elf", "elf"));
        }
        let mut written = Vec::new();
        for (name, format) in formats {
            let started = Instant::now();
            let file = self.folder.join(name);
            monitor.dump(&file.display().to_string(), format, LIMIT)?;
            let size = std::fs::metadata(&file).map_or(0, |file| file.len());
            let seconds = started.elapsed().as_secs_f64();
            written.push(format!(
                "{format} of {:.0} MB in {seconds:.1} s",
                size as f64 / 1e6
            ));
        }
        Ok(written.join(", "))
    }

    /// Unpacks what the guest said, runs the suites that compare, and removes the dump when all agree and nobody wants it.
    pub(super) fn compare(
        &self,
        kernel: &str,
        said: &str,
        payload: &Payload,
        options: &Options,
    ) -> Vec<Outcome> {
        if let Err(why) = unpack(said, &self.folder.join("said")) {
            let folder = self.folder.display();
            let why = format!(
                "what the guest said cannot be unpacked: {why}; the dump is kept in {folder}"
            );
            return vec![Outcome::new("dump", Verdict::Failed(why))];
        }
        let mut environment = vec![("KSCOPE_DUMP".to_string(), self.folder.display().to_string())];
        // Tests have a folder of their own.
        if let Some(kscope) = payload
            .kscope
            .as_ref()
            .and_then(|file| file.canonicalize().ok())
        {
            environment.push(("KSCOPE_BIN".to_string(), kscope.display().to_string()));
        }
        let rules = Rules {
            jobs: 1,
            limit: options.test_limit,
            until: Instant::now() + options.limit,
            environment,
        };
        let wanted = |case: &&Case| {
            options.ignored || (!case.ignored && (case.suite != FORMS || kernel == KERNEL_OF_FORMS))
        };
        let output = self.folder.join("output");
        let cases = payload.comparisons.iter().filter(wanted);
        let mut outcomes: Vec<Outcome> = cases.map(|case| case.run(&rules, &output)).collect();
        let printed = outcomes.iter().flat_map(|outcome| outcome.output.lines());
        let table: Vec<&str> = printed
            .filter_map(|line| Some(line.split_once(ROW)?.1))
            .collect();
        for row in &table {
            println!("    {kernel} {ROW}{row}");
        }
        let is_whole = options.filters.iter().all(|filter| filter == ON_HOST);
        if let Some(kscope) = payload.kscope.as_ref().filter(|_| is_whole) {
            let verdict = match commands(kscope) {
                Ok(commands) => match without(&commands, &table).as_slice() {
                    [] => Verdict::Passed,
                    without => Verdict::Failed(format!("no row for {}", without.join(", "))),
                },
                Err(why) => Verdict::Failed(why),
            };
            let name = "dump: every command was compared with a second source";
            outcomes.push(Outcome::new(name, verdict));
        }
        let failed = |outcome: &Outcome| matches!(outcome.verdict, Verdict::Failed(_));
        if options.keep || outcomes.iter().any(failed) {
            println!("    the dump is kept in {}", self.folder.display());
        } else {
            self.remove();
        }
        outcomes
    }

    /// Removes the dump.
    pub(super) fn remove(&self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Gives the names of what `kscope crash` does.
fn commands(kscope: &Path) -> Result<Vec<String>, String> {
    let output = Command::new(kscope).args(["crash", "--help"]).output();
    let output = output.map_err(|error| format!("{}: {error}", kscope.display()))?;
    let help = String::from_utf8_lossy(&output.stdout);
    let (_, commands) = help
        .split_once("\nCommands:\n")
        .ok_or("`kscope crash --help` names no commands")?;
    let lines = commands.lines().take_while(|line| !line.is_empty());
    let names = lines.filter_map(|line| line.split_whitespace().next());
    let names = names.filter(|name| *name != "help");
    Ok(names.map(str::to_string).collect())
}

/// Gives the commands that no row of the table is of.
fn without<'c>(commands: &'c [String], table: &[&str]) -> Vec<&'c str> {
    let has_row = |command: &str| {
        let mut names = table.iter().filter_map(|row| row.split_whitespace().next());
        names.any(|name| name == command)
    };
    let names = commands.iter().map(String::as_str);
    names.filter(|command| !has_row(command)).collect()
}

/// Unpacks what a guest sent: lines of base64 of a packed archive.
fn unpack(said: &str, folder: &Path) -> Result<(), String> {
    let mut child = Command::new("sh")
        .args(["-c", "base64 -d | tar xz -C \"$0\""])
        .arg(folder)
        .stdin(Stdio::piped())
        .spawn()
        .map_err(|error| format!("sh: {error}"))?;
    let mut input = child.stdin.take().ok_or("sh has no input")?;
    let written = input.write_all(said.as_bytes());
    drop(input);
    let status = child.wait().map_err(|error| error.to_string())?;
    written.map_err(|error| error.to_string())?;
    match status.success() {
        true => Ok(()),
        false => Err(status.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::without;

    #[test]
    fn commands_without_a_row() {
        let commands = ["log", "bt", "ps"].map(str::to_string);
        let check = |table: &[&str], expected: &[&str]| {
            assert_eq!(without(&commands, table), expected, "{table:?}");
        };
        check(
            &["log  dmesg  3 lines", "bt --blocked  x", "ps /proc 1"],
            &[],
        );
        check(&["logs  dmesg", "psx bt"], &["log", "bt", "ps"]);
        check(&[], &["log", "bt", "ps"]);
    }
}
