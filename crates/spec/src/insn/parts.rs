//! The parts of an instruction: widths, sizes, operations, comparisons.

use super::code;

/// How many bits an operation works on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Width {
    /// The low 32 bits.
    W32,
    /// All 64 bits.
    W64,
}

impl Width {
    /// Gives the number of bits.
    #[must_use]
    pub const fn bits(self) -> u32 {
        match self {
            Width::W32 => 32,
            Width::W64 => 64,
        }
    }
}

/// Size of a memory access.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Size {
    /// One byte.
    B,
    /// Two bytes.
    H,
    /// Four bytes.
    W,
    /// Eight bytes.
    DW,
}

impl Size {
    /// Every size, ascending.
    pub const ALL: [Size; 4] = [Size::B, Size::H, Size::W, Size::DW];

    /// Gives the bits of [`super::Insn::code`].
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Size::B => code::B,
            Size::H => code::H,
            Size::W => code::W,
            Size::DW => code::DW,
        }
    }

    /// Gives the number of bytes.
    #[must_use]
    pub const fn bytes(self) -> usize {
        match self {
            Size::B => 1,
            Size::H => 2,
            Size::W => 4,
            Size::DW => 8,
        }
    }

    /// Gives the size of so many bytes, if there is one.
    #[must_use]
    pub const fn from_bytes(bytes: usize) -> Option<Size> {
        match bytes {
            1 => Some(Size::B),
            2 => Some(Size::H),
            4 => Some(Size::W),
            8 => Some(Size::DW),
            _ => None,
        }
    }

    pub(super) const fn from_code(code: u8) -> Size {
        match code & code::SIZE_MASK {
            code::B => Size::B,
            code::H => Size::H,
            code::W => Size::W,
            _ => Size::DW,
        }
    }
}

/// Arithmetic with two operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AluOp {
    /// Addition, wrapping.
    Add,
    /// Subtraction, wrapping.
    Sub,
    /// Multiplication, wrapping.
    Mul,
    /// Unsigned division; by zero gives zero.
    Div,
    /// Bitwise or.
    Or,
    /// Bitwise and.
    And,
    /// Shift left; the count is taken modulo the width.
    Lsh,
    /// Logical shift right; the count is taken modulo the width.
    Rsh,
    /// Unsigned remainder; by zero leaves the dividend.
    Mod,
    /// Exclusive or.
    Xor,
    /// Move.
    Mov,
    /// Shift right that keeps the sign; the count is taken modulo the width.
    Arsh,
    /// Signed division (kernel 6.6); by zero gives zero.
    SDiv,
    /// Signed remainder (kernel 6.6); by zero leaves the dividend.
    SMod,
}

impl AluOp {
    /// Every operation.
    pub const ALL: [AluOp; 14] = [
        AluOp::Add,
        AluOp::Sub,
        AluOp::Mul,
        AluOp::Div,
        AluOp::Or,
        AluOp::And,
        AluOp::Lsh,
        AluOp::Rsh,
        AluOp::Mod,
        AluOp::Xor,
        AluOp::Mov,
        AluOp::Arsh,
        AluOp::SDiv,
        AluOp::SMod,
    ];

    /// Gives the bits of [`super::Insn::code`].
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            AluOp::Add => code::ADD,
            AluOp::Sub => code::SUB,
            AluOp::Mul => code::MUL,
            AluOp::Div | AluOp::SDiv => code::DIV,
            AluOp::Or => code::OR,
            AluOp::And => code::AND,
            AluOp::Lsh => code::LSH,
            AluOp::Rsh => code::RSH,
            AluOp::Mod | AluOp::SMod => code::MOD,
            AluOp::Xor => code::XOR,
            AluOp::Mov => code::MOV,
            AluOp::Arsh => code::ARSH,
        }
    }

    /// Gives [`super::Insn::off`], which tells signed division from unsigned.
    #[must_use]
    pub const fn off(self) -> i16 {
        match self {
            AluOp::SDiv | AluOp::SMod => 1,
            _ => 0,
        }
    }

    pub(super) const fn from_code(code: u8, off: i16) -> Option<AluOp> {
        let op = match (code & code::OP_MASK, off) {
            (code::ADD, 0) => AluOp::Add,
            (code::SUB, 0) => AluOp::Sub,
            (code::MUL, 0) => AluOp::Mul,
            (code::DIV, 0) => AluOp::Div,
            (code::DIV, 1) => AluOp::SDiv,
            (code::OR, 0) => AluOp::Or,
            (code::AND, 0) => AluOp::And,
            (code::LSH, 0) => AluOp::Lsh,
            (code::RSH, 0) => AluOp::Rsh,
            (code::MOD, 0) => AluOp::Mod,
            (code::MOD, 1) => AluOp::SMod,
            (code::XOR, 0) => AluOp::Xor,
            (code::MOV, 0) => AluOp::Mov,
            (code::ARSH, 0) => AluOp::Arsh,
            _ => return None,
        };
        Some(op)
    }
}

/// The comparison of a conditional jump.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cond {
    /// Equal.
    Eq,
    /// Not equal.
    Ne,
    /// Unsigned greater.
    Gt,
    /// Unsigned greater or equal.
    Ge,
    /// Unsigned less.
    Lt,
    /// Unsigned less or equal.
    Le,
    /// Signed greater.
    Sgt,
    /// Signed greater or equal.
    Sge,
    /// Signed less.
    Slt,
    /// Signed less or equal.
    Sle,
    /// Any bit in common.
    Set,
}

impl Cond {
    /// Every comparison.
    pub const ALL: [Cond; 11] = [
        Cond::Eq,
        Cond::Ne,
        Cond::Gt,
        Cond::Ge,
        Cond::Lt,
        Cond::Le,
        Cond::Sgt,
        Cond::Sge,
        Cond::Slt,
        Cond::Sle,
        Cond::Set,
    ];

    /// Gives the bits of [`super::Insn::code`].
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Cond::Eq => code::JEQ,
            Cond::Ne => code::JNE,
            Cond::Gt => code::JGT,
            Cond::Ge => code::JGE,
            Cond::Lt => code::JLT,
            Cond::Le => code::JLE,
            Cond::Sgt => code::JSGT,
            Cond::Sge => code::JSGE,
            Cond::Slt => code::JSLT,
            Cond::Sle => code::JSLE,
            Cond::Set => code::JSET,
        }
    }

    pub(super) const fn from_code(code: u8) -> Option<Cond> {
        let cond = match code & code::OP_MASK {
            code::JEQ => Cond::Eq,
            code::JNE => Cond::Ne,
            code::JGT => Cond::Gt,
            code::JGE => Cond::Ge,
            code::JLT => Cond::Lt,
            code::JLE => Cond::Le,
            code::JSGT => Cond::Sgt,
            code::JSGE => Cond::Sge,
            code::JSLT => Cond::Slt,
            code::JSLE => Cond::Sle,
            code::JSET => Cond::Set,
            _ => return None,
        };
        Some(cond)
    }

    /// Gives the comparison that holds exactly when this one does not; [`Cond::Set`] has none.
    #[must_use]
    pub const fn negated(self) -> Option<Cond> {
        let cond = match self {
            Cond::Eq => Cond::Ne,
            Cond::Ne => Cond::Eq,
            Cond::Gt => Cond::Le,
            Cond::Le => Cond::Gt,
            Cond::Ge => Cond::Lt,
            Cond::Lt => Cond::Ge,
            Cond::Sgt => Cond::Sle,
            Cond::Sle => Cond::Sgt,
            Cond::Sge => Cond::Slt,
            Cond::Slt => Cond::Sge,
            Cond::Set => return None,
        };
        Some(cond)
    }

    /// Gives the comparison that holds for `(b, a)` exactly when this one holds for `(a, b)`.
    #[must_use]
    pub const fn swapped(self) -> Cond {
        match self {
            Cond::Gt => Cond::Lt,
            Cond::Lt => Cond::Gt,
            Cond::Ge => Cond::Le,
            Cond::Le => Cond::Ge,
            Cond::Sgt => Cond::Slt,
            Cond::Slt => Cond::Sgt,
            Cond::Sge => Cond::Sle,
            Cond::Sle => Cond::Sge,
            Cond::Eq | Cond::Ne | Cond::Set => self,
        }
    }
}

/// Atomic operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AtomicOp {
    /// Addition (all kernels).
    Add,
    /// Or (kernel 5.12, as are all that follow).
    Or,
    /// And.
    And,
    /// Exclusive or.
    Xor,
    /// Addition; the old value comes back in the source register.
    FetchAdd,
    /// Or; the old value comes back in the source register.
    FetchOr,
    /// And; the old value comes back in the source register.
    FetchAnd,
    /// Exclusive or; the old value comes back in the source register.
    FetchXor,
    /// Exchange; the old value comes back in the source register.
    Xchg,
    /// Stores where the old value equals `r0`; the old value comes back in `r0`.
    Cmpxchg,
}

impl AtomicOp {
    /// Every operation.
    pub const ALL: [AtomicOp; 10] = [
        AtomicOp::Add,
        AtomicOp::Or,
        AtomicOp::And,
        AtomicOp::Xor,
        AtomicOp::FetchAdd,
        AtomicOp::FetchOr,
        AtomicOp::FetchAnd,
        AtomicOp::FetchXor,
        AtomicOp::Xchg,
        AtomicOp::Cmpxchg,
    ];

    /// Gives [`super::Insn::imm`].
    #[must_use]
    pub const fn imm(self) -> i32 {
        match self {
            AtomicOp::Add => code::ADD as i32,
            AtomicOp::Or => code::OR as i32,
            AtomicOp::And => code::AND as i32,
            AtomicOp::Xor => code::XOR as i32,
            AtomicOp::FetchAdd => code::ADD as i32 | code::FETCH,
            AtomicOp::FetchOr => code::OR as i32 | code::FETCH,
            AtomicOp::FetchAnd => code::AND as i32 | code::FETCH,
            AtomicOp::FetchXor => code::XOR as i32 | code::FETCH,
            AtomicOp::Xchg => code::XCHG,
            AtomicOp::Cmpxchg => code::CMPXCHG,
        }
    }

    pub(super) fn from_imm(imm: i32) -> Option<AtomicOp> {
        AtomicOp::ALL.into_iter().find(|op| op.imm() == imm)
    }

    /// Tells whether the old value comes back in the source register.
    #[must_use]
    pub const fn fetches_to_src(self) -> bool {
        matches!(
            self,
            AtomicOp::FetchAdd
                | AtomicOp::FetchOr
                | AtomicOp::FetchAnd
                | AtomicOp::FetchXor
                | AtomicOp::Xchg
        )
    }
}

/// What the immediate of `ld_imm64` means: its source register field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Pseudo {
    /// A plain 64-bit value.
    Value,
    /// A map by file descriptor.
    MapFd,
    /// The value of entry 0 of a map by file descriptor; the second slot is the offset into it.
    MapValue,
    /// A kernel variable by BTF id.
    BtfId,
    /// A subprogram, in slots from the next instruction.
    Func,
    /// A map by index into the program's `fd_array`.
    MapIndex,
    /// The value of entry 0 of a map by index into the program's `fd_array`.
    MapIndexValue,
}

impl Pseudo {
    /// Every kind, ascending by number.
    pub const ALL: [Pseudo; 7] = [
        Pseudo::Value,
        Pseudo::MapFd,
        Pseudo::MapValue,
        Pseudo::BtfId,
        Pseudo::Func,
        Pseudo::MapIndex,
        Pseudo::MapIndexValue,
    ];

    /// Gives [`super::Insn::src`].
    #[must_use]
    pub const fn src(self) -> u8 {
        match self {
            Pseudo::Value => 0,
            Pseudo::MapFd => 1,
            Pseudo::MapValue => 2,
            Pseudo::BtfId => 3,
            Pseudo::Func => 4,
            Pseudo::MapIndex => 5,
            Pseudo::MapIndexValue => 6,
        }
    }

    pub(super) const fn from_src(src: u8) -> Option<Pseudo> {
        let kind = match src {
            0 => Pseudo::Value,
            1 => Pseudo::MapFd,
            2 => Pseudo::MapValue,
            3 => Pseudo::BtfId,
            4 => Pseudo::Func,
            5 => Pseudo::MapIndex,
            6 => Pseudo::MapIndexValue,
            _ => return None,
        };
        Some(kind)
    }
}

/// Which byte order [`super::Op::Swap`] makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SwapOrder {
    /// Between host and little-endian order.
    Le,
    /// Between host and big-endian order.
    Be,
    /// The other order, whatever the host's (kernel 6.6).
    Always,
}
