//! Checked reads of 16- and 32-bit numbers in either byte order.

/// Byte order of a BTF blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Endian {
    /// Least significant byte first.
    Little,
    /// Most significant byte first.
    Big,
}

impl Endian {
    /// Gives the four bytes that stand for `value`.
    pub(crate) fn put_u32(self, value: u32) -> [u8; 4] {
        match self {
            Endian::Little => value.to_le_bytes(),
            Endian::Big => value.to_be_bytes(),
        }
    }

    /// Adds the bytes of some numbers.
    pub(crate) fn put_words(self, bytes: &mut Vec<u8>, words: &[u32]) {
        for word in words {
            bytes.extend_from_slice(&self.put_u32(*word));
        }
    }

    /// Gives the two bytes that stand for `value`.
    pub(crate) fn put_u16(self, value: u16) -> [u8; 2] {
        match self {
            Endian::Little => value.to_le_bytes(),
            Endian::Big => value.to_be_bytes(),
        }
    }

    /// Reads the 32-bit number at byte `offset`.
    #[inline]
    pub(crate) fn u32(self, bytes: &[u8], offset: usize) -> Option<u32> {
        let four: [u8; 4] = *bytes.get(offset..)?.first_chunk()?;
        Some(match self {
            Endian::Little => u32::from_le_bytes(four),
            Endian::Big => u32::from_be_bytes(four),
        })
    }
}

/// Gives a blob of version 1 without flags: its header, types, and strings. Each has fewer than 2^32
/// bytes, as what refers to them has 32 bits.
pub(crate) fn blob(endian: Endian, types: &[u8], strings: &[u8]) -> Vec<u8> {
    const HEADER: u32 = 24;
    let (types_len, strings_len) = (types.len() as u32, strings.len() as u32);
    let mut blob = Vec::with_capacity(HEADER as usize + types.len() + strings.len());
    blob.extend_from_slice(&endian.put_u16(0xeb9f));
    blob.extend_from_slice(&[1, 0]);
    endian.put_words(&mut blob, &[HEADER, 0, types_len, types_len, strings_len]);
    blob.extend_from_slice(types);
    blob.extend_from_slice(strings);
    blob
}

/// Longest string read, in bytes; kernels take names of 511. Without a bound a blob whose types all
/// name the same megabyte would take hours to index.
pub(crate) const LONGEST: usize = 4096;

/// Gives the string that ends before the first NUL; none where there is no NUL in reach or the
/// bytes are not UTF-8.
pub(crate) fn c_string(bytes: &[u8]) -> Option<&str> {
    let reach = bytes.get(..=LONGEST).unwrap_or(bytes);
    let end = reach.iter().position(|&b| b == 0)?;
    std::str::from_utf8(&bytes[..end]).ok()
}
