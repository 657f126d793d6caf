//! What a relocation comes to, on either side.

use kscope_btf::{Int, Type, TypeId};

use super::access::{Access, Point, constant};
use super::failure::{Mismatch, Reason};
use super::view::View;
use crate::object::{ByteOrder, CoreKind};

/// What a relocation comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Value {
    /// The number that goes into the instruction.
    pub(super) number: u64,
    /// Size in bytes of the member, where an offset was asked and it is no bitfield; else 0.
    pub(super) size: u32,
    /// Type of that member.
    pub(super) type_id: TypeId,
    /// Whether the compiler must have come to the same number.
    pub(super) certain: bool,
}

impl Value {
    fn of(number: u64) -> Value {
        Value {
            number,
            size: 0,
            type_id: TypeId::VOID,
            certain: true,
        }
    }
}

/// Gives the value where there is no such member, type or constant; none where there must be one.
pub(super) fn absent(kind: CoreKind) -> Option<Value> {
    match kind {
        CoreKind::FieldExists
        | CoreKind::EnumValueExists
        | CoreKind::TypeIdTarget
        | CoreKind::TypeExists
        | CoreKind::TypeSize
        | CoreKind::TypeMatches => Some(Value::of(0)),
        _ => None,
    }
}

/// Gives the value for a path.
pub(super) fn value(
    view: View<'_>,
    kind: CoreKind,
    access: &Access<'_>,
    order: ByteOrder,
) -> Result<Value, Wrong> {
    Ok(match kind {
        CoreKind::FieldExists | CoreKind::EnumValueExists => Value::of(1),
        CoreKind::TypeExists | CoreKind::TypeMatches => Value::of(1),
        CoreKind::TypeSize => Value::of(view.size(access.root)?.into()),
        CoreKind::TypeIdLocal | CoreKind::TypeIdTarget => Value {
            // Linkers number types anew and leave the instructions.
            certain: false,
            ..Value::of(access.root.0.into())
        },
        CoreKind::EnumValue => Value::of(constant(view, last(access)?)?),
        CoreKind::FieldByteOffset
        | CoreKind::FieldByteSize
        | CoreKind::FieldSigned
        | CoreKind::FieldLeftShift
        | CoreKind::FieldRightShift => {
            let point = last(access)?;
            match point.name {
                Some(_) => member(view, kind, access, point, order)?,
                None => element(view, kind, access, point)?,
            }
        }
    })
}

/// Why there is no value.
pub(super) enum Wrong {
    /// A type cannot be followed.
    Type(Mismatch),
    /// The question has no answer.
    Question(Reason),
}

impl From<Mismatch> for Wrong {
    fn from(mismatch: Mismatch) -> Wrong {
        Wrong::Type(mismatch)
    }
}

fn last<'p, 'a>(access: &'p Access<'a>) -> Result<&'p Point<'a>, Mismatch> {
    access.points.last().ok_or(Mismatch::NoIndex(0))
}

fn element(
    view: View<'_>,
    kind: CoreKind,
    access: &Access<'_>,
    point: &Point<'_>,
) -> Result<Value, Wrong> {
    match kind {
        CoreKind::FieldByteOffset => Ok(Value {
            size: view.element_size(point.type_id)?,
            type_id: point.type_id,
            ..Value::of((access.bit_offset / 8).into())
        }),
        CoreKind::FieldByteSize => Ok(Value::of(view.size(point.type_id)?.into())),
        _ => Err(Wrong::Question(Reason::ArrayElement)),
    }
}

/// The bytes that a load of a member takes.
struct Load {
    offset: u32,
    size: u32,
    bits: u32,
    bitfield: bool,
}

fn member(
    view: View<'_>,
    kind: CoreKind,
    access: &Access<'_>,
    point: &Point<'_>,
    order: ByteOrder,
) -> Result<Value, Wrong> {
    let malformed = Mismatch::Malformed(point.type_id);
    let composite = view.btf.composite(point.type_id).ok_or(malformed)?;
    let member = composite.member(point.index as usize);
    let type_id = view.resolve(member.type_id)?;
    let width = member.bitfield.filter(|_| composite.has_widths());
    let load = match width {
        Some(bits) => bitfield(view, access.bit_offset, bits, type_id)?,
        None => {
            let size = view.size(type_id)?;
            Load {
                offset: access.bit_offset / 8,
                size,
                bits: size.saturating_mul(8),
                bitfield: false,
            }
        }
    };
    // Of a bitfield compiler and we may choose different loads.
    let value = |number: u64| Value {
        certain: !load.bitfield,
        ..Value::of(number)
    };
    Ok(match kind {
        CoreKind::FieldByteOffset if load.bitfield => value(load.offset.into()),
        CoreKind::FieldByteOffset => Value {
            size: view.element_size(type_id)?,
            type_id,
            ..value(load.offset.into())
        },
        CoreKind::FieldByteSize => value(load.size.into()),
        CoreKind::FieldSigned => Value::of(match view.get(type_id)? {
            Type::Enum(e) => e.signed.into(),
            Type::Int(int) => int.signed.into(),
            _ => 0,
        }),
        CoreKind::FieldLeftShift => {
            let before = access.bit_offset.wrapping_sub(load.offset.wrapping_mul(8));
            value(match order {
                ByteOrder::Little => shift(64, before.wrapping_add(load.bits)),
                ByteOrder::Big => {
                    u64::from(shift(8, load.size) as u32).wrapping_mul(8) + u64::from(before)
                }
            })
        }
        _ => Value::of(shift(64, load.bits)),
    })
}

/// Subtracts as libbpf's unsigned 32-bit numbers do.
fn shift(from: u32, bits: u32) -> u64 {
    from.wrapping_sub(bits).into()
}

/// Finds the smallest aligned load that takes in all of a bitfield.
fn bitfield(view: View<'_>, bit_offset: u32, bits: u32, id: TypeId) -> Result<Load, Wrong> {
    let mut size = match view.get(id)? {
        Type::Int(Int { size, .. }) => size,
        Type::Enum(e) => e.size,
        _ => 0,
    };
    if size == 0 {
        return Err(Mismatch::Sizeless(id).into());
    }
    loop {
        let offset = bit_offset / 8 / size * size;
        let end = bit_offset - offset * 8 + bits;
        if end <= size.saturating_mul(8) {
            return Ok(Load {
                offset,
                size,
                bits,
                bitfield: true,
            });
        }
        if size >= 8 {
            return Err(Wrong::Question(Reason::WideBitfield));
        }
        size *= 2;
    }
}
