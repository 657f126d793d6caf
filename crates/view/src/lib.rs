//! Rows and maps to everything printed: text, tables and JSON.
//!
//! Each view turns an [`Output`](kscope_rows::Output) into bytes for standard output and
//! standard error: [`TextView`] as bpftrace 0.27 prints, [`JsonView`] as its `-f json`,
//! [`TableView`] rows under a header, [`RowJsonView`] one JSON object per row.

mod json;
mod json_schema;
mod json_text;
mod printf;
mod row_json;
mod table;
mod text;
mod text_arguments;
mod text_histogram;
mod text_series;
mod text_value;

pub use json::JsonView;
pub use json_schema::json_schema;
pub use printf::{render, render_into};
pub use row_json::RowJsonView;
pub use table::TableView;
pub use text::TextView;
pub use text_value::value_text;

#[cfg(test)]
mod any_values;
#[cfg(test)]
mod test_values;
