//! The lines that say whose stack comes.

use crate::snapshot::TaskSeen;

/// Bytes of a task's name as `sched_show_task` pads it.
const NAME: usize = 15;

/// Reads the line of a task; the form before Linux 5.9 has no word of its own and is looked for only
/// where `old` says that tasks are listed.
pub(super) fn of_task(text: &str, old: bool) -> Option<TaskSeen> {
    match text.strip_prefix("task:") {
        Some(rest) => new(rest),
        None if old => before_5_9(text),
        None => None,
    }
}

/// `vf              state:D stack:0     pid:145   tgid:145   ppid:1      flags:0x00004002`
fn new(rest: &str) -> Option<TaskSeen> {
    const STATE: &str = " state:";
    // A name may have the word in it, and ends where its padding does.
    let behind = rest.get(NAME..).and_then(|behind| behind.find(STATE));
    let at = behind.map(|at| at + NAME).or_else(|| rest.find(STATE))?;
    let (comm, rest) = rest.split_at(at);
    let rest = rest.strip_prefix(STATE)?;
    let state = rest.chars().next().filter(char::is_ascii_alphabetic)?;
    let pid = value(rest, "pid")?;
    Some(task(
        comm,
        state,
        pid,
        value(rest, "tgid"),
        value(rest, "ppid"),
    ))
}

/// `bash            D    0  2451   2450 0x00000080`, perhaps with an address or `running task`
/// behind the letter.
fn before_5_9(text: &str) -> Option<TaskSeen> {
    let (comm, rest) = (text.get(..NAME)?, text.get(NAME..)?.strip_prefix(' ')?);
    let words: Vec<&str> = rest.split_whitespace().collect();
    let [state, .., _stack, pid, ppid, flags] = words.as_slice() else {
        return None;
    };
    let mut letters = state.chars();
    let state = letters.next().filter(|c| "RSDTtXZPIW".contains(*c))?;
    if letters.next().is_some() || !flags.starts_with("0x") {
        return None;
    }
    Some(task(
        comm,
        state,
        pid.parse().ok()?,
        None,
        ppid.parse().ok(),
    ))
}

fn task(comm: &str, state: char, pid: u32, tgid: Option<u32>, ppid: Option<u32>) -> TaskSeen {
    /// The thread whose children the kernel's threads are.
    const KTHREADD: u32 = 2;
    TaskSeen {
        pid: Some(pid),
        tgid,
        ppid,
        comm: comm.trim_end().to_owned(),
        state,
        kernel_thread: ppid.map(|ppid| ppid == KTHREADD || pid == KTHREADD),
        ..TaskSeen::default()
    }
}

/// Reads `key:` and the number behind it, which may be padded.
fn value(text: &str, key: &str) -> Option<u32> {
    let at = text.match_indices(key).find_map(|(at, _)| {
        let begins = text[..at].ends_with(' ');
        let behind = text[at + key.len()..].strip_prefix(':')?;
        begins.then_some(behind)
    })?;
    let at = at.trim_start();
    let end = at.find(|c: char| !c.is_ascii_digit()).unwrap_or(at.len());
    at[..end].parse().ok()
}

/// Reads the line before the stack of a CPU, and whether the CPU was idle and has none.
pub(super) fn of_cpu(text: &str) -> Option<(u32, bool)> {
    if let Some(rest) = text.strip_prefix("NMI backtrace for cpu ") {
        let (cpu, rest) = rest.split_once(' ').unwrap_or((rest, ""));
        return Some((cpu.parse().ok()?, rest.starts_with("skipped")));
    }
    // Where there is no NMI.
    let cpu = text.strip_prefix("CPU")?.strip_suffix(':')?;
    Some((cpu.parse().ok()?, false))
}

/// Gives what runs on a CPU before its name is known.
pub(super) fn on_cpu(cpu: u32) -> TaskSeen {
    TaskSeen {
        cpu: Some(cpu),
        state: 'R',
        ..TaskSeen::default()
    }
}

/// Reads a line between that of the task and its stack.
pub(super) fn more(text: &str, task: &mut TaskSeen) -> bool {
    if let Some(rest) = text.strip_prefix("Workqueue: ") {
        // A worker that has no work has the queue of its last one.
        let has_work = !rest.trim_start().starts_with("0x0 ");
        task.work = has_work.then(|| rest.trim().to_owned());
        return true;
    }
    // `CPU: 1 UID: 0 PID: 1 Comm: init Not tainted 6.12.107`
    if text.starts_with("CPU: ") && task.cpu.is_some() {
        task.pid = value(text, "PID").or(task.pid);
        let comm = text.split_once(" Comm: ").map(|(_, rest)| rest);
        let end = |comm: &str| {
            comm.find(" Not tainted")
                .or_else(|| comm.find(" Tainted: "))
        };
        if let Some(comm) = comm {
            task.comm = comm[..end(comm).unwrap_or(comm.len())]
                .trim_end()
                .to_owned();
        }
        return true;
    }
    // What else stands there says nothing of the task.
    [
        "Not tainted",
        "Tainted: ",
        "Hardware name: ",
        "Stopper: ",
        "\"echo 0 > ",
    ]
    .iter()
    .any(|begin| text.starts_with(begin))
}
