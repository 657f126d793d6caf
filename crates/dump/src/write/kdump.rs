//! kdump-compressed files, version 6, as makedumpfile's IMPLEMENTATION has them: header, sub
//! header with notes, two bitmaps, a descriptor for each page, pages.
//!
//! Until all is written the header says that the dump is incomplete, and descriptors that are not
//! yet written are zeros: so a file that is cut at any point says which pages it lacks.

use std::io;
use std::time::{SystemTime, UNIX_EPOCH};

use super::frames::{PAGE, WINDOW};
use super::pack::Compression;
use super::pipeline::{Batch, Done};
use super::selection::Selection;
use super::sink::Sink;
use super::watch::Tally;
use crate::format::kdump::MAGIC;
use crate::{Error, Kernel};
use kscope_memory::{Memory as _, VirtAddr};

const BLOCK: u64 = PAGE as u64;
/// Size of the sub header.
const SUB_HEADER: usize = 104;
/// Size of a page's descriptor.
const DESCRIPTOR: usize = 24;
/// Descriptors that are written at once.
const DESCRIPTORS: usize = 4096;
/// Bytes of pages given up for descriptors on a full disk: more than those and a batch take.
const ROOM: u64 = 1 << 20;
/// The dump is not whole.
const INCOMPLETE: u32 = 0x8;
/// Windows whose bitmaps are written at once.
const WINDOWS: u64 = 64;
/// The machine's own description of itself: six names.
const NAME: usize = 65;
const NAMES: usize = 6 * NAME;

/// What the header says beside what follows from the pages.
pub(crate) struct Facts {
    names: [u8; NAMES],
    notes: Vec<u8>,
    /// Where VMCOREINFO is among the notes.
    info: (usize, usize),
    phys_base: u64,
    cpus: u32,
}

impl Facts {
    pub(crate) fn new(kernel: &Kernel) -> Facts {
        let info = kernel.vmcoreinfo();
        let dump = kernel.dump();
        let mut notes = dump.map(crate::Dump::raw_notes).unwrap_or_default();
        let text = info.text().as_bytes();
        let found = notes.windows(text.len().max(1)).position(|at| at == text);
        let at = found.unwrap_or_else(|| {
            // Of a source that has it elsewhere.
            let at = notes.len() + 12 + 12;
            notes.extend(note(b"VMCOREINFO\0", text));
            at
        });
        let cpus = dump.map_or(0, |dump| dump.notes().cpus().count());
        Facts {
            names: names(kernel).unwrap_or_else(|_| plain_names(kernel)),
            notes,
            info: (at, text.len()),
            phys_base: info.number("phys_base").unwrap_or(0) as u64,
            cpus: cpus as u32,
        }
    }

    /// Gives the notes as they stand in the file.
    pub(crate) fn notes(&self) -> &[u8] {
        &self.notes
    }
}

fn note(name: &[u8], content: &[u8]) -> Vec<u8> {
    let mut note = Vec::new();
    for number in [name.len(), content.len(), 0] {
        note.extend_from_slice(&(number as u32).to_le_bytes());
    }
    for part in [name, content] {
        note.extend_from_slice(part);
        note.resize(note.len().next_multiple_of(4), 0);
    }
    note
}

/// Reads the names of the machine (`struct new_utsname`) where VMCOREINFO says.
fn names(kernel: &Kernel) -> Result<[u8; NAMES], Error> {
    let info = kernel.vmcoreinfo();
    let missing = Error::Missing("names of the machine");
    let at = info.symbol("init_uts_ns").ok_or(missing.clone())?;
    // Before Linux 5.11 VMCOREINFO does not say where they are: behind a counter of 4 bytes.
    let offsets = match info.offset("uts_namespace.name") {
        Some(offset) => [offset, offset],
        None => [4, 0],
    };
    let mut names = [0; NAMES];
    for offset in offsets {
        kernel.read(VirtAddr(at.0.wrapping_add(offset)), &mut names)?;
        if names.starts_with(b"Linux\0") {
            return Ok(names);
        }
    }
    Err(missing)
}

fn plain_names(kernel: &Kernel) -> [u8; NAMES] {
    let mut names = [0; NAMES];
    let machine = kernel.dump().and_then(crate::Dump::machine);
    // QEMU does not say it; drgn opens no dump without it, nor without a version.
    let machine = machine.filter(|machine| !machine.is_empty());
    let given = [
        (0, "Linux"),
        (2, kernel.release()),
        (3, "unknown"),
        (4, machine.unwrap_or("x86_64")),
    ];
    for (index, name) in given {
        let name = &name.as_bytes()[..name.len().min(NAME - 1)];
        names[index * NAME..index * NAME + name.len()].copy_from_slice(name);
    }
    names
}

/// A file being written.
pub(crate) struct KdumpFile<'s> {
    sink: &'s mut dyn Sink,
    facts: Facts,
    compression: Compression,
    level: u8,
    frames: u64,
    bitmap_at: u64,
    bitmap_len: u64,
    zero_at: u64,
    /// Descriptors not yet written, and where they go.
    descriptors: Vec<u8>,
    descriptor_at: u64,
    /// Where pages begin, and where the next one goes.
    pages_at: u64,
    at: u64,
}

impl<'s> KdumpFile<'s> {
    /// Looks at all frames, and writes header and bitmaps.
    pub(crate) fn begin(
        kernel: &Kernel,
        selection: &mut Selection<'_>,
        compression: Compression,
        sink: &'s mut dyn Sink,
        tally: &mut Tally<'_>,
    ) -> io::Result<KdumpFile<'s>> {
        let facts = Facts::new(kernel);
        let frames = selection.frames().count();
        let sub_blocks = ((SUB_HEADER + facts.notes.len()) as u64).div_ceil(BLOCK);
        let bitmap_at = (1 + sub_blocks) * BLOCK;
        let mut file = KdumpFile {
            sink,
            facts,
            compression,
            level: selection.level().bits(),
            frames,
            bitmap_at,
            bitmap_len: frames.div_ceil(8).next_multiple_of(BLOCK),
            zero_at: 0,
            descriptors: Vec::with_capacity(DESCRIPTORS * DESCRIPTOR),
            descriptor_at: 0,
            pages_at: 0,
            at: 0,
        };
        let mut status = compression.flag();
        if file.sink.is_file() {
            status |= INCOMPLETE;
        }
        file.header(status)?;
        file.bitmaps(selection, tally)?;
        file.descriptor_at = bitmap_at + 2 * file.bitmap_len;
        file.at = file.descriptor_at + selection.counts.chosen * DESCRIPTOR as u64;
        if selection.level().zero() {
            file.zero_at = file.at;
            file.sink.write_at(file.at, &[0; PAGE])?;
            file.at += BLOCK;
        }
        file.pages_at = file.at;
        Ok(file)
    }

    fn header(&mut self, status: u32) -> io::Result<()> {
        let sub_blocks = self.bitmap_at / BLOCK - 1;
        let facts = &self.facts;
        let mut head = MAGIC.to_vec();
        head.extend_from_slice(&6u32.to_le_bytes());
        head.extend_from_slice(&facts.names);
        head.resize(408, 0);
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.unwrap_or_default();
        head.extend_from_slice(&now.as_secs().to_le_bytes());
        head.extend_from_slice(&u64::from(now.subsec_micros()).to_le_bytes());
        let numbers = [
            status,
            BLOCK as u32,
            sub_blocks as u32,
            u32::try_from(2 * self.bitmap_len / BLOCK).unwrap_or(u32::MAX),
            u32::try_from(self.frames).unwrap_or(u32::MAX),
            0,
            0,
            0,
            0,
            facts.cpus,
        ];
        for number in numbers {
            head.extend_from_slice(&number.to_le_bytes());
        }
        head.resize(PAGE, 0);
        let notes_at = BLOCK + SUB_HEADER as u64;
        let (info_at, info_len) = facts.info;
        head.extend_from_slice(&facts.phys_base.to_le_bytes());
        head.extend_from_slice(&u32::from(self.level).to_le_bytes());
        head.extend_from_slice(&0u32.to_le_bytes());
        let places = [
            0,
            0,
            notes_at + info_at as u64,
            info_len as u64,
            notes_at,
            facts.notes.len() as u64,
        ];
        for number in places {
            head.extend_from_slice(&number.to_le_bytes());
        }
        // What was erased, nothing; what part of a split set it is, none.
        head.extend_from_slice(&[0; 4 * 8]);
        head.extend_from_slice(&self.frames.to_le_bytes());
        head.extend_from_slice(&facts.notes);
        head.resize(self.bitmap_at as usize, 0);
        self.sink.write_at(0, &head)
    }

    fn bitmaps(&mut self, selection: &mut Selection<'_>, tally: &mut Tally<'_>) -> io::Result<()> {
        let windows = selection.frames().windows();
        let mut bitmaps: [Vec<u8>; 2] = Default::default();
        let mut start = 0;
        for window in 0..windows {
            let (memory, chosen) = selection.next();
            for (bitmap, bits) in bitmaps.iter_mut().zip([memory, chosen]) {
                bits.bytes()
                    .for_each(|word| bitmap.extend_from_slice(&word));
            }
            let done = window + 1;
            if done % WINDOWS == 0 || done == windows {
                let at = self.bitmap_at + start * WINDOW / 8;
                for (bitmap, at) in bitmaps.iter_mut().zip([at, at + self.bitmap_len]) {
                    let there = self.bitmap_len - start * WINDOW / 8;
                    bitmap.truncate(usize::try_from(there).unwrap_or(usize::MAX));
                    self.sink.write_at(at, bitmap)?;
                    bitmap.clear();
                }
                start = done;
                tally.looked(done * WINDOW, self.frames)?;
            }
        }
        Ok(())
    }

    /// Writes pages that follow those before.
    pub(crate) fn write(&mut self, batch: &Batch) -> io::Result<()> {
        let start = self.at;
        for done in &batch.done {
            let (offset, size, flags) = match *done {
                Done::Zero => (self.zero_at, PAGE as u32, 0),
                Done::Lost => (0, 0, 0),
                Done::Packed { len, flags } => {
                    let at = self.at;
                    self.at += u64::from(len);
                    (at, len, flags)
                }
            };
            self.descriptors.extend_from_slice(&offset.to_le_bytes());
            self.descriptors.extend_from_slice(&size.to_le_bytes());
            self.descriptors.extend_from_slice(&flags.to_le_bytes());
            self.descriptors.extend_from_slice(&[0; 8]);
        }
        // Pages first: a descriptor is never there before its page.
        self.sink.write_at(start, &batch.packed)?;
        if self.descriptors.len() >= DESCRIPTORS * DESCRIPTOR {
            self.describe()?;
        }
        Ok(())
    }

    fn describe(&mut self) -> io::Result<()> {
        self.sink.write_at(self.descriptor_at, &self.descriptors)?;
        self.descriptor_at += self.descriptors.len() as u64;
        self.descriptors.clear();
        Ok(())
    }

    /// Writes what is left as far as it goes, for a dump that ends before its end.
    pub(crate) fn cut(&mut self) {
        // It is incomplete either way.
        if self.describe().is_err() && self.sink.is_file() {
            // On a full disk the last pages make room for the descriptors of those before them.
            let end = self.at.saturating_sub(ROOM).max(self.pages_at);
            let _ = self.sink.finish(end);
            let _ = self.describe();
        }
    }

    /// Writes what is left, and says in the header that the dump is whole unless pages were lost.
    pub(crate) fn finish(&mut self, is_whole: bool) -> io::Result<u64> {
        self.describe()?;
        if self.sink.is_file() && is_whole {
            self.header(self.compression.flag())?;
        }
        self.sink.finish(self.at)?;
        Ok(self.at)
    }
}
