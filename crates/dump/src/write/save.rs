//! Writing a dump as a whole.

use core::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::time::Duration;

use super::elf::ElfFile;
use super::frames::{Frames, PAGE};
use super::kdump::KdumpFile;
use super::level::{DumpLevel, PageKind};
use super::pack::Compression;
use super::pipeline::{self, Batch, How};
use super::selection::Selection;
use super::sink::{FileSink, FlatSink, Sink, StreamSink};
use super::watch::{SaveWatch, Tally};
use crate::{DumpFormat, Error, Kernel};

/// Most frames: those that physical addresses of 52 bits reach.
const FRAMES: u64 = 1 << 40;

/// How a dump is written.
#[derive(Clone, Copy, Debug)]
pub struct SaveOptions {
    /// What is left out.
    pub level: DumpLevel,
    /// How pages are packed; ELF files have them as they are.
    pub compression: Compression,
    /// The format.
    pub format: DumpFormat,
    /// How many threads read and pack; 1 does all in the caller's.
    pub threads: usize,
}

/// Where a dump is written to.
pub enum SaveOutput<'o> {
    /// A file, which is empty.
    File(&'o File),
    /// A pipe, in makedumpfile's flattened form.
    Flattened(&'o mut dyn Write),
    /// A pipe, in order; ELF alone.
    Stream(&'o mut dyn Write),
}

/// What was written.
#[derive(Clone, Debug)]
pub struct SaveSummary {
    /// Pages that are memory.
    pub memory: u64,
    /// Pages that the source has not, since they were left out when it was made.
    pub absent: u64,
    /// Pages left out now, by kind.
    pub left_out: Vec<(PageKind, u64)>,
    /// Pages whose use could not be told, which are among the written.
    pub unknown: u64,
    /// Pages written, zeros and lost ones among them.
    pub chosen: u64,
    /// Pages of zeros, which take no room.
    pub zero: u64,
    /// Pages that could not be read.
    pub lost: u64,
    /// The physical addresses of the first of those.
    pub first_lost: Vec<u64>,
    /// Bytes of the file.
    pub written: u64,
    /// What is left out in fact, and why less than was asked for.
    pub level: DumpLevel,
    /// See `level`.
    pub why_less: Option<Error>,
    /// How long it took.
    pub elapsed: Duration,
}

/// Why a dump was not written to its end.
#[derive(Debug)]
#[non_exhaustive]
pub enum SaveError {
    /// The output cannot be written.
    Write {
        /// Pages that were written, and how many there were to be.
        pages: u64,
        /// See `pages`.
        all: u64,
        /// Why.
        why: io::Error,
    },
    /// The watcher asked to end.
    Stopped {
        /// Pages that were written, and how many there were to be.
        pages: u64,
        /// See `pages`.
        all: u64,
    },
    /// What is asked for does not go together.
    Unsupported(&'static str),
}

impl fmt::Display for SaveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SaveError::Write { pages, all, .. } => {
                write!(
                    f,
                    "cannot write the dump: {pages} of {all} pages are written"
                )
            }
            SaveError::Stopped { pages, all } => {
                write!(f, "stopped: {pages} of {all} pages are written")
            }
            SaveError::Unsupported(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for SaveError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            SaveError::Write { why, .. } => Some(why),
            _ => None,
        }
    }
}

/// Writes the dump of a kernel.
///
/// # Errors
/// Where it cannot be written, or is ended early. What was written stays, and says of itself that
/// it is not whole.
pub fn save(
    kernel: &Kernel,
    output: SaveOutput<'_>,
    options: &SaveOptions,
    watch: &dyn SaveWatch,
) -> Result<SaveSummary, SaveError> {
    let Some(dump) = kernel.dump() else {
        return Err(SaveError::Unsupported("a kernel that runs cannot be saved"));
    };
    let frames = Frames::new(dump);
    if frames.count() > FRAMES {
        return Err(SaveError::Unsupported(
            "the dump tells of memory beyond 52 bits of physical address, which no machine has",
        ));
    }
    let is_elf = options.format == DumpFormat::Elf;
    let fewest = if is_elf { super::elf::FEWEST } else { 0 };
    let mut selection = Selection::new(kernel, &frames, options.level, fewest);
    let mut tally = Tally::new(watch);
    let (mut file, mut flat, mut stream);
    let sink: &mut dyn Sink = match output {
        SaveOutput::File(out) => {
            file = FileSink(out);
            &mut file
        }
        SaveOutput::Flattened(out) => {
            flat = FlatSink::new(out);
            &mut flat
        }
        SaveOutput::Stream(_) if !is_elf => {
            let why = "a compressed dump goes through a pipe in the flattened form alone";
            return Err(SaveError::Unsupported(why));
        }
        SaveOutput::Stream(out) => {
            stream = StreamSink::new(out);
            &mut stream
        }
    };
    let how = How {
        compression: if is_elf {
            Compression::None
        } else {
            options.compression
        },
        zero: selection.level().zero(),
        workers: options.threads,
    };
    let written = match is_elf {
        true => write_elf(kernel, &mut selection, sink, how, &mut tally),
        false => write_kdump(kernel, &mut selection, sink, how, &mut tally),
    };
    let written = written.map_err(|why| {
        let (pages, all) = (tally.pages, tally.all);
        match why.kind() {
            io::ErrorKind::Interrupted => SaveError::Stopped { pages, all },
            _ => SaveError::Write { pages, all, why },
        }
    })?;
    Ok(summary(&mut selection, &tally, written))
}

fn write_kdump(
    kernel: &Kernel,
    selection: &mut Selection<'_>,
    sink: &mut dyn Sink,
    how: How,
    tally: &mut Tally<'_>,
) -> io::Result<u64> {
    let mut file = KdumpFile::begin(kernel, selection, how.compression, sink, tally)?;
    tally.all = selection.counts.chosen;
    let write = |batch: &Batch| {
        file.write(batch)?;
        tally.wrote(batch)
    };
    if let Err(error) = pipeline::run(selection, how, write) {
        file.cut();
        return Err(error);
    }
    tally.all_written()?;
    file.finish(tally.lost == 0)
}

fn write_elf(
    kernel: &Kernel,
    selection: &mut Selection<'_>,
    sink: &mut dyn Sink,
    how: How,
    tally: &mut Tally<'_>,
) -> io::Result<u64> {
    let mut file = ElfFile::begin(kernel, selection, sink, tally)?;
    tally.all = selection.counts.chosen;
    let write = |batch: &Batch| {
        file.write(batch)?;
        tally.wrote(batch)
    };
    pipeline::run(selection, how, write)?;
    tally.all_written()?;
    file.finish(tally.lost == 0)
}

fn summary(selection: &mut Selection<'_>, tally: &Tally<'_>, written: u64) -> SaveSummary {
    let counts = selection.counts;
    let left_out = PageKind::ALL.iter().zip(counts.left_out);
    SaveSummary {
        memory: counts.memory,
        absent: counts.absent,
        left_out: left_out.map(|(kind, count)| (*kind, count)).collect(),
        unknown: counts.unknown,
        chosen: counts.chosen,
        zero: tally.zero,
        lost: tally.lost,
        first_lost: tally
            .first_lost
            .iter()
            .map(|pfn| pfn * PAGE as u64)
            .collect(),
        written,
        level: selection.level(),
        why_less: selection.why.take(),
        elapsed: tally.started.elapsed(),
    }
}
