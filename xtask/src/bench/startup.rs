//! What it costs to start: a script that does nothing, and a shipped tool.

use std::process::Command;

use super::measure::{Cost, cost};
use super::peer::Tracer;
use super::table::{Aim, Figure, Table, Unit, median};
use super::{Pair, Settings};

/// Tells the time at which it runs; the tracer starts it once all is attached.
const STAMP: &str = "/bin/date +%s%N";

/// Turns of each of the many scripts that bpftrace ships.
const TURNS: usize = 3;

/// The script that leaves at once.
pub(crate) fn nothing(pair: &Pair, settings: &Settings, table: &mut Table) -> Result<(), String> {
    const SCRIPT: &str = "BEGIN { exit(); }";
    let costs = interleave(pair, settings.runs, |tracer| tracer.script(SCRIPT))?;
    let mut row = |what: &str, unit, aim, of: fn(&Cost) -> f64| {
        add(table, &format!("{SCRIPT} {what}"), unit, aim, &costs, of);
    };
    row(
        "wall time",
        Unit::Milliseconds,
        Aim::AtMost(1.0 / 20.0),
        |cost| cost.wall,
    );
    row("CPU time", Unit::Milliseconds, Aim::None, |cost| cost.cpu);
    row(
        "peak memory",
        Unit::Megabytes,
        Aim::AtMost(1.0 / 10.0),
        |cost| cost.memory,
    );
    Ok(())
}

/// opensnoop, from its start until its command runs and until its end.
pub(crate) fn tool(pair: &Pair, settings: &Settings, table: &mut Table) -> Result<(), String> {
    let costs = interleave(pair, settings.runs, |tracer| stamped(tracer.opensnoop()))?;
    let alone = alone(settings.runs)?;
    let until = |costs: &[Cost]| until(costs, alone);
    match (until(&costs.0), until(&costs.1)) {
        (Some(kscope), peer) => table.add(&Figure {
            name: "opensnoop: compile, load, attach",
            unit: Unit::Milliseconds,
            kscope,
            peer,
            aim: Aim::AtMost(1.0 / 10.0),
        }),
        (None, _) => table.note("opensnoop: its command told no time".to_string()),
    }
    let mut row = |what: &str, unit, of: fn(&Cost) -> f64| {
        add(
            table,
            &format!("opensnoop: {what}"),
            unit,
            Aim::None,
            &costs,
            of,
        );
    };
    row("start to end", Unit::Milliseconds, |cost| cost.wall);
    row("CPU time", Unit::Milliseconds, |cost| cost.cpu);
    row("peak memory", Unit::Megabytes, |cost| cost.memory);
    Ok(())
}

/// Every script that bpftrace ships and that both can attach here: until its command runs, and peak memory.
pub(crate) fn shipped(pair: &Pair, settings: &Settings, table: &mut Table) -> Result<(), String> {
    let runs = settings.runs.min(TURNS);
    let alone = alone(runs)?;
    for name in pair.peer.shipped()? {
        let costs = interleave(pair, runs, |tracer| {
            stamped(tracer.shipped_script(&name, &pair.peer.root))
        });
        let costs = match costs {
            Ok(costs) => costs,
            Err(why) => {
                let error = why.split(" / ").find(|line| line.contains("ERROR"));
                table.note(format!("{name}: {}", error.unwrap_or(&why)));
                continue;
            }
        };
        let Some(kscope) = until(&costs.0, alone) else {
            table.note(format!("{name}: its command told no time"));
            continue;
        };
        table.add(&Figure {
            name: &format!("{name}: attached"),
            unit: Unit::Milliseconds,
            kscope,
            peer: until(&costs.1, alone),
            aim: Aim::AtMost(1.0 / 10.0),
        });
        add(
            table,
            &format!("{name}: peak memory"),
            Unit::Megabytes,
            Aim::AtMost(1.0 / 10.0),
            &costs,
            |cost| cost.memory,
        );
    }
    Ok(())
}

/// Has a script run a command that tells when it was started.
fn stamped(mut command: Command) -> Command {
    command.args(["-o", "/dev/null", "-c", STAMP]);
    command
}

/// Milliseconds until that command tells the time when nobody traces it, which is no cost of tracing.
fn alone(runs: usize) -> Result<f64, String> {
    let costs: Result<Vec<Cost>, String> = (0..runs)
        .map(|_| {
            let mut words = STAMP.split(' ');
            cost(Command::new(words.next().unwrap_or_default()).args(words))
        })
        .collect();
    let stamps = costs?.iter().filter_map(|cost| cost.until_stamp).collect();
    Ok(median(stamps).unwrap_or(0.0))
}

fn until(costs: &[Cost], alone: f64) -> Option<f64> {
    let stamps = costs.iter().filter_map(|cost| cost.until_stamp);
    median(stamps.map(|stamp| stamp - alone).collect())
}

/// Measures both in turns; the first turn, which warms caches, is not counted.
fn interleave(
    pair: &Pair,
    runs: usize,
    command: impl Fn(&Tracer) -> Command,
) -> Result<(Vec<Cost>, Vec<Cost>), String> {
    let mut costs = (Vec::new(), Vec::new());
    for run in 0..=runs {
        let kscope = cost(&command(&pair.kscope))?;
        let peer = cost(&command(&pair.peer))?;
        if run > 0 {
            costs.0.push(kscope);
            costs.1.push(peer);
        }
    }
    Ok(costs)
}

fn add(
    table: &mut Table,
    name: &str,
    unit: Unit,
    aim: Aim,
    costs: &(Vec<Cost>, Vec<Cost>),
    of: fn(&Cost) -> f64,
) {
    let median = |costs: &[Cost]| median(costs.iter().map(of).collect());
    if let Some(kscope) = median(&costs.0) {
        table.add(&Figure {
            name,
            unit,
            kscope,
            peer: median(&costs.1),
            aim,
        });
    }
}
