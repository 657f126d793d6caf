//! `kscope check`

use std::path::PathBuf;

use clap::Args;

use crate::commands::run::read_source;
use crate::error::Failure;
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
    let source = match (&args.script, &args.file) {
        (Some(script), _) => Source {
            name: "stdin".to_owned(),
            text: script.clone(),
        },
        (None, Some(file)) => read_source(file)?,
        (None, None) => {
            return Err(Failure::usage(
                "there is no script: give a file, or -e SCRIPT",
            ));
        }
    };
    let setup = Setup {
        positional: args.arguments.clone(),
        btf: args.btf.clone(),
        ..Setup::default()
    };
    let place = setup.place();
    let compiled = setup.compile(&place, &source)?;
    let insns: usize = compiled
        .spec
        .programs
        .iter()
        .map(|program| program.insns.len())
        .sum();
    println!(
        "{}: {} probes, {} maps, {insns} instructions",
        source.name,
        compiled.plan.probes.len(),
        compiled.spec.maps.len(),
    );
    if args.disassemble {
        for program in &compiled.spec.programs {
            println!("\n{}:", program.name);
            let options = kscope_spec::disasm::Options::default();
            print!(
                "{}",
                kscope_spec::disasm::program(&compiled.spec, program, options)
            );
        }
    }
    Ok(0)
}
