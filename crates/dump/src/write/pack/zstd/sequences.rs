//! Sequences in codes of states (RFC 8878, 3.1.1.3.2).

use super::bits;
use super::fse::{self, SYMBOLS, Shares, Table};
use super::matches::Sequence;

/// Fewest sequences for which tables of their own are worth their description.
const OWN: usize = 48;
/// Offsets are told as one of the last three, or with this added.
const RECENT: u32 = 3;

const fn shares<const N: usize>(given: [i16; N]) -> Shares {
    let mut all = [0; SYMBOLS];
    let mut index = 0;
    while index < N {
        all[index] = given[index];
        index += 1;
    }
    all
}

/// The tables that need no description: literals, matches, offsets.
const DEFAULTS: [(Shares, u32); 3] = [
    (
        shares([
            4, 3, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 3, 2, 1, 1,
            1, 1, 1, -1, -1, -1, -1,
        ]),
        6,
    ),
    (
        shares([
            1, 4, 3, 2, 2, 2, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
            1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1, -1, -1,
        ]),
        6,
    ),
    (
        shares([
            1, 1, 1, 1, 1, 1, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1,
            -1,
        ]),
        5,
    ),
];
const LITERALS: usize = 0;
const MATCHES: usize = 1;
const OFFSETS: usize = 2;
/// The order in which the format has the tables.
const ORDER: [usize; 3] = [LITERALS, OFFSETS, MATCHES];

/// Where each code of more than one number begins, from the first such code on, and its bits.
const LITERAL_CODES: (u8, [(u32, u8); 20]) = (
    16,
    [
        (16, 1),
        (18, 1),
        (20, 1),
        (22, 1),
        (24, 2),
        (28, 2),
        (32, 3),
        (40, 3),
        (48, 4),
        (64, 6),
        (128, 7),
        (256, 8),
        (512, 9),
        (1024, 10),
        (2048, 11),
        (4096, 12),
        (8192, 13),
        (16384, 14),
        (32768, 15),
        (65536, 16),
    ],
);
/// The same of lengths of matches, less 3.
const MATCH_CODES: (u8, [(u32, u8); 21]) = (
    32,
    [
        (32, 1),
        (34, 1),
        (36, 1),
        (38, 1),
        (40, 2),
        (44, 2),
        (48, 3),
        (56, 3),
        (64, 4),
        (80, 4),
        (96, 5),
        (128, 7),
        (256, 8),
        (512, 9),
        (1024, 10),
        (2048, 11),
        (4096, 12),
        (8192, 13),
        (16384, 14),
        (32768, 15),
        (65536, 16),
    ],
);

/// A number as a code and the bits that say which of the code's numbers it is.
#[derive(Clone, Copy, Default)]
struct Coded {
    code: u8,
    bits: u8,
    rest: u16,
}

/// Gives the code of each number below `COUNT`.
const fn table<const N: usize, const COUNT: usize>(
    (first, codes): &(u8, [(u32, u8); N]),
) -> [u8; COUNT] {
    let mut table = [0; COUNT];
    let mut number = 0;
    let mut index = 0;
    while number < COUNT {
        if number < *first as usize {
            table[number] = number as u8;
        } else {
            if index + 1 < N && number >= codes[index + 1].0 as usize {
                index += 1;
            }
            table[number] = *first + index as u8;
        }
        number += 1;
    }
    table
}

/// Codes of small numbers; larger ones have one for each power of two, numbered with this added.
const SMALL_LITERALS: ([u8; 64], u8) = (table(&LITERAL_CODES), 19);
const SMALL_MATCHES: ([u8; 128], u8) = (table(&MATCH_CODES), 36);

#[inline]
fn coded<const N: usize, const COUNT: usize>(
    (first, codes): &(u8, [(u32, u8); N]),
    (small, large): &([u8; COUNT], u8),
    number: u32,
) -> Coded {
    let code = match small.get(number as usize) {
        Some(code) => *code,
        None => number.ilog2() as u8 + large,
    };
    let (start, bits) = match code.checked_sub(*first) {
        Some(index) => codes[usize::from(index).min(N - 1)],
        None => (number, 0),
    };
    Coded {
        code,
        bits,
        rest: (number - start) as u16,
    }
}

/// How a table is told.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Default = 0,
    Single = 1,
    Own = 2,
}

/// The tables, and the codes of a page's sequences.
pub(super) struct Tables {
    defaults: [Table; 3],
    own: [Table; 3],
    codes: Vec<[Coded; 3]>,
}

impl Default for Tables {
    fn default() -> Tables {
        let mut defaults: [Table; 3] = Default::default();
        for (table, (shares, log)) in defaults.iter_mut().zip(&DEFAULTS) {
            table.build(shares, *log);
        }
        Tables {
            defaults,
            own: Default::default(),
            codes: Vec::new(),
        }
    }
}

impl Tables {
    /// Appends the section of sequences.
    pub(super) fn write(&mut self, sequences: &[Sequence], out: &mut Vec<u8>) {
        let count = sequences.len();
        match count {
            0..128 => out.push(count as u8),
            _ => out.extend_from_slice(&[(count >> 8) as u8 + 0x80, count as u8]),
        }
        if count == 0 {
            return;
        }
        let counts = self.code(sequences);
        let modes_at = out.len();
        out.push(0);
        let mut modes = [Mode::Default; 3];
        for kind in ORDER {
            modes[kind] = self.tell(kind, &counts[kind], count, out);
        }
        let told = (modes[LITERALS] as u8) << 6
            | (modes[OFFSETS] as u8) << 4
            | (modes[MATCHES] as u8) << 2;
        out[modes_at] = told;
        self.stream(&modes, out);
    }

    /// Gives each number of each sequence its code, and counts them.
    fn code(&mut self, sequences: &[Sequence]) -> [[u16; SYMBOLS]; 3] {
        let mut counts = [[0; SYMBOLS]; 3];
        let mut recent = [1, 4, 8];
        self.codes.clear();
        for sequence in sequences {
            let offset = tell_offset(&mut recent, sequence.offset.into(), sequence.literals > 0);
            let code = offset.ilog2() as u8;
            let codes = [
                coded(&LITERAL_CODES, &SMALL_LITERALS, sequence.literals.into()),
                coded(&MATCH_CODES, &SMALL_MATCHES, u32::from(sequence.length) - 3),
                Coded {
                    code,
                    bits: code,
                    rest: (offset - (1 << code)) as u16,
                },
            ];
            for (counts, coded) in counts.iter_mut().zip(&codes) {
                counts[usize::from(coded.code)] += 1;
            }
            self.codes.push(codes);
        }
        counts
    }

    /// Chooses a table, and appends its description.
    fn tell(
        &mut self,
        kind: usize,
        counts: &[u16; SYMBOLS],
        all: usize,
        out: &mut Vec<u8>,
    ) -> Mode {
        let used = counts.iter().filter(|count| **count > 0).count();
        if used == 1 && all > 2 {
            let code = counts.iter().position(|count| *count > 0);
            let code = code.unwrap_or(0) as u8;
            out.push(code);
            self.own[kind].single(code);
            return Mode::Single;
        }
        if all < OWN || used < 2 {
            return Mode::Default;
        }
        // A quarter of a state for each sequence is exact enough; each code needs one.
        let most = if kind == OFFSETS { 8 } else { 9 };
        let wanted = (all - 1).ilog2().saturating_sub(1);
        let needed = (used as u32).next_power_of_two().ilog2();
        let log = wanted.clamp(needed.max(5), most);
        let shares = fse::share(counts, log);
        fse::describe(&shares, log, out);
        self.own[kind].build(&shares, log);
        Mode::Own
    }

    /// Appends the codes, the last sequence first: decoders read from the end.
    fn stream(&self, modes: &[Mode; 3], out: &mut Vec<u8>) {
        /// Bytes of three states and of what three codes leave, at most.
        const MOST: usize = 10;
        let Some((last, codes)) = self.codes.split_last() else {
            return;
        };
        let table = |kind: usize| match modes[kind] {
            Mode::Default => &self.defaults[kind],
            Mode::Single | Mode::Own => &self.own[kind],
        };
        let (literals, matches, offsets) = (table(LITERALS), table(MATCHES), table(OFFSETS));
        bits::append_marked(out, (self.codes.len() + 1) * MOST, |bits| {
            let mut literal = literals.begin(last[LITERALS].code);
            let mut length = matches.begin(last[MATCHES].code);
            let mut offset = offsets.begin(last[OFFSETS].code);
            for kind in [LITERALS, MATCHES, OFFSETS] {
                bits.add(last[kind].rest.into(), last[kind].bits.into());
            }
            for codes in codes.iter().rev() {
                bits.flush();
                offset.write(offsets, codes[OFFSETS].code, bits);
                length.write(matches, codes[MATCHES].code, bits);
                literal.write(literals, codes[LITERALS].code, bits);
                bits.need(codes.iter().map(|code| u32::from(code.bits)).sum());
                for kind in [LITERALS, MATCHES, OFFSETS] {
                    bits.add(codes[kind].rest.into(), codes[kind].bits.into());
                }
            }
            bits.flush();
            length.end(matches, bits);
            offset.end(offsets, bits);
            literal.end(literals, bits);
        });
    }
}

/// Gives the number that says an offset, and brings the last three up to date.
fn tell_offset(recent: &mut [u32; 3], offset: u32, has_literals: bool) -> u32 {
    let found = match has_literals {
        true => recent.iter().position(|one| *one == offset),
        // Without literals the last offset would have been a longer match: it stands for others.
        false if recent[1] == offset => Some(1),
        false if recent[2] == offset => Some(2),
        false if recent[0] == offset + 1 => Some(3),
        false => None,
    };
    let told = match (found, has_literals) {
        (Some(index), true) => index as u32 + 1,
        (Some(index), false) => index as u32,
        (None, _) => offset + RECENT,
    };
    match found {
        Some(0) => {}
        Some(1) => recent.swap(0, 1),
        _ => *recent = [offset, recent[0], recent[1]],
    }
    told
}
