//! execsnoop, exitsnoop and killsnoop against processes whose doings are known.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use kscope_tests::kscope_or_skip;
use kscope_tests::program::Tracer;
use serde_json::Value;

/// Runs a tool over some work and gives the rows of the process that the work tells of.
fn rows(kscope: &Path, tool: &str, work: impl FnOnce() -> u32) -> Vec<Value> {
    let tracer = Tracer::start(kscope, &[tool, "--json"]);
    let tracer = tracer.unwrap_or_else(|left| panic!("{left:?}"));
    let pid = work();
    tracer.signal("INT");
    let left = tracer.finish();
    assert_eq!(left.code, Some(0), "{left:?}");
    let lines = left.lines.iter();
    let rows = lines.filter_map(|line| serde_json::from_str::<Value>(line).ok());
    rows.filter(|row| row["pid"] == pid).collect()
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
    let rows = rows(&kscope, "execsnoop", || {
        let mut child = shell("exec /bin/sh -c 'exit 0'");
        child.wait().expect("it ends");
        child.id()
    });
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
    let check = |script: &str, code: u64, signal: u64| {
        let rows = rows(&kscope, "exitsnoop", || {
            let mut child = shell(script);
            child.wait().expect("it ends");
            child.id()
        });
        let [row] = rows.as_slice() else {
            panic!("{script}: {rows:?}");
        };
        assert_eq!(
            (&row["code"], &row["signal"]),
            (&code.into(), &signal.into()),
            "{row}"
        );
        assert_eq!(row["ppid"], std::process::id());
    };
    check("exit 7", 7, 0);
    check("kill -KILL $$", 0, 9);
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
