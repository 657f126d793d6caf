//! Huffman codes of literals (RFC 8878, 4.2).

use super::bits::{self, BitWriter};
use super::fse;

/// Longest code.
const LONGEST: u8 = 11;
/// More bits than two weights take.
const MOST_OF_TWO: u32 = 16;
/// Fewest literals that are tried.
const FEWEST: usize = 48;
/// Fewest literals that are written as four streams.
const FOUR: usize = 256;

/// A code for each byte, and room to make it.
pub(super) struct Codes {
    /// Code in the upper bits, its length in the lowest 4.
    codes: [u16; 256],
    lengths: [u8; 256],
    description: Vec<u8>,
    table: fse::Table,
}

impl Default for Codes {
    fn default() -> Codes {
        Codes {
            codes: [0; 256],
            lengths: [0; 256],
            description: Vec::with_capacity(256),
            table: fse::Table::default(),
        }
    }
}

impl Codes {
    /// Appends the section of literals.
    pub(super) fn write(&mut self, literals: &[u8], out: &mut Vec<u8>) {
        let start = out.len();
        if literals.len() >= FEWEST {
            if self.make(literals) && self.packed(literals, out) {
                return;
            }
            out.truncate(start);
        }
        let repeats = literals.iter().all(|&byte| Some(&byte) == literals.first());
        match literals.first() {
            Some(&byte) if repeats && literals.len() > 1 => {
                plain_header(1, literals.len(), out);
                out.push(byte);
            }
            _ => {
                plain_header(0, literals.len(), out);
                out.extend_from_slice(literals);
            }
        }
    }

    /// Writes codes; false where that is not shorter.
    fn packed(&mut self, literals: &[u8], out: &mut Vec<u8>) -> bool {
        let start = out.len();
        let four = literals.len() >= FOUR;
        let header = if literals.len() < 1024 { 3 } else { 4 };
        out.resize(start + header, 0);
        out.extend_from_slice(&self.description);
        if four {
            let sizes_at = out.len();
            out.resize(sizes_at + 6, 0);
            let quarter = literals.len().div_ceil(4);
            for (index, part) in literals.chunks(quarter).enumerate() {
                let before = out.len();
                self.stream(part, out);
                let size = (out.len() - before) as u16;
                if index < 3 {
                    let at = sizes_at + index * 2;
                    out[at..at + 2].copy_from_slice(&size.to_le_bytes());
                }
            }
        } else {
            self.stream(literals, out);
        }
        let (all, packed) = (literals.len() as u64, (out.len() - start - header) as u64);
        if packed + 2 >= all || all >= 1 << 14 {
            return false;
        }
        let (format, width) = match (header, four) {
            (3, false) => (0, 10),
            (3, true) => (1, 10),
            _ => (2, 14),
        };
        let head = 2 | format << 2 | all << 4 | packed << (4 + width);
        out[start..start + header].copy_from_slice(&head.to_le_bytes()[..header]);
        true
    }

    /// Writes one stream, which is read from its end.
    fn stream(&self, literals: &[u8], out: &mut Vec<u8>) {
        let add = |byte: u8, bits: &mut BitWriter<'_>| {
            let code = self.codes[usize::from(byte)];
            bits.add((code >> 4).into(), u32::from(code & 15));
        };
        let most = literals.len() * usize::from(LONGEST) / 8 + 1;
        bits::append_marked(out, most, |bits| {
            let chunks = literals.rchunks_exact(4);
            let first = chunks.remainder();
            for four in chunks {
                for &byte in four.iter().rev() {
                    add(byte, bits);
                }
                bits.flush();
            }
            for &byte in first.iter().rev() {
                add(byte, bits);
            }
        });
    }

    /// Makes codes for these bytes; false where there is no gain to be had.
    fn make(&mut self, literals: &[u8]) -> bool {
        let counts = count(literals);
        // How often a byte occurs, and the byte; the rarest first.
        let mut sorted = [0u32; 256];
        let mut used = 0;
        for (byte, &count) in counts.iter().enumerate() {
            if count > 0 {
                sorted[used] = count << 8 | byte as u32;
                used += 1;
            }
        }
        let sorted = &mut sorted[..used];
        if used < 2 {
            return false;
        }
        sorted.sort_unstable();
        // Noise: even the commonest byte is hardly commoner than all others.
        let most = sorted.last().map_or(0, |&last| last >> 8);
        if most as usize <= (literals.len() >> 7) + 4 {
            return false;
        }
        let mut lengths = [0u8; 256];
        let longest = lengths_of(sorted, &mut lengths[..used]);
        self.lengths = [0; 256];
        for (&entry, &length) in sorted.iter().zip(&lengths) {
            self.lengths[(entry & 0xff) as usize] = length;
        }
        self.assign(longest);
        self.describe(longest)
    }

    /// Gives each byte its code: the longest first, bytes of the same length in order.
    fn assign(&mut self, longest: u8) {
        let mut of_length = [0u16; 16];
        for &length in &self.lengths {
            of_length[usize::from(length & 15)] += 1;
        }
        let mut next = [0u16; 16];
        let mut code = 0;
        for length in (1..=usize::from(longest)).rev() {
            next[length] = code;
            code = (code + of_length[length]) >> 1;
        }
        for (code, &length) in self.codes.iter_mut().zip(&self.lengths) {
            let next = &mut next[usize::from(length & 15)];
            *code = *next << 4 | u16::from(length);
            *next += u16::from(length > 0);
        }
    }

    /// Makes the description of the codes: the weight of each byte up to the last but one.
    fn describe(&mut self, longest: u8) -> bool {
        let mut weights = [0u8; 256];
        for (weight, &length) in weights.iter_mut().zip(&self.lengths) {
            *weight = if length > 0 { longest + 1 - length } else { 0 };
        }
        let last = weights.iter().rposition(|&weight| weight > 0);
        let weights = &weights[..last.unwrap_or(0)];
        self.description.clear();
        self.description.push(0);
        if self.describe_packed(weights) {
            let len = self.description.len() - 1;
            if len < 128 && (len <= weights.len() / 2 || weights.len() > 128) {
                self.description[0] = len as u8;
                return true;
            }
        }
        self.description.clear();
        if weights.len() > 128 {
            return false;
        }
        self.description.push(127 + weights.len() as u8);
        for pair in weights.chunks(2) {
            let second = pair.get(1).copied().unwrap_or(0);
            self.description.push(pair[0] << 4 | second);
        }
        true
    }

    fn describe_packed(&mut self, weights: &[u8]) -> bool {
        let mut counts = [0u16; fse::SYMBOLS];
        for &weight in weights {
            counts[usize::from(weight)] += 1;
        }
        let kinds = counts.iter().filter(|count| **count > 0).count();
        if weights.len() < 3 || kinds < 2 {
            return false;
        }
        let log = if weights.len() > 64 { 6 } else { 5 };
        let shares = fse::share(&counts, log);
        fse::describe(&shares, log, &mut self.description);
        self.table.build(&shares, log);
        let table = &self.table;
        bits::append_marked(&mut self.description, weights.len() + 4, |bits| {
            // Two states take turns; the first has the weights at even places.
            let mut states: [Option<fse::State>; 2] = [None, None];
            for (index, &weight) in weights.iter().enumerate().rev() {
                match &mut states[index % 2] {
                    Some(state) => state.write(table, weight, bits),
                    state => *state = Some(table.begin(weight)),
                }
                bits.need(MOST_OF_TWO);
            }
            for state in states.iter().rev().flatten() {
                state.end(table, bits);
            }
        });
        true
    }
}

/// Counts bytes, in several tables at once, since the same byte often follows itself.
fn count(bytes: &[u8]) -> [u32; 256] {
    let mut tables = [[0u16; 256]; 4];
    let fours = bytes.chunks_exact(4);
    for &byte in fours.remainder() {
        tables[0][usize::from(byte)] += 1;
    }
    for four in fours {
        for (table, &byte) in tables.iter_mut().zip(four) {
            table[usize::from(byte)] += 1;
        }
    }
    std::array::from_fn(|byte| tables.iter().map(|table| u32::from(table[byte])).sum())
}

/// Gives each of the bytes, sorted by how often they occur, the length of its code, and the
/// longest of them.
fn lengths_of(sorted: &[u32], lengths: &mut [u8]) -> u8 {
    let used = sorted.len();
    // Leaves first, then what they are joined to; each kind in the order of how often.
    let mut weight = [0u32; 512];
    let mut parent = [0u16; 512];
    for (weight, &entry) in weight.iter_mut().zip(sorted) {
        *weight = entry >> 8;
    }
    let (mut leaf, mut inner) = (0, used);
    for made in used..2 * used - 1 {
        let mut sum = 0;
        for _ in 0..2 {
            let takes_leaf = leaf < used && (inner >= made || weight[leaf] <= weight[inner]);
            let taken = if takes_leaf { &mut leaf } else { &mut inner };
            parent[*taken] = made as u16;
            sum += weight[*taken];
            *taken += 1;
        }
        weight[made] = sum;
    }
    let mut depth = [0u8; 512];
    for node in (0..2 * used - 2).rev() {
        depth[node] = depth[usize::from(parent[node])] + 1;
    }
    lengths.copy_from_slice(&depth[..used]);
    if lengths[0] > LONGEST {
        limit(lengths);
    }
    lengths.iter().copied().max().unwrap_or(1)
}

/// Makes no code longer than [`LONGEST`]; the codes stay as many as their lengths have room for.
fn limit(lengths: &mut [u8]) {
    const ROOM: u32 = 1 << LONGEST;
    let share = |length: u8| 1u32 << (LONGEST - length);
    let mut taken = 0;
    for length in lengths.iter_mut() {
        *length = (*length).min(LONGEST);
        taken += share(*length);
    }
    // The rarest of those that can still grow.
    let mut at = 0;
    while taken > ROOM {
        match lengths.get_mut(at) {
            Some(length) if *length < LONGEST => {
                taken -= share(*length) / 2;
                *length += 1;
            }
            Some(_) => at += 1,
            None => break,
        }
    }
    // What that freed too much goes to the commonest that it is enough for.
    for length in lengths.iter_mut().rev() {
        while taken < ROOM && *length > 1 && taken + share(*length) <= ROOM {
            taken += share(*length);
            *length -= 1;
        }
    }
}

fn plain_header(kind: u32, len: usize, out: &mut Vec<u8>) {
    let len = len as u32;
    let (head, bytes) = match len {
        0..32 => (kind | len << 3, 1),
        32..4096 => (kind | 1 << 2 | len << 4, 2),
        _ => (kind | 3 << 2 | len << 4, 3),
    };
    out.extend_from_slice(&head.to_le_bytes()[..bytes]);
}
