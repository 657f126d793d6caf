//! What instructions make of numbers.

use crate::insn::{AluOp, Cond, SwapOrder, Width};
use crate::object::ByteOrder;

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

/// Computes; division by zero gives zero, and the remainder of it leaves the dividend.
pub(super) fn arithmetic(width: Width, op: AluOp, left: u64, right: u64) -> u64 {
    let (a, b) = (narrowed(width, left), narrowed(width, right));
    let (sa, sb) = (signed(width, left), signed(width, right));
    let count = (b as u32) % width.bits();
    let value = match op {
        AluOp::Add => a.wrapping_add(b),
        AluOp::Sub => a.wrapping_sub(b),
        AluOp::Mul => a.wrapping_mul(b),
        AluOp::Div => a.checked_div(b).unwrap_or(0),
        AluOp::Mod => a.checked_rem(b).unwrap_or(a),
        AluOp::SDiv if sb == 0 => 0,
        AluOp::SDiv => sa.wrapping_div(sb) as u64,
        AluOp::SMod if sb == 0 => a,
        AluOp::SMod => sa.wrapping_rem(sb) as u64,
        AluOp::Or => a | b,
        AluOp::And => a & b,
        AluOp::Xor => a ^ b,
        AluOp::Lsh => a << count,
        AluOp::Rsh => a >> count,
        AluOp::Arsh => (sa >> count) as u64,
        AluOp::Mov => b,
    };
    narrowed(width, value)
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

/// Puts the low bits into a byte order, on a machine of the order `host`.
pub(super) fn swapped(order: SwapOrder, bits: u8, host: ByteOrder, number: u64) -> u64 {
    let stays = matches!(
        (order, host),
        (SwapOrder::Le, ByteOrder::Little) | (SwapOrder::Be, ByteOrder::Big)
    );
    match (bits, stays) {
        (16, true) => u64::from(number as u16),
        (32, true) => u64::from(number as u32),
        (16, false) => u64::from((number as u16).swap_bytes()),
        (32, false) => u64::from((number as u32).swap_bytes()),
        (_, true) => number,
        (_, false) => number.swap_bytes(),
    }
}
