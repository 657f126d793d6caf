//! How far a program reads its context, which the kernel compares with an event's record.

use kscope_btf::{Btf, TypeId};

use crate::insn::{AluOp, Insn, Op, Operand, Reg, Size, Special, Width};

/// What surely holds the context: registers, and slots of eight bytes of the stack from its top.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Holds {
    registers: u16,
    stack: u64,
}

/// Size in bytes of the stack.
const STACK: i16 = 512;

impl Holds {
    const NOTHING: Holds = Holds {
        registers: 0,
        stack: 0,
    };

    fn has(self, reg: Reg) -> bool {
        self.registers & bit(reg) != 0
    }

    fn set(&mut self, reg: Reg, holds: bool) {
        self.registers = match holds {
            true => self.registers | bit(reg),
            false => self.registers & !bit(reg),
        };
    }

    fn both(self, other: Holds) -> Holds {
        Holds {
            registers: self.registers & other.registers,
            stack: self.stack & other.stack,
        }
    }
}

fn bit(reg: Reg) -> u16 {
    1u16.checked_shl(reg.0.into()).unwrap_or(0)
}

/// Gives the slot of the stack at an offset from the frame pointer.
fn slot(off: i16) -> u64 {
    match (-STACK..0).contains(&off) {
        true => 1 << ((off.unsigned_abs() - 1) / 8),
        false => 0,
    }
}

/// Gives how many bytes of context programs are given at a raw tracepoint, 8 for each argument, by the
/// type that the kernel has for it (`btf_trace_<name>`, a typedef); none where that is no function's.
#[must_use]
pub fn context_of_raw_tracepoint(types: &Btf, id: TypeId) -> Option<u64> {
    // The first is what the tracepoint was registered with, and not for programs.
    let arguments = types.prototype(id)?.len().checked_sub(1)?;
    u64::try_from(arguments).ok()?.checked_mul(8)
}

/// Gives how many bytes of its context a program surely reads: the end of what lies furthest, of the
/// accesses of its first function. What paths disagree on is left out, so that the kernel finds no less.
#[must_use]
pub fn read_of_context(insns: &[Insn]) -> u64 {
    let mut before: Vec<Option<Holds>> = vec![None; insns.len()];
    let mut open = vec![0];
    if let Some(first) = before.first_mut() {
        *first = Some(Holds {
            registers: bit(Reg::R1),
            stack: 0,
        });
    }
    while let Some(at) = open.pop() {
        let (Some(insn), Some(Some(holds))) = (insns.get(at), before.get(at)) else {
            continue;
        };
        let (after, next) = step(*insn, *holds);
        let places = next.into_iter().flatten();
        let places = places.filter_map(|far| at.checked_add_signed(isize::try_from(far).ok()? + 1));
        for place in places {
            let Some(known) = before.get_mut(place) else {
                continue;
            };
            let merged = known.map_or(after, |known| known.both(after));
            // What is known only becomes less.
            if *known != Some(merged) {
                *known = Some(merged);
                open.push(place);
            }
        }
    }
    let ends = insns.iter().zip(&before).filter_map(|(insn, holds)| {
        let op = insn.op().ok()?;
        let (Op::Load {
            base, off, size, ..
        }
        | Op::Store {
            base, off, size, ..
        }) = op
        else {
            return None;
        };
        let off = u64::try_from(off).ok()?;
        holds
            .as_ref()?
            .has(base)
            .then_some(off + size.bytes() as u64)
    });
    ends.max().unwrap_or(0)
}

/// Gives what is held after an instruction, and how far the next ones are.
fn step(insn: Insn, mut holds: Holds) -> (Holds, [Option<i64>; 2]) {
    let Ok(op) = insn.op() else {
        return match insn.special() {
            Some(Special::MayGoto { off }) => (holds, [Some(0), Some(off.into())]),
            // Where it goes is not known, nor what others do.
            Some(Special::GotoRegister { .. }) => (holds, [None; 2]),
            _ => (Holds::NOTHING, [Some(0), None]),
        };
    };
    let mut next = [Some(0), None];
    match op {
        Op::Alu {
            width: Width::W64,
            op: AluOp::Mov,
            dst,
            src: Operand::Reg(src),
        } => holds.set(dst, holds.has(src)),
        Op::Store {
            size,
            base,
            off,
            src,
        } if base == Reg::FP => {
            let whole = size == Size::DW && off % 8 == 0;
            let is_context = matches!(src, Operand::Reg(src) if holds.has(src));
            holds.stack = match whole && is_context {
                true => holds.stack | slot(off),
                false => holds.stack & !slot(off),
            };
        }
        Op::Load {
            size: Size::DW,
            dst,
            base,
            off,
            ..
        } if base == Reg::FP && off % 8 == 0 => holds.set(dst, holds.stack & slot(off) != 0),
        Op::LoadImm64 { dst, .. } => {
            holds.set(dst, false);
            next = [Some(1), None];
        }
        Op::Jump { off, .. } => next = [Some(off.into()), None],
        Op::Branch { off, .. } => next = [Some(0), Some(off.into())],
        Op::Exit => next = [None; 2],
        Op::Call(_) | Op::LoadPacket { .. } => {
            for reg in [Reg::R0, Reg::R1, Reg::R2, Reg::R3, Reg::R4, Reg::R5] {
                holds.set(reg, false);
            }
        }
        other => {
            if let Some(written) = other.writes() {
                holds.set(written, false);
            }
        }
    }
    (holds, next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_far_the_context_is_read() {
        let check = |text: &str, expected| {
            let insns = crate::asm::insns(text).expect("assembles");
            assert_eq!(read_of_context(&insns), expected, "{text}");
        };
        check("r0 = *(u64 *)(r1 + 320)\nexit", 328);
        check("r0 = *(u32 *)(r1 + 8)\nr0 = *(u8 *)(r1 + 2)\nexit", 12);
        check("r6 = r1\ncall 5\nr0 = *(u16 *)(r6 + 16)\nexit", 18);
        check(
            "*(u64 *)(r10 - 8) = r1\ncall 5\nr2 = *(u64 *)(r10 - 8)\nr0 = *(u8 *)(r2 + 7)\nexit",
            8,
        );
        check(
            "*(u64 *)(r10 - 8) = r1\n*(u8 *)(r10 - 3) = 0\nr2 = *(u64 *)(r10 - 8)\nr0 = *(u8 *)(r2 + 7)\nexit",
            0,
        );
        // Something else, or something else on one path.
        check("call 5\nr0 = *(u64 *)(r1 + 320)\nexit", 0);
        check("r1 = r10\nr0 = *(u64 *)(r1 - 8)\nexit", 0);
        check(
            "if r1 == 0 goto +1\nr1 = r10\nr0 = *(u64 *)(r1 + 320)\nexit",
            0,
        );
        check("r1 += 8\nr0 = *(u64 *)(r1 + 0)\nexit", 0);
        // Nobody comes there.
        check("exit\nr0 = *(u64 *)(r1 + 320)\nexit", 0);
        // A loop.
        check(
            "r2 = 3\nl: r0 = *(u64 *)(r1 + 8)\nr2 += -1\nif r2 != 0 goto l\nexit",
            16,
        );
        check("", 0);
    }
}
