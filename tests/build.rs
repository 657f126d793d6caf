//! Compiles the objects and the programs of the tests, and cuts the objects of libbpf's own tools out of
//! the executables that Debian's package `libbpf-tools` has (or those in the folder that
//! `KSCOPE_LIBBPF_TOOLS` names), so that tests carry them into guests that have no compiler and no packages.
//! Without clang there are no objects, without cc and a static C library no programs, and the tests that
//! want them are skipped.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where sources of objects are, and what the names of their objects begin with.
const FOLDERS: [(&str, &str); 2] = [("programs/objects", ""), ("programs/tools", "tools/")];
const PROGRAMS: &str = "programs";

/// A program that loads objects with libbpf, and what it is linked with.
const PEER: &str = "peers/libbpf_load.c";
const LIBBPF: [&str; 3] = ["-lbpf", "-lelf", "-lz"];

/// What dpkg keeps of libbpf's tools.
const TOOLS: &str = "/var/lib/dpkg/info/libbpf-tools.list";

fn main() {
    println!("cargo::rerun-if-changed={PROGRAMS}");
    println!("cargo::rerun-if-env-changed=KSCOPE_CLANG");
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo gives it"));
    let mut table = String::from("&[\n");
    let compiler = compiler();
    for (folder, start) in FOLDERS {
        let Some(compiler) = &compiler else {
            continue;
        };
        // Of a folder each: two of them may have sources of the same name.
        let into = out.join(folder);
        std::fs::create_dir_all(&into).expect("cargo's own folder");
        for source in sources(folder, ".bpf.c") {
            let name = source.file_name().expect("a file").to_string_lossy();
            let name = name.trim_end_matches(".bpf.c");
            let object = into.join(format!("{name}.bpf.o"));
            compile(compiler, &source, &object);
            let name = format!("{start}{name}");
            writeln!(table, "    ({name:?}, include_bytes!({object:?})),").expect("a string");
        }
    }
    table.push_str("]\n");
    std::fs::write(out.join("objects.rs"), table).expect("cargo's own folder");
    let mut table = String::from("&[\n");
    let programs = sources(PROGRAMS, ".c").into_iter();
    let programs = programs.map(|source| (source, &[][..]));
    for (source, libraries) in programs.chain([(PathBuf::from(PEER), &LIBBPF[..])]) {
        let name = source.file_stem().expect("a file").to_string_lossy();
        let program = out.join(&*name);
        if link(&source, libraries, &program) {
            writeln!(table, "    ({name:?}, include_bytes!({program:?})),").expect("a string");
        }
    }
    table.push_str("]\n");
    std::fs::write(out.join("programs.rs"), table).expect("cargo's own folder");
    std::fs::write(out.join("libbpf_tools.rs"), tools(&out)).expect("cargo's own folder");
}

/// Gives the table of the objects of libbpf's tools.
fn tools(out: &Path) -> String {
    println!("cargo::rerun-if-env-changed=KSCOPE_LIBBPF_TOOLS");
    println!("cargo::rerun-if-changed={PEER}");
    let mut executables: Vec<PathBuf> = match std::env::var_os("KSCOPE_LIBBPF_TOOLS") {
        Some(folder) => std::fs::read_dir(folder)
            .expect("a folder")
            .map(|entry| entry.expect("readable").path())
            .collect(),
        None => {
            println!("cargo::rerun-if-changed={TOOLS}");
            let list = std::fs::read_to_string(TOOLS).unwrap_or_default();
            let files = list.lines().filter(|line| line.starts_with("/usr/sbin/"));
            files.map(PathBuf::from).collect()
        }
    };
    // Links are the same tools under other names.
    executables.retain(|path| path.symlink_metadata().is_ok_and(|found| found.is_file()));
    executables.sort();
    let mut table = String::from("&[\n");
    for path in &executables {
        let name = path.file_name().expect("a file").to_string_lossy();
        let bytes = std::fs::read(path).expect("readable");
        for object in embedded(&bytes) {
            let file = out.join(format!("libbpf-tools-{name}.bpf.o"));
            std::fs::write(&file, object).expect("cargo's own folder");
            writeln!(table, "    ({name:?}, include_bytes!({file:?})),").expect("a string");
        }
    }
    table.push_str("]\n");
    table
}

/// Finds the objects for BPF inside of an executable: each begins as a file does, and ends with its table
/// of sections.
fn embedded(bytes: &[u8]) -> Vec<&[u8]> {
    let number = |at: usize, size: usize| -> Option<usize> {
        let mut wide = [0; 8];
        wide[..size].copy_from_slice(bytes.get(at..at.checked_add(size)?)?);
        usize::try_from(u64::from_le_bytes(wide)).ok()
    };
    // A wide little-endian file, relocatable, for EM_BPF.
    let starts = (1..bytes.len().saturating_sub(64)).filter(|&at| {
        bytes[at..].starts_with(b"\x7fELF\x02\x01") && bytes[at + 16..].starts_with(&[1, 0, 247, 0])
    });
    starts
        .filter_map(|at| {
            let sections = number(at + 40, 8)?;
            let length = number(at + 58, 2)?.checked_mul(number(at + 60, 2)?)?;
            bytes.get(at..at.checked_add(sections)?.checked_add(length)?)
        })
        .collect()
}

/// Gives the files of a folder whose names end like this, sorted.
fn sources(folder: &str, end: &str) -> Vec<PathBuf> {
    let mut sources: Vec<PathBuf> = std::fs::read_dir(folder)
        .expect("the folder is there")
        .map(|entry| entry.expect("readable").path())
        .filter(|path| path.to_string_lossy().ends_with(end))
        .collect();
    sources.sort();
    sources
}

/// Makes a program that needs nothing else; false where this machine cannot.
fn link(source: &Path, libraries: &[&str], program: &Path) -> bool {
    // Functions are looked up by their names.
    let named = ["functions.c", "last_thread.c"];
    let strip = match named.iter().any(|name| source.ends_with(name)) {
        true => "-Wl,--strip-debug",
        false => "-s",
    };
    let compiled = Command::new("cc")
        .args(["-O1", "-pthread", "-static", strip, "-o"])
        .arg(program)
        .arg(source)
        .args(libraries)
        .output();
    match compiled {
        Ok(output) if output.status.success() => true,
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr);
            for line in said.lines() {
                println!("cargo::warning={line}");
            }
            false
        }
        Err(_) => false,
    }
}

/// What libbpf's headers and ours know the processor by.
fn processor() -> &'static str {
    match std::env::var("CARGO_CFG_TARGET_ARCH").as_deref() {
        Ok("aarch64") => "-D__TARGET_ARCH_arm64",
        _ => "-D__TARGET_ARCH_x86",
    }
}

fn compile(compiler: &str, source: &Path, object: &Path) {
    let status = Command::new(compiler)
        .args([
            "-g", "-O2", "-Wall", "-target", "bpf", "-mcpu=v2", "-c", "-o",
        ])
        .arg(object)
        .arg(processor())
        // Paths in the objects are the same everywhere.
        .arg("-fdebug-compilation-dir=.")
        .arg(source)
        .status()
        .expect("it was found");
    assert!(
        status.success(),
        "{compiler} {}: {status}",
        source.display()
    );
}

fn compiler() -> Option<String> {
    let named = std::env::var("KSCOPE_CLANG").ok();
    let versions = (14..30).rev().map(|version| format!("clang-{version}"));
    let names = named
        .into_iter()
        .chain(["clang".to_owned()])
        .chain(versions);
    names.into_iter().find(|name| {
        let output = Command::new(name).arg("--version").output();
        output.is_ok_and(|output| output.status.success())
    })
}
