//! What each attachment asks of the kernel, and what its refusals mean.

use std::path::Path;
use std::sync::{Arc, Mutex};

use kscope_spec::{AttachKind, AttachType, ProgramType};
use kscope_sys::{
    Bpf, Call, Errno, FakeKernel, LinkTarget, PerfIoctl, PerfKind, PerfTarget, Reply, Sampling,
};

use crate::error::Error;
use crate::link::many::once;
use crate::link::{KprobeAt, Link, Uprobe, UprobePlace};
use crate::program::Program;

/// Calls as text, and the error that one of them gets.
struct World {
    log: Arc<Mutex<Vec<String>>>,
    program: Program,
}

fn world(kind: ProgramType, attach: AttachKind, refuse: (&'static str, Errno)) -> World {
    let log = Arc::new(Mutex::new(Vec::new()));
    let seen = log.clone();
    let fake = FakeKernel::new(move |call| {
        let text = describe(&call);
        let refused = text.starts_with(refuse.0);
        if !text.is_empty() {
            seen.lock().expect("no panic").push(text);
        }
        match call {
            _ if refused => Err(refuse.1),
            Call::ReadFile(path) => file(path),
            Call::Identity(_) => Ok(Reply::Identity(kscope_sys::FileIdentity {
                major: 0,
                minor: 1,
                inode: 2,
            })),
            Call::PerfIoctl(..) => Ok(Reply::Done),
            _ => FakeKernel::object(),
        }
    });
    let program = Program::fake(fake, kind, attach, "");
    World { log, program }
}

fn describe(call: &Call<'_>) -> String {
    match call {
        Call::PerfEventOpen(event) => {
            let kind = match event.kind {
                PerfKind::Tracepoint(id) => format!("tracepoint {id}"),
                PerfKind::Probe {
                    source,
                    config,
                    name,
                    offset,
                } => {
                    format!(
                        "probe {source} {config} {} {offset}",
                        name.to_string_lossy()
                    )
                }
                PerfKind::ProbeAddress {
                    source,
                    config,
                    address,
                } => {
                    format!("probe {source} {config} {address:#x}")
                }
                PerfKind::Breakpoint {
                    access,
                    address,
                    length,
                } => format!("breakpoint {access} {address:#x} {length}"),
                PerfKind::Software(config) => format!("software {config}"),
                PerfKind::Hardware(config) => format!("hardware {config}"),
            };
            let target = match event.target {
                PerfTarget::Cpu(cpu) => format!("cpu {cpu}"),
                PerfTarget::Task(pid) => format!("task {pid}"),
                PerfTarget::TaskOnCpu(pid, cpu) => format!("task {pid} cpu {cpu}"),
            };
            format!("open {kind} on {target}")
        }
        Call::Bpf(Bpf::LinkDetach { .. }) => "detach".to_owned(),
        Call::PerfIoctl(_, PerfIoctl::SetBpf(_)) => "set".to_owned(),
        Call::PerfIoctl(_, PerfIoctl::Enable) => "enable".to_owned(),
        Call::Bpf(Bpf::LinkCreate(link)) => match link.target {
            LinkTarget::PerfEvent { cookie, .. } => format!("link {cookie}"),
            _ => format!("link type {}", link.attach_type),
        },
        Call::Bpf(Bpf::RawTracepointOpen { name, cookie, .. }) => {
            let name = name.map(|name| name.to_string_lossy().into_owned());
            format!("raw {} {cookie}", name.unwrap_or_default())
        }
        _ => String::new(),
    }
}

fn file(path: &Path) -> Result<Reply, Errno> {
    let text = match path.to_str().unwrap_or_default() {
        "/sys/devices/system/cpu/online" => "2-3,5\n",
        "/proc/sys/kernel/perf_event_max_sample_rate" => "100000\n",
        "/sys/kernel/tracing/events/sched/sched_switch/id" => "316\n",
        "/sys/bus/event_source/devices/kprobe/type" => "8\n",
        "/sys/bus/event_source/devices/uprobe/type" => "9\n",
        "/sys/bus/event_source/devices/kprobe/format/retprobe" => "config:0\n",
        "/sys/bus/event_source/devices/uprobe/format/retprobe" => "config:3\n",
        _ => return Err(Errno::NOENT),
    };
    Ok(Reply::Bytes(text.into()))
}

const NOTHING: (&str, Errno) = ("no such call", Errno::IO);

#[track_caller]
fn check<T>(kind: ProgramType, attach: impl Fn(&Program) -> Result<T, Error>, expected: &[&str]) {
    let world = world(kind, AttachKind::None, NOTHING);
    if let Err(error) = attach(&world.program) {
        panic!("{error}");
    }
    assert_eq!(*world.log.lock().expect("no panic"), expected);
}

fn function(name: &str) -> KprobeAt {
    KprobeAt::Function {
        name: name.to_owned(),
        offset: 4,
    }
}

#[test]
fn events_are_opened_set_and_enabled() {
    let tracepoint = |cookie| {
        move |program: &Program| program.attach_tracepoint("sched", "sched_switch", cookie)
    };
    let open = "open tracepoint 316 on cpu 2";
    check(
        ProgramType::Tracepoint,
        tracepoint(0),
        &[open, "link 0", "enable"],
    );
    check(
        ProgramType::Tracepoint,
        tracepoint(9),
        &[open, "link 9", "enable"],
    );
    check(
        ProgramType::Kprobe,
        |program| program.attach_kprobe(&function("vfs_read"), false, 0),
        &["open probe 8 0 vfs_read 4 on cpu 2", "link 0", "enable"],
    );
    check(
        ProgramType::Kprobe,
        |program| program.attach_kprobe(&KprobeAt::Address(0xffff), true, 0),
        &["open probe 8 1 0xffff on cpu 2", "link 0", "enable"],
    );
    check(
        ProgramType::Kprobe,
        |program| {
            program.attach_uprobe(&Uprobe {
                place: UprobePlace {
                    counter: 0x20,
                    ..UprobePlace::at(16)
                },
                on_return: true,
                pid: Some(7),
                ..Uprobe::new(Path::new("/bin/sh"), 0)
            })
        },
        &[
            "open probe 9 137438953480 /bin/sh 16 on task 7",
            "link 0",
            "enable",
        ],
    );
}

#[test]
fn kernels_without_links_on_events_take_the_ioctl() {
    let old = world(
        ProgramType::Tracepoint,
        AttachKind::None,
        ("link", Errno::INVAL),
    );
    let link = old.program.attach_tracepoint("sched", "sched_switch", 0);
    let link = link.expect("attached");
    assert_eq!(
        *old.log.lock().expect("no panic"),
        ["open tracepoint 316 on cpu 2", "link 0", "set", "enable"]
    );
    let error = link.pin("/sys/fs/bpf/x").expect_err("no link");
    assert_eq!(
        error.to_string(),
        "tracepoint:sched:sched_switch is held by a perf event, not by a BPF link (those come \
         with Linux 5.15)"
    );
}

#[test]
fn breakpoints_are_for_all_or_for_threads() {
    let all = |cpu: u32| {
        [
            format!("open breakpoint 2 0x1000 8 on cpu {cpu}"),
            "link 0".into(),
            "enable".into(),
        ]
    };
    let all = [2, 3, 5].map(all).concat();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    check(
        ProgramType::PerfEvent,
        |program| program.attach_breakpoint(0x1000, 8, 2, &[]),
        &all,
    );
    check(
        ProgramType::PerfEvent,
        |program| program.attach_breakpoint(0x1000, 1, 4, &[7]),
        &["open breakpoint 4 0x1000 1 on task 7", "link 0", "enable"],
    );
}

#[test]
fn the_clock_runs_on_every_online_cpu_or_one() {
    let rate = Sampling::Frequency(99);
    check(
        ProgramType::PerfEvent,
        |program| program.attach_clock(rate, Some(3)),
        &["open software 0 on cpu 3", "link 0", "enable"],
    );
    let all = |cpu: u32| {
        [
            format!("open software 0 on cpu {cpu}"),
            "link 0".into(),
            "enable".into(),
        ]
    };
    let all = [2, 3, 5].map(all).concat();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    check(
        ProgramType::PerfEvent,
        |program| program.attach_clock(rate, None),
        &all,
    );
}

#[test]
fn all_links_are_detached_whatever_the_first_says() {
    let check = |errno, expected: Result<(), &str>| {
        let world = world(ProgramType::PerfEvent, AttachKind::None, ("detach", errno));
        let link = world.program.attach_clock(Sampling::Frequency(9), None);
        let outcome = link.expect("attached").detach();
        let told = outcome.map_err(|error| error.to_string());
        assert_eq!(told, expected.map_err(str::to_owned));
        let log = world.log.lock().expect("no panic");
        assert_eq!(log.iter().filter(|call| *call == "detach").count(), 3);
    };
    // What the kernel does not detach is closed.
    check(Errno::OPNOTSUPP, Ok(()));
    let busy = "BPF_LINK_DETACH of Software(0) on 3 CPUs: EBUSY (Device or resource busy)";
    check(Errno::BUSY, Err(busy));
}

#[test]
fn raw_tracepoints_are_opened_by_name() {
    check(
        ProgramType::RawTracepoint,
        |program| program.attach_raw_tracepoint("sched_switch", 3),
        &["raw sched_switch 3"],
    );
    let typed = |cookie| {
        let attach = AttachKind::RawTracepointBtf("sched_switch".to_owned());
        let world = world(ProgramType::Tracing, attach, NOTHING);
        world.program.attach_typed(cookie).expect("attached");
        let log = world.log.lock().expect("no panic");
        log.concat()
    };
    assert_eq!(typed(0), "raw  0");
    assert_eq!(typed(1), "link type 23");
}

#[track_caller]
fn refuse<T>(
    kind: ProgramType,
    call: &'static str,
    errno: Errno,
    attach: impl Fn(&Program) -> Result<T, Error>,
    expected: &str,
) {
    let world = world(
        kind,
        AttachKind::Expected(AttachType::TraceKprobeMulti),
        (call, errno),
    );
    let error = attach(&world.program).err().expect("refused");
    assert_eq!(error.to_string(), expected);
}

#[test]
fn refusals_say_what_they_mean() {
    let tracepoint = |program: &Program| program.attach_tracepoint("sched", "sched_switch", 5);
    let plain = |program: &Program| program.attach_tracepoint("sched", "sched_switch", 0);
    let kprobe = |program: &Program| program.attach_kprobe(&function("nothing"), false, 0);
    let raw = |program: &Program| program.attach_raw_tracepoint("x", 1);
    let plain_raw = |program: &Program| program.attach_raw_tracepoint("x", 0);
    let many = |program: &Program| program.attach_kprobe_multi(&["a"], false, &[]);
    refuse(
        ProgramType::Tracepoint,
        "link",
        Errno::INVAL,
        tracepoint,
        "this kernel has no cookie of perf events (it comes with Linux 5.15)",
    );
    refuse(
        ProgramType::Tracepoint,
        "link",
        Errno::ACCES,
        plain,
        "program p reads its context beyond the end of the record of tracepoint:sched:sched_switch, \
         whose fields are in its file `format` in tracefs",
    );
    refuse(
        ProgramType::Kprobe,
        "open",
        Errno::NOENT,
        kprobe,
        "there is no attach point kprobe:nothing+4",
    );
    refuse(
        ProgramType::RawTracepoint,
        "raw",
        Errno::NOENT,
        raw,
        "there is no raw tracepoint x",
    );
    refuse(
        ProgramType::RawTracepoint,
        "raw",
        Errno::INVAL,
        raw,
        "this kernel has no cookie of raw tracepoints (it comes with Linux 6.10)",
    );
    refuse(
        ProgramType::RawTracepoint,
        "raw",
        Errno::INVAL,
        plain_raw,
        "the program reads more arguments than raw tracepoint x has",
    );
    for (errno, expected) in [
        (
            Errno::ADDR_NOT_AVAIL,
            "kprobe:nothing+4: the kernel has several functions of this name; give an address",
        ),
        (
            Errno::ILSEQ,
            "kprobe:nothing+4: no instruction begins there",
        ),
        (
            Errno::INVAL,
            "perf_event_open of kprobe:nothing+4: EINVAL (Invalid argument)",
        ),
    ] {
        refuse(ProgramType::Kprobe, "open", errno, kprobe, expected);
    }
    for (errno, expected) in [
        (
            Errno::INVAL,
            "this kernel has no kprobe_multi (it comes with Linux 5.18 with CONFIG_FPROBE)",
        ),
        (
            Errno::OPNOTSUPP,
            "this kernel has no kprobe_multi (it comes with CONFIG_FPROBE)",
        ),
        (Errno::SRCH, "there is no kernel function a"),
    ] {
        refuse(ProgramType::Kprobe, "link", errno, many, expected);
    }
    let none = |program: &Program| program.attach_kprobe_multi(&[], false, &[]);
    refuse(
        ProgramType::Kprobe,
        "link",
        Errno::INVAL,
        none,
        "no function to probe",
    );
    refuse(
        ProgramType::Xdp,
        "",
        Errno::IO,
        plain,
        "program p of type Xdp cannot be attached to a tracepoint",
    );
}

#[test]
fn rates_above_the_kernels_are_told_with_the_way_out() {
    let check = |rate, expected: &str| {
        let refuse = ("open software", Errno::INVAL);
        let world = world(ProgramType::PerfEvent, AttachKind::None, refuse);
        let error = world.program.attach_clock(rate, None).expect_err("refused");
        assert_eq!(error.to_string(), expected);
    };
    check(
        Sampling::Frequency(99_999_999),
        "99999999 samples a second are more than the 100000 that the kernel allows (raise it: sysctl \
         kernel.perf_event_max_sample_rate=99999999)",
    );
    let other = "perf_event_open of a sampling event on CPU 2: EINVAL (Invalid argument)";
    check(Sampling::Frequency(100_000), other);
    check(Sampling::Period(1), other);
}

#[test]
fn machines_without_counters_are_told_from_events_that_are_not_counted() {
    let check = |refuse, expected: &str| {
        let refuse = (refuse, Errno::NOENT);
        let world = world(ProgramType::PerfEvent, AttachKind::None, refuse);
        let attached = |kind| {
            let rate = Sampling::Period(100_000);
            world.program.attach_perf(kind, rate, None, 0)
        };
        let error = attached(PerfKind::Hardware(9)).expect_err("refused");
        assert_eq!(error.to_string(), expected);
        attached(PerfKind::Software(9)).expect("no hardware");
    };
    check(
        "open hardware",
        "this kernel has no hardware events: this machine shows no PMU, as virtual machines that are given none",
    );
    check(
        "open hardware 9",
        "this kernel has no such hardware event: its processors count others",
    );
}

#[test]
fn a_cookie_is_told_from_arguments_by_a_tracepoint_that_is_nowhere() {
    let check = |nowhere, expected: &str| {
        let fake = FakeKernel::new(move |call| match call {
            Call::Bpf(Bpf::RawTracepointOpen { name, .. }) => match name {
                Some(name) if name.to_bytes().starts_with(b"kscope") => Err(nowhere),
                _ => Err(Errno::INVAL),
            },
            other => panic!("{other:?}"),
        });
        let program = Program::fake(fake, ProgramType::RawTracepoint, AttachKind::None, "");
        let error = program.attach_raw_tracepoint("x", 7).expect_err("refused");
        assert_eq!(error.to_string(), expected);
    };
    check(
        Errno::INVAL,
        "this kernel has no cookie of raw tracepoints (it comes with Linux 6.10)",
    );
    check(
        Errno::NOENT,
        "the program reads more arguments than raw tracepoint x has",
    );
}

#[test]
fn what_a_kernel_knows_and_refuses_is_not_missing() {
    let check =
        |kind, attach, nowhere, call: fn(&Program) -> Result<Link, Error>, expected: &str| {
            let fake = FakeKernel::new(move |call| match call {
                Call::Bpf(Bpf::LinkCreate(link)) => Err(match link.target {
                    LinkTarget::KprobeMulti { names: [name], .. }
                        if name.to_bytes().starts_with(b"kscope") =>
                    {
                        nowhere
                    }
                    // No event, but the program itself.
                    LinkTarget::PerfEvent { cookie: 1, .. } => nowhere,
                    _ => Errno::INVAL,
                }),
                Call::ReadFile(path) => file(path),
                Call::Identity(_) => Ok(Reply::Identity(kscope_sys::FileIdentity {
                    major: 0,
                    minor: 1,
                    inode: 2,
                })),
                _ => FakeKernel::object(),
            });
            let program = Program::fake(fake, kind, attach, "");
            let error = call(&program).expect_err("refused");
            assert_eq!(error.to_string(), expected);
        };
    let many = |session| {
        AttachKind::Expected(match session {
            true => AttachType::TraceKprobeSession,
            false => AttachType::TraceKprobeMulti,
        })
    };
    let at: fn(&Program) -> _ = |program| program.attach_kprobe_multi_at(&[1, 2], false, &[]);
    let refused = "BPF_LINK_CREATE of kprobe_multi of 2 functions: EINVAL (Invalid argument)";
    for session in [false, true] {
        check(ProgramType::Kprobe, many(session), Errno::SRCH, at, refused);
    }
    let lacks = "this kernel has no kprobe_session (it comes with Linux 6.10 with CONFIG_FPROBE)";
    check(ProgramType::Kprobe, many(true), Errno::INVAL, at, lacks);
    let cookie: fn(&Program) -> _ = |program| program.attach_tracepoint("sched", "sched_switch", 5);
    let refused = "BPF_LINK_CREATE of tracepoint:sched:sched_switch: EINVAL (Invalid argument)";
    let none = AttachKind::None;
    check(ProgramType::Tracepoint, none, Errno::BADF, cookie, refused);
}

/// What a kernel that says `EINVAL` to each link, and has these symbols, is said to lack.
#[track_caller]
fn told_by_symbols(
    symbols: &'static str,
    attach: AttachKind,
    call: fn(&Program) -> Result<Link, Error>,
    expected: &str,
) {
    let fake = FakeKernel::new(move |call| match call {
        Call::ReadFile(path) if path == Path::new("/proc/kallsyms") => {
            Ok(Reply::Bytes(symbols.into()))
        }
        Call::Bpf(Bpf::LinkCreate(_)) => Err(Errno::INVAL),
        _ => Err(Errno::NOENT),
    });
    let kind = match attach {
        AttachKind::FunctionEntry(_) => ProgramType::Tracing,
        _ => ProgramType::Kprobe,
    };
    let program = Program::fake(fake, kind, attach, "");
    let error = call(&program).expect_err("refused");
    assert_eq!(error.to_string(), expected);
}

#[test]
fn a_function_that_linux_5_18_does_not_find_is_told_from_links_it_lacks() {
    let attach = || AttachKind::Expected(AttachType::TraceKprobeMulti);
    let many: fn(&Program) -> _ = |p| p.attach_kprobe_multi(&["vfs_read", "vfs_reed"], false, &[]);
    let lacks = "this kernel has no kprobe_multi (it comes with Linux 5.18 with CONFIG_FPROBE)";
    told_by_symbols("", attach(), many, lacks);
    told_by_symbols("0 T vfs_read\n0 t vfs_reed\n", attach(), many, lacks);
    const KNOWS: &str = "0 T vfs_read\n0 T bpf_kprobe_multi_link_attach\n0 t vfs_reeds\t[m]\n";
    let nowhere = "there is no kernel function vfs_reed";
    told_by_symbols(KNOWS, attach(), many, nowhere);
    let refused = "BPF_LINK_CREATE of kprobe_multi of 1 functions: EINVAL (Invalid argument)";
    let of_module: fn(&Program) -> _ = |p| p.attach_kprobe_multi(&["vfs_reeds"], false, &[]);
    told_by_symbols(KNOWS, attach(), of_module, refused);
    let at: fn(&Program) -> _ = |program| program.attach_kprobe_multi_at(&[1], false, &[]);
    told_by_symbols(KNOWS, attach(), at, refused);
}

#[test]
fn cookies_of_typed_programs_that_are_refused_are_told_from_cookies_a_kernel_lacks() {
    let attach = || AttachKind::FunctionEntry("vfs_read".to_owned());
    let typed: fn(&Program) -> _ = |program| program.attach_typed(7);
    let lacks = "this kernel has no cookie of BTF-typed programs (it comes with Linux 5.19)";
    told_by_symbols("", attach(), typed, lacks);
    let knows = "0 t bpf_get_attach_cookie_tracing\n";
    let refused = "BPF_LINK_CREATE of fentry:vfs_read: EINVAL (Invalid argument)";
    told_by_symbols(knows, attach(), typed, refused);
}

#[test]
fn names_of_functions_that_are_gone_are_not_probed() {
    let list = b"vfs_read\n__ftrace_invalid_address___12\nvfs_write [m]\ntwo\ntwo\n";
    let names = once(list, |_, _| true);
    assert_eq!(names, [&b"vfs_read"[..], b"vfs_write"]);
}

#[test]
fn a_source_that_is_closed_is_not_missing() {
    let check = |errno, expected: &str| {
        let fake = FakeKernel::new(move |_| Err(errno));
        let found = crate::link::ProbeSource::find(&fake, "kprobe");
        let told = found.map(|_| ()).expect_err("not found").to_string();
        assert_eq!(told, expected);
    };
    check(
        Errno::NOENT,
        "this kernel has no kprobes (it comes with CONFIG_KPROBE_EVENTS)",
    );
    check(
        Errno::ACCES,
        "open is not permitted: /sys/bus/event_source/devices/kprobe is closed to this user",
    );
}
