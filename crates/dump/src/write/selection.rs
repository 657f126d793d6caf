//! Which frames are written: window by window, in order, so that of any amount of memory little is
//! kept at a time.

use std::ops::Range;

use super::frames::{Bits, Frames, WINDOW};
use super::level::{DumpLevel, PageKind};
use super::memmap::MemoryMap;
use super::page::PageLayout;
use crate::{Error, Kernel};

/// Frames whose `struct page`s are read at once: 256 KB, which stay in the CPU's cache.
const CHUNK: usize = 4096;
/// Frames that are passed over where `struct page`s cannot be read: those of a page of them.
const PASSED: u64 = 64;
/// Bytes of windows that are kept for when their pages are read; the others are looked at again.
const KEPT: usize = 6 << 20;

/// How many pages there are of each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Memory.
    pub(crate) memory: u64,
    /// Not in the source, which left them out.
    pub(crate) absent: u64,
    /// Of each kind left out, in the order of [`PageKind::ALL`].
    pub(crate) left_out: [u64; PageKind::ALL.len()],
    /// Those whose `struct page` cannot be read, which are written.
    pub(crate) unknown: u64,
    /// Written.
    pub(crate) chosen: u64,
}

/// What a block of pages that reaches into the next window is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Carry {
    until: u64,
    kind: PageKind,
}

const NOTHING: Carry = Carry {
    until: 0,
    kind: PageKind::Kept,
};

/// A window that was looked at.
struct Part {
    carry: Carry,
    chosen: Chosen,
}

enum Chosen {
    None,
    Kept(Bits),
    /// There was no room: it is looked at again.
    Again,
}

/// The kernel's `struct page`s, read in chunks.
struct Pages<'k> {
    map: MemoryMap<'k>,
    layout: PageLayout,
    buf: Vec<u8>,
    first: u64,
    held: usize,
}

impl<'k> Pages<'k> {
    fn new(kernel: &'k Kernel) -> Result<Pages<'k>, Error> {
        let layout = PageLayout::new(kernel.vmcoreinfo(), || kernel.btf().ok())?;
        Ok(Pages {
            map: MemoryMap::new(kernel, layout.size)?,
            buf: vec![0; CHUNK * layout.size],
            layout,
            first: 0,
            held: 0,
        })
    }

    /// Says what the page of a frame is; none where that cannot be read. No more is read than up
    /// to `end`.
    fn block(&mut self, pfn: u64, end: u64) -> Option<super::page::Block> {
        let held = self.first..self.first + self.held as u64;
        if !held.contains(&pfn) {
            // Pairs stay together, of which the first may need the second.
            let first = pfn & !1;
            let count = ((end + 1) & !1).saturating_sub(first).min(CHUNK as u64);
            let len = count as usize * self.layout.size;
            self.first = first;
            self.held = self.map.read(first, &mut self.buf[..len]);
            if pfn >= first + self.held as u64 {
                return None;
            }
        }
        let at = (pfn - self.first) as usize * self.layout.size;
        let held = &self.buf[..self.held * self.layout.size];
        Some(self.layout.block(pfn, &held[at..]))
    }
}

/// The frames that are written.
pub(crate) struct Selection<'k> {
    frames: &'k Frames<'k>,
    level: DumpLevel,
    pages: Option<Pages<'k>>,
    parts: Vec<Part>,
    room: usize,
    /// Frames left out between two that are written, of which fewer are written too.
    fewest: u64,
    pub(crate) counts: Counts,
    /// Why less is left out than was asked for.
    pub(crate) why: Option<Error>,
}

impl<'k> Selection<'k> {
    /// Prepares to choose; where the kernel's pages cannot be told apart, all of them are written.
    pub(crate) fn new(
        kernel: &'k Kernel,
        frames: &'k Frames<'k>,
        level: DumpLevel,
        fewest: u64,
    ) -> Selection<'k> {
        let mut level = level;
        let (mut pages, mut why) = (None, None);
        if level.asks_the_kernel() {
            match Pages::new(kernel) {
                Ok(found) => pages = Some(found),
                Err(error) => {
                    level = level.without_the_kernel();
                    why = Some(error);
                }
            }
        }
        Selection {
            frames,
            level,
            pages,
            parts: Vec::new(),
            room: KEPT,
            fewest,
            counts: Counts::default(),
            why,
        }
    }

    /// Gives what is left out in fact.
    pub(crate) fn level(&self) -> DumpLevel {
        self.level
    }

    pub(crate) fn frames(&self) -> &'k Frames<'k> {
        self.frames
    }

    /// Looks at the next window, and gives which of its frames are memory and which are written.
    pub(crate) fn next(&mut self) -> (Bits, Bits) {
        let index = self.parts.len() as u64;
        let carry = self.parts.last().map_or(NOTHING, |part| part.carry);
        let mut counts = self.counts;
        let (memory, chosen, carry) = self.look(index, carry, &mut counts);
        self.counts = counts;
        let size = size_of::<Bits>() + (WINDOW / 8) as usize;
        let kept = if chosen.next(0, true) == WINDOW {
            Chosen::None
        } else if self.room >= size {
            self.room -= size;
            Chosen::Kept(chosen.clone())
        } else {
            Chosen::Again
        };
        self.parts.push(Part {
            carry,
            chosen: kept,
        });
        (memory, chosen)
    }

    /// Gives the frames of a window that are written, once all were looked at.
    pub(crate) fn chosen(&mut self, index: u64) -> Bits {
        let part = |index: u64| self.parts.get(index as usize);
        let before = index.checked_sub(1).and_then(part);
        let carry = before.map_or(NOTHING, |part| part.carry);
        match part(index).map(|part| &part.chosen) {
            None | Some(Chosen::None) => Bits::none(),
            Some(Chosen::Kept(bits)) => bits.clone(),
            Some(Chosen::Again) => self.look(index, carry, &mut Counts::default()).1,
        }
    }

    fn look(&mut self, index: u64, carry: Carry, counts: &mut Counts) -> (Bits, Bits, Carry) {
        let first = index * WINDOW;
        let window = self.frames.window(index);
        let mut chosen = window.there.clone();
        counts.memory += window.memory.count();
        counts.absent += window.memory.count() - window.there.count();
        let mut carry = carry;
        // What is left out, to be told which of it is put back.
        let mut left: Vec<(Range<u64>, PageKind)> = Vec::new();
        let joins = self.fewest > 1;
        let mut leave = |range: Range<u64>, kind: PageKind, chosen: &mut Bits| {
            if self.level.leaves_out(kind) {
                counts.left_out[kind as usize] += chosen.fill(range.clone(), false);
                if joins {
                    left.push((range, kind));
                }
            }
        };
        if carry.until > first {
            leave(0..carry.until - first, carry.kind, &mut chosen);
        }
        if let Some(pages) = &mut self.pages {
            for run in window.there.runs() {
                let end = first + run.end;
                let mut pfn = (first + run.start).max(carry.until);
                while pfn < end {
                    let Some(block) = pages.block(pfn, end) else {
                        match pages.map.without(pfn) {
                            // Not the kernel's: memory of a device, which QEMU dumps too.
                            Some(next) => pfn = next,
                            None => {
                                let next = (pfn / PASSED + 1) * PASSED;
                                counts.unknown += next.min(end) - pfn;
                                pfn = next;
                            }
                        }
                        continue;
                    };
                    let after = pfn + block.pages;
                    leave(pfn - first..after - first, block.kind, &mut chosen);
                    if after > end {
                        carry = Carry {
                            until: after,
                            kind: block.kind,
                        };
                    }
                    pfn = after;
                }
            }
        }
        self.join(&window.there, &mut chosen);
        for (range, kind) in left {
            if matches!(kind, PageKind::Poisoned | PageKind::Offline) {
                // To read these may be another machine check: no segment is worth that.
                chosen.fill(range, false);
                continue;
            }
            let count = &mut counts.left_out[kind as usize];
            *count = count.saturating_sub(chosen.count_in(range));
        }
        counts.chosen += chosen.count();
        (window.memory, chosen, carry)
    }

    /// Puts back what was left out in small pieces.
    fn join(&self, there: &Bits, chosen: &mut Bits) {
        if self.fewest < 2 {
            return;
        }
        let mut at = chosen.next(0, true);
        while at < WINDOW {
            let gap = chosen.next(at, false);
            let next = chosen.next(gap, true);
            if next < WINDOW && next - gap < self.fewest && there.next(gap, false) >= next {
                chosen.fill(gap..next, true);
            }
            at = next;
        }
    }
}
