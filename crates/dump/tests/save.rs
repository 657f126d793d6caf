//! Dumps that are written again: what each level keeps is what was there, in each format and
//! packing, and what was cut on the way is still read.

mod recipe;

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use kscope_dump::{
    Bytes, Compression, Dump, DumpFormat, DumpLevel, DumpOptions, Kernel, PageKind, SaveError,
    SaveOptions, SaveOutput, SaveProgress, SaveSummary, SaveWatch, Unfinished, save,
};
use kscope_memory::{Gap, PhysAddr, PhysMemory};
use kscope_testkit::dumps::{KDUMP, QEMU, folder};

use recipe::kernel::{SHAPE, Tiny};
use recipe::pages::{self, ERAS, Era, Use};
use recipe::{Machine, PAGE};

const COMPRESSIONS: [Compression; 4] = [
    Compression::None,
    Compression::Zlib,
    Compression::Lzo,
    Compression::Zstd,
];

/// A file that goes away.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("save-{}-{number}-{name}", std::process::id());
        Scratch(Path::new(env!("CARGO_TARGET_TMPDIR")).join(name))
    }

    fn create(&self) -> File {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true);
        options.open(&self.0).expect("a file")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn opened(file: Vec<u8>) -> Dump {
    let files: Vec<Arc<dyn Bytes>> = vec![Arc::new(file)];
    Dump::from_bytes(files, DumpOptions::default()).expect("a dump")
}

fn options(level: u8, format: DumpFormat, compression: Compression) -> SaveOptions {
    SaveOptions {
        level: DumpLevel::new(level).expect("a level"),
        compression,
        format,
        threads: 3,
    }
}

/// Saves to a file, and gives its bytes.
fn saved(kernel: &Kernel, options: &SaveOptions) -> (Vec<u8>, SaveSummary) {
    let scratch = Scratch::new("dump");
    let file = scratch.create();
    let summary = save(kernel, SaveOutput::File(&file), options, &()).expect("saved");
    let bytes = std::fs::read(&scratch.0).expect("what was saved");
    assert_eq!(bytes.len() as u64, summary.written);
    (bytes, summary)
}

fn read(dump: &Dump, frame: u64) -> Result<Vec<u8>, Gap> {
    let mut page = vec![0; PAGE];
    let read = dump.read_phys(PhysAddr(frame * PAGE as u64), &mut page);
    read.map(|()| page).map_err(|gap| gap.why)
}

/// What a kernel's memory from frame 0 on is used for, orders included.
const USES: [(Use, u32); 31] = [
    (Use::Kernel, 4),
    (Use::Cache, 0),
    (Use::CachePrivate, 0),
    (Use::Anonymous, 0),
    (Use::SwapCache, 0),
    (Use::Free, 2),
    (Use::Slab, 3),
    (Use::Poisoned, 0),
    (Use::Offline, 0),
    (Use::Kernel, 1),
    (Use::Folio, 2),
    (Use::Huge, 3),
    (Use::Free, 4),
    (Use::Cache, 5),
    (Use::Anonymous, 5),
    (Use::Hugetlb, 7),
    (Use::Huge, 6),
    (Use::Slab, 0),
    (Use::FreeDamaged, 0),
    (Use::Kernel, 1),
    (Use::Kernel, 2),
    (Use::Cache, 3),
    (Use::Kernel, 4),
    (Use::Anonymous, 5),
    (Use::Free, 7),
    (Use::Kernel, 5),
    (Use::Free, 5),
    (Use::Anonymous, 6),
    (Use::Free, 6),
    // The image's tables are here.
    (Use::Kernel, 6),
    (Use::Kernel, 6),
];

/// A kernel whose pages up to this frame are used as [`USES`] says.
const LAST: u64 = 0x340;
/// A hole in memory, in a free block.
const HOLE: std::ops::Range<u64> = 0x290..0x2a0;

/// Gives the bits that leave a frame out.
fn bits(frame: u64) -> u8 {
    let mut start = 0;
    for (what, order) in USES {
        let end = start + (1 << order);
        if frame < end {
            return what.bits();
        }
        start = end;
    }
    0
}

fn machine(era: Era) -> Machine {
    let sum: u64 = USES.iter().map(|(_, order)| 1 << order).sum();
    assert!(sum <= LAST, "{sum:#x}");
    let mut tiny = Tiny::new(SHAPE);
    tiny.functions = 10;
    // Behind them are the kernel's own, its page tables among them.
    let rest = (LAST..tiny.machine.frames).map(|_| (Use::Kernel, 0));
    let uses: Vec<(Use, u32)> = USES.into_iter().chain(rest).collect();
    pages::write(&mut tiny, era, &uses);
    let mut machine = tiny.finish();
    for frame in (0..LAST).filter(|frame| !HOLE.contains(frame)) {
        let kind = frame % 5;
        machine
            .pages
            .entry(frame)
            .or_insert_with(|| recipe::page(frame, kind));
    }
    machine
}

fn check(machine: &Machine, dump: &Dump, level: u8, what: &str) {
    let is_elf = dump.format() == DumpFormat::Elf;
    let mut left_out = 0;
    for frame in 0..machine.frames {
        let found = read(dump, frame);
        let out = level & bits(frame) != 0;
        match machine.pages.get(&frame) {
            None => assert_eq!(found, Err(Gap::Unmapped), "{what}: frame {frame:#x}"),
            Some(_) if out && found == Err(Gap::Excluded) => left_out += 1,
            // Small pieces are no segments of their own.
            Some(page) if is_elf || !out => {
                assert!(found.as_ref() == Ok(page), "{what}: frame {frame:#x}");
            }
            Some(_) => panic!("{what}: frame {frame:#x} is {:?}", found.map(|_| "there")),
        }
    }
    assert!(
        level & 16 == 0 || left_out > 200,
        "{what}: {left_out} left out"
    );
}

#[test]
fn each_level_keeps_what_it_says() {
    for era in ERAS {
        let machine = machine(era);
        let kernel = Kernel::open(opened(recipe::elf(&machine, false))).expect("a kernel");
        let levels: &[u8] = match era {
            Era::Types => &[0, 1, 2, 3, 4, 6, 7, 8, 12, 15, 16, 17, 23, 24, 30, 31],
            _ => &[4, 8, 16, 31],
        };
        for &level in levels {
            for format in [DumpFormat::KdumpCompressed, DumpFormat::Elf] {
                if format == DumpFormat::Elf && !matches!(level, 0 | 1 | 16 | 31) {
                    continue;
                }
                let what = format!("{era:?} {format:?} level {level}");
                let options = options(level, format, Compression::Lzo);
                let (file, summary) = saved(&kernel, &options);
                let dump = opened(file);
                assert!(!dump.is_incomplete(), "{what}");
                assert_eq!(dump.format(), format, "{what}");
                assert_eq!(summary.lost + summary.unknown, 0, "{what}");
                assert_eq!(
                    summary.level.bits(),
                    level,
                    "{what}: {:?}",
                    summary.why_less
                );
                assert_eq!(summary.zero > 0, level & 1 != 0, "{what}");
                check(&machine, &dump, level, &what);
                let out: u64 = summary.left_out.iter().map(|(_, count)| count).sum();
                assert_eq!(summary.memory, machine.pages.len() as u64, "{what}");
                // What ELF has of those left out, in small pieces, is not told as left out.
                assert_eq!(summary.chosen + out, summary.memory, "{what}");
                if format != DumpFormat::Elf {
                    assert_eq!(dump.dump_level(), Some(level.into()), "{what}");
                }
                if level == 31 {
                    let of = |kind| summary.left_out.iter().find(|(found, _)| *found == kind);
                    assert_eq!(of(PageKind::Poisoned), Some(&(PageKind::Poisoned, 1)));
                    if format != DumpFormat::Elf {
                        assert_eq!(of(PageKind::User), Some(&(PageKind::User, 329)), "{what}");
                    }
                }
            }
        }
    }
}

/// Gives where the pieces of a flattened file belong, and how long each is.
fn pieces(flat: &[u8]) -> Vec<(u64, u64)> {
    let number = |at: usize| u64::from_be_bytes(flat[at..at + 8].try_into().expect("8 bytes"));
    let mut found = Vec::new();
    let mut at = 4096;
    while number(at) != u64::MAX {
        let len = number(at + 8);
        found.push((number(at), len));
        at += 16 + len as usize;
    }
    found
}

#[test]
fn pages_of_zeros_are_no_empty_pieces() {
    let mut machine = machine(Era::Types);
    for (frame, page) in &mut machine.pages {
        if *page == recipe::page(*frame, frame % 5) {
            page.fill(0);
        }
    }
    // One thread takes 128 pages at a time.
    let pages: Vec<&Vec<u8>> = machine.pages.values().collect();
    let is_zero = |page: &&Vec<u8>| page.iter().all(|byte| *byte == 0);
    assert!(pages.chunks(128).any(|chunk| chunk.iter().all(is_zero)));
    let kernel = Kernel::open(opened(recipe::elf(&machine, false))).expect("a kernel");
    let mut options = options(1, DumpFormat::KdumpCompressed, Compression::Zstd);
    options.threads = 1;
    let mut flat = Vec::new();
    let output = SaveOutput::Flattened(&mut flat);
    save(&kernel, output, &options, &()).expect("saved");
    assert!(pieces(&flat).iter().all(|(_, len)| *len > 0));
    check(&machine, &opened(flat), 1, "zeros, flattened");
}

#[test]
fn sources_that_lie_about_memory_are_refused_or_read() {
    let machine = machine(Era::Types);
    let mut elf = recipe::elf(&machine, false);
    let kernel = Kernel::open(opened(elf.clone())).expect("a kernel");
    let level = options(0, DumpFormat::KdumpCompressed, Compression::None);
    let (mut file, _) = saved(&kernel, &level);
    // The first segment behind the notes says that it is of 2^60 bytes.
    elf[64 + 56 + 40..][..8].copy_from_slice(&(1u64 << 60).to_le_bytes());
    let kernel = Kernel::open(opened(elf)).expect("a kernel");
    let refused = save(&kernel, SaveOutput::Flattened(&mut Vec::new()), &level, &());
    assert!(matches!(refused, Err(SaveError::Unsupported(_))));
    // No page is memory, and yet they are there.
    let blocks = u32::from_le_bytes(file[432..436].try_into().expect("4 bytes"));
    let bitmap = (1 + blocks as usize) * PAGE;
    assert!(file[bitmap..bitmap + PAGE].iter().any(|byte| *byte != 0));
    file[bitmap..bitmap + PAGE].fill(0);
    let kernel = Kernel::open(opened(file)).expect("a kernel");
    for format in [DumpFormat::KdumpCompressed, DumpFormat::Elf] {
        let (file, summary) = saved(&kernel, &options(0, format, Compression::None));
        check(&machine, &opened(file), 0, "without a bitmap of memory");
        assert_eq!((summary.absent, summary.lost), (0, 0));
    }
}

#[test]
fn every_packing_thread_and_way() {
    let machine = machine(Era::Types);
    let kernel = Kernel::open(opened(recipe::elf(&machine, false))).expect("a kernel");
    for compression in COMPRESSIONS {
        for threads in [1, 2, 7] {
            let mut options = options(17, DumpFormat::KdumpCompressed, compression);
            options.threads = threads;
            let what = format!("{compression} by {threads}");
            let (file, _) = saved(&kernel, &options);
            check(&machine, &opened(file.clone()), 17, &what);
            let mut flat = Vec::new();
            let output = SaveOutput::Flattened(&mut flat);
            save(&kernel, output, &options, &()).expect("saved");
            let flat = opened(flat);
            assert!(flat.is_flattened() && !flat.is_incomplete(), "{what}");
            check(&machine, &flat, 17, &what);
            // A dump that was filtered can be once more, and is not less for it.
            let again = Kernel::open(opened(file)).expect("a kernel");
            let (file, summary) = saved(
                &again,
                &self::options(24, DumpFormat::KdumpCompressed, compression),
            );
            assert!(summary.absent > 200 && summary.why_less.is_none());
            check(&machine, &opened(file), 24 | 16, &what);
        }
    }
    let mut stream = Vec::new();
    let elf = options(31, DumpFormat::Elf, Compression::None);
    save(&kernel, SaveOutput::Stream(&mut stream), &elf, &()).expect("saved");
    check(&machine, &opened(stream), 31, "ELF through a pipe");
    let mut flat = Vec::new();
    save(&kernel, SaveOutput::Flattened(&mut flat), &elf, &()).expect("saved");
    let mut end = 0;
    for (start, len) in pieces(&flat) {
        // Pages of zeros are there for readers that do not take holes for them.
        assert!(start < end + PAGE as u64, "a hole at {end:#x}");
        end = end.max(start + len);
    }
    check(&machine, &opened(flat), 31, "ELF, flattened");
    let kdump = options(31, DumpFormat::KdumpCompressed, Compression::Zstd);
    let refused = save(&kernel, SaveOutput::Stream(&mut Vec::new()), &kdump, &());
    assert!(matches!(refused, Err(SaveError::Unsupported(_))));
}

#[test]
fn where_pages_cannot_be_told_apart_they_are_kept() {
    let full = machine(Era::Types);
    for (gone, why) in [
        ("SIZE(page)=64\n", "struct page"),
        ("NUMBER(PAGE_BUDDY_MAPCOUNT_VALUE)=4026531840\n", "BUDDY"),
        ("NUMBER(SECTION_SIZE_BITS)=27\n", "sections"),
    ] {
        let mut machine = full.clone();
        let text = String::from_utf8(machine.vmcoreinfo.clone()).expect("text");
        assert!(text.contains(gone));
        machine.vmcoreinfo = text.replace(gone, "").into_bytes();
        machine.notes = recipe::note(b"VMCOREINFO", 0, &machine.vmcoreinfo);
        let kernel = Kernel::open(opened(recipe::elf(&machine, false))).expect("a kernel");
        let (file, summary) = saved(
            &kernel,
            &options(31, DumpFormat::KdumpCompressed, Compression::Lzo),
        );
        assert_eq!(summary.level.bits(), 1, "{why}");
        assert!(summary.why_less.is_some(), "{why}");
        check(&machine, &opened(file), 1, why);
    }
    // Where a piece of them is gone the others still count.
    let mut machine = full.clone();
    let kernel = Kernel::open(opened(recipe::elf(&full, false))).expect("a kernel");
    let (_, whole) = saved(
        &kernel,
        &options(16, DumpFormat::KdumpCompressed, Compression::Lzo),
    );
    // The count of mappings of a free page, where a `struct page` has it.
    let tells_of_free = |page: &[u8]| page.get(48..52) == Some(&0xf000_0000u32.to_le_bytes());
    let holes: Vec<u64> = machine
        .pages
        .iter()
        .filter(|(_, page)| page.chunks(64).any(tells_of_free))
        .map(|(frame, _)| *frame)
        .collect();
    let gone = *holes
        .first()
        .expect("a page of struct pages with free ones");
    machine.pages.remove(&gone);
    let kernel = Kernel::open(opened(recipe::elf(&machine, false))).expect("a kernel");
    let (_, part) = saved(
        &kernel,
        &options(16, DumpFormat::KdumpCompressed, Compression::Lzo),
    );
    assert!(part.unknown > 0 && part.chosen > whole.chosen, "{part:?}");
}

#[test]
fn a_dump_that_was_cut_is_read_as_far_as_it_goes() {
    let machine = machine(Era::Flags);
    let kernel = Kernel::open(opened(recipe::elf(&machine, false))).expect("a kernel");
    for flat in [false, true] {
        let options = options(31, DumpFormat::KdumpCompressed, Compression::Zstd);
        let whole = match flat {
            false => saved(&kernel, &options).0,
            true => {
                let mut out = Vec::new();
                save(&kernel, SaveOutput::Flattened(&mut out), &options, &()).expect("saved");
                out
            }
        };
        let mut most_lost = 0;
        for part in 1..24 {
            let len = whole.len() * part / 24;
            let dump = opened(whole[..len].to_vec());
            let mut lost = 0;
            for frame in 0..machine.frames {
                match (read(&dump, frame), machine.pages.get(&frame)) {
                    (Ok(found), Some(page)) => assert!(found == *page, "frame {frame:#x}"),
                    (Err(Gap::Lost), _) => lost += 1,
                    (Err(Gap::Excluded), Some(_)) => assert!(bits(frame) != 0),
                    (Err(Gap::Unmapped), None) => {}
                    (found, page) => panic!("{found:?}, {}", page.is_some()),
                }
            }
            assert!(lost > 0 && dump.coverage().lost > 0, "{part} of 24");
            most_lost = most_lost.max(lost);
        }
        assert!(most_lost > 300);
    }
}

/// Ends after so many pages.
struct Enough(u64);

impl SaveWatch for Enough {
    fn progress(&self, _: &SaveProgress) {}

    fn is_over(&self) -> bool {
        // Asked once after each piece of work.
        static ASKED: AtomicU64 = AtomicU64::new(0);
        ASKED.fetch_add(1, Ordering::Relaxed) >= self.0
    }
}

#[test]
fn a_dump_that_was_stopped_says_so_and_is_read() {
    let machine = machine(Era::Flags);
    let kernel = Kernel::open(opened(recipe::elf(&machine, false))).expect("a kernel");
    let scratch = Scratch::new("stopped");
    let file = scratch.create();
    let mut options = options(0, DumpFormat::KdumpCompressed, Compression::Lzo);
    options.threads = 2;
    let stopped = save(&kernel, SaveOutput::File(&file), &options, &Enough(5));
    let Err(SaveError::Stopped { pages, all }) = stopped else {
        panic!("{stopped:?}");
    };
    assert!(pages > 0 && pages < all, "{pages} of {all}");
    let dump = Dump::open(&[&scratch.0]).expect("a dump");
    assert!(dump.is_incomplete());
    let there = (0..machine.frames).filter(|frame| read(&dump, *frame).is_ok());
    assert_eq!(there.count() as u64, pages);
    assert_eq!(dump.coverage().lost, (all - pages) * PAGE as u64);
}

/// A disk that is full after so many bytes.
struct Full(usize);

impl Write for Full {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self
            .0
            .checked_sub(bytes.len())
            .ok_or(io::ErrorKind::StorageFull)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_full_disk_ends_it_with_what_is_missing() {
    let machine = machine(Era::Flags);
    let kernel = Kernel::open(opened(recipe::elf(&machine, false))).expect("a kernel");
    for threads in [1, 4] {
        let mut options = options(0, DumpFormat::KdumpCompressed, Compression::None);
        options.threads = threads;
        for room in [0, 5000, 100_000, 3_000_000] {
            let mut full = Full(room);
            let ended = save(&kernel, SaveOutput::Flattened(&mut full), &options, &());
            match ended {
                Err(SaveError::Write { pages, all, why }) => {
                    assert_eq!(why.kind(), io::ErrorKind::StorageFull);
                    assert!(pages < all || all == 0, "{pages} of {all}");
                }
                other => panic!("{other:?}"),
            }
        }
    }
}

#[test]
fn pages_that_cannot_be_read_are_lost_and_named() {
    let machine = machine(Era::Types);
    let mut elf = recipe::elf(&machine, false);
    // The last pages of the file are gone; they are not those that lead to the others.
    elf.truncate(elf.len() - 5 * PAGE);
    let kernel = Kernel::open(opened(elf)).expect("a kernel");
    let (file, summary) = saved(
        &kernel,
        &options(0, DumpFormat::KdumpCompressed, Compression::Zlib),
    );
    assert_eq!((summary.lost, summary.first_lost.len()), (5, 5));
    let dump = opened(file);
    assert!(dump.is_incomplete());
    for at in &summary.first_lost {
        assert_eq!(read(&dump, at / PAGE as u64), Err(Gap::Lost));
    }
    assert_eq!(dump.coverage().lost, 5 * PAGE as u64);
}

#[test]
fn a_file_has_its_name_only_when_it_is_whole() {
    let (whole, part) = (Scratch::new("named"), Scratch::new("named-incomplete"));
    // Both scratch files have numbers; the names that count are those of the first.
    let unfinished = PathBuf::from(format!("{}-incomplete", whole.0.display()));
    drop(part);
    let file = Unfinished::create(&whole.0, false).expect("a file");
    file.file().write_all(b"part").expect("written");
    assert_eq!(file.path(), unfinished);
    assert!(unfinished.exists() && !whole.0.exists());
    // What is left of one that did not end is not written over unasked.
    drop(file);
    let refused = Unfinished::create(&whole.0, false).expect_err("there is one");
    assert_eq!(refused.kind(), io::ErrorKind::AlreadyExists);
    let file = Unfinished::create(&whole.0, true).expect("a file");
    file.file().write_all(b"whole").expect("written");
    file.finish().expect("finished");
    assert!(!unfinished.exists());
    let mode = std::fs::metadata(&whole.0).expect("the file").permissions();
    assert_eq!(mode.mode() & 0o777, 0o600);
    assert_eq!(std::fs::read(&whole.0).expect("the file"), b"whole");
    let refused = Unfinished::create(&whole.0, false).expect_err("there is one");
    assert_eq!(refused.kind(), io::ErrorKind::AlreadyExists);
}

/// Saves a real dump and compares some of its pages with the source's.
fn check_real(name: &str, compression: Compression) -> Option<SaveSummary> {
    let source = Dump::open(&[folder()?.join(name)]).expect("a dump");
    let kernel = Kernel::open(source).expect("a kernel");
    let (file, summary) = saved(
        &kernel,
        &options(31, DumpFormat::KdumpCompressed, compression),
    );
    let dump = opened(file);
    let source = kernel.dump().expect("opened from one");
    let mut compared = 0;
    let mut frame = 1;
    while frame < 600_000 {
        match (read(source, frame), read(&dump, frame)) {
            (Ok(page), Ok(found)) => {
                assert!(page == found, "{name}: frame {frame:#x}");
                compared += 1;
            }
            (Ok(_), Err(Gap::Excluded)) => {}
            (one, other) => assert_eq!(one, other, "{name}: frame {frame:#x}"),
        }
        frame += 13;
    }
    assert!(compared > 500, "{compared}");
    let again = Kernel::open(dump).expect("a kernel");
    assert_eq!(
        again.log().expect("a log").items,
        kernel.log().expect("a log").items
    );
    Some(summary)
}

#[test]
fn a_dump_that_makedumpfile_filtered_has_nothing_more_to_leave_out() {
    let Some(summary) = check_real(KDUMP, Compression::Zstd) else {
        return;
    };
    let out: u64 = summary.left_out.iter().map(|(_, count)| count).sum();
    assert_eq!(out, 0, "{summary:?}");
    assert_eq!(summary.why_less.map(|why| why.to_string()), None);
}

#[test]
fn a_dump_of_a_guest_loses_what_nobody_needs() {
    let Some(summary) = check_real(QEMU, Compression::Lzo) else {
        return;
    };
    assert_eq!(summary.unknown, 0);
    for kind in [PageKind::Cache, PageKind::User, PageKind::Free] {
        let found = summary.left_out.iter().find(|(found, _)| *found == kind);
        assert!(found.is_some_and(|(_, count)| *count > 0), "{summary:?}");
    }
}
