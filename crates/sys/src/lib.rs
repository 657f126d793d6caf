//! The one door to the kernel, and the only crate with unsafe code.
//!
//! Every system call is a [`Call`] given to a [`Kernel`]; [`RealKernel`] performs it, and
//! [`FakeKernel`] lets a test answer in its place. Callers pass slices and borrowed descriptors,
//! and get owned ones back; addresses never leave this crate.

mod bpf;
mod call;
mod child;
mod cpu;
mod errno;
mod fake;
mod file;
mod interrupt;
mod kernel;
mod map_fd;
mod mapping;
mod perf;
mod perf_ring;
mod real;
mod ring;
mod token;
mod user_ring;
mod values;

pub use bpf::{
    AttachTarget, Batch, BatchKind, BatchWrite, Bpf, BtfInfo, BtfLoad, IterOver, LinkCreate,
    LinkInfo, LinkTarget, MapCreate, MapInfo, Order, Peer, ProgramAttach, ProgramDetach,
    ProgramInfo, ProgramLoad, ProgramQuery, ProgramQueryOutcome, TestRun, TestRunOutcome,
};
pub use bpf::{LineRecord, ProgramImage};
pub use call::{Call, Clock, EpollEvents, FileIdentity, Reply, SocketPlace};
pub use child::{Child, ExitKind, StoppedChild};
pub use cpu::{CpuSet, parse_cpu_list};
pub use errno::Errno;
pub use fake::{FakeCall, FakeKernel};
pub use file::FileBytes;
pub use interrupt::Interrupts;
pub use kernel::{Kernel, SharedKernel};
pub use map_fd::{MapFd, MapShape};
pub use mapping::{Mapping, MemoryRequest, page_size};
pub use perf::{PerfEvent, PerfIoctl, PerfKind, PerfTarget, Sampling};
pub use perf_ring::{PerfRecord, PerfRing};
pub use real::{RealKernel, real_kernel};
pub use ring::{RingConsumer, RingRound};
pub use token::{Delegated, TokenKernel};
pub use user_ring::RingProducer;
pub use values::MapValues;
