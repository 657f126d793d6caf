//! Objects that clang makes, read into a `Spec`: the whole of it as a golden file, in both byte
//! orders, and names beside those that bpftool's libbpf finds. `BLESS=1` writes what is read now.

#[path = "../../crates/spec/tests/read/text.rs"]
mod text;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};

use kscope_bpf::spec::{Spec, read, write};
use kscope_tests::selftests::{Selftests, clang};
use kscope_tests::skip;

const SOURCES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/programs/read");

/// Compiles a source and gives the object's bytes.
fn compiled(compiler: &str, name: &str, target: &str) -> Vec<u8> {
    let object = object_path(&format!("{name}-{target}"));
    let output = Command::new(compiler)
        .args(["-g", "-O2", "-mcpu=v3", "-target", target, "-c"])
        .arg(format!("{SOURCES}/{name}.bpf.c"))
        .arg("-o")
        .arg(&object)
        .output()
        .expect("clang");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name}: {said}");
    let bytes = std::fs::read(&object).expect("an object");
    let _ = std::fs::remove_file(&object);
    bytes
}

fn object_path(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("kscope-{}-{name}.o", std::process::id()))
}

/// Gives a spec's lines without what differs between compilers: places in the code.
fn stable(spec: &Spec) -> String {
    let mut out = String::new();
    let mut last = String::new();
    for line in text::lines(spec) {
        let words: Vec<&str> = line.split(' ').collect();
        let line = match words.as_slice() {
            ["program", middle @ .., _, "slots"] => format!("program {}", middle.join(" ")),
            ["", "", "call", ..] => continue,
            ["", "", "reloc", _, "func", _] => "  reloc func".to_owned(),
            ["", "", kind @ ("func" | "reloc" | "core"), _, rest @ ..] => {
                format!("  {kind} {}", rest.join(" "))
            }
            ["", "", "line", _, place, rest @ ..] => {
                let file = place.split(':').next().unwrap_or_default();
                // Which lines have code is the compiler's choice; those of returns have.
                match rest.first() {
                    Some(&"return") => format!("  line {file} {}", rest.join(" ")),
                    _ => continue,
                }
            }
            _ => line,
        };
        if line != last {
            out.push_str(&line);
            out.push('\n');
        }
        last = line;
    }
    out
}

fn golden(name: &str) {
    let Some(compiler) = clang() else {
        skip!("clang", "clang is missing");
    };
    let file = Path::new(SOURCES).join(format!("{name}.txt"));
    for target in ["bpfel", "bpfeb"] {
        let bytes = compiled(&compiler, name, target);
        let spec = read::object_named(name, &bytes).expect("an object");
        assert_eq!(read::object_named(name, &bytes).as_ref(), Ok(&spec));
        let found = stable(&spec);
        if target == "bpfel" && std::env::var_os("BLESS").is_some() {
            std::fs::write(&file, &found).expect("a golden file");
        }
        let expected = std::fs::read_to_string(&file).unwrap_or_default();
        let pairs = found.lines().zip(expected.lines()).enumerate();
        for (number, (found, expected)) in pairs {
            // Initial values are numbers in the target's byte order.
            let numbers = found.starts_with("  initial") && target == "bpfeb";
            assert!(
                numbers || found == expected,
                "{name}, {target}, line {}: {found}, not {expected} (BLESS=1 accepts it)",
                number + 1
            );
        }
        assert_eq!(found.lines().count(), expected.lines().count(), "{found}");
    }
}

#[test]
fn maps_and_variables() {
    golden("maps");
}

#[test]
fn functions_and_external_symbols() {
    golden("calls");
}

#[test]
fn tables_and_arenas() {
    golden("tables");
}

/// Gives what a skeleton of bpftool's names: maps and programs.
fn skeleton(object: &Path) -> Option<(BTreeSet<String>, BTreeSet<String>)> {
    let output = Command::new("bpftool")
        .args(["gen", "skeleton"])
        .arg(object)
        .args(["name", "it"])
        .output()
        .ok()?;
    if !output.status.success() {
        return None;
    }
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let names = |kind: &str| {
        text.lines()
            .filter_map(|line| line.trim().strip_prefix(kind)?.strip_suffix(';'))
            .map(str::to_owned)
            .collect()
    };
    Some((names("struct bpf_map *"), names("struct bpf_program *")))
}

/// What bpftool calls a map: by its own name, or by its section's.
fn map_names(spec: &Spec) -> BTreeSet<String> {
    let maps = spec.maps.iter().map(|map| match map.section.as_str() {
        ".maps" | "maps" | ".struct_ops" | ".struct_ops.link" => map.name.clone(),
        section => section.trim_start_matches('.').replace('.', "_"),
    });
    maps.collect()
}

/// Finds the kernel's tests, for one test of this process at a time: they compile the same objects.
fn selftests() -> Result<(Selftests, MutexGuard<'static, ()>), String> {
    static ONE: Mutex<()> = Mutex::new(());
    let one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    Ok((Selftests::find()?, one))
}

/// Some of the kernel's tests, of many kinds.
const SAMPLE: [&str; 40] = [
    "atomics",
    "bind4_prog",
    "bloom_filter_map",
    "bpf_cubic",
    "bpf_dctcp",
    "bpf_flow",
    "bpf_iter_task",
    "bpf_loop",
    "btf_data",
    "cgroup_skb_sk_lookup_kern",
    "connect4_prog",
    "core_kern",
    "fentry_test",
    "fexit_bpf2bpf",
    "for_each_hash_map_elem",
    "freplace_connect4",
    "kprobe_multi",
    "local_storage",
    "lsm",
    "map_kptr",
    "modify_return",
    "test_l4lb",
    "ringbuf_bench",
    "sockopt_sk",
    "test_subprogs",
    "struct_ops_autocreate",
    "tailcall_bpf2bpf4",
    "task_ls_recursion",
    "test_btf_map_in_map",
    "test_core_extern",
    "test_global_data",
    "test_global_func1",
    "test_ksyms",
    "test_ksyms_weak",
    "test_map_init",
    "test_prog_array_init",
    "test_skeleton",
    "test_static_linked1",
    "test_usdt",
    "timer",
];

#[test]
fn names_are_those_of_libbpf() {
    let (selftests, _one) = match selftests() {
        Ok(found) => found,
        Err(why) => skip!("clang", "{why}"),
    };
    if Command::new("bpftool").arg("version").output().is_err() {
        skip!("bpftool", "bpftool is missing");
    }
    let mut compared = 0;
    for name in SAMPLE {
        // Some need types of another kernel than this one, or of another release's tests.
        let Ok(bytes) = selftests.object(name) else {
            continue;
        };
        let object = object_path(name);
        std::fs::write(&object, &bytes).expect("a copy of the object");
        let libbpf = skeleton(&object);
        let _ = std::fs::remove_file(&object);
        let Some((maps, programs)) = libbpf else {
            continue;
        };
        let spec = read::object_named(name, &bytes).expect("an object");
        let ours: BTreeSet<String> = spec.programs.iter().map(|p| p.name.clone()).collect();
        assert_eq!(ours, programs, "programs of {name}");
        assert_eq!(map_names(&spec), maps, "maps of {name}");
        let refused = spec.programs.iter().find_map(|p| p.refused.as_ref());
        assert_eq!(refused, None, "{name}");
        compared += 1;
    }
    assert!(compared > 25, "{compared} objects compared");
}

/// Reads an object, writes it, and reads that; none where a program or map was refused.
fn written_again(name: &str, bytes: &[u8]) -> Option<Vec<u8>> {
    let spec = read::object_named(name, bytes).expect("an object");
    let programs = spec.programs.iter().map(|program| &program.refused);
    let maps = spec.maps.iter().map(|map| &map.refused);
    let refused = programs.chain(maps).any(Option::is_some);
    match write::object(&spec, &[]) {
        Ok(written) => {
            assert_eq!(read::object_named(name, &written), Ok(spec), "{name}");
            Some(written)
        }
        Err(error) if !refused => panic!("{name}: {error}"),
        Err(_) => None,
    }
}

#[test]
fn what_is_read_is_written_as_it_was() {
    let (selftests, _one) = match selftests() {
        Ok(found) => found,
        Err(why) => skip!("clang", "{why}"),
    };
    let (mut written, mut opened) = (0, 0);
    for name in SAMPLE {
        let Ok(bytes) = selftests.object(name) else {
            continue;
        };
        let Some(again) = written_again(name, &bytes) else {
            continue;
        };
        written += 1;
        // libbpf finds the same in both.
        let names = |bytes: &[u8]| {
            let path = object_path(&format!("{name}-written"));
            std::fs::write(&path, bytes).expect("a file");
            let names = skeleton(&path);
            let _ = std::fs::remove_file(&path);
            names
        };
        if let Some(first) = names(&bytes) {
            assert_eq!(names(&again), Some(first), "{name}");
            opened += 1;
        }
    }
    assert!(written > 25, "{written} objects written");
    eprintln!("{written} objects written, {opened} opened by libbpf");
}

#[test]
#[ignore = "compiles some 500 objects"]
fn all_that_is_read_is_written_as_it_was() {
    let (selftests, _one) =
        match selftests().and_then(|(found, one)| Ok((found.with_kernel_types()?, one))) {
            Ok(found) => found,
            Err(why) => skip!("selftests", "{why}"),
        };
    let record = include_str!("host_selftests/record.txt");
    let names = record.lines().filter(|line| !line.starts_with('#'));
    let (mut read, mut written) = (0, 0);
    for name in names.filter_map(|line| line.split('\t').next()) {
        if let Ok(bytes) = selftests.object(name) {
            read += 1;
            written += usize::from(written_again(name, &bytes).is_some());
        }
    }
    eprintln!("{written} of {read} objects are written as they were read");
    assert!(written * 10 > read * 9, "{written} of {read}");
}
