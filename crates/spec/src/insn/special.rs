//! Instructions beyond [`Op`](super::Op): those that compiled scripts never have, of arenas,
//! bounded loops and ordered memory, and what a kernel shows of verified code.

use super::code;
use super::{Insn, Reg, Size};

/// An instruction that [`Insn::op`] refuses and that is one nevertheless.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Special {
    /// `dst = load_acquire(*(size *)(base + off))` (kernel 6.15).
    LoadAcquire {
        /// Size of the access.
        size: Size,
        /// Result.
        dst: Reg,
        /// Register that holds the address.
        base: Reg,
        /// Bytes added to the address.
        off: i16,
    },
    /// `store_release(*(size *)(base + off), src)` (kernel 6.15).
    StoreRelease {
        /// Size of the access.
        size: Size,
        /// Register that holds the address.
        base: Reg,
        /// Bytes added to the address.
        off: i16,
        /// What is stored.
        src: Reg,
    },
    /// A jump that the kernel takes when a loop has run too long (6.9).
    MayGoto {
        /// Distance in slots from the next instruction.
        off: i16,
    },
    /// A jump to the address in a register (6.19).
    GotoRegister {
        /// Register that holds the address.
        dst: Reg,
    },
    /// A pointer made one of another address space (6.9); arenas are number 1.
    CastAddress {
        /// Result.
        dst: Reg,
        /// Source.
        src: Reg,
        /// Address space of the result.
        to: u16,
        /// Address space of the source.
        from: u16,
    },
    /// The address of this CPU's copy; in verified code alone.
    PerCpuAddress {
        /// Result.
        dst: Reg,
        /// Source.
        src: Reg,
    },
    /// The upper half becomes zero; in verified code alone.
    ZeroExtend {
        /// Operand and result.
        dst: Reg,
    },
    /// Nothing is run ahead past this; in verified code alone.
    NoSpeculation,
    /// Call of a subprogram as verified code has it.
    CallSubprogram {
        /// Distance in slots from the next instruction.
        off: i16,
        /// The subprogram's number.
        number: i32,
    },
    /// Call of a kernel function below the kernel's place for calls; in verified code alone.
    CallBelow {
        /// Distance in bytes, negative.
        distance: i32,
    },
}

/// Atomic operations: a load that is ordered before what follows.
const LOAD_ACQUIRE: i32 = 0x100;
/// Atomic operations: a store that is ordered after what precedes.
const STORE_RELEASE: i32 = 0x110;
/// Jump: conditional on something else than registers.
const JCOND: u8 = 0xe0;

impl Insn {
    /// Classifies a slot that is none of [`Insn::op`].
    #[must_use]
    pub fn special(self) -> Option<Special> {
        if self.op().is_ok() {
            return None;
        }
        let special = self.special_candidate()?;
        // Every field counts: what is not written in the special form must be zero.
        (special.insn() == self && self.dst <= 10 && self.src <= 10).then_some(special)
    }

    fn special_candidate(self) -> Option<Special> {
        let (dst, src, off) = (Reg(self.dst), Reg(self.src), self.off);
        let size = Size::from_code(self.code);
        let class = self.code & code::CLASS_MASK;
        Some(match class {
            code::STX if self.code & code::MODE_MASK == code::ATOMIC => match self.imm {
                LOAD_ACQUIRE => Special::LoadAcquire {
                    size,
                    dst,
                    base: src,
                    off,
                },
                STORE_RELEASE => Special::StoreRelease {
                    size,
                    base: dst,
                    off,
                    src,
                },
                _ => return None,
            },
            code::ST if self.code & code::MODE_MASK == code::ATOMIC => Special::NoSpeculation,
            code::ALU64 if off == 1 => Special::CastAddress {
                dst,
                src,
                to: (self.imm as u32 >> 16) as u16,
                from: self.imm as u16,
            },
            code::ALU64 => Special::PerCpuAddress { dst, src },
            code::ALU => Special::ZeroExtend { dst },
            code::JMP => match self.code & code::OP_MASK {
                JCOND => Special::MayGoto { off },
                code::JA => Special::GotoRegister { dst },
                code::CALL if self.src == code::CALL_LOCAL => Special::CallSubprogram {
                    off,
                    number: self.imm,
                },
                code::CALL => Special::CallBelow { distance: self.imm },
                _ => return None,
            },
            _ => return None,
        })
    }
}

impl Special {
    /// Gives the slot; the inverse of [`Insn::special`].
    #[must_use]
    pub const fn insn(self) -> Insn {
        let zero = Insn {
            code: 0,
            dst: 0,
            src: 0,
            off: 0,
            imm: 0,
        };
        match self {
            Special::LoadAcquire {
                size,
                dst,
                base,
                off,
            } => Insn {
                code: code::STX | code::ATOMIC | size.code(),
                dst: dst.0,
                src: base.0,
                off,
                imm: LOAD_ACQUIRE,
            },
            Special::StoreRelease {
                size,
                base,
                off,
                src,
            } => Insn {
                code: code::STX | code::ATOMIC | size.code(),
                dst: base.0,
                src: src.0,
                off,
                imm: STORE_RELEASE,
            },
            Special::MayGoto { off } => Insn {
                code: code::JMP | JCOND,
                off,
                ..zero
            },
            Special::GotoRegister { dst } => Insn {
                code: code::JMP | code::JA | code::X,
                dst: dst.0,
                ..zero
            },
            Special::CastAddress { dst, src, to, from } => Insn {
                code: code::ALU64 | code::MOV | code::X,
                dst: dst.0,
                src: src.0,
                off: 1,
                imm: (((to as u32) << 16) | from as u32) as i32,
            },
            Special::PerCpuAddress { dst, src } => Insn {
                code: code::ALU64 | code::MOV | code::X,
                dst: dst.0,
                src: src.0,
                off: -1,
                ..zero
            },
            Special::ZeroExtend { dst } => Insn {
                code: code::ALU | code::MOV | code::X,
                dst: dst.0,
                src: dst.0,
                imm: 1,
                ..zero
            },
            Special::NoSpeculation => Insn {
                code: code::ST | code::ATOMIC,
                ..zero
            },
            Special::CallSubprogram { off, number } => Insn {
                code: code::JMP | code::CALL,
                src: code::CALL_LOCAL,
                off,
                imm: number,
                ..zero
            },
            Special::CallBelow { distance } => Insn {
                code: code::JMP | code::CALL,
                imm: distance,
                ..zero
            },
        }
    }
}
