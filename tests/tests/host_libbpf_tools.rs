//! The objects of libbpf's own tools, cut out of the executables that Debian's package `libbpf-tools` has
//! (or those in the folder that `KSCOPE_LIBBPF_TOOLS` names), loaded whole beside the installed libbpf.

#[path = "host_selftests/libbpf.rs"]
mod libbpf;

use std::path::{Path, PathBuf};

use kscope_bpf::Loader;
use kscope_bpf::spec::read;
use kscope_bpf::sys::SharedKernel;
use kscope_tests::assembly::kernel_types;
use kscope_tests::program::Folder;
use kscope_tests::{kernel_or_skip, skip};
use libbpf::Libbpf;

/// What dpkg keeps of the package.
const LIST: &str = "/var/lib/dpkg/info/libbpf-tools.list";

fn executables() -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = match std::env::var_os("KSCOPE_LIBBPF_TOOLS") {
        Some(folder) => std::fs::read_dir(folder)
            .expect("a folder")
            .map(|entry| entry.expect("readable").path())
            .collect(),
        None => std::fs::read_to_string(LIST)
            .unwrap_or_default()
            .lines()
            .filter(|line| line.starts_with("/usr/sbin/"))
            .map(PathBuf::from)
            .collect(),
    };
    found.retain(|path| path.is_file());
    found.sort();
    found
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

fn load(kernel: &SharedKernel, name: &str, bytes: &[u8]) -> Result<(), String> {
    let spec = read::object_named(name, bytes).map_err(|error| error.to_string())?;
    let loader = Loader::new(kernel.clone())
        .btf(kernel_types())
        .all_or_nothing();
    let loaded = loader.load(&spec).map(drop);
    loaded.map_err(|error| error.to_string())
}

/// What one loader and the other did, by name.
#[derive(Debug, Default)]
struct Tally {
    both: Vec<String>,
    ours: Vec<String>,
    theirs: Vec<String>,
    neither: usize,
}

#[test]
#[ignore = "the verifier goes through the programs of fifty tools twice"]
fn the_tools_of_libbpf_load_wherever_libbpf_loads_them() {
    let kernel = kernel_or_skip!();
    let executables = executables();
    if executables.is_empty() {
        skip!("libbpf-tools", "libbpf-tools is not installed");
    }
    let peer = match Libbpf::find() {
        Ok(peer) => peer,
        Err(reason) => skip!("libbpf", "{reason}"),
    };
    let folder = Folder::new("libbpf-tools");
    let mut tally = Tally::default();
    let mut objects = 0;
    for path in &executables {
        let name = path.file_name().expect("a file").to_string_lossy();
        let bytes = std::fs::read(path).expect("readable");
        for object in embedded(&bytes) {
            objects += 1;
            let file = folder.path().join(format!("{name}.bpf.o"));
            std::fs::write(&file, object).expect("writable");
            let ours = load(&kernel, &name, object);
            let theirs = peer.load(Path::new(&file));
            match (ours, theirs) {
                (Ok(()), Ok(())) => tally.both.push(name.to_string()),
                (Ok(()), Err(said)) => tally.ours.push(format!("{name}: libbpf says {said}")),
                (Err(why), Ok(())) => tally.theirs.push(format!("{name}: {why}")),
                (Err(_), Err(_)) => tally.neither += 1,
            }
        }
    }
    eprintln!(
        "{objects} objects of {} tools: {} load with both, {} with kscope alone, {} with libbpf {} \
         alone, {} with neither",
        executables.len(),
        tally.both.len(),
        tally.ours.len(),
        tally.theirs.len(),
        peer.version,
        tally.neither
    );
    eprintln!("{:#?}", tally.ours);
    assert!(objects >= 40, "{objects} objects found");
    assert!(!tally.both.is_empty());
    assert_eq!(tally.theirs, [""; 0], "libbpf loads what kscope does not");
}
