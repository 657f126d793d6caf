//! Names of sections: which type of program stands there, and where it attaches.
//!
//! The names are libbpf's (1.7): a name as it is, or with a target after a slash
//! (`tracepoint/sched/sched_switch`).

use crate::object::{AttachKind, AttachType as A, ProgramType as K};

/// Load flag: the program may sleep (`BPF_F_SLEEPABLE`).
pub const SLEEPABLE: u32 = 1 << 4;
/// Load flag: the program takes packets of several pieces (`BPF_F_XDP_HAS_FRAGS`).
pub const XDP_HAS_FRAGS: u32 = 1 << 5;

/// What a section's name says of the programs in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SectionName {
    /// The name; a `+` at its end stands for nothing, or a slash and a target.
    pub pattern: &'static str,
    /// Type of the programs.
    pub kind: K,
    /// Their attach type, where the name says one.
    pub attach_type: Option<A>,
    /// Load flags: [`SLEEPABLE`], [`XDP_HAS_FRAGS`].
    pub flags: u32,
}

/// Finds what a section's name says; a leading `?` is no part of a name.
///
/// A name that takes no target may have anything after a slash all the same (`xdp/my_filter`), as
/// cilium/ebpf has it and libbpf had it before 1.0, unless that is near to another name
/// (`xdp/devmpa`).
#[must_use]
pub fn lookup(name: &str) -> Option<&'static SectionName> {
    let exact = |name: &str| ALL.iter().find(|known| known.matches(name));
    exact(name).or_else(|| {
        let base = name
            .rmatch_indices('/')
            .find_map(|(slash, _)| exact(name.get(..slash)?))?;
        let others = ALL.iter().filter(|known| *known != base);
        let near = kscope_btf::nearest(name, others.map(|known| known.pattern), 1);
        near.is_empty().then_some(base)
    })
}

/// Gives what follows the first slash of a section's name: the target, empty where there is none.
#[must_use]
pub fn target(name: &str) -> &str {
    name.split_once('/').map_or("", |(_, target)| target)
}

/// Gives the module that a section's target names before a colon (`fentry.multi/MODULE:PATTERN`).
#[must_use]
pub fn module(name: &str) -> Option<&str> {
    Some(target(name).split_once(':')?.0)
}

/// Gives a known name that is near to an unknown one, without its `+`.
#[must_use]
pub fn nearest(name: &str) -> Option<&'static str> {
    let head = |pattern: &'static str| pattern.trim_end_matches('+');
    let whole = kscope_btf::nearest(name, ALL.iter().map(|known| head(known.pattern)), 1);
    if let Some(near) = whole.first() {
        return Some(near);
    }
    // `kprobe_multi/foo`: what is before the target is compared alone.
    let (before, _) = name.split_once('/')?;
    let open = ALL.iter().filter(|known| known.pattern.ends_with('+'));
    kscope_btf::nearest(before, open.map(|known| head(known.pattern)), 1)
        .first()
        .copied()
}

impl SectionName {
    fn matches(&self, name: &str) -> bool {
        match self.pattern.strip_suffix('+') {
            Some(before) => name
                .strip_prefix(before)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/')),
            None => name == self.pattern,
        }
    }

    /// Gives what a program in the section `name` has to tell at load time beside its type; of a
    /// member of a table of functions, what the table says comes in place of this.
    #[must_use]
    pub fn attach_kind(&self, name: &str) -> AttachKind {
        let target = target(name).to_owned();
        match (self.kind, self.attach_type) {
            (K::Ext, _) => AttachKind::Extension(target),
            (_, None) => AttachKind::None,
            (_, Some(A::TraceRawTp)) => AttachKind::RawTracepointBtf(target),
            (_, Some(A::TraceFentry)) => AttachKind::FunctionEntry(target),
            (_, Some(A::TraceFexit)) => AttachKind::FunctionExit(target),
            (_, Some(A::TraceFsession)) => AttachKind::FunctionSession(target),
            (_, Some(A::ModifyReturn)) => AttachKind::ModifyReturn(target),
            (_, Some(A::LsmMac)) => AttachKind::Lsm(target),
            (_, Some(A::LsmCgroup)) => AttachKind::LsmCgroup(target),
            (_, Some(A::TraceIter)) => AttachKind::Iterator(target),
            (_, Some(other)) => AttachKind::Expected(other),
        }
    }

    const fn sleepable(mut self) -> SectionName {
        self.flags |= SLEEPABLE;
        self
    }

    const fn frags(mut self) -> SectionName {
        self.flags |= XDP_HAS_FRAGS;
        self
    }
}

const fn plain(pattern: &'static str, kind: K) -> SectionName {
    SectionName {
        pattern,
        kind,
        attach_type: None,
        flags: 0,
    }
}

const fn typed(pattern: &'static str, kind: K, attach_type: A) -> SectionName {
    SectionName {
        attach_type: Some(attach_type),
        ..plain(pattern, kind)
    }
}

/// All names, by type.
pub const ALL: &[SectionName] = &[
    plain("socket", K::SocketFilter),
    typed(
        "sk_reuseport/migrate",
        K::SkReuseport,
        A::SkReuseportSelectOrMigrate,
    ),
    typed("sk_reuseport", K::SkReuseport, A::SkReuseportSelect),
    plain("kprobe+", K::Kprobe),
    plain("uprobe+", K::Kprobe),
    plain("uprobe.s+", K::Kprobe).sleepable(),
    plain("kretprobe+", K::Kprobe),
    plain("uretprobe+", K::Kprobe),
    plain("uretprobe.s+", K::Kprobe).sleepable(),
    typed("kprobe.multi+", K::Kprobe, A::TraceKprobeMulti),
    typed("kretprobe.multi+", K::Kprobe, A::TraceKprobeMulti),
    typed("kprobe.session+", K::Kprobe, A::TraceKprobeSession),
    typed("uprobe.multi+", K::Kprobe, A::TraceUprobeMulti),
    typed("uretprobe.multi+", K::Kprobe, A::TraceUprobeMulti),
    typed("uprobe.session+", K::Kprobe, A::TraceUprobeSession),
    typed("uprobe.multi.s+", K::Kprobe, A::TraceUprobeMulti).sleepable(),
    typed("uretprobe.multi.s+", K::Kprobe, A::TraceUprobeMulti).sleepable(),
    typed("uprobe.session.s+", K::Kprobe, A::TraceUprobeSession).sleepable(),
    plain("ksyscall+", K::Kprobe),
    plain("kretsyscall+", K::Kprobe),
    plain("usdt+", K::Kprobe),
    plain("usdt.s+", K::Kprobe).sleepable(),
    typed("tc/ingress", K::SchedCls, A::TcxIngress),
    typed("tc/egress", K::SchedCls, A::TcxEgress),
    typed("tcx/ingress", K::SchedCls, A::TcxIngress),
    typed("tcx/egress", K::SchedCls, A::TcxEgress),
    plain("tc", K::SchedCls),
    plain("classifier", K::SchedCls),
    typed("netkit/primary", K::SchedCls, A::NetkitPrimary),
    typed("netkit/peer", K::SchedCls, A::NetkitPeer),
    plain("action", K::SchedAct),
    plain("tracepoint+", K::Tracepoint),
    plain("tp+", K::Tracepoint),
    plain("tracepoint.s+", K::Tracepoint).sleepable(),
    plain("tp.s+", K::Tracepoint).sleepable(),
    plain("raw_tracepoint+", K::RawTracepoint),
    plain("raw_tp+", K::RawTracepoint),
    plain("raw_tracepoint.s+", K::RawTracepoint).sleepable(),
    plain("raw_tp.s+", K::RawTracepoint).sleepable(),
    plain("raw_tracepoint.w+", K::RawTracepointWritable),
    plain("raw_tp.w+", K::RawTracepointWritable),
    typed("tp_btf+", K::Tracing, A::TraceRawTp),
    typed("tp_btf.s+", K::Tracing, A::TraceRawTp).sleepable(),
    typed("fentry+", K::Tracing, A::TraceFentry),
    typed("fmod_ret+", K::Tracing, A::ModifyReturn),
    typed("fexit+", K::Tracing, A::TraceFexit),
    typed("fentry.s+", K::Tracing, A::TraceFentry).sleepable(),
    typed("fmod_ret.s+", K::Tracing, A::ModifyReturn).sleepable(),
    typed("fexit.s+", K::Tracing, A::TraceFexit).sleepable(),
    typed("fsession+", K::Tracing, A::TraceFsession),
    typed("fsession.s+", K::Tracing, A::TraceFsession).sleepable(),
    typed("fsession.multi+", K::Tracing, A::TraceFsessionMulti),
    typed("fsession.multi.s+", K::Tracing, A::TraceFsessionMulti).sleepable(),
    typed("fentry.multi+", K::Tracing, A::TraceFentryMulti),
    typed("fexit.multi+", K::Tracing, A::TraceFexitMulti),
    typed("fentry.multi.s+", K::Tracing, A::TraceFentryMulti).sleepable(),
    typed("fexit.multi.s+", K::Tracing, A::TraceFexitMulti).sleepable(),
    typed("iter+", K::Tracing, A::TraceIter),
    typed("iter.s+", K::Tracing, A::TraceIter).sleepable(),
    plain("freplace+", K::Ext),
    typed("lsm+", K::Lsm, A::LsmMac),
    typed("lsm.s+", K::Lsm, A::LsmMac).sleepable(),
    typed("lsm_cgroup+", K::Lsm, A::LsmCgroup),
    plain("syscall", K::Syscall).sleepable(),
    typed("xdp.frags/devmap", K::Xdp, A::XdpDevmap).frags(),
    typed("xdp/devmap", K::Xdp, A::XdpDevmap),
    typed("xdp.frags/cpumap", K::Xdp, A::XdpCpumap).frags(),
    typed("xdp/cpumap", K::Xdp, A::XdpCpumap),
    typed("xdp.frags", K::Xdp, A::Xdp).frags(),
    typed("xdp", K::Xdp, A::Xdp),
    plain("perf_event", K::PerfEvent),
    plain("lwt_in", K::LwtIn),
    plain("lwt_out", K::LwtOut),
    plain("lwt_xmit", K::LwtXmit),
    plain("lwt_seg6local", K::LwtSeg6Local),
    typed("sockops", K::SockOps, A::CgroupSockOps),
    typed("sk_skb/stream_parser", K::SkSkb, A::SkSkbStreamParser),
    typed("sk_skb/stream_verdict", K::SkSkb, A::SkSkbStreamVerdict),
    typed("sk_skb/verdict", K::SkSkb, A::SkSkbVerdict),
    plain("sk_skb", K::SkSkb),
    typed("sk_msg", K::SkMsg, A::SkMsgVerdict),
    typed("lirc_mode2", K::LircMode2, A::LircMode2),
    typed("flow_dissector", K::FlowDissector, A::FlowDissector),
    typed("cgroup_skb/ingress", K::CgroupSkb, A::CgroupInetIngress),
    typed("cgroup_skb/egress", K::CgroupSkb, A::CgroupInetEgress),
    plain("cgroup/skb", K::CgroupSkb),
    typed("cgroup/sock_create", K::CgroupSock, A::CgroupInetSockCreate),
    typed(
        "cgroup/sock_release",
        K::CgroupSock,
        A::CgroupInetSockRelease,
    ),
    typed("cgroup/sock", K::CgroupSock, A::CgroupInetSockCreate),
    typed("cgroup/post_bind4", K::CgroupSock, A::CgroupInet4PostBind),
    typed("cgroup/post_bind6", K::CgroupSock, A::CgroupInet6PostBind),
    typed("cgroup/bind4", K::CgroupSockAddr, A::CgroupInet4Bind),
    typed("cgroup/bind6", K::CgroupSockAddr, A::CgroupInet6Bind),
    typed("cgroup/connect4", K::CgroupSockAddr, A::CgroupInet4Connect),
    typed("cgroup/connect6", K::CgroupSockAddr, A::CgroupInet6Connect),
    typed(
        "cgroup/connect_unix",
        K::CgroupSockAddr,
        A::CgroupUnixConnect,
    ),
    typed("cgroup/sendmsg4", K::CgroupSockAddr, A::CgroupUdp4Sendmsg),
    typed("cgroup/sendmsg6", K::CgroupSockAddr, A::CgroupUdp6Sendmsg),
    typed(
        "cgroup/sendmsg_unix",
        K::CgroupSockAddr,
        A::CgroupUnixSendmsg,
    ),
    typed("cgroup/recvmsg4", K::CgroupSockAddr, A::CgroupUdp4Recvmsg),
    typed("cgroup/recvmsg6", K::CgroupSockAddr, A::CgroupUdp6Recvmsg),
    typed(
        "cgroup/recvmsg_unix",
        K::CgroupSockAddr,
        A::CgroupUnixRecvmsg,
    ),
    typed(
        "cgroup/getpeername4",
        K::CgroupSockAddr,
        A::CgroupInet4Getpeername,
    ),
    typed(
        "cgroup/getpeername6",
        K::CgroupSockAddr,
        A::CgroupInet6Getpeername,
    ),
    typed(
        "cgroup/getpeername_unix",
        K::CgroupSockAddr,
        A::CgroupUnixGetpeername,
    ),
    typed(
        "cgroup/getsockname4",
        K::CgroupSockAddr,
        A::CgroupInet4Getsockname,
    ),
    typed(
        "cgroup/getsockname6",
        K::CgroupSockAddr,
        A::CgroupInet6Getsockname,
    ),
    typed(
        "cgroup/getsockname_unix",
        K::CgroupSockAddr,
        A::CgroupUnixGetsockname,
    ),
    typed("cgroup/sysctl", K::CgroupSysctl, A::CgroupSysctl),
    typed("cgroup/getsockopt", K::CgroupSockopt, A::CgroupGetsockopt),
    typed("cgroup/setsockopt", K::CgroupSockopt, A::CgroupSetsockopt),
    typed("cgroup/dev", K::CgroupDevice, A::CgroupDevice),
    plain("struct_ops+", K::StructOps),
    plain("struct_ops.s+", K::StructOps).sleepable(),
    typed("sk_lookup", K::SkLookup, A::SkLookup),
    typed("netfilter", K::Netfilter, A::Netfilter),
];

#[cfg(test)]
mod tests;
