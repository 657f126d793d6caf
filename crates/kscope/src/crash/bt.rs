//! `kscope crash VMCORE bt`

use std::collections::HashMap;
use std::fmt::Write as _;

use clap::Args;
use kscope_dump::{Kernel, OnCpu, Stack, Task};
use kscope_memory::VirtAddr;
use kscope_rows::Value;

use super::analysis::{Analysis, Ask, Need};
use super::{by_task, duration, failed, milliseconds, panic, plain, proceed, stack};
use super::{tasks, tell_fault};
use crate::commands::bpf::listing::{Holds, Listing, number, numbers, text};
use crate::console::say;
use crate::error::Failure;

/// Print stacks: of the task that panicked, of CPUs, of all tasks
///
/// Without words, that of the task that panicked, or what ran on each CPU where none did.
#[derive(Args, Debug)]
pub(super) struct BtArgs {
    /// Tasks: their ids, or their names
    #[arg(value_name = "TASK")]
    tasks: Vec<String>,
    /// What ran on this CPU
    #[arg(short, long, value_name = "CPU")]
    cpu: Vec<u32>,
    /// What ran on each CPU
    #[arg(long, conflicts_with_all = ["all", "blocked"])]
    cpus: bool,
    /// All tasks
    #[arg(short, long)]
    all: bool,
    /// Tasks that wait and cannot be interrupted (state D), those that wait longest first
    #[arg(short, long, conflicts_with = "all")]
    blocked: bool,
    /// Tasks with the same stack together, the most first
    #[arg(short, long)]
    group: bool,
}

/// A task with its stack.
struct Found<'t> {
    task: Option<&'t Task>,
    /// The CPU that it ran on.
    cpu: Option<u32>,
    /// How long it has been blocked in nanoseconds, where it is.
    blocked: Option<u64>,
    stack: Stack,
}

impl Analysis for BtArgs {
    fn needs(&self) -> &'static [Need] {
        &[
            Need::UnwindTables,
            Need::Symbol("runqueues"),
            Need::Member("rq", "curr"),
        ]
    }

    fn run(&self, ask: &Ask<'_>) -> Result<(), Failure> {
        run(ask.kernel, self, ask.json)
    }
}

fn run(kernel: &Kernel, args: &BtArgs, json: bool) -> Result<(), Failure> {
    let unwinder = kernel.unwinder();
    let unwinder = unwinder.map_err(|error| failed("cannot follow stacks", &error))?;
    // What ran on CPUs needs no tasks.
    let walked = tasks(kernel);
    let tasks = walked.items;
    let on_cpu = kernel.on_cpu();
    let on_cpu = on_cpu.map_err(|error| failed("cannot tell what ran on CPUs", &error))?;
    let known: HashMap<VirtAddr, &Task> = tasks.iter().map(|task| (task.addr, task)).collect();
    let ran_on = by_task(&on_cpu.items);
    let mut found = Vec::new();
    for on in cpus(kernel, args, &on_cpu.items)? {
        proceed(kernel)?;
        let task = on.task.and_then(|task| known.get(&task).copied());
        if let Some(stack) = unwinder.stack(task, Some(on)) {
            found.push(Found {
                task,
                cpu: Some(on.cpu),
                blocked: None,
                stack,
            });
        }
    }
    for task in chosen(args, &tasks)? {
        proceed(kernel)?;
        let on = ran_on.get(&task.addr).copied();
        found.extend(unwinder.stack(Some(task), on).map(|stack| Found {
            task: Some(task),
            cpu: on.map(|on| on.cpu),
            blocked: blocked_for(kernel, task),
            stack,
        }));
    }
    if args.blocked {
        found.sort_by_key(|one| std::cmp::Reverse(one.blocked));
    }
    match (args.group, json) {
        (_, false) if found.is_empty() => say("no task is blocked\n")?,
        (true, _) => grouped(kernel, &found, json)?,
        (false, true) => listed(kernel, &found).print(true)?,
        (false, false) => {
            let mut out = String::new();
            for one in &found {
                proceed(kernel)?;
                write_head(one, &mut out);
                stack::write(kernel, &one.stack, &mut out);
                out.push('\n');
            }
            say(out)?;
        }
    }
    tell_fault("tasks", walked.fault.as_ref());
    tell_fault("CPUs", on_cpu.fault.as_ref());
    Ok(())
}

/// Gives the CPUs that are asked for; with no words at all the one that panicked, or all.
fn cpus<'c>(
    kernel: &Kernel,
    args: &BtArgs,
    on_cpu: &'c [OnCpu],
) -> Result<Vec<&'c OnCpu>, Failure> {
    let of_tasks = args.all || args.blocked || !args.tasks.is_empty();
    if args.cpus {
        return Ok(on_cpu.iter().collect());
    }
    if !args.cpu.is_empty() {
        let find = |cpu: &u32| {
            let missing = || {
                let all: Vec<String> = on_cpu.iter().map(|on| on.cpu.to_string()).collect();
                let failure = Failure::new(format!("CPU {cpu} was not at work"));
                failure.hint(format!("those that were: {}", all.join(", ")))
            };
            on_cpu.iter().find(|on| on.cpu == *cpu).ok_or_else(missing)
        };
        return args.cpu.iter().map(find).collect();
    }
    if of_tasks {
        return Ok(Vec::new());
    }
    let panicked = panic::cpu(kernel);
    let one = on_cpu.iter().find(|on| Some(on.cpu) == panicked);
    Ok(one.map_or_else(|| on_cpu.iter().collect(), |one| vec![one]))
}

/// Gives the tasks that are asked for.
fn chosen<'t>(args: &BtArgs, tasks: &'t [Task]) -> Result<Vec<&'t Task>, Failure> {
    if args.all {
        return Ok(tasks.iter().collect());
    }
    let mut found: Vec<&Task> = Vec::new();
    if args.blocked {
        found.extend(tasks.iter().filter(|task| task.state_letter() == 'D'));
    }
    for word in &args.tasks {
        let pid = word.parse::<i32>().ok();
        let is_it = |task: &&Task| pid == Some(task.pid) || (pid.is_none() && task.comm == *word);
        let before = found.len();
        found.extend(tasks.iter().filter(is_it));
        if found.len() == before {
            let failure = Failure::new(format!("there is no task `{word}` in the dump"));
            return Err(failure.hint("`kscope crash VMCORE bt --all` shows all"));
        }
    }
    Ok(found)
}

/// Gives how long a task has been blocked, where it is and that is known.
fn blocked_for(kernel: &Kernel, task: &Task) -> Option<u64> {
    match task.state_letter() {
        'D' => kernel.off_cpu(task.addr).ok(),
        _ => None,
    }
}

fn write_head(found: &Found<'_>, out: &mut String) {
    match found.task {
        Some(task) => {
            let comm = plain(&task.comm);
            let _ = write!(out, "{comm} ({}), {}", task.pid, task.state_letter());
        }
        None => out.push_str("a task that cannot be read"),
    }
    if let Some(age) = found.blocked {
        let _ = write!(out, ", blocked for {}", duration(age));
    }
    if let Some(cpu) = found.cpu {
        let _ = write!(out, ", on CPU {cpu}");
    }
    out.push('\n');
}

/// Puts stacks together whose functions are the same.
fn grouped(kernel: &Kernel, found: &[Found<'_>], json: bool) -> Result<(), Failure> {
    let mut groups: Vec<(Vec<u64>, Vec<&Found<'_>>)> = Vec::new();
    let mut places = HashMap::new();
    for one in found {
        let key: Vec<u64> = one.stack.frames.iter().map(|frame| frame.pc.0).collect();
        let at = *places.entry(key.clone()).or_insert_with(|| {
            groups.push((key, Vec::new()));
            groups.len() - 1
        });
        groups[at].1.push(one);
    }
    // Stable: groups of one size keep the order of their first tasks.
    groups.sort_by_key(|(_, members)| std::cmp::Reverse(members.len()));
    if json {
        let columns = [
            ("count", Holds::Number),
            ("pids", Holds::List),
            ("stack", Holds::List),
        ];
        let mut listing = Listing::new("bt", &columns);
        for (_, members) in &groups {
            let pids = members.iter().filter_map(|one| one.task);
            listing.push(vec![
                number(members.len() as u64),
                numbers(pids.map(|task| task.pid as u32)),
                frames(kernel, &members[0].stack),
            ]);
        }
        return listing.print(true);
    }
    let mut out = String::new();
    for (_, members) in &groups {
        let names = members.iter().map(|one| match one.task {
            Some(task) => format!("{} ({})", plain(&task.comm), task.pid),
            None => "?".to_owned(),
        });
        let names: Vec<String> = names.collect();
        let what = if members.len() == 1 { "task" } else { "tasks" };
        let _ = writeln!(out, "{} {what}: {}", members.len(), names.join(", "));
        // Registers differ from task to task.
        for (at, frame) in members[0].stack.frames.iter().enumerate() {
            let place = stack::place(kernel, frame);
            let _ = writeln!(out, "  {at:3}  {:016x}  {place}", frame.pc.0);
        }
        let end = &members[0].stack.end;
        if !end.is_whole() {
            let _ = writeln!(out, "      the stack is not whole: {}", stack::why(end));
        }
        out.push('\n');
    }
    Ok(say(out)?)
}

fn frames(kernel: &Kernel, found: &Stack) -> Value {
    let places = found.frames.iter().map(|frame| stack::place(kernel, frame));
    Value::Array(places.map(Value::Text).collect())
}

fn listed(kernel: &Kernel, found: &[Found<'_>]) -> Listing {
    let columns = [
        ("pid", Holds::Number),
        ("comm", Holds::Text),
        ("state", Holds::Text),
        ("cpu", Holds::Number),
        ("blocked_ms", Holds::Number),
        ("stack", Holds::List),
        ("end", Holds::Text),
    ];
    let mut listing = Listing::new("bt", &columns);
    for one in found {
        let of = |value: fn(&Task) -> Value| one.task.map_or(Value::None, value);
        listing.push(vec![
            of(|task| number(task.pid as u32)),
            of(|task| text(task.comm.clone())),
            of(|task| text(task.state_letter())),
            one.cpu.map_or(Value::None, number),
            milliseconds(one.blocked),
            frames(kernel, &one.stack),
            text(stack::why(&one.stack.end)),
        ]);
    }
    listing
}
