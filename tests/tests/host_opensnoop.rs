//! opensnoop against programs whose opens are known.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use kscope_tests::program::{Folder, Tracer, c_program};
use kscope_tests::{kscope_or_skip, skip};
use serde_json::Value;

/// How many files are opened.
const FILES: usize = 10_000;

/// What an open gave: thread, descriptor, errno.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
struct Outcome {
    result: i64,
    errno: i64,
}

/// Opens [`FILES`] files under opensnoop and compares event by event.
fn every_open_is_seen_once(buffer: &str, tracer: &Path) {
    let folder = Folder::new(&format!("opensnoop-{buffer}"));
    let Some(program) = c_program("open_many", &folder) else {
        skip!("cc", "there is no C compiler");
    };
    let mut child = Command::new(program)
        .arg(FILES.to_string())
        .arg(folder.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the producer starts");
    let mut output = BufReader::new(child.stdout.take().expect("its output"));
    let mut ready = String::new();
    output.read_line(&mut ready).expect("its first line");
    let pid: i64 = ready
        .strip_prefix("ready ")
        .and_then(|p| p.trim().parse().ok())
        .expect("its pid");

    let prefix = format!("{}/f", folder.path().display());
    let pid_text = pid.to_string();
    let arguments = [
        "opensnoop",
        "--json",
        "--buffer",
        buffer,
        "--pid",
        &pid_text,
        "--prefix",
        &prefix,
    ];
    let tracer = Tracer::start(tracer, &arguments).expect("opensnoop attaches");
    child
        .stdin
        .take()
        .expect("its input")
        .write_all(b"\n")
        .expect("go");
    let mut text = String::new();
    output.read_to_string(&mut text).expect("its report");
    assert!(child.wait().expect("its end").success());
    let finished = tracer.interrupt();

    let mut expected: HashMap<String, Outcome> = HashMap::new();
    for line in text.lines() {
        let numbers: Vec<i64> = line
            .split(' ')
            .map(|n| n.parse().expect("a number"))
            .collect();
        let [_tid, number, result, errno] = numbers[..] else {
            panic!("{line}")
        };
        expected.insert(format!("{prefix}{number}"), Outcome { result, errno });
    }
    assert_eq!(expected.len(), FILES);
    assert_eq!(
        expected.values().filter(|o| o.errno == 2).count(),
        FILES / 2
    );

    let mut seen = 0;
    for line in &finished.lines {
        let row: Value = serde_json::from_str(line).expect("a row");
        assert_eq!(row["pid"].as_i64(), Some(pid), "{line}");
        assert_eq!(row["comm"].as_str(), Some("open_many"), "{line}");
        let path = row["path"].as_str().expect("a path");
        let wanted = expected
            .remove(path)
            .unwrap_or_else(|| panic!("twice or unasked: {line}"));
        assert_eq!(row["fd"].as_i64(), Some(wanted.result), "{line}");
        assert_eq!(row["err"].as_i64(), Some(wanted.errno), "{line}");
        seen += 1;
    }
    assert_eq!(
        seen,
        FILES,
        "missing: {:?}; {:?}",
        expected.keys().take(3),
        finished.errors
    );
    assert_eq!(finished.errors, Vec::<String>::new(), "nothing was lost");
    assert_eq!(finished.code, Some(0));
}

#[test]
fn every_open_is_seen_once_through_the_ring_buffer() {
    let tracer = kscope_or_skip!();
    every_open_is_seen_once("ring", &tracer);
}

#[test]
fn every_open_is_seen_once_through_the_perf_buffer() {
    let tracer = kscope_or_skip!();
    every_open_is_seen_once("perf", &tracer);
}

/// Runs the classic example under opensnoop with further arguments; gives its rows and its pid.
fn trace_hello(
    tracer: &Path,
    folder: &Folder,
    program: &Path,
    extra: &[&str],
) -> (Vec<Value>, u32) {
    let arguments = ["opensnoop", "--json", "--path", "hello.c"];
    let arguments: Vec<&str> = arguments.iter().chain(extra).copied().collect();
    let tracer = Tracer::start(tracer, &arguments).expect("opensnoop attaches");
    let mut child = Command::new(program)
        .current_dir(folder.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("hello starts");
    let mut line = String::new();
    let mut output = BufReader::new(child.stdout.take().expect("its output"));
    output.read_line(&mut line).expect("its line");
    assert_eq!(line.trim_end(), "3 /*", "the file was read");
    let id = child.id();
    // A path can be completed only as long as the process is there.
    std::thread::sleep(Duration::from_millis(300));
    child
        .stdin
        .take()
        .expect("its input")
        .write_all(b"\n")
        .expect("a key");
    assert!(child.wait().expect("its end").success());
    let finished = tracer.interrupt();
    assert_eq!(finished.code, Some(0), "{finished:?}");
    let rows = finished
        .lines
        .iter()
        .map(|line| serde_json::from_str(line).expect("a row"));
    (rows.collect(), id)
}

#[test]
fn the_classic_example_is_seen_and_filtered() {
    let tracer = kscope_or_skip!();
    let folder = Folder::new("hello");
    let Some(program) = c_program("hello", &folder) else {
        skip!("cc", "there is no C compiler");
    };
    let source = include_str!("../programs/hello.c");
    std::fs::write(folder.path().join("hello.c"), source).expect("hello.c");

    let (rows, pid) = trace_hello(&tracer, &folder, &program, &[]);
    let rows: Vec<&Value> = rows.iter().filter(|row| row["pid"] == pid).collect();
    let [row] = rows[..] else {
        panic!("one row: {rows:?}")
    };
    assert_eq!(row["comm"], "hello");
    assert_eq!(row["path"], "./hello.c");
    assert_eq!(row["fd"], 3);
    assert_eq!(row["err"], 0);

    let (rows, _) = trace_hello(&tracer, &folder, &program, &["--pid", "1"]);
    assert_eq!(rows, Vec::<Value>::new(), "another pid's filter");

    let (rows, pid) = trace_hello(&tracer, &folder, &program, &["--full-path"]);
    let full = folder
        .path()
        .canonicalize()
        .expect("its path")
        .join("hello.c");
    let paths: Vec<&Value> = rows
        .iter()
        .filter(|row| row["pid"] == pid)
        .map(|row| &row["path"])
        .collect();
    assert_eq!(paths, [full.to_str().expect("a text")]);
}

#[test]
fn opens_through_io_uring_are_counted_as_unseen() {
    let tracer = kscope_or_skip!();
    let folder = Folder::new("open-uring");
    let Some(program) = c_program("open_uring", &folder) else {
        skip!("cc", "there is no C compiler with io_uring's header");
    };
    let path = folder.path().join("there");
    std::fs::write(&path, "").expect("a file");
    let tracer = Tracer::start(&tracer, &["opensnoop", "--json", "--comm", "open_uring"])
        .expect("opensnoop attaches");
    let output = Command::new(&program)
        .arg(&path)
        .output()
        .expect("open_uring runs");
    let result = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let finished = tracer.interrupt();
    if result == "none" {
        skip!("io_uring", "this kernel has no io_uring, or forbids it");
    }
    assert!(result.parse::<i64>().is_ok_and(|fd| fd > 2), "{result}");
    let told = |line: &String| line.contains("1 opens through io_uring are not shown");
    assert!(finished.errors.iter().any(told), "{finished:?}");
}
