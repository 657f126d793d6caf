//! Tasks in the text of a kernel's log: what SysRq t, w and l and the detector of hung tasks print.
//!
//! The lines are those of `sched_show_task` (kernel/sched/core.c), `nmi_cpu_backtrace`
//! (lib/nmi_backtrace.c), `show_trace_log_lvl` (arch/x86/kernel/dumpstack.c) and
//! `check_hung_task` (kernel/hung_task.c).

mod header;
mod hung;
#[cfg(test)]
mod tests;
mod trace;

use std::collections::HashMap;

use super::line::Line;
use super::{StackState, TaskSeen};
use trace::Trace;

/// What a log says of tasks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SnapshotLog {
    /// The tasks, each once, as the log has them last.
    pub tasks: Vec<TaskSeen>,
    /// What the kernel was asked to print, or printed by itself.
    pub reports: Vec<LogReport>,
    /// Idle CPUs that were asked for their stacks.
    pub idle_cpus: u32,
    /// Messages that the log itself says were dropped.
    pub dropped: u64,
    /// Stacks without the line that says whose they are.
    pub headless: u32,
}

/// A report in a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogReport {
    /// What it is of.
    pub kind: ReportKind,
    /// When, in microseconds of the kernel's clock, where the log says that.
    pub at: Option<u64>,
}

/// What a report is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReportKind {
    /// All tasks: SysRq t.
    All,
    /// Blocked tasks: SysRq w.
    Blocked,
    /// What runs on CPUs: SysRq l.
    Running,
    /// Memory: SysRq m.
    Memory,
    /// A task that was blocked for too long.
    Hung,
    /// Something else that SysRq prints.
    Other,
}

impl ReportKind {
    fn of_sysrq(text: &str) -> ReportKind {
        match text {
            "Show State" => ReportKind::All,
            "Show Blocked State" => ReportKind::Blocked,
            "Show Memory" => ReportKind::Memory,
            text if text.starts_with("Show backtrace of all active CPUs") => ReportKind::Running,
            _ => ReportKind::Other,
        }
    }
}

/// Reads the text of a log, whatever is in it; lines that say nothing of tasks are passed over.
#[must_use]
pub fn read_log(text: &str) -> SnapshotLog {
    let mut reader = Reader::default();
    for line in text.lines() {
        match line.contains('\x1b') {
            true => reader.line(Line::of(&without_colours(line))),
            false => reader.line(Line::of(line)),
        }
    }
    reader.finish()
}

/// Takes out what makes colours on a terminal: `ESC [ … letter`.
fn without_colours(line: &str) -> String {
    let mut parts = line.split("\x1b[");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find(|c: char| c.is_ascii_alphabetic());
        out.push_str(end.and_then(|end| part.get(end + 1..)).unwrap_or_default());
    }
    out
}

#[derive(Default)]
struct Reader {
    log: SnapshotLog,
    /// By number and, of idle tasks, CPU.
    places: HashMap<(u32, Option<u32>), usize>,
    /// What is being read, by who says it; one for all where the kernel does not say who.
    open: HashMap<String, Open>,
    hung: hung::Hung,
}

/// A task whose lines are being read.
#[derive(Default)]
struct Open {
    task: Option<TaskSeen>,
    trace: Trace,
}

impl Reader {
    fn line(&mut self, line: Line<'_>) {
        let text = line.text;
        let caller = line.caller.unwrap_or_default();
        if let Some(asked) = text
            .strip_prefix("sysrq: ")
            .or_else(|| text.strip_prefix("SysRq : "))
        {
            self.close(caller);
            self.report(ReportKind::of_sysrq(asked.trim()), line.at);
        } else if let Some(count) = dropped(text) {
            self.log.dropped = self.log.dropped.saturating_add(count);
        } else if self.hung.line(text) {
            self.close(caller);
            if hung::is_first(text) {
                self.report(ReportKind::Hung, line.at);
            }
        } else if let Some(task) = header::of_task(text, self.lists_tasks()) {
            self.begin(caller, task);
        } else if let Some((cpu, idle)) = header::of_cpu(text) {
            self.close(caller);
            match idle {
                true => self.log.idle_cpus = self.log.idle_cpus.saturating_add(1),
                false => self.begin(caller, header::on_cpu(cpu)),
            }
        } else {
            self.inside(caller, line);
        }
    }

    /// Reads a line that belongs to what is open.
    fn inside(&mut self, caller: &str, line: Line<'_>) {
        let Some(open) = self.open.get_mut(caller) else {
            let mut open = Open::default();
            if open.trace.line(line, &mut TaskSeen::default()) {
                self.open.insert(caller.to_owned(), open);
            }
            return;
        };
        let Some(task) = &mut open.task else {
            if !open.trace.line(line, &mut TaskSeen::default()) {
                self.close(caller);
            }
            return;
        };
        if !open.trace.line(line, task) && !header::more(line.text, task) && open.trace.has_ended()
        {
            self.close(caller);
        }
    }

    /// Says whether the last report lists tasks: old kernels print them without a word of their own.
    fn lists_tasks(&self) -> bool {
        let last = self.log.reports.last();
        last.is_some_and(|last| {
            matches!(
                last.kind,
                ReportKind::All | ReportKind::Blocked | ReportKind::Hung
            )
        })
    }

    fn report(&mut self, kind: ReportKind, at: Option<u64>) {
        let report = LogReport { kind, at };
        // Consoles get the line twice.
        let again = at.is_some() && self.log.reports.last() == Some(&report);
        if !again && self.log.reports.len() < MOST_REPORTS {
            self.log.reports.push(report);
        }
    }

    fn begin(&mut self, caller: &str, task: TaskSeen) {
        self.close(caller);
        let open = Open {
            task: Some(task),
            trace: Trace::default(),
        };
        self.open.insert(caller.to_owned(), open);
    }

    /// Ends what a caller has been saying.
    fn close(&mut self, caller: &str) {
        let Some(open) = self.open.remove(caller) else {
            return;
        };
        let has_stack = open.trace.has_begun();
        let Some(mut task) = open.task else {
            self.log.headless += u32::from(has_stack);
            return;
        };
        open.trace.give(&mut task);
        let Some(pid) = task.pid else {
            self.log.headless += 1;
            return;
        };
        let key = (pid, task.cpu.filter(|_| pid == 0));
        match self.places.get(&key) {
            Some(&at) => replace(&mut self.log.tasks[at], task),
            None => {
                self.places.insert(key, self.log.tasks.len());
                self.log.tasks.push(task);
            }
        }
    }

    fn finish(mut self) -> SnapshotLog {
        let mut callers: Vec<String> = self.open.keys().cloned().collect();
        callers.sort();
        for caller in &callers {
            if let Some(open) = self.open.get_mut(caller) {
                open.trace.stop();
            }
            self.close(caller);
        }
        self.hung.apply(&mut self.log.tasks);
        self.log
    }
}

/// Most reports of a log that are kept: each hung task is one.
const MOST_REPORTS: usize = 1 << 16;

/// Puts what is said later of a task in the place of what was said before.
fn replace(before: &mut TaskSeen, mut task: TaskSeen) {
    if task.comm == before.comm {
        task.tgid = task.tgid.or(before.tgid);
        task.ppid = task.ppid.or(before.ppid);
        task.kernel_thread = task.kernel_thread.or(before.kernel_thread);
        // Of a task that runs there is no stack but that of its CPU, and a header whose lines were lost
        // says less than the stack that came before it.
        let says_less = task.frames.is_empty() && matches!(task.stack, StackState::None(_));
        if says_less && task.state == before.state {
            task.frames = std::mem::take(&mut before.frames);
            task.stack = before.stack.clone();
            task.cpu = task.cpu.or(before.cpu);
        }
    }
    *before = task;
}

/// What is said of a stack that is not there.
fn no_stack() -> StackState {
    StackState::None("the log has none".to_owned())
}

/// `** 1234 printk messages dropped **`.
fn dropped(text: &str) -> Option<u64> {
    let (count, rest) = text.strip_prefix("** ")?.split_once(' ')?;
    match rest.contains("messages dropped") {
        true => count.parse().ok(),
        false => None,
    }
}
