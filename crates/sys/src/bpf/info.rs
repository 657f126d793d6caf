//! All that the kernel tells of a loaded program, its code and tables included.

use std::os::fd::BorrowedFd;

use super::ProgramInfo;
use super::attr::Attr;
use crate::errno::Errno;

/// A loaded program as the kernel shows it. What the caller may not see is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProgramImage {
    /// The fields of fixed size.
    pub info: ProgramInfo,
    /// Digest of the instructions as they were loaded.
    pub tag: [u8; 8],
    /// User who loaded it.
    pub uid: u32,
    /// Network interface it was loaded for; 0 for none.
    pub interface: u32,
    /// Whether its licence is compatible with the GPL.
    pub gpl: bool,
    /// Id of the BTF of what it attaches to (5.18); 0 for none.
    pub attach_btf: u32,
    /// The type in it.
    pub attach_type: u32,
    /// Verified instructions, 8 bytes each in host byte order.
    pub translated: Vec<u8>,
    /// Machine code of all functions, one after another.
    pub jited: Vec<u8>,
    /// Ids of the maps it uses.
    pub maps: Vec<u32>,
    /// Addresses of the functions' machine code.
    pub symbols: Vec<u64>,
    /// Lengths in bytes of the functions' machine code.
    pub lengths: Vec<u32>,
    /// Functions: the verified instruction where each begins, and its BTF type.
    pub functions: Vec<(u32, u32)>,
    /// Source lines of verified instructions.
    pub lines: Vec<LineRecord>,
    /// Addresses of the machine code of each of `lines`.
    pub jited_lines: Vec<u64>,
}

/// A source line as the kernel keeps it; strings are offsets into the program's BTF.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LineRecord {
    /// Verified instruction.
    pub insn: u32,
    /// File's name.
    pub file: u32,
    /// Text of the line.
    pub text: u32,
    /// Line from 1, times 1024, and column.
    pub place: u32,
}

/// Largest total of what is asked for; programs of a million instructions fit.
const LARGEST: usize = 256 << 20;

/// A table of the kernel's answer: where its length and its address lie, and the size of a record.
struct Table {
    count: usize,
    address: usize,
    size: usize,
    /// Where the size of a record lies, if that is told.
    size_at: Option<usize>,
}

/// The tables, in the order that [`ProgramImage::take`] wants them.
const TABLES: [Table; 8] = [
    table(20, 32, 1, None),
    table(16, 24, 1, None),
    table(52, 56, 4, None),
    table(104, 112, 8, None),
    table(108, 120, 4, None),
    table(144, 136, 8, Some(132)),
    table(148, 152, 16, Some(172)),
    table(168, 160, 8, Some(176)),
];

const fn table(count: usize, address: usize, size: usize, size_at: Option<usize>) -> Table {
    Table {
        count,
        address,
        size,
        size_at,
    }
}

/// Words of `struct bpf_prog_info` that are asked for.
pub(crate) const WORDS: usize = 29;

/// The question in the making: the structure and room for its tables.
pub(crate) struct Question {
    words: Box<[u64; WORDS]>,
    room: [Vec<u64>; TABLES.len()],
}

impl Question {
    /// Asks for the fixed fields alone.
    pub(crate) fn first() -> Question {
        Question {
            words: Box::new([0; WORDS]),
            room: Default::default(),
        }
    }

    /// Asks for the tables too, which are as long as the first answer said.
    pub(crate) fn second(&self) -> Result<Question, Errno> {
        let mut next = Question::first();
        let mut total = 0usize;
        for (table, room) in TABLES.iter().zip(&mut next.room) {
            let count = get(&self.words, table.count);
            let bytes = (count as usize)
                .checked_mul(table.size)
                .ok_or(Errno::TOO_BIG)?;
            total = total.checked_add(bytes).ok_or(Errno::TOO_BIG)?;
            if total > LARGEST {
                return Err(Errno::TOO_BIG);
            }
            let told = table.size_at.map(|at| get(&self.words, at) as usize);
            // A kernel whose records are of another size is not asked for them.
            if bytes == 0 || told.is_some_and(|told| told != table.size) {
                continue;
            }
            *room = vec![0; bytes.div_ceil(8)];
            set(&mut next.words, table.count, count);
            if let Some(at) = table.size_at {
                set(&mut next.words, at, table.size as u32);
            }
        }
        for (table, room) in TABLES.iter().zip(&mut next.room) {
            if !room.is_empty() {
                next.words[table.address / 8] = room.as_mut_ptr() as u64;
            }
        }
        Ok(next)
    }

    /// The attribute, which points to what this holds.
    pub(crate) fn attr(&mut self, program: BorrowedFd<'_>) -> Box<Attr> {
        Attr::new(15, 16)
            .fd(0, program)
            .u32(4, (WORDS * 8) as u32)
            .u64(8, self.words.as_mut_ptr() as u64)
    }

    /// Reads what the kernel wrote.
    pub(crate) fn image(&self) -> ProgramImage {
        let word = |at| get(&self.words, at);
        let mut bytes = [0; WORDS * 8];
        for (chunk, word) in bytes.chunks_exact_mut(8).zip(self.words.iter()) {
            chunk.copy_from_slice(&word.to_ne_bytes());
        }
        let mut fixed = [0; ProgramInfo::SIZE];
        fixed.copy_from_slice(&bytes[..ProgramInfo::SIZE]);
        let mut tables = TABLES.iter().zip(&self.room).map(|(table, room)| {
            let bytes: Vec<u8> = room.iter().flat_map(|word| word.to_ne_bytes()).collect();
            let count = word(table.count) as usize;
            // The kernel clears the address of what it does not show.
            let shown = self.words[table.address / 8] != 0;
            let length = if shown { count * table.size } else { 0 };
            let mut bytes = bytes;
            bytes.truncate(length);
            bytes
        });
        let mut next = || tables.next().unwrap_or_default();
        let mut tag = [0; 8];
        tag.copy_from_slice(&bytes[8..16]);
        ProgramImage {
            info: ProgramInfo::decode(&fixed),
            tag,
            uid: word(48),
            interface: word(80),
            gpl: word(84) & 1 == 1,
            attach_btf: word(220),
            attach_type: word(224),
            translated: next(),
            jited: next(),
            maps: words(&next()),
            symbols: longs(&next()),
            lengths: words(&next()),
            functions: words(&next())
                .chunks_exact(2)
                .map(|pair| (pair[0], pair[1]))
                .collect(),
            lines: words(&next())
                .chunks_exact(4)
                .map(|four| LineRecord {
                    insn: four[0],
                    file: four[1],
                    text: four[2],
                    place: four[3],
                })
                .collect(),
            jited_lines: longs(&next()),
        }
    }
}

fn get(words: &[u64; WORDS], at: usize) -> u32 {
    let lanes = words[at / 8].to_ne_bytes();
    let mut out = [0; 4];
    out.copy_from_slice(&lanes[at % 8..at % 8 + 4]);
    u32::from_ne_bytes(out)
}

fn set(words: &mut [u64; WORDS], at: usize, value: u32) {
    let mut lanes = words[at / 8].to_ne_bytes();
    lanes[at % 8..at % 8 + 4].copy_from_slice(&value.to_ne_bytes());
    words[at / 8] = u64::from_ne_bytes(lanes);
}

fn words(bytes: &[u8]) -> Vec<u32> {
    let chunks = bytes.chunks_exact(4);
    let number = |chunk: &[u8]| Some(u32::from_ne_bytes(chunk.try_into().ok()?));
    chunks.filter_map(number).collect()
}

fn longs(bytes: &[u8]) -> Vec<u64> {
    let chunks = bytes.chunks_exact(8);
    let number = |chunk: &[u8]| Some(u64::from_ne_bytes(chunk.try_into().ok()?));
    chunks.filter_map(number).collect()
}
