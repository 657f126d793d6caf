//! `kscope crash VMCORE struct`

use std::fmt::Write as _;

use clap::Args;
use kscope_memory::{Object, VirtAddr};
use kscope_rows::Value;

use super::shown::Shown;
use super::types::{self, Named, Path, not_followed};
use super::value::{self, DEEPEST, Style};
use super::{address, layout};
use crate::commands::bpf::listing::{Holds, Listing, text};
use crate::console::say;
use crate::crash::analysis::{Analysis, Ask, Need};
use crate::crash::proceed;
use crate::error::Failure;

/// Print a type with the places of its members, or what is at an address by its type
///
/// `struct task_struct.mm.pgd pid:1` follows pointers; several members are separated by commas.
/// An address is hexadecimal, SYMBOL, SYMBOL+0x10, MODULE:SYMBOL, of what each CPU has its own
/// SYMBOL@CPU, of a task pid:PID, of a member init_task.tasks; behind a pointer *SYMBOL.
#[derive(Args, Debug)]
pub(in crate::crash) struct StructArgs {
    /// A structure, union, enumeration or typedef, with members of it behind a point
    #[arg(value_name = "TYPE[.MEMBER…]")]
    what: String,
    /// Where one is
    #[arg(value_name = "ADDRESS")]
    at: Option<String>,
    /// Open structures inside of each other no deeper than this; without an address 1 is the default
    #[arg(short, long, value_name = "NUMBER", value_parser = clap::value_parser!(u8).range(1..=DEEPEST as i64))]
    depth: Option<u8>,
    /// Print so many that stand behind each other
    #[arg(
        short = 'n',
        long,
        value_name = "NUMBER",
        default_value = "1",
        requires = "at",
        value_parser = clap::value_parser!(u32).range(1..=65_536)
    )]
    count: u32,
    /// Print numbers in hexadecimal
    #[arg(short = 'x', long)]
    hex: bool,
}

impl Analysis for StructArgs {
    fn needs(&self) -> &'static [Need] {
        &[Need::Types]
    }

    fn run(&self, ask: &Ask<'_>) -> Result<(), Failure> {
        let (name, paths) = types::expression(&self.what)?;
        let named = types::find(ask.kernel, name)?;
        match &self.at {
            None => self.layout(ask, &named, &paths),
            Some(word) => {
                let at = address::parse(ask.kernel, word)?;
                if value::is_null(at) && !word.starts_with('*') {
                    let why = "no object of the kernel is so near to the null pointer";
                    return Err(Failure::new(format!("nothing is at {at}")).hint(why));
                }
                self.values(ask, &named, &paths, at)
            }
        }
    }
}

impl StructArgs {
    fn layout(&self, ask: &Ask<'_>, named: &Named, paths: &[Path]) -> Result<(), Failure> {
        let btf = &named.btf;
        if ask.json {
            return match paths {
                [] => layout::listing(btf, named.id).print(true),
                paths => layout::paths(btf, named.id, paths)?.print(true),
            };
        }
        let depth = self.depth.map_or(1, usize::from);
        if paths.is_empty() {
            return Ok(say(layout::write(btf, named.id, depth))?);
        }
        let mut out = String::new();
        for path in paths {
            let to = path.walk(btf, named.id)?;
            let place = match (to.bits, to.bit_offset / 8, to.bit_offset % 8) {
                (None, byte, _) => format!("at {byte}"),
                (Some(width), byte, bit) => format!("at {byte}, {width} bits from bit {bit} on"),
            };
            let _ = writeln!(
                out,
                "{}: {} {place} of {}, {} bytes",
                path.text,
                types::type_name(btf, to.id),
                types::type_name(btf, to.of),
                btf.size_of(to.id).unwrap_or(0)
            );
            if btf.composite(to.id).is_some() {
                out.push_str(&layout::write(btf, to.id, depth));
            }
        }
        Ok(say(out)?)
    }

    fn values(
        &self,
        ask: &Ask<'_>,
        named: &Named,
        paths: &[Path],
        at: VirtAddr,
    ) -> Result<(), Failure> {
        let btf = &named.btf;
        let type_name = types::type_name(btf, named.id);
        let size = btf.size_of(named.id).filter(|size| *size > 0);
        let no_size = || Failure::new(format!("{type_name} has no size: it is only declared"));
        let size = size.ok_or_else(no_size)?;
        // Each is printed by itself: there may be more of them than fit into memory.
        for index in 0..u64::from(self.count) {
            proceed(ask.kernel)?;
            let place = VirtAddr(at.0.wrapping_add(size.wrapping_mul(index)));
            let object = named.at(ask.kernel, place);
            let members = self.members(ask, named, paths, object)?;
            if ask.json {
                object_of(place, &type_name, members).print(true)?;
                continue;
            }
            let element = match self.count {
                1 => String::new(),
                _ => format!("[{index}] "),
            };
            let mut out = format!("{element}{type_name} at {place}{}\n", symbol(ask, place));
            for (name, shown) in members {
                let _ = match name.as_str() {
                    "" => writeln!(out, "{}", shown.text(0)),
                    name => writeln!(out, "{name} = {}", shown.text(0)),
                };
            }
            say(out)?;
        }
        Ok(())
    }

    /// Gives what is asked for of one place: all of it without a name, or members.
    fn members(
        &self,
        ask: &Ask<'_>,
        named: &Named,
        paths: &[Path],
        object: Object<'_>,
    ) -> Result<Vec<(String, Shown)>, Failure> {
        let style = Style {
            depth: self.depth.map_or(DEEPEST, usize::from),
            hex: self.hex,
        };
        let read = |object: &Object<'_>| value::read(ask.kernel, &named.btf, object, style);
        if paths.is_empty() {
            return Ok(vec![(String::new(), read(&object))]);
        }
        let mut members = Vec::new();
        for path in paths {
            let shown = match path.follow(&named.btf, object) {
                Ok(found) => read(&found),
                // A pointer on the way is not there: the others may be.
                Err((kscope_memory::ObjectError::Gap(gap), _)) => value::lost_way(gap),
                Err(error) => return Err(not_followed(path, error)),
            };
            members.push((path.text.clone(), shown));
        }
        Ok(members)
    }
}

/// Gives what is at a place as an object, with what of it is missing.
fn object_of(place: VirtAddr, type_name: &str, members: Vec<(String, Shown)>) -> Listing {
    let columns = [
        ("address", Holds::Text),
        ("type", Holds::Text),
        ("value", Holds::List),
        ("missing", Holds::List),
    ];
    let mut gaps = Vec::new();
    for (name, shown) in &members {
        shown.gaps(name, &mut gaps);
    }
    let value = match members.as_slice() {
        [(name, shown)] if name.is_empty() => shown.json(),
        _ => Shown::Struct(members).json(),
    };
    let mut listing = Listing::new("struct", &columns);
    listing.push(vec![
        text(place.to_string()),
        text(type_name),
        value,
        Value::Array(gaps.into_iter().map(Value::Text).collect()),
    ]);
    listing
}

/// Gives the symbol that is at a place, behind a space.
fn symbol(ask: &Ask<'_>, at: VirtAddr) -> String {
    let name = value::named(ask.kernel, at.0);
    name.map(|name| format!(" {name}")).unwrap_or_default()
}
