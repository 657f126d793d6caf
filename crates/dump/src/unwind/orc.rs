//! ORC: for each address of code, where the caller's frame is. Four versions of its entries are
//! known; their numbers say which it is.

use std::ops::Range;

use kscope_memory::{Memory, VirtAddr};

use crate::Error;
use crate::bytes::{i16_at, i32_at, u16_at};
use crate::facts::module::OrcTable;
use crate::pages::read_pages;

/// Size of an entry: two offsets and a word of fields.
const ENTRY: usize = 6;
/// Most entries of the image's table; half a million are usual.
const ENTRIES: u64 = 1 << 22;

/// A version of the entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OrcVersion {
    /// Until 6.2.
    V1,
    /// 6.3: interrupted frames have a bit of their own.
    V2,
    /// 6.4 to 7.0: undefined and last frames are types.
    V3,
    /// Since 7.1: registers are numbered in another order.
    V4,
}

/// What an offset counts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Base {
    Undefined,
    /// The caller's frame itself.
    Frame,
    Sp,
    Bp,
    Ax,
    Dx,
    Di,
    R10,
    R13,
    /// What is at the stack pointer; what is at an offset from the base pointer.
    AtSp,
    AtBp,
}

/// What kind of frame an entry is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Undefined,
    /// The last one.
    End,
    /// A return address is above.
    Call,
    /// All registers are above, as an exception saved them.
    Registers,
    /// What the machine itself saved is above.
    Partial,
}

/// An entry decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) sp_offset: i64,
    pub(crate) bp_offset: i64,
    pub(crate) sp: Base,
    pub(crate) bp: Base,
    pub(crate) kind: Kind,
}

/// A table: addresses ascending, relative to their own places, and an entry for each.
pub(crate) struct Orc {
    start: u64,
    addresses: Vec<u8>,
    entries: Vec<u8>,
    /// The entries in order of addresses, where they are not.
    order: Option<Vec<u32>>,
    version: OrcVersion,
}

impl Orc {
    /// Reads a table; without a version, the numbers in it tell.
    pub(crate) fn read(
        memory: &dyn Memory,
        table: OrcTable,
        version: Option<OrcVersion>,
    ) -> Result<Orc, Error> {
        if table.count == 0 || table.count > ENTRIES {
            return Err(Error::Malformed {
                what: "unwind table (ORC)",
                offset: table.addresses.0,
            });
        }
        let count = table.count as usize;
        let mut addresses = vec![0; count * 4];
        let lost = read_pages(memory, table.addresses, &mut addresses)?;
        // Zeros are entries that say nothing.
        let mut entries = vec![0; count * ENTRY];
        for hole in read_pages(memory, table.entries, &mut entries)? {
            // Half an entry is none.
            let (first, last) = (hole.start / ENTRY, hole.end.div_ceil(ENTRY).min(count));
            entries[first * ENTRY..last * ENTRY].fill(0);
        }
        let version = version.unwrap_or_else(|| detect(&entries));
        let mut orc = Orc {
            start: table.addresses.0,
            addresses,
            entries,
            order: None,
            version,
        };
        for hole in lost {
            orc.close(hole);
        }
        let sorted = (1..count).all(|i| orc.address(i - 1) <= orc.address(i));
        if !sorted {
            let mut order: Vec<u32> = (0..count as u32).collect();
            order.sort_by_key(|&i| orc.address(i as usize));
            orc.order = Some(order);
        }
        Ok(orc)
    }

    /// Gives entries whose addresses are lost, by bytes of the table, the address beside them and
    /// nothing to say: what lies in the hole has no entry then.
    fn close(&mut self, hole: Range<usize>) {
        let first = hole.start / 4;
        let beside = first.checked_sub(1).unwrap_or(hole.end / 4);
        let before = self.address(beside);
        for index in first..hole.end.div_ceil(4).min(self.len()) {
            let place = self.start.wrapping_add(index as u64 * 4);
            let offset = before.wrapping_sub(place) as i32;
            if let Some(raw) = self.addresses.get_mut(index * 4..index * 4 + 4) {
                raw.copy_from_slice(&offset.to_le_bytes());
            }
            if let Some(raw) = self.entries.get_mut(index * ENTRY..(index + 1) * ENTRY) {
                raw.fill(0);
            }
        }
    }

    pub(crate) fn version(&self) -> OrcVersion {
        self.version
    }

    /// Gives the number of entries.
    pub(crate) fn len(&self) -> usize {
        self.addresses.len() / 4
    }

    fn address(&self, index: usize) -> u64 {
        let offset = i32_at(&self.addresses, index * 4);
        let place = self.start.wrapping_add(index as u64 * 4);
        place.wrapping_add(offset as i64 as u64)
    }

    fn nth(&self, index: usize) -> usize {
        match &self.order {
            Some(order) => order.get(index).map_or(0, |&i| i as usize),
            None => index,
        }
    }

    /// Finds the entry for an address.
    pub(crate) fn find(&self, addr: VirtAddr) -> Option<Entry> {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low + (high - low) / 2;
            if self.address(self.nth(middle)) <= addr.0 {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        let index = self.nth(low.checked_sub(1)?);
        let raw = self.entries.get(index * ENTRY..(index + 1) * ENTRY)?;
        Some(decode(raw, self.version))
    }
}

fn decode(raw: &[u8], version: OrcVersion) -> Entry {
    use OrcVersion::{V1, V2, V3, V4};
    let fields = u16_at(raw, 4);
    let base = |number: u16| {
        let before = [
            Base::Undefined,
            Base::Frame,
            Base::Dx,
            Base::Di,
            Base::Bp,
            Base::Sp,
            Base::R10,
            Base::R13,
            Base::AtBp,
            Base::AtSp,
            Base::Ax,
        ];
        let since = [
            Base::Undefined,
            Base::Ax,
            Base::Dx,
            Base::Sp,
            Base::Bp,
            Base::Di,
            Base::R10,
            Base::R13,
            Base::Frame,
            Base::AtSp,
            Base::AtBp,
        ];
        let names = if version == V4 { since } else { before };
        names
            .get(usize::from(number))
            .copied()
            .unwrap_or(Base::Undefined)
    };
    let sp = base(fields & 15);
    let kind = match (version, sp) {
        (V1, Base::Undefined) if fields & 0x400 != 0 => Kind::End,
        (V2, Base::Undefined) if fields & 0x800 != 0 => Kind::End,
        (V1 | V2, Base::Undefined) => Kind::Undefined,
        (V1 | V2, _) => match (fields >> 8) & 3 {
            0 => Kind::Call,
            1 => Kind::Registers,
            2 => Kind::Partial,
            _ => Kind::Undefined,
        },
        (V3 | V4, _) => match (fields >> 8) & 7 {
            1 => Kind::End,
            2 => Kind::Call,
            3 => Kind::Registers,
            4 => Kind::Partial,
            _ => Kind::Undefined,
        },
    };
    Entry {
        sp_offset: i16_at(raw, 0).into(),
        bp_offset: i16_at(raw, 2).into(),
        sp,
        bp: base((fields >> 4) & 15),
        kind,
    }
}

/// Tells the version by what entries are most of: frames of calls, counted from the stack pointer,
/// which has the number 5 in all versions but the last, and 3 there.
fn detect(entries: &[u8]) -> OrcVersion {
    let mut old = [0usize; 2];
    let mut new = 0usize;
    let mut last = 0usize;
    let mut ends = 0usize;
    for raw in entries.chunks_exact(ENTRY) {
        let fields = u16_at(raw, 4);
        match (fields & 15, (fields >> 8) & 7) {
            (5, 0) => old[0] += 1,
            (5, 2) => new += 1,
            (3, 2) => last += 1,
            _ => {}
        }
        // The end of stacks: bit 10 in the first version, bit 11 in the second.
        if fields & 15 == 0 && fields & 0xc00 == 0x800 {
            ends += 1;
        }
        old[1] = ends;
    }
    if old[0] >= new && old[0] >= last {
        if ends > 0 {
            OrcVersion::V2
        } else {
            OrcVersion::V1
        }
    } else if new >= last {
        OrcVersion::V3
    } else {
        OrcVersion::V4
    }
}

#[cfg(test)]
mod tests {
    use kscope_memory::{Gap, GapAt};

    use super::*;

    /// Compares an entry, given as the kernel lays out `struct orc_entry`.
    fn check(version: OrcVersion, fields: u16, expected: (Kind, Base, Base)) {
        let mut raw = [16, 0, 0xf0, 0xff, 0, 0];
        raw[4..].copy_from_slice(&fields.to_le_bytes());
        let entry = decode(&raw, version);
        assert_eq!((entry.kind, entry.sp, entry.bp), expected, "{fields:#x}");
        assert_eq!((entry.sp_offset, entry.bp_offset), (16, -16));
    }

    #[test]
    fn entries_of_all_versions() {
        use OrcVersion::{V1, V2, V3, V4};
        check(V1, 0x005, (Kind::Call, Base::Sp, Base::Undefined));
        check(V1, 0x014, (Kind::Call, Base::Bp, Base::Frame));
        check(V1, 0x105, (Kind::Registers, Base::Sp, Base::Undefined));
        check(V1, 0x205, (Kind::Partial, Base::Sp, Base::Undefined));
        check(V1, 0x400, (Kind::End, Base::Undefined, Base::Undefined));
        check(
            V1,
            0x000,
            (Kind::Undefined, Base::Undefined, Base::Undefined),
        );
        check(V2, 0x800, (Kind::End, Base::Undefined, Base::Undefined));
        check(V2, 0x505, (Kind::Registers, Base::Sp, Base::Undefined));
        check(V3, 0x205, (Kind::Call, Base::Sp, Base::Undefined));
        check(V3, 0x100, (Kind::End, Base::Undefined, Base::Undefined));
        check(V3, 0xb05, (Kind::Registers, Base::Sp, Base::Undefined));
        check(V4, 0x203, (Kind::Call, Base::Sp, Base::Undefined));
        check(V4, 0x284, (Kind::Call, Base::Bp, Base::Frame));
        check(V4, 0x403, (Kind::Partial, Base::Sp, Base::Undefined));
        check(
            V4,
            0x00f,
            (Kind::Undefined, Base::Undefined, Base::Undefined),
        );
    }

    /// A table of 3000 entries for functions of 16 bytes; pages of it may be missing.
    struct Pages {
        missing: Vec<u64>,
    }

    const AT: u64 = 0xffff_ffff_8100_0000;
    const TEXT: u64 = AT + 0x10_0000;

    impl Memory for Pages {
        fn read(&self, addr: VirtAddr, buf: &mut [u8]) -> Result<(), GapAt> {
            for (at, byte) in (addr.0..).zip(buf) {
                if self.missing.contains(&(at / 4096 * 4096)) {
                    return Err(GapAt {
                        addr: VirtAddr(at),
                        len: 1,
                        why: Gap::Lost,
                    });
                }
                let offset = at - AT;
                *byte = if offset < 12_000 {
                    let place = offset & !3;
                    let relative = (TEXT - AT + place * 4).wrapping_sub(place) as u32;
                    relative.to_le_bytes()[offset as usize % 4]
                } else {
                    [8, 0, 0, 0, 5, 0][(offset as usize - 12_000) % 6]
                };
            }
            Ok(())
        }
    }

    #[test]
    fn tables_of_which_pages_are_lost() {
        let table = OrcTable {
            addresses: VirtAddr(AT),
            entries: VirtAddr(AT + 12_000),
            count: 3000,
        };
        // Missing page, and the functions that have no entry then.
        for (page, lost) in [
            (AT, 0..1024),
            (AT + 4096, 1024..2048),
            (AT + 0x6000, 2096..2779),
        ] {
            let memory = Pages {
                missing: vec![page],
            };
            let orc = Orc::read(&memory, table, None).unwrap();
            for function in 0..3000 {
                let found = orc.find(VirtAddr(TEXT + function * 16 + 3));
                let known = found.is_some_and(|e| e.kind == Kind::Call && e.sp_offset == 8);
                // Entries at the edges of a hole are half there.
                let edge = function + 1 == lost.start || function == lost.end;
                assert!(
                    edge || known != lost.contains(&function),
                    "{page:#x} {function}"
                );
            }
        }
        let missing = (0..3).map(|i| AT + i * 4096).collect();
        assert!(Orc::read(&Pages { missing }, table, None).is_err());
    }

    fn check_detect(fields: &[u16], expected: OrcVersion) {
        let raw: Vec<u8> = fields
            .iter()
            .flat_map(|f| [0, 0, 0, 0, *f as u8, (f >> 8) as u8])
            .collect();
        assert_eq!(detect(&raw), expected, "{fields:x?}");
    }

    #[test]
    fn versions_by_their_numbers() {
        check_detect(&[0x005, 0x005, 0x400, 0x000], OrcVersion::V1);
        check_detect(&[0x005, 0x005, 0x800, 0x505], OrcVersion::V2);
        check_detect(&[0x205, 0x205, 0x100, 0xb05], OrcVersion::V3);
        check_detect(&[0x203, 0x203, 0x100, 0xb03], OrcVersion::V4);
    }
}
