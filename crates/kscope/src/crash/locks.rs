//! `kscope crash VMCORE locks`

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;

use clap::Args;
use kscope_dump::{Kernel, LockKind, LockOwner, LockWait, Task};
use kscope_memory::VirtAddr;
use kscope_rows::Value;

use super::analysis::{Analysis, Ask, Need};
use super::tell_unread;
use super::{by_task, duration, failed, in_symbol, on_cpus, plain, proceed, stack, tasks};
use crate::commands::bpf::listing::{Holds, Listing, number, text};
use crate::console::say;
use crate::error::Failure;

/// Print who waits for locks, and who has them; deadlocks by name
///
/// Of mutexes, rwsems, semaphores and rt_mutexes. A lock is named only where the queue that the
/// thread stands in leads to it.
#[derive(Args, Debug)]
pub(super) struct LocksArgs {
    /// Also print the stacks of those that wait, and of those that they wait for
    #[arg(short, long)]
    stacks: bool,
}

impl Analysis for LocksArgs {
    fn needs(&self) -> &'static [Need] {
        &[Need::Types, Need::UnwindTables]
    }

    fn run(&self, ask: &Ask<'_>) -> Result<(), Failure> {
        let (kernel, json) = (ask.kernel, ask.json);
        let locks = kernel.locks();
        let locks = locks.map_err(|error| failed("cannot tell who waits for locks", &error))?;
        let tasks = tasks(kernel).items;
        let names: HashMap<VirtAddr, &Task> = tasks.iter().map(|task| (task.addr, task)).collect();
        let name = |task: VirtAddr| match names.get(&task) {
            Some(task) => format!("{} ({})", plain(&task.comm), task.pid),
            None => task.to_string(),
        };
        if json {
            listed(kernel, &locks.waits, &locks.deadlocks, &names).print(true)?;
        } else {
            let mut out = String::new();
            if locks.waits.is_empty() {
                out.push_str("nobody waits for a lock\n");
            }
            for cycle in &locks.deadlocks {
                let cycle: Vec<String> = cycle.iter().map(|task| name(*task)).collect();
                let first = cycle.first().cloned().unwrap_or_default();
                let _ = writeln!(out, "DEADLOCK: {} -> {first}", cycle.join(" -> "));
            }
            if !locks.deadlocks.is_empty() {
                out.push('\n');
            }
            let mut of_locks: HashMap<VirtAddr, Vec<&LockWait>> = HashMap::new();
            for wait in &locks.waits {
                if let Some(lock) = wait.lock {
                    of_locks.entry(lock.addr).or_default().push(wait);
                }
            }
            for wait in &locks.waits {
                proceed(kernel)?;
                // Those that wait for one lock are together, where the first of them is.
                let Some(lock) = wait.lock else {
                    let kind = lock_kind(wait.kind);
                    let _ = writeln!(out, "{kind}, which one is not known");
                    write_wait(kernel, wait, &mut out);
                    continue;
                };
                let Some(waits) = of_locks.remove(&lock.addr) else {
                    continue;
                };
                let _ = writeln!(
                    out,
                    "{} {}: {}",
                    lock_kind(wait.kind),
                    place(kernel, lock.addr),
                    owner(lock.owner, &name)
                );
                for wait in waits {
                    proceed(kernel)?;
                    write_wait(kernel, wait, &mut out);
                }
            }
            say(out)?;
            if self.stacks {
                write_stacks(kernel, &locks.waits, &names)?;
            }
        }
        tell_unread("stacks or locks", &locks.unread);
        Ok(())
    }
}

fn write_wait(kernel: &Kernel, wait: &LockWait, out: &mut String) {
    let task = &wait.task;
    let _ = write!(
        out,
        "    {} ({}), {}, waits",
        plain(&task.comm),
        task.pid,
        task.state_letter()
    );
    if wait.kind == LockKind::RwsemRead {
        out.push_str(" to read");
    }
    if wait.kind == LockKind::RwsemWrite {
        out.push_str(" to write");
    }
    if let Ok(age) = kernel.off_cpu(task.addr) {
        let _ = write!(out, " for {}", duration(age));
    }
    if let Some(caller) = caller(kernel, wait) {
        let _ = write!(out, ", in {caller}");
    }
    out.push('\n');
}

/// Gives the function that wants the lock: the first that is none of the lock's own.
fn caller(kernel: &Kernel, wait: &LockWait) -> Option<String> {
    let frames = wait.stack.frames.get(wait.frame..)?;
    let own = |name: &str| {
        ["lock", "down", "rwsem", "sem_"].iter().any(|part| {
            let name = name.trim_start_matches('_');
            name.starts_with(part) || name.contains("mutex_lock") || name.contains("rt_mutex")
        })
    };
    let outside = frames.iter().find(|frame| {
        let found = kernel.symbolize(frame.code());
        found.is_some_and(|found| !own(found.symbol.name))
    })?;
    Some(stack::place(kernel, outside))
}

/// Gives the kernel's word for a kind of lock.
pub(crate) fn lock_kind(kind: LockKind) -> &'static str {
    match kind {
        LockKind::Mutex => "mutex",
        LockKind::RwsemRead | LockKind::RwsemWrite => "rwsem",
        LockKind::Semaphore => "semaphore",
        LockKind::RtMutex => "rt_mutex",
    }
}

/// Names a lock by its variable, if it is one, and by its address.
fn place(kernel: &Kernel, addr: VirtAddr) -> String {
    match kernel.symbolize(addr) {
        Some(found) => {
            let offset = (found.offset > 0).then_some(found.offset);
            format!("{addr} ({})", in_symbol(&found.symbol, offset))
        }
        None => addr.to_string(),
    }
}

fn owner(owner: LockOwner, name: &dyn Fn(VirtAddr) -> String) -> String {
    let last = |last: Option<VirtAddr>, what: &str| {
        let last = last.map(|task| format!(", {what} {}", name(task)));
        last.unwrap_or_default()
    };
    match owner {
        LockOwner::Nobody => "nobody has it, it is being handed over".to_owned(),
        LockOwner::Task(task) => format!("{} has it", name(task)),
        LockOwner::Readers {
            count,
            last: reader,
        } => {
            format!(
                "{count} readers have it{}",
                last(reader, "the last of whom may be")
            )
        }
        LockOwner::Unknown { last: holder } => {
            format!(
                "who has it is not kept{}",
                last(holder, "the last that took it is")
            )
        }
    }
}

fn write_stacks(
    kernel: &Kernel,
    waits: &[LockWait],
    names: &HashMap<VirtAddr, &Task>,
) -> Result<(), Failure> {
    let unwinder = kernel.unwinder();
    let unwinder = unwinder.map_err(|error| failed("cannot follow stacks", &error))?;
    let on_cpu = on_cpus(kernel);
    let ran_on = by_task(&on_cpu);
    let mut shown: HashSet<VirtAddr> = HashSet::new();
    for wait in waits {
        proceed(kernel)?;
        let owner = match wait.lock.map(|lock| lock.owner) {
            Some(LockOwner::Task(owner)) => Some(owner),
            _ => None,
        };
        for task in [Some(wait.task.addr), owner].into_iter().flatten() {
            let Some(task) = names.get(&task).filter(|_| shown.insert(task)) else {
                continue;
            };
            let on = ran_on.get(&task.addr).copied();
            let mut out = format!("\n{} ({})\n", plain(&task.comm), task.pid);
            if let Some(found) = unwinder.stack(Some(task), on) {
                stack::write(kernel, &found, &mut out);
            }
            say(out)?;
        }
    }
    Ok(())
}

fn listed(
    kernel: &Kernel,
    waits: &[LockWait],
    deadlocks: &[Vec<VirtAddr>],
    names: &HashMap<VirtAddr, &Task>,
) -> Listing {
    let columns = [
        ("pid", Holds::Number),
        ("comm", Holds::Text),
        ("kind", Holds::Text),
        ("mode", Holds::Text),
        ("lock", Holds::Text),
        ("owner_pid", Holds::Number),
        ("owner", Holds::Text),
        ("readers", Holds::Number),
        ("last_pid", Holds::Number),
        ("waits_ns", Holds::Number),
        ("deadlock", Holds::List),
        ("stack", Holds::List),
    ];
    let mut listing = Listing::new("locks", &columns);
    let pid = |task: Option<VirtAddr>| match task.and_then(|task| names.get(&task)) {
        Some(task) => number(task.pid as u32),
        None => Value::None,
    };
    let cycles = deadlocks.iter();
    let cycles = cycles.flat_map(|cycle| cycle.iter().map(move |task| (*task, cycle)));
    let cycles: HashMap<VirtAddr, &Vec<VirtAddr>> = cycles.collect();
    for wait in waits {
        let owner = wait.lock.map(|lock| lock.owner);
        let (task, readers, last) = match owner {
            Some(LockOwner::Task(task)) => (Some(task), None, None),
            Some(LockOwner::Readers { count, last }) => (None, Some(count), last),
            Some(LockOwner::Unknown { last }) => (None, None, last),
            Some(LockOwner::Nobody) | None => (None, None, None),
        };
        let comm = task.and_then(|task| names.get(&task));
        let cycle = cycles.get(&wait.task.addr).into_iter().copied();
        let cycle = cycle.flatten().map(|task| pid(Some(*task)));
        let frames = wait.stack.frames.iter();
        let places = frames.map(|frame| Value::Text(stack::place(kernel, frame)));
        listing.push(vec![
            number(wait.task.pid as u32),
            text(wait.task.comm.clone()),
            text(lock_kind(wait.kind)),
            text(match wait.kind {
                LockKind::RwsemRead => "read",
                LockKind::RwsemWrite => "write",
                _ => "",
            }),
            wait.lock
                .map_or(Value::None, |lock| text(place(kernel, lock.addr))),
            pid(task),
            comm.map_or(Value::None, |task| text(task.comm.clone())),
            readers.map_or(Value::None, number),
            pid(last),
            kernel.off_cpu(wait.task.addr).map_or(Value::None, number),
            Value::Array(cycle.collect()),
            Value::Array(places.collect()),
        ]);
    }
    listing
}
