//! Types as C with the place of each member, as pahole prints them.

use std::fmt::Write as _;

use kscope_btf::{Btf, Composite, Member, Type, TypeId};
use kscope_rows::Value;

use super::types::{Path, Reached, type_name};
use super::value::DEEPEST;
use crate::commands::bpf::listing::{Holds, Listing, number, text};
use crate::crash::plain;
use crate::error::Failure;

/// Column at which the places stand.
const PLACES: usize = 52;
/// Most lines of one type.
const LINES: usize = 1 << 16;

/// Writes a type; structures in it are opened `depth` deep.
pub(super) fn write(btf: &Btf, id: TypeId, depth: usize) -> String {
    let mut writer = Writer {
        btf,
        depth: depth.min(DEEPEST),
        left: LINES,
        out: String::new(),
    };
    let name = type_name(btf, id);
    match btf.get_resolved(id) {
        Some(Type::Struct(c) | Type::Union(c)) => {
            // Behind a typedef the structure has a name of its own, or none.
            let resolved = btf.resolve(id).unwrap_or(id);
            let own = head(btf, resolved, &c);
            let named = if resolved == id {
                String::new()
            } else {
                format!(" {name}")
            };
            writer.open(0, &own);
            writer.members(resolved, &c, 0, 1);
            let _ = writeln!(writer.out, "}}{named}; /* {} bytes */", c.size);
        }
        Some(Type::Enum(e)) => {
            writer.open(0, &name);
            for constant in e.enumerators() {
                let value = match e.signed {
                    true => constant.value.to_string(),
                    false => (constant.value as u64).to_string(),
                };
                let _ = writeln!(writer.out, "    {} = {value},", plain(constant.name));
            }
            let _ = writeln!(writer.out, "}}; /* {} bytes */", e.size);
        }
        _ => {
            let size = btf.size_of(id).unwrap_or(0);
            let _ = writeln!(writer.out, "{name}; /* {size} bytes */");
        }
    }
    writer.out
}

/// Gives what a block of members begins with: `struct list_head`, or `union`.
fn head(btf: &Btf, id: TypeId, c: &Composite<'_>) -> String {
    if !c.name.is_empty() {
        return type_name(btf, id);
    }
    let is_union = matches!(btf.get(id), Some(Type::Union(_)));
    if is_union { "union" } else { "struct" }.to_owned()
}

struct Writer<'a> {
    btf: &'a Btf,
    depth: usize,
    left: usize,
    out: String,
}

impl Writer<'_> {
    fn open(&mut self, indent: usize, head: &str) {
        let _ = writeln!(self.out, "{}{head} {{", "    ".repeat(indent));
    }

    /// Writes the members of a structure that begins at a bit of the outermost.
    fn members(&mut self, id: TypeId, c: &Composite<'_>, start: u64, indent: usize) {
        let is_union = matches!(self.btf.get(id), Some(Type::Union(_)));
        let mut end = start;
        for member in c.members() {
            let Some(left) = self.left.checked_sub(1) else {
                return;
            };
            self.left = left;
            let at = start.saturating_add(member.bit_offset.into());
            if !is_union && at > end {
                self.hole(at - end, indent);
            }
            let bits = self.member(&member, at, indent);
            end = end.max(at.saturating_add(bits));
        }
        let whole = start.saturating_add(u64::from(c.size) * 8);
        if !is_union && whole > end && !c.is_empty() {
            self.hole(whole - end, indent);
        }
    }

    fn hole(&mut self, bits: u64, indent: usize) {
        let pad = "    ".repeat(indent);
        let _ = match bits % 8 {
            0 => writeln!(self.out, "{pad}/* hole of {} bytes */", bits / 8),
            _ => writeln!(self.out, "{pad}/* hole of {bits} bits */"),
        };
    }

    /// Writes a member, and gives how many bits it has.
    fn member(&mut self, member: &Member<'_>, at: u64, indent: usize) -> u64 {
        let btf = self.btf;
        let size = btf.size_of(member.type_id).unwrap_or(0);
        let pad = "    ".repeat(indent);
        // Only what stands there by itself is opened, not what a typedef or an array is of.
        let own = match btf.get(member.type_id) {
            Some(Type::Struct(c) | Type::Union(c)) => Some(c),
            _ => None,
        };
        let opened = own.filter(|c| c.name.is_empty() || indent < self.depth);
        let line = match opened.filter(|_| indent < DEEPEST) {
            Some(c) => {
                self.open(indent, &head(btf, member.type_id, &c));
                self.members(member.type_id, &c, at, indent + 1);
                let space = if member.name.is_empty() { "" } else { " " };
                format!("{pad}}}{space}{};", plain(member.name))
            }
            None => {
                let declared = btf.declaration(member.type_id, member.name);
                format!("{pad}{};", plain(&declared))
            }
        };
        match member.bitfield {
            Some(width) => {
                let line = format!("{}:{width};", line.trim_end_matches(';'));
                let (byte, bit) = (at / 8, at % 8);
                let _ = writeln!(
                    self.out,
                    "{line:PLACES$} /* {byte:5}:{bit} {width:4} bits */"
                );
                width.into()
            }
            None => {
                let _ = writeln!(self.out, "{line:PLACES$} /* {:5}   {size:5} */", at / 8);
                size.saturating_mul(8)
            }
        }
    }
}

/// Gives the members as rows.
pub(super) fn listing(btf: &Btf, id: TypeId) -> Listing {
    let columns = [
        ("name", Holds::Text),
        ("type", Holds::Text),
        ("offset", Holds::Number),
        ("size", Holds::Number),
        ("bit", Holds::Number),
        ("bits", Holds::Number),
    ];
    let mut listing = Listing::new("struct", &columns);
    let mut push = |name: &str, of: TypeId, bit_offset: u64, bits: Option<u32>| {
        listing.push(vec![
            text(name),
            text(btf.type_name(of)),
            number(bit_offset / 8),
            btf.size_of(of).map_or(Value::None, number),
            bits.map_or(Value::None, |_| number(bit_offset % 8)),
            bits.map_or(Value::None, number),
        ]);
    };
    match btf.composite(id) {
        Some(_) => {
            for (name, field) in btf.fields(id) {
                push(name, field.type_id, field.bit_offset.into(), field.bitfield);
            }
        }
        None => push("", id, 0, None),
    }
    listing
}

/// Gives the places of ways' ends as rows.
pub(super) fn paths(btf: &Btf, id: TypeId, paths: &[Path]) -> Result<Listing, Failure> {
    let columns = [
        ("name", Holds::Text),
        ("type", Holds::Text),
        ("in", Holds::Text),
        ("offset", Holds::Number),
        ("size", Holds::Number),
        ("bit", Holds::Number),
        ("bits", Holds::Number),
    ];
    let mut listing = Listing::new("struct", &columns);
    for path in paths {
        let Reached {
            id: to,
            of,
            bit_offset,
            bits,
            ..
        } = path.walk(btf, id)?;
        listing.push(vec![
            text(path.text.clone()),
            text(btf.type_name(to)),
            text(btf.type_name(of)),
            number(bit_offset / 8),
            btf.size_of(to).map_or(Value::None, number),
            bits.map_or(Value::None, |_| number(bit_offset % 8)),
            bits.map_or(Value::None, number),
        ]);
    }
    Ok(listing)
}
