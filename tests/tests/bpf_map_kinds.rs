//! Kinds of maps beyond hashes and arrays, and maps as objects: pinned, found, frozen, mapped.

use std::fs::File;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::AsFd;

use kscope_bpf::spec::{AttachKind, MapKind, MapSpec, ProgramId, ProgramType};
use kscope_bpf::sys::{CpuSet, Errno, SharedKernel};
use kscope_bpf::{Error, Map, TestInput, UpdateMode, UserRing, lpm_key};
use kscope_tests::assembly::{Assembly, has_wide_exchange};
use kscope_tests::pins::Pins;
use kscope_tests::{kernel_or_skip, skip};

const NO_PREALLOC: u32 = 1;
const MMAPABLE: u32 = 1 << 10;

fn spec(kind: MapKind, sizes: (u32, u32), entries: u32) -> MapSpec {
    MapSpec {
        name: "a_map".to_owned(),
        kind,
        key_size: sizes.0,
        value_size: sizes.1,
        max_entries: entries,
        ..MapSpec::default()
    }
}

fn create(kernel: &SharedKernel, kind: MapKind, sizes: (u32, u32), entries: u32) -> Map {
    let made = Map::create(kernel, &spec(kind, sizes, entries));
    made.unwrap_or_else(|error| panic!("{kind:?}: {error}"))
}

fn key(number: u32) -> [u8; 4] {
    number.to_ne_bytes()
}

#[test]
fn queues_and_stacks_give_back_in_their_order() {
    let kernel = kernel_or_skip!();
    for (kind, next) in [(MapKind::Queue, 1u8), (MapKind::Stack, 3)] {
        let map = create(&kernel, kind, (0, 2), 3);
        assert_eq!(map.pop(), Ok(None));
        assert_eq!(map.peek(), Ok(None));
        for number in 1..=3 {
            map.push(&[number, 0], false).expect("room");
        }
        let full = map.push(&[4, 0], false).expect_err("full");
        assert_eq!(full.errno(), Some(Errno::TOO_BIG));
        assert_eq!(map.peek(), Ok(Some(vec![next, 0])));
        assert_eq!(map.pop(), Ok(Some(vec![next, 0])), "{kind:?}");
        map.push(&[5, 0], false).expect("room");
        map.push(&[6, 0], true).expect("the oldest goes");
        let rest: Vec<u8> = std::iter::from_fn(|| map.pop().expect("readable"))
            .map(|value| value[0])
            .collect();
        let expected = match kind {
            MapKind::Queue => [3, 5, 6],
            _ => [6, 5, 2],
        };
        assert_eq!(rest, expected, "{kind:?}");
        assert!(matches!(map.push(&[1], false), Err(Error::Invalid { .. })));
        assert!(matches!(map.snapshot(), Err(Error::Invalid { .. })));
    }
    let array = create(&kernel, MapKind::Array, (4, 4), 1);
    assert_eq!(
        array.pop().expect_err("no queue").to_string(),
        "map a_map of kind Array has no next value"
    );
}

#[test]
fn bloom_filters_know_what_they_were_given() {
    let kernel = kernel_or_skip!();
    let map = match Map::create(&kernel, &spec(MapKind::BloomFilter, (0, 4), 100)) {
        Err(error @ Error::Unsupported { .. }) => {
            assert!(error.to_string().contains("Linux 5.16"), "{error}");
            skip!("bloom_filter", "{error}");
        }
        map => map.expect("made"),
    };
    assert_eq!(map.may_contain(&key(1)), Ok(false));
    for number in 0..20 {
        map.add(&key(number)).expect("room");
    }
    assert!((0..20).all(|number| map.may_contain(&key(number)) == Ok(true)));
    let wrong = (1000..2000).filter(|&number| map.may_contain(&key(number)) == Ok(true));
    assert!(wrong.count() < 200, "a filter that knows all");
}

#[test]
fn tries_find_the_longest_prefix() {
    let kernel = kernel_or_skip!();
    let made = Map::create(
        &kernel,
        &MapSpec {
            flags: NO_PREALLOC,
            ..spec(MapKind::LpmTrie, (8, 1), 10)
        },
    );
    let map = made.expect("every kernel");
    let put = |bits, address: [u8; 4], value| {
        map.update(&lpm_key(bits, &address), &[value], UpdateMode::Any)
            .expect("room");
    };
    put(0, [0; 4], 1);
    put(8, [10, 0, 0, 0], 2);
    put(24, [10, 1, 2, 0], 3);
    let find = |address: [u8; 4]| map.lookup(&lpm_key(32, &address)).expect("readable");
    assert_eq!(find([10, 1, 2, 9]), Some(vec![3]));
    assert_eq!(find([10, 9, 9, 9]), Some(vec![2]));
    assert_eq!(find([9, 9, 9, 9]), Some(vec![1]));
    assert_eq!(map.snapshot().expect("readable").len(), 3);
    assert_eq!(map.delete(&lpm_key(0, &[0; 4])), Ok(true));
    assert_eq!(find([9, 9, 9, 9]), None);
}

#[test]
fn entries_are_written_taken_and_deleted_in_bulk() {
    let kernel = kernel_or_skip!();
    for kind in [
        MapKind::Hash,
        MapKind::LruHash,
        MapKind::PerCpuHash,
        MapKind::Array,
        MapKind::PerCpuArray,
    ] {
        let map = create(&kernel, kind, (4, 8), 1000);
        let keys: Vec<u8> = (0..500).flat_map(key).collect();
        let mut values = vec![0; 500 * map.transfer_size()];
        for (number, value) in values.chunks_exact_mut(8).enumerate() {
            value.copy_from_slice(&(number as u64).to_ne_bytes());
        }
        assert_eq!(
            map.update_many(&keys, &values, UpdateMode::Any),
            Ok(500),
            "{kind:?}"
        );
        let one = map.transfer_size();
        for number in [0, 1, 250, 499] {
            let found = map.lookup(&key(number)).expect("readable").expect("there");
            assert_eq!(found, values[number as usize * one..][..one], "{kind:?}");
        }
        let few = map.update_many(&keys, &values[1..], UpdateMode::Any);
        assert!(matches!(few, Err(Error::Invalid { .. })));
        let bent = map.update_many(&keys[1..], &values, UpdateMode::Any);
        assert!(matches!(bent, Err(Error::Invalid { .. })));
        assert_eq!(map.update_many(&[], &[], UpdateMode::Any), Ok(0));
        if matches!(kind, MapKind::Array | MapKind::PerCpuArray) {
            continue;
        }
        assert_eq!(map.take(&key(7)).map(|value| value.is_some()), Ok(true));
        assert_eq!(map.take(&key(7)), Ok(None));
        // One of them is gone already.
        assert_eq!(map.delete_many(&keys[..40]), Ok(9), "{kind:?}");
        assert_eq!(map.delete_many(&keys[40..80]), Ok(10), "{kind:?}");
        assert_eq!(map.snapshot().expect("readable").len(), 480);
    }
}

#[test]
fn every_cpu_has_its_value() {
    let kernel = kernel_or_skip!();
    let cpus = kernel.cpus(CpuSet::Possible).expect("sysfs").len();
    // A size that is rounded up in between.
    for (kind, size) in [(MapKind::PerCpuHash, 4), (MapKind::PerCpuArray, 12)] {
        let map = create(&kernel, kind, (4, size), 2);
        let mut values = map.zero_cpus().expect("per CPU");
        assert_eq!(values.cpus(), cpus);
        for cpu in 0..cpus {
            values.get_mut(cpu).expect("there")[0] = cpu as u8 + 1;
        }
        assert!(values.get_mut(cpus).is_none());
        map.update_cpus(&key(1), &values, UpdateMode::Any)
            .expect("room");
        let back = map.lookup_cpus(&key(1)).expect("readable").expect("there");
        assert_eq!(back, values, "{kind:?}");
        assert!(back.iter().all(|value| value.len() == size as usize));
        let sum = (cpus * (cpus + 1) / 2) as u64;
        assert_eq!(back.sum(), (size == 4).then_some(sum));
    }
    let hash = create(&kernel, MapKind::Hash, (4, 4), 2);
    assert!(matches!(hash.zero_cpus(), Err(Error::Invalid { .. })));
}

#[test]
fn locks_are_only_where_values_have_one() {
    let kernel = kernel_or_skip!();
    let map = create(&kernel, MapKind::Array, (4, 8), 1);
    for error in [
        map.lookup_locked(&key(0)).map(drop),
        map.update_locked(&key(0), &[0; 8], UpdateMode::Any),
    ] {
        assert_eq!(error.expect_err("no lock").errno(), Some(Errno::INVAL));
    }
}

#[test]
fn maps_hold_maps() {
    let kernel = kernel_or_skip!();
    let inner = spec(MapKind::Array, (4, 4), 2);
    for kind in [MapKind::ArrayOfMaps, MapKind::HashOfMaps] {
        // Made by the loader, which alone knows what is to be inside.
        let mut assembly = Assembly::new();
        assembly.spec.maps.push(MapSpec {
            inner: Some(Box::new(inner.clone())),
            ..spec(kind, (4, 4), 3)
        });
        let object = assembly.load_all(&kernel);
        let outer = object.map_named("a_map").expect("made");
        assert_eq!(outer.inner(&key(1)).expect("readable").map(drop), None);
        let one = create(&kernel, MapKind::Array, (4, 4), 2);
        one.update(&key(1), &[9; 4], UpdateMode::Any).expect("room");
        outer.set_map(&key(1), &one).expect("as it wants them");
        let again = outer.inner(&key(1)).expect("readable").expect("there");
        assert_eq!(again.lookup(&key(1)), Ok(Some(vec![9; 4])));
        assert_eq!(
            again.details().expect("there").id,
            one.details().expect("there").id
        );
        assert_eq!(again.name(), "a_map");
        let other = create(&kernel, MapKind::Array, (4, 8), 2);
        assert!(outer.set_map(&key(2), &other).is_err(), "other sizes");
        assert!(matches!(one.inner(&key(0)), Err(Error::Invalid { .. })));
        assert_eq!(outer.delete(&key(1)), Ok(true));
        assert_eq!(outer.inner(&key(1)).expect("readable").map(drop), None);
    }
}

#[test]
fn arrays_hold_programs() {
    let kernel = kernel_or_skip!();
    let object = Assembly::new()
        .map("jumps", MapKind::ProgArray, (4, 4), 2)
        .raw(
            "main",
            "r2 = map(jumps) ll\nr3 = 1\ncall tail_call\nr0 = 1\nexit",
        )
        .raw("other", "r0 = 2\nexit")
        .load_all(&kernel);
    let jumps = object.map_named("jumps").expect("there");
    let (main, other) = (
        object.program(ProgramId(0)).expect("loaded"),
        object.program(ProgramId(1)).expect("loaded"),
    );
    let run = || main.test_run(&TestInput::default()).expect("runs").result;
    assert_eq!(run(), 1);
    assert_eq!(jumps.program_id(1), Ok(None));
    jumps.set_program(1, other).expect("the same type");
    assert_eq!(
        jumps.program_id(1),
        Ok(Some(other.info().expect("loaded").id))
    );
    assert_eq!(run(), 2);
    assert_eq!(jumps.delete(&key(1)), Ok(true));
    assert_eq!(run(), 1);
    let map = create(&kernel, MapKind::Array, (4, 4), 1);
    assert!(matches!(
        map.set_program(0, other),
        Err(Error::Invalid { .. })
    ));
}

#[test]
fn maps_hold_sockets() {
    let kernel = kernel_or_skip!();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let client = TcpStream::connect(listener.local_addr().expect("bound")).expect("connected");
    for (kind, size) in [
        (MapKind::SockMap, 4),
        (MapKind::SockMap, 8),
        (MapKind::SockHash, 4),
    ] {
        let map = create(&kernel, kind, (4, size), 2);
        map.set_socket(&key(1), client.as_fd())
            .expect("a TCP socket");
        let null = File::open("/dev/null").expect("there");
        assert!(map.set_socket(&key(0), null.as_fd()).is_err(), "no socket");
        assert_eq!(map.delete(&key(1)), Ok(true));
    }
}

#[test]
fn programs_read_what_a_process_tells_them() {
    let kernel = kernel_or_skip!();
    let text = "r1 = map(ring) ll\nr2 = func(fn_each) ll\nr3 = 0\nr4 = 0\ncall user_ringbuf_drain\n\
        exit\n\
        fn_each: r6 = r1\nr1 = r10\nr1 += -8\nr2 = 8\nr3 = r6\nr4 = 0\nr5 = 0\n\
        call dynptr_read\nr1 = *(u64 *)(r10 - 8)\nr2 = map_value(sum) + 0 ll\n\
        lock *(u64 *)(r2 + 0) += r1\nr0 = 0\nexit";
    let assembly = || {
        Assembly::new()
            .map("ring", MapKind::UserRingBuf, (0, 0), 4096)
            .map("sum", MapKind::Array, (4, 8), 1)
    };
    let object = match assembly().load(&kernel) {
        Err(error @ Error::Unsupported { .. }) => {
            assert!(error.to_string().contains("Linux 6.1"), "{error}");
            skip!("user_ring", "{error}");
        }
        object => object.expect("maps"),
    };
    let map = object.map_named("ring").expect("there");
    let mut ring = UserRing::new(map).expect("its first producer");
    assert!(UserRing::new(map).is_err(), "one at a time");
    let mut pushed = 0;
    while ring.push(&u64::to_ne_bytes(3)).expect("small") {
        pushed += 1;
    }
    assert_eq!(pushed, 4096 / 16);
    assert_eq!(ring.pending(), 4096);
    let never = ring.push(&[0; 4096]).expect_err("too long");
    assert_eq!(
        never.to_string(),
        "a record of 4096 bytes never fits into map ring"
    );
    let whole = assembly().program("drain", ProgramType::RawTracepoint, AttachKind::None, text);
    let object = whole.load_all(&kernel);
    let mut ring = UserRing::new(object.map_named("ring").expect("there")).expect("mapped");
    for _ in 0..5 {
        for number in 1..=200u64 {
            assert_eq!(ring.push(&number.to_ne_bytes()), Ok(true));
        }
        let program = object.program(ProgramId(0)).expect("loaded");
        let read = program.test_run(&TestInput::default()).expect("runs");
        assert_eq!(read.result, 200);
        assert_eq!(ring.pending(), 0);
    }
    let sum = object.map_named("sum").expect("there").lookup(&key(0));
    assert_eq!(sum, Ok(Some((5 * 200 * 201 / 2u64).to_ne_bytes().to_vec())));
}

#[test]
fn maps_that_are_closed_to_system_calls_say_so() {
    let kernel = kernel_or_skip!();
    let map = |flags| {
        let spec = MapSpec {
            flags,
            ..spec(MapKind::Array, (4, 4), 1)
        };
        Map::create(&kernel, &spec).expect("Linux 4.15")
    };
    let told = |outcome: Result<(), Error>| outcome.expect_err("closed").to_string();
    let written = told(map(1 << 3).update(&key(0), &[0; 4], UpdateMode::Any));
    assert!(written.contains("(BPF_F_RDONLY): EPERM"), "{written}");
    let read = told(map(1 << 4).lookup(&key(0)).map(drop));
    assert!(read.contains("(BPF_F_WRONLY): EPERM"), "{read}");
}

#[test]
fn arrays_and_arenas_are_mapped() {
    let kernel = kernel_or_skip!();
    let made = Map::create(
        &kernel,
        &MapSpec {
            flags: MMAPABLE,
            ..spec(MapKind::Array, (4, 12), 1000)
        },
    );
    let map = made.expect("Linux 5.5");
    let values = map.mapped(true).expect("mapped");
    // Values begin at multiples of 8 bytes.
    values.write(3 * 16, &[5; 12]).expect("inside");
    assert_eq!(map.lookup(&key(3)), Ok(Some(vec![5; 12])));
    map.update(&key(999), &[6; 12], UpdateMode::Any)
        .expect("room");
    let mut seen = [0; 12];
    values.read(999 * 16, &mut seen).expect("inside");
    assert_eq!(seen, [6; 12]);
    let busy = map.freeze().expect_err("mapped for writing");
    assert_eq!(busy.errno(), Some(Errno::BUSY));
    drop(values);
    map.freeze().expect("nobody writes");
    let refused = map.update(&key(0), &[0; 12], UpdateMode::Any);
    assert!(refused.is_err(), "frozen");
    assert!(map.mapped(true).is_err(), "frozen");
    assert!(map.mapped(false).is_ok());
    assert_eq!(map.details().expect("there").frozen, Some(true));
    let plain = create(&kernel, MapKind::Array, (4, 12), 1);
    assert!(matches!(plain.mapped(false), Err(Error::Invalid { .. })));
    let arena = Map::create(
        &kernel,
        &MapSpec {
            flags: MMAPABLE,
            ..spec(MapKind::Arena, (0, 0), 10)
        },
    );
    let arena = match arena {
        Err(error @ Error::Unsupported { .. }) => {
            assert!(error.to_string().contains("Linux 6.9"), "{error}");
            skip!("arena", "{error}");
        }
        Err(error) if error.errno() == Some(Errno::NOMEM) && !has_wide_exchange() => skip!(
            "cmpxchg16b",
            "kernels that take this memory without locks need a CPU with cmpxchg16b"
        ),
        arena => arena.expect("made"),
    };
    let pages = arena.mapped(true).expect("mapped");
    pages.write(9 * 4096 + 8, b"arena").expect("the last page");
    let mut seen = [0; 5];
    pages.read(9 * 4096 + 8, &mut seen).expect("inside");
    assert_eq!(&seen, b"arena");
    assert_eq!(pages.read(10 * 4096, &mut seen), None);
}

#[test]
fn maps_are_pinned_found_and_listed() {
    let kernel = kernel_or_skip!();
    let map = create(&kernel, MapKind::PerCpuHash, (4, 8), 5);
    map.update(&key(1), &[3; 8], UpdateMode::Any).expect("room");
    let details = map.details().expect("there");
    assert_eq!(
        (details.name.as_str(), details.frozen),
        ("a_map", Some(false))
    );
    assert!(details.memory.is_some_and(|bytes| bytes > 0));
    assert!(Map::ids(&kernel).expect("root").contains(&details.id));
    let again = Map::by_id(&kernel, details.id).expect("there");
    assert_eq!(again.details(), map.details());
    assert_eq!((again.kind(), again.value_size()), (MapKind::PerCpuHash, 8));
    assert_eq!(again.lookup(&key(1)), map.lookup(&key(1)));
    assert!(matches!(
        Map::by_id(&kernel, u32::MAX),
        Err(Error::NotFound { .. })
    ));
    let pins = match Pins::mount(&kernel) {
        Ok(pins) => pins,
        Err(reason) => skip!("bpffs", "{reason}"),
    };
    let path = pins.path("map");
    map.pin(&path).expect("pinned");
    drop((map, again));
    let opened = Map::open_pinned(&kernel, &path).expect("pinned");
    assert_eq!(opened.details().expect("there").id, details.id);
    std::fs::remove_file(&path).expect("there");
    assert!(matches!(
        Map::open_pinned(&kernel, &path),
        Err(Error::NotFound { .. })
    ));
    let nowhere = opened.pin(pins.path("no/folder"));
    assert!(
        matches!(nowhere, Err(Error::NotFound { .. })),
        "{nowhere:?}"
    );
    // What is no map is not taken for one.
    let program = Assembly::new()
        .raw("main", "r0 = 0\nexit")
        .load_all(&kernel);
    let program = program.program(ProgramId(0)).expect("loaded");
    let name = std::ffi::CString::new(pins.path("program").to_str().expect("text")).expect("text");
    kernel.pin(&name, program.as_fd()).expect("pinned");
    let wrong = Map::open_pinned(&kernel, pins.path("program")).expect_err("a program");
    assert!(wrong.to_string().ends_with("is no map"), "{wrong}");
    // Where the kernel writes depends on what it is asked of.
    let descriptor = opened.as_fd();
    let types = kernel.btf_info(descriptor, &mut [0; 64], &mut []);
    assert_eq!(types.err(), Some(Errno::INVAL));
    assert_eq!(kernel.program_image(descriptor).err(), Some(Errno::INVAL));
    // Nor what is no link for one: the kernel tells of both in the same way.
    opened.pin(&path).expect("pinned");
    for name in ["map", "program"] {
        let wrong = kscope_bpf::Link::open_pinned(&kernel, pins.path(name));
        let wrong = wrong.expect_err(name).to_string();
        assert!(wrong.ends_with("is no BPF link"), "{wrong}");
    }
}

#[test]
fn walks_survive_deletion() {
    let kernel = kernel_or_skip!();
    let map = create(&kernel, MapKind::Hash, (4, 8), 2000);
    let keys: Vec<u8> = (0..2000).flat_map(key).collect();
    let values = vec![1; 2000 * 8];
    map.update_many(&keys, &values, UpdateMode::Any)
        .expect("room");
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut number = 0u32;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                // The first thousand come and go; the others stay.
                let _ = map.delete(&key(number % 1000));
                let _ = map.update(&key((number + 500) % 1000), &[2; 8], UpdateMode::Any);
                number = number.wrapping_add(7);
            }
        });
        for _ in 0..50 {
            let snapshot = map.snapshot().expect("readable");
            let mut stay = std::collections::BTreeSet::new();
            let mut all = std::collections::BTreeSet::new();
            for entry in snapshot.entries() {
                let number = u32::from_ne_bytes(entry.key.try_into().expect("4 bytes"));
                assert!(all.insert(number), "{number} twice");
                if number >= 1000 {
                    stay.insert(number);
                }
            }
            assert_eq!(stay.len(), 1000, "those that stay are all there");
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}

#[test]
fn objects_have_values_of_their_own() {
    let kernel = kernel_or_skip!();
    let map = create(&kernel, MapKind::Hash, (4, 4), 1);
    let null = File::open("/dev/null").expect("there");
    let wrong = map.lookup_for(null.as_fd());
    assert_eq!(
        wrong.expect_err("no storage").to_string(),
        "map a_map of kind Hash has no values of objects"
    );
}

#[test]
fn sizes_of_rings_are_rounded() {
    let kernel = kernel_or_skip!();
    for (asked, given) in [(1, 4096), (1000, 4096), (5000, 8192), (8192, 8192)] {
        let ring = create(&kernel, MapKind::RingBuf, (0, 0), asked);
        assert!(
            ring.max_entries() >= given && ring.max_entries().is_power_of_two(),
            "{asked} bytes became {}",
            ring.max_entries()
        );
    }
}
