//! The values of an array map, mapped.

use std::os::fd::AsFd;

use crate::errno::Errno;
use crate::kernel::Kernel;
use crate::map_fd::MapFd;
use crate::mapping::{Mapping, MemoryRequest, page_size};

/// `BPF_MAP_TYPE_ARRAY`.
const ARRAY: u32 = 2;
/// `BPF_MAP_TYPE_ARENA`, whose entries are pages.
const ARENA: u32 = 33;

/// The values of an array map in memory, which programs read and write at any time.
#[derive(Debug)]
pub struct MapValues(Mapping);

impl MapValues {
    /// Copies bytes out, in words where both ends are aligned; `None` outside the memory.
    pub fn read(&self, offset: usize, into: &mut [u8]) -> Option<()> {
        self.0.copy_out(offset, into)
    }

    /// Copies bytes in, in words where both ends are aligned; `None` outside the memory, or where
    /// it was mapped for reading.
    pub fn write(&self, offset: usize, from: &[u8]) -> Option<()> {
        self.0.copy_in(offset, from)
    }
}

impl dyn Kernel + '_ {
    /// Maps the values of an array map made with `BPF_F_MMAPABLE` (5.5), or the pages of an arena
    /// (6.9) that was made without an address; programs see them at the same place.
    ///
    /// # Errors
    ///
    /// `EINVAL` for another kind of map, else what the kernel says.
    pub fn map_values(&self, map: &MapFd, writable: bool) -> Result<MapValues, Errno> {
        let shape = map.shape();
        let each = match shape.kind {
            ARRAY => (shape.value_size as usize).checked_next_multiple_of(8),
            ARENA => Some(page_size()),
            _ => return Err(Errno::INVAL),
        };
        let all = each.and_then(|each| each.checked_mul(shape.max_entries as usize));
        let length = all.and_then(|all| all.checked_next_multiple_of(page_size()));
        self.mmap(MemoryRequest {
            fd: map.as_fd(),
            offset: 0,
            length: length.ok_or(Errno::TOO_BIG)?,
            writable,
        })
        .map(MapValues)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mapping::memory_file;

    #[test]
    fn bytes_come_back_wherever_they_lie() {
        let (_file, map) = memory_file(0, 4096, 4096);
        let values = MapValues(map);
        let bytes: Vec<u8> = (1..=40).collect();
        for offset in 0..16 {
            for length in 0..=bytes.len() {
                let wanted = &bytes[..length];
                assert_eq!(values.write(offset, &[0; 64]), Some(()));
                assert_eq!(values.write(offset, wanted), Some(()));
                let mut found = vec![0xff; length + 1];
                assert_eq!(values.read(offset, &mut found), Some(()));
                assert_eq!((&found[..length], found[length]), (wanted, 0));
            }
        }
        for offset in [4096, 4095, usize::MAX] {
            assert_eq!(values.write(offset, &[1, 2]), None);
            assert_eq!(values.read(offset, &mut [1, 2]), None);
        }
    }
}
