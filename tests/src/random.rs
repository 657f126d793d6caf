//! Random numbers, the same for the same seed.

/// A small generator of random numbers (xorshift).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// Starts with a seed.
    #[must_use]
    pub fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// Gives 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// Gives a number below a limit, which is not 0.
    pub fn below(&mut self, limit: u64) -> u64 {
        (self.bits() >> 11) % limit
    }

    /// Says yes once in so many times.
    pub fn once_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    /// Takes one of a list, which is not empty.
    pub fn pick<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> &'a T {
        from[self.below(from.len() as u64) as usize]
    }

    /// A number that is often small, near a power of two, or at the end of a range.
    pub fn number(&mut self) -> i64 {
        let shift = self.below(64) as u32;
        match self.below(6) {
            0 => self.below(10) as i64,
            1 => -(self.below(10) as i64),
            2 => 1i64.wrapping_shl(shift),
            3 => 1i64.wrapping_shl(shift).wrapping_sub(1),
            4 => i64::MIN.wrapping_add(self.below(3) as i64),
            _ => self.bits() as i64 >> shift,
        }
    }
}
