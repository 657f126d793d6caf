//! Scripts over the memory of the running kernel give what the kernel says elsewhere.

use std::collections::BTreeMap;
use std::fs;
use std::process::{Child, Command};

use kscope_tests::program::{kscope, run};
use kscope_tests::{kernel_or_skip, skip};

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
