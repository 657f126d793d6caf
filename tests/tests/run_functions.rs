//! Functions that reach outside of the script: files, commands, signals, lists of strings.
//!
//! What is expected is what bpftrace 0.27 prints; functions that only compute are cases of
//! run_language.

use std::path::Path;
use std::process::{Command, Stdio};

use kscope_tests::program::kscope;
use kscope_tests::{kernel_or_skip, skip};

/// What a run left: output, standard error, exit code.
type Ran = (String, String, Option<i32>);

fn run(program: &Path, arguments: &[&str]) -> Ran {
    let output = Command::new(program)
        .arg("run")
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("kscope starts");
    (
        String::from_utf8_lossy(&output.stdout).into_owned(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
        output.status.code(),
    )
}

macro_rules! program_or_skip {
    () => {{
        let _kernel = kernel_or_skip!();
        kscope()
    }};
}

#[test]
fn files_and_commands_come_in_order() {
    let program = program_or_skip!();
    if !Path::new("/bin/sh").exists() {
        skip!("/bin/sh", "there is no shell");
    }
    let script = r#"begin {
        system("echo hi %d", 3);
        printf("a\n");
        cat("/proc/sys/kernel/%s", "ostype");
        cat("/no/such/file%d", 1);
        system("exit 3");
        system("printf '%s'", "x y");
        printf("b\n");
    }"#;
    let (out, err, code) = run(&program, &["--unsafe", "-q", "-e", script]);
    assert_eq!(code, Some(0), "{err}");
    assert_eq!(out, "hi 3\n\na\nLinux\nx y\nb\n\n\n");
    assert_eq!(
        err,
        "ERROR: failed to open file '/no/such/file1' (No such file or directory)\n\
         ERROR: command exited with code 3\n"
    );
    let json = r#"{"type": "syscall", "data": "hi 3\n"}"#;
    let (out, _, _) = run(&program, &["--unsafe", "-q", "-f", "json", "-e", script]);
    assert_eq!(out.lines().next(), Some(json));
}

#[test]
fn files_are_cut() {
    let program = program_or_skip!();
    let script = r#"config = { max_cat_bytes = 3 } begin { cat("/proc/sys/kernel/ostype"); }"#;
    let (out, err, code) = run(&program, &["-q", "-e", script]);
    assert_eq!((out.as_str(), code), ("Lin\n\n", Some(0)), "{err}");
}

#[test]
fn what_changes_the_system_must_be_allowed() {
    let program = program_or_skip!();
    let check = |script: &str, function: &str| {
        let (_, err, code) = run(&program, &["-e", script]);
        assert_eq!(code, Some(1), "{script}");
        let said = format!("{function}() is an unsafe function being used in safe mode");
        assert!(err.contains(&said), "{err}");
        assert!(err.contains("--unsafe"), "{err}");
    };
    check("begin { system(\"true\"); }", "system");
    check("interval:s:1 { signal(\"KILL\"); }", "signal");
    check("interval:s:1 { signal_thread(9); }", "signal_thread");
}

#[test]
fn lists_of_strings_are_joined() {
    let program = program_or_skip!();
    let script =
        "tracepoint:syscalls:sys_enter_execve { join(args.argv); join(args.argv, \"|\"); }";
    let command = format!("{} --version", program.display());
    let (out, err, code) = run(&program, &["-q", "-c", &command, "-e", script]);
    assert_eq!(code, Some(0), "{err}");
    let path = program.display();
    let wanted = format!("{path} --version\n{path}|--version\n");
    let printed = out.contains(&wanted);
    assert!(printed, "{out}{err}");
}

#[test]
fn processes_are_sent_signals() {
    let program = program_or_skip!();
    if !Path::new("/bin/sh").exists() {
        skip!("/bin/sh", "there is no shell");
    }
    // A shell that makes system calls until it is ended.
    let mut busy = Command::new("/bin/sh")
        .args(["-c", "while :; do cd /; done"])
        .spawn()
        .expect("a shell starts");
    let script = format!(
        "rawtracepoint:sys_enter /pid == {}/ {{ signal(\"TERM\"); exit(); }} \
         interval:s:20 {{ exit(); }}",
        busy.id()
    );
    let (_, err, code) = run(&program, &["--unsafe", "-q", "-e", &script]);
    // It is gone already, unless no signal came.
    std::thread::sleep(std::time::Duration::from_millis(200));
    let _ = busy.kill();
    let ended = busy.wait().expect("it is a child");
    assert_eq!(code, Some(0), "{err}");
    assert_eq!(
        std::os::unix::process::ExitStatusExt::signal(&ended),
        Some(15)
    );
    assert!(
        !err.contains("ERROR") && !err.contains("signal call failed"),
        "{err}"
    );
}
