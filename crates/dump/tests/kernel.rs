//! Kernels of a few pages, built by code: symbols in every encoding and place, page tables of
//! every depth, VMCOREINFO wherever it may be, stacks.

mod recipe;

use std::path::Path;
use std::sync::Arc;

use kscope_dump::{
    AddressEncoding, Bytes, Dump, DumpOptions, Error, FrameFrom, Kernel, OrcVersion, StackEnd,
    VmcoreinfoFrom,
};
use kscope_memory::{Gap, Memory, VirtAddr};
use recipe::kernel::{Encoding, MAP, SHAPE, STEXT, Shape, Tiny, image_phys};
use recipe::{Kdump, Machine, PAGE, Pack, elf, flatten_sparse, log, tasks};

fn open(file: Vec<u8>) -> Result<Kernel, Error> {
    let files: Vec<Arc<dyn Bytes>> = vec![Arc::new(file)];
    Kernel::open(Dump::from_bytes(files, DumpOptions::default())?)
}

fn kernel(machine: &Machine) -> Kernel {
    open(Kdump::new(Pack::Zlib).write(machine)).expect("a kernel")
}

/// Compares all symbols of a kernel of this shape.
fn check_symbols(shape: Shape) {
    let mut tiny = Tiny::new(shape);
    tiny.symbol(
        "per_cpu_thing",
        'D',
        if shape.encoding == Encoding::AbsolutePerCpu {
            0x1f40
        } else {
            STEXT + 0x9_0000
        },
    );
    tiny.symbol("last", 'b', STEXT + 0x40_0000);
    let stext = STEXT;
    let machine = tiny.finish();
    let kernel = kernel(&machine);
    let symbols = kernel
        .symbols()
        .unwrap_or_else(|e| panic!("{shape:?}: {e}"));
    let count = 3003 + usize::from(shape.long_name);
    assert_eq!(symbols.len(), count, "{shape:?}");
    let expected = match shape.encoding {
        Encoding::Absolute => AddressEncoding::Absolute,
        Encoding::BaseRelative => AddressEncoding::BaseRelative,
        Encoding::AbsolutePerCpu => AddressEncoding::AbsolutePerCpu,
        Encoding::PlaceRelative => AddressEncoding::PlaceRelative,
    };
    assert_eq!(
        kernel.address_encoding().expect("an encoding"),
        expected,
        "{shape:?}"
    );
    for i in [0u64, 1, 255, 256, 257, 2999] {
        let name = format!("function_{i}_of_the_kernel");
        assert_eq!(
            symbols.addresses(&name),
            [VirtAddr(stext + 0x1000 + i * 16)],
            "{shape:?}"
        );
        let found = kernel
            .symbolize(VirtAddr(stext + 0x1000 + i * 16 + 5))
            .expect("a symbol");
        assert_eq!(
            (found.symbol.name, found.symbol.kind, found.offset),
            (&*name, 't', 5)
        );
    }
    assert_eq!(symbols.addresses("last"), [VirtAddr(stext + 0x40_0000)]);
    if shape.encoding == Encoding::AbsolutePerCpu {
        assert_eq!(symbols.addresses("per_cpu_thing"), [VirtAddr(0x1f40)]);
    }
    if shape.long_name {
        assert_eq!(
            symbols.addresses(&"long_".repeat(40)),
            [VirtAddr(stext + 0x800)],
            "{shape:?}"
        );
    }
}

#[test]
fn symbols_in_every_encoding_and_place() {
    for encoding in [
        Encoding::Absolute,
        Encoding::BaseRelative,
        Encoding::AbsolutePerCpu,
        Encoding::PlaceRelative,
    ] {
        for told in [true, false] {
            for addresses_last in [true, false] {
                // Nobody writes absolute addresses last, or relative to their place first, without
                // saying where.
                let rare = match encoding {
                    Encoding::Absolute => addresses_last,
                    Encoding::PlaceRelative => !addresses_last,
                    _ => false,
                };
                if told || !rare {
                    check_symbols(Shape {
                        encoding,
                        told,
                        addresses_last,
                        ..SHAPE
                    });
                }
            }
        }
    }
}

#[test]
fn long_names_of_both_kinds() {
    for (wide, told) in [(true, true), (true, false), (false, true), (false, false)] {
        check_symbols(Shape {
            wide,
            told,
            long_name: true,
            ..SHAPE
        });
    }
}

#[test]
fn page_tables_of_every_depth() {
    for (levels, encrypted) in [(4, 0), (5, 0), (4, 1 << 47), (5, 1 << 51)] {
        let mut tiny = Tiny::new(Shape {
            levels,
            encrypted,
            ..SHAPE
        });
        let small = 0xffff_c900_0000_0000;
        let large = 0xffff_8880_0020_0000;
        let huge = 0xffff_88c0_0000_0000;
        tiny.write(small, b"small");
        tiny.map(large, 0x20_0000, 1);
        tiny.map(huge, 0, 2);
        tiny.fill(0x200);
        tiny.fill(0x3ff);
        let machine = tiny.finish();
        let kernel = kernel(&machine);
        let mut buf = [0; 5];
        kernel.read(VirtAddr(small), &mut buf).expect("memory");
        assert_eq!(&buf, b"small");
        for (at, frame) in [
            (large, 0x200),
            (large + 0x1f_f000, 0x3ff),
            (huge + 0x20_0000, 0x200),
            (huge + 0x3f_f000, 0x3ff),
        ] {
            let mut page = vec![0; PAGE];
            kernel.read(VirtAddr(at), &mut page).expect("memory");
            assert!(page == machine.pages[&frame], "{levels} levels: {at:#x}");
        }
        for (at, why) in [
            (small + PAGE as u64, Gap::Unmapped),
            (0x1000, Gap::Unmapped),
            (0x8000_0000_0000_0000, Gap::Unmapped),
            (u64::MAX, Gap::Unmapped),
            // Mapped to a frame that is not in the dump.
            (large + 0x1000, Gap::Unmapped),
        ] {
            let gap = kernel.read_u8(VirtAddr(at)).expect_err("a gap");
            assert_eq!((gap.addr, gap.why), (VirtAddr(at), why), "{levels} levels");
        }
        // Four levels end where five go on.
        let far = 0xff11_0000_0000_0000;
        assert!(kernel.read_u8(VirtAddr(far)).is_err());
    }
}

#[test]
fn the_image_is_read_where_page_tables_are_lost() {
    let machine = Tiny::new(SHAPE).finish();
    let mut cut = machine.clone();
    // All tables but the first are behind the image.
    cut.excluded
        .extend(cut.pages.range(0x2000..).map(|(&frame, _)| frame));
    cut.pages.retain(|&frame, _| frame < 0x2000);
    assert!(cut.pages.len() < machine.pages.len());
    let kernel = kernel(&cut);
    assert_eq!(kernel.symbols().expect("symbols").len(), 3001);
}

#[test]
fn the_image_is_read_where_the_first_table_is_said_to_be_nowhere() {
    let mut tiny = Tiny::new(SHAPE);
    let last = 0u64.wrapping_sub(8).wrapping_add(STEXT);
    let root = last.wrapping_sub(image_phys(STEXT));
    tiny.line(format!("SYMBOL(swapper_pg_dir)={root:x}"));
    let kernel = kernel(&tiny.finish());
    assert_eq!(kernel.symbols().expect("symbols").len(), 3001);
}

#[test]
fn vmcoreinfo_wherever_it_is() {
    let machine = Tiny::new(SHAPE).finish();
    assert_eq!(
        kernel(&machine).vmcoreinfo_from(),
        Some(VmcoreinfoFrom::Note)
    );
    assert_eq!(
        open(elf(&machine, false))
            .expect("a kernel")
            .vmcoreinfo_from(),
        Some(VmcoreinfoFrom::Note)
    );

    let mut header = machine.clone();
    header.notes = Vec::new();
    assert_eq!(
        kernel(&header).vmcoreinfo_from(),
        Some(VmcoreinfoFrom::Header)
    );

    // In memory only, at the end of one page and the begin of the next.
    for offset in [0, 8, PAGE - 8, PAGE - 16, PAGE - 40, 100] {
        let mut scanned = machine.clone();
        let note = std::mem::take(&mut scanned.notes);
        scanned.vmcoreinfo = Vec::new();
        let mut pages = vec![0x5a; 3 * PAGE];
        // A copy that is no note comes first.
        pages[..32].copy_from_slice(b"VMCOREINFO\0\0OSRELEASE=6.1.0\nnone");
        let at = PAGE.min(40 + offset);
        let at = if offset < 40 {
            64 + offset
        } else {
            at.max(offset)
        };
        pages[at..at + note.len()].copy_from_slice(&note);
        for (i, page) in pages.chunks(PAGE).enumerate() {
            scanned.pages.insert(0x3000 + i as u64, page.to_vec());
        }
        for file in [Kdump::new(Pack::Lzo).write(&scanned), elf(&scanned, false)] {
            let kernel = open(file).unwrap_or_else(|e| panic!("{offset}: {e}"));
            assert_eq!(kernel.vmcoreinfo_from(), Some(VmcoreinfoFrom::Scan));
            assert_eq!(kernel.release(), "6.99.0-recipe");
            assert!(kernel.symbols().is_ok());
        }
    }
    // In the first page of all.
    let mut first = machine.clone();
    let note = std::mem::take(&mut first.notes);
    first.vmcoreinfo = Vec::new();
    let mut page = vec![0x5a; PAGE];
    page[64..64 + note.len()].copy_from_slice(&note);
    first.pages.insert(0, page);
    assert_eq!(kernel(&first).vmcoreinfo_from(), Some(VmcoreinfoFrom::Scan));

    let mut none = machine;
    none.notes = Vec::new();
    none.vmcoreinfo = Vec::new();
    let none = open(Kdump::new(Pack::Lzo).write(&none));
    assert!(matches!(none, Err(Error::Missing("VMCOREINFO"))));
}

#[test]
fn without_a_log_the_rest_is_there() {
    let kernel = kernel(&Tiny::new(SHAPE).finish());
    assert!(matches!(kernel.log(), Err(Error::Missing(_))));
    assert!(matches!(kernel.btf(), Err(Error::NoSymbol(_))));
    assert!(kernel.modules().items.is_empty());
    assert!(kernel.tasks().is_err());
    assert!(kernel.unwinder().is_err());
    assert_eq!(image_phys(STEXT), 0x10_0000);
    assert_eq!(MAP + 0x100_0000, STEXT);
}

#[test]
fn a_sleeping_tasks_stack_in_every_version_of_the_tables() {
    for version in 1..=4 {
        let mut tiny = Tiny::new(SHAPE);
        tasks::add(&mut tiny, version);
        let kernel = kernel(&tiny.finish());
        let tasks = kernel.tasks().expect("tasks");
        assert!(tasks.fault.is_none(), "{:?}", tasks.fault);
        let names: Vec<(i32, &str, char)> = tasks
            .items
            .iter()
            .map(|t| (t.pid, &*t.comm, t.state_letter()))
            .collect();
        assert_eq!(names, [(0, "swapper/0", 'R'), (42, "sleeper", 'S')]);
        assert_eq!(tasks.items[1].addr, VirtAddr(tasks::TASK));
        let on_cpu = kernel.on_cpu().expect("a CPU").items;
        assert_eq!(on_cpu.len(), 1);
        assert_eq!(on_cpu[0].task, Some(VirtAddr(tasks::INIT_TASK)));

        let unwinder = kernel.unwinder().expect("unwind tables");
        let expected = [
            OrcVersion::V1,
            OrcVersion::V2,
            OrcVersion::V3,
            OrcVersion::V4,
        ];
        assert_eq!(unwinder.version(), expected[version as usize - 1]);
        let stack = unwinder.sleeping(&tasks.items[1]);
        let names: Vec<(&str, FrameFrom)> = stack
            .frames
            .iter()
            .map(|f| {
                (
                    kernel.symbolize(f.code()).expect("a symbol").symbol.name,
                    f.from,
                )
            })
            .collect();
        let froms = [
            FrameFrom::Switch,
            FrameFrom::Orc,
            FrameFrom::Orc,
            FrameFrom::CallSite,
            FrameFrom::Orc,
            FrameFrom::Exception,
            FrameFrom::Orc,
        ];
        let expected: Vec<(&str, FrameFrom)> =
            tasks::FUNCTIONS.iter().map(|f| f.0).zip(froms).collect();
        assert_eq!(names, expected, "version {version}");
        let StackEnd::User(user) = stack.end else {
            panic!("version {version}: {:?}", stack.end);
        };
        assert_eq!((user.rip, user.rsp), (0x40_1000, 0x7ffd_0000));
    }
}

#[test]
fn nothing_behind_the_image_has_a_name() {
    const END: u64 = STEXT + 0x70_0000;
    let mut tiny = Tiny::new(SHAPE);
    tiny.symbol("_end", 'B', END);
    let kernel = kernel(&tiny.finish());
    assert!(kernel.symbolize(VirtAddr(END - 1)).is_some());
    assert_eq!(kernel.symbolize(VirtAddr(END)), None);
}

#[test]
fn lists_of_tasks_that_have_no_end() {
    for (at, to) in [
        // The list comes back to the second task; it leads nowhere; it leaves the kernel.
        (tasks::TASK + 40, tasks::TASK + 40),
        (tasks::TASK + 40, 0),
        (tasks::TASK + 40, 0x1000),
        (tasks::TASK + 40, 0xffff_8880_7777_0000),
        (tasks::TASK + 64, tasks::TASK + 64),
    ] {
        let mut tiny = Tiny::new(SHAPE);
        tasks::add(&mut tiny, 3);
        tiny.write(at, &u64::to_le_bytes(to));
        let kernel = kernel(&tiny.finish());
        let tasks = kernel.tasks().expect("tasks");
        assert!(tasks.fault.is_some(), "{at:#x} {to:#x}");
        assert!(
            tasks.items.iter().any(|t| t.comm == "sleeper"),
            "{at:#x} {to:#x}"
        );
    }
}

/// Gives the seeds of the fuzz target `dump`: small files of every format, two of them kernels.
fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    let small = Machine::mixed(8);
    let kernel = |shape: Shape, version| {
        let mut tiny = Tiny::new(shape);
        // Enough for the tables of symbols to be found.
        tiny.functions = 2100;
        tasks::add(&mut tiny, version);
        tiny.finish()
    };
    let old = kernel(
        Shape {
            told: false,
            ..SHAPE
        },
        1,
    );
    let mut new = Tiny::new(Shape {
        levels: 5,
        encoding: Encoding::PlaceRelative,
        ..SHAPE
    });
    new.functions = 60;
    tasks::add(&mut new, 4);
    let sparse = |file: Vec<u8>| flatten_sparse(&file);
    vec![
        ("elf", sparse(elf(&small, false))),
        ("zlib", sparse(Kdump::new(Pack::Zlib).write(&small))),
        ("zstd", sparse(Kdump::new(Pack::Zstd).write(&small))),
        (
            "log",
            sparse(Kdump::new(Pack::Raw).write(&log::ring(1, 0, &[]))),
        ),
        ("old", sparse(Kdump::new(Pack::Zlib).write(&old))),
        ("new", sparse(Kdump::new(Pack::Raw).write(&new.finish()))),
    ]
}

#[test]
fn seeds_of_the_fuzz_target_are_up_to_date() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds/dump");
    for (name, bytes) in seeds() {
        let path = folder.join(name);
        if std::env::var_os("BLESS").is_some() {
            std::fs::create_dir_all(&folder).expect("a folder");
            std::fs::write(&path, &bytes).expect("a seed");
        }
        let there = std::fs::read(&path).expect("a seed");
        assert!(there == bytes, "{name} differs: BLESS=1 writes it");
    }
}
