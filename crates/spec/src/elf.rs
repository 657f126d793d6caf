//! ELF objects for eBPF: what of the format such objects use, read from bytes.
//!
//! 64-bit relocatable objects of either byte order. Nothing is trusted: every offset and size is
//! checked against the file before it is used, and nothing is allocated that the file's own size
//! does not cover. What the sections mean is [`crate::read`]'s matter.

mod header;
#[cfg(feature = "sections")]
mod outline;
#[cfg(any(feature = "write", feature = "link"))]
pub mod write;

use crate::ByteOrder;
use crate::table::Names;

pub use header::ElfError;
#[cfg(feature = "sections")]
pub use outline::find_sections;

/// Index of a section in an object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SectionIndex(pub u32);

/// Index of a symbol in an object's symbol table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SymbolIndex(pub u32);

/// The numbers of the format that eBPF objects use (elf.h).
pub mod number {
    /// Machine: eBPF.
    pub const EM_BPF: u16 = 247;
    /// Object: relocatable.
    pub const ET_REL: u16 = 1;
    /// Section: bytes of the program.
    pub const SHT_PROGBITS: u32 = 1;
    /// Section: symbols.
    pub const SHT_SYMTAB: u32 = 2;
    /// Section: strings.
    pub const SHT_STRTAB: u32 = 3;
    /// Section: relocations with addends.
    pub const SHT_RELA: u32 = 4;
    /// Section: zeros that the file does not hold.
    pub const SHT_NOBITS: u32 = 8;
    /// Section: relocations whose addends are where they apply.
    pub const SHT_REL: u32 = 9;
    /// Section flag: may be written.
    pub const SHF_WRITE: u64 = 1;
    /// Section flag: takes memory.
    pub const SHF_ALLOC: u64 = 2;
    /// Section flag: holds instructions.
    pub const SHF_EXECINSTR: u64 = 4;
    /// Section index: none, of a symbol that is defined elsewhere.
    pub const SHN_UNDEF: u16 = 0;
    /// Section index: from here on they have meanings of their own.
    pub const SHN_LORESERVE: u16 = 0xff00;
    /// Section index: a symbol not yet given a place.
    pub const SHN_COMMON: u16 = 0xfff2;
    /// Section index: the real one stands elsewhere.
    pub const SHN_XINDEX: u16 = 0xffff;
    /// Relocation of `ld_imm64`.
    pub const R_BPF_64_64: u32 = 1;
    /// Relocation of eight bytes of data.
    pub const R_BPF_64_ABS64: u32 = 2;
    /// Relocation of four bytes of data that the kernel does not load.
    pub const R_BPF_64_NODYLD32: u32 = 4;
    /// Relocation of `call`.
    pub const R_BPF_64_32: u32 = 10;
}

/// An object: its sections and symbols, borrowed from the file.
#[derive(Clone, Debug)]
pub struct Elf<'a> {
    /// Byte order of the target.
    pub order: ByteOrder,
    /// All sections in order; the first is none.
    pub sections: Vec<Section<'a>>,
    /// All symbols in order; the first is none.
    pub symbols: Vec<Symbol<'a>>,
    /// The sections but the first by name; the first of each.
    by_name: Names<'a, SectionIndex>,
}

/// A section.
#[derive(Clone, Copy, Debug)]
pub struct Section<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its type, one of `SHT_*`.
    pub kind: u32,
    /// `SHF_*`.
    pub flags: u64,
    /// Its bytes; none of those that the file does not hold.
    pub data: &'a [u8],
    /// Its size in bytes, also where the file does not hold them.
    pub size: u64,
    /// The section it belongs to; relocations: the symbols.
    pub link: u32,
    /// Relocations: the section they apply to.
    pub info: u32,
    /// What its address is a multiple of, in bytes; 0 and 1 for any.
    pub align: u64,
}

impl Section<'_> {
    /// Tells whether it holds instructions.
    #[must_use]
    pub fn is_code(&self) -> bool {
        self.kind == number::SHT_PROGBITS && self.flags & number::SHF_EXECINSTR != 0
    }
}

/// What a symbol stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SymbolKind {
    /// Nothing said.
    None,
    /// A variable.
    Object,
    /// A function.
    Function,
    /// A section.
    Section,
    /// Another number of the format.
    Other(u8),
}

/// Who sees a symbol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Binding {
    /// This object alone.
    Local,
    /// All objects linked together.
    Global,
    /// All objects; one that is global elsewhere goes first, and there may be none.
    Weak,
    /// Another number of the format.
    Other(u8),
}

/// A symbol.
#[derive(Clone, Copy, Debug)]
pub struct Symbol<'a> {
    /// Its name; empty for sections and where the name is none.
    pub name: &'a str,
    /// What it stands for.
    pub kind: SymbolKind,
    /// Who sees it.
    pub binding: Binding,
    /// Whether it is `hidden` or `internal`: not seen by others once linked.
    pub hidden: bool,
    /// Where it is.
    pub place: Place,
    /// Offset in bytes into its section.
    pub value: u64,
    /// Its size in bytes.
    pub size: u64,
}

/// In which section a symbol is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// In none: it is defined elsewhere.
    Undefined,
    /// In this one.
    Section(SectionIndex),
    /// One of the format's special numbers (absolute, common).
    Special(u16),
}

impl Symbol<'_> {
    /// Gives its section.
    #[must_use]
    pub fn section(&self) -> Option<SectionIndex> {
        match self.place {
            Place::Section(index) => Some(index),
            Place::Undefined | Place::Special(_) => None,
        }
    }

    /// Tells whether it is defined elsewhere, for this object to find.
    #[must_use]
    pub fn is_extern(&self) -> bool {
        self.place == Place::Undefined && matches!(self.binding, Binding::Global | Binding::Weak)
    }
}

/// A relocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Relocation {
    /// Offset in bytes into the section it applies to.
    pub offset: u64,
    /// The symbol.
    pub symbol: SymbolIndex,
    /// How, one of `R_BPF_*`.
    pub kind: u32,
}

impl<'a> Elf<'a> {
    /// Reads headers, section names and symbols.
    ///
    /// # Errors
    /// Where the file is no eBPF object, or a part of it lies outside of it.
    pub fn parse(bytes: &'a [u8]) -> Result<Elf<'a>, ElfError> {
        header::parse(bytes)
    }

    /// Gives a section.
    #[must_use]
    pub fn section(&self, index: SectionIndex) -> Option<&Section<'a>> {
        self.sections.get(index.0 as usize)
    }

    /// Gives a section's name; `?` for one that does not exist.
    #[must_use]
    pub fn section_name(&self, index: SectionIndex) -> &'a str {
        self.section(index).map_or("?", |section| section.name)
    }

    /// Gives all sections but the first with their indices.
    pub fn indexed(&self) -> impl Iterator<Item = (SectionIndex, &Section<'a>)> {
        self.sections
            .iter()
            .enumerate()
            .skip(1)
            .map(|(index, section)| (SectionIndex(index as u32), section))
    }

    /// Finds the first section of a name.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<(SectionIndex, &Section<'a>)> {
        let index = *self.by_name.get(name)?;
        Some((index, self.section(index)?))
    }

    /// Gives a symbol.
    #[must_use]
    pub fn symbol(&self, index: SymbolIndex) -> Option<&Symbol<'a>> {
        self.symbols.get(index.0 as usize)
    }

    /// Gives what a symbol is called in messages: its name, a section's for the section's symbol.
    #[must_use]
    pub fn symbol_name(&self, symbol: &Symbol<'a>) -> &'a str {
        match symbol.section() {
            Some(section) if symbol.name.is_empty() => self.section_name(section),
            _ => symbol.name,
        }
    }

    /// Gives the relocations of a section of the kind [`number::SHT_REL`].
    pub fn relocations(&self, section: &Section<'a>) -> impl Iterator<Item = Relocation> + use<'a> {
        let reader = Reader {
            bytes: section.data,
            order: self.order,
        };
        (0..section.data.len() / 16).filter_map(move |index| {
            let at = index * 16;
            Some(Relocation {
                offset: reader.u64(at)?,
                kind: reader.u64(at + 8)? as u32,
                symbol: SymbolIndex((reader.u64(at + 8)? >> 32) as u32),
            })
        })
    }
}

/// Checked reads of numbers in either byte order.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) order: ByteOrder,
}

impl Reader<'_> {
    fn array<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        let mut bytes: [u8; N] = *self.bytes.get(offset..)?.first_chunk()?;
        if self.order == ByteOrder::Big {
            bytes.reverse();
        }
        Some(bytes)
    }

    pub(crate) fn u16(&self, offset: usize) -> Option<u16> {
        self.array(offset).map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&self, offset: usize) -> Option<u32> {
        self.array(offset).map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&self, offset: usize) -> Option<u64> {
        self.array(offset).map(u64::from_le_bytes)
    }
}

#[cfg(test)]
mod tests;
