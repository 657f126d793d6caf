//! `cargo xtask kdump`: a guest that crashes, its capture kernel with kscope's own initial file system, and what that saved.
//!
//! tests/vm/kdump.sh sets kdump up in the guest as a person would and crashes it. The capture writes to the guest's disk,
//! or over ssh to this machine. What it saved is read here, and the guest is started once more to look for its test.

mod machine;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use super::boot::{self, Ended, Machine};
use super::kernel::{self, Kernel};
use super::{Kscope, missing};
use crate::arguments::Arguments;
use crate::cargo::{self, Profile};
use crate::outcome::{Outcome, Sum, Verdict};
use machine::Prepared;

/// What the guest's kernel is told to reserve.
const RESERVED: &str = "crashkernel=256M";
/// Memory of the guest, MiB.
const MEMORY: u64 = 1024;
/// Time limit of one boot with its capture.
const LIMIT: Duration = Duration::from_secs(360);
/// How far the estimate may be from what the capture used, in percent.
const NEAR: u64 = 25;

/// Where the capture writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Disk,
    Ssh,
}

impl Way {
    fn name(self) -> &'static str {
        match self {
            Way::Disk => "disk",
            Way::Ssh => "ssh",
        }
    }
}

/// Runs the command.
pub(crate) fn run(mut arguments: Arguments) -> Result<bool, String> {
    let way = match arguments.flag("--ssh") {
        true => Way::Ssh,
        false => Way::Disk,
    };
    let keep = arguments.flag("--keep");
    let debug = arguments.flag("--debug");
    let kscope = match arguments.values("--kscope")?.pop() {
        Some(file) => Kscope::File(file.into()),
        None if debug => Kscope::Build(Profile::Debug),
        None => Kscope::Build(Profile::Release),
    };
    let (mut kernels, rest) = arguments.finish()?;
    kernels.extend(rest);
    if kernels.is_empty() {
        return Err("kdump needs a kernel: 6.1, 6.12, …".to_string());
    }
    kernels
        .iter()
        .try_for_each(|name| kernel::check_name(name))?;
    let kscope = match kscope {
        Kscope::File(file) => file,
        Kscope::Build(profile) => cargo::kscope(profile)?,
        Kscope::Absent => return Err("kscope does not build".to_string()),
    };
    let mut sum = Sum::default();
    for name in &kernels {
        let outcomes = cycle(name, way, &kscope, keep);
        outcomes.iter().for_each(|outcome| outcome.print(false));
        sum += Sum::of(&outcomes);
    }
    println!("{sum}");
    Ok(sum.failed == 0)
}

/// Crashes a guest and gives the outcome of each thing that must then be so.
pub(crate) fn cycle(name: &str, way: Way, kscope: &Path, keep: bool) -> Vec<Outcome> {
    let title = format!("kdump {name} {}", way.name());
    let started = Instant::now();
    let ready = boot::emulator().and_then(|()| kernel::find(name, false));
    let mut outcomes = match ready {
        Ok(kernel) => crash(&kernel, way, kscope, keep)
            .unwrap_or_else(|why| vec![Outcome::new("cycle", Verdict::Failed(why))]),
        Err(why) => vec![Outcome::new("cycle", missing(why))],
    };
    for outcome in &mut outcomes {
        outcome.name = format!("{title}: {}", outcome.name);
    }
    if let Some(first) = outcomes.first_mut() {
        first.time = started.elapsed();
    }
    outcomes
}

fn crash(kernel: &Kernel, way: Way, kscope: &Path, keep: bool) -> Result<Vec<Outcome>, String> {
    let scratch = cargo::scratch_dir()?;
    let base = format!(
        "kdump-{}-{}-{}",
        std::process::id(),
        kernel.name.replace('/', "_"),
        way.name()
    );
    let folder = scratch.join(base);
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let prepared = machine::prepare(kernel, way, kscope, &folder)?;
    let first = start(kernel, &prepared, &folder.join("first.log"))?;
    let said = said(&first);
    let mut outcomes = Vec::new();
    outcomes.extend(guest_outcomes(&said, &first.report));
    let saved = folder.join("saved");
    let fetched = prepared.fetch(&saved);
    outcomes.push(judge("what was saved can be fetched", fetched));
    outcomes.extend(saved_outcomes(kscope, &saved, &said, way));
    if way == Way::Disk {
        let second = start(kernel, &prepared, &folder.join("second.log"))?;
        let said = self::said(&second);
        let verified = expect(
            &said,
            "kscope kdump test --verify",
            0,
            &["has its dump: /var/crash/"],
        );
        outcomes.push(judge(
            "the dump of the test is found after the start",
            verified,
        ));
    }
    let failed = outcomes
        .iter()
        .any(|outcome| matches!(outcome.verdict, Verdict::Failed(_)));
    drop(prepared);
    if keep || failed {
        println!("    {} is kept", folder.display());
    } else {
        let _ = std::fs::remove_dir_all(&folder);
    }
    Ok(outcomes)
}

fn start(kernel: &Kernel, prepared: &Prepared, logs: &Path) -> Result<Ended, String> {
    boot::boot(&Machine {
        image: &kernel.image,
        initramfs: &prepared.initramfs,
        memory: MEMORY,
        limit: LIMIT,
        logs,
        dump: None,
        append: RESERVED,
        devices: &prepared.devices,
    })
}

/// A command that the guest ran: its exit code, its words and what it printed.
struct Ran {
    code: i32,
    words: String,
    output: String,
}

/// Reads what the guest said of the commands that it ran.
fn said(ended: &Ended) -> Vec<Ran> {
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

fn judge(name: &str, what: Result<(), String>) -> Outcome {
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

/// Judges what the guest said before it crashed.
fn guest_outcomes(said: &[Ran], report: &str) -> Vec<Outcome> {
    let first = said.iter().find(|ran| ran.words == "kscope kdump check");
    let before = match first {
        Some(ran) if ran.code == 1 && ran.output.contains("initrd") => Ok(()),
        Some(ran) => Err(format!("it gave {}\n{}", ran.code, ran.output)),
        None => Err(format!("it was not run\n{report}")),
    };
    let crashed = match report.contains("@@ crash") && !report.contains("@@ survived") {
        true => Ok(()),
        false => Err(format!("it did not\n{report}")),
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
        judge("load loads", expect(said, "kscope kdump load", 0, &[])),
        judge(
            "check finds no fault then",
            expect(said, "kscope kdump check", 0, &["0 faults"]),
        ),
        judge(
            "status is ready",
            expect(said, "kscope kdump status", 0, &["yes"]),
        ),
        judge("the guest crashes", crashed),
    ]
}

/// Judges what the capture saved: one folder with the log, the dump, and how it went.
fn saved_outcomes(kscope: &Path, saved: &Path, said: &[Ran], way: Way) -> Vec<Outcome> {
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
    let crash = |words: &[&str], parts: &[&str]| {
        let mut command = Command::new(kscope);
        command.arg("crash").arg(folder.join(dump)).args(words);
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
    };
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
