//! Machine code of x86_64 as text.

use iced_x86::{Decoder, DecoderOptions, Formatter, Instruction, OpKind, Register};

use super::dis::Insn;
use crate::commands::bpf::jited::formatter;
use crate::error::Failure;

/// Longest instruction in bytes.
pub(super) const LONGEST: u64 = 15;

/// Decodes instructions up to the end of the bytes, the last of which may be cut off.
pub(super) fn decode(code: &[u8], start: u64) -> Result<Vec<Insn>, Failure> {
    let mut formatter = formatter();
    // Where it leads is said by name.
    formatter.options_mut().set_rip_relative_addresses(false);
    let mut decoder = Decoder::with_ip(64, code, start, DecoderOptions::NONE);
    let mut insn = Instruction::default();
    let mut found = Vec::new();
    while decoder.can_decode() {
        decoder.decode_out(&mut insn);
        let mut text = String::new();
        formatter.format(&insn, &mut text);
        let from = insn.ip().wrapping_sub(start) as usize;
        let bytes = code.get(from..from.saturating_add(insn.len()));
        found.push(Insn {
            address: insn.ip(),
            bytes: bytes.unwrap_or_default().to_vec(),
            text,
            leads: leads(&insn),
            of_cpu: insn.memory_segment() == Register::GS && has_memory(&insn),
        });
    }
    Ok(found)
}

fn has_memory(insn: &Instruction) -> bool {
    (0..insn.op_count()).any(|at| insn.op_kind(at) == OpKind::Memory)
}

/// Gives the address that an instruction has in it: of a branch, of memory, or as a number.
fn leads(insn: &Instruction) -> Option<u64> {
    if insn.op_count() > 0 && insn.op_kind(0) == OpKind::NearBranch64 {
        return Some(insn.near_branch_target());
    }
    if insn.is_ip_rel_memory_operand() {
        return Some(insn.ip_rel_memory_address());
    }
    if has_memory(insn) && insn.memory_displ_size() > 1 {
        return Some(insn.memory_displacement64());
    }
    (0..insn.op_count()).find_map(|at| match insn.op_kind(at) {
        OpKind::Immediate64 => Some(insn.immediate64()),
        OpKind::Immediate32to64 => Some(insn.immediate32to64() as u64),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::decode;

    #[test]
    fn instructions_with_what_they_lead_to() {
        let check = |code: &[u8], text: &str, leads: Option<u64>, of_cpu: bool| {
            let found = decode(code, 0xffff_ffff_8100_0000).expect("it decodes");
            let found = found.first().expect("an instruction");
            assert_eq!(
                (&*found.text, found.leads, found.of_cpu),
                (text, leads, of_cpu)
            );
            assert_eq!(found.bytes, code);
        };
        check(
            &[0xe8, 0xfb, 0x0f, 0, 0],
            "call 0xffffffff81001000",
            Some(0xffff_ffff_8100_1000),
            false,
        );
        check(
            &[0x48, 0x8b, 0x05, 0xf9, 0x0f, 0, 0],
            "mov rax, [0xffffffff81001000]",
            Some(0xffff_ffff_8100_1000),
            false,
        );
        check(
            &[0x65, 0x48, 0x8b, 0x04, 0x25, 0xc0, 0xfb, 0x01, 0],
            "mov rax, gs:[0x1fbc0]",
            Some(0x1fbc0),
            true,
        );
        check(
            &[0x48, 0xc7, 0xc7, 0, 0x10, 0, 0x81],
            "mov rdi, 0xffffffff81001000",
            Some(0xffff_ffff_8100_1000),
            false,
        );
        check(&[0x0f, 0x0b], "ud2", None, false);
    }
}
