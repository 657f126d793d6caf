//! Global variables: `.data`, `.rodata`, `.bss`, their namesakes with a suffix, and those of an
//! arena.

use core::cell::OnceCell;

use kscope_btf::{Btf, Linkage, Type};

use super::budget::Budget;
use super::error::ReadError;
use super::types;
use super::why::Why;
use super::{Maps, Object};
use crate::elf::number::{SHT_NOBITS, SHT_PROGBITS};
use crate::elf::{Section, SectionIndex, Symbol, SymbolKind};
use crate::object::{MapId, MapKind, MapSpec, Variable};
use crate::table::{self, Table};

/// Creation flags: programs only read; user space may map it (`BPF_F_RDONLY_PROG`,
/// `BPF_F_MMAPABLE`).
pub(super) const RDONLY_PROG: u32 = 1 << 7;
pub(super) const MMAPABLE: u32 = 1 << 10;
/// Sections of an arena's variables, as clang's address space and as older headers name it.
const ARENA: [&str; 2] = [".addr_space.1", ".arena.1"];
/// Longest name of a map in the kernel.
const NAME: usize = 15;
/// Largest map of variables, in bytes.
const LARGEST: u64 = i32::MAX as u64;

/// What stands in a section of variables.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Variables {
    Written,
    Constant,
    Zero,
    Arena,
}

fn kind(section: &Section<'_>) -> Option<Variables> {
    let is = |name: &str| {
        let rest = section.name.strip_prefix(name);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    if section.size == 0 || section.is_code() {
        return None;
    }
    match section.kind {
        SHT_PROGBITS if is(".data") => Some(Variables::Written),
        SHT_PROGBITS if is(".rodata") => Some(Variables::Constant),
        SHT_NOBITS if is(".bss") => Some(Variables::Zero),
        SHT_PROGBITS | SHT_NOBITS if is_arena(section.name) => Some(Variables::Arena),
        _ => None,
    }
}

/// Tells whether a section is of an arena's variables.
pub(super) fn is_arena(name: &str) -> bool {
    ARENA.contains(&name)
}

/// Adds a map for each section of variables, and the variables.
pub(super) fn read(
    object: &Object<'_>,
    name: &str,
    maps: &mut Maps,
    variables: &mut Vec<Variable>,
    budget: &mut Budget,
) -> Result<(), ReadError> {
    let arena = one_arena(maps);
    let names = OnceCell::new();
    for (index, section) in object.elf.indexed() {
        let Some(kind) = kind(section) else {
            continue;
        };
        let id = match (kind, arena) {
            (Variables::Arena, None) => continue,
            (Variables::Arena, Some(arena)) => {
                budget.take(section.data.len(), "sections of variables")?;
                if let Some(map) = maps.get_mut(arena) {
                    map.initial = (!section.data.is_empty()).then(|| section.data.to_vec());
                }
                arena
            }
            _ => maps.add(map(object, name, kind, section, budget)?),
        };
        maps.sections.insert(index, id);
        let first = variables.len();
        let of_types = object
            .types
            .as_ref()
            .and_then(|types| Some((types, types::section(types, section.name)?.1)));
        match of_types {
            Some((types, found)) => {
                budget.take(found.vars().len() * types::VARIABLE, "variables")?;
                for var in found.vars() {
                    let Some(Type::Var { name, to, .. }) = types.get(var.type_id) else {
                        continue;
                    };
                    budget.take(name.len().saturating_add(64), "variables")?;
                    variables.push(Variable {
                        name: name.to_owned(),
                        map: id,
                        offset: var.offset,
                        size: var.size,
                        type_id: to.0,
                    });
                }
            }
            None => untyped(object, index, id, variables, budget)?,
        }
        let added = variables.get(first..).unwrap_or_default();
        addresses(object, (index, section), added, &names, maps);
    }
    Ok(())
}

/// Gives the object's arena; a second one is refused.
fn one_arena(maps: &mut Maps) -> Option<MapId> {
    let is_arena = |map: &MapSpec| map.kind == MapKind::Arena;
    let at = maps.list.iter().position(is_arena)?;
    let first = maps.list.get(at)?.name.clone();
    for other in maps
        .list
        .iter_mut()
        .skip(at + 1)
        .filter(|map| is_arena(map))
    {
        let why = Why::SecondArena {
            first: first.clone(),
        };
        other.refused.get_or_insert_with(|| why.to_string());
    }
    Some(MapId(at as u32))
}

fn map(
    object: &Object<'_>,
    name: &str,
    kind: Variables,
    section: &Section<'_>,
    budget: &mut Budget,
) -> Result<MapSpec, ReadError> {
    budget.take(section.data.len(), "sections of variables")?;
    let types = object.types.as_ref();
    let types = types.and_then(|types| Some((types, types::section(types, section.name)?)));
    let constant = kind == Variables::Constant;
    let mut flags = if constant { RDONLY_PROG } else { 0 };
    if types.is_some_and(|(types, (_, found))| seen(types, found)) {
        flags |= MMAPABLE;
    }
    let too_large = (section.size > LARGEST).then(|| Why::DataTooLarge {
        section: section.name.to_owned(),
        size: section.size,
    });
    Ok(MapSpec {
        name: data_name(name, section.name),
        kind: MapKind::Array,
        key_size: 4,
        value_size: u32::try_from(section.size).unwrap_or(u32::MAX),
        max_entries: 1,
        flags,
        value_type: types.map_or(0, |(_, (id, _))| id.0),
        initial: (kind != Variables::Zero).then(|| section.data.to_vec()),
        frozen: constant,
        section: section.name.to_owned(),
        refused: too_large.map(|why| why.to_string()),
        ..MapSpec::default()
    })
}

/// Tells whether a variable of the section is for others than its own source file.
fn seen(types: &Btf, section: kscope_btf::DataSec<'_>) -> bool {
    section.vars().any(|var| match types.get(var.type_id) {
        Some(Type::Var { linkage, .. }) => linkage != Linkage::Static,
        _ => false,
    })
}

/// Gives the variables that symbols alone tell.
fn untyped(
    object: &Object<'_>,
    index: SectionIndex,
    map: MapId,
    variables: &mut Vec<Variable>,
    budget: &mut Budget,
) -> Result<(), ReadError> {
    let first = variables.len();
    for (_, symbol) in object.symbols(index) {
        if symbol.kind != SymbolKind::Object || symbol.name.is_empty() {
            continue;
        }
        let (Ok(offset), Ok(size)) = (u32::try_from(symbol.value), u32::try_from(symbol.size))
        else {
            continue;
        };
        budget.take(symbol.name.len().saturating_add(64), "variables")?;
        variables.push(Variable {
            name: symbol.name.to_owned(),
            map,
            offset,
            size,
            type_id: 0,
        });
    }
    if let Some(added) = variables.get_mut(first..) {
        table::sort(added, |variable| variable.offset);
    }
    Ok(())
}

/// Finds the variables that hold addresses, which nobody fills in: sections are copied as they are.
/// Whoever uses such a variable is refused.
fn addresses<'a>(
    object: &Object<'a>,
    (index, section): (SectionIndex, &Section<'_>),
    variables: &[Variable],
    names: &OnceCell<PlaceNames<'a>>,
    maps: &mut Maps,
) {
    let elf = &object.elf;
    let relocations = object.relocations.of(index);
    if relocations.is_empty() {
        return;
    }
    let symbols = object.symbols(index).map(|(_, symbol)| symbol);
    let of_symbols = symbols.filter(|symbol| symbol.kind == SymbolKind::Object);
    let mut spans: Vec<(u64, u64)> = variables
        .iter()
        .map(|variable| (variable.offset.into(), variable.size.into()))
        .chain(of_symbols.map(|symbol| (symbol.value, symbol.size)))
        .map(|(start, size)| (start, start.saturating_add(size)))
        .collect();
    table::sort(&mut spans, |span| *span);
    let names = names.get_or_init(|| place_names(object));
    let Some(found) = maps.addresses.get_or(index, Vec::new) else {
        return;
    };
    for relocation in relocations {
        let offset = relocation.offset;
        if found.last().is_some_and(|(span, _)| span.contains(&offset)) {
            continue;
        }
        let after = spans.partition_point(|(start, _)| *start <= offset);
        let span = after.checked_sub(1).and_then(|at| spans.get(at));
        let span = span.filter(|(_, end)| offset < *end);
        let (start, end) = span.map_or((offset, offset.saturating_add(8)), |span| *span);
        let Some(symbol) = elf.symbol(relocation.symbol) else {
            continue;
        };
        let code = symbol
            .section()
            .and_then(|section| elf.section(section))
            .is_some_and(Section::is_code);
        // What is static is named by its section and place.
        let place = super::slots::target(object, index, relocation);
        let name = place.and_then(|place| names.get(&place).copied());
        let why = Why::DataHasAddress {
            section: section.name.to_owned(),
            offset,
            symbol: name.unwrap_or_else(|| elf.symbol_name(symbol)).to_owned(),
            code,
        };
        found.push((start..end, why));
    }
}

/// Names of functions and variables by their places.
type PlaceNames<'a> = Table<(SectionIndex, u64), &'a str>;

fn place_names<'a>(object: &Object<'a>) -> PlaceNames<'a> {
    let whole =
        |symbol: &&Symbol<'_>| matches!(symbol.kind, SymbolKind::Function | SymbolKind::Object);
    let named = object.elf.symbols.iter().filter(whole);
    named
        .filter_map(|symbol| Some(((symbol.section()?, symbol.value), symbol.name)))
        .collect()
}

/// Gives the name of a section's map: as much of the object's name as fits before the section's
/// in 15 bytes, of which at least 7 are kept for the section; none before a section with a suffix.
pub(super) fn data_name(object: &str, section: &str) -> String {
    let suffix = section.len().clamp(7, NAME);
    let custom = section.get(1..).is_some_and(|rest| rest.contains('.'));
    let prefix = if custom { 0 } else { NAME - suffix };
    let mut name = String::with_capacity(NAME);
    for (part, length) in [(object, prefix), (section, suffix)] {
        for &byte in part.as_bytes().iter().take(length) {
            name.push(match byte {
                b'.' | b'_' => char::from(byte),
                byte if byte.is_ascii_alphanumeric() => char::from(byte),
                _ => '_',
            });
        }
    }
    name
}
