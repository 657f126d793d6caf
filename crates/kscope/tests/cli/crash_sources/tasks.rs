//! The summary, the log, tasks and their stacks; and what asks for several at a time.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::super::{kscope, kscope_with_input, scratch};
use super::{Sources, read, rows, same, text, words};

/// What crash prints first, line by line.
pub(super) fn summary(sources: &Sources) -> String {
    let row = &sources.rows("summary")[0];
    let lines = sources.lines("crash-9.0.2-sys.txt");
    let said: BTreeMap<&str, &str> = lines
        .iter()
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.trim(), value.trim()))
        .collect();
    let kernel = text(row, "kernel");
    for part in ["RELEASE", "VERSION", "NODENAME"] {
        assert!(kernel.contains(said[part]), "{part}: {kernel}");
    }
    assert_eq!(text(row, "panic"), said["PANIC"].trim_matches('"'));
    assert_eq!(text(row, "load"), said["LOAD AVERAGE"].replace(',', ""));
    assert_eq!(text(row, "CPUs"), format!("{0}, {0} online", said["CPUS"]));
    let tasks = text(row, "tasks");
    assert_eq!(tasks.split(':').next(), Some(said["TASKS"]));
    // "Sun Nov 22 15:22:31 UTC 2026" and "00:00:26".
    let date = words(said["DATE"]);
    let time = text(row, "time");
    let [_, _, day, clock, zone, year] = date.as_slice() else {
        panic!("{date:?}");
    };
    let expected = format!("{year}-11-{day} {clock} {zone}, up 26 s");
    assert_eq!((&time, said["UPTIME"]), (&expected, "00:00:26"));
    // The task that panicked, with its stack.
    assert_eq!(text(row, "panicked"), "init (1) on CPU 0");
    let stack = row["stack"].as_array().expect("a stack");
    let functions = stack.iter().map(function);
    let frames = sources.panicked();
    // crash takes what the registers were saved in for a frame too.
    let expected = frames[1..].iter().map(|frame| frame.function.clone());
    assert!(functions.eq(expected), "{stack:?}");
    format!("9 facts, {} frames", stack.len())
}

/// Gives the function of a place: "vfs_write+0xc7 [ext4]".
fn function(place: &Value) -> String {
    let place = place.as_str().expect("a place");
    place.split('+').next().unwrap_or(place).to_owned()
}

/// Compares the log with a text where later lines of a message have an indent in place of a time.
fn compare_log(own: &str, said: &[String], indent: &str) -> usize {
    let own: Vec<&str> = own.lines().map(str::trim_end).collect();
    for (at, (own, said)) in own.iter().zip(said).enumerate() {
        let (own, said) = match said.starts_with('[') {
            true => (*own, Some(&**said)),
            false => {
                let own = own.split_once("] ").map_or(*own, |(_, text)| text);
                (own, said.strip_prefix(indent))
            }
        };
        assert_eq!(Some(own), said.map(str::trim_end), "line {}", at + 1);
    }
    assert_eq!(own.len(), said.len());
    assert!(own.len() > 300, "{} lines", own.len());
    own.len()
}

/// Compares the log with that of crash, which indents by the width of a time.
fn compare_with_crash(own: &str, sources: &Sources) -> usize {
    let indent = " ".repeat("[    0.000000] ".len());
    compare_log(own, &sources.lines("crash-9.0.2-log.txt"), &indent)
}

pub(super) fn log_of_crash(sources: &Sources) -> String {
    let lines = compare_with_crash(&sources.text("log"), sources);
    format!("{lines} lines")
}

pub(super) fn log_of_dmesg(sources: &Sources) -> String {
    let said = read(&sources.folder.join("6.1.192-kdump.dmesg.txt"));
    let said: Vec<String> = said.lines().map(str::to_owned).collect();
    let lines = compare_log(&sources.text("log"), &said, "");
    format!("{lines} lines")
}

/// Gives the name of a function without what compilers, and labels inside of it, add.
fn plain(name: &str) -> &str {
    let name = name.strip_suffix("_after_hwframe").unwrap_or(name);
    name.split('.').next().unwrap_or(name)
}

/// Gives the functions of a task's stack as drgn has them, without inlined ones and user mode.
fn drgn_stack(task: &Value) -> Vec<String> {
    let frames = task["frames"].as_array().expect("frames");
    let inline = task["inline"].as_array().expect("inline");
    let own = frames.iter().zip(inline);
    own.filter(|(_, inline)| **inline == false)
        .map(|(frame, _)| plain(frame.as_str().expect("a name")).to_owned())
        .filter(|name| !name.starts_with("0x"))
        .collect()
}

pub(super) fn stacks(sources: &Sources) -> String {
    let own = sources.rows("bt --all");
    let own: BTreeMap<(String, String), &Value> = own
        .iter()
        .map(|row| ((text(row, "pid"), text(row, "comm")), row))
        .collect();
    let tasks = sources.drgn("tasks");
    let mut frames = 0;
    for task in &tasks {
        let row = own[&(text(task, "pid"), text(task, "comm"))];
        let stack = row["stack"].as_array().expect("a stack");
        let found: Vec<String> = stack
            .iter()
            .map(|place| plain(&function(place)).to_owned())
            .collect();
        assert_eq!(found, drgn_stack(task), "{row}");
        frames += found.len();
    }
    assert!(tasks.len() == 97 && frames > 500, "{frames}");
    format!("{} stacks, {frames} functions", tasks.len())
}

/// The registers of user mode that each CPU had.
pub(super) fn registers(sources: &Sources) -> String {
    let lines = sources.lines("crash-9.0.2-bt_a.txt");
    let mut same = 0;
    let mut shown = String::new();
    for line in &lines {
        if let Some(rest) = line.split("CPU: ").nth(1) {
            let cpu = words(rest)[0].clone();
            shown = sources.text(&format!("bt --cpu {cpu}"));
        }
        // RIP: 000000000047b7a0  RSP: 00007ffea88b49e8  RFLAGS: 00000202
        let all = words(line);
        for pair in all.chunks(2).filter(|_| line.starts_with("    R")) {
            let [name, value] = pair else {
                panic!("{line}");
            };
            let words = words(&shown);
            let name = name.trim_end_matches(':');
            let at = words.iter().position(|word| word == name);
            let own = at.and_then(|at| words.get(at + 1)).map(String::as_str);
            let number = |text: &str| u64::from_str_radix(text, 16).expect("a number");
            // Of the other CPU the interrupt that stopped it left no number of a system call.
            assert_eq!(own.map(number), Some(number(value)), "{name}: {shown}");
            same += 1;
        }
    }
    assert!(same >= 34, "{same}");
    format!("{same} registers of 2 CPUs")
}

pub(super) fn ps(sources: &Sources) -> String {
    // PID PPID CPU TASK ST %MEM VSZ RSS COMM
    let said = sources.lines("crash-9.0.2-ps.txt");
    let expected: BTreeSet<[String; 5]> = said
        .iter()
        .skip(1)
        .map(|line| {
            let words = words(line.trim_start_matches('>'));
            let comm = words[8..].join(" ");
            let comm = comm.trim_matches(['[', ']']).to_owned();
            [0, 1, 2, 6]
                .map(|at: usize| words[at].clone())
                .into_iter()
                .chain([comm])
                .collect::<Vec<String>>()
                .try_into()
                .expect("five")
        })
        // Without the idle tasks.
        .filter(|[pid, ..]: &[String; 5]| pid != "0")
        .collect();
    let found = sources.rows("ps --threads");
    let names = ["tid", "ppid", "cpu", "mapped", "comm"];
    let found = found.iter().map(|row| names.map(|name| text(row, name)));
    let count = same(&found.collect(), &expected, 97);
    format!("{count} tasks")
}

pub(super) fn script(sources: &Sources) -> String {
    let tasks = sources.drgn("tasks");
    let names = ["pid", "tgid", "comm", "address"];
    let expected = tasks.iter().map(|task| names.map(|name| text(task, name)));
    let script = "iter:task /ctx.task.pid > 0/ {
        printf(\"%d %d 0x%lx %s\\n\", ctx.task.pid, ctx.task.tgid, (uint64)ctx.task, ctx.task.comm);
    }";
    let out = kscope(&["crash", &sources.dump(), "run", "-e", script]);
    let out = out.code(0).out;
    let found = out.lines().filter(|line| !line.is_empty()).map(|line| {
        let mut parts = line.splitn(4, ' ').map(str::to_owned);
        let mut next = || parts.next().expect("four words");
        let (pid, tgid, address) = (next(), next(), next());
        [pid, tgid, next(), address]
    });
    let count = same(&found.collect(), &expected.collect(), 97);
    format!("{count} tasks")
}

/// A report's files against the sources of their commands.
pub(super) fn report(sources: &Sources) -> String {
    let folder = scratch("crash-sources").join("report");
    let _ = std::fs::remove_dir_all(&folder);
    let into = folder.to_str().expect("a name");
    kscope(&["crash", &sources.dump(), "report", into]).code(0);
    let file = |name: &str| read(&folder.join(name));
    let lines = compare_with_crash(&file("log.txt"), sources);
    let said = sources.words("crash-9.0.2-mod.txt", 1);
    let modules = rows(&file("modules.json"));
    let found = modules.iter().map(|row| text(row, "name")).collect();
    let modules = same(&found, &said.iter().map(|w| w[1].clone()).collect(), 21);
    let said = sources.words("crash-9.0.2-mount.txt", 1);
    let said = said.iter().filter(|words| words.len() == 5);
    let mounts = rows(&file("mounts.json"));
    let found = mounts.iter().map(|row| text(row, "path")).collect();
    let mounts = same(&found, &said.map(|w| w[4].clone()).collect(), 5);
    let index = rows(&file("index.json"));
    assert!(index.iter().all(|row| row["failure"].is_null()));
    let done = index.len();
    format!("{lines} lines, {modules} modules, {mounts} mounts; {done} analyses done")
}

/// Several commands on one opened dump.
pub(super) fn shell(sources: &Sources) -> String {
    let input = "ps --threads --json\nlog\n";
    let out = kscope_with_input(&["crash", &sources.dump(), "shell"], input);
    let out = out.code(0).out;
    let (tasks, log): (Vec<&str>, Vec<&str>) = out.lines().partition(|l| l.starts_with('{'));
    let lines = compare_with_crash(&log.join("\n"), sources);
    let found = rows(&tasks.join("\n"));
    let found = found.iter().map(|row| text(row, "tid")).collect();
    let said = sources.lines("crash-9.0.2-ps.txt");
    let pid = |line: &String| words(line.trim_start_matches('>'))[0].clone();
    let said = said.iter().skip(1).map(pid).filter(|pid| pid != "0");
    let tasks = same(&found, &said.collect(), 97);
    format!("{lines} lines, {tasks} tasks")
}
