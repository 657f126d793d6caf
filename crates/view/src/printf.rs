//! `printf`: a format and its values to bytes.

use kscope_rows::{
    Conversion, ConversionKind, Flags, Format, Length, Piece, Value, allocation_flags,
};

use crate::text_value::{write_buffer, write_display, write_value};

/// Renders a format with its values; a conversion without a value prints nothing.
///
/// A value that a conversion cannot print stands as `!{…}` in its place, as in bpftrace.
#[must_use]
pub fn render(format: &Format, values: &[Value]) -> Vec<u8> {
    let mut out = Vec::new();
    render_into(&mut out, format, values);
    out
}

/// Renders as [`render`] does, at the end of `out`.
pub fn render_into(out: &mut Vec<u8>, format: &Format, values: &[Value]) {
    let mut values = values.iter();
    for piece in &format.pieces {
        match piece {
            Piece::Text(text) => out.extend_from_slice(text.as_bytes()),
            Piece::Conversion(conversion) => {
                if let Some(value) = values.next() {
                    if !convert_bare(out, conversion, value) {
                        convert(out, conversion, value);
                    }
                }
            }
        }
    }
}

/// Writes what needs no padding, the most frequent case; false for all else.
fn convert_bare(out: &mut Vec<u8>, conversion: &Conversion, value: &Value) -> bool {
    if conversion.width != 0
        || conversion.precision.is_some()
        || conversion.flags != Flags::default()
    {
        return false;
    }
    let length = conversion.length;
    match (conversion.kind, number(value)) {
        (ConversionKind::Text, _) => write_value(out, value),
        (ConversionKind::Signed, Some(bits)) => write_display(out, &cut_signed(bits, length)),
        (ConversionKind::Unsigned, Some(bits)) => write_display(out, &cut_unsigned(bits, length)),
        (ConversionKind::Hex, Some(bits)) => {
            write_display(out, &format_args!("{:x}", cut_unsigned(bits, length)));
        }
        _ => return false,
    }
    true
}

fn convert(out: &mut Vec<u8>, conversion: &Conversion, value: &Value) {
    match (conversion.kind, value) {
        (ConversionKind::Buffer, Value::Buffer(bytes)) => {
            let mut text = Vec::new();
            write_buffer(&mut text, bytes);
            pad(out, conversion, &text, text.len());
        }
        (ConversionKind::EscapedBuffer, Value::Buffer(bytes)) => {
            let mut text = Vec::new();
            for byte in bytes {
                write_display(&mut text, &format_args!("\\x{byte:02x}"));
            }
            pad(out, conversion, &text, text.len());
        }
        (ConversionKind::HexBuffer, Value::Buffer(bytes)) => {
            let digits: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            let text = digits.join(" ");
            pad(out, conversion, text.as_bytes(), text.len());
        }
        (
            ConversionKind::Text
            | ConversionKind::Buffer
            | ConversionKind::EscapedBuffer
            | ConversionKind::HexBuffer,
            _,
        ) => convert_text(out, conversion, value),
        (ConversionKind::AllocationFlags, _) if number(value).is_some() => {
            let text = allocation_flags(number(value).unwrap_or_default());
            pad(out, conversion, text.as_bytes(), text.len());
        }
        _ => match number(value) {
            Some(number) => convert_number(out, conversion, number),
            None => {
                out.extend_from_slice(b"!{invalid integer conversion: ");
                write_value(out, value);
                out.push(b'}');
            }
        },
    }
}

/// Gives the 64 bits of a value that can be printed as a number.
fn number(value: &Value) -> Option<u64> {
    match value {
        Value::Bool(value) => Some(u64::from(*value)),
        Value::Int(number) | Value::Enum { value: number, .. } => Some(*number as u64),
        Value::Uint(number) | Value::Pointer(number) => Some(*number),
        _ => None,
    }
}

fn convert_text(out: &mut Vec<u8>, conversion: &Conversion, value: &Value) {
    let mut text = Vec::new();
    write_value(&mut text, value);
    if conversion.flags.plus && matches!(value, Value::Int(0..)) {
        text.insert(0, b'+');
    }
    if let Some(most) = conversion.precision {
        text.truncate(most as usize);
    }
    // bpftrace pads the first thing it writes: the bracket of what has one.
    let padded = match value {
        Value::Tuple(_) | Value::Array(_) => 1,
        Value::Record(fields) if !fields.is_empty() => 2,
        Value::Stats { .. } => 2,
        _ => text.len(),
    };
    pad(out, conversion, &text, padded.min(text.len()));
}

/// Writes text of which the first `counted` bytes are padded to the width.
fn pad(out: &mut Vec<u8>, conversion: &Conversion, text: &[u8], counted: usize) {
    let missing = (conversion.width as usize).saturating_sub(counted);
    let (first, rest) = text.split_at(counted);
    if conversion.flags.left {
        out.extend_from_slice(first);
        out.extend(std::iter::repeat_n(b' ', missing));
    } else {
        let fill = if conversion.flags.zero { b'0' } else { b' ' };
        out.extend(std::iter::repeat_n(fill, missing));
        out.extend_from_slice(first);
    }
    out.extend_from_slice(rest);
}

fn convert_number(out: &mut Vec<u8>, conversion: &Conversion, bits: u64) {
    let flags = conversion.flags;
    let mut prefix = "";
    let mut least = conversion
        .precision
        .map_or(1, |precision| precision as usize);
    let digits = match conversion.kind {
        ConversionKind::Char => {
            return pad(out, conversion, &[bits.to_le_bytes()[0]], 1);
        }
        ConversionKind::Signed => {
            let number = cut_signed(bits, conversion.length);
            prefix = match number {
                ..0 => "-",
                _ if flags.plus => "+",
                _ if flags.space => " ",
                _ => "",
            };
            number.unsigned_abs().to_string()
        }
        ConversionKind::Pointer => {
            prefix = if bits == 0 { "" } else { "0x" };
            format!("{bits:x}")
        }
        kind => {
            let number = cut_unsigned(bits, conversion.length);
            let alternate = flags.alternate && number != 0;
            match kind {
                ConversionKind::Octal => {
                    let digits = format!("{number:o}");
                    if flags.alternate {
                        // The first digit is to be a zero.
                        least = least.max(digits.len() + usize::from(number != 0));
                    }
                    digits
                }
                ConversionKind::Hex => {
                    prefix = if alternate { "0x" } else { "" };
                    format!("{number:x}")
                }
                ConversionKind::UpperHex => {
                    prefix = if alternate { "0X" } else { "" };
                    format!("{number:X}")
                }
                _ => number.to_string(),
            }
        }
    };
    let digits = if least == 0 && digits == "0" {
        ""
    } else {
        &digits
    };
    let mut zeros = least.saturating_sub(digits.len());
    if flags.zero && !flags.left && conversion.precision.is_none() {
        let taken = prefix.len() + digits.len();
        zeros = zeros.max((conversion.width as usize).saturating_sub(taken));
    }
    let mut text = prefix.as_bytes().to_vec();
    text.extend(std::iter::repeat_n(b'0', zeros));
    text.extend_from_slice(digits.as_bytes());
    // What zeros do not fill, spaces do.
    let mut spaces = *conversion;
    spaces.flags.zero = false;
    pad(out, &spaces, &text, text.len());
}

fn cut_signed(bits: u64, length: Length) -> i64 {
    match length {
        Length::Char => i64::from(bits as i8),
        Length::Short => i64::from(bits as i16),
        Length::Int => i64::from(bits as i32),
        Length::Long => bits as i64,
    }
}

fn cut_unsigned(bits: u64, length: Length) -> u64 {
    match length {
        Length::Char => bits & 0xff,
        Length::Short => bits & 0xffff,
        Length::Int => bits & 0xffff_ffff,
        Length::Long => bits,
    }
}

#[cfg(test)]
mod tests;
