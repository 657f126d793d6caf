//! The values that instructions and terminators read.

use super::{Op, Terminator, Value};

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
