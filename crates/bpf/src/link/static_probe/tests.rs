//! USDT probes on a kernel that a test plays.

use std::collections::HashMap;
use std::sync::Arc;

use kscope_spec::{AttachKind, MapKind, MapSpec, ProgramSpec, ProgramType, Spec};
use kscope_sys::{Bpf, Call, Errno, FakeKernel, FileIdentity, MapFd, Reply, SharedKernel};

use super::*;
use crate::denial::Denial;
use crate::loader::Loader;

#[test]
fn places_are_found_in_processes() {
    let check = |line: &str, offset, expected: Option<u64>| {
        let mapped = mapped_at(line, 77, offset);
        assert_eq!(
            mapped.as_ref().map(|found| found.address),
            expected,
            "{line}"
        );
        assert!(mapped.is_none_or(|found| found.device == (0xfd, 1)));
    };
    let line = "7f0000001000-7f0000003000 r-xp 00002000 fd:01 77     /usr/bin/app";
    check(line, 0x2010, Some(0x7f00_0000_1010));
    check(line, 0x3fff, Some(0x7f00_0000_2fff));
    check(line, 0x4000, None);
    check(line, 0x1fff, None);
    let range = "7f0000001000-7f0000003000";
    check(&format!("{range} r--p 00002000 fd:01 77"), 0x2010, None);
    check(&format!("{range} r-xp 00002000 fd:01 78"), 0x2010, None);
    check(&format!("{range} r-xp 00002000 fd 77"), 0x2010, None);
    check(&format!("{range} r-xp 00002000"), 0x2010, None);
    check("", 0, None);
}

/// An ELF header and nothing else: a shared library, or a program.
fn elf(kind: u8) -> Vec<u8> {
    let mut bytes = vec![0; 64];
    bytes[..8].copy_from_slice(b"\x7fELF\x02\x01\x01\0");
    bytes[16] = kind;
    bytes
}

#[test]
fn a_file_is_told_by_device_and_inode() {
    const MAPS: &str = "1000-2000 r-xp 00000000 fd:02 77 /other\n\
        3000-4000 r-xp 00000000 00:20 77 /volume\n\
        5000-6000 r-xp 00000000 fd:01 77 /same\n";
    #[track_caller]
    fn check((major, minor): (u32, u32), of_mapping: Option<(u32, u32)>, expected: Option<u64>) {
        let identity = |(major, minor)| FileIdentity {
            major,
            minor,
            inode: 77,
        };
        let fake = FakeKernel::new(move |call| match call {
            Call::ReadFile(_) => Ok(Reply::Bytes(MAPS.into())),
            Call::Identity(path) if path.ends_with("map_files/3000-4000") => of_mapping
                .map(|device| Reply::Identity(identity(device)))
                .ok_or(Errno::PERM),
            Call::Identity(path) if path.starts_with("/proc") => Err(Errno::PERM),
            Call::Identity(_) => Ok(Reply::Identity(identity((major, minor)))),
            other => panic!("{other:?}"),
        });
        let bytes = elf(3);
        let file = Executable::parse(&bytes).expect("a header");
        let probe = Usdt {
            path: Path::new("/lib/x.so"),
            provider: "a",
            name: "b",
            pid: Some(1),
            cookie: 0,
        };
        let address = address_of(&fake, &file, &probe, 0x10);
        assert_eq!(address.ok(), expected);
    }
    check((0xfd, 1), None, Some(0x5010));
    check((0xfd, 2), None, Some(0x1010));
    // A volume's number of stat(2) is not the one of the list.
    check((0, 0x31), Some((0, 0x31)), Some(0x3010));
    check((0, 0x31), Some((0, 0x32)), None);
    check((0, 0x31), None, None);
}

fn specs_map(kernel: &SharedKernel) -> Map {
    let spec = MapSpec {
        name: SPECS.to_owned(),
        kind: MapKind::Array,
        key_size: 4,
        value_size: SPEC as u32,
        max_entries: 4,
        ..MapSpec::default()
    };
    Map::create(kernel, &spec).expect("made")
}

/// A kernel with one array; `meddle` changes entries after each update.
fn array(meddle: impl Fn(&mut HashMap<Vec<u8>, Vec<u8>>) + Send + 'static) -> SharedKernel {
    let mut entries: HashMap<Vec<u8>, Vec<u8>> = HashMap::new();
    Arc::new(FakeKernel::new(move |call| match call {
        Call::Bpf(Bpf::MapCreate(map)) => MapFd::fake(map.shape, 1).map(Reply::Map),
        Call::Bpf(Bpf::MapLookup { key, value, .. }) => {
            match entries.get(key) {
                Some(known) => value.copy_from_slice(known),
                None => value.fill(0),
            }
            // Time for other threads to look as well.
            std::thread::sleep(std::time::Duration::from_millis(1));
            Ok(Reply::Done)
        }
        Call::Bpf(Bpf::MapUpdate { key, value, .. }) => {
            entries.insert(key.to_vec(), value.to_vec());
            meddle(&mut entries);
            Ok(Reply::Done)
        }
        other => panic!("{other:?}"),
    }))
}

fn spec_with(cookie: u64) -> [u8; SPEC] {
    usdt::spec(62, "-4@%edi", cookie).expect("known here")
}

#[test]
fn entries_are_shared_and_not_taken_twice() {
    let map = specs_map(&array(|_| {}));
    let check = |cookie, expected| {
        assert_eq!(
            entry_for(&map, &spec_with(cookie)),
            Ok(expected),
            "{cookie}"
        );
    };
    check(1, 0);
    check(2, 1);
    check(1, 0);
    check(3, 2);
    check(4, 3);
    let full = entry_for(&map, &spec_with(5)).expect_err("no room");
    assert!(full.to_string().contains("BPF_USDT_MAX_SPEC_CNT"), "{full}");
    // Another process writes the first entry after us.
    let map = specs_map(&array(|entries| {
        entries.insert(vec![0; 4], spec_with(9).to_vec());
    }));
    assert_eq!(entry_for(&map, &spec_with(1)), Ok(1));
}

#[test]
fn threads_take_entries_of_their_own() {
    let map = &specs_map(&array(|_| {}));
    let taken: Vec<u32> = std::thread::scope(|scope| {
        let threads: Vec<_> = (1..=4)
            .map(|cookie| scope.spawn(move || entry_for(map, &spec_with(cookie)).expect("room")))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("no panic"))
            .collect()
    });
    let mut each = taken.clone();
    each.sort_unstable();
    assert_eq!(each, [0, 1, 2, 3], "{taken:?}");
}

/// A program with one USDT probe `a:b` at its start.
fn probed() -> Vec<u8> {
    let note = {
        let mut body = Vec::new();
        body.extend([0x1000u64, 0, 0].map(u64::to_le_bytes).concat());
        body.extend(b"a\0b\0-4@%edi\0");
        let mut note = [8u32, body.len() as u32, 3].map(u32::to_le_bytes).concat();
        note.extend(b"stapsdt\0");
        note.extend(body);
        note.resize(note.len().next_multiple_of(4), 0);
        note
    };
    let names = b"\0.note.stapsdt\0.shstrtab\0";
    let mut bytes = elf(2);
    bytes[18] = 62;
    let mut put = |at: usize, value: u64, size: usize| {
        bytes[at..at + size].copy_from_slice(&value.to_le_bytes()[..size]);
    };
    let notes_at = 64 + 56;
    let names_at = notes_at + note.len();
    let sections_at = names_at + names.len();
    put(32, 64, 8);
    put(54, 56, 2);
    put(56, 1, 2);
    put(40, sections_at as u64, 8);
    put(58, 64, 2);
    put(60, 3, 2);
    put(62, 2, 2);
    // One segment: the file's first page, at 0x1000.
    let words = [1u64 | 5 << 32, 0, 0x1000, 0, 0x1000, 0x1000, 0];
    bytes.extend(words.map(u64::to_le_bytes).concat());
    bytes.extend(&note);
    bytes.extend(names);
    let mut section = |name: u32, kind: u32, at: usize, size: usize| {
        bytes.extend([name, kind].map(u32::to_le_bytes).concat());
        let words = [0u64, 0, at as u64, size as u64, 0, 0, 0];
        bytes.extend(words.map(u64::to_le_bytes).concat());
    };
    section(0, 0, 0, 0);
    section(1, 7, notes_at, note.len());
    section(15, 3, names_at, names.len());
    bytes
}

#[test]
fn who_lacks_the_privilege_is_told_so() {
    let loads = std::sync::atomic::AtomicUsize::new(0);
    let fake: SharedKernel = Arc::new(FakeKernel::new(move |call| match call {
        Call::Bpf(Bpf::MapCreate(map)) => MapFd::fake(map.shape, 1).map(Reply::Map),
        Call::Bpf(Bpf::MapLookup { value, .. }) => {
            value.fill(0);
            Ok(Reply::Done)
        }
        // The privileges are dropped once the program is loaded.
        Call::Bpf(Bpf::ProgramLoad(_)) => {
            match loads.fetch_add(1, std::sync::atomic::Ordering::Relaxed) {
                0 => FakeKernel::object(),
                _ => Err(Errno::PERM),
            }
        }
        Call::Capabilities => Ok(Reply::Number(0)),
        Call::ReadFile(path) if path.ends_with("app") => Ok(Reply::Bytes(probed())),
        Call::ReadFile(_) => Err(Errno::NOENT),
        Call::Bpf(_) => Ok(Reply::Done),
        _ => Err(Errno::NOENT),
    }));
    let map = MapSpec {
        name: SPECS.to_owned(),
        kind: MapKind::Array,
        key_size: 4,
        value_size: SPEC as u32,
        max_entries: 4,
        ..MapSpec::default()
    };
    let program = ProgramSpec {
        name: "p".to_owned(),
        kind: ProgramType::Kprobe,
        attach: AttachKind::None,
        ..ProgramSpec::default()
    };
    let spec = Spec {
        programs: vec![program],
        maps: vec![map],
        ..Spec::default()
    };
    let object = Loader::new(fake).load(&spec).expect("loaded");
    let probe = Usdt {
        path: Path::new("/bin/app"),
        provider: "a",
        name: "b",
        pid: None,
        cookie: 0,
    };
    let program = object.program_named("p").expect("loaded");
    let absent = Usdt {
        name: "bb",
        ..probe
    };
    let error = object.attach_usdt(program, &absent).expect_err("not there");
    let expected = "there is no USDT probe /bin/app:a:bb; did you mean a:b?";
    assert_eq!(error.to_string(), expected);
    assert!(
        error
            .way_out()
            .is_some_and(|way_out| way_out.contains("readelf -n"))
    );
    let error = object.attach_usdt(program, &probe).expect_err("refused");
    let cause = Denial::Capability {
        missing: vec!["CAP_BPF", "CAP_PERFMON"],
    };
    let call = "attaching a USDT probe";
    assert_eq!(error, Error::permission(call, cause));
}
