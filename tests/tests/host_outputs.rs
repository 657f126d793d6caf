//! What scripts print, as text and as JSON, is what bpftrace 0.27 prints, to the byte; and nothing is lost untold.

use std::process::Command;
use std::thread;

use kscope_tests::outputs::{Case, cases};
use kscope_tests::program::Folder;
use kscope_tests::{kernel_or_skip, kscope_or_skip};

/// Runs a script by bpftrace's command line; gives what it printed, and what it said.
fn run(program: &std::path::Path, words: &[&str], script: &str) -> (String, String) {
    let output = Command::new("timeout")
        .args(["-s", "KILL", "30"])
        .arg(program)
        .arg("--unsafe")
        .args(words)
        .args(["-e", script])
        .output()
        .expect("kscope starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

#[test]
fn outputs_are_bpftraces_to_the_byte() {
    let _kernel = kernel_or_skip!();
    let program = kscope_or_skip!();
    let folder = Folder::new("outputs");
    // By this name it has bpftrace's command line.
    let peer = folder.path().join("bpftrace");
    std::os::unix::fs::symlink(&program, &peer).expect("a link");
    let cases = cases();
    assert!(cases.len() > 20, "{} cases", cases.len());
    let check = |case: &Case| {
        let (text, said) = run(&peer, &[], case.script);
        assert_eq!(text, case.text, "{}\n{said}", case.script);
        let (json, said) = run(&peer, &["-f", "json"], case.script);
        assert_eq!(json, case.json, "{}\n{said}", case.script);
    };
    thread::scope(|scope| {
        let (left, right) = cases.split_at(cases.len() / 2);
        for half in [left, right] {
            scope.spawn(|| half.iter().for_each(check));
        }
    });
}

#[test]
fn nothing_is_lost_between_print_and_clear() {
    let _kernel = kernel_or_skip!();
    let program = kscope_or_skip!();
    let folder = Folder::new("print-and-clear");
    let peer = folder.path().join("bpftrace");
    std::os::unix::fs::symlink(&program, &peer).expect("a link");
    let script = "rawtracepoint:sys_enter { @a[cpu, comm] = count(); @all = count(); }
        interval:ms:2 { print(@b); print(@a); time(\"now\\n\"); clear(@b); print(1); clear(@a); @b[1] = 1; }
        interval:ms:900 { exit(); }";
    let (text, said) = run(
        &peer,
        &["-c", "dd if=/dev/zero of=/dev/null bs=1 count=100M"],
        script,
    );
    let number = |line: &str| -> u64 {
        let (_, number) = line.rsplit_once(": ").expect("a number");
        number.parse().expect("a number")
    };
    let of_keys = text.lines().filter(|line| line.starts_with("@a["));
    let sum: u64 = of_keys.map(number).sum();
    let all = text.lines().find(|line| line.starts_with("@all: "));
    let all = all.map(number).unwrap_or_else(|| panic!("{said}"));
    // A program that holds a value while its key is taken counts there once more, and more often where it is preempted
    // then: on a busy machine some in ten clears.
    let between = all.abs_diff(sum);
    assert!(
        all > 10_000 && between < 60.max(all / 5_000),
        "{between} of {all}"
    );
}

#[test]
fn runs_that_the_kernel_leaves_out_are_counted() {
    let _kernel = kernel_or_skip!();
    let program = kscope_or_skip!();
    // The timer interrupts the long run of the same program.
    let script = "rawtracepoint:sys_enter, rawtracepoint:hrtimer_expire_entry, rawtracepoint:local_timer_entry {
            for ($i : 0..30000) { @last = $i; } @runs = count(); }
        interval:ms:700 { exit(); }";
    let (text, said) = run(
        &program,
        &["-c", "dd if=/dev/zero of=/dev/null bs=1 count=100M"],
        script,
    );
    let told = said
        .lines()
        .find(|line| line.contains("events were missed"));
    assert!(told.is_some(), "{text}\n{said}");
}

#[test]
fn losses_are_told_at_the_end() {
    let _kernel = kernel_or_skip!();
    let program = kscope_or_skip!();
    let check = |script: &str, expected: &[&str]| {
        let (_, said) = run(&program, &[], script);
        let warnings = said.lines().filter(|line| line.starts_with("WARNING: "));
        let found: Vec<&str> = warnings.collect();
        assert_eq!(found, expected, "{script}\n{said}");
    };
    let cut = |before: &str, of_map: &str| {
        format!(
            "config = {{ max_strlen = 6; }} {before} begin {{
                $a = \"abcdefgh\"; printf(\"%s %s\", str((uint64)&$a), str((uint64)&$a, 3)); {of_map} }}"
        )
    };
    check(
        &cut("", ""),
        &["WARNING: 1 string was cut: raise max_strlen (BPFTRACE_MAX_STRLEN)"],
    );
    let of_map = "@[str((uint64)&$a)] = 1;";
    check(
        &cut("", of_map),
        &["WARNING: 2 strings were cut: raise max_strlen (BPFTRACE_MAX_STRLEN)"],
    );
    check("begin { print(str((uint64)0)); print(\"abc\"); }", &[]);
    let flood = "config = { perf_rb_pages = 1; }
        begin { for ($i : 0..20000) { print($i); } }";
    let (text, said) = run(&program, &[], flood);
    let lost = said.lines().filter_map(|line| line.strip_prefix("Lost "));
    let lost = lost.filter_map(|line| line.strip_suffix(" events")?.parse::<usize>().ok());
    let lost: usize = lost.sum();
    let numbers = text.lines().filter(|line| !line.is_empty());
    assert_eq!(numbers.count() + lost, 20_000, "{said}");
    check(
        flood,
        &[&format!("WARNING: Total lost event count: {lost}")],
    );
}

#[test]
fn reads_that_fail_are_told_where_that_is_asked_for() {
    let _kernel = kernel_or_skip!();
    let program = kscope_or_skip!();
    let folder = Folder::new("failed-reads");
    let peer = folder.path().join("bpftrace");
    std::os::unix::fs::symlink(&program, &peer).expect("a link");
    let check = |words: &[&str], script: &str, expected: &[&str]| {
        for program in [&peer, &program] {
            let (_, said) = run(program, words, script);
            let told = said.lines().filter_map(|line| line.split_once("helper: "));
            let told: Vec<&str> = told.map(|(_, told)| told).collect();
            assert_eq!(told, expected, "{script}\n{said}");
        }
    };
    let scalar = "begin { $t = (struct task_struct *)1; print($t->pid); exit(); }";
    check(&[], scalar, &[]);
    check(&["-k"], scalar, &["probe_read_kernel, retcode: -34"]);
    check(&["-k"], "begin { print(curtask->pid); exit(); }", &[]);
    check(
        &["-k"],
        "begin { @ = str(uptr(5)); print(*(uint8 *)uptr(6)); exit(); }",
        &[
            "probe_read_user_str, retcode: -14",
            "probe_read_user, retcode: -14",
        ],
    );
}
