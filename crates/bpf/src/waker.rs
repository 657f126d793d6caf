//! Waking a thread that waits in a reader.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use kscope_sys::SharedKernel;

use crate::error::Error;

/// Ends another thread's wait. Clones wake the same reader.
#[derive(Clone, Debug)]
pub struct Waker {
    kernel: SharedKernel,
    event: Arc<OwnedFd>,
}

impl Waker {
    pub(crate) fn new(kernel: &SharedKernel) -> Result<Waker, Error> {
        let event = kernel.eventfd().map_err(|e| Error::os("eventfd", e, ""))?;
        Ok(Waker {
            kernel: kernel.clone(),
            event: Arc::new(event),
        })
    }

    /// Ends the wait under way, or the next one.
    pub fn wake(&self) {
        // The one error a full counter gives means that it is readable already.
        let _ = self.kernel.write(self.event.as_fd(), &1u64.to_ne_bytes());
    }

    /// Takes a wake-up back, once it has been noticed.
    pub(crate) fn clear(&self) {
        let _ = self.kernel.read(self.event.as_fd(), &mut [0; 8]);
    }

    pub(crate) fn event(&self) -> &OwnedFd {
        &self.event
    }
}
