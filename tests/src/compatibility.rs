//! The rows of tests/compatibility/rows.txt: bpftrace's language, piece by piece.

const ROWS: &str = include_str!("../compatibility/rows.txt");

/// One piece of the language.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Row {
    /// The section it stands in.
    pub section: &'static str,
    /// What it is called.
    pub name: &'static str,
    /// A script that uses it.
    pub script: String,
    /// What bpftrace 0.27 prints for it, without blank lines; empty where that depends on the machine.
    pub printed: Vec<&'static str>,
}

/// Gives all rows in their order.
///
/// # Panics
///
/// If a line belongs to no row.
#[must_use]
pub fn rows() -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    let mut section = "";
    for line in ROWS.lines() {
        if let Some(title) = line.strip_prefix("## ") {
            section = title;
        } else if let Some(text) = line.strip_prefix("    ") {
            let row = rows.last_mut().expect("a name before the script");
            row.script.push_str(text);
            row.script.push('\n');
        } else if let Some(text) = line.strip_prefix("  = ") {
            rows.last_mut().expect("a row").printed.push(text);
        } else if !line.is_empty() && !line.starts_with("# ") {
            let name = line;
            rows.push(Row {
                section,
                name,
                ..Row::default()
            });
        }
    }
    rows
}
