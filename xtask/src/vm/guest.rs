//! One kernel's tests: packs the guest, boots it, and boots it again when a test brought the kernel down.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use super::boot::{self, Machine};
use super::dump::Dump;
use super::initramfs::Initramfs;
use super::kernel::Kernel;
use super::report::{self, Report};
use super::{Options, Payload, modules, shipped};
use crate::cargo;
use crate::outcome::{Outcome, Verdict};
use crate::runner::Case;

/// The guest's PID 1.
const INIT: &[u8] = include_bytes!("../../../tests/vm/init.sh");

/// What every supported kernel has in a guest, where root owns the machine: a test skipped for want of it fails.
const MUST: &str = "kprobe,tracepoint,uprobe,fentry,btf,ringbuf,root";

/// How often a kernel is booted when tests bring it down.
const BOOTS: usize = 4;

/// The name under which a kernel that went down stands in the sums.
pub(crate) const SECOND_BOOT: &str = "second boot";

/// Lines of the console shown when a guest ended early.
const CONSOLE_LINES: usize = 40;

/// Runs the payload's tests and gives the kernel's release with its times, and the outcome of each test.
pub(super) fn run(
    kernel: &Kernel,
    payload: &Payload,
    options: &Options,
) -> Result<(String, Vec<Outcome>), String> {
    let scratch = cargo::scratch_dir()?;
    let base = format!(
        "guest-{}-{}",
        std::process::id(),
        kernel.name.replace('/', "_")
    );
    let initramfs = scratch.join(format!("{base}.cpio"));
    let started = Instant::now();
    let mut outcomes = Vec::new();
    let mut left = payload.cases.clone();
    let mut died = false;
    let mut release = "did not boot".to_string();
    let dump = Dump::wanted(&kernel.name, payload, options)?;
    let mut dump = dump.as_ref();
    for boots in 1..=BOOTS {
        let logs = scratch.join(format!("{base}-boot{boots}.log"));
        let limit = options.limit.saturating_sub(started.elapsed());
        let packed = Packed {
            cases: &left,
            limit,
            is_dumped: dump.is_some(),
        };
        let ended = pack(kernel, payload, options, &packed, &initramfs).and_then(|()| {
            boot::boot(&Machine {
                image: &kernel.image,
                initramfs: &initramfs,
                memory: options.memory,
                limit,
                logs: &logs,
                dump,
                interrupt_at: None,
                append: "",
                devices: &[],
            })
        });
        let _ = std::fs::remove_file(&initramfs);
        let ended = ended?;
        let report = report::read(&ended.report, options.test_limit);
        if let Some((name, uptime)) = &report.release {
            release = format!("{name}, booted in {uptime} s");
        }
        let in_vain = report.release.is_none() || ended.killed.is_some() || boots == BOOTS;
        let done = report.done;
        // Of the first boot, in which it is asked for.
        if let Some(dump) = dump.take() {
            outcomes.extend(match &ended.dump {
                Some(Ok(what)) => {
                    println!("    {} dumped: {what}", kernel.name);
                    dump.compare(&kernel.name, &report.said, payload, options)
                }
                Some(Err(why)) => {
                    dump.remove();
                    vec![Outcome::new("dump", Verdict::Failed(why.clone()))]
                }
                None => {
                    dump.remove();
                    let why = "the guest did not ask for it".to_string();
                    vec![Outcome::new("dump", Verdict::Failed(why))]
                }
            });
        }
        if done {
            for kind in ["console", "report", "emulator"] {
                let _ = std::fs::remove_file(logs.with_extension(kind));
            }
        }
        let mut found = judge(report, ended.killed.as_deref(), &ended.console);
        // Emulated processors have faults of their own: the first test under which the kernel panics gets one more boot.
        let again = !done && !in_vain && !died;
        if let Some(first) = again.then(|| found.pop()).flatten() {
            died = true;
            println!("guest {release}: {} is run again after this:", first.name);
            first.print(true);
            outcomes.push(second_boot(&first));
        }
        left.retain(|case| !found.iter().any(|outcome| outcome.name == case.name()));
        outcomes.extend(found);
        if done || in_vain || left.is_empty() || started.elapsed() >= options.limit {
            break;
        }
    }
    let why = Verdict::Failed("not run: the guest ended before".to_string());
    outcomes.extend(
        left.iter()
            .map(|case| Outcome::new(case.name(), why.clone())),
    );
    Ok((release, outcomes))
}

/// What the sums have of a kernel that went down and was booted again: whatever the test says then,
/// it has not simply passed.
fn second_boot(first: &Outcome) -> Outcome {
    let how = match &first.verdict {
        Verdict::Failed(how) => how.as_str(),
        Verdict::Skipped(_) | Verdict::Passed => "it ended",
    };
    let reason = format!(
        "the kernel went down under {} ({how}), and was booted again",
        first.name
    );
    Outcome::new(SECOND_BOOT, Verdict::Skipped(reason))
}

/// Gives the outcomes of one boot; the test that was running when the guest ended has failed.
fn judge(report: Report, killed: Option<&str>, console: &Path) -> Vec<Outcome> {
    let mut outcomes = report.outcomes;
    for module in report.unloaded {
        let why = Verdict::Failed("did not load".to_string());
        outcomes.push(Outcome::new(format!("module {module}"), why));
    }
    if !report.done {
        let why = killed.unwrap_or("the guest ended early");
        let (name, printed) = report
            .unfinished
            .unwrap_or_else(|| ("boot".to_string(), String::new()));
        let verdict = Verdict::Failed(format!("{why} (console: {})", console.display()));
        let mut outcome = Outcome::new(name, verdict);
        let text = std::fs::read(console).unwrap_or_default();
        outcome.output = format!(
            "{printed}{}",
            tail(&String::from_utf8_lossy(&text), CONSOLE_LINES)
        );
        outcomes.push(outcome);
    }
    outcomes
}

/// What a boot is for.
struct Packed<'a> {
    cases: &'a [Case],
    limit: Duration,
    is_dumped: bool,
}

/// Writes the initramfs of a kernel.
fn pack(
    kernel: &Kernel,
    payload: &Payload,
    options: &Options,
    packed: &Packed<'_>,
    path: &Path,
) -> Result<(), String> {
    let Packed { cases, limit, .. } = *packed;
    let modules = match &kernel.modules {
        Some(folder) => modules::in_order(folder, &payload.modules)?,
        None => Vec::new(),
    };
    let read =
        |file: &Path| std::fs::read(file).map_err(|error| format!("{}: {error}", file.display()));
    let mut programs = vec![("bin/busybox".to_string(), read(&payload.busybox)?)];
    if let Some(file) = &payload.kscope {
        programs.push(("bin/kscope".to_string(), read(file)?));
    }
    for file in &options.programs {
        let name = file
            .file_name()
            .ok_or_else(|| format!("{}: no file name", file.display()))?;
        programs.push((format!("bin/{}", name.to_string_lossy()), read(file)?));
    }
    for (name, file) in &payload.files {
        programs.push((name.clone(), read(file)?));
    }
    let mut suites: Vec<&str> = Vec::new();
    for case in cases {
        if !suites.contains(&case.suite.as_str()) {
            suites.push(&case.suite);
            programs.push((format!("tests/{}", case.suite), read(&case.path)?));
        }
    }
    let lines = |lines: Vec<String>| {
        lines
            .into_iter()
            .map(|line| line + "\n")
            .collect::<String>()
    };
    let tests = lines(
        cases
            .iter()
            .map(|case| format!("{} {}", case.suite, case.test))
            .collect(),
    );
    let order = lines(modules.iter().map(|module| module.file.clone()).collect());
    let settings = format!(
        "GUEST_SECONDS={}\nTEST_SECONDS={}\n",
        // The harness is the one to say so when the time is up; it may be gone, though.
        limit.as_secs() + 10,
        options.test_limit.as_secs()
    );
    let mut environment = format!(
        "KSCOPE_BIN=/bin/kscope\nKSCOPE_MUST={MUST}\nKSCOPE_GUEST=1\nKSCOPE_BPFTRACE=/bpftrace\nRUST_BACKTRACE=0\n"
    );
    if packed.is_dumped {
        environment.push_str("KSCOPE_DUMP_PORT=/dev/ttyS1\n");
    }

    let file = File::create(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let write = || -> std::io::Result<()> {
        let mut archive = Initramfs::new(BufWriter::new(file));
        let folders = [
            "bin", "etc", "foreign", "guest", "modules", "objects", "root", "tests", "usr",
        ];
        for name in folders {
            archive.folder(name)?;
        }
        archive.folder("bpftrace")?;
        for release in shipped::RELEASES {
            archive.folder(&format!("bpftrace/{release}"))?;
        }
        archive.link("sbin", "bin")?;
        archive.link("usr/bin", "../bin")?;
        archive.link("usr/sbin", "../bin")?;
        archive.program("init", INIT)?;
        archive.file(
            "etc/passwd",
            b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n",
        )?;
        archive.file("etc/group", b"root:x:0:\nnogroup:x:65534:\n")?;
        for (name, text) in [
            ("settings", &settings),
            ("environment", &environment),
            ("tests", &tests),
            ("modules", &order),
        ] {
            archive.file(&format!("guest/{name}"), text.as_bytes())?;
        }
        for module in &modules {
            archive.file(&format!("modules/{}", module.file), &module.bytes)?;
        }
        for (name, bytes) in &programs {
            archive.program(name, bytes)?;
        }
        archive.finish()?.flush()
    };
    write().map_err(|error| format!("{}: {error}", path.display()))
}

fn tail(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::{Outcome, Verdict, second_boot};
    use crate::outcome::Sum;

    #[test]
    fn a_second_boot_is_in_the_sums() {
        let first = Outcome::new("bpf_x::y", Verdict::Failed("the guest ended early".into()));
        let again = second_boot(&first);
        let passed = Outcome::new("bpf_x::y", Verdict::Passed);
        let sum = Sum::of(&[again.clone(), passed]);
        assert_eq!(sum.to_string(), "1 passed, 0 failed, 1 skipped");
        let Verdict::Skipped(reason) = again.verdict else {
            panic!("{again:?}");
        };
        let expected =
            "the kernel went down under bpf_x::y (the guest ended early), and was booted again";
        assert_eq!(reason, expected);
    }
}
