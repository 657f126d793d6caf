//! The frames of the source: which are memory, which are there, and their bytes.

use kscope_memory::{Gap, Pfn, PhysAddr};

use crate::Dump;
use crate::bytes::Bytes;
use crate::dump::{Format, load_frame};
use crate::format::elf::Place;
use crate::format::kdump::Kdump;

/// Bytes of a page; dumps of other machines are not read here.
pub(crate) const PAGE: usize = 4096;
/// Frames of a window: what one chunk of a bitmap tells of, 128 MB.
pub(crate) const WINDOW: u64 = 1 << 15;
const WORDS: usize = (WINDOW / 64) as usize;

/// A bit for each frame of a window, the lowest first.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Bits(Box<[u64; WORDS]>);

impl Bits {
    pub(crate) fn none() -> Bits {
        Bits(Box::new([0; WORDS]))
    }

    pub(crate) fn get(&self, index: u64) -> bool {
        self.0[(index / 64) as usize] >> (index % 64) & 1 != 0
    }

    /// Sets or clears the bits of a range, and gives how many of them changed.
    pub(crate) fn fill(&mut self, range: std::ops::Range<u64>, value: bool) -> u64 {
        let mut changed = 0;
        let mut at = range.start;
        let end = range.end.min(WINDOW);
        while at < end {
            let (word, bit) = ((at / 64) as usize, at % 64);
            let n = (64 - bit).min(end - at);
            let mask = (u64::MAX >> (64 - n)) << bit;
            let before = self.0[word];
            let after = if value { before | mask } else { before & !mask };
            changed += u64::from((before ^ after).count_ones());
            self.0[word] = after;
            at += n;
        }
        changed
    }

    /// Sets the bits that are set in `other`.
    fn add(&mut self, other: &Bits) {
        for (word, other) in self.0.iter_mut().zip(other.0.iter()) {
            *word |= other;
        }
    }

    pub(crate) fn count(&self) -> u64 {
        self.0.iter().map(|word| u64::from(word.count_ones())).sum()
    }

    /// Counts the bits of a range that are set.
    pub(crate) fn count_in(&self, range: std::ops::Range<u64>) -> u64 {
        let (mut at, mut count) = (range.start, 0);
        let end = range.end.min(WINDOW);
        while at < end {
            let n = (64 - at % 64).min(end - at);
            let word = self.0[(at / 64) as usize] >> (at % 64) << (64 - n);
            count += u64::from(word.count_ones());
            at += n;
        }
        count
    }

    /// Gives the first index from `from` on whose bit is `value`; [`WINDOW`] where there is none.
    pub(crate) fn next(&self, from: u64, value: bool) -> u64 {
        let mut at = from;
        while at < WINDOW {
            let word = self.0[(at / 64) as usize];
            let rest = (if value { word } else { !word }) >> (at % 64);
            if rest != 0 {
                return at + u64::from(rest.trailing_zeros());
            }
            at = (at / 64 + 1) * 64;
        }
        WINDOW
    }

    /// Gives the runs of bits that are set.
    pub(crate) fn runs(&self) -> impl Iterator<Item = std::ops::Range<u64>> + '_ {
        let mut at = 0;
        std::iter::from_fn(move || {
            let start = self.next(at, true);
            let end = self.next(start, false);
            at = end;
            (start < WINDOW).then_some(start..end)
        })
    }

    /// Gives the bits as a chunk of a bitmap.
    pub(crate) fn bytes(&self) -> impl Iterator<Item = [u8; 8]> + '_ {
        self.0.iter().map(|word| word.to_le_bytes())
    }

    fn take(&mut self, bytes: &[u8]) {
        for (word, raw) in self.0.iter_mut().zip(bytes.chunks(8)) {
            let mut whole = [0; 8];
            whole[..raw.len()].copy_from_slice(raw);
            *word = u64::from_le_bytes(whole);
        }
    }
}

/// What is known of the frames of a window.
pub(crate) struct Window {
    /// Those that are memory.
    pub(crate) memory: Bits,
    /// Those whose bytes the source has, or should have.
    pub(crate) there: Bits,
}

/// Frames that the segments of an ELF file tell of.
struct Run {
    start: u64,
    end: u64,
    place: Place,
}

/// The frames of a dump.
pub(crate) struct Frames<'d> {
    dump: &'d Dump,
    runs: Vec<Run>,
    count: u64,
}

impl<'d> Frames<'d> {
    pub(crate) fn new(dump: &'d Dump) -> Frames<'d> {
        let page = PAGE as u64;
        let (runs, count) = match &dump.format {
            Format::Elf(elf) => {
                let runs: Vec<Run> = elf
                    .places()
                    .map(|(start, len, place)| Run {
                        start: start.0 / page,
                        end: (start.0 + len).div_ceil(page),
                        place,
                    })
                    .collect();
                let count = runs.iter().map(|run| run.end).max();
                (runs, count.unwrap_or(0))
            }
            Format::Kdump(parts) => {
                // A header may say any number: what there is no bit for is not known.
                let count = parts.iter().map(Kdump::known_frames).max();
                (Vec::new(), count.unwrap_or(0))
            }
        };
        Frames { dump, runs, count }
    }

    /// Gives the number of frames, memory or not.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    pub(crate) fn windows(&self) -> u64 {
        self.count.div_ceil(WINDOW)
    }

    /// Tells of the frames of a window.
    pub(crate) fn window(&self, index: u64) -> Window {
        let first = index * WINDOW;
        let (mut memory, mut there) = (Bits::none(), Bits::none());
        match &self.dump.format {
            Format::Elf(_) => {
                let from = self.runs.partition_point(|run| run.end <= first);
                let runs = self.runs.get(from..).unwrap_or_default();
                for run in runs.iter().take_while(|run| run.start < first + WINDOW) {
                    let range = run.start.max(first) - first..run.end.min(first + WINDOW) - first;
                    if run.place == Place::File {
                        there.fill(range.clone(), true);
                    }
                    memory.fill(range, true);
                }
            }
            Format::Kdump(parts) => {
                let Some(part) = parts.first() else {
                    return Window { memory, there };
                };
                let mut raw = [0; WORDS * 8];
                let (ram, dumped) = part.bitmaps();
                for (bits, at) in [(&mut memory, ram), (&mut there, dumped)] {
                    let n = part.bytes().read_at(at + first / 8, &mut raw).unwrap_or(0);
                    bits.take(&raw[..n]);
                    let end = part.known_frames().clamp(first, first + WINDOW) - first;
                    bits.fill(end..WINDOW, false);
                }
                // Of a damaged file, a page may be there that is not said to be memory.
                memory.add(&there);
            }
        }
        Window { memory, there }
    }

    /// Reads whole pages from frame `pfn` on. What a page has no memory for is zeros; `lost` is
    /// called with the index of each page that cannot be read, whose bytes mean nothing.
    pub(crate) fn read(&self, pfn: u64, pages: &mut [u8], mut lost: impl FnMut(usize)) {
        match &self.dump.format {
            Format::Elf(_) => {
                // Most often all of them lie together.
                if self.read_range(pfn * PAGE as u64, pages).is_ok() {
                    return;
                }
                for (index, page) in pages.chunks_mut(PAGE).enumerate() {
                    if self.read_page(pfn + index as u64, page).is_err() {
                        lost(index);
                    }
                }
            }
            Format::Kdump(parts) => {
                for (index, page) in pages.chunks_mut(PAGE).enumerate() {
                    match load_frame(parts, Pfn(pfn + index as u64)) {
                        Ok(bytes) if bytes.len() == page.len() => page.copy_from_slice(&bytes),
                        _ => lost(index),
                    }
                }
            }
        }
    }

    fn read_range(&self, addr: u64, buf: &mut [u8]) -> Result<(), Gap> {
        let Format::Elf(elf) = &self.dump.format else {
            return Err(Gap::Unmapped);
        };
        let (offset, left) = elf.place(PhysAddr(addr)).map_err(|(gap, _)| gap)?;
        if left < buf.len() as u64 {
            return Err(Gap::Unmapped);
        }
        match elf.bytes.read_at(offset, buf) {
            Ok(n) if n == buf.len() => Ok(()),
            _ => Err(Gap::Lost),
        }
    }

    /// Reads a page of which parts may be elsewhere in the file, or be no memory.
    fn read_page(&self, pfn: u64, page: &mut [u8]) -> Result<(), Gap> {
        let Format::Elf(elf) = &self.dump.format else {
            return Err(Gap::Unmapped);
        };
        let mut done = 0;
        while done < page.len() {
            let addr = pfn * PAGE as u64 + done as u64;
            let left = (page.len() - done) as u64;
            match elf.place(PhysAddr(addr)) {
                Ok((_, len)) => {
                    let n = len.min(left) as usize;
                    self.read_range(addr, &mut page[done..done + n])?;
                    done += n;
                }
                Err((_, len)) => {
                    let n = len.clamp(1, left) as usize;
                    page[done..done + n].fill(0);
                    done += n;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_filled_and_found() {
        let mut bits = Bits::none();
        assert_eq!(bits.next(0, true), WINDOW);
        assert_eq!(bits.fill(60..130, true), 70);
        assert_eq!(bits.fill(100..131, true), 1);
        assert_eq!(bits.fill(0..1, true), 1);
        assert_eq!(bits.fill(WINDOW - 1..WINDOW + 9, true), 1);
        let runs: Vec<_> = bits.runs().collect();
        assert_eq!(runs, [0..1, 60..131, WINDOW - 1..WINDOW]);
        assert_eq!(bits.fill(61..WINDOW, false), 71);
        assert_eq!(bits.count(), 2);
        assert!(bits.get(60) && !bits.get(61));
        assert_eq!((bits.count_in(0..WINDOW), bits.count_in(1..60)), (2, 0));
        assert_eq!((bits.count_in(0..1), bits.count_in(60..200)), (1, 1));
    }
}
