//! Links: programs attached to where they run.
//!
//! Most are held by descriptors alone, so that dropping the [`Link`], or the end of the process,
//! detaches the program. What the kernel attaches without a descriptor (tc filters, old ways of
//! attaching to cgroups, sockets and interfaces) is taken back when the [`Link`] is dropped, but
//! stays if the process is killed; the methods that attach so say it.

mod auto;
#[cfg(feature = "network")]
mod cgroup;
#[cfg(feature = "extend")]
mod extension;
#[cfg(feature = "multi")]
mod functions;
#[cfg(feature = "iter")]
mod iter;
mod kernel_probe;
mod legacy;
#[cfg(feature = "uprobe")]
mod look;
#[cfg(feature = "manage")]
mod manage;
#[cfg(feature = "multi")]
mod many;
#[cfg(feature = "network")]
mod netfilter;
#[cfg(feature = "network")]
mod netlink;
#[cfg(feature = "network")]
mod network;
mod perf;
#[cfg(feature = "manage")]
mod pin;
mod raw;
#[cfg(feature = "network")]
mod route;
#[cfg(feature = "network")]
mod socket;
#[cfg(feature = "uprobe")]
mod static_probe;
#[cfg(feature = "struct_ops")]
mod struct_ops;
#[cfg(feature = "network")]
mod tc;
mod together;
mod tracepoint;
#[cfg(feature = "uprobe")]
mod user_probe;
#[cfg(feature = "uprobe")]
mod user_section;

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use kscope_sys::{Errno, SharedKernel};

pub use auto::{AttachOutcome, Attachment};
#[cfg(feature = "network")]
pub use cgroup::CgroupMode;
#[cfg(feature = "iter")]
pub use iter::IterReader;
pub use kernel_probe::KprobeAt;
#[cfg(feature = "explain")]
pub(crate) use kernel_probe::ProbeSource;
use legacy::Undo;
#[cfg(feature = "manage")]
pub use manage::{LinkDetails, LinkKind, PerfDetails};
#[cfg(feature = "network")]
pub use netfilter::NetfilterHook;
#[cfg(feature = "network")]
pub use network::{Interface, NetkitSide, XdpMode};
#[cfg(feature = "manage")]
pub(crate) use pin::{open_pin, pin};
#[cfg(feature = "network")]
pub use route::Route;
#[cfg(feature = "uprobe")]
pub use static_probe::Usdt;
#[cfg(feature = "network")]
pub use tc::{Direction, TcFilter};
pub use together::detach_all;
#[cfg(feature = "uprobe")]
pub use user_probe::{OpenUprobe, Uprobe, UprobePlace};

use crate::error::Error;

/// A program attached; dropping it detaches.
#[derive(Debug)]
pub struct Link {
    kernel: SharedKernel,
    hold: Hold,
    target: String,
}

/// By what a program is attached.
enum Hold {
    /// By BPF links; more than one where an event is opened on each CPU.
    Links(Vec<OwnedFd>),
    /// By perf events that the program was set on.
    Events(Vec<OwnedFd>),
    /// By nothing of ours: this takes it back.
    #[cfg_attr(
        not(any(feature = "network", feature = "struct_ops")),
        allow(dead_code, reason = "other families have links")
    )]
    Undo(Undo),
    /// By nothing any more.
    Detached,
}

impl fmt::Debug for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Hold::Links(fds) => f.debug_tuple("Links").field(fds).finish(),
            Hold::Events(fds) => f.debug_tuple("Events").field(fds).finish(),
            Hold::Undo(_) => f.write_str("Undo"),
            Hold::Detached => f.write_str("Detached"),
        }
    }
}

impl Link {
    fn new(kernel: &SharedKernel, hold: Hold, target: impl Into<String>) -> Link {
        Link {
            kernel: kernel.clone(),
            hold,
            target: target.into(),
        }
    }

    /// A link held by one descriptor.
    fn of(kernel: &SharedKernel, fd: OwnedFd, target: impl Into<String>) -> Link {
        Link::new(kernel, Hold::Links(vec![fd]), target)
    }

    /// Makes one of links that belong together.
    #[cfg(feature = "uprobe")]
    fn joined(kernel: &SharedKernel, links: Vec<Link>, target: String) -> Link {
        let (mut all, mut events) = (Vec::new(), Vec::new());
        for mut link in links {
            match std::mem::replace(&mut link.hold, Hold::Detached) {
                Hold::Links(fds) => all.extend(fds),
                Hold::Events(fds) => events.extend(fds),
                // Put back, so that its own end undoes it.
                other => link.hold = other,
            }
        }
        // A kernel has links for all perf events or for none.
        if events.is_empty() {
            return Link::new(kernel, Hold::Links(all), target);
        }
        events.extend(all);
        Link::new(kernel, Hold::Events(events), target)
    }

    /// Tells what the program is attached to.
    pub fn target(&self) -> &str {
        &self.target
    }

    /// Gives the BPF link's descriptor.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] where the kernel holds it by something else.
    pub fn bpf_link(&self) -> Result<BorrowedFd<'_>, Error> {
        match &self.hold {
            Hold::Links(fds) if fds.len() == 1 => Ok(fds[0].as_fd()),
            Hold::Links(fds) => Err(Error::invalid(format!(
                "{} is {} BPF links, one for each CPU or place",
                self.target,
                fds.len()
            ))),
            Hold::Events(_) => Err(Error::invalid(format!(
                "{} is held by a perf event, not by a BPF link (those come with Linux 5.15)",
                self.target
            ))),
            Hold::Undo(_) => Err(Error::invalid(format!(
                "{} was attached without a BPF link",
                self.target
            ))),
            Hold::Detached => Err(Error::invalid(format!("{} is detached", self.target))),
        }
    }

    /// Detaches now, and says whether that went well; a pinned link stays, without its target.
    ///
    /// Links on perf events and those of tracing programs the kernel detaches only when nobody holds
    /// them: such a link is closed, and the program runs on where it is pinned or open elsewhere.
    ///
    /// # Errors
    ///
    /// What the kernel says; the link is closed nevertheless.
    pub fn detach(mut self) -> Result<(), Error> {
        match std::mem::replace(&mut self.hold, Hold::Detached) {
            Hold::Undo(undo) => undo.run(&self.kernel),
            Hold::Links(fds) => {
                let mut outcome = Ok(());
                for fd in fds {
                    match self.kernel.link_detach(fd.as_fd()) {
                        // Closing it, which follows, does the same unless somebody else holds it.
                        Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOTSUPP) => {}
                        Err(errno) => {
                            let failed = Error::os("BPF_LINK_DETACH", errno, &self.target);
                            outcome = outcome.and(Err(failed));
                        }
                    }
                }
                outcome
            }
            Hold::Events(_) | Hold::Detached => Ok(()),
        }
    }

    /// Leaves the program attached when this value is gone: what is held by descriptors stays
    /// until the process ends, all else for good.
    pub fn leave(mut self) {
        let hold = std::mem::replace(&mut self.hold, Hold::Detached);
        std::mem::forget(hold);
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        if let Hold::Undo(undo) = std::mem::replace(&mut self.hold, Hold::Detached) {
            // What is gone already needs no undoing, and a destructor has nobody to tell.
            let _ = undo.run(&self.kernel);
        }
    }
}

#[cfg(test)]
mod fake_tests;
#[cfg(test)]
mod tests;
