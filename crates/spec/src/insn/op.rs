//! The enum view of an instruction, shared by disassembler, checker and interpreter.

use super::code;
use super::{AluOp, AtomicOp, Cond, Insn, Pseudo, Reg, Size, SwapOrder, Width};
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

impl Op {
    /// Gives the slot of this operation; for [`Op::LoadImm64`] the first of the two.
    ///
    /// The inverse of [`Insn::op`] for every operation that one can give.
    #[must_use]
    pub const fn insn(self) -> Insn {
        match self {
            Op::Alu {
                width,
                op,
                dst,
                src,
            } => match (width, src) {
                (Width::W64, Operand::Reg(src)) => Insn::alu64(op, dst, src),
                (Width::W64, Operand::Imm(imm)) => Insn::alu64_imm(op, dst, imm),
                (Width::W32, Operand::Reg(src)) => Insn::alu32(op, dst, src),
                (Width::W32, Operand::Imm(imm)) => Insn::alu32_imm(op, dst, imm),
            },
            Op::MovSx {
                width,
                bits,
                dst,
                src,
            } => match width {
                Width::W64 => Insn::movsx64(dst, src, bits),
                Width::W32 => Insn::movsx32(dst, src, bits),
            },
            Op::Neg { width, dst } => match width {
                Width::W64 => Insn::neg64(dst),
                Width::W32 => Insn::neg32(dst),
            },
            Op::Swap { order, bits, dst } => match order {
                SwapOrder::Le => Insn::to_le(dst, bits),
                SwapOrder::Be => Insn::to_be(dst, bits),
                SwapOrder::Always => Insn::bswap(dst, bits),
            },
            Op::Load {
                size,
                signed,
                dst,
                base,
                off,
            } => {
                if signed {
                    Insn::ldsx(size, dst, base, off)
                } else {
                    Insn::ldx(size, dst, base, off)
                }
            }
            Op::Store {
                size,
                base,
                off,
                src,
            } => match src {
                Operand::Reg(src) => Insn::stx(size, base, off, src),
                Operand::Imm(imm) => Insn::st(size, base, off, imm),
            },
            Op::Atomic {
                size,
                op,
                base,
                off,
                src,
            } => Insn::atomic(size, op, base, off, src),
            Op::LoadImm64 { kind, dst, low } => {
                let [first, _] = Insn::ld_pseudo(dst, kind, low, 0);
                first
            }
            Op::LoadPacket { size, index, off } => match index {
                Some(index) => Insn::ld_ind(size, index, off),
                None => Insn::ld_abs(size, off),
            },
            Op::Jump { off, long } => {
                if long {
                    Insn::gotol(off)
                } else {
                    Insn::ja(off as i16)
                }
            }
            Op::Branch {
                width,
                cond,
                dst,
                src,
                off,
            } => match (width, src) {
                (Width::W64, Operand::Reg(src)) => Insn::jmp64(cond, dst, src, off),
                (Width::W64, Operand::Imm(imm)) => Insn::jmp64_imm(cond, dst, imm, off),
                (Width::W32, Operand::Reg(src)) => Insn::jmp32(cond, dst, src, off),
                (Width::W32, Operand::Imm(imm)) => Insn::jmp32_imm(cond, dst, imm, off),
            },
            Op::Call(Callee::Helper(helper)) => Insn::call(helper),
            Op::Call(Callee::Local(distance)) => Insn::call_local(distance),
            Op::Call(Callee::Kfunc { btf_id, fd_index }) => Insn::call_kfunc(btf_id, fd_index),
            Op::Exit => Insn::exit(),
        }
    }
}
