//! The tables of an analysis that has several.

use kscope_rows::Value;

use crate::commands::bpf::listing::{Holds, Listing, text};
use crate::console::say;
use crate::error::Failure;

/// Prints one of several tables under its name, or that it is empty. Objects have the name as their
/// first member, `table`.
pub(super) fn print(
    name: &str,
    columns: &[(&str, Holds)],
    rows: Vec<Vec<Value>>,
    json: bool,
) -> Result<(), Failure> {
    if json {
        let mut all = vec![("table", Holds::Text)];
        all.extend_from_slice(columns);
        let mut listing = Listing::new(name, &all);
        for row in rows {
            listing.push([vec![text(name)], row].concat());
        }
        return listing.print(true);
    }
    if rows.is_empty() {
        return Ok(say(format!("{name}: none\n\n"))?);
    }
    say(format!("{name}:\n"))?;
    let mut listing = Listing::new(name, columns);
    rows.into_iter().for_each(|row| listing.push(row));
    listing.print(false)?;
    Ok(say("\n")?)
}
