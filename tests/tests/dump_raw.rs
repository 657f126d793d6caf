//! Raw access to the dump of a guest, and what runs several commands on it, against a second source: files of /proc that
//! the guest read right before, and another disassembler. Each prints a line of the table.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::{Command, Stdio};

use kscope_tests::dumps::{GuestDump, commands, compared, number, rows, text};
use kscope_tests::program::{Folder, kscope};

/// Gives the guest's dump, of which a command is asked, or ends the test as skipped.
macro_rules! dump_or_skip {
    ($command:expr) => {
        match GuestDump::given() {
            Some(dump) => {
                assert!(commands().iter().any(|known| known == $command), $command);
                dump
            }
            None => return,
        }
    };
}

#[test]
fn sym() {
    let dump = dump_or_skip!("sym");
    let said = dump.said("kallsyms");
    let said: BTreeSet<String> = said.lines().map(str::to_owned).collect();
    let names: Vec<&str> = said
        .iter()
        .filter_map(|line| line.split(' ').nth(2))
        .collect();
    let own = rows(&dump.crash(&[&["sym", "--json"], &*names].concat()));
    let own: BTreeSet<String> = own
        .iter()
        .map(|row| {
            let address = text(row, "address").trim_start_matches("0x");
            format!("{address:0>16} {} {}", text(row, "kind"), text(row, "name"))
        })
        .collect();
    let missing: Vec<&String> = said.difference(&own).collect();
    assert!(said.len() > 50 && missing.is_empty(), "{missing:?} {own:?}");
    compared(
        "sym",
        "/proc/kallsyms",
        &format!("{} symbols are the same", said.len()),
    );
}

#[test]
fn read() {
    let dump = dump_or_skip!("read");
    let own = rows(&dump.crash(&["read", "--text", "--json", "linux_banner"]));
    assert_eq!(text(&own[0], "text"), dump.said("/proc/version"));
    compared("read", "/proc/version", "the kernel's banner is the same");
}

#[test]
fn r#struct() {
    let dump = dump_or_skip!("struct");
    let mut count = 0;
    for name in ["mutex_owner", "block_reader"] {
        let tid = &dump.made(name)[0];
        let place = format!("pid:{tid}");
        let own = dump.crash(&["struct", "--json", "task_struct.pid,tgid,comm", &place]);
        let row = &rows(&own)[0];
        let mut threads = dump.threads().into_iter();
        let thread = threads.find(|thread| number(thread, "tid").to_string().eq(tid));
        let thread = thread.expect("it was there");
        for (member, said) in [("pid", "tid"), ("tgid", "tgid"), ("comm", "comm")] {
            assert_eq!(row["value"][member], thread[said], "{row} {thread}");
            count += 1;
        }
    }
    compared(
        "struct",
        "/proc/PID/status",
        &format!("{count} members are the same"),
    );
}

#[test]
fn report() {
    let dump = dump_or_skip!("report");
    let folder = Folder::new("report");
    let into = folder.path().join("all");
    let _ = dump.crash(&["report", into.to_str().expect("a name")]);
    let mut count = 0;
    for command in [
        "log", "ps", "modules", "mounts", "sockets", "slabs", "locks", "block",
    ] {
        let file = std::fs::read_to_string(into.join(format!("{command}.json")));
        assert!(
            file.expect("a file") == dump.crash(&[command, "--json"]),
            "{command}"
        );
        count += 1;
    }
    compared(
        "report",
        "the commands, which have others",
        &format!("{count} files are the same"),
    );
}

/// Functions of every kernel that are disassembled.
const FUNCTIONS: [&str; 8] = [
    "vfs_read",
    "ksys_write",
    "worker_thread",
    "kthread",
    "do_exit",
    "tcp_v4_rcv",
    "schedule",
    "__do_sys_newuname",
];

/// Gives the address of each instruction with its bytes, as objdump has them.
fn by_objdump(bytes: &[u8], start: u64, folder: &Folder) -> Vec<(u64, String)> {
    let file = folder.path().join("code");
    std::fs::write(&file, bytes).expect("written");
    let output = Command::new("objdump")
        .args(["-D", "-b", "binary", "-m", "i386:x86-64", "--insn-width=16"])
        .arg(format!("--adjust-vma={start:#x}"))
        .arg(&file)
        .output()
        .expect("objdump, of binutils");
    assert!(output.status.success(), "{output:?}");
    // "ffffffff8130b5c0:\tf3 0f 1e fa          \tendbr64"
    let out = String::from_utf8_lossy(&output.stdout).into_owned();
    out.lines()
        .filter_map(|line| {
            let (address, rest) = line.trim_start().split_once(":\t")?;
            let (bytes, _) = rest.split_once('\t').unwrap_or((rest, ""));
            let address = u64::from_str_radix(address, 16).ok()?;
            Some((address, bytes.split_whitespace().collect()))
        })
        .collect()
}

#[test]
fn dis() {
    let dump = dump_or_skip!("dis");
    let folder = Folder::new("dis");
    let (mut functions, mut instructions) = (0, 0);
    for name in FUNCTIONS {
        let found = rows(&dump.crash(&["dis", name, "--json"]));
        let own: Vec<(u64, String)> = found
            .iter()
            .map(|row| {
                let address = text(row, "address").trim_start_matches("0x");
                let address = u64::from_str_radix(address, 16).expect("an address");
                (address, text(row, "bytes").to_owned())
            })
            .collect();
        let bytes: String = own.iter().map(|(_, bytes)| &**bytes).collect();
        let bytes: Vec<u8> = (0..bytes.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&bytes[at..at + 2], 16).expect("a byte"))
            .collect();
        assert_eq!(by_objdump(&bytes, own[0].0, &folder), own, "{name}");
        functions += 1;
        instructions += own.len();
    }
    assert!(instructions > 500, "{instructions}");
    let result = format!("{instructions} instructions of {functions} functions are the same");
    compared("dis", "objdump", &result);
}

#[test]
fn list() {
    let dump = dump_or_skip!("list");
    let words = [
        "list", "modules", "module", "list", "--print", "name", "--json",
    ];
    let found = rows(&dump.crash(&words));
    let own: Vec<&str> = found.iter().map(|row| text(row, "name")).collect();
    let said = dump.said("/proc/modules");
    let said: Vec<&str> = said.lines().filter_map(|l| l.split(' ').next()).collect();
    // In the same order.
    assert_eq!(own, said);
    let result = format!("{} elements are the same", own.len());
    compared("list", "/proc/modules", &result);
}

#[test]
fn tree() {
    let dump = dump_or_skip!("tree");
    let found = rows(&dump.crash(&["tree", "init_pid_ns.idr", "pid", "--json"]));
    let own: BTreeSet<u64> = found.iter().map(|row| number(row, "index")).collect();
    let said: BTreeSet<u64> = dump.threads().iter().map(|t| number(t, "tid")).collect();
    // Threads may come and go, and ids of groups and sessions outlive theirs.
    let same = own.intersection(&said).count();
    let differ = own.symmetric_difference(&said).count();
    assert!(same > 50 && differ <= 8, "{same} {differ}");
    let result = format!("{same} entries of an idr are the same, {differ} differ");
    compared("tree", "/proc/PID/task", &result);
}

/// Gives when the timers of a CPU's first clock expire, as /proc/timer_list has them.
fn expiries(said: &str, cpu: &str) -> BTreeSet<u64> {
    let lines = said.lines().skip_while(|line| line.trim() != cpu);
    let of_clock = lines
        .skip_while(|line| line.trim() != "clock 0:")
        .take_while(|line| line.trim() != "clock 1:");
    // # expires at 8852360524-8852410524 nsecs [in 9118550 to 9168550 nsecs]
    let hard = |line: &str| {
        let range = line
            .trim()
            .strip_prefix("# expires at ")?
            .split(' ')
            .next()?;
        range.split_once('-')?.1.parse().ok()
    };
    of_clock.filter_map(hard).collect()
}

#[test]
fn tree_of_timers() {
    let dump = dump_or_skip!("tree");
    let said = dump.said("/proc/timer_list");
    let (mut same, mut moved) = (0, 0);
    for cpu in 0..2 {
        let root = format!("hrtimer_bases@{cpu}.clock_base[0].active");
        let words = ["tree", &*root, "hrtimer", "node"];
        let words = [&words[..], &["--print", "node.expires", "--json"]].concat();
        let found = rows(&dump.crash(&words));
        let own: Vec<u64> = found.iter().map(|r| number(r, "node.expires")).collect();
        assert!(own.is_sorted(), "{own:?}");
        let own: BTreeSet<u64> = own.into_iter().collect();
        let said = expiries(&said, &format!("cpu: {cpu}"));
        same += own.intersection(&said).count();
        moved += said.difference(&own).count();
    }
    // Ticks, and who slept until soon.
    assert!(same >= 2 && moved <= 6, "{same} {moved}");
    let result = format!("{same} nodes in order are the same, {moved} went");
    compared("tree", "/proc/timer_list", &result);
}

#[test]
fn shell() {
    let dump = dump_or_skip!("shell");
    let mut child = Command::new(kscope())
        .args(["crash", &dump.file(), "shell"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("kscope starts");
    let mut input = child.stdin.take().expect("piped");
    input
        .write_all(b"log\nmodules --json\nread --text linux_banner --json\n")
        .expect("it reads");
    drop(input);
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{output:?}");
    let out = String::from_utf8_lossy(&output.stdout).into_owned();
    let (objects, log): (Vec<&str>, Vec<&str>) = out
        .lines()
        .partition(|line| line.starts_with("{\"schema_version\""));
    let dmesg = dump.said("dmesg");
    for (own, said) in log.iter().zip(dmesg.lines()) {
        assert_eq!(*own, said);
    }
    let lines = dmesg.lines().count();
    assert!(
        lines > 100 && log.len() >= lines,
        "{} of {lines}",
        log.len()
    );
    let objects = rows(&objects.join("\n"));
    let (banner, modules) = objects.split_last().expect("objects");
    assert_eq!(text(banner, "text"), dump.said("/proc/version"));
    let own: BTreeSet<&str> = modules.iter().map(|row| text(row, "name")).collect();
    let said = dump.said("/proc/modules");
    let said: BTreeSet<&str> = said.lines().filter_map(|l| l.split(' ').next()).collect();
    assert_eq!(own, said);
    let result = format!(
        "{lines} lines, {} modules, the banner are the same",
        own.len()
    );
    compared("shell", "dmesg, /proc/modules, version", &result);
}
