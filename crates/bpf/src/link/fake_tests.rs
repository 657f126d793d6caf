//! What links of the network ask of the kernel, and what its refusals mean.

use std::os::fd::AsFd;
use std::sync::{Arc, Mutex};

use kscope_spec::{AttachKind, AttachType, ProgramType};
use kscope_sys::{Bpf, Call, Errno, FakeKernel, LinkTarget, Order, ProgramQueryOutcome, Reply};

use super::{CgroupMode, Direction, Interface, Link, NetfilterHook, NetkitSide, TcFilter, XdpMode};
use crate::error::Error;
use crate::program::Program;

/// A program on a kernel that logs what it is asked, and refuses calls whose text begins so.
struct World {
    log: Arc<Mutex<Vec<String>>>,
    program: Program,
}

fn world(kind: ProgramType, attach: AttachKind, refuse: &'static [(&'static str, Errno)]) -> World {
    let log = Arc::new(Mutex::new(Vec::new()));
    let seen = log.clone();
    let fake = FakeKernel::new(move |call| {
        let text = describe(&call);
        let refused = refuse.iter().find(|(begin, _)| text.starts_with(begin));
        seen.lock().expect("no panic").push(text);
        // What is dumped and not echoed is remembered by the refusal of `echo`.
        let mute = refuse.iter().any(|(begin, _)| *begin == "echo");
        match (refused, call) {
            (None, Call::Netlink(request)) if mute => Ok(Reply::Bytes(mute_answer(request))),
            (None, Call::Bpf(Bpf::ProgramInfo { into, .. })) => {
                // The program's id.
                into[4..8].copy_from_slice(&77u32.to_ne_bytes());
                Ok(Reply::Done)
            }
            (Some(&(_, errno)), Call::Netlink(request)) => {
                Ok(Reply::Bytes(verdict(request, errno)))
            }
            (Some(&(_, errno)), _) => Err(errno),
            (None, Call::Netlink(request)) => Ok(Reply::Bytes(answer(request))),
            (None, Call::Bpf(Bpf::ProgramAttach(_) | Bpf::ProgramDetach(_)))
            | (None, Call::SocketProgram { .. }) => Ok(Reply::Done),
            (None, Call::Bpf(Bpf::ProgramQuery(_))) => Ok(Reply::Query(ProgramQueryOutcome {
                count: 1,
                ..ProgramQueryOutcome::default()
            })),
            (None, Call::Capabilities) => Ok(Reply::Number(u64::MAX)),
            (None, Call::ReadFile(_)) => Err(Errno::NOENT),
            (None, _) => FakeKernel::object(),
        }
    });
    let program = Program::fake(fake, kind, attach, "");
    World { log, program }
}

fn describe(call: &Call<'_>) -> String {
    match call {
        Call::Netlink(request) => {
            let kind = u16::from_ne_bytes([request[4], request[5]]);
            let flags = u16::from_ne_bytes([request[6], request[7]]);
            format!("netlink {kind} {flags:#x}")
        }
        Call::Bpf(Bpf::LinkCreate(link)) => {
            let target = match link.target {
                LinkTarget::Interface { interface, .. } => format!("interface {interface}"),
                LinkTarget::Xdp { interface, flags } => format!("xdp {interface} {flags}"),
                LinkTarget::Cgroup { order, .. } => format!("cgroup {order:?}"),
                LinkTarget::Netfilter { .. } => "netfilter".to_owned(),
                LinkTarget::Descriptor(_) => "descriptor".to_owned(),
                other => format!("{other:?}"),
            };
            format!("link {} {target}", link.attach_type)
        }
        Call::Bpf(Bpf::ProgramAttach(attach)) => {
            let replaced = attach.replace.is_some();
            format!("attach {} {} {replaced}", attach.attach_type, attach.flags)
        }
        Call::Bpf(Bpf::ProgramDetach(detach)) => format!("detach {}", detach.attach_type),
        Call::SocketProgram { place, program, .. } => {
            format!("socket {place:?} {}", program.is_some())
        }
        other => other.name().to_owned(),
    }
}

/// A message of rtnetlink.
fn message(kind: u16, body: &[u8]) -> Vec<u8> {
    let mut bytes = (16 + body.len() as u32).to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend([0; 10]);
    bytes.extend(body);
    bytes
}

fn verdict(request: &[u8], errno: Errno) -> Vec<u8> {
    let code = errno.0.wrapping_neg().to_ne_bytes();
    message(2, &[&code, &request[..16]].concat())
}

/// What a kernel answers: a filter that was asked for comes back with handle 5 and priority 49152.
fn answer(request: &[u8]) -> Vec<u8> {
    const NEW_FILTER: u16 = 44;
    let mut bytes = Vec::new();
    if request[4..6] == NEW_FILTER.to_ne_bytes() {
        let mut body = request[16..36].to_vec();
        body[8..12].copy_from_slice(&5u32.to_ne_bytes());
        body[16..20].copy_from_slice(&(49152u32 << 16 | 0x300).to_ne_bytes());
        bytes = message(NEW_FILTER, &body);
    }
    bytes.extend(verdict(request, Errno(0)));
    bytes
}

/// What a kernel without room for echoes answers; its dump has filters of three programs.
fn mute_answer(request: &[u8]) -> Vec<u8> {
    const GET_FILTER: u16 = 46;
    let mut bytes = Vec::new();
    if request[4..6] == GET_FILTER.to_ne_bytes() {
        for (handle, program) in [(1u32, 76u32), (6, 77), (7, 78)] {
            let mut body = request[16..36].to_vec();
            body[8..12].copy_from_slice(&handle.to_ne_bytes());
            body[16..20].copy_from_slice(&(5u32 << 16 | 0x300).to_ne_bytes());
            // Options, and in them the program's id.
            body.extend([12u16.to_ne_bytes(), 2u16.to_ne_bytes()].concat());
            body.extend([8u16.to_ne_bytes(), 11u16.to_ne_bytes()].concat());
            body.extend(program.to_ne_bytes());
            bytes.extend(message(44, &body));
        }
    }
    bytes.extend(verdict(request, Errno(0)));
    bytes
}

type Attach = fn(&Program) -> Result<Link, Error>;

/// Attaches and drops, and compares what was asked.
#[track_caller]
fn check(kind: ProgramType, attach_kind: AttachKind, attach: Attach, expected: &[&str]) {
    let world = world(kind, attach_kind, &[]);
    let link = attach(&world.program).unwrap_or_else(|error| panic!("{error}"));
    drop(link);
    assert_eq!(*world.log.lock().expect("no panic"), expected);
}

/// Compares the words of a refusal.
#[track_caller]
fn refused(
    kind: ProgramType,
    attach_kind: AttachKind,
    refuse: &'static [(&'static str, Errno)],
    attach: Attach,
    expected: &str,
) {
    let world = world(kind, attach_kind, refuse);
    let error = attach(&world.program).expect_err("refused");
    assert_eq!(error.to_string(), expected);
}

const LO: Interface = Interface(1);

fn tc(program: &Program) -> Result<Link, Error> {
    program.attach_tc(LO, Direction::Ingress, TcFilter::default())
}

fn tcx(program: &Program) -> Result<Link, Error> {
    program.attach_tcx(LO, Direction::Egress, Order::Unsaid)
}

fn cgroup(program: &Program) -> Result<Link, Error> {
    program.attach_cgroup(program.as_fd(), Order::First)
}

#[test]
fn attachments_are_asked_for_and_taken_back() {
    let none = || AttachKind::None;
    check(
        ProgramType::Xdp,
        none(),
        |program| program.attach_xdp(LO, XdpMode::Generic),
        &["link 37 xdp 1 2"],
    );
    check(
        ProgramType::Xdp,
        none(),
        |program| program.attach_xdp_netlink(LO, XdpMode::Driver, None),
        &["netlink 19 0x5", "netlink 19 0x5"],
    );
    check(
        ProgramType::SchedCls,
        none(),
        tc,
        &["netlink 36 0x605", "netlink 44 0x60d", "netlink 45 0x5"],
    );
    check(ProgramType::SchedCls, none(), tcx, &["link 47 interface 1"]);
    check(
        ProgramType::SchedCls,
        none(),
        |program| program.attach_netkit(LO, NetkitSide::Peer, Order::Unsaid),
        &["link 55 interface 1"],
    );
    check(
        ProgramType::CgroupDevice,
        none(),
        |program| program.attach_cgroup(program.as_fd(), Order::Unsaid),
        &["link 6 cgroup Unsaid"],
    );
    check(
        ProgramType::SockOps,
        none(),
        |program| {
            let cgroup = program.as_fd();
            let mode = CgroupMode::Override;
            program.attach_cgroup_unlinked(cgroup, mode, Some(program), Order::Unsaid)
        },
        &["attach 3 1 true", "detach 3"],
    );
    check(
        ProgramType::SocketFilter,
        none(),
        |program| program.attach_socket(program.as_fd()),
        &["socket Filter true", "socket Filter false"],
    );
}

#[test]
fn refusals_name_what_brings_the_feature() {
    let none = || AttachKind::None;
    refused(
        ProgramType::SchedCls,
        none(),
        &[("link", Errno::INVAL)],
        tcx,
        "this kernel has no tcx hooks (it comes with Linux 6.6)",
    );
    // The kernel knows tcx: an interface that nobody has is told apart.
    refused(
        ProgramType::SchedCls,
        none(),
        &[
            ("link 47 interface 2147483647", Errno::NODEV),
            ("link", Errno::INVAL),
        ],
        tcx,
        "BPF_LINK_CREATE of tcx:1:egress: EINVAL (Invalid argument)",
    );
    refused(
        ProgramType::SchedCls,
        none(),
        &[("netlink 36", Errno::NOENT)],
        tc,
        "this kernel has no clsact (it comes with CONFIG_NET_SCH_INGRESS)",
    );
    refused(
        ProgramType::SchedCls,
        none(),
        &[("netlink 44", Errno::NOENT)],
        tc,
        "this kernel has no BPF filters of tc (it comes with CONFIG_NET_CLS_BPF)",
    );
    refused(
        ProgramType::SchedCls,
        none(),
        &[("netlink", Errno::NODEV)],
        tc,
        "there is no network interface with number 1",
    );
    let egress = || AttachKind::Expected(AttachType::CgroupInetEgress);
    // A cgroup above lets no other program in; and one where nothing is.
    refused(
        ProgramType::CgroupSkb,
        egress(),
        &[("link", Errno::PERM)],
        cgroup,
        "BPF_LINK_CREATE of program p (one that is at this hook, here or in a cgroup above, may have left \
         no room for others or been attached in another mode): EPERM (Operation not permitted)",
    );
    refused(
        ProgramType::CgroupSkb,
        egress(),
        &[("link", Errno::PERM), ("BPF_PROG_QUERY", Errno::INVAL)],
        cgroup,
        "BPF_LINK_CREATE is not permitted: the process has the capabilities and may load other programs, \
         but the kernel, or a security module of it, refuses this to everyone, root included",
    );
    refused(
        ProgramType::CgroupSkb,
        egress(),
        &[("link 1 cgroup First", Errno::INVAL)],
        cgroup,
        "this kernel has no order among a cgroup's programs (it comes with Linux 6.17)",
    );
    refused(
        ProgramType::CgroupSkb,
        none(),
        &[],
        cgroup,
        "program p was loaded without an attach type, so the cgroup's hook is not known",
    );
    refused(
        ProgramType::Xdp,
        none(),
        &[],
        cgroup,
        "program p of type Xdp cannot be attached to a cgroup",
    );
    refused(
        ProgramType::Xdp,
        none(),
        &[("link", Errno::INVAL), ("netlink 18", Errno::NODEV)],
        |program| program.attach_xdp(LO, XdpMode::Any),
        "there is no network interface with number 1",
    );
    refused(
        ProgramType::Netfilter,
        none(),
        &[("link", Errno::OPNOTSUPP)],
        |program| {
            program.attach_netfilter(&NetfilterHook {
                family: 2,
                hook: 1,
                priority: 0,
                defragment: false,
            })
        },
        "this kernel has no netfilter links (it comes with CONFIG_NETFILTER_BPF_LINK)",
    );
}

#[test]
fn a_locked_filter_is_no_matter_of_permission() {
    refused(
        ProgramType::SocketFilter,
        AttachKind::None,
        &[("socket", Errno::PERM)],
        |program| program.attach_socket(program.as_fd()),
        "setsockopt of socket:Filter, whose filter may be locked (SO_LOCK_FILTER): EPERM (Operation not permitted)",
    );
}

#[test]
fn a_filter_that_is_not_echoed_is_looked_for() {
    let world = world(
        ProgramType::SchedCls,
        AttachKind::None,
        &[("echo", Errno(0))],
    );
    let link = tc(&world.program).expect("it is there");
    assert_eq!(link.target(), "tc:1:ingress:5");
    drop(link);
    let log = world.log.lock().expect("no panic");
    let asked: Vec<&str> = log.iter().map(String::as_str).collect();
    let expected = [
        "netlink 36 0x605",
        "netlink 44 0x60d",
        "BPF_OBJ_GET_INFO_BY_FD",
    ];
    assert_eq!(asked[..3], expected);
    assert_eq!(asked[3..], ["netlink 46 0x305", "netlink 45 0x5"]);
}

#[test]
fn a_refused_order_attaches_nothing() {
    let egress = AttachKind::Expected(AttachType::CgroupInetEgress);
    let refuse = &[("link 1 cgroup First", Errno::INVAL)];
    let world = world(ProgramType::CgroupSkb, egress, refuse);
    cgroup(&world.program).expect_err("no order here");
    let log = world.log.lock().expect("no panic");
    assert!(
        log.iter().all(|call| call == "link 1 cgroup First"),
        "{log:?}"
    );
}

#[test]
fn links_without_descriptors_say_so() {
    let world = world(ProgramType::SchedCls, AttachKind::None, &[]);
    let link = tc(&world.program).expect("attached");
    assert_eq!(link.target(), "tc:1:ingress:49152");
    let pinned = link.pin("/sys/fs/bpf/x").expect_err("no link");
    assert_eq!(
        pinned.to_string(),
        "tc:1:ingress:49152 was attached without a BPF link"
    );
    link.leave();
    let log = world.log.lock().expect("no panic");
    assert!(
        !log.iter().any(|call| call.starts_with("netlink 45")),
        "left"
    );
}
