//! The digest by which the kernel knows a program: SHA-256 (FIPS 180-4) of its instructions.

/// Words of a SHA-256.
type State = [u32; 8];

/// The first 32 bits behind the point of the square roots of the first 8 primes.
const START: State = [
    0x6a09_e667,
    0xbb67_ae85,
    0x3c6e_f372,
    0xa54f_f53a,
    0x510e_527f,
    0x9b05_688c,
    0x1f83_d9ab,
    0x5be0_cd19,
];

/// The same of the cube roots of the first 64 primes.
const ROUNDS: [u32; 64] = [
    0x428a_2f98,
    0x7137_4491,
    0xb5c0_fbcf,
    0xe9b5_dba5,
    0x3956_c25b,
    0x59f1_11f1,
    0x923f_82a4,
    0xab1c_5ed5,
    0xd807_aa98,
    0x1283_5b01,
    0x2431_85be,
    0x550c_7dc3,
    0x72be_5d74,
    0x80de_b1fe,
    0x9bdc_06a7,
    0xc19b_f174,
    0xe49b_69c1,
    0xefbe_4786,
    0x0fc1_9dc6,
    0x240c_a1cc,
    0x2de9_2c6f,
    0x4a74_84aa,
    0x5cb0_a9dc,
    0x76f9_88da,
    0x983e_5152,
    0xa831_c66d,
    0xb003_27c8,
    0xbf59_7fc7,
    0xc6e0_0bf3,
    0xd5a7_9147,
    0x06ca_6351,
    0x1429_2967,
    0x27b7_0a85,
    0x2e1b_2138,
    0x4d2c_6dfc,
    0x5338_0d13,
    0x650a_7354,
    0x766a_0abb,
    0x81c2_c92e,
    0x9272_2c85,
    0xa2bf_e8a1,
    0xa81a_664b,
    0xc24b_8b70,
    0xc76c_51a3,
    0xd192_e819,
    0xd699_0624,
    0xf40e_3585,
    0x106a_a070,
    0x19a4_c116,
    0x1e37_6c08,
    0x2748_774c,
    0x34b0_bcb5,
    0x391c_0cb3,
    0x4ed8_aa4a,
    0x5b9c_ca4f,
    0x682e_6ff3,
    0x748f_82ee,
    0x78a5_636f,
    0x84c8_7814,
    0x8cc7_0208,
    0x90be_fffa,
    0xa450_6ceb,
    0xbef9_a3f7,
    0xc671_78f2,
];

/// Gives the digest of a program as `bpf_prog_calc_tag()` (kernel/bpf/core.c, Linux 6.18) makes it:
/// which map an instruction refers to, and where in it, does not count.
pub(crate) fn of_program(insns: &[u8]) -> [u8; 32] {
    const WIDE: u8 = 0x18;
    const PSEUDO_MAP_FD: u8 = 1;
    const PSEUDO_MAP_VALUE: u8 = 2;
    let mut purged = insns.to_vec();
    let mut is_second = false;
    for insn in purged.chunks_exact_mut(8) {
        let refers = insn[0] == WIDE && matches!(insn[1] >> 4, PSEUDO_MAP_FD | PSEUDO_MAP_VALUE);
        let counts = !is_second && !refers;
        is_second = refers && !is_second;
        if !counts {
            insn[4..].fill(0);
        }
    }
    sha256(&purged)
}

/// Gives the SHA-256 of bytes.
pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut state = START;
    let blocks = bytes.chunks_exact(64);
    let rest = blocks.remainder();
    for block in blocks {
        mix(&mut state, block);
    }
    // What is left, a single one bit, and the number of bits at the end of the last block.
    let mut last = [0; 128];
    let size = if rest.len() < 56 { 64 } else { 128 };
    last[..rest.len()].copy_from_slice(rest);
    last[rest.len()] = 0x80;
    let bits = (bytes.len() as u64).wrapping_mul(8);
    last[size - 8..size].copy_from_slice(&bits.to_be_bytes());
    for block in last[..size].chunks_exact(64) {
        mix(&mut state, block);
    }
    let mut digest = [0; 32];
    for (place, word) in digest.chunks_exact_mut(4).zip(state) {
        place.copy_from_slice(&word.to_be_bytes());
    }
    digest
}

/// Mixes one block of 64 bytes into the state.
fn mix(state: &mut State, block: &[u8]) {
    let mut words = [0u32; 64];
    for (word, bytes) in words.iter_mut().zip(block.chunks_exact(4)) {
        *word = u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    }
    for at in 16..64 {
        let (near, far) = (words[at - 2], words[at - 15]);
        let near = near.rotate_right(17) ^ near.rotate_right(19) ^ (near >> 10);
        let far = far.rotate_right(7) ^ far.rotate_right(18) ^ (far >> 3);
        let sum = words[at - 16].wrapping_add(far);
        words[at] = sum.wrapping_add(words[at - 7]).wrapping_add(near);
    }
    let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = *state;
    for (word, round) in words.into_iter().zip(ROUNDS) {
        let turned = e.rotate_right(6) ^ e.rotate_right(11) ^ e.rotate_right(25);
        let chosen = (e & f) ^ (!e & g);
        let one = h.wrapping_add(turned).wrapping_add(chosen);
        let one = one.wrapping_add(round).wrapping_add(word);
        let turned = a.rotate_right(2) ^ a.rotate_right(13) ^ a.rotate_right(22);
        let majority = (a & b) ^ (a & c) ^ (b & c);
        let two = turned.wrapping_add(majority);
        (h, g, f, e) = (g, f, e, d.wrapping_add(one));
        (d, c, b, a) = (c, b, a, one.wrapping_add(two));
    }
    for (word, mixed) in state.iter_mut().zip([a, b, c, d, e, f, g, h]) {
        *word = word.wrapping_add(mixed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(digest: [u8; 32]) -> String {
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn digests_are_those_of_the_standard() {
        let check = |bytes: &[u8], expected: &str| assert_eq!(hex(sha256(bytes)), expected);
        check(
            b"",
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        );
        check(
            b"abc",
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        );
        check(
            &[b'x'; 55],
            "d5e285683cd4efc02d021a5c62014694958901005d6f71e89e0989fac77e4072",
        );
        check(
            &[b'x'; 56],
            "04c26261370ee7541549d16dee320c723e3fd14671e66a099afe0a377c16888e",
        );
        check(
            &[b'x'; 64],
            "7ce100971f64e7001e8fe5a51973ecdfe1ced42befe7ee8d5fd6219506b5393c",
        );
        check(
            &[b'x'; 1000],
            "44f8354494a5ba03ba1792a8d3e9c534c47a9181980fde7a3f44b06ef2ae7c7f",
        );
    }

    #[test]
    fn maps_do_not_count() {
        let program =
            |wide: [u8; 16]| of_program(&[&wide[..], &[0x95, 0, 0, 0, 0, 0, 0, 0]].concat());
        let load = |source: u8, low: u8, high: u8| {
            program([
                0x18,
                source << 4,
                0,
                0,
                low,
                0,
                0,
                0,
                0,
                0,
                0,
                0,
                high,
                0,
                0,
                0,
            ])
        };
        assert_eq!(load(1, 7, 0), load(1, 8, 0));
        assert_eq!(load(2, 7, 4), load(2, 8, 9));
        assert_ne!(load(1, 7, 0), load(2, 7, 0));
        // A number does.
        assert_ne!(load(0, 7, 0), load(0, 8, 0));
        assert_ne!(load(0, 7, 1), load(0, 7, 2));
    }
}
