//! Rows as JSON: one object a line.

use std::io::{self, Write};

use kscope_rows::{Bucket, Frame, Histogram, Output, Row, Schema, Stack, Value};

use crate::json::JsonView;
use crate::json::{write_map, write_series};
use crate::json_text::{write_list, write_string};
use crate::text_value::{statistics, value_text, write_display};

/// Name of the member that holds the schema's version.
pub(crate) const VERSION: &str = "schema_version";

/// Prints rows as JSON objects, each with the schema's version and a member for each column;
/// all else as [`JsonView`] does, but for keys of maps, whose texts stay whole.
///
/// Integers are numbers however large; pointers are strings in hexadecimal, buffers strings of
/// two digits a byte, arguments lists of strings; enumerators are their names, stacks arrays of frames.
#[derive(Clone, Copy, Debug, Default)]
pub struct RowJsonView {
    json: JsonView,
}

const OBJECT: [&str; 3] = ["{", ",", "}"];
const ARRAY: [&str; 3] = ["[", ",", "]"];

impl RowJsonView {
    /// Writes an output as one line, or as nothing.
    ///
    /// # Errors
    /// Fails when writing fails.
    pub fn write(&mut self, output: &Output, out: &mut dyn Write) -> io::Result<()> {
        match output {
            Output::Row { schema, row } => {
                let mut line = Vec::new();
                write_row(&mut line, schema, row);
                out.write_all(&line)
            }
            Output::Map(map) => {
                let mut line = Vec::new();
                write_map(&mut line, map, whole_key);
                if !line.is_empty() {
                    line.push(b'\n');
                }
                out.write_all(&line)
            }
            Output::AttachedProbes(_) => Ok(()),
            other => self.json.write(other, out),
        }
    }
}

/// Gives a key with all that is in its texts, so that none of two that differ is lost.
fn whole_key(key: &Value) -> Vec<u8> {
    match key {
        Value::Tuple(parts) => {
            let parts: Vec<Vec<u8>> = parts.iter().map(value_text).collect();
            parts.join(&b',')
        }
        key => value_text(key),
    }
}

fn write_row(line: &mut Vec<u8>, schema: &Schema, row: &Row) {
    write_display(line, &format_args!("{{\"{VERSION}\":{}", schema.version));
    for (column, value) in schema.columns.iter().zip(&row.values) {
        line.push(b',');
        write_member(line, &column.name, value);
    }
    line.extend_from_slice(b"}\n");
}

fn write_member(line: &mut Vec<u8>, name: &str, value: &Value) {
    write_string(line, name.as_bytes());
    line.push(b':');
    write_json(line, value);
}

fn write_json(line: &mut Vec<u8>, value: &Value) {
    match value {
        Value::None => line.extend_from_slice(b"null"),
        Value::Bool(value) => write_display(line, value),
        Value::Int(number)
        | Value::Enum {
            value: number,
            name: None,
        } => {
            write_display(line, number);
        }
        Value::Uint(number) => write_display(line, number),
        Value::Pointer(_) => write_string(line, &value_text(value)),
        Value::Enum {
            name: Some(name), ..
        } => write_string(line, name.as_bytes()),
        Value::Str(text) => write_string(line, text),
        Value::Text(text) => write_string(line, text.as_bytes()),
        Value::Buffer(bytes) => {
            line.push(b'"');
            for byte in bytes {
                write_display(line, &format_args!("{byte:02x}"));
            }
            line.push(b'"');
        }
        Value::Arguments(parts) => write_list(line, ARRAY, parts, |line, part| {
            write_string(line, part);
        }),
        Value::Tuple(values) | Value::Array(values) => write_list(line, ARRAY, values, write_json),
        Value::Record(fields) => {
            write_list(line, OBJECT, fields, |line, (name, value)| {
                write_member(line, name, value);
            });
        }
        Value::Stack(Stack { lost: Some(_), .. }) => line.extend_from_slice(b"null"),
        Value::Stack(stack) => write_list(line, ARRAY, &stack.frames, write_frame),
        Value::Stats {
            count,
            total,
            average,
            signed,
        } => {
            let fields = statistics(*count, *average, *total, *signed);
            write_list(line, OBJECT, &fields, |line, (name, value)| {
                write_member(line, name, value);
            });
        }
        Value::Histogram(Histogram { buckets, .. }) => {
            write_list(line, ARRAY, buckets, write_bucket);
        }
        Value::Series(series) => write_series(line, series, write_json),
    }
}

fn write_frame(line: &mut Vec<u8>, frame: &Frame) {
    write_display(
        line,
        &format_args!("{{\"address\":\"{:#x}\"", frame.address),
    );
    if let Some(symbol) = &frame.symbol {
        line.extend_from_slice(b",\"symbol\":");
        write_string(line, symbol.as_bytes());
        write_display(line, &format_args!(",\"offset\":{}", frame.offset));
    }
    if let Some(module) = &frame.module {
        line.extend_from_slice(b",\"module\":");
        write_string(line, module.as_bytes());
    }
    line.push(b'}');
}

fn write_bucket(line: &mut Vec<u8>, bucket: &Bucket) {
    line.push(b'{');
    for (name, bound) in [("min", bucket.min), ("max", bucket.max)] {
        if let Some(bound) = bound {
            write_display(line, &format_args!("\"{name}\":{bound},"));
        }
    }
    write_display(line, &format_args!("\"count\":{}}}", bucket.count));
}

#[cfg(test)]
mod tests;
