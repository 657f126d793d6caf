//! `kscope check`, which needs no privilege: all findings in one run, with place, caret and hint.

use super::{kscope, scratch};

/// Demands that a script compiles, with or without warnings.
#[track_caller]
fn good(script: &str) -> String {
    kscope(&["check", "-e", script]).code(0).out
}

/// Demands that a script does not, and parts of the findings.
#[track_caller]
fn bad(script: &str, parts: &[&str]) {
    let finished = kscope(&["check", "-e", script]).code(1).says(parts);
    assert_eq!(finished.out, "");
}

#[test]
fn good_scripts() {
    assert!(good("begin { exit(); }").starts_with("stdin: 1 probe, 1 program, "));
    let two = good("begin { @a = 1; } end { printf(\"%d\", @a); }");
    assert!(two.starts_with("stdin: 2 probes, 2 programs, "), "{two}");
    good("interval:s:1 { print((a=1, b=\"x\")); time(); } profile:hz:99 { @[kstack] = count(); }");
    good("tracepoint:syscalls:sys_enter_openat { print(str(args.filename)); }");
    good("config = { max_map_keys = 10 } begin { @[1] = 1; }");
    good("begin { print(getopt(\"pid\", 3)); }");
}

#[test]
fn a_script_without_probes_is_told_so() {
    for script in ["// nothing", "let @a = hash(1);"] {
        let finished = kscope(&["check", "-e", script]).code(0);
        let finished = finished.says(&["WARNING: stdin has no probe"]);
        assert!(
            finished.out.starts_with("stdin: 0 probes, "),
            "{}",
            finished.out
        );
    }
}

#[test]
fn all_errors_in_one_run() {
    let script = "begin { coom; }\nend { prinft(1); }\ninterval:x:1 { }\n";
    let file = scratch("check").join("three.bt");
    std::fs::write(&file, script).expect("written");
    let path = file.to_str().expect("text");
    let finished = kscope(&["check", path]).code(1).says(&[
        &format!("{path}:1:9-13: ERROR"),
        "begin { coom; }\n        ~~~~\n",
        "HINT: did you mean `comm`?",
        &format!("{path}:2:7-13: ERROR"),
        "`printf`",
        &format!("{path}:3:"),
    ]);
    assert_eq!(finished.err.matches("ERROR").count(), 3, "{}", finished.err);
}

#[test]
fn near_names() {
    bad("begin { prinft(1); }", &["prinft", "`printf`"]);
    bad("begin { print(elapsd); }", &["elapsd", "`elapsed`"]);
    bad(
        "config = { max_map_key = 1 } begin { }",
        &["max_map_key", "`max_map_keys`"],
    );
    bad("bgin { }", &["bgin", "`begin`"]);
    bad(
        "tracepont:sched:sched_switch { }",
        &["tracepont", "`tracepoint`"],
    );
    bad(
        "tracepoint:syscalls:sys_enter_openat { print(args.filenam); }",
        &["filenam", "`filename`"],
    );
}

#[test]
fn syntax() {
    bad("begin {", &["ERROR", "}"]);
    bad("begin { printf(\"%d\\n\" }", &["ERROR: expected"]);
    bad("begin { @ = ; }", &["ERROR: expected"]);
    bad("begin { printf(\"%d\", \"x\"); }", &["ERROR", "%d"]);
}

#[test]
fn warnings_do_not_fail() {
    let finished = kscope(&["check", "-e", "begin { nsecs; }"]).code(0);
    assert!(finished.err.contains("WARNING"), "{}", finished.err);
}

#[test]
fn assembler_is_shown() {
    let shown = kscope(&["check", "-d", "-e", "begin { exit(3); }"])
        .code(0)
        .out;
    assert!(shown.contains("exit"), "{shown}");
    let short = kscope(&["check", "-e", "begin { exit(3); }"]).code(0).out;
    assert_eq!(shown.lines().next(), short.lines().next());
    assert_eq!(short.lines().count(), 1);
}

#[test]
fn positional_parameters() {
    let check = |words: &[&str], code| {
        kscope(words).code(code);
    };
    check(&["check", "-e", "begin { exit($1); }", "3"], 0);
    check(
        &["check", "-e", "begin { printf(\"%s\", str($1)); }", "x"],
        0,
    );
    check(&["check", "-e", "begin { exit($1 + 1); }", "x"], 1);
    let file = scratch("check").join("one.bt");
    std::fs::write(&file, "begin { exit($1); }").expect("written");
    check(&["check", file.to_str().expect("text"), "3"], 0);
}

#[test]
fn color_is_a_matter_of_choice() {
    let mut command = super::program(env!("CARGO_BIN_EXE_kscope").as_ref());
    let command = command.args(["check", "-e", "begin { coom; }"]);
    let plain = super::Finished::of(&command.output().expect("it starts"));
    assert!(!plain.err.contains('\x1b'), "{}", plain.err);
    let command = command.env("BPFTRACE_COLOR", "always");
    let colored = super::Finished::of(&command.output().expect("it starts"));
    assert!(colored.err.contains('\x1b'), "{}", colored.err);
}

#[test]
fn imported_files() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = scratch("imports");
    let dir = folder.join("dir");
    std::fs::create_dir_all(&dir).expect("a folder");
    let write = |name: &str, text: &str| {
        let path = folder.join(name);
        std::fs::write(&path, text).expect("a file");
        let mode = std::fs::Permissions::from_mode(0o644);
        std::fs::set_permissions(&path, mode).expect("its mode");
    };
    for closed in [&folder, &dir] {
        let mode = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(closed, mode).expect("its mode");
    }
    write("base.bt", "fn one() : int64 { return 1; }");
    write(
        "lib.bt",
        "import \"base.bt\";\nmacro hello() {\n  print(one()); }",
    );
    write("pair.h", "struct pair { int a; int b; };");
    write("dir/d.bt", "macro d() { 4 }");
    let guarded = "#ifndef LIMITS\n#define LIMITS\n#define LIMIT 5\n#endif\n";
    write("limits.h", guarded);
    write("whole.bt", "#!/usr/bin/env kscope\nmacro whole() { 1 }");
    write("wrong.bt", "macro w() {\n  nosuch(); }");
    write("config.bt", "config = { max_map_keys = 1 }");
    write("code.bpf.c", "int f(void) { return 1; }");
    write("open.bt", "macro o() { 1 }");
    let mode = std::fs::Permissions::from_mode(0o666);
    std::fs::set_permissions(folder.join("open.bt"), mode).expect("its mode");
    let check = |script: &str, code: i32, said: &[&str]| {
        write("main.bt", script);
        let path = folder.join("main.bt");
        let path = path.to_str().expect("text");
        kscope(&["check", path]).code(code).says(said);
    };
    check(
        "import \"lib.bt\"; import \"base.bt\"; begin { hello(); }",
        0,
        &[],
    );
    check(
        "import \"pair.h\"; begin { print(sizeof(struct pair)); }",
        0,
        &[],
    );
    check("import \"dir\"; begin { print(d()); }", 0, &[]);
    check("import \"limits.h\"; begin { print(LIMIT + 1); }", 0, &[]);
    check("import \"whole.bt\"; begin { print(whole()); }", 0, &[]);
    check(
        "import \"stdlib/strings\"; begin { print(strlen(\"a\")); }",
        0,
        &[],
    );
    let wrong = "import \"wrong.bt\"; begin { w(); }";
    check(
        wrong,
        1,
        &[
            "wrong.bt:2:3-9: ERROR",
            "main.bt:1:28-31: NOTE: expanded from",
        ],
    );
    check(
        "import \"config.bt\"; begin { }",
        1,
        &["has a config block"],
    );
    check(
        "import \"code.bpf.c\"; begin { }",
        1,
        &["no C compiler", "fn name("],
    );
    check("import \"open.bt\"; begin { }", 1, &["everybody may write"]);
    std::fs::copy(folder.join("open.bt"), dir.join("open.bt")).expect("with its mode");
    let said = ["everybody may write", "dir/open.bt"];
    check("import \"dir\"; begin { }", 1, &said);
    std::fs::remove_file(dir.join("open.bt")).expect("ours");
    write("long.bt", &"// more\n".repeat(1 << 18));
    check("import \"long.bt\"; begin { }", 1, &["has more than"]);
    check("import \"nosuch.bt\"; begin { }", 1, &["there is no"]);
}
