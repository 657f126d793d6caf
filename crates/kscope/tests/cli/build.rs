//! `kscope build`, which needs no privilege for scripts like these, and what objects `kscope run`
//! does not run.

use std::path::{Path, PathBuf};

use super::{Finished, kscope, scratch};

/// Builds a script; gives the object.
#[track_caller]
fn built(name: &str, script: &str) -> PathBuf {
    let object = scratch("build").join(format!("{name}.bpf.o"));
    let file = object.to_str().expect("text");
    let finished = kscope(&["build", "-e", script, "-o", file]).code(0);
    assert_eq!((finished.out.as_str(), finished.err.as_str()), ("", ""));
    object
}

fn run(object: &Path, words: &[&str]) -> Finished {
    let file = object.to_str().expect("text");
    kscope(&[&["run", "--json-schema", file], words].concat())
}

#[test]
fn an_object_is_written_beside_its_script() {
    let folder = scratch("build-beside");
    let script = folder.join("hello.bt");
    std::fs::write(&script, "begin { print((a=1, b=\"x\")); }").expect("written");
    let object = folder.join("hello.bpf.o");
    let _ = std::fs::remove_file(&object);
    kscope(&["build", script.to_str().expect("text")]).code(0);
    let bytes = std::fs::read(&object).expect("an object");
    assert!(bytes.starts_with(b"\x7fELF"));
    // The same script gives the same object.
    kscope(&["build", script.to_str().expect("text")]).code(0);
    assert_eq!(std::fs::read(&object).expect("an object"), bytes);
    // What it prints is told without running it.
    let schema = run(&object, &[]).code(0).out;
    assert!(schema.contains("\"a\""), "{schema}");
}

#[test]
fn what_cannot_be_built_is_said() {
    let check = |words: &[&str], code, parts: &[&str]| {
        let finished = kscope(&[&["build"], words].concat()).code(code).says(parts);
        assert_eq!(finished.out, "");
    };
    check(&[], 2, &["<FILE"]);
    check(&["-e", "begin { }"], 2, &["--output"]);
    check(&["/nosuch/x.bt"], 1, &["cannot read /nosuch/x.bt"]);
    check(
        &["-e", "begin { coom; }", "-o", "/dev/null"],
        1,
        &["`comm`"],
    );
    let folder = "/nosuch/folder/x.bpf.o";
    check(
        &["-e", "begin { }", "-o", folder],
        1,
        &["cannot write", folder],
    );
    let text = "begin { print(str($1)); }";
    check(
        &["-e", text, "-o", "/dev/null"],
        1,
        &["the text of $1", "getopt"],
    );
}

#[test]
fn what_is_no_object_of_ours_is_not_run() {
    let good = std::fs::read(built("good", "begin { print(1); }")).expect("an object");
    let folder = scratch("build-bad");
    let check = |name: &str, bytes: &[u8], parts: &[&str]| {
        let file = folder.join(name);
        std::fs::write(&file, bytes).expect("written");
        run(&file, &[]).code(1).says(parts);
    };
    check("short.o", b"\x7fELF", &["cannot run"]);
    check("half.o", &good[..good.len() / 2], &["cannot run"]);
    let at = good
        .windows(4)
        .position(|four| four == b"KSCP")
        .expect("the plan");
    let mut newer = good.clone();
    newer[at + 4] = 99;
    check(
        "newer.o",
        &newer,
        &["built by a newer kscope", "version 99"],
    );
    let file = folder.join("newer.o");
    let file = file.to_str().expect("text");
    for words in [
        &["run", file][..],
        &["link", "-o", "/dev/null", file],
        &["bpf", "check", file, "--btf", "/sys/kernel/btf/vmlinux"],
    ] {
        let finished = kscope(words).code(1);
        finished.says(&[
            "built by a newer kscope",
            "version 99",
            "build the script again",
        ]);
    }
    kscope(&["check", file])
        .code(1)
        .says(&["is an object", "kscope bpf check"]);
    let mut torn = good.clone();
    torn[at + 8] = 0xff;
    check("torn.o", &torn, &["damaged", "byte"]);
    let mut nameless = good;
    let name = nameless.windows(8).position(|eight| eight == b".kscope\0");
    nameless[name.expect("the section's name") + 1] = b'x';
    check("other.o", &nameless, &["it is no script", "kscope build"]);
}

#[test]
fn options_are_told() {
    let script = "// Counts\n//\n// And more.\nbegin { print((n=getopt(\"n\", 3, \"how many\"), \
                  all=getopt(\"all\", false, \"all of them\"))); exit(); }";
    let object = built("options", script);
    let file = object.to_str().expect("text");
    for words in [
        &["run", file, "--", "--help"][..],
        &["run", "-e", script, "--", "--help"],
    ] {
        let text = kscope(words).code(0).out;
        for part in [
            "And more.",
            "--n <N>",
            "how many",
            "[default: 3]",
            "--all",
            "all of them",
        ] {
            assert!(text.contains(part), "no {part} in {text}");
        }
    }
    let text = kscope(&["run", "-e", script, "7", "--", "--help"])
        .code(0)
        .out;
    assert!(text.contains("kscope run -e SCRIPT [-- OPTIONS]"), "{text}");
    // Parameters need no values for that, not even in attach points.
    let script = "kprobe:$1 { @[str($3)] = getopt(\"n\", 3, \"how many\"); }";
    let text = kscope(&["run", "-e", script, "--", "--help"]).code(0).out;
    let usage = "kscope run -e SCRIPT [$1] [$2] [$3] [-- OPTIONS]";
    assert!(text.contains(usage) && text.contains("--n <N>"), "{text}");
    let none = kscope(&["run", "-e", "begin { }", "--", "--help"])
        .code(0)
        .out;
    assert!(none.contains("It takes no options."), "{none}");
    assert!(none.contains("run -e SCRIPT\n"), "{none}");
}

#[test]
fn parameters_are_given_when_it_is_run() {
    let open = built("open", "begin { print($1 + $2); }");
    run(&open, &["1"]).code(1).says(&["prints no rows"]);
    run(&open, &["one"]).code(2).says(&["$1", "\"one\""]);
    run(&open, &["1", "2", "3"]).code(2).says(&["takes no $3"]);
}
