//! Reading of a program or library what its symbols and notes are in, and not its code.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use kscope_symbol::{LARGEST_FILE, open_regular, read_regular};

/// Sections (`sh_type`) of code and constants: whatever the program is to have, and nothing.
const PROGRAM: u64 = 1;
const NOTHING: u64 = 8;
/// Those of relocations, hash tables, versions and what else the dynamic linker reads.
const OF_LINKERS: [u64; 8] = [4, 5, 6, 9, 19, 0x6fff_fff6, 0x6fff_fffe, 0x6fff_ffff];
/// Such sections of fewer bytes are read: one is a mark for the places of USDT probes.
const SMALL: u64 = 4096;
/// Bytes at the begin that are read first: the header, which says where the others are.
const BEGIN: usize = 4096;
/// Bytes of an entry of the table of sections of 64 bits.
const ENTRY: u64 = 64;

/// Reads a file of which only what symbols and notes need is of interest; the rest is zeros, for which
/// there is no memory. Files that are laid out otherwise than most are read whole.
pub(super) fn read(path: &str) -> io::Result<Vec<u8>> {
    let file = open_regular(path)?;
    let size = file.metadata()?.len();
    let parts = (size <= LARGEST_FILE).then(|| read_parts(&file, size));
    match parts.flatten() {
        Some(bytes) => Ok(bytes),
        None => read_regular(path),
    }
}

fn read_parts(file: &File, size: u64) -> Option<Vec<u8>> {
    // No more than there is: a file says of itself how large it is, and zeros take no memory.
    let mut bytes = vec![0u8; usize::try_from(size).ok()?];
    let begin = bytes.len().min(BEGIN);
    file.read_exact_at(&mut bytes[..begin], 0).ok()?;
    let is_usual = bytes.starts_with(b"\x7fELF\x02\x01");
    let number = |bytes: &[u8], at: usize, len: usize| {
        let field = bytes.get(at..at.checked_add(len)?)?;
        let fold = |all: u64, byte: &u8| all << 8 | u64::from(*byte);
        Some(field.iter().rev().fold(0, fold))
    };
    let table = number(&bytes, 40, 8).filter(|_| is_usual)?;
    let (entry, count) = (number(&bytes, 58, 2)?, number(&bytes, 60, 2)?);
    let segments = number(&bytes, 32, 8)?;
    let segments_len = number(&bytes, 54, 2)? * number(&bytes, 56, 2)?;
    let mut fill = |at: u64, len: u64| {
        let start = usize::try_from(at).ok()?;
        let end = start.checked_add(usize::try_from(len).ok()?)?;
        let part = bytes.get_mut(start..end)?;
        file.read_exact_at(part, at).ok()
    };
    if entry != ENTRY {
        return None;
    }
    // They stand behind the header of the file, but where somebody has made room for more of them.
    fill(segments, segments_len)?;
    fill(table, count * ENTRY)?;
    let at = usize::try_from(table).ok()?;
    let sections = bytes.get(at..)?.chunks_exact(ENTRY as usize);
    let wanted = sections.take(count as usize).filter_map(|section| {
        let kind = number(section, 4, 4)?;
        let (at, len) = (number(section, 24, 8)?, number(section, 32, 8)?);
        let is_skipped =
            kind == NOTHING || (kind == PROGRAM && len >= SMALL) || OF_LINKERS.contains(&kind);
        // What lies outside is no matter: a stripped file may have kept its header.
        let is_inside = at.checked_add(len).is_some_and(|end| end <= size);
        (!is_skipped && is_inside).then_some((at, len))
    });
    let wanted: Vec<(u64, u64)> = wanted.collect();
    // Sections that say they lie in one another would be read again and again.
    let all = wanted
        .iter()
        .fold(0u64, |sum, (_, len)| sum.saturating_add(*len));
    if all > size {
        return None;
    }
    for (at, len) in together(wanted) {
        let start = usize::try_from(at).ok()?;
        let part = bytes.get_mut(start..start.checked_add(usize::try_from(len).ok()?)?)?;
        file.read_exact_at(part, at).ok()?;
    }
    Some(bytes)
}

/// Takes parts with little between them as one: to read that is less than to be asked again.
fn together(mut parts: Vec<(u64, u64)>) -> Vec<(u64, u64)> {
    parts.sort_unstable();
    let mut all: Vec<(u64, u64)> = Vec::with_capacity(parts.len());
    for (at, len) in parts {
        // Parts lie in the file, so that their ends are no more than its size.
        match all.last_mut() {
            Some((start, known)) if at <= *start + *known + SMALL => {
                *known = (*known).max(at + len - *start);
            }
            _ => all.push((at, len)),
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use kscope_bpf::Executable;

    use super::*;

    /// Checks that nothing is missing of what is known of a file.
    fn check(path: &str) {
        let (whole, parts) = (read_regular(path), read(path));
        let (Ok(whole), Ok(parts)) = (whole, parts) else {
            assert!(read(path).is_err(), "{path}");
            return;
        };
        assert_eq!(whole.len(), parts.len(), "{path}");
        let (whole, parts) = (Executable::parse(&whole), Executable::parse(&parts));
        let (Ok(whole), Ok(parts)) = (whole, parts) else {
            assert_eq!(read_regular(path).ok(), read(path).ok());
            return;
        };
        assert!(whole.functions().eq(parts.functions()), "{path}");
        assert!(whole.objects().eq(parts.objects()), "{path}");
        assert_eq!(whole.usdt_notes(), parts.usdt_notes(), "{path}");
        assert_eq!(whole.build_id(), parts.build_id(), "{path}");
    }

    #[test]
    fn what_is_left_out_is_no_symbol() {
        let this = std::env::current_exe().expect("this program");
        check(&this.display().to_string());
        check("/bin/sh");
        check("/proc/self/exe");
        check(
            file!()
                .rsplit("crates/runtime/")
                .next()
                .unwrap_or("Cargo.toml"),
        );
        check("/dev/null");
    }

    #[test]
    fn parts_that_are_near_are_read_together() {
        let check = |parts: &[(u64, u64)], expected: &[(u64, u64)]| {
            assert_eq!(together(parts.to_vec()), expected, "{parts:?}");
        };
        check(&[], &[]);
        check(&[(0, 10), (10, 10)], &[(0, 20)]);
        check(&[(100, 10), (0, 10)], &[(0, 110)]);
        check(&[(0, 10), (10 + SMALL, 5)], &[(0, SMALL + 15)]);
        check(&[(0, 10), (11 + SMALL, 5)], &[(0, 10), (11 + SMALL, 5)]);
        check(&[(0, 100), (20, 10), (50, 90)], &[(0, 140)]);
    }

    #[test]
    fn headers_may_be_elsewhere_and_sections_in_one_another() {
        let this = std::env::current_exe().expect("this program");
        let whole = std::fs::read(this).expect("this program");
        let field = |at: usize, len: usize| {
            let fold = |all: usize, byte: &u8| all << 8 | usize::from(*byte);
            whole[at..at + len].iter().rev().fold(0, fold)
        };
        let size = (whole.len() as u64).to_le_bytes();
        let (segments, sections) = (field(32, 8), field(40, 8));
        let len = field(54, 2) * field(56, 2);
        let mut moved = whole.clone();
        moved.extend_from_slice(&whole[segments..segments + len]);
        moved[32..40].copy_from_slice(&size);
        moved[segments..segments + len].fill(0xff);
        let mut nested = whole.clone();
        for section in 1..3 {
            let at = sections + section * ENTRY as usize;
            nested[at + 4..at + 8].copy_from_slice(&7u32.to_le_bytes());
            nested[at + 24..at + 32].fill(0);
            nested[at + 32..at + 40].copy_from_slice(&size);
        }
        let name = format!("kscope-parts-{}", std::process::id());
        let file = std::env::temp_dir().join(name);
        for bytes in [moved, nested] {
            std::fs::write(&file, bytes).expect("written");
            check(&file.display().to_string());
        }
        std::fs::remove_file(&file).expect("ours");
    }
}
