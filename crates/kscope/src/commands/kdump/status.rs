//! `kscope kdump status`

use clap::Args;
use kscope_kdump::{Facts, Level, TargetFacts, check, count, estimate, sized};
use kscope_rows::Value;

use super::{Machine, now};
use crate::commands::bpf::listing::{Holds, Listing, text};
use crate::error::{FAILED, Failure};

/// Say on few lines whether a crash makes a dump, and where it goes
///
/// Exits with 1 where a crash makes no dump.
#[derive(Args, Debug)]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    machine: Machine,
    /// Print an object
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(crate) fn run(args: &StatusArgs) -> Result<u8, Failure> {
    let config = args.machine.config()?;
    let facts = args.machine.facts(&config)?;
    let estimate = estimate(&args.machine.root(), &facts, config.cpus);
    let findings = check(&facts, &config, &estimate, now());
    let faults = count(&findings, Level::Fault);
    let warnings = count(&findings, Level::Warning);
    let ready = match (faults, facts.kernel.loaded) {
        (0, Some(true)) => "yes".to_owned(),
        _ => format!("no: {faults} faults, `kscope kdump check` names them"),
    };
    let columns = [
        "ready", "warnings", "kernel", "loaded", "reserved", "needed", "target", "path", "crashes",
        "last", "tested",
    ];
    let columns = columns.map(|name| match name {
        "warnings" => (name, Holds::Number),
        _ => (name, Holds::Text),
    });
    let loaded = match facts.kernel.loaded {
        Some(true) => "yes",
        Some(false) => "no",
        None => "this kernel cannot",
    };
    let last = facts.crashes.last();
    let last = last.map(|crash| match (crash.dump, crash.has_log) {
        (Some(size), _) => format!("{} ({})", crash.name, sized(size)),
        (None, true) => format!("{} (the log alone)", crash.name),
        (None, false) => format!("{} (nothing whole)", crash.name),
    });
    let tested = facts.last_test.as_ref().map(|test| match &test.found {
        Some(found) => format!("{}, found in {found}", test.id),
        None => format!("{}, not looked for", test.id),
    });
    let mut listing = Listing::new("kdump_status", &columns);
    listing.push(vec![
        text(ready),
        Value::Int(warnings as i64),
        text(facts.kernel.release.clone()),
        text(loaded),
        text(facts.kernel.reserved.map_or("nothing".to_owned(), sized)),
        text(sized(estimate.needed)),
        text(target(&facts)),
        text(config.path.display().to_string()),
        text(facts.crashes.len().to_string()),
        last.map_or(Value::None, text),
        tested.map_or(Value::None, text),
    ]);
    listing.print_one(args.json)?;
    Ok(if faults > 0 { FAILED } else { 0 })
}

fn target(facts: &Facts) -> String {
    match &facts.target {
        TargetFacts::Disk(disk) => {
            let device = disk
                .disk
                .as_ref()
                .map(|device| format!("/dev/{}", device.name));
            let parts = [device, disk.kind.clone(), disk.uuid.clone()];
            let parts: Vec<String> = parts.into_iter().flatten().collect();
            match parts.is_empty() {
                true => "none that can be seen".to_owned(),
                false => parts.join(" "),
            }
        }
        TargetFacts::Ssh(ssh) => format!("ssh {}@{}:{}", ssh.to.user, ssh.to.host, ssh.to.port),
    }
}
