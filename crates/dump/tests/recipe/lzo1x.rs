//! LZO1X as its format is described: runs of literals, and matches that repeat one byte.

/// Packs bytes: runs of one byte become matches, all else literals.
pub(crate) fn compress(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut literals: Vec<u8> = Vec::new();
    let mut at = 0;
    let mut first = true;
    while at < bytes.len() {
        let run = bytes[at..].iter().take_while(|&&b| b == bytes[at]).count();
        // A match needs the byte before it, at least 4 literals, and here 40 bytes to be worth it.
        if run >= 48 {
            // So many are written as literals that a run of them can stand alone.
            let lead = 4usize.saturating_sub(literals.len()).max(1);
            literals.extend_from_slice(&bytes[at..at + lead]);
            write_literals(&mut out, &literals, &mut first);
            literals.clear();
            write_match(&mut out, run - lead);
            at += run;
        } else {
            literals.extend_from_slice(&bytes[at..at + run]);
            at += run;
        }
    }
    if !literals.is_empty() {
        // A run of fewer than four cannot be written.
        write_literals(&mut out, &literals, &mut first);
    }
    out.extend_from_slice(&[0x11, 0, 0]);
    out
}

/// Writes a run of at least 4 literals.
fn write_literals(out: &mut Vec<u8>, literals: &[u8], first: &mut bool) {
    let len = literals.len();
    if *first && len + 17 <= 255 {
        out.push(len as u8 + 17);
    } else if len < 19 {
        assert!(len >= 4, "{len} literals cannot be written");
        out.push(len as u8 - 3);
    } else {
        out.push(0);
        extend(out, len - 18);
    }
    out.extend_from_slice(literals);
    *first = false;
}

/// Writes a match at distance 1: kind M3, no literals behind it.
fn write_match(out: &mut Vec<u8>, len: usize) {
    assert!(len > 33);
    out.push(0x20);
    extend(out, len - 33);
    out.extend_from_slice(&[0, 0]);
}

/// Writes a length that did not fit: a zero byte for each 255, then the rest, which is not 0.
fn extend(out: &mut Vec<u8>, len: usize) {
    let mut left = len;
    while left > 255 {
        out.push(0);
        left -= 255;
    }
    out.push(left as u8);
}
