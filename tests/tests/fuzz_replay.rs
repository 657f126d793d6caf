//! The fuzz targets over their seeds and over what becomes of these with a byte or more changed.

#[allow(
    unreachable_pub,
    reason = "the bodies are a library where the fuzzer builds them"
)]
#[path = "../../fuzz/src/lib.rs"]
mod bodies;

use std::path::Path;

/// Most bytes of all seeds together.
const ROOM: u64 = 240 << 10;

/// Gives the seeds of a target by name.
fn seeds(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds");
    let entries = std::fs::read_dir(folder.join(target)).expect("a folder of seeds");
    let mut seeds: Vec<(String, Vec<u8>)> = entries
        .map(|entry| {
            let path = entry.expect("an entry").path();
            let name = path
                .file_name()
                .expect("a name")
                .to_string_lossy()
                .into_owned();
            (name, std::fs::read(&path).expect("a seed"))
        })
        .collect();
    seeds.sort();
    seeds
}

/// Numbers that look random and are the same in each run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        usize::try_from(self.0 >> 33).unwrap_or(0) % bound.max(1)
    }
}

/// Changes bytes, cuts, and joins a piece of another seed.
fn mutate(bytes: &mut Vec<u8>, other: &[u8], numbers: &mut Numbers) {
    const TELLING: [u8; 10] = [0, 1, 0x7f, 0x80, 0xff, b'(', b'{', b'"', b'/', b'@'];
    for _ in 0..=numbers.below(3) {
        let at = numbers.below(bytes.len());
        match numbers.below(5) {
            0 => bytes.truncate(at),
            1 => {
                let from = numbers.below(other.len());
                let piece = other[from..].iter().take(numbers.below(24)).copied();
                bytes.splice(at..at, piece.collect::<Vec<u8>>());
            }
            2 if !bytes.is_empty() => drop(bytes.remove(at)),
            3 if !bytes.is_empty() => bytes[at] = TELLING[numbers.below(TELLING.len())],
            _ if !bytes.is_empty() => bytes[at] ^= 1 << numbers.below(8),
            _ => bytes.push(0),
        }
    }
}

/// Replays the seeds of a target: those that are not named get far. Then mutates them.
fn replay(target: &str, body: fn(&[u8]) -> bool, not_far: &[&str], rounds: usize) {
    let seeds = seeds(target);
    assert!(seeds.len() > 4, "seeds of {target} are missing");
    for (name, bytes) in &seeds {
        let far = body(bytes);
        assert_eq!(far, !not_far.contains(&name.as_str()), "{target}/{name}");
    }
    let mut numbers = Numbers(1);
    for _ in 0..rounds {
        let (_, first) = &seeds[numbers.below(seeds.len())];
        let (_, second) = &seeds[numbers.below(seeds.len())];
        let mut bytes = first.clone();
        mutate(&mut bytes, second, &mut numbers);
        body(&bytes);
    }
}

#[test]
fn types() {
    let refused = ["short.btf", "torn.btf", "unknown.btf"];
    replay("btf", bodies::btf, &refused, 500);
}

#[test]
fn information_of_instructions() {
    replay("ext", bodies::ext, &["short.bin", "torn.bin"], 3000);
}

#[test]
fn relocations() {
    replay("core", bodies::core, &["nothing.bin"], 1000);
}

#[test]
fn scripts() {
    replay("script", bodies::script, &["wrong.bt"], 300);
}

#[test]
fn events() {
    replay("event", bodies::event, &[], 3000);
}

#[test]
fn objects() {
    replay("object", bodies::object, &["cut.o", "stripped.o"], 2000);
}

#[test]
fn linked_objects() {
    replay("object", bodies::link, &["cut.o", "stripped.o"], 1000);
}

#[test]
fn symbol_tables() {
    replay("kallsyms", bodies::kallsyms, &["torn", "empty"], 5000);
}

#[test]
fn logs() {
    replay("log", bodies::log, &["none"], 5000);
}

#[test]
fn dumps() {
    replay("dump", bodies::dump, &[], 120);
}

#[test]
fn scripts_over_memory() {
    replay("interpret", bodies::interpret, &["empty", "wrong"], 400);
}

#[test]
fn configurations() {
    replay("kconfig", bodies::kconfig, &["other"], 5000);
}

#[test]
fn what_a_capture_is_made_of() {
    let refused = ["cpio_cut", "elf_cut", "manifest_short", "config_wrong"];
    replay("capture", bodies::capture, &refused, 5000);
}

#[test]
fn plans() {
    replay("plan", bodies::plan, &["newer"], 5000);
}

#[test]
fn instructions() {
    replay("insn", bodies::insn, &[], 1000);
}

#[test]
fn seeds_are_small() {
    let bytes = |target| {
        seeds(target)
            .iter()
            .map(|(_, bytes)| bytes.len() as u64)
            .sum::<u64>()
    };
    let targets = [
        "btf",
        "ext",
        "core",
        "script",
        "event",
        "object",
        "plan",
        "insn",
        "kallsyms",
        "log",
        "kconfig",
        "dump",
        "capture",
        "interpret",
    ];
    let all: u64 = targets.map(bytes).iter().sum();
    assert!(all < ROOM, "{all} bytes");
}
