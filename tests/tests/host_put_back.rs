//! Objects taken apart by `kscope bpf dump` and put together by `kscope bpf asm --of`.

use std::path::{Path, PathBuf};

use kscope_tests::program::{Folder, kscope, run};
use kscope_tests::{objects, skip};

fn told(words: &[&Path]) -> (Option<i32>, String, String) {
    let words: Vec<&str> = words
        .iter()
        .map(|word| word.to_str().expect("text"))
        .collect();
    run(&kscope(), &words)
}

/// Runs kscope, demands that all is well, and gives what it prints.
fn good(words: &[&Path]) -> String {
    let (code, out, err) = told(words);
    assert_eq!(code, Some(0), "{words:?}: {err}");
    out
}

fn word(text: &str) -> &Path {
    Path::new(text)
}

/// Writes an object into a folder.
fn file(folder: &Folder, name: &str) -> Result<PathBuf, String> {
    let path = folder.path().join(format!("{name}.bpf.o"));
    std::fs::write(&path, objects::bytes(name)?).expect("written");
    Ok(path)
}

/// Takes an object apart and puts it together in another folder; gives the text and the file.
fn back(folder: &Folder, file: &Path) -> (String, PathBuf) {
    let (bpf, asm) = (word("bpf"), word("asm"));
    let text = good(&[bpf, word("dump"), file]);
    let written = folder.path().join("text.s");
    std::fs::write(&written, &text).expect("written");
    let put = folder.path().join("back");
    std::fs::create_dir_all(&put).expect("a folder");
    let put = put.join(file.file_name().expect("a name"));
    good(&[bpf, asm, &written, word("--of"), file, word("-o"), &put]);
    assert_eq!(good(&[bpf, word("dump"), &put]), text);
    (text, put)
}

#[test]
fn what_the_kernel_defines_is_put_back() {
    let folder = Folder::new("put-back");
    let object = match file(&folder, "externs") {
        Ok(object) => object,
        Err(reason) => skip!("clang", "{reason}"),
    };
    let (text, put) = back(&folder, &object);
    for part in [
        "= extern(LINUX_KERNEL_VERSION) ll\n",
        "= extern(CONFIG_HZ) ll\n",
        "= extern(runqueues) ll\n",
        "call extern(bpf_rcu_read_lock)\n",
    ] {
        assert!(text.contains(part), "no {part} in {text}");
    }
    // What is said of both is the same, the programs that the kernel takes as well.
    let check = |file: &Path| {
        let (_, out, _) = told(&[word("bpf"), word("check"), word("--json"), file]);
        let settled = |line: &str| line.split(",\"duration_us\"").next().map(str::to_owned);
        out.lines().filter_map(settled).collect::<Vec<_>>()
    };
    assert_eq!(check(&put), check(&object));
}

#[test]
fn what_other_objects_define_is_put_back_and_linked() {
    let folder = Folder::new("put-back-unlinked");
    let files = ["unlinked", "library"].map(|name| file(&folder, name));
    let [Ok(object), Ok(library)] = files else {
        skip!("clang", "objects are not compiled");
    };
    let (text, put) = back(&folder, &object);
    assert!(text.contains("call extern(there)\n"), "{text}");
    assert!(text.contains("= extern(numbers)"), "{text}");
    let linked = folder.path().join("linked.bpf.o");
    let of = |object: &Path| {
        good(&[word("link"), word("-o"), &linked, object, &library]);
        good(&[word("bpf"), word("dump"), word("--no-source"), &linked])
    };
    assert_eq!(of(&put), of(&object));
    let (code, out, err) = told(&[word("bpf"), word("check"), word("--json"), &put]);
    assert_eq!(code, Some(1), "{err}");
    assert!(
        out.contains("function 'there' is called and defined nowhere"),
        "{out}"
    );
    let (code, _, err) = told(&[word("bpf"), word("dump"), &library]);
    assert_eq!(code, Some(1), "{err}");
    assert!(err.contains("has no programs"), "{err}");
    // A function that only other objects call is not lost in silence.
    let text = folder.path().join("one.s");
    std::fs::write(&text, "; program p, section socket\nr0 = 0\nexit\n").expect("written");
    let (asm, of) = (word("asm"), word("--of"));
    let words = [word("bpf"), asm, &text, of, &library, word("-o"), &linked];
    let (code, _, err) = told(&words);
    assert_eq!(code, Some(1), "{err}");
    assert!(
        err.contains("function there, which no program here calls, would be lost"),
        "{err}"
    );
}
