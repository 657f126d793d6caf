//! Writes a [`Spec`] as an ELF object that every loader of eBPF takes.
//!
//! Programs stand in the sections that they name, maps in `.maps`, described by types, and those
//! that have a section of their own there, as bytes. [`crate::read`] gives the same programs and
//! maps again. The same `Spec` gives the same bytes.

mod error;
mod functions;
mod maps;
mod types;

use std::collections::HashMap;

use kscope_btf::ext::{CoreRecord, Ext, FuncRecord, LineRecord, Section};
use kscope_btf::write::Builder;
use kscope_btf::{Btf, Endian, Linkage, Type, TypeId};

use crate::elf::number::{R_BPF_64_32, R_BPF_64_64, SHF_ALLOC, SHT_PROGBITS};
use crate::elf::write::Writer;
use crate::elf::{Binding, Place, SectionIndex, Symbol, SymbolIndex, SymbolKind};
use crate::insn::{Insn, Reg};
use crate::object::{ByteOrder, MapId, ProgramSpec, RelocKind, SourceText, Spec};

pub use error::WriteError;
use functions::{Layout, Piece};

/// Bytes of an instruction's slot.
const SLOT: u64 = 8;

/// A section that is not loaded: its name, and its bytes.
#[derive(Clone, Copy, Debug)]
pub struct Note<'a> {
    /// Name.
    pub name: &'a str,
    /// Bytes.
    pub bytes: &'a [u8],
}

/// Writes an object, with sections of the caller's own that loaders skip.
///
/// Functions that programs call stand in `.text`, once where several programs have the same.
/// Types that describe maps and variables as the spec has them are kept, so that what was read of
/// an object is written as it was.
///
/// # Errors
/// Where the spec has what objects cannot say, such as late values in instructions, and programs
/// and maps that were refused when they were read.
pub fn object(spec: &Spec, notes: &[Note<'_>]) -> Result<Vec<u8>, WriteError> {
    let mut writer = Writer::new(spec.byte_order);
    let types = match spec.types.is_empty() {
        true => None,
        false => Some(Btf::parse(spec.types.clone()).map_err(WriteError::Types)?),
    };
    let layout = functions::lay_out(spec)?;
    let known = types::Known::of(spec, types.as_ref());
    let mut builder = match &types {
        Some(types) => known.copied(types),
        None => Builder::with_endian(endian(spec.byte_order)),
    };
    let mut code = Code {
        spec,
        layout: &layout,
        sections: Vec::new(),
        programs: vec![None; spec.programs.len()],
        externs: Vec::new(),
        maps: HashMap::new(),
    };
    code.sections(types.as_ref(), &mut writer)?;
    code.externs = known.externs(spec, &mut writer)?;
    code.maps = maps::write(spec, &known, &code.programs, &mut writer, &mut builder)?;
    code.relocations(&mut writer)?;
    let ext = about(spec, &layout, &mut builder);
    if !spec.license.is_empty() {
        let license = spec.license.bytes().chain([0]).collect();
        writer.section("license", SHT_PROGBITS, SHF_ALLOC, license);
    }
    if spec.version != 0 {
        let version = match spec.byte_order {
            ByteOrder::Little => spec.version.to_le_bytes(),
            ByteOrder::Big => spec.version.to_be_bytes(),
        };
        writer.section("version", SHT_PROGBITS, SHF_ALLOC, version.to_vec());
    }
    if builder.next_id() != TypeId(1) {
        let blob = types::as_declared(builder.try_finish().map_err(WriteError::Unwritten)?);
        writer.note(".BTF", blob);
        writer.note(".BTF.ext", ext.to_bytes(endian(spec.byte_order)));
    }
    for note in notes {
        writer.note(note.name, note.bytes.to_vec());
    }
    Ok(writer.finish())
}

fn endian(order: ByteOrder) -> Endian {
    match order {
        ByteOrder::Little => Endian::Little,
        ByteOrder::Big => Endian::Big,
    }
}

/// The code that is written, and what its relocations are against.
struct Code<'a> {
    spec: &'a Spec,
    layout: &'a Layout<'a>,
    /// Of each section of the layout its index in the file and its symbol.
    sections: Vec<Option<(SectionIndex, SymbolIndex)>>,
    /// The symbols of the programs.
    programs: Vec<Option<SymbolIndex>>,
    externs: Vec<SymbolIndex>,
    /// The symbol of each map, and whether the map is a section of data.
    maps: HashMap<MapId, maps::Named>,
}

impl<'a> Code<'a> {
    fn refuse(program: &ProgramSpec, why: &'static str) -> WriteError {
        WriteError::Program {
            name: program.name.clone(),
            why,
        }
    }

    /// Writes the sections and the symbols of the functions.
    fn sections(&mut self, types: Option<&Btf>, writer: &mut Writer) -> Result<(), WriteError> {
        let mut named: std::collections::HashSet<&str> = std::collections::HashSet::new();
        named.extend(
            self.spec
                .programs
                .iter()
                .map(|program| program.name.as_str()),
        );
        for (number, section) in self.layout.sections.iter().enumerate() {
            if section.pieces.is_empty() {
                self.sections.push(None);
                continue;
            }
            let mut code = Vec::with_capacity(section.slots as usize);
            for piece in &section.pieces {
                self.code(piece, &mut code)?;
            }
            let index = writer.code(&section.name, &code);
            let own = writer.symbol(Symbol {
                name: "",
                kind: SymbolKind::Section,
                binding: Binding::Local,
                hidden: false,
                place: Place::Section(index),
                value: 0,
                size: 0,
            });
            self.sections.push(Some((index, own)));
            for piece in &section.pieces {
                let linkage = match types.and_then(|types| types.get(TypeId(piece.type_id))) {
                    Some(Type::Func { linkage, .. }) => linkage,
                    _ => Linkage::Static,
                };
                let is_program = number != 0;
                let is_seen = linkage == Linkage::Global && named.insert(piece.name);
                let symbol = writer.symbol(Symbol {
                    name: piece.name,
                    kind: SymbolKind::Function,
                    binding: match is_program || is_seen {
                        true => Binding::Global,
                        false => Binding::Local,
                    },
                    hidden: false,
                    place: Place::Section(index),
                    value: u64::from(piece.base) * SLOT,
                    size: piece.insns().len() as u64 * SLOT,
                });
                if is_program {
                    if let Some(slot) = self.programs.get_mut(piece.number) {
                        *slot = Some(symbol);
                    }
                }
            }
        }
        Ok(())
    }

    /// Gives where the function that begins at a slot of the piece's program is: the section, and
    /// the slot.
    fn place(&self, piece: &Piece<'_>, slot: i64) -> Option<(usize, u32)> {
        let funcs = &piece.program.funcs;
        let slot = u32::try_from(slot).ok()?;
        let number = funcs.binary_search_by_key(&slot, |func| func.insn).ok()?;
        let (section, at) = *self.layout.places.get(piece.number)?.get(number)?;
        let found = self.layout.sections.get(section)?.pieces.get(at)?;
        Some((section, found.base))
    }

    /// Appends the instructions of a function, those that are relocated as compilers write them.
    fn code(&self, piece: &Piece<'_>, code: &mut Vec<Insn>) -> Result<(), WriteError> {
        let program = piece.program;
        let refuse = |why| Code::refuse(program, why);
        let nowhere = || refuse("it calls what is no function of it");
        let mut insns = piece.insns().to_vec();
        let relocs = piece.within(&program.relocs, |reloc| reloc.insn);
        let mut relocated = relocs.iter().map(|reloc| reloc.insn).peekable();
        let mut second = false;
        for (slot, insn) in (piece.start..).zip(&mut insns) {
            if core::mem::take(&mut second) {
                continue;
            }
            second = insn.is_wide();
            if relocated.next_if(|at| *at <= slot).is_some() {
                continue;
            }
            if let Some(to) = functions::called(insn, slot) {
                let (_, base) = self.place(piece, to).ok_or_else(nowhere)?;
                // Below 2^28.
                insn.imm = base as i32 - 1;
            }
        }
        for reloc in relocs {
            let at = (reloc.insn - piece.start) as usize;
            if matches!(reloc.kind, RelocKind::Extern(_))
                && insns.get(at).is_some_and(|insn| !insn.is_wide())
            {
                continue;
            }
            let pair = insns.get_mut(at..);
            let pair = pair.and_then(|rest| rest.first_chunk_mut::<2>());
            let pair = pair.filter(|pair| pair[0].is_wide());
            let pair = pair.ok_or_else(|| refuse("a relocation does not stand on ld_imm64"))?;
            // Within a section the place stands in the instruction.
            let addend = match reloc.kind {
                RelocKind::MapValue { offset, .. } => u64::from(offset),
                RelocKind::Func(to) => {
                    let (_, base) = self.place(piece, to.into()).ok_or_else(nowhere)?;
                    u64::from(base) * SLOT
                }
                RelocKind::Extern(_) => Insn::wide_value(*pair),
                _ => 0,
            };
            *pair = Insn::ld_imm64(Reg(pair[0].dst), addend);
        }
        code.extend(insns);
        Ok(())
    }

    /// Writes the relocations.
    fn relocations(&self, writer: &mut Writer) -> Result<(), WriteError> {
        for (section, place) in self.layout.sections.iter().zip(&self.sections) {
            let Some((index, _)) = *place else {
                continue;
            };
            for piece in &section.pieces {
                self.of(piece, index, writer)?;
            }
        }
        Ok(())
    }

    fn of(
        &self,
        piece: &Piece<'_>,
        section: SectionIndex,
        writer: &mut Writer,
    ) -> Result<(), WriteError> {
        let program = piece.program;
        let refuse = |why| Code::refuse(program, why);
        let function = |slot: i64| {
            let (section, _) = self.place(piece, slot)?;
            self.sections.get(section).copied().flatten()
        };
        let relocs = piece.within(&program.relocs, |reloc| reloc.insn);
        let mut relocated = relocs.iter().map(|reloc| reloc.insn).peekable();
        let mut second = false;
        for (slot, insn) in (piece.start..).zip(piece.insns()) {
            if core::mem::take(&mut second) {
                continue;
            }
            second = insn.is_wide();
            if relocated.next_if(|at| *at <= slot).is_some() {
                continue;
            }
            if let Some(to) = functions::called(insn, slot) {
                let (_, symbol) =
                    function(to).ok_or_else(|| refuse("it calls what is no function of it"))?;
                writer.relocation(section, piece.offset(slot), symbol, R_BPF_64_32);
            }
        }
        for reloc in relocs {
            let at = (reloc.insn - piece.start) as usize;
            let call = piece.insns().get(at).is_some_and(|insn| !insn.is_wide());
            let symbol = match reloc.kind {
                RelocKind::Map(map) | RelocKind::MapValue { map, .. } => {
                    let named = self.maps.get(&map);
                    let named = named.ok_or_else(|| refuse("it uses no known map"))?;
                    match matches!(reloc.kind, RelocKind::Map(_)) {
                        true => named
                            .own
                            .ok_or_else(|| refuse("it uses a section of data as a map"))?,
                        false => named.data.ok_or_else(|| {
                            refuse("it reaches into a map that is no section of data")
                        })?,
                    }
                }
                RelocKind::Late(_) => {
                    return Err(refuse("it has late values in its instructions"));
                }
                RelocKind::Func(to) => {
                    let found = function(to.into());
                    found
                        .ok_or_else(|| refuse("it calls what is no function of it"))?
                        .1
                }
                RelocKind::Extern(id) => *self
                    .externs
                    .get(id.0 as usize)
                    .ok_or_else(|| refuse("it uses no known symbol of the target"))?,
            };
            let kind = if call { R_BPF_64_32 } else { R_BPF_64_64 };
            writer.relocation(section, piece.offset(reloc.insn), symbol, kind);
        }
        Ok(())
    }
}

/// Gives what is said of all instructions.
fn about(spec: &Spec, layout: &Layout<'_>, builder: &mut Builder) -> Ext {
    let mut ext = Ext::default();
    for section in layout.sections.iter().filter(|s| !s.pieces.is_empty()) {
        let name = builder.add_string(&section.name);
        let mut funcs = Vec::new();
        let mut lines = Vec::new();
        let mut core = Vec::new();
        for piece in &section.pieces {
            let program = piece.program;
            // Below 2^31: sections have fewer than 2^28 slots.
            let offset = |insn: u32| piece.offset(insn) as u32;
            if piece.type_id != 0 {
                funcs.push(FuncRecord {
                    offset: offset(piece.start),
                    type_id: TypeId(piece.type_id),
                });
            }
            for line in piece.within(&program.lines, |line| line.insn) {
                let Some(file) = spec.files.get(line.file as usize) else {
                    continue;
                };
                let text = file.text.line(line.line).unwrap_or_default();
                let text = match file.text {
                    SourceText::Whole(_) => text.trim_start(),
                    SourceText::Lines(_) => text,
                };
                lines.push(LineRecord {
                    offset: offset(line.insn),
                    file: builder.add_string(&file.name),
                    text: builder.add_string(text),
                    line: line.line,
                    column: line.column,
                });
            }
            for one in piece.within(&program.core, |core| core.insn) {
                let path: Vec<String> = one.access.iter().map(u32::to_string).collect();
                core.push(CoreRecord {
                    offset: offset(one.insn),
                    type_id: TypeId(one.type_id),
                    access: builder.add_string(&path.join(":")),
                    kind: one.kind as u32,
                });
            }
        }
        ext.funcs.push(Section {
            name,
            records: funcs,
        });
        ext.lines.push(Section {
            name,
            records: lines,
        });
        ext.core.push(Section {
            name,
            records: core,
        });
    }
    ext
}

#[cfg(test)]
mod tests;
