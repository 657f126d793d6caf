//! Maps that types describe: the variables of section `.maps`.

use kscope_btf::{Btf, Composite, Linkage, Member, Type, TypeId};

use super::budget::Budget;
use super::error::ReadError;
use super::why::Why;
use super::{Maps, Object, types};
use crate::elf::{Section, SectionIndex, SymbolKind};
use crate::object::{MapKind, MapSpec, Pinning};

/// The section.
pub(crate) const SECTION: &str = ".maps";
/// Members of a description that are looked at.
const MEMBERS: usize = 64;
/// What a description's members are called.
const NAMES: [&str; 11] = [
    "type",
    "max_entries",
    "map_flags",
    "numa_node",
    "key_size",
    "key",
    "value_size",
    "value",
    "values",
    "pinning",
    "map_extra",
];

/// Adds the maps in order of their places.
pub(super) fn read(
    object: &Object<'_>,
    maps: &mut Maps,
    budget: &mut Budget,
) -> Result<(), ReadError> {
    let Some((index, section)) = object.elf.named(SECTION) else {
        return Ok(());
    };
    let described = object
        .types
        .as_ref()
        .and_then(|types| Some((types, types::section(types, SECTION)?.1)));
    let Some((types, variables)) = described else {
        return undescribed(object, index, maps, budget);
    };
    for var in variables.vars() {
        let Some(Type::Var { name, to, linkage }) = types.get(var.type_id) else {
            continue;
        };
        if linkage == Linkage::Extern {
            continue;
        }
        // All its bytes are looked at.
        let bytes = section.data.len().min(var.size as usize);
        let kept = name.len().saturating_add(64);
        budget.take(kept.saturating_add(bytes), "maps")?;
        let mut map = MapSpec {
            name: name.to_owned(),
            section: SECTION.to_owned(),
            ..MapSpec::default()
        };
        let place = (var.offset, var.size);
        let found = describe(types, to, place, &mut map);
        let zeros = only_zeros(object, index, section, place);
        let why = found.as_ref().err().or(zeros.as_ref().err());
        map.refused = why.map(ToString::to_string);
        let id = maps.add(map);
        if let Ok(Some(values)) = found {
            maps.values.insert(id, values);
        }
        maps.described.get_or((index, var.offset.into()), || id);
    }
    Ok(())
}

/// Adds the maps of an object without types, none of which can be made.
fn undescribed(
    object: &Object<'_>,
    index: SectionIndex,
    maps: &mut Maps,
    budget: &mut Budget,
) -> Result<(), ReadError> {
    for (_, symbol) in object.symbols(index) {
        if symbol.kind != SymbolKind::Object {
            continue;
        }
        budget.take(symbol.name.len().saturating_add(64), "maps")?;
        let id = maps.add(MapSpec {
            name: symbol.name.to_owned(),
            section: SECTION.to_owned(),
            refused: Some(Why::NoTypes.to_string()),
            ..MapSpec::default()
        });
        maps.described.get_or((index, symbol.value), || id);
    }
    Ok(())
}

fn describe(
    types: &Btf,
    to: TypeId,
    (offset, size): (u32, u32),
    map: &mut MapSpec,
) -> Result<Option<u64>, Why> {
    let Some(Type::Struct(description)) = types.get_resolved(to) else {
        return Err(Why::MapNotStruct);
    };
    if description.size > size {
        return Err(Why::MapPlace {
            section: SECTION.to_owned(),
            offset,
        });
    }
    members(types, description, map, false)
}

/// Reads the description of a map that a variable of this type is, wherever it stands.
///
/// # Errors
/// Why no map can be made of it.
#[cfg(any(feature = "link", feature = "write"))]
pub(crate) fn described(types: &Btf, to: TypeId) -> Result<MapSpec, String> {
    let mut map = MapSpec::default();
    let Some(Type::Struct(description)) = types.get_resolved(to) else {
        return Err(Why::MapNotStruct.to_string());
    };
    match members(types, description, &mut map, false) {
        Ok(_) => Ok(map),
        Err(why) => Err(why.to_string()),
    }
}

/// Reads a description into `map`; `inner` is that of the maps in another. Gives the offset in
/// bytes of `values`.
fn members(
    types: &Btf,
    description: Composite<'_>,
    map: &mut MapSpec,
    inner: bool,
) -> Result<Option<u64>, Why> {
    let count = description.len();
    if count > MEMBERS {
        return Err(Why::MapTooManyMembers(count));
    }
    let mut number = None;
    let mut place = None;
    for (index, member) in description.members().enumerate() {
        match member.name {
            "type" => {
                let value = int(types, member)?;
                number = Some(value);
                map.kind = MapKind::from_number(value).ok_or(Why::MapUnknownType(value))?;
            }
            "max_entries" => map.max_entries = int(types, member)?,
            "map_flags" => map.flags = int(types, member)?,
            "numa_node" => map.numa_node = int(types, member)?,
            "map_extra" => map.extra = long(types, member)?,
            "key_size" => {
                let size = int(types, member)?;
                set("key", &mut map.key_size, size.into())?;
            }
            "key" => {
                let (to, size) = pointed(types, member, "key")?;
                set("key", &mut map.key_size, size)?;
                map.key_type = to.0;
            }
            "value_size" => {
                let size = int(types, member)?;
                set("value", &mut map.value_size, size.into())?;
            }
            "value" => {
                let (to, size) = pointed(types, member, "value")?;
                set("value", &mut map.value_size, size)?;
                map.value_type = to.0;
            }
            "values" if inner => return Err(Why::MapInnerInInner),
            "values" if index + 1 != count => return Err(Why::MapValuesNotLast),
            "values" => {
                values(types, member, map)?;
                place = Some(u64::from(member.bit_offset / 8));
            }
            "pinning" if inner => return Err(Why::MapInnerPinned),
            "pinning" => {
                map.pinning = match int(types, member)? {
                    0 => Pinning::None,
                    1 => Pinning::ByName,
                    other => return Err(Why::MapPinning(other)),
                }
            }
            other => {
                return Err(Why::MapUnknownMember {
                    member: other.to_owned(),
                    near: kscope_btf::nearest(other, NAMES.into_iter(), 1)
                        .first()
                        .copied(),
                });
            }
        }
    }
    match number {
        None | Some(0) => Err(Why::MapNoType),
        Some(_) => Ok(place),
    }
}

/// Reads `__array(values, …)`.
fn values(types: &Btf, member: Member<'_>, map: &mut MapSpec) -> Result<(), Why> {
    let wrong = |expected| Why::MapMember {
        member: "values".to_owned(),
        expected,
    };
    let of_maps = matches!(map.kind, MapKind::ArrayOfMaps | MapKind::HashOfMaps);
    if !of_maps && map.kind != MapKind::ProgArray {
        return Err(Why::MapValuesKind(map.kind as u32));
    }
    set("value", &mut map.value_size, 4)?;
    let array = match types.get_resolved(member.type_id) {
        Some(Type::Array(array)) if array.len == 0 => array,
        _ => return Err(wrong("an array without length: use __array(values, …)")),
    };
    let to = types
        .pointee(array.element)
        .ok_or_else(|| wrong("an array of pointers: use __array(values, …)"))?;
    if !of_maps {
        return match super::externs::is_prototype(types, to) {
            true => Ok(()),
            false => Err(wrong("of functions, as an array of programs needs it")),
        };
    }
    let Some(Type::Struct(description)) = types.get_resolved(to) else {
        return Err(wrong("of structs that describe the maps in it"));
    };
    let mut inner = MapSpec {
        name: format!("{}.inner", map.name),
        section: SECTION.to_owned(),
        ..MapSpec::default()
    };
    members(types, description, &mut inner, true)?;
    map.inner = Some(Box::new(inner));
    Ok(())
}

/// Sets a size that may have been set before, to the same.
fn set(member: &'static str, size: &mut u32, found: u64) -> Result<(), Why> {
    let first = *size;
    match u32::try_from(found) {
        Ok(found) if first == 0 || first == found => {
            *size = found;
            Ok(())
        }
        _ => Err(Why::MapConflict {
            member,
            first,
            second: found,
        }),
    }
}

/// Reads `__uint(name, value)`: a pointer to an array of that length.
fn int(types: &Btf, member: Member<'_>) -> Result<u32, Why> {
    let to = types.pointee(member.type_id);
    match to.and_then(|to| types.get(to)) {
        Some(Type::Array(array)) => Ok(array.len),
        _ => Err(Why::MapMember {
            member: member.name.to_owned(),
            expected: "a number: use __uint(name, value)",
        }),
    }
}

/// Reads `__ulong(name, value)`: an enumeration of that constant; or `__uint`.
fn long(types: &Btf, member: Member<'_>) -> Result<u64, Why> {
    match types.get_resolved(member.type_id) {
        Some(Type::Enum(constants)) if constants.len() == 1 => {
            let first = constants.enumerators().next();
            Ok(first.map_or(0, |constant| constant.value as u64))
        }
        Some(Type::Enum(_)) => Err(Why::MapMember {
            member: member.name.to_owned(),
            expected: "one number: use __ulong(name, value)",
        }),
        _ => int(types, member).map(u64::from),
    }
}

/// Reads `__type(name, type)`: a pointer to it.
fn pointed(types: &Btf, member: Member<'_>, what: &'static str) -> Result<(TypeId, u64), Why> {
    let Some(Type::Ptr(to)) = types.get(member.type_id) else {
        return Err(Why::MapMember {
            member: member.name.to_owned(),
            expected: "a type: use __type(name, type)",
        });
    };
    let size = types.size_of(to);
    Ok((to, size.ok_or(Why::MapSizeUnknown { member: what })?))
}

/// Checks that nothing but `values` is given initial values.
fn only_zeros(
    object: &Object<'_>,
    index: SectionIndex,
    section: &Section<'_>,
    (offset, size): (u32, u32),
) -> Result<(), Why> {
    let start = offset as usize;
    let bytes = start
        .checked_add(size as usize)
        .and_then(|end| section.data.get(start..end))
        .ok_or_else(|| Why::MapPlace {
            section: SECTION.to_owned(),
            offset,
        })?;
    for (at, _) in bytes.iter().enumerate().filter(|(_, byte)| **byte != 0) {
        let at = (start + at) as u64;
        // Where there is a relocation, the bytes are its addend.
        let relocations = object.relocations.of(index);
        let near = relocations.partition_point(|relocation| relocation.offset <= at);
        let last = near.checked_sub(1).and_then(|near| relocations.get(near));
        if last.is_none_or(|last| at - last.offset >= 8) {
            return Err(Why::MapInitialised {
                section: SECTION.to_owned(),
                offset: at,
            });
        }
    }
    Ok(())
}
