//! The kernel's own symbol table, as it lies in the image: names packed as tokens, and addresses
//! in one of four encodings.

use kscope_memory::{KernelSymbols, KernelSymbolsBuilder, Memory, VirtAddr};

use super::vmcoreinfo::Vmcoreinfo;
use crate::Error;
use crate::bytes::{i32_at, u16_at, u32_at, u64_at};

/// Most symbols of a kernel; the largest have half a million.
pub(crate) const SYMBOLS: u32 = 1 << 22;
/// Longest name, its kind included.
const NAME: usize = 1024;
/// Longest token.
const TOKEN: usize = 256;
/// Most bytes of all names; 20 MB are many.
const NAMES: usize = 128 << 20;
/// Bytes read at once.
const PIECE: usize = 64 << 10;

/// Where the tables are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tables {
    pub(crate) names: VirtAddr,
    pub(crate) count: VirtAddr,
    pub(crate) token_table: VirtAddr,
    pub(crate) token_index: VirtAddr,
    pub(crate) addresses: AddressTables,
}

/// Where the addresses may be; which it is, `_stext` decides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct AddressTables {
    pub(crate) absolute: Option<VirtAddr>,
    pub(crate) offsets: Option<VirtAddr>,
    pub(crate) relative_base: Option<VirtAddr>,
}

/// How addresses are encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AddressEncoding {
    /// As they are.
    Absolute,
    /// As offsets from a base.
    BaseRelative,
    /// Negative as offsets down from a base, others as they are: per-CPU offsets.
    AbsolutePerCpu,
    /// As offsets from the place of the offset itself.
    PlaceRelative,
}

impl Tables {
    /// Takes them from VMCOREINFO, where kernels since 6.0 say them.
    pub(crate) fn from_vmcoreinfo(info: &Vmcoreinfo) -> Option<Tables> {
        let symbol = |name: &str| info.symbol(&format!("kallsyms_{name}"));
        Some(Tables {
            names: symbol("names")?,
            count: symbol("num_syms")?,
            token_table: symbol("token_table")?,
            token_index: symbol("token_index")?,
            addresses: AddressTables {
                absolute: symbol("addresses"),
                offsets: symbol("offsets"),
                relative_base: symbol("relative_base"),
            },
        })
    }
}

/// The table read.
#[derive(Debug)]
pub(crate) struct Image {
    pub(crate) symbols: KernelSymbols,
    pub(crate) encoding: AddressEncoding,
}

/// Reads the table; `stext` is the address of `_stext`, by which the encoding is known.
pub(crate) fn read(memory: &dyn Memory, tables: &Tables, stext: VirtAddr) -> Result<Image, Error> {
    let count = memory.read_u32(tables.count)?;
    if count == 0 || count > SYMBOLS {
        return Err(Error::Malformed {
            what: "number of symbols",
            offset: tables.count.0,
        });
    }
    let tokens = Tokens::read(memory, tables)?;
    let names = Names::choose(memory, tables, &tokens, count)?;
    let (encoding, addresses) = read_addresses(memory, tables, count, names.stext, stext)?;
    let mut builder = KernelSymbolsBuilder::new();
    let mut at = 0;
    for (&len, address) in names.lens.iter().zip(addresses) {
        let end = at + usize::from(len);
        let text = names.text.get(at..end).unwrap_or_default();
        at = end;
        let Some((&kind, name)) = text.split_first() else {
            continue;
        };
        // A name that is none is left out; the others are good.
        let _ = builder.add(VirtAddr(address), kind, name, None);
    }
    Ok(Image {
        symbols: builder.finish()?,
        encoding,
    })
}

/// The 256 tokens that names are made of.
struct Tokens {
    text: Vec<u8>,
    places: Vec<(u16, u16)>,
}

impl Tokens {
    fn read(memory: &dyn Memory, tables: &Tables) -> Result<Tokens, Error> {
        let mut index = [0; 512];
        memory.read(tables.token_index, &mut index)?;
        let starts: Vec<u16> = (0..256).map(|i| u16_at(&index, i * 2)).collect();
        let last = starts.iter().max().copied().unwrap_or(0);
        let mut text = vec![0; usize::from(last)];
        memory.read(tables.token_table, &mut text)?;
        let end = tables.token_table.checked_add(last.into());
        let end = end.ok_or(Error::Malformed {
            what: "token table",
            offset: tables.token_table.0,
        })?;
        text.extend_from_slice(&memory.read_text(end, TOKEN)?);
        text.push(0);
        let places = starts
            .iter()
            .map(|&start| {
                let rest = text.get(usize::from(start)..).unwrap_or_default();
                let len = rest.iter().position(|&b| b == 0).unwrap_or(0);
                (start, len.min(TOKEN) as u16)
            })
            .collect();
        Ok(Tokens { text, places })
    }

    fn get(&self, token: u8) -> &[u8] {
        let Some(&(start, len)) = self.places.get(usize::from(token)) else {
            return &[];
        };
        let rest = self.text.get(usize::from(start)..).unwrap_or_default();
        rest.get(..usize::from(len)).unwrap_or_default()
    }
}

/// All names, unpacked, each with its kind in front.
struct Names {
    text: Vec<u8>,
    lens: Vec<u16>,
    stext: Option<u32>,
    /// Packed bytes before the 256th name, and of all names.
    first_marker: u64,
    packed: u64,
    /// Whether a length of more than 127 was met.
    long: bool,
}

impl Names {
    /// Reads the names. Since 6.1 lengths over 127 take two bytes; before, one. The data does not
    /// say, but the table of markers behind it agrees with one reading only.
    fn choose(
        memory: &dyn Memory,
        tables: &Tables,
        tokens: &Tokens,
        count: u32,
    ) -> Result<Names, Error> {
        let wide = Names::read(memory, tables.names, tokens, count, true);
        if let Ok(names) = &wide {
            if !names.long || names.markers_follow(memory, tables.names) {
                return wide;
            }
        }
        let narrow = Names::read(memory, tables.names, tokens, count, false);
        match &narrow {
            Ok(names) if names.markers_follow(memory, tables.names) => narrow,
            _ if wide.is_ok() => wide,
            _ => narrow,
        }
    }

    fn read(
        memory: &dyn Memory,
        start: VirtAddr,
        tokens: &Tokens,
        count: u32,
        wide: bool,
    ) -> Result<Names, Error> {
        let mut reader = Reader::new(memory, start);
        let mut names = Names {
            text: Vec::new(),
            lens: Vec::new(),
            stext: None,
            first_marker: 0,
            packed: 0,
            long: false,
        };
        for index in 0..count {
            if index == 256 {
                names.first_marker = reader.done;
            }
            let first = reader.next()?;
            let mut len = usize::from(first);
            if first & 0x80 != 0 {
                names.long = true;
                if wide {
                    len = usize::from(first & 0x7f) | usize::from(reader.next()?) << 7;
                }
            }
            let begin = names.text.len();
            for _ in 0..len {
                let token = tokens.get(reader.next()?);
                names.text.extend_from_slice(token);
            }
            let made = names.text.len() - begin;
            if made == 0 || made > NAME || names.text.len() > NAMES {
                return Err(Error::Malformed {
                    what: "name of a symbol",
                    offset: start.0.wrapping_add(reader.done),
                });
            }
            if names.stext.is_none() && names.text[begin..].get(1..) == Some(b"_stext") {
                names.stext = Some(index);
            }
            names.lens.push(made as u16);
        }
        names.packed = reader.done;
        Ok(names)
    }

    /// Tells whether the table of markers begins where the names end: 0, then the place of the
    /// 256th name.
    fn markers_follow(&self, memory: &dyn Memory, start: VirtAddr) -> bool {
        let end = start.0.wrapping_add(self.packed);
        [4, 8].into_iter().any(|align| {
            let at = VirtAddr(end.wrapping_add(align - 1) & !(align - 1));
            let mut raw = [0; 8];
            memory.read(at, &mut raw).is_ok()
                && u32_at(&raw, 0) == 0
                && u64::from(u32_at(&raw, 4)) == self.first_marker
        })
    }
}

/// Reads bytes one after another.
struct Reader<'m> {
    memory: &'m dyn Memory,
    start: VirtAddr,
    piece: Vec<u8>,
    at: usize,
    done: u64,
}

impl<'m> Reader<'m> {
    fn new(memory: &'m dyn Memory, start: VirtAddr) -> Reader<'m> {
        Reader {
            memory,
            start,
            piece: Vec::new(),
            at: 0,
            done: 0,
        }
    }

    #[inline]
    fn next(&mut self) -> Result<u8, Error> {
        if let Some(&byte) = self.piece.get(self.at) {
            self.at += 1;
            self.done += 1;
            return Ok(byte);
        }
        self.fill()?;
        let byte = self.piece.first().copied().unwrap_or(0);
        self.at = 1;
        self.done += 1;
        Ok(byte)
    }

    /// Reads to the next boundary, so that the end of the last page is never passed.
    #[cold]
    fn fill(&mut self) -> Result<(), Error> {
        let at = VirtAddr(self.start.0.wrapping_add(self.done));
        for step in [PIECE as u64, 4096] {
            let len = step - at.0 % step;
            self.piece.resize(len as usize, 0);
            self.at = 0;
            match self.memory.read(at, &mut self.piece) {
                Ok(()) => return Ok(()),
                Err(gap) if step == 4096 => {
                    self.piece.clear();
                    return Err(gap.into());
                }
                Err(_) => {}
            }
        }
        Ok(())
    }
}

/// Reads the addresses in the encoding that gives `_stext` its address.
fn read_addresses(
    memory: &dyn Memory,
    tables: &Tables,
    count: u32,
    index: Option<u32>,
    stext: VirtAddr,
) -> Result<(AddressEncoding, Vec<u64>), Error> {
    let index = index.ok_or(Error::Missing("symbol _stext"))?;
    let places = &tables.addresses;
    let element =
        |start: VirtAddr, size: u64| VirtAddr(start.0.wrapping_add(size * u64::from(index)));
    if let Some(start) = places.absolute {
        if memory.read_u64(element(start, 8)) == Ok(stext.0) {
            let raw = table(memory, start, u64::from(count) * 8)?;
            let all = raw.chunks_exact(8).map(|c| u64_at(c, 0)).collect();
            return Ok((AddressEncoding::Absolute, all));
        }
    }
    let start = places
        .offsets
        .ok_or(Error::Missing("table of kallsyms_offsets"))?;
    let own = memory.read_u32(element(start, 4))? as i32;
    let base = match places.relative_base {
        Some(at) => Some(memory.read_u64(at)?),
        None => None,
    };
    let decode = |encoding, offset: i32, i: u64| match (encoding, base) {
        (AddressEncoding::BaseRelative, Some(base)) => base.wrapping_add(u64::from(offset as u32)),
        (AddressEncoding::AbsolutePerCpu, Some(base)) if offset < 0 => {
            base.wrapping_sub(1).wrapping_sub(offset as i64 as u64)
        }
        (AddressEncoding::PlaceRelative, _) => {
            let place = start.0.wrapping_add(i * 4);
            place.wrapping_add(offset as i64 as u64)
        }
        _ => offset as u32 as u64,
    };
    let known = [
        AddressEncoding::BaseRelative,
        AddressEncoding::AbsolutePerCpu,
        AddressEncoding::PlaceRelative,
    ];
    let encoding = known
        .into_iter()
        .find(|&e| decode(e, own, index.into()) == stext.0)
        .ok_or(Error::Malformed {
            what: "addresses of symbols",
            offset: start.0,
        })?;
    let raw = table(memory, start, u64::from(count) * 4)?;
    let offsets = raw.chunks_exact(4).map(|c| i32_at(c, 0));
    let all = offsets
        .zip(0..)
        .map(|(offset, i)| decode(encoding, offset, i));
    Ok((encoding, all.collect()))
}

fn table(memory: &dyn Memory, start: VirtAddr, len: u64) -> Result<Vec<u8>, Error> {
    let mut raw = vec![0; len as usize];
    memory.read(start, &mut raw)?;
    Ok(raw)
}
