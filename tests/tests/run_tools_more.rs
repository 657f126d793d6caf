//! biolatency, biosnoop, cpudist, funclatency, runqlat and statsnoop against work whose times and calls
//! are known.
//@ modules: loop

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use kscope_tests::program::{Folder, Tracer, c_program};
use kscope_tests::{disk, kscope_or_skip, skip};
use serde_json::Value;

/// Runs a tool over some work and gives all that it printed.
fn traced(kscope: &Path, words: &[&str], work: impl FnOnce()) -> Vec<Value> {
    let words = [words, &["--json"]].concat();
    let tracer = Tracer::start(kscope, &words).unwrap_or_else(|left| panic!("{left:?}"));
    work();
    tracer.interrupt().json()
}

/// Gives the smallest values and the counts of a histogram's intervals.
fn intervals(buckets: &Value) -> Vec<(i64, u64)> {
    let number = |bucket: &Value, name: &str| bucket[name].as_i64().unwrap_or(0);
    let buckets = buckets.as_array().into_iter().flatten();
    let count = |bucket: &Value| bucket["count"].as_u64().expect("a count");
    buckets
        .map(|bucket| (number(bucket, "min"), count(bucket)))
        .collect()
}

/// Gives the intervals of the one histogram of a map.
fn histogram(printed: &[Value], map: &str) -> Vec<(i64, u64)> {
    let found = printed.iter().find(|line| line["type"] == "hist");
    let line = found.unwrap_or_else(|| panic!("no {map}: {printed:?}"));
    intervals(&line["data"][map])
}

fn total(histogram: &[(i64, u64)]) -> u64 {
    histogram.iter().map(|(_, count)| count).sum()
}

/// A process that waits for a byte and gives it back.
struct Echo {
    child: Child,
    input: ChildStdin,
    output: ChildStdout,
}

/// How long it waits before each byte.
const WAIT: Duration = Duration::from_millis(20);

impl Echo {
    fn start() -> Echo {
        let mut command = Command::new("cat");
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("cat");
        let input = child.stdin.take().expect("piped");
        let output = child.stdout.take().expect("piped");
        let mut echo = Echo {
            child,
            input,
            output,
        };
        // It is there, and all of its files are loaded.
        echo.wake(1);
        echo
    }

    /// Wakes it so many times, each when it sleeps again.
    fn wake(&mut self, times: u32) {
        for _ in 0..times {
            std::thread::sleep(WAIT);
            self.input.write_all(b"x").expect("it reads");
            self.output.read_exact(&mut [0]).expect("it writes");
        }
    }

    fn pid(&self) -> String {
        self.child.id().to_string()
    }

    fn end(mut self) {
        drop(self.input);
        self.child.wait().expect("it ends");
    }
}

/// Times that the process is woken.
const TIMES: u32 = 10;

/// Checks that there is an entry for each time, and none for what other processes do.
#[track_caller]
fn check_total(histogram: &[(i64, u64)]) {
    let total = total(histogram);
    let times = u64::from(TIMES);
    // It may have lost its processor to others in between.
    assert!((times..times * 10).contains(&total), "{histogram:?}");
}

#[test]
fn runqlat_measures_each_wait_for_a_processor() {
    let kscope = kscope_or_skip!();
    let mut echo = Echo::start();
    let pid = echo.pid();
    let printed = traced(&kscope, &["runqlat", "--pid", &pid], || echo.wake(TIMES));
    check_total(&histogram(&printed, "@wait"));
    let words = ["runqlat", "--pids", "--milliseconds", "--interval", "1000"];
    let printed = traced(&kscope, &words, || echo.wake(TIMES));
    let found = printed.iter().find(|line| line["type"] == "hist");
    let by_pid = &found.expect("a histogram")["data"]["@by_pid"];
    check_total(&intervals(&by_pid[&pid]));
    assert!(by_pid.as_object().is_some_and(|all| all.len() > 1));
    echo.end();
}

#[test]
fn cpudist_measures_time_on_and_off_processors() {
    let kscope = kscope_or_skip!();
    let mut echo = Echo::start();
    let pid = echo.pid();
    let printed = traced(&kscope, &["cpudist", "--pid", &pid], || echo.wake(TIMES));
    check_total(&histogram(&printed, "@time"));
    let mut check = |more: &[&str], least: i64| {
        let words = [&["cpudist", "--offcpu", "--pid", &pid], more].concat();
        let printed = traced(&kscope, &words, || echo.wake(TIMES + 5));
        let mut waits = histogram(&printed, "@time");
        // Of 20 ms and more, in a histogram of powers of two.
        waits.retain(|(min, _)| (least..least * 16).contains(min));
        // What it waited for when the trace began is not known, and those are shorter before which it
        // came to a processor late.
        check_total(&waits);
    };
    check(&[], 16_384);
    check(&["--milliseconds"], 16);
    echo.end();
}

#[test]
fn cpudist_prints_in_intervals() {
    let kscope = kscope_or_skip!();
    let words = ["cpudist", "--interval", "1", "--duration", "1500ms"];
    let tracer = Tracer::start(&kscope, &words).unwrap_or_else(|left| panic!("{left:?}"));
    let left = tracer.finish();
    let printed = left.lines.iter().filter(|line| *line == "@time:").count();
    assert_eq!(printed, 2, "{left:?}");
}

#[test]
fn statsnoop_shows_calls_and_their_results() {
    let kscope = kscope_or_skip!();
    let own = std::process::id().to_string();
    let folder = Folder::new("stat");
    let check = |more: &[&str], expected: &[(&str, i64)]| {
        let words = [&["statsnoop", "--pid", &own, "--path", "/kscope-"], more].concat();
        let rows = traced(&kscope, &words, || {
            for path in ["/kscope-none", "/no-such", "/etc/kscope-none/x"] {
                assert!(std::fs::metadata(path).is_err());
            }
            assert!(std::fs::symlink_metadata(folder.path()).is_ok());
            assert!(!Path::new("/kscope-none").exists());
        });
        let found: Vec<(&str, i64)> = rows
            .iter()
            .map(|row| {
                let path = row["path"].as_str().expect("a path");
                assert_eq!(row["pid"].to_string(), own, "{row}");
                (path, row["err"].as_i64().expect("a number"))
            })
            .collect();
        assert_eq!(found, expected, "{rows:?}");
    };
    let none = ("/kscope-none", 2);
    let failed = [none, ("/etc/kscope-none/x", 2), none];
    check(&["--failed"], &failed);
    check(&["--errno", "ENOENT"], &failed);
    check(&["--errno", "EACCES"], &[]);
    check(
        &[],
        &[
            failed[0],
            failed[1],
            (&folder.path().to_string_lossy(), 0),
            none,
        ],
    );
}

#[test]
fn statsnoop_shows_calls_without_a_path() {
    let kscope = kscope_or_skip!();
    let folder = Folder::new("stat-null");
    let Some(program) = c_program("stat_null", &folder) else {
        skip!("compiler", "there was no C compiler to make the program");
    };
    let mut code = None;
    let rows = traced(&kscope, &["statsnoop", "--comm", "stat_null"], || {
        let status = Command::new(&program).stdin(Stdio::null()).status();
        code = status.expect("it runs").code();
    });
    let found: Vec<(&Value, &Value)> = rows.iter().map(|row| (&row["path"], &row["err"])).collect();
    // EFAULT
    let err = if code == Some(0) { 0 } else { 14 };
    assert_eq!(found, [(&"".into(), &err.into())], "{rows:?}");
}

/// Gives how often a function was called, by what funclatency says last.
fn calls(printed: &[Value]) -> u64 {
    let found = printed
        .iter()
        .find_map(|line| line["data"]["@ns"]["count"].as_u64());
    found.unwrap_or_else(|| panic!("no number: {printed:?}"))
}

#[test]
fn funclatency_measures_functions_of_programs() {
    let kscope = kscope_or_skip!();
    let folder = Folder::new("funclatency");
    let Some(program) = c_program("functions", &folder) else {
        skip!("compiler", "there was no C compiler to make the program");
    };
    let check = |function: &str, expected: u64, times: std::ops::Range<i64>| {
        let function = format!("{}:{function}", program.display());
        let words = ["funclatency", &function, "--milliseconds"];
        let printed = traced(&kscope, &words, || {
            let mut command = Command::new(&program);
            let status = command.args(["5", "10000"]).status().expect("it runs");
            assert_eq!(status.code(), Some(7));
        });
        assert_eq!(calls(&printed), expected, "{printed:?}");
        let histogram = histogram(&printed, "@time");
        assert_eq!(total(&histogram), expected, "{histogram:?}");
        let of_time = histogram.iter().filter(|(min, _)| times.contains(min));
        assert!(
            of_time.map(|(_, count)| count).sum::<u64>() > 0,
            "{histogram:?}"
        );
    };
    check("kscope_outer", 5, 0..1);
    // Five pauses of 10 ms.
    check("main", 1, 32..1024);
}

#[test]
fn funclatency_measures_functions_of_the_kernel() {
    let kscope = kscope_or_skip!();
    let mut echo = Echo::start();
    let pid = echo.pid();
    let words = [
        "funclatency",
        "vfs_read",
        "--pid",
        &pid,
        "--milliseconds",
        "--json",
    ];
    let tracer = match Tracer::start(&kscope, &words) {
        Ok(tracer) => tracer,
        Err(left) => {
            let refused = left
                .errors
                .iter()
                .any(|line| line.contains("hook functions"));
            assert!(refused, "{left:?}");
            echo.end();
            skip!("fentry", "this kernel refuses fentry programs");
        }
    };
    echo.wake(TIMES + 1);
    let left = tracer.interrupt();
    let lines = left.lines.iter();
    let printed: Vec<Value> = lines
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect();
    // The read that it was in when the trace began is not measured.
    assert_eq!(calls(&printed), u64::from(TIMES), "{printed:?}");
    let mut waits = histogram(&printed, "@time");
    waits.retain(|(min, _)| *min >= 16);
    assert_eq!(total(&waits), u64::from(TIMES), "{printed:?}");
    echo.end();
}

#[test]
fn funclatency_names_functions_that_are_not_there() {
    let kscope = kscope_or_skip!();
    let check = |words: &[&str], expected: &str| {
        let words = [&["funclatency"], words].concat();
        let left = Tracer::start(&kscope, &words).expect_err("it fails");
        assert_ne!(left.code, Some(0));
        let errors = left.errors.join("\n");
        assert!(errors.contains(expected), "{expected}: {errors}");
    };
    check(&[], "<FUNCTION>");
    check(&["vfs_reed"], "did you mean `vfs_read`");
    check(&["/bin/no-such:f"], "/bin/no-such");
}

/// Bytes that are written to a disk.
const WRITTEN: usize = 128 << 10;

/// Writes to a disk, or gives the reason to skip.
fn write() -> Result<(), String> {
    match disk::write(WRITTEN) {
        Ok(true) => Ok(()),
        Ok(false) => Err("files need not be on a block device here".to_owned()),
        Err(reason) => Err(reason),
    }
}

#[test]
fn biosnoop_and_biolatency_tell_what_is_written() {
    let kscope = kscope_or_skip!();
    let start = |words: &[&str]| {
        let tracer = Tracer::start(&kscope, &[words, &["--json"]].concat());
        tracer.unwrap_or_else(|left| panic!("{left:?}"))
    };
    // All of them over the same work.
    let tracers = [
        start(&["biosnoop", "--queue"]),
        start(&["biolatency", "--flags"]),
        start(&["biolatency", "--disks", "--queued"]),
        start(&["biolatency", "--disk", "0xfff00001"]),
    ];
    let done = write();
    let [rows, by_flags, by_disk, none] = tracers.map(|tracer| tracer.interrupt().json());
    if let Err(reason) = done {
        skip!("disk", "{reason}");
    }
    let is_loop = |row: &&Value| row["disk"] == "loop0";
    let number = |row: &Value, name: &str| row[name].as_u64().expect("a number");
    let is_write = |row: &&Value| {
        let flags = row["flags"].as_str().expect("a text");
        flags.starts_with('W')
    };
    let mut places: Vec<(u64, u64)> = Vec::new();
    for row in rows.iter().filter(is_loop) {
        assert!(number(row, "us") < 60_000_000, "{row}");
        assert!(number(row, "queue_us") < 60_000_000, "{row}");
        if is_write(&row) {
            places.push((number(row, "sector") * 512, number(row, "bytes")));
        }
    }
    // Each byte from the first on was written once.
    places.sort_unstable();
    let end = places.iter().fold(0, |end, (place, bytes)| {
        assert_eq!(*place, end, "{places:?}");
        end + bytes
    });
    assert_eq!(end, WRITTEN as u64, "{places:?}");

    let requests = |printed: &[Value], map: &str, keys: &[&str]| -> u64 {
        let line = printed.iter().find(|line| line["type"] == "hist");
        let maps = line.map(|line| &line["data"][map]);
        let of_key = |key: &&str| maps.map_or(0, |maps| total(&intervals(&maps[*key])));
        keys.iter().map(of_key).sum()
    };
    let writes = rows.iter().filter(is_write).count() as u64;
    assert_eq!(
        requests(&by_flags, "@by_flags", &["write", "write sync"]),
        writes,
        "{by_flags:?}"
    );
    let of_loop = rows.iter().filter(is_loop).count() as u64;
    assert_eq!(
        requests(&by_disk, "@by_disk", &["loop0"]),
        of_loop,
        "{by_disk:?}"
    );
    assert!(none.iter().all(|line| line["type"] != "hist"), "{none:?}");
}

#[test]
fn biosnoop_names_disks_that_are_not_there() {
    let kscope = kscope_or_skip!();
    let left = Tracer::start(&kscope, &["biosnoop", "--disk", "no-such"]).expect_err("it fails");
    let errors = left.errors.join("\n");
    assert!(errors.contains("there is no disk `no-such`"), "{errors}");
}
