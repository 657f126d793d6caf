//! Which registers an instruction reads and writes.

use super::{AluOp, AtomicOp, Op, Operand, Reg};

impl Op {
    /// Gives the registers that are read. What a call or an exit reads depends on who is called: they give
    /// none.
    pub fn reads(self) -> impl Iterator<Item = Reg> {
        let of = |operand| match operand {
            Operand::Reg(reg) => Some(reg),
            Operand::Imm(_) => None,
        };
        let registers = match self {
            Op::Alu { op, dst, src, .. } => [(op != AluOp::Mov).then_some(dst), of(src), None],
            Op::Branch { dst, src, .. } => [Some(dst), of(src), None],
            Op::MovSx { src, .. } => [Some(src), None, None],
            Op::Neg { dst, .. } | Op::Swap { dst, .. } => [Some(dst), None, None],
            Op::Load { base, .. } => [Some(base), None, None],
            Op::Store { base, src, .. } => [of(src), Some(base), None],
            Op::Atomic { op, base, src, .. } => {
                let compared = (op == AtomicOp::Cmpxchg).then_some(Reg::R0);
                [Some(src), compared, Some(base)]
            }
            // The context must be in r6.
            Op::LoadPacket { index, .. } => [index, Some(Reg::R6), None],
            Op::LoadImm64 { .. } | Op::Jump { .. } | Op::Call(_) | Op::Exit => [None; 3],
        };
        registers.into_iter().flatten()
    }

    /// Gives the register that is written. Calls, and loads of packets, lose `r1` to `r5` as well.
    #[must_use]
    pub fn writes(self) -> Option<Reg> {
        match self {
            Op::Alu { dst, .. }
            | Op::MovSx { dst, .. }
            | Op::Neg { dst, .. }
            | Op::Swap { dst, .. }
            | Op::Load { dst, .. }
            | Op::LoadImm64 { dst, .. } => Some(dst),
            Op::Atomic { op, src, .. } if op.fetches_to_src() => Some(src),
            Op::Atomic {
                op: AtomicOp::Cmpxchg,
                ..
            }
            | Op::LoadPacket { .. }
            | Op::Call(_) => Some(Reg::R0),
            Op::Atomic { .. }
            | Op::Store { .. }
            | Op::Jump { .. }
            | Op::Branch { .. }
            | Op::Exit => None,
        }
    }
}
