//! Whether an instruction begins at a place of machine code. A probe inside of one would change what
//! the traced process does, or end it.

/// Processors of executables: `EM_386`, `EM_X86_64`.
#[cfg(target_arch = "x86_64")]
const BITS: [(u16, u32); 2] = [(3, 32), (62, 64)];

/// Gives where the instruction begins that a place is inside of, and the one after it, counted from
/// the beginning of the code as the place is; nothing where the place is no inside of an instruction,
/// or nobody can tell.
#[cfg(target_arch = "x86_64")]
pub(crate) fn around(machine: u16, code: &[u8], place: u64) -> Option<(u64, u64)> {
    use iced_x86::{Decoder, DecoderOptions, Instruction};

    let bits = BITS.iter().find(|(known, _)| *known == machine)?.1;
    let mut decoder = Decoder::with_ip(bits, code, 0, DecoderOptions::NONE);
    let mut insn = Instruction::default();
    let mut begin = 0;
    while begin < place && decoder.can_decode() {
        decoder.decode_out(&mut insn);
        let end = decoder.position() as u64;
        // Data, or an instruction that is newer than the decoder.
        if insn.is_invalid() || end <= begin {
            return None;
        }
        if (begin + 1..end).contains(&place) {
            return Some((begin, end));
        }
        begin = end;
    }
    None
}

/// Says nothing of other processors: their instructions have one length.
#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn around(_machine: u16, _code: &[u8], _place: u64) -> Option<(u64, u64)> {
    None
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::around;

    #[test]
    fn places_inside_of_instructions_are_told() {
        // push %rbp; mov %rsp,%rbp; mov $1,%eax; pop %rbp; ret
        let code = [0x55, 0x48, 0x89, 0xe5, 0xb8, 1, 0, 0, 0, 0x5d, 0xc3];
        let check = |machine, place, expected| {
            assert_eq!(around(machine, &code, place), expected, "{place}");
        };
        for place in [0, 1, 4, 9, 10, 11, 12] {
            check(62, place, None);
        }
        check(62, 2, Some((1, 4)));
        check(62, 3, Some((1, 4)));
        check(62, 8, Some((4, 9)));
        // There 0x48 is an instruction of its own: dec %eax.
        check(3, 2, None);
        check(3, 3, Some((2, 4)));
        // Of another processor nothing is known.
        check(183, 2, None);
        // What is no instruction ends the search: 0x06 is none in 64 bits.
        assert_eq!(around(62, &[0x06, 0x48, 0x89, 0xe5], 2), None);
    }

    #[test]
    fn wide_vectors_are_instructions() {
        // vmovdqu64 (%rsi),%zmm16; ret
        let code = [0x62, 0xe1, 0xfe, 0x48, 0x6f, 0x06, 0xc3];
        assert_eq!(around(62, &code, 3), Some((0, 6)));
        assert_eq!(around(62, &code, 6), None);
    }
}
