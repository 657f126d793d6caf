//! Memory of the interpreter itself: slots, values of maps, records, the context.

/// A fault of the code: it reaches for what is not there. Verified code has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Astray;

/// Bits of an address that say which byte of a region it is.
const OFFSET_BITS: u32 = 28;
/// Bits of an address that say which region it lies in.
const REGION_BITS: u32 = 28;
/// What the other bits are: addresses of no machine are so, as bits 62 to 56 are neither all zero
/// nor all one.
const MARK: u64 = 0x5c << (OFFSET_BITS + REGION_BITS);
const OFFSET_MASK: u64 = (1 << OFFSET_BITS) - 1;

/// Regions of bytes, each with addresses of its own that no kernel has.
#[derive(Debug, Default)]
pub(super) struct Arena {
    regions: Vec<Vec<u8>>,
    free: Vec<u32>,
}

impl Arena {
    /// Makes a region of zeros and gives its address; none where it would be too large, or one too
    /// many.
    pub(super) fn add(&mut self, size: u32) -> Option<u64> {
        if u64::from(size) > OFFSET_MASK {
            return None;
        }
        let id = match self.free.pop() {
            Some(id) => id,
            None => {
                let id = u32::try_from(self.regions.len()).ok()?;
                if id >> REGION_BITS != 0 {
                    return None;
                }
                self.regions.push(Vec::new());
                id
            }
        };
        let region = self.regions.get_mut(id as usize)?;
        region.clear();
        region.resize(size as usize, 0);
        Some(MARK | (u64::from(id) << OFFSET_BITS))
    }

    /// Gives a region back; what still refers to it may then refer to another.
    pub(super) fn remove(&mut self, address: u64) {
        if let Some((id, _)) = place(address) {
            if let Some(region) = self.regions.get_mut(id as usize) {
                region.clear();
                self.free.push(id);
            }
        }
    }

    /// Says whether an address is one of a region.
    pub(super) fn has(address: u64) -> bool {
        place(address).is_some()
    }

    /// Gives bytes.
    pub(super) fn get(&self, address: u64, len: u64) -> Result<&[u8], Astray> {
        self.rest(address)?.get(..len as usize).ok_or(Astray)
    }

    /// Gives bytes to change.
    pub(super) fn get_mut(&mut self, address: u64, len: u64) -> Result<&mut [u8], Astray> {
        let (id, offset) = place(address).ok_or(Astray)?;
        let region = self.regions.get_mut(id as usize).ok_or(Astray)?;
        let end = offset.checked_add(len).ok_or(Astray)?;
        region.get_mut(offset as usize..end as usize).ok_or(Astray)
    }

    /// Gives all of a region from an address on.
    pub(super) fn rest(&self, address: u64) -> Result<&[u8], Astray> {
        let (id, offset) = place(address).ok_or(Astray)?;
        let region = self.regions.get(id as usize).ok_or(Astray)?;
        region.get(offset as usize..).ok_or(Astray)
    }

    /// Reads a number of 1, 2, 4 or 8 bytes.
    pub(super) fn number(&self, address: u64, bytes: u8) -> Result<u64, Astray> {
        let bytes = self.get(address, u64::from(bytes.min(8)))?;
        let mut word = [0; 8];
        word[..bytes.len()].copy_from_slice(bytes);
        Ok(u64::from_le_bytes(word))
    }

    /// Writes the low bytes of a number.
    pub(super) fn set_number(&mut self, address: u64, bytes: u8, value: u64) -> Result<(), Astray> {
        let to = self.get_mut(address, u64::from(bytes.min(8)))?;
        let len = to.len();
        to.copy_from_slice(&value.to_le_bytes()[..len]);
        Ok(())
    }
}

/// Takes an address apart into region and offset.
fn place(address: u64) -> Option<(u32, u64)> {
    let rest = address ^ MARK;
    if rest >> (OFFSET_BITS + REGION_BITS) != 0 {
        return None;
    }
    Some(((rest >> OFFSET_BITS) as u32, rest & OFFSET_MASK))
}

#[cfg(test)]
mod tests {
    use super::{Arena, Astray};

    #[test]
    fn regions_end_where_they_end() {
        let mut arena = Arena::default();
        let first = arena.add(8).expect("room");
        let second = arena.add(4).expect("room");
        arena
            .set_number(first, 8, 0x0102_0304_0506_0708)
            .expect("inside");
        assert_eq!(arena.number(first + 1, 2), Ok(0x0607));
        assert_eq!(arena.number(first + 7, 2), Err(Astray));
        assert_eq!(arena.number(second, 8), Err(Astray));
        assert_eq!(arena.number(second - 1, 1), Err(Astray));
        assert_eq!(arena.get(first, u64::MAX), Err(Astray));
        arena.remove(first);
        assert_eq!(arena.number(first, 1), Err(Astray));
        assert_eq!(arena.add(2), Some(first), "taken again");
        assert_eq!(arena.number(first, 2), Ok(0), "as zeros");
        assert!(!Arena::has(0xffff_8880_0000_1000) && !Arena::has(0) && !Arena::has(0x7fff_0000));
        assert_eq!(arena.add(1 << 30), None);
    }
}
