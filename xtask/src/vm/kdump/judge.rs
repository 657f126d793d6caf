//! What must be so after a guest's crash.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Step, Way};
use crate::outcome::{Outcome, Verdict};
use crate::vm::boot::Ended;

/// How far the estimate may be from what the capture used, in percent.
const NEAR: u64 = 25;

/// A command that the guest ran: its exit code, its words and what it printed.
pub(super) struct Ran {
    code: i32,
    words: String,
    output: String,
}

/// Reads what the guest said of the commands that it ran.
pub(super) fn said(ended: &Ended) -> Vec<Ran> {
    let mut commands: Vec<Ran> = Vec::new();
    for line in ended.report.lines() {
        if let Some(rest) = line.strip_prefix("@@ ran ") {
            let (code, words) = rest.split_once(' ').unwrap_or((rest, ""));
            commands.push(Ran {
                code: code.parse().unwrap_or(-1),
                words: words.to_string(),
                output: String::new(),
            });
        } else if let (Some(text), Some(last)) = (line.strip_prefix("| "), commands.last_mut()) {
            last.output.push_str(text);
            last.output.push('\n');
        }
    }
    commands
}

pub(super) fn judge(name: &str, what: Result<(), String>) -> Outcome {
    let mut outcome = Outcome::new(name, Verdict::Passed);
    if let Err(why) = what {
        let mut lines = why.splitn(2, '\n');
        outcome.verdict = Verdict::Failed(lines.next().unwrap_or_default().to_string());
        outcome.output = lines.next().unwrap_or_default().to_string();
    }
    outcome
}

/// Looks for the last run of a command, its exit code and parts of what it printed.
fn expect(said: &[Ran], words: &str, code: i32, parts: &[&str]) -> Result<(), String> {
    let ran = said.iter().rfind(|ran| ran.words == words);
    let ran = ran.ok_or_else(|| format!("`{words}` was not run"))?;
    if ran.code != code {
        return Err(format!(
            "`{words}` gave {}, not {code}\n{}",
            ran.code, ran.output
        ));
    }
    match parts.iter().find(|part| !ran.output.contains(**part)) {
        Some(part) => Err(format!("`{words}` does not say `{part}`\n{}", ran.output)),
        None => Ok(()),
    }
}

/// Judges what the guest said before it crashed for the first time.
fn first(said: &[Ran], report: &str) -> Vec<Outcome> {
    let first = said.iter().find(|ran| ran.words == "kscope kdump check");
    let before = match first {
        Some(ran) if ran.code == 1 && ran.output.contains("initrd") => Ok(()),
        Some(ran) => Err(format!("it gave {}\n{}", ran.code, ran.output)),
        None => Err(format!("it was not run\n{report}")),
    };
    vec![
        judge("check names what is missing before the set-up", before),
        judge(
            "initrd is made",
            expect(said, "kscope kdump initrd", 0, &["modules: "]),
        ),
        judge(
            "initrd is listed",
            expect(
                said,
                "kscope kdump initrd --list",
                0,
                &["/init", "capture.conf", ".ko"],
            ),
        ),
        judge(
            "load says what it would load",
            expect(
                said,
                "kscope kdump load --dry-run",
                0,
                &["reset_devices", "rdinit=/init"],
            ),
        ),
    ]
}

/// Judges what the capture saved: one folder with the log, the dump, and how it went.
pub(super) fn saved(kscope: &Path, saved: &Path, said: &[Ran], way: Way) -> Vec<Outcome> {
    let folders: Vec<PathBuf> = std::fs::read_dir(saved)
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    let [folder] = folders.as_slice() else {
        let why = format!("{} folders of crashes, not one: {folders:?}", folders.len());
        return vec![judge("one crash is saved", Err(why))];
    };
    let read = |name: &str| {
        std::fs::read_to_string(folder.join(name)).map_err(|error| format!("{name}: {error}"))
    };
    let has = |name: &str, parts: &[&str]| {
        let text = read(name)?;
        match parts.iter().find(|part| !text.contains(**part)) {
            Some(part) => Err(format!("{name} does not say `{part}`\n{text}")),
            None => Ok(()),
        }
    };
    let names: Vec<String> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect();
    let half = match names.iter().find(|name| name.ends_with("-incomplete")) {
        Some(name) => Err(format!(
            "{name} is left\n{}",
            read("capture.log").unwrap_or_default()
        )),
        None => Ok(()),
    };
    let dump = match way {
        Way::Disk => "vmcore",
        Way::Ssh => "vmcore.flat",
    };
    let dump = folder.join(dump);
    let crash = |words: &[&str], parts: &[&str]| crash(kscope, &dump, words, parts);
    let panic = "sysrq triggered crash";
    vec![
        judge(
            "the log is saved",
            has("dmesg.txt", &[panic, "kscope kdump test"]),
        ),
        judge(
            "the status says that it went well",
            has("status", &["result = done", "memory_peak"]),
        ),
        judge(
            "the capture's own log is saved",
            has("capture.log", &["the dump is saved"]),
        ),
        judge("nothing is left half written", half),
        judge(
            "kscope crash says what happened",
            crash(&[], &["sysrq", "kscope"]),
        ),
        judge(
            "kscope crash has the stack",
            crash(&["bt"], &["sysrq_handle_crash"]),
        ),
        judge("kscope crash has the log", crash(&["log"], &[panic])),
        judge(
            "the estimate is near what was used",
            near(said, &read("status")),
        ),
    ]
}

/// Compares the estimate with what the capture used at its peak.
fn near(said: &[Ran], status: &Result<String, String>) -> Result<(), String> {
    let status = status.as_ref().map_err(Clone::clone)?;
    let ran = said
        .iter()
        .rfind(|ran| ran.words == "kscope kdump estimate");
    let ran = ran.ok_or("estimate was not run")?;
    let number = |text: &str| text.split_whitespace().next()?.parse::<f64>().ok();
    let line = ran
        .output
        .lines()
        .find(|line| line.contains("needed at the peak"));
    let needed = line.and_then(number).ok_or("estimate gives no sum")?;
    let mut lines = status
        .lines()
        .filter_map(|line| line.strip_prefix("memory_peak = "));
    let used = lines
        .next()
        .and_then(number)
        .ok_or("the status has no peak")?
        / f64::from(1 << 20);
    println!(
        "    {}; estimate {needed:.1} MiB, used {used:.1} MiB: {:.0} %",
        status.trim_end().replace('\n', ", "),
        needed * 100.0 / used
    );
    match (needed - used).abs() * 100.0 <= used * NEAR as f64 {
        true => Ok(()),
        false => Err(format!(
            "{needed:.1} MiB, and {used:.1} MiB were used\n{}",
            ran.output
        )),
    }
}

/// Judges what the guest said up to its crash, and how the capture ended.
pub(super) fn guest(step: Step, said: &[Ran], ended: &Ended, is_first: bool) -> Vec<Outcome> {
    let report = &ended.report;
    let mut outcomes = match is_first {
        true => first(said, report),
        false => Vec::new(),
    };
    outcomes.push(judge(
        "load loads",
        expect(said, "kscope kdump load", 0, &[]),
    ));
    if step == Step::Full {
        let check = expect(said, "kscope kdump check", 1, &["fault    room"]);
        outcomes.push(judge("check says that a dump has no room", check));
    } else {
        let check = expect(said, "kscope kdump check", 0, &["0 faults"]);
        outcomes.push(judge("check finds no fault then", check));
        let status = expect(said, "kscope kdump status", 0, &["yes"]);
        outcomes.push(judge("status is ready", status));
    }
    let crashed = match report.contains("@@ crash") && !report.contains("@@ survived") {
        true => Ok(()),
        false => Err(format!("it did not\n{report}")),
    };
    outcomes.push(judge("the guest crashes", crashed));
    let console = std::fs::read_to_string(&ended.console);
    let console = console.unwrap_or_else(|error| error.to_string());
    // What the capture says of its end, the last of all in the console.
    let (name, parts): (&str, &[&str]) = match step {
        Step::Test | Step::Again => (
            "the capture ends the machine",
            &["the capture is done", "kscope: reboot"],
        ),
        Step::Full => (
            "a capture without room ends the machine",
            &["the capture has failed: ", "kscope: reboot"],
        ),
        Step::Hang => (
            "a capture that hangs ends at its deadline",
            &[
                "the capture has failed: it took longer than 60 s (`deadline`)",
                "kscope: reboot",
            ],
        ),
        Step::Panic => (
            "a capture kernel that panics starts the machine again",
            &["Kernel panic - not syncing: NMI"],
        ),
    };
    let missing = parts.iter().find(|part| !console.contains(**part));
    let killed = ended.killed.as_ref();
    outcomes.push(judge(
        name,
        match (missing, killed) {
            (None, None) => Ok(()),
            (part, killed) => Err(format!(
                "{part:?} is not said, {killed:?}\n{}",
                end_of(&console)
            )),
        },
    ));
    outcomes
}

/// Gives the last lines of a text.
fn end_of(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(40)..].join("\n")
}

/// Judges what the machine finds of its test after it has started again.
pub(super) fn verified(said: &[Ran]) -> Outcome {
    let found = expect(
        said,
        "kscope kdump test --verify",
        0,
        &["has its dump: ", "crash/"],
    );
    judge("the dump of the test is found after the start", found)
}

/// Judges what the guest itself read of its dump.
pub(super) fn read_there(said: &[Ran]) -> Outcome {
    let ran = said
        .iter()
        .find(|ran| ran.words.starts_with("kscope crash "));
    let read = match ran {
        Some(ran) if ran.code == 0 && ran.output.contains("sysrq") => Ok(()),
        Some(ran) => Err(format!("it gave {}\n{}", ran.code, ran.output)),
        None => Err("there is no dump".to_string()),
    };
    judge("kscope crash says in the guest what happened", read)
}

/// A folder of a crash: its files with their text, where they are text.
struct Folder(PathBuf);

impl Folder {
    fn all(saved: &Path) -> Vec<Folder> {
        let entries = std::fs::read_dir(saved).into_iter().flatten();
        let mut paths: Vec<PathBuf> = entries
            .filter_map(|entry| Some(entry.ok()?.path()))
            .collect();
        paths.sort();
        paths.into_iter().map(Folder).collect()
    }

    fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.0).into_iter().flatten();
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let mut names: Vec<String> = names.collect();
        names.sort();
        names
    }

    /// Wants a file with these parts.
    fn has(&self, name: &str, parts: &[&str]) -> Result<(), String> {
        let bytes = std::fs::read(self.0.join(name))
            .map_err(|error| format!("{name}: {error}; there are {}", self.names().join(", ")))?;
        let text = String::from_utf8_lossy(&bytes);
        match parts.iter().find(|part| !text.contains(**part)) {
            Some(part) => Err(format!("{name} does not say `{part}`\n{}", end_of(&text))),
            None => Ok(()),
        }
    }

    fn lacks(&self, names: &[&str]) -> Result<(), String> {
        match names.iter().find(|name| self.0.join(name).exists()) {
            Some(name) => Err(format!("{name} is there; all: {}", self.names().join(", "))),
            None => Ok(()),
        }
    }
}

/// Judges what is left of a capture over ssh that hung, the last of the folders.
pub(super) fn hung(saved: &Path) -> Vec<Outcome> {
    let folders = Folder::all(saved);
    let Some(folder) = folders.last().filter(|_| folders.len() == 2) else {
        let why = format!("{} folders of crashes, not two", folders.len());
        return vec![judge("both crashes are there", Err(why))];
    };
    println!("    hang: {}", folder.names().join(", "));
    let why = "took longer than 60 s";
    let status = folder
        .has("status", &["result = failed", why])
        .and_then(|()| folder.has("capture.log", &[why]));
    vec![
        judge("the log is saved", folder.has("dmesg.txt", &["sysrq"])),
        judge("the capture says why it failed", status),
        judge(
            "no half dump has its final name",
            folder.lacks(&["vmcore.flat", "room-incomplete"]),
        ),
    ]
}

/// Judges all that is on the disk at the end, where one whole dump is kept.
pub(super) fn kept(kscope: &Path, saved: &Path, steps: &[Step]) -> Vec<Outcome> {
    let folders = Folder::all(saved);
    let all: Vec<String> = folders
        .iter()
        .map(|folder| folder.names().join(" "))
        .collect();
    println!("    at the end: {}", all.join("; "));
    // The last crash that went well, and all that did not since.
    let from = steps
        .iter()
        .rposition(|step| matches!(step, Step::Test | Step::Again))
        .unwrap_or(0);
    let expected = &steps[from..];
    if folders.len() != expected.len() {
        let why = format!(
            "{} folders of crashes, not {}",
            folders.len(),
            expected.len()
        );
        return vec![judge("`keep = 1` keeps one whole dump", Err(why))];
    }
    let mut outcomes = vec![judge("`keep = 1` keeps one whole dump", Ok(()))];
    for (step, folder) in expected.iter().zip(&folders) {
        let log = folder.has("dmesg.txt", &["sysrq triggered crash"]);
        match step {
            Step::Test | Step::Again => {
                let dump = crash(kscope, &folder.0.join("vmcore"), &[], &["sysrq"]);
                outcomes.push(judge("again: kscope crash says what happened", dump));
            }
            Step::Full => {
                let why = folder
                    .has("status", &["result = failed"])
                    .and_then(|()| folder.has("capture.log", &["No space left", "has failed"]))
                    .and_then(|()| folder.has("vmcore-incomplete", &["KDUMP"]));
                let half = folder.lacks(&["vmcore", "room-incomplete"]);
                let read = tells_loss(kscope, &folder.0.join("vmcore-incomplete"));
                outcomes.extend([
                    judge("full: the log is saved", log),
                    judge("full: the capture says why it failed", why),
                    judge("full: no half dump has its final name", half),
                    judge("full: kscope crash says how much is lost", read),
                ]);
            }
            Step::Panic | Step::Hang => outcomes.extend([
                judge("panic: the log is saved", log),
                judge(
                    "panic: no half dump has its final name",
                    folder.lacks(&["vmcore", "status"]),
                ),
            ]),
        }
    }
    outcomes
}

/// Asks `kscope crash` of a dump.
fn crash(kscope: &Path, dump: &Path, words: &[&str], parts: &[&str]) -> Result<(), String> {
    let mut command = Command::new(kscope);
    command.arg("crash").arg(dump).args(words);
    let output = command.output().map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let missing = parts.iter().find(|part| !text.contains(**part));
    match (output.status.success(), missing) {
        (true, None) => Ok(()),
        (_, part) => Err(format!(
            "{} does not say {part:?}\n{text}{}",
            words.join(" "),
            String::from_utf8_lossy(&output.stderr)
        )),
    }
}

/// Wants to be told that a dump is not whole.
fn tells_loss(kscope: &Path, dump: &Path) -> Result<(), String> {
    let output = Command::new(kscope).arg("crash").arg(dump).output();
    let output = output.map_err(|error| error.to_string())?;
    let said = String::from_utf8_lossy(&output.stderr);
    match said.contains("the dump is not whole") {
        true => Ok(()),
        false => Err(format!("it does not\n{said}")),
    }
}
