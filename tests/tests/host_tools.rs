//! What built-in tools promise beyond their rows: headers, sums over intervals, requests told apart,
//! processes with a root of their own.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use kscope_tests::program::{Folder, Tracer, c_program, run};
use kscope_tests::{kscope_or_skip, skip};
use serde_json::Value;

fn start(kscope: &Path, words: &[&str]) -> Tracer {
    Tracer::start(kscope, words).unwrap_or_else(|left| panic!("{left:?}"))
}

#[test]
fn headers_come_before_rows() {
    let kscope = kscope_or_skip!();
    let check = |words: &[&str], first: &str, last: &str| {
        // Nothing has this id, and no packet this port.
        let words = [words, &["--duration", "100ms"]].concat();
        let (code, output, errors) = run(&kscope, &words);
        assert_eq!(code, Some(0), "{words:?}: {errors}");
        let lines: Vec<&str> = output.lines().collect();
        let [header] = lines.as_slice() else {
            panic!("{words:?}: {output}");
        };
        let names: Vec<&str> = header.split_whitespace().collect();
        assert_eq!(names.first(), Some(&first), "{header}");
        assert_eq!(names.last(), Some(&last), "{header}");
    };
    check(&["tcpdrop", "--dport", "1"], "FAMILY", "LOCATION");
    // Stacks are below their rows.
    let words = ["tcpdrop", "--dport", "1", "--stack", "--timestamp"];
    check(&words, "TIME", "LOCATION");
    let words = ["biosnoop", "--queue", "--disk", "0xfff00001"];
    check(&words, "PID", "US");
    check(&["oomkill"], "PID", "ADJ");
}

#[test]
fn intervals_lose_nothing_between_print_and_clear() {
    let kscope = kscope_or_skip!();
    let words = [
        "syscount",
        "--json",
        "--comm",
        "interval-work",
        "--interval",
        "1",
    ];
    let tracer = start(&kscope, &words);
    let thread = std::thread::Builder::new().name("interval-work".to_owned());
    let thread = thread.spawn(|| {
        let begun = Instant::now();
        let mut calls = 0u64;
        while begun.elapsed() < Duration::from_millis(2500) {
            for _ in 0..1000 {
                assert_ne!(std::os::unix::process::parent_id(), 0);
            }
            calls += 1000;
        }
        calls
    });
    let made = thread.expect("a thread").join().expect("it ends");
    let printed = tracer.interrupt().json();
    let counts = printed
        .iter()
        .map(|line| &line["data"]["@calls"]["getppid"]);
    let counts: Vec<u64> = counts.filter_map(Value::as_u64).collect();
    assert!(counts.len() >= 3, "{printed:?}");
    // A count that is under way in the moment that its key is taken out goes with it.
    let lost = made - counts.iter().sum::<u64>();
    assert!(
        lost <= 2 * counts.len() as u64,
        "{lost} of {made}: {counts:?}"
    );
}

#[test]
fn biosnoop_tells_requests_for_one_sector_apart() {
    const READERS: usize = 4;
    const TIMES: usize = 50;
    let kscope = kscope_or_skip!();
    let program = std::env::current_exe().expect("proc");
    let path = program.with_file_name(format!("kscope-sector-{}", std::process::id()));
    std::fs::write(&path, [7; 4096]).expect("written");
    let file = File::open(&path).expect("ours");
    file.sync_all().expect("written out");
    let device = file.metadata().expect("ours").dev();
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    let direct = OpenOptions::new()
        .read(true)
        .custom_flags(rustix::fs::OFlags::DIRECT.bits() as i32)
        .open(&path);
    std::fs::remove_file(&path).expect("ours");
    let on_disk = Path::new(&format!("/sys/dev/block/{major}:{minor}")).exists();
    let (true, Ok(file)) = (on_disk, direct) else {
        skip!("disk", "files are not on a block device here");
    };
    let tracer = start(&kscope, &["biosnoop", "--json"]);
    std::thread::scope(|scope| {
        for _ in 0..READERS {
            let reader = std::thread::Builder::new().name("same-sector".to_owned());
            let reader = reader.spawn_scoped(scope, || {
                let mut buffer = vec![0u8; 8192];
                let at = buffer.as_ptr().align_offset(4096);
                for _ in 0..TIMES {
                    let part = &mut buffer[at..at + 4096];
                    file.read_exact_at(part, 0).expect("read");
                }
            });
            reader.expect("a thread");
        }
    });
    let mut rows = tracer.interrupt().json();
    rows.retain(|row| row["comm"] == "same-sector" && row["bytes"] == 4096);
    let sectors: BTreeSet<u64> = rows
        .iter()
        .filter_map(|row| row["sector"].as_u64())
        .collect();
    assert_eq!(sectors.len(), 1, "{sectors:?}");
    assert_eq!(rows.len(), READERS * TIMES);
    assert!(rows.iter().all(|row| row["pid"] == std::process::id()));
}

#[test]
fn funclatency_tells_percentiles_and_functions() {
    let kscope = kscope_or_skip!();
    let folder = Folder::new("percentiles");
    let Some(program) = c_program("functions", &folder) else {
        skip!("compiler", "there was no C compiler to make the program");
    };
    let traced = |function: &str, more: &[&str]| {
        let function = format!("{}:{function}", program.display());
        let words = [&["funclatency", &function, "--json"], more].concat();
        let tracer = start(&kscope, &words);
        // Twenty pauses of 5 ms.
        let status = Command::new(&program).args(["20", "5000"]).status();
        assert_eq!(status.expect("it runs").code(), Some(7));
        tracer.interrupt().json()
    };
    let number = |row: &Value, name: &str| row[name].as_u64().expect("a number");
    let rows = traced("main", &["--percentiles"]);
    let [row] = rows.as_slice() else {
        panic!("not one row: {rows:?}");
    };
    assert_eq!(row["calls"], 1, "{row}");
    for name in ["avg_ns", "p50_ns", "p99_ns", "max_ns"] {
        assert_eq!(number(row, name), number(row, "max_ns"), "{row}");
    }
    assert!(number(row, "max_ns") >= 100_000_000, "{row}");

    let rows = traced("kscope_outer", &["--percentiles"]);
    let row = rows.first().expect("a row");
    assert_eq!(row["calls"], 20, "{row}");
    let order = ["p50_ns", "p90_ns", "p95_ns", "p99_ns", "p999_ns", "max_ns"];
    let times = order.map(|name| number(row, name));
    assert!(times.is_sorted() && times[0] > 0, "{row}");

    // The outer one calls the inner one, which alone is measured of the two.
    let printed = traced("kscope_*", &["--functions"]);
    let map = printed.iter().find(|line| line["type"] == "hist");
    let map = &map.expect("histograms")["data"]["@by_function"];
    let buckets = map["kscope_inner"].as_array().expect("one of it");
    let counts = buckets.iter().filter_map(|bucket| bucket["count"].as_u64());
    assert_eq!(counts.sum::<u64>(), 20, "{map}");
    assert_eq!(map.as_object().map(serde_json::Map::len), Some(1), "{map}");
}

/// Gives the files that a program needs to run, itself included.
fn needed(program: &str) -> Option<Vec<PathBuf>> {
    let output = Command::new("ldd").arg(program).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let words = text.split_whitespace().filter(|word| word.starts_with('/'));
    let files = words.map(PathBuf::from);
    Some(files.chain([PathBuf::from(program)]).collect())
}

#[test]
fn bashreadline_sees_a_bash_in_a_root_of_its_own() {
    let kscope = kscope_or_skip!();
    let folder = Folder::new("root");
    let Some(files) = needed("/bin/bash").filter(|files| files.len() > 1) else {
        skip!("bash", "there is no /bin/bash, or no ldd");
    };
    for file in files {
        let inside = folder
            .path()
            .join(file.strip_prefix("/").expect("absolute"));
        std::fs::create_dir_all(inside.parent().expect("a folder")).expect("made");
        std::fs::copy(&file, &inside).expect("copied");
    }
    let mut shell = Command::new("chroot")
        .arg(folder.path())
        .args(["/bin/bash", "--norc", "--noprofile", "-i"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("chroot starts");
    let mut input = shell.stdin.take().expect("its input");
    let mut output = shell.stdout.take().expect("its output");
    // It is there, and in its root, once it answers.
    input.write_all(b"echo x\n").expect("it reads");
    output.read_exact(&mut [0; 2]).expect("it answers");
    let pid = shell.id().to_string();
    let mut tracer = start(&kscope, &["bashreadline", "--json", "--pid", &pid]);
    // The call of readline that it is in when the trace begins is not seen to return.
    input
        .write_all(b": before\n: kscope_marker\n")
        .expect("it reads");
    let line = tracer.line().expect("a row");
    let row: Value = serde_json::from_str(&line).expect("JSON");
    assert_eq!(row["line"], ": kscope_marker", "{row}");
    assert_eq!(row["pid"], shell.id(), "{row}");
    drop(input);
    shell.wait().expect("it ends");
    // What it was to trace has ended.
    assert_eq!(tracer.finish().code, Some(0));
}
