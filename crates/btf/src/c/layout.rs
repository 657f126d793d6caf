//! Where C places members, so that what BTF says beside that is written as padding.

use crate::blob::{Btf, TypeId};
use crate::query::POINTER;
use crate::types::{Array, Int, Member, Type};

/// Deepest nesting looked at to find an alignment.
const NESTING: usize = 16;
/// Gap in bits above which one array of bytes is written in place of single bitfields.
const LARGE: u32 = 64 * 8;

/// How a structure lies in memory.
pub(crate) struct Layout {
    /// Whether it lies closer than C would place it.
    pub(crate) packed: bool,
    /// Its alignment in bits.
    align: u32,
}

impl Layout {
    /// Finds the layout of a structure or union. `left` bounds the members looked at.
    pub(crate) fn of(btf: &Btf, id: TypeId, left: &mut usize) -> Layout {
        let (align, packed) = composite(btf, id, 0, left);
        Layout {
            packed,
            align: if packed { 8 } else { align * 8 },
        }
    }

    /// Gives the bit after a member.
    pub(crate) fn end_of(&self, btf: &Btf, m: &Member<'_>) -> u32 {
        let bits = match m.bitfield {
            Some(width) => width,
            None => {
                let size = btf.size_of(m.type_id).unwrap_or(0);
                u32::try_from(size.saturating_mul(8)).unwrap_or(u32::MAX)
            }
        };
        m.bit_offset.saturating_add(bits)
    }

    /// Gives the padding between bit `end` and a member, where C would not leave it by itself.
    pub(crate) fn before(
        &self,
        btf: &Btf,
        end: u32,
        m: &Member<'_>,
        left: &mut usize,
    ) -> Vec<String> {
        let natural = match m.bitfield {
            None if self.packed => up(end, 8),
            None => up(end, align_of(btf, m.type_id, 0, left).saturating_mul(8)),
            Some(_) if self.packed => end,
            Some(width) => {
                // A bitfield does not cross a boundary of its type.
                let unit = btf.size_of(m.type_id).unwrap_or(0).clamp(1, 16) as u32 * 8;
                let crosses = end / unit != end.saturating_add(width.max(1) - 1) / unit;
                if crosses { up(end, unit) } else { end }
            }
        };
        if natural == m.bit_offset {
            Vec::new()
        } else {
            self.fill(end, m.bit_offset)
        }
    }

    /// Gives the padding between bit `end` and the end of a structure of `size` bytes.
    pub(crate) fn at_end(&self, end: u32, size: u32) -> Vec<String> {
        let size = size.saturating_mul(8);
        if up(end, self.align) == size {
            Vec::new()
        } else {
            self.fill(end, size)
        }
    }

    fn fill(&self, from: u32, to: u32) -> Vec<String> {
        const UNITS: [(&str, u32); 4] = [("long", 64), ("int", 32), ("short", 16), ("char", 8)];
        let mut lines = Vec::new();
        let mut at = from;
        // At most 7 steps up to a byte and to each unit, then at most LARGE / 64, then as many down.
        while at < to {
            let fits = |unit: u32| {
                unit <= self.align && at.checked_rem(unit) == Some(0) && to - at >= unit
            };
            if at % 8 == 0 && to - at > LARGE {
                // There is no bitfield of this width; an array has to have a name.
                let bytes = (to - at) / 8;
                lines.push(format!("char __pad_{}[{bytes}];", at / 8));
                at += bytes * 8;
            } else if let Some((name, unit)) = UNITS.into_iter().find(|u| fits(u.1)) {
                lines.push(format!("{name}: {unit};"));
                at += unit;
            } else {
                let bits = to.min(up(at.saturating_add(1), 8)) - at;
                lines.push(format!("char: {bits};"));
                at += bits;
            }
        }
        lines
    }
}

/// Rounds up to a multiple; what does not fit stays as it is.
fn up(bits: u32, unit: u32) -> u32 {
    bits.checked_next_multiple_of(unit.max(1)).unwrap_or(bits)
}

/// Gives the alignment of a type in bytes, at least 1.
fn align_of(btf: &Btf, id: TypeId, depth: usize, left: &mut usize) -> u32 {
    let mut id = id;
    for _ in 0..NESTING {
        return match btf.get_resolved(id) {
            Some(Type::Array(Array { element, .. })) => {
                id = element;
                continue;
            }
            Some(Type::Int(Int { size, .. }) | Type::Float { size, .. }) => size.clamp(1, 16),
            Some(Type::Enum(e)) => e.size.clamp(1, 8),
            Some(Type::Ptr(_)) => POINTER,
            Some(Type::Struct(_) | Type::Union(_)) => composite(btf, id, depth, left).0,
            _ => 1,
        };
    }
    1
}

/// Gives the alignment in bytes of a structure or union, and whether it is packed (which makes
/// that 1).
fn composite(btf: &Btf, id: TypeId, depth: usize, left: &mut usize) -> (u32, bool) {
    let Some(c) = btf.composite(id) else {
        return (1, false);
    };
    if depth >= NESTING {
        return (1, false);
    }
    let mut largest = 1;
    for m in c.members() {
        if *left == 0 {
            break;
        }
        *left -= 1;
        let align = align_of(btf, m.type_id, depth + 1, left).max(1);
        if m.bitfield.is_none() && m.bit_offset.checked_rem(align.saturating_mul(8)) != Some(0) {
            return (1, true);
        }
        largest = largest.max(align);
    }
    if c.size.checked_rem(largest) == Some(0) {
        (largest, false)
    } else {
        (1, true)
    }
}
