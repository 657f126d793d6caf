//! Static linking: several objects become one.
//!
//! As with libbpf's linker, sections of the same name follow one another, symbols that other
//! objects see are resolved by name (a strong definition before a weak one, the first of several
//! weak ones, the definition before a declaration), and what remains declared stays so for a later
//! link or for the target. Types are merged and each is there once ([`kscope_btf::merge`]); a
//! symbol must have compatible types wherever it is declared. `license` and `version` are those of
//! all. The same input gives the same bytes.
//!
//! Where one object hides a symbol (`__hidden`) it is hidden in the result. The code of a weak
//! function that gave way to another stays in its section without a symbol; no program has it.

mod compare;
mod error;
mod input;
mod relocate;
mod sections;
mod symbols;
mod types;

use crate::elf::write::Writer;
use crate::object::Spec;
use crate::read;

pub use error::LinkError;
use input::Input;

/// Links objects, each with the name that errors call it by.
///
/// # Errors
/// Where one is no object of eBPF, where they do not fit together, and where there is none.
///
/// # Examples
/// ```no_run
/// let (a, b) = (std::fs::read("a.bpf.o")?, std::fs::read("b.bpf.o")?);
/// let linked = kscope_spec::link::objects(&[("a.bpf.o", &a), ("b.bpf.o", &b)])?;
/// std::fs::write("all.bpf.o", linked)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn objects(objects: &[(&str, &[u8])]) -> Result<Vec<u8>, LinkError> {
    let inputs = objects
        .iter()
        .map(|(name, bytes)| Input::read(name, bytes))
        .collect::<Result<Vec<_>, _>>()?;
    let first = inputs.first().ok_or(LinkError::Nothing)?;
    let order = first.elf.order;
    if let Some(other) = inputs.iter().find(|input| input.elf.order != order) {
        return Err(LinkError::ByteOrder {
            first: first.name.to_owned(),
            file: other.name.to_owned(),
        });
    }
    let mut layout = sections::Layout::of(&inputs)?;
    let resolved = symbols::Resolved::of(&inputs, &layout)?;
    relocate::sections(&inputs, &mut layout)?;
    let notes = types::merge(&inputs, &layout, &resolved)?;
    let mut writer = Writer::new(order);
    layout.write(&mut writer)?;
    for (name, bytes) in notes {
        writer.note(name, bytes);
    }
    let symbols = resolved.write(&inputs, &layout, &mut writer);
    relocate::write(&inputs, &layout, &symbols, &mut writer);
    Ok(writer.finish())
}

/// Links objects and reads the result; `name` is what it is called, as [`read::object_named`] takes
/// it.
///
/// # Errors
/// As [`objects`].
pub fn spec(name: &str, inputs: &[(&str, &[u8])]) -> Result<Spec, LinkError> {
    let bytes = objects(inputs)?;
    read::object_named(name, &bytes).map_err(|error| LinkError::Object {
        file: name.to_owned(),
        error,
    })
}
