//! Stacks as text and as lists.

use std::fmt::Write as _;

use kscope_dump::{Frame, FrameFrom, Kernel, Registers, Stack, StackEnd};

use super::in_symbol;

/// Gives the place of a frame: `schedule+0x5a`, with the module's name behind it.
pub(super) fn place(kernel: &Kernel, frame: &Frame) -> String {
    let Some(found) = kernel.symbolize(frame.code()) else {
        return format!("{:#x}", frame.pc.0);
    };
    // Where it goes on, which may be behind the function's end.
    let offset = frame.pc.0.saturating_sub(found.symbol.address.0);
    in_symbol(&found.symbol, Some(offset))
}

/// Writes a stack, a line for each frame.
pub(super) fn write(kernel: &Kernel, stack: &Stack, out: &mut String) {
    for (number, frame) in stack.frames.iter().enumerate() {
        if frame.from == FrameFrom::Exception {
            if let Some(registers) = &frame.registers {
                out.push_str("      interrupted at\n");
                write_registers(registers, out);
            }
        }
        let place = place(kernel, frame);
        let _ = writeln!(out, "  {number:3}  {:016x}  {place}", frame.pc.0);
    }
    match &stack.end {
        StackEnd::User(registers) => {
            out.push_str("      user mode\n");
            write_registers(registers, out);
        }
        StackEnd::Bottom | StackEnd::InitCode => {}
        end => {
            let _ = writeln!(out, "      the stack is not whole: {}", why(end));
        }
    }
}

/// Says why a stack ends.
pub(crate) fn why(end: &StackEnd) -> String {
    match end {
        StackEnd::User(_) => "at user mode".to_owned(),
        StackEnd::Bottom => "at the first frame".to_owned(),
        StackEnd::InitCode => "in code that is freed once the kernel has started".to_owned(),
        StackEnd::NoEntry => "there is no unwind entry for this code".to_owned(),
        StackEnd::Gap(gap) => gap.to_string(),
        StackEnd::Cycle => "it comes back to a frame that was there before".to_owned(),
        StackEnd::TooDeep => "it has too many frames".to_owned(),
    }
}

fn write_registers(registers: &Registers, out: &mut String) {
    let r = registers;
    let rows = [
        [("RIP", r.rip), ("RSP", r.rsp), ("RFLAGS", r.rflags)],
        [("RAX", r.rax), ("RBX", r.rbx), ("RCX", r.rcx)],
        [("RDX", r.rdx), ("RSI", r.rsi), ("RDI", r.rdi)],
        [("RBP", r.rbp), ("R8", r.r8), ("R9", r.r9)],
        [("R10", r.r10), ("R11", r.r11), ("R12", r.r12)],
        [("R13", r.r13), ("R14", r.r14), ("R15", r.r15)],
        [("ORIG_RAX", r.orig_rax), ("CS", r.cs), ("SS", r.ss)],
    ];
    for row in rows {
        for (name, value) in row {
            let _ = write!(out, "  {name:>8} {value:016x}");
        }
        out.push('\n');
    }
}
