//! What functions refer to: each relocation becomes a call, or something for the loader to patch.

use super::externs::Externs;
use super::functions::{Function, FunctionIndex, Functions};
use super::lines::{About, Files};
use super::why::Why;
use super::{Maps, Object};
use crate::elf::{Place, Relocation, Section, SectionIndex};
use crate::insn::{Insn, code};
use crate::object::{CoreReloc, ExternId, LineInfo, Reloc, RelocKind};

/// Source field of a `call` of a function of the object, and of `ld_imm64` of its address.
const PSEUDO_CALL: u8 = 1;
const PSEUDO_FUNC: u8 = 4;
/// Section of tables of jumps.
const JUMP_TABLES: &str = ".jumptables";

/// A function's references, slots counted from its first.
#[derive(Default)]
pub(super) struct Body {
    /// Functions that it calls or whose addresses it takes, ascending by instruction.
    pub(super) calls: Vec<Call>,
    pub(super) relocs: Vec<Reloc>,
    pub(super) core: Vec<CoreReloc>,
    pub(super) lines: Vec<LineInfo>,
    /// Its `FUNC`; 0 for none.
    pub(super) type_id: u32,
    /// Why no program that has it can be loaded.
    pub(super) why: Option<Why>,
}

/// A reference to a function.
#[derive(Clone, Copy)]
pub(super) struct Call {
    pub(super) insn: u32,
    pub(super) to: FunctionIndex,
    /// Whether its address is taken, for a helper to call it.
    pub(super) address: bool,
}

/// What references are to.
pub(super) struct Uses<'u, 'a> {
    pub(super) object: &'u Object<'a>,
    pub(super) functions: &'u Functions<'a>,
    pub(super) maps: &'u Maps,
    pub(super) externs: &'u Externs,
    pub(super) about: &'u About<'u>,
}

/// What a relocation becomes.
enum Becomes {
    Call(FunctionIndex),
    Address(FunctionIndex),
    Reloc(RelocKind),
    /// What another object has to define; until then nothing that uses it loads.
    Undefined(ExternId, Why),
}

impl Uses<'_, '_> {
    /// Gives the bodies of all functions, in the functions' order.
    pub(super) fn bodies(&self, files: &mut Files) -> Vec<Body> {
        let mut bodies = Vec::with_capacity(self.functions.list.len());
        for (index, function) in self.functions.list.iter().enumerate() {
            // What has the same place as another has that one's body.
            let first = self.functions.at(function.section, function.start.into());
            bodies.push(match first == Some(FunctionIndex(index)) {
                true => self.body(function, files),
                false => Body {
                    why: function.why.as_ref().map(Why::copied),
                    ..Body::default()
                },
            });
        }
        bodies
    }

    fn body(&self, function: &Function<'_>, files: &mut Files) -> Body {
        let mut body = Body {
            why: function.why.as_ref().map(Why::copied),
            ..Body::default()
        };
        let name = self.object.elf.section_name(function.section);
        if self
            .object
            .relocations
            .with_addends
            .contains_key(&function.section)
        {
            body.why.get_or_insert(Why::WithAddends {
                section: name.to_owned(),
            });
        }
        let relocations = self.relocations(function);
        let mut pending = relocations.iter().peekable();
        let mut insns = function.insns(self.object).enumerate();
        let mut starts = Vec::new();
        let mut undefined = None;
        while let Some((slot, insn)) = insns.next() {
            starts.push(slot as u32);
            let at = (u64::from(function.start) + slot as u64) * 8;
            if insn.is_wide() {
                insns.next();
            }
            // Those before this instruction are on no instruction's first byte.
            while let Some(stray) = pending.next_if(|relocation| relocation.offset < at) {
                body.why.get_or_insert(self.misplaced(function, stray));
            }
            let relocation = pending.next_if(|relocation| relocation.offset == at);
            match self.becomes(function, slot as u32, insn, relocation) {
                Ok(None) => {}
                Ok(Some(Becomes::Reloc(kind))) => body.relocs.push(Reloc {
                    insn: slot as u32,
                    kind,
                }),
                Ok(Some(Becomes::Call(to))) => body.calls.push(Call {
                    insn: slot as u32,
                    to,
                    address: false,
                }),
                Ok(Some(Becomes::Address(to))) => body.calls.push(Call {
                    insn: slot as u32,
                    to,
                    address: true,
                }),
                Ok(Some(Becomes::Undefined(id, why))) => {
                    undefined.get_or_insert(why);
                    body.relocs.push(Reloc {
                        insn: slot as u32,
                        kind: RelocKind::Extern(id),
                    });
                }
                Err(why) => {
                    body.why.get_or_insert(why);
                }
            }
        }
        if let Some(stray) = pending.next() {
            body.why.get_or_insert(self.misplaced(function, stray));
        }
        body.type_id = self.about.func(name, function);
        body.lines = self.about.lines(name, function, &starts, files);
        match self.about.core(name, function, &starts) {
            Ok(core) => body.core = core,
            Err(why) => {
                body.why.get_or_insert(why);
            }
        }
        body.why = body.why.or(undefined);
        body
    }

    /// Gives the relocations of a function, ascending.
    fn relocations(&self, function: &Function<'_>) -> &[Relocation] {
        let all = self.object.relocations.of(function.section);
        let start = u64::from(function.start) * 8;
        let end = start + u64::from(function.len) * 8;
        let from = all.partition_point(|relocation| relocation.offset < start);
        let to = all.partition_point(|relocation| relocation.offset < end);
        all.get(from..to).unwrap_or_default()
    }

    fn misplaced(&self, function: &Function<'_>, relocation: &Relocation) -> Why {
        let elf = &self.object.elf;
        let section = elf.section_name(function.section).to_owned();
        match elf.symbol(relocation.symbol) {
            Some(symbol) => Why::RelocationPlace {
                section,
                offset: relocation.offset,
                symbol: elf.symbol_name(symbol).to_owned(),
            },
            None => Why::UnknownSymbol {
                section,
                offset: relocation.offset,
                symbol: relocation.symbol.0,
            },
        }
    }

    fn becomes(
        &self,
        function: &Function<'_>,
        slot: u32,
        insn: Insn,
        relocation: Option<&Relocation>,
    ) -> Result<Option<Becomes>, Why> {
        let call = insn.code == code::JMP | code::CALL;
        let Some(relocation) = relocation else {
            // References inside of a section may need no relocation.
            let near = || i64::from(function.start) + i64::from(slot) + i64::from(insn.imm) + 1;
            return match insn.src {
                PSEUDO_CALL if call => self
                    .function(function.section, near())
                    .map(|to| Some(Becomes::Call(to))),
                PSEUDO_FUNC if insn.is_wide() => self
                    .function(function.section, near())
                    .map(|to| Some(Becomes::Address(to))),
                _ => Ok(None),
            };
        };
        if !call && !insn.is_wide() {
            return Err(self.misplaced(function, relocation));
        }
        let elf = &self.object.elf;
        let symbol = elf
            .symbol(relocation.symbol)
            .ok_or_else(|| self.misplaced(function, relocation))?;
        if symbol.is_extern() {
            let found = self.externs.of(relocation.symbol, symbol.name, call);
            return match (found, self.externs.undefined(relocation.symbol)) {
                (Ok(id), _) => Ok(Some(Becomes::Reloc(RelocKind::Extern(id)))),
                (Err(why), Some(id)) => Ok(Some(Becomes::Undefined(id, why))),
                (Err(why), None) => Err(why),
            };
        }
        let (index, section) = match symbol.place {
            Place::Section(index) => match elf.section(index) {
                Some(section) => (index, section),
                None => return Err(self.misplaced(function, relocation)),
            },
            Place::Special(_) | Place::Undefined => {
                return Err(Why::Common {
                    name: symbol.name.to_owned(),
                });
            }
        };
        let value = i64::try_from(symbol.value).unwrap_or(i64::MAX);
        if call {
            if insn.src != PSEUDO_CALL || !section.is_code() || value % 8 != 0 {
                return Err(self.misplaced(function, relocation));
            }
            let to = (value / 8).saturating_add(i64::from(insn.imm)) + 1;
            return self.function(index, to).map(|to| Some(Becomes::Call(to)));
        }
        let offset = value.saturating_add(insn.imm.into());
        if section.is_code() {
            let to = match offset % 8 {
                0 => self.function(index, offset / 8),
                _ => Err(no_function(section, offset)),
            };
            return to.map(|to| Some(Becomes::Address(to)));
        }
        self.data(index, section, offset, elf.symbol_name(symbol))
            .map(|kind| Some(Becomes::Reloc(kind)))
    }

    fn function(&self, section: SectionIndex, slot: i64) -> Result<FunctionIndex, Why> {
        let found = self.functions.at(section, slot);
        found.ok_or_else(|| Why::NoFunction {
            section: self.object.elf.section_name(section).to_owned(),
            offset: slot.saturating_mul(8),
        })
    }

    /// Gives what a reference to a section of maps or variables becomes.
    fn data(
        &self,
        index: SectionIndex,
        section: &Section<'_>,
        offset: i64,
        symbol: &str,
    ) -> Result<RelocKind, Why> {
        let name = || section.name.to_owned();
        if let Some(&map) = self.maps.sections.get(&index) {
            if let Some(why) = self.address(index, offset) {
                return Err(why.copied());
            }
            return match u32::try_from(offset) {
                Ok(offset) if u64::from(offset) <= section.size => {
                    Ok(RelocKind::MapValue { map, offset })
                }
                _ => Err(Why::DataOffset {
                    section: name(),
                    offset,
                }),
            };
        }
        let described = u64::try_from(offset)
            .ok()
            .and_then(|offset| self.maps.described.get(&(index, offset)));
        if let Some(&map) = described {
            return Ok(RelocKind::Map(map));
        }
        Err(match section.name {
            super::maps::SECTION => Why::NoMap {
                section: name(),
                offset,
            },
            #[cfg(not(feature = "legacy"))]
            "maps" => Why::LeftOut {
                section: name(),
                feature: "legacy",
            },
            JUMP_TABLES => Why::JumpTable { section: name() },
            _ if super::data::is_arena(section.name) => Why::NoArena { section: name() },
            _ => Why::NotData {
                symbol: symbol.to_owned(),
                section: name(),
            },
        })
    }
}

impl Uses<'_, '_> {
    /// Gives why the variable at a byte of a section cannot be used.
    fn address(&self, index: SectionIndex, offset: i64) -> Option<&Why> {
        let offset = u64::try_from(offset).ok()?;
        let found = self.maps.addresses.get(&index)?;
        let after = found.partition_point(|(span, _)| span.start <= offset);
        let (span, why) = found.get(after.checked_sub(1)?)?;
        span.contains(&offset).then_some(why)
    }
}

fn no_function(section: &Section<'_>, offset: i64) -> Why {
    Why::NoFunction {
        section: section.name.to_owned(),
        offset,
    }
}
