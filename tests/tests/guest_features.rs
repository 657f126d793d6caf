//! What the host's kernel does not have: functions of modules, schedulers, netkit devices.
//@ modules: nf_conntrack netkit

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::process::Command;
use std::time::Duration;

use kscope_bpf::spec::{AttachKind, AttachType, MapKind, ProgramId, ProgramType};
use kscope_bpf::{AttachOutcome, Error, Interface, LinkKind, Loader, NetkitSide, Order, TestInput};
use kscope_tests::assembly::{Assembly, kernel_types};
use kscope_tests::{kernel_or_skip, object_or_skip, skip};

/// Gives the kernel of a guest, or skips the test.
macro_rules! guest_or_skip {
    () => {{
        if std::env::var_os("KSCOPE_GUEST").is_none() {
            skip!("guest", "this is no guest");
        }
        kernel_or_skip!()
    }};
}

#[test]
fn functions_of_modules_are_called() {
    let kernel = guest_or_skip!();
    let spec = object_or_skip!("module");
    let types = kernel_types().expect("guests have BTF");
    let object = Loader::new(kernel)
        .btf(Some(types))
        .load(&spec)
        .expect("maps");
    if let Some(failed) = object.failures().next() {
        match &failed.error {
            error @ (Error::NotFound { .. } | Error::Unresolved { .. }) => {
                let text = error.to_string();
                assert!(text.contains("bpf_xdp_ct_lookup"), "{text}");
                skip!("module_kfuncs", "{text}");
            }
            error => panic!("{failed}\n{error:#?}"),
        }
    }
    let input = TestInput {
        data: &[0; 64],
        ..TestInput::default()
    };
    let program = object.program_named("looks_up").expect("loaded");
    assert_eq!(program.test_run(&input).expect("runs").result, 2);
    // ENOENT: the module looked, and there is no such connection.
    let error: i32 = object
        .global("error")
        .expect("there")
        .get()
        .expect("readable");
    assert_eq!(error, -2);
}

#[test]
fn the_kernel_uses_a_scheduler() {
    let kernel = guest_or_skip!();
    let spec = object_or_skip!("scheduler");
    let state = || std::fs::read_to_string("/sys/kernel/sched_ext/state").unwrap_or_default();
    if state().is_empty() {
        skip!(
            "sched_ext",
            "this kernel has no sched_ext (Linux 6.12 with CONFIG_SCHED_CLASS_EXT)"
        );
    }
    let loader = Loader::new(kernel).btf(kernel_types());
    let object = loader.load(&spec).expect("maps");
    if let Some(failed) = object.failures().next() {
        panic!("{failed}\n{:#?}", failed.error);
    }
    assert_eq!(state().trim(), "disabled");
    let mut attached = object.attach();
    let table = attached.pop().expect("the table").outcome;
    let link = match table {
        AttachOutcome::Attached(link) => link,
        other => panic!("{other}"),
    };
    assert!(matches!(
        link.details().expect("a link").kind,
        LinkKind::StructOps { .. }
    ));
    assert_eq!(state().trim(), "enabled");
    let ops = std::fs::read_to_string("/sys/kernel/sched_ext/root/ops").expect("enabled");
    assert_eq!(ops.trim(), "kscope_counting");
    for _ in 0..10 {
        std::thread::sleep(Duration::from_millis(1));
    }
    let runs: u64 = object
        .global("runs")
        .expect("there")
        .get()
        .expect("readable");
    assert!(runs >= 10, "{runs} runs");
    drop(link);
    for _ in 0..200 {
        if state().trim() == "disabled" {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("the scheduler is still {}", state());
}

/// An attribute of rtnetlink.
fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(value.len() + 4).expect("short");
    let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// The request that makes a pair of netkit devices.
fn new_pair(name: &str) -> Vec<u8> {
    const NEW_LINK: u16 = 16;
    // NLM_F_REQUEST | NLM_F_ACK | NLM_F_EXCL | NLM_F_CREATE.
    const FLAGS: u16 = 0x605;
    let info = attribute(1, b"netkit\0");
    let body = [
        vec![0; 16],
        attribute(3, format!("{name}\0").as_bytes()),
        attribute(18, &info),
    ]
    .concat();
    let length = u32::try_from(body.len() + 16).expect("short");
    let mut bytes = length.to_ne_bytes().to_vec();
    bytes.extend([NEW_LINK.to_ne_bytes(), FLAGS.to_ne_bytes()].concat());
    bytes.extend([1u32.to_ne_bytes(), [0; 4]].concat());
    bytes.extend(body);
    bytes
}

fn ip(words: &[&str]) {
    let status = Command::new("ip").args(words).status();
    assert!(status.expect("busybox has it").success(), "ip {words:?}");
}

#[test]
fn netkit_devices_have_programs() {
    let kernel = guest_or_skip!();
    let made = kernel.netlink(&new_pair("kscope0"));
    if made.is_err() || Interface::named(&*kernel, "kscope0").is_err() {
        skip!(
            "netkit",
            "this kernel has no netkit (Linux 6.7 with CONFIG_NETKIT)"
        );
    }
    let device = Interface::named(&*kernel, "kscope0").expect("just made");
    ip(&["addr", "add", "10.77.0.1/24", "dev", "kscope0"]);
    ip(&["link", "set", "kscope0", "up"]);
    // The other one of the pair, which the kernel has named.
    for device in std::fs::read_dir("/sys/class/net").expect("sysfs") {
        let name = device.expect("readable").file_name();
        let name = name.to_string_lossy();
        if name.starts_with("nk") {
            ip(&["addr", "add", "10.78.0.1/24", "dev", &name]);
            ip(&["link", "set", &name, "up"]);
        }
    }
    // NETKIT_NEXT is -1, NETKIT_DROP 2.
    let counting = |result: i32| {
        format!(
            "r1 = map_value(hits) + 0 ll\nr2 = 1\nlock *(u64 *)(r1 + 0) += r2\nr0 = {result}\nexit"
        )
    };
    // Each side's program sees what its own device sends.
    for (side, attach, network) in [
        (NetkitSide::Primary, AttachType::NetkitPrimary, 77),
        (NetkitSide::Peer, AttachType::NetkitPeer, 78),
    ] {
        let object = Assembly::new()
            .map("hits", MapKind::Array, (4, 8), 1)
            .program(
                "first",
                ProgramType::SchedCls,
                AttachKind::Expected(attach),
                &counting(2),
            )
            .load_all(&kernel);
        let program = object.program(ProgramId(0)).expect("loaded");
        let link = program
            .attach_netkit(device, side, Order::Unsaid)
            .unwrap_or_else(|error| panic!("{error}"));
        assert!(matches!(
            link.details().expect("a link").kind,
            LinkKind::Netkit { .. }
        ));
        let hits = || {
            let map = object.map_named("hits").expect("there");
            let value = map.lookup(&[0; 4]).expect("readable").expect("there");
            u64::from_ne_bytes(value.try_into().expect("8 bytes"))
        };
        let from = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).expect("a port");
        let to = SocketAddr::from((Ipv4Addr::new(10, network, 0, 2), 9));
        drop(from.send_to(b"x", to));
        assert!(hits() > 0, "{} did not fire", link.target());
        link.detach().expect("was attached");
    }
    ip(&["link", "del", "kscope0"]);
}
