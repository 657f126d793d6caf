//! Maps: described by types in `.maps`, or sections of data.

use std::collections::HashMap;

use kscope_btf::write::{Builder, NewMember};
use kscope_btf::{Encoding, Linkage, TypeId};

use super::WriteError;
use crate::elf::number::{SHF_ALLOC, SHF_WRITE, SHT_PROGBITS};
use crate::elf::write::Writer;
use crate::elf::{Binding, Place, SectionIndex, Symbol, SymbolIndex, SymbolKind};
use crate::object::{MapId, MapKind, MapSpec, Pinning, Spec, Variable};

const SECTION: &str = ".maps";

/// Writes the maps; gives the symbol by which instructions refer to each, and whether it is a
/// section of data.
pub(super) fn write(
    spec: &Spec,
    writer: &mut Writer,
    builder: &mut Builder,
) -> Result<HashMap<MapId, (SymbolIndex, bool)>, WriteError> {
    let mut symbols = HashMap::new();
    let (data, described): (Vec<_>, Vec<_>) = (0..)
        .map(MapId)
        .zip(&spec.maps)
        .partition(|(_, map)| is_data(map));
    if !described.is_empty() {
        let mut descriptions = Descriptions::new(builder);
        let mut variables = Vec::new();
        let mut offset = 0;
        for (_, map) in &described {
            let (type_id, size) = descriptions.describe(map)?;
            let name = map.name.as_str();
            let variable = descriptions.builder.add_var(name, type_id, Linkage::Global);
            variables.push((variable, offset, size));
            offset += size;
        }
        descriptions
            .builder
            .add_datasec(SECTION, offset, &variables);
        let flags = SHF_ALLOC | SHF_WRITE;
        let section = writer.section(SECTION, SHT_PROGBITS, flags, vec![0; offset as usize]);
        for ((id, map), (_, offset, size)) in described.iter().zip(variables) {
            let symbol = writer.symbol(variable(&map.name, section, offset, size));
            symbols.insert(*id, (symbol, false));
        }
    }
    for (id, map) in data {
        let symbol = section_of_data(spec, id, map, writer, builder)?;
        symbols.insert(id, (symbol, true));
    }
    Ok(symbols)
}

/// Tells whether a map is a section as a whole.
fn is_data(map: &MapSpec) -> bool {
    !matches!(map.section.as_str(), "" | SECTION)
}

fn variable(name: &str, section: SectionIndex, offset: u32, size: u32) -> Symbol<'_> {
    Symbol {
        name,
        kind: SymbolKind::Object,
        binding: Binding::Global,
        hidden: false,
        place: Place::Section(section),
        value: u64::from(offset),
        size: u64::from(size),
    }
}

/// Writes a section of data with its variables; gives the section's symbol.
fn section_of_data(
    spec: &Spec,
    id: MapId,
    map: &MapSpec,
    writer: &mut Writer,
    builder: &mut Builder,
) -> Result<SymbolIndex, WriteError> {
    let refuse = |why| WriteError::Map {
        name: map.name.clone(),
        why,
    };
    if map.kind != MapKind::Array || map.max_entries != 1 {
        return Err(refuse("a section of data is an array of one entry"));
    }
    let mut bytes = map.initial.clone().unwrap_or_default();
    if bytes.len() > map.value_size as usize {
        return Err(refuse("it has more bytes than its value"));
    }
    bytes.resize(map.value_size as usize, 0);
    let flags = match map.frozen {
        true => SHF_ALLOC,
        false => SHF_ALLOC | SHF_WRITE,
    };
    let section = writer.section(&map.section, SHT_PROGBITS, flags, bytes);
    let own: Vec<&Variable> = spec.variables.iter().filter(|v| v.map == id).collect();
    let mut variables = Vec::new();
    for one in own {
        writer.symbol(variable(&one.name, section, one.offset, one.size));
        let type_id = TypeId(one.type_id);
        let added = builder.add_var(&one.name, type_id, Linkage::Global);
        variables.push((added, one.offset, one.size));
    }
    builder.add_datasec(&map.section, map.value_size, &variables);
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

    /// Gives the description of a map, and its size in bytes.
    fn describe(&mut self, map: &MapSpec) -> Result<(TypeId, u32), WriteError> {
        let refuse = |why| WriteError::Map {
            name: map.name.clone(),
            why,
        };
        if map.inner.is_some() || !map.slots.is_empty() || map.struct_ops.is_some() {
            return Err(refuse("it holds other maps or programs"));
        }
        if map.initial.is_some() {
            return Err(refuse("it has contents, and no section for them"));
        }
        let extra = u32::try_from(map.extra).map_err(|_| refuse("its map_extra is large"))?;
        let pinning = u32::from(map.pinning == Pinning::ByName);
        let mut members = vec![("type", self.number(map.kind as u32))];
        let numbers = [
            ("max_entries", map.max_entries),
            ("map_flags", map.flags),
            ("numa_node", map.numa_node),
            ("map_extra", extra),
            ("pinning", pinning),
        ];
        for (name, value) in numbers {
            if value != 0 {
                members.push((name, self.number(value)));
            }
        }
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
        let members: Vec<NewMember<'_>> = (0..)
            .step_by(64)
            .zip(&members)
            .map(|(offset, (name, id))| NewMember::new(name, *id, offset))
            .collect();
        Ok((self.builder.add_struct("", size, &members), size))
    }
}
