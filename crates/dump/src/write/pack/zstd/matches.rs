//! Finding in a page what was in it before.

/// Bits of the table's size.
const BITS: u32 = 12;
/// Shortest match.
const SHORTEST: usize = 4;
/// Each so many bytes without a match the steps grow by one.
const PATIENCE: u32 = 6;
/// Bytes read at once, at least as many as are hashed.
const READ: usize = 8;

/// Literals, then bytes that were there before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sequence {
    pub(super) literals: u16,
    pub(super) length: u16,
    /// How far back, at least 1.
    pub(super) offset: u16,
}

/// Finds matches; keeps what it found last.
pub(super) struct Finder {
    places: [u16; 1 << BITS],
    pub(super) literals: Vec<u8>,
    pub(super) sequences: Vec<Sequence>,
}

impl Default for Finder {
    fn default() -> Finder {
        Finder {
            places: [0; 1 << BITS],
            literals: Vec::new(),
            sequences: Vec::new(),
        }
    }
}

#[inline]
fn read_u64(page: &[u8], at: usize) -> u64 {
    let bytes = page.get(at..).and_then(|rest| rest.first_chunk());
    bytes.map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

#[inline]
fn read_u32(page: &[u8], at: usize) -> u32 {
    let bytes = page.get(at..).and_then(|rest| rest.first_chunk());
    bytes.map_or(0, |bytes| u32::from_le_bytes(*bytes))
}

/// Gives how many bytes from two places on are the same.
#[inline]
fn same(page: &[u8], before: usize, at: usize) -> usize {
    let mut len = 0;
    while at + len + 8 <= page.len() {
        let differ = read_u64(page, before + len) ^ read_u64(page, at + len);
        if differ != 0 {
            return len + (differ.trailing_zeros() / 8) as usize;
        }
        len += 8;
    }
    while at + len < page.len() && page[before + len] == page[at + len] {
        len += 1;
    }
    len
}

impl Finder {
    /// Takes a page apart.
    pub(super) fn find(&mut self, page: &[u8]) {
        self.places.fill(0);
        self.literals.clear();
        self.sequences.clear();
        let last = page.len().saturating_sub(READ);
        let mut anchor = 0;
        // How far back the last two matches were that were not as far back as each other.
        let mut recent = 0;
        let mut other = 0;
        let mut at = 1;
        while at < last {
            let value = read_u64(page, at);
            let place = self.place(value);
            let before = usize::from(std::mem::replace(place, at as u16));
            let (mut start, mut length);
            // What continues the pattern of the match before is cheapest to say.
            let next = at + 1;
            if recent > 0 && next >= recent && read_u32(page, next - recent) == (value >> 8) as u32
            {
                start = next;
                length = SHORTEST + same(page, start - recent + SHORTEST, start + SHORTEST);
            } else if read_u32(page, before) == value as u32 {
                start = at;
                let mut source = before;
                length = SHORTEST + same(page, before + SHORTEST, at + SHORTEST);
                while start > anchor && source > 0 && page[start - 1] == page[source - 1] {
                    start -= 1;
                    source -= 1;
                    length += 1;
                }
                other = recent;
                recent = start - source;
            } else {
                at += 1 + ((at - anchor) >> PATIENCE);
                continue;
            }
            self.take(page, anchor, start, length, recent);
            at = start + length;
            anchor = at;
            if at >= last {
                break;
            }
            // A place inside of the match, for what comes next.
            let inside = at - 2;
            *self.place(read_u64(page, inside)) = inside as u16;
            // What goes on as the match before the last one did.
            while at < last && other > 0 && read_u32(page, at) == read_u32(page, at - other) {
                let length = SHORTEST + same(page, at - other + SHORTEST, at + SHORTEST);
                *self.place(read_u64(page, at)) = at as u16;
                std::mem::swap(&mut recent, &mut other);
                self.take(page, at, at, length, recent);
                at += length;
                anchor = at;
            }
        }
        self.literals.extend_from_slice(&page[anchor..]);
    }

    #[inline]
    fn take(&mut self, page: &[u8], anchor: usize, start: usize, length: usize, offset: usize) {
        /// Literals that are copied at once, too many of them where there are fewer.
        const FEW: usize = 16;
        let len = start - anchor;
        match page[anchor..].first_chunk::<FEW>() {
            Some(few) if len <= FEW => {
                let end = self.literals.len() + len;
                self.literals.extend_from_slice(few);
                self.literals.truncate(end);
            }
            _ => self.literals.extend_from_slice(&page[anchor..start]),
        }
        self.sequences.push(Sequence {
            literals: len as u16,
            length: length as u16,
            offset: offset as u16,
        });
    }

    /// Gives the place of the table for the first five bytes of a value.
    #[inline]
    fn place(&mut self, value: u64) -> &mut u16 {
        const FACTOR: u64 = 0x9e37_79b1_85eb_ca87;
        let hash = (value << 24).wrapping_mul(FACTOR) >> (64 - BITS);
        &mut self.places[hash as usize]
    }
}
