//! Where sections lie in an ELF file of any machine and type, 32-bit or 64-bit: a kernel with its
//! debugging information, a module. Such files are large, so only what is asked for is read.

use core::ops::Range;

use super::{ElfError, Reader, number as n};
use crate::ByteOrder;

/// Largest table of sections or of their names that is read, in bytes.
const LARGEST: u64 = 64 << 20;

/// Finds sections by name: for each of `wanted` its byte range in the file, none where the file has
/// no such section or does not hold its bytes.
///
/// `read` gives the bytes of a range of the file; it is asked for the headers and the sections' names,
/// no more, and need not give what lies outside of the file.
///
/// # Errors
/// Where the file is no ELF file, and what `read` fails with.
pub fn find_sections<E: From<ElfError>>(
    wanted: &[&str],
    read: &mut dyn FnMut(Range<u64>) -> Result<Vec<u8>, E>,
) -> Result<Vec<Option<Range<u64>>>, E> {
    let header = read(0..64)?;
    let shape = Shape::of(&header)?;
    let file = Reader {
        bytes: &header,
        order: shape.order,
    };
    let table = shape.table(file)?;
    let first = read(span(table, shape.entry)?)?;
    let first = shape.section(&first, 0);
    // Numbers that do not fit stand in the first section's header.
    let field = |at| file.u16(at).ok_or_else(|| malformed("header", at));
    let count = match (field(shape.count)?, &first) {
        (0, Some(first)) => first.size,
        (0, None) => 0,
        (count, _) => count.into(),
    };
    let names = match (field(shape.count + 2)?, &first) {
        (n::SHN_XINDEX, Some(first)) => u64::from(first.link),
        (names, _) => names.into(),
    };
    let len = count
        .checked_mul(shape.entry)
        .filter(|len| *len <= LARGEST)
        .ok_or_else(|| malformed("table of sections", shape.count))?;
    let table = read(span(table, len)?)?;
    let at = |index: u64| shape.section(&table, usize::try_from(index).ok()?);
    let mut found = vec![None; wanted.len()];
    let names = match at(names) {
        Some(names) if names.size <= LARGEST => read(span(names.offset, names.size)?)?,
        _ if count == 0 => return Ok(found),
        _ => return Err(malformed("section of the names", shape.count + 2).into()),
    };
    for section in (1..count).filter_map(at) {
        if matches!(section.kind, 0 | n::SHT_NOBITS) {
            continue;
        }
        let name = names.get(section.name as usize..).unwrap_or_default();
        let is = |wanted: &str| {
            let rest = name.strip_prefix(wanted.as_bytes());
            rest.is_some_and(|rest| rest.first() == Some(&0))
        };
        for (wanted, found) in wanted.iter().zip(&mut found) {
            if found.is_none() && is(wanted) {
                *found = Some(span(section.offset, section.size)?);
            }
        }
    }
    Ok(found)
}

fn span(start: u64, len: u64) -> Result<Range<u64>, ElfError> {
    let end = start.checked_add(len);
    let end = end.ok_or_else(|| malformed("place of a section", 0))?;
    Ok(start..end)
}

fn malformed(what: &'static str, offset: usize) -> ElfError {
    ElfError::Malformed {
        what,
        offset: offset as u64,
    }
}

/// What of the format depends on the size of addresses, and the byte order.
struct Shape {
    order: ByteOrder,
    wide: bool,
    /// Size in bytes of a section's header.
    entry: u64,
    /// Byte offset of the number of sections.
    count: usize,
}

/// A section's header.
struct Header {
    name: u32,
    kind: u32,
    offset: u64,
    size: u64,
    link: u32,
}

impl Shape {
    fn of(header: &[u8]) -> Result<Shape, ElfError> {
        let start: [u8; 6] = *header.first_chunk().ok_or(ElfError::NotElf)?;
        if start[..4] != *b"\x7fELF" {
            return Err(ElfError::NotElf);
        }
        let (wide, entry, count) = match start[4] {
            1 => (false, 40, 48),
            2 => (true, 64, 60),
            _ => return Err(malformed("size of addresses", 4)),
        };
        let order = match start[5] {
            1 => ByteOrder::Little,
            2 => ByteOrder::Big,
            _ => return Err(malformed("byte order", 5)),
        };
        Ok(Shape {
            order,
            wide,
            entry,
            count,
        })
    }

    /// Gives where the table of sections begins.
    fn table(&self, file: Reader<'_>) -> Result<u64, ElfError> {
        let (at, start) = match self.wide {
            true => (40, file.u64(40)),
            false => (32, file.u32(32).map(u64::from)),
        };
        let size = file.u16(self.count - 2);
        if size.is_some_and(|size| u64::from(size) != self.entry) {
            return Err(malformed("size of a section's header", self.count - 2));
        }
        let start = start.filter(|_| size.is_some());
        start.ok_or_else(|| malformed("header", at))
    }

    fn section(&self, table: &[u8], index: usize) -> Option<Header> {
        let size = usize::try_from(self.entry).ok()?;
        let start = index.checked_mul(size)?;
        let file = Reader {
            bytes: table.get(start..)?.get(..size)?,
            order: self.order,
        };
        let (offset, len, link) = match self.wide {
            true => (file.u64(24)?, file.u64(32)?, file.u32(40)?),
            false => (file.u32(16)?.into(), file.u32(20)?.into(), file.u32(24)?),
        };
        Some(Header {
            name: file.u32(0)?,
            kind: file.u32(4)?,
            offset,
            size: len,
            link,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An ELF file of a machine, with these sections after that of the names.
    fn file(wide: bool, order: ByteOrder, sections: &[(&str, u32, &[u8])]) -> Vec<u8> {
        let short = |value: u16| match order {
            ByteOrder::Little => value.to_le_bytes(),
            ByteOrder::Big => value.to_be_bytes(),
        };
        let word = |value: u64| {
            let mut bytes = value.to_le_bytes()[..if wide { 8 } else { 4 }].to_vec();
            if order == ByteOrder::Big {
                bytes.reverse();
            }
            bytes
        };
        let half = |value: u32| match order {
            ByteOrder::Little => value.to_le_bytes(),
            ByteOrder::Big => value.to_be_bytes(),
        };
        let (header, entry) = if wide { (64, 64) } else { (52, 40) };
        let mut names = vec![0];
        let mut data = vec![0; header];
        let mut table = vec![0; entry];
        let all = [("names", 3, &[][..])];
        for (name, kind, bytes) in all.iter().chain(sections) {
            let at = names.len() as u32;
            names.extend(name.as_bytes());
            names.push(0);
            let bytes = match *kind {
                3 => "\0names\0".len() + sections.iter().map(|s| s.0.len() + 1).sum::<usize>(),
                _ => bytes.len(),
            };
            let start = data.len() as u64;
            let entry = [
                half(at).to_vec(),
                half(*kind).to_vec(),
                word(0),
                word(0),
                word(start),
                word(bytes as u64),
                [half(0), half(0)].concat(),
                word(1),
                word(0),
            ];
            table.extend(entry.concat());
            data.resize(data.len() + bytes, 0);
        }
        let mut at = header + names.len();
        data[header..at].copy_from_slice(&names);
        for (_, _, bytes) in sections {
            data[at..at + bytes.len()].copy_from_slice(bytes);
            at += bytes.len();
        }
        let start = [0x7f, b'E', b'L', b'F', if wide { 2 } else { 1 }];
        data[..5].copy_from_slice(&start);
        data[5] = if order == ByteOrder::Little { 1 } else { 2 };
        // An executable of x86-64.
        data[16..18].copy_from_slice(&short(2));
        data[18..20].copy_from_slice(&short(62));
        let (place, count) = if wide { (40, 58) } else { (32, 46) };
        let end = word(data.len() as u64);
        data[place..place + end.len()].copy_from_slice(&end);
        for (at, value) in [(0, entry), (2, sections.len() + 2), (4, 1)] {
            data[count + at..count + at + 2].copy_from_slice(&short(value as u16));
        }
        data.extend(table);
        data
    }

    fn found(bytes: &[u8], wanted: &[&str]) -> Result<Vec<Option<Vec<u8>>>, ElfError> {
        let mut read = |range: Range<u64>| {
            let end = (range.end as usize).min(bytes.len());
            Ok(bytes
                .get(range.start as usize..end)
                .unwrap_or_default()
                .to_vec())
        };
        let ranges = find_sections::<ElfError>(wanted, &mut read)?;
        let bytes = |range: Range<u64>| bytes[range.start as usize..range.end as usize].to_vec();
        Ok(ranges.into_iter().map(|range| range.map(bytes)).collect())
    }

    const KERNEL: [(&str, u32, &[u8]); 4] = [
        (".text", 1, b"code"),
        (".BTFx", 1, b"no"),
        (".bss", 8, b""),
        (".BTF", 1, b"types"),
    ];

    #[test]
    fn sections_of_any_machine_are_found() {
        for order in [ByteOrder::Little, ByteOrder::Big] {
            for wide in [true, false] {
                let file = file(wide, order, &KERNEL);
                let found = found(&file, &[".BTF", ".BTF.base", ".bss"]);
                let types = Some(b"types".to_vec());
                assert_eq!(found, Ok(vec![types, None, None]), "{order} {wide}");
            }
        }
    }

    #[test]
    fn damaged_files_are_refused_or_lack_the_section() {
        let whole = file(true, ByteOrder::Little, &KERNEL);
        assert_eq!(found(b"", &[]), Err(ElfError::NotElf));
        assert_eq!(found(b"MZ....", &[]), Err(ElfError::NotElf));
        for end in 0..whole.len() {
            let found = found(&whole[..end], &[".BTF"]);
            assert!(!matches!(found, Ok(ref all) if all[0].is_some()), "{end}");
        }
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 0xff;
            let mut read = |range: Range<u64>| {
                let end = range.end.min(bytes.len() as u64) as usize;
                let start = range.start.min(end as u64) as usize;
                Ok(bytes[start..end].to_vec())
            };
            // Whatever comes of it, it ends.
            let _ = find_sections::<ElfError>(&[".BTF"], &mut read);
        }
    }
}
