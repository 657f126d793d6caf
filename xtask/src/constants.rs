//! The constants that scripts take from headers: written anew from those of this machine.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::arguments::Arguments;

/// What the constants are taken from. Those of the C library stand for headers of the kernel's own
/// source, which no system has installed, wherever the numbers are the same.
const HEADERS: &[&str] = &[
    "sys/socket.h",
    "netinet/in.h",
    "netinet/tcp.h",
    "netinet/udp.h",
    "fcntl.h",
    "sys/stat.h",
    "sys/mman.h",
    "sys/mount.h",
    "sys/ptrace.h",
    "sys/prctl.h",
    "sys/resource.h",
    "sys/wait.h",
    "sys/epoll.h",
    "sys/eventfd.h",
    "sys/inotify.h",
    "sys/file.h",
    "sys/swap.h",
    "sys/reboot.h",
    "sys/un.h",
    "signal.h",
    "sched.h",
    "errno.h",
    "poll.h",
    "time.h",
    "unistd.h",
    "limits.h",
    "linux/futex.h",
    "linux/if_ether.h",
    "linux/if_arp.h",
    "linux/if_packet.h",
    "linux/capability.h",
    "linux/bpf.h",
    "linux/perf_event.h",
    "linux/magic.h",
    "linux/netfilter.h",
    "linux/netfilter_ipv4.h",
    "linux/netlink.h",
    "linux/rtnetlink.h",
    "linux/icmp.h",
    "linux/icmpv6.h",
    "linux/io_uring.h",
    "linux/fs.h",
    "linux/keyctl.h",
    "linux/seccomp.h",
    "linux/securebits.h",
    "linux/sockios.h",
    "linux/kdev_t.h",
    "linux/ipv6.h",
    "linux/openat2.h",
    "linux/mempolicy.h",
    "linux/membarrier.h",
    "linux/falloc.h",
    "linux/memfd.h",
    "linux/kcmp.h",
    "linux/ioprio.h",
    "linux/fanotify.h",
    "linux/aio_abi.h",
    "linux/pkt_sched.h",
];

/// Constants of the kernel that no installed header has (include/linux/sched.h, jiffies.h,
/// err.h, time64.h); the same since Linux 4.14.
const OF_THE_KERNEL: &[(&str, i64)] = &[
    ("TASK_RUNNING", 0),
    ("TASK_INTERRUPTIBLE", 1),
    ("TASK_UNINTERRUPTIBLE", 2),
    ("__TASK_STOPPED", 4),
    ("__TASK_TRACED", 8),
    ("EXIT_DEAD", 16),
    ("EXIT_ZOMBIE", 32),
    ("TASK_PARKED", 64),
    ("TASK_DEAD", 128),
    ("TASK_WAKEKILL", 256),
    ("TASK_WAKING", 512),
    ("TASK_NOLOAD", 1024),
    ("TASK_NEW", 2048),
    ("TASK_COMM_LEN", 16),
    ("PF_EXITING", 4),
    ("PF_KTHREAD", 0x0020_0000),
    ("MAX_ERRNO", 4095),
    ("NSEC_PER_SEC", 1_000_000_000),
    ("NSEC_PER_MSEC", 1_000_000),
    ("NSEC_PER_USEC", 1_000),
    ("USEC_PER_SEC", 1_000_000),
    ("MSEC_PER_SEC", 1_000),
    ("MAX_NICE", 19),
    ("MIN_NICE", -20),
    ("MAX_RT_PRIO", 100),
    ("MAX_PRIO", 140),
    ("PAGE_SHIFT", 12),
    ("PAGE_SIZE", 4096),
    ("MINORBITS", 20),
    ("MINORMASK", 0xfffff),
    // The C library of 64-bit systems has no use for it; the kernel has.
    ("O_LARGEFILE", 0o100_000),
];

/// Names begin so that are the compiler's, the C library's or a guard's.
const NOT_CONSTANTS: &[&str] = &["_", "linux", "unix", "BITS_", "NULL"];

fn compiler(arguments: &[&str], input: &str) -> Result<(bool, String, String), String> {
    let mut child = Command::new("cc")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("cc: {error}"))?;
    let mut stdin = child.stdin.take().ok_or("cc has no input")?;
    let text = input.to_owned();
    let writer = std::thread::spawn(move || stdin.write_all(text.as_bytes()));
    let done = child.wait_with_output().map_err(|e| format!("cc: {e}"))?;
    let _ = writer.join();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok((
        done.status.success(),
        text(&done.stdout),
        text(&done.stderr),
    ))
}

fn includes() -> String {
    let present = HEADERS
        .iter()
        .map(|h| format!("#if __has_include(<{h}>)\n#include <{h}>\n#endif\n"));
    format!("#define _GNU_SOURCE\n{}", present.collect::<String>())
}

/// Lists the macros that look like constants.
fn names() -> Result<BTreeSet<String>, String> {
    let (done, macros, errors) = compiler(&["-dM", "-E", "-x", "c", "-"], &includes())?;
    if !done {
        return Err(errors);
    }
    let name = |line: &str| {
        let (name, value) = line.strip_prefix("#define ")?.split_once(' ')?;
        let constant = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
            && name.bytes().any(|b| b.is_ascii_uppercase())
            && !NOT_CONSTANTS.iter().any(|start| name.starts_with(start))
            && !value.is_empty();
        constant.then(|| name.to_owned())
    };
    Ok(macros.lines().filter_map(name).collect())
}

/// Makes a program with a line for each name; a name that is no number makes its line wrong.
fn program(names: &BTreeSet<String>) -> String {
    let mut text = includes();
    text += "#include <stdio.h>\n#line 1 \"names\"\n";
    for name in names {
        text += &format!("static const long long k_{name} = (long long)({name});\n");
    }
    text += "int main(void) {\n";
    for name in names {
        text += &format!("printf(\"{name} %lld\\n\", k_{name});\n");
    }
    text + "return 0; }\n"
}

/// Writes crates/script/src/constants/x86_64.txt.
pub(crate) fn run(_arguments: Arguments) -> Result<bool, String> {
    let mut names = names()?;
    loop {
        let text = program(&names);
        let (done, _, errors) = compiler(
            &["-fsyntax-only", "-fmax-errors=0", "-w", "-x", "c", "-"],
            &text,
        )?;
        if done {
            break;
        }
        let order: Vec<String> = names.iter().cloned().collect();
        let wrong = errors.lines().filter(|line| line.contains(" error: "));
        let line = |error: &str| {
            error
                .strip_prefix("names:")?
                .split(':')
                .next()?
                .parse()
                .ok()
        };
        let mut fewer = false;
        for number in wrong.filter_map(line).collect::<Vec<usize>>() {
            let name = number.checked_sub(1).and_then(|i| order.get(i));
            fewer |= name.is_some_and(|name| names.remove(name));
        }
        if !fewer {
            return Err(errors);
        }
    }
    let folder = std::env::temp_dir().join(format!("constants-{}", std::process::id()));
    std::fs::create_dir_all(&folder).map_err(|e| e.to_string())?;
    let exe = folder.join("constants");
    let out = exe.to_string_lossy().into_owned();
    let (done, _, errors) = compiler(&["-w", "-x", "c", "-", "-o", &out], &program(&names))?;
    if !done {
        return Err(errors);
    }
    let printed = Command::new(&exe).output().map_err(|e| e.to_string())?;
    let _ = std::fs::remove_dir_all(&folder);
    let mut lines: BTreeSet<String> = String::from_utf8_lossy(&printed.stdout)
        .lines()
        .map(str::to_owned)
        .collect();
    for (name, value) in OF_THE_KERNEL {
        lines.retain(|line| line.split(' ').next() != Some(name));
        lines.insert(format!("{name} {value}"));
    }
    let path = PathBuf::from("crates/script/src/constants/x86_64.txt");
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    std::fs::write(&path, text).map_err(|e| format!("{}: {e}", path.display()))?;
    println!("{} constants in {}", lines.len(), path.display());
    Ok(true)
}
