//! opensnoop by each way to trace that the kernel has; runs on the host and in guests.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use kscope_bpf::Features;
use kscope_tests::assembly::kernel_types;
use kscope_tests::opens::paths_of;
use kscope_tests::program::{Folder, Tracer, c_program};
use kscope_tests::{kernel_or_skip, kscope_or_skip, skip};
use serde_json::Value;

/// Gives kscope where the kernel has kprobes, or skips the test.
macro_rules! with_kprobes_or_skip {
    () => {{
        let tracer = kscope_or_skip!();
        let features = Features::new(kernel_or_skip!(), kernel_types());
        if !features.kprobe().is_available() {
            skip!("kprobe", "this kernel has no kprobes");
        }
        tracer
    }};
}

/// Makes tests of one check, for each way in which opensnoop sees opens.
macro_rules! by_each_way {
    ($tracepoints:ident, $kprobes:ident: $check:ident) => {
        #[test]
        fn $tracepoints() {
            let tracer = kscope_or_skip!();
            $check(&tracer, "tracepoint");
        }

        #[test]
        fn $kprobes() {
            let tracer = with_kprobes_or_skip!();
            $check(&tracer, "kprobe");
        }
    };
}

/// Opens a file that is there and one that is not, and looks for just those two rows.
fn traces_both(tracer: &Path, way: &[&str]) {
    let folder = Folder::new(&format!("run-opensnoop{}", way.join("")));
    let there = folder.path().join("there");
    let absent = folder.path().join("absent");
    std::fs::write(&there, "").expect("a file");
    let prefix = folder.path().display().to_string();
    let pid = std::process::id().to_string();
    let arguments = ["opensnoop", "--json", "--pid", &pid, "--prefix", &prefix];
    let arguments: Vec<&str> = arguments.into_iter().chain(way.iter().copied()).collect();
    let tracer = match Tracer::start(tracer, &arguments) {
        Ok(tracer) => tracer,
        Err(finished) => panic!("opensnoop {way:?}: {finished:?}"),
    };
    let opened = File::open(&there);
    let refused = File::open(&absent);
    let finished = tracer.interrupt();
    assert!(opened.is_ok() && refused.is_err());
    let rows: Vec<Value> = finished
        .lines
        .iter()
        .map(|line| serde_json::from_str(line).expect("a row"))
        .collect();
    let [first, second] = &rows[..] else {
        panic!("two rows of {way:?}: {finished:?}")
    };
    assert_eq!(first["path"].as_str(), there.to_str());
    assert_eq!(first["err"].as_i64(), Some(0));
    assert!(first["fd"].as_i64().is_some_and(|fd| fd > 2), "{first}");
    assert_eq!(second["path"].as_str(), absent.to_str());
    assert_eq!(second["err"].as_i64(), Some(2));
    assert_eq!(second["fd"].as_i64(), Some(-1));
    for row in &rows {
        assert_eq!(row["pid"].as_u64(), Some(u64::from(std::process::id())));
    }
    assert_eq!(finished.errors, Vec::<String>::new());
    assert_eq!(finished.code, Some(0));
}

#[test]
fn by_tracepoints() {
    let tracer = kscope_or_skip!();
    traces_both(&tracer, &["--buffer", "ring"]);
    traces_both(&tracer, &["--buffer", "perf"]);
}

#[test]
fn by_kprobes() {
    let tracer = with_kprobes_or_skip!();
    traces_both(&tracer, &["--probe", "kprobe"]);
    traces_both(&tracer, &["--probe", "kprobe", "--buffer", "perf"]);
}

#[test]
fn paths_are_whole_or_marked() {
    let tracer = kscope_or_skip!();
    let folder = Folder::new("run-opensnoop-long");
    let there = folder.path().join("there");
    std::fs::write(&there, "").expect("a file");
    let text = folder.path().display().to_string();
    // The same file by a path of so many bytes.
    let long = |length: usize| {
        let rest = length - text.len() - "/there".len();
        let dots = "/.".repeat(rest / 2);
        let slash = "/".repeat(rest % 2);
        format!("{text}{dots}{slash}/there")
    };
    let lengths = [
        200, 509, 510, 511, 512, 513, 514, 1024, 4094, 4095, 4096, 6000,
    ];
    for buffer in ["ring", "perf"] {
        let opened: Vec<String> = lengths.iter().map(|length| long(*length)).collect();
        let opened: Vec<&Path> = opened.iter().map(Path::new).collect();
        let rows = paths_of(
            &tracer,
            "run-opensnoop-long",
            &["--buffer", buffer],
            &opened,
        );
        let expected = lengths.map(|length| match length {
            // ENAMETOOLONG
            4096.. => (format!("{}..", &long(length)[..4096]), 36),
            _ => (long(length), 0),
        });
        assert_eq!(rows, expected, "{buffer}");
        // So many bytes that `/./there` is at the end.
        let late = long(1900 + text.len() % 2);
        let found = paths_of(&tracer, "", &["--path", "/./there"], &[Path::new(&late)]);
        assert_eq!(found, [(late, 0)]);
    }
}

#[test]
fn the_end_is_exact() {
    let tracer = kscope_or_skip!();
    let folder = Folder::new("run-opensnoop-count");
    let path = folder.path().join("absent");
    let paths = vec![path.as_path(); 500];
    let rows = paths_of(&tracer, "run-opensnoop-count", &["--count", "7"], &paths);
    assert_eq!(rows.len(), 7);
    let before = Instant::now();
    let output = Command::new(&tracer)
        .args(["opensnoop", "--duration", "500ms", "--path", "no such path"])
        .output()
        .expect("kscope runs");
    assert!(output.status.success(), "{output:?}");
    assert!(before.elapsed() >= Duration::from_millis(500));
}

/// Runs a program that waits for its input once it has opened its files under opensnoop; gives its
/// paths and errnos as they are shown.
fn paths_of_waiting(tracer: &Path, folder: &Folder, extra: &[&str]) -> Vec<(String, i64)> {
    let program = folder.path().join("open_moved");
    let arguments = ["opensnoop", "--json", "--comm", "open_moved"];
    let arguments: Vec<&str> = arguments.iter().chain(extra).copied().collect();
    let mut tracer = Tracer::start(tracer, &arguments).expect("opensnoop attaches");
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
    // A path can be completed only as long as the process is there.
    let rows = (0..MOVED).map(|_| tracer.line().expect("a row"));
    let rows: Vec<String> = rows.collect();
    drop(child.stdin.take());
    assert!(child.wait().expect("its end").success());
    let finished = tracer.interrupt();
    assert_eq!(finished.code, Some(0), "{finished:?}");
    let row = |line: &String| {
        let row: Value = serde_json::from_str(line).expect("a row");
        let path = row["path"].as_str().expect("a path").to_owned();
        (path, row["err"].as_i64().expect("an errno"))
    };
    rows.iter().chain(&finished.lines).map(row).collect()
}

/// How many files `open_moved` opens.
const MOVED: usize = 10;

fn full_paths_are_right_or_as_given(tracer: &Path, way: &str) {
    let folder = Folder::new(&format!("open-moved-{way}"));
    let Some(_) = c_program("open_moved", &folder) else {
        skip!("cc", "the program was not compiled");
    };
    for name in ["a", "b"] {
        std::fs::create_dir(folder.path().join(name)).expect("a folder");
    }
    let given: [_; MOVED] = [
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
    assert_eq!(paths_of_waiting(tracer, &folder, &["--probe", way]), given);
    // In one go, so that all is printed when the program has gone on to where it waits.
    let within = folder.path().canonicalize().expect("its path");
    for _ in 0..3 {
        let rows = paths_of_waiting(tracer, &folder, &["--full-path", "--probe", way]);
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

by_each_way!(full_paths_by_tracepoints, full_paths_by_kprobes: full_paths_are_right_or_as_given);

/// Runs a program with a path and gives the numbers that it prints; none in place of those that
/// this kernel has no system calls for.
fn numbers(program: &Path, path: &Path) -> Vec<i64> {
    let output = Command::new(program).arg(path).output().expect("it runs");
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().map_while(|line| line.parse().ok()).collect()
}

/// Gives what a system call's result is in a row: descriptor and errno.
fn row_of(result: i64) -> (i64, i64) {
    (result.max(-1), (-result).max(0))
}

/// Gives path, descriptor and errno of each row.
fn rows(lines: &[String]) -> Vec<(String, (i64, i64))> {
    let row = |line: &String| {
        let row: Value = serde_json::from_str(line).expect("a row");
        let path = row["path"].as_str().expect("a path").to_owned();
        let number = |name: &str| row[name].as_i64().expect("a number");
        (path, (number("fd"), number("err")))
    };
    lines.iter().map(row).collect()
}

fn opens_of_32_bit_programs_are_seen(tracer: &Path, way: &str) {
    let folder = Folder::new(&format!("open32-{way}"));
    let Some(program) = c_program("open32", &folder) else {
        skip!("cc", "the program was not compiled");
    };
    let there = folder.path().join("there");
    let absent = folder.path().join("absent");
    std::fs::write(&there, "").expect("a file");
    if numbers(&program, &there).is_empty() {
        skip!("ia32", "this kernel has no 32-bit system calls");
    }
    let arguments = ["opensnoop", "--json", "--comm", "open32", "--probe", way];
    let tracer = Tracer::start(tracer, &arguments).expect("opensnoop attaches");
    let found = numbers(&program, &there);
    assert_eq!(numbers(&program, &absent), [-2]);
    let finished = tracer.interrupt();
    let mut rows = rows(&finished.lines);
    rows.retain(|(path, _)| Path::new(path).starts_with(folder.path()));
    let expected = [(&there, row_of(found[0])), (&absent, (-1, 2))];
    assert_eq!(
        rows,
        expected.map(|(path, row)| (path.display().to_string(), row))
    );
}

by_each_way!(opens_of_32_bit_programs_by_tracepoints, opens_of_32_bit_programs_by_kprobes: opens_of_32_bit_programs_are_seen);

fn opens_by_handle_are_seen(tracer: &Path, way: &str) {
    let folder = Folder::new(&format!("open-handle-{way}"));
    let Some(program) = c_program("open_handle", &folder) else {
        skip!("cc", "the program was not compiled");
    };
    let path = folder.path().join("there");
    std::fs::write(&path, "").expect("a file");
    let filter = [
        "opensnoop",
        "--json",
        "--comm",
        "open_handle",
        "--flags",
        "O_NONBLOCK",
    ];
    let arguments: Vec<&str> = filter.into_iter().chain(["--probe", way]).collect();
    let tracer = Tracer::start(tracer, &arguments).expect("opensnoop attaches");
    let results = numbers(&program, &path);
    let finished = tracer.interrupt();
    let expected: Vec<_> = results
        .iter()
        .map(|result| ("(by handle)".to_owned(), row_of(*result)))
        .collect();
    assert_eq!(rows(&finished.lines), expected, "{finished:?}");
    // The 32-bit call may not be there; the other is, and may fail only where there are no handles.
    assert!(!results.is_empty());
    if results[0] < 0 {
        skip!("handles", "the file system has no handles: {}", results[0]);
    }
    if results.len() < 2 {
        skip!("ia32", "this kernel has no 32-bit system calls");
    }
}

by_each_way!(opens_by_handle_by_tracepoints, opens_by_handle_by_kprobes: opens_by_handle_are_seen);

/// Threads outside of the reader's pid namespace have no number in it, and are told apart all the same.
#[test]
fn opens_of_other_namespaces_by_kprobes() {
    let program = with_kprobes_or_skip!();
    let folder = Folder::new("run-opensnoop-outside");
    let fifo = folder.path().join("fifo");
    let there = folder.path().join("there");
    std::fs::write(&there, "").expect("a file");
    let made = Command::new("mkfifo").arg(&fifo).status().expect("mkfifo");
    assert!(made.success());
    let prefix = folder.path().display().to_string();
    let mut tracer = Command::new("unshare");
    tracer
        .args(["-p", "-f", "--mount-proc"])
        .arg(&program)
        .args([
            "opensnoop",
            "--json",
            "--probe",
            "kprobe",
            "--count",
            "3",
            "--duration",
            "30",
        ])
        .args(["--prefix", &prefix]);
    let mut tracer = Tracer::of(tracer).expect("opensnoop attaches");
    // This one waits until somebody writes.
    let waiting = fifo.clone();
    let reader = std::thread::spawn(move || File::open(waiting).is_ok());
    std::thread::sleep(Duration::from_millis(300));
    let first = File::open(&there).is_ok();
    let writer = File::options().write(true).open(&fifo).is_ok();
    assert!(first && writer && reader.join().expect("it reads"));
    let lines: Vec<String> = (0..3).map_while(|_| tracer.line()).collect();
    let finished = tracer.finish();
    let mut paths: Vec<String> = rows(&lines).into_iter().map(|(path, _)| path).collect();
    paths.sort();
    let expected = [&fifo, &fifo, &there].map(|path| path.display().to_string());
    assert_eq!(paths, expected, "{lines:?} {finished:?}");
}
