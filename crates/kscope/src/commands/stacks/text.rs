//! Groups of tasks for people.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use kscope_rows::{Frame, NameTable, StackState, SyscallSeen, TaskGroup, TaskSeen};

use crate::console::count;
use crate::crash::{duration, plain};

/// Most functions in a line.
const FUNCTIONS: usize = 7;
/// Most names of tasks in a line.
const NAMES: usize = 5;

/// Writes a group.
pub(super) fn write(group: &TaskGroup<'_>, full: bool, out: &mut String) {
    let first = group.first();
    let _ = writeln!(
        out,
        "{} {:4}  {}",
        first.state,
        group.tasks.len(),
        at(first)
    );
    let _ = write!(out, "        {}", members(&group.tasks));
    if let Some(age) = first.off_cpu.filter(|_| first.state != 'R') {
        let more = if age.at_least { "more than " } else { "" };
        let longest = if group.tasks.len() > 1 {
            ", the longest for "
        } else {
            ", for "
        };
        let _ = write!(out, "{longest}{more}{}", duration(age.nanoseconds));
    }
    out.push('\n');
    let mut said: Vec<String> = Vec::new();
    for task in &group.tasks {
        let lines = [
            lock(task),
            task.work
                .as_deref()
                .map(|work| format!("works at {}", plain(work))),
        ];
        for line in lines.into_iter().flatten() {
            if !said.contains(&line) && said.len() < NAMES {
                let _ = writeln!(out, "        {line}");
                said.push(line);
            }
        }
    }
    if full {
        for frame in &first.frames {
            let _ = writeln!(out, "          {}", place(frame));
        }
        if let Some(why) = why(&first.stack) {
            let _ = writeln!(out, "          {why}");
        }
        out.push('\n');
    }
}

/// Says where a task is: the functions that matter, the innermost first.
fn at(task: &TaskSeen) -> String {
    let names: Vec<&str> = task
        .frames
        .iter()
        .map(|frame| frame.symbol.as_deref().unwrap_or("?"))
        .collect();
    let inner = names.iter().take_while(|name| is_scheduler(name)).count();
    let outer = names.iter().rev().take_while(|name| is_entry(name)).count();
    let middle = names.get(inner..names.len().saturating_sub(outer));
    let middle = middle.filter(|middle| !middle.is_empty()).unwrap_or(&names);
    let mut parts: Vec<String> = middle
        .iter()
        .take(FUNCTIONS)
        .map(|name| plain(name))
        .collect();
    if middle.len() > FUNCTIONS {
        parts.push("…".to_owned());
    }
    let mut text = parts.join(" < ");
    if let Some(why) = why(&task.stack).filter(|_| !matches!(task.stack, StackState::Whole)) {
        let begin = if text.is_empty() { "" } else { "  " };
        let _ = write!(text, "{begin}({why})");
    }
    if let Some(syscall) = &task.syscall {
        let _ = write!(text, "  in {}", call(syscall));
    }
    text
}

/// Gives the name of a system call.
pub(super) fn call(syscall: &SyscallSeen) -> String {
    NameTable::Syscall.name(i64::try_from(syscall.number).unwrap_or(-1))
}

fn is_scheduler(name: &str) -> bool {
    const BEGINS: [&str; 5] = [
        "schedule",
        "__schedule",
        "io_schedule",
        "preempt_schedule",
        "__cond_resched",
    ];
    BEGINS.iter().any(|begin| name.starts_with(begin))
}

fn is_entry(name: &str) -> bool {
    const BEGINS: [&str; 7] = [
        "do_syscall_64",
        "x64_sys_call",
        "entry_SYSCALL",
        "ret_from_fork",
        "el0",
        "invoke_syscall",
        "asm_",
    ];
    BEGINS.iter().any(|begin| name.starts_with(begin))
}

/// Says why a stack is not whole.
pub(super) fn why(stack: &StackState) -> Option<String> {
    match stack {
        StackState::Whole | StackState::Unknown => None,
        StackState::User => Some("in its program".to_owned()),
        StackState::Cut(why) => Some(format!("the stack is not whole: {}", plain(why))),
        StackState::None(why) => Some(format!("no stack: {}", plain(why))),
    }
}

/// Gives the place of a frame.
pub(super) fn place(frame: &Frame) -> String {
    let mut text = match &frame.symbol {
        Some(symbol) => format!("{}+{:#x}", plain(symbol), frame.offset),
        None => format!("{:#x}", frame.address),
    };
    if let Some(module) = &frame.module {
        let _ = write!(text, " [{}]", plain(module));
    }
    text
}

/// Names tasks, those of one name together.
fn members(tasks: &[&TaskSeen]) -> String {
    let mut names: Vec<(&str, Vec<&TaskSeen>)> = Vec::new();
    let mut places: BTreeMap<&str, usize> = BTreeMap::new();
    for task in tasks {
        let at = *places.entry(&task.comm).or_insert_with(|| {
            names.push((&task.comm, Vec::new()));
            names.len() - 1
        });
        names[at].1.push(task);
    }
    let of = |(name, tasks): &(&str, Vec<&TaskSeen>)| match tasks.as_slice() {
        [task] => {
            let cpu = task
                .cpu
                .map(|cpu| format!(" on CPU {cpu}"))
                .unwrap_or_default();
            let pid = task.pid.map_or("?".to_owned(), |pid| pid.to_string());
            format!("{} [{pid}]{cpu}", plain(name))
        }
        tasks => format!("{} ({})", plain(name), tasks.len()),
    };
    let mut parts: Vec<String> = names.iter().take(NAMES).map(of).collect();
    if names.len() > NAMES {
        let more: usize = names[NAMES..].iter().map(|(_, tasks)| tasks.len()).sum();
        parts.push(format!("{more} more"));
    }
    parts.join(", ")
}

/// Says which lock a task waits for.
fn lock(task: &TaskSeen) -> Option<String> {
    let lock = task.lock.as_ref()?;
    let mut text = format!("waits for a {}", plain(&lock.kind));
    if let Some(address) = lock.address {
        let _ = write!(text, " ({address:#x})");
    }
    match (&lock.holder, lock.perhaps) {
        (Some((name, pid)), false) => {
            let _ = write!(text, " that {} [{pid}] has", plain(name));
        }
        (Some((name, pid)), true) => {
            let _ = write!(text, " that {} [{pid}] likely has", plain(name));
        }
        (None, _) => text.push_str(", whose owner is not known"),
    }
    Some(text)
}

/// Sums up what was seen, and what of it is not shown: tasks and groups.
pub(super) fn sums(
    all: &[TaskSeen],
    wanted: usize,
    hidden: (usize, usize),
    hides_idle: bool,
) -> String {
    let of = |state: char| all.iter().filter(|task| task.state == state).count();
    let mut text = count(all.len(), "task");
    let _ = write!(text, ": {} blocked, {} running or to run", of('D'), of('R'));
    if wanted < all.len() {
        let _ = write!(text, ", {wanted} asked for");
    }
    if hides_idle && hidden.0 > 0 {
        let groups = count(hidden.1, "group");
        let _ = write!(text, ", {} idle in {groups} not shown (--all)", hidden.0);
    }
    text
}
