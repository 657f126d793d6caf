//! Executables and shared libraries: where functions and USDT probes lie in their files.

use std::path::{Path, PathBuf};

use kscope_btf::nearest;
use kscope_sys::{Errno, Kernel};

use crate::error::Error;
use crate::search::has;

/// An ELF file that processes execute, of either class and byte order.
///
/// Foreign bytes: every read is checked, and no table is walked past its file.
#[derive(Clone, Debug)]
pub struct Executable<'a> {
    bytes: &'a [u8],
    wide: bool,
    big: bool,
    /// The processor it is for (`EM_*`).
    pub machine: u16,
    segments: Vec<Segment>,
    sections: Vec<Section<'a>>,
}

/// A part of the file that is mapped when it is executed.
#[derive(Clone, Copy, Debug)]
struct Segment {
    address: u64,
    offset: u64,
    size: u64,
    executed: bool,
}

#[derive(Clone, Copy, Debug)]
struct Section<'a> {
    name: &'a [u8],
    kind: u32,
    address: u64,
    data: &'a [u8],
    link: u32,
}

/// A function of an executable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Function<'a> {
    /// Its name, without version.
    pub name: &'a [u8],
    /// Offset of its first instruction in the file.
    pub offset: u64,
    /// Its size in bytes; 0 where nobody said.
    pub size: u64,
}

/// A variable of an executable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DataObject<'a> {
    /// Its name, without version.
    pub name: &'a [u8],
    /// Its address as the file is linked.
    pub address: u64,
    /// Its size in bytes.
    pub size: u64,
}

/// A note: its kind, whose it is, its body, and what follows it.
type RawNote<'n> = (u64, &'n [u8], &'n [u8], &'n [u8]);

/// A place of a USDT probe with the probe's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsdtNote {
    /// The provider.
    pub provider: String,
    /// The probe's name.
    pub name: String,
    /// The place.
    pub place: UsdtPlace,
}

/// A place of a USDT probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsdtPlace {
    /// Offset of the instruction in the file.
    pub offset: u64,
    /// Offset in the file of the counter of those who listen; 0 for none.
    pub semaphore: u64,
    /// Where the arguments are, as the compiler wrote it, for example `-4@%edi 8@$1`.
    pub arguments: String,
}

/// Segments and sections are counted in 16 bits.
const MOST: usize = 1 << 16;
const SYMTAB: u32 = 2;
const DYNSYM: u32 = 11;
const NOTE: u32 = 7;
const NOBITS: u32 = 8;

impl<'a> Executable<'a> {
    /// Reads the headers.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for bytes that are no ELF file, or one that is cut off.
    pub fn parse(bytes: &'a [u8]) -> Result<Executable<'a>, Error> {
        let malformed = |what: &str| Error::invalid(format!("no ELF file: {what}"));
        let ident = bytes
            .first_chunk::<16>()
            .ok_or_else(|| malformed("too short"))?;
        if ident[..4] != *b"\x7fELF" || !(1..=2).contains(&ident[4]) || !(1..=2).contains(&ident[5])
        {
            return Err(malformed("it begins otherwise"));
        }
        let mut file = Executable {
            bytes,
            wide: ident[4] == 2,
            big: ident[5] == 2,
            machine: 0,
            segments: Vec::new(),
            sections: Vec::new(),
        };
        file.headers()
            .ok_or_else(|| malformed("its headers are cut off"))?;
        Ok(file)
    }

    fn number(&self, bytes: &[u8], at: usize, size: usize) -> Option<u64> {
        let field = bytes.get(at..at.checked_add(size)?)?;
        let mut value = 0u64;
        for index in 0..size {
            let byte = field.get(if self.big { index } else { size - 1 - index })?;
            value = value << 8 | u64::from(*byte);
        }
        Some(value)
    }

    /// Reads a field whose place and size depend on the class: narrow, then wide.
    fn field(&self, bytes: &[u8], narrow: (usize, usize), wide: (usize, usize)) -> Option<u64> {
        let (at, size) = if self.wide { wide } else { narrow };
        self.number(bytes, at, size)
    }

    fn slice(&self, offset: u64, size: u64) -> Option<&'a [u8]> {
        let offset = usize::try_from(offset).ok()?;
        self.bytes
            .get(offset..offset.checked_add(usize::try_from(size).ok()?)?)
    }

    fn headers(&mut self) -> Option<()> {
        self.machine = u16::try_from(self.number(self.bytes, 18, 2)?).ok()?;
        let head = |narrow, wide| self.field(self.bytes, narrow, wide);
        let (segments_at, sections_at) = (head((28, 4), (32, 8))?, head((32, 4), (40, 8))?);
        let (segment_size, segments) = (head((42, 2), (54, 2))?, head((44, 2), (56, 2))?);
        let (section_size, sections) = (head((46, 2), (58, 2))?, head((48, 2), (60, 2))?);
        let names = head((50, 2), (62, 2))?;
        let entry = |table: u64, size: u64, index: u64| {
            self.slice(table.checked_add(size.checked_mul(index)?)?, size)
        };
        let mut found = Vec::new();
        for index in 0..segments {
            let bytes = entry(segments_at, segment_size, index)?;
            const LOAD: u64 = 1;
            const EXECUTE: u64 = 1;
            if self.number(bytes, 0, 4)? == LOAD {
                found.push(Segment {
                    offset: self.field(bytes, (4, 4), (8, 8))?,
                    address: self.field(bytes, (8, 4), (16, 8))?,
                    size: self.field(bytes, (16, 4), (32, 8))?,
                    executed: self.field(bytes, (24, 4), (4, 4))? & EXECUTE != 0,
                });
            }
        }
        let mut parts = Vec::new();
        let mut name_at = Vec::new();
        for index in 0..sections.min(MOST as u64) {
            let bytes = entry(sections_at, section_size, index)?;
            let kind = u32::try_from(self.number(bytes, 4, 4)?).ok()?;
            let offset = self.field(bytes, (16, 4), (24, 8))?;
            let size = self.field(bytes, (20, 4), (32, 8))?;
            name_at.push(self.number(bytes, 0, 4)?);
            parts.push(Section {
                name: &[],
                kind,
                address: self.field(bytes, (12, 4), (16, 8))?,
                // A section that lies outside is empty: a stripped file may have kept its header.
                data: match kind {
                    NOBITS => &[],
                    _ => self.slice(offset, size).unwrap_or_default(),
                },
                link: u32::try_from(self.field(bytes, (24, 4), (40, 4))?).ok()?,
            });
        }
        let strings = usize::try_from(names)
            .ok()
            .and_then(|index| parts.get(index));
        let strings = strings.map_or(&[][..], |section| section.data);
        for (section, at) in parts.iter_mut().zip(name_at) {
            section.name = text(strings, at);
        }
        (self.segments, self.sections) = (found, parts);
        Some(())
    }

    /// Gives the offset in the file of what lies at an address when it is executed.
    pub fn offset_of(&self, address: u64) -> Option<u64> {
        let mut segments = self.segments_at(address);
        segments.find_map(|(segment, inside)| segment.offset.checked_add(inside))
    }

    /// Says whether what lies at an address is executed.
    pub fn is_code(&self, address: u64) -> bool {
        let mut segments = self.segments_at(address);
        segments.any(|(segment, _)| segment.executed)
    }

    /// Gives what an address is in, with how far inside it is.
    fn segments_at(&self, address: u64) -> impl Iterator<Item = (&Segment, u64)> {
        self.segments.iter().filter_map(move |segment| {
            let inside = address.checked_sub(segment.address)?;
            (inside < segment.size).then_some((segment, inside))
        })
    }

    /// Gives the address that an offset in the file is linked at.
    pub fn address_of(&self, offset: u64) -> Option<u64> {
        self.segments.iter().find_map(|segment| {
            let within = offset.checked_sub(segment.offset)?;
            (within < segment.size)
                .then(|| segment.address.checked_add(within))
                .flatten()
        })
    }

    /// Tells whether it is mapped where it is linked, as only programs are that are not
    /// position-independent.
    pub(crate) fn is_fixed(&self) -> bool {
        const PROGRAM: u64 = 2;
        self.number(self.bytes, 16, 2) == Some(PROGRAM)
    }

    /// Gives all functions that are defined here and have a name, in no order; one that is in both
    /// tables of symbols comes twice.
    pub fn functions(&self) -> impl Iterator<Item = Function<'a>> + '_ {
        self.symbols(Self::function_of)
    }

    /// Gives the functions of one name, whatever version stands behind it, as
    /// [`Executable::functions`] does, and looks no closer at all others.
    pub fn functions_named<'n>(&'n self, name: &'n str) -> impl Iterator<Item = Function<'a>> + 'n {
        self.symbols(move |file, entry, strings| {
            let at = usize::try_from(file.number(entry, 0, 4)?).ok()?;
            let rest = strings.get(at..)?.strip_prefix(name.as_bytes())?;
            let ends = matches!(rest.first(), None | Some(0 | b'@'));
            ends.then(|| file.function_of(entry, strings)).flatten()
        })
    }

    /// Reads a symbol that is a function.
    fn function_of(&self, entry: &[u8], strings: &'a [u8]) -> Option<Function<'a>> {
        const FUNCTION: u64 = 2;
        const INDIRECT: u64 = 10;
        let is_function = |kind| matches!(kind, FUNCTION | INDIRECT);
        let (name, address, size) = self.symbol(entry, strings, is_function)?;
        Some(Function {
            name,
            offset: self.offset_of(address)?,
            size,
        })
    }

    /// Reads the entries of both tables of symbols.
    fn symbols<T>(
        &self,
        read: impl Fn(&Self, &[u8], &'a [u8]) -> Option<T> + Copy,
    ) -> impl Iterator<Item = T> {
        let tables = self.sections.iter();
        let tables = tables.filter(|section| matches!(section.kind, SYMTAB | DYNSYM));
        tables.flat_map(move |table| {
            let strings = self.sections.get(table.link as usize);
            let strings = strings.map_or(&[][..], |section| section.data);
            let size = if self.wide { 24 } else { 16 };
            let entries = table.data.chunks_exact(size);
            entries.filter_map(move |entry| read(self, entry, strings))
        })
    }

    /// Reads name, address and size of a symbol that is defined here.
    fn symbol(
        &self,
        entry: &[u8],
        strings: &'a [u8],
        wanted: impl Fn(u64) -> bool,
    ) -> Option<(&'a [u8], u64, u64)> {
        let kind = self.field(entry, (12, 1), (4, 1))? & 15;
        let section = self.field(entry, (14, 2), (6, 2))?;
        if !wanted(kind) || section == 0 {
            return None;
        }
        let name = text(strings, self.number(entry, 0, 4)?);
        let address = self.field(entry, (4, 4), (8, 8))?;
        let size = self.field(entry, (8, 4), (16, 8))?;
        (!name.is_empty()).then_some((name, address, size))
    }

    /// Finds the offset of a function by its name.
    pub fn function(&self, name: &str) -> Option<u64> {
        self.functions()
            .find(|function| function.name == name.as_bytes())
            .map(|function| function.offset)
    }

    /// Gives up to three names of functions that are near to this one.
    pub(crate) fn near_functions(&self, name: &str) -> Vec<&'a str> {
        let names = self.functions().map(|function| function.name);
        let names = names.filter_map(|name| std::str::from_utf8(name).ok());
        nearest(name, names, 3)
    }

    /// Gives all variables that are defined here and have a name, in no order; one that is in both
    /// tables of symbols comes twice.
    pub fn objects(&self) -> impl Iterator<Item = DataObject<'a>> + '_ {
        self.symbols(|file, entry, strings| {
            const OBJECT: u64 = 1;
            let (name, address, size) = file.symbol(entry, strings, |kind| kind == OBJECT)?;
            Some(DataObject {
                name,
                address,
                size,
            })
        })
    }

    /// Gives the build id that the linker wrote into it.
    pub fn build_id(&self) -> Option<&'a [u8]> {
        const BUILD_ID: u64 = 3;
        let notes = self.sections.iter().filter(|section| section.kind == NOTE);
        for section in notes {
            let mut rest = section.data;
            while let Some((kind, owner, body, after)) = self.raw_note(rest) {
                if kind == BUILD_ID && owner == b"GNU\0" && !body.is_empty() {
                    return Some(body);
                }
                rest = after;
            }
        }
        None
    }

    /// Finds all places of a USDT probe.
    pub fn usdt(&self, provider: &str, name: &str) -> Vec<UsdtPlace> {
        let notes = self.usdt_notes().into_iter();
        let wanted = notes.filter(|note| note.provider == provider && note.name == name);
        wanted.map(|note| note.place).collect()
    }

    /// Gives all places of all USDT probes, in the order of the file.
    pub fn usdt_notes(&self) -> Vec<UsdtNote> {
        let section = |wanted: &[u8]| self.sections.iter().find(|section| section.name == wanted);
        let Some(notes) = section(b".note.stapsdt").filter(|notes| notes.kind == NOTE) else {
            return Vec::new();
        };
        let base = section(b".stapsdt.base").map(|base| base.address);
        let mut places = Vec::new();
        let mut rest = notes.data;
        while let Some((note, after)) = self.note(rest) {
            places.extend(note.and_then(|note| self.place(note, base)));
            rest = after;
        }
        places
    }

    /// Gives the names of all USDT probes, `provider:name`, one for each place.
    pub(crate) fn usdt_names(&self) -> Vec<String> {
        let notes = self.usdt_notes().into_iter();
        notes
            .map(|note| format!("{}:{}", note.provider, note.name))
            .collect()
    }

    /// Splits the first note off.
    fn raw_note<'n>(&self, bytes: &'n [u8]) -> Option<RawNote<'n>> {
        let size = |at| usize::try_from(self.number(bytes, at, 4)?).ok();
        let (name, body) = (size(0)?, size(4)?);
        let body_at = 12usize.checked_add(name)?.checked_next_multiple_of(4)?;
        let end = body_at.checked_add(body)?;
        let owner = bytes.get(12..12usize.checked_add(name)?)?;
        let content = bytes.get(body_at..end)?;
        let next = end.checked_next_multiple_of(4)?;
        let after = bytes.get(next..).unwrap_or_default();
        Some((self.number(bytes, 8, 4)?, owner, content, after))
    }

    /// Splits the first note off; gives its body if it is a USDT probe's.
    fn note<'n>(&self, bytes: &'n [u8]) -> Option<(Option<&'n [u8]>, &'n [u8])> {
        const PROBE: u64 = 3;
        let (kind, owner, body, after) = self.raw_note(bytes)?;
        let is = kind == PROBE && owner == b"stapsdt\0";
        Some((is.then_some(body), after))
    }

    fn place(&self, note: &[u8], base: Option<u64>) -> Option<UsdtNote> {
        let size = if self.wide { 8 } else { 4 };
        let word = |index| self.number(note, index * size, size);
        let mut texts = note.get(3 * size..)?.split(|&byte| byte == 0);
        let mut text = || Some(String::from_utf8_lossy(texts.next()?).into_owned());
        let (provider, name, arguments) = (text()?, text()?, text()?);
        // The addresses are as they were when the note was written; the file may have been moved
        // since (prelink), and the base with it.
        let moved = base.map_or(0, |base| base.wrapping_sub(word(1).unwrap_or(base)));
        let offset = self.offset_of(word(0)?.wrapping_add(moved))?;
        let semaphore = match word(2)? {
            0 => 0,
            address => self.offset_of(address.wrapping_add(moved))?,
        };
        Some(UsdtNote {
            provider,
            name,
            place: UsdtPlace {
                offset,
                semaphore,
                arguments,
            },
        })
    }
}

/// Gives the text at an offset into a table of texts that end with NUL.
fn text(table: &[u8], at: u64) -> &[u8] {
    let rest = usize::try_from(at).ok().and_then(|at| table.get(at..));
    let rest = rest.unwrap_or_default();
    let end = rest.iter().position(|&byte| byte == 0);
    rest.get(..end.unwrap_or(0)).unwrap_or_default()
}

/// Where programs and libraries are looked for that are named without a folder.
const PROGRAMS: [&str; 6] = [
    "/usr/local/bin",
    "/usr/local/sbin",
    "/usr/bin",
    "/usr/sbin",
    "/bin",
    "/sbin",
];
const LIBRARIES: [&str; 7] = [
    "/lib/x86_64-linux-gnu",
    "/usr/lib/x86_64-linux-gnu",
    "/lib/aarch64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/usr/lib64",
    "/lib64",
    "/usr/lib",
];

/// Finds a program or library: a path as it is, a name in the usual folders.
pub(crate) fn find(kernel: &dyn Kernel, name: &str) -> Result<PathBuf, Error> {
    let missing = || Error::not_found("program or library", name);
    if name.contains('/') {
        return Ok(PathBuf::from(name));
    }
    let folders: &[&str] = if has(name, ".so") {
        &LIBRARIES
    } else {
        &PROGRAMS
    };
    folders
        .iter()
        .map(|folder| Path::new(folder).join(name))
        .find(|path| kernel.identity(path).is_ok())
        .ok_or_else(missing)
}

/// Reads an executable.
pub(crate) fn read(kernel: &dyn Kernel, path: &Path) -> Result<Vec<u8>, Error> {
    kernel.read_file(path).map_err(|errno| match errno {
        Errno::NOENT | Errno::NOTDIR => Error::not_found("file", path.display().to_string()),
        errno => Error::os("read", errno, path.display().to_string()),
    })
}

#[cfg(test)]
mod tests;
