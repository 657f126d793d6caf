//! `kscope crash VMCORE` alone: what happened, on one screen.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use clap::Args;
use kscope_dump::{DumpFormat, Error as DumpError, Kernel, Stack, Task};
use kscope_memory::{Memory as _, VirtAddr};
use kscope_rows::Value;
use kscope_rows::time::{Dialect, WallTime, format_time};

use super::analysis::{Analysis, Ask, Need};
use super::{cause, duration, panic, plain, stack, tell_fault};
use crate::commands::bpf::listing::{Holds, Listing, text};
use crate::console::say;
use crate::error::Failure;

/// Bytes of a page (x86_64).
const PAGE: u64 = 4096;
/// Most blocked tasks that are named.
const BLOCKED: usize = 8;

/// A line of the summary: what it is of, and what it says or why it says nothing.
type Line = (&'static str, Result<String, DumpError>);

/// Print what happened on one screen, as without a command
#[derive(Args, Debug)]
pub(super) struct SummaryArgs {}

impl Analysis for SummaryArgs {
    fn needs(&self) -> &'static [Need] {
        // Each line says for itself what it lacks.
        &[]
    }

    fn run(&self, ask: &Ask<'_>) -> Result<(), Failure> {
        run(ask.kernel, ask.file, ask.json)
    }
}

fn run(kernel: &Kernel, file: &Path, json: bool) -> Result<(), Failure> {
    let tasks = kernel.tasks();
    let mut lines: Vec<Line> = vec![
        ("dump", Ok(dump(kernel, file))),
        (
            "kernel",
            // VMCOREINFO has the release alone.
            identity(kernel).or_else(|error| match kernel.release() {
                "" => Err(error),
                release => Ok(format!(
                    "{release}; what else it is called is not known: {error}"
                )),
            }),
        ),
        ("time", time(kernel)),
        ("taint", taint(kernel)),
    ];
    match kernel.log() {
        Ok(log) => {
            let told = cause::told(&log.items);
            let none = || "none in the log".to_owned();
            lines.push(("panic", Ok(told.panic.unwrap_or_else(none))));
            if let Some((line, meaning)) = told.cause {
                lines.push(("cause", Ok(format!("{meaning}: {line}"))));
            }
            tell_fault("lines of the log", log.fault.as_ref());
        }
        Err(error) => lines.push(("panic", Err(error))),
    }
    lines.push(("CPUs", cpus(kernel)));
    lines.push(("load", load(kernel)));
    lines.push(("memory", memory(kernel)));
    let mut stack = None;
    match &tasks {
        Ok(tasks) => {
            lines.push(("tasks", Ok(states(&tasks.items))));
            lines.push(("blocked", Ok(blocked(kernel, &tasks.items))));
            tell_fault("tasks", tasks.fault.as_ref());
        }
        Err(error) => lines.push(("tasks", Err(error.clone()))),
    }
    let tasks = tasks.unwrap_or_default().items;
    if let Some(line) = panicked(kernel, &tasks, &mut stack) {
        lines.push(("panicked", line));
    }
    if json {
        let frames = stack.iter().flat_map(|found| &found.frames);
        let places = frames.map(|frame| stack::place(kernel, frame));
        return listed(&lines, places.map(Value::Text).collect()).print_one(true);
    }
    let mut out = written(&lines);
    if let Some(found) = &stack {
        out.push('\n');
        stack::write(kernel, found, &mut out);
    }
    Ok(say(out)?)
}

fn written(lines: &[Line]) -> String {
    let mut out = String::new();
    for (name, said) in lines {
        let said = match said {
            Ok(said) => plain(said),
            Err(error) => format!("not known: {error}"),
        };
        let _ = writeln!(out, "{name:>8}  {said}");
    }
    out
}

fn listed(lines: &[Line], stack: Vec<Value>) -> Listing {
    let mut columns: Vec<(&str, Holds)> = Vec::new();
    let mut values = Vec::new();
    let mut missing = Vec::new();
    for (name, said) in lines {
        columns.push((name, Holds::Text));
        values.push(match said {
            Ok(said) => text(said.clone()),
            Err(error) => {
                missing.push(Value::Text(format!("{name}: {error}")));
                Value::None
            }
        });
    }
    columns.push(("stack", Holds::List));
    values.push(Value::Array(stack));
    columns.push(("missing", Holds::List));
    values.push(Value::Array(missing));
    let mut listing = Listing::new("crash", &columns);
    listing.push(values);
    listing
}

fn dump(kernel: &Kernel, file: &Path) -> String {
    let Some(dump) = kernel.dump() else {
        return "the running kernel".to_owned();
    };
    let name = file.file_name().unwrap_or(file.as_os_str());
    let format = match dump.format() {
        DumpFormat::Elf => "ELF",
        DumpFormat::KdumpCompressed => "kdump-compressed",
    };
    let mut said = format!("{}, {format}", name.to_string_lossy());
    if let Some(version) = dump.version() {
        let _ = write!(said, " version {version}");
    }
    if let Some(level) = dump.dump_level().filter(|level| *level > 0) {
        let _ = write!(said, ", pages left out (level {level})");
    }
    if dump.is_incomplete() {
        said.push_str(", incomplete");
    }
    said
}

fn identity(kernel: &Kernel) -> Result<String, DumpError> {
    let names = kernel.variable("init_uts_ns")?;
    let name = |member: &str| -> Result<String, DumpError> {
        let bytes = names.member(member)?.text(65)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    let node = name("name.nodename")?;
    let machine = name("name.machine")?;
    let version = name("name.version")?;
    let release = name("name.release")?;
    Ok(format!("{release} {version} {machine}, node {node}"))
}

fn time(kernel: &Kernel) -> Result<String, DumpError> {
    let time = kernel.time()?;
    let utc = WallTime::utc(time.since_1970);
    let date = format_time("%Y-%m-%d %H:%M:%S UTC", &utc, Dialect::Strftime);
    Ok(format!("{date}, up {}", duration(time.since_boot)))
}

/// Flags of a tainted kernel by their bits, as `/proc/sys/kernel/tainted` has them
/// (Documentation/admin-guide/tainted-kernels.rst).
const TAINTS: [(char, &str); 20] = [
    ('P', "proprietary module"),
    ('F', "module loaded by force"),
    ('S', "outside of specification"),
    ('R', "module unloaded by force"),
    ('M', "machine check"),
    ('B', "bad page"),
    ('U', "set by user space"),
    ('D', "died before: oops or BUG"),
    ('A', "ACPI table overridden"),
    ('W', "warning"),
    ('C', "staging driver"),
    ('I', "firmware workaround"),
    ('O', "module from outside of the tree"),
    ('E', "unsigned module"),
    ('L', "soft lockup"),
    ('K', "live patch"),
    ('X', "auxiliary, set by the distribution"),
    ('T', "randomized structures"),
    ('N', "test"),
    ('J', "mutating fwctl"),
];

fn taint(kernel: &Kernel) -> Result<String, DumpError> {
    let mask = kernel.number("tainted_mask")?;
    let flags = TAINTS.iter().enumerate();
    let set = flags.filter(|(bit, _)| mask >> bit & 1 != 0);
    let set: Vec<String> = set.map(|(_, (c, what))| format!("{c} ({what})")).collect();
    Ok(match (mask, set.is_empty()) {
        (0, _) => "none".to_owned(),
        (mask, true) => format!("{mask:#x}"),
        (_, false) => set.join(", "),
    })
}

fn cpus(kernel: &Kernel) -> Result<String, DumpError> {
    let online = kernel.cpus("__cpu_online_mask")?.len();
    let possible = kernel.cpus("__cpu_possible_mask")?.len();
    let answered = kernel.registers().len();
    let mut said = format!("{possible}, {online} online");
    if answered < online {
        let _ = write!(said, ", {answered} answered");
    }
    Ok(said)
}

fn place(kernel: &Kernel, symbol: &str) -> Result<VirtAddr, DumpError> {
    let found = kernel.global(symbol);
    found.ok_or_else(|| DumpError::NoSymbol(symbol.to_owned()))
}

fn load(kernel: &Kernel) -> Result<String, DumpError> {
    // Three averages with 11 bits behind the point.
    let start = place(kernel, "avenrun")?;
    let mut said = Vec::new();
    for index in 0..3 {
        let at = VirtAddr(start.0.wrapping_add(8 * index));
        // Rounded as in /proc/loadavg.
        let load = kernel.read_u64(at)?.saturating_add(10);
        said.push(format!("{}.{:02}", load >> 11, ((load & 2047) * 100) >> 11));
    }
    Ok(said.join(" "))
}

fn memory(kernel: &Kernel) -> Result<String, DumpError> {
    let total = kernel.number("_totalram_pages")?;
    let counter = |array: &str, item: &str| -> Result<u64, DumpError> {
        let start = place(kernel, array)?;
        let index = kernel.btf()?.enumerator(item);
        let index = index.ok_or(DumpError::Missing("number of a counter in the types"))?;
        let at = start.0.wrapping_add(8u64.wrapping_mul(index.value as u64));
        // CPUs' own parts may make one negative for a moment.
        Ok((kernel.read_u64(VirtAddr(at))? as i64).max(0) as u64)
    };
    let mut said = format!("{} in all", size(total));
    if let Ok(free) = counter("vm_zone_stat", "NR_FREE_PAGES") {
        let share = free.saturating_mul(100) / total.max(1);
        let _ = write!(said, ", {} free ({share} %)", size(free));
    }
    if let Ok(cached) = counter("vm_node_stat", "NR_FILE_PAGES") {
        let _ = write!(said, ", {} of files", size(cached));
    }
    Ok(said)
}

/// Writes a number of pages in megabytes.
fn size(pages: u64) -> String {
    let megabytes = pages.saturating_mul(PAGE) >> 20;
    match megabytes {
        0..=9_999 => format!("{megabytes} MB"),
        _ => format!("{} GB", megabytes >> 10),
    }
}

fn states(tasks: &[Task]) -> String {
    let mut counts: BTreeMap<char, usize> = BTreeMap::new();
    for task in tasks {
        *counts.entry(task.state_letter()).or_default() += 1;
    }
    let names = |letter: &char| match letter {
        'R' => "runnable",
        'S' => "sleeping",
        'D' => "blocked",
        'I' => "idle",
        'Z' => "zombies",
        'T' | 't' => "stopped",
        _ => "other",
    };
    let parts = counts
        .iter()
        .map(|(letter, count)| format!("{count} {}", names(letter)));
    let parts: Vec<String> = parts.collect();
    format!("{}: {}", tasks.len(), parts.join(", "))
}

/// Names the tasks that wait and cannot be interrupted, those that wait longest first.
fn blocked(kernel: &Kernel, tasks: &[Task]) -> String {
    let waiting = tasks.iter().filter(|task| task.state_letter() == 'D');
    let mut waiting: Vec<(Option<u64>, &Task)> = waiting
        .map(|task| (kernel.off_cpu(task.addr).ok(), task))
        .collect();
    waiting.sort_by_key(|(age, task)| (std::cmp::Reverse(*age), task.pid));
    if waiting.is_empty() {
        return "none".to_owned();
    }
    let named = waiting.iter().take(BLOCKED).map(|(age, task)| {
        let age = age.map(|age| format!(" for {}", duration(age)));
        format!("{} ({}){}", task.comm, task.pid, age.unwrap_or_default())
    });
    let mut said = named.collect::<Vec<_>>().join(", ");
    if waiting.len() > BLOCKED {
        let _ = write!(said, " and {} more", waiting.len() - BLOCKED);
    }
    said
}

/// Says who panicked, and gives the stack; of a kernel that did not panic, nothing.
fn panicked(
    kernel: &Kernel,
    tasks: &[Task],
    stack: &mut Option<Stack>,
) -> Option<Result<String, DumpError>> {
    let cpu = panic::cpu(kernel)?;
    let mut find = || -> Result<String, DumpError> {
        let on_cpu = kernel.on_cpu()?.items;
        let (on, task) = panic::running(&on_cpu, tasks, cpu)
            .ok_or(DumpError::Missing("what ran on the CPU that panicked"))?;
        let mut said = match task {
            Some(task) => format!("{} ({}) on CPU {cpu}", task.comm, task.pid),
            None => format!("CPU {cpu}"),
        };
        match kernel.unwinder() {
            Ok(unwinder) => *stack = unwinder.stack(task, Some(on)),
            Err(error) => {
                let _ = write!(said, "; the stack cannot be followed: {error}");
            }
        }
        Ok(said)
    };
    Some(find())
}

#[cfg(test)]
mod tests {
    use super::{duration, size};

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn times_and_sizes_as_people_write_them() {
        let check = |seconds: u64, expected| assert_eq!(duration(seconds * SECOND), expected);
        check(0, "0 s");
        check(59, "59 s");
        check(61, "1 min 1 s");
        check(3_660, "1 h 1 min");
        check(86_400 * 3 + 3_600, "3 d 1 h");
        assert_eq!(size(256), "1 MB");
        assert_eq!(size(16 << 18), "16 GB");
    }
}
