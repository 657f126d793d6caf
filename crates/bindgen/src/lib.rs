//! Typed Rust skeletons of eBPF objects, for build scripts; `kscope bindgen` is the same as a
//! command.
//!
//! A skeleton is a module: `Open` holds the object with its global variables as plain values,
//! `Skeleton` the loaded object with its maps, programs and variables as typed fields, `Links` what
//! is attached. Structures have the layout of C, asserted when they are compiled, and are decoded
//! field by field, so that neither the skeleton nor its user needs `unsafe`. The same object gives
//! the same text everywhere.
//!
//! # Examples
//!
//! A build script:
//!
//! ```no_run
//! fn main() -> Result<(), kscope_bindgen::Error> {
//!     kscope_bindgen::Builder::new("src/execsnoop.bpf.c")
//!         .event("exec_event")
//!         .build()?;
//!     Ok(())
//! }
//! ```
//!
//! The program then says `kscope_bpf::include_skeleton!("execsnoop");` and has the module
//! `execsnoop`.

mod builder;
mod compiler;
mod error;
mod names;
mod skeleton;
mod text;
mod types;
mod write;

use kscope_btf::{Btf, Kind, TypeId};
use kscope_spec::Spec;

pub use builder::{Builder, Built};
pub use error::Error;

use skeleton::Parts;
use text::Text;
use types::Types;

/// What is written, beside the object's own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// The object's name, as libbpf names it: what its file is called, up to the first dot.
    pub name: String,
    /// Types to write although no map and no variable has them: those of events. `struct`, `union`
    /// and `enum` may stand before a name.
    pub events: Vec<String>,
    /// Path of the object file from the written file, for `include_bytes!`; without it the skeleton
    /// is opened out of bytes alone.
    pub object: Option<String>,
    /// Write it as a module of this name, for `include!`, instead of as a file of its own.
    pub module: Option<String>,
}

/// What lints of the compiler do not apply to.
const ALLOWED: [(&str, &str); 6] = [
    ("dead_code", "not all of it is used"),
    ("unused_imports", "the same for all objects"),
    ("unreachable_pub", "who has the module decides"),
    ("non_snake_case", "names are those of C"),
    ("non_upper_case_globals", "names are those of C"),
    ("clippy::all", "written by a program"),
];

/// Writes the skeleton of an object.
///
/// # Errors
///
/// [`Error::NoTypes`] and [`Error::Types`] for objects without BTF, or with malformed ones;
/// [`Error::NoSuchType`] for an event that is not there; [`Error::Refused`] for a type that Rust
/// cannot say.
pub fn generate(spec: &Spec, options: &Options) -> Result<String, Error> {
    if spec.types.is_empty() {
        return Err(Error::NoTypes);
    }
    let btf = Btf::parse(spec.types.clone()).map_err(Error::Types)?;
    let mut events = Vec::with_capacity(options.events.len());
    for name in &options.events {
        events.push(find(&btf, name)?);
    }
    let mut types = Types::new(&btf);
    let parts = Parts::collect(spec, &btf, &mut types, &events)?;
    let items = types.into_items();
    let mut text = Text::default();
    let module = options.module.as_deref().map(names::value);
    let about = format!(
        "Typed skeleton of the eBPF object {}",
        options.name.escape_default()
    );
    match &module {
        None => {
            text.line(format!(
                "//! {about}; written by kscope bindgen, not by hand."
            ));
            text.line("");
        }
        Some(module) => {
            text.doc(&format!("{about}."));
            text.open(format!("pub mod {module} {{"));
        }
    }
    for (lint, reason) in ALLOWED {
        let attribute = "allow";
        text.line(format!("#![{attribute}({lint}, reason = \"{reason}\")]"));
    }
    text.line("");
    text.line("use core::mem::offset_of;");
    text.line("use std::sync::Arc;");
    text.line("");
    text.line("use kscope_bpf::plain::{self, Plain, Text};");
    text.line("use kscope_bpf::spec::Spec;");
    text.line("use kscope_bpf::typed::skeleton;");
    text.line(
        "use kscope_bpf::typed::{EventMap, PerCpuMap, TypedConstant, TypedFilter, TypedGlobal};",
    );
    text.line("use kscope_bpf::typed::{TypedMap, TypedQueue};");
    text.line("use kscope_bpf::{Error, Link, Loader, Map, Object, Program};");
    skeleton::write(&mut text, &options.name, options.object.as_deref(), &parts);
    for item in &items {
        text.line("");
        write::item(&mut text, item);
    }
    if module.is_some() {
        text.close("}");
    }
    Ok(text.into_string())
}

/// Finds a type by its name in C.
fn find(btf: &Btf, name: &str) -> Result<TypeId, Error> {
    let (kinds, bare): (&[Kind], &str) = match name.split_once(' ') {
        Some(("struct", rest)) => (&[Kind::Struct], rest.trim()),
        Some(("union", rest)) => (&[Kind::Union], rest.trim()),
        Some(("enum", rest)) => (&[Kind::Enum, Kind::Enum64], rest.trim()),
        _ => {
            let all = &[
                Kind::Struct,
                Kind::Union,
                Kind::Typedef,
                Kind::Enum,
                Kind::Enum64,
            ];
            (all, name)
        }
    };
    let found = kinds.iter().find_map(|&kind| btf.find(bare, kind));
    found.ok_or_else(|| {
        let near = kinds.iter().flat_map(|&kind| btf.near_names(bare, kind, 3));
        Error::NoSuchType {
            name: bare.to_owned(),
            near: near.map(str::to_owned).collect(),
        }
    })
}
