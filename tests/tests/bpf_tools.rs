//! Tools as they are written for libbpf: one object each, compiled once by clang on the machine that built
//! the tests, attaches by its sections on every kernel and tells the right events.
//@ modules: loop

use std::collections::VecDeque;
use std::fs::File;
use std::io::Write;
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use kscope_bpf::btf::Kind;
use kscope_bpf::sys::SharedKernel;
use kscope_bpf::{AttachOutcome, Error, EventReader, Link, Loader, Object, PerfBuffer, RingBuffer};
use kscope_tests::assembly::kernel_types;
use kscope_tests::{kernel_or_skip, object_or_skip, skip};

/// How long an event may take to come; guests are emulated.
const PATIENCE: Duration = Duration::from_secs(20);

/// A tool at work.
struct Tool {
    object: Object,
    _links: Vec<Link>,
}

impl Tool {
    /// Attaches every program by its section.
    fn attach(object: Object) -> Result<Tool, String> {
        if let Some(failed) = object.failures().next() {
            return match &failed.error {
                error @ (Error::Unsupported { .. } | Error::Permission { .. }) => {
                    Err(error.to_string())
                }
                error => panic!("{failed}\n{error:#?}"),
            };
        }
        let mut links = Vec::new();
        for one in object.attach() {
            match one.outcome {
                AttachOutcome::Attached(link) => links.push(link),
                AttachOutcome::Failed(error @ Error::Unsupported { .. }) => {
                    return Err(error.to_string());
                }
                other => panic!("{}: {other}", one.section),
            }
        }
        assert!(!links.is_empty());
        let _links = links;
        Ok(Tool { object, _links })
    }

    /// Opens the buffer of events.
    fn events(&self) -> Events {
        let map = self.object.map_named("events").expect("there");
        let reader = match PerfBuffer::new(map, 64 << 10, 0) {
            Ok(buffer) => EventReader::Perf(buffer),
            Err(_) => EventReader::Ring(RingBuffer::new(&[map]).expect("a ring")),
        };
        Events {
            reader,
            unread: VecDeque::new(),
        }
    }

    fn global(&self, name: &str) -> Vec<u8> {
        let global = self.object.global(name).expect("there");
        global.bytes().expect("readable")
    }
}

/// A buffer of events, and those that were read and not asked for yet.
struct Events {
    reader: EventReader,
    unread: VecDeque<Event>,
}

impl Events {
    /// Reads events until one is as wanted, and gives it.
    #[track_caller]
    fn wait(&mut self, wanted: impl Fn(&Event) -> bool) -> Event {
        let begin = Instant::now();
        let mut others = 0;
        loop {
            while let Some(event) = self.unread.pop_front() {
                if wanted(&event) {
                    return event;
                }
                others += 1;
            }
            let left = PATIENCE.saturating_sub(begin.elapsed());
            assert!(!left.is_zero(), "not among {others} events");
            let unread = &mut self.unread;
            let mut keep = |record: &[u8]| unread.push_back(Event(record.to_vec()));
            self.reader.poll(Some(left), &mut keep).expect("readable");
        }
    }
}

/// An event's bytes.
struct Event(Vec<u8>);

impl Event {
    fn byte(&self, at: usize) -> u8 {
        self.0[at]
    }

    fn u32(&self, at: usize) -> u32 {
        u32::from_ne_bytes(*self.0[at..].first_chunk().expect("long enough"))
    }

    fn u64(&self, at: usize) -> u64 {
        u64::from_ne_bytes(*self.0[at..].first_chunk().expect("long enough"))
    }

    /// A port as it is in a packet.
    fn port(&self, at: usize) -> u16 {
        u16::from_be_bytes(*self.0[at..].first_chunk().expect("long enough"))
    }

    fn text(&self, at: usize) -> &str {
        let bytes = &self.0[at..];
        let end = bytes.iter().position(|&byte| byte == 0);
        std::str::from_utf8(&bytes[..end.expect("ends")]).expect("text")
    }
}

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

/// A file on a block device, or a block device itself.
fn on_disk() -> Result<(PathBuf, Option<Loop>), String> {
    if std::env::var_os("KSCOPE_GUEST").is_none() {
        let program = std::env::current_exe().expect("proc");
        let name = format!("kscope-biolatency-{}", std::process::id());
        return Ok((program.with_file_name(name), None));
    }
    let backing = std::env::temp_dir().join("kscope-disk");
    std::fs::write(&backing, vec![0; 4 << 20]).map_err(|e| e.to_string())?;
    let device = PathBuf::from("/dev/loop0");
    let done = Command::new("losetup").arg(&device).arg(&backing).status();
    match done {
        Ok(status) if status.success() => Ok((device.clone(), Some(Loop { device, backing }))),
        other => Err(format!("losetup: {other:?}")),
    }
}

/// A loop device, freed when dropped.
struct Loop {
    device: PathBuf,
    backing: PathBuf,
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = Command::new("losetup").arg("-d").arg(&self.device).status();
        let _ = std::fs::remove_file(&self.backing);
    }
}

/// Tells whether a request that begins comes with its queue: what is told of it has two arguments then,
/// beside the one that every tracepoint has.
fn tells_queue() -> bool {
    let arguments = kernel_types().and_then(|types| {
        let pointer = types.resolve(types.find("btf_trace_block_rq_issue", Kind::Typedef)?)?;
        Some(types.prototype(pointer)?.params().len())
    });
    arguments.is_some_and(|count| count > 2)
}

#[test]
fn biolatency_counts_what_disks_do() {
    const BYTES: usize = 1 << 20;
    let kernel = kernel_or_skip!();
    let loader = loader(&kernel).global("with_queue", &tells_queue());
    let tool = tool_or_skip!("tools/biolatency", "btf", loader);
    let (path, disk) = match on_disk() {
        Ok(found) => found,
        Err(reason) => skip!("disk", "{reason}"),
    };
    let mut options = File::options();
    options.write(true).create(disk.is_none());
    let file = options.open(&path).expect("writable");
    file.write_all_at(&vec![7; BYTES], 0).expect("written");
    file.sync_all().expect("written out");
    if disk.is_none() {
        std::fs::remove_file(&path).expect("ours");
    }
    let number = |name| Event(tool.global(name)).u64(0);
    let (bytes, requests) = (number("bytes"), number("requests"));
    if requests == 0 && disk.is_none() {
        skip!("disk", "{} lies on no block device", path.display());
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
    let host = |event: &Event, at| port_of_host(event, at);
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

/// A port as the processor has it.
fn port_of_host(event: &Event, at: usize) -> u16 {
    u16::from_ne_bytes(*event.0[at..].first_chunk().expect("long enough"))
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
