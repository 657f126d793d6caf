//! Memory shared with the kernel.

use std::os::fd::BorrowedFd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};

/// Gives the size of a page in bytes.
pub fn page_size() -> usize {
    // SAFETY: sysconf reads no memory of ours.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(size)
        .ok()
        .filter(|size| size.is_power_of_two())
        .unwrap_or(4096)
}

/// What is to be mapped, shared, from a descriptor.
#[derive(Clone, Copy, Debug)]
pub struct MemoryRequest<'a> {
    /// What to map.
    pub fd: BorrowedFd<'a>,
    /// Offset in bytes, a multiple of the page size.
    pub offset: u64,
    /// Length in bytes, not 0.
    pub length: usize,
    /// Whether this side writes too.
    pub writable: bool,
}

/// Gives how many bytes are reached at once.
fn step(at: usize, left: usize) -> usize {
    match left {
        8.. if at % 8 == 0 => 8,
        4.. if at % 4 == 0 => 4,
        _ => 1,
    }
}

/// Mapped memory, unmapped when dropped.
///
/// The kernel may write to it at any time, so the public reads are single atomic loads.
#[derive(Debug)]
pub struct Mapping {
    start: NonNull<u8>,
    length: usize,
    writable: bool,
    immutable: bool,
}

// SAFETY: the memory belongs to the process, not to a thread, and is only reached by atomic
// accesses or through the two exclusive owners (ring consumers) that this crate defines.
unsafe impl Send for Mapping {}
// SAFETY: as for Send; every method that takes `&self` reads or writes atomically, or is unsafe.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Takes over mapped memory.
    ///
    /// # Safety
    ///
    /// `start` and `length` are exactly what mmap(2) gave, nobody else unmaps them, the pages can
    /// be read and, if `writable`, written. `immutable` memory is never written by anybody.
    pub(crate) unsafe fn from_raw(
        start: NonNull<u8>,
        length: usize,
        writable: bool,
        immutable: bool,
    ) -> Mapping {
        Mapping {
            start,
            length,
            writable,
            immutable,
        }
    }

    /// Gives the length in bytes.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Tells whether the length is 0, which never happens.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Tells whether nobody can write to this memory.
    pub(crate) fn is_immutable(&self) -> bool {
        self.immutable
    }

    /// Gives the address of bytes; `align` is a power of two.
    #[inline]
    fn address(&self, offset: usize, size: usize, align: usize) -> Option<*mut u8> {
        let end = offset.checked_add(size)?;
        if end > self.length || offset & (align - 1) != 0 {
            return None;
        }
        // SAFETY: offset < length, so the pointer stays inside the one mapping.
        Some(unsafe { self.start.as_ptr().add(offset) })
    }

    /// Loads 4 bytes with acquire order; `None` outside the memory or off alignment.
    #[inline]
    pub fn load_u32(&self, offset: usize) -> Option<u32> {
        let at = self.address(offset, 4, 4)?.cast();
        // SAFETY: inside the mapping and aligned (mappings start on a page); only atomics touch
        // words that change.
        Some(unsafe { AtomicU32::from_ptr(at) }.load(Ordering::Acquire))
    }

    /// Loads 8 bytes with acquire order; `None` outside the memory or off alignment.
    #[inline]
    pub fn load_u64(&self, offset: usize) -> Option<u64> {
        let at = self.address(offset, 8, 8)?.cast();
        // SAFETY: as in load_u32.
        Some(unsafe { AtomicU64::from_ptr(at) }.load(Ordering::Acquire))
    }

    /// Copies bytes out, in words where both ends are aligned; `None` outside the memory.
    pub(crate) fn copy_out(&self, offset: usize, into: &mut [u8]) -> Option<()> {
        self.address(offset, into.len(), 1)?;
        let mut done = 0;
        while let Some(rest) = into.get_mut(done..).filter(|rest| !rest.is_empty()) {
            let at = offset + done;
            let step = step(at, rest.len());
            let place = rest.get_mut(..step)?;
            match step {
                8 => place.copy_from_slice(&self.load_u64(at)?.to_ne_bytes()),
                4 => place.copy_from_slice(&self.load_u32(at)?.to_ne_bytes()),
                _ => {
                    let address = self.address(at, 1, 1)?;
                    // SAFETY: the address lies inside the mapping, only reached atomically.
                    let byte = unsafe { AtomicU8::from_ptr(address) };
                    place.fill(byte.load(Ordering::Acquire));
                }
            }
            done += step;
        }
        Some(())
    }

    /// Copies bytes in, in words where both ends are aligned; `None` outside the memory, or where
    /// it cannot be written. Not public for the same reason as `store_u64`.
    pub(crate) fn copy_in(&self, offset: usize, from: &[u8]) -> Option<()> {
        self.address(offset, from.len(), 1)?;
        if !self.writable {
            return None;
        }
        let mut done = 0;
        while let Some(rest) = from.get(done..).filter(|rest| !rest.is_empty()) {
            let at = offset + done;
            let step = step(at, rest.len());
            let address = self.address(at, step, step)?;
            if let Some(word) = rest.first_chunk::<8>().filter(|_| step == 8) {
                self.store_u64(at, u64::from_ne_bytes(*word))?;
            } else if let Some(word) = rest.first_chunk::<4>().filter(|_| step == 4) {
                // SAFETY: inside the mapping, aligned, writable, and only reached atomically.
                unsafe { AtomicU32::from_ptr(address.cast::<u32>()) }
                    .store(u32::from_ne_bytes(*word), Ordering::Release);
            } else {
                // SAFETY: inside the mapping, writable, and only reached atomically.
                unsafe { AtomicU8::from_ptr(address) }.store(*rest.first()?, Ordering::Release);
            }
            done += step;
        }
        Some(())
    }

    /// Stores 8 bytes with release order; `None` if read-only, outside, or off alignment.
    ///
    /// Not public: a stray store into a ring's position would let the kernel overwrite records
    /// that are lent out.
    #[inline]
    pub(crate) fn store_u64(&self, offset: usize, value: u64) -> Option<()> {
        if !self.writable {
            return None;
        }
        let at = self.address(offset, 8, 8)?.cast();
        // SAFETY: inside a writable mapping and aligned; only atomics touch words that change.
        unsafe { AtomicU64::from_ptr(at) }.store(value, Ordering::Release);
        Some(())
    }

    /// Lends bytes; `None` outside the memory.
    ///
    /// # Safety
    ///
    /// Nobody, the kernel included, writes to these bytes while they are lent.
    #[inline]
    pub(crate) unsafe fn bytes(&self, offset: usize, size: usize) -> Option<&[u8]> {
        let at = self.address(offset, size, 1)?;
        // SAFETY: inside the mapping; the caller vouches that the bytes stand still.
        Some(unsafe { std::slice::from_raw_parts(at, size) })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: this is the only owner of the mapping (from_raw), and no borrow outlives it.
        unsafe {
            libc::munmap(self.start.as_ptr().cast(), self.length);
        }
    }
}

/// Maps part of a file of memory, for tests.
#[cfg(test)]
pub(crate) fn map_file_at(
    file: &std::fs::File,
    offset: u64,
    length: usize,
    writable: bool,
) -> Mapping {
    use crate::kernel::Kernel;
    use std::os::fd::AsFd;
    let kernel: &dyn Kernel = &crate::real::RealKernel;
    kernel
        .mmap(MemoryRequest {
            fd: file.as_fd(),
            offset,
            length,
            writable,
        })
        .expect("memory")
}

/// Makes a file of `size` bytes of memory and maps `length` of them from `offset`, for tests.
#[cfg(test)]
pub(crate) fn memory_file(offset: u64, length: usize, size: usize) -> (std::fs::File, Mapping) {
    use std::os::fd::FromRawFd;
    // SAFETY: the name is a C string; the descriptor is new and belongs to nobody else.
    let file = unsafe {
        let fd = libc::memfd_create(c"kscope-test".as_ptr(), libc::MFD_CLOEXEC);
        assert!(fd >= 0);
        std::fs::File::from_raw_fd(fd)
    };
    file.set_len(size as u64).expect("memory");
    let mapping = map_file_at(&file, offset, length, true);
    (file, mapping)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loads_and_stores_stay_inside_and_aligned() {
        let (file, map) = memory_file(0, 4096, 4096);
        assert_eq!(map.store_u64(8, 0x1122_3344_5566_7788), Some(()));
        assert_eq!(map.load_u64(8), Some(0x1122_3344_5566_7788));
        assert!(map.load_u32(8).is_some());
        for offset in [4096, 4092, 4089, usize::MAX, 4] {
            assert_eq!(map.load_u64(offset), None, "{offset}");
            assert_eq!(map.store_u64(offset, 0), None, "{offset}");
        }
        assert_eq!(map.load_u32(4092), Some(0));
        assert_eq!(map.load_u32(4094), None);
        let read_only = map_file_at(&file, 0, 4096, false);
        assert_eq!(read_only.store_u64(8, 0), None);
        assert_eq!(read_only.load_u64(8), Some(0x1122_3344_5566_7788));
    }
}
