//! A kernel that is locked down is told apart from missing privilege.
//!
//! Lockdown can be raised while a kernel runs and never lowered, so this comes after all other tests.
//@ last

use kscope_tests::caller::Program;
use kscope_tests::{program_or_skip, skip};

const LOCKDOWN: &str = "/sys/kernel/security/lockdown";

/// Reads which mode is in force.
fn mode() -> Option<String> {
    let text = std::fs::read_to_string(LOCKDOWN).ok()?;
    let (_, rest) = text.split_once('[')?;
    Some(rest.split_once(']')?.0.to_owned())
}

/// Raises lockdown to a mode, in a guest alone; what prevents that skips the test.
macro_rules! lock_down_or_skip {
    ($mode:expr) => {
        if std::env::var_os("KSCOPE_GUEST").is_none() {
            skip!("guest", "this is no guest");
        }
        if mode().is_none() {
            skip!("lockdown", "this kernel has no lockdown");
        }
        if mode().as_deref() != Some($mode) {
            std::fs::write(LOCKDOWN, $mode).expect("raised");
        }
        assert_eq!(mode().as_deref(), Some($mode));
    };
}

const TRACEPOINT: &str =
    "tracepoint:raw_syscalls:sys_enter { printf(\"%d\\n\", args.id); exit(); }";
const RAW: &str = "rawtracepoint:sys_enter { printf(\"%d\\n\", arg1); exit(); }";
const KPROBE: &str =
    "kprobe:do_nanosleep { printf(\"slept\\n\"); exit(); } interval:s:20 { exit(); }";
const READS: &str =
    "rawtracepoint:sys_enter { printf(\"%d\\n\", ((struct task_struct *)curtask)->pid); exit(); }";
const TEXT: &str = "rawtracepoint:sys_enter { printf(\"%s\\n\", str(kptr(arg0))); exit(); }";
const NEITHER: &str = "begin { @ = 1; } interval:ms:10 { printf(\"tick\\n\"); exit(); }";

/// Demands the mode in doctor's line about lockdown.
#[track_caller]
fn doctor(program: &Program, mode: &str) {
    let left = program.as_root(&["doctor"]).is(0, &[]);
    let mut lines = left.out.lines();
    let line = lines.find(|line| line.starts_with("lockdown "));
    assert!(line.is_some_and(|line| line.contains(mode)), "{}", left.out);
}

#[test]
fn mode_1_integrity_forbids_no_tracing() {
    let program = program_or_skip!("integrity");
    lock_down_or_skip!("integrity");
    doctor(&program, "integrity");
    for script in [TRACEPOINT, RAW, KPROBE, READS, TEXT, NEITHER] {
        let left = program.as_root(&["-q", "-e", script]).is(0, &[]);
        assert!(!left.out.is_empty(), "{script}\n{}", left.err);
    }
}

#[test]
fn mode_2_confidentiality_is_named() {
    let program = program_or_skip!("confidentiality");
    lock_down_or_skip!("confidentiality");
    doctor(&program, "confidentiality");
    let way_out = "HINT: boot without lockdown";
    let locked = "the kernel is locked down (confidentiality)";
    let refused = |words: &[&str], what: &str| {
        let _ = program
            .as_root(words)
            .is(1, &[what, locked, way_out])
            .without(&["verifier", "CAP_", "report it", "Attached"]);
    };
    refused(&["-e", KPROBE], "cannot attach kprobe:do_nanosleep: ");
    refused(&["-e", READS], "reading kernel memory is not permitted: ");
    refused(&["-e", TEXT], "reading kernel memory is not permitted: ");
    refused(&["opensnoop", "--duration", "1"], "not permitted: ");
    // What needs no look into the kernel goes on.
    for script in [TRACEPOINT, RAW, NEITHER] {
        let left = program.as_root(&["-q", "-e", script]).is(0, &[]);
        assert!(!left.out.is_empty(), "{script}\n{}", left.err);
    }
    let left = program.as_root(&["doctor"]).is(0, &[]);
    let mut lines = left.out.lines();
    let line = lines.find(|line| line.starts_with("kprobes  "));
    let is_refused = |line: &str| line.contains("refused: ") && line.contains("lockdown");
    assert!(line.is_some_and(is_refused), "{}", left.out);
    // To a user it is the privilege that is missing first.
    let _ = program
        .as_nobody(&["-e", NEITHER])
        .is(1, &["lacks CAP_BPF"])
        .without(&["locked down"]);
}
