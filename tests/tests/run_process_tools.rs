//! execsnoop, exitsnoop and killsnoop against processes whose doings are known.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use kscope_tests::program::{Folder, Tracer, c_program};
use kscope_tests::{kscope_or_skip, skip};
use serde_json::{Value, json};

/// Runs a tool over some work and gives its rows.
fn all_rows(kscope: &Path, words: &[&str], work: impl FnOnce()) -> Vec<Value> {
    let tracer = Tracer::start(kscope, &[words, &["--json"]].concat());
    let tracer = tracer.unwrap_or_else(|left| panic!("{left:?}"));
    work();
    tracer.interrupt().json()
}

/// Runs a tool over some work and gives the rows of the process that the work tells of.
fn rows(kscope: &Path, tool: &str, work: impl FnOnce() -> u32) -> Vec<Value> {
    let mut pid = 0;
    let mut rows = all_rows(kscope, &[tool], || pid = work());
    rows.retain(|row| row["pid"] == pid);
    rows
}

/// Starts a shell that does nothing but what it is told.
fn shell(script: &str) -> Child {
    let mut command = Command::new("/bin/sh");
    let command = command.args(["-c", script]).stdin(Stdio::null());
    let command = command.stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().expect("a shell starts")
}

#[test]
fn execsnoop_shows_programs_that_begin() {
    let kscope = kscope_or_skip!();
    let last = ["/bin/sh", "-c", "exit 0", "two words", "", "end"];
    let mut first = [
        "/bin/sh",
        "-c",
        "exec /bin/sh -c 'exit 0' 'two words' '' end",
    ]
    .map(str::to_owned)
    .to_vec();
    first.extend((0..100).map(|n| format!("argument{n}")));
    let rows = rows(&kscope, "execsnoop", || {
        let mut command = Command::new(&first[0]);
        let mut child = command.args(&first[1..]).spawn().expect("a shell starts");
        child.wait().expect("it ends");
        child.id()
    });
    let args: Vec<&Value> = rows.iter().map(|row| &row["args"]).collect();
    // Of the arguments, and the NUL after each, the first 512 bytes.
    let cut = first.join("\0")[..512].to_owned() + "..";
    let cut: Vec<&str> = cut.split('\0').collect();
    assert_eq!(args, [&json!(cut), &json!(last)]);
    // The shell, and the one in its place.
    let paths: Vec<&Value> = rows.iter().map(|row| &row["path"]).collect();
    assert_eq!(paths, ["/bin/sh", "/bin/sh"], "{rows:?}");
    for row in &rows {
        assert_eq!(row["comm"], "sh");
        assert_eq!(row["ppid"], std::process::id());
    }
}

#[test]
fn exitsnoop_shows_how_processes_end() {
    let kscope = kscope_or_skip!();
    let folder = Folder::new("exitsnoop");
    let Some(program) = c_program("last_thread", &folder) else {
        skip!("compiler", "there was no C compiler to make the program");
    };
    // Its main thread ends at once, another gives 6 to exit 50 ms later.
    let late = || {
        let mut command = Command::new(&program);
        command.args(["50000", "6"]).spawn().expect("it starts")
    };
    let number = |row: &Value, name: &str| row[name].as_u64().expect("a number");
    let mut ended = Vec::new();
    let rows = all_rows(&kscope, &["exitsnoop"], || {
        let mut end = |mut child: Child, code: u64, signal: u64, least_ms: u64| {
            child.wait().expect("it ends");
            ended.push((child.id(), code, signal, least_ms));
        };
        end(shell("exit 7"), 7, 0, 0);
        end(shell("kill -KILL $$"), 0, 9, 0);
        end(late(), 6, 0, 50);
    });
    for (pid, code, signal, least_ms) in ended {
        let of_pid = |row: &&Value| row["pid"] == pid;
        let found: Vec<&Value> = rows.iter().filter(of_pid).collect();
        let [row] = found.as_slice() else {
            panic!("{pid}: {found:?}");
        };
        let how = [number(row, "code"), number(row, "signal")];
        assert_eq!(how, [code, signal], "{row}");
        assert!(number(row, "ms") >= least_ms, "{row}");
        assert_eq!(row["ppid"], std::process::id());
        assert_eq!(row["tid"], pid, "{row}");
    }

    let mut pid = 0;
    let mut rows = all_rows(
        &kscope,
        &["exitsnoop", "--threads", "--comm", "last_thread"],
        || {
            let mut child = late();
            child.wait().expect("it ends");
            pid = child.id();
        },
    );
    rows.retain(|row| row["pid"] == pid);
    let codes: Vec<u64> = rows.iter().map(|row| number(row, "code")).collect();
    assert_eq!(codes, [0, 6], "{rows:?}");
    let threads: Vec<bool> = rows.iter().map(|row| row["tid"] == pid).collect();
    assert_eq!(threads, [true, false], "{rows:?}");
}

#[test]
fn killsnoop_shows_signals_and_their_results() {
    let kscope = kscope_or_skip!();
    let mut target = 0;
    let rows = rows(&kscope, "killsnoop", || {
        // The second finds nobody.
        let mut child = shell("kill -0 $$; kill -CONT 2147483647");
        child.wait().expect("it ends");
        target = child.id();
        child.id()
    });
    let found: Vec<(i64, i64, i64)> = rows
        .iter()
        .map(|row| {
            let number = |name: &str| row[name].as_i64().expect("a number");
            (number("signal"), number("target"), number("err"))
        })
        .collect();
    assert_eq!(found, [(0, i64::from(target), 0), (18, 2_147_483_647, 3)]);
}
