//! Addresses, what may be missing at them, and the trait that reads them.

use core::fmt;
use std::sync::Arc;

/// A virtual address.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VirtAddr(pub u64);

impl VirtAddr {
    /// Gives the address `bytes` further; none where that is past the last one.
    #[must_use]
    pub fn checked_add(self, bytes: u64) -> Option<VirtAddr> {
        self.0.checked_add(bytes).map(VirtAddr)
    }

    /// Gives the bytes from `other` up to this address; none where `other` is above.
    #[must_use]
    pub fn offset_from(self, other: VirtAddr) -> Option<u64> {
        self.0.checked_sub(other.0)
    }

    /// Tells whether the address is in the kernel's half, which on x86_64 and aarch64 is the upper
    /// one.
    #[must_use]
    pub fn is_kernel(self) -> bool {
        self.0 >> 63 != 0
    }
}

impl fmt::Display for VirtAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

impl fmt::Debug for VirtAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VirtAddr({self})")
    }
}

/// A physical address.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PhysAddr(pub u64);

impl PhysAddr {
    /// Gives the address `bytes` further; none where that is past the last one.
    #[must_use]
    pub fn checked_add(self, bytes: u64) -> Option<PhysAddr> {
        self.0.checked_add(bytes).map(PhysAddr)
    }

    /// Gives the frame in which the address lies, where pages have `1 << shift` bytes.
    #[must_use]
    pub fn frame(self, shift: u32) -> Pfn {
        Pfn(self.0.checked_shr(shift).unwrap_or(0))
    }
}

impl fmt::Display for PhysAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "physical {:#x}", self.0)
    }
}

impl fmt::Debug for PhysAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PhysAddr({:#x})", self.0)
    }
}

/// The number of a page frame: a physical address without the bits inside of the page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pfn(pub u64);

/// Why there are no bytes at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Gap {
    /// No memory is mapped there.
    Unmapped,
    /// The dump leaves it out on purpose.
    Excluded,
    /// It should be there and is not, as in a dump that was cut off.
    Lost,
    /// It is there and cannot be decoded.
    Corrupt,
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Gap::Unmapped => "not mapped",
            Gap::Excluded => "excluded from the dump",
            Gap::Lost => "lost from the dump",
            Gap::Corrupt => "corrupt in the dump",
        })
    }
}

/// A gap: where it begins, how far it is known to reach, and why it is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct GapAt<A = VirtAddr> {
    /// The first address that could not be read.
    pub addr: A,
    /// Bytes from there on that are missing for the same reason, as far as was looked: at least
    /// one, and never past the end of what was asked for.
    pub len: u64,
    /// Why it could not.
    pub why: Gap,
}

impl<A: fmt::Display> fmt::Display for GapAt<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "memory at {} is {}", self.addr, self.why)
    }
}

impl<A: fmt::Display + fmt::Debug> std::error::Error for GapAt<A> {}

/// Kernel memory, of a running kernel or of a dump.
pub trait Memory {
    /// Fills `buf` with the bytes from `addr` on.
    ///
    /// # Errors
    /// Where any of them is missing; what `buf` then holds is not said.
    fn read(&self, addr: VirtAddr, buf: &mut [u8]) -> Result<(), GapAt>;

    /// Reads the bytes up to the first NUL, at most `most` of them. Where memory ends before
    /// either, what is before the gap is given if it is not empty.
    ///
    /// # Errors
    /// Where not even the first byte can be read.
    fn read_text(&self, addr: VirtAddr, most: usize) -> Result<Vec<u8>, GapAt> {
        const PIECE: usize = 64;
        let mut text = Vec::new();
        while text.len() < most {
            let Some(at) = addr.checked_add(text.len() as u64) else {
                break;
            };
            let mut piece = [0u8; PIECE];
            // Not past the next 64-byte line, so that a page's end is never crossed at once.
            let line = PIECE - (at.0 as usize % PIECE);
            let len = line.min(most - text.len());
            match self.read(at, &mut piece[..len]) {
                Ok(()) => {}
                Err(_) if !text.is_empty() => break,
                Err(gap) => return Err(gap),
            }
            match piece[..len].iter().position(|&b| b == 0) {
                Some(end) => {
                    text.extend_from_slice(&piece[..end]);
                    break;
                }
                None => text.extend_from_slice(&piece[..len]),
            }
        }
        Ok(text)
    }

    /// Reads a byte.
    ///
    /// # Errors
    /// As [`Memory::read`].
    fn read_u8(&self, addr: VirtAddr) -> Result<u8, GapAt> {
        let mut bytes = [0];
        self.read(addr, &mut bytes).map(|()| bytes[0])
    }

    /// Reads a little-endian number of 2 bytes.
    ///
    /// # Errors
    /// As [`Memory::read`].
    fn read_u16(&self, addr: VirtAddr) -> Result<u16, GapAt> {
        let mut bytes = [0; 2];
        self.read(addr, &mut bytes)
            .map(|()| u16::from_le_bytes(bytes))
    }

    /// Reads a little-endian number of 4 bytes.
    ///
    /// # Errors
    /// As [`Memory::read`].
    fn read_u32(&self, addr: VirtAddr) -> Result<u32, GapAt> {
        let mut bytes = [0; 4];
        self.read(addr, &mut bytes)
            .map(|()| u32::from_le_bytes(bytes))
    }

    /// Reads a little-endian number of 8 bytes.
    ///
    /// # Errors
    /// As [`Memory::read`].
    fn read_u64(&self, addr: VirtAddr) -> Result<u64, GapAt> {
        let mut bytes = [0; 8];
        self.read(addr, &mut bytes)
            .map(|()| u64::from_le_bytes(bytes))
    }
}

/// Physical memory, as dumps hold it.
pub trait PhysMemory {
    /// Fills `buf` with the bytes from `addr` on.
    ///
    /// # Errors
    /// Where any of them is missing; what `buf` then holds is not said.
    fn read_phys(&self, addr: PhysAddr, buf: &mut [u8]) -> Result<(), GapAt<PhysAddr>>;
}

impl<M: PhysMemory + ?Sized> PhysMemory for &M {
    fn read_phys(&self, addr: PhysAddr, buf: &mut [u8]) -> Result<(), GapAt<PhysAddr>> {
        (**self).read_phys(addr, buf)
    }
}

impl<M: PhysMemory + ?Sized> PhysMemory for Arc<M> {
    fn read_phys(&self, addr: PhysAddr, buf: &mut [u8]) -> Result<(), GapAt<PhysAddr>> {
        (**self).read_phys(addr, buf)
    }
}

impl<M: Memory + ?Sized> Memory for &M {
    fn read(&self, addr: VirtAddr, buf: &mut [u8]) -> Result<(), GapAt> {
        (**self).read(addr, buf)
    }
}

impl<M: Memory + ?Sized> Memory for Box<M> {
    fn read(&self, addr: VirtAddr, buf: &mut [u8]) -> Result<(), GapAt> {
        (**self).read(addr, buf)
    }
}

impl<M: Memory + ?Sized> Memory for Arc<M> {
    fn read(&self, addr: VirtAddr, buf: &mut [u8]) -> Result<(), GapAt> {
        (**self).read(addr, buf)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Four bytes at 0x1000, after which the dump is cut off.
    struct Four;

    impl Memory for Four {
        fn read(&self, addr: VirtAddr, buf: &mut [u8]) -> Result<(), GapAt> {
            let start = addr.offset_from(VirtAddr(0x1000)).ok_or(GapAt {
                addr,
                len: buf.len() as u64,
                why: Gap::Unmapped,
            })?;
            for (i, byte) in buf.iter_mut().enumerate() {
                let at = start + i as u64;
                let lost = GapAt {
                    addr: VirtAddr(0x1000 + at),
                    len: 1,
                    why: Gap::Lost,
                };
                *byte = *b"\x01\x02\x03\x84".get(at as usize).ok_or(lost)?;
            }
            Ok(())
        }
    }

    #[test]
    fn numbers_are_little_endian_through_any_pointer() {
        let memory: Arc<dyn Memory> = Arc::new(Four);
        assert_eq!(memory.read_u32(VirtAddr(0x1000)), Ok(0x8403_0201));
        let boxed: Box<dyn Memory> = Box::new(Four);
        assert_eq!(boxed.read_u16(VirtAddr(0x1001)), Ok(0x0302));
        assert_eq!(memory.read_u8(VirtAddr(0x1003)), Ok(0x84));
    }

    #[test]
    fn gaps_name_their_address() {
        let gap = Four.read_u64(VirtAddr(0x1002)).unwrap_err();
        assert_eq!(gap.to_string(), "memory at 0x1004 is lost from the dump");
        let gap = Four.read_u8(VirtAddr(0xfff)).unwrap_err();
        assert_eq!(
            gap,
            GapAt {
                addr: VirtAddr(0xfff),
                len: 1,
                why: Gap::Unmapped
            }
        );
    }

    #[test]
    fn addresses() {
        assert!(VirtAddr(0xffff_8880_0000_0000).is_kernel());
        assert!(!VirtAddr(0x7fff_ffff_ffff).is_kernel());
        assert_eq!(VirtAddr(u64::MAX).checked_add(1), None);
        assert_eq!(VirtAddr(5).offset_from(VirtAddr(6)), None);
        assert_eq!(format!("{:?}", VirtAddr(255)), "VirtAddr(0xff)");
    }
}
