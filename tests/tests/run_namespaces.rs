//! kscope in a pid namespace of its own sees processes as that namespace numbers them.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kscope_tests::caller::Left;
use kscope_tests::kernel_or_skip;
use kscope_tests::program::kscope;

/// Runs a shell script as the first process of a new pid namespace, kscope being `$KSCOPE`, and
/// gives what it left; or skips the test.
macro_rules! in_own_namespace {
    ($script:expr) => {{
        let _ = kernel_or_skip!();
        let program = kscope();
        let unshare = ["unshare", "-p", "-f", "--mount-proc", "sh", "-c"];
        let mut command = Command::new("timeout");
        command
            .args(["-s", "KILL", "50"])
            .args(unshare)
            .arg($script)
            .env("KSCOPE", program);
        Left::of(&mut command)
    }};
}

/// Gives the lines that are not blank.
fn lines(left: &Left) -> Vec<&str> {
    left.out.lines().filter(|line| !line.is_empty()).collect()
}

#[test]
fn pids_are_those_of_the_namespace() {
    let script = r#"
        "$KSCOPE" -q -e 'begin { printf("%d %d\n", pid, tid); }
            tracepoint:sched:sched_process_exec /comm == "kscope" && pid != 0/ { printf("seen %d %d\n", pid, tid); exit(); }' &
        echo "tracer $!"
        while kill -0 $! 2>/dev/null; do
            sh -c 'echo "next $$"; exec "$KSCOPE" --version > /dev/null'
        done
    "#;
    let left = in_own_namespace!(script).is(0, &[]);
    let lines = lines(&left);
    let number = |start: &str| {
        let line = lines.iter().find_map(|line| line.strip_prefix(start));
        line.unwrap_or_else(|| panic!("no {start} in {lines:?}"))
    };
    let tracer = number("tracer ");
    assert_eq!(tracer, "2", "the second process of the namespace");
    assert!(
        lines.contains(&"2 2"),
        "begin is run by the tracer: {lines:?}"
    );
    let seen = number("seen ");
    let (pid, tid) = seen.split_once(' ').expect("two numbers");
    assert_eq!(pid, tid);
    let said = format!("next {pid}");
    assert!(lines.contains(&said.as_str()), "{seen} in {lines:?}");
}

#[test]
fn one_process_is_picked_by_its_number_in_the_namespace() {
    // $1 of the script, and -p, are numbers of the namespace.
    for words in [
        r#"-e 'tracepoint:raw_syscalls:sys_enter /pid == $1/ { @[comm, pid] = count(); } interval:s:1 { exit(); }' $!"#,
        r#"-p $! -e 'tracepoint:raw_syscalls:sys_enter { @[comm, pid] = count(); } interval:s:1 { exit(); }'"#,
    ] {
        let script = format!(
            r#"
            sh -c 'while :; do sleep 0.02; done' &
            "$KSCOPE" -q {words}
            echo "end $?"
            kill -9 $!
        "#
        );
        let left = in_own_namespace!(&script);
        let lines = lines(&left);
        let [map, end] = lines.as_slice() else {
            panic!("{lines:?} {}", left.err);
        };
        assert!(map.starts_with("@[sh, 2]: "), "{map}");
        assert_eq!(*end, "end 0");
    }
}

#[test]
fn processes_outside_have_the_number_0() {
    let end = Arc::new(AtomicBool::new(false));
    let ended = end.clone();
    let outsider = std::thread::Builder::new().name("outsider".to_owned());
    let outsider = outsider.spawn(move || {
        while !ended.load(Ordering::Relaxed) {
            // Emulators lose their way in what is patched while it runs all the time.
            std::thread::sleep(Duration::from_millis(5));
        }
    });
    let left = in_own_namespace!(
        r#""$KSCOPE" -q -e '
            tracepoint:raw_syscalls:sys_enter /comm == "outsider"/ { @[pid, tid] = count(); }
            interval:s:1 { exit(); }'"#
    );
    end.store(true, Ordering::Relaxed);
    outsider.expect("a thread").join().expect("it ends");
    let left = left.is(0, &[]);
    let lines = lines(&left);
    let [line] = lines.as_slice() else {
        panic!("{lines:?}");
    };
    assert!(line.starts_with("@[0, 0]: "), "{line}");
}
