//! LZO1X, as decoders of it read it: runs of literals, and matches in three shapes.

/// Bits of the table's size.
const BITS: u32 = 12;
/// Shortest match.
const SHORTEST: usize = 4;
/// Each so many bytes without a match the steps grow by one.
const PATIENCE: u32 = 5;
/// Farthest that the shape for near matches of up to 8 bytes reaches, and the next.
const NEAR: usize = 0x800;
const MIDDLE: usize = 0x4000;
/// Farthest of all.
const FAR: usize = 0xbfff;
/// The end: a far match of no distance.
const END: [u8; 3] = [0x11, 0, 0];

/// Packs pages, with memory of its own for it.
pub(super) struct Encoder {
    places: [u16; 1 << BITS],
}

impl Default for Encoder {
    fn default() -> Encoder {
        Encoder {
            places: [0; 1 << BITS],
        }
    }
}

#[inline]
fn read_u32(page: &[u8], at: usize) -> u32 {
    let bytes = page.get(at..).and_then(|rest| rest.first_chunk());
    bytes.map_or(0, |bytes| u32::from_le_bytes(*bytes))
}

#[inline]
fn read_u64(page: &[u8], at: usize) -> u64 {
    let bytes = page.get(at..).and_then(|rest| rest.first_chunk());
    bytes.map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

impl Encoder {
    /// Appends a page of at most 64 KB; false where it does not become smaller.
    pub(super) fn pack(&mut self, page: &[u8], out: &mut Vec<u8>) -> bool {
        let start = out.len();
        self.places.fill(0);
        let last = page.len().saturating_sub(8);
        let mut anchor = 0;
        let mut at = 1;
        while at < last {
            let value = read_u32(page, at);
            let hash = value.wrapping_mul(0x9e37_79b1) >> (32 - BITS);
            let place = &mut self.places[hash as usize];
            let before = usize::from(std::mem::replace(place, at as u16));
            if read_u32(page, before) != value || at - before > FAR {
                at += 1 + ((at - anchor) >> PATIENCE);
                continue;
            }
            let longest = page.len() - at;
            let mut length = SHORTEST;
            let differs =
                |length: usize| read_u64(page, before + length) ^ read_u64(page, at + length);
            loop {
                if length + 8 > longest {
                    while length < longest && page[before + length] == page[at + length] {
                        length += 1;
                    }
                    break;
                }
                match differs(length) {
                    0 => length += 8,
                    differs => {
                        length += (differs.trailing_zeros() / 8) as usize;
                        break;
                    }
                }
            }
            literals(&page[anchor..at], start, out);
            copy(at - before, length, out);
            at += length;
            anchor = at;
            if out.len() - start >= page.len() {
                return false;
            }
        }
        literals(&page[anchor..], start, out);
        out.extend_from_slice(&END);
        out.len() - start < page.len()
    }
}

/// Appends a count of which the first byte had no room: zeros stand for 255 each.
fn count(mut left: usize, out: &mut Vec<u8>) {
    while left > 255 {
        out.push(0);
        left -= 255;
    }
    out.push(left as u8);
}

/// Appends literals.
fn literals(bytes: &[u8], start: usize, out: &mut Vec<u8>) {
    let is_first = out.len() == start;
    match bytes.len() {
        0 => return,
        len if is_first && len <= 238 => out.push(17 + len as u8),
        // Up to three go into the match before, whose last byte but one has two bits for it.
        len @ 1..=3 => {
            if let Some(byte) = out.iter_mut().rev().nth(1) {
                *byte |= len as u8;
            }
        }
        len @ 4..=18 => out.push(len as u8 - 3),
        len => {
            out.push(0);
            count(len - 18, out);
        }
    }
    out.extend_from_slice(bytes);
}

/// Appends a match.
fn copy(distance: usize, length: usize, out: &mut Vec<u8>) {
    if length <= 8 && distance <= NEAR {
        let far = distance - 1;
        out.push(((length - 1) << 5 | (far & 7) << 2) as u8);
        out.push((far >> 3) as u8);
        return;
    }
    let (marker, most, far) = match distance <= MIDDLE {
        true => (0x20, 33, distance - 1),
        false => (
            0x10 | ((distance - MIDDLE) & MIDDLE) >> 11,
            9,
            distance - MIDDLE,
        ),
    };
    match length <= most {
        true => out.push((marker | (length - 2)) as u8),
        false => {
            out.push(marker as u8);
            count(length - most, out);
        }
    }
    out.extend_from_slice(&[(far << 2) as u8, (far >> 6) as u8]);
}
