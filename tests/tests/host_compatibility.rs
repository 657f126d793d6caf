//! Rows of tests/compatibility/rows.txt that say what bpftrace 0.27 prints: kscope prints the same.

use std::process::Command;

use kscope_tests::compatibility::{Row, rows};
use kscope_tests::program::Folder;
use kscope_tests::{kernel_or_skip, kscope_or_skip};

/// Gives the script so that it ends by itself.
fn ending(row: &Row) -> String {
    match row.script.contains("exit()") || row.script.contains("end {") {
        true => row.script.clone(),
        false => {
            let body = row.script.trim_end().strip_suffix('}');
            format!("{} exit(); }}\n", body.expect("a probe at its end"))
        }
    }
}

#[test]
fn rows_print_what_bpftrace_prints() {
    let _kernel = kernel_or_skip!();
    let program = kscope_or_skip!();
    let folder = Folder::new("compatibility");
    let file = folder.path().join("row.bt");
    // By this name it has bpftrace's command line.
    let peer = folder.path().join("bpftrace");
    std::os::unix::fs::symlink(&program, &peer).expect("a link");
    let mut wrong = Vec::new();
    let mut compared = 0;
    for row in rows().iter().filter(|row| !row.printed.is_empty()) {
        std::fs::write(&file, ending(row)).expect("a file");
        let output = Command::new("timeout")
            .args(["-s", "KILL", "20"])
            .arg(&peer)
            .args(["-q", "--unsafe"])
            .arg(&file)
            .output()
            .expect("kscope starts");
        let text = String::from_utf8_lossy(&output.stdout);
        let lines: Vec<&str> = text
            .lines()
            .filter(|line| !line.trim().is_empty())
            .collect();
        compared += 1;
        if lines != row.printed {
            let said = String::from_utf8_lossy(&output.stderr);
            wrong.push(format!(
                "{}\n  expected {:?}\n  found    {lines:?}\n{said}",
                row.name, row.printed
            ));
        }
    }
    assert!(compared > 80, "{compared} rows");
    assert!(
        wrong.is_empty(),
        "{} differ:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}
