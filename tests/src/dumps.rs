//! Dumps of guests: what a guest says of itself before it is dumped, and how its dump is asked.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::program::{kscope, run};

/// Files of a guest that are kept beside its dump, under their own paths.
pub const FILES: [&str; 28] = [
    "/proc/1/mountinfo",
    "/proc/buddyinfo",
    "/proc/diskstats",
    "/proc/interrupts",
    "/proc/iomem",
    "/proc/loadavg",
    "/proc/meminfo",
    "/proc/modules",
    "/proc/mounts",
    "/proc/net/dev",
    "/proc/net/if_inet6",
    "/proc/net/netlink",
    "/proc/net/packet",
    "/proc/net/raw",
    "/proc/net/tcp",
    "/proc/net/tcp6",
    "/proc/net/udp",
    "/proc/net/unix",
    "/proc/slabinfo",
    "/proc/softirqs",
    "/proc/stat",
    "/proc/sys/kernel/osrelease",
    "/proc/sys/kernel/tainted",
    "/proc/timer_list",
    "/proc/uptime",
    "/proc/version",
    "/proc/vmstat",
    "/proc/zoneinfo",
];

/// Tools whose rows of the running kernel are kept beside the dump: they are the same of the dump.
pub const TOOLS: [(&str, &[&str]); 3] = [("ps", &["--threads"]), ("mounts", &[]), ("modules", &[])];

/// A script whose lines are the same of the running kernel's memory and of the dump's.
pub const SCRIPT: &str = r#"iter:task {
    printf("%d %d %d %s %x\n", ctx.task.pid, ctx.task.tgid, ctx.task.real_parent.tgid, ctx.task.comm, ctx.task.flags);
}"#;

/// Gives a member of a row that must be a number.
#[must_use]
pub fn number(row: &Value, name: &str) -> u64 {
    let number = row[name].as_u64();
    number.unwrap_or_else(|| panic!("{name} of {row}"))
}

/// Gives a member of a row that must be a text.
#[must_use]
pub fn text<'r>(row: &'r Value, name: &str) -> &'r str {
    let text = row[name].as_str();
    text.unwrap_or_else(|| panic!("{name} of {row}"))
}

/// Gives the numbers that are names in a folder.
fn numbers(folder: &Path) -> Vec<u32> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name());
    let mut numbers: Vec<u32> = names
        .filter_map(|name| name.to_str()?.parse().ok())
        .collect();
    numbers.sort_unstable();
    numbers
}

/// Gives what /proc says of each thread: ids, state, how often it was switched from, and the functions it sleeps in.
///
/// # Panics
///
/// Where there is no /proc.
#[must_use]
pub fn threads() -> Vec<Value> {
    let processes = numbers(Path::new("/proc"));
    assert!(!processes.is_empty(), "/proc is empty");
    let mut threads = Vec::new();
    for process in processes {
        let folder = PathBuf::from(format!("/proc/{process}/task"));
        for number in numbers(&folder) {
            threads.extend(thread(&folder.join(number.to_string())));
        }
    }
    threads
}

/// Gives the open files of all processes: process, descriptor, path.
fn files() -> Vec<String> {
    let mut files = Vec::new();
    for process in numbers(Path::new("/proc")) {
        let folder = PathBuf::from(format!("/proc/{process}/fd"));
        for file in numbers(&folder) {
            let Ok(path) = std::fs::read_link(folder.join(file.to_string())) else {
                continue;
            };
            files.push(format!("{process} {file} {}", path.display()));
        }
    }
    files
}

/// Gives some symbols of the kernel's own, as /proc/kallsyms has them.
fn symbols() -> String {
    let text = std::fs::read_to_string("/proc/kallsyms").unwrap_or_default();
    let lines = text.lines().filter(|line| !line.contains(['\t', '[']));
    // Those of what each CPU has its own are small numbers.
    let some = lines
        .filter(|line| line.starts_with("ffffffff"))
        .step_by(1499);
    some.fold(String::new(), |text, line| text + line + "\n")
}

/// Gives what the folder of a thread in /proc says; none of one that is gone.
fn thread(folder: &Path) -> Option<Value> {
    let status = std::fs::read_to_string(folder.join("status")).ok()?;
    let stack = std::fs::read_to_string(folder.join("stack")).ok()?;
    let field = |name: &str| {
        let mut lines = status.lines();
        let text = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(":\t"))?;
        Some(text.split('\t').next().unwrap_or_default().to_owned())
    };
    let number = |name: &str| field(name)?.parse::<u64>().ok();
    let stack: Vec<&str> = stack.lines().filter_map(place).collect();
    Some(json!({
        "tid": number("Pid")?,
        "tgid": number("Tgid")?,
        "ppid": number("PPid")?,
        "uid": number("Uid")?,
        "comm": field("Name")?,
        "state": field("State")?.split(' ').next()?,
        "switches": number("voluntary_ctxt_switches")? + number("nonvoluntary_ctxt_switches")?,
        "stack": stack,
    }))
}

/// Gives the place in a line of /proc/PID/stack, without the size of its function.
fn place(line: &str) -> Option<&str> {
    // [<0>] do_nanosleep+0x67/0x190
    line.split_once("] ")?
        .1
        .split_once('/')
        .map(|(place, _)| place)
}

/// A dump of a guest, with what the guest said of itself before.
#[derive(Debug)]
pub struct GuestDump {
    folder: PathBuf,
}

impl GuestDump {
    /// Gives the dump that the environment variable `KSCOPE_DUMP` names; where it names none, the running test is skipped.
    #[must_use]
    pub fn given() -> Option<GuestDump> {
        let folder = std::env::var_os("KSCOPE_DUMP").map(PathBuf::from);
        if folder.is_none() {
            crate::skipped("dump", "KSCOPE_DUMP names no dump of a guest");
        }
        Some(GuestDump { folder: folder? })
    }

    /// Gives its folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Gives the path of the dump.
    #[must_use]
    pub fn file(&self) -> String {
        self.folder.join("vmcore").display().to_string()
    }

    /// Gives what the guest said under a name; none where it said nothing.
    #[must_use]
    pub fn try_said(&self, name: &str) -> Option<String> {
        let path = self.folder.join("said").join(name.trim_start_matches('/'));
        let bytes = std::fs::read(path).ok()?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Gives what the guest said under a name.
    ///
    /// # Panics
    ///
    /// Where it said nothing.
    #[must_use]
    pub fn said(&self, name: &str) -> String {
        self.try_said(name)
            .unwrap_or_else(|| panic!("the guest said nothing of {name}"))
    }

    /// Gives what /proc said of each thread.
    ///
    /// # Panics
    ///
    /// Where that was not said.
    #[must_use]
    pub fn threads(&self) -> Vec<Value> {
        rows(&self.said("threads"))
    }

    /// Gives what `kscope crash` prints of this dump.
    ///
    /// # Panics
    ///
    /// If it fails.
    #[must_use]
    pub fn crash(&self, words: &[&str]) -> String {
        let file = self.file();
        succeeds(&[&["crash", &*file], words].concat())
    }

    /// Gives the number of a thread that the guest made for this, or another fact of it: "mutex_owner".
    #[must_use]
    pub fn made(&self, name: &str) -> Vec<String> {
        let text = self.said("stuck");
        let lines = text.lines().filter_map(|line| line.split_once(' '));
        let found = lines.filter(|(known, _)| *known == name);
        found.map(|(_, value)| value.to_owned()).collect()
    }
}

/// Gives the names of what `kscope crash` does.
///
/// # Panics
///
/// If it does not say so.
#[must_use]
pub fn commands() -> Vec<String> {
    let help = succeeds(&["crash", "--help"]);
    let (_, commands) = help.split_once("\nCommands:\n").expect("commands");
    let lines = commands.lines().take_while(|line| !line.is_empty());
    let names = lines.filter_map(|line| line.split_whitespace().next());
    let names = names.filter(|name| *name != "help");
    names.map(str::to_owned).collect()
}

/// Prints a line of the table of what was compared with what: `cargo xtask vm` shows them.
pub fn compared(command: &str, source: &str, result: &str) {
    println!("compared: {command:12} {source:32} {result}");
}

/// Runs kscope and gives what it prints.
///
/// # Panics
///
/// If it fails.
#[must_use]
pub fn succeeds(words: &[&str]) -> String {
    let (code, out, err) = run(&kscope(), words);
    assert_eq!(code, Some(0), "{words:?}: {err}");
    out
}

/// Reads objects, one a line.
///
/// # Panics
///
/// If a line is no JSON.
#[must_use]
pub fn rows(text: &str) -> Vec<Value> {
    let parse =
        |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"));
    text.lines().map(parse).collect()
}

/// Writes what the running kernel says of itself into a folder, as [`GuestDump::said`] gives it back.
///
/// # Panics
///
/// If the folder cannot be written.
pub fn say_all(folder: &Path) {
    let write = |name: &str, bytes: &[u8]| {
        let path = folder.join(name.trim_start_matches('/'));
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(path, bytes).expect("written");
    };
    for (tool, words) in TOOLS {
        let (code, out, err) = run(&kscope(), &[&[tool, "--json"], words].concat());
        match code {
            Some(0) => write(&format!("tools/{tool}"), out.as_bytes()),
            _ => write(&format!("refused/{tool}"), err.as_bytes()),
        }
    }
    let script = ["run", "-q", "--engine", "memory", "-e", SCRIPT];
    write("script", succeeds(&script).as_bytes());
    write("files", files().join("\n").as_bytes());
    write("kallsyms", symbols().as_bytes());
    let log = Command::new("dmesg").output().expect("dmesg");
    write("dmesg", &log.stdout);
    let threads: Vec<String> = threads().iter().map(Value::to_string).collect();
    write("threads", threads.join("\n").as_bytes());
    // Last, for looking at threads takes memory.
    for name in FILES {
        // A kernel may lack some.
        if let Ok(bytes) = std::fs::read(name) {
            write(name, &bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::place;

    #[test]
    fn places_are_read_of_proc() {
        let check = |line, expected| assert_eq!(place(line), expected, "{line}");
        check("[<0>] do_nanosleep+0x67/0x190", Some("do_nanosleep+0x67"));
        check("[<0>] recv_work+0x1a/0x90 [nbd]", Some("recv_work+0x1a"));
        check("", None);
        check("[<0>] 0xffffffffffffffff", None);
    }
}
