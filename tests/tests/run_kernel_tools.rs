//! syscount, vfsstat, oomkill and capable against work whose doings are known.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use kscope_tests::kscope_or_skip;
use kscope_tests::program::{Finished, Folder, Tracer};
use kscope_tests::skip;
use serde_json::Value;

/// Runs a tool over some work, to its end.
fn trace(kscope: &Path, words: &[&str], work: impl FnOnce()) -> Result<Finished, Finished> {
    let tracer = Tracer::start(kscope, words)?;
    work();
    tracer.signal("INT");
    let left = tracer.finish();
    assert_eq!(left.code, Some(0), "{left:?}");
    Ok(left)
}

/// Gives the rows that a tool printed.
fn rows(left: &Finished) -> Vec<Value> {
    let lines = left.lines.iter();
    let lines = lines.filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter(|row| row["schema_version"] == 1).collect()
}

/// Says whether a tool failed because functions of this kernel cannot be probed.
fn has_no_kprobes(left: &Finished) -> bool {
    let mut errors = left.errors.iter();
    errors.any(|line| line.contains("this kernel has no kprobes"))
}

/// Does work in a thread of a name, by which it is told from that of other tests.
fn named(name: &str, work: impl FnOnce() + Send + 'static) {
    assert!(name.len() < 16, "longer than names of threads are");
    let thread = std::thread::Builder::new().name(name.to_owned());
    let thread = thread.spawn(work).expect("a thread starts");
    thread.join().expect("it ends");
}

/// Starts a shell that does nothing but what it is told.
fn shell(script: &str, user: Option<u32>) -> Child {
    let mut command = Command::new("/bin/sh");
    let command = command.args(["-c", script]).stdin(Stdio::null());
    let command = command.stdout(Stdio::null()).stderr(Stdio::null());
    if let Some(user) = user {
        command.uid(user);
    }
    command.spawn().expect("a shell starts")
}

#[test]
fn syscount_counts_by_name_and_process() {
    let kscope = kscope_or_skip!();
    let own = std::process::id();
    let check = |by: &str, more: &[&str], thread: &'static str, expected: &str| {
        let mut words = vec!["syscount", "--comm", thread, "--by", by];
        words.extend(more);
        let left = trace(&kscope, &words, || {
            named(thread, || {
                for _ in 0..50 {
                    assert_ne!(std::os::unix::process::parent_id(), 0);
                }
                for _ in 0..7 {
                    File::open("/there/is/none").expect_err("there is none");
                }
            });
        });
        let left = left.unwrap_or_else(|left| panic!("{left:?}"));
        let found = left.lines.iter().any(|line| line == expected);
        assert!(found, "{expected}: {left:?}");
        left
    };
    let all = check("call", &[], "count-call", "@calls[getppid]: 50");
    let timed = |left: &Finished| left.lines.iter().any(|line| line.starts_with("@us"));
    assert!(!timed(&all), "{all:?}");
    let expected = format!("@calls_by[{own}, count-both, getppid]: 50");
    let left = check("both", &["--latency"], "count-both", &expected);
    assert!(timed(&left), "{left:?}");
    let expected = format!("@calls_of[{own}, count-failed]: 7");
    let failed = ["--errno", "ENOENT", "--failed"];
    let left = check("process", &failed, "count-failed", &expected);
    let maps = left.lines.iter().filter(|line| line.starts_with('@'));
    assert_eq!(maps.count(), 1, "{left:?}");
}

/// `clone` returns twice, in the parent and in the child; `exit_group` does not return.
#[test]
fn syscount_counts_each_call_once() {
    let kscope = kscope_or_skip!();
    let folder = Folder::new("syscount");
    let check = |name: &str, more: &[&str], expected: &[&str]| {
        // Named by its file, so that it is told from all other shells.
        let shell = folder.path().join(name);
        std::os::unix::fs::symlink("/bin/sh", &shell).expect("a link");
        let words = [&["syscount", "--comm", name], more].concat();
        let left = trace(&kscope, &words, || {
            let mut forks = Command::new(&shell);
            // What busybox is to be it reads here.
            forks.arg0("sh");
            let ended = forks.args(["-c", "(exit 0); (exit 0); exit 0"]).status();
            assert!(ended.expect("a shell").success());
        });
        let left = left.unwrap_or_else(|left| panic!("{left:?}"));
        let counts = left.lines.iter().filter(|line| line.starts_with("@calls"));
        // Without the process.
        let counts = counts.filter_map(|line| {
            let from = line.find("clone]").or_else(|| line.find("exit_group]"))?;
            line.get(from..)
        });
        let mut counts: Vec<_> = counts.collect();
        counts.sort_unstable();
        assert_eq!(counts, expected, "{left:?}");
    };
    let all = ["clone]: 2", "exit_group]: 3"];
    check("count-forks", &[], &all);
    check("count-timed", &["--latency"], &all);
    let each = [
        "clone]: 2",
        "exit_group]: 1",
        "exit_group]: 1",
        "exit_group]: 1",
    ];
    check("count-children", &["--by", "both"], &each);
    check("count-failing", &["--failed"], &[]);
}

#[test]
fn vfsstat_counts_what_files_are_used_for() {
    let kscope = kscope_or_skip!();
    let folder = Folder::new("vfsstat");
    let path = folder.path().join("file");
    let words = ["vfsstat", "--json", "--comm", "vfsstat-work"];
    let left = trace(&kscope, &words, || {
        named("vfsstat-work", move || {
            let mut file = File::create(&path).expect("a file");
            for _ in 0..20 {
                file.write_all(b"text").expect("written");
            }
            for _ in 0..3 {
                file.sync_all().expect("synchronized");
            }
            let mut byte = [0];
            let mut file = File::open(&path).expect("a file");
            for _ in 0..30 {
                file.read_exact(&mut byte).expect("read");
            }
        });
    });
    let left = match left {
        Ok(left) => left,
        Err(left) => {
            assert!(has_no_kprobes(&left), "{left:?}");
            skip!("kprobe", "this kernel has no kprobes");
        }
    };
    let rows = rows(&left);
    let sum = |name: &str| -> u64 { rows.iter().filter_map(|row| row[name].as_u64()).sum() };
    let sums = ["read", "write", "create", "open", "fsync"].map(sum);
    assert_eq!(sums, [30, 20, 1, 2, 3], "{left:?}");
}

/// A memory cgroup, removed when dropped.
struct Small(PathBuf);

impl Small {
    /// Makes one of 16 MB, of the first version or the second; none where neither is.
    fn new(name: &str) -> Option<Small> {
        let mounts = std::fs::read_to_string("/proc/self/mounts").ok()?;
        for line in mounts.lines() {
            let mut words = line.split(' ').skip(1);
            let (path, kind, options) = (words.next()?, words.next()?, words.next()?);
            let limit = match kind {
                "cgroup" if options.split(',').any(|o| o == "memory") => "memory.limit_in_bytes",
                "cgroup2" => {
                    let control = Path::new(path).join("cgroup.subtree_control");
                    if std::fs::write(control, "+memory").is_err() {
                        continue;
                    }
                    "memory.max"
                }
                _ => continue,
            };
            let small = Small(Path::new(path).join(name));
            std::fs::create_dir_all(&small.0).ok()?;
            // Where there is swap, it is not to be used.
            let _ = std::fs::write(small.0.join("memory.swap.max"), "0");
            return std::fs::write(small.0.join(limit), "16777216")
                .is_ok()
                .then_some(small);
        }
        None
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir(&self.0);
    }
}

/// What this process inherits to others.
fn own_adj() -> i64 {
    let text = std::fs::read_to_string("/proc/self/oom_score_adj").expect("proc");
    text.trim().parse().expect("a number")
}

#[test]
fn oomkill_shows_who_is_killed_for_memory() {
    let kscope = kscope_or_skip!();
    let Some(cgroup) = Small::new("kscope-oomkill") else {
        skip!("memory-cgroup", "no memory cgroup can be made here");
    };
    let mut pid = 0;
    let left = trace(&kscope, &["oomkill", "--json"], || {
        let join = cgroup.0.join("cgroup.procs");
        let script = format!(
            "echo $$ > {}; x=0123456789abcdef; while :; do x=$x$x; done",
            join.display()
        );
        let mut child = shell(&script, None);
        pid = child.id();
        child.wait().expect("it is killed");
    });
    let left = left.unwrap_or_else(|left| panic!("{left:?}"));
    let mut rows = rows(&left);
    rows.retain(|row| row["victim"] == pid);
    let [row] = rows.as_slice() else {
        panic!("not one row of {pid}: {left:?}");
    };
    // The one process of the group is who needs memory and who is killed for it.
    assert_eq!((&row["pid"], &row["comm"]), (&pid.into(), &"sh".into()));
    assert_eq!(row["victim_comm"], "sh");
    // At least the half of what the cgroup lets it have is one text; a shell's own is some megabytes.
    let virtual_kb = row["vm_kb"].as_u64().expect("a number");
    assert!((8192..262_144).contains(&virtual_kb), "{row}");
    assert_eq!(row["adj"], own_adj(), "{row}");
}

#[test]
fn capable_shows_what_is_granted_and_denied() {
    let kscope = kscope_or_skip!();
    let own = std::process::id();
    let words = ["capable", "--json", "--comm", "capable-work"];
    let left = trace(&kscope, &words, || {
        named("capable-work", || {
            std::os::unix::fs::chroot("/").expect("root may");
        });
    });
    let left = match left {
        Ok(left) => left,
        Err(left) => {
            assert!(has_no_kprobes(&left), "{left:?}");
            skip!("kprobe", "this kernel tells of capabilities in no way");
        }
    };
    let mut found = rows(&left);
    found.retain(|row| row["cap"] == 18);
    let [row] = found.as_slice() else {
        panic!("not one row: {left:?}");
    };
    assert_eq!(
        (&row["name"], &row["ret"]),
        (&"CAP_SYS_CHROOT".into(), &0.into())
    );
    assert_eq!((&row["pid"], &row["uid"]), (&own.into(), &0.into()));

    let mut pid = 0;
    let words = ["capable", "--json", "--denied", "--cap", "5"];
    let left = trace(&kscope, &words, || {
        let mut child = shell("kill -0 1", Some(65534));
        pid = child.id();
        child.wait().expect("it ends");
    });
    let left = left.unwrap_or_else(|left| panic!("{left:?}"));
    let mut found = rows(&left);
    assert!(found.iter().all(|row| row["cap"] == 5), "{left:?}");
    found.retain(|row| row["pid"] == pid);
    let [row] = found.as_slice() else {
        panic!("not one row of {pid}: {left:?}");
    };
    assert_eq!(
        (&row["name"], &row["ret"]),
        (&"CAP_KILL".into(), &(-1).into())
    );
    assert_eq!(row["uid"], 65534);
}
