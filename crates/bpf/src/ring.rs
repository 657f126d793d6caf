//! Reading BPF ring buffers (Linux 5.8).

use std::ops::ControlFlow;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use kscope_sys::{Errno, RingConsumer, SharedKernel};

use crate::error::Error;
use crate::event::EventRound;
use crate::map::Map;
use crate::waker::Waker;

/// Token of the waker among those of the rings, which are counted from 0.
const WAKER: u64 = u64::MAX;

/// The one reader of one or several ring buffer maps.
#[derive(Debug)]
pub struct RingBuffer {
    kernel: SharedKernel,
    rings: Vec<(Map, RingConsumer)>,
    epoll: OwnedFd,
    waker: Waker,
    /// The last round left records behind, for which no wake-up will come.
    more: bool,
}

impl RingBuffer {
    /// Maps the rings. A map can have one reader at a time.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for no maps, [`Error::Os`] with `EINVAL` for maps of another kind
    /// and `EBUSY` for one that has a reader.
    pub fn new(maps: &[&Map]) -> Result<RingBuffer, Error> {
        let first = maps
            .first()
            .ok_or_else(|| Error::invalid("a reader of no ring buffer"))?;
        let kernel = first.kernel().clone();
        let epoll = kernel
            .epoll_create()
            .map_err(|e| Error::os("epoll_create1", e, ""))?;
        let waker = Waker::new(&kernel)?;
        let watch = |fd: BorrowedFd<'_>, token: u64| {
            let added = kernel.epoll_add(epoll.as_fd(), fd, token);
            added.map_err(|e| Error::os("epoll_ctl", e, "a ring buffer"))
        };
        watch(waker.event().as_fd(), WAKER)?;
        let mut rings = Vec::new();
        for (token, &map) in (0..).zip(maps) {
            let ring = RingConsumer::new(&*kernel, map.fd());
            let ring = ring.map_err(|e| map.failed("mmap", e))?;
            watch(map.as_fd(), token)?;
            rings.push((map.clone(), ring));
        }
        Ok(RingBuffer {
            kernel: kernel.clone(),
            rings,
            epoll,
            waker,
            more: false,
        })
    }

    /// Gives each record that is there now to `each`, in place, one ring's worth at most. Records
    /// that a program is still writing, and those behind them, come in a later round.
    ///
    /// # Errors
    ///
    /// [`Error::Os`] with `EIO` where a ring's content makes no sense.
    pub fn for_each(&mut self, each: &mut dyn FnMut(&[u8])) -> Result<EventRound, Error> {
        let mut round = EventRound::default();
        self.more = false;
        for (map, ring) in &mut self.rings {
            let met = ring.consume(|record| {
                each(record);
                ControlFlow::Continue(())
            });
            let met = met.map_err(|e| Error::os("reading", e, format!("map {}", map.name())))?;
            round.records += met.records;
            round.discarded += met.discarded;
            self.more |= met.more;
        }
        Ok(round)
    }

    /// Waits for records, the time-out or a waker, then gives each record to `each`. Records sent
    /// without a wake-up (`BPF_RB_NO_WAKEUP`) do not end the wait, but are read when it ends.
    ///
    /// # Errors
    ///
    /// As [`RingBuffer::for_each`].
    pub fn poll(
        &mut self,
        timeout: Option<Duration>,
        each: &mut dyn FnMut(&[u8]),
    ) -> Result<EventRound, Error> {
        let mut round = EventRound::default();
        let timeout = if self.more {
            Some(Duration::ZERO)
        } else {
            timeout
        };
        match self.kernel.epoll_wait(self.epoll.as_fd(), timeout) {
            Ok(ready) if ready.tokens().contains(&WAKER) => {
                self.waker.clear();
                round.woken = true;
            }
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(Error::os("epoll_wait", errno, "")),
        }
        round.add(self.for_each(each)?);
        Ok(round)
    }

    /// Gives the bytes that wait in all rings together.
    pub fn available(&self) -> u64 {
        self.rings.iter().map(|(_, ring)| ring.available()).sum()
    }

    /// Gives a handle that ends a wait from another thread.
    pub fn waker(&self) -> Waker {
        self.waker.clone()
    }
}

impl AsFd for RingBuffer {
    /// Gives a descriptor that is readable when a ring is, or the waker called.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}
