//! Bitfields.

/// Reads `width` bits from bit `offset` on, as the machine's C compilers number them: from the
/// lowest on little-endian machines, from the highest on big-endian ones. At most 64 bits; what is
/// not there is zero.
#[must_use]
pub fn bits(bytes: &[u8], offset: usize, width: u32) -> u64 {
    let width = width.min(64);
    (0..width).fold(0, |value, index| {
        let (byte, mask) = place(offset, index);
        let set = bytes.get(byte).is_some_and(|byte| byte & mask != 0);
        value | u64::from(set) << weight(index, width)
    })
}

/// Writes the lowest `width` bits of a value to bit `offset` and those after it.
pub fn set_bits(bytes: &mut [u8], offset: usize, width: u32, value: u64) {
    let width = width.min(64);
    for index in 0..width {
        let (byte, mask) = place(offset, index);
        if let Some(byte) = bytes.get_mut(byte) {
            match value >> weight(index, width) & 1 {
                0 => *byte &= !mask,
                _ => *byte |= mask,
            }
        }
    }
}

/// Takes the highest of `width` bits for the sign.
#[must_use]
pub fn sign(value: u64, width: u32) -> i64 {
    let unused = 64u32.saturating_sub(width).min(63);
    (value << unused) as i64 >> unused
}

/// Gives the byte of a bit, and the bit in it.
fn place(offset: usize, index: u32) -> (usize, u8) {
    let bit = offset.saturating_add(index as usize);
    match cfg!(target_endian = "little") {
        true => (bit / 8, 1 << (bit % 8)),
        false => (bit / 8, 0x80 >> (bit % 8)),
    }
}

/// Gives the place of the field's bit `index` in its value.
fn weight(index: u32, width: u32) -> u32 {
    match cfg!(target_endian = "little") {
        true => index,
        false => width - 1 - index,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_endian = "little")]
    #[test]
    fn bits_are_numbered_from_the_lowest() {
        let check = |offset, width, expected| {
            assert_eq!(bits(&[0b1010_0110, 0b0000_0011], offset, width), expected);
        };
        check(0, 1, 0);
        check(1, 2, 3);
        check(5, 3, 5);
        check(7, 3, 7);
        check(0, 16, 0x3a6);
        check(12, 8, 0);
        check(0, 0, 0);
    }

    #[test]
    fn what_is_written_is_read() {
        let check = |offset: usize, width: u32, value: u64| {
            for filled in [0x00, 0xff] {
                let mut bytes = [filled; 9];
                set_bits(&mut bytes, offset, width, value);
                assert_eq!(bits(&bytes, offset, width), value, "{offset} {width}");
                let other = u64::from(filled & 1);
                assert_eq!(bits(&bytes, offset + width as usize, 1), other);
                if let Some(before) = offset.checked_sub(1) {
                    assert_eq!(bits(&bytes, before, 1), other);
                }
            }
        };
        check(0, 1, 1);
        check(3, 7, 0x55);
        check(7, 64, 0x0123_4567_89ab_cdef);
        check(1, 33, 1 << 32);
        set_bits(&mut [0; 1], 4, 64, u64::MAX);
    }

    #[test]
    fn the_highest_bit_is_the_sign() {
        let check = |value, width, expected| assert_eq!(sign(value, width), expected);
        check(0b111, 3, -1);
        check(0b011, 3, 3);
        check(0b100, 3, -4);
        check(u64::MAX, 64, -1);
        check(1, 1, -1);
        check(0, 0, 0);
    }
}
