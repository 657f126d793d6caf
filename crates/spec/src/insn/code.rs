//! Numbers of the instruction encoding, as the kernel's headers name them.
//!
//! Source: RFC 9669 and include/uapi/linux/bpf.h, bpf_common.h.

/// Mask of the class in [`super::Insn::code`].
pub const CLASS_MASK: u8 = 0x07;
/// Class of `ld_imm64` and of the old packet loads.
pub const LD: u8 = 0x00;
/// Class of loads from memory.
pub const LDX: u8 = 0x01;
/// Class of stores of an immediate.
pub const ST: u8 = 0x02;
/// Class of stores of a register, and of atomics.
pub const STX: u8 = 0x03;
/// Class of 32-bit arithmetic.
pub const ALU: u8 = 0x04;
/// Class of jumps that compare 64 bits, calls and exit.
pub const JMP: u8 = 0x05;
/// Class of jumps that compare 32 bits.
pub const JMP32: u8 = 0x06;
/// Class of 64-bit arithmetic.
pub const ALU64: u8 = 0x07;

/// Mask of the operation of arithmetic and jumps.
pub const OP_MASK: u8 = 0xf0;
/// Source bit: the second operand is the immediate.
pub const K: u8 = 0x00;
/// Source bit: the second operand is the source register.
pub const X: u8 = 0x08;

/// Arithmetic: addition.
pub const ADD: u8 = 0x00;
/// Arithmetic: subtraction.
pub const SUB: u8 = 0x10;
/// Arithmetic: multiplication.
pub const MUL: u8 = 0x20;
/// Arithmetic: division (signed where `off` is 1).
pub const DIV: u8 = 0x30;
/// Arithmetic: bitwise or.
pub const OR: u8 = 0x40;
/// Arithmetic: bitwise and.
pub const AND: u8 = 0x50;
/// Arithmetic: shift left.
pub const LSH: u8 = 0x60;
/// Arithmetic: logical shift right.
pub const RSH: u8 = 0x70;
/// Arithmetic: negation.
pub const NEG: u8 = 0x80;
/// Arithmetic: remainder (signed where `off` is 1).
pub const MOD: u8 = 0x90;
/// Arithmetic: exclusive or.
pub const XOR: u8 = 0xa0;
/// Arithmetic: move (sign-extending where `off` is 8, 16 or 32).
pub const MOV: u8 = 0xb0;
/// Arithmetic: shift right that keeps the sign.
pub const ARSH: u8 = 0xc0;
/// Arithmetic: byte order.
pub const END: u8 = 0xd0;

/// Jump: always (in class [`JMP32`] with a 32-bit distance in `imm`).
pub const JA: u8 = 0x00;
/// Jump: equal.
pub const JEQ: u8 = 0x10;
/// Jump: unsigned greater.
pub const JGT: u8 = 0x20;
/// Jump: unsigned greater or equal.
pub const JGE: u8 = 0x30;
/// Jump: any bit in common.
pub const JSET: u8 = 0x40;
/// Jump: not equal.
pub const JNE: u8 = 0x50;
/// Jump: signed greater.
pub const JSGT: u8 = 0x60;
/// Jump: signed greater or equal.
pub const JSGE: u8 = 0x70;
/// Call of a helper, a subprogram or a kernel function.
pub const CALL: u8 = 0x80;
/// Return from the program or subprogram.
pub const EXIT: u8 = 0x90;
/// Jump: unsigned less.
pub const JLT: u8 = 0xa0;
/// Jump: unsigned less or equal.
pub const JLE: u8 = 0xb0;
/// Jump: signed less.
pub const JSLT: u8 = 0xc0;
/// Jump: signed less or equal.
pub const JSLE: u8 = 0xd0;

/// Mask of the size of loads and stores.
pub const SIZE_MASK: u8 = 0x18;
/// Size: 4 bytes.
pub const W: u8 = 0x00;
/// Size: 2 bytes.
pub const H: u8 = 0x08;
/// Size: 1 byte.
pub const B: u8 = 0x10;
/// Size: 8 bytes.
pub const DW: u8 = 0x18;

/// Mask of the mode of loads and stores.
pub const MODE_MASK: u8 = 0xe0;
/// Mode: 64-bit immediate in two slots.
pub const IMM: u8 = 0x00;
/// Mode: packet bytes at a constant offset (socket filters only).
pub const ABS: u8 = 0x20;
/// Mode: packet bytes at a register's offset (socket filters only).
pub const IND: u8 = 0x40;
/// Mode: plain memory.
pub const MEM: u8 = 0x60;
/// Mode: sign-extending load.
pub const MEMSX: u8 = 0x80;
/// Mode: atomic operation.
pub const ATOMIC: u8 = 0xc0;

/// Atomic operations: the old value comes back in the source register.
pub const FETCH: i32 = 0x01;
/// Atomic operations: exchange.
pub const XCHG: i32 = 0xe1;
/// Atomic operations: compare with `r0` and exchange.
pub const CMPXCHG: i32 = 0xf1;

/// `call`: [`super::Insn::imm`] is a helper's number.
pub const CALL_HELPER: u8 = 0;
/// `call`: [`super::Insn::imm`] is the distance to a subprogram.
pub const CALL_LOCAL: u8 = 1;
/// `call`: [`super::Insn::imm`] is the BTF id of a kernel function.
pub const CALL_KFUNC: u8 = 2;
