//! What instructions make of numbers.

use crate::insn::{AluOp, Cond, Width};

/// Gives what a register holds after an operation of that width.
pub(super) fn narrowed(width: Width, number: u64) -> u64 {
    match width {
        Width::W64 => number,
        Width::W32 => u64::from(number as u32),
    }
}

/// Gives the number with its sign.
fn signed(width: Width, number: u64) -> i64 {
    match width {
        Width::W64 => number as i64,
        Width::W32 => i64::from(number as i32),
    }
}

/// Computes; none for what verifiers make no number of: divisions, and shifts by more than there is.
pub(super) fn arithmetic(width: Width, op: AluOp, left: u64, right: u64) -> Option<u64> {
    let (a, b) = (narrowed(width, left), narrowed(width, right));
    let is_shift = matches!(op, AluOp::Lsh | AluOp::Rsh | AluOp::Arsh);
    if is_shift && b >= u64::from(width.bits()) {
        return None;
    }
    let value = match op {
        AluOp::Add => a.wrapping_add(b),
        AluOp::Sub => a.wrapping_sub(b),
        AluOp::Mul => a.wrapping_mul(b),
        AluOp::Div | AluOp::Mod | AluOp::SDiv | AluOp::SMod => return None,
        AluOp::Or => a | b,
        AluOp::And => a & b,
        AluOp::Xor => a ^ b,
        AluOp::Lsh => a << b,
        AluOp::Rsh => a >> b,
        AluOp::Arsh => (signed(width, left) >> b) as u64,
        AluOp::Mov => b,
    };
    Some(narrowed(width, value))
}

/// Tells whether a comparison holds.
pub(super) fn holds(width: Width, cond: Cond, left: u64, right: u64) -> bool {
    let (a, b) = (narrowed(width, left), narrowed(width, right));
    let (sa, sb) = (signed(width, left), signed(width, right));
    match cond {
        Cond::Eq => a == b,
        Cond::Ne => a != b,
        Cond::Gt => a > b,
        Cond::Ge => a >= b,
        Cond::Lt => a < b,
        Cond::Le => a <= b,
        Cond::Sgt => sa > sb,
        Cond::Sge => sa >= sb,
        Cond::Slt => sa < sb,
        Cond::Sle => sa <= sb,
        Cond::Set => a & b != 0,
    }
}
