//! Maps that bytes describe: section `maps`, as before BTF, and iproute2's form of it.

use kscope_btf::{Kind, Type};

use super::budget::Budget;
use super::error::ReadError;
use super::why::Why;
use super::{Maps, Object};
use crate::elf::{Reader, Section, SymbolIndex, SymbolKind};
use crate::object::{MapId, MapKind, MapSlot, MapSpec, Pinning, SlotValue};
use crate::table::{self, Table};

/// Sizes in bytes of `struct bpf_map_def` and of iproute2's `struct bpf_elf_map`, whose last
/// members may be left out.
const PLAIN: usize = 20;
const IPROUTE2: usize = 36;
/// No place in another map (`inner_idx`).
const NOWHERE: u32 = u32::MAX;

/// What iproute2's form says beside.
struct Tied {
    map: MapId,
    id: u32,
    inner_id: u32,
    inner_index: u32,
}

/// Adds the maps of `maps` and `maps/…`, in order of their places.
pub(super) fn read(
    object: &Object<'_>,
    maps: &mut Maps,
    budget: &mut Budget,
) -> Result<(), ReadError> {
    let is_maps = |name: &str| name == "maps" || name.starts_with("maps/");
    let mut tied = Vec::new();
    for (index, section) in object.elf.indexed() {
        if !is_maps(section.name) || section.is_code() {
            continue;
        }
        let mut symbols: Vec<(u64, SymbolIndex)> = object
            .symbols(index)
            .filter(|(_, symbol)| {
                let variable = matches!(symbol.kind, SymbolKind::Object | SymbolKind::None);
                variable && !symbol.name.is_empty()
            })
            .map(|(number, symbol)| (symbol.value, number))
            .collect();
        table::sort(&mut symbols, |symbol| *symbol);
        symbols.dedup_by_key(|(offset, _)| *offset);
        let ends = symbols.iter().skip(1).map(|&(offset, _)| offset);
        let ends: Vec<u64> = ends.chain([section.size]).collect();
        for (&(offset, symbol), end) in symbols.iter().zip(ends) {
            let Some(symbol) = object.elf.symbol(symbol) else {
                continue;
            };
            let size = match symbol.size {
                0 => end.saturating_sub(offset),
                size => size,
            };
            // All its bytes are looked at.
            let bytes = usize::try_from(size).map_or(0, |size| size.min(section.data.len()));
            let kept = symbol.name.len().saturating_add(64);
            budget.take(kept.saturating_add(bytes), "maps")?;
            let mut map = MapSpec {
                name: symbol.name.to_owned(),
                section: section.name.to_owned(),
                ..MapSpec::default()
            };
            typed(object, &mut map);
            let extra = describe(object, section, (offset, size), &mut map);
            let id = maps.add(map);
            maps.described.get_or((index, offset), || id);
            match extra {
                Ok(Some([number, inner_id, inner_index])) => tied.push(Tied {
                    map: id,
                    id: number,
                    inner_id,
                    inner_index,
                }),
                Ok(None) => {}
                Err(why) => maps.refuse(id, &why),
            }
        }
    }
    tie(maps, &tied);
    Ok(())
}

/// Reads a description; of iproute2's form, gives id, id of the inner maps and place in another.
fn describe(
    object: &Object<'_>,
    section: &Section<'_>,
    (offset, size): (u64, u64),
    map: &mut MapSpec,
) -> Result<Option<[u32; 3]>, Why> {
    let wrong = || Why::LegacySize {
        section: section.name.to_owned(),
        offset,
        size,
    };
    let start = usize::try_from(offset).map_err(|_| wrong())?;
    let len = usize::try_from(size).map_err(|_| wrong())?;
    let bytes = start
        .checked_add(len)
        .and_then(|end| section.data.get(start..end))
        .filter(|bytes| bytes.len() >= PLAIN)
        .ok_or_else(wrong)?;
    let reader = Reader {
        bytes,
        order: object.elf.order,
    };
    let word = |index: usize| reader.u32(index * 4).unwrap_or(0);
    map.kind = MapKind::from_number(word(0)).ok_or(Why::MapUnknownType(word(0)))?;
    map.key_size = word(1);
    map.value_size = word(2);
    map.max_entries = word(3);
    map.flags = word(4);
    let known = match len {
        ..=IPROUTE2 => len,
        _ => PLAIN,
    };
    let rest = bytes.iter().skip(known).position(|&byte| byte != 0);
    if let Some(at) = rest {
        return Err(Why::LegacyExtra {
            section: section.name.to_owned(),
            offset: offset + (known + at) as u64,
        });
    }
    if map.kind == MapKind::Unspec {
        return Err(Why::MapNoType);
    }
    if known == PLAIN {
        return Ok(None);
    }
    // PIN_OBJECT_NS and PIN_GLOBAL_NS differ in the folder, which is the caller's choice here.
    map.pinning = match word(6) {
        0 => Pinning::None,
        1 | 2 => Pinning::ByName,
        other => return Err(Why::MapPinning(other)),
    };
    let inner_index = if len < IPROUTE2 { NOWHERE } else { word(8) };
    Ok(Some([word(5), word(7), inner_index]))
}

/// Takes types of key and value from what `BPF_ANNOTATE_KV_PAIR` leaves in the types.
fn typed(object: &Object<'_>, map: &mut MapSpec) {
    let Some(types) = &object.types else {
        return;
    };
    let name = format!("____btf_map_{}", map.name);
    let Some(Type::Struct(pair)) = types.find(&name, Kind::Struct).and_then(|id| types.get(id))
    else {
        return;
    };
    if pair.len() == 2 && pair.member(0).name == "key" && pair.member(1).name == "value" {
        map.key_type = pair.member(0).type_id.0;
        map.value_type = pair.member(1).type_id.0;
    }
}

/// Puts maps into those that name their id.
fn tie(maps: &mut Maps, tied: &[Tied]) {
    let by_id: Table<u32, &Tied> = tied.iter().rev().map(|tied| (tied.id, tied)).collect();
    let outer: Table<u32, MapId> = tied
        .iter()
        .rev()
        .filter(|tied| tied.inner_id != 0)
        .map(|tied| (tied.inner_id, tied.map))
        .collect();
    for item in tied.iter().filter(|tied| tied.inner_id != 0) {
        let found = by_id
            .get(&item.inner_id)
            .filter(|inner| inner.inner_id == 0);
        match found.and_then(|inner| maps.list.get(inner.map.0 as usize)) {
            Some(inner) => {
                let inner = MapSpec {
                    pinning: Pinning::None,
                    ..inner.clone()
                };
                if let Some(map) = maps.get_mut(item.map) {
                    map.inner = Some(Box::new(inner));
                }
            }
            None => maps.refuse(item.map, &Why::LegacyInner(item.inner_id)),
        }
    }
    for item in tied
        .iter()
        .filter(|tied| tied.inner_index != NOWHERE && tied.id != 0)
    {
        let Some(map) = outer.get(&item.id).and_then(|&outer| maps.get_mut(outer)) else {
            continue;
        };
        map.slots.push(MapSlot {
            index: item.inner_index,
            value: SlotValue::Map(item.map),
        });
    }
}
