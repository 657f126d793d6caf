//! The dump of a guest gives what the guest said of itself right before: its log, tasks, stacks, and the rows of tools.

use std::collections::{BTreeMap, BTreeSet};

use kscope_dump::{Dump, Kernel};
use kscope_tests::dumps::{self, GuestDump, TOOLS, compared, number, rows, succeeds, text};
use kscope_tests::program::{kscope, run};
use serde_json::Value;

/// Gives the guest's dump, or ends the test as skipped.
macro_rules! dump_or_skip {
    () => {
        match GuestDump::given() {
            Some(dump) => dump,
            None => return,
        }
    };
}

/// Threads that may come, go or change their names between what is compared: their number.
const FEW: usize = 8;

fn by_number(rows: Vec<Value>, name: &str) -> BTreeMap<u64, Value> {
    let pair = |row: Value| (number(&row, name), row);
    rows.into_iter().map(pair).collect()
}

/// Whether a thread may come and go while others look: those that do what others ask for, and those that look.
fn is_passing(comm: &str) -> bool {
    let looks = ["kscope", "timeout", "guest_dump", "it_says_what_it"];
    comm.starts_with("kworker/") || looks.contains(&comm)
}

/// How often each thread was switched from: one that was not since it was looked at has slept all the time.
fn switches(dump: &GuestDump) -> BTreeMap<u64, u64> {
    let script =
        r#"iter:task { printf("%d %d\n", ctx.task.pid, ctx.task.nvcsw + ctx.task.nivcsw); }"#;
    let out = succeeds(&["run", "-q", "--dump", &dump.file(), "-e", script]);
    let pair = |line: &str| {
        let (pid, count) = line.split_once(' ').expect("two numbers");
        (pid.parse().expect("an id"), count.parse().expect("a count"))
    };
    let lines = out.lines().filter(|line| !line.is_empty());
    lines.map(pair).collect()
}

/// Gives the threads that slept from when they were looked at until the dump, and how many did not.
fn asleep(dump: &GuestDump) -> (Vec<Value>, usize) {
    let switches = switches(dump);
    let threads = dump.threads();
    let all = threads.len();
    let same = |thread: &Value| {
        let tid = number(thread, "tid");
        switches.get(&tid) == Some(&number(thread, "switches")) && text(thread, "state") != "R"
    };
    let asleep: Vec<Value> = threads.into_iter().filter(same).collect();
    let moved = all - asleep.len();
    (asleep, moved)
}

#[test]
fn the_summary_is_of_this_kernel() {
    let dump = dump_or_skip!();
    let row: Value = serde_json::from_str(&dump.crash(&["--json"])).expect("JSON");
    let release = dump.said("/proc/sys/kernel/osrelease");
    assert!(text(&row, "kernel").starts_with(release.trim()), "{row}");
    assert_eq!(row["missing"], Value::Array(Vec::new()), "{row}");
    assert!(text(&row, "CPUs").starts_with("2, "), "{row}");
    let tainted = dump.said("/proc/sys/kernel/tainted");
    assert_eq!(tainted.trim() == "0", row["taint"] == "none", "{row}");
    compared("summary", "/proc/sys/kernel", text(&row, "kernel"));
}

#[test]
fn the_log_is_what_dmesg_said() {
    let dump = dump_or_skip!();
    let (log, said) = (dump.crash(&["log"]), dump.said("dmesg"));
    for (at, (own, expected)) in log.lines().zip(said.lines()).enumerate() {
        assert_eq!(own, expected, "line {}", at + 1);
    }
    let (own, expected) = (log.lines().count(), said.lines().count());
    assert!(
        own >= expected && expected > 100,
        "{own} of {expected} lines"
    );
    let result = format!(
        "{expected} lines are the same, {} came later",
        own - expected
    );
    compared("log", "dmesg", &result);
}

#[test]
fn tasks_are_those_of_proc() {
    let dump = dump_or_skip!();
    let own = by_number(rows(&dump.crash(&["ps", "--threads", "--json"])), "tid");
    let said = by_number(dump.threads(), "tid");
    let (mut same, mut gone) = (0, Vec::new());
    for (tid, thread) in &said {
        let Some(row) = own.get(tid) else {
            gone.push(text(thread, "comm"));
            continue;
        };
        for (ours, theirs) in [("pid", "tgid"), ("ppid", "ppid"), ("uid", "uid")] {
            assert_eq!(row[ours], thread[theirs], "{row} {thread}");
        }
        let (comm, said) = (text(row, "comm"), text(thread, "comm"));
        // Threads of the kernel have more to their names in /proc.
        let is_same = match row["mapped"] == 0 {
            true => said.starts_with(comm),
            false => said == comm,
        };
        assert!(is_same, "{row} {thread}");
        same += 1;
    }
    let came: Vec<&str> = own
        .iter()
        .filter(|(pid, _)| !said.contains_key(pid))
        .map(|(_, row)| text(row, "comm"))
        .collect();
    let changed = gone.iter().chain(&came);
    assert!(
        changed.clone().all(|comm| is_passing(comm)),
        "{gone:?} {came:?}"
    );
    assert!(changed.count() <= FEW, "{gone:?} {came:?}");
    assert!(same > 50, "{same} tasks");
    let (came, gone) = (came.len(), gone.len());
    let (asleep, _) = asleep(&dump);
    for thread in &asleep {
        let row = &own[&number(thread, "tid")];
        assert_eq!(row["state"], thread["state"], "{row} {thread}");
    }
    let states = asleep.len();
    let result = format!("{same} tasks and {states} states are the same, {came} came, {gone} went");
    compared("ps", "/proc/PID/status", &result);
}

/// Functions that /proc leaves out of stacks: those of the scheduler.
fn of_the_scheduler(dump: &GuestDump) -> BTreeSet<String> {
    let file = Dump::open(&[dump.file()]).expect("a dump");
    let kernel = Kernel::open(file).expect("a kernel");
    let [start, end] = ["__sched_text_start", "__sched_text_end"]
        .map(|name| kernel.global(name).expect("a symbol"));
    let symbols = kernel.symbols().expect("symbols");
    let within = symbols
        .iter()
        .filter(|symbol| (start..end).contains(&symbol.address));
    within.map(|symbol| symbol.name.to_owned()).collect()
}

#[test]
fn sleeping_stacks_are_those_of_proc() {
    let dump = dump_or_skip!();
    let stacks = by_number(rows(&dump.crash(&["bt", "--all", "--json"])), "pid");
    let scheduler = of_the_scheduler(&dump);
    let (asleep, moved) = asleep(&dump);
    let (mut frames, mut empty) = (0, 0);
    for thread in &asleep {
        let row = &stacks[&number(thread, "tid")];
        let own: Vec<&str> = row["stack"]
            .as_array()
            .expect("a stack")
            .iter()
            .map(|place| place.as_str().expect("a place"))
            .map(|place| place.split(' ').next().unwrap_or(place))
            .filter(|place| {
                let name = place.rsplit_once('+').map_or(*place, |(name, _)| name);
                !scheduler.contains(name)
            })
            .collect();
        let said = thread["stack"].as_array().expect("a stack");
        assert_eq!(own, *said, "{thread}\n{row}");
        frames += own.len();
        empty += usize::from(own.is_empty());
    }
    let count = asleep.len();
    let result =
        format!("{count} stacks, {frames} places are the same, {moved} tasks ran meanwhile");
    compared("bt", "/proc/PID/stack", &result);
    assert!(
        asleep.len() > 40 && empty * 4 < asleep.len(),
        "{empty} empty"
    );
    assert!(moved * 3 < asleep.len(), "{moved} of {}", asleep.len());
}

/// Demands that each of these rows is among the others, but for those of the programs that looked and of workers.
#[track_caller]
fn check_same(what: &str, source: &str, live: &[Vec<String>], dumped: &[Vec<String>]) {
    let live: BTreeSet<&Vec<String>> = live.iter().collect();
    let dumped: BTreeSet<&Vec<String>> = dumped.iter().collect();
    let same = live.intersection(&dumped).count();
    let other: Vec<_> = live.symmetric_difference(&dumped).collect();
    let may_differ = |row: &[String]| row.iter().any(|field| is_passing(field));
    assert!(other.iter().all(|row| may_differ(row)), "{what}: {other:?}");
    assert!(other.len() <= 2 * FEW, "{what}: {other:?}");
    assert!(same > 1, "{what}: {same} rows");
    let result = format!("{same} rows are the same, {} differ", other.len());
    compared(what, source, &result);
}

#[test]
fn tools_give_what_they_gave_of_the_running_kernel() {
    let dump = dump_or_skip!();
    let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<String>>();
    let own = succeeds(&["run", "-q", "--dump", &dump.file(), "-e", dumps::SCRIPT]);
    let lines = |text: &str| text.lines().map(words).collect::<Vec<_>>();
    check_same(
        "run",
        "the running kernel",
        &lines(&dump.said("script")),
        &lines(&own),
    );
    let fields = |tool: &str, text: &str| -> Vec<Vec<String>> {
        // How long it has been there, and what a task does while it is looked at.
        let changes =
            |name: &str| name == "ms" || (tool == "ps" && matches!(name, "cpu" | "state"));
        let of_row = |row: Value| {
            let object = row.as_object().expect("an object").clone();
            let lasting = object.into_iter().filter(|(name, _)| !changes(name));
            lasting
                .map(|(_, value)| {
                    value
                        .as_str()
                        .map_or_else(|| value.to_string(), str::to_owned)
                })
                .collect()
        };
        rows(text).into_iter().map(of_row).collect()
    };
    for (tool, options) in TOOLS {
        let file = dump.file();
        let (code, out, err) = run(
            &kscope(),
            &[&[tool, "--json", "--dump", &*file], options].concat(),
        );
        match (code, dump.try_said(&format!("tools/{tool}"))) {
            (Some(0), Some(live)) => {
                check_same(
                    tool,
                    "the running kernel",
                    &fields(tool, &live),
                    &fields(tool, &out),
                );
            }
            (code, live) => panic!("{tool}: {code:?} {err}, live: {}", live.is_some()),
        }
    }
}

#[test]
fn blocked_tasks_are_those_that_were_made_so() {
    let dump = dump_or_skip!();
    let blocked = by_number(rows(&dump.crash(&["bt", "--blocked", "--json"])), "pid");
    let check = |name: &str, count: usize, function: &str| {
        let made = dump.made(name);
        assert_eq!(made.len(), count, "{name}: {}", dump.said("stuck"));
        for tid in made {
            let found = blocked.get(&tid.parse().expect("an id"));
            let row = found.unwrap_or_else(|| panic!("{name} {tid} is not blocked: {blocked:?}"));
            assert!(row["stack"].to_string().contains(function), "{row}");
            assert!(row["blocked_ms"].as_u64() > Some(0), "{row}");
        }
    };
    check("mutex_waiter", 2, "__mutex_lock");
    check("block_reader", 1, "blkdev");
    let result = format!("3 of {} blocked tasks", blocked.len());
    compared("bt --blocked", "threads that were made to wait", &result);
}

#[test]
#[ignore = "the file is as large as the guest's memory"]
fn the_elf_dump_says_the_same() {
    let dump = dump_or_skip!();
    let elf = dump.folder().join("vmcore.elf").display().to_string();
    for words in [&["log"][..], &["ps", "--json"], &["bt", "--all", "--json"]] {
        let own = succeeds(&[&["crash", &*elf], words].concat());
        assert!(own == dump.crash(words), "{words:?}");
    }
    compared("ELF", "kdump-zlib", "log, ps and bt are the same");
}
