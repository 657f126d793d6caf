//! The enum view of an instruction, shared by disassembler, checker and interpreter.

use super::code;
use super::{Insn, Reg};
use crate::helper::HelperId;
use std::fmt;

/// What an instruction does, with its operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    /// `dst op= src`.
    Alu {
        /// Whether 64 or 32 bits are computed.
        width: Width,
        /// The operation.
        op: AluOp,
        /// First operand and result.
        dst: Reg,
        /// Second operand.
        src: Operand,
    },
    /// `dst = (signed bits)src`.
    MovSx {
        /// Width of the result.
        width: Width,
        /// How many low bits of the source count: 8, 16 or 32.
        bits: u8,
        /// Result.
        dst: Reg,
        /// Source.
        src: Reg,
    },
    /// `dst = -dst`.
    Neg {
        /// Whether 64 or 32 bits are computed.
        width: Width,
        /// Operand and result.
        dst: Reg,
    },
    /// Byte order of the low bits of `dst`; the bits above become zero.
    Swap {
        /// Which order.
        order: SwapOrder,
        /// 16, 32 or 64.
        bits: u8,
        /// Operand and result.
        dst: Reg,
    },
    /// `dst = *(size *)(base + off)`.
    Load {
        /// Size of the access.
        size: Size,
        /// Whether the value is sign-extended.
        signed: bool,
        /// Result.
        dst: Reg,
        /// Register that holds the address.
        base: Reg,
        /// Bytes added to the address.
        off: i16,
    },
    /// `*(size *)(base + off) = src`.
    Store {
        /// Size of the access.
        size: Size,
        /// Register that holds the address.
        base: Reg,
        /// Bytes added to the address.
        off: i16,
        /// What is stored.
        src: Operand,
    },
    /// An atomic read-modify-write of `*(size *)(base + off)`.
    Atomic {
        /// Size of the access: [`Size::W`] or [`Size::DW`].
        size: Size,
        /// The operation.
        op: AtomicOp,
        /// Register that holds the address.
        base: Reg,
        /// Bytes added to the address.
        off: i16,
        /// Operand, and the old value where the operation fetches.
        src: Reg,
    },
    /// First slot of `ld_imm64`; the high half of the immediate is in the second.
    LoadImm64 {
        /// What the immediate means.
        kind: Pseudo,
        /// Result.
        dst: Reg,
        /// Low half of the immediate.
        low: i32,
    },
    /// `r0` = packet bytes (socket filters only).
    LoadPacket {
        /// Size of the access: B, H or W.
        size: Size,
        /// Register added to the offset.
        index: Option<Reg>,
        /// Constant offset.
        off: i32,
    },
    /// `goto`.
    Jump {
        /// Distance in slots from the next instruction.
        off: i32,
        /// Whether it is the 32-bit form of instruction set v4.
        long: bool,
    },
    /// `if dst cond src goto`.
    Branch {
        /// Whether 64 or 32 bits are compared.
        width: Width,
        /// The comparison.
        cond: Cond,
        /// Left operand.
        dst: Reg,
        /// Right operand.
        src: Operand,
        /// Distance in slots from the next instruction.
        off: i16,
    },
    /// `call`.
    Call(Callee),
    /// `exit`.
    Exit,
}

/// The second operand of arithmetic, stores and branches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operand {
    /// A register.
    Reg(Reg),
    /// A constant, sign-extended where 64 bits are computed.
    Imm(i32),
}

/// What is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Callee {
    /// A helper by number.
    Helper(HelperId),
    /// A subprogram, in slots from the next instruction.
    Local(i32),
    /// A kernel function.
    Kfunc {
        /// BTF id of the function.
        btf_id: i32,
        /// Index of the module's BTF in the program's `fd_array`; 0 is vmlinux.
        fd_index: i16,
    },
}

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

    /// Gives the bits of [`Insn::code`].
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

    const fn from_code(code: u8) -> Size {
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

    /// Gives the bits of [`Insn::code`].
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

    /// Gives [`Insn::off`], which tells signed division from unsigned.
    #[must_use]
    pub const fn off(self) -> i16 {
        match self {
            AluOp::SDiv | AluOp::SMod => 1,
            _ => 0,
        }
    }

    const fn from_code(code: u8, off: i16) -> Option<AluOp> {
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

    /// Gives the bits of [`Insn::code`].
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

    const fn from_code(code: u8) -> Option<Cond> {
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

    /// Gives [`Insn::imm`].
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

    fn from_imm(imm: i32) -> Option<AtomicOp> {
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

    /// Gives [`Insn::src`].
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

    const fn from_src(src: u8) -> Option<Pseudo> {
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

/// Which byte order [`Op::Swap`] makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SwapOrder {
    /// Between host and little-endian order.
    Le,
    /// Between host and big-endian order.
    Be,
    /// The other order, whatever the host's (kernel 6.6).
    Always,
}

/// Why a slot is no instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BadInsn {
    /// The operation code is none, or not in this combination of fields.
    Code(u8),
    /// A register number above 10.
    Register(u8),
    /// A field that must be zero, or one of a few values, is another.
    Field(&'static str),
}

impl fmt::Display for BadInsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadInsn::Code(code) => write!(f, "no instruction has code {code:#04x}"),
            BadInsn::Register(number) => write!(f, "there is no register r{number}"),
            BadInsn::Field(name) => write!(f, "field {name} has a value this instruction forbids"),
        }
    }
}

impl std::error::Error for BadInsn {}

fn zero(is_zero: bool, name: &'static str) -> Result<(), BadInsn> {
    if is_zero {
        Ok(())
    } else {
        Err(BadInsn::Field(name))
    }
}

fn reg(number: u8) -> Result<Reg, BadInsn> {
    if number <= Reg::FP.0 {
        Ok(Reg(number))
    } else {
        Err(BadInsn::Register(number))
    }
}

impl Insn {
    /// Classifies the slot.
    ///
    /// # Errors
    /// [`BadInsn`] for every slot that this project's instruction set (v3 and v4) does not have,
    /// the second slot of `ld_imm64` among them.
    pub fn op(self) -> Result<Op, BadInsn> {
        match self.code & code::CLASS_MASK {
            code::LD => self.op_ld(),
            code::LDX => self.op_ldx(),
            code::ST | code::STX => self.op_store(),
            code::ALU | code::ALU64 => self.op_alu(),
            _ => self.op_jump(),
        }
    }

    fn bad(self) -> BadInsn {
        BadInsn::Code(self.code)
    }

    /// Reads the second operand, and demands that the field not used is zero.
    fn operand(self) -> Result<Operand, BadInsn> {
        if self.code & code::X == code::X {
            zero(self.imm == 0, "imm")?;
            Ok(Operand::Reg(reg(self.src)?))
        } else {
            zero(self.src == 0, "src")?;
            Ok(Operand::Imm(self.imm))
        }
    }

    fn op_ld(self) -> Result<Op, BadInsn> {
        let size = Size::from_code(self.code);
        match self.code & code::MODE_MASK {
            code::IMM if size == Size::DW => {
                zero(self.off == 0, "off")?;
                let kind = Pseudo::from_src(self.src).ok_or(BadInsn::Field("src"))?;
                Ok(Op::LoadImm64 {
                    kind,
                    dst: reg(self.dst)?,
                    low: self.imm,
                })
            }
            mode @ (code::ABS | code::IND) if size != Size::DW => {
                zero(self.off == 0, "off")?;
                zero(self.dst == 0, "dst")?;
                let index = if mode == code::IND {
                    Some(reg(self.src)?)
                } else {
                    zero(self.src == 0, "src")?;
                    None
                };
                Ok(Op::LoadPacket {
                    size,
                    index,
                    off: self.imm,
                })
            }
            _ => Err(self.bad()),
        }
    }

    fn op_ldx(self) -> Result<Op, BadInsn> {
        let size = Size::from_code(self.code);
        let signed = match self.code & code::MODE_MASK {
            code::MEM => false,
            code::MEMSX if size != Size::DW => true,
            _ => return Err(self.bad()),
        };
        zero(self.imm == 0, "imm")?;
        Ok(Op::Load {
            size,
            signed,
            dst: reg(self.dst)?,
            base: reg(self.src)?,
            off: self.off,
        })
    }

    fn op_store(self) -> Result<Op, BadInsn> {
        let size = Size::from_code(self.code);
        let base = reg(self.dst)?;
        let off = self.off;
        match (self.code & code::CLASS_MASK, self.code & code::MODE_MASK) {
            (code::ST, code::MEM) => {
                zero(self.src == 0, "src")?;
                let src = Operand::Imm(self.imm);
                Ok(Op::Store {
                    size,
                    base,
                    off,
                    src,
                })
            }
            (code::STX, code::MEM) => {
                zero(self.imm == 0, "imm")?;
                let src = Operand::Reg(reg(self.src)?);
                Ok(Op::Store {
                    size,
                    base,
                    off,
                    src,
                })
            }
            (code::STX, code::ATOMIC) if size >= Size::W => Ok(Op::Atomic {
                size,
                op: AtomicOp::from_imm(self.imm).ok_or(BadInsn::Field("imm"))?,
                base,
                off,
                src: reg(self.src)?,
            }),
            _ => Err(self.bad()),
        }
    }

    fn op_alu(self) -> Result<Op, BadInsn> {
        let width = if self.code & code::CLASS_MASK == code::ALU64 {
            Width::W64
        } else {
            Width::W32
        };
        let by_reg = self.code & code::X == code::X;
        match self.code & code::OP_MASK {
            code::NEG if !by_reg => {
                zero(self.src == 0, "src")?;
                zero(self.off == 0, "off")?;
                zero(self.imm == 0, "imm")?;
                Ok(Op::Neg {
                    width,
                    dst: reg(self.dst)?,
                })
            }
            code::END => {
                let order = match (width, by_reg) {
                    (Width::W32, false) => SwapOrder::Le,
                    (Width::W32, true) => SwapOrder::Be,
                    (Width::W64, false) => SwapOrder::Always,
                    (Width::W64, true) => return Err(self.bad()),
                };
                zero(self.src == 0, "src")?;
                zero(self.off == 0, "off")?;
                let bits = match self.imm {
                    16 => 16,
                    32 => 32,
                    64 => 64,
                    _ => return Err(BadInsn::Field("imm")),
                };
                Ok(Op::Swap {
                    order,
                    bits,
                    dst: reg(self.dst)?,
                })
            }
            code::MOV if by_reg && self.off != 0 => {
                zero(self.imm == 0, "imm")?;
                let bits = match (self.off, width) {
                    (8, _) => 8,
                    (16, _) => 16,
                    (32, Width::W64) => 32,
                    _ => return Err(BadInsn::Field("off")),
                };
                Ok(Op::MovSx {
                    width,
                    bits,
                    dst: reg(self.dst)?,
                    src: reg(self.src)?,
                })
            }
            code::NEG | 0xe0 | 0xf0 => Err(self.bad()),
            _ => {
                let op = AluOp::from_code(self.code, self.off).ok_or(BadInsn::Field("off"))?;
                Ok(Op::Alu {
                    width,
                    op,
                    dst: reg(self.dst)?,
                    src: self.operand()?,
                })
            }
        }
    }

    fn op_jump(self) -> Result<Op, BadInsn> {
        let long = self.code & code::CLASS_MASK == code::JMP32;
        let by_reg = self.code & code::X == code::X;
        match self.code & code::OP_MASK {
            code::JA if !by_reg => {
                zero(self.dst == 0, "dst")?;
                zero(self.src == 0, "src")?;
                let off = if long {
                    zero(self.off == 0, "off")?;
                    self.imm
                } else {
                    zero(self.imm == 0, "imm")?;
                    i32::from(self.off)
                };
                Ok(Op::Jump { off, long })
            }
            code::CALL if !by_reg && !long => self.op_call(),
            code::EXIT if !by_reg && !long => {
                zero(self.dst == 0, "dst")?;
                zero(self.src == 0, "src")?;
                zero(self.off == 0, "off")?;
                zero(self.imm == 0, "imm")?;
                Ok(Op::Exit)
            }
            code::JA => Err(self.bad()),
            _ => Ok(Op::Branch {
                width: if long { Width::W32 } else { Width::W64 },
                cond: Cond::from_code(self.code).ok_or(self.bad())?,
                dst: reg(self.dst)?,
                src: self.operand()?,
                off: self.off,
            }),
        }
    }

    fn op_call(self) -> Result<Op, BadInsn> {
        zero(self.dst == 0, "dst")?;
        let callee = match self.src {
            code::CALL_HELPER => {
                zero(self.off == 0, "off")?;
                let number = u32::try_from(self.imm).map_err(|_| BadInsn::Field("imm"))?;
                Callee::Helper(HelperId(number))
            }
            code::CALL_LOCAL => {
                zero(self.off == 0, "off")?;
                Callee::Local(self.imm)
            }
            code::CALL_KFUNC => Callee::Kfunc {
                btf_id: self.imm,
                fd_index: self.off,
            },
            _ => return Err(BadInsn::Field("src")),
        };
        Ok(Op::Call(callee))
    }
}
