//! ELF core files: /proc/vmcore and copies of it, QEMU's, and /proc/kcore.

use std::sync::Arc;

use kscope_memory::{Gap, PhysAddr, VirtAddr};

use crate::Error;
use crate::bytes::{Bytes, read_exact, read_some, read_vec, u16_at, u32_at, u64_at};
use crate::interval::IntervalMap;

/// What the file begins with.
pub(crate) const MAGIC: &[u8; 4] = b"\x7fELF";
const FILE_HEADER: usize = 64;
const SEGMENT: usize = 56;
const SECTION: usize = 64;
/// The number of segments is elsewhere, in the first section's header.
const PN_XNUM: u16 = 0xffff;
const PT_LOAD: u32 = 1;
const PT_NOTE: u32 = 4;
/// The dump was cut short as it was written.
const INCOMPLETE: u32 = 1;
/// Most bytes of notes read: 8192 CPUs have 3 MB.
const NOTES: u64 = 16 << 20;
/// Most segments of a file whose length says nothing.
const SEGMENTS: u64 = 1 << 24;

/// What a range of addresses leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// An offset in the file.
    File,
    /// Nothing: the page was left out.
    Excluded,
}

/// A core file.
pub(crate) struct Elf {
    pub(crate) bytes: Arc<dyn Bytes>,
    pub(crate) machine: u16,
    pub(crate) incomplete: bool,
    pub(crate) notes: Vec<u8>,
    physical: IntervalMap<Place>,
    virtual_: IntervalMap<Place>,
}

impl Elf {
    pub(crate) fn open(bytes: Arc<dyn Bytes>) -> Result<Elf, Error> {
        let mut head = [0; FILE_HEADER];
        read_exact(&bytes, 0, &mut head, "ELF header")?;
        if !head.starts_with(MAGIC) {
            return Err(Error::NotADump);
        }
        if (head[4], head[5]) != (2, 1) {
            return Err(Error::Unsupported(
                "of 32-bit or big-endian machines".to_owned(),
            ));
        }
        const ET_CORE: u16 = 4;
        if u16_at(&head, 16) != ET_CORE {
            return Err(Error::NotADump);
        }
        if usize::from(u16_at(&head, 54)) != SEGMENT {
            return Err(Error::Malformed {
                what: "size of a program header",
                offset: 54,
            });
        }
        let at = u64_at(&head, 32);
        let count = match u16_at(&head, 56) {
            PN_XNUM => {
                let offset = u64_at(&head, 40);
                let mut section = [0; SECTION];
                read_exact(&bytes, offset, &mut section, "section header")?;
                u64::from(u32_at(&section, 44))
            }
            count => count.into(),
        };
        let mut elf = Elf {
            machine: u16_at(&head, 18),
            incomplete: u32_at(&head, 48) & INCOMPLETE != 0,
            notes: Vec::new(),
            physical: IntervalMap::new(),
            virtual_: IntervalMap::new(),
            bytes,
        };
        elf.read_segments(at, count.min(SEGMENTS))?;
        Ok(elf)
    }

    fn read_segments(&mut self, at: u64, count: u64) -> Result<(), Error> {
        let mut left = count;
        let mut offset = at;
        let mut piece = vec![0; SEGMENT * 512];
        let mut files = Vec::new();
        while left > 0 {
            let want = left.min(512) as usize * SEGMENT;
            let n = read_some(&self.bytes, offset, &mut piece[..want])?;
            for raw in piece[..n].chunks_exact(SEGMENT) {
                self.segment(raw, &mut files)?;
            }
            if n < want {
                // The headers were cut: what is known is known.
                self.incomplete = true;
                break;
            }
            left -= want as u64 / SEGMENT as u64;
            offset = offset.saturating_add(want as u64);
        }
        // Segments may overlap, as the kernel's image does the memory it is in; bytes that are
        // there go over those that are not.
        for (virt, phys, size, file) in files {
            self.virtual_.insert(virt, size, file, Place::File);
            if phys != u64::MAX {
                self.physical.insert(phys, size, file, Place::File);
            }
        }
        Ok(())
    }

    fn segment(&mut self, raw: &[u8], files: &mut Vec<(u64, u64, u64, u64)>) -> Result<(), Error> {
        let (offset, virt, phys) = (u64_at(raw, 8), u64_at(raw, 16), u64_at(raw, 24));
        let (in_file, in_memory) = (u64_at(raw, 32), u64_at(raw, 40));
        match u32_at(raw, 0) {
            PT_LOAD => {
                if in_memory > in_file {
                    let rest = in_memory - in_file;
                    let start = |a: u64| a.checked_add(in_file);
                    if let (Some(virt), Some(phys)) = (start(virt), start(phys)) {
                        self.virtual_.insert(virt, rest, 0, Place::Excluded);
                        self.physical.insert(phys, rest, 0, Place::Excluded);
                    }
                }
                files.push((virt, phys, in_file, offset));
            }
            PT_NOTE => {
                let most = NOTES - self.notes.len() as u64;
                let notes = read_vec(&self.bytes, offset, in_file, most)?;
                self.notes.extend_from_slice(&notes);
            }
            _ => {}
        }
        Ok(())
    }

    /// Gives the offset in the file of a physical address, and the bytes from there on; or the
    /// gap, and its length.
    pub(crate) fn place(&self, addr: PhysAddr) -> Result<(u64, u64), (Gap, u64)> {
        place(&self.physical, addr.0)
    }

    /// Gives the same for a virtual address, as the segments say it.
    pub(crate) fn virtual_place(&self, addr: VirtAddr) -> Result<(u64, u64), (Gap, u64)> {
        place(&self.virtual_, addr.0)
    }

    /// Gives every range of physical memory in the file: begin, length, offset.
    pub(crate) fn ranges(&self) -> impl Iterator<Item = (PhysAddr, u64, u64)> + '_ {
        let files = self.physical.iter().filter(|r| r.3 == Place::File);
        files.map(|(start, len, to, _)| (PhysAddr(start), len, to))
    }

    /// Gives every range of physical memory, in the file or left out: begin, length, place.
    pub(crate) fn places(&self) -> impl Iterator<Item = (PhysAddr, u64, Place)> + '_ {
        let all = self.physical.iter();
        all.map(|(start, len, _, place)| (PhysAddr(start), len, place))
    }

    /// Gives how many bytes the segments say there are, and how many of them are behind the end
    /// of the file.
    pub(crate) fn coverage(&self) -> (u64, u64) {
        let end = self.bytes.len();
        self.ranges().fold((0, 0), |(all, lost), (_, len, to)| {
            let there = end.saturating_sub(to).min(len);
            (all + len, lost + (len - there))
        })
    }
}

fn place(map: &IntervalMap<Place>, addr: u64) -> Result<(u64, u64), (Gap, u64)> {
    match map.find(addr) {
        Ok(hit) if hit.tag == Place::File => Ok((hit.to, hit.left)),
        Ok(hit) => Err((Gap::Excluded, hit.left)),
        Err(left) => Err((Gap::Unmapped, left)),
    }
}
