//! Relocations: what the target knows is written into the instructions.

use kscope_spec::{ExternId, Insn, LateId, MapId, ProgramSpec, RelocKind};

use crate::error::Error;

/// Pseudo sources of `ld_imm64` (include/uapi/linux/bpf.h).
const PSEUDO_MAP_FD: u8 = 1;
const PSEUDO_MAP_VALUE: u8 = 2;
const PSEUDO_BTF_ID: u8 = 3;
const PSEUDO_FUNC: u8 = 4;

/// Pseudo source of the call of a kernel's function.
const PSEUDO_KFUNC_CALL: u8 = 2;

const CALL: u8 = 0x85;

/// Calls of no helper, in the place of what is not there: the verifier refuses them where it comes
/// to them. The numbers are libbpf's, the index of map or symbol is added.
pub(crate) const NO_MAP: i32 = 2_001_000_000;
pub(crate) const NO_FUNCTION: i32 = 2_002_000_000;

/// What relocations refer to.
pub(crate) trait Target {
    /// Gives the descriptor number of a map; none for one that is left out.
    fn map(&self, map: MapId) -> Result<Option<i32>, Error>;
    /// Looks whether these bytes of a map's value may be used.
    fn value(&self, map: MapId, offset: u32) -> Result<(), Error>;
    /// Gives a late value.
    fn late(&self, late: LateId) -> Result<u64, Error>;
    /// Gives a symbol of the kernel; none for a weak one that is nowhere.
    fn external(&self, external: ExternId) -> Result<Option<External>, Error>;
}

/// A symbol of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum External {
    /// Its address.
    Address(u64),
    /// A variable by its type in the BTF with this descriptor, 0 for vmlinux's.
    Variable { id: u32, btf: i32 },
    /// A function by its type; `place` is the place of its BTF among those given with the program,
    /// 0 for vmlinux's.
    Function { id: u32, btf: i32, place: i16 },
    /// Bytes of a map's value.
    Value { map: MapId, offset: u32 },
}

/// Gives the program's instructions as the kernel takes them; `insns` are those of the program,
/// fitted to the target's types.
pub(crate) fn instructions(
    program: &ProgramSpec,
    mut insns: Vec<Insn>,
    target: &dyn Target,
) -> Result<Vec<u8>, Error> {
    #[cfg(feature = "late")]
    find_late(program, target)?;
    for reloc in &program.relocs {
        let at = reloc.insn as usize;
        let call = insns.get_mut(at).filter(|insn| insn.code == CALL);
        if let (RelocKind::Extern(external), Some(call)) = (&reloc.kind, call) {
            match target.external(*external)? {
                Some(External::Function { id, place, .. }) => {
                    call.src = PSEUDO_KFUNC_CALL;
                    call.imm = id as i32;
                    call.off = place;
                }
                Some(_) => return Err(misplaced(program, reloc.insn, "calls what is no function")),
                None => *call = nothing(NO_FUNCTION, external.0),
            }
            continue;
        }
        let pair = insns
            .get_mut(at..)
            .and_then(|rest| rest.first_chunk_mut::<2>());
        let pair = pair
            .filter(|pair| pair[0].is_wide())
            .ok_or_else(|| misplaced(program, reloc.insn, "does not stand on ld_imm64"))?;
        match reloc.kind {
            RelocKind::Map(map) => match target.map(map)? {
                Some(fd) => set(pair, PSEUDO_MAP_FD, fd, 0),
                None => *pair = [nothing(NO_MAP, map.0); 2],
            },
            RelocKind::MapValue { map, offset } => value(pair, map, offset, target)?,
            RelocKind::Late(late) => number(pair, target.late(late)?),
            RelocKind::Extern(external) => match target.external(external)? {
                None => number(pair, 0),
                Some(External::Address(address)) => number(pair, address),
                Some(External::Variable { id, btf } | External::Function { id, btf, .. }) => {
                    set(pair, PSEUDO_BTF_ID, id as i32, btf);
                }
                Some(External::Value { map, offset }) => value(pair, map, offset, target)?,
            },
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
                set(pair, PSEUDO_FUNC, distance, 0);
            }
        }
    }
    Ok(encoded(&insns))
}

/// Asks for the late values that a program uses: what is missing is told in the order of the source,
/// which is not that of the code.
#[cfg(feature = "late")]
fn find_late(program: &ProgramSpec, target: &dyn Target) -> Result<(), Error> {
    let lates = program.relocs.iter().filter_map(|reloc| match reloc.kind {
        RelocKind::Late(late) => Some(u64::from(late.0)),
        _ => None,
    });
    let mut lates: Vec<u64> = lates.collect();
    // As numbers, which are sorted elsewhere as well, and share the code.
    lates.sort_unstable();
    for late in lates {
        target.late(LateId(late as u32))?;
    }
    Ok(())
}

/// Gives instructions as the kernel takes them.
pub(crate) fn encoded(insns: &[Insn]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(insns.len() * 8);
    for insn in insns {
        bytes.extend_from_slice(&insn.encode());
    }
    bytes
}

fn value(pair: &mut [Insn; 2], map: MapId, offset: u32, target: &dyn Target) -> Result<(), Error> {
    target.value(map, offset)?;
    match target.map(map)? {
        Some(fd) => set(pair, PSEUDO_MAP_VALUE, fd, offset as i32),
        None => *pair = [nothing(NO_MAP, map.0); 2],
    }
    Ok(())
}

fn number(pair: &mut [Insn; 2], value: u64) {
    let low = (value as u32) as i32;
    let high = ((value >> 32) as u32) as i32;
    set(pair, 0, low, high);
}

fn set(pair: &mut [Insn; 2], src: u8, low: i32, high: i32) {
    pair[0].src = src;
    pair[0].imm = low;
    pair[1].imm = high;
}

/// A call that the verifier refuses.
fn nothing(base: i32, index: u32) -> Insn {
    let index = i32::try_from(index % 1_000_000).unwrap_or_default();
    Insn {
        code: CALL,
        imm: base + index,
        ..Insn::default()
    }
}

fn misplaced(program: &ProgramSpec, insn: u32, why: &str) -> Error {
    Error::invalid(format!(
        "program {}: the relocation at {insn} {why}",
        program.name
    ))
}

#[cfg(test)]
mod tests;
