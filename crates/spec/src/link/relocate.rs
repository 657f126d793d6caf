//! Relocations, and what stands where they apply.

use super::LinkError;
use super::input::Input;
use super::sections::Layout;
use super::symbols::Symbols;
use crate::elf::number::{R_BPF_64_32, R_BPF_64_64, R_BPF_64_ABS64};
use crate::elf::write::Writer;
use crate::elf::{Relocation, SymbolKind};
use crate::insn::{Insn, code};
use crate::object::ByteOrder;

/// Relocation of four bytes of data.
const R_BPF_64_ABS32: u32 = 3;
/// Bytes of an instruction's slot.
const SLOT: u64 = 8;

/// Checks all relocations, and adds to what counts from the start of a section where that now is.
pub(super) fn sections(inputs: &[Input<'_>], layout: &mut Layout<'_>) -> Result<(), LinkError> {
    for (number, input) in inputs.iter().enumerate() {
        for (target, section, relocation) in input.relocations() {
            let refuse = |why| LinkError::Relocation {
                file: input.name.to_owned(),
                section: section.name.to_owned(),
                offset: relocation.offset,
                symbol: input.symbol_name(&relocation),
                why,
            };
            let Some(place) = layout.place(number, target) else {
                continue;
            };
            // Only the first of these sections stays.
            if place.shared {
                return Err(refuse("is in a section that holds text or a number alone"));
            }
            let width = match relocation.kind {
                R_BPF_64_64 if section.is_code() => 2 * SLOT,
                R_BPF_64_32 if section.is_code() => SLOT,
                R_BPF_64_64 | R_BPF_64_ABS64 => SLOT,
                R_BPF_64_ABS32 => 4,
                _ => return Err(refuse("is of a kind that compilers for eBPF do not write")),
            };
            let aligned = !section.is_code() || relocation.offset % SLOT == 0;
            let end = relocation.offset.checked_add(width);
            if !aligned || end.is_none_or(|end| end > section.data.len() as u64) {
                return Err(refuse("is on no instruction or data of the section"));
            }
            let symbol = input
                .elf
                .symbol(relocation.symbol)
                .filter(|_| relocation.symbol.0 != 0)
                .ok_or_else(|| refuse("does not name a symbol"))?;
            let moved = match symbol.section() {
                None => 0,
                Some(section) => match layout.place(number, section) {
                    Some(place) => place.offset,
                    None => return Err(refuse("names a section that is not linked")),
                },
            };
            if symbol.kind != SymbolKind::Section || moved == 0 {
                continue;
            }
            let part = layout.list.get_mut(place.part);
            let is_code = part.as_ref().is_some_and(|part| part.is_code());
            // Both are inside of the section's data.
            let at = (place.offset + relocation.offset) as usize;
            let bytes = part.and_then(|part| part.data.get_mut(at..));
            let bytes = bytes.unwrap_or_default();
            let added = match is_code {
                true => insn(bytes, input.elf.order, moved),
                false => data(bytes, input.elf.order, relocation.kind, moved),
            };
            if added.is_none() {
                return Err(refuse(
                    "cannot reach so far, or is on no call and no ld_imm64",
                ));
            }
        }
    }
    Ok(())
}

/// Adds to the place in a call or a `ld_imm64`.
fn insn(bytes: &mut [u8], order: ByteOrder, moved: u64) -> Option<()> {
    let slot = bytes.first_chunk_mut::<8>()?;
    let mut insn = match order {
        ByteOrder::Little => Insn::decode_le(*slot),
        ByteOrder::Big => Insn::decode_be(*slot),
    };
    let moved = if insn.code == code::JMP | code::CALL {
        i32::try_from(moved / SLOT).ok()?
    } else if insn.is_wide() {
        i32::try_from(moved).ok()?
    } else {
        return None;
    };
    insn.imm = insn.imm.checked_add(moved)?;
    *slot = match order {
        ByteOrder::Little => insn.encode_le(),
        ByteOrder::Big => insn.encode_be(),
    };
    Some(())
}

/// Adds to a place in data.
fn data(bytes: &mut [u8], order: ByteOrder, kind: u32, moved: u64) -> Option<()> {
    if kind == R_BPF_64_ABS32 {
        let place = bytes.first_chunk_mut::<4>()?;
        let moved = u32::try_from(moved).ok()?;
        *place = match order {
            ByteOrder::Little => u32::from_le_bytes(*place).checked_add(moved)?.to_le_bytes(),
            ByteOrder::Big => u32::from_be_bytes(*place).checked_add(moved)?.to_be_bytes(),
        };
        return Some(());
    }
    let place = bytes.first_chunk_mut::<8>()?;
    *place = match order {
        ByteOrder::Little => u64::from_le_bytes(*place).checked_add(moved)?.to_le_bytes(),
        ByteOrder::Big => u64::from_be_bytes(*place).checked_add(moved)?.to_be_bytes(),
    };
    Some(())
}

/// Writes the relocations.
pub(super) fn write(
    inputs: &[Input<'_>],
    layout: &Layout<'_>,
    symbols: &Symbols,
    writer: &mut Writer,
) {
    for (number, input) in inputs.iter().enumerate() {
        for (target, _, relocation) in input.relocations() {
            let Relocation {
                offset,
                symbol,
                kind,
            } = relocation;
            let place = layout.place(number, target).filter(|place| !place.shared);
            if let (Some(place), Some(&symbol)) = (place, symbols.get(&(number, symbol))) {
                let offset = place.offset.wrapping_add(offset);
                writer.relocation(place.index(), offset, symbol, kind);
            }
        }
    }
}
