//! Ranges of memory of which some pages may be missing.

use std::ops::Range;

use kscope_memory::{Memory, VirtAddr};

use crate::Error;

/// Reads page by page, and gives the ranges that are missing, which stay zeros. Where all is, the
/// gap.
pub(crate) fn read_pages(
    memory: &dyn Memory,
    start: VirtAddr,
    buf: &mut [u8],
) -> Result<Vec<Range<usize>>, Error> {
    const PAGE: u64 = 4096;
    let mut lost = Vec::new();
    let mut gap = None;
    let mut any = false;
    let mut done = 0;
    while done < buf.len() {
        let at = VirtAddr(start.0.wrapping_add(done as u64));
        let n = ((PAGE - at.0 % PAGE) as usize).min(buf.len() - done);
        let piece = &mut buf[done..done + n];
        match memory.read(at, piece) {
            Ok(()) => any = true,
            Err(why) => {
                piece.fill(0);
                lost.push(done..done + n);
                gap = gap.or(Some(why));
            }
        }
        done += n;
    }
    match gap {
        Some(gap) if !any => Err(gap.into()),
        _ => Ok(lost),
    }
}
