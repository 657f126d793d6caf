//! Links: programs attached to where they run.
//!
//! Every link is held by descriptors alone, so that dropping it, or the end of the process,
//! detaches the program.

mod iter;
mod perf;
mod probe;
mod raw;
mod tracepoint;

use std::os::fd::OwnedFd;

pub use iter::IterReader;
pub(crate) use perf::PERF_EVENT;
pub use probe::KprobeAt;
pub(crate) use probe::ProbeSource;

/// A program attached; dropping it detaches.
#[derive(Debug)]
pub struct Link {
    /// Dropped in this order: the BPF link first, then the perf events it sits on.
    #[allow(
        dead_code,
        reason = "held: the program is detached when they are closed"
    )]
    fds: Vec<OwnedFd>,
    target: String,
}

impl Link {
    pub(crate) fn new(fds: Vec<OwnedFd>, target: impl Into<String>) -> Link {
        Link {
            fds,
            target: target.into(),
        }
    }

    /// Tells what the program is attached to.
    pub fn target(&self) -> &str {
        &self.target
    }
}

#[cfg(test)]
mod tests;
