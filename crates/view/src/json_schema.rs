//! What rows look like, as a JSON Schema document.

use kscope_rows::{Column, DataType, Field, Schema};

use crate::json_text::{write_list, write_string};
use crate::row_json::VERSION;
use crate::text_value::write_display;

const OBJECT: [&str; 3] = ["{", ",", "}"];
const ARRAY: [&str; 3] = ["[", ",", "]"];

/// Describes the objects of [`RowJsonView`](crate::RowJsonView) by JSON Schema 2020-12, with a
/// newline at the end. A column's unit is its `unit`.
#[must_use]
pub fn json_schema(schema: &Schema) -> String {
    let mut out = Vec::new();
    out.extend_from_slice(b"{\n  \"$schema\": \"https://json-schema.org/draft/2020-12/schema\",\n");
    out.extend_from_slice(b"  \"title\": ");
    write_string(&mut out, schema.name.as_bytes());
    write_display(
        &mut out,
        &format_args!(
            ",\n  \"type\": \"object\",\n  \"properties\": {{\n    \"{VERSION}\": {{\"const\":{}}}",
            schema.version
        ),
    );
    for column in &schema.columns {
        out.extend_from_slice(b",\n    ");
        write_string(&mut out, column.name.as_bytes());
        out.extend_from_slice(b": ");
        write_column(&mut out, column);
    }
    out.extend_from_slice(b"\n  },\n  \"required\": ");
    let names = schema.columns.iter().map(|column| column.name.as_str());
    let names = std::iter::once(VERSION).chain(names);
    write_list(&mut out, ["[", ", ", "]"], names, |out, name| {
        write_string(out, name.as_bytes());
    });
    out.extend_from_slice(b"\n}\n");
    String::from_utf8_lossy(&out).into_owned()
}

fn write_column(out: &mut Vec<u8>, column: &Column) {
    write_type(out, &column.ty);
    let notes = [
        ("description", Some(&column.doc)),
        ("unit", column.unit.as_ref()),
    ];
    for (name, note) in notes {
        if let Some(note) = note.filter(|note| !note.is_empty()) {
            // Inside of the object that the type has just closed.
            out.pop();
            write_display(out, &format_args!(",\"{name}\":"));
            write_string(out, note.as_bytes());
            out.push(b'}');
        }
    }
}

/// Writes the schema of a type, an object with at least one member.
fn write_type(out: &mut Vec<u8>, ty: &DataType) {
    match ty {
        DataType::None => out.extend_from_slice(b"{\"type\":\"null\"}"),
        DataType::Int { bytes, signed } => {
            let bits = (u32::from(*bytes) * 8).clamp(1, 64);
            let (min, max) = if *signed {
                (-(1i128 << (bits - 1)), (1i128 << (bits - 1)) - 1)
            } else {
                (0, (1i128 << bits) - 1)
            };
            write_display(
                out,
                &format_args!("{{\"type\":\"integer\",\"minimum\":{min},\"maximum\":{max}}}"),
            );
        }
        DataType::Bool => out.extend_from_slice(b"{\"type\":\"boolean\"}"),
        DataType::Enum { variants, .. } => {
            out.extend_from_slice(b"{\"anyOf\":[{\"enum\":");
            write_list(out, ARRAY, variants.iter(), |out, (_, name)| {
                write_string(out, name.as_bytes());
            });
            out.extend_from_slice(b"},{\"type\":\"integer\"}]}");
        }
        DataType::Pointer => {
            out.extend_from_slice(b"{\"type\":\"string\",\"pattern\":\"^0x[0-9a-f]+$\"}");
        }
        DataType::Buffer { .. } => {
            out.extend_from_slice(b"{\"type\":\"string\",\"pattern\":\"^([0-9a-f]{2})*$\"}");
        }
        DataType::Arguments { .. } => {
            out.extend_from_slice(b"{\"type\":\"array\",\"items\":{\"type\":\"string\"}}");
        }
        DataType::Str { .. }
        | DataType::KernelSymbol
        | DataType::UserSymbol
        | DataType::Timestamp { .. }
        | DataType::FullPath { .. }
        | DataType::Named { .. }
        | DataType::InternetAddress
        | DataType::EthernetAddress
        | DataType::CgroupPath { .. }
        | DataType::UserName => out.extend_from_slice(b"{\"type\":\"string\"}"),
        DataType::Tuple(fields) => {
            out.extend_from_slice(b"{\"type\":\"array\",\"prefixItems\":");
            write_list(out, ARRAY, fields.iter(), |out, field| {
                write_type(out, &field.ty);
            });
            out.push(b'}');
        }
        DataType::Record { fields, .. } => write_record(out, fields),
        DataType::Array { element, .. } => {
            out.extend_from_slice(b"{\"type\":\"array\",\"items\":");
            write_type(out, element);
            out.push(b'}');
        }
        DataType::KernelStack { .. } | DataType::UserStack { .. } => out.extend_from_slice(
            b"{\"type\":[\"array\",\"null\"],\"items\":{\"type\":\"object\",\"properties\":{\
              \"address\":{\"type\":\"string\"},\"symbol\":{\"type\":\"string\"},\
              \"offset\":{\"type\":\"integer\"},\"module\":{\"type\":\"string\"}},\
              \"required\":[\"address\"]}}",
        ),
    }
}

fn write_record(out: &mut Vec<u8>, fields: &[Field]) {
    out.extend_from_slice(b"{\"type\":\"object\",\"properties\":");
    write_list(out, OBJECT, fields, |out, field| {
        write_string(out, field.name.as_bytes());
        out.push(b':');
        write_type(out, &field.ty);
    });
    out.push(b'}');
}
