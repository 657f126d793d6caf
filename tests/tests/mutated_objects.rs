//! Small objects that clang makes, with bytes changed: reading, checking, printing, linking and
//! writing them never panics, and never takes more memory than a limit that is set for the process.
//! Where clang is missing the seeds of the fuzz targets stand in.

#[path = "../../fuzz/src/kernel.rs"]
#[allow(dead_code, reason = "its catalogue is for scripts")]
mod kernel;

use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use kscope_bpf::btf::ext::Ext;
use kscope_bpf::btf::{Btf, Endian};
use kscope_bpf::spec::core::{Target, relocate};
use kscope_bpf::spec::elf::Elf;
use kscope_bpf::spec::{check, disasm, link, read, write};
use kscope_tests::program::Folder;
use kscope_tests::selftests::clang;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
/// Bytes that the process may take beside what it had before the first mutation. The largest object
/// has some 10 kB; the reader affords 1 MB and 64 times the file.
const ROOM: u64 = 48 << 20;

/// Small programs, each with something that none of the others has.
const SOURCES: [(&str, &str); 6] = [
    ("nothing", "SEC(\"socket\") int p(void *c) { return 0; }"),
    (
        "data",
        "int a = 5; static volatile long b; const volatile char text[9] = \"kscope\"; int c SEC(\".data.own\") = 1;\n\
         SEC(\"xdp\") int p(void *c_) { b += a; c = text[b & 7]; return b; }",
    ),
    (
        "calls",
        "static __attribute__((noinline)) int f(int a) { return a * 3; }\n\
         __attribute__((noinline)) int g(int a) { return f(a) + 1; }\n\
         SEC(\"tc\") int p(void *c) { return g(7) + f(2); }\n\
         SEC(\"?fentry/do_exit\") int q(void *c) { return g(1); }",
    ),
    (
        "maps",
        "struct { int (*type)[1]; int (*max_entries)[8]; int *key; long *value; } hash SEC(\".maps\");\n\
         struct in { int (*type)[2]; int (*max_entries)[1]; int *key; int *value; } inner SEC(\".maps\");\n\
         struct { int (*type)[12]; int (*max_entries)[2]; int *key; struct in *values[]; } outer SEC(\".maps\") = { .values = { &inner } };\n\
         static void *(*lookup)(void *, const void *) = (void *)1;\n\
         SEC(\"tracepoint/sched/sched_switch\") int p(void *c) { int k = 0; long *v = lookup(&hash, &k); return v ? *v : 0; }",
    ),
    (
        "core",
        "struct task_struct { int pid; struct task_struct *real_parent; unsigned flag : 3; } __attribute__((preserve_access_index));\n\
         SEC(\"raw_tp/sched_switch\") int p(struct task_struct *t) {\n\
         return __builtin_preserve_field_info(t->flag, 4) + t->pid + (int)(long)&t->real_parent; }",
    ),
    (
        "externs",
        "extern int CONFIG_HZ SEC(\".kconfig\"); extern const int jiffies SEC(\".ksyms\");\n\
         extern int bpf_kfunc(int) SEC(\".ksyms\"); extern int nowhere(int); extern __attribute__((weak)) int CONFIG_NO SEC(\".kconfig\");\n\
         SEC(\"iter/task\") int p(void *c) { return CONFIG_HZ + CONFIG_NO + (int)(long)&jiffies + bpf_kfunc(3); }\n\
         SEC(\"kprobe/f\") int q(void *c) { return nowhere(1); }",
    ),
];

/// Compiles the sources for both byte orders; the fuzz targets' seeds go with them.
fn corpus() -> &'static [Vec<u8>] {
    static CORPUS: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    CORPUS.get_or_init(|| {
        let mut corpus = Vec::new();
        let seeds = std::fs::read_dir(Path::new(ROOT).join("../fuzz/seeds/object"));
        let mut seeds: Vec<_> = seeds.expect("seeds").flatten().map(|e| e.path()).collect();
        seeds.sort();
        for seed in seeds {
            let bytes = std::fs::read(seed).expect("a seed");
            if read::object(&bytes).is_ok() {
                corpus.push(bytes);
            }
        }
        let Some(compiler) = clang() else {
            eprintln!("clang is missing: the seeds of the fuzz targets alone");
            return corpus;
        };
        let folder = Folder::new("mutated");
        for target in ["bpfel", "bpfeb"] {
            for (name, text) in SOURCES {
                let source = folder.path().join(format!("{name}.c"));
                let object = folder.path().join(format!("{name}-{target}.o"));
                let text = format!(
                    "#define SEC(n) __attribute__((section(n), used))\n\
                     char _license[] SEC(\"license\") = \"GPL\";\n{text}\n"
                );
                std::fs::write(&source, text).expect("a source");
                let output = Command::new(&compiler)
                    .args(["-g", "-O2", "-mcpu=v3", "-w", "-target", target, "-c", "-o"])
                    .arg(&object)
                    .arg(&source)
                    .output()
                    .expect("clang");
                let said = String::from_utf8_lossy(&output.stderr);
                assert!(output.status.success(), "{name}: {said}");
                corpus.push(std::fs::read(&object).expect("an object"));
            }
        }
        corpus
    })
}

/// Limits the memory that this process may take: a larger allocation ends it.
fn limit_memory() {
    static DONE: OnceLock<()> = OnceLock::new();
    DONE.get_or_init(|| {
        let status = std::fs::read_to_string("/proc/self/status").expect("procfs");
        let size = status.lines().find_map(|line| {
            let kilobytes = line.strip_prefix("VmSize:")?.trim().strip_suffix(" kB")?;
            kilobytes.trim().parse::<u64>().ok()
        });
        let limit = size.expect("a size") * 1024 + ROOM;
        let known = getrlimit(Resource::As);
        let new = Rlimit {
            current: Some(limit),
            maximum: known.maximum,
        };
        setrlimit(Resource::As, new).expect("a limit");
    });
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

/// Changes one to four places, half of them where numbers stand that say where and how much.
fn mutate(bytes: &mut Vec<u8>, numbers: &mut Numbers) {
    const TELLING: [u32; 8] = [0, 1, 7, 0x7f, 0xffff, 0x7fff_ffff, 0xffff_fff8, u32::MAX];
    // Where parts of the file are that other parts are found by.
    let parts: Vec<(usize, usize)> = match Elf::parse(bytes) {
        Ok(elf) => {
            let start = bytes.as_ptr() as usize;
            let named = elf.sections.iter().filter(|section| {
                let name = section.name;
                name.starts_with(".BTF") || name.starts_with(".rel") || name == ".symtab"
            });
            let parts =
                named.map(|section| (section.data.as_ptr() as usize - start, section.data.len()));
            parts
                .chain([(
                    bytes.len().saturating_sub(64 * elf.sections.len()),
                    64 * elf.sections.len(),
                )])
                .collect()
        }
        Err(_) => Vec::new(),
    };
    for _ in 0..=numbers.below(4) {
        let any = numbers.below(bytes.len());
        let at = match parts.get(numbers.below(2 * parts.len() + 1)) {
            Some(&(start, len)) => start + numbers.below(len),
            None => any,
        };
        let at = at.min(bytes.len().saturating_sub(1));
        match numbers.below(16) {
            0 => bytes.truncate(at.max(1)),
            1..=5 => {
                let word = TELLING[numbers.below(TELLING.len())].to_le_bytes();
                let aligned = at & !3;
                for (place, byte) in bytes.iter_mut().skip(aligned).zip(word) {
                    *place = byte;
                }
            }
            6 | 7 => {
                let from = numbers.below(bytes.len());
                let piece: Vec<u8> = bytes.iter().skip(from).take(24).copied().collect();
                for (place, byte) in bytes.iter_mut().skip(at).zip(piece) {
                    *place = byte;
                }
            }
            8..=11 => bytes[at] ^= 1 << numbers.below(8),
            12 => bytes[at] = bytes[at].wrapping_add(1),
            _ => bytes[at] = numbers.below(256) as u8,
        }
    }
}

/// What all rounds came to.
#[derive(Debug, Default)]
struct Sum {
    read: usize,
    linked: usize,
    written: usize,
    relocated: usize,
}

/// Does with an object what a loader does, up to the kernel.
fn everything(bytes: &[u8], other: &[u8], target: &Target<'_>, sum: &mut Sum) {
    if let Ok(elf) = Elf::parse(bytes) {
        if let Some((_, section)) = elf.named(".BTF") {
            if let Ok(types) = Btf::parse(section.data.to_vec()) {
                let _ = types.validate();
                let _ = types.write_c();
            }
        }
        if let Some((_, section)) = elf.named(".BTF.ext") {
            if let Ok(ext) = Ext::parse(section.data) {
                assert_eq!(Ext::parse(&ext.to_bytes(Endian::Big)), Ok(ext));
            }
        }
    }
    let inputs: [&[(&str, &[u8])]; 2] = [&[("one", bytes)], &[("one", bytes), ("two", other)]];
    for input in inputs {
        match link::objects(input) {
            Ok(linked) => {
                sum.linked += 1;
                assert!(linked.len() < (1 << 16) + 16 * (bytes.len() + other.len()));
            }
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
    let spec = match read::object_named("changed", bytes) {
        Ok(spec) => spec,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    sum.read += 1;
    let types = Btf::parse(spec.types.clone());
    for program in &spec.programs {
        let _ = disasm::program(&spec, program, disasm::Options::default());
        let _ = check::program(&spec, program);
        if let Ok(types) = &types {
            if !program.core.is_empty() {
                sum.relocated += 1;
                for failure in relocate(&spec, program, types, target).failures {
                    assert!(!failure.to_string().is_empty());
                }
            }
        }
    }
    match write::object(&spec, &[]) {
        Ok(written) => {
            sum.written += 1;
            read::object(&written).expect("what is written");
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

fn rounds(count: usize, seed: u64) -> Sum {
    let corpus = corpus();
    assert!(corpus.len() >= 5, "{} objects", corpus.len());
    let types = kernel::types();
    let target = Target::new(&types);
    let mut sum = Sum::default();
    for bytes in corpus {
        everything(bytes, &corpus[0], &target, &mut sum);
    }
    assert_eq!(sum.read, corpus.len());
    limit_memory();
    let mut numbers = Numbers(seed);
    let mut sum = Sum::default();
    for round in 0..count {
        let mut bytes = corpus[round % corpus.len()].clone();
        let other = &corpus[numbers.below(corpus.len())];
        mutate(&mut bytes, &mut numbers);
        everything(&bytes, other, &target, &mut sum);
    }
    eprintln!("{count} mutations of {} objects: {sum:?}", corpus.len());
    // Most changes are of no consequence to the file's frame.
    assert!(sum.read > count / 3 && sum.read < count, "{sum:?}");
    assert!(sum.linked > count / 4, "{sum:?}");
    sum
}

#[test]
fn some_thousand_mutations() {
    rounds(3_000, 1);
}

#[test]
#[ignore = "a hundred thousand mutations take minutes"]
fn a_hundred_thousand_mutations() {
    rounds(100_000, 2);
}

/// Sections are as many as a file has room for, and each may be looked for by its name.
#[test]
fn many_sections_are_found_by_name() {
    use kscope_bpf::spec::ByteOrder;
    use kscope_bpf::spec::elf::{SectionIndex, number, write::Writer};
    const COUNT: u32 = 20_000;
    let mut writer = Writer::new(ByteOrder::Little);
    for number in 0..COUNT {
        let name = format!("section/{number}");
        writer.section(&name, number::SHT_PROGBITS, 0, Vec::new());
    }
    let bytes = writer.finish();
    let elf = Elf::parse(&bytes).expect("an object");
    let start = std::time::Instant::now();
    for number in 0..COUNT {
        let (index, _) = elf.named(&format!("section/{number}")).expect("there");
        assert_eq!(index, SectionIndex(number + 1));
    }
    let took = start.elapsed();
    assert!(took < std::time::Duration::from_secs(1), "{took:?}");
}
