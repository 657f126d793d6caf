//! `kscope bpf prog`

use clap::{Args, Subcommand};
use kscope_bpf::btf::Btf;
use kscope_bpf::inspect::{LoadedMap, LoadedProgram, Naming};
use kscope_bpf::spec::disasm;
use kscope_bpf::sys::{Clock, SharedKernel};
use kscope_memory::{KernelSymbols, VirtAddr};
use kscope_rows::Value;
use kscope_rows::time::{Dialect, WallTime, format_time};

use super::holders::{Held, Holders};
use super::listing::{Holds, ListArgs, Listing, ShowArgs, kind, number, numbers, some, text};
use super::{chosen, opened};
use crate::console::say;
use crate::error::Failure;
use crate::place::Place;

/// List, show and disassemble programs
#[derive(Args, Debug)]
pub(crate) struct ProgramArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// List the programs of the kernel
    List(ListArgs),
    /// Show all that is known of a program
    Show {
        #[command(flatten)]
        how: ShowArgs,
        /// Its id, its name or its tag
        #[arg(value_name = "ID|NAME|TAG")]
        program: String,
    },
    Dump(DumpArgs),
}

/// Disassemble a program as the kernel runs it, with names and source lines
#[derive(Args, Debug)]
struct DumpArgs {
    /// Disassemble the machine code that the kernel made of it
    #[arg(long)]
    jited: bool,
    /// Leave out types and source lines
    #[arg(long)]
    no_source: bool,
    /// Leave out the numbers of instructions
    #[arg(long)]
    no_numbers: bool,
    /// Its id, its name or its tag
    #[arg(value_name = "ID|NAME|TAG")]
    program: String,
}

/// Runs the command.
pub(super) fn run(args: &ProgramArgs) -> Result<u8, Failure> {
    let place = Place::open(None)?;
    let kernel = place.target.kernel();
    match &args.what {
        What::List(ListArgs { json }) => list(kernel, *json)?,
        What::Show { how, program } => show(kernel, how.json, &find(kernel, program)?)?,
        What::Dump(args) => dump(&place, args)?,
    }
    Ok(0)
}

/// Reads all programs; those that end meanwhile are left out.
pub(super) fn all(kernel: &SharedKernel) -> Result<Vec<LoadedProgram>, Failure> {
    opened(LoadedProgram::ids(kernel), |id| {
        LoadedProgram::by_id(kernel, id)
    })
}

fn find(kernel: &SharedKernel, word: &str) -> Result<LoadedProgram, Failure> {
    let is_named = |program: &LoadedProgram, word: &str| {
        program.name() == word || program.tag() == word || {
            // The kernel's own lists show the first 15 bytes.
            word.len() == 15 && program.name().starts_with(word)
        }
    };
    chosen(word, "program", all(kernel)?, LoadedProgram::id, is_named)
}

/// Gives the name of a program's type.
pub(super) fn type_name(program: &LoadedProgram) -> String {
    match program.kind() {
        Some(known) => kind(&format!("{known:?}")),
        None => format!("type {}", program.image.info.kind),
    }
}

fn list(kernel: &SharedKernel, json: bool) -> Result<(), Failure> {
    let holders = Holders::find();
    let mut listing = Listing::new(
        "bpf prog",
        &[
            ("id", Holds::Number),
            ("type", Holds::Text),
            ("name", Holds::Text),
            ("tag", Holds::Text),
            ("uid", Holds::Number),
            ("loaded", Holds::Text),
            ("xlated_bytes", Holds::Number),
            ("jited_bytes", Holds::Number),
            ("runs", Holds::Number),
            ("run_time_ns", Holds::Number),
            ("maps", Holds::List),
            ("processes", Holds::List),
        ],
    );
    for program in all(kernel)? {
        let info = &program.image.info;
        listing.push(vec![
            number(program.id()),
            text(type_name(&program)),
            text(program.name()),
            text(program.tag()),
            number(program.image.uid),
            text(loaded(kernel, info.load_time)),
            number(info.translated_bytes),
            some(info.jited_bytes),
            number(info.runs),
            number(info.run_time),
            numbers(program.image.maps.iter().copied()),
            holders.of(Held::Program, program.id()),
        ]);
    }
    listing.print(json)
}

/// Gives the wall-clock time of a load, whose time is since boot.
fn loaded(kernel: &SharedKernel, since_boot: u64) -> String {
    let now = kernel.clock(Clock::Realtime).unwrap_or(0);
    let up = kernel.clock(Clock::Boottime).unwrap_or(0);
    let then = now.saturating_sub(up).saturating_add(since_boot);
    format_time("%Y-%m-%dT%H:%M:%SZ", &WallTime::utc(then), Dialect::Time)
}

fn show(kernel: &SharedKernel, json: bool, program: &LoadedProgram) -> Result<(), Failure> {
    let holders = Holders::find();
    let columns = [
        ("id", Holds::Number),
        ("type", Holds::Text),
        ("name", Holds::Text),
        ("tag", Holds::Text),
        ("uid", Holds::Number),
        ("gpl", Holds::Text),
        ("loaded", Holds::Text),
        ("xlated_bytes", Holds::Number),
        ("jited_bytes", Holds::Number),
        ("verified_insns", Holds::Number),
        ("runs", Holds::Number),
        ("run_time_ns", Holds::Number),
        ("recursion_misses", Holds::Number),
        ("btf", Holds::Number),
        ("interface", Holds::Number),
        ("attach_btf", Holds::Number),
        ("attach_type", Holds::Number),
        ("functions", Holds::List),
        ("maps", Holds::List),
        ("links", Holds::List),
        ("processes", Holds::List),
    ];
    let mut listing = Listing::new("bpf prog", &columns);
    let (image, info) = (&program.image, &program.image.info);
    let functions = program.functions().map(|(_, name, _)| Value::Text(name));
    let links = super::link::of_program(kernel, program.id());
    listing.push(vec![
        number(program.id()),
        text(type_name(program)),
        text(program.name()),
        text(program.tag()),
        number(image.uid),
        Value::Bool(image.gpl),
        text(loaded(kernel, info.load_time)),
        number(info.translated_bytes),
        some(info.jited_bytes),
        some(info.verified_insns),
        number(info.runs),
        number(info.run_time),
        number(info.recursion_misses),
        some(info.btf_id),
        some(image.interface),
        some(image.attach_btf),
        some(image.attach_type),
        Value::Array(functions.collect()),
        numbers(image.maps.iter().copied()),
        numbers(links),
        holders.of(Held::Program, program.id()),
    ]);
    listing.print_one(json)
}

fn dump(place: &Place, args: &DumpArgs) -> Result<(), Failure> {
    let kernel = place.target.kernel();
    let program = find(kernel, &args.program)?;
    if args.jited {
        let text = with_names(place, |naming| {
            super::jited::disassemble(&program, naming, !args.no_source)
        });
        return Ok(say(text?)?);
    }
    let options = disasm::Options {
        numbers: !args.no_numbers,
        source: !args.no_source,
        ..disasm::Options::default()
    };
    if program.image.translated.is_empty() {
        let failure = Failure::new("the kernel does not show the program's code");
        return Err(failure.hint(crate::error::PRIVILEGES));
    }
    let text = with_names(place, |naming| program.disassemble(options, naming));
    Ok(say(text)?)
}

/// Calls with the names of this kernel's functions and maps, as far as they are to be had.
pub(super) fn with_names<T>(place: &Place, then: impl FnOnce(&Naming<'_>) -> T) -> T {
    let kernel = place.target.kernel();
    let symbolizer = place.target.symbols();
    let symbols: Option<&KernelSymbols> = symbolizer.symbols().ok();
    let call_base =
        symbols.and_then(|symbols| symbols.addresses("__bpf_call_base").first().copied());
    let function = |address: u64| {
        let found = symbols?.lookup(VirtAddr(address))?;
        (found.offset == 0).then(|| found.symbol.name.to_owned())
    };
    let map = |id: u32| {
        let map = LoadedMap::by_id(kernel, id).ok()?;
        (!map.name().is_empty()).then(|| map.name().to_owned())
    };
    let types: Option<&Btf> = place.btf.as_ref().ok();
    then(&Naming {
        call_base: call_base
            .map(|address| address.0)
            .filter(|address| *address != 0),
        function: &function,
        map: &map,
        kernel_types: types,
    })
}
