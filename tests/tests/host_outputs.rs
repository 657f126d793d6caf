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
    // A program that holds a value while its key is taken counts there once more: some in a thousand clears.
    let between = all.abs_diff(sum);
    assert!(all > 10_000 && between < 60, "{between} of {all}");
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
