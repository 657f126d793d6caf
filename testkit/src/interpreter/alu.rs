//! Arithmetic and comparisons, as the instruction set defines them.

use kscope_spec::insn::{AluOp, Cond, SwapOrder, Width};

/// Computes `left op right`; the upper half of a 32-bit result is zero.
pub(super) fn compute(width: Width, op: AluOp, left: u64, right: u64) -> u64 {
    match width {
        Width::W64 => compute64(op, left, right),
        Width::W32 => u64::from(compute32(op, left as u32, right as u32)),
    }
}

fn compute64(op: AluOp, left: u64, right: u64) -> u64 {
    let (sleft, sright) = (left as i64, right as i64);
    match op {
        AluOp::Add => left.wrapping_add(right),
        AluOp::Sub => left.wrapping_sub(right),
        AluOp::Mul => left.wrapping_mul(right),
        AluOp::Div => left.checked_div(right).unwrap_or(0),
        AluOp::Mod => left.checked_rem(right).unwrap_or(left),
        AluOp::SDiv if right == 0 => 0,
        AluOp::SDiv => sleft.wrapping_div(sright) as u64,
        AluOp::SMod if right == 0 => left,
        AluOp::SMod => sleft.wrapping_rem(sright) as u64,
        AluOp::Or => left | right,
        AluOp::And => left & right,
        AluOp::Xor => left ^ right,
        AluOp::Mov => right,
        AluOp::Lsh => left.wrapping_shl(right as u32),
        AluOp::Rsh => left.wrapping_shr(right as u32),
        AluOp::Arsh => sleft.wrapping_shr(right as u32) as u64,
    }
}

fn compute32(op: AluOp, left: u32, right: u32) -> u32 {
    let (sleft, sright) = (left as i32, right as i32);
    match op {
        AluOp::Add => left.wrapping_add(right),
        AluOp::Sub => left.wrapping_sub(right),
        AluOp::Mul => left.wrapping_mul(right),
        AluOp::Div => left.checked_div(right).unwrap_or(0),
        AluOp::Mod => left.checked_rem(right).unwrap_or(left),
        AluOp::SDiv if right == 0 => 0,
        AluOp::SDiv => sleft.wrapping_div(sright) as u32,
        AluOp::SMod if right == 0 => left,
        AluOp::SMod => sleft.wrapping_rem(sright) as u32,
        AluOp::Or => left | right,
        AluOp::And => left & right,
        AluOp::Xor => left ^ right,
        AluOp::Mov => right,
        AluOp::Lsh => left.wrapping_shl(right),
        AluOp::Rsh => left.wrapping_shr(right),
        AluOp::Arsh => sleft.wrapping_shr(right) as u32,
    }
}

/// Gives the low bits sign-extended to the width.
pub(super) fn sign_extend(width: Width, bits: u8, value: u64) -> u64 {
    let wide = match bits {
        8 => i64::from(value as i8),
        16 => i64::from(value as i16),
        _ => i64::from(value as i32),
    };
    match width {
        Width::W64 => wide as u64,
        Width::W32 => u64::from(wide as u32),
    }
}

/// Gives the low bits in the other or the same byte order.
pub(super) fn swap(order: SwapOrder, bits: u8, value: u64) -> u64 {
    let swapped = order != SwapOrder::Le;
    match bits {
        16 if swapped => u64::from((value as u16).swap_bytes()),
        16 => u64::from(value as u16),
        32 if swapped => u64::from((value as u32).swap_bytes()),
        32 => u64::from(value as u32),
        _ if swapped => value.swap_bytes(),
        _ => value,
    }
}

/// Compares.
pub(super) fn holds(width: Width, cond: Cond, left: u64, right: u64) -> bool {
    let (left, right) = match width {
        Width::W64 => (left, right),
        Width::W32 => (u64::from(left as u32), u64::from(right as u32)),
    };
    let signed = |value: u64| match width {
        Width::W64 => value as i64,
        Width::W32 => i64::from(value as i32),
    };
    match cond {
        Cond::Eq => left == right,
        Cond::Ne => left != right,
        Cond::Gt => left > right,
        Cond::Ge => left >= right,
        Cond::Lt => left < right,
        Cond::Le => left <= right,
        Cond::Sgt => signed(left) > signed(right),
        Cond::Sge => signed(left) >= signed(right),
        Cond::Slt => signed(left) < signed(right),
        Cond::Sle => signed(left) <= signed(right),
        Cond::Set => left & right != 0,
    }
}
