use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;

use super::*;
use crate::initrd::tests::machine;
use crate::tree::Tree;

#[test]
fn a_test_is_written_down_before_the_crash() {
    let tree = Tree::new("test");
    tree.write("dev/kmsg", "");
    tree.write("proc/sysrq-trigger", "");
    let test = LastTest::new(0x65, 7, "6.1");
    let root = tree.root();
    let error = crash(&root, &test, || {
        assert_eq!(LastTest::read(&root).as_ref(), Some(&test), "on disk first");
    });
    assert!(error.is_err(), "a file does not crash");
    assert_eq!(root.text("/proc/sysrq-trigger").expect("written"), "c");
    let line = root.text("/dev/kmsg").expect("written");
    assert_eq!(line, "<0>kscope kdump test 65-00000007");
}

const FOLDER: &str = "2026-11-23-180203-box";

fn well(error: &Error, what: &str, way_out: &str) {
    assert!(error.to_string().contains(what), "{error}");
    assert!(
        error.way_out().unwrap_or_default().contains(way_out),
        "{error:?}"
    );
}

#[test]
fn a_test_is_found_by_its_id() {
    let tree = machine();
    tree.write("proc/sys/kernel/osrelease", "6.1\n");
    let root = tree.root();
    let config = Config::default();
    let gather = || Facts::gather(&root, &config).expect("facts");
    let mut test = LastTest::new(1_795_456_923, 9, "6.1");
    let error = test.verify(&root, &config, &gather());
    well(
        &error.expect_err("no crash"),
        "no crash in /var/crash",
        "console",
    );
    let folder = format!("var/crash/{FOLDER}");
    tree.write(
        &format!("{folder}/dmesg.txt"),
        format!("[1] {}\n", test.line()),
    );
    let error = test.verify(&root, &config, &gather());
    well(
        &error.expect_err("the log alone"),
        "no whole dump",
        "capture.log",
    );
    tree.write(&format!("{folder}/vmcore"), "KDUMP");
    let place = test.verify(&root, &config, &gather()).expect("it is there");
    assert_eq!(Path::new(&place), Path::new("/").join(&folder));
    let read = LastTest::read(&root).and_then(|test| test.found);
    assert_eq!(read.as_deref(), Some(FOLDER));
}

/// Puts an ssh into the tree that runs the words here, after its options, or fails as ssh does.
fn plant_ssh(tree: &Tree, fails: bool) {
    let last = match fails {
        true => "echo 'Connection refused' >&2; exit 255",
        false => "for last; do :; done; exec sh -c \"$last\"",
    };
    tree.write("usr/bin/ssh", format!("#!/bin/sh\n{last}\n"));
    let place = tree.root().path("usr/bin/ssh");
    std::fs::set_permissions(place, Permissions::from_mode(0o755)).expect("ours");
}

#[test]
fn a_test_is_found_on_another_machine() {
    let tree = machine();
    tree.write("proc/sys/kernel/osrelease", "6.1\n");
    let root = tree.root();
    let crashes = root.path("srv/crash");
    let text = format!(
        "target = ssh:dump@192.0.2.9\npath = {}\n",
        crashes.display()
    );
    let config = Config::parse(&text).expect("a target");
    let gather = || Facts::gather(&root, &config).expect("facts");
    let mut test = LastTest::new(1_795_456_923, 9, "6.1");
    plant_ssh(&tree, true);
    let error = test.verify(&root, &config, &gather()).expect_err("no way");
    well(&error, "cannot be asked: Connection refused", "kdump check");
    plant_ssh(&tree, false);
    let error = test.verify(&root, &config, &gather()).expect_err("nothing");
    well(&error, "no crash in 192.0.2.9:", "console");
    let log = format!("[1] {}\n", test.line());
    tree.write(&format!("srv/crash/{FOLDER}/dmesg.txt"), log);
    tree.write("srv/crash/2026-11-22-180203-box/dmesg.txt", "another");
    let error = test.verify(&root, &config, &gather()).expect_err("a log");
    well(&error, "no whole dump", "capture.log");
    tree.write(&format!("srv/crash/{FOLDER}/vmcore.flat"), "makedumpfile");
    let place = test.verify(&root, &config, &gather()).expect("it is there");
    assert!(place.ends_with(FOLDER), "{place}");
    let read = LastTest::read(&root).and_then(|test| test.found);
    assert_eq!(read.as_deref(), Some(FOLDER));
}
