//! `kscope stacks --from`: what the text of a log holds.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde_json::Value;

use super::{kscope, scratch};

/// The logs of four kernels that were asked for w, l, m, t; where there are none the test is skipped.
fn logs() -> Vec<PathBuf> {
    let folder = std::env::var_os("KSCOPE_FIXTURES").map(|all| PathBuf::from(all).join("sysrq"));
    let Some(folder) = folder.filter(|folder| folder.is_dir()) else {
        kscope_testkit::skipped("fixtures", "KSCOPE_FIXTURES names no folder with logs");
        return Vec::new();
    };
    let names = ["510", "61", "612", "73"];
    let path = |name| folder.join(format!("sysrq-{name}.txt"));
    names.map(path).to_vec()
}

/// The last number behind a word of a line.
fn number(line: &str, word: &str) -> Option<u64> {
    let rest = line.split_once(word)?.1.trim_start();
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

/// Reads a log in the simplest way that does for these four: the groups of the numbers of tasks with
/// the same state and trusted frames.
fn groups_of_text(text: &str) -> BTreeSet<Vec<u64>> {
    let (_, all) = text.split_once("=====SYSRQ t").expect("SysRq t");
    let (all, _) = all.split_once("Sched Debug Version").expect("its end");
    let mut groups: BTreeMap<(String, Vec<String>), Vec<u64>> = BTreeMap::new();
    for task in all.split("task:").skip(1) {
        let head = task.lines().next().expect("a line");
        let pid = number(head, " pid:").expect("a number");
        let (_, state) = head.split_once("state:").expect("a state");
        let words = task.lines().skip(1).filter_map(|line| {
            let mut words = line.split_once("] ")?.1.split_whitespace();
            let (first, second) = (words.next()?, words.next());
            (second.is_none() && first.contains("+0x")).then(|| first.to_owned())
        });
        let key = (state[..1].to_owned(), words.collect());
        groups.entry(key).or_default().push(pid);
    }
    let sorted = |mut pids: Vec<u64>| {
        pids.sort_unstable();
        pids
    };
    groups.into_values().map(sorted).collect()
}

fn groups_of_json(out: &str) -> BTreeSet<Vec<u64>> {
    let mut groups: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    for line in out.lines() {
        let task: Value = serde_json::from_str(line).expect("an object");
        let of = |name: &str| task[name].as_u64().expect("a number");
        groups.entry(of("group")).or_default().push(of("pid"));
    }
    let sorted = |mut pids: Vec<u64>| {
        pids.sort_unstable();
        pids
    };
    groups.into_values().map(sorted).collect()
}

#[test]
fn logs_of_four_kernels_give_the_groups_that_they_hold() {
    for log in logs() {
        let text = std::fs::read_to_string(&log).expect("a log");
        let expected = groups_of_text(&text);
        assert!(expected.len() > 20, "{}: {}", log.display(), expected.len());
        let name = log.to_str().expect("text");
        let out = kscope(&["stacks", "--from", name, "--all", "--json"]).code(0);
        assert_eq!(groups_of_json(&out.out), expected, "{name}");

        // What stands there is the same whoever wrote it down.
        let journal: String = text
            .lines()
            .map(|line| match line.split_once("] ") {
                Some((_, text)) => format!("Nov 23 18:00:00 box kernel: {text}\n"),
                None => format!("{line}\n"),
            })
            .collect();
        let copy = scratch("stacks").join("journal.txt");
        std::fs::write(&copy, journal).expect("written");
        let copy = copy.to_str().expect("text");
        let out = kscope(&["stacks", "--from", copy, "--all", "--json"]).code(0);
        assert_eq!(groups_of_json(&out.out), expected, "{name} by journalctl");
    }
}

#[test]
fn filters_choose_tasks_of_a_log() {
    for log in logs() {
        let name = log.to_str().expect("text");
        let pids = |words: &[&str]| {
            let words = [&["stacks", "--from", name, "--json"], words].concat();
            let out = kscope(&words).code(0).out;
            let task = |line: &str| -> Value { serde_json::from_str(line).expect("an object") };
            out.lines().map(task).collect::<Vec<_>>()
        };
        let blocked = pids(&["--blocked"]);
        assert_eq!(blocked.len(), 1, "{blocked:?}");
        assert_eq!(
            (&blocked[0]["comm"], &blocked[0]["syscall"]),
            (&"vf".into(), &"vfork".into())
        );
        // The log does not say how long it has been.
        assert_eq!(pids(&["--blocked=1s"]).len(), 0);
        let running = pids(&["--running"]);
        assert!(
            running.iter().all(|task| task["state"] == "R"),
            "{running:?}"
        );
        let spins = running
            .iter()
            .find(|task| task["comm"] == "threads")
            .expect("it spins");
        assert!(
            spins["cpu"].is_u64() && spins["stack_end"] == "in its program",
            "{spins}"
        );
        let one = pids(&["--pid", "2"]);
        assert_eq!((one.len(), &one[0]["comm"]), (1, &"kthreadd".into()));
    }
}

const HUNG: &str = "\
INFO: task cp:77 blocked for more than 245 seconds.
task:cp              state:D stack:0     pid:77    tgid:77    ppid:1      flags:0x00080000
Call Trace:
 <TASK>
 __schedule+0x4c7/0x1080
 schedule+0x28/0xa0
 wait_on_commit+0x5f/0xa0 [jbd2]
 do_syscall_64+0xbe/0x530
 entry_SYSCALL_64_after_hwframe+0x76/0x7e
 </TASK>
INFO: task cp:77 is blocked on a mutex likely owned by task rm:78.
";

#[test]
fn a_report_of_a_hung_task_is_one_group() {
    let file = scratch("stacks").join("hung.txt");
    std::fs::write(&file, HUNG).expect("written");
    let file = file.to_str().expect("text");
    let out = kscope(&["stacks", "--from", file, "--blocked=2m"])
        .code(0)
        .out;
    let expected = "\
D    1  wait_on_commit
        cp [77], for more than 4 min 5 s
        waits for a mutex that rm [78] likely has
1 task: 1 blocked, 0 running or to run; from FILE: hung tasks
";
    assert_eq!(out.replace(file, "FILE"), expected);
    let out = kscope(&["stacks", "--from", file, "--full"]).code(0).out;
    assert!(
        out.contains("\n          wait_on_commit+0x5f [jbd2]\n"),
        "{out}"
    );
    let out = kscope(&["stacks", "--from", file, "--blocked=5m"])
        .code(0)
        .out;
    assert!(
        out.starts_with("1 task: 1 blocked, 0 running or to run, 0 asked for"),
        "{out}"
    );
}

#[test]
fn what_is_no_log_is_refused_with_the_way_out() {
    let file = scratch("stacks").join("none.txt");
    std::fs::write(&file, [0xff, 0, b'\n', b'x']).expect("written");
    let none = file.to_str().expect("text");
    kscope(&["stacks", "--from", none])
        .code(1)
        .says(&["says nothing of tasks", "HINT: it takes"]);
    std::fs::write(&file, "[1.0] sysrq: Show State\n").expect("written");
    kscope(&["stacks", "--from", none])
        .code(1)
        .says(&["log_buf_len="]);
    kscope(&["stacks", "--from", "/nowhere"])
        .code(1)
        .says(&["cannot read /nowhere"]);
    std::fs::write(&file, HUNG).expect("written");
    kscope(&["stacks", "--from", none, "--pid", "9"])
        .code(1)
        .says(&["there is no task 9 in"]);
    kscope(&["stacks", "--from", none, "--blocked=soon"])
        .code(2)
        .says(&["`soon` is no time"]);
}

#[test]
fn a_dump_gives_the_tasks_and_stacks_that_crash_does() {
    let Some(folder) = kscope_testkit::dumps::folder() else {
        return;
    };
    for name in [kscope_testkit::dumps::KDUMP, kscope_testkit::dumps::QEMU] {
        let dump = folder.join(name);
        let dump = dump.to_str().expect("text");
        let read = |words: &[&str]| -> Vec<Value> {
            let out = kscope(words).code(0).out;
            let object = |line: &str| serde_json::from_str(line).expect("an object");
            out.lines().map(object).collect()
        };
        let found = read(&["stacks", "--dump", dump, "--all", "--json"]);
        let expected = read(&["crash", "--json", dump, "bt", "--all"]);
        assert!(
            expected.len() > 40 && found.len() == expected.len(),
            "{}",
            found.len()
        );
        // CPUs' idle tasks have one number.
        let key = |task: &Value| {
            format!(
                "{} {} {} {}",
                task["pid"], task["comm"], task["state"], task["cpu"]
            )
        };
        let by_key = |tasks: &[Value]| -> BTreeMap<String, Vec<Value>> {
            let stack = |task: &Value| task["stack"].as_array().expect("a list").clone();
            tasks.iter().map(|task| (key(task), stack(task))).collect()
        };
        assert_eq!(by_key(&found), by_key(&expected), "{name}");
        assert!(
            found
                .iter()
                .any(|task| task["syscall"] == "clock_nanosleep"),
            "{name}"
        );
        let blocked = kscope(&["stacks", "--dump", dump, "--blocked"]).code(0).out;
        assert!(blocked.ends_with("; from the dump\n"), "{blocked}");
    }
}
