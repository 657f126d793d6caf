//! What `values` of maps of maps and arrays of programs are initialised with.

use super::maps::SECTION;
use super::why::Why;
use super::{Maps, Object};
use crate::elf::{Reader, Relocation, SectionIndex};
use crate::object::{MapId, MapKind, MapSlot, ProgramId, SlotValue};
use crate::table::Table;

/// Gives the place that eight relocated bytes of data are the address of.
pub(super) fn target(
    object: &Object<'_>,
    index: SectionIndex,
    relocation: &Relocation,
) -> Option<(SectionIndex, u64)> {
    let symbol = object.elf.symbol(relocation.symbol)?;
    let reader = Reader {
        bytes: object.elf.section(index)?.data,
        order: object.elf.order,
    };
    let addend = reader.u64(usize::try_from(relocation.offset).ok()?)?;
    Some((symbol.section()?, symbol.value.wrapping_add(addend)))
}

/// Adds the initial contents to the maps that have them.
pub(super) fn read(
    object: &Object<'_>,
    maps: &mut Maps,
    programs: &Table<(SectionIndex, u64), ProgramId>,
) {
    let Some((index, _)) = object.elf.named(SECTION) else {
        return;
    };
    let places = maps.places();
    let places = places.get(&index).map_or(&[][..], Vec::as_slice);
    for relocation in object.relocations.of(index) {
        let after = places.partition_point(|(offset, _)| *offset <= relocation.offset);
        let Some(&(offset, id)) = after.checked_sub(1).and_then(|at| places.get(at)) else {
            continue;
        };
        let at = relocation.offset - offset;
        match slot(object, maps, programs, (index, relocation), id, at) {
            Ok(slot) => {
                if let Some(map) = maps.get_mut(id) {
                    map.slots.push(slot);
                }
            }
            Err(why) => maps.refuse(id, &why),
        }
    }
}

/// Reads the slot at byte `at` of the description of map `id`.
fn slot(
    object: &Object<'_>,
    maps: &Maps,
    programs: &Table<(SectionIndex, u64), ProgramId>,
    (section, relocation): (SectionIndex, &Relocation),
    id: MapId,
    at: u64,
) -> Result<MapSlot, Why> {
    let symbol = object.elf.symbol(relocation.symbol);
    let symbol = || symbol.map_or("?", |s| object.elf.symbol_name(s)).to_owned();
    let values = maps
        .values
        .get(&id)
        .and_then(|values| at.checked_sub(*values));
    let index = values
        .filter(|bytes| bytes % 8 == 0)
        .and_then(|bytes| u32::try_from(bytes / 8).ok())
        .ok_or_else(|| Why::SlotPlace {
            offset: relocation.offset,
            symbol: symbol(),
        })?;
    let to = target(object, section, relocation);
    let map = maps.list.get(id.0 as usize);
    let value = match map.map(|map| map.kind) {
        Some(MapKind::ProgArray) => to
            .and_then(|to| programs.get(&to))
            .map(|&program| SlotValue::Program(program))
            .ok_or_else(|| Why::SlotNotProgram { symbol: symbol() })?,
        _ => to
            .and_then(|to| maps.described.get(&to))
            .filter(|inner| **inner != id)
            .map(|&inner| SlotValue::Map(inner))
            .ok_or_else(|| Why::SlotNotMap { symbol: symbol() })?,
    };
    match map {
        Some(map) if map.kind == MapKind::HashOfMaps && map.key_size != 4 => {
            Err(Why::SlotKey(map.key_size))
        }
        _ => Ok(MapSlot { index, value }),
    }
}
