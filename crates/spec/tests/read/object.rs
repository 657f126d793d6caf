//! Small objects, built as compilers build them.

use std::collections::HashMap;

use kscope_btf::ext::{CoreRecord, Ext, FuncRecord, LineRecord, Section as Records};
use kscope_btf::write::Builder;
use kscope_btf::{Encoding, Endian, Linkage, NewMember, TypeId};
use kscope_spec::elf::number::{R_BPF_64_32, R_BPF_64_64, R_BPF_64_ABS64};
use kscope_spec::elf::write::Writer;
use kscope_spec::elf::{Binding, Place, SectionIndex, Symbol, SymbolIndex, SymbolKind};
use kscope_spec::insn::{Pseudo, Reg};
use kscope_spec::{ByteOrder, HelperId, Insn};

/// `r0 = 0; exit`.
pub(crate) const NOTHING: [Insn; 2] = [Insn::mov64_imm(Reg::R0, 0), Insn::exit()];

/// `r1 = (address) ll`, for a relocation.
pub(crate) const ADDRESS: [Insn; 2] = Insn::ld_pseudo(Reg::R1, Pseudo::Value, 0, 0);

/// `call`, for a relocation against a function's own symbol.
pub(crate) const CALL: Insn = Insn::call_local(-1);

/// A call of a helper.
pub(crate) const HELPER: Insn = Insn::call(HelperId(5));

/// A member of a map's description.
#[derive(Clone, Copy)]
pub(crate) enum Says {
    Uint(&'static str, u32),
    Ulong(&'static str, i64),
    Type(&'static str, TypeId),
    Values(TypeId, u32),
}

/// A variable in the type of a section: its offset and size.
type Entry = (TypeId, u32, u32);

/// An object that is being put together.
pub(crate) struct Object {
    pub(crate) order: ByteOrder,
    pub(crate) types: Builder,
    pub(crate) ext: Ext,
    /// Whether `.BTF` is written.
    pub(crate) typed: bool,
    sections: Vec<(String, Kind, Vec<u8>)>,
    symbols: Vec<NewSymbol>,
    relocations: Vec<(usize, u64, usize, u32)>,
    variables: Vec<(String, Vec<Entry>)>,
    int: Option<TypeId>,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Code,
    Data,
    Zeros,
}

struct NewSymbol {
    name: String,
    kind: SymbolKind,
    binding: Binding,
    hidden: bool,
    section: Option<usize>,
    value: u64,
    size: u64,
}

impl Object {
    pub(crate) fn new(order: ByteOrder) -> Object {
        let endian = match order {
            ByteOrder::Little => Endian::Little,
            ByteOrder::Big => Endian::Big,
        };
        let mut object = Object {
            order,
            types: Builder::with_endian(endian),
            ext: Ext::default(),
            typed: true,
            sections: Vec::new(),
            symbols: Vec::new(),
            relocations: Vec::new(),
            variables: Vec::new(),
            int: None,
        };
        object.data("license", b"GPL\0");
        object
    }

    fn section(&mut self, name: &str, kind: Kind) -> usize {
        let found = self.sections.iter().position(|(n, ..)| n == name);
        found.unwrap_or_else(|| {
            self.sections.push((name.to_owned(), kind, Vec::new()));
            self.sections.len() - 1
        })
    }

    /// Appends bytes to a section and gives their offset.
    pub(crate) fn data(&mut self, name: &str, bytes: &[u8]) -> u64 {
        let section = self.section(name, Kind::Data);
        let data = &mut self.sections[section].2;
        data.extend_from_slice(bytes);
        (data.len() - bytes.len()) as u64
    }

    pub(crate) fn zeros(&mut self, name: &str, size: usize) -> u64 {
        let section = self.section(name, Kind::Zeros);
        let data = &mut self.sections[section].2;
        data.resize(data.len() + size, 0);
        (data.len() - size) as u64
    }

    /// Appends a function to a section; gives its symbol.
    pub(crate) fn func(
        &mut self,
        section: &str,
        name: &str,
        binding: Binding,
        insns: &[Insn],
    ) -> usize {
        let place = self.section(section, Kind::Code);
        let order = self.order;
        let data = &mut self.sections[place].2;
        let value = data.len() as u64;
        data.extend(insns.iter().flat_map(|insn| match order {
            ByteOrder::Little => insn.encode_le(),
            ByteOrder::Big => insn.encode_be(),
        }));
        let size = data.len() as u64 - value;
        let value = (value, size);
        self.symbol(name, SymbolKind::Function, binding, Some(section), value)
    }

    /// Appends a global function.
    pub(crate) fn global(&mut self, section: &str, name: &str, insns: &[Insn]) -> usize {
        self.func(section, name, Binding::Global, insns)
    }

    pub(crate) fn symbol(
        &mut self,
        name: &str,
        kind: SymbolKind,
        binding: Binding,
        section: Option<&str>,
        (value, size): (u64, u64),
    ) -> usize {
        let section = section.map(|name| {
            let found = self.sections.iter().position(|(n, ..)| n == name);
            found.expect("the section was added")
        });
        self.symbols.push(NewSymbol {
            name: name.to_owned(),
            kind,
            binding,
            hidden: false,
            section,
            value,
            size,
        });
        self.symbols.len() - 1
    }

    /// Gives the symbol of a section.
    pub(crate) fn section_symbol(&mut self, section: &str) -> usize {
        self.symbol(
            "",
            SymbolKind::Section,
            Binding::Local,
            Some(section),
            (0, 0),
        )
    }

    /// Gives a symbol that is defined elsewhere.
    pub(crate) fn undefined(&mut self, name: &str, binding: Binding) -> usize {
        self.symbol(name, SymbolKind::None, binding, None, (0, 0))
    }

    pub(crate) fn hide(&mut self, symbol: usize) {
        self.symbols[symbol].hidden = true;
    }

    pub(crate) fn resize(&mut self, symbol: usize, size: u64) {
        self.symbols[symbol].size = size;
    }

    pub(crate) fn move_to(&mut self, symbol: usize, value: u64) {
        self.symbols[symbol].value = value;
    }

    /// Relocates a slot of a section of instructions.
    pub(crate) fn relocate(&mut self, section: &str, slot: u64, symbol: usize) {
        let place = self.section(section, Kind::Code);
        let at = slot as usize * 8;
        let kind = match self.sections[place].2.get(at) {
            Some(0x85) => R_BPF_64_32,
            _ => R_BPF_64_64,
        };
        self.relocations.push((place, slot * 8, symbol, kind));
    }

    /// Relocates eight bytes of a section of data.
    pub(crate) fn relocate_data(&mut self, section: &str, offset: u64, symbol: usize) {
        let place = self.section(section, Kind::Data);
        self.relocations
            .push((place, offset, symbol, R_BPF_64_ABS64));
    }

    pub(crate) fn int(&mut self) -> TypeId {
        let types = &mut self.types;
        *self
            .int
            .get_or_insert_with(|| types.add_int("int", 4, Encoding::Signed))
    }

    pub(crate) fn ptr(&mut self, to: TypeId) -> TypeId {
        self.types.add_ptr(to)
    }

    /// Describes a variable of a section, whose symbol is `symbol` where it is global.
    pub(crate) fn variable(
        &mut self,
        section: &str,
        name: &str,
        ty: TypeId,
        place: (u32, u32),
        linkage: Linkage,
    ) {
        let var = self.types.add_var(name, ty, linkage);
        self.entry(section, var, place);
    }

    /// Adds a variable or function to the type of a section.
    pub(crate) fn entry(&mut self, section: &str, id: TypeId, (offset, size): (u32, u32)) {
        let found = self.variables.iter().position(|(name, _)| name == section);
        let found = found.unwrap_or_else(|| {
            self.variables.push((section.to_owned(), Vec::new()));
            self.variables.len() - 1
        });
        self.variables[found].1.push((id, offset, size));
    }

    /// Adds a global variable with bytes, symbol and type.
    pub(crate) fn global_variable(&mut self, section: &str, name: &str, bytes: &[u8]) -> usize {
        let int = self.int();
        let offset = match section.starts_with(".bss") {
            true => self.zeros(section, bytes.len()),
            false => self.data(section, bytes),
        };
        let size = bytes.len() as u32;
        self.variable(section, name, int, (0, size), Linkage::Global);
        let place = (offset, u64::from(size));
        self.symbol(
            name,
            SymbolKind::Object,
            Binding::Global,
            Some(section),
            place,
        )
    }

    /// Gives the type of a map's description, with its size in bytes.
    pub(crate) fn description(&mut self, says: &[Says]) -> (TypeId, u32) {
        let int = self.int();
        let mut members = Vec::new();
        let mut size = 0;
        for one in says {
            let (name, ty, bytes) = match *one {
                Says::Uint(name, value) => {
                    let array = self.types.add_array(int, int, value);
                    (name, self.types.add_ptr(array), 8)
                }
                Says::Ulong(name, value) if i32::try_from(value).is_err() => {
                    (name, self.types.add_enum64("", &[("value", value)]), 8)
                }
                Says::Ulong(name, value) => (
                    name,
                    self.types.add_enum("", 4, &[("value", value as i32)]),
                    8,
                ),
                Says::Type(name, ty) => (name, self.types.add_ptr(ty), 8),
                Says::Values(to, count) => {
                    let element = self.types.add_ptr(to);
                    ("values", self.types.add_array(element, int, 0), count * 8)
                }
            };
            members.push(NewMember::new(name, ty, size * 8));
            size += bytes;
        }
        let declared = size
            - says
                .iter()
                .map(|one| match one {
                    Says::Values(_, count) => count * 8,
                    _ => 0,
                })
                .sum::<u32>();
        (self.types.add_struct("", declared, &members), size)
    }

    /// Adds a map; gives its symbol.
    pub(crate) fn map(&mut self, name: &str, says: &[Says]) -> usize {
        let (ty, size) = self.description(says);
        self.map_of(name, ty, size)
    }

    pub(crate) fn map_of(&mut self, name: &str, ty: TypeId, size: u32) -> usize {
        let offset = self.data(".maps", &vec![0; size as usize]);
        self.variable(".maps", name, ty, (0, size), Linkage::Global);
        let place = (offset, u64::from(size));
        self.symbol(
            name,
            SymbolKind::Object,
            Binding::Global,
            Some(".maps"),
            place,
        )
    }

    /// Adds a line of source for a slot of a section.
    pub(crate) fn line(&mut self, section: &str, slot: u32, place: (u32, u32), text: &str) {
        let record = LineRecord {
            offset: slot * 8,
            file: self.types.add_string("/src/sample.c"),
            text: self.types.add_string(text),
            line: place.0,
            column: place.1,
        };
        let name = self.types.add_string(section);
        self.ext.lines.push(Records {
            name,
            records: vec![record],
        });
    }

    /// Says of which type the function at a slot of a section is; gives its `FUNC`.
    pub(crate) fn typed(&mut self, section: &str, slot: u32, name: &str) -> TypeId {
        let int = self.int();
        let proto = self.types.add_func_proto(int, &[]);
        let type_id = self.types.add_func(name, proto, Linkage::Global);
        let name = self.types.add_string(section);
        self.ext.funcs.push(Records {
            name,
            records: vec![FuncRecord {
                offset: slot * 8,
                type_id,
            }],
        });
        type_id
    }

    pub(crate) fn core(&mut self, section: &str, offset: u32, kind: u32, access: &str) {
        let type_id = self.int();
        let record = CoreRecord {
            offset,
            type_id,
            access: self.types.add_string(access),
            kind,
        };
        let name = self.types.add_string(section);
        self.ext.core.push(Records {
            name,
            records: vec![record],
        });
    }

    /// Gives the object's bytes.
    pub(crate) fn bytes(mut self) -> Vec<u8> {
        for (name, entries) in core::mem::take(&mut self.variables) {
            // As compilers leave it: the size is 0.
            self.types.add_datasec(&name, 0, &entries);
        }
        let mut writer = Writer::new(self.order);
        let mut places = HashMap::new();
        for (index, (name, kind, data)) in self.sections.iter().enumerate() {
            let place = match kind {
                Kind::Code => writer.section(name, 1, 6, data.clone()),
                Kind::Data => writer.data(name, data.clone()),
                Kind::Zeros => writer.zeros(name, data.len() as u64),
            };
            places.insert(index, place);
        }
        if self.typed {
            let endian = match self.order {
                ByteOrder::Little => Endian::Little,
                ByteOrder::Big => Endian::Big,
            };
            writer.note(".BTF", self.types.finish());
            writer.note(".BTF.ext", self.ext.to_bytes(endian));
        }
        let place = |section: usize| -> SectionIndex { places[&section] };
        let symbols: Vec<SymbolIndex> = self
            .symbols
            .iter()
            .map(|symbol| {
                writer.symbol(Symbol {
                    name: &symbol.name,
                    kind: symbol.kind,
                    binding: symbol.binding,
                    hidden: symbol.hidden,
                    place: symbol
                        .section
                        .map_or(Place::Undefined, |s| Place::Section(place(s))),
                    value: symbol.value,
                    size: symbol.size,
                })
            })
            .collect();
        for &(section, offset, symbol, kind) in &self.relocations {
            writer.relocation(place(section), offset, symbols[symbol], kind);
        }
        writer.finish()
    }
}
