//! Every format, version, compression and cut, written by code and read page by page.

mod recipe;

use std::sync::Arc;

use kscope_dump::{Bytes, Coverage, Dump, DumpFormat, DumpOptions, Error};
use kscope_memory::{Gap, GapAt, PhysAddr, PhysMemory};
use recipe::{Kdump, Machine, PACKS, PAGE, Pack, elf, flatten};

fn open(files: &[Vec<u8>]) -> Result<Dump, Error> {
    let files = files
        .iter()
        .map(|f| Arc::new(f.clone()) as Arc<dyn Bytes>)
        .collect();
    Dump::from_bytes(files, DumpOptions::default())
}

fn read(dump: &Dump, frame: u64) -> Result<Vec<u8>, Gap> {
    let mut page = vec![0; PAGE];
    let read = dump.read_phys(PhysAddr(frame * PAGE as u64), &mut page);
    read.map(|()| page).map_err(|gap| gap.why)
}

/// What a frame must give.
fn expected(machine: &Machine, frame: u64) -> Result<Vec<u8>, Gap> {
    match machine.pages.get(&frame) {
        Some(page) => Ok(page.clone()),
        None if machine.excluded.contains(&frame) => Err(Gap::Excluded),
        None => Err(Gap::Unmapped),
    }
}

/// Compares every frame, and some beyond.
fn check(machine: &Machine, files: &[Vec<u8>], what: &str) {
    let dump = open(files).unwrap_or_else(|e| panic!("{what}: {e}"));
    for frame in 0..machine.frames + 20 {
        assert_eq!(
            read(&dump, frame),
            expected(machine, frame),
            "{what}: frame {frame}"
        );
    }
    assert_eq!(read(&dump, u64::MAX / PAGE as u64), Err(Gap::Unmapped));
    let coverage = dump.coverage();
    assert_eq!(
        coverage.dumped,
        (machine.pages.len() * PAGE) as u64,
        "{what}"
    );
    assert_eq!(coverage.lost, 0, "{what}");
}

#[test]
fn compressed_in_every_way_and_version() {
    let machine = Machine::mixed(300);
    for pack in PACKS {
        check(
            &machine,
            &[Kdump::new(pack).write(&machine)],
            &format!("{pack:?}"),
        );
    }
    for version in 1..=6 {
        let mut kdump = Kdump::new(Pack::Zlib);
        kdump.version = version;
        check(
            &machine,
            &[kdump.write(&machine)],
            &format!("version {version}"),
        );
    }
}

#[test]
fn bitmaps_of_many_chunks() {
    // A chunk of 4096 bytes of bitmap is 32768 frames.
    for frames in [32767, 32768, 32769, 70000] {
        let mut machine = Machine::mixed(8);
        machine.frames = frames;
        for frame in [32760, 32767, 32768, 65535, 65536, 69999] {
            if frame < frames {
                machine.pages.insert(frame, recipe::page(frame, 1));
            }
        }
        let file = Kdump::new(Pack::Lzo).write(&machine);
        let dump = open(&[file]).expect("a dump");
        for frame in (0..16)
            .chain(32700..frames.min(32800))
            .chain(65500..65600)
            .chain([69999, 70001])
        {
            assert_eq!(
                read(&dump, frame),
                expected(&machine, frame),
                "{frame} of {frames}"
            );
        }
    }
}

#[test]
fn elf_core_files() {
    let machine = Machine::mixed(100);
    check(&machine, &[elf(&machine, false)], "ELF");
    check(
        &machine,
        &[elf(&machine, true)],
        "ELF, segments counted in a section",
    );
    let dump = open(&[elf(&machine, false)]).expect("a dump");
    assert_eq!(
        (dump.format(), dump.machine()),
        (DumpFormat::Elf, Some("x86_64"))
    );
}

#[test]
fn more_segments_than_a_header_can_count() {
    let mut machine = Machine::mixed(0);
    machine.frames = 140_000;
    // Every other frame is left out of memory; few have bytes, so that the test is small.
    for frame in (0..140_000).step_by(2) {
        machine.excluded.insert(frame);
    }
    machine.pages.insert(139_999, recipe::page(9, 1));
    let dump = open(&[elf(&machine, true)]).expect("a dump");
    for frame in [0, 1, 65_536, 131_070, 131_072, 139_998, 139_999] {
        assert_eq!(read(&dump, frame), expected(&machine, frame), "{frame}");
    }
}

#[test]
fn flattened_files() {
    let machine = Machine::mixed(100);
    check(
        &machine,
        &[flatten(&Kdump::new(Pack::Zlib).write(&machine))],
        "flattened",
    );
    check(&machine, &[flatten(&elf(&machine, false))], "flattened ELF");
    let dump = open(&[flatten(&elf(&machine, false))]).expect("a dump");
    assert!(dump.is_flattened() && !dump.is_incomplete());
}

/// Writes a machine as three files.
fn split(machine: &Machine, pack: Pack) -> Vec<Vec<u8>> {
    [(0, 33), (33, 80), (80, 100)]
        .into_iter()
        .map(|range| {
            let mut kdump = Kdump::new(pack);
            kdump.split = Some(range);
            kdump.write(machine)
        })
        .collect()
}

#[test]
fn split_sets() {
    let machine = Machine::mixed(100);
    let mut files = split(&machine, Pack::Zlib);
    check(&machine, &files, "split");
    files.reverse();
    check(&machine, &files, "split, in another order");
    let flat: Vec<Vec<u8>> = files.iter().map(|f| flatten(f)).collect();
    check(&machine, &flat, "split and flattened");

    // Without the second file its frames are lost, and those left out are still left out.
    let files = split(&machine, Pack::Zlib);
    let dump = open(&[files[0].clone(), files[2].clone()]).expect("a dump");
    for frame in 0..100 {
        let expected = match expected(&machine, frame) {
            Ok(_) if (33..80).contains(&frame) => Err(Gap::Lost),
            other => other,
        };
        assert_eq!(read(&dump, frame), expected, "{frame}");
    }

    // Whatever files are given, the others are counted as lost.
    let all = open(&files).expect("a dump");
    assert!(!all.lacks_files());
    let pages = |frames: std::ops::Range<u64>| {
        let there = frames.filter(|frame| expected(&machine, *frame).is_ok());
        there.count() as u64 * PAGE as u64
    };
    let check = |given: &[usize], lost: u64| {
        let given: Vec<Vec<u8>> = given.iter().map(|at| files[*at].clone()).collect();
        let dump = open(&given).expect("a dump");
        let expected = Coverage {
            dumped: pages(0..100),
            lost,
        };
        assert_eq!(dump.coverage(), expected);
        assert_eq!(dump.lacks_files(), lost > 0);
    };
    check(&[0, 1, 2], 0);
    check(&[0, 2], pages(33..80));
    check(&[0], pages(33..100));
    check(&[2], pages(0..80));
    check(&[1], pages(0..33) + pages(80..100));
}

#[test]
fn files_that_do_not_belong_together() {
    let machine = Machine::mixed(100);
    let files = split(&machine, Pack::Raw);
    let other = split(&Machine::mixed(200), Pack::Raw);
    let whole = Kdump::new(Pack::Raw).write(&machine);
    let mismatch = |files: &[Vec<u8>]| matches!(open(files), Err(Error::Mismatch(_)));
    assert!(mismatch(&[files[0].clone(), other[1].clone()]));
    assert!(mismatch(&[whole.clone(), whole.clone()]));
    let elf = elf(&machine, false);
    assert!(matches!(open(&[elf.clone(), elf]), Err(Error::NotADump)));
    assert!(matches!(open(&[]), Err(Error::NotADump)));
    assert!(matches!(open(&[b"no dump".to_vec()]), Err(Error::NotADump)));
}

#[test]
fn a_dump_that_was_cut_as_it_was_written() {
    let machine = Machine::mixed(100);
    let mut kdump = Kdump::new(Pack::Lzo);
    kdump.unwritten = Some(50);
    let dump = open(&[kdump.write(&machine)]).expect("a dump");
    assert!(dump.is_incomplete());
    let mut lost = 0;
    for frame in 0..100 {
        let expected = match expected(&machine, frame) {
            Ok(_) if frame >= 50 => {
                lost += 1;
                Err(Gap::Lost)
            }
            other => other,
        };
        assert_eq!(read(&dump, frame), expected, "{frame}");
    }
    assert_eq!(dump.coverage().lost, lost * PAGE as u64);
    assert_eq!(dump.missing().lost, lost);
}

/// Cuts a file at each of many places. What is read is right, and what is lost is said to be.
fn check_cuts(machine: &Machine, file: &[u8], what: &str) {
    let structure = (0..64).chain((64..file.len()).step_by(769));
    let mut opened = 0;
    let mut whole = 0;
    for cut in structure.chain(file.len() - 40..file.len()) {
        let Ok(dump) = open(&[file[..cut].to_vec()]) else {
            continue;
        };
        opened += 1;
        let coverage = dump.coverage();
        assert!(
            coverage.lost <= coverage.dumped,
            "{what}: cut {cut}: {coverage:?}"
        );
        let mut lost = false;
        for frame in 0..machine.frames {
            match (read(&dump, frame), expected(machine, frame)) {
                (Ok(own), Ok(page)) => assert!(own == page, "{what}: cut {cut}: {frame}"),
                (Err(Gap::Lost), _) => lost = true,
                // Segments behind the cut are not known of.
                (Err(Gap::Unmapped), _) if dump.format() == DumpFormat::Elf => lost = true,
                (Err(own), Err(gap)) => assert_eq!(own, gap, "{what}: cut {cut}: {frame}"),
                (own, _) => panic!("{what}: cut {cut}: frame {frame} is {:?}", own.err()),
            }
        }
        whole += usize::from(!lost);
    }
    assert!(opened > file.len() / 1800, "{what}: only {opened} opened");
    // Only the end mark of a flattened file may go without a loss.
    assert!(whole <= 40, "{what}: {whole} cuts lost nothing");
}

#[test]
fn cut_at_every_boundary() {
    let machine = Machine::mixed(40);
    for pack in PACKS {
        check_cuts(
            &machine,
            &Kdump::new(pack).write(&machine),
            &format!("{pack:?}"),
        );
    }
    check_cuts(&machine, &elf(&machine, false), "ELF");
    check_cuts(
        &machine,
        &elf(&machine, true),
        "ELF, segments counted in a section",
    );
}

#[test]
fn flattened_files_that_were_cut() {
    let machine = Machine::mixed(40);
    let file = flatten(&Kdump::new(Pack::Zlib).write(&machine));
    for cut in (0..file.len()).step_by(997) {
        if let Ok(dump) = open(&[file[..cut].to_vec()]) {
            assert!(dump.is_incomplete(), "{cut}");
            // Pieces that are missing between others read as zeros of a sparse file would; what
            // decodes is right or the page of another descriptor, never a panic.
            for frame in 0..machine.frames {
                let _ = read(&dump, frame);
            }
        }
    }
}

#[test]
fn a_small_flattened_file_is_no_large_one() {
    const FRAMES: u64 = 1 << 50;
    let mut file = Kdump::new(Pack::Zlib).write(&Machine::mixed(1));
    // Bitmaps of 2^44 bytes, and a byte behind them.
    file[436..440].copy_from_slice(&u32::MAX.to_le_bytes());
    let frames = 4096 + 96;
    file[frames..frames + 8].copy_from_slice(&FRAMES.to_le_bytes());
    let mut flat = flatten(&file);
    flat.truncate(flat.len() - 16);
    for number in [1i64 << 60, 1] {
        flat.extend_from_slice(&number.to_be_bytes());
    }
    flat.push(7);
    flat.extend_from_slice(&[0xff; 16]);
    let dump = open(&[flat]).expect("a dump");
    assert_eq!(read(&dump, 1 << 40), Err(Gap::Lost));
    assert!(dump.coverage().lost > 1 << 60);
}

#[test]
fn reads_across_pages_and_gaps() {
    let mut machine = Machine::mixed(0);
    machine.frames = 6;
    for frame in [0, 1, 2, 4] {
        machine.pages.insert(frame, recipe::page(frame, 2));
    }
    machine.excluded.insert(3);
    let all: Vec<u8> = (0..3).flat_map(|f| machine.pages[&f].clone()).collect();
    for file in [elf(&machine, false), Kdump::new(Pack::Lzo).write(&machine)] {
        let dump = open(&[file]).expect("a dump");
        for (at, len) in [
            (0, 1),
            (4090, 12),
            (1, 3 * PAGE - 1),
            (0, 3 * PAGE),
            (8191, 2),
        ] {
            let mut buf = vec![0; len];
            dump.read_phys(PhysAddr(at as u64), &mut buf)
                .expect("bytes");
            assert!(buf == all[at..at + len], "{at}, {len}");
        }
        let mut buf = vec![0; 2 * PAGE];
        let gap = dump.read_phys(PhysAddr(2 * PAGE as u64 + 100), &mut buf);
        let gap = gap.expect_err("a gap");
        assert_eq!(
            (gap.addr, gap.why),
            (PhysAddr(3 * PAGE as u64), Gap::Excluded)
        );
        assert!(gap.len > 0 && gap.len <= PAGE as u64);
        let gap = dump.read_phys(PhysAddr(u64::MAX), &mut [0; 2]);
        assert!(matches!(
            gap,
            Err(GapAt {
                why: Gap::Unmapped,
                ..
            })
        ));
        assert_eq!(dump.missing().excluded, 1);
    }
}

#[test]
fn without_a_cache_and_with_a_tiny_one() {
    let machine = Machine::mixed(60);
    for file in [elf(&machine, false), Kdump::new(Pack::Zstd).write(&machine)] {
        for cache in [0, PAGE, 3 * PAGE] {
            let files: Vec<Arc<dyn Bytes>> = vec![Arc::new(file.clone())];
            let dump = Dump::from_bytes(files, DumpOptions { cache }).expect("a dump");
            for frame in (0..60).chain((0..60).rev()) {
                assert_eq!(read(&dump, frame), expected(&machine, frame), "{frame}");
            }
        }
    }
}

/// Changes bytes at random and reads everything: whatever comes, nothing panics or hangs.
#[test]
fn any_bytes() {
    let machine = Machine::mixed(40);
    let mut files = vec![elf(&machine, false), elf(&machine, true)];
    files.extend(PACKS.map(|pack| Kdump::new(pack).write(&machine)));
    let flat: Vec<Vec<u8>> = files.iter().map(|f| flatten(f)).collect();
    files.extend(flat);
    let mut state = 0x1234_5678_9abc_def1u64;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut opened = 0;
    for round in 0..600 {
        let mut file = files[round % files.len()].clone();
        for _ in 0..1 + next() % 6 {
            // Mostly where structure is: headers, bitmaps, descriptors.
            let reach = if next() % 4 == 0 {
                file.len() as u64
            } else {
                640.min(file.len() as u64)
            };
            let at = (next() % reach) as usize;
            let far = if next() % 2 == 0 {
                0
            } else {
                4096.min(file.len() - 640)
            };
            let at = (at + far).min(file.len() - 1);
            file[at] = match next() % 4 {
                0 => 0,
                1 => 0xff,
                2 => file[at] ^ (1 << (next() % 8)),
                _ => next() as u8,
            };
        }
        if let Ok(dump) = open(&[file]) {
            opened += 1;
            for frame in 0..machine.frames + 2 {
                let _ = read(&dump, frame);
            }
            let _ = dump.coverage();
            let _ = kscope_dump::Kernel::open(dump).map(|k| k.log().map(|l| l.items.len()));
        }
    }
    assert!(opened > 200, "only {opened} opened");
}
