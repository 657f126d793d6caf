//! The producer's side of a user ring buffer (`BPF_MAP_TYPE_USER_RINGBUF`, Linux 6.1): what a
//! process tells programs.

use std::os::fd::AsFd;

use crate::errno::Errno;
use crate::kernel::Kernel;
use crate::map_fd::{ConsumerClaim, MapFd};
use crate::mapping::{Mapping, MemoryRequest, page_size};

/// `BPF_MAP_TYPE_USER_RINGBUF`.
const USER_RINGBUF: u32 = 31;
/// Bytes before each record: its length, and nothing.
const HEADER: usize = 8;
/// The two highest bits of a length mark records that are not for the program.
const LONGEST: usize = (1 << 30) - 1;

/// The one producer of a user ring buffer.
#[derive(Debug)]
pub struct RingProducer {
    consumer: Mapping,
    /// The producer's position, then the data twice, so that no record is in two pieces.
    producer: Mapping,
    page: usize,
    size: usize,
    #[allow(
        dead_code,
        reason = "held: another producer may come when it is dropped"
    )]
    claim: Option<ConsumerClaim>,
}

impl RingProducer {
    /// Maps the ring of a map.
    ///
    /// # Errors
    ///
    /// `EINVAL` if the map is no user ring buffer, `EBUSY` if it has a producer already, or what
    /// mmap(2) says.
    pub fn new(kernel: &dyn Kernel, map: &MapFd) -> Result<RingProducer, Errno> {
        let shape = *map.shape();
        let (page, size) = (page_size(), shape.max_entries as usize);
        if shape.kind != USER_RINGBUF {
            return Err(Errno::INVAL);
        }
        let claim = map.claim(kernel)?;
        let consumer = kernel.mmap(MemoryRequest {
            fd: map.as_fd(),
            offset: 0,
            length: page,
            writable: false,
        })?;
        let length = size.checked_mul(2).and_then(|both| both.checked_add(page));
        let producer = kernel.mmap(MemoryRequest {
            fd: map.as_fd(),
            offset: page as u64,
            length: length.ok_or(Errno::INVAL)?,
            writable: true,
        })?;
        let mut ring = RingProducer::from_parts(consumer, producer, size).ok_or(Errno::INVAL)?;
        ring.claim = Some(claim);
        Ok(ring)
    }

    fn from_parts(consumer: Mapping, producer: Mapping, size: usize) -> Option<RingProducer> {
        let page = page_size();
        let wanted = size.checked_mul(2)?.checked_add(page)?;
        let fits = size.is_power_of_two() && consumer.len() >= page && producer.len() >= wanted;
        fits.then_some(RingProducer {
            consumer,
            producer,
            page,
            size,
            claim: None,
        })
    }

    /// Adds a record; programs see it whole or not at all.
    ///
    /// # Errors
    ///
    /// `ENOSPC` while there is no room for it, `E2BIG` for one that never fits.
    pub fn push(&mut self, record: &[u8]) -> Result<(), Errno> {
        let whole = record
            .len()
            .checked_next_multiple_of(8)
            .and_then(|size| size.checked_add(HEADER))
            .filter(|&whole| whole <= self.size && record.len() <= LONGEST)
            .ok_or(Errno::TOO_BIG)?;
        let written = self.producer.load_u64(0).ok_or(Errno::IO)?;
        let read = self.consumer.load_u64(0).ok_or(Errno::IO)?;
        let used = usize::try_from(written.wrapping_sub(read)).map_err(|_| Errno::IO)?;
        let room = self.size.checked_sub(used).ok_or(Errno::IO)?;
        if whole > room {
            return Err(Errno::NOSPC);
        }
        // The mask leaves what fits a usize.
        let at = self.page + (written & (self.size as u64 - 1)) as usize;
        let length = u64::from(u32::try_from(record.len()).map_err(|_| Errno::TOO_BIG)?);
        let mut header = [0; HEADER];
        header[..4].copy_from_slice(&(length as u32).to_ne_bytes());
        let put = |at, bytes: &[u8]| self.producer.copy_in(at, bytes).ok_or(Errno::IO);
        put(at + HEADER, record)?;
        put(at, &header)?;
        // Programs look no further than this position, which is stored after the record.
        self.producer
            .store_u64(0, written.wrapping_add(whole as u64))
            .ok_or(Errno::IO)
    }

    /// Gives the number of bytes that programs have not read yet, headers included.
    pub fn pending(&self) -> u64 {
        let written = self.producer.load_u64(0).unwrap_or(0);
        written.saturating_sub(self.consumer.load_u64(0).unwrap_or(written))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mapping::{map_file_at, memory_file};

    #[test]
    fn records_are_written_whole_until_the_ring_is_full() {
        let page = page_size();
        let (positions, consumer) = memory_file(0, page, page);
        let (file, producer) = memory_file(0, page + 2 * 4096, page + 2 * 4096);
        let mut ring = RingProducer::from_parts(consumer, producer, 4096).expect("fits");
        assert_eq!(ring.push(&[0; 4096]), Err(Errno::TOO_BIG));
        assert_eq!(ring.push(b"hello"), Ok(()));
        assert_eq!(ring.push(&[7; 2000]), Ok(()));
        assert_eq!(ring.pending(), 16 + 2008);
        let seen = map_file_at(&file, 0, page + 4096, false);
        assert_eq!(seen.load_u64(0), Some(16 + 2008));
        assert_eq!(seen.load_u32(page), Some(5));
        let mut text = [0; 5];
        assert_eq!(seen.copy_out(page + 8, &mut text), Some(()));
        assert_eq!(&text, b"hello");
        assert_eq!(seen.load_u32(page + 16), Some(2000));
        assert_eq!(ring.push(&[1; 2064]), Ok(()));
        assert_eq!(ring.pending(), 4096, "full");
        assert_eq!(ring.push(b""), Err(Errno::NOSPC));
        // The reader goes on.
        let reader = map_file_at(&positions, 0, page, true);
        assert_eq!(reader.store_u64(0, 16), Some(()));
        assert_eq!(ring.push(b"12345678"), Ok(()));
        assert_eq!(ring.push(b""), Err(Errno::NOSPC));
        assert_eq!(seen.load_u32(page), Some(8), "where the first was");
        // A reader that claims to be ahead is no reason to panic.
        assert_eq!(reader.store_u64(0, u64::MAX), Some(()));
        assert_eq!(ring.push(b"x"), Err(Errno::IO));
        assert_eq!(ring.pending(), 0);
    }
}
