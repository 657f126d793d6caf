//! The scripts that bpftrace ships, unchanged: they compile, and this kernel's verifier takes them.
//!
//! A script may be refused only for something that this kernel does not have, and that is looked up
//! here without kscope.
//@ bpftrace

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use kscope_tests::{kernel_or_skip, kscope_or_skip, skip};

/// Scripts of a release that must load, of all.
const FLOORS: [(&str, usize, usize); 2] = [("bookworm", 28, 38), ("sid", 36, 39)];

/// Members that went out of the kernel, and functions out of libraries: what the refusal says.
const OTHERS: [&str; 2] = ["does not contain a field named", " has no function "];

/// Scripts of bookworm that use variables outside of their block, which bpftrace refuses since 0.22.
const UNSCOPED: [&str; 2] = ["tcpconnect.bt", "tcpdrop.bt"];

/// What a kernel has, by its own account.
struct Kernel {
    functions: BTreeSet<String>,
}

impl Kernel {
    fn read() -> Kernel {
        let symbols = std::fs::read_to_string("/proc/kallsyms").expect("readable");
        let name = |line: &str| Some(line.split_whitespace().nth(2)?.to_owned());
        Kernel {
            functions: symbols.lines().filter_map(name).collect(),
        }
    }

    /// Tells whether it is true that the kernel, or the machine, lacks what a refusal names.
    fn lacks(&self, refusal: &str) -> bool {
        let named = |phrase: &str| {
            let (_, rest) = refusal.split_once(phrase)?;
            rest.split_whitespace().next()
        };
        if let Some(function) = named("kernel function not found: ") {
            return !self.functions.contains(function);
        }
        if let Some(pattern) = named("No matches for kernel function ") {
            let start = pattern.split('*').next().unwrap_or_default();
            return !self.functions.iter().any(|name| name.starts_with(start));
        }
        if let Some(symbol) = named("there is no kernel symbol ") {
            return !self.functions.contains(symbol);
        }
        if let Some(file) = named("no such file: ") {
            return !Path::new(file).exists();
        }
        OTHERS.iter().any(|phrase| refusal.contains(phrase))
    }
}

/// Gives the scripts of a release, sorted.
fn scripts(release: &str) -> Option<Vec<PathBuf>> {
    let folder = PathBuf::from(std::env::var_os("KSCOPE_BPFTRACE")?).join(release);
    let entries = std::fs::read_dir(folder).ok()?;
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    files.sort();
    (!files.is_empty()).then_some(files)
}

/// Compiles and loads a script; gives all that is said where it is refused.
fn load(program: &Path, script: &Path) -> Result<(), String> {
    let output = Command::new("timeout")
        .args(["-s", "KILL", "50"])
        .arg(program)
        .args(["check", "--load"])
        .arg(script)
        .output()
        .expect("kscope starts");
    match output.status.code() {
        Some(0) => Ok(()),
        _ => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

fn check(release: &str) {
    let _kernel = kernel_or_skip!();
    let program = kscope_or_skip!();
    let Some(scripts) = scripts(release) else {
        skip!("bpftrace", "bpftrace's scripts of {release} are not here");
    };
    let kernel = Kernel::read();
    let mut loaded = 0;
    let mut wrong = Vec::new();
    for script in &scripts {
        let name = script.file_name().unwrap_or_default().to_string_lossy();
        let Err(said) = load(&program, script) else {
            loaded += 1;
            continue;
        };
        let unscoped = release == "bookworm" && UNSCOPED.contains(&&*name);
        let excused = |line: &str| {
            kernel.lacks(line) || (unscoped && line.contains("Undefined or undeclared"))
        };
        let errors: Vec<&str> = said.lines().filter(|line| line.contains("ERROR")).collect();
        let untrue: Vec<&&str> = errors.iter().filter(|line| !excused(line)).collect();
        println!("{name}: {}", said.lines().next().unwrap_or_default());
        if errors.is_empty() || !untrue.is_empty() {
            wrong.push(format!("{name}: {said}"));
        }
    }
    println!("{loaded} of {} loaded", scripts.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let floor = FLOORS.iter().find(|(name, _, _)| *name == release);
    let (_, floor, all) = floor.expect("a floor");
    assert!(
        loaded >= *floor || scripts.len() != *all,
        "{loaded} of {} loaded, at least {floor} did",
        scripts.len()
    );
}

#[test]
fn those_of_bookworm_load() {
    check("bookworm");
}

#[test]
fn those_of_sid_load() {
    check("sid");
}
