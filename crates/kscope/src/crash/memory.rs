//! `kscope crash VMCORE memory`

use std::fmt::Write as _;

use clap::Args;
use kscope_dump::{Kernel, MemoryUnit};
use kscope_rows::Value;

use super::analysis::{Analysis, Ask, Need};
use super::{failed, table, tell_unread};
use crate::commands::bpf::listing::{Holds, Listing, number, text};
use crate::console::say;
use crate::error::Failure;

const KILOBYTE: u64 = 1024;
/// Bytes of a page (x86_64).
const PAGE: u64 = 4096;
/// Most processes of the table.
const PROCESSES: usize = 10;

/// Print how memory is used: the figures of /proc/meminfo, zones, the largest processes
#[derive(Args, Debug)]
pub(super) struct MemoryArgs {
    /// Print so many processes
    #[arg(short = 'n', long, value_name = "NUMBER", default_value_t = PROCESSES)]
    processes: usize,
}

impl Analysis for MemoryArgs {
    fn needs(&self) -> &'static [Need] {
        &[Need::Types, Need::Symbols]
    }

    fn run(&self, ask: &Ask<'_>) -> Result<(), Failure> {
        let (kernel, json) = (ask.kernel, ask.json);
        figures(kernel, json)?;
        match kernel.memory_zones() {
            Ok(zones) => {
                let columns = [
                    ("node", Holds::Number),
                    ("zone", Holds::Text),
                    ("present_kb", Holds::Number),
                    ("managed_kb", Holds::Number),
                    ("free_kb", Holds::Number),
                    ("min_kb", Holds::Number),
                    ("low_kb", Holds::Number),
                    ("high_kb", Holds::Number),
                ];
                let mut rows = Vec::new();
                for zone in zones.items {
                    let pages = |pages: u64| number(pages.saturating_mul(PAGE / KILOBYTE));
                    rows.push(vec![
                        number(zone.node),
                        text(zone.name),
                        pages(zone.present),
                        pages(zone.managed),
                        pages(zone.free),
                        pages(zone.min),
                        pages(zone.low),
                        pages(zone.high),
                    ]);
                }
                table::print("zones", &columns, rows, json)?;
                tell_unread("zones", &zones.unread);
            }
            Err(error) => super::tell_error("zones are not known", &error),
        }
        let processes = kernel.process_memory();
        let processes =
            processes.map_err(|error| failed("memory of processes is not known", &error))?;
        let columns = [
            ("pid", Holds::Number),
            ("comm", Holds::Text),
            ("resident_kb", Holds::Number),
            ("anonymous_kb", Holds::Number),
            ("files_kb", Holds::Number),
            ("shared_kb", Holds::Number),
            ("swapped_kb", Holds::Number),
            ("mapped_kb", Holds::Number),
            ("page_tables_kb", Holds::Number),
        ];
        let mut rows = Vec::new();
        for one in processes.items.iter().take(self.processes) {
            let bytes = |bytes: u64| number(bytes / KILOBYTE);
            rows.push(vec![
                number(one.pid as u32),
                text(one.comm.clone()),
                bytes(one.resident),
                bytes(one.anonymous),
                bytes(one.files),
                bytes(one.shared),
                bytes(one.swapped),
                bytes(one.mapped),
                bytes(one.page_tables),
            ]);
        }
        table::print("processes", &columns, rows, json)?;
        tell_unread("processes or threads", &processes.unread);
        Ok(())
    }
}

/// Prints the figures as /proc/meminfo does; in an object, bytes and numbers of huge pages.
fn figures(kernel: &Kernel, json: bool) -> Result<(), Failure> {
    let figures = kernel.memory_figures();
    if json {
        let columns = figures.iter().map(|figure| (figure.name, Holds::Number));
        let mut columns: Vec<(&str, Holds)> = columns.collect();
        columns.push(("missing", Holds::List));
        let mut listing = Listing::new("memory", &columns);
        let missing = figures.iter().filter_map(|figure| {
            let error = figure.value.as_ref().err()?;
            Some(Value::Text(format!("{}: {error}", figure.name)))
        });
        let missing = Value::Array(missing.collect());
        let values = figures.iter().map(|figure| match figure.value {
            Ok(value) => number(value),
            Err(_) => Value::None,
        });
        listing.push(values.chain([missing]).collect());
        return listing.print_one(true);
    }
    let mut out = String::new();
    for figure in &figures {
        let name = format!("{}:", figure.name);
        let _ = match (&figure.value, figure.unit) {
            (Ok(value), MemoryUnit::Bytes) => {
                writeln!(out, "{name:<18} {:>10} kB", value / KILOBYTE)
            }
            (Ok(value), MemoryUnit::HugePages) => writeln!(out, "{name:<18} {value:>10}"),
            (Err(error), _) => writeln!(out, "{name:<18} not known: {error}"),
        };
    }
    out.push('\n');
    Ok(say(out)?)
}
