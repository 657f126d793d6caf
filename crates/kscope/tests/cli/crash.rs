//! `crash` and `run --dump` on two real dumps: golden files; `BLESS=1` writes what the program prints now. What other
//! programs said of the same dump is compared in crash_sources.

use std::path::Path;

use kscope_testkit::dumps::{KDUMP, QEMU, folder};

use super::{kscope, kscope_with_input, scratch};

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
fn what_a_dump_may_have_gone_through_is_named() {
    let folder = scratch("packed-dump");
    let check = |name: &str, bytes: &[u8], part: &str| {
        let file = folder.join(name);
        std::fs::write(&file, bytes).expect("written");
        kscope(&["crash", file.to_str().expect("a name")])
            .code(1)
            .says(&["cannot open the dump", part]);
    };
    check("gz", b"\x1f\x8b\x08\0rest", "`gunzip FILE`");
    check("xz", b"\xfd7zXZ\0rest", "`unxz FILE`");
    check("zst", b"\x28\xb5\x2f\xfdrest", "`unzstd FILE`");
    check("bz2", b"BZh9rest", "`bunzip2 FILE`");
    check("short", b"BZ", "docs/dump.md");
    // A pipe has no places to go back to.
    let piped = kscope_with_input(&["crash", "/dev/stdin"], "no dump");
    piped.code(1).says(&["write the dump into a file"]);
}

#[test]
fn a_cut_dump_has_a_share_that_is_missing() {
    let Some(folder) = folder() else {
        return;
    };
    let cuts = scratch("cut-dump");
    let whole = std::fs::read(folder.join(KDUMP)).expect("a dump");
    // In the sub header's block, in the bitmap, in the descriptors, a page before the end.
    for (len, share) in [
        (8192, " 100.0 %"),
        (65_536, " 100.0 %"),
        (1_000_000, " %"),
        (whole.len() - 4096, " less than 0.1 %"),
    ] {
        let file = cuts.join(len.to_string());
        std::fs::write(&file, &whole[..len]).expect("written");
        let ran = kscope(&["crash", file.to_str().expect("a name")]).code(0);
        let told = ran.err.lines().find(|line| line.contains("not whole"));
        let told = told.unwrap_or_else(|| panic!("{len}: {}", ran.err));
        assert!(told.contains(share), "{len}: {told}");
        let number = told
            .split(' ')
            .rev()
            .find_map(|word| word.parse::<f64>().ok());
        assert!(number.is_some_and(|share| share <= 100.0), "{len}: {told}");
    }
}

#[test]
fn wrong_words_are_told_with_the_way_out() {
    let Some(folder) = folder() else {
        return;
    };
    let kdump = path(&folder, KDUMP);
    let check = |words: &[&str], code: i32, part: &str| {
        let words = [&["crash", &*kdump], words].concat();
        kscope(&words).code(code).says(&[part]);
    };
    check(&["read", "0"], 1, "`0x` in front");
    check(&["struct", "task_struct", "1234"], 1, "`0x` in front");
    check(
        &["struct", "task_struct", "0x123"],
        1,
        "nothing is at 0x123",
    );
    check(
        &["log", "--level", "error"],
        2,
        "or emerg, alert, crit, err",
    );
    check(&["log", "--level", "8"], 2, "levels are 0 to 7");
    let by = |level| {
        let ran = kscope(&["crash", &kdump, "log", "--level", level]).code(0);
        ran.out
    };
    assert_eq!(by("err"), by("3"));
    assert!(!by("err").is_empty() && by("err").len() < by("7").len());
    let none = kscope(&["crash", &kdump, "bt", "--blocked"]).code(0);
    assert_eq!(none.out, "no task is blocked\n");
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
