//! Reads ELF objects, as clang and others make them for eBPF, into a [`Spec`].
//!
//! The same bytes give the same `Spec` on every machine. What cannot be used (a program in an
//! unknown section, a call of a function that is nowhere, a map whose description makes no sense)
//! is kept with the reason in its `refused`, so that it stands in nobody's way; only a file that
//! is no object of eBPF, or whose parts contradict each other, is an error.
//!
//! Two things of the object's types are left to the loader: `.ksyms` stays as compilers write it
//! (external variables and functions, no sizes), which no kernel takes, and kinds of types that a
//! kernel does not know yet stay in.

mod bodies;
mod budget;
mod data;
mod error;
mod externs;
mod functions;
#[cfg(feature = "legacy")]
mod legacy;
mod lines;
pub(crate) mod maps;
mod programs;
mod slots;
#[cfg(feature = "struct_ops")]
mod struct_ops;
mod types;
mod why;

use std::ops::Range;

use crate::elf::number::{SHT_REL, SHT_RELA};
use crate::elf::{Elf, Reader, Relocation, SectionIndex, Symbol, SymbolIndex};
use crate::object::{MapId, MapSpec, Spec};
use crate::table::{self, Table};

use budget::Budget;
pub use error::ReadError;
use why::Why;

/// Reads an object.
///
/// # Errors
/// Where the file is no eBPF object, or its parts contradict each other.
pub fn object(bytes: &[u8]) -> Result<Spec, ReadError> {
    object_named("", bytes)
}

/// Reads an object whose data sections' maps are named after it, as libbpf names them: of the
/// object `opensnoop`, `.bss` becomes `opensnoo.bss`.
///
/// # Errors
/// As [`object`].
pub fn object_named(name: &str, bytes: &[u8]) -> Result<Spec, ReadError> {
    let mut budget = Budget::of(bytes);
    let elf = Elf::parse(bytes)?;
    let version = version_of(&elf)?;
    let relocations = Relocations::read(&elf, &mut budget)?;
    let declared = types::parse(&elf)?;
    let mut externs = externs::collect(&elf, declared.as_ref(), &mut budget)?;
    let types = types::mend(&elf, declared, &externs.config)?;
    let ext = types::ext(&elf)?;
    let object = Object {
        symbols: by_section(&elf),
        elf,
        relocations,
        types,
    };

    let mut maps = Maps::default();
    maps::read(&object, &mut maps, &mut budget)?;
    #[cfg(feature = "legacy")]
    legacy::read(&object, &mut maps, &mut budget)?;
    let mut variables = Vec::new();
    data::read(&object, name, &mut maps, &mut variables, &mut budget)?;
    externs.place(&object, name, &mut maps);
    #[cfg(feature = "struct_ops")]
    struct_ops::read(&object, &mut maps, &mut budget)?;

    let functions = functions::collect(&object);
    let mut files = lines::Files::of(bytes);
    let about = lines::About::new(&object, &ext);
    let uses = bodies::Uses {
        object: &object,
        functions: &functions,
        maps: &maps,
        externs: &externs,
        about: &about,
    };
    let bodies = uses.bodies(&mut files);
    let mut programs = programs::assemble(&uses, &bodies, &mut budget);
    slots::read(&object, &mut maps, &programs.ids);
    #[cfg(feature = "struct_ops")]
    struct_ops::members(&object, &mut maps, &mut programs);
    lines::keep_used(&mut files.list, &mut programs.list);

    Ok(Spec {
        maps: maps.list,
        programs: programs.list,
        late: Vec::new(),
        externs: externs.list,
        variables,
        files: files.list,
        license: text_of(&object.elf, "license"),
        version,
        byte_order: object.elf.order,
        types: object
            .types
            .map(|types| types.bytes().to_vec())
            .unwrap_or_default(),
    })
}

/// What is read of, by all parts.
struct Object<'a> {
    elf: Elf<'a>,
    /// The symbols of each section, in the table's order.
    symbols: Table<SectionIndex, Vec<SymbolIndex>>,
    relocations: Relocations,
    types: Option<kscope_btf::Btf>,
}

/// Sorts the symbols by section: a file may have very many of both.
fn by_section(elf: &Elf<'_>) -> Table<SectionIndex, Vec<SymbolIndex>> {
    let mut symbols: Table<SectionIndex, Vec<SymbolIndex>> = Table::default();
    for (index, symbol) in (0..).map(SymbolIndex).zip(&elf.symbols) {
        let into = symbol.section().and_then(|of| symbols.get_or(of, Vec::new));
        if let Some(into) = into {
            into.push(index);
        }
    }
    symbols
}

impl<'a> Object<'a> {
    /// Gives the symbols of a section, in the table's order.
    fn symbols(&self, of: SectionIndex) -> impl Iterator<Item = (SymbolIndex, &Symbol<'a>)> {
        let all = self.symbols.get(&of).map_or(&[][..], Vec::as_slice);
        all.iter()
            .filter_map(|&index| Some((index, self.elf.symbol(index)?)))
    }
}

/// The relocations of each section, ascending.
#[derive(Default)]
struct Relocations {
    by_section: Table<SectionIndex, Vec<Relocation>>,
    /// Sections whose relocations have addends of their own, which no compiler for eBPF writes.
    with_addends: Table<SectionIndex, ()>,
}

impl Relocations {
    fn read(elf: &Elf<'_>, budget: &mut Budget) -> Result<Relocations, ReadError> {
        let mut relocations = Relocations::default();
        for (_, section) in elf.indexed() {
            let target = SectionIndex(section.info);
            match section.kind {
                SHT_RELA => relocations.with_addends.insert(target, ()),
                // Debug information and BTF are not relocated here.
                SHT_REL if !elf.section_name(target).starts_with(".debug_") => {
                    budget.take(section.data.len(), "relocations")?;
                    let list = relocations.by_section.get_or(target, Vec::new);
                    if let Some(list) = list {
                        list.extend(elf.relocations(section));
                    }
                }
                _ => {}
            }
        }
        for list in relocations.by_section.values_mut() {
            table::sort(list, |relocation| relocation.offset);
        }
        Ok(relocations)
    }

    /// Gives the relocations of a section.
    fn of(&self, section: SectionIndex) -> &[Relocation] {
        self.by_section.get(&section).map_or(&[], Vec::as_slice)
    }
}

/// The maps so far, and where their symbols are.
#[derive(Default)]
struct Maps {
    list: Vec<MapSpec>,
    /// Maps whose descriptions are at these offsets into these sections.
    described: Table<(SectionIndex, u64), MapId>,
    /// Offset in bytes of `values` in the description of those that have it.
    values: Table<MapId, u64>,
    /// Sections that are maps as a whole.
    sections: Table<SectionIndex, MapId>,
    /// Variables in those, by byte, that nobody can use, with the reason; ascending.
    addresses: Table<SectionIndex, Vec<(Range<u64>, Why)>>,
}

impl Maps {
    fn add(&mut self, map: MapSpec) -> MapId {
        self.list.push(map);
        MapId(self.list.len() as u32 - 1)
    }

    fn get_mut(&mut self, id: MapId) -> Option<&mut MapSpec> {
        self.list.get_mut(id.0 as usize)
    }

    /// Gives the maps whose descriptions are in each section, by their offsets, ascending.
    fn places(&self) -> Table<SectionIndex, Vec<(u64, MapId)>> {
        let mut places: Table<SectionIndex, Vec<(u64, MapId)>> = Table::default();
        for &((section, offset), id) in self.described.iter() {
            if let Some(into) = places.get_or(section, Vec::new) {
                into.push((offset, id));
            }
        }
        for inside in places.values_mut() {
            table::sort(inside, |place| *place);
        }
        places
    }

    /// Refuses a map, unless it is refused already.
    fn refuse(&mut self, id: MapId, why: &Why) {
        if let Some(map) = self.get_mut(id) {
            map.refused.get_or_insert_with(|| why.to_string());
        }
    }
}

/// Gives the text of a section up to its first NUL.
fn text_of(elf: &Elf<'_>, section: &str) -> String {
    let data = elf.named(section).map_or(&[][..], |(_, found)| found.data);
    let text = data.split(|&byte| byte == 0).next().unwrap_or_default();
    // The kernel takes 128 bytes.
    String::from_utf8_lossy(text.get(..127).unwrap_or(text)).into_owned()
}

fn version_of(elf: &Elf<'_>) -> Result<u32, ReadError> {
    let Some((_, section)) = elf.named("version") else {
        return Ok(0);
    };
    let reader = Reader {
        bytes: section.data,
        order: elf.order,
    };
    let size = section.data.len();
    let number = reader.u32(0).filter(|_| size == 4);
    number.ok_or(ReadError::Version { size })
}

#[cfg(test)]
mod tests;
