//! The running kernel.

#[cfg(feature = "detached")]
mod detached;
#[cfg(feature = "machine")]
mod machine;
mod net;
mod object;

use std::ffi::CString;
use std::fs::File;
use std::io::Read as _;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt as _};
use std::path::Path;
use std::ptr::{self, NonNull};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::bpf::{Attr, Bpf, BtfInfo, ProgramQuery, TestRunOutcome};
use crate::call::{Call, Clock, EpollEvents, FileIdentity, Reply};
use crate::cpu::CpuSet;
use crate::errno::Errno;
use crate::interrupt;
use crate::kernel::{Kernel, SharedKernel};
use crate::map_fd::MapFd;
use crate::mapping::{Mapping, MemoryRequest};
use crate::perf::{PerfEvent, PerfIoctl};

/// The kernel that this process runs on.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealKernel;

/// Gives the running kernel to share.
pub fn real_kernel() -> SharedKernel {
    Arc::new(RealKernel)
}

/// Files read by [`Call::ReadFile`] end here; the largest wanted ones are BTF and kallsyms.
const LARGEST_FILE: u64 = 1 << 30;

impl Kernel for RealKernel {
    fn call(&self, call: Call<'_>) -> Result<Reply, Errno> {
        match call {
            Call::Bpf(bpf) => run_bpf(bpf),
            Call::PerfEventOpen(event) => perf_event_open(&event).map(Reply::Fd),
            Call::PerfIoctl(event, ioctl) => perf_ioctl(event, ioctl),
            Call::Mmap(request) => map_shared(&request).map(Reply::Mapping),
            Call::MapFile(path) => map_file(path).map(Reply::Mapping),
            Call::EpollCreate => {
                // SAFETY: takes no pointers.
                new_fd(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) }.into()).map(Reply::Fd)
            }
            Call::EpollAdd { epoll, fd, token } => epoll_add(epoll, fd, token),
            Call::EpollWait { epoll, timeout } => epoll_wait(epoll, timeout).map(Reply::Tokens),
            Call::EventFd => {
                // SAFETY: takes no pointers.
                let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
                new_fd(fd.into()).map(Reply::Fd)
            }
            Call::MemoryFile(name) => {
                // SAFETY: the name ends with its NUL, and the kernel copies it.
                let fd = unsafe { libc::memfd_create(name.as_ptr(), libc::MFD_CLOEXEC) };
                new_fd(fd.into()).map(Reply::Fd)
            }
            Call::Read { fd, into } => {
                // SAFETY: the kernel writes at most `into.len()` bytes to a live mutable slice.
                let count =
                    unsafe { libc::read(fd.as_raw_fd(), into.as_mut_ptr().cast(), into.len()) };
                number(count as i64)
            }
            Call::Write { fd, bytes } => {
                // SAFETY: the kernel reads at most `bytes.len()` bytes of a live slice.
                let count =
                    unsafe { libc::write(fd.as_raw_fd(), bytes.as_ptr().cast(), bytes.len()) };
                number(count as i64)
            }
            Call::SocketProgram {
                socket,
                place,
                program,
            } => net::socket_program(socket, place, program),
            Call::Netlink(request) => net::netlink(request).map(Reply::Bytes),
            Call::InterfaceIndex(name) => {
                // SAFETY: reads a C string that lives through the call.
                match unsafe { libc::if_nametoindex(name.as_ptr()) } {
                    0 => Err(Errno::last()),
                    index => Ok(Reply::Number(index.into())),
                }
            }
            Call::ReadFile(path) => read_file(path).map(Reply::Bytes),
            Call::OpenDirectory(path) => {
                // Opened as what it is not, a pipe would wait for somebody who writes.
                let mut directory = File::options();
                directory.read(true).custom_flags(libc::O_DIRECTORY);
                let opened = directory.open(path).map_err(|e| Errno::from_io(&e))?;
                Ok(Reply::Fd(opened.into()))
            }
            Call::OpenStream(path) => {
                let mut stream = File::options();
                stream.read(true).custom_flags(libc::O_NONBLOCK);
                let opened = stream.open(path).map_err(|e| Errno::from_io(&e))?;
                Ok(Reply::Fd(opened.into()))
            }
            Call::Identity(path) => {
                let meta = std::fs::metadata(path).map_err(|e| Errno::from_io(&e))?;
                let dev = meta.dev();
                Ok(Reply::Identity(FileIdentity {
                    major: libc::major(dev),
                    minor: libc::minor(dev),
                    inode: meta.ino(),
                }))
            }
            Call::Mount { kind, target } => mount(kind, target),
            #[cfg(feature = "detached")]
            Call::ReadDetached { kind, file } => detached::read(kind, file).map(Reply::Bytes),
            #[cfg(feature = "machine")]
            Call::Machine(call) => machine::run(&call),
            Call::RaiseMemlock => {
                let limit = libc::rlimit {
                    rlim_cur: libc::RLIM_INFINITY,
                    rlim_max: libc::RLIM_INFINITY,
                };
                // SAFETY: the kernel reads one rlimit that lives through the call.
                done(unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, &raw const limit) })
            }
            Call::Memlock => {
                let mut limit = libc::rlimit {
                    rlim_cur: 0,
                    rlim_max: 0,
                };
                // SAFETY: the kernel writes one rlimit that lives through the call.
                done(unsafe { libc::getrlimit(libc::RLIMIT_MEMLOCK, &raw mut limit) })?;
                Ok(Reply::Number(limit.rlim_cur))
            }
            Call::Capabilities => capabilities().map(Reply::Number),
            Call::Clock(clock) => read_clock(clock).map(Reply::Number),
            Call::CurrentCpu => {
                // SAFETY: takes no pointers.
                number(i64::from(unsafe { libc::sched_getcpu() }))
            }
            Call::PinToCpu(cpu) => pin_to_cpu(cpu),
            Call::Affinity => affinity().map(Reply::Cpus),
        }
    }
}

fn new_fd(raw: i64) -> Result<OwnedFd, Errno> {
    let raw = i32::try_from(raw).map_err(|_| Errno::IO)?;
    if raw < 0 {
        return Err(Errno::last());
    }
    // SAFETY: a system call just gave this descriptor to us alone.
    Ok(unsafe { OwnedFd::from_raw_fd(raw) })
}

fn number(value: i64) -> Result<Reply, Errno> {
    u64::try_from(value)
        .map(Reply::Number)
        .map_err(|_| Errno::last())
}

fn done(value: i32) -> Result<Reply, Errno> {
    if value < 0 {
        Err(Errno::last())
    } else {
        Ok(Reply::Done)
    }
}

/// Number of possible CPUs, which per-CPU lookups write a value for each of. Read once: it cannot
/// change while the kernel runs.
fn possible_cpus() -> Result<usize, Errno> {
    static COUNT: OnceLock<usize> = OnceLock::new();
    if let Some(&count) = COUNT.get() {
        return Ok(count);
    }
    let kernel: &dyn Kernel = &RealKernel;
    let count = kernel.cpus(CpuSet::Possible)?.len();
    Ok(*COUNT.get_or_init(|| count))
}

/// `BPF_PROG_LOAD`
const PROG_LOAD: u32 = 5;

/// Times a call is made again after `EAGAIN`, which bpf(2) gives when a signal came in between.
const RETRIES: usize = 5;

fn bpf(attr: &mut Attr) -> Result<i64, Errno> {
    for attempt in 0.. {
        // SAFETY: the attribute is as long as said and aligned; every address in it points to a
        // slice that `Bpf` borrows, or to what the attribute holds, so that all outlive the call;
        // `Bpf::attr` checked each length against what this command reads or writes.
        let value = unsafe {
            libc::syscall(
                libc::SYS_bpf,
                attr.command,
                attr.words.as_mut_ptr(),
                attr.size,
            )
        };
        if value >= 0 {
            return Ok(value);
        }
        let errno = Errno::last();
        // The verifier stops for a signal; where that is the wish to end, it does not start again.
        let ended = attr.command == PROG_LOAD && interrupt::is_interrupted();
        if errno != Errno::AGAIN || attempt >= RETRIES || ended {
            return Err(errno);
        }
    }
    Err(Errno::AGAIN)
}

fn run_bpf(mut call: Bpf<'_>) -> Result<Reply, Errno> {
    call = match call {
        Bpf::MapAdopt { fd } => return object::adopt(fd).map(Reply::Map),
        Bpf::LinkInfo { link, into, text } => {
            return object::link_info(link, into, text).map(|()| Reply::Done);
        }
        #[cfg(feature = "inspect")]
        Bpf::ProgramImage { program, into } => {
            return object::program_image(program, into).map(|()| Reply::Done);
        }
        other => other,
    };
    if let Bpf::BtfInfo { btf, .. } = &call {
        object::must_be(*btf, &["anon_inode:btf"])?;
    }
    // Known before the map is made, so that a failure leaves none behind.
    let cpus = match &call {
        Bpf::MapCreate(map) if map.shape.is_per_cpu() => possible_cpus()?,
        _ => 1,
    };
    let mut attr = call.attr()?;
    let outcome = bpf(&mut attr);
    Ok(match call {
        Bpf::MapCreate(map) => Reply::Map(MapFd::new(new_fd(outcome?)?, map.shape, cpus)),
        Bpf::MapBatch(_) => {
            let ended = match outcome {
                Ok(_) => false,
                Err(Errno::NOENT) => true,
                Err(errno) => return Err(errno),
            };
            Reply::Batch {
                count: attr.get_u32(32),
                ended,
            }
        }
        Bpf::ProgramNextId { .. }
        | Bpf::BtfNextId { .. }
        | Bpf::MapNextId { .. }
        | Bpf::LinkNextId { .. } => {
            outcome?;
            Reply::Number(attr.get_u32(4).into())
        }
        Bpf::ProgramLoad(_)
        | Bpf::ProgramById { .. }
        | Bpf::MapById { .. }
        | Bpf::LinkById { .. }
        | Bpf::Pinned { .. }
        | Bpf::BtfById { .. }
        | Bpf::RawTracepointOpen { .. }
        | Bpf::BtfLoad(_)
        | Bpf::LinkCreate(_)
        | Bpf::IterCreate { .. }
        | Bpf::TokenCreate { .. }
        | Bpf::EnableStats => Reply::Fd(new_fd(outcome?)?),
        Bpf::BtfInfo { .. } => {
            outcome?;
            Reply::Btf(BtfInfo::decode(&attr))
        }
        Bpf::MapBatchWrite(_) => Reply::Batch {
            // A key that is not there ends the kernel's walk; the count is of those before it.
            ended: match outcome {
                Ok(_) => false,
                Err(Errno::NOENT) => true,
                Err(errno) => return Err(errno),
            },
            count: attr.get_u32(32),
        },
        Bpf::ProgramQuery(_) => {
            outcome?;
            Reply::Query(ProgramQuery::outcome(&attr))
        }
        Bpf::TestRun(_) => {
            outcome?;
            Reply::TestRun(TestRunOutcome {
                result: attr.get_u32(4),
                duration: attr.get_u32(36),
                data_size: attr.get_u32(12),
                context_size: attr.get_u32(44),
            })
        }
        #[cfg(feature = "inspect")]
        Bpf::ProgramImage { .. } => Reply::Done,
        Bpf::MapLookup { .. }
        | Bpf::MapUpdate { .. }
        | Bpf::MapUpdateFd { .. }
        | Bpf::MapDelete { .. }
        | Bpf::MapNextKey { .. }
        | Bpf::MapTake { .. }
        | Bpf::MapLookupFlags { .. }
        | Bpf::MapFreeze { .. }
        | Bpf::MapInfo { .. }
        | Bpf::MapHash { .. }
        | Bpf::MapAdopt { .. }
        | Bpf::Pin { .. }
        | Bpf::LinkUpdate { .. }
        | Bpf::LinkDetach { .. }
        | Bpf::LinkInfo { .. }
        | Bpf::ProgramAttach(_)
        | Bpf::ProgramDetach(_)
        | Bpf::ProgramInfo { .. } => {
            outcome?;
            Reply::Done
        }
    })
}

fn perf_event_open(event: &PerfEvent<'_>) -> Result<OwnedFd, Errno> {
    const CLOEXEC: u64 = 8;
    let attr = event.attr();
    let (pid, cpu) = event.pid_and_cpu();
    // SAFETY: the attribute gives its own size, and the name in it is a C string that the event
    // borrows through the call.
    new_fd(unsafe {
        libc::syscall(
            libc::SYS_perf_event_open,
            attr.as_ptr(),
            pid,
            cpu,
            -1i32,
            CLOEXEC,
        )
    })
}

fn perf_ioctl(event: BorrowedFd<'_>, ioctl: PerfIoctl<'_>) -> Result<Reply, Errno> {
    let (request, argument) = ioctl.encode();
    // SAFETY: the argument of each of these requests is a number, not an address.
    done(unsafe { libc::ioctl(event.as_raw_fd(), request, argument) })
}

fn map_shared(request: &MemoryRequest<'_>) -> Result<Mapping, Errno> {
    let protection = if request.writable {
        libc::PROT_READ | libc::PROT_WRITE
    } else {
        libc::PROT_READ
    };
    let offset = libc::off_t::try_from(request.offset).map_err(|_| Errno::INVAL)?;
    // SAFETY: a new mapping at an address of the kernel's choice touches no memory of ours.
    let start = unsafe {
        libc::mmap(
            ptr::null_mut(),
            request.length,
            protection,
            libc::MAP_SHARED,
            request.fd.as_raw_fd(),
            offset,
        )
    };
    if start == libc::MAP_FAILED {
        return Err(Errno::last());
    }
    let start = NonNull::new(start.cast()).ok_or(Errno::IO)?;
    // SAFETY: just mapped with this length and protection, and owned by nobody else.
    Ok(unsafe { Mapping::from_raw(start, request.length, request.writable, false) })
}

fn map_file(path: &Path) -> Result<Mapping, Errno> {
    const SYSFS_MAGIC: i64 = 0x6265_6572;
    let io = |e: std::io::Error| Errno::from_io(&e);
    let file = File::open(path).map_err(io)?;
    let length = usize::try_from(file.metadata().map_err(io)?.len()).map_err(|_| Errno::TOO_BIG)?;
    let mut system = MaybeUninit::<libc::statfs>::zeroed();
    // SAFETY: the kernel writes one statfs to memory of that size.
    done(unsafe { libc::fstatfs(file.as_raw_fd(), system.as_mut_ptr()) })?;
    // SAFETY: plain numbers, zeroed before and written by the kernel since.
    let system = unsafe { system.assume_init() };
    if system.f_type != SYSFS_MAGIC || length == 0 {
        return Err(Errno::NODEV);
    }
    // SAFETY: a new private read-only mapping at an address of the kernel's choice.
    let start = unsafe {
        libc::mmap(
            ptr::null_mut(),
            length,
            libc::PROT_READ,
            libc::MAP_PRIVATE,
            file.as_fd().as_raw_fd(),
            0,
        )
    };
    if start == libc::MAP_FAILED {
        return Err(Errno::last());
    }
    let start = NonNull::new(start.cast()).ok_or(Errno::IO)?;
    // SAFETY: just mapped and owned by nobody else; a sysfs file that can be mapped is the
    // kernel's own constant data (BTF), which nobody writes.
    Ok(unsafe { Mapping::from_raw(start, length, false, true) })
}

fn epoll_add(epoll: BorrowedFd<'_>, fd: BorrowedFd<'_>, token: u64) -> Result<Reply, Errno> {
    let mut event = libc::epoll_event {
        events: libc::EPOLLIN as u32,
        u64: token,
    };
    // SAFETY: the kernel reads one event that lives through the call.
    done(unsafe {
        libc::epoll_ctl(
            epoll.as_raw_fd(),
            libc::EPOLL_CTL_ADD,
            fd.as_raw_fd(),
            &raw mut event,
        )
    })
}

fn epoll_wait(epoll: BorrowedFd<'_>, timeout: Option<Duration>) -> Result<EpollEvents, Errno> {
    // Rounded up, so that a wait of less than a millisecond is not a busy loop.
    let milliseconds = timeout.map_or(-1, |timeout| {
        i32::try_from(timeout.as_nanos().div_ceil(1_000_000)).unwrap_or(i32::MAX)
    });
    let mut events = [libc::epoll_event { events: 0, u64: 0 }; 16];
    // SAFETY: the kernel writes at most 16 events to room for 16.
    let count = unsafe {
        libc::epoll_wait(
            epoll.as_raw_fd(),
            events.as_mut_ptr(),
            events.len() as i32,
            milliseconds,
        )
    };
    let count = usize::try_from(count).map_err(|_| Errno::last())?;
    let mut tokens = EpollEvents::default();
    for event in events.iter().take(count) {
        tokens.push(event.u64);
    }
    Ok(tokens)
}

fn read_file(path: &Path) -> Result<Vec<u8>, Errno> {
    let io = |e: std::io::Error| Errno::from_io(&e);
    let file = File::open(path).map_err(io)?;
    let mut bytes = Vec::new();
    file.take(LARGEST_FILE)
        .read_to_end(&mut bytes)
        .map_err(io)?;
    Ok(bytes)
}

fn mount(kind: &str, target: &Path) -> Result<Reply, Errno> {
    let kind = CString::new(kind).map_err(|_| Errno::INVAL)?;
    let target = CString::new(target.as_os_str().as_bytes()).map_err(|_| Errno::INVAL)?;
    let flags = libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;
    // SAFETY: three C strings that live through the call, and no data.
    done(unsafe {
        libc::mount(
            kind.as_ptr(),
            target.as_ptr(),
            kind.as_ptr(),
            flags,
            ptr::null(),
        )
    })
}

fn capabilities() -> Result<u64, Errno> {
    // struct __user_cap_header_struct and two struct __user_cap_data_struct, version 3.
    let mut header = [0x2008_0522u32, 0];
    let mut data = [0u32; 6];
    // SAFETY: version 3 makes the kernel write two data structs of three words each.
    let value = unsafe { libc::syscall(libc::SYS_capget, header.as_mut_ptr(), data.as_mut_ptr()) };
    done(value as i32)?;
    Ok(u64::from(data[0]) | (u64::from(data[3]) << 32))
}

fn read_clock(clock: Clock) -> Result<u64, Errno> {
    let id = match clock {
        Clock::Realtime => libc::CLOCK_REALTIME,
        Clock::Monotonic => libc::CLOCK_MONOTONIC,
        Clock::Boottime => libc::CLOCK_BOOTTIME,
        Clock::Tai => libc::CLOCK_TAI,
        Clock::ProcessCpu => libc::CLOCK_PROCESS_CPUTIME_ID,
    };
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the kernel writes one timespec that lives through the call.
    done(unsafe { libc::clock_gettime(id, &raw mut time) })?;
    let seconds = u64::try_from(time.tv_sec).map_err(|_| Errno::RANGE)?;
    let nanos = u64::try_from(time.tv_nsec).map_err(|_| Errno::RANGE)?;
    seconds
        .checked_mul(1_000_000_000)
        .and_then(|s| s.checked_add(nanos))
        .ok_or(Errno::RANGE)
}

/// Words of a CPU mask for 65,536 CPUs, more than any kernel is built for.
const MASK_WORDS: usize = 1024;

fn pin_to_cpu(cpu: u32) -> Result<Reply, Errno> {
    let mut mask = [0u64; MASK_WORDS];
    *mask.get_mut(cpu as usize / 64).ok_or(Errno::INVAL)? |= 1 << (cpu % 64);
    // SAFETY: the kernel reads a mask of the size given.
    done(unsafe {
        libc::syscall(
            libc::SYS_sched_setaffinity,
            0,
            size_of_val(&mask),
            mask.as_ptr(),
        )
    } as i32)
}

fn affinity() -> Result<Vec<u32>, Errno> {
    let mut mask = [0u64; MASK_WORDS];
    // SAFETY: the kernel writes at most the size given.
    done(unsafe {
        libc::syscall(
            libc::SYS_sched_getaffinity,
            0,
            size_of_val(&mask),
            mask.as_mut_ptr(),
        )
    } as i32)?;
    let mut cpus = Vec::new();
    for (index, word) in mask.iter().enumerate() {
        cpus.extend(
            (0..64)
                .filter(|bit| word >> bit & 1 == 1)
                .map(|bit| index as u32 * 64 + bit),
        );
    }
    Ok(cpus)
}

#[cfg(test)]
mod tests;
