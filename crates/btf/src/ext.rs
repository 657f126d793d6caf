//! `.BTF.ext`: which function and source line an instruction belongs to, and what is relocated.
//!
//! Strings (names of sections and files, texts of lines, access paths) are offsets into the
//! strings of the object's BTF: [`crate::Btf::string`] gives them.

use crate::blob::TypeId;
use crate::bytes::Endian;
use crate::error::Error;

/// What an object's `.BTF.ext` section says of its instructions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ext {
    /// Where functions begin.
    pub funcs: Vec<Section<FuncRecord>>,
    /// Where source lines begin.
    pub lines: Vec<Section<LineRecord>>,
    /// What depends on the layout of the target's types.
    pub core: Vec<Section<CoreRecord>>,
}

/// The records of one section of instructions. A section may have more than one of these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section<T> {
    /// Offset of the section's name among the strings.
    pub name: u32,
    /// The records in the object's order.
    pub records: Vec<T>,
}

/// Where a function begins: `struct bpf_func_info`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FuncRecord {
    /// Offset of its first instruction in bytes into the section.
    pub offset: u32,
    /// The function, of kind [`crate::Kind::Func`].
    pub type_id: TypeId,
}

/// Where a source line begins: `struct bpf_line_info`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineRecord {
    /// Offset of the instruction in bytes into the section.
    pub offset: u32,
    /// Offset of the file's name among the strings.
    pub file: u32,
    /// Offset of the line's text among the strings.
    pub text: u32,
    /// Number of the line, from 1; 22 bits.
    pub line: u32,
    /// Number of the column, from 1; 10 bits.
    pub column: u32,
}

/// What is relocated at an instruction: `struct bpf_core_relo`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CoreRecord {
    /// Offset of the instruction in bytes into the section.
    pub offset: u32,
    /// The type that the access begins at.
    pub type_id: TypeId,
    /// Offset of the access path (`0:1:2`) among the strings.
    pub access: u32,
    /// What is asked, a number of the kernel's `enum bpf_core_relo_kind`; not checked.
    pub kind: u32,
}

const MAGIC: u16 = 0xeb9f;
/// Size of the header without, and with, the place of the relocations.
const HEADER: usize = 24;
const HEADER_WITH_CORE: usize = 32;

impl Ext {
    /// Reads a `.BTF.ext` section of either byte order.
    ///
    /// Records longer than those known are cut; a header without relocations is an older
    /// compiler's.
    ///
    /// # Errors
    /// Where the header is not BTF's, a part lies outside of the section, or records are shorter
    /// than those known.
    pub fn parse(bytes: &[u8]) -> Result<Ext, Error> {
        let first: [u8; 4] = *bytes.first_chunk().ok_or(Error::NotBtf)?;
        let endian = match [first[0], first[1]] {
            two if u16::from_le_bytes(two) == MAGIC => Endian::Little,
            two if u16::from_be_bytes(two) == MAGIC => Endian::Big,
            _ => return Err(Error::NotBtf),
        };
        if first[2] != 1 {
            return Err(Error::Version(first[2]));
        }
        let reader = Reader { bytes, endian };
        let header = reader.word("length of the .BTF.ext header", 4)? as usize;
        if header < HEADER || header > bytes.len() {
            return Err(malformed("length of the .BTF.ext header", 4));
        }
        Ok(Ext {
            funcs: reader.sections("function information", header, 8)?,
            lines: reader.sections("line information", header, 16)?,
            core: match header {
                HEADER_WITH_CORE.. => reader.sections("relocations", header, 24)?,
                _ => Vec::new(),
            },
        })
    }

    /// Writes the section in the given byte order.
    #[must_use]
    pub fn to_bytes(&self, endian: Endian) -> Vec<u8> {
        let parts = [
            part(endian, &self.funcs),
            part(endian, &self.lines),
            part(endian, &self.core),
        ];
        let mut bytes = endian.put_u16(MAGIC).to_vec();
        // Version 1, no flags.
        bytes.extend_from_slice(&[1, 0]);
        let mut word = |value: usize| bytes.extend_from_slice(&endian.put_u32(value as u32));
        word(HEADER_WITH_CORE);
        let mut at = 0;
        for part in &parts {
            word(at);
            word(part.len());
            at += part.len();
        }
        for part in &parts {
            bytes.extend_from_slice(part);
        }
        bytes
    }
}

fn malformed(what: &'static str, offset: usize) -> Error {
    Error::Malformed { what, offset }
}

/// A record of a fixed number of 32-bit words.
trait Record: Sized {
    /// Size in bytes of those that this library knows.
    const SIZE: usize;

    /// Makes the record of its words; there are four at least, absent ones are 0.
    fn from_words(words: [u32; 4]) -> Self;

    /// Gives the words; those past [`Record::SIZE`] are 0.
    fn words(&self) -> [u32; 4];
}

impl Record for FuncRecord {
    const SIZE: usize = 8;

    fn from_words([offset, type_id, ..]: [u32; 4]) -> FuncRecord {
        FuncRecord {
            offset,
            type_id: TypeId(type_id),
        }
    }

    fn words(&self) -> [u32; 4] {
        [self.offset, self.type_id.0, 0, 0]
    }
}

impl Record for LineRecord {
    const SIZE: usize = 16;

    fn from_words([offset, file, text, place]: [u32; 4]) -> LineRecord {
        LineRecord {
            offset,
            file,
            text,
            line: place >> 10,
            column: place & 0x3ff,
        }
    }

    fn words(&self) -> [u32; 4] {
        let place = (self.line.min((1 << 22) - 1) << 10) | self.column.min(0x3ff);
        [self.offset, self.file, self.text, place]
    }
}

impl Record for CoreRecord {
    const SIZE: usize = 16;

    fn from_words([offset, type_id, access, kind]: [u32; 4]) -> CoreRecord {
        CoreRecord {
            offset,
            type_id: TypeId(type_id),
            access,
            kind,
        }
    }

    fn words(&self) -> [u32; 4] {
        [self.offset, self.type_id.0, self.access, self.kind]
    }
}

#[derive(Clone, Copy)]
struct Reader<'a> {
    bytes: &'a [u8],
    endian: Endian,
}

impl Reader<'_> {
    fn word(&self, what: &'static str, offset: usize) -> Result<u32, Error> {
        let word = self.endian.u32(self.bytes, offset);
        word.ok_or_else(|| malformed(what, offset))
    }

    /// Reads the part whose offset and length the header has at byte `field`.
    fn sections<T: Record>(
        &self,
        what: &'static str,
        header: usize,
        field: usize,
    ) -> Result<Vec<Section<T>>, Error> {
        let (size, parts) = self.parts(what, header, field, T::SIZE)?;
        let mut sections = Vec::with_capacity(parts.len());
        for (name, bytes) in parts {
            let mut records = Vec::with_capacity(bytes.len() / size);
            for record in bytes.chunks_exact(size) {
                let mut words = [0; 4];
                for (index, word) in words.iter_mut().enumerate().take(T::SIZE / 4) {
                    *word = self.endian.u32(record, index * 4).unwrap_or(0);
                }
                records.push(T::from_words(words));
            }
            sections.push(Section { name, records });
        }
        Ok(sections)
    }

    /// Gives the size of a record, which is not 0, and each section's name and records.
    fn parts(
        &self,
        what: &'static str,
        header: usize,
        field: usize,
        least: usize,
    ) -> Result<(usize, Vec<Part<'_>>), Error> {
        let start = header.checked_add(self.word(what, field)? as usize);
        let len = self.word(what, field + 4)? as usize;
        if len == 0 {
            return Ok((least, Vec::new()));
        }
        let end = start.and_then(|start| start.checked_add(len));
        let (Some(start), Some(end)) = (start, end) else {
            return Err(malformed(what, field));
        };
        let Some(bytes) = self.bytes.get(..end) else {
            return Err(malformed(what, field));
        };
        let part = Reader { bytes, ..*self };
        let size = part.word(what, start)? as usize;
        if size < least || size % 4 != 0 {
            return Err(malformed(what, start));
        }
        let mut sections = Vec::new();
        let mut at = start + 4;
        // Each turn takes at least one record's bytes.
        while at < end {
            let name = part.word(what, at)?;
            let count = part.word(what, at + 4)? as usize;
            let from = at + 8;
            let to = count
                .checked_mul(size)
                .and_then(|len| len.checked_add(from));
            let records = match to {
                Some(to) if count != 0 => bytes.get(from..to),
                _ => None,
            };
            let Some(records) = records else {
                return Err(malformed(what, at + 4));
            };
            sections.push((name, records));
            at = from + records.len();
        }
        Ok((size, sections))
    }
}

/// The name of a section, and its records.
type Part<'a> = (u32, &'a [u8]);

/// Writes a part: the size of a record, then each section.
fn part<T: Record>(endian: Endian, sections: &[Section<T>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for section in sections
        .iter()
        .filter(|section| !section.records.is_empty())
    {
        if bytes.is_empty() {
            endian.put_words(&mut bytes, &[T::SIZE as u32]);
        }
        endian.put_words(&mut bytes, &[section.name, section.records.len() as u32]);
        for record in &section.records {
            let words = record.words();
            endian.put_words(&mut bytes, words.get(..T::SIZE / 4).unwrap_or(&words));
        }
    }
    bytes
}

#[cfg(test)]
mod tests;
