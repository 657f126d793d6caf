//! Builders: one `const fn` per form of instruction.

use super::code::{
    ABS, ALU, ALU64, ATOMIC, CALL, CALL_HELPER, CALL_KFUNC, CALL_LOCAL, DW, END, EXIT, IMM, IND,
    JA, JMP, JMP32, K, LD, LDX, MEM, MEMSX, MOV, NEG, ST, STX, X,
};
use super::{AluOp, AtomicOp, Cond, Insn, Pseudo, Reg, Size};
use crate::helper::HelperId;

impl Insn {
    const fn new(code: u8, dst: Reg, src: Reg, off: i16, imm: i32) -> Insn {
        Insn {
            code,
            dst: dst.0,
            src: src.0,
            off,
            imm,
        }
    }

    /// Builds `dst op= src` on 64 bits.
    #[must_use]
    pub const fn alu64(op: AluOp, dst: Reg, src: Reg) -> Insn {
        Insn::new(ALU64 | X | op.code(), dst, src, op.off(), 0)
    }

    /// Builds `dst op= imm` on 64 bits; the immediate is sign-extended.
    #[must_use]
    pub const fn alu64_imm(op: AluOp, dst: Reg, imm: i32) -> Insn {
        Insn::new(ALU64 | K | op.code(), dst, Reg(0), op.off(), imm)
    }

    /// Builds `dst op= src` on 32 bits; the upper half of `dst` becomes zero.
    #[must_use]
    pub const fn alu32(op: AluOp, dst: Reg, src: Reg) -> Insn {
        Insn::new(ALU | X | op.code(), dst, src, op.off(), 0)
    }

    /// Builds `dst op= imm` on 32 bits; the upper half of `dst` becomes zero.
    #[must_use]
    pub const fn alu32_imm(op: AluOp, dst: Reg, imm: i32) -> Insn {
        Insn::new(ALU | K | op.code(), dst, Reg(0), op.off(), imm)
    }

    /// Builds `dst = src` on 64 bits.
    #[must_use]
    pub const fn mov64(dst: Reg, src: Reg) -> Insn {
        Insn::alu64(AluOp::Mov, dst, src)
    }

    /// Builds `dst = imm`, sign-extended to 64 bits.
    #[must_use]
    pub const fn mov64_imm(dst: Reg, imm: i32) -> Insn {
        Insn::alu64_imm(AluOp::Mov, dst, imm)
    }

    /// Builds `dst = src` on 32 bits, zero-extended.
    #[must_use]
    pub const fn mov32(dst: Reg, src: Reg) -> Insn {
        Insn::alu32(AluOp::Mov, dst, src)
    }

    /// Builds `dst = imm` on 32 bits, zero-extended.
    #[must_use]
    pub const fn mov32_imm(dst: Reg, imm: i32) -> Insn {
        Insn::alu32_imm(AluOp::Mov, dst, imm)
    }

    /// Builds a move of the low `bits` (8, 16 or 32) of `src`, sign-extended to 64 bits.
    ///
    /// # Minimum kernel version
    /// 6.6 (instruction set v4).
    #[must_use]
    pub const fn movsx64(dst: Reg, src: Reg, bits: u8) -> Insn {
        Insn::new(ALU64 | X | MOV, dst, src, bits as i16, 0)
    }

    /// Builds a move of the low `bits` (8 or 16) of `src`, sign-extended to 32 bits.
    ///
    /// # Minimum kernel version
    /// 6.6 (instruction set v4).
    #[must_use]
    pub const fn movsx32(dst: Reg, src: Reg, bits: u8) -> Insn {
        Insn::new(ALU | X | MOV, dst, src, bits as i16, 0)
    }

    /// Builds `dst = -dst` on 64 bits.
    #[must_use]
    pub const fn neg64(dst: Reg) -> Insn {
        Insn::new(ALU64 | K | NEG, dst, Reg(0), 0, 0)
    }

    /// Builds `dst = -dst` on 32 bits.
    #[must_use]
    pub const fn neg32(dst: Reg) -> Insn {
        Insn::new(ALU | K | NEG, dst, Reg(0), 0, 0)
    }

    /// Builds the conversion of the low `bits` (16, 32 or 64) between host and little-endian order.
    #[must_use]
    pub const fn to_le(dst: Reg, bits: u8) -> Insn {
        Insn::new(ALU | K | END, dst, Reg(0), 0, bits as i32)
    }

    /// Builds the conversion of the low `bits` (16, 32 or 64) between host and big-endian order.
    #[must_use]
    pub const fn to_be(dst: Reg, bits: u8) -> Insn {
        Insn::new(ALU | X | END, dst, Reg(0), 0, bits as i32)
    }

    /// Builds an unconditional byte swap of the low `bits` (16, 32 or 64).
    ///
    /// # Minimum kernel version
    /// 6.6 (instruction set v4).
    #[must_use]
    pub const fn bswap(dst: Reg, bits: u8) -> Insn {
        Insn::new(ALU64 | K | END, dst, Reg(0), 0, bits as i32)
    }

    /// Builds `dst = *(size *)(base + off)`, zero-extended.
    #[must_use]
    pub const fn ldx(size: Size, dst: Reg, base: Reg, off: i16) -> Insn {
        Insn::new(LDX | MEM | size.code(), dst, base, off, 0)
    }

    /// Builds `dst = *(signed size *)(base + off)`, sign-extended; the size is B, H or W.
    ///
    /// # Minimum kernel version
    /// 6.6 (instruction set v4).
    #[must_use]
    pub const fn ldsx(size: Size, dst: Reg, base: Reg, off: i16) -> Insn {
        Insn::new(LDX | MEMSX | size.code(), dst, base, off, 0)
    }

    /// Builds `*(size *)(base + off) = src`.
    #[must_use]
    pub const fn stx(size: Size, base: Reg, off: i16, src: Reg) -> Insn {
        Insn::new(STX | MEM | size.code(), base, src, off, 0)
    }

    /// Builds `*(size *)(base + off) = imm`, sign-extended where the size is DW.
    #[must_use]
    pub const fn st(size: Size, base: Reg, off: i16, imm: i32) -> Insn {
        Insn::new(ST | MEM | size.code(), base, Reg(0), off, imm)
    }

    /// Builds an atomic operation on `*(size *)(base + off)` with `src`; the size is W or DW.
    #[must_use]
    pub const fn atomic(size: Size, op: AtomicOp, base: Reg, off: i16, src: Reg) -> Insn {
        Insn::new(STX | ATOMIC | size.code(), base, src, off, op.imm())
    }

    /// Builds the two slots of `dst = value`.
    #[must_use]
    pub const fn ld_imm64(dst: Reg, value: u64) -> [Insn; 2] {
        Insn::ld_pseudo(dst, Pseudo::Value, value as i32, (value >> 32) as i32)
    }

    /// Builds the two slots of `ld_imm64` of a pseudo kind, with the immediates of both slots.
    #[must_use]
    pub const fn ld_pseudo(dst: Reg, kind: Pseudo, low: i32, high: i32) -> [Insn; 2] {
        [
            Insn::new(LD | IMM | DW, dst, Reg(kind.src()), 0, low),
            Insn::new(0, Reg(0), Reg(0), 0, high),
        ]
    }

    /// Builds the load of packet bytes at a constant offset into `r0` (socket filters only).
    #[must_use]
    pub const fn ld_abs(size: Size, off: i32) -> Insn {
        Insn::new(LD | ABS | size.code(), Reg(0), Reg(0), 0, off)
    }

    /// Builds the load of packet bytes at `index + off` into `r0` (socket filters only).
    #[must_use]
    pub const fn ld_ind(size: Size, index: Reg, off: i32) -> Insn {
        Insn::new(LD | IND | size.code(), Reg(0), index, 0, off)
    }

    /// Builds `goto`: `off` counts slots from the next instruction.
    #[must_use]
    pub const fn ja(off: i16) -> Insn {
        Insn::new(JMP | K | JA, Reg(0), Reg(0), off, 0)
    }

    /// Builds `goto` with a 32-bit distance.
    ///
    /// # Minimum kernel version
    /// 6.6 (instruction set v4).
    #[must_use]
    pub const fn gotol(off: i32) -> Insn {
        Insn::new(JMP32 | K | JA, Reg(0), Reg(0), 0, off)
    }

    /// Builds `if dst cond src goto off`, comparing 64 bits.
    #[must_use]
    pub const fn jmp64(cond: Cond, dst: Reg, src: Reg, off: i16) -> Insn {
        Insn::new(JMP | X | cond.code(), dst, src, off, 0)
    }

    /// Builds `if dst cond imm goto off`, comparing 64 bits; the immediate is sign-extended.
    #[must_use]
    pub const fn jmp64_imm(cond: Cond, dst: Reg, imm: i32, off: i16) -> Insn {
        Insn::new(JMP | K | cond.code(), dst, Reg(0), off, imm)
    }

    /// Builds `if dst cond src goto off`, comparing the low 32 bits.
    #[must_use]
    pub const fn jmp32(cond: Cond, dst: Reg, src: Reg, off: i16) -> Insn {
        Insn::new(JMP32 | X | cond.code(), dst, src, off, 0)
    }

    /// Builds `if dst cond imm goto off`, comparing the low 32 bits.
    #[must_use]
    pub const fn jmp32_imm(cond: Cond, dst: Reg, imm: i32, off: i16) -> Insn {
        Insn::new(JMP32 | K | cond.code(), dst, Reg(0), off, imm)
    }

    /// Builds the call of a helper.
    #[must_use]
    pub const fn call(helper: HelperId) -> Insn {
        Insn::new(JMP | K | CALL, Reg(0), Reg(CALL_HELPER), 0, helper.0 as i32)
    }

    /// Builds the call of a subprogram: `distance` counts slots from the next instruction.
    #[must_use]
    pub const fn call_local(distance: i32) -> Insn {
        Insn::new(JMP | K | CALL, Reg(0), Reg(CALL_LOCAL), 0, distance)
    }

    /// Builds the call of a kernel function by BTF id; `fd_index` 0 is vmlinux.
    #[must_use]
    pub const fn call_kfunc(btf_id: i32, fd_index: i16) -> Insn {
        Insn::new(JMP | K | CALL, Reg(0), Reg(CALL_KFUNC), fd_index, btf_id)
    }

    /// Builds `exit`.
    #[must_use]
    pub const fn exit() -> Insn {
        Insn::new(JMP | K | EXIT, Reg(0), Reg(0), 0, 0)
    }
}
