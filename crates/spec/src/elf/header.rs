//! Headers, section names and symbols.

use core::fmt;

use super::{Binding, Elf, Place, Reader, Section, SectionIndex, Symbol, SymbolKind, number as n};
use crate::ByteOrder;
use crate::say::say;
use crate::table::Names;

/// Why a file is no object that can be read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ElfError {
    /// The file does not begin as ELF files do.
    NotElf,
    /// The file is of 32-bit ELF.
    NotSixtyFour,
    /// The file is for another machine than eBPF: this number of `e_machine`.
    Machine(u16),
    /// The file is of another type than relocatable: this number of `e_type`.
    NotRelocatable(u16),
    /// A part does not lie in the file, or makes no sense.
    Malformed {
        /// The part.
        what: &'static str,
        /// Where it, or what refers to it, is: byte offset into the file.
        offset: u64,
    },
    /// A section does not lie in the file.
    Cut {
        /// The section's name, empty where the names are what is cut.
        section: String,
        /// Its offset in bytes.
        offset: u64,
        /// Its size in bytes.
        size: u64,
    },
    /// There is no table of symbols, without which neither programs nor maps are found.
    NoSymbols,
}

impl fmt::Display for ElfError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ElfError::NotElf => f.write_str("no ELF file: it does not begin with \\x7fELF"),
            ElfError::NotSixtyFour => f.write_str("a 32-bit ELF file: eBPF objects are 64-bit"),
            ElfError::Machine(machine) => say(
                f,
                "an ELF file for machine {}, not for eBPF (247): compile with clang -target bpf",
                &[machine],
            ),
            ElfError::NotRelocatable(kind) => say(
                f,
                "an ELF file of type {}, not a relocatable object (1): compile with -c",
                &[kind],
            ),
            ElfError::Malformed { what, offset } => {
                say(f, "malformed ELF: {} at byte {}", &[what, offset])
            }
            ElfError::Cut {
                section,
                offset,
                size,
            } => say(
                f,
                "the ELF file is cut: section '{}' would take {} bytes from byte {}",
                &[section, size, offset],
            ),
            ElfError::NoSymbols => f.write_str(
                "no table of symbols: the object was stripped; use llvm-strip -g, which keeps it",
            ),
        }
    }
}

impl std::error::Error for ElfError {}

/// Sizes in bytes of the file's header, a section's header and a symbol.
const HEADER: usize = 64;
const SECTION: usize = 64;
const SYMBOL: usize = 24;
/// Longest name read.
const LONGEST: usize = 4096;

pub(super) fn parse(bytes: &[u8]) -> Result<Elf<'_>, ElfError> {
    let start: [u8; 6] = *bytes.first_chunk().ok_or(ElfError::NotElf)?;
    if start[..4] != *b"\x7fELF" {
        return Err(ElfError::NotElf);
    }
    if start[4] != 2 {
        return Err(ElfError::NotSixtyFour);
    }
    let order = match start[5] {
        1 => ByteOrder::Little,
        2 => ByteOrder::Big,
        _ => return Err(malformed("byte order", 5)),
    };
    let file = Reader { bytes, order };
    if bytes.len() < HEADER {
        return Err(malformed("header", 0));
    }
    let half = |at| file.u16(at).ok_or_else(|| malformed("header", at));
    let machine = half(18)?;
    // Compilers before the number was given wrote 0.
    if machine != n::EM_BPF && machine != 0 {
        return Err(ElfError::Machine(machine));
    }
    let kind = half(16)?;
    if kind != n::ET_REL {
        return Err(ElfError::NotRelocatable(kind));
    }
    let headers = headers(file)?;
    let sections = sections(file, &headers)?;
    let symbols = symbols(file, &headers, &sections)?;
    let named = sections.iter().zip(0..).skip(1);
    let mut by_name = Names::default();
    for (section, index) in named {
        by_name.get_or(section.name, || SectionIndex(index));
    }
    Ok(Elf {
        order,
        sections,
        symbols,
        by_name,
    })
}

fn malformed(what: &'static str, offset: usize) -> ElfError {
    ElfError::Malformed {
        what,
        offset: offset as u64,
    }
}

/// A section's header as it stands.
#[derive(Clone, Copy)]
struct Raw {
    /// Byte offset of the header itself.
    at: usize,
    name: u32,
    kind: u32,
    flags: u64,
    offset: u64,
    size: u64,
    link: u32,
    info: u32,
    align: u64,
    entry: u64,
}

impl Raw {
    fn read(file: Reader<'_>, at: usize) -> Option<Raw> {
        Some(Raw {
            at,
            name: file.u32(at)?,
            kind: file.u32(at + 4)?,
            flags: file.u64(at + 8)?,
            offset: file.u64(at + 24)?,
            size: file.u64(at + 32)?,
            link: file.u32(at + 40)?,
            info: file.u32(at + 44)?,
            align: file.u64(at + 48)?,
            entry: file.u64(at + 56)?,
        })
    }

    /// Gives the bytes in the file.
    fn data<'a>(&self, bytes: &'a [u8], name: &str) -> Result<&'a [u8], ElfError> {
        if self.kind == n::SHT_NOBITS || self.kind == 0 {
            return Ok(&[]);
        }
        let start = usize::try_from(self.offset).ok();
        let end = self.offset.checked_add(self.size);
        let end = end.and_then(|end| usize::try_from(end).ok());
        let data = start
            .zip(end)
            .and_then(|(start, end)| bytes.get(start..end));
        data.ok_or_else(|| ElfError::Cut {
            section: name.to_owned(),
            offset: self.offset,
            size: self.size,
        })
    }
}

/// Gives the sections' headers, and which of them has the names.
fn headers(file: Reader<'_>) -> Result<(Vec<Raw>, usize), ElfError> {
    let field = |at| file.u16(at).ok_or_else(|| malformed("header", at));
    let place = file.u64(40).ok_or_else(|| malformed("header", 40))?;
    let place = usize::try_from(place).map_err(|_| malformed("place of the sections", 40))?;
    let first = || Raw::read(file, place).ok_or_else(|| malformed("table of sections", 40));
    if usize::from(field(58)?) != SECTION {
        return Err(malformed("size of a section's header", 58));
    }
    // Numbers that do not fit stand in the first section's header.
    let count = match field(60)? {
        0 => first()?.size,
        count => count.into(),
    };
    let names = match field(62)? {
        n::SHN_XINDEX => first()?.link as usize,
        names => names.into(),
    };
    let len = usize::try_from(count)
        .ok()
        .and_then(|c| c.checked_mul(SECTION));
    let end = len.and_then(|len| place.checked_add(len));
    if end.is_none_or(|end| end > file.bytes.len()) {
        return Err(malformed("table of sections", 40));
    }
    let headers = (0..count as usize).filter_map(|i| Raw::read(file, place + i * SECTION));
    Ok((headers.collect(), names))
}

fn sections<'a>(
    file: Reader<'a>,
    (headers, names): &(Vec<Raw>, usize),
) -> Result<Vec<Section<'a>>, ElfError> {
    let missing = || malformed("section of the names", 62);
    let names = match headers.get(*names) {
        Some(names) if names.kind == n::SHT_STRTAB => names.data(file.bytes, "")?,
        // An object without any section has no names.
        None if headers.is_empty() => &[],
        _ => return Err(missing()),
    };
    let section = |raw: &Raw| {
        let name = string(names, raw.name).ok_or_else(|| malformed("name of a section", raw.at))?;
        Ok(Section {
            name,
            kind: raw.kind,
            flags: raw.flags,
            data: raw.data(file.bytes, name)?,
            size: raw.size,
            link: raw.link,
            info: raw.info,
            align: raw.align,
        })
    };
    headers.iter().map(section).collect()
}

fn symbols<'a>(
    file: Reader<'a>,
    (headers, _): &(Vec<Raw>, usize),
    sections: &[Section<'a>],
) -> Result<Vec<Symbol<'a>>, ElfError> {
    let mut tables = headers.iter().filter(|raw| raw.kind == n::SHT_SYMTAB);
    let table = tables.next().ok_or(ElfError::NoSymbols)?;
    if let Some(second) = tables.next() {
        return Err(malformed("second table of symbols", second.at));
    }
    if table.entry != SYMBOL as u64 {
        return Err(malformed("size of a symbol", table.at + 56));
    }
    let names = sections
        .get(table.link as usize)
        .filter(|names| names.kind == n::SHT_STRTAB)
        .ok_or_else(|| malformed("section of the symbols' names", table.at + 40))?;
    let data = Reader {
        bytes: table.data(file.bytes, "symbols")?,
        order: file.order,
    };
    let at = |index: usize| table.offset as usize + index * SYMBOL;
    let symbol = |index: usize| {
        let raw = RawSymbol::read(data, index * SYMBOL);
        let raw = raw.ok_or_else(|| malformed("symbol", at(index)))?;
        let name = string(names.data, raw.name);
        let name = name.ok_or_else(|| malformed("name of a symbol", at(index)))?;
        let place = match raw.section {
            n::SHN_UNDEF => Place::Undefined,
            n::SHN_LORESERVE.. => Place::Special(raw.section),
            section if usize::from(section) < sections.len() => {
                Place::Section(SectionIndex(section.into()))
            }
            _ => return Err(malformed("section of a symbol", at(index))),
        };
        Ok(raw.symbol(name, place))
    };
    (0..data.bytes.len() / SYMBOL).map(symbol).collect()
}

struct RawSymbol {
    name: u32,
    info: u8,
    other: u8,
    section: u16,
    value: u64,
    size: u64,
}

impl RawSymbol {
    fn read(data: Reader<'_>, at: usize) -> Option<RawSymbol> {
        Some(RawSymbol {
            name: data.u32(at)?,
            info: *data.bytes.get(at + 4)?,
            other: *data.bytes.get(at + 5)?,
            section: data.u16(at + 6)?,
            value: data.u64(at + 8)?,
            size: data.u64(at + 16)?,
        })
    }

    fn symbol<'a>(&self, name: &'a str, place: Place) -> Symbol<'a> {
        Symbol {
            name,
            kind: match self.info & 0xf {
                0 => SymbolKind::None,
                1 => SymbolKind::Object,
                2 => SymbolKind::Function,
                3 => SymbolKind::Section,
                other => SymbolKind::Other(other),
            },
            binding: match self.info >> 4 {
                0 => Binding::Local,
                1 => Binding::Global,
                2 => Binding::Weak,
                other => Binding::Other(other),
            },
            // STV_INTERNAL and STV_HIDDEN.
            hidden: matches!(self.other & 3, 1 | 2),
            place,
            value: self.value,
            size: self.size,
        }
    }
}

/// Gives the string at `offset` of a table of strings.
fn string(table: &[u8], offset: u32) -> Option<&str> {
    if offset == 0 {
        return Some("");
    }
    let bytes = table.get(offset as usize..)?;
    let reach = bytes.get(..=LONGEST).unwrap_or(bytes);
    let end = reach.iter().position(|&byte| byte == 0)?;
    std::str::from_utf8(reach.get(..end)?).ok()
}
