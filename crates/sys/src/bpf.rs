//! bpf(2): commands with slices and descriptors, and their encoding as `union bpf_attr`.
//!
//! Each command passes only the bytes of the attribute up to its last used field, because a kernel
//! refuses non-zero bytes that it does not know and takes a shorter attribute as zero-filled.

mod attach;
mod attr;
#[cfg(feature = "inspect")]
mod info;
mod link;
mod load;
mod map;

use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use crate::errno::Errno;
use crate::map_fd::MapFd;

pub use attach::{AttachTarget, ProgramAttach, ProgramDetach, ProgramQuery, ProgramQueryOutcome};
pub(crate) use attr::Attr;
#[cfg(feature = "inspect")]
pub(crate) use info::Question;
#[cfg(feature = "inspect")]
pub use info::{LineRecord, ProgramImage};
pub use link::{IterOver, LinkCreate, LinkInfo, LinkTarget, Order, Peer};
pub use load::{BtfInfo, BtfLoad, MapCreate, ProgramLoad};
pub use map::{Batch, BatchKind, BatchWrite, MapInfo};

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
    /// `BPF_MAP_UPDATE_BATCH` or `BPF_MAP_DELETE_BATCH`. Answer: `Reply::Batch`, how many entries
    /// were done; it ended early if a key was not there.
    MapBatchWrite(BatchWrite<'a>),
    /// `BPF_MAP_LOOKUP_AND_DELETE_ELEM`; a queue or stack has no key.
    MapTake {
        map: &'a MapFd,
        key: &'a [u8],
        value: &'a mut [u8],
        flags: u64,
    },
    /// `BPF_MAP_LOOKUP_ELEM` with flags (`BPF_F_LOCK`), or without a key (queues, stacks), or by a
    /// value (bloom filters).
    MapLookupFlags {
        map: &'a MapFd,
        key: &'a [u8],
        value: &'a mut [u8],
        flags: u64,
    },
    /// `BPF_MAP_FREEZE`.
    MapFreeze { map: &'a MapFd },
    /// `BPF_OBJ_GET_INFO_BY_FD` of a map.
    MapInfo {
        map: BorrowedFd<'a>,
        into: &'a mut [u8; MapInfo::SIZE],
    },
    /// `BPF_OBJ_GET_INFO_BY_FD` of a frozen array for the SHA-256 of what it holds (6.18).
    MapHash {
        map: BorrowedFd<'a>,
        into: &'a mut [u8; 32],
    },
    /// Finds out what map a descriptor is, and binds it to its sizes. Answer: `Reply::Map`;
    /// `EINVAL` for what is no map.
    MapAdopt { fd: OwnedFd },
    /// `BPF_MAP_GET_NEXT_ID`. Answer: `Reply::Number`; `ENOENT` at the end.
    MapNextId { after: u32 },
    /// `BPF_MAP_GET_FD_BY_ID`. Answer: `Reply::Fd`.
    MapById { id: u32 },
    /// `BPF_OBJ_PIN` of a map, program or link.
    Pin {
        path: &'a CStr,
        object: BorrowedFd<'a>,
    },
    /// `BPF_OBJ_GET`. Answer: `Reply::Fd`.
    Pinned { path: &'a CStr },
    /// `BPF_PROG_LOAD`. Answer: `Reply::Fd`.
    ProgramLoad(ProgramLoad<'a>),
    /// `BPF_PROG_TEST_RUN`. Answer: `Reply::TestRun`.
    TestRun(TestRun<'a>),
    /// `BPF_OBJ_GET_INFO_BY_FD` of a program.
    ProgramInfo {
        program: BorrowedFd<'a>,
        into: &'a mut [u8; ProgramInfo::SIZE],
    },
    /// `BPF_OBJ_GET_INFO_BY_FD` of a program, its code and tables included; `EINVAL` for what is no
    /// program.
    #[cfg(feature = "inspect")]
    ProgramImage {
        program: BorrowedFd<'a>,
        into: &'a mut ProgramImage,
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
    /// `BPF_BTF_GET_NEXT_ID`. Answer: `Reply::Number`, the id after this one; `ENOENT` at the end.
    BtfNextId { after: u32 },
    /// `BPF_BTF_GET_FD_BY_ID`. Answer: `Reply::Fd`.
    BtfById { id: u32 },
    /// `BPF_OBJ_GET_INFO_BY_FD` of a BTF; its name goes to `name`, its bytes to `blob`, cut to the
    /// room there is. Answer: `Reply::Btf`; `EINVAL` for what is no BTF.
    BtfInfo {
        btf: BorrowedFd<'a>,
        name: &'a mut [u8],
        blob: &'a mut [u8],
    },
    /// `BPF_LINK_CREATE`. Answer: `Reply::Fd`.
    LinkCreate(LinkCreate<'a>),
    /// `BPF_LINK_UPDATE`: another program (or map of functions) in a link's place; with `old` only
    /// if that is what it holds.
    LinkUpdate {
        link: BorrowedFd<'a>,
        new: BorrowedFd<'a>,
        old: Option<BorrowedFd<'a>>,
    },
    /// `BPF_LINK_DETACH`: the link stays, without its target.
    LinkDetach { link: BorrowedFd<'a> },
    /// `BPF_OBJ_GET_INFO_BY_FD` of a link, and the text that belongs to it; `EINVAL` for what is no link.
    LinkInfo {
        link: BorrowedFd<'a>,
        into: &'a mut [u8; LinkInfo::SIZE],
        text: &'a mut [u8],
    },
    /// `BPF_LINK_GET_NEXT_ID`. Answer: `Reply::Number`; `ENOENT` at the end.
    LinkNextId { after: u32 },
    /// `BPF_LINK_GET_FD_BY_ID`. Answer: `Reply::Fd`.
    LinkById { id: u32 },
    /// `BPF_PROG_ATTACH`.
    ProgramAttach(ProgramAttach<'a>),
    /// `BPF_PROG_DETACH`.
    ProgramDetach(ProgramDetach<'a>),
    /// `BPF_PROG_QUERY`. Answer: `Reply::Query`.
    ProgramQuery(ProgramQuery<'a>),
    /// `BPF_ITER_CREATE`. Answer: `Reply::Fd`.
    IterCreate { link: BorrowedFd<'a> },
    /// `BPF_TOKEN_CREATE`. Answer: `Reply::Fd`. Without a file system it is asked for -1.
    TokenCreate { bpffs: Option<BorrowedFd<'a>> },
    /// `BPF_ENABLE_STATS` for run time; in force while the descriptor lives. Answer: `Reply::Fd`.
    EnableStats,
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
    /// Id of the BTF that was loaded with it; 0 for none.
    pub btf_id: u32,
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
            btf_id: number(128),
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
            Bpf::MapBatchWrite(batch) => batch.name(),
            Bpf::MapTake { .. } => "BPF_MAP_LOOKUP_AND_DELETE_ELEM",
            Bpf::MapLookupFlags { .. } => "BPF_MAP_LOOKUP_ELEM",
            Bpf::MapInfo { .. }
            | Bpf::MapHash { .. }
            | Bpf::MapAdopt { .. }
            | Bpf::LinkInfo { .. } => "BPF_OBJ_GET_INFO_BY_FD",
            Bpf::MapNextId { .. } => "BPF_MAP_GET_NEXT_ID",
            Bpf::MapById { .. } => "BPF_MAP_GET_FD_BY_ID",
            Bpf::Pin { .. } => "BPF_OBJ_PIN",
            Bpf::Pinned { .. } => "BPF_OBJ_GET",
            Bpf::LinkUpdate { .. } => "BPF_LINK_UPDATE",
            Bpf::LinkDetach { .. } => "BPF_LINK_DETACH",
            Bpf::LinkNextId { .. } => "BPF_LINK_GET_NEXT_ID",
            Bpf::LinkById { .. } => "BPF_LINK_GET_FD_BY_ID",
            Bpf::ProgramAttach(_) => "BPF_PROG_ATTACH",
            Bpf::ProgramDetach(_) => "BPF_PROG_DETACH",
            Bpf::ProgramQuery(_) => "BPF_PROG_QUERY",
            Bpf::MapFreeze { .. } => "BPF_MAP_FREEZE",
            Bpf::ProgramLoad(_) => "BPF_PROG_LOAD",
            Bpf::TestRun(_) => "BPF_PROG_TEST_RUN",
            Bpf::ProgramInfo { .. } => "BPF_OBJ_GET_INFO_BY_FD",
            #[cfg(feature = "inspect")]
            Bpf::ProgramImage { .. } => "BPF_OBJ_GET_INFO_BY_FD",
            Bpf::ProgramNextId { .. } => "BPF_PROG_GET_NEXT_ID",
            Bpf::ProgramById { .. } => "BPF_PROG_GET_FD_BY_ID",
            Bpf::RawTracepointOpen { .. } => "BPF_RAW_TRACEPOINT_OPEN",
            Bpf::BtfLoad(_) => "BPF_BTF_LOAD",
            Bpf::BtfNextId { .. } => "BPF_BTF_GET_NEXT_ID",
            Bpf::BtfById { .. } => "BPF_BTF_GET_FD_BY_ID",
            Bpf::BtfInfo { .. } => "BPF_OBJ_GET_INFO_BY_FD",
            Bpf::LinkCreate(_) => "BPF_LINK_CREATE",
            Bpf::IterCreate { .. } => "BPF_ITER_CREATE",
            Bpf::TokenCreate { .. } => "BPF_TOKEN_CREATE",
            Bpf::EnableStats => "BPF_ENABLE_STATS",
        }
    }

    /// Encodes the command after checking every buffer's size against what the kernel will touch.
    ///
    /// # Errors
    ///
    /// `EINVAL` for a buffer of the wrong size, `E2BIG` for one of 4 GiB, without a system call.
    pub(crate) fn attr(&mut self) -> Result<Box<Attr>, Errno> {
        Ok(match self {
            Bpf::MapCreate(map) => map.attr(),
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
                // The value is the descriptor's number, boxed so that it stays where it is.
                let number = value.as_raw_fd();
                let mut boxed = Box::new([0; 8]);
                match map.shape().value_size {
                    4 => boxed[..4].copy_from_slice(&number.to_ne_bytes()),
                    // Maps of sockets that give cookies back.
                    8 => *boxed = i64::from(number).to_ne_bytes(),
                    _ => return Err(Errno::INVAL),
                }
                let number = boxed;
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
            Bpf::MapBatchWrite(batch) => batch.attr()?,
            Bpf::MapTake {
                map,
                key,
                value,
                flags,
            } => {
                map::keyed(map, key, value)?;
                Attr::new(21, 32)
                    .fd(0, *map)
                    .source(8, key)
                    .sink(16, value)
                    .u64(24, *flags)
            }
            Bpf::MapLookupFlags {
                map,
                key,
                value,
                flags,
            } => {
                map::keyed(map, key, value)?;
                Attr::new(1, 32)
                    .fd(0, *map)
                    .source(8, key)
                    .sink(16, value)
                    .u64(24, *flags)
            }
            Bpf::MapFreeze { map } => Attr::new(22, 4).fd(0, *map),
            Bpf::MapInfo { map, into } => {
                into.fill(0);
                Attr::new(15, 16)
                    .fd(0, *map)
                    .u32(4, MapInfo::SIZE as u32)
                    .sink(8, *into)
            }
            Bpf::MapHash { map, into } => map::hash(*map, into),
            // What is asked of the kernel is `MapInfo`, by the one who performs this.
            Bpf::MapAdopt { fd } => Attr::new(15, 16).fd(0, fd),
            Bpf::MapNextId { after } => Attr::new(12, 12).u32(0, *after),
            Bpf::MapById { id } => Attr::new(14, 12).u32(0, *id),
            Bpf::Pin { path, object } => {
                Attr::new(6, 12).u64(0, path.as_ptr() as u64).fd(8, *object)
            }
            Bpf::Pinned { path } => Attr::new(7, 12).u64(0, path.as_ptr() as u64),
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
            // What is asked of the kernel is made by the one who performs this.
            #[cfg(feature = "inspect")]
            Bpf::ProgramImage { program, .. } => Attr::new(15, 16).fd(0, *program),
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
            Bpf::BtfLoad(load) => load.attr()?,
            Bpf::BtfNextId { after } => Attr::new(23, 12).u32(0, *after),
            Bpf::BtfById { id } => Attr::new(19, 12).u32(0, *id),
            Bpf::BtfInfo { btf, name, blob } => BtfInfo::attr(*btf, name, blob)?,
            Bpf::LinkCreate(link) => link.attr()?,
            Bpf::LinkUpdate { link, new, old } => {
                const REPLACE: u32 = 1 << 2;
                let attr = Attr::new(29, 16).fd(0, *link).fd(4, *new);
                match old {
                    None => attr,
                    Some(old) => attr.u32(8, REPLACE).fd(12, *old),
                }
            }
            Bpf::LinkDetach { link } => Attr::new(34, 4).fd(0, *link),
            Bpf::LinkInfo { link, into, .. } => {
                // Without the text's address: what lies where depends on the kind of link.
                into.fill(0);
                Attr::new(15, 16)
                    .fd(0, *link)
                    .u32(4, LinkInfo::SIZE as u32)
                    .sink(8, *into)
            }
            Bpf::LinkNextId { after } => Attr::new(31, 12).u32(0, *after),
            Bpf::LinkById { id } => Attr::new(30, 12).u32(0, *id),
            Bpf::ProgramAttach(attach) => attach.attr(),
            Bpf::ProgramDetach(detach) => detach.attr(),
            Bpf::ProgramQuery(query) => query.attr()?,
            Bpf::IterCreate { link } => Attr::new(33, 8).fd(0, *link),
            Bpf::TokenCreate { bpffs: None } => Attr::new(36, 8).u32(4, u32::MAX),
            Bpf::TokenCreate { bpffs: Some(bpffs) } => Attr::new(36, 8).fd(4, *bpffs),
            Bpf::EnableStats => Attr::new(32, 4),
        })
    }
}

impl TestRun<'_> {
    fn attr(&mut self) -> Result<Box<Attr>, Errno> {
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

#[cfg(test)]
mod tests;
