//! What makes objects: maps, programs, BTF.

use std::ffi::CString;
use std::os::fd::{AsRawFd, BorrowedFd};

use super::attr::Attr;
use super::length;
use crate::errno::Errno;
use crate::map_fd::MapShape;

/// A map to be created.
#[derive(Clone, Copy, Debug, Default)]
pub struct MapCreate<'a> {
    /// Type and sizes.
    pub shape: MapShape,
    /// `BPF_F_*` creation flags.
    pub flags: u32,
    /// Name; cut and cleaned as the kernel demands.
    pub name: &'a str,
    /// What the maps inside a map of maps look like.
    pub inner: Option<BorrowedFd<'a>>,
    /// NUMA node, where the flags ask for one.
    pub numa_node: u32,
    /// BTF blob that the types refer to.
    pub btf: Option<BorrowedFd<'a>>,
    /// Type of the key; 0 for none.
    pub key_type: u32,
    /// Type of the value; 0 for none.
    pub value_type: u32,
    /// The kernel's type of the value (`bpf_struct_ops_*`); 0 for none.
    pub kernel_value_type: u32,
    /// What some kinds take beside (`map_extra`).
    pub extra: u64,
    /// BTF of the module that `kernel_value_type` is of; its flag is set by the caller.
    pub module_btf: Option<BorrowedFd<'a>>,
    /// Token that stands in for capabilities; its flag is set by the caller.
    pub token: Option<BorrowedFd<'a>>,
    /// SHA-256 of the one program that may use the map (6.18).
    pub exclusive: Option<&'a [u8; 32]>,
}

impl MapCreate<'_> {
    pub(super) fn attr(&self) -> Box<Attr> {
        // No longer than what is used: kernels refuse bytes that they do not know.
        let typed = self.btf.is_some() || self.kernel_value_type != 0;
        let size = if self.exclusive.is_some() {
            92
        } else if self.token.is_some() {
            80
        } else if self.module_btf.is_some() {
            76
        } else if self.extra != 0 {
            72
        } else if typed {
            64
        } else {
            44
        };
        let attr = Attr::new(0, size)
            .u32(0, self.shape.kind)
            .u32(4, self.shape.key_size)
            .u32(8, self.shape.value_size)
            .u32(12, self.shape.max_entries)
            .u32(16, self.flags)
            .optional_fd(20, self.inner)
            .u32(24, self.numa_node)
            .name(28, self.name);
        if size == 44 {
            return attr;
        }
        let attr = attr
            .optional_fd(48, self.btf)
            .u32(52, self.key_type)
            .u32(56, self.value_type)
            .u32(60, self.kernel_value_type)
            .u64(64, self.extra)
            .optional_fd(72, self.module_btf)
            .optional_fd(76, self.token);
        match self.exclusive {
            Some(hash) => attr.source(80, hash).u32(88, hash.len() as u32),
            None => attr,
        }
    }
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
    /// What `attach_btf_id` is of: the BTF of a module, or the program to be extended or traced;
    /// none for vmlinux.
    pub attach_to: Option<BorrowedFd<'a>>,
    /// Kernel version, which kernels before 5.0 compare.
    pub kernel_version: u32,
    /// BTFs of modules whose functions are called; `off` of a call counts them from 1.
    pub modules: &'a [BorrowedFd<'a>],
    /// Token that stands in for capabilities; its flag is set by the caller.
    pub token: Option<BorrowedFd<'a>>,
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
    /// Token that stands in for capabilities.
    pub token: Option<BorrowedFd<'a>>,
    /// Room for the kernel's complaints.
    pub log: Option<&'a mut [u8]>,
}

impl ProgramLoad<'_> {
    pub(super) fn attr(&mut self) -> Result<Box<Attr>, Errno> {
        if self.insns.len() % 8 != 0 {
            return Err(Errno::INVAL);
        }
        let license = CString::new(self.license).map_err(|_| Errno::INVAL)?;
        let size = if self.token.is_some() {
            148
        } else if !self.modules.is_empty() {
            128
        } else if self.attach_to.is_some() {
            116
        } else {
            112
        };
        let mut attr = Attr::new(5, size)
            .u32(0, self.kind)
            .u32(4, length(self.insns)? / 8)
            .source(8, self.insns)
            .u64(16, license.as_ptr() as u64)
            .u32(40, self.kernel_version)
            .u32(44, self.flags)
            .name(48, self.name)
            .u32(68, self.attach_type)
            .u32(108, self.attach_btf_id)
            .optional_fd(112, self.attach_to)
            .optional_fd(144, self.token);
        attr.held.string = Some(license);
        if let Some(first) = self.modules.first() {
            // Index 0 stands for vmlinux, whatever is in its place.
            let numbers: Box<[i32]> = [first]
                .into_iter()
                .chain(self.modules)
                .map(AsRawFd::as_raw_fd)
                .collect();
            attr = attr.u64(120, numbers.as_ptr() as u64);
            attr.held.numbers = numbers;
        }
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

impl BtfLoad<'_> {
    pub(super) fn attr(&mut self) -> Result<Box<Attr>, Errno> {
        let size = if self.token.is_some() { 40 } else { 28 };
        let mut attr = Attr::new(18, size)
            .source(0, self.bytes)
            .u32(16, length(self.bytes)?);
        if self.token.is_some() {
            const TOKEN: u32 = 1 << 16;
            attr = attr.u32(32, TOKEN).optional_fd(36, self.token);
        }
        Ok(match &mut self.log {
            None => attr,
            Some(log) => attr.u32(20, length(log)?).sink(8, log).u32(24, 1),
        })
    }
}

/// What the kernel knows of a BTF.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BtfInfo {
    /// Id, unique while it lives.
    pub id: u32,
    /// Size in bytes of the whole blob.
    pub size: u32,
    /// Whether it is vmlinux's or a module's (5.11; false before).
    pub kernel: bool,
}

impl BtfInfo {
    /// Bytes of `struct bpf_btf_info`.
    const SIZE: usize = 40;

    pub(super) fn attr(
        btf: BorrowedFd<'_>,
        name: &mut [u8],
        blob: &mut [u8],
    ) -> Result<Box<Attr>, Errno> {
        let mut info = Box::new([0u64; Self::SIZE / 8]);
        let address = |bytes: &mut [u8]| match bytes.is_empty() {
            true => 0,
            false => bytes.as_mut_ptr() as u64,
        };
        info[0] = address(blob);
        info[1] = pair(length(blob)?, 0);
        info[2] = address(name);
        info[3] = pair(length(name)?, 0);
        let mut attr = Attr::new(15, 16)
            .fd(0, btf)
            .u32(4, Self::SIZE as u32)
            .u64(8, info.as_mut_ptr() as u64);
        attr.held.btf_info = Some(info);
        Ok(attr)
    }

    /// Decodes what the kernel wrote into what `attr` holds.
    pub(crate) fn decode(attr: &Attr) -> BtfInfo {
        let Some(info) = &attr.held.btf_info else {
            return BtfInfo::default();
        };
        let [size, id] = halves(info[1]);
        let [_, kernel] = halves(info[3]);
        BtfInfo {
            id,
            size,
            kernel: kernel != 0,
        }
    }
}

/// Two numbers as they lie one after the other in memory.
pub(super) fn pair(first: u32, second: u32) -> u64 {
    let [a, b, c, d] = first.to_ne_bytes();
    let [e, f, g, h] = second.to_ne_bytes();
    u64::from_ne_bytes([a, b, c, d, e, f, g, h])
}

fn halves(both: u64) -> [u32; 2] {
    let [a, b, c, d, e, f, g, h] = both.to_ne_bytes();
    [
        u32::from_ne_bytes([a, b, c, d]),
        u32::from_ne_bytes([e, f, g, h]),
    ]
}
