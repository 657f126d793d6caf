//! ELF core files: a segment for each run of pages that are written, whose size in memory tells
//! of those left out behind it.
//!
//! Pages of zeros are holes of the file where the level leaves them out, so that they are read as
//! what they are. The kernel's image has segments of its own, as in /proc/vmcore, that lead to the
//! same bytes of the file.

use std::io;
use std::ops::Range;

use kscope_memory::{PhysAddr, VirtAddr};

use super::frames::{Bits, Frames, PAGE, WINDOW};
use super::kdump::Facts;
use super::pipeline::{Batch, Done};
use super::selection::Selection;
use super::sink::Sink;
use super::watch::Tally;
use crate::Kernel;
use crate::format::elf::MAGIC;

/// Pages left out between two runs that make a segment worth while; fewer are written.
pub(crate) const FEWEST: u64 = 16;
const FILE_HEADER: u64 = 64;
const SEGMENT: u64 = 56;
const SECTION: u64 = 64;
/// As many segments as their number in the header has no room for.
const MANY: u64 = 0xffff;
const LOAD: u32 = 1;
const NOTE: u32 = 4;
const READ_WRITE_EXECUTE: u32 = 7;
const INCOMPLETE: u32 = 1;
/// Headers that are written at once.
const HEADERS: usize = 1024;
/// Where the kernel's image is mapped, and what its mapping spans at most.
const IMAGE: u64 = 0xffff_ffff_8000_0000;
const IMAGE_LEN: u64 = 1 << 30;

/// Frames that are written, and those behind them that are left out.
#[derive(Clone, Copy, Debug)]
struct Run {
    start: u64,
    written: u64,
    end: u64,
    /// Pages written before it.
    before: u64,
}

/// Finds the runs of all windows.
#[derive(Default)]
struct Runs {
    current: Option<Run>,
    before: u64,
}

impl Runs {
    fn window(&mut self, index: u64, memory: &Bits, chosen: &Bits, take: &mut impl FnMut(Run)) {
        let mut at = memory.next(0, true);
        while at < WINDOW {
            let is_chosen = chosen.get(at);
            let end = chosen.next(at, !is_chosen).min(memory.next(at, false));
            let first = index * WINDOW;
            self.piece(first + at..first + end, is_chosen, take);
            at = memory.next(end, true);
        }
    }

    fn piece(&mut self, piece: Range<u64>, is_chosen: bool, take: &mut impl FnMut(Run)) {
        let follows = |run: &Run| {
            let is_whole = run.written == run.end;
            run.end == piece.start && (is_whole || !is_chosen)
        };
        let mut run = match self.current.take() {
            Some(run) if follows(&run) => run,
            other => {
                other.into_iter().for_each(take);
                Run {
                    start: piece.start,
                    written: piece.start,
                    end: piece.start,
                    before: self.before,
                }
            }
        };
        if is_chosen {
            run.written = piece.end;
            self.before += piece.end - piece.start;
        }
        run.end = piece.end;
        self.current = Some(run);
    }

    fn finish(self, take: &mut impl FnMut(Run)) {
        self.current.into_iter().for_each(take);
    }
}

/// Where the kernel has its memory.
struct Mapping {
    /// What a physical address is added to, for the mapping of all memory.
    direct: u64,
    /// The physical memory of the image, and what is added to that.
    image: Range<u64>,
    image_base: u64,
}

impl Mapping {
    /// Finds the mapping of all memory by an address in it that is known, and the image by its
    /// page tables.
    fn find(kernel: &Kernel) -> Mapping {
        let info = kernel.vmcoreinfo();
        let translate = |at: VirtAddr| {
            let source = kernel.dump_source()?;
            source.tables.translate(&source.dump, at).ok()
        };
        let is_base = |base: &u64| *base >= 1 << 63 && base % (1 << 30) == 0;
        let direct = info.symbol("mem_section").and_then(|at| {
            let inside = at.0 < IMAGE;
            translate(at)
                .filter(|_| inside)
                .map(|phys| at.0.wrapping_sub(phys.0))
        });
        let mut mapping = Mapping {
            direct: direct.filter(is_base).unwrap_or(0),
            image: 0..0,
            image_base: 0,
        };
        /// What the image is mapped in.
        const STEP: u64 = 2 << 20;
        /// Most of an image that is looked at.
        const MOST: u64 = 128 << 20;
        let Some(first) = info.symbol("_stext").map(|at| at.0 & !(STEP - 1)) else {
            return mapping;
        };
        let Some(phys) = translate(VirtAddr(first)).filter(|_| first >= IMAGE) else {
            return mapping;
        };
        let most = MOST.min(IMAGE + (IMAGE_LEN - 1) - first);
        let mapped = (0..most).step_by(STEP as usize).filter(|step| {
            let there = translate(VirtAddr(first + step));
            there == Some(PhysAddr(phys.0 + step))
        });
        let len = mapped.last().map_or(0, |last| last + STEP);
        mapping.image = phys.0..phys.0 + len;
        mapping.image_base = first.wrapping_sub(phys.0);
        mapping
    }

    /// Gives the segments of a run: physical and virtual address, bytes in the file and in memory.
    fn segments(&self, run: Run) -> impl Iterator<Item = (u64, u64, u64, u64)> + use<> {
        let page = PAGE as u64;
        let (start, written, end) = (run.start * page, run.written * page, run.end * page);
        let all = (
            start,
            start.wrapping_add(self.direct),
            written - start,
            end - start,
        );
        let (first, last) = (self.image.start.max(start), self.image.end.min(end));
        let image = (first < last).then(|| {
            let there = written.clamp(first, last);
            (
                first,
                first.wrapping_add(self.image_base),
                there - first,
                last - first,
            )
        });
        image.into_iter().chain([all])
    }
}

/// A file being written.
pub(crate) struct ElfFile<'s> {
    sink: &'s mut dyn Sink,
    segments: u64,
    at: u64,
    /// The machine's number.
    machine: u16,
}

impl<'s> ElfFile<'s> {
    /// Looks at all frames, and writes headers and notes.
    pub(crate) fn begin(
        kernel: &Kernel,
        selection: &mut Selection<'_>,
        sink: &'s mut dyn Sink,
        tally: &mut Tally<'_>,
    ) -> io::Result<ElfFile<'s>> {
        const X86_64: u16 = 62;
        let mapping = Mapping::find(kernel);
        let facts = Facts::new(kernel);
        let notes = facts.notes();
        let frames = selection.frames();
        let mut count = 1;
        let mut runs = Runs::default();
        let mut take = |run: Run| count += mapping.segments(run).count() as u64;
        for index in 0..frames.windows() {
            let (memory, chosen) = selection.next();
            runs.window(index, &memory, &chosen, &mut take);
            tally.looked((index + 1) * WINDOW, frames.count())?;
        }
        runs.finish(&mut take);
        let mut file = ElfFile {
            sink,
            segments: count,
            at: 0,
            machine: X86_64,
        };
        let notes_at = file.headers_at() + count * SEGMENT;
        let pages_at = (notes_at + notes.len() as u64).next_multiple_of(PAGE as u64);
        let flags = if file.sink.is_file() { INCOMPLETE } else { 0 };
        file.header(flags)?;
        file.segment_headers(
            selection,
            frames,
            &mapping,
            (notes_at, notes.len() as u64, pages_at),
        )?;
        file.sink.write_at(notes_at, notes)?;
        file.at = pages_at;
        Ok(file)
    }

    fn headers_at(&self) -> u64 {
        match self.segments < MANY {
            true => FILE_HEADER,
            false => FILE_HEADER + SECTION,
        }
    }

    fn header(&mut self, flags: u32) -> io::Result<()> {
        let has_section = self.segments >= MANY;
        let mut head = MAGIC.to_vec();
        // 64 bits, little-endian, version 1.
        head.extend_from_slice(&[2, 1, 1]);
        head.resize(16, 0);
        let half = |head: &mut Vec<u8>, number: u16| head.extend_from_slice(&number.to_le_bytes());
        let word = |head: &mut Vec<u8>, number: u64| head.extend_from_slice(&number.to_le_bytes());
        const CORE: u16 = 4;
        half(&mut head, CORE);
        half(&mut head, self.machine);
        head.extend_from_slice(&1u32.to_le_bytes());
        word(&mut head, 0);
        word(&mut head, self.headers_at());
        word(&mut head, if has_section { FILE_HEADER } else { 0 });
        head.extend_from_slice(&flags.to_le_bytes());
        half(&mut head, FILE_HEADER as u16);
        half(&mut head, SEGMENT as u16);
        half(&mut head, self.segments.min(MANY) as u16);
        half(&mut head, if has_section { SECTION as u16 } else { 0 });
        half(&mut head, has_section.into());
        half(&mut head, 0);
        if has_section {
            // The first section tells how many segments there are.
            const NUMBER_AT: usize = FILE_HEADER as usize + 44;
            head.resize(NUMBER_AT, 0);
            let count = u32::try_from(self.segments).unwrap_or(u32::MAX);
            head.extend_from_slice(&count.to_le_bytes());
            head.resize((FILE_HEADER + SECTION) as usize, 0);
        }
        self.sink.write_at(0, &head)
    }

    fn segment_headers(
        &mut self,
        selection: &mut Selection<'_>,
        frames: &Frames<'_>,
        mapping: &Mapping,
        (notes_at, notes_len, pages_at): (u64, u64, u64),
    ) -> io::Result<()> {
        let mut headers = Vec::new();
        let mut at = self.headers_at();
        segment_header(&mut headers, NOTE, (notes_at, 0, 0, notes_len, notes_len));
        let mut runs = Runs::default();
        for index in 0..frames.windows() {
            let memory = frames.window(index).memory;
            let chosen = selection.chosen(index);
            runs.window(index, &memory, &chosen, &mut |run| {
                load_headers(&mut headers, mapping, run, pages_at);
            });
            if headers.len() >= HEADERS * SEGMENT as usize {
                self.sink.write_at(at, &headers)?;
                at += headers.len() as u64;
                headers.clear();
            }
        }
        runs.finish(&mut |run| load_headers(&mut headers, mapping, run, pages_at));
        self.sink.write_at(at, &headers)
    }

    /// Writes pages that follow those before.
    pub(crate) fn write(&mut self, batch: &Batch) -> io::Result<()> {
        let mut packed = batch.packed.as_slice();
        let mut index = 0;
        while index < batch.done.len() {
            let rest = &batch.done[index..];
            let is_there = |done: &&Done| matches!(done, Done::Packed { .. });
            let there = rest.iter().take_while(is_there).count();
            let (now, later) = packed.split_at((there * PAGE).min(packed.len()));
            if there > 0 {
                self.sink.write_at(self.at, now)?;
            }
            packed = later;
            // A page of zeros, or one that was lost, is a hole.
            let holes = rest[there..]
                .iter()
                .take_while(|done| !is_there(done))
                .count();
            self.at += (there * PAGE) as u64;
            // Readers of the flattened form take no end, and not much else, for a hole.
            if holes > 0 && !self.sink.is_file() {
                self.sink.write_at(self.at, &vec![0; holes * PAGE])?;
            }
            self.at += (holes * PAGE) as u64;
            index += there + holes;
        }
        Ok(())
    }

    /// Says in the header that the dump is whole unless pages were lost.
    pub(crate) fn finish(&mut self, is_whole: bool) -> io::Result<u64> {
        if self.sink.is_file() && is_whole {
            self.header(0)?;
        }
        self.sink.finish(self.at)?;
        Ok(self.at)
    }
}

fn load_headers(headers: &mut Vec<u8>, mapping: &Mapping, run: Run, pages_at: u64) {
    let page = PAGE as u64;
    for (phys, virt, in_file, in_memory) in mapping.segments(run) {
        let offset = pages_at + run.before * page + (phys - run.start * page);
        let place = (offset, virt, phys, in_file, in_memory);
        segment_header(headers, LOAD, place);
    }
}

fn segment_header(
    headers: &mut Vec<u8>,
    kind: u32,
    (offset, virt, phys, in_file, in_memory): (u64, u64, u64, u64, u64),
) {
    let flags = if kind == LOAD { READ_WRITE_EXECUTE } else { 0 };
    headers.extend_from_slice(&kind.to_le_bytes());
    headers.extend_from_slice(&flags.to_le_bytes());
    for number in [offset, virt, phys, in_file, in_memory, 0] {
        headers.extend_from_slice(&number.to_le_bytes());
    }
}
