//! Programs of sockets, of maps of sockets, and of network namespaces.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use kscope_spec::{AttachType, MapKind, ProgramType};
use kscope_sys::{AttachTarget, Errno, LinkCreate, LinkTarget, Order, ProgramAttach, SocketPlace};

use super::legacy::Undo;
use super::{Hold, Link};
use crate::error::Error;
use crate::map::Map;
use crate::program::Program;

/// Gives a descriptor of one's own to take an attachment back by. It is made before the program is
/// attached: where there is no room for it, nothing is left behind that nobody can take back.
pub(super) fn own(fd: BorrowedFd<'_>, what: &str) -> Result<OwnedFd, Error> {
    fd.try_clone_to_owned()
        .map_err(|error| Error::os("fcntl", Errno::from_io(&error), what))
}

impl Program {
    /// Attaches a [`ProgramType::SocketFilter`] program to a socket: it says how many bytes of
    /// each incoming packet the socket gets.
    ///
    /// Dropping the link takes it away; so does closing the socket everywhere.
    ///
    /// # Errors
    ///
    /// [`Error::Os`] with `ENOTSOCK` for another descriptor, `EPERM` for a socket whose filter is
    /// locked.
    pub fn attach_socket(&self, socket: BorrowedFd<'_>) -> Result<Link, Error> {
        self.must_be(ProgramType::SocketFilter, "a socket")?;
        self.attach_to_socket(socket, SocketPlace::Filter)
    }

    /// Attaches a program to the group of sockets that share this one's address
    /// (`SO_REUSEPORT`): it chooses who gets a packet or connection.
    ///
    /// # Errors
    ///
    /// As [`Program::attach_socket`]; [`Error::Os`] with `EINVAL` for a socket that shares
    /// nothing.
    pub fn attach_reuseport(&self, socket: BorrowedFd<'_>) -> Result<Link, Error> {
        if !matches!(
            self.kind,
            ProgramType::SkReuseport | ProgramType::SocketFilter
        ) {
            return Err(self.wrong_kind("sockets that share an address"));
        }
        self.attach_to_socket(socket, SocketPlace::Reuseport)
    }

    fn attach_to_socket(&self, socket: BorrowedFd<'_>, place: SocketPlace) -> Result<Link, Error> {
        let target = format!("socket:{place:?}");
        let held = own(socket, "a socket")?;
        let set = self
            .kernel
            .socket_program(socket, place, Some(self.as_fd()));
        set.map_err(|errno| match errno {
            // No capability is asked for here.
            Errno::PERM => Error::os(
                "setsockopt",
                errno,
                format!("{target}, whose filter may be locked (SO_LOCK_FILTER)"),
            ),
            errno => self.failed("setsockopt", errno, &target),
        })?;
        let undo = Undo::Socket {
            socket: held,
            place,
        };
        Ok(Link::new(&self.kernel, Hold::Undo(undo), target))
    }

    /// Attaches a program to a map of sockets, for all that are in it or come into it: a
    /// [`ProgramType::SkMsg`] program to what they send, a [`ProgramType::SkSkb`] program to what
    /// they get.
    ///
    /// By a link from Linux 6.10 on; before that dropping it detaches the program, which stays if
    /// the process is killed.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for another kind of map or program, [`Error::Os`] with `EBUSY` where a
    /// program is there.
    pub fn attach_socket_map(&self, map: &Map) -> Result<Link, Error> {
        let attach_type = match (self.kind, self.expected()) {
            (ProgramType::SkMsg, _) => AttachType::SkMsgVerdict,
            (ProgramType::SkSkb, Some(attach_type)) => attach_type,
            (ProgramType::SkSkb, None) => AttachType::SkSkbStreamVerdict,
            _ => return Err(self.wrong_kind("a map of sockets")),
        };
        if !matches!(map.kind(), MapKind::SockMap | MapKind::SockHash) {
            return Err(Error::invalid(format!(
                "map {} holds no sockets",
                map.name()
            )));
        }
        let target = format!("sockmap:{}:{attach_type:?}", map.name());
        let created = self.kernel.link_create(LinkCreate {
            program: self.as_fd(),
            attach_type: attach_type as u32,
            target: LinkTarget::Descriptor(map.as_fd()),
        });
        match created {
            Ok(fd) => return Ok(Link::of(&self.kernel, fd, target)),
            Err(Errno::INVAL | Errno::OPNOTSUPP | Errno::NOTSUPP) => {}
            Err(errno) => return Err(self.failed("BPF_LINK_CREATE", errno, &target)),
        }
        let held = own(map.as_fd(), "a map")?;
        let attached = self.kernel.program_attach(ProgramAttach {
            target: AttachTarget::Descriptor(map.as_fd()),
            program: self.as_fd(),
            attach_type: attach_type as u32,
            flags: 0,
            replace: None,
            order: Order::Unsaid,
        });
        attached.map_err(|errno| match errno {
            Errno::OPNOTSUPP => Error::unsupported(
                format!("{attach_type:?} programs of maps of sockets"),
                match attach_type {
                    AttachType::SkSkbVerdict => "Linux 5.13",
                    _ => "CONFIG_BPF_STREAM_PARSER",
                },
            ),
            errno => self.failed("BPF_PROG_ATTACH", errno, &target),
        })?;
        let undo = Undo::Program {
            target: held,
            program: self.fd.clone(),
            attach_type: attach_type as u32,
        };
        Ok(Link::new(&self.kernel, Hold::Undo(undo), target))
    }

    /// Attaches a [`ProgramType::SkLookup`] or [`ProgramType::FlowDissector`] program to a network
    /// namespace (an open `/proc/…/ns/net`).
    ///
    /// # Errors
    ///
    /// [`Error::Os`] with `EEXIST` where a flow dissector is there already (also in the first
    /// namespace, for all), [`Error::Invalid`] for a descriptor that is no namespace.
    ///
    /// # Minimum kernel version
    ///
    /// Linux 5.8, [`ProgramType::SkLookup`] 5.9.
    pub fn attach_namespace(&self, namespace: BorrowedFd<'_>) -> Result<Link, Error> {
        let attach_type = match self.kind {
            ProgramType::SkLookup => AttachType::SkLookup,
            ProgramType::FlowDissector => AttachType::FlowDissector,
            _ => return Err(self.wrong_kind("a network namespace")),
        };
        let target = format!("netns:{attach_type:?}");
        let created = self.kernel.link_create(LinkCreate {
            program: self.as_fd(),
            attach_type: attach_type as u32,
            target: LinkTarget::Descriptor(namespace),
        });
        let fd = created.map_err(|errno| match errno {
            Errno::BADF | Errno::INVAL => Error::invalid("the descriptor is no network namespace"),
            errno => self.failed("BPF_LINK_CREATE", errno, &target),
        })?;
        Ok(Link::of(&self.kernel, fd, target))
    }
}
