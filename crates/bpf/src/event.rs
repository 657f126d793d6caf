//! Reading what programs send, by either kind of buffer.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use crate::error::Error;
#[cfg(feature = "buffers")]
use crate::perf_buffer::PerfBuffer;
use crate::ring::RingBuffer;
use crate::waker::Waker;

/// What one wait or drain met.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EventRound {
    /// Records given to the callback.
    pub records: u64,
    /// Records that programs took back (ring buffer).
    pub discarded: u64,
    /// Records that the kernel reports as lost (perf buffer; a ring buffer's programs must count
    /// their own failures to reserve).
    pub lost: u64,
    /// A [`Waker`] ended the wait.
    pub woken: bool,
}

/// A reader of events.
///
/// Samples of a perf buffer may end in up to 7 bytes of padding; records must know their length.
#[derive(Debug)]
pub enum EventReader {
    /// Ring buffers, shared by all CPUs.
    Ring(RingBuffer),
    /// A perf buffer, one ring for each CPU.
    #[cfg(feature = "buffers")]
    Perf(PerfBuffer),
}

impl EventReader {
    /// Gives every record that is there now to `each`, without waiting.
    ///
    /// # Errors
    ///
    /// [`Error::Os`] where a ring's content makes no sense.
    pub fn drain(&mut self, each: &mut dyn FnMut(&[u8])) -> Result<EventRound, Error> {
        match self {
            EventReader::Ring(ring) => ring.for_each(each),
            #[cfg(feature = "buffers")]
            EventReader::Perf(perf) => perf.for_each(each),
        }
    }

    /// Waits until there are records, the time is over or a waker calls, and drains.
    ///
    /// # Errors
    ///
    /// As [`EventReader::drain`]; `EINTR` after a signal is not an error but an empty round.
    pub fn poll(
        &mut self,
        timeout: Option<Duration>,
        each: &mut dyn FnMut(&[u8]),
    ) -> Result<EventRound, Error> {
        match self {
            EventReader::Ring(ring) => ring.poll(timeout, each),
            #[cfg(feature = "buffers")]
            EventReader::Perf(perf) => perf.poll(timeout, each),
        }
    }

    /// Gives how many samples a perf buffer lost so far, see its own `lost`; at the end this
    /// can be more than the rounds reported. A ring buffer loses none by itself.
    pub fn lost(&self) -> u64 {
        match self {
            EventReader::Ring(_) => 0,
            #[cfg(feature = "buffers")]
            EventReader::Perf(perf) => perf.lost(),
        }
    }

    /// Gives the bytes that wait in ring buffers, those of records that programs are still writing included; 0 for a perf
    /// buffer, whose samples are there whole or not at all.
    pub fn available(&self) -> u64 {
        match self {
            EventReader::Ring(ring) => ring.available(),
            #[cfg(feature = "buffers")]
            EventReader::Perf(_) => 0,
        }
    }

    /// Gives a handle that ends a wait from another thread.
    pub fn waker(&self) -> Waker {
        match self {
            EventReader::Ring(ring) => ring.waker(),
            #[cfg(feature = "buffers")]
            EventReader::Perf(perf) => perf.waker(),
        }
    }
}

impl AsFd for EventReader {
    /// Gives a descriptor for another epoll: readable when there are records, or a waker called.
    ///
    /// A perf buffer tells of records once: watch it before programs are attached, and drain at
    /// each readiness. A waker's call stays readable until [`EventReader::poll`] has seen it.
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            EventReader::Ring(ring) => ring.as_fd(),
            #[cfg(feature = "buffers")]
            EventReader::Perf(perf) => perf.as_fd(),
        }
    }
}
