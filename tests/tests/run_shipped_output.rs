//! The scripts that bpftrace ships, unchanged and all at once, while a workload makes what they trace.
//@ bpftrace

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use kscope_tests::program::{Finished, Folder, Tracer};
use kscope_tests::{kernel_or_skip, kscope_or_skip, skip};

/// What a script needs beside its kernel's tracepoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Needs {
    Nothing,
    /// Probes of the kernel's functions.
    Kprobes,
    /// A disk, which guests have none of.
    Disk,
    /// A C library that programs share, which guests have none of.
    Libc,
    /// What older guests' kernels lack.
    New,
}
use Needs::{Disk, Kprobes, Libc, New, Nothing};

/// Scripts, and what their output holds after the workload.
const SCRIPTS: [(&str, &str, Needs); 27] = [
    ("biolatency", "|@", Disk),
    ("biosnoop", "dd", Disk),
    ("bitesize", "|@", Disk),
    ("capable", "CAP_SETUID", Kprobes),
    ("cpuwalk", "|@", Nothing),
    ("dcsnoop", "kscope-absent", Kprobes),
    ("execsnoop", "kscope-victim", Nothing),
    ("gethostlatency", "localhost", Libc),
    ("killsnoop", "sh", Nothing),
    ("naptime", "sleep", Nothing),
    ("opensnoop", "/tmp/kscope-absent", Nothing),
    ("pidpersec", "@: ", Nothing),
    ("runqlat", "|@", Nothing),
    ("runqlen", "|@", New),
    ("setuids", "uid=65534", Nothing),
    ("statsnoop", "/tmp/kscope-absent", Nothing),
    ("syncsnoop", "sys_enter_sync", Nothing),
    ("syscount", "@process[", Nothing),
    ("tcpaccept", "127.0.0.1", Kprobes),
    ("tcpconnect", "127.0.0.1", Kprobes),
    ("tcpdrop", "127.0.0.1", New),
    ("tcplife", "127.0.0.1", Kprobes),
    ("tcpsynbl", "|@", Kprobes),
    ("undump", "kscope-message", Kprobes),
    ("vfscount", "vfs_open", Kprobes),
    ("vfsstat", "vfs_open", Kprobes),
    ("writeback", "sync", Disk),
];

/// Those that trace other things in bookworm's release or what newer kernels have no more, or that use variables outside
/// of their block.
const ONLY_SID: [&str; 6] = [
    "biolatency",
    "biosnoop",
    "naptime",
    "runqlen",
    "tcpconnect",
    "tcpdrop",
];

/// How many of those that need kprobes must speak, where there are kprobes.
const KPROBE_SCRIPTS: usize = 5;

/// Does what the scripts trace, once.
fn workload(folder: &Folder) {
    let run = |words: &[&str]| {
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).stdin(Stdio::null());
        let _ = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
    };
    run(&["true", "kscope-victim"]);
    let flags = rustix::fs::AtFlags::empty();
    let wanted = rustix::fs::StatxFlags::BASIC_STATS;
    let _ = rustix::fs::statx(rustix::fs::CWD, "/tmp/kscope-absent", flags, wanted);
    let _ = File::open("/tmp/kscope-absent");
    run(&["sh", "-c", "kill -0 $$"]);
    run(&["sleep", "0.1"]);
    run(&["getent", "ahosts", "localhost"]);
    let _ = Command::new("true").uid(65534).gid(65534).status();
    let file = folder.path().join("data");
    let of = format!("of={}", file.display());
    run(&[
        "dd",
        "if=/dev/zero",
        &of,
        "bs=4096",
        "count=64",
        "conv=fsync",
    ]);
    run(&["sync"]);
    connections();
    if let Ok((mut one, mut other)) = UnixStream::pair() {
        let _ = one.write_all(b"kscope-message");
        let _ = other.read(&mut [0; 64]);
    }
    // Some scripts print once a second.
    std::thread::sleep(Duration::from_millis(1200));
}

/// Makes a connection, and one that nobody takes.
fn connections() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let address = listener.local_addr().expect("bound");
    let mut client = TcpStream::connect(address).expect("a connection");
    let (mut server, _) = listener.accept().expect("a connection");
    let _ = server.write_all(b"hello");
    let _ = client.read(&mut [0; 8]);
    drop((client, server, listener));
    assert!(TcpStream::connect(address).is_err(), "nobody listens");
}

fn has_kprobes() -> bool {
    Path::new("/sys/bus/event_source/devices/kprobe").exists()
}

/// Starts a script; what it said where it does not attach.
fn start(peer: &Path, script: &Path) -> Result<Tracer, Finished> {
    let mut command = Command::new(peer);
    command.arg("--unsafe").arg(script);
    Tracer::of(command)
}

fn check(release: &str) {
    let _kernel = kernel_or_skip!();
    let program = kscope_or_skip!();
    let folder = std::env::var_os("KSCOPE_BPFTRACE").map(PathBuf::from);
    let Some(scripts) = folder
        .map(|folder| folder.join(release))
        .filter(|folder| folder.exists())
    else {
        skip!("bpftrace", "bpftrace's scripts of {release} are not here");
    };
    let is_guest = std::env::var_os("KSCOPE_GUEST").is_some();
    let folder = Folder::new("shipped");
    // By this name it has bpftrace's command line.
    let peer = folder.path().join("bpftrace");
    std::os::unix::fs::symlink(&program, &peer).expect("a link");
    let mut running = Vec::new();
    let mut wrong = Vec::new();
    let mut by_kprobes = 0;
    for (name, text, needs) in SCRIPTS {
        let possible = match needs {
            Nothing => true,
            Kprobes => has_kprobes(),
            Disk | Libc | New => !is_guest,
        };
        if !possible || (release != "sid" && ONLY_SID.contains(&name)) {
            continue;
        }
        match start(&peer, &scripts.join(format!("{name}.bt"))) {
            Ok(tracer) => running.push((name, text, needs, tracer)),
            // What a kernel lacks is looked up in another test.
            Err(left) if needs == Kprobes => println!("{name}: {:?}", left.errors.first()),
            Err(left) => wrong.push(format!("{name} was not attached: {left:?}")),
        }
    }
    workload(&folder);
    let finished: Vec<_> = running
        .into_iter()
        .map(|(name, text, needs, tracer)| (name, text, needs, tracer.interrupt()))
        .collect();
    for (name, text, needs, left) in finished {
        if !left.lines.iter().any(|line| line.contains(text)) || left.code != Some(0) {
            wrong.push(format!("{name} says nothing of {text}: {left:?}"));
        } else if needs == Kprobes {
            by_kprobes += 1;
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    if has_kprobes() {
        assert!(
            by_kprobes >= KPROBE_SCRIPTS,
            "{by_kprobes} scripts by kprobes"
        );
    }
}

#[test]
fn those_of_bookworm_print() {
    if std::env::var_os("KSCOPE_GUEST").is_some() {
        skip!("host", "in guests it is those of sid, to save time");
    }
    check("bookworm");
}

#[test]
fn those_of_sid_print() {
    check("sid");
}
