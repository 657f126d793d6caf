//! Relocations: what the target knows is written into the instructions.

use kscope_spec::{Insn, ProgramSpec, RelocKind};

use crate::error::Error;

/// Pseudo sources of `ld_imm64` (include/uapi/linux/bpf.h).
const PSEUDO_MAP_FD: u8 = 1;
const PSEUDO_MAP_VALUE: u8 = 2;
const PSEUDO_FUNC: u8 = 4;

/// What relocations refer to.
pub(crate) trait Target {
    /// Gives the descriptor number of a map.
    fn map(&self, map: kscope_spec::MapId) -> Result<i32, Error>;
    /// Gives a late value.
    fn late(&self, late: kscope_spec::LateId) -> Result<u64, Error>;
}

/// Gives the program's instructions as the kernel takes them.
pub(crate) fn instructions(program: &ProgramSpec, target: &dyn Target) -> Result<Vec<u8>, Error> {
    let mut insns = program.insns.clone();
    for reloc in &program.relocs {
        let at = reloc.insn as usize;
        let pair = insns
            .get_mut(at..)
            .and_then(|rest| rest.first_chunk_mut::<2>());
        let [first, second] = pair
            .filter(|pair| pair[0].is_wide())
            .ok_or_else(|| misplaced(program, reloc.insn, "does not stand on ld_imm64"))?;
        match reloc.kind {
            RelocKind::Map(map) => set(first, second, PSEUDO_MAP_FD, target.map(map)?, 0),
            RelocKind::MapValue { map, offset } => {
                let offset = i32::from_ne_bytes(offset.to_ne_bytes());
                set(first, second, PSEUDO_MAP_VALUE, target.map(map)?, offset);
            }
            RelocKind::Late(late) => {
                let value = target.late(late)?;
                let low = (value as u32).cast_signed();
                let high = ((value >> 32) as u32).cast_signed();
                set(first, second, 0, low, high);
            }
            RelocKind::Extern(_) => {
                return Err(misplaced(
                    program,
                    reloc.insn,
                    "names a symbol of the kernel",
                ));
            }
            RelocKind::Func(start) => {
                if start as usize >= program.insns.len() {
                    return Err(misplaced(
                        program,
                        reloc.insn,
                        "names a function past the end",
                    ));
                }
                let distance = i64::from(start) - i64::from(reloc.insn) - 1;
                let distance = i32::try_from(distance)
                    .map_err(|_| misplaced(program, reloc.insn, "names a function too far away"))?;
                set(first, second, PSEUDO_FUNC, distance, 0);
            }
        }
    }
    Ok(insns.iter().flat_map(|insn| insn.encode()).collect())
}

fn set(first: &mut Insn, second: &mut Insn, src: u8, low: i32, high: i32) {
    first.src = src;
    first.imm = low;
    second.imm = high;
}

fn misplaced(program: &ProgramSpec, insn: u32, why: &str) -> Error {
    Error::invalid(format!(
        "program {}: the relocation at {insn} {why}",
        program.name
    ))
}

#[cfg(test)]
mod tests;
