//! Links: programs attached to where they run.
//!
//! Most are held by descriptors alone, so that dropping the [`Link`], or the end of the process,
//! detaches the program. What the kernel attaches without a descriptor (tc filters, old ways of
//! attaching to cgroups, sockets and interfaces) is taken back when the [`Link`] is dropped, but
//! stays if the process is killed; the methods that attach so say it.

mod auto;
mod cgroup;
mod extension;
mod iter;
mod kernel_probe;
mod legacy;
mod manage;
mod netfilter;
mod netlink;
mod network;
mod perf;
mod raw;
mod route;
mod socket;
mod static_probe;
mod struct_ops;
mod tc;
mod tracepoint;
mod user_probe;

use std::fmt;
use std::os::fd::{BorrowedFd, OwnedFd};

use kscope_sys::SharedKernel;

pub use auto::{AttachOutcome, Attachment};
pub use cgroup::CgroupMode;
pub use iter::IterReader;
pub use kernel_probe::KprobeAt;
pub(crate) use kernel_probe::ProbeSource;
use kernel_probe::matches;
use legacy::Undo;
pub use manage::{LinkDetails, LinkKind, PerfDetails};
pub(crate) use manage::{open_pin, pin};
pub use netfilter::NetfilterHook;
pub use network::{Interface, NetkitSide, XdpMode};
pub(crate) use perf::PERF_EVENT;
pub use route::Route;
pub use static_probe::Usdt;
pub use tc::{Direction, TcFilter};
pub use user_probe::{Uprobe, UprobePlace};

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
        use std::os::fd::AsFd;
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
