//! Links: where a program is attached, and what the kernel tells of it.

use std::ffi::{CStr, CString};
use std::os::fd::{AsRawFd, BorrowedFd};

use super::attr::Attr;
use crate::errno::Errno;

/// A link to be created.
#[derive(Clone, Copy, Debug)]
pub struct LinkCreate<'a> {
    /// The program; the map of functions for [`LinkTarget::StructOps`].
    pub program: BorrowedFd<'a>,
    /// `enum bpf_attach_type`.
    pub attach_type: u32,
    /// Where it attaches.
    pub target: LinkTarget<'a>,
}

/// Where a link attaches.
#[allow(
    missing_docs,
    reason = "the fields are named as bpf(2) and the kernel name them"
)]
#[derive(Clone, Copy, Debug)]
pub enum LinkTarget<'a> {
    /// Where the program was loaded for (fentry, fexit, BTF-typed tracepoint), with a cookie
    /// (5.19).
    Loaded { cookie: u64 },
    /// In place of a function of another program, or at its entry or exit (5.10).
    Function {
        program: BorrowedFd<'a>,
        btf_id: u32,
        cookie: u64,
    },
    /// An iterator.
    Iterator(IterOver<'a>),
    /// A perf event, with a cookie (5.15).
    PerfEvent { event: BorrowedFd<'a>, cookie: u64 },
    /// Many kernel functions (5.18), by name or by address: one of `names` and `addresses` is
    /// empty; `cookies` is empty or as long as the other.
    KprobeMulti {
        names: &'a [CString],
        addresses: &'a [u64],
        cookies: &'a [u64],
        returns: bool,
    },
    /// Many functions at their entry, exit or both (7.2), by their numbers in the types that the
    /// program was loaded for; `cookies` is empty or as long as `btf_ids`.
    TracingMulti {
        btf_ids: &'a [u32],
        cookies: &'a [u64],
    },
    /// Many places of a file that is executed (6.6); `counters` and `cookies` are empty or as long
    /// as `offsets`. Process 0 is every process.
    UprobeMulti {
        path: &'a CStr,
        offsets: &'a [u64],
        counters: &'a [u64],
        cookies: &'a [u64],
        pid: u32,
        returns: bool,
    },
    /// A cgroup (5.7); an order needs 6.17.
    Cgroup {
        cgroup: BorrowedFd<'a>,
        order: Order<'a>,
    },
    /// A network namespace (5.8), or a map of sockets (6.10).
    Descriptor(BorrowedFd<'a>),
    /// A network interface, with `XDP_FLAGS_*` (5.9).
    Xdp { interface: u32, flags: u32 },
    /// A network interface's hooks tcx (6.6) and netkit (6.7).
    Interface { interface: u32, order: Order<'a> },
    /// A netfilter hook (6.4).
    Netfilter {
        family: u32,
        hook: u32,
        priority: i32,
        flags: u32,
    },
    /// What a map of functions is for (6.4).
    StructOps,
}

/// What an iterator walks over, of what it was loaded for.
#[allow(missing_docs, reason = "the fields are named as the kernel names them")]
#[derive(Clone, Copy, Debug, Default)]
pub enum IterOver<'a> {
    /// Everything.
    #[default]
    All,
    /// The entries of a map (`bpf_map_elem`, `bpf_sk_storage_map`, `sockmap`).
    Map(BorrowedFd<'a>),
    /// Cgroups from this one on, in the order `enum bpf_cgroup_iter_order` (6.1).
    Cgroup { cgroup: BorrowedFd<'a>, order: u32 },
    /// One thread (6.1).
    Thread(u32),
    /// One process's threads (6.1).
    Process(u32),
    /// The process of a pidfd (6.1).
    ProcessFd(BorrowedFd<'a>),
}

/// Where among the programs of one hook.
#[derive(Clone, Copy, Debug, Default)]
pub enum Order<'a> {
    /// Where the kernel puts it: at the end.
    #[default]
    Unsaid,
    /// Before all that are there.
    First,
    /// After all that are there.
    Last,
    /// Just before another.
    Before(Peer<'a>),
    /// Just after another.
    After(Peer<'a>),
}

/// Another program of a hook.
#[derive(Clone, Copy, Debug)]
pub enum Peer<'a> {
    /// The program with this descriptor.
    Program(BorrowedFd<'a>),
    /// The program with this id.
    ProgramId(u32),
    /// What the link with this descriptor attached.
    Link(BorrowedFd<'a>),
    /// What the link with this id attached.
    LinkId(u32),
}

impl Order<'_> {
    /// Gives `BPF_F_*` flags and the descriptor or id.
    pub(crate) fn encode(&self) -> (u32, u32) {
        const BEFORE: u32 = 1 << 3;
        const AFTER: u32 = 1 << 4;
        const ID: u32 = 1 << 5;
        const LINK: u32 = 1 << 13;
        let (flags, peer) = match self {
            Order::Unsaid => return (0, 0),
            Order::First => return (BEFORE, 0),
            Order::Last => return (AFTER, 0),
            Order::Before(peer) => (BEFORE, peer),
            Order::After(peer) => (AFTER, peer),
        };
        let (more, value) = match peer {
            Peer::Program(fd) => (0, fd.as_raw_fd() as u32),
            Peer::ProgramId(id) => (ID, *id),
            Peer::Link(fd) => (LINK, fd.as_raw_fd() as u32),
            Peer::LinkId(id) => (LINK | ID, *id),
        };
        (flags | more, value)
    }
}

/// The address of numbers that the kernel reads; 0 where there are none.
fn numbers<T>(list: &[T]) -> u64 {
    if list.is_empty() {
        0
    } else {
        list.as_ptr() as u64
    }
}

/// Gives the length of a list as the kernel takes it.
fn counted(count: usize) -> Result<u32, Errno> {
    u32::try_from(count).map_err(|_| Errno::TOO_BIG)
}

/// Checks a list that is empty or as long as another.
fn aligned(list: &[u64], count: u32) -> Result<(), Errno> {
    if list.is_empty() || list.len() == count as usize {
        Ok(())
    } else {
        Err(Errno::INVAL)
    }
}

impl LinkCreate<'_> {
    pub(super) fn attr(&self) -> Result<Box<Attr>, Errno> {
        let base = |size| {
            Attr::new(28, size)
                .fd(0, self.program)
                .u32(8, self.attach_type)
        };
        Ok(match self.target {
            LinkTarget::Loaded { cookie: 0 }
            | LinkTarget::Iterator(IterOver::All)
            | LinkTarget::StructOps => base(16),
            LinkTarget::Loaded { cookie } => base(32).u64(24, cookie),
            LinkTarget::Function {
                program,
                btf_id,
                cookie,
            } => {
                let attr = base(if cookie == 0 { 20 } else { 32 });
                attr.fd(4, program).u32(16, btf_id).u64(24, cookie)
            }
            LinkTarget::Iterator(over) => {
                let (size, info) = over.encode();
                let info = Box::new(info);
                let mut attr = base(28)
                    .source(16, info.get(..size).unwrap_or_default())
                    .u32(24, size as u32);
                attr.held.info = Some(info);
                attr
            }
            LinkTarget::PerfEvent { event, cookie } => base(24).fd(4, event).u64(16, cookie),
            LinkTarget::KprobeMulti {
                names,
                addresses,
                cookies,
                returns,
            } => {
                let count = counted(names.len().max(addresses.len()))?;
                if !names.is_empty() && !addresses.is_empty() {
                    return Err(Errno::INVAL);
                }
                aligned(cookies, count)?;
                let pointers: Vec<_> = names.iter().map(|name| name.as_ptr()).collect();
                let mut attr = base(48)
                    .u32(16, u32::from(returns))
                    .u32(20, count)
                    .u64(24, numbers(&pointers))
                    .u64(32, numbers(addresses))
                    .u64(40, numbers(cookies));
                attr.held.pointers = pointers;
                attr
            }
            LinkTarget::TracingMulti { btf_ids, cookies } => {
                let count = counted(btf_ids.len())?;
                aligned(cookies, count)?;
                base(36)
                    .u64(16, numbers(btf_ids))
                    .u64(24, numbers(cookies))
                    .u32(32, count)
            }
            LinkTarget::UprobeMulti {
                path,
                offsets,
                counters,
                cookies,
                pid,
                returns,
            } => {
                let count = counted(offsets.len())?;
                aligned(counters, count)?;
                aligned(cookies, count)?;
                base(60)
                    .u64(16, path.as_ptr() as u64)
                    .u64(24, numbers(offsets))
                    .u64(32, numbers(counters))
                    .u64(40, numbers(cookies))
                    .u32(48, count)
                    .u32(52, u32::from(returns))
                    .u32(56, pid)
            }
            LinkTarget::Cgroup { cgroup, order } => {
                let (flags, peer) = order.encode();
                let attr = base(if flags == 0 { 16 } else { 32 });
                attr.fd(4, cgroup).u32(12, flags).u32(16, peer)
            }
            LinkTarget::Descriptor(target) => base(16).fd(4, target),
            LinkTarget::Xdp { interface, flags } => base(16).u32(4, interface).u32(12, flags),
            LinkTarget::Interface { interface, order } => {
                let (flags, peer) = order.encode();
                base(32).u32(4, interface).u32(12, flags).u32(16, peer)
            }
            LinkTarget::Netfilter {
                family,
                hook,
                priority,
                flags,
            } => base(32)
                .u32(16, family)
                .u32(20, hook)
                .u32(24, priority as u32)
                .u32(28, flags),
        })
    }
}

impl IterOver<'_> {
    /// Encodes `union bpf_iter_link_info`, and how much of it is used: an older kernel has less.
    fn encode(&self) -> (usize, [u8; 16]) {
        let mut info = [0; 16];
        let mut put = |at: usize, value: u32| {
            info[at..at + 4].copy_from_slice(&value.to_ne_bytes());
        };
        let raw = |fd: &BorrowedFd<'_>| fd.as_raw_fd() as u32;
        let size = match self {
            IterOver::All => 0,
            IterOver::Map(map) => {
                put(0, raw(map));
                4
            }
            IterOver::Cgroup { cgroup, order } => {
                put(0, *order);
                put(4, raw(cgroup));
                16
            }
            IterOver::Thread(tid) => {
                put(0, *tid);
                12
            }
            IterOver::Process(pid) => {
                put(4, *pid);
                12
            }
            IterOver::ProcessFd(fd) => {
                put(8, raw(fd));
                12
            }
        };
        (size, info)
    }
}

/// What the kernel tells of a link: the head, and the rest as the bytes that depend on its kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkInfo {
    /// The kernel's `enum bpf_link_type`.
    pub kind: u32,
    /// Id, unique while the link lives.
    pub id: u32,
    /// Id of its program.
    pub program: u32,
    /// The name, path or target that belongs to it; empty for kinds without.
    pub text: Vec<u8>,
    bytes: [u8; LinkInfo::SIZE],
}

impl LinkInfo {
    /// Bytes of `struct bpf_link_info` that are asked for.
    pub const SIZE: usize = 64;

    /// Decodes what the kernel wrote, and the text it wrote beside.
    pub fn decode(bytes: &[u8; Self::SIZE], text: &[u8]) -> LinkInfo {
        let end = text.iter().position(|&byte| byte == 0);
        let mut info = LinkInfo {
            kind: 0,
            id: 0,
            program: 0,
            text: text
                .get(..end.unwrap_or(text.len()))
                .unwrap_or_default()
                .to_vec(),
            bytes: *bytes,
        };
        (info.kind, info.id, info.program) = (info.u32(0), info.u32(4), info.u32(8));
        info
    }

    /// Gives the number at an offset into `struct bpf_link_info`; 0 past the end.
    pub fn u32(&self, at: usize) -> u32 {
        let bytes = self.bytes.get(at..).and_then(<[u8]>::first_chunk);
        bytes.map_or(0, |bytes| u32::from_ne_bytes(*bytes))
    }

    /// Gives the long number at an offset into `struct bpf_link_info`; 0 past the end.
    pub fn u64(&self, at: usize) -> u64 {
        let bytes = self.bytes.get(at..).and_then(<[u8]>::first_chunk);
        bytes.map_or(0, |bytes| u64::from_ne_bytes(*bytes))
    }

    /// Tells where in the structure the address and the size of the text go, for kinds with one.
    pub(crate) fn text_place(bytes: &[u8; Self::SIZE]) -> Option<(usize, usize)> {
        match u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) {
            // BPF_LINK_TYPE_RAW_TRACEPOINT, BPF_LINK_TYPE_ITER.
            1 | 4 => Some((16, 24)),
            // BPF_LINK_TYPE_PERF_EVENT on a uprobe, kprobe or tracepoint; kernels before 6.6 say
            // nothing of it.
            7 if (1..=5).contains(&bytes[16]) => Some((24, 32)),
            // BPF_LINK_TYPE_UPROBE_MULTI.
            12 => Some((16, 48)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
