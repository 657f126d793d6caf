//! What a dozen of the tools tell of work that is known.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::AsRawFd as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use kscope_tests::tool::{Event, PATIENCE, Tool};
use kscope_tests::{disk, kernel_or_skip, libbpf_tools, skip};

use super::{loader, release};

/// Loads some programs of a tool and attaches them, or skips the test for want of a feature.
macro_rules! tool_or_skip {
    ($name:expr, $feature:expr, $loader:expr) => {{
        let tool = match libbpf_tools::one($name) {
            Ok(tool) => tool,
            Err(reason) => skip!("libbpf-tools", "{reason}"),
        };
        match Tool::attach($loader.load(&tool.spec()).expect("maps")) {
            Ok(tool) => tool,
            Err(reason) => skip!($feature, "{reason}"),
        }
    }};
}

/// Gives what this thread is called for the kernel.
fn own_name() -> String {
    let name = std::fs::read_to_string("/proc/thread-self/comm").expect("proc");
    name.trim_end().to_owned()
}

#[test]
fn execsnoop_tells_who_starts_what() {
    let kernel = kernel_or_skip!();
    let loader = loader(&kernel).global("max_args", &20u32);
    let tool = tool_or_skip!("execsnoop", "tracepoint", loader);
    let mut events = tool.events();
    let mut child = Command::new("/bin/true")
        .args(["first", "second of them"])
        .spawn()
        .expect("every machine");
    let id = child.id();
    child.wait().expect("ours");
    let event = events.wait(|event| event.u32(0) == id);
    assert_eq!((event.u32(4), event.u32(12)), (std::process::id(), 0));
    assert_eq!((event.u32(16), event.text(24)), (3, "true"));
    let args = &event.0[40..40 + event.u32(20) as usize];
    assert_eq!(args, b"/bin/true\0first\0second of them\0");
}

#[test]
fn opensnoop_tells_who_opens_what() {
    let kernel = kernel_or_skip!();
    let own = std::process::id();
    let loader = loader(&kernel).global("targ_tgid", &own);
    let tool = tool_or_skip!("opensnoop", "tracepoint", loader);
    let mut events = tool.events();
    let absent = format!("/tmp/kscope-no-such-file-{own}");
    let _ = File::open(&absent);
    let event = events.wait(|event| event.text(56) == absent);
    // ENOENT, and O_RDONLY with O_CLOEXEC.
    assert_eq!((event.u32(8), event.u32(16) as i32), (own, -2));
    assert_eq!((event.u32(20) & 3, event.text(40)), (0, &*own_name()));
    let there = File::open("/proc/self/status").expect("there");
    let event = events.wait(|event| event.text(56) == "/proc/self/status");
    assert_eq!(event.u32(16) as i32, there.as_raw_fd());
}

#[test]
fn exitsnoop_tells_who_ends_how() {
    let kernel = kernel_or_skip!();
    let tool = tool_or_skip!("exitsnoop", "tracepoint", loader(&kernel));
    let mut events = tool.events();
    let mut child = Command::new("/bin/sh")
        .args(["-c", "kill -TERM $$"])
        .spawn()
        .expect("every machine");
    let id = child.id();
    child.wait().expect("ours");
    let event = events.wait(|event| event.u32(16) == id);
    assert_eq!((event.u32(20), event.u32(24)), (id, std::process::id()));
    // SIGTERM, without a code.
    assert_eq!((event.u32(28), event.u32(32)), (15, 0));
    assert_eq!(event.text(36), "sh");
    let age = event.u64(8) - event.u64(0);
    assert!(age < PATIENCE.as_nanos() as u64, "{age} ns");
}

#[test]
fn statsnoop_tells_who_asks_for_what() {
    let kernel = kernel_or_skip!();
    let own = std::process::id();
    let loader = loader(&kernel).global("target_pid", &own);
    let tool = tool_or_skip!("statsnoop", "tracepoint", loader);
    let mut events = tool.events();
    let absent = format!("/tmp/kscope-no-such-file-{own}");
    for (path, result) in [(&*absent, -2), ("/proc", 0)] {
        assert_eq!(std::fs::metadata(path).is_ok(), result == 0);
        let event = events.wait(|event| event.text(32) == path);
        assert_eq!((event.u32(8), event.u32(12) as i32), (own, result));
        assert_eq!(event.text(16), own_name());
    }
}

#[test]
fn sigsnoop_tells_who_signals_whom() {
    let kernel = kernel_or_skip!();
    let loader = loader(&kernel).without("sig_trace");
    let tool = tool_or_skip!("sigsnoop", "tracepoint", loader);
    let mut events = tool.events();
    let mut child = Command::new("/bin/sleep")
        .arg("60")
        .spawn()
        .expect("every machine");
    child.kill().expect("ours");
    child.wait().expect("ours");
    let id = child.id();
    let event = events.wait(|event| event.u32(4) == id);
    assert_eq!(event.u32(0), std::process::id());
    // SIGKILL.
    assert_eq!((event.u32(8), event.u32(12)), (9, 0));
    assert_eq!(event.text(16), own_name());
}

#[test]
fn tcpconnect_tells_who_connects_where() {
    let kernel = kernel_or_skip!();
    let tool = tool_or_skip!("tcpconnect", "kprobe", loader(&kernel));
    let mut events = tool.events();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let port = listener.local_addr().expect("bound").port();
    let _client = TcpStream::connect(listener.local_addr().expect("bound")).expect("connected");
    let event = events.wait(|event| event.port(70) == port);
    assert_eq!((event.u32(56), event.u32(60)), (2, std::process::id()));
    assert_eq!(event.0[..4], [127, 0, 0, 1]);
    assert_eq!(event.0[16..20], [127, 0, 0, 1]);
    assert_eq!(event.text(32), own_name());
}

#[test]
fn tcplife_tells_how_much_connections_carried() {
    let kernel = kernel_or_skip!();
    let tool = tool_or_skip!("tcplife", "tracepoint", loader(&kernel));
    let mut events = tool.events();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let address = listener.local_addr().expect("bound");
    let mut client = TcpStream::connect(address).expect("connected");
    let (mut server, local) = listener.accept().expect("connected");
    client.write_all(b"a question").expect("written");
    let mut question = [0; 10];
    server.read_exact(&mut question).expect("read");
    server.write_all(b"the answer to it").expect("written");
    let mut answer = [0; 16];
    client.read_exact(&mut answer).expect("read");
    std::thread::sleep(Duration::from_millis(20));
    drop((client, server));
    let event =
        events.wait(|event| (event.u16(68), event.u16(70)) == (local.port(), address.port()));
    assert_eq!(event.0[..4], [127, 0, 0, 1]);
    assert_eq!(event.0[16..20], [127, 0, 0, 1]);
    // Received and sent; to the bytes the kernel adds what begins and what ends a connection.
    let (received, sent) = (event.u64(48), event.u64(56));
    assert!(
        (16..=17).contains(&received) && (10..=12).contains(&sent),
        "{received} {sent}"
    );
    assert!(event.u64(40) >= 20_000, "{} us", event.u64(40));
    assert_eq!((event.u32(64), event.u16(72)), (std::process::id(), 2));
}

/// Expects reads, writes and opens to be counted by the programs whose names begin so.
#[track_caller]
fn vfsstat(start: &str, feature: &str) {
    let kernel = kernel_or_skip!();
    let names = ["read", "write", "fsync", "open", "create"];
    let loader = loader(&kernel).only(names.map(|name| format!("{start}_vfs_{name}")));
    let tool = tool_or_skip!("vfsstat", feature, loader);
    let path = std::env::temp_dir().join(format!("kscope-vfsstat-{}", std::process::id()));
    let counts = || {
        let counts = Event(tool.global("stats"));
        [0, 8, 16, 24].map(|at| counts.u64(at))
    };
    let before = counts();
    for _ in 0..5 {
        let mut file = File::create(&path).expect("writable");
        file.write_all(b"some bytes").expect("written");
        assert_eq!(std::fs::read(&path).expect("readable").len(), 10);
    }
    let after = counts();
    std::fs::remove_file(&path).expect("ours");
    // Reading whole takes a read more, to see the end. What else runs adds to it.
    for (index, least) in [(0, 10), (1, 5), (3, 10)] {
        let done = after[index] - before[index];
        assert!(done >= least, "{index}: {done} of {least}");
    }
}

#[test]
fn vfsstat_counts_by_function_entries() {
    vfsstat("fentry", "fentry");
}

#[test]
fn vfsstat_counts_by_kprobes() {
    vfsstat("kprobe", "kprobe");
}

/// Gives the numbers that a histogram begins with.
fn slots(value: &[u8], count: usize) -> Vec<u32> {
    let value = Event(value.to_vec());
    (0..count).map(|slot| value.u32(slot * 4)).collect()
}

#[test]
fn biolatency_counts_what_disks_do() {
    let kernel = kernel_or_skip!();
    if !disk::tells_queue() && release() < (5, 11) {
        skip!(
            "biolatency",
            "the tool goes by the release, and this one has a later one's tracepoints"
        );
    }
    let loader = loader(&kernel).only(["block_rq_issue_btf", "block_rq_complete_btf"]);
    let tool = tool_or_skip!("biolatency", "btf", loader);
    let on_blocks = match disk::write(1 << 20) {
        Ok(on_blocks) => on_blocks,
        Err(reason) => skip!("disk", "{reason}"),
    };
    let map = tool.object.map_named("hists").expect("there");
    // Neither by flags nor by disk.
    let found = map.lookup(&[0; 8]).expect("readable");
    let Some(found) = found else {
        assert!(!on_blocks, "no request was seen");
        skip!("disk", "the tests lie on no block device");
    };
    let slots = slots(&found, 27);
    assert!(slots.iter().sum::<u32>() >= 1, "{slots:?}");
}

#[test]
fn runqlat_counts_waits_for_a_cpu() {
    let kernel = kernel_or_skip!();
    let loader = loader(&kernel)
        .global("targ_tgid", &std::process::id())
        .only(["sched_wakeup", "sched_wakeup_new", "sched_switch"]);
    let tool = tool_or_skip!("runqlat", "btf", loader);
    for _ in 0..20 {
        std::thread::sleep(Duration::from_millis(1));
    }
    let map = tool.object.map_named("hists").expect("there");
    let found = map.lookup(&u32::MAX.to_ne_bytes()).expect("readable");
    let slots = slots(&found.expect("this process waited"), 26);
    assert!(slots.iter().sum::<u32>() >= 15, "{slots:?}");
    // Nobody waits for half a minute.
    assert_eq!(slots[25], 0);
}

#[test]
fn syscount_counts_calls_by_number() {
    const CALLS: u64 = 500;
    let kernel = kernel_or_skip!();
    let loader = loader(&kernel).global("filter_pid", &std::process::id());
    let tool = tool_or_skip!("syscount", "tracepoint", loader);
    for _ in 0..CALLS {
        std::hint::black_box(std::os::unix::process::parent_id());
    }
    let map = tool.object.map_named("data").expect("there");
    let number = if cfg!(target_arch = "x86_64") {
        110
    } else {
        173
    };
    let found = map.lookup(&u32::to_ne_bytes(number)).expect("readable");
    assert_eq!(Event(found.expect("counted")).u64(0), CALLS);
}

#[test]
fn mountsnoop_tells_who_mounts_what() {
    let kernel = kernel_or_skip!();
    let tool = tool_or_skip!("mountsnoop", "tracepoint", loader(&kernel));
    let mut events = tool.events();
    let folder = kscope_tests::program::Folder::new("mountsnoop");
    let path = folder.path().to_str().expect("text");
    let mut mount = Command::new("mount")
        .args(["-t", "tmpfs", "kscope-source", path])
        .stderr(Stdio::null())
        .spawn()
        .expect("every machine");
    let id = mount.id();
    assert!(mount.wait().expect("ours").success());
    let mut umount = Command::new("umount")
        .arg(path)
        .spawn()
        .expect("every machine");
    assert!(umount.wait().expect("ours").success());
    // Where the operation, the names of source and target, and the file system are.
    const OPERATION: usize = 8760;
    const NAMES: [usize; 3] = [56, 4152, 48];
    let event = events.wait(|event| event.u32(16) == id && event.u32(28) == 0);
    assert_eq!(
        NAMES.map(|at| event.text(at)),
        ["kscope-source", path, "tmpfs"]
    );
    assert_eq!((event.u32(OPERATION), event.text(32)), (0, "mount"));
    let event = events.wait(|event| event.u32(16) == umount.id() && event.u32(28) == 0);
    assert_eq!((event.u32(OPERATION), event.text(4152)), (1, path));
}
