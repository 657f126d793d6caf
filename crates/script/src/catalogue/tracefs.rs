//! The `format` files of tracefs.

use super::{Format, FormatField};

/// Fields read at most; the kernel's largest record has some dozens.
const FIELDS: usize = 1024;

/// Reads the text of a tracepoint's `format` file. Lines that are no field are passed over.
#[must_use]
pub fn parse_format(text: &str) -> Format {
    let fields = text.lines().filter_map(field).take(FIELDS).collect();
    Format { fields }
}

/// Reads `\tfield:const char * filename;\toffset:24;\tsize:8;\tsigned:0;`.
fn field(line: &str) -> Option<FormatField> {
    let mut parts = line.trim().split(';').map(str::trim);
    let declaration = parts.next()?.strip_prefix("field:")?;
    let mut offset = None;
    let mut size = None;
    let mut signed = false;
    for part in parts {
        match part.split_once(':') {
            Some(("offset", n)) => offset = n.parse().ok(),
            Some(("size", n)) => size = n.parse().ok(),
            Some(("signed", n)) => signed = n == "1",
            _ => {}
        }
    }
    let (ty, name) = declarator(declaration)?;
    Some(FormatField {
        ty,
        name,
        offset: offset?,
        size: size?,
        signed,
    })
}

/// Splits `char comm[16]` into `char[16]` and `comm`.
fn declarator(text: &str) -> Option<(String, String)> {
    let (text, dims) = match text.find('[') {
        // `__data_loc char[] name` has its brackets before the name.
        Some(at) if text.ends_with(']') => (&text[..at], &text[at..]),
        _ => (text, ""),
    };
    let text = text.trim_end();
    let start = text
        .rfind(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
        .map_or(0, |i| i + 1);
    let (ty, name) = (text[..start].trim_end(), &text[start..]);
    if ty.is_empty() || name.is_empty() {
        return None;
    }
    Some((format!("{ty}{dims}"), name.to_owned()))
}
