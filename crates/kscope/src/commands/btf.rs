//! `kscope btf`

use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use kscope_bpf::btf::{Btf, Kind, TypeId};
use kscope_bpf::inspect::LoadedTypes;
use kscope_runtime::{Error as RuntimeError, Target, types_of_file};
use kscope_spec::core::{Absent, MinimizeError, minimize};

use crate::commands::bpf::failed;
use crate::commands::bpf::holders::{Held, Holders};
use crate::commands::bpf::listing::{Holds, ListArgs, Listing, number, text};
use crate::commands::bpf::object::{DAMAGED, read_object};
use crate::console::tell;
use crate::error::{Failure, NO_TYPES};
use crate::place::Place;

/// List and print types (BTF) of the kernel, its modules and of files, and make them minimal
#[derive(Args, Debug)]
pub(crate) struct BtfArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// List the BTF that is loaded, or the types of one
    #[command(visible_alias = "show")]
    List {
        #[command(flatten)]
        how: ListArgs,
        /// The kernel's types that a module's file continues, where they are not the running kernel's
        #[arg(short = 'B', long, value_name = "FILE")]
        base: Option<PathBuf>,
        /// `vmlinux`, a module, a BTF file, an ELF file (kernel, module, object), or the id of what is
        /// loaded, as `kscope btf list` shows it
        #[arg(value_name = "SOURCE")]
        source: Option<String>,
    },
    Dump(DumpArgs),
    Minimize(MinimizeArgs),
}

/// Print types as C, Rust or JSON
///
/// As C and as Rust the whole compiles: the order, and names that several types have, are taken
/// care of.
#[derive(Args, Debug)]
struct DumpArgs {
    /// The language
    #[arg(long = "as", value_name = "LANGUAGE", default_value = "c")]
    language: Language,
    /// The kernel's types that a module's file continues, where they are not the running kernel's
    #[arg(short = 'B', long, value_name = "FILE")]
    base: Option<PathBuf>,
    /// `vmlinux`, a module, a BTF file, an ELF file (kernel, module, object), or the id of what is
    /// loaded, as `kscope btf list` shows it
    #[arg(value_name = "SOURCE", default_value = "vmlinux")]
    source: String,
    /// Print the types of this name and what they need
    #[arg(value_name = "NAME")]
    name: Option<String>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Language {
    /// C, as `vmlinux.h` is
    C,
    /// Rust, `#[repr(C)]` with sizes asserted
    Rust,
    /// An object a line
    Json,
}

/// Make BTF of what the relocations of object files need, and no more
///
/// It takes the place of a kernel's BTF where that has none of its own.
#[derive(Args, Debug)]
struct MinimizeArgs {
    /// Take the types from this BTF file in place of the running kernel's
    #[arg(long, value_name = "FILE")]
    btf: Option<PathBuf>,
    /// Write to this file, `-` for standard output
    #[arg(short, long, value_name = "FILE", default_value = "minimal.btf")]
    output: PathBuf,
    /// The object files
    #[arg(value_name = "OBJECT", required = true)]
    objects: Vec<PathBuf>,
}

/// Runs the command.
pub(crate) fn run(args: &BtfArgs) -> Result<u8, Failure> {
    match &args.what {
        What::List {
            how, source: None, ..
        } => list_loaded(how.json)?,
        What::List {
            how,
            source: Some(source),
            base,
        } => list_types(&open(source, base.as_deref())?, how.json)?,
        What::Dump(args) => dump(args)?,
        What::Minimize(args) => make_minimal(args)?,
    }
    Ok(0)
}

fn list_loaded(json: bool) -> Result<(), Failure> {
    let place = Place::open(None)?;
    let kernel = place.target.kernel();
    let holders = Holders::find();
    let mut listing = Listing::new(
        "btf",
        &[
            ("id", Holds::Number),
            ("name", Holds::Text),
            ("of", Holds::Text),
            ("size_bytes", Holds::Number),
            ("processes", Holds::List),
        ],
    );
    for id in LoadedTypes::ids(kernel).map_err(|error| failed(&error))? {
        let types = match LoadedTypes::by_id(kernel, id) {
            Ok(types) => types,
            Err(kscope_bpf::Error::NotFound { .. }) => continue,
            Err(error) => return Err(failed(&error)),
        };
        let of = match (types.is_kernel, types.name.as_str()) {
            (true, "vmlinux") => "kernel",
            (true, _) => "module",
            (false, _) => "object",
        };
        listing.push(vec![
            number(id),
            text(types.name),
            text(of),
            number(types.size),
            holders.of(Held::Types, id),
        ]);
    }
    listing.print(json)
}

/// Says why not all types are printed.
fn repeats_names() -> Failure {
    let why = "the rest is left out: these types share names that are long, as those of no compiler do, and \
               would be hundreds of times the BTF";
    Failure::new(why).hint("name a type to print it and what it needs")
}

/// Where modules show their types.
const MODULES: &str = "/sys/kernel/btf";

/// Tells whether a word names types: the kernel's, a file's or a module's.
fn is_there(source: &str) -> bool {
    let is_module = || !source.contains('/') && Path::new(MODULES).join(source).exists();
    source == "vmlinux" || Path::new(source).exists() || is_module() || id(source).is_some()
}

/// Gives the id that a word is; no type, module or file of use is called so.
fn id(source: &str) -> Option<u32> {
    source.parse().ok()
}

/// Reads types that are loaded, by their id.
fn of_loaded(id: u32) -> Result<Btf, Failure> {
    let place = Place::open(None)?;
    let kernel = place.target.kernel();
    let types = LoadedTypes::by_id(kernel, id).map_err(|error| match error {
        kscope_bpf::Error::NotFound { .. } => {
            let failure = Failure::new(format!("there are no types (BTF) with id {id}"));
            failure.hint("`kscope btf list` shows those that are loaded")
        }
        error => failed(&error),
    })?;
    let base = match types.is_kernel {
        true => place.btf.as_ref().ok(),
        false => None,
    };
    types.read(kernel, base).map_err(|error| failed(&error))
}

/// Reads types from where a word says; `base` is a file with the types that a module's continue.
fn open(source: &str, base: Option<&Path>) -> Result<Btf, Failure> {
    if source == "vmlinux" {
        return Ok(Place::open(None)?.types()?.clone());
    }
    let path = Path::new(source);
    let is_name = !source.contains('/') && !source.is_empty();
    if !is_name || path.exists() {
        return of_file(path, base);
    }
    let module = Path::new(MODULES).join(source);
    if let (Some(id), false) = (id(source), module.exists()) {
        return of_loaded(id);
    }
    if !module.exists() {
        let failure = Failure::new(format!("there is no file and no module {source}"));
        return Err(failure.hint("`kscope btf list` shows the modules that have types"));
    }
    of_file(&module, base)
}

/// Reads types from a file: BTF, or an ELF file that has it.
pub(super) fn of_file(path: &Path, base: Option<&Path>) -> Result<Btf, Failure> {
    let running = || {
        let target = match base {
            Some(file) => Target::live().with_btf(file),
            None => Target::live(),
        };
        target.btf()
    };
    types_of_file(path, &running).map_err(|error| match error {
        RuntimeError::Types { path, why } => {
            Failure::new(format!("cannot read types from {path}: {why}"))
        }
        other => Failure::of_run(&other, "", false),
    })
}

fn list_types(btf: &Btf, json: bool) -> Result<(), Failure> {
    let mut listing = Listing::new(
        "btf types",
        &[
            ("id", Holds::Number),
            ("kind", Holds::Text),
            ("size_bytes", Holds::Number),
            ("type", Holds::Text),
        ],
    );
    for id in btf.own_ids() {
        let kind = btf.kind(id).unwrap_or(Kind::Other);
        let size = btf.size_of(id);
        let name = match kind {
            Kind::Func | Kind::Var | Kind::DataSec | Kind::Typedef | Kind::DeclTag => {
                btf.name(id).unwrap_or_default().to_owned()
            }
            _ => btf.type_name(id),
        };
        listing.push(vec![
            number(id.0),
            text(format!("{kind:?}").to_lowercase()),
            size.map_or(kscope_rows::Value::None, number),
            text(name),
        ]);
    }
    listing.print(json)
}

fn dump(args: &DumpArgs) -> Result<(), Failure> {
    // A word that is no source is a name of the kernel's types: `kscope btf dump task_struct`.
    let is_type = args.name.is_none() && !args.source.contains('/') && !is_there(&args.source);
    let (btf, name) = match is_type {
        true => (open("vmlinux", None)?, Some(&args.source)),
        false => (
            open(&args.source, args.base.as_deref())?,
            args.name.as_ref(),
        ),
    };
    let chosen: Option<Vec<TypeId>> = match name {
        None => None,
        Some(name) => Some(named(&btf, name).ok_or_else(|| {
            let also = match is_type {
                true => ", and no file or module of that name",
                false => "",
            };
            no_type(&btf, name, also)
        })?),
    };
    let mut out = BufWriter::new(std::io::stdout().lock());
    match (args.language, &chosen) {
        (Language::C, None) => {
            let types = btf.write_c();
            out.write_all(BEFORE_C.as_bytes())?;
            out.write_all(types.as_bytes())?;
            out.write_all(AFTER_C.as_bytes())?;
        }
        (Language::C, Some(ids)) => {
            out.write_all(btf.write_c_of(ids.iter().copied()).trim_end().as_bytes())?;
            out.write_all(b"\n")?;
        }
        (Language::Rust, chosen) => {
            let types = match chosen {
                None => btf.write_rust(),
                Some(ids) => btf.write_rust_of(ids.iter().copied(), false),
            };
            if chosen.is_none() {
                out.write_all(b"#![cfg_attr(all(), allow(warnings))]\n\n")?;
            }
            out.write_all(types.trim_end().as_bytes())?;
            out.write_all(b"\n")?;
        }
        (Language::Json, chosen) => {
            let all: Vec<TypeId> = match chosen {
                None => btf.own_ids().collect(),
                Some(ids) => ids.clone(),
            };
            let mut room = btf.text_limit();
            for id in all {
                let line = btf.write_json(id);
                writeln!(out, "{line}")?;
                room = room.checked_sub(line.len()).ok_or_else(repeats_names)?;
            }
        }
    }
    out.flush()?;
    Ok(())
}

/// What stands around all types, so that programs that include them are relocated (CO-RE).
const BEFORE_C: &str = "#ifndef __VMLINUX_H__\n#define __VMLINUX_H__\n\n\
#ifndef BPF_NO_PRESERVE_ACCESS_INDEX\n\
#pragma clang attribute push (__attribute__((preserve_access_index)), apply_to = record)\n\
#endif\n\n";
const AFTER_C: &str = "#ifndef BPF_NO_PRESERVE_ACCESS_INDEX\n\
#pragma clang attribute pop\n#endif\n\n#endif /* __VMLINUX_H__ */\n";

/// Splits `struct file` into the kind that is asked for and the name.
fn kind_and_name(name: &str) -> (Option<Kind>, &str) {
    match name.split_once(' ') {
        Some(("struct", rest)) => (Some(Kind::Struct), rest.trim()),
        Some(("union", rest)) => (Some(Kind::Union), rest.trim()),
        Some(("enum", rest)) => (Some(Kind::Enum), rest.trim()),
        _ => (None, name),
    }
}

/// Finds structures, unions, enumerations and typedefs by name; `struct file` finds that alone.
fn named(btf: &Btf, name: &str) -> Option<Vec<TypeId>> {
    let (kind, bare) = kind_and_name(name);
    let fits = |id: &TypeId| match (kind, btf.kind(*id)) {
        (Some(Kind::Enum), found) => matches!(found, Some(Kind::Enum | Kind::Enum64)),
        (Some(kind), found) => found == Some(kind),
        (None, found) => matches!(
            found,
            Some(Kind::Struct | Kind::Union | Kind::Enum | Kind::Enum64 | Kind::Typedef)
        ),
    };
    let found: Vec<TypeId> = btf.find_all(bare).filter(fits).collect();
    (!found.is_empty()).then_some(found)
}

/// Says that there is no type of a name; `also` goes on.
fn no_type(btf: &Btf, name: &str, also: &str) -> Failure {
    let failure = Failure::new(format!("there is no type {name}{also}"));
    let (kind, bare) = kind_and_name(name);
    let near = btf.near_names(bare, kind.unwrap_or(Kind::Struct), 3);
    match near.is_empty() {
        true => failure,
        false => failure.hint(format!("did you mean {}?", near.join(", "))),
    }
}

fn make_minimal(args: &MinimizeArgs) -> Result<(), Failure> {
    let place = Place::open(args.btf.as_deref())?;
    let types = place.types().map_err(|failure| match args.btf {
        Some(_) => failure,
        None => failure.hint(NO_TYPES),
    })?;
    let mut specs = Vec::with_capacity(args.objects.len());
    for path in &args.objects {
        let spec = read_object(path)?;
        if spec.types.is_empty() {
            let failure = Failure::new(format!(
                "{} has no types of its own (BTF), so nothing in it asks for the kernel's",
                path.display()
            ));
            return Err(failure.hint("compile it with clang -g"));
        }
        if spec.programs.iter().all(|program| program.core.is_empty()) {
            tell(format_args!(
                "NOTE: {} asks for no type: its programs have no relocations (CO-RE)",
                path.display()
            ));
        }
        specs.push(spec);
    }
    let all: Vec<&kscope_spec::Spec> = specs.iter().collect();
    let file = |object: usize| {
        let path = args.objects.get(object);
        path.map_or_else(String::new, |path| path.display().to_string())
    };
    let name = args.btf.as_deref().map_or("vmlinux", shown);
    let minimal = minimize(&all, types, name).map_err(|error| match error {
        MinimizeError::Types { object, error } => {
            let file = file(object);
            Failure::new(format!("the types of {file} cannot be read: {error}")).hint(DAMAGED)
        }
        MinimizeError::Refused {
            object,
            program,
            failure,
        } => {
            let file = file(object);
            Failure::new(format!(
                "{file}: program {program} cannot be fitted to these types: {failure}"
            ))
        }
    })?;
    tell_absent(args, &minimal.absent);
    let bytes = minimal.types;
    let asks = |spec: &kscope_spec::Spec| spec.programs.iter().any(|one| !one.core.is_empty());
    let is_empty = Btf::parse(bytes.clone()).is_ok_and(|types| types.own_ids().next().is_none());
    if is_empty && specs.iter().any(asks) {
        tell(
            "NOTE: none of what the programs ask for is in these types: what is written is empty, and \
             every question whether something exists is answered no",
        );
    }
    let inputs = args.objects.iter().chain(&args.btf);
    let inputs: Vec<&Path> = inputs.map(PathBuf::as_path).collect();
    crate::output::write(&args.output, &bytes, &inputs)?;
    tell(format_args!(
        "{}: {} bytes of {}",
        args.output.display(),
        bytes.len(),
        types.bytes().len()
    ));
    Ok(())
}

/// Gives the last part of a path, by which errors call the types of a file.
pub(crate) fn shown(path: &Path) -> &str {
    let name = path.file_name().and_then(std::ffi::OsStr::to_str);
    name.unwrap_or("given BTF")
}

/// Tells which relocations find nothing, each once.
fn tell_absent(args: &MinimizeArgs, absent: &[Absent]) {
    const MOST: usize = 20;
    let mut lines: Vec<String> = Vec::new();
    for one in absent {
        let object = args.objects.get(one.object);
        let object = object.map_or_else(String::new, |path| path.display().to_string());
        let (program, failure) = (&one.program, &one.failure);
        let line = format!("NOTE: {object}: program {program} does not find {failure}");
        if !lines.contains(&line) {
            lines.push(line);
        }
    }
    for line in lines.iter().take(MOST) {
        tell(line);
    }
    if lines.len() > MOST {
        let more = lines.len() - MOST;
        tell(format_args!("NOTE: {more} more relocations find nothing"));
    }
}
