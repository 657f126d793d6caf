//! Writes ELF objects for eBPF.
//!
//! ```
//! use kscope_spec::elf::write::Writer;
//! use kscope_spec::elf::{Binding, Elf, Place, Symbol, SymbolKind};
//! use kscope_spec::{ByteOrder, Insn, Reg};
//!
//! let mut writer = Writer::new(ByteOrder::Little);
//! let code = [Insn::mov64_imm(Reg::R0, 0), Insn::exit()];
//! let xdp = writer.code("xdp", &code);
//! writer.symbol(Symbol {
//!     name: "pass",
//!     kind: SymbolKind::Function,
//!     binding: Binding::Global,
//!     hidden: false,
//!     place: Place::Section(xdp),
//!     value: 0,
//!     size: 16,
//! });
//! let object = writer.finish();
//! assert_eq!(Elf::parse(&object).unwrap().section_name(xdp), "xdp");
//! ```

use std::collections::HashMap;

use super::number as n;
use super::{Binding, Place, Relocation, SectionIndex, Symbol, SymbolIndex, SymbolKind};
use crate::insn::Insn;
use crate::object::ByteOrder;

/// Sizes in bytes of the file's header, a section's header and a symbol.
const HEADER: u16 = 64;
const SECTION: u16 = 64;
const SYMBOL: u64 = 24;
const RELOCATION: u64 = 16;

/// An object that is being written: sections, symbols and relocations in any order.
///
/// The same calls give the same bytes. An object has fewer than 65,280 sections.
#[derive(Clone, Debug)]
pub struct Writer {
    order: ByteOrder,
    sections: Vec<NewSection>,
    symbols: Vec<NewSymbol>,
    relocations: Vec<(SectionIndex, Relocation)>,
    names: Names,
}

#[derive(Clone, Debug)]
struct NewSection {
    text: String,
    name: u32,
    kind: u32,
    flags: u64,
    data: Vec<u8>,
    size: u64,
    align: u64,
}

#[derive(Clone, Debug)]
struct NewSymbol {
    name: u32,
    kind: u8,
    binding: u8,
    hidden: bool,
    place: Place,
    value: u64,
    size: u64,
}

/// A table of strings, each once.
#[derive(Clone, Debug)]
struct Names {
    bytes: Vec<u8>,
    places: HashMap<String, u32>,
}

impl Names {
    fn add(&mut self, name: &str) -> u32 {
        let name = name.split('\0').next().unwrap_or_default();
        if name.is_empty() {
            return 0;
        }
        if let Some(&place) = self.places.get(name) {
            return place;
        }
        let place = self.bytes.len() as u32;
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.places.insert(name.to_owned(), place);
        place
    }
}

impl Writer {
    /// Begins an object without sections.
    #[must_use]
    pub fn new(order: ByteOrder) -> Writer {
        Writer {
            order,
            sections: Vec::new(),
            symbols: Vec::new(),
            relocations: Vec::new(),
            names: Names {
                bytes: vec![0],
                places: HashMap::new(),
            },
        }
    }

    /// Adds a section of bytes: `kind` is one of `SHT_*`, `flags` are `SHF_*`.
    pub fn section(&mut self, name: &str, kind: u32, flags: u64, data: Vec<u8>) -> SectionIndex {
        let size = data.len() as u64;
        self.add(name, kind, flags, data, size)
    }

    /// Adds a section of instructions.
    pub fn code(&mut self, name: &str, insns: &[Insn]) -> SectionIndex {
        let order = self.order;
        let slot = |insn: &Insn| match order {
            ByteOrder::Little => insn.encode_le(),
            ByteOrder::Big => insn.encode_be(),
        };
        let data = insns.iter().flat_map(slot).collect();
        self.section(name, n::SHT_PROGBITS, n::SHF_ALLOC | n::SHF_EXECINSTR, data)
    }

    /// Adds a section of variables.
    pub fn data(&mut self, name: &str, data: Vec<u8>) -> SectionIndex {
        self.section(name, n::SHT_PROGBITS, n::SHF_ALLOC | n::SHF_WRITE, data)
    }

    /// Adds a section of zeros, which takes no room in the file.
    pub fn zeros(&mut self, name: &str, size: u64) -> SectionIndex {
        let flags = n::SHF_ALLOC | n::SHF_WRITE;
        self.add(name, n::SHT_NOBITS, flags, Vec::new(), size)
    }

    /// Adds a section that is not loaded, for example `.BTF`.
    pub fn note(&mut self, name: &str, data: Vec<u8>) -> SectionIndex {
        self.section(name, n::SHT_PROGBITS, 0, data)
    }

    fn add(&mut self, name: &str, kind: u32, flags: u64, data: Vec<u8>, size: u64) -> SectionIndex {
        self.sections.push(NewSection {
            text: name.to_owned(),
            name: self.names.add(name),
            kind,
            flags,
            data,
            size,
            align: 8,
        });
        SectionIndex(self.sections.len() as u32)
    }

    /// Adds a section of zeros with flags of the caller's own.
    pub fn zeros_with(&mut self, name: &str, flags: u64, size: u64) -> SectionIndex {
        self.add(name, n::SHT_NOBITS, flags, Vec::new(), size)
    }

    /// Sets what a section's address is a multiple of, in bytes: a power of two, 8 unless set.
    pub fn align(&mut self, section: SectionIndex, align: u64) {
        let at = (section.0 as usize).checked_sub(1);
        if let Some(section) = at.and_then(|at| self.sections.get_mut(at)) {
            section.align = align;
        }
    }

    /// Adds a symbol. The index given is for [`Writer::relocation`]; that in the object may be
    /// another, local symbols going first.
    pub fn symbol(&mut self, symbol: Symbol<'_>) -> SymbolIndex {
        self.symbols.push(NewSymbol {
            name: self.names.add(symbol.name),
            kind: match symbol.kind {
                SymbolKind::None => 0,
                SymbolKind::Object => 1,
                SymbolKind::Function => 2,
                SymbolKind::Section => 3,
                SymbolKind::Other(number) => number & 0xf,
            },
            binding: match symbol.binding {
                Binding::Local => 0,
                Binding::Global => 1,
                Binding::Weak => 2,
                Binding::Other(number) => number & 0xf,
            },
            hidden: symbol.hidden,
            place: symbol.place,
            value: symbol.value,
            size: symbol.size,
        });
        SymbolIndex(self.symbols.len() as u32 - 1)
    }

    /// Adds a relocation of byte `offset` of a section, `kind` being one of `R_BPF_*`.
    pub fn relocation(
        &mut self,
        section: SectionIndex,
        offset: u64,
        symbol: SymbolIndex,
        kind: u32,
    ) {
        let relocation = Relocation {
            offset,
            symbol,
            kind,
        };
        self.relocations.push((section, relocation));
    }

    /// Gives the object's bytes.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        // Local symbols go first; the table's header tells where the others begin.
        let mut order: Vec<usize> = (0..self.symbols.len()).collect();
        order.sort_by_key(|&index| self.symbols.get(index).is_none_or(|s| s.binding != 0));
        let locals = self.symbols.iter().filter(|s| s.binding == 0).count();
        let mut places = vec![0u64; self.symbols.len()];
        for (place, &index) in order.iter().enumerate() {
            if let Some(slot) = places.get_mut(index) {
                *slot = place as u64 + 1;
            }
        }
        let own = self.sections.len() as u32;
        let mut headers: Vec<Header> = vec![Header::default()];
        headers.extend(self.sections.iter().map(|section| Header {
            name: section.name,
            kind: section.kind,
            flags: section.flags,
            size: section.size,
            align: section.align,
            ..Header::default()
        }));
        let mut bodies: Vec<Vec<u8>> = vec![Vec::new()];
        bodies.extend(
            self.sections
                .iter_mut()
                .map(|s| core::mem::take(&mut s.data)),
        );
        self.relocations
            .sort_by_key(|(section, relocation)| (*section, relocation.offset));
        let by_section = || self.relocations.chunk_by(|one, two| one.0 == two.0);
        let table = own + by_section().count() as u32 + 1;
        for relocations in by_section() {
            let target = relocations.first().map_or(SectionIndex(0), |(s, _)| *s);
            let text = (target.0 as usize)
                .checked_sub(1)
                .and_then(|at| self.sections.get(at));
            let name = format!(".rel{}", text.map_or("", |section| &section.text));
            let mut out = Out::new(self.order);
            for (_, relocation) in relocations {
                let symbol = places
                    .get(relocation.symbol.0 as usize)
                    .copied()
                    .unwrap_or(0);
                out.u64(relocation.offset);
                out.u64(symbol << 32 | u64::from(relocation.kind));
            }
            headers.push(Header {
                name: self.names.add(&name),
                kind: n::SHT_REL,
                size: out.bytes.len() as u64,
                align: 8,
                link: table,
                info: target.0,
                entry: RELOCATION,
                ..Header::default()
            });
            bodies.push(out.bytes);
        }
        let mut symbols = Out::new(self.order);
        symbols.bytes.resize(SYMBOL as usize, 0);
        for symbol in order.iter().filter_map(|&index| self.symbols.get(index)) {
            symbols.symbol(symbol);
        }
        headers.push(Header {
            name: self.names.add(".symtab"),
            kind: n::SHT_SYMTAB,
            size: symbols.bytes.len() as u64,
            align: 8,
            link: table + 1,
            info: locals as u32 + 1,
            entry: SYMBOL,
            ..Header::default()
        });
        bodies.push(symbols.bytes);
        let name = self.names.add(".strtab");
        headers.push(Header {
            name,
            kind: n::SHT_STRTAB,
            size: self.names.bytes.len() as u64,
            align: 1,
            ..Header::default()
        });
        bodies.push(self.names.bytes);
        Out::new(self.order).file(&headers, &bodies)
    }
}

/// A section's header.
#[derive(Default)]
struct Header {
    name: u32,
    kind: u32,
    flags: u64,
    size: u64,
    link: u32,
    info: u32,
    align: u64,
    entry: u64,
}

/// Numbers in a byte order.
struct Out {
    order: ByteOrder,
    bytes: Vec<u8>,
}

impl Out {
    fn new(order: ByteOrder) -> Out {
        Out {
            order,
            bytes: Vec::new(),
        }
    }

    fn put<const N: usize>(&mut self, mut little: [u8; N]) {
        if self.order == ByteOrder::Big {
            little.reverse();
        }
        self.bytes.extend_from_slice(&little);
    }

    fn u16(&mut self, value: u16) {
        self.put(value.to_le_bytes());
    }

    fn u32(&mut self, value: u32) {
        self.put(value.to_le_bytes());
    }

    fn u64(&mut self, value: u64) {
        self.put(value.to_le_bytes());
    }

    fn symbol(&mut self, symbol: &NewSymbol) {
        self.u32(symbol.name);
        let hidden = if symbol.hidden { 2 } else { 0 };
        self.bytes
            .extend_from_slice(&[symbol.binding << 4 | symbol.kind, hidden]);
        self.u16(match symbol.place {
            Place::Undefined => n::SHN_UNDEF,
            Place::Section(index) => u16::try_from(index.0).unwrap_or(n::SHN_UNDEF),
            Place::Special(number) => number,
        });
        self.u64(symbol.value);
        self.u64(symbol.size);
    }

    /// Writes the file: header, bodies each from a multiple of 8 bytes on, headers of sections.
    fn file(mut self, headers: &[Header], bodies: &[Vec<u8>]) -> Vec<u8> {
        let mut places = Vec::with_capacity(bodies.len());
        let mut end = u64::from(HEADER);
        for (header, body) in headers.iter().zip(bodies) {
            end = end.next_multiple_of(header.align.clamp(1, 4096));
            places.push(end);
            end = (end + body.len() as u64).next_multiple_of(8);
        }
        let count = headers.len() as u16;
        let order = if self.order == ByteOrder::Big { 2 } else { 1 };
        self.bytes.extend_from_slice(b"\x7fELF");
        // 64-bit, byte order, version 1, no operating system.
        self.bytes
            .extend_from_slice(&[2, order, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        self.u16(n::ET_REL);
        self.u16(n::EM_BPF);
        self.u32(1);
        self.u64(0);
        self.u64(0);
        self.u64(end);
        self.u32(0);
        for half in [HEADER, 0, 0, SECTION, count, count.saturating_sub(1)] {
            self.u16(half);
        }
        for (body, &place) in bodies.iter().zip(&places) {
            self.bytes.resize(place as usize, 0);
            self.bytes.extend_from_slice(body);
        }
        self.bytes.resize(end as usize, 0);
        for (header, &place) in headers.iter().zip(&places) {
            let none = header.kind == 0;
            self.u32(header.name);
            self.u32(header.kind);
            self.u64(header.flags);
            self.u64(0);
            self.u64(if none { 0 } else { place });
            self.u64(header.size);
            self.u32(header.link);
            self.u32(header.info);
            self.u64(header.align);
            self.u64(header.entry);
        }
        self.bytes
    }
}
