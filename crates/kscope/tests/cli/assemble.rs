//! `kscope bpf asm` and `kscope bpf dump`: text to objects and bytes, and back.

use super::{kscope, kscope_with_input, scratch};

const TEXT: &str = "; by hand\np:\n  r0 = 7\n  call two\n  exit\ntwo:\n  r0 = 2\n  exit\n";

fn path(name: &str) -> String {
    let path = scratch("assemble").join(name);
    path.to_str().expect("text").to_owned()
}

#[test]
fn text_becomes_an_object_and_text_again() {
    let (object, again) = (path("a.bpf.o"), path("again.bpf.o"));
    let words = ["bpf", "asm", "-", "--section", "xdp", "-o", &object];
    kscope_with_input(&words, TEXT).code(0);
    let dumped = kscope(&["bpf", "dump", &object]).code(0).out;
    let expected = "; program p, section xdp\np:\n   0: r0 = 7\n   1: call pc+1\n   2: exit\n\
        two:\n   3: r0 = 2\n   4: exit\n";
    assert_eq!(dumped, expected);
    kscope_with_input(&["bpf", "asm", "-", "-o", &again], &dumped).code(0);
    let read = |path: &str| std::fs::read(path).expect("written");
    assert_eq!(read(&object), read(&again));
}

#[test]
fn text_becomes_bytes_and_text_again() {
    let raw = path("a.raw");
    kscope_with_input(&["bpf", "asm", "-", "--raw", "-o", &raw], TEXT).code(0);
    let bytes = std::fs::read(&raw).expect("written");
    assert_eq!(bytes.len(), 5 * 8);
    let out = kscope(&["bpf", "disasm", "--raw", &raw]).code(0).out;
    assert_eq!(
        out,
        "   0: r0 = 7\n   1: call pc+1\n   2: exit\n   3: r0 = 2\n   4: exit\n"
    );
    std::fs::write(&raw, &bytes[..12]).expect("written");
    let cut = kscope(&["bpf", "dump", "--raw", &raw]).code(1);
    cut.says(&["has 12 bytes, which are no instructions"]);
}

#[test]
fn what_is_dumped_of_an_object_is_put_back() {
    let (object, changed) = (path("script.bpf.o"), path("changed.bpf.o"));
    let script = "begin { @n = 7; print((a=@n)); exit() }";
    kscope(&["build", "-e", script, "-o", &object]).code(0);
    let dump = |object: &str| kscope(&["bpf", "dump", object]).code(0).out;
    let text = dump(&object);
    // Maps have the names of files before the first dot.
    let same = scratch("assemble").join("same");
    std::fs::create_dir_all(&same).expect("a folder");
    let same = same.join("script.bpf.o");
    let same = same.to_str().expect("text");
    let words = ["bpf", "asm", "-", "--of", &object, "-o", same];
    kscope_with_input(&words, &text).code(0);
    assert_eq!(dump(same), text);
    kscope(&["run", "--json-schema", same]).code(0);
    // A number of another size.
    assert!(text.contains("= 7\n"), "{text}");
    let words = ["bpf", "asm", "-", "--of", &object, "-o", &changed];
    kscope_with_input(&words, &text.replacen("= 7\n", "= 8\n", 1)).code(0);
    assert!(dump(&changed).contains("= 8\n"));
}

#[test]
fn text_that_is_wrong() {
    let out = path("wrong.bpf.o");
    let wrong = |words: &[&str], text: &str, code, parts: &[&str]| {
        let words = [&["bpf", "asm", "-", "-o", &out], words].concat();
        kscope_with_input(&words, text).code(code).says(parts);
    };
    wrong(&[], "r0 = 0\nr11 = 1\nexit", 1, &["-: line 2: "]);
    let map = "r1 = map(counts) ll\nexit";
    wrong(
        &[],
        map,
        1,
        &["line 1: nothing is called `counts`", "--of OBJECT"],
    );
    wrong(&["--section", "xpd"], "exit", 1, &["did you mean 'xdp'?"]);
    wrong(&[], "; nothing", 1, &["has no instructions"]);
    let later = "; program a, section xdp\nexit\n; program b, section xdp\nr11 = 1\nexit";
    wrong(&[], later, 1, &["-: line 4: "]);
    let two = "; program a, section xdp\nexit\n; program b, section xdp\nexit";
    wrong(&["--raw"], two, 2, &["has 2 programs"]);
    let object = env!("CARGO_BIN_EXE_kscope");
    let finished = kscope(&["bpf", "asm", object, "-o", &out]).code(1);
    finished.says(&["is no text", "kscope bpf dump"]);
    kscope(&["bpf", "asm", "/nosuch/a.s", "-o", &out])
        .code(1)
        .says(&["cannot read /nosuch/a.s"]);
}
