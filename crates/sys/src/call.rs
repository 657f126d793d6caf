//! What can be asked of the kernel, as one enum, and what it answers.

use std::ffi::CStr;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use crate::bpf::{Bpf, BtfInfo, ProgramQueryOutcome, TestRunOutcome};
#[cfg(feature = "machine")]
use crate::machine::{Machine, Space};
use crate::map_fd::MapFd;
use crate::mapping::{Mapping, MemoryRequest};
use crate::perf::{PerfEvent, PerfIoctl};

/// One request to the kernel.
#[derive(Debug)]
pub enum Call<'a> {
    /// bpf(2).
    Bpf(Bpf<'a>),
    /// perf_event_open(2). Answer: [`Reply::Fd`].
    PerfEventOpen(PerfEvent<'a>),
    /// ioctl(2) on a perf event. Answer: [`Reply::Done`].
    PerfIoctl(BorrowedFd<'a>, PerfIoctl<'a>),
    /// mmap(2) of a descriptor, shared. Answer: [`Reply::Mapping`].
    Mmap(MemoryRequest<'a>),
    /// epoll_create1(2). Answer: [`Reply::Fd`].
    EpollCreate,
    /// epoll_ctl(2): waits for `fd` to be readable, under `token`. Answer: [`Reply::Done`].
    EpollAdd {
        /// The epoll descriptor.
        epoll: BorrowedFd<'a>,
        /// The descriptor to watch.
        fd: BorrowedFd<'a>,
        /// Number that [`Call::EpollWait`] gives back.
        token: u64,
    },
    /// epoll_wait(2). Answer: [`Reply::Tokens`], empty at time-out.
    EpollWait {
        /// The epoll descriptor.
        epoll: BorrowedFd<'a>,
        /// How long to wait; `None` waits for ever.
        timeout: Option<Duration>,
    },
    /// eventfd(2), non-blocking. Answer: [`Reply::Fd`].
    EventFd,
    /// memfd_create(2): an empty file that has no name. Answer: [`Reply::Fd`].
    MemoryFile(&'a CStr),
    /// read(2). Answer: [`Reply::Number`], the number of bytes.
    Read {
        /// What to read from.
        fd: BorrowedFd<'a>,
        /// Where the bytes go.
        into: &'a mut [u8],
    },
    /// write(2). Answer: [`Reply::Number`], the number of bytes.
    Write {
        /// What to write to.
        fd: BorrowedFd<'a>,
        /// The bytes.
        bytes: &'a [u8],
    },
    /// setsockopt(2) of a program on a socket. Answer: [`Reply::Done`].
    SocketProgram {
        /// The socket.
        socket: BorrowedFd<'a>,
        /// Which of a socket's programs.
        place: SocketPlace,
        /// The program; `None` takes it away.
        program: Option<BorrowedFd<'a>>,
    },
    /// Sends one request of rtnetlink(7) and reads the answer to its end. Answer: [`Reply::Bytes`],
    /// all messages; the kernel's verdict is the last.
    Netlink(&'a [u8]),
    /// if_nametoindex(3). Answer: [`Reply::Number`].
    InterfaceIndex(&'a CStr),
    /// Reads a whole small file, for example in sysfs. Answer: [`Reply::Bytes`].
    ReadFile(&'a Path),
    /// Opens a directory, for what takes one as a descriptor. Answer: [`Reply::Fd`].
    OpenDirectory(&'a Path),
    /// Opens a file to read what the kernel writes into it as it comes; reading does not wait.
    /// Answer: [`Reply::Fd`].
    OpenStream(&'a Path),
    /// Maps a whole file of sysfs read-only. Answer: [`Reply::Mapping`]; `ENODEV` or `EINVAL`
    /// where it cannot be mapped.
    MapFile(&'a Path),
    /// stat(2). Answer: [`Reply::Identity`].
    Identity(&'a Path),
    /// Mounts a kernel file system such as `tracefs` on `target`. Answer: [`Reply::Done`].
    Mount {
        /// File system type.
        kind: &'a str,
        /// Directory to mount on.
        target: &'a Path,
    },
    /// Reads a file of a kernel file system by a mount that nobody else sees. Answer:
    /// [`Reply::Bytes`].
    #[cfg(feature = "detached")]
    ReadDetached {
        /// File system type.
        kind: &'a str,
        /// The file's path below the root.
        file: &'a str,
    },
    /// What a machine's start and end need.
    #[cfg(feature = "machine")]
    Machine(Machine<'a>),
    /// Raises RLIMIT_MEMLOCK to infinity (kernels before 5.11 charge maps to it). Answer:
    /// [`Reply::Done`].
    RaiseMemlock,
    /// Reads RLIMIT_MEMLOCK's soft limit in bytes. Answer: [`Reply::Number`]; `u64::MAX` is none.
    Memlock,
    /// capget(2). Answer: [`Reply::Number`], the effective set as a bit mask.
    Capabilities,
    /// clock_gettime(2). Answer: [`Reply::Number`], nanoseconds.
    Clock(Clock),
    /// sched_getcpu(3). Answer: [`Reply::Number`].
    CurrentCpu,
    /// sched_setaffinity(2) of the calling thread to one CPU. Answer: [`Reply::Done`].
    PinToCpu(u32),
    /// sched_getaffinity(2) of the calling thread. Answer: [`Reply::Cpus`].
    Affinity,
}

impl Call<'_> {
    /// Names the system call as the manual does.
    pub fn name(&self) -> &'static str {
        match self {
            Call::Bpf(bpf) => bpf.name(),
            Call::PerfEventOpen(_) => "perf_event_open",
            Call::PerfIoctl(..) => "ioctl",
            Call::Mmap(_) | Call::MapFile(_) => "mmap",
            Call::EpollCreate => "epoll_create1",
            Call::EpollAdd { .. } => "epoll_ctl",
            Call::EpollWait { .. } => "epoll_wait",
            Call::EventFd => "eventfd",
            Call::MemoryFile(_) => "memfd_create",
            Call::Read { .. } | Call::ReadFile(_) => "read",
            Call::Write { .. } => "write",
            Call::SocketProgram { .. } => "setsockopt",
            Call::Netlink(_) => "netlink",
            Call::InterfaceIndex(_) => "if_nametoindex",
            Call::OpenDirectory(_) | Call::OpenStream(_) => "open",
            Call::Identity(_) => "stat",
            Call::Mount { .. } => "mount",
            #[cfg(feature = "detached")]
            Call::ReadDetached { .. } => "fsmount",
            #[cfg(feature = "machine")]
            Call::Machine(machine) => machine.name(),
            Call::RaiseMemlock => "setrlimit",
            Call::Memlock => "getrlimit",
            Call::Capabilities => "capget",
            Call::Clock(_) => "clock_gettime",
            Call::CurrentCpu => "getcpu",
            Call::PinToCpu(_) => "sched_setaffinity",
            Call::Affinity => "sched_getaffinity",
        }
    }
}

/// What the kernel answered; which form each [`Call`] gets is said there.
#[derive(Debug)]
#[non_exhaustive]
pub enum Reply {
    /// Success without a value.
    Done,
    /// A new descriptor.
    Fd(OwnedFd),
    /// A new map.
    Map(MapFd),
    /// A number.
    Number(u64),
    /// Bytes.
    Bytes(Vec<u8>),
    /// Entries read by a batch.
    Batch {
        /// How many.
        count: u32,
        /// Whether nothing follows them.
        ended: bool,
    },
    /// Mapped memory.
    Mapping(Mapping),
    /// Tokens of the descriptors that are ready.
    Tokens(EpollEvents),
    /// CPU numbers, ascending.
    Cpus(Vec<u32>),
    /// Which file a path names.
    Identity(FileIdentity),
    /// What a hook holds.
    Query(ProgramQueryOutcome),
    /// Outcome of a program's test run.
    TestRun(TestRunOutcome),
    /// What a BTF is.
    Btf(BtfInfo),
    /// Room in a file system.
    #[cfg(feature = "machine")]
    Space(Space),
}

/// Up to 16 tokens of ready descriptors.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EpollEvents {
    tokens: [u64; 16],
    count: usize,
}

impl EpollEvents {
    /// Adds a token; more than 16 are dropped and come again at the next wait.
    pub fn push(&mut self, token: u64) {
        if let Some(slot) = self.tokens.get_mut(self.count) {
            *slot = token;
            self.count += 1;
        }
    }

    /// Gives the tokens.
    pub fn tokens(&self) -> &[u64] {
        self.tokens.get(..self.count).unwrap_or_default()
    }
}

/// Which of a socket's programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SocketPlace {
    /// The filter of what comes in (`SO_ATTACH_BPF`).
    Filter,
    /// The choice among sockets that share an address (`SO_ATTACH_REUSEPORT_EBPF`).
    Reuseport,
}

/// Clocks of clock_gettime(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Clock {
    /// Wall-clock time since 1970.
    Realtime,
    /// What `bpf_ktime_get_ns` reads; stands still in suspend.
    Monotonic,
    /// What `bpf_ktime_get_boot_ns` reads.
    Boottime,
    /// What `bpf_ktime_get_tai_ns` reads.
    Tai,
    /// CPU time of this process.
    ProcessCpu,
}

/// Device and inode of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FileIdentity {
    /// Major number of the device.
    pub major: u32,
    /// Minor number of the device.
    pub minor: u32,
    /// Inode number.
    pub inode: u64,
}

impl FileIdentity {
    /// Gives the device as the kernel itself encodes it (`dev_t`: 12 bits major, 20 bits minor).
    pub fn kernel_dev(self) -> u64 {
        (u64::from(self.major) << 20) | u64::from(self.minor & 0xf_ffff)
    }
}
