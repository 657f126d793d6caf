//! Features tried out on a kernel, against what the kernel says elsewhere.

use kscope_bpf::spec::{HelperId, MapKind, ProgramType};
use kscope_bpf::sys::{CpuSet, real_kernel};
use kscope_bpf::{Denial, Features, Support, Tracefs};
use kscope_tests::assembly::kernel_types;
use kscope_tests::{kernel_or_skip, skip};

#[test]
fn what_every_supported_kernel_has_is_found() {
    let kernel = kernel_or_skip!();
    let features = Features::new(kernel, kernel_types());
    for (name, support) in [
        ("tracefs", features.tracefs()),
        ("ring", features.ring_buffer()),
        ("perf", features.map(MapKind::PerfEventArray)),
        ("stack", features.map(MapKind::StackTrace)),
        ("lru", features.map(MapKind::LruPerCpuHash)),
        ("tracepoint", features.program(ProgramType::Tracepoint)),
        ("raw", features.program(ProgramType::RawTracepoint)),
        ("perf event", features.program(ProgramType::PerfEvent)),
        ("xdp", features.program(ProgramType::Xdp)),
        ("addresses", features.program(ProgramType::CgroupSockAddr)),
        ("options", features.program(ProgramType::CgroupSockopt)),
        ("look-up", features.program(ProgramType::SkLookup)),
        ("groups", features.program(ProgramType::SkReuseport)),
        ("tables", features.program(ProgramType::StructOps)),
    ] {
        // Twice: the second answer is the one kept.
        assert_eq!(support, Support::Available, "{name}");
    }
    // A kernel may refuse programs that hook functions to everybody, and has them all the same.
    let freplace = features.program(ProgramType::Ext);
    assert!(!matches!(freplace, Support::Missing { .. }), "{freplace}");
    if kernel_types().is_some() {
        assert_eq!(features.btf(), Support::Available);
        assert_eq!(features.typed_tracepoint(), Support::Available);
        assert_eq!(features.iterator(), Support::Available);
    }
}

#[test]
fn helpers_are_told_apart() {
    let kernel = kernel_or_skip!();
    let features = Features::new(kernel, kernel_types());
    let check = |kind, helper: u32, expected: bool| {
        let support = features.helper(kind, HelperId(helper));
        assert_eq!(
            support.is_available(),
            expected,
            "{kind:?} {helper}: {support}"
        );
    };
    let raw = ProgramType::RawTracepoint;
    // ktime_get_ns, get_current_pid_tgid (no arguments), probe_read_kernel, ringbuf_output.
    for helper in [5, 14, 113, 130] {
        check(raw, helper, true);
        check(ProgramType::Tracepoint, helper, true);
        check(ProgramType::Kprobe, helper, true);
    }
    // redirect_map is for XDP, ktime_get_coarse_ns for no tracing type, the last for none.
    check(raw, 51, false);
    check(ProgramType::Xdp, 51, true);
    check(raw, 160, false);
    check(raw, 100_000, false);
    // get_socket_cookie, sk_assign: of types that are loaded for one hook alone.
    check(ProgramType::CgroupSockAddr, 46, true);
    check(ProgramType::CgroupSockAddr, 51, false);
    check(ProgramType::SkLookup, 124, true);
    if kernel_types().is_some() {
        check(ProgramType::Tracing, 113, true);
        check(ProgramType::Tracing, 160, false);
    }
}

#[test]
fn probes_are_there_where_the_kernel_lists_their_source() {
    let kernel = kernel_or_skip!();
    let features = Features::new(kernel, kernel_types());
    let listed = |name| {
        std::path::Path::new("/sys/bus/event_source/devices")
            .join(name)
            .exists()
    };
    assert_eq!(features.kprobe().is_available(), listed("kprobe"));
    assert_eq!(features.uprobe().is_available(), listed("uprobe"));
    for (name, support) in features.all() {
        eprintln!("{name}: {support}");
    }
}

#[test]
fn refusals_are_not_blamed_on_root() {
    let kernel = kernel_or_skip!();
    let features = Features::new(kernel, kernel_types());
    for (name, support) in features.all() {
        let blamed = matches!(
            support,
            Support::Refused {
                why: Denial::Capability { .. } | Denial::Memlock { .. }
            }
        );
        assert!(!blamed, "{name}: {support}");
    }
}

#[test]
fn tracefs_gives_the_ids_of_tracepoints() {
    let kernel = kernel_or_skip!();
    let tracefs = Tracefs::find_or_mount(&*kernel).expect("root may");
    let id = tracefs
        .tracepoint_id(&*kernel, "sched", "sched_switch")
        .expect("every kernel");
    assert!(id > 0);
    assert!(kernel.cpus(CpuSet::Possible).expect("sysfs").contains(&0));
}

#[test]
fn a_user_without_privilege_is_refused_for_want_of_capabilities() {
    let kernel = real_kernel();
    if kernel
        .capabilities()
        .is_ok_and(|have| have & (1 << 21) != 0)
    {
        skip!("no-root", "runs as root");
    }
    let features = Features::new(kernel, None);
    let expected = Support::Refused {
        why: Denial::Capability {
            missing: vec!["CAP_BPF", "CAP_PERFMON"],
        },
    };
    assert_eq!(features.program(ProgramType::Kprobe), expected);
    assert_eq!(features.program(ProgramType::Kprobe), expected);
}
