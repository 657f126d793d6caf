//! What the tasks of the running kernel are at: a BPF iterator copies each task's state and its stack
//! in the kernel, twice, so that it is known of which tasks the stack stood still.

mod program;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::time::{Duration, Instant};

use kscope_bpf::Loader;
use kscope_btf::Btf;
use kscope_dump::state_letter;
use kscope_memory::VirtAddr;
use kscope_rows::{Age, Frame, LockSeen, StackState, SyscallSeen, TaskSeen};
use kscope_spec::ProgramId;
use kscope_symbol::KernelSymbolizer;

use crate::error::Error;
use crate::target::Target;
use program::{Layout, Record};

/// What tasks were at.
#[derive(Clone, Debug, Default)]
pub struct LiveStacks {
    /// The tasks, in the order of their numbers.
    pub tasks: Vec<TaskSeen>,
    /// How long it took to look at all of them.
    pub sweep: Duration,
    /// How many had ended when they were looked at again.
    pub gone: usize,
    /// How many were there only then.
    pub new: usize,
    /// What this kernel does not say of tasks.
    pub missing: Vec<&'static str>,
}

/// Most bytes of all tasks: some 200,000 tasks with the deepest stacks.
const MOST: usize = 256 << 20;

/// Looks at the tasks of the running kernel, those of the caller's pid namespace.
///
/// # Errors
///
/// Where the kernel's types do not have what a task is known by, or the kernel refuses the programs.
///
/// # Minimum kernel version
///
/// Linux 5.9; system calls 5.15, locks 6.16 with `CONFIG_DETECT_HUNG_TASK_BLOCKER`.
pub fn live_stacks(target: &Target, btf: &Btf) -> Result<LiveStacks, Error> {
    let layout = Layout::of(btf)?;
    let spec = layout.spec();
    let object = Loader::new(target.kernel().clone())
        .btf(Some(btf))
        .load(&spec)?;
    let sweep = |program: u32| -> Result<Vec<Record>, Error> {
        let mut reader = object.program(ProgramId(program))?.attach_iterator()?;
        Ok(layout.records(&reader.read_all(MOST)?))
    };
    // Whoever came to a CPU last says what the scheduler's clock is: this thread does so now.
    std::thread::sleep(Duration::from_micros(50));
    let begin = Instant::now();
    let first = sweep(0)?;
    let took = begin.elapsed();
    let second = sweep(1)?;
    let mut seen = seen(&first, &second, target.symbols());
    seen.sweep = took;
    seen.missing = layout.missing();
    seen.missing.extend(hidden(target.symbols()));
    Ok(seen)
}

/// Says whether the names of functions cannot be had.
fn hidden(symbols: &KernelSymbolizer) -> Option<&'static str> {
    match symbols.symbols() {
        Ok(symbols) if !symbols.is_restricted() => None,
        Ok(_) => Some("the names of functions (kernel.kptr_restrict hides addresses)"),
        Err(_) => Some("the names of functions (/proc/kallsyms cannot be read)"),
    }
}

/// Makes tasks of two looks at each.
fn seen(first: &[Record], second: &[Record], symbols: &KernelSymbolizer) -> LiveStacks {
    let again: HashMap<u64, &Record> = second
        .iter()
        .map(|record| (record.address, record))
        .collect();
    let before: HashMap<u64, &Record> = first
        .iter()
        .map(|record| (record.address, record))
        .collect();
    let is_new = |record: &&Record| !before.contains_key(&record.address);
    let now = first.iter().map(|record| record.arrived).max().unwrap_or(0);
    let mut names: HashMap<u64, Frame> = HashMap::new();
    let task = |record: &Record| TaskSeen {
        pid: Some(record.pid),
        tgid: Some(record.tgid),
        ppid: record.ppid,
        comm: record.comm.clone(),
        state: state_letter(record.state, record.exit_state),
        cpu: record.on_cpu.then_some(record.cpu),
        kernel_thread: Some(record.is_kernel_thread()),
        off_cpu: (!record.on_cpu && record.arrived > 0).then(|| Age {
            nanoseconds: now.saturating_sub(record.arrived),
            at_least: false,
        }),
        frames: match record.asks() {
            true => Vec::new(),
            false => frames(&record.stack, symbols, &mut names),
        },
        stack: stack(record),
        stable: Some(again.get(&record.address).is_some_and(|again| {
            !record.on_cpu && !again.on_cpu && again.switches == record.switches
        })),
        syscall: syscall(record),
        work: None,
        lock: lock(record, &before),
    };
    LiveStacks {
        tasks: first.iter().map(task).collect(),
        gone: first
            .iter()
            .filter(|record| !again.contains_key(&record.address))
            .count(),
        new: second.iter().filter(is_new).count(),
        ..LiveStacks::default()
    }
}

/// Names the frames of a stack; each address is looked up once.
fn frames(
    stack: &[u64],
    symbols: &KernelSymbolizer,
    names: &mut HashMap<u64, Frame>,
) -> Vec<Frame> {
    let mut frame = |&address: &u64| {
        let frame = names.entry(address).or_insert_with(|| {
            // It goes on behind a call, which may be the last instruction of its function.
            let found = symbols.symbolize(VirtAddr(address.wrapping_sub(1)));
            Frame {
                address,
                symbol: found.map(|found| found.name.into()),
                offset: found.map_or(0, |found| found.offset + 1),
                module: found.and_then(|found| found.module).map(Into::into),
            }
        });
        frame.clone()
    };
    stack.iter().map(&mut frame).collect()
}

fn stack(record: &Record) -> StackState {
    if record.asks() {
        return StackState::None("it is what looks".to_owned());
    }
    match (record.stack.len(), record.error) {
        (program::FRAMES.., _) => StackState::Cut("it has more frames than are copied".to_owned()),
        (1.., _) => StackState::Whole,
        (0, _) if record.on_cpu => StackState::None("it ran just then".to_owned()),
        (0, Some(errno)) => StackState::None(format!("error {errno} of the kernel")),
        (0, None) => StackState::None("the kernel gave none".to_owned()),
    }
}

/// Gives the system call that a task of a program is in.
fn syscall(record: &Record) -> Option<SyscallSeen> {
    let (number, args) = record.syscall?;
    /// What interrupts and exceptions leave there.
    const NONE: u64 = u64::MAX;
    let is_in_one = !record.is_kernel_thread() && !record.on_cpu && number != NONE;
    is_in_one.then_some(SyscallSeen {
        number,
        args: Some(args),
    })
}

/// Gives the lock that a task says it waits for, and who has it.
fn lock(record: &Record, tasks: &HashMap<u64, &Record>) -> Option<LockSeen> {
    /// The kind of a lock, in the lowest bits of its address.
    const KIND: u64 = 3;
    /// What else an owner's address says.
    const FLAGS: u64 = 7;
    let address = record.blocker & !KIND;
    if address == 0 {
        return None;
    }
    // In the order of the kernel's `BLOCKER_TYPE_*`.
    let (kind, owner) = match record.blocker & KIND {
        0 => ("mutex", record.mutex_owner & !FLAGS),
        1 => ("semaphore", record.semaphore_holder),
        2 => ("rwsem (reader)", record.rwsem_owner & !FLAGS),
        _ => ("rwsem (writer)", record.rwsem_owner & !FLAGS),
    };
    let holder = tasks.get(&owner).filter(|_| owner != 0);
    Some(LockSeen {
        kind: kind.to_owned(),
        address: Some(address),
        holder: holder.map(|holder| (holder.comm.clone(), holder.pid)),
        // Of the others the kernel keeps the last that came, which may have left.
        perhaps: kind != "mutex",
    })
}
