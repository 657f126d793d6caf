//! `kscope check`

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;
use kscope_script::Compiled;
use kscope_spec::disasm;

use crate::commands::run::read_source;
use crate::console::say;
use crate::error::Failure;
use crate::place::Place;
use crate::tracing::{Setup, Source};

/// Compile a script and tell what is wrong with it; needs no privilege
#[derive(Args, Debug)]
pub(crate) struct CheckArgs {
    /// The script itself
    #[arg(short = 'e', value_name = "SCRIPT")]
    script: Option<String>,
    /// Take the kernel's types from this BTF file
    #[arg(long, value_name = "FILE")]
    btf: Option<PathBuf>,
    /// Also print the programs in assembler
    #[arg(short = 'd', long)]
    disassemble: bool,
    /// A file with the script; `-` reads standard input
    #[arg(value_name = "FILE", required_unless_present = "script")]
    file: Option<String>,
    /// Values of $1, $2, …
    #[arg(value_name = "ARGS")]
    arguments: Vec<String>,
}

/// Runs the command.
pub(crate) fn run(args: &CheckArgs) -> Result<u8, Failure> {
    let mut positional: Vec<String> = args.file.iter().cloned().collect();
    positional.extend(args.arguments.iter().cloned());
    let source = match (&args.script, &args.file) {
        (Some(script), _) => Source::of_command_line(script),
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
    let setup = Setup {
        positional,
        ..Setup::default()
    };
    let place = Place::open(args.btf.as_deref())?;
    let compiled = setup.compile(&place, &source)?;
    let mut text = summary(&source.name, &compiled);
    if args.disassemble {
        for program in &compiled.spec.programs {
            let options = disasm::Options::default();
            let code = disasm::program(&compiled.spec, program, options);
            let _ = write!(text, "\n{code}");
        }
    }
    say(text)?;
    Ok(0)
}

fn summary(name: &str, compiled: &Compiled) -> String {
    let (spec, plan) = (&compiled.spec, &compiled.plan);
    let insns = spec.programs.iter().map(|program| program.insns.len());
    let counts = [
        count(
            plan.probes.iter().map(|probe| probe.attach.len()).sum(),
            "probe",
        ),
        count(spec.programs.len(), "program"),
        count(spec.maps.len(), "map"),
        count(insns.sum(), "instruction"),
    ];
    format!("{name}: {}\n", counts.join(", "))
}

fn count(number: usize, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {what}{plural}")
}
