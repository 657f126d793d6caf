//! Bits written from the lowest on; decoders read most of them from the end.

/// Writes bits behind what `out` has.
pub(super) struct BitWriter<'o> {
    out: &'o mut Vec<u8>,
    waiting: u64,
    count: u32,
}

impl<'o> BitWriter<'o> {
    pub(super) fn new(out: &'o mut Vec<u8>) -> BitWriter<'o> {
        BitWriter {
            out,
            waiting: 0,
            count: 0,
        }
    }

    /// Adds the lowest `bits` of a value that has no others. Between two flushes there is room for
    /// 56 bits.
    #[inline]
    pub(super) fn add(&mut self, value: u64, bits: u32) {
        debug_assert!(value >> bits == 0 && self.count + bits < 64);
        self.waiting |= value << self.count;
        self.count += bits;
    }

    /// Writes the whole bytes that wait.
    #[inline]
    pub(super) fn flush(&mut self) {
        let bytes = (self.count / 8) as usize;
        self.out.extend_from_slice(&self.waiting.to_le_bytes());
        self.out.truncate(self.out.len() - 8 + bytes);
        self.waiting >>= bytes * 8;
        self.count %= 8;
    }

    /// Ends with what is left, filled up with zeros.
    pub(super) fn finish(mut self) {
        self.flush();
        if self.count > 0 {
            self.out.push(self.waiting as u8);
        }
    }

    /// Ends with the bit from which decoders read backwards.
    pub(super) fn finish_marked(mut self) {
        self.add(1, 1);
        self.finish();
    }
}
