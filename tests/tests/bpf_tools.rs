//! Tools as they are written for libbpf: one object each, compiled once by clang on the machine that built
//! the tests, attaches by its sections on every kernel and tells the right events.
//@ modules: loop

use std::fs::File;
use std::io::Write;
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use kscope_bpf::Loader;
use kscope_bpf::sys::SharedKernel;
use kscope_tests::assembly::kernel_types;
use kscope_tests::tool::{Event, PATIENCE, Tool};
use kscope_tests::{disk, kernel_or_skip, object_or_skip, skip};

fn loader<'a>(kernel: &SharedKernel) -> Loader<'a> {
    Loader::new(kernel.clone()).btf(kernel_types())
}

/// Loads a tool and attaches it, or skips the test for want of a feature.
macro_rules! tool_or_skip {
    ($name:expr, $feature:expr, $loader:expr) => {{
        let spec = object_or_skip!($name);
        if kernel_types().is_none() {
            skip!("btf", "the kernel has no BTF");
        }
        match Tool::attach($loader.load(&spec).expect("maps")) {
            Ok(tool) => tool,
            Err(reason) => skip!($feature, "{reason}"),
        }
    }};
}

#[test]
fn opensnoop_tells_who_opens_what() {
    let kernel = kernel_or_skip!();
    let own = std::process::id();
    let loader = loader(&kernel).global("only_pid", &own);
    let tool = tool_or_skip!("tools/opensnoop", "tracepoint", loader);
    let mut events = tool.events();
    let absent = format!("/tmp/kscope-no-such-file-{own}");
    let _ = File::open(&absent);
    let event = events.wait(|event| event.text(32) == absent);
    // ENOENT, and O_RDONLY with O_CLOEXEC.
    assert_eq!((event.u32(0), event.u64(8) as i64), (own, -2));
    assert_eq!(event.u32(4) & 3, 0);
    let there = File::open("/proc/self/status").expect("there");
    let event = events.wait(|event| event.text(32) == "/proc/self/status");
    let fd = std::os::fd::AsRawFd::as_raw_fd(&there);
    assert_eq!(event.u64(8), u64::try_from(fd).expect("not negative"));
    let thread = std::thread::current();
    let name = thread.name().expect("the test's");
    assert_eq!(event.text(16), &name[..name.len().min(15)]);
}

#[test]
fn execsnoop_tells_who_starts_what() {
    let kernel = kernel_or_skip!();
    let tool = tool_or_skip!("tools/execsnoop", "tracepoint", loader(&kernel));
    let mut events = tool.events();
    let mut child = Command::new("/bin/true")
        .args(["first", "second of them"])
        .spawn()
        .expect("every machine");
    let id = child.id();
    child.wait().expect("ours");
    let event = events.wait(|event| event.u32(0) == id);
    assert_eq!((event.u32(4), event.u32(8)), (std::process::id(), 0));
    assert_eq!(event.u32(12), 3);
    let args = [32, 64, 96].map(|at| event.text(at));
    assert_eq!(args, ["/bin/true", "first", "second of them"]);
    assert_eq!(event.text(16), "true");
}

#[test]
fn exitsnoop_tells_who_ends_how() {
    let kernel = kernel_or_skip!();
    let tool = tool_or_skip!("tools/exitsnoop", "tracepoint", loader(&kernel));
    let mut events = tool.events();
    let mut child = Command::new("/bin/sh")
        .args(["-c", "exit 3"])
        .spawn()
        .expect("every machine");
    let id = child.id();
    child.wait().expect("ours");
    let event = events.wait(|event| event.u32(8) == id);
    assert_eq!((event.u32(12), event.u32(16)), (std::process::id(), 3 << 8));
    assert!(event.u64(0) < PATIENCE.as_nanos() as u64, "its age");
    assert_eq!(event.text(20), "sh");
}

#[test]
fn runqlat_counts_waits_for_a_cpu() {
    let kernel = kernel_or_skip!();
    let own = std::process::id();
    let loader = loader(&kernel).global("only_tgid", &own);
    let tool = tool_or_skip!("tools/runqlat", "btf", loader);
    for _ in 0..20 {
        std::thread::sleep(Duration::from_millis(1));
    }
    let map = tool.object.map_named("histograms").expect("there");
    let slots = map.lookup(&own.to_ne_bytes()).expect("readable");
    let slots = slots.expect("this process waited");
    let slots: Vec<u32> = slots
        .chunks_exact(4)
        .map(|slot| Event(slot.to_vec()).u32(0))
        .collect();
    assert!(slots.iter().sum::<u32>() >= 15, "{slots:?}");
    // Nobody waits for hours.
    assert_eq!(slots[31], 0);
}

#[test]
fn biolatency_counts_what_disks_do() {
    const BYTES: usize = 1 << 20;
    let kernel = kernel_or_skip!();
    let loader = loader(&kernel).global("with_queue", &disk::tells_queue());
    let tool = tool_or_skip!("tools/biolatency", "btf", loader);
    let on_blocks = match disk::write(BYTES) {
        Ok(on_blocks) => on_blocks,
        Err(reason) => skip!("disk", "{reason}"),
    };
    let number = |name| Event(tool.global(name)).u64(0);
    let (bytes, requests) = (number("bytes"), number("requests"));
    if requests == 0 && !on_blocks {
        skip!("disk", "the tests lie on no block device");
    }
    assert!(
        bytes >= BYTES as u64,
        "{bytes} bytes in {requests} requests"
    );
    let slots = Event(tool.global("slots"));
    let sum: u64 = (0..32).map(|slot| u64::from(slots.u32(slot * 4))).sum();
    assert!(sum >= requests.min(1), "{sum} of {requests}");
}

#[test]
fn tcpstates_tells_how_connections_come_and_go() {
    let kernel = kernel_or_skip!();
    let tool = tool_or_skip!("tools/tcpstates", "tracepoint", loader(&kernel));
    let mut events = tool.events();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let port = listener.local_addr().expect("bound").port();
    let client = TcpStream::connect(listener.local_addr().expect("bound")).expect("connected");
    let local = client.local_addr().expect("bound").port();
    let host = |event: &Event, at| event.u16(at);
    // TCP_CLOSE to TCP_SYN_SENT, then to TCP_ESTABLISHED.
    for (from, to) in [(7, 2), (2, 1)] {
        let event =
            events.wait(|event| (event.u32(4), event.u32(8), host(event, 14)) == (from, to, port));
        assert_eq!(event.0[16..20], [127, 0, 0, 1]);
        if to == 2 {
            assert_eq!(event.u32(0), std::process::id());
        } else {
            assert_eq!(host(&event, 12), local);
        }
    }
}

#[test]
fn tcpconnect_tells_who_connects_where() {
    let kernel = kernel_or_skip!();
    let tool = tool_or_skip!("tools/tcpconnect", "kprobe", loader(&kernel));
    let mut events = tool.events();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let port = listener.local_addr().expect("bound").port();
    let _client = TcpStream::connect(listener.local_addr().expect("bound")).expect("connected");
    let event = events.wait(|event| event.port(8) == port);
    assert_eq!(event.u32(0), std::process::id());
    assert_eq!(event.0[4..8], [127, 0, 0, 1]);
}

/// Expects reads, writes, removals and opens to be counted.
#[track_caller]
fn vfsstat(tool: &Tool, folder: &Path) {
    let path = folder.join(format!("kscope-vfsstat-{}", std::process::id()));
    let counts = || {
        let counts = Event(tool.global("counts"));
        [0, 8, 16, 24].map(|at| counts.u64(at))
    };
    let before = counts();
    for _ in 0..5 {
        let mut file = File::create(&path).expect("writable");
        file.write_all(b"some bytes").expect("written");
        assert_eq!(std::fs::read(&path).expect("readable").len(), 10);
        std::fs::remove_file(&path).expect("ours");
    }
    let after = counts();
    let done: Vec<u64> = after.iter().zip(before).map(|(a, b)| a - b).collect();
    // Reading whole takes a read more, to see the end; other threads of this process add to it.
    for (done, least) in done.iter().zip([10, 5, 5, 10]) {
        assert!(*done >= least && *done < least + 200, "{done} of {least}");
    }
}

#[test]
fn vfsstat_counts_by_function_entries() {
    let kernel = kernel_or_skip!();
    let names = ["read", "write", "unlink", "open"];
    let loader = loader(&kernel)
        .global("only_tgid", &std::process::id())
        .only(names.map(|name| format!("entered_vfs_{name}")));
    let tool = tool_or_skip!("tools/vfsstat", "fentry", loader);
    vfsstat(&tool, &std::env::temp_dir());
}

#[test]
fn vfsstat_counts_by_kprobes() {
    let kernel = kernel_or_skip!();
    let names = ["read", "write", "unlink", "open"];
    let loader = loader(&kernel)
        .global("only_tgid", &std::process::id())
        .only(names.map(|name| format!("probed_vfs_{name}")));
    let tool = tool_or_skip!("tools/vfsstat", "kprobe", loader);
    vfsstat(&tool, &std::env::temp_dir());
}

#[test]
fn bindsnoop_tells_who_binds_what() {
    let kernel = kernel_or_skip!();
    let tool = tool_or_skip!("tools/bindsnoop", "kprobe", loader(&kernel));
    let mut events = tool.events();
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let port = socket.local_addr().expect("bound").port();
    let event = events.wait(|event| event.port(12) == port);
    assert_eq!((event.u32(0), event.u32(8)), (std::process::id(), 0));
    assert_eq!(event.0[4..8], [127, 0, 0, 1]);
    // UDP, without options.
    assert_eq!(event.0[14..16], 17u16.to_ne_bytes());
    assert_eq!((event.byte(16), event.byte(17)), (0, 0));
    // Listening sockets are let use an address again, says std.
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let port = listener.local_addr().expect("bound").port();
    let event = events.wait(|event| event.port(12) == port);
    assert_eq!(event.0[14..16], 6u16.to_ne_bytes());
    assert_eq!((event.byte(16), event.byte(17)), (0, 1));
    // An address that is not ours: EADDRNOTAVAIL.
    let refused = UdpSocket::bind((Ipv4Addr::new(192, 0, 2, 1), 0));
    assert!(refused.is_err());
    let event = events.wait(|event| event.u32(8) != 0);
    assert_eq!(event.u32(8) as i32, -99);
}

#[test]
fn filelife_tells_how_long_files_live() {
    let kernel = kernel_or_skip!();
    let loader = loader(&kernel).global("only_tgid", &std::process::id());
    let tool = tool_or_skip!("tools/filelife", "kprobe", loader);
    let mut events = tool.events();
    let name = format!("kscope-filelife-{}", std::process::id());
    let path = std::env::temp_dir().join(&name);
    drop(File::create(&path).expect("writable"));
    std::thread::sleep(Duration::from_millis(10));
    std::fs::remove_file(&path).expect("ours");
    let event = events.wait(|event| event.text(12) == name);
    assert_eq!(event.u32(8), std::process::id());
    assert!(event.u64(0) >= 10_000_000, "{} ns", event.u64(0));
}
