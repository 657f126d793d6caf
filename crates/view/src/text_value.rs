//! Values as text on one line, or as the indented lines of a stack.

use kscope_rows::{Frame, Stack, StackMode, Value};

use crate::text_arguments::write_arguments;
use crate::text_histogram::write_histogram;
use crate::text_series::write_series;

/// Gives a value as bpftrace's `print` shows it, without a newline at the end.
#[must_use]
pub fn value_text(value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    write_value(&mut out, value);
    out
}

/// Writes a value as `print` shows it.
pub(crate) fn write_value(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::None => out.extend_from_slice(b"null"),
        Value::Bool(value) => write_display(out, value),
        Value::Int(number) => write_display(out, number),
        Value::Uint(number) => write_display(out, number),
        Value::Enum {
            name: Some(name), ..
        } => out.extend_from_slice(name.as_bytes()),
        Value::Enum { value, name: None } => write_display(out, value),
        Value::Pointer(address) => write_display(out, &format_args!("{address:#x}")),
        Value::Str(text) => out.extend_from_slice(text),
        Value::Text(text) => out.extend_from_slice(text.as_bytes()),
        Value::Buffer(bytes) => write_buffer(out, bytes),
        Value::Arguments(parts) => write_arguments(out, parts),
        Value::Tuple(values) => write_list(out, values, ["(", ", ", ")"]),
        Value::Array(values) => write_list(out, values, ["[", ",", "]"]),
        Value::Record(fields) => {
            write_record(out, fields.iter().map(|(name, value)| (&**name, value)));
        }
        Value::Stack(stack) => write_stack(out, stack),
        Value::Stats {
            count,
            total,
            average,
            signed,
        } => {
            let fields = statistics(*count, *average, *total, *signed);
            write_record(out, fields.iter().map(|(name, value)| (*name, value)));
        }
        Value::Histogram(histogram) => write_histogram(out, histogram),
        Value::Series(series) => write_series(out, series),
    }
}

/// Gives the parts of `stats()` in the order they are shown in; average and total are bits of a
/// number that has a sign or has not.
pub(crate) fn statistics(
    count: u64,
    average: i64,
    total: i64,
    signed: bool,
) -> [(&'static str, Value); 3] {
    let integer = |bits: i64| {
        if signed {
            Value::Int(bits)
        } else {
            Value::Uint(bits as u64)
        }
    };
    [
        ("count", Value::Uint(count)),
        ("average", integer(average)),
        ("total", integer(total)),
    ]
}

/// Writes `{ .name = value, … }`.
pub(crate) fn write_record<'a>(
    out: &mut Vec<u8>,
    fields: impl Iterator<Item = (&'a str, &'a Value)>,
) {
    let start = out.len();
    for (name, value) in fields {
        let before: &[u8] = if out.len() == start { b"{ ." } else { b", ." };
        out.extend_from_slice(before);
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b" = ");
        write_value(out, value);
    }
    out.extend_from_slice(if out.len() == start { b"{}" } else { b" }" });
}

fn write_list(out: &mut Vec<u8>, values: &[Value], [open, between, close]: [&str; 3]) {
    out.extend_from_slice(open.as_bytes());
    for (index, value) in values.iter().enumerate() {
        if index > 0 {
            out.extend_from_slice(between.as_bytes());
        }
        write_value(out, value);
    }
    out.extend_from_slice(close.as_bytes());
}

/// Writes bytes with those that are not printable ASCII as `\x00`.
pub(crate) fn write_buffer(out: &mut Vec<u8>, bytes: &[u8]) {
    for byte in bytes {
        match byte {
            b' '..=b'~' => out.push(*byte),
            _ => write_display(out, &format_args!("\\x{byte:02x}")),
        }
    }
}

/// Writes a newline, then each frame on a line.
fn write_stack(out: &mut Vec<u8>, stack: &Stack) {
    out.push(b'\n');
    if let Some(errno) = stack.lost {
        write_display(out, &format_args!("        <stack lost, errno {errno}>\n"));
    }
    for frame in &stack.frames {
        match stack.mode {
            StackMode::Raw => write_display(out, &format_args!("{:x}", frame.address)),
            StackMode::BuildId => match &frame.symbol {
                Some(id) => write_display(out, &format_args!("{id} {:#x}", frame.offset)),
                None => write_display(out, &format_args!("{:x}", frame.address)),
            },
            StackMode::Bpftrace => {
                out.extend_from_slice(b"        ");
                write_symbol(out, frame);
            }
            StackMode::Perf => {
                write_display(out, &format_args!("\t{:x} ", frame.address));
                write_symbol(out, frame);
                if stack.user {
                    let known = frame.module.as_deref().filter(|_| frame.symbol.is_some());
                    let module = known.unwrap_or("[unknown]");
                    write_display(out, &format_args!(" ({module})"));
                }
            }
        }
        out.push(b'\n');
    }
}

fn write_symbol(out: &mut Vec<u8>, frame: &Frame) {
    match &frame.symbol {
        Some(symbol) => write_display(out, &format_args!("{symbol}+{}", frame.offset)),
        None => write_display(out, &format_args!("{:#x}", frame.address)),
    }
}

/// Writes anything that can be displayed.
pub(crate) fn write_display(out: &mut Vec<u8>, value: &dyn std::fmt::Display) {
    use std::io::Write;
    // Writing to a vector cannot fail.
    let _ = write!(out, "{value}");
}
