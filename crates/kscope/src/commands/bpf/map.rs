//! `kscope bpf map`

use std::fmt::Write as _;

use clap::{Args, Subcommand};
use kscope_bpf::btf::{Btf, TypeId, ValueStyle};
use kscope_bpf::inspect::{LoadedMap, LoadedTypes};
use kscope_bpf::sys::{CpuSet, SharedKernel};

use super::holders::{Held, Holders};
use super::listing::{Holds, ListArgs, Listing, ShowArgs, kind, number, some, text};
use super::{chosen, failed, opened};
use crate::console::say;
use crate::error::Failure;
use crate::place::Place;

/// List and show maps, and print what they hold
#[derive(Args, Debug)]
pub(crate) struct MapArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// List the maps of the kernel
    List(ListArgs),
    /// Show all that is known of a map
    Show {
        #[command(flatten)]
        how: ShowArgs,
        /// Its id or its name
        #[arg(value_name = "ID|NAME")]
        map: String,
    },
    /// Print the entries of a map, by the types it was made with
    Dump {
        /// Print an object an entry
        #[arg(long)]
        json: bool,
        /// Its id or its name
        #[arg(value_name = "ID|NAME")]
        map: String,
    },
}

/// Runs the command.
pub(super) fn run(args: &MapArgs) -> Result<u8, Failure> {
    let place = Place::open(None)?;
    let kernel = place.target.kernel();
    match &args.what {
        What::List(ListArgs { json }) => list(all(kernel)?).print(*json)?,
        What::Show { how, map } => list(vec![find(kernel, map)?]).print_one(how.json)?,
        What::Dump { json, map } => say(dump(kernel, &find(kernel, map)?, *json)?)?,
    }
    Ok(0)
}

fn all(kernel: &SharedKernel) -> Result<Vec<LoadedMap>, Failure> {
    opened(LoadedMap::ids(kernel), |id| LoadedMap::by_id(kernel, id))
}

fn find(kernel: &SharedKernel, word: &str) -> Result<LoadedMap, Failure> {
    let is_named = |map: &LoadedMap, word: &str| map.name() == word;
    chosen(word, "map", all(kernel)?, |map| map.info.id, is_named)
}

fn list(maps: Vec<LoadedMap>) -> Listing {
    let holders = Holders::find();
    let mut listing = Listing::new(
        "bpf map",
        &[
            ("id", Holds::Number),
            ("type", Holds::Text),
            ("name", Holds::Text),
            ("key_bytes", Holds::Number),
            ("value_bytes", Holds::Number),
            ("max_entries", Holds::Number),
            ("flags", Holds::Text),
            ("btf", Holds::Number),
            ("processes", Holds::List),
        ],
    );
    for map in maps {
        let info = &map.info;
        let type_name = match map.kind() {
            Some(known) => kind(&format!("{known:?}")),
            None => format!("type {}", info.shape.kind),
        };
        listing.push(vec![
            number(info.id),
            text(type_name),
            text(map.name()),
            number(info.shape.key_size),
            number(info.shape.value_size),
            number(info.shape.max_entries),
            text(format!("{:#x}", info.flags)),
            some(info.btf),
            holders.of(Held::Map, info.id),
        ]);
    }
    listing
}

/// Writes the entries, each with its key and its value or, of a map by CPU, its values.
fn dump(kernel: &SharedKernel, map: &LoadedMap, json: bool) -> Result<String, Failure> {
    let types = match map.info.btf {
        0 => None,
        id => LoadedTypes::by_id(kernel, id)
            .and_then(|types| types.read(kernel, None))
            .ok(),
    };
    let snapshot = map.map.snapshot().map_err(|error| failed(&error))?;
    let style = if json {
        ValueStyle::Json
    } else {
        ValueStyle::C
    };
    // A map by CPU has a value for each CPU that could be there, and their numbers may have gaps.
    let cpus = match map.map.is_per_cpu() {
        true => kernel.cpus(CpuSet::Possible).unwrap_or_default(),
        false => Vec::new(),
    };
    let write = |type_id: u32, bytes: &[u8]| written(types.as_ref(), type_id, bytes, style);
    let mut text = String::new();
    for entry in snapshot.entries() {
        let key = write(map.info.key_type, entry.key);
        let mut values: Vec<String> = Vec::new();
        for value in entry.values() {
            values.push(write(map.info.value_type, value));
        }
        let per_cpu = map.map.is_per_cpu();
        let value = match (per_cpu, json) {
            (false, _) => values.pop().unwrap_or_default(),
            (true, _) => by_cpu(&cpus, &values, json),
        };
        let _ = match json {
            true => writeln!(text, "{{\"key\":{key},\"value\":{value}}}"),
            false => writeln!(text, "[{key}] = {value}"),
        };
    }
    Ok(text)
}

/// Writes the values of possible CPUs, in the order of their numbers. In JSON they are an array by
/// number, with `null` for numbers that no CPU has.
fn by_cpu(cpus: &[u32], values: &[String], json: bool) -> String {
    // Without a list they are taken to have none left out.
    let numbers = cpus
        .iter()
        .copied()
        .chain(cpus.last().map_or(0, |last| last + 1)..);
    let numbered = numbers.zip(values);
    if !json {
        let line = |(cpu, value)| format!("\n  cpu {cpu}: {value}");
        return numbered.map(line).collect();
    }
    let mut array: Vec<&str> = Vec::new();
    for (cpu, value) in numbered {
        array.resize(cpu as usize, "null");
        array.push(value);
    }
    format!("[{}]", array.join(","))
}

/// Writes bytes by their type; without one as hexadecimal digits.
fn written(types: Option<&Btf>, type_id: u32, bytes: &[u8], style: ValueStyle) -> String {
    match types {
        Some(types) if type_id != 0 => types.write_value(TypeId(type_id), bytes, style),
        _ => {
            let digits: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            match style {
                ValueStyle::C => digits.join(" "),
                ValueStyle::Json => format!("\"{}\"", digits.concat()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::by_cpu;

    #[test]
    fn values_have_the_numbers_of_their_cpus() {
        let values = ["a", "b", "c"].map(str::to_owned);
        let check = |cpus: &[u32], text: &str, json: &str| {
            assert_eq!(by_cpu(cpus, &values, false), text);
            assert_eq!(by_cpu(cpus, &values, true), json);
        };
        let plain = "\n  cpu 0: a\n  cpu 1: b\n  cpu 2: c";
        check(&[0, 1, 2], plain, "[a,b,c]");
        check(&[], plain, "[a,b,c]");
        let gaps = "\n  cpu 0: a\n  cpu 2: b\n  cpu 5: c";
        check(&[0, 2, 5], gaps, "[a,null,b,null,null,c]");
        check(
            &[0, 2],
            "\n  cpu 0: a\n  cpu 2: b\n  cpu 3: c",
            "[a,null,b,c]",
        );
    }
}
