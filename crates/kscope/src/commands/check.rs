//! `kscope check`

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;
use kscope_runtime::{Options, Request, Session};
use kscope_script::Compiled;
use kscope_script::interpret::Engine;
use kscope_spec::disasm;

use crate::commands::run::read_source;
use crate::console::{count, say, tell};
use crate::error::Failure;
use crate::place::Place;
use crate::tracing::{Setup, Source};

/// Compile a script and tell what is wrong with it; needs no privilege
///
/// With --load the programs are loaded into the running kernel as well, so that its verifier says
/// what it thinks of them; nothing is attached.
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
    /// Also load the programs into the running kernel, attaching none
    #[arg(long, conflicts_with = "btf")]
    load: bool,
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
    let setup = Setup {
        positional,
        // None of it is run.
        changes_allowed: true,
        ..Setup::default()
    };
    let place = Place::open(args.btf.as_deref())?;
    if let (Engine::Memory, why) = setup.engine(&source) {
        let plan = setup.compile_over_memory(&place, &source)?;
        let probes: usize = plan.probes.iter().map(|probe| probe.attach.len()).sum();
        let (name, probes) = (&source.name, count(probes, "probe"));
        say(format!(
            "{name}: {probes}, interpreted over the kernel's memory: {why}\n"
        ))?;
        return Ok(0);
    }
    let compiled = setup.compile(&place, &source)?;
    if compiled.plan.probes.is_empty() {
        tell(format_args!(
            "WARNING: {} has no probe: there is nothing that it could do",
            source.name
        ));
    }
    let mut text = summary(&source.name, &compiled);
    if args.disassemble {
        for program in &compiled.spec.programs {
            let options = disasm::Options::default();
            let code = disasm::program(&compiled.spec, program, options);
            let _ = write!(text, "\n{code}");
        }
    }
    say(text)?;
    if args.load {
        say(load(&place, &source, compiled)?)?;
    }
    Ok(0)
}

/// Loads the programs and says what the verifier made of each.
fn load(place: &Place, source: &Source, compiled: Compiled) -> Result<String, Failure> {
    let failed = |error| Failure::of_run(&error, &source.text, false);
    let options = Options::parse(&compiled.plan, &[]).map_err(failed)?;
    let request = Request {
        render: Some(kscope_view::render),
        ..Request::new(compiled, options, &*source.text)
    };
    let btf = place.btf.as_ref().ok();
    let session = Session::load(&place.target, btf, request, &|| false).map_err(failed)?;
    let mut text = String::new();
    for program in session.object().programs() {
        let (name, info) = (program.name(), program.info());
        let info = info.map_err(|error| failed(error.into()))?;
        let translated = info.translated_bytes / 8;
        let _ = write!(text, "  {name}: loaded, {translated} instructions");
        // Kernels before 5.16 do not say.
        let _ = match info.verified_insns {
            0 => writeln!(text),
            verified => writeln!(text, ", {verified} verified"),
        };
    }
    Ok(text)
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
