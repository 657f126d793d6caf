//! Maps: described by types in `.maps`, by bytes in `maps`, tables of functions, or sections of data.

use std::collections::HashMap;

use kscope_btf::write::{Builder, NewMember};
use kscope_btf::{Encoding, Linkage, TypeId};

use super::WriteError;
use super::types::{Known, KnownVariable};
use crate::elf::number::{R_BPF_64_ABS64, SHF_ALLOC, SHF_WRITE, SHT_PROGBITS};
use crate::elf::write::Writer;
use crate::elf::{Binding, Place, SectionIndex, Symbol, SymbolIndex, SymbolKind};
use crate::object::{ByteOrder, MapId, MapKind, MapSpec, Pinning, SlotValue, Spec, Variable};

const SECTION: &str = ".maps";
/// Section of build options, which the target fills in.
const KCONFIG: &str = ".kconfig";
/// Sections of an arena's variables, as clang's address space and as older headers name it.
const ARENA: [&str; 2] = [".addr_space.1", ".arena.1"];
/// Most bytes of a section of descriptions, and zeros after a section's own bytes.
const LARGEST: u32 = 1 << 22;

/// By which symbols instructions refer to a map.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Named {
    /// To the map itself.
    pub(super) own: Option<SymbolIndex>,
    /// To its value.
    pub(super) data: Option<SymbolIndex>,
}

/// Writes the maps; gives the symbols by which instructions refer to each.
pub(super) fn write(
    spec: &Spec,
    known: &Known<'_>,
    programs: &[Option<SymbolIndex>],
    writer: &mut Writer,
    builder: &mut Builder,
) -> Result<HashMap<MapId, Named>, WriteError> {
    let mut named: HashMap<MapId, Named> = HashMap::new();
    let mut described: Vec<(MapId, &MapSpec)> = Vec::new();
    let mut bytes: Vec<(MapId, &MapSpec)> = Vec::new();
    let mut tables: Vec<(MapId, &MapSpec)> = Vec::new();
    for (id, map) in (0..).map(MapId).zip(&spec.maps) {
        if map.refused.is_some() {
            return Err(refuse(map, "it was refused when it was read"));
        }
        if map.struct_ops.is_some() {
            tables.push((id, map));
        } else if is_described(map) {
            described.push((id, map));
        } else if is_bytes(map) {
            bytes.push((id, map));
        } else if map.section == KCONFIG {
            // The target's: no bytes here, and a symbol for each option.
            if known.section(KCONFIG).is_none() {
                return Err(refuse(map, "no type declares its options"));
            }
        } else {
            let data = section_of_data(
                map,
                &map.section,
                known.variables_of(id),
                known,
                writer,
                builder,
            )?;
            named.entry(id).or_default().data = Some(data);
        }
    }
    let mut slots = Vec::new();
    if !described.is_empty() {
        let variables = match known.section(SECTION) {
            Some(kept) => kept_places(known, kept, &described)?,
            None => new_places(&described, builder)?,
        };
        let size = variables
            .iter()
            .map(|v| v.offset.saturating_add(v.size))
            .max();
        let size = size.unwrap_or(0);
        if size > LARGEST {
            return Err(refuse(
                described[0].1,
                "the section of descriptions is too large",
            ));
        }
        let flags = SHF_ALLOC | SHF_WRITE;
        let section = writer.section(SECTION, SHT_PROGBITS, flags, vec![0; size as usize]);
        for ((id, map), place) in described.iter().zip(variables) {
            let symbol = writer.symbol(variable(
                &map.name,
                section,
                (place.offset, place.size),
                place.linkage,
            ));
            named.entry(*id).or_default().own = Some(symbol);
            for slot in &map.slots {
                let at = slot
                    .index
                    .checked_mul(8)
                    .and_then(|at| at.checked_add(place.values));
                let at = at.filter(|at| at.checked_add(8).is_some_and(|end| end <= place.size));
                let at = at.ok_or_else(|| refuse(map, "a slot is outside of its description"))?;
                slots.push((section, place.offset + at, map, slot.value));
            }
        }
        for (id, map) in described
            .iter()
            .filter(|(_, map)| map.kind == MapKind::Arena)
        {
            let name = ARENA.iter().find(|name| known.section(name).is_some());
            let own = known.variables_of(*id);
            if map.initial.is_some() || !own.is_empty() || name.is_some() {
                let name = name.unwrap_or(&ARENA[0]);
                let data = section_of_data(map, name, own, known, writer, builder)?;
                named.entry(*id).or_default().data = Some(data);
            }
        }
    }
    legacy(spec, &bytes, writer, &mut named)?;
    self::tables(&tables, known, programs, writer)?;
    for (section, offset, map, value) in slots {
        let symbol = match value {
            SlotValue::Map(id) => named.get(&id).and_then(|named| named.own),
            SlotValue::Program(id) => programs.get(id.0 as usize).copied().flatten(),
        };
        let symbol = symbol.ok_or_else(|| refuse(map, "a slot is of nothing in the object"))?;
        writer.relocation(section, offset.into(), symbol, R_BPF_64_ABS64);
    }
    Ok(named)
}

fn refuse(map: &MapSpec, why: &'static str) -> WriteError {
    WriteError::Map {
        name: map.name.clone(),
        why,
    }
}

/// Tells whether types describe a map.
pub(super) fn is_described(map: &MapSpec) -> bool {
    matches!(map.section.as_str(), "" | SECTION)
}

/// Tells whether bytes describe a map.
fn is_bytes(map: &MapSpec) -> bool {
    map.section == "maps" || map.section.starts_with("maps/")
}

fn variable(
    name: &str,
    section: SectionIndex,
    (offset, size): (u32, u32),
    linkage: Linkage,
) -> Symbol<'_> {
    Symbol {
        name,
        kind: SymbolKind::Object,
        binding: match linkage {
            Linkage::Static => Binding::Local,
            _ => Binding::Global,
        },
        hidden: false,
        place: Place::Section(section),
        value: u64::from(offset),
        size: u64::from(size),
    }
}

/// Where a description is.
struct Described {
    offset: u32,
    size: u32,
    /// Offset in bytes of its slots.
    values: u32,
    linkage: Linkage,
}

fn kept_places(
    known: &Known<'_>,
    kept: &[KnownVariable<'_>],
    described: &[(MapId, &MapSpec)],
) -> Result<Vec<Described>, WriteError> {
    let own = kept.iter().filter(|one| one.linkage != Linkage::Extern);
    let places = own.zip(described).map(|(one, (_, map))| {
        let composite = known.types.and_then(|types| types.composite(one.to));
        let values = composite.and_then(|composite| {
            let mut members = composite.members();
            members.find(|member| member.name == "values")
        });
        if values.is_none() && !map.slots.is_empty() {
            return Err(refuse(map, "it has slots, and its description no values"));
        }
        Ok(Described {
            offset: one.offset,
            size: one.size,
            values: values.map_or(0, |values| values.bit_offset / 8),
            linkage: one.linkage,
        })
    });
    places.collect()
}

fn new_places(
    described: &[(MapId, &MapSpec)],
    builder: &mut Builder,
) -> Result<Vec<Described>, WriteError> {
    let mut descriptions = Descriptions::new(builder);
    let mut variables = Vec::new();
    let mut places = Vec::new();
    let mut offset = 0u32;
    for (_, map) in described {
        let (type_id, values) = descriptions.describe(map, false)?;
        let slots = map
            .slots
            .iter()
            .map(|slot| slot.index.saturating_add(1))
            .max();
        let slots = slots.unwrap_or(0).checked_mul(8);
        let size = slots.and_then(|slots| slots.checked_add(values));
        let end = size.and_then(|size| offset.checked_add(size));
        let (Some(size), Some(end)) = (size, end.filter(|&end| end <= LARGEST)) else {
            return Err(refuse(map, "it has too many slots"));
        };
        let name = map.name.as_str();
        let linkage = Linkage::Global;
        let variable = descriptions.builder.add_var(name, type_id, linkage);
        variables.push((variable, offset, size));
        places.push(Described {
            offset,
            size,
            values,
            linkage,
        });
        offset = end;
    }
    descriptions
        .builder
        .add_datasec(SECTION, offset, &variables);
    Ok(places)
}

/// Writes the maps that bytes describe.
fn legacy(
    spec: &Spec,
    maps: &[(MapId, &MapSpec)],
    writer: &mut Writer,
    named: &mut HashMap<MapId, Named>,
) -> Result<(), WriteError> {
    let mut sections: Vec<(&str, Vec<u8>)> = Vec::new();
    let mut places = Vec::new();
    for (id, map) in maps {
        let more = map.inner.is_some()
            || !map.slots.is_empty()
            || map.initial.is_some()
            || (map.extra, map.numa_node) != (0, 0);
        if more {
            return Err(refuse(map, "bytes of its form do not say all of it"));
        }
        let found = sections.iter().position(|(name, _)| *name == map.section);
        let at = found.unwrap_or_else(|| {
            sections.push((&map.section, Vec::new()));
            sections.len() - 1
        });
        let bytes = &mut sections[at].1;
        let start = bytes.len() as u32;
        let mut words = vec![
            map.kind as u32,
            map.key_size,
            map.value_size,
            map.max_entries,
            map.flags,
        ];
        // iproute2's form: no number of its own, pinned for all, in no other map.
        if map.pinning == Pinning::ByName {
            words.extend([0, 2, 0, u32::MAX]);
        }
        bytes.extend(words.iter().flat_map(|word| match spec.byte_order {
            ByteOrder::Little => word.to_le_bytes(),
            ByteOrder::Big => word.to_be_bytes(),
        }));
        places.push((*id, map, at, (start, words.len() as u32 * 4)));
    }
    let indices: Vec<SectionIndex> = sections
        .into_iter()
        .map(|(name, bytes)| writer.data(name, bytes))
        .collect();
    for (id, map, at, place) in places {
        let symbol = writer.symbol(variable(&map.name, indices[at], place, Linkage::Global));
        named.entry(id).or_default().own = Some(symbol);
    }
    Ok(())
}

/// Writes the tables of functions.
fn tables(
    maps: &[(MapId, &MapSpec)],
    known: &Known<'_>,
    programs: &[Option<SymbolIndex>],
    writer: &mut Writer,
) -> Result<(), WriteError> {
    let mut sections: Vec<(String, Vec<u8>)> = Vec::new();
    let mut relocations = Vec::new();
    for (_, map) in maps {
        let Some(ops) = &map.struct_ops else {
            continue;
        };
        let name = match map.optional {
            true => format!("?{}", map.section),
            false => map.section.clone(),
        };
        let place = known.section(&name).and_then(|section| {
            let mut own = section.iter();
            own.find(|one| one.name == map.name && one.offset <= LARGEST)
        });
        let place = place.ok_or_else(|| refuse(map, "no type says where its table is"))?;
        let found = sections.iter().position(|(other, _)| *other == name);
        let at = found.unwrap_or_else(|| {
            sections.push((name, Vec::new()));
            sections.len() - 1
        });
        let bytes = &mut sections[at].1;
        let start = place.offset as usize;
        if bytes.len() < start + ops.data.len() {
            bytes.resize(start + ops.data.len(), 0);
        }
        bytes[start..start + ops.data.len()].copy_from_slice(&ops.data);
        let table = known
            .types
            .and_then(|types| types.composite(TypeId(ops.type_id)));
        for member in &ops.programs {
            let offset = table.and_then(|table| {
                let mut members = table.members();
                members.find(|one| one.name == member.name)
            });
            let offset = offset.map(|one| u64::from(one.bit_offset / 8));
            let symbol = programs.get(member.program.0 as usize).copied().flatten();
            let (Some(offset), Some(symbol)) = (offset, symbol) else {
                return Err(refuse(
                    map,
                    "a member of its table is of nothing in the object",
                ));
            };
            relocations.push((at, u64::from(place.offset) + offset, symbol));
        }
    }
    let indices: Vec<SectionIndex> = sections
        .into_iter()
        .map(|(name, bytes)| writer.data(&name, bytes))
        .collect();
    for (at, offset, symbol) in relocations {
        writer.relocation(indices[at], offset, symbol, R_BPF_64_ABS64);
    }
    Ok(())
}

/// Writes a section of data with its variables; gives the section's symbol.
fn section_of_data(
    map: &MapSpec,
    name: &str,
    own: &[&Variable],
    known: &Known<'_>,
    writer: &mut Writer,
    builder: &mut Builder,
) -> Result<SymbolIndex, WriteError> {
    let arena = map.kind == MapKind::Arena;
    if !arena && (map.kind != MapKind::Array || map.max_entries != 1) {
        return Err(refuse(map, "a section of data is an array of one entry"));
    }
    let mut bytes = map.initial.clone().unwrap_or_default();
    let size = match arena {
        true => own.iter().map(|v| v.offset.saturating_add(v.size)).max(),
        false => Some(map.value_size),
    };
    let size = size
        .unwrap_or(0)
        .max(if arena { bytes.len() as u32 } else { 0 });
    if bytes.len() > size as usize {
        return Err(refuse(map, "it has more bytes than its value"));
    }
    let flags = match map.frozen {
        true => SHF_ALLOC,
        false => SHF_ALLOC | SHF_WRITE,
    };
    let zeros = map.initial.is_none() && (arena || name == ".bss" || name.starts_with(".bss."));
    let section = if zeros {
        writer.zeros_with(name, flags, size.into())
    } else {
        if size as usize - bytes.len() > LARGEST as usize {
            return Err(refuse(map, "it has too many zeros"));
        }
        bytes.resize(size as usize, 0);
        writer.section(name, SHT_PROGBITS, flags, bytes)
    };
    let kept = known.section(name);
    let mut variables = Vec::new();
    for (at, one) in own.iter().enumerate() {
        let place = (one.offset, one.size);
        let linkage = kept.and_then(|kept| kept.get(at)).map(|one| one.linkage);
        let linkage = linkage.unwrap_or(Linkage::Global);
        writer.symbol(variable(&one.name, section, place, linkage));
        if kept.is_none() && one.type_id != 0 {
            let type_id = TypeId(one.type_id);
            let added = builder.add_var(&one.name, type_id, linkage);
            variables.push((added, one.offset, one.size));
        }
    }
    if kept.is_none() && !variables.is_empty() {
        builder.add_datasec(name, size, &variables);
    }
    Ok(writer.symbol(Symbol {
        name: "",
        kind: SymbolKind::Section,
        binding: Binding::Local,
        hidden: false,
        place: Place::Section(section),
        value: 0,
        size: 0,
    }))
}

/// Makes the types that describe maps.
struct Descriptions<'a> {
    builder: &'a mut Builder,
    int: TypeId,
    numbers: HashMap<u32, TypeId>,
}

impl<'a> Descriptions<'a> {
    fn new(builder: &'a mut Builder) -> Descriptions<'a> {
        let int = builder.add_int("int", 4, Encoding::Signed);
        Descriptions {
            builder,
            int,
            numbers: HashMap::new(),
        }
    }

    /// `__uint(name, value)`: a pointer to an array of that length.
    fn number(&mut self, value: u32) -> TypeId {
        if let Some(id) = self.numbers.get(&value) {
            return *id;
        }
        let array = self.builder.add_array(self.int, self.int, value);
        let id = self.builder.add_ptr(array);
        self.numbers.insert(value, id);
        id
    }

    fn number_or_none(&mut self, value: u32) -> Option<TypeId> {
        (value != 0).then(|| self.number(value))
    }

    /// Gives the description of a map, and its size in bytes without slots.
    fn describe(&mut self, map: &MapSpec, inner: bool) -> Result<(TypeId, u32), WriteError> {
        let refuse = |why| refuse(map, why);
        let holds = matches!(map.kind, MapKind::ArrayOfMaps | MapKind::HashOfMaps);
        if inner && (map.inner.is_some() || !map.slots.is_empty()) {
            return Err(refuse("it holds maps, and is in another itself"));
        }
        if map.inner.is_some() && !holds {
            return Err(refuse("a map of its type holds no maps"));
        }
        if map.initial.is_some() && map.kind != MapKind::Arena {
            return Err(refuse("it has contents, and no section for them"));
        }
        let extra = match u32::try_from(map.extra) {
            Ok(extra) => self.number_or_none(extra),
            Err(_) => {
                let value = map.extra as i64;
                Some(self.builder.add_enum64("", &[("value", value)]))
            }
        };
        let pinning = u32::from(map.pinning == Pinning::ByName);
        let mut members = vec![("type", self.number(map.kind as u32))];
        let numbers = [
            ("max_entries", map.max_entries),
            ("map_flags", map.flags),
            ("numa_node", map.numa_node),
            ("pinning", pinning),
        ];
        for (name, value) in numbers {
            members.extend(self.number_or_none(value).map(|id| (name, id)));
        }
        members.extend(extra.map(|id| ("map_extra", id)));
        let types = [
            ("key", "key_size", map.key_type, map.key_size),
            ("value", "value_size", map.value_type, map.value_size),
        ];
        for (name, sized, type_id, size) in types {
            match (type_id, size) {
                (0, 0) => {}
                (0, size) => members.push((sized, self.number(size))),
                (id, _) => members.push((name, self.builder.add_ptr(TypeId(id)))),
            }
        }
        let size = members.len() as u32 * 8;
        let of = match &map.inner {
            Some(inner) => Some(self.describe(inner, true)?.0),
            None if map.kind == MapKind::ProgArray && !map.slots.is_empty() => {
                Some(self.builder.add_func_proto(self.int, &[]))
            }
            None if holds && !map.slots.is_empty() => {
                return Err(refuse("it holds maps that nothing describes"));
            }
            None => None,
        };
        if let Some(of) = of {
            let pointer = self.builder.add_ptr(of);
            members.push(("values", self.builder.add_array(pointer, self.int, 0)));
        }
        let members: Vec<NewMember<'_>> = (0..)
            .step_by(64)
            .zip(&members)
            .map(|(offset, (name, id))| NewMember::new(name, *id, offset))
            .collect();
        Ok((self.builder.add_struct("", size, &members), size))
    }
}
