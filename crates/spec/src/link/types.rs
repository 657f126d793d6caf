//! Types of all objects in one, and what is said of their instructions.

use std::collections::HashMap;

use kscope_btf::ext::{CoreRecord, Ext, FuncRecord, LineRecord, Section};
use kscope_btf::merge::{Added, Merged, Merger};
use kscope_btf::{Btf, Endian, Linkage, Type, TypeId};

use super::LinkError;
use super::input::Input;
use super::sections::Layout;
use super::symbols::Resolved;
use crate::elf::{Binding, SymbolKind};
use crate::object::ByteOrder;
use crate::read::ReadError;

/// A variable in a section: its type, offset and size.
type Variable = (TypeId, u32, u32);

/// Gives the sections `.BTF` and `.BTF.ext`; none where no object has types.
pub(super) fn merge(
    inputs: &[Input<'_>],
    layout: &Layout<'_>,
    resolved: &Resolved,
) -> Result<Vec<(&'static str, Vec<u8>)>, LinkError> {
    let Some(first) = inputs.iter().find(|input| input.types.is_some()) else {
        return Ok(Vec::new());
    };
    let endian = match first.elf.order {
        ByteOrder::Little => Endian::Little,
        ByteOrder::Big => Endian::Big,
    };
    let mut merger = Merger::new(endian);
    let mut places: Vec<Option<Added>> = Vec::new();
    for input in inputs {
        let added = input.types.as_ref().map(|types| merger.add(types));
        places.push(added.transpose().map_err(|error| LinkError::Object {
            file: input.name.to_owned(),
            error: ReadError::Types(error),
        })?);
    }
    // Who declares a symbol means the one that defines it.
    for (input, added) in inputs.iter().zip(&places) {
        for (name, declared) in &input.declared {
            let meant = resolved.get(name).and_then(|global| {
                let added = places.get(global.input).copied().flatten()?;
                let id = inputs.get(global.input)?.declared.get(name)?.id;
                Some((added.of(id), global.is_extern))
            });
            if let (Some(added), Some((meant, is_extern))) = (added, meant) {
                merger.alias(added.of(declared.id), meant);
                if !is_extern {
                    merger.set_linkage(meant, Linkage::Global);
                }
            }
        }
    }
    for (name, size, variables) in sections(inputs, &places, layout, resolved, &mut merger) {
        merger.add_datasec(&name, size, &variables);
    }
    let mut merged = merger.deduplicate();
    let mut about = About::default();
    for (number, (input, added)) in inputs.iter().zip(&places).enumerate() {
        if let (Some(types), Some(added)) = (&input.types, added) {
            about.add((number, input, types), *added, layout, &mut merged)?;
        }
    }
    let ext = about.ext(&mut merged).to_bytes(endian);
    Ok(vec![(".BTF", merged.finish()), (".BTF.ext", ext)])
}

/// Takes the sections of variables out of the objects' types; gives those of the result, in the
/// order in which they are first met.
fn sections(
    inputs: &[Input<'_>],
    places: &[Option<Added>],
    layout: &Layout<'_>,
    resolved: &Resolved,
    merger: &mut Merger,
) -> Vec<(String, u32, Vec<Variable>)> {
    let mut order: Vec<String> = Vec::new();
    let mut sections: HashMap<String, Vec<Variable>> = HashMap::new();
    for (number, (input, added)) in inputs.iter().zip(places).enumerate() {
        let (Some(types), Some(added)) = (&input.types, added) else {
            continue;
        };
        let values = values(input);
        for id in types.own_ids() {
            let Some(Type::DataSec(section)) = types.get(id) else {
                continue;
            };
            merger.remove(added.of(id));
            let place = input
                .elf
                .named(section.name)
                .and_then(|(index, _)| layout.place(number, index));
            if place.is_some_and(|place| place.shared) {
                for var in section.vars() {
                    merger.remove(added.of(var.type_id));
                }
                continue;
            }
            let moved = place.map_or(0, |place| place.offset);
            let into = sections.entry(section.name.to_owned()).or_insert_with(|| {
                order.push(section.name.to_owned());
                Vec::new()
            });
            for var in section.vars() {
                let Some(Type::Var { name, linkage, .. } | Type::Func { name, linkage, .. }) =
                    types.get(var.type_id)
                else {
                    continue;
                };
                let meant = resolved.get(name).filter(|_| linkage != Linkage::Static);
                if meant.is_some_and(|global| global.input != number) {
                    continue;
                }
                // Compilers leave the place of what others see to the table of symbols.
                let offset = match (linkage, values.get(name)) {
                    (Linkage::Global, Some(&value)) if section.size == 0 => value,
                    (Linkage::Extern, _) => 0,
                    _ => var.offset.into(),
                };
                let moved = if linkage == Linkage::Extern { 0 } else { moved };
                let offset = u32::try_from(offset.saturating_add(moved)).unwrap_or(u32::MAX);
                into.push((added.of(var.type_id), offset, var.size));
            }
        }
    }
    let sized = order.into_iter().filter_map(|name| {
        let mut variables = sections.remove(&name)?;
        variables.sort_by_key(|(_, offset, _)| *offset);
        let size = layout.named(&name).map_or(0, |part| part.size);
        let size = u32::try_from(size).unwrap_or(u32::MAX);
        (!variables.is_empty()).then_some((name, size, variables))
    });
    sized.collect()
}

/// Gives where the variables are that others see.
fn values<'i>(input: &'i Input<'_>) -> HashMap<&'i str, u64> {
    let seen = input.elf.symbols.iter().filter(|symbol| {
        symbol.binding != Binding::Local
            && symbol.kind == SymbolKind::Object
            && symbol.section().is_some()
    });
    seen.map(|symbol| (symbol.name, symbol.value)).collect()
}

/// What is said of instructions, by the section that they are in.
#[derive(Default)]
struct About<'a> {
    order: Vec<&'a str>,
    funcs: HashMap<&'a str, Vec<FuncRecord>>,
    lines: HashMap<&'a str, Vec<LineRecord>>,
    core: HashMap<&'a str, Vec<CoreRecord>>,
}

impl<'a> About<'a> {
    fn add(
        &mut self,
        (number, input, types): (usize, &Input<'a>, &Btf),
        added: Added,
        layout: &Layout<'a>,
        merged: &mut Merged,
    ) -> Result<(), LinkError> {
        let malformed = |what| LinkError::Object {
            file: input.name.to_owned(),
            error: ReadError::Ext(kscope_btf::Error::Malformed { what, offset: 0 }),
        };
        let id = |merged: &Merged, id: TypeId| match id.0 < types.type_count() {
            true => Ok(merged.id(added.of(id))),
            false => Err(malformed("type of a record")),
        };
        let place = |name: u32| {
            let name = types.string(name)?;
            let (index, _) = input.elf.named(name)?;
            let place = layout.place(number, index)?;
            let moved = u32::try_from(place.offset).ok()?;
            Some((layout.list.get(place.part)?.name, moved))
        };
        let limit = merged.string_limit(types);
        let text = |merged: &mut Merged, offset: u32| {
            let place = merged.add_string(types.string(offset).unwrap_or_default());
            match merged.string_bytes() > limit {
                true => Err(malformed("texts, which overlap,")),
                false => Ok(place),
            }
        };
        let far = || malformed("place of a record");
        for section in &input.ext.funcs {
            let Some((name, moved)) = place(section.name) else {
                continue;
            };
            self.note(name);
            let into = self.funcs.entry(name).or_default();
            for record in &section.records {
                into.push(FuncRecord {
                    offset: record.offset.checked_add(moved).ok_or_else(far)?,
                    type_id: id(merged, record.type_id)?,
                });
            }
        }
        for section in &input.ext.lines {
            let Some((name, moved)) = place(section.name) else {
                continue;
            };
            self.note(name);
            let into = self.lines.entry(name).or_default();
            for record in &section.records {
                into.push(LineRecord {
                    offset: record.offset.checked_add(moved).ok_or_else(far)?,
                    file: text(merged, record.file)?,
                    text: text(merged, record.text)?,
                    ..*record
                });
            }
        }
        for section in &input.ext.core {
            let Some((name, moved)) = place(section.name) else {
                continue;
            };
            self.note(name);
            let into = self.core.entry(name).or_default();
            for record in &section.records {
                into.push(CoreRecord {
                    offset: record.offset.checked_add(moved).ok_or_else(far)?,
                    type_id: id(merged, record.type_id)?,
                    access: text(merged, record.access)?,
                    kind: record.kind,
                });
            }
        }
        Ok(())
    }

    fn note(&mut self, name: &'a str) {
        let known = self.funcs.contains_key(name)
            || self.lines.contains_key(name)
            || self.core.contains_key(name);
        if !known {
            self.order.push(name);
        }
    }

    fn ext(mut self, merged: &mut Merged) -> Ext {
        let mut ext = Ext::default();
        for name in self.order {
            let place = merged.add_string(name);
            ext.funcs.extend(section(place, self.funcs.remove(name)));
            ext.lines.extend(section(place, self.lines.remove(name)));
            ext.core.extend(section(place, self.core.remove(name)));
        }
        ext
    }
}

fn section<T>(name: u32, records: Option<Vec<T>>) -> Option<Section<T>> {
    records.map(|records| Section { name, records })
}
