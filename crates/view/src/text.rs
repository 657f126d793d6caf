//! Text as bpftrace 0.27 prints it.

use std::io::{self, Write};

use kscope_rows::{
    HelperFailure, MapContent, MapOutput, Output, Place, RuntimeFailure, Severity, Value,
};

use crate::printf::{render, render_into};
use crate::text_value::{write_display, write_record, write_value};

/// Prints outputs as bpftrace does.
#[derive(Clone, Debug, Default)]
pub struct TextView {
    /// What is being written, kept for its capacity.
    data: Vec<u8>,
}

impl TextView {
    /// Writes an output: data to `out`, what is said about the run to `err`.
    ///
    /// # Errors
    /// Fails when writing fails.
    pub fn write(
        &mut self,
        output: &Output,
        out: &mut dyn Write,
        err: &mut dyn Write,
    ) -> io::Result<()> {
        self.data.clear();
        let data = &mut self.data;
        match output {
            Output::Printf { format, values } => render_into(data, format, values),
            Output::Value(value) => {
                write_value(data, value);
                data.push(b'\n');
            }
            Output::Row { schema, row } => {
                let names = schema.columns.iter().map(|column| column.name.as_str());
                write_record(data, names.zip(&row.values));
                data.push(b'\n');
            }
            Output::Map(map) => write_map(data, map),
            Output::Time(text) => data.extend_from_slice(text.as_bytes()),
            Output::Cat(bytes) => data.extend_from_slice(bytes),
            Output::Join(bytes) | Output::System(bytes) => {
                data.extend_from_slice(bytes);
                data.push(b'\n');
            }
            Output::End => data.extend_from_slice(b"\n\n"),
            Output::AttachedProbes(count) => {
                let plural = if *count == 1 { "" } else { "s" };
                return writeln!(err, "Attached {count} probe{plural}");
            }
            // In words it is told by whoever runs the tests.
            Output::Result { .. } => {}
            Output::Problem(text) => return writeln!(err, "ERROR: {text}"),
            Output::Lost(count) => return writeln!(err, "Lost {count} events"),
            Output::Message {
                severity,
                place,
                format,
                values,
            } => {
                let severity = match severity {
                    Severity::Warning => "WARNING",
                    Severity::Error => "ERROR",
                };
                write_message(data, place, severity, &render(format, values));
                return err.write_all(data);
            }
            Output::Failure(failure) => {
                write_failure(data, failure);
                return err.write_all(data);
            }
        }
        out.write_all(data)
    }
}

fn write_message(data: &mut Vec<u8>, place: &Place, severity: &str, message: &[u8]) {
    write_display(data, &format_args!("{}: {severity}: ", place.text));
    data.extend_from_slice(message.strip_suffix(b"\n").unwrap_or(message));
    data.push(b'\n');
}

fn write_failure(data: &mut Vec<u8>, failure: &RuntimeFailure) {
    let mut message = failure.message.clone();
    if let Some(HelperFailure { name, code, .. }) = &failure.helper {
        message += &format!("\nAdditional Info - helper: {name}, retcode: {code}");
    }
    write_message(data, &failure.place, "WARNING", message.as_bytes());
    for line in &failure.place.context {
        write_display(data, &format_args!("{line}\n"));
    }
}

fn write_map(data: &mut Vec<u8>, map: &MapOutput) {
    match &map.content {
        MapContent::Scalar(value) => {
            let lines = matches!(value, Value::Histogram(_) | Value::Series(_));
            let between = if lines { ":\n" } else { ": " };
            write_display(data, &format_args!("{}{between}", map.name));
            write_value(data, value);
            data.push(b'\n');
        }
        MapContent::Keyed(entries) => {
            for (key, value) in entries {
                let lines = matches!(value, Value::Histogram(_) | Value::Series(_));
                write_display(data, &format_args!("{}[", map.name));
                data.extend_from_slice(&key_text(key));
                data.extend_from_slice(if lines { b"]:\n" } else { b"]: " });
                write_value(data, value);
                data.push(b'\n');
            }
        }
    }
}

/// Gives a key as it stands between brackets: without the parentheses of a tuple.
pub(crate) fn key_text(key: &Value) -> Vec<u8> {
    let mut text = Vec::new();
    write_value(&mut text, key);
    if text.len() >= 2 && text.starts_with(b"(") && text.ends_with(b")") {
        text.pop();
        text.remove(0);
    }
    text
}

#[cfg(test)]
mod tests;
