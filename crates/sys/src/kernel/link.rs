//! Links, pins and attachments without links.

use std::ffi::CStr;
use std::os::fd::{BorrowedFd, OwnedFd};

use super::{Kernel, narrow};
use crate::bpf::{Bpf, LinkInfo, ProgramAttach, ProgramDetach, ProgramQuery, ProgramQueryOutcome};
use crate::call::{Call, Reply, SocketPlace};
use crate::errno::Errno;

/// Room for a link's name, path or target.
const TEXT: usize = 4096;

#[allow(
    clippy::missing_errors_doc,
    reason = "each gives the error number of the call it names"
)]
impl dyn Kernel + '_ {
    /// Puts another program (or map of functions) in a link's place; with `old` only if that is
    /// what it holds.
    pub fn link_update(
        &self,
        link: BorrowedFd<'_>,
        new: BorrowedFd<'_>,
        old: Option<BorrowedFd<'_>>,
    ) -> Result<(), Errno> {
        self.done(Call::Bpf(Bpf::LinkUpdate { link, new, old }))
    }

    /// Takes a link off its target for good.
    pub fn link_detach(&self, link: BorrowedFd<'_>) -> Result<(), Errno> {
        self.done(Call::Bpf(Bpf::LinkDetach { link }))
    }

    /// Describes a link.
    pub fn link_info(&self, link: BorrowedFd<'_>) -> Result<LinkInfo, Errno> {
        let mut into = [0; LinkInfo::SIZE];
        let mut text = vec![0; TEXT];
        self.done(Call::Bpf(Bpf::LinkInfo {
            link,
            into: &mut into,
            text: &mut text,
        }))?;
        Ok(LinkInfo::decode(&into, &text))
    }

    /// Finds the link with the next larger id; `ENOENT` at the end.
    pub fn link_next_id(&self, after: u32) -> Result<u32, Errno> {
        narrow(answer!(
            self.call(Call::Bpf(Bpf::LinkNextId { after })),
            Number
        )?)
    }

    /// Opens a link by its id.
    pub fn link_by_id(&self, id: u32) -> Result<OwnedFd, Errno> {
        self.fd(Call::Bpf(Bpf::LinkById { id }))
    }

    /// Gives a map, program or link a name in the BPF file system.
    pub fn pin(&self, path: &CStr, object: BorrowedFd<'_>) -> Result<(), Errno> {
        self.done(Call::Bpf(Bpf::Pin { path, object }))
    }

    /// Opens what is pinned under a name in the BPF file system.
    pub fn pinned(&self, path: &CStr) -> Result<OwnedFd, Errno> {
        self.fd(Call::Bpf(Bpf::Pinned { path }))
    }

    /// Attaches a program without a link.
    pub fn program_attach(&self, attach: ProgramAttach<'_>) -> Result<(), Errno> {
        self.done(Call::Bpf(Bpf::ProgramAttach(attach)))
    }

    /// Detaches a program that was attached without a link.
    pub fn program_detach(&self, detach: ProgramDetach<'_>) -> Result<(), Errno> {
        self.done(Call::Bpf(Bpf::ProgramDetach(detach)))
    }

    /// Asks for the programs of a hook.
    pub fn program_query(&self, query: ProgramQuery<'_>) -> Result<ProgramQueryOutcome, Errno> {
        answer!(self.call(Call::Bpf(Bpf::ProgramQuery(query))), Query)
    }

    /// Sets or takes away a socket's program.
    pub fn socket_program(
        &self,
        socket: BorrowedFd<'_>,
        place: SocketPlace,
        program: Option<BorrowedFd<'_>>,
    ) -> Result<(), Errno> {
        self.done(Call::SocketProgram {
            socket,
            place,
            program,
        })
    }

    /// Sends one request of rtnetlink(7); gives all messages of the answer.
    pub fn netlink(&self, request: &[u8]) -> Result<Vec<u8>, Errno> {
        answer!(self.call(Call::Netlink(request)), Bytes)
    }

    /// Finds the number of a network interface.
    pub fn interface_index(&self, name: &CStr) -> Result<u32, Errno> {
        narrow(answer!(self.call(Call::InterfaceIndex(name)), Number)?)
    }
}
