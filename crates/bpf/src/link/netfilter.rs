//! Netfilter's hooks.

use std::os::fd::AsFd;

use kscope_spec::{AttachType, ProgramType};
use kscope_sys::{Errno, LinkCreate, LinkTarget};

use super::Link;
use crate::error::Error;
use crate::program::Program;

/// Where in netfilter a program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NetfilterHook {
    /// `NFPROTO_*`: 2 is IPv4, 10 IPv6.
    pub family: u32,
    /// `NF_INET_*`: 0 prerouting, 1 local in, 2 forward, 3 local out, 4 postrouting.
    pub hook: u32,
    /// Smaller ones run first; neither the smallest nor the largest number.
    pub priority: i32,
    /// Puts fragments together before the program sees them (needs a priority above -400).
    pub defragment: bool,
}

impl Program {
    /// Attaches a [`ProgramType::Netfilter`] program to a hook.
    ///
    /// # Errors
    ///
    /// [`Error::Os`] with `EBUSY` where a program has this priority, [`Error::Invalid`] for a
    /// family, hook or priority that netfilter does not have.
    ///
    /// # Minimum kernel version
    ///
    /// Linux 6.4 with CONFIG_NETFILTER_BPF_LINK; defragmentation 6.6.
    pub fn attach_netfilter(&self, at: &NetfilterHook) -> Result<Link, Error> {
        const DEFRAGMENT: u32 = 1;
        self.must_be(ProgramType::Netfilter, "netfilter")?;
        let target = format!("netfilter:{}:{}:{}", at.family, at.hook, at.priority);
        let created = self.kernel.link_create(LinkCreate {
            program: self.as_fd(),
            attach_type: AttachType::Netfilter as u32,
            target: LinkTarget::Netfilter {
                family: at.family,
                hook: at.hook,
                priority: at.priority,
                flags: if at.defragment { DEFRAGMENT } else { 0 },
            },
        });
        let fd = created.map_err(|errno| match errno {
            Errno::OPNOTSUPP | Errno::AFNOSUPPORT if at.defragment => Error::unsupported(
                "defragmentation for netfilter programs",
                "Linux 6.6 with CONFIG_NF_DEFRAG_IPV4",
            ),
            Errno::OPNOTSUPP => Error::unsupported("netfilter links", "CONFIG_NETFILTER_BPF_LINK"),
            Errno::AFNOSUPPORT | Errno::PROTO | Errno::RANGE | Errno::INVAL => {
                Error::invalid(format!("netfilter has no hook {target} ({errno})"))
            }
            errno => self.failed("BPF_LINK_CREATE", errno, &target),
        })?;
        Ok(Link::of(&self.kernel, fd, target))
    }
}
