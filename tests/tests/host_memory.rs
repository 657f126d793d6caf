//! Scripts over the memory of the running kernel give what the kernel says elsewhere.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write as _;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::process::{Child, Command};

use kscope_tests::program::{kscope, run};
use kscope_tests::{kernel_or_skip, skip};
use serde_json::json;

/// Runs a script by an engine and gives its lines, without the number of its probes.
fn lines(engine: &str, script: &str) -> Vec<String> {
    let words = ["run", "-q", "--engine", engine, "-e", script];
    let (code, out, err) = run(&kscope(), &words);
    assert_eq!(code, Some(0), "{script}: {err}");
    out.lines().map(str::to_owned).collect()
}

/// Gives the name and parent of every process that can be asked, by its number.
fn processes() -> BTreeMap<u32, (u32, String)> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir("/proc").expect("readable").flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|n| n.parse().ok()) else {
            continue;
        };
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        let parts = stat
            .split_once(" (")
            .and_then(|(_, rest)| rest.rsplit_once(") "));
        if let Some((name, rest)) = parts {
            let parent = rest.split(' ').nth(1).and_then(|n| n.parse().ok());
            // Threads of the kernel have longer names in /proc than in their tasks.
            let name = name.chars().take(15).collect();
            found.insert(pid, (parent.expect("a number"), name));
        }
    }
    found
}

/// A process that sleeps until it is dropped.
struct Sleeper(Child);

impl Sleeper {
    fn start() -> Sleeper {
        let child = Command::new("sleep").arg("60").spawn().expect("runs");
        // Once it has a name of its own it is on its way to sleep.
        let comm = format!("/proc/{}/comm", child.id());
        for _ in 0..1000 {
            if fs::read_to_string(&comm).is_ok_and(|name| name == "sleep\n") {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
        Sleeper(child)
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn processes_are_those_of_proc() {
    kernel_or_skip!();
    let script = r#"iter:task /ctx.task.pid == ctx.task.tgid/ {
        printf("%d %d %s\n", ctx.task.pid, ctx.task.real_parent.tgid, ctx.task.comm);
    }"#;
    let before = processes();
    let rows = lines("memory", script);
    let after = processes();
    let mut compared = 0;
    // Names of workers in /proc have what they do behind them, and may change.
    let lasting = before
        .iter()
        .filter(|(pid, said)| after.get(pid) == Some(said) && !said.1.starts_with("kworker"));
    for (pid, (parent, name)) in lasting {
        let row = format!("{pid} {parent} {name}");
        assert!(rows.contains(&row), "{row} is missing of {rows:?}");
        compared += 1;
    }
    assert!(compared > 3, "{compared} processes");
}

#[test]
fn the_tool_ps_shows_a_process() {
    kernel_or_skip!();
    let sleeper = Sleeper::start();
    let pid = sleeper.0.id().to_string();
    let (code, out, err) = run(&kscope(), &["ps", "--json", "--pid", &pid]);
    assert_eq!(code, Some(0), "{err}");
    let row: serde_json::Value = serde_json::from_str(&out).expect("one row");
    assert_eq!(row["comm"], "sleep", "{row}");
    assert_eq!(row["ppid"], std::process::id(), "{row}");
    let status = fs::read_to_string(format!("/proc/{pid}/statm")).expect("readable");
    let pages: u64 = status
        .split(' ')
        .next()
        .and_then(|n| n.parse().ok())
        .expect("a number");
    assert_eq!(row["mapped"], pages * 4, "{row}");
}

/// Gives the rows of a tool over the running kernel's memory.
fn rows(words: &[&str]) -> Vec<serde_json::Value> {
    let mut all = words.to_vec();
    all.push("--json");
    let (code, out, err) = run(&kscope(), &all);
    assert_eq!(code, Some(0), "{words:?}: {err}");
    let row = |line: &str| serde_json::from_str(line).expect("a row");
    out.lines().map(row).collect()
}

#[test]
fn mounts_are_those_of_mountinfo() {
    kernel_or_skip!();
    let pid = std::process::id().to_string();
    let lines = fs::read_to_string("/proc/self/mountinfo").expect("readable");
    let rows = rows(&["mounts", "--pid", &pid]);
    let mut compared = 0;
    for line in lines.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let dash = words.iter().position(|word| *word == "-").expect("a dash");
        let row = rows
            .iter()
            .find(|row| row["id"].as_u64() == words[0].parse().ok());
        let row = row.unwrap_or_else(|| panic!("{line} is missing of {rows:?}"));
        assert_eq!(row["parent"].to_string(), words[1], "{line}");
        let device = format!("{}:{}", row["major"], row["minor"]);
        assert_eq!(device, words[2], "{line}");
        assert_eq!(row["path"], words[4], "{line}");
        assert_eq!(row["flags"], words[5], "{line}");
        // Its own name, without what a user file system calls itself.
        let kind = words[dash + 1].split('.').next();
        assert_eq!(row["type"].as_str(), kind, "{line}");
        compared += 1;
    }
    assert!(compared > 2, "{lines}");
}

#[test]
fn files_are_those_of_proc() {
    kernel_or_skip!();
    let name = format!("kscope-files-{}", std::process::id());
    let path = std::env::temp_dir().join(&name);
    let file = fs::File::create(&path).expect("made");
    (&file).write_all(b"0123456789").expect("written");
    let (socket, _other) = std::os::unix::net::UnixStream::pair().expect("sockets");
    let pid = std::process::id();
    let rows = rows(&["files", "--pid", &pid.to_string()]);
    let check = |fd: i32, kind: &str| {
        let row = rows.iter().find(|row| row["fd"] == fd);
        let row = row.unwrap_or_else(|| panic!("{fd} is missing of {rows:?}"));
        let link = fs::read_link(format!("/proc/self/fd/{fd}")).expect("a link");
        assert_eq!(row["path"].as_str(), link.to_str(), "{row}");
        assert_eq!(row["kind"], kind, "{row}");
        row.clone()
    };
    let row = check(file.as_raw_fd(), "file");
    assert_eq!(row["pos"], 10, "{row}");
    check(socket.as_raw_fd(), "socket");
    fs::remove_file(&path).expect("removed");
    let row = &self::rows(&["files", "--pid", &pid.to_string(), "--path", &name])[0];
    assert_eq!(
        row["path"].as_str(),
        Some(&*format!("{} (deleted)", path.display()))
    );
}

#[test]
fn sockets_are_those_that_are_open() {
    kernel_or_skip!();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a socket");
    let port = listener.local_addr().expect("an address").port();
    let client = TcpStream::connect(("127.0.0.1", port)).expect("connected");
    let udp = UdpSocket::bind("[::1]:0").or_else(|_| UdpSocket::bind("127.0.0.1:0"));
    let udp = udp.expect("a socket");
    let name = format!("kscope-sockets-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).expect("a name");
    let unix = UnixListener::bind_addr(&address).expect("a socket");
    let pid = std::process::id().to_string();
    let rows = rows(&["sockets", "--pid", &pid]);
    let check = |fd: i32, expected: serde_json::Value| {
        let link = fs::read_link(format!("/proc/self/fd/{fd}")).expect("a link");
        let inode = link
            .to_str()
            .expect("text")
            .trim_matches(|c: char| !c.is_ascii_digit());
        let row = rows
            .iter()
            .find(|row| row["inode"].as_u64() == inode.parse().ok());
        let row = row.unwrap_or_else(|| panic!("{inode} is missing of {rows:?}"));
        for (name, value) in expected.as_object().expect("an object") {
            assert_eq!(&row[name], value, "{name} of {row}");
        }
    };
    check(
        listener.as_raw_fd(),
        json!({"proto": "tcp", "state": "LISTEN", "laddr": "127.0.0.1", "lport": port}),
    );
    let own = client.local_addr().expect("an address").port();
    check(
        client.as_raw_fd(),
        json!({"proto": "tcp", "state": "ESTABLISHED", "lport": own, "raddr": "127.0.0.1", "rport": port}),
    );
    let at = udp.local_addr().expect("an address");
    check(
        udp.as_raw_fd(),
        json!({"proto": "udp", "laddr": at.ip().to_string(), "lport": at.port()}),
    );
    check(
        unix.as_raw_fd(),
        json!({"proto": "unix", "state": "LISTEN", "laddr": format!("@{name}")}),
    );
}

#[test]
fn interfaces_are_those_of_sysfs() {
    kernel_or_skip!();
    let pid = std::process::id().to_string();
    let rows = rows(&["interfaces", "--pid", &pid]);
    let text = fs::read_to_string("/proc/self/net/dev").expect("readable");
    let names: BTreeSet<&str> = text
        .lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(name, _)| name.trim())
        .collect();
    let found: BTreeSet<&str> = rows.iter().filter_map(|row| row["name"].as_str()).collect();
    assert_eq!(found, names);
    // Addresses of IPv6, of one interface each: address, index, length of the prefix, …
    let lines = fs::read_to_string("/proc/self/net/if_inet6").unwrap_or_default();
    for line in lines.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let address = u128::from_str_radix(words[0], 16).expect("an address");
        let address = std::net::Ipv6Addr::from(address).to_string();
        let found = rows
            .iter()
            .find(|row| row["addr"] == *address && row["name"] == words[5]);
        assert!(found.is_some(), "{line} is missing of {rows:?}");
    }
}

#[test]
fn modules_are_those_of_proc() {
    kernel_or_skip!();
    let Ok(text) = fs::read_to_string("/proc/modules") else {
        skip!("modules", "the kernel has none");
    };
    let symbols = fs::read_to_string("/proc/kallsyms").unwrap_or_default();
    if !symbols.lines().any(|line| line.ends_with(" modules")) {
        skip!("CONFIG_KALLSYMS_ALL", "the kernel tells no names of data");
    }
    let rows = rows(&["modules"]);
    for line in text.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let row = rows.iter().find(|row| row["name"] == words[0]);
        let row = row.unwrap_or_else(|| panic!("{line} is missing of {rows:?}"));
        assert_eq!(row["size"].to_string(), words[1], "{line}");
    }
    assert_eq!(rows.len(), text.lines().count());
}

#[test]
fn both_engines_give_the_same() {
    kernel_or_skip!();
    let sleeper = Sleeper::start();
    let pid = sleeper.0.id();
    let check = |body: &str| {
        let script = format!("iter:task /ctx.task.pid == {pid}/ {{ {body} }}");
        let (bpf, memory) = (lines("bpf", &script), lines("memory", &script));
        assert_eq!(bpf, memory, "{body}");
        assert!(!bpf.is_empty(), "{body}");
    };
    check(r#"printf("%s %d\n", ctx.task.comm, ctx.task.tgid)"#);
    check("print((name=ctx.task.comm, start=ctx.task.start_time, uid=ctx.task.cred.uid.val))");
    check("@[ctx.task.comm] = count(); @flags = ctx.task.flags");
    check(r#"printf("%s %d\n", ctx.task.real_parent.comm, ctx.task.mm.map_count)"#);
}

#[test]
fn a_thread_that_sleeps_has_its_stack() {
    kernel_or_skip!();
    let sleeper = Sleeper::start();
    let pid = sleeper.0.id();
    let script = format!("iter:task /ctx.task.pid == {pid}/ {{ print(kstack(ctx.task)); }}");
    // Nothing says which engine: the stack of another thread is only to be had of memory.
    let (code, out, err) = run(&kscope(), &["run", "-q", "-e", &script]);
    assert_eq!(code, Some(0), "{err}");
    if err.contains("stacks of threads cannot be followed") {
        skip!("orc", "{err}");
    }
    let names: Vec<&str> = out
        .lines()
        .filter_map(|line| line.trim().split_once('+').map(|(name, _)| name))
        .collect();
    assert_eq!(names.first(), Some(&"__schedule"), "{out}");
    assert!(names.contains(&"hrtimer_nanosleep"), "{out}");
    assert!(
        names
            .last()
            .is_some_and(|name| name.starts_with("entry_SYSCALL")),
        "{out}"
    );
}

#[test]
fn lists_are_walked_from_any_address() {
    kernel_or_skip!();
    let script = r#"begin {
        $head = kaddr("init_task") + offsetof(struct task_struct, tasks);
        for ($t : list($head, struct task_struct, tasks)) { @n++; }
        print((uint64)@n); clear(@n);
    }"#;
    let before = processes().len() as u64;
    let rows = lines("memory", script);
    let count: u64 = rows.first().and_then(|n| n.parse().ok()).expect("a number");
    let after = processes().len() as u64;
    // Some may come and go; /proc may hide some.
    assert!(count + 20 >= before.min(after), "{before} {count} {after}");
}

#[test]
fn what_is_interpreted_is_told() {
    let check = |script: &str, expected: &str| {
        let (_, out, err) = run(&kscope(), &["check", "-e", script]);
        assert!(out.contains(expected), "{script}: {out}{err}");
    };
    check(
        "iter:task { print(kstack(ctx.task)); }",
        "interpreted over the kernel's memory",
    );
    check("iter:task { print(ctx.task.pid); }", "1 program");
    let words = ["run", "--engine", "memory", "-e", "kprobe:vfs_read { }"];
    let (code, _, err) = run(&kscope(), &words);
    assert_eq!(code, Some(1), "{err}");
    assert!(err.contains("nothing happens in memory"), "{err}");
    let words = ["run", "--engine", "memory", "-p", "1", "-e", "begin { }"];
    let (code, _, err) = run(&kscope(), &words);
    assert_eq!(code, Some(2), "{err}");
    assert!(err.contains("--engine bpf"), "{err}");
}
