//! Files that a test opens itself under opensnoop.

use std::fs::File;
use std::path::Path;

use serde_json::Value;

use crate::program::Tracer;

/// Opens paths while opensnoop runs with these arguments; gives the paths of its rows. `tag` is a
/// part of all paths that no other test opens: their threads are of the same process.
///
/// # Panics
///
/// Where opensnoop cannot attach or ends in failure.
pub fn paths_of(tracer: &Path, tag: &str, extra: &[&str], opened: &[&Path]) -> Vec<(String, i64)> {
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
