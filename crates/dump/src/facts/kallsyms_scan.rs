//! Finds the symbol table in the image of kernels that do not say where it is (before 6.0), by
//! the one thing all have alike: the tokens `0` to `9`, which stand for themselves.

use kscope_memory::{Memory, VirtAddr};

use super::kallsyms::{AddressTables, SYMBOLS, Tables};
use crate::Error;
use crate::bytes::{u16_at, u32_at};
use crate::pages::read_pages;

/// Most of an image that is looked through.
const IMAGE: u64 = 128 << 20;
/// Bytes looked through at once, and how much of the piece before is kept.
const PIECE: usize = 1 << 20;
const KEPT: usize = 64;
/// How far before the tokens names and addresses may begin, of which most kernels need the first
/// only, and how far behind addresses may.
const BEFORE: [u64; 2] = [4 << 20, 24 << 20];
const AFTER: u64 = 4 << 20;
const PAGE: usize = 4096;
/// Most places looked at that may be the tokens, and most that are and have other tables around.
const PLACES: usize = 1 << 14;
const TOKENS: usize = 16;

/// Finds every place where the tables may be, the likeliest first; `stext` lies in the image.
pub(crate) fn find(memory: &dyn Memory, stext: VirtAddr) -> Result<Vec<Tables>, Error> {
    // Images are loaded at multiples of 2 MB.
    let start = stext.0 & !((2 << 20) - 1);
    let missing = Error::Missing("symbol table (kallsyms)");
    // No image is so close to the end of all addresses that what follows it would pass that.
    if start.checked_add(2 * IMAGE).is_none() {
        return Err(missing);
    }
    let (mut looked_at, mut met) = (0, 0);
    let mut digits = Vec::new();
    for digit in b'0'..=b'9' {
        digits.extend_from_slice(&[digit, 0]);
    }
    let mut piece = vec![0; KEPT + PIECE];
    let mut at = start;
    while at < start.saturating_add(IMAGE) {
        piece.copy_within(PIECE.., 0);
        let next = at.saturating_add(PIECE as u64);
        if read_pages(memory, VirtAddr(at), &mut piece[KEPT..]).is_err() {
            at = next;
            continue;
        }
        let mut from = 0;
        while let Some(found) = find_bytes(&piece[from..], &digits) {
            let place = at
                .wrapping_sub(KEPT as u64)
                .wrapping_add((from + found) as u64);
            looked_at += 1;
            if let Some(tokens) = tokens_at(memory, VirtAddr(place)) {
                met += 1;
                let tables = around(memory, tokens);
                if !tables.is_empty() {
                    return Ok(tables);
                }
            }
            if looked_at >= PLACES || met >= TOKENS {
                return Err(missing);
            }
            from += found + 1;
        }
        at = next;
    }
    Err(missing)
}

/// Where the tokens and their index are.
#[derive(Clone, Copy)]
struct TokenTables {
    table: u64,
    index: u64,
}

/// Takes the place of the token `0` and looks whether a table of 256 tokens with its index is
/// around it.
fn tokens_at(memory: &dyn Memory, digit: VirtAddr) -> Option<TokenTables> {
    const BACK: usize = 4096;
    let start = digit.0.checked_sub(BACK as u64)?;
    let mut around = vec![0; BACK * 4];
    // What is missing is zeros.
    let _ = read_pages(memory, VirtAddr(start), &mut around);
    // 48 tokens are before the one of the character 0x30.
    let mut ends = (0..BACK).rev().filter(|&i| around[i] == 0);
    let first_end = ends.nth(usize::from(b'0') - 1)?;
    let table = around[..first_end].iter().rposition(|&b| b == 0)? + 1;
    // The table is aligned; what is before may end in anything.
    for table in (table..first_end).filter(|t| (start + *t as u64) % 4 == 0) {
        let mut starts = Vec::with_capacity(256);
        let mut at = table;
        for _ in 0..256 {
            starts.push((at - table) as u16);
            at += around.get(at..)?.iter().position(|&b| b == 0)? + 1;
        }
        for index in (at..at + 16).filter(|&i| (start + i as u64) % 2 == 0) {
            if (0..256)
                .all(|i| around.len() >= index + 512 && u16_at(&around, index + i * 2) == starts[i])
            {
                return Some(TokenTables {
                    table: start + table as u64,
                    index: start + index as u64,
                });
            }
        }
    }
    None
}

/// Looks for the other tables around the tokens.
fn around(memory: &dyn Memory, tokens: TokenTables) -> Vec<Tables> {
    let found = BEFORE
        .into_iter()
        .map(|reach| within(memory, tokens, reach));
    found
        .into_iter()
        .find(|f| !f.is_empty())
        .unwrap_or_default()
}

/// Looks for them no further than `reach` before the tokens.
fn within(memory: &dyn Memory, tokens: TokenTables, reach: u64) -> Vec<Tables> {
    let start = tokens.table.saturating_sub(reach) & !(PAGE as u64 - 1);
    let mut before = vec![0; (tokens.table - start) as usize];
    let _ = read_pages(memory, VirtAddr(start), &mut before);
    let Some((markers, count)) = markers(&before) else {
        return Vec::new();
    };
    let Some((num_syms, symbols)) = names(&before, markers, count) else {
        return Vec::new();
    };
    let at = |offset: usize| VirtAddr(start + offset as u64);
    let tables = |addresses| Tables {
        names: at(num_syms + 8),
        count: at(num_syms),
        token_table: VirtAddr(tokens.table),
        token_index: VirtAddr(tokens.index),
        addresses,
    };
    let mut found = Vec::new();
    let symbols = symbols as usize;
    // Until 6.3 addresses come first: offsets, their base, the number of symbols.
    if let Some(offsets) = num_syms.checked_sub(8 + (symbols * 4).next_multiple_of(8)) {
        found.push(tables(AddressTables {
            absolute: num_syms.checked_sub(symbols * 8).map(at),
            offsets: Some(at(offsets)),
            relative_base: Some(at(num_syms - 8)),
        }));
    }
    // Since then behind the tokens.
    let offsets = (tokens.index + 512).next_multiple_of(8);
    let base = offsets + (symbols as u64 * 4).next_multiple_of(8);
    for relative_base in [Some(VirtAddr(base)), None] {
        if base - tokens.table < AFTER {
            found.push(tables(AddressTables {
                absolute: None,
                offsets: Some(VirtAddr(offsets)),
                relative_base,
            }));
        }
    }
    found
}

/// Finds the last table of markers: 0, then ascending places of every 256th name. Gives its place
/// and its number of entries.
fn markers(before: &[u8]) -> Option<(usize, usize)> {
    /// Fewest markers of a table; a kernel has hundreds.
    const FEWEST: usize = 8;
    let plausible = |step: u32| (256 * 2..256 * 256).contains(&step);
    let mut at = before.len() & !3;
    while at >= 8 {
        at -= 4;
        if u32_at(before, at) != 0 || !plausible(u32_at(before, at + 4)) {
            continue;
        }
        let mut count = 1;
        let mut last = 0;
        while at + count * 4 + 4 <= before.len() {
            let next = u32_at(before, at + count * 4);
            if !next.checked_sub(last).is_some_and(plausible) {
                break;
            }
            last = next;
            count += 1;
        }
        if count >= FEWEST {
            return Some((at, count));
        }
    }
    None
}

/// Finds the number of symbols before the names whose markers are known. Gives its place and
/// value.
fn names(before: &[u8], markers: usize, count: usize) -> Option<(usize, u32)> {
    let first = u32_at(before, markers + 4) as usize;
    let last = u32_at(before, markers + (count - 1) * 4) as usize;
    let fewest = (count as u32 - 1) * 256;
    // The names fill all between their number and the markers.
    let highest = markers.checked_sub(last)?.checked_sub(8)?;
    let lowest = highest.saturating_sub(256 * 512);
    for at in (lowest..=highest).rev() {
        let symbols = u32_at(before, at);
        if !(fewest + 1..=fewest + 256).contains(&symbols) || symbols > SYMBOLS {
            continue;
        }
        // The number is 4 or 8 bytes, the names aligned to 8.
        let agrees = u32_at(before, at + 4) == 0
            && [true, false]
                .into_iter()
                .any(|wide| walk(before, at + 8, wide) == Some(first));
        if agrees {
            return Some((at, symbols));
        }
    }
    None
}

/// Gives the bytes of the first 256 names.
fn walk(before: &[u8], start: usize, wide: bool) -> Option<usize> {
    let mut at = start;
    for _ in 0..256 {
        let mut len = usize::from(*before.get(at)?);
        at += 1;
        if wide && len & 0x80 != 0 {
            len = (len & 0x7f) | usize::from(*before.get(at)?) << 7;
            at += 1;
        }
        at += len;
    }
    (at <= before.len()).then_some(at - start)
}

fn find_bytes(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    let (&first, _) = wanted.split_first()?;
    let mut from = 0;
    loop {
        let rest = bytes.get(from..)?;
        let found = from + rest.iter().position(|&b| b == first)?;
        if bytes[found..].starts_with(wanted) {
            return Some(found);
        }
        from = found + 1;
    }
}
