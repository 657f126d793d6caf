//! Names of sections: every pattern, targets, what is no name.

use super::*;

fn check(name: &str, kind: K, attach: AttachKind, flags: u32) {
    let found = lookup(name).unwrap_or_else(|| panic!("{name} is unknown"));
    let got = (found.kind, found.attach_kind(name), found.flags);
    assert_eq!(got, (kind, attach, flags), "{name}");
}

#[test]
fn names() {
    let to = |target: &str| target.to_owned();
    let none = AttachKind::None;
    check("socket", K::SocketFilter, none.clone(), 0);
    check("kprobe", K::Kprobe, none.clone(), 0);
    check("kprobe/do_unlinkat", K::Kprobe, none.clone(), 0);
    check("uprobe.s//bin/sh:main", K::Kprobe, none.clone(), SLEEPABLE);
    check("usdt.s/a:b:c", K::Kprobe, none.clone(), SLEEPABLE);
    check("tp/sched/sched_switch", K::Tracepoint, none.clone(), 0);
    check("raw_tp.w/x", K::RawTracepointWritable, none.clone(), 0);
    check("tc", K::SchedCls, none.clone(), 0);
    check("syscall", K::Syscall, none.clone(), SLEEPABLE);
    check("struct_ops.s/init", K::StructOps, none, SLEEPABLE);
    let expected = AttachKind::Expected;
    check(
        "kprobe.multi/a*",
        K::Kprobe,
        expected(A::TraceKprobeMulti),
        0,
    );
    check("tc/ingress", K::SchedCls, expected(A::TcxIngress), 0);
    check("tcx/egress", K::SchedCls, expected(A::TcxEgress), 0);
    check("netkit/peer", K::SchedCls, expected(A::NetkitPeer), 0);
    check("xdp", K::Xdp, expected(A::Xdp), 0);
    check(
        "xdp.frags/cpumap",
        K::Xdp,
        expected(A::XdpCpumap),
        XDP_HAS_FRAGS,
    );
    check(
        "cgroup/connect_unix",
        K::CgroupSockAddr,
        expected(A::CgroupUnixConnect),
        0,
    );
    check(
        "cgroup_skb/egress",
        K::CgroupSkb,
        expected(A::CgroupInetEgress),
        0,
    );
    check("netfilter", K::Netfilter, expected(A::Netfilter), 0);
    check("sk_lookup", K::SkLookup, expected(A::SkLookup), 0);
    let multi = expected(A::TraceFexitMulti);
    check("fexit.multi.s/a*", K::Tracing, multi, SLEEPABLE);
    check(
        "tp_btf/x",
        K::Tracing,
        AttachKind::RawTracepointBtf(to("x")),
        0,
    );
    check("fentry", K::Tracing, AttachKind::FunctionEntry(to("")), 0);
    check(
        "fexit.s/mod:f",
        K::Tracing,
        AttachKind::FunctionExit(to("mod:f")),
        SLEEPABLE,
    );
    check(
        "fsession/f",
        K::Tracing,
        AttachKind::FunctionSession(to("f")),
        0,
    );
    check(
        "fmod_ret/f",
        K::Tracing,
        AttachKind::ModifyReturn(to("f")),
        0,
    );
    check(
        "iter.s/task",
        K::Tracing,
        AttachKind::Iterator(to("task")),
        SLEEPABLE,
    );
    check("lsm/bpf", K::Lsm, AttachKind::Lsm(to("bpf")), 0);
    check(
        "lsm_cgroup/bpf",
        K::Lsm,
        AttachKind::LsmCgroup(to("bpf")),
        0,
    );
    check("freplace/f", K::Ext, AttachKind::Extension(to("f")), 0);
}

#[test]
fn every_pattern_finds_itself() {
    assert_eq!(ALL.len(), 116);
    for known in ALL {
        match known.pattern.strip_suffix('+') {
            Some(name) => {
                assert_eq!(lookup(name), Some(known));
                assert_eq!(lookup(&format!("{name}/target")), Some(known));
            }
            None => assert_eq!(lookup(known.pattern), Some(known)),
        }
        assert_eq!(lookup(&format!("{}x", known.pattern)), None);
    }
}

#[test]
fn no_names() {
    for name in [
        "",
        "?kprobe",
        "kprobes",
        "xdp/",
        "xdp/devmpa",
        "tc/ingres",
        "cgroup/x",
        "maps",
        "xdp_prog",
        ".text",
    ] {
        assert_eq!(lookup(name), None, "{name}");
    }
}

#[test]
fn names_with_more() {
    for (name, pattern) in [
        ("xdp/my_filter", "xdp"),
        ("tc/from-container", "tc"),
        ("socket/tail/1", "socket"),
        ("cgroup/connect4/mine", "cgroup/connect4"),
        ("sk_lookup/", "sk_lookup"),
    ] {
        assert_eq!(lookup(name).map(|s| s.pattern), Some(pattern), "{name}");
    }
}

#[test]
fn near_names() {
    for (name, near) in [
        ("traecpoint/a/b", Some("tracepoint")),
        ("cgroup/conect4", Some("cgroup/connect4")),
        ("kprobe_multi/f", Some("kprobe.multi")),
        ("xdp_", Some("xdp")),
        ("nothing_like_it", None),
    ] {
        assert_eq!(nearest(name), near, "{name}");
    }
}
