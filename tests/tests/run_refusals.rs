//! What a kernel or its administrator refuses, each told in a line of its own with the way out.

use std::path::Path;
use std::process::{Command, Stdio};

use kscope_tests::{program_or_skip, skip};

/// Tells this program, run again in a mount namespace of its own, to change what is mounted.
const INSIDE: &str = "KSCOPE_TEST_INSIDE";

/// Runs this test again with mounts of its own, and leaves it there. Goes on where it has them.
macro_rules! in_own_mounts {
    ($test:expr) => {
        match again($test) {
            None => {}
            Some(Ok(None)) => return,
            Some(Ok(Some(skip))) => skip!(INNER, "{skip}"),
            Some(Err(why)) if why.contains("unshare") => skip!("unshare", "no mounts of one's own"),
            Some(Err(why)) => panic!("{why}"),
        }
    };
}

/// The feature that a test lacks which was skipped inside; it has been judged there.
const INNER: &str = "judged already";

/// Runs this test again with mounts of its own. `None` where it does already, else whether that
/// could be done and went well, and the reason for which it was skipped.
fn again(test: &str) -> Option<Result<Option<String>, String>> {
    if std::env::var_os(INSIDE).is_some() {
        return None;
    }
    let test_program = std::env::current_exe().expect("a path");
    let output = Command::new("unshare")
        .args(["-m", "--propagation", "private"])
        .arg(test_program)
        .args(["--exact", test, "--nocapture", "--include-ignored"])
        .env(INSIDE, "1")
        .output();
    Some(match output {
        Ok(output) => {
            let text = [output.stdout, output.stderr].concat();
            let text = String::from_utf8_lossy(&text).into_owned();
            match output.status.success() {
                true => Ok(skip_of(test, &text)),
                false => Err(text),
            }
        }
        Err(error) => Err(error.to_string()),
    })
}

/// Gives the reason for which a test says that it is skipped.
fn skip_of(test: &str, text: &str) -> Option<String> {
    let (_, reason) = text.split_once(&format!("SKIP: {test}: "))?;
    reason.lines().next().map(str::to_owned)
}

#[test]
fn skips_of_inner_runs_are_handed_on() {
    let check = |text, expected: Option<&str>| {
        assert_eq!(skip_of("a_test", text).as_deref(), expected, "{text}");
    };
    check("test a_test ... ok\n", None);
    check("test a_test ... SKIP: a_test: no BTF\nok\n", Some("no BTF"));
    check("SKIP: another: no BTF\n", None);
}

fn mount(words: &[&str]) {
    let mounted = Command::new("mount").args(words).status().expect("mount");
    assert!(mounted.success(), "mount {words:?}");
}

#[test]
fn without_privilege_scripts_are_checked_but_not_run() {
    let program = program_or_skip!("nobody");
    let check =
        |script, code, parts: &[&str]| program.as_nobody(&["check", "-e", script]).is(code, parts);
    let known = "tracepoint:syscalls:sys_enter_openat { print(str(args.filename)); }";
    let left = check(
        known,
        0,
        &["sys_enter_openat was not checked", "/sys/kernel/tracing"],
    );
    assert!(left.out.starts_with("stdin: 1 probe, "), "{}", left.out);
    check(
        "tracepoint:sched:sched_switch { @ = count(); }",
        0,
        &["not checked"],
    );
    check("begin { coom; }", 1, &["`comm`"]);
    let way_out = [
        "lacks CAP_BPF",
        "run as root, or grant CAP_BPF, CAP_PERFMON",
        "kscope doctor",
    ];
    program
        .as_nobody(&["-e", "begin { @ = 1; exit(); }"])
        .is(1, &way_out);
    program
        .as_nobody(&["opensnoop"])
        .is(1, &["run as root", "kscope doctor"]);
    let fields = "tracepoint:sched:sched_switch { print(args.next_pid); }";
    program
        .as_nobody(&["-e", fields])
        .is(1, &["cannot be looked up", "run as root"]);
    let doctor = program.as_nobody(&["doctor"]).is(0, &[]).out;
    let lines = [
        "kernel symbols",
        "tracefs",
        "tracepoint programs",
        "uprobes",
        "ring buffer",
    ];
    for line in lines {
        let found = doctor.lines().find(|found| found.starts_with(line));
        let found = found.unwrap_or_else(|| panic!("no {line} in:\n{doctor}"));
        assert!(
            found.contains("refused: ") || found.contains("hidden: "),
            "{found}"
        );
    }
}

#[test]
fn a_user_lists_what_can_be_known() {
    let program = program_or_skip!("lister");
    let left = program
        .as_nobody(&["list", "tracepoint:syscalls:sys_enter_open*"])
        .is(0, &["not all probes can be listed", "/sys/kernel/tracing"]);
    assert!(
        left.out.contains("tracepoint:syscalls:sys_enter_openat\n"),
        "{}",
        left.out
    );
    let left = program.as_nobody(&["list", "struct list_head"]).is(0, &[]);
    assert!(left.out.starts_with("struct list_head {\n"), "{}", left.out);
}

#[test]
fn tracefs_that_is_not_mounted_is_mounted_or_named() {
    let program = program_or_skip!("tracefs");
    in_own_mounts!("tracefs_that_is_not_mounted_is_mounted_or_named");
    for place in [
        "/sys/kernel/tracing",
        "/sys/kernel/debug/tracing",
        "/sys/kernel/debug",
    ] {
        let _ = Command::new("umount")
            .args(["-l", place])
            .stderr(Stdio::null())
            .status();
    }
    assert!(
        !Path::new("/sys/kernel/tracing/events").exists(),
        "still mounted"
    );
    let script = "tracepoint:sched:sched_switch { print(args.next_pid); }";
    program
        .as_nobody(&["check", "-e", script])
        .is(0, &["tracefs is not mounted"]);
    program
        .as_nobody(&["-e", script])
        .is(1, &["tracefs is not mounted", "run as root"]);
    let once = "tracepoint:sched:sched_switch { exit(); }";
    program.as_root(&["-q", "-e", once]).is(0, &[]);
    assert!(
        Path::new("/sys/kernel/tracing/events").exists(),
        "not mounted"
    );
}

#[test]
fn a_kernel_without_types_is_told_from_missing_privilege() {
    let program = program_or_skip!("types");
    in_own_mounts!("a_kernel_without_types_is_told_from_missing_privilege");
    if !Path::new("/sys/kernel/btf/vmlinux").exists() {
        skip!("btf", "this kernel has no types anyway");
    }
    let kept = program.path().with_file_name("btf");
    std::fs::copy("/sys/kernel/btf/vmlinux", &kept).expect("a copy");
    mount(&["-t", "tmpfs", "tmpfs", "/sys/kernel/btf"]);
    let no_types = [
        "does not show its types (BTF)",
        "/sys/kernel/btf/vmlinux",
        "--btf",
    ];
    program.as_root(&["list", "struct file"]).is(1, &no_types);
    let script = "kprobe:vfs_read { print(((struct file *)arg0)->f_flags); }";
    let blames = ["CAP_", "run as root", "locked down"];
    let _ = program
        .as_root(&["-e", script])
        .is(1, &no_types)
        .without(&blames);
    let _ = program
        .as_root(&["opensnoop", "--duration", "1"])
        .is(1, &no_types)
        .without(&blames);
    // The cause goes before what else is wrong.
    let two = "kprobe:vfs_read { print(((struct file *)arg0)->f_flags); print(coom); }";
    let left = program.as_root(&["-e", two]).is(1, &["`comm`"]);
    let place = |part: &str| {
        left.err
            .find(part)
            .unwrap_or_else(|| panic!("{}", left.err))
    };
    assert!(
        place("does not show its types") < place("coom"),
        "{}",
        left.err
    );
    // The way out that is named is one.
    let script = "begin { printf(\"%d\\n\", ((struct task_struct *)curtask)->tgid != 0); exit(); }";
    let _ = program
        .as_root(&["-e", script])
        .is(1, &no_types)
        .without(&blames);
    let kept = kept.display().to_string();
    let left = program
        .as_root(&["-q", "--btf", &kept, "-e", script])
        .is(0, &[]);
    assert_eq!(left.out.trim(), "1");
    let left = program.as_root(&["doctor"]).is(0, &[]);
    let line = left
        .out
        .lines()
        .find(|line| line.starts_with("kernel types (BTF)"));
    assert!(
        line.is_some_and(|line| line.contains("missing")),
        "{}",
        left.out
    );
    // What needs no types runs as ever.
    let script = "begin { printf(\"x\\n\"); } tracepoint:sched:sched_switch { exit(3); }";
    program.as_root(&["-q", "-e", script]).is(3, &[]);
    let fields = "tracepoint:raw_syscalls:sys_enter { printf(\"%d %d\\n\", pid > 0, args.id >= 0); exit(); }";
    let left = program.as_root(&["-q", "-e", fields]).is(0, &[]);
    assert!(left.out.starts_with("1 1\n"), "{}", left.out);
    program
        .as_root(&["-q", "-e", "rawtracepoint:sys_enter { exit(4); }"])
        .is(4, &[]);
}

#[test]
fn a_kernel_without_kprobes_says_so() {
    let program = program_or_skip!("kprobes");
    if Path::new("/sys/bus/event_source/devices/kprobe").exists() {
        skip!("no-kprobes", "this kernel has kprobes");
    }
    let script = "kprobe:vfs_read { @ = count(); }";
    let left = program.as_root(&["-e", script]).is(
        1,
        &[
            "cannot attach kprobe:vfs_read",
            "this kernel has no kprobes",
            "CONFIG_KPROBE",
            "kscope doctor",
        ],
    );
    assert!(!left.err.contains("Attached"), "{}", left.err);
}

#[test]
fn unknown_probes_have_near_names() {
    let program = program_or_skip!("near");
    let check = |script, parts: &[&str]| {
        program.as_root(&["check", "-e", script]).is(1, parts);
    };
    check(
        "tracepoint:sched:sched_swich { }",
        &["sched_swich", "`tracepoint:sched:sched_switch`"],
    );
    check(
        "tracepoint:syscalls:sys_enter_opennat { }",
        &["sys_enter_openat"],
    );
    check(
        "rawtracepoint:sched_swich { }",
        &["sched_swich", "sched_switch"],
    );
    check("kprobe:vfs_raed { }", &["vfs_raed", "`vfs_read`"]);
    check(
        "tracepoint:sched:sched_switch { print(args.prev_pidd); }",
        &["prev_pidd", "`prev_pid`"],
    );
    let listed = |pattern, near| {
        program
            .as_root(&["list", pattern])
            .is(1, &["no probe matches", pattern, near]);
    };
    if Path::new("/sys/bus/event_source/devices/kprobe").exists() {
        listed("kprobe:vfs_raed", "kprobe:vfs_read");
    }
    listed("t:sched:sched_swich", "t:sched:sched_switch");
    program
        .as_root(&["list", "struct lst_head"])
        .is(1, &["lst_head", "did you mean list_head"]);
}
