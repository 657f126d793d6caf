//! Files that commands write: none of what they read, `-` for standard output.

use std::path::{Path, PathBuf};

use super::{kscope, scratch};

/// Makes a folder with a script, an imported one, and an object with its text.
fn folder(name: &str) -> PathBuf {
    let folder = scratch("outputs").join(name);
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).expect("a folder");
    let put = |name: &str, text: &str| std::fs::write(folder.join(name), text).expect("written");
    put("one.bt", "fn one() : int64 { return 1; }");
    put("x.bt", "import \"one.bt\"; begin { print(one()); exit() }");
    put("x.s", "r0 = 7\nexit\n");
    let path = |name: &str| folder.join(name).to_str().expect("text").to_owned();
    kscope(&["bpf", "asm", &path("x.s"), "-o", &path("x.o")]).code(0);
    // A script's object has types, and its kernel's can be made of them.
    kscope(&["build", &path("x.bt"), "-o", &path("t.o")]).code(0);
    std::fs::hard_link(folder.join("x.o"), folder.join("hard.o")).expect("a link");
    std::os::unix::fs::symlink("x.bt", folder.join("soft")).expect("a link");
    folder
}

fn contents(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let files = std::fs::read_dir(folder).expect("a folder");
    let mut files: Vec<_> = files.map(|file| file.expect("a file").path()).collect();
    files.sort();
    let read = |path: PathBuf| (path.clone(), std::fs::read(path).expect("a file"));
    files.into_iter().map(read).collect()
}

#[test]
fn what_is_read_is_not_written_over() {
    let folder = folder("over");
    let before = contents(&folder);
    // A word with `@` is a file of the folder.
    let check = |words: &str, parts: &[&str]| {
        let path = |word: &str| match word.strip_prefix('@') {
            Some(name) => folder.join(name).to_str().expect("text").to_owned(),
            None => word.to_owned(),
        };
        let words: Vec<String> = words.split(' ').map(path).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let said = kscope(&words).code(1);
        said.says(&["would be written over", "HINT: give another file with -o"])
            .says(parts);
        assert!(contents(&folder) == before, "{words:?}");
    };
    check("build @x.bt -o @x.bt", &["x.bt is what is read"]);
    check("build @x.bt -o @soft", &["soft is the same file as"]);
    check("build @x.bt -o @one.bt", &["one.bt is what is read"]);
    check("build @x.bt -o @../over/x.bt", &["over/x.bt is the same"]);
    check("link @x.o -o @x.o", &["x.o"]);
    check("link @x.o -o @hard.o", &["hard.o is the same file as"]);
    check("bindgen @t.o -o @t.o", &["t.o"]);
    check("bpf asm @x.s -o @x.s", &["x.s"]);
    check("bpf asm @x.s --of @x.o -o @x.o", &["x.o"]);
    check("run @x.bt -o @x.bt", &["x.bt"]);
    check("run @x.bt -o @one.bt", &["one.bt"]);
}

#[test]
fn types_that_are_read_are_not_written_over() {
    let folder = folder("types");
    let path = |name: &str| folder.join(name).to_str().expect("text").to_owned();
    let before = contents(&folder);
    for (object, types, output) in [("t.o", "t.o", "t.o"), ("t.o", "soft.o", "soft.o")] {
        let _ = std::os::unix::fs::symlink("t.o", folder.join("soft.o"));
        let (object, types, output) = (path(object), path(types), path(output));
        let words = ["btf", "minimize", &object, "--btf", &types, "-o", &output];
        kscope(&words).code(1).says(&["would be written over"]);
    }
    std::fs::remove_file(folder.join("soft.o")).expect("ours");
    assert!(contents(&folder) == before);
}

#[test]
fn objects_on_standard_output() {
    let folder = folder("stdout");
    let path = |name: &str| folder.join(name).to_str().expect("text").to_owned();
    let (script, object) = (path("x.bt"), path("x.o"));
    let check = |words: &[&str]| {
        let mut command = super::program(Path::new(env!("CARGO_BIN_EXE_kscope")));
        let output = command.current_dir(&folder).args(words).output();
        let output = output.expect("it starts");
        assert!(output.stdout.starts_with(b"\x7fELF"), "{words:?}");
        assert!(!folder.join("-").exists(), "{words:?}");
    };
    check(&["build", &script, "-o", "-"]);
    check(&["link", &object, "-o", "-"]);
    check(&["bpf", "asm", &path("x.s"), "-o", "-"]);
}
