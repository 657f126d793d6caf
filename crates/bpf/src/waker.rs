//! Waiting for rings, and waking the thread that does.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use kscope_sys::{Errno, SharedKernel};

use crate::error::Error;

/// Token of the waker among those of the rings.
const WAKER: u64 = u64::MAX;

/// Waits until one of several rings can be read, or the waker calls.
#[derive(Debug)]
pub(crate) struct Waiter {
    kernel: SharedKernel,
    epoll: OwnedFd,
    waker: Waker,
}

impl Waiter {
    pub(crate) fn new(kernel: &SharedKernel) -> Result<Waiter, Error> {
        let epoll = kernel.epoll_create();
        let waiter = Waiter {
            kernel: kernel.clone(),
            epoll: epoll.map_err(|e| Error::os("epoll_create1", e, ""))?,
            waker: Waker::new(kernel)?,
        };
        waiter.watch(waiter.waker.event.as_fd(), WAKER)?;
        Ok(waiter)
    }

    /// Waits for `fd` as well from now on, until it is closed.
    pub(crate) fn watch(&self, fd: BorrowedFd<'_>, token: u64) -> Result<(), Error> {
        let added = self.kernel.epoll_add(self.epoll.as_fd(), fd, token);
        added.map_err(|e| Error::os("epoll_ctl", e, "a ring"))
    }

    /// Waits; tells whether the waker called. A signal ends the wait as well.
    pub(crate) fn wait(&self, timeout: Option<Duration>) -> Result<bool, Error> {
        self.ended(timeout).map(|ended| ended == WaitEnd::Woken)
    }

    /// Waits; tells what ended it.
    pub(crate) fn ended(&self, timeout: Option<Duration>) -> Result<WaitEnd, Error> {
        match self.kernel.epoll_wait(self.epoll.as_fd(), timeout) {
            Ok(ready) if ready.tokens().contains(&WAKER) => {
                self.waker.clear();
                Ok(WaitEnd::Woken)
            }
            Ok(_) => Ok(WaitEnd::ReadyOrLate),
            Err(Errno::INTR) => Ok(WaitEnd::Interrupted),
            Err(errno) => Err(Error::os("epoll_wait", errno, "")),
        }
    }

    pub(crate) fn waker(&self) -> Waker {
        self.waker.clone()
    }
}

impl AsFd for Waiter {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}

/// What ended a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WaitEnd {
    /// A waker called.
    Woken,
    /// A signal came.
    Interrupted,
    /// Something is there to be read, or the time has passed.
    ReadyOrLate,
}

/// Ends another thread's wait. Clones wake the same reader.
#[derive(Clone, Debug)]
pub struct Waker {
    kernel: SharedKernel,
    event: Arc<OwnedFd>,
}

impl Waker {
    fn new(kernel: &SharedKernel) -> Result<Waker, Error> {
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
    fn clear(&self) {
        let _ = self.kernel.read(self.event.as_fd(), &mut [0; 8]);
    }
}
