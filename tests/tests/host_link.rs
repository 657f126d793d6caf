//! Objects of the kernel's tests linked, beside what `bpftool gen object` makes of them: the same
//! programs, maps and variables, which kscope and libbpf both load.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};

use kscope_bpf::Loader;
use kscope_bpf::btf::{Btf, Kind, Type, TypeId};
use kscope_bpf::spec::{RelocKind, Spec, link, read};
use kscope_tests::assembly::{kernel_types, privileged};
use kscope_tests::program::{Folder, kscope};
use kscope_tests::selftests::Selftests;
use kscope_tests::skip;

/// Objects that are linked together.
struct Together {
    names: &'static [&'static str],
    /// Whether all of it loads on the host; programs that are optional apart.
    loads: bool,
    /// Whether bpftool 7.0 links it right: of a map or variable that is declared in a file before
    /// the one that defines it, it has the place wrong.
    right: bool,
}

const fn together(names: &'static [&'static str]) -> Together {
    Together {
        names,
        loads: true,
        right: true,
    }
}

const GROUPS: [Together; 7] = [
    together(&["linked_funcs1", "linked_funcs2"]),
    Together {
        right: false,
        ..together(&["linked_maps1", "linked_maps2"])
    },
    together(&["linked_vars1", "linked_vars2"]),
    together(&["test_static_linked1", "test_static_linked2"]),
    Together {
        right: false,
        ..together(&[
            "test_subskeleton_lib2",
            "test_subskeleton_lib",
            "test_subskeleton",
        ])
    },
    // Nothing in common but the section of the programs, and types of the kernel.
    together(&["bind4_prog", "bind6_prog"]),
    together(&["bpf_iter_task", "bpf_iter_task_file", "bpf_iter_task_stack"]),
];

/// Finds the kernel's tests, for one test of this process at a time.
fn selftests() -> Result<(Selftests, MutexGuard<'static, ()>), String> {
    static ONE: Mutex<()> = Mutex::new(());
    let one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let found = Selftests::find().and_then(Selftests::with_kernel_types)?;
    Ok((found, one))
}

fn file(folder: &Folder, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).expect("a file");
    path
}

/// Gives what must not depend on who linked: programs with their instructions and what each refers
/// to, maps, variables, external symbols.
fn essence(spec: &Spec) -> BTreeSet<String> {
    let mut lines = BTreeSet::new();
    let map = |id: kscope_bpf::spec::MapId| &spec.maps[id.0 as usize];
    for program in &spec.programs {
        let refers = program.relocs.iter().map(|reloc| match &reloc.kind {
            RelocKind::Map(id) => format!("{} map {}", reloc.insn, map(*id).name),
            RelocKind::MapValue { map: id, offset } => {
                let variable = spec
                    .variables
                    .iter()
                    .find(|v| v.map == *id && (v.offset..v.offset + v.size).contains(offset));
                let name = variable.map_or_else(String::new, |v| v.name.clone());
                format!("{} {} {name}", reloc.insn, map(*id).section)
            }
            RelocKind::Extern(id) => {
                format!("{} {:?}", reloc.insn, spec.externs[id.0 as usize].name)
            }
            other => format!("{} {other:?}", reloc.insn),
        });
        let refers: Vec<String> = refers.collect();
        let core: Vec<_> = program
            .core
            .iter()
            .map(|core| (core.insn, core.kind, &core.access))
            .collect();
        let funcs: Vec<_> = program.funcs.iter().map(|f| (f.insn, &f.name)).collect();
        lines.insert(format!(
            "program {} {} {:?} {:?}\n {refers:?}\n {core:?}\n {funcs:?}\n {:?}",
            program.name, program.section, program.kind, program.refused, program.insns
        ));
    }
    for one in &spec.maps {
        lines.insert(format!(
            "map {} {} {:?} {} {} {} {:?} {:?}",
            one.name,
            one.section,
            one.kind,
            one.key_size,
            one.value_size,
            one.max_entries,
            one.initial,
            one.refused
        ));
    }
    for one in &spec.variables {
        let place = (&map(one.map).section, one.offset, one.size);
        lines.insert(format!("variable {} {place:?}", one.name));
    }
    for one in &spec.externs {
        lines.insert(format!("extern {} {}", one.name, one.weak));
    }
    lines
}

/// Gives the names of everything.
fn names(spec: &Spec) -> BTreeSet<&str> {
    let programs = spec.programs.iter().map(|one| one.name.as_str());
    let maps = spec.maps.iter().map(|one| one.name.as_str());
    let variables = spec.variables.iter().map(|one| one.name.as_str());
    let externs = spec.externs.iter().map(|one| one.name.as_str());
    programs
        .chain(maps)
        .chain(variables)
        .chain(externs)
        .collect()
}

/// Gives all types but variables and sections, which nobody merges.
fn types(spec: &Spec) -> Vec<String> {
    let btf = Btf::parse(spec.types.clone()).expect("types");
    let kept = |id: &TypeId| !matches!(btf.kind(*id), Some(Kind::Var | Kind::DataSec));
    let mut texts: Vec<String> = btf
        .ids()
        .filter(kept)
        .map(|id| match btf.get(id) {
            Some(Type::Func { name, .. }) => format!("func {name}"),
            _ => btf.print_c(id),
        })
        .collect();
    texts.sort();
    texts
}

fn bpftool(arguments: &[&str], files: &[&Path]) -> Result<(), String> {
    let output = Command::new("bpftool")
        .args(arguments)
        .args(files)
        .output()
        .map_err(|error| format!("bpftool is missing: {error}"))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

#[test]
fn objects_are_linked_as_libbpf_links_them() {
    let (selftests, _one) = match selftests() {
        Ok(found) => found,
        Err(reason) => skip!("selftests", "{reason}"),
    };
    if let Err(reason) = bpftool(&["version"], &[]) {
        skip!("bpftool", "{reason}");
    }
    let program = kscope();
    let folder = Folder::new("link");
    let mut compared = 0;
    for group in &GROUPS {
        let name = group.names[0];
        let mut files = Vec::new();
        for name in group.names {
            match selftests.object(name) {
                Ok(bytes) => files.push(file(&folder, &format!("{name}.o"), &bytes)),
                Err(error) => eprintln!("{name}: {error}"),
            }
        }
        if files.len() != group.names.len() {
            continue;
        }
        let output = folder.path().join("ours.o");
        let done = Command::new(&program)
            .arg("link")
            .arg("-o")
            .arg(&output)
            .args(&files)
            .output()
            .expect("kscope");
        let said = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "{name}: {said}");
        let ours = std::fs::read(&output).expect("an object");
        let ours = read::object_named("it", &ours).expect("an object");

        let theirs = folder.path().join("theirs.o");
        let mut all: Vec<&Path> = vec![&theirs];
        all.extend(files.iter().map(PathBuf::as_path));
        bpftool(&["gen", "object"], &all).unwrap_or_else(|error| panic!("{name}: {error}"));
        let theirs = std::fs::read(&theirs).expect("an object");
        let theirs = read::object_named("it", &theirs).expect("an object");
        assert_eq!(names(&ours), names(&theirs), "{name}");
        if group.right {
            assert_eq!(essence(&ours), essence(&theirs), "{name}");
            let (ours, theirs) = (types(&ours), types(&theirs));
            // Each of theirs is there; none is there more often than theirs.
            assert_eq!(ours, theirs, "{name}");
        }
        compared += 1;

        let Ok(kernel) = privileged() else {
            continue;
        };
        if group.loads {
            let loader = Loader::new(kernel).btf(kernel_types());
            let object = loader.load(&ours).expect("an object");
            let failed: Vec<String> = object.failures().map(ToString::to_string).collect();
            assert_eq!(failed, [""; 0], "{name}");
            let wanted = ours.programs.iter().filter(|program| !program.optional);
            if wanted.count() == ours.programs.len() {
                let pins = format!("/sys/fs/bpf/kscope-link-{}", std::process::id());
                let loaded = bpftool(&["prog", "loadall", &output.to_string_lossy(), &pins], &[]);
                let _ = std::fs::remove_dir_all(&pins);
                assert_eq!(loaded, Ok(()), "{name}: libbpf does not load it");
            }
        }
    }
    assert!(compared >= 5, "{compared} groups compared");
}

#[test]
fn one_object_linked_is_that_object() {
    let (selftests, _one) = match selftests() {
        Ok(found) => found,
        Err(reason) => skip!("selftests", "{reason}"),
    };
    for name in [
        "bpf_cubic",
        "test_ksyms_weak",
        "test_btf_map_in_map",
        "test_usdt",
    ] {
        let Ok(bytes) = selftests.object(name) else {
            continue;
        };
        let alone = read::object_named(name, &bytes).expect("an object");
        let linked = link::spec(name, &[(name, &bytes)]).expect("a linked object");
        assert_eq!(essence(&linked), essence(&alone), "{name}");
    }
}

#[test]
fn errors_name_file_symbol_and_section() {
    let program = kscope();
    let folder = Folder::new("link-errors");
    let check = |files: &[(&str, &[u8])], expected: &str| {
        let paths = files.iter().map(|(name, bytes)| file(&folder, name, bytes));
        let output = Command::new(&program)
            .current_dir(folder.path())
            .args(["link", "-o", "out.o"])
            .args(paths.map(|path| path.file_name().expect("a name").to_owned()))
            .output()
            .expect("kscope");
        assert_eq!(output.status.code(), Some(1));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains(expected), "{said}");
        assert!(!folder.path().join("out.o").exists());
    };
    check(
        &[("a.o", b"#!/bin/sh")],
        "cannot link: a.o: no ELF file: it does not begin with \\x7fELF",
    );
    let Some(compiler) = kscope_tests::selftests::clang() else {
        skip!("clang", "clang is missing");
    };
    let compile = |name: &str, text: &str| {
        let source = file(&folder, &format!("{name}.c"), text.as_bytes());
        let object = folder.path().join(format!("{name}.o"));
        let status = Command::new(&compiler)
            .args(["-g", "-O2", "-target", "bpf", "-c", "-o"])
            .arg(&object)
            .arg(&source)
            .status();
        assert!(status.expect("clang").success());
        std::fs::read(&object).expect("an object")
    };
    let one = compile("one", "int f(int a) { return a; }\nint shared = 1;\n");
    let two = compile("two", "int f(int a) { return a + 1; }\n");
    check(
        &[("one.o", &one), ("two.o", &two)],
        "'f' is defined twice: in one.o (section '.text') and in two.o (section '.text'); make one of them __weak, or static",
    );
    let three = compile(
        "three",
        "extern long shared;\n__attribute__((section(\"xdp\"))) int p(void *c) { return shared; }\n",
    );
    check(
        &[("one.o", &one), ("three.o", &three)],
        "'shared' is declared differently in three.o than in one.o: 'long",
    );
}
