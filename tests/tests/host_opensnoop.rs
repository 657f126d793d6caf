//! opensnoop against programs whose opens are known.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use kscope_tests::program::{Folder, Tracer, compile_c, kscope};
use kscope_tests::{kernel_or_skip, skip};
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
    let Some(program) = compile_c("open_many", &folder) else {
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
    let _kernel = kernel_or_skip!();
    let Some(tracer) = kscope() else {
        skip!("kscope", "kscope is not built")
    };
    every_open_is_seen_once("ring", &tracer);
}

#[test]
fn every_open_is_seen_once_through_the_perf_buffer() {
    let _kernel = kernel_or_skip!();
    let Some(tracer) = kscope() else {
        skip!("kscope", "kscope is not built")
    };
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
    let _kernel = kernel_or_skip!();
    let Some(tracer) = kscope() else {
        skip!("kscope", "kscope is not built")
    };
    let folder = Folder::new("hello");
    let Some(program) = compile_c("hello", &folder) else {
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

/// Runs a program that waits for its input once it has opened its files under opensnoop; gives its
/// paths and errnos as they are shown.
fn paths_of_waiting(tracer: &Path, folder: &Folder, extra: &[&str]) -> Vec<(String, i64)> {
    let program = folder.path().join("open_moved");
    let arguments = ["opensnoop", "--json", "--comm", "open_moved"];
    let arguments: Vec<&str> = arguments.iter().chain(extra).copied().collect();
    let tracer = Tracer::start(tracer, &arguments).expect("opensnoop attaches");
    let mut child = Command::new(program)
        .current_dir(folder.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut line = String::new();
    let mut output = BufReader::new(child.stdout.take().expect("its output"));
    output.read_line(&mut line).expect("its line");
    assert_eq!(line, "opened\n");
    std::thread::sleep(Duration::from_millis(300));
    drop(child.stdin.take());
    assert!(child.wait().expect("its end").success());
    let finished = tracer.interrupt();
    assert_eq!(finished.code, Some(0), "{finished:?}");
    let row = |line: &String| {
        let row: Value = serde_json::from_str(line).expect("a row");
        let path = row["path"].as_str().expect("a path").to_owned();
        (path, row["err"].as_i64().expect("an errno"))
    };
    let rows = finished.lines.iter().map(row);
    // What the loader opens has a library's name.
    rows.filter(|(path, _)| !path.contains(".so")).collect()
}

#[test]
fn full_paths_are_right_or_as_given() {
    let _kernel = kernel_or_skip!();
    let Some(tracer) = kscope() else {
        skip!("kscope", "kscope is not built")
    };
    let folder = Folder::new("open-moved");
    let Some(_) = compile_c("open_moved", &folder) else {
        skip!("cc", "there is no C compiler");
    };
    for name in ["a", "b"] {
        std::fs::create_dir(folder.path().join(name)).expect("a folder");
    }
    let given = [
        ("left", 0),
        ("stayed", 0),
        ("absent", 2),
        ("../a", 0),
        ("reused", 0),
        (".", 0),
        ("../a", 0),
        ("./kept", 0),
        // Neither no path nor one that cannot be read is a handle.
        ("", 14),
        ("", 14),
    ];
    let given = given.map(|(path, errno)| (path.to_owned(), errno));
    assert_eq!(paths_of_waiting(&tracer, &folder, &[]), given);
    // In one go, so that all is printed when the program has gone on to where it waits.
    let within = folder.path().canonicalize().expect("its path");
    for _ in 0..5 {
        let rows = paths_of_waiting(&tracer, &folder, &["--full-path"]);
        assert_eq!(rows.len(), given.len(), "{rows:?}");
        for ((path, errno), (asked, expected)) in rows.iter().zip(&given) {
            assert_eq!(errno, expected, "{rows:?}");
            let right = match asked.as_str() {
                "" => "".to_owned(),
                "left" | "reused" => within.join("a").join(asked).display().to_string(),
                "./kept" => within.join("a/kept").display().to_string(),
                other => format!("{}/{}", within.join("b").display(), other),
            };
            let left_behind = ["left", "reused"].contains(&asked.as_str());
            let may_be_as_given = left_behind && path == asked;
            assert!(
                *path == right || may_be_as_given,
                "{path} for {asked}: {right}"
            );
        }
    }
}

#[test]
fn opens_of_32_bit_programs_are_seen() {
    let _kernel = kernel_or_skip!();
    let Some(tracer) = kscope() else {
        skip!("kscope", "kscope is not built")
    };
    let folder = Folder::new("open32");
    let Some(program) = compile_c("open32", &folder) else {
        skip!("cc", "there is no C compiler");
    };
    let there = folder.path().join("there");
    let absent = folder.path().join("absent");
    std::fs::write(&there, "").expect("a file");
    let run = |path: &Path| {
        let output = Command::new(&program)
            .arg(path)
            .output()
            .expect("open32 runs");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    };
    if run(&there) == "none" {
        skip!("ia32", "this kernel has no 32-bit system calls");
    }
    let tracer = Tracer::start(&tracer, &["opensnoop", "--json", "--comm", "open32"])
        .expect("opensnoop attaches");
    let fd: i64 = run(&there).parse().expect("a number");
    let failed: i64 = run(&absent).parse().expect("a number");
    assert_eq!(failed, -2);
    let finished = tracer.interrupt();
    let rows: Vec<Value> = finished
        .lines
        .iter()
        .map(|line| serde_json::from_str(line).expect("a row"))
        .collect();
    let of = |path: &Path| -> Vec<(Option<i64>, Option<i64>)> {
        let path = path.display().to_string();
        let rows = rows.iter().filter(|row| row["path"] == path.as_str());
        rows.map(|row| (row["fd"].as_i64(), row["err"].as_i64()))
            .collect()
    };
    assert_eq!(of(&there), [(Some(fd), Some(0))], "{:?}", finished.lines);
    assert_eq!(of(&absent), [(Some(-1), Some(2))], "{:?}", finished.lines);
}

#[test]
fn opens_through_io_uring_are_counted_as_unseen() {
    let _kernel = kernel_or_skip!();
    let Some(tracer) = kscope() else {
        skip!("kscope", "kscope is not built");
    };
    let folder = Folder::new("open-uring");
    let Some(program) = compile_c("open_uring", &folder) else {
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
