//! Every kind of map on a kernel.

use std::collections::BTreeMap;

use kscope_bpf::btf::{Kind, Type};
use kscope_bpf::spec::{AttachKind, MapId, MapKind, MapSpec, ProgramId, ProgramType};
use kscope_bpf::sys::{CpuSet, Errno, SharedKernel};
use kscope_bpf::{Error, Loader, Map, TestInput, UpdateMode};
use kscope_tests::assembly::{Assembly, kernel_types};
use kscope_tests::{kernel_or_skip, skip};

fn create(kernel: &SharedKernel, kind: MapKind, sizes: (u32, u32), entries: u32) -> Map {
    let (key_size, value_size) = sizes;
    let spec = MapSpec {
        name: "a-map".to_owned(),
        kind,
        key_size,
        value_size,
        max_entries: entries,
        flags: 0,
        initial: None,
        frozen: false,
        ..MapSpec::default()
    };
    Map::create(kernel, &spec).unwrap_or_else(|error| panic!("{kind:?}: {error}"))
}

/// Reads a map whose keys and values are numbers; per-CPU values are summed.
fn numbers(map: &Map) -> BTreeMap<u32, u64> {
    let snapshot = map.snapshot().expect("readable");
    let mut out = BTreeMap::new();
    for entry in snapshot.entries() {
        let key = u32::from_ne_bytes(entry.key.try_into().expect("4 bytes"));
        let number = |value: &[u8]| u64::from_ne_bytes(value.try_into().expect("8 bytes"));
        assert!(
            out.insert(key, entry.values().map(number).sum()).is_none(),
            "{key} twice"
        );
    }
    out
}

#[test]
fn hash_kinds_keep_what_they_are_given() {
    let kernel = kernel_or_skip!();
    let cpus = kernel.cpus(CpuSet::Possible).expect("sysfs").len() as u64;
    for kind in [
        MapKind::Hash,
        MapKind::LruHash,
        MapKind::PerCpuHash,
        MapKind::LruPerCpuHash,
    ] {
        let map = create(&kernel, kind, (4, 8), 4096);
        let times = if map.is_per_cpu() { cpus } else { 1 };
        assert!(map.snapshot().expect("readable").is_empty());
        assert_eq!(map.next_key(None), Ok(None));
        for key in 0u32..1000 {
            let value = u64::from(key) * 3;
            map.update(&key.to_ne_bytes(), &value.to_ne_bytes(), UpdateMode::Any)
                .expect("room");
        }
        let expected: BTreeMap<_, _> = (0..1000)
            .map(|key| (key, u64::from(key) * 3 * times))
            .collect();
        assert_eq!(numbers(&map), expected, "{kind:?}");
        assert_eq!(map.delete(&5u32.to_ne_bytes()), Ok(true));
        assert_eq!(map.delete(&5u32.to_ne_bytes()), Ok(false));
        assert_eq!(map.lookup(&5u32.to_ne_bytes()), Ok(None));
        let six = map
            .lookup(&6u32.to_ne_bytes())
            .expect("readable")
            .expect("there");
        assert_eq!(six.len(), 8 * times as usize);
        let again = map.update(&6u32.to_ne_bytes(), &[0; 8], UpdateMode::Create);
        assert_eq!(again.expect_err("there").errno(), Some(Errno::EXIST));
        let absent = map.update(&5u32.to_ne_bytes(), &[0; 8], UpdateMode::Replace);
        assert_eq!(absent.expect_err("deleted").errno(), Some(Errno::NOENT));
        let taken = map.take_all().expect("readable");
        assert_eq!(taken.len(), 999);
        assert!(map.snapshot().expect("readable").is_empty(), "{kind:?}");
    }
}

#[test]
fn keys_of_all_sizes_are_walked() {
    let kernel = kernel_or_skip!();
    for size in [1u32, 3, 4, 16, 64] {
        let map = create(&kernel, MapKind::Hash, (size, 5), 300);
        for number in 0..200u8 {
            let mut key = vec![0; size as usize];
            key[0] = number;
            map.update(&key, &[number; 5], UpdateMode::Any)
                .expect("room");
        }
        let snapshot = map.snapshot().expect("readable");
        assert_eq!(snapshot.len(), 200, "keys of {size} bytes");
        assert!(
            snapshot
                .entries()
                .all(|entry| entry.value() == [entry.key[0]; 5])
        );
        map.clear().expect("writable");
        assert!(map.snapshot().expect("readable").is_empty());
    }
}

#[test]
fn arrays_have_all_entries_and_are_cleared_to_zero() {
    let kernel = kernel_or_skip!();
    let cpus = kernel.cpus(CpuSet::Possible).expect("sysfs").len() as u64;
    for kind in [MapKind::Array, MapKind::PerCpuArray] {
        let map = create(&kernel, kind, (4, 8), 3);
        let times = if map.is_per_cpu() { cpus } else { 1 };
        map.update(&1u32.to_ne_bytes(), &7u64.to_ne_bytes(), UpdateMode::Any)
            .expect("there");
        assert_eq!(
            numbers(&map),
            BTreeMap::from([(0, 0), (1, 7 * times), (2, 0)])
        );
        let kept = map.delete(&1u32.to_ne_bytes()).expect_err("never");
        assert_eq!(kept.errno(), Some(Errno::INVAL));
        assert!(kept.way_out().is_some_and(|way| way.contains("zeros")));
        let taken = map.take_all().expect("readable");
        assert_eq!(taken.len(), 3);
        assert_eq!(numbers(&map), BTreeMap::from([(0, 0), (1, 0), (2, 0)]));
        let past = map.update(&3u32.to_ne_bytes(), &[0; 8], UpdateMode::Any);
        let past = past.expect_err("past the end");
        assert_eq!(past.errno(), Some(Errno::TOO_BIG));
        assert!(past.way_out().is_some_and(|way| way.contains("index")));
    }
}

#[test]
fn per_cpu_values_are_those_of_their_cpu() {
    let kernel = kernel_or_skip!();
    // Adds its first argument to entry 0 on the CPU it runs on.
    let text = "r6 = *(u64 *)(r1 + 0)\n*(u32 *)(r10 - 4) = 0\nr2 = r10\nr2 += -4\n\
                r1 = map(counts) ll\ncall map_lookup_elem\nif r0 == 0 goto out\n\
                r1 = *(u32 *)(r0 + 0)\nr1 += r6\n*(u32 *)(r0 + 0) = r1\nout: r0 = 0\nexit";
    let object = Assembly::new()
        .map("counts", MapKind::PerCpuArray, (4, 4), 1)
        .raw("count", text)
        .load_all(&kernel);
    let program = object.program(ProgramId(0)).expect("loaded");
    let possible = kernel.cpus(CpuSet::Possible).expect("sysfs");
    let online = kernel.cpus(CpuSet::Online).expect("sysfs");
    for &cpu in &online {
        let context = (u64::from(cpu) + 100).to_ne_bytes();
        let input = TestInput {
            context: &context,
            cpu: Some(cpu),
            ..TestInput::default()
        };
        program.test_run(&input).expect("runs");
    }
    let map = object.map_named("counts").expect("there");
    // Values of 4 bytes lie 8 apart.
    assert_eq!(map.transfer_size(), possible.len() * 8);
    let snapshot = map.snapshot().expect("readable");
    let entry = snapshot.entries().next().expect("one");
    let values: Vec<_> = entry
        .values()
        .map(|value| u32::from_ne_bytes(value.try_into().expect("4 bytes")))
        .collect();
    let expected: Vec<_> = possible
        .iter()
        .map(|cpu| if online.contains(cpu) { cpu + 100 } else { 0 })
        .collect();
    assert_eq!(values, expected);
}

#[test]
fn a_full_hash_refuses_and_an_lru_hash_forgets() {
    let kernel = kernel_or_skip!();
    let fill = |map: &Map| {
        (0u32..64).try_for_each(|key| map.update(&key.to_ne_bytes(), &[0; 8], UpdateMode::Any))
    };
    let error = fill(&create(&kernel, MapKind::Hash, (4, 8), 8)).expect_err("full");
    assert_eq!(error.errno(), Some(Errno::TOO_BIG));
    assert!(error.way_out().is_some_and(|way| way.contains("is full")));
    let lru = create(&kernel, MapKind::LruHash, (4, 8), 8);
    fill(&lru).expect("never full");
    let kept = lru.snapshot().expect("readable").len();
    assert!((1..=8).contains(&kept), "{kept}");
}

#[test]
fn program_arrays_chain_programs() {
    let kernel = kernel_or_skip!();
    let jump = "r2 = map(jumps) ll\nr3 = 1\ncall tail_call\nr0 = 7\nexit";
    let object = Assembly::new()
        .map("jumps", MapKind::ProgArray, (4, 4), 4)
        .raw("first", jump)
        .raw("second", "r0 = 42\nexit")
        .load_all(&kernel);
    let first = object.program(ProgramId(0)).expect("loaded");
    let second = object.program(ProgramId(1)).expect("loaded");
    let run = || first.test_run(&TestInput::default()).expect("runs").result;
    assert_eq!(run(), 7);
    let map = object.map(MapId(0)).expect("there");
    use std::os::fd::AsFd;
    map.update_fd(1, second.as_fd()).expect("same type");
    assert_eq!(run(), 42);
    // Read, an entry is its program's id.
    let ids = map.snapshot().expect("readable");
    let id = second.info().expect("loaded").id.to_ne_bytes();
    assert!(ids.entries().any(|entry| entry.value() == id));
    assert_eq!(map.delete(&1u32.to_ne_bytes()), Ok(true));
    assert_eq!(run(), 7);
    assert!(map.snapshot().expect("readable").is_empty());
}

#[test]
fn stack_traces_are_kept_by_id() {
    let kernel = kernel_or_skip!();
    let object = Assembly::new()
        .map("stacks", MapKind::StackTrace, (4, 8 * 20), 64)
        .program(
            "stack",
            ProgramType::RawTracepoint,
            AttachKind::None,
            "r2 = map(stacks) ll\nr3 = 0\ncall get_stackid\nexit",
        )
        .load_all(&kernel);
    let program = object.program(ProgramId(0)).expect("loaded");
    let id = program
        .test_run(&TestInput::default())
        .expect("runs")
        .result;
    assert!(id as i32 >= 0, "get_stackid gave {}", id as i32);
    let map = object.map(MapId(0)).expect("there");
    let stack = map
        .lookup(&id.to_ne_bytes())
        .expect("readable")
        .expect("kept");
    let first = u64::from_ne_bytes(stack[..8].try_into().expect("8 bytes"));
    assert!(
        first >= 0xffff_0000_0000_0000,
        "{first:#x} is no kernel address"
    );
    let snapshot = map.snapshot().expect("readable");
    assert_eq!(
        snapshot
            .entries()
            .map(|entry| entry.key.to_vec())
            .collect::<Vec<_>>(),
        [id.to_ne_bytes().to_vec()]
    );
}

#[test]
fn wrong_sizes_are_refused_before_the_kernel_sees_them() {
    let kernel = kernel_or_skip!();
    let map = create(&kernel, MapKind::Hash, (4, 8), 8);
    let error = map.lookup(&[0; 8]).expect_err("8 bytes");
    assert_eq!(error.to_string(), "map a-map: a key of 8 bytes, not 4");
    let error = map
        .update(&[0; 4], &[0; 4], UpdateMode::Any)
        .expect_err("4 bytes");
    assert_eq!(error.to_string(), "map a-map: a value of 4 bytes, not 8");
    let error = map.lookup_into(&[0; 4], &mut [0; 9]).expect_err("9 bytes");
    assert_eq!(error.to_string(), "map a-map: a value of 9 bytes, not 8");
}

#[test]
fn a_map_that_changes_while_it_is_read_shows_no_key_twice() {
    let kernel = kernel_or_skip!();
    let map = create(&kernel, MapKind::Hash, (4, 8), 10_000);
    for key in 0u32..5000 {
        map.update(&key.to_ne_bytes(), &[1; 8], UpdateMode::Any)
            .expect("room");
    }
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (map, stop) = (&map, &stop);
        scope.spawn(move || {
            let mut key = 5000u32;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                map.update(&key.to_ne_bytes(), &[1; 8], UpdateMode::Any)
                    .expect("room");
                map.delete(&key.to_ne_bytes()).expect("writable");
                key = 5000 + (key + 1) % 4000;
            }
        });
        for _ in 0..20 {
            let found = numbers(map);
            assert_eq!(found.range(..5000).count(), 5000);
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}

/// Tells whether the kernel knows maps of one program alone (Linux 6.18).
fn has_exclusive_maps() -> bool {
    let types = kernel_types();
    let map = types.and_then(|types| types.get(types.find("bpf_map", Kind::Struct)?));
    match map {
        Some(Type::Struct(map)) => map.members().any(|member| member.name == "excl_prog_sha"),
        _ => false,
    }
}

#[test]
fn a_map_of_one_program_is_kept_from_others() {
    let kernel = kernel_or_skip!();
    let adds = |count: u32| {
        format!(
            "r1 = map_value(secret) + 0 ll\nr0 = *(u64 *)(r1 + 0)\nr0 += {count}\n\
             *(u64 *)(r1 + 0) = r0\nr1 = map_value(open) + 8 ll\n*(u64 *)(r1 + 0) = r0\nr0 = 0\nexit"
        )
    };
    let object = Assembly::new()
        .map("secret", MapKind::Array, (4, 8), 1)
        .map("open", MapKind::Array, (4, 16), 1)
        .raw("keeper", &adds(3))
        .raw("other", &adds(4));
    let loaded = Loader::new(kernel.clone())
        .exclusive("secret", "keeper")
        .load(&object.spec);
    if !has_exclusive_maps() {
        let error = loaded.expect_err("no such map").to_string();
        let expected = "this kernel has no maps of one program alone (it comes with Linux 6.18)";
        assert_eq!(error, expected);
        return;
    }
    let loaded = loaded.expect("maps");
    let keeper = loaded.program(ProgramId(0)).expect("the one that may");
    keeper.test_run(&TestInput::default()).expect("runs");
    let secret = loaded.map_named("secret").expect("made");
    assert_eq!(numbers(secret), BTreeMap::from([(0, 3)]));
    let error = loaded.program(ProgramId(1)).expect_err("not the keeper");
    assert!(error.to_string().contains("hash"), "{error}");
    let absent = |map, program| {
        let loader = Loader::new(kernel.clone()).exclusive(map, program);
        loader.load(&object.spec).expect_err("absent").to_string()
    };
    assert_eq!(absent("sekret", "keeper"), "there is no map sekret");
    assert_eq!(absent("secret", "keepr"), "there is no program keepr");
}

#[test]
fn the_kernel_hashes_what_is_frozen() {
    let kernel = kernel_or_skip!();
    let map = create(&kernel, MapKind::Array, (4, 8), 1);
    map.update(&[0; 4], b"kscope!\0", UpdateMode::Any)
        .expect("room");
    if !has_exclusive_maps() {
        let error = map.hash().expect_err("no hashes").to_string();
        assert!(error.contains("Linux 6.18"), "{error}");
        skip!("hashes of maps", "{error}");
    }
    let error = map.hash().expect_err("not frozen");
    assert!(matches!(error, Error::Invalid { .. }), "{error}");
    map.freeze().expect("a map of its own");
    let hex: String = map
        .hash()
        .expect("frozen")
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert_eq!(
        hex,
        "ecc98e24febcff4dffaaa1e82ea6a74d9e41497ab0613a2ab44a04cccf874c09"
    );
}
