//! What `kscope bpf check --btf` says of a kernel by its types alone: here the running kernel's, so that
//! the kernel itself says whether it is so.

use std::path::Path;
use std::process::Command;

use kscope_bpf::spec::ByteOrder;
use kscope_tests::assembly::kernel_types;
use kscope_tests::program::{Folder, kscope, run};
use kscope_tests::selftests::clang;
use kscope_tests::{kernel_or_skip, objects, skip};
use serde_json::Value;

const TYPES: &str = "/sys/kernel/btf/vmlinux";

/// Programs, and what is said of those that do not load.
const PROGRAMS: &[(&str, &str)] = &[
    ("guarded", ""),
    ("guarded_by_a_constant", ""),
    ("guarded_by_data", ""),
    ("guarded_helper", ""),
    ("guarded_function", ""),
    (
        "not_guarded",
        "cannot do without the offset of struct task_struct___new.kscope_no_such_member",
    ),
    (
        "guarded_by_what_may_change",
        "cannot do without the offset of",
    ),
    ("function_not_guarded", "cannot do without the offset of"),
    ("helper_not_guarded", "helper"),
    (
        "too_many_arguments",
        "reads more arguments than raw tracepoint sched_switch has",
    ),
    ("tracepoint", ""),
    (
        "tracepoint_misspelt",
        "no BTF-typed tracepoint sched_swich; did you mean sched_switch",
    ),
    (
        "function_not_named",
        "does not say which kernel function it is for",
    ),
    (
        "function_misspelt",
        "there is no kernel function vfs_raed; did you mean vfs_read",
    ),
    (
        "hook_misspelt",
        "there is no LSM hook fil_open; did you mean file_open",
    ),
    (
        "iterator_misspelt",
        "there is no BPF iterator tsk; did you mean task",
    ),
    (
        "member_misspelt",
        "no member ssthrehs in struct tcp_congestion_ops; did you mean ssthresh",
    ),
    (
        "member_of_no_table",
        "no table of functions tcp_congestion_opps; did you mean tcp_congestion_ops",
    ),
    ("member_of_nothing", "is in no table of functions"),
];

/// Gives the rows of `kscope bpf check`.
fn check(words: &[&str]) -> Vec<Value> {
    let words = [&["bpf", "check", "--json"], words].concat();
    let (code, out, errors) = run(&kscope(), &words);
    assert!(matches!(code, Some(0 | 1)), "{errors}");
    let row = |line: &str| serde_json::from_str(line).expect("JSON");
    let rows: Vec<Value> = out.lines().map(row).collect();
    assert!(!rows.is_empty(), "{words:?}: {errors}");
    rows
}

fn fails(words: &[&str], parts: &[&str]) {
    let (code, out, errors) = run(&kscope(), words);
    assert_eq!((code, out.as_str()), (Some(1), ""), "{words:?}: {errors}");
    for part in parts {
        assert!(errors.contains(part), "{words:?}: no `{part}` in: {errors}");
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("text")
}

#[test]
fn types_alone_say_what_the_kernel_says() {
    let _ = kernel_or_skip!();
    let bytes = match objects::bytes("elsewhere") {
        Ok(bytes) => bytes,
        Err(reason) => skip!("clang", "{reason}"),
    };
    if kernel_types().is_none() {
        skip!("btf", "the kernel has no BTF");
    }
    let folder = Folder::new("elsewhere");
    let file = folder.path().join("elsewhere.bpf.o");
    std::fs::write(&file, bytes).expect("written");
    let told = check(&["--btf", TYPES, text(&file)]);
    let here = check(&[text(&file)]);
    assert_eq!([told.len(), here.len()], [PROGRAMS.len(); 2]);
    for ((told, here), (name, part)) in told.iter().zip(&here).zip(PROGRAMS) {
        assert_eq!(told["program"], *name);
        assert_eq!(told["fits"], here["loads"], "{told} {here}");
        let reason = told["reason"].as_str().unwrap_or_default();
        assert!(reason.contains(part), "{name}: {reason}");
        let attaches = [told, here].map(|row| row["attaches"] != "no");
        assert_eq!(attaches[0], attaches[1], "{told} {here}");
        let runs = told["fits"] == "yes" && attaches[0];
        assert_eq!(runs, part.is_empty(), "{told}");
        // What is missing there is not to be looked for here.
        let hint = told["hint"].as_str().unwrap_or_default();
        assert!(
            !hint.contains("/proc/") && !hint.contains("/sys/"),
            "{told}"
        );
    }
}

#[test]
fn a_kernel_has_its_types_in_a_section() {
    let _ = kernel_or_skip!();
    let bytes = match objects::bytes("elsewhere") {
        Ok(bytes) => bytes,
        Err(reason) => skip!("clang", "{reason}"),
    };
    let Some(compiler) = clang() else {
        skip!("clang", "clang is missing");
    };
    if kernel_types().is_none() {
        skip!("btf", "the kernel has no BTF");
    }
    if Command::new("objcopy").arg("--version").output().is_err() {
        skip!("objcopy", "objcopy is missing");
    }
    let folder = Folder::new("vmlinux");
    let object = folder.path().join("elsewhere.bpf.o");
    std::fs::write(&object, bytes).expect("written");
    let (plain, kernel) = (folder.path().join("none"), folder.path().join("kernel"));
    // An object of this machine's, and the same with a section more.
    let compiled = Command::new(compiler)
        .args(["-x", "c", "-c", "/dev/null", "-o"])
        .arg(&plain)
        .status();
    assert!(compiled.expect("clang").success());
    let added = Command::new("objcopy")
        .arg(format!("--add-section=.BTF={TYPES}"))
        .args([&plain, &kernel])
        .status();
    assert!(added.expect("objcopy").success());
    let kernel = text(&kernel);
    for row in check(&["--btf", kernel, text(&object), "--program=guarded"]) {
        assert_eq!(row["fits"], "yes", "{row}");
    }
    let of = |words: &[&str]| {
        let (code, out, errors) = run(&kscope(), words);
        assert_eq!(code, Some(0), "{words:?}: {errors}");
        (out, errors)
    };
    let (out, _) = of(&["btf", "dump", kernel, "struct list_head"]);
    assert_eq!(out, of(&["btf", "dump", "vmlinux", "struct list_head"]).0);
    let (out, _) = of(&["btf", "list", kernel]);
    assert_eq!(out, of(&["btf", "list", "vmlinux"]).0);
    let minimal = folder.path().join("minimal.btf");
    let words = ["btf", "minimize", "--btf", kernel, "-o", text(&minimal)];
    let (_, told) = of(&[&words[..], &[text(&object)]].concat());
    // What its programs ask for in vain is told.
    let part = "program not_guarded does not find the offset of";
    assert!(told.contains(part), "{told}");
    // By the name of the file.
    assert!(told.contains(" (kernel type "), "{told}");
    assert!(!told.contains("(vmlinux type"), "{told}");
    fails(&["btf", "dump", text(&plain)], &["has no section .BTF"]);
}

#[test]
fn files_that_are_no_types_and_objects_that_have_none() {
    let Some(compiler) = clang() else {
        skip!("clang", "clang is missing");
    };
    let folder = Folder::new("no-types");
    let path = |name: &str| folder.path().join(name);
    let compile = |name: &str, source: &str, words: &[&str]| {
        let (source_file, object) = (path("a.c"), path(name));
        std::fs::write(&source_file, source).expect("written");
        let done = Command::new(&compiler)
            .args(["-O2", "-c"])
            .args(words)
            .arg("-o")
            .args([&object, &source_file])
            .status();
        assert!(done.expect("clang").success());
        object
    };
    let program = "__attribute__((section(\"socket\"))) int p(void *c) { return 0; }";
    let other = match ByteOrder::HOST {
        ByteOrder::Little => ByteOrder::Big,
        ByteOrder::Big => ByteOrder::Little,
    };
    let other = compile("other.o", program, &["-g", "-target", other.clang_target()]);
    let (code, out, errors) = run(&kscope(), &["bpf", "check", text(&other)]);
    let way_out = format!(
        "compile it with clang -target {}",
        ByteOrder::HOST.clang_target()
    );
    assert_eq!(code, Some(1), "{errors}");
    assert!(
        out.contains("endian machines, and this one is") && out.contains(&way_out),
        "{out}"
    );
    let words = ["bpf", "check", "--btf", TYPES, text(&other)];
    let (_, out, _) = run(&kscope(), &words);
    assert!(out.contains(&way_out) || kernel_types().is_none(), "{out}");
    let empty = compile("empty.o", "int x = 1;", &["-g", "-target", "bpf"]);
    let empty = text(&empty);
    fails(
        &["bpf", "check", empty],
        &["empty.o has no programs", "HINT", "SEC("],
    );
    let bare = compile("bare.o", program, &["-target", "bpf"]);
    let into = path("minimal.btf");
    let into = text(&into);
    if kernel_types().is_some() {
        let minimize = ["btf", "minimize", "-o", into];
        let of_bare = [&minimize[..], &[text(&bare)]].concat();
        fails(&of_bare, &["bare.o has no types of its own", "-g"]);
        let (code, _, told) = run(&kscope(), &[&minimize[..], &[empty]].concat());
        assert_eq!(code, Some(0), "{told}");
        assert!(told.contains("empty.o asks for no type"), "{told}");
    }
    let asks = "struct s { int x; } __attribute__((preserve_access_index));\
        __attribute__((section(\"socket\"))) int p(void *c) {\
        return __builtin_preserve_field_info(((struct s *)0)->x, 2); }";
    let asks = compile("asks.o", asks, &["-g", "-target", "bpf"]);
    if kernel_types().is_some() {
        let words = ["btf", "minimize", "-o", into, text(&asks)];
        let (code, _, told) = run(&kscope(), &words);
        assert_eq!(code, Some(0), "{told}");
        assert!(
            told.contains("none of what the programs ask for is in"),
            "{told}"
        );
    }
    // Cut, damaged, absent.
    let whole = std::fs::read(empty).expect("written");
    let cut = path("cut.o");
    std::fs::write(&cut, &whole[..whole.len() / 2]).expect("written");
    fails(
        &["bpf", "dump", text(&cut)],
        &["is no eBPF object", "HINT", "damaged or cut"],
    );
    let at = whole.windows(4).position(|four| four == [0x9f, 0xeb, 1, 0]);
    let mut damaged = whole.clone();
    damaged[at.expect("types") + 4] = 0xff;
    std::fs::write(&cut, &damaged).expect("written");
    fails(
        &["bpf", "dump", text(&cut)],
        &["section .BTF", "HINT", "damaged"],
    );
    fails(
        &["btf", "dump", text(&cut)],
        &["cannot read types from", "BTF"],
    );
    fails(
        &["btf", "dump", "kscope/no_such"],
        &["kscope/no_such", "ENOENT"],
    );
    if kernel_types().is_some() {
        let both = [
            "there is no type tsk_struct, and no file or module",
            "task_struct",
        ];
        fails(&["btf", "dump", "tsk_struct"], &both);
    }
}
