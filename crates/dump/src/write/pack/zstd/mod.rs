//! Zstandard frames (RFC 8878) of one page, for speed: each page is one block of a frame of its
//! own. What was there before is found with one small table of places; literals are in Huffman
//! codes, sequences in tables of states.
//!
//! Libraries are made for streams; on 4096 bytes much of their time goes into setting up. What is
//! here does no more than a page needs, and is a small part of a library's size.

mod bits;
mod fse;
mod huffman;
mod matches;
mod sequences;

/// Packs pages, with memory of its own for it.
#[derive(Default)]
pub(super) struct Encoder {
    finder: matches::Finder,
    codes: huffman::Codes,
    sequences: sequences::Tables,
}

const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// One segment, whose size follows in two bytes, less 256.
const DESCRIPTOR: u8 = 0x60;
const SMALLEST: usize = 256;
/// Kinds of blocks, with the bit of the last one.
const REPEATED: u32 = 1 << 1 | 1;
const COMPRESSED: u32 = 2 << 1 | 1;

impl Encoder {
    /// Appends a frame with this page; false where it does not become smaller.
    pub(super) fn pack(&mut self, page: &[u8], out: &mut Vec<u8>) -> bool {
        let start = out.len();
        let size = page.len().checked_sub(SMALLEST).map(u16::try_from);
        let (Some(Ok(size)), Some(&first)) = (size, page.first()) else {
            return false;
        };
        out.extend_from_slice(&MAGIC);
        out.push(DESCRIPTOR);
        out.extend_from_slice(&size.to_le_bytes());
        let block = out.len();
        let header = |kind: u32, size: usize, out: &mut Vec<u8>| {
            let head = kind | (size as u32) << 3;
            out[block..block + 3].copy_from_slice(&head.to_le_bytes()[..3]);
        };
        out.extend_from_slice(&[0; 3]);
        self.finder.find(page);
        let found = &self.finder;
        let is_repeated = match (found.literals.as_slice(), found.sequences.as_slice()) {
            (&[_], &[one]) => one.offset == 1 && usize::from(one.length) == page.len() - 1,
            _ => false,
        };
        if is_repeated {
            out.push(first);
            header(REPEATED, page.len(), out);
            return true;
        }
        self.codes.write(&found.literals, out);
        // Noise shows in the literals alone.
        if out.len() - start >= page.len() {
            return false;
        }
        self.sequences.write(&found.sequences, out);
        let size = out.len() - block - 3;
        header(COMPRESSED, size, out);
        size + 3 + MAGIC.len() + 3 < page.len()
    }
}
