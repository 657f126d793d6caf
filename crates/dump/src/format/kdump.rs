//! kdump-compressed files, as makedumpfile and QEMU write them: bitmaps of page frames, then a
//! descriptor for each frame that was dumped, then the pages, each packed on its own.
//!
//! The format is described in makedumpfile's IMPLEMENTATION; all numbers are little-endian here.

use std::sync::{Arc, Mutex, PoisonError};

use kscope_memory::{Gap, Pfn};

use super::decompress::{Packing, Unpacker};
use crate::Error;
use crate::bytes::{Bytes, i32_at, read_exact, read_some, u32_at, u64_at};
use crate::cache::Cache;

/// What the file begins with.
pub(crate) const MAGIC: &[u8; 8] = b"KDUMP   ";
/// What older files begin with.
pub(crate) const OLD_MAGIC: &[u8; 8] = b"DISKDUMP";
/// Size of the header that is read.
const HEADER: usize = 464;
/// Size of the sub header of the newest version.
const SUB_HEADER: usize = 104;
/// Size of a page's descriptor.
const DESCRIPTOR: u64 = 24;
/// Bytes of a bitmap counted together, and of what is cached of bitmaps and descriptors.
const CHUNK: u64 = 4096;
/// Chunks of bitmaps and descriptors kept.
const CHUNKS: usize = 256;
/// The dump was cut short as it was written.
const STATUS_INCOMPLETE: u32 = 0x8;

/// A part of the file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) offset: u64,
    pub(crate) len: u64,
}

/// What the headers say.
#[derive(Clone, Debug)]
pub(crate) struct Header {
    pub(crate) version: i32,
    pub(crate) machine: String,
    pub(crate) release: String,
    pub(crate) block_size: u32,
    pub(crate) frames: u64,
    pub(crate) dump_level: i32,
    pub(crate) incomplete: bool,
    pub(crate) split: bool,
    /// The frames that this file of a split set has.
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) vmcoreinfo: Extent,
    pub(crate) notes: Extent,
    pub(crate) phys_base: u64,
    bitmap_at: u64,
    bitmap_len: u64,
}

impl Header {
    pub(crate) fn read(bytes: &dyn Bytes) -> Result<Header, Error> {
        let mut head = [0; HEADER];
        read_exact(bytes, 0, &mut head, "header")?;
        if !head.starts_with(MAGIC) && !head.starts_with(OLD_MAGIC) {
            return Err(Error::NotADump);
        }
        let malformed = |what, offset| Err(Error::Malformed { what, offset });
        let version = i32_at(&head, 8);
        if version.swap_bytes() == (version.swap_bytes() & 0xff) && version > 0xffff {
            return Err(Error::Unsupported("of big-endian machines".to_owned()));
        }
        let name = |index: usize| {
            let field = head.get(12 + index * 65..12 + (index + 1) * 65);
            let text = field.unwrap_or_default().split(|&b| b == 0).next();
            String::from_utf8_lossy(text.unwrap_or_default()).into_owned()
        };
        let block_size = u32_at(&head, 428);
        if !block_size.is_power_of_two() || !(4096..=65536).contains(&block_size) {
            return malformed("block size", 428);
        }
        let block = u64::from(block_size);
        let Ok(sub_blocks) = u64::try_from(i32_at(&head, 432)) else {
            return malformed("size of the sub header", 432);
        };
        let bitmap_blocks = u64::from(u32_at(&head, 436));
        let mut sub = [0; SUB_HEADER];
        if sub_blocks > 0 && version >= 0 {
            read_exact(bytes, block, &mut sub, "sub header")?;
        }
        // Each version of the sub header is longer than the one before.
        let since = |v: i32, value: u64| if version >= v { value } else { 0 };
        let split = version >= 2 && i32_at(&sub, 12) != 0;
        let frames = match version {
            6.. => u64_at(&sub, 96),
            _ => u64::from(u32_at(&head, 440)),
        };
        let frames = frames.min(u64::MAX / block);
        let (start, end) = match (split, version) {
            (false, _) => (0, frames),
            (true, 6..) => (u64_at(&sub, 80), u64_at(&sub, 88)),
            (true, _) => (u64_at(&sub, 16), u64_at(&sub, 24)),
        };
        Ok(Header {
            version,
            machine: name(4),
            release: name(2),
            block_size,
            frames,
            dump_level: since(1, 1) as i32 * i32_at(&sub, 8),
            incomplete: u32_at(&head, 424) & STATUS_INCOMPLETE != 0,
            split,
            start,
            end: end.min(frames),
            vmcoreinfo: Extent {
                offset: since(3, u64_at(&sub, 32)),
                len: since(3, u64_at(&sub, 40)),
            },
            notes: Extent {
                offset: since(4, u64_at(&sub, 48)),
                len: since(4, u64_at(&sub, 56)),
            },
            phys_base: since(0, u64_at(&sub, 0)),
            bitmap_at: (1 + sub_blocks) * block,
            bitmap_len: bitmap_blocks * block,
        })
    }
}

/// Where a page frame's bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Descriptor {
    offset: u64,
    size: u32,
    flags: u32,
}

/// One file.
pub(crate) struct Kdump {
    bytes: Arc<dyn Bytes>,
    pub(crate) header: Header,
    /// The bitmap of frames that are memory; the same as the other where the file has but one.
    ram_at: u64,
    dumped_at: u64,
    descriptors_at: u64,
    /// Frames dumped before each chunk of the bitmap; short where the file ends inside of it.
    ranks: Vec<u64>,
    /// Frames whose bits are in the file.
    known: u64,
    /// Frames dumped before the first one of this file.
    start_rank: u64,
    chunks: Mutex<Cache<Box<[u8]>>>,
    unpacker: Unpacker,
}

impl Kdump {
    pub(crate) fn open(bytes: Arc<dyn Bytes>) -> Result<Kdump, Error> {
        let header = Header::read(&bytes)?;
        // Old files have one bitmap only.
        let half = header.bitmap_len / 2;
        let (dumped_at, len) = if half.saturating_mul(8) >= header.frames {
            (header.bitmap_at + half, half)
        } else {
            (header.bitmap_at, header.bitmap_len)
        };
        let mut kdump = Kdump {
            ram_at: header.bitmap_at,
            dumped_at,
            descriptors_at: header.bitmap_at + header.bitmap_len,
            ranks: Vec::new(),
            known: 0,
            start_rank: 0,
            chunks: Mutex::new(Cache::new(CHUNKS)),
            unpacker: Unpacker::default(),
            bytes,
            header,
        };
        kdump.count(len.min(kdump.header.frames.div_ceil(8)))?;
        kdump.start_rank = kdump.rank(kdump.header.start).unwrap_or(0);
        Ok(kdump)
    }

    /// Counts the bits of the bitmap of dumped frames, `len` bytes, chunk by chunk.
    fn count(&mut self, len: u64) -> Result<(), Error> {
        let mut chunk = vec![0; CHUNK as usize];
        let mut sum = 0;
        let mut at = 0;
        while at < len {
            self.ranks.push(sum);
            let want = CHUNK.min(len - at) as usize;
            let n = read_some(&self.bytes, self.dumped_at + at, &mut chunk[..want])?;
            sum += ones(&chunk[..n]);
            at += n as u64;
            if n < want {
                break;
            }
        }
        self.known = (at * 8).min(self.header.frames);
        Ok(())
    }

    pub(crate) fn bytes(&self) -> &dyn Bytes {
        &self.bytes
    }

    /// Gives up to which physical address the file tells what there is.
    pub(crate) fn known_bytes(&self) -> u64 {
        self.known.saturating_mul(self.header.block_size.into())
    }

    /// Gives the number of frames of which the file tells what there is.
    pub(crate) fn known_frames(&self) -> u64 {
        self.known
    }

    /// Gives where the bitmaps are: of frames that are memory, and of those that were dumped.
    pub(crate) fn bitmaps(&self) -> (u64, u64) {
        (self.ram_at, self.dumped_at)
    }

    /// Gives how many frames were dumped.
    pub(crate) fn dumped(&self) -> u64 {
        let end = self.rank(self.header.end.min(self.known));
        end.unwrap_or(0).saturating_sub(self.start_rank)
    }

    /// Gives how many frames before this one were dumped, into any file of the set; those whose bits
    /// are not in the file count, as nothing says that they were not.
    pub(crate) fn dumped_before(&self, frame: u64) -> u64 {
        let known = self.rank(frame.min(self.known)).unwrap_or(0);
        known.saturating_add(frame.saturating_sub(self.known))
    }

    /// Gives how many frames this file is to have of which it does not say whether it does.
    pub(crate) fn unknown(&self) -> u64 {
        let from = self.known.max(self.header.start);
        self.header.end.saturating_sub(from)
    }

    /// Gives the page of a frame.
    pub(crate) fn page(&self, frame: Pfn) -> Result<Box<[u8]>, Gap> {
        let descriptor = self.descriptor(frame)?;
        let block = self.header.block_size;
        // An unpacked page needs more than its size only where packing it made it longer.
        let (Some(packing), true) = (
            Packing::from_flags(descriptor.flags),
            (1..=2 * block).contains(&descriptor.size),
        ) else {
            return Err(Gap::Corrupt);
        };
        let mut page = vec![0; block as usize].into_boxed_slice();
        let mut packed = vec![0; descriptor.size as usize];
        match self.bytes.read_at(descriptor.offset, &mut packed) {
            Ok(n) if n == packed.len() => {}
            _ => return Err(Gap::Lost),
        }
        self.unpacker
            .unpack(packing, &packed, &mut page)
            .ok_or(Gap::Corrupt)?;
        Ok(page)
    }

    fn descriptor(&self, frame: Pfn) -> Result<Descriptor, Gap> {
        let Pfn(pfn) = frame;
        if pfn >= self.header.frames {
            return Err(Gap::Unmapped);
        }
        if pfn >= self.known {
            return Err(Gap::Lost);
        }
        if !self.bit(self.dumped_at, pfn)? {
            let is_memory = self.bit(self.ram_at, pfn)?;
            return Err(if is_memory {
                Gap::Excluded
            } else {
                Gap::Unmapped
            });
        }
        if !(self.header.start..self.header.end).contains(&pfn) {
            return Err(Gap::Lost);
        }
        let index = self.rank(pfn).ok_or(Gap::Corrupt)?;
        let index = index.checked_sub(self.start_rank).ok_or(Gap::Corrupt)?;
        let at = index
            .checked_mul(DESCRIPTOR)
            .and_then(|o| o.checked_add(self.descriptors_at))
            .ok_or(Gap::Corrupt)?;
        let mut raw = [0; DESCRIPTOR as usize];
        self.cached(at, &mut raw)?;
        let descriptor = Descriptor {
            offset: u64_at(&raw, 0),
            size: u32_at(&raw, 8),
            flags: u32_at(&raw, 12),
        };
        // A dump that was cut as it was written has descriptors that were never filled in.
        if descriptor.offset == 0 {
            return Err(Gap::Lost);
        }
        Ok(descriptor)
    }

    /// Gives how many frames before `pfn` were dumped.
    fn rank(&self, pfn: u64) -> Option<u64> {
        let byte = pfn / 8;
        let chunk = byte / CHUNK;
        let start = chunk * CHUNK;
        let Some(&before) = self.ranks.get(usize::try_from(chunk).ok()?) else {
            // Right behind the last chunk all are counted.
            let last = (self.ranks.len() as u64).checked_sub(1)?;
            return (chunk == last + 1 && byte == start)
                .then(|| self.rank(start * 8 - 1))?
                .map(|r| r + u64::from(self.bit(self.dumped_at, start * 8 - 1) == Ok(true)));
        };
        let mut bits = [0; CHUNK as usize];
        let whole = (byte - start) as usize;
        let part = pfn % 8;
        let len = whole + usize::from(part > 0);
        let bits = bits.get_mut(..len)?;
        self.cached(self.dumped_at + start, bits).ok()?;
        if let (Some(last), true) = (bits.last_mut(), part > 0) {
            *last &= (1u8 << part) - 1;
        }
        Some(before + ones(bits))
    }

    fn bit(&self, bitmap_at: u64, pfn: u64) -> Result<bool, Gap> {
        let mut byte = [0];
        self.cached(bitmap_at + pfn / 8, &mut byte)?;
        Ok(byte[0] >> (pfn % 8) & 1 != 0)
    }

    /// Reads bytes of bitmaps and descriptors.
    fn cached(&self, offset: u64, buf: &mut [u8]) -> Result<(), Gap> {
        let mut done = 0;
        while let Some(rest) = buf.get_mut(done..).filter(|rest| !rest.is_empty()) {
            let at = offset.checked_add(done as u64).ok_or(Gap::Corrupt)?;
            let key = at / CHUNK;
            let skip = (at % CHUNK) as usize;
            let mut chunks = self.chunks.lock().unwrap_or_else(PoisonError::into_inner);
            if chunks.get(key).is_none() {
                let mut chunk = vec![0; CHUNK as usize];
                let n = self.bytes.read_at(key * CHUNK, &mut chunk);
                chunk.truncate(n.map_err(|_| Gap::Lost)?);
                chunks.insert(key, chunk.into_boxed_slice());
            }
            let there = chunks.get(key).and_then(|chunk| chunk.get(skip..));
            let there = there.filter(|t| !t.is_empty()).ok_or(Gap::Lost)?;
            let n = there.len().min(rest.len());
            rest[..n].copy_from_slice(&there[..n]);
            done += n;
        }
        Ok(())
    }

    /// Counts the frames of this file whose bytes are lost: those behind the end of a file that
    /// was cut, and those never written.
    pub(crate) fn lost(&self) -> u64 {
        let unknown = self.unknown();
        let count = self.dumped();
        let len = self.bytes.len();
        let mut lost = 0;
        let mut index = 0;
        let mut piece = vec![0; (DESCRIPTOR * 4096) as usize];
        while index < count {
            let n = self
                .bytes
                .read_at(self.descriptors_at + index * DESCRIPTOR, &mut piece)
                .unwrap_or(0);
            let whole = (n as u64 / DESCRIPTOR).min(count - index);
            if whole == 0 {
                return unknown + lost + (count - index);
            }
            for raw in piece.chunks_exact(DESCRIPTOR as usize).take(whole as usize) {
                let offset = u64_at(raw, 0);
                let end = offset.saturating_add(u64::from(u32_at(raw, 8)));
                lost += u64::from(offset == 0 || end > len);
            }
            index += whole;
        }
        unknown + lost
    }
}

/// Counts the bits that are set.
fn ones(bytes: &[u8]) -> u64 {
    let words = bytes.chunks_exact(8);
    let rest = words.remainder();
    let whole: u32 = words.map(|word| u64_at(word, 0).count_ones()).sum();
    let rest: u32 = rest.iter().map(|b| b.count_ones()).sum();
    u64::from(whole + rest)
}
