//! What the kernel was at: its memory, its caches, who waits for whom, works, requests.

mod block;
mod lock;
mod memory;
mod slab;
mod ticks;
mod unread;
mod workqueue;
mod zone;

pub use block::{BlockRequest, BlockState, Disk, RequestState};
pub use lock::{Lock, LockKind, LockOwner, LockState, LockWait};
pub use memory::{MemoryFigure, MemoryUnit, ProcessMemory};
pub use slab::SlabCache;
pub use ticks::Ticks;
pub use unread::{Partly, Unread};
pub use workqueue::{
    DelayedWork, PendingWhy, PendingWork, RunningWork, WorkPool, WorkState, Workqueue,
};
pub use zone::MemoryZone;
