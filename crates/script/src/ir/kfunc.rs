//! Functions of the kernel that code calls by name (kfuncs).

/// The number in [`Op::Call`](super::Op::Call) of the first of [`NAMES`]; the others follow it.
pub const FIRST: u32 = 1 << 31;

/// `bpf_task_from_pid`: gives the thread of an id, which must be given back (Linux 6.2).
pub const TASK_FROM_PID: u32 = FIRST;
/// `bpf_task_release`: gives a thread back.
pub const TASK_RELEASE: u32 = FIRST + 1;

/// Gives the id of a thread's stack. No kernel has it: it is the interpreter's alone
/// ([`crate::interpret`]).
pub const TASK_STACK: u32 = u32::MAX;
/// Walks from a root, of a kind, and gives the number of the walk. The interpreter's alone.
pub const WALK: u32 = u32::MAX - 1;
/// Gives the next that a walk found, 0 behind the last. The interpreter's alone.
pub const WALK_NEXT: u32 = u32::MAX - 2;
/// Ends a walk, whether or not all that it found was asked for. The interpreter's alone.
pub const WALK_END: u32 = u32::MAX - 4;
/// Writes the path of a directory entry in a mount, or in its file system. The interpreter's alone.
pub const DENTRY_PATH: u32 = u32::MAX - 3;

/// Names of the functions, in the order of their numbers.
pub const NAMES: [&str; 2] = ["bpf_task_from_pid", "bpf_task_release"];

/// Gives the place in [`NAMES`] of what a call's number stands for; none for a helper.
#[must_use]
pub fn place(number: u32) -> Option<u32> {
    number
        .checked_sub(FIRST)
        .filter(|place| (*place as usize) < NAMES.len())
}
