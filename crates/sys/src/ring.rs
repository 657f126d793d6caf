//! The consumer's side of a BPF ring buffer (`BPF_MAP_TYPE_RINGBUF`, Linux 5.8).

use std::ops::ControlFlow;
use std::sync::atomic::{Ordering, fence};

use crate::errno::Errno;
use crate::kernel::Kernel;
use crate::map_fd::{ConsumerClaim, MapFd};
use crate::mapping::{Mapping, MemoryRequest, page_size};

/// `BPF_MAP_TYPE_RINGBUF`.
const RINGBUF: u32 = 27;
/// Record not yet committed.
const BUSY: u32 = 1 << 31;
/// Record given back by the program.
const DISCARDED: u32 = 1 << 30;
/// Bytes before each record.
const HEADER: usize = 8;
/// The kernel maps the data twice in a row, so that each record is in one piece. This much of the second copy is mapped
/// here: pages count as this process's memory, and nearly all records are shorter.
const OVERLAP: usize = 64 << 10;
/// The position is published after so many records, not after each.
const PUBLISH_EVERY: u64 = 64;

/// The one consumer of a ring buffer map.
#[derive(Debug)]
pub struct RingConsumer {
    consumer: Mapping,
    producer: Mapping,
    page: usize,
    size: usize,
    /// A record that goes on behind what is mapped, put together.
    joined: Vec<u8>,
    #[allow(
        dead_code,
        reason = "held: another consumer may come when it is dropped"
    )]
    claim: Option<ConsumerClaim>,
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
    /// The pass ended early: there is more to read now.
    pub more: bool,
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
        let claim = map.claim(kernel)?;
        let fd = map.as_fd();
        let consumer = kernel.mmap(MemoryRequest {
            fd,
            offset: 0,
            length: page,
            writable: true,
        })?;
        let length = size
            .checked_add(size.min(OVERLAP))
            .and_then(|n| n.checked_add(page))
            .ok_or(Errno::INVAL)?;
        let producer = kernel.mmap(MemoryRequest {
            fd,
            offset: page as u64,
            length,
            writable: false,
        })?;
        let mut ring = RingConsumer::from_parts(consumer, producer, size).ok_or(Errno::INVAL)?;
        ring.claim = Some(claim);
        Ok(ring)
    }

    /// Joins the two mappings after checking their sizes.
    fn from_parts(consumer: Mapping, producer: Mapping, size: usize) -> Option<RingConsumer> {
        let page = page_size();
        let wanted = size.checked_add(page)?;
        let fits = size.is_power_of_two() && consumer.len() >= page && producer.len() >= wanted;
        fits.then_some(RingConsumer {
            consumer,
            producer,
            page,
            size,
            joined: Vec::new(),
            claim: None,
        })
    }

    /// Gives the number of bytes that are produced and not yet consumed.
    pub fn available(&self) -> u64 {
        let produced = self.producer.load_u64(0).unwrap_or(0);
        produced.saturating_sub(self.consumer.load_u64(0).unwrap_or(0))
    }

    /// Gives each committed record to `each`, without a copy, until there is none, or a whole
    /// ring's worth has been read. `each` may end the pass early; the record it saw counts as
    /// consumed.
    ///
    /// After a pass without [`RingRound::more`], the kernel wakes whoever waits for the map at the
    /// next commit that asks for it. After one with it, it may not.
    ///
    /// # Errors
    ///
    /// `EIO` if the ring's content makes no sense; the ring is then unusable.
    #[inline]
    pub fn consume(
        &mut self,
        mut each: impl FnMut(&[u8]) -> ControlFlow<()>,
    ) -> Result<RingRound, Errno> {
        let mut round = RingRound::default();
        let begin = self.consumer.load_u64(0).ok_or(Errno::IO)?;
        let (mut position, mut published, mut produced) = (begin, begin, begin);
        loop {
            if position >= produced {
                produced = self.producer.load_u64(0).ok_or(Errno::IO)?;
            }
            let record = self.record(position, produced)?;
            let Some((header, start, whole)) = record else {
                if position == published {
                    round.busy = position < produced;
                    break;
                }
                // A program that commits a record wakes the reader only if it finds the position
                // at that record. So the position is made visible first, and then looked again.
                self.publish(position);
                published = position;
                produced = position;
                continue;
            };
            let mut stop = false;
            if header & DISCARDED != 0 {
                round.discarded += 1;
            } else {
                let length = (header & !DISCARDED) as usize;
                // SAFETY: the record is committed and lies before the producer's position; the
                // kernel writes there again only when the consumer's position has passed it. This
                // is the map's only consumer (its claim) and the position moves below, after
                // the borrow has ended.
                stop = match unsafe { self.producer.bytes(start + HEADER, length) } {
                    Some(record) => each(record),
                    None => each(self.join(start + HEADER, length)?),
                }
                .is_break();
                round.records += 1;
            }
            position += whole;
            if stop || position - begin >= self.size as u64 {
                self.publish(position);
                let produced = self.producer.load_u64(0).ok_or(Errno::IO)?;
                round.more = position < produced;
                break;
            }
            if (round.records + round.discarded) % PUBLISH_EVERY == 0 {
                self.publish(position);
                published = position;
            }
        }
        Ok(round)
    }

    /// Puts together a record that ends behind what is mapped of the second copy of the data.
    #[cold]
    fn join(&mut self, start: usize, length: usize) -> Result<&[u8], Errno> {
        let first = length.min((self.page + self.size).saturating_sub(start));
        self.joined.resize(length, 0);
        let (head, tail) = self.joined.split_at_mut(first);
        // A header at the very end of the data leaves nothing in front.
        let rest = (start + first - self.page) & (self.size - 1);
        let copied = self.producer.copy_out(start, head);
        let copied = copied.and_then(|()| self.producer.copy_out(self.page + rest, tail));
        copied.ok_or(Errno::IO)?;
        Ok(&self.joined)
    }

    /// Finds the committed record at a position: its header, its offset, its whole size.
    #[inline]
    fn record(&self, position: u64, produced: u64) -> Result<Option<(u32, usize, u64)>, Errno> {
        if position >= produced {
            return Ok(None);
        }
        let start = self.page + (position as usize & (self.size - 1));
        let header = self.producer.load_u32(start).ok_or(Errno::IO)?;
        if header & BUSY != 0 {
            return Ok(None);
        }
        let length = (header & !DISCARDED) as usize;
        let whole = (length + HEADER).next_multiple_of(8) as u64;
        if length > self.size || whole > produced - position {
            return Err(Errno::IO);
        }
        Ok(Some((header, start, whole)))
    }

    fn publish(&self, position: u64) {
        // Cannot fail: from_parts saw a page, and `new` asked for a writable one.
        let _ = self.consumer.store_u64(0, position);
        // The store is seen before what is loaded next: the kernel's commit does it the other way
        // round, header first and then the position, so that one of both sees the other.
        fence(Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests;
