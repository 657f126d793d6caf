//! Finite state entropy (RFC 8878, 4.1): tables of states from how often symbols occur, and
//! writing symbols with them.

use super::bits::{self, BitWriter};

/// Most bits of a table's size here.
const LARGEST: u32 = 9;
/// Most symbols: codes of match lengths.
pub(super) const SYMBOLS: usize = 53;

/// How many of a table's states each symbol has: -1 is one state for what hardly occurs.
pub(super) type Shares = [i16; SYMBOLS];

/// What it takes to write a symbol.
#[derive(Clone, Copy, Default)]
struct Transform {
    /// Added to a state it gives the number of bits to write, in the upper half.
    bits: u32,
    /// Added to what is left of a state it gives the index of the next one.
    next: i32,
}

/// A table to write symbols with.
pub(super) struct Table {
    log: u32,
    states: [u16; 1 << LARGEST],
    symbols: [Transform; SYMBOLS],
}

impl Default for Table {
    fn default() -> Table {
        Table {
            log: 0,
            states: [0; 1 << LARGEST],
            symbols: [Transform::default(); SYMBOLS],
        }
    }
}

impl Table {
    /// Makes the table of the only symbol that occurs, which takes no bits.
    pub(super) fn single(&mut self, symbol: u8) {
        self.log = 0;
        self.states[0] = 0;
        self.symbols[usize::from(symbol)] = Transform::default();
    }

    /// Makes the table of `1 << log` states.
    pub(super) fn build(&mut self, shares: &Shares, log: u32) {
        let last = shares.iter().rposition(|share| *share != 0);
        let shares = &shares[..last.map_or(0, |last| last + 1)];
        let size = 1usize << log;
        let mut symbol_of = [0u8; 1 << LARGEST];
        // What hardly occurs has the last states.
        let mut high = size;
        let mut starts = [0usize; SYMBOLS];
        let mut sum = 0;
        for (symbol, &share) in shares.iter().enumerate() {
            starts[symbol] = sum;
            sum += usize::from(share.unsigned_abs());
            if share < 0 {
                high -= 1;
                symbol_of[high] = symbol as u8;
            }
        }
        debug_assert_eq!(sum, size);
        let step = (size >> 1) + (size >> 3) + 3;
        let mut at = 0;
        for (symbol, &share) in shares.iter().enumerate() {
            for _ in 0..share.max(0) {
                symbol_of[at] = symbol as u8;
                at = (at + step) & (size - 1);
                while at >= high && high > 0 {
                    at = (at + step) & (size - 1);
                }
            }
        }
        let mut next = starts;
        for (state, &symbol) in symbol_of[..size].iter().enumerate() {
            let place = &mut next[usize::from(symbol)];
            self.states[*place] = (size + state) as u16;
            *place += 1;
        }
        for (symbol, &share) in shares.iter().enumerate() {
            let count = u32::from(share.unsigned_abs());
            let start = starts[symbol] as i32;
            self.symbols[symbol] = match count {
                0 => continue,
                1 => Transform {
                    bits: (log << 16) - (1 << log),
                    next: start - 1,
                },
                _ => {
                    let most = log - (count - 1).ilog2();
                    Transform {
                        bits: (most << 16) - (count << most),
                        next: start - count as i32,
                    }
                }
            };
        }
        self.log = log;
    }

    /// Gives the state that is left by writing `symbol` at no cost: it is the last to be read.
    #[inline]
    pub(super) fn begin(&self, symbol: u8) -> State {
        let transform = self.symbols[usize::from(symbol)];
        let bits = (transform.bits + (1 << 15)) >> 16;
        let value = (bits << 16) - transform.bits;
        State(self.next(transform, value, bits))
    }

    #[inline]
    fn next(&self, transform: Transform, state: u32, bits: u32) -> u32 {
        let index = (state >> bits) as i32 + transform.next;
        u32::from(self.states[index as usize & ((1 << LARGEST) - 1)])
    }
}

/// A state between two symbols.
#[derive(Clone, Copy)]
pub(super) struct State(u32);

impl State {
    #[inline]
    pub(super) fn write(&mut self, table: &Table, symbol: u8, out: &mut BitWriter<'_>) {
        let transform = table.symbols[usize::from(symbol)];
        let bits = (self.0 + transform.bits) >> 16;
        out.add(u64::from(self.0) & ((1 << bits) - 1), bits);
        self.0 = table.next(transform, self.0, bits);
    }

    /// Writes the state itself, with which decoders begin.
    #[inline]
    pub(super) fn end(self, table: &Table, out: &mut BitWriter<'_>) {
        out.add(u64::from(self.0) & ((1 << table.log) - 1), table.log);
    }
}

/// Shares `1 << log` states out to symbols by how often each occurs: at least one to each that
/// does. Two or more must occur, and no more of them than there are states.
pub(super) fn share(counts: &[u16; SYMBOLS], log: u32) -> Shares {
    let size = 1i32 << log;
    let total: u32 = counts.iter().map(|&count| u32::from(count)).sum();
    let mut shares = [0i16; SYMBOLS];
    let mut left = size;
    for (share, &count) in shares.iter_mut().zip(counts) {
        if count > 0 {
            let exact = (u32::from(count) << log) + total / 2;
            *share = (exact / total.max(1)).max(1) as i16;
            left -= i32::from(*share);
        }
    }
    // Rounding gave too many or too few: those that have most give or take.
    while left != 0 {
        let most = shares.iter_mut().max_by_key(|share| **share);
        let Some(most) = most else {
            break;
        };
        let change = match left > 0 {
            true => left,
            false => -(-left).min(i32::from(*most) / 2).max(1),
        };
        *most += change as i16;
        left -= change;
    }
    shares
}

/// Writes the description of a table.
pub(super) fn describe(shares: &Shares, log: u32, out: &mut Vec<u8>) {
    bits::append(out, 2 * SYMBOLS + 4, |bits| {
        bits.add(u64::from(log - 5), 4);
        let mut left = (1u32 << log) + 1;
        let mut symbol = 0;
        while left > 1 {
            let Some(&share) = shares.get(symbol) else {
                break;
            };
            symbol += 1;
            let before = left;
            left -= u32::from(share.unsigned_abs());
            // A value of as many bits as what is left could need; the lower ones spare a bit.
            let width = before.ilog2() + 1;
            let spared = (1u32 << width) - 1 - before;
            let value = (share + 1) as u32;
            let half = 1u32 << (width - 1);
            if value < spared {
                bits.add(value.into(), width - 1);
            } else if value < half {
                bits.add(value.into(), width);
            } else {
                bits.add((value + spared).into(), width);
            }
            bits.flush();
            if share == 0 {
                let rest = shares.get(symbol..).unwrap_or_default();
                let zeros = rest.iter().take_while(|share| **share == 0).count();
                for _ in 0..zeros / 3 {
                    bits.add(3, 2);
                    bits.flush();
                }
                bits.add((zeros % 3) as u64, 2);
                symbol += zeros;
            }
        }
    });
}
