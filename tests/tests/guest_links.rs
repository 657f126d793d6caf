//! Links that the host's kernel refuses: return values changed, security hooks, probes in mass,
//! kprobes with an offset.

use std::fs::File;
use std::os::fd::AsFd;

use kscope_bpf::spec::{AttachKind, AttachType, MapKind, ProgramId, ProgramType};
use kscope_bpf::sys::SharedKernel;
use kscope_bpf::{Error, KprobeAt, Link, LinkKind, Object, Order, PerfDetails, UpdateMode};
use kscope_tests::assembly::{Assembly, hits, kernel_types, program};
use kscope_tests::{kernel_or_skip, skip};

/// Gives the kernel of a guest, or skips the test.
macro_rules! guest_or_skip {
    () => {{
        if std::env::var_os("KSCOPE_GUEST").is_none() {
            skip!("guest", "this is no guest");
        }
        kernel_or_skip!()
    }};
}

/// Counts hits of this process, and gives a result.
fn counting(result: i32) -> String {
    format!(
        "call get_current_pid_tgid\nr0 >>= 32\nr1 = map_value(hits) + 8 ll\n\
         r2 = *(u64 *)(r1 + 0)\nif r2 != r0 goto out\nr1 = map_value(hits) + 0 ll\nr2 = 1\n\
         lock *(u64 *)(r1 + 0) += r2\nr0 = {result}\nexit\nout: r0 = 0\nexit"
    )
}

fn load(
    kernel: &SharedKernel,
    kind: ProgramType,
    attach: AttachKind,
    result: i32,
) -> Result<Object, Error> {
    let object = Assembly::new()
        .map("hits", MapKind::Array, (4, 16), 1)
        .program("count", kind, attach, &counting(result))
        .load(kernel)?;
    object.program(ProgramId(0))?;
    let value = [0, u64::from(std::process::id())].map(u64::to_ne_bytes);
    let map = object.map_named("hits").expect("there");
    map.update(&[0; 4], &value.concat(), UpdateMode::Any)?;
    Ok(object)
}

/// Expects hits while the link is there and none after.
#[track_caller]
fn fires(object: &Object, link: Link, act: impl Fn()) {
    act();
    let before = hits(object);
    assert!(before > 0, "{} did not fire", link.target());
    drop(link);
    let before = hits(object).max(before);
    act();
    assert_eq!(hits(object), before, "still attached");
}

fn read() {
    let _ = std::fs::read("/proc/self/stat");
}

fn at(name: &str, offset: u64) -> KprobeAt {
    KprobeAt::Function {
        name: name.to_owned(),
        offset,
    }
}

#[test]
fn kprobes_have_offsets_cookies_and_addresses() {
    let kernel = guest_or_skip!();
    let object = load(&kernel, ProgramType::Kprobe, AttachKind::None, 0).expect("loads");
    let link = program(&object)
        .attach_kprobe(&at("vfs_read", 0), false, 0)
        .expect("kprobes");
    if let Ok(details) = link.details() {
        match details.kind {
            LinkKind::PerfEvent(PerfDetails::Unknown) => {}
            LinkKind::PerfEvent(PerfDetails::Kprobe {
                function,
                on_return,
                ..
            }) => assert_eq!((function.as_str(), on_return), ("vfs_read", false)),
            other => panic!("{other}"),
        }
    }
    fires(&object, link, read);
    let symbols = std::fs::read_to_string("/proc/kallsyms").expect("root");
    let address = symbols
        .lines()
        .find_map(|line| line.strip_suffix(" T vfs_read"))
        .and_then(|hex| u64::from_str_radix(hex, 16).ok())
        .expect("every kernel");
    let link = program(&object).attach_kprobe(&KprobeAt::Address(address), true, 0);
    fires(&object, link.expect("attached"), read);
    let inside = program(&object).attach_kprobe(&at("vfs_read", 1), false, 0);
    assert!(matches!(inside, Err(Error::Invalid { .. })), "{inside:?}");
    let syscall = program(&object).attach_ksyscall("read", false, 0);
    fires(&object, syscall.expect("every kernel"), read);
    let none = program(&object).attach_ksyscall("no_such_call", false, 0);
    assert!(matches!(none, Err(Error::NotFound { .. })), "{none:?}");
    match program(&object).attach_kprobe(&at("vfs_read", 0), false, 7) {
        Err(error @ Error::Unsupported { .. }) => {
            assert!(error.to_string().contains("Linux 5.15"), "{error}");
        }
        link => fires(&object, link.expect("attached"), read),
    }
}

#[test]
fn kprobes_in_mass_have_addresses_patterns_and_sessions() {
    let kernel = guest_or_skip!();
    for (attach_type, since) in [
        (AttachType::TraceKprobeMulti, "kprobe_multi"),
        (AttachType::TraceKprobeSession, "kprobe_session"),
    ] {
        let attach = AttachKind::Expected(attach_type);
        let object = match load(&kernel, ProgramType::Kprobe, attach, 0) {
            Ok(object) => object,
            Err(error) => skip!(since, "{error}"),
        };
        let attached = program(&object).attach_kprobe_multi(&["vfs_read"], false, &[]);
        let link = match attached {
            Err(error @ Error::Unsupported { .. }) => skip!(since, "{error}"),
            link => link.expect("attached"),
        };
        match link.details().map(|details| details.kind) {
            // Links tell how many functions they have since 6.6.
            Ok(LinkKind::KprobeMulti { count, on_return }) => {
                assert!(count <= 1 && !on_return, "{count}");
            }
            other => panic!("{other:?}"),
        }
        fires(&object, link, read);
        let many = program(&object).attach_kprobe_multi_matching("vfs_rea?*", false);
        fires(&object, many.expect("attached"), read);
        let none = program(&object).attach_kprobe_multi_matching("no_such_*", false);
        assert!(matches!(none, Err(Error::NotFound { .. })), "{none:?}");
    }
}

#[test]
fn many_functions_are_probed_by_address() {
    let kernel = guest_or_skip!();
    let attach = AttachKind::Expected(AttachType::TraceKprobeMulti);
    let object = load(&kernel, ProgramType::Kprobe, attach, 0).expect("loads");
    let symbols = std::fs::read_to_string("/proc/kallsyms").expect("root");
    let address = |name: &str| {
        let line = symbols
            .lines()
            .find(|line| line.ends_with(&format!(" T {name}")));
        let hex = line.and_then(|line| line.split(' ').next()).expect("there");
        u64::from_str_radix(hex, 16).expect("hexadecimal")
    };
    let both = [address("vfs_read"), address("vfs_write")];
    match program(&object).attach_kprobe_multi_at(&both, true, &[1, 2]) {
        Err(error @ Error::Unsupported { .. }) => skip!("kprobe_multi", "{error}"),
        link => fires(&object, link.expect("attached"), read),
    }
}

#[test]
fn return_values_are_changed() {
    let kernel = guest_or_skip!();
    if kernel_types().is_none() {
        skip!("btf", "the kernel has no BTF");
    }
    // security_file_open may be told to refuse: -EACCES to this process.
    let attach = AttachKind::ModifyReturn("security_file_open".to_owned());
    let object = load(&kernel, ProgramType::Tracing, attach, -13).expect("loads");
    let link = program(&object).attach_typed(0).expect("attached");
    assert_eq!(link.target(), "fmod_ret:security_file_open");
    let refused = File::open("/proc/self/stat");
    drop(link);
    assert_eq!(
        refused.expect_err("refused").kind(),
        std::io::ErrorKind::PermissionDenied
    );
    assert!(hits(&object) > 0);
    File::open("/proc/self/stat").expect("allowed again");
}

#[test]
fn functions_are_seen_coming_and_going() {
    let kernel = guest_or_skip!();
    if kernel_types().is_none() {
        skip!("btf", "the kernel has no BTF");
    }
    let attach = AttachKind::FunctionEntry("vfs_read".to_owned());
    let object = load(&kernel, ProgramType::Tracing, attach, 0).expect("loads");
    let link = program(&object).attach_typed(0).expect("attached");
    match link.details().expect("a link").kind {
        LinkKind::Tracing { attach_type, .. } => {
            assert_eq!(attach_type, Some(AttachType::TraceFentry));
        }
        other => panic!("{other}"),
    }
    fires(&object, link, read);
    match program(&object).attach_typed(3) {
        Err(error @ Error::Unsupported { .. }) => {
            assert!(error.to_string().contains("Linux 5.19"), "{error}");
        }
        link => fires(&object, link.expect("attached"), read),
    }
}

#[test]
fn functions_are_seen_both_ways_by_one_program() {
    let kernel = guest_or_skip!();
    let attach = AttachKind::FunctionSession("vfs_read".to_owned());
    match load(&kernel, ProgramType::Tracing, attach, 0) {
        Err(error) => skip!("fsession", "no such programs yet: {error}"),
        Ok(object) => fires(
            &object,
            program(&object).attach_typed(0).expect("attached"),
            read,
        ),
    }
}

#[test]
fn functions_are_traced_in_mass() {
    let kernel = guest_or_skip!();
    let load = |attach_type| {
        let attach = AttachKind::Expected(attach_type);
        load(&kernel, ProgramType::Tracing, attach, 0)
    };
    for attach_type in [
        AttachType::TraceFentryMulti,
        AttachType::TraceFexitMulti,
        AttachType::TraceFsessionMulti,
    ] {
        let object = match load(attach_type) {
            Ok(object) => object,
            Err(error) => skip!("tracing_multi", "no such programs yet: {error}"),
        };
        let program = program(&object);
        let names = ["vfs_read", "vfs_write"];
        let link = program.attach_functions(&names, &[3, 4]).expect("attached");
        match link.details().expect("a link").kind {
            // Linux 7.2 tells nothing.
            LinkKind::TracingMulti {
                attach_type: None,
                count: 0,
            } => {}
            told => {
                let expected = LinkKind::TracingMulti {
                    attach_type: Some(attach_type),
                    count: 2,
                };
                assert_eq!(told, expected);
            }
        }
        fires(&object, link, read);
        let link = program.attach_functions_matching("vfs_r?a*");
        fires(&object, link.expect("attached"), read);
    }
    let object = load(AttachType::TraceFentryMulti).expect("as above");
    let error = program(&object).attach_functions(&["vfs_raed"], &[]);
    let error = error.expect_err("no such function").to_string();
    assert!(error.contains("did you mean vfs_read"), "{error}");
}

/// Whether the kernel's list of security modules has "bpf": without it hooks are attached to, and
/// never run.
fn lsm_runs() -> bool {
    let _ = std::process::Command::new("mount")
        .args(["-t", "securityfs", "securityfs", "/sys/kernel/security"])
        .status();
    let modules = std::fs::read_to_string("/sys/kernel/security/lsm").unwrap_or_default();
    modules.split(',').any(|module| module == "bpf")
}

#[test]
fn security_hooks_have_programs() {
    let kernel = guest_or_skip!();
    let attach = AttachKind::Lsm("file_open".to_owned());
    let object = match load(&kernel, ProgramType::Lsm, attach, 0) {
        Ok(object) => object,
        Err(error) => skip!("lsm", "{error}"),
    };
    let link = program(&object).attach_typed(0).expect("attached");
    assert_eq!(link.target(), "lsm:file_open");
    if !lsm_runs() {
        skip!("lsm", "bpf is not among the security modules in force");
    }
    fires(&object, link, read);
}

#[test]
fn security_hooks_have_programs_for_cgroups() {
    let kernel = guest_or_skip!();
    let attach = AttachKind::LsmCgroup("socket_create".to_owned());
    let object = match load(&kernel, ProgramType::Lsm, attach, 1) {
        Ok(object) => object,
        Err(error) => skip!("lsm_cgroup", "{error}"),
    };
    let root = File::open("/sys/fs/cgroup").expect("there");
    let link = match program(&object).attach_cgroup(root.as_fd(), Order::Unsaid) {
        Err(Error::Os { errno, .. }) if !lsm_runs() => skip!("lsm_cgroup", "{errno}"),
        link => link.expect("attached"),
    };
    if !lsm_runs() {
        skip!("lsm", "bpf is not among the security modules in force");
    }
    let connect = || drop(std::net::UdpSocket::bind("127.0.0.1:0"));
    fires(&object, link, connect);
}
