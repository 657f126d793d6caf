//! What arithmetic and conditions mean: the one place that folding and code generation ask.

use super::{BinOp, Cond};

impl BinOp {
    /// Every operation.
    pub const ALL: [BinOp; 13] = [
        BinOp::Add,
        BinOp::Sub,
        BinOp::Mul,
        BinOp::UDiv,
        BinOp::URem,
        BinOp::SDiv,
        BinOp::SRem,
        BinOp::And,
        BinOp::Or,
        BinOp::Xor,
        BinOp::Shl,
        BinOp::LShr,
        BinOp::AShr,
    ];

    /// Computes the operation on constants.
    #[must_use]
    pub fn apply(self, left: i64, right: i64) -> i64 {
        let (a, b) = (left as u64, right as u64);
        match self {
            BinOp::Add => left.wrapping_add(right),
            BinOp::Sub => left.wrapping_sub(right),
            BinOp::Mul => left.wrapping_mul(right),
            BinOp::UDiv => a.checked_div(b).unwrap_or(0) as i64,
            BinOp::URem => a.checked_rem(b).unwrap_or(a) as i64,
            BinOp::SDiv if right == 0 => 0,
            BinOp::SDiv => left.wrapping_div(right),
            BinOp::SRem if right == 0 => left,
            BinOp::SRem => left.wrapping_rem(right),
            BinOp::And => left & right,
            BinOp::Or => left | right,
            BinOp::Xor => left ^ right,
            BinOp::Shl => left.wrapping_shl(right as u32),
            BinOp::LShr => a.wrapping_shr(right as u32) as i64,
            BinOp::AShr => left.wrapping_shr(right as u32),
        }
    }

    /// Says whether the operands may be exchanged.
    #[must_use]
    pub fn is_commutative(self) -> bool {
        matches!(
            self,
            BinOp::Add | BinOp::Mul | BinOp::And | BinOp::Or | BinOp::Xor
        )
    }

    /// Gives the name in the text form.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            BinOp::Add => "add",
            BinOp::Sub => "sub",
            BinOp::Mul => "mul",
            BinOp::UDiv => "udiv",
            BinOp::URem => "urem",
            BinOp::SDiv => "sdiv",
            BinOp::SRem => "srem",
            BinOp::And => "and",
            BinOp::Or => "or",
            BinOp::Xor => "xor",
            BinOp::Shl => "shl",
            BinOp::LShr => "lshr",
            BinOp::AShr => "ashr",
        }
    }
}

impl Cond {
    /// Every condition.
    pub const ALL: [Cond; 10] = [
        Cond::Eq,
        Cond::Ne,
        Cond::Ult,
        Cond::Ule,
        Cond::Ugt,
        Cond::Uge,
        Cond::Slt,
        Cond::Sle,
        Cond::Sgt,
        Cond::Sge,
    ];

    /// Says whether the condition holds between constants.
    #[must_use]
    pub fn holds(self, left: i64, right: i64) -> bool {
        let (a, b) = (left as u64, right as u64);
        match self {
            Cond::Eq => a == b,
            Cond::Ne => a != b,
            Cond::Ult => a < b,
            Cond::Ule => a <= b,
            Cond::Ugt => a > b,
            Cond::Uge => a >= b,
            Cond::Slt => left < right,
            Cond::Sle => left <= right,
            Cond::Sgt => left > right,
            Cond::Sge => left >= right,
        }
    }

    /// Gives the condition that holds when this one does not.
    #[must_use]
    pub fn negated(self) -> Cond {
        match self {
            Cond::Eq => Cond::Ne,
            Cond::Ne => Cond::Eq,
            Cond::Ult => Cond::Uge,
            Cond::Ule => Cond::Ugt,
            Cond::Ugt => Cond::Ule,
            Cond::Uge => Cond::Ult,
            Cond::Slt => Cond::Sge,
            Cond::Sle => Cond::Sgt,
            Cond::Sgt => Cond::Sle,
            Cond::Sge => Cond::Slt,
        }
    }

    /// Gives the condition that means the same with exchanged operands.
    #[must_use]
    pub fn swapped(self) -> Cond {
        match self {
            Cond::Eq => Cond::Eq,
            Cond::Ne => Cond::Ne,
            Cond::Ult => Cond::Ugt,
            Cond::Ule => Cond::Uge,
            Cond::Ugt => Cond::Ult,
            Cond::Uge => Cond::Ule,
            Cond::Slt => Cond::Sgt,
            Cond::Sle => Cond::Sge,
            Cond::Sgt => Cond::Slt,
            Cond::Sge => Cond::Sle,
        }
    }

    /// Gives the name in the text form.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Cond::Eq => "eq",
            Cond::Ne => "ne",
            Cond::Ult => "ult",
            Cond::Ule => "ule",
            Cond::Ugt => "ugt",
            Cond::Uge => "uge",
            Cond::Slt => "slt",
            Cond::Sle => "sle",
            Cond::Sgt => "sgt",
            Cond::Sge => "sge",
        }
    }
}

/// Truncates to the low bytes and extends again.
#[must_use]
pub(crate) fn extend(bytes: u8, signed: bool, value: i64) -> i64 {
    let shift = 64 - 8 * u32::from(bytes.clamp(1, 8));
    if signed {
        (value << shift) >> shift
    } else {
        (((value as u64) << shift) >> shift) as i64
    }
}

/// Reverses the order of the low bytes and clears the rest.
#[must_use]
pub(crate) fn byte_swap(bytes: u8, value: i64) -> i64 {
    let shift = 64 - 8 * u32::from(bytes.clamp(1, 8));
    ((value as u64).swap_bytes() >> shift) as i64
}
