//! The consumer's side of a BPF ring buffer (`BPF_MAP_TYPE_RINGBUF`, Linux 5.8).

use std::fmt;
use std::ops::ControlFlow;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{Ordering, fence};

use crate::errno::Errno;
use crate::kernel::SharedKernel;
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
/// What is mapped of the data at once where memory is spared: pages count as this process's memory from the moment that they are
/// mapped, and a ring is read from one end to the other.
const WINDOW: usize = 2 << 20;
/// What is mapped behind that, so that nearly all records are in one piece. The kernel has the data twice in a row, so there is
/// something behind its end as well.
const OVERLAP: usize = 64 << 10;
/// The position is published after so many bytes, or a quarter of a small ring, not after each record.
const PUBLISH_EVERY: usize = 4 << 10;

/// The one consumer of a ring buffer map.
#[derive(Debug)]
pub struct RingConsumer {
    consumer: Mapping,
    producer: Mapping,
    data: Data,
    #[allow(
        dead_code,
        reason = "held: another consumer may come when it is dropped"
    )]
    claim: Option<ConsumerClaim>,
}

/// The data of a ring, of which a part is mapped.
struct Data {
    kernel: SharedKernel,
    fd: OwnedFd,
    page: usize,
    /// Bytes of the data, once.
    size: usize,
    /// The position is published after so many bytes.
    publish_every: u64,
    /// Bytes of a part, and behind it.
    window: usize,
    overlap: usize,
    /// Where the part begins that is mapped; none is after an error.
    start: usize,
    mapped: Option<Mapping>,
}

impl fmt::Debug for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Data")
            .field("size", &self.size)
            .field("start", &self.start)
            .finish_non_exhaustive()
    }
}

impl Data {
    /// Maps a part, which may end in the second copy.
    fn map(&self, start: usize, length: usize) -> Result<Mapping, Errno> {
        self.kernel.mmap(MemoryRequest {
            fd: self.fd.as_fd(),
            offset: (2 * self.page + start) as u64,
            length,
            writable: false,
        })
    }

    /// Tells whether a record that begins at an offset begins in the part that is mapped.
    fn has(&self, at: usize) -> bool {
        at.wrapping_sub(self.start) < self.window && self.mapped.is_some()
    }

    #[cold]
    fn slide(&mut self, at: usize) -> Result<(), Errno> {
        self.mapped = None;
        self.start = at & !(self.window - 1);
        self.mapped = Some(self.map(self.start, self.window + self.overlap)?);
        Ok(())
    }

    /// Finds the record at a place in what is mapped, unless it is still written: its header, its whole size, which is at
    /// most what is `left`.
    #[inline]
    fn record(
        &self,
        mapped: &Mapping,
        place: usize,
        left: u64,
    ) -> Result<Option<(u32, u64)>, Errno> {
        let header = mapped.load_u32(place).ok_or(Errno::IO)?;
        if header & BUSY != 0 {
            return Ok(None);
        }
        let length = (header & !DISCARDED) as usize;
        let whole = (length + HEADER).next_multiple_of(8) as u64;
        if length > self.size || whole > left {
            return Err(Errno::IO);
        }
        Ok(Some((header, whole)))
    }

    /// Maps all of a record that ends behind the part that is mapped, and gives where it begins.
    #[cold]
    fn apart(&self, at: usize, length: usize) -> Result<(Mapping, usize), Errno> {
        let inside = at & (self.page - 1);
        let mapping = self.map(at - inside, (inside + length).next_multiple_of(self.page))?;
        Ok((mapping, inside))
    }
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
    /// Maps the ring of a map, whole.
    ///
    /// # Errors
    ///
    /// `EINVAL` if the map is no ring buffer, `EBUSY` if it has a consumer already, or what
    /// mmap(2) says.
    pub fn new(kernel: &SharedKernel, map: &MapFd) -> Result<RingConsumer, Errno> {
        RingConsumer::of_map(kernel, map, usize::MAX)
    }

    /// Maps the ring of a map in parts of 2 MB, one at a time: less of this process's memory, for a mapping each 2 MB.
    ///
    /// # Errors
    ///
    /// As [`RingConsumer::new`].
    pub fn in_parts(kernel: &SharedKernel, map: &MapFd) -> Result<RingConsumer, Errno> {
        RingConsumer::of_map(kernel, map, WINDOW)
    }

    fn of_map(kernel: &SharedKernel, map: &MapFd, window: usize) -> Result<RingConsumer, Errno> {
        let shape = *map.shape();
        if shape.kind != RINGBUF {
            return Err(Errno::INVAL);
        }
        let claim = map.claim(&**kernel)?;
        let fd = map.as_fd().try_clone_to_owned();
        let fd = fd.map_err(|error| Errno::from_io(&error))?;
        let size = shape.max_entries as usize;
        let parts = (window, OVERLAP);
        let mut ring = RingConsumer::of_file(kernel.clone(), fd, size, parts)?;
        ring.claim = Some(claim);
        Ok(ring)
    }

    /// Maps the positions, and of the data the first part: its bytes, and those behind it.
    fn of_file(
        kernel: SharedKernel,
        fd: OwnedFd,
        size: usize,
        (window, overlap): (usize, usize),
    ) -> Result<RingConsumer, Errno> {
        let page = page_size();
        let twice = size.checked_mul(2).and_then(|n| n.checked_add(2 * page));
        if !size.is_power_of_two() || size < page || twice.is_none() {
            return Err(Errno::INVAL);
        }
        let positions = |offset: usize, writable| {
            kernel.mmap(MemoryRequest {
                fd: fd.as_fd(),
                offset: offset as u64,
                length: page,
                writable,
            })
        };
        let (consumer, producer) = (positions(0, true)?, positions(page, false)?);
        let mut data = Data {
            kernel,
            fd,
            page,
            size,
            publish_every: PUBLISH_EVERY.min(size / 4) as u64,
            window: window.min(size),
            overlap: overlap.min(size),
            start: 0,
            mapped: None,
        };
        data.slide(0)?;
        Ok(RingConsumer {
            consumer,
            producer,
            data,
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
    /// `EIO` if the ring's content makes no sense; the ring is then unusable. What mmap(2) says of a part that
    /// cannot be mapped: the next pass begins with the record that was not given.
    #[inline]
    pub fn consume(
        &mut self,
        mut each: impl FnMut(&[u8]) -> ControlFlow<()>,
    ) -> Result<RingRound, Errno> {
        let mut round = RingRound::default();
        let begin = self.consumer.load_u64(0).ok_or(Errno::IO)?;
        let last = begin.saturating_add(self.data.size as u64);
        // `looked` is where the positions were compared after this side's had been made visible.
        let (mut position, mut published, mut looked) = (begin, begin, begin);
        let mut produced = begin;
        let mask = self.data.size - 1;
        'parts: loop {
            let start = position as usize & mask;
            if !self.data.has(start) {
                if let Err(error) = self.data.slide(start) {
                    // What was given is not given again.
                    self.publish(position);
                    return Err(error);
                }
            }
            let data = &self.data;
            let mapped = data.mapped.as_ref().ok_or(Errno::IO)?;
            let rest = data.start + data.window - start;
            let part = position.saturating_add(rest as u64).min(last);
            loop {
                if position >= produced {
                    produced = self.producer.load_u64(0).ok_or(Errno::IO)?;
                }
                // Up to here nothing but the records is to be looked at.
                let until = published.saturating_add(data.publish_every);
                let until = until.min(produced).min(part);
                let (mut stop, mut busy) = (false, false);
                while position < until {
                    let start = (position as usize & mask).wrapping_sub(data.start);
                    let Some((header, whole)) = data.record(mapped, start, produced - position)?
                    else {
                        busy = true;
                        break;
                    };
                    position += whole;
                    if header & DISCARDED != 0 {
                        round.discarded += 1;
                        continue;
                    }
                    let length = header as usize;
                    // SAFETY: the record is committed and lies before the producer's position; the
                    // kernel writes there again only when the consumer's position has passed it. This
                    // is the map's only consumer (its claim) and the position is stored below, after
                    // the borrow has ended.
                    let flow = if let Some(record) = unsafe { mapped.bytes(start + HEADER, length) }
                    {
                        each(record)
                    } else {
                        let apart = data.apart(data.start + start + HEADER, length);
                        // What was given is not given again.
                        let (mapping, place) =
                            apart.inspect_err(|_| self.publish(position - whole))?;
                        // SAFETY: as above; it is the same memory.
                        each(unsafe { mapping.bytes(place, length) }.ok_or(Errno::IO)?)
                    };
                    round.records += 1;
                    if flow.is_break() {
                        stop = true;
                        break;
                    }
                }
                if stop || position >= last {
                    self.publish(position);
                    let produced = self.producer.load_u64(0).ok_or(Errno::IO)?;
                    round.more = position < produced;
                    break 'parts;
                }
                if position >= part {
                    continue 'parts;
                }
                if !busy && position < produced {
                    // There is room for the kernel now; whether it waits is asked at the end alone.
                    self.store(position);
                    published = position;
                    continue;
                }
                if position == looked {
                    round.busy = position < produced;
                    break 'parts;
                }
                // A program that commits a record wakes the reader only if it finds the position
                // at that record. So the position is made visible first, and then looked again.
                self.publish(position);
                (published, looked, produced) = (position, position, position);
            }
        }
        Ok(round)
    }

    fn store(&self, position: u64) {
        // Cannot fail: a page is mapped, which can be written.
        let _ = self.consumer.store_u64(0, position);
    }

    fn publish(&self, position: u64) {
        self.store(position);
        // The store is seen before what is loaded next: the kernel's commit does it the other way
        // round, header first and then the position, so that one of both sees the other.
        fence(Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests;
