//! The scripts that bpftrace ships, unchanged: they compile, and this kernel's verifier takes them.
//!
//! A script may be refused only for something that this kernel does not have, and that is looked up
//! here without kscope.
//@ bpftrace

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use kscope_btf::Kind;
use kscope_tests::assembly::kernel_types;
use kscope_tests::{kernel_or_skip, kscope_or_skip, skip};

/// Scripts that must load: of bookworm's 38, and of sid's 39. Guests have no libraries.
const FLOORS: [(&str, usize); 2] = [("bookworm", 22), ("sid", 34)];

/// What a kernel has, by its own account.
struct Kernel {
    functions: BTreeSet<String>,
    /// Its types, as the kernel gives them.
    types: Vec<u8>,
}

impl Kernel {
    fn read() -> Kernel {
        let symbols = std::fs::read_to_string("/proc/kallsyms").expect("readable");
        let name = |line: &str| Some(line.split_whitespace().nth(2)?.to_owned());
        Kernel {
            functions: symbols.lines().filter_map(name).collect(),
            types: std::fs::read("/sys/kernel/btf/vmlinux").unwrap_or_default(),
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
        if let Some(file) = named("there is no file ") {
            return !Path::new(file).exists();
        }
        if let Some(tracepoint) = named("tracepoint not found: ") {
            let place = tracepoint.replace(':', "/");
            return !Path::new("/sys/kernel/tracing/events").join(place).exists();
        }
        if let Some(library) = named("there is no program or library ") {
            let places = [
                "/lib/x86_64-linux-gnu",
                "/usr/lib/x86_64-linux-gnu",
                "/lib64",
            ];
            return !places
                .iter()
                .any(|place| has_file(Path::new(place), library));
        }
        if let Some(name) = named("Unknown identifier: ") {
            return !contains_name(&self.types, name.trim_matches('\''));
        }
        if let (Some(tracepoint), Some(field)) = (
            named("ERROR: tracepoint:"),
            quoted(refusal, " a field named '"),
        ) {
            let place = tracepoint.replace(':', "/");
            let format = Path::new("/sys/kernel/tracing/events").join(place);
            let text = std::fs::read_to_string(format.join("format")).expect("a format");
            return !text.contains(&format!(" {field};"));
        }
        if let (Some(holder), Some(member)) = (
            quoted(refusal, " of type 'struct "),
            quoted(refusal, " a field named '"),
        ) {
            let types = kernel_types().expect("the kernel's types");
            let holder = types.find(holder, Kind::Struct);
            return holder.is_none_or(|holder| types.member(holder, member).is_none());
        }
        if let Some((place, function)) = refusal.split_once(" has no function ") {
            let library = place.split_whitespace().last().unwrap_or_default();
            return std::fs::read(library)
                .is_ok_and(|bytes| !contains_name(&bytes, function.trim()));
        }
        false
    }
}

/// Gives what stands behind a phrase, up to the next quote.
fn quoted<'a>(text: &'a str, phrase: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(phrase)?;
    Some(rest.split_once('\'')?.0)
}

/// Tells whether bytes hold a name by itself.
fn contains_name(bytes: &[u8], name: &str) -> bool {
    let name = [b"\0", name.as_bytes(), b"\0"].concat();
    bytes.windows(name.len()).any(|bytes| bytes == name)
}

/// Tells whether a folder has a file whose name begins like this and goes on behind a dot.
fn has_file(folder: &Path, start: &str) -> bool {
    let mut entries = std::fs::read_dir(folder).into_iter().flatten();
    entries.any(|entry| {
        let name = entry.map(|entry| entry.file_name()).unwrap_or_default();
        let name = name.to_string_lossy();
        name.strip_prefix(start)
            .is_some_and(|rest| rest.starts_with('.'))
    })
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
        // Of many of a kind the first are shown, and how many more there are.
        let is_one = |line: &&str| line.contains("ERROR") && !line.contains(" more of this kind: ");
        let errors: Vec<&str> = said.lines().filter(is_one).collect();
        let untrue: Vec<&&str> = errors.iter().filter(|line| !kernel.lacks(line)).collect();
        println!("{name}: {}", said.lines().next().unwrap_or_default());
        if errors.is_empty() || !untrue.is_empty() {
            wrong.push(format!("{name}: {said}"));
        }
    }
    println!("{loaded} of {} loaded", scripts.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let floor = FLOORS.iter().find(|(name, _)| *name == release);
    let (_, floor) = floor.expect("a floor");
    assert!(
        loaded >= *floor,
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
