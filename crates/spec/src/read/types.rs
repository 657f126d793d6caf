//! The object's types: read, and mended where compilers leave to linkers and loaders what the
//! table of symbols says.

use kscope_btf::ext::Ext;
use kscope_btf::{Btf, DataSec, Endian, Kind, Linkage, Type, TypeId, VarInfo};

use super::error::ReadError;
use super::externs::Config;
use crate::elf::{Binding, Elf, Symbol, SymbolKind};
use crate::table::{self, Names};

/// Section of build options.
pub(super) const KCONFIG: &str = ".kconfig";
/// Section of the kernel's symbols.
pub(super) const KSYMS: &str = ".ksyms";

/// Sizes in bytes of a type's header and of a variable in a section.
const HEADER: usize = 12;
pub(super) const VARIABLE: usize = 12;

/// Reads the types as they stand.
pub(super) fn parse(elf: &Elf<'_>) -> Result<Option<Btf>, ReadError> {
    match elf.named(".BTF") {
        Some((_, section)) if !section.data.is_empty() => Btf::parse(section.data.to_vec())
            .map(Some)
            .map_err(ReadError::Types),
        _ => Ok(None),
    }
}

/// Reads what the object says of its instructions.
pub(super) fn ext(elf: &Elf<'_>) -> Result<Ext, ReadError> {
    match elf.named(".BTF.ext") {
        Some((_, section)) if !section.data.is_empty() => {
            Ext::parse(section.data).map_err(ReadError::Ext)
        }
        _ => Ok(Ext::default()),
    }
}

/// Finds a section of variables by name.
pub(super) fn section<'a>(types: &'a Btf, name: &str) -> Option<(TypeId, DataSec<'a>)> {
    let id = types.find(name, Kind::DataSec)?;
    match types.get(id)? {
        Type::DataSec(section) => Some((id, section)),
        _ => None,
    }
}

/// Gives the type with sizes of sections, offsets, order and linkage of variables, and linkage of
/// functions as the symbols and the place of the build options have them.
pub(super) fn mend(
    elf: &Elf<'_>,
    types: Option<Btf>,
    config: &Config,
) -> Result<Option<Btf>, ReadError> {
    let Some(types) = types else {
        return Ok(None);
    };
    let words = mended(elf, &types, config);
    if words.is_empty() {
        return Ok(Some(types));
    }
    let mut bytes = types.bytes().to_vec();
    for (at, word) in words {
        let word = match types.endian() {
            Endian::Little => word.to_le_bytes(),
            Endian::Big => word.to_be_bytes(),
        };
        if let Some(place) = bytes.get_mut(at..).and_then(<[u8]>::first_chunk_mut) {
            *place = word;
        }
    }
    Btf::parse(bytes).map(Some).map_err(ReadError::Types)
}

/// Gives the words that change, by byte offset into the blob.
fn mended(elf: &Elf<'_>, types: &Btf, config: &Config) -> Vec<(usize, u32)> {
    let symbols = globals(elf);
    let symbol = |name: &str, kind| {
        symbols
            .get(name)
            .filter(|symbol: &&&Symbol<'_>| symbol.kind == kind)
    };
    let mut words = Vec::new();
    for id in types.own_ids() {
        let at = types.offset_of(id);
        match types.get(id) {
            Some(Type::DataSec(section)) if section.name == KCONFIG => {
                let vars = section.vars().map(|var| VarInfo {
                    offset: config.offsets.get(&var.type_id).copied().unwrap_or(0),
                    ..var
                });
                words.push((at + 8, config.size));
                place(&mut words, at, vars.collect());
            }
            Some(Type::DataSec(section)) if section.name != KSYMS => {
                let size = match section.size {
                    0 => elf.named(section.name).map_or(0, |(_, found)| found.size),
                    size => size.into(),
                };
                let vars = section.vars().map(|var| {
                    let Some(Type::Var {
                        name,
                        linkage: Linkage::Global,
                        ..
                    }) = types.get(var.type_id)
                    else {
                        return var;
                    };
                    match symbol(name, SymbolKind::Object) {
                        Some(symbol) if section.size == 0 => VarInfo {
                            offset: u32::try_from(symbol.value).unwrap_or(u32::MAX),
                            ..var
                        },
                        _ => var,
                    }
                });
                words.push((at + 8, u32::try_from(size).unwrap_or(u32::MAX)));
                place(&mut words, at, vars.collect());
            }
            // Hidden variables and functions are no interface: static for the kernel's verifier,
            // which then knows more of their arguments, and for user space.
            Some(Type::Var { name, linkage, .. }) => match linkage {
                Linkage::Global if symbol(name, SymbolKind::Object).is_some_and(|s| s.hidden) => {
                    words.push((at + HEADER, Linkage::Static.number()));
                }
                Linkage::Extern if config.offsets.contains_key(&id) => {
                    words.push((at + HEADER, Linkage::Global.number()));
                }
                _ => {}
            },
            Some(Type::Func { name, linkage, .. })
                if linkage == Linkage::Global
                    && symbol(name, SymbolKind::Function).is_some_and(|s| s.hidden) =>
            {
                words.push((at + 4, (Kind::Func as u32) << 24));
            }
            _ => {}
        }
    }
    words
}

/// Writes the variables of the section at `at`, ascending by offset.
fn place(words: &mut Vec<(usize, u32)>, at: usize, mut vars: Vec<VarInfo>) {
    table::sort(&mut vars, |var| var.offset);
    for (index, var) in vars.iter().enumerate() {
        let at = at + HEADER + index * VARIABLE;
        words.push((at, var.type_id.0));
        words.push((at + 4, var.offset));
        words.push((at + 8, var.size));
    }
}

/// Gives the symbols that other objects see, the first of each name.
fn globals<'e, 'a>(elf: &'e Elf<'a>) -> Names<'a, &'e Symbol<'a>> {
    let mut globals = Names::default();
    for symbol in &elf.symbols {
        let seen = matches!(symbol.binding, Binding::Global | Binding::Weak);
        if seen && symbol.section().is_some() {
            globals.get_or(symbol.name, || symbol);
        }
    }
    globals
}
