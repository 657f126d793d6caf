//! `kscope bpf dump`, and reading object files.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use clap::Args;
use kscope_spec::elf::ElfError;
use kscope_spec::read::ReadError;
use kscope_spec::{ByteOrder, Insn, ProgramSpec, Spec, disasm, read};

use crate::console::say;
use crate::error::Failure;

/// Disassemble the programs of an object file, with names, types and source lines
#[derive(Args, Debug)]
pub(crate) struct DumpArgs {
    /// Leave out types and source lines
    #[arg(long)]
    no_source: bool,
    /// Leave out the numbers of instructions
    #[arg(long)]
    no_numbers: bool,
    /// The file has instructions alone, eight bytes each, as `kscope bpf asm --raw` writes them
    #[arg(long, conflicts_with_all = ["no_source", "program"])]
    raw: bool,
    /// The object file
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Print this program alone
    #[arg(value_name = "PROGRAM")]
    program: Option<String>,
}

/// Largest object file read.
const LARGEST: u64 = 512 << 20;

/// Runs the command.
pub(super) fn run(args: &DumpArgs) -> Result<u8, Failure> {
    if args.raw {
        return say_raw(&args.file, !args.no_numbers);
    }
    let spec = read_object(&args.file)?;
    if spec.programs.is_empty() {
        return Err(no_programs(&args.file));
    }
    let options = disasm::Options {
        numbers: !args.no_numbers,
        source: !args.no_source,
        ..disasm::Options::default()
    };
    if let Some(name) = &args.program {
        if spec.program_named(name).is_none() {
            return Err(no_program(&spec, &args.file, name));
        }
    }
    let mut text = String::new();
    for program in &spec.programs {
        if args
            .program
            .as_ref()
            .is_some_and(|name| *name != program.name)
        {
            continue;
        }
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(&format!(
            "; program {}, section {}\n",
            program.name, program.section
        ));
        text.push_str(&disasm::program(&spec, program, options));
    }
    say(text)?;
    Ok(0)
}

/// Prints what is in a file of instructions alone.
fn say_raw(file: &Path, numbers: bool) -> Result<u8, Failure> {
    let bytes = read_file(file)?;
    let slots = bytes.chunks_exact(8);
    if bytes.is_empty() || !slots.remainder().is_empty() {
        let (file, len) = (file.display(), bytes.len());
        return Err(Failure::new(format!(
            "{file} has {len} bytes, which are no instructions of eight bytes each"
        )));
    }
    let decode = |slot: &[u8]| {
        let slot = *slot.first_chunk()?;
        Some(match ByteOrder::HOST {
            ByteOrder::Little => Insn::decode_le(slot),
            ByteOrder::Big => Insn::decode_be(slot),
        })
    };
    let program = ProgramSpec {
        insns: slots.filter_map(decode).collect(),
        ..ProgramSpec::default()
    };
    let options = disasm::Options {
        numbers,
        source: false,
        ..disasm::Options::default()
    };
    say(disasm::program(&Spec::default(), &program, options))?;
    Ok(0)
}

/// Says that an object has no programs at all.
pub(super) fn no_programs(file: &Path) -> Failure {
    let failure = Failure::new(format!("{} has no programs", file.display()));
    failure.hint(
        "programs are functions in sections that say what they attach to, as \
         SEC(\"tracepoint/sched/sched_switch\"); `kscope link` makes one object of several",
    )
}

/// Says that an object has no such program.
pub(super) fn no_program(spec: &Spec, file: &Path, name: &str) -> Failure {
    let failure = Failure::new(format!("{} has no program {name}", file.display()));
    let names: Vec<&str> = spec
        .programs
        .iter()
        .map(|program| program.name.as_str())
        .collect();
    match names.is_empty() {
        true => failure,
        false => failure.hint(format!("it has {}", names.join(", "))),
    }
}

/// Reads a file whole, unless it is larger than anything of use here.
pub(crate) fn read_file(path: &Path) -> Result<Vec<u8>, Failure> {
    let failed =
        |error: std::io::Error| Failure::new(format!("cannot read {}: {error}", path.display()));
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(failed)?;
    let mut size = file.metadata().map_err(failed)?.len();
    if size <= LARGEST {
        // A pipe and a device tell no size.
        let mut most = file.take(LARGEST + 1);
        size = most.read_to_end(&mut bytes).map_err(failed)? as u64;
    }
    match size > LARGEST {
        true => Err(Failure::new(format!(
            "{} is too large: more than {LARGEST} bytes",
            path.display()
        ))),
        false => Ok(bytes),
    }
}

/// Reads an object file.
pub(crate) fn read_object(path: &Path) -> Result<Spec, Failure> {
    read_spec(path, &read_file(path)?)
}

/// Reads the object in a file's bytes.
pub(crate) fn read_spec(path: &Path, bytes: &[u8]) -> Result<Spec, Failure> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    // As libbpf names objects: what is before the first dot.
    let name = name.split('.').next().unwrap_or_default();
    read::object_named(name, bytes).map_err(|error| {
        let failure = Failure::new(format!("{} is no eBPF object: {error}", path.display()));
        match hint(&error) {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    })
}

/// What can be done about a file that is damaged.
pub(crate) const DAMAGED: &str = "the file is damaged or cut: copy or compile it anew";

/// Gives what can be done about a file that cannot be read, where the error does not say it.
pub(crate) fn hint(error: &ReadError) -> Option<&'static str> {
    match error {
        ReadError::Elf(ElfError::NotElf | ElfError::NotSixtyFour) => Some(
            "eBPF objects are what clang -target bpf -g -O2 -c writes; a script is run with \
             `kscope run FILE`, and text of instructions assembled with `kscope bpf asm`",
        ),
        ReadError::Elf(ElfError::Malformed { .. } | ElfError::Cut { .. })
        | ReadError::Overlapping { .. } => Some(DAMAGED),
        ReadError::Types(_) | ReadError::Ext(_) => Some(
            "the file is damaged, or what wrote it is newer than this kscope: copy or compile it anew",
        ),
        _ => None,
    }
}
