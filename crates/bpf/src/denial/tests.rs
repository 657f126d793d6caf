//! Causes of a refusal, each played by a kernel.

use kscope_spec::AttachKind;
use kscope_sys::{Bpf, Call, FakeKernel, Reply};

use super::probe::{BPF, PERFMON, SYS_ADMIN};
use super::*;

/// What the kernel played here answers.
#[derive(Clone, Copy)]
struct World {
    capabilities: u64,
    programs: bool,
    memlock: u64,
    may_raise: bool,
    lockdown: &'static str,
    paranoid: &'static str,
}

const ROOT: World = World {
    capabilities: u64::MAX,
    programs: true,
    memlock: 64 << 10,
    may_raise: true,
    lockdown: "[none] integrity confidentiality\n",
    paranoid: "2\n",
};

#[track_caller]
fn check(world: World, needs: Needs, expected: &Denial) {
    let fake = FakeKernel::new(move |call| match call {
        Call::Capabilities => Ok(Reply::Number(world.capabilities)),
        Call::Bpf(Bpf::ProgramLoad(_)) if world.programs => FakeKernel::object(),
        Call::Bpf(Bpf::ProgramLoad(_)) => Err(Errno::PERM),
        Call::Memlock => Ok(Reply::Number(world.memlock)),
        Call::RaiseMemlock if world.may_raise => Ok(Reply::Done),
        Call::RaiseMemlock => Err(Errno::PERM),
        Call::ReadFile(path) => {
            let text = match path.to_str() {
                Some("/sys/kernel/security/lockdown") => world.lockdown,
                Some("/proc/sys/kernel/perf_event_paranoid") => world.paranoid,
                other => panic!("{other:?}"),
            };
            Ok(Reply::Bytes(text.into()))
        }
        other => panic!("{other:?}"),
    });
    assert_eq!(cause(&fake, needs), *expected);
}

#[test]
fn missing_capabilities_are_named() {
    let lacks = |capabilities, needs, missing: &[&'static str]| {
        let expected = Denial::Capability {
            missing: missing.to_vec(),
        };
        check(
            World {
                capabilities,
                ..ROOT
            },
            needs,
            &expected,
        );
    };
    lacks(0, Needs::Tracing, &["CAP_BPF", "CAP_PERFMON"]);
    lacks(BPF, Needs::Tracing, &["CAP_PERFMON"]);
    lacks(PERFMON, Needs::Tracing, &["CAP_BPF"]);
    lacks(0, Needs::Bpf, &["CAP_BPF"]);
    lacks(BPF, Needs::Perf, &["CAP_PERFMON"]);
    lacks(BPF, Needs::Network, &["CAP_NET_ADMIN"]);
    lacks(0, Needs::of(ProgramType::SocketFilter), &["CAP_BPF"]);
    lacks(BPF | PERFMON, Needs::Admin, &["CAP_SYS_ADMIN"]);
}

#[test]
fn one_capability_replaces_the_finer_ones() {
    for needs in [
        Needs::Bpf,
        Needs::Tracing,
        Needs::Perf,
        Needs::Admin,
        Needs::Network,
    ] {
        check(
            World {
                capabilities: SYS_ADMIN,
                ..ROOT
            },
            needs,
            &Denial::Kernel,
        );
    }
    check(
        World {
            capabilities: BPF | PERFMON,
            ..ROOT
        },
        Needs::Tracing,
        &Denial::Kernel,
    );
}

#[test]
fn other_causes_are_told_apart() {
    let lockdown = "none integrity [confidentiality]\n";
    let expected = Denial::Lockdown {
        mode: "confidentiality".to_owned(),
    };
    check(World { lockdown, ..ROOT }, Needs::Tracing, &expected);
    // Integrity forbids none of what is asked for here.
    let lockdown = "none [integrity] confidentiality\n";
    check(World { lockdown, ..ROOT }, Needs::Tracing, &Denial::Kernel);
    check(
        World {
            lockdown: "",
            ..ROOT
        },
        Needs::Tracing,
        &Denial::Kernel,
    );
    check(
        World {
            programs: false,
            ..ROOT
        },
        Needs::Tracing,
        &Denial::Confined,
    );
    check(
        World {
            programs: false,
            capabilities: PERFMON,
            ..ROOT
        },
        Needs::Perf,
        &Denial::Kernel,
    );
    let world = World {
        programs: false,
        may_raise: false,
        ..ROOT
    };
    check(world, Needs::Tracing, &Denial::Memlock { limit: 64 << 10 });
    check(
        World {
            memlock: u64::MAX,
            ..world
        },
        Needs::Tracing,
        &Denial::Confined,
    );
}

#[test]
fn perf_events_may_need_more_than_their_capability() {
    let world = World {
        capabilities: BPF | PERFMON,
        paranoid: "3\n",
        ..ROOT
    };
    let missing = vec!["CAP_SYS_ADMIN (kernel.perf_event_paranoid is above 2)"];
    let expected = Denial::Capability { missing };
    check(world, Needs::Tracing, &expected);
    check(world, Needs::Perf, &expected);
    check(world, Needs::Bpf, &Denial::Kernel);
    for paranoid in ["2\n", "", "\n"] {
        check(World { paranoid, ..world }, Needs::Perf, &Denial::Kernel);
    }
    let capabilities = u64::MAX;
    check(
        World {
            capabilities,
            ..world
        },
        Needs::Perf,
        &Denial::Kernel,
    );
}

#[test]
fn only_refusals_are_looked_into() {
    let fake = FakeKernel::new(|call| panic!("{call:?}"));
    let error = explain(&fake, Needs::Bpf, "BPF_MAP_CREATE", Errno::NOMEM, "map m");
    assert_eq!(
        error.to_string(),
        "BPF_MAP_CREATE of map m: ENOMEM (Cannot allocate memory)"
    );
    let error = explain(&fake, Needs::Bpf, "BPF_MAP_CREATE", Errno::NOSYS, "map m");
    assert_eq!(error.to_string(), "this kernel has no BPF_MAP_CREATE");
}

#[test]
fn a_limit_counts_where_what_is_larger_is_refused() {
    let check = |limit: u64, may_raise: bool, refused: bool, expected: Option<u64>| {
        let fake = FakeKernel::new(move |call| match call {
            Call::Memlock => Ok(Reply::Number(limit)),
            Call::RaiseMemlock if may_raise => Ok(Reply::Done),
            Call::RaiseMemlock => Err(Errno::PERM),
            Call::Bpf(Bpf::MapCreate(map)) => {
                let bytes = u64::from(map.shape.value_size) * u64::from(map.shape.max_entries);
                assert!(bytes > limit);
                match refused {
                    true => Err(Errno::PERM),
                    false => kscope_sys::MapFd::fake(map.shape, 1).map(Reply::Map),
                }
            }
            other => panic!("{other:?}"),
        });
        let expected = expected.map(|limit| Denial::Memlock { limit });
        assert_eq!(used_up(&fake), expected, "{limit} {may_raise} {refused}");
    };
    check(64 << 10, false, true, Some(64 << 10));
    check(0, false, true, Some(0));
    check(64 << 10, false, false, None);
    check(64 << 10, true, true, None);
    check(u64::MAX, false, true, None);
}

#[test]
fn functions_may_be_what_is_refused() {
    let check = |raw: bool, kprobes: bool, attach: AttachKind, expected: Option<Denial>| {
        let fake = FakeKernel::new(move |call| match call {
            Call::Bpf(Bpf::ProgramLoad(load)) => {
                assert_eq!(load.kind, ProgramType::RawTracepoint as u32);
                match raw {
                    true => FakeKernel::object(),
                    false => Err(Errno::PERM),
                }
            }
            Call::ReadFile(path) if path.ends_with("type") && kprobes => {
                Ok(Reply::Bytes(b"8\n".to_vec()))
            }
            Call::ReadFile(_) => Err(Errno::NOENT),
            other => panic!("{other:?}"),
        });
        assert_eq!(trampolines(&fake, &attach), expected);
    };
    let entry = || AttachKind::FunctionEntry("vfs_read".to_owned());
    for kprobes in [true, false] {
        let denial = Denial::Trampoline { kprobes };
        let advice = denial.way_out().unwrap_or_default();
        assert_eq!(advice.starts_with("a kprobe"), kprobes, "{advice}");
        check(true, kprobes, entry(), Some(denial));
    }
    check(false, true, entry(), None);
    let typed = AttachKind::RawTracepointBtf("sched_switch".to_owned());
    check(true, true, typed, None);
}

#[test]
fn lockdown_is_told_or_said_to_be_unknown() {
    let check = |there: &'static [(&'static str, &'static str)], expected: Lockdown| {
        let fake = FakeKernel::new(move |call| match call {
            Call::ReadFile(path) => {
                let found = there
                    .iter()
                    .find(|(name, _)| path.ends_with(name) && !name.starts_with('/'));
                found.map_or(Err(Errno::NOENT), |(_, text)| {
                    Ok(Reply::Bytes((*text).into()))
                })
            }
            Call::ReadDetached { .. } if there.is_empty() => Err(Errno::PERM),
            Call::ReadDetached { kind, file } => {
                assert_eq!(kind, "securityfs");
                let found = there
                    .iter()
                    .find(|(name, _)| name.strip_prefix('/') == Some(file));
                found.map_or(Err(Errno::NOENT), |(_, text)| {
                    Ok(Reply::Bytes((*text).into()))
                })
            }
            other => panic!("{other:?}"),
        });
        assert_eq!(lockdown(&fake), expected, "{there:?}");
    };
    check(&[], Lockdown::Unknown);
    check(&[("lsm", "capability,yama")], Lockdown::Off);
    check(
        &[("lockdown", "[none] integrity confidentiality\n")],
        Lockdown::Off,
    );
    check(&[("/lsm", "capability,yama")], Lockdown::Off);
    let mode = Lockdown::Mode("integrity".to_owned());
    check(
        &[("lockdown", "none [integrity] confidentiality\n")],
        mode.clone(),
    );
    check(&[("/lockdown", "none [integrity] confidentiality\n")], mode);
    check(&[("lockdown", "")], Lockdown::Unknown);
}
