//! Flattened files: pieces of a file with where they belong, as they were sent through a pipe.

use std::io;
use std::sync::Arc;

use crate::Error;
use crate::bytes::{Bytes, read_some};
use crate::interval::IntervalMap;

/// What the file begins with.
pub(crate) const MAGIC: &[u8; 16] = b"makedumpfile\0\0\0\0";
/// Size of what stands before the first piece.
const HEADER: u64 = 4096;
/// Most pieces noted; the kernel's largest machines have fewer.
const PIECES: usize = 1 << 26;
/// Most bytes between pieces that count as zeros, besides as many as the file has.
const ZEROS: u64 = 64 << 20;

/// The file that a flattened one describes.
pub(crate) struct Flat {
    inner: Arc<dyn Bytes>,
    pieces: IntervalMap<()>,
    /// Up to where bytes between pieces are zeros.
    sparse_until: u64,
    /// Whether the end was marked; a file that was cut has none.
    complete: bool,
}

impl Flat {
    /// Reads where the pieces belong; of a file that was cut, as far as it goes.
    pub(crate) fn open(inner: Arc<dyn Bytes>) -> Result<Flat, Error> {
        let mut header = [0; 32];
        let n = read_some(&inner, 0, &mut header)?;
        let number = |at: usize| {
            let raw = header.get(at..at + 8).and_then(|r| r.first_chunk());
            raw.map_or(0, |r| i64::from_be_bytes(*r))
        };
        if n < 32 || !header.starts_with(MAGIC) {
            return Err(Error::NotADump);
        }
        if (number(16), number(24)) != (1, 1) {
            return Err(Error::Unsupported(format!(
                "flattened by type {} of version {}",
                number(16),
                number(24)
            )));
        }
        let mut pieces = IntervalMap::new();
        let mut at = HEADER;
        let mut complete = false;
        for _ in 0..PIECES {
            let mut head = [0; 16];
            if read_some(&inner, at, &mut head)? < head.len() {
                break;
            }
            let (offset, size) = head.split_at(8);
            let signed = |b: &[u8]| b.first_chunk().map_or(0, |r| i64::from_be_bytes(*r));
            let (offset, size) = (signed(offset), signed(size));
            if offset == -1 {
                complete = true;
                break;
            }
            let (Ok(offset), Ok(size)) = (u64::try_from(offset), u64::try_from(size)) else {
                return Err(Error::Malformed {
                    what: "piece of a flattened file",
                    offset: at,
                });
            };
            let data = at + 16;
            let there = size.min(inner.len().saturating_sub(data));
            pieces.insert(offset, there, data, ());
            // What is after a piece that reaches past the end cannot be found.
            let Some(next) = data.checked_add(size).filter(|_| there == size) else {
                break;
            };
            at = next;
        }
        let zeros = inner.len().saturating_add(ZEROS);
        Ok(Flat {
            inner,
            sparse_until: sparse_until(&pieces, zeros),
            pieces,
            complete,
        })
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.complete
    }
}

/// Gives up to where there are no more than so many bytes between pieces: a small file may say that
/// it is of any size.
fn sparse_until(pieces: &IntervalMap<()>, zeros: u64) -> u64 {
    let mut left = zeros;
    let mut end = 0;
    for (start, len, ..) in pieces.iter() {
        match left.checked_sub(start - end) {
            Some(rest) => left = rest,
            None => break,
        }
        end = start + len;
    }
    end
}

impl Bytes for Flat {
    /// Ends at the first byte that no piece has, which is where something was lost. Bytes that
    /// were never written between pieces that are there are the zeros of a sparse file, as long as
    /// they are not many.
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let mut done = 0usize;
        while let Some(rest) = buf.get_mut(done..).filter(|rest| !rest.is_empty()) {
            let Some(at) = offset.checked_add(done as u64) else {
                break;
            };
            match self.pieces.find(at) {
                Ok(hit) => {
                    let n = rest
                        .len()
                        .min(usize::try_from(hit.left).unwrap_or(usize::MAX));
                    let read = self.inner.read_at(hit.to, &mut rest[..n])?;
                    done += read;
                    if read < n {
                        break;
                    }
                }
                Err(hole) if at < self.sparse_until => {
                    let n = rest.len().min(usize::try_from(hole).unwrap_or(usize::MAX));
                    rest[..n].fill(0);
                    done += n;
                }
                Err(_) => break,
            }
        }
        Ok(done)
    }

    fn len(&self) -> u64 {
        self.pieces.end()
    }
}
