//! Programs of the types that have few users, each at work: what a cgroup may do, sockets that are
//! chosen, routes, actions of tc, tracepoints whose records are written.
//@ modules: act_bpf cls_matchall sch_ingress

use std::fs::File;
use std::io::{Error as IoError, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::sync::Mutex;
use std::time::Duration;

use kscope_bpf::spec::{AttachKind, AttachType, MapKind, ProgramId, ProgramType, section};
use kscope_bpf::sys::SharedKernel;
use kscope_bpf::{
    AttachOutcome, Direction, Error, Interface, Link, Object, Order, Route, TcFilter, TestInput,
    UpdateMode,
};
use kscope_tests::assembly::{Assembly, hits, program};
use kscope_tests::cgroup::Cgroup;
use kscope_tests::{kernel_or_skip, skip};
use rustix::net::sockopt::set_socket_reuseport;
use rustix::net::{AddressFamily, SocketType, bind, socket};

/// Tests here move this process between cgroups, and share the loopback interface.
static ALONE: Mutex<()> = Mutex::new(());

/// Counts in entry 0, then does this.
fn counting(rest: &str) -> String {
    format!(
        "r6 = r1\nr1 = map_value(hits) + 0 ll\nr2 = 1\nlock *(u64 *)(r1 + 0) += r2\nr1 = r6\n{rest}"
    )
}

fn load(
    kernel: &SharedKernel,
    kind: ProgramType,
    attach: AttachKind,
    rest: &str,
) -> Result<Object, Error> {
    let object = Assembly::new()
        .map("hits", MapKind::Array, (4, 16), 1)
        .program("first", kind, attach, &counting(rest))
        .load(kernel)?;
    object.program(ProgramId(0))?;
    Ok(object)
}

/// Writes what the program reads at 8.
fn set(object: &Object, number: u64) {
    let map = object.map_named("hits").expect("there");
    let value = [0, number].map(u64::to_ne_bytes).concat();
    map.update(&[0; 4], &value, UpdateMode::Any)
        .expect("writable");
}

/// Attaches to a cgroup of this process and expects an action to be refused while the link is there.
#[track_caller]
fn forbids<T>(
    kernel: &SharedKernel,
    kind: ProgramType,
    attach: AttachKind,
    rest: &str,
    act: impl Fn() -> Result<T, IoError>,
) -> Result<(), String> {
    let object = load(kernel, kind, attach, rest).unwrap_or_else(|error| panic!("{error}"));
    let cgroup = Cgroup::join("kscope-test-types")?;
    assert!(act().is_ok(), "allowed before");
    let directory = cgroup.open();
    let link = program(&object)
        .attach_cgroup(directory.as_fd(), Order::Unsaid)
        .unwrap_or_else(|error| panic!("{error}"));
    let refused = act().err().map(|error| error.kind());
    drop(link);
    assert_eq!(refused, Some(ErrorKind::PermissionDenied));
    assert!(hits(&object) > 0);
    assert!(act().is_ok(), "allowed again");
    Ok(())
}

/// Forbids by a program, or skips the test.
macro_rules! forbids {
    ($kind:expr, $attach:expr, $rest:expr, $act:expr) => {{
        let kernel = kernel_or_skip!();
        let _alone = ALONE.lock();
        if let Err(reason) = forbids(&kernel, $kind, $attach, $rest, $act) {
            skip!("cgroup2", "{reason}");
        }
    }};
}

fn expected(attach: AttachType) -> AttachKind {
    AttachKind::Expected(attach)
}

#[test]
fn a_cgroup_is_kept_from_a_device() {
    // /dev/null is 1:3.
    forbids!(
        ProgramType::CgroupDevice,
        expected(AttachType::CgroupDevice),
        "r2 = *(u32 *)(r1 + 4)\nr3 = *(u32 *)(r1 + 8)\nr0 = 1\nif r2 != 1 goto out\n\
         if r3 != 3 goto out\nr0 = 0\nout: exit",
        || File::open("/dev/null")
    );
}

#[test]
fn a_cgroup_is_kept_from_sysctls() {
    forbids!(
        ProgramType::CgroupSysctl,
        expected(AttachType::CgroupSysctl),
        "r0 = 0\nexit",
        || std::fs::read("/proc/sys/kernel/pid_max")
    );
}

#[test]
fn a_cgroup_is_kept_from_setting_options_of_sockets() {
    let bound = || UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    forbids!(
        ProgramType::CgroupSockopt,
        expected(AttachType::CgroupSetsockopt),
        "r0 = 0\nexit",
        || bound().set_broadcast(true)
    );
}

#[test]
fn a_cgroup_is_kept_from_reading_options_of_sockets() {
    let bound = || UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    forbids!(
        ProgramType::CgroupSockopt,
        expected(AttachType::CgroupGetsockopt),
        "r0 = 0\nexit",
        || bound().broadcast()
    );
}

#[test]
fn a_cgroup_is_kept_from_binding() {
    forbids!(
        ProgramType::CgroupSockAddr,
        expected(AttachType::CgroupInet4Bind),
        "r0 = 0\nexit",
        || UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))
    );
}

#[test]
fn a_cgroup_is_kept_from_sending() {
    forbids!(
        ProgramType::CgroupSockAddr,
        expected(AttachType::CgroupUdp4Sendmsg),
        "r0 = 0\nexit",
        || {
            let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
            socket.send_to(b"x", socket.local_addr().expect("bound"))
        }
    );
}

#[test]
fn a_cgroups_connections_are_led_elsewhere() {
    let kernel = kernel_or_skip!();
    let _alone = ALONE.lock();
    // `user_port` of struct bpf_sock_addr is at 24.
    let rest = "r2 = map_value(hits) + 8 ll\nr2 = *(u64 *)(r2 + 0)\n*(u32 *)(r1 + 24) = r2\n\
        r0 = 1\nexit";
    let attach = expected(AttachType::CgroupInet4Connect);
    let object = load(&kernel, ProgramType::CgroupSockAddr, attach, rest).expect("Linux 4.17");
    let cgroup = match Cgroup::join("kscope-test-types") {
        Ok(cgroup) => cgroup,
        Err(reason) => skip!("cgroup2", "{reason}"),
    };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let port = listener.local_addr().expect("bound").port();
    set(&object, u16::from_ne_bytes(port.to_be_bytes()).into());
    let nowhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
    assert!(TcpStream::connect(nowhere).is_err(), "nobody is there");
    let directory = cgroup.open();
    let _link = program(&object)
        .attach_cgroup(directory.as_fd(), Order::Unsaid)
        .expect("attached");
    let there = TcpStream::connect(nowhere).expect("led to the listener");
    assert_eq!(there.peer_addr().expect("connected").port(), port);
}

#[test]
fn a_cgroups_connections_are_told_of() {
    let kernel = kernel_or_skip!();
    let _alone = ALONE.lock();
    let attach = expected(AttachType::CgroupSockOps);
    let object = load(&kernel, ProgramType::SockOps, attach, "r0 = 1\nexit").expect("Linux 4.13");
    let cgroup = match Cgroup::join("kscope-test-types") {
        Ok(cgroup) => cgroup,
        Err(reason) => skip!("cgroup2", "{reason}"),
    };
    let directory = cgroup.open();
    let link = program(&object)
        .attach_cgroup(directory.as_fd(), Order::Unsaid)
        .expect("attached");
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let connect = || TcpStream::connect(listener.local_addr().expect("bound")).expect("connected");
    drop(connect());
    drop(link);
    let seen = hits(&object);
    // At least: about to connect, connected, accepted.
    assert!(seen >= 3, "{seen}");
    drop(connect());
    assert_eq!(hits(&object), seen, "still attached");
}

#[test]
fn a_program_chooses_among_sockets_of_one_address() {
    let kernel = kernel_or_skip!();
    // sk_select_reuseport(ctx, &sockets, &1, 0), and SK_PASS.
    let text = "r2 = 1\n*(u32 *)(r10 - 4) = r2\nr3 = r10\nr3 += -4\nr2 = map(sockets) ll\nr4 = 0\n\
        call sk_select_reuseport\nr0 = 1\nexit";
    let attach = expected(AttachType::SkReuseportSelect);
    let object = Assembly::new()
        .map("sockets", MapKind::ReuseportSockArray, (4, 8), 2)
        .program("chooses", ProgramType::SkReuseport, attach, text)
        .load_all(&kernel);
    let group = |port: u16| {
        let one = socket(AddressFamily::INET, SocketType::DGRAM, None).expect("a socket");
        set_socket_reuseport(&one, true).expect("set");
        bind(&one, &SocketAddr::from((Ipv4Addr::LOCALHOST, port))).expect("a port");
        UdpSocket::from(one)
    };
    let first = group(0);
    let address = first.local_addr().expect("bound");
    let second = group(address.port());
    let link = program(&object)
        .attach_reuseport(first.as_fd())
        .expect("attached");
    let map = object.map_named("sockets").expect("there");
    for (index, socket) in (0..).zip([&first, &second]) {
        map.update_fd(index, socket.as_fd()).expect("of the group");
        let patience = Some(Duration::from_secs(5));
        socket.set_read_timeout(patience).expect("set");
    }
    let from = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    for _ in 0..20 {
        from.send_to(b"x", address).expect("sent");
        second.recv(&mut [0; 4]).expect("all come to the second");
    }
    drop(link);
}

#[test]
fn packets_are_dissected() {
    let kernel = kernel_or_skip!();
    let attach = expected(AttachType::FlowDissector);
    let object = load(&kernel, ProgramType::FlowDissector, attach, "r0 = 0\nexit");
    let object = object.expect("Linux 4.20");
    let input = TestInput {
        data: &[0; 64],
        ..TestInput::default()
    };
    // What is given back is the program's result, before Linux 5.17 whether it was BPF_OK.
    program(&object).test_run(&input).expect("runs");
    assert_eq!(hits(&object), 1);
}

/// An address that nobody has: packets to it leave by the loopback and come back.
fn route(last: u8) -> Route {
    Route {
        destination: IpAddr::V4(Ipv4Addr::new(192, 0, 2, last)),
        prefix: 32,
        interface: Interface(1),
    }
}

#[test]
fn packets_of_a_route_go_through_a_program() {
    let kernel = kernel_or_skip!();
    let _alone = ALONE.lock();
    for (section, at) in [("lwt_in", 7), ("lwt_out", 8), ("lwt_xmit", 9)] {
        let known = section::lookup(section).expect("known");
        let object = load(&kernel, known.kind, AttachKind::None, "r0 = 0\nexit").expect("loads");
        let link = match program(&object).attach_route(&route(at)) {
            Err(error @ Error::Unsupported { .. }) => skip!("lwt", "{error}"),
            link => link.expect("attached"),
        };
        let from = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).expect("a port");
        let send = || drop(from.send_to(b"x", SocketAddr::from((route(at).destination, 9))));
        send();
        assert!(hits(&object) > 0, "{section} did not see it");
        let taken = program(&object).attach_route(&route(at));
        assert!(matches!(taken, Err(Error::Os { .. })), "{taken:?}");
        drop(link);
        let seen = hits(&object);
        send();
        assert_eq!(hits(&object), seen, "{section} is still attached");
    }
}

#[test]
fn segments_of_a_route_go_through_a_program() {
    let kernel = kernel_or_skip!();
    let _alone = ALONE.lock();
    let kind = ProgramType::LwtSeg6Local;
    let object = load(&kernel, kind, AttachKind::None, "r0 = 0\nexit").expect("Linux 4.18");
    let route = Route {
        destination: IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 7)),
        prefix: 128,
        interface: Interface(1),
    };
    match program(&object).attach_route(&route) {
        Err(error @ Error::Unsupported { .. }) => skip!("seg6", "{error}"),
        link => {
            let link = link.expect("attached");
            let listed = std::fs::read_to_string("/proc/net/ipv6_route").expect("proc");
            let destination = "20010db8000000000000000000000007 80";
            assert!(listed.contains(destination), "{listed}");
            link.detach().expect("was there");
            let listed = std::fs::read_to_string("/proc/net/ipv6_route").expect("proc");
            assert!(!listed.contains(destination), "{listed}");
        }
    }
    let wrong = load(
        &kernel,
        ProgramType::SocketFilter,
        AttachKind::None,
        "r0 = 0\nexit",
    );
    let wrong = program(&wrong.expect("loads")).attach_route(&route);
    assert!(matches!(wrong, Err(Error::Invalid { .. })), "{wrong:?}");
}

/// Gives an interface beside the loopback that is up: the kernel has no route over that but to itself.
fn another_interface() -> Option<Interface> {
    let all = std::fs::read_dir("/sys/class/net").expect("sysfs");
    let numbers = all.filter_map(|entry| {
        let folder = entry.ok()?.path();
        let read = |name: &str| std::fs::read_to_string(folder.join(name)).ok();
        let flags = u32::from_str_radix(read("flags")?.trim().trim_start_matches("0x"), 16).ok()?;
        let number = read("ifindex")?.trim().parse().ok()?;
        // IFF_UP
        (number != 1 && flags & 1 != 0).then_some(Interface(number))
    });
    numbers.min_by_key(|interface| interface.0)
}

#[test]
fn packets_with_segments_go_through_a_program() {
    let kernel = kernel_or_skip!();
    let _alone = ALONE.lock();
    let Some(interface) = another_interface() else {
        skip!("interface", "there is none beside the loopback");
    };
    let address = |last| Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last);
    let (here, next) = (address(7), address(8));
    // BPF_DROP: the packet ends here.
    let object = load(
        &kernel,
        ProgramType::LwtSeg6Local,
        AttachKind::None,
        "r0 = 2\nexit",
    );
    let object = object.expect("Linux 4.18");
    let route = Route {
        destination: IpAddr::V6(here),
        prefix: 128,
        interface,
    };
    let link = match program(&object).attach_route(&route) {
        Err(error @ Error::Unsupported { .. }) => skip!("seg6", "{error}"),
        link => link.expect("attached"),
    };
    // A program of tc takes the packet in, as if it had come over the loopback.
    let sender = load(
        &kernel,
        ProgramType::SchedCls,
        AttachKind::None,
        "r2 = 1\nr3 = 1\ncall clone_redirect\nexit",
    );
    let sender = sender.expect("Linux 4.2");
    let send = |has_segments: bool| {
        let mut packet = [0; 14].to_vec();
        packet[12..].copy_from_slice(&0x86dd_u16.to_be_bytes());
        let (rest, kind) = if has_segments { (40, 43) } else { (0, 59) };
        packet.extend([0x60, 0, 0, 0, 0, rest, kind, 64]);
        packet.extend(address(1).octets());
        packet.extend(here.octets());
        if has_segments {
            // struct ipv6_sr_hdr: two segments, of which one is left.
            packet.extend([59, 4, 4, 1, 1, 0, 0, 0]);
            packet.extend(next.octets());
            packet.extend(here.octets());
        }
        let input = TestInput {
            data: &packet,
            ..TestInput::default()
        };
        let output = program(&sender).test_run(&input).expect("runs");
        assert_eq!(output.result, 0, "clone_redirect");
        // It is taken out of a queue a moment later.
        std::thread::sleep(Duration::from_millis(20));
    };
    send(true);
    assert_eq!(hits(&object), 1, "the packet did not go through it");
    // Without segments it is none for the program.
    send(false);
    assert_eq!(hits(&object), 1);
    link.detach().expect("was there");
    send(true);
    assert_eq!(hits(&object), 1, "still attached");
}

#[test]
fn actions_of_tc_see_packets() {
    let kernel = kernel_or_skip!();
    let _alone = ALONE.lock();
    // TC_ACT_PIPE.
    let object = load(
        &kernel,
        ProgramType::SchedAct,
        AttachKind::None,
        "r0 = 3\nexit",
    );
    let object = object.expect("Linux 4.1");
    let attach =
        |filter| program(&object).attach_tc_action(Interface(1), Direction::Egress, filter);
    let link: Link = match attach(TcFilter::default()) {
        Err(error @ Error::Unsupported { .. }) => skip!("act_bpf", "{error}"),
        link => link.expect("attached"),
    };
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let send = || socket.send_to(b"x", socket.local_addr().expect("bound"));
    send().expect("sent");
    assert!(hits(&object) > 0);
    drop(link);
    let seen = hits(&object);
    send().expect("sent");
    assert_eq!(hits(&object), seen, "still attached");
}

#[test]
fn records_of_tracepoints_are_written() {
    let kernel = kernel_or_skip!();
    // The error of a trial run is such a record: it becomes E2BIG.
    let text = "r1 = *(u64 *)(r1 + 0)\nr2 = -7\n*(u32 *)(r1 + 0) = r2\nr0 = 0\nexit";
    let known = section::lookup("raw_tp.w/bpf_test_finish").expect("known");
    let mut assembly = Assembly::new()
        .program("writes", known.kind, AttachKind::None, text)
        .program("tried", ProgramType::Xdp, AttachKind::None, "r0 = 2\nexit");
    assembly.spec.programs[0].section = "raw_tp.w/bpf_test_finish".to_owned();
    let object = assembly.load_all(&kernel);
    let tried = || {
        let input = TestInput {
            data: &[0; 64],
            ..TestInput::default()
        };
        let tried = object.program(ProgramId(1)).expect("loaded");
        tried.test_run(&input).map(|output| output.result)
    };
    assert_eq!(tried(), Ok(2));
    let link = match object.attach_program(program(&object)) {
        AttachOutcome::Attached(link) => link,
        other => panic!("{other}"),
    };
    let errno = tried().expect_err("written").errno();
    assert_eq!(errno, Some(kscope_bpf::sys::Errno::TOO_BIG));
    drop(link);
    assert_eq!(tried(), Ok(2));
}

#[test]
fn a_packet_may_grow_in_a_trial_run() {
    let kernel = kernel_or_skip!();
    let text = "r2 = 1000\ncall xdp_adjust_tail\nr0 = 2\nexit";
    let object = load(&kernel, ProgramType::Xdp, AttachKind::None, text).expect("Linux 5.8");
    let input = TestInput {
        data: &[7; 64],
        ..TestInput::default()
    };
    let output = program(&object).test_run(&input).expect("runs");
    assert_eq!((output.result, output.data.len()), (2, 1064));
    assert_eq!(output.data[..64], [7; 64]);
}

#[test]
fn only_receivers_have_infrared_decoders() {
    let kernel = kernel_or_skip!();
    let attach = expected(AttachType::LircMode2);
    let object = match load(&kernel, ProgramType::LircMode2, attach, "r0 = 0\nexit") {
        Err(error @ Error::Unsupported { .. }) => skip!("lirc", "{error}"),
        object => object.expect("Linux 4.18"),
    };
    let null = File::open("/dev/null").expect("there");
    let wrong = program(&object).attach_lirc(null.as_fd());
    assert!(matches!(wrong, Err(Error::Invalid { .. })), "{wrong:?}");
}
