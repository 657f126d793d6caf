//! The reader's side of one CPU's perf event ring.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::errno::Errno;
use crate::kernel::Kernel;
use crate::mapping::{Mapping, MemoryRequest, page_size};

/// Offsets in `struct perf_event_mmap_page`.
const DATA_HEAD: usize = 1024;
const DATA_TAIL: usize = 1032;
/// Types of records.
const RECORD_LOST: u32 = 2;
const RECORD_SAMPLE: u32 = 9;
const RECORD_LOST_SAMPLES: u32 = 13;
/// `struct perf_event_header`.
const HEADER: usize = 8;
/// The position is published after so many records, so that the kernel finds room during a pass.
const PUBLISH_EVERY: u64 = 64;

/// One record of a perf ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PerfRecord<'a> {
    /// Bytes that a program gave, up to 7 bytes of padding included at the end.
    Sample(&'a [u8]),
    /// So many samples found no room.
    Lost(u64),
}

/// A perf event with its ring.
#[derive(Debug)]
pub struct PerfRing {
    event: OwnedFd,
    memory: Mapping,
    page: usize,
    size: usize,
    /// A record that wraps around the end is put together here.
    joined: Vec<u8>,
}

impl PerfRing {
    /// Maps `pages` pages (a power of two) of data for the event, and owns it.
    ///
    /// # Errors
    ///
    /// `EINVAL` for another number of pages, or what mmap(2) says (`EPERM` when
    /// `perf_event_mlock_kb` is used up).
    pub fn new(kernel: &dyn Kernel, event: OwnedFd, pages: usize) -> Result<PerfRing, Errno> {
        let page = page_size();
        if !pages.is_power_of_two() {
            return Err(Errno::INVAL);
        }
        let size = pages.checked_mul(page).ok_or(Errno::INVAL)?;
        let length = size.checked_add(page).ok_or(Errno::INVAL)?;
        let memory = kernel.mmap(MemoryRequest {
            fd: event.as_fd(),
            offset: 0,
            length,
            writable: true,
        })?;
        PerfRing::from_parts(event, memory, size).ok_or(Errno::INVAL)
    }

    fn from_parts(event: OwnedFd, memory: Mapping, size: usize) -> Option<PerfRing> {
        let page = page_size();
        let fits = size.is_power_of_two() && memory.len() >= page.checked_add(size)?;
        fits.then(|| PerfRing {
            event,
            memory,
            page,
            size,
            joined: Vec::new(),
        })
    }

    /// Gives the number of samples that found no room so far, from the event's own counter; `None`
    /// where the event was not opened to count them (before Linux 6.0).
    pub fn lost(&self, kernel: &dyn Kernel) -> Option<u64> {
        let mut counts = [0; 16];
        // The event's count, and the losses.
        let got = kernel.read(self.event.as_fd(), &mut counts).ok()?;
        if got != counts.len() {
            return None;
        }
        counts.last_chunk().map(|lost| u64::from_ne_bytes(*lost))
    }

    /// Gives each record up to what was written when the pass began; gives how many.
    ///
    /// # Errors
    ///
    /// `EIO` if the ring's content makes no sense; what was unread is then dropped.
    pub fn consume(&mut self, mut each: impl FnMut(PerfRecord<'_>)) -> Result<u64, Errno> {
        let head = self.memory.load_u64(DATA_HEAD).ok_or(Errno::IO)?;
        let mut tail = self.memory.load_u64(DATA_TAIL).ok_or(Errno::IO)?;
        let mut records = 0u64;
        let outcome = loop {
            if tail >= head {
                break Ok(records);
            }
            match self.record(tail, head, &mut each) {
                Some(whole) => {
                    tail += whole;
                    records += 1;
                    if records % PUBLISH_EVERY == 0 {
                        self.publish(tail);
                    }
                }
                None => {
                    tail = head;
                    break Err(Errno::IO);
                }
            }
        };
        self.publish(tail);
        outcome
    }

    fn publish(&self, tail: u64) {
        // Cannot fail: the offset is inside the first page, which `new` mapped writable.
        let _ = self.memory.store_u64(DATA_TAIL, tail);
    }

    /// Gives the record at `tail` to `each`, and its whole size.
    fn record(
        &mut self,
        tail: u64,
        head: u64,
        each: &mut impl FnMut(PerfRecord<'_>),
    ) -> Option<u64> {
        // Records are 8-byte aligned, so the header itself never wraps.
        let start = tail as usize & (self.size - 1);
        let header = self.memory.load_u64(self.page + start)?.to_ne_bytes();
        let kind = u32::from_ne_bytes([header[0], header[1], header[2], header[3]]);
        let whole = usize::from(u16::from_ne_bytes([header[6], header[7]]));
        if whole < HEADER || whole % 8 != 0 || whole as u64 > head - tail {
            return None;
        }
        if whole > self.size {
            return None;
        }
        let first = whole.min(self.size - start);
        // SAFETY: the record lies between tail and head; the kernel writes there again only when
        // the tail has passed it, which happens after these borrows have ended. This ring is the
        // event's only reader, since it owns the event and no other code stores a tail.
        let bytes = unsafe { self.memory.bytes(self.page + start, first) }?;
        let bytes = if first == whole {
            bytes
        } else {
            self.joined.clear();
            self.joined.extend_from_slice(bytes);
            // SAFETY: as above, for the part at the ring's begin.
            let rest = unsafe { self.memory.bytes(self.page, whole - first) }?;
            self.joined.extend_from_slice(rest);
            &self.joined
        };
        let body = bytes.get(HEADER..)?;
        match kind {
            RECORD_SAMPLE => {
                let size = u32::from_ne_bytes(body.get(..4)?.try_into().ok()?) as usize;
                each(PerfRecord::Sample(body.get(4..4usize.checked_add(size)?)?));
            }
            RECORD_LOST => {
                each(PerfRecord::Lost(u64::from_ne_bytes(
                    body.get(8..16)?.try_into().ok()?,
                )));
            }
            RECORD_LOST_SAMPLES => {
                each(PerfRecord::Lost(u64::from_ne_bytes(
                    body.get(..8)?.try_into().ok()?,
                )));
            }
            _ => {}
        }
        Some(whole as u64)
    }
}

impl AsFd for PerfRing {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }
}

#[cfg(test)]
mod tests;
