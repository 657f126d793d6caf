//! What a user lacks is told apart: each capability, tracefs, locked memory; each with the way out.

use std::process::Command;

use kscope_tests::caller::{Caller, Program};
use kscope_tests::{program_or_skip, skip};
use rustix::process::{Resource, Rlimit, setrlimit};
use rustix::thread::CapabilitySet;

const BPF: CapabilitySet = CapabilitySet::BPF;
const PERFMON: CapabilitySet = CapabilitySet::PERFMON;
const ADMIN: CapabilitySet = CapabilitySet::SYS_ADMIN;

/// Needs a map, a program and a tracepoint's number.
const TRACEPOINT: &str = "tracepoint:sched:sched_switch { @ = count(); exit(); }";
/// Needs the record of a tracepoint, which tracefs has.
const RECORD: &str = "tracepoint:sched:sched_switch { @ = args.prev_pid; exit(); }";
/// Needs a map and programs.
const CLOCK: &str = "begin { @ = 1; } interval:ms:10 { printf(\"tick\\n\"); exit(); }";

const GRANT: &str = "HINT: run as root, or grant CAP_BPF, CAP_PERFMON and read access to tracefs";

/// Lets everybody that this test starts lock memory without limit: kernels before 5.11 count maps and programs.
fn unlimited_memory() {
    let (current, maximum) = (None, None);
    // Where root may not, the limit is a container's, and a kernel of today.
    let _ = setrlimit(Resource::Memlock, Rlimit { current, maximum });
}

#[track_caller]
fn refused(program: &Program, caller: Caller<'_>, script: &str, parts: &[&str], silent: &[&str]) {
    let _ = program
        .run(caller, &["-e", script])
        .is(1, parts)
        .without(silent)
        .without(&["Attached", "locked down", "locked memory"]);
}

#[test]
fn each_missing_capability_is_named() {
    let program = program_or_skip!("capabilities");
    unlimited_memory();
    let no_bpf = ["lacks CAP_BPF", GRANT, "kscope doctor"];
    let no_perfmon = ["the process lacks CAP_PERFMON\n", GRANT, "kscope doctor"];
    let check = |caller, script| {
        refused(&program, caller, script, &no_bpf, &[]);
    };
    for script in [CLOCK, TRACEPOINT] {
        check(Caller::NobodyWith(&[]), script);
        check(Caller::NobodyWith(&[PERFMON]), script);
        check(Caller::RootWithout(&[ADMIN, BPF]), script);
        check(Caller::RootWithout(&[ADMIN, BPF, PERFMON]), script);
    }
    let check = |caller, script| {
        refused(&program, caller, script, &no_perfmon, &["lacks CAP_BPF"]);
    };
    for script in [CLOCK, TRACEPOINT] {
        check(Caller::NobodyWith(&[BPF]), script);
        check(Caller::RootWithout(&[ADMIN, PERFMON]), script);
    }
}

/// Debian's kernels have a setting above 2, which takes perf events from everybody but CAP_SYS_ADMIN.
fn perf_events_need_more() -> bool {
    let text = std::fs::read_to_string("/proc/sys/kernel/perf_event_paranoid").expect("a setting");
    text.trim().parse::<i32>().expect("a number") > 2
}

#[test]
fn two_capabilities_are_enough_or_the_third_is_named() {
    let program = program_or_skip!("enough");
    unlimited_memory();
    let run = |caller, script| {
        let left = program.run(caller, &["-q", "-e", script]).is(0, &[]);
        assert!(left.out.contains("@: "), "{}\n{}", left.out, left.err);
    };
    // One of the older kind replaces both.
    run(Caller::RootWithout(&[BPF, PERFMON]), TRACEPOINT);
    if perf_events_need_more() {
        // The one case where the finer capability is there and not enough.
        refused(
            &program,
            Caller::NobodyWith(&[BPF, PERFMON]),
            CLOCK,
            &["lacks CAP_SYS_ADMIN (kernel.perf_event_paranoid is above 2)"],
            &["CAP_BPF\n", "CAP_PERFMON\n"],
        );
        skip!(
            "perf",
            "kernel.perf_event_paranoid takes no CAP_PERFMON here"
        );
    }
    run(Caller::NobodyWith(&[BPF, PERFMON]), CLOCK);
    run(Caller::RootWithout(&[ADMIN]), CLOCK);
    run(Caller::RootWithout(&[ADMIN]), TRACEPOINT);
    let reads = CapabilitySet::DAC_READ_SEARCH;
    run(Caller::NobodyWith(&[BPF, PERFMON, reads]), TRACEPOINT);
}

#[test]
fn a_closed_tracefs_is_named() {
    let program = program_or_skip!("closed");
    unlimited_memory();
    refused(
        &program,
        Caller::NobodyWith(&[BPF, PERFMON]),
        RECORD,
        &[
            "what the script traces cannot be looked up: ",
            "/sys/kernel/tracing is closed to this user",
            "HINT: run as root, or remount it with gid= and mode= for this user",
        ],
        &["lacks CAP_"],
    );
    // Not what follows from it in the tool's script.
    let tool = ["execsnoop", "--duration", "1"];
    let left = program.run(Caller::NobodyWith(&[BPF, PERFMON]), &tool);
    let _ = left
        .is(1, &["/sys/kernel/tracing is closed to this user"])
        .without(&["Could not resolve"]);
}

/// What `kernel.unprivileged_bpf_disabled` allows to everybody is not enough to trace, and is not what is missing.
#[test]
fn bpf_for_everybody_is_not_enough() {
    const SETTING: &str = "/proc/sys/kernel/unprivileged_bpf_disabled";
    let program = program_or_skip!("everybody");
    if std::env::var_os("KSCOPE_GUEST").is_none() {
        skip!("guest", "this changes a setting of the kernel");
    }
    unlimited_memory();
    let before = std::fs::read_to_string(SETTING).expect("the setting");
    assert_eq!(before.trim(), "2", "1 could not be changed");
    std::fs::write(SETTING, "0").expect("changed");
    let parts = ["the process lacks CAP_BPF and CAP_PERFMON", GRANT];
    for script in [CLOCK, TRACEPOINT] {
        refused(&program, Caller::NobodyWith(&[]), script, &parts, &[]);
    }
    std::fs::write(SETTING, before).expect("changed back");
}

/// Before Linux 5.11 maps and programs count against `ulimit -l`.
#[test]
fn a_limit_on_locked_memory_is_named_where_it_counts() {
    let program = program_or_skip!("memlock");
    unlimited_memory();
    // Kilobytes; what root cannot raise for want of CAP_SYS_RESOURCE.
    let run = |limit: u32, words: &[&str]| {
        let mut command = Command::new("sh");
        command
            .args(["-c", &format!("ulimit -l {limit} && exec \"$@\""), "sh"])
            .args(["timeout", "-s", "KILL", "50"])
            .arg(program.path())
            .args(words);
        Caller::RootWithout(&[CapabilitySet::SYS_RESOURCE]).run(&mut command)
    };
    let left = run(16, &["-q", "-e", CLOCK]);
    if left.code == Some(0) {
        skip!(
            "memlock",
            "this kernel charges no maps and programs to the limit"
        );
    }
    let parts = [
        "the limit on locked memory (16384 bytes) is used up",
        "HINT: raise it: ulimit -l unlimited",
    ];
    let _ = left.is(1, &parts).without(&["CAP_", "seccomp"]);
    // Enough for the smallest program, not for the script's maps.
    let parts = ["the limit on locked memory (", "HINT: raise it: "];
    let _ = run(128, &["-e", CLOCK]).is(1, &parts).without(&["CAP_"]);
    // Root as it is raises it.
    let mut command = Command::new("sh");
    command
        .args(["-c", "ulimit -S -l 16 && exec \"$@\"", "sh"])
        .arg(program.path())
        .args(["-q", "-e", CLOCK]);
    let left = Caller::Root.run(&mut command).is(0, &[]);
    assert!(left.out.contains("@: "), "{}", left.out);
}
