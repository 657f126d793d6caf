//! `kscope bpf`

mod assemble;
mod check;
pub(crate) mod holders;
#[cfg(all(feature = "jited", target_arch = "x86_64"))]
#[path = "bpf/jited_x86.rs"]
pub(crate) mod jited;
#[cfg(not(all(feature = "jited", target_arch = "x86_64")))]
#[path = "bpf/jited_none.rs"]
mod jited;
mod link;
pub(crate) mod listing;
mod log;
mod map;
pub(crate) mod object;
mod program;
mod top;

use clap::{Args, Subcommand};
use kscope_bpf::Error;

use crate::error::Failure;

/// Look at eBPF programs, maps, links and types that are loaded, and at object files
#[derive(Args, Debug)]
pub(crate) struct BpfArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    Prog(program::ProgramArgs),
    Map(map::MapArgs),
    Link(link::LinkArgs),
    Btf(crate::commands::btf::BtfArgs),
    Log(log::LogArgs),
    Top(top::TopArgs),
    Check(check::CheckArgs),
    #[command(visible_alias = "disasm")]
    Dump(object::DumpArgs),
    Asm(assemble::AssembleArgs),
}

/// Runs the command.
pub(crate) fn run(args: &BpfArgs) -> Result<u8, Failure> {
    match &args.what {
        What::Prog(args) => program::run(args),
        What::Map(args) => map::run(args),
        What::Link(args) => link::run(args),
        What::Btf(args) => crate::commands::btf::run(args),
        What::Log(args) => log::run(args),
        What::Top(args) => top::run(args),
        What::Check(args) => check::run(args),
        What::Dump(args) => object::run(args),
        What::Asm(args) => assemble::run(args),
    }
}

/// Makes a failure of an error of the kernel's half of the library.
pub(crate) fn failed(error: &Error) -> Failure {
    let runtime = kscope_runtime::Error::Kernel(error.clone());
    Failure::of_run(&runtime, "", false)
}

/// Opens all things of a kind; those that end meanwhile are left out.
fn opened<T>(
    ids: Result<Vec<u32>, Error>,
    open: impl Fn(u32) -> Result<T, Error>,
) -> Result<Vec<T>, Failure> {
    let ids = ids.map_err(|error| failed(&error))?;
    let mut all = Vec::with_capacity(ids.len());
    for id in ids {
        match open(id) {
            Ok(one) => all.push(one),
            Err(Error::NotFound { .. }) => {}
            Err(error) => return Err(failed(&error)),
        }
    }
    Ok(all)
}

/// One of several things by id or by name.
fn chosen<T>(
    word: &str,
    what: &str,
    all: Vec<T>,
    id: impl Fn(&T) -> u32,
    is_named: impl Fn(&T, &str) -> bool,
) -> Result<T, Failure> {
    let by_number = word.parse::<u32>().ok();
    let mut found: Vec<T> = all
        .into_iter()
        .filter(|one| match by_number {
            Some(number) => id(one) == number,
            None => is_named(one, word),
        })
        .collect();
    if found.len() > 1 {
        let ids: Vec<String> = found.iter().map(|one| id(one).to_string()).collect();
        let failure = Failure::usage(format!("there are {} {what}s `{word}`", ids.len()));
        return Err(failure.hint(format!("give one by its id: {}", ids.join(", "))));
    }
    found.pop().ok_or_else(|| {
        let failure = Failure::new(format!("there is no {what} {word}"));
        failure.hint(format!("`kscope bpf {} list` lists them", short(what)))
    })
}

/// The word of the command line for a kind of thing.
fn short(what: &str) -> &str {
    match what {
        "program" => "prog",
        other => other,
    }
}
