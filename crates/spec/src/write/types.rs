//! Which of a spec's types describe its maps and variables as they are, and what the target defines.

use std::collections::{HashMap, HashSet};

use kscope_btf::write::Builder;
use kscope_btf::{Btf, DataSec, Endian, Kind, Linkage, Type, TypeId, essential_name};

use super::WriteError;
use super::maps::is_described;
use crate::elf::write::Writer;
use crate::elf::{Binding, Place, Symbol, SymbolIndex, SymbolKind};
use crate::object::{ExternKind, MapId, MapSpec, Spec, Variable};
use crate::read::maps::{SECTION as MAPS, described};

/// Section of build options.
const KCONFIG: &str = ".kconfig";

/// A variable of a section of types.
#[derive(Clone, Copy, Debug)]
pub(super) struct KnownVariable<'t> {
    pub(super) name: &'t str,
    pub(super) to: TypeId,
    pub(super) offset: u32,
    pub(super) size: u32,
    pub(super) linkage: Linkage,
}

/// Sections of the spec's types that say of its maps and variables what the spec says.
#[derive(Default)]
pub(super) struct Known<'t> {
    pub(super) types: Option<&'t Btf>,
    kept: HashMap<&'t str, Vec<KnownVariable<'t>>>,
    /// Those that say something else.
    left_out: HashSet<TypeId>,
    /// The spec's variables, by the numbers of their maps.
    variables: Vec<Vec<&'t Variable>>,
}

impl<'t> Known<'t> {
    pub(super) fn of(spec: &'t Spec, types: Option<&'t Btf>) -> Known<'t> {
        let mut known = Known {
            types,
            variables: vec![Vec::new(); spec.maps.len()],
            ..Known::default()
        };
        for variable in &spec.variables {
            if let Some(list) = known.variables.get_mut(variable.map.0 as usize) {
                list.push(variable);
            }
        }
        let Some(types) = types else {
            return known;
        };
        let described: Vec<&MapSpec> = spec.maps.iter().filter(|map| is_described(map)).collect();
        let mut sections: HashMap<&str, MapId> = HashMap::new();
        for (id, map) in (0..).map(MapId).zip(&spec.maps) {
            sections.entry(&map.section).or_insert(id);
        }
        for id in types.own_ids() {
            let Some(Type::DataSec(section)) = types.get(id) else {
                continue;
            };
            let variables = variables(types, section);
            let first = !known.kept.contains_key(section.name);
            let says = match (section.name, sections.get(section.name)) {
                (MAPS, _) => says_maps(types, &described, &variables),
                (name, Some(&id)) => says_data(spec, name, id, known.variables_of(id), &variables),
                (_, None) => true,
            };
            match first && says {
                true => drop(known.kept.insert(section.name, variables)),
                false => drop(known.left_out.insert(id)),
            }
        }
        known
    }

    /// Gives the spec's variables of a map.
    pub(super) fn variables_of(&self, map: MapId) -> &[&'t Variable] {
        self.variables
            .get(map.0 as usize)
            .map_or(&[], Vec::as_slice)
    }

    /// Gives the variables of a section that is kept.
    pub(super) fn section(&self, name: &str) -> Option<&[KnownVariable<'t>]> {
        self.kept.get(name).map(Vec::as_slice)
    }

    /// Begins with the spec's own types, under their numbers.
    pub(super) fn copied(&self, types: &Btf) -> Builder {
        let mut builder = Builder::with_strings_of(types);
        for id in types.own_ids() {
            match self.left_out.contains(&id) {
                true => builder.add_ptr(TypeId::VOID),
                false => builder.copy(types, id),
            };
        }
        builder
    }

    /// Writes the symbols of what the target defines.
    pub(super) fn externs(
        &self,
        spec: &Spec,
        writer: &mut Writer,
    ) -> Result<Vec<SymbolIndex>, WriteError> {
        let mut symbols = Vec::with_capacity(spec.externs.len());
        let names = self.declared();
        for one in &spec.externs {
            let is_config = matches!(one.kind, ExternKind::Config { .. });
            let name = match one.kind {
                ExternKind::Undefined => Some(one.name.as_str()),
                _ => names.get(&(is_config, one.name.as_str())).copied(),
            };
            let name = name.ok_or_else(|| WriteError::Extern {
                name: one.name.clone(),
            })?;
            symbols.push(writer.symbol(Symbol {
                name,
                kind: SymbolKind::None,
                binding: match one.weak {
                    true => Binding::Weak,
                    false => Binding::Global,
                },
                hidden: false,
                place: Place::Undefined,
                value: 0,
                size: 0,
            }));
        }
        Ok(symbols)
    }

    /// Gives the full names of what is declared, by whether it is an option and the name.
    fn declared(&self) -> HashMap<(bool, &'t str), &'t str> {
        let mut names = HashMap::new();
        let Some(types) = self.types else {
            return names;
        };
        for id in types.own_ids() {
            let Some(Type::DataSec(section)) = types.get(id) else {
                continue;
            };
            let is_config = section.name == KCONFIG;
            if !is_config && section.name != ".ksyms" {
                continue;
            }
            for var in section.vars() {
                let name = types.name(var.type_id).unwrap_or_default();
                let short = if is_config {
                    name
                } else {
                    essential_name(name)
                };
                names.entry((is_config, short)).or_insert(name);
            }
        }
        names
    }
}

fn variables<'t>(types: &'t Btf, section: DataSec<'t>) -> Vec<KnownVariable<'t>> {
    let all = section
        .vars()
        .filter_map(|var| match types.get(var.type_id) {
            Some(Type::Var { name, to, linkage }) => Some(KnownVariable {
                name,
                to,
                offset: var.offset,
                size: var.size,
                linkage,
            }),
            _ => None,
        });
    all.collect()
}

/// Tells whether the section of descriptions says of the maps what the spec says.
fn says_maps(types: &Btf, maps: &[&MapSpec], variables: &[KnownVariable<'_>]) -> bool {
    let own = variables.iter().filter(|v| v.linkage != Linkage::Extern);
    own.clone().count() == maps.len()
        && own.zip(maps).all(|(variable, map)| {
            variable.name == map.name
                && described(types, variable.to).is_ok_and(|found| is_same(&found, map))
        })
}

/// Tells whether another section says of the variables of its map what the spec says.
fn says_data(
    spec: &Spec,
    name: &str,
    map: MapId,
    own: &[&Variable],
    variables: &[KnownVariable<'_>],
) -> bool {
    let is_bytes = name == "maps" || name.starts_with("maps/");
    let is_table = |map: &MapSpec| map.struct_ops.is_some();
    if is_bytes || name == KCONFIG || spec.maps.get(map.0 as usize).is_some_and(is_table) {
        return true;
    }
    own.len() == variables.len()
        && own.iter().zip(variables).all(|(one, other)| {
            one.name == other.name
                && (one.offset, one.size) == (other.offset, other.size)
                && one.type_id == other.to.0
        })
}

/// Tells whether a description is that of a map.
fn is_same(found: &MapSpec, map: &MapSpec) -> bool {
    let inner = match (&found.inner, &map.inner) {
        (Some(one), Some(two)) => is_same(one, two),
        (None, None) => true,
        _ => false,
    };
    let what = |map: &MapSpec| {
        let sizes = (map.key_size, map.value_size, map.max_entries);
        let types = (map.key_type, map.value_type);
        (
            map.kind,
            sizes,
            types,
            map.flags,
            map.extra,
            map.numa_node,
            map.pinning,
        )
    };
    inner && what(found) == what(map)
}

/// Has what the target fills in declared as compilers declare it: reading gives it a place, and
/// makes it the object's own.
pub(super) fn as_declared(blob: Vec<u8>) -> Vec<u8> {
    // Size in bytes of a type's header.
    const HEADER: usize = 12;
    let Ok(types) = Btf::parse(blob.clone()) else {
        return blob;
    };
    let section = types
        .find(KCONFIG, Kind::DataSec)
        .and_then(|id| types.get(id));
    let Some(Type::DataSec(section)) = section else {
        return blob;
    };
    let mut blob = blob;
    let word = Linkage::Extern.number();
    let word = match types.endian() {
        Endian::Little => word.to_le_bytes(),
        Endian::Big => word.to_be_bytes(),
    };
    for var in section.vars() {
        if types.kind(var.type_id) != Some(Kind::Var) {
            continue;
        }
        let at = types.offset_of(var.type_id) + HEADER;
        if let Some(place) = blob.get_mut(at..).and_then(<[u8]>::first_chunk_mut) {
            *place = word;
        }
    }
    blob
}
