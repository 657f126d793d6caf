//! `kscope stacks`

mod dead;
mod source;
mod table;
mod text;

use std::path::PathBuf;

use clap::Args;
use kscope_rows::{TaskSeen, group_tasks};

use crate::console::{count, say, tell};
use crate::error::Failure;

/// Show what tasks are at: their stacks, the same ones together, the worst first
///
/// As SysRq t, l and w and the reports of hung tasks say it, with what is idle left out. Blocked tasks come
/// first, those that wait longest at the top, with the lock that they wait for and who has it where that is
/// known; then tasks that run, then those that sleep. The last line says what was looked at, and what could
/// not be had.
#[derive(Args, Debug)]
pub(crate) struct StacksArgs {
    /// Read the log of a kernel in place of the running one: the text of SysRq t, w or l or of hung tasks, as
    /// dmesg, journalctl or a console has it (`-` for standard input)
    #[arg(long, value_name = "FILE", conflicts_with = "dump")]
    from: Option<PathBuf>,
    /// Look into the memory of a dead kernel: a crash dump (each file of a split one)
    #[arg(long, value_name = "FILE")]
    dump: Vec<PathBuf>,
    /// Idle tasks as well: those of the kernel that wait for work, and CPUs' own (SysRq t)
    #[arg(short, long, conflicts_with_all = ["running", "blocked"])]
    all: bool,
    /// Only tasks that run or are to run (SysRq l)
    #[arg(short, long)]
    running: bool,
    /// Only tasks that wait and cannot be interrupted (state D, SysRq w), or those that have waited so long
    #[arg(short, long, value_name = "AGE", num_args = 0..=1, require_equals = true, value_parser = age,
        default_missing_value = "0")]
    blocked: Option<u64>,
    /// Only this process or thread
    #[arg(short, long, value_name = "PID")]
    pid: Vec<u32>,
    /// Whole stacks, a frame a line
    #[arg(short, long, conflicts_with = "json")]
    full: bool,
    /// Print an object for each task
    #[arg(long)]
    json: bool,
}

/// Reads a time, in nanoseconds.
fn age(text: &str) -> Result<u64, String> {
    let nanoseconds = kscope_runtime::duration(text)?;
    u64::try_from(nanoseconds).map_err(|_| format!("`{text}` is no time"))
}

/// Runs the command.
pub(crate) fn run(args: &StacksArgs) -> Result<u8, Failure> {
    let seen = match &args.from {
        Some(file) => source::log(file)?,
        None if !args.dump.is_empty() => dead::dump(&args.dump)?,
        None => source::live()?,
    };
    let mut unknown_age = 0;
    let wanted: Vec<&TaskSeen> = seen
        .tasks
        .iter()
        .filter(|task| args.is_wanted(task, &mut unknown_age))
        .collect();
    let groups = group_tasks(wanted.iter().copied());
    if let Some(missing) = args.pid.iter().find(|pid| !seen.has(**pid)) {
        let failure = Failure::new(format!("there is no task {missing} in {}", seen.name));
        return Err(failure.hint("`--all` shows all tasks"));
    }
    let hides_idle = !args.all && args.pid.is_empty();
    let shown = groups
        .iter()
        .filter(|group| !hides_idle || !group.is_idle());
    let mut truth = seen.truth;
    if unknown_age > 0 {
        let tasks = count(unknown_age, "blocked task");
        truth.push(format!("how long {tasks} waited is not known"));
    }
    if args.json {
        table::print(shown)?;
        tell(truth.join("; "));
        return Ok(0);
    }
    let mut out = String::new();
    for group in shown {
        text::write(group, args.full, &mut out);
    }
    let idle = groups.iter().filter(|group| group.is_idle());
    let hidden = idle.fold((0, 0), |(tasks, groups), group| {
        (tasks + group.tasks.len(), groups + 1)
    });
    let sums = text::sums(&seen.tasks, wanted.len(), hidden, hides_idle);
    truth.insert(0, sums);
    out.push_str(&truth.join("; "));
    out.push('\n');
    say(out)?;
    Ok(0)
}

impl StacksArgs {
    fn is_wanted(&self, task: &TaskSeen, unknown_age: &mut usize) -> bool {
        let is = |pid: &u32| task.pid == Some(*pid) || task.tgid == Some(*pid);
        if !self.pid.is_empty() && !self.pid.iter().any(is) {
            return false;
        }
        if !self.running && self.blocked.is_none() {
            return true;
        }
        let blocked = self.blocked.is_some_and(|least| match task.off_cpu {
            _ if !task.is_blocked() => false,
            Some(age) => age.nanoseconds >= least,
            None => {
                // Whoever asks for those that waited long is told that there may be more.
                *unknown_age += usize::from(least > 0);
                least == 0
            }
        });
        blocked || (self.running && task.state == 'R')
    }
}
