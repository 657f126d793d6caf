//! Where the `struct page` of each frame is: the sections of `SPARSEMEM`, which every machine
//! here has, as VMCOREINFO tells them.

use kscope_memory::{PhysAddr, PhysMemory, VirtAddr};

use crate::bytes::u64_at;
use crate::facts::source::DumpSource;
use crate::facts::vmcoreinfo::Vmcoreinfo;
use crate::{Error, Kernel};

/// Bits of a section's word that are flags and not its map (`SECTION_MAP_MASK`).
const FLAGS: u64 = 0x3f;
/// The section is there (`SECTION_MARKED_PRESENT`) and has a map (`SECTION_HAS_MEM_MAP`).
const USABLE: u64 = 0x3;
const PAGE: u64 = 4096;
/// Largest section read: 1 GB.
const SECTION_BITS: std::ops::RangeInclusive<i64> = 20..=30;

/// The maps of sections.
pub(crate) struct MemoryMap<'k> {
    source: &'k DumpSource,
    roots: VirtAddr,
    root_count: u64,
    per_root: u64,
    entry: u64,
    map_at: u64,
    /// Frames of a section, as a power of two.
    shift: u32,
    page: u64,
    /// The section looked up last, and its word; none where it has no map.
    last: (u64, Option<u64>),
}

impl<'k> MemoryMap<'k> {
    /// Finds the sections.
    ///
    /// # Errors
    /// Where VMCOREINFO does not tell of them.
    pub(crate) fn new(kernel: &'k Kernel, page: usize) -> Result<MemoryMap<'k>, Error> {
        let source = kernel.dump_source().ok_or(Error::Missing("dump"))?;
        let info = &source.info;
        let missing = Error::Missing("sections of memory in VMCOREINFO");
        let bits = info.number("SECTION_SIZE_BITS");
        let bits = bits.filter(|bits| SECTION_BITS.contains(bits));
        let roots = info.symbol("mem_section");
        let (Some(bits), Some(roots)) = (bits, roots) else {
            return Err(missing);
        };
        let (entry, map_at) = sizes(info).ok_or(missing)?;
        let root_count = info.length("mem_section").unwrap_or(1);
        let mut map = MemoryMap {
            source,
            roots,
            root_count,
            per_root: PAGE / entry,
            entry,
            map_at,
            shift: bits as u32 - 12,
            page: page as u64,
            last: (u64::MAX, None),
        };
        if !map.leads_somewhere() {
            // The symbol may be the variable that points to the table in place of the table.
            map.roots = VirtAddr(map.word(roots).ok_or(Error::Missing("table of sections"))?);
            if !map.leads_somewhere() {
                return Err(Error::Malformed {
                    what: "table of sections",
                    offset: roots.0,
                });
            }
        }
        Ok(map)
    }

    /// Tells whether any of the first sections has a map of which something can be read.
    fn leads_somewhere(&mut self) -> bool {
        const LOOKED_AT: u64 = 64;
        // A page of the map may be lost, or may never have been memory: others tell as well.
        const PLACES: u64 = 8;
        let mut raw = [0; 8];
        (0..LOOKED_AT * PLACES).any(|place| {
            let at = self.start((place << self.shift) / PLACES);
            self.last = (u64::MAX, None);
            at.is_some_and(|at| {
                self.source
                    .tables
                    .read(&self.source.dump, at, &mut raw)
                    .is_ok()
            })
        })
    }

    fn word(&self, at: VirtAddr) -> Option<u64> {
        let mut raw = [0; 8];
        let read = self.source.tables.read(&self.source.dump, at, &mut raw);
        read.ok().map(|()| u64_at(&raw, 0))
    }

    fn section(&self, section: u64) -> Option<u64> {
        let root = section / self.per_root;
        if root >= self.root_count {
            return None;
        }
        let root = self.word(self.roots.checked_add(root * 8)?)?;
        if root == 0 {
            return None;
        }
        let at = root.checked_add(section % self.per_root * self.entry + self.map_at)?;
        let word = self.word(VirtAddr(at))?;
        (word & USABLE == USABLE).then_some(word & !FLAGS)
    }

    /// Gives the address of the `struct page` of a frame; none where its section has no map.
    fn start(&mut self, pfn: u64) -> Option<VirtAddr> {
        let section = pfn >> self.shift;
        if self.last.0 != section {
            self.last = (section, self.section(section));
        }
        // The word is such that the number of a frame leads from it to its page.
        let map = self.last.1?;
        Some(VirtAddr(map.wrapping_add(pfn.wrapping_mul(self.page))))
    }

    /// Gives where the section of a frame ends if the kernel has no `struct page`s for it.
    pub(crate) fn without(&mut self, pfn: u64) -> Option<u64> {
        match self.start(pfn) {
            Some(_) => None,
            None => Some(((pfn >> self.shift) + 1) << self.shift),
        }
    }

    /// Reads the `struct page`s from frame `pfn` on until `buf` is full or the section ends, and
    /// gives for how many frames; 0 where those of this frame cannot be read.
    ///
    /// Reads what lies together in physical memory in one piece.
    pub(crate) fn read(&mut self, pfn: u64, buf: &mut [u8]) -> usize {
        let Some(start) = self.start(pfn) else {
            return 0;
        };
        let left = (((pfn >> self.shift) + 1) << self.shift) - pfn;
        let whole = (buf.len() / self.page as usize).min(left as usize);
        let buf = &mut buf[..whole * self.page as usize];
        let mut done = 0;
        while done < buf.len() {
            let Some((phys, len)) = self.piece(start, done, buf.len()) else {
                break;
            };
            let piece = &mut buf[done..done + len];
            if self.source.dump.read_phys(phys, piece).is_err() {
                break;
            }
            done += len;
        }
        done / self.page as usize
    }

    /// Gives the physical address behind `done` bytes, and how many bytes lie together from there.
    fn piece(&self, start: VirtAddr, done: usize, all: usize) -> Option<(PhysAddr, usize)> {
        let translate = |done: usize| {
            let at = start.checked_add(done as u64)?;
            let phys = self.source.tables.translate(&self.source.dump, at).ok()?;
            Some((at, phys))
        };
        let (at, phys) = translate(done)?;
        let mut end = done + (PAGE - at.0 % PAGE) as usize;
        while end < all {
            match translate(end) {
                Some((_, next)) if next.0 == phys.0 + (end - done) as u64 => end += PAGE as usize,
                _ => break,
            }
        }
        Some((phys, end.min(all) - done))
    }
}

/// Gives the size of a section's entry, and where its word is in it.
fn sizes(info: &Vmcoreinfo) -> Option<(u64, u64)> {
    let entry = info.size("mem_section");
    let entry = entry.filter(|entry| (8..=PAGE).contains(entry))?;
    let at = info.offset("mem_section.section_mem_map").unwrap_or(0);
    (at + 8 <= entry).then_some((entry, at))
}
