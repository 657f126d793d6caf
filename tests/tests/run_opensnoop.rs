//! opensnoop by each way to trace that the kernel has; runs on the host and in guests.

use std::fs::File;
use std::path::Path;

use kscope_bpf::Features;
use kscope_tests::assembly::kernel_types;
use kscope_tests::program::{Folder, Tracer, kscope};
use kscope_tests::{kernel_or_skip, skip};
use serde_json::Value;

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
    let _kernel = kernel_or_skip!();
    let Some(tracer) = kscope() else {
        skip!("kscope", "kscope is not built")
    };
    traces_both(&tracer, &["--buffer", "ring"]);
    traces_both(&tracer, &["--buffer", "perf"]);
}

#[test]
fn by_kprobes() {
    let kernel = kernel_or_skip!();
    let Some(tracer) = kscope() else {
        skip!("kscope", "kscope is not built")
    };
    if !Features::new(kernel, kernel_types())
        .kprobe()
        .is_available()
    {
        skip!("kprobe", "this kernel has no kprobes");
    }
    traces_both(&tracer, &["--probe", "kprobe"]);
    traces_both(&tracer, &["--probe", "kprobe", "--buffer", "perf"]);
}

/// Opens paths while opensnoop runs with these arguments; gives the paths of its rows. `tag` is a
/// part of all paths that no other test opens: their threads are of the same process.
fn paths_of(tracer: &Path, tag: &str, extra: &[&str], opened: &[&Path]) -> Vec<(String, i64)> {
    let pid = std::process::id().to_string();
    let arguments = ["opensnoop", "--json", "--pid", &pid];
    let only = match extra.contains(&"--path") {
        true => &[][..],
        false => &["--path", tag],
    };
    let arguments: Vec<&str> = arguments.iter().chain(only).chain(extra).copied().collect();
    let tracer = match Tracer::start(tracer, &arguments) {
        Ok(tracer) => tracer,
        Err(finished) => panic!("opensnoop {extra:?}: {finished:?}"),
    };
    for path in opened {
        let _ = File::open(path);
    }
    let finished = tracer.interrupt();
    assert_eq!(finished.code, Some(0), "{finished:?}");
    let row = |line: &String| {
        let row: Value = serde_json::from_str(line).expect("a row");
        let path = row["path"].as_str().expect("a path").to_owned();
        (path, row["err"].as_i64().expect("an errno"))
    };
    finished.lines.iter().map(row).collect()
}

#[test]
fn options_by_name() {
    let _kernel = kernel_or_skip!();
    let Some(tracer) = kscope() else {
        skip!("kscope", "kscope is not built")
    };
    let folder = Folder::new("run-opensnoop-names");
    let there = folder.path().join("there");
    let absent = folder.path().join("absent");
    std::fs::write(&there, "").expect("a file");
    let check = |extra: &[&str], expected: &[&Path]| {
        let rows = paths_of(&tracer, "run-opensnoop-names", extra, &[&there, &absent]);
        let paths: Vec<&Path> = rows.iter().map(|(path, _)| Path::new(path)).collect();
        assert_eq!(paths, expected, "{extra:?}");
    };
    check(&[], &[&there, &absent]);
    check(&["--errno", "ENOENT"], &[&absent]);
    check(&["--errno", "2"], &[&absent]);
    check(&["--errno", "EPERM"], &[]);
    check(&["--flags", "O_CLOEXEC"], &[&there, &absent]);
    check(&["--flags", "O_CLOEXEC|O_TRUNC"], &[]);
    check(&["--uid", "0"], &[&there, &absent]);
    check(&["--uid", "4711"], &[]);
    check(&["--failed"], &[&absent]);
}

#[test]
fn paths_are_whole_or_marked() {
    let _kernel = kernel_or_skip!();
    let Some(tracer) = kscope() else {
        skip!("kscope", "kscope is not built")
    };
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
    let _kernel = kernel_or_skip!();
    let Some(tracer) = kscope() else {
        skip!("kscope", "kscope is not built")
    };
    let folder = Folder::new("run-opensnoop-count");
    let path = folder.path().join("absent");
    let paths = vec![path.as_path(); 500];
    let rows = paths_of(&tracer, "run-opensnoop-count", &["--count", "7"], &paths);
    assert_eq!(rows.len(), 7);
    let before = std::time::Instant::now();
    let output = std::process::Command::new(&tracer)
        .args(["opensnoop", "--duration", "500ms", "--path", "no such path"])
        .output()
        .expect("kscope runs");
    assert!(output.status.success(), "{output:?}");
    assert!(before.elapsed() >= std::time::Duration::from_millis(500));
}
