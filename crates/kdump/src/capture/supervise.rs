//! The first process of the capture kernel: keeps what is said, and ends the machine.

use std::fs;
use std::io::{BufRead as _, BufReader, Read};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use kscope_sys::{Errno, Kernel, RealKernel, Restart};

use super::place::{Place, ROOM};
use super::settings::{BUSYBOX, SETTINGS, SHELL, Settings};
use super::{FOLDER, WORK, own_program, print, say, wait};
use crate::config::Action;
use crate::root::Root;

/// How often the second process and memory are looked at.
const PAUSE: Duration = Duration::from_millis(50);
/// The most bytes of what is said that are kept.
const KEPT: usize = 1 << 20;
/// How long what follows the work may take, where there is a deadline.
const END: Duration = Duration::from_secs(120);

/// How long to wait for the last lines of a second process that has ended.
const LINES: Duration = Duration::from_secs(2);

/// All that was said.
type Said = Arc<Mutex<String>>;

/// Runs a capture to its end and the machine's: the first program of the capture kernel.
pub fn supervise() -> ! {
    mount_all();
    let root = Root::default();
    let settings = root.text(SETTINGS).map_err(|why| why.to_string());
    let settings = settings.and_then(|text| Settings::parse(&text).map_err(|why| why.to_string()));
    match settings {
        Ok(settings) => {
            if !settings.deadline.is_zero() {
                watch(settings.deadline + END);
            }
            let action = capture(&root, &settings);
            end(action)
        }
        Err(why) => {
            say(format_args!("{SETTINGS}: {why}"));
            end(Action::Reboot)
        }
    }
}

fn mount_all() {
    let kernel: &dyn Kernel = &RealKernel;
    for (kind, target, devices) in [
        ("proc", "/proc", false),
        ("sysfs", "/sys", false),
        ("devtmpfs", "/dev", true),
    ] {
        match kernel.mount_source(Path::new(kind), Path::new(target), kind, devices) {
            Ok(()) | Err(Errno::BUSY) => {}
            Err(errno) => say(format_args!("{target} cannot be mounted: {errno}")),
        }
    }
}

/// Set when the capture has ended and a person has the machine.
static OVER: AtomicBool = AtomicBool::new(false);

/// Starts the machine again when all else hangs.
fn watch(limit: Duration) {
    std::thread::spawn(move || {
        std::thread::sleep(limit);
        if OVER.load(Ordering::Relaxed) {
            return;
        }
        say("the capture hangs; the machine starts again");
        let kernel: &dyn Kernel = &RealKernel;
        let _ = kernel.restart(Restart::Reboot);
    });
}

/// Has the work done and writes down how it went.
fn capture(root: &Root, settings: &Settings) -> Action {
    let started = Instant::now();
    let said = Said::default();
    let mut memory = Memory::default();
    let mut work = own_program();
    let outcome = match start(work.args(WORK), &said) {
        Ok((mut child, readers)) => {
            let outcome = follow(root, &mut child, settings.deadline, &mut memory);
            // The reason is among the last lines. Who holds the pipes open ends with the machine.
            wait(LINES, || {
                readers.iter().all(JoinHandle::is_finished).then_some(())
            });
            outcome
        }
        Err(why) => Err(format!("the work cannot be started: {why}")),
    };
    let done = outcome.is_ok();
    let line = match &outcome {
        Ok(()) => "the capture is done".to_owned(),
        Err(why) => format!("the capture has failed: {why}"),
    };
    tell(&said, &line);
    let status = format!(
        "result = {}\nwhy = {}\nseconds = {:.1}\nmemory = {}\nmemory_start = {}\nmemory_peak = {}\n",
        if done { "done" } else { "failed" },
        outcome.err().unwrap_or_default(),
        started.elapsed().as_secs_f64(),
        memory.all,
        memory.start,
        memory.peak()
    );
    status
        .lines()
        .for_each(|line| say(format_args!("| {line}")));
    if let Some(place) = Place::opened(settings) {
        let folder = fs::read_to_string(FOLDER).unwrap_or_default();
        if !folder.is_empty() {
            let log = said.lock().unwrap_or_else(PoisonError::into_inner).clone();
            place.release(&folder);
            // The status first: it is small.
            if let Err(why) = place.put(&folder, "status", status.as_bytes()) {
                say(format_args!("status is not written: {why}"));
            }
            let written = place.put(&folder, "capture.log", log.as_bytes());
            // Where there is no more room than was set aside, that much of it says why.
            let written = written.or_else(|_| place.put(&folder, "capture.log", &cut(&log)));
            if let Err(why) = written {
                say(format_args!("capture.log is not written: {why}"));
            }
        }
        place.close();
    }
    match done {
        true => settings.action,
        false => settings.failure_action,
    }
}

/// Gives the start and the end of what was said, as much as there is room set aside for.
fn cut(log: &str) -> Vec<u8> {
    const HALF: usize = ROOM / 4;
    let bytes = log.as_bytes();
    if bytes.len() <= 2 * HALF {
        return bytes.to_vec();
    }
    let out = b"\n(no room for what was said here)\n".as_slice();
    [&bytes[..HALF], out, &bytes[bytes.len() - HALF..]].concat()
}

/// Starts the second process in a group of its own with all that it starts, and threads that read
/// what they say.
fn start(command: &mut Command, said: &Said) -> std::io::Result<(Child, Vec<JoinHandle<()>>)> {
    let mut child = command
        .process_group(0)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut readers = Vec::new();
    if let Some(output) = child.stdout.take() {
        readers.push(read(output, said.clone()));
    }
    if let Some(output) = child.stderr.take() {
        readers.push(read(output, said.clone()));
    }
    Ok((child, readers))
}

fn read(from: impl Read + Send + 'static, said: Said) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let mut from = BufReader::new(from);
        let mut line = Vec::new();
        while from
            .read_until(b'\n', &mut line)
            .is_ok_and(|count| count > 0)
        {
            // Of a progress line that is written again and again the last state is enough.
            let text = String::from_utf8_lossy(&line);
            let text = text.trim_end();
            tell(&said, text.rsplit('\r').next().unwrap_or(text));
            line.clear();
        }
    })
}

/// Says a line on the console and keeps it.
fn tell(said: &Said, line: &str) {
    print(line);
    let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
    if said.len() + line.len() < KEPT {
        said.push_str(line);
        said.push('\n');
    }
}

/// Waits for the second process, which is killed with all that it started when its time is up.
fn follow(
    root: &Root,
    child: &mut Child,
    deadline: Duration,
    memory: &mut Memory,
) -> Result<(), String> {
    let started = Instant::now();
    loop {
        memory.look(root);
        match child.try_wait() {
            Ok(Some(status)) => return judge(status),
            Ok(None) => {}
            Err(why) => return Err(why.to_string()),
        }
        if !deadline.is_zero() && started.elapsed() > deadline {
            // Who writes the dump or sends it would go on, and hold what was to be unmounted.
            let kernel: &dyn Kernel = &RealKernel;
            let _ = kernel.kill_group(child.id());
            // One that waits for a broken disk dies when that answers.
            wait(LINES, || child.try_wait().ok().flatten());
            let seconds = deadline.as_secs();
            return Err(format!("it took longer than {seconds} s (`deadline`)"));
        }
        std::thread::sleep(PAUSE);
    }
}

fn judge(status: ExitStatus) -> Result<(), String> {
    use std::os::unix::process::ExitStatusExt as _;
    match (status.success(), status.signal()) {
        (true, _) => Ok(()),
        (false, Some(9)) => Err("it was killed: too little memory is reserved".to_owned()),
        (false, Some(6)) => Err("it ended by a fault of its own, told above".to_owned()),
        (false, _) => Err(format!("{status}, for the reason told above")),
    }
}

/// The memory of the capture kernel, in bytes.
#[derive(Debug, Default)]
struct Memory {
    /// All that the firmware's map gave this kernel.
    all: u64,
    /// What was in use when the work began.
    start: u64,
    /// The least that was still to be had.
    least: Option<u64>,
}

impl Memory {
    fn look(&mut self, root: &Root) {
        if self.all == 0 {
            let map = root.text("/proc/iomem").unwrap_or_default();
            self.all = crate::facts::kernel::regions(&map, "System RAM")
                .iter()
                .map(|(start, end)| end - start + 1)
                .sum();
        }
        let info = root.text("/proc/meminfo").unwrap_or_default();
        if let Some(available) = crate::facts::kernel::meminfo(&info, "MemAvailable") {
            if self.least.is_none() {
                self.start = self.all.saturating_sub(available);
            }
            self.least = Some(self.least.map_or(available, |least| least.min(available)));
        }
    }

    /// Gives the most that was in use, the kernel's own image included.
    fn peak(&self) -> u64 {
        self.least.map_or(0, |least| self.all.saturating_sub(least))
    }
}

/// Ends the machine.
fn end(action: Action) -> ! {
    let kernel: &dyn Kernel = &RealKernel;
    if action == Action::Shell {
        OVER.store(true, Ordering::Relaxed);
        say("a shell; the machine starts again when it ends");
        // The names of what busybox can; another shell has none of them.
        let _ = Command::new(BUSYBOX)
            .args(["--install", "-s", "/bin"])
            .status();
        if let Err(why) = Command::new(SHELL).env("PATH", "/bin").status() {
            say(format_args!("{SHELL}: {why}"));
        }
    }
    let how = match action {
        Action::Halt => Restart::Halt,
        Action::PowerOff => Restart::PowerOff,
        Action::Reboot | Action::Shell => Restart::Reboot,
    };
    let _ = kernel.sync();
    say(format_args!("{action}"));
    let refused = kernel.restart(how);
    say(format_args!("the machine cannot be ended: {refused:?}"));
    // The first program must not end.
    loop {
        std::thread::sleep(Duration::from_secs(60));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Has a shell do the work.
    fn work(words: &str, deadline: Duration) -> (Result<(), String>, String) {
        let said = Said::default();
        let mut command = Command::new("/bin/sh");
        command.args(["-c", words]).stdin(Stdio::null());
        let (mut child, readers) = start(&mut command, &said).expect("a shell");
        let root = Root::default();
        let outcome = follow(&root, &mut child, deadline, &mut Memory::default());
        let ended = wait(LINES, || {
            readers.iter().all(JoinHandle::is_finished).then_some(())
        });
        assert!(
            ended.is_some(),
            "somebody holds the pipes open: {outcome:?}"
        );
        let said = said.lock().expect("nobody panics").clone();
        (outcome, said)
    }

    #[test]
    fn the_deadline_ends_what_the_work_has_started_as_well() {
        let started = Instant::now();
        let words = "sleep 60 & echo $!; sleep 60; true";
        let (outcome, said) = work(words, Duration::from_millis(300));
        assert!(started.elapsed() < Duration::from_secs(20));
        let why = outcome.expect_err("it takes a minute");
        assert!(why.contains("`deadline`"), "{why}");
        let process = Path::new("/proc").join(said.trim());
        // A process that has ended stays until somebody asks for it.
        let is_over = || {
            let stat = fs::read_to_string(process.join("stat")).unwrap_or_default();
            (stat.is_empty() || stat.contains(") Z ")).then_some(())
        };
        assert!(wait(LINES, is_over).is_some(), "{said} still runs");
    }

    #[test]
    fn how_the_work_ends_is_told() {
        let check = |words: &str, expected: &str| {
            let (outcome, said) = work(words, Duration::ZERO);
            let outcome = outcome.err().unwrap_or_default();
            assert!(outcome.contains(expected), "{words}: {outcome}");
            assert_eq!(said, "one\nthree\n");
        };
        check("echo one; printf 'two\rthree\n'", "");
        check("echo one; echo three; exit 4", "told above");
        check("echo one; echo three; kill -9 $$", "too little memory");
    }

    #[test]
    fn a_log_without_room_keeps_its_start_and_its_end() {
        assert_eq!(cut("short"), b"short");
        let log = format!("first{}last", "x".repeat(ROOM));
        let cut = cut(&log);
        assert!(cut.len() < ROOM);
        assert!(cut.starts_with(b"first") && cut.ends_with(b"last"));
    }
}
