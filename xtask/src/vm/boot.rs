//! One boot of a guest under QEMU.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::dump::{Dump, PORT};
use super::qmp::Monitor;
use crate::deadline;

/// How long a guest that reported its end may take to power down.
const POWER_DOWN: Duration = Duration::from_secs(10);

/// What a guest boots with.
pub(crate) struct Machine<'a> {
    pub(crate) image: &'a Path,
    pub(crate) initramfs: &'a Path,
    /// MiB.
    pub(crate) memory: u64,
    pub(crate) limit: Duration,
    /// Start of the names of the files with what the guest printed.
    pub(crate) logs: &'a Path,
    /// Where its memory goes when it says that it is ready.
    pub(crate) dump: Option<&'a Dump>,
    /// The words of the console at which the guest gets an interrupt that nobody expects.
    pub(crate) interrupt_at: Option<&'a str>,
    /// More words for the kernel's command line.
    pub(crate) append: &'a str,
    /// More words for the emulator.
    pub(crate) devices: &'a [String],
}

/// What a guest left behind.
pub(crate) struct Ended {
    /// What it wrote to its second serial port.
    pub(crate) report: String,
    /// The kernel's console.
    pub(crate) console: PathBuf,
    /// Why it did not end by itself.
    pub(crate) killed: Option<String>,
    /// What its dump is, or why there is none; nothing where it did not come to that.
    pub(crate) dump: Option<Result<String, String>>,
}

/// Whether the emulator is installed.
pub(crate) fn emulator() -> Result<(), String> {
    let found = Command::new(EMULATOR)
        .arg("--version")
        .stdin(Stdio::null())
        .output();
    found
        .map(|_| ())
        .map_err(|_| format!("{EMULATOR} is not installed"))
}

/// What every guest's kernel is told.
const APPEND: &str = "console=ttyS0 loglevel=5 panic=-1 oops=panic random.trust_cpu=on no_timer_check tsc=unstable lsm=lockdown,yama,bpf pti=off spectre_v2=off retbleed=off";

const EMULATOR: &str = "qemu-system-x86_64";

/// Boots a guest and waits until it ends or its time is up.
pub(crate) fn boot(machine: &Machine<'_>) -> Result<Ended, String> {
    let log = |kind: &str| machine.logs.with_extension(kind);
    let (console, report, emulator) = (log("console"), log("report"), log("emulator"));
    for file in [&console, &report] {
        File::create(file).map_err(|error| format!("{}: {error}", file.display()))?;
    }
    let words =
        File::create(&emulator).map_err(|error| format!("{}: {error}", emulator.display()))?;
    let until = Instant::now() + machine.limit;
    // On a busy host the emulated TSC jumps (a 6.12 guest once gained 36 s while it booted), so the guest's time comes
    // from a timer that the emulator drives by the host's clock.
    // Emulation, not virtualisation: it works everywhere. QEMU 7.2 has two faults with several CPUs: its cmpxchg16b
    // corrupts guests of 6.12; and with a thread per CPU, one may run an instruction that another has just replaced, which
    // ends a guest that patches its code (a breakpoint that nobody owns). So the CPU is one without that instruction, and
    // the CPUs take turns in one thread.
    let mut command = Command::new(EMULATOR);
    command
        .args([
            "-accel",
            "tcg,thread=single",
            "-cpu",
            "Haswell-v4,-cx16",
            "-smp",
            "2",
        ])
        .args([
            "-m",
            &machine.memory.to_string(),
            "-nodefaults",
            "-no-user-config",
            "-display",
            "none",
            "-no-reboot",
        ])
        .arg("-kernel")
        .arg(machine.image)
        .arg("-initrd")
        .arg(machine.initramfs)
        // Programs of security hooks run only where `bpf` is among the modules in force; Debian leaves it out before 6.12.
        // What guards against the faults of real CPUs costs the emulator a tenth of its time, with a flush of its
        // translations at each system call; `mitigations=off` would do more, and change what verifiers allow.
        .arg("-append")
        .arg(format!("{APPEND} {}", machine.append))
        .args(machine.devices)
        .arg("-serial")
        .arg(format!("file:{}", console.display()))
        .arg("-chardev")
        .arg(format!("file,id={PORT},path={}", report.display()))
        .arg("-serial")
        .arg(format!("chardev:{PORT}"));
    let has_monitor = machine.dump.is_some() || machine.interrupt_at.is_some();
    if has_monitor {
        // The device tells the guest's dump where its kernel keeps what it is.
        command
            .args(["-device", "vmcoreinfo", "-qmp", "stdio"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
    } else {
        command
            .stdin(Stdio::null())
            .stdout(words.try_clone().map_err(|error| error.to_string())?);
    }
    let mut child = command
        .stderr(words)
        .spawn()
        .map_err(|error| format!("{EMULATOR}: {error}"))?;
    let (mut monitor, mut dump) = match has_monitor.then(|| Monitor::of(&mut child)) {
        Some(Ok(monitor)) => (Some(monitor), None),
        Some(Err(why)) => (None, Some(Err(why))),
        None => (None, None),
    };
    let mut killed = None;
    let mut interrupt_at = machine.interrupt_at;
    loop {
        // A guest that is ready to be dumped waits.
        let pause = match (&monitor, &dump) {
            (Some(_), None) => Duration::from_millis(50),
            _ => Duration::from_millis(500),
        };
        let look = (Instant::now() + pause).min(until);
        if deadline::wait(&mut child, look)
            .map_err(|error| error.to_string())?
            .is_some()
        {
            break;
        }
        if Instant::now() >= until {
            killed = Some(format!("killed after {} s", machine.limit.as_secs()));
        } else if is_done(&report) {
            let patience = Instant::now() + POWER_DOWN;
            if deadline::wait(&mut child, patience)
                .map_err(|error| error.to_string())?
                .is_some()
            {
                break;
            }
            killed = Some("did not power down".to_string());
        } else if interrupt_at.is_some_and(|words| has_said(&console, words)) {
            interrupt_at = None;
            if let Some(monitor) = &mut monitor {
                monitor.interrupt()?;
            }
        } else if let (Some(monitor), Some(to), None) = (&mut monitor, machine.dump, &dump) {
            if is_ready(&report) {
                dump = Some(to.take(monitor));
            }
        }
        if killed.is_some() {
            child
                .kill()
                .and_then(|()| child.wait())
                .map_err(|error| error.to_string())?;
            break;
        }
    }
    let bytes = std::fs::read(&report).map_err(|error| format!("{}: {error}", report.display()))?;
    let report = String::from_utf8_lossy(&bytes).replace('\r', "");
    if report.is_empty() && std::fs::metadata(&console).is_ok_and(|file| file.len() == 0) {
        let said = std::fs::read_to_string(&emulator).unwrap_or_default();
        killed = Some(
            killed
                .unwrap_or_else(|| format!("the guest said nothing; {EMULATOR}: {}", said.trim())),
        );
    }
    Ok(Ended {
        report,
        console,
        killed,
        dump,
    })
}

/// Whether a guest's console has these words.
fn has_said(console: &Path, words: &str) -> bool {
    std::fs::read(console).is_ok_and(|bytes| String::from_utf8_lossy(&bytes).contains(words))
}

/// Whether a guest waits for its dump.
fn is_ready(report: &Path) -> bool {
    std::fs::read(report).is_ok_and(|bytes| {
        let mut lines = bytes.split(|byte| *byte == b'\n');
        lines.any(|line| line.trim_ascii_end() == b"@@ ready")
    })
}

fn is_done(report: &Path) -> bool {
    std::fs::read(report)
        .is_ok_and(|bytes| bytes.ends_with(b"@@ done\n") || bytes.ends_with(b"@@ done\r\n"))
}
