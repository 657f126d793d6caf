//! Instructions given their new values.

use super::failure::Reason;
use super::value::Value;
use super::view::View;
use crate::insn::Insn;
use crate::insn::code::{
    ALU, ALU64, B, CALL, CLASS_MASK, DW, H, JMP, K, LD, LDX, SIZE_MASK, ST, STX, W, X,
};
use kscope_btf::{Encoding, Int, Type};

/// Number of the helper that a poisoned instruction calls: no kernel has it. It reads as
/// `0xbad2310`, "bad relo", and is libbpf's.
pub const POISON: i32 = 195_896_080;

/// Makes an instruction, and the second slot of a wide one, a call that the verifier refuses.
pub(super) fn poison(insns: &mut [Insn], at: usize) {
    let call = Insn {
        code: JMP | CALL,
        imm: POISON,
        ..Insn::default()
    };
    let slots = insns.get(at).map_or(0, |insn| insn.slots());
    for insn in insns.iter_mut().skip(at).take(slots) {
        *insn = call;
    }
}

/// Both values of a relocation.
pub(super) struct Change<'a> {
    pub(super) old: Value,
    pub(super) new: Value,
    /// The types that the values are of.
    pub(super) views: Option<(View<'a>, View<'a>)>,
}

impl Change<'_> {
    /// Tells whether a load of the new size gives the value that one of the old size gave: pointers
    /// are zero-extended addresses, and so are unsigned integers.
    fn resizes(&self) -> bool {
        let Some((local, target)) = self.views else {
            return false;
        };
        let types = (
            local.btf.get(self.old.type_id),
            target.btf.get(self.new.type_id),
        );
        let unsigned = |int: &Int<'_>| !int.signed || int.encoding != Encoding::Signed;
        match types {
            (Some(Type::Ptr(_)), Some(Type::Ptr(_))) => true,
            (Some(Type::Int(one)), Some(Type::Int(other))) => unsigned(&one) && unsigned(&other),
            _ => false,
        }
    }

    fn check(&self, found: i64) -> Result<(), Reason> {
        let expected = self.old.number;
        if self.old.certain && found as u64 != expected {
            return Err(Reason::UnexpectedValue { found, expected });
        }
        Ok(())
    }
}

/// Patches the instruction at a slot.
pub(super) fn patch(insns: &mut [Insn], at: usize, change: &Change<'_>) -> Result<(), Reason> {
    let number = change.new.number;
    let found = insns.get_mut(at..).and_then(<[Insn]>::split_first_mut);
    let (first, rest) = found.ok_or(Reason::Instruction)?;
    match first.code & CLASS_MASK {
        ALU | ALU64 if first.code & X == K => {
            change.check(first.imm.into())?;
            first.imm = number as i32;
        }
        LDX | ST | STX => {
            change.check(first.off.into())?;
            let Ok(off) = i16::try_from(number) else {
                return Err(Reason::FarOffset(number));
            };
            let (from, to) = (change.old.size, change.new.size);
            if from != to {
                if !change.resizes() {
                    return Err(Reason::Resized { from, to });
                }
                let found = bytes_of(first.code);
                if found != from {
                    let expected = from;
                    return Err(Reason::UnexpectedSize { found, expected });
                }
                let size = size_code(to).ok_or(Reason::NoSuchSize(to))?;
                first.code = (first.code & !SIZE_MASK) | size;
            }
            first.off = off;
        }
        LD => {
            let plain = |insn: &Insn| insn.src == 0 && insn.off == 0;
            let second = rest.first_mut().ok_or(Reason::Instruction)?;
            let wide = first.is_wide() && plain(first) && plain(second);
            if !wide || second.code != 0 || second.dst != 0 {
                return Err(Reason::Instruction);
            }
            change.check(Insn::wide_value([*first, *second]) as i64)?;
            first.imm = number as i32;
            second.imm = (number >> 32) as i32;
        }
        _ => return Err(Reason::Instruction),
    }
    Ok(())
}

fn bytes_of(code: u8) -> u32 {
    match code & SIZE_MASK {
        DW => 8,
        W => 4,
        H => 2,
        _ => 1,
    }
}

fn size_code(bytes: u32) -> Option<u8> {
    Some(match bytes {
        8 => DW,
        4 => W,
        2 => H,
        1 => B,
        _ => return None,
    })
}
