//! What a kernel was at when it died: memory, caches, locks, works, requests. Golden files, and what
//! crash said of the same dump with debuginfo.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use kscope_testkit::dumps::{KDUMP, QEMU, folder};
use serde_json::Value;

use super::crash::{golden, path};
use super::kscope;

fn reference(folder: &Path, name: &str) -> String {
    let path = folder.join("6.1.192-reference").join(name);
    std::fs::read_to_string(path).expect("the reference")
}

/// Runs a sub-command on the dump that there is a reference of, and gives its objects.
fn objects(folder: &Path, words: &[&str]) -> Vec<Value> {
    let file = path(folder, KDUMP);
    let words = [&["crash", &*file], words, &["--json"]].concat();
    let out = kscope(&words).code(0).out;
    let rows = out.lines();
    rows.map(|row| serde_json::from_str(row).expect("a row"))
        .collect()
}

fn number(object: &Value, member: &str) -> u64 {
    let found = object[member].as_u64();
    found.unwrap_or_else(|| panic!("no number {member}: {object}"))
}

#[test]
fn reports_are_what_they_were() {
    let Some(folder) = folder() else {
        return;
    };
    let (kdump, qemu) = (&*path(&folder, KDUMP), &*path(&folder, QEMU));
    golden("memory.txt", &["crash", kdump, "memory"]);
    golden("memory.json", &["crash", kdump, "memory", "-n1", "--json"]);
    golden("live-memory.txt", &["crash", qemu, "memory", "-n", "3"]);
    golden("slabs.txt", &["crash", kdump, "slabs"]);
    golden("live-slabs.txt", &["crash", qemu, "slabs", "--all"]);
    golden("locks.txt", &["crash", kdump, "locks"]);
    golden("workqueues.txt", &["crash", kdump, "workqueues", "--all"]);
    golden(
        "live-workqueues.txt",
        &["crash", qemu, "workqueues", "--delayed"],
    );
    golden("block.txt", &["crash", kdump, "block"]);
    golden("live-block.txt", &["crash", qemu, "block", "--all"]);
}

#[test]
fn memory_is_what_crash_shows() {
    let Some(folder) = folder() else {
        return;
    };
    let found = objects(&folder, &["memory"]);
    let figures = &found[0];
    assert_eq!(figures["missing"], Value::Array(Vec::new()));
    let reference = reference(&folder, "crash-9.0.2-kmem_i.txt");
    let check = |line: &str, figure: &str| {
        let shown = reference
            .lines()
            .find_map(|l| l.trim().strip_prefix(line))
            .and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
        assert_eq!(shown, Some(number(figures, figure) / 4096), "{line}");
    };
    check("TOTAL MEM", "MemTotal");
    check("FREE", "MemFree");
    check("BUFFERS", "Buffers");
    check("CACHED", "Cached");
    check("SLAB", "Slab");
    check("TOTAL HUGE", "HugePages_Total");
    check("TOTAL SWAP", "SwapTotal");
    check("COMMIT LIMIT", "CommitLimit");
    let zones = found.iter().filter(|row| row["table"] == "zones");
    let free: u64 = zones.map(|zone| number(zone, "free_kb")).sum();
    assert_eq!(free, number(figures, "MemFree") / 1024);
}

#[test]
fn processes_have_what_crash_shows() {
    let Some(folder) = folder() else {
        return;
    };
    let found = objects(&folder, &["memory", "-n", "1000"]);
    let found = found.iter().filter(|row| row["table"] == "processes");
    let found: BTreeSet<[u64; 3]> = found
        .map(|row| ["pid", "mapped_kb", "resident_kb"].map(|member| number(row, member)))
        .collect();
    // PID PPID CPU TASK ST %MEM VSZ RSS COMM, with `>` before what was on a CPU; threads of the
    // kernel have nothing.
    let reference = reference(&folder, "crash-9.0.2-ps.txt");
    let expected: BTreeSet<[u64; 3]> = reference
        .lines()
        .skip(1)
        .map(|line| {
            let words: Vec<&str> = line.trim_start_matches('>').split_whitespace().collect();
            [0, 6, 7].map(|at| words[at].parse().expect("a number"))
        })
        .filter(|[_, mapped, _]| *mapped > 0)
        .collect();
    assert_eq!(found, expected);
}

#[test]
fn caches_are_those_that_crash_counts() {
    let Some(folder) = folder() else {
        return;
    };
    // CACHE OBJSIZE ALLOCATED TOTAL SLABS SSIZE NAME
    let reference = reference(&folder, "crash-9.0.2-kmem_s.txt");
    let mut expected: BTreeMap<&str, [u64; 5]> = reference
        .lines()
        .skip(1)
        .map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let numbers = [1, 2, 3, 4, 5].map(|at: usize| {
                let number = words[at].trim_end_matches('k').parse();
                number.expect("a number")
            });
            (words[6], numbers)
        })
        .collect();
    // Two slabs that a CPU keeps have no objects in use by their own count, and no ext4 is mounted;
    // crash takes them for full.
    let kept = expected.get_mut("ext4_groupinfo_4k").expect("a cache");
    assert_eq!(kept[1], 44);
    kept[1] = 0;
    let found = objects(&folder, &["slabs", "--all"]);
    let members = ["object_size", "active", "objects", "slabs", "slab_kb"];
    let found: BTreeMap<&str, [u64; 5]> = found
        .iter()
        .map(|row| {
            let name = row["name"].as_str().expect("a name");
            (name, members.map(|member| number(row, member)))
        })
        .collect();
    assert_eq!(found, expected);
}

#[test]
fn works_to_come_are_timers_that_crash_shows() {
    let Some(folder) = folder() else {
        return;
    };
    // TIMER_BASES[0][BASE_STD]: …, then EXPIRES TTE TIMER_LIST FUNCTION, in ticks of 4 ms.
    let reference = reference(&folder, "crash-9.0.2-timer.txt");
    let mut cpu = 0;
    let mut expected = Vec::new();
    for line in reference.lines() {
        if let Some(rest) = line.strip_prefix("TIMER_BASES[") {
            cpu = rest[..1].parse().expect("a CPU");
        }
        if line.contains("<delayed_work_timer_fn>") {
            let ticks = line.split_whitespace().nth(1).map(str::parse::<u64>);
            expected.push((4 * ticks.expect("a word").expect("a number"), cpu));
        }
    }
    expected.sort_unstable();
    let found = objects(&folder, &["workqueues", "--delayed"]);
    let found = found.iter().filter(|row| row["table"] == "delayed");
    let mut found: Vec<(u64, u64)> = found
        .map(|row| (number(row, "due_ms"), number(row, "cpu")))
        .collect();
    found.sort_unstable();
    assert_eq!(found, expected);
}
