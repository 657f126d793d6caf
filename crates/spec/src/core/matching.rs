//! Whether a type of the target is defined as the object's type is: at least its members, at least
//! its constants, the same sizes and signs.

use kscope_btf::{Composite, Enum, Type, TypeId, essential_name};

use super::failure::Mismatch;
use super::view::{DEPTH, Pair, View};
use crate::table::Names;

/// Tells whether types whose names are the same match.
pub(super) fn types_match(
    pair: &Pair<'_>,
    local: TypeId,
    target: TypeId,
) -> Result<bool, Mismatch> {
    matches(pair, local, target, false, DEPTH)
}

fn matches(
    pair: &Pair<'_>,
    local: TypeId,
    target: TypeId,
    behind_pointer: bool,
    level: u32,
) -> Result<bool, Mismatch> {
    let (mut local, mut target, mut behind_pointer) = (local, target, behind_pointer);
    if level == 0 {
        return Err(Mismatch::TooDeep);
    }
    for _ in 0..DEPTH {
        pair.step()?;
        let (one, other) = (pair.local.get(local)?, pair.target.get(target)?);
        // Behind typedefs the names of the types themselves count.
        if essential_name(one.name()) != essential_name(other.name()) {
            return Ok(false);
        }
        let union = |ty: &Type<'_>| matches!(ty, Type::Union(_) | Type::Fwd { is_union: true, .. });
        match (one, other) {
            (Type::Void, Type::Void) => return Ok(true),
            (Type::Fwd { .. }, Type::Fwd { .. }) => return Ok(union(&one) == union(&other)),
            (Type::Fwd { .. }, Type::Struct(_) | Type::Union(_))
            | (Type::Struct(_) | Type::Union(_), Type::Fwd { .. }) => {
                return Ok(behind_pointer && union(&one) == union(&other));
            }
            (Type::Enum(one), Type::Enum(other)) => return enums_match(pair, &one, &other),
            (Type::Struct(members), Type::Struct(others))
            | (Type::Union(members), Type::Union(others)) => {
                return match behind_pointer {
                    true => Ok(true),
                    false => members_match(pair, &members, &others, level),
                };
            }
            (Type::Int(one), Type::Int(other)) => {
                return Ok(one.size == other.size && one.signed == other.signed);
            }
            (Type::Ptr(one), Type::Ptr(other)) => {
                behind_pointer = true;
                (local, target) = (one, other);
            }
            (Type::Array(one), Type::Array(other)) if one.len == other.len => {
                (local, target) = (one.element, other.element);
            }
            (Type::FuncProto(one), Type::FuncProto(other)) => {
                let params = (View::params(&one), View::params(&other));
                if params.0.len() != params.1.len() {
                    return Ok(false);
                }
                for (one, other) in params.0.into_iter().zip(params.1) {
                    if !matches(pair, one, other, behind_pointer, level - 1)? {
                        return Ok(false);
                    }
                }
                (local, target) = (one.result, other.result);
            }
            _ => return Ok(false),
        }
    }
    Err(Mismatch::TooDeep)
}

/// Each constant's name exists in the target; values may differ.
fn enums_match(pair: &Pair<'_>, local: &Enum<'_>, target: &Enum<'_>) -> Result<bool, Mismatch> {
    if local.size != target.size || local.len() > target.len() {
        return Ok(false);
    }
    let mut names = Names::default();
    for constant in target.enumerators() {
        pair.name(constant.name)?;
        names.get_or(essential_name(constant.name), || ());
    }
    for constant in local.enumerators() {
        pair.name(constant.name)?;
        if names.get(essential_name(constant.name)).is_none() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Each member's name exists in the target with a type that matches.
fn members_match(
    pair: &Pair<'_>,
    local: &Composite<'_>,
    target: &Composite<'_>,
    level: u32,
) -> Result<bool, Mismatch> {
    if local.len() > target.len() {
        return Ok(false);
    }
    pair.steps(target.len())?;
    let mut others: Names<'_, Vec<usize>> = Names::default();
    for index in 0..target.len() {
        let name = target.member_name(index);
        pair.name(name)?;
        let name = essential_name(name);
        if let Some(same) = others.get_or(name, Vec::new) {
            same.push(index);
        }
    }
    for member in local.members() {
        pair.name(member.name)?;
        let mut matched = false;
        let same = others.get(essential_name(member.name));
        for &index in same.into_iter().flatten() {
            let other = target.member(index).type_id;
            if matches(pair, member.type_id, other, false, level - 1)? {
                matched = true;
                break;
            }
        }
        if !matched {
            return Ok(false);
        }
    }
    Ok(true)
}
