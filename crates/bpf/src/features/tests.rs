//! Answers to attempts, played by a kernel.

use std::sync::Arc;

use kscope_sys::{Bpf, Call, Errno, FakeKernel, MapFd, Reply};

use super::*;

/// Answers the load of a helper's program with an error and a log.
fn helper(errno: Errno, log: &'static str) -> Support {
    let fake = FakeKernel::new(move |call| match call {
        Call::Bpf(Bpf::ProgramLoad(load)) => match load.log {
            Some(room) => {
                room[..log.len()].copy_from_slice(log.as_bytes());
                Err(errno)
            }
            // The smallest program, by which causes are found.
            None => FakeKernel::object(),
        },
        Call::Capabilities => Ok(Reply::Number(0)),
        other => panic!("{other:?}"),
    });
    let features = Features::new(Arc::new(fake), None);
    features.helper(ProgramType::Kprobe, HelperId(130))
}

#[test]
fn helpers_are_judged_by_what_the_verifier_complains_of() {
    let missing = Support::missing("helper 130 for Kprobe", None);
    let check = |log, expected: &Support| assert_eq!(helper(Errno::INVAL, log), *expected, "{log}");
    // 5.10, then 6.12, then 6.14.
    check(
        "0: (85) call unknown#130\ninvalid func unknown#130\n",
        &missing,
    );
    check("0: (85) call bpf_x#130\nunknown func bpf_x#130\n", &missing);
    check(
        "0: (85) call bpf_x#130\nprogram of this type cannot use helper bpf_x#130\n",
        &missing,
    );
    check(
        "0: (85) call bpf_ringbuf_output#130\nR1 !read_ok\n",
        &Support::Available,
    );
    check("", &missing);
    let refused = helper(Errno::PERM, "");
    assert!(
        matches!(
            refused,
            Support::Refused {
                why: Denial::Capability { .. }
            }
        ),
        "{refused}"
    );
}

#[test]
fn a_question_is_tried_out_once() {
    let fake = Arc::new(FakeKernel::new(|call| match call {
        Call::Bpf(Bpf::MapCreate(map)) if map.shape.kind == 27 => Err(Errno::INVAL),
        Call::Bpf(Bpf::MapCreate(map)) => MapFd::fake(map.shape, 1).map(Reply::Map),
        other => panic!("{other:?}"),
    }));
    let features = Features::new(fake.clone(), None);
    for _ in 0..3 {
        let expected = Support::missing("map type RingBuf", Some("Linux 5.8"));
        assert_eq!(features.ring_buffer(), expected);
        assert_eq!(features.map(MapKind::Hash), Support::Available);
    }
    // The ring, the ring again to tell the kind from its sizes, and the hash.
    assert_eq!(fake.calls().len(), 3);
}

#[test]
fn cookies_are_known_by_the_complaint_about_the_event() {
    let support = |errno| {
        let fake = FakeKernel::new(move |call| match call {
            Call::Bpf(Bpf::LinkCreate(_)) => Err(errno),
            Call::Bpf(_) => FakeKernel::object(),
            other => panic!("{other:?}"),
        });
        Features::new(Arc::new(fake), None)
            .perf_cookie()
            .is_available()
    };
    assert!(support(Errno::BADF));
    assert!(!support(Errno::INVAL));
}

#[test]
fn probes_are_there_for_those_who_may_open_them() {
    #[track_caller]
    fn check(source: bool, load: Option<Errno>, open: Errno, have: u64, expected: &str) {
        let fake = FakeKernel::new(move |call| match call {
            Call::ReadFile(path) if path.ends_with("type") && source => {
                Ok(Reply::Bytes(b"8\n".to_vec()))
            }
            Call::ReadFile(_) | Call::Identity(_) | Call::OpenDirectory(_) => Err(Errno::NOENT),
            Call::Bpf(Bpf::ProgramLoad(_)) => load.map_or_else(FakeKernel::object, Err),
            Call::Bpf(_) => FakeKernel::object(),
            Call::PerfEventOpen(_) => Err(open),
            Call::Capabilities => Ok(Reply::Number(have)),
            Call::Memlock => Ok(Reply::Number(u64::MAX)),
            Call::RaiseMemlock => Ok(Reply::Done),
            Call::ReadDetached { .. } => Err(Errno::NOENT),
            other => panic!("{other:?}"),
        });
        let features = Features::new(Arc::new(fake), None);
        assert_eq!(features.uprobe().to_string(), expected);
        let of_kernel = expected.replace("UPROBE", "KPROBE");
        assert_eq!(features.kprobe().to_string(), of_kernel);
    }
    let all = u64::MAX;
    let no_source = "missing (comes with CONFIG_UPROBE_EVENTS)";
    check(false, None, Errno::INVAL, all, no_source);
    check(true, None, Errno::INVAL, all, "available");
    check(true, None, Errno::NOENT, all, "available");
    let lacks = "refused: the process lacks CAP_PERFMON";
    check(true, None, Errno::ACCES, 1 << 39, lacks);
    let lacks = "refused: the process lacks CAP_BPF and CAP_PERFMON";
    check(true, Some(Errno::PERM), Errno::ACCES, 0, lacks);
}

#[test]
fn uprobes_in_mass_are_known_by_the_complaint_about_the_file() {
    let support = |errno| {
        let fake = FakeKernel::new(move |call| match call {
            Call::Bpf(Bpf::LinkCreate(_)) => Err(errno),
            Call::Bpf(_) => FakeKernel::object(),
            Call::Capabilities => Ok(Reply::Number(0)),
            other => panic!("{other:?}"),
        });
        let features = Features::new(Arc::new(fake), None);
        features.uprobe_multi().to_string()
    };
    assert_eq!(support(Errno::BADF), "available");
    assert_eq!(support(Errno::INVAL), "missing (comes with Linux 6.6)");
    assert!(support(Errno::PERM).starts_with("refused: "));
}

#[test]
fn answers_read_well() {
    let check = |support: Support, expected: &str| assert_eq!(support.to_string(), expected);
    check(Support::Available, "available");
    check(Support::missing("x", None), "missing");
    check(
        Support::missing("x", Some("Linux 5.8")),
        "missing (comes with Linux 5.8)",
    );
    let why = Denial::Lockdown {
        mode: "confidentiality".to_owned(),
    };
    check(
        Support::Refused { why },
        "refused: the kernel is locked down (confidentiality)",
    );
}
