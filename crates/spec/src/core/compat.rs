//! Whether two types may stand for each other where a member is read, or where a type is asked
//! for: looser than equality.

use kscope_btf::{Type, TypeId, essential_name};

use super::failure::Mismatch;
use super::target::same_kind;
use super::view::{DEPTH, Pair, View};

/// Tells whether a member of the target's type may be read as one of the object's: structures and
/// unions mix, pointers are pointers, integers integers of any size and sign, enumerations and
/// declared types go by name, arrays by their elements.
pub(super) fn fields_fit(pair: &Pair<'_>, local: TypeId, target: TypeId) -> Result<bool, Mismatch> {
    let (mut local, mut target) = (local, target);
    for _ in 0..DEPTH {
        local = pair.local.resolve(local)?;
        target = pair.target.resolve(target)?;
        let (one, other) = (pair.local.get(local)?, pair.target.get(target)?);
        return Ok(match (one, other) {
            (Type::Struct(_) | Type::Union(_), Type::Struct(_) | Type::Union(_)) => true,
            (Type::Ptr(_), Type::Ptr(_)) | (Type::Float { .. }, Type::Float { .. }) => true,
            (Type::Enum(_), Type::Enum(_)) | (Type::Fwd { .. }, Type::Fwd { .. }) => {
                let (one, other) = (essential_name(one.name()), essential_name(other.name()));
                one.is_empty() || other.is_empty() || one == other
            }
            // Bitfields of old compilers are integers of their own.
            (Type::Int(one), Type::Int(other)) => one.bit_offset == 0 && other.bit_offset == 0,
            (Type::Array(one), Type::Array(other)) => {
                (local, target) = (one.element, other.element);
                continue;
            }
            _ => false,
        });
    }
    Err(Mismatch::TooDeep)
}

/// Tells whether types of the same name are of the same kind, and so what their pointers, arrays
/// and prototypes lead to.
pub(super) fn types_fit(pair: &Pair<'_>, local: TypeId, target: TypeId) -> Result<bool, Mismatch> {
    fit(pair, local, target, DEPTH)
}

fn fit(pair: &Pair<'_>, local: TypeId, target: TypeId, level: u32) -> Result<bool, Mismatch> {
    let (mut local, mut target) = (local, target);
    if !same_kind(pair.local.btf.kind(local), pair.target.btf.kind(target)) {
        return Ok(false);
    }
    for _ in 0..DEPTH {
        pair.step()?;
        local = pair.local.resolve(local)?;
        target = pair.target.resolve(target)?;
        match (pair.local.get(local)?, pair.target.get(target)?) {
            (Type::Int(one), Type::Int(other)) => {
                return Ok(one.bit_offset == 0 && other.bit_offset == 0);
            }
            (Type::Void, Type::Void)
            | (Type::Struct(_), Type::Struct(_))
            | (Type::Union(_), Type::Union(_))
            | (Type::Enum(_), Type::Enum(_))
            | (Type::Fwd { .. }, Type::Fwd { .. }) => return Ok(true),
            (Type::Ptr(one), Type::Ptr(other)) => (local, target) = (one, other),
            (Type::Array(one), Type::Array(other)) => {
                (local, target) = (one.element, other.element);
            }
            (Type::FuncProto(one), Type::FuncProto(other)) => {
                let params = (View::params(&one), View::params(&other));
                if params.0.len() != params.1.len() {
                    return Ok(false);
                }
                for (one, other) in params.0.into_iter().zip(params.1) {
                    let level = level.checked_sub(1).ok_or(Mismatch::TooDeep)?;
                    let (one, other) = (pair.local.resolve(one)?, pair.target.resolve(other)?);
                    if !fit(pair, one, other, level)? {
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
