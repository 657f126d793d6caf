//! One eBPF instruction slot: the 64-bit encoding, and builders for what the compiler emits.

/// A register: `r0` result, `r1`–`r5` arguments, `r6`–`r9` kept across calls, `r10` frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reg(pub u8);

impl Reg {
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
