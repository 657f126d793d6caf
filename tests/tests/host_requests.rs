//! Probes that run when they are asked for, and watchpoints.

use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use kscope_tests::{kernel_or_skip, kscope_or_skip};

#[test]
fn tests_and_benchmarks_of_a_script() {
    const SCRIPT: &str = "begin { print(\"begin\"); } \
        test:good { print(\"unseen\"); return 0; } \
        test:bad { for ($i : 0..5) { if ($i == 3) { print(\"seen\"); return 2; } } } \
        bench:loop { for ($i : 0..10) { @n = count(); } } bench:skipped { return 1; } \
        interval:ms:1 { print(\"never\"); }";
    let _kernel = kernel_or_skip!();
    let program = kscope_or_skip!();
    let run = |words: &[&str]| {
        let output = Command::new(&program)
            .args(["run", "-e", SCRIPT])
            .args(words)
            .output()
            .expect("kscope starts");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        (output.status.code(), text)
    };
    let (code, text) = run(&["--test"]);
    assert_eq!(code, Some(1), "{text}");
    for part in ["good (", "seen\n", "  FAILED  ", "2 tests ran.", "1 test."] {
        assert!(text.contains(part), "no {part} in {text}");
    }
    assert!(
        !text.contains("unseen") && !text.contains("never"),
        "{text}"
    );
    let (code, text) = run(&["--bench", "-f", "json"]);
    assert_eq!(code, Some(0), "{text}");
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 1, "{text}");
    let begin = "{\"type\": \"benchmark_result\", \"data\": {\"loop\": {\"average\": ";
    assert!(lines[0].starts_with(begin), "{text}");
}

#[test]
fn a_watchpoint_sees_writes_of_a_process_until_it_is_let_go() {
    static WATCHED: AtomicU64 = AtomicU64::new(0);
    let _kernel = kernel_or_skip!();
    let program = kscope_or_skip!();
    let address = std::ptr::from_ref(&WATCHED).addr();
    let script = format!(
        "watchpoint:{address}:8:w {{ @++; if (@ == 3) {{ unwatch({address}); }} }} \
         interval:ms:900 {{ print((@ >= 3, @ < 400)); exit(); }} end {{ clear(@); }}"
    );
    let mut child = Command::new(&program)
        .args([
            "run",
            "-q",
            "-p",
            &std::process::id().to_string(),
            "-e",
            &script,
        ])
        .stdout(Stdio::piped())
        .spawn()
        .expect("kscope starts");
    while child.try_wait().expect("it runs").is_none() {
        WATCHED.fetch_add(1, Ordering::Relaxed);
        std::thread::sleep(Duration::from_millis(1));
    }
    let output = child.wait_with_output().expect("its output");
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(text.trim(), "(true, true)");
}
