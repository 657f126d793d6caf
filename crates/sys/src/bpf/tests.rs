//! The bytes of each command's attribute, at the offsets of include/uapi/linux/bpf.h.

use std::os::fd::AsFd;
use std::sync::Arc;

use super::attr::object_name;
use super::*;
use crate::call::{Call, Reply};
use crate::fake::FakeKernel;
use crate::kernel::Kernel;
use crate::map_fd::MapShape;

const SHAPE: MapShape = MapShape {
    kind: 1,
    key_size: 4,
    value_size: 8,
    max_entries: 16,
};

fn map() -> MapFd {
    MapFd::fake(SHAPE, 1).expect("/dev/null")
}

/// Encodes a command and compares fields, each given as offset and little-endian bytes' value.
#[track_caller]
fn check(mut bpf: Bpf<'_>, command: u32, size: usize, fields: &[(usize, u32)]) {
    let attr = bpf.attr().expect("well formed");
    assert_eq!((attr.command, attr.size), (command, size), "{}", bpf.name());
    for &(at, value) in fields {
        assert_eq!(attr.get_u32(at), value, "{} at {at}", bpf.name());
    }
    // Nothing lies past the end that the kernel is told.
    assert!(
        (size.next_multiple_of(4)..128)
            .step_by(4)
            .all(|at| attr.get_u32(at) == 0)
    );
}

/// Low and high half of an address.
fn halves(bytes: &[u8], at: usize) -> [(usize, u32); 2] {
    let address = bytes.as_ptr() as u64;
    [(at, address as u32), (at + 4, (address >> 32) as u32)]
}

fn raw(fd: impl AsFd) -> u32 {
    fd.as_fd().as_raw_fd() as u32
}

#[test]
fn maps() {
    let map = map();
    let fd = raw(&map);
    let name = u32::from_ne_bytes(*b"a_b.");
    check(
        Bpf::MapCreate(MapCreate {
            shape: SHAPE,
            flags: 9,
            name: "a-b.c",
            ..MapCreate::default()
        }),
        0,
        44,
        &[
            (0, 1),
            (4, 4),
            (8, 8),
            (12, 16),
            (16, 9),
            (28, name),
            (32, u32::from(b'c')),
        ],
    );
    let (key, mut value) = ([1, 2, 3, 4], [0; 8]);
    let [low, high] = halves(&key, 8);
    let [value_low, value_high] = halves(&value, 16);
    let fields = [(0, fd), low, high, value_low, value_high];
    check(
        Bpf::MapLookup {
            map: &map,
            key: &key,
            value: &mut value,
        },
        1,
        32,
        &fields,
    );
    check(
        Bpf::MapUpdate {
            map: &map,
            key: &key,
            value: &value,
            flags: 2,
        },
        2,
        32,
        &[&fields[..], &[(24, 2)]].concat(),
    );
    check(
        Bpf::MapDelete {
            map: &map,
            key: &key,
        },
        3,
        32,
        &fields[..3],
    );
    let mut next = [0; 4];
    let [next_low, next_high] = halves(&next, 16);
    check(
        Bpf::MapNextKey {
            map: &map,
            key: None,
            next: &mut next,
        },
        4,
        32,
        &[(0, fd), (8, 0), (12, 0), next_low, next_high],
    );
    check(Bpf::MapFreeze { map: &map }, 22, 4, &[(0, fd)]);
}

#[test]
fn descriptors_are_stored_by_number() {
    let shape = MapShape {
        kind: 3,
        key_size: 4,
        value_size: 4,
        max_entries: 4,
    };
    let map = MapFd::fake(shape, 1).expect("/dev/null");
    let mut call = Bpf::MapUpdateFd {
        map: &map,
        key: &[0; 4],
        value: map.as_fd(),
    };
    let attr = call.attr().expect("well formed");
    let number = attr.held.number.as_ref().expect("held");
    assert_eq!(number[..4], raw(&map).to_ne_bytes());
    assert_eq!(attr.words[2], number.as_ptr() as u64);
}

#[test]
fn batches() {
    let map = map();
    let (mut position, mut keys, mut values) = ([0; 8], [0; 12], [0; 24]);
    let from = position.as_ptr() as u64;
    let mut batch = |resume, delete| {
        let batch = Batch {
            map: &map,
            delete,
            position: &mut position,
            resume,
            keys: &mut keys,
            values: &mut values,
            room: 3,
        };
        let attr = Bpf::MapBatch(batch).attr().expect("well formed");
        (
            attr.command,
            attr.words[0],
            attr.words[1],
            attr.get_u32(32),
            attr.get_u32(36),
        )
    };
    assert_eq!(batch(false, false), (24, 0, from, 3, raw(&map)));
    assert_eq!(batch(true, true), (25, from, from, 3, raw(&map)));
}

#[test]
fn programs() {
    let map = map();
    let insns = [0; 16];
    let (functions, lines, mut log) = ([0; 8], [0; 32], vec![0; 64]);
    let [insns_low, insns_high] = halves(&insns, 8);
    let [log_low, log_high] = halves(&log, 32);
    let load = ProgramLoad {
        kind: 17,
        name: "main",
        insns: &insns,
        license: "GPL",
        flags: 16,
        attach_type: 23,
        attach_btf_id: 99,
        btf: Some(map.as_fd()),
        func_info: &functions,
        line_info: &lines,
        log_level: 1,
        log: Some(&mut log),
        ..ProgramLoad::default()
    };
    let [functions_low, functions_high] = halves(&functions, 80);
    let [lines_low, lines_high] = halves(&lines, 96);
    check(
        Bpf::ProgramLoad(load),
        5,
        112,
        &[
            (0, 17),
            (4, 2),
            insns_low,
            insns_high,
            (24, 1),
            (28, 64),
            log_low,
            log_high,
            (40, 0),
            (44, 16),
            (48, u32::from_ne_bytes(*b"main")),
            (68, 23),
            (72, raw(&map)),
            (76, 8),
            functions_low,
            functions_high,
            (88, 1),
            (92, 16),
            lines_low,
            lines_high,
            (104, 2),
            (108, 99),
        ],
    );
}

#[test]
fn programs_of_modules() {
    let map = map();
    let fd = map.as_fd();
    let insns = [0; 16];
    let plain = ProgramLoad {
        insns: &insns,
        kernel_version: 7,
        attach_to: Some(fd),
        ..ProgramLoad::default()
    };
    let number = raw(&map);
    check(Bpf::ProgramLoad(plain), 5, 116, &[(40, 7), (112, number)]);
    let modules = [fd, fd];
    let mut load = Bpf::ProgramLoad(ProgramLoad {
        insns: &insns,
        modules: &modules,
        ..ProgramLoad::default()
    });
    let attr = load.attr().expect("well formed");
    let address = attr.held.numbers.as_ptr() as u64;
    let stored = (u64::from(attr.get_u32(124)) << 32) | u64::from(attr.get_u32(120));
    assert_eq!((attr.size, stored), (128, address));
    // The first place stands for vmlinux.
    assert_eq!(attr.held.numbers.len(), 3);
    let load = ProgramLoad {
        insns: &insns,
        token: Some(fd),
        ..ProgramLoad::default()
    };
    check(Bpf::ProgramLoad(load), 5, 148, &[(144, number)]);
}

#[test]
fn types() {
    let map = map();
    let number = raw(&map);
    check(Bpf::BtfNextId { after: 7 }, 23, 12, &[(0, 7)]);
    check(Bpf::BtfById { id: 7 }, 19, 12, &[(0, 7)]);
    let (mut name, mut blob) = ([0; 8], [0; 24]);
    let mut info = Bpf::BtfInfo {
        btf: map.as_fd(),
        name: &mut name,
        blob: &mut blob,
    };
    let mut attr = info.attr().expect("well formed");
    let fields = [attr.get_u32(0), attr.get_u32(4)];
    assert_eq!((attr.command, attr.size, fields), (15, 16, [number, 40]));
    let held = attr.held.btf_info.as_deref_mut().expect("held");
    assert_eq!(held[1].to_ne_bytes()[..4], 24u32.to_ne_bytes());
    assert_eq!(held[3].to_ne_bytes()[..4], 8u32.to_ne_bytes());
    // Size 5, id 6; name of 3 bytes, of the kernel.
    held[1] = u64::from_ne_bytes([5, 0, 0, 0, 6, 0, 0, 0]);
    held[3] = u64::from_ne_bytes([3, 0, 0, 0, 1, 0, 0, 0]);
    let expected = BtfInfo {
        id: 6,
        size: 5,
        kernel: true,
    };
    assert_eq!(BtfInfo::decode(&attr), expected);
    let mut typed = MapCreate {
        shape: SHAPE,
        btf: Some(map.as_fd()),
        key_type: 3,
        value_type: 4,
        inner: Some(map.as_fd()),
        numa_node: 2,
        ..MapCreate::default()
    };
    let fields = [(20, number), (24, 2), (48, number), (52, 3), (56, 4)];
    check(Bpf::MapCreate(typed), 0, 64, &fields);
    typed.extra = 9 << 32 | 5;
    typed.kernel_value_type = 8;
    check(Bpf::MapCreate(typed), 0, 72, &[(60, 8), (64, 5), (68, 9)]);
    typed.module_btf = Some(map.as_fd());
    check(Bpf::MapCreate(typed), 0, 76, &[(72, number)]);
    typed.token = Some(map.as_fd());
    check(Bpf::MapCreate(typed), 0, 80, &[(76, number)]);
    let hash = [7; 32];
    let [low, high] = halves(&hash, 80);
    typed.exclusive = Some(&hash);
    check(Bpf::MapCreate(typed), 0, 92, &[low, high, (88, 32)]);
}

#[test]
fn runs_and_links() {
    let map = map();
    let fd = raw(&map);
    check(Bpf::ProgramNextId { after: 7 }, 11, 12, &[(0, 7)]);
    check(Bpf::ProgramById { id: 7 }, 13, 12, &[(0, 7)]);
    let context = [0; 16];
    let [low, high] = halves(&context, 48);
    let run = TestRun {
        program: Some(map.as_fd()),
        context_in: &context,
        cpu: Some(1),
        ..TestRun::default()
    };
    check(
        Bpf::TestRun(run),
        10,
        72,
        &[(0, fd), (40, 16), low, high, (64, 1), (68, 1)],
    );
    let open = |cookie| Bpf::RawTracepointOpen {
        program: map.as_fd(),
        name: None,
        cookie,
    };
    check(open(0), 17, 12, &[(0, 0), (4, 0), (8, fd)]);
    check(open(5), 17, 24, &[(8, fd), (16, 5)]);
    let link = |attach_type, target| {
        Bpf::LinkCreate(LinkCreate {
            program: map.as_fd(),
            attach_type,
            target,
        })
    };
    check(
        link(28, LinkTarget::Iterator(IterOver::All)),
        28,
        16,
        &[(0, fd), (8, 28)],
    );
    check(
        link(23, LinkTarget::Loaded { cookie: 7 }),
        28,
        32,
        &[(16, 0), (24, 7)],
    );
    let event = LinkTarget::PerfEvent {
        event: map.as_fd(),
        cookie: 7,
    };
    check(link(41, event), 28, 24, &[(4, fd), (8, 41), (16, 7)]);
    let names = [c"one".to_owned(), c"two".to_owned()];
    let multi = LinkTarget::KprobeMulti {
        addresses: &[],
        names: &names,
        cookies: &[1, 2],
        returns: true,
    };
    check(
        link(42, multi),
        28,
        48,
        &[(8, 42), (16, 1), (20, 2), (32, 0), (36, 0)],
    );
    check(Bpf::IterCreate { link: map.as_fd() }, 33, 8, &[(0, fd)]);
    check(Bpf::EnableStats, 32, 4, &[(0, 0)]);
}

#[test]
fn buffers_that_the_kernel_would_overrun_are_refused() {
    let map = map();
    let per_cpu = MapFd::fake(
        MapShape {
            kind: 5,
            value_size: 4,
            ..SHAPE
        },
        3,
    )
    .expect("/dev/null");
    assert_eq!(per_cpu.transfer_size(), 24);
    let lookup = |map: &MapFd, key: usize, value: usize| {
        let (key, mut value) = (vec![0; key], vec![0; value]);
        let mut call = Bpf::MapLookup {
            map,
            key: &key,
            value: &mut value,
        };
        call.attr().map(drop)
    };
    assert_eq!(lookup(&map, 4, 8), Ok(()));
    assert_eq!(lookup(&map, 3, 8), Err(Errno::INVAL));
    assert_eq!(lookup(&map, 4, 7), Err(Errno::INVAL));
    assert_eq!(lookup(&map, 4, 9), Err(Errno::INVAL));
    assert_eq!(lookup(&per_cpu, 4, 24), Ok(()));
    assert_eq!(lookup(&per_cpu, 4, 12), Err(Errno::INVAL));
    let batch = |keys: usize, values: usize, position: usize, room| {
        let (mut keys, mut values) = (vec![0; keys], vec![0; values]);
        let mut position = vec![0; position];
        let batch = Batch {
            map: &map,
            delete: false,
            position: &mut position,
            resume: false,
            keys: &mut keys,
            values: &mut values,
            room,
        };
        Bpf::MapBatch(batch).attr().map(drop)
    };
    assert_eq!(batch(8, 16, 4, 2), Ok(()));
    assert_eq!(batch(8, 16, 4, 3), Err(Errno::INVAL));
    assert_eq!(batch(8, 15, 4, 2), Err(Errno::INVAL));
    assert_eq!(batch(8, 16, 3, 2), Err(Errno::INVAL));
    assert_eq!(batch(0, 0, 4, u32::MAX), Err(Errno::INVAL));
    let mut odd = Bpf::ProgramLoad(ProgramLoad {
        insns: &[0; 12],
        ..ProgramLoad::default()
    });
    assert_eq!(odd.attr().map(drop), Err(Errno::INVAL));
    let mut nul = Bpf::ProgramLoad(ProgramLoad {
        license: "G\0",
        ..ProgramLoad::default()
    });
    assert_eq!(nul.attr().map(drop), Err(Errno::INVAL));
}

#[test]
fn names_are_what_the_kernel_takes() {
    let check = |name: &str, expected: &[u8]| {
        let out = object_name(name);
        assert_eq!(
            out.split(|&byte| byte == 0).next(),
            Some(expected),
            "{name}"
        );
        assert_eq!(out[15], 0);
    };
    check("", b"");
    check("@x", b"_x");
    check("kprobe:vfs_read", b"kprobe_vfs_read");
    check("a_very_long_name_indeed", b"a_very_long_nam");
    check("\u{e9}", b"__");
}

#[test]
fn a_fake_is_asked_what_the_kernel_would_be() {
    let fake = Arc::new(FakeKernel::new(|call| match call {
        Call::Bpf(Bpf::MapCreate(_)) => MapFd::fake(SHAPE, 1).map(Reply::Map),
        Call::Bpf(Bpf::MapLookup { value, .. }) => {
            value.fill(7);
            Ok(Reply::Done)
        }
        _ => Err(Errno::NOSYS),
    }));
    let kernel: &dyn Kernel = &*fake;
    let map = kernel
        .map_create(MapCreate {
            shape: SHAPE,
            flags: 0,
            name: "m",
            ..MapCreate::default()
        })
        .expect("made");
    let mut value = [0; 8];
    assert_eq!(kernel.map_lookup(&map, &[0; 4], &mut value), Ok(()));
    assert_eq!(value, [7; 8]);
    assert_eq!(
        kernel.map_lookup(&map, &[0; 5], &mut value),
        Err(Errno::INVAL)
    );
    assert_eq!(kernel.map_freeze(&map), Err(Errno::NOSYS));
    let names: Vec<_> = fake.calls().iter().map(|call| call.name).collect();
    assert_eq!(
        names,
        ["BPF_MAP_CREATE", "BPF_MAP_LOOKUP_ELEM", "BPF_MAP_FREEZE"]
    );
}

#[test]
fn program_info_is_read_where_the_kernel_writes_it() {
    let mut bytes = [0; ProgramInfo::SIZE];
    let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
    put(0, &17u32.to_ne_bytes());
    put(4, &5u32.to_ne_bytes());
    put(16, &100u32.to_ne_bytes());
    put(20, &80u32.to_ne_bytes());
    put(64, b"main");
    put(192, &9u64.to_ne_bytes());
    put(200, &3u64.to_ne_bytes());
    put(216, &12u32.to_ne_bytes());
    let info = ProgramInfo::decode(&bytes);
    assert_eq!(
        (info.kind, info.id, info.jited_bytes, info.translated_bytes),
        (17, 5, 100, 80)
    );
    assert_eq!((info.run_time, info.runs, info.verified_insns), (9, 3, 12));
    assert_eq!(info.name[..5], *b"main\0");
}

#[test]
fn no_address_is_taken_from_where_a_program_is_described_to() {
    let mut into = [0xff; ProgramInfo::SIZE];
    let map = map();
    let program = map.as_fd();
    let into = &mut into;
    let mut call = Bpf::ProgramInfo { program, into };
    call.attr().expect("it fits");
    let Bpf::ProgramInfo { into, .. } = call else {
        panic!("the same call")
    };
    assert_eq!(*into, [0; ProgramInfo::SIZE]);
}
