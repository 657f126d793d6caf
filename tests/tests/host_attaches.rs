//! What `kscope bpf check` says of attaching is what attaching comes to.

use kscope_bpf::{AttachOutcome, Loader};
use kscope_tests::assembly::kernel_types;
use kscope_tests::program::{Folder, kscope, run};
use kscope_tests::{kernel_or_skip, object_or_skip, objects, skip};
use serde_json::Value;

/// Gives the rows of `kscope bpf check` by program.
fn check(words: &[&str]) -> Vec<Value> {
    let words = [&["bpf", "check", "--json"], words].concat();
    let (_, out, err) = run(&kscope(), &words);
    let rows: Vec<Value> = out
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert!(!rows.is_empty(), "{err}");
    rows
}

#[test]
fn attaching_comes_to_what_was_said() {
    let kernel = kernel_or_skip!();
    let spec = object_or_skip!("attach");
    if kernel_types().is_none() {
        skip!("btf", "the kernel has no BTF");
    }
    let folder = Folder::new("attach");
    let file = folder.path().join("attach.bpf.o");
    std::fs::write(&file, objects::bytes("attach").expect("compiled")).expect("written");
    let rows = check(&[file.to_str().expect("text")]);
    let loader = Loader::new(kernel).btf(kernel_types());
    let object = loader.load(&spec).expect("loads");
    let mut said = [0, 0, 0];
    for row in &rows {
        let name = row["program"].as_str().expect("a name");
        let program = object.program_named(name).expect("loaded");
        let reason = row["reason"].as_str().unwrap_or_default();
        match object.attach_program(program) {
            AttachOutcome::Attached(_) => {
                said[0] += 1;
                assert_eq!(row["attaches"], "yes", "{row}");
                assert_eq!(program.needs_target(), None, "{name}");
            }
            AttachOutcome::NeedsTarget { to, method } => {
                said[1] += 1;
                assert_eq!(row["attaches"], "by hand", "{row}");
                assert_eq!(program.needs_target(), Some((to, method)), "{name}");
            }
            AttachOutcome::Failed(error) => {
                said[2] += 1;
                assert_eq!(row["attaches"], "no", "{row}: {error}");
                assert!(reason.ends_with(&error.to_string()), "{row}: {error}");
            }
        }
    }
    assert_eq!(said, [4, 6, 6]);
}

#[test]
fn types_alone_tell_of_tracepoints() {
    let bytes = match objects::bytes("attach") {
        Ok(bytes) => bytes,
        Err(reason) => skip!("clang", "{reason}"),
    };
    if kernel_types().is_none() {
        skip!("btf", "the kernel has no BTF");
    }
    let folder = Folder::new("attach-types");
    let file = folder.path().join("attach.bpf.o");
    std::fs::write(&file, bytes).expect("written");
    let rows = check(&[
        "--btf",
        "/sys/kernel/btf/vmlinux",
        file.to_str().expect("text"),
    ]);
    let check = |name: &str, attaches: Value, part: &str| {
        let row = rows.iter().find(|row| row["program"] == name);
        let row = row.expect("a row");
        assert_eq!(row["fits"], "yes", "{row}");
        assert_eq!(row["loads"], Value::Null, "{row}");
        assert_eq!(row["attaches"], attaches, "{row}");
        let reason = row["reason"].as_str().unwrap_or_default();
        assert!(reason.contains(part), "{row}");
    };
    let no = || Value::from("no");
    check("raw", "yes".into(), "");
    check("typed", "yes".into(), "");
    check(
        "raw_misspelt",
        no(),
        "there is no raw tracepoint sys_enterr",
    );
    check("raw_misspelt", no(), "did you mean sys_enter");
    check("point_misspelt", no(), "did you mean sched_switch");
    check("writable_nowhere", no(), "a module may have it");
    check("raw_unnamed", "by hand".into(), "");
    // The category is in no type, and calls have none.
    check("point", Value::Null, "");
    check("within", Value::Null, "");
    check("of_an_interface", Value::Null, "");
}
