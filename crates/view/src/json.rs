//! bpftrace's `-f json`: one object a line, its spaces and all.

use std::io::{self, Write};

use kscope_rows::time::{Dialect, WallTime, format_time};
use kscope_rows::{
    Bucket, Histogram, MapContent, MapKind, MapOutput, Output, Place, RuntimeFailure, Series,
    Severity, Value,
};

use crate::json_text::{write_integer, write_list, write_string};
use crate::printf::render;
use crate::text::key_text;
use crate::text_value::{statistics, value_text, write_display};

/// Prints outputs as JSON in bpftrace's schema.
#[derive(Clone, Copy, Debug, Default)]
pub struct JsonView;

const OBJECT: [&str; 3] = ["{", ", ", "}"];
const ARRAY: [&str; 3] = ["[", ",", "]"];

impl JsonView {
    /// Writes an output as one line, or as nothing where the schema has nothing for it.
    ///
    /// # Errors
    /// Fails when writing fails.
    pub fn write(&mut self, output: &Output, out: &mut dyn Write) -> io::Result<()> {
        let mut line = Vec::new();
        match output {
            Output::AttachedProbes(count) => {
                write_count(&mut line, "attached_probes", "probes", *count);
            }
            Output::Result { kind, name, value } => {
                write_display(
                    &mut line,
                    &format_args!("{{\"type\": \"{kind}\", \"data\": "),
                );
                write_object(&mut line, [(name.as_bytes(), value)]);
                line.push(b'}');
            }
            // It is said to people, beside the data.
            Output::Problem(_) => {}
            Output::Lost(count) => write_count(&mut line, "lost_events", "events", *count),
            Output::Printf { format, values } => {
                write_text(&mut line, "printf", &render(format, values));
            }
            Output::Message {
                severity,
                place,
                format,
                values,
            } => {
                let kind = match severity {
                    Severity::Warning => "warnf",
                    Severity::Error => "errorf",
                };
                write_display(
                    &mut line,
                    &format_args!("{{\"type\": \"{kind}\", \"msg\": "),
                );
                write_string(&mut line, &render(format, values));
                write_place(&mut line, place);
            }
            Output::Failure(failure) => write_failure(&mut line, failure),
            Output::Value(value) => {
                line.extend_from_slice(b"{\"type\": \"value\", \"data\": ");
                write_json(&mut line, value);
                line.push(b'}');
            }
            Output::Row { schema, row } => {
                line.extend_from_slice(b"{\"type\": \"value\", \"data\": ");
                let names = schema.columns.iter().map(|column| column.name.as_bytes());
                write_object(&mut line, names.zip(&row.values));
                line.push(b'}');
            }
            Output::Map(map) => write_map(&mut line, map, key_without_spaces),
            Output::Time(text) => write_text(&mut line, "time", text.as_bytes()),
            Output::Cat(bytes) => write_text(&mut line, "cat", bytes),
            Output::Join(bytes) => write_text(&mut line, "join", bytes),
            Output::System(bytes) => write_text(&mut line, "syscall", bytes),
            Output::End => {}
        }
        if !line.is_empty() {
            line.push(b'\n');
        }
        out.write_all(&line)
    }
}

fn write_count(line: &mut Vec<u8>, kind: &str, what: &str, count: u64) {
    write_display(
        line,
        &format_args!(
            "{{\"type\": \"{kind}\", \"count\": {count}, \"data\": {{\"{what}\": {count}}}}}"
        ),
    );
}

fn write_text(line: &mut Vec<u8>, kind: &str, text: &[u8]) {
    write_display(line, &format_args!("{{\"type\": \"{kind}\", \"data\": "));
    write_string(line, text);
    line.push(b'}');
}

fn write_place(line: &mut Vec<u8>, place: &Place) {
    line.extend_from_slice(b", \"filename\": ");
    write_string(line, place.file.as_bytes());
    let Place {
        line: row, column, ..
    } = place;
    write_display(
        line,
        &format_args!(", \"line\": {row}, \"col\": {column}}}"),
    );
}

fn write_failure(line: &mut Vec<u8>, failure: &RuntimeFailure) {
    let kind = if failure.helper.is_some() {
        "helper_error"
    } else {
        "runtime_error"
    };
    write_display(line, &format_args!("{{\"type\": \"{kind}\", \"msg\": "));
    let helper = failure.helper.as_ref();
    let message = helper.map_or(&failure.message, |helper| &helper.error);
    write_string(line, message.as_bytes());
    if let Some(helper) = &failure.helper {
        line.extend_from_slice(b", \"helper\": ");
        write_string(line, helper.name.as_bytes());
        write_display(line, &format_args!(", \"retcode\": {}", helper.code));
    }
    write_place(line, &failure.place);
}

/// Gives a key as bpftrace does, to which spaces in its texts are those between its parts.
fn key_without_spaces(key: &Value) -> Vec<u8> {
    let mut text = key_text(key);
    text.retain(|byte| *byte != b' ');
    text
}

/// Writes a map with its keys as `key_of` gives them.
pub(crate) fn write_map(line: &mut Vec<u8>, map: &MapOutput, key_of: fn(&Value) -> Vec<u8>) {
    let kind = match map.kind {
        MapKind::Plain => "map",
        MapKind::Stats => "stats",
        MapKind::Histogram => "hist",
        MapKind::Series => "tseries",
    };
    if let MapContent::Keyed(entries) = &map.content {
        if entries.is_empty() && map.kind != MapKind::Stats {
            return;
        }
    }
    write_display(line, &format_args!("{{\"type\": \"{kind}\", \"data\": {{"));
    write_string(line, map.name.as_bytes());
    line.extend_from_slice(b": ");
    match &map.content {
        MapContent::Scalar(value) => write_json(line, value),
        MapContent::Keyed(entries) => write_list(line, OBJECT, entries, |line, (key, value)| {
            write_string(line, &key_of(key));
            line.extend_from_slice(b": ");
            write_json(line, value);
        }),
    }
    line.extend_from_slice(b"}}");
}

fn write_object<'a>(line: &mut Vec<u8>, fields: impl IntoIterator<Item = (&'a [u8], &'a Value)>) {
    write_list(line, OBJECT, fields, |line, (name, value)| {
        write_string(line, name);
        line.extend_from_slice(b": ");
        write_json(line, value);
    });
}

/// Writes a value: enumerators and pointers as numbers, buffers as arrays of signed bytes.
fn write_json(line: &mut Vec<u8>, value: &Value) {
    match value {
        Value::None => line.extend_from_slice(b"null"),
        Value::Bool(value) => write_display(line, value),
        Value::Int(number) | Value::Enum { value: number, .. } => {
            write_integer(line, i128::from(*number));
        }
        Value::Uint(number) | Value::Pointer(number) => write_integer(line, i128::from(*number)),
        Value::Str(text) => write_string(line, text),
        Value::Text(text) => write_string(line, text.as_bytes()),
        Value::Stack(_) => write_string(line, &value_text(value)),
        Value::Buffer(bytes) => write_list(line, ARRAY, bytes, |line, byte| {
            write_display(line, &(*byte as i8));
        }),
        Value::Arguments(parts) => write_list(line, ARRAY, parts, |line, part| {
            write_string(line, part);
        }),
        Value::Tuple(values) | Value::Array(values) => write_list(line, ARRAY, values, write_json),
        Value::Record(fields) => {
            write_object(
                line,
                fields.iter().map(|(name, value)| (name.as_bytes(), value)),
            );
        }
        Value::Stats {
            count,
            total,
            average,
            signed,
        } => {
            let fields = statistics(*count, *average, *total, *signed);
            write_object(
                line,
                fields.iter().map(|(name, value)| (name.as_bytes(), value)),
            );
        }
        Value::Histogram(Histogram { buckets, .. }) => {
            write_list(line, ARRAY, buckets, write_bucket);
        }
        Value::Series(series) => write_series(line, series, write_json),
    }
}

/// Writes the intervals of a series that have a value, with their begin in UTC.
pub(crate) fn write_series(
    line: &mut Vec<u8>,
    series: &Series,
    write: impl Fn(&mut Vec<u8>, &Value),
) {
    let known = series.points.iter().filter(|p| p.value != Value::None);
    write_list(line, ARRAY, known, |line, point| {
        let time = WallTime::utc(point.start);
        let start = format_time("%Y-%m-%d %H:%M:%S.%k", &time, Dialect::Strftime);
        line.extend_from_slice(b"{\"interval_start\":");
        write_string(line, start.as_bytes());
        line.extend_from_slice(b",\"value\":");
        write(line, &point.value);
        line.push(b'}');
    });
}

/// Writes a bucket with bounds that are both inclusive.
fn write_bucket(line: &mut Vec<u8>, bucket: &Bucket) {
    line.push(b'{');
    for (name, bound) in [("min", bucket.min), ("max", bucket.max)] {
        if let Some(bound) = bound {
            write_display(line, &format_args!("\"{name}\": "));
            write_integer(line, i128::from(bound));
            line.extend_from_slice(b", ");
        }
    }
    write_display(line, &format_args!("\"count\": {}}}", bucket.count));
}

#[cfg(test)]
mod tests;
