//! One eBPF instruction slot: the 64-bit encoding; with the feature `insn` its builders, and the enum view `Op`.

#[cfg(feature = "insn")]
mod build;
pub mod code;
#[cfg(feature = "insn")]
mod effect;
#[cfg(feature = "insn")]
mod op;
#[cfg(feature = "insn")]
mod parts;
#[cfg(feature = "insn")]
mod special;

#[cfg(feature = "insn")]
pub use op::{BadInsn, Callee, Op, Operand};
#[cfg(feature = "insn")]
pub use parts::{AluOp, AtomicOp, Cond, Pseudo, Size, SwapOrder, Width};
#[cfg(feature = "insn")]
pub use special::Special;

/// A register: `r0` result, `r1`–`r5` arguments, `r6`–`r9` kept across calls, `r10` frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reg(pub u8);

impl Reg {
    /// The result of calls and of the program.
    pub const R0: Reg = Reg(0);
    /// The first argument; the context when a program starts.
    pub const R1: Reg = Reg(1);
    /// The second argument.
    pub const R2: Reg = Reg(2);
    /// The third argument.
    pub const R3: Reg = Reg(3);
    /// The fourth argument.
    pub const R4: Reg = Reg(4);
    /// The fifth argument.
    pub const R5: Reg = Reg(5);
    /// The first register kept across calls.
    pub const R6: Reg = Reg(6);
    /// The second register kept across calls.
    pub const R7: Reg = Reg(7);
    /// The third register kept across calls.
    pub const R8: Reg = Reg(8);
    /// The fourth register kept across calls.
    pub const R9: Reg = Reg(9);
    /// The read-only frame pointer.
    pub const FP: Reg = Reg(10);
}

/// One 8-byte instruction slot in host-independent form; `ld_imm64` takes two of them.
///
/// Kernel C type: `struct bpf_insn` (include/uapi/linux/bpf.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Insn {
    /// Operation code: class in the low three bits.
    pub code: u8,
    /// Destination register number, 0 to 10.
    pub dst: u8,
    /// Source register number, or the pseudo kind of `ld_imm64` and `call`.
    pub src: u8,
    /// Signed jump distance in slots, or memory offset in bytes.
    pub off: i16,
    /// Immediate operand.
    pub imm: i32,
}

impl Insn {
    /// Encodes the slot for a little-endian target.
    #[must_use]
    pub const fn encode_le(self) -> [u8; 8] {
        let off = self.off.to_le_bytes();
        let imm = self.imm.to_le_bytes();
        let regs = (self.dst & 0x0f) | (self.src << 4);
        [
            self.code, regs, off[0], off[1], imm[0], imm[1], imm[2], imm[3],
        ]
    }

    /// Encodes the slot for a big-endian target.
    #[must_use]
    pub const fn encode_be(self) -> [u8; 8] {
        let off = self.off.to_be_bytes();
        let imm = self.imm.to_be_bytes();
        let regs = (self.dst << 4) | (self.src & 0x0f);
        [
            self.code, regs, off[0], off[1], imm[0], imm[1], imm[2], imm[3],
        ]
    }

    /// Encodes the slot in the byte order of the machine this runs on.
    #[must_use]
    pub const fn encode(self) -> [u8; 8] {
        if cfg!(target_endian = "big") {
            self.encode_be()
        } else {
            self.encode_le()
        }
    }

    /// Decodes a slot of a little-endian target; every bit pattern is a slot.
    #[must_use]
    pub const fn decode_le(bytes: [u8; 8]) -> Insn {
        let [code, regs, o0, o1, i0, i1, i2, i3] = bytes;
        Insn {
            code,
            dst: regs & 0x0f,
            src: regs >> 4,
            off: i16::from_le_bytes([o0, o1]),
            imm: i32::from_le_bytes([i0, i1, i2, i3]),
        }
    }

    /// Decodes a slot of a big-endian target; every bit pattern is a slot.
    #[must_use]
    pub const fn decode_be(bytes: [u8; 8]) -> Insn {
        let [code, regs, o0, o1, i0, i1, i2, i3] = bytes;
        Insn {
            code,
            dst: regs >> 4,
            src: regs & 0x0f,
            off: i16::from_be_bytes([o0, o1]),
            imm: i32::from_be_bytes([i0, i1, i2, i3]),
        }
    }

    /// Decodes a slot in the byte order of the machine this runs on.
    #[must_use]
    pub const fn decode(bytes: [u8; 8]) -> Insn {
        if cfg!(target_endian = "big") {
            Insn::decode_be(bytes)
        } else {
            Insn::decode_le(bytes)
        }
    }

    /// Tells whether this is the first slot of `ld_imm64`, which takes the next slot too.
    #[must_use]
    pub const fn is_wide(self) -> bool {
        self.code == code::LD | code::IMM | code::DW
    }

    /// Gives the number of slots the instruction that starts here takes: 1 or 2.
    #[must_use]
    pub const fn slots(self) -> usize {
        if self.is_wide() { 2 } else { 1 }
    }

    /// Gives the 64-bit immediate of the two slots of `ld_imm64`.
    #[must_use]
    pub const fn wide_value(slots: [Insn; 2]) -> u64 {
        (slots[0].imm as u32 as u64) | ((slots[1].imm as u32 as u64) << 32)
    }
}

#[cfg(all(test, feature = "insn"))]
mod tests;
