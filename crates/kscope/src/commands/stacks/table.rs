//! Tasks as objects.

use kscope_rows::{SyscallSeen, TaskGroup, TaskSeen, Value};

use super::text::{call, place, why};
use crate::commands::bpf::listing::{Holds, Listing, number, text};
use crate::crash::plain;
use crate::error::Failure;

const COLUMNS: &[(&str, Holds)] = &[
    ("group", Holds::Number),
    ("pid", Holds::Number),
    ("tgid", Holds::Number),
    ("ppid", Holds::Number),
    ("comm", Holds::Text),
    ("state", Holds::Text),
    ("cpu", Holds::Number),
    ("idle", Holds::Number),
    ("off_cpu_ms", Holds::Number),
    ("at_least", Holds::Number),
    ("stable", Holds::Number),
    ("syscall", Holds::Text),
    ("args", Holds::List),
    ("work", Holds::Text),
    ("lock_kind", Holds::Text),
    ("lock", Holds::Text),
    ("holder_pid", Holds::Number),
    ("holder_comm", Holds::Text),
    ("holder_likely", Holds::Number),
    ("stack", Holds::List),
    ("stack_end", Holds::Text),
];

/// Prints an object for each task; those of a group have its number, from 1.
pub(super) fn print<'t>(groups: impl Iterator<Item = &'t TaskGroup<'t>>) -> Result<(), Failure> {
    let mut listing = Listing::new("stacks", COLUMNS);
    for (at, group) in groups.enumerate() {
        for task in &group.tasks {
            listing.push(row(at + 1, task));
        }
    }
    listing.print(true)
}

fn row(group: usize, task: &TaskSeen) -> Vec<Value> {
    let some = |value: Option<u32>| value.map_or(Value::None, number);
    let words = |words: Option<&str>| words.map_or(Value::None, |words| text(plain(words)));
    let flag = |flag: bool| number(u32::from(flag));
    let lock = task.lock.as_ref();
    let holder = lock.and_then(|lock| lock.holder.as_ref());
    let age = task.off_cpu;
    vec![
        number(group as u64),
        some(task.pid),
        some(task.tgid),
        some(task.ppid),
        text(plain(&task.comm)),
        text(task.state),
        some(task.cpu),
        flag(task.is_idle()),
        age.map_or(Value::None, |age| number(age.nanoseconds / 1_000_000)),
        age.map_or(Value::None, |age| flag(age.at_least)),
        task.stable.map_or(Value::None, flag),
        task.syscall
            .as_ref()
            .map_or(Value::None, |syscall| text(call(syscall))),
        args(task.syscall.as_ref()),
        words(task.work.as_deref()),
        words(lock.map(|lock| lock.kind.as_str())),
        lock.and_then(|lock| lock.address)
            .map_or(Value::None, |at| text(format!("{at:#x}"))),
        holder.map_or(Value::None, |(_, pid)| number(*pid)),
        words(holder.map(|(comm, _)| comm.as_str())),
        lock.filter(|_| holder.is_some())
            .map_or(Value::None, |lock| flag(lock.perhaps)),
        Value::Array(
            task.frames
                .iter()
                .map(|frame| Value::Text(place(frame)))
                .collect(),
        ),
        why(&task.stack).map_or(Value::None, text),
    ]
}

fn args(syscall: Option<&SyscallSeen>) -> Value {
    match syscall.and_then(|syscall| syscall.args) {
        Some(args) => Value::Array(
            args.iter()
                .map(|arg| Value::Text(format!("{arg:#x}")))
                .collect(),
        ),
        None => Value::None,
    }
}
