//! Whether objects mean the same by a symbol.

use kscope_btf::{Btf, Kind, Linkage, Type, TypeId};

use super::LinkError;
use super::input::{Declared, Input};
use super::symbols::Global;
use crate::object::MapSpec;
use crate::read::maps::{self, SECTION as MAPS};

/// Deepest nesting of types compared.
const NESTING: u32 = 32;
/// Most types looked at for one symbol.
const TYPES: u32 = 1 << 16;
/// Where clang has what is declared and nowhere annotated.
const EXTERN: &str = ".extern";

/// Compares what an object says of a symbol with what the one says that it stands for.
pub(super) fn symbol(
    inputs: &[Input<'_>],
    name: &str,
    global: &Global,
    number: usize,
) -> Result<(), LinkError> {
    if global.input == number {
        return Ok(());
    }
    let (Some(first), Some(other)) = (inputs.get(global.input), inputs.get(number)) else {
        return Ok(());
    };
    let of = |input: &Input<'_>| input.declared.get(name).cloned();
    // Without types nothing is known.
    let (Some(main), Some(extra)) = (of(first), of(other)) else {
        return Ok(());
    };
    let (Some(types), Some(others)) = (&first.types, &other.types) else {
        return Ok(());
    };
    let same = match global.is_extern {
        true => sections(&main, &extra),
        false => Ok(()),
    };
    let is_map = main.section == MAPS;
    let same = same.and_then(|()| match is_map {
        true => described(types, main.id, others, extra.id),
        false => Comparison::new(types, others).types(main.id, extra.id, true, NESTING),
    });
    same.map_err(|what| LinkError::Mismatch {
        symbol: name.to_owned(),
        first: first.name.to_owned(),
        file: other.name.to_owned(),
        what,
    })
}

/// What the target defines is of one section alone.
fn sections(main: &Declared, extra: &Declared) -> Result<(), String> {
    let own = |declared: &Declared| match declared.section.as_str() {
        EXTERN => String::new(),
        other => other.to_owned(),
    };
    let (main, extra) = (own(main), own(extra));
    match main == extra {
        true => Ok(()),
        false => Err(format!("in section '{extra}', not '{main}'")),
    }
}

fn described(types: &Btf, main: TypeId, others: &Btf, extra: TypeId) -> Result<(), String> {
    let map = |types: &Btf, id| match types.get(id) {
        Some(Type::Var { to, .. }) => maps::described(types, to),
        _ => Err("it is no map".to_owned()),
    };
    let (main, extra) = (map(types, main)?, map(others, extra)?);
    map_specs(types, &main, others, &extra, "")
}

fn map_specs(
    types: &Btf,
    main: &MapSpec,
    others: &Btf,
    extra: &MapSpec,
    of: &str,
) -> Result<(), String> {
    let numbers = [
        ("type", main.kind as u64, extra.kind as u64),
        ("key_size", main.key_size.into(), extra.key_size.into()),
        (
            "value_size",
            main.value_size.into(),
            extra.value_size.into(),
        ),
        (
            "max_entries",
            main.max_entries.into(),
            extra.max_entries.into(),
        ),
        ("map_flags", main.flags.into(), extra.flags.into()),
        ("map_extra", main.extra, extra.extra),
        ("numa_node", main.numa_node.into(), extra.numa_node.into()),
        ("pinning", main.pinning as u64, extra.pinning as u64),
    ];
    for (what, main, extra) in numbers {
        if main != extra {
            return Err(format!("{of}{what} {extra}, not {main}"));
        }
    }
    let pairs = [
        ("key", main.key_type, extra.key_type),
        ("value", main.value_type, extra.value_type),
    ];
    for (what, main, extra) in pairs {
        match (main, extra) {
            (0, 0) => {}
            (0, _) | (_, 0) => {
                return Err(format!("{of}{what} has a type in one of them alone"));
            }
            (main, extra) => Comparison::new(types, others)
                .types(TypeId(main), TypeId(extra), true, NESTING)
                .map_err(|why| format!("{of}{what}: {why}"))?,
        }
    }
    match (&main.inner, &extra.inner) {
        (Some(main), Some(extra)) => map_specs(types, main, others, extra, "inner "),
        (None, None) => Ok(()),
        _ => Err("maps inside of it in one of them alone".to_owned()),
    }
}

/// Two objects' types side by side. Compatible is what differs in qualifiers, typedefs, the sign
/// of integers, constants of enumerations and names of parameters; behind pointers names are
/// enough.
struct Comparison<'t> {
    main: &'t Btf,
    extra: &'t Btf,
    left: u32,
}

impl<'t> Comparison<'t> {
    fn new(main: &'t Btf, extra: &'t Btf) -> Comparison<'t> {
        Comparison {
            main,
            extra,
            left: TYPES,
        }
    }

    fn types(&mut self, a: TypeId, b: TypeId, exact: bool, depth: u32) -> Result<(), String> {
        self.left = self.left.checked_sub(1).ok_or("it is too large")?;
        let depth = depth.checked_sub(1).ok_or("it is too deep")?;
        let (main, extra) = (self.main, self.extra);
        let (Some(one), Some(two)) = (main.get_resolved(a), extra.get_resolved(b)) else {
            return Err("a type that does not exist".to_owned());
        };
        let differs = || Err(format!("'{}', not '{}'", shown(extra, b), shown(main, a)));
        match (one, two) {
            (Type::Void, Type::Void) => Ok(()),
            (Type::Int(one), Type::Int(two)) if one.size == two.size => Ok(()),
            (Type::Float { size: one, .. }, Type::Float { size: two, .. }) if one == two => Ok(()),
            (Type::Enum(one), Type::Enum(two)) if (one.name, one.size) == (two.name, two.size) => {
                Ok(())
            }
            (
                Type::Fwd { name, is_union },
                Type::Fwd {
                    name: other,
                    is_union: union,
                },
            ) if (name, is_union) == (other, union) => Ok(()),
            (Type::Fwd { name, is_union }, Type::Struct(full) | Type::Union(full))
            | (Type::Struct(full) | Type::Union(full), Type::Fwd { name, is_union })
                if !exact && full.name == name =>
            {
                let union = [main.resolve(a).and_then(|id| main.kind(id)), {
                    extra.resolve(b).and_then(|id| extra.kind(id))
                }];
                match union.contains(&Some(Kind::Union)) == is_union {
                    true => Ok(()),
                    false => differs(),
                }
            }
            (Type::Struct(one), Type::Struct(two)) | (Type::Union(one), Type::Union(two))
                if one.name == two.name =>
            {
                if !exact {
                    return Ok(());
                }
                if one.len() != two.len() {
                    let (one, two) = (one.len(), two.len());
                    return Err(format!("'{}' of {two} members, not {one}", shown(extra, b)));
                }
                for (one, two) in one.members().zip(two.members()) {
                    let place = (one.bit_offset, one.bitfield);
                    if one.name != two.name || place != (two.bit_offset, two.bitfield) {
                        let of = shown(extra, b);
                        return Err(format!(
                            "member '{}' at bit {} of '{of}', not '{}' at bit {}",
                            two.name, two.bit_offset, one.name, one.bit_offset
                        ));
                    }
                    self.types(one.type_id, two.type_id, exact, depth)
                        .map_err(|why| format!("member '{}': {why}", two.name))?;
                }
                Ok(())
            }
            (Type::Ptr(one), Type::Ptr(two)) => match self.types(one, two, false, depth) {
                Ok(()) => Ok(()),
                Err(_) => differs(),
            },
            // The length of one may be unknown, and the type of the index is of no use.
            (Type::Array(one), Type::Array(two)) => {
                self.types(one.element, two.element, exact, depth)
            }
            (
                Type::Func {
                    proto: one,
                    linkage,
                    ..
                },
                Type::Func {
                    proto: two,
                    linkage: other,
                    ..
                },
            )
            | (
                Type::Var {
                    to: one, linkage, ..
                },
                Type::Var {
                    to: two,
                    linkage: other,
                    ..
                },
            ) if (linkage == Linkage::Static) == (other == Linkage::Static) => {
                self.types(one, two, exact, depth)
            }
            (Type::Func { .. }, Type::Var { .. }) => Err("a variable, not a function".to_owned()),
            (Type::Var { .. }, Type::Func { .. }) => Err("a function, not a variable".to_owned()),
            (Type::FuncProto(one), Type::FuncProto(two)) => {
                if (one.len(), one.is_variadic()) != (two.len(), two.is_variadic()) {
                    return Err(format!("{} parameters, not {}", two.len(), one.len()));
                }
                for (number, (one, two)) in (1..).zip(one.params().zip(two.params())) {
                    self.types(one.type_id, two.type_id, exact, depth)
                        .map_err(|why| format!("parameter {number} is {why}"))?;
                }
                self.types(one.result, two.result, exact, depth)
                    .map_err(|why| format!("the result is {why}"))
            }
            _ => differs(),
        }
    }
}

/// Gives what a type is called.
fn shown(types: &Btf, id: TypeId) -> String {
    types.type_name(id)
}
