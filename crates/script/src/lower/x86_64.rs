//! Where x86-64 keeps arguments and results in `struct pt_regs` (arch/x86/include/asm/ptrace.h).

/// Offset of the register that holds argument `n` of a kernel function.
pub(super) fn argument(n: u8) -> Option<u32> {
    // di, si, dx, cx, r8, r9
    [112, 104, 96, 88, 72, 64].get(usize::from(n)).copied()
}

/// Offset of `ax`, the result.
pub(super) const RESULT: u32 = 80;

/// Offset of `ip`.
pub(super) const INSTRUCTION_POINTER: u32 = 128;
