//! A dump opened: physical memory behind one way to read it, whatever the format.

use std::fs::File;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use kscope_memory::{Gap, GapAt, Pfn, PhysAddr, PhysMemory, VirtAddr};

use crate::Error;
use crate::bytes::{Bytes, FileBytes, read_some, read_vec};
use crate::cache::Cache;
use crate::facts::notes::Notes;
use crate::format::elf::{self, Elf};
use crate::format::flat::{self, Flat};
use crate::format::kdump::{self, Extent, Kdump};

/// Bytes of pages kept, unless the caller says otherwise.
const CACHE: usize = 16 << 20;
/// Bytes of an ELF file read at once.
const BLOCK: usize = 4096;
/// Most files of a split set.
const FILES: usize = 4096;
/// Most bytes of VMCOREINFO and of notes read.
const VMCOREINFO: u64 = 1 << 20;
const NOTES: u64 = 16 << 20;

/// The format of a dump.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DumpFormat {
    /// An ELF core file.
    Elf,
    /// kdump-compressed, whatever the compression.
    KdumpCompressed,
}

/// How a dump is opened.
#[derive(Clone, Copy, Debug)]
pub struct DumpOptions {
    /// Bytes of pages kept at most; none for memory that changes, as /proc/kcore.
    pub cache: usize,
}

impl DumpOptions {
    /// Keeps little: for what reads a dump once, from its begin to its end, as saving it does.
    pub const ONCE: DumpOptions = DumpOptions { cache: 1 << 20 };
}

impl Default for DumpOptions {
    fn default() -> DumpOptions {
        DumpOptions { cache: CACHE }
    }
}

/// What was asked for and was not there, counted in reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MissingReads {
    /// Not mapped, or no memory.
    pub unmapped: u64,
    /// Left out on purpose.
    pub excluded: u64,
    /// Lost.
    pub lost: u64,
    /// Not decodable.
    pub corrupt: u64,
}

/// How much of a dump is there, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    /// What the dump says it has, with all files of a split set; frames of which what is left of the
    /// files does not say whether they were dumped count.
    pub dumped: u64,
    /// What of that is not in the files: the file was cut, never written to its end, or a file of
    /// a split set was not given.
    pub lost: u64,
}

/// A crash dump: physical memory and notes.
pub struct Dump {
    pub(crate) format: Format,
    flattened: bool,
    incomplete: bool,
    pages: Mutex<Cache<Result<Box<[u8]>, Gap>>>,
    caches: bool,
    missing: [AtomicU64; 4],
}

pub(crate) enum Format {
    Elf(Elf),
    /// The files of a set, by their first frame.
    Kdump(Vec<Kdump>),
}

impl Dump {
    /// Opens a dump; of a split one, all its files, in any order.
    ///
    /// # Errors
    /// Where a file cannot be opened, is no dump, or does not belong to the others.
    pub fn open<P: AsRef<Path>>(paths: &[P]) -> Result<Dump, Error> {
        Dump::open_with(paths, DumpOptions::default())
    }

    /// Opens a dump as [`Dump::open`] does, with options.
    ///
    /// # Errors
    /// As [`Dump::open`].
    pub fn open_with<P: AsRef<Path>>(paths: &[P], options: DumpOptions) -> Result<Dump, Error> {
        let mut files: Vec<Arc<dyn Bytes>> = Vec::new();
        for path in paths {
            let opened = File::open(path).and_then(FileBytes::new);
            let file = opened.map_err(|why| Error::Read {
                offset: 0,
                why: Arc::new(why),
            })?;
            files.push(Arc::new(file));
        }
        Dump::from_bytes(files, options)
    }

    /// Takes the bytes of a dump; of a split one, of all its files, in any order.
    ///
    /// # Errors
    /// As [`Dump::open`].
    pub fn from_bytes(files: Vec<Arc<dyn Bytes>>, options: DumpOptions) -> Result<Dump, Error> {
        if files.len() > FILES {
            return Err(Error::TooMany {
                what: "the list of files",
            });
        }
        let mut flattened = false;
        let mut incomplete = false;
        let mut parts = Vec::new();
        let mut elf = None;
        let single = files.len() == 1;
        for bytes in files {
            let mut magic = [0; 16];
            let n = read_some(&bytes, 0, &mut magic)?;
            let bytes: Arc<dyn Bytes> = if magic[..n].starts_with(flat::MAGIC) {
                let flat = Flat::open(bytes)?;
                flattened = true;
                incomplete |= !flat.is_complete();
                Arc::new(flat)
            } else {
                bytes
            };
            let n = read_some(&bytes, 0, &mut magic)?;
            let magic = &magic[..n];
            if magic.starts_with(kdump::MAGIC) || magic.starts_with(kdump::OLD_MAGIC) {
                parts.push(Kdump::open(bytes)?);
            } else if magic.starts_with(elf::MAGIC) && single {
                elf = Some(Elf::open(bytes)?);
            } else {
                return Err(Error::NotADump);
            }
        }
        let format = match elf {
            Some(elf) => {
                incomplete |= elf.incomplete;
                Format::Elf(elf)
            }
            None => {
                check_set(&mut parts)?;
                incomplete |= parts.iter().any(|p| p.header.incomplete);
                Format::Kdump(parts)
            }
        };
        let block = match &format {
            Format::Elf(_) => BLOCK,
            Format::Kdump(parts) => parts
                .first()
                .map_or(BLOCK, |p| p.header.block_size as usize),
        };
        Ok(Dump {
            format,
            flattened,
            incomplete,
            pages: Mutex::new(Cache::new(options.cache / block)),
            caches: options.cache >= block,
            missing: Default::default(),
        })
    }

    /// Gives the format.
    #[must_use]
    pub fn format(&self) -> DumpFormat {
        match self.format {
            Format::Elf(_) => DumpFormat::Elf,
            Format::Kdump(_) => DumpFormat::KdumpCompressed,
        }
    }

    /// Tells whether the file is flattened, as written through a pipe.
    #[must_use]
    pub fn is_flattened(&self) -> bool {
        self.flattened
    }

    /// Tells whether the dump says of itself that it is not whole. One that was cut later does
    /// not; [`Dump::coverage`] looks.
    #[must_use]
    pub fn is_incomplete(&self) -> bool {
        self.incomplete
    }

    /// Gives the machine it is of, as `uname -m` says it; none where this library has no name.
    #[must_use]
    pub fn machine(&self) -> Option<&str> {
        match &self.format {
            Format::Elf(elf) => match elf.machine {
                62 => Some("x86_64"),
                183 => Some("aarch64"),
                _ => None,
            },
            Format::Kdump(parts) => parts.first().map(|p| &*p.header.machine),
        }
    }

    /// Gives the kernel's release from the dump's own header, where it has one.
    #[must_use]
    pub fn header_release(&self) -> Option<&str> {
        match &self.format {
            Format::Elf(_) => None,
            Format::Kdump(parts) => parts
                .first()
                .map(|p| &*p.header.release)
                .filter(|release| !release.is_empty()),
        }
    }

    /// Gives the bits that say which pages makedumpfile left out: 1 zero, 2 cache without and 4
    /// with private pages, 8 user, 16 free. None where the format does not say.
    #[must_use]
    pub fn dump_level(&self) -> Option<i32> {
        match &self.format {
            Format::Elf(_) => None,
            Format::Kdump(parts) => parts.first().map(|p| p.header.dump_level),
        }
    }

    /// Gives the version of the format, where it has one.
    #[must_use]
    pub fn version(&self) -> Option<i32> {
        match &self.format {
            Format::Elf(_) => None,
            Format::Kdump(parts) => parts.first().map(|p| p.header.version),
        }
    }

    /// Counts how much the dump has and how much of it is not in the files.
    #[must_use]
    pub fn coverage(&self) -> Coverage {
        match &self.format {
            Format::Elf(elf) => {
                let (dumped, lost) = elf.coverage();
                Coverage { dumped, lost }
            }
            Format::Kdump(parts) => {
                let frames = |count: u64, part: &Kdump| {
                    count.saturating_mul(u64::from(part.header.block_size))
                };
                let absent = not_given(parts);
                let absent = parts.first().map_or(0, |part| frames(absent, part));
                let start = Coverage {
                    dumped: absent,
                    lost: absent,
                };
                parts.iter().fold(start, |sum, part| {
                    let dumped = part.dumped().saturating_add(part.unknown());
                    Coverage {
                        dumped: sum.dumped.saturating_add(frames(dumped, part)),
                        lost: sum.lost.saturating_add(frames(part.lost(), part)),
                    }
                })
            }
        }
    }

    /// Tells whether the dump was split and files of it were not given that have pages.
    #[must_use]
    pub fn lacks_files(&self) -> bool {
        match &self.format {
            Format::Elf(_) => false,
            Format::Kdump(parts) => not_given(parts) > 0,
        }
    }

    /// Gives what was asked for so far and was not there.
    #[must_use]
    pub fn missing(&self) -> MissingReads {
        let count = |gap: Gap| self.missing[gap_index(gap)].load(Ordering::Relaxed);
        MissingReads {
            unmapped: count(Gap::Unmapped),
            excluded: count(Gap::Excluded),
            lost: count(Gap::Lost),
            corrupt: count(Gap::Corrupt),
        }
    }

    /// Reads the ELF notes of the dump.
    pub(crate) fn notes(&self) -> Notes {
        Notes::parse(&self.raw_notes())
    }

    /// Reads the ELF notes of the dump as they are in it.
    pub(crate) fn raw_notes(&self) -> Vec<u8> {
        match &self.format {
            Format::Elf(elf) => elf.notes.clone(),
            Format::Kdump(parts) => {
                let found = parts.iter().find_map(|p| extent(p, p.header.notes, NOTES));
                found.unwrap_or_default()
            }
        }
    }

    /// Reads VMCOREINFO where the format has a place for it besides the notes.
    pub(crate) fn vmcoreinfo(&self) -> Option<Vec<u8>> {
        match &self.format {
            Format::Elf(_) => None,
            Format::Kdump(parts) => parts
                .iter()
                .find_map(|p| extent(p, p.header.vmcoreinfo, VMCOREINFO)),
        }
    }

    /// Gives the physical address of the kernel's image as the header says it, less its virtual
    /// one; none where the format does not say.
    pub(crate) fn phys_base(&self) -> Option<u64> {
        match &self.format {
            Format::Elf(_) => None,
            Format::Kdump(parts) => parts.first().map(|p| p.header.phys_base),
        }
    }

    /// Gives the ranges of physical memory to look through, each with its length: no more than
    /// files can hold.
    pub(crate) fn ranges(&self) -> Vec<(PhysAddr, u64)> {
        match &self.format {
            Format::Elf(elf) => {
                let mut left = elf.bytes.len().saturating_mul(2);
                let ranges = elf.ranges().map(|(start, len, offset)| {
                    let there = elf.bytes.len().saturating_sub(offset);
                    let len = len.min(there).min(left);
                    left -= len;
                    (start, len)
                });
                ranges.filter(|(_, len)| *len > 0).collect()
            }
            Format::Kdump(parts) => {
                let known = parts.iter().map(Kdump::known_bytes).max();
                vec![(PhysAddr(0), known.unwrap_or(0))]
            }
        }
    }

    /// Reads at a virtual address through the segments of an ELF file, which for /proc/kcore and
    /// before page tables are known is a way to the kernel's memory.
    pub(crate) fn read_segment(&self, addr: VirtAddr, buf: &mut [u8]) -> Result<(), GapAt> {
        let Format::Elf(elf) = &self.format else {
            return Err(GapAt {
                addr,
                len: buf.len() as u64,
                why: Gap::Unmapped,
            });
        };
        self.pieces(addr.0, buf, |at| elf.virtual_place(VirtAddr(at)))
            .map_err(|gap| GapAt {
                addr: VirtAddr(gap.addr),
                len: gap.len,
                why: gap.why,
            })
    }

    /// Reads pieces of an ELF file that follow each other in memory.
    fn pieces(
        &self,
        addr: u64,
        buf: &mut [u8],
        place: impl Fn(u64) -> Result<(u64, u64), (Gap, u64)>,
    ) -> Result<(), GapAt<u64>> {
        let mut done = 0usize;
        while let Some(rest) = buf.get_mut(done..).filter(|rest| !rest.is_empty()) {
            let at = addr.wrapping_add(done as u64);
            let all = rest.len() as u64;
            let found = if at < addr {
                Err((Gap::Unmapped, u64::MAX))
            } else {
                place(at)
            };
            let (offset, left) = found.map_err(|(why, left)| GapAt {
                addr: at,
                len: left.clamp(1, all),
                why,
            })?;
            let n = all.min(left) as usize;
            let read = self.file_block(offset, &mut rest[..n]);
            let n = read.map_err(|(why, skip)| GapAt {
                addr: at + skip as u64,
                len: (n - skip).max(1) as u64,
                why,
            })?;
            done += n;
        }
        Ok(())
    }

    /// Reads as much as is in one block of an ELF file; on a gap, says where it begins.
    fn file_block(&self, offset: u64, buf: &mut [u8]) -> Result<usize, (Gap, usize)> {
        let Format::Elf(elf) = &self.format else {
            return Err((Gap::Unmapped, 0));
        };
        // Large reads need no cache.
        if !self.caches || buf.len() >= 4 * BLOCK {
            let n = elf.bytes.read_at(offset, buf).map_err(|_| (Gap::Lost, 0))?;
            return if n == buf.len() {
                Ok(n)
            } else {
                Err((Gap::Lost, n))
            };
        }
        let key = offset / BLOCK as u64;
        let skip = (offset % BLOCK as u64) as usize;
        self.with_page(
            key,
            || {
                let mut block = vec![0; BLOCK];
                let n = elf.bytes.read_at(key * BLOCK as u64, &mut block);
                block.truncate(n.map_err(|_| Gap::Lost)?);
                Ok(block.into_boxed_slice())
            },
            |block| {
                let there = block.get(skip..).unwrap_or_default();
                let want = buf.len().min(BLOCK - skip);
                let n = there.len().min(want);
                buf[..n].copy_from_slice(&there[..n]);
                if n < want { Err((Gap::Lost, n)) } else { Ok(n) }
            },
        )
        .map_err(|gap| (gap, 0))?
    }

    /// Gives a block to `use_`, from the cache or loaded.
    fn with_page<R>(
        &self,
        key: u64,
        load: impl FnOnce() -> Result<Box<[u8]>, Gap>,
        use_: impl FnOnce(&[u8]) -> R,
    ) -> Result<R, Gap> {
        {
            let mut pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(page) = pages.get(key) {
                return page.as_deref().map(use_).map_err(|&gap| gap);
            }
        }
        // Unpacked without the lock, so that others go on.
        let page = load();
        let result = page.as_deref().map(use_).map_err(|&gap| gap);
        let mut pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        pages.insert(key, page);
        result
    }

    /// Reads pages of a set of compressed files.
    fn frames(&self, parts: &[Kdump], addr: u64, buf: &mut [u8]) -> Result<(), GapAt<u64>> {
        let block = parts
            .first()
            .map_or(BLOCK as u64, |p| u64::from(p.header.block_size));
        let mut done = 0usize;
        while let Some(rest) = buf.get_mut(done..).filter(|rest| !rest.is_empty()) {
            let at = addr.wrapping_add(done as u64);
            let skip = (at % block) as usize;
            let n = rest.len().min(block as usize - skip);
            let pfn = Pfn(at / block);
            let read = if at < addr {
                Err(Gap::Unmapped)
            } else {
                self.with_page(
                    pfn.0,
                    || load_frame(parts, pfn),
                    |page| rest[..n].copy_from_slice(&page[skip..skip + n]),
                )
            };
            read.map_err(|why| GapAt {
                addr: at,
                len: n as u64,
                why,
            })?;
            done += n;
        }
        Ok(())
    }
}

/// Puts the files of a set in order and compares what they must have in common.
fn check_set(parts: &mut [Kdump]) -> Result<(), Error> {
    parts.sort_by_key(|p| p.header.start);
    let Some(first) = parts.first() else {
        return Err(Error::NotADump);
    };
    let first = &first.header;
    for part in parts.iter().map(|p| &p.header).skip(1) {
        if !part.split || !first.split {
            return Err(Error::Mismatch("being part of a split dump"));
        }
        if part.block_size != first.block_size {
            return Err(Error::Mismatch("the block size"));
        }
        if part.frames != first.frames {
            return Err(Error::Mismatch("the number of page frames"));
        }
        if part.release != first.release {
            return Err(Error::Mismatch("the kernel"));
        }
    }
    Ok(())
}

/// Counts the frames of a split dump that are in none of these files, which are sorted.
fn not_given(parts: &[Kdump]) -> u64 {
    // Each file of a set has the bits of all frames.
    let Some(map) = parts.iter().max_by_key(|part| part.known_frames()) else {
        return 0;
    };
    let between = |from: u64, to: u64| {
        let before = map.dumped_before(from.min(to));
        map.dumped_before(to).saturating_sub(before)
    };
    let mut absent = 0u64;
    let mut end = 0;
    for header in parts.iter().map(|part| &part.header) {
        let start = header.start.min(header.frames);
        absent = absent.saturating_add(between(end, start));
        end = end.max(header.end);
    }
    absent.saturating_add(between(end, map.header.frames))
}

/// Loads a frame from the file of the set that has it.
pub(crate) fn load_frame(parts: &[Kdump], pfn: Pfn) -> Result<Box<[u8]>, Gap> {
    let holder = parts
        .iter()
        .find(|p| (p.header.start..p.header.end).contains(&pfn.0))
        .or(parts.first());
    holder.ok_or(Gap::Unmapped)?.page(pfn)
}

fn extent(part: &Kdump, extent: Extent, most: u64) -> Option<Vec<u8>> {
    let bytes = part.bytes();
    let found = read_vec(bytes, extent.offset, extent.len, most).ok()?;
    (extent.offset > 0 && !found.is_empty()).then_some(found)
}

fn gap_index(gap: Gap) -> usize {
    match gap {
        Gap::Unmapped => 0,
        Gap::Excluded => 1,
        Gap::Lost => 2,
        Gap::Corrupt => 3,
    }
}

impl PhysMemory for Dump {
    fn read_phys(&self, addr: PhysAddr, buf: &mut [u8]) -> Result<(), GapAt<PhysAddr>> {
        let read = match &self.format {
            Format::Elf(elf) => self.pieces(addr.0, buf, |at| elf.place(PhysAddr(at))),
            Format::Kdump(parts) => self.frames(parts, addr.0, buf),
        };
        read.map_err(|gap| {
            self.missing[gap_index(gap.why)].fetch_add(1, Ordering::Relaxed);
            GapAt {
                addr: PhysAddr(gap.addr),
                len: gap.len,
                why: gap.why,
            }
        })
    }
}

impl core::fmt::Debug for Dump {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Dump")
            .field("format", &self.format())
            .field("machine", &self.machine())
            .finish_non_exhaustive()
    }
}
