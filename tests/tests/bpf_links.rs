//! Every kind of link on a kernel: attached it fires, dropped it does not.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use kscope_bpf::spec::{AttachKind, AttachType, MapKind, ProgramId, ProgramType};
use kscope_bpf::sys::{Sampling, SharedKernel};
use kscope_bpf::{Error, Features, KprobeAt, Link, Object, Program, UpdateMode, Uprobe};
use kscope_tests::assembly::{Assembly, kernel_types, writes_of_tasks};
use kscope_tests::{kernel_or_skip, skip};

/// Counts hits, those of this process alone if the map's entry 1 holds its pid.
const COUNT: &str = "call get_current_pid_tgid\nr0 >>= 32\nr1 = map_value(hits) + 8 ll\n\
    r2 = *(u64 *)(r1 + 0)\nif r2 == 0 goto hit\nif r2 != r0 goto out\n\
    hit: r1 = map_value(hits) + 0 ll\nr2 = 1\nlock *(u64 *)(r1 + 0) += r2\nout: r0 = 0\nexit";

/// Loads the counting program; `None` where the kernel refuses this kind of program.
fn load(kernel: &SharedKernel, kind: ProgramType, attach: AttachKind) -> Result<Object, Error> {
    let assembly = Assembly::new()
        .map("hits", MapKind::Array, (4, 16), 1)
        .program("count", kind, attach, COUNT);
    let object = assembly.load(kernel)?;
    object.program(ProgramId(0))?;
    let value = [0, u64::from(std::process::id())]
        .map(u64::to_ne_bytes)
        .concat();
    let map = object.map_named("hits").expect("there");
    map.update(&[0; 4], &value, UpdateMode::Any)?;
    Ok(object)
}

fn count(object: &Object) -> u64 {
    let value = object
        .map_named("hits")
        .expect("there")
        .lookup(&[0; 4])
        .expect("readable");
    u64::from_ne_bytes(value.expect("there")[..8].try_into().expect("8 bytes"))
}

/// Attaches, expects hits while attached and none after.
#[track_caller]
fn fires(object: &Object, attach: impl Fn(&Program) -> Result<Link, Error>, act: impl Fn()) {
    let program = object.program(ProgramId(0)).expect("loaded");
    act();
    assert_eq!(count(object), 0, "not attached yet");
    let link = attach(program).unwrap_or_else(|error| panic!("{error}"));
    act();
    let hits = count(object);
    assert!(hits > 0, "{} did not fire", link.target());
    drop(link);
    // A perf event may run a last time while it is being closed.
    let hits = count(object).max(hits);
    act();
    assert_eq!(count(object), hits, "still attached");
}

/// A system call that nothing else in this process makes.
fn getpgid() {
    let _ = std::fs::metadata("/");
    for _ in 0..10 {
        std::thread::yield_now();
    }
}

#[test]
fn raw_tracepoints_fire() {
    let kernel = kernel_or_skip!();
    let object = load(&kernel, ProgramType::RawTracepoint, AttachKind::None).expect("loads");
    fires(
        &object,
        |program| program.attach_raw_tracepoint("sys_enter", 0),
        getpgid,
    );
    let program = object.program(ProgramId(0)).expect("loaded");
    let error = program
        .attach_raw_tracepoint("no_such_thing", 0)
        .expect_err("absent");
    assert_eq!(
        error.to_string(),
        "there is no raw tracepoint no_such_thing"
    );
    let error = program
        .attach_tracepoint("raw_syscalls", "sys_enter", 0)
        .expect_err("wrong type");
    assert!(matches!(error, Error::Invalid { .. }), "{error}");
}

#[test]
fn tracepoints_fire() {
    let kernel = kernel_or_skip!();
    let object = load(&kernel, ProgramType::Tracepoint, AttachKind::None).expect("loads");
    let attach = |program: &Program| program.attach_tracepoint("raw_syscalls", "sys_enter", 0);
    fires(&object, attach, getpgid);
    let program = object.program(ProgramId(0)).expect("loaded");
    let error = program
        .attach_tracepoint("raw_syscalls", "nothing", 0)
        .expect_err("absent");
    assert_eq!(
        error.to_string(),
        "there is no tracepoint raw_syscalls:nothing"
    );
    let error = program
        .attach_tracepoint("../..", "passwd", 0)
        .expect_err("no path");
    assert!(matches!(error, Error::NotFound { .. }), "{error}");
}

#[test]
fn a_program_that_reads_past_the_record_is_told_so() {
    let kernel = kernel_or_skip!();
    let object = Assembly::new()
        .program(
            "far",
            ProgramType::Tracepoint,
            AttachKind::None,
            "r0 = *(u64 *)(r1 + 4096)\nr0 = 0\nexit",
        )
        .load_all(&kernel);
    let program = object.program(ProgramId(0)).expect("loaded");
    let error = program
        .attach_tracepoint("raw_syscalls", "sys_enter", 0)
        .expect_err("too far");
    assert_eq!(
        error.to_string(),
        "program far reads its context beyond the end of the record of \
         tracepoint:raw_syscalls:sys_enter, whose fields are in its file `format` in tracefs"
    );
}

#[test]
fn cookies_reach_the_program() {
    let kernel = kernel_or_skip!();
    let text =
        "call get_attach_cookie\nr1 = map_value(seen) + 0 ll\n*(u64 *)(r1 + 0) = r0\nr0 = 0\nexit";
    let object = Assembly::new()
        .map("seen", MapKind::Array, (4, 8), 1)
        .program("cookie", ProgramType::Tracepoint, AttachKind::None, text)
        .load(&kernel)
        .expect("maps");
    let Ok(program) = object.program(ProgramId(0)) else {
        skip!("cookie", "no get_attach_cookie (Linux 5.15)");
    };
    let link = program.attach_tracepoint("raw_syscalls", "sys_enter", 0xc00_c1e);
    let _link = link.expect("as new as the helper");
    getpgid();
    let seen = object
        .map_named("seen")
        .expect("there")
        .lookup(&[0; 4])
        .expect("readable");
    assert_eq!(seen, Some(0xc00_c1eu64.to_ne_bytes().to_vec()));
}

#[test]
fn typed_tracepoints_fire() {
    let kernel = kernel_or_skip!();
    if kernel_types().is_none() {
        skip!("btf", "the kernel has no BTF");
    }
    let attach = AttachKind::RawTracepointBtf("sys_enter".to_owned());
    let object = load(&kernel, ProgramType::Tracing, attach).expect("loads");
    fires(&object, |program| program.attach_typed(0), getpgid);
}

#[test]
fn function_entries_and_exits_fire() {
    let kernel = kernel_or_skip!();
    if kernel_types().is_none() {
        skip!("btf", "the kernel has no BTF");
    }
    let support = Features::new(kernel.clone(), kernel_types()).function_entry();
    if !support.is_available() {
        skip!("fentry", "{support}");
    }
    for attach in [
        AttachKind::FunctionEntry("vfs_read".to_owned()),
        AttachKind::FunctionExit("vfs_read".to_owned()),
    ] {
        let object = load(&kernel, ProgramType::Tracing, attach).expect("loads");
        let read = || drop(std::fs::read("/proc/self/stat"));
        fires(&object, |program| program.attach_typed(0), read);
    }
}

#[test]
fn iterators_walk_all_tasks() {
    let kernel = kernel_or_skip!();
    let Some(types) = kernel_types() else {
        skip!("btf", "the kernel has no BTF");
    };
    let text = writes_of_tasks(types, "pid");
    let object = Assembly::new()
        .program(
            "tasks",
            ProgramType::Tracing,
            AttachKind::Iterator("task".to_owned()),
            &text,
        )
        .load_all(&kernel);
    let program = object.program(ProgramId(0)).expect("loaded");
    let bytes = program
        .attach_iterator()
        .expect("attached")
        .read_all(1 << 24)
        .expect("readable");
    let pids: Vec<_> = bytes
        .chunks_exact(4)
        .map(|pid| u32::from_ne_bytes(pid.try_into().expect("four bytes")))
        .collect();
    // Not pid 1, which some kernels leave out.
    assert!(
        pids.len() > 1 && pids.contains(&std::process::id()),
        "{pids:?}"
    );
    assert!(matches!(
        program.attach_typed(0),
        Err(Error::Invalid { .. })
    ));
}

#[test]
fn the_clock_fires() {
    let kernel = kernel_or_skip!();
    let spin = || {
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_millis(100) {
            std::hint::black_box(0);
        }
    };
    for rate in [Sampling::Frequency(999), Sampling::Period(1_000_000)] {
        let object = load(&kernel, ProgramType::PerfEvent, AttachKind::None).expect("loads");
        fires(&object, |program| program.attach_clock(rate, None), spin);
    }
}

/// A function of ours that a uprobe can sit on.
#[inline(never)]
extern "C" fn kscope_test_probed(number: u64) -> u64 {
    std::hint::black_box(number) + 1
}

/// Where a function of this program lies in its file.
fn place(function: extern "C" fn(u64) -> u64) -> (PathBuf, u64) {
    let address = function as usize as u64;
    let maps = std::fs::read_to_string("/proc/self/maps").expect("proc");
    for line in maps.lines() {
        let mut words = line.split_whitespace();
        let (Some(range), _, Some(offset)) = (words.next(), words.next(), words.next()) else {
            continue;
        };
        let (first, last) = range.split_once('-').expect("a range");
        let hex = |text| u64::from_str_radix(text, 16).expect("hexadecimal");
        if (hex(first)..hex(last)).contains(&address) {
            let path = std::fs::read_link("/proc/self/exe").expect("proc");
            return (path, address - hex(first) + hex(offset));
        }
    }
    panic!("{address:#x} is not mapped");
}

#[test]
fn uprobes_fire() {
    let kernel = kernel_or_skip!();
    let (path, offset) = place(kscope_test_probed);
    let call = || assert_eq!(kscope_test_probed(1), 2);
    for on_return in [false, true] {
        for pid in [None, Some(std::process::id())] {
            let probe = Uprobe {
                on_return,
                pid,
                ..Uprobe::new(&path, offset)
            };
            let object = load(&kernel, ProgramType::Kprobe, AttachKind::None).expect("loads");
            let program = object.program(ProgramId(0)).expect("loaded");
            if let Err(error @ Error::Unsupported { .. }) = program.attach_uprobe(&probe) {
                skip!("uprobe", "{error}");
            }
            let attach = |program: &Program| program.attach_uprobe(&probe);
            fires(&object, attach, call);
        }
    }
    let object = load(&kernel, ProgramType::Kprobe, AttachKind::None).expect("loads");
    let program = object.program(ProgramId(0)).expect("loaded");
    let absent = program.attach_uprobe(&Uprobe::new(Path::new("/no/such/file"), 0));
    assert!(matches!(absent, Err(Error::NotFound { .. })), "{absent:?}");
}

#[test]
fn kprobes_fire() {
    let kernel = kernel_or_skip!();
    let function = |name: &str| KprobeAt::Function {
        name: name.to_owned(),
        offset: 0,
    };
    let read = || drop(std::fs::read("/proc/self/stat"));
    for on_return in [false, true] {
        let object = load(&kernel, ProgramType::Kprobe, AttachKind::None).expect("loads");
        let program = object.program(ProgramId(0)).expect("loaded");
        match program.attach_kprobe(&function("vfs_read"), on_return, 0) {
            Err(error @ Error::Unsupported { .. }) => skip!("kprobe", "{error}"),
            other => drop(other.expect("attaches")),
        }
        let attach = |program: &Program| program.attach_kprobe(&function("vfs_read"), on_return, 0);
        fires(&object, attach, read);
        let absent = program.attach_kprobe(&function("no_such_function"), on_return, 0);
        assert!(matches!(absent, Err(Error::NotFound { .. })), "{absent:?}");
    }
}

#[test]
fn kprobes_in_mass_fire() {
    let kernel = kernel_or_skip!();
    let object = load(
        &kernel,
        ProgramType::Kprobe,
        AttachKind::Expected(AttachType::TraceKprobeMulti),
    )
    .expect("loads");
    let program = object.program(ProgramId(0)).expect("loaded");
    let names = ["vfs_read", "vfs_write"];
    match program.attach_kprobe_multi(&names, false, &[]) {
        Err(error @ Error::Unsupported { .. }) => skip!("kprobe_multi", "{error}"),
        other => drop(other.expect("attaches")),
    }
    let read = || drop(std::fs::read("/proc/self/stat"));
    fires(
        &object,
        |program| program.attach_kprobe_multi(&names, false, &[1, 2]),
        read,
    );
    let absent = program.attach_kprobe_multi(&["no_such_function"], false, &[]);
    assert!(matches!(absent, Err(Error::NotFound { .. })), "{absent:?}");
}
