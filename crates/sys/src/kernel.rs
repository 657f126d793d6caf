//! The door itself, and its typed handles.

use std::ffi::CStr;
use std::fmt;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::bpf::{
    Bpf, BtfInfo, BtfLoad, LinkCreate, MapCreate, ProgramInfo, ProgramLoad, TestRun, TestRunOutcome,
};
use crate::call::{Call, Clock, EpollEvents, FileIdentity, Reply};
use crate::errno::Errno;
use crate::map_fd::MapFd;
use crate::mapping::{Mapping, MemoryRequest};
use crate::perf::{PerfEvent, PerfIoctl};
use crate::token::Delegated;

/// A kernel that several owners call.
pub type SharedKernel = Arc<dyn Kernel>;

mod sealed {
    /// Keeps the trait to this crate: a third implementation could bind a map's descriptor to
    /// wrong sizes.
    pub trait Sealed {}
    impl Sealed for crate::real::RealKernel {}
    #[cfg(any(test, feature = "fake"))]
    impl Sealed for crate::fake::FakeKernel {}
    impl Sealed for crate::token::TokenKernel {}
}

/// Who answers system calls: the running kernel, or a test in its place.
pub trait Kernel: sealed::Sealed + Send + Sync {
    /// Performs one call.
    ///
    /// # Errors
    ///
    /// The error number that the kernel gave; `EINVAL` too where a buffer does not fit its map.
    fn call(&self, call: Call<'_>) -> Result<Reply, Errno>;

    /// Gives what the BPF token stands for that goes along with every call; none where none does.
    fn delegated(&self) -> Option<&Delegated> {
        None
    }
}

impl fmt::Debug for dyn Kernel + '_ {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Kernel")
    }
}

macro_rules! answer {
    ($reply:expr, $kind:ident) => {
        match $reply {
            Ok(Reply::$kind(value)) => Ok(value),
            Ok(_) => Err(Errno::IO),
            Err(errno) => Err(errno),
        }
    };
}

mod link;
mod map;
#[cfg(feature = "inspect")]
mod program;

/// Narrows an id or count that the kernel gave.
fn narrow(number: u64) -> Result<u32, Errno> {
    u32::try_from(number).map_err(|_| Errno::IO)
}

#[allow(
    clippy::missing_errors_doc,
    reason = "each gives the error number of the call it names"
)]
impl dyn Kernel + '_ {
    fn done(&self, call: Call<'_>) -> Result<(), Errno> {
        self.call(call).map(drop)
    }

    fn fd(&self, call: Call<'_>) -> Result<OwnedFd, Errno> {
        answer!(self.call(call), Fd)
    }

    /// Creates a BPF map.
    pub fn map_create(&self, map: MapCreate<'_>) -> Result<MapFd, Errno> {
        answer!(self.call(Call::Bpf(Bpf::MapCreate(map))), Map)
    }

    /// Looks up a key; `value` must be [`MapFd::transfer_size`] long.
    pub fn map_lookup(&self, map: &MapFd, key: &[u8], value: &mut [u8]) -> Result<(), Errno> {
        self.done(Call::Bpf(Bpf::MapLookup { map, key, value }))
    }

    /// Writes a value.
    pub fn map_update(
        &self,
        map: &MapFd,
        key: &[u8],
        value: &[u8],
        flags: u64,
    ) -> Result<(), Errno> {
        self.done(Call::Bpf(Bpf::MapUpdate {
            map,
            key,
            value,
            flags,
        }))
    }

    /// Writes a descriptor into a map of programs or perf events.
    pub fn map_update_fd(
        &self,
        map: &MapFd,
        key: &[u8],
        value: BorrowedFd<'_>,
    ) -> Result<(), Errno> {
        self.done(Call::Bpf(Bpf::MapUpdateFd { map, key, value }))
    }

    /// Deletes a key.
    pub fn map_delete(&self, map: &MapFd, key: &[u8]) -> Result<(), Errno> {
        self.done(Call::Bpf(Bpf::MapDelete { map, key }))
    }

    /// Finds the key after `key`, or the first.
    pub fn map_next_key(
        &self,
        map: &MapFd,
        key: Option<&[u8]>,
        next: &mut [u8],
    ) -> Result<(), Errno> {
        self.done(Call::Bpf(Bpf::MapNextKey { map, key, next }))
    }

    /// Makes a map read-only for system calls, for good.
    pub fn map_freeze(&self, map: &MapFd) -> Result<(), Errno> {
        self.done(Call::Bpf(Bpf::MapFreeze { map }))
    }

    /// Loads a program.
    pub fn program_load(&self, load: ProgramLoad<'_>) -> Result<OwnedFd, Errno> {
        self.fd(Call::Bpf(Bpf::ProgramLoad(load)))
    }

    /// Finds the BTF after this id; `ENOENT` at the end.
    pub fn btf_next_id(&self, after: u32) -> Result<u32, Errno> {
        let id = answer!(self.call(Call::Bpf(Bpf::BtfNextId { after })), Number)?;
        u32::try_from(id).map_err(|_| Errno::IO)
    }

    /// Opens a BTF by id.
    pub fn btf_by_id(&self, id: u32) -> Result<OwnedFd, Errno> {
        self.fd(Call::Bpf(Bpf::BtfById { id }))
    }

    /// Describes a BTF; its name (with a NUL) and its bytes go where there is room for them.
    pub fn btf_info(
        &self,
        btf: BorrowedFd<'_>,
        name: &mut [u8],
        blob: &mut [u8],
    ) -> Result<BtfInfo, Errno> {
        answer!(self.call(Call::Bpf(Bpf::BtfInfo { btf, name, blob })), Btf)
    }

    /// Runs a program once or more without its attach point.
    pub fn test_run(&self, run: TestRun<'_>) -> Result<TestRunOutcome, Errno> {
        answer!(self.call(Call::Bpf(Bpf::TestRun(run))), TestRun)
    }

    /// Describes a loaded program.
    pub fn program_info(&self, program: BorrowedFd<'_>) -> Result<ProgramInfo, Errno> {
        let mut bytes = [0; ProgramInfo::SIZE];
        self.done(Call::Bpf(Bpf::ProgramInfo {
            program,
            into: &mut bytes,
        }))?;
        Ok(ProgramInfo::decode(&bytes))
    }

    /// Finds the loaded program with the next larger id; `ENOENT` at the end.
    pub fn program_next_id(&self, after: u32) -> Result<u32, Errno> {
        let id = answer!(self.call(Call::Bpf(Bpf::ProgramNextId { after })), Number)?;
        u32::try_from(id).map_err(|_| Errno::IO)
    }

    /// Opens a loaded program by its id.
    pub fn program_by_id(&self, id: u32) -> Result<OwnedFd, Errno> {
        self.fd(Call::Bpf(Bpf::ProgramById { id }))
    }

    /// Attaches a raw tracepoint by name, or a BTF-typed program where it was loaded for.
    pub fn raw_tracepoint_open(
        &self,
        program: BorrowedFd<'_>,
        name: Option<&CStr>,
        cookie: u64,
    ) -> Result<OwnedFd, Errno> {
        self.fd(Call::Bpf(Bpf::RawTracepointOpen {
            program,
            name,
            cookie,
        }))
    }

    /// Loads a BTF blob.
    pub fn btf_load(&self, load: BtfLoad<'_>) -> Result<OwnedFd, Errno> {
        self.fd(Call::Bpf(Bpf::BtfLoad(load)))
    }

    /// Creates a link.
    pub fn link_create(&self, link: LinkCreate<'_>) -> Result<OwnedFd, Errno> {
        self.fd(Call::Bpf(Bpf::LinkCreate(link)))
    }

    /// Makes a readable file of an iterator link.
    pub fn iter_create(&self, link: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
        self.fd(Call::Bpf(Bpf::IterCreate { link }))
    }

    /// Opens a directory.
    pub fn open_directory(&self, path: &Path) -> Result<OwnedFd, Errno> {
        self.fd(Call::OpenDirectory(path))
    }

    /// Opens a file that the kernel writes into; reading it gives `EAGAIN` where nothing is there.
    pub fn open_stream(&self, path: &Path) -> Result<OwnedFd, Errno> {
        self.fd(Call::OpenStream(path))
    }

    /// Makes a token of a BPF file system that delegates something.
    pub fn token_create(&self, bpffs: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
        let bpffs = Some(bpffs);
        self.fd(Call::Bpf(Bpf::TokenCreate { bpffs }))
    }

    /// Asks for a token of no file system at all: a kernel that knows tokens refuses the
    /// descriptor (`EBADF`), another the command (`EINVAL`).
    pub fn token_create_of_nothing(&self) -> Result<OwnedFd, Errno> {
        self.fd(Call::Bpf(Bpf::TokenCreate { bpffs: None }))
    }

    /// Counts run time of all programs while the descriptor lives.
    pub fn enable_stats(&self) -> Result<OwnedFd, Errno> {
        self.fd(Call::Bpf(Bpf::EnableStats))
    }

    /// Opens a perf event.
    pub fn perf_event_open(&self, event: PerfEvent<'_>) -> Result<OwnedFd, Errno> {
        self.fd(Call::PerfEventOpen(event))
    }

    /// Performs an ioctl on a perf event.
    pub fn perf_ioctl(&self, event: BorrowedFd<'_>, ioctl: PerfIoctl<'_>) -> Result<(), Errno> {
        self.done(Call::PerfIoctl(event, ioctl))
    }

    /// Maps memory of a descriptor.
    pub fn mmap(&self, request: MemoryRequest<'_>) -> Result<Mapping, Errno> {
        answer!(self.call(Call::Mmap(request)), Mapping)
    }

    /// Creates an epoll descriptor.
    pub fn epoll_create(&self) -> Result<OwnedFd, Errno> {
        self.fd(Call::EpollCreate)
    }

    /// Watches a descriptor for being readable.
    pub fn epoll_add(
        &self,
        epoll: BorrowedFd<'_>,
        fd: BorrowedFd<'_>,
        token: u64,
    ) -> Result<(), Errno> {
        self.done(Call::EpollAdd { epoll, fd, token })
    }

    /// Waits for a watched descriptor; no tokens at time-out, `EINTR` after a signal.
    pub fn epoll_wait(
        &self,
        epoll: BorrowedFd<'_>,
        timeout: Option<Duration>,
    ) -> Result<EpollEvents, Errno> {
        answer!(self.call(Call::EpollWait { epoll, timeout }), Tokens)
    }

    /// Creates an event counter to wake a waiting thread with.
    pub fn eventfd(&self) -> Result<OwnedFd, Errno> {
        self.fd(Call::EventFd)
    }

    /// Creates an empty file in memory; the name is for people alone.
    pub fn memory_file(&self, name: &CStr) -> Result<OwnedFd, Errno> {
        self.fd(Call::MemoryFile(name))
    }

    /// Reads from a descriptor; 0 is the end.
    pub fn read(&self, fd: BorrowedFd<'_>, into: &mut [u8]) -> Result<usize, Errno> {
        let count = answer!(self.call(Call::Read { fd, into }), Number)?;
        usize::try_from(count).map_err(|_| Errno::IO)
    }

    /// Writes to a descriptor; gives how many bytes were taken.
    pub fn write(&self, fd: BorrowedFd<'_>, bytes: &[u8]) -> Result<usize, Errno> {
        let count = answer!(self.call(Call::Write { fd, bytes }), Number)?;
        usize::try_from(count).map_err(|_| Errno::IO)
    }

    /// Reads a small file whole.
    pub fn read_file(&self, path: &Path) -> Result<Vec<u8>, Errno> {
        answer!(self.call(Call::ReadFile(path)), Bytes)
    }

    /// Tells which file a path names.
    pub fn identity(&self, path: &Path) -> Result<FileIdentity, Errno> {
        answer!(self.call(Call::Identity(path)), Identity)
    }

    /// Mounts a kernel file system.
    pub fn mount(&self, kind: &str, target: &Path) -> Result<(), Errno> {
        self.done(Call::Mount { kind, target })
    }

    /// Reads a small file of a kernel file system such as `securityfs`, wherever that is mounted
    /// or not.
    #[cfg(feature = "detached")]
    pub fn read_detached(&self, kind: &str, file: &str) -> Result<Vec<u8>, Errno> {
        answer!(self.call(Call::ReadDetached { kind, file }), Bytes)
    }

    /// Lifts the limit on locked memory, which kernels before 5.11 charge maps to.
    pub fn raise_memlock(&self) -> Result<(), Errno> {
        self.done(Call::RaiseMemlock)
    }

    /// Gives the limit on locked memory in bytes; `u64::MAX` is none.
    pub fn memlock(&self) -> Result<u64, Errno> {
        answer!(self.call(Call::Memlock), Number)
    }

    /// Gives the effective capabilities as a bit mask.
    pub fn capabilities(&self) -> Result<u64, Errno> {
        answer!(self.call(Call::Capabilities), Number)
    }

    /// Reads a clock, in nanoseconds.
    pub fn clock(&self, clock: Clock) -> Result<u64, Errno> {
        answer!(self.call(Call::Clock(clock)), Number)
    }

    /// Tells on which CPU the caller runs.
    pub fn current_cpu(&self) -> Result<u32, Errno> {
        let cpu = answer!(self.call(Call::CurrentCpu), Number)?;
        u32::try_from(cpu).map_err(|_| Errno::IO)
    }

    /// Binds the calling thread to one CPU.
    pub fn pin_to_cpu(&self, cpu: u32) -> Result<(), Errno> {
        self.done(Call::PinToCpu(cpu))
    }

    /// Lists the CPUs that the calling thread may run on.
    pub fn affinity(&self) -> Result<Vec<u32>, Errno> {
        answer!(self.call(Call::Affinity), Cpus)
    }
}
