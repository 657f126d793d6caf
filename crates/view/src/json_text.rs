//! Pieces of JSON.

use crate::text_value::write_display;

/// Writes a string with its quotes.
///
/// UTF-8 stays as it is; each byte that is not UTF-8 becomes U+FFFD.
pub(crate) fn write_string(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'"');
    for chunk in text.utf8_chunks() {
        let mut rest = chunk.valid().as_bytes();
        // Most strings have nothing to escape and are copied whole.
        while let Some(at) = rest.iter().position(|&byte| is_escaped(byte)) {
            out.extend_from_slice(&rest[..at]);
            write_escaped(out, rest[at]);
            rest = &rest[at + 1..];
        }
        out.extend_from_slice(rest);
        for _ in chunk.invalid() {
            write_display(out, &char::REPLACEMENT_CHARACTER);
        }
    }
    out.push(b'"');
}

/// Tells of a byte whether JSON wants it escaped; bytes of longer UTF-8 sequences are not.
fn is_escaped(byte: u8) -> bool {
    matches!(byte, b'"' | b'\\' | 0..=0x1f)
}

fn write_escaped(out: &mut Vec<u8>, byte: u8) {
    match byte {
        b'\n' => out.extend_from_slice(b"\\n"),
        b'\r' => out.extend_from_slice(b"\\r"),
        b'\t' => out.extend_from_slice(b"\\t"),
        0..=0x1f => write_display(out, &format_args!("\\u{byte:04x}")),
        _ => out.extend_from_slice(&[b'\\', byte]),
    }
}

/// Writes an integer as bpftrace does: as a string when a double cannot hold it exactly.
pub(crate) fn write_integer(out: &mut Vec<u8>, number: i128) {
    #[allow(
        clippy::cast_precision_loss,
        reason = "whether it is lost is the question"
    )]
    let exact = (number as f64) as i128 == number;
    if exact {
        write_display(out, &number);
    } else {
        write_display(out, &format_args!("\"{number}\""));
    }
}

/// Writes `open`, the items separated by `between`, and `close`.
pub(crate) fn write_list<T>(
    out: &mut Vec<u8>,
    [open, between, close]: [&str; 3],
    items: impl IntoIterator<Item = T>,
    mut write: impl FnMut(&mut Vec<u8>, T),
) {
    out.extend_from_slice(open.as_bytes());
    for (index, item) in items.into_iter().enumerate() {
        if index > 0 {
            out.extend_from_slice(between.as_bytes());
        }
        write(out, item);
    }
    out.extend_from_slice(close.as_bytes());
}
