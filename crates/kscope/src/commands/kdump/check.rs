//! `kscope kdump check`

use clap::Args;
use kscope_kdump::{Finding, Level, check, count, estimate};
use kscope_rows::Value;

use super::{Machine, now};
use crate::commands::bpf::listing::{Holds, Listing, text};
use crate::console::say;
use crate::error::{FAILED, Failure};

/// Look at everything that a capture depends on, and say the way out of what is wrong
///
/// Each line is one point: `ok`, `warning` (a dump comes about, but something is to be known) or
/// `fault` (no dump comes about). Exits with 1 where there is a fault.
#[derive(Args, Debug)]
pub(crate) struct CheckArgs {
    #[command(flatten)]
    machine: Machine,
    /// Print an object a line
    #[arg(long)]
    json: bool,
    /// Leave out what is well
    #[arg(short, long)]
    quiet: bool,
}

/// Runs the command.
pub(crate) fn run(args: &CheckArgs) -> Result<u8, Failure> {
    let config = args.machine.config()?;
    let facts = args.machine.facts(&config)?;
    let estimate = estimate(&args.machine.root(), &facts, config.cpus);
    let mut findings = check(&facts, &config, &estimate, now());
    let is_faulty = findings.iter().any(|finding| finding.level == Level::Fault);
    findings.retain(|finding| !args.quiet || finding.level != Level::Ok);
    match args.json {
        true => print_json(findings)?,
        false => say(written(&findings))?,
    }
    Ok(if is_faulty { FAILED } else { 0 })
}

fn written(findings: &[Finding]) -> String {
    let mut out = String::new();
    let width = findings
        .iter()
        .map(|finding| finding.point.len())
        .max()
        .unwrap_or(0);
    for finding in findings {
        let level = finding.level.to_string();
        out.push_str(&format!(
            "{level:7}  {:width$}  {}\n",
            finding.point, finding.what
        ));
        if let Some(way_out) = &finding.way_out {
            out.push_str(&format!("{:7}  {:width$}  → {way_out}\n", "", ""));
        }
    }
    let faults = count(findings, Level::Fault);
    let warnings = count(findings, Level::Warning);
    let end = match faults {
        0 => "a crash makes a dump",
        _ => "a crash makes no dump",
    };
    out.push_str(&format!("{faults} faults, {warnings} warnings: {end}\n"));
    out
}

fn print_json(findings: Vec<Finding>) -> Result<(), Failure> {
    let columns = [
        ("point", Holds::Text),
        ("level", Holds::Text),
        ("what", Holds::Text),
        ("way_out", Holds::Text),
    ];
    let mut listing = Listing::new("kdump_check", &columns);
    for finding in findings {
        listing.push(vec![
            text(finding.point),
            text(finding.level.to_string()),
            text(finding.what),
            finding.way_out.map_or(Value::None, text),
        ]);
    }
    listing.print(true)
}
