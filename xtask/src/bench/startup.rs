//! What it costs to start: a script that does nothing, and a shipped tool.

use std::process::Command;

use super::measure::{Cost, cost};
use super::peer::Tracer;
use super::table::{Aim, Figure, Table, Unit, median};
use super::{Pair, Settings};

/// Tells the time at which it runs; the tracer starts it once all is attached.
const STAMP: &str = "/bin/date +%s%N";

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
    let costs = interleave(pair, settings.runs, |tracer| {
        let mut command = tracer.opensnoop();
        command.args(["-o", "/dev/null", "-c", STAMP]);
        command
    })?;
    let alone: Result<Vec<Cost>, String> = (0..settings.runs)
        .map(|_| {
            let mut words = STAMP.split(' ');
            cost(Command::new(words.next().unwrap_or_default()).args(words))
        })
        .collect();
    // Starting the command itself is no cost of tracing.
    let alone = median(alone?.iter().filter_map(|cost| cost.until_stamp).collect()).unwrap_or(0.0);
    let until = |costs: &[Cost]| {
        median(
            costs
                .iter()
                .filter_map(|cost| Some(cost.until_stamp? - alone))
                .collect(),
        )
    };
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
