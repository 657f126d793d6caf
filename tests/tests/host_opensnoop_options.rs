//! opensnoop's options, which mean the same on every kernel.

use std::path::Path;
use std::process::Command;

use kscope_tests::kscope_or_skip;
use kscope_tests::opens::paths_of;
use kscope_tests::program::Folder;

#[test]
fn options_by_name() {
    let tracer = kscope_or_skip!();
    let folder = Folder::new("host-opensnoop-names");
    let there = folder.path().join("there");
    let absent = folder.path().join("absent");
    std::fs::write(&there, "").expect("a file");
    let check = |extra: &[&str], expected: &[&Path]| {
        let rows = paths_of(&tracer, "host-opensnoop-names", extra, &[&there, &absent]);
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
fn the_header_is_there_before_the_first_row() {
    let program = kscope_or_skip!();
    assert_eq!(header_of(&program, &["--json"]), "");
    assert_eq!(header_of(&program, &[]), "PID COMM FD ERR PATH");
    assert_eq!(
        header_of(&program, &["--timestamp"]),
        "TIME PID COMM FD ERR PATH"
    );
}

/// Gives what opensnoop prints where nothing is opened that it shows, with single blanks.
fn header_of(program: &Path, extra: &[&str]) -> String {
    let output = Command::new(program)
        .args(["opensnoop", "--duration", "100ms", "--path", "no such path"])
        .args(extra)
        .output()
        .expect("kscope runs");
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8_lossy(&output.stdout);
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
