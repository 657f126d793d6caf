//! Where x86-64 keeps arguments and results in `struct pt_regs` (arch/x86/include/asm/ptrace.h).

/// Offset of the register that holds argument `n` of a kernel function.
pub(super) fn argument(n: u8) -> Option<u32> {
    // di, si, dx, cx, r8, r9
    [112, 104, 96, 88, 72, 64].get(usize::from(n)).copied()
}

/// Registers in the order of `struct pt_regs`, eight bytes each.
const REGISTERS: [&str; 21] = [
    "r15", "r14", "r13", "r12", "bp", "bx", "r11", "r10", "r9", "r8", "ax", "cx", "dx", "si", "di",
    "orig_rax", "ip", "cs", "flags", "sp", "ss",
];

/// Gives the offset of a register by its name; `pc` is `ip`.
pub(crate) fn register(name: &str) -> Option<u32> {
    let name = if name == "pc" { "ip" } else { name };
    let place = REGISTERS.iter().position(|known| *known == name)?;
    u32::try_from(place * 8).ok()
}

/// Gives the names of all registers.
pub(crate) fn register_names() -> impl Iterator<Item = &'static str> {
    REGISTERS.into_iter()
}

/// Offset of `ax`, the result.
pub(super) const RESULT: u32 = 80;

/// Offset of `ip`.
pub(super) const INSTRUCTION_POINTER: u32 = 128;
