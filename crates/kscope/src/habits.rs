//! Flags of bpftrace that `kscope run` does not have, as people type them from habit.

use std::ffi::OsString;

use crate::error::Failure;

/// bpftrace's flags, long or short, with what to do instead.
const FLAGS: &[(&[&str], &str)] = &[
    (
        &["-d", "--debug", "-dd"],
        "`kscope check -d` prints the programs, `kscope bpftrace -d STAGE` what a stage of the compilation made",
    ),
    (
        &["--info"],
        "`kscope doctor` tells what the kernel can do, `kscope bpftrace --info` as bpftrace does",
    ),
    (&["-V"], "`kscope --version`"),
    (
        &["--usdt-file-activation"],
        "leave it out: semaphores of USDT probes are those of the file here",
    ),
    (
        &["-I", "--include"],
        "leave it out: types come from the kernel's BTF, and `import \"FILE.h\";` takes others",
    ),
    (
        &["--emit-elf", "--aot"],
        "`kscope build SCRIPT -o FILE` writes an object, which `kscope run FILE` runs on this kernel or another",
    ),
    (
        &["--emit-llvm", "--verify-llvm-ir"],
        "leave it out: there is no LLVM here; `kscope check -d` prints the programs",
    ),
    (
        &[
            "--no-feature",
            "--mode",
            "--probe-filter",
            "--traceable-functions",
        ],
        "`kscope bpftrace` takes it, and all of bpftrace's command line",
    ),
    (
        &["--debuginfo"],
        "leave it out: types come from the kernel's BTF, names from the symbol tables of programs",
    ),
    (
        &["--dwarf-pid"],
        "leave it out: stacks of programs are walked by frame pointers",
    ),
    (
        &["--fmt"],
        "leave it out: scripts are taken as they are written",
    ),
];

/// Makes of an unknown flag of `kscope run` a failure that says what kscope has in its place; none where
/// the flag is not bpftrace's. The words are all those of the command line.
pub(crate) fn refuse(flag: &str, words: &[OsString]) -> Option<Failure> {
    let flag = flag.split('=').next().unwrap_or(flag);
    let instead = match flag {
        "-l" => listing(words),
        _ => {
            let (_, instead) = FLAGS.iter().find(|(names, _)| names.contains(&flag))?;
            (*instead).to_owned()
        }
    };
    let message = format!("`kscope run` does not have bpftrace's {flag}");
    Some(Failure::usage(message).hint(instead))
}

/// Says how what `-l` asks for is listed.
fn listing(words: &[OsString]) -> String {
    let words: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
    if words
        .iter()
        .any(|word| word == "-e" || word.ends_with(".bt"))
    {
        return "`kscope bpftrace -l …` lists the probes of a script".to_owned();
    }
    let at = words.iter().position(|word| word.starts_with("-l"));
    let pattern = at.and_then(|at| {
        words
            .get(at + 1..)?
            .iter()
            .find(|word| !word.starts_with('-'))
    });
    match pattern {
        Some(pattern) => format!("`kscope list '{pattern}'` lists probes, with -v their arguments"),
        None => "`kscope list [PATTERN]` lists probes, with -v their arguments".to_owned(),
    }
}
