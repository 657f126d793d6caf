//! `crash` and `run --dump` on two real dumps: golden files; `BLESS=1` writes what the program prints now. What other
//! programs said of the same dump is compared in crash_sources.

use std::path::Path;

use kscope_testkit::dumps::{KDUMP, QEMU, folder};

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
