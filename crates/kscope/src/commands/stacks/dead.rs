//! Tasks of a crash dump, and of any kernel whose memory is read.

use std::collections::HashMap;
use std::path::PathBuf;

use kscope_dump::{Kernel, LockKind, LockOwner, LockWait, StackEnd, Task};
use kscope_memory::VirtAddr;
use kscope_rows::{Age, Frame, LockSeen, StackState, SyscallSeen, TaskSeen};

use super::source::Seen;
use crate::console::count;
use crate::crash::{by_task, failed, lock_kind, on_cpus, plain, tell_fault, tell_unread, why};
use crate::dump;
use crate::error::Failure;

/// Looks at the tasks of a dump.
pub(super) fn dump(files: &[PathBuf]) -> Result<Seen, Failure> {
    let kernel = dump::open(files)?;
    let unwinder = kernel.unwinder();
    let unwinder = unwinder.map_err(|error| failed("cannot follow stacks", &error))?;
    let found = kernel.tasks();
    let found = found.map_err(|error| failed("there are no tasks", &error))?;
    let on_cpu = on_cpus(&kernel);
    let ran_on = by_task(&on_cpu);
    let mut truth = vec!["from the dump".to_owned()];
    let mut locks = HashMap::new();
    match kernel.locks() {
        Ok(state) => {
            tell_unread("stacks or locks", &state.unread);
            if !state.deadlocks.is_empty() {
                let deadlocks = count(state.deadlocks.len(), "deadlock");
                truth.push(format!("{deadlocks} (`kscope crash VMCORE locks`)"));
            }
            locks.extend(state.waits.into_iter().map(|wait| (wait.task.addr, wait)));
        }
        Err(error) => truth.push(plain(&format!("not had here: locks ({error})"))),
    }
    let names: HashMap<VirtAddr, &Task> =
        found.items.iter().map(|task| (task.addr, task)).collect();
    let seen = |task: &Task| {
        let on = ran_on.get(&task.addr).copied();
        let stack = unwinder.stack(Some(task), on);
        let end = stack.as_ref().map(|stack| &stack.end);
        let frames = stack.iter().flat_map(|stack| &stack.frames);
        TaskSeen {
            pid: u32::try_from(task.pid).ok(),
            tgid: u32::try_from(task.tgid).ok(),
            ppid: None,
            comm: task.comm.clone(),
            state: task.state_letter(),
            cpu: on.map(|on| on.cpu),
            kernel_thread: Some(task.is_kernel_thread()),
            off_cpu: age(&kernel, task).filter(|_| on.is_none()),
            frames: frames.map(|frame| name(&kernel, frame)).collect(),
            stack: state(
                end,
                stack.as_ref().is_some_and(|stack| stack.frames.is_empty()),
            ),
            stable: None,
            syscall: end.and_then(|end| syscall(task, end)),
            work: None,
            lock: locks.get(&task.addr).and_then(|wait| lock(wait, &names)),
        }
    };
    let tasks = found.items.iter().map(seen).collect();
    tell_fault("tasks", found.fault.as_ref());
    Ok(Seen {
        name: "the dump".to_owned(),
        tasks,
        truth,
    })
}

fn age(kernel: &Kernel, task: &Task) -> Option<Age> {
    let nanoseconds = kernel.off_cpu(task.addr).ok()?;
    Some(Age {
        nanoseconds,
        at_least: false,
    })
}

fn name(kernel: &Kernel, frame: &kscope_dump::Frame) -> Frame {
    let found = kernel.symbolize(frame.code());
    Frame {
        address: frame.pc.0,
        symbol: found.as_ref().map(|found| found.symbol.name.into()),
        // Where it goes on, which may be behind the function's end.
        offset: found
            .as_ref()
            .map_or(0, |found| frame.pc.0.saturating_sub(found.symbol.address.0)),
        module: found.and_then(|found| found.symbol.module).map(Into::into),
    }
}

fn state(end: Option<&StackEnd>, is_empty: bool) -> StackState {
    match end {
        Some(StackEnd::User(_)) if is_empty => StackState::User,
        None => StackState::None("the dump has none".to_owned()),
        Some(end) if end.is_whole() => StackState::Whole,
        Some(end) => StackState::Cut(why(end)),
    }
}

/// Gives the system call that a task of a program is in, from the registers where its stack ends.
fn syscall(task: &Task, end: &StackEnd) -> Option<SyscallSeen> {
    /// What interrupts and exceptions leave there.
    const NONE: u64 = u64::MAX;
    match end {
        StackEnd::User(r) if r.orig_rax != NONE && !task.is_kernel_thread() => Some(SyscallSeen {
            number: r.orig_rax,
            args: Some([r.rdi, r.rsi, r.rdx, r.r10, r.r8, r.r9]),
        }),
        _ => None,
    }
}

fn lock(wait: &LockWait, names: &HashMap<VirtAddr, &Task>) -> Option<LockSeen> {
    let lock = wait.lock?;
    let (owner, perhaps) = match lock.owner {
        LockOwner::Task(task) => (Some(task), false),
        LockOwner::Readers { last, .. } | LockOwner::Unknown { last } => (last, true),
        LockOwner::Nobody => (None, false),
    };
    let holder = owner.and_then(|owner| names.get(&owner));
    let kind = match wait.kind {
        LockKind::RwsemRead => "rwsem (reader)",
        LockKind::RwsemWrite => "rwsem (writer)",
        kind => lock_kind(kind),
    };
    Some(LockSeen {
        kind: kind.to_owned(),
        address: Some(lock.addr.0),
        holder: holder.and_then(|task| Some((task.comm.clone(), u32::try_from(task.pid).ok()?))),
        perhaps,
    })
}
