//! An object's types, made fit for a kernel.
//!
//! Compilers leave in them what no kernel takes (functions and variables that are elsewhere,
//! sections without sizes), and kinds of types that some kernels do not know. Each is replaced by
//! something harmless of the same number, so that nothing that refers to a type changes.

use kscope_btf::write::Builder;
use kscope_btf::{Btf, DataSec, Encoding, Kind, Linkage, Type, TypeId};
use kscope_spec::order::order;
use kscope_spec::{MapId, MapKind, MapSpec, Spec, Variable};
use kscope_sys::{BtfLoad, Kernel};

/// Which younger kinds of types a kernel takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Takes {
    /// Floating-point numbers (5.13).
    float: bool,
    /// Tags on declarations (5.16).
    decl_tag: bool,
    /// Tags on types (5.17).
    type_tag: bool,
    /// Tags whose text is an attribute itself (6.15).
    attribute: bool,
    /// Enumerations with a sign or of 64 bits (6.0).
    enum64: bool,
}

impl Takes {
    pub(crate) fn everything() -> Takes {
        Takes {
            float: true,
            decl_tag: true,
            type_tag: true,
            attribute: true,
            enum64: true,
        }
    }

    /// Tries out the kinds that `local` has.
    pub(crate) fn probe(kernel: &dyn Kernel, local: &Btf) -> Takes {
        let has = |wanted: &[Kind]| {
            let mut kinds = local.own_ids().filter_map(|id| local.kind(id));
            kinds.any(|kind| wanted.contains(&kind))
        };
        let takes = |add: &dyn Fn(&mut Builder)| {
            let mut builder = Builder::with_endian(local.endian());
            builder.add_int("int", 4, Encoding::Signed);
            add(&mut builder);
            let bytes = &builder.finish();
            let load = BtfLoad {
                bytes,
                token: None,
                log: None,
            };
            kernel.btf_load(load).is_ok()
        };
        let probe = |kinds: &[Kind], add: &dyn Fn(&mut Builder)| !has(kinds) || takes(add);
        let int = TypeId(1);
        Takes {
            float: probe(&[Kind::Float], &|b| {
                b.add_float("float", 4);
            }),
            decl_tag: probe(&[Kind::DeclTag], &|b| {
                let name = b.add_typedef("t", int);
                b.add_decl_tag("tag", name, None);
            }),
            type_tag: probe(&[Kind::TypeTag], &|b| {
                let tagged = b.add_type_tag("tag", int);
                b.add_ptr(tagged);
            }),
            attribute: !local.own_ids().any(|id| is_attribute(local, id))
                || takes(&|b| {
                    let tagged = b.add_type_attribute("tag", int);
                    b.add_ptr(tagged);
                }),
            enum64: probe(&[Kind::Enum, Kind::Enum64], &|b| {
                b.add_enum("e", 4, &[("negative", -1)]);
                b.add_enum64("e64", &[("one", 1)]);
            }),
        }
    }
}

/// Begins a blob with the types of `local`; gives the functions that were kept as well, ascending.
#[inline(never)]
pub(super) fn fit(local: &Btf, spec: &Spec, takes: &Takes) -> (Builder, Vec<TypeId>) {
    let mut builder = Builder::with_strings_of(local);
    let mut functions = Vec::new();
    let sections = Sections::of(spec);
    for id in local.own_ids() {
        let is_taken = takes.attribute || !is_attribute(local, id);
        match local.get(id) {
            Some(Type::Func { proto, .. })
                if is_defined(local, id) && local.kind(proto) == Some(Kind::FuncProto) =>
            {
                functions.push(id);
                builder.copy(local, id)
            }
            Some(Type::Var { .. }) if is_defined(local, id) => builder.copy(local, id),
            Some(Type::DeclTag { to, .. })
                if takes.decl_tag && is_taken && is_defined(local, to) =>
            {
                builder.copy(local, id)
            }
            Some(Type::Func { .. } | Type::Var { .. } | Type::DeclTag { .. }) => {
                placeholder(&mut builder)
            }
            Some(Type::DataSec(section)) => data_section(local, &sections, &section, &mut builder),
            Some(Type::Float { name, size }) if !takes.float => builder.add_struct(name, size, &[]),
            Some(Type::TypeTag { to, .. }) if !takes.type_tag || !is_taken => builder.add_const(to),
            // Declared, never defined.
            Some(Type::Enum(e)) if !matches!(e.size, 1 | 2 | 4 | 8) => {
                builder.add_int(e.name, 4, encoding(e.signed))
            }
            Some(Type::Enum(e)) if !takes.enum64 && e.size == 8 => {
                builder.add_int(e.name, 8, encoding(e.signed))
            }
            Some(Type::Enum(e)) if !takes.enum64 && e.signed => unsigned(&mut builder, &e),
            Some(Type::Other { .. }) | None => placeholder(&mut builder),
            Some(_) => builder.copy(local, id),
        };
    }
    (builder, functions)
}

/// Something harmless that nothing refers to.
fn placeholder(builder: &mut Builder) -> TypeId {
    builder.add_ptr(TypeId::VOID)
}

/// Tells whether a type is a tag whose text is an attribute itself.
fn is_attribute(local: &Btf, id: TypeId) -> bool {
    matches!(
        local.get(id),
        Some(
            Type::DeclTag {
                attribute: true,
                ..
            } | Type::TypeTag {
                attribute: true,
                ..
            }
        )
    )
}

fn encoding(signed: bool) -> Encoding {
    if signed {
        Encoding::Signed
    } else {
        Encoding::Unsigned
    }
}

/// Tells whether a function or variable is the object's own; all else is.
fn is_defined(local: &Btf, id: TypeId) -> bool {
    match local.get(id) {
        Some(Type::Func { linkage, .. } | Type::Var { linkage, .. }) => {
            matches!(linkage, Linkage::Static | Linkage::Global)
        }
        Some(Type::DataSec(_)) | None => false,
        Some(_) => true,
    }
}

/// The same constants without a sign, which alone kernels before 6.0 take. Nothing is printed by
/// these names here.
fn unsigned(builder: &mut Builder, e: &kscope_btf::Enum<'_>) -> TypeId {
    let constants: Vec<(&str, i32)> = e
        .enumerators()
        .map(|c| (c.name, (c.value as u32 & 0x7fff_ffff) as i32))
        .collect();
    builder.add_enum(e.name, e.size, &constants)
}

/// The maps that sections of variables become, by section, and the variables by map.
struct Sections<'s> {
    spec: &'s Spec,
    maps: Vec<usize>,
    variables: Vec<usize>,
}

impl<'s> Sections<'s> {
    fn of(spec: &'s Spec) -> Sections<'s> {
        let (maps, variables) = (&spec.maps, &spec.variables);
        let mut by_section = order(maps.len(), &|one, other| {
            maps[one].section.cmp(&maps[other].section)
        });
        by_section.retain(|&at| maps[at].kind == MapKind::Array && maps[at].key_size == 4);
        Sections {
            spec,
            maps: by_section,
            variables: order(variables.len(), &|one, other| {
                variables[one].map.cmp(&variables[other].map)
            }),
        }
    }

    /// Gives the map of a section and its variables.
    fn find(&self, section: &str) -> Option<(&'s MapSpec, Vec<&'s Variable>)> {
        let (maps, variables) = (&self.spec.maps, &self.spec.variables);
        let first = |at: &usize| maps[*at].section.as_str() < section;
        let at = *self.maps.get(self.maps.partition_point(first))?;
        let map = maps.get(at).filter(|map| map.section == section)?;
        let id = MapId(u32::try_from(at).unwrap_or(u32::MAX));
        let first = self.variables.partition_point(|&at| variables[at].map < id);
        let own = self.variables.get(first..)?;
        let own = own.iter().map(|&at| &variables[at]);
        Some((map, own.take_while(|variable| variable.map == id).collect()))
    }
}

/// A section of variables, with the sizes that a compiler leaves to the linker; one that becomes no
/// map is left out, and of more than 65,535 variables, which no kernel before 7.2 takes, none is told.
fn data_section(
    local: &Btf,
    sections: &Sections<'_>,
    section: &DataSec<'_>,
    builder: &mut Builder,
) -> TypeId {
    let Some((map, of_map)) = sections.find(section.name) else {
        return placeholder(builder);
    };
    let by_name = order(of_map.len(), &|one, other| {
        of_map[one].name.cmp(&of_map[other].name)
    });
    // Both are in the order of the section, but for variables without symbols.
    let mut next = 0;
    let mut unordered: Vec<(TypeId, u32, u32)> = Vec::new();
    for var in section.vars() {
        let Some(Type::Var { name, .. }) = local.get(var.type_id) else {
            continue;
        };
        let is_it = |known: &&&Variable| known.name == name;
        let known = of_map.get(next).filter(is_it).map(|known| (next, known));
        let known = known.or_else(|| {
            // The first of that name.
            let place = by_name.partition_point(|&at| of_map[at].name.as_str() < name);
            let at = *by_name.get(place)?;
            of_map.get(at).filter(is_it).map(|known| (at, known))
        });
        // A static variable may have no symbol; then the linker has said where it is, or none.
        let offset = match known {
            Some((at, known)) => {
                next = at + 1;
                known.offset
            }
            None if section.size == map.value_size => var.offset,
            None => continue,
        };
        if is_defined(local, var.type_id) {
            unordered.push((var.type_id, offset, var.size));
        }
    }
    let mut vars = Vec::with_capacity(unordered.len());
    for at in order(unordered.len(), &|one, other| {
        unordered[one].1.cmp(&unordered[other].1)
    }) {
        vars.push(unordered[at]);
    }
    let mut end = 0;
    vars.retain(|&(_, offset, size)| {
        let next = offset.checked_add(size);
        let fits = size != 0 && offset >= end && next.is_some_and(|next| next <= map.value_size);
        if fits {
            end = next.unwrap_or(end);
        }
        fits
    });
    if vars.is_empty() {
        return placeholder(builder);
    }
    builder.add_datasec(section.name, map.value_size, &vars)
}
