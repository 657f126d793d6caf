//! Attachments without a link: to cgroups, interfaces and maps of sockets, by `BPF_PROG_ATTACH`.

use std::os::fd::BorrowedFd;

use super::attr::Attr;
use super::link::Order;
use crate::errno::Errno;

/// What a program is attached to without a link.
#[derive(Clone, Copy, Debug)]
pub enum AttachTarget<'a> {
    /// A cgroup, a map of sockets, or a network namespace.
    Descriptor(BorrowedFd<'a>),
    /// A network interface, by its number.
    Interface(u32),
}

/// A program to be attached without a link: it stays when the process ends.
#[derive(Clone, Copy, Debug)]
pub struct ProgramAttach<'a> {
    /// To what.
    pub target: AttachTarget<'a>,
    /// The program.
    pub program: BorrowedFd<'a>,
    /// `enum bpf_attach_type`.
    pub attach_type: u32,
    /// `BPF_F_*` flags beside those that `replace` and `order` bring.
    pub flags: u32,
    /// The program whose place it takes.
    pub replace: Option<BorrowedFd<'a>>,
    /// Where among the others (6.6, cgroups 6.17).
    pub order: Order<'a>,
}

/// A program to be detached from where it was attached without a link.
#[derive(Clone, Copy, Debug)]
pub struct ProgramDetach<'a> {
    /// From what.
    pub target: AttachTarget<'a>,
    /// The program; `None` where there can be only one.
    pub program: Option<BorrowedFd<'a>>,
    /// `enum bpf_attach_type`.
    pub attach_type: u32,
}

/// A question for the programs of one hook.
#[derive(Debug)]
pub struct ProgramQuery<'a> {
    /// Of what.
    pub target: AttachTarget<'a>,
    /// `enum bpf_attach_type`.
    pub attach_type: u32,
    /// `BPF_F_QUERY_*`; 1 asks for what is effective in a cgroup, inherited programs included.
    pub flags: u32,
    /// Room for the programs' ids.
    pub ids: &'a mut [u32],
}

/// What a hook holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProgramQueryOutcome {
    /// Number of programs; more than there was room for where the call said `ENOSPC`.
    pub count: u32,
    /// `BPF_F_ALLOW_*` of the cgroup's hook.
    pub flags: u32,
    /// Number that changes with each attachment (6.6); 0 where the kernel has none.
    pub revision: u64,
}

impl AttachTarget<'_> {
    fn put(self, attr: Box<Attr>) -> Box<Attr> {
        match self {
            AttachTarget::Descriptor(fd) => attr.fd(0, fd),
            AttachTarget::Interface(index) => attr.u32(0, index),
        }
    }
}

impl ProgramAttach<'_> {
    pub(super) fn attr(&self) -> Box<Attr> {
        const REPLACE: u32 = 1 << 2;
        let (order, peer) = self.order.encode();
        let replace = if self.replace.is_some() { REPLACE } else { 0 };
        let attr = self
            .target
            .put(Attr::new(8, if order == 0 { 20 } else { 32 }))
            .fd(4, self.program)
            .u32(8, self.attach_type)
            .u32(12, self.flags | order | replace)
            .u32(20, peer);
        match self.replace {
            None => attr,
            Some(old) => attr.fd(16, old),
        }
    }
}

impl ProgramDetach<'_> {
    pub(super) fn attr(&self) -> Box<Attr> {
        let attr = self.target.put(Attr::new(9, 20)).u32(8, self.attach_type);
        match self.program {
            None => attr,
            Some(program) => attr.fd(4, program),
        }
    }
}

impl ProgramQuery<'_> {
    /// Bytes of the attribute; what the kernel answers lies in it.
    const SIZE: usize = 64;

    pub(super) fn attr(&mut self) -> Result<Box<Attr>, Errno> {
        let room = u32::try_from(self.ids.len()).map_err(|_| Errno::TOO_BIG)?;
        let address = if self.ids.is_empty() {
            0
        } else {
            self.ids.as_mut_ptr() as u64
        };
        Ok(self
            .target
            .put(Attr::new(16, Self::SIZE))
            .u32(4, self.attach_type)
            .u32(8, self.flags)
            .u64(16, address)
            .u32(24, room))
    }

    pub(crate) fn outcome(attr: &Attr) -> ProgramQueryOutcome {
        ProgramQueryOutcome {
            count: attr.get_u32(24),
            flags: attr.get_u32(12),
            revision: u64::from(attr.get_u32(56)) | u64::from(attr.get_u32(60)) << 32,
        }
    }
}
