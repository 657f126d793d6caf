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
