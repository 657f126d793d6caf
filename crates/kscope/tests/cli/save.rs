//! `kscope kdump save`

use std::path::PathBuf;

use kscope_testkit::dumps::{KDUMP, folder};

use super::kscope;

fn scratch(name: &str) -> PathBuf {
    let name = format!("save-{}-{name}", std::process::id());
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_file(&path);
    path
}

#[test]
fn what_cannot_be_saved_is_told_with_the_way_out() {
    let ran = kscope(&["kdump", "save", "-o", "/nowhere/vmcore", "/nonexistent"]);
    let ran = ran.code(1);
    assert!(
        ran.err.contains("cannot open the dump /nonexistent"),
        "{}",
        ran.err
    );
    let ran = kscope(&["kdump", "save", "-o", "/nowhere/vmcore", "/etc/passwd"]).code(1);
    assert!(ran.err.contains("HINT: dumps are ELF files"), "{}", ran.err);
    for words in [
        &["-d", "32", "-o", "x"][..],
        &["-t", "0", "-o", "x"],
        &["-c", "rar", "-o", "x"],
        &["--no-log", "--log", "y", "-o", "x"],
        &["--log", "-", "-o", "-"],
        &[],
    ] {
        let mut all = vec!["kdump", "save"];
        all.extend(words);
        kscope(&all).code(2);
    }
}

#[test]
fn a_dump_is_saved_with_its_log_and_never_over_another() {
    let Some(folder) = folder() else {
        return;
    };
    let source = folder.join(KDUMP);
    let source = source.to_str().expect("a name");
    let output = scratch("vmcore");
    let name = output.to_str().expect("a name");
    let log = PathBuf::from(format!("{name}-dmesg.txt"));
    let _ = std::fs::remove_file(&log);
    let words = ["kdump", "save", "-c", "none", "-o", name, source];
    let ran = kscope(&words).code(0);
    assert!(
        ran.err.contains("35018 pages; 4841 of them zeros"),
        "{}",
        ran.err
    );
    let text = std::fs::read_to_string(&log).expect("a log");
    assert!(text.contains("Kernel panic - not syncing: sysrq triggered crash"));
    let shown = kscope(&["crash", name, "log"]).code(0);
    assert_eq!(shown.out, text);
    let again = kscope(&words).code(1);
    assert!(again.err.contains("is there already"), "{}", again.err);
    assert!(again.err.contains("-f to write over"), "{}", again.err);
    std::fs::remove_file(&output).expect("removed");
    // Without a log there is the dump, and something has failed.
    let words = ["kdump", "save", "-c", "none", "--log", "/nowhere/log"];
    let ran = kscope(&[&words[..], &["-o", name, source]].concat()).code(1);
    assert!(ran.err.contains("cannot write /nowhere/log"), "{}", ran.err);
    assert!(output.exists());
    for file in [output, log] {
        std::fs::remove_file(file).expect("removed");
    }
}

#[test]
fn what_is_read_is_never_written_over() {
    let Some(folder) = folder() else {
        return;
    };
    let output = scratch("again");
    let name = output.to_str().expect("a name");
    let left = format!("{name}-incomplete");
    std::fs::copy(folder.join(KDUMP), &left).expect("copied");
    let len = std::fs::metadata(&left).expect("a file").len();
    for to in [name, left.as_str()] {
        kscope(&["kdump", "save", "--no-log", "-f", "-o", to, &left])
            .code(1)
            .says(&["is what is read, and would be written over"]);
        assert_eq!(std::fs::metadata(&left).expect("a file").len(), len);
    }
    std::fs::create_dir_all(&output).expect("a folder");
    kscope(&["kdump", "save", "--no-log", "-f", "-o", name, &left])
        .code(1)
        .says(&["is no file"]);
    std::fs::remove_dir(&output).expect("still empty");
    std::fs::remove_file(left).expect("removed");
}
