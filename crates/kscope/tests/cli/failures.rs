//! Mistakes on the command line: exit code 2, one clear line, the way out.

use super::{bpftrace, kscope, kscope_with_input, scratch};

/// Demands exit code 2 and parts of the message; nothing on standard output.
#[track_caller]
fn usage(words: &[&str], parts: &[&str]) {
    let finished = kscope(words).code(2).says(parts);
    assert_eq!(finished.out, "");
}

#[test]
fn the_command_line_makes_no_sense() {
    usage(&[], &["Usage: kscope"]);
    usage(&["run", "--nosuch"], &["--nosuch"]);
    usage(&["run", "--fromat", "json"], &["--fromat", "--format"]);
    usage(&["run"], &["there is no script", "-e SCRIPT"]);
    usage(&["check"], &["Usage: kscope check"]);
    usage(&["-e"], &["-e <SCRIPT>"]);
    usage(
        &["run", "-f", "xml", "-e", "begin {}"],
        &["xml", "text, json"],
    );
    usage(
        &["run", "-B", "some", "-e", "begin {}"],
        &["none, line, full"],
    );
    usage(&["run", "--buffer", "x", "-e", "begin {}"], &["ring, perf"]);
    usage(
        &["run", "-p", "0", "-e", "begin {}"],
        &["'--pid <PID>'", "0"],
    );
    usage(&["run", "-p", "self", "-e", "begin {}"], &["self"]);
    let both = ["run", "--json", "-f", "json", "-e", "begin {}"];
    usage(&both, &["cannot be used with"]);
    for one in ["--test", "--bench"] {
        usage(
            &["run", one, "-c", "true", "-e", "begin {}"],
            &["'-c <COMMAND>'"],
        );
        usage(
            &["run", one, "--dry-run", "-e", "begin {}"],
            &["'--dry-run'"],
        );
    }
    usage(
        &["tools", "--show", "opensnop"],
        &["`opensnop`", "did you mean `opensnoop`?"],
    );
    usage(&["tools", "--show", "zzzzzzz"], &["`kscope tools`"]);
}

#[test]
fn flags_of_bpftrace_have_their_place() {
    let check = |words: &[&str], part: &str| {
        usage(
            &[&["run"], words].concat(),
            &[words[0].split('=').next().unwrap_or_default(), part],
        );
    };
    check(&["-l"], "`kscope list [PATTERN]`");
    check(&["-l", "kprobe:vfs_*"], "`kscope list 'kprobe:vfs_*'`");
    check(&["-l", "-v", "t:*"], "`kscope list 't:*'`");
    check(&["-l", "-e", "begin { }"], "`kscope bpftrace -l …`");
    check(&["-d", "ast"], "`kscope check -d`");
    check(&["--info"], "`kscope doctor`");
    check(&["--usdt-file-activation"], "leave it out");
    check(&["-I", "/usr/include"], "BTF");
    check(&["--include", "a.h"], "import");
    check(&["--emit-elf", "a.o"], "`kscope build");
    check(&["--aot", "a.o"], "`kscope build");
    check(&["--emit-llvm", "a"], "no LLVM");
    check(&["--no-feature", "uprobe_multi"], "`kscope bpftrace`");
    check(&["--mode=codegen"], "`kscope bpftrace`");
    check(&["--debuginfo", "/"], "BTF");
    check(&["--dwarf-pid", "1"], "frame pointers");
    check(&["--fmt"], "as they are written");
    check(&["-V"], "`kscope --version`");
    usage(&["-l", "kprobe:vfs_*"], &["`kscope list 'kprobe:vfs_*'`"]);
    usage(&["-lv"], &["`kscope list [PATTERN]`"]);
}

#[test]
fn names_that_are_neither_command_nor_tool() {
    usage(&["opensnop"], &["opensnop", "did you mean `opensnoop`?"]);
    usage(&["doctr"], &["did you mean `doctor`?"]);
    usage(&["completion"], &["did you mean `completions`?"]);
    usage(&["zzzzzzz"], &["kscope tools", "kscope help"]);
    let here = ["Cargo.toml"];
    usage(
        &here,
        &["to run the script in that file: kscope run Cargo.toml"],
    );
}

#[test]
fn words_of_a_tool_are_no_places_in_its_script() {
    let finished = kscope(&["funclatency", "/there/is/none:f"]).code(1);
    let told = finished.says(&["ERROR: there is no file /there/is/none"]);
    assert_eq!(
        told.err.matches("/there/is/none").count(),
        1,
        "{}",
        told.err
    );
    assert!(!told.err.contains(".bt:"), "{}", told.err);
}

#[test]
fn options_of_a_tool() {
    usage(&["opensnoop", "--pidd", "3"], &["--pidd", "'--pid'"]);
    usage(&["opensnoop", "--buffer", "x"], &["ring, perf"]);
    usage(&["opensnoop", "--count", "0"], &["ERROR: ", "--count"]);
    usage(&["opensnoop", "--duration", "soon"], &["`soon`", "500ms"]);
    usage(&["opensnoop", "--duration", "0"], &["before it begins"]);
    usage(
        &["opensnoop", "extra"],
        &["extra", "Usage: kscope opensnoop"],
    );
    usage(&["opensnoop", "--pid"], &["--pid <N>"]);
}

#[test]
fn words_after_two_dashes_are_options_or_parameters() {
    let run = |option| kscope(&["-e", "begin { print($1); exit() }", "--", option]);
    run("name").code(1).says(&["$1", "\"name\""]);
    run("-x").code(1).says(&["$1", "\"-x\""]);
    run("--name=5").code(2).says(&["--name"]);
    run("--").code(2).says(&["--name=value"]);
}

#[test]
fn files_that_are_no_scripts() {
    let failed = |words: &[&str], parts: &[&str]| {
        kscope(words).code(1).says(parts);
    };
    failed(&["run", "no-such-file"], &["no-such-file", "No such file"]);
    failed(&["./no-such.bt"], &["./no-such.bt", "No such file"]);
    failed(&["check", "no-such-file"], &["no-such-file"]);
    failed(&["run", "begin { exit() }"], &["HINT", "-e SCRIPT"]);
    failed(&["check", "/"], &["cannot read /"]);
    failed(&["check", env!("CARGO_BIN_EXE_kscope")], &["no script"]);
    let file = scratch("failures").join("large.bt");
    std::fs::write(&file, " ".repeat((1 << 20) + 1)).expect("written");
    failed(&["check", file.to_str().expect("text")], &["1048576 bytes"]);
}

#[test]
fn types_that_cannot_be_read() {
    let file = scratch("failures").join("corrupt.btf");
    let cases: [(&[u8], &str); 3] = [
        (b"", "not BTF"),
        (b"hello, world", "not BTF"),
        (
            &[
                0x9f, 0xeb, 1, 0, 24, 0, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255,
            ],
            "BTF",
        ),
    ];
    for (bytes, part) in cases {
        std::fs::write(&file, bytes).expect("written");
        let path = file.to_str().expect("text");
        for words in [
            &["check", "--btf", path, "-e", "begin {}"][..],
            &["run", "--btf", path, "-e", "begin {}"],
            &["list", "--btf", path],
            &["doctor", "--btf", path],
            &["opensnoop", "--btf", path],
        ] {
            kscope(words)
                .code(1)
                .says(&["cannot read kernel types from", path, part, "HINT"]);
        }
    }
    kscope(&["check", "--btf", "/no/such", "-e", "begin {}"])
        .code(1)
        .says(&["/no/such", "ENOENT"]);
}

#[test]
fn what_bpftrace_has_and_kscope_does_not_is_named() {
    let check = |words: &[&str], name: &str| {
        let parts = ["kscope does not have bpftrace's", name];
        bpftrace(words).code(2).says(&parts);
    };
    check(&["--mode", "format", "-e", "begin {}"], "--mode");
    bpftrace(&["--mode", "bench", "--test", "-e", "begin {}"]).code(2);
    let only = ["-e", "test:a { }", "--no-warnings"];
    bpftrace(&only)
        .code(1)
        .says(&["use --test to run test probes"]);
    bpftrace(&["-d", "nosuch", "-e", "begin {}"]).code(2);
    bpftrace(&["--no-feature", "nosuch", "-e", "begin {}"]).code(2);
    let stages = [
        "--mode",
        "codegen",
        "-k",
        "--no-feature",
        "uprobe_multi,kprobe_multi",
    ];
    let stages = [&stages[..], &["-d", "all", "-e", "begin { exit(3); }"]].concat();
    let parts = ["AST after: parse", "Types", "exit"];
    bpftrace(&stages).code(0).says(&parts);
    let words = [&["bpftrace"], &stages[..]].concat();
    kscope(&words).code(0).says(&parts);
    check(&["--aot", "x", "-e", "begin {}"], "--aot");
    check(&["--emit-elf", "x", "-e", "begin {}"], "--emit-elf");
    check(&["--fmt", "-e", "begin {}"], "--fmt");
    check(&["--dwarf-pid", "1", "-e", "begin {}"], "--dwarf-pid");
    let accepted = [
        "--usdt-file-activation",
        "--mode",
        "codegen",
        "-e",
        "begin {}",
    ];
    bpftrace(&accepted).code(0);
    let list = scratch("traceable").join("functions");
    std::fs::write(&list, "one_of_these\nother\n").expect("a file");
    let list = list.to_str().expect("text");
    let given = |script| {
        let words = [
            "--traceable-functions",
            list,
            "--mode",
            "codegen",
            "-e",
            script,
        ];
        bpftrace(&words)
    };
    given("kprobe:one_* { }").code(0);
    given("kprobe:vfs_read { }").code(1).says(&["vfs_read"]);
    bpftrace(&["--nosuch"]).code(2).says(&["--nosuch"]);
    bpftrace(&[]).code(2).says(&["there is no program"]);
    bpftrace(&["-p", "0", "-e", "begin {}"]).code(2);
}

#[test]
fn a_process_that_is_not_there() {
    // No process has an id above the kernel's limit of 2^22.
    bpftrace(&["-p", "4194305", "-e", "begin {}"])
        .code(1)
        .says(&["there is no process 4194305"]);
}

#[test]
fn a_script_on_standard_input() {
    let finished = kscope_with_input(&["check", "-"], "begin { exit(); }").code(0);
    assert!(
        finished.out.starts_with("stdin: 1 probe, "),
        "{}",
        finished.out
    );
    kscope_with_input(&["check", "-"], "begin { coom; }")
        .code(1)
        .says(&["stdin:1:9-13: ERROR", "`comm`"]);
}

#[test]
fn a_script_without_probes_does_not_run() {
    for empty in ["", " \n"] {
        let finished = kscope(&["run", "-e", empty]).code(1);
        finished.says(&["stdin is empty", "HINT"]);
    }
    kscope(&["check", "-e", ""]).code(1).says(&["is empty"]);
    kscope(&["run", "-e", "// nothing"])
        .code(1)
        .says(&["no probe"]);
}

#[test]
fn options_of_a_script_stand_behind_dashes() {
    let said = kscope(&["run", "-e", "begin { exit(); }", "--n=8"]).code(2);
    let said = said.says(&["'--n'", "-- --n", "[FILE] [ARGS]..."]);
    assert!(!said.err.contains("--unsafe"), "{}", said.err);
    let misspelt = kscope(&["run", "-e", "begin { exit(); }", "--verbos"]).code(2);
    misspelt.says(&["'--verbose'"]);
}
