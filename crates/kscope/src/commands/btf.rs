//! `kscope btf`

use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use kscope_bpf::btf::{Btf, Kind, TypeId};
use kscope_bpf::inspect::LoadedTypes;
use kscope_spec::core::{Absent, minimize};
use kscope_spec::elf::Elf;

use crate::commands::bpf::failed;
use crate::commands::bpf::holders::{Held, Holders};
use crate::commands::bpf::listing::{Holds, ListArgs, Listing, number, text};
use crate::commands::bpf::object::{read_file, read_object};
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
        /// `vmlinux`, a module, a BTF file or an object file
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
    /// `vmlinux`, a module, a BTF file or an object file
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
    /// Write to this file
    #[arg(short, long, value_name = "FILE", default_value = "minimal.btf")]
    output: PathBuf,
    /// The object files
    #[arg(value_name = "OBJECT", required = true)]
    objects: Vec<PathBuf>,
}

/// Runs the command.
pub(crate) fn run(args: &BtfArgs) -> Result<u8, Failure> {
    match &args.what {
        What::List { how, source: None } => list_loaded(how.json)?,
        What::List {
            how,
            source: Some(source),
        } => list_types(&open(source)?, how.json)?,
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

/// Reads types from where a word says.
fn open(source: &str) -> Result<Btf, Failure> {
    let folder = Path::new("/sys/kernel/btf");
    let path = Path::new(source);
    let is_name = !source.contains('/') && !source.is_empty();
    if source == "vmlinux" || (is_name && !path.exists()) {
        let place = Place::open(None)?;
        let base = place.types()?;
        if source == "vmlinux" {
            return Ok(base.clone());
        }
        let file = folder.join(source);
        if !file.exists() {
            let failure = Failure::new(format!("there is no file and no module {source}"));
            return Err(failure.hint("`kscope btf list` shows the modules that have types"));
        }
        let parsed = Btf::parse_split(read_file(&file)?, base);
        return parsed.map_err(|error| malformed(source, &error));
    }
    let bytes = read_file(path)?;
    if bytes.starts_with(b"\x7fELF") {
        return of_object(source, &bytes);
    }
    let is_module = path.parent() == Some(folder) && path != folder.join("vmlinux");
    let parsed = if is_module {
        let place = Place::open(None)?;
        Btf::parse_split(bytes, place.types()?)
    } else {
        Btf::parse(bytes)
    };
    parsed.map_err(|error| malformed(source, &error))
}

fn malformed(source: &str, error: &kscope_bpf::btf::Error) -> Failure {
    Failure::new(format!("the types of {source} cannot be read: {error}"))
}

/// Reads the section `.BTF` of an object file.
pub(super) fn of_object(source: &str, bytes: &[u8]) -> Result<Btf, Failure> {
    let elf = Elf::parse(bytes)
        .map_err(|error| Failure::new(format!("{source} is no ELF file: {error}")))?;
    let Some((_, section)) = elf.named(".BTF") else {
        let failure = Failure::new(format!("{source} has no BTF"));
        return Err(failure.hint("clang -g makes it for eBPF objects"));
    };
    Btf::parse(section.data.to_vec()).map_err(|error| malformed(source, &error))
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
    let (btf, name) = match (&args.name, open(&args.source)) {
        (_, Ok(btf)) => (btf, args.name.clone()),
        (None, Err(failure)) if !args.source.contains('/') => match open("vmlinux") {
            Ok(btf) => (btf, Some(args.source.clone())),
            Err(_) => return Err(failure),
        },
        (_, Err(failure)) => return Err(failure),
    };
    let chosen: Option<Vec<TypeId>> = match &name {
        None => None,
        Some(name) => Some(named(&btf, name)?),
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
            for id in all {
                writeln!(out, "{}", btf.write_json(id))?;
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

/// Finds structures, unions, enumerations and typedefs by name; `struct file` finds that alone.
fn named(btf: &Btf, name: &str) -> Result<Vec<TypeId>, Failure> {
    let (kind, bare) = match name.split_once(' ') {
        Some(("struct", rest)) => (Some(Kind::Struct), rest.trim()),
        Some(("union", rest)) => (Some(Kind::Union), rest.trim()),
        Some(("enum", rest)) => (Some(Kind::Enum), rest.trim()),
        _ => (None, name),
    };
    let fits = |id: &TypeId| match (kind, btf.kind(*id)) {
        (Some(Kind::Enum), found) => matches!(found, Some(Kind::Enum | Kind::Enum64)),
        (Some(kind), found) => found == Some(kind),
        (None, found) => matches!(
            found,
            Some(Kind::Struct | Kind::Union | Kind::Enum | Kind::Enum64 | Kind::Typedef)
        ),
    };
    let found: Vec<TypeId> = btf.find_all(bare).filter(fits).collect();
    if found.is_empty() {
        let failure = Failure::new(format!("there is no type {name}"));
        let near = btf.near_names(bare, kind.unwrap_or(Kind::Struct), 3);
        return Err(match near.is_empty() {
            true => failure,
            false => failure.hint(format!("did you mean {}?", near.join(", "))),
        });
    }
    Ok(found)
}

fn make_minimal(args: &MinimizeArgs) -> Result<(), Failure> {
    let place = Place::open(args.btf.as_deref())?;
    let types = place.types().map_err(|failure| match args.btf {
        Some(_) => failure,
        None => failure.hint(NO_TYPES),
    })?;
    let mut specs = Vec::with_capacity(args.objects.len());
    for path in &args.objects {
        specs.push(read_object(path)?);
    }
    let all: Vec<&kscope_spec::Spec> = specs.iter().collect();
    let minimal = minimize(&all, types).map_err(|error| {
        let mut text = error.to_string();
        if let Some(cause) = std::error::Error::source(&error) {
            text.push_str(&format!(": {cause}"));
        }
        Failure::new(text)
    })?;
    tell_absent(args, &minimal.absent);
    let bytes = minimal.types;
    std::fs::write(&args.output, &bytes).map_err(|error| {
        Failure::new(format!("cannot write {}: {error}", args.output.display()))
    })?;
    crate::console::tell(format_args!(
        "{}: {} bytes of {}",
        args.output.display(),
        bytes.len(),
        types.bytes().len()
    ));
    Ok(())
}

/// Tells which relocations find nothing, each once.
fn tell_absent(args: &MinimizeArgs, absent: &[Absent]) {
    const MOST: usize = 20;
    let mut lines: Vec<String> = Vec::new();
    for one in absent {
        let object = args.objects.get(one.object);
        let object = object.map_or_else(String::new, |path| path.display().to_string());
        let (program, failure) = (&one.program, &one.failure);
        let line = format!("NOTE: {object}: program {program} finds no {failure}");
        if !lines.contains(&line) {
            lines.push(line);
        }
    }
    for line in lines.iter().take(MOST) {
        crate::console::tell(line);
    }
    if lines.len() > MOST {
        let more = lines.len() - MOST;
        crate::console::tell(format_args!("NOTE: {more} more relocations find nothing"));
    }
}
