//! Reading BPF ring buffers (Linux 5.8).

use std::ops::ControlFlow;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use kscope_spec::MapKind;
use kscope_sys::{Errno, MapFd, RingConsumer, SharedKernel};

use crate::error::Error;
use crate::event::EventRound;
use crate::map::Map;
use crate::waker::{Waiter, Waker};

/// How a ring is mapped.
type Consumer = fn(&SharedKernel, &MapFd) -> Result<RingConsumer, Errno>;

/// The one reader of one or several ring buffer maps.
#[derive(Debug)]
pub struct RingBuffer {
    rings: Vec<(Map, RingConsumer)>,
    waiter: Waiter,
    /// The last round left records behind, for which no wake-up will come.
    more: bool,
}

impl RingBuffer {
    /// Maps the rings. A map can have one reader at a time.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for no maps and for maps of another kind, [`Error::Os`] with `EBUSY` for
    /// one that has a reader.
    pub fn new(maps: &[&Map]) -> Result<RingBuffer, Error> {
        RingBuffer::of(maps, RingConsumer::new)
    }

    /// Maps 2 MB of each ring at a time: all that is mapped counts as this process's memory. A large ring that is full all the
    /// time is read somewhat more slowly, by 2 ns for a record of 40 bytes.
    ///
    /// # Errors
    ///
    /// As [`RingBuffer::new`].
    pub fn in_parts(maps: &[&Map]) -> Result<RingBuffer, Error> {
        RingBuffer::of(maps, RingConsumer::in_parts)
    }

    fn of(maps: &[&Map], consumer: Consumer) -> Result<RingBuffer, Error> {
        let first = maps
            .first()
            .ok_or_else(|| Error::invalid("a reader of no ring buffer"))?;
        let waiter = Waiter::new(first.kernel())?;
        let mut rings = Vec::new();
        for (token, &map) in (0..).zip(maps) {
            map.must_be(MapKind::RingBuf, "ring buffer")?;
            let ring = consumer(map.kernel(), map.fd());
            let ring = ring.map_err(|e| map.failed("mmap", e))?;
            waiter.watch(map.as_fd(), token)?;
            rings.push((map.clone(), ring));
        }
        Ok(RingBuffer {
            rings,
            waiter,
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
        let timeout = if self.more {
            Some(Duration::ZERO)
        } else {
            timeout
        };
        let woken = self.waiter.wait(timeout)?;
        let round = self.for_each(each)?;
        Ok(EventRound { woken, ..round })
    }

    /// Gives the bytes that wait in all rings together.
    pub fn available(&self) -> u64 {
        self.rings.iter().map(|(_, ring)| ring.available()).sum()
    }

    /// Gives a handle that ends a wait from another thread.
    pub fn waker(&self) -> Waker {
        self.waiter.waker()
    }
}

impl AsFd for RingBuffer {
    /// Gives a descriptor that is readable when a ring is, or the waker called.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.waiter.as_fd()
    }
}
