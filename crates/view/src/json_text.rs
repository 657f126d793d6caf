//! Pieces of JSON.

use crate::text_value::write_display;

/// Writes a string with its quotes.
///
/// UTF-8 stays as it is; each byte that is not UTF-8 becomes U+FFFD.
pub(crate) fn write_string(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'"');
    for chunk in text.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '"' => out.extend_from_slice(b"\\\""),
                '\\' => out.extend_from_slice(b"\\\\"),
                '\n' => out.extend_from_slice(b"\\n"),
                '\r' => out.extend_from_slice(b"\\r"),
                '\t' => out.extend_from_slice(b"\\t"),
                '\0'..='\x1f' => {
                    write_display(out, &format_args!("\\u{:04x}", u32::from(character)));
                }
                _ => write_display(out, &character),
            }
        }
        for _ in chunk.invalid() {
            write_display(out, &char::REPLACEMENT_CHARACTER);
        }
    }
    out.push(b'"');
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
