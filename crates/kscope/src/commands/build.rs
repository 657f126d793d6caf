//! `kscope build`

use std::path::{Path, PathBuf};

use clap::Args;
use kscope_bpf::spec::write::{self, Note};
use kscope_script::portable::SECTION;

use crate::commands::run::read_source;
use crate::error::Failure;
use crate::place::Place;
use crate::tracing::{Setup, Source, require_probes};

/// Compile a script to an object that runs on other kernels as well; needs no privilege
///
/// `kscope run` runs it like the script, with its options, and other loaders of eBPF take it too.
#[derive(Args, Debug)]
pub(crate) struct BuildArgs {
    /// The script itself
    #[arg(short = 'e', value_name = "SCRIPT", requires = "output")]
    script: Option<String>,
    /// Write the object here, `-` for standard output; else beside the script, as NAME.bpf.o
    #[arg(short = 'o', long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Take the kernel's types from this BTF file
    #[arg(long, value_name = "FILE")]
    btf: Option<PathBuf>,
    /// Allow functions that change the system: system(), signal(), override()
    #[arg(long = "unsafe")]
    changes_allowed: bool,
    /// A file with the script; `-` reads standard input
    #[arg(value_name = "FILE", required_unless_present = "script")]
    file: Option<String>,
    /// Values of $1, $2, …
    #[arg(value_name = "ARGS")]
    arguments: Vec<String>,
}

/// Runs the command.
pub(crate) fn run(args: &BuildArgs) -> Result<u8, Failure> {
    let mut positional: Vec<String> = args.file.iter().cloned().collect();
    positional.extend(args.arguments.iter().cloned());
    let source = match (&args.script, &args.file) {
        (Some(script), _) => Source::of_command_line(script)?,
        (None, Some(file)) => {
            positional.remove(0);
            read_source(file)?
        }
        (None, None) => {
            return Err(Failure::usage(
                "there is no script: give a file, or -e SCRIPT",
            ));
        }
    };
    let output = match (&args.output, args.file.as_deref()) {
        (Some(output), _) => output.clone(),
        (None, Some(file)) if file != "-" => Path::new(file).with_extension("bpf.o"),
        (None, _) => return Err(Failure::usage("give the object's file: -o FILE")),
    };
    let setup = Setup {
        positional,
        portable: true,
        changes_allowed: args.changes_allowed,
        ..Setup::default()
    };
    let place = Place::open(args.btf.as_deref())?;
    let mut compiled = setup.compile(&place, &source)?;
    require_probes(&compiled, None)?;
    // Where the script lies is nothing of the object's: it has the same bytes everywhere.
    for file in &mut compiled.spec.files {
        file.name = file_name(&file.name);
    }
    let name = file_name(&source.name);
    let plan = compiled.saved(&name, &source.text).to_bytes();
    let note = Note {
        name: SECTION,
        bytes: &plan,
    };
    let object = write::object(&compiled.spec, &[note])
        .map_err(|error| Failure::new(format!("cannot build {}: {error}", source.name)))?;
    let mut inputs = source.files();
    inputs.extend(args.btf.as_deref());
    crate::output::write(&output, &object, &inputs)?;
    Ok(0)
}

/// Gives the last part of a path.
fn file_name(path: &str) -> String {
    let name = Path::new(path).file_name();
    name.map_or_else(
        || path.to_owned(),
        |name| name.to_string_lossy().into_owned(),
    )
}
