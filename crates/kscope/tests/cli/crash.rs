//! `crash` and `run --dump` on two real dumps: golden files, and what other programs said of the
//! same dumps. `BLESS=1` writes what the program prints now.

use std::collections::BTreeSet;
use std::path::Path;

use kscope_testkit::dumps::{KDUMP, QEMU, folder};
use serde_json::Value;

use super::{kscope, scratch};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/crash");

/// Compares what the program prints with a file.
pub(super) fn golden(file: &str, words: &[&str]) {
    let out = kscope(words).code(0).out;
    let golden = Path::new(FOLDER).join(file);
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&golden, &out).expect("written");
    }
    let expected = std::fs::read_to_string(&golden).unwrap_or_default();
    for (at, (now, then)) in out.lines().zip(expected.lines()).enumerate() {
        assert_eq!(now, then, "{file}:{} (BLESS=1 accepts it)", at + 1);
    }
    assert_eq!(out.len(), expected.len(), "{file}: BLESS=1 accepts it");
}

pub(super) fn path(folder: &Path, name: &str) -> String {
    folder.join(name).to_str().expect("a name").to_owned()
}

#[test]
fn reports_are_what_they_were() {
    let Some(folder) = folder() else {
        return;
    };
    let check = golden;
    let (kdump, qemu) = (&*path(&folder, KDUMP), &*path(&folder, QEMU));
    check("summary.txt", &["crash", kdump]);
    check("summary.json", &["crash", kdump, "--json"]);
    check("live-summary.txt", &["crash", qemu]);
    check(
        "log-last.txt",
        &["crash", kdump, "log", "--last", "12", "--caller"],
    );
    check("bt-cpus.txt", &["crash", kdump, "bt", "--cpus"]);
    check("bt-group.txt", &["crash", kdump, "bt", "--all", "--group"]);
    check("bt-task.json", &["crash", qemu, "bt", "kthreadd", "--json"]);
    check("ps.txt", &["crash", kdump, "ps", "--threads"]);
    check("live-ps.json", &["crash", qemu, "ps", "--json"]);
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/crash/tasks.bt");
    check("tasks.txt", &["run", "-q", "--dump", kdump, script]);
    check("live-tasks.txt", &["run", "-q", "--dump", qemu, script]);
}

#[test]
fn the_log_is_what_dmesg_showed() {
    let Some(folder) = folder() else {
        return;
    };
    let shown = std::fs::read(folder.join("6.1.192-kdump.dmesg.txt")).expect("the reference");
    let shown = String::from_utf8_lossy(&shown).into_owned();
    let out = kscope(&["crash", &path(&folder, KDUMP), "log"]).code(0).out;
    let trimmed = |text: &str| -> Vec<String> {
        let lines = text.lines().map(|line| line.trim_end().to_owned());
        lines.collect()
    };
    let (shown, found) = (trimmed(&shown), trimmed(&out));
    for (at, (found, shown)) in found.iter().zip(&shown).enumerate() {
        // vmcore-dmesg, which wrote the reference, has the time before the first line of a message alone.
        let found = match shown.starts_with('[') {
            true => found,
            false => found.split_once("] ").map_or(&**found, |(_, text)| text),
        };
        assert_eq!(found, shown, "line {}", at + 1);
    }
    assert_eq!(found.len(), shown.len());
}

#[test]
fn tasks_are_those_that_drgn_saw() {
    let Some(folder) = folder() else {
        return;
    };
    let reference = folder.join("6.1.192-reference/drgn-0.3.0.json");
    let reference = std::fs::read_to_string(reference).expect("the reference");
    let reference: Value = serde_json::from_str(&reference).expect("JSON");
    let tasks = reference["tasks"].as_array().expect("tasks");
    let mut expected: Vec<(i64, String)> = tasks
        .iter()
        .map(|task| {
            let comm = task["comm"].as_str().expect("a name").to_owned();
            (task["pid"].as_i64().expect("a number"), comm)
        })
        .filter(|(pid, _)| *pid > 0)
        .collect();
    expected.sort();
    let script = "iter:task { print((pid=ctx.task.pid, comm=ctx.task.comm)); }";
    let words = [
        "run",
        "-q",
        "--json",
        "--dump",
        &path(&folder, KDUMP),
        "-e",
        script,
    ];
    let out = kscope(&words).code(0).out;
    let found: Vec<(i64, String)> = out
        .lines()
        .map(|line| {
            let row: Value = serde_json::from_str(line).expect("a row");
            let comm = row["comm"].as_str().expect("a name").to_owned();
            (row["pid"].as_i64().expect("a number"), comm)
        })
        .collect();
    assert_eq!(found, expected);
}

#[test]
fn ps_is_what_crash_shows() {
    let Some(folder) = folder() else {
        return;
    };
    let reference = folder.join("6.1.192-reference/crash-9.0.2-ps.txt");
    let reference = std::fs::read_to_string(reference).expect("the reference");
    let file = path(&folder, KDUMP);
    // Columns of the reference, and their names here: PID PPID CPU TASK ST %MEM VSZ RSS COMM.
    let check = |words: &[&str], columns: [(usize, &str); 3]| {
        let expected: BTreeSet<([i64; 3], String)> = reference
            .lines()
            .skip(1)
            .map(|line| {
                let words: Vec<&str> = line.trim_start_matches('>').split_whitespace().collect();
                let numbers = columns.map(|(at, _)| words[at].parse().expect("a number"));
                let comm = words[8..].join(" ");
                (numbers, comm.trim_matches(['[', ']']).to_owned())
            })
            // Without the idle tasks.
            .filter(|([pid, ..], _)| *pid > 0)
            .collect();
        let out = kscope(words).code(0).out;
        let found: BTreeSet<([i64; 3], String)> = out
            .lines()
            .map(|line| {
                let row: Value = serde_json::from_str(line).expect("a row");
                let numbers = columns.map(|(_, name)| row[name].as_i64().expect("a number"));
                (numbers, row["comm"].as_str().expect("a name").to_owned())
            })
            .collect();
        assert_eq!(found, expected, "{words:?}");
    };
    check(
        &["crash", &file, "ps", "--threads", "--json"],
        [(0, "tid"), (1, "ppid"), (2, "cpu")],
    );
    check(
        &["ps", "--threads", "--json", "--dump", &file],
        [(0, "tid"), (1, "ppid"), (6, "mapped")],
    );
}

#[test]
fn what_is_no_dump_is_refused() {
    let folder = scratch("no-dump");
    let file = folder.join("text");
    std::fs::write(&file, "no dump").expect("written");
    let file = file.to_str().expect("a name");
    let check = |words: &[&str], parts: &[&str]| {
        kscope(words).code(1).says(parts);
    };
    check(&["crash", file], &["cannot open the dump", "docs/dump.md"]);
    check(&["crash", file, "bt"], &["cannot open the dump"]);
    check(&["crash", "/nowhere/vmcore"], &["/nowhere/vmcore"]);
    let run = ["run", "--dump", file, "-e", "begin { }"];
    check(&run, &["cannot open the dump"]);
    kscope(&["run", "--dump", file, "-p", "1", "-e", "begin { }"])
        .code(2)
        .says(&["cannot be used with"]);
}

#[test]
fn scripts_with_events_are_refused_by_name() {
    let Some(folder) = folder() else {
        return;
    };
    let kdump = path(&folder, KDUMP);
    let check = |script: &str, parts: &[&str]| {
        let refused = kscope(&["run", "--dump", &kdump, "-e", script]).code(1);
        refused.says(parts);
    };
    check(
        "kprobe:vfs_read { }",
        &["kprobe:vfs_read waits for an event", "iter:task"],
    );
    check(
        "begin { print(pid); }",
        &["the thread that runs the script", "ctx.task.pid"],
    );
    check("iter:task { print(ctx.task.nothing); }", &["nothing"]);
}
