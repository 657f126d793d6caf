//! Programs of a cgroup.

use std::os::fd::{AsFd, BorrowedFd};

use kscope_spec::{AttachKind, AttachType, ProgramType};
use kscope_sys::{AttachTarget, Errno, LinkCreate, LinkTarget, Order, ProgramAttach, ProgramQuery};

use super::legacy::Undo;
use super::socket::own;
use super::{Hold, Link};
use crate::error::Error;
use crate::program::Program;

/// `BPF_F_QUERY_EFFECTIVE`: what runs at a hook, inherited programs included.
const EFFECTIVE: u32 = 1;

/// Whom a program that is attached without a link leaves room for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum CgroupMode {
    /// Nobody: neither here nor below.
    Only,
    /// A cgroup below may have another instead.
    Override,
    /// Any number, here and below, all of which run.
    #[default]
    Multi,
    /// As [`CgroupMode::Multi`], and this one runs before those of the cgroups below (6.15).
    MultiBeforeDescendants,
}

impl CgroupMode {
    fn flags(self) -> u32 {
        match self {
            CgroupMode::Only => 0,
            CgroupMode::Override => 1,
            CgroupMode::Multi => 2,
            CgroupMode::MultiBeforeDescendants => 2 | 1 << 6,
        }
    }
}

impl Program {
    /// Gives the hook of a cgroup that the program is for: what it was loaded as, or the only one
    /// of its type.
    fn cgroup_hook(&self) -> Result<u32, Error> {
        let only = match self.kind {
            ProgramType::CgroupSkb
            | ProgramType::CgroupSockAddr
            | ProgramType::CgroupSockopt
            | ProgramType::CgroupSock
            | ProgramType::CgroupDevice
            | ProgramType::CgroupSysctl
            | ProgramType::SockOps => match (self.expected(), self.kind) {
                (Some(attach_type), _) => Some(attach_type),
                (None, ProgramType::CgroupSock) => Some(AttachType::CgroupInetSockCreate),
                (None, ProgramType::CgroupDevice) => Some(AttachType::CgroupDevice),
                (None, ProgramType::CgroupSysctl) => Some(AttachType::CgroupSysctl),
                (None, ProgramType::SockOps) => Some(AttachType::CgroupSockOps),
                (None, _) => {
                    return Err(Error::invalid(format!(
                        "program {} was loaded without an attach type, so the cgroup's hook is not known",
                        self.name
                    )));
                }
            },
            ProgramType::Lsm if matches!(*self.attach, AttachKind::LsmCgroup(_)) => {
                Some(AttachType::LsmCgroup)
            }
            _ => None,
        };
        only.map(|attach_type| attach_type as u32)
            .ok_or_else(|| self.wrong_kind("a cgroup"))
    }

    /// Attaches a program to a cgroup (an open directory of cgroup2), for it and all below it.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for a program of another kind or a descriptor that is no cgroup,
    /// [`Error::Os`] with `EPERM` where a program above forbids it.
    ///
    /// # Minimum kernel version
    ///
    /// Linux 5.7; an `order` needs 6.17.
    pub fn attach_cgroup(&self, cgroup: BorrowedFd<'_>, order: Order<'_>) -> Result<Link, Error> {
        let attach_type = self.cgroup_hook()?;
        let create = |cgroup| {
            self.kernel.link_create(LinkCreate {
                program: self.as_fd(),
                attach_type,
                target: LinkTarget::Cgroup { cgroup, order },
            })
        };
        let ordered = !matches!(order, Order::Unsaid);
        // A kernel that knows orders says of a program that it is no cgroup; one that does not has
        // no look at the descriptor.
        let knows_order = || create(self.as_fd()).err() == Some(Errno::BADF);
        let fd = create(cgroup).map_err(|errno| match errno {
            Errno::INVAL | Errno::TOO_BIG if ordered && !knows_order() => {
                Error::unsupported("order among a cgroup's programs", "Linux 6.17")
            }
            errno => self.cgroup_failed("BPF_LINK_CREATE", errno, cgroup, attach_type),
        })?;
        Ok(Link::of(&self.kernel, fd, self.cgroup_target(attach_type)))
    }

    /// Attaches a program to a cgroup without a link, in place of `replace` if that is given.
    ///
    /// Dropping the link detaches it; it stays if the process is killed.
    ///
    /// # Errors
    ///
    /// As [`Program::attach_cgroup`]; [`Error::Os`] with `ENOENT` where `replace` is not there.
    pub fn attach_cgroup_unlinked(
        &self,
        cgroup: BorrowedFd<'_>,
        mode: CgroupMode,
        replace: Option<&Program>,
        order: Order<'_>,
    ) -> Result<Link, Error> {
        let attach_type = self.cgroup_hook()?;
        let held = own(cgroup, "a cgroup")?;
        let attached = self.kernel.program_attach(ProgramAttach {
            target: AttachTarget::Descriptor(cgroup),
            program: self.as_fd(),
            attach_type,
            flags: mode.flags(),
            replace: replace.map(AsFd::as_fd),
            order,
        });
        attached
            .map_err(|errno| self.cgroup_failed("BPF_PROG_ATTACH", errno, cgroup, attach_type))?;
        let undo = Undo::Program {
            target: held,
            program: self.fd.clone(),
            attach_type,
        };
        Ok(Link::new(
            &self.kernel,
            Hold::Undo(undo),
            self.cgroup_target(attach_type),
        ))
    }

    fn cgroup_target(&self, attach_type: u32) -> String {
        match AttachType::from_number(attach_type) {
            Some(hook) => format!("cgroup:{hook:?}"),
            None => format!("cgroup:{attach_type}"),
        }
    }

    fn cgroup_failed(
        &self,
        call: &'static str,
        errno: Errno,
        cgroup: BorrowedFd<'_>,
        attach_type: u32,
    ) -> Error {
        let (name, kernel) = (&self.name, &self.kernel);
        // Whether a program stands at this hook already, here or above.
        let is_taken = || {
            let query = ProgramQuery {
                target: AttachTarget::Descriptor(cgroup),
                attach_type,
                flags: EFFECTIVE,
                ids: &mut [],
            };
            kernel.program_query(query).is_ok_and(|held| held.count > 0)
        };
        match errno {
            Errno::BADF => Error::invalid("the descriptor is no directory of cgroup2"),
            Errno::PERM if is_taken() => Error::os(
                call,
                errno,
                format!(
                    "program {name} (one that is at this hook, here or in a cgroup above, may have left no \
                     room for others or been attached in another mode)"
                ),
            ),
            errno => self.failed(call, errno, &format!("program {name}")),
        }
    }
}
