//! The consumer's side of a BPF ring buffer (`BPF_MAP_TYPE_RINGBUF`, Linux 5.8).

use std::ops::ControlFlow;

use crate::errno::Errno;
use crate::kernel::Kernel;
use crate::map_fd::MapFd;
use crate::mapping::{Mapping, MemoryRequest, page_size};

/// `BPF_MAP_TYPE_RINGBUF`.
const RINGBUF: u32 = 27;
/// Record not yet committed.
const BUSY: u32 = 1 << 31;
/// Record given back by the program.
const DISCARDED: u32 = 1 << 30;
/// Bytes before each record.
const HEADER: usize = 8;
/// The position is published after so many records, not after each.
const PUBLISH_EVERY: u64 = 64;

/// The one consumer of a ring buffer map.
#[derive(Debug)]
pub struct RingConsumer {
    consumer: Mapping,
    producer: Mapping,
    page: usize,
    size: usize,
}

/// What one pass over a ring met.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RingRound {
    /// Records given to the callback.
    pub records: u64,
    /// Records that the program discarded.
    pub discarded: u64,
    /// The pass ended at a record that a program is still writing.
    pub busy: bool,
}

impl RingConsumer {
    /// Maps the ring of a map.
    ///
    /// # Errors
    ///
    /// `EINVAL` if the map is no ring buffer, `EBUSY` if it has a consumer already, or what
    /// mmap(2) says.
    pub fn new(kernel: &dyn Kernel, map: &MapFd) -> Result<RingConsumer, Errno> {
        use std::os::fd::AsFd;
        let shape = *map.shape();
        let (page, size) = (page_size(), shape.max_entries as usize);
        if shape.kind != RINGBUF {
            return Err(Errno::INVAL);
        }
        if !map.claim_consumer() {
            return Err(Errno::BUSY);
        }
        let fd = map.as_fd();
        let consumer = kernel.mmap(MemoryRequest {
            fd,
            offset: 0,
            length: page,
            writable: true,
        })?;
        let length = size
            .checked_mul(2)
            .and_then(|n| n.checked_add(page))
            .ok_or(Errno::INVAL)?;
        let producer = kernel.mmap(MemoryRequest {
            fd,
            offset: page as u64,
            length,
            writable: false,
        })?;
        RingConsumer::from_parts(consumer, producer, size).ok_or(Errno::INVAL)
    }

    /// Joins the two mappings after checking their sizes.
    fn from_parts(consumer: Mapping, producer: Mapping, size: usize) -> Option<RingConsumer> {
        let page = page_size();
        let wanted = size.checked_mul(2)?.checked_add(page)?;
        let fits = size.is_power_of_two() && consumer.len() >= page && producer.len() >= wanted;
        fits.then_some(RingConsumer {
            consumer,
            producer,
            page,
            size,
        })
    }

    /// Gives the number of bytes that are produced and not yet consumed.
    pub fn available(&self) -> u64 {
        let produced = self.producer.load_u64(0).unwrap_or(0);
        produced.saturating_sub(self.consumer.load_u64(0).unwrap_or(0))
    }

    /// Gives each committed record to `each`, without a copy, up to what was produced when the
    /// pass began. `each` may end the pass early; the record it saw counts as consumed.
    ///
    /// # Errors
    ///
    /// `EIO` if the ring's content makes no sense; the ring is then unusable.
    pub fn consume(
        &mut self,
        mut each: impl FnMut(&[u8]) -> ControlFlow<()>,
    ) -> Result<RingRound, Errno> {
        let mut round = RingRound::default();
        let mut position = self.consumer.load_u64(0).ok_or(Errno::IO)?;
        let produced = self.producer.load_u64(0).ok_or(Errno::IO)?;
        while position < produced {
            let start = self.page + (position as usize & (self.size - 1));
            let header = self.producer.load_u32(start).ok_or(Errno::IO)?;
            if header & BUSY != 0 {
                round.busy = true;
                break;
            }
            let length = (header & !(BUSY | DISCARDED)) as usize;
            let whole = (length + HEADER).next_multiple_of(8) as u64;
            if length > self.size || whole > produced - position {
                return Err(Errno::IO);
            }
            let mut stop = false;
            if header & DISCARDED != 0 {
                round.discarded += 1;
            } else {
                // SAFETY: the record is committed and lies before the producer's position; the
                // kernel writes there again only when the consumer's position has passed it. This
                // is the map's only consumer (claim_consumer) and the position moves below, after
                // the borrow has ended.
                let record = unsafe { self.producer.bytes(start + HEADER, length) };
                stop = each(record.ok_or(Errno::IO)?).is_break();
                round.records += 1;
            }
            position += whole;
            if (round.records + round.discarded).is_multiple_of(PUBLISH_EVERY) {
                self.publish(position);
            }
            if stop {
                break;
            }
        }
        self.publish(position);
        Ok(round)
    }

    fn publish(&self, position: u64) {
        // Cannot fail: from_parts saw a page, and `new` asked for a writable one.
        let _ = self.consumer.store_u64(0, position);
    }
}

#[cfg(test)]
mod tests;
