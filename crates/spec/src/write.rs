//! Writes a [`Spec`] as an ELF object that every loader of eBPF takes.
//!
//! Programs stand in the sections that they name, maps in `.maps`, described by types, and those
//! that have a section of their own there, as bytes. [`crate::read`] gives the same programs and
//! maps again. The same `Spec` gives the same bytes.

mod error;
mod maps;

use std::collections::HashMap;

use kscope_btf::ext::{CoreRecord, Ext, FuncRecord, LineRecord, Section};
use kscope_btf::write::Builder;
use kscope_btf::{Btf, Endian, TypeId};

use crate::elf::number::{R_BPF_64_64, SHF_ALLOC, SHT_PROGBITS};
use crate::elf::write::Writer;
use crate::elf::{Binding, Place, SectionIndex, Symbol, SymbolIndex, SymbolKind};
use crate::insn::{Insn, Reg};
use crate::object::{ByteOrder, MapId, ProgramSpec, RelocKind, Spec};

pub use error::WriteError;

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
/// # Errors
/// Where the spec has what objects of this kind cannot say: late values in instructions, maps
/// inside maps, programs of several functions.
pub fn object(spec: &Spec, notes: &[Note<'_>]) -> Result<Vec<u8>, WriteError> {
    let mut writer = Writer::new(spec.byte_order);
    let types = match spec.types.is_empty() {
        true => None,
        false => Some(Btf::parse(spec.types.clone()).map_err(WriteError::Types)?),
    };
    let mut builder = match &types {
        Some(types) => copied(types),
        None => Builder::with_endian(endian(spec.byte_order)),
    };
    let license = spec.license.bytes().chain([0]).collect();
    let maps = maps::write(spec, &mut writer, &mut builder)?;
    let mut ext = Ext::default();
    for section in sections(spec)? {
        let code = code(spec, &section)?;
        let index = writer.code(section.name, &code);
        for (start, program) in &section.programs {
            writer.symbol(Symbol {
                name: &program.name,
                kind: SymbolKind::Function,
                binding: Binding::Global,
                hidden: false,
                place: Place::Section(index),
                value: u64::from(*start) * SLOT,
                size: program.insns.len() as u64 * SLOT,
            });
            relocations(program, *start, index, &maps, &mut writer)?;
        }
        about(spec, &section, &mut builder, &mut ext);
    }
    writer.section("license", SHT_PROGBITS, SHF_ALLOC, license);
    writer.note(".BTF", builder.finish());
    writer.note(".BTF.ext", ext.to_bytes(endian(spec.byte_order)));
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

/// Begins with the spec's own types, under their numbers.
fn copied(types: &Btf) -> Builder {
    let mut builder = Builder::with_strings_of(types);
    for id in types.own_ids() {
        builder.copy(types, id);
    }
    builder
}

/// The programs of a section, with the slots that they begin at.
struct Programs<'a> {
    name: &'a str,
    programs: Vec<(u32, &'a ProgramSpec)>,
    slots: u32,
}

fn sections(spec: &Spec) -> Result<Vec<Programs<'_>>, WriteError> {
    let mut sections: Vec<Programs<'_>> = Vec::new();
    let mut places: HashMap<&str, usize> = HashMap::new();
    for program in &spec.programs {
        let refuse = |why| WriteError::Program {
            name: program.name.clone(),
            why,
        };
        if program.section.is_empty() {
            return Err(refuse("it names no section"));
        }
        if program.funcs.len() > 1 {
            return Err(refuse("it has several functions"));
        }
        let place = *places.entry(&program.section).or_insert_with(|| {
            sections.push(Programs {
                name: &program.section,
                programs: Vec::new(),
                slots: 0,
            });
            sections.len() - 1
        });
        if let Some(section) = sections.get_mut(place) {
            section.programs.push((section.slots, program));
            let slots = u32::try_from(program.insns.len()).ok();
            let slots = slots.and_then(|slots| section.slots.checked_add(slots));
            section.slots = slots.ok_or_else(|| refuse("it is too large"))?;
        }
    }
    Ok(sections)
}

/// Gives the instructions of a section, those that are relocated as compilers write them.
fn code(spec: &Spec, section: &Programs<'_>) -> Result<Vec<Insn>, WriteError> {
    let mut code = Vec::new();
    for (_, program) in &section.programs {
        let mut insns = program.insns.clone();
        for reloc in &program.relocs {
            let at = reloc.insn as usize;
            let pair = insns.get_mut(at..);
            let pair = pair.and_then(|rest| rest.first_chunk_mut::<2>());
            let pair = pair.filter(|pair| pair[0].is_wide());
            let pair = pair.ok_or_else(|| WriteError::Program {
                name: program.name.clone(),
                why: "a relocation does not stand on ld_imm64",
            })?;
            // Within a section the place stands in the instruction.
            let addend = match reloc.kind {
                RelocKind::MapValue { offset, .. } => u64::from(offset),
                _ => 0,
            };
            *pair = Insn::ld_imm64(Reg(pair[0].dst), addend);
        }
        code.extend(insns);
    }
    debug_assert!(spec.programs.len() >= section.programs.len());
    Ok(code)
}

fn relocations(
    program: &ProgramSpec,
    start: u32,
    section: SectionIndex,
    maps: &HashMap<MapId, (SymbolIndex, bool)>,
    writer: &mut Writer,
) -> Result<(), WriteError> {
    for reloc in &program.relocs {
        let refuse = |why| WriteError::Program {
            name: program.name.clone(),
            why,
        };
        let (map, value) = match reloc.kind {
            RelocKind::Map(map) => (map, false),
            RelocKind::MapValue { map, .. } => (map, true),
            RelocKind::Late(_) => return Err(refuse("it has late values in its instructions")),
            RelocKind::Func(_) => return Err(refuse("it has a callback")),
            RelocKind::Extern(_) => return Err(refuse("it uses a symbol of the target")),
        };
        let (symbol, data) = maps
            .get(&map)
            .ok_or_else(|| refuse("it uses no known map"))?;
        if value != *data {
            return Err(refuse("it reaches into a map that is no section of data"));
        }
        let offset = (u64::from(start) + u64::from(reloc.insn)) * SLOT;
        writer.relocation(section, offset, *symbol, R_BPF_64_64);
    }
    Ok(())
}

/// Adds what is said of a section's instructions.
fn about(spec: &Spec, section: &Programs<'_>, builder: &mut Builder, ext: &mut Ext) {
    let name = builder.add_string(section.name);
    let mut funcs = Vec::new();
    let mut lines = Vec::new();
    let mut core = Vec::new();
    for (start, program) in &section.programs {
        let offset = |insn: u32| (start + insn) * SLOT as u32;
        for func in program.funcs.iter().filter(|func| func.type_id != 0) {
            funcs.push(FuncRecord {
                offset: offset(func.insn),
                type_id: TypeId(func.type_id),
            });
        }
        for line in &program.lines {
            let Some(file) = spec.files.get(line.file as usize) else {
                continue;
            };
            let text = file.text.line(line.line).unwrap_or_default().trim_start();
            lines.push(LineRecord {
                offset: offset(line.insn),
                file: builder.add_string(&file.name),
                text: builder.add_string(text),
                line: line.line,
                column: line.column,
            });
        }
        for one in &program.core {
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

#[cfg(test)]
mod tests;
