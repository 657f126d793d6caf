//! `kscope kdump estimate`

use clap::Args;
use kscope_kdump::{Estimate, estimate, sized};
use kscope_rows::Value;

use super::Machine;
use crate::commands::bpf::listing::{Holds, Listing, text};
use crate::console::say;
use crate::error::{FAILED, Failure};

/// Say how much memory a capture needs, line by line, and what to reserve
///
/// Exits with 1 where less is reserved than is needed.
#[derive(Args, Debug)]
pub(crate) struct EstimateArgs {
    #[command(flatten)]
    machine: Machine,
    /// Print an object a line
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(crate) fn run(args: &EstimateArgs) -> Result<u8, Failure> {
    let config = args.machine.config()?;
    let facts = args.machine.facts(&config)?;
    let estimate = estimate(&args.machine.root(), &facts, config.cpus);
    let too_small = estimate.reserved.unwrap_or(0) < estimate.needed;
    match args.json {
        true => print_json(&estimate)?,
        false => say(written(&estimate))?,
    }
    Ok(if too_small { FAILED } else { 0 })
}

fn written(estimate: &Estimate) -> String {
    let mut out = String::new();
    let mut line = |bytes: u64, what: &str, source: &str| {
        let size = sized(bytes);
        let line = format!("{size:>11}  {what:<26}  {source}");
        out.push_str(line.trim_end());
        out.push('\n');
    };
    for part in &estimate.lines {
        line(part.bytes, part.what, &part.source);
    }
    line(estimate.needed, "needed at the peak", "");
    if let Some(measured) = estimate.measured {
        line(measured, "used by the last capture", "its status file");
    }
    let reserved = estimate.reserved.unwrap_or(0);
    let verdict = match reserved {
        0 => "nothing",
        _ if reserved < estimate.needed => "too small",
        _ => "enough",
    };
    line(reserved, "reserved", verdict);
    let advice = format!("crashkernel={}M", estimate.advised >> 20);
    line(estimate.advised, "advised", &advice);
    out
}

fn print_json(estimate: &Estimate) -> Result<(), Failure> {
    let columns = [
        ("what", Holds::Text),
        ("bytes", Holds::Number),
        ("source", Holds::Text),
    ];
    let mut listing = Listing::new("kdump_estimate", &columns);
    let number = |bytes: Option<u64>| bytes.map_or(Value::None, |bytes| Value::Int(bytes as i64));
    for line in &estimate.lines {
        listing.push(vec![
            text(line.what),
            number(Some(line.bytes)),
            text(line.source.clone()),
        ]);
    }
    for (what, bytes) in [
        ("needed", Some(estimate.needed)),
        ("measured", estimate.measured),
        ("reserved", estimate.reserved),
        ("advised", Some(estimate.advised)),
    ] {
        listing.push(vec![text(what), number(bytes), Value::None]);
    }
    listing.print(true)
}
