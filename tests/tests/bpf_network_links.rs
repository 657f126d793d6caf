//! Links of the network: interfaces, cgroups, netfilter, sockets, namespaces. Attached they count
//! packets, dropped they do not.
//@ modules: cls_bpf sch_ingress nf_defrag_ipv4 nf_defrag_ipv6

use std::fs::File;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::sync::Mutex;
use std::time::Duration;

use kscope_bpf::spec::{AttachKind, AttachType, MapKind, ProgramId, ProgramType};
use kscope_bpf::sys::SharedKernel;
use kscope_bpf::{
    CgroupMode, Direction, Error, Interface, Link, LinkKind, NetfilterHook, NetkitSide, Object,
    Order, Peer, Program, TcFilter, UpdateMode, XdpMode,
};
use kscope_tests::assembly::{Assembly, program};
use kscope_tests::cgroup::Cgroup;
use kscope_tests::pins::Pins;
use kscope_tests::{kernel_or_skip, skip};

/// Tests here share the loopback interface.
static LOOPBACK: Mutex<()> = Mutex::new(());

/// Counts, and gives this result.
fn counting(result: i32) -> String {
    format!("r1 = map_value(hits) + 0 ll\nr2 = 1\nlock *(u64 *)(r1 + 0) += r2\nr0 = {result}\nexit")
}

/// Loads two counting programs of a kind, which share one counter.
fn load(
    kernel: &SharedKernel,
    kind: ProgramType,
    attach: &AttachKind,
    result: i32,
) -> Result<Object, Error> {
    let assembly = Assembly::new()
        .map("hits", MapKind::Array, (4, 8), 1)
        .program("first", kind, attach.clone(), &counting(result))
        .program("second", kind, attach.clone(), &counting(result));
    let object = assembly.load(kernel)?;
    object.program(ProgramId(0))?;
    Ok(object)
}

fn second(object: &Object) -> &Program {
    object.program(ProgramId(1)).expect("loaded")
}

/// Takes the counter.
fn take(object: &Object) -> u64 {
    let map = object.map_named("hits").expect("there");
    let value = map.lookup(&[0; 4]).expect("readable").expect("there");
    map.update(&[0; 4], &[0; 8], UpdateMode::Any)
        .expect("writable");
    u64::from_ne_bytes(value.try_into().expect("8 bytes"))
}

/// Sends a datagram to this machine and gets it.
fn ping() {
    let to = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let from = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    to.set_read_timeout(Some(Duration::from_secs(2)))
        .expect("set");
    let address = to.local_addr().expect("bound");
    from.send_to(b"ping", address).expect("sent");
    let mut bytes = [0; 16];
    assert_eq!(to.recv(&mut bytes).expect("received"), 4);
}

/// Expects hits while the link is there and none after.
#[track_caller]
fn fires(object: &Object, link: Result<Link, Error>, act: impl Fn()) {
    let link = link.unwrap_or_else(|error| panic!("{error}"));
    take(object);
    act();
    assert!(take(object) > 0, "{} did not fire", link.target());
    link.detach().expect("was attached");
    take(object);
    act();
    assert_eq!(take(object), 0, "still attached");
}

fn loopback(kernel: &SharedKernel) -> Interface {
    Interface::named(&**kernel, "lo").expect("every machine")
}

#[test]
fn xdp_sees_packets_of_the_loopback() {
    let kernel = kernel_or_skip!();
    let _alone = LOOPBACK.lock();
    let lo = loopback(&kernel);
    let object = load(&kernel, ProgramType::Xdp, &AttachKind::None, 2).expect("loads");
    fires(&object, program(&object).attach_xdp(lo, XdpMode::Any), ping);
    let generic = program(&object).attach_xdp(lo, XdpMode::Generic);
    fires(&object, generic, ping);
    let link = program(&object)
        .attach_xdp(lo, XdpMode::Generic)
        .expect("attached");
    let details = link.details().expect("a link");
    assert_eq!(details.kind, LinkKind::Xdp { interface: lo.0 });
    assert_eq!(details.program, program(&object).info().expect("loaded").id);
    let taken = second(&object).attach_xdp(lo, XdpMode::Generic);
    assert_eq!(
        taken.expect_err("taken").to_string(),
        format!(
            "BPF_LINK_CREATE of xdp:{}: EBUSY (Device or resource busy)",
            lo.0
        )
    );
    // Another program in its place, by the link.
    link.replace(program(&object), second(&object))
        .expect("as it was");
    let gone = link.replace(program(&object), second(&object));
    assert!(matches!(gone, Err(Error::Os { .. })), "{gone:?}");
    let details = link.details().expect("a link");
    assert_eq!(details.program, second(&object).info().expect("loaded").id);
    drop(link);
    let no = program(&object).attach_xdp(Interface(0x7fff_fff0), XdpMode::Any);
    assert!(matches!(no, Err(Error::NotFound { .. })), "{no:?}");
}

#[test]
fn xdp_is_attached_by_netlink_as_well() {
    let kernel = kernel_or_skip!();
    let _alone = LOOPBACK.lock();
    let lo = loopback(&kernel);
    let object = load(&kernel, ProgramType::Xdp, &AttachKind::None, 2).expect("loads");
    let (one, two) = (program(&object), second(&object));
    fires(
        &object,
        one.attach_xdp_netlink(lo, XdpMode::Generic, None),
        ping,
    );
    let first = one
        .attach_xdp_netlink(lo, XdpMode::Generic, None)
        .expect("attached");
    let taken = two.attach_xdp_netlink(lo, XdpMode::Generic, None);
    assert!(taken.is_err(), "a program is there");
    let wrong = two.attach_xdp_netlink(lo, XdpMode::Generic, Some(two));
    assert!(wrong.is_err(), "another program is there");
    let replaced = two.attach_xdp_netlink(lo, XdpMode::Generic, Some(one));
    // The first is not there any more, so dropping it must not take the second away.
    drop(first);
    fires(&object, replaced, ping);
    let no_link = one
        .attach_xdp_netlink(lo, XdpMode::Generic, None)
        .expect("attached");
    assert!(matches!(no_link.details(), Err(Error::Invalid { .. })));
}

#[test]
fn tc_filters_see_packets_both_ways() {
    let kernel = kernel_or_skip!();
    let _alone = LOOPBACK.lock();
    let lo = loopback(&kernel);
    // TC_ACT_UNSPEC: the next filter decides.
    let object = load(&kernel, ProgramType::SchedCls, &AttachKind::None, -1).expect("loads");
    for direction in [Direction::Ingress, Direction::Egress] {
        let attach = |filter| program(&object).attach_tc(lo, direction, filter);
        match attach(TcFilter::default()) {
            Err(error @ Error::Unsupported { .. }) => skip!("tc", "{error}"),
            link => fires(&object, link, ping),
        }
        let named = TcFilter {
            priority: 7,
            handle: 3,
            replace: false,
        };
        let link = attach(named).expect("attached");
        assert_eq!(link.target(), format!("tc:{}:{direction}:7", lo.0));
        let taken = attach(named).expect_err("taken");
        assert!(matches!(taken, Error::Os { .. }), "{taken}");
        drop(link);
        fires(&object, attach(named), ping);
    }
    let no = program(&object).attach_tc(
        Interface(0x7fff_fff0),
        Direction::Ingress,
        TcFilter::default(),
    );
    assert!(matches!(no, Err(Error::NotFound { .. })), "{no:?}");
}

/// What a tcx hook holds, as ids of programs, in their order.
fn tcx_programs(kernel: &SharedKernel, lo: Interface) -> Vec<u32> {
    use kscope_bpf::sys::{AttachTarget, ProgramQuery};
    let mut ids = [0; 16];
    let outcome = kernel
        .program_query(ProgramQuery {
            target: AttachTarget::Interface(lo.0),
            attach_type: AttachType::TcxIngress as u32,
            flags: 0,
            ids: &mut ids,
        })
        .expect("tcx is there");
    ids[..outcome.count as usize].to_vec()
}

#[test]
fn tcx_keeps_an_order() {
    let kernel = kernel_or_skip!();
    let _alone = LOOPBACK.lock();
    let lo = loopback(&kernel);
    let object = load(&kernel, ProgramType::SchedCls, &AttachKind::None, -1).expect("loads");
    let one = program(&object).attach_tcx(lo, Direction::Ingress, Order::Unsaid);
    if let Err(error @ Error::Unsupported { .. }) = one {
        skip!("tcx", "{error}");
    }
    fires(&object, one, ping);
    let out = program(&object).attach_tcx(lo, Direction::Egress, Order::First);
    fires(&object, out, ping);
    let ids = [program(&object), second(&object)].map(|p| p.info().expect("loaded").id);
    let attach = |order| program(&object).attach_tcx(lo, Direction::Ingress, order);
    let other = second(&object)
        .attach_tcx(lo, Direction::Ingress, Order::Unsaid)
        .expect("attached");
    let details = other.details().expect("a link");
    assert_eq!(
        details.kind,
        LinkKind::Tcx {
            interface: lo.0,
            attach_type: Some(AttachType::TcxIngress)
        }
    );
    let other_fd = other.bpf_link().expect("a link");
    for (order, expected) in [
        (Order::First, [0, 1]),
        (Order::Last, [1, 0]),
        (Order::Before(Peer::Link(other_fd)), [0, 1]),
        (Order::After(Peer::LinkId(details.id)), [1, 0]),
        (
            Order::Before(Peer::Program(second(&object).as_fd())),
            [0, 1],
        ),
        (Order::After(Peer::ProgramId(ids[1])), [1, 0]),
    ] {
        let link = attach(order).unwrap_or_else(|error| panic!("{order:?}: {error}"));
        let expected = expected.map(|index: usize| ids[index]);
        assert_eq!(tcx_programs(&kernel, lo), expected, "{order:?}");
        drop(link);
    }
    let absent = attach(Order::Before(Peer::ProgramId(ids[0])));
    assert!(matches!(absent, Err(Error::Os { .. })), "{absent:?}");
    other.update(program(&object)).expect("the same type");
    assert_eq!(tcx_programs(&kernel, lo), [ids[0]]);
}

#[test]
fn netkit_is_refused_in_words() {
    let kernel = kernel_or_skip!();
    let lo = loopback(&kernel);
    let object = load(&kernel, ProgramType::SchedCls, &AttachKind::None, -1).expect("loads");
    let error = program(&object)
        .attach_netkit(lo, NetkitSide::Primary, Order::Unsaid)
        .expect_err("no netkit device");
    // The loopback is no netkit device, wherever the kernel has them.
    assert!(
        matches!(error, Error::Unsupported { .. } | Error::Os { .. }),
        "{error}"
    );
    let text = error.to_string();
    assert!(text.contains("netkit"), "{text}");
}

#[test]
fn cgroups_have_programs() {
    let kernel = kernel_or_skip!();
    let _alone = LOOPBACK.lock();
    let cgroup = match Cgroup::join("kscope-test-links") {
        Ok(cgroup) => cgroup,
        Err(reason) => skip!("cgroup2", "{reason}"),
    };
    let directory = cgroup.open();
    let at = directory.as_fd();
    let egress = AttachKind::Expected(AttachType::CgroupInetEgress);
    let object = load(&kernel, ProgramType::CgroupSkb, &egress, 1).expect("loads");
    let one = program(&object);
    fires(&object, one.attach_cgroup(at, Order::Unsaid), ping);
    for mode in [CgroupMode::Only, CgroupMode::Override, CgroupMode::Multi] {
        let link = one.attach_cgroup_unlinked(at, mode, None, Order::Unsaid);
        fires(&object, link, ping);
    }
    // In place of another.
    let first = one
        .attach_cgroup_unlinked(at, CgroupMode::Multi, None, Order::Unsaid)
        .expect("attached");
    let placed =
        second(&object).attach_cgroup_unlinked(at, CgroupMode::Multi, Some(one), Order::Unsaid);
    drop(first);
    fires(&object, placed, ping);
    let link = one.attach_cgroup(at, Order::Unsaid).expect("attached");
    let details = link.details().expect("a link");
    let LinkKind::Cgroup {
        cgroup: id,
        attach_type,
    } = details.kind
    else {
        panic!("{details:?}");
    };
    assert!(id > 1);
    assert_eq!(attach_type, Some(AttachType::CgroupInetEgress));
    match second(&object).attach_cgroup(at, Order::First) {
        Err(error @ Error::Unsupported { .. }) => {
            assert!(error.to_string().contains("Linux 6.17"), "{error}");
        }
        other => drop(other.expect("attached")),
    }
    // A hook of another kind: sockets made in the cgroup.
    let made = load(&kernel, ProgramType::CgroupSock, &AttachKind::None, 1).expect("loads");
    fires(&made, program(&made).attach_cgroup(at, Order::Unsaid), ping);
    let null = File::open("/dev/null").expect("there");
    let wrong = program(&object).attach_cgroup(null.as_fd(), Order::Unsaid);
    assert_eq!(
        wrong.expect_err("no cgroup").to_string(),
        "the descriptor is no directory of cgroup2"
    );
}

#[test]
fn netfilter_hooks_see_packets() {
    let kernel = kernel_or_skip!();
    let _alone = LOOPBACK.lock();
    let attach = AttachKind::Expected(AttachType::Netfilter);
    // NF_ACCEPT.
    let object = match load(&kernel, ProgramType::Netfilter, &attach, 1) {
        Ok(object) => object,
        Err(error) => skip!("netfilter", "no such programs (Linux 6.4): {error}"),
    };
    let at = NetfilterHook {
        family: 2,
        hook: 1,
        priority: -77,
        defragment: false,
    };
    let link = program(&object).attach_netfilter(&at);
    if let Err(error @ Error::Unsupported { .. }) = link {
        skip!("netfilter", "{error}");
    }
    fires(&object, link, ping);
    let link = program(&object).attach_netfilter(&at).expect("attached");
    assert_eq!(
        link.details().expect("a link").kind,
        LinkKind::Netfilter {
            family: 2,
            hook: 1,
            priority: -77
        }
    );
    let taken = second(&object).attach_netfilter(&at);
    assert!(matches!(taken, Err(Error::Os { .. })), "{taken:?}");
    for wrong in [
        NetfilterHook { family: 99, ..at },
        NetfilterHook { hook: 9, ..at },
        NetfilterHook {
            priority: i32::MIN,
            ..at
        },
    ] {
        let error = second(&object).attach_netfilter(&wrong);
        assert!(matches!(error, Err(Error::Invalid { .. })), "{error:?}");
    }
    let defragment = NetfilterHook {
        defragment: true,
        ..at
    };
    drop(link);
    match program(&object).attach_netfilter(&defragment) {
        Err(error @ Error::Unsupported { .. }) => assert!(error.to_string().contains("6.6")),
        link => fires(&object, link, ping),
    }
}

#[test]
fn sockets_have_programs() {
    let kernel = kernel_or_skip!();
    // Keeps the whole packet.
    let object = load(
        &kernel,
        ProgramType::SocketFilter,
        &AttachKind::None,
        0xffff,
    );
    let object = object.expect("loads");
    let to = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let from = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let send = || {
        let address = to.local_addr().expect("bound");
        from.send_to(b"ping", address).expect("sent");
        to.recv(&mut [0; 16]).expect("received");
    };
    fires(&object, program(&object).attach_socket(to.as_fd()), send);
    let null = File::open("/dev/null").expect("there");
    let wrong = program(&object).attach_socket(null.as_fd());
    assert!(matches!(wrong, Err(Error::Os { .. })), "{wrong:?}");
}

#[test]
fn namespaces_look_sockets_up_by_program() {
    let kernel = kernel_or_skip!();
    let _alone = LOOPBACK.lock();
    let attach = AttachKind::Expected(AttachType::SkLookup);
    // SK_PASS.
    let object = load(&kernel, ProgramType::SkLookup, &attach, 1).expect("Linux 5.9");
    let namespace = File::open("/proc/self/ns/net").expect("there");
    let link = program(&object).attach_namespace(namespace.as_fd());
    fires(&object, link, ping);
    let link = program(&object)
        .attach_namespace(namespace.as_fd())
        .expect("attached");
    link.update(second(&object)).expect("the same type");
    let details = link.details().expect("a link");
    assert_eq!(details.program, second(&object).info().expect("loaded").id);
    assert!(matches!(
        details.kind,
        LinkKind::Namespace {
            attach_type: Some(AttachType::SkLookup),
            ..
        }
    ));
    let null = File::open("/dev/null").expect("there");
    let wrong = program(&object).attach_namespace(null.as_fd());
    assert_eq!(
        wrong.expect_err("no namespace").to_string(),
        "the descriptor is no network namespace"
    );
}

#[test]
fn packets_are_dissected_by_program() {
    let kernel = kernel_or_skip!();
    let attach = AttachKind::Expected(AttachType::FlowDissector);
    // BPF_FLOW_DISSECTOR_CONTINUE where the kernel has it, else BPF_OK.
    let object = load(&kernel, ProgramType::FlowDissector, &attach, 0).expect("Linux 4.20");
    let namespace = File::open("/proc/self/ns/net").expect("there");
    let link = program(&object)
        .attach_namespace(namespace.as_fd())
        .expect("none is there");
    assert!(matches!(
        link.details().expect("a link").kind,
        LinkKind::Namespace {
            attach_type: Some(AttachType::FlowDissector),
            ..
        }
    ));
    let taken = second(&object).attach_namespace(namespace.as_fd());
    assert!(matches!(taken, Err(Error::Os { .. })), "{taken:?}");
    link.replace(program(&object), second(&object))
        .expect("as it was");
    link.detach().expect("was attached");
    drop(
        second(&object)
            .attach_namespace(namespace.as_fd())
            .expect("none is there"),
    );
}

#[test]
fn only_sockets_that_share_an_address_have_someone_to_choose() {
    let kernel = kernel_or_skip!();
    let attach = AttachKind::Expected(AttachType::SkReuseportSelect);
    let object = load(&kernel, ProgramType::SkReuseport, &attach, 1).expect("Linux 4.19");
    let alone = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let refused = program(&object).attach_reuseport(alone.as_fd());
    assert!(matches!(refused, Err(Error::Os { .. })), "{refused:?}");
    let wrong = program(&object).attach_socket(alone.as_fd());
    assert!(matches!(wrong, Err(Error::Invalid { .. })), "{wrong:?}");
}

#[test]
fn maps_of_sockets_have_programs() {
    let kernel = kernel_or_skip!();
    let attach = AttachKind::Expected(AttachType::SkMsgVerdict);
    let assembly = Assembly::new()
        .map("hits", MapKind::Array, (4, 8), 1)
        .map("sockets", MapKind::SockMap, (4, 4), 4)
        .program("first", ProgramType::SkMsg, attach, &counting(1));
    let object = assembly.load_all(&kernel);
    let map = object.map_named("sockets").expect("there");
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let mut client = TcpStream::connect(listener.local_addr().expect("bound")).expect("connected");
    let (mut server, _) = listener.accept().expect("connected");
    let link = program(&object).attach_socket_map(map).expect("attached");
    map.update_fd(0, client.as_fd()).expect("a TCP socket");
    let mut say = || {
        client.write_all(b"x").expect("sent");
        server.read_exact(&mut [0]).expect("received");
    };
    say();
    assert!(take(&object) > 0);
    let hits = object.map_named("hits").expect("there");
    assert!(matches!(
        program(&object).attach_socket_map(hits),
        Err(Error::Invalid { .. })
    ));
    drop(link);
    // Attached again: the first one is gone.
    drop(program(&object).attach_socket_map(map).expect("attached"));
}

#[test]
fn links_are_pinned_found_and_listed() {
    let kernel = kernel_or_skip!();
    let _alone = LOOPBACK.lock();
    let lo = loopback(&kernel);
    let object = load(&kernel, ProgramType::Xdp, &AttachKind::None, 2).expect("loads");
    let link = program(&object)
        .attach_xdp(lo, XdpMode::Generic)
        .expect("attached");
    let id = link.details().expect("a link").id;
    assert!(Link::ids(&kernel).expect("root").contains(&id));
    let again = Link::by_id(&kernel, id).expect("there");
    assert_eq!(again.details(), link.details());
    assert_eq!(again.target(), format!("xdp of interface {}", lo.0));
    drop(again);
    let absent = Link::by_id(&kernel, u32::MAX);
    assert!(matches!(absent, Err(Error::NotFound { .. })), "{absent:?}");
    let wrong = link
        .pin("/tmp/kscope-test-no-bpffs")
        .expect_err("no place for pins");
    // Where a mount of another test comes or goes meanwhile, it is not known which it is.
    let is_told = matches!(
        wrong,
        Error::NotMounted { .. } | Error::Invalid { .. } | Error::Permission { .. }
    );
    assert!(is_told, "{wrong}");
    let pins = match Pins::mount(&kernel) {
        Ok(pins) => pins,
        Err(reason) => skip!("bpffs", "{reason}"),
    };
    let path = pins.path("link");
    link.pin(&path).expect("pinned");
    assert!(matches!(link.pin(&path), Err(Error::Os { .. })), "taken");
    drop(link);
    take(&object);
    ping();
    assert!(take(&object) > 0, "held by its pin");
    let opened = Link::open_pinned(&kernel, &path).expect("pinned");
    assert_eq!(opened.details().expect("a link").id, id);
    std::fs::remove_file(&path).expect("there");
    drop(opened);
    // The file system lets go of it a little later.
    let gone = (0..200).any(|_| {
        std::thread::sleep(Duration::from_millis(10));
        take(&object);
        ping();
        take(&object) == 0
    });
    assert!(gone, "nobody holds it");
    let gone = Link::open_pinned(&kernel, &path);
    assert!(matches!(gone, Err(Error::NotFound { .. })), "{gone:?}");
}
