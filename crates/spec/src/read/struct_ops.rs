//! Tables of functions for the kernel to call: `.struct_ops`, `.struct_ops.link`.

use kscope_btf::{Composite, Type, TypeId, essential_name};

use super::budget::Budget;
use super::error::ReadError;
use super::programs::Programs;
use super::why::Why;
use super::{Maps, Object, types};
use crate::elf::{Relocation, SectionIndex};
use crate::object::{AttachKind, MapKind, MapSpec, ProgramType, StructOps, StructOpsMember};
use crate::table::Table;

/// The sections, without and with a link, and those that are left out unless asked for.
const SECTIONS: [&str; 4] = [
    ".struct_ops",
    ".struct_ops.link",
    "?.struct_ops",
    "?.struct_ops.link",
];
/// Creation flag: a link attaches it (`BPF_F_LINK`).
const LINK: u32 = 1 << 13;

fn is_table(name: &str) -> bool {
    SECTIONS.contains(&name)
}

/// Adds a map for each variable of these sections.
pub(super) fn read(
    object: &Object<'_>,
    maps: &mut Maps,
    budget: &mut Budget,
) -> Result<(), ReadError> {
    let Some(types) = &object.types else {
        return Ok(());
    };
    for (index, section) in object.elf.indexed() {
        if !is_table(section.name) {
            continue;
        }
        let Some((_, variables)) = types::section(types, section.name) else {
            continue;
        };
        budget.take(variables.vars().len() * types::VARIABLE, "maps")?;
        let kept = section.name.trim_start_matches('?');
        let link = kept == ".struct_ops.link";
        for var in variables.vars() {
            let Some(Type::Var { name, to, .. }) = types.get(var.type_id) else {
                continue;
            };
            budget.take(name.len().saturating_add(64), "maps")?;
            let mut map = MapSpec {
                name: name.to_owned(),
                kind: MapKind::StructOps,
                key_size: 4,
                max_entries: 1,
                flags: if link { LINK } else { 0 },
                section: kept.to_owned(),
                optional: section.name.starts_with('?'),
                ..MapSpec::default()
            };
            match types.resolve(to).map(|id| (id, types.get(id))) {
                Some((id, Some(Type::Struct(table)))) if !table.name.is_empty() => {
                    map.value_type = id.0;
                    map.value_size = table.size;
                    let start = var.offset as usize;
                    let end = start.checked_add(table.size as usize);
                    match end.and_then(|end| section.data.get(start..end)) {
                        Some(data) => {
                            budget.take(data.len(), "tables of functions")?;
                            map.struct_ops = Some(StructOps {
                                type_name: essential_name(table.name).to_owned(),
                                type_id: id.0,
                                data: data.to_vec(),
                                programs: Vec::new(),
                                link,
                            });
                        }
                        None => {
                            let why = Why::MapPlace {
                                section: section.name.to_owned(),
                                offset: var.offset,
                            };
                            map.refused = Some(why.to_string());
                        }
                    }
                }
                _ => map.refused = Some(Why::OpsType.to_string()),
            }
            let id = maps.add(map);
            maps.described.get_or((index, var.offset.into()), || id);
        }
    }
    Ok(())
}

/// Finds the programs that are members of the tables, and tells them so.
pub(super) fn members(object: &Object<'_>, maps: &mut Maps, programs: &mut Programs) {
    let Some(types) = &object.types else {
        return;
    };
    let all = maps.places();
    for (index, section) in object.elf.indexed() {
        let Some(places) = all.get(&index).filter(|_| is_table(section.name)) else {
            continue;
        };
        let mut tables: Table<TypeId, Table<u64, (&str, TypeId)>> = Table::default();
        for relocation in object.relocations.of(index) {
            let after = places.partition_point(|(offset, _)| *offset <= relocation.offset);
            let Some(&(offset, id)) = after.checked_sub(1).and_then(|at| places.get(at)) else {
                continue;
            };
            let Some(map) = maps.get_mut(id) else {
                continue;
            };
            let Some(ops) = &mut map.struct_ops else {
                continue;
            };
            let table = TypeId(ops.type_id);
            let functions = tables.get_or(table, || match types.get(table) {
                Some(Type::Struct(table)) => by_offset(table),
                _ => Table::default(),
            });
            let at = relocation.offset - offset;
            let found =
                functions.and_then(|functions| functions.get(&at.saturating_mul(8)).copied());
            let found = found.ok_or_else(|| Why::OpsMember {
                section: section.name.to_owned(),
                offset: relocation.offset,
            });
            let found = found.and_then(|(name, ty)| {
                let to = types.pointee(ty);
                if to.is_none_or(|to| !super::externs::is_prototype(types, to)) {
                    return Err(Why::OpsNotFunction {
                        member: name.to_owned(),
                    });
                }
                member(object, index, relocation, name, ops, programs)
            });
            match found {
                Ok(found) => ops.programs.push(found),
                Err(why) => {
                    map.refused.get_or_insert_with(|| why.to_string());
                }
            }
        }
    }
}

/// Gives the members by their offsets in bits.
fn by_offset(table: Composite<'_>) -> Table<u64, (&str, TypeId)> {
    let mut members = Table::default();
    for member in table.members() {
        members.get_or(u64::from(member.bit_offset), || {
            (member.name, member.type_id)
        });
    }
    members
}

fn member(
    object: &Object<'_>,
    index: SectionIndex,
    relocation: &Relocation,
    name: &str,
    ops: &StructOps,
    programs: &mut Programs,
) -> Result<StructOpsMember, Why> {
    let symbol = object.elf.symbol(relocation.symbol);
    let missing = || Why::OpsNoProgram {
        member: name.to_owned(),
        symbol: symbol.map_or("?", |s| object.elf.symbol_name(s)).to_owned(),
    };
    let place = super::slots::target(object, index, relocation).ok_or_else(missing)?;
    let id = *programs.ids.get(&place).ok_or_else(missing)?;
    let program = programs.list.get_mut(id.0 as usize).ok_or_else(missing)?;
    if program.kind != ProgramType::StructOps {
        return Err(Why::OpsSection {
            member: name.to_owned(),
            program: program.name.clone(),
            section: program.section.clone(),
        });
    }
    let attach = AttachKind::StructOps {
        type_name: ops.type_name.clone(),
        member: name.to_owned(),
    };
    match &program.attach {
        AttachKind::StructOps { type_name, member } if program.attach != attach => {
            return Err(Why::OpsReused {
                program: program.name.clone(),
                type_name: type_name.clone(),
                member: member.clone(),
            });
        }
        _ => program.attach = attach,
    }
    Ok(StructOpsMember {
        name: name.to_owned(),
        program: id,
    })
}
