//! Bits written from the lowest on; decoders read most of them from the end.

/// Bytes that are written at once, of which some are written over.
const WORD: usize = 8;

/// Writes bits to room that was made for them.
pub(super) struct BitWriter<'o> {
    room: &'o mut [u8],
    at: usize,
    waiting: u64,
    count: u32,
}

/// Appends bits to `out`, of at most `most` bytes.
pub(super) fn append(out: &mut Vec<u8>, most: usize, write: impl FnOnce(&mut BitWriter<'_>)) {
    let start = out.len();
    out.resize(start + most + WORD, 0);
    let mut bits = BitWriter {
        room: &mut out[start..],
        at: 0,
        waiting: 0,
        count: 0,
    };
    write(&mut bits);
    let end = start + bits.finish();
    out.truncate(end);
}

/// Appends bits with the one after them from which decoders read backwards.
pub(super) fn append_marked(
    out: &mut Vec<u8>,
    most: usize,
    write: impl FnOnce(&mut BitWriter<'_>),
) {
    append(out, most + 1, |bits| {
        write(bits);
        bits.flush();
        bits.add(1, 1);
    });
}

impl BitWriter<'_> {
    /// Adds the lowest `bits` of a value that has no others. Between two flushes there is room for
    /// 56 bits.
    #[inline]
    pub(super) fn add(&mut self, value: u64, bits: u32) {
        debug_assert!(value >> bits == 0 && self.count + bits < 64);
        self.waiting |= value << self.count;
        self.count += bits;
    }

    /// Makes room for so many bits, at most 56.
    #[inline]
    pub(super) fn need(&mut self, bits: u32) {
        if self.count + bits >= 64 {
            self.flush();
        }
    }

    /// Writes the whole bytes that wait.
    #[inline]
    pub(super) fn flush(&mut self) {
        let bytes = (self.count / 8) as usize;
        if let Some(room) = self.room.get_mut(self.at..self.at + WORD) {
            room.copy_from_slice(&self.waiting.to_le_bytes());
        }
        self.at += bytes;
        self.waiting >>= bytes * 8;
        self.count %= 8;
    }

    /// Ends with what is left, filled up with zeros, and gives how many bytes there are.
    fn finish(&mut self) -> usize {
        self.flush();
        debug_assert!(self.at + WORD <= self.room.len());
        self.at + usize::from(self.count > 0)
    }
}
