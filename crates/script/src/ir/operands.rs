//! The values that instructions and terminators read, and what is asked of any instruction.

use super::{Op, Terminator, Value, byte_swap, extend};

impl Op {
    /// Calls `f` with every value that is read, in order.
    pub fn uses(&self, mut f: impl FnMut(Value)) {
        match self {
            Op::Const(_)
            | Op::Late(_)
            | Op::Layout(_)
            | Op::Ctx
            | Op::Argument(_)
            | Op::Callback(_)
            | Op::SlotAddr(_)
            | Op::MapRef(_)
            | Op::MapValueAddr { .. } => {}
            Op::NonNull(v) | Op::PtrToInt(v) => f(*v),
            Op::Extend { value, .. } | Op::ByteSwap { value, .. } => f(*value),
            Op::PtrAdd { base, offset, .. } => {
                f(*base);
                f(*offset);
            }
            Op::Binary(_, a, b) | Op::Compare(_, a, b) => {
                f(*a);
                f(*b);
            }
            Op::Load { base, .. } | Op::LoadAt { base, .. } | Op::Zero { base, .. } => f(*base),
            Op::Store { base, value, .. }
            | Op::Atomic { base, value, .. }
            | Op::AtomicFetchAdd { base, value, .. } => {
                f(*base);
                f(*value);
            }
            Op::Copy { to, from, .. } => {
                f(*to);
                f(*from);
            }
            Op::Call { args, .. } => args.iter().copied().for_each(f),
        }
    }

    /// Calls `f` with every value that is read, in order, to change it.
    pub fn uses_mut(&mut self, mut f: impl FnMut(&mut Value)) {
        match self {
            Op::Const(_)
            | Op::Late(_)
            | Op::Layout(_)
            | Op::Ctx
            | Op::Argument(_)
            | Op::Callback(_)
            | Op::SlotAddr(_)
            | Op::MapRef(_)
            | Op::MapValueAddr { .. } => {}
            Op::NonNull(v) | Op::PtrToInt(v) => f(v),
            Op::Extend { value, .. } | Op::ByteSwap { value, .. } => f(value),
            Op::PtrAdd { base, offset, .. } => {
                f(base);
                f(offset);
            }
            Op::Binary(_, a, b) | Op::Compare(_, a, b) => {
                f(a);
                f(b);
            }
            Op::Load { base, .. } | Op::LoadAt { base, .. } | Op::Zero { base, .. } => f(base),
            Op::Store { base, value, .. }
            | Op::Atomic { base, value, .. }
            | Op::AtomicFetchAdd { base, value, .. } => {
                f(base);
                f(value);
            }
            Op::Copy { to, from, .. } => {
                f(to);
                f(from);
            }
            Op::Call { args, .. } => args.iter_mut().for_each(f),
        }
    }

    /// Gives the one place in memory that is read or written: where it begins, and how many bytes
    /// behind.
    #[must_use]
    pub fn place(&self) -> Option<(Value, i64)> {
        match self {
            Op::Load { base, offset, .. }
            | Op::Store { base, offset, .. }
            | Op::Atomic { base, offset, .. }
            | Op::AtomicFetchAdd { base, offset, .. }
            | Op::Zero { base, offset, .. } => Some((*base, i64::from(*offset))),
            Op::LoadAt { base, offset, .. } => Some((*base, offset.value)),
            _ => None,
        }
    }

    /// Computes what depends on numbers alone, where those are known.
    pub fn computed(&self, number: impl Fn(Value) -> Option<i64>) -> Option<i64> {
        Some(match self {
            Op::Binary(op, left, right) => op.apply(number(*left)?, number(*right)?),
            Op::Compare(cond, left, right) => {
                i64::from(cond.holds(number(*left)?, number(*right)?))
            }
            Op::Extend {
                bytes,
                signed,
                value,
            } => extend(*bytes, *signed, number(*value)?),
            Op::ByteSwap { bytes, value } => byte_swap(*bytes, number(*value)?),
            _ => return None,
        })
    }

    /// Says whether the instruction may be left out when its result is not used.
    ///
    /// Helpers that only look ([`super::effect`]) count as well.
    #[must_use]
    pub fn is_pure(&self) -> bool {
        match self {
            Op::Store { .. }
            | Op::Atomic { .. }
            | Op::AtomicFetchAdd { .. }
            | Op::Zero { .. }
            | Op::Copy { .. } => false,
            Op::Call { helper, .. } => super::effect::only_looks(*helper),
            _ => true,
        }
    }
}

impl Terminator {
    /// Calls `f` with every value that is read, in order; arguments of jumps come last.
    pub fn uses(&self, mut f: impl FnMut(Value)) {
        match self {
            Terminator::Jump(_) => {}
            Terminator::Branch { left, right, .. } => {
                f(*left);
                f(*right);
            }
            Terminator::BranchNull { pointer, .. } => f(*pointer),
            Terminator::Return(value) => f(*value),
        }
        for target in self.targets() {
            target.args.iter().copied().for_each(&mut f);
        }
    }

    /// Calls `f` with every value that is read, in order, to change it.
    pub fn uses_mut(&mut self, mut f: impl FnMut(&mut Value)) {
        match self {
            Terminator::Jump(_) => {}
            Terminator::Branch { left, right, .. } => {
                f(left);
                f(right);
            }
            Terminator::BranchNull { pointer, .. } => f(pointer),
            Terminator::Return(value) => f(value),
        }
        for target in self.targets_mut() {
            target.args.iter_mut().for_each(&mut f);
        }
    }
}
