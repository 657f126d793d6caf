//! What tests of `kscope build` find in guests: objects that were built on this machine, and its bpftool, so that libbpf
//! loads them there as well.
//!
//! A line `//@ objects: tools/opensnoop.bt` in a test's file has that script built; the guest has it as
//! /objects/opensnoop.bpf.o. bpftool and the libraries it needs are in /foreign.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::cargo;

/// Where bpftool may be.
const BPFTOOL: [&str; 3] = [
    "/usr/sbin/bpftool",
    "/usr/bin/bpftool",
    "/usr/local/sbin/bpftool",
];

/// Gives the scripts that a test's source asks for.
pub(super) fn named_in(source: &str) -> Vec<String> {
    source
        .lines()
        .filter_map(|line| line.trim().strip_prefix("//@ objects:"))
        .flat_map(|names| names.split(','))
        .map(|name| name.trim().to_string())
        .filter(|name| !name.is_empty())
        .collect()
}

/// Builds the scripts and gives the guest's files by their names there.
pub(super) fn build(scripts: &[String], kscope: &Path) -> Result<Vec<(String, PathBuf)>, String> {
    let folder = cargo::scratch_dir()?.join("objects");
    std::fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut files = Vec::new();
    for script in scripts {
        let stem = Path::new(script).file_stem().unwrap_or_default();
        let name = format!("{}.bpf.o", stem.to_string_lossy());
        let object = folder.join(&name);
        let status = Command::new(kscope)
            .arg("build")
            .arg(cargo::root().join(script))
            .arg("-o")
            .arg(&object)
            .status()
            .map_err(|error| format!("{}: {error}", kscope.display()))?;
        if !status.success() {
            return Err(format!("{script} was not built"));
        }
        files.push((format!("objects/{name}"), object));
    }
    files.extend(foreign());
    Ok(files)
}

/// Gives bpftool with its libraries; nothing where this machine has none.
fn foreign() -> Vec<(String, PathBuf)> {
    let Some(bpftool) = BPFTOOL.iter().map(Path::new).find(|path| path.is_file()) else {
        return Vec::new();
    };
    let output = Command::new("ldd")
        .arg(bpftool)
        .stderr(Stdio::null())
        .output();
    let text = output.map_or_else(
        |_| String::new(),
        |output| String::from_utf8_lossy(&output.stdout).into_owned(),
    );
    let mut files = vec![("foreign/bpftool".to_string(), bpftool.to_path_buf())];
    files.extend(text.lines().filter_map(library));
    files
}

/// Reads a line of ldd: `libz.so.1 => /lib/libz.so.1 (0x…)`, or the loader's path alone.
fn library(line: &str) -> Option<(String, PathBuf)> {
    let line = line.trim();
    let (name, rest) = match line.split_once(" => ") {
        Some((name, rest)) => (name, rest),
        None if line.starts_with('/') => ("ld.so", line),
        None => return None,
    };
    let path = rest.split_whitespace().next()?;
    Some((format!("foreign/{name}"), PathBuf::from(path)))
}

#[cfg(test)]
mod tests {
    use super::{library, named_in};
    use std::path::PathBuf;

    #[test]
    fn scripts_are_named_in_a_line() {
        let check = |source: &str, expected: &[&str]| assert_eq!(named_in(source), expected);
        check(
            "//! A test.\n//@ objects: a/b.bt, c.bt\n",
            &["a/b.bt", "c.bt"],
        );
        check("//@ modules: a\n// //@ objects: b\n", &[]);
    }

    #[test]
    fn libraries_are_what_ldd_prints() {
        let check = |line: &str, expected: Option<(&str, &str)>| {
            let expected = expected.map(|(name, path)| (name.to_string(), PathBuf::from(path)));
            assert_eq!(library(line), expected, "{line}");
        };
        let libz = ("foreign/libz.so.1", "/lib/libz.so.1");
        check("\tlibz.so.1 => /lib/libz.so.1 (0x00007f)", Some(libz));
        check(
            "\t/lib64/ld-linux-x86-64.so.2 (0x00007f)",
            Some(("foreign/ld.so", "/lib64/ld-linux-x86-64.so.2")),
        );
        check("\tlinux-vdso.so.1 (0x00007ffd)", None);
    }
}
