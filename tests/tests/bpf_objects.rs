//! Objects that clang made, loaded whole.

use kscope_bpf::spec::{MapKind, Pinning, Spec};
use kscope_bpf::{Absent, Error, Loader, Object, TestInput, UpdateMode};
use kscope_tests::assembly::kernel_types;
use kscope_tests::{kernel_or_skip, object_or_skip, skip};

/// Runs a program by itself.
#[track_caller]
fn run(object: &Object, program: &str) -> u32 {
    let failures: Vec<String> = object.failures().map(ToString::to_string).collect();
    let Some(program) = object.program_named(program) else {
        panic!("{program} is not loaded: {failures:#?}");
    };
    let packet = [0; 64];
    let input = match program.section() {
        "socket" | "tc" => TestInput {
            data: &packet,
            ..TestInput::default()
        },
        _ => TestInput::default(),
    };
    program.test_run(&input).expect("runs").result
}

#[test]
fn an_object_of_everything_loads_but_for_what_cannot() {
    let kernel = kernel_or_skip!();
    let spec = object_or_skip!("whole");
    if kernel_types().is_none() {
        skip!("btf", "the kernel has no BTF");
    }
    let loader = Loader::new(kernel.clone()).btf(kernel_types());
    // Not every kernel keeps its configuration.
    let loader = loader.kernel_config("CONFIG_BPF_SYSCALL=y\nCONFIG_NET=y\n");
    let object = loader.load(&spec).expect("some programs load");
    assert_eq!(object.types_refused(), None);
    assert_eq!(object.unfilled(), []);
    let failed: Vec<&str> = object.failures().map(|f| f.name.as_str()).collect();
    assert_eq!(failed, ["missing", "strange", "replaced"]);
    let left_out = spec.program_named("asked_for").expect("described");
    assert_eq!(
        object.program(left_out).expect_err("left out").to_string(),
        "program asked_for was left out of this load"
    );
    assert_eq!(run(&object, "globals"), 40 + 7 + 9 + 3 + 5);
    assert_eq!(run(&object, "inside"), 0);
    assert_eq!(run(&object, "locked"), 2);
    assert_eq!(run(&object, "jump"), 123);
    assert_eq!(run(&object, "relocated"), std::process::id());
    // One symbol is every kernel's; the others are none's.
    assert_eq!(run(&object, "symbols"), 1);
    let map = object.map_named("second").expect("there");
    let value = map.lookup(&0u32.to_ne_bytes()).expect("an array");
    assert_eq!(value, Some(77u32.to_ne_bytes().to_vec()));
    let ring = object.map_named("ring").expect("there");
    assert!(ring.max_entries() >= 4096, "{}", ring.max_entries());
    assert!(ring.max_entries().is_power_of_two());
}

#[test]
fn build_options_are_the_kernels() {
    let kernel = kernel_or_skip!();
    let spec = object_or_skip!("whole");
    let text = "CONFIG_BPF_SYSCALL=y\nCONFIG_NET=m\nCONFIG_NR_CPUS=8\n";
    let object = Loader::new(kernel.clone())
        .kernel_config(text)
        .only(["options"])
        .load(&spec)
        .expect("loads");
    assert_eq!(run(&object, "options"), 1 | 2 | 8);
    // Only weak ones may be missing.
    let object = Loader::new(kernel.clone())
        .kernel_config("CONFIG_NET=y\n")
        .only(["options", "globals"])
        .load(&spec)
        .expect("loads");
    assert!(object.program_named("globals").is_some());
    let failed = object.failures().next().expect("one");
    assert_eq!(
        failed.to_string(),
        "program options: there is no build option CONFIG_BPF_SYSCALL"
    );
    let wrong = Loader::new(kernel)
        .kernel_config("CONFIG_NET=y\nCONFIG_BPF_SYSCALL=7\n")
        .only(["options"])
        .load(&spec)
        .expect("the maps");
    let failed = wrong.failures().next().expect("one");
    assert_eq!(
        failed.to_string(),
        "program options: build option CONFIG_BPF_SYSCALL: its value 7 is no bool"
    );
}

#[test]
fn the_running_kernels_configuration_is_found() {
    let kernel = kernel_or_skip!();
    let spec = object_or_skip!("whole");
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").expect("procfs");
    let file = format!("/boot/config-{}", release.trim());
    if !["/proc/config.gz", &file]
        .iter()
        .any(|path| std::path::Path::new(path).exists())
    {
        skip!("config", "the kernel's configuration is not kept here");
    }
    let object = Loader::new(kernel).only(["options"]).load(&spec);
    let found = run(&object.expect("loads"), "options");
    assert_eq!(found & (1 | 2 | 8 | 16), 1 | 2 | 8);
}

#[test]
fn globals_are_set_before_the_load_and_used_after() {
    let kernel = kernel_or_skip!();
    let spec = object_or_skip!("whole");
    let object = Loader::new(kernel.clone())
        .global("threshold", &100u32)
        .global("answer", &1u32)
        .only(["globals"])
        .load(&spec)
        .expect("loads");
    assert_eq!(run(&object, "globals"), 1 + 100 + 9 + 3 + 5);
    let cell = |name| object.global(name).expect("there");
    assert_eq!(cell("hits").get::<u64>(), Ok(1));
    cell("answer").set(&1000u32).expect("writable");
    cell("small").set(&0u8).expect("writable");
    cell("hits").set(&(1u64 << 40)).expect("writable");
    assert_eq!(run(&object, "globals"), 1000 + 100 + 3 + 5);
    assert_eq!(cell("hits").get::<u64>(), Ok((1 << 40) + 1));
    assert!(cell("hits").is_mapped());
    assert_eq!(cell("threshold").get::<u32>(), Ok(100));
    assert_eq!(cell("label").get::<[u8; 8]>(), Ok(*b"none\0\0\0\0"));
    let error = cell("threshold").set(&1u32).expect_err("frozen");
    assert!(
        error.to_string().contains("threshold is a constant"),
        "{error}"
    );
    let error = cell("answer").set(&1u64).expect_err("too long");
    assert_eq!(error.to_string(), "answer has 4 bytes, not 8");
    assert!(cell("answer").get::<u64>().is_err());
    assert!(matches!(
        object.global("nothing"),
        Err(Error::NotFound { .. })
    ));
    let refused = |loader: Loader<'_>| loader.load(&spec).expect_err("refused").to_string();
    assert_eq!(
        refused(Loader::new(kernel.clone()).global("nothing", &1u32)),
        "there is no global variable nothing"
    );
    let near = "there is no global variable treshold; did you mean threshold?";
    let missing = object.global("treshold").map(drop);
    assert_eq!(missing.expect_err("misspelt").to_string(), near);
    let misspelt = Loader::new(kernel.clone()).global("treshold", &1u32);
    assert_eq!(refused(misspelt), near);
    assert_eq!(
        refused(Loader::new(kernel).global("threshold", &1u8)),
        "threshold has 4 bytes, not 1"
    );
}

#[test]
fn a_relocation_that_failed_is_named_where_the_verifier_comes_to_it() {
    let kernel = kernel_or_skip!();
    let spec = object_or_skip!("whole");
    if kernel_types().is_none() {
        skip!("btf", "the kernel has no BTF");
    }
    let loader = Loader::new(kernel).btf(kernel_types()).only(["missing"]);
    let object = loader.load(&spec).expect("the maps");
    let failed = object.failures().next().expect("one");
    let Error::Unresolved { absent, log, .. } = &failed.error else {
        panic!("{failed}");
    };
    let Absent::Relocation(failure) = &**absent else {
        panic!("{failed}");
    };
    assert_eq!(Some(failure.insn), log.insn, "{log}");
    let text = failed.to_string();
    let parts = [
        "program missing cannot do without the offset of struct \
         task_struct___other.kscope_no_such_member",
        "whole.bpf.c:",
        "struct task_struct",
        "has no member `kscope_no_such_member`",
    ];
    for part in parts {
        assert!(text.contains(part), "{text}");
    }
    let place = failed.place.expect("a line");
    let told = failure.source.as_ref().expect("a line");
    assert_eq!(place.line, told.line);
    let source = include_str!("../programs/objects/whole.bpf.c");
    let before = source.lines().take(place.line as usize);
    let function = before.filter(|line| line.starts_with("int ")).last();
    assert_eq!(function, Some("int missing(void *ctx)"));
}

#[test]
fn programs_are_chosen() {
    let kernel = kernel_or_skip!();
    let spec = object_or_skip!("whole");
    let names = |loader: Loader<'_>| -> Vec<String> {
        let object = loader.load(&spec).expect("loads");
        object.programs().map(|p| p.name().to_owned()).collect()
    };
    let loader = || Loader::new(kernel.clone()).btf(kernel_types());
    assert_eq!(names(loader().only(["asked_for"])), ["asked_for"]);
    assert_eq!(names(loader().only(["tail", "jump"])), ["tail", "jump"]);
    assert!(names(loader().with("asked_for")).contains(&"asked_for".to_owned()));
    assert!(!names(loader()).contains(&"asked_for".to_owned()));
    assert!(!names(loader().without("tail")).contains(&"tail".to_owned()));
    // A program that needs the map is refused, one that does not is loaded.
    let object = loader()
        .without("outer")
        .only(["inside", "tail"])
        .load(&spec);
    let object = object.expect("loads");
    assert_eq!(object.programs().count(), 1);
    let failed = object.failures().next().expect("one");
    assert_eq!(
        failed.to_string(),
        "program inside cannot do without map outer, which was left out of this load"
    );
    for wrong in [
        loader().only(["nobody"]),
        loader().with("nobody"),
        loader().without("nobody"),
    ] {
        assert!(matches!(wrong.load(&spec), Err(Error::NotFound { .. })));
    }
}

#[test]
fn maps_are_shared_by_handle() {
    let kernel = kernel_or_skip!();
    let spec = object_or_skip!("whole");
    let one = Loader::new(kernel.clone()).only(["inside"]).load(&spec);
    let one = one.expect("loads");
    let shared = one.map_named("second").expect("there");
    let loader = Loader::new(kernel.clone()).only(["inside"]);
    let two = loader.map("second", shared).load(&spec).expect("loads");
    assert_eq!(run(&two, "inside"), 0);
    let value = shared.lookup(&0u32.to_ne_bytes()).expect("an array");
    assert_eq!(value, Some(77u32.to_ne_bytes().to_vec()));
    let wrong = one.map_named("locks").expect("there");
    let loader = Loader::new(kernel).only(["inside"]).all_or_nothing();
    let error = loader
        .map("second", wrong)
        .load(&spec)
        .expect_err("another kind");
    assert_eq!(
        error.to_string(),
        "the map that is to stand for second is of type Hash, not Array"
    );
}

#[test]
fn maps_are_shared_by_pins() {
    let kernel = kernel_or_skip!();
    let mut spec = object_or_skip!("whole");
    let folder = match kscope_tests::pins::Pins::mount(&kernel) {
        Ok(folder) => folder,
        Err(reason) => skip!("bpffs", "{reason}"),
    };
    let locks = spec.maps.iter_mut().find(|map| map.name == "second");
    locks.expect("described").pinning = Pinning::ByName;
    let load = |spec: &Spec| {
        Loader::new(kernel.clone())
            .pin_folder(folder.path(""))
            .only(["tail"])
            .all_or_nothing()
            .load(spec)
    };
    let one = load(&spec).expect("pins it");
    let key = 0u32.to_ne_bytes();
    let map = one.map_named("second").expect("there");
    map.update(&key, &5u32.to_ne_bytes(), UpdateMode::Any)
        .expect("an array");
    drop(one);
    let two = load(&spec).expect("takes it");
    let map = two.map_named("second").expect("there");
    assert_eq!(
        map.lookup(&key).expect("an array"),
        Some(5u32.to_ne_bytes().to_vec())
    );
    let other = spec.maps.iter_mut().find(|map| map.name == "second");
    other.expect("described").kind = MapKind::Hash;
    let error = load(&spec).expect_err("another kind").to_string();
    assert!(error.starts_with("the map pinned at "), "{error}");
    assert!(error.ends_with("is of type Array, not Hash"), "{error}");
}

#[test]
fn the_verifier_tells_of_what_it_accepts_if_asked() {
    let kernel = kernel_or_skip!();
    let spec = object_or_skip!("whole");
    let loader = Loader::new(kernel.clone()).only(["tail"]).log_level(2);
    let object = loader.load(&spec).expect("loads");
    let log = object.program_named("tail").expect("loaded").log();
    let log = log.expect("asked for");
    assert!(log.text.contains("r0 = 123"), "{log}");
    assert!(log.verified_insns.is_some_and(|count| count >= 2), "{log}");
    // The object's line information is the kernel's.
    assert!(log.text.contains("; return 123"), "{log}");
    let object = Loader::new(kernel)
        .only(["tail"])
        .load(&spec)
        .expect("loads");
    assert!(
        object
            .program_named("tail")
            .expect("loaded")
            .log()
            .is_none()
    );
}

#[test]
fn a_function_of_another_program_is_replaced() {
    let kernel = kernel_or_skip!();
    let spec = object_or_skip!("whole");
    let object = Loader::new(kernel.clone()).only(["globals"]).load(&spec);
    let object = object.expect("loads");
    let target = object.program_named("globals").expect("loaded");
    let loader = Loader::new(kernel).only(["replaced"]);
    let extended = loader
        .extends("replaced", target)
        .load(&spec)
        .expect("loads");
    // The function is found; as a static one it cannot be replaced, which is the kernel's answer.
    let failed = extended.failures().next().expect("static");
    let text = failed.to_string();
    let answers = ["is a static function", "BPF_PROG_LOAD is not permitted"];
    assert!(
        answers.iter().any(|answer| text.contains(answer))
            || matches!(&failed.error, Error::Rejected { .. }),
        "{text}"
    );
}

#[test]
fn a_table_of_functions_becomes_the_kernels() {
    let kernel = kernel_or_skip!();
    let spec = object_or_skip!("congestion");
    if kernel_types().is_none() {
        skip!("btf", "the kernel has no BTF");
    }
    let object = match Loader::new(kernel).btf(kernel_types()).load(&spec) {
        Ok(object) => object,
        Err(Error::Unsupported { feature, .. }) => skip!("struct_ops", "{feature}"),
        Err(error) => panic!("{error}"),
    };
    if let Some(failed) = object.failures().next() {
        match &failed.error {
            Error::Permission { .. } | Error::Unsupported { .. } => skip!("struct_ops", "{failed}"),
            _ => panic!("{failed}"),
        }
    }
    assert_eq!(object.unfilled(), []);
    let id = spec.map_named("kscope_cc").expect("described");
    let map = object.map(id).expect("made");
    let available = || {
        let path = "/proc/sys/net/ipv4/tcp_available_congestion_control";
        let text = std::fs::read_to_string(path).expect("procfs");
        text.split_whitespace().any(|name| name == "kscope_cc")
    };
    assert!(!available());
    let link = match map.attach_struct_ops(object.table(id).expect("laid out")) {
        Ok(link) => link,
        Err(error @ Error::Permission { .. }) => skip!("struct_ops", "{error}"),
        Err(error) => panic!("{error}"),
    };
    assert!(available());
    drop(link);
    assert!(!available());
}
