//! The one door to the kernel, and the only crate with unsafe code.
//!
//! Every system call is a [`Call`] given to a [`Kernel`]; [`RealKernel`] performs it, and
//! `FakeKernel` (feature `fake`) lets a test answer in its place. Callers pass slices and borrowed
//! descriptors, and get owned ones back; addresses never leave this crate.

mod bpf;
mod call;
#[cfg(any(test, feature = "process"))]
mod child;
mod cpu;
mod errno;
#[cfg(any(test, feature = "fake"))]
mod fake;
mod file;
mod interrupt;
mod kernel;
#[cfg(feature = "machine")]
mod machine;
mod map_fd;
mod mapping;
mod mounts;
mod perf;
#[cfg(any(test, feature = "buffers"))]
mod perf_ring;
mod real;
mod ring;
mod token;
#[cfg(any(test, feature = "buffers"))]
mod user_ring;
mod values;

pub use bpf::{
    AttachTarget, Batch, BatchKind, BatchWrite, Bpf, BtfInfo, BtfLoad, IterOver, LinkCreate,
    LinkInfo, LinkTarget, MapCreate, MapInfo, Order, Peer, ProgramAttach, ProgramDetach,
    ProgramInfo, ProgramLoad, ProgramQuery, ProgramQueryOutcome, TestRun, TestRunOutcome,
};
#[cfg(feature = "inspect")]
pub use bpf::{LineRecord, ProgramImage};
pub use call::{Call, Clock, EpollEvents, FileIdentity, Reply, SocketPlace};
#[cfg(any(test, feature = "process"))]
pub use child::{Child, ExitKind, StoppedChild};
pub use cpu::{CpuSet, parse_cpu_list};
pub use errno::Errno;
#[cfg(any(test, feature = "fake"))]
pub use fake::{FakeCall, FakeKernel};
pub use file::FileBytes;
pub use interrupt::Interrupts;
pub use kernel::{Kernel, SharedKernel};
#[cfg(feature = "machine")]
pub use machine::{Machine, Restart, Space};
pub use map_fd::{MapFd, MapShape};
pub use mapping::{Mapping, MemoryRequest, page_size};
pub use mounts::mount_path;
pub use perf::{PerfEvent, PerfIoctl, PerfKind, PerfTarget, Sampling};
#[cfg(any(test, feature = "buffers"))]
pub use perf_ring::{PerfRecord, PerfRing};
pub use real::{RealKernel, real_kernel};
pub use ring::{RingConsumer, RingRound};
pub use token::{Delegated, TokenKernel};
#[cfg(any(test, feature = "buffers"))]
pub use user_ring::RingProducer;
pub use values::MapValues;
