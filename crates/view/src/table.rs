//! Rows as a table under a header, made for output that keeps coming.

use std::io::{self, Write};
use std::sync::Arc;

use kscope_rows::time::{Dialect, WallTime, format_time};
use kscope_rows::{Column, DataType, Output, Row, Schema, Value};

use crate::text::TextView;
use crate::text_value::{value_text, write_value};

/// Prints rows as a table, and all else as [`TextView`] does.
///
/// The header is written with the first row. A column is at first as wide as its header, its
/// type and its first value ask for; a longer value widens it for the rows that follow. The
/// last column is not padded. Stacks stand below their row.
#[derive(Clone, Debug, Default)]
pub struct TableView {
    table: Option<Table>,
    text: TextView,
}

/// Widest that a column of text grows.
const TEXT_LIMIT: usize = 40;

#[derive(Clone, Debug)]
struct Table {
    schema: Arc<Schema>,
    widths: Vec<usize>,
}

impl TableView {
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
        match output {
            Output::Row { schema, row } => {
                let mut data = Vec::new();
                self.write_row(&mut data, schema, row);
                out.write_all(&data)
            }
            Output::AttachedProbes(_) | Output::End => Ok(()),
            other => self.text.write(other, out, err),
        }
    }

    /// Writes the header of rows that are to come, unless it is there already.
    ///
    /// # Errors
    /// Fails when writing fails.
    pub fn begin(&mut self, schema: &Arc<Schema>, out: &mut dyn Write) -> io::Result<()> {
        if self.table.is_some() {
            return Ok(());
        }
        let mut data = Vec::new();
        self.header(&mut data, schema, &[]);
        out.write_all(&data)
    }

    /// Begins a table, whose first row is known or not.
    fn header(&mut self, data: &mut Vec<u8>, schema: &Arc<Schema>, first: &[String]) {
        let mut table = Table::new(schema);
        table.widen(first);
        let headers: Vec<String> = schema.columns.iter().map(header).collect();
        table.write_line(data, &headers);
        self.table = Some(table);
    }

    /// Writes rows that are all there: every column is as wide as its widest cell asks for.
    #[must_use]
    pub fn whole(schema: &Arc<Schema>, rows: &[Row]) -> Vec<u8> {
        let lines = rows
            .iter()
            .map(|row| row.values.iter().map(cell).collect::<Vec<_>>());
        let lines: Vec<Vec<String>> = lines.collect();
        let headers: Vec<String> = schema.columns.iter().map(header).collect();
        let mut table = Table {
            schema: Arc::clone(schema),
            widths: headers.iter().map(|text| text.chars().count()).collect(),
        };
        for cells in &lines {
            table.widen(cells);
        }
        let mut data = Vec::new();
        table.write_line(&mut data, &headers);
        for cells in &lines {
            table.write_line(&mut data, cells);
        }
        data
    }

    fn write_row(&mut self, data: &mut Vec<u8>, schema: &Arc<Schema>, row: &Row) {
        let cells: Vec<String> = row.values.iter().map(cell).collect();
        let is_same = |table: &Table| same_columns(&table.schema, schema);
        if !self.table.as_ref().is_some_and(is_same) {
            self.header(data, schema, &cells);
        }
        let Some(table) = &mut self.table else { return };
        table.widen(&cells);
        table.write_line(data, &cells);
        for value in row
            .values
            .iter()
            .filter(|value| matches!(value, Value::Stack(_)))
        {
            let mut lines = Vec::new();
            write_value(&mut lines, value);
            data.extend_from_slice(lines.strip_prefix(b"\n").unwrap_or(&lines));
        }
    }
}

impl Table {
    fn new(schema: &Arc<Schema>) -> Table {
        let width = |column: &Column| header(column).chars().count().max(least_width(&column.ty));
        Table {
            schema: Arc::clone(schema),
            widths: schema.columns.iter().map(width).collect(),
        }
    }

    /// Makes room for a row's cells; text gets no more than [`TEXT_LIMIT`].
    fn widen(&mut self, cells: &[String]) {
        let columns = self.schema.columns.iter().zip(&mut self.widths);
        for ((column, width), cell) in columns.zip(cells) {
            let limit = if is_number(&column.ty) {
                usize::MAX
            } else {
                TEXT_LIMIT
            };
            *width = (*width).max(cell.chars().count().min(limit));
        }
    }

    fn write_line(&self, data: &mut Vec<u8>, cells: &[String]) {
        let columns = self.schema.columns.iter().zip(&self.widths).zip(cells);
        let shown: Vec<_> = columns
            .filter(|((column, _), _)| !is_stack(&column.ty))
            .collect();
        for (index, ((column, width), cell)) in shown.iter().enumerate() {
            if index > 0 {
                data.push(b' ');
            }
            let last = index + 1 == shown.len();
            let padded = if is_number(&column.ty) {
                format!("{cell:>width$}")
            } else if last {
                cell.to_string()
            } else {
                format!("{cell:<width$}")
            };
            data.extend_from_slice(padded.as_bytes());
        }
        data.push(b'\n');
    }
}

/// Says whether rows of both schemas stand under one header. Sites that print the same columns
/// differ in how long a text may be, or in whether a path is completed.
fn same_columns(one: &Arc<Schema>, other: &Arc<Schema>) -> bool {
    let same = |(a, b): (&Column, &Column)| {
        header(a) == header(b)
            && is_number(&a.ty) == is_number(&b.ty)
            && is_stack(&a.ty) == is_stack(&b.ty)
    };
    Arc::ptr_eq(one, other)
        || (one.columns.len() == other.columns.len()
            && one.columns.iter().zip(&other.columns).all(same))
}

/// Gives a column's header: its name in capitals, with the unit where the name lacks it.
fn header(column: &Column) -> String {
    let name = printable(column.name.to_uppercase().as_bytes());
    match &column.unit {
        Some(unit) if Schema::unit_of(&column.name) != Some(unit) => {
            format!("{name}({unit})")
        }
        _ => name,
    }
}

fn is_number(ty: &DataType) -> bool {
    matches!(ty, DataType::Int { .. })
}

fn is_stack(ty: &DataType) -> bool {
    matches!(
        ty,
        DataType::KernelStack { .. } | DataType::UserStack { .. }
    )
}

/// Gives the width that most values of a type fit in.
fn least_width(ty: &DataType) -> usize {
    match ty {
        DataType::Int { bytes: 0..=2, .. } => 3,
        DataType::Int { .. } => 6,
        DataType::Bool => 5,
        DataType::Enum { variants, .. } => variants
            .iter()
            .map(|(_, name)| name.len())
            .max()
            .unwrap_or(0)
            .min(24),
        DataType::Pointer => 18,
        DataType::Str { capacity } => (*capacity as usize).saturating_sub(1).min(16),
        DataType::KernelSymbol | DataType::UserSymbol => 24,
        DataType::UserName => 8,
        DataType::InternetAddress => 15,
        DataType::EthernetAddress => 17,
        DataType::Timestamp { format } => {
            let shown = format_time(format, &WallTime::utc(0), Dialect::Strftime);
            shown.chars().count().min(TEXT_LIMIT)
        }
        _ => 0,
    }
}

/// Gives a value as it stands in a cell.
fn cell(value: &Value) -> String {
    match value {
        Value::None => "-".to_owned(),
        Value::Stack(_) => String::new(),
        other => printable(&value_text(other)),
    }
}

/// Gives text on one line, without characters that move the cursor.
fn printable(text: &[u8]) -> String {
    let mut out = String::with_capacity(text.len());
    for chunk in text.utf8_chunks() {
        for character in chunk.valid().chars() {
            if character.is_control() {
                let mut bytes = [0; 4];
                escape(&mut out, character.encode_utf8(&mut bytes).as_bytes());
            } else {
                out.push(character);
            }
        }
        escape(&mut out, chunk.invalid());
    }
    out
}

fn escape(out: &mut String, bytes: &[u8]) {
    for byte in bytes {
        out.push_str(&format!("\\x{byte:02x}"));
    }
}

#[cfg(test)]
mod tests;
