//! What the tasks of a kernel are at, wherever that was learnt: the one form for a live kernel, a
//! dump and a log.

mod group;
mod line;
mod log;

use std::cmp::Reverse;

pub use group::{TaskGroup, group_tasks};
pub use log::{LogReport, ReportKind, SnapshotLog, read_log};

use crate::Frame;

/// A task as it was seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TaskSeen {
    /// The number of the thread; none where only its CPU is known.
    pub pid: Option<u32>,
    /// The number of the process.
    pub tgid: Option<u32>,
    /// The number of the process's parent.
    pub ppid: Option<u32>,
    /// Its name, 15 bytes at most for threads of programs.
    pub comm: String,
    /// The letter that `ps` shows for its state.
    pub state: char,
    /// The CPU that it ran on just then.
    pub cpu: Option<u32>,
    /// Whether it belongs to the kernel, where that is known.
    pub kernel_thread: Option<bool>,
    /// How long it has been off its CPU.
    pub off_cpu: Option<Age>,
    /// The kernel's frames, innermost first, without those that the kernel itself does not trust.
    pub frames: Vec<Frame>,
    /// Whether the stack is whole.
    pub stack: StackState,
    /// Whether it did not leave that stack while all tasks were looked at.
    pub stable: Option<bool>,
    /// The system call that it is in.
    pub syscall: Option<SyscallSeen>,
    /// What a worker of the kernel works at.
    pub work: Option<String>,
    /// Which lock it waits for, and who has it.
    pub lock: Option<LockSeen>,
}

/// How long something lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Age {
    /// Nanoseconds.
    pub nanoseconds: u64,
    /// Whether it may be more.
    pub at_least: bool,
}

/// What is known of a stack.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum StackState {
    /// It goes down to its first frame.
    Whole,
    /// It ends early, for this reason.
    Cut(String),
    /// The task was in its program, not in the kernel.
    User,
    /// There is none, for this reason.
    None(String),
    /// Nothing was said.
    #[default]
    Unknown,
}

/// A system call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SyscallSeen {
    /// Its number on the kernel's machine.
    pub number: u64,
    /// Its six arguments, where all are known.
    pub args: Option<[u64; 6]>,
}

/// A lock that a task waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockSeen {
    /// What kind it is, as the kernel calls it: `mutex`, `rw-semaphore (writer)`.
    pub kind: String,
    /// Its address.
    pub address: Option<u64>,
    /// The name and number of the thread that has it.
    pub holder: Option<(String, u32)>,
    /// Whether that thread is only the last known to have had it.
    pub perhaps: bool,
}

impl TaskSeen {
    /// Tells whether it waits and cannot be interrupted.
    #[must_use]
    pub fn is_blocked(&self) -> bool {
        self.state == 'D'
    }

    /// Tells whether it has nothing to do: a CPU's idle task, or a thread of the kernel that sleeps
    /// until there is work.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        let sleeps = self.state == 'S' && self.kernel_thread == Some(true);
        self.state == 'I' || self.pid == Some(0) || sleeps || self.is_parked()
    }

    fn is_parked(&self) -> bool {
        self.state == 'P'
    }

    /// What it is sorted by: the worst first.
    fn rank(&self) -> (u8, Reverse<u64>) {
        let age = self.off_cpu.map_or(0, |age| age.nanoseconds);
        match self.state {
            _ if self.is_idle() => (4, Reverse(0)),
            'D' => (0, Reverse(age)),
            'R' => (1, Reverse(0)),
            'S' => (3, Reverse(0)),
            _ => (2, Reverse(0)),
        }
    }
}
