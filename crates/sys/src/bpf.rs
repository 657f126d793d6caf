//! bpf(2): commands with slices and descriptors, and their encoding as `union bpf_attr`.
//!
//! Each command passes only the bytes of the attribute up to its last used field, because a kernel
//! refuses non-zero bytes that it does not know and takes a shorter attribute as zero-filled.

mod attr;

use std::ffi::{CStr, CString};
use std::os::fd::{AsRawFd, BorrowedFd};

use crate::errno::Errno;
use crate::map_fd::{MapFd, MapShape};

pub(crate) use attr::Attr;

/// One command of bpf(2).
#[allow(
    missing_docs,
    reason = "the fields are named as bpf(2) and the kernel name them"
)]
#[derive(Debug)]
pub enum Bpf<'a> {
    /// `BPF_MAP_CREATE`. Answer: `Reply::Map`.
    MapCreate(MapCreate<'a>),
    /// `BPF_MAP_LOOKUP_ELEM`; `value` must be [`MapFd::transfer_size`] long. Answer: `Reply::Done`.
    MapLookup {
        map: &'a MapFd,
        key: &'a [u8],
        value: &'a mut [u8],
    },
    /// `BPF_MAP_UPDATE_ELEM` with `BPF_ANY` 0, `BPF_NOEXIST` 1 or `BPF_EXIST` 2.
    MapUpdate {
        map: &'a MapFd,
        key: &'a [u8],
        value: &'a [u8],
        flags: u64,
    },
    /// `BPF_MAP_UPDATE_ELEM` of a map that holds descriptors.
    MapUpdateFd {
        map: &'a MapFd,
        key: &'a [u8],
        value: BorrowedFd<'a>,
    },
    /// `BPF_MAP_DELETE_ELEM`.
    MapDelete { map: &'a MapFd, key: &'a [u8] },
    /// `BPF_MAP_GET_NEXT_KEY`; `None` asks for the first key.
    MapNextKey {
        map: &'a MapFd,
        key: Option<&'a [u8]>,
        next: &'a mut [u8],
    },
    /// `BPF_MAP_LOOKUP_BATCH` or `BPF_MAP_LOOKUP_AND_DELETE_BATCH`. Answer: `Reply::Batch`;
    /// the kernel's `ENOENT` at the end is an answer as well.
    MapBatch(Batch<'a>),
    /// `BPF_MAP_FREEZE`.
    MapFreeze { map: &'a MapFd },
    /// `BPF_PROG_LOAD`. Answer: `Reply::Fd`.
    ProgramLoad(ProgramLoad<'a>),
    /// `BPF_PROG_TEST_RUN`. Answer: `Reply::TestRun`.
    TestRun(TestRun<'a>),
    /// `BPF_OBJ_GET_INFO_BY_FD` of a program.
    ProgramInfo {
        program: BorrowedFd<'a>,
        into: &'a mut [u8; ProgramInfo::SIZE],
    },
    /// `BPF_PROG_GET_NEXT_ID`. Answer: `Reply::Number`, the id after this one; `ENOENT` at the end.
    ProgramNextId { after: u32 },
    /// `BPF_PROG_GET_FD_BY_ID`. Answer: `Reply::Fd`.
    ProgramById { id: u32 },
    /// `BPF_RAW_TRACEPOINT_OPEN`; a BTF-typed program gives no name. Answer: `Reply::Fd`.
    RawTracepointOpen {
        program: BorrowedFd<'a>,
        name: Option<&'a CStr>,
        cookie: u64,
    },
    /// `BPF_BTF_LOAD`. Answer: `Reply::Fd`.
    BtfLoad(BtfLoad<'a>),
    /// `BPF_LINK_CREATE`. Answer: `Reply::Fd`.
    LinkCreate(LinkCreate<'a>),
    /// `BPF_ITER_CREATE`. Answer: `Reply::Fd`.
    IterCreate { link: BorrowedFd<'a> },
    /// `BPF_ENABLE_STATS` for run time; in force while the descriptor lives. Answer: `Reply::Fd`.
    EnableStats,
}

/// A map to be created.
#[derive(Clone, Copy, Debug)]
pub struct MapCreate<'a> {
    /// Type and sizes.
    pub shape: MapShape,
    /// `BPF_F_*` creation flags.
    pub flags: u32,
    /// Name; cut and cleaned as the kernel demands.
    pub name: &'a str,
}

/// Entries read in one call.
#[derive(Debug)]
pub struct Batch<'a> {
    /// The map.
    pub map: &'a MapFd,
    /// Whether entries are removed as they are read.
    pub delete: bool,
    /// Where to go on; at least 4 bytes and the key's size. Rewritten by the call.
    pub position: &'a mut [u8],
    /// Whether `position` holds a position yet.
    pub resume: bool,
    /// Room for the keys.
    pub keys: &'a mut [u8],
    /// Room for the values.
    pub values: &'a mut [u8],
    /// Number of entries there is room for.
    pub room: u32,
}

/// A program to be loaded.
#[derive(Debug, Default)]
pub struct ProgramLoad<'a> {
    /// The kernel's `enum bpf_prog_type`.
    pub kind: u32,
    /// Name; cut and cleaned as the kernel demands.
    pub name: &'a str,
    /// Encoded instructions, 8 bytes each, in host byte order.
    pub insns: &'a [u8],
    /// Licence.
    pub license: &'a str,
    /// `BPF_F_*` load flags.
    pub flags: u32,
    /// `enum bpf_attach_type`; 0 where it does not matter.
    pub attach_type: u32,
    /// BTF type that the program attaches to; 0 for none.
    pub attach_btf_id: u32,
    /// BTF blob that the next two refer to.
    pub btf: Option<BorrowedFd<'a>>,
    /// Array of `struct bpf_func_info` (8 bytes each).
    pub func_info: &'a [u8],
    /// Array of `struct bpf_line_info` (16 bytes each).
    pub line_info: &'a [u8],
    /// Verbosity of the verifier's log.
    pub log_level: u32,
    /// Room for the verifier's log.
    pub log: Option<&'a mut [u8]>,
}

/// A BTF blob to be loaded.
#[derive(Debug)]
pub struct BtfLoad<'a> {
    /// The blob.
    pub bytes: &'a [u8],
    /// Room for the kernel's complaints.
    pub log: Option<&'a mut [u8]>,
}

/// A program's trial run.
#[derive(Debug, Default)]
pub struct TestRun<'a> {
    /// The program; `None` is answered with `EBADF`.
    pub program: Option<BorrowedFd<'a>>,
    /// Packet given to the program.
    pub data_in: &'a [u8],
    /// Room for the packet afterwards.
    pub data_out: &'a mut [u8],
    /// Context given to the program.
    pub context_in: &'a [u8],
    /// Room for the context afterwards.
    pub context_out: &'a mut [u8],
    /// How many times; 0 where the type has no such thing.
    pub repeat: u32,
    /// CPU to run on (raw tracepoints).
    pub cpu: Option<u32>,
}

/// What a trial run gave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TestRunOutcome {
    /// The program's return value.
    pub result: u32,
    /// Mean duration of a run in nanoseconds, where the type measures it.
    pub duration: u32,
    /// Bytes of packet given back.
    pub data_size: u32,
    /// Bytes of context given back.
    pub context_size: u32,
}

/// A link to be created.
#[derive(Clone, Copy, Debug)]
pub struct LinkCreate<'a> {
    /// The program.
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
    /// An iterator without parameters.
    Iterator,
    /// A perf event, with a cookie (5.15).
    PerfEvent { event: BorrowedFd<'a>, cookie: u64 },
    /// Many kernel functions by name (5.18); `cookies` is empty or as long as `names`.
    KprobeMulti {
        names: &'a [CString],
        cookies: &'a [u64],
        returns: bool,
    },
}

/// The first fields of the kernel's `struct bpf_prog_info`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProgramInfo {
    /// The kernel's `enum bpf_prog_type`.
    pub kind: u32,
    /// Id, unique while the program lives.
    pub id: u32,
    /// Size of the machine code in bytes; 0 where the JIT is off.
    pub jited_bytes: u32,
    /// Size of the verified eBPF code in bytes.
    pub translated_bytes: u32,
    /// Time of load, nanoseconds since boot.
    pub load_time: u64,
    /// Name as the kernel keeps it, up to 15 bytes.
    pub name: [u8; 16],
    /// Nanoseconds spent in the program while statistics were on.
    pub run_time: u64,
    /// Runs while statistics were on.
    pub runs: u64,
    /// Runs refused because the program was already running on the CPU (5.12).
    pub recursion_misses: u64,
    /// Instructions that the verifier walked through (5.16).
    pub verified_insns: u32,
}

impl ProgramInfo {
    /// Bytes of `struct bpf_prog_info` that are asked for.
    pub const SIZE: usize = 224;

    /// Decodes what the kernel wrote.
    pub fn decode(bytes: &[u8; Self::SIZE]) -> ProgramInfo {
        let number = |at: usize| {
            let mut out = [0; 4];
            out.copy_from_slice(&bytes[at..at + 4]);
            u32::from_ne_bytes(out)
        };
        let long = |at: usize| {
            let mut out = [0; 8];
            out.copy_from_slice(&bytes[at..at + 8]);
            u64::from_ne_bytes(out)
        };
        let mut name = [0; 16];
        name.copy_from_slice(&bytes[64..80]);
        ProgramInfo {
            kind: number(0),
            id: number(4),
            jited_bytes: number(16),
            translated_bytes: number(20),
            load_time: long(40),
            name,
            run_time: long(192),
            runs: long(200),
            recursion_misses: long(208),
            verified_insns: number(216),
        }
    }
}

fn length(bytes: &[u8]) -> Result<u32, Errno> {
    u32::try_from(bytes.len()).map_err(|_| Errno::TOO_BIG)
}

fn sized(bytes: &[u8], wanted: usize) -> Result<(), Errno> {
    if bytes.len() == wanted {
        Ok(())
    } else {
        Err(Errno::INVAL)
    }
}

/// Checks a key and value against the map, so that the kernel stays inside both.
fn fits(map: &MapFd, key: &[u8], value: Option<&[u8]>) -> Result<(), Errno> {
    sized(key, map.shape().key_size as usize)?;
    value.map_or(Ok(()), |value| sized(value, map.transfer_size()))
}

impl Bpf<'_> {
    /// Names the command as bpf(2) does.
    pub fn name(&self) -> &'static str {
        match self {
            Bpf::MapCreate(_) => "BPF_MAP_CREATE",
            Bpf::MapLookup { .. } => "BPF_MAP_LOOKUP_ELEM",
            Bpf::MapUpdate { .. } | Bpf::MapUpdateFd { .. } => "BPF_MAP_UPDATE_ELEM",
            Bpf::MapDelete { .. } => "BPF_MAP_DELETE_ELEM",
            Bpf::MapNextKey { .. } => "BPF_MAP_GET_NEXT_KEY",
            Bpf::MapBatch(batch) if batch.delete => "BPF_MAP_LOOKUP_AND_DELETE_BATCH",
            Bpf::MapBatch(_) => "BPF_MAP_LOOKUP_BATCH",
            Bpf::MapFreeze { .. } => "BPF_MAP_FREEZE",
            Bpf::ProgramLoad(_) => "BPF_PROG_LOAD",
            Bpf::TestRun(_) => "BPF_PROG_TEST_RUN",
            Bpf::ProgramInfo { .. } => "BPF_OBJ_GET_INFO_BY_FD",
            Bpf::ProgramNextId { .. } => "BPF_PROG_GET_NEXT_ID",
            Bpf::ProgramById { .. } => "BPF_PROG_GET_FD_BY_ID",
            Bpf::RawTracepointOpen { .. } => "BPF_RAW_TRACEPOINT_OPEN",
            Bpf::BtfLoad(_) => "BPF_BTF_LOAD",
            Bpf::LinkCreate(_) => "BPF_LINK_CREATE",
            Bpf::IterCreate { .. } => "BPF_ITER_CREATE",
            Bpf::EnableStats => "BPF_ENABLE_STATS",
        }
    }

    /// Encodes the command after checking every buffer's size against what the kernel will touch.
    ///
    /// # Errors
    ///
    /// `EINVAL` for a buffer of the wrong size, `E2BIG` for one of 4 GiB, without a system call.
    pub(crate) fn attr(&mut self) -> Result<Attr, Errno> {
        Ok(match self {
            Bpf::MapCreate(map) => Attr::new(0, 44)
                .u32(0, map.shape.kind)
                .u32(4, map.shape.key_size)
                .u32(8, map.shape.value_size)
                .u32(12, map.shape.max_entries)
                .u32(16, map.flags)
                .name(28, map.name),
            Bpf::MapLookup { map, key, value } => {
                fits(map, key, Some(value))?;
                Attr::new(1, 32).fd(0, *map).source(8, key).sink(16, value)
            }
            Bpf::MapUpdate {
                map,
                key,
                value,
                flags,
            } => {
                fits(map, key, Some(value))?;
                Attr::new(2, 32)
                    .fd(0, *map)
                    .source(8, key)
                    .source(16, value)
                    .u64(24, *flags)
            }
            Bpf::MapUpdateFd { map, key, value } => {
                fits(map, key, None)?;
                if map.shape().value_size != 4 {
                    return Err(Errno::INVAL);
                }
                // The value is the descriptor's number, boxed so that it stays where it is.
                let number = Box::new(value.as_raw_fd().to_ne_bytes());
                let mut attr = Attr::new(2, 32)
                    .fd(0, *map)
                    .source(8, key)
                    .source(16, &*number);
                attr.held.number = Some(number);
                attr
            }
            Bpf::MapDelete { map, key } => {
                fits(map, key, None)?;
                Attr::new(3, 32).fd(0, *map).source(8, key)
            }
            Bpf::MapNextKey { map, key, next } => {
                sized(next, map.shape().key_size as usize)?;
                if let Some(key) = key {
                    fits(map, key, None)?;
                }
                Attr::new(4, 32)
                    .fd(0, *map)
                    .source(8, key.unwrap_or_default())
                    .sink(16, next)
            }
            Bpf::MapBatch(batch) => batch.attr()?,
            Bpf::MapFreeze { map } => Attr::new(22, 4).fd(0, *map),
            Bpf::ProgramLoad(load) => load.attr()?,
            Bpf::TestRun(run) => run.attr()?,
            Bpf::ProgramInfo { program, into } => {
                // The kernel reads it first: addresses and sizes in it, of arrays to be filled.
                into.fill(0);
                Attr::new(15, 16)
                    .fd(0, *program)
                    .u32(4, ProgramInfo::SIZE as u32)
                    .sink(8, *into)
            }
            Bpf::ProgramNextId { after } => Attr::new(11, 12).u32(0, *after),
            Bpf::ProgramById { id } => Attr::new(13, 12).u32(0, *id),
            Bpf::RawTracepointOpen {
                program,
                name,
                cookie,
            } => {
                // Without a cookie the attribute ends where kernels before 6.10 end it.
                let size = if *cookie == 0 { 12 } else { 24 };
                let name = name.map_or(0, |name| name.as_ptr() as u64);
                Attr::new(17, size)
                    .u64(0, name)
                    .fd(8, *program)
                    .u64(16, *cookie)
            }
            Bpf::BtfLoad(load) => {
                let attr = Attr::new(18, 28)
                    .source(0, load.bytes)
                    .u32(16, length(load.bytes)?);
                match &mut load.log {
                    None => attr,
                    Some(log) => attr.u32(20, length(log)?).sink(8, log).u32(24, 1),
                }
            }
            Bpf::LinkCreate(link) => link.attr()?,
            Bpf::IterCreate { link } => Attr::new(33, 8).fd(0, *link),
            Bpf::EnableStats => Attr::new(32, 4),
        })
    }
}

impl Batch<'_> {
    fn attr(&mut self) -> Result<Attr, Errno> {
        let room = self.room as usize;
        let key_size = self.map.shape().key_size as usize;
        let keys = room.checked_mul(key_size).ok_or(Errno::TOO_BIG)?;
        let values = room
            .checked_mul(self.map.transfer_size())
            .ok_or(Errno::TOO_BIG)?;
        sized(self.keys, keys)?;
        sized(self.values, values)?;
        if self.position.len() < key_size.max(4) {
            return Err(Errno::INVAL);
        }
        let command = if self.delete { 25 } else { 24 };
        let mut attr = Attr::new(command, 56);
        if self.resume {
            attr = attr.source(0, self.position);
        }
        Ok(attr
            .sink(8, self.position)
            .sink(16, self.keys)
            .sink(24, self.values)
            .u32(32, self.room)
            .fd(36, self.map))
    }
}

impl ProgramLoad<'_> {
    fn attr(&mut self) -> Result<Attr, Errno> {
        if !self.insns.len().is_multiple_of(8) {
            return Err(Errno::INVAL);
        }
        let license = CString::new(self.license).map_err(|_| Errno::INVAL)?;
        let mut attr = Attr::new(5, 112)
            .u32(0, self.kind)
            .u32(4, length(self.insns)? / 8)
            .source(8, self.insns)
            .u64(16, license.as_ptr() as u64)
            .u32(44, self.flags)
            .name(48, self.name)
            .u32(68, self.attach_type)
            .u32(108, self.attach_btf_id);
        attr.held.string = Some(license);
        if let Some(btf) = self.btf {
            attr = attr.fd(72, btf);
            if !self.func_info.is_empty() {
                attr = attr
                    .u32(76, 8)
                    .source(80, self.func_info)
                    .u32(88, length(self.func_info)? / 8);
            }
            if !self.line_info.is_empty() {
                attr = attr
                    .u32(92, 16)
                    .source(96, self.line_info)
                    .u32(104, length(self.line_info)? / 16);
            }
        }
        if let Some(log) = &mut self.log {
            let size = length(log)?;
            attr = attr.u32(24, self.log_level).u32(28, size).sink(32, log);
        }
        Ok(attr)
    }
}

impl TestRun<'_> {
    fn attr(&mut self) -> Result<Attr, Errno> {
        const ON_CPU: u32 = 1;
        let program = self.program.ok_or(Errno::BADF)?;
        let attr = Attr::new(10, 72)
            .fd(0, program)
            .u32(8, length(self.data_in)?)
            .u32(12, length(self.data_out)?)
            .source(16, self.data_in)
            .sink(24, self.data_out)
            .u32(32, self.repeat)
            .u32(40, length(self.context_in)?)
            .u32(44, length(self.context_out)?)
            .source(48, self.context_in)
            .sink(56, self.context_out);
        Ok(match self.cpu {
            None => attr,
            Some(cpu) => attr.u32(64, ON_CPU).u32(68, cpu),
        })
    }
}

impl LinkCreate<'_> {
    fn attr(&self) -> Result<Attr, Errno> {
        let base = |size| {
            Attr::new(28, size)
                .fd(0, self.program)
                .u32(8, self.attach_type)
        };
        Ok(match self.target {
            LinkTarget::Loaded { cookie: 0 } | LinkTarget::Iterator => base(16),
            LinkTarget::Loaded { cookie } => base(32).u64(24, cookie),
            LinkTarget::PerfEvent { event, cookie } => base(24).fd(4, event).u64(16, cookie),
            LinkTarget::KprobeMulti {
                names,
                cookies,
                returns,
            } => {
                if !cookies.is_empty() && cookies.len() != names.len() {
                    return Err(Errno::INVAL);
                }
                let pointers: Vec<_> = names.iter().map(|name| name.as_ptr()).collect();
                let count = u32::try_from(names.len()).map_err(|_| Errno::TOO_BIG)?;
                let cookies = if cookies.is_empty() {
                    0
                } else {
                    cookies.as_ptr() as u64
                };
                let mut attr = base(48)
                    .u32(16, u32::from(returns))
                    .u32(20, count)
                    .u64(24, pointers.as_ptr() as u64)
                    .u64(40, cookies);
                attr.held.pointers = pointers;
                attr
            }
        })
    }
}

#[cfg(test)]
mod tests;
