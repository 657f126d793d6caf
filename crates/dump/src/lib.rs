//! Crash dumps read with no debuginfo.
//!
//! A [`Dump`] is physical memory, whatever the format. A [`Kernel`] is what is in it: virtual
//! memory through its page tables, symbols and types out of its own image, tasks, the log, stacks.
//! [`save()`] writes a dump again, with what is not wanted left out.
//! Whatever cannot be read is a value that says why.

#[cfg(doctest)]
#[doc = include_str!("../../../docs/dump.md")]
struct Document;

mod bytes;
mod cache;
mod dump;
mod error;
mod facts;
mod format;
mod interval;
mod pages;
mod state;
mod unwind;
mod walk;
mod write;

pub use bytes::{Bytes, FileBytes};
pub use dump::{Coverage, Dump, DumpFormat, DumpOptions, MissingReads};
pub use error::Error;
pub use facts::kallsyms::AddressEncoding;
pub use facts::kernel::Kernel;
pub use facts::log::{LogCaller, LogLine};
pub use facts::module::Module;
pub use facts::source::RunningKernel;
pub use facts::task::{OnCpu, Task, TaskNow, state_letter};
pub use facts::time::KernelTime;
pub use facts::vmcoreinfo::{Vmcoreinfo, VmcoreinfoFrom};
pub use facts::x86_64::Registers;
pub use state::{
    BlockRequest, BlockState, DelayedWork, Disk, Lock, LockKind, LockOwner, LockState, LockWait,
    MemoryFigure, MemoryUnit, MemoryZone, Partly, PendingWhy, PendingWork, ProcessMemory,
    RequestState, RunningWork, SlabCache, Ticks, Unread, WorkPool, WorkState, Workqueue,
};
pub use unwind::{Frame, FrameFrom, OrcVersion, Stack, StackEnd, Unwinder};
pub use walk::Walked;
pub use write::{
    Compression, DumpLevel, PageKind, SaveError, SaveOptions, SaveOutput, SaveProgress, SaveStep,
    SaveSummary, SaveWatch, Unfinished, save,
};
