//! Where tasks and their stacks come from.

use std::io::Read as _;
use std::path::Path;

use kscope_rows::{LogReport, ReportKind, StackState, TaskSeen, read_log};
use kscope_runtime::live_stacks;

use crate::console::count;
use crate::error::Failure;
use crate::place::Place;

/// What was seen of tasks.
pub(super) struct Seen {
    /// What it was seen in.
    pub(super) name: String,
    pub(super) tasks: Vec<TaskSeen>,
    /// What the last line says of it.
    pub(super) truth: Vec<String>,
}

impl Seen {
    /// Tells whether there is a process or a thread of this number.
    pub(super) fn has(&self, pid: u32) -> bool {
        let mut tasks = self.tasks.iter();
        tasks.any(|task| task.pid == Some(pid) || task.tgid == Some(pid))
    }
}

/// Looks at the running kernel.
pub(super) fn live() -> Result<Seen, Failure> {
    let place = Place::open(None)?;
    let seen = live_stacks(&place.target, place.types()?);
    let seen = seen.map_err(|error| Failure::of_run(&error, "", false))?;
    let stable = seen.tasks.iter().filter(|task| task.stable == Some(true));
    let milliseconds = seen.sweep.as_secs_f64() * 1000.0;
    let mut truth = vec![format!(
        "looked at in {milliseconds:.1} ms, in which {} stood still",
        stable.count()
    )];
    for (tasks, what) in [(seen.gone, "ended"), (seen.new, "came")] {
        if tasks > 0 {
            truth.push(format!("{tasks} {what} since"));
        }
    }
    if !seen.missing.is_empty() {
        truth.push(format!("not had here: {}", seen.missing.join(", ")));
    }
    Ok(Seen {
        name: "the running kernel, as this pid namespace has it".to_owned(),
        tasks: seen.tasks,
        truth,
    })
}

/// Most bytes of a log that are read.
const LOG: u64 = 1 << 30;

/// Reads the log of a kernel.
pub(super) fn log(file: &Path) -> Result<Seen, Failure> {
    let name = match file == Path::new("-") {
        true => "standard input".to_owned(),
        false => file.display().to_string(),
    };
    let failed = |error| Failure::new(format!("cannot read {name}: {error}"));
    let mut bytes = Vec::new();
    let read = match file == Path::new("-") {
        true => std::io::stdin().take(LOG + 1).read_to_end(&mut bytes),
        false => {
            let file = std::fs::File::open(file).map_err(failed)?;
            file.take(LOG + 1).read_to_end(&mut bytes)
        }
    };
    read.map_err(failed)?;
    if bytes.len() as u64 > LOG {
        let failure = Failure::new(format!("{name} has more than 1 GiB"));
        return Err(
            failure.hint("give the part with the reports: `grep -n 'sysrq:' FILE` finds them")
        );
    }
    let log = read_log(&String::from_utf8_lossy(&bytes));
    if log.tasks.is_empty() {
        let failure = Failure::new(format!("{name} says nothing of tasks"));
        return Err(match log.reports.is_empty() && log.headless == 0 {
            true => failure.hint(
                "it takes the text of SysRq t, w or l (`echo w > /proc/sysrq-trigger; dmesg`) or of hung tasks",
            ),
            false => failure.hint(
                "reports begin in it, but their tasks are not there: the log's buffer was too small \
                 (log_buf_len= makes it larger), or no task was blocked",
            ),
        });
    }
    let mut truth = vec![format!("from {name}: {}", reports(&log.reports))];
    if log.idle_cpus > 0 {
        truth.push(format!(
            "{} were idle",
            count(log.idle_cpus as usize, "CPU")
        ));
    }
    if log.dropped > 0 {
        truth.push(format!(
            "{} dropped by the kernel",
            count(log.dropped as usize, "message")
        ));
    }
    if log.headless > 0 {
        let stacks = count(log.headless as usize, "stack");
        truth.push(format!("{stacks} without the line that says whose"));
    }
    let bad = |task: &&TaskSeen| matches!(task.stack, StackState::Cut(_) | StackState::None(_));
    let cut = log.tasks.iter().filter(bad).count();
    if cut > 0 {
        truth.push(format!("{} not whole or not there", count(cut, "stack")));
    }
    Ok(Seen {
        name,
        tasks: log.tasks,
        truth,
    })
}

/// Names reports, each kind with its number.
fn reports(reports: &[LogReport]) -> String {
    let kinds = [
        (ReportKind::All, "all tasks (t)"),
        (ReportKind::Blocked, "blocked tasks (w)"),
        (ReportKind::Running, "CPUs (l)"),
        (ReportKind::Hung, "hung tasks"),
        (ReportKind::Memory, "memory (m), which is not shown"),
    ];
    let found = kinds.iter().filter_map(|(kind, name)| {
        let count = reports.iter().filter(|report| report.kind == *kind).count();
        match count {
            0 => None,
            1 => Some((*name).to_owned()),
            count => Some(format!("{name} {count} times, the last word on each task")),
        }
    });
    let found: Vec<String> = found.collect();
    match found.is_empty() {
        true => "no word of what was asked for".to_owned(),
        false => found.join(", "),
    }
}
