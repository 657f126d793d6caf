//! What is listed: rows of named columns as a table, as lines of one thing, or as JSON.

use std::sync::Arc;

use clap::Args;
use kscope_rows::{Column, DataType, Output, Row, Schema, Value};
use kscope_view::{RowJsonView, TableView, value_text};

use crate::console::say;
use crate::error::Failure;

/// How a list is printed.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct ListArgs {
    /// Print an object a line
    #[arg(long)]
    pub(crate) json: bool,
}

/// How one thing is printed.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct ShowArgs {
    /// Print an object
    #[arg(long)]
    pub(crate) json: bool,
}

/// Rows that are to be printed.
pub(crate) struct Listing {
    schema: Arc<Schema>,
    rows: Vec<Row>,
    /// Which columns hold decimals: rows know integers alone.
    decimals: Vec<usize>,
}

/// What a column holds.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Holds {
    Number,
    /// A number with digits after the point, given as text.
    Decimal,
    Text,
    List,
}

impl Listing {
    /// Begins a list with these columns.
    pub(crate) fn new(name: &str, columns: &[(&str, Holds)]) -> Listing {
        let column = |&(name, holds): &(&str, Holds)| Column {
            name: name.to_owned(),
            ty: match holds {
                Holds::Number | Holds::Decimal => DataType::Int {
                    bytes: 8,
                    signed: false,
                },
                Holds::Text => DataType::Str { capacity: 1 },
                Holds::List => DataType::None,
            },
            unit: None,
            doc: String::new(),
        };
        let decimals = columns
            .iter()
            .enumerate()
            .filter(|(_, (_, holds))| matches!(holds, Holds::Decimal));
        Listing {
            decimals: decimals.map(|(at, _)| at).collect(),
            schema: Arc::new(Schema {
                name: name.to_owned(),
                version: 1,
                columns: columns.iter().map(column).collect(),
            }),
            rows: Vec::new(),
        }
    }

    /// Adds a row.
    pub(crate) fn push(&mut self, values: Vec<Value>) {
        self.rows.push(Row { values });
    }

    /// Leaves all columns out but these.
    pub(crate) fn of_columns(self, names: &[&str]) -> Listing {
        let columns = self.schema.columns.iter().enumerate();
        let kept: Vec<usize> = columns
            .filter(|(_, column)| names.contains(&column.name.as_str()))
            .map(|(at, _)| at)
            .collect();
        let decimals = (0..kept.len()).filter(|&at| self.decimals.contains(&kept[at]));
        let of_row = |row: &Row| Row {
            values: kept.iter().map(|&at| row.values[at].clone()).collect(),
        };
        Listing {
            decimals: decimals.collect(),
            rows: self.rows.iter().map(of_row).collect(),
            schema: Arc::new(Schema {
                name: self.schema.name.clone(),
                version: self.schema.version,
                columns: kept
                    .iter()
                    .map(|&at| self.schema.columns[at].clone())
                    .collect(),
            }),
        }
    }

    /// Prints a table, or an object a row; in the table lists are separated by commas.
    pub(crate) fn print(self, json: bool) -> Result<(), Failure> {
        if json {
            return self.print_json();
        }
        let plain = |row: &Row| Row {
            values: row.values.iter().map(flat).collect(),
        };
        let rows: Vec<Row> = self.rows.iter().map(plain).collect();
        let text = TableView::whole(&self.schema, &rows);
        Ok(say(String::from_utf8_lossy(&text))?)
    }

    /// Prints each row as lines of `name: value`, or as an object.
    pub(crate) fn print_one(self, json: bool) -> Result<(), Failure> {
        if json {
            return self.print_json();
        }
        let names = || self.schema.columns.iter().map(|column| &column.name);
        let width = names().map(String::len).max().unwrap_or(0);
        let mut text = String::new();
        for row in &self.rows {
            for (name, value) in names().zip(&row.values) {
                if *value == Value::None {
                    continue;
                }
                let value = flat(value);
                let value = String::from_utf8_lossy(&value_text(&value)).into_owned();
                text.push_str(&format!(
                    "{name:width$}  {}\n",
                    value.escape_debug_controls()
                ));
            }
        }
        Ok(say(text)?)
    }

    fn print_json(self) -> Result<(), Failure> {
        let mut text = String::new();
        let mut view = RowJsonView::default();
        for row in self.rows {
            let quoted = decimals(&self.schema, &self.decimals, &row);
            let output = Output::Row {
                schema: Arc::clone(&self.schema),
                row,
            };
            let mut line = Vec::new();
            view.write(&output, &mut line)?;
            let mut line = String::from_utf8_lossy(&line).into_owned();
            for (name, value) in quoted {
                // Inside of another string the quotation marks would have backslashes.
                let member = format!("\"{name}\":\"{value}\"");
                line = line.replacen(&member, &format!("\"{name}\":{value}"), 1);
            }
            text.push_str(&line);
        }
        Ok(say(text)?)
    }
}

/// Gives the decimals of a row with the names of their columns.
fn decimals(schema: &Schema, columns: &[usize], row: &Row) -> Vec<(String, String)> {
    let found = columns.iter().filter_map(|&at| {
        let (column, value) = (schema.columns.get(at)?, row.values.get(at)?);
        match value {
            Value::Text(text) => Some((column.name.clone(), text.clone())),
            _ => None,
        }
    });
    found.collect()
}

/// Text without characters that move the cursor.
trait Printable {
    fn escape_debug_controls(&self) -> String;
}

impl Printable for String {
    fn escape_debug_controls(&self) -> String {
        let mut out = String::with_capacity(self.len());
        for c in self.chars() {
            match c.is_control() {
                true => out.extend(c.escape_default()),
                false => out.push(c),
            }
        }
        out
    }
}

/// Gives a list as text.
fn flat(value: &Value) -> Value {
    match value {
        Value::Array(values) if values.is_empty() => Value::None,
        Value::Array(values) => {
            let texts = values
                .iter()
                .map(|value| String::from_utf8_lossy(&value_text(value)).into_owned());
            Value::Text(texts.collect::<Vec<_>>().join(","))
        }
        other => other.clone(),
    }
}

/// A text, or nothing where it is empty.
pub(crate) fn text(text: impl Into<String>) -> Value {
    let text = text.into();
    match text.is_empty() {
        true => Value::None,
        false => Value::Text(text),
    }
}

/// A number.
pub(crate) fn number(number: impl Into<u64>) -> Value {
    Value::Uint(number.into())
}

/// A number, or nothing where it is 0.
pub(crate) fn some(number: impl Into<u64>) -> Value {
    match number.into() {
        0 => Value::None,
        number => Value::Uint(number),
    }
}

/// A list of numbers.
pub(crate) fn numbers(numbers: impl IntoIterator<Item = u32>) -> Value {
    let values = numbers.into_iter().map(|number| Value::Uint(number.into()));
    Value::Array(values.collect())
}

/// Puts underscores between the words of a kind's name, which is the kernel's then:
/// `PerCpuHash` to `percpu_hash`.
pub(crate) fn kind(name: &str) -> String {
    let mut out = String::new();
    for (at, c) in name.char_indices() {
        if c.is_ascii_uppercase() && at > 0 {
            out.push('_');
        }
        out.push(c.to_ascii_lowercase());
    }
    out.replace("per_cpu", "percpu")
}
